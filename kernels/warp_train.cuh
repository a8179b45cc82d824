// Training on tensor cores: a warp carries its rows forward and backward in registers, the block's warps together make
// the weight gradients.
//
// For a weight gradient the rows are what is summed over, so its operands are needed "by rows": keep_by_rows() stores
// an array in the order of mma's operands with rows as the inner dimension, [warp][group of eight features][row
// block][lane] [4] floats. Lane 4 g + t finds there feature g of the group in four rows, one for each of [0..3]: the
// first operand's [0] and [2] of two mma steps, or the second operand's two of each. The sixteen bytes of a lane stand
// at kept_lane(lane), so that neither the stores (one word a lane) nor the loads (sixteen bytes a lane) meet in a bank.
#pragma once

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
    for (int half = 0; half < 2; ++half)
      paired.row[m][half] = paired_row<DRAWS>(args, batch, rows.row[m][half], draw);
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
      for (int c = 0; c < 4; ++c) {
        const int feature = 8 * n + element_feature(c), half = c >> 1;
        const tile_row &row = rows.row[m][half];
        float value = 0.0f;
        if (feature < D) {
          if (args.given_noise) {
            value = args.given_noise[(unsigned long long)row.local * D + feature];
          } else {
            const float4 normals =
                normal4(philox(args.seed, feature / 4, row.number, philox_stream(STREAM_NOISE, 0, draw), batch.step));
            const int j = feature & 3;
            value = j == 0 ? normals.x : j == 1 ? normals.y : j == 2 ? normals.z : normals.w;
          }
        }
        noise[n][m][c] = value;
        z[n][m][c] = fmaf(point[m][half].a, z1[n][m][c], point[m][half].b * value);
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
        to[n][m][c] = feature < SIZE ? round_tf32(time_feature<FORM, SIZE>(frequencies, feature, t[m][c >> 1])) : 0.0f;
      }
}

// post = dropout(activation(pre)) as operands of the next layer; slope = d post / d pre.
template <int FORM, bool DROPOUT, int N, int M>
__device__ __forceinline__ void warp_finish(float (&post)[N][M][4], float (&slope)[N][M][4],
                                            const float (&pre)[N][M][4], const warp_batch_rows<M> &rows,
                                            unsigned threshold, float scale, unsigned long long seed, unsigned stream,
                                            unsigned step) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        philox_words words;
        if (DROPOUT) words = philox(seed, n, rows.row[m][half].number, stream, step);
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int c = 2 * half + e;
          activated a = activate<FORM>(pre[n][m][c]);
          if (DROPOUT) {  // number t + 4 e of eight, two to a word
            const unsigned word = quad() < 2 ? words.word[2 * e] : words.word[2 * e + 1];
            const float keep = ((word >> (16 * (quad() & 1))) & 0xffffu) >= threshold ? scale : 0.0f;
            a.value *= keep;
            a.slope *= keep;
          }
          post[n][m][c] = round_tf32(a.value);
          slope[n][m][c] = a.slope;
        }
      }
}

template <int N, int M>
__device__ __forceinline__ void warp_multiply(float (&to)[N][M][4], const float (&by)[N][M][4]) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int c = 0; c < 4; ++c) to[n][m][c] *= by[n][m][c];
}

// Which sixteen bytes of thirty-two are lane `lane`'s. The stores of keep_by_rows differ in bits 1 to 3 of the lane;
// bit 3 would not tell banks apart (32 of them are eight lanes wide) and is mixed into bit 0.
__device__ __forceinline__ int kept_lane(int lane) { return lane ^ ((lane >> 3) & 1); }

// The warp's part of an array kept by rows: float [N][M][32][4]. Lane 4 g + t of [q] holds feature g of row
// 2 (q / 2) + t / 2 + 4 (q mod 2) + 8 (t mod 2).
template <int N, int M>
__device__ __forceinline__ void keep_by_rows(float *memory, const float (&from)[N][M][4]) {
  const int g = quad_row(), q = (g & 2) + (g >> 2), mixed = quad() >> 1;
  float *const low = memory + 4 * (4 * quad() + 2 * (g & 1) + mixed) + q, *const high = low + 4 - 8 * mixed;
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int c = 0; c < 4; ++c) (c >> 1 ? high : low)[(n * M + m) * 128 + 64 * (c & 1)] = from[n][m][c];
}

// Sixteen inputs times eight outputs of a weight gradient, four columns of outputs at a time.
enum { GRADIENT_COLUMNS = 4 };

// Writes acc, or adds it to what stands there: inputs first.. of [inputs][LD], output groups from `group`.
template <int LD>
__device__ __forceinline__ void store_gradient(float *gradient, const float (&acc)[GRADIENT_COLUMNS][4], int first,
                                               int inputs, int group, bool accumulate) {
#pragma unroll
  for (int j = 0; j < GRADIENT_COLUMNS; ++j)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int input = first + 8 * half + quad_row(), column = 8 * (group + j) + 2 * quad();
      if (input >= inputs || column >= LD) continue;
      float2 *to = (float2 *)(gradient + input * LD + column);
      float2 value = make_float2(acc[j][2 * half], acc[j][2 * half + 1]);
      if (accumulate) value = make_float2(to->x + value.x, to->y + value.y);
      *to = value;
    }
}

// Two mma steps (the sixteen rows of a row block): acc += inputs (two groups of eight, by rows) times delta.
template <int N, int M>
__device__ __forceinline__ void accumulate_rows(float (&acc)[GRADIENT_COLUMNS][4], float4 low, float4 high,
                                                const float4 *delta, int group) {
  const float rows0[4] = {low.x, low.y, high.x, high.y}, rows1[4] = {low.z, low.w, high.z, high.w};
#pragma unroll
  for (int j = 0; j < GRADIENT_COLUMNS; ++j) {
    if (group + j >= N) continue;
    const float4 columns = delta[(group + j) * M * 32];
    mma_tf32(acc[j], rows0, columns.x, columns.y);
    mma_tf32(acc[j], rows1, columns.z, columns.w);
  }
}

// gradient[k][n] (+)= sum over the block's rows of in[row][k] delta[row][n]; both kept by rows, K and N groups of
// eight.
template <int K, int N, int M>
__device__ __forceinline__ void block_weight_gradient(float *gradient, int inputs, const float *in, const float *delta,
                                                      bool accumulate) {
  constexpr int columns = (N + GRADIENT_COLUMNS - 1) / GRADIENT_COLUMNS, items = (K + 1) / 2 * columns;
#pragma unroll 1
  for (int item = tile_warp(); item < items; item += TILE_WARPS) {
    const int k = item / columns * 2, group = item % columns * GRADIENT_COLUMNS;
    float acc[GRADIENT_COLUMNS][4] = {};
#pragma unroll 1
    for (int at = 0; at < TILE_WARPS * M; ++at) {
      const int warp = at / M, m = at % M;
      const float4 *rows = (const float4 *)in + ((warp * K + k) * M + m) * 32 + kept_lane(tile_lane());
      const float4 low = rows[0], high = k + 1 < K ? rows[M * 32] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      accumulate_rows<N, M>(acc, low, high, (const float4 *)delta + (warp * N * M + m) * 32 + kept_lane(tile_lane()),
                            group);
    }
    store_gradient<8 * N>(gradient, acc, 8 * k, inputs, group, accumulate);
  }
}

// The same for a wide condition, read again from device memory; `numbers`: data rows of the block, [TILE_WARPS * 16 M].
template <int KIND, int WIDTH, int N, int M>
__device__ __forceinline__ void block_condition_gradient(float *gradient, const void *data, const unsigned *numbers,
                                                         const float *scale, const float *shift, const float *delta,
                                                         bool accumulate) {
  constexpr int columns = (N + GRADIENT_COLUMNS - 1) / GRADIENT_COLUMNS, items = (WIDTH + 15) / 16 * columns;
  const int t = quad();
#pragma unroll 1
  for (int item = tile_warp(); item < items; item += TILE_WARPS) {
    const int first = item / columns * 16, group = item % columns * GRADIENT_COLUMNS;
    float acc[GRADIENT_COLUMNS][4] = {};
#pragma unroll 1
    for (int at = 0; at < TILE_WARPS * M; ++at) {
      float value[2][4];
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        const unsigned row = numbers[16 * at + 2 * (q >> 1) + (t >> 1) + 4 * (q & 1) + 8 * (t & 1)];
#pragma unroll
        for (int half = 0; half < 2; ++half)
          value[half][q] =
              round_tf32(condition_value<KIND, WIDTH>(data, row, first + 8 * half + quad_row(), scale, shift, 0.0f));
      }
      accumulate_rows<N, M>(acc, make_float4(value[0][0], value[0][1], value[0][2], value[0][3]),
                            make_float4(value[1][0], value[1][1], value[1][2], value[1][3]),
                            (const float4 *)delta + (at / M * N * M + at % M) * 32 + kept_lane(tile_lane()), group);
    }
    store_gradient<8 * N>(gradient, acc, first, WIDTH, group, accumulate);
  }
}

// gradient[n] (+)= sum over the block's rows of delta[row][n].
template <int N, int M>
__device__ __forceinline__ void block_bias_gradient(float *gradient, const float *delta, bool accumulate) {
  const float ones[4] = {1.0f, 1.0f, 1.0f, 1.0f};
#pragma unroll 1
  for (int n = tile_warp(); n < N; n += TILE_WARPS) {
    float acc[4] = {};
#pragma unroll 1
    for (int at = 0; at < TILE_WARPS * M; ++at) {
      const float4 columns = ((const float4 *)delta)[(at / M * N * M + n * M + at % M) * 32 + kept_lane(tile_lane())];
      mma_tf32(acc, ones, columns.x, columns.y);
      mma_tf32(acc, ones, columns.z, columns.w);
    }
    if (quad_row() == 0) {
      float2 *to = (float2 *)(gradient + 8 * n + 2 * quad());
      *to = accumulate ? make_float2(to->x + acc[0], to->y + acc[1]) : make_float2(acc[0], acc[1]);
    }
  }
}

// Loss terms of the warp's rows, added to `sums` (lanes with t = 0), and the gradient of the batch mean with respect to
// the output as operands; features from D on and rows past the end get zero.
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
          delta[n][m][c] = share[m][half] != 0.0f ? round_tf32(share[m][half] * gradient) : 0.0f;
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
