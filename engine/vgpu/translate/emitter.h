/* The state of one kernel's emission, and the building blocks that the emit_*.c files share. */
#ifndef VGPU_TRANSLATE_EMITTER_H
#define VGPU_TRANSLATE_EMITTER_H

#include <stddef.h>

#include "engine/vgpu/translate/emit.h"
#include "engine/vgpu/translate/runtime.h"

typedef LLVMValueRef Value;
typedef LLVMTypeRef Type;
typedef LLVMBasicBlockRef Label;

/* Accesses through one pointer in a basic block are checked once for all. */
struct check_group {
  uint32_t first; /* its first access */
  uint32_t block;
  bool early;  /* checked at the block's first access, else at its own */
  bool closed; /* base_register has another value by now */
  uint32_t base_register;
  uint8_t space;
  int64_t low, high; /* offsets covered: [low, high) */
  uint32_t count;
};

/* Of a register of mma (emit_fragments.c). */
struct fragment_place {
  uint32_t group; /* 0: none */
  uint32_t index; /* in the group */
  int64_t place;  /* of the group, in bytes from e->fragment_memory on */
};

enum { MATRIX_RUN = 4 }; /* mma that are done together, at most */

struct emitter {
  struct analysis *analysis;
  const struct ptx_function *function;
  const struct target_features *features;
  LLVMContextRef context;
  LLVMModuleRef module;
  LLVMBuilderRef builder;
  Type i1, i8, i16, i32, i64, f16, f32, f64, bytes; /* bytes: pointer to i8 */
  Value run, warp;
  Label entry, stopped, fault, ended;
  Label *body;       /* [block_count] */
  Value *slot;       /* [register_count]: where a register lives until LLVM promotes it */
  Value *mask_slot;  /* [block_count]: lanes that wait at the block */
  Value entry_lanes; /* NULL: all 32 */
  Value params, shared, local, segment, frame, shared_bytes, stop;
  Value mask;                            /* lanes that run the current block; NULL: all */
  const struct ptx_instruction *guarded; /* being emitted, with a guard that varies, for these lanes: */
  Value guarded_lanes;
  unsigned first_lane;      /* of the strip being emitted (emit_strips.c) */
  bool unchecked;           /* accesses have been checked before */
  uint32_t block;           /* current */
  uint32_t *order;          /* [instruction_count]: the instructions of each block in the order of emission */
  uint32_t *batch_at;       /* [block_count]: the instruction before which early checks are made, or PTX_NONE */
  uint32_t *group_of;       /* [instruction_count], PTX_NONE: checked alone */
  int64_t *offset_in_group; /* [instruction_count]: from the group's register */
  struct check_group *groups;
  uint32_t group_count;
  int64_t *root_span;    /* [root_count]: longest access, for info */
  int64_t *frame_offset; /* [register_count + block_count]: -1 while not given */
  int64_t frame_bytes;
  bool *written_once; /* [register_count]: saved for barriers where it is written, not at each of them */
  uint32_t barrier_count;
  struct fragment_place *fragment; /* [register_count]: of mma's registers (emit_fragments.c) */
  Value fragment_memory;           /* i8* */
  int64_t fragment_spare;          /* in it: for operands without a place, one after the other */
  LLVMMetadataRef scopes[4];       /* alias scopes: warp, shared, global, local */
  Value unlikely;                  /* branch weights */
  unsigned alias_kind, noalias_kind, invariant_kind, weights_kind;
  char *reason;
  size_t reason_bytes;
  bool failed;
};

enum alias_scope { SCOPE_WARP, SCOPE_SHARED, SCOPE_GLOBAL, SCOPE_LOCAL, SCOPE_COUNT };

/* Records the first reason why the kernel cannot be translated. */
void refuse(struct emitter *e, const struct ptx_instruction *instruction, const char *what);

/* ---- types and constants; wide: all lanes, else one number ---- */

/* Lanes of a wide value: 32, or those of a strip. */
extern _Thread_local unsigned vector_lanes;

Type element_type(struct emitter *e, uint8_t ptx_type);
Type shaped(Type element, bool wide);
Value constant(Type type, uint64_t value); /* integer, one or all lanes; sign-extended from 64 bits */
Value constant_float(Type type, double value);
Value lane_constants(struct emitter *e, Type element, const int64_t values[WARP_LANES], int64_t plus);
Value splat(struct emitter *e, Value scalar);
/* The `count` lanes given, of x and, beyond it, of y (NULL: of none). */
Value shuffle(struct emitter *e, Value x, Value y, const unsigned *lanes, unsigned count);
bool is_wide(Value value);
unsigned element_bits(Value value);
Value as_bits(struct emitter *e, Value value);  /* integer of the same width */
Value as_float(struct emitter *e, Value value); /* f16, f32, f64 of the same width */
Value call_intrinsic(struct emitter *e, const char *name, Type overload, unsigned count, Value *arguments);
Value any_lane(struct emitter *e, Value mask);  /* i1 */
Value mask_bits(struct emitter *e, Value mask); /* i32; NULL: all ones */
Value bits_mask(struct emitter *e, Value bits);
Value all_lanes(struct emitter *e);

/* ---- registers and operands ---- */

/* An operand as a number of `ptx_type`: its base, or all lanes. */
Value read_operand(struct emitter *e, const struct ptx_operand *operand, uint8_t ptx_type, bool wide);
Value read_register(struct emitter *e, uint32_t index, bool wide); /* as integer of its class, i1 for predicates */
/* Stores a result. `value` is scalar (for all lanes, or the base of `shape`) or wide; `extend_signed`: how a value
 * narrower than the register fills it. */
void write_register(struct emitter *e, const struct ptx_instruction *instruction, const struct ptx_operand *operand,
                    Value value, struct shape shape, bool extend_signed);
/* Saves what survives barriers unchanged; after a register was written. */
void save_written_once(struct emitter *e, uint32_t index);
/* The lanes for which the current instruction has effect: block mask and guard; NULL: all. */
Value effective_mask(struct emitter *e, const struct ptx_instruction *instruction);

/* ---- the warp's fields ---- */

Value warp_field(struct emitter *e, Type type, size_t offset, bool invariant);
Value warp_address(struct emitter *e, Type pointee, size_t offset);
void mark_scope(struct emitter *e, Value access, enum alias_scope scope);
void mark_invariant(struct emitter *e, Value load);
/* Ends the block with a fault if `status` is not 0; goes on in a new LLVM block. */
void check_status(struct emitter *e, Value status);
/* Calls translated_serve() with what was stored in the warp's request fields. */
void call_helper(struct emitter *e, enum request request, Value mask);
/* REQUEST_OPERATE */
void call_operate(struct emitter *e, const struct ptx_instruction *instruction, Value mask);
/* The helper's operands and results, in 64 bits per lane. */
void store_argument(struct emitter *e, unsigned number, Value lanes);
Value load_result(struct emitter *e, unsigned number);
/* Live lanes of the warp that wait at other blocks, as i32; NULL: there can be none. */
Value lanes_elsewhere(struct emitter *e);
/* A fault unless `together` (i1). */
void check_together(struct emitter *e, const struct ptx_instruction *instruction, Value together);
Value new_branch(struct emitter *e, Value condition, Label yes, Label no, bool yes_unlikely);
Label new_label(struct emitter *e, const char *name);

/* ---- functions beside the kernel's (emit_outline.c) ---- */

/* Emits a function's code from its arguments; NULL: it returns nothing. It may use the builder and new_label(), nothing
 * of the kernel. */
typedef Value outlined_body(struct emitter *e, const void *what, const Value *arguments);
/* A call of the module's function `name`, which `body` makes at the first call; all of one name are the same. Up to
 * ten arguments. */
Value call_outlined(struct emitter *e, const char *name, Type result, const Value *arguments, unsigned count,
                    outlined_body *body, const void *what);
/* Whether the kernel is so large that what it does often should be a function. */
bool is_large(const struct emitter *e);
/* Lets LLVM use vectors as wide as the processor's in a function. */
void add_vector_width(struct emitter *e, Value function);

/* ---- registers of mma (emit_fragments.c) ---- */

/* Gives registers that mma reads and writes their places: e->slot, e->fragment, e->fragment_place. */
void plan_fragments(struct emitter *e);
/* i8*: where mma finds, or leaves, registers one after the other; `number`: which of its four, A to D. */
Value fragment_source(struct emitter *e, const struct ptx_operand *operands, unsigned count, uint8_t type,
                      unsigned number);
Value fragment_target(struct emitter *e, const struct ptx_operand *operands, unsigned count);
/* As fragment_source for A; a copy where D takes its place. */
Value fragment_factor(struct emitter *e, const struct ptx_instruction *mma);
/* The places of A, B, C and D; false if an operand has none of its own. */
bool fragment_places(const struct emitter *e, const struct ptx_instruction *mma, int64_t places[4]);
Value fragment_at(struct emitter *e, int64_t place);
/* Memory for the columns of a run's factor B, of MATRIX_RUN. */
Value fragment_scratch(struct emitter *e, unsigned number);
/* An mma with a function and without a guard, which may be done together with others; two of the same kind. */
bool is_plain_matrix(const struct ptx_instruction *instruction);
bool is_same_matrix(const struct ptx_instruction *one, const struct ptx_instruction *other);
/* After mma: to the registers that have no place of their own. */
void fragment_written(struct emitter *e, const struct ptx_instruction *mma, Value target);

/* ---- blocks ---- */

Type register_type(struct emitter *e, uint32_t index);
/* Whether lanes may wait at the block, or run it without others. */
bool has_mask(const struct emitter *e, uint32_t block);
/* A uniform guard, negated where the instruction says so. */
Value guard_scalar(struct emitter *e, const struct ptx_instruction *instruction);
/* Leaves the kernel if it is to stop. */
void poll_stop(struct emitter *e);
/* All lanes of the current block go to `to`. */
void jump(struct emitter *e, uint32_t to);
/* The block's instructions but for its last, if that leaves it. */
void emit_body(struct emitter *e, uint32_t number);
/* A loop that runs lanes by the strip; false, and nothing emitted, if the block is none (emit_strips.c). */
bool emit_strips(struct emitter *e, uint32_t number);
/* How many instructions of the block, from one of its order on, should run by the strip; 0: none. */
uint32_t strip_run(const struct emitter *e, uint32_t number, uint32_t from);
void emit_strip_run(struct emitter *e, uint32_t number, uint32_t from, uint32_t length);

/* ---- instructions ---- */

void emit_instruction(struct emitter *e, const struct ptx_instruction *instruction);
void emit_arithmetic(struct emitter *e, const struct ptx_instruction *instruction); /* emit_arithmetic.c */
/* approximate functions (emit_special.c); false: no such */
Value emit_special(struct emitter *e, const struct ptx_instruction *instruction, Value x, bool wide);
Value flush_subnormal(struct emitter *e, Value x);
void emit_call(struct emitter *e, const struct ptx_instruction *instruction);   /* emit_call.c */
void emit_matrix(struct emitter *e, const struct ptx_instruction *instruction); /* emit_matrix.c */
/* Whether mma of this shape is done by a function of the module, on fragments in memory. */
bool has_function(const struct ptx_matrix *shape);
/* Emits the mma that `order` begins with, `left` instructions, together; returns how many. 0: none, and nothing is
 * emitted. */
unsigned matrix_run(struct emitter *e, const uint32_t *order, uint32_t left);
/* An address operand plus an offset, in 64 bits; one in a register of 32 bits wraps around. */
Value address_of(struct emitter *e, const struct ptx_operand *operand, int64_t offset);
void emit_load(struct emitter *e, const struct ptx_instruction *instruction); /* emit_memory.c */
void emit_store(struct emitter *e, const struct ptx_instruction *instruction);
/* The check of an access, without the access. */
void emit_check(struct emitter *e, const struct ptx_instruction *access);
/* Cheap integer arithmetic without side effects, such as addresses are made of. */
bool is_movable(const struct ptx_instruction *instruction);
void plan_checks(struct emitter *e); /* order, batch_at, groups */
void emit_early_checks(struct emitter *e);
void emit_exchange(struct emitter *e,
                   const struct ptx_instruction *instruction); /* emit_exchange.c: shuffles, votes, atomics */

#endif
