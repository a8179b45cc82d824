/* Loops that run lanes by the strip.
 *
 * Without AVX-512 there are sixteen vector registers of eight numbers, and a warp's value takes four of them: a loop
 * that carries eight sums would keep them in memory. Where lanes have nothing to do with each other, such a loop runs
 * four times instead, for eight lanes each, with all its sums in registers.
 *
 * A loop qualifies if it is one block, is run by all lanes the same number of times, stores nothing (so that what one
 * strip loads is what another would) and carries more than the registers can hold. What is the same for all lanes is
 * computed anew for each strip, from the values before the loop; accesses are checked by the first strip, for all
 * lanes. */
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/translate/emitter.h"

enum { STRIP_LANES = 8, STRIPS = WARP_LANES / STRIP_LANES, CARRIED_MOST = 4 /* x 4 vector registers */ };

/* What a register has to do with the loop. */
enum role { ROLE_USED = 1, ROLE_WRITTEN = 2 };

static bool is_lanewise(const struct emitter *e, const struct ptx_instruction *instruction) {
  if (instruction->guard != PTX_NONE) return false;
  /* Not what helpers do: they work on whole warps. */
  if (instruction->op == PTX_BFE || instruction->op == PTX_BFI) return false;
  if (is_movable(instruction)) return instruction->type < PTX_F16 && instruction->source_type < PTX_F16;
  switch (instruction->op) {
    case PTX_LD: {
      const struct shape shape = operand_shape(e->analysis, &instruction->src[0]);
      return shape.kind == SHAPE_AFFINE && instruction->order == PTX_WEAK && type_bytes(instruction->type) == 4 &&
             (instruction->space == PTX_GLOBAL || instruction->space == PTX_CONST || instruction->space == PTX_SHARED);
    }
    case PTX_SETP: /* the loop's own condition */
      return instruction->dst_count == 1 && instruction->src_count == 2 &&
             shape_uniform(e->analysis->shape[instruction->dst[0].index]);
    case PTX_ADD:
    case PTX_SUB:
    case PTX_MUL:
    case PTX_FMA:
      return instruction->type == PTX_F32 && instruction->rounding <= PTX_RN && instruction->dst_count == 1;
    case PTX_MOV:
      return instruction->type == PTX_F32 && instruction->dst_count == 1 && instruction->src_count == 1 &&
             instruction->src[0].kind != PTX_OPERAND_SPECIAL;
    default:
      return false;
  }
}

static void note(const struct emitter *e, const struct ptx_operand *operand, enum role role, uint8_t *roles) {
  if (operand->kind == PTX_OPERAND_REGISTER && e->slot[operand->index]) roles[operand->index] |= (uint8_t)role;
}

static bool is_wide_register(const struct emitter *e, uint32_t r) { return e->analysis->shape[r].kind != SHAPE_AFFINE; }

/* Whether the block is such a loop; if so, what its registers have to do with it. */
static bool qualifies(const struct emitter *e, uint32_t number, uint8_t *roles) {
  const struct analysis *a = e->analysis;
  const struct ptx_block *block = &e->function->blocks[number];
  const struct ptx_instruction *last = block_terminator(e->function, number);
  if (e->features->avx512 || e->entry_lanes || has_mask(e, number) || a->divergent[number]) return false;
  if (!last || last->op != PTX_BRA || last->guard == PTX_NONE || block->targets[0] != number || block->next == PTX_NONE)
    return false;
  roles[last->guard] |= ROLE_USED;
  for (uint32_t i = block->first; i + 1 < block->first + block->count; i++) {
    const struct ptx_instruction *instruction = &e->function->instructions[i];
    if (!is_lanewise(e, instruction)) return false;
    const unsigned results = instruction->op == PTX_LD && instruction->vector ? instruction->vector : 1;
    for (unsigned k = 0; k < results; k++) note(e, &instruction->dst[k], ROLE_WRITTEN, roles);
    for (unsigned k = 0; k < instruction->src_count; k++) note(e, &instruction->src[k], ROLE_USED, roles);
  }
  uint32_t carried = 0;
  for (uint32_t r = 0; r < e->function->register_count; r++)
    if ((roles[r] & ROLE_WRITTEN) && is_wide_register(e, r) && a->is_float[r] &&
        bit_test(a->live_in + (size_t)number * a->register_words, r))
      carried++;
  return carried > CARRIED_MOST;
}

/* Lanes of a whole value. */
static Value take_strip(struct emitter *e, Value whole, unsigned strip) {
  Value lanes[STRIP_LANES];
  for (unsigned i = 0; i < STRIP_LANES; i++) lanes[i] = LLVMConstInt(e->i32, strip * STRIP_LANES + i, 0);
  return LLVMBuildShuffleVector(e->builder, whole, LLVMGetUndef(LLVMTypeOf(whole)), LLVMConstVector(lanes, STRIP_LANES),
                                "");
}

static Value join(struct emitter *e, Value first, Value second) {
  Value lanes[WARP_LANES];
  const unsigned count = 2 * LLVMGetVectorSize(LLVMTypeOf(first));
  for (unsigned i = 0; i < count; i++) lanes[i] = LLVMConstInt(e->i32, i, 0);
  return LLVMBuildShuffleVector(e->builder, first, second, LLVMConstVector(lanes, count), "");
}

/* A place for a strip's value, where LLVM looks for what it can promote. */
static Value new_slot(struct emitter *e, Type type) {
  const Label here = LLVMGetInsertBlock(e->builder);
  LLVMPositionBuilderBefore(e->builder, LLVMGetFirstInstruction(e->entry));
  Value slot = LLVMBuildAlloca(e->builder, type, "");
  LLVMPositionBuilderAtEnd(e->builder, here);
  return slot;
}

/* A register during the strips. */
struct strip_register {
  Value slot, before; /* its own slot, its value before the loop */
  Value parts[STRIPS];
};

static void emit_strip(struct emitter *e, uint32_t number, unsigned strip, const uint8_t *roles,
                       struct strip_register *registers) {
  const uint32_t count = e->function->register_count;
  const struct ptx_instruction *last = block_terminator(e->function, number);
  e->first_lane = strip * STRIP_LANES;
  e->unchecked = strip > 0;
  for (uint32_t r = 0; r < count; r++) {
    if (!roles[r]) continue;
    Value value = is_wide_register(e, r) ? take_strip(e, registers[r].before, strip) : registers[r].before;
    LLVMBuildStore(e->builder, value, e->slot[r]);
  }
  Label loop = new_label(e, "strip"), after = new_label(e, "");
  LLVMBuildBr(e->builder, loop);
  LLVMPositionBuilderAtEnd(e->builder, loop);
  /* Before the sums: LLVM would move them behind a branch, with all factors kept in memory until then. The other strips
   * run no longer than the first. */
  if (strip == 0) poll_stop(e);
  emit_body(e, number);
  LLVMBuildCondBr(e->builder, guard_scalar(e, last), loop, after);
  LLVMPositionBuilderAtEnd(e->builder, after);
  for (uint32_t r = 0; r < count; r++)
    if ((roles[r] & ROLE_WRITTEN) && is_wide_register(e, r))
      registers[r].parts[strip] = LLVMBuildLoad2(e->builder, register_type(e, r), e->slot[r], "");
}

bool emit_strips(struct emitter *e, uint32_t number) {
  const uint32_t count = e->function->register_count;
  uint8_t *roles = calloc(count + 1, sizeof *roles);
  struct strip_register *registers = calloc(count + 1, sizeof *registers);
  bool done = false;
  if (!roles || !registers) {
    refuse(e, NULL, "there is not enough memory");
    goto end;
  }
  if (!qualifies(e, number, roles)) goto end;
  done = true;
  for (uint32_t r = 0; r < count; r++) {
    if (!roles[r]) continue;
    registers[r].slot = e->slot[r];
    registers[r].before = LLVMBuildLoad2(e->builder, register_type(e, r), e->slot[r], "");
  }
  vector_lanes = STRIP_LANES;
  for (uint32_t r = 0; r < count; r++)
    if (roles[r] && is_wide_register(e, r)) e->slot[r] = new_slot(e, register_type(e, r));
  for (unsigned strip = 0; strip < STRIPS && !e->failed; strip++) emit_strip(e, number, strip, roles, registers);
  vector_lanes = WARP_LANES;
  e->first_lane = 0;
  e->unchecked = false;
  for (uint32_t r = 0; r < count; r++) {
    if (!roles[r]) continue;
    e->slot[r] = registers[r].slot;
    if (!(roles[r] & ROLE_WRITTEN) || !is_wide_register(e, r) || e->failed) continue;
    Value *parts = registers[r].parts;
    LLVMBuildStore(e->builder, join(e, join(e, parts[0], parts[1]), join(e, parts[2], parts[3])), e->slot[r]);
  }
  if (!e->failed) jump(e, e->function->blocks[number].next);
end:
  free(registers);
  free(roles);
  return done;
}
