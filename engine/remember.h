/* Choices that depend on measured times, remembered in the folder of compiled kernels: what was chosen first holds for
 * every later run, and for all that run at the same time, so that their results agree to the bit.
 *
 * A choice is a number, and belongs to a text that says all it depends on. An entry that is damaged, or that belongs to
 * another text, counts as none. Any number of threads and processes may ask at once. */
#ifndef ENGINE_REMEMBER_H
#define ENGINE_REMEMBER_H

#include <stdbool.h>
#include <stddef.h>

/* Whether there is a choice for this text; *choice: which. Needs no more than to read the folder. */
bool remember_find(const char *text, int *choice);
/* Remembers *choice for this text, unless another was faster: then *choice becomes what that one chose. False, with a
 * reason ("/folder/choices.lock: Read-only file system"), if nothing can be remembered. */
bool remember_settle(const char *text, int *choice, char *reason, size_t size);

#endif
