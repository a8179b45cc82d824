/* Fuzz target: PTX modules, divided by NULs, joined by the linker; the result goes through the front end. */
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/link.h"
#include "engine/vgpu/ptx.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  enum { MODULES = 8 };
  char *text = malloc(size + 1);
  if (text == NULL) return 0;
  memcpy(text, data, size);
  text[size] = '\0';
  struct link_input inputs[MODULES];
  size_t count = 0;
  for (size_t at = 0; at < size && count < MODULES; at += strlen(text + at) + 1) {
    inputs[count++] = (struct link_input){.name = "an input", .text = text + at};
  }
  char reason[300] = "";
  char *joined = count > 0 ? link_ptx(inputs, count, reason, sizeof reason) : NULL;
  if (joined != NULL) {
    struct ptx_error error = {.line = 0};
    ptx_free(ptx_parse(joined, strlen(joined), &error));
  } else if (count > 0) {
    fuzz_check_message(reason, sizeof reason);
  }
  free(joined);
  free(text);
  return 0;
}
