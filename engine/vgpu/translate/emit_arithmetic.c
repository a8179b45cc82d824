/* Arithmetic, bits, comparisons, conversions and moves: each op once, for one number or for 32 lanes.
 *
 * LLVM leaves undefined what PTX defines (shifts beyond the width, conversions out of range, division by zero), so
 * these are spelt out. No fast-math: every floating-point operation rounds as PTX says. */
#include <math.h>

#include "engine/vgpu/translate/emitter.h"

static bool is_signed(uint8_t type) { return type >= PTX_S8 && type <= PTX_S64; }
static bool is_float(uint8_t type) { return type == PTX_F32 || type == PTX_F64; }

static Type type_of(Value value) { return LLVMTypeOf(value); }
static Value zero_of(Value value) { return LLVMConstNull(LLVMTypeOf(value)); }

static Value select_value(struct emitter *e, Value condition, Value yes, Value no) {
  return LLVMBuildSelect(e->builder, condition, yes, no, "");
}

static Type int_type(struct emitter *e, unsigned bits, bool wide) {
  return shaped(LLVMIntTypeInContext(e->context, bits), wide);
}

static Value resize_int(struct emitter *e, Value value, unsigned bits, bool sign) {
  const unsigned have = element_bits(value);
  const Type type = int_type(e, bits, is_wide(value));
  if (have == bits) return value;
  if (have > bits) return LLVMBuildTrunc(e->builder, value, type, "");
  return sign ? LLVMBuildSExt(e->builder, value, type, "") : LLVMBuildZExt(e->builder, value, type, "");
}

/* ---- floating point ---- */

Value flush_subnormal(struct emitter *e, Value x) {
  LLVMBuilderRef b = e->builder;
  Value bits = as_bits(e, x);
  const Type type = type_of(bits);
  Value exponent = LLVMBuildAnd(b, bits, constant(type, 0x7f800000), "");
  Value zero = LLVMBuildAnd(b, bits, constant(type, 0x80000000u), "");
  return as_float(e, select_value(e, LLVMBuildICmp(b, LLVMIntEQ, exponent, zero_of(bits), ""), zero, bits));
}

static Value saturate(struct emitter *e, Value x) {
  LLVMBuilderRef b = e->builder;
  Value one = constant_float(type_of(x), 1.0);
  Value low = select_value(e, LLVMBuildFCmp(b, LLVMRealOLT, x, one, ""), x, one);
  return select_value(e, LLVMBuildFCmp(b, LLVMRealOGT, x, zero_of(x), ""), low, zero_of(x));
}

/* The neighbour of a finite or infinite r towards +inf (up) or -inf. */
static Value neighbour(struct emitter *e, Value r, bool up) {
  LLVMBuilderRef b = e->builder;
  Value bits = as_bits(e, r);
  const Type type = type_of(bits);
  const unsigned width = element_bits(bits);
  const uint64_t sign = (uint64_t)1 << (width - 1);
  Value negative = LLVMBuildICmp(b, LLVMIntSLT, bits, zero_of(bits), "");
  Value away = LLVMBuildAdd(b, bits, constant(type, 1), ""), towards = LLVMBuildSub(b, bits, constant(type, 1), "");
  Value moved = up ? select_value(e, negative, towards, away) : select_value(e, negative, away, towards);
  Value is_zero = LLVMBuildICmp(b, LLVMIntEQ, LLVMBuildAnd(b, bits, constant(type, sign - 1), ""), zero_of(bits), "");
  return as_float(e, select_value(e, is_zero, constant(type, up ? 1 : sign | 1), moved));
}

/* An f32 sum, difference, product or fused operation with directed rounding: a*b + c, done in the instruction where the
 * CPU has that, else by comparing the rounded result with the exact value, which two doubles hold. */
static Value directed(struct emitter *e, uint8_t rounding, Value a, Value x, Value c) {
  LLVMBuilderRef b = e->builder;
  const bool wide = is_wide(a);
  if (e->features->avx512 && wide) {
    const Type half = LLVMVectorType(e->f32, 16);
    const char *name = "llvm.x86.avx512.vfmadd.ps.512";
    Value parts[2];
    for (unsigned h = 0; h < 2; h++) {
      Value indices[16], arguments[4];
      for (unsigned i = 0; i < 16; i++) indices[i] = LLVMConstInt(e->i32, h * 16 + i, 0);
      Value take = LLVMConstVector(indices, 16), operands[3] = {a, x, c};
      for (int k = 0; k < 3; k++)
        arguments[k] = LLVMBuildShuffleVector(b, operands[k], LLVMGetUndef(type_of(a)), take, "");
      arguments[3] = constant(e->i32, rounding == PTX_RM ? 9 : rounding == PTX_RP ? 10 : 11);
      const unsigned id = LLVMLookupIntrinsicID(name, 29);
      Value function = LLVMGetIntrinsicDeclaration(e->module, id, NULL, 0);
      parts[h] = LLVMBuildCall2(b, LLVMIntrinsicGetType(e->context, id, NULL, 0), function, arguments, 4, "");
      (void)half;
    }
    Value indices[WARP_LANES];
    for (unsigned i = 0; i < WARP_LANES; i++) indices[i] = LLVMConstInt(e->i32, i, 0);
    return LLVMBuildShuffleVector(b, parts[0], parts[1], LLVMConstVector(indices, WARP_LANES), "");
  }
  const Type wider = shaped(e->f64, wide);
  Value r = call_intrinsic(e, "llvm.fma", type_of(a), 3, (Value[]){a, x, c});
  Value product = LLVMBuildFMul(b, LLVMBuildFPExt(b, a, wider, ""), LLVMBuildFPExt(b, x, wider, ""), "");
  Value addend = LLVMBuildFPExt(b, c, wider, ""), sum = LLVMBuildFAdd(b, product, addend, "");
  Value part = LLVMBuildFSub(b, sum, product, "");
  Value error = LLVMBuildFAdd(b, LLVMBuildFSub(b, product, LLVMBuildFSub(b, sum, part, ""), ""),
                              LLVMBuildFSub(b, addend, part, ""), "");
  Value result = LLVMBuildFPExt(b, r, wider, "");
  Value same = LLVMBuildFCmp(b, LLVMRealOEQ, result, sum, ""), none = zero_of(error);
  Value above = LLVMBuildOr(b, LLVMBuildFCmp(b, LLVMRealOGT, result, sum, ""),
                            LLVMBuildAnd(b, same, LLVMBuildFCmp(b, LLVMRealOLT, error, none, ""), ""), "");
  Value below = LLVMBuildOr(b, LLVMBuildFCmp(b, LLVMRealOLT, result, sum, ""),
                            LLVMBuildAnd(b, same, LLVMBuildFCmp(b, LLVMRealOGT, error, none, ""), ""), "");
  Value negative = LLVMBuildFCmp(b, LLVMRealOLT, sum, none, "");
  Value down = select_value(e, above, neighbour(e, r, false), r), up = select_value(e, below, neighbour(e, r, true), r);
  if (rounding == PTX_RZ) return select_value(e, negative, up, down);
  if (rounding == PTX_RP) return up;
  /* An exact zero of unlike terms is -0 when rounding down; a product that is zero and a zero addend keep their sign.
   */
  Value minus_zero = constant_float(type_of(r), -0.0);
  Value product_sign = LLVMBuildICmp(b, LLVMIntSLT, as_bits(e, product), zero_of(as_bits(e, product)), "");
  Value addend_sign = LLVMBuildICmp(b, LLVMIntSLT, as_bits(e, addend), zero_of(as_bits(e, addend)), "");
  Value exact_zero = LLVMBuildAnd(b, LLVMBuildFCmp(b, LLVMRealOEQ, sum, none, ""),
                                  LLVMBuildICmp(b, LLVMIntNE, product_sign, addend_sign, ""), "");
  return select_value(e, exact_zero, minus_zero, down);
}

static bool is_half(uint8_t type) {
  return type == PTX_F16 || type == PTX_F16X2 || type == PTX_BF16 || type == PTX_BF16X2;
}

/* What machine code has no pattern for here: left to the interpreter's handlers. */
static bool is_rare(const struct ptx_instruction *instruction) {
  const uint8_t type = instruction->type, from = instruction->source_type;
  switch (instruction->op) {
    case PTX_ADD:
    case PTX_SUB:
    case PTX_MUL:
    case PTX_FMA:
    case PTX_ABS:
    case PTX_NEG:
    case PTX_EX2:
    case PTX_TANH:
      return is_half(type) || type == PTX_S16X2 || type == PTX_U16X2;
    case PTX_MIN:
    case PTX_MAX:
      return is_half(type) || type == PTX_S16X2 || type == PTX_U16X2 || (instruction->flags & (PTX_RELU | PTX_XORSIGN));
    case PTX_DP2A:
    case PTX_VABSDIFF4:
    case PTX_FNS:
      return true;
    case PTX_CVT: {
      if (type == PTX_TF32) return instruction->rounding != PTX_RNA;
      if (type == PTX_E4M3 || type == PTX_E5M2 || from == PTX_E4M3 || from == PTX_E5M2) return true;
      if (type == PTX_F16 && from == PTX_F64) return true;
      if (type == PTX_BF16 || from == PTX_BF16) {
        if (type == PTX_F32) return instruction->flags != 0;
        return from != PTX_F32 || instruction->flags ||
               (instruction->rounding != PTX_RN && instruction->rounding != PTX_RZ);
      }
      return type == PTX_F16 && (instruction->flags || instruction->rounding != PTX_RN);
    }
    default:
      return false;
  }
}

/* What is too rare to spell out: a helper does it, lane by lane. */
static Value compute_rare(struct emitter *e, const struct ptx_instruction *instruction, bool wide) {
  LLVMBuilderRef b = e->builder;
  const Type lanes = shaped(e->i64, true);
  for (unsigned i = 0; i < instruction->src_count && i < 3; i++) {
    const uint8_t operand_type = instruction->op == PTX_CVT ? instruction->source_type : instruction->type;
    Value x = as_bits(e, read_operand(e, &instruction->src[i], operand_type, true));
    x = resize_int(e, x, 64, is_signed(operand_type));
    LLVMBuildStore(b, x, warp_address(e, lanes, offsetof(struct warp, argument) + i * sizeof(uint64_t) * WARP_LANES));
  }
  call_operate(e, instruction, NULL);
  Value r = LLVMBuildLoad2(b, lanes, warp_address(e, lanes, offsetof(struct warp, result)), "");
  if (!wide) r = LLVMBuildExtractElement(b, r, constant(e->i32, 0), "");
  r = resize_int(e, r, 8 * type_bytes(instruction->type), false);
  return is_float(instruction->type) ? as_float(e, r) : r;
}

static Value float_arithmetic(struct emitter *e, const struct ptx_instruction *instruction, bool wide) {
  LLVMBuilderRef b = e->builder;
  Value a[3] = {NULL, NULL, NULL};
  const bool flush = instruction->flags & PTX_FTZ && instruction->type == PTX_F32;
  const unsigned count = instruction->op == PTX_FMA ? 3 : 2;
  for (unsigned i = 0; i < count; i++) {
    a[i] = read_operand(e, &instruction->src[i], instruction->type, wide);
    if (flush) a[i] = flush_subnormal(e, a[i]);
  }
  Value r;
  const uint8_t rounding = instruction->rounding;
  if (rounding == PTX_RZ || rounding == PTX_RM || rounding == PTX_RP) {
    if (instruction->type != PTX_F32) return compute_rare(e, instruction, wide);
    Value one = constant_float(type_of(a[0]), 1.0), minus_zero = constant_float(type_of(a[0]), -0.0);
    if (instruction->op == PTX_ADD)
      r = directed(e, rounding, a[0], one, a[1]);
    else if (instruction->op == PTX_SUB)
      r = directed(e, rounding, a[0], one, LLVMBuildFNeg(b, a[1], ""));
    else if (instruction->op == PTX_MUL) {
      /* A zero of the product's sign, so that the sum keeps it. */
      Value sign = LLVMBuildXor(b, as_bits(e, a[0]), as_bits(e, a[1]), "");
      Value zero = as_float(e, LLVMBuildAnd(b, sign, as_bits(e, minus_zero), ""));
      r = directed(e, rounding, a[0], a[1], zero);
    } else {
      r = directed(e, rounding, a[0], a[1], a[2]);
    }
  } else {
    switch (instruction->op) {
      case PTX_ADD:
        r = LLVMBuildFAdd(b, a[0], a[1], "");
        break;
      case PTX_SUB:
        r = LLVMBuildFSub(b, a[0], a[1], "");
        break;
      case PTX_MUL:
        r = LLVMBuildFMul(b, a[0], a[1], "");
        break;
      default:
        r = call_intrinsic(e, "llvm.fma", type_of(a[0]), 3, a);
        break;
    }
  }
  if (flush) r = flush_subnormal(e, r);
  if (instruction->flags & PTX_SAT) r = saturate(e, r);
  return r;
}

static Value canonical_nan(struct emitter *e, Value r) {
  Value bits = constant(type_of(as_bits(e, r)), element_bits(r) == 32 ? 0x7fffffff : 0x7fffffffffffffff);
  return select_value(e, LLVMBuildFCmp(e->builder, LLVMRealUNO, r, r, ""), as_float(e, bits), r);
}

/* Of two equal numbers only zeros differ in bits: max takes both sign bits' and, min their or. */
static Value float_extreme(struct emitter *e, const struct ptx_instruction *instruction, bool wide) {
  LLVMBuilderRef b = e->builder;
  const bool maximum = instruction->op == PTX_MAX;
  Value x = read_operand(e, &instruction->src[0], instruction->type, wide);
  Value y = read_operand(e, &instruction->src[1], instruction->type, wide);
  if (instruction->flags & PTX_FTZ) x = flush_subnormal(e, x), y = flush_subnormal(e, y);
  Value better = LLVMBuildFCmp(b, maximum ? LLVMRealOGT : LLVMRealOLT, x, y, "");
  Value r = select_value(e, better, x, y); /* y if either is NaN */
  Value both =
      maximum ? LLVMBuildAnd(b, as_bits(e, x), as_bits(e, y), "") : LLVMBuildOr(b, as_bits(e, x), as_bits(e, y), "");
  r = select_value(e, LLVMBuildFCmp(b, LLVMRealOEQ, x, y, ""), as_float(e, both), r);
  Value y_nan = LLVMBuildFCmp(b, LLVMRealUNO, y, y, "");
  if (instruction->flags & PTX_NAN_RESULT) {
    r = select_value(e, LLVMBuildFCmp(b, LLVMRealUNO, x, y, ""), LLVMBuildFAdd(b, x, y, ""), r);
  } else {
    r = select_value(e, y_nan, x, r);
  }
  return canonical_nan(e, r);
}

/* The instruction of this block, before `user`, that gave a register its value; NULL: there is none. */
static const struct ptx_instruction *writer(const struct emitter *e, const struct ptx_instruction *user,
                                            const struct ptx_operand *operand) {
  const struct ptx_instruction *first = e->function->instructions + e->function->blocks[e->block].first;
  for (const struct ptx_instruction *i = user; operand->kind == PTX_OPERAND_REGISTER && i-- > first;)
    for (unsigned k = 0; k < i->dst_count; k++)
      if (i->dst[k].kind == PTX_OPERAND_REGISTER && i->dst[k].index == operand->index) return i;
  return NULL;
}

/* Finite and not 0. */
static bool is_ordinary_constant(const struct emitter *e, const struct ptx_instruction *user,
                                 const struct ptx_operand *operand) {
  const struct ptx_instruction *from = writer(e, user, operand);
  if (from && from->op == PTX_MOV && from->type == PTX_F32 && from->guard == PTX_NONE) operand = &from->src[0];
  const uint32_t magnitude = (uint32_t)operand->value & 0x7fffffff;
  return operand->kind == PTX_OPERAND_IMMEDIATE && magnitude > 0 && magnitude < 0x7f800000;
}

/* Whether a NaN in an operand of `user` is canonical for certain: from a special function, or its sum with a number. */
static bool has_canonical_nan(const struct emitter *e, const struct ptx_instruction *user,
                              const struct ptx_operand *operand) {
  const struct ptx_instruction *from;
  while ((from = writer(e, user, operand)) != NULL && from->guard == PTX_NONE && from->type == PTX_F32) {
    if (from->op == PTX_EX2 || from->op == PTX_LG2 || from->op == PTX_TANH) return true;
    if (from->op != PTX_ADD || from->rounding > PTX_RN || (from->flags & PTX_SAT)) return false;
    const bool constant_first = is_ordinary_constant(e, from, &from->src[0]);
    if (!constant_first && !is_ordinary_constant(e, from, &from->src[1])) return false;
    operand = &from->src[constant_first];
    user = from;
  }
  return false;
}

static Value float_division(struct emitter *e, const struct ptx_instruction *instruction, bool wide) {
  Value x = read_operand(e, &instruction->src[0], instruction->type, wide);
  Value y = read_operand(e, &instruction->src[1], instruction->type, wide);
  const bool approximate = instruction->rounding == PTX_APPROX || instruction->rounding == PTX_FULL;
  if (!approximate && instruction->rounding != PTX_RN) return compute_rare(e, instruction, wide);
  if (instruction->flags & PTX_FTZ) x = flush_subnormal(e, x), y = flush_subnormal(e, y);
  Value r = LLVMBuildFDiv(e->builder, x, y, "");
  if (instruction->flags & PTX_FTZ) r = flush_subnormal(e, r);
  /* A finite number other than 0 by a NaN is that NaN, and by nothing else NaN. */
  const bool canonical = is_ordinary_constant(e, instruction, &instruction->src[0]) &&
                         has_canonical_nan(e, instruction, &instruction->src[1]);
  return approximate && !canonical ? canonical_nan(e, r) : r;
}

/* ---- integers ---- */

static Value limited(struct emitter *e, Value x, uint64_t most) {
  Value limit = constant(type_of(x), most);
  return select_value(e, LLVMBuildICmp(e->builder, LLVMIntULT, x, limit, ""), x, limit);
}

/* x << n or x >> n where n may be anything: PTX clamps the amount. */
static Value shift(struct emitter *e, uint16_t op, Value x, Value n, bool arithmetic) {
  LLVMBuilderRef b = e->builder;
  const unsigned bits = element_bits(x);
  Value inside = LLVMBuildICmp(b, LLVMIntULT, n, constant(type_of(n), bits), "");
  if (arithmetic) return LLVMBuildAShr(b, x, resize_int(e, limited(e, n, bits - 1), bits, false), "");
  Value amount = resize_int(e, select_value(e, inside, n, zero_of(n)), bits, false);
  Value r = op == PTX_SHL ? LLVMBuildShl(b, x, amount, "") : LLVMBuildLShr(b, x, amount, "");
  return select_value(e, inside, r, zero_of(r));
}

/* Quotient or remainder. Divisor 0: all ones; the remainder is then the dividend. Lanes that do not run have any
 * divisor. */
static Value integer_division(struct emitter *e, const struct ptx_instruction *instruction, bool wide) {
  LLVMBuilderRef b = e->builder;
  const bool sign = is_signed(instruction->type);
  Value x = read_operand(e, &instruction->src[0], instruction->type, wide);
  Value y = read_operand(e, &instruction->src[1], instruction->type, wide);
  const Type type = type_of(x);
  const unsigned bits = element_bits(x);
  Value none = LLVMBuildICmp(b, LLVMIntEQ, y, zero_of(y), "");
  Value safe = select_value(e, none, constant(type, 1), y), q;
  if (sign) { /* the least number by -1: negate instead, which wraps */
    Value minus_one = LLVMBuildICmp(b, LLVMIntEQ, y, constant(type, UINT64_MAX), "");
    safe = select_value(e, minus_one, constant(type, 1), safe);
    if (wide && bits <= 32) {
      const Type wider = shaped(e->f64, true);
      q = LLVMBuildFDiv(b, LLVMBuildSIToFP(b, x, wider, ""), LLVMBuildSIToFP(b, safe, wider, ""), "");
      q = resize_int(e, LLVMBuildFPToSI(b, q, int_type(e, 64, true), ""), bits, true); /* exact: 53 bits exceed both */
    } else {
      q = LLVMBuildSDiv(b, x, safe, "");
    }
    q = select_value(e, minus_one, LLVMBuildNeg(b, x, ""), q);
  } else if (wide && bits <= 32 && !LLVMIsConstant(y)) {
    const Type wider = shaped(e->f64, true);
    q = LLVMBuildFDiv(b, LLVMBuildUIToFP(b, x, wider, ""), LLVMBuildUIToFP(b, safe, wider, ""), "");
    q = resize_int(e, LLVMBuildFPToUI(b, q, int_type(e, 64, true), ""), bits, false);
  } else {
    q = LLVMBuildUDiv(b, x, safe, "");
  }
  if (instruction->op == PTX_DIV) return select_value(e, none, constant(type, UINT64_MAX), q);
  Value r = LLVMBuildSub(b, x, LLVMBuildMul(b, q, safe, ""), "");
  if (sign) r = LLVMBuildSub(b, x, LLVMBuildMul(b, q, y, ""), "");
  return select_value(e, none, x, r);
}

static Value product_high(struct emitter *e, Value x, Value y, bool sign) {
  const unsigned bits = element_bits(x);
  Value wide_product = LLVMBuildMul(e->builder, resize_int(e, x, 2 * bits, sign), resize_int(e, y, 2 * bits, sign), "");
  return resize_int(e, LLVMBuildLShr(e->builder, wide_product, constant(type_of(wide_product), bits), ""), bits, false);
}

static Value integer_extreme(struct emitter *e, Value x, Value y, bool maximum, bool sign) {
  const LLVMIntPredicate predicate = maximum ? (sign ? LLVMIntSGT : LLVMIntUGT) : (sign ? LLVMIntSLT : LLVMIntULT);
  return select_value(e, LLVMBuildICmp(e->builder, predicate, x, y, ""), x, y);
}

static Value bit_field_extract(struct emitter *e, Value x, Value position, Value length, bool sign) {
  LLVMBuilderRef b = e->builder;
  const unsigned bits = element_bits(x);
  const Type type = type_of(x);
  Value moved = shift(e, PTX_SHR, x, position, sign);
  Value kept = resize_int(e, limited(e, length, bits), bits, false);
  Value none = LLVMBuildICmp(b, LLVMIntEQ, kept, zero_of(kept), "");
  Value drop = LLVMBuildSub(b, constant(type, bits), kept, "");
  drop = select_value(e, none, zero_of(drop), drop);
  Value r = LLVMBuildShl(b, moved, drop, "");
  r = sign ? LLVMBuildAShr(b, r, drop, "") : LLVMBuildLShr(b, r, drop, "");
  return select_value(e, none, zero_of(r), r);
}

static Value bit_field_insert(struct emitter *e, Value field, Value into, Value position, Value length) {
  LLVMBuilderRef b = e->builder;
  const Type type = type_of(into);
  Value ones = constant(type, UINT64_MAX);
  Value mask = LLVMBuildNot(b, shift(e, PTX_SHL, ones, length, false), "");
  Value place = shift(e, PTX_SHL, mask, position, false);
  Value moved = shift(e, PTX_SHL, LLVMBuildAnd(b, field, mask, ""), position, false);
  return LLVMBuildOr(b, LLVMBuildAnd(b, into, LLVMBuildNot(b, place, ""), ""), moved, "");
}

static Value logic3(struct emitter *e, Value x, Value y, Value z, uint8_t table) {
  LLVMBuilderRef b = e->builder;
  Value r = zero_of(x);
  for (unsigned row = 0; row < 8; row++) { /* row: bits of x, y, z from high to low */
    if (!(table >> row & 1)) continue;
    Value term = LLVMBuildAnd(b, row & 4 ? x : LLVMBuildNot(b, x, ""), row & 2 ? y : LLVMBuildNot(b, y, ""), "");
    r = LLVMBuildOr(b, r, LLVMBuildAnd(b, term, row & 1 ? z : LLVMBuildNot(b, z, ""), ""), "");
  }
  return r;
}

/* Bytes of y:x chosen by four nibbles; a nibble's high bit spreads the byte's sign. */
static Value permute(struct emitter *e, const struct ptx_instruction *instruction, Value x, Value y, Value choice) {
  LLVMBuilderRef b = e->builder;
  static const uint16_t controls[][4] = {
      [PTX_PRMT_F4E] = {0x3210, 0x4321, 0x5432, 0x6543}, [PTX_PRMT_B4E] = {0x5670, 0x6701, 0x7012, 0x0123},
      [PTX_PRMT_RC8] = {0x0000, 0x1111, 0x2222, 0x3333}, [PTX_PRMT_ECL] = {0x3210, 0x3211, 0x3222, 0x3333},
      [PTX_PRMT_ECR] = {0x0000, 0x1110, 0x2210, 0x3210}, [PTX_PRMT_RC16] = {0x1010, 0x3232, 0x1010, 0x3232}};
  if (instruction->mode != PTX_PRMT_DEFAULT) {
    Value start = LLVMBuildAnd(b, choice, constant(type_of(choice), 3), "");
    choice = constant(type_of(choice), controls[instruction->mode][0]);
    for (unsigned i = 1; i < 4; i++) {
      Value here = LLVMBuildICmp(b, LLVMIntEQ, start, constant(type_of(start), i), "");
      choice = select_value(e, here, constant(type_of(choice), controls[instruction->mode][i]), choice);
    }
  }
  const Type wide_type = int_type(e, 64, is_wide(x)), type = type_of(x);
  Value both = LLVMBuildOr(b, LLVMBuildZExt(b, x, wide_type, ""),
                           LLVMBuildShl(b, LLVMBuildZExt(b, y, wide_type, ""), constant(wide_type, 32), ""), "");
  Value r = zero_of(x);
  for (unsigned i = 0; i < 4; i++) {
    Value nibble = LLVMBuildAnd(b, LLVMBuildLShr(b, choice, constant(type, 4 * i), ""), constant(type, 15), "");
    Value by = LLVMBuildShl(b, LLVMBuildAnd(b, nibble, constant(type, 7), ""), constant(type, 3), "");
    Value byte = LLVMBuildTrunc(b, LLVMBuildLShr(b, both, LLVMBuildZExt(b, by, wide_type, ""), ""), type, "");
    byte = LLVMBuildAnd(b, byte, constant(type, 255), "");
    Value sign = LLVMBuildICmp(b, LLVMIntUGT, byte, constant(type, 127), "");
    Value spread = select_value(e, sign, constant(type, 255), zero_of(byte));
    byte = select_value(e, LLVMBuildICmp(b, LLVMIntUGT, nibble, constant(type, 7), ""), spread, byte);
    r = LLVMBuildOr(b, r, LLVMBuildShl(b, byte, constant(type, 8 * i), ""), "");
  }
  return r;
}

static Value funnel(struct emitter *e, const struct ptx_instruction *instruction, Value low, Value high, Value amount) {
  LLVMBuilderRef b = e->builder;
  const bool left = instruction->op == PTX_SHF_L;
  if (!(instruction->flags & PTX_CLAMP)) {
    return call_intrinsic(e, left ? "llvm.fshl" : "llvm.fshr", type_of(low), 3, (Value[]){high, low, amount});
  }
  const Type wide_type = int_type(e, 64, is_wide(low));
  Value both = LLVMBuildOr(b, LLVMBuildZExt(b, low, wide_type, ""),
                           LLVMBuildShl(b, LLVMBuildZExt(b, high, wide_type, ""), constant(wide_type, 32), ""), "");
  Value n = LLVMBuildZExt(b, limited(e, amount, 32), wide_type, "");
  Value r = left ? LLVMBuildLShr(b, LLVMBuildShl(b, both, n, ""), constant(wide_type, 32), "")
                 : LLVMBuildLShr(b, both, n, "");
  return LLVMBuildTrunc(b, r, type_of(low), "");
}

static Value saturating(struct emitter *e, uint16_t op, Value x, Value y) {
  return call_intrinsic(e, op == PTX_ADD ? "llvm.sadd.sat" : "llvm.ssub.sat", type_of(x), 2, (Value[]){x, y});
}

static Value integer_arithmetic(struct emitter *e, const struct ptx_instruction *instruction, bool wide) {
  LLVMBuilderRef b = e->builder;
  const uint8_t type = instruction->type;
  const bool sign = is_signed(type);
  Value a[4] = {NULL, NULL, NULL, NULL};
  const unsigned bits = 8 * type_bytes(type);
  for (unsigned i = 0; i < instruction->src_count && i < 4; i++) {
    uint8_t operand_type = type;
    if (instruction->op == PTX_MAD_WIDE && i == 2) operand_type = bits == 16 ? PTX_U32 : PTX_U64;
    if ((instruction->op == PTX_SHL || instruction->op == PTX_SHR) && i == 1) operand_type = PTX_U32;
    if (instruction->op == PTX_BFE && i > 0) operand_type = PTX_U32;
    if (instruction->op == PTX_BFI && i > 1) operand_type = PTX_U32;
    a[i] = read_operand(e, &instruction->src[i], operand_type, wide);
  }
  switch (instruction->op) {
    case PTX_ADD:
      return instruction->flags & PTX_SAT ? saturating(e, PTX_ADD, a[0], a[1]) : LLVMBuildAdd(b, a[0], a[1], "");
    case PTX_SUB:
      return instruction->flags & PTX_SAT ? saturating(e, PTX_SUB, a[0], a[1]) : LLVMBuildSub(b, a[0], a[1], "");
    case PTX_MUL:
      return LLVMBuildMul(b, a[0], a[1], "");
    case PTX_MUL_HI:
      return product_high(e, a[0], a[1], sign);
    case PTX_MUL_WIDE:
      return LLVMBuildMul(b, resize_int(e, a[0], 2 * bits, sign), resize_int(e, a[1], 2 * bits, sign), "");
    case PTX_MAD:
      return LLVMBuildAdd(b, LLVMBuildMul(b, a[0], a[1], ""), a[2], "");
    case PTX_MAD_HI: {
      Value high = product_high(e, a[0], a[1], sign);
      return instruction->flags & PTX_SAT ? saturating(e, PTX_ADD, high, a[2]) : LLVMBuildAdd(b, high, a[2], "");
    }
    case PTX_MAD_WIDE:
      return LLVMBuildAdd(
          b, LLVMBuildMul(b, resize_int(e, a[0], 2 * bits, sign), resize_int(e, a[1], 2 * bits, sign), ""), a[2], "");
    case PTX_MUL24:
    case PTX_MUL24_HI:
    case PTX_MAD24:
    case PTX_MAD24_HI: {
      Value product = NULL, factors[2];
      for (int i = 0; i < 2; i++) {
        Value top = LLVMBuildShl(b, resize_int(e, a[i], 64, false), constant(int_type(e, 64, wide), 40), "");
        Value by = constant(type_of(top), 40);
        factors[i] = sign ? LLVMBuildAShr(b, top, by, "") : LLVMBuildLShr(b, top, by, "");
      }
      product = LLVMBuildMul(b, factors[0], factors[1], "");
      if (instruction->op == PTX_MUL24_HI || instruction->op == PTX_MAD24_HI) {
        product = LLVMBuildLShr(b, product, constant(type_of(product), 16), "");
      }
      product = resize_int(e, product, 32, false);
      return instruction->op == PTX_MUL24 || instruction->op == PTX_MUL24_HI ? product
                                                                             : LLVMBuildAdd(b, product, a[2], "");
    }
    case PTX_DP4A: {
      Value sum = a[2];
      for (unsigned i = 0; i < 4; i++) {
        Value byte[2];
        for (int k = 0; k < 2; k++) {
          const bool byte_sign = (k == 0 ? type : instruction->source_type) == PTX_S32;
          Value top = LLVMBuildShl(b, a[k], constant(type_of(a[k]), 24 - 8 * i), "");
          byte[k] = byte_sign ? LLVMBuildAShr(b, top, constant(type_of(top), 24), "")
                              : LLVMBuildLShr(b, top, constant(type_of(top), 24), "");
        }
        sum = LLVMBuildAdd(b, sum, LLVMBuildMul(b, byte[0], byte[1], ""), "");
      }
      return sum;
    }
    case PTX_SAD: {
      Value more = integer_extreme(e, a[0], a[1], true, sign), less = integer_extreme(e, a[0], a[1], false, sign);
      return LLVMBuildAdd(b, LLVMBuildSub(b, more, less, ""), a[2], "");
    }
    case PTX_ABS:
      return integer_extreme(e, a[0], LLVMBuildNeg(b, a[0], ""), true, true);
    case PTX_NEG:
      return LLVMBuildNeg(b, a[0], "");
    case PTX_MIN:
      return integer_extreme(e, a[0], a[1], false, sign);
    case PTX_MAX:
      return integer_extreme(e, a[0], a[1], true, sign);
    case PTX_POPC:
      return resize_int(e, call_intrinsic(e, "llvm.ctpop", type_of(a[0]), 1, a), 32, false);
    case PTX_CLZ:
      return resize_int(e, call_intrinsic(e, "llvm.ctlz", type_of(a[0]), 2, (Value[]){a[0], LLVMConstInt(e->i1, 0, 0)}),
                        32, false);
    case PTX_BFIND: {
      Value x = a[0];
      if (sign) x = LLVMBuildXor(b, x, LLVMBuildAShr(b, x, constant(type_of(x), bits - 1), ""), "");
      Value zeros = call_intrinsic(e, "llvm.ctlz", type_of(x), 2, (Value[]){x, LLVMConstInt(e->i1, 0, 0)});
      Value none = LLVMBuildICmp(b, LLVMIntEQ, x, zero_of(x), "");
      Value r =
          instruction->flags & PTX_SHIFT_AMOUNT ? zeros : LLVMBuildSub(b, constant(type_of(x), bits - 1), zeros, "");
      r = resize_int(e, r, 32, false);
      return select_value(e, none, constant(type_of(r), UINT64_MAX), r);
    }
    case PTX_BREV:
      return call_intrinsic(e, "llvm.bitreverse", type_of(a[0]), 1, a);
    case PTX_BFE:
      return bit_field_extract(e, a[0], LLVMBuildAnd(b, a[1], constant(type_of(a[1]), 255), ""),
                               LLVMBuildAnd(b, a[2], constant(type_of(a[2]), 255), ""), sign);
    case PTX_BFI:
      return bit_field_insert(e, a[0], a[1], LLVMBuildAnd(b, a[2], constant(type_of(a[2]), 255), ""),
                              LLVMBuildAnd(b, a[3], constant(type_of(a[3]), 255), ""));
    case PTX_AND:
      return LLVMBuildAnd(b, a[0], a[1], "");
    case PTX_OR:
      return LLVMBuildOr(b, a[0], a[1], "");
    case PTX_XOR:
      return LLVMBuildXor(b, a[0], a[1], "");
    case PTX_NOT:
      return LLVMBuildNot(b, a[0], "");
    case PTX_CNOT:
      return select_value(e, LLVMBuildICmp(b, LLVMIntEQ, a[0], zero_of(a[0]), ""), constant(type_of(a[0]), 1),
                          zero_of(a[0]));
    case PTX_LOP3:
      return logic3(e, a[0], a[1], a[2], instruction->lut);
    case PTX_SHL:
      return shift(e, PTX_SHL, a[0], a[1], false);
    case PTX_SHR:
      return shift(e, PTX_SHR, a[0], a[1], sign);
    case PTX_SHF_L:
    case PTX_SHF_R:
      return funnel(e, instruction, a[0], a[1], a[2]);
    case PTX_PRMT:
      return permute(e, instruction, a[0], a[1], a[2]);
    default:
      refuse(e, instruction, "it");
      return a[0] ? a[0] : constant(shaped(e->i32, wide), 0);
  }
}

/* Sums and products with a carry in, a carry out, or both. */
static void carry_chain(struct emitter *e, const struct ptx_instruction *instruction, bool wide) {
  LLVMBuilderRef b = e->builder;
  const uint8_t type = instruction->type;
  const bool in = instruction->flags & PTX_CARRY_IN, out = instruction->flags & PTX_CARRY_OUT;
  const bool product = instruction->op == PTX_MAD || instruction->op == PTX_MAD_HI;
  Value a[3] = {NULL, NULL, NULL};
  for (unsigned i = 0; i < (product ? 3u : 2u); i++) a[i] = read_operand(e, &instruction->src[i], type, wide);
  Value x = a[0], y = a[1];
  if (product) {
    x = instruction->op == PTX_MAD ? LLVMBuildMul(b, a[0], a[1], "") : product_high(e, a[0], a[1], is_signed(type));
    y = a[2];
  }
  /* A subtraction adds the complement and one: the flag is clear where it borrows. */
  const bool minus = instruction->op == PTX_SUB;
  if (minus) y = LLVMBuildNot(b, y, "");
  Value carry_in = in      ? read_operand(e, &instruction->src[instruction->src_count - 1], PTX_PRED, wide)
                   : minus ? LLVMBuildICmp(b, LLVMIntEQ, x, x, "")
                           : LLVMBuildICmp(b, LLVMIntNE, x, x, "");
  Value first = LLVMBuildAdd(b, x, y, "");
  Value r = LLVMBuildAdd(b, first, LLVMBuildZExt(b, carry_in, type_of(x), ""), "");
  Value carry =
      LLVMBuildOr(b, LLVMBuildICmp(b, LLVMIntULT, first, x, ""), LLVMBuildICmp(b, LLVMIntULT, r, first, ""), "");
  const struct shape uniform = {.kind = SHAPE_AFFINE};
  write_register(e, instruction, &instruction->dst[0], r, uniform, false);
  if (out) write_register(e, instruction, &instruction->dst[instruction->dst_count - 1], carry, uniform, false);
}

/* ---- comparisons ---- */

/* A half, or one of a pair (`shift`: 0 or 16), in single precision. */
static Value widened_half(struct emitter *e, const struct ptx_instruction *instruction, unsigned operand, uint8_t type,
                          unsigned shift, bool wide) {
  LLVMBuilderRef b = e->builder;
  const bool brain = type == PTX_BF16 || type == PTX_BF16X2;
  Value bits = resize_int(e, as_bits(e, read_operand(e, &instruction->src[operand], type, wide)), 32, false);
  const Type all = type_of(bits);
  if (brain) {
    bits = LLVMBuildAnd(b, bits, constant(all, shift ? 0xffff0000u : 0xffff), "");
    return as_float(e, shift ? bits : LLVMBuildShl(b, bits, constant(all, 16), ""));
  }
  bits = resize_int(e, LLVMBuildLShr(b, bits, constant(all, shift), ""), 16, false);
  if (instruction->flags & PTX_FTZ) {
    Value exponent = LLVMBuildAnd(b, bits, constant(type_of(bits), 0x7c00), "");
    Value zero = LLVMBuildAnd(b, bits, constant(type_of(bits), 0x8000), "");
    bits = select_value(e, LLVMBuildICmp(b, LLVMIntEQ, exponent, zero_of(bits), ""), zero, bits);
  }
  return LLVMBuildFPExt(b, as_float(e, bits), shaped(e->f32, wide), "");
}

/* `shift`: 16 for the upper halves of pairs. */
static Value compare(struct emitter *e, const struct ptx_instruction *instruction, uint8_t type, unsigned shift,
                     bool wide) {
  LLVMBuilderRef b = e->builder;
  Value x, y;
  if (is_half(type)) {
    x = widened_half(e, instruction, 0, type, shift, wide);
    y = widened_half(e, instruction, 1, type, shift, wide);
  } else {
    x = read_operand(e, &instruction->src[0], type, wide);
    y = read_operand(e, &instruction->src[1], type, wide);
  }
  if (is_float(type) || is_half(type)) {
    static const LLVMRealPredicate predicates[] = {
        [PTX_EQ] = LLVMRealOEQ,  [PTX_NE] = LLVMRealONE,  [PTX_LT] = LLVMRealOLT,  [PTX_LE] = LLVMRealOLE,
        [PTX_GT] = LLVMRealOGT,  [PTX_GE] = LLVMRealOGE,  [PTX_EQU] = LLVMRealUEQ, [PTX_NEU] = LLVMRealUNE,
        [PTX_LTU] = LLVMRealULT, [PTX_LEU] = LLVMRealULE, [PTX_GTU] = LLVMRealUGT, [PTX_GEU] = LLVMRealUGE,
        [PTX_NUM] = LLVMRealORD, [PTX_NAN] = LLVMRealUNO};
    if (instruction->flags & PTX_FTZ && type == PTX_F32) x = flush_subnormal(e, x), y = flush_subnormal(e, y);
    return LLVMBuildFCmp(b, predicates[instruction->mode], x, y, "");
  }
  const bool sign = is_signed(type);
  LLVMIntPredicate predicate;
  switch (instruction->mode) {
    case PTX_EQ:
      predicate = LLVMIntEQ;
      break;
    case PTX_NE:
      predicate = LLVMIntNE;
      break;
    case PTX_LT:
      predicate = sign ? LLVMIntSLT : LLVMIntULT;
      break;
    case PTX_LE:
      predicate = sign ? LLVMIntSLE : LLVMIntULE;
      break;
    case PTX_GT:
      predicate = sign ? LLVMIntSGT : LLVMIntUGT;
      break;
    case PTX_GE:
      predicate = sign ? LLVMIntSGE : LLVMIntUGE;
      break;
    case PTX_LO:
      predicate = LLVMIntULT;
      break;
    case PTX_LS:
      predicate = LLVMIntULE;
      break;
    case PTX_HI:
      predicate = LLVMIntUGT;
      break;
    default:
      predicate = LLVMIntUGE;
      break;
  }
  return LLVMBuildICmp(b, predicate, x, y, "");
}

static Value combine(struct emitter *e, const struct ptx_instruction *instruction, Value outcome, bool wide) {
  if (instruction->combine == PTX_COMBINE_NONE || instruction->src_count < 3) return outcome;
  Value with = read_operand(e, &instruction->src[2], PTX_PRED, wide);
  if (instruction->combine == PTX_COMBINE_AND) return LLVMBuildAnd(e->builder, outcome, with, "");
  if (instruction->combine == PTX_COMBINE_OR) return LLVMBuildOr(e->builder, outcome, with, "");
  return LLVMBuildXor(e->builder, outcome, with, "");
}

static void emit_setp(struct emitter *e, const struct ptx_instruction *instruction, bool wide) {
  const struct shape uniform = {.kind = SHAPE_AFFINE};
  const bool pair = instruction->type == PTX_F16X2 || instruction->type == PTX_BF16X2;
  Value outcome = compare(e, instruction, instruction->type, 0, wide);
  Value first = combine(e, instruction, outcome, wide), second = NULL;
  if (instruction->dst_count > 1) { /* of pairs: what holds for the upper halves */
    second = pair ? compare(e, instruction, instruction->type, 16, wide) : LLVMBuildNot(e->builder, outcome, "");
    second = combine(e, instruction, second, wide);
  }
  write_register(e, instruction, &instruction->dst[0], first, uniform, false);
  if (second) write_register(e, instruction, &instruction->dst[1], second, uniform, false);
}

static Value test_property(struct emitter *e, const struct ptx_instruction *instruction, bool wide) {
  LLVMBuilderRef b = e->builder;
  Value x = read_operand(e, &instruction->src[0], instruction->type, wide), bits = as_bits(e, x);
  const Type type = type_of(bits);
  const bool single = instruction->type == PTX_F32;
  const uint64_t infinity = single ? 0x7f800000 : 0x7ff0000000000000, least = single ? 0x00800000 : 0x0010000000000000;
  Value size = LLVMBuildAnd(b, bits, constant(type, single ? 0x7fffffff : 0x7fffffffffffffff), "");
  Value normal = LLVMBuildAnd(b, LLVMBuildICmp(b, LLVMIntUGE, size, constant(type, least), ""),
                              LLVMBuildICmp(b, LLVMIntULT, size, constant(type, infinity), ""), "");
  switch (instruction->mode) {
    case PTX_TEST_FINITE:
      return LLVMBuildICmp(b, LLVMIntULT, size, constant(type, infinity), "");
    case PTX_TEST_INFINITE:
      return LLVMBuildICmp(b, LLVMIntEQ, size, constant(type, infinity), "");
    case PTX_TEST_NUMBER:
      return LLVMBuildICmp(b, LLVMIntULE, size, constant(type, infinity), "");
    case PTX_TEST_NOTANUMBER:
      return LLVMBuildICmp(b, LLVMIntUGT, size, constant(type, infinity), "");
    case PTX_TEST_NORMAL:
      return normal;
    default:
      return LLVMBuildAnd(b, LLVMBuildICmp(b, LLVMIntULT, size, constant(type, least), ""),
                          LLVMBuildICmp(b, LLVMIntNE, size, zero_of(size), ""), "");
  }
}

/* ---- conversions ---- */

static Value round_integral(struct emitter *e, uint8_t rounding, Value x) {
  const char *name = rounding == PTX_RNI   ? "llvm.roundeven"
                     : rounding == PTX_RZI ? "llvm.trunc"
                     : rounding == PTX_RMI ? "llvm.floor"
                                           : "llvm.ceil";
  return call_intrinsic(e, name, type_of(x), 1, &x);
}

static Value clamp_integer(struct emitter *e, Value x, bool from_signed, unsigned bits, bool to_signed) {
  const Type type = type_of(x);
  const unsigned have = element_bits(x);
  const uint64_t most = to_signed    ? ((uint64_t)1 << (bits - 1)) - 1
                        : bits == 64 ? UINT64_MAX
                                     : ((uint64_t)1 << bits) - 1;
  const int64_t least = to_signed ? -(int64_t)(most)-1 : 0;
  const bool most_fits = from_signed ? most < (uint64_t)1 << (have - 1) : have == 64 || most < (uint64_t)1 << have;
  if (most_fits) x = integer_extreme(e, x, constant(type, most), false, from_signed);
  if (from_signed && (!to_signed || bits < have))
    x = integer_extreme(e, x, constant(type, (uint64_t)least), true, true);
  return x;
}

/* The nearest integer of 32 or 64 bits to an integral x, 0 for NaN. Written out, as LLVM 14 does its own saturating
 * conversions lane by lane. */
static Value integer_from_float(struct emitter *e, Value x, unsigned bits, bool sign) {
  LLVMBuilderRef b = e->builder;
  const unsigned exponent = sign ? bits - 1 : bits, precision = element_bits(x) == 64 ? 53 : 24;
  const Type type = int_type(e, bits, is_wide(x)), floats = type_of(x);
  /* The largest number of x's type that is below 2^exponent and fits. */
  const double most = ldexp(1.0, (int)exponent),
               largest = most - (exponent > precision ? most / ldexp(1.0, (int)precision) : 1.0);
  Value least = constant_float(floats, sign ? -most : 0.0), greatest = constant_float(floats, largest);
  Value inside = select_value(e, LLVMBuildFCmp(b, LLVMRealOGT, x, least, ""), x, least);
  inside = select_value(e, LLVMBuildFCmp(b, LLVMRealOLT, inside, greatest, ""), inside, greatest);
  Value r = sign ? LLVMBuildFPToSI(b, inside, type, "") : LLVMBuildFPToUI(b, inside, type, "");
  Value above = LLVMBuildFCmp(b, LLVMRealOGE, x, constant_float(floats, most), "");
  const uint64_t all = UINT64_MAX >> (64 - exponent); /* exponent: 31, 32, 63, 64 */
  r = select_value(e, above, constant(type, all), r);
  return select_value(e, LLVMBuildFCmp(b, LLVMRealUNO, x, x, ""), LLVMConstNull(type), r);
}

static Value bf16_from_f32(struct emitter *e, const struct ptx_instruction *instruction, Value x) {
  LLVMBuilderRef b = e->builder;
  Value bits = as_bits(e, x);
  const Type type = type_of(bits);
  Value high = LLVMBuildLShr(b, bits, constant(type, 16), "");
  if (instruction->rounding == PTX_RN) {
    Value odd = LLVMBuildAnd(b, high, constant(type, 1), "");
    high = LLVMBuildLShr(b, LLVMBuildAdd(b, LLVMBuildAdd(b, bits, constant(type, 0x7fff), ""), odd, ""),
                         constant(type, 16), "");
  }
  high = select_value(e, LLVMBuildFCmp(b, LLVMRealUNO, x, x, ""), constant(type, 0x7fff), high);
  return resize_int(e, high, 16, false);
}

/* cvt.rna.tf32.f32: to ten bits of fraction, ties away from zero. What carries beyond the largest number is infinite.
 */
static Value round_to_tf32(struct emitter *e, const struct ptx_instruction *instruction, bool wide) {
  LLVMBuilderRef b = e->builder;
  Value x = read_operand(e, &instruction->src[0], PTX_F32, wide), bits = as_bits(e, x);
  Value half = constant(type_of(bits), 0x1000), kept = constant(type_of(bits), 0xffffe000);
  Value rounded = LLVMBuildAnd(b, LLVMBuildAdd(b, bits, half, ""), kept, "");
  return select_value(e, LLVMBuildFCmp(b, LLVMRealUNO, x, x, ""), constant(type_of(bits), 0x7fffffff), rounded);
}

static Value convert(struct emitter *e, const struct ptx_instruction *instruction, bool wide) {
  LLVMBuilderRef b = e->builder;
  if (instruction->type == PTX_TF32) return round_to_tf32(e, instruction, wide);
  const uint8_t to = instruction->type, from = instruction->source_type;
  const bool to_half = to == PTX_F16 || to == PTX_BF16, from_half = from == PTX_F16 || from == PTX_BF16;
  const bool to_float = is_float(to) || to_half, from_float = is_float(from) || from_half;
  const unsigned to_bits = 8 * type_bytes(to), from_bits = 8 * type_bytes(from);
  Value x = read_operand(e, &instruction->src[0], from, wide);
  const bool flush = instruction->flags & PTX_FTZ;
  if (flush && from == PTX_F32) x = flush_subnormal(e, x);
  if (!to_float && !from_float) {
    if (instruction->flags & PTX_SAT) x = clamp_integer(e, x, is_signed(from), to_bits, is_signed(to));
    return resize_int(e, x, to_bits, is_signed(from));
  }
  if (!to_float) {
    if (from == PTX_F16) x = LLVMBuildFPExt(b, x, shaped(e->f32, wide), "");
    x = round_integral(e, instruction->rounding, x);
    /* Out of range: the nearest bound. NaN: 0, but the top bit alone from f64 and to 64 bits. */
    const unsigned work = to_bits < 32 ? 32 : to_bits;
    Value r = integer_from_float(e, x, work, is_signed(to));
    if (work != to_bits) r = resize_int(e, clamp_integer(e, r, is_signed(to), to_bits, is_signed(to)), to_bits, false);
    if (from == PTX_F64 || to_bits == 64) {
      Value none = constant(type_of(r), (uint64_t)1 << (to_bits - 1));
      r = select_value(e, LLVMBuildFCmp(b, LLVMRealUNO, x, x, ""), none, r);
    }
    return r;
  }
  if (!from_float) {
    const Type type = shaped(to == PTX_F16 ? e->f16 : to == PTX_F32 ? e->f32 : e->f64, wide);
    const bool exact = (to == PTX_F64 && from_bits <= 32) || (to == PTX_F32 && from_bits <= 16);
    if (instruction->rounding != PTX_RN && !exact) {
      if (to == PTX_F16)
        refuse(e, instruction, "with this rounding");
      else
        return compute_rare(e, instruction, wide);
    }
    Value r = is_signed(from) ? LLVMBuildSIToFP(b, x, type, "") : LLVMBuildUIToFP(b, x, type, "");
    if (instruction->flags & PTX_SAT) r = saturate(e, r);
    return r;
  }
  Value r = x;
  if (from == PTX_BF16) {
    Value bits = LLVMBuildShl(b, LLVMBuildZExt(b, as_bits(e, x), int_type(e, 32, wide), ""),
                              constant(int_type(e, 32, wide), 16), "");
    r = canonical_nan(e, as_float(e, bits));
  } else if (to == PTX_BF16) {
    if (instruction->flags & PTX_RELU || (instruction->rounding != PTX_RN && instruction->rounding != PTX_RZ))
      refuse(e, instruction, "in this form");
    return bf16_from_f32(e, instruction, x);
  } else if (to == from) {
    if (instruction->rounding >= PTX_RNI && instruction->rounding <= PTX_RPI)
      r = round_integral(e, instruction->rounding, x);
  } else if (to_bits > from_bits) {
    r = LLVMBuildFPExt(b, x, shaped(to == PTX_F32 ? e->f32 : e->f64, wide), "");
    if (from == PTX_F16) { /* by the bits: LLVM would compare the halves instead, one by one */
      Value bits = as_bits(e, r);
      const Type type = type_of(bits);
      Value size = LLVMBuildAnd(b, bits, constant(type, to == PTX_F32 ? 0x7fffffffu : 0x7fffffffffffffffu), "");
      Value infinity = constant(type, to == PTX_F32 ? 0x7f800000u : 0x7ff0000000000000u);
      Value nan = as_float(e, constant(type, to == PTX_F32 ? 0x7fffffffu : 0x7fffffffffffffffu));
      r = select_value(e, LLVMBuildICmp(b, LLVMIntSGT, size, infinity, ""), nan, r);
    }
  } else {
    if (to == PTX_F32 && instruction->rounding != PTX_RN) return compute_rare(e, instruction, wide);
    if (instruction->rounding != PTX_RN || instruction->flags & PTX_RELU) refuse(e, instruction, "with this rounding");
    r = LLVMBuildFPTrunc(b, x, shaped(to == PTX_F16 ? e->f16 : e->f32, wide), "");
    if (to == PTX_F16) {
      Value nan = constant(int_type(e, 16, wide), 0x7fff);
      return as_float(e, select_value(e, LLVMBuildFCmp(b, LLVMRealUNO, x, x, ""), nan, as_bits(e, r)));
    }
  }
  if (flush && to == PTX_F32) r = canonical_nan(e, flush_subnormal(e, r));
  if (instruction->flags & PTX_SAT) r = saturate(e, r);
  return r;
}

/* ---- moves ---- */

static void emit_pack(struct emitter *e, const struct ptx_instruction *instruction, bool wide) {
  LLVMBuilderRef b = e->builder;
  const unsigned parts = instruction->src_count > 1 ? instruction->src_count : instruction->dst_count;
  const unsigned bits = 8 * type_bytes(instruction->type), each = bits / parts;
  const uint8_t part_type = each == 8    ? PTX_B8
                            : each == 16 ? PTX_B16
                                         : PTX_B32,
                whole_type = bits == 16   ? PTX_B16
                             : bits == 32 ? PTX_B32
                                          : PTX_B64;
  const struct shape uniform = {.kind = SHAPE_AFFINE};
  if (bits > 64) {
    refuse(e, instruction, "of 128 bits");
    return;
  }
  if (instruction->src_count > 1) {
    Value r = LLVMConstNull(int_type(e, bits, wide));
    for (unsigned i = 0; i < parts; i++) {
      Value part = LLVMBuildZExt(b, as_bits(e, read_operand(e, &instruction->src[i], part_type, wide)), type_of(r), "");
      r = LLVMBuildOr(b, r, LLVMBuildShl(b, part, constant(type_of(r), i * each), ""), "");
    }
    write_register(e, instruction, &instruction->dst[0], r, uniform, false);
    return;
  }
  Value whole = as_bits(e, read_operand(e, &instruction->src[0], whole_type, wide)), out[4];
  for (unsigned i = 0; i < parts; i++) {
    out[i] =
        LLVMBuildTrunc(b, LLVMBuildLShr(b, whole, constant(type_of(whole), i * each), ""), int_type(e, each, wide), "");
  }
  for (unsigned i = 0; i < parts; i++) write_register(e, instruction, &instruction->dst[i], out[i], uniform, false);
}

/* The base of a state space as a generic address; in .local that of the warp's first thread. */
static Value space_base(struct emitter *e, uint8_t space) {
  switch (space) {
    case PTX_SHARED:
      return LLVMBuildPtrToInt(e->builder, e->shared, e->i64, "");
    case PTX_LOCAL:
      return LLVMBuildPtrToInt(e->builder, e->local, e->i64, "");
    case PTX_PARAM:
      return LLVMBuildPtrToInt(e->builder, e->params, e->i64, "");
    default:
      return constant(e->i64, 0);
  }
}

static Value convert_address(struct emitter *e, const struct ptx_instruction *instruction, bool wide) {
  LLVMBuilderRef b = e->builder;
  Value x = resize_int(e, read_operand(e, &instruction->src[0], instruction->type, wide), 64, false);
  Value base = space_base(e, instruction->space);
  if (wide) base = splat(e, base);
  if (wide && instruction->space == PTX_LOCAL) {
    int64_t lanes[WARP_LANES];
    for (int i = 0; i < WARP_LANES; i++) lanes[i] = i * local_stride(e->function);
    base = LLVMBuildAdd(b, base, lane_constants(e, e->i64, lanes, 0), "");
  }
  return instruction->op == PTX_CVTA ? LLVMBuildAdd(b, x, base, "") : LLVMBuildSub(b, x, base, "");
}

static Value in_space(struct emitter *e, const struct ptx_instruction *instruction, bool wide) {
  LLVMBuilderRef b = e->builder;
  Value x = read_operand(e, &instruction->src[0], PTX_U64, wide), inside[2];
  static const uint8_t spaces[2] = {PTX_SHARED, PTX_LOCAL};
  for (int i = 0; i < 2; i++) {
    Value base = space_base(e, spaces[i]);
    Value bytes = i == 0 ? e->shared_bytes : constant(e->i64, (uint64_t)local_stride(e->function) * WARP_LANES);
    if (wide) base = splat(e, base), bytes = splat(e, bytes);
    inside[i] = LLVMBuildICmp(b, LLVMIntULT, LLVMBuildSub(b, x, base, ""), bytes, "");
  }
  if (instruction->space == PTX_SHARED) return inside[0];
  if (instruction->space == PTX_LOCAL) return inside[1];
  if (instruction->space != PTX_GLOBAL) refuse(e, instruction, "for this state space");
  return LLVMBuildNot(b, LLVMBuildOr(b, inside[0], inside[1], ""), "");
}

/* ---- dispatch ---- */

/* The result of a one-result instruction for the operands' bases, or for all lanes. */
static Value compute(struct emitter *e, const struct ptx_instruction *instruction, bool wide) {
  LLVMBuilderRef b = e->builder;
  const uint8_t type = instruction->type;
  if (is_rare(instruction)) return compute_rare(e, instruction, wide);
  switch (instruction->op) {
    case PTX_ADD:
    case PTX_SUB:
    case PTX_MUL:
      return is_float(type) ? float_arithmetic(e, instruction, wide) : integer_arithmetic(e, instruction, wide);
    case PTX_FMA:
      return float_arithmetic(e, instruction, wide);
    case PTX_MIN:
    case PTX_MAX:
      return is_float(type) ? float_extreme(e, instruction, wide) : integer_arithmetic(e, instruction, wide);
    case PTX_DIV:
      return is_float(type) ? float_division(e, instruction, wide) : integer_division(e, instruction, wide);
    case PTX_REM:
      return integer_division(e, instruction, wide);
    case PTX_ABS:
    case PTX_NEG: {
      if (!is_float(type)) return integer_arithmetic(e, instruction, wide);
      Value x = read_operand(e, &instruction->src[0], type, wide);
      if (instruction->flags & PTX_FTZ && type == PTX_F32) x = flush_subnormal(e, x);
      Value bits = as_bits(e, x);
      const uint64_t sign = (uint64_t)1 << (element_bits(bits) - 1);
      return as_float(e, instruction->op == PTX_ABS ? LLVMBuildAnd(b, bits, constant(type_of(bits), sign - 1), "")
                                                    : LLVMBuildXor(b, bits, constant(type_of(bits), sign), ""));
    }
    case PTX_COPYSIGN: { /* the sign of a, the size of b */
      Value x = as_bits(e, read_operand(e, &instruction->src[0], type, wide)),
            y = as_bits(e, read_operand(e, &instruction->src[1], type, wide));
      const uint64_t sign = (uint64_t)1 << (element_bits(x) - 1);
      return as_float(e, LLVMBuildOr(b, LLVMBuildAnd(b, x, constant(type_of(x), sign), ""),
                                     LLVMBuildAnd(b, y, constant(type_of(y), sign - 1), ""), ""));
    }
    case PTX_RCP:
    case PTX_SQRT:
    case PTX_RSQRT:
    case PTX_SIN:
    case PTX_COS:
    case PTX_LG2:
    case PTX_EX2:
    case PTX_TANH:
      if (instruction->rounding > PTX_RN && instruction->rounding <= PTX_RP) return compute_rare(e, instruction, wide);
      return emit_special(e, instruction, read_operand(e, &instruction->src[0], type, wide), wide);
    case PTX_TESTP:
      return test_property(e, instruction, wide);
    case PTX_SET: {
      Value outcome = combine(e, instruction, compare(e, instruction, instruction->source_type, 0, wide), wide);
      if (is_half(type) || is_half(instruction->source_type)) {
        const bool brain = type == PTX_BF16 || type == PTX_BF16X2;
        const bool pair = instruction->source_type == PTX_F16X2 || instruction->source_type == PTX_BF16X2;
        const unsigned bits = 8 * type_bytes(type);
        const uint64_t one = !is_half(type) ? (pair ? 0xffff : UINT64_MAX) : brain ? 0x3f80 : 0x3c00;
        const Type all = int_type(e, bits, wide);
        Value r = select_value(e, outcome, constant(all, one), LLVMConstNull(all));
        if (!pair) return r;
        outcome = combine(e, instruction, compare(e, instruction, instruction->source_type, 16, wide), wide);
        return LLVMBuildOr(b, r, select_value(e, outcome, constant(all, one << 16), LLVMConstNull(all)), "");
      }
      if (is_float(type))
        return select_value(e, outcome, constant_float(shaped(e->f32, wide), 1.0), LLVMConstNull(shaped(e->f32, wide)));
      return LLVMBuildSExt(b, outcome, int_type(e, 8 * type_bytes(type), wide), "");
    }
    case PTX_SELP: {
      Value x = read_operand(e, &instruction->src[0], type, wide),
            y = read_operand(e, &instruction->src[1], type, wide);
      return select_value(e, read_operand(e, &instruction->src[2], PTX_PRED, wide), x, y);
    }
    case PTX_SLCT: {
      Value x = read_operand(e, &instruction->src[0], type, wide),
            y = read_operand(e, &instruction->src[1], type, wide);
      Value c = read_operand(e, &instruction->src[2], instruction->source_type, wide);
      if (instruction->source_type == PTX_F32) {
        if (instruction->flags & PTX_FTZ) c = flush_subnormal(e, c);
        return select_value(e, LLVMBuildFCmp(b, LLVMRealOGE, c, zero_of(c), ""), x, y);
      }
      return select_value(e, LLVMBuildICmp(b, LLVMIntSGE, c, zero_of(c), ""), x, y);
    }
    case PTX_AND:
    case PTX_OR:
    case PTX_XOR:
    case PTX_NOT: {
      if (type != PTX_PRED) return integer_arithmetic(e, instruction, wide);
      Value x = read_operand(e, &instruction->src[0], type, wide);
      if (instruction->op == PTX_NOT) return LLVMBuildNot(b, x, "");
      Value y = read_operand(e, &instruction->src[1], type, wide);
      return instruction->op == PTX_AND  ? LLVMBuildAnd(b, x, y, "")
             : instruction->op == PTX_OR ? LLVMBuildOr(b, x, y, "")
                                         : LLVMBuildXor(b, x, y, "");
    }
    case PTX_MOV:
      return read_operand(e, &instruction->src[0], type, wide);
    case PTX_CVT:
      return convert(e, instruction, wide);
    case PTX_CVTA:
    case PTX_CVTA_TO:
      return convert_address(e, instruction, wide);
    case PTX_ISSPACEP:
      return in_space(e, instruction, wide);
    default:
      return integer_arithmetic(e, instruction, wide);
  }
}

void emit_arithmetic(struct emitter *e, const struct ptx_instruction *instruction) {
  bool uniform = true;
  for (unsigned i = 0; i < instruction->src_count; i++) {
    uniform = uniform && shape_uniform(operand_shape(e->analysis, &instruction->src[i]));
  }
  if (instruction->flags & (PTX_CARRY_IN | PTX_CARRY_OUT)) {
    carry_chain(e, instruction, !uniform);
    return;
  }
  if (instruction->op == PTX_MOV && (instruction->src_count > 1 || instruction->dst_count > 1)) {
    emit_pack(e, instruction, !uniform);
    return;
  }
  int64_t delta;
  const struct shape shape = result_shape(e->analysis, instruction, 0, &delta);
  if (instruction->op == PTX_SETP) {
    emit_setp(e, instruction, !shape_uniform(shape));
    return;
  }
  if (instruction->dst_count != 1) {
    refuse(e, instruction, "in this form");
    return;
  }
  const bool wide = shape.kind != SHAPE_AFFINE;
  Value value = compute(e, instruction, wide);
  if (e->failed) return;
  if (!wide && delta) value = LLVMBuildAdd(e->builder, value, constant(LLVMTypeOf(value), (uint64_t)delta), "");
  write_register(e, instruction, &instruction->dst[0], value, shape, is_signed(instruction->type));
}
