/* The files that are built into the library: kernel headers as text, and kernels compiled ahead of time.
 *
 * Names: "philox.cuh" (the headers of kernels/ as they are), "update.ptx" (kernels/update.cu for the virtual GPU)
 * and "update.fatbin" (the same for real GPUs; absent from builds without it). */
#ifndef ENGINE_EMBEDDED_H
#define ENGINE_EMBEDDED_H

#include <stddef.h>

struct embedded_file {
  const char *name;
  const unsigned char *data; /* a NUL follows the last byte, so that text can be used as a string */
  size_t size;               /* without that NUL */
};

/* The file of that name, or NULL. */
const struct embedded_file *embedded_find(const char *name);
/* File number `index` (0-based, ordered by name), or NULL past the end. */
const struct embedded_file *embedded_at(int index);

#endif
