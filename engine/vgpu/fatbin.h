/* NVIDIA's container of device code: finds the PTX in it. */
#ifndef VGPU_FATBIN_H
#define VGPU_FATBIN_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the image is such a container, or the structure that nvcc leaves in a program to point to one. */
bool fatbin_is(const void *image);

/* The PTX for the newest architecture up to `capability` (86 for 8.6), as text of its own that the caller frees. NULL
 * and a reason if there is none or it cannot be unpacked. `size`: bytes of the image, or 0 if not known. */
char *fatbin_ptx(const void *image, size_t size, unsigned capability, char *reason, size_t reason_bytes);

#endif
