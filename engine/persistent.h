/* When a block of training steps is one launch (kernels/persistent.cuh), and when every step is launches of its own. */
#ifndef ENGINE_PERSISTENT_H
#define ENGINE_PERSISTENT_H

#include <stdbool.h>

#include "engine/model.h"

/* Steps of a launch, at most: what Ctrl-C may have to wait for. */
enum { PERSISTENT_STEPS = 256 };

/* What the rule is counted from. */
struct persistent_case {
  bool is_virtual;
  bool blocks;                   /* variant dt */
  unsigned slots, rows_per_slot; /* blocks of the launch, rows that each carries in a step */
  unsigned resident_blocks;      /* that the device holds at once; 0: unknown yet */
  long weights;                  /* of the network */
  unsigned update_blocks;        /* of the update kernel */
  bool branch;                   /* convolutions in front (branch.h) */
  bool passes;                   /* a step goes over its rows several times (program_norms.c) */
  bool staged;                   /* the field is a sequence of launches (staged.h) */
};

/* NULL if one launch for many steps is the quicker form; else why not, as the end of "two launches a step, since ...".
 *
 * The count: a launch within a graph costs a step about 1 microsecond for every kernel (draining the grid, filling the
 * next), two barriers of the grid some 0.7 each (two trips to the L2), so that the persistent form saves about half a
 * microsecond a step. It cannot save more than 2 % of steps above 30 microseconds, 45,000 issue slots of one scheduler
 * at 1.5 GHz; a block issues about 3 slots for a multiply-add of 32 lanes, and three of those a weight and row
 * (forward, two backward) over four schedulers: 9 / 128 slots. Updates may take a block four turns. */
const char *persistent_refusal(const struct persistent_case *of);

/* Decides for the binding, whose slots are known, compiles the kernel where it is taken and allocates its barrier. The
 * environment variable NOPROP_PERSISTENT = 1 or 0 overrides the rule (not what is impossible: then 1 is an error). */
noprop_status persistent_bind(noprop_model *model);
/* NOPROP_UNSUPPORTED where NOPROP_PERSISTENT = 1 asks for it and the rows are streamed. */
noprop_status persistent_streamed(void);
/* One launch of `steps` steps. */
noprop_status persistent_launch(noprop_model *model, unsigned steps);

#endif
