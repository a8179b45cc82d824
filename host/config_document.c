/* YAML documents into struct settings. Messages are "FILE:LINE: KEY: what is wrong; allowed: what is allowed". */
#include "host/config_document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/status.h"
#include "host/config_layers.h"
#include "host/config_value.h"

enum { VALUE_TEXT = 1024, PATH_TEXT = 160 };

static noprop_status refuse(const struct config_key *key, const char *value) {
  const char *meant = key->type == KEY_ENUM ? config_option_suggest(key->names, value) : NULL;
  return status_set(NOPROP_INVALID_CONFIG, "%s: %s is not allowed%s%s%s; allowed: %s", key->path, value,
                    meant == NULL ? "" : " (did you mean '", meant == NULL ? "" : meant, meant == NULL ? "" : "'?)",
                    key->allowed);
}

static noprop_status assign_value(struct settings *settings, const struct config_key *key,
                                  const union config_value *value) {
  if (key->fixed) {
    char text[VALUE_TEXT];
    config_value_to_text(key, value, text, sizeof text);
    union config_value standard;
    bool same = false;
    if (key->type == KEY_REAL)
      same = config_real_from_text(key->default_value, &standard.real) && standard.real == value->real;
    else
      same = strcmp(text, key->default_value) == 0;
    if (!same) return refuse(key, text);
  }
  config_value_store(key, settings, value);
  return NOPROP_OK;
}

/* `name`: of the file, or NULL; `place`: the node that a failure is about. */
static noprop_status assign_node(struct settings *settings, int index, const char *name, yaml_document_t *document,
                                 const yaml_node_t *node, const yaml_node_t **place) {
  const struct config_key *key = &CONFIG_KEYS[index];
  union config_value value;
  *place = node;
  if (key->type == KEY_LAYERS && node->type == YAML_SEQUENCE_NODE) {
    const noprop_status status = config_layers_read(name, document, node, &value.layers, place);
    return status == NOPROP_OK ? assign_value(settings, key, &value) : status;
  }
  if (!config_value_from_node(key, document, node, &value)) {
    char text[160];
    config_node_to_text(document, node, text, sizeof text);
    return refuse(key, text);
  }
  return assign_value(settings, key, &value);
}

noprop_status config_unknown_key(const char *path) {
  char near[64];
  if (config_key_suggest(path, near, sizeof near) != NULL)
    return status_set(NOPROP_INVALID_CONFIG, "unknown key '%.120s'; did you mean '%s'?", path, near);
  return status_set(NOPROP_INVALID_CONFIG,
                    "unknown key '%.120s'; it is like none of the known keys, which begin with "
                    "variant, task, data, schedule, loss, network, optimizer, train, sample",
                    path);
}

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

noprop_status config_set_origin(noprop_config *config, int index, const char *name, int line) {
  char text[PATH_TEXT + 32] = "";
  if (name != NULL) (void)snprintf(text, sizeof text, "%.*s:%d", PATH_TEXT, name, line);
  char *copy = strdup(text);
  if (copy == NULL) return config_no_memory();
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
    if (config_is_null(node)) return NOPROP_OK; /* a section without keys */
    char text[160];
    config_node_to_text(reading->document, node, text, sizeof text);
    status_set(NOPROP_INVALID_CONFIG, "%s: %s is not allowed; allowed: a section of keys, {key: value, ...}", path,
               text);
    return prefix_place(reading, node);
  }
  if (index < 0) {
    config_unknown_key(path);
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
  return config_set_origin(reading->config, index, reading->name, line);
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
  if (parser->error == YAML_MEMORY_ERROR) return config_no_memory();
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
  if (!yaml_parser_initialize(&parser)) return config_no_memory();
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
  if (root == NULL || config_is_null(root)) return NOPROP_OK;
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

noprop_status config_read(noprop_config *config, const char *text, size_t length, const char *name) {
  return with_document(config, text, length, name, use_as_file, 0);
}

noprop_status config_assign_text(struct settings *settings, int index, const char *value) {
  const struct config_key *key = &CONFIG_KEYS[index];
  noprop_config holder = {.settings = *settings};
  noprop_status status;
  union config_value direct;
  /* File names need no quotes: what is not a word and not quoted is taken letter by letter. */
  if (key->type == KEY_STRING && value[0] != '\0' && strchr("\"'~", value[0]) == NULL && strcmp(value, "null") != 0 &&
      (key->word == NULL || strcmp(value, key->word) != 0)) {
    if (!config_string_from_text(key, value, &direct)) return refuse(key, value);
    status = assign_value(&holder.settings, key, &direct);
  } else {
    status = with_document(&holder, value, strlen(value), NULL, use_as_value, index);
  }
  if (status == NOPROP_OK) *settings = holder.settings;
  return status;
}
