/* Matrices of 8 x 8 elements of 16 bits between memory and a warp's registers. */
#include "engine/vgpu/matrix.h"

#include <string.h>

/* The elements 2t and 2t + 1 of row g are in lane 4g + t; transposed: those of column g. */
void vgpu_matrix_load(uint32_t *result, const void *const rows[8], bool transpose) {
  uint16_t elements[8][8];
  for (int r = 0; r < 8; r++) memcpy(elements[r], rows[r], sizeof elements[r]);
  for (int lane = 0; lane < 32; lane++) {
    const int g = lane / 4, t = 2 * (lane % 4);
    const uint32_t low = transpose ? elements[t][g] : elements[g][t];
    const uint32_t high = transpose ? elements[t + 1][g] : elements[g][t + 1];
    result[lane] = low | high << 16;
  }
}

void vgpu_matrix_store(const uint32_t *source, void *const rows[8], bool transpose) {
  uint16_t elements[8][8];
  for (int lane = 0; lane < 32; lane++) {
    const int g = lane / 4, t = 2 * (lane % 4);
    for (int i = 0; i < 2; i++)
      *(transpose ? &elements[t + i][g] : &elements[g][t + i]) = (uint16_t)(source[lane] >> (16 * i));
  }
  for (int r = 0; r < 8; r++) memcpy(rows[r], elements[r], sizeof elements[r]);
}
