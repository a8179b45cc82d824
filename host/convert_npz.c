/* NumPy's archives of arrays: a zip file of npy files.
 *
 * npy (NumPy enhancement proposal 1): "\x93NUMPY", version, length of the header, the header (a Python dictionary with
 * the keys descr, fortran_order and shape), then the values. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "host/convert.h"

/* One array of an archive, as the file has it. */
struct npy {
  const char *path;
  char name[64];
  unsigned char *bytes; /* the whole npy file */
  size_t size, start;   /* where the values begin */
  char kind;            /* of NumPy's descr: f, i, u or b */
  bool big_endian, fortran;
  size_t item;        /* bytes of a value */
  struct table table; /* values NULL until they are converted */
};

static noprop_status damaged(const struct npy *npy, const char *what) {
  status_set(NOPROP_FILE_ERROR, "%s: the array %s is damaged: %s", npy->path, npy->name, what);
  return NOPROP_FILE_ERROR;
}

/* ---- the header -------------------------------------------------------------------------------------------------- */

/* What stands behind 'key': in the dictionary, or NULL. */
static const char *value_of(const char *header, const char *key) {
  char quoted[32];
  (void)snprintf(quoted, sizeof quoted, "'%s'", key);
  const char *found = strstr(header, quoted);
  if (found == NULL) return NULL;
  found += strlen(quoted);
  return found + strspn(found, " :");
}

static noprop_status read_descr(struct npy *npy, const char *descr) {
  /* '<f4': byte order, kind, bytes. */
  if (descr[0] != '\'' || strchr("<>|=", descr[1]) == NULL || strchr("fiub", descr[2]) == NULL ||
      strchr("1248", descr[3]) == NULL || descr[3] == '\0' || descr[4] != '\'') {
    status_set(NOPROP_FILE_ERROR,
               "%s: the array %s has values of type %.12s; allowed: floats of 4 or 8 bytes, integers and booleans",
               npy->path, npy->name, descr);
    return NOPROP_FILE_ERROR;
  }
  npy->big_endian = descr[1] == '>';
  npy->kind = descr[2];
  npy->item = (size_t)(descr[3] - '0');
  if (npy->kind == 'f' && npy->item < 4)
    return status_set(NOPROP_FILE_ERROR, "%s: the array %s has floats of %zu bytes; allowed: 4 or 8", npy->path,
                      npy->name, npy->item);
  return NOPROP_OK;
}

static noprop_status read_shape(struct npy *npy, const char *shape) {
  struct table *table = &npy->table;
  double values = 1;
  table->width = 1;
  if (*shape++ != '(') return damaged(npy, "its shape is no tuple");
  for (shape += strspn(shape, " "); *shape != ')'; shape += strspn(shape, " ,")) {
    char *end;
    const long length = strtol(shape, &end, 10);
    if (end == shape || length < 0) return damaged(npy, "its shape is no tuple of lengths");
    if (table->rank == 8) return damaged(npy, "it has more than 8 dimensions");
    values *= (double)length;
    if (values > 1e12) return damaged(npy, "it claims more than 1e12 values");
    table->shape[table->rank++] = length;
    if (table->rank > 1) table->width *= length;
    shape = end;
  }
  if (table->rank == 0 || values < 1)
    return status_set(NOPROP_FILE_ERROR, "%s: the array %s has no rows or no values", npy->path, npy->name);
  return NOPROP_OK;
}

static noprop_status read_header(struct npy *npy) {
  const unsigned char *b = npy->bytes;
  if (npy->size < 12 || memcmp(b, "\x93NUMPY", 6) != 0) return damaged(npy, "it does not begin as an npy file does");
  const size_t long_form = b[6] >= 2;
  const size_t length = long_form ? (size_t)b[8] | (size_t)b[9] << 8 | (size_t)b[10] << 16 | (size_t)b[11] << 24
                                  : (size_t)b[8] | (size_t)b[9] << 8;
  npy->start = (long_form ? 12 : 10) + length;
  if (npy->start > npy->size || length == 0) return damaged(npy, "its header is cut short");
  npy->bytes[npy->start - 1] = '\0'; /* instead of the newline that ends it */
  const char *header = (const char *)b + (npy->start - length);
  const char *descr = value_of(header, "descr"), *fortran = value_of(header, "fortran_order");
  const char *shape = value_of(header, "shape");
  if (descr == NULL || fortran == NULL || shape == NULL)
    return damaged(npy, "its header lacks descr, fortran_order or shape");
  npy->fortran = strncmp(fortran, "True", 4) == 0;
  noprop_status status = read_descr(npy, descr);
  if (status == NOPROP_OK) status = read_shape(npy, shape);
  if (status == NOPROP_OK &&
      npy->size - npy->start != (size_t)npy->table.shape[0] * (size_t)npy->table.width * npy->item)
    status = damaged(npy, "the length of its values is not that of its shape");
  return status;
}

/* ---- the values -------------------------------------------------------------------------------------------------- */

/* Where the value stands that is number `index` with rows first. */
static size_t place_of(const struct npy *npy, size_t index) {
  if (!npy->fortran) return index;
  size_t place = 0, stride = (size_t)npy->table.shape[0] * (size_t)npy->table.width;
  for (int i = npy->table.rank - 1; i >= 0; i--) {
    const size_t length = (size_t)npy->table.shape[i];
    stride /= length;
    place += index % length * stride;
    index /= length;
  }
  return place;
}

/* The bits of a value, least significant byte first, sign-extended. */
static uint64_t bits_of(const struct npy *npy, size_t index) {
  const unsigned char *from = npy->bytes + npy->start + place_of(npy, index) * npy->item;
  uint64_t bits = 0;
  for (size_t i = 0; i < npy->item; i++) bits |= (uint64_t)from[npy->big_endian ? npy->item - 1 - i : i] << (8 * i);
  const uint64_t sign = npy->item == 1 ? 0x80u : npy->item == 2 ? 0x8000u : npy->item == 4 ? 0x80000000u : 0;
  if (npy->kind == 'i') bits = (bits ^ sign) - sign;
  return bits;
}

/* As in the data set's own files: bytes of images stay uint8, other integers become int32. */
static noprop_status convert_values(struct npy *npy) {
  struct table *table = &npy->table;
  const size_t count = (size_t)table->shape[0] * (size_t)table->width;
  if (npy->kind != 'f' && table->width == 1) table->rank = 1; /* labels in a column */
  const bool raw = npy->kind == 'u' && npy->item == 1 && table->rank > 1;
  table->type = raw                ? NOPROP_TYPE_UINT8
                : npy->kind != 'f' ? NOPROP_TYPE_INT32
                : npy->item == 4   ? NOPROP_TYPE_FLOAT32
                                   : NOPROP_TYPE_FLOAT64;
  const size_t size = dataset_type_size(table->type);
  char *values = malloc(count * size);
  if (values == NULL) return convert_no_memory(npy->path);
  table->values = values;
  for (size_t i = 0; i < count; i++) {
    const uint64_t bits = bits_of(npy, i);
    const uint32_t low = (uint32_t)bits;
    if (table->type == NOPROP_TYPE_INT32 && (npy->kind == 'i' ? (int64_t)bits != (int32_t)low : bits > INT32_MAX))
      return status_set(NOPROP_FILE_ERROR, "%s: the array %s holds an integer that does not fit 32 bits", npy->path,
                        npy->name);
    if (size == 8)
      memcpy(values + 8 * i, &bits, 8);
    else if (size == 4)
      memcpy(values + 4 * i, &low, 4);
    else
      values[i] = (char)(unsigned char)low;
  }
  return NOPROP_OK;
}

/* ---- the archive ------------------------------------------------------------------------------------------------- */

static noprop_status read_member(zip_t *archive, zip_int64_t index, struct npy *npy) {
  zip_stat_t info;
  zip_stat_init(&info);
  if (zip_stat_index(archive, (zip_uint64_t)index, 0, &info) != 0 || !(info.valid & ZIP_STAT_SIZE))
    return damaged(npy, zip_strerror(archive));
  if (info.size > (zip_uint64_t)1 << 40) return damaged(npy, "it claims more than a terabyte");
  npy->size = (size_t)info.size;
  npy->bytes = malloc(npy->size + 1);
  if (npy->bytes == NULL) return convert_no_memory(npy->path);
  zip_file_t *member = zip_fopen_index(archive, (zip_uint64_t)index, 0);
  if (member == NULL) return damaged(npy, zip_strerror(archive));
  size_t done = 0;
  zip_int64_t got = 1;
  while (done < npy->size && got > 0) {
    got = zip_fread(member, npy->bytes + done, npy->size - done);
    if (got > 0) done += (size_t)got;
  }
  unsigned char extra;
  const bool good = got >= 0 && zip_fread(member, &extra, 1) == 0; /* the check sum is looked at here */
  noprop_status status = NOPROP_OK;
  if (!good) status = damaged(npy, zip_file_strerror(member));
  if (good && done < npy->size) status = damaged(npy, "it is cut short");
  (void)zip_fclose(member);
  return status;
}

/* The array by the first of two names that is there; without either table->values stays NULL. The values are the
 * caller's to free, also on failure. */
static noprop_status read_array(zip_t *archive, const char *path, const char *name, const char *other,
                                struct table *table) {
  const char *const names[] = {name, other};
  *table = (struct table){.values = NULL};
  for (int i = 0; i < 2; i++) {
    struct npy npy = {.path = path};
    char member[80];
    if (names[i] == NULL) continue;
    (void)snprintf(npy.name, sizeof npy.name, "%s", names[i]);
    (void)snprintf(member, sizeof member, "%s.npy", names[i]);
    const zip_int64_t index = zip_name_locate(archive, member, 0);
    if (index < 0) continue;
    noprop_status status = read_member(archive, index, &npy);
    if (status == NOPROP_OK) status = read_header(&npy);
    if (status == NOPROP_OK) status = convert_values(&npy);
    free(npy.bytes);
    *table = npy.table;
    return status;
  }
  return NOPROP_OK;
}

/* x and y of one split, of the same number of rows. */
static noprop_status read_split(zip_t *archive, const char *path, const char *const names[4], struct table *x,
                                struct table *y) {
  noprop_status status = read_array(archive, path, names[0], names[1], x);
  if (status == NOPROP_OK) status = read_array(archive, path, names[2], names[3], y);
  if (status != NOPROP_OK) return status;
  if ((x->values == NULL) != (y->values == NULL))
    return status_set(NOPROP_FILE_ERROR, "%s has the array %s, but not %s", path,
                      x->values == NULL ? names[2] : names[0], x->values == NULL ? names[0] : names[2]);
  if (x->values != NULL && x->shape[0] != y->shape[0])
    return status_set(NOPROP_FILE_ERROR, "%s: %s has %ld rows, but %s has %ld", path, names[0], x->shape[0], names[2],
                      y->shape[0]);
  return NOPROP_OK;
}

/* Splits as the archive has them; without validation rows the last of the training rows are taken. */
static noprop_status add_splits(const noprop_convert_options *options, struct table (*tables)[2],
                                noprop_dataset *dataset, char *note, size_t note_size) {
  const long rows = tables[0][0].shape[0];
  const bool own = tables[1][0].values != NULL;
  const long validation = own ? 0 : convert_part(rows, convert_fraction(options->validation)),
             train = rows - validation;
  if (train < 1)
    return status_set(NOPROP_FILE_ERROR, "%s has %ld training rows, too few to take %ld to validate", options->input,
                      rows, validation);
  noprop_status status = convert_add_pair(dataset, "train", &tables[0][0], &tables[0][1], NULL, 0, train);
  if (status == NOPROP_OK)
    status = own ? convert_add_pair(dataset, "validation", &tables[1][0], &tables[1][1], NULL, 0, tables[1][0].shape[0])
                 : convert_add_pair(dataset, "validation", &tables[0][0], &tables[0][1], NULL, train, validation);
  if (status == NOPROP_OK && tables[2][0].values != NULL)
    status = convert_add_pair(dataset, "test", &tables[2][0], &tables[2][1], NULL, 0, tables[2][0].shape[0]);
  (void)snprintf(note, note_size, "the file's own splits%s", own ? "" : "; validation: the last of its training rows");
  return status;
}

noprop_status convert_npz(const noprop_convert_options *options, noprop_dataset *dataset) {
  static const char *const splits[3][4] = {{"x_train", "train_x", "y_train", "train_y"},
                                           {"x_validation", "x_val", "y_validation", "y_val"},
                                           {"x_test", "test_x", "y_test", "test_y"}};
  static const char *const whole[4] = {"x", NULL, "y", NULL};
  if (options->input == NULL) return status_set(NOPROP_INVALID_ARGUMENT, "the npz converter needs a file");
  int code = 0;
  zip_t *archive = zip_open(options->input, ZIP_RDONLY, &code);
  if (archive == NULL) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    status_set(NOPROP_FILE_ERROR, "%s could not be read as an npz archive: %s", options->input,
               zip_error_strerror(&error));
    zip_error_fini(&error);
    return NOPROP_FILE_ERROR;
  }
  struct table tables[3][2] = {{{.values = NULL}}};
  char note[200] = "", description[700];
  noprop_status status = read_split(archive, options->input, whole, &tables[0][0], &tables[0][1]);
  const bool divided = status == NOPROP_OK && tables[0][0].values == NULL;
  for (int i = 0; i < 3 && divided && status == NOPROP_OK; i++)
    status = read_split(archive, options->input, splits[i], &tables[i][0], &tables[i][1]);
  if (status == NOPROP_OK && tables[0][0].values == NULL)
    status = status_set(NOPROP_FILE_ERROR,
                        "%s has neither the arrays x and y nor x_train and y_train (with x_test, y_test, x_validation, "
                        "y_validation as you have them)",
                        options->input);
  if (status == NOPROP_OK)
    status = divided ? add_splits(options, tables, dataset, note, sizeof note)
                     : convert_add_shuffled(dataset, options->input, &tables[0][0], &tables[0][1], options, note,
                                            sizeof note);
  if (status == NOPROP_OK) {
    (void)snprintf(description, sizeof description, "arrays x and y of %.200s; %s", convert_base_name(options->input),
                   note);
    status = dataset_describe(dataset, description, "npz file");
  }
  for (int i = 0; i < 3; i++) free(tables[i][0].values), free(tables[i][1].values);
  zip_discard(archive);
  return status;
}
