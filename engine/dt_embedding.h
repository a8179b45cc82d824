/* Labels as vectors: orthonormal ones drawn from a seed. */
#ifndef ENGINE_DT_EMBEDDING_H
#define ENGINE_DT_EMBEDDING_H

#include <stdint.h>

/* Vectors of length 1, [classes][stride] of which `size` numbers are used and the others are 0; orthogonal to one
 * another up to the first `size` classes, further ones are in random directions. */
void dt_embedding(uint64_t seed, int classes, int size, int stride, float *vectors);

#endif
