/* Inside the interpreter: decoded code and the state of a block. interpreter_body.h is compiled once per instruction
 * set; interpreter.c chooses among them. */
#ifndef VGPU_INTERPRETER_H
#define VGPU_INTERPRETER_H

#include "engine/vgpu/executor.h"
#include "engine/vgpu/helpers.h"

enum { LANES = 32, SLOT_32 = LANES * 4, SLOT_64 = LANES * 8 };

struct warp;
struct step;
typedef void vgpu_handler(struct warp *warp, const struct step *step);
typedef uint32_t vgpu_compare(const void *a, const void *b);
struct access;
typedef void vgpu_locate(struct warp *warp, const struct step *step, unsigned bytes, struct access *access);

/* A decoded instruction. Operands are byte offsets into the warp's registers, or into the code's constants if odd (the
 * offset plus one). Slot 0 of the registers is where unwanted results go. */
struct step {
  vgpu_handler *run;    /* all live lanes of the warp are active: results may be written to every lane */
  vgpu_handler *masked; /* only the lanes of warp->mask may change */
  uint32_t d, a, b, c;
  uint32_t *list; /* dst (ld, unpacking mov) or src (st, packing mov) of several elements; second results */
  int64_t offset;
  vgpu_locate *locate; /* of a memory access */
  const struct ptx_instruction *source;
  uint32_t cache;                       /* number among the memory instructions */
  uint8_t negate_a, negate_b, negate_c; /* predicates: !p. cvt: whether source and result registers have 64 bits */
  vgpu_handler *inner, *inner_masked;   /* of a guarded instruction, whose run and masked look at the guard first */
  uint32_t guard, guard_flip;           /* offset of the predicate; 0 or ~0 */
  vgpu_compare *compare;
};

enum ending { END_NEXT, END_BRANCH, END_CONDITIONAL, END_TABLE, END_EXIT, END_TRAP, END_BARRIER };

struct decoded_block {
  uint32_t first, count; /* steps, without the ending */
  enum ending ending;
  uint32_t next, target; /* END_CONDITIONAL: target where the guard holds */
  uint32_t guard, guard_flip;
  const struct ptx_block *source;
  struct step last; /* operands of a barrier or a table branch */
};

struct interpreter_code {
  const struct ptx_function *function;
  const struct interpreter_set *set;
  struct step *steps;
  struct decoded_block *blocks;
  uint32_t *lists;
  unsigned char *constants; /* aligned to 64 */
  uint32_t register_bytes;  /* of one warp, multiple of 64 */
  uint32_t memory_steps;
};

/* One compilation of interpreter_body.h. */
struct interpreter_set {
  const char *name;
  void *(*prepare)(const struct ptx_function *function, char *reason, size_t reason_bytes);
  int (*run_block)(const struct vgpu_launch *launch, struct vgpu_scratch *scratch, const unsigned ctaid[3],
                   unsigned slot, struct vgpu_fault *fault);
  int (*run_turn)(const struct vgpu_launch *launch, struct vgpu_scratch *scratch, const unsigned ctaid[3],
                  unsigned slot, bool begin, struct vgpu_fault *fault);
  vgpu_mma_function *mma;
  vgpu_evaluate_function *evaluate;
};
extern const struct interpreter_set interpreter_baseline;
extern const struct interpreter_set interpreter_observed; /* for any CPU; calls launch->observer */
#if defined(__x86_64__)
extern const struct interpreter_set interpreter_avx2, interpreter_avx512;
#endif

void vgpu_interpreter_discard(void *code);

/* Offsets of the registers' slots in a warp's memory, so that registers that do not live at the same time share one:
 * interpreter.c. offsets[register_count]; returns the bytes used, from `start`. 0: out of memory. */
uint32_t vgpu_allocate_slots(const struct ptx_function *function, uint32_t start, uint32_t *offsets);

#endif
