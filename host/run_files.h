/* Files of a run folder: written beside and renamed, so that a reader or a crash never sees half of one. */
#ifndef HOST_RUN_FILES_H
#define HOST_RUN_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "noprop/status.h"

enum { RUN_PATH = 4096 };

/* "<folder>/<name>" into path[RUN_PATH]. */
noprop_status run_path(char *path, const char *folder, const char *name);

/* Makes a folder and its parents; a folder that is there already is fine. */
noprop_status run_folder_make(const char *folder);

bool run_file_exists(const char *path);

/* Replaces the file by `size` bytes: temporary name, fsync, rename. On failure what was there before is untouched.
 * Links are followed; a device or a pipe is written to. */
noprop_status run_file_write(const char *path, const char *text, size_t size);

/* The whole file as terminated text; free with free(). */
noprop_status run_file_read(const char *path, char **text);

/* Text that grows; `failed` is set once memory ran out and everything after is ignored. */
struct text {
  char *data;
  size_t size, capacity;
  bool failed;
};
void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes the text to folder/name and frees it, also on failure. */
noprop_status text_write(struct text *text, const char *folder, const char *name);

/* The same at the end of a file that is there or not: for records that grow. What a crash leaves of the last line is
 * cut when the record is opened again. */
noprop_status text_append(struct text *text, const char *folder, const char *name);

/* Seconds on a clock that only goes forward. */
double run_clock(void);

#endif
