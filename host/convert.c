/* Converters: idx files (MNIST's format, gzipped or not) and CSV tables to data sets. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "engine/status.h"
#include "host/dataset.h"
#include "kernels/row_order.h"

static const char FASHION_FOLDER[] = "/usr/share/datasets/fashion-mnist";
enum { PATH_SIZE = 4096, VALIDATION_PART = 12 };

static noprop_status no_memory(const char *path) {
  status_set(NOPROP_OUT_OF_MEMORY, "no memory is left to convert %s", path);
  return NOPROP_OUT_OF_MEMORY;
}

/* The name of a file without its folder: what may stand in a description. */
static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash == NULL ? path : slash + 1;
}

/* ---- arrays on their way ----------------------------------------------------------------------------------------- */

/* Rows in memory that are not yet divided into splits. */
struct table {
  noprop_type type;
  int rank;
  long shape[8], width; /* width: values of one row */
  void *values;
};

static size_t row_bytes(const struct table *table) { return (size_t)table->width * dataset_type_size(table->type); }

/* Copies `count` rows, those of `order` from position `first` on (NULL: in their own order), into a split. */
static noprop_status add_rows(noprop_dataset *dataset, const char *split, const char *name, const struct table *table,
                              const row_order *order, long first, long count) {
  const size_t bytes = row_bytes(table);
  char *values = malloc((size_t)count * bytes);
  if (values == NULL) return no_memory(name);
  for (long i = 0; i < count; i++) {
    const size_t row = order == NULL ? (size_t)(first + i) : row_order_row(order, (unsigned)(first + i));
    memcpy(values + (size_t)i * bytes, (const char *)table->values + row * bytes, bytes);
  }
  long shape[8];
  memcpy(shape, table->shape, sizeof shape);
  shape[0] = count;
  return dataset_add_owned(dataset, split, name, table->type, table->rank, shape, values);
}

static noprop_status add_pair(noprop_dataset *dataset, const char *split, const struct table *x, const struct table *y,
                              const row_order *order, long first, long count) {
  if (count == 0) return NOPROP_OK;
  const noprop_status status = add_rows(dataset, split, "x", x, order, first, count);
  return status != NOPROP_OK ? status : add_rows(dataset, split, "y", y, order, first, count);
}

/* Rows of a split of `rows` by a fraction: at least one if any are wanted. */
static long part_of(long rows, double fraction) {
  const long part = (long)floor((double)rows * fraction);
  return fraction > 0 && part == 0 ? 1 : part;
}

/* Shuffles rows and divides them: training rows first, then validation, then test. */
static noprop_status add_shuffled(noprop_dataset *dataset, const char *path, const struct table *x,
                                  const struct table *y, const noprop_convert_options *options, char *note,
                                  size_t note_size) {
  const double validation = options->validation < 0 ? 0.1 : options->validation;
  const double test = options->test < 0 ? 0.1 : options->test;
  const long rows = x->shape[0];
  if (!(validation + test < 1.0))
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "validation %g and test %g leave no training rows; allowed: fractions that sum to less than 1",
                      validation, test);
  const long validation_rows = part_of(rows, validation), test_rows = part_of(rows, test);
  const long train_rows = rows - validation_rows - test_rows;
  if (train_rows < 1)
    return status_set(NOPROP_FILE_ERROR, "%s has %ld rows, too few for %ld validation and %ld test rows", path, rows,
                      validation_rows, test_rows);
  if (rows > INT32_MAX)
    return status_set(NOPROP_FILE_ERROR, "%s has %ld rows; at most %ld are allowed", path, rows, (long)INT32_MAX);
  const row_order order = row_order_make(options->seed, 0, (unsigned)rows);
  noprop_status status = add_pair(dataset, "train", x, y, &order, 0, train_rows);
  if (status == NOPROP_OK) status = add_pair(dataset, "validation", x, y, &order, train_rows, validation_rows);
  if (status == NOPROP_OK) status = add_pair(dataset, "test", x, y, &order, train_rows + validation_rows, test_rows);
  (void)snprintf(note, note_size, "shuffled with seed %llu, then %ld training, %ld validation and %ld test rows",
                 (unsigned long long)options->seed, train_rows, validation_rows, test_rows);
  return status;
}

/* ---- idx --------------------------------------------------------------------------------------------------------- */

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
    return no_memory(path);
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
  if (snprintf(path, PATH_SIZE, "%s/%s", folder, best) >= PATH_SIZE)
    return status_set(NOPROP_FILE_ERROR, "the path of %s is too long", best);
  return NOPROP_OK;
}

static noprop_status convert_idx_folder(const char *folder, const char *title, noprop_dataset *dataset) {
  static const char *const parts[4][2] = {
      {"train-images", NULL}, {"train-labels", NULL}, {"t10k-images", "test-images"}, {"t10k-labels", "test-labels"}};
  char(*paths)[PATH_SIZE] = malloc(4 * sizeof *paths);
  struct table tables[4] = {{.values = NULL}};
  if (paths == NULL) return no_memory(folder);
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
    status = add_pair(dataset, "train", &tables[0], &tables[1], NULL, 0, train);
    if (status == NOPROP_OK) status = add_pair(dataset, "validation", &tables[0], &tables[1], NULL, train, validation);
    if (status == NOPROP_OK) status = add_pair(dataset, "test", &tables[2], &tables[3], NULL, 0, tables[2].shape[0]);
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
  if (status == NOPROP_OK) status = add_shuffled(dataset, options->input, &x, &y, options, note, sizeof note);
  if (status == NOPROP_OK) {
    (void)snprintf(description, sizeof description, "images x of %.200s, labels y of %.200s; %s",
                   base_name(options->input), base_name(options->labels), note);
    status = dataset_describe(dataset, description, "idx files");
  }
  free(x.values);
  free(y.values);
  return status;
}

static bool is_folder(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static noprop_status convert_fashion_mnist(const noprop_convert_options *options, noprop_dataset *dataset) {
  const char *folder = options->input == NULL ? FASHION_FOLDER : options->input;
  if (options->input == NULL && !is_folder(folder))
    return status_set(NOPROP_FILE_ERROR,
                      "Fashion-MNIST is not installed: install Debian's package dataset-fashion-mnist (apt "
                      "install dataset-fashion-mnist), or give the folder that holds its four idx or idx.gz files");
  return convert_idx_folder(folder,
                            "Fashion-MNIST (0 T-shirt/top, 1 trouser, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt, "
                            "7 sneaker, 8 bag, 9 ankle boot)",
                            dataset);
}

static noprop_status convert_idx(const noprop_convert_options *options, noprop_dataset *dataset) {
  if (options->input == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "the idx converter needs a folder, or a file of images and a file of labels");
  if (options->labels != NULL) return convert_idx_files(options, dataset);
  if (!is_folder(options->input))
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "%s is not a folder; with a file of images a file of labels is needed too", options->input);
  return convert_idx_folder(options->input, "idx files", dataset);
}

/* ---- csv --------------------------------------------------------------------------------------------------------- */

/* A CSV text, cut into fields in place. */
struct csv {
  const char *path;
  char *text, *position;
  char separator;
  long line;     /* of the row read last, from 1 */
  char **fields; /* of the row read last */
  int count, capacity;
};

/* The whole file as text with a zero behind it. */
static noprop_status read_text(const char *path, char **text) {
  *text = NULL;
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    status_set(NOPROP_FILE_ERROR, "%s could not be opened: %s", path, strerror(errno));
    return NOPROP_FILE_ERROR;
  }
  size_t size = 0, capacity = 1 << 16;
  char *data = malloc(capacity);
  noprop_status status = NOPROP_OK;
  while (data != NULL) {
    const size_t got = fread(data + size, 1, capacity - size - 1, file);
    size += got;
    if (got == 0) break;
    if (capacity - size > 1) continue;
    char *larger = realloc(data, capacity *= 2);
    if (larger == NULL) free(data);
    data = larger;
  }
  if (data == NULL)
    status = no_memory(path);
  else if (ferror(file))
    status = status_set(NOPROP_FILE_ERROR, "%s could not be read: %s", path, strerror(errno));
  else if (memchr(data, '\0', size) != NULL)
    status = status_set(NOPROP_FILE_ERROR, "%s is not a text file: it holds a zero byte", path);
  (void)fclose(file);
  if (status != NOPROP_OK) {
    free(data);
    return status;
  }
  data[size] = '\0';
  *text = data;
  return NOPROP_OK;
}

static bool add_field(struct csv *csv, char *field) {
  if (csv->count == csv->capacity) {
    const int capacity = csv->capacity == 0 ? 64 : 2 * csv->capacity;
    char **fields = realloc(csv->fields, (size_t)capacity * sizeof *fields);
    if (fields == NULL) return false;
    csv->fields = fields;
    csv->capacity = capacity;
  }
  csv->fields[csv->count++] = field;
  return true;
}

/* Cuts white space off both ends. */
static char *trim(char *field) {
  while (*field == ' ' || *field == '\t') field++;
  size_t length = strlen(field);
  while (length > 0 && (field[length - 1] == ' ' || field[length - 1] == '\t')) field[--length] = '\0';
  return field;
}

/* The next row that is not blank; csv->count is 0 at the end. Quoted fields end on their line. */
static noprop_status next_row(struct csv *csv) {
  csv->count = 0;
  while (csv->count == 0 && *csv->position != '\0') {
    char *line = csv->position;
    const size_t length = strcspn(line, "\r\n");
    csv->position = line + length;
    if (csv->position[0] == '\r' && csv->position[1] == '\n') csv->position++;
    if (*csv->position != '\0') csv->position++;
    line[length] = '\0';
    csv->line++;
    if (strspn(line, " \t") == length && csv->separator != '\t') continue;
    if (length == 0) continue;
    for (char *from = line;;) {
      char *field = from, *to = from;
      while (*from == ' ') from++;
      if (*from == '"') {
        for (from++; *from != '\0' && !(from[0] == '"' && from[1] != '"'); from++) {
          if (*from == '"') from++; /* "" is one quote */
          *to++ = *from;
        }
        if (*from == '\0') {
          status_set(NOPROP_FILE_ERROR, "%s:%ld: a quoted field has no end on its line", csv->path, csv->line);
          return NOPROP_FILE_ERROR;
        }
        from++;
        while (*from == ' ') from++;
        if (*from != '\0' && *from != csv->separator) {
          status_set(NOPROP_FILE_ERROR, "%s:%ld: text stands behind a quoted field", csv->path, csv->line);
          return NOPROP_FILE_ERROR;
        }
      } else {
        while (*from != '\0' && *from != csv->separator) *to++ = *from++;
      }
      const bool last = *from == '\0';
      *to = '\0';
      if (!add_field(csv, trim(field))) return no_memory(csv->path);
      if (last) break;
      from++;
    }
  }
  return NOPROP_OK;
}

/* Whatever the program's locale; nothing behind the number. */
static bool number_from_text(const char *text, double *value) {
  if (text[0] == '\0' || strspn(text, "+-.0123456789eE") != strlen(text)) return false;
  char *end;
  const locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  const locale_t before = c == (locale_t)0 ? (locale_t)0 : uselocale(c);
  *value = strtod(text, &end);
  if (c != (locale_t)0) {
    (void)uselocale(before);
    freelocale(c);
  }
  return end != text && *end == '\0' && isfinite(*value);
}

/* The separator that is most frequent in the first line that is not blank. */
static char find_separator(const char *text) {
  text += strspn(text, " \t\r\n");
  const size_t length = strcspn(text, "\r\n");
  static const char candidates[] = {',', ';', '\t'};
  char best = ',';
  int most = 0;
  for (size_t i = 0; i < sizeof candidates; i++) {
    int count = 0;
    for (size_t j = 0; j < length; j++) count += text[j] == candidates[i];
    if (count > most) most = count, best = candidates[i];
  }
  return best;
}

/* Column number of the target among `names` (NULL without a header). */
static noprop_status find_target(const struct csv *csv, char **names, int columns, const char *target, int *column) {
  *column = columns - 1;
  if (target == NULL) return NOPROP_OK;
  for (int i = 0; names != NULL && i < columns; i++)
    if (strcmp(names[i], target) == 0) return *column = i, NOPROP_OK;
  char *end;
  errno = 0;
  const long number = strtol(target, &end, 10);
  if (isdigit((unsigned char)target[0]) && *end == '\0' && errno == 0 && number < columns)
    return *column = (int)number, NOPROP_OK;
  return status_set(NOPROP_INVALID_ARGUMENT, "%s has no column '%.100s'; allowed: %sa number from 0 to %d", csv->path,
                    target, names == NULL ? "(it has no header) " : "a name of its header, or ", columns - 1);
}

/* Numbers of all rows, [rows][columns]. */
struct numbers {
  double *values;
  long rows, capacity;
};

static noprop_status read_numbers(struct csv *csv, char **names, int columns, struct numbers *numbers) {
  noprop_status status = NOPROP_OK;
  /* The first row of numbers is in csv->fields already. */
  for (; status == NOPROP_OK && csv->count > 0; status = next_row(csv)) {
    if (csv->count != columns) {
      status_set(NOPROP_FILE_ERROR, "%s:%ld: %d fields, but the first row has %d", csv->path, csv->line, csv->count,
                 columns);
      return NOPROP_FILE_ERROR;
    }
    if (numbers->rows == numbers->capacity) {
      const long capacity = numbers->capacity == 0 ? 1024 : 2 * numbers->capacity;
      double *values = realloc(numbers->values, (size_t)capacity * (size_t)columns * sizeof *values);
      if (values == NULL) return no_memory(csv->path);
      numbers->values = values;
      numbers->capacity = capacity;
    }
    double *row = numbers->values + (size_t)numbers->rows * (size_t)columns;
    for (int i = 0; i < columns; i++) {
      if (number_from_text(csv->fields[i], &row[i])) continue;
      if (names != NULL) {
        status_set(NOPROP_FILE_ERROR, "%s:%ld: column '%.60s': '%.60s' is not a number", csv->path, csv->line, names[i],
                   csv->fields[i]);
        return NOPROP_FILE_ERROR;
      }
      return status_set(NOPROP_FILE_ERROR, "%s:%ld: column %d: '%.60s' is not a number", csv->path, csv->line, i,
                        csv->fields[i]);
    }
    numbers->rows++;
  }
  return status;
}

/* The target's column as int32 if every value is an integer from 0, else float32; the others as float32. */
static noprop_status make_tables(const char *path, const struct numbers *numbers, int columns, int target,
                                 struct table *x, struct table *y) {
  const size_t rows = (size_t)numbers->rows, others = (size_t)columns - 1;
  bool labels = true;
  if (rows == 0) {
    status_set(NOPROP_FILE_ERROR, "%s has a header but no rows", path);
    return NOPROP_FILE_ERROR;
  }
  for (size_t row = 0; row < rows; row++) {
    const double value = numbers->values[row * (size_t)columns + (size_t)target];
    if (!(value >= 0 && value <= INT32_MAX && value == floor(value))) labels = false;
  }
  *x = (struct table){
      .type = NOPROP_TYPE_FLOAT32, .rank = 2, .shape = {numbers->rows, columns - 1}, .width = columns - 1};
  *y = (struct table){
      .type = labels ? NOPROP_TYPE_INT32 : NOPROP_TYPE_FLOAT32, .rank = 1, .shape = {numbers->rows}, .width = 1};
  float *inputs = malloc(rows * others * sizeof *inputs), *outputs = malloc(rows * sizeof *outputs);
  x->values = inputs;
  y->values = outputs;
  if (inputs == NULL || outputs == NULL) return no_memory(path);
  for (size_t row = 0; row < rows; row++) {
    const double *values = numbers->values + row * (size_t)columns;
    for (int column = 0; column < columns; column++)
      if (column != target) *inputs++ = (float)values[column];
    const int32_t label = labels ? (int32_t)values[target] : 0;
    const float number = (float)values[target];
    memcpy(outputs + row, labels ? (const void *)&label : (const void *)&number, sizeof label);
  }
  return NOPROP_OK;
}

static noprop_status convert_csv(const noprop_convert_options *options, noprop_dataset *dataset) {
  if (options->input == NULL) return status_set(NOPROP_INVALID_ARGUMENT, "the csv converter needs a file");
  struct csv csv = {.path = options->input};
  struct numbers numbers = {NULL, 0, 0};
  struct table x = {.values = NULL}, y = {.values = NULL};
  char **names = NULL, note[200], description[800];
  int target = 0;
  noprop_status status = read_text(options->input, &csv.text);
  if (status != NOPROP_OK) return status;
  csv.position = csv.text;
  if (strncmp(csv.position, "\xef\xbb\xbf", 3) == 0) csv.position += 3; /* UTF-8's mark */
  csv.separator = find_separator(csv.position);
  status = next_row(&csv);
  const int columns = csv.count;
  if (status == NOPROP_OK && columns < 2) {
    status = NOPROP_FILE_ERROR;
    status_set(status, "%s has %s; at least two columns are needed", csv.path, columns == 0 ? "no rows" : "one column");
  }
  bool header = false;
  for (int i = 0; i < columns && status == NOPROP_OK; i++) {
    double number;
    if (!number_from_text(csv.fields[i], &number)) header = true;
  }
  if (status == NOPROP_OK && header) {
    names = malloc((size_t)columns * sizeof *names);
    if (names == NULL)
      status = no_memory(csv.path);
    else
      memcpy(names, csv.fields, (size_t)columns * sizeof *names);
    if (status == NOPROP_OK) status = next_row(&csv);
  }
  if (status == NOPROP_OK) status = find_target(&csv, names, columns, options->target, &target);
  if (status == NOPROP_OK) status = read_numbers(&csv, names, columns, &numbers);
  if (status == NOPROP_OK) status = make_tables(csv.path, &numbers, columns, target, &x, &y);
  if (status == NOPROP_OK) status = add_shuffled(dataset, csv.path, &x, &y, options, note, sizeof note);
  if (status == NOPROP_OK) {
    char name[80];
    if (names != NULL)
      (void)snprintf(name, sizeof name, "column '%.60s'", names[target]);
    else
      (void)snprintf(name, sizeof name, "column %d", target);
    (void)snprintf(description, sizeof description, "table %.200s: %s is y (%s), the other %d columns are x; %s",
                   base_name(csv.path), name, y.type == NOPROP_TYPE_INT32 ? "labels" : "numbers", columns - 1, note);
    status = dataset_describe(dataset, description, "csv file");
  }
  free(x.values);
  free(y.values);
  free(numbers.values);
  free(names);
  free(csv.fields);
  free(csv.text);
  return status;
}

/* ---- public function --------------------------------------------------------------------------------------------- */

noprop_status noprop_dataset_convert(const char *kind, const noprop_convert_options *options,
                                     noprop_dataset **dataset) {
  static const struct {
    const char *kind;
    noprop_status (*convert)(const noprop_convert_options *, noprop_dataset *);
  } converters[] = {{"fashion-mnist", convert_fashion_mnist}, {"idx", convert_idx}, {"csv", convert_csv}};
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
  return status_set(NOPROP_INVALID_ARGUMENT, "there is no converter '%.80s'; there are: fashion-mnist, idx, csv", kind);
}
