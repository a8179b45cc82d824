/* Code generation for layers of type source: the user's files as they are, in a namespace each, and calls of their
 * functions. The compiler names the user's files and lines, since their text follows a #line; the text being part of
 * the kernel's, it is part of the key under which compiled kernels are kept. */
#include "engine/program_source.h"

void source_emit_files(FILE *out, const struct layer_list *layers) {
  if (layers->source_count == 0) return;
  fprintf(out, "#include \"layer_source.cuh\"\n");
  for (int i = 0; i < layers->source_count; ++i)
    fprintf(out, "namespace layer_source_%d {\n#line 1 \"%s\"\n%s\n}\n", i, layers->sources[i].file,
            layers->text + layers->sources[i].place);
  fprintf(out, "#line 1 \"kernel\"\n");
}

void source_emit_call(FILE *out, const struct layer_settings *layer, int order, const char *number, const char *input,
                      const char *parameters, const char *adjoint) {
  static const char *const ends[] = {"", "_vjp", "_parameter_vjp"};
  fprintf(out, "layer_source_%d::%s%s(%s, %s, %s", layer->source, layer->function, ends[order], number, input,
          parameters);
  if (order > 0) fprintf(out, ", %s", adjoint);
  fprintf(out, ")");
}
