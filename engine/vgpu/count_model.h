/* The memory models of `count` mode as plain functions and objects: sectors of a warp access, passes through the banks
 * of shared memory, an L2 cache that replaces what was used least recently, and sets of touched bytes. Addresses are
 * numbers here; nothing is dereferenced. */
#ifndef VGPU_COUNT_MODEL_H
#define VGPU_COUNT_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SECTOR_BYTES = 32, LINE_BYTES = 128, LINE_SECTORS = 4, WARP_LANES = 32, BANKS = 32, MOST_SECTORS = 64 };

/* ---- coalescing ---- */

/* The different 32-byte sectors of an access of `bytes` bytes (at most 32) by each lane of the mask, in order of first
 * use: sectors[MOST_SECTORS] receives their addresses, written[] (or NULL) one bit per byte that is accessed. */
unsigned count_sectors(const uint64_t address[WARP_LANES], uint32_t mask, unsigned bytes, uint64_t *sectors,
                       uint32_t *written);

/* ---- banks ---- */

struct bank_passes {
  unsigned wavefronts; /* groups of lanes pass one after the other: all 32 for 4 bytes, 16 for 8, 8 for 16; a group
                          needs as many passes as its worst bank has different words */
  unsigned groups;     /* with active lanes: the passes that an access without conflicts needs */
  unsigned least;      /* the worst bank's different words over all lanes */
};
struct bank_passes count_bank_passes(const uint64_t offset[WARP_LANES], uint32_t mask, unsigned bytes);

/* ---- L2 ---- */

/* Lines of 128 bytes with four sectors that are fetched one by one; any line may be anywhere; the least recently used
 * one makes room. Write-back: a store stays in the cache until its line goes; bytes stored need not be fetched, but a
 * load of a sector that was stored only in part fetches the rest. */
struct l2_cache;

struct l2_traffic {
  uint64_t sectors, misses, read_bytes, written_bytes;
};

struct l2_cache *l2_create(size_t bytes); /* NULL: no memory, or smaller than a line */
void l2_destroy(struct l2_cache *cache);
void l2_read(struct l2_cache *cache, uint64_t sector, struct l2_traffic *traffic);
/* bytes: one bit per byte of the sector. */
void l2_write(struct l2_cache *cache, uint64_t sector, uint32_t bytes, struct l2_traffic *traffic);
/* An atomic operation: the sector is read and then stored to; asked for once. */
void l2_update(struct l2_cache *cache, uint64_t sector, uint32_t bytes, struct l2_traffic *traffic);
/* Bytes of sectors that are still to be written back. */
uint64_t l2_dirty_bytes(const struct l2_cache *cache);

/* ---- touched bytes ---- */

struct touched; /* all zero bytes: create with touched_create */

struct touched_sum {
  uint64_t bytes, loaded, stored, loaded_sectors;
};

struct touched *touched_create(void); /* NULL: no memory */
void touched_destroy(struct touched *set);
void touched_clear(struct touched *set);
/* bytes: one bit per byte of the sector. False: no memory. */
bool touched_add(struct touched *set, uint64_t sector, uint32_t bytes, bool load, bool store);
struct touched_sum touched_count(const struct touched *set);

#endif
