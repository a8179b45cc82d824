/* How the program speaks: messages, progress lines, JSON lines, tables. */
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "host/cli/cli.h"

/* ---- messages ---------------------------------------------------------------------------------------------------- */

void say(struct cli *cli, const char *format, ...) {
  if (cli->quiet) return;
  progress_clear(cli);
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
}

int fail(struct cli *cli, int code, const char *format, ...) {
  progress_clear(cli);
  va_list arguments;
  va_start(arguments, format);
  fputs("noprop: ", stderr);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  return code;
}

int fail_status(struct cli *cli, noprop_status status) {
  if (status == NOPROP_OK) return EXIT_DONE;
  const char *sentence = noprop_last_error();
  return fail(cli, status == NOPROP_INVALID_CONFIG || status == NOPROP_INVALID_ARGUMENT ? EXIT_USAGE : EXIT_FAILED,
              "%s", sentence[0] ? sentence : noprop_status_name(status));
}

static double clock_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_line(struct cli *cli, const char *format, ...) {
  enum { LINE_EVERY = 10 }; /* seconds, where lines stay */
  if (cli->quiet) return;
  double now = clock_seconds();
  if (!cli->on_terminal) {
    if (cli->last_line == 0) cli->last_line = now;
    if (now - cli->last_line < LINE_EVERY) return;
  }
  cli->last_line = now;
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  if (!cli->on_terminal) {
    fprintf(stderr, "%s\n", line);
    return;
  }
  struct winsize size;
  int width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 10 ? size.ws_col : 80;
  fprintf(stderr, "\r%.*s\033[K", width - 1, line);
  fflush(stderr);
  cli->line_is_open = true;
}

void progress_clear(struct cli *cli) {
  if (!cli->line_is_open) return;
  fputs("\r\033[K", stderr);
  cli->line_is_open = false;
}

void format_seconds(char *text, size_t size, double seconds) {
  if (!(seconds >= 0) || seconds > 1e8)
    snprintf(text, size, "?");
  else if (seconds < 100)
    snprintf(text, size, "%.0f s", seconds);
  else if (seconds < 6000)
    snprintf(text, size, "%d min %02d s", (int)seconds / 60, (int)seconds % 60);
  else
    snprintf(text, size, "%d h %02d min", (int)(seconds / 3600), (int)(seconds / 60) % 60);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void json_string(const char *text) {
  putchar('"');
  for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
    if (*c == '"' || *c == '\\')
      printf("\\%c", *c);
    else if (*c == '\n')
      fputs("\\n", stdout);
    else if (*c < 0x20)
      printf("\\u%04x", *c);
    else
      putchar(*c);
  }
  putchar('"');
}

static void json_key(struct json *json, const char *key) {
  fputs(json->count++ ? ", " : "{", stdout);
  json_string(key);
  fputs(": ", stdout);
}

void json_text(struct json *json, const char *key, const char *value) {
  json_key(json, key);
  json_string(value);
}

void json_number(struct json *json, const char *key, double value) {
  json_key(json, key);
  if (isfinite(value))
    printf("%.10g", value);
  else
    fputs("null", stdout);
}

void json_integer(struct json *json, const char *key, long long value) {
  json_key(json, key);
  printf("%lld", value);
}

void json_bool(struct json *json, const char *key, bool value) {
  json_key(json, key);
  fputs(value ? "true" : "false", stdout);
}

void json_end(struct json *json) {
  if (json->count == 0) putchar('{');
  puts("}");
  fflush(stdout);
  json->count = 0;
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

struct table {
  int columns, count, capacity;
  char **cells;
};

struct table *table_create(int columns) {
  struct table *table = calloc(1, sizeof *table);
  if (table) table->columns = columns;
  return table;
}

void table_cell(struct table *table, const char *format, ...) {
  if (!table) return;
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (table->count == table->capacity) {
    int capacity = table->capacity ? 2 * table->capacity : 64;
    char **cells = realloc(table->cells, (size_t)capacity * sizeof *cells);
    if (!cells) return;
    table->cells = cells;
    table->capacity = capacity;
  }
  table->cells[table->count++] = strdup(text);
}

/* Columns on a terminal: bytes that do not continue a UTF-8 character. */
static int display_width(const char *text) {
  int width = 0;
  for (; text && *text; text++) width += ((unsigned char)*text & 0xc0) != 0x80;
  return width;
}

static bool is_number(const char *text) {
  return text &&
         (isdigit((unsigned char)text[0]) ||
          ((text[0] == '-' || text[0] == '.') && (text[1] == 0 || text[1] == '.' || isdigit((unsigned char)text[1]))));
}

void table_print(struct table *table) {
  if (!table) return;
  int rows = (table->count + table->columns - 1) / table->columns;
  for (int row = 0; row < rows; row++) {
    for (int column = 0; column < table->columns; column++) {
      int index = row * table->columns + column;
      const char *cell = index < table->count ? table->cells[index] : "";
      int width = 0;
      bool right = rows > 1;
      for (int other = column; other < table->count; other += table->columns) {
        int length = display_width(table->cells[other]);
        if (length > width) width = length;
        if (other >= table->columns && table->cells[other] && table->cells[other][0] && !is_number(table->cells[other]))
          right = false;
      }
      bool last = column == table->columns - 1;
      int space = width - display_width(cell);
      printf("%*s%s%*s%s", right ? space : 0, "", cell ? cell : "", right || last ? 0 : space, "", last ? "\n" : "  ");
    }
  }
  fflush(stdout);
  for (int i = 0; i < table->count; i++) free(table->cells[i]);
  free(table->cells);
  free(table);
}
