/* Mode `check`: allocations. What is freed is remembered, with its addresses, until these are given out again. */
#define _GNU_SOURCE 1
#include "engine/vgpu/check_memory.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/check.h"
#include "engine/vgpu/memory.h"
#include "engine/vgpu/regions.h"

static struct {
  pthread_mutex_t lock;
  struct object **items; /* by address; they do not overlap */
  size_t count, capacity;
} objects = {.lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP};

void check_lock(void) { pthread_mutex_lock(&objects.lock); }
void check_unlock(void) { pthread_mutex_unlock(&objects.lock); }

/* ---- bitmaps ---- */

bool bits_all_set(const uint8_t *bits, uint64_t first, uint64_t count) {
  for (uint64_t i = first; i < first + count;) {
    if (i % 8 == 0 && first + count - i >= 8) {
      if (bits[i / 8] != 0xff) return false;
      i += 8;
    } else {
      if (!(bits[i / 8] >> (i % 8) & 1)) return false;
      ++i;
    }
  }
  return true;
}

void bits_set(uint8_t *bits, uint64_t first, uint64_t count) {
  for (uint64_t i = first; i < first + count;) {
    if (i % 8 == 0 && first + count - i >= 8) {
      const uint64_t bytes = (first + count - i) / 8;
      memset(bits + i / 8, 0xff, bytes);
      i += 8 * bytes;
    } else {
      bits[i / 8] = (uint8_t)(bits[i / 8] | 1 << (i % 8));
      ++i;
    }
  }
}

static void bits_copy(uint8_t *to, uint64_t at, const uint8_t *from, uint64_t first, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    const bool set = from[(first + i) / 8] >> ((first + i) % 8) & 1;
    uint8_t *byte = &to[(at + i) / 8];
    const uint8_t bit = (uint8_t)(1 << ((at + i) % 8));
    *byte = (uint8_t)(set ? *byte | bit : *byte & ~bit);
  }
}

/* ---- the list ---- */

/* Index of the first object that ends after the address. */
static size_t search(uint64_t address) {
  size_t low = 0, high = objects.count;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (objects.items[middle]->high > address) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

static void discard(struct object *object) {
  free(object->initialised);
  free(object->cells);
  free(object);
}

/* Objects that are freed and overlap the range give way. */
static void make_room(uint64_t low, uint64_t high) {
  size_t at = search(low), end = at;
  while (end < objects.count && objects.items[end]->low < high) discard(objects.items[end++]);
  memmove(objects.items + at, objects.items + end, (objects.count - end) * sizeof *objects.items);
  objects.count -= end - at;
}

static struct object *add(uint64_t low, uint64_t high, int kind, const void *context) {
  make_room(low, high);
  if (objects.count == objects.capacity) {
    const size_t capacity = objects.capacity == 0 ? 256 : 2 * objects.capacity;
    struct object **items = realloc(objects.items, capacity * sizeof *items);
    if (items == NULL) return NULL;
    objects.items = items;
    objects.capacity = capacity;
  }
  struct object *object = calloc(1, sizeof *object);
  if (object == NULL) return NULL;
  *object = (struct object){.low = low, .high = high, .kind = kind, .context = context};
  /* What the host can write without a call is taken to be initialised. */
  if (kind == REGION_DEVICE || kind == REGION_MAPPED) object->initialised = calloc((high - low) / 8 + 1, 1);
  const size_t at = search(low);
  memmove(objects.items + at + 1, objects.items + at, (objects.count - at) * sizeof *objects.items);
  objects.items[at] = object;
  ++objects.count;
  return object;
}

static struct object *find(uint64_t address) {
  const size_t at = search(address);
  return at < objects.count && objects.items[at]->low <= address ? objects.items[at] : NULL;
}

struct object *check_object(uint64_t address) {
  struct object *object = find(address);
  uint64_t low, high;
  if (object != NULL && !object->freed) return object;
  /* Memory that was there before the mode was set: nothing is known of its contents. */
  if (object == NULL && vgpu_memory_contains(address, 1, &low, &high)) return add(low, high, REGION_HOST, NULL);
  return object;
}

struct object *check_nearest(uint64_t address) {
  const size_t at = search(address);
  struct object *after = at < objects.count ? objects.items[at] : NULL;
  struct object *before = at > 0 ? objects.items[at - 1] : NULL;
  if (after == NULL || before == NULL) return after != NULL ? after : before;
  const uint64_t below = after->low > address ? after->low - address : 0;
  return address - before->high < below ? before : after;
}

/* ---- the program's side ---- */

void check_allocated(uint64_t low, uint64_t high, int kind, const void *context) {
  check_lock();
  struct object *old = find(low);
  /* Access to mapped memory that is granted again. */
  if (kind == REGION_MAPPED && old != NULL && old->low == low && old->high == high && old->kind == kind) {
    old->freed = false;
  } else {
    add(low, high, kind, context);
  }
  check_unlock();
}

void check_freed(uint64_t low, uint64_t high, int kind) {
  check_lock();
  struct object *object = find(low);
  if (object != NULL && object->low == low && object->high == high) {
    object->freed = true;
    free(object->cells);
    object->cells = NULL;
    if (kind != REGION_MAPPED) {
      free(object->initialised);
      object->initialised = NULL;
    }
  }
  check_unlock();
}

void check_bad_free(uint64_t address) {
  check_lock();
  const struct object *object = find(address);
  struct check_finding finding = {.kind = CHECK_BAD_FREE, .address = address};
  const unsigned long long shown = address;
  if (object == NULL) {
    snprintf(finding.what, sizeof finding.what, "0x%llx is freed, which is no allocation", shown);
  } else if (object->low == address) {
    snprintf(finding.what, sizeof finding.what, "0x%llx (%llu bytes) is freed a second time", shown,
             (unsigned long long)(object->high - object->low));
  } else {
    snprintf(finding.what, sizeof finding.what, "0x%llx is freed, which is %llu bytes inside an allocation", shown,
             (unsigned long long)(address - object->low));
  }
  check_unlock();
  check_report(&finding);
}

/* Calls mark() with the parts of [low, high) that lie in live objects with a bitmap. */
static void for_each_part(uint64_t low, uint64_t high, void (*mark)(struct object *, uint64_t, uint64_t, uint64_t),
                          uint64_t argument) {
  for (size_t i = search(low); i < objects.count && objects.items[i]->low < high; ++i) {
    struct object *object = objects.items[i];
    if (object->freed || object->initialised == NULL) continue;
    mark(object, low > object->low ? low : object->low, high < object->high ? high : object->high, argument);
  }
}

static void mark_written(struct object *object, uint64_t low, uint64_t high, uint64_t argument) {
  (void)argument;
  bits_set(object->initialised, low - object->low, high - low);
}

/* `distance`: from a byte to the one it was copied from. */
static void mark_copied(struct object *object, uint64_t low, uint64_t high, uint64_t distance) {
  const struct object *from = find(low + distance);
  /* What comes from elsewhere is taken to be initialised, and so is what moves within one allocation. */
  if (from == NULL || from->freed || from->initialised == NULL || from == object) {
    bits_set(object->initialised, low - object->low, high - low);
    return;
  }
  const uint64_t count = high - low < from->high - (low + distance) ? high - low : from->high - (low + distance);
  bits_copy(object->initialised, low - object->low, from->initialised, low + distance - from->low, count);
}

void check_written(uint64_t low, uint64_t high) {
  check_lock();
  for_each_part(low, high, mark_written, 0);
  check_unlock();
}

void check_copied(uint64_t to, uint64_t from, uint64_t bytes) {
  check_lock();
  for_each_part(to, to + bytes, mark_copied, from - to);
  check_unlock();
}

void check_context_end(const void *context) {
  for (size_t i = 0;; ++i) {
    struct check_finding finding = {.kind = CHECK_LEAK};
    check_lock();
    if (i >= objects.count) {
      check_unlock();
      break;
    }
    struct object *object = objects.items[i];
    const bool leaks = !object->freed && object->context == context &&
                       (object->kind == REGION_DEVICE || object->kind == REGION_MANAGED || object->kind == REGION_HOST);
    if (leaks) {
      object->freed = true;
      finding.address = object->low;
      snprintf(finding.what, sizeof finding.what,
               "%llu bytes of %s memory at 0x%llx are not freed when the context ends",
               (unsigned long long)(object->high - object->low),
               object->kind == REGION_HOST      ? "pinned host"
               : object->kind == REGION_MANAGED ? "managed"
                                                : "device",
               (unsigned long long)object->low);
    }
    check_unlock();
    if (leaks) check_report(&finding);
  }
  check_summary();
}
