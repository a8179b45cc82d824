/* A configuration: every option of data, model, training and sampling, by dotted key ("network.hidden").
 * Every key has a default. Unknown keys, wrong types and values out of range are refused with a sentence that names the
 * file and line (if any), the key, the value, what is allowed, and the nearest known key. */
#ifndef NOPROP_CONFIG_H
#define NOPROP_CONFIG_H

#include <noprop/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct noprop_config noprop_config;

NOPROP_API noprop_status noprop_config_create(noprop_config **config); /* all defaults */
NOPROP_API noprop_status noprop_config_copy(const noprop_config *from, noprop_config **config);
NOPROP_API void noprop_config_destroy(noprop_config *config); /* NULL is allowed */

/* Reads YAML over what the configuration holds. On failure the configuration is unchanged. */
NOPROP_API noprop_status noprop_config_load(noprop_config *config, const char *path);
/* The same from text; `name` stands for the file name in messages. */
NOPROP_API noprop_status noprop_config_parse(noprop_config *config, const char *text, const char *name);

/* Sets one key by its dotted path; `value` is YAML ("[64,64]", "ct", "1e-3"). */
NOPROP_API noprop_status noprop_config_set(noprop_config *config, const char *key, const char *value);

/* The value of one key as YAML text, into `buffer` (always terminated). NOPROP_INVALID_CONFIG for an unknown key. */
NOPROP_API noprop_status noprop_config_get(const noprop_config *config, const char *key, char *buffer,
                                           unsigned long size);

/* The whole configuration as YAML, complete and ordered; free with noprop_free. */
NOPROP_API noprop_status noprop_config_text(const noprop_config *config, char **text);

/* Checks that the options make sense together (a preset is applied first); run by model and trainer as well. */
NOPROP_API noprop_status noprop_config_check(const noprop_config *config);

/* Key number `index` (0-based): path, what is allowed, default, meaning. NULL pointers in `key` past the end. */
typedef struct {
  const char *path, *allowed, *default_value, *meaning;
} noprop_config_key;
NOPROP_API noprop_config_key noprop_config_key_at(int index);

/* Frees text that this library returned. */
NOPROP_API void noprop_free(void *memory);

#ifdef __cplusplus
}
#endif
#endif
