/* Files in words: what a data file, a model file or a run folder holds. No device is needed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/status.h"
#include "host/checkpoint.h"
#include "host/history.h"
#include "host/run_files.h"
#include "noprop/report.h"

static const char *type_name(noprop_type type) {
  switch (type) {
    case NOPROP_TYPE_FLOAT32:
      return "float32";
    case NOPROP_TYPE_UINT8:
      return "uint8";
    case NOPROP_TYPE_INT32:
      return "int32";
    case NOPROP_TYPE_FLOAT64:
      return "float64";
  }
  return "unknown";
}

static noprop_status inspect_data(const char *path, noprop_entry_function entry, void *user) {
  noprop_dataset *dataset = NULL;
  noprop_status status = noprop_dataset_open(path, &dataset);
  if (status != NOPROP_OK) return status;
  entry("kind", "data", user);
  if (noprop_dataset_description(dataset)[0]) entry("description", noprop_dataset_description(dataset), user);
  if (noprop_dataset_source(dataset)[0]) entry("source", noprop_dataset_source(dataset), user);
  for (int s = 0; status == NOPROP_OK && noprop_dataset_split_at(dataset, s); s++) {
    const char *split = noprop_dataset_split_at(dataset, s), *name;
    for (int a = 0; (name = noprop_dataset_array_at(dataset, split, a)) != NULL; a++) {
      char key[160], value[256];
      noprop_array array;
      status = noprop_dataset_peek(dataset, split, name, &array);
      if (status != NOPROP_OK) break;
      int length = snprintf(value, sizeof value, "%s [%ld", type_name(array.type), array.shape[0]);
      for (int i = 1; i < array.rank; i++)
        length += snprintf(value + length, sizeof value - (size_t)length, ", %ld", array.shape[i]);
      snprintf(value + length, sizeof value - (size_t)length, "]");
      snprintf(key, sizeof key, "%.60s.%.60s", split, name);
      entry(key, value, user);
    }
  }
  noprop_dataset_destroy(dataset);
  return status;
}

static noprop_status inspect_model(const char *path, noprop_entry_function entry, void *user) {
  static const char heading[] = "configuration:\n";
  char *text = NULL, steps[32];
  unsigned long long step = 0;
  noprop_status status = checkpoint_describe(path, &text);
  if (status != NOPROP_OK) return status;
  entry("kind", "model", user);
  if (sscanf(text, "model after %llu steps", &step) == 1) {
    snprintf(steps, sizeof steps, "%llu", step);
    entry("steps", steps, user);
  }
  char *config = strstr(text, heading);
  if (config) *config = 0;
  entry("contents", text, user);
  if (config) entry("config", config + strlen(heading), user);
  noprop_free(text);
  return NOPROP_OK;
}

static noprop_status inspect_run(const char *folder, noprop_entry_function entry, void *user) {
  static const char *const files[] = {"config.yaml",      "model.h5",        "best.h5",    "history.csv",
                                      "metrics.json",     "log.txt",         "loss.png",   "data.png",
                                      "trajectories.png", "predictions.png", "samples.png"};
  char path[RUN_PATH], value[1024] = "", *text = NULL;
  int found = 0;
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
    noprop_status status = run_path(path, folder, files[i]);
    if (status != NOPROP_OK) return status;
    if (!run_file_exists(path)) continue;
    size_t length = strlen(value);
    snprintf(value + length, sizeof value - length, "%s%s", length ? " " : "", files[i]);
    found++;
  }
  if (found == 0) return status_set(NOPROP_FILE_ERROR, "the folder %s holds no files of a run", folder);
  entry("kind", "run", user);
  entry("files", value, user);
  noprop_status status = run_path(path, folder, "history.csv");
  if (status == NOPROP_OK && run_file_exists(path)) {
    struct history history = {0};
    status = run_file_read(path, &text);
    if (status == NOPROP_OK && history_parse(&history, text, path) == NOPROP_OK && history.count > 0) {
      const struct history_row *last = &history.rows[history.count - 1];
      long since, best = history_best(&history, &since);
      snprintf(value, sizeof value, "%ld", last->epoch);
      entry("epochs", value, user);
      snprintf(value, sizeof value, "%.6g", last->loss);
      entry("loss", value, user);
      if (best >= 0) {
        snprintf(value, sizeof value, "%.6g", history.rows[best].validation_loss);
        entry("best_validation_loss", value, user);
        snprintf(value, sizeof value, "%ld", history.rows[best].epoch);
        entry("best_epoch", value, user);
      }
    }
    history_clear(&history);
    free(text);
  }
  if (status == NOPROP_OK) status = run_path(path, folder, "metrics.json");
  if (status == NOPROP_OK && run_file_exists(path)) {
    status = run_file_read(path, &text);
    /* One "key": value per line, as the trainer writes it. */
    for (char *line = status == NOPROP_OK ? strtok(text, "\n") : NULL; line; line = strtok(NULL, "\n")) {
      char key[64];
      if (sscanf(line, " \"%63[^\"]\": %1023[^,\n]", key, value) != 2) continue;
      size_t length = strlen(value);
      if (value[0] == '"' && length > 1) {
        value[length - 1] = 0;
        memmove(value, value + 1, length - 1);
      }
      if (strcmp(key, "epochs") != 0 && strcmp(key, "loss") != 0 && strncmp(key, "best_", 5) != 0)
        entry(key, value, user);
    }
    free(text);
  }
  return status;
}

noprop_status noprop_inspect(const char *path, noprop_entry_function entry, void *user) {
  if (!path || !entry)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_inspect needs a path and a function for what it finds");
  struct stat info;
  if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return inspect_run(path, entry, user);
  return checkpoint_is_model(path) ? inspect_model(path, entry, user) : inspect_data(path, entry, user);
}
