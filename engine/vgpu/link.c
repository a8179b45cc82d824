/* Linking on the level of text: each module is cut into its top-level items (functions, variables); definitions that
 * others repeat are left out, symbols that are a module's own are renamed where another module uses the name, and what
 * remains becomes one module. */
#define _GNU_SOURCE 1
#include "engine/vgpu/link.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- tokens ---- */

struct piece {
  const char *text;
  size_t length;
};

static bool piece_is(struct piece piece, const char *text) {
  return piece.length == strlen(text) && memcmp(piece.text, text, piece.length) == 0;
}

static bool same(struct piece a, struct piece b) {
  return a.length == b.length && memcmp(a.text, b.text, a.length) == 0;
}

static bool is_name_start(char c) { return isalpha((unsigned char)c) || c == '_' || c == '$' || c == '%'; }
static bool is_name(char c) { return isalnum((unsigned char)c) || c == '_' || c == '$'; }

static int compare(struct piece a, struct piece b) {
  const int order = memcmp(a.text, b.text, a.length < b.length ? a.length : b.length);
  return order != 0 ? order : (a.length > b.length) - (a.length < b.length);
}

/* The piece as a string of its own, cut to the buffer. */
static const char *piece_text(struct piece piece, char *buffer, size_t size) {
  snprintf(buffer, size, "%.*s", (int)(piece.length < size ? piece.length : size), piece.text);
  return buffer;
}

static const char *skip_space(const char *at) {
  for (;;) {
    while (isspace((unsigned char)*at)) ++at;
    if (at[0] == '/' && at[1] == '/') {
      while (*at != '\0' && *at != '\n') ++at;
    } else if (at[0] == '/' && at[1] == '*') {
      const char *end = strstr(at + 2, "*/");
      if (end == NULL) return at + strlen(at);
      at = end + 2;
    } else {
      return at;
    }
  }
}

/* A name, a directive with its dot, a number, a string or one character. Length 0 at the end. */
static struct piece next_piece(const char **position) {
  const char *at = skip_space(*position), *begin = at;
  if (*at == '"') {
    for (++at; *at != '\0' && *at != '"'; ++at) {
      if (at[0] == '\\' && at[1] != '\0') ++at;
    }
    if (*at == '"') ++at;
  } else if (is_name_start(*at) || (*at == '.' && is_name_start(at[1]))) {
    for (++at; is_name(*at); ++at) continue;
  } else if (isdigit((unsigned char)*at)) {
    while (is_name(*at) || *at == '.') ++at;
  } else if (*at != '\0') {
    ++at;
  }
  *position = at;
  return (struct piece){begin, (size_t)(at - begin)};
}

/* ---- items ---- */

enum linkage { LINK_OWN, LINK_VISIBLE, LINK_EXTERN, LINK_WEAK };

struct item {
  struct piece text, name;
  enum linkage linkage;
  size_t input;
  bool dropped;
};

struct rename {
  struct piece from;
  size_t input;
};

struct linker {
  const struct link_input *inputs;
  size_t count;
  struct item *items;
  size_t item_count, item_capacity;
  struct rename *renames; /* sorted once all are known */
  size_t rename_count, rename_capacity;
  const struct item *first, *second; /* the earliest that is defined twice, or NULL */
  char *reason;
  size_t reason_bytes;
  unsigned version[2], target;
  char target_text[32];
};

/* Reads one top-level item. False at the end of the text or if it cannot be read (reason is then set). */
static bool read_item(struct linker *linker, size_t input, const char **position) {
  struct item item = {.input = input};
  const char *begin = skip_space(*position);
  *position = begin;
  int depth = 0;
  bool function = false, section = false, assigned = false;
  for (;;) {
    struct piece piece = next_piece(position);
    if (piece.length == 0) {
      if (piece.text == begin) return false;
      snprintf(linker->reason, linker->reason_bytes, "%s ends within a definition", linker->inputs[input].name);
      return false;
    }
    if (piece.text == begin && piece_is(piece, ".file")) { /* up to the end of its line */
      while (**position != '\0' && **position != '\n') ++*position;
      break;
    }
    if (piece.text == begin && piece_is(piece, ".section")) section = true;
    if (depth == 0 && piece_is(piece, ".visible")) item.linkage = LINK_VISIBLE;
    if (depth == 0 && piece_is(piece, ".extern")) item.linkage = LINK_EXTERN;
    if (depth == 0 && (piece_is(piece, ".weak") || piece_is(piece, ".common"))) item.linkage = LINK_WEAK;
    if (depth == 0 && (piece_is(piece, ".func") || piece_is(piece, ".entry"))) function = true;
    if (depth == 0 && piece_is(piece, "=")) assigned = true;
    if (depth == 0 && item.name.length == 0 && !assigned && is_name_start(piece.text[0])) item.name = piece;
    if (piece_is(piece, "(") || piece_is(piece, "{") || piece_is(piece, "[")) ++depth;
    if (piece_is(piece, ")") || piece_is(piece, "}") || piece_is(piece, "]")) --depth;
    if (depth == 0 && (piece_is(piece, ";") || (piece_is(piece, "}") && (function || section)))) break;
  }
  item.text = (struct piece){begin, (size_t)(*position - begin)};
  if (section) return true; /* debug information: of no use here */
  if (linker->item_count == linker->item_capacity) {
    size_t capacity = linker->item_capacity == 0 ? 64 : 2 * linker->item_capacity;
    struct item *items = realloc(linker->items, capacity * sizeof *items);
    if (items == NULL) {
      snprintf(linker->reason, linker->reason_bytes, "out of memory");
      return false;
    }
    linker->items = items;
    linker->item_capacity = capacity;
  }
  linker->items[linker->item_count++] = item;
  return true;
}

/* .version, .target and .address_size: the newest of each is the result's. */
static bool read_head(struct linker *linker, size_t input, const char **position) {
  for (;;) {
    const char *at = *position;
    struct piece piece = next_piece(&at);
    if (piece_is(piece, ".version")) {
      unsigned major = 0, minor = 0;
      char number[16];
      if (sscanf(piece_text(next_piece(&at), number, sizeof number), "%u.%u", &major, &minor) != 2) break;
      if (major > linker->version[0] || (major == linker->version[0] && minor > linker->version[1])) {
        linker->version[0] = major;
        linker->version[1] = minor;
      }
    } else if (piece_is(piece, ".target")) {
      char name[sizeof linker->target_text];
      unsigned target = 0;
      if (sscanf(piece_text(next_piece(&at), name, sizeof name), "sm_%u", &target) != 1) break;
      if (target > linker->target) {
        linker->target = target;
        memcpy(linker->target_text, name, sizeof name);
      }
      for (const char *more = at; piece_is(next_piece(&more), ",");) { /* "debug", "texmode_..." */
        next_piece(&more);
        at = more;
      }
    } else if (piece_is(piece, ".address_size")) {
      next_piece(&at);
    } else {
      return true;
    }
    *position = at;
  }
  snprintf(linker->reason, linker->reason_bytes, "%s does not begin as PTX does", linker->inputs[input].name);
  return false;
}

/* ---- resolution ---- */

static int by_name(const void *a, const void *b) {
  const struct item *x = *(struct item *const *)a, *y = *(struct item *const *)b;
  const int order = compare(x->name, y->name);
  return order != 0 ? order : (x > y) - (x < y);
}

static int by_input_and_name(const void *a, const void *b) {
  const struct rename *x = a, *y = b;
  return x->input != y->input ? (x->input > y->input) - (x->input < y->input) : compare(x->from, y->from);
}

/* A module's own symbol is renamed; it may be listed more than once. */
static bool add_rename(struct linker *linker, const struct item *item) {
  if (linker->rename_count == linker->rename_capacity) {
    const size_t capacity = linker->rename_capacity == 0 ? 64 : 2 * linker->rename_capacity;
    struct rename *renames = realloc(linker->renames, capacity * sizeof *renames);
    if (renames == NULL) {
      snprintf(linker->reason, linker->reason_bytes, "out of memory");
      return false;
    }
    linker->renames = renames;
    linker->rename_capacity = capacity;
  }
  linker->renames[linker->rename_count++] = (struct rename){item->name, item->input};
  return true;
}

/* Two items of one name, the first of them from an earlier input. */
static bool resolve_pair(struct linker *linker, struct item *earlier, struct item *item) {
  if (earlier->linkage == LINK_OWN || item->linkage == LINK_OWN) {
    /* A module's own symbol keeps its name if it came first and nobody else had it. */
    return add_rename(linker, item->linkage == LINK_OWN ? item : earlier);
  }
  if (item->linkage == LINK_EXTERN) {
    item->dropped = true;
  } else if (earlier->linkage == LINK_EXTERN) {
    return true; /* the declaration stays: functions between the two may need it */
  } else if (item->linkage == LINK_WEAK) {
    item->dropped = true;
  } else if (earlier->linkage == LINK_WEAK) {
    earlier->dropped = true;
  } else if (linker->second == NULL || item < linker->second) {
    linker->first = earlier;
    linker->second = item;
  }
  return true;
}

/* items[0, count) have one name, and are in the order of the text. */
static bool resolve_name(struct linker *linker, struct item **items, size_t count) {
  enum { PAIRS_LIMIT = 1 << 24 }; /* thousands of modules that share a name come nowhere near */
  size_t pairs = 0;
  for (size_t i = 1; i < count; ++i) {
    for (size_t k = 0; k < i && items[k]->input < items[i]->input; ++k) {
      if (++pairs > PAIRS_LIMIT) {
        char name[100];
        snprintf(linker->reason, linker->reason_bytes, "'%s' is declared too often",
                 piece_text(items[i]->name, name, sizeof name));
        return false;
      }
      if (!items[k]->dropped && !resolve_pair(linker, items[k], items[i])) return false;
    }
  }
  return true;
}

static bool resolve(struct linker *linker) {
  struct item **sorted = malloc((linker->item_count + 1) * sizeof(struct item *));
  if (sorted == NULL) {
    snprintf(linker->reason, linker->reason_bytes, "out of memory");
    return false;
  }
  size_t count = 0;
  for (size_t i = 0; i < linker->item_count; ++i) {
    if (linker->items[i].name.length > 0) sorted[count++] = &linker->items[i];
  }
  qsort((void *)sorted, count, sizeof(struct item *), by_name);
  bool good = true;
  for (size_t first = 0, end; first < count && good; first = end) {
    for (end = first + 1; end < count && same(sorted[end]->name, sorted[first]->name);) ++end;
    good = resolve_name(linker, sorted + first, end - first);
  }
  free((void *)sorted);
  if (good && linker->second != NULL) {
    char name[100];
    snprintf(linker->reason, linker->reason_bytes, "'%s' is defined in %s and in %s",
             piece_text(linker->second->name, name, sizeof name), linker->inputs[linker->first->input].name,
             linker->inputs[linker->second->input].name);
    return false;
  }
  if (linker->rename_count > 1) {
    qsort(linker->renames, linker->rename_count, sizeof *linker->renames, by_input_and_name);
  }
  return good;
}

/* ---- output ---- */

static bool is_renamed(const struct linker *linker, size_t input, struct piece name) {
  const struct rename wanted = {name, input};
  return linker->rename_count > 0 &&
         bsearch(&wanted, linker->renames, linker->rename_count, sizeof wanted, by_input_and_name) != NULL;
}

/* Numbers of files count from `first_file` on in this input. Returns the highest used. */
static unsigned write_item(const struct linker *linker, const struct item *item, FILE *out, unsigned first_file) {
  const char *at = item->text.text, *end = at + item->text.length;
  bool file_follows = false;
  unsigned highest = 0;
  while (at < end) {
    const char *before = at;
    struct piece piece = next_piece(&at);
    if (piece.length == 0 || piece.text >= end) break;
    fwrite(before, 1, (size_t)(piece.text - before), out);
    if (file_follows && isdigit((unsigned char)piece.text[0])) {
      unsigned number = first_file + (unsigned)strtoul(piece.text, NULL, 10);
      if (number > highest) highest = number;
      fprintf(out, "%u", number);
    } else if (is_renamed(linker, item->input, piece)) {
      fprintf(out, "%.*s__%zu", (int)piece.length, piece.text, item->input);
    } else {
      fwrite(piece.text, 1, piece.length, out);
    }
    file_follows = piece_is(piece, ".file") || piece_is(piece, ".loc") || piece_is(piece, "inlined_at");
  }
  fputc('\n', out);
  return highest;
}

char *link_ptx(const struct link_input *inputs, size_t count, char *reason, size_t reason_bytes) {
  struct linker linker = {.inputs = inputs, .count = count, .reason = reason, .reason_bytes = reason_bytes};
  char *text = NULL;
  size_t size = 0;
  FILE *out = NULL;
  reason[0] = '\0';
  for (size_t i = 0; i < count; ++i) {
    const char *at = inputs[i].text;
    if (!read_head(&linker, i, &at)) goto done;
    while (read_item(&linker, i, &at)) continue;
    if (reason[0] != '\0') goto done;
  }
  if (!resolve(&linker)) goto done;
  out = open_memstream(&text, &size);
  if (out == NULL) {
    snprintf(reason, reason_bytes, "out of memory");
    goto done;
  }
  fprintf(out, ".version %u.%u\n.target %s\n.address_size 64\n", linker.version[0], linker.version[1],
          linker.target_text);
  unsigned first_file = 0, highest = 0;
  for (size_t i = 0; i < linker.item_count; ++i) {
    const struct item *item = &linker.items[i];
    if (i > 0 && item->input != linker.items[i - 1].input) first_file = highest;
    if (item->dropped) continue;
    unsigned used = write_item(&linker, item, out, first_file);
    if (used > highest) highest = used;
  }
  if (fclose(out) != 0) {
    free(text);
    text = NULL;
    snprintf(reason, reason_bytes, "out of memory");
  }
done:
  free(linker.items);
  free(linker.renames);
  return text;
}
