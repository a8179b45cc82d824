/* What each block of variant dt did over a training: blocks.csv of a run folder, one row per epoch, and the script of
 * its picture. Other variants have none. */
#ifndef HOST_BLOCK_RECORD_H
#define HOST_BLOCK_RECORD_H

#include "engine/dt.h"

/* Mean losses of an epoch and norms of its last gradients, before clipping. */
struct block_losses {
  double loss[DT_MAX_BLOCKS], gradient_norm[DT_MAX_BLOCKS];
};

/* Begins the record, or cuts one that is there after epoch `last_epoch` (0: nothing is trained yet), as a training that
 * is resumed wants it. */
noprop_status block_record_open(const noprop_model *model, const char *folder, long last_epoch);

/* Reads them; before noprop_model_train_metrics, which starts the next epoch's. Nothing without blocks. */
noprop_status block_record_read(noprop_model *model, struct block_losses *losses);
/* Adds the row of an epoch. */
noprop_status block_record_add(const noprop_model *model, const char *folder, long epoch,
                               const struct block_losses *losses);

#endif
