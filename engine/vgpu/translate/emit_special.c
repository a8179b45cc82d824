/* Approximate and transcendental functions, inlined: the same IEEE operations in the same order as special_body.h,
 * which the interpreter runs, so that both give the same bits. */
#include <string.h>

#include "engine/vgpu/translate/emitter.h"

static Type type_of(Value value) { return LLVMTypeOf(value); }
static Value number(Value like, double value) { return constant_float(LLVMTypeOf(like), value); }

static Value select_value(struct emitter *e, Value condition, Value yes, Value no) {
  return LLVMBuildSelect(e->builder, condition, yes, no, "");
}

static Value fused(struct emitter *e, Value a, Value x, Value c) {
  return call_intrinsic(e, "llvm.fma", type_of(a), 3, (Value[]){a, x, c});
}

/* Horner's rule from the highest coefficient. */
static Value polynomial(struct emitter *e, Value x, const double *coefficients, unsigned count) {
  Value p = number(x, coefficients[0]);
  for (unsigned i = 1; i < count; i++) p = fused(e, p, x, number(x, coefficients[i]));
  return p;
}

static Value nan_result(struct emitter *e, Value condition, Value r) {
  Value bits = constant(type_of(as_bits(e, r)), 0x7fffffff);
  return select_value(e, condition, as_float(e, bits), r);
}

static Value canonical(struct emitter *e, Value r) {
  return nan_result(e, LLVMBuildFCmp(e->builder, LLVMRealUNO, r, r, ""), r);
}

static Value absolute(struct emitter *e, Value x) {
  Value bits = as_bits(e, x);
  const uint64_t mask = element_bits(x) == 32 ? 0x7fffffff : 0x7fffffffffffffff;
  return as_float(e, LLVMBuildAnd(e->builder, bits, constant(type_of(bits), mask), ""));
}

/* 2^f, |f| <= 1/2 */
static Value fraction_power(struct emitter *e, Value f) {
  static const double coefficients[] = {0x1.41d332d661e40p-13f,
                                        0x1.5f456a8929f00p-10f,
                                        0x1.3b2dbbc1da348p-7f,
                                        0x1.c6aed4b954c10p-5f,
                                        0x1.ebfbdadcaf752p-3f,
                                        0x1.62e430c7e9204p-1f,
                                        1.0f};
  return polynomial(e, f, coefficients, 7);
}

/* The bits of p 2^n; n stands in the low bits of `shifted`. */
static Value scaled_bits(struct emitter *e, Value p, Value shifted) {
  Value bits = as_bits(e, shifted);
  return LLVMBuildAdd(e->builder, as_bits(e, p), LLVMBuildShl(e->builder, bits, constant(type_of(bits), 23), ""), "");
}

enum exponential_form {
  EXPONENTIAL,
  EXPONENTIAL_FLUSHED, /* subnormal results are zero */
  EXPONENTIAL_ADDED    /* what is below 2^-126 is something between zero and that */
};

static Value exponential(struct emitter *e, Value a, enum exponential_form form) {
  LLVMBuilderRef b = e->builder;
  Value least = number(a, form == EXPONENTIAL_ADDED ? -127.0 : -160.0), most = number(a, 128.0), bounded = a;
  if (form != EXPONENTIAL_FLUSHED) bounded = select_value(e, LLVMBuildFCmp(b, LLVMRealOLT, a, least, ""), least, a);
  bounded = select_value(e, LLVMBuildFCmp(b, LLVMRealOGT, bounded, most, ""), most, bounded);
  Value shifted = LLVMBuildFAdd(b, bounded, number(a, 12582912.0), "");
  Value n = LLVMBuildFSub(b, shifted, number(a, 12582912.0), ""), f = LLVMBuildFSub(b, bounded, n, "");
  Value power = fraction_power(e, f), bits = scaled_bits(e, power, shifted), zero = LLVMConstNull(type_of(bits));
  Value p = as_float(e, bits);
  if (form == EXPONENTIAL_FLUSHED) {
    /* Exactly below -126 the result is subnormal: the next f there is so far from 0 that its power is not rounded to 1.
     * From -126 on the exponent fits. */
    Value normal = LLVMBuildFCmp(b, LLVMRealOGE, a, number(a, -126.0), "");
    p = as_float(e, select_value(e, normal, bits, zero));
  } else if (form == EXPONENTIAL) {
    Value low = LLVMBuildFCmp(b, LLVMRealOLT, a, number(a, -125.0), "");
    bits = LLVMBuildAdd(b, bits, select_value(e, low, constant(type_of(bits), 64u << 23), zero), "");
    p = LLVMBuildFMul(b, as_float(e, bits), select_value(e, low, number(a, 0x1p-64), number(a, 1.0)), "");
  }
  /* With a lower bound f is no number only if `a` is none, and so is its power, which is at hand here. */
  Value tested = form == EXPONENTIAL_FLUSHED ? a : power;
  return nan_result(e, LLVMBuildFCmp(b, LLVMRealUNO, tested, tested, ""), p);
}

/* Whether the result of `exponential` is only ever added to a constant that nothing below 2^-126 changes, as 1 is where
 * a sigmoid adds it. */
static bool is_only_added(const struct emitter *e, const struct ptx_instruction *exponential) {
  const struct ptx_function *function = e->function;
  const uint32_t r = exponential->dst[0].index;
  if (exponential->dst_count != 1 || exponential->dst[0].kind != PTX_OPERAND_REGISTER || exponential->guard != PTX_NONE)
    return false;
  for (uint32_t i = 0; i < function->instruction_count; i++) {
    const struct ptx_instruction *at = &function->instructions[i];
    bool reads = at->guard == r;
    for (unsigned k = 0; k < at->src_count; k++)
      reads |= at->src[k].kind == PTX_OPERAND_REGISTER && at->src[k].index == r;
    for (unsigned k = 0; k < at->dst_count; k++)
      if (at != exponential && at->dst[k].kind == PTX_OPERAND_REGISTER && at->dst[k].index == r) return false;
    if (!reads) continue;
    if (at->op != PTX_ADD || at->type != PTX_F32 || at->rounding > PTX_RN || at->src_count != 2) return false;
    const struct ptx_operand *other = &at->src[at->src[0].kind == PTX_OPERAND_REGISTER && at->src[0].index == r];
    float value;
    const uint32_t bits = (uint32_t)other->value;
    memcpy(&value, &bits, sizeof value);
    if (other->kind != PTX_OPERAND_IMMEDIATE || !(__builtin_fabsf(value) > 1e-20f)) return false;
  }
  return true;
}

static Value logarithm(struct emitter *e, Value a, bool flush) {
  LLVMBuilderRef b = e->builder;
  static const double coefficients[] = {-0.10994941486704785f, 0.18617488723708128f,  -0.19106277504939942f,
                                        0.2046006334125591f,   -0.23961740267926387f, 0.2885674075790594f,
                                        -0.36069664942051866f, 0.4808982410730594f,   -0.7213473515005752f};
  if (flush) a = flush_subnormal(e, a);
  Value small = LLVMBuildFCmp(b, LLVMRealOLT, a, number(a, 0x1p-126), "");
  Value scaled = select_value(e, small, LLVMBuildFMul(b, a, number(a, 0x1p24), ""), a);
  Value bits = as_bits(e, scaled);
  const Type type = type_of(bits);
  bits = LLVMBuildSub(b, bits, constant(type, 0x3f3504f3), "");
  Value exponent = LLVMBuildAShr(b, bits, constant(type, 23), "");
  Value mantissa = LLVMBuildAdd(b, LLVMBuildAnd(b, bits, constant(type, 0x7fffff), ""), constant(type, 0x3f3504f3), "");
  Value f = LLVMBuildFSub(b, as_float(e, mantissa), number(a, 1.0), "");
  exponent = LLVMBuildSub(b, exponent, select_value(e, small, constant(type, 24), LLVMConstNull(type)), "");
  Value n = LLVMBuildSIToFP(b, exponent, type_of(a), "");
  Value p = LLVMBuildFMul(b, polynomial(e, f, coefficients, 9), f, "");
  Value r = fused(e, f, number(a, 1.925963033500011e-08f), LLVMBuildFMul(b, p, f, ""));
  r = LLVMBuildFAdd(b, n, fused(e, f, number(a, 1.4426950216293335f), r), "");
  Value infinity = number(a, __builtin_inf()), zero = LLVMConstNull(type_of(a));
  r = select_value(e, LLVMBuildFCmp(b, LLVMRealOEQ, a, infinity, ""), infinity, r);
  r = select_value(e, LLVMBuildFCmp(b, LLVMRealOEQ, a, zero, ""), number(a, -__builtin_inf()), r);
  return nan_result(e, LLVMBuildFCmp(b, LLVMRealULT, a, zero, ""), r);
}

/* sin and cos of arguments beyond 2^30 are left to the C library, in a helper. */
static Value sine_cosine(struct emitter *e, const struct ptx_instruction *instruction, Value x, bool flush,
                         bool cosine_wanted) {
  LLVMBuilderRef b = e->builder;
  const bool wide = is_wide(x);
  const Type type = shaped(e->f64, wide), bits_type = shaped(e->i64, wide);
  Value a = LLVMBuildFPExt(b, flush ? flush_subnormal(e, x) : x, type, "");
  Value shifted = LLVMBuildFAdd(b, LLVMBuildFMul(b, a, number(a, 0x1.45f306dc9c883p-1), ""), number(a, 0x1.8p52), "");
  Value q = LLVMBuildFSub(b, shifted, number(a, 0x1.8p52), "");
  Value r = fused(e, q, number(a, -0x1.921fb54442d18p+0), a);
  r = fused(e, q, number(a, -0x1.1a62633145c07p-54), r);
  Value quadrant = LLVMBuildAdd(b, as_bits(e, shifted), constant(bits_type, cosine_wanted), "");
  Value s = LLVMBuildFMul(b, r, r, "");
  static const double sine_terms[] = {-1.0 / 39916800, 1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6};
  static const double cosine_terms[] = {1.0 / 479001600, -1.0 / 3628800, 1.0 / 40320, -1.0 / 720, 1.0 / 24, -0.5, 1.0};
  Value sine = polynomial(e, s, sine_terms, 5);
  sine = fused(e, LLVMBuildFMul(b, sine, s, ""), r, r);
  sine = select_value(e, LLVMBuildFCmp(b, LLVMRealOEQ, a, number(a, 0), ""), a, sine); /* its sign */
  Value cosine = polynomial(e, s, cosine_terms, 7);
  Value odd =
      LLVMBuildICmp(b, LLVMIntNE, LLVMBuildAnd(b, quadrant, constant(bits_type, 1), ""), LLVMConstNull(bits_type), "");
  Value value = as_bits(e, select_value(e, odd, cosine, sine));
  Value sign = LLVMBuildShl(b, LLVMBuildAnd(b, quadrant, constant(bits_type, 2), ""), constant(bits_type, 62), "");
  Value near = LLVMBuildFPTrunc(b, as_float(e, LLVMBuildXor(b, value, sign, "")), type_of(x), "");
  Value is_far = LLVMBuildFCmp(b, LLVMRealOGT, absolute(e, x), number(x, 0x1p30), "");
  Label start = LLVMGetInsertBlock(b), far = new_label(e, "far"), after = new_label(e, "");
  new_branch(e, wide ? any_lane(e, is_far) : is_far, far, after, true);
  LLVMPositionBuilderAtEnd(b, far);
  Value argument = wide ? x : splat(e, x);
  LLVMBuildStore(b, LLVMBuildZExt(b, as_bits(e, argument), shaped(e->i64, true), ""),
                 warp_address(e, shaped(e->i64, true), offsetof(struct warp, argument)));
  call_operate(e, instruction, NULL);
  Value helped =
      LLVMBuildLoad2(b, shaped(e->i64, true), warp_address(e, shaped(e->i64, true), offsetof(struct warp, result)), "");
  helped = as_float(e, LLVMBuildTrunc(b, helped, shaped(e->i32, true), ""));
  if (wide)
    helped = select_value(e, is_far, helped, near);
  else
    helped = LLVMBuildExtractElement(b, helped, constant(e->i32, 0), "");
  Label far_end = LLVMGetInsertBlock(b);
  LLVMBuildBr(b, after);
  LLVMPositionBuilderAtEnd(b, after);
  Value phi = LLVMBuildPhi(b, type_of(near), "");
  LLVMAddIncoming(phi, (Value[]){near, helped}, (Label[]){start, far_end}, 2);
  return canonical(e, flush ? flush_subnormal(e, phi) : phi);
}

static Value hyperbolic_tangent(struct emitter *e, Value a) {
  LLVMBuilderRef b = e->builder;
  static const double coefficients[] = {-0x1.3087fep-15, 0x1.2d3256p-12, -0x1.2f5ae6p-10, 0x1.be2a22p-9, -0x1.20096ap-7,
                                        0x1.660a9p-6,    -0x1.ba17b2p-5, 0x1.111106p-3,   -0x1.555556p-2};
  Value m = absolute(e, a), most = number(a, 9.5);
  Value bounded = select_value(e, LLVMBuildFCmp(b, LLVMRealOGT, m, most, ""), most, m);
  Value y = LLVMBuildFMul(b, bounded, number(a, 0x1.715476p+1), "");
  Value shifted = LLVMBuildFAdd(b, y, number(a, 12582912.0), "");
  Value n = LLVMBuildFSub(b, shifted, number(a, 12582912.0), "");
  Value f = fused(e, bounded, number(a, 0x1.715476p+1), LLVMBuildFNeg(b, n, ""));
  Value power = as_float(e, scaled_bits(e, fraction_power(e, f), shifted));
  Value quotient = LLVMBuildFDiv(b, number(a, 2.0), LLVMBuildFAdd(b, power, number(a, 1.0), ""), "");
  Value large = LLVMBuildFSub(b, number(a, 1.0), quotient, "");
  Value s = LLVMBuildFMul(b, m, m, "");
  Value small = fused(e, LLVMBuildFMul(b, m, s, ""), polynomial(e, s, coefficients, 9), m);
  Value r = as_bits(e, select_value(e, LLVMBuildFCmp(b, LLVMRealOLT, m, number(a, 1.1f), ""), small, large));
  Value sign = LLVMBuildAnd(b, as_bits(e, a), constant(type_of(r), 0x80000000u), "");
  return nan_result(e, LLVMBuildFCmp(b, LLVMRealUNO, a, a, ""), as_float(e, LLVMBuildOr(b, r, sign, "")));
}

/* rcp.approx.ftz.f64 and rsqrt.approx.f64: the high word of the result. */
static Value flushed_double(struct emitter *e, Value x) {
  LLVMBuilderRef b = e->builder;
  Value bits = as_bits(e, x);
  Value none = LLVMBuildICmp(b, LLVMIntEQ, LLVMBuildAnd(b, bits, constant(type_of(bits), 0x7ff0000000000000u), ""),
                             LLVMConstNull(type_of(bits)), "");
  return as_float(e,
                  select_value(e, none, LLVMBuildAnd(b, bits, constant(type_of(bits), 0x8000000000000000u), ""), bits));
}

static Value high_half(struct emitter *e, Value x) {
  LLVMBuilderRef b = e->builder;
  Value bits = as_bits(e, flushed_double(e, x));
  bits = LLVMBuildAnd(b, bits, constant(type_of(bits), 0xffffffff00000000u), "");
  bits = select_value(e, LLVMBuildFCmp(b, LLVMRealUNO, x, x, ""), constant(type_of(bits), 0x7fffffff00000000u), bits);
  return as_float(e, bits);
}

static Value square_root(struct emitter *e, Value x) { return call_intrinsic(e, "llvm.sqrt", type_of(x), 1, &x); }

static Value outlined_exponential(struct emitter *e, const void *form, const Value *x) {
  return exponential(e, x[0], *(const enum exponential_form *)form);
}

static Value outlined_logarithm(struct emitter *e, const void *flush, const Value *x) {
  return logarithm(e, x[0], *(const bool *)flush);
}

static Value outlined_tangent(struct emitter *e, const void *nothing, const Value *x) {
  (void)nothing;
  return hyperbolic_tangent(e, x[0]);
}

Value emit_special(struct emitter *e, const struct ptx_instruction *instruction, Value x, bool wide) {
  LLVMBuilderRef b = e->builder;
  const bool approximate = instruction->rounding == PTX_APPROX, flush = instruction->flags & PTX_FTZ;
  if (instruction->type == PTX_F64) {
    if (approximate && instruction->op == PTX_RCP)
      return high_half(e, LLVMBuildFDiv(b, number(x, 1.0), flushed_double(e, x), ""));
    if (approximate && instruction->op == PTX_RSQRT) {
      return high_half(e, LLVMBuildFDiv(b, number(x, 1.0), square_root(e, flushed_double(e, x)), ""));
    }
    if (instruction->rounding == PTX_RN && instruction->op == PTX_RCP) return LLVMBuildFDiv(b, number(x, 1.0), x, "");
    if (instruction->rounding == PTX_RN && instruction->op == PTX_SQRT) return square_root(e, x);
    refuse(e, instruction, "in this f64 form");
    return x;
  }
  if (!approximate && instruction->rounding != PTX_RN) {
    refuse(e, instruction, "with this rounding");
    return x;
  }
  /* By the strip they stand where they are used: around a call all vector registers are kept in memory. */
  const bool outlined = wide && is_large(e) && vector_lanes == WARP_LANES;
  switch (instruction->op) {
    case PTX_EX2: {
      static const char *const names[] = {"ex2", "ex2.ftz", "ex2.added"};
      const enum exponential_form form = is_only_added(e, instruction) ? EXPONENTIAL_ADDED
                                         : flush                       ? EXPONENTIAL_FLUSHED
                                                                       : EXPONENTIAL;
      return outlined ? call_outlined(e, names[form], type_of(x), &x, 1, outlined_exponential, &form)
                      : exponential(e, x, form);
    }
    case PTX_LG2:
      return outlined ? call_outlined(e, flush ? "lg2.ftz" : "lg2", type_of(x), &x, 1, outlined_logarithm, &flush)
                      : logarithm(e, x, flush);
    case PTX_SIN:
    case PTX_COS:
      return sine_cosine(e, instruction, x, flush, instruction->op == PTX_COS);
    case PTX_TANH:
      return outlined ? call_outlined(e, "tanh", type_of(x), &x, 1, outlined_tangent, NULL) : hyperbolic_tangent(e, x);
    case PTX_RCP: {
      Value r = LLVMBuildFDiv(b, number(x, 1.0), flush ? flush_subnormal(e, x) : x, "");
      if (flush) r = flush_subnormal(e, r);
      return approximate ? canonical(e, r) : r;
    }
    case PTX_SQRT: {
      Value r = square_root(e, flush ? flush_subnormal(e, x) : x);
      return approximate ? canonical(e, r) : r;
    }
    default: { /* rsqrt */
      Value a = LLVMBuildFPExt(b, flush ? flush_subnormal(e, x) : x, shaped(e->f64, wide), "");
      return canonical(e, LLVMBuildFPTrunc(b, LLVMBuildFDiv(b, number(a, 1.0), square_root(e, a), ""), type_of(x), ""));
    }
  }
}
