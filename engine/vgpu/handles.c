/* Which handles are alive: a hash table of addresses with linear probing. */
#define _GNU_SOURCE 1
#include "engine/vgpu/handles.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

struct slot {
  const void *handle; /* NULL: free */
  enum handle_kind kind;
};

static struct {
  pthread_rwlock_t lock;
  struct slot *slots;
  size_t capacity, count; /* capacity: a power of two, at least twice the count */
} table = {.lock = PTHREAD_RWLOCK_INITIALIZER};

static size_t place_of(const void *handle) {
  return (size_t)(((uintptr_t)handle >> 4) * 0x9e3779b97f4a7c15u >> 20) & (table.capacity - 1);
}

/* The slot of the handle, or the free one where it would stand. */
static size_t search(const void *handle) {
  size_t at = place_of(handle);
  while (table.slots[at].handle != NULL && table.slots[at].handle != handle) at = (at + 1) & (table.capacity - 1);
  return at;
}

static bool grow(void) {
  struct slot *before = table.slots;
  const size_t size = table.capacity;
  struct slot *slots = calloc(size == 0 ? 256 : 2 * size, sizeof *slots);
  if (slots == NULL) return false;
  table.slots = slots;
  table.capacity = size == 0 ? 256 : 2 * size;
  for (size_t i = 0; i < size; ++i) {
    if (before[i].handle != NULL) table.slots[search(before[i].handle)] = before[i];
  }
  free(before);
  return true;
}

bool handle_add(const void *handle, enum handle_kind kind) {
  pthread_rwlock_wrlock(&table.lock);
  const bool room = 2 * (table.count + 1) <= table.capacity || grow();
  if (room) {
    const size_t at = search(handle);
    if (table.slots[at].handle == NULL) ++table.count;
    table.slots[at] = (struct slot){.handle = handle, .kind = kind};
  }
  pthread_rwlock_unlock(&table.lock);
  return room;
}

void handle_remove(const void *handle) {
  pthread_rwlock_wrlock(&table.lock);
  size_t hole = table.capacity > 0 && handle != NULL ? search(handle) : 0;
  if (table.capacity > 0 && handle != NULL && table.slots[hole].handle == handle) {
    --table.count;
    table.slots[hole].handle = NULL;
    /* What was pushed past the hole moves back into it. */
    for (size_t at = (hole + 1) & (table.capacity - 1); table.slots[at].handle != NULL;
         at = (at + 1) & (table.capacity - 1)) {
      const size_t home = place_of(table.slots[at].handle);
      if (((at - home) & (table.capacity - 1)) < ((at - hole) & (table.capacity - 1))) continue;
      table.slots[hole] = table.slots[at];
      table.slots[at].handle = NULL;
      hole = at;
    }
  }
  pthread_rwlock_unlock(&table.lock);
}

bool handle_is(const void *handle, enum handle_kind kind) {
  if (handle == NULL) return false;
  pthread_rwlock_rdlock(&table.lock);
  bool found = false;
  if (table.capacity > 0) {
    const struct slot *slot = &table.slots[search(handle)];
    found = slot->handle == handle && slot->kind == kind;
  }
  pthread_rwlock_unlock(&table.lock);
  return found;
}

size_t handle_find(enum handle_kind kind, bool (*wanted)(const void *handle, const void *of), const void *of,
                   void ***found) {
  size_t count = 0;
  pthread_rwlock_rdlock(&table.lock);
  *found = calloc(table.count + 1, sizeof **found);
  for (size_t i = 0; *found != NULL && i < table.capacity; ++i) {
    const struct slot *slot = &table.slots[i];
    if (slot->handle != NULL && slot->kind == kind && wanted(slot->handle, of))
      (*found)[count++] = (void *)slot->handle;
  }
  pthread_rwlock_unlock(&table.lock);
  return count;
}
