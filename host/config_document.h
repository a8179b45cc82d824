/* YAML documents into configurations. For the files of host/config*. */
#ifndef HOST_CONFIG_DOCUMENT_H
#define HOST_CONFIG_DOCUMENT_H

#include "engine/status.h"
#include "host/config.h"

/* Reads all keys of a text; `name`: of the file, for messages. After a failure `config` is half read. */
noprop_status config_read(noprop_config *config, const char *text, size_t length, const char *name);

/* Remembers where key number `index` was given: "NAME:LINE", "" without a name. */
noprop_status config_set_origin(noprop_config *config, int index, const char *name, int line);
/* The sentence about a key that is none. */
noprop_status config_unknown_key(const char *path);

static inline noprop_status config_no_memory(void) {
  status_set(NOPROP_OUT_OF_MEMORY, "no memory is left for a configuration");
  return NOPROP_OUT_OF_MEMORY;
}

#endif
