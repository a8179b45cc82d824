/* Mode `check`: what threads know of each other, and the accesses that nobody ordered. */
#include "engine/vgpu/check_race.h"

#include <stdlib.h>
#include <string.h>

/* ---- locations: what a strong write leaves for those that read it ---- */

struct location {
  uint64_t key;
  bool used;
  struct clock *device, *block; /* for all; for the threads of block_number */
  uint32_t block_number;
};

static struct {
  struct location *items; /* open addressing */
  size_t count, capacity; /* a power of two */
} locations;

void order_forget_locations(void) {
  for (size_t i = 0; i < locations.capacity; ++i) {
    clock_release(locations.items[i].device);
    clock_release(locations.items[i].block);
  }
  free(locations.items);
  locations.items = NULL;
  locations.count = locations.capacity = 0;
}

static struct location *slot_of(struct location *items, size_t capacity, uint64_t key) {
  size_t at = (size_t)(key * 0x9e3779b97f4a7c15u >> 20) & (capacity - 1);
  while (items[at].used && items[at].key != key) at = (at + 1) & (capacity - 1);
  return &items[at];
}

static struct location *find_location(uint64_t key) {
  if (locations.capacity == 0) return NULL;
  struct location *found = slot_of(locations.items, locations.capacity, key);
  return found->used ? found : NULL;
}

static struct location *make_location(uint64_t key) {
  if (2 * (locations.count + 1) > locations.capacity) {
    const size_t capacity = locations.capacity == 0 ? 256 : 2 * locations.capacity;
    struct location *items = calloc(capacity, sizeof *items);
    if (items == NULL) return NULL;
    for (size_t i = 0; i < locations.capacity; ++i) {
      if (locations.items[i].used) *slot_of(items, capacity, locations.items[i].key) = locations.items[i];
    }
    free(locations.items);
    locations.items = items;
    locations.capacity = capacity;
  }
  struct location *found = slot_of(locations.items, locations.capacity, key);
  if (!found->used) {
    *found = (struct location){.key = key, .used = true};
    ++locations.count;
  }
  return found;
}

/* ---- blocks ---- */

bool order_begin(struct order_block *block, uint32_t number, unsigned threads, unsigned warps) {
  *block = (struct order_block){.number = number, .threads = threads, .warps = warps};
  block->warp = calloc(warps, sizeof *block->warp);
  if (block->warp == NULL) return false;
  for (unsigned w = 0; w < warps; ++w) block->warp[w].time = 1;
  return true;
}

static void clear_meeting(struct meeting *meeting) {
  clock_assign(&meeting->known, NULL);
  clock_assign(&meeting->fenced, NULL);
  clock_assign(&meeting->fenced_block, NULL);
  meeting->whole_block = false;
}

void order_end(struct order_block *block) {
  for (unsigned w = 0; w < block->warps; ++w) {
    for (int l = 0; l < 32; ++l) {
      struct lane *lane = &block->warp[w].lanes[l];
      clock_release(lane->known);
      clock_release(lane->pending);
      clock_release(lane->fenced);
      clock_release(lane->fenced_block);
    }
  }
  for (int i = 0; i < 16; ++i) clear_meeting(&block->barriers[i]);
  clear_meeting(&block->ended);
  free(block->warp);
  block->warp = NULL;
}

static void take_pending(struct lane *lane) {
  if (lane->pending == NULL) return;
  clock_join(&lane->known, lane->pending);
  clock_assign(&lane->pending, NULL);
}

/* What the lanes know, and they themselves, joins the meeting. */
static void contribute(const struct order_block *block, unsigned warp, uint32_t lanes, struct meeting *meeting) {
  struct order_warp *from = &block->warp[warp];
  const struct lane *before = NULL; /* lanes mostly know the same */
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    const int l = __builtin_ctz(rest);
    struct lane *lane = &from->lanes[l];
    take_pending(lane);
    if (before == NULL || before->known != lane->known) clock_join(&meeting->known, lane->known);
    if (before == NULL || before->fenced != lane->fenced) clock_join(&meeting->fenced, lane->fenced);
    if (before == NULL || before->fenced_block != lane->fenced_block)
      clock_join(&meeting->fenced_block, lane->fenced_block);
    before = lane;
    const uint32_t bit = (uint32_t)1 << l;
    if (lane->fence_time != 0) {
      clock_note(&meeting->fenced, block->number, block->threads, warp * 32, bit, lane->fence_time);
    }
    if (lane->fence_block_time != 0) {
      clock_note(&meeting->fenced_block, block->number, block->threads, warp * 32, bit, lane->fence_block_time);
    }
  }
  clock_note(&meeting->known, block->number, block->threads, warp * 32, lanes, from->time);
}

/* The lanes know what the meeting knows. */
static void learn(struct order_warp *warp, uint32_t lanes, const struct meeting *meeting) {
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    struct lane *lane = &warp->lanes[__builtin_ctz(rest)];
    clock_assign(&lane->known, meeting->known);
    clock_assign(&lane->fenced, meeting->fenced);
    clock_assign(&lane->fenced_block, meeting->fenced_block);
  }
}

void order_arrive(struct order_block *block, unsigned warp, uint32_t alive, unsigned barrier, bool whole_block) {
  struct meeting *meeting = &block->barriers[barrier];
  contribute(block, warp, alive, meeting);
  if (whole_block) meeting->whole_block = true;
  ++block->warp[warp].time;
}

void order_leave(struct order_block *block, uint32_t warps, unsigned barrier) {
  struct meeting *meeting = &block->barriers[barrier];
  if (meeting->whole_block) { /* it waited for those that have ended, too */
    clock_join(&meeting->known, block->ended.known);
    clock_join(&meeting->fenced, block->ended.fenced);
    clock_join(&meeting->fenced_block, block->ended.fenced_block);
  }
  for (uint32_t rest = warps; rest != 0; rest &= rest - 1) {
    learn(&block->warp[__builtin_ctz(rest)], UINT32_MAX, meeting);
  }
  clear_meeting(meeting);
}

void order_ended(struct order_block *block, unsigned warp, uint32_t lanes) {
  contribute(block, warp, lanes, &block->ended);
}

void order_warp_sync(struct order_block *block, unsigned warp, uint32_t lanes) {
  struct meeting meeting = {0};
  contribute(block, warp, lanes, &meeting);
  learn(&block->warp[warp], lanes, &meeting);
  clear_meeting(&meeting);
  ++block->warp[warp].time;
}

void order_fence(struct order_block *block, unsigned warp, uint32_t lanes, bool device) {
  struct order_warp *at = &block->warp[warp];
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
    struct lane *lane = &at->lanes[__builtin_ctz(rest)];
    take_pending(lane);
    clock_assign(&lane->fenced_block, lane->known);
    lane->fence_block_time = at->time;
    if (!device) continue;
    clock_assign(&lane->fenced, lane->known);
    lane->fence_time = at->time;
  }
  ++at->time;
}

/* ---- release and acquire ---- */

static void acquire(struct order_block *block, struct lane *lane, const struct ptx_instruction *source,
                    const struct location *location) {
  const bool at_once = source->order == PTX_ACQUIRE || source->order >= PTX_ACQ_REL || source->op == PTX_ATOM;
  struct clock **place = at_once ? &lane->known : &lane->pending;
  clock_join(place, location->device);
  if (location->block_number == block->number) clock_join(place, location->block);
}

static void put(struct clock **place, bool replace, const struct order_block *block, unsigned warp, unsigned lane,
                struct clock *fenced, uint32_t time) {
  if (replace) clock_assign(place, NULL);
  clock_join(place, fenced);
  if (time != 0) clock_note(place, block->number, block->threads, warp * 32, (uint32_t)1 << lane, time);
}

void order_strong(struct order_block *block, unsigned warp, unsigned lane_number, const struct ptx_instruction *source,
                  bool reads, bool writes, uint64_t key) {
  struct lane *lane = &block->warp[warp].lanes[lane_number];
  struct location *location = find_location(key);
  if (reads && location != NULL) acquire(block, lane, source, location);
  if (!writes) return;
  if (source->order >= PTX_RELEASE) {
    order_fence(block, warp, (uint32_t)1 << lane_number, source->scope != PTX_SCOPE_CTA);
  }
  if (location == NULL && lane->fence_block_time == 0 && lane->fenced_block == NULL) return;
  if (location == NULL) location = make_location(key);
  if (location == NULL) return;
  const bool replace = !reads;
  if (source->scope != PTX_SCOPE_CTA) {
    put(&location->device, replace, block, warp, lane_number, lane->fenced, lane->fence_time);
  }
  const bool others = location->block_number != block->number;
  location->block_number = block->number;
  put(&location->block, replace || others, block, warp, lane_number, lane->fenced_block, lane->fence_block_time);
}

/* ---- words ---- */

/* Whether the actor knows of the access. */
static bool known(const struct touch *touch, const struct actor *actor) {
  const struct order_block *block = actor->block;
  if (touch->block == block->number && touch->thread == actor->warp * 32 + actor->lane) return true;
  const uint32_t *times = clock_times(block->warp[actor->warp].lanes[actor->lane].known, touch->block);
  return times != NULL && times[touch->thread] >= touch->time;
}

/* Whether two accesses by different threads, one a write, may happen at the same time without harm. */
static bool allowed(const struct touch *a, const struct touch *b) {
  if (!(a->flags & b->flags & TOUCH_STRONG)) return false;
  return a->block == b->block || !((a->flags | b->flags) & TOUCH_BLOCK_SCOPE);
}

static bool conflicts(const struct touch *before, const struct actor *actor, const struct touch *now) {
  return (before->bytes & now->bytes) != 0 && !known(before, actor) && !allowed(before, now);
}

/* Three reads are kept: two of one warp, and one of another. A write that races with any read of a set of threads that
 * are in step with each other races with one of these, unless it is that thread's own. */
static void keep_read(struct cell *cell, const struct actor *actor, const struct touch *now) {
  int room = -1;
  for (int i = 0; i < 3; ++i) {
    struct touch *read = &cell->reads[i];
    if (read->bytes != 0 && !known(read, actor)) continue;
    /* Its own read, or one that it knows of: whoever does not know that does not know this one either. */
    const bool covered = (read->bytes & ~now->bytes) == 0;
    if (read->bytes == 0 || covered) {
      if (room >= 0) read->bytes = 0;
      if (room < 0) room = i;
    }
  }
  if (room < 0) return;
  int same_warp = 0, same_block = 0;
  for (int i = 0; i < 3; ++i) {
    const struct touch *read = &cell->reads[i];
    if (i == room || read->bytes == 0) continue;
    same_block += read->block == now->block;
    same_warp += read->block == now->block && read->thread / 32 == now->thread / 32;
  }
  if (same_warp < 2 && same_block < 2 + (same_warp < 1)) cell->reads[room] = *now;
}

static void keep_write(struct cell *cell, const struct actor *actor, const struct touch *now) {
  struct touch *last = &cell->writes[0];
  for (int i = 0; i < 3; ++i)
    if (cell->reads[i].bytes != 0 && known(&cell->reads[i], actor)) cell->reads[i].bytes = 0;
  if (cell->writes[1].bytes != 0 && known(&cell->writes[1], actor)) cell->writes[1].bytes = 0;
  const bool covered = (last->bytes & ~now->bytes) == 0;
  if (last->bytes != 0 && (!covered || !known(last, actor))) cell->writes[1] = *last;
  *last = *now;
}

bool race_note(struct cell *cell, uint32_t epoch, const struct actor *actor, const struct touch *now,
               struct touch *other) {
  if (cell->epoch != epoch) *cell = (struct cell){.epoch = epoch};
  const bool write = now->flags & TOUCH_WRITE;
  const struct touch *found = NULL;
  for (int i = 0; i < 2 && found == NULL; ++i)
    if (conflicts(&cell->writes[i], actor, now)) found = &cell->writes[i];
  for (int i = 0; i < 3 && found == NULL && write; ++i)
    if (conflicts(&cell->reads[i], actor, now)) found = &cell->reads[i];
  if (found != NULL) *other = *found;
  if (write) {
    keep_write(cell, actor, now);
  } else {
    keep_read(cell, actor, now);
  }
  return found != NULL;
}
