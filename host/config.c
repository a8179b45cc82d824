/* Configurations: YAML to struct settings and back.
 *
 * A file is read into a copy that replaces the configuration only when every key was good, so that a failure leaves it
 * unchanged. Messages are "FILE:LINE: KEY: what is wrong; allowed: what is allowed". */
#include "host/config.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "engine/status.h"
#include "host/config_layers.h"

enum { VALUE_TEXT = 1024, PATH_TEXT = 160, FILE_LIMIT = 1 << 20 };

static noprop_status no_memory(void) {
  status_set(NOPROP_OUT_OF_MEMORY, "no memory is left for a configuration");
  return NOPROP_OUT_OF_MEMORY;
}

/* ---- numbers, whatever the program's locale ---------------------------------------------------------------------- */

static locale_t c_locale_enter(locale_t *c) {
  *c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  return *c == (locale_t)0 ? (locale_t)0 : uselocale(*c);
}

static void c_locale_leave(locale_t c, locale_t before) {
  if (c == (locale_t)0) return;
  uselocale(before);
  freelocale(c);
}

/* Decimal numbers only: no hexadecimal, nan or infinity, nothing behind the number. */
bool config_real_from_text(const char *text, double *value) {
  if (text[0] == '\0' || strspn(text, "+-.0123456789eE") != strlen(text)) return false;
  locale_t c;
  const locale_t before = c_locale_enter(&c);
  char *end;
  *value = strtod(text, &end);
  c_locale_leave(c, before);
  return *end == '\0' && end != text && isfinite(*value);
}

/* The shortest decimal that reads back as the same bits, in a form that every YAML reader takes for a number. */
void config_real_to_text(double value, char *buffer, size_t size) {
  char text[40];
  locale_t c;
  const locale_t before = c_locale_enter(&c);
  for (int digits = 1; digits <= 17; digits++) {
    (void)snprintf(text, sizeof text, "%.*g", digits, value);
    const bool plain = strchr(text, 'e') == NULL || fabs(value) < 1e-4 || fabs(value) >= 1e15;
    if (plain && strtod(text, NULL) == value) break;
  }
  c_locale_leave(c, before);
  const char *exponent = strchr(text, 'e');
  const int mantissa = exponent == NULL ? (int)strlen(text) : (int)(exponent - text);
  (void)snprintf(buffer, size, "%.*s%s%s", mantissa, text, memchr(text, '.', (size_t)mantissa) == NULL ? ".0" : "",
                 exponent == NULL ? "" : exponent);
}

bool config_integer_from_text(const char *text, int64_t *value) {
  const char *digits = text + (text[0] == '-' || text[0] == '+');
  if (digits[0] == '\0' || strspn(digits, "0123456789") != strlen(digits)) return false;
  errno = 0;
  *value = strtoll(text, NULL, 10);
  return errno == 0;
}

static bool seed_from_text(const char *text, uint64_t *value) {
  if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text)) return false;
  errno = 0;
  *value = strtoull(text, NULL, 10);
  return errno == 0;
}

/* ---- one value --------------------------------------------------------------------------------------------------- */

/* A value on its way from YAML into struct settings. */
union value {
  int64_t integer;
  uint64_t seed;
  double real, pair[2];
  char text[SETTINGS_TEXT];
  struct {
    int entries[SETTINGS_MAX_HIDDEN], count;
  } list;
  struct {
    double entries[SETTINGS_MAX_KNOTS][2];
    int count;
  } pairs;
  struct {
    double entries[SETTINGS_MAX_TIMES];
    int count;
  } reals;
  struct layer_list layers;
};

static bool is_null(const yaml_node_t *node) {
  if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
  const char *text = (const char *)node->data.scalar.value;
  return text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 || strcmp(text, "Null") == 0 ||
         strcmp(text, "NULL") == 0;
}

/* The text of an unquoted scalar, or NULL. */
static const char *plain_text(const yaml_node_t *node) {
  if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return NULL;
  return (const char *)node->data.scalar.value;
}

/* A node as it may stand in a message. */
static void node_to_text(yaml_document_t *document, const yaml_node_t *node, char *buffer, size_t size) {
  switch (node->type) {
    case YAML_SCALAR_NODE:
      if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        (void)snprintf(buffer, size, "%.60s", is_null(node) ? "null" : (const char *)node->data.scalar.value);
      else
        (void)snprintf(buffer, size, "\"%.60s\"", (const char *)node->data.scalar.value);
      break;
    case YAML_SEQUENCE_NODE: {
      size_t used = (size_t)snprintf(buffer, size, "[");
      for (const yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top;
           item++) {
        char entry[80];
        if (used > 60) {
          used += (size_t)snprintf(buffer + used, size - used, ", ...");
          break;
        }
        const yaml_node_t *child = yaml_document_get_node(document, *item);
        if (child->type == YAML_SCALAR_NODE)
          node_to_text(document, child, entry, sizeof entry);
        else
          (void)snprintf(entry, sizeof entry, child->type == YAML_SEQUENCE_NODE ? "[...]" : "{...}");
        used += (size_t)snprintf(buffer + used, size - used, "%s%s",
                                 item == node->data.sequence.items.start ? "" : ", ", entry);
      }
      (void)snprintf(buffer + used, size - used, "]");
      break;
    }
    default:
      (void)snprintf(buffer, size, "{...}");
  }
}

static bool in_range(const struct config_key *key, double value) {
  return (key->above ? value > key->minimum : value >= key->minimum) &&
         (key->below ? value < key->maximum : value <= key->maximum);
}

static bool bool_from_text(const char *text, int64_t *value) {
  const bool yes = strcmp(text, "true") == 0 || strcmp(text, "True") == 0 || strcmp(text, "TRUE") == 0;
  const bool no = strcmp(text, "false") == 0 || strcmp(text, "False") == 0 || strcmp(text, "FALSE") == 0;
  *value = yes;
  return yes || no;
}

/* True if the key's word ("auto", "null") was given. */
static bool is_word(const struct config_key *key, const yaml_node_t *node) {
  if (key->word == NULL) return false;
  if (strcmp(key->word, "null") == 0) return is_null(node);
  const char *text = plain_text(node);
  return text != NULL && strcmp(text, key->word) == 0;
}

/* NULL stands for YAML's null. An array cannot be called "null": that means none. */
static bool string_from_text(const struct config_key *key, const char *text, union value *value) {
  if (text == NULL ? !key->nullable : strcmp(text, "null") == 0) return false;
  if (text == NULL) text = "null";
  if (text[0] == '\0' || strlen(text) >= key->size) return false;
  memcpy(value->text, text, strlen(text) + 1);
  return true;
}

static bool pair_from_node(const struct config_key *key, yaml_document_t *document, const yaml_node_t *node,
                           double pair[2]) {
  if (node->type != YAML_SEQUENCE_NODE) return false;
  const yaml_node_item_t *items = node->data.sequence.items.start;
  if (node->data.sequence.items.top - items != 2) return false;
  for (int i = 0; i < 2; i++) {
    const char *entry = plain_text(yaml_document_get_node(document, items[i]));
    if (entry == NULL || !config_real_from_text(entry, &pair[i]) || !in_range(key, pair[i])) return false;
  }
  return true;
}

/* Reads one node as the key's type. False if it is not of that type or not in range. */
static bool value_from_node(const struct config_key *key, yaml_document_t *document, const yaml_node_t *node,
                            union value *value) {
  const char *plain = plain_text(node);
  switch (key->type) {
    case KEY_BOOL:
      if (is_word(key, node)) return value->integer = key->word_value, true;
      return plain != NULL && bool_from_text(plain, &value->integer);
    case KEY_INTEGER:
      if (is_word(key, node)) return value->integer = key->word_value, true;
      return plain != NULL && config_integer_from_text(plain, &value->integer) && in_range(key, (double)value->integer);
    case KEY_SEED:
      return plain != NULL && seed_from_text(plain, &value->seed);
    case KEY_REAL:
      return plain != NULL && config_real_from_text(plain, &value->real) && in_range(key, value->real);
    case KEY_REAL_PAIR:
      return pair_from_node(key, document, node, value->pair) && value->pair[0] < value->pair[1];
    case KEY_ENUM:
      if (node->type != YAML_SCALAR_NODE) return false;
      value->integer = option_find(key->names, (const char *)node->data.scalar.value);
      return value->integer >= 0;
    case KEY_STRING: {
      if (node->type != YAML_SCALAR_NODE) return false;
      value->text[0] = '\0';
      if (is_word(key, node)) return true;
      const char *text = (const char *)node->data.scalar.value;
      if (strlen(text) != node->data.scalar.length) return false; /* a NUL inside */
      return string_from_text(key, is_null(node) ? NULL : text, value);
    }
    case KEY_INTEGER_LIST: {
      if (node->type != YAML_SEQUENCE_NODE) return false;
      value->list.count = 0;
      for (const yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top;
           item++) {
        const char *entry = plain_text(yaml_document_get_node(document, *item));
        int64_t number;
        if (entry == NULL || !config_integer_from_text(entry, &number) || !in_range(key, (double)number)) return false;
        if (value->list.count == SETTINGS_MAX_HIDDEN) return false;
        value->list.entries[value->list.count++] = (int)number;
      }
      return value->list.count > 0;
    }
    case KEY_REAL_PAIRS:
      if (node->type != YAML_SEQUENCE_NODE) return false;
      value->pairs.count = 0;
      for (const yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top;
           item++) {
        if (value->pairs.count == SETTINGS_MAX_KNOTS) return false;
        if (!pair_from_node(key, document, yaml_document_get_node(document, *item),
                            value->pairs.entries[value->pairs.count]))
          return false;
        ++value->pairs.count;
      }
      return true;
    case KEY_REAL_LIST: {
      value->reals.count = 0;
      if (is_word(key, node)) return true;
      if (node->type != YAML_SEQUENCE_NODE) return false;
      for (const yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top;
           item++) {
        const char *entry = plain_text(yaml_document_get_node(document, *item));
        double number;
        if (entry == NULL || !config_real_from_text(entry, &number) || !in_range(key, number)) return false;
        if (value->reals.count == SETTINGS_MAX_TIMES) return false;
        if (value->reals.count > 0 && number <= value->reals.entries[value->reals.count - 1]) return false;
        value->reals.entries[value->reals.count++] = number;
      }
      /* The whole range, strictly increasing. */
      return value->reals.count > 1 && value->reals.entries[0] == key->minimum &&
             value->reals.entries[value->reals.count - 1] == key->maximum;
    }
    case KEY_LAYERS:
      return false; /* config_layers_read reads them */
  }
  return false;
}

static void value_store(const struct config_key *key, struct settings *settings, const union value *value) {
  if (key->size == 0) return;
  char *member = (char *)settings + key->offset;
  switch (key->type) {
    case KEY_BOOL:
    case KEY_INTEGER:
    case KEY_ENUM:
      if (key->size == sizeof(bool)) {
        const bool flag = value->integer != 0;
        memcpy(member, &flag, sizeof flag);
      } else if (key->size == sizeof(int)) {
        const int number = (int)value->integer;
        memcpy(member, &number, sizeof number);
      } else {
        memcpy(member, &value->integer, sizeof value->integer);
      }
      break;
    case KEY_SEED:
      memcpy(member, &value->seed, sizeof value->seed);
      break;
    case KEY_REAL:
      memcpy(member, &value->real, sizeof value->real);
      break;
    case KEY_REAL_PAIR:
      memcpy(member, value->pair, sizeof value->pair);
      break;
    case KEY_STRING:
      memset(member, 0, key->size);
      memcpy(member, value->text, strlen(value->text));
      break;
    case KEY_INTEGER_LIST:
      memset(member, 0, key->size);
      memcpy(member, value->list.entries, (size_t)value->list.count * sizeof(int));
      memcpy((char *)settings + key->count_offset, &value->list.count, sizeof(int));
      break;
    case KEY_REAL_PAIRS:
      memset(member, 0, key->size);
      memcpy(member, value->pairs.entries, (size_t)value->pairs.count * sizeof *value->pairs.entries);
      memcpy((char *)settings + key->count_offset, &value->pairs.count, sizeof(int));
      break;
    case KEY_REAL_LIST:
      memset(member, 0, key->size);
      memcpy(member, value->reals.entries, (size_t)value->reals.count * sizeof(double));
      memcpy((char *)settings + key->count_offset, &value->reals.count, sizeof(int));
      break;
    case KEY_LAYERS:
      memcpy(member, &value->layers, sizeof value->layers);
      break;
  }
}

static void value_load(const struct config_key *key, const struct settings *settings, union value *value) {
  const char *member = (const char *)settings + key->offset;
  switch (key->type) {
    case KEY_BOOL:
    case KEY_INTEGER:
    case KEY_ENUM:
      if (key->size == sizeof(bool)) {
        bool flag;
        memcpy(&flag, member, sizeof flag);
        value->integer = flag;
      } else if (key->size == sizeof(int)) {
        int number;
        memcpy(&number, member, sizeof number);
        value->integer = number;
      } else {
        memcpy(&value->integer, member, sizeof value->integer);
      }
      break;
    case KEY_SEED:
      memcpy(&value->seed, member, sizeof value->seed);
      break;
    case KEY_REAL:
      memcpy(&value->real, member, sizeof value->real);
      break;
    case KEY_REAL_PAIR:
      memcpy(value->pair, member, sizeof value->pair);
      break;
    case KEY_STRING:
      memcpy(value->text, member, key->size);
      break;
    case KEY_INTEGER_LIST:
      memcpy(&value->list.count, (const char *)settings + key->count_offset, sizeof(int));
      memcpy(value->list.entries, member, (size_t)value->list.count * sizeof(int));
      break;
    case KEY_REAL_PAIRS:
      memcpy(&value->pairs.count, (const char *)settings + key->count_offset, sizeof(int));
      memcpy(value->pairs.entries, member, (size_t)value->pairs.count * sizeof *value->pairs.entries);
      break;
    case KEY_REAL_LIST:
      memcpy(&value->reals.count, (const char *)settings + key->count_offset, sizeof(int));
      memcpy(value->reals.entries, member, (size_t)value->reals.count * sizeof(double));
      break;
    case KEY_LAYERS:
      memcpy(&value->layers, member, sizeof value->layers);
      break;
  }
}

/* Plain where every YAML reader sees a string, else in double quotes. */
void config_string_to_text(const char *text, const char *word, char *buffer, size_t size) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
  static const char *const taken[] = {"true", "false", "yes", "no", "on", "off"};
  bool quote = strspn(text, plain) != strlen(text) || strchr("-.0123456789", text[0]) != NULL ||
               (word != NULL && strcmp(text, word) == 0);
  for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
    if (strcmp(text, taken[i]) == 0) quote = true;
  if (!quote) {
    (void)snprintf(buffer, size, "%s", text);
    return;
  }
  size_t used = 0;
  if (size > 1) buffer[used++] = '"';
  for (const unsigned char *c = (const unsigned char *)text; *c != '\0' && used + 8 < size; c++) {
    if (*c == '"' || *c == '\\') {
      buffer[used++] = '\\';
      buffer[used++] = (char)*c;
    } else if (*c < 0x20 || *c == 0x7f) {
      used += (size_t)snprintf(buffer + used, size - used, "\\x%02x", *c);
    } else {
      buffer[used++] = (char)*c;
    }
  }
  (void)snprintf(buffer + used, size - used, "\"");
}

static void value_to_text(const struct config_key *key, const union value *value, char *buffer, size_t size) {
  char first[40], second[40];
  switch (key->type) {
    case KEY_BOOL:
      (void)snprintf(buffer, size, "%s",
                     key->word != NULL && value->integer == key->word_value ? key->word
                     : value->integer != 0                                  ? "true"
                                                                            : "false");
      break;
    case KEY_INTEGER:
      if (key->word != NULL && value->integer == key->word_value)
        (void)snprintf(buffer, size, "%s", key->word);
      else
        (void)snprintf(buffer, size, "%lld", (long long)value->integer);
      break;
    case KEY_SEED:
      (void)snprintf(buffer, size, "%llu", (unsigned long long)value->seed);
      break;
    case KEY_REAL:
      config_real_to_text(value->real, buffer, size);
      break;
    case KEY_REAL_PAIR:
      config_real_to_text(value->pair[0], first, sizeof first);
      config_real_to_text(value->pair[1], second, sizeof second);
      (void)snprintf(buffer, size, "[%s, %s]", first, second);
      break;
    case KEY_ENUM:
      (void)snprintf(buffer, size, "%s", key->names[value->integer].name);
      break;
    case KEY_STRING:
      if (value->text[0] == '\0')
        (void)snprintf(buffer, size, "%s", key->word);
      else
        config_string_to_text(value->text, key->word, buffer, size);
      break;
    case KEY_INTEGER_LIST: {
      size_t used = (size_t)snprintf(buffer, size, "[");
      for (int i = 0; i < value->list.count && used + 16 < size; i++)
        used += (size_t)snprintf(buffer + used, size - used, "%s%d", i == 0 ? "" : ", ", value->list.entries[i]);
      (void)snprintf(buffer + used, size - used, "]");
      break;
    }
    case KEY_REAL_PAIRS: {
      size_t used = (size_t)snprintf(buffer, size, "[");
      for (int i = 0; i < value->pairs.count && used + 64 < size; i++) {
        config_real_to_text(value->pairs.entries[i][0], first, sizeof first);
        config_real_to_text(value->pairs.entries[i][1], second, sizeof second);
        used += (size_t)snprintf(buffer + used, size - used, "%s[%s, %s]", i == 0 ? "" : ", ", first, second);
      }
      (void)snprintf(buffer + used, size - used, "]");
      break;
    }
    case KEY_REAL_LIST: {
      if (value->reals.count == 0) {
        (void)snprintf(buffer, size, "%s", key->word);
        break;
      }
      size_t used = (size_t)snprintf(buffer, size, "[");
      for (int i = 0; i < value->reals.count && used + sizeof first + 4 < size; i++) {
        config_real_to_text(value->reals.entries[i], first, sizeof first);
        used += (size_t)snprintf(buffer + used, size - used, "%s%s", i == 0 ? "" : ", ", first);
      }
      (void)snprintf(buffer + used, size - used, "]");
      break;
    }
    case KEY_LAYERS:
      config_layers_to_text(&value->layers, buffer, size);
      break;
  }
}

/* ---- one key ----------------------------------------------------------------------------------------------------- */

static noprop_status refuse(const struct config_key *key, const char *value) {
  const char *meant = key->type == KEY_ENUM ? config_option_suggest(key->names, value) : NULL;
  return status_set(NOPROP_INVALID_CONFIG, "%s: %s is not allowed%s%s%s; allowed: %s", key->path, value,
                    meant == NULL ? "" : " (did you mean '", meant == NULL ? "" : meant, meant == NULL ? "" : "'?)",
                    key->allowed);
}

static noprop_status assign_value(struct settings *settings, const struct config_key *key, const union value *value) {
  if (key->fixed) {
    char text[VALUE_TEXT];
    value_to_text(key, value, text, sizeof text);
    union value standard;
    bool same = false;
    if (key->type == KEY_REAL)
      same = config_real_from_text(key->default_value, &standard.real) && standard.real == value->real;
    else
      same = strcmp(text, key->default_value) == 0;
    if (!same) return refuse(key, text);
  }
  value_store(key, settings, value);
  return NOPROP_OK;
}

/* `name`: of the file, or NULL; `place`: the node that a failure is about. */
static noprop_status assign_node(struct settings *settings, int index, const char *name, yaml_document_t *document,
                                 const yaml_node_t *node, const yaml_node_t **place) {
  const struct config_key *key = &CONFIG_KEYS[index];
  union value value;
  *place = node;
  if (key->type == KEY_LAYERS && node->type == YAML_SEQUENCE_NODE) {
    const noprop_status status = config_layers_read(name, document, node, &value.layers, place);
    return status == NOPROP_OK ? assign_value(settings, key, &value) : status;
  }
  if (!value_from_node(key, document, node, &value)) {
    char text[160];
    node_to_text(document, node, text, sizeof text);
    return refuse(key, text);
  }
  return assign_value(settings, key, &value);
}

static noprop_status unknown_key(const char *path) {
  char near[64];
  if (config_key_suggest(path, near, sizeof near) != NULL)
    return status_set(NOPROP_INVALID_CONFIG, "unknown key '%.120s'; did you mean '%s'?", path, near);
  return status_set(NOPROP_INVALID_CONFIG,
                    "unknown key '%.120s'; it is like none of the known keys, which begin with "
                    "variant, task, data, schedule, loss, network, optimizer, train, sample",
                    path);
}

/* ---- documents --------------------------------------------------------------------------------------------------- */

/* Where the keys of one YAML text go. */
struct reading {
  noprop_config *config;
  yaml_document_t *document;
  const char *name;           /* file name for messages and origins; NULL: a call */
  int lines[CONFIG_MAX_KEYS]; /* where each key stood in this text; 0: not yet */
};

static noprop_status prefix_place(const struct reading *reading, const yaml_node_t *node) {
  if (reading->name == NULL) return NOPROP_INVALID_CONFIG;
  return status_prefix(NOPROP_INVALID_CONFIG, "%s:%lu", reading->name, (unsigned long)node->start_mark.line + 1);
}

static noprop_status set_origin(noprop_config *config, int index, const char *name, int line) {
  char text[PATH_TEXT + 32] = "";
  if (name != NULL) (void)snprintf(text, sizeof text, "%.*s:%d", PATH_TEXT, name, line);
  char *copy = strdup(text);
  if (copy == NULL) return no_memory();
  free(config->origin[index]);
  config->origin[index] = copy;
  return NOPROP_OK;
}

static noprop_status read_mapping(struct reading *reading, const char *prefix, const yaml_node_t *mapping);

static noprop_status read_pair(struct reading *reading, const char *path, const yaml_node_t *key_node,
                               const yaml_node_t *node) {
  const int index = config_key_find(path);
  if (index < 0 && config_section_exists(path)) {
    if (node->type == YAML_MAPPING_NODE) return read_mapping(reading, path, node);
    if (is_null(node)) return NOPROP_OK; /* a section without keys */
    char text[160];
    node_to_text(reading->document, node, text, sizeof text);
    status_set(NOPROP_INVALID_CONFIG, "%s: %s is not allowed; allowed: a section of keys, {key: value, ...}", path,
               text);
    return prefix_place(reading, node);
  }
  if (index < 0) {
    unknown_key(path);
    return prefix_place(reading, key_node);
  }
  const int line = (int)key_node->start_mark.line + 1;
  if (reading->lines[index] != 0) {
    status_set(NOPROP_INVALID_CONFIG, "%s is given twice, first in line %d; allowed: once", path,
               reading->lines[index]);
    return prefix_place(reading, key_node);
  }
  reading->lines[index] = line;
  const yaml_node_t *place;
  if (assign_node(&reading->config->settings, index, reading->name, reading->document, node, &place) != NOPROP_OK)
    return prefix_place(reading, place);
  return set_origin(reading->config, index, reading->name, line);
}

static noprop_status read_mapping(struct reading *reading, const char *prefix, const yaml_node_t *mapping) {
  const yaml_node_pair_t *pairs = mapping->data.mapping.pairs.start;
  const long count = mapping->data.mapping.pairs.top - pairs;
  for (long i = 0; i < count; i++) {
    const yaml_node_t *key = yaml_document_get_node(reading->document, pairs[i].key);
    const yaml_node_t *value = yaml_document_get_node(reading->document, pairs[i].value);
    if (key->type != YAML_SCALAR_NODE) {
      status_set(NOPROP_INVALID_CONFIG, "a key must be a word");
      return prefix_place(reading, key);
    }
    const char *name = (const char *)key->data.scalar.value;
    for (long j = 0; j < i; j++) {
      const yaml_node_t *earlier = yaml_document_get_node(reading->document, pairs[j].key);
      if (earlier->type == YAML_SCALAR_NODE && strcmp(name, (const char *)earlier->data.scalar.value) == 0) {
        status_set(NOPROP_INVALID_CONFIG, "%s%s%.120s is given twice, first in line %lu; allowed: once", prefix,
                   prefix[0] == '\0' ? "" : ".", name, (unsigned long)earlier->start_mark.line + 1);
        return prefix_place(reading, key);
      }
    }
    char path[PATH_TEXT];
    (void)snprintf(path, sizeof path, "%s%s%.120s", prefix, prefix[0] == '\0' ? "" : ".", name);
    const noprop_status status = read_pair(reading, path, key, value);
    if (status != NOPROP_OK) return status;
  }
  return NOPROP_OK;
}

/* Tags ask for types that the table decides. */
static noprop_status refuse_tags(struct reading *reading) {
  for (const yaml_node_t *node = reading->document->nodes.start; node < reading->document->nodes.top; node++) {
    const char *standard = node->type == YAML_SCALAR_NODE     ? YAML_STR_TAG
                           : node->type == YAML_SEQUENCE_NODE ? YAML_SEQ_TAG
                                                              : YAML_MAP_TAG;
    if (node->tag != NULL && strcmp((const char *)node->tag, standard) != 0) {
      status_set(NOPROP_INVALID_CONFIG, "the tag '%.80s' is not allowed; allowed: values without tags",
                 (const char *)node->tag);
      return prefix_place(reading, node);
    }
  }
  return NOPROP_OK;
}

static noprop_status yaml_failure(const yaml_parser_t *parser, const char *text, size_t length, const char *name) {
  /* What is missing at the end is reported one line behind it. */
  unsigned long line = 1;
  for (size_t i = 0; i + 1 < length && line <= parser->problem_mark.line; i++) line += text[i] == '\n';
  if (parser->error == YAML_MEMORY_ERROR) return no_memory();
  const char *problem = parser->problem == NULL ? "it cannot be read" : parser->problem;
  if (name == NULL) return status_set(NOPROP_INVALID_CONFIG, "not valid YAML: %s", problem);
  return status_set(NOPROP_INVALID_CONFIG, "%s:%lu: not valid YAML: %s", name, line, problem);
}

/* Parses `text` and gives the document to `use`, which gets NULL for an empty one. */
static noprop_status with_document(noprop_config *config, const char *text, size_t length, const char *name,
                                   noprop_status (*use)(struct reading *, const yaml_node_t *, int), int argument) {
  yaml_parser_t parser;
  yaml_document_t document, second;
  struct reading reading = {.config = config, .document = &document, .name = name};
  if (!yaml_parser_initialize(&parser)) return no_memory();
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
  noprop_status status = NOPROP_OK;
  if (!yaml_parser_load(&parser, &document)) {
    status = yaml_failure(&parser, text, length, name);
    yaml_parser_delete(&parser);
    return status;
  }
  const yaml_node_t *root = yaml_document_get_root_node(&document);
  if (root != NULL) {
    if (!yaml_parser_load(&parser, &second)) {
      status = yaml_failure(&parser, text, length, name);
    } else {
      if (yaml_document_get_root_node(&second) != NULL) {
        status_set(NOPROP_INVALID_CONFIG, "a second document begins here; allowed: one document");
        status = prefix_place(&reading, yaml_document_get_root_node(&second));
      }
      yaml_document_delete(&second);
    }
  }
  if (status == NOPROP_OK) status = refuse_tags(&reading);
  if (status == NOPROP_OK) status = use(&reading, root, argument);
  yaml_document_delete(&document);
  yaml_parser_delete(&parser);
  return status;
}

static noprop_status use_as_file(struct reading *reading, const yaml_node_t *root, int unused) {
  (void)unused;
  if (root == NULL || is_null(root)) return NOPROP_OK;
  if (root->type != YAML_MAPPING_NODE) {
    status_set(NOPROP_INVALID_CONFIG, "a configuration is made of keys and values, as in 'variant: ct'");
    return prefix_place(reading, root);
  }
  return read_mapping(reading, "", root);
}

static noprop_status use_as_value(struct reading *reading, const yaml_node_t *root, int index) {
  if (root == NULL) return refuse(&CONFIG_KEYS[index], "nothing");
  const yaml_node_t *place;
  return assign_node(&reading->config->settings, index, NULL, reading->document, root, &place);
}

noprop_status config_assign_text(struct settings *settings, int index, const char *value) {
  const struct config_key *key = &CONFIG_KEYS[index];
  noprop_config holder = {.settings = *settings};
  noprop_status status;
  union value direct;
  /* File names need no quotes: what is not a word and not quoted is taken letter by letter. */
  if (key->type == KEY_STRING && value[0] != '\0' && strchr("\"'~", value[0]) == NULL && strcmp(value, "null") != 0 &&
      (key->word == NULL || strcmp(value, key->word) != 0)) {
    if (!string_from_text(key, value, &direct)) return refuse(key, value);
    status = assign_value(&holder.settings, key, &direct);
  } else {
    status = with_document(&holder, value, strlen(value), NULL, use_as_value, index);
  }
  if (status == NOPROP_OK) *settings = holder.settings;
  return status;
}

void config_format(const struct settings *settings, int index, char *buffer, size_t size) {
  const struct config_key *key = &CONFIG_KEYS[index];
  if (key->size == 0) {
    (void)snprintf(buffer, size, "%s", key->default_value);
    return;
  }
  union value value;
  value_load(key, settings, &value);
  value_to_text(key, &value, buffer, size);
}

/* ---- public functions -------------------------------------------------------------------------------------------- */

noprop_status noprop_config_create(noprop_config **config) {
  if (config == NULL) return status_set(NOPROP_INVALID_ARGUMENT, "noprop_config_create needs a place for the result");
  *config = NULL;
  noprop_config *made = calloc(1, sizeof *made);
  if (made == NULL) return no_memory();
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
  if (made == NULL) return no_memory();
  made->settings = from->settings;
  for (int i = 0; i < CONFIG_KEY_COUNT; i++) {
    if (from->origin[i] == NULL) continue;
    made->origin[i] = strdup(from->origin[i]);
    if (made->origin[i] == NULL) {
      noprop_config_destroy(made);
      return no_memory();
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
  status = with_document(changed, text, length, name, use_as_file, 0);
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
  if (index < 0) return unknown_key(key);
  struct settings changed = config->settings;
  noprop_status status = config_assign_text(&changed, index, value);
  if (status != NOPROP_OK) return status;
  status = set_origin(config, index, NULL, 0);
  if (status != NOPROP_OK) return status;
  config->settings = changed;
  return NOPROP_OK;
}

noprop_status noprop_config_get(const noprop_config *config, const char *key, char *buffer, unsigned long size) {
  if (config == NULL || key == NULL || buffer == NULL || size == 0)
    return status_set(NOPROP_INVALID_ARGUMENT, "noprop_config_get needs a configuration, a key and a buffer");
  buffer[0] = '\0';
  const int index = config_key_find(key);
  if (index < 0) return unknown_key(key);
  struct settings settings = config->settings;
  const noprop_status status = config_apply_preset(config, &settings);
  if (status != NOPROP_OK) return status;
  char *text = malloc(CONFIG_VALUE_MOST);
  if (text == NULL) return no_memory();
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
    return no_memory();
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
    return no_memory();
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
