/* What a configuration is inside: the settings as given, and which keys were given where. */
#ifndef HOST_CONFIG_H
#define HOST_CONFIG_H

#include "engine/settings.h"
#include "host/config_keys.h"
#include "noprop/config.h"

struct noprop_config {
  struct settings settings;      /* as given: presets not applied, autos not resolved */
  char *origin[CONFIG_MAX_KEYS]; /* "FILE:LINE" of each key that was given, "" if by a call; NULL: the default holds */
};

/* True if the key was given, not left at its default. */
bool config_is_given(const noprop_config *config, const char *key);

/* What is allowed but rarely meant, one sentence per line ("" if nothing); free with noprop_free. Call after
 * noprop_config_check. */
noprop_status config_warnings(const noprop_config *config, char **text);

/* Why earlier systems' forms do not go together or a preset is not for this model, and the key that it is about; NULL:
 * they do. The sentence stands in `buffer`. */
const char *config_historic_refusal(const struct settings *settings, const char **key, char *buffer, size_t size);
/* Likewise of networks and wrappers. */
const char *config_network_refusal(const struct settings *settings, const char **key, char *buffer, size_t size);
/* What is known to be wrong in the settings' preset, one line each with the survey's D-number ("" without a preset);
 * free with noprop_free. */
noprop_status config_preset_notes(const struct settings *settings, char **text);

/* Lower level, for the files of host/config*: sets key number `index` from YAML text. The sentence of a failure starts
 * with the key. */
noprop_status config_assign_text(struct settings *settings, int index, const char *value);
/* Text of a configuration's longest value, with its end. */
enum { CONFIG_VALUE_MOST = 1 << 17 };
/* The value of key number `index` as YAML, into `buffer` (terminated, cut if too small). */
void config_format(const struct settings *settings, int index, char *buffer, size_t size);

/* config_presets.c: writes the preset's values over every key that was not given. */
noprop_status config_apply_preset(const noprop_config *config, struct settings *settings);

#endif
