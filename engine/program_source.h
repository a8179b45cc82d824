/* Layers of type source in generated kernels. */
#ifndef ENGINE_PROGRAM_SOURCE_H
#define ENGINE_PROGRAM_SOURCE_H

#include <stdio.h>

#include "engine/layers.h"

/* The files of functions, in front of a kernel; nothing without any. */
void source_emit_files(FILE *out, const struct layer_list *layers);

/* A call of the layer's function (`order` 0), or of its vector-Jacobian product with respect to features (1) or
 * parameters (2); the other arguments are expressions. */
void source_emit_call(FILE *out, const struct layer_settings *layer, int order, const char *number, const char *input,
                      const char *parameters, const char *adjoint);

#endif
