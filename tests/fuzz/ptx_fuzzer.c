/* Fuzz target: PTX text through lexer, parser, whitelist, inlining and control-flow graph, and what it gives through
 * the interpreter's preparation, as cuModuleLoadData does. */
#include <stdlib.h>

#include "engine/vgpu/interpreter.h"
#include "engine/vgpu/ptx.h"
#include "tests/fuzz/fuzz.h"

/* Larger variables are for the driver API to allocate or to refuse; here they would only cost time. */
enum { SEGMENT_LIMIT = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct ptx_error error = {.line = 0};
  /* An exact copy on the heap: reading past it is found. */
  char *text = malloc(size + 1);
  if (text == NULL) return 0;
  for (size_t i = 0; i < size; i++) text[i] = (char)data[i];
  struct ptx_module *module = ptx_parse(text, size, &error);
  free(text);
  if (module == NULL) {
    fuzz_check_message(error.reason, sizeof error.reason);
    return 0;
  }
  void *segment = NULL;
  if (module->segment_bytes <= SEGMENT_LIMIT) {
    segment = aligned_alloc(256, (module->segment_bytes + 256) / 256 * 256);
    if (segment != NULL) {
      ptx_place(module, segment);
      for (uint32_t i = 0; i < module->function_count; i++) {
        char reason[300] = "";
        void *code = interpreter_baseline.prepare(&module->functions[i], reason, sizeof reason);
        if (code == NULL) fuzz_check_message(reason, sizeof reason);
        vgpu_interpreter_discard(code);
      }
    }
  }
  free(segment);
  ptx_free(module);
  return 0;
}
