// Training where the warps of a block share its rows (warp_split.cuh).
#pragma once

#include "warp_split.cuh"
#include "warp_train.cuh"

// The warp's share of a layer's factors, kept by rows as warp_keep_rows does.
template <int N, int FORM, int G, int M>
__device__ __forceinline__ void split_keep_rows(float *memory, const warp_operands<FORM, G, M> &from) {
  uint4 *to = (uint4 *)memory + share_first<G, N>() / operand_groups(FORM) * M * 32 + tile_lane();
#pragma unroll
  for (int s = 0; s < from.steps; ++s) {
    if (!share_writes<G, N>(s * operand_groups(FORM))) continue;
#pragma unroll
    for (int m = 0; m < M; ++m) to[(s * M + m) * 32] = rows_by_columns<FORM>(from.word[s][m]);
  }
}
