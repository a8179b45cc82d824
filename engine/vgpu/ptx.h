/* From PTX text to struct ptx_module. */
#ifndef VGPU_PTX_H
#define VGPU_PTX_H

#include "engine/vgpu/ir.h"

struct ptx_error {
  unsigned line;    /* of the text, from 1; 0: the whole text */
  char reason[240]; /* a sentence without a full stop: "opcode 'tex.2d' is not implemented" */
};

/* Parses, checks and lowers the whole module. NULL and *error on failure. The text need not outlive the call. */
struct ptx_module *ptx_parse(const char *text, size_t length, struct ptx_error *error);

/* The same with `red_zone` unused bytes (a power of two) after each variable in global, shared and local memory, so
 * that whoever looks at addresses can tell an access past the end of one from an access to the next. */
struct ptx_module *ptx_parse_spaced(const char *text, size_t length, unsigned red_zone, struct ptx_error *error);

/* Gives the module's variables their place (segment_bytes bytes aligned to 256, owned by the caller, alive as long as
 * the module) and writes their initial values there. Before any kernel of the module is prepared. */
void ptx_place(struct ptx_module *module, void *segment);

const struct ptx_function *ptx_find_function(const struct ptx_module *module, const char *name);
const struct ptx_variable *ptx_find_variable(const struct ptx_module *module, const char *name);

void ptx_free(struct ptx_module *module);

#endif
