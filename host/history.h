/* The history of a training: one row per epoch, the columns of history.csv.
 *
 * Rows hold exactly what their text holds (nine significant digits), so that a history read back from a checkpoint
 * leads to the same decisions and to the same file. */
#ifndef HOST_HISTORY_H
#define HOST_HISTORY_H

#include <stdint.h>

#include "host/run_files.h"

/* X(member, "column"). NaN is an empty cell: not measured in that epoch. */
#define HISTORY_COLUMNS(X) \
  X(loss)                  \
  X(flow)                  \
  X(recon)                 \
  X(reg)                   \
  X(validation_loss)       \
  X(validation_flow)       \
  X(validation_recon)      \
  X(validation_reg)        \
  X(learning_rate) X(gradient_norm) X(vae) X(kl_z0) X(validation_vae) X(validation_kl_z0)

struct history_row {
  long epoch;
  uint64_t step;
#define HISTORY_MEMBER(name) double name;
  HISTORY_COLUMNS(HISTORY_MEMBER)
#undef HISTORY_MEMBER
};

struct history {
  struct history_row *rows;
  long count, capacity;
};

/* Appends a row, rounded to its text. */
noprop_status history_add(struct history *history, struct history_row row);
void history_clear(struct history *history);

void history_text_header(struct text *text);
void history_text_row(struct text *text, const struct history_row *row);
void history_text(struct text *text, const struct history *history);

/* Reads what history_text wrote, into an empty history; `name` stands for the source in messages. */
noprop_status history_parse(struct history *history, const char *text, const char *name);

/* Row with the lowest validation loss (the first of equals), or -1; `since` receives the validations after it. */
long history_best(const struct history *history, long *since);

#endif
