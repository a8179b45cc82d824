// Products of matrices over all rows of a batch, one launch a layer: forward, gradient of the inputs, gradient of the
// weights; fp32 on CUDA cores. Rows stand in device memory, [rows][features rounded up to 8].
//
// A block has GEMM_ROWS rows of the result and 32 GEMM_COLUMNS columns: lane = column (and those 32, 64 ... further
// on), a warp has eight rows, whose factors are the same for all its lanes. GEMM_DEPTH summands at a time stand in
// shared memory; those that follow are on their way from device memory meanwhile, in registers.
#pragma once

#include "dense.cuh"
#include "gemm_arguments.h"

#ifndef GEMM_COLUMNS
#define GEMM_COLUMNS 1
#endif

enum {
  GEMM_WARP_ROWS = GEMM_ROWS / (GEMM_THREADS / 32),
  GEMM_WIDTH = 32 * GEMM_COLUMNS,  // columns of a block
  GEMM_PITCH = GEMM_WIDTH + 2,     // floats between rows of weights that were turned: no stores meet in a bank
  GEMM_QUADS = GEMM_DEPTH / 4,
  GEMM_LOADS = (GEMM_DEPTH * GEMM_WIDTH / 4 + GEMM_THREADS - 1) / GEMM_THREADS  // of weights, of a thread
};
static_assert(GEMM_ROWS * GEMM_DEPTH == 4 * GEMM_THREADS, "a thread loads four values of rows");

__device__ __forceinline__ float4 gemm_zero() { return make_float4(0.0f, 0.0f, 0.0f, 0.0f); }

struct gemm_place {
  unsigned first_row, first_column;
};

// The next numbers of both factors: those at `depth` of the sum. TURNED: weights are [column][summand].
template <bool TURNED>
__device__ __forceinline__ void gemm_load(float4 &value, float4 (&weight)[GEMM_LOADS], const gemm_arguments &a,
                                          const gemm_input &input, const gemm_place &place, unsigned depth,
                                          unsigned repetition) {
  const unsigned quad = threadIdx.x % GEMM_QUADS * 4;
  const unsigned row = min(place.first_row + threadIdx.x / GEMM_QUADS, a.rows - 1) % input.rows;
  value = gemm_zero();
  if (depth + quad < input.stride)
    value = *(const float4 *)(input.values + (row + (unsigned long long)repetition * input.row_step) * input.stride +
                              depth + quad);
#pragma unroll
  for (int i = 0; i < GEMM_LOADS; ++i) {
    const unsigned at = i * GEMM_THREADS + threadIdx.x;
    weight[i] = gemm_zero();
    if (TURNED) {
      const unsigned column = place.first_column + at / GEMM_QUADS;
      if (at < GEMM_QUADS * GEMM_WIDTH && column < a.width && depth + quad < input.stride)
        weight[i] =
            load_parameter((const float4 *)(input.weights + (unsigned long long)column * input.stride + depth + quad));
    } else {
      const unsigned summand = depth + at / (GEMM_WIDTH / 4), column = place.first_column + at % (GEMM_WIDTH / 4) * 4;
      if (at < GEMM_QUADS * GEMM_WIDTH && summand < input.features && column < a.stride)
        weight[i] = load_parameter((const float4 *)(input.weights + (unsigned long long)summand * a.stride + column));
    }
  }
}

struct gemm_memory {
  float values[GEMM_ROWS * GEMM_DEPTH], weights[GEMM_DEPTH * GEMM_PITCH];
};

template <bool TURNED>
__device__ __forceinline__ void gemm_store(gemm_memory &memory, const float4 &value,
                                           const float4 (&weight)[GEMM_LOADS]) {
  ((float4 *)memory.values)[threadIdx.x] = value;
#pragma unroll
  for (int i = 0; i < GEMM_LOADS; ++i) {
    const unsigned at = i * GEMM_THREADS + threadIdx.x;
    if (at >= GEMM_QUADS * GEMM_WIDTH) continue;
    if (TURNED) {
      float *to = memory.weights + at % GEMM_QUADS * 4 * GEMM_PITCH + at / GEMM_QUADS;
      to[0] = weight[i].x, to[GEMM_PITCH] = weight[i].y;
      to[2 * GEMM_PITCH] = weight[i].z, to[3 * GEMM_PITCH] = weight[i].w;
    } else {
      float2 *to = (float2 *)(memory.weights + at / (GEMM_WIDTH / 4) * GEMM_PITCH + at % (GEMM_WIDTH / 4) * 4);
      to[0] = make_float2(weight[i].x, weight[i].y), to[1] = make_float2(weight[i].z, weight[i].w);
    }
  }
}

// acc += what stands in memory.
__device__ __forceinline__ void gemm_multiply(float (&acc)[GEMM_WARP_ROWS][GEMM_COLUMNS], const gemm_memory &memory) {
  const float *values = memory.values + warp_of_block() * (GEMM_WARP_ROWS * GEMM_DEPTH);
  const float *weights = memory.weights + lane_of_warp();
#pragma unroll
  for (int k = 0; k < GEMM_DEPTH; k += 4) {
    float weight[4][GEMM_COLUMNS];
#pragma unroll
    for (int j = 0; j < 4; ++j)
#pragma unroll
      for (int c = 0; c < GEMM_COLUMNS; ++c) weight[j][c] = weights[(k + j) * GEMM_PITCH + 32 * c];
#pragma unroll
    for (int i = 0; i < GEMM_WARP_ROWS; ++i) {
      const float4 value = *(const float4 *)(values + i * GEMM_DEPTH + k);
#pragma unroll
      for (int c = 0; c < GEMM_COLUMNS; ++c) {
        acc[i][c] = fmaf(value.x, weight[0][c], acc[i][c]);
        acc[i][c] = fmaf(value.y, weight[1][c], acc[i][c]);
        acc[i][c] = fmaf(value.z, weight[2][c], acc[i][c]);
        acc[i][c] = fmaf(value.w, weight[3][c], acc[i][c]);
      }
    }
  }
}

// An entry of a table among the kernel's parameters, whose places should be constants.
template <int COUNT, typename T>
__device__ __forceinline__ T gemm_select(const T (&table)[COUNT], unsigned index) {
  T entry = table[0];
#pragma unroll
  for (int i = 1; i < COUNT; ++i)
    if (index == i) entry = table[i];
  return entry;
}

// The block's part of the product: sums over all inputs, in their order.
template <bool TURNED>
__device__ __forceinline__ void gemm_product(float (&acc)[GEMM_WARP_ROWS][GEMM_COLUMNS], const gemm_arguments &a,
                                             const gemm_place &place) {
  __shared__ gemm_memory memory;
#pragma unroll 1
  for (unsigned i = 0; i < a.input_count; ++i) {
    const gemm_input input = gemm_select<GEMM_INPUTS>(a.inputs, i);
#pragma unroll 1
    for (unsigned repetition = 0; repetition < input.repeat; ++repetition) {
      float4 value, weight[GEMM_LOADS];
      gemm_load<TURNED>(value, weight, a, input, place, 0, repetition);
#pragma unroll 1
      for (unsigned depth = 0; depth < input.features; depth += GEMM_DEPTH) {
        __syncthreads();
        gemm_store<TURNED>(memory, value, weight);
        __syncthreads();
        if (depth + GEMM_DEPTH < input.features)
          gemm_load<TURNED>(value, weight, a, input, place, depth + GEMM_DEPTH, repetition);
        gemm_multiply(acc, memory);
      }
    }
  }
}

__device__ __forceinline__ gemm_place gemm_place_of(const gemm_arguments &a) {
  const unsigned columns = (a.stride + GEMM_WIDTH - 1) / GEMM_WIDTH;
  return {blockIdx.x / columns * GEMM_ROWS, blockIdx.x % columns * GEMM_WIDTH};
}

// What dropout leaves of a number: a factor.
__device__ __forceinline__ float gemm_keep(const gemm_arguments &a, unsigned row, unsigned feature) {
  const unsigned draw = row / a.draw_rows, number = row % a.draw_rows + (a.train.request ? a.train.row_base : 0);
  const unsigned step = a.train.request ? a.train.fixed_step : a.train.state->completed;
  const unsigned epoch = a.train.request ? 0 : step / a.train.steps_per_epoch;
  const unsigned threshold = epoch < a.train.dropout_epochs ? a.threshold : 0u;
  if (threshold == 0) return 1.0f;
  const philox_words words =
      philox(a.train.seed, feature / 8, number, philox_stream(STREAM_DROPOUT, a.layer, draw), step);
  const unsigned pair = feature / 2 % 4;
  const unsigned word = pair == 0   ? words.word[0]
                        : pair == 1 ? words.word[1]
                        : pair == 2 ? words.word[2]
                                    : words.word[3];
  return ((word >> (16 * (feature % 2))) & 0xffffu) >= threshold ? a.scale : 0.0f;
}

// result = dropout(activation(sum of inputs times weights + bias + addend)).
template <int FORM, bool DROPOUT>
__device__ __forceinline__ void gemm_forward_element(const gemm_arguments &a, unsigned row, unsigned column, float sum,
                                                     float bias) {
  if (row >= a.rows || column >= a.stride) return;
  const unsigned long long at = (unsigned long long)row * a.stride + column;
  sum += bias;
  if (a.addend) sum += a.addend[(unsigned long long)(row % a.addend_rows) * a.stride + column];
  if (a.sum) a.sum[at] = sum;
  activated result = activate<FORM>(sum);
  if (DROPOUT) {
    const float keep = gemm_keep(a, row, column);
    result.value *= keep;
    result.slope *= keep;
  }
  a.result[at] = result.value;
  if (a.slope) a.slope[at] = result.slope;
}

// result = (what was summed before + gradients times turned weights) * slope + addend; result may be where slope is.
__device__ __forceinline__ void gemm_backward_element(const gemm_arguments &a, unsigned row, unsigned column,
                                                      float sum) {
  if (row >= a.rows || column >= a.stride) return;
  const unsigned long long at = (unsigned long long)row * a.stride + column;
  if (a.sum) sum += a.sum[at];
  if (a.slope) sum *= a.slope[at];
  if (a.addend) sum += a.addend[at];
  a.result[at] = column < a.width ? sum : 0.0f;
}

template <int FORM, bool DROPOUT>
__device__ __forceinline__ void gemm_forward(const gemm_arguments &a) {
  const gemm_place place = gemm_place_of(a);
  float acc[GEMM_WARP_ROWS][GEMM_COLUMNS] = {};
  gemm_product<false>(acc, a, place);
#pragma unroll
  for (int c = 0; c < GEMM_COLUMNS; ++c) {
    const unsigned column = place.first_column + 32 * c + lane_of_warp();
    const float bias = a.bias && column < a.stride ? load_parameter(a.bias + column) : 0.0f;
#pragma unroll
    for (int i = 0; i < GEMM_WARP_ROWS; ++i)
      gemm_forward_element<FORM, DROPOUT>(a, place.first_row + warp_of_block() * GEMM_WARP_ROWS + i, column, acc[i][c],
                                          bias);
  }
}

__device__ __forceinline__ void gemm_backward(const gemm_arguments &a) {
  const gemm_place place = gemm_place_of(a);
  float acc[GEMM_WARP_ROWS][GEMM_COLUMNS] = {};
  gemm_product<true>(acc, a, place);
#pragma unroll
  for (int c = 0; c < GEMM_COLUMNS; ++c)
#pragma unroll
    for (int i = 0; i < GEMM_WARP_ROWS; ++i)
      gemm_backward_element(a, place.first_row + warp_of_block() * GEMM_WARP_ROWS + i,
                            place.first_column + 32 * c + lane_of_warp(), acc[i][c]);
}

// ---- gradients of weights ----

// Which item, slot and part of the gradient a block has.
struct gemm_work {
  gemm_item item;
  unsigned slot, first_input, first_column, first_row, last_row;
};

__device__ __forceinline__ gemm_work gemm_work_of(const gemm_gradient_arguments &a) {
  gemm_work work;
  work.slot = blockIdx.x / a.blocks;
  unsigned block = blockIdx.x % a.blocks, index = 0;
#pragma unroll
  for (int i = 1; i < GEMM_ITEMS; ++i)
    if (i < a.item_count && block >= a.items[i].first_block) index = i;
  work.item = gemm_select<GEMM_ITEMS>(a.items, index);
  const gemm_item &item = work.item;
  block -= item.first_block;
  const unsigned columns = (item.stride + GEMM_WIDTH - 1) / GEMM_WIDTH;
  work.first_input = block / columns * GEMM_ROWS;
  work.first_column = block % columns * GEMM_WIDTH;
  work.first_row = min(work.slot * item.slot_rows, item.rows);
  work.last_row = min(work.first_row + item.slot_rows, item.rows);
  return work;
}

__device__ __forceinline__ void gemm_gradient_load(float4 &value, float4 (&delta)[GEMM_LOADS], const gemm_item &item,
                                                   const gemm_work &work, unsigned first) {
  const unsigned row = first + threadIdx.x / (GEMM_ROWS / 4);
  const unsigned input = work.first_input + threadIdx.x % (GEMM_ROWS / 4) * 4;
  value = gemm_zero();
  if (row < work.last_row && input < item.in_stride)
    value = *(const float4 *)(item.in + (unsigned long long)(row % item.in_rows) * item.in_stride + input);
#pragma unroll
  for (int i = 0; i < GEMM_LOADS; ++i) {
    const unsigned at = i * GEMM_THREADS + threadIdx.x;
    const unsigned from = first + at / (GEMM_WIDTH / 4), column = work.first_column + at % (GEMM_WIDTH / 4) * 4;
    delta[i] = gemm_zero();
    if (at < GEMM_QUADS * GEMM_WIDTH && from < work.last_row && column < item.stride)
      delta[i] = *(const float4 *)(item.delta + (unsigned long long)from * item.stride + column);
  }
}

// Where the block's results go: fixed sums over the rows of its slot.
__device__ __forceinline__ float *gemm_gradient_slot(const gemm_gradient_arguments &a, const gemm_work &work) {
  return a.slots + work.slot * a.slot_stride;
}

__device__ __forceinline__ void gemm_gradient(const gemm_gradient_arguments &a) {
  __shared__ gemm_memory memory;
  const gemm_work work = gemm_work_of(a);
  const gemm_item &item = work.item;
  const bool of_bias = item.bias >= 0 && work.first_input == 0 && warp_of_block() == 0;
  float acc[GEMM_WARP_ROWS][GEMM_COLUMNS] = {}, sum[GEMM_COLUMNS] = {};
  float4 value, delta[GEMM_LOADS];
  gemm_gradient_load(value, delta, item, work, work.first_row);
#pragma unroll 1
  for (unsigned row = work.first_row; row < work.last_row; row += GEMM_DEPTH) {
    __syncthreads();
    gemm_store<false>(memory, value, delta);  // values: [row][GEMM_ROWS]
    __syncthreads();
    if (row + GEMM_DEPTH < work.last_row) gemm_gradient_load(value, delta, item, work, row + GEMM_DEPTH);
    const float *values = memory.values + warp_of_block() * GEMM_WARP_ROWS;
    const float *deltas = memory.weights + lane_of_warp();
#pragma unroll
    for (int k = 0; k < GEMM_DEPTH; ++k) {
      float in[GEMM_WARP_ROWS];
      load_weights(in, values + k * GEMM_ROWS);
#pragma unroll
      for (int c = 0; c < GEMM_COLUMNS; ++c) {
        const float d = deltas[k * GEMM_PITCH + 32 * c];
#pragma unroll
        for (int i = 0; i < GEMM_WARP_ROWS; ++i) acc[i][c] = fmaf(in[i], d, acc[i][c]);
        if (of_bias) sum[c] += d;
      }
    }
  }
  float *const slot = gemm_gradient_slot(a, work);
#pragma unroll
  for (int c = 0; c < GEMM_COLUMNS; ++c) {
    const unsigned column = work.first_column + 32 * c + lane_of_warp();
    if (column >= item.stride) continue;
    if (of_bias) slot[item.bias + column] = sum[c];
#pragma unroll
    for (int i = 0; i < GEMM_WARP_ROWS; ++i) {
      const unsigned input = work.first_input + warp_of_block() * GEMM_WARP_ROWS + i;
      if (input < item.features) slot[item.weight + (unsigned long long)input * item.stride + column] = acc[i][c];
    }
  }
}
