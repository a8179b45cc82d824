/* Files of the folder of compiled kernels (vgpu/cache_folder.h): whole or not there, however many processes write, and
 * known for what they are by their length and a checksum. */
#ifndef ENGINE_CACHE_ENTRY_H
#define ENGINE_CACHE_ENTRY_H

#include <stdbool.h>
#include <stddef.h>

enum { CACHE_ENTRY_MAGIC = 8 /* bytes that say what kind of entry it is */ };

/* The contents of an entry with a NUL behind them, which the caller frees. False if it is not there or damaged. */
bool cache_entry_read(const char *path, const char magic[CACHE_ENTRY_MAGIC], char **data, size_t *size);
/* Writes beside the entry and renames, so that readers see a whole entry or none; `durable`: on the disk before it
 * returns. False, with errno, if it cannot be written. */
bool cache_entry_write(const char *path, const char magic[CACHE_ENTRY_MAGIC], const void *data, size_t size,
                       bool durable);

#endif
