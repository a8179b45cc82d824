/* Configurations: the public functions.
 *
 * A file is read into a copy that replaces the configuration only when every key was good, so that a failure leaves it
 * unchanged. */
#include "host/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/status.h"
#include "host/config_document.h"
#include "host/config_value.h"

enum { FILE_LIMIT = 1 << 20 };

noprop_status noprop_config_create(noprop_config **config) {
  if (config == NULL) return status_set(NOPROP_INVALID_ARGUMENT, "noprop_config_create needs a place for the result");
  *config = NULL;
  noprop_config *made = calloc(1, sizeof *made);
  if (made == NULL) return config_no_memory();
  for (int i = 0; i < CONFIG_KEY_COUNT; i++) {
    const noprop_status status = config_assign_text(&made->settings, i, CONFIG_KEYS[i].default_value);
    if (status != NOPROP_OK) {
      noprop_config_destroy(made);
      return status;
    }
  }
  *config = made;
  return NOPROP_OK;
}

noprop_status noprop_config_copy(const noprop_config *from, noprop_config **config) {
  if (from == NULL || config == NULL) {
    status_set(NOPROP_INVALID_ARGUMENT, "noprop_config_copy needs a configuration and a place for the copy");
    return NOPROP_INVALID_ARGUMENT;
  }
  *config = NULL;
  noprop_config *made = calloc(1, sizeof *made);
  if (made == NULL) return config_no_memory();
  made->settings = from->settings;
  for (int i = 0; i < CONFIG_KEY_COUNT; i++) {
    if (from->origin[i] == NULL) continue;
    made->origin[i] = strdup(from->origin[i]);
    if (made->origin[i] == NULL) {
      noprop_config_destroy(made);
      return config_no_memory();
    }
  }
  *config = made;
  return NOPROP_OK;
}

void noprop_config_destroy(noprop_config *config) {
  if (config == NULL) return;
  for (int i = 0; i < CONFIG_MAX_KEYS; i++) free(config->origin[i]);
  free(config);
}

static void move_into(noprop_config *config, noprop_config *from) {
  const noprop_config old = *config;
  *config = *from;
  *from = old;
  noprop_config_destroy(from);
}

static noprop_status parse(noprop_config *config, const char *text, size_t length, const char *name) {
  noprop_config *changed;
  noprop_status status = noprop_config_copy(config, &changed);
  if (status != NOPROP_OK) return status;
  status = config_read(changed, text, length, name);
  if (status != NOPROP_OK) {
    noprop_config_destroy(changed);
    return status;
  }
  move_into(config, changed);
  return NOPROP_OK;
}

noprop_status noprop_config_parse(noprop_config *config, const char *text, const char *name) {
  if (config == NULL || text == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_config_parse needs a configuration and a text");
  return parse(config, text, strlen(text), name == NULL ? "text" : name);
}

noprop_status noprop_config_load(noprop_config *config, const char *path) {
  if (config == NULL || path == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_config_load needs a configuration and a file name");
  FILE *file = fopen(path, "rb");
  if (file == NULL) return status_set(NOPROP_FILE_ERROR, "%s: the file cannot be opened: %s", path, strerror(errno));
  noprop_status status = NOPROP_OK;
  char *text = malloc(FILE_LIMIT + 1);
  size_t length = 0;
  if (text == NULL) {
    status = status_set(NOPROP_OUT_OF_MEMORY, "no memory is left to read '%s'", path);
  } else {
    length = fread(text, 1, FILE_LIMIT + 1, file);
    if (ferror(file))
      status = status_set(NOPROP_FILE_ERROR, "%s: the file cannot be read: %s", path, strerror(errno));
    else if (length > FILE_LIMIT)
      status = status_set(NOPROP_INVALID_CONFIG,
                          "%s: the file is larger than 1 MiB; a configuration is a short YAML file", path);
  }
  (void)fclose(file);
  if (status == NOPROP_OK) status = parse(config, text, length, path);
  free(text);
  return status;
}

noprop_status noprop_config_set(noprop_config *config, const char *key, const char *value) {
  if (config == NULL || key == NULL || value == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_config_set needs a configuration, a key and a value");
  const int index = config_key_find(key);
  if (index < 0 && config_section_exists(key))
    return status_set(NOPROP_INVALID_CONFIG, "'%s' is a section; give one of its keys, as in %s.KEY=VALUE", key, key);
  if (index < 0) return config_unknown_key(key);
  struct settings changed = config->settings;
  noprop_status status = config_assign_text(&changed, index, value);
  if (status != NOPROP_OK) return status;
  status = config_set_origin(config, index, NULL, 0);
  if (status != NOPROP_OK) return status;
  config->settings = changed;
  return NOPROP_OK;
}

noprop_status noprop_config_get(const noprop_config *config, const char *key, char *buffer, unsigned long size) {
  if (config == NULL || key == NULL || buffer == NULL || size == 0)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_config_get needs a configuration, a key and a buffer");
  buffer[0] = '\0';
  const int index = config_key_find(key);
  if (index < 0) return config_unknown_key(key);
  struct settings settings = config->settings;
  const noprop_status status = config_apply_preset(config, &settings);
  if (status != NOPROP_OK) return status;
  char *text = malloc(CONFIG_VALUE_MOST);
  if (text == NULL) return config_no_memory();
  config_format(&settings, index, text, CONFIG_VALUE_MOST);
  const size_t length = strlen(text);
  if (length < size) memcpy(buffer, text, length + 1);
  free(text);
  return length < size ? NOPROP_OK
                       : status_set(NOPROP_INVALID_ARGUMENT, "the value of %s needs %zu bytes, the buffer has %lu", key,
                                    length + 1, size);
}

/* Number of leading dotted parts that two paths share, the last part of either not counted. */
static int shared_parts(const char *a, const char *b) {
  int parts = 0;
  for (int i = 0; a[i] != '\0' && a[i] == b[i]; i++) parts += a[i] == '.';
  return parts;
}

static int section_depth(const char *path) {
  int depth = 0;
  for (; *path != '\0'; path++) depth += *path == '.';
  return depth;
}

/* Part number `part` of a dotted path. */
static void path_part(const char *path, int part, char *buffer, size_t size) {
  for (; part > 0; part--) path = strchr(path, '.') + 1;
  (void)snprintf(buffer, size, "%.*s", (int)strcspn(path, "."), path);
}

noprop_status noprop_config_text(const noprop_config *config, char **text) {
  if (config == NULL || text == NULL)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_config_text needs a configuration and a place for the text");
  *text = NULL;
  struct settings settings = config->settings;
  noprop_status status = config_apply_preset(config, &settings);
  if (status != NOPROP_OK) return status;
  enum { INDENT = 12, LINE = 110, PIECE = CONFIG_VALUE_MOST + 256 };
  size_t length, column = 0;
  char *const value = malloc(CONFIG_VALUE_MOST + PIECE), *const piece = value + CONFIG_VALUE_MOST;
  FILE *out = value == NULL ? NULL : open_memstream(text, &length);
  if (out == NULL) {
    free(value);
    return config_no_memory();
  }
  for (int i = 0; i < CONFIG_KEY_COUNT; i++) {
    const char *path = CONFIG_KEYS[i].path;
    const char *before = i == 0 ? "" : CONFIG_KEYS[i - 1].path;
    const char *after = i + 1 == CONFIG_KEY_COUNT ? "" : CONFIG_KEYS[i + 1].path;
    char name[64];
    config_format(&settings, i, value, CONFIG_VALUE_MOST);
    const int depth = section_depth(path);
    if (depth == 0) {
      (void)fprintf(out, "%s: %s\n", path, value);
      continue;
    }
    /* The sections that open here, the key, the sections that close behind it. */
    const int open = shared_parts(path, before), still_open = shared_parts(path, after);
    size_t used = 0;
    piece[0] = '\0';
    for (int part = open; part < depth; part++) {
      path_part(path, part, name, sizeof name);
      if (part == 0) {
        (void)fprintf(out, "%s:%*s{", name, (int)(INDENT - 2 - strlen(name)), "");
        column = INDENT;
      } else {
        used += (size_t)snprintf(piece + used, PIECE - used, "%s: {", name);
      }
    }
    path_part(path, depth, name, sizeof name);
    used += (size_t)snprintf(piece + used, PIECE - used, "%s: %s", name, value);
    for (int part = still_open; part < depth; part++) used += (size_t)snprintf(piece + used, PIECE - used, "}");
    if (still_open > 0) used += (size_t)snprintf(piece + used, PIECE - used, ",");
    if (column > INDENT) {
      if (column + 1 + used > LINE) {
        (void)fprintf(out, "\n%*s", INDENT, "");
        column = INDENT;
      } else {
        (void)fputc(' ', out);
        column++;
      }
    }
    (void)fputs(piece, out);
    column += used;
    if (still_open == 0) (void)fputc('\n', out);
  }
  free(value);
  const bool failed = ferror(out) != 0;
  if (fclose(out) != 0 || failed) {
    free(*text);
    *text = NULL;
    return config_no_memory();
  }
  return NOPROP_OK;
}

noprop_config_key noprop_config_key_at(int index) {
  if (index < 0 || index >= CONFIG_KEY_COUNT) return (noprop_config_key){NULL, NULL, NULL, NULL};
  const struct config_key *key = &CONFIG_KEYS[index];
  return (noprop_config_key){key->path, key->allowed, key->default_value, key->meaning};
}

void noprop_free(void *memory) { free(memory); }

bool config_is_given(const noprop_config *config, const char *key) {
  const int index = config_key_find(key);
  return index >= 0 && config->origin[index] != NULL;
}
