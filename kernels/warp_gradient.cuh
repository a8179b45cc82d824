// Weight gradients on tensor cores: sums over the rows of a block of input times gradient of the layer's sum.
//
// Rows are what mma sums over here, so that both factors are wanted by columns: lane 4 g + t has feature g of several
// rows. warp_keep_rows exchanges the lanes of factors (movmatrix for pairs of 16 bits, two shuffles for words of 32)
// and writes uint4 [steps][M][32 lanes]:
//
//   tf32 (tf32x3: float32), a step of eight features: feature g of the rows t, t + 4, t + 8, t + 12
//   bf16, a step of sixteen: rows 2 t, 2 t + 1 and 2 t + 8, 2 t + 9 of feature g (x, y) and of feature g + 8 (z, w)
#pragma once

#include "warp_operands.cuh"
#include "warp_rows.cuh"

// Columns of a block of eight rows and eight features of words: from features 2 t (a) and 2 t + 1 (b) of row g to rows
// t (a) and t + 4 (b) of feature g. Lane 4 r + c serves the features 2 c and 2 c + 1; each shuffle takes the former
// from the rows 0-3 and the latter from the rows 4-7, or the other way round.
__device__ __forceinline__ void transpose_words(unsigned &a, unsigned &b) {
  const int lane = lane_of_warp(), row = lane & 3, feature = lane >> 2;
  const bool late = lane >= 16, odd = feature & 1;
  const unsigned first = late ? b : a, second = late ? a : b;
  const int source = 4 * row + feature / 2;
  const unsigned one = __shfl_sync(0xffffffffu, first, source + (odd ? 16 : 0));
  const unsigned other = __shfl_sync(0xffffffffu, second, source + (odd ? 0 : 16));
  a = odd ? other : one;
  b = odd ? one : other;
}

__device__ __forceinline__ unsigned transpose_pairs(unsigned word) {
  unsigned result;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(word));
  return result;
}

template <int FORM>
__device__ __forceinline__ uint4 rows_by_columns(const unsigned (&word)[OPERAND_WORDS]) {
  if constexpr (FORM == OPERANDS_BF16)
    return make_uint4(transpose_pairs(word[0]), transpose_pairs(word[1]), transpose_pairs(word[2]),
                      transpose_pairs(word[3]));
  uint4 four = make_uint4(word[0], word[2], word[1], word[3]);
  transpose_words(four.x, four.y);
  transpose_words(four.z, four.w);
  return four;
}

template <int FORM, int N, int M>
__device__ __forceinline__ void warp_keep_rows(float *memory, const warp_operands<FORM, N, M> &from) {
  uint4 *to = (uint4 *)memory + tile_lane();
#pragma unroll
  for (int s = 0; s < from.steps; ++s)
#pragma unroll
    for (int m = 0; m < M; ++m) to[(s * M + m) * 32] = rows_by_columns<FORM>(from.word[s][m]);
}

// How a layer's gradient is shared out: a warp takes `inputs` times sixteen inputs and `outputs` times eight outputs
// at a time, as many as leave something for every warp. More of both means fewer reads for a product.
template <int FORM, int K, int N>
struct gradient_share {
  static constexpr int pairs = (K + 1) / 2;
  static constexpr int outputs = N <= operand_groups(FORM)                     ? operand_groups(FORM)
                                 : N > 2 && pairs *((N + 3) / 4) >= TILE_WARPS ? 4
                                                                               : 2;
  static constexpr int columns = (N + outputs - 1) / outputs;
  static constexpr int inputs = operand_parts(FORM) == 1 && pairs * columns >= 2 * TILE_WARPS ? 2 : 1;
  static constexpr int items = (pairs + inputs - 1) / inputs * columns;
};

// Sixteen inputs of sixteen rows as mma's rows: in bf16 one step of sixteen rows, else two of eight.
template <int FORM>
struct gradient_rows {
  row_parts<FORM> step[2];
};

// acc += rows times the outputs of `delta`, the block's rows of one row block.
template <int FORM, bool EXACT = false, int OUTPUTS>
__device__ __forceinline__ void accumulate_outputs(float (&acc)[OUTPUTS][4], const gradient_rows<FORM> &rows,
                                                   const column_parts<FORM> (&delta)[OUTPUTS]) {
#pragma unroll
  for (int j = 0; j < OUTPUTS; ++j) {
    if constexpr (FORM == OPERANDS_BF16) {
      if (j & 1)
        mma_parts<FORM, true>(acc[j], rows.step[0], delta[j / 2]);
      else
        mma_parts<FORM, false>(acc[j], rows.step[0], delta[j / 2]);
    } else {
      mma_parts<FORM, false, EXACT>(acc[j], rows.step[0], delta[j]);
      mma_parts<FORM, true, EXACT>(acc[j], rows.step[1], delta[j]);
    }
  }
}

template <int FORM>
__device__ __forceinline__ column_parts<FORM> split_columns(const uint4 &four) {
  const unsigned word[OPERAND_WORDS] = {four.x, four.y, four.z, four.w};
  const row_parts<FORM> parts = split_rows<FORM>(word);
  column_parts<FORM> columns;
#pragma unroll
  for (int p = 0; p < operand_parts(FORM); ++p)
    columns.part[p] = make_uint4(parts.word[p][0], parts.word[p][1], parts.word[p][2], parts.word[p][3]);
  return columns;
}

// The outputs 8 `group` .. of a row block; those past the layer's end are zero.
template <int FORM, int N, int M, int OUTPUTS>
__device__ __forceinline__ void load_outputs(column_parts<FORM> (&delta)[OUTPUTS], const uint4 *from, int group) {
  constexpr int groups = operand_groups(FORM);
#pragma unroll
  for (int j = 0; j < OUTPUTS / groups; ++j)
    delta[j] =
        split_columns<FORM>(group + j * groups < N ? from[(group / groups + j) * M * 32] : make_uint4(0u, 0u, 0u, 0u));
}

// Sixteen inputs, from input group `group`, of a row block.
template <int FORM, int K, int M>
__device__ __forceinline__ gradient_rows<FORM> load_inputs(const uint4 *from, int group) {
  gradient_rows<FORM> rows;
  const uint4 nothing = make_uint4(0u, 0u, 0u, 0u);
  if constexpr (FORM == OPERANDS_BF16) {
    const uint4 four = group < K ? from[group / 2 * M * 32] : nothing;
    const unsigned word[4] = {four.x, four.z, four.y, four.w};
    rows.step[0] = split_rows<FORM>(word);
  } else {
    const uint4 low = group < K ? from[group * M * 32] : nothing;
    const uint4 high = group + 1 < K ? from[(group + 1) * M * 32] : nothing;
    const unsigned first[4] = {low.x, high.x, low.y, high.y}, second[4] = {low.z, high.z, low.w, high.w};
    rows.step[0] = split_rows<FORM>(first);
    rows.step[1] = split_rows<FORM>(second);
  }
  return rows;
}

// Writes acc, or adds it to what stands there: inputs first.. of [inputs][LD], outputs from group `group`.
template <int LD, int OUTPUTS>
__device__ __forceinline__ void store_gradient(float *gradient, const float (&acc)[OUTPUTS][4], int first, int inputs,
                                               int group, bool accumulate) {
#pragma unroll
  for (int j = 0; j < OUTPUTS; ++j)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int input = first + 8 * half + quad_row(), column = 8 * (group + j) + 2 * quad();
      if (input >= inputs || column >= LD) continue;
      float2 *to = (float2 *)(gradient + input * LD + column);
      float2 value = make_float2(acc[j][2 * half], acc[j][2 * half + 1]);
      if (accumulate) value = make_float2(to->x + value.x, to->y + value.y);
      *to = value;
    }
}

// gradient[k][n] (+)= sum over the block's rows of in[row][k] delta[row][n]; both kept by rows, K and N groups of
// eight, [WARPS][steps][M][32]: of the warps that have rows of their own.
template <int FORM, int K, int N, int M, int WARPS = TILE_WARPS>
__device__ __forceinline__ void block_weight_gradient(float *gradient, int inputs, const float *in, const float *delta,
                                                      bool accumulate) {
  using share = gradient_share<FORM, K, N>;
  constexpr int in_warp = operand_steps(FORM, K) * M * 32, delta_warp = operand_steps(FORM, N) * M * 32;
#pragma unroll 1
  for (int item = tile_warp(); item < share::items; item += TILE_WARPS) {
    const int first = item / share::columns * share::inputs * 2, group = item % share::columns * share::outputs;
    float acc[share::inputs][share::outputs][4] = {};
#pragma unroll 1
    for (int at = 0; at < WARPS * M; ++at) {
      const int warp = at / M, m = at % M;
      const uint4 *rows = (const uint4 *)in + warp * in_warp + m * 32 + tile_lane();
      column_parts<FORM> outputs[share::outputs];
      load_outputs<FORM, N, M>(outputs, (const uint4 *)delta + warp * delta_warp + m * 32 + tile_lane(), group);
#pragma unroll
      for (int i = 0; i < share::inputs; ++i)
        accumulate_outputs<FORM>(acc[i], load_inputs<FORM, K, M>(rows, first + 2 * i), outputs);
    }
#pragma unroll
    for (int i = 0; i < share::inputs; ++i)
      store_gradient<8 * N>(gradient, acc[i], 8 * (first + 2 * i), inputs, group, accumulate);
  }
}

// The same for a wide condition, read again from device memory; `numbers`: data rows of the block, [WARPS * 16 M].
template <int FORM, int KIND, int WIDTH, int N, int M, int WARPS = TILE_WARPS>
__device__ __forceinline__ void block_condition_gradient(float *gradient, const void *data, const unsigned *numbers,
                                                         const float *scale, const float *shift, const float *delta,
                                                         bool accumulate) {
  constexpr int outputs = 4, columns = (N + outputs - 1) / outputs, items = (WIDTH + 15) / 16 * columns;
  constexpr int delta_warp = operand_steps(FORM, N) * M * 32;
  const int t = quad();
#pragma unroll 1
  for (int item = tile_warp(); item < items; item += TILE_WARPS) {
    const int first = item / columns * 16, group = item % columns * outputs;
    float acc[outputs][4] = {};
#pragma unroll 1
    for (int at = 0; at < WARPS * M; ++at) {
      float value[2][4];
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        const unsigned row = numbers[16 * at + (FORM == OPERANDS_BF16 ? 2 * t + (q & 1) + 8 * (q >> 1) : t + 4 * q)];
#pragma unroll
        for (int half = 0; half < 2; ++half)
          value[half][q] = condition_value<KIND, WIDTH>(data, row, first + 8 * half + quad_row(), scale, shift, 0.0f);
      }
      unsigned word[2][OPERAND_WORDS] = {};
      const auto bits = [](float f) { return FORM == OPERANDS_TF32X3 ? __float_as_uint(f) : tf32_bits(f); };
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if constexpr (FORM == OPERANDS_BF16) {
            word[0][2 * i + half] = bf16_pair(value[half][2 * i], value[half][2 * i + 1]);
          } else {
            word[i][half] = bits(value[half][2 * i]);
            word[i][2 + half] = bits(value[half][2 * i + 1]);
          }
        }
      const gradient_rows<FORM> rows = {{split_rows<FORM>(word[0]), split_rows<FORM>(word[1])}};
      column_parts<FORM> delta_rows[outputs];
      load_outputs<FORM, N, M>(delta_rows, (const uint4 *)delta + at / M * delta_warp + at % M * 32 + tile_lane(),
                               group);
      accumulate_outputs<FORM>(acc, rows, delta_rows);
    }
    store_gradient<8 * N>(gradient, acc, first, WIDTH, group, accumulate);
  }
}

// gradient[n] (+)= sum over the block's rows of delta[row][n].
template <int FORM, int N, int M, int WARPS = TILE_WARPS>
__device__ __forceinline__ void block_bias_gradient(float *gradient, const float *delta, bool accumulate) {
  constexpr int groups = operand_groups(FORM), steps = operand_steps(FORM, N);
  const unsigned one = FORM == OPERANDS_BF16 ? 0x3f803f80u : 0x3f800000u, four[OPERAND_WORDS] = {one, one, one, one};
  const gradient_rows<FORM> ones = {{split_rows<FORM>(four), split_rows<FORM>(four)}};
#pragma unroll 1
  for (int s = tile_warp(); s < steps; s += TILE_WARPS) {
    float acc[groups][4] = {};
#pragma unroll 1
    for (int at = 0; at < WARPS * M; ++at) {
      column_parts<FORM> outputs[groups];
      load_outputs<FORM, N, M>(outputs, (const uint4 *)delta + at / M * steps * M * 32 + at % M * 32 + tile_lane(),
                               s * groups);
      accumulate_outputs<FORM, true>(acc, ones, outputs);
    }
    if (quad_row() == 0)
#pragma unroll
      for (int j = 0; j < groups; ++j) {
        if (s * groups + j >= N) continue;
        float2 *to = (float2 *)(gradient + 8 * (s * groups + j) + 2 * quad());
        *to = accumulate ? make_float2(to->x + acc[j][0], to->y + acc[j][1]) : make_float2(acc[j][0], acc[j][1]);
      }
  }
}
