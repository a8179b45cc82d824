/* Orthonormal vectors by Gram and Schmidt on normal ones, in double precision. */
#include "engine/dt_embedding.h"

#include <math.h>

#include "kernels/arguments.h"
#include "kernels/philox.h"

enum { MOST = 64 /* latent sizes */ };

/* A stream of its own: parameter arrays have rows from 0. */
static double normal(uint64_t seed, unsigned row, unsigned element) {
  const philox_words words = philox(seed, element, row, philox_stream(STREAM_INITIALISE, 1, 0), 0);
  return sqrt(-2.0 * log((double)philox_uniform(words.word[0]))) *
         cos(2.0 * 3.14159265358979323846 * (double)philox_uniform(words.word[1]));
}

void dt_embedding(uint64_t seed, int classes, int size, int stride, float *vectors) {
  double basis[MOST][MOST] = {{0}};
  for (int row = 0; row < classes; ++row) {
    double vector[MOST] = {0}, squares = 0;
    for (int i = 0; i < size; ++i) vector[i] = normal(seed, (unsigned)row, (unsigned)i);
    /* Twice: what the first pass leaves by rounding is gone after the second. */
    for (int pass = 0; pass < 2; ++pass)
      for (int other = 0; row < size && other < row; ++other) {
        double dot = 0;
        for (int i = 0; i < size; ++i) dot += vector[i] * basis[other][i];
        for (int i = 0; i < size; ++i) vector[i] -= dot * basis[other][i];
      }
    for (int i = 0; i < size; ++i) squares += vector[i] * vector[i];
    for (int i = 0; i < size; ++i) {
      vector[i] /= sqrt(squares);
      if (row < size) basis[row][i] = vector[i];
    }
    for (int i = 0; i < stride; ++i) vectors[row * stride + i] = i < size ? (float)vector[i] : 0.0f;
  }
}
