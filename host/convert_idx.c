/* idx files, MNIST's format, gzipped or not. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "host/convert.h"

static const char FASHION_FOLDER[] = "/usr/share/datasets/fashion-mnist";
enum { VALIDATION_PART = 12 };

/* The third byte of an idx file: what its values are, stored with the most significant byte first. */
enum idx_type { IDX_UINT8 = 8, IDX_INT8 = 9, IDX_INT16 = 11, IDX_INT32 = 12, IDX_FLOAT = 13, IDX_DOUBLE = 14 };

static bool idx_is_known(int type) {
  return type == IDX_UINT8 || type == IDX_INT8 || (type >= IDX_INT16 && type <= IDX_DOUBLE);
}

static size_t idx_size(int type) {
  switch (type) {
    case IDX_UINT8:
    case IDX_INT8:
      return 1;
    case IDX_INT16:
      return 2;
    case IDX_DOUBLE:
      return 8;
    default:
      return 4;
  }
}

/* One value, most significant byte first, as it lies in the file. */
static void idx_value(int type, const unsigned char *from, void *to) {
  uint64_t bits = 0;
  for (size_t i = 0; i < idx_size(type); i++) bits = bits << 8 | from[i];
  const uint32_t low = (uint32_t)bits;
  int32_t integer;
  switch (type) {
    case IDX_DOUBLE:
      memcpy(to, &bits, sizeof bits);
      return;
    case IDX_FLOAT:
    case IDX_INT32:
      memcpy(to, &low, sizeof low);
      return;
    case IDX_INT16:
      integer = (int32_t)low - (low >= 0x8000u ? 0x10000 : 0);
      break;
    case IDX_INT8:
      integer = (int32_t)low - (low >= 0x80u ? 0x100 : 0);
      break;
    default:
      integer = (int32_t)low;
  }
  memcpy(to, &integer, sizeof integer);
}

/* Reads exactly `size` bytes in pieces that zlib's int can count. */
static noprop_status read_bytes(gzFile file, const char *path, void *to, size_t size) {
  size_t done = 0;
  while (done < size) {
    const unsigned piece = size - done > 1u << 24 ? 1u << 24 : (unsigned)(size - done);
    const int got = gzread(file, (char *)to + done, piece);
    if (got <= 0) {
      int error = Z_OK;
      const char *why = gzerror(file, &error);
      if (error != Z_OK && error != Z_BUF_ERROR)
        status_set(NOPROP_FILE_ERROR, "%s is damaged: %s", path, error == Z_ERRNO ? strerror(errno) : why);
      else
        status_set(NOPROP_FILE_ERROR, "%s is cut short: %zu bytes are missing", path, size - done);
      return NOPROP_FILE_ERROR;
    }
    done += (size_t)got;
  }
  return NOPROP_OK;
}

static noprop_status idx_header(gzFile file, const char *path, int *idx_type, struct table *table) {
  unsigned char head[4];
  noprop_status status = read_bytes(file, path, head, sizeof head);
  if (status != NOPROP_OK) return status;
  if (head[0] != 0 || head[1] != 0 || !idx_is_known(head[2])) {
    status_set(NOPROP_FILE_ERROR,
               "%s is not an idx file: it begins with the bytes %02x %02x %02x %02x, and 00 00, a type (08, 09, 0b to "
               "0e) and the number of dimensions are expected",
               path, head[0], head[1], head[2], head[3]);
    return NOPROP_FILE_ERROR;
  }
  if (head[3] < 1 || head[3] > 8) {
    status_set(NOPROP_FILE_ERROR, "%s has %d dimensions; 1 to 8 are allowed", path, head[3]);
    return NOPROP_FILE_ERROR;
  }
  *idx_type = head[2];
  table->rank = head[3];
  double values = 1;
  table->width = 1;
  for (int i = 0; i < table->rank; i++) {
    unsigned char size[4];
    status = read_bytes(file, path, size, sizeof size);
    if (status != NOPROP_OK) return status;
    table->shape[i] = (long)size[0] << 24 | (long)size[1] << 16 | (long)size[2] << 8 | (long)size[3];
    values *= (double)table->shape[i];
    if (values < 1 || values > 1e12) {
      status_set(NOPROP_FILE_ERROR, "%s claims %g values; 1 to 1e12 are allowed", path, values);
      return NOPROP_FILE_ERROR;
    }
    if (i > 0) table->width *= table->shape[i];
  }
  return NOPROP_OK;
}

static noprop_status idx_values(gzFile file, const char *path, int idx_type, struct table *table) {
  const size_t count = (size_t)table->shape[0] * (size_t)table->width, size = idx_size(idx_type);
  /* As the data set's own files: uint8 of rank 1 are labels, and labels are int32. */
  const bool raw = idx_type == IDX_UINT8 && table->rank > 1;
  table->type = raw                      ? NOPROP_TYPE_UINT8
                : idx_type == IDX_FLOAT  ? NOPROP_TYPE_FLOAT32
                : idx_type == IDX_DOUBLE ? NOPROP_TYPE_FLOAT64
                                         : NOPROP_TYPE_INT32;
  const size_t out_size = dataset_type_size(table->type);
  table->values = malloc(count * out_size);
  unsigned char *stored = raw ? table->values : malloc(count * size);
  if (table->values == NULL || stored == NULL) {
    if (!raw) free(stored);
    return convert_no_memory(path);
  }
  const noprop_status status = read_bytes(file, path, stored, count * size);
  if (!raw) {
    for (size_t i = 0; i < count && status == NOPROP_OK; i++)
      idx_value(idx_type, stored + i * size, (char *)table->values + i * out_size);
    free(stored);
  }
  return status;
}

/* Reads a whole idx file; table->values is the caller's to free, also on failure. */
static noprop_status read_idx(const char *path, struct table *table) {
  int idx_type = 0;
  unsigned char extra;
  *table = (struct table){.values = NULL};
  gzFile file = gzopen(path, "rb");
  if (file == NULL) {
    status_set(NOPROP_FILE_ERROR, "%s could not be opened: %s", path, strerror(errno));
    return NOPROP_FILE_ERROR;
  }
  noprop_status status = idx_header(file, path, &idx_type, table);
  if (status == NOPROP_OK) status = idx_values(file, path, idx_type, table);
  if (status == NOPROP_OK && gzread(file, &extra, 1) == 1)
    status = status_set(NOPROP_FILE_ERROR, "%s is longer than its header says", path);
  /* The check sum at the end of a gzip file is only looked at here. */
  if (gzclose(file) != Z_OK && status == NOPROP_OK)
    status = status_set(NOPROP_FILE_ERROR, "%s is damaged: its end is missing or its check sum is wrong", path);
  return status;
}

/* Images and their labels. */
static noprop_status read_idx_pair(const char *images, const char *labels, struct table *x, struct table *y) {
  noprop_status status = read_idx(images, x);
  if (status == NOPROP_OK) status = read_idx(labels, y);
  if (status == NOPROP_OK && (y->rank != 1 || y->type != NOPROP_TYPE_INT32))
    status = status_set(NOPROP_FILE_ERROR, "%s holds %s of %d dimensions; labels are integers, one a row", labels,
                        dataset_type_name(y->type), y->rank);
  if (status == NOPROP_OK && x->shape[0] != y->shape[0])
    status = status_set(NOPROP_FILE_ERROR, "%s has %ld rows, but %s has %ld", images, x->shape[0], labels, y->shape[0]);
  return status;
}

/* Finds the file of a folder whose name holds `part` (or `other`) and "idx" or "ubyte". */
static noprop_status find_idx(const char *folder, const char *part, const char *other, char *path) {
  DIR *listing = opendir(folder);
  if (listing == NULL)
    return status_set(NOPROP_FILE_ERROR, "the folder %s could not be read: %s", folder, strerror(errno));
  char best[256] = "";
  for (const struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
    const char *name = entry->d_name;
    if (strstr(name, part) == NULL && (other == NULL || strstr(name, other) == NULL)) continue;
    if (strstr(name, "idx") == NULL && strstr(name, "ubyte") == NULL) continue;
    /* The first in the alphabet, so that the order of the folder does not matter: plain before gzipped. */
    if (best[0] == '\0' || strcmp(name, best) < 0) (void)snprintf(best, sizeof best, "%s", name);
  }
  (void)closedir(listing);
  if (best[0] == '\0')
    return status_set(NOPROP_FILE_ERROR,
                      "the folder %s has no file '%s...idx...' (idx, or idx.gz); it must hold "
                      "train-images, train-labels, t10k-images and t10k-labels",
                      folder, part);
  if (snprintf(path, CONVERT_PATH_SIZE, "%s/%s", folder, best) >= CONVERT_PATH_SIZE)
    return status_set(NOPROP_FILE_ERROR, "the path of %s is too long", best);
  return NOPROP_OK;
}

static noprop_status convert_idx_folder(const char *folder, const char *title, noprop_dataset *dataset) {
  static const char *const parts[4][2] = {
      {"train-images", NULL}, {"train-labels", NULL}, {"t10k-images", "test-images"}, {"t10k-labels", "test-labels"}};
  char(*paths)[CONVERT_PATH_SIZE] = malloc(4 * sizeof *paths);
  struct table tables[4] = {{.values = NULL}};
  if (paths == NULL) return convert_no_memory(folder);
  noprop_status status = NOPROP_OK;
  for (int i = 0; i < 4 && status == NOPROP_OK; i++) status = find_idx(folder, parts[i][0], parts[i][1], paths[i]);
  for (int i = 0; i < 4 && status == NOPROP_OK; i += 2)
    status = read_idx_pair(paths[i], paths[i + 1], &tables[i], &tables[i + 1]);
  if (status == NOPROP_OK) {
    const long rows = tables[0].shape[0], validation = rows / VALIDATION_PART, train = rows - validation;
    char description[600];
    (void)snprintf(
        description, sizeof description,
        "%s: images x, labels y; %ld training images; validation: the last %ld of the file's %ld training images; "
        "%ld test images",
        title, train, validation, rows, tables[2].shape[0]);
    status = convert_add_pair(dataset, "train", &tables[0], &tables[1], NULL, 0, train);
    if (status == NOPROP_OK)
      status = convert_add_pair(dataset, "validation", &tables[0], &tables[1], NULL, train, validation);
    if (status == NOPROP_OK)
      status = convert_add_pair(dataset, "test", &tables[2], &tables[3], NULL, 0, tables[2].shape[0]);
    if (status == NOPROP_OK) status = dataset_describe(dataset, description, "idx files");
  }
  for (int i = 0; i < 4; i++) free(tables[i].values);
  free(paths);
  return status;
}

static noprop_status convert_idx_files(const noprop_convert_options *options, noprop_dataset *dataset) {
  struct table x = {.values = NULL}, y = {.values = NULL};
  char note[200], description[700];
  noprop_status status = read_idx_pair(options->input, options->labels, &x, &y);
  if (status == NOPROP_OK) status = convert_add_shuffled(dataset, options->input, &x, &y, options, note, sizeof note);
  if (status == NOPROP_OK) {
    (void)snprintf(description, sizeof description, "images x of %.200s, labels y of %.200s; %s",
                   convert_base_name(options->input), convert_base_name(options->labels), note);
    status = dataset_describe(dataset, description, "idx files");
  }
  free(x.values);
  free(y.values);
  return status;
}

noprop_status convert_fashion_mnist(const noprop_convert_options *options, noprop_dataset *dataset) {
  const char *folder = options->input == NULL ? FASHION_FOLDER : options->input;
  if (options->input == NULL && !convert_is_folder(folder))
    return status_set(NOPROP_FILE_ERROR,
                      "Fashion-MNIST is not installed: install Debian's package dataset-fashion-mnist (apt "
                      "install dataset-fashion-mnist), or give the folder that holds its four idx or idx.gz files");
  return convert_idx_folder(folder,
                            "Fashion-MNIST (0 T-shirt/top, 1 trouser, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt, "
                            "7 sneaker, 8 bag, 9 ankle boot)",
                            dataset);
}

noprop_status convert_idx(const noprop_convert_options *options, noprop_dataset *dataset) {
  if (options->input == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "the idx converter needs a folder, or a file of images and a file of labels");
  if (options->labels != NULL) return convert_idx_files(options, dataset);
  if (!convert_is_folder(options->input))
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "%s is not a folder; with a file of images a file of labels is needed too", options->input);
  return convert_idx_folder(options->input, "idx files", dataset);
}
