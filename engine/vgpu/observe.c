/* The mode of the virtual GPU, and what the driver API tells the mode's observer. */
#include "engine/vgpu/observe.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/api.h"

static const char *const names[VGPU_MODES] = {"run", "check", "fuzz", "count"};
static const struct vgpu_observer *const observers[VGPU_MODES] = {NULL, &vgpu_check, &vgpu_fuzz, &vgpu_count};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_int mode;

const char *vgpu_mode_name(enum vgpu_mode which) { return which < VGPU_MODES ? names[which] : "unknown"; }

enum vgpu_mode vgpu_mode_by_name(const char *name) {
  int which = 0;
  while (which < VGPU_MODES && strcmp(names[which], name) != 0) ++which;
  return (enum vgpu_mode)which;
}

static void read_mode(void) {
  const char *setting = getenv("NOPROP_VGPU_MODE");
  if (setting != NULL && setting[0] != '\0') atomic_store(&mode, (int)vgpu_mode_by_name(setting));
}

enum vgpu_mode vgpu_current_mode(void) {
  pthread_once(&once, read_mode);
  return (enum vgpu_mode)atomic_load(&mode);
}

void vgpu_set_mode(enum vgpu_mode wanted) {
  pthread_once(&once, read_mode);
  atomic_store(&mode, (int)wanted);
}

const struct vgpu_observer *vgpu_mode_observer(void) {
  const enum vgpu_mode which = vgpu_current_mode();
  return which < VGPU_MODES ? observers[which] : NULL;
}

unsigned observe_red_zone(void) {
  const struct vgpu_observer *observer = vgpu_mode_observer();
  return observer != NULL ? observer->red_zone : 0;
}

void observe_copy(const struct operation *operation) {
  const struct vgpu_observer *observer = vgpu_mode_observer();
  if (observer == NULL || observer->copied == NULL) return;
  for (size_t slice = 0; slice < operation->copy.depth; ++slice) {
    for (size_t row = 0; row < operation->copy.height; ++row) {
      observer->copied(
          (uint64_t)operation->copy.to + slice * operation->copy.to_slice + row * operation->copy.to_pitch,
          (uint64_t)operation->copy.from + slice * operation->copy.from_slice + row * operation->copy.from_pitch,
          operation->copy.width);
    }
  }
}

void observe_set(const struct operation *operation) {
  const struct vgpu_observer *observer = vgpu_mode_observer();
  if (observer == NULL || observer->written == NULL) return;
  for (size_t row = 0; row < operation->set.height; ++row) {
    const uint64_t low = (uint64_t)operation->set.to + row * operation->set.pitch;
    observer->written(low, low + operation->set.width * operation->set.element);
  }
}

void observe_bad_free(uint64_t address) {
  const struct vgpu_observer *observer = vgpu_mode_observer();
  if (observer != NULL && observer->bad_free != NULL) observer->bad_free(address);
}

void observe_context_end(const void *context) {
  const struct vgpu_observer *observer = vgpu_mode_observer();
  if (observer != NULL && observer->context_end != NULL) observer->context_end(context);
}
