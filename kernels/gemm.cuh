// Products of matrices over all rows of a batch, one launch a layer: forward, gradient of the inputs, gradient of the
// weights; fp32 on CUDA cores (on tensor cores: gemm_tensor.cuh). Rows stand in device memory, [rows][features rounded
// up to 8].
//
// A block has GEMM_ROWS rows of the result and 32 GEMM_COLUMNS columns: lane = column (and those 32, 64 ... further
// on), a warp has eight rows, whose factors are the same for all its lanes. GEMM_DEPTH summands at a time stand in
// shared memory; with GEMM_AHEAD those that follow are on their way from device memory meanwhile, in registers. They
// are multiplied for GEMM_GROUP of the columns 32 apart at a time, whose sums have to be in registers.
#pragma once

#include "condition_dropout.cuh"
#include "dense.cuh"
#include "gemm_arguments.h"

enum {
  GEMM_WARPS = GEMM_THREADS / 32,
  GEMM_WARP_ROWS = GEMM_ROWS / GEMM_WARPS,
  GEMM_WIDTH = 32 * GEMM_COLUMNS,                               // columns of a block
  GEMM_PITCH = GEMM_WIDTH + 1,                                  // floats between rows of weights that were turned
  GEMM_WEIGHTS = GEMM_DEPTH * GEMM_WIDTH / (4 * GEMM_THREADS),  // float4 of weights that a thread loads
  GEMM_TURNED = GEMM_WIDTH / GEMM_WARPS                         // weights, where they are turned
};
static_assert(GEMM_DEPTH == 32 && GEMM_WARP_ROWS == 8 && GEMM_WEIGHTS > 0, "how the loads below share the work");

__device__ __forceinline__ float4 gemm_zero() { return make_float4(0.0f, 0.0f, 0.0f, 0.0f); }

struct gemm_place {
  unsigned first_row, first_column;
};

// Blocks that follow each other have the same columns, so that they find their weights in a cache.
__device__ __forceinline__ gemm_place gemm_place_of(const gemm_arguments &a) {
  const unsigned rows = (a.rows + GEMM_ROWS - 1) / GEMM_ROWS;
  return {blockIdx.x % rows * GEMM_ROWS, blockIdx.x / rows * GEMM_WIDTH};
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

// Where a warp's rows begin, and floats between them. Arrays have a multiple of 32 rows, or one that is the same for
// all.
struct gemm_rows {
  const float *from;
  unsigned pitch;
};

__device__ __forceinline__ gemm_rows gemm_rows_of(const gemm_arguments &a, const gemm_input &input,
                                                  const gemm_place &place, unsigned repetition) {
  const unsigned first = place.first_row + warp_of_block() * GEMM_WARP_ROWS;
  const unsigned row = first < a.rows ? first % input.rows : 0;  // behind the last row: any
  return {input.values + (row + (unsigned long long)repetition * input.row_step) * input.stride,
          input.rows > 1 ? input.stride : 0};
}

// The warp's rows, lane = summand from `depth` on.
__device__ __forceinline__ void gemm_load_rows(float (&value)[GEMM_WARP_ROWS], const gemm_rows &rows, unsigned depth,
                                               unsigned stride) {
  const float *from = rows.from + depth + lane_of_warp();
  const bool whole = depth + GEMM_DEPTH <= stride;
#pragma unroll
  for (int i = 0; i < GEMM_WARP_ROWS; ++i)
    value[i] = whole || depth + lane_of_warp() < stride ? from[i * rows.pitch] : 0.0f;
}

// ---- fp32 ----

// Weights as a thread loads them: quads of columns, or single ones of [column][summand].
template <bool TURNED>
struct gemm_weights {
  float4 quad[GEMM_WEIGHTS];
};
template <>
struct gemm_weights<true> {
  float one[GEMM_TURNED];
};

__device__ __forceinline__ void gemm_load_weights(gemm_weights<false> &weight, const gemm_arguments &a,
                                                  const gemm_input &input, const gemm_place &place, unsigned depth) {
  const bool whole = depth + GEMM_DEPTH <= input.features && place.first_column + GEMM_WIDTH <= a.stride;
#pragma unroll
  for (int i = 0; i < GEMM_WEIGHTS; ++i) {
    const unsigned at = i * GEMM_THREADS + threadIdx.x;
    const unsigned summand = depth + at / (GEMM_WIDTH / 4), column = place.first_column + at % (GEMM_WIDTH / 4) * 4;
    weight.quad[i] = gemm_zero();
    if (whole || (summand < input.features && column < a.stride))
      weight.quad[i] =
          load_parameter((const float4 *)(input.weights + (unsigned long long)summand * a.stride + column));
  }
}

__device__ __forceinline__ void gemm_load_weights(gemm_weights<true> &weight, const gemm_arguments &a,
                                                  const gemm_input &input, const gemm_place &place, unsigned depth) {
  const bool whole = depth + GEMM_DEPTH <= input.stride && place.first_column + GEMM_WIDTH <= a.width;
  const unsigned summand = depth + lane_of_warp();
#pragma unroll
  for (int i = 0; i < GEMM_TURNED; ++i) {
    const unsigned column = place.first_column + i * GEMM_WARPS + warp_of_block();
    weight.one[i] = whole || (column < a.width && summand < input.stride)
                        ? load_parameter(input.weights + (unsigned long long)column * input.stride + summand)
                        : 0.0f;
  }
}

struct gemm_memory {
  float values[GEMM_ROWS * GEMM_DEPTH], weights[GEMM_DEPTH * GEMM_PITCH];
};

__device__ __forceinline__ void gemm_store_rows(gemm_memory &memory, const float (&value)[GEMM_WARP_ROWS]) {
#pragma unroll
  for (int i = 0; i < GEMM_WARP_ROWS; ++i)
    memory.values[(warp_of_block() * GEMM_WARP_ROWS + i) * GEMM_DEPTH + lane_of_warp()] = value[i];
}

__device__ __forceinline__ void gemm_store_weights(gemm_memory &memory, const gemm_weights<false> &weight) {
#pragma unroll
  for (int i = 0; i < GEMM_WEIGHTS; ++i) ((float4 *)memory.weights)[i * GEMM_THREADS + threadIdx.x] = weight.quad[i];
}

__device__ __forceinline__ void gemm_store_weights(gemm_memory &memory, const gemm_weights<true> &weight) {
#pragma unroll
  for (int i = 0; i < GEMM_TURNED; ++i)
    memory.weights[lane_of_warp() * GEMM_PITCH + i * GEMM_WARPS + warp_of_block()] = weight.one[i];
}

// acc += what stands in memory, for the first COLUMNS columns of a lane; rows of weights are PITCH apart. Loops of one
// block without barriers, which the virtual GPU runs with the sums of a group in registers.
template <int COLUMNS, int PITCH>
__device__ __forceinline__ void gemm_multiply(float (&acc)[GEMM_WARP_ROWS][GEMM_COLUMNS], const gemm_memory &memory,
                                              unsigned summands) {
  constexpr int GROUP = COLUMNS < GEMM_GROUP ? COLUMNS : GEMM_GROUP;
#pragma unroll
  for (int first = 0; first < COLUMNS; first += GROUP) {
    const float *values = memory.values + warp_of_block() * (GEMM_WARP_ROWS * GEMM_DEPTH);
    const float *weights = memory.weights + lane_of_warp() + 32 * first;
#pragma unroll 1
    for (int left = (min(summands, (unsigned)GEMM_DEPTH) + 3) / 4; left > 0;
         --left, values += 4, weights += 4 * PITCH) {
      float weight[4][GROUP];
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int c = 0; c < GROUP; ++c) weight[j][c] = weights[j * PITCH + 32 * c];
#pragma unroll
      for (int i = 0; i < GEMM_WARP_ROWS; ++i) {
        const float4 value = *(const float4 *)(values + i * GEMM_DEPTH);
#pragma unroll
        for (int c = 0; c < GROUP; ++c) {
          float &sum = acc[i][first + c];
          sum = fmaf(value.x, weight[0][c], sum);
          sum = fmaf(value.y, weight[1][c], sum);
          sum = fmaf(value.z, weight[2][c], sum);
          sum = fmaf(value.w, weight[3][c], sum);
        }
      }
    }
  }
}

// The block's part of the product: sums over all inputs, in their order.
template <bool TURNED>
__device__ __forceinline__ void gemm_product(float (&acc)[GEMM_WARP_ROWS][GEMM_COLUMNS], const gemm_arguments &a,
                                             const gemm_place &place) {
  __shared__ gemm_memory memory;
  const bool narrow = a.stride - place.first_column <= 32;
#pragma unroll 1
  for (unsigned i = 0; i < a.input_count; ++i) {
    const gemm_input input = gemm_select<GEMM_INPUTS>(a.inputs, i);
#pragma unroll 1
    for (unsigned repetition = 0; repetition < input.repeat; ++repetition) {
      const gemm_rows rows = gemm_rows_of(a, input, place, repetition);
      float value[GEMM_WARP_ROWS];
      gemm_weights<TURNED> weight;
      if (GEMM_AHEAD) {
        gemm_load_rows(value, rows, 0, input.stride);
        gemm_load_weights(weight, a, input, place, 0);
      }
#pragma unroll 1
      for (unsigned depth = 0; depth < input.features; depth += GEMM_DEPTH) {
        __syncthreads();
        if (!GEMM_AHEAD) {
          gemm_load_rows(value, rows, depth, input.stride);
          gemm_load_weights(weight, a, input, place, depth);
        }
        gemm_store_rows(memory, value);
        gemm_store_weights(memory, weight);
        __syncthreads();
        if (GEMM_AHEAD && depth + GEMM_DEPTH < input.features) {
          gemm_load_rows(value, rows, depth + GEMM_DEPTH, input.stride);
          gemm_load_weights(weight, a, input, place, depth + GEMM_DEPTH);
        }
        if (narrow)
          gemm_multiply<1, TURNED ? GEMM_PITCH : GEMM_WIDTH>(acc, memory, input.features - depth);
        else
          gemm_multiply<GEMM_COLUMNS, TURNED ? GEMM_PITCH : GEMM_WIDTH>(acc, memory, input.features - depth);
      }
    }
  }
}

// ---- what becomes of a sum ----

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

// Whether the condition of a row is dropped.
__device__ __forceinline__ bool gemm_drops_condition(const gemm_arguments &a, unsigned at) {
  batch_rows batch;
  tile_row row;
  batch.step = a.train.request ? a.train.fixed_step : a.train.state->completed;
  row.number = at % a.draw_rows + (a.train.request ? a.train.row_base : 0);
  return !keeps_condition(a.train, batch, row, a.keep);
}

// result = dropout(activation(sum of inputs times weights + bias + addend)).
template <int FORM, bool DROPOUT>
struct gemm_forward_end {
  static constexpr bool TURNED = false;
  static __device__ __forceinline__ void element(const gemm_arguments &a, unsigned row, unsigned column, float sum) {
    if (row >= a.rows || column >= a.stride) return;
    const unsigned long long at = (unsigned long long)row * a.stride + column;
    if (a.bias) sum += load_parameter(a.bias + column);
    if (a.addend) sum += a.addend[(unsigned long long)(row % a.addend_rows) * a.stride + column];
    if (a.sum) a.sum[at] = sum;
    activated result = activate<FORM>(sum);
    if (DROPOUT) {
      const float keep = gemm_keep(a, row, column);
      result.value *= keep;
      result.slope *= keep;
    }
    if (a.keep && gemm_drops_condition(a, row)) result.value = result.slope = 0.0f;
    a.result[at] = result.value;
    if (a.slope) a.slope[at] = result.slope;
  }
};

// result = (what was summed before + gradients times turned weights) * slope + addend; result may be where slope is.
struct gemm_backward_end {
  static constexpr bool TURNED = true;
  static __device__ __forceinline__ void element(const gemm_arguments &a, unsigned row, unsigned column, float sum) {
    if (row >= a.rows || column >= a.stride) return;
    const unsigned long long at = (unsigned long long)row * a.stride + column;
    if (a.sum) sum += a.sum[at];
    if (a.slope) sum *= a.slope[at];
    if (a.addend) sum += a.addend[at];
    a.result[at] = column < a.width ? sum : 0.0f;
  }
};

template <typename END>
__device__ __forceinline__ void gemm(const gemm_arguments &a) {
  const gemm_place place = gemm_place_of(a);
  float acc[GEMM_WARP_ROWS][GEMM_COLUMNS] = {};
  gemm_product<END::TURNED>(acc, a, place);
#pragma unroll
  for (int c = 0; c < GEMM_COLUMNS; ++c)
#pragma unroll
    for (int i = 0; i < GEMM_WARP_ROWS; ++i)
      END::element(a, place.first_row + warp_of_block() * GEMM_WARP_ROWS + i,
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

// The thread's numbers of GEMM_DEPTH rows from `first` on, zeros behind the slot's last; a multiple of 32 of them.
__device__ __forceinline__ void gemm_load_gradient(float (&value)[GEMM_WARP_ROWS], gemm_weights<false> &delta,
                                                   const gemm_work &work, unsigned first) {
  const gemm_item &item = work.item;
  const float *from = item.in + (unsigned long long)(first % item.in_rows) * item.in_stride;
  const bool whole = work.first_input + GEMM_ROWS <= item.in_stride;
#pragma unroll
  for (int i = 0; i < GEMM_WARP_ROWS; ++i) {
    const unsigned part = i * GEMM_WARPS + warp_of_block(), input = work.first_input + part % 2 * 32 + lane_of_warp();
    value[i] = whole || input < item.in_stride ? from[part / 2 * item.in_stride + input] : 0.0f;
  }
  const bool wide = work.first_column + GEMM_WIDTH <= item.stride;
#pragma unroll
  for (int i = 0; i < GEMM_WEIGHTS; ++i) {
    const unsigned at = i * GEMM_THREADS + threadIdx.x, column = work.first_column + at % (GEMM_WIDTH / 4) * 4;
    delta.quad[i] = gemm_zero();
    if (wide || column < item.stride)
      delta.quad[i] =
          *(const float4 *)(item.delta + (unsigned long long)(first + at / (GEMM_WIDTH / 4)) * item.stride + column);
  }
}

// [row][GEMM_ROWS]
__device__ __forceinline__ void gemm_store_inputs(gemm_memory &memory, const float (&value)[GEMM_WARP_ROWS]) {
#pragma unroll
  for (int i = 0; i < GEMM_WARP_ROWS; ++i)
    memory.values[(i * GEMM_WARPS + warp_of_block()) * 32 + lane_of_warp()] = value[i];
}

// acc and sum += what stands in memory: values [row][GEMM_ROWS], weights the rows' gradients.
template <int COLUMNS, bool BIAS>
__device__ __forceinline__ void gemm_multiply_gradient(float (&acc)[GEMM_WARP_ROWS][GEMM_COLUMNS],
                                                       float (&sum)[GEMM_COLUMNS], const gemm_memory &memory) {
  constexpr int GROUP = COLUMNS < GEMM_GROUP ? COLUMNS : GEMM_GROUP;
#pragma unroll
  for (int first = 0; first < COLUMNS; first += GROUP) {
    const float *values = memory.values + warp_of_block() * GEMM_WARP_ROWS;
    const float *deltas = memory.weights + lane_of_warp() + 32 * first;
#pragma unroll 1
    for (int left = GEMM_DEPTH / 4; left > 0; --left, values += 4 * GEMM_ROWS, deltas += 4 * GEMM_WIDTH) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        float in[GEMM_WARP_ROWS];
        load_weights(in, values + k * GEMM_ROWS);
#pragma unroll
        for (int c = 0; c < GROUP; ++c) {
          const float d = deltas[k * GEMM_WIDTH + 32 * c];
#pragma unroll
          for (int i = 0; i < GEMM_WARP_ROWS; ++i) acc[i][first + c] = fmaf(in[i], d, acc[i][first + c]);
          if (BIAS) sum[first + c] += d;
        }
      }
    }
  }
}

__device__ __forceinline__ void gemm_gradient(const gemm_gradient_arguments &a) {
  __shared__ gemm_memory memory;
  const gemm_work work = gemm_work_of(a);
  const gemm_item &item = work.item;
  const bool of_bias = item.bias >= 0 && work.first_input == 0 && warp_of_block() == 0;
  const bool narrow = item.stride - work.first_column <= 32;
  const bool idle = work.first_input + warp_of_block() * GEMM_WARP_ROWS >= item.features;
  float acc[GEMM_WARP_ROWS][GEMM_COLUMNS] = {}, sum[GEMM_COLUMNS] = {};
  float value[GEMM_WARP_ROWS];
  gemm_weights<false> delta;
  if (GEMM_AHEAD && work.first_row < work.last_row) gemm_load_gradient(value, delta, work, work.first_row);
#pragma unroll 1
  for (unsigned row = work.first_row; row < work.last_row; row += GEMM_DEPTH) {
    __syncthreads();
    if (!GEMM_AHEAD) gemm_load_gradient(value, delta, work, row);
    gemm_store_inputs(memory, value);
    gemm_store_weights(memory, delta);
    __syncthreads();
    if (GEMM_AHEAD && row + GEMM_DEPTH < work.last_row) gemm_load_gradient(value, delta, work, row + GEMM_DEPTH);
    if (idle) continue;
    if (of_bias)
      gemm_multiply_gradient<GEMM_COLUMNS, true>(acc, sum, memory);
    else if (narrow)
      gemm_multiply_gradient<1, false>(acc, sum, memory);
    else
      gemm_multiply_gradient<GEMM_COLUMNS, false>(acc, sum, memory);
  }
  float *const slot = a.slots + work.slot * a.slot_stride;
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
