/* printf of kernels: formats, and keeps the text until the launch ends. */
#include "engine/vgpu/print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the text of a launch ---- */

struct vgpu_output_piece {
  struct vgpu_output_piece *next;
  uint64_t block;
  uint64_t order;
  size_t bytes;
  char text[];
};

/* More than that is written before the launch ends. */
enum { OUTPUT_LIMIT = 64 << 20 };

static int by_block(const void *a, const void *b) {
  const struct vgpu_output_piece *x = *(struct vgpu_output_piece *const *)a, *y = *(struct vgpu_output_piece *const *)b;
  if (x->block != y->block) return x->block < y->block ? -1 : 1;
  return x->order < y->order ? -1 : x->order > y->order;
}

static void write_pieces(struct vgpu_output *output) {
  size_t count = 0;
  for (struct vgpu_output_piece *piece = output->first; piece != NULL; piece = piece->next) piece->order = count++;
  struct vgpu_output_piece **sorted = malloc((count + 1) * sizeof *sorted);
  size_t at = 0;
  for (struct vgpu_output_piece *piece = output->first; piece != NULL && sorted != NULL; piece = piece->next)
    sorted[at++] = piece;
  if (sorted != NULL) qsort(sorted, count, sizeof *sorted, by_block);
  for (size_t i = 0; i < at; i++) fwrite(sorted[i]->text, 1, sorted[i]->bytes, stdout);
  if (count != 0) fflush(stdout);
  free(sorted);
  for (struct vgpu_output_piece *piece = output->first, *next; piece != NULL; piece = next) {
    next = piece->next;
    free(piece);
  }
  output->first = output->last = NULL;
  output->bytes = 0;
}

void vgpu_output_add(struct vgpu_output *output, uint64_t block, const char *text, size_t bytes) {
  if (output == NULL) {
    fwrite(text, 1, bytes, stdout);
    fflush(stdout);
    return;
  }
  struct vgpu_output_piece *piece = malloc(sizeof *piece + bytes);
  if (piece == NULL) return; /* as if the device's buffer were full */
  *piece = (struct vgpu_output_piece){.block = block, .bytes = bytes};
  memcpy(piece->text, text, bytes);
  pthread_mutex_lock(&output->mutex);
  if (output->last != NULL)
    output->last->next = piece;
  else
    output->first = piece;
  output->last = piece;
  output->bytes += bytes;
  if (output->bytes > OUTPUT_LIMIT) write_pieces(output);
  pthread_mutex_unlock(&output->mutex);
}

void vgpu_output_finish(struct vgpu_output *output) {
  pthread_mutex_lock(&output->mutex);
  write_pieces(output);
  pthread_mutex_unlock(&output->mutex);
}

/* ---- formatting ---- */

struct text {
  char *data;
  size_t bytes, room;
  bool failed;
};

static void put(struct text *text, const char *from, size_t bytes) {
  if (text->bytes + bytes + 1 > text->room) {
    size_t room = (text->bytes + bytes + 1) * 2;
    char *grown = realloc(text->data, room);
    if (grown == NULL) {
      text->failed = true;
      return;
    }
    text->data = grown;
    text->room = room;
  }
  memcpy(text->data + text->bytes, from, bytes);
  text->bytes += bytes;
  text->data[text->bytes] = 0;
}

struct arguments {
  uint64_t next;
  const struct vgpu_reader *reader;
  uint64_t bad;
  int count;
};

static uint64_t take_argument(struct arguments *arguments, unsigned bytes) {
  uint64_t value = 0;
  arguments->next = (arguments->next + bytes - 1) / bytes * bytes;
  if (arguments->bad != 0) return 0;
  if (arguments->reader->readable(arguments->reader->context, arguments->next) < bytes) {
    arguments->bad = arguments->next;
    return 0;
  }
  memcpy(&value, (const void *)(uintptr_t)arguments->next, bytes);
  arguments->next += bytes;
  arguments->count++;
  return value;
}

/* Bytes of the string at `address` before its 0; SIZE_MAX: it does not end in memory that may be read. */
static size_t string_length(uint64_t address, const struct vgpu_reader *reader) {
  size_t limit = reader->readable(reader->context, address);
  size_t length = limit != 0 ? strnlen((const char *)(uintptr_t)address, limit) : 0;
  return length < limit ? length : SIZE_MAX;
}

void vgpu_read_text(char *text, size_t room, uint64_t address, const struct vgpu_reader *reader) {
  size_t length = string_length(address, reader);
  if (length == SIZE_MAX)
    snprintf(text, room, "?");
  else
    snprintf(text, room, "%.*s", length > 1000 ? 1000 : (int)length, (const char *)(uintptr_t)address);
}

enum { SPECIFICATION_BYTES = 80 };

static void finish(char *specification, size_t used, const char *length, char kind) {
  snprintf(specification + used, SPECIFICATION_BYTES - used, "%s%c", length, kind);
}

/* One conversion, from its '%' on; returns how many bytes of the format it takes. */
static size_t convert(struct text *out, const char *format, struct arguments *arguments) {
  char specification[SPECIFICATION_BYTES] = "%", result[600];
  size_t at = 1, used = 1;
  const size_t flags = strspn(format + at, "-+ #0");
  int width = -1, precision = -1;
  for (size_t i = 0; i < flags && used < 8; i++) specification[used++] = format[at + i];
  at += flags;
  for (int part = 0; part < 2; part++) {
    if (part == 1) {
      if (format[at] != '.') break;
      at++;
      precision = 0;
    }
    int value;
    if (format[at] == '*') {
      value = (int)(uint32_t)take_argument(arguments, 4);
      at++;
    } else {
      const size_t digits = strspn(format + at, "0123456789");
      value = digits != 0 ? atoi(format + at) : part == 1 ? 0 : -1;
      at += digits;
    }
    if (part == 0 && value < -1) { /* a negative width is the flag '-' and a width */
      if (used < 8) specification[used++] = '-';
      value = value == -2147483647 - 1 ? 0 : -value;
    }
    if (part == 0)
      width = value;
    else
      precision = value;
  }
  if (width > 500) width = 500;
  if (precision > 500) precision = 500;
  const size_t lengths = strspn(format + at, "hlzjtL");
  bool wide = false, narrow = false, least = false;
  for (size_t i = 0; i < lengths; i++) {
    if (format[at + i] == 'h')
      least = narrow, narrow = true;
    else
      wide = true;
  }
  at += lengths;
  const char kind = format[at];
  if (kind == 0) {
    put(out, format, at);
    return at;
  }
  if (width >= 0) used += (size_t)snprintf(specification + used, sizeof specification - used, "%d", width);
  if (precision >= 0) used += (size_t)snprintf(specification + used, sizeof specification - used, ".%d", precision);
  specification[used] = 0;
  int length = 0;
  switch (kind) {
    case '%':
      put(out, "%", 1);
      return at + 1;
    case 'd':
    case 'i': {
      uint64_t bits = take_argument(arguments, wide ? 8 : 4);
      long long value = wide     ? (long long)bits
                        : least  ? (signed char)bits
                        : narrow ? (short)bits
                                 : (long long)(int)(uint32_t)bits;
      finish(specification, used, "ll", 'd');
      length = snprintf(result, sizeof result, specification, value);
      break;
    }
    case 'o':
    case 'u':
    case 'x':
    case 'X': {
      uint64_t value = take_argument(arguments, wide ? 8 : 4);
      value = least ? (unsigned char)value : narrow ? (unsigned short)value : value;
      finish(specification, used, "ll", kind);
      length = snprintf(result, sizeof result, specification, (unsigned long long)value);
      break;
    }
    case 'c':
      finish(specification, used, "", 'c');
      length = snprintf(result, sizeof result, specification, (int)(uint32_t)take_argument(arguments, 4));
      break;
    case 'p':
      finish(specification, used, "", 'p');
      length = snprintf(result, sizeof result, specification, (void *)(uintptr_t)take_argument(arguments, 8));
      break;
    case 's': {
      const uint64_t address = take_argument(arguments, 8);
      const size_t bytes = address != 0 ? string_length(address, arguments->reader) : 0;
      if (arguments->bad != 0) return at + 1;
      if (bytes == SIZE_MAX) {
        arguments->bad = address;
        return at + 1;
      }
      const char *string = address != 0 ? (const char *)(uintptr_t)address : "(null)";
      const size_t have = address != 0 ? bytes : 6;
      const size_t shown = precision >= 0 && (size_t)precision < have ? (size_t)precision : have;
      const bool left = memchr(specification, '-', used) != NULL;
      const size_t blanks = width > 0 && (size_t)width > shown ? (size_t)width - shown : 0;
      for (size_t i = 0; !left && i < blanks; i++) put(out, " ", 1);
      put(out, string, shown);
      for (size_t i = 0; left && i < blanks; i++) put(out, " ", 1);
      return at + 1;
    }
    case 'a':
    case 'A':
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G': {
      const uint64_t bits = take_argument(arguments, 8);
      double value;
      memcpy(&value, &bits, sizeof value);
      finish(specification, used, "", kind);
      char longer[1200]; /* the largest double has 309 digits before the point */
      length = snprintf(longer, sizeof longer, specification, value);
      put(out, longer, length > 0 ? (size_t)length : 0);
      return at + 1;
    }
    default: /* no conversion: as it stands */
      put(out, format, at + 1);
      return at + 1;
  }
  put(out, result, length > 0 ? (size_t)length : 0);
  return at + 1;
}

char *vgpu_format(uint64_t format, uint64_t arguments, const struct vgpu_reader *reader, size_t *bytes, int *count,
                  uint64_t *bad) {
  struct text out = {0};
  struct arguments list = {.next = arguments, .reader = reader};
  *bad = 0;
  const size_t length = string_length(format, reader);
  if (length == SIZE_MAX) {
    *bad = format;
    return NULL;
  }
  const char *text = (const char *)(uintptr_t)format;
  put(&out, "", 0);
  for (size_t at = 0; at < length && !out.failed && list.bad == 0;) {
    const size_t plain = strcspn(text + at, "%");
    put(&out, text + at, plain);
    at += plain;
    if (at < length) at += convert(&out, text + at, &list);
  }
  if (out.failed || list.bad != 0) {
    *bad = list.bad;
    free(out.data);
    return NULL;
  }
  *bytes = out.bytes;
  *count = list.count;
  return out.data;
}
