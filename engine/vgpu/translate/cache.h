/* Object files of translated kernels on disk. */
#ifndef VGPU_TRANSLATE_CACHE_H
#define VGPU_TRANSLATE_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/vgpu/ir.h"

struct cache_key {
  uint64_t words[2];
};

/* Everything that the machine code of a kernel depends on: its instructions, the block size, the CPU (identity), and
 * the translator (a sum over its own file, so that another build of it never meets code of this one). */
struct cache_key cache_key_of(const struct ptx_function *function, const unsigned block[3], const char *identity,
                              uint64_t translator);
/* That sum; 0 if the file cannot be read: then nothing is to be kept. */
uint64_t cache_translator_sum(void);

/* The object file under that key, which the caller frees; NULL if there is none or it is damaged. */
unsigned char *cache_read(const char *folder, struct cache_key key, size_t *bytes);
/* Keeps one. Failure is no error: the next process translates again. */
void cache_write(const char *folder, struct cache_key key, const unsigned char *object, size_t bytes);

#endif
