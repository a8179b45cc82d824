/* Code that runs lanes by the strip.
 *
 * Without AVX-512 there are sixteen vector registers of eight numbers, and a warp's value takes four of them: code that
 * has five values at a time keeps them in memory. Where lanes have nothing to do with each other, such code runs by
 * strips of eight lanes instead, with its values in registers.
 *
 * Two kinds of code do. A loop that is one block, is run by all lanes the same number of times, stores nothing (so that
 * what one strip loads is what another would) and carries more sums than the registers can hold: it is emitted for
 * SUMS_MOST sums after the other, for all strips in each round, so that a factor is loaded once for three multiply-adds
 * and, if all lanes share it, for four. And a run of instructions in a block, which may load or store, but not both in
 * one kind of memory: it is emitted for one strip after the other. What is the same for all lanes is computed anew for
 * each group or strip, from the values before. Accesses of a loop are checked beforehand, for all lanes and rounds,
 * where their addresses depend on numbers of the whole warp alone; else by the first group. */
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/translate/emitter.h"
#include "engine/vgpu/translate/order.h"

enum {
  STRIP_LANES = 8, /* one register for a value */
  STRIPS = WARP_LANES / STRIP_LANES,
  SUMS_MOST = 3,  /* x four registers for a warp; of the other four, three have factors that all lanes share */
  SUMS_LEAST = 4, /* x four registers for a warp: all of them */
  WIDE_LEAST = 8  /* results of a run that are worth it */
};

/* What a register has to do with the loop. */
enum role { ROLE_USED = 1, ROLE_WRITTEN = 2 };

/* Whether lanes of an access stand side by side. */
static bool is_side_by_side(const struct emitter *e, const struct ptx_instruction *access, struct shape shape) {
  const int64_t bytes = 4 * (access->vector ? access->vector : 1);
  for (int i = 0; i < WARP_LANES; i++)
    if (e->analysis->patterns[shape.pattern][i] != i * bytes) return false;
  return true;
}

static bool is_lanewise_access(const struct emitter *e, const struct ptx_instruction *access) {
  const struct shape shape = operand_shape(e->analysis, &access->src[0]);
  if (shape.kind != SHAPE_AFFINE || access->order != PTX_WEAK || type_bytes(access->type) != 4) return false;
  if (access->op == PTX_ST)
    return (access->space == PTX_GLOBAL || access->space == PTX_SHARED) && is_side_by_side(e, access, shape);
  return access->space == PTX_GLOBAL || access->space == PTX_CONST || access->space == PTX_SHARED;
}

static bool is_lanewise(const struct emitter *e, const struct ptx_instruction *instruction) {
  if (instruction->guard != PTX_NONE) return false;
  /* Not what helpers do: they work on whole warps. */
  if (instruction->op == PTX_BFE || instruction->op == PTX_BFI) return false;
  if (is_movable(instruction)) return instruction->type < PTX_F16 && instruction->source_type < PTX_F16;
  if (instruction->dst_count != 1 && !(instruction->op == PTX_LD || instruction->op == PTX_ST)) return false;
  const bool nearest =
      instruction->rounding <= PTX_RN || instruction->rounding == PTX_APPROX || instruction->rounding == PTX_FULL;
  switch (instruction->op) {
    case PTX_LD:
    case PTX_ST:
      return is_lanewise_access(e, instruction);
    case PTX_SETP: /* a loop's own condition, too */
      return instruction->src_count == 2 && (instruction->type < PTX_F16 || instruction->type == PTX_F32);
    case PTX_SELP:
      return instruction->type < PTX_F16 || instruction->type == PTX_F32;
    case PTX_ADD:
    case PTX_SUB:
    case PTX_MUL:
    case PTX_FMA:
    case PTX_DIV:
    case PTX_MIN:
    case PTX_MAX:
    case PTX_NEG:
    case PTX_ABS:
    case PTX_EX2:
    case PTX_LG2:
    case PTX_TANH:
    case PTX_RCP:
    case PTX_SQRT:
      return instruction->type == PTX_F32 && nearest;
    case PTX_MOV:
      return instruction->type == PTX_F32 && instruction->src_count == 1 &&
             instruction->src[0].kind != PTX_OPERAND_SPECIAL;
    default:
      return false;
  }
}

static void note(const struct emitter *e, const struct ptx_operand *operand, enum role role, uint8_t *roles) {
  if (operand->kind == PTX_OPERAND_REGISTER && e->slot[operand->index]) roles[operand->index] |= (uint8_t)role;
}

static bool is_wide_register(const struct emitter *e, uint32_t r) { return e->analysis->shape[r].kind != SHAPE_AFFINE; }

/* Notes what an instruction reads and writes. */
static void note_instruction(const struct emitter *e, const struct ptx_instruction *instruction, uint8_t *roles) {
  for (unsigned k = 0; k < instruction->dst_count; k++) note(e, &instruction->dst[k], ROLE_WRITTEN, roles);
  for (unsigned k = 0; k < instruction->src_count; k++) note(e, &instruction->src[k], ROLE_USED, roles);
}

static bool has_strips(const struct emitter *e) { return !e->features->avx512 && !e->entry_lanes; }

/* Whether the block is such a loop; if so, what its registers have to do with it. */
static bool qualifies(const struct emitter *e, uint32_t number, uint8_t *roles) {
  const struct analysis *a = e->analysis;
  const struct ptx_block *block = &e->function->blocks[number];
  const struct ptx_instruction *last = block_terminator(e->function, number);
  if (!has_strips(e) || has_mask(e, number) || a->divergent[number]) return false;
  if (!last || last->op != PTX_BRA || last->guard == PTX_NONE || block->targets[0] != number || block->next == PTX_NONE)
    return false;
  roles[last->guard] |= ROLE_USED;
  for (uint32_t i = block->first; i + 1 < block->first + block->count; i++) {
    const struct ptx_instruction *instruction = &e->function->instructions[i];
    if (instruction->op == PTX_ST || !is_lanewise(e, instruction)) return false;
    note_instruction(e, instruction, roles);
  }
  uint32_t carried = 0;
  for (uint32_t r = 0; r < e->function->register_count; r++)
    if ((roles[r] & ROLE_WRITTEN) && is_wide_register(e, r) && a->is_float[r] &&
        bit_test(a->live_in + (size_t)number * a->register_words, r))
      carried++;
  return carried >= SUMS_LEAST;
}

/* Lanes of a whole value. */
static Value take_strip(struct emitter *e, Value whole, unsigned strip) {
  unsigned lanes[WARP_LANES];
  for (unsigned i = 0; i < vector_lanes; i++) lanes[i] = strip * vector_lanes + i;
  return shuffle(e, whole, NULL, lanes, vector_lanes);
}

static Value join(struct emitter *e, Value first, Value second) {
  unsigned lanes[WARP_LANES];
  const unsigned count = 2 * LLVMGetVectorSize(LLVMTypeOf(first));
  for (unsigned i = 0; i < count; i++) lanes[i] = i;
  return shuffle(e, first, second, lanes, count);
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
  uint8_t role;       /* of enum role */
  Value slot, before; /* its own slot, its value before the strips */
  Value slots[STRIPS], parts[STRIPS];
};

static void begin_strips(struct emitter *e, struct strip_register *registers) {
  for (uint32_t r = 0; r < e->function->register_count; r++) {
    if (!registers[r].role) continue;
    registers[r].slot = e->slot[r];
    registers[r].before = LLVMBuildLoad2(e->builder, register_type(e, r), e->slot[r], "");
  }
  vector_lanes = STRIP_LANES;
  for (uint32_t r = 0; r < e->function->register_count; r++)
    for (unsigned strip = 0; registers[r].role && strip < STRIPS; strip++)
      registers[r].slots[strip] = is_wide_register(e, r) ? new_slot(e, register_type(e, r)) : e->slot[r];
}

/* Whatever is emitted next uses, of registers of several lanes, those of the strip. */
static void enter_strip(struct emitter *e, const struct strip_register *registers, unsigned strip) {
  e->first_lane = strip * vector_lanes;
  for (uint32_t r = 0; r < e->function->register_count; r++)
    if (registers[r].role) e->slot[r] = registers[r].slots[strip];
}

/* Gives the strip's registers the values from before the strips. */
static void begin_strip(struct emitter *e, const struct strip_register *registers, unsigned strip) {
  enter_strip(e, registers, strip);
  for (uint32_t r = 0; r < e->function->register_count; r++) {
    if (!registers[r].role) continue;
    Value value = is_wide_register(e, r) ? take_strip(e, registers[r].before, strip) : registers[r].before;
    LLVMBuildStore(e->builder, value, e->slot[r]);
  }
}

static void end_strip(struct emitter *e, struct strip_register *registers, unsigned strip) {
  for (uint32_t r = 0; r < e->function->register_count; r++)
    if ((registers[r].role & ROLE_WRITTEN) && is_wide_register(e, r))
      registers[r].parts[strip] = LLVMBuildLoad2(e->builder, register_type(e, r), registers[r].slots[strip], "");
}

/* What a loop has summed goes to memory, whatever LLVM thinks: it would keep some of it in registers that the next
 * group's sums need. */
static void end_group(struct emitter *e, struct strip_register *registers, unsigned strip, const uint8_t *group) {
  for (uint32_t r = 0; r < e->function->register_count; r++) {
    if (!(registers[r].role & ROLE_WRITTEN) || !is_wide_register(e, r) || !group[r]) continue;
    const Type type = register_type(e, r);
    Value value = LLVMBuildLoad2(e->builder, type, registers[r].slots[strip], "");
    if (e->analysis->is_float[r]) {
      Value place = new_slot(e, type);
      LLVMSetVolatile(LLVMBuildStore(e->builder, value, place), 1);
      value = LLVMBuildLoad2(e->builder, type, place, "");
    }
    registers[r].parts[strip] = value;
  }
}

static void end_strips(struct emitter *e, struct strip_register *registers) {
  vector_lanes = WARP_LANES;
  e->first_lane = 0;
  e->unchecked = false;
  for (uint32_t r = 0; r < e->function->register_count; r++) {
    if (!registers[r].role) continue;
    e->slot[r] = registers[r].slot;
    if (!(registers[r].role & ROLE_WRITTEN) || e->failed) continue;
    Value *parts = registers[r].parts;
    if (is_wide_register(e, r)) {
      if (!parts[0]) continue; /* nobody reads it */
      LLVMBuildStore(e->builder, join(e, join(e, parts[0], parts[1]), join(e, parts[2], parts[3])), e->slot[r]);
    }
    save_written_once(e, r);
  }
}

/* NULL: not enough memory, and refused. */
static struct strip_register *new_registers(struct emitter *e, const uint8_t *roles) {
  struct strip_register *registers = calloc(e->function->register_count + 1, sizeof *registers);
  if (!registers) refuse(e, NULL, "there is not enough memory");
  for (uint32_t r = 0; registers && r < e->function->register_count; r++) registers[r].role = roles[r];
  return registers;
}

/* ---- loops ---- */

static bool is_noted(const uint8_t *set, const struct ptx_operand *operand) {
  return operand->kind == PTX_OPERAND_REGISTER && set[operand->index];
}

/* Marks the registers that decide how often a loop runs and where it loads; false if they depend on what is loaded or
 * differ from lane to lane, beyond a pattern. */
static bool find_counters(const struct emitter *e, uint32_t number, uint8_t *counters) {
  const struct ptx_block *block = &e->function->blocks[number];
  counters[block_terminator(e->function, number)->guard] = 1;
  for (bool more = true; more;) {
    more = false;
    for (uint32_t i = block->first; i + 1 < block->first + block->count; i++) {
      const struct ptx_instruction *instruction = &e->function->instructions[i];
      const bool loads = instruction->op == PTX_LD;
      bool needed = loads; /* its address */
      for (unsigned k = 0; k < instruction->dst_count; k++) {
        if (!is_noted(counters, &instruction->dst[k])) continue;
        if (loads || is_wide_register(e, instruction->dst[k].index)) return false;
        needed = true;
      }
      for (unsigned k = 0; needed && k < instruction->src_count; k++) {
        const struct ptx_operand *source = &instruction->src[k];
        if (source->kind != PTX_OPERAND_REGISTER || counters[source->index]) continue;
        counters[source->index] = 1;
        more = true;
      }
    }
  }
  return true;
}

/* The loop without its work: checks all accesses of all rounds. */
static void emit_checks(struct emitter *e, uint32_t number, const uint8_t *counters) {
  const struct ptx_block *block = &e->function->blocks[number];
  const struct ptx_instruction *last = block_terminator(e->function, number);
  Label loop = new_label(e, "checks"), after = new_label(e, "");
  LLVMBuildBr(e->builder, loop);
  LLVMPositionBuilderAtEnd(e->builder, loop);
  poll_stop(e);
  for (uint32_t i = 0; i < block->count; i++) {
    const uint32_t index = e->order[block->first + i];
    const struct ptx_instruction *instruction = &e->function->instructions[index];
    if (index == e->batch_at[number]) emit_early_checks(e);
    if (instruction == last) break;
    if (instruction->op == PTX_LD)
      emit_check(e, instruction);
    else if (is_noted(counters, &instruction->dst[0]))
      emit_instruction(e, instruction);
  }
  LLVMBuildCondBr(e->builder, guard_scalar(e, last), loop, after);
  LLVMPositionBuilderAtEnd(e->builder, after);
}

/* Which instructions of a loop some of its registers need, and the loop's condition. */
static void find_needed(const struct emitter *e, uint32_t number, uint8_t *registers, bool *needed) {
  const struct ptx_block *block = &e->function->blocks[number];
  registers[block_terminator(e->function, number)->guard] = 1;
  for (bool more = true; more;) {
    more = false;
    for (uint32_t i = 0; i + 1 < block->count; i++) {
      const struct ptx_instruction *instruction = &e->function->instructions[block->first + i];
      if (needed[i]) continue;
      for (unsigned k = 0; k < instruction->dst_count; k++) needed[i] |= is_noted(registers, &instruction->dst[k]);
      if (!needed[i]) continue;
      more = true;
      for (unsigned k = 0; k < instruction->src_count; k++)
        if (instruction->src[k].kind == PTX_OPERAND_REGISTER) registers[instruction->src[k].index] = 1;
    }
  }
}

/* Which of a loop's accesses come when: the n-th links of its sums are one level, with what they load, so that a factor
 * is in a register only as long as all strips' sums at that level need it. */
static bool is_read(const struct ptx_instruction *instruction, uint32_t r) {
  if (instruction->guard == r) return true;
  for (unsigned k = 0; k < instruction->src_count; k++)
    if (instruction->src[k].kind == PTX_OPERAND_REGISTER && instruction->src[k].index == r) return true;
  return false;
}

static bool is_written(const struct ptx_instruction *instruction, uint32_t r) {
  for (unsigned k = 0; k < instruction->dst_count; k++)
    if (instruction->dst[k].kind == PTX_OPERAND_REGISTER && instruction->dst[k].index == r) return true;
  return false;
}

/* Whether `later` uses a result of `earlier`. */
static bool takes_result(const struct ptx_instruction *earlier, const struct ptx_instruction *later) {
  for (unsigned k = 0; k < earlier->dst_count; k++)
    if (earlier->dst[k].kind == PTX_OPERAND_REGISTER && is_read(later, earlier->dst[k].index)) return true;
  return false;
}

/* Whether `later` writes what `earlier` reads or writes. */
static bool overwrites(const struct ptx_instruction *earlier, const struct ptx_instruction *later) {
  for (unsigned k = 0; k < later->dst_count; k++) {
    if (later->dst[k].kind != PTX_OPERAND_REGISTER) continue;
    const uint32_t r = later->dst[k].index;
    if (is_read(earlier, r) || is_written(earlier, r)) return true;
  }
  return false;
}

static bool is_wide_instruction(const struct emitter *e, const struct ptx_instruction *instruction) {
  return instruction->dst_count > 0 && instruction->dst[0].kind == PTX_OPERAND_REGISTER &&
         is_wide_register(e, instruction->dst[0].index);
}

/* Fills level[] for the instructions of the loop, by their place in the order of emission; returns how many levels
 * there are. A level's uniform instructions come first, then its wide ones, strip by strip. */
static uint32_t find_levels(const struct emitter *e, uint32_t number, const bool *needed, uint32_t *level) {
  const struct ptx_block *block = &e->function->blocks[number];
  const struct ptx_instruction *all = e->function->instructions;
  const uint32_t *order = e->order + block->first, count = block->count - 1;
  uint32_t last = 0;
  for (uint32_t i = 0; i < count; i++) {
    level[i] = 0;
    const struct ptx_instruction *at = &all[order[i]];
    if (!needed[order[i] - block->first] || at->op == PTX_LD || !is_wide_instruction(e, at)) continue;
    for (uint32_t k = 0; k < i; k++) {
      const struct ptx_instruction *before = &all[order[k]];
      if (!needed[order[k] - block->first] || !takes_result(before, at)) continue;
      const bool link = before->op != PTX_LD && is_wide_instruction(e, before);
      if (level[k] + link > level[i]) level[i] = level[k] + link;
    }
    if (level[i] > last) last = level[i];
  }
  /* What is loaded or the same for all lanes: as late as it is needed. */
  for (uint32_t i = count; i-- > 0;) {
    const struct ptx_instruction *at = &all[order[i]];
    if (!needed[order[i] - block->first] || (at->op != PTX_LD && is_wide_instruction(e, at))) continue;
    level[i] = last;
    for (uint32_t k = i + 1; k < count; k++)
      if (needed[order[k] - block->first] && takes_result(at, &all[order[k]]) && level[k] < level[i])
        level[i] = level[k];
  }
  /* Nothing before what it depends on. */
  for (uint32_t i = 0; i < count; i++) {
    const struct ptx_instruction *at = &all[order[i]];
    if (!needed[order[i] - block->first]) continue;
    for (uint32_t k = 0; k < i; k++) {
      const struct ptx_instruction *before = &all[order[k]];
      if (!needed[order[k] - block->first] || !(takes_result(before, at) || overwrites(before, at))) continue;
      const uint32_t least = level[k] + (is_wide_instruction(e, before) && !is_wide_instruction(e, at));
      if (level[i] < least) level[i] = least;
    }
    if (level[i] > last) last = level[i];
  }
  return last + 1;
}

/* The instructions of one level in order, those that are the same for all lanes or the others. */
static void emit_level(struct emitter *e, uint32_t number, const bool *needed, const uint32_t *level, uint32_t at,
                       bool wide) {
  const struct ptx_block *block = &e->function->blocks[number];
  for (uint32_t i = 0; i + 1 < block->count && !e->failed; i++) {
    const uint32_t index = e->order[block->first + i];
    const struct ptx_instruction *instruction = &e->function->instructions[index];
    if (level[i] == at && needed[index - block->first] && is_wide_instruction(e, instruction) == wide)
      emit_instruction(e, instruction);
  }
}

/* The instructions in order, each for all strips. The first strip checks accesses. */
static void emit_checked(struct emitter *e, uint32_t number, const struct strip_register *registers) {
  const struct ptx_block *block = &e->function->blocks[number];
  for (uint32_t i = 0; i + 1 < block->count && !e->failed; i++) {
    const uint32_t index = e->order[block->first + i];
    const struct ptx_instruction *instruction = &e->function->instructions[index];
    if (index == e->batch_at[number]) emit_early_checks(e);
    for (unsigned strip = 0; strip < (is_wide_instruction(e, instruction) ? STRIPS : 1); strip++) {
      enter_strip(e, registers, strip);
      e->unchecked = strip > 0;
      emit_instruction(e, instruction);
    }
  }
}

/* The loop for one group, all strips side by side. `level` has room for its instructions. */
static void emit_loop(struct emitter *e, uint32_t number, const bool *needed, bool unchecked,
                      const struct strip_register *registers, uint32_t *level) {
  const struct ptx_instruction *last = block_terminator(e->function, number);
  Label loop = new_label(e, ORDER_LOOP), after = new_label(e, "");
  LLVMBuildBr(e->builder, loop);
  LLVMPositionBuilderAtEnd(e->builder, loop);
  if (!unchecked) { /* the other groups run no longer than the first */
    poll_stop(e);
    emit_checked(e, number, registers);
  }
  const uint32_t levels = unchecked ? find_levels(e, number, needed, level) : 0;
  e->unchecked = true;
  for (uint32_t at = 0; at < levels && !e->failed; at++) {
    emit_level(e, number, needed, level, at, false);
    for (unsigned strip = 0; strip < STRIPS; strip++) {
      enter_strip(e, registers, strip);
      emit_level(e, number, needed, level, at, true);
    }
  }
  LLVMBuildCondBr(e->builder, guard_scalar(e, last), loop, after);
  LLVMPositionBuilderAtEnd(e->builder, after);
}

/* Whether the loop carries the register as a sum, one of those that the groups divide. */
static bool is_sum(const struct emitter *e, uint32_t number, uint32_t r) {
  const struct analysis *a = e->analysis;
  return e->slot[r] && is_wide_register(e, r) && a->is_float[r] &&
         bit_test(a->live_in + (size_t)number * a->register_words, r);
}

/* Whether a later round or what follows the loop reads the register. */
static bool is_live_after(const struct emitter *e, uint32_t number, uint32_t r) {
  const struct analysis *a = e->analysis;
  const uint32_t next = e->function->blocks[number].next;
  return bit_test(a->live_in + (size_t)number * a->register_words, r) ||
         bit_test(a->live_in + (size_t)next * a->register_words, r);
}

/* The next registers that a round of the loop is emitted for: up to `most` of its sums, in the order in which it writes
 * them, and with the last of them all else that it writes. False: there are none. */
static bool next_group(const struct emitter *e, uint32_t number, const uint8_t *roles, uint32_t most, uint8_t *done,
                       uint8_t *group) {
  const struct ptx_block *block = &e->function->blocks[number];
  uint32_t count = 0, left = 0;
  memset(group, 0, e->function->register_count);
  for (uint32_t i = 0; i < block->count; i++) {
    const struct ptx_instruction *instruction = &e->function->instructions[e->order[block->first + i]];
    for (unsigned k = 0; k < instruction->dst_count; k++) {
      if (instruction->dst[k].kind != PTX_OPERAND_REGISTER) continue;
      const uint32_t r = instruction->dst[k].index;
      if (done[r] || !is_sum(e, number, r)) continue;
      if (count == most) {
        left++;
        continue;
      }
      count++;
      group[r] = done[r] = 1;
    }
  }
  for (uint32_t r = 0; left == 0 && r < e->function->register_count; r++) {
    if (done[r] || !(roles[r] & ROLE_WRITTEN) || !is_live_after(e, number, r)) continue;
    group[r] = done[r] = 1;
    count++;
  }
  return count > 0;
}

/* Emits the loop for one group after the other. */
static void emit_groups(struct emitter *e, uint32_t number, const uint8_t *roles, bool beforehand,
                        struct strip_register *registers) {
  const uint32_t count = e->function->register_count, length = e->function->blocks[number].count;
  uint8_t *done = calloc(count + 1, 1), *group = calloc(count + 1, 1), *wanted = calloc(count + 1, 1);
  bool *needed = calloc(length + 1, sizeof *needed);
  uint32_t *level = calloc(length + 1, sizeof *level), sums = 0;
  if (!done || !group || !wanted || !needed || !level) {
    refuse(e, NULL, "there is not enough memory");
    goto end;
  }
  for (uint32_t r = 0; r < count; r++) sums += (roles[r] & ROLE_WRITTEN) && is_sum(e, number, r);
  const uint32_t groups = sums > 0 ? (sums + SUMS_MOST - 1) / SUMS_MOST : 1, most = (sums + groups - 1) / groups;
  for (bool first = true; next_group(e, number, roles, most, done, group) && !e->failed; first = false) {
    const bool unchecked = beforehand || !first;
    memcpy(wanted, group, count);
    memset(needed, !unchecked, length);
    find_needed(e, number, wanted, needed);
    for (unsigned strip = 0; strip < STRIPS; strip++) begin_strip(e, registers, strip);
    emit_loop(e, number, needed, unchecked, registers, level);
    for (unsigned strip = 0; strip < STRIPS; strip++) end_group(e, registers, strip, group);
  }
end:
  free(done), free(group), free(wanted), free(needed), free(level);
}

bool emit_strips(struct emitter *e, uint32_t number) {
  const uint32_t count = e->function->register_count;
  uint8_t *roles = calloc(count + 1, 1), *counters = calloc(count + 1, 1);
  struct strip_register *registers = NULL;
  bool done = false;
  if (!roles || !counters) {
    refuse(e, NULL, "there is not enough memory");
    goto end;
  }
  if (!qualifies(e, number, roles)) goto end;
  registers = new_registers(e, roles);
  if (!registers) goto end;
  done = true;
  begin_strips(e, registers);
  const bool beforehand = find_counters(e, number, counters);
  if (beforehand) emit_checks(e, number, counters);
  emit_groups(e, number, roles, beforehand, registers);
  end_strips(e, registers);
  if (!e->failed) jump(e, e->function->blocks[number].next);
end:
  free(registers);
  free(counters);
  free(roles);
  return done;
}

/* ---- runs of instructions ---- */

static bool is_in_memory(const struct emitter *e, const struct ptx_operand *operand) {
  return operand->kind == PTX_OPERAND_REGISTER && e->fragment[operand->index].group;
}

/* Fragments of mma stand in memory as whole warps. */
static bool has_fragment(const struct emitter *e, const struct ptx_instruction *instruction) {
  for (unsigned k = 0; k < instruction->dst_count; k++)
    if (is_in_memory(e, &instruction->dst[k])) return true;
  for (unsigned k = 0; k < instruction->src_count; k++)
    if (is_in_memory(e, &instruction->src[k])) return true;
  return false;
}

/* Whether the checks that are made once for many accesses of the block can be made before `instruction`, too. */
static bool leaves_checks(const struct emitter *e, uint32_t number, const struct ptx_instruction *instruction) {
  for (uint32_t g = 0; g < e->group_count; g++) {
    if (e->groups[g].block != number || !e->groups[g].early) continue;
    for (unsigned k = 0; k < instruction->dst_count; k++)
      if (instruction->dst[k].kind == PTX_OPERAND_REGISTER && instruction->dst[k].index == e->groups[g].base_register)
        return false;
  }
  return true;
}

uint32_t strip_run(const struct emitter *e, uint32_t number, uint32_t from) {
  const struct ptx_block *block = &e->function->blocks[number];
  if (!has_strips(e) || vector_lanes != WARP_LANES || e->mask || has_mask(e, number)) return 0;
  bool loads[PTX_PARAM + 1] = {false}, stores[PTX_PARAM + 1] = {false}, early = true;
  uint32_t length = 0, wide = 0;
  for (; from + length < block->count; length++) {
    const uint32_t index = e->order[block->first + from + length];
    const struct ptx_instruction *instruction = &e->function->instructions[index];
    if (length > 0 && index == e->batch_at[number] && !early) break;
    early = early && leaves_checks(e, number, instruction);
    if (!is_lanewise(e, instruction) || has_fragment(e, instruction)) break;
    const uint8_t space = instruction->space == PTX_CONST ? PTX_GLOBAL : instruction->space;
    if (instruction->op == PTX_LD ? stores[space] : instruction->op == PTX_ST && loads[space]) break;
    loads[space] |= instruction->op == PTX_LD;
    stores[space] |= instruction->op == PTX_ST;
    if (instruction->op == PTX_ST || is_wide_register(e, instruction->dst[0].index)) wide++;
  }
  return wide >= WIDE_LEAST ? length : 0;
}

void emit_strip_run(struct emitter *e, uint32_t number, uint32_t from, uint32_t length) {
  const uint32_t *order = e->order + e->function->blocks[number].first + from;
  uint8_t *roles = calloc(e->function->register_count + 1, 1);
  if (!roles) {
    refuse(e, NULL, "there is not enough memory");
    return;
  }
  for (uint32_t i = 0; i < length; i++) {
    if (i > 0 && order[i] == e->batch_at[number]) emit_early_checks(e);
    note_instruction(e, &e->function->instructions[order[i]], roles);
  }
  struct strip_register *registers = new_registers(e, roles);
  free(roles);
  if (!registers) return;
  begin_strips(e, registers);
  for (unsigned strip = 0; strip < STRIPS && !e->failed; strip++) {
    e->unchecked = strip > 0;
    begin_strip(e, registers, strip);
    for (uint32_t i = 0; i < length && !e->failed; i++) emit_instruction(e, &e->function->instructions[order[i]]);
    end_strip(e, registers, strip);
  }
  end_strips(e, registers);
  free(registers);
}
