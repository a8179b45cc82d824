// Conditions and states of a warp's rows between device memory and registers (layout of warp_tile.cuh).
#pragma once

#include "rows.cuh"
#include "solver.cuh"
#include "warp_tile.cuh"

// The rows that a lane holds: rows[m][0] of elements [0] and [1], rows[m][1] of [2] and [3]. Rows past the end repeat
// the last one and are not written.
template <int M>
struct warp_row_numbers {
  unsigned number[M][2];
  bool live[M][2];
};

template <int M>
__device__ __forceinline__ warp_row_numbers<M> warp_rows_at(unsigned first, unsigned rows) {
  warp_row_numbers<M> at;
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const unsigned row = first + 16 * m + 8 * half + quad_row();
      at.live[m][half] = row < rows;
      at.number[m][half] = min(row, rows - 1);
    }
  return at;
}

// Feature `feature` of a row of WIDTH, standardised; a label is 1 at its class, `off` elsewhere; 0 past the row's end.
template <int KIND, int WIDTH>
__device__ __forceinline__ float condition_value(const void *data, unsigned row, int feature, const float *scale,
                                                 const float *shift, float off) {
  if (feature >= WIDTH) return 0.0f;
  if (KIND == ROW_LABEL_INT32) return __ldg((const int *)data + row) == feature ? 1.0f : off;
  if (KIND == ROW_LABEL_UINT8) return __ldg((const unsigned char *)data + row) == feature ? 1.0f : off;
  const unsigned long long at = (unsigned long long)row * WIDTH + feature;
  const float raw =
      KIND == ROW_FLOAT ? __ldg((const float *)data + at) : (float)__ldg((const unsigned char *)data + at);
  return fmaf(raw, __ldg(scale + feature), __ldg(shift + feature));
}

// The factors of one step, of the features from `first` on, of a condition straight from device memory.
template <int FORM, int KIND, int WIDTH, int M>
__device__ __forceinline__ warp_operands<FORM, operand_groups(FORM), M> warp_condition(const void *data,
                                                                                       const warp_row_numbers<M> &rows,
                                                                                       int first, const float *scale,
                                                                                       const float *shift) {
  constexpr int groups = operand_groups(FORM);
  float value[groups][M][4];
#pragma unroll
  for (int n = 0; n < groups; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int c = 0; c < 4; ++c)
        value[n][m][c] = condition_value<KIND, WIDTH>(data, rows.number[m][c >> 1], first + 8 * n + element_feature(c),
                                                      scale, shift, 0.0f);
  warp_operands<FORM, groups, M> in;
  warp_pack(in, value);
  return in;
}

// acc += x W for the condition x, straight from device memory: factors are made one step at a time.
template <int FORM, int KIND, int WIDTH, int N, int M>
__device__ __forceinline__ void warp_dense_condition(float (&acc)[N][M][4], const void *data,
                                                     const warp_row_numbers<M> &rows, const float *scale,
                                                     const float *shift, const unsigned *fragments) {
  constexpr int words = (N + 1) / 2 * 32 * 4 * operand_parts(FORM);
#pragma unroll 1
  for (int k = 0; k < WIDTH; k += 8 * operand_groups(FORM), fragments += words)
    warp_dense(acc, warp_condition<FORM, KIND, WIDTH>(data, rows, k, scale, shift), fragments);
}

// Two standard normals: those of features `feature` (even) and the one after it, as normal4 makes them of the words.
__device__ __forceinline__ float2 normal_pair(const philox_words &words, int feature) {
  const bool second = feature & 2;
  float sine, cosine;
  const float radius = sqrtf(-2.0f * logf(philox_uniform(second ? words.word[2] : words.word[0])));
  sincospif(2.0f * philox_uniform(second ? words.word[3] : words.word[1]), &sine, &cosine);
  return make_float2(radius * cosine, radius * sine);
}

// z(0): given, standard normal or zero. Features from D on are zero and stay zero.
template <int D, int N, int M>
__device__ __forceinline__ void warp_start(float (&z)[N][M][4], const integrate_arguments &args,
                                           const warp_row_numbers<M> &rows) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int feature = 8 * n + element_feature(0);
        const unsigned row = rows.number[m][half];
        float2 two = make_float2(0.0f, 0.0f);
        if (args.start) {
          const float *from = args.start + (unsigned long long)row * D;
          if (feature < D) two.x = from[feature];
          if (feature + 1 < D) two.y = from[feature + 1];
        } else if (args.normal_start && feature < D) {
          two = normal_pair(philox(args.seed, feature / 4, args.row_base + row, philox_stream(STREAM_START, 0, 0), 0),
                            feature);
        }
        z[n][m][2 * half] = two.x;
        z[n][m][2 * half + 1] = feature + 1 < D ? two.y : 0.0f;
      }
}

// The state as slice `slice` of latent and output, [slices][rows][D] row-major.
template <int D, int N, int M>
__device__ __forceinline__ void warp_write(const integrate_arguments &args, const float (&z)[N][M][4],
                                           const warp_row_numbers<M> &rows, unsigned slice) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int feature = 8 * n + element_feature(c);
        if (feature >= D || !rows.live[m][c >> 1]) continue;
        const unsigned long long at = ((unsigned long long)slice * args.rows + rows.number[m][c >> 1]) * D + feature;
        if (args.latent) args.latent[at] = z[n][m][c];
        if (args.output)
          args.output[at] = fmaf(z[n][m][c], __ldg(args.output_scale + feature), __ldg(args.output_shift + feature));
      }
}

// Largest logit and 1/sum of exponentials of the rows of row block m: [0] of elements [0] and [1], [1] of [2] and [3].
template <int D, int N, int M>
__device__ __forceinline__ void warp_softmax(float (&most)[2], float (&scale)[2], const float (&logits)[N][M][4],
                                             int m) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float largest = __int_as_float(0xff800000), sum = 0.0f;
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e)
        if (8 * n + element_feature(e) < D) largest = fmaxf(largest, logits[n][m][2 * half + e]);
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e)
        if (8 * n + element_feature(e) < D) sum += expf(logits[n][m][2 * half + e] - largest);
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    most[half] = largest;
    scale[half] = 1.0f / sum;
  }
}

// solver_update for a warp's registers.
template <int METHOD, int D, int N, int M>
__device__ __forceinline__ void warp_solver_update(const objective_description &objective, const prediction_form &form,
                                                   const exponential_step &exponential, float width, int stage,
                                                   bool denoise, const float (&out)[N][M][4], float (&z)[N][M][4],
                                                   float (&input)[N][M][4], float (&sum)[N][M][4],
                                                   float (&previous)[N][M][4]) {
#pragma unroll
  for (int m = 0; m < M; ++m) {
    float most[2], scale[2];
    if (objective.cross_entropy) warp_softmax<D, N, M>(most, scale, out, m);
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        if (8 * n + element_feature(c) >= D) continue;
        float p = out[n][m][c];
        if (objective.cross_entropy)
          p = fmaf(1.0f - objective.off_value, expf(p - most[c >> 1]) * scale[c >> 1], objective.off_value);
        solver_element<METHOD>(form, exponential, width, stage, denoise, p, z[n][m][c], input[n][m][c], sum[n][m][c],
                               previous[n][m][c]);
      }
  }
}
