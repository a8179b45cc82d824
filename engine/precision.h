/* Which arithmetic a model's kernels use: what tensor cores can take, and what `precision: auto` stands for. */
#ifndef ENGINE_PRECISION_H
#define ENGINE_PRECISION_H

#include "engine/device.h"
#include "engine/network.h"
#include "engine/settings.h"

/* Why the tensor-core kernels of `precision` (tf32x3, tf32 or bf16) cannot take this model on a device of this compute
 * capability: the rest of a sentence ("needs compute capability 8.0 or later, ..."), or NULL if they can. The text is
 * the calling thread's, good until its next call. A feature that has no tensor-core kernels is named here and nowhere
 * else. */
const char *precision_refusal(const struct network *network, const struct settings *settings,
                              const int compute_capability[2], int precision);

/* Puts fp32, tf32x3, tf32 or bf16 for settings->precision and decides the layout of the weights' fragments; `reason`
 * receives why that was taken. auto takes tf32 where there are tensor cores and kernels for the model, else fp32. fp32
 * stands for tf32x3, which is as exact, on GPUs where it was counted to be faster (docs/three_tf32.md) and has kernels
 * for the model; never on the virtual GPU. The environment variable NOPROP_FP32 ("fma" or "tf32x3") decides that
 * instead, for tests and measurements; with a convolutional branch tf32 and bf16 are those of its convolutions
 * (network->branch_form) and what follows the branch is fp32; another value is NOPROP_INVALID_ARGUMENT. A precision
 * that is asked for and cannot be had is an error. */
noprop_status precision_resolve(const noprop_device *device, struct network *network, struct settings *settings,
                                char *reason, size_t reason_size);

#endif
