/* Variant dt: blocks of separate weights on a grid of noise levels (design page "mathematics", section 5).
 *
 * Levels 0 .. T are those of the schedule at t = k/T. Block k, from 1 to T, sees z_(k-1) ~ N(sqrt(ab_(k-1)) z1, (1 -
 * ab_(k-1)) I) and predicts z1. Blocks share nothing: their gradients stand in parts of their own, each is updated (and
 * with optimizer.clip clipped) by itself, and a step may train them in one launch or in several with the same bits.
 *
 * On labels the last state feeds a linear classifier, trained like a block on z_T ~ q(.|z1) by its cross-entropy.
 * Labels become vectors by latent.embedding: one-hot, fixed orthonormal, prototypes, or learned (with gradients from
 * all blocks, summed).
 *
 * dt.form notebook is an earlier system (survey 2.8): block k sees z_k, levels fall from clean to noisy, weights are
 * differences of a SNR that falls, the last block's prediction feeds the classifier and is trained with it, and a solve
 * goes from prediction to prediction.
 *
 * program_dt.c     kernels that train and that solve
 * model_dt.c       memory and launches
 * dt_embedding.c   orthonormal vectors
 * dt_prototypes.c  rows of the data as vectors */
#ifndef ENGINE_DT_H
#define ENGINE_DT_H

#include "engine/model.h"

enum { DT_MAX_BLOCKS = 200 };

/* Block k at [k - 1]. */
struct dt_level {
  double a, b;       /* of its state: sqrt(ab_(k-1)), sqrt(1 - ab_(k-1)) */
  double weight;     /* d eta/2 (SNR_k - SNR_(k-1)): of the squared error divided by d; notebook: without d */
  double keep, gain; /* the bridge to level k (survey 1.1): mean keep z + gain target, and its standard deviation */
  double deviation;
};
/* [settings->dt.blocks + 1]; of the last one a and b alone, of the state behind all blocks. */
noprop_status dt_levels(const struct settings *settings, int latent, struct dt_level *levels);

/* ---- memory and launches (model_dt.c) ---- */

/* Parts of a model: its blocks and, on labels, the classifier behind them. */
unsigned dt_parts(const struct network *network);
/* Floats of a part's tail in one slot, and blocks of threads that update all parts. */
unsigned dt_tail_stride(const struct network *network);
unsigned dt_update_blocks(const struct network *network);

/* Tails, slots and workspace for `kernel` and the arguments' batch: for all parts at once, else for the half, the
 * quarter ... of them that fit (NOPROP_DT_BLOCKS=N: N at most); train->block_count says how many. `gradients`: slots
 * hold gradients. */
noprop_status dt_allocate(noprop_model *model, const struct model_kernel *kernel, bool gradients,
                          train_arguments *train, branch_arguments *branch);
/* Launches `kernel` for all parts, behind the blocks' branches; with `update` each launch's gradients are summed into
 * update->gradient. */
noprop_status dt_launch(noprop_model *model, const struct model_kernel *kernel, const train_arguments *train,
                        const branch_arguments *branch, const update_arguments *update);
/* Training and update of one step. */
noprop_status dt_launch_step(noprop_model *model, const train_arguments *train, const update_arguments *update);

/* Prototypes (dt_prototypes.c): the class's row with the smallest median distance to its others, standardised, of up to
 * 400 rows of each class. Nothing where the embedding is another or they are there already. */
noprop_status dt_set_prototypes(noprop_model *model, const struct model_rows *condition,
                                const struct model_rows *target);
/* Fails where they are needed and not there yet. */
noprop_status dt_check_prototypes(const noprop_model *model, const char *function);
/* Copies them out to `to` or, if it is NULL, in from `from`; [classes][d]. */
noprop_status dt_move_prototypes(noprop_model *model, float *to, const float *from);

/* Orthonormal embeddings of labels to the device, where the model has them. */
noprop_status dt_upload_embedding(noprop_model *model);

#endif
