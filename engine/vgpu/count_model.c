/* count_model.h: sectors, banks, the L2 and sets of bytes. */
#include "engine/vgpu/count_model.h"

#include <stdlib.h>
#include <string.h>

/* ---- coalescing ---- */

/* Bits [first, first + count) of 32. */
static uint32_t bits_from(unsigned first, unsigned count) {
  const uint32_t low = count >= 32 ? UINT32_MAX : ((uint32_t)1 << count) - 1;
  return low << first;
}

unsigned count_sectors(const uint64_t address[WARP_LANES], uint32_t mask, unsigned bytes, uint64_t *sectors,
                       uint32_t *written) {
  unsigned count = 0;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    uint64_t at = address[__builtin_ctz(rest)];
    for (unsigned left = bytes; left > 0;) { /* a second time round only for an access across a sector's end */
      const uint64_t sector = at / SECTOR_BYTES * SECTOR_BYTES;
      const unsigned first = (unsigned)(at - sector);
      const unsigned here = left < SECTOR_BYTES - first ? left : SECTOR_BYTES - first;
      unsigned i = count; /* neighbouring lanes mostly share a sector: look from the newest */
      while (i > 0 && sectors[i - 1] != sector) i--;
      if (i == 0) {
        sectors[count++] = sector;
        i = count;
        if (written) written[i - 1] = 0;
      }
      if (written) written[i - 1] |= bits_from(first, here);
      at += here;
      left -= here;
    }
  }
  return count;
}

/* ---- banks ---- */

/* The most different words in one bank. */
static unsigned worst_bank(const uint64_t *offset, uint32_t mask, unsigned bytes) {
  enum { MOST_WORDS = WARP_LANES * 8 };
  uint64_t words[BANKS][MOST_WORDS];
  unsigned count[BANKS] = {0}, worst = 0;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    const uint64_t at = offset[__builtin_ctz(rest)];
    for (uint64_t word = at / 4; word <= (at + bytes - 1) / 4; word++) {
      const unsigned bank = (unsigned)(word % BANKS);
      unsigned i = 0;
      while (i < count[bank] && words[bank][i] != word) i++;
      if (i == count[bank]) words[bank][count[bank]++] = word;
      if (count[bank] > worst) worst = count[bank];
    }
  }
  return worst;
}

struct bank_passes count_bank_passes(const uint64_t offset[WARP_LANES], uint32_t mask, unsigned bytes) {
  const unsigned lanes = bytes <= 4 ? 32 : bytes <= 8 ? 16 : bytes <= 16 ? 8 : 4;
  struct bank_passes passes = {0};
  for (unsigned first = 0; first < WARP_LANES; first += lanes) {
    const uint32_t group = mask & bits_from(first, lanes);
    if (!group) continue;
    passes.groups++;
    passes.wavefronts += worst_bank(offset, group, bytes);
  }
  passes.least = passes.groups > 1 ? worst_bank(offset, mask, bytes) : passes.wavefronts;
  return passes;
}

/* ---- L2 ---- */

struct l2_line {
  uint64_t address;              /* of the line */
  uint32_t fetched;              /* one bit per sector: all its bytes are there */
  uint32_t stored[LINE_SECTORS]; /* bytes to be written back */
  uint32_t chain;                /* next line of the same bucket; 0: none. Lines count from 1. */
  uint32_t newer, older;         /* in order of use, in a ring through line 0 */
};

struct l2_cache {
  struct l2_line *lines; /* [capacity + 1] */
  uint32_t *buckets;
  uint32_t capacity, used, bucket_mask;
};

static uint32_t hash_of(uint64_t line) { return (uint32_t)(line / LINE_BYTES * 0x9e3779b97f4a7c15u >> 32); }

static uint32_t power_of_two_above(uint64_t count) {
  uint32_t power = 16;
  while (power < count) power *= 2;
  return power;
}

struct l2_cache *l2_create(size_t bytes) {
  const size_t lines = bytes / LINE_BYTES;
  if (lines == 0 || lines > UINT32_MAX / 4) return NULL;
  struct l2_cache *cache = calloc(1, sizeof *cache);
  if (!cache) return NULL;
  cache->capacity = (uint32_t)lines;
  cache->bucket_mask = power_of_two_above(lines) - 1;
  cache->lines = calloc(lines + 1, sizeof *cache->lines);
  cache->buckets = calloc((size_t)cache->bucket_mask + 1, sizeof *cache->buckets);
  if (cache->lines && cache->buckets) return cache;
  l2_destroy(cache);
  return NULL;
}

void l2_destroy(struct l2_cache *cache) {
  if (!cache) return;
  free(cache->lines);
  free(cache->buckets);
  free(cache);
}

static void take_out(struct l2_cache *cache, uint32_t index) {
  const struct l2_line *line = &cache->lines[index];
  cache->lines[line->newer].older = line->older;
  cache->lines[line->older].newer = line->newer;
}

static void make_newest(struct l2_cache *cache, uint32_t index) {
  struct l2_line *line = &cache->lines[index], *ends = &cache->lines[0];
  line->newer = 0;
  line->older = ends->older; /* the ring's entry: `older` of line 0 is the newest line, `newer` the oldest */
  cache->lines[ends->older].newer = index;
  ends->older = index;
}

static uint64_t write_back(const struct l2_line *line) {
  uint64_t bytes = 0;
  for (int s = 0; s < LINE_SECTORS; s++) bytes += line->stored[s] ? SECTOR_BYTES : 0;
  return bytes;
}

static void forget(struct l2_cache *cache, uint32_t index) {
  uint32_t *place = &cache->buckets[hash_of(cache->lines[index].address) & cache->bucket_mask];
  while (*place != index) place = &cache->lines[*place].chain;
  *place = cache->lines[index].chain;
}

/* The line, now the newest; a line that is not there takes the place of the oldest one. */
static struct l2_line *use_line(struct l2_cache *cache, uint64_t address, struct l2_traffic *traffic) {
  uint32_t *bucket = &cache->buckets[hash_of(address) & cache->bucket_mask];
  uint32_t index = *bucket;
  while (index && cache->lines[index].address != address) index = cache->lines[index].chain;
  if (index) {
    if (cache->lines[0].older != index) {
      take_out(cache, index);
      make_newest(cache, index);
    }
    return &cache->lines[index];
  }
  if (cache->used < cache->capacity) {
    index = ++cache->used;
  } else {
    index = cache->lines[0].newer;
    traffic->written_bytes += write_back(&cache->lines[index]);
    take_out(cache, index);
    forget(cache, index);
  }
  struct l2_line *line = &cache->lines[index];
  *line = (struct l2_line){.address = address, .chain = *bucket};
  *bucket = index;
  make_newest(cache, index);
  return line;
}

void l2_read(struct l2_cache *cache, uint64_t sector, struct l2_traffic *traffic) {
  struct l2_line *line = use_line(cache, sector / LINE_BYTES * LINE_BYTES, traffic);
  const unsigned s = (unsigned)(sector % LINE_BYTES / SECTOR_BYTES);
  traffic->sectors++;
  if ((line->fetched >> s & 1) || line->stored[s] == UINT32_MAX) return;
  line->fetched |= (uint32_t)1 << s;
  traffic->misses++;
  traffic->read_bytes += SECTOR_BYTES;
}

void l2_write(struct l2_cache *cache, uint64_t sector, uint32_t bytes, struct l2_traffic *traffic) {
  struct l2_line *line = use_line(cache, sector / LINE_BYTES * LINE_BYTES, traffic);
  const unsigned s = (unsigned)(sector % LINE_BYTES / SECTOR_BYTES);
  traffic->sectors++;
  if (!(line->fetched >> s & 1) && !line->stored[s]) traffic->misses++;
  line->stored[s] |= bytes;
}

void l2_update(struct l2_cache *cache, uint64_t sector, uint32_t bytes, struct l2_traffic *traffic) {
  l2_read(cache, sector, traffic);
  cache->lines[cache->lines[0].older].stored[sector % LINE_BYTES / SECTOR_BYTES] |= bytes;
}

uint64_t l2_dirty_bytes(const struct l2_cache *cache) {
  uint64_t bytes = 0;
  for (uint32_t i = 1; i <= cache->used; i++) bytes += write_back(&cache->lines[i]);
  return bytes;
}

/* ---- touched bytes ---- */

/* A table of lines with open addressing. Address 0 is nobody's memory and marks an empty place. */
struct touched_line {
  uint64_t address;
  uint32_t loaded[LINE_SECTORS], stored[LINE_SECTORS];
};

struct touched {
  struct touched_line *lines;
  size_t used, capacity; /* a power of two */
};

struct touched *touched_create(void) {
  struct touched *set = calloc(1, sizeof *set);
  if (!set) return NULL;
  set->capacity = 1024;
  set->lines = calloc(set->capacity, sizeof *set->lines);
  if (set->lines) return set;
  free(set);
  return NULL;
}

void touched_destroy(struct touched *set) {
  if (!set) return;
  free(set->lines);
  free(set);
}

void touched_clear(struct touched *set) {
  memset(set->lines, 0, set->capacity * sizeof *set->lines);
  set->used = 0;
}

static struct touched_line *find_place(struct touched_line *lines, size_t capacity, uint64_t address) {
  size_t i = hash_of(address) & (capacity - 1);
  while (lines[i].address && lines[i].address != address) i = (i + 1) & (capacity - 1);
  return &lines[i];
}

static bool grow(struct touched *set) {
  const size_t capacity = 2 * set->capacity;
  struct touched_line *lines = calloc(capacity, sizeof *lines);
  if (!lines) return false;
  for (size_t i = 0; i < set->capacity; i++)
    if (set->lines[i].address) *find_place(lines, capacity, set->lines[i].address) = set->lines[i];
  free(set->lines);
  set->lines = lines;
  set->capacity = capacity;
  return true;
}

bool touched_add(struct touched *set, uint64_t sector, uint32_t bytes, bool load, bool store) {
  if (set->used * 2 >= set->capacity && !grow(set)) return false;
  const uint64_t address = sector / LINE_BYTES * LINE_BYTES;
  struct touched_line *line = find_place(set->lines, set->capacity, address);
  if (!line->address) {
    line->address = address;
    set->used++;
  }
  const unsigned s = (unsigned)(sector % LINE_BYTES / SECTOR_BYTES);
  if (load) line->loaded[s] |= bytes;
  if (store) line->stored[s] |= bytes;
  return true;
}

struct touched_sum touched_count(const struct touched *set) {
  struct touched_sum sum = {0};
  for (size_t i = 0; i < set->capacity; i++) {
    const struct touched_line *line = &set->lines[i];
    if (!line->address) continue;
    for (int s = 0; s < LINE_SECTORS; s++) {
      sum.bytes += (uint64_t)__builtin_popcount(line->loaded[s] | line->stored[s]);
      sum.loaded += (uint64_t)__builtin_popcount(line->loaded[s]);
      sum.stored += (uint64_t)__builtin_popcount(line->stored[s]);
      sum.loaded_sectors += line->loaded[s] != 0;
    }
  }
  return sum;
}
