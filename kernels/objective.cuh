// The objective of a row: path, weight, error of the prediction, and its gradient (design page "mathematics", 1 and 2).
//
// z_t = a z1 + b e with SNR = a^2/b^2 = exp(gamma). Everything that a row needs is linear in the network's output p:
// target estimate x^ = xp p + xz z, field v = vp p + vz z. The description is a compile-time constant of the generated
// kernel, so that every choice below is resolved by the compiler.
#pragma once

#include "rows.cuh"
#include "schedule.h"

enum objective_path { PATH_LINEAR, PATH_VP, PATH_SIGNAL, PATH_ROOT };
enum objective_prediction { PREDICT_VELOCITY, PREDICT_NOISE, PREDICT_TARGET, PREDICT_V };
enum objective_weight {
  WEIGH_UNIFORM,
  WEIGH_ELBO,
  WEIGH_T,
  WEIGH_DRIFT,
  WEIGH_VP_VELOCITY,
  WEIGH_MIN_SNR,
  WEIGH_SNR_PRIME,
  WEIGH_INVERSE_SNR,
  WEIGH_NOTEBOOK
};
enum objective_times { TIMES_UNIFORM, TIMES_LOW_DISCREPANCY, TIMES_GAMMA, TIMES_IMPORTANCE };
enum objective_term { TERM_PLAIN, TERM_SAME, TERM_SNR_PRIME };
// Numbered as enum drift of options.h.
enum objective_drift { DRIVE_ODE, DRIVE_OU_MEAN, DRIVE_RELAX = 3, DRIVE_RELAX_NOISE, DRIVE_OUTPUT };

struct objective_description {
  int path, prediction, weight, recon_weighting, reg_weighting, reg_drift;
  int cross_entropy;            // the output is logits of a one-hot target; 2: whose softmax has a squared error
  int times, batch_normalised;  // enum objective_times
  unsigned draws;
  float recon, reg;    // weights of the terms; 0: not computed
  float time_margin;   // t stays in [time_margin, 1 - time_margin]
  float weight_scale;  // 1, or 1/E[w]
  float off_value;     // one-hot entries of the other classes
  float cap;           // of SNR in min_snr, of SNR' in snr_prime
  int cells;           // times by quantiles: [cells + 1] knots; 0: not
  const float *knots;
  float gamma_scale;  // times uniform in gamma: 1/(range of gamma)
  // Earlier systems' forms: the prediction is compared with the state (D-12); `recon` belongs to the pass at the end.
  int of_state, recon_at_end;
};

struct path_point {
  float t, a, b, signal, noise, gamma_prime;  // signal = a^2, noise = b^2
  float factor;                               // density of times asked for over that of the times drawn
};

__device__ __forceinline__ path_point path_at(const objective_description &objective,
                                              const schedule_description &schedule, float t) {
  path_point point;
  point.t = t;
  point.factor = 1.0f;
  if (objective.path == PATH_LINEAR) {
    point.a = t;
    point.b = 1.0f - t;
    point.signal = point.a * point.a;
    point.noise = point.b * point.b;
    point.gamma_prime = 2.0f / (point.a * point.b);
  } else if (objective.path == PATH_ROOT) {
    point.a = t;
    point.noise = 1.0f - t;
    point.b = sqrtf(point.noise);
    point.signal = t * t;
    point.gamma_prime = 2.0f / t + 1.0f / point.noise;
  } else {
    const schedule_point at = schedule_evaluate(&schedule, t);
    point.signal = at.alpha_bar;
    point.noise = at.one_minus_alpha_bar;
    point.a = objective.path == PATH_SIGNAL ? at.alpha_bar : sqrtf(at.alpha_bar);
    point.b = sqrtf(at.one_minus_alpha_bar);
    point.gamma_prime = at.gamma_prime;
  }
  return point;
}

// Weight of the predicted quantity (survey 1.3 and 2.10). elbo, min_snr and snr_prime are weights of the target's
// error, SNR', min(SNR, cap) and min(SNR', cap), times (d target / d prediction)^2: b^2/a^2 for noise, b^2/(a^2 + b^2)
// for v, b^2 for the velocity of the linear path, 4/(gamma'^2 a^2) for that of the VP path; written out, so that
// nothing is divided by what vanishes at an end.
__device__ __forceinline__ float weight_at(const objective_description &objective, const schedule_description &schedule,
                                           const path_point &point) {
  const bool linear = objective.path == PATH_LINEAR;
  const float s = point.signal, n = point.noise;
  const float unit = linear && objective.prediction == PREDICT_V ? 1.0f / (s + n) : 1.0f;
  if (objective.weight == WEIGH_ELBO || objective.weight == WEIGH_SNR_PRIME) {
    // SNR' b^2: gamma' a^2, and 2t/(1-t) on the linear path.
    const float velocity = linear ? 2.0f * point.a / point.b : point.gamma_prime * s;
    if (objective.weight == WEIGH_ELBO) {
      if (objective.prediction == PREDICT_TARGET)
        return linear ? 2.0f * point.a / (point.b * n) : point.gamma_prime * s / n;
      if (objective.prediction == PREDICT_NOISE) return point.gamma_prime;
      if (objective.prediction == PREDICT_V) return velocity * unit;
      return linear ? velocity : 4.0f / (point.gamma_prime * n);
    }
    if (objective.prediction == PREDICT_TARGET) return fminf(velocity / n, objective.cap);
    if (objective.prediction == PREDICT_NOISE) return fminf(point.gamma_prime, objective.cap * n / s);
    return fminf(velocity, objective.cap * n) * unit;
  }
  if (objective.weight == WEIGH_MIN_SNR) {
    if (objective.prediction == PREDICT_TARGET) return fminf(s / n, objective.cap);
    if (objective.prediction == PREDICT_NOISE) return fminf(1.0f, objective.cap * n / s);
    return fminf(s, objective.cap * n) * unit;
  }
  if (objective.weight == WEIGH_INVERSE_SNR) return n / s;
  if (objective.weight == WEIGH_NOTEBOOK) return s / ((n + 1e-8f) * (n + 1e-8f));
  if (objective.weight == WEIGH_T) return point.t;
  if (objective.weight == WEIGH_DRIFT) return 1.0f / (n * point.gamma_prime);
  if (objective.weight == WEIGH_VP_VELOCITY) {
    if (!linear) return 1.0f / (n * s * point.gamma_prime);
    // Of the VP schedule even on the linear path: that mixture is what the earlier system does (D-07).
    const schedule_point vp = schedule_evaluate(&schedule, point.t);
    return 1.0f / (vp.one_minus_alpha_bar * vp.alpha_bar * vp.gamma_prime);
  }
  return 1.0f;
}

// Target estimate and field as linear forms of output p and state z.
struct prediction_form {
  float xp, xz, vp, vz;
};

__device__ __forceinline__ prediction_form form_at(const objective_description &objective, const path_point &point,
                                                   int drift) {
  prediction_form form;
  const float g = point.gamma_prime;
  if (objective.path == PATH_LINEAR) {
    if (objective.prediction == PREDICT_VELOCITY) return {point.b, 1.0f, 1.0f, 0.0f};
    if (objective.prediction == PREDICT_NOISE)
      return {-point.b / point.a, 1.0f / point.a, -1.0f / point.a, 1.0f / point.a};
    if (objective.prediction == PREDICT_V) {
      // v = (a e - b z1)/s, s^2 = a^2 + b^2 >= 1/2: the v of the VP path of the same SNR, which z/s follows.
      const float inverse = 1.0f / (point.signal + point.noise), root = sqrtf(inverse);
      return {-point.b * root, point.a * inverse, -root, (point.a - point.b) * inverse};
    }
    return {1.0f, 0.0f, 1.0f / point.b, -1.0f / point.b};
  }
  if (objective.prediction == PREDICT_TARGET) {
    form.xp = 1.0f;
    form.xz = 0.0f;
  } else if (objective.prediction == PREDICT_NOISE) {
    form.xp = -point.b / point.a;
    form.xz = 1.0f / point.a;
  } else if (objective.prediction == PREDICT_V) {
    form.xp = -point.b;
    form.xz = point.a;
  } else {
    form.xp = 2.0f / (g * point.a);
    form.xz = point.a;
  }
  if (drift == DRIVE_OU_MEAN) {
    // gamma' (a x^ - (1 + ab)/2 z); with x^ put in for all others, the state's terms leave -+gamma' (1 - ab)/2.
    const float half = 0.5f * g * point.noise;
    form.vz = objective.prediction == PREDICT_TARGET  ? -0.5f * g * (1.0f + point.signal)
              : objective.prediction == PREDICT_NOISE ? half
                                                      : -half;
    form.vp = objective.prediction == PREDICT_TARGET  ? g * point.a
              : objective.prediction == PREDICT_NOISE ? -g * point.b
              : objective.prediction == PREDICT_V     ? -g * point.a * point.b
                                                      : 2.0f;
  } else if (objective.prediction == PREDICT_VELOCITY) {
    form.vp = 1.0f;
    form.vz = 0.0f;
  } else if (objective.prediction == PREDICT_NOISE) {
    form.vp = -0.5f * g * point.b;
    form.vz = 0.5f * g * point.noise;
  } else if (objective.prediction == PREDICT_V) {
    form.vp = -0.5f * g * point.a * point.b;
    form.vz = 0.0f;
  } else {
    form.vp = 0.5f * g * point.a;
    form.vz = -0.5f * g * point.signal;
  }
  return form;
}

// Earlier systems' fields besides: towards the target at a rate of 1 (D-31) or of 1/(1 - alpha_bar) (D-24), and the
// network's output itself (D-20).
__device__ __forceinline__ prediction_form drift_form_at(const objective_description &objective,
                                                         const path_point &point, int drift) {
  prediction_form form = form_at(objective, point, drift);
  const float rate = drift == DRIVE_RELAX_NOISE ? 1.0f / point.noise : 1.0f;
  if (drift == DRIVE_OUTPUT) {
    form.vp = 1.0f;
    form.vz = 0.0f;
  } else if (drift == DRIVE_RELAX || drift == DRIVE_RELAX_NOISE) {
    form.vp = rate * form.xp;
    form.vz = rate * (form.xz - 1.0f);
  }
  return form;
}

// What the network should have said.
__device__ __forceinline__ float truth_of(const objective_description &objective, const path_point &point, float z1,
                                          float noise) {
  if (objective.of_state) return fmaf(point.a, z1, point.b * noise);
  if (objective.prediction == PREDICT_TARGET) return z1;
  if (objective.prediction == PREDICT_NOISE) return noise;
  if (objective.prediction == PREDICT_V) {
    const float v = point.a * noise - point.b * z1;
    return objective.path == PATH_LINEAR ? v / sqrtf(point.signal + point.noise) : v;
  }
  if (objective.path == PATH_LINEAR) return z1 - noise;
  return 0.5f * point.gamma_prime * point.a * point.b * (point.b * z1 - point.a * noise);
}

struct time_draw {
  float t, factor;
};

// The time of a row. By quantiles: the knots cut [time_margin, 1 - time_margin] into cells of (nearly) equal mass, and
// times are uniform within a cell, so that their density is known exactly however coarse the knots are. `factor` is the
// density asked for over that one: uniform for importance (weight times factor is then nearly constant), proportional
// to gamma' for uniform gamma. Given times have factor 1.
__device__ __forceinline__ time_draw draw_time(const objective_description &objective,
                                               const schedule_description &schedule, const train_arguments &args,
                                               const batch_rows &batch, const tile_row &row, unsigned draw) {
  if (args.given_time) return {args.given_time[row.local], 1.0f};
  const unsigned stream = philox_stream(STREAM_TIME, 0, draw);
  float u;
  if (objective.times != TIMES_UNIFORM) {
    u = philox_uniform(philox(args.seed, 0, 0, stream, batch.step).word[0]) + (float)row.number / (float)batch.total;
    u -= floorf(u);
  } else {
    u = philox_uniform(philox(args.seed, 0, row.number, stream, batch.step).word[0]);
  }
  if (objective.times != TIMES_GAMMA && objective.times != TIMES_IMPORTANCE)
    return {fmaf(1.0f - 2.0f * objective.time_margin, u, objective.time_margin), 1.0f};
  const float place = u * (float)objective.cells;
  const int cell = min((int)place, objective.cells - 1);
  const float start = objective.knots[cell], width = objective.knots[cell + 1] - start;
  const float t = fmaf(place - (float)cell, width, start);
  if (objective.times == TIMES_IMPORTANCE)
    return {t, width * (float)objective.cells / (1.0f - 2.0f * objective.time_margin)};
  return {t, width * (float)objective.cells * path_at(objective, schedule, t).gamma_prime * objective.gamma_scale};
}

__device__ __forceinline__ float time_of(const objective_description &objective, const schedule_description &schedule,
                                         const train_arguments &args, const batch_rows &batch, const tile_row &row,
                                         unsigned draw) {
  return draw_time(objective, schedule, args, batch, row, draw).t;
}

// 1 / (mean weight of the batch): every block computes it alike, in a fixed order. `scratch` holds TILE_THREADS floats.
__device__ __forceinline__ float batch_weight_scale(const objective_description &objective,
                                                    const schedule_description &schedule, const train_arguments &args,
                                                    const batch_rows &batch, float *scratch) {
  float sum = 0.0f;
  for (unsigned draw = 0; draw < objective.draws; ++draw) {
    for (unsigned at = threadIdx.x; at < batch.count; at += TILE_THREADS) {
      tile_row row;
      row.local = at;
      row.number = at + (args.request ? args.row_base : 0);
      sum += weight_at(objective, schedule,
                       path_at(objective, schedule, time_of(objective, schedule, args, batch, row, draw)));
    }
  }
  scratch[threadIdx.x] = sum;
  __syncthreads();
  float total = 0.0f;
  for (int i = 0; i < TILE_THREADS; ++i) total += scratch[i];
  __syncthreads();
  return 1.0f / (total / ((float)batch.count * objective.draws) + 1e-8f);
}

// Noise e and state z_t = a z1 + b e of the lane's row, [D][32] each; a thread makes the features that it loaded of z1.
template <int D>
__device__ __forceinline__ void make_state(float *z, float *noise, const float *z1, const path_point &point,
                                           const train_arguments &args, const batch_rows &batch, const tile_row &row,
                                           unsigned draw) {
  if (!args.given_noise)
    tile_normals<D>(noise, args.seed, row.number, philox_stream(STREAM_NOISE, 0, draw), batch.step);
  for (int group = 4 * tile_warp(); group < D; group += 4 * TILE_WARPS) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int i = group + j, at = i * TILE_ROWS + tile_lane();
      if (i >= D) continue;
      if (args.given_noise) noise[at] = args.given_noise[(unsigned long long)row.local * D + i];
      z[at] = fmaf(point.a, z1[at], point.b * noise[at]);
    }
  }
}

struct row_terms {
  float flow, recon, reg;
};

// Softmax of the lane's logits: largest logit and 1/sum of exponentials. Every warp computes it for itself.
template <int D>
__device__ __forceinline__ float2 softmax_of(const float *logits) {
  float most = logits[tile_lane()], sum = 0.0f;
  for (int i = 1; i < D; ++i) most = fmaxf(most, logits[i * TILE_ROWS + tile_lane()]);
  for (int i = 0; i < D; ++i) sum += expf(logits[i * TILE_ROWS + tile_lane()] - most);
  return make_float2(most, 1.0f / sum);
}

// What all elements of a row share.
struct row_objective {
  path_point point;
  prediction_form form;
  float weight, recon_weight, reg_weight;
  float2 softmax;  // with cross-entropy: largest logit, 1/sum of exponentials
  float dot;       // with a squared error of the softmax: of its derivative by probabilities with these
};

__device__ __forceinline__ row_objective row_objective_at(const objective_description &objective,
                                                          const path_point &point, float weight) {
  row_objective row;
  const float snr_prime = point.gamma_prime * point.signal / point.noise;
  row.point = point;
  row.form = drift_form_at(objective, point, objective.reg_drift);
  row.weight = weight * point.factor;
  row.recon_weight = point.factor * (objective.recon_weighting == TERM_PLAIN  ? 1.0f
                                     : objective.recon_weighting == TERM_SAME ? weight
                                                                              : snr_prime);
  row.reg_weight = point.factor * (objective.reg_weighting == TERM_PLAIN  ? 1.0f
                                   : objective.reg_weighting == TERM_SAME ? weight
                                                                          : snr_prime);
  return row;
}

// Adds one element's part to the terms of its row; returns the gradient of the row's loss with respect to the output p.
template <int D>
__device__ __forceinline__ float objective_element(const objective_description &objective, const row_objective &row,
                                                   float p, float z, float z1, float noise, row_terms &terms) {
  if (objective.cross_entropy) {
    const float probability = expf(p - row.softmax.x) * row.softmax.y;
    if (objective.cross_entropy == 2) {
      const float error = fmaf(1.0f - objective.off_value, probability, objective.off_value) - z1;
      terms.flow = fmaf(row.weight / D * error, error, terms.flow);
      return (1.0f - objective.off_value) * probability * (2.0f * row.weight / D * error - row.dot);
    }
    const float label = z1 == 1.0f ? 1.0f : 0.0f;
    terms.flow -= row.weight * label * (p - row.softmax.x + logf(row.softmax.y));
    return row.weight * (probability - label);
  }
  const float error = p - truth_of(objective, row.point, z1, noise);
  terms.flow = fmaf(row.weight / D * error, error, terms.flow);
  float gradient = 2.0f * row.weight / D * error;
  if (objective.recon != 0.0f && !objective.recon_at_end) {
    const float miss = fmaf(row.form.xp, p, row.form.xz * z) - z1;
    terms.recon = fmaf(row.recon_weight / D * miss, miss, terms.recon);
    gradient = fmaf(objective.recon * row.recon_weight * 2.0f / D * miss, row.form.xp, gradient);
  }
  if (objective.reg != 0.0f) {
    const float field = fmaf(row.form.vp, p, row.form.vz * z);
    terms.reg = fmaf(row.reg_weight / D * field, field, terms.reg);
    gradient = fmaf(objective.reg * row.reg_weight * 2.0f / D * field, row.form.vp, gradient);
  }
  return gradient;
}

// The sum over classes of probability times the derivative of the squared error by it.
template <int D>
__device__ __forceinline__ float softmax_dot(const objective_description &objective, const row_objective &row,
                                             const float *out, const float *z1) {
  float dot = 0.0f;
  for (int i = 0; i < D; ++i) {
    const int at = i * TILE_ROWS + tile_lane();
    const float probability = expf(out[at] - row.softmax.x) * row.softmax.y;
    const float error = fmaf(1.0f - objective.off_value, probability, objective.off_value) - z1[at];
    dot = fmaf(2.0f * row.weight / D * error, probability, dot);
  }
  return dot;
}

// The terms of the lane's row (this warp's features; the caller adds the warps) and, with GRADIENT, the gradient of
// the batch mean with respect to the output: delta [LD][32] and delta_rows [32][PITCH], padding zero.
template <int D, int LD, int PITCH, bool GRADIENT>
__device__ __forceinline__ row_terms objective_terms(const objective_description &objective, const path_point &point,
                                                     float weight, float share, const float *out, const float *z,
                                                     const float *z1, const float *noise, float *delta,
                                                     float *delta_rows) {
  row_terms terms = {0.0f, 0.0f, 0.0f};
  row_objective row = row_objective_at(objective, point, weight);
  if (objective.cross_entropy) row.softmax = softmax_of<D>(out);
  if (objective.cross_entropy == 2) row.dot = softmax_dot<D>(objective, row, out, z1);
  for (int i = tile_warp(); i < LD; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    float gradient = 0.0f;
    if (i < D) gradient = objective_element<D>(objective, row, out[at], z[at], z1[at], noise[at], terms);
    if (GRADIENT) {
      // A lane without a row must not contribute, even where its weight is not finite.
      const float value = share != 0.0f ? share * gradient : 0.0f;
      delta[at] = value;
      delta_rows[tile_lane() * PITCH + i] = value;
    }
  }
  return terms;
}

// What objective_terms does, for the pass at t = 1 of a draw of its own: `recon` is the cross-entropy of the label from
// the logits `out`. A row has one such pass, and so many draws of the other terms.
template <int D, int LD, int PITCH, bool GRADIENT>
__device__ __forceinline__ row_terms end_terms(const objective_description &objective, float share, const float *out,
                                               const float *z1, float *delta, float *delta_rows) {
  row_terms terms = {0.0f, 0.0f, 0.0f};
  const float2 softmax = softmax_of<D>(out);
  for (int i = tile_warp(); i < LD; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    float gradient = 0.0f;
    if (i < D) {
      const float label = z1[at] == 1.0f ? (float)objective.draws : 0.0f;
      terms.recon -= label * (out[at] - softmax.x + logf(softmax.y));
      gradient = objective.recon * (objective.draws * expf(out[at] - softmax.x) * softmax.y - label);
    }
    if (GRADIENT) {
      const float value = share != 0.0f ? share * gradient : 0.0f;
      delta[at] = value;
      delta_rows[tile_lane() * PITCH + i] = value;
    }
  }
  return terms;
}

// Adds the warps' terms of each row; warp 0 keeps the sums of its lanes over all tiles. `scratch`: [3][128].
__device__ __forceinline__ void collect_terms(row_terms &sums, const row_terms &terms,
                                              const objective_description &objective, const tile_row &row, float share,
                                              unsigned draw, float *scratch, float *out_row_loss) {
  const int at = tile_warp() * TILE_ROWS + tile_lane();
  scratch[at] = terms.flow;
  scratch[128 + at] = terms.recon;
  scratch[256 + at] = terms.reg;
  __syncthreads();
  if (tile_warp() != 0 || !row.live) return;
  row_terms total = {0.0f, 0.0f, 0.0f};
  for (int warp = 0; warp < TILE_WARPS; ++warp) {
    total.flow += scratch[warp * TILE_ROWS + tile_lane()];
    total.recon += scratch[128 + warp * TILE_ROWS + tile_lane()];
    total.reg += scratch[256 + warp * TILE_ROWS + tile_lane()];
  }
  sums.flow = fmaf(share, total.flow, sums.flow);
  sums.recon = fmaf(share, total.recon, sums.recon);
  sums.reg = fmaf(share, total.reg, sums.reg);
  if (out_row_loss) {
    const float loss = (total.flow + objective.recon * total.recon + objective.reg * total.reg) / objective.draws;
    float *to = out_row_loss + row.local;
    *to = draw ? *to + loss : loss;
  }
}

// The slot's tail: sums over its rows. A slot without rows gets zeros everywhere, so that the reduction may add it.
__device__ __forceinline__ void finish_slot(const train_arguments &args, const objective_description &objective,
                                            const row_terms &sums, unsigned gradients, bool empty) {
  float *const slot = args.slots + blockIdx.x * args.slot_stride;
  if (empty)
    for (unsigned i = threadIdx.x; i < gradients; i += TILE_THREADS) slot[i] = 0.0f;
  if (warp_of_block() != 0) return;
  const float flow = warp_sum(sums.flow), recon = warp_sum(sums.recon), reg = warp_sum(sums.reg);
  if (lane_of_warp() < SLOT_TERMS) {
    const float loss = flow + objective.recon * recon + objective.reg * reg;
    const int i = lane_of_warp();
    slot[args.slot_stride - SLOT_TERMS + i] = i == SLOT_LOSS    ? loss
                                              : i == SLOT_FLOW  ? flow
                                              : i == SLOT_RECON ? recon
                                              : i == SLOT_REG   ? reg
                                                                : 0.0f;
  }
}
