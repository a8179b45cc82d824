/* Joins the PTX of several modules into one text, as a device linker joins their code. */
#ifndef VGPU_LINK_H
#define VGPU_LINK_H

#include <stddef.h>

struct link_input {
  const char *name; /* for messages */
  const char *text; /* PTX */
};

/* One PTX text, which the caller frees, or NULL and a reason. Visible symbols are one for all modules, and must be
 * defined once; of weak ones the first is taken; a module's own are kept apart. */
char *link_ptx(const struct link_input *inputs, size_t count, char *reason, size_t reason_bytes);

#endif
