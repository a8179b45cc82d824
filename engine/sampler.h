/* A solve, from options to launches; shared by predictions, samples and metrics. */
#ifndef ENGINE_SAMPLER_H
#define ENGINE_SAMPLER_H

#include "engine/model.h"
#include "noprop/sampler.h"

/* What the options came to. */
struct sampler_plan {
  int method, grid, init, drift; /* enums of options.h, nothing left at auto */
  struct solve_form form;        /* what the kernel is compiled for */
  bool final_denoise, average, trajectory;
  bool reverse;     /* from data to noise */
  int steps, calls; /* calls: of the network per row, in all; adaptive methods: at most */
  int max_steps;    /* adaptive methods: attempts of a row */
  int probes;
  double churn, guidance, rtol, atol;
  uint64_t seed;
};

/* Fails with a sentence that names the option, the value and what is allowed. */
noprop_status sampler_resolve(const noprop_model *model, const noprop_sampler_options *options,
                              struct sampler_plan *plan);
/* The same for a solve with log densities, or without. */
noprop_status sampler_resolve_density(const noprop_model *model, const noprop_sampler_options *options, bool density,
                                      struct sampler_plan *plan);

/* A plan with its kernel and device memory. Memory is from the model's pool: between model_call_begin and
 * model_call_end. */
struct solve {
  struct sampler_plan plan;
  struct model_kernel *kernel;
  struct model_rows condition;
  const float *start; /* host, [rows][d]; NULL: drawn or zero */
  long rows, chunk;   /* in all; in one launch */
  CUdeviceptr condition_memory, start_memory, times, latent, output, workspace; /* 0 where not used */
  CUdeviceptr density, records;
  CUdeviceptr schedule_rows; /* a trained monotone network: its table */
  int schedule_knots;
  double schedule_mix;
  train_arguments images; /* models with a convolutional branch: its rows, and where their features go */
  branch_arguments branch;
  struct staged_run staged;    /* staged fields */
  image_coder_arguments coder; /* models with a convolutional decoder */
};

/* `options` gives the times of grid "user". latent, output: whether they are wanted. */
noprop_status solve_prepare(noprop_model *model, const struct sampler_plan *plan, const noprop_sampler_options *options,
                            const struct model_rows *condition, const float *start, long rows, bool latent, bool output,
                            struct solve *solve);
/* One launch (models with a convolutional branch or decoder: and those of these) for rows first .. first + count - 1
 * (count
 * <= chunk); results stand in solve->latent and solve->output. */
noprop_status solve_run(noprop_model *model, const struct solve *solve, long first, long count);

#endif
