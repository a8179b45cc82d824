/* The contract between the launcher, which spreads the blocks of a launch over CPU threads, and an executor, which runs
 * one block on the calling thread. There are two executors: the interpreter (interpreter.c) and the translator. */
#ifndef VGPU_EXECUTOR_H
#define VGPU_EXECUTOR_H

#include "engine/vgpu/ir.h"
#include "engine/vgpu/print.h"

struct vgpu_observer;

struct vgpu_launch {
  const struct ptx_function *function;
  void *code; /* what the executor's prepare() made of `function` */
  unsigned grid[3], block[3];
  unsigned dynamic_shared; /* bytes */
  const void *params;      /* at least function->parameter_bytes, aligned to 16 */
  size_t param_bytes;
  unsigned multiprocessors; /* value of %nsmid */
  uint64_t grid_id;         /* value of %gridid */
  /* Blocks wait for each other: run_turn is used. */
  bool cooperative;
  bool in_turns;      /* run_turn is used for another reason: each turn is one of one warp */
  uint64_t workspace; /* value of %envreg1 (high word) and %envreg2: the memory of the grid barrier, or 0 */
  const int *stop; /* enum vgpu_stop, read atomically; not 0: the launch is to end with a fault as soon as possible */
  const struct vgpu_observer *observer; /* observe.h; of vgpu_observed only */
  void *observation;                    /* the observer's own */
  struct vgpu_output *output;           /* what the kernel prints; NULL: straight to the standard output */
};

enum vgpu_stop { VGPU_STOP_NO, VGPU_STOP_REQUESTED, VGPU_STOP_LATE };

/* Why a launch ended early. The text names kernel, PTX line, block, thread and address. */
struct vgpu_fault {
  char text[400];
  enum {
    VGPU_FAULT_NONE,
    VGPU_FAULT_ADDRESS,
    VGPU_FAULT_TRAP,
    VGPU_FAULT_ASSERT,
    VGPU_FAULT_BARRIER,
    VGPU_FAULT_STOPPED,
    VGPU_FAULT_OTHER
  } kind;
};

/* Memory that a CPU thread keeps between blocks and launches: registers, shared and local memory, caches. All zero to
 * begin with. Contents do not carry from one block to the next. */
struct vgpu_scratch {
  void *memory;
  size_t bytes;
};
/* At least `bytes` bytes aligned to 256, or NULL. Contents undefined. */
void *vgpu_scratch_reserve(struct vgpu_scratch *scratch, size_t bytes);
void vgpu_scratch_release(struct vgpu_scratch *scratch);

struct vgpu_executor {
  const char *name; /* "interpreter" */
  /* Turns a kernel into the executor's own code; NULL and a reason (a sentence without a full stop, with the PTX line)
   * if it contains a form that the executor does not implement. The module is already placed. */
  void *(*prepare)(const struct ptx_function *function, char *reason, size_t reason_bytes);
  void (*discard)(void *code);
  /* Runs block `ctaid` of the launch to its end. 0, or -1 and *fault. Any number of threads may do so at once, each
   * with its own scratch. `slot` is the number of the calling CPU thread, the value of %smid. */
  int (*run_block)(const struct vgpu_launch *launch, struct vgpu_scratch *scratch, const unsigned ctaid[3],
                   unsigned slot, struct vgpu_fault *fault);
  /* The same in turns, for blocks that wait for each other: 1: call again, on any thread, with the same arguments but
   * without `begin`; 0: the block has ended. The block keeps its scratch until then. NULL: the executor cannot. */
  int (*run_turn)(const struct vgpu_launch *launch, struct vgpu_scratch *scratch, const unsigned ctaid[3],
                  unsigned slot, bool begin, struct vgpu_fault *fault);
};

extern const struct vgpu_executor vgpu_interpreter;
/* The interpreter that calls launch->observer. */
extern const struct vgpu_executor vgpu_observed;

/* Vector instructions that the executors use: what the CPU has, but no more than NOPROP_VGPU_INSTRUCTIONS names.
 * UNKNOWN if that is not a name. */
enum vgpu_instructions { VGPU_INSTRUCTIONS_UNKNOWN, VGPU_BASELINE, VGPU_AVX2, VGPU_AVX512 };
enum vgpu_instructions vgpu_instructions(void);
/* "AVX-512", "AVX2", "baseline" */
const char *vgpu_interpreter_instruction_set(void);

#endif
