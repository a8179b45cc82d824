// The residual branch of a condition that is an image: 3 x 3 convolutions without bias, GroupNorm (Wu and He, 2018),
// ReLU, 2 x 2 max-pools and the skips of residual blocks (He et al., 2016).
//
// An image is a block of threads' alone, so that a group's mean and variance are sums within the block, and the whole
// branch is one launch forward and one backward. Of every convolution its input's plane and the plane of its sums stay
// (conv.cuh: planes have a border of zeros); on the way back the loss by the sums takes the sums' place. Lane = channel
// wherever single numbers are worked on; sums have a fixed order.
//
// On tensor cores (FORM tf32 or bf16; all convolutions but the first) factors of products have planes of their own,
// blocked and rounded as conv_tensor.cuh has them: of every input and of the loss by every layer's sums. All else, what
// a skip adds too, stays as it is in fp32.
#pragma once

#include "conv_tensor.cuh"

// Shared memory of a block: partial sums of its warps, sums of channels, and two numbers for every channel.
struct residual_memory {
  float parts[1024], sums[1024], norm[1024];
};

__device__ constexpr float RESIDUAL_EPSILON = 1e-5f;  // beside the variance

// The normalised sum with its channel's scale and shift; forward and backward must agree in every bit.
__device__ __forceinline__ float residual_normal(float sum, float mean, float factor, float shift) {
  return fmaf(sum - mean, factor, shift);
}

// How what is stored enters products: `pixel` of a plane of CHANNELS with a border, blocked and rounded; FORM -1: not.
template <int FORM, int HEIGHT, int WIDTH, int CHANNELS>
__device__ __forceinline__ void residual_keep(float *plane, int y, int x, int channel, float value) {
  if constexpr (FORM >= 0) conv_blocked_store<FORM>::template put<HEIGHT, WIDTH, CHANNELS>(plane, y, x, channel, value);
}

// each(y, channel) for the rows of HEIGHT and all channels of L, shared by the warps.
template <typename L, int HEIGHT, typename Each>
__device__ __forceinline__ void residual_rows(Each each) {
  for (int work = threadIdx.x / 32; work < L::GROUPS * HEIGHT; work += CONV_WARPS) {
    const int channel = work / HEIGHT * 32 + (threadIdx.x & 31);
    if (conv_live<L::OUTPUTS>(channel)) each(work % HEIGHT, channel);
  }
}

// each(i, live) for i < COUNT by the threads of the block. All lanes go on together, those past the end with the last
// number and live = false: what lanes do that leave a loop one by one is slow where a kernel is translated for CPUs.
template <int COUNT, typename Each>
__device__ __forceinline__ void residual_each(Each each) {
#pragma unroll
  for (int first = 0; first < COUNT; first += CONV_THREADS) {
    const int i = first + threadIdx.x;
    each(i < COUNT ? i : COUNT - 1, i < COUNT);
  }
}

// memory.sums[n][channel] = what add(totals, y, x, channel) makes of HEIGHT x WIDTH pixels, n < N.
template <typename L, int HEIGHT, int WIDTH, int N, typename Add>
__device__ __forceinline__ void residual_sums(residual_memory &memory, Add add) {
  constexpr int PARTS = L::GROUPS < CONV_WARPS ? CONV_WARPS / L::GROUPS : 1, ALL = L::GROUPS * 32;
  for (int work = threadIdx.x / 32; work < L::GROUPS * PARTS; work += CONV_WARPS) {
    const int part = work % PARTS, channel = work / PARTS * 32 + (threadIdx.x & 31);
    const int read = conv_live<L::OUTPUTS>(channel) ? channel : L::OUTPUTS - 1;
    float totals[N] = {};
#pragma unroll 1
    for (int y = part; y < HEIGHT; y += PARTS) {
#pragma unroll 1
      for (int x = 0; x < WIDTH; ++x) add(totals, y, x, read);
    }
#pragma unroll
    for (int n = 0; n < N; ++n) memory.parts[(part * N + n) * ALL + channel] = totals[n];
  }
  __syncthreads();
  residual_each<N * L::OUTPUTS>([&](int i, bool live) {
    float sum = 0.0f;
#pragma unroll
    for (int part = 0; part < PARTS; ++part) sum += memory.parts[(part * N + i / L::OUTPUTS) * ALL + i % L::OUTPUTS];
    if (live) memory.sums[i] = sum;
  });
  __syncthreads();
}

// Of the SHARE channels of a channel's group: the sum of one(channel).
template <int SHARE, typename One>
__device__ __forceinline__ float residual_group(int channel, One one) {
  float sum = 0.0f;
#pragma unroll 8
  for (int k = 0; k < SHARE; ++k) sum += one(channel / SHARE * SHARE + k);
  return sum;
}

// ---- forward ----

// memory.norm[2][channels]: mean and inverse standard deviation of each channel's group over all pixels; also into
// `kept` unless it is NULL.
template <typename L, int SHARE>
__device__ __forceinline__ void residual_statistics(const float *sums, float *kept, residual_memory &memory) {
  constexpr float SCALE = 1.0f / (SHARE * L::HEIGHT * L::WIDTH);
  residual_sums<L, L::HEIGHT, L::WIDTH, 1>(memory, [&](float *totals, int y, int x, int channel) {
    totals[0] += sums[plane_pixel<L::PITCH>(y, x) * L::OUTPUTS + channel];
  });
  residual_each<L::OUTPUTS>([&](int c, bool live) {
    const float mean = residual_group<SHARE>(c, [&](int k) { return memory.sums[k]; }) * SCALE;
    if (live) memory.norm[c] = mean;
  });
  __syncthreads();
  residual_sums<L, L::HEIGHT, L::WIDTH, 1>(memory, [&](float *totals, int y, int x, int channel) {
    const float apart = sums[plane_pixel<L::PITCH>(y, x) * L::OUTPUTS + channel] - memory.norm[channel];
    totals[0] = fmaf(apart, apart, totals[0]);
  });
  residual_each<L::OUTPUTS>([&](int c, bool live) {
    const float variance = residual_group<SHARE>(c, [&](int k) { return memory.sums[k]; }) * SCALE;
    const float inverse = 1.0f / sqrtf(variance + RESIDUAL_EPSILON);
    if (live) memory.norm[L::OUTPUTS + c] = inverse;
    if (live && kept) kept[c] = memory.norm[c], kept[L::OUTPUTS + c] = inverse;
  });
  __syncthreads();
}

// The largest normalised sum of a pool's window, the first of equal ones.
struct residual_best {
  int which;
  float value;
};
template <typename L>
__device__ __forceinline__ residual_best residual_window(const float *sums, int y, int x, int channel, float mean,
                                                         float factor, float shift) {
  residual_best best = {0, 0.0f};
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const float sum = sums[plane_pixel<L::PITCH>(2 * y + k / 2, 2 * x + k % 2) * L::OUTPUTS + channel];
    const float value = residual_normal(sum, mean, factor, shift);
    if (k == 0 || value > best.value) best.which = k, best.value = value;
  }
  return best;
}

// What follows a convolution: its sums' plane to `output`'s. `affine`: scale, then shift of all channels. `before`: the
// plane that a block's skip adds, or NULL. `kept`: [2][channels] for the way back, or NULL. NEXT: the form of the next
// convolution's products, for which the output goes to `factors` as well unless it is NULL, which it is if !KEPT only.
template <typename L, int SHARE, int NEXT, bool RELU, bool KEPT = true>
__device__ __forceinline__ void residual_normalise(float *output, float *factors, const float *sums,
                                                   const float *affine, const float *before, float *kept,
                                                   residual_memory &memory) {
  residual_statistics<L, SHARE>(sums, kept, memory);
  residual_rows<L, L::OUT_HEIGHT>([&](int y, int channel) {
    const float mean = memory.norm[channel], shift = load_parameter(affine + L::OUTPUTS + channel);
    const float factor = memory.norm[L::OUTPUTS + channel] * load_parameter(affine + channel);
#pragma unroll 1
    for (int x = 0; x < L::OUT_WIDTH; ++x) {
      const int at = plane_pixel<L::OUT_WIDTH + 1>(y, x) * L::OUTPUTS + channel;
      float value;
      if constexpr (L::POOL) {
        value = residual_window<L>(sums, y, x, channel, mean, factor, shift).value;
      } else {
        value = residual_normal(sums[at], mean, factor, shift);
        if (before) value += before[at];
      }
      if (RELU) value = fmaxf(value, 0.0f);
      output[at] = value;
      if (KEPT || factors) residual_keep<NEXT, L::OUT_HEIGHT, L::OUT_WIDTH, L::OUTPUTS>(factors, y, x, channel, value);
    }
  });
  __syncthreads();
}

// One convolution with all that follows it: `input`'s plane to `output`'s. FORM: of the products, whose `input` is then
// blocked and whose `weights` are packed.
template <typename L, int SHARE, int FORM, int NEXT, bool KEPT>
__device__ __forceinline__ void residual_forward(float *output, float *factors, float *sums, const float *input,
                                                 const float *weights, const float *affine, const float *before,
                                                 float *kept, residual_memory &memory) {
  if constexpr (FORM >= 0)
    conv_each_pair<L::HEIGHT, L::WIDTH, L::INPUTS, L::OUTPUTS, FORM>(
        input, weights, [&](int y, int x, int channel, float low, float high) {
          conv_store_pair<-1, 0, L::OUTPUTS>(sums, plane_pixel<L::PITCH>(y, x), channel, low, high);
        });
  else
    conv_each<L::HEIGHT, L::WIDTH, L::INPUTS, L::OUTPUTS, L::OUTPUTS>(
        input, weights, nullptr,
        [&](int y, int x, int channel, float sum) { sums[plane_pixel<L::PITCH>(y, x) * L::OUTPUTS + channel] = sum; });
  __syncthreads();
  residual_normalise<L, SHARE, NEXT, true, KEPT>(output, factors, sums, affine, before, kept, memory);
}

// The means over all pixels of what L gives.
template <typename L>
__device__ __forceinline__ void residual_means(float *means, const float *output, residual_memory &memory) {
  residual_sums<L, L::OUT_HEIGHT, L::OUT_WIDTH, 1>(memory, [&](float *totals, int y, int x, int channel) {
    totals[0] += output[plane_pixel<L::OUT_WIDTH + 1>(y, x) * L::OUTPUTS + channel];
  });
  residual_each<L::OUTPUTS>([&](int c, bool live) {
    if (live) means[c] = memory.sums[c] * (1.0f / L::OUT_PIXELS);
  });
}

// ---- backward ----
//
// Gradients by what a convolution and its followers give are [pixel][channel] without a border.

// From the loss by the means.
template <typename L>
__device__ __forceinline__ void residual_spread(float *passing, const float *means) {
  for (int i = threadIdx.x; i < L::OUT_PIXELS * L::OUTPUTS; i += CONV_THREADS)
    passing[i] = means[i % L::OUTPUTS] * (1.0f / L::OUT_PIXELS);
  __syncthreads();
}

// With u a normalised sum, g its scale and N numbers in a group: dL/dsum = (g dL/dy - (A + u B)/N)/deviation, where A
// and B are the group's sums of g dL/dy and of g u dL/dy. memory.sums holds each channel's sums of u dL/dy and of
// dL/dy, which are the gradients of scale and shift as well; leaves A/N and B/N in memory.norm.
template <typename L, int SHARE>
__device__ __forceinline__ void residual_group_sums(const float *affine, float *affine_gradients,
                                                    residual_memory &memory) {
  constexpr float SCALE = 1.0f / (SHARE * L::HEIGHT * L::WIDTH);
  residual_each<2 * L::OUTPUTS>([&](int i, bool live) {
    const int first = i < L::OUTPUTS ? L::OUTPUTS : 0;
    const float sum = residual_group<SHARE>(i % L::OUTPUTS,
                                            [&](int k) { return load_parameter(affine + k) * memory.sums[first + k]; });
    if (live) memory.norm[i] = sum * SCALE, affine_gradients[i] = memory.sums[i];
  });
  __syncthreads();
}

// From the loss by what L gives to the loss by its sums, in their place. `passing` becomes, without a pool, what passes
// the ReLU, for a block's skip. `affine_gradients`: [2][channels] of this image. FORM: of the products that follow, for
// which the loss by the sums goes to `factors` as well. RELU: there is one, and `output` what it gives.
template <typename L, int SHARE, int FORM, bool RELU = true>
__device__ __forceinline__ void residual_backward(float *sums, float *factors, float *passing, const float *output,
                                                  const float *affine, float *affine_gradients, const float *kept,
                                                  residual_memory &memory) {
  if constexpr (L::POOL) {
    residual_sums<L, L::OUT_HEIGHT, L::OUT_WIDTH, 2>(memory, [&](float *totals, int y, int x, int channel) {
      const float mean = kept[channel], inverse = kept[L::OUTPUTS + channel];
      const float factor = inverse * load_parameter(affine + channel);
      const residual_best best =
          residual_window<L>(sums, y, x, channel, mean, factor, load_parameter(affine + L::OUTPUTS + channel));
      const int at = plane_pixel<L::PITCH>(2 * y + best.which / 2, 2 * x + best.which % 2) * L::OUTPUTS + channel;
      const float bar = best.value > 0.0f ? passing[(y * L::OUT_WIDTH + x) * L::OUTPUTS + channel] : 0.0f;
      totals[0] = fmaf(bar, (sums[at] - mean) * inverse, totals[0]);
      totals[1] += bar;
    });
  } else {
    residual_sums<L, L::HEIGHT, L::WIDTH, 2>(memory, [&](float *totals, int y, int x, int channel) {
      const int at = plane_pixel<L::PITCH>(y, x) * L::OUTPUTS + channel,
                flat = (y * L::WIDTH + x) * L::OUTPUTS + channel;
      const float bar = !RELU || output[at] > 0.0f ? passing[flat] : 0.0f;
      totals[0] = fmaf(bar, (sums[at] - kept[channel]) * kept[L::OUTPUTS + channel], totals[0]);
      totals[1] += bar;
    });
  }
  residual_group_sums<L, SHARE>(affine, affine_gradients, memory);
  residual_rows<L, (L::HEIGHT + L::SIDE - 1) / L::SIDE>([&](int y, int channel) {
    const float mean = kept[channel], inverse = kept[L::OUTPUTS + channel], scale = load_parameter(affine + channel);
    const float all = memory.norm[channel], along = memory.norm[L::OUTPUTS + channel];
    const auto set = [&](int row, int column, float bar) {
      const int at = plane_pixel<L::PITCH>(row, column) * L::OUTPUTS + channel;
      sums[at] = inverse * (scale * bar - fmaf((sums[at] - mean) * inverse, along, all));
      residual_keep<FORM, L::HEIGHT, L::WIDTH, L::OUTPUTS>(factors, row, column, channel, sums[at]);
    };
#pragma unroll 1
    for (int x = 0; x < (L::WIDTH + L::SIDE - 1) / L::SIDE; ++x) {
      if constexpr (L::POOL) {
        residual_best best = {4, 0.0f};
        float bar = 0.0f;
        if (y < L::OUT_HEIGHT && x < L::OUT_WIDTH) { /* else a row or column that no window takes */
          best = residual_window<L>(sums, y, x, channel, mean, inverse * scale,
                                    load_parameter(affine + L::OUTPUTS + channel));
          if (best.value > 0.0f) bar = passing[(y * L::OUT_WIDTH + x) * L::OUTPUTS + channel];
        }
#pragma unroll
        for (int k = 0; k < 4; ++k)
          if (2 * y + k / 2 < L::HEIGHT && 2 * x + k % 2 < L::WIDTH)
            set(2 * y + k / 2, 2 * x + k % 2, k == best.which ? bar : 0.0f);
      } else {
        const int at = plane_pixel<L::PITCH>(y, x) * L::OUTPUTS + channel;
        const int flat = (y * L::WIDTH + x) * L::OUTPUTS + channel;
        const float bar = !RELU || output[at] > 0.0f ? passing[flat] : 0.0f;
        set(y, x, bar);
        passing[flat] = bar;
      }
    }
  });
  __syncthreads();
}

// A pair of channels of `passing`; `add`: to what is there.
__device__ __forceinline__ void residual_pass_pair(float *passing, float low, float high, bool add) {
  float2 *const to = (float2 *)passing;
  const float2 there = add ? *to : make_float2(0.0f, 0.0f);
  *to = make_float2(there.x + low, there.y + high);
}

// The loss by L's sums (their plane, or that of FORM) to that by its input; `add`: to what is there.
template <typename L, int FORM>
__device__ __forceinline__ void residual_return(float *passing, const float *sums, const float *turned, bool add) {
  if constexpr (FORM >= 0)
    conv_each_pair<L::HEIGHT, L::WIDTH, L::OUTPUTS, L::INPUTS, FORM>(
        sums, turned, [&](int y, int x, int channel, float low, float high) {
          residual_pass_pair(passing + (y * L::WIDTH + x) * L::INPUTS + channel, low, high, add);
        });
  else
    conv_each<L::HEIGHT, L::WIDTH, L::OUTPUTS, L::INPUTS, L::INPUTS>(
        sums, turned, nullptr, [&](int y, int x, int channel, float sum) {
          const int flat = (y * L::WIDTH + x) * L::INPUTS + channel;
          passing[flat] = add ? passing[flat] + sum : sum;
        });
  __syncthreads();
}

// Gradients of scales and shifts of a slot: sums over its images' [NUMBERS].
template <int NUMBERS>
__device__ __forceinline__ void residual_affine_gradient(float *gradients, const float *of_images, unsigned first,
                                                         unsigned last) {
  residual_each<NUMBERS>([&](int i, bool live) {
    const float *from = of_images + (unsigned long long)first * NUMBERS + i;
    float sum = 0.0f;
    for (unsigned left = last - first; left > 0; --left, from += NUMBERS) sum += *from;
    if (live) gradients[i] = sum;
  });
}

// ---- all layers ----

// What the layers of a group are: one that is of no block; blocks' of two; or those from a block's second one on.
enum { RESIDUAL_ALONE, RESIDUAL_BLOCKS, RESIDUAL_REST };

// Where a number of the branch's arrays stands: [numbers of a thing][images].
__device__ __forceinline__ float *residual_at(float *base, const branch_arguments &a, long long begin, int size,
                                              unsigned image) {
  return base + begin * (a.parts * a.capacity) + (unsigned long long)image * size;
}

// COUNT equal layers one behind the other, see ROLE. Where the first
// one's things begin, in floats of one image (parameters and turned weights: of one part); the next ones' follow
// evenly. FORM: of the products, -1 in fp32; NEXT: of those that the outputs enter. With them where factors begin: of
// inputs, of outputs and of the loss by sums, and the packed weights of one part. LAST_KEPT: factors of the last
// outputs are made.
template <typename L_, int COUNT_, int SHARE_, long long INPUTS, long long SUMS, long long STATISTICS, long long TURNED,
          long long PARAMETERS, int FORM_ = -1, int NEXT_ = -1, long long INPUT_FACTORS = 0,
          long long OUTPUT_FACTORS = 0, long long SUM_FACTORS = 0, long long PACKED = 0,
          int ROLE = L_::POOL ? RESIDUAL_ALONE : RESIDUAL_BLOCKS, bool LAST_KEPT_ = true>
struct residual_layers {
  using L = L_;
  static constexpr int COUNT = COUNT_, SHARE = SHARE_, FORM = FORM_, NEXT = NEXT_;
  static constexpr int INPUT = L::PIXELS * L::INPUTS, SUM = L::PIXELS * L::OUTPUTS, AFFINE = 2 * L::OUTPUTS;
  static constexpr int OUTPUT = ((L::OUT_HEIGHT + 2) * (L::OUT_WIDTH + 1) + 1) * L::OUTPUTS;
  static constexpr int WEIGHTS = 9 * L::INPUTS * L::OUTPUTS, STEP = (INPUT + 7) & ~7;

  static constexpr bool LAST_KEPT = LAST_KEPT_;

  // Whether layer k is the second or the first one of a block.
  static __device__ __forceinline__ bool ends(int k) {
    return ROLE != RESIDUAL_ALONE && k % 2 == (ROLE == RESIDUAL_REST ? 0 : 1);
  }
  static __device__ __forceinline__ bool begins(int k) {
    return ROLE != RESIDUAL_ALONE && k % 2 == (ROLE == RESIDUAL_REST ? 1 : 0);
  }
  static __device__ __forceinline__ float *input(const branch_arguments &a, int k, unsigned image) {
    return residual_at(a.inputs[0], a, INPUTS + (long long)k * STEP, INPUT, image);
  }
  static __device__ __forceinline__ float *output(const branch_arguments &a, int k, unsigned image) {
    return residual_at(a.inputs[0], a, INPUTS + (long long)(k + 1) * STEP, OUTPUT, image);
  }
  static __device__ __forceinline__ float *sums(const branch_arguments &a, int k, unsigned image) {
    return residual_at(a.gradients[0], a, SUMS + (long long)k * SUM, SUM, image);
  }
  static __device__ __forceinline__ float *statistics(float *base, const branch_arguments &a, int k, unsigned image) {
    return residual_at(base, a, STATISTICS + (long long)k * AFFINE, AFFINE, image);
  }
  static __device__ __forceinline__ long long weights(int k) { return PARAMETERS + (long long)k * (WEIGHTS + AFFINE); }
  static __device__ __forceinline__ long long turned(int k) {
    return TURNED + (long long)k * (FORM < 0 ? WEIGHTS : 4 * conv_packed<FORM, L::INPUTS, L::OUTPUTS>::COUNT);
  }
  static __device__ __forceinline__ long long packed(int k) {
    return PACKED + (long long)k * (4 * conv_packed<FORM, L::OUTPUTS, L::INPUTS>::COUNT);
  }

  /* Factors: see conv_blocked. */
  template <int OF, int HEIGHT, int WIDTH, int CHANNELS>
  static __device__ __forceinline__ float *factors(float *base, const branch_arguments &a, long long begin, int k,
                                                   unsigned image) {
    using P = conv_blocked<HEIGHT, WIDTH, CHANNELS>;
    constexpr int size = P::BLOCKS * P::STRIDE / conv_form<OF>::IN_WORD;
    return residual_at(base, a, begin + (long long)k * size, size, image);
  }
  static __device__ __forceinline__ float *input_factors(const branch_arguments &a, int k, unsigned image) {
    return factors<FORM, L::HEIGHT, L::WIDTH, L::INPUTS>(a.inputs[1], a, INPUT_FACTORS, k, image);
  }
  static __device__ __forceinline__ float *output_factors(const branch_arguments &a, int k, unsigned image) {
    return factors<NEXT, L::OUT_HEIGHT, L::OUT_WIDTH, L::OUTPUTS>(a.inputs[1], a, OUTPUT_FACTORS, k, image);
  }
  static __device__ __forceinline__ float *sum_factors(const branch_arguments &a, int k, unsigned image) {
    return factors<FORM, L::HEIGHT, L::WIDTH, L::OUTPUTS>(a.gradients[1], a, SUM_FACTORS, k, image);
  }
};

// `packed`: the part's packed weights, where there are any.
template <typename G>
__device__ __forceinline__ void residual_forward_layers(const branch_arguments &a, const conv_image &image,
                                                        residual_memory &memory, const float *packed = nullptr) {
  const unsigned n = image.number;
#pragma unroll 1
  for (int k = 0; k < G::COUNT; ++k) {
    const float *const weights = conv_parameters(a, image.part) + G::weights(k);
    residual_forward<typename G::L, G::SHARE, G::FORM, G::NEXT, G::LAST_KEPT>(
        G::output(a, k, n), G::LAST_KEPT || k + 1 < G::COUNT ? G::output_factors(a, k, n) : nullptr, G::sums(a, k, n),
        G::FORM < 0 ? G::input(a, k, n) : G::input_factors(a, k, n), G::FORM < 0 ? weights : packed + G::packed(k),
        weights + G::WEIGHTS, G::ends(k) ? G::input(a, k - 1, n) : nullptr,
        a.statistics ? G::statistics(a.statistics, a, k, n) : nullptr, memory);
  }
}

// The weights for the way back, by block `block` of CONV_TURN_BLOCKS.
template <typename G>
__device__ __forceinline__ void residual_turn_layers(const branch_arguments &a, float *turned, unsigned part,
                                                     int block) {
#pragma unroll 1
  for (int k = 0; k < G::COUNT; ++k)
    conv_turn<typename G::L>(turned + G::turned(k), conv_parameters(a, part) + G::weights(k), block);
}

// The weights as mma takes them, both ways, by block `block` of CONV_TURN_BLOCKS. `turned`: NULL without a way back.
template <typename G>
__device__ __forceinline__ void residual_pack_layers(const branch_arguments &a, float *packed, float *turned,
                                                     unsigned part, int block) {
#pragma unroll 1
  for (int k = 0; k < G::COUNT; ++k) {
    const float *const weights = conv_parameters(a, part) + G::weights(k);
    conv_pack<typename G::L, G::FORM, false>(packed + G::packed(k), weights, block);
    if (turned) conv_pack<typename G::L, G::FORM, true>(turned + G::turned(k), weights, block);
  }
}

// `passing`: two arrays, passing_outputs apart. The loss by a group's output stands in the first one, and so does that
// by its input afterwards; not made for the FIRST layer of all.
template <typename G, bool FIRST>
__device__ __forceinline__ void residual_backward_layers(const branch_arguments &a, const conv_image &image,
                                                         const float *turned, float *passing, residual_memory &memory) {
  const unsigned n = image.number;
#pragma unroll 1
  for (int k = G::COUNT - 1; k >= 0; --k) {
    const float *const affine = conv_parameters(a, image.part) + G::weights(k) + G::WEIGHTS;
    float *const from = passing + (G::begins(k) ? a.passing_outputs : 0);
    float *const to = passing + (G::ends(k) ? a.passing_outputs : 0);
    residual_backward<typename G::L, G::SHARE, G::FORM>(
        G::sums(a, k, n), G::sum_factors(a, k, n), from, G::output(a, k, n), affine,
        G::statistics(a.affine_gradients, a, k, n), G::statistics(a.statistics, a, k, n), memory);
    if constexpr (!FIRST)
      residual_return<typename G::L, G::FORM>(to, G::FORM < 0 ? G::sums(a, k, n) : G::sum_factors(a, k, n),
                                              turned + G::turned(k), G::begins(k));
  }
}

// Items of the launch that makes gradients: of each layer those of its weights, and one of scale and shift.
template <typename G>
__device__ constexpr int residual_layer_items() {
  return (G::FORM < 0 ? conv_items<typename G::L>::WEIGHTS : conv_tensor_items<typename G::L>::WEIGHTS) + 1;
}
template <typename G>
__device__ constexpr int residual_items() {
  return G::COUNT * residual_layer_items<G>();
}
template <typename G>
__device__ __forceinline__ void residual_gradient(const branch_arguments &a, const conv_slot &slot, int item,
                                                  float *scratch) {
  constexpr int EACH = residual_layer_items<G>();
  const int k = item / EACH, part = item % EACH;
  const unsigned n = slot.part * a.capacity;
  float *const weights = slot.gradients + G::weights(k);
  if (part == EACH - 1)
    residual_affine_gradient<G::AFFINE>(weights + G::WEIGHTS, G::statistics(a.affine_gradients, a, k, n), slot.first,
                                        slot.last);
  else if constexpr (G::FORM < 0)
    conv_weight_gradient<typename G::L>(G::input(a, k, n), G::sums(a, k, n), part, slot.first, slot.last, weights,
                                        nullptr, scratch);
  else
    conv_weight_gradient_tensor<typename G::L, G::FORM>(G::input_factors(a, k, n), G::sum_factors(a, k, n), part,
                                                        slot.first, slot.last, weights, nullptr, scratch);
}
