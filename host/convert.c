/* Converters of other people's files to data sets: the choice of one, and how rows are divided into splits. */
#include "host/convert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *convert_base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash == NULL ? path : slash + 1;
}

bool convert_is_folder(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static size_t row_bytes(const struct table *table) { return (size_t)table->width * dataset_type_size(table->type); }

noprop_status convert_add_rows(noprop_dataset *dataset, const char *split, const char *name, const struct table *table,
                               const row_order *order, long first, long count) {
  const size_t bytes = row_bytes(table);
  char *values = malloc((size_t)count * bytes);
  if (values == NULL) return convert_no_memory(name);
  for (long i = 0; i < count; i++) {
    const size_t row = order == NULL ? (size_t)(first + i) : row_order_row(order, (unsigned)(first + i));
    memcpy(values + (size_t)i * bytes, (const char *)table->values + row * bytes, bytes);
  }
  long shape[8];
  memcpy(shape, table->shape, sizeof shape);
  shape[0] = count;
  return dataset_add_owned(dataset, split, name, table->type, table->rank, shape, values);
}

noprop_status convert_add_pair(noprop_dataset *dataset, const char *split, const struct table *x, const struct table *y,
                               const row_order *order, long first, long count) {
  if (count == 0) return NOPROP_OK;
  const noprop_status status = convert_add_rows(dataset, split, "x", x, order, first, count);
  return status != NOPROP_OK ? status : convert_add_rows(dataset, split, "y", y, order, first, count);
}

double convert_fraction(double option) { return option < 0 ? 0.1 : option; }

long convert_part(long rows, double fraction) {
  const long part = (long)floor((double)rows * fraction);
  return fraction > 0 && part == 0 ? 1 : part;
}

noprop_status convert_add_shuffled(noprop_dataset *dataset, const char *path, const struct table *x,
                                   const struct table *y, const noprop_convert_options *options, char *note,
                                   size_t note_size) {
  const double validation = convert_fraction(options->validation), test = convert_fraction(options->test);
  const long rows = x->shape[0];
  if (!(validation + test < 1.0))
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "validation %g and test %g leave no training rows; allowed: fractions that sum to less than 1",
                      validation, test);
  const long validation_rows = convert_part(rows, validation), test_rows = convert_part(rows, test);
  const long train_rows = rows - validation_rows - test_rows;
  if (train_rows < 1)
    return status_set(NOPROP_FILE_ERROR, "%s has %ld rows, too few for %ld validation and %ld test rows", path, rows,
                      validation_rows, test_rows);
  if (rows > INT32_MAX)
    return status_set(NOPROP_FILE_ERROR, "%s has %ld rows; at most %ld are allowed", path, rows, (long)INT32_MAX);
  const row_order order = row_order_make(options->seed, 0, (unsigned)rows);
  noprop_status status = convert_add_pair(dataset, "train", x, y, &order, 0, train_rows);
  if (status == NOPROP_OK) status = convert_add_pair(dataset, "validation", x, y, &order, train_rows, validation_rows);
  if (status == NOPROP_OK)
    status = convert_add_pair(dataset, "test", x, y, &order, train_rows + validation_rows, test_rows);
  (void)snprintf(note, note_size, "shuffled with seed %llu, then %ld training, %ld validation and %ld test rows",
                 (unsigned long long)options->seed, train_rows, validation_rows, test_rows);
  return status;
}

noprop_status noprop_dataset_convert(const char *kind, const noprop_convert_options *options,
                                     noprop_dataset **dataset) {
  static const struct {
    const char *kind;
    noprop_status (*convert)(const noprop_convert_options *, noprop_dataset *);
  } converters[] = {{"fashion-mnist", convert_fashion_mnist},
                    {"idx", convert_idx},
                    {"csv", convert_csv},
                    {"npz", convert_npz},
                    {"cifar", convert_cifar}};
  if (kind == NULL || options == NULL || dataset == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "noprop_dataset_convert needs a kind, options and a place for the data set");
  *dataset = NULL;
  for (size_t i = 0; i < sizeof converters / sizeof *converters; i++) {
    if (strcmp(kind, converters[i].kind) != 0) continue;
    noprop_dataset *made;
    noprop_status status = noprop_dataset_create(&made);
    if (status == NOPROP_OK) status = converters[i].convert(options, made);
    if (status != NOPROP_OK)
      noprop_dataset_destroy(made);
    else
      *dataset = made;
    return status;
  }
  return status_set(NOPROP_INVALID_ARGUMENT,
                    "there is no converter '%.80s'; there are: fashion-mnist, idx, csv, npz, cifar", kind);
}
