/* What lanes do together: shuffles, votes, reductions, atomics. */
#include "engine/vgpu/translate/emitter.h"

static Type type_of(Value value) { return LLVMTypeOf(value); }

static Type lanes64(struct emitter *e) { return shaped(e->i64, true); }

static const struct shape uniform = {.kind = SHAPE_AFFINE};

/* The lane that each lane reads, and whether it is in range, for constant lane and clamp operands. */
static bool constant_source(struct emitter *e, const struct ptx_instruction *instruction, int from[WARP_LANES],
                            bool in_range[WARP_LANES]) {
  const struct shape lane = operand_shape(e->analysis, &instruction->src[1]),
                     clamp = operand_shape(e->analysis, &instruction->src[2]);
  if (lane.kind != SHAPE_AFFINE || !lane.constant || clamp.kind != SHAPE_AFFINE || !clamp.constant || clamp.pattern)
    return false;
  const int segment = (int)(clamp.value >> 8 & 31), limit = (int)(clamp.value & 31);
  for (int i = 0; i < WARP_LANES; i++) {
    const int b = (int)((lane.value + (uint64_t)e->analysis->patterns[lane.pattern][i]) & 31);
    const int most = (i & segment) | (limit & ~segment), least = i & segment;
    int j;
    switch (instruction->mode) {
      case PTX_SHUFFLE_UP:
        j = i - b;
        in_range[i] = j >= most;
        break;
      case PTX_SHUFFLE_DOWN:
        j = i + b;
        in_range[i] = j <= most;
        break;
      case PTX_SHUFFLE_BFLY:
        j = i ^ b;
        in_range[i] = j <= most;
        break;
      default:
        j = least | (b & ~segment);
        in_range[i] = j <= most;
        break;
    }
    from[i] = in_range[i] ? j : i;
    if (from[i] < 0 || from[i] > 31) return false;
  }
  return true;
}

/* A fault unless all live lanes that the mask operand names are here, and only they. The mask: i32, or all lanes'
 * masks. */
static void check_members(struct emitter *e, const struct ptx_instruction *instruction, unsigned operand) {
  LLVMBuilderRef b = e->builder;
  const bool same = shape_uniform(operand_shape(e->analysis, &instruction->src[operand]));
  Value members = read_operand(e, &instruction->src[operand], PTX_U32, !same), mask = effective_mask(e, instruction);
  Value here = mask_bits(e, mask), elsewhere = lanes_elsewhere(e);
  if (mask != e->mask) { /* guarded: the block's other lanes are elsewhere as well */
    Value others = LLVMBuildAnd(b, mask_bits(e, e->mask), LLVMBuildNot(b, here, ""), "");
    elsewhere = elsewhere ? LLVMBuildOr(b, elsewhere, others, "") : others;
  }
  if (same) {
    Value bad = LLVMBuildAnd(b, here, LLVMBuildNot(b, members, ""), "");
    if (elsewhere) {
      Value anybody = LLVMBuildICmp(b, LLVMIntNE, here, constant(e->i32, 0), "");
      Value missing = LLVMBuildAnd(b, members, elsewhere, "");
      bad = LLVMBuildOr(b, bad, LLVMBuildSelect(b, anybody, missing, constant(e->i32, 0), ""), "");
    }
    check_together(e, instruction, LLVMBuildICmp(b, LLVMIntEQ, bad, constant(e->i32, 0), ""));
    return;
  }
  int64_t bits[WARP_LANES];
  for (int i = 0; i < WARP_LANES; i++) bits[i] = (int64_t)1 << i;
  Value own = LLVMBuildAnd(b, LLVMBuildNot(b, members, ""), lane_constants(e, e->i32, bits, 0), "");
  if (elsewhere) own = LLVMBuildOr(b, own, LLVMBuildAnd(b, members, splat(e, elsewhere), ""), "");
  Value bad = LLVMBuildICmp(b, LLVMIntNE, own, LLVMConstNull(LLVMTypeOf(own)), "");
  if (mask) bad = LLVMBuildAnd(b, bad, mask, "");
  check_together(e, instruction, LLVMBuildNot(b, any_lane(e, bad), ""));
}

static void emit_shuffle(struct emitter *e, const struct ptx_instruction *instruction) {
  LLVMBuilderRef b = e->builder;
  const struct shape shape = result_shape(e->analysis, instruction, 0, NULL);
  int from[WARP_LANES];
  bool in_range[WARP_LANES];
  check_members(e, instruction, 3);
  if (shape_uniform(shape)) {
    const bool known = shape_uniform(operand_shape(e->analysis, &instruction->src[0]));
    Value value = read_operand(e, &instruction->src[0], instruction->type, !known);
    if (!known) {
      Value lane = LLVMBuildAnd(b, read_operand(e, &instruction->src[1], PTX_U32, false), constant(e->i32, 31), "");
      value = LLVMBuildExtractElement(b, value, lane, "");
    }
    write_register(e, instruction, &instruction->dst[0], value, uniform, false);
    return;
  }
  Value value = read_operand(e, &instruction->src[0], PTX_B32, true);
  if (constant_source(e, instruction, from, in_range)) {
    Value indices[WARP_LANES], flags[WARP_LANES];
    for (int i = 0; i < WARP_LANES; i++) {
      indices[i] = LLVMConstInt(e->i32, (unsigned)from[i], 0);
      flags[i] = LLVMConstInt(e->i1, in_range[i], 0);
    }
    Value r = LLVMBuildShuffleVector(b, value, LLVMGetUndef(type_of(value)), LLVMConstVector(indices, WARP_LANES), "");
    write_register(e, instruction, &instruction->dst[0], r, uniform, false);
    if (instruction->dst_count > 1)
      write_register(e, instruction, &instruction->dst[1], LLVMConstVector(flags, WARP_LANES), uniform, false);
    return;
  }
  store_argument(e, 0, value);
  for (unsigned i = 1; i < 3; i++) store_argument(e, i, read_operand(e, &instruction->src[i], PTX_U32, true));
  call_operate(e, instruction, effective_mask(e, instruction));
  Value r = LLVMBuildTrunc(b, load_result(e, 0), shaped(e->i32, true), "");
  write_register(e, instruction, &instruction->dst[0], r, uniform, false);
  if (instruction->dst_count > 1) {
    Value flag = LLVMBuildICmp(b, LLVMIntNE, load_result(e, 1), LLVMConstNull(lanes64(e)), "");
    write_register(e, instruction, &instruction->dst[1], flag, uniform, false);
  }
}

static void emit_vote(struct emitter *e, const struct ptx_instruction *instruction) {
  LLVMBuilderRef b = e->builder;
  check_members(e, instruction, 1);
  Value mask = effective_mask(e, instruction), active = mask_bits(e, mask);
  if (!shape_uniform(operand_shape(e->analysis, &instruction->src[1]))) {
    store_argument(e, 0, read_operand(e, &instruction->src[0], PTX_PRED, true));
    store_argument(e, 1, read_operand(e, &instruction->src[1], PTX_U32, true));
    call_operate(e, instruction, mask);
    const Type type = shaped(instruction->mode == PTX_VOTE_BALLOT ? e->i32 : e->i1, true);
    write_register(e, instruction, &instruction->dst[0], LLVMBuildTrunc(b, load_result(e, 0), type, ""), uniform,
                   false);
    return;
  }
  Value predicate = mask_bits(e, read_operand(e, &instruction->src[0], PTX_PRED, true));
  Value yes = LLVMBuildAnd(b, predicate, active, ""), r;
  Value all = LLVMBuildICmp(b, LLVMIntEQ, yes, active, ""),
        any = LLVMBuildICmp(b, LLVMIntNE, yes, constant(e->i32, 0), "");
  switch (instruction->mode) {
    case PTX_VOTE_ALL:
      r = all;
      break;
    case PTX_VOTE_ANY:
      r = any;
      break;
    case PTX_VOTE_UNI:
      r = LLVMBuildOr(b, all, LLVMBuildNot(b, any, ""), "");
      break;
    default:
      r = yes;
      break;
  }
  write_register(e, instruction, &instruction->dst[0], r, uniform, false);
}

static void emit_redux(struct emitter *e, const struct ptx_instruction *instruction) {
  static const char *const names[] = {
      [PTX_ATOM_ADD] = "llvm.vector.reduce.add",  [PTX_ATOM_MIN] = "llvm.vector.reduce.umin",
      [PTX_ATOM_MAX] = "llvm.vector.reduce.umax", [PTX_ATOM_AND] = "llvm.vector.reduce.and",
      [PTX_ATOM_OR] = "llvm.vector.reduce.or",    [PTX_ATOM_XOR] = "llvm.vector.reduce.xor"};
  const bool sign = instruction->type == PTX_S32;
  uint64_t neutral = 0;
  const char *name = instruction->mode < sizeof names / sizeof *names ? names[instruction->mode] : NULL;
  if (instruction->mode == PTX_ATOM_MIN)
    neutral = sign ? 0x7fffffff : UINT64_MAX, name = sign ? "llvm.vector.reduce.smin" : name;
  if (instruction->mode == PTX_ATOM_MAX)
    neutral = sign ? 0x80000000u : 0, name = sign ? "llvm.vector.reduce.smax" : name;
  if (instruction->mode == PTX_ATOM_AND) neutral = UINT64_MAX;
  if (!name) {
    refuse(e, instruction, "in this form");
    return;
  }
  check_members(e, instruction, 1);
  if (!shape_uniform(operand_shape(e->analysis, &instruction->src[1]))) {
    refuse(e, instruction, "with a mask that differs between lanes");
    return;
  }
  Value value = read_operand(e, &instruction->src[0], PTX_B32, true), mask = effective_mask(e, instruction);
  if (mask) value = LLVMBuildSelect(e->builder, mask, value, constant(type_of(value), neutral), "");
  write_register(e, instruction, &instruction->dst[0], call_intrinsic(e, name, type_of(value), 1, &value), uniform,
                 false);
}

/* The helper does the lanes one by one, each as one operation of the CPU. */
static void emit_atomic(struct emitter *e, const struct ptx_instruction *instruction) {
  LLVMBuilderRef b = e->builder;
  const struct ptx_operand *base = &instruction->src[0];
  const bool narrow = base->kind == PTX_OPERAND_REGISTER && e->function->register_class[base->index] == PTX_CLASS_32;
  Value mask = effective_mask(e, instruction);
  Value address = read_operand(e, base, narrow ? PTX_U32 : PTX_U64, true);
  if (narrow) address = LLVMBuildZExt(b, address, lanes64(e), "");
  address = LLVMBuildAdd(b, address, constant(lanes64(e), (uint64_t)instruction->offset), "");
  store_argument(e, 0, address);
  for (unsigned i = 1; i < instruction->src_count && i < 4; i++) {
    store_argument(e, i, read_operand(e, &instruction->src[i], instruction->type, true));
  }
  call_operate(e, instruction, mask);
  if (instruction->op == PTX_ATOM && instruction->dst[0].kind == PTX_OPERAND_REGISTER) {
    Value r = load_result(e, 0);
    const unsigned bits = 8 * type_bytes(instruction->type);
    if (bits < 64) r = LLVMBuildTrunc(b, r, shaped(LLVMIntTypeInContext(e->context, bits), true), "");
    write_register(e, instruction, &instruction->dst[0], r, uniform, false);
  }
}

static void emit_match(struct emitter *e, const struct ptx_instruction *instruction) {
  check_members(e, instruction, 1);
  store_argument(e, 0, read_operand(e, &instruction->src[0], instruction->type, true));
  store_argument(e, 1, read_operand(e, &instruction->src[1], PTX_U32, true));
  call_operate(e, instruction, effective_mask(e, instruction));
  Value r = LLVMBuildTrunc(e->builder, load_result(e, 0), shaped(e->i32, true), "");
  write_register(e, instruction, &instruction->dst[0], r, uniform, false);
  if (instruction->dst_count > 1) {
    Value flag = LLVMBuildICmp(e->builder, LLVMIntNE, load_result(e, 1), LLVMConstNull(lanes64(e)), "");
    write_register(e, instruction, &instruction->dst[1], flag, uniform, false);
  }
}

void emit_exchange(struct emitter *e, const struct ptx_instruction *instruction) {
  switch (instruction->op) {
    case PTX_SHFL:
      emit_shuffle(e, instruction);
      break;
    case PTX_VOTE:
      emit_vote(e, instruction);
      break;
    case PTX_REDUX:
      emit_redux(e, instruction);
      break;
    case PTX_ACTIVEMASK:
      write_register(e, instruction, &instruction->dst[0], mask_bits(e, effective_mask(e, instruction)), uniform,
                     false);
      break;
    case PTX_ATOM:
    case PTX_RED:
      emit_atomic(e, instruction);
      break;
    case PTX_MATCH:
      emit_match(e, instruction);
      break;
    case PTX_BAR_WARP:
      check_members(e, instruction, 0);
      break;
    default:
      refuse(e, instruction, "it");
      break;
  }
}
