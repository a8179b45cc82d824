/* Vector clocks as sorted lists of blocks with shared arrays of times. */
#include "engine/vgpu/check_clock.h"

#include <stdlib.h>
#include <string.h>

struct part { /* of one block */
  unsigned references, threads;
  uint32_t time[];
};

struct clock {
  unsigned references, count;
  struct entry {
    uint32_t block;
    struct part *part;
  } entries[]; /* by block */
};

static bool failed;

bool clock_take_failure(void) {
  const bool result = failed;
  failed = false;
  return result;
}

/* ---- references ---- */

static void part_release(struct part *part) {
  if (--part->references == 0) free(part);
}

struct clock *clock_retain(struct clock *clock) {
  if (clock != NULL) ++clock->references;
  return clock;
}

void clock_release(struct clock *clock) {
  if (clock == NULL || --clock->references > 0) return;
  for (unsigned i = 0; i < clock->count; ++i) part_release(clock->entries[i].part);
  free(clock);
}

void clock_assign(struct clock **place, struct clock *clock) {
  if (*place == clock) return;
  clock_retain(clock);
  clock_release(*place);
  *place = clock;
}

/* ---- change ---- */

/* Makes *place a clock of its own with room for `room` entries. False: out of memory. */
static bool own(struct clock **place, unsigned room) {
  struct clock *old = *place;
  const unsigned count = old != NULL ? old->count : 0;
  if (old != NULL && old->references == 1 && room <= count) return true;
  if (room < count) room = count;
  struct clock *made = calloc(1, sizeof *made + room * sizeof made->entries[0]);
  if (made == NULL) {
    failed = true;
    return false;
  }
  made->references = 1;
  made->count = count;
  for (unsigned i = 0; i < count; ++i) {
    made->entries[i] = old->entries[i];
    ++made->entries[i].part->references;
  }
  clock_release(old);
  *place = made;
  return true;
}

/* Makes an entry's part one of its own. */
static bool own_part(struct entry *entry) {
  struct part *old = entry->part;
  if (old == NULL || old->references == 1) return old != NULL;
  const size_t bytes = sizeof *old + old->threads * sizeof old->time[0];
  struct part *made = malloc(bytes);
  if (made == NULL) {
    failed = true;
    return false;
  }
  memcpy(made, old, bytes);
  made->references = 1;
  part_release(old);
  entry->part = made;
  return true;
}

/* Index of the first entry that is not before the block. */
static unsigned find(const struct clock *clock, uint32_t block) {
  unsigned low = 0, high = clock != NULL ? clock->count : 0;
  while (low < high) {
    const unsigned middle = (low + high) / 2;
    if (clock->entries[middle].block < block) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/* Puts `part` in, whose reference it takes. */
static bool insert(struct clock **place, uint32_t block, struct part *part) {
  const unsigned at = find(*place, block);
  if (!own(place, (*place != NULL ? (*place)->count : 0) + 1)) {
    part_release(part);
    return false;
  }
  struct clock *clock = *place;
  memmove(clock->entries + at + 1, clock->entries + at, (clock->count - at) * sizeof clock->entries[0]);
  clock->entries[at] = (struct entry){block, part};
  ++clock->count;
  return true;
}

static bool knows(const struct part *part, const struct part *other) {
  if (part == other) return true;
  uint32_t missing = 0;
  for (unsigned t = 0; t < part->threads; ++t) missing |= (uint32_t)(part->time[t] < other->time[t]);
  return missing == 0;
}

void clock_join(struct clock **place, struct clock *other) {
  if (other == NULL || *place == other) return;
  if (*place == NULL) {
    clock_assign(place, other);
    return;
  }
  for (unsigned i = 0; i < other->count; ++i) {
    const uint32_t block = other->entries[i].block;
    struct part *theirs = other->entries[i].part;
    const unsigned at = find(*place, block);
    if (at == (*place)->count || (*place)->entries[at].block != block) {
      ++theirs->references;
      if (!insert(place, block, theirs)) return;
      continue;
    }
    if (knows((*place)->entries[at].part, theirs)) continue;
    if (!own(place, 0)) return;
    struct entry *entry = &(*place)->entries[at];
    if (knows(theirs, entry->part)) {
      ++theirs->references;
      part_release(entry->part);
      entry->part = theirs;
      continue;
    }
    if (!own_part(entry)) return;
    for (unsigned t = 0; t < theirs->threads; ++t)
      if (entry->part->time[t] < theirs->time[t]) entry->part->time[t] = theirs->time[t];
  }
}

void clock_note(struct clock **place, uint32_t block, unsigned threads, unsigned first, uint32_t lanes, uint32_t time) {
  unsigned at = find(*place, block);
  if (*place == NULL || at == (*place)->count || (*place)->entries[at].block != block) {
    struct part *part = calloc(1, sizeof *part + threads * sizeof part->time[0]);
    if (part == NULL) {
      failed = true;
      return;
    }
    part->references = 1;
    part->threads = threads;
    if (!insert(place, block, part)) return;
  }
  if (!own(place, 0) || at >= (*place)->count || !own_part(&(*place)->entries[at])) return;
  uint32_t *times = (*place)->entries[at].part->time + first;
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    const int l = __builtin_ctz(rest);
    if (times[l] < time) times[l] = time;
  }
}

const uint32_t *clock_times(const struct clock *clock, uint32_t block) {
  const unsigned at = find(clock, block);
  if (clock == NULL || at == clock->count || clock->entries[at].block != block) return NULL;
  return clock->entries[at].part->time;
}
