/* The promise about error messages that every fuzz target checks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

void fuzz_check_message(const char *message, size_t buffer_bytes) {
  const size_t length = strnlen(message, buffer_bytes);
  if (length > 0 && length < buffer_bytes && memchr(message, '\n', length) == NULL) return;
  fprintf(stderr, "not a message: '%.*s'\n", (int)length, message);
  abort();
}
