/* The history of a training: one row per epoch, the columns of history.csv. */
#include "host/history.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/status.h"

static double round_to_text(double value) {
  char text[40];
  if (!isfinite(value)) return NAN;
  snprintf(text, sizeof text, "%.9g", value);
  return strtod(text, NULL);
}

noprop_status history_add(struct history *history, struct history_row row) {
  if (history->count == history->capacity) {
    long capacity = history->capacity ? 2 * history->capacity : 64;
    struct history_row *rows = realloc(history->rows, (size_t)capacity * sizeof *rows);
    if (!rows) return status_set(NOPROP_OUT_OF_MEMORY, "no memory for %ld rows of history", capacity);
    history->rows = rows;
    history->capacity = capacity;
  }
#define HISTORY_ROUND(name) row.name = round_to_text(row.name);
  HISTORY_COLUMNS(HISTORY_ROUND)
#undef HISTORY_ROUND
  history->rows[history->count++] = row;
  return NOPROP_OK;
}

void history_clear(struct history *history) {
  free(history->rows);
  *history = (struct history){0};
}

void history_text_header(struct text *text) {
  text_add(text, "epoch,step");
#define HISTORY_NAME(name) text_add(text, ",%s", #name);
  HISTORY_COLUMNS(HISTORY_NAME)
#undef HISTORY_NAME
  text_add(text, "\n");
}

static void add_cell(struct text *text, double value) {
  if (isnan(value))
    text_add(text, ",");
  else
    text_add(text, ",%.9g", value);
}

void history_text_row(struct text *text, const struct history_row *row) {
  text_add(text, "%ld,%" PRIu64, row->epoch, row->step);
#define HISTORY_CELL(name) add_cell(text, row->name);
  HISTORY_COLUMNS(HISTORY_CELL)
#undef HISTORY_CELL
  text_add(text, "\n");
}

void history_text(struct text *text, const struct history *history) {
  history_text_header(text);
  for (long i = 0; i < history->count; i++) history_text_row(text, &history->rows[i]);
}

/* The number of the next cell: NaN if it is empty. *position goes behind its comma; NULL if it is no number. */
static double read_cell(const char **position) {
  const char *start = *position;
  char *end;
  if (!start || *start != ',') {
    *position = NULL;
    return NAN;
  }
  start++;
  if (*start == ',' || *start == '\n' || *start == 0) {
    *position = start;
    return NAN;
  }
  double value = strtod(start, &end);
  *position = end == start ? NULL : end;
  return value;
}

noprop_status history_parse(struct history *history, const char *text, const char *name) {
  struct text header = {0};
  history_text_header(&header);
  bool known = !header.failed && strncmp(text, header.data, header.size) == 0;
  size_t header_size = header.size;
  free(header.data);
  if (!known) return status_set(NOPROP_FILE_ERROR, "%s: the history does not begin with the known columns", name);
  const char *line = text + header_size;
  for (long number = 2; *line; number++) {
    struct history_row row = {0};
    char *end;
    row.epoch = strtol(line, &end, 10);
    const char *position = end;
    if (end != line && *end == ',') {
      row.step = strtoull(end + 1, &end, 10);
      position = end;
    }
#define HISTORY_READ(name) row.name = read_cell(&position);
    HISTORY_COLUMNS(HISTORY_READ)
#undef HISTORY_READ
    if (!position || *position != '\n')
      return status_set(NOPROP_FILE_ERROR, "%s: line %ld of the history is not whole", name, number);
    noprop_status status = history_add(history, row);
    if (status != NOPROP_OK) return status;
    line = position + 1;
  }
  return NOPROP_OK;
}

long history_best(const struct history *history, long *since) {
  long best = -1;
  *since = 0;
  for (long i = 0; i < history->count; i++) {
    double value = history->rows[i].validation_loss;
    if (isnan(value)) continue;
    if (best < 0 || value < history->rows[best].validation_loss) {
      best = i;
      *since = 0;
    } else {
      ++*since;
    }
  }
  return best;
}
