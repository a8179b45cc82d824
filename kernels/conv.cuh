// Convolutions of a condition's branch: 3 x 3 on images with a border of zeros, bias, ReLU, 2 x 2 max-pool or none, and
// behind the last one the mean over all pixels. fp32 on CUDA cores, shapes as constants.
//
// Images are planes [pixels][channels] with a border: rows are WIDTH + 1 pixels apart, so that the zero behind a row is
// the one before the next. The three neighbours of a pixel in one row are then 3 * channels numbers side by side, the
// same distance from every pixel.
//
// Lane = output channel. A thread sums some neighbouring pixels in registers: per input it reads one weight for its
// channel (32 lanes side by side) and the pixels' values, which are the same for the whole warp. One block of threads
// carries an image; sums have a fixed order.
#pragma once

#include "branch_arguments.h"
#include "rows.cuh"

enum { CONV_WARPS = CONV_THREADS / 32 };

template <int HEIGHT_, int WIDTH_, int INPUTS_, int OUTPUTS_, bool POOL_>
struct conv_layer {
  static constexpr int HEIGHT = HEIGHT_, WIDTH = WIDTH_, INPUTS = INPUTS_, OUTPUTS = OUTPUTS_;
  static constexpr bool POOL = POOL_;
  static constexpr int PITCH = WIDTH + 1, PIXELS = (HEIGHT + 2) * PITCH + 1;
  static constexpr int SIDE = POOL ? 2 : 1;  // of what one output pixel is made of
  static constexpr int OUT_HEIGHT = HEIGHT / SIDE, OUT_WIDTH = WIDTH / SIDE, OUT_PIXELS = OUT_HEIGHT * OUT_WIDTH;
  static constexpr int LD = (OUTPUTS + 7) & ~7;              // floats between rows of weights
  static constexpr int GROUPS = (OUTPUTS + 31) / 32;         // of channels that a warp has
  static constexpr int SPAN = (HEIGHT - 1) * PITCH + WIDTH;  // from the first pixel behind the last one
};

// Where pixel (y, x) stands in a plane whose rows are PITCH apart; y and x from -1.
template <int PITCH>
__device__ __forceinline__ constexpr int plane_pixel(int y, int x) {
  return (y + 1) * PITCH + x + 1;
}

// The largest part of a row, up to eight pixels, that rows divide into.
__device__ constexpr int conv_columns(int width) {
  int columns = width < 8 ? width : 8;
  while (width % columns) --columns;
  return columns;
}

// Where the numbers of a lane's channel begin, those of the group's others beside them; of the last channel where there
// are no more. Without a minimum where all lanes have one, and with the lane added last, so that neighbouring lanes are
// known to read neighbouring numbers.
template <int CHANNELS>
__device__ __forceinline__ const float *conv_lane(const float *from, int group) {
  const unsigned lane = threadIdx.x & 31;
  if constexpr (CHANNELS % 32 == 0) {
    from += (long long)group * 32;
    return from + lane;
  } else {
    return from + min(group * 32 + (int)lane, CHANNELS - 1);
  }
}
template <int CHANNELS>
__device__ __forceinline__ bool conv_live(int channel) {
  return CHANNELS % 32 == 0 || channel < CHANNELS;
}

// How a thread's pixels lie: WINDOWS windows of ROWS x COLUMNS.
template <typename L>
struct conv_pooled {
  static constexpr int ROWS = 2, COLUMNS = 2, WINDOWS = L::OUT_PIXELS < 3 ? L::OUT_PIXELS : 3;
  static constexpr int ACROSS = L::OUT_WIDTH, COUNT = L::OUT_PIXELS;
};
template <int HEIGHT, int WIDTH>
struct conv_straight {
  static constexpr int ROWS = 1, COLUMNS = conv_columns(WIDTH), ACROSS = WIDTH / COLUMNS, COUNT = HEIGHT * ACROSS;
  static constexpr int FITTING = 8 / COLUMNS, WINDOWS = FITTING < COUNT ? FITTING : COUNT;
};
template <typename L, bool POOL>
struct conv_windows;
template <typename L>
struct conv_windows<L, true> : conv_pooled<L> {};
template <typename L>
struct conv_windows<L, false> : conv_straight<L::HEIGHT, L::WIDTH> {};

// acc[pixel] += sum over 3 x 3 neighbours and CHANNELS of value * weight; from[w]: the neighbour before and above of
// window w's first pixel; weights: the lane's column, rows LD apart.
template <typename W, int CHANNELS, int PITCH, int LD, int PIXELS>
__device__ __forceinline__ void conv_accumulate(float (&acc)[PIXELS], const float *(&from)[W::WINDOWS],
                                                const float *weights) {
  constexpr int RUN = 3 * CHANNELS;
  static_assert(PIXELS == W::WINDOWS * W::ROWS * W::COLUMNS, "one sum for every pixel");
  if constexpr (RUN <= 12) {
#pragma unroll
    for (int k = 0; k < 3 * RUN; ++k) {
      const float weight = load_parameter(weights + k * LD);
#pragma unroll
      for (int i = 0; i < PIXELS; ++i) {
        const int w = i / (W::ROWS * W::COLUMNS), r = i / W::COLUMNS % W::ROWS, c = i % W::COLUMNS;
        acc[i] = fmaf(from[w][((k / RUN + r) * PITCH + c) * CHANNELS + k % RUN], weight, acc[i]);
      }
    }
  } else {
#pragma unroll 1
    for (int row = 0; row < 3; ++row) {
#pragma unroll 1
      for (int left = RUN / 4; left > 0; --left) {
        float weight[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) weight[k] = load_parameter(weights + k * LD);
#pragma unroll
        for (int i = 0; i < PIXELS; ++i) {
          const int w = i / (W::ROWS * W::COLUMNS), r = i / W::COLUMNS % W::ROWS, c = i % W::COLUMNS;
          const float4 value = *(const float4 *)(from[w] + (r * PITCH + c) * CHANNELS);
          acc[i] = fmaf(value.x, weight[0], acc[i]);
          acc[i] = fmaf(value.y, weight[1], acc[i]);
          acc[i] = fmaf(value.z, weight[2], acc[i]);
          acc[i] = fmaf(value.w, weight[3], acc[i]);
        }
        weights += 4 * LD;
#pragma unroll
        for (int w = 0; w < W::WINDOWS; ++w) from[w] += 4;
      }
#pragma unroll
      for (int w = 0; w < W::WINDOWS; ++w) from[w] += PITCH * CHANNELS - RUN;
    }
  }
}

// Points from[] at the neighbourhoods of windows first ... in a plane; past the end the last one.
template <typename W, int CHANNELS, int PITCH>
__device__ __forceinline__ void conv_point(const float *(&from)[W::WINDOWS], const float *plane, int first) {
#pragma unroll
  for (int w = 0; w < W::WINDOWS; ++w) {
    const int window = min(first + w, W::COUNT - 1);
    from[w] = plane + (window / W::ACROSS * W::ROWS * PITCH + window % W::ACROSS * W::COLUMNS) * CHANNELS;
  }
}

// store(y, x, channel, sum) for every pixel and each of TO channels: 3 x 3 sums over a plane of FROM channels, rows of
// weights LD apart, beginning with bias[channel] or, where that is NULL, with 0.
template <int HEIGHT, int WIDTH, int FROM, int TO, int LD, typename Store>
__device__ __forceinline__ void conv_each(const float *plane, const float *weights, const float *bias, Store store) {
  using W = conv_straight<HEIGHT, WIDTH>;
  constexpr int ITEMS = (W::COUNT + W::WINDOWS - 1) / W::WINDOWS, PIXELS = W::WINDOWS * W::COLUMNS;
  constexpr int GROUPS = (TO + 31) / 32;
  for (int work = threadIdx.x / 32; work < GROUPS * ITEMS; work += CONV_WARPS) {
    const int group = work / ITEMS, item = work % ITEMS, channel = group * 32 + (threadIdx.x & 31);
    const float offset = bias ? load_parameter(conv_lane<TO>(bias, group)) : 0.0f;
    float acc[PIXELS];
    const float *from[W::WINDOWS];
#pragma unroll
    for (int i = 0; i < PIXELS; ++i) acc[i] = offset;
    conv_point<W, FROM, WIDTH + 1>(from, plane, item * W::WINDOWS);
    conv_accumulate<W, FROM, WIDTH + 1, LD>(acc, from, conv_lane<TO>(weights, group));
#pragma unroll
    for (int i = 0; i < PIXELS; ++i) {
      const int window = item * W::WINDOWS + i / W::COLUMNS;
      if (window < W::COUNT && conv_live<TO>(channel))
        store(window / W::ACROSS, window % W::ACROSS * W::COLUMNS + i % W::COLUMNS, channel, acc[i]);
    }
  }
}

// ---- forward ----

// An image of a row of the data, whose place among the rows is `row`, as a plane, standardised; files have
// [channel][y][x]. KIND: of `data`'s numbers.
template <typename L, int KIND>
__device__ __forceinline__ void conv_gather(float *plane, const void *data, unsigned row, const float *scale,
                                            const float *shift) {
  constexpr int SIZE = L::HEIGHT * L::WIDTH;
  const unsigned long long base = (unsigned long long)row * (SIZE * L::INPUTS);
  for (int i = threadIdx.x; i < SIZE * L::INPUTS; i += CONV_THREADS) {
    const int channel = i / SIZE, y = i % SIZE / L::WIDTH, x = i % L::WIDTH;
    const float raw = KIND == ROW_FLOAT ? __ldg((const float *)data + base + i)
                                        : (float)__ldg((const unsigned char *)data + base + i);
    plane[plane_pixel<L::PITCH>(y, x) * L::INPUTS + channel] = fmaf(raw, __ldg(scale + i), __ldg(shift + i));
  }
}

// How a layer's outputs are stored in the next one's plane.
struct conv_store {
  template <int HEIGHT, int WIDTH, int CHANNELS>
  static __device__ __forceinline__ void put(float *plane, int y, int x, int channel, float value) {
    plane[plane_pixel<WIDTH + 1>(y, x) * CHANNELS + channel] = value;
  }
};

// output[channel] = scale * the sum of [part][channel], rows LD apart, once all threads have written theirs.
template <int CHANNELS, int LD, int PARTS>
__device__ __forceinline__ void conv_sum_parts(float *output, const float *scratch, float scale) {
  __syncthreads();
#pragma unroll
  for (int first = 0; first < CHANNELS; first += CONV_THREADS) {
    const int channel = first + threadIdx.x;
    if (channel >= CHANNELS) continue;
    float sum = 0.0f;
#pragma unroll
    for (int part = 0; part < PARTS; ++part) sum += scratch[part * LD + channel];
    output[channel] = sum * scale;
  }
}

// What passes a window: the largest sum if it is positive, and which one it is; PASSES_NONE if none.
enum { PASSES_NONE = 4 };

// One layer of one image. `output`: the next layer's plane, or with MEAN its feature vector. `codes`: see
// branch_arguments, or NULL. `scratch`: CONV_WARPS * 32 floats of the block. STORE: how outputs are stored.
template <typename L, bool MEAN, typename STORE = conv_store>
__device__ __forceinline__ void conv_forward(const float *plane, const float *weights, const float *bias, float *output,
                                             unsigned char *codes, float *scratch) {
  using W = conv_windows<L, L::POOL>;
  constexpr int ITEMS = (W::COUNT + W::WINDOWS - 1) / W::WINDOWS, PIXELS = W::WINDOWS * W::ROWS * W::COLUMNS;
  constexpr int PARTS = MEAN ? (L::GROUPS < CONV_WARPS ? CONV_WARPS / L::GROUPS : 1) : ITEMS;
  constexpr int PASSES = W::WINDOWS * (L::POOL ? 1 : W::COLUMNS);  // output pixels of a thread
  for (int work = threadIdx.x / 32; work < L::GROUPS * PARTS; work += CONV_WARPS) {
    const int channel = work / PARTS * 32 + (threadIdx.x & 31), group = work / PARTS;
    const bool live = conv_live<L::OUTPUTS>(channel);
    const float offset = load_parameter(conv_lane<L::OUTPUTS>(bias, group));
    float total = 0.0f;
#pragma unroll 1
    for (int item = work % PARTS; item < ITEMS; item += PARTS) {
      float acc[PIXELS];
      const float *from[W::WINDOWS];
#pragma unroll
      for (int i = 0; i < PIXELS; ++i) acc[i] = offset;
      conv_point<W, L::INPUTS, L::PITCH>(from, plane, item * W::WINDOWS);
      conv_accumulate<W, L::INPUTS, L::PITCH, L::LD>(acc, from, conv_lane<L::OUTPUTS>(weights, group));
#pragma unroll
      for (int i = 0; i < PASSES; ++i) {
        const int window = item * W::WINDOWS + (L::POOL ? i : i / W::COLUMNS);
        float best = L::POOL ? acc[4 * i] : acc[i];
        int code = 0;
        if constexpr (L::POOL) {
#pragma unroll
          for (int k = 1; k < 4; ++k) {
            code = acc[4 * i + k] > best ? k : code;
            best = fmaxf(best, acc[4 * i + k]);
          }
        }
        code = best > 0.0f ? code : PASSES_NONE;
        best = fmaxf(best, 0.0f);
        if (window < W::COUNT) {
          const int y = L::POOL ? window / L::OUT_WIDTH : window / W::ACROSS;
          const int x = L::POOL ? window % L::OUT_WIDTH : window % W::ACROSS * W::COLUMNS + i % W::COLUMNS;
          if (MEAN)
            total += best;
          else if (live)
            STORE::template put<L::OUT_HEIGHT, L::OUT_WIDTH, L::OUTPUTS>(output, y, x, channel, best);
          if (codes && live) codes[(y * L::OUT_WIDTH + x) * L::OUTPUTS + channel] = (unsigned char)code;
        }
      }
    }
    if (MEAN) scratch[work % PARTS * (L::GROUPS * 32) + channel] = total;
  }
  if (MEAN) conv_sum_parts<L::OUTPUTS, L::GROUPS * 32, PARTS>(output, scratch, 1.0f / L::OUT_PIXELS);
}

// A layer's weights [TAPS][inputs][outputs] for the way back: neighbours mirrored, [TAPS][outputs][inputs]; the part of
// block `block` of CONV_TURN_BLOCKS. TAPS: 9, or 1 of a 1 x 1 convolution.
template <typename L, int TAPS = 9>
__device__ __forceinline__ void conv_turn(float *to, const float *weights, int block) {
  for (int i = block * CONV_THREADS + threadIdx.x; i < TAPS * L::INPUTS * L::OUTPUTS;
       i += CONV_TURN_BLOCKS * CONV_THREADS) {
    const int input = i % L::INPUTS, output = i / L::INPUTS % L::OUTPUTS, tap = i / (L::INPUTS * L::OUTPUTS);
    to[i] = load_parameter(weights + ((TAPS - 1 - tap) * L::INPUTS + input) * L::LD + output);
  }
}

// ---- backward ----

// The loss by what comes out of a layer, at one output pixel and channel, to its sums.
template <typename L>
__device__ __forceinline__ void conv_pass_back(float *gradients, int y, int x, int channel, int code, float gradient) {
  if constexpr (L::POOL) {
#pragma unroll
    for (int k = 0; k < 4; ++k)
      gradients[plane_pixel<L::PITCH>(2 * y + k / 2, 2 * x + k % 2) * L::OUTPUTS + channel] =
          code == k ? gradient : 0.0f;
  } else {
    gradients[plane_pixel<L::PITCH>(y, x) * L::OUTPUTS + channel] = code == 0 ? gradient : 0.0f;
  }
}

// From the loss by the means to that by the last layer's sums.
template <typename L>
__device__ __forceinline__ void conv_spread(float *gradients, const unsigned char *codes, const float *means) {
  for (int i = threadIdx.x; i < L::OUT_PIXELS * L::OUTPUTS; i += CONV_THREADS) {
    const int pixel = i / L::OUTPUTS, channel = i % L::OUTPUTS;
    conv_pass_back<L>(gradients, pixel / L::OUT_WIDTH, pixel % L::OUT_WIDTH, channel, codes[i],
                      means[channel] * (1.0f / L::OUT_PIXELS));
  }
}

// From the loss by the sums of L to that by the sums of BEFORE, the layer before it.
template <typename L, typename BEFORE>
__device__ __forceinline__ void conv_backward(const float *gradients, const float *turned, float *gradients_before,
                                              const unsigned char *codes_before) {
  conv_each<L::HEIGHT, L::WIDTH, L::OUTPUTS, L::INPUTS, L::INPUTS>(
      gradients, turned, nullptr, [&](int y, int x, int channel, float sum) {
        conv_pass_back<BEFORE>(gradients_before, y, x, channel, codes_before[(y * L::WIDTH + x) * L::INPUTS + channel],
                               sum);
      });
}

// Gradients of a layer's weights: a block takes TAKES rows of [9 * inputs][outputs] for 32 outputs; its warps share the
// slot's images. The items behind those of the weights are the bias's.
template <typename L>
struct conv_items {
  static constexpr int TAKES = L::INPUTS % 4 ? 3 * L::INPUTS : 12;
  static constexpr int WEIGHTS = 9 * L::INPUTS / TAKES * L::GROUPS, COUNT = WEIGHTS + L::GROUPS;
};

// The warps' sums, one after the other, to device memory.
template <int TAKES>
__device__ __forceinline__ void conv_write_sums(float *to, int ld, const float (&acc)[TAKES], float *scratch,
                                                int columns) {
  const int lane = threadIdx.x & 31;
#pragma unroll
  for (int j = 0; j < TAKES; ++j) scratch[(threadIdx.x / 32 * TAKES + j) * 32 + lane] = acc[j];
  __syncthreads();
  for (int j = threadIdx.x / 32; j < TAKES; j += CONV_WARPS) {
    float sum = 0.0f;
#pragma unroll
    for (int warp = 0; warp < CONV_WARPS; ++warp) sum += scratch[(warp * TAKES + j) * 32 + lane];
    if (lane < columns) to[j * ld + lane] = sum;
  }
}

// acc[j] += value[j] * gradient, of planes of INPUTS channels.
template <int INPUTS, int TAKES>
__device__ __forceinline__ void conv_add_products(float (&acc)[TAKES], const float *value, float gradient) {
  if constexpr (INPUTS % 4 == 0) {
#pragma unroll
    for (int j = 0; j < TAKES; j += 4) {
      const float4 four = *(const float4 *)(value + j);
      acc[j] = fmaf(four.x, gradient, acc[j]);
      acc[j + 1] = fmaf(four.y, gradient, acc[j + 1]);
      acc[j + 2] = fmaf(four.z, gradient, acc[j + 2]);
      acc[j + 3] = fmaf(four.w, gradient, acc[j + 3]);
    }
  } else {
#pragma unroll
    for (int j = 0; j < TAKES; ++j) acc[j] = fmaf(value[j], gradient, acc[j]);
  }
}

// `inputs`, `gradients`: the planes of all images; images first .. last - 1. `scratch`: CONV_WARPS * 12 * 32 floats.
template <typename L>
__device__ __forceinline__ void conv_weight_gradient(const float *inputs, const float *gradients, int item,
                                                     unsigned first, unsigned last, float *weights, float *bias,
                                                     float *scratch) {
  constexpr int TAKES = conv_items<L>::TAKES, RUN = 3 * L::INPUTS, STEPS = 9 * L::INPUTS / TAKES;
  const bool of_bias = item >= conv_items<L>::WEIGHTS;
  const int group = of_bias ? item - conv_items<L>::WEIGHTS : item / STEPS, step = item % STEPS;
  const int columns = L::OUTPUTS - group * 32;
  const float *delta =
      conv_lane<L::OUTPUTS>(gradients + (unsigned long long)(first + threadIdx.x / 32) * (L::PIXELS * L::OUTPUTS) +
                                plane_pixel<L::PITCH>(0, 0) * L::OUTPUTS,
                            group);
  const unsigned images = last - min(last, first + threadIdx.x / 32);
  if (of_bias) {
    float acc[1] = {};
#pragma unroll 1
    for (unsigned image = 0; image < images; image += CONV_WARPS) {
#pragma unroll 1
      for (int pixel = 0; pixel < L::SPAN; ++pixel) acc[0] += delta[pixel * L::OUTPUTS];
      delta += CONV_WARPS * L::PIXELS * L::OUTPUTS;
    }
    conv_write_sums(bias + group * 32, 0, acc, scratch, columns);
    return;
  }
  /* Row `step * TAKES` of the weights: which of the three rows of neighbours, and where in it. */
  const int row = step * TAKES / RUN, at = step * TAKES % RUN;
  const float *values = inputs + (unsigned long long)(first + threadIdx.x / 32) * (L::PIXELS * L::INPUTS) +
                        row * (L::PITCH * L::INPUTS) + at;
  float acc[TAKES] = {};
#pragma unroll 1
  for (unsigned image = 0; image < images; image += CONV_WARPS) {
    const float *value = values, *d = delta;
#pragma unroll 1
    for (int left = L::SPAN; left > 0; --left) {
      const float gradient = *d;
      conv_add_products<L::INPUTS>(acc, value, gradient);
      value += L::INPUTS;
      d += L::OUTPUTS;
    }
    values += CONV_WARPS * L::PIXELS * L::INPUTS;
    delta += CONV_WARPS * L::PIXELS * L::OUTPUTS;
  }
  conv_write_sums(weights + (long long)step * TAKES * L::LD + group * 32, L::LD, acc, scratch, columns);
}

// ---- what the kernels begin with ----

// The image of a block of threads.
struct conv_image {
  unsigned number;  // among the planes of all parts
  unsigned part;
  tile_row row;
  bool live;  // the batch has it
};

__device__ __forceinline__ conv_image conv_image_of(const branch_arguments &a) {
  const batch_rows batch = batch_of_step(a.rows, a.rows.request ? 0 : a.rows.state->completed);
  conv_image image;
  image.number = blockIdx.x;
  image.part = blockIdx.x / a.capacity;
  const unsigned at = a.first + blockIdx.x % a.capacity;
  image.row = row_at(a.rows, batch, at);
  image.live = at < batch.count;
  return image;
}

__device__ __forceinline__ const float *conv_parameters(const branch_arguments &a, unsigned part) {
  return a.rows.parameters + (a.first_part + part) * a.part_floats;
}

__device__ __forceinline__ unsigned long long conv_feature_row(const branch_arguments &a, const conv_image &image) {
  return (unsigned long long)image.part * a.feature_rows + image.row.local;
}

// Of a block of threads that makes weight gradients: part and slot, its images.
struct conv_slot {
  unsigned part, item, first, last;
  float *gradients;
};

__device__ __forceinline__ conv_slot conv_slot_of(const branch_arguments &a, unsigned items) {
  const batch_rows batch = batch_of_step(a.rows, a.rows.request ? 0 : a.rows.state->completed);
  conv_slot slot;
  const unsigned number = blockIdx.x / items % a.rows.slot_count;
  slot.item = blockIdx.x % items;
  slot.part = blockIdx.x / items / a.rows.slot_count;
  slot.first = min(number * a.slot_images, batch.count);
  slot.last = min(slot.first + a.slot_images, batch.count);
  slot.gradients = a.rows.slots + number * a.rows.slot_stride + slot.part * a.part_floats;
  return slot;
}
