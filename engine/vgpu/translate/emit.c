/* The frame of a translated kernel: registers, blocks, masks, barriers.
 *
 * One LLVM function runs a warp from its start, or from after a barrier, to the next barrier or its end. Registers live
 * in allocas that LLVM promotes; across barriers they are kept in the warp's frame. Blocks that may run with some of
 * the lanes have a mask; where lanes can wait, masks gather in mask_slot, and a dispatcher goes to the lowest block
 * that has any. See analysis.h for why this is right. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/translate/emitter.h"

static const char *op_name(uint16_t op) {
  static const char *const names[] = {
#define X(name, text) text,
      PTX_OPS(X)
#undef X
  };
  return names[op];
}

void refuse(struct emitter *e, const struct ptx_instruction *instruction, const char *what) {
  if (e->failed) return;
  e->failed = true;
  snprintf(e->reason, e->reason_bytes, "line %u: %s is not translated: %s",
           instruction ? instruction->line : e->function->line, instruction ? op_name(instruction->op) : "the kernel",
           what);
}

/* ---- types and constants ---- */

Type element_type(struct emitter *e, uint8_t type) {
  switch (type) {
    case PTX_PRED:
      return e->i1;
    case PTX_F16:
      return e->f16;
    case PTX_F32:
      return e->f32;
    case PTX_F64:
      return e->f64;
    default:
      switch (type_bytes(type)) {
        case 1:
          return e->i8;
        case 2:
          return e->i16;
        case 4:
          return e->i32;
        default:
          return e->i64;
      }
  }
}

_Thread_local unsigned vector_lanes = WARP_LANES;

Type shaped(Type element, bool wide) { return wide ? LLVMVectorType(element, vector_lanes) : element; }

bool is_wide(Value value) { return LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind; }

static Type element_of(Value value) {
  const Type type = LLVMTypeOf(value);
  return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
}

unsigned element_bits(Value value) {
  const Type type = element_of(value);
  switch (LLVMGetTypeKind(type)) {
    case LLVMHalfTypeKind:
      return 16;
    case LLVMFloatTypeKind:
      return 32;
    case LLVMDoubleTypeKind:
      return 64;
    default:
      return LLVMGetIntTypeWidth(type);
  }
}

static Value repeated(Type type, Value scalar) {
  if (LLVMGetTypeKind(type) != LLVMVectorTypeKind) return scalar;
  Value lanes[256];
  const unsigned count = LLVMGetVectorSize(type);
  for (unsigned i = 0; i < count; i++) lanes[i] = scalar;
  return LLVMConstVector(lanes, count);
}

Value constant(Type type, uint64_t value) {
  const Type element = LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
  return repeated(type, LLVMConstInt(element, value, 1));
}

Value constant_float(Type type, double value) {
  const Type element = LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
  return repeated(type, LLVMConstReal(element, value));
}

Value lane_constants(struct emitter *e, Type element, const int64_t values[WARP_LANES], int64_t plus) {
  Value lanes[WARP_LANES];
  for (unsigned i = 0; i < vector_lanes; i++)
    lanes[i] = LLVMConstInt(element, (uint64_t)values[e->first_lane + i] + (uint64_t)plus, 1);
  return LLVMConstVector(lanes, vector_lanes);
}

Value splat(struct emitter *e, Value scalar) {
  const Type type = shaped(LLVMTypeOf(scalar), true);
  if (LLVMIsConstant(scalar)) return repeated(type, scalar);
  Value vector = LLVMBuildInsertElement(e->builder, LLVMGetUndef(type), scalar, LLVMConstInt(e->i32, 0, 0), "");
  return LLVMBuildShuffleVector(e->builder, vector, LLVMGetUndef(type), LLVMConstNull(shaped(e->i32, true)), "");
}

Value shuffle(struct emitter *e, Value x, Value y, const unsigned *lanes, unsigned count) {
  Value indices[2 * WARP_LANES];
  for (unsigned i = 0; i < count; i++) indices[i] = LLVMConstInt(e->i32, lanes[i], 0);
  return LLVMBuildShuffleVector(e->builder, x, y ? y : LLVMGetUndef(LLVMTypeOf(x)), LLVMConstVector(indices, count),
                                "");
}

Value as_bits(struct emitter *e, Value value) {
  const LLVMTypeKind kind = LLVMGetTypeKind(element_of(value));
  if (kind == LLVMIntegerTypeKind) return value;
  return LLVMBuildBitCast(e->builder, value,
                          shaped(LLVMIntTypeInContext(e->context, element_bits(value)), is_wide(value)), "");
}

Value as_float(struct emitter *e, Value value) {
  if (LLVMGetTypeKind(element_of(value)) != LLVMIntegerTypeKind) return value;
  const unsigned bits = element_bits(value);
  const Type type = bits == 16 ? e->f16 : bits == 32 ? e->f32 : e->f64;
  return LLVMBuildBitCast(e->builder, value, shaped(type, is_wide(value)), "");
}

Value call_intrinsic(struct emitter *e, const char *name, Type overload, unsigned count, Value *arguments) {
  const unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  Value function = LLVMGetIntrinsicDeclaration(e->module, id, &overload, overload ? 1 : 0);
  Type type = LLVMIntrinsicGetType(e->context, id, &overload, overload ? 1 : 0);
  return LLVMBuildCall2(e->builder, type, function, arguments, count, "");
}

Value all_lanes(struct emitter *e) { return constant(shaped(e->i1, true), 1); }

Value mask_bits(struct emitter *e, Value mask) {
  return mask ? LLVMBuildBitCast(e->builder, mask, e->i32, "") : constant(e->i32, UINT64_MAX);
}

Value bits_mask(struct emitter *e, Value bits) { return LLVMBuildBitCast(e->builder, bits, shaped(e->i1, true), ""); }

Value any_lane(struct emitter *e, Value mask) {
  return LLVMBuildICmp(e->builder, LLVMIntNE, mask_bits(e, mask), constant(e->i32, 0), "");
}

Label new_label(struct emitter *e, const char *name) { return LLVMAppendBasicBlockInContext(e->context, e->run, name); }

Value new_branch(struct emitter *e, Value condition, Label yes, Label no, bool yes_unlikely) {
  Value branch = LLVMBuildCondBr(e->builder, condition, yes, no);
  if (yes_unlikely) LLVMSetMetadata(branch, e->weights_kind, e->unlikely);
  return branch;
}

/* ---- the warp's fields ---- */

static Value metadata_list(struct emitter *e, LLVMMetadataRef *nodes, size_t count) {
  return LLVMMetadataAsValue(e->context, LLVMMDNodeInContext2(e->context, nodes, count));
}

void mark_scope(struct emitter *e, Value access, enum alias_scope scope) {
  LLVMMetadataRef others[SCOPE_COUNT];
  size_t count = 0;
  for (int i = 0; i < SCOPE_COUNT; i++) {
    if (i != (int)scope) others[count++] = e->scopes[i];
  }
  LLVMSetMetadata(access, e->alias_kind, metadata_list(e, &e->scopes[scope], 1));
  LLVMSetMetadata(access, e->noalias_kind, metadata_list(e, others, count));
}

void mark_invariant(struct emitter *e, Value load) {
  LLVMSetMetadata(load, e->invariant_kind, metadata_list(e, NULL, 0));
}

Value warp_address(struct emitter *e, Type pointee, size_t offset) {
  Value index = LLVMConstInt(e->i64, offset, 0);
  Value address = LLVMBuildInBoundsGEP2(e->builder, e->i8, e->warp, &index, 1, "");
  return LLVMBuildBitCast(e->builder, address, LLVMPointerType(pointee, 0), "");
}

Value warp_field(struct emitter *e, Type type, size_t offset, bool invariant) {
  Value load = LLVMBuildLoad2(e->builder, type, warp_address(e, type, offset), "");
  mark_scope(e, load, SCOPE_WARP);
  if (invariant) mark_invariant(e, load);
  return load;
}

void check_status(struct emitter *e, Value status) {
  Label go_on = new_label(e, "");
  new_branch(e, LLVMBuildICmp(e->builder, LLVMIntNE, status, constant(e->i32, 0), ""), e->fault, go_on, true);
  LLVMPositionBuilderAtEnd(e->builder, go_on);
}

void call_helper(struct emitter *e, enum request request, Value mask) {
  LLVMBuilderRef b = e->builder;
  LLVMBuildStore(b, constant(e->i32, request), warp_address(e, e->i32, offsetof(struct warp, request)));
  LLVMBuildStore(b, mask_bits(e, mask), warp_address(e, e->i32, offsetof(struct warp, request_lanes)));
  char text[40];
  const int length = snprintf(text, sizeof text, "callq *%zu(%%rdi)", offsetof(struct warp, call));
  static const char constraints[] = "={rax},{rdi},~{memory},~{dirflag},~{fpsr},~{flags}";
  Type type = LLVMFunctionType(e->i64, &e->bytes, 1, 0);
  Value call = LLVMGetInlineAsm(type, text, (size_t)length, (char *)constraints, sizeof constraints - 1, 1, 0,
                                LLVMInlineAsmDialectATT, 0);
  Value status = LLVMBuildTrunc(b, LLVMBuildCall2(b, type, call, &e->warp, 1, ""), e->i32, "");
  check_status(e, status);
}

static void call_about(struct emitter *e, enum request request, const struct ptx_instruction *instruction, Value mask) {
  LLVMBuildStore(e->builder, constant(e->i32, (uint64_t)(instruction - e->function->instructions)),
                 warp_address(e, e->i32, offsetof(struct warp, request_instruction)));
  call_helper(e, request, mask);
}

void call_operate(struct emitter *e, const struct ptx_instruction *instruction, Value mask) {
  call_about(e, REQUEST_OPERATE, instruction, mask);
}

void store_argument(struct emitter *e, unsigned number, Value lanes) {
  Value wide = LLVMBuildZExt(e->builder, as_bits(e, lanes), shaped(e->i64, true), "");
  LLVMBuildStore(e->builder, wide,
                 warp_address(e, shaped(e->i64, true), offsetof(struct warp, argument) + number * WARP_LANES * 8));
}

Value load_result(struct emitter *e, unsigned number) {
  return LLVMBuildLoad2(e->builder, shaped(e->i64, true),
                        warp_address(e, shaped(e->i64, true), offsetof(struct warp, result) + number * WARP_LANES * 8),
                        "");
}

/* ---- registers and operands ---- */

Type register_type(struct emitter *e, uint32_t index) {
  const struct shape shape = e->analysis->shape[index];
  const uint8_t class = e->function->register_class[index];
  Type element;
  if (class == PTX_CLASS_PRED)
    element = e->i1;
  else if (class == PTX_CLASS_16)
    element = e->i16;
  else if (class == PTX_CLASS_32)
    element = e->analysis->is_float[index] ? e->f32 : e->i32;
  else
    element = e->analysis->is_float[index] ? e->f64 : e->i64;
  return shaped(element, shape.kind != SHAPE_AFFINE);
}

static Value load_register(struct emitter *e, uint32_t index) {
  return LLVMBuildLoad2(e->builder, register_type(e, index), e->slot[index], "");
}

static Value spread(struct emitter *e, Value base, uint32_t pattern) {
  Value vector = splat(e, base);
  if (pattern == 0) return vector;
  return LLVMBuildAdd(e->builder, vector, lane_constants(e, LLVMTypeOf(base), e->analysis->patterns[pattern], 0), "");
}

Value read_register(struct emitter *e, uint32_t index, bool wide) {
  const struct shape shape = e->analysis->shape[index];
  if (shape.kind == SHAPE_AFFINE) {
    Value base =
        shape.constant
            ? constant(LLVMIntTypeInContext(e->context, class_bits(e->function->register_class[index])), shape.value)
            : as_bits(e, load_register(e, index));
    return wide ? spread(e, base, shape.pattern) : base;
  }
  return as_bits(e, load_register(e, index));
}

static Value read_special(struct emitter *e, uint32_t special, bool wide) {
  const unsigned *block = e->analysis->block;
  const struct shape shape =
      operand_shape(e->analysis, &(struct ptx_operand){.kind = PTX_OPERAND_SPECIAL, .index = special});
  LLVMBuilderRef b = e->builder;
  Value base = NULL;
  if (shape.kind == SHAPE_AFFINE && shape.constant) {
    base = constant(e->i32, shape.value);
    return wide ? spread(e, base, shape.pattern) : base;
  }
  Value first =
      LLVMBuildMul(b, warp_field(e, e->i32, offsetof(struct warp, number), true), constant(e->i32, WARP_LANES), "");
  static const size_t fields[PTX_SPECIALS] = {[PTX_CTAID_X] = offsetof(struct warp, ctaid),
                                              [PTX_CTAID_Y] = offsetof(struct warp, ctaid) + 4,
                                              [PTX_CTAID_Z] = offsetof(struct warp, ctaid) + 8,
                                              [PTX_NCTAID_X] = offsetof(struct warp, grid),
                                              [PTX_NCTAID_Y] = offsetof(struct warp, grid) + 4,
                                              [PTX_NCTAID_Z] = offsetof(struct warp, grid) + 8,
                                              [PTX_WARPID] = offsetof(struct warp, number),
                                              [PTX_SMID] = offsetof(struct warp, slot),
                                              [PTX_NSMID] = offsetof(struct warp, multiprocessors),
                                              [PTX_DYNAMIC_SMEM_SIZE] = offsetof(struct warp, dynamic_shared),
                                              [PTX_TOTAL_SMEM_SIZE] = offsetof(struct warp, total_shared)};
  int64_t lane[WARP_LANES], mask[WARP_LANES];
  for (int i = 0; i < WARP_LANES; i++) lane[i] = i;
  switch (special) {
    case PTX_TID_X:
    case PTX_TID_Y:
    case PTX_TID_Z: {
      /* The thread's number in the block, taken apart; scalar where the shape says so, then for the warp's first lane.
       */
      const bool scalar = shape.kind == SHAPE_AFFINE;
      Value thread = scalar ? first : LLVMBuildAdd(b, splat(e, first), lane_constants(e, e->i32, lane, 0), "");
      const Type type = LLVMTypeOf(thread);
      if (special != PTX_TID_X)
        thread = LLVMBuildUDiv(b, thread, constant(type, special == PTX_TID_Y ? block[0] : block[0] * block[1]), "");
      if (special != PTX_TID_Z) thread = LLVMBuildURem(b, thread, constant(type, block[special - PTX_TID_X]), "");
      if (!scalar) return thread;
      base = thread;
      break;
    }
    case PTX_LANEMASK_EQ:
    case PTX_LANEMASK_LE:
    case PTX_LANEMASK_LT:
    case PTX_LANEMASK_GE:
    case PTX_LANEMASK_GT:
      for (int i = 0; i < WARP_LANES; i++) {
        const uint32_t bit = (uint32_t)1 << i, below = bit - 1;
        mask[i] = special == PTX_LANEMASK_EQ   ? bit
                  : special == PTX_LANEMASK_LE ? (below | bit)
                  : special == PTX_LANEMASK_LT ? below
                  : special == PTX_LANEMASK_GE ? (uint32_t)~below
                                               : (uint32_t) ~(below | bit);
      }
      return lane_constants(e, e->i32, mask, 0);
    case PTX_GRIDID:
      base = warp_field(e, e->i64, offsetof(struct warp, grid_id), true);
      break;
    case PTX_CLOCK:
    case PTX_CLOCK_HI:
    case PTX_CLOCK64:
    case PTX_GLOBALTIMER:
    case PTX_GLOBALTIMER_LO:
    case PTX_GLOBALTIMER_HI: {
      Type type = LLVMFunctionType(e->i64, &e->i32, 1, 0);
      Value function = warp_field(e, LLVMPointerType(type, 0), offsetof(struct warp, clock), true);
      Value argument = constant(e->i32, special);
      base = LLVMBuildCall2(b, type, function, &argument, 1, "");
      if (special != PTX_CLOCK64 && special != PTX_GLOBALTIMER) base = LLVMBuildTrunc(b, base, e->i32, "");
      break;
    }
    default:
      base = warp_field(e, e->i32, fields[special], true);
      break;
  }
  return wide ? spread(e, base, shape.pattern) : base;
}

static Value resize(struct emitter *e, Value value, unsigned bits, bool is_signed) {
  const unsigned have = element_bits(value);
  const Type type = shaped(LLVMIntTypeInContext(e->context, bits), is_wide(value));
  if (have == bits) return value;
  if (have > bits) return LLVMBuildTrunc(e->builder, value, type, "");
  return is_signed ? LLVMBuildSExt(e->builder, value, type, "") : LLVMBuildZExt(e->builder, value, type, "");
}

Value read_operand(struct emitter *e, const struct ptx_operand *operand, uint8_t ptx_type, bool wide) {
  const bool floating = ptx_type == PTX_F16 || ptx_type == PTX_F32 || ptx_type == PTX_F64;
  const unsigned bits = ptx_type == PTX_PRED ? 1 : type_bytes(ptx_type) * 8;
  Value value;
  switch (operand->kind) {
    case PTX_OPERAND_REGISTER:
      value = read_register(e, operand->index, wide);
      if (operand->negate) value = LLVMBuildNot(e->builder, value, "");
      break;
    case PTX_OPERAND_IMMEDIATE: {
      value = constant(shaped(LLVMIntTypeInContext(e->context, bits), wide), operand->value);
      break;
    }
    case PTX_OPERAND_SYMBOL:
      if (operand->space == PTX_GLOBAL || operand->space == PTX_CONST) {
        value = LLVMBuildPtrToInt(e->builder, e->segment, e->i64, "");
        value = LLVMBuildAdd(e->builder, value, constant(e->i64, operand->value), "");
      } else {
        value = constant(e->i64, operand->value);
      }
      if (wide) value = splat(e, value);
      break;
    case PTX_OPERAND_SPECIAL:
      value = read_special(e, operand->index, wide);
      break;
    default:
      value = constant(shaped(LLVMIntTypeInContext(e->context, bits), wide), 0);
      break;
  }
  value = resize(e, value, bits, ptx_type >= PTX_S8 && ptx_type <= PTX_S64);
  return floating ? as_float(e, value) : value;
}

Value effective_mask(struct emitter *e, const struct ptx_instruction *instruction) {
  if (e->guarded == instruction) return e->guarded_lanes;
  if (instruction->guard == PTX_NONE || shape_uniform(e->analysis->shape[instruction->guard])) return e->mask;
  Value guard = read_register(e, instruction->guard, true);
  if (instruction->guard_negate) guard = LLVMBuildNot(e->builder, guard, "");
  return e->mask ? LLVMBuildAnd(e->builder, e->mask, guard, "") : guard;
}

void write_register(struct emitter *e, const struct ptx_instruction *instruction, const struct ptx_operand *operand,
                    Value value, struct shape shape, bool extend_signed) {
  if (operand->kind != PTX_OPERAND_REGISTER) return;
  const uint32_t r = operand->index;
  const struct shape stored = e->analysis->shape[r];
  const unsigned bits = class_bits(e->function->register_class[r]);
  LLVMBuilderRef b = e->builder;
  if (stored.kind == SHAPE_AFFINE && stored.constant) return; /* readers use the constant */
  value = resize(e, as_bits(e, value), bits, extend_signed);
  if (stored.kind != SHAPE_AFFINE && !is_wide(value))
    value = spread(e, value, shape.kind == SHAPE_AFFINE ? shape.pattern : 0);
  const Type type = register_type(e, r);
  if (e->analysis->is_float[r]) value = as_float(e, value);
  if (stored.kind != SHAPE_AFFINE) {
    const bool blend = e->mask && bit_test(e->analysis->blend + (size_t)e->block * e->analysis->register_words, r);
    Value keep = NULL;
    if (instruction->guard != PTX_NONE && !shape_uniform(e->analysis->shape[instruction->guard]))
      keep = effective_mask(e, instruction);
    else if (blend)
      keep = e->mask;
    if (keep) value = LLVMBuildSelect(b, keep, value, LLVMBuildLoad2(b, type, e->slot[r], ""), "");
  }
  LLVMBuildStore(b, value, e->slot[r]);
  if (vector_lanes == WARP_LANES) save_written_once(e, r);
}

/* ---- masks and jumps ---- */

static Value load_mask(struct emitter *e, uint32_t block) {
  return LLVMBuildLoad2(e->builder, shaped(e->i1, true), e->mask_slot[block], "");
}

bool has_mask(const struct emitter *e, uint32_t block) {
  return e->analysis->partial[block] || e->analysis->waited[block];
}

/* Sends lanes (NULL: all) to a block. */
static void send_lanes(struct emitter *e, uint32_t to, Value lanes) {
  if (!has_mask(e, to)) return;
  if (!lanes) lanes = all_lanes(e);
  if (e->analysis->waited[to]) lanes = LLVMBuildOr(e->builder, load_mask(e, to), lanes, "");
  LLVMBuildStore(e->builder, lanes, e->mask_slot[to]);
}

/* Goes to the lowest block where lanes may wait after the current one: `also` are targets of its last instruction.
 * sure: some lane waits somewhere. */
static void dispatch(struct emitter *e, const uint32_t *also, unsigned also_count, bool sure) {
  const struct analysis *a = e->analysis;
  const uint64_t *waits = a->waits + (size_t)e->block * a->block_words;
  uint32_t previous = PTX_NONE;
  for (;;) {
    uint32_t candidate = PTX_NONE, after = PTX_NONE;
    for (int pass = 0; pass < 2; pass++) {
      const uint32_t above = pass == 0 ? previous : candidate;
      uint32_t best = PTX_NONE;
      for (unsigned i = 0; i < also_count; i++) {
        if ((above == PTX_NONE || also[i] > above) && also[i] < best) best = also[i];
      }
      for (uint32_t w = e->block + 1; w < e->function->block_count && w < best; w++) {
        if ((above == PTX_NONE || w > above) && bit_test(waits, w)) best = w;
      }
      if (pass == 0)
        candidate = best;
      else
        after = best;
      if (candidate == PTX_NONE) break;
    }
    if (candidate == PTX_NONE) {
      LLVMBuildBr(e->builder, e->ended);
      return;
    }
    if (after == PTX_NONE && sure) {
      LLVMBuildBr(e->builder, e->body[candidate]);
      return;
    }
    Label next = new_label(e, "dispatch");
    new_branch(e, any_lane(e, load_mask(e, candidate)), e->body[candidate], next, false);
    LLVMPositionBuilderAtEnd(e->builder, next);
    previous = candidate;
  }
}

/* On the way back to a loop's head: somebody may want the launch to end, and the loop may have no end. */
void poll_stop(struct emitter *e) {
  Value stop = LLVMBuildLoad2(e->builder, e->i32, e->stop, "");
  LLVMSetVolatile(stop, 1);
  mark_scope(e, stop, SCOPE_WARP);
  Label go_on = new_label(e, "");
  new_branch(e, LLVMBuildICmp(e->builder, LLVMIntNE, stop, constant(e->i32, 0), ""), e->stopped, go_on, true);
  LLVMPositionBuilderAtEnd(e->builder, go_on);
}

/* All lanes of the current block go to `to`. */
void jump(struct emitter *e, uint32_t to) {
  if (to <= e->block) poll_stop(e);
  const struct analysis *a = e->analysis;
  send_lanes(e, to, e->mask);
  const uint64_t *waits = a->waits + (size_t)e->block * a->block_words;
  for (uint32_t w = e->block + 1; w < to && w < e->function->block_count; w++) {
    if (bit_test(waits, w)) {
      dispatch(e, &to, 1, true);
      return;
    }
  }
  LLVMBuildBr(e->builder, e->body[to]);
}

static void end_lanes(struct emitter *e) { dispatch(e, NULL, 0, false); }

/* ---- lanes together ---- */

Value lanes_elsewhere(struct emitter *e) {
  const uint64_t *waits = e->analysis->waits + (size_t)e->block * e->analysis->block_words;
  Value lanes = NULL;
  for (uint32_t w = e->block + 1; w < e->function->block_count; w++) {
    if (!bit_test(waits, w)) continue;
    Value mask = load_mask(e, w);
    lanes = lanes ? LLVMBuildOr(e->builder, lanes, mask, "") : mask;
  }
  return lanes ? mask_bits(e, lanes) : NULL;
}

void check_together(struct emitter *e, const struct ptx_instruction *instruction, Value together) {
  if (LLVMIsConstant(together) && LLVMConstIntGetZExtValue(together)) return;
  Label apart = new_label(e, "apart"), go_on = new_label(e, "");
  new_branch(e, LLVMBuildNot(e->builder, together, ""), apart, go_on, true);
  LLVMPositionBuilderAtEnd(e->builder, apart);
  call_about(e, REQUEST_NOT_TOGETHER, instruction, e->mask);
  LLVMBuildBr(e->builder, go_on);
  LLVMPositionBuilderAtEnd(e->builder, go_on);
}

/* ---- barriers ---- */

static int64_t frame_place(struct emitter *e, uint32_t index, int64_t bytes) {
  if (e->frame_offset[index] < 0) {
    e->frame_bytes =
        (e->frame_bytes + (bytes >= 64 ? 63 : bytes - 1)) / (bytes >= 64 ? 64 : bytes) * (bytes >= 64 ? 64 : bytes);
    e->frame_offset[index] = e->frame_bytes;
    e->frame_bytes += bytes;
  }
  return e->frame_offset[index];
}

static void frame_access(struct emitter *e, uint32_t index, Value slot, Type type, bool save) {
  LLVMBuilderRef b = e->builder;
  const bool wide = LLVMGetTypeKind(type) == LLVMVectorTypeKind;
  const Type element = wide ? LLVMGetElementType(type) : type;
  const bool predicate = element == e->i1;
  const int64_t bytes = predicate ? 4
                                  : (element == e->i16                        ? 2
                                     : element == e->i32 || element == e->f32 ? 4
                                                                              : 8) *
                                        (wide ? WARP_LANES : 1);
  const Type stored = predicate ? e->i32 : type;
  Value offset = LLVMConstInt(e->i64, (uint64_t)frame_place(e, index, bytes), 0);
  Value address = LLVMBuildInBoundsGEP2(b, e->i8, e->frame, &offset, 1, "");
  address = LLVMBuildBitCast(b, address, LLVMPointerType(stored, 0), "");
  if (save) {
    Value value = LLVMBuildLoad2(b, type, slot, "");
    if (predicate) value = wide ? mask_bits(e, value) : LLVMBuildZExt(b, value, e->i32, "");
    Value store = LLVMBuildStore(b, value, address);
    mark_scope(e, store, SCOPE_WARP);
    LLVMSetAlignment(store, bytes >= 64 ? 64 : (unsigned)bytes);
  } else {
    Value load = LLVMBuildLoad2(b, stored, address, "");
    mark_scope(e, load, SCOPE_WARP);
    LLVMSetAlignment(load, bytes >= 64 ? 64 : (unsigned)bytes);
    if (predicate) load = wide ? bits_mask(e, load) : LLVMBuildTrunc(b, load, e->i1, "");
    LLVMBuildStore(b, load, slot);
  }
}

/* Finds the registers that one instruction writes, outside of loops, and that some barrier must leave alone: at
 * barriers nothing need be done for them. */
static void find_written_once(struct emitter *e) {
  const struct ptx_function *function = e->function;
  const struct analysis *a = e->analysis;
  bool *in_loop = calloc(function->block_count + 1, sizeof *in_loop);
  uint8_t *writes = calloc(function->register_count + 1, 1);
  if (!in_loop || !writes) {
    refuse(e, NULL, "there is not enough memory");
    goto done;
  }
  for (uint32_t b = 0; b < function->block_count; b++) {
    const struct ptx_block *block = &function->blocks[b];
    for (uint32_t t = 0; t <= block->target_count; t++) {
      const uint32_t target = t < block->target_count ? block->targets[t] : block->next;
      for (uint32_t between = target; between <= b; between++) in_loop[between] = true; /* a way back */
    }
  }
  for (uint32_t b = 0; b < function->block_count; b++) {
    const struct ptx_block *block = &function->blocks[b];
    for (uint32_t i = block->first; i < block->first + block->count; i++) {
      const struct ptx_instruction *at = &function->instructions[i];
      for (unsigned k = 0; k < at->dst_count; k++) {
        if (at->dst[k].kind != PTX_OPERAND_REGISTER) continue;
        uint8_t *count = &writes[at->dst[k].index];
        *count = *count || in_loop[b] ? 2 : 1;
      }
    }
  }
  for (uint32_t b = 0; b < function->block_count; b++) {
    const struct ptx_instruction *last = block_terminator(function, b);
    const uint32_t next = function->blocks[b].next;
    if (!last || last->op != PTX_BAR || next == PTX_NONE) continue;
    for (uint32_t r = 0; r < function->register_count; r++)
      e->written_once[r] |= writes[r] == 1 && bit_test(a->live_in + (size_t)next * a->register_words, r) &&
                            !bit_test(a->live_in, r) && !e->fragment[r].group;
  }
done:
  free(in_loop), free(writes);
}

void save_written_once(struct emitter *e, uint32_t index) {
  if (e->written_once[index]) frame_access(e, index, e->slot[index], register_type(e, index), true);
}

/* Everything that must survive from the current block to `next`. */
static void frame_transfer(struct emitter *e, uint32_t next, bool save) {
  const struct analysis *a = e->analysis;
  const uint64_t *live = a->live_in + (size_t)next * a->register_words;
  for (uint32_t r = 0; r < e->function->register_count; r++) {
    if (!bit_test(live, r) || (a->shape[r].kind == SHAPE_AFFINE && a->shape[r].constant)) continue;
    if (!save || !e->written_once[r]) frame_access(e, r, e->slot[r], register_type(e, r), save);
  }
  if (has_mask(e, next)) {
    frame_access(e, e->function->register_count + next, e->mask_slot[next], shaped(e->i1, true), save);
  }
}

static void emit_barrier(struct emitter *e, const struct ptx_instruction *instruction, uint32_t next,
                         Value dispatcher) {
  const struct analysis *a = e->analysis;
  const struct shape id = operand_shape(a, &instruction->src[0]);
  if (instruction->mode != PTX_BAR_SYNC || instruction->guard != PTX_NONE || instruction->src_count != 1 ||
      !id.constant || id.value) {
    refuse(e, instruction, "only bar.sync 0 of the whole block is");
    return;
  }
  Value elsewhere = lanes_elsewhere(e);
  if (elsewhere) {
    LLVMBuildStore(e->builder, LLVMBuildZExt(e->builder, elsewhere, e->i64, ""),
                   warp_address(e, e->i64, offsetof(struct warp, request_base)));
    check_together(e, instruction, LLVMBuildICmp(e->builder, LLVMIntEQ, elsewhere, constant(e->i32, 0), ""));
  }
  const uint32_t number = ++e->barrier_count;
  send_lanes(e, next, e->mask);
  frame_transfer(e, next, true);
  LLVMBuildRet(e->builder, constant(e->i32, number));
  Label resume = new_label(e, "resume");
  LLVMAddCase(dispatcher, constant(e->i32, number), resume);
  LLVMPositionBuilderAtEnd(e->builder, resume);
  frame_transfer(e, next, false);
  LLVMBuildBr(e->builder, e->body[next]);
}

/* ---- blocks ---- */

Value guard_scalar(struct emitter *e, const struct ptx_instruction *instruction) {
  Value guard = read_register(e, instruction->guard, false);
  return instruction->guard_negate ? LLVMBuildNot(e->builder, guard, "") : guard;
}

void emit_instruction(struct emitter *e, const struct ptx_instruction *instruction) {
  /* A uniform guard: a real branch around the instruction. */
  const bool around = instruction->guard != PTX_NONE && shape_uniform(e->analysis->shape[instruction->guard]);
  Label after = NULL;
  if (around) {
    Label inside = new_label(e, "guarded");
    after = new_label(e, "");
    LLVMBuildCondBr(e->builder, guard_scalar(e, instruction), inside, after);
    LLVMPositionBuilderAtEnd(e->builder, inside);
  }
  if (instruction->guard != PTX_NONE && !around) { /* once: the first of two results may be the guard itself */
    e->guarded_lanes = effective_mask(e, instruction);
    e->guarded = instruction;
  }
  switch (instruction->op) {
    case PTX_LD:
      emit_load(e, instruction);
      break;
    case PTX_ST:
      emit_store(e, instruction);
      break;
    case PTX_SHFL:
    case PTX_VOTE:
    case PTX_MATCH:
    case PTX_ACTIVEMASK:
    case PTX_REDUX:
    case PTX_ELECT:
    case PTX_ATOM:
    case PTX_RED:
      emit_exchange(e, instruction);
      break;
    case PTX_MEMBAR:
      LLVMBuildFence(e->builder, LLVMAtomicOrderingSequentiallyConsistent, 0, "");
      break;
    case PTX_BAR_WARP:
      emit_exchange(e, instruction);
      break;
    case PTX_PRINTF:
    case PTX_MALLOC:
    case PTX_FREE:
    case PTX_CP_ASYNC:
    case PTX_STMATRIX:
    case PTX_MBARRIER:
      emit_call(e, instruction);
      break;
    case PTX_MMA:
    case PTX_LDMATRIX:
    case PTX_MOVMATRIX:
      emit_matrix(e, instruction);
      break;
    case PTX_CP_ASYNC_COMMIT: /* the copies are made at once */
    case PTX_CP_ASYNC_WAIT:
    case PTX_PREFETCH:
    case PTX_NANOSLEEP:
      break;
    default:
      emit_arithmetic(e, instruction);
      break;
  }
  e->guarded = NULL;
  if (around) {
    LLVMBuildBr(e->builder, after);
    LLVMPositionBuilderAtEnd(e->builder, after);
  }
}

static void emit_trap(struct emitter *e, const struct ptx_instruction *instruction, Value mask) {
  Label trap = new_label(e, "trap"), go_on = new_label(e, "");
  new_branch(e, mask ? any_lane(e, mask) : LLVMConstInt(e->i1, 1, 0), trap, go_on, true);
  LLVMPositionBuilderAtEnd(e->builder, trap);
  for (unsigned i = 0; i < instruction->src_count && i < 4; i++)
    store_argument(e, i, read_operand(e, &instruction->src[i], i == 2 ? PTX_U32 : PTX_U64, true));
  call_operate(e, instruction, mask);
  LLVMBuildBr(e->builder, e->fault);
  LLVMPositionBuilderAtEnd(e->builder, go_on);
}

/* brx.idx: each target gets its lanes, whether they agree or not. */
static void emit_table_branch(struct emitter *e, const struct ptx_instruction *last, uint32_t next) {
  LLVMBuilderRef b = e->builder;
  const struct ptx_block *block = &e->function->blocks[e->block];
  poll_stop(e);
  Value index = read_operand(e, &last->src[0], PTX_U32, true), all = e->mask ? e->mask : all_lanes(e);
  Value left = effective_mask(e, last);
  if (!left) left = all_lanes(e);
  uint32_t *also = malloc((block->target_count + 1) * sizeof *also);
  if (!also) {
    refuse(e, last, "there is not enough memory");
    return;
  }
  if (last->guard != PTX_NONE && shape_uniform(e->analysis->shape[last->guard])) {
    left = LLVMBuildAnd(b, left, splat(e, guard_scalar(e, last)), "");
  }
  Value stays = LLVMBuildAnd(b, all, LLVMBuildNot(b, left, ""), "");
  for (uint32_t i = 0; i < block->target_count; i++) {
    Value here = LLVMBuildAnd(b, left, LLVMBuildICmp(b, LLVMIntEQ, index, constant(LLVMTypeOf(index), i), ""), "");
    left = LLVMBuildAnd(b, left, LLVMBuildNot(b, here, ""), "");
    send_lanes(e, block->targets[i], here);
    also[i] = block->targets[i];
  }
  unsigned also_count = block->target_count;
  if (last->guard != PTX_NONE) {
    send_lanes(e, next, stays);
    also[also_count++] = next;
  }
  Label outside = new_label(e, "outside"), go_on = new_label(e, "");
  new_branch(e, any_lane(e, left), outside, go_on, true);
  LLVMPositionBuilderAtEnd(b, outside);
  call_operate(e, last, left);
  LLVMBuildBr(b, go_on);
  LLVMPositionBuilderAtEnd(b, go_on);
  dispatch(e, also, also_count, true);
  free(also);
}

static void emit_end(struct emitter *e, const struct ptx_instruction *last, uint32_t next, Value dispatcher) {
  const struct analysis *a = e->analysis;
  LLVMBuilderRef b = e->builder;
  const struct ptx_block *block = &e->function->blocks[e->block];
  if (last && last->op == PTX_BAR) {
    emit_barrier(e, last, next, dispatcher);
    return;
  }
  const bool branches = last && (last->op == PTX_BRA || last->op == PTX_RET || last->op == PTX_EXIT ||
                                 last->op == PTX_TRAP || last->op == PTX_BRX);
  if (!branches) {
    if (next == PTX_NONE)
      end_lanes(e);
    else
      jump(e, next);
    return;
  }
  if (last->op == PTX_BRX) {
    emit_table_branch(e, last, next);
    return;
  }
  const bool leaves = last->op != PTX_BRA;
  if (last->guard == PTX_NONE) {
    if (last->op == PTX_TRAP) emit_trap(e, last, e->mask);
    if (leaves)
      end_lanes(e);
    else
      jump(e, block->targets[0]);
    return;
  }
  if (!a->divergent[e->block]) {
    Label yes = new_label(e, ""), no = new_label(e, "");
    LLVMBuildCondBr(b, guard_scalar(e, last), yes, no);
    LLVMPositionBuilderAtEnd(b, yes);
    if (last->op == PTX_TRAP) emit_trap(e, last, e->mask);
    if (leaves)
      end_lanes(e);
    else
      jump(e, block->targets[0]);
    LLVMPositionBuilderAtEnd(b, no);
    jump(e, next);
    return;
  }
  Value guard = read_register(e, last->guard, true);
  if (last->guard_negate) guard = LLVMBuildNot(b, guard, "");
  Value all = e->mask ? e->mask : all_lanes(e);
  Value taken = LLVMBuildAnd(b, all, guard, ""), rest = LLVMBuildAnd(b, all, LLVMBuildNot(b, guard, ""), "");
  if (last->op == PTX_TRAP) emit_trap(e, last, taken);
  if (next <= e->block || (!leaves && block->targets[0] <= e->block)) poll_stop(e);
  uint32_t also[2] = {next, next};
  if (!leaves) {
    also[1] = block->targets[0];
    send_lanes(e, also[1], taken);
  }
  send_lanes(e, next, rest);
  dispatch(e, also, leaves ? 1 : 2, !leaves);
}

void emit_body(struct emitter *e, uint32_t number) {
  const struct ptx_block *block = &e->function->blocks[number];
  const struct ptx_instruction *last = block_terminator(e->function, number);
  for (uint32_t i = 0; i < block->count && !e->failed; i++) {
    const uint32_t index = e->order[block->first + i];
    const struct ptx_instruction *instruction = &e->function->instructions[index];
    if (index == e->batch_at[number]) emit_early_checks(e);
    if (instruction == last && (last->op == PTX_BRA || last->op == PTX_BRX || last->op == PTX_RET ||
                                last->op == PTX_EXIT || last->op == PTX_TRAP || last->op == PTX_BAR)) {
      break;
    }
    uint32_t together = strip_run(e, number, i);
    if (together)
      emit_strip_run(e, number, i, together);
    else
      together = matrix_run(e, e->order + block->first + i, block->count - i);
    if (together)
      i += together - 1;
    else
      emit_instruction(e, instruction);
  }
}

static void emit_block(struct emitter *e, uint32_t number, Value dispatcher) {
  const struct ptx_block *block = &e->function->blocks[number];
  LLVMPositionBuilderAtEnd(e->builder, e->body[number]);
  e->block = number;
  e->mask = e->entry_lanes;
  if (e->analysis->partial[number]) e->mask = load_mask(e, number);
  if (e->analysis->waited[number]) LLVMBuildStore(e->builder, LLVMConstNull(shaped(e->i1, true)), e->mask_slot[number]);
  if (emit_strips(e, number)) return;
  emit_body(e, number);
  if (!e->failed) emit_end(e, block_terminator(e->function, number), block->next, dispatcher);
}

static void emit_info(struct emitter *e) {
  const uint32_t count = INFO_SPANS + e->analysis->root_count;
  Value *values = malloc(count * sizeof *values);
  if (!values) {
    refuse(e, NULL, "there is not enough memory");
    return;
  }
  const int64_t fields[INFO_SPANS] = {
      [INFO_FRAME_BYTES] = e->frame_bytes, [INFO_ROOTS] = e->analysis->root_count, [INFO_BARRIERS] = e->barrier_count};
  for (uint32_t i = 0; i < count; i++) {
    values[i] = LLVMConstInt(e->i64, (uint64_t)(i < INFO_SPANS ? fields[i] : e->root_span[i - INFO_SPANS]), 1);
  }
  Value table = LLVMConstArray(e->i64, values, count);
  Value global = LLVMAddGlobal(e->module, LLVMTypeOf(table), INFO_SYMBOL);
  LLVMSetInitializer(global, table);
  LLVMSetGlobalConstant(global, 1);
  free(values);
}

static unsigned metadata_kind(struct emitter *e, const char *name) {
  return LLVMGetMDKindIDInContext(e->context, name, (unsigned)strlen(name));
}

static void set_up(struct emitter *e) {
  LLVMContextRef c = e->context;
  e->i1 = LLVMInt1TypeInContext(c), e->i8 = LLVMInt8TypeInContext(c), e->i16 = LLVMInt16TypeInContext(c);
  e->i32 = LLVMInt32TypeInContext(c), e->i64 = LLVMInt64TypeInContext(c);
  e->f16 = LLVMHalfTypeInContext(c), e->f32 = LLVMFloatTypeInContext(c), e->f64 = LLVMDoubleTypeInContext(c);
  e->bytes = LLVMPointerType(e->i8, 0);
  e->alias_kind = metadata_kind(e, "alias.scope");
  e->noalias_kind = metadata_kind(e, "noalias");
  e->invariant_kind = metadata_kind(e, "invariant.load");
  e->weights_kind = metadata_kind(e, "prof");
  LLVMMetadataRef name = LLVMMDStringInContext2(c, "vgpu", 4);
  LLVMMetadataRef domain = LLVMMDNodeInContext2(c, &name, 1);
  static const char *const names[SCOPE_COUNT] = {"warp", "shared", "global", "local"};
  for (int i = 0; i < SCOPE_COUNT; i++) {
    LLVMMetadataRef parts[2] = {LLVMMDStringInContext2(c, names[i], strlen(names[i])), domain};
    e->scopes[i] = LLVMMDNodeInContext2(c, parts, 2);
  }
  LLVMMetadataRef weights[3] = {LLVMMDStringInContext2(c, "branch_weights", 14),
                                LLVMValueAsMetadata(LLVMConstInt(e->i32, 1, 0)),
                                LLVMValueAsMetadata(LLVMConstInt(e->i32, 100000, 0))};
  e->unlikely = LLVMMetadataAsValue(c, LLVMMDNodeInContext2(c, weights, 3));
  e->run = LLVMAddFunction(e->module, RUN_SYMBOL, LLVMFunctionType(e->i32, &e->bytes, 1, 0));
  add_vector_width(e, e->run);
  /* Helpers are called by an instruction that LLVM does not take for a call: no data below the stack pointer. */
  const unsigned no_red_zone = LLVMGetEnumAttributeKindForName("noredzone", 9);
  LLVMAddAttributeAtIndex(e->run, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                          LLVMCreateEnumAttribute(c, no_red_zone, 0));
  const unsigned nounwind = LLVMGetEnumAttributeKindForName("nounwind", 8);
  LLVMAddAttributeAtIndex(e->run, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                          LLVMCreateEnumAttribute(c, nounwind, 0));
  e->warp = LLVMGetParam(e->run, 0);
}

LLVMModuleRef emit_kernel(LLVMContextRef context, struct analysis *analysis, const struct target_features *features,
                          char *reason, size_t reason_bytes) {
  const struct ptx_function *function = analysis->function;
  const uint32_t blocks = function->block_count, registers = function->register_count;
  struct emitter emitter = {.analysis = analysis,
                            .function = function,
                            .features = features,
                            .context = context,
                            .reason = reason,
                            .reason_bytes = reason_bytes},
                 *e = &emitter;
  e->module = LLVMModuleCreateWithNameInContext(function->name, context);
  e->builder = LLVMCreateBuilderInContext(context);
  e->body = calloc(blocks + 1, sizeof *e->body);
  e->slot = calloc(registers + 1, sizeof *e->slot);
  e->written_once = calloc(registers + 1, sizeof *e->written_once);
  e->fragment = calloc(registers + 1, sizeof *e->fragment);
  e->mask_slot = calloc(blocks + 1, sizeof *e->mask_slot);
  e->group_of = malloc((function->instruction_count + 1) * sizeof *e->group_of);
  e->order = malloc((function->instruction_count + 1) * sizeof *e->order);
  e->batch_at = malloc((blocks + 1) * sizeof *e->batch_at);
  e->offset_in_group = calloc(function->instruction_count + 1, sizeof *e->offset_in_group);
  e->groups = calloc(function->instruction_count + 1, sizeof *e->groups);
  e->root_span = calloc(analysis->root_count + 1, sizeof *e->root_span);
  e->frame_offset = malloc((registers + blocks + 1) * sizeof *e->frame_offset);
  if (!e->body || !e->slot || !e->written_once || !e->fragment || !e->mask_slot || !e->group_of ||
      !e->offset_in_group || !e->order || !e->batch_at || !e->groups || !e->root_span || !e->frame_offset) {
    refuse(e, NULL, "there is not enough memory");
    goto done;
  }
  for (uint32_t i = 0; i < registers + blocks + 1; i++) e->frame_offset[i] = -1;
  set_up(e);
  plan_checks(e);
  e->entry = new_label(e, "entry");
  LLVMPositionBuilderAtEnd(e->builder, e->entry);
  plan_fragments(e);
  find_written_once(e);
  for (uint32_t r = 0; r < registers; r++) {
    if (analysis->shape[r].kind == SHAPE_AFFINE && analysis->shape[r].constant) continue;
    if (!e->slot[r]) e->slot[r] = LLVMBuildAlloca(e->builder, register_type(e, r), "");
    /* What may be read before it is written is 0, as in the interpreter, and not whatever suits LLVM. */
    if (bit_test(analysis->live_in, r)) LLVMBuildStore(e->builder, LLVMConstNull(register_type(e, r)), e->slot[r]);
  }
  for (uint32_t b = 0; b < blocks; b++) {
    if (!has_mask(e, b)) continue;
    e->mask_slot[b] = LLVMBuildAlloca(e->builder, shaped(e->i1, true), "");
    LLVMBuildStore(e->builder, LLVMConstNull(shaped(e->i1, true)), e->mask_slot[b]);
  }
  e->params = warp_field(e, e->bytes, offsetof(struct warp, params), true);
  e->shared = warp_field(e, e->bytes, offsetof(struct warp, shared), true);
  e->local = warp_field(e, e->bytes, offsetof(struct warp, local), true);
  e->segment = warp_field(e, e->bytes, offsetof(struct warp, segment), true);
  e->frame = warp_field(e, e->bytes, offsetof(struct warp, frame), true);
  e->stop = warp_field(e, LLVMPointerType(e->i32, 0), offsetof(struct warp, stop), true);
  e->shared_bytes = warp_field(e, e->i64, offsetof(struct warp, shared_bytes), true);
  if (!analysis->full_warps) e->entry_lanes = bits_mask(e, warp_field(e, e->i32, offsetof(struct warp, lanes), true));
  e->stopped = new_label(e, "stopped");
  e->fault = new_label(e, "fault");
  e->ended = new_label(e, "ended");
  for (uint32_t b = 0; b < blocks; b++) e->body[b] = new_label(e, "block");
  /* Enter at the start or after a barrier. */
  Label start = new_label(e, "start");
  Value resume = warp_field(e, e->i32, offsetof(struct warp, resume), true);
  Value dispatcher = LLVMBuildSwitch(e->builder, resume, start, blocks);
  LLVMPositionBuilderAtEnd(e->builder, start);
  e->mask = e->entry_lanes;
  send_lanes(e, 0, e->entry_lanes);
  LLVMBuildBr(e->builder, e->body[0]);
  for (uint32_t b = 0; b < blocks && !e->failed; b++) emit_block(e, b, dispatcher);
  LLVMPositionBuilderAtEnd(e->builder, e->stopped);
  LLVMBuildRet(e->builder, constant(e->i32, (uint64_t)RUN_STOPPED));
  LLVMPositionBuilderAtEnd(e->builder, e->fault);
  LLVMBuildRet(e->builder, constant(e->i32, (uint64_t)RUN_FAULT));
  LLVMPositionBuilderAtEnd(e->builder, e->ended);
  LLVMBuildRet(e->builder, constant(e->i32, RUN_ENDED));
  if (!e->failed) emit_info(e);
done:
  LLVMDisposeBuilder(e->builder);
  free(e->body), free(e->slot), free(e->fragment), free(e->mask_slot), free(e->group_of), free(e->offset_in_group),
      free(e->order), free(e->batch_at), free(e->groups), free(e->root_span);
  free(e->frame_offset), free(e->written_once);
  if (e->failed) {
    LLVMDisposeModule(e->module);
    return NULL;
  }
  return e->module;
}
