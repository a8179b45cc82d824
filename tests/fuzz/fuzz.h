/* What the fuzz targets share. Each target defines libFuzzer's entry; replay.c calls the same entry with kept inputs in
 * builds without libFuzzer. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Feeds one input; crashes (abort, sanitizer) if a promise is broken. Always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process unless the message is one that a user can read: not empty, one line, ended by a NUL within its
 * buffer. */
void fuzz_check_message(const char *message, size_t buffer_bytes);

#endif
