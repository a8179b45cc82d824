/* The sentence about the last failure, one per thread, and the names of the status codes. */
#include "engine/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#ifndef NOPROP_VERSION
#define NOPROP_VERSION "0.1.0"
#endif

enum { SENTENCE_SIZE = 4096 };

static _Thread_local char sentence[SENTENCE_SIZE];

/* An argument may be the present sentence itself, so a new one is made aside and kept here, cut to what fits. */
static noprop_status keep(noprop_status status, const char *text) {
  size_t length = strlen(text);
  if (length >= SENTENCE_SIZE) length = SENTENCE_SIZE - 1;
  memcpy(sentence, text, length);
  sentence[length] = '\0';
  return status;
}

noprop_status status_set(noprop_status status, const char *format, ...) {
  char text[SENTENCE_SIZE];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return keep(status, text);
}

noprop_status status_prefix(noprop_status status, const char *format, ...) {
  char context[SENTENCE_SIZE], text[2 * SENTENCE_SIZE + 2];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(context, sizeof context, format, arguments);
  va_end(arguments);
  snprintf(text, sizeof text, "%s: %s", context, sentence);
  return keep(status, text);
}

const char *noprop_status_name(noprop_status status) {
  switch (status) {
#define STATUS_CASE(name, number, text) \
  case name:                            \
    return text;
    NOPROP_STATUS_LIST(STATUS_CASE)
#undef STATUS_CASE
  }
  return "unknown status";
}

const char *noprop_last_error(void) { return sentence; }

const char *noprop_version(void) { return NOPROP_VERSION; }
