/* Tables of text: fields separated by comma, semicolon or tab. */
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/convert.h"

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
static noprop_status csv_text(const char *path, char **text) {
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
    status = convert_no_memory(path);
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
      if (!add_field(csv, trim(field))) return convert_no_memory(csv->path);
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
      if (values == NULL) return convert_no_memory(csv->path);
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
  if (inputs == NULL || outputs == NULL) return convert_no_memory(path);
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

noprop_status convert_csv(const noprop_convert_options *options, noprop_dataset *dataset) {
  if (options->input == NULL) return status_set(NOPROP_INVALID_ARGUMENT, "the csv converter needs a file");
  struct csv csv = {.path = options->input};
  struct numbers numbers = {NULL, 0, 0};
  struct table x = {.values = NULL}, y = {.values = NULL};
  char **names = NULL, note[200], description[800];
  int target = 0;
  noprop_status status = csv_text(options->input, &csv.text);
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
      status = convert_no_memory(csv.path);
    else
      memcpy(names, csv.fields, (size_t)columns * sizeof *names);
    if (status == NOPROP_OK) status = next_row(&csv);
  }
  if (status == NOPROP_OK) status = find_target(&csv, names, columns, options->target, &target);
  if (status == NOPROP_OK) status = read_numbers(&csv, names, columns, &numbers);
  if (status == NOPROP_OK) status = make_tables(csv.path, &numbers, columns, target, &x, &y);
  if (status == NOPROP_OK) status = convert_add_shuffled(dataset, csv.path, &x, &y, options, note, sizeof note);
  if (status == NOPROP_OK) {
    char name[80];
    if (names != NULL)
      (void)snprintf(name, sizeof name, "column '%.60s'", names[target]);
    else
      (void)snprintf(name, sizeof name, "column %d", target);
    (void)snprintf(description, sizeof description, "table %.200s: %s is y (%s), the other %d columns are x; %s",
                   convert_base_name(csv.path), name, y.type == NOPROP_TYPE_INT32 ? "labels" : "numbers", columns - 1,
                   note);
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
