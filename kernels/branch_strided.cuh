// Residual blocks that halve an image and make more channels (He et al., 2016, basic blocks): the first convolution has
// stride 2, and the skip goes through a 1 x 1 convolution of stride 2, each with GroupNorm. What is here is the block
// up to its second convolution, which is one of residual_layers (branch_residual.cuh) and adds the skip.
//
// Sum (y, x) is that of the neighbours of pixel (2 y, 2 x); images of odd sides keep their last row or column.
//
// On tensor cores the factors of the input stand in four blocked planes, by whether their row and column are odd: every
// neighbour of all sums is a run of one of them, as all are of the one plane in conv_tensor.cuh. On the way back the
// same four are results, of the neighbours that reach them: four, two, two and one of the nine.
#pragma once

#include "branch_residual.cuh"

// A convolution of stride 2 over SIDE x SIDE neighbours, 3 or 1.
template <int HEIGHT_, int WIDTH_, int INPUTS_, int OUTPUTS_, int SIDE_>
struct strided_layer {
  using L = conv_layer<(HEIGHT_ + 1) / 2, (WIDTH_ + 1) / 2, INPUTS_, OUTPUTS_, false>;  // what its sums are like
  using P = conv_blocked<L::HEIGHT, L::WIDTH, INPUTS_>;  // one of the four planes of factors
  static constexpr int HEIGHT = HEIGHT_, WIDTH = WIDTH_, INPUTS = INPUTS_, OUTPUTS = OUTPUTS_, SIDE = SIDE_;
  static constexpr int TAPS = SIDE * SIDE, WEIGHTS = TAPS * INPUTS * OUTPUTS;
  static constexpr int PITCH = WIDTH + 1, PIXELS = (HEIGHT + 2) * PITCH + 1;  // of the input's plane
  static constexpr int PARITIES = SIDE == 3 ? 4 : 1;   // of pixels that a sum reaches: 2 (row odd) + (column odd)
  static constexpr int PLANE = P::BLOCKS * P::STRIDE;  // numbers from plane to plane of factors
};

// A neighbour of sums: its weights, and its row and column, 1 in the middle.
struct strided_tap {
  int weights, y, x;
};
template <typename S, bool BACK>
__device__ __forceinline__ constexpr int strided_taps(int parity) {
  return BACK ? (1 + (parity >> 1)) * (1 + (parity & 1)) : S::TAPS;
}
// The k-th one; BACK: of those that reach pixels of `parity`, among weights that are mirrored.
template <typename S, bool BACK>
__device__ __forceinline__ strided_tap strided_tap_of(int parity, int k) {
  if constexpr (S::SIDE == 1) return {0, 1, 1};
  if constexpr (!BACK) return {k, k / 3, k % 3};
  const int y = parity >> 1 ? 2 * (k >> (parity & 1)) : 1, x = parity & 1 ? 2 * (k & 1) : 1;
  return {8 - 3 * y - x, y, x};
}

// store(y, x, channel, sum) of all sums of a plane, or BACK for all pixels that they reach of sums over a plane of
// gradients; that of others is 0 and not stored. `weights`: as they are, or turned.
template <typename S, bool BACK, typename Store>
__device__ __forceinline__ void strided_each(const float *plane, const float *weights, Store store) {
  using L = typename S::L;
  using W = conv_straight<L::HEIGHT, L::WIDTH>;
  constexpr int FROM = BACK ? S::OUTPUTS : S::INPUTS, TO = BACK ? S::INPUTS : S::OUTPUTS, STEP = BACK ? 1 : 2;
  constexpr int PITCH = BACK ? L::PITCH : S::PITCH, PARITIES = BACK ? S::PARITIES : 1, GROUPS = (TO + 31) / 32;
  constexpr int ITEMS = (W::COUNT + W::WINDOWS - 1) / W::WINDOWS, PIXELS = W::WINDOWS * W::COLUMNS;
  for (int work = threadIdx.x / 32; work < PARITIES * GROUPS * ITEMS; work += CONV_WARPS) {
    const int parity = PARITIES - 1 - work / (GROUPS * ITEMS), group = work / ITEMS % GROUPS, item = work % ITEMS;
    const int channel = group * 32 + (threadIdx.x & 31);
    float acc[PIXELS] = {};
#pragma unroll 1
    for (int k = 0; k < strided_taps<S, BACK>(parity); ++k) {
      const strided_tap tap = strided_tap_of<S, BACK>(parity, k);
      const int row = BACK ? 1 + (tap.y == 0) : tap.y, column = BACK ? 1 + (tap.x == 0) : tap.x;
      const float *from[W::WINDOWS];
#pragma unroll
      for (int w = 0; w < W::WINDOWS; ++w) {
        const int window = min(item * W::WINDOWS + w, W::COUNT - 1);
        from[w] =
            plane +
            ((STEP * (window / W::ACROSS) + row) * PITCH + STEP * (window % W::ACROSS * W::COLUMNS) + column) * FROM;
      }
      const float *column_weights = conv_lane<TO>(weights + tap.weights * (FROM * TO), group);
#pragma unroll 1
      for (int left = FROM / 4; left > 0; --left) {
        float weight[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) weight[j] = load_parameter(column_weights + j * TO);
#pragma unroll
        for (int i = 0; i < PIXELS; ++i) {
          const float4 value = *(const float4 *)(from[i / W::COLUMNS] + i % W::COLUMNS * (STEP * FROM));
          acc[i] = fmaf(value.x, weight[0], acc[i]);
          acc[i] = fmaf(value.y, weight[1], acc[i]);
          acc[i] = fmaf(value.z, weight[2], acc[i]);
          acc[i] = fmaf(value.w, weight[3], acc[i]);
        }
        column_weights += 4 * TO;
#pragma unroll
        for (int w = 0; w < W::WINDOWS; ++w) from[w] += 4;
      }
    }
#pragma unroll
    for (int i = 0; i < PIXELS; ++i) {
      const int window = item * W::WINDOWS + i / W::COLUMNS;
      int y = window / W::ACROSS, x = window % W::ACROSS * W::COLUMNS + i % W::COLUMNS;
      if (BACK) y = 2 * y + (parity >> 1), x = 2 * x + (parity & 1);
      if (window < W::COUNT && (!BACK || (y < S::HEIGHT && x < S::WIDTH)) && conv_live<TO>(channel))
        store(y, x, channel, acc[i]);
    }
  }
}

// The same on tensor cores, for pairs of channels. `plane`: the four planes of factors, or of the gradients.
template <typename S, int FORM, bool BACK, typename Store>
__device__ __forceinline__ void strided_each_pair(const float *plane, const float *packed, Store store) {
  using L = typename S::L;
  constexpr int FROM = BACK ? S::OUTPUTS : S::INPUTS, TO = BACK ? S::INPUTS : S::OUTPUTS;
  using P = conv_blocked<L::HEIGHT, L::WIDTH, FROM>;
  using W = conv_packed<FORM, TO, FROM, S::TAPS>;
  constexpr int items = conv_tile_items<L>(), parities = BACK ? S::PARITIES : 1;
#pragma unroll 1
  for (int work = threadIdx.x / 32; work < parities * W::PAIRS * items; work += CONV_WARPS) {
    const int parity = parities - 1 - work / (W::PAIRS * items), pair = work / items % W::PAIRS, item = work % items;
    float acc[2][CONV_TILES][4] = {};
#pragma unroll 1
    for (int k = 0; k < strided_taps<S, BACK>(parity); ++k) {
      const strided_tap tap = strided_tap_of<S, BACK>(parity, k);
      const int row = BACK ? 1 + (tap.y == 0) : tap.y > 0, column = BACK ? 1 + (tap.x == 0) : tap.x > 0;
      const int of = BACK ? 0 : 2 * (tap.y != 1) + (tap.x != 1);
      conv_multiply_tap_item<L, FORM, P::BLOCKS, P::STRIDE>(
          acc,
          conv_at<FORM>(plane, item * 8 * CONV_TILES + row * L::PITCH + column) +
              of * (S::PLANE / conv_form<FORM>::IN_WORD),
          packed + (pair * S::TAPS + tap.weights) * (4 * W::OF_PAIR / S::TAPS), item);
    }
    conv_store_tiles<L, TO>(acc, pair, item, [&](int y, int x, int channel, float low, float high) {
      if (BACK) y = 2 * y + (parity >> 1), x = 2 * x + (parity & 1);
      if (!BACK || (y < S::HEIGHT && x < S::WIDTH)) store(y, x, channel, low, high);
    });
  }
}

// The four planes of factors, of the input's plane.
template <typename S, int FORM>
__device__ __forceinline__ void strided_split(float *factors, const float *plane) {
  using L = conv_layer<S::HEIGHT, S::WIDTH, S::INPUTS, S::INPUTS, false>;
  residual_rows<L, S::HEIGHT>([&](int y, int channel) {
#pragma unroll 1
    for (int x = 0; x < S::WIDTH; ++x)
      residual_keep<FORM, S::L::HEIGHT, S::L::WIDTH, S::INPUTS>(
          factors + (y % 2 * 2 + x % 2) * (S::PLANE / conv_form<FORM>::IN_WORD), y / 2, x / 2, channel,
          plane[plane_pixel<S::PITCH>(y, x) * S::INPUTS + channel]);
  });
  __syncthreads();
}

// ---- gradients of weights ----

template <typename S>
struct strided_items {
  static constexpr int TAKES = S::SIDE == 3 ? 12 : 8, STEPS = S::TAPS * S::INPUTS / TAKES;
  static constexpr int WEIGHTS = STEPS * S::L::GROUPS;
};

// As conv_weight_gradient, of strided_items<S>::WEIGHTS items.
template <typename S>
__device__ __forceinline__ void strided_weight_gradient(const float *inputs, const float *gradients, int item,
                                                        unsigned first, unsigned last, float *weights, float *scratch) {
  using L = typename S::L;
  constexpr int TAKES = strided_items<S>::TAKES, STEPS = strided_items<S>::STEPS, RUN = S::SIDE * S::INPUTS;
  const int group = item / STEPS, step = item % STEPS;
  const int row = S::SIDE == 3 ? step * TAKES / RUN : 1, at = (S::SIDE == 3 ? 0 : S::INPUTS) + step * TAKES % RUN;
  const unsigned warp = threadIdx.x / 32, images = last - min(last, first + warp);
  const float *delta = conv_lane<S::OUTPUTS>(
      gradients + ((unsigned long long)(first + warp) * L::PIXELS + plane_pixel<L::PITCH>(0, 0)) * S::OUTPUTS, group);
  const float *values =
      inputs + (unsigned long long)(first + warp) * (S::PIXELS * S::INPUTS) + row * (S::PITCH * S::INPUTS) + at;
  float acc[TAKES] = {};
#pragma unroll 1
  for (unsigned image = 0; image < images; image += CONV_WARPS) {
#pragma unroll 1
    for (int y = 0; y < L::HEIGHT; ++y) {
      const float *value = values + y * (2 * S::PITCH * S::INPUTS), *d = delta + y * (L::PITCH * S::OUTPUTS);
#pragma unroll 1
      for (int left = L::WIDTH; left > 0; --left) {
        conv_add_products<S::INPUTS>(acc, value, *d);
        value += 2 * S::INPUTS;
        d += S::OUTPUTS;
      }
    }
    values += CONV_WARPS * S::PIXELS * S::INPUTS;
    delta += CONV_WARPS * L::PIXELS * S::OUTPUTS;
  }
  conv_write_sums(weights + step * TAKES * L::LD + group * 32, L::LD, acc, scratch, S::OUTPUTS - group * 32);
}

// Where conv_weight_gradient_tensor finds the neighbours of a row.
template <typename S>
struct strided_neighbours {
  using X = typename S::P;
  static constexpr int ROWS = S::SIDE, TAPS = S::SIDE, SIZE = 4 * S::PLANE;
  static __device__ __forceinline__ constexpr int row(int y) {
    return S::SIDE == 1 ? 16 * X::PITCH : 2 * (y != 1) * S::PLANE + (y > 0) * 16 * X::PITCH;
  }
  static __device__ __forceinline__ constexpr int tap(int x) {
    return S::SIDE == 1 ? 16 : (x != 1) * S::PLANE + (x > 0) * 16;
  }
};

// ---- a block's first convolution and its skip ----

// Where their things begin, as in residual_layers: the input, what the skip adds, the outputs; of all others those of
// the convolution, and behind them those of the skip.
template <int HEIGHT, int WIDTH, int INPUTS, int OUTPUTS, int SHARE_, long long INPUT_AT, long long SKIP_AT,
          long long OUTPUT_AT, long long SUMS, long long STATISTICS, long long TURNED, long long PARAMETERS,
          int FORM_ = -1, long long INPUT_FACTORS = 0, long long OUTPUT_FACTORS = 0, long long SUM_FACTORS = 0,
          long long PACKED = 0>
struct residual_transition {
  template <bool SKIP>
  using S = strided_layer<HEIGHT, WIDTH, INPUTS, OUTPUTS, SKIP ? 1 : 3>;
  using L = typename S<false>::L;
  static constexpr int SHARE = SHARE_, FORM = FORM_, SUM = L::PIXELS * OUTPUTS, AFFINE = 2 * OUTPUTS;
  static constexpr int INPUT = S<false>::PIXELS * INPUTS;
  static constexpr int SUM_PLANE = conv_blocked<L::HEIGHT, L::WIDTH, OUTPUTS>::BLOCKS *
                                   conv_blocked<L::HEIGHT, L::WIDTH, OUTPUTS>::STRIDE / conv_form<FORM>::IN_WORD;

  static __device__ __forceinline__ float *input(const branch_arguments &a, unsigned image) {
    return residual_at(a.inputs[0], a, INPUT_AT, INPUT, image);
  }
  static __device__ __forceinline__ float *skip(const branch_arguments &a, unsigned image) {
    return residual_at(a.inputs[0], a, SKIP_AT, SUM, image);
  }
  static __device__ __forceinline__ float *output(const branch_arguments &a, unsigned image) {
    return residual_at(a.inputs[0], a, OUTPUT_AT, SUM, image);
  }
  static __device__ __forceinline__ float *input_factors(const branch_arguments &a, unsigned image) {
    return residual_at(a.inputs[1], a, INPUT_FACTORS, 4 * S<false>::PLANE / conv_form<FORM>::IN_WORD, image);
  }
  static __device__ __forceinline__ float *output_factors(const branch_arguments &a, unsigned image) {
    return residual_at(a.inputs[1], a, OUTPUT_FACTORS, SUM_PLANE, image);
  }
  template <bool SKIP>
  static __device__ __forceinline__ float *sums(const branch_arguments &a, unsigned image) {
    return residual_at(a.gradients[0], a, SUMS + SKIP * SUM, SUM, image);
  }
  template <bool SKIP>
  static __device__ __forceinline__ float *sum_factors(const branch_arguments &a, unsigned image) {
    return residual_at(a.gradients[1], a, SUM_FACTORS + SKIP * SUM_PLANE, SUM_PLANE, image);
  }
  template <bool SKIP>
  static __device__ __forceinline__ float *statistics(float *base, const branch_arguments &a, unsigned image) {
    return residual_at(base, a, STATISTICS + SKIP * AFFINE, AFFINE, image);
  }
  template <bool SKIP>
  static __device__ __forceinline__ long long weights() {
    return PARAMETERS + SKIP * (S<false>::WEIGHTS + AFFINE);
  }
  template <bool SKIP>
  static __device__ __forceinline__ long long turned() {
    return TURNED + SKIP * (FORM < 0 ? S<false>::WEIGHTS : 4 * conv_packed<FORM, INPUTS, OUTPUTS>::COUNT);
  }
  template <bool SKIP>
  static __device__ __forceinline__ long long packed() {
    return PACKED + SKIP * (4 * conv_packed<FORM, OUTPUTS, INPUTS>::COUNT);
  }
  template <bool SKIP>
  static __device__ constexpr int items() {
    using I = conv_tensor_items<L>;
    return 1 + (FORM < 0 ? strided_items<S<SKIP>>::WEIGHTS : S<SKIP>::SIDE * I::IN * I::OUT);
  }
};

template <typename G, bool SKIP>
__device__ __forceinline__ void transition_forward(const branch_arguments &a, const conv_image &image,
                                                   residual_memory &memory, const float *packed) {
  using S = typename G::template S<SKIP>;
  using L = typename G::L;
  const unsigned n = image.number;
  const float *const weights = conv_parameters(a, image.part) + G::template weights<SKIP>();
  float *const sums = G::template sums<SKIP>(a, n);
  if constexpr (G::FORM >= 0)
    strided_each_pair<S, G::FORM, false>(G::input_factors(a, n), packed + G::template packed<SKIP>(),
                                         [&](int y, int x, int channel, float low, float high) {
                                           conv_store_pair<-1, 0, S::OUTPUTS>(sums, plane_pixel<L::PITCH>(y, x),
                                                                              channel, low, high);
                                         });
  else
    strided_each<S, false>(G::input(a, n), weights, [&](int y, int x, int channel, float sum) {
      sums[plane_pixel<L::PITCH>(y, x) * S::OUTPUTS + channel] = sum;
    });
  __syncthreads();
  float *const kept = a.statistics ? G::template statistics<SKIP>(a.statistics, a, n) : nullptr;
  residual_normalise<L, G::SHARE, SKIP ? -1 : G::FORM, !SKIP>(SKIP ? G::skip(a, n) : G::output(a, n),
                                                              G::output_factors(a, n), sums, weights + S::WEIGHTS,
                                                              nullptr, kept, memory);
}

template <typename G>
__device__ __forceinline__ void transition_forward_layers(const branch_arguments &a, const conv_image &image,
                                                          residual_memory &memory, const float *packed = nullptr) {
  if constexpr (G::FORM >= 0)
    strided_split<typename G::template S<false>, G::FORM>(G::input_factors(a, image.number), G::input(a, image.number));
  transition_forward<G, false>(a, image, memory, packed);
  transition_forward<G, true>(a, image, memory, packed);
}

template <typename G, bool SKIP>
__device__ __forceinline__ void transition_backward(const branch_arguments &a, const conv_image &image, float *from,
                                                    residual_memory &memory) {
  const unsigned n = image.number;
  residual_backward<typename G::L, G::SHARE, G::FORM, !SKIP>(
      G::template sums<SKIP>(a, n), G::template sum_factors<SKIP>(a, n), from, G::output(a, n),
      conv_parameters(a, image.part) + G::template weights<SKIP>() + G::template S<SKIP>::WEIGHTS,
      G::template statistics<SKIP>(a.affine_gradients, a, n), G::template statistics<SKIP>(a.statistics, a, n), memory);
}

// The loss by the sums to that by the input: the convolution's to all pixels, the skip's to some.
template <typename G, bool SKIP>
__device__ __forceinline__ void transition_return(const branch_arguments &a, const conv_image &image,
                                                  const float *turned, float *to) {
  using S = typename G::template S<SKIP>;
  const unsigned n = image.number;
  if constexpr (G::FORM >= 0)
    strided_each_pair<S, G::FORM, true>(G::template sum_factors<SKIP>(a, n), turned + G::template turned<SKIP>(),
                                        [&](int y, int x, int channel, float low, float high) {
                                          residual_pass_pair(to + (y * S::WIDTH + x) * S::INPUTS + channel, low, high,
                                                             SKIP);
                                        });
  else
    strided_each<S, true>(G::template sums<SKIP>(a, n), turned + G::template turned<SKIP>(),
                          [&](int y, int x, int channel, float sum) {
                            const int flat = (y * S::WIDTH + x) * S::INPUTS + channel;
                            to[flat] = SKIP ? to[flat] + sum : sum;
                          });
  __syncthreads();
}

// As residual_backward_layers. The loss by what the skip adds stands in the first array of `passing`, that by the
// outputs in the second one.
template <typename G, bool FIRST>
__device__ __forceinline__ void transition_backward_layers(const branch_arguments &a, const conv_image &image,
                                                           const float *turned, float *passing,
                                                           residual_memory &memory) {
  static_assert(!FIRST, "a convolution of the image comes first");
  transition_backward<G, false>(a, image, passing + a.passing_outputs, memory);
  transition_backward<G, true>(a, image, passing, memory);
  transition_return<G, false>(a, image, turned, passing);
  transition_return<G, true>(a, image, turned, passing);
}

template <typename G>
__device__ __forceinline__ void transition_turn_layers(const branch_arguments &a, float *turned, unsigned part,
                                                       int block) {
  const float *const P = conv_parameters(a, part);
  conv_turn<typename G::L>(turned + G::template turned<false>(), P + G::template weights<false>(), block);
  conv_turn<typename G::L, 1>(turned + G::template turned<true>(), P + G::template weights<true>(), block);
}

template <typename G, bool SKIP, bool TURNED>
__device__ __forceinline__ void transition_pack(const branch_arguments &a, float *to, unsigned part, int block) {
  conv_pack<typename G::L, G::FORM, TURNED, G::template S<SKIP>::TAPS>(
      to, conv_parameters(a, part) + G::template weights<SKIP>(), block);
}

template <typename G>
__device__ __forceinline__ void transition_pack_layers(const branch_arguments &a, float *packed, float *turned,
                                                       unsigned part, int block) {
  transition_pack<G, false, false>(a, packed + G::template packed<false>(), part, block);
  transition_pack<G, true, false>(a, packed + G::template packed<true>(), part, block);
  if (!turned) return;
  transition_pack<G, false, true>(a, turned + G::template turned<false>(), part, block);
  transition_pack<G, true, true>(a, turned + G::template turned<true>(), part, block);
}

template <typename G>
__device__ constexpr int transition_items() {
  return G::template items<false>() + G::template items<true>();
}

template <typename G, bool SKIP>
__device__ __forceinline__ void transition_part_gradient(const branch_arguments &a, const conv_slot &slot, int item,
                                                         float *scratch) {
  using S = typename G::template S<SKIP>;
  const unsigned n = slot.part * a.capacity;
  float *const weights = slot.gradients + G::template weights<SKIP>();
  if (item == G::template items<SKIP>() - 1)
    residual_affine_gradient<G::AFFINE>(weights + S::WEIGHTS, G::template statistics<SKIP>(a.affine_gradients, a, n),
                                        slot.first, slot.last);
  else if constexpr (G::FORM < 0)
    strided_weight_gradient<S>(G::input(a, n), G::template sums<SKIP>(a, n), item, slot.first, slot.last, weights,
                               scratch);
  else
    conv_weight_gradient_tensor<typename G::L, G::FORM, strided_neighbours<S>>(
        G::input_factors(a, n), G::template sum_factors<SKIP>(a, n), item, slot.first, slot.last, weights, nullptr,
        scratch);
}

template <typename G>
__device__ __forceinline__ void transition_gradient(const branch_arguments &a, const conv_slot &slot, int item,
                                                    float *scratch) {
  constexpr int first = G::template items<false>();
  if (item < first) return transition_part_gradient<G, false>(a, slot, item, scratch);
  transition_part_gradient<G, true>(a, slot, item - first, scratch);
}
