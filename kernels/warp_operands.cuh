// Factors of products on tensor cores, in each precision: how a lane holds them, multiplies them and stores them.
//
//   OPERANDS_TF32    mma.m16n8k8: numbers with ten bits of fraction, ties away from zero
//   OPERANDS_BF16    mma.m16n8k16: pairs of numbers with seven bits of fraction, ties to even
//   OPERANDS_TF32X3  float32, as three mma.m16n8k8: a = a1 + a2 in tf32 with |a - a1 - a2| <= 2^-23 |a|, and a b is
//                    a2 b1 + a1 b2 + a1 b1. What is left out, a2 b2, is at most 2^-22 |a b|, so that a product errs
//                    by at most 2^-21 |a b| (docs/three_tf32.md). A lane holds float32 and splits it where it is used;
//                    weights are stored in their two parts.
//
// Sums of sixteen rows and eight features lie as mma leaves them: lane 4 g + t has of the group's features 2 t ([0],
// [2]) and 2 t + 1 ([1], [3]) of the rows g ([0], [1]) and g + 8 ([2], [3]). Such sums are the next layer's factors
// without any exchange of lanes: as they are for bf16, whose two neighbouring groups are the two halves of k; and for
// tf32 if slot t of k stands for the feature 2 t and slot t + 4 for 2 t + 1, which the weights' order
// (network_fragment_sources) takes care of.
#pragma once

#include "tile.cuh"

// Groups of eight features that one step of mma takes.
__host__ __device__ constexpr int operand_groups(int form) { return form == OPERANDS_BF16 ? 2 : 1; }
// Words that a lane holds of a step and sixteen rows.
enum { OPERAND_WORDS = 4 };
// Numbers in tf32 that a factor is the sum of.
__host__ __device__ constexpr int operand_parts(int form) { return form == OPERANDS_TF32X3 ? 2 : 1; }
__host__ __device__ constexpr int operand_steps(int form, int groups) {
  return (groups + operand_groups(form) - 1) / operand_groups(form);
}

__device__ __forceinline__ int quad() { return tile_lane() & 3; }                       // t
__device__ __forceinline__ int quad_row() { return tile_lane() >> 2; }                  // g
__device__ __forceinline__ int element_feature(int c) { return 2 * quad() + (c & 1); }  // within a group of eight

// N groups of features of 16 M rows.
template <int FORM, int N, int M>
struct warp_operands {
  static constexpr int steps = operand_steps(FORM, N);
  unsigned word[steps][M][OPERAND_WORDS];
};

__device__ __forceinline__ unsigned tf32_bits(float value) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
}

__device__ __forceinline__ unsigned bf16_pair(float low, float high) {
  unsigned bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

// One step's words from the sums of its group, and with bf16 of the group after it.
template <int FORM>
__device__ __forceinline__ void make_operand(unsigned (&word)[OPERAND_WORDS], const float (&low)[4],
                                             const float (&high)[4]) {
  if constexpr (FORM == OPERANDS_BF16) {
    word[0] = bf16_pair(low[0], low[1]);
    word[1] = bf16_pair(low[2], low[3]);
    word[2] = bf16_pair(high[0], high[1]);
    word[3] = bf16_pair(high[2], high[3]);
  } else {
    const int order[4] = {0, 2, 1, 3};  // rows g, g + 8 of slot t, then of slot t + 4
#pragma unroll
    for (int i = 0; i < OPERAND_WORDS; ++i)
      word[i] = FORM == OPERANDS_TF32X3 ? __float_as_uint(low[order[i]]) : tf32_bits(low[order[i]]);
  }
}

template <int FORM, int N, int M>
__device__ __forceinline__ void warp_pack(warp_operands<FORM, N, M> &to, const float (&from)[N][M][4]) {
  const float nothing[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
  for (int s = 0; s < to.steps; ++s)
#pragma unroll
    for (int m = 0; m < M; ++m) {
      const int low = s * operand_groups(FORM);
      if (low + 1 < N)
        make_operand<FORM>(to.word[s][m], from[low][m], from[low + 1][m]);
      else
        make_operand<FORM>(to.word[s][m], from[low][m], nothing);
    }
}

// acc += rows times eight columns: four words of rows, two of columns.
template <int FORM>
__device__ __forceinline__ void mma_step(float (&acc)[4], unsigned rows0, unsigned rows1, unsigned rows2,
                                         unsigned rows3, unsigned column0, unsigned column1) {
  if constexpr (FORM == OPERANDS_BF16)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
        "%2, %3};"
        : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
        : "r"(rows0), "r"(rows1), "r"(rows2), "r"(rows3), "r"(column0), "r"(column1));
  else
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
        "%2, %3};"
        : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
        : "r"(rows0), "r"(rows1), "r"(rows2), "r"(rows3), "r"(column0), "r"(column1));
}

// Words as mma takes them: what stands in a lane, or its two parts.
template <int FORM>
__device__ __forceinline__ void split_word(unsigned (&part)[operand_parts(FORM)], unsigned word) {
  if constexpr (FORM == OPERANDS_TF32X3) {
    part[0] = tf32_bits(__uint_as_float(word));
    part[1] = tf32_bits(__uint_as_float(word) - __uint_as_float(part[0]));
  } else {
    part[0] = word;
  }
}

template <int FORM>
struct row_parts {
  unsigned word[operand_parts(FORM)][OPERAND_WORDS];
};

template <int FORM>
__device__ __forceinline__ row_parts<FORM> split_rows(const unsigned (&word)[OPERAND_WORDS]) {
  row_parts<FORM> rows;
#pragma unroll
  for (int i = 0; i < OPERAND_WORDS; ++i) {
    unsigned part[operand_parts(FORM)];
    split_word<FORM>(part, word[i]);
#pragma unroll
    for (int p = 0; p < operand_parts(FORM); ++p) rows.word[p][i] = part[p];
  }
  return rows;
}

// Words of two groups of eight columns, the first in x and y.
template <int FORM>
struct column_parts {
  uint4 part[operand_parts(FORM)];
};

// acc += rows times eight columns, the first (SECOND: the second) of two groups; small products first. EXACT: the rows
// have no second part.
template <int FORM, bool SECOND, bool EXACT = false>
__device__ __forceinline__ void mma_parts(float (&acc)[4], const row_parts<FORM> &rows,
                                          const column_parts<FORM> &columns) {
#pragma unroll
  for (int product = operand_parts(FORM) == 2 ? 2 : 0; product >= 0; --product) {
    if (EXACT && product == 2) continue;
    const unsigned(&row)[OPERAND_WORDS] = rows.word[product == 2 ? 1 : 0];
    const uint4 &column = columns.part[product == 1 ? 1 : 0];
    mma_step<FORM>(acc, row[0], row[1], row[2], row[3], SECOND ? column.z : column.x, SECOND ? column.w : column.y);
  }
}

// Two columns of weights: through the read-only cache where they do not change during the launch.
__device__ __forceinline__ uint4 load_fragments(const uint4 *from) {
#ifdef TILE_PERSISTENT
  return *from;
#else
  return __ldg(from);
#endif
}

// acc += in W; `fragments`: the weights of this layer and input. The barriers of the warp keep ptxas from having all
// weights of a wide layer, or of several layers, on their way at once: it would spill registers for that.
template <int FORM, int K, int N, int M>
__device__ __forceinline__ void warp_dense(float (&acc)[N][M][4], const warp_operands<FORM, K, M> &in,
                                           const unsigned *fragments) {
  const uint4 *from = (const uint4 *)fragments + tile_lane();
#pragma unroll
  for (int s = 0; s < in.steps; ++s) {
    if (s % (4 / operand_parts(FORM)) == 0) __syncwarp();
    row_parts<FORM> rows[M];
#pragma unroll
    for (int m = 0; m < M; ++m) rows[m] = split_rows<FORM>(in.word[s][m]);
#pragma unroll
    for (int n = 0; n < N; n += 2, from += 32 * operand_parts(FORM)) {
      column_parts<FORM> columns;
#pragma unroll
      for (int p = 0; p < operand_parts(FORM); ++p) columns.part[p] = load_fragments(from + 32 * p);
#pragma unroll
      for (int m = 0; m < M; ++m) {
        mma_parts<FORM, false>(acc[n][m], rows[m], columns);
        if (n + 1 < N) mma_parts<FORM, true>(acc[n + 1][m], rows[m], columns);
      }
    }
  }
}
