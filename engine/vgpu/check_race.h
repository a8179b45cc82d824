/* Mode `check`: races. An access races with an earlier one if both touch the same byte, at least one of them writes, at
 * least one of them is weak, and the thread does not know of the earlier one (check_clock.h).
 *
 * What makes one thread's accesses known to others:
 *  - bar.sync, bar.red, bar.arrive: those of all threads that arrive, to all that wait; also of threads that have ended
 *    before a barrier of the whole block;
 *  - bar.warp.sync (__syncwarp): those of the lanes that take part. shfl, vote and match order nothing;
 *  - release and acquire: a fence, then a strong write (atomic, volatile, relaxed) of the same or, after a barrier, of
 *    another thread; then a strong read of that location, followed by a fence or a barrier of the block. .release and
 *    .acquire do without the fence, and so does an atomic operation whose result is used: CUDA's guide and everybody's
 *    "last block" reduction do without a fence there. A fence for the block (__threadfence_block, .cta) is one within
 *    the block only, and so is a location accessed with scope .cta;
 *  - the end of a launch: everything. Launches of different streams are taken to follow each other. */
#ifndef VGPU_CHECK_RACE_H
#define VGPU_CHECK_RACE_H

#include "engine/vgpu/check_clock.h"
#include "engine/vgpu/observe.h"

/* ---- threads ---- */

struct lane {
  struct clock *known;                   /* of all threads but itself */
  struct clock *pending;                 /* read with a strong access, to be known after a fence */
  struct clock *fenced, *fenced_block;   /* what its strong writes make known to the device, to the block */
  uint32_t fence_time, fence_block_time; /* likewise of itself; 0: nothing */
};

struct order_warp {
  uint32_t time; /* of all its lanes; moves on where something becomes known to others */
  struct lane lanes[32];
};

/* The threads of a block, and its barriers while warps wait at them. */
struct order_block {
  uint32_t number;
  unsigned threads, warps;
  struct order_warp *warp;
  struct meeting {
    struct clock *known, *fenced, *fenced_block;
    bool whole_block;
  } barriers[16], ended;
};

bool order_begin(struct order_block *block, uint32_t number, unsigned threads, unsigned warps);
void order_end(struct order_block *block);
/* At the beginning of a launch: nothing is known of any location. */
void order_forget_locations(void);

void order_fence(struct order_block *block, unsigned warp, uint32_t lanes, bool device);
void order_arrive(struct order_block *block, unsigned warp, uint32_t alive, unsigned barrier, bool whole_block);
void order_leave(struct order_block *block, uint32_t warps, unsigned barrier);
void order_ended(struct order_block *block, unsigned warp, uint32_t lanes);
void order_warp_sync(struct order_block *block, unsigned warp, uint32_t lanes);
/* A strong access of one thread to the location with that key, before and after it takes place. */
void order_strong(struct order_block *block, unsigned warp, unsigned lane, const struct ptx_instruction *source,
                  bool reads, bool writes, uint64_t key);

/* ---- words of memory ---- */

/* An access to a word; of the current launch, whose instruction it names by number. */
struct touch {
  uint32_t block, time, instruction;
  uint16_t thread;
  uint8_t bytes; /* of the word, one bit each; 0: none */
  uint8_t flags;
};
enum { TOUCH_WRITE = 1, TOUCH_STRONG = 2, TOUCH_BLOCK_SCOPE = 4, TOUCH_ATOMIC = 8 };

/* The last write and an earlier one that is not known to it; reads since then by threads as different as can be. */
struct cell {
  uint32_t epoch; /* the launch, or the block for shared memory, that the touches belong to */
  struct touch writes[2], reads[3];
};

/* Who makes the access. */
struct actor {
  struct order_block *block;
  unsigned warp, lane;
};

/* Notes the access and returns the earlier one with which it races, if there is one: then true. */
bool race_note(struct cell *cell, uint32_t epoch, const struct actor *actor, const struct touch *now,
               struct touch *other);

#endif
