/* malloc and free of kernels: one heap of the size that CUDA gives by default. It lives as long as the process, as what
 * one kernel allocates another may use. Called from many threads at once. */
#ifndef VGPU_HEAP_H
#define VGPU_HEAP_H

#include <stdbool.h>
#include <stdint.h>

/* 0: no room is left. Aligned to 16, contents undefined. */
uint64_t vgpu_heap_allocate(uint64_t bytes);
/* False: the address is not one that vgpu_heap_allocate gave, or was freed before. 0 is allowed. */
bool vgpu_heap_free(uint64_t address);

#endif
