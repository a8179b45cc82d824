/* Which arrays of a data set play which role, and what shape of model they ask for. */
#include <stdio.h>
#include <string.h>

#include "engine/settings.h"
#include "engine/status.h"
#include "host/dataset.h"
#include "noprop/model.h"

/* Beyond this a one-hot condition no longer makes sense, and a wrong array was named. */
enum { MAX_CLASSES = 65536 };

/* "FILE: " or "" */
static const char *file_prefix(const noprop_dataset *dataset, char *buffer, size_t size) {
  (void)snprintf(buffer, size, "%s%s", dataset->path, dataset->path[0] == '\0' ? "" : ": ");
  return buffer;
}

static bool is_integer(noprop_type type) { return type == NOPROP_TYPE_INT32 || type == NOPROP_TYPE_UINT8; }

/* Class count of a label array: one more than the largest label of any split that has it. */
static noprop_status count_classes(noprop_dataset *dataset, const char *name, int *classes) {
  char prefix[600];
  *classes = 0;
  for (int i = 0; i < dataset->count; i++) {
    const struct dataset_split *split = &dataset->splits[i];
    if (dataset_find_array(split, name) == NULL) continue;
    noprop_array array;
    const noprop_status status = noprop_dataset_get(dataset, split->name, name, &array);
    if (status != NOPROP_OK) return status;
    if (!is_integer(array.type) || array.width != 1)
      return status_set(NOPROP_FILE_ERROR, "%sthe array '%s' holds labels in split 'train', but not in split '%s'",
                        file_prefix(dataset, prefix, sizeof prefix), name, split->name);
    for (long row = 0; row < array.rows; row++) {
      const long label =
          array.type == NOPROP_TYPE_UINT8 ? ((const uint8_t *)array.values)[row] : ((const int32_t *)array.values)[row];
      if (label < 0 || label >= MAX_CLASSES)
        return status_set(
            NOPROP_FILE_ERROR,
            "%sthe label in row %ld of split '%s', array '%s' is %ld; labels count classes from 0, up to %d",
            file_prefix(dataset, prefix, sizeof prefix), row, split->name, name, label, MAX_CLASSES - 1);
      if (label >= *classes) *classes = (int)label + 1;
    }
  }
  return NOPROP_OK;
}

/* Rows of both arrays must belong together, and every split must look like the training split. */
static noprop_status check_splits(noprop_dataset *dataset, const char *condition, const char *target) {
  char prefix[600];
  const char *const names[] = {condition, target};
  for (int i = 0; i < dataset->count; i++) {
    const struct dataset_split *split = &dataset->splits[i];
    long rows = -1;
    for (int role = 0; role < 2; role++) {
      noprop_array array, train;
      if (names[role] == NULL || dataset_find_array(split, names[role]) == NULL) continue;
      noprop_status status = noprop_dataset_peek(dataset, split->name, names[role], &array);
      if (status == NOPROP_OK) status = noprop_dataset_peek(dataset, "train", names[role], &train);
      if (status != NOPROP_OK) return status;
      if (array.width != train.width)
        return status_set(NOPROP_FILE_ERROR, "%sthe array '%s' has %ld values a row in split 'train', but %ld in '%s'",
                          file_prefix(dataset, prefix, sizeof prefix), names[role], train.width, array.width,
                          split->name);
      if (rows >= 0 && array.rows != rows)
        return status_set(NOPROP_FILE_ERROR, "%sthe split '%s' has %ld rows of '%s' but %ld of '%s'",
                          file_prefix(dataset, prefix, sizeof prefix), split->name, rows, condition, array.rows,
                          target);
      rows = array.rows;
    }
  }
  return NOPROP_OK;
}

/* One side of the model from its array in the training split. */
static noprop_status shape_side(noprop_dataset *dataset, const char *name, bool label, noprop_type *type, int *width,
                                bool *is_label) {
  noprop_array array;
  const noprop_status status = noprop_dataset_get(dataset, "train", name, &array);
  if (status != NOPROP_OK) return status;
  *is_label = label;
  if (label) {
    *type = NOPROP_TYPE_INT32;
    return count_classes(dataset, name, width);
  }
  if (array.width > 1L << 24)
    return status_set(NOPROP_FILE_ERROR, "the array '%s' has %ld values a row; at most %ld are allowed", name,
                      array.width, 1L << 24);
  *type = array.type == NOPROP_TYPE_UINT8 ? NOPROP_TYPE_UINT8 : NOPROP_TYPE_FLOAT32;
  *width = (int)array.width;
  return NOPROP_OK;
}

/* Channels, height and width of [rows][channels][height][width] or [rows][height][width]. */
static void set_sides(const noprop_array *array, int sides[3]) {
  if (array->rank != 3 && array->rank != 4) return;
  sides[0] = array->rank == 4 ? (int)array->shape[1] : 1;
  sides[1] = (int)array->shape[array->rank - 2];
  sides[2] = (int)array->shape[array->rank - 1];
}

noprop_status noprop_model_shape_from_data(const noprop_config *config, noprop_dataset *dataset,
                                           noprop_model_shape *shape) {
  if (config == NULL || dataset == NULL || shape == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noprop_model_shape_from_data needs a configuration, a data set and a place for the shape");
  struct settings settings;
  noprop_status status = settings_resolve(config, &settings);
  if (status != NOPROP_OK) return status;
  const char *condition = strcmp(settings.data.condition, "null") == 0 ? NULL : settings.data.condition;
  const char *target = settings.data.target;
  noprop_model_shape made = {.condition_type = NOPROP_TYPE_FLOAT32, .target_type = NOPROP_TYPE_FLOAT32};

  noprop_array array;
  status = noprop_dataset_peek(dataset, "train", target, &array);
  if (status != NOPROP_OK) return status;
  const bool classify = settings.task == TASK_CLASSIFY;
  if (classify && !(is_integer(array.type) && array.width == 1)) {
    char prefix[600], text[160];
    return status_set(
        NOPROP_FILE_ERROR,
        "%stask classify needs integer labels, one a row, as target, but '%s' is %s; for vectors there is "
        "task regress",
        file_prefix(dataset, prefix, sizeof prefix), target, dataset_shape_text(&array, text, sizeof text));
  }
  status = shape_side(dataset, target, classify, &made.target_type, &made.target_width, &made.target_is_label);
  if (status == NOPROP_OK && !made.target_is_label) set_sides(&array, made.target_shape);
  if (status == NOPROP_OK && condition != NULL) status = noprop_dataset_peek(dataset, "train", condition, &array);
  if (status == NOPROP_OK && condition != NULL)
    status = shape_side(dataset, condition, is_integer(array.type) && array.rank == 1, &made.condition_type,
                        &made.condition_width, &made.condition_is_label);
  if (status == NOPROP_OK && condition != NULL && !made.condition_is_label) set_sides(&array, made.condition_shape);
  if (status == NOPROP_OK) status = check_splits(dataset, condition, target);
  if (status == NOPROP_OK && settings.latent.size != 0 && settings.latent.size != made.target_width &&
      settings.latent.embedding == EMBEDDING_ONE_HOT && settings.encoder.type == CODER_IDENTITY)
    status = status_set(NOPROP_INVALID_CONFIG, "latent.size: %d is not allowed with %s %d; allowed: auto or %d",
                        settings.latent.size, classify ? "a number of classes of" : "a target of width",
                        made.target_width, made.target_width);
  if (status == NOPROP_OK) *shape = made;
  return status;
}
