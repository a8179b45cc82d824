/* How the solves of rows went, in files and in words. */
#include <stdlib.h>

#include "host/cli/cli.h"

noprop_status add_solve_rows(struct cli *cli, noprop_dataset *file, const char *split, const noprop_solve_row *rows,
                             long count, bool adaptive, long *unfinished) {
  static const char *const names[] = {"outcome", "calls", "steps", "rejections"};
  int32_t *values = malloc((size_t)count * sizeof *values);
  noprop_status status = values ? NOPROP_OK : NOPROP_OUT_OF_MEMORY;
  long ends[4] = {0};
  for (long row = 0; row < count; row++)
    if ((unsigned)rows[row].outcome < 4) ends[rows[row].outcome]++;
  *unfinished = count - ends[NOPROP_SOLVE_DONE];
  for (int outcome = 1; outcome < 4; outcome++)
    if (ends[outcome] > 0)
      say(cli, "%ld of %ld rows did not come to the end: %s", ends[outcome], count,
          noprop_solve_outcome_name((noprop_solve_outcome)outcome));
  for (int name = 0; name < 4 && adaptive && status == NOPROP_OK; name++) {
    for (long row = 0; row < count; row++)
      values[row] = name == 0   ? (int32_t)rows[row].outcome
                    : name == 1 ? rows[row].calls
                    : name == 2 ? rows[row].steps
                                : rows[row].rejections;
    const noprop_array array = {.name = names[name],
                                .type = NOPROP_TYPE_INT32,
                                .rows = count,
                                .width = 1,
                                .rank = 1,
                                .shape = {count},
                                .values = values};
    status = noprop_dataset_add(file, split, &array);
  }
  free(values);
  return status;
}
