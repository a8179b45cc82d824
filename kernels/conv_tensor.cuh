// Convolutions on tensor cores (tf32 or bf16, sums in float32): the layers of a branch behind its first, which conv.cuh
// does in fp32.
//
// Planes. A number enters products rounded, and is stored so: [blocks of 16 channels][pixels][16], borders as in
// conv.cuh. Lane 4 g + t of a warp takes the channels 4 t .. 4 t + 3 of the pixel g of eight neighbouring ones: the
// numbers of a warp stand side by side wherever the pixels begin, so that each of the nine neighbours is one access
// without conflicts, and planes need no copy in shared memory: a block of threads has one image, which the L1 holds.
//
// Forward and backward, mma's rows are 16 channels of the result, its columns eight pixels, and it sums over channels.
// Slots of k stand for channels so that a lane's four numbers serve: tf32, step s: slot t is the channel 4 t + 2 s,
// slot t + 4 the one after it; bf16: slots 2 t, 2 t + 1, 2 t + 8, 2 t + 9 are the channels 4 t .. 4 t + 3. Rows g and g
// + 8 are the channels 2 g and 2 g + 1: a lane has pairs of channels of two neighbouring pixels. Weights are packed in
// this order by spare blocks of the first layer's launch.
#pragma once

#include "conv.cuh"
#include "warp_operands.cuh"

enum {
  CONV_TILES = 4,      // of eight pixels that a warp has
  CONV_TILE_ROW = 34,  // floats between rows of 32 gradients: stores of a warp meet in no bank
  CONV_TENSOR_SCRATCH = CONV_WARPS * 32 * CONV_TILE_ROW
};

// Steps of mma that 16 channels take, and numbers in a word.
template <int FORM>
struct conv_form {
  static constexpr int STEPS = FORM == OPERANDS_BF16 ? 1 : 2, IN_WORD = FORM == OPERANDS_BF16 ? 2 : 1;
};

// A plane of CHANNELS: the pixels of the border, and room for the tiles of eight pixels that go beyond it.
template <int HEIGHT, int WIDTH, int CHANNELS>
struct conv_blocked {
  static constexpr int PITCH = WIDTH + 1, PIXELS = (HEIGHT + 2) * PITCH + 1 + 8 * (CONV_TILES + 1);
  static constexpr int BLOCKS = (CHANNELS + 15) / 16, STRIDE = PIXELS * 16;  // numbers from block to block
};

// How results are stored: in planes of conv.cuh (form -1) or blocked and rounded. `channel` is even.
template <int FORM, int PIXELS, int CHANNELS>
__device__ __forceinline__ void conv_store_pair(float *plane, int pixel, int channel, float low, float high) {
  if constexpr (FORM < 0) {
    *(float2 *)(plane + pixel * CHANNELS + channel) = make_float2(low, high);
  } else {
    const int at = ((channel >> 4) * PIXELS + pixel) * 16 + (channel & 15);
    if constexpr (FORM == OPERANDS_BF16)
      ((unsigned *)plane)[at / 2] = bf16_pair(low, high);
    else
      *(uint2 *)(plane + at) = make_uint2(tf32_bits(low), tf32_bits(high));
  }
}

// What the first layer's lanes store: one channel each.
template <int FORM>
struct conv_blocked_store {
  template <int HEIGHT, int WIDTH, int CHANNELS>
  static __device__ __forceinline__ void put(float *plane, int y, int x, int channel, float value) {
    using P = conv_blocked<HEIGHT, WIDTH, CHANNELS>;
    const int at = (channel >> 4) * P::STRIDE + plane_pixel<P::PITCH>(y, x) * 16 + (channel & 15);
    if constexpr (FORM == OPERANDS_BF16)
      ((unsigned short *)plane)[at] = (unsigned short)bf16_pair(value, 0.0f);
    else
      ((unsigned *)plane)[at] = tf32_bits(value);
  }
};

// ---- weights ----

// Weights as mma takes them, uint4 [pairs of blocks of ROWS][TAPS][blocks of COLUMNS][steps][2][32 lanes].
template <int FORM, int ROWS, int COLUMNS, int TAPS = 9>
struct conv_packed {
  static constexpr int PAIRS = (ROWS + 31) / 32, BLOCKS = (COLUMNS + 15) / 16;
  static constexpr int OF_PAIR = TAPS * BLOCKS * conv_form<FORM>::STEPS * 64, COUNT = PAIRS * OF_PAIR;  // uint4
};

// The weight from `input` to `output` at neighbour `tap`, 0 past the layer's ends.
template <typename L>
__device__ __forceinline__ float conv_weight(const float *weights, int tap, int input, int output) {
  return input < L::INPUTS && output < L::OUTPUTS ? load_parameter(weights + (tap * L::INPUTS + input) * L::LD + output)
                                                  : 0.0f;
}

// The part of block `block` of CONV_TURN_BLOCKS; TURNED: for the way back, neighbours mirrored.
template <typename L, int FORM, bool TURNED, int TAPS = 9>
__device__ __forceinline__ void conv_pack(float *memory, const float *weights, int block) {
  constexpr int rows = TURNED ? L::INPUTS : L::OUTPUTS, columns = TURNED ? L::OUTPUTS : L::INPUTS;
  constexpr int steps = conv_form<FORM>::STEPS;
  using P = conv_packed<FORM, rows, columns, TAPS>;
  const auto weight = [&](int tap, int row, int column) {
    return TURNED ? conv_weight<L>(weights, TAPS - 1 - tap, row, column) : conv_weight<L>(weights, tap, column, row);
  };
  for (int i = block * CONV_THREADS + threadIdx.x; i < P::COUNT; i += CONV_TURN_BLOCKS * CONV_THREADS) {
    const int lane = i & 31, half = i / 32 % 2, step = i / 64 % steps, of = i / 64 / steps % P::BLOCKS;
    const int tap = i / 64 / steps / P::BLOCKS % TAPS, pair = i / P::OF_PAIR;
    const int row = 32 * pair + 16 * half + 2 * (lane >> 2), column = 16 * of + 4 * (lane & 3) + 2 * step;
    unsigned word[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      if constexpr (FORM == OPERANDS_BF16) {
        const int first = column + 2 * (k >> 1);
        word[k] = bf16_pair(weight(tap, row + (k & 1), first), weight(tap, row + (k & 1), first + 1));
      } else {
        word[k] = tf32_bits(weight(tap, row + (k & 1), column + (k >> 1)));
      }
    }
    ((uint4 *)memory)[i] = make_uint4(word[0], word[1], word[2], word[3]);
  }
}

// ---- products ----

// Where a warp's tiles begin: two of one row and two of the row below it, or four in a row.
template <int PITCH, bool POOL>
__device__ __forceinline__ constexpr int conv_tile(int n) {
  return POOL ? n / 2 * PITCH + n % 2 * 8 : n * 8;
}

// acc[half of the channels' pair][tile] += sums over CHANNELS of one neighbour, for the first TILES tiles: `from` its
// numbers for the first pixel, which goes on to the next block of channels, and so do the weights.
template <int FORM, int BLOCKS, int STRIDE, int PITCH, bool POOL, int TILES>
__device__ __forceinline__ void conv_multiply_tap(float (&acc)[2][CONV_TILES][4], const unsigned *&from,
                                                  const uint4 *&weights) {
  constexpr int steps = conv_form<FORM>::STEPS, in_word = conv_form<FORM>::IN_WORD;
#pragma unroll 1
  for (int left = BLOCKS; left > 0; --left) {
    uint4 rows[steps][2];
#pragma unroll
    for (int i = 0; i < 2 * steps; ++i) rows[i / 2][i % 2] = weights[32 * i];
#pragma unroll
    for (int n = 0; n < TILES; ++n) {
      const unsigned *at = from + conv_tile<PITCH, POOL>(n) * (16 / in_word);
      if constexpr (FORM == OPERANDS_BF16) {
        const uint2 two = *(const uint2 *)at;
#pragma unroll
        for (int m = 0; m < 2; ++m)
          mma_step<FORM>(acc[m][n], rows[0][m].x, rows[0][m].y, rows[0][m].z, rows[0][m].w, two.x, two.y);
      } else {
        const uint4 four = *(const uint4 *)at;
#pragma unroll
        for (int m = 0; m < 2; ++m)
          mma_step<FORM>(acc[m][n], rows[0][m].x, rows[0][m].y, rows[0][m].z, rows[0][m].w, four.x, four.y);
#pragma unroll
        for (int m = 0; m < 2; ++m)
          mma_step<FORM>(acc[m][n], rows[steps - 1][m].x, rows[steps - 1][m].y, rows[steps - 1][m].z,
                         rows[steps - 1][m].w, four.z, four.w);
      }
    }
    weights += 64 * steps;
    from += STRIDE / in_word;
  }
}

template <int FORM>
__device__ __forceinline__ const uint4 *conv_lane_weights(const float *packed) {
  return (const uint4 *)packed + (threadIdx.x & 31);
}
template <int FORM>
__device__ __forceinline__ const unsigned *conv_lane_factors(const float *plane) {
  return (const unsigned *)plane + (threadIdx.x & 31) * (4 / conv_form<FORM>::IN_WORD);
}

// acc[half of the channels' pair][tile] += sums over 3 x 3 neighbours and CHANNELS, for the first TILES tiles. `plane`:
// the neighbour before and above the first pixel; `packed`: the weights of the pair.
template <int FORM, int BLOCKS, int STRIDE, int PITCH, bool POOL, int TILES = CONV_TILES>
__device__ __forceinline__ void conv_multiply(float (&acc)[2][CONV_TILES][4], const float *plane, const float *packed) {
  constexpr int in_word = conv_form<FORM>::IN_WORD;
  const uint4 *weights = conv_lane_weights<FORM>(packed);
  const unsigned *from = conv_lane_factors<FORM>(plane);
#pragma unroll 1
  for (int tap = 0; tap < 9; ++tap) {
    conv_multiply_tap<FORM, BLOCKS, STRIDE, PITCH, POOL, TILES>(acc, from, weights);
    from += (16 * (tap % 3 == 2 ? PITCH - 2 : 1) - BLOCKS * STRIDE) / in_word;
  }
}

// Items of tiles that a layer's pixels from the first to the last are; the last one may have fewer tiles.
template <typename L>
__device__ constexpr int conv_tile_items() {
  return (L::SPAN + 8 * CONV_TILES - 1) / (8 * CONV_TILES);
}
template <typename L>
struct conv_last_item {
  static constexpr int REST = (L::SPAN + 7) / 8 % CONV_TILES, TILES = REST ? REST : CONV_TILES;
  static __device__ __forceinline__ constexpr bool is(int item) { return REST && item == L::SPAN / (8 * CONV_TILES); }
};

// conv_multiply for item `item`.
template <typename L, int FORM, int BLOCKS, int STRIDE>
__device__ __forceinline__ void conv_multiply_item(float (&acc)[2][CONV_TILES][4], const float *plane,
                                                   const float *packed, int item) {
  if (conv_last_item<L>::is(item))
    conv_multiply<FORM, BLOCKS, STRIDE, L::PITCH, false, conv_last_item<L>::TILES>(acc, plane, packed);
  else
    conv_multiply<FORM, BLOCKS, STRIDE, L::PITCH, false>(acc, plane, packed);
}

// conv_multiply_tap for item `item`. `plane`: the neighbour of the item's first pixel; `packed`: its weights.
template <typename L, int FORM, int BLOCKS, int STRIDE>
__device__ __forceinline__ void conv_multiply_tap_item(float (&acc)[2][CONV_TILES][4], const float *plane,
                                                       const float *packed, int item) {
  const uint4 *weights = conv_lane_weights<FORM>(packed);
  const unsigned *from = conv_lane_factors<FORM>(plane);
  if (conv_last_item<L>::is(item))
    conv_multiply_tap<FORM, BLOCKS, STRIDE, L::PITCH, false, conv_last_item<L>::TILES>(acc, from, weights);
  else
    conv_multiply_tap<FORM, BLOCKS, STRIDE, L::PITCH, false, CONV_TILES>(acc, from, weights);
}

template <int FORM>
__device__ __forceinline__ const float *conv_at(const float *plane, int pixel) {
  return plane + pixel * (16 / conv_form<FORM>::IN_WORD);
}

// store(y, x, channel, sum, sum of the channel behind it) for the pairs of channels that a warp's sums of an item are.
template <typename L, int TO, typename Store>
__device__ __forceinline__ void conv_store_tiles(const float (&acc)[2][CONV_TILES][4], int pair, int item,
                                                 Store store) {
  const int t = threadIdx.x & 3, g = threadIdx.x >> 2 & 7;
#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int n = 0; n < CONV_TILES; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int pixel = item * 8 * CONV_TILES + 8 * n + 2 * t + e, y = pixel / L::PITCH, x = pixel % L::PITCH;
        const int channel = 32 * pair + 16 * m + 2 * g;
        if (x < L::WIDTH && y < L::HEIGHT && (TO % 32 == 0 || channel < TO))
          store(y, x, channel, acc[m][n][e], acc[m][n][2 + e]);
      }
}

// conv_each on tensor cores, for pairs of channels. `plane`: blocked; `packed`: the weights as mma takes them.
template <int HEIGHT, int WIDTH, int FROM, int TO, int FORM, typename Store>
__device__ __forceinline__ void conv_each_pair(const float *plane, const float *packed, Store store) {
  using L = conv_layer<HEIGHT, WIDTH, FROM, TO, false>;
  using P = conv_blocked<HEIGHT, WIDTH, FROM>;
  using W = conv_packed<FORM, TO, FROM>;
  constexpr int items = conv_tile_items<L>();
#pragma unroll 1
  for (int work = threadIdx.x / 32; work < W::PAIRS * items; work += CONV_WARPS) {
    const int pair = work / items, item = work % items;
    float acc[2][CONV_TILES][4] = {};
    conv_multiply_item<L, FORM, P::BLOCKS, P::STRIDE>(acc, conv_at<FORM>(plane, item * 8 * CONV_TILES),
                                                      packed + pair * (4 * W::OF_PAIR), item);
    conv_store_tiles<L, TO>(acc, pair, item, store);
  }
}

// ---- forward ----

// As conv_forward: with a pool the next layer's plane is `output`, without one the feature vector. `packed`: the
// layer's weights.
template <typename L, int FORM>
__device__ __forceinline__ void conv_forward_tensor(const float *plane, const float *packed, const float *bias,
                                                    float *output, unsigned char *codes, float *scratch) {
  using P = conv_blocked<L::HEIGHT, L::WIDTH, L::INPUTS>;
  using NEXT = conv_blocked<L::OUT_HEIGHT, L::OUT_WIDTH, L::OUTPUTS>;
  using W = conv_packed<FORM, L::OUTPUTS, L::INPUTS>;
  constexpr int across = (L::OUT_WIDTH + 7) / 8;  // groups of eight windows of a row
  constexpr int items = L::POOL ? L::OUT_HEIGHT * across : (L::SPAN + 8 * CONV_TILES - 1) / (8 * CONV_TILES);
  constexpr int parts = L::POOL ? items : W::PAIRS < CONV_WARPS ? CONV_WARPS / W::PAIRS : 1;
  const int t = threadIdx.x & 3, g = threadIdx.x >> 2 & 7;
#pragma unroll 1
  for (int work = threadIdx.x / 32; work < W::PAIRS * parts; work += CONV_WARPS) {
    const int pair = work / parts;
    float total[2][2] = {};
#pragma unroll 1
    for (int item = work % parts; item < items; item += parts) {
      float acc[2][CONV_TILES][4];
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        const int channel = min(32 * pair + 16 * m + 2 * g, L::OUTPUTS - 2);
        const float2 two = *(const float2 *)(bias + channel);
#pragma unroll
        for (int n = 0; n < CONV_TILES; ++n) acc[m][n][0] = acc[m][n][1] = two.x, acc[m][n][2] = acc[m][n][3] = two.y;
      }
      const int first = L::POOL ? item / across * 2 * L::PITCH + item % across * 16 : item * 8 * CONV_TILES;
      const float *const of_pair = packed + pair * (4 * W::OF_PAIR);
      if constexpr (L::POOL)
        conv_multiply<FORM, P::BLOCKS, P::STRIDE, L::PITCH, true>(acc, conv_at<FORM>(plane, first), of_pair);
      else
        conv_multiply_item<L, FORM, P::BLOCKS, P::STRIDE>(acc, conv_at<FORM>(plane, first), of_pair, item);
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        const int channel = 32 * pair + 16 * m + 2 * g;
        if constexpr (L::POOL) {
#pragma unroll
          for (int j = 0; j < 2; ++j) {
            const int y = item / across, x = item % across * 8 + 4 * j + t;
            float best[2];
            int code[2];
#pragma unroll
            for (int c = 0; c < 2; ++c) {
              best[c] = acc[m][j][2 * c], code[c] = 0;
#pragma unroll
              for (int k = 1; k < 4; ++k) {
                const float sum = acc[m][j + (k & 2)][2 * c + (k & 1)];
                code[c] = sum > best[c] ? k : code[c];
                best[c] = fmaxf(best[c], sum);
              }
              code[c] = best[c] > 0.0f ? code[c] : (int)PASSES_NONE;
              best[c] = fmaxf(best[c], 0.0f);
            }
            if (x >= L::OUT_WIDTH || (L::OUTPUTS % 32 && channel >= L::OUTPUTS)) continue;
            conv_store_pair<FORM, NEXT::PIXELS, L::OUTPUTS>(output, plane_pixel<NEXT::PITCH>(y, x), channel, best[0],
                                                            best[1]);
            if (codes)
              *(uchar2 *)(codes + (y * L::OUT_WIDTH + x) * L::OUTPUTS + channel) = make_uchar2(code[0], code[1]);
          }
        } else {
#pragma unroll
          for (int n = 0; n < CONV_TILES; ++n)
#pragma unroll
            for (int e = 0; e < 2; ++e) {
              const int pixel = first + 8 * n + 2 * t + e, y = pixel / L::PITCH, x = pixel % L::PITCH;
              const bool inside = x < L::WIDTH && y < L::HEIGHT;
              const float low = acc[m][n][e], high = acc[m][n][2 + e];
              total[m][0] += inside ? fmaxf(low, 0.0f) : 0.0f;
              total[m][1] += inside ? fmaxf(high, 0.0f) : 0.0f;
              if (codes && inside && (L::OUTPUTS % 32 == 0 || channel < L::OUTPUTS))
                *(uchar2 *)(codes + (y * L::WIDTH + x) * L::OUTPUTS + channel) =
                    make_uchar2(low > 0.0f ? 0 : PASSES_NONE, high > 0.0f ? 0 : PASSES_NONE);
            }
        }
      }
    }
    if constexpr (!L::POOL) {
#pragma unroll
      for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          total[m][c] += __shfl_xor_sync(0xffffffffu, total[m][c], 1);
          total[m][c] += __shfl_xor_sync(0xffffffffu, total[m][c], 2);
          if (t == 0) scratch[work % parts * (W::PAIRS * 32) + 32 * pair + 16 * m + 2 * g + c] = total[m][c];
        }
    }
  }
  if constexpr (!L::POOL) conv_sum_parts<L::OUTPUTS, W::PAIRS * 32, parts>(output, scratch, 1.0f / L::OUT_PIXELS);
}

// ---- backward ----

// The loss by what comes out of a layer, a pair of channels at one output pixel, to its sums.
template <typename L, int FORM>
__device__ __forceinline__ void conv_pass_pair(float *gradients, int y, int x, int channel, uchar2 code, float low,
                                               float high) {
  constexpr int pixels = conv_blocked<L::HEIGHT, L::WIDTH, L::OUTPUTS>::PIXELS;
#pragma unroll
  for (int k = 0; k < L::SIDE * L::SIDE; ++k)
    conv_store_pair<FORM, pixels, L::OUTPUTS>(gradients,
                                              plane_pixel<L::PITCH>(L::SIDE * y + k / 2, L::SIDE * x + k % 2), channel,
                                              code.x == k ? low : 0.0f, code.y == k ? high : 0.0f);
}

// conv_spread to a blocked plane.
template <typename L, int FORM>
__device__ __forceinline__ void conv_spread_tensor(float *gradients, const unsigned char *codes, const float *means) {
  for (int i = threadIdx.x; i < L::OUT_PIXELS * L::OUTPUTS / 2; i += CONV_THREADS) {
    const int pixel = i / (L::OUTPUTS / 2), channel = i % (L::OUTPUTS / 2) * 2;
    const float2 mean = *(const float2 *)(means + channel);
    conv_pass_pair<L, FORM>(gradients, pixel / L::OUT_WIDTH, pixel % L::OUT_WIDTH, channel, ((const uchar2 *)codes)[i],
                            mean.x * (1.0f / L::OUT_PIXELS), mean.y * (1.0f / L::OUT_PIXELS));
  }
}

// As conv_backward; BEFORE_FORM: -1 where the layer before is the first, whose gradients are those of conv.cuh.
template <typename L, typename BEFORE, int FORM, int BEFORE_FORM>
__device__ __forceinline__ void conv_backward_tensor(const float *gradients, const float *turned,
                                                     float *gradients_before, const unsigned char *codes_before) {
  conv_each_pair<L::HEIGHT, L::WIDTH, L::OUTPUTS, L::INPUTS, FORM>(
      gradients, turned, [&](int y, int x, int channel, float low, float high) {
        const uchar2 code = *(const uchar2 *)(codes_before + (y * L::WIDTH + x) * L::INPUTS + channel);
        conv_pass_pair<BEFORE, BEFORE_FORM>(gradients_before, y, x, channel, code, low, high);
      });
}

// ---- gradients of weights ----

// mma sums over pixels here, t and t + 4 (bf16: and t + 8, t + 12) of a step's in lane 4 g + t, whose row and columns
// are the channels 2 g and 2 g + 1 of a block. A block of threads takes 32 inputs x 32 outputs of the three neighbours
// of a row; its warps share the slot's images. The items behind those of the weights are the bias's.
template <typename L>
struct conv_tensor_items {
  static constexpr int IN = (L::INPUTS + 31) / 32, OUT = (L::OUTPUTS + 31) / 32;
  static constexpr int WEIGHTS = 3 * IN * OUT, COUNT = WEIGHTS + OUT;
};

// The even and the odd channels of a block at a step's pixels.
struct conv_columns_pair {
  unsigned even[2], odd[2];
};
template <int FORM>
__device__ __forceinline__ conv_columns_pair conv_pixels(const unsigned *at) {
  conv_columns_pair columns;
  if constexpr (FORM == OPERANDS_BF16) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const unsigned first = at[i * 64], second = at[i * 64 + 32];  // eight words a pixel
      columns.even[i] = __byte_perm(first, second, 0x5410);
      columns.odd[i] = __byte_perm(first, second, 0x7632);
    }
  } else {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const uint2 two = *(const uint2 *)(at + i * 64);
      columns.even[i] = two.x, columns.odd[i] = two.y;
    }
  }
  return columns;
}

// The block's warps' sums of 32 inputs x 32 outputs, one after the other, to `to`.
template <int INPUTS, int OUTPUTS, int LD>
__device__ __forceinline__ void conv_write_tile(float *to, const float (&acc)[2][4][4], float *scratch, int input,
                                                int output) {
  const int t = threadIdx.x & 3, g = threadIdx.x >> 2 & 7, lane = threadIdx.x & 31, warp = threadIdx.x / 32;
  __syncthreads();
#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int n = 0; n < 4; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int row = n / 2 * 16 + 4 * t + 2 * e + n % 2, column = 16 * m + 2 * g;
        *(float2 *)(scratch + (warp * 32 + row) * CONV_TILE_ROW + column) = make_float2(acc[m][n][e], acc[m][n][2 + e]);
      }
  __syncthreads();
#pragma unroll
  for (int row = 0; row < 32; row += CONV_WARPS) {
    float sum = 0.0f;
#pragma unroll
    for (int k = 0; k < CONV_WARPS; ++k) sum += scratch[(k * 32 + row + warp) * CONV_TILE_ROW + lane];
    if (input + row + warp < INPUTS && output + lane < OUTPUTS) to[(input + row + warp) * LD + output + lane] = sum;
  }
}

// The sums of 32 channels, two blocks `next` words apart, over SPAN pixels from the first one of `images` of the warp's
// planes. A warp takes the words of 16 channels of two pixels (bf16: four) at once; behind the last pixel are zeros.
template <typename D, int FORM, int SPAN>
__device__ __forceinline__ void conv_bias_gradient_tensor(float *bias, const unsigned *deltas, int next,
                                                          unsigned images, float *scratch, int columns) {
  constexpr int in_word = conv_form<FORM>::IN_WORD, words = 16 / in_word, pixels = 32 / words;
  const unsigned lane = threadIdx.x & 31;
  float acc[2][in_word] = {};
#pragma unroll 1
  for (unsigned image = 0; image < images; image += CONV_WARPS) {
    const unsigned *from = deltas + lane;
#pragma unroll 1
    for (int left = (SPAN + pixels - 1) / pixels; left > 0; --left) {
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        const unsigned word = from[m * next];
        acc[m][0] += __uint_as_float(in_word == 1 ? word : word << 16);
        if (in_word == 2) acc[m][in_word - 1] += __uint_as_float(word & 0xffff0000u);
      }
      from += 32;
    }
    deltas += CONV_WARPS * (D::BLOCKS * D::STRIDE / in_word);
  }
  float all[2][in_word], sum[1];
#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int i = 0; i < in_word; ++i) {
      float total = acc[m][i];
#pragma unroll
      for (int apart = words; apart < 32; apart *= 2) total += __shfl_xor_sync(0xffffffffu, total, apart);
      all[m][i] = __shfl_sync(0xffffffffu, total, (lane & 15) / in_word);
    }
  const int i = in_word == 2 ? lane & 1 : 0;
  sum[0] = lane < 16 ? (i ? all[0][in_word - 1] : all[0][0]) : (i ? all[1][in_word - 1] : all[1][0]);
  conv_write_sums(bias, 0, sum, scratch, columns);
}

// Where the neighbours of a row of them stand among the factors of an image, SIZE numbers.
template <typename L>
struct conv_neighbours {
  using X = conv_blocked<L::HEIGHT, L::WIDTH, L::INPUTS>;
  static constexpr int ROWS = 3, TAPS = 3, SIZE = X::BLOCKS * X::STRIDE;
  static __device__ __forceinline__ constexpr int row(int y) { return y * (L::PITCH * 16); }
  static __device__ __forceinline__ constexpr int tap(int x) { return x * 16; }
};

template <typename L, int FORM, typename N = conv_neighbours<L>>
__device__ __forceinline__ void conv_weight_gradient_tensor(const float *inputs, const float *gradients, int item,
                                                            unsigned first, unsigned last, float *weights, float *bias,
                                                            float *scratch) {
  using I = conv_tensor_items<L>;
  using X = typename N::X;
  using D = conv_blocked<L::HEIGHT, L::WIDTH, L::OUTPUTS>;
  constexpr int in_word = conv_form<FORM>::IN_WORD, step = 8 * in_word, rounds = (L::SPAN + step - 1) / step;
  constexpr int row_words = 16 / in_word;  // of a pixel
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x & 31, t = lane & 3, g = lane >> 2;
  const unsigned images = last - min(last, first + warp);
  const unsigned *deltas = (const unsigned *)gradients +
                           (unsigned long long)(first + warp) * (D::BLOCKS * D::STRIDE / in_word) +
                           plane_pixel<L::PITCH>(0, 0) * row_words;
  if (N::ROWS == 3 && item >= I::WEIGHTS) {
    const int group = item - I::WEIGHTS;
    conv_bias_gradient_tensor<D, FORM, L::SPAN>(bias + group * 32, deltas + 2 * group * (D::STRIDE / in_word),
                                                2 * group + 1 < D::BLOCKS ? D::STRIDE / in_word : 0, images, scratch,
                                                L::OUTPUTS - group * 32);
    return;
  }
  const int row = item / (I::IN * I::OUT), in = item / I::OUT % I::IN, out = item % I::OUT;
  /* A block that the layer does not have is the one before it, and is not stored. */
  const unsigned lanes = (t * 16 + 2 * g) / in_word;
  const unsigned *delta = deltas + 2 * out * (D::STRIDE / in_word) + lanes;
  const unsigned *value = (const unsigned *)inputs + (unsigned long long)(first + warp) * (N::SIZE / in_word) +
                          (2 * in * X::STRIDE + N::row(row)) / in_word + lanes;
  const int next_out = 2 * out + 1 < D::BLOCKS ? D::STRIDE / in_word : 0;
  const int next_in = 2 * in + 1 < X::BLOCKS ? X::STRIDE / in_word : 0;
  float acc[N::TAPS][2][4][4] = {};
#pragma unroll 1
  for (unsigned image = 0; image < images; image += CONV_WARPS) {
#pragma unroll 1
    for (int left = rounds; left > 0; --left) {
      conv_columns_pair rows[2];
#pragma unroll
      for (int m = 0; m < 2; ++m) rows[m] = conv_pixels<FORM>(delta + m * next_out);
#pragma unroll
      for (int tap = 0; tap < N::TAPS; ++tap)
#pragma unroll
        for (int b = 0; b < 2; ++b) {
          const conv_columns_pair columns = conv_pixels<FORM>(value + b * next_in + N::tap(tap) / in_word);
#pragma unroll
          for (int m = 0; m < 2; ++m) {
            mma_step<FORM>(acc[tap][m][2 * b], rows[m].even[0], rows[m].odd[0], rows[m].even[1], rows[m].odd[1],
                           columns.even[0], columns.even[1]);
            mma_step<FORM>(acc[tap][m][2 * b + 1], rows[m].even[0], rows[m].odd[0], rows[m].even[1], rows[m].odd[1],
                           columns.odd[0], columns.odd[1]);
          }
        }
      delta += step * row_words;
      value += step * row_words;
    }
    delta += CONV_WARPS * (D::BLOCKS * D::STRIDE / in_word) - rounds * step * row_words;
    value += CONV_WARPS * (N::SIZE / in_word) - rounds * step * row_words;
  }
#pragma unroll
  for (int tap = 0; tap < N::TAPS; ++tap)
    conv_write_tile<L::INPUTS, L::OUTPUTS, L::LD>(weights + (N::TAPS * row + tap) * (L::INPUTS * L::LD), acc[tap],
                                                  scratch, 32 * in, 32 * out);
}
