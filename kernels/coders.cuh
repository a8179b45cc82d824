// Encoders and decoders in the tile programs: the clean latent, what is decoded, errors of decoded targets, and
// gradients between them (design page "mathematics", section 2; survey 1.4, 2.5 and 7). Only kernels that need it
// include this.
//
// y [Y][32] is the target; z1 [D][32] the clean latent: y itself, the encoder's result, or mu + exp(logvar/2) n.
#pragma once

#include "objective.cuh"

// Log variances stay in this interval (survey P-12): outside it the exponential has no meaning in float32.
#define LOG_VARIANCE_LEAST (-30.0f)
#define LOG_VARIANCE_MOST 20.0f

__device__ __forceinline__ float clamped_log_variance(float value) {
  return fminf(fmaxf(value, LOG_VARIANCE_LEAST), LOG_VARIANCE_MOST);
}

// Noise of a row that belongs to its latent: layer 0 the encoder's, layer 1 what is left at t = 1.
template <int D, typename Use>
__device__ __forceinline__ void for_latent_normals(const train_arguments &args, const batch_rows &batch,
                                                   const tile_row &row, unsigned layer, unsigned draw, Use use) {
  for (int i = 4 * tile_warp(); i < D; i += 4 * TILE_WARPS) {
    const float4 normals =
        normal4(philox(args.seed, i / 4, row.number, philox_stream(STREAM_ENCODER_NOISE, layer, draw), batch.step));
    use(i, normals.x);
    if (i + 1 < D) use(i + 1, normals.y);
    if (i + 2 < D) use(i + 2, normals.z);
    if (i + 3 < D) use(i + 3, normals.w);
  }
}

// z1 from the encoder's result: as it is [D], or mean and log variance [2 D]; spread = exp(logvar/2) n.
template <int D, bool NORMAL>
__device__ __forceinline__ void make_latent(float *z1, float *spread, const float *encoded, const train_arguments &args,
                                            const batch_rows &batch, const tile_row &row) {
  if (!NORMAL) {
    for (int i = tile_warp(); i < D; i += TILE_WARPS)
      z1[i * TILE_ROWS + tile_lane()] = encoded[i * TILE_ROWS + tile_lane()];
  } else {
    for_latent_normals<D>(args, batch, row, 0, 0, [&](int i, float normal) {
      const int at = i * TILE_ROWS + tile_lane();
      const float value = expf(0.5f * clamped_log_variance(encoded[D * TILE_ROWS + at])) * normal;
      spread[at] = value;
      z1[at] = encoded[at] + value;
    });
  }
  __syncthreads();
}

// KL(q(z0 | y) | N(0, I)) in nats, this warp's features: 1/2 sum of ab mu^2 + w - ln(1 + w) with w = ab (s^2 - 1), ab
// the signal at t = 0 (survey 1.4; s = 0 without a Gaussian encoder, where mu is z1).
template <int D, bool NORMAL>
__device__ __forceinline__ float kl_of_start(const path_point &start, const float *encoded) {
  float sum = 0.0f;
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    const float variance = NORMAL ? expf(clamped_log_variance(encoded[D * TILE_ROWS + at])) : 0.0f;
    const float w = start.signal * (variance - 1.0f);
    sum += 0.5f * fmaf(start.signal * encoded[at], encoded[at], w - log1pf(w));
  }
  return sum;
}

// Half the latent's square, this warp's features: what two earlier systems call KL (D-10).
template <int D>
__device__ __forceinline__ float half_norm(const float *latent) {
  float sum = 0.0f;
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const float value = latent[i * TILE_ROWS + tile_lane()];
    sum = fmaf(0.5f * value, value, sum);
  }
  return sum;
}

// a(1) z1 + b(1) n: what the decoder is given in the vae term.
template <int D>
__device__ __forceinline__ void latent_at_end(float *decoded, const float *z1, const path_point &end,
                                              const train_arguments &args, const batch_rows &batch, const tile_row &row,
                                              unsigned draw) {
  for_latent_normals<D>(args, batch, row, 1, draw, [&](int i, float normal) {
    const int at = i * TILE_ROWS + tile_lane();
    decoded[at] = fmaf(end.a, z1[at], end.b * normal);
  });
}

// The predicted target: what the decoder is given in the reconstruction term.
template <int D>
__device__ __forceinline__ void latent_predicted(float *decoded, const float *out, const float *z,
                                                 const prediction_form &form) {
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    decoded[at] = fmaf(form.xp, out[at], form.xz * z[at]);
  }
}

enum coder_error {
  ERROR_SQUARED,        // mean over Y of (y^ - y)^2
  ERROR_CROSS_ENTROPY,  // -ln softmax(y^) at the label: from logits, whatever the decoder's output
  ERROR_LOG             // -mean over Y of y ln(y^ + 1e-8)
};

// The error of a decoded target (this warp's features) and, with GRADIENT, `share` times its derivative by what the
// decoder's last layer made: delta [LD][32] and, if wanted, delta_rows [32][PITCH], padding zero.
template <int Y, int LD, int PITCH, int ERROR, bool SOFTMAX, bool GRADIENT>
__device__ __forceinline__ float decoded_error(const float *made, const float *y, float share, float *delta,
                                               float *delta_rows) {
  const bool normalised = SOFTMAX || ERROR == ERROR_CROSS_ENTROPY;
  float2 softmax = make_float2(0.0f, 0.0f);
  if (normalised) softmax = softmax_of<Y>(made);
  float dot = 0.0f;  // of a derivative by probabilities with the probabilities
  if (SOFTMAX && ERROR != ERROR_CROSS_ENTROPY && GRADIENT)
    for (int i = 0; i < Y; ++i) {
      const int at = i * TILE_ROWS + tile_lane();
      const float q = expf(made[at] - softmax.x) * softmax.y;
      dot = fmaf(ERROR == ERROR_LOG ? -y[at] / (q + 1e-8f) : 2.0f * (q - y[at]), q, dot);
    }
  float error = 0.0f;
  for (int i = tile_warp(); i < LD; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    float gradient = 0.0f;
    if (i < Y && ERROR == ERROR_CROSS_ENTROPY) {
      const float label = y[at] == 1.0f ? 1.0f : 0.0f;
      error -= label * (made[at] - softmax.x + logf(softmax.y));
      gradient = expf(made[at] - softmax.x) * softmax.y - label;
    } else if (i < Y) {
      const float value = SOFTMAX ? expf(made[at] - softmax.x) * softmax.y : made[at];
      if (ERROR == ERROR_LOG) {
        error -= y[at] * logf(value + 1e-8f);
        gradient = -y[at] / (value + 1e-8f);
      } else {
        const float miss = value - y[at];
        error = fmaf(miss, miss, error);
        gradient = 2.0f * miss;
      }
      if (SOFTMAX) gradient = value * (gradient - dot);
      gradient /= Y;
    }
    if (GRADIENT) {
      const float value = share != 0.0f ? share * gradient : 0.0f;
      delta[at] = value;
      if (delta_rows) delta_rows[tile_lane() * PITCH + i] = value;
    }
  }
  return ERROR == ERROR_CROSS_ENTROPY ? error : error / Y;
}

// What a pass's decoder says of its latent, on to the state (predicted target) or to the clean latent (vae).
template <int D>
__device__ __forceinline__ void pull_from_decoder(bool recon, const prediction_form &form, float end_a,
                                                  const float *decoded_gradient, float *state_gradient,
                                                  float *target_gradient) {
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    if (recon)
      state_gradient[at] = fmaf(form.xz, decoded_gradient[at], state_gradient[at]);
    else
      target_gradient[at] = fmaf(end_a, decoded_gradient[at], target_gradient[at]);
  }
}

// ... and to the network's output.
template <int D, int PITCH>
__device__ __forceinline__ void add_decoded_gradient(const prediction_form &form, const float *decoded_gradient,
                                                     float *delta, float *delta_rows) {
  for (int i = tile_warp(); i < D; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    const float value = fmaf(form.xp, decoded_gradient[at], delta[at]);
    delta[at] = value;
    delta_rows[tile_lane() * PITCH + i] = value;
  }
}

// From the clean latent's gradient (all draws, and kl_z0 with `kl_share`) to that of the encoder's last layer.
template <int D, int LD, int PITCH, bool NORMAL, bool KL>
__device__ __forceinline__ void encoder_gradient(const float *target_gradient, const float *encoded,
                                                 const float *spread, float signal, float kl_share, float *delta,
                                                 float *delta_rows) {
  for (int i = tile_warp(); i < LD; i += TILE_WARPS) {
    const int at = i * TILE_ROWS + tile_lane();
    float value = 0.0f;
    if (i < D) {
      value = target_gradient[at];
      if (KL) value = fmaf(kl_share * signal, encoded[at], value);
    } else if (NORMAL && i < 2 * D) {
      const int mean = at - D * TILE_ROWS;
      const float log_variance = encoded[at];
      value = 0.5f * target_gradient[mean] * spread[mean];
      if (KL) {
        const float variance = expf(clamped_log_variance(log_variance)), w = signal * (variance - 1.0f);
        value += kl_share * 0.5f * signal * variance * w / (1.0f + w);
      }
      if (log_variance < LOG_VARIANCE_LEAST || log_variance > LOG_VARIANCE_MOST) value = 0.0f;
    }
    delta[at] = value;
    delta_rows[tile_lane() * PITCH + i] = value;
  }
}

struct coder_terms {
  float recon, vae, kl;
};

// Adds the warps' terms of each row, as collect_terms does (after it, with a scratch [3][128] of its own).
__device__ __forceinline__ void collect_coder_terms(coder_terms &sums, const coder_terms &terms,
                                                    const coder_terms &weights, const objective_description &objective,
                                                    const tile_row &row, float share, float *scratch,
                                                    float *out_row_loss) {
  const int at = tile_warp() * TILE_ROWS + tile_lane();
  scratch[at] = terms.recon;
  scratch[128 + at] = terms.vae;
  scratch[256 + at] = terms.kl;
  __syncthreads();
  if (tile_warp() != 0 || !row.live) return;
  coder_terms total = {0.0f, 0.0f, 0.0f};
  for (int warp = 0; warp < TILE_WARPS; ++warp) {
    total.recon += scratch[warp * TILE_ROWS + tile_lane()];
    total.vae += scratch[128 + warp * TILE_ROWS + tile_lane()];
    total.kl += scratch[256 + warp * TILE_ROWS + tile_lane()];
  }
  sums.recon = fmaf(share, total.recon, sums.recon);
  sums.vae = fmaf(share, total.vae, sums.vae);
  sums.kl = fmaf(share, total.kl, sums.kl);
  if (out_row_loss)
    out_row_loss[row.local] +=
        (weights.recon * total.recon + weights.vae * total.vae + weights.kl * total.kl) / objective.draws;
}

// After finish_slot: the slot's further terms, and the loss with them. `recon`: the reconstruction is one of them.
__device__ __forceinline__ void finish_coder_terms(const train_arguments &args, const coder_terms &sums,
                                                   const coder_terms &weights, bool recon) {
  if (warp_of_block() != 0) return;
  float *const tail = args.slots + blockIdx.x * args.slot_stride + args.slot_stride - SLOT_TERMS;
  const coder_terms total = {warp_sum(sums.recon), warp_sum(sums.vae), warp_sum(sums.kl)};
  __syncwarp();
  if (lane_of_warp() != 0) return;
  tail[SLOT_LOSS] += weights.recon * total.recon + weights.vae * total.vae + weights.kl * total.kl;
  if (recon) tail[SLOT_RECON] = total.recon;
  tail[SLOT_VAE] = total.vae;
  tail[SLOT_KL_Z0] = total.kl;
}
