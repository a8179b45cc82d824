/* One path for errors: set the sentence, return the status. */
#ifndef ENGINE_STATUS_H
#define ENGINE_STATUS_H

#include "noprop/status.h"

/* Stores the sentence (printf form) for this thread and returns `status`. */
noprop_status status_set(noprop_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "<context>: " in front of the current sentence and returns `status`; used while an error travels up. */
noprop_status status_prefix(noprop_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
