/* The device heap: sizes are rounded up to powers of two; freed blocks wait in a list per size. What a kernel writes
 * past a block's end can spoil other blocks' contents, but nothing that is kept here. */
#include "engine/vgpu/heap.h"

#include <pthread.h>
#include <stdlib.h>

#include "engine/vgpu/regions.h"

enum { HEAP_BYTES = 8 << 20, GRAIN = 16, GRAINS = HEAP_BYTES / GRAIN, CLASSES = 20 };

static struct {
  pthread_mutex_t lock;
  unsigned char *memory;
  uint8_t size_class[GRAINS]; /* 1 + class of the block in use that starts here */
  uint32_t *unused[CLASSES];  /* grains where freed blocks of the class start */
  uint32_t unused_count[CLASSES], unused_room[CLASSES];
  uint32_t used; /* grains from the start that were ever given */
} heap = {.lock = PTHREAD_MUTEX_INITIALIZER};

uint64_t vgpu_heap_allocate(uint64_t bytes) {
  if (bytes > HEAP_BYTES) return 0;
  unsigned class = 0;
  while (((uint64_t)GRAIN << class) < bytes) class ++;
  uint64_t address = 0;
  pthread_mutex_lock(&heap.lock);
  if (heap.memory == NULL) heap.memory = regions_allocate(REGION_DEVICE, HEAP_BYTES, NULL);
  uint32_t grain = UINT32_MAX;
  if (heap.memory == NULL) goto done;
  if (heap.unused_count[class] != 0) {
    grain = heap.unused[class][--heap.unused_count[class]];
  } else if (heap.used + ((uint32_t)1 << class) <= GRAINS) {
    grain = heap.used;
    heap.used += (uint32_t)1 << class;
  }
  if (grain == UINT32_MAX) goto done;
  heap.size_class[grain] = (uint8_t)(class + 1);
  address = (uint64_t)(uintptr_t)heap.memory + (uint64_t)grain * GRAIN;
done:
  pthread_mutex_unlock(&heap.lock);
  return address;
}

bool vgpu_heap_free(uint64_t address) {
  if (address == 0) return true;
  bool found = false;
  pthread_mutex_lock(&heap.lock);
  const uint64_t offset = address - (uint64_t)(uintptr_t)heap.memory;
  if (heap.memory == NULL || offset >= HEAP_BYTES || offset % GRAIN != 0 || heap.size_class[offset / GRAIN] == 0)
    goto done;
  found = true;
  const unsigned class = heap.size_class[offset / GRAIN] - 1u;
  heap.size_class[offset / GRAIN] = 0;
  if (heap.unused_count[class] == heap.unused_room[class]) {
    const uint32_t room = heap.unused_room[class] != 0 ? heap.unused_room[class] * 2 : 64;
    uint32_t *grown = realloc(heap.unused[class], room * sizeof *grown);
    if (grown == NULL) goto done; /* the block is lost */
    heap.unused[class] = grown;
    heap.unused_room[class] = room;
  }
  heap.unused[class][heap.unused_count[class]++] = (uint32_t)(offset / GRAIN);
done:
  pthread_mutex_unlock(&heap.lock);
  return found;
}
