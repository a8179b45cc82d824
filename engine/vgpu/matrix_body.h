/* mma, compiled with the interpreter once per instruction set. See matrix.h. */

#include "engine/vgpu/half.h"
#include "engine/vgpu/matrix.h"

static inline unsigned matrix_bits(unsigned type) {
  switch (type) {
    case PTX_B1:
      return 1;
    case PTX_S4:
    case PTX_U4:
      return 4;
    case PTX_S8:
    case PTX_U8:
    case PTX_E4M3:
    case PTX_E5M2:
      return 8;
    case PTX_F16:
    case PTX_BF16:
      return 16;
    default:
      return 32;
  }
}

static inline float matrix_float(u32 word, unsigned type, unsigned i) {
  switch (type) {
    case PTX_F16:
      return float_of_half(word >> 16 * i & 0xffff);
    case PTX_BF16:
      return float_of_bfloat(word >> 16 * i & 0xffff);
    case PTX_E4M3:
      return float_of_e4m3(word >> 8 * i & 0xff);
    case PTX_E5M2:
      return float_of_e5m2(word >> 8 * i & 0xff);
    default:
      return float_of_tf32(word);
  }
}

static inline s32 matrix_integer(u32 word, unsigned type, unsigned i) {
  switch (type) {
    case PTX_S8:
      return (s8)(word >> 8 * i);
    case PTX_U8:
      return (s32)(word >> 8 * i & 0xff);
    case PTX_S4:
      return (s32)(word << (28 - 4 * i)) >> 28;
    default:
      return (s32)(word >> 4 * i & 15);
  }
}

enum { MATRIX_ROWS = 16, MATRIX_COLUMNS = 8, MATRIX_DEPTH = 64 };

/* C and D, of elements of 32 bits or packed halves. */
static inline u32 *matrix_place(void *const *registers, unsigned type, unsigned lane, unsigned e, unsigned *shift) {
  *shift = type == PTX_F16 ? 16 * (e & 1) : 0;
  return (u32 *)registers[type == PTX_F16 ? e / 2 : e] + lane;
}

static float matrix_read_c(const void *const *c, unsigned type, unsigned lane, unsigned e) {
  unsigned shift;
  const u32 word = *matrix_place((void *const *)(uintptr_t)c, type, lane, e, &shift);
  return type == PTX_F16 ? float_of_half(word >> shift & 0xffff) : float_of(word);
}

static void matrix_write_d(void *const *d, unsigned type, unsigned lane, unsigned e, float x) {
  unsigned shift;
  u32 *place = matrix_place(d, type, lane, e, &shift);
  if (type == PTX_F16)
    *place = (*place & ~((u32)0xffff << shift)) | half_of_double((double)x) << shift;
  else
    *place = x != x ? CANONICAL_NAN : bits_of(x);
}

static void mma_float(const struct ptx_matrix *shape, const void *const *sources, void *const *results) {
  float a[MATRIX_ROWS][MATRIX_DEPTH], b[MATRIX_DEPTH][MATRIX_COLUMNS], d[MATRIX_ROWS][MATRIX_COLUMNS];
  const unsigned high = shape->m / 8u, each_a = 32 / matrix_bits(shape->a), each_b = 32 / matrix_bits(shape->b);
  const void *const *c = sources + shape->a_count + shape->b_count;
  for (unsigned r = 0; r < shape->a_count; r++)
    for (unsigned l = 0; l < LANES; l++)
      for (unsigned i = 0; i < each_a; i++)
        a[l / 4 + 8 * (r % high)][each_a * (l % 4) + i + 4 * each_a * (r / high)] =
            matrix_float(((const u32 *)sources[r])[l], shape->a, i);
  for (unsigned r = 0; r < shape->b_count; r++)
    for (unsigned l = 0; l < LANES; l++)
      for (unsigned i = 0; i < each_b; i++)
        b[each_b * (l % 4) + i + 4 * each_b * r][l / 4] =
            matrix_float(((const u32 *)sources[shape->a_count + r])[l], shape->b, i);
  for (unsigned e = 0; e < 2 * high; e++)
    for (unsigned l = 0; l < LANES; l++) d[l / 4 + 8 * (e / 2)][2 * (l % 4) + e % 2] = matrix_read_c(c, shape->c, l, e);
  for (unsigned k = 0; k < shape->k; k++)
    for (unsigned i = 0; i < shape->m; i++)
      for (unsigned j = 0; j < MATRIX_COLUMNS; j++) d[i][j] = __builtin_fmaf(a[i][k], b[k][j], d[i][j]);
  for (unsigned e = 0; e < 2 * high; e++)
    for (unsigned l = 0; l < LANES; l++)
      matrix_write_d(results, shape->d, l, e, d[l / 4 + 8 * (e / 2)][2 * (l % 4) + e % 2]);
}

static void mma_double(const struct ptx_matrix *shape, const void *const *sources, void *const *results) {
  double a[MATRIX_ROWS][16], b[16][MATRIX_COLUMNS], d[MATRIX_ROWS][MATRIX_COLUMNS];
  const unsigned high = shape->m / 8u;
  const void *const *c = sources + shape->a_count + shape->b_count;
  for (unsigned l = 0; l < LANES; l++) {
    for (unsigned r = 0; r < shape->a_count; r++)
      a[l / 4 + 8 * (r % high)][l % 4 + 4 * (r / high)] = ((const f64 *)sources[r])[l];
    for (unsigned r = 0; r < shape->b_count; r++)
      b[l % 4 + 4 * r][l / 4] = ((const f64 *)sources[shape->a_count + r])[l];
    for (unsigned e = 0; e < 2 * high; e++) d[l / 4 + 8 * (e / 2)][2 * (l % 4) + e % 2] = ((const f64 *)c[e])[l];
  }
  for (unsigned k = 0; k < shape->k; k++)
    for (unsigned i = 0; i < shape->m; i++)
      for (unsigned j = 0; j < MATRIX_COLUMNS; j++) d[i][j] = __builtin_fma(a[i][k], b[k][j], d[i][j]);
  for (unsigned l = 0; l < LANES; l++)
    for (unsigned e = 0; e < 2 * high; e++) ((f64 *)results[e])[l] = d[l / 4 + 8 * (e / 2)][2 * (l % 4) + e % 2];
}

static void mma_integer(const struct ptx_instruction *mma, const void *const *sources, void *const *results) {
  const struct ptx_matrix *shape = &mma->matrix;
  s32 a[MATRIX_ROWS][MATRIX_DEPTH], b[MATRIX_DEPTH][MATRIX_COLUMNS];
  s64 d[MATRIX_ROWS][MATRIX_COLUMNS];
  const unsigned high = shape->m / 8u, each = 32 / matrix_bits(shape->a);
  const bool bits = shape->a == PTX_B1; /* of a register's 32 bits, one word */
  const unsigned step = bits ? 1 : each, depth = bits ? shape->k / 32u : shape->k;
  const void *const *c = sources + shape->a_count + shape->b_count;
  for (unsigned l = 0; l < LANES; l++) {
    for (unsigned r = 0; r < shape->a_count; r++)
      for (unsigned i = 0; i < step; i++)
        a[l / 4 + 8 * (r % high)][step * (l % 4) + i + 4 * step * (r / high)] =
            bits ? ((const s32 *)sources[r])[l] : matrix_integer(((const u32 *)sources[r])[l], shape->a, i);
    for (unsigned r = 0; r < shape->b_count; r++) {
      const u32 word = ((const u32 *)sources[shape->a_count + r])[l];
      for (unsigned i = 0; i < step; i++)
        b[step * (l % 4) + i + 4 * step * r][l / 4] = bits ? (s32)word : matrix_integer(word, shape->b, i);
    }
    for (unsigned e = 0; e < 2 * high; e++) d[l / 4 + 8 * (e / 2)][2 * (l % 4) + e % 2] = ((const s32 *)c[e])[l];
  }
  for (unsigned k = 0; k < depth; k++)
    for (unsigned i = 0; i < shape->m; i++)
      for (unsigned j = 0; j < MATRIX_COLUMNS; j++) {
        const s32 x = a[i][k], y = b[k][j];
        d[i][j] += !bits                           ? x * y
                   : mma->mode == PTX_MMA_AND_POPC ? __builtin_popcount((u32)x & (u32)y)
                                                   : __builtin_popcount((u32)x ^ (u32)y);
      }
  const bool clamp = mma->flags & PTX_SATFINITE;
  for (unsigned l = 0; l < LANES; l++)
    for (unsigned e = 0; e < 2 * high; e++) {
      s64 sum = d[l / 4 + 8 * (e / 2)][2 * (l % 4) + e % 2];
      if (clamp) sum = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum;
      ((u32 *)results[e])[l] = (u32)(u64)sum;
    }
}

/* m8n8k4: four products of 8 x 8 x 4. `s`: number of a lane among the eight of its product. */
static void mma_quads(const struct ptx_matrix *shape, const void *const *sources, void *const *results) {
  const void *const *c = sources + 4;
  float d[4][8][8];
  for (unsigned q = 0; q < 4; q++) {
    float a[8][4], b[4][8];
    for (unsigned s = 0; s < 8; s++) {
      const unsigned l = 4 * q + s % 4 + 16 * (s / 4);
      for (unsigned i = 0; i < 4; i++) {
        const float x = matrix_float(((const u32 *)sources[i / 2])[l], PTX_F16, i % 2);
        const float y = matrix_float(((const u32 *)sources[2 + i / 2])[l], PTX_F16, i % 2);
        if (shape->a_column)
          a[i + 4 * (s / 4)][s % 4] = x;
        else
          a[s][i] = x;
        if (shape->b_row)
          b[s % 4][i + 4 * (s / 4)] = y;
        else
          b[i][s] = y;
      }
      for (unsigned e = 0; e < 8; e++) {
        const bool packed = shape->c == PTX_F16;
        const unsigned row = packed ? s : (s & 1) + (e & 2) + 4 * (s / 4),
                       column = packed ? e : (e & 4) + (s & 2) + (e & 1);
        d[q][row][column] = matrix_read_c(c, shape->c, l, e);
      }
    }
    for (unsigned k = 0; k < 4; k++)
      for (unsigned i = 0; i < 8; i++)
        for (unsigned j = 0; j < 8; j++) d[q][i][j] = __builtin_fmaf(a[i][k], b[k][j], d[q][i][j]);
  }
  for (unsigned l = 0; l < LANES; l++) {
    const unsigned q = l % 16 / 4, s = l % 4 + 4 * (l / 16);
    for (unsigned e = 0; e < 8; e++) {
      const bool packed = shape->d == PTX_F16;
      const unsigned row = packed ? s : (s & 1) + (e & 2) + 4 * (s / 4),
                     column = packed ? e : (e & 4) + (s & 2) + (e & 1);
      matrix_write_d(results, shape->d, l, e, d[q][row][column]);
    }
  }
}

static void SET(mma)(const struct ptx_instruction *mma, const void *const *sources, void *const *results) {
  const struct ptx_matrix *shape = &mma->matrix;
  if (shape->a == PTX_F64)
    mma_double(shape, sources, results);
  else if (shape->d == PTX_S32)
    mma_integer(mma, sources, results);
  else if (shape->a == PTX_F16 && shape->k == 4)
    mma_quads(shape, sources, results);
  else
    mma_float(shape, sources, results);
}
