/* One value of a configuration: YAML node, union config_value, struct settings, text. */
#include "host/config_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/config.h"
#include "host/config_layers.h"

bool config_is_null(const yaml_node_t *node) {
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
void config_node_to_text(yaml_document_t *document, const yaml_node_t *node, char *buffer, size_t size) {
  switch (node->type) {
    case YAML_SCALAR_NODE:
      if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        (void)snprintf(buffer, size, "%.60s", config_is_null(node) ? "null" : (const char *)node->data.scalar.value);
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
          config_node_to_text(document, child, entry, sizeof entry);
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
  if (strcmp(key->word, "null") == 0) return config_is_null(node);
  const char *text = plain_text(node);
  return text != NULL && strcmp(text, key->word) == 0;
}

/* NULL stands for YAML's null. An array cannot be called "null": that means none. */
bool config_string_from_text(const struct config_key *key, const char *text, union config_value *value) {
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
bool config_value_from_node(const struct config_key *key, yaml_document_t *document, const yaml_node_t *node,
                            union config_value *value) {
  const char *plain = plain_text(node);
  switch (key->type) {
    case KEY_BOOL:
      if (is_word(key, node)) return value->integer = key->word_value, true;
      return plain != NULL && bool_from_text(plain, &value->integer);
    case KEY_INTEGER:
      if (is_word(key, node)) return value->integer = key->word_value, true;
      return plain != NULL && config_integer_from_text(plain, &value->integer) && in_range(key, (double)value->integer);
    case KEY_SEED:
      return plain != NULL && config_seed_from_text(plain, &value->seed);
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
      return config_string_from_text(key, config_is_null(node) ? NULL : text, value);
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

void config_value_store(const struct config_key *key, struct settings *settings, const union config_value *value) {
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

void config_value_load(const struct config_key *key, const struct settings *settings, union config_value *value) {
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

void config_value_to_text(const struct config_key *key, const union config_value *value, char *buffer, size_t size) {
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

void config_format(const struct settings *settings, int index, char *buffer, size_t size) {
  const struct config_key *key = &CONFIG_KEYS[index];
  if (key->size == 0) {
    (void)snprintf(buffer, size, "%s", key->default_value);
    return;
  }
  union config_value value;
  config_value_load(key, settings, &value);
  config_value_to_text(key, &value, buffer, size);
}
