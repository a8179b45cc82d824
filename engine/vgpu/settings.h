/* The environment variables that steer the virtual GPU, checked once: a value that means nothing is an error of cuInit,
 * never a default. */
#ifndef VGPU_SETTINGS_H
#define VGPU_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

/* False and a sentence if a variable has a value that it cannot have. Unset and empty ones are always right. */
bool settings_are_right(char *reason, size_t reason_bytes);

#endif
