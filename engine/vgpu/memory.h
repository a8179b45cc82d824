/* What the executors ask about device memory (which is host memory). */
#ifndef VGPU_MEMORY_H
#define VGPU_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether [address, address + bytes) lies inside one live allocation (or run of mapped memory, or the variables of a
 * loaded module). If so, stores that allocation's bounds [low, high). Called from many threads at once. */
bool vgpu_memory_contains(uint64_t address, size_t bytes, uint64_t *low, uint64_t *high);

#endif
