// Convolutional encoders and decoders of targets that are images: image to latent and back, with gradients.
//
//   encoder  3 x 3 convolutions with ReLU and 2 x 2 max-pool (conv.cuh), a dense layer, and the result u brought to the
//            sphere: z1 = u sqrt(d) / |u|, so that latents have numbers of mean square 1 whatever the layers do
//   decoder  of z1 + noise, brought to the sphere again: a dense layer with ReLU, then per convolution four times the
//            channels at half the pixels, whose four parts are the pixels of a 2 x 2 square (Shi et al. 2016,
//            "sub-pixel convolution"), with ReLU but behind the last, which makes the standardised image
//
// The loss is the mean of the squared errors over the image's numbers. The flow in the latent space sends nothing back.
// As in conv.cuh a block of threads carries an image, lane = channel of the result, and sums have a fixed order.
#pragma once

#include "conv.cuh"
#include "image_coder_arguments.h"

// ---- which image a block has ----

struct coder_image {
  unsigned number;  // among the planes
  tile_row row;
  unsigned step, total;  // of the random numbers; rows that means run over
  bool live;             // the batch has it
};

__device__ __forceinline__ coder_image coder_image_of(const image_coder_arguments &a) {
  const batch_rows batch = batch_of_step(a.rows, a.rows.request ? 0 : a.rows.state->completed);
  coder_image image;
  image.number = blockIdx.x;
  const unsigned at = a.first + blockIdx.x;
  image.row = row_at(a.rows, batch, at);
  image.step = batch.step;
  image.total = batch.total;
  image.live = at < batch.count;
  return image;
}

// ---- dense layers between a plane and a vector in shared memory ----

// to[i] = bias[i] + the sum over pixels and CHANNELS of a plane times weights [pixel][channel][LD]; bias NULL: none.
// `scratch`: CODER_SCRATCH floats.
enum { CODER_SCRATCH = 512 };
template <int HEIGHT, int WIDTH, int CHANNELS, int N>
__device__ __forceinline__ void coder_gather(float *to, const float *plane, const float *weights, const float *bias,
                                             float *scratch) {
  constexpr int LD = (N + 7) & ~7, GROUPS = (N + 31) / 32, PARTS = GROUPS < CONV_WARPS ? CONV_WARPS / GROUPS : 1;
  for (int work = threadIdx.x / 32; work < GROUPS * PARTS; work += CONV_WARPS) {
    const float *const from = conv_lane<N>(weights, work / PARTS);
    float sums[4] = {};
#pragma unroll 1
    for (int y = work % PARTS; y < HEIGHT; y += PARTS) {
#pragma unroll 1
      for (int i = 0; i < WIDTH * CHANNELS; i += 4) {  // the pixels of a row stand side by side
        const float4 four = *(const float4 *)(plane + plane_pixel<WIDTH + 1>(y, 0) * CHANNELS + i);
        const float *const column = from + (long long)(y * WIDTH * CHANNELS + i) * LD;
        sums[0] = fmaf(four.x, load_parameter(column), sums[0]);
        sums[1] = fmaf(four.y, load_parameter(column + LD), sums[1]);
        sums[2] = fmaf(four.z, load_parameter(column + 2 * LD), sums[2]);
        sums[3] = fmaf(four.w, load_parameter(column + 3 * LD), sums[3]);
      }
    }
    scratch[work % PARTS * (GROUPS * 32) + work / PARTS * 32 + (threadIdx.x & 31)] =
        (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < N; i += CONV_THREADS) {
    float sum = bias ? load_parameter(bias + i) : 0.0f;
    for (int part = 0; part < PARTS; ++part) sum += scratch[part * (GROUPS * 32) + i];
    to[i] = sum;
  }
  __syncthreads();
}

// each(y, x, channel, sum over k of from[k] * weights[k][pixel][channel]) for all pixels and channels.
template <int HEIGHT, int WIDTH, int CHANNELS, int N, typename Each>
__device__ __forceinline__ void coder_spread(const float *from, const float *weights, Each each) {
  constexpr int COUNT = HEIGHT * WIDTH * CHANNELS;
#pragma unroll 1
  for (int first = 0; first < COUNT; first += CONV_THREADS) {
    const int at = first + threadIdx.x, i = at < COUNT ? at : COUNT - 1;
    float sum = 0.0f;
#pragma unroll 4
    for (int k = 0; k < N; ++k) sum = fmaf(from[k], load_parameter(weights + k * COUNT + i), sum);
    const int pixel = i / CHANNELS;
    if (at < COUNT) each(pixel / WIDTH, pixel % WIDTH, i % CHANNELS, sum);
  }
}

// ---- the sphere ----

// The inner product, by every warp for itself.
template <int N>
__device__ __forceinline__ float coder_dot(const float *a, const float *b) {
  float sum = 0.0f;
  for (int i = threadIdx.x & 31; i < N; i += 32) sum = fmaf(a[i], b[i], sum);
  return warp_sum(sum);
}

// Brings v, in shared memory, to length sqrt(N); returns the factor.
template <int N>
__device__ __forceinline__ float coder_to_sphere(float *v) {
  const float scale = 1.0f / sqrtf(fmaf(coder_dot<N>(v, v), 1.0f / N, 1e-12f));
  __syncthreads();
  for (int i = threadIdx.x; i < N; i += CONV_THREADS) v[i] *= scale;
  __syncthreads();
  return scale;
}

// From the loss by x = s v, s = sqrt(N)/|v|, to that by v, in place: s (g - x (x . g)/N).
template <int N>
__device__ __forceinline__ void coder_from_sphere(float *g, const float *x, float scale) {
  const float along = coder_dot<N>(g, x) * (1.0f / N);
  __syncthreads();
  for (int i = threadIdx.x; i < N; i += CONV_THREADS) g[i] = scale * fmaf(-along, x[i], g[i]);
  __syncthreads();
}

// ---- convolutions of the decoder ----

// Where part `channel` / C of a 2 x 2 square stands, of layers that give C channels at twice the pixels.
template <int C>
__device__ __forceinline__ int coder_square(int y, int x, int channel, int width) {
  return ((2 * y + channel / (2 * C) + 1) * (width + 1) + 2 * x + channel / C % 2 + 1) * C + channel % C;
}

// A layer with its ReLU into the plane of the next one.
template <typename L>
__device__ __forceinline__ void coder_widen(float *output, const float *input, const float *weights,
                                            const float *bias) {
  constexpr int C = L::OUTPUTS / 4;
  conv_each<L::HEIGHT, L::WIDTH, L::INPUTS, L::OUTPUTS, L::LD>(
      input, weights, bias, [&](int y, int x, int channel, float sum) {
        output[coder_square<C>(y, x, channel, 2 * L::WIDTH)] = fmaxf(sum, 0.0f);
      });
  __syncthreads();
}

// The last layer: its squared errors against `image` (a plane without ReLU), summed over the block, and `share` times
// their derivative into gradients' plane unless that is NULL. `scratch`: CONV_WARPS floats.
template <typename L>
__device__ __forceinline__ float coder_error(float *gradients, const float *input, const float *weights,
                                             const float *bias, const float *image, float share, float *scratch) {
  constexpr int C = L::OUTPUTS / 4;
  float error = 0.0f;
  conv_each<L::HEIGHT, L::WIDTH, L::INPUTS, L::OUTPUTS, L::LD>(
      input, weights, bias, [&](int y, int x, int channel, float sum) {
        const float miss = sum - image[coder_square<C>(y, x, channel, 2 * L::WIDTH)];
        error = fmaf(miss, miss, error);
        if (gradients) gradients[plane_pixel<L::PITCH>(y, x) * L::OUTPUTS + channel] = 2.0f * share * miss;
      });
  error = warp_sum(error);
  if ((threadIdx.x & 31) == 0) scratch[threadIdx.x / 32] = error;
  __syncthreads();
  float sum = 0.0f;
  for (int warp = 0; warp < CONV_WARPS; ++warp) sum += scratch[warp];
  return sum;
}

// The last layer of a solve: images [channel][y][x] in the data's units.
template <typename L>
__device__ __forceinline__ void coder_show(float *output, const float *input, const float *weights, const float *bias,
                                           const float *scale, const float *shift) {
  constexpr int C = L::OUTPUTS / 4;
  conv_each<L::HEIGHT, L::WIDTH, L::INPUTS, L::OUTPUTS, L::LD>(
      input, weights, bias, [&](int y, int x, int channel, float sum) {
        const int at =
            (channel % C * (2 * L::HEIGHT) + 2 * y + channel / (2 * C)) * (2 * L::WIDTH) + 2 * x + channel / C % 2;
        output[at] = fmaf(sum, __ldg(scale + at), __ldg(shift + at));
      });
}

// From the loss by L's sums to that by the sums of the layer before it, which gives its squares, or with START to those
// of the dense layer.
template <typename L, bool START>
__device__ __forceinline__ void coder_narrow(float *before, const float *gradients, const float *turned,
                                             const float *input) {
  conv_each<L::HEIGHT, L::WIDTH, L::OUTPUTS, L::INPUTS, L::INPUTS>(
      gradients, turned, nullptr, [&](int y, int x, int channel, float sum) {
        const int at = plane_pixel<L::PITCH>(y, x) * L::INPUTS + channel;
        const float gradient = input[at] > 0.0f ? sum : 0.0f;
        if (START)
          before[at] = gradient;
        else
          before[plane_pixel<L::WIDTH / 2 + 1>(y / 2, x / 2) * (4 * L::INPUTS) + (y % 2 * 2 + x % 2) * L::INPUTS +
                 channel] = gradient;
      });
  __syncthreads();
}

// ---- gradients of dense layers ----

// Weights [ROWS][COLUMNS] and a bias: sums over a slot's images of a(image, row) * b(image, column). A block takes 64
// rows for 32 columns, a thread eight of them; one more item per 32 columns is the bias.
template <int ROWS, int COLUMNS>
struct coder_items {
  static constexpr int STEPS = (ROWS + 63) / 64 + 1, COUNT = STEPS * ((COLUMNS + 31) / 32);
};

template <int ROWS, int COLUMNS, typename A, typename B>
__device__ __forceinline__ void coder_outer(float *weights, float *bias, int item, unsigned first, unsigned last, A a,
                                            B b) {
  constexpr int LD = (COLUMNS + 7) & ~7, STEPS = coder_items<ROWS, COLUMNS>::STEPS;
  const int column = item / STEPS * 32 + (threadIdx.x & 31), step = item % STEPS;
  const int read = min(column, COLUMNS - 1), row = step * 64 + threadIdx.x / 32 * 8;
  if (step == STEPS - 1) {
    float sum = 0.0f;
    for (unsigned image = first; image < last; ++image) sum += b(image, read);
    if (threadIdx.x < 32 && column < COLUMNS) bias[column] = sum;
    return;
  }
  float acc[8] = {};
#pragma unroll 1
  for (unsigned image = first; image < last; ++image) {
    const float delta = b(image, read);
#pragma unroll
    for (int j = 0; j < 8; ++j) acc[j] = fmaf(a(image, min(row + j, ROWS - 1)), delta, acc[j]);
  }
#pragma unroll
  for (int j = 0; j < 8; ++j)
    if (row + j < ROWS && column < COLUMNS) weights[(long long)(row + j) * LD + column] = acc[j];
}

// The number of a pixel's channel in a plane, from its number without a border.
template <int WIDTH, int CHANNELS>
__device__ __forceinline__ int coder_plane_at(int i) {
  const int pixel = i / CHANNELS;
  return plane_pixel<WIDTH + 1>(pixel / WIDTH, pixel % WIDTH) * CHANNELS + i % CHANNELS;
}

// ---- weights for the way back ----

// A matrix [ROWS][COLUMNS] with rows LD apart to its transpose without padding between rows of ROUNDED.
template <int ROWS, int COLUMNS, int ROUNDED>
__device__ __forceinline__ void coder_turn(float *to, const float *weights, int block) {
  constexpr int LD = (COLUMNS + 7) & ~7;
  for (int i = block * CONV_THREADS + threadIdx.x; i < ROWS * COLUMNS; i += CONV_TURN_BLOCKS * CONV_THREADS)
    to[(long long)(i % COLUMNS) * ROUNDED + i / COLUMNS] =
        load_parameter(weights + (long long)(i / COLUMNS) * LD + i % COLUMNS);
}

// ---- what the kernels begin with ----

// Of a block that makes gradients of weights: its slot's images and where their sums go.
struct coder_slot {
  unsigned item, first, last;
  float *gradients;
};

__device__ __forceinline__ coder_slot coder_slot_of(const image_coder_arguments &a, unsigned items) {
  const batch_rows batch = batch_of_step(a.rows, a.rows.request ? 0 : a.rows.state->completed);
  coder_slot slot;
  const unsigned number = blockIdx.x / items;
  slot.item = blockIdx.x % items;
  slot.first = min(number * a.slot_images, batch.count);
  slot.last = min(slot.first + a.slot_images, batch.count);
  slot.gradients = a.rows.slots + number * a.rows.slot_stride;
  return slot;
}

// v += noise * normals of the row, drawn where encoders with noise of their own draw theirs.
template <int N>
__device__ __forceinline__ void coder_add_noise(float *v, const train_arguments &args, const coder_image &image,
                                                float noise) {
  for (int i = 4 * threadIdx.x; i < N; i += 4 * CONV_THREADS) {
    const float4 normals =
        normal4(philox(args.seed, i / 4, image.row.number, philox_stream(STREAM_ENCODER_NOISE, 0, 0), image.step));
    v[i] = fmaf(noise, normals.x, v[i]);
    if (i + 1 < N) v[i + 1] = fmaf(noise, normals.y, v[i + 1]);
    if (i + 2 < N) v[i + 2] = fmaf(noise, normals.z, v[i + 2]);
    if (i + 3 < N) v[i + 3] = fmaf(noise, normals.w, v[i + 3]);
  }
  __syncthreads();
}
