/* The one table of configuration keys: path, type, place in struct settings, range, default, meaning. The parser, the
 * printer, the defaults, the help text and the messages are all made from it. */
#ifndef HOST_CONFIG_KEYS_H
#define HOST_CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/settings.h"

enum key_type {
  KEY_BOOL,
  KEY_INTEGER,
  KEY_SEED,
  KEY_REAL,
  KEY_REAL_PAIR,
  KEY_ENUM,
  KEY_STRING,
  KEY_INTEGER_LIST,
  KEY_REAL_PAIRS,
  KEY_REAL_LIST,
  KEY_LAYERS /* host/config_layers.c */
};

struct config_key {
  const char *path;
  enum key_type type;
  size_t offset, size; /* of the member in struct settings; size 0: the key has none and takes only its default */
  size_t
      count_offset; /* KEY_INTEGER_LIST, KEY_REAL_LIST, KEY_REAL_PAIRS: of the int that holds the number of entries */
  const option_name *names; /* KEY_ENUM */
  double minimum, maximum;  /* of numbers, each entry of lists */
  bool above, below;        /* the minimum, the maximum itself is not allowed */
  const char *word;         /* "auto" or "null": a word that may stand for a value, or NULL */
  int64_t word_value;       /* KEY_INTEGER, KEY_BOOL: what is stored for it; KEY_STRING stores "" */
  bool nullable;            /* KEY_STRING: null is a value, stored as "null" */
  bool fixed;               /* only the default is allowed in this version */
  const char *default_value, *allowed, *meaning;
};

/* In the order in which a configuration is printed; keys of one section stand together. */
extern const struct config_key CONFIG_KEYS[];
extern const int CONFIG_KEY_COUNT;
enum { CONFIG_MAX_KEYS = 128 };

/* Number of the key, or -1. */
int config_key_find(const char *path);
/* True if some key lies below `path` ("network" or "network.time_embedding"). */
bool config_section_exists(const char *path);
/* The known key or section nearest to `path`, or NULL if nothing is near. Written to `buffer`. */
const char *config_key_suggest(const char *path, char *buffer, size_t size);
/* The name of `list` nearest to `text`, or NULL if nothing is near. */
const char *config_option_suggest(const option_name *list, const char *text);

#endif
