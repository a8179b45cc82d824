/* Address space and register of accessible memory.
 *
 * One range is reserved from the system at first use and never given back. Places in it are handed out upwards with a
 * gap after each, and reused only when the end is reached, so that a kernel that runs past its memory or uses it after
 * it was freed meets nothing. Two sorted arrays, both under one lock: `places` (what is taken of the range) and
 * `regions` (what may be accessed). */
#define _GNU_SOURCE 1
#include "engine/vgpu/memory.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/vgpu/observe.h"
#include "engine/vgpu/regions.h"

#define LARGE ((uint64_t)2 << 20) /* a huge page, and the granularity of cuMemCreate */

enum { PAGE = 4096, GAP = 4096 };

struct table {
  struct region *items; /* by address */
  size_t count, capacity;
};

static struct {
  pthread_rwlock_t lock;
  uint64_t low, high, cursor; /* the reserved range and where the next place is looked for */
  struct table places, regions;
  size_t in_use;
} space = {.lock = PTHREAD_RWLOCK_INITIALIZER};

/* ---- sorted arrays ---- */

/* Index of the first item that ends after `address`. */
static size_t table_search(const struct table *table, uint64_t address) {
  size_t low = 0, high = table->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (table->items[middle].high > address) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

static bool table_insert(struct table *table, struct region item) {
  size_t at = table_search(table, item.low);
  if (at < table->count && table->items[at].low < item.high) return false;
  if (table->count == table->capacity) {
    size_t capacity = table->capacity == 0 ? 64 : 2 * table->capacity;
    struct region *items = realloc(table->items, capacity * sizeof *items);
    if (items == NULL) return false;
    table->items = items;
    table->capacity = capacity;
  }
  memmove(table->items + at + 1, table->items + at, (table->count - at) * sizeof *table->items);
  table->items[at] = item;
  ++table->count;
  return true;
}

static void table_remove(struct table *table, size_t at) {
  --table->count;
  memmove(table->items + at, table->items + at + 1, (table->count - at) * sizeof *table->items);
}

static size_t table_find_start(const struct table *table, uint64_t low) {
  size_t at = table_search(table, low);
  return at < table->count && table->items[at].low == low ? at : table->count;
}

/* ---- places; the lock is held ---- */

/* The hint keeps the range away from where libraries and machine code are mapped: those must stay close to each other,
 * and a large range between them would split their neighbourhood. Without it the system chooses. */
static void reserve_range(void) {
  void *const hint = (void *)((uintptr_t)1 << 44);
  for (uint64_t bytes = (uint64_t)1 << 43; space.low == 0 && bytes >= (uint64_t)1 << 32; bytes /= 2) {
    void *range = mmap(hint, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) continue;
    space.low = ((uint64_t)range + LARGE - 1) & ~(LARGE - 1);
    space.high = (uint64_t)range + bytes;
    space.cursor = space.low;
  }
}

static uint64_t round_up(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

/* `bytes` is a multiple of the page. 0 if there is no room. */
static uint64_t take_place(uint64_t bytes) {
  if (space.low == 0) reserve_range();
  const uint64_t align = bytes >= LARGE ? LARGE : PAGE;
  for (int pass = 0; pass < 2; ++pass) { /* from the cursor to the end, then from the start */
    uint64_t at = round_up(pass == 0 ? space.cursor : space.low, align);
    for (size_t i = table_search(&space.places, at);; ++i) {
      uint64_t limit = i < space.places.count ? space.places.items[i].low : space.high;
      if (limit > at && limit - at >= bytes + GAP) {
        if (!table_insert(&space.places, (struct region){.low = at, .high = at + bytes})) return 0;
        space.cursor = at + bytes + GAP;
        return at;
      }
      if (i >= space.places.count) break;
      at = round_up(space.places.items[i].high + GAP, align);
    }
  }
  return 0;
}

/* Memory goes back to the system; the addresses stay ours. */
static void empty_place(uint64_t at, uint64_t bytes) {
  (void)mmap((void *)at, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

static void leave_place(uint64_t at) {
  size_t index = table_find_start(&space.places, at);
  if (index == space.places.count) return;
  empty_place(at, space.places.items[index].high - at);
  table_remove(&space.places, index);
}

static bool fill_place(uint64_t at, uint64_t bytes, int protection) {
  if (mmap((void *)at, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) ==
      MAP_FAILED) {
    return false;
  }
  if (bytes >= LARGE) madvise((void *)at, bytes, MADV_HUGEPAGE);
  return true;
}

static bool charge(size_t bytes) {
  if (bytes > regions_total() - space.in_use) return false;
  space.in_use += bytes;
  return true;
}

/* ---- the device's memory ---- */

static size_t total;
static pthread_once_t total_once = PTHREAD_ONCE_INIT;

static void read_total(void) {
  total = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
  static const char *const limits[] = {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
  for (size_t i = 0; i < sizeof limits / sizeof *limits; ++i) {
    FILE *file = fopen(limits[i], "r");
    if (file == NULL) continue;
    unsigned long long limit;
    if (fscanf(file, "%llu", &limit) == 1 && limit > 0 && limit < total) total = (size_t)limit;
    fclose(file);
  }
}

size_t regions_total(void) {
  pthread_once(&total_once, read_total);
  return total;
}

size_t regions_in_use(void) {
  pthread_rwlock_rdlock(&space.lock);
  size_t in_use = space.in_use;
  pthread_rwlock_unlock(&space.lock);
  return in_use;
}

bool regions_charge(size_t bytes) {
  pthread_rwlock_wrlock(&space.lock);
  bool charged = charge(bytes);
  pthread_rwlock_unlock(&space.lock);
  return charged;
}

void regions_refund(size_t bytes) {
  pthread_rwlock_wrlock(&space.lock);
  space.in_use -= bytes;
  pthread_rwlock_unlock(&space.lock);
}

/* ---- what the mode's observer is told, without the lock ---- */

static void tell_allocated(const struct region *region) {
  const struct vgpu_observer *observer = vgpu_mode_observer();
  if (observer != NULL && observer->allocated != NULL) {
    observer->allocated(region->low, region->high, region->kind, region->context);
  }
}

static void tell_freed(const struct region *region) {
  const struct vgpu_observer *observer = vgpu_mode_observer();
  if (observer != NULL && observer->freed != NULL) observer->freed(region->low, region->high, region->kind);
}

/* ---- allocations ---- */

void *regions_allocate(enum region_kind kind, size_t bytes, CUcontext context) {
  if (bytes > SIZE_MAX / 2) return NULL;
  uint64_t size = round_up(bytes, PAGE), at = 0;
  bool charged = false;
  pthread_rwlock_wrlock(&space.lock);
  if (kind != REGION_HOST) {
    charged = charge(size);
    if (!charged) goto done;
  }
  at = take_place(size);
  if (at == 0) goto done;
  struct region region = {.low = at, .high = at + bytes, .kind = kind, .context = context};
  if (!fill_place(at, size, PROT_READ | PROT_WRITE) || !table_insert(&space.regions, region)) {
    leave_place(at);
    at = 0;
  }
done:
  if (at == 0 && charged) space.in_use -= size;
  pthread_rwlock_unlock(&space.lock);
  if (at != 0) tell_allocated(&(struct region){.low = at, .high = at + bytes, .kind = kind, .context = context});
  return (void *)at;
}

static void free_region(size_t index) {
  struct region region = space.regions.items[index];
  if (region.kind != REGION_HOST) space.in_use -= round_up(region.high - region.low, PAGE);
  leave_place(region.low);
  table_remove(&space.regions, index);
}

bool regions_free(enum region_kind kind, uint64_t address) {
  pthread_rwlock_wrlock(&space.lock);
  size_t index = table_find_start(&space.regions, address);
  bool found = index < space.regions.count && space.regions.items[index].kind == kind;
  struct region region = {0};
  if (found) {
    region = space.regions.items[index];
    free_region(index);
  }
  pthread_rwlock_unlock(&space.lock);
  if (found) tell_freed(&region);
  return found;
}

void regions_free_all(CUcontext context) {
  pthread_rwlock_wrlock(&space.lock);
  for (size_t i = space.regions.count; i-- > 0;) {
    struct region region = space.regions.items[i];
    if (region.context != context) continue;
    if (region.kind == REGION_DEVICE || region.kind == REGION_MANAGED || region.kind == REGION_HOST) free_region(i);
  }
  pthread_rwlock_unlock(&space.lock);
}

bool regions_find(uint64_t address, struct region *region) {
  pthread_rwlock_rdlock(&space.lock);
  size_t at = table_search(&space.regions, address);
  bool found = at < space.regions.count && space.regions.items[at].low <= address;
  if (found) *region = space.regions.items[at];
  pthread_rwlock_unlock(&space.lock);
  return found;
}

void regions_set_flags(uint64_t low, unsigned flags) {
  pthread_rwlock_wrlock(&space.lock);
  size_t index = table_find_start(&space.regions, low);
  if (index < space.regions.count) space.regions.items[index].flags = flags;
  pthread_rwlock_unlock(&space.lock);
}

void regions_set_advice(uint64_t low, const struct region_advice *advice) {
  pthread_rwlock_wrlock(&space.lock);
  size_t index = table_find_start(&space.regions, low);
  if (index < space.regions.count) space.regions.items[index].advice = *advice;
  pthread_rwlock_unlock(&space.lock);
}

bool regions_add(enum region_kind kind, uint64_t low, size_t bytes, CUcontext context) {
  pthread_rwlock_wrlock(&space.lock);
  bool added =
      table_insert(&space.regions, (struct region){.low = low, .high = low + bytes, .kind = kind, .context = context});
  pthread_rwlock_unlock(&space.lock);
  if (added) tell_allocated(&(struct region){.low = low, .high = low + bytes, .kind = kind, .context = context});
  return added;
}

bool regions_remove(enum region_kind kind, uint64_t low) {
  pthread_rwlock_wrlock(&space.lock);
  size_t index = table_find_start(&space.regions, low);
  bool found = index < space.regions.count && space.regions.items[index].kind == kind;
  struct region region = {0};
  if (found) {
    region = space.regions.items[index];
    table_remove(&space.regions, index);
  }
  pthread_rwlock_unlock(&space.lock);
  if (found) tell_freed(&region);
  return found;
}

/* ---- reserved addresses ---- */

void *regions_reserve(size_t bytes) {
  pthread_rwlock_wrlock(&space.lock);
  uint64_t at = take_place(round_up(bytes, LARGE));
  pthread_rwlock_unlock(&space.lock);
  return (void *)at;
}

void regions_unreserve(void *address) {
  pthread_rwlock_wrlock(&space.lock);
  leave_place((uint64_t)address);
  pthread_rwlock_unlock(&space.lock);
}

bool regions_commit(void *address, size_t bytes) {
  const uint64_t at = (uint64_t)address;
  pthread_rwlock_wrlock(&space.lock);
  size_t index = table_search(&space.places, at);
  bool reserved =
      index < space.places.count && space.places.items[index].low <= at && bytes <= space.places.items[index].high - at;
  bool filled = reserved && fill_place(at, bytes, PROT_NONE);
  pthread_rwlock_unlock(&space.lock);
  return filled;
}

void regions_decommit(void *address, size_t bytes) { empty_place((uint64_t)address, bytes); }

/* ---- what the executors ask ---- */

bool vgpu_memory_contains(uint64_t address, size_t bytes, uint64_t *low, uint64_t *high) {
  bool inside = false;
  pthread_rwlock_rdlock(&space.lock);
  size_t at = table_search(&space.regions, address);
  if (at < space.regions.count && space.regions.items[at].low <= address) {
    const struct region *items = space.regions.items;
    size_t first = at, last = at;
    if (items[at].kind == REGION_MAPPED) { /* pieces mapped side by side are one run */
      while (first > 0 && items[first - 1].kind == REGION_MAPPED && items[first - 1].high == items[first].low) --first;
      while (last + 1 < space.regions.count && items[last + 1].kind == REGION_MAPPED &&
             items[last + 1].low == items[last].high) {
        ++last;
      }
    }
    *low = items[first].low;
    *high = items[last].high;
    inside = bytes <= *high - address;
  }
  pthread_rwlock_unlock(&space.lock);
  return inside;
}
