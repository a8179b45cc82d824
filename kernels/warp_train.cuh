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

// word[i] of a quad's lane t becomes word[t] of its lane i.
__device__ __forceinline__ void quad_transpose(unsigned (&word)[4]) {
#pragma unroll
  for (int distance = 1; distance <= 2; distance <<= 1) {
    const bool upper = quad() & distance;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i & distance) continue;
      unsigned &low = word[i], &high = word[i | distance];
      const unsigned other = __shfl_xor_sync(0xffffffffu, upper ? low : high, distance);
      (upper ? low : high) = other;
    }
  }
}

// Which of a layer's sums dropout keeps: bit 4 (n M + m) + c for sum [n][m][c].
template <int N, int M>
struct warp_kept {
  unsigned bits[(4 * N * M + 31) / 32];
};

// Draws for N groups from number `first` on. A row's Philox block makes the eight 16-bit numbers of a group, two of
// them, one word, for each lane of a quad. As the lanes of a quad have the same rows, each makes one of four blocks and
// they exchange the words. To be drawn before the sums are made, which take many registers where this takes few; the
// loop is one for the same reason: unrolled, all blocks of a layer would be on their way at once.
template <int N, int M>
__device__ __forceinline__ warp_kept<N, M> warp_draw_kept(const warp_batch_rows<M> &rows, unsigned threshold,
                                                          unsigned long long seed, unsigned stream, unsigned step,
                                                          int first = 0) {
  static_assert(M == 1 || M == 2, "a quad has two or four rows");
  constexpr int GROUPS = 2 / M;  // that four blocks are enough for
  const int t = quad();
  unsigned row = (t & 1 ? rows.row[0][1] : rows.row[0][0]).number;
  if (M == 2 && t & 2) row = (t & 1 ? rows.row[M - 1][1] : rows.row[M - 1][0]).number;
  warp_kept<N, M> kept;
#pragma unroll
  for (int word = 0; word < (4 * N * M + 31) / 32; ++word) {
    kept.bits[word] = 0u;
    constexpr int SPAN = 8 / M;  // groups of a word
#pragma unroll 1
    for (int n = 0; n < min(SPAN, N - word * SPAN); n += GROUPS) {
      philox_words made = philox(seed, first + word * SPAN + n + (M == 1 ? t >> 1 : 0), row, stream, step);
      quad_transpose(made.word);
      unsigned bits = 0u;  // of two groups of two rows or one of four
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        bits |= (made.word[i] & 0xffffu) >= threshold ? 1u << 2 * i : 0u;
        bits |= made.word[i] >> 16 >= threshold ? 2u << 2 * i : 0u;
      }
      kept.bits[word] |= bits << 4 * n * M;
    }
  }
  return kept;
}

// post = activation(pre), times `scale` where it is kept and 0 where not, as factors of the next layer; slopes
// d post / d pre to memory.
template <int ACTIVATION, bool DROPOUT, int FORM, int N, int M>
__device__ __forceinline__ void warp_finish(warp_operands<FORM, N, M> &post, float *slopes, const float (&pre)[N][M][4],
                                            const warp_kept<N, M> &kept, float scale) {
  float value[N][M][4];
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m) {
      float slope[4];
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        activated a = activate_for<ACTIVATION, FORM>(pre[n][m][c]);
        if (DROPOUT) {
          const int bit = 4 * (n * M + m) + c;
          const bool keep = kept.bits[bit / 32] >> bit % 32 & 1;
          a.value = keep ? a.value * scale : 0.0f;  // a product with 0 or scale would cost a register for each factor
          a.slope = keep ? a.slope * scale : 0.0f;
        }
        value[n][m][c] = a.value;
        slope[c] = a.slope;
      }
      const int at = (n * M + m) * 32 + tile_lane();
      if constexpr (slope_words(FORM) == 4)
        ((float4 *)slopes)[at] = make_float4(slope[0], slope[1], slope[2], slope[3]);
      else
        ((uint2 *)slopes)[at] = make_uint2(half_pair(slope[0], slope[1]), half_pair(slope[2], slope[3]));
    }
  warp_pack(post, value);
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
