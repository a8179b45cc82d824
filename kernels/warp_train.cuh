// Training on tensor cores: a warp carries its rows forward and backward in registers, the block's warps together make
// the weight gradients (warp_gradient.cuh).
#pragma once

#include "warp_gradient.cuh"
#include "warp_rows.cuh"

template <int M>
struct warp_batch_rows {
  tile_row row[M][2];
  warp_row_numbers<M> data;  // where the rows stand in device memory
};

template <int M>
__device__ __forceinline__ warp_batch_rows<M> warp_batch_rows_at(const train_arguments &args, const batch_rows &batch,
                                                                 unsigned first) {
  warp_batch_rows<M> rows;
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      rows.row[m][half] = row_at(args, batch, first + 16 * m + 8 * half + quad_row());
      rows.data.number[m][half] = rows.row[m][half].data;
      rows.data.live[m][half] = rows.row[m][half].live;
    }
  return rows;
}

// The rows' target (labels: `off` where they are not) or a narrow condition.
template <int KIND, int D, int N, int M>
__device__ __forceinline__ void warp_load(float (&to)[N][M][4], const void *data, const warp_row_numbers<M> &rows,
                                          const float *scale, const float *shift, float off) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int c = 0; c < 4; ++c)
        to[n][m][c] =
            condition_value<KIND, D>(data, rows.number[m][c >> 1], 8 * n + element_feature(c), scale, shift, off);
}

// The rows with the numbers whose noise they take (paired_row).
template <unsigned DRAWS, int M>
__device__ __forceinline__ warp_batch_rows<M> warp_paired_rows(const train_arguments &args, const batch_rows &batch,
                                                               const warp_batch_rows<M> &rows, unsigned draw) {
  warp_batch_rows<M> paired = rows;
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) paired.row[m][half] = paired_row<DRAWS>(args, batch, rows.row[m][half], draw);
  return paired;
}

// Noise e and state z_t = a z1 + b e; features from D on are zero.
template <int D, int N, int M>
__device__ __forceinline__ void warp_make_state(float (&z)[N][M][4], float (&noise)[N][M][4],
                                                const float (&z1)[N][M][4], const path_point (&point)[M][2],
                                                const train_arguments &args, const batch_rows &batch,
                                                const warp_batch_rows<M> &rows, unsigned draw) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int feature = 8 * n + element_feature(0);
        const tile_row &row = rows.row[m][half];
        float2 two = make_float2(0.0f, 0.0f);
        if (args.given_noise) {
          const float *from = args.given_noise + (unsigned long long)row.local * D;
          if (feature < D) two.x = from[feature];
          if (feature + 1 < D) two.y = from[feature + 1];
        } else if (feature < D) {
          two = normal_pair(
              philox(args.seed, feature / 4, row.number, philox_stream(STREAM_NOISE, 0, draw), batch.step), feature);
        }
        if (feature + 1 >= D) two.y = 0.0f;
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int c = 2 * half + e;
          noise[n][m][c] = e ? two.y : two.x;
          z[n][m][c] = fmaf(point[m][half].a, z1[n][m][c], point[m][half].b * noise[n][m][c]);
        }
      }
}

// e(t) of each row.
template <int FORM, int SIZE, int N, int M>
__device__ __forceinline__ void warp_time(float (&to)[N][M][4], const float *frequencies, const float (&t)[M][2]) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int feature = 8 * n + element_feature(c);
        to[n][m][c] = feature < SIZE ? time_feature<FORM, SIZE>(frequencies, feature, t[m][c >> 1]) : 0.0f;
      }
}

// Slopes d post / d pre: pairs of float16, whose rounding (2^-12 of the slope) is below that of the factors, or float32
// where they are. Word [n][m][0] has those of row g, [1] those of row g + 8; in float32 [0] and [1], [2] and [3].
__host__ __device__ constexpr int slope_words(int form) { return form == OPERANDS_TF32X3 ? 4 : 2; }

template <int FORM, int N, int M>
struct warp_slopes {
  unsigned word[N][M][slope_words(FORM)];
};

__device__ __forceinline__ unsigned half_pair(float low, float high) {
  unsigned bits;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

__device__ __forceinline__ float2 half_pair_values(unsigned bits) {
  float2 two;
  asm("{\n\t.reg .b16 low, high;\n\tmov.b32 {low, high}, %2;\n\tcvt.f32.f16 %0, low;\n\tcvt.f32.f16 %1, high;\n\t}"
      : "=f"(two.x), "=f"(two.y)
      : "r"(bits));
  return two;
}

// post = dropout(activation(pre)) as factors of the next layer; slope = d post / d pre. `first`: number of the first
// group.
template <int ACTIVATION, bool DROPOUT, int FORM, int N, int M>
__device__ __forceinline__ void warp_finish(warp_operands<FORM, N, M> &post, warp_slopes<FORM, N, M> &slope,
                                            const float (&pre)[N][M][4], const warp_batch_rows<M> &rows,
                                            unsigned threshold, float scale, unsigned long long seed, unsigned stream,
                                            unsigned step, int first = 0) {
  float value[N][M][4];
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        activated two[2] = {activate_for<ACTIVATION, FORM>(pre[n][m][2 * half]),
                            activate_for<ACTIVATION, FORM>(pre[n][m][2 * half + 1])};
        if (DROPOUT) {  // numbers 2 t and 2 t + 1 of eight, two to a word
          const philox_words words = philox(seed, first + n, rows.row[m][half].number, stream, step);
          const int t = quad();
          const unsigned word = t < 2 ? (t ? words.word[1] : words.word[0]) : (t == 2 ? words.word[2] : words.word[3]);
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            const float keep = (e ? word >> 16 : word & 0xffffu) >= threshold ? scale : 0.0f;
            two[e].value *= keep;
            two[e].slope *= keep;
          }
        }
        value[n][m][2 * half] = two[0].value;
        value[n][m][2 * half + 1] = two[1].value;
        if constexpr (slope_words(FORM) == 4) {
          slope.word[n][m][2 * half] = __float_as_uint(two[0].slope);
          slope.word[n][m][2 * half + 1] = __float_as_uint(two[1].slope);
        } else {
          slope.word[n][m][half] = half_pair(two[0].slope, two[1].slope);
        }
      }
  warp_pack(post, value);
}

// In memory: uint2, in float32 uint4 [N][M][32 lanes].
template <int FORM, int N, int M>
__device__ __forceinline__ void warp_keep_slopes(float *memory, const warp_slopes<FORM, N, M> &from) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m) {
      const int at = (n * M + m) * 32 + tile_lane();
      const unsigned(&word)[slope_words(FORM)] = from.word[n][m];
      if constexpr (slope_words(FORM) == 4)
        ((uint4 *)memory)[at] = make_uint4(word[0], word[1], word[2], word[3]);
      else
        ((uint2 *)memory)[at] = make_uint2(word[0], word[1]);
    }
}

template <int FORM, int N, int M>
__device__ __forceinline__ void warp_multiply_slopes(float (&to)[N][M][4], const float *memory) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m) {
      const int at = (n * M + m) * 32 + tile_lane();
      float2 upper, lower;
      if constexpr (slope_words(FORM) == 4) {
        const float4 four = ((const float4 *)memory)[at];
        upper = make_float2(four.x, four.y), lower = make_float2(four.z, four.w);
      } else {
        const uint2 two = ((const uint2 *)memory)[at];
        upper = half_pair_values(two.x), lower = half_pair_values(two.y);
      }
      to[n][m][0] *= upper.x, to[n][m][1] *= upper.y, to[n][m][2] *= lower.x, to[n][m][3] *= lower.y;
    }
}

// Loss terms of the warp's rows, added to `sums` (lanes with t = 0), and the gradient of the batch mean with respect to
// the output; features from D on and rows past the end get zero.
template <int D, int N, int M>
__device__ __forceinline__ void warp_objective(float (&delta)[N][M][4], row_terms &sums,
                                               const objective_description &objective,
                                               const schedule_description &schedule, const path_point (&point)[M][2],
                                               float weight_scale, const float (&share)[M][2],
                                               const float (&out)[N][M][4], const float (&z)[N][M][4],
                                               const float (&z1)[N][M][4], const float (&noise)[N][M][4],
                                               const warp_batch_rows<M> &rows, unsigned draw, float *out_row_loss) {
#pragma unroll
  for (int m = 0; m < M; ++m) {
    float most[2], scale[2];
    if (objective.cross_entropy) warp_softmax<D, N, M>(most, scale, out, m);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      row_terms terms = {0.0f, 0.0f, 0.0f};
      row_objective row =
          row_objective_at(objective, point[m][half], weight_scale * weight_at(objective, schedule, point[m][half]));
      if (objective.cross_entropy) row.softmax = make_float2(most[half], scale[half]);
#pragma unroll
      for (int n = 0; n < N; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int c = 2 * half + e;
          float gradient = 0.0f;
          if (8 * n + element_feature(e) < D)
            gradient =
                objective_element<D>(objective, row, out[n][m][c], z[n][m][c], z1[n][m][c], noise[n][m][c], terms);
          // A row past the end must not contribute, even where its weight is not finite.
          delta[n][m][c] = share[m][half] != 0.0f ? share[m][half] * gradient : 0.0f;
        }
#pragma unroll
      for (int distance = 1; distance <= 2; distance <<= 1) {
        terms.flow += __shfl_xor_sync(0xffffffffu, terms.flow, distance);
        terms.recon += __shfl_xor_sync(0xffffffffu, terms.recon, distance);
        terms.reg += __shfl_xor_sync(0xffffffffu, terms.reg, distance);
      }
      if (quad() != 0 || !rows.row[m][half].live) continue;
      sums.flow = fmaf(share[m][half], terms.flow, sums.flow);
      sums.recon = fmaf(share[m][half], terms.recon, sums.recon);
      sums.reg = fmaf(share[m][half], terms.reg, sums.reg);
      if (out_row_loss) {
        const float loss = (terms.flow + objective.recon * terms.recon + objective.reg * terms.reg) / objective.draws;
        float *to = out_row_loss + rows.row[m][half].local;
        *to = draw ? *to + loss : loss;
      }
    }
  }
}

// An array of the rows into device memory, [rows][D], if it is wanted.
template <int D, int N, int M>
__device__ __forceinline__ void warp_write_rows(float *to, const float (&from)[N][M][4],
                                                const warp_batch_rows<M> &rows) {
  if (!to) return;
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int feature = 8 * n + element_feature(c);
        const tile_row &row = rows.row[m][c >> 1];
        if (feature < D && row.live) to[(unsigned long long)row.local * D + feature] = from[n][m][c];
      }
}

// The four warps' sums in the lanes of the first warp, as finish_slot wants them. `scratch`: [TILE_WARPS][3].
__device__ __forceinline__ row_terms gather_terms(const row_terms &sums, float *scratch) {
  const float flow = warp_sum(sums.flow), recon = warp_sum(sums.recon), reg = warp_sum(sums.reg);
  if (tile_lane() == 0) {
    scratch[3 * tile_warp()] = flow;
    scratch[3 * tile_warp() + 1] = recon;
    scratch[3 * tile_warp() + 2] = reg;
  }
  __syncthreads();
  row_terms all = {0.0f, 0.0f, 0.0f};
  if (tile_lane() < TILE_WARPS) {
    all.flow = scratch[3 * tile_lane()];
    all.recon = scratch[3 * tile_lane() + 1];
    all.reg = scratch[3 * tile_lane() + 2];
  }
  return all;
}
