/* The list of layers of network.type custom: YAML to struct layer_list and back. */
#ifndef HOST_CONFIG_LAYERS_H
#define HOST_CONFIG_LAYERS_H

#include <stddef.h>
#include <yaml.h>

#include "engine/layers.h"
#include "noprop/status.h"

/* Reads a sequence out of the file `name` (NULL: none), beside which files of functions lie. The sentence of a failure
 * begins with the key's path, "network.layers[3].width"; `place` is the node that it is about. */
noprop_status config_layers_read(const char *name, yaml_document_t *document, const yaml_node_t *node,
                                 struct layer_list *layers, const yaml_node_t **place);

/* As YAML; keys that have their default are left out. Cut if the buffer is too small. */
void config_layers_to_text(const struct layer_list *layers, char *buffer, size_t size);

#endif
