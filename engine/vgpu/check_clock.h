/* Vector clocks: what is known of the accesses of other threads.
 *
 * A clock says of every thread of some blocks up to which of its times its accesses are known to have happened. Clocks
 * are shared by reference and copied when one that is shared must change; a function that changes one takes the place
 * where the reference is kept. NULL is the clock that knows nothing. One thread of the program at a time. */
#ifndef VGPU_CHECK_CLOCK_H
#define VGPU_CHECK_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct clock;

struct clock *clock_retain(struct clock *clock);
void clock_release(struct clock *clock);

/* Gives up the reference in *place and puts one to `clock` there. */
void clock_assign(struct clock **place, struct clock *clock);
/* *place knows what `other` knows, too. */
void clock_join(struct clock **place, struct clock *other);
/* *place knows the threads first + l of the block, for every bit l of `lanes`, up to `time`. */
void clock_note(struct clock **place, uint32_t block, unsigned threads, unsigned first, uint32_t lanes, uint32_t time);

/* [threads] the times of a block; NULL if nothing is known of it. */
const uint32_t *clock_times(const struct clock *clock, uint32_t block);

/* Whether a clock could not be made for want of memory since the last call: it then knows too little. */
bool clock_take_failure(void);

#endif
