/* Inside a model: what checkpoints, training, evaluation and sampling share. */
#ifndef ENGINE_MODEL_H
#define ENGINE_MODEL_H

#include "noprop/model.h"

/* ---- training state as named arrays ----
 *
 * Everything that a checkpoint has to hold beside the configuration's text and the shape. A model created from the same
 * configuration and shape has the same arrays in the same order; after all of them have been set from another model's
 * it predicts and, once the same rows are bound, trains on with the same bits. parameters/NAME  float32   the
 * parameter, [in][out] or [n] average/NAME     float32   only with optimizer.ema > 0 moment1/NAME     float32   adam,
 * adamw: first moment; sgd with momentum: its buffer moment2/NAME     float32   adam, adamw: second moment; adagrad:
 * sum of squares statistics/condition_mean, condition_std [C], target_mean, target_std [Y]   float32; not for labels
 *   training/progress float64  position (optimizer steps done) and the sums since the last noprop_model_train_metrics
 */
struct model_state {
  char name[80];
  noprop_type type; /* FLOAT32 or FLOAT64 */
  int rank;         /* 1 or 2 */
  long shape[2];
  long values; /* product of the shape */
};

int model_state_count(const noprop_model *model);
/* `index` from 0 to model_state_count - 1. */
struct model_state model_state_at(const noprop_model *model, int index);
/* Copies one array out (waits for the device) or in. `values` has model_state_at(index).values elements of its type. */
noprop_status model_state_get(noprop_model *model, int index, void *values);
noprop_status model_state_set(noprop_model *model, int index, const void *values);

#endif
