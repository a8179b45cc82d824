/* One value of a configuration on its way between YAML, struct settings and text. For the files of host/config*. */
#ifndef HOST_CONFIG_VALUE_H
#define HOST_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <yaml.h>

#include "engine/settings.h"
#include "host/config_keys.h"

/* Numbers whatever the program's locale: false if `text` is none. */
bool config_real_from_text(const char *text, double *value);
bool config_integer_from_text(const char *text, int64_t *value);
bool config_seed_from_text(const char *text, uint64_t *value);
/* The shortest decimal that reads back as the same bits. */
void config_real_to_text(double value, char *buffer, size_t size);
/* Plain where every YAML reader sees a string other than `word` (or NULL), else in double quotes. */
void config_string_to_text(const char *text, const char *word, char *buffer, size_t size);

union config_value {
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

bool config_is_null(const yaml_node_t *node);
/* A node as it may stand in a message. */
void config_node_to_text(yaml_document_t *document, const yaml_node_t *node, char *buffer, size_t size);

/* False if the node, or the text, is nothing that the key takes. */
bool config_value_from_node(const struct config_key *key, yaml_document_t *document, const yaml_node_t *node,
                            union config_value *value);
bool config_string_from_text(const struct config_key *key, const char *text, union config_value *value);

void config_value_store(const struct config_key *key, struct settings *settings, const union config_value *value);
void config_value_load(const struct config_key *key, const struct settings *settings, union config_value *value);
/* As YAML; cut if the buffer is too small. */
void config_value_to_text(const struct config_key *key, const union config_value *value, char *buffer, size_t size);

#endif
