// The products of gemm.cuh on tensor cores: factors in GEMM_FORM (warp_operands.cuh), sums in float32.
//
// A block's rows stand in shared memory as mma takes them. Weights come from the copies that the update keeps in the
// order of mma (network_place_fragments), turned ones for the way back: a lane's four words at a time, from the cache.
// Two warps share a block's columns, four its rows' halves: each has 32 rows and GEMM_WIDTH / 4 columns.
//
// Gradients of weights sum over rows: factors of both sides stand in shared memory by [four rows][16 features], so that
// lane 4 g + t has the features 2 g and 2 g + 1 of row t; rows g and g + 8 of mma are these two.
#pragma once

#include "gemm.cuh"
#include "warp_operands.cuh"

enum {
  GEMM_STEPS = GEMM_FORM == OPERANDS_BF16 ? 2 : 4,  // of mma, in GEMM_DEPTH summands
  GEMM_STEP_WORDS = GEMM_ROWS * 8 + 8,              // from step to step: stores of a warp meet in no bank
  GEMM_PAIRS = GEMM_WIDTH / 64,                     // of eight columns, that a warp has
  GEMM_BLOCK_WORDS = 68,                            // of [4 rows][16 features]
  GEMM_IN_BLOCKS = GEMM_ROWS / 16,
  GEMM_OUT_BLOCKS = GEMM_WIDTH / 16
};
static_assert(GEMM_PAIRS > 0, "a warp has sixteen columns at least");

__device__ __forceinline__ int mma_lane_row() { return (threadIdx.x & 31) >> 2; }  // g
__device__ __forceinline__ int mma_lane_slot() { return threadIdx.x & 3; }         // t

__device__ __forceinline__ unsigned gemm_word(float value) {
  return GEMM_FORM == OPERANDS_TF32 ? tf32_bits(value) : __float_as_uint(value);
}

// A warp's eight rows, lane = summand. bf16: even lanes take pairs of one row, odd ones of the next.
__device__ __forceinline__ void gemm_store_operands(unsigned *words, const float (&value)[GEMM_WARP_ROWS]) {
  const int lane = threadIdx.x & 31, first = warp_of_block() * GEMM_WARP_ROWS;
  if constexpr (GEMM_FORM == OPERANDS_BF16) {
    const int odd = lane & 1, pair = lane >> 1;
    unsigned *to = words + (pair >> 3) * GEMM_STEP_WORDS + (first + odd) * 8 + (pair & 3) * 2 + (pair >> 2 & 1);
#pragma unroll
    for (int i = 0; i < GEMM_WARP_ROWS; i += 2) {
      const float other = __shfl_xor_sync(0xffffffffu, odd ? value[i] : value[i + 1], 1);
      to[i * 8] = odd ? bf16_pair(other, value[i + 1]) : bf16_pair(value[i], other);
    }
  } else {
    unsigned *to = words + (lane >> 3) * GEMM_STEP_WORDS + first * 8 + (lane & 7);
#pragma unroll
    for (int i = 0; i < GEMM_WARP_ROWS; ++i) to[i * 8] = gemm_word(value[i]);
  }
}

// Sixteen rows of one step.
__device__ __forceinline__ row_parts<GEMM_FORM> gemm_rows_operand(const unsigned *words) {
  const uint2 low = *(const uint2 *)(words + 2 * (threadIdx.x & 31));
  const uint2 high = *(const uint2 *)(words + 64 + 2 * (threadIdx.x & 31));
  const unsigned word[OPERAND_WORDS] = {low.x, high.x, low.y, high.y};
  return split_rows<GEMM_FORM>(word);
}

struct gemm_sums {
  float of[2][2 * GEMM_PAIRS][4];
};

// acc += the warp's rows times its columns, one step of mma; `columns`: the first step's.
__device__ __forceinline__ void gemm_step(gemm_sums &acc, const unsigned *rows, const uint4 *columns, int step,
                                          int first_pair, int pairs) {
  row_parts<GEMM_FORM> operand[2];
#pragma unroll
  for (int m = 0; m < 2; ++m) operand[m] = gemm_rows_operand(rows + m * 128);
#pragma unroll
  for (int p = 0; p < GEMM_PAIRS; ++p) {
    column_parts<GEMM_FORM> column;
    const int pair = min(first_pair + p, pairs - 1);
#pragma unroll
    for (int q = 0; q < operand_parts(GEMM_FORM); ++q)
      column.part[q] = columns[((step * pairs + pair) * operand_parts(GEMM_FORM) + q) * 32];
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      mma_parts<GEMM_FORM, false>(acc.of[m][2 * p], operand[m], column);
      mma_parts<GEMM_FORM, true>(acc.of[m][2 * p + 1], operand[m], column);
    }
  }
}

template <typename END>
__device__ __forceinline__ void gemm_tensor(const gemm_arguments &a) {
  __shared__ uint2 memory[GEMM_STEPS * GEMM_STEP_WORDS / 2];
  unsigned *const words = (unsigned *)memory;
  const gemm_place place = gemm_place_of(a);
  const int half = warp_of_block() & 1, part = warp_of_block() >> 1;
  const int pairs = (a.stride / 8 + 1) / 2, first_pair = place.first_column / 16 + part * GEMM_PAIRS;
  gemm_sums acc = {};
#pragma unroll 1
  for (unsigned i = 0; i < a.input_count; ++i) {
    const gemm_input input = gemm_select<GEMM_INPUTS>(a.inputs, i);
    const int steps = operand_steps(GEMM_FORM, (input.features + 7) / 8);
#pragma unroll 1
    for (unsigned repetition = 0; repetition < input.repeat; ++repetition) {
      const gemm_rows rows = gemm_rows_of(a, input, place, repetition);
      float value[GEMM_WARP_ROWS];
      if (GEMM_AHEAD) gemm_load_rows(value, rows, 0, input.stride);
#pragma unroll 1
      for (int done = 0; done < steps; done += GEMM_STEPS) {
        const unsigned depth = done / GEMM_STEPS * GEMM_DEPTH;
        __syncthreads();
        if (!GEMM_AHEAD) gemm_load_rows(value, rows, depth, input.stride);
        gemm_store_operands(words, value);
        __syncthreads();
        if (GEMM_AHEAD && done + GEMM_STEPS < steps) gemm_load_rows(value, rows, depth + GEMM_DEPTH, input.stride);
        if (first_pair >= pairs) continue;
        const unsigned *from = words + half * 256;
        const uint4 *columns = (const uint4 *)input.fragments + (threadIdx.x & 31) +
                               (long long)done * pairs * (32 * operand_parts(GEMM_FORM));
        if (done + GEMM_STEPS <= steps) {
#pragma unroll
          for (int step = 0; step < GEMM_STEPS; ++step)
            gemm_step(acc, from + step * GEMM_STEP_WORDS, columns, step, first_pair, pairs);
        } else {
#pragma unroll 1
          for (int step = 0; step < steps - done; ++step)
            gemm_step(acc, from + step * GEMM_STEP_WORDS, columns, step, first_pair, pairs);
        }
      }
    }
  }
#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int n = 0; n < 2 * GEMM_PAIRS; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        END::element(a, place.first_row + half * 32 + m * 16 + mma_lane_row() + e / 2 * 8,
                     16 * first_pair + 8 * n + 2 * mma_lane_slot() + e % 2, acc.of[m][n][e]);
}

// ---- gradients of weights ----

// Both factors of GEMM_DEPTH rows.
struct gemm_gradient_memory {
  uint2 in[GEMM_DEPTH / 4 * GEMM_IN_BLOCKS * GEMM_BLOCK_WORDS / 2];
  uint2 out[GEMM_DEPTH / 4 * GEMM_OUT_BLOCKS * GEMM_BLOCK_WORDS / 2];
};

// Where feature `feature` of row `row` stands.
template <int BLOCKS>
__device__ __forceinline__ unsigned gemm_gradient_place(unsigned row, unsigned feature) {
  return (row / 4 * BLOCKS + feature / 16) * GEMM_BLOCK_WORDS + feature % 16 / 2 * 8 + row % 4 * 2 + feature % 2;
}

__device__ __forceinline__ void gemm_store_gradient(gemm_gradient_memory &memory, const float (&value)[GEMM_WARP_ROWS],
                                                    const gemm_weights<false> &delta) {
#pragma unroll
  for (int i = 0; i < GEMM_WARP_ROWS; ++i) {
    const unsigned part = i * GEMM_WARPS + warp_of_block();
    ((unsigned *)memory.in)[gemm_gradient_place<GEMM_IN_BLOCKS>(part / 2, part % 2 * 32 + (threadIdx.x & 31))] =
        gemm_word(value[i]);
  }
#pragma unroll
  for (int i = 0; i < GEMM_WEIGHTS; ++i) {
    const unsigned at = i * GEMM_THREADS + threadIdx.x;
    uint2 *to = memory.out + gemm_gradient_place<GEMM_OUT_BLOCKS>(at / (GEMM_WIDTH / 4), at % (GEMM_WIDTH / 4) * 4) / 2;
    to[0] = make_uint2(gemm_word(delta.quad[i].x), gemm_word(delta.quad[i].y));
    to[4] = make_uint2(gemm_word(delta.quad[i].z), gemm_word(delta.quad[i].w));
  }
}

// The words of 16 features in step `step`: of even features in [0], [1] (slots of k), of odd ones in [2], [3].
template <int BLOCKS>
__device__ __forceinline__ void gemm_gradient_words(unsigned (&word)[OPERAND_WORDS], const uint2 *memory, int step,
                                                    int block) {
  constexpr int quads = GEMM_FORM == OPERANDS_BF16 ? 4 : 2;
  uint2 of[quads];
#pragma unroll
  for (int q = 0; q < quads; ++q)
    of[q] = memory[((step * quads + q) * BLOCKS + block) * (GEMM_BLOCK_WORDS / 2) + (threadIdx.x & 31)];
  if constexpr (GEMM_FORM == OPERANDS_BF16) {
    word[0] = bf16_pair(__uint_as_float(of[0].x), __uint_as_float(of[1].x));
    word[1] = bf16_pair(__uint_as_float(of[2].x), __uint_as_float(of[3].x));
    word[2] = bf16_pair(__uint_as_float(of[0].y), __uint_as_float(of[1].y));
    word[3] = bf16_pair(__uint_as_float(of[2].y), __uint_as_float(of[3].y));
  } else {
    word[0] = of[0].x, word[1] = of[1].x, word[2] = of[0].y, word[3] = of[1].y;
  }
}

__device__ __forceinline__ void gemm_gradient_tensor(const gemm_gradient_arguments &a) {
  constexpr int blocks = GEMM_OUT_BLOCKS / 4;  // of 16 columns, that a warp has
  __shared__ gemm_gradient_memory memory;
  __shared__ float4 of_columns[GEMM_THREADS];
  const gemm_work work = gemm_work_of(a);
  const gemm_item &item = work.item;
  const int half = warp_of_block() & 1, part = warp_of_block() >> 1;
  const bool empty =
      work.first_column + part * 16 * blocks >= item.stride || work.first_input + half * 32 >= item.features;
  float acc[2][blocks][2][4] = {};
  float4 sum = gemm_zero();
  float value[GEMM_WARP_ROWS];
  gemm_weights<false> delta;
  if (GEMM_AHEAD && work.first_row < work.last_row) gemm_load_gradient(value, delta, work, work.first_row);
#pragma unroll 1
  for (unsigned row = work.first_row; row < work.last_row; row += GEMM_DEPTH) {
    __syncthreads();
    if (!GEMM_AHEAD) gemm_load_gradient(value, delta, work, row);
    gemm_store_gradient(memory, value, delta);
#pragma unroll
    for (int i = 0; i < GEMM_WEIGHTS; ++i) {
      sum.x += delta.quad[i].x, sum.y += delta.quad[i].y;
      sum.z += delta.quad[i].z, sum.w += delta.quad[i].w;
    }
    __syncthreads();
    if (GEMM_AHEAD && row + GEMM_DEPTH < work.last_row) gemm_load_gradient(value, delta, work, row + GEMM_DEPTH);
    if (empty) continue;
#pragma unroll
    for (int step = 0; step < GEMM_STEPS; ++step) {
      row_parts<GEMM_FORM> rows[2];
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        unsigned word[OPERAND_WORDS];
        gemm_gradient_words<GEMM_IN_BLOCKS>(word, memory.in, step, 2 * half + m);
        const unsigned order[OPERAND_WORDS] = {word[0], word[2], word[1], word[3]};
        rows[m] = split_rows<GEMM_FORM>(order);
      }
#pragma unroll
      for (int n = 0; n < blocks; ++n) {
        unsigned word[OPERAND_WORDS], split[OPERAND_WORDS][operand_parts(GEMM_FORM)];
        gemm_gradient_words<GEMM_OUT_BLOCKS>(word, memory.out, step, part * blocks + n);
        column_parts<GEMM_FORM> columns;
#pragma unroll
        for (int i = 0; i < OPERAND_WORDS; ++i) split_word<GEMM_FORM>(split[i], word[i]);
#pragma unroll
        for (int q = 0; q < operand_parts(GEMM_FORM); ++q)
          columns.part[q] = make_uint4(split[0][q], split[1][q], split[2][q], split[3][q]);
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          mma_parts<GEMM_FORM, false>(acc[m][n][0], rows[m], columns);
          mma_parts<GEMM_FORM, true>(acc[m][n][1], rows[m], columns);
        }
      }
    }
  }
  float *const slot = a.slots + work.slot * a.slot_stride;
#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int n = 0; n < blocks; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) {  // four columns of a feature side by side
        const unsigned input = work.first_input + half * 32 + m * 16 + 2 * mma_lane_row() + e;
        const unsigned column = work.first_column + (part * blocks + n) * 16 + 4 * mma_lane_slot();
        if (input < item.features && column < item.stride)
          *(float4 *)(slot + item.weight + (unsigned long long)input * item.stride + column) =
              make_float4(acc[m][n][0][2 * e], acc[m][n][1][2 * e], acc[m][n][0][2 * e + 1], acc[m][n][1][2 * e + 1]);
      }
  if (item.bias < 0 || work.first_input > 0) return;
  of_columns[threadIdx.x] = sum;
  __syncthreads();
  const unsigned column = work.first_column + 4 * threadIdx.x;
  if (threadIdx.x >= GEMM_WIDTH / 4 || column >= item.stride) return;
  for (int i = GEMM_WIDTH / 4; i < GEMM_THREADS; i += GEMM_WIDTH / 4) {
    const float4 more = of_columns[threadIdx.x + i];
    sum = make_float4(sum.x + more.x, sum.y + more.y, sum.z + more.z, sum.w + more.w);
  }
  *(float4 *)(slot + item.bias + column) = sum;
}
