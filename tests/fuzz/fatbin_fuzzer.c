/* Fuzz target: NVIDIA's containers of device code. */
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/fatbin.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const unsigned char container[4] = {0x50, 0xed, 0x55, 0xba}; /* the wrapper holds a pointer: not data */
  if (size < sizeof container || memcmp(data, container, sizeof container) != 0) return 0;
  unsigned char *image = malloc(size); /* exact, and aligned as a loaded file is */
  if (image == NULL) return 0;
  memcpy(image, data, size);
  if (!fatbin_is(image)) abort();
  char reason[300] = "";
  char *text = fatbin_ptx(image, size, 86, reason, sizeof reason);
  if (text == NULL) fuzz_check_message(reason, sizeof reason);
  free(text);
  free(image);
  return 0;
}
