/* Pictures that belong to no run: their data and scripts lie in a temporary folder. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/status.h"
#include "host/report.h"

noprop_status report_scratch_create(char *folder, size_t size) {
  const char *base = getenv("TMPDIR");
  if (snprintf(folder, size, "%s/noprop-XXXXXX", base && base[0] ? base : "/tmp") >= (int)size || !mkdtemp(folder))
    return status_set(NOPROP_FILE_ERROR, "no temporary folder could be made: %s", strerror(errno));
  return NOPROP_OK;
}

void report_scratch_remove(const char *folder, const char *const *names, int count) {
  char path[RUN_PATH];
  for (int i = 0; i < count; i++)
    if (run_path(path, folder, names[i]) == NOPROP_OK) unlink(path);
  rmdir(folder);
}

noprop_status report_draw_to(const char *folder, const char *name, const char *to) {
  char picture[64], from[RUN_PATH], *bytes = NULL;
  bool missing;
  noprop_status status = report_run_script(folder, name, &missing);
  if (status == NOPROP_OK && missing)
    status = status_set(NOPROP_UNSUPPORTED, "gnuplot is not installed (Debian: gnuplot-nox), so %s was not drawn", to);
  snprintf(picture, sizeof picture, "%s.png", name);
  if (status == NOPROP_OK) status = run_path(from, folder, picture);
  if (status != NOPROP_OK) return status;
  /* Copied, not renamed: the temporary folder may lie on another disk. */
  FILE *file = fopen(from, "rbe");
  long size = -1;
  if (file && fseek(file, 0, SEEK_END) == 0) size = ftell(file);
  if (size >= 0) bytes = malloc((size_t)size + 1);
  if (!bytes || fseek(file, 0, SEEK_SET) != 0 || fread(bytes, 1, (size_t)size, file) != (size_t)size)
    status = status_set(NOPROP_FILE_ERROR, "the picture for %s could not be read back", to);
  if (file) fclose(file);
  if (status == NOPROP_OK) status = run_file_write(to, bytes, (size_t)size);
  free(bytes);
  return status;
}
