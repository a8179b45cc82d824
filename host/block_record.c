/* Losses of variant dt's blocks over training. */
#include "host/block_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/status.h"
#include "host/report.h"

static const char NAME[] = "blocks.csv";

static noprop_status write_script(const char *folder, int blocks) {
  struct text script = {0};
  report_script_begin(&script, "blocks", 760, 460);
  text_add(&script,
           "set title 'Loss of each block' font ',14'\nset xlabel 'epoch'\nset logscale y\nset format y '%%.3g'\n"
           "set palette defined (0 '#D55E00', 0.5 '#0072B2', 1 '#56B4E9')\nset cblabel 'block, from noise to data'\n"
           "set cbrange [1:%d]\nunset key\n"
           "plot for [k=1:%d] 'blocks.csv' skip 1 using 1:(column(k + 1)):(k) with lines linewidth 1.5 palette\n",
           blocks > 1 ? blocks : 2, blocks);
  return text_write(&script, folder, "blocks.gp");
}

noprop_status block_record_open(const noprop_model *model, const char *folder, long last_epoch) {
  const int blocks = noprop_model_blocks(model);
  if (blocks == 0) return NOPROP_OK;
  char path[RUN_PATH], *before = NULL;
  struct text text = {0};
  noprop_status status = run_path(path, folder, NAME);
  if (status == NOPROP_OK && last_epoch > 0 && run_file_exists(path)) status = run_file_read(path, &before);
  if (status != NOPROP_OK) return status;
  text_add(&text, "epoch");
  for (int k = 1; k <= blocks; k++) text_add(&text, ",loss.%d", k);
  for (int k = 1; k <= blocks; k++) text_add(&text, ",gradient_norm.%d", k);
  text_add(&text, "\n");
  /* Whole rows up to the last epoch. */
  const char *line = before ? strchr(before, '\n') : NULL;
  for (const char *end; line && (end = strchr(line + 1, '\n')) != NULL; line = end) {
    if (strtol(line + 1, NULL, 10) > last_epoch) break;
    text_add(&text, "%.*s", (int)(end - line), line + 1);
  }
  free(before);
  status = text_write(&text, folder, NAME);
  return status == NOPROP_OK ? write_script(folder, blocks) : status;
}

noprop_status block_record_read(noprop_model *model, struct block_losses *losses) {
  if (noprop_model_blocks(model) == 0) return NOPROP_OK;
  return noprop_model_block_metrics(model, losses->loss, losses->gradient_norm);
}

noprop_status block_record_add(const noprop_model *model, const char *folder, long epoch,
                               const struct block_losses *losses) {
  const int blocks = noprop_model_blocks(model);
  if (blocks == 0) return NOPROP_OK;
  struct text text = {0};
  text_add(&text, "%ld", epoch);
  for (int k = 0; k < blocks; k++) text_add(&text, ",%.9g", losses->loss[k]);
  for (int k = 0; k < blocks; k++) text_add(&text, ",%.9g", losses->gradient_norm[k]);
  text_add(&text, "\n");
  return text_append(&text, folder, NAME);
}
