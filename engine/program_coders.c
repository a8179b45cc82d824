/* Code generation for what lies around the network: encoder (target to clean latent) and decoder (latent to target),
 * the terms of the loss that go through them (reconstruction, vae, kl_z0), and decoded solves. Nothing of this is in
 * the kernels of models without; the device functions are in kernels/coders.cuh. */
#include <string.h>

#include "engine/image_coder.h"
#include "engine/program_plan.h"

/* The pass over a tile's decoder: first the clean latent with the noise left at t = 1, then the predicted target. */
enum { PASS_VAE, PASS_RECON };

void plan_coders(struct plan *plan) {
  const struct network *network = plan->network;
  const struct settings *settings = plan->settings;
  struct coder_plan *coders = &plan->coders;
  const int recon = settings->loss.recon.type, total = network_total_ops(network);
  *coders =
      (struct coder_plan){.encoder = !plan->solve && network->encoder_count > 0,
                          .normal = network->encoder_normal,
                          .decoder = network->decoder_count > 0 || settings->decoder.output == DECODER_OUTPUT_SOFTMAX,
                          .y = NOWHERE,
                          .spread = NOWHERE,
                          .decoded = NOWHERE,
                          .decoded_gradient = NOWHERE,
                          .turns = {NOWHERE, NOWHERE}};
  if (plan->solve) return;
  /* Where target and latent are one and nothing is decoded, the objective has the reconstruction itself. */
  coders->recon = recon != RECON_NONE && recon != RECON_END_LOGITS && settings->loss.recon.weight > 0 &&
                  (coders->encoder || coders->decoder || recon != RECON_MSE);
  coders->vae = settings->loss.vae > 0;
  coders->images = image_coder_is(network);
  coders->kl = settings->loss.kl_z0 > 0;
  for (int i = network->encoder_first; i < total; ++i)
    if (plan_round_up8(network->ops[i].width) > coders->widest) coders->widest = plan_round_up8(network->ops[i].width);
  if ((coders->recon || coders->vae) && !coders->images) {
    const int target = plan_round_up8(network->target_width);
    if (target > coders->widest) coders->widest = target;
  }
}

bool plan_has_coder_terms(const struct plan *plan) { return plan->coders.recon || plan->coders.vae || plan->coders.kl; }

static bool decodes(const struct plan *plan) {
  return (plan->coders.recon || plan->coders.vae) && !plan->coders.images;
}

void plan_place_coders(struct plan *plan) {
  const struct network *network = plan->network;
  struct coder_plan *coders = &plan->coders;
  const int encoder_end = network->encoder_first + network->encoder_count;
  const int decoder_end = network->decoder_first + network->decoder_count;
  coders->y = plan->solve ? NOWHERE : coders->encoder ? plan_allocate_tile(plan, network->target_width) : plan->z1;
  if (coders->encoder && coders->normal) coders->spread = plan_allocate_tile(plan, plan->d);
  if (plan->solve) {
    coders->decoded = plan->z;
  } else if (decodes(plan)) {
    coders->decoded = plan_allocate_tile(plan, plan->d);
    if (plan->backward) coders->decoded_gradient = plan_allocate_tile(plan, plan->d);
  }
  if (plan->backward) {
    if (coders->encoder) {
      plan_allocate_kept(plan, POST, network->encoder_first, encoder_end - 1);
      plan_allocate_kept(plan, SLOPE, network->encoder_first, encoder_end - 1);
    }
    if (decodes(plan) && network->decoder_count > 0) {
      plan_allocate_kept(plan, POST, network->decoder_first, decoder_end - 1);
      plan_allocate_kept(plan, SLOPE, network->decoder_first, decoder_end - 1);
    }
  } else if (coders->encoder || network->decoder_count > 0) {
    int widest = 0;
    for (int i = network->encoder_first; i < decoder_end; ++i)
      if (network->ops[i].width > widest) widest = network->ops[i].width;
    for (int i = 0; i < 2; ++i) coders->turns[i] = plan_allocate_tile(plan, widest);
    for (int i = network->encoder_first; i < decoder_end; ++i) plan->ops[i].at[POST] = coders->turns[i % 2];
  }
  for (int i = network->encoder_first; i < decoder_end; ++i) plan_place_inputs(plan, i);
}

/* ---- text ---- */

/* What the decoder made: its last layer's result, or the latent itself. */
static struct text decoded_text(const struct plan *plan) {
  const struct network *network = plan->network;
  if (network->decoder_count == 0) return plan_place_text(plan->coders.decoded, 0);
  return plan_place_text(plan->ops[network->decoder_first + network->decoder_count - 1].at[POST], 0);
}

static void emit_decoder(struct plan *plan) {
  const struct network *network = plan->network;
  if (network->decoder_count > 0)
    plan_emit_forward(plan, network->decoder_first, network->decoder_first + network->decoder_count - 1);
}

void plan_emit_coders_begin(struct plan *plan) {
  if (plan_has_coder_terms(plan)) plan_emit(plan, "  coder_terms coder_sums = {0.0f, 0.0f, 0.0f};\n");
  if (plan->coders.images) return;
  if ((plan->coders.vae || plan->coders.kl) && plan_trains_network(plan)) /* whatever it is, its ends are the same */
    plan_emit(plan,
              "  const path_point path_start = path_of_network(schedule, 0.0f, 0.0f, 0.0f), path_end = "
              "path_of_network(schedule, 1.0f, 0.0f, 0.0f);\n");
  else if (plan->coders.vae || plan->coders.kl)
    plan_emit(plan,
              "  const path_point path_start = path_at(objective, schedule, 0.0f), path_end = path_at(objective, "
              "schedule, 1.0f);\n");
}

void plan_emit_encode(struct plan *plan) {
  const struct network *network = plan->network;
  const struct coder_plan *coders = &plan->coders;
  const int last = network->encoder_first + network->encoder_count - 1;
  if (coders->images)
    plan_emit(plan, "  write_rows<%d>(args.out_latent, %s, row.local, row.live);\n", plan->d,
              plan_place_text(plan->z1, 0).s);
  if (coders->encoder) {
    plan_emit(plan, "  __syncthreads();\n");
    plan_emit_forward(plan, network->encoder_first, last);
    plan_emit(plan, "  make_latent<%d, %s>(%s, ", plan->d, coders->normal ? "true" : "false",
              plan_place_text(plan->z1, 0).s);
    plan_emit(plan, "%s, ", coders->normal ? plan_place_text(coders->spread, 0).s : "nullptr");
    plan_emit(plan, "%s, args, batch, row);\n", plan_place_text(plan->ops[last].at[POST], 0).s);
    plan_emit(plan, "  write_rows<%d>(args.out_latent, %s, row.local, row.live);\n", plan->d,
              plan_place_text(plan->z1, 0).s);
  }
  if (coders->kl) {
    const struct place mean = coders->encoder ? plan->ops[last].at[POST] : plan->z1;
    if (plan->settings->loss.kl_form == KL_NORM)
      plan_emit(plan, "  const float kl = half_norm<%d>(%s);\n", plan->d, plan_place_text(mean, 0).s);
    else
      plan_emit(plan, "  const float kl = kl_of_start<%d, %s>(path_start, %s);\n", plan->d,
                coders->encoder && coders->normal ? "true" : "false", plan_place_text(mean, 0).s);
  }
}

/* The kind of error that a pass has: enum coder_error of coders.cuh. */
static const char *error_of(const struct plan *plan) {
  switch (plan->settings->loss.recon.type) {
    case RECON_CROSS_ENTROPY:
      return "ERROR_CROSS_ENTROPY";
    case RECON_LOG:
      return "ERROR_LOG";
    default:
      return "ERROR_SQUARED";
  }
}

void plan_emit_decode_terms(struct plan *plan, int output) {
  const struct network *network = plan->network;
  const struct settings *settings = plan->settings;
  const struct coder_plan *coders = &plan->coders;
  const int target = network->target_width, target8 = plan_round_up8(target);
  const struct text decoded = plan_place_text(coders->decoded, 0);
  if (coders->images) { /* once per row, whatever the number of draws */
    plan_emit(plan,
              "  const coder_terms coded = {0.0f, draw == 0 && tile_warp() == 0 ? objective.draws * "
              "args.image_losses[row.local] : 0.0f, 0.0f};\n");
    return;
  }
  if (plan_has_coder_terms(plan))
    plan_emit(plan, "  coder_terms coded = {0.0f, 0.0f, %s};\n",
              !coders->kl                   ? "0.0f"
              : plan_has_end_pass(settings) ? "at_end ? 0.0f : kl"
                                            : "kl");
  if (!decodes(plan)) return;
  const struct text gradient = plan->backward ? plan_place_text(coders->decoded_gradient, 0) : (struct text){"nullptr"};
  plan_emit(plan, "  const row_objective coded_row = row_objective_at(objective, point, %s);\n",
            plan_weight_text(plan).s);
  const bool ends = plan->backward && plan_trains_ends(plan);
  if (ends) plan_emit(plan, "  float vae_slope = 0.0f;\n");
  plan_emit(plan, "#pragma unroll 1\n  for (int pass = %d; pass <= %d; ++pass) {\n",
            coders->vae ? PASS_VAE : PASS_RECON, coders->recon ? PASS_RECON : PASS_VAE);
  if (coders->vae) {
    plan_emit(plan, "  if (pass == %d) latent_at_end<%d>(%s, ", PASS_VAE, plan->d, decoded.s);
    plan_emit(plan, "%s, path_end, args, batch, row, draw);\n", plan_place_text(plan->z1, 0).s);
  }
  if (coders->recon) {
    plan_emit(plan, "  if (pass == %d) latent_predicted<%d>(%s, ", PASS_RECON, plan->d, decoded.s);
    plan_emit(plan, "%s, ", plan_place_text(plan->ops[output].at[POST], 0).s);
    plan_emit(plan, "%s, coded_row.form);\n", plan_place_text(plan->z, 0).s);
  }
  plan_emit(plan, "  __syncthreads();\n");
  emit_decoder(plan);
  plan_emit(plan, "  const float pass_weight = pass == %d ? coded_row.recon_weight : 1.0f;\n", PASS_RECON);
  plan_emit(plan, "  const float pass_share = share * pass_weight * (pass == %d ? %s : ", PASS_RECON,
            plan_float_text(settings->loss.recon.weight).s);
  plan_emit(plan, "%s);\n", plan_float_text(settings->loss.vae).s);
  plan_emit(plan, "  const float pass_error = pass_weight * decoded_error<%d, %d, %d, %s, %s, %s>(%s, ", target,
            target8, target8 + 1, error_of(plan), settings->decoder.output == DECODER_OUTPUT_SOFTMAX ? "true" : "false",
            plan->backward ? "true" : "false", decoded_text(plan).s);
  plan_emit(plan, "%s, pass_share, ", plan_place_text(coders->y, 0).s);
  if (!plan->backward)
    plan_emit(plan, "nullptr, nullptr);\n");
  else if (network->decoder_count == 0)
    plan_emit(plan, "%s, nullptr);\n", gradient.s);
  else
    plan_emit(plan, "delta, delta_rows);\n");
  plan_emit(plan, "  if (pass == %d) coded.recon = pass_error;\n  else coded.vae = pass_error;\n  __syncthreads();\n",
            PASS_RECON);
  if (plan->backward) {
    if (network->decoder_count > 0) {
      plan->again = coders->vae && coders->recon ? "again || draw || pass" : "again || draw";
      plan_emit_backward(plan, network->decoder_first, network->decoder_first + network->decoder_count - 1);
    }
    if (plan->state) {
      plan_emit(plan, "  pull_from_decoder<%d>(pass == %d, coded_row.form, %s, ", plan->d, PASS_RECON,
                coders->vae ? "path_end.a" : "0.0f");
      plan_emit(plan, "%s, %s, ", gradient.s, plan_place_text(plan->state_gradient, 0).s);
      plan_emit(plan, "%s);\n", plan_place_text(plan->target_gradient, 0).s);
    }
    if (ends) {
      plan_emit(plan, "  if (pass == %d) vae_slope = vae_end_slope<%d>(%s, ", PASS_VAE, plan->d, gradient.s);
      plan_emit(plan, "%s, path_end, args, batch, row, draw);\n", plan_place_text(plan->z1, 0).s);
    }
  }
  plan_emit(plan, "  }\n");
}

void plan_emit_kl_end_slope(struct plan *plan) {
  const struct network *network = plan->network;
  const struct coder_plan *coders = &plan->coders;
  const struct place mean =
      coders->encoder ? plan->ops[network->encoder_first + network->encoder_count - 1].at[POST] : plan->z1;
  plan_emit(plan, "draw == 0 ? share * objective.draws * %s * kl_end_slope<%d, ",
            plan_float_text(plan->settings->loss.kl_z0).s, plan->d);
  plan_emit(plan, "%s>(schedule, %s) : 0.0f", coders->encoder && coders->normal ? "true" : "false",
            plan_place_text(mean, 0).s);
}

void plan_emit_coder_output_gradient(struct plan *plan) {
  if (!plan->coders.recon || !plan->backward) return;
  plan_emit(plan, "  add_decoded_gradient<%d, %d>(coded_row.form, %s, delta, delta_rows);\n", plan->d, plan->d8 + 1,
            plan_place_text(plan->coders.decoded_gradient, 0).s);
}

/* "recon, vae, kl" as they are weighted. */
static void emit_weights(struct plan *plan) {
  const struct settings *settings = plan->settings;
  plan_emit(plan, "%s, ", plan_float_text(plan->coders.recon ? settings->loss.recon.weight : 0).s);
  plan_emit(plan, "%s, %s", plan_float_text(settings->loss.vae).s, plan_float_text(settings->loss.kl_z0).s);
}

void plan_emit_collect_coders(struct plan *plan) {
  if (!plan_has_coder_terms(plan)) return;
  plan_emit(plan, "  collect_coder_terms(coder_sums, coded, {");
  emit_weights(plan);
  plan_emit(plan, "}, objective, row, share, %s + %d, args.out_row_loss);\n", plan_place_text(plan->scratch, 0).s,
            SCRATCH_FLOATS);
}

void plan_emit_encoder_backward(struct plan *plan) {
  const struct network *network = plan->network;
  const struct coder_plan *coders = &plan->coders;
  if (!coders->encoder || !plan->backward) return;
  const int last = network->encoder_first + network->encoder_count - 1, width = network->ops[last].width;
  plan_emit(plan, "  __syncthreads();\n  encoder_gradient<%d, %d, %d, %s, %s>(", plan->d, plan_round_up8(width),
            plan_round_up8(width) + 1, coders->normal ? "true" : "false", coders->kl ? "true" : "false");
  plan_emit(plan, "%s, %s, ", plan_place_text(plan->target_gradient, 0).s,
            plan_place_text(plan->ops[last].at[POST], 0).s);
  plan_emit(plan, "%s, %s, ", coders->normal ? plan_place_text(coders->spread, 0).s : "nullptr",
            !coders->kl                               ? "0.0f"
            : plan->settings->loss.kl_form == KL_NORM ? "1.0f"
                                                      : "path_start.signal");
  plan_emit(plan, "share * objective.draws * %s, delta, delta_rows);\n  __syncthreads();\n",
            plan_float_text(plan->settings->loss.kl_z0).s);
  plan->again = network->mixture ? "true" : "again"; /* the classes' vectors have been mixed before */
  plan_emit_backward(plan, network->encoder_first, last);
}

void plan_emit_coders_end(struct plan *plan) {
  if (!plan_has_coder_terms(plan)) return;
  plan_emit(plan, "  finish_coder_terms(args, coder_sums, {");
  emit_weights(plan);
  plan_emit(plan, "}, %s);\n", plan->coders.recon ? "true" : "false");
}

/* Of a network that mixes classes: how likely it holds each at the state, at t = 1. */
static void emit_class_writer(struct plan *plan) {
  const struct network *network = plan->network;
  const int logits = network->op_count - 2;
  plan_emit(plan, "  const auto write = [&](unsigned slice) {\n  __syncthreads();\n");
  plan_emit(
      plan,
      "  for (int i = tile_warp(); i < %d; i += TILE_WARPS) input[i * TILE_ROWS + tile_lane()] = z[i * TILE_ROWS + "
      "tile_lane()];\n  const float t = 1.0f - objective.time_margin;\n",
      plan->d);
  if (!plan->row_times)
    plan_emit_time_parts(plan);
  else if (network->time_width)
    plan_emit(plan, "  time_tile<%d, %d>(%s, args.frequencies, t);\n", network->time_kind, network->time_width,
              plan_place_text(plan->time, 0).s);
  plan_emit(plan, "  __syncthreads();\n");
  plan_emit_forward(plan, plan->x_last + 1, logits);
  plan_emit(plan, "  write_decoded<%d, %d, true>(args, z, %s, row, live, slice);\n  __syncthreads();\n  };\n", plan->d,
            network->ops[logits].width, plan_place_text(plan->ops[logits].at[POST], 0).s);
}

void plan_emit_decoding_writer(struct plan *plan) {
  const int target = plan->network->target_width;
  if (plan->network->mixture) {
    emit_class_writer(plan);
    return;
  }
  plan_emit(plan, "  const auto write = [&](unsigned slice) {\n  __syncthreads();\n");
  emit_decoder(plan);
  plan_emit(plan, "  write_decoded<%d, %d, %s>(args, z, %s, row, live, slice);\n  __syncthreads();\n  };\n", plan->d,
            target, plan->settings->decoder.output == DECODER_OUTPUT_SOFTMAX ? "true" : "false", decoded_text(plan).s);
}
