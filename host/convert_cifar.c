/* The binary files of CIFAR-10 and CIFAR-100: records of one or two label bytes and 3 x 32 x 32 bytes of an image. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/convert.h"

enum { IMAGE_BYTES = 3 * 32 * 32, MOST_RECORDS = 1000000 };

/* Images and labels of one file after another. */
struct records {
  int label_bytes; /* 1: the class; 2: the coarse class, then the fine one */
  long count;
  uint8_t *images;          /* [count][3][32][32], red, green, blue */
  int32_t *labels, *coarse; /* [count]; coarse NULL for CIFAR-10 */
};

static void free_records(struct records *records) {
  free(records->images);
  free(records->labels);
  free(records->coarse);
}

static bool grow(struct records *records, long count) {
  uint8_t *images = realloc(records->images, (size_t)count * IMAGE_BYTES);
  if (images != NULL) records->images = images;
  int32_t *labels = realloc(records->labels, (size_t)count * sizeof *labels);
  if (labels != NULL) records->labels = labels;
  int32_t *coarse = realloc(records->coarse, (size_t)count * sizeof *coarse);
  if (coarse != NULL) records->coarse = coarse;
  return images != NULL && labels != NULL && coarse != NULL;
}

static noprop_status read_records(const char *path, FILE *file, struct records *records) {
  const size_t record = (size_t)records->label_bytes + IMAGE_BYTES;
  if (fseek(file, 0, SEEK_END) != 0)
    return status_set(NOPROP_FILE_ERROR, "%s could not be read: %s", path, strerror(errno));
  const long size = ftell(file), count = size / (long)record;
  rewind(file);
  if (size <= 0 || size % (long)record != 0 || count > MOST_RECORDS)
    return status_set(NOPROP_FILE_ERROR,
                      "%s has %ld bytes; a CIFAR file of this kind is a whole number of records of %zu bytes", path,
                      size, record);
  if (!grow(records, records->count + count)) return convert_no_memory(path);
  for (long i = 0; i < count; i++) {
    unsigned char labels[2] = {0, 0};
    const size_t at = (size_t)records->count;
    if (fread(labels, 1, (size_t)records->label_bytes, file) != (size_t)records->label_bytes ||
        fread(records->images + at * IMAGE_BYTES, 1, IMAGE_BYTES, file) != IMAGE_BYTES)
      return status_set(NOPROP_FILE_ERROR, "%s could not be read: it ends within record %ld", path, i);
    records->coarse[at] = labels[0];
    records->labels[at] = labels[records->label_bytes - 1];
    const int most = records->label_bytes == 1 ? 9 : 99;
    if (records->labels[at] > most)
      return status_set(NOPROP_FILE_ERROR,
                        "%s is no CIFAR-%d file: record %ld has the label %d, and 0 to %d are allowed", path, most + 1,
                        i, records->labels[at], most);
    records->count++;
  }
  return NOPROP_OK;
}

/* Appends the records of folder/name. */
static noprop_status read_file(const char *folder, const char *name, struct records *records) {
  char path[CONVERT_PATH_SIZE];
  if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
    return status_set(NOPROP_FILE_ERROR, "the path of %s is too long", name);
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    status_set(NOPROP_FILE_ERROR, "%s could not be opened: %s", path, strerror(errno));
    return NOPROP_FILE_ERROR;
  }
  const noprop_status status = read_records(path, file, records);
  (void)fclose(file);
  return status;
}

static noprop_status add_records(noprop_dataset *dataset, const char *split, const struct records *records, long first,
                                 long count) {
  const struct table x = {NOPROP_TYPE_UINT8, 4, {records->count, 3, 32, 32}, IMAGE_BYTES, records->images};
  const struct table y = {NOPROP_TYPE_INT32, 1, {records->count}, 1, records->labels};
  const struct table coarse = {NOPROP_TYPE_INT32, 1, {records->count}, 1, records->coarse};
  noprop_status status = convert_add_pair(dataset, split, &x, &y, NULL, first, count);
  if (status == NOPROP_OK && records->label_bytes == 2 && count > 0)
    status = convert_add_rows(dataset, split, "y_coarse", &coarse, NULL, first, count);
  return status;
}

static bool has_file(const char *folder, const char *name) {
  char path[CONVERT_PATH_SIZE];
  if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return false;
  FILE *file = fopen(path, "rb");
  if (file != NULL) (void)fclose(file);
  return file != NULL;
}

noprop_status convert_cifar(const noprop_convert_options *options, noprop_dataset *dataset) {
  static const char *const ten[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                    "data_batch_4.bin", "data_batch_5.bin", NULL};
  static const char *const hundred[] = {"train.bin", NULL};
  const char *folder = options->input;
  if (folder == NULL || !convert_is_folder(folder))
    return status_set(NOPROP_INVALID_ARGUMENT, "the cifar converter needs a folder of CIFAR's binary files%s%s",
                      folder ? ", which this is not: " : "", folder ? folder : "");
  const bool fine = !has_file(folder, ten[0]);
  if (fine && !has_file(folder, hundred[0]))
    return status_set(NOPROP_FILE_ERROR,
                      "the folder %s has neither data_batch_1.bin (CIFAR-10: data_batch_1 to 5 and test_batch) nor "
                      "train.bin (CIFAR-100: train and test)",
                      folder);
  struct records train = {.label_bytes = fine ? 2 : 1}, test = {.label_bytes = fine ? 2 : 1};
  noprop_status status = NOPROP_OK;
  for (const char *const *name = fine ? hundred : ten; *name != NULL && status == NOPROP_OK; name++)
    status = read_file(folder, *name, &train);
  if (status == NOPROP_OK) status = read_file(folder, fine ? "test.bin" : "test_batch.bin", &test);
  if (status == NOPROP_OK) {
    const long validation = convert_part(train.count, convert_fraction(options->validation));
    char description[300];
    (void)snprintf(description, sizeof description,
                   "CIFAR-%s: images x [channel][row][column], labels y%s; validation: the last %ld of %ld training "
                   "images; %ld test images",
                   fine ? "100" : "10", fine ? ", y_coarse" : "", validation, train.count, test.count);
    status = add_records(dataset, "train", &train, 0, train.count - validation);
    if (status == NOPROP_OK) status = add_records(dataset, "validation", &train, train.count - validation, validation);
    if (status == NOPROP_OK) status = add_records(dataset, "test", &test, 0, test.count);
    if (status == NOPROP_OK) status = dataset_describe(dataset, description, "CIFAR binary files");
  }
  free_records(&train);
  free_records(&test);
  return status;
}
