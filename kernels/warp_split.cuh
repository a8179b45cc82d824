// The split tile: the warps of a block share 16 M rows, each makes a part of a layer's features.
//
// For layers too wide for a warp's registers, and for batches with fewer rows than would keep the multiprocessors busy.
// A layer of N groups of eight features goes to the warps in shares of split_groups(N); the factors of the next layer
// pass through memory, uint4 [steps][M][32 lanes], where every warp reads all of them. What is narrow (states, time,
// conditions, the output and its error) every warp has whole, and warp 0 alone writes it. An array of `G` groups of a
// layer of `N` is whole if G >= N, else the warp's share; bits do not depend on which.
#pragma once

#include "warp_rows.cuh"

// Even, so that a share begins with a pair of groups.
__host__ __device__ constexpr int split_groups(int groups) {
  return groups <= 2 ? groups : ((groups + 1) / 2 + TILE_WARPS - 1) / TILE_WARPS * 2;
}

// The first group of the warp's share; not less than N where it has none.
template <int G, int N>
__device__ __forceinline__ int share_first() {
  return G >= N ? 0 : tile_warp() * G;
}

// Whether group `n` of the share is the warp's to write.
template <int G, int N>
__device__ __forceinline__ bool share_writes(int n) {
  return G >= N ? tile_warp() == 0 : share_first<G, N>() + n < N;
}

template <int N, int G, int M>
__device__ __forceinline__ void split_add_features(float (&acc)[G][M][4], const float *values) {
  const int first = share_first<G, N>();
#pragma unroll
  for (int n = 0; n < G; ++n) {
    if (G < N && first + n >= N) continue;
    const float2 two = *(const float2 *)(values + 8 * (first + n) + 2 * quad());
#pragma unroll
    for (int m = 0; m < M; ++m) {
      acc[n][m][0] += two.x;
      acc[n][m][1] += two.y;
      acc[n][m][2] += two.x;
      acc[n][m][3] += two.y;
    }
  }
}

// One step's rows times the columns of the share. `from`: the step's fragments at the share's first pair.
template <int FORM, int N, int G, int M>
__device__ __forceinline__ void split_step(float (&acc)[G][M][4], const row_parts<FORM> (&rows)[M], const uint4 *from) {
  const int first = share_first<G, N>();
#pragma unroll
  for (int n = 0; n < G; n += 2, from += 32 * operand_parts(FORM)) {
    if (G < N && first + n >= N) continue;
    column_parts<FORM> columns;
#pragma unroll
    for (int p = 0; p < operand_parts(FORM); ++p) columns.part[p] = load_fragments(from + 32 * p);
#pragma unroll
    for (int m = 0; m < M; ++m) {
      mma_parts<FORM, false>(acc[n][m], rows[m], columns);
      if (n + 1 < G) mma_parts<FORM, true>(acc[n + 1][m], rows[m], columns);
    }
  }
}

template <int FORM, int N>
struct split_fragments {
  static constexpr int stride = (N + 1) / 2 * 32 * operand_parts(FORM);  // uint4 a step
};

template <int FORM, int N, int G>
__device__ __forceinline__ const uint4 *share_fragments(const unsigned *fragments) {
  return (const uint4 *)fragments + share_first<G, N>() / 2 * 32 * operand_parts(FORM) + tile_lane();
}

// acc += in W for factors that every warp has.
template <int N, int FORM, int K, int G, int M>
__device__ __forceinline__ void split_dense(float (&acc)[G][M][4], const warp_operands<FORM, K, M> &in,
                                            const unsigned *fragments) {
  const uint4 *from = share_fragments<FORM, N, G>(fragments);
#pragma unroll
  for (int s = 0; s < in.steps; ++s, from += split_fragments<FORM, N>::stride) {
    if (s % (4 / operand_parts(FORM)) == 0) __syncwarp();
    row_parts<FORM> rows[M];
#pragma unroll
    for (int m = 0; m < M; ++m) rows[m] = split_rows<FORM>(in.word[s][m]);
    split_step<FORM, N>(acc, rows, from);
  }
}

// The same for the block's factors in memory, K groups.
template <int FORM, int K, int N, int G, int M>
__device__ __forceinline__ void split_dense(float (&acc)[G][M][4], const float *operands, const unsigned *fragments) {
  const uint4 *from = share_fragments<FORM, N, G>(fragments), *in = (const uint4 *)operands + tile_lane();
#pragma unroll(4 / operand_parts(FORM))
  for (int s = 0; s < operand_steps(FORM, K); ++s, from += split_fragments<FORM, N>::stride) {
    row_parts<FORM> rows[M];
#pragma unroll
    for (int m = 0; m < M; ++m) {
      const uint4 four = in[(s * M + m) * 32];
      const unsigned word[OPERAND_WORDS] = {four.x, four.y, four.z, four.w};
      rows[m] = split_rows<FORM>(word);
    }
    split_step<FORM, N>(acc, rows, from);
  }
}

// The same for the condition x, straight from device memory.
template <int FORM, int KIND, int WIDTH, int N, int G, int M>
__device__ __forceinline__ void split_dense_condition(float (&acc)[G][M][4], const void *data,
                                                      const warp_row_numbers<M> &rows, const float *scale,
                                                      const float *shift, const unsigned *fragments) {
  constexpr int words = (N + 1) / 2 * 32 * 4 * operand_parts(FORM);
#pragma unroll 1
  for (int k = 0; k < WIDTH; k += 8 * operand_groups(FORM), fragments += words)
    split_dense<N>(acc, warp_condition<FORM, KIND, WIDTH>(data, rows, k, scale, shift), fragments);
}

// The warp's share of a layer's factors into memory.
template <int N, int FORM, int G, int M>
__device__ __forceinline__ void split_put(float *operands, const warp_operands<FORM, G, M> &from) {
  uint4 *to = (uint4 *)operands + share_first<G, N>() / operand_groups(FORM) * M * 32 + tile_lane();
#pragma unroll
  for (int s = 0; s < from.steps; ++s) {
    if (!share_writes<G, N>(s * operand_groups(FORM))) continue;
#pragma unroll
    for (int m = 0; m < M; ++m) {
      const unsigned(&word)[OPERAND_WORDS] = from.word[s][m];
      to[(s * M + m) * 32] = make_uint4(word[0], word[1], word[2], word[3]);
    }
  }
}
