// Which rows a tile holds, and how their condition and target come from device memory into feature-major tiles.
#pragma once

#include "row_order.h"
#include "tile.cuh"

// The batch that this launch works on.
struct batch_rows {
  unsigned step, epoch;  // for the random numbers; epoch also decides on dropout
  unsigned first;        // position in the epoch of the batch's first row
  unsigned count;        // rows in this launch
  unsigned total;        // rows that the mean runs over
  row_order order;
};

__device__ __forceinline__ batch_rows batch_begin(const train_arguments &args) {
  batch_rows batch;
  if (args.request) {
    batch.step = args.fixed_step;
    batch.epoch = batch.first = 0;
    batch.count = args.rows;
    batch.total = args.row_total;
    batch.order = row_order();
  } else {
    batch.step = args.state->completed;
    batch.epoch = batch.step / args.steps_per_epoch;
    batch.first = batch.step % args.steps_per_epoch * args.batch;
    batch.total = batch.count = min(args.batch, args.rows - batch.first);
    if (!args.streamed) batch.order = row_order_make(args.seed, batch.epoch, args.rows);
    if (blockIdx.x == 0 && threadIdx.x == 0) args.state->running = batch.step;
  }
  return batch;
}

// The batch of training step `step`, or of the request.
__device__ __forceinline__ batch_rows batch_of_step(const train_arguments &args, unsigned step) {
  if (args.request) return batch_begin(args);
  batch_rows batch;
  batch.step = step;
  batch.epoch = step / args.steps_per_epoch;
  batch.first = step % args.steps_per_epoch * args.batch;
  batch.total = batch.count = min(args.batch, args.rows - batch.first);
  batch.order = args.streamed ? row_order() : row_order_make(args.seed, batch.epoch, args.rows);
  return batch;
}

// Row `at` of the batch. Rows past the end repeat the last one with live = false.
struct tile_row {
  unsigned local;   // row of this launch
  unsigned number;  // row for the random numbers: position in the batch, or in the whole request
  unsigned data;    // row in device memory
  bool live;
};

__device__ __forceinline__ tile_row row_at(const train_arguments &args, const batch_rows &batch, unsigned at) {
  tile_row row;
  row.live = at < batch.count;
  row.local = row.live ? at : batch.count - 1;
  row.number = row.local + (args.request ? args.row_base : 0);
  if (args.request)
    row.data = row.local;
  else if (args.streamed)
    row.data = batch.first + row.local - args.first_position;
  else
    row.data = row_order_row(&batch.order, batch.first + row.local);
  return row;
}

// The row with the number whose noise it takes: its own, or with coupling the one that the coupling kernel gave it.
template <unsigned DRAWS>
__device__ __forceinline__ tile_row paired_row(const train_arguments &args, const batch_rows &batch, tile_row row,
                                               unsigned draw) {
  const unsigned slice = args.request ? 0 : batch.step % args.pair_ring;
  if (args.pairs) row.number = args.pairs[((unsigned long long)slice * DRAWS + draw) * args.batch + row.local];
  return row;
}

// The lane's row of a tile.
__device__ __forceinline__ tile_row tile_row_of(const train_arguments &args, const batch_rows &batch, unsigned tile) {
  return row_at(args, batch, tile * TILE_ROWS + tile_lane());
}

enum row_kind { ROW_FLOAT, ROW_UINT8, ROW_LABEL_INT32, ROW_LABEL_UINT8 };

// Features [first, first + count) of a row of WIDTH into tile[count][32], standardised (value = raw * scale + shift);
// labels become `on` at their class and `off` elsewhere. Warps take groups of four features.
template <int KIND, int WIDTH>
__device__ __forceinline__ void load_features(float *tile, const void *data, unsigned row, const float *scale,
                                              const float *shift, int first, int count, float off) {
  int label = 0;
  if (KIND == ROW_LABEL_INT32) label = __ldg((const int *)data + row);
  if (KIND == ROW_LABEL_UINT8) label = __ldg((const unsigned char *)data + row);
  for (int i = 4 * tile_warp(); i < count; i += 4 * TILE_WARPS) {
    float values[4];
    const int feature = first + i;
    const unsigned long long at = (unsigned long long)row * WIDTH + feature;
    if (KIND == ROW_LABEL_INT32 || KIND == ROW_LABEL_UINT8) {
#pragma unroll
      for (int j = 0; j < 4; ++j) values[j] = feature + j == label ? 1.0f : off;
    } else if (WIDTH % 4 == 0 && KIND == ROW_FLOAT) {
      const float4 four = __ldg((const float4 *)((const float *)data + at));
      values[0] = four.x, values[1] = four.y, values[2] = four.z, values[3] = four.w;
    } else if (WIDTH % 4 == 0) {
      const unsigned four = __ldg((const unsigned *)((const unsigned char *)data + at));
#pragma unroll
      for (int j = 0; j < 4; ++j) values[j] = (float)((four >> (8 * j)) & 0xffu);
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int step = min(j, WIDTH - 1 - feature);
        values[j] = KIND == ROW_FLOAT ? __ldg((const float *)data + at + step)
                                      : (float)__ldg((const unsigned char *)data + at + step);
      }
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (i + j >= count) continue;
      float value = values[j];
      if (KIND == ROW_FLOAT || KIND == ROW_UINT8)
        value = fmaf(value, __ldg(scale + feature + j), __ldg(shift + feature + j));
      tile[(i + j) * TILE_ROWS + tile_lane()] = value;
    }
  }
}
