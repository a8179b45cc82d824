/* What the modes of the virtual GPU other than `run` see of a launch, and how they steer it.
 *
 * A mode is a table of functions (struct vgpu_observer). In such a mode every launch is interpreted by a compilation of
 * the interpreter of its own (interpreter_observed.c), in which each step calls the table; the other compilations and
 * translated code contain nothing of this. Any function may be NULL.
 *
 * The blocks of a launch run on several CPU threads at once, so the functions that are called about a block may run at
 * the same time for different blocks, unless the observer is `serial`. begin_launch and end_launch are never called at
 * the same time as anything else about a launch. */
#ifndef VGPU_OBSERVE_H
#define VGPU_OBSERVE_H

#include "engine/vgpu/executor.h"

/* ---- the mode ---- */

enum vgpu_mode { VGPU_MODE_RUN, VGPU_MODE_CHECK, VGPU_MODE_FUZZ, VGPU_MODE_COUNT, VGPU_MODES };

/* The mode in force: NOPROP_VGPU_MODE, unless vgpu_set_mode() has changed it. VGPU_MODES if the variable has an unknown
 * value. */
enum vgpu_mode vgpu_current_mode(void);
/* For tests and programs that offer the modes themselves. No launch may be under way. */
void vgpu_set_mode(enum vgpu_mode mode);
/* "run", "check", "fuzz", "count"; by name: VGPU_MODES if there is no such mode. */
const char *vgpu_mode_name(enum vgpu_mode mode);
enum vgpu_mode vgpu_mode_by_name(const char *name);

/* ---- what an observer is told ---- */

/* A block that is running. `state` is the observer's own: begin_block sets it. */
struct vgpu_observed_block {
  const struct vgpu_launch *launch; /* launch->observation: what begin_launch returned */
  void *state;
  unsigned ctaid[3];
  uint64_t index; /* ctaid.x + grid.x * (ctaid.y + grid.y * ctaid.z) */
  unsigned threads, warps, slot;
  unsigned char *shared, *local; /* host memory behind the windows; local: thread after thread */
  uint64_t shared_bytes, local_bytes;
};

/* A warp of it at the moment of a call. */
struct vgpu_observed_warp {
  struct vgpu_observed_block *block;
  unsigned index;
  uint32_t alive;          /* lanes that have not ended */
  uint32_t mask;           /* lanes that have come to the instruction */
  uint32_t active;         /* those of them that execute it: its guard holds */
  const void *operands[2]; /* in `instruction`, of arithmetic: the 32 lanes of its first source registers */
};

/* One memory instruction of a warp: ld, st, atom, red, and whatever else touches memory lane by lane. */
struct vgpu_access {
  const struct ptx_instruction *source;
  bool reads, writes; /* both: an atomic operation */
  uint32_t lanes;     /* that access memory */
  unsigned bytes;     /* per lane: all elements of a vector */
  uint8_t space[32];  /* by lane: GLOBAL (any memory of the device), SHARED, LOCAL or PARAM; generic addresses resolved.
                         GENERIC: an address in no window and no allocation */
  uint16_t region[32]; /* of the pointer that the address comes from: what the observer's region() gave; else 0 */
  const unsigned char (*data)[32]; /* st: what each lane stores; NULL for others */
  uint64_t address[32]; /* GLOBAL: the device address; others: the offset in the window, of the thread for LOCAL */
};

/* Which of the ready warps runs, and for how many basic blocks, and how many instructions within them, at most; 0
 * instructions: as many as there are. */
struct vgpu_turn {
  unsigned warp, blocks, instructions;
};

enum { VGPU_REGIONS = 1 << 13 };

struct vgpu_observer {
  const char *name;
  unsigned red_zone; /* unused bytes after each variable of a module */
  bool serial;       /* one block at a time, in order (cooperative launches: one turn at a time) */

  /* The result is launch->observation for all that follows. `fault`: why the launch ended early, or NULL. */
  void *(*begin_launch)(const struct vgpu_launch *launch);
  void (*end_launch)(const struct vgpu_launch *launch, const struct vgpu_fault *fault);
  /* How many blocks are under way at once. Blocks begin in their order and get turns, of one warp each; next_block says
   * which of `count` blocks under way is next (the same for cooperative launches, of which all blocks are under way).
   * NULL: one block after the other. Only if the observer is `serial`. */
  unsigned (*residents)(const struct vgpu_launch *launch);
  unsigned (*next_block)(const struct vgpu_launch *launch, unsigned count);
  /* The block that is to run as number `index`, a permutation; launches with turns do not ask. */
  uint64_t (*block_order)(const struct vgpu_launch *launch, uint64_t index);

  void (*begin_block)(struct vgpu_observed_block *block);
  void (*end_block)(struct vgpu_observed_block *block, bool faulted);
  /* Who runs next: bit w of `ready` tells whether warp w can. NULL: each in turn, in order. */
  struct vgpu_turn (*schedule)(struct vgpu_observed_block *block, uint32_t ready);

  /* Before each instruction, those that end a basic block included. */
  void (*instruction)(struct vgpu_observed_warp *warp, const struct ptx_instruction *source);
  /* After an instruction whose first result is dst[0]: its 32 lanes, each 4 or 8 bytes wide. Predicates are not shown.
   * The active lanes may be changed. */
  void (*result)(struct vgpu_observed_warp *warp, const struct ptx_instruction *source, void *lanes, unsigned width);
  /* Returns the lanes that are to carry the access out; those are then checked as in other modes. The others read
   * zeros, and what they write is lost. cp.async comes as a read of global and a write of shared memory (reads, writes
   * tell; a copy in pieces comes as several), ldmatrix and stmatrix as one access of the lanes that give addresses. */
  uint32_t (*access)(struct vgpu_observed_warp *warp, const struct vgpu_access *access);
  /* The lane that is next in a store or an atomic operation, where lanes may meet in one place: one of `rest`. */
  unsigned (*next_lane)(struct vgpu_observed_warp *warp, uint32_t rest);
  /* Computes an mma (matrix.h says how registers lie); false: as other modes do. */
  bool (*mma)(struct vgpu_observed_warp *warp, const struct ptx_instruction *source, const void *const *sources,
              void *const *results);
  /* A conditional branch: the lanes of warp->mask that take it. */
  void (*branch)(struct vgpu_observed_warp *warp, const struct ptx_instruction *source, uint32_t taken);
  /* Lanes end (ret, exit). */
  void (*ended)(struct vgpu_observed_warp *warp, uint32_t lanes);
  /* The launch is to end early because of this instruction; `kind` is that of struct vgpu_fault. */
  void (*fault)(struct vgpu_observed_warp *warp, const struct ptx_instruction *source, unsigned lane, int kind,
                const char *what);
  /* membar, fence. */
  void (*fence)(struct vgpu_observed_warp *warp, const struct ptx_instruction *source);
  /* The warp arrives at a barrier of the block (bar.sync, bar.red, bar.arrive); count 0: all threads of the block. */
  void (*barrier)(struct vgpu_observed_warp *warp, const struct ptx_instruction *source, unsigned id, unsigned count);
  /* The barrier is complete: bit w of `waiting`: the warps that go on. */
  void (*barrier_complete)(struct vgpu_observed_block *block, unsigned id, uint32_t waiting);
  /* bar.warp.sync, and before shfl, vote, match, redux: `members` by lane. */
  void (*warp_sync)(struct vgpu_observed_warp *warp, const struct ptx_instruction *source, const uint32_t *members);
  /* shfl: the lane that each active lane reads. */
  void (*shuffle)(struct vgpu_observed_warp *warp, const struct ptx_instruction *source, const int *from);

  /* Pointers to arrays that the kernel marks (kernels/regions.h), with their sizes: the number that accesses through
   * the pointer are to carry, 1 to VGPU_REGIONS - 1, or 0. Addresses are shown to the kernel with the number in their
   * upper 16 bits. */
  unsigned (*region)(struct vgpu_observed_warp *warp, uint64_t pointer, uint64_t bytes);

  /* The program's side. `kind`: enum region_kind. Memory comes and goes; a fill or a copy has been carried out (either
   * side of it may be memory that the device does not know). */
  void (*allocated)(uint64_t low, uint64_t high, int kind, const void *context);
  void (*freed)(uint64_t low, uint64_t high, int kind);
  void (*bad_free)(uint64_t address);
  void (*written)(uint64_t low, uint64_t high);
  void (*copied)(uint64_t to, uint64_t from, uint64_t bytes);
  void (*context_end)(const void *context);
};

/* The table of the mode in force; NULL in mode run. */
const struct vgpu_observer *vgpu_mode_observer(void);

/* ---- the modes ---- */

extern const struct vgpu_observer vgpu_check, vgpu_fuzz, vgpu_count;

/* ---- for the driver API: nothing in mode run ---- */

/* Unused bytes after each variable of a module that is loaded now (ptx_parse_spaced). */
unsigned observe_red_zone(void);

struct operation;
/* A copy or a fill that has been carried out. */
void observe_copy(const struct operation *operation);
void observe_set(const struct operation *operation);
/* The program frees what is no allocation. */
void observe_bad_free(uint64_t address);
/* Before the memory of a context is given back. */
void observe_context_end(const void *context);

#endif
