/* The whitelist: every opcode with the types, modifiers and operands that it may have, and the parser of one
 * instruction. What is not listed here is refused with its line. */
#include "engine/vgpu/instruction.h"

#include <stdio.h>
#include <string.h>

/* ---- the table ---- */

enum {
  INT16 = BIT(PTX_U16) | BIT(PTX_S16),
  INT16X2 = BIT(PTX_U16X2) | BIT(PTX_S16X2),
  INT32 = BIT(PTX_U32) | BIT(PTX_S32),
  INT64 = BIT(PTX_U64) | BIT(PTX_S64),
  INTEGERS = INT16 | INT32 | INT64,
  SIGNED = BIT(PTX_S16) | BIT(PTX_S32) | BIT(PTX_S64),
  BITS = BIT(PTX_B16) | BIT(PTX_B32) | BIT(PTX_B64),
  HALVES = BIT(PTX_F16) | BIT(PTX_F16X2),
  BRAINS = BIT(PTX_BF16) | BIT(PTX_BF16X2),
  F32 = BIT(PTX_F32),
  F64 = BIT(PTX_F64)
};
enum {
  NONE = BIT(PTX_NO_ROUNDING),
  NEAREST = BIT(PTX_RN),
  IEEE = BIT(PTX_RN) | BIT(PTX_RZ) | BIT(PTX_RM) | BIT(PTX_RP),
  APPROX = BIT(PTX_APPROX),
  FULL = BIT(PTX_FULL)
};

/* Operands, before the colon the results: t the type, w twice as wide, s the source type, u 32 bits, v 64 bits,
 * p predicate, P predicate that may be negated, i an immediate. */
struct form {
  const char *name; /* with .lo, .hi, .wide and the like where they make another operation */
  uint16_t op;
  const char *operands;
  uint32_t types, roundings;
  uint16_t flags;          /* that may stand there */
  uint16_t required_flags; /* that must */
  uint16_t implied_flags;
};

static const struct form forms[] = {
    /* integer and floating-point arithmetic */
    /* the carry chain; the rows with more name pieces come first */
    {"add.cc", PTX_ADD, "t:tt", INT32 | INT64 | BIT(PTX_B32) | BIT(PTX_B64), NONE, 0, 0, PTX_CARRY_OUT},
    {"addc.cc", PTX_ADD, "t:tt", INT32 | INT64 | BIT(PTX_B32) | BIT(PTX_B64), NONE, 0, 0, PTX_CARRY_IN | PTX_CARRY_OUT},
    {"sub.cc", PTX_SUB, "t:tt", INT32 | INT64 | BIT(PTX_B32) | BIT(PTX_B64), NONE, 0, 0, PTX_CARRY_OUT},
    {"subc.cc", PTX_SUB, "t:tt", INT32 | INT64 | BIT(PTX_B32) | BIT(PTX_B64), NONE, 0, 0, PTX_CARRY_IN | PTX_CARRY_OUT},
    {"mad.lo.cc", PTX_MAD, "t:ttt", INT32 | INT64, NONE, 0, 0, PTX_CARRY_OUT},
    {"mad.hi.cc", PTX_MAD_HI, "t:ttt", INT32 | INT64, NONE, 0, 0, PTX_CARRY_OUT},
    {"madc.lo.cc", PTX_MAD, "t:ttt", INT32 | INT64, NONE, 0, 0, PTX_CARRY_IN | PTX_CARRY_OUT},
    {"madc.hi.cc", PTX_MAD_HI, "t:ttt", INT32 | INT64, NONE, 0, 0, PTX_CARRY_IN | PTX_CARRY_OUT},
    {"add", PTX_ADD, "t:tt", INTEGERS, NONE, 0, 0, 0},
    {"add", PTX_ADD, "t:tt", BIT(PTX_S32), NONE, PTX_SAT, PTX_SAT, 0},
    {"add", PTX_ADD, "t:tt", F32, NONE | IEEE, PTX_FTZ | PTX_SAT, 0, 0},
    {"add", PTX_ADD, "t:tt", F64, NONE | IEEE, 0, 0, 0},
    {"add", PTX_ADD, "t:tt", HALVES, NONE | NEAREST, PTX_FTZ | PTX_SAT, 0, 0},
    {"add", PTX_ADD, "t:tt", BRAINS, NONE | NEAREST, 0, 0, 0},
    {"add", PTX_ADD, "t:tt", INT16X2, NONE, 0, 0, 0},
    {"addc", PTX_ADD, "t:tt", INT32 | INT64 | BIT(PTX_B32) | BIT(PTX_B64), NONE, 0, 0, PTX_CARRY_IN},
    {"sub", PTX_SUB, "t:tt", INTEGERS, NONE, 0, 0, 0},
    {"sub", PTX_SUB, "t:tt", BIT(PTX_S32), NONE, PTX_SAT, PTX_SAT, 0},
    {"sub", PTX_SUB, "t:tt", F32, NONE | IEEE, PTX_FTZ | PTX_SAT, 0, 0},
    {"sub", PTX_SUB, "t:tt", F64, NONE | IEEE, 0, 0, 0},
    {"sub", PTX_SUB, "t:tt", HALVES, NONE | NEAREST, PTX_FTZ | PTX_SAT, 0, 0},
    {"sub", PTX_SUB, "t:tt", BRAINS, NONE | NEAREST, 0, 0, 0},
    {"subc", PTX_SUB, "t:tt", INT32 | INT64 | BIT(PTX_B32) | BIT(PTX_B64), NONE, 0, 0, PTX_CARRY_IN},
    {"mul.lo", PTX_MUL, "t:tt", INTEGERS, NONE, 0, 0, 0},
    {"mul.hi", PTX_MUL_HI, "t:tt", INTEGERS, NONE, 0, 0, 0},
    {"mul.wide", PTX_MUL_WIDE, "w:tt", INT16 | INT32, NONE, 0, 0, 0},
    {"mul", PTX_MUL, "t:tt", F32, NONE | IEEE, PTX_FTZ | PTX_SAT, 0, 0},
    {"mul", PTX_MUL, "t:tt", F64, NONE | IEEE, 0, 0, 0},
    {"mul", PTX_MUL, "t:tt", HALVES, NONE | NEAREST, PTX_FTZ | PTX_SAT, 0, 0},
    {"mul", PTX_MUL, "t:tt", BRAINS, NONE | NEAREST, 0, 0, 0},
    {"mad.lo", PTX_MAD, "t:ttt", INTEGERS, NONE, 0, 0, 0},
    {"mad.hi", PTX_MAD_HI, "t:ttt", INTEGERS, NONE, 0, 0, 0},
    {"mad.hi", PTX_MAD_HI, "t:ttt", BIT(PTX_S32), NONE, PTX_SAT, PTX_SAT, 0},
    {"mad.wide", PTX_MAD_WIDE, "w:ttw", INT16 | INT32, NONE, 0, 0, 0},
    {"madc.lo", PTX_MAD, "t:ttt", INT32 | INT64, NONE, 0, 0, PTX_CARRY_IN},
    {"madc.hi", PTX_MAD_HI, "t:ttt", INT32 | INT64, NONE, 0, 0, PTX_CARRY_IN},
    {"mad", PTX_FMA, "t:ttt", F32, IEEE, PTX_FTZ | PTX_SAT, 0, 0}, /* sm_20 on: the same as fma */
    {"mad", PTX_FMA, "t:ttt", F64, IEEE, 0, 0, 0},
    {"fma", PTX_FMA, "t:ttt", F32, IEEE, PTX_FTZ | PTX_SAT, 0, 0},
    {"fma", PTX_FMA, "t:ttt", F64, IEEE, 0, 0, 0},
    {"fma", PTX_FMA, "t:ttt", HALVES, NEAREST, PTX_FTZ | PTX_SAT, 0, 0},
    {"fma", PTX_FMA, "t:ttt", HALVES, NEAREST, PTX_FTZ | PTX_RELU, PTX_RELU, 0},
    {"fma", PTX_FMA, "t:ttt", BRAINS, NEAREST, PTX_RELU, 0, 0},
    {"mul24.lo", PTX_MUL24, "t:tt", INT32, NONE, 0, 0, 0},
    {"mul24.hi", PTX_MUL24_HI, "t:tt", INT32, NONE, 0, 0, 0},
    {"mad24.lo", PTX_MAD24, "t:ttt", INT32, NONE, 0, 0, 0},
    {"mad24.hi", PTX_MAD24_HI, "t:ttt", INT32, NONE, 0, 0, 0},
    {"sad", PTX_SAD, "t:ttt", INTEGERS, NONE, 0, 0, 0},
    {"div", PTX_DIV, "t:tt", INTEGERS, NONE, 0, 0, 0},
    {"div", PTX_DIV, "t:tt", F32, IEEE | APPROX | FULL, PTX_FTZ, 0, 0},
    {"div", PTX_DIV, "t:tt", F64, IEEE, 0, 0, 0},
    {"rem", PTX_REM, "t:tt", INTEGERS, NONE, 0, 0, 0},
    {"abs", PTX_ABS, "t:t", SIGNED | F64, NONE, 0, 0, 0},
    {"abs", PTX_ABS, "t:t", F32 | HALVES, NONE, PTX_FTZ, 0, 0},
    {"abs", PTX_ABS, "t:t", BRAINS, NONE, 0, 0, 0},
    {"neg", PTX_NEG, "t:t", SIGNED | F64, NONE, 0, 0, 0},
    {"neg", PTX_NEG, "t:t", F32 | HALVES, NONE, PTX_FTZ, 0, 0},
    {"neg", PTX_NEG, "t:t", BRAINS, NONE, 0, 0, 0},
    {"min", PTX_MIN, "t:tt", INTEGERS | INT16X2 | F64, NONE, 0, 0, 0},
    {"min", PTX_MIN, "t:tt", BIT(PTX_S32) | BIT(PTX_S16X2), NONE, PTX_RELU, PTX_RELU, 0},
    {"min.xorsign.abs", PTX_MIN, "t:tt", F32 | HALVES, NONE, PTX_FTZ | PTX_NAN_RESULT, 0, PTX_XORSIGN},
    {"min.xorsign.abs", PTX_MIN, "t:tt", BRAINS, NONE, PTX_NAN_RESULT, 0, PTX_XORSIGN},
    {"min", PTX_MIN, "t:tt", F32 | HALVES, NONE, PTX_FTZ | PTX_NAN_RESULT, 0, 0},
    {"min", PTX_MIN, "t:tt", BRAINS, NONE, PTX_NAN_RESULT, 0, 0},
    {"max", PTX_MAX, "t:tt", INTEGERS | INT16X2 | F64, NONE, 0, 0, 0},
    {"max", PTX_MAX, "t:tt", BIT(PTX_S32) | BIT(PTX_S16X2), NONE, PTX_RELU, PTX_RELU, 0},
    {"max.xorsign.abs", PTX_MAX, "t:tt", F32 | HALVES, NONE, PTX_FTZ | PTX_NAN_RESULT, 0, PTX_XORSIGN},
    {"max.xorsign.abs", PTX_MAX, "t:tt", BRAINS, NONE, PTX_NAN_RESULT, 0, PTX_XORSIGN},
    {"max", PTX_MAX, "t:tt", F32 | HALVES, NONE, PTX_FTZ | PTX_NAN_RESULT, 0, 0},
    {"max", PTX_MAX, "t:tt", BRAINS, NONE, PTX_NAN_RESULT, 0, 0},
    {"copysign", PTX_COPYSIGN, "t:tt", F32 | F64, NONE, 0, 0, 0},
    {"testp", PTX_TESTP, "p:t", F32 | F64, NONE, 0, 0, 0},
    /* roots, reciprocals, transcendental functions */
    {"rcp", PTX_RCP, "t:t", F32, IEEE | APPROX, PTX_FTZ, 0, 0},
    {"rcp", PTX_RCP, "t:t", F64, IEEE, 0, 0, 0},
    {"rcp", PTX_RCP, "t:t", F64, APPROX, PTX_FTZ, PTX_FTZ, 0},
    {"sqrt", PTX_SQRT, "t:t", F32, IEEE | APPROX, PTX_FTZ, 0, 0},
    {"sqrt", PTX_SQRT, "t:t", F64, IEEE, 0, 0, 0},
    {"rsqrt", PTX_RSQRT, "t:t", F32, APPROX, PTX_FTZ, 0, 0},
    {"rsqrt", PTX_RSQRT, "t:t", F64, APPROX, PTX_FTZ, 0, 0},
    {"sin", PTX_SIN, "t:t", F32, APPROX, PTX_FTZ, 0, 0},
    {"cos", PTX_COS, "t:t", F32, APPROX, PTX_FTZ, 0, 0},
    {"lg2", PTX_LG2, "t:t", F32, APPROX, PTX_FTZ, 0, 0},
    {"ex2", PTX_EX2, "t:t", F32, APPROX, PTX_FTZ, 0, 0},
    {"ex2", PTX_EX2, "t:t", HALVES, APPROX, PTX_FTZ, 0, 0},
    {"ex2", PTX_EX2, "t:t", BRAINS, APPROX, PTX_FTZ, PTX_FTZ, 0},
    {"tanh", PTX_TANH, "t:t", F32 | HALVES | BRAINS, APPROX, 0, 0, 0},
    /* bits */
    {"popc", PTX_POPC, "u:t", BIT(PTX_B32) | BIT(PTX_B64), NONE, 0, 0, 0},
    {"clz", PTX_CLZ, "u:t", BIT(PTX_B32) | BIT(PTX_B64), NONE, 0, 0, 0},
    {"bfind", PTX_BFIND, "u:t", INT32 | INT64, NONE, PTX_SHIFT_AMOUNT, 0, 0},
    {"brev", PTX_BREV, "t:t", BIT(PTX_B32) | BIT(PTX_B64), NONE, 0, 0, 0},
    {"bfe", PTX_BFE, "t:tuu", INT32 | INT64, NONE, 0, 0, 0},
    {"bfi", PTX_BFI, "t:ttuu", BIT(PTX_B32) | BIT(PTX_B64), NONE, 0, 0, 0},
    {"bmsk.clamp", PTX_BMSK, "t:uu", BIT(PTX_B32), NONE, 0, 0, PTX_CLAMP},
    {"bmsk.wrap", PTX_BMSK, "t:uu", BIT(PTX_B32), NONE, 0, 0, 0},
    {"fns", PTX_FNS, "t:uuu", BIT(PTX_B32), NONE, 0, 0, 0},
    {"dp4a", PTX_DP4A, "u:uuu", 0, NONE, 0, 0, 0},
    {"dp2a", PTX_DP2A, "u:uuu", 0, NONE, 0, 0, 0},
    {"vabsdiff4", PTX_VABSDIFF4, "u:uuu", 0, NONE, 0, 0, 0},
    {"and", PTX_AND, "t:tt", BITS | BIT(PTX_PRED), NONE, 0, 0, 0},
    {"or", PTX_OR, "t:tt", BITS | BIT(PTX_PRED), NONE, 0, 0, 0},
    {"xor", PTX_XOR, "t:tt", BITS | BIT(PTX_PRED), NONE, 0, 0, 0},
    {"not", PTX_NOT, "t:t", BITS | BIT(PTX_PRED), NONE, 0, 0, 0},
    {"cnot", PTX_CNOT, "t:t", BITS, NONE, 0, 0, 0},
    {"lop3", PTX_LOP3, "t:ttti", BIT(PTX_B32), NONE, 0, 0, 0},
    {"shl", PTX_SHL, "t:tu", BITS, NONE, 0, 0, 0},
    {"shr", PTX_SHR, "t:tu", BITS | INTEGERS, NONE, 0, 0, 0},
    {"shf.l", PTX_SHF_L, "t:ttu", BIT(PTX_B32), NONE, PTX_CLAMP, 0, 0},
    {"shf.r", PTX_SHF_R, "t:ttu", BIT(PTX_B32), NONE, PTX_CLAMP, 0, 0},
    {"prmt", PTX_PRMT, "t:ttu", BIT(PTX_B32), NONE, 0, 0, 0},
    /* comparison and choice */
    {"set", PTX_SET, "t:ss", 0, NONE, PTX_FTZ, 0, 0},
    {"setp", PTX_SETP, "p:tt", BITS | INTEGERS | F64, NONE, 0, 0, 0},
    {"setp", PTX_SETP, "p:tt", F32 | HALVES, NONE, PTX_FTZ, 0, 0},
    {"setp", PTX_SETP, "p:tt", BRAINS, NONE, 0, 0, 0},
    {"selp", PTX_SELP, "t:ttp", BITS | INTEGERS | F32 | F64, NONE, 0, 0, 0},
    {"slct", PTX_SLCT, "t:tts", 0, NONE, PTX_FTZ, 0, 0},
    /* movement */
    {"mov", PTX_MOV, "", BITS | INTEGERS | F32 | F64 | BIT(PTX_PRED), NONE, 0, 0, 0},
    {"cvt", PTX_CVT, "t:s", 0, 0xffffffff, PTX_FTZ | PTX_SAT | PTX_RELU | PTX_SATFINITE, 0, 0},
    {"cvta", PTX_CVTA, "t:t", BIT(PTX_U32) | BIT(PTX_U64), NONE, 0, 0, 0},
    {"isspacep", PTX_ISSPACEP, "p:v", 0, NONE, 0, 0, 0},
    {"ld", PTX_LD, "", 0, NONE, 0, 0, 0},
    {"ldu", PTX_LD, "", 0, NONE, 0, 0, 0},
    {"st", PTX_ST, "", 0, NONE, 0, 0, 0},
    {"atom", PTX_ATOM, "", 0, NONE, 0, 0, 0},
    {"red", PTX_RED, "", 0, NONE, 0, 0, 0},
    {"prefetch", PTX_PREFETCH, "", 0, NONE, 0, 0, 0},
    {"prefetchu", PTX_PREFETCH, "", 0, NONE, 0, 0, 0},
    /* between lanes and warps */
    {"shfl", PTX_SHFL, "", BIT(PTX_B32), NONE, 0, 0, 0},
    {"vote", PTX_VOTE, "", BIT(PTX_PRED) | BIT(PTX_B32), NONE, 0, 0, 0},
    {"match", PTX_MATCH, "", BIT(PTX_B32) | BIT(PTX_B64), NONE, 0, 0, 0},
    {"activemask", PTX_ACTIVEMASK, "t:", BIT(PTX_B32), NONE, 0, 0, 0},
    {"redux", PTX_REDUX, "t:tu", INT32 | BIT(PTX_B32), NONE, 0, 0, 0},
    {"bar", PTX_BAR, "", 0, NONE, 0, 0, 0},
    {"barrier", PTX_BAR, "", 0, NONE, 0, 0, 0},
    {"membar", PTX_MEMBAR, "", 0, NONE, 0, 0, 0},
    {"fence", PTX_MEMBAR, "", 0, NONE, 0, 0, 0},
    {"mma", PTX_MMA, "", 0, NONE, 0, 0, 0},
    {"wmma", PTX_MMA, "", 0, NONE, 0, 0, 0},
    {"ldmatrix", PTX_LDMATRIX, "", 0, NONE, 0, 0, 0},
    {"stmatrix", PTX_STMATRIX, "", 0, NONE, 0, 0, 0},
    {"movmatrix", PTX_MOVMATRIX, "", 0, NONE, 0, 0, 0},
    {"cp", PTX_CP_ASYNC, "", 0, NONE, 0, 0, 0},
    {"mbarrier", PTX_MBARRIER, "", 0, NONE, 0, 0, 0},
    {"nanosleep", PTX_NANOSLEEP, "", BIT(PTX_U32), NONE, 0, 0, 0},
    /* control */
    {"bra", PTX_BRA, "", 0, NONE, 0, 0, 0},
    {"brx", PTX_BRX, "", 0, NONE, 0, 0, 0},
    {"ret", PTX_RET, "", 0, NONE, 0, 0, 0},
    {"exit", PTX_EXIT, "", 0, NONE, 0, 0, 0},
    {"trap", PTX_TRAP, "", 0, NONE, 0, 0, 0},
    {"brkpt", PTX_TRAP, "", 0, NONE, 0, 0, 0},
    {"call", PTX_OP_COUNT, "", 0, NONE, 0, 0, 0},
};

const char *ptx_op_name(enum ptx_op op) {
  static const char *const names[] = {
#define X(name, text) text,
      PTX_OPS(X)
#undef X
  };
  return op < PTX_OP_COUNT ? names[op] : "?";
}

/* ---- the mnemonic, cut at its dots ---- */

static void cut(struct parser *parser, struct mnemonic *mnemonic) {
  struct token token = parser->token;
  memset(mnemonic, 0, sizeof *mnemonic);
  mnemonic->line = token.line;
  snprintf(mnemonic->whole, sizeof mnemonic->whole, "%.*s", token.length > 79 ? 79 : (int)token.length, token.text);
  const char *at = token.text, *end = at + token.length;
  while (at < end) {
    const char *dot = memchr(at, '.', (size_t)(end - at));
    size_t length = (size_t)((dot ? dot : end) - at);
    if (mnemonic->count == PIECES || length >= PIECE_BYTES)
      parser_fail(parser, token.line, "instruction '%s' is not implemented", mnemonic->whole);
    memcpy(mnemonic->piece[mnemonic->count++], at, length);
    at = dot ? dot + 1 : end;
  }
  mnemonic->used[0] = true;
}

/* Whether the modifier stands there; it then counts as understood. */
bool mnemonic_take(struct mnemonic *mnemonic, const char *modifier) {
  for (int i = 1; i < mnemonic->count; i++) {
    if (!mnemonic->used[i] && strcmp(mnemonic->piece[i], modifier) == 0) {
      mnemonic->used[i] = true;
      return true;
    }
  }
  return false;
}

bool mnemonic_take_type(struct mnemonic *mnemonic, uint8_t *type) {
  for (int i = 1; i < mnemonic->count; i++) {
    enum ptx_type found;
    if (!mnemonic->used[i] && parse_type(mnemonic->piece[i], strlen(mnemonic->piece[i]), &found)) {
      mnemonic->used[i] = true;
      *type = (uint8_t)found;
      return true;
    }
  }
  return false;
}

int mnemonic_take_keyword(struct mnemonic *mnemonic, const struct keyword *keywords, int otherwise) {
  for (int i = 1; i < mnemonic->count; i++) {
    for (const struct keyword *keyword = keywords; keyword->name && !mnemonic->used[i]; keyword++) {
      if (strcmp(mnemonic->piece[i], keyword->name) == 0) {
        mnemonic->used[i] = true;
        return keyword->value;
      }
    }
  }
  return otherwise;
}

void mnemonic_check_rest(struct parser *parser, const struct mnemonic *mnemonic) {
  for (int i = 1; i < mnemonic->count; i++) {
    if (!mnemonic->used[i])
      parser_fail(parser, mnemonic->line, "modifier '.%s' of '%s' is not implemented", mnemonic->piece[i],
                  mnemonic->whole);
  }
}

_Noreturn void mnemonic_refuse(struct parser *parser, const struct mnemonic *mnemonic) {
  parser_fail(parser, mnemonic->line, "instruction '%s' is not implemented", mnemonic->whole);
}

/* ---- operands ---- */

struct ptx_operand *parser_operands(struct parser *parser, unsigned count) {
  return parser_alloc(parser, (count ? count : 1) * sizeof(struct ptx_operand));
}

static const struct keyword special_registers[] = {{"%tid.x", PTX_TID_X},
                                                   {"%tid.y", PTX_TID_Y},
                                                   {"%tid.z", PTX_TID_Z},
                                                   {"%ntid.x", PTX_NTID_X},
                                                   {"%ntid.y", PTX_NTID_Y},
                                                   {"%ntid.z", PTX_NTID_Z},
                                                   {"%ctaid.x", PTX_CTAID_X},
                                                   {"%ctaid.y", PTX_CTAID_Y},
                                                   {"%ctaid.z", PTX_CTAID_Z},
                                                   {"%nctaid.x", PTX_NCTAID_X},
                                                   {"%nctaid.y", PTX_NCTAID_Y},
                                                   {"%nctaid.z", PTX_NCTAID_Z},
                                                   {"%laneid", PTX_LANEID},
                                                   {"%warpid", PTX_WARPID},
                                                   {"%nwarpid", PTX_NWARPID},
                                                   {"%smid", PTX_SMID},
                                                   {"%nsmid", PTX_NSMID},
                                                   {"%gridid", PTX_GRIDID},
                                                   {"%lanemask_eq", PTX_LANEMASK_EQ},
                                                   {"%lanemask_le", PTX_LANEMASK_LE},
                                                   {"%lanemask_lt", PTX_LANEMASK_LT},
                                                   {"%lanemask_ge", PTX_LANEMASK_GE},
                                                   {"%lanemask_gt", PTX_LANEMASK_GT},
                                                   {"%clock", PTX_CLOCK},
                                                   {"%clock_hi", PTX_CLOCK_HI},
                                                   {"%clock64", PTX_CLOCK64},
                                                   {"%globaltimer", PTX_GLOBALTIMER},
                                                   {"%globaltimer_lo", PTX_GLOBALTIMER_LO},
                                                   {"%globaltimer_hi", PTX_GLOBALTIMER_HI},
                                                   {"%dynamic_smem_size", PTX_DYNAMIC_SMEM_SIZE},
                                                   {"%total_smem_size", PTX_TOTAL_SMEM_SIZE},
                                                   {"%envreg1", PTX_ENVREG1},
                                                   {"%envreg2", PTX_ENVREG2},
                                                   {NULL, 0}};

static bool find_register(const struct scope *scope, const char *text, size_t length, uint32_t *index) {
  const struct entity *entity = scope_find(scope, text, length);
  if (entity && entity->kind == ENTITY_REGISTER && !entity->count) {
    *index = entity->index;
    return true;
  }
  size_t prefix = length;
  while (prefix > 0 && text[prefix - 1] >= '0' && text[prefix - 1] <= '9') prefix--;
  for (; length - prefix > 9; prefix++) continue;
  for (; prefix < length; prefix++) { /* "%r1<20>" makes %r10 ... : try every split of the digits */
    if (text[prefix] == '0' && prefix + 1 < length) continue;
    uint32_t number = 0;
    for (size_t i = prefix; i < length; i++) number = number * 10 + (uint32_t)(text[i] - '0');
    entity = scope_find(scope, text, prefix);
    if (entity && entity->kind == ENTITY_REGISTER && number < entity->count) {
      *index = entity->index + number;
      return true;
    }
  }
  return false;
}

/* One operand of the given type: register, constant, variable's address, special register, or "_". */
struct ptx_operand parse_operand(struct parser *parser, enum ptx_type type) {
  struct ptx_operand operand = {0};
  if (token_accept(parser, '!')) operand.negate = true;
  struct token token = parser->token;
  if (token.kind == TOKEN_NUMBER || token_is(parser, '-') || token_is(parser, '+')) {
    operand.kind = PTX_OPERAND_IMMEDIATE;
    operand.value = parse_number(parser, type);
    if (operand.negate) parser_fail(parser, token.line, "'!' before a constant is not implemented");
    return operand;
  }
  if (token.kind != TOKEN_WORD) {
    int length = token.length > 60 ? 60 : (int)token.length;
    parser_fail(parser, token.line, "operand expected, found '%.*s'", length, token.text);
  }
  char name[60];
  snprintf(name, sizeof name, "%.*s", token.length > 59 ? 59 : (int)token.length, token.text);
  lexer_next(parser);
  if (token.length == 1 && token.text[0] == '_') {
    operand.kind = PTX_OPERAND_SINK;
    return operand;
  }
  if (find_register(parser->scope, token.text, token.length, &operand.index)) {
    operand.kind = PTX_OPERAND_REGISTER;
    if (operand.negate && parser->body->register_class[operand.index] != PTX_CLASS_PRED)
      parser_fail(parser, token.line, "'!' before '%s', which is not a predicate", name);
    return operand;
  }
  if (operand.negate) parser_fail(parser, token.line, "'!' before '%s', which is not a predicate", name);
  for (const struct keyword *special = special_registers; special->name; special++) {
    if (strcmp(special->name, name) == 0) {
      operand.kind = PTX_OPERAND_SPECIAL;
      operand.index = (uint32_t)special->value;
      return operand;
    }
  }
  if (strcmp(name, "WARP_SZ") == 0) {
    operand.kind = PTX_OPERAND_IMMEDIATE;
    operand.value = 32;
    return operand;
  }
  struct entity *entity = scope_find(parser->scope, token.text, token.length);
  if (!entity) {
    if (name[0] == '%') parser_fail(parser, token.line, "'%s' is neither declared nor a known special register", name);
    parser_fail(parser, token.line, "'%s' is not declared", name);
  }
  if (entity->kind == ENTITY_FUNCTION && ptx_type_bytes(type) == 8) {
    operand.kind = PTX_OPERAND_IMMEDIATE;
    operand.value = parser_function_address(parser, entity);
    return operand;
  }
  if (entity->kind != ENTITY_VARIABLE) parser_fail(parser, token.line, "'%s' cannot be an operand here", name);
  operand.kind = PTX_OPERAND_SYMBOL;
  operand.space = entity->space;
  operand.index = parser_entity_number(parser, entity);
  if (token_is(parser, '+') || token_is(parser, '-')) operand.value = parse_number(parser, PTX_U64);
  return operand;
}

/* "{a, b}" or one operand, into operands[0..limit). Returns how many. */
unsigned parse_vector(struct parser *parser, enum ptx_type type, struct ptx_operand *operands, unsigned limit,
                      bool *braced) {
  *braced = token_is(parser, '{');
  if (!*braced) {
    operands[0] = parse_operand(parser, type);
    return 1;
  }
  unsigned line = parser->token.line, count = 0;
  lexer_next(parser);
  do {
    if (count == limit) parser_fail(parser, line, "a vector has more than %u elements here", limit);
    operands[count++] = parse_operand(parser, type);
  } while (token_accept(parser, ','));
  token_expect(parser, '}');
  return count;
}

struct statement *body_append(struct parser *parser, enum statement_kind kind) {
  struct body *body = parser->body;
  body->statements =
      parser_grow(parser, body->statements, body->statement_count, &body->statement_capacity, sizeof *body->statements);
  struct statement *statement = &body->statements[body->statement_count++];
  memset(statement, 0, sizeof *statement);
  statement->kind = kind;
  statement->scope = parser->scope;
  statement->instruction.guard = PTX_NONE;
  statement->instruction.line = parser->token.line;
  statement->instruction.file = parser->file;
  statement->instruction.source_line = parser->source_line;
  statement->instruction.call_file = parser->call_file;
  statement->instruction.call_line = parser->call_line;
  return statement;
}

/* Only mov reads special registers: elsewhere they go through a register of their own. */
void move_special(struct parser *parser, struct ptx_operand *operand, enum ptx_type type, unsigned line) {
  if (operand->kind != PTX_OPERAND_SPECIAL) return;
  struct statement *statement = body_append(parser, STATEMENT_INSTRUCTION);
  struct ptx_instruction *move = &statement->instruction;
  uint32_t index = parser_add_register(parser, parser->body, type_class(parser, type), 1);
  move->op = PTX_MOV;
  move->type = (uint8_t)(ptx_type_bytes(type) == 8 ? PTX_B64 : ptx_type_bytes(type) == 4 ? PTX_B32 : PTX_B16);
  move->line = line;
  move->dst_count = move->src_count = 1;
  move->dst = parser_operands(parser, 1);
  move->src = parser_operands(parser, 1);
  move->src[0] = *operand;
  move->dst[0] = (struct ptx_operand){.kind = PTX_OPERAND_REGISTER, .index = index};
  *operand = move->dst[0];
}

/* Registers must have the type's width; with `wider` they may be wider (ld, st, cvt). */
void check_operand(struct parser *parser, const struct mnemonic *mnemonic, const struct ptx_operand *operand,
                   enum ptx_type type, bool wider, bool is_result) {
  switch (operand->kind) {
    case PTX_OPERAND_REGISTER: {
      uint8_t have = parser->body->register_class[operand->index], want = type_class(parser, type);
      bool fits = have == want || (wider && want != PTX_CLASS_PRED && have != PTX_CLASS_PRED && have > want);
      if (!fits)
        parser_fail(parser, mnemonic->line, "an operand of '%s' has the wrong width for type .%s", mnemonic->whole,
                    ptx_type_name(type));
      if (operand->negate && is_result) mnemonic_refuse(parser, mnemonic);
      break;
    }
    case PTX_OPERAND_SINK:
      if (!is_result) parser_fail(parser, mnemonic->line, "'_' cannot be read by '%s'", mnemonic->whole);
      break;
    case PTX_OPERAND_IMMEDIATE:
      if (is_result) parser_fail(parser, mnemonic->line, "'%s' cannot write to a constant", mnemonic->whole);
      break;
    case PTX_OPERAND_SYMBOL:
      if (is_result || ptx_type_bytes(type) < 4)
        parser_fail(parser, mnemonic->line, "'%s' cannot use a variable's name here", mnemonic->whole);
      break;
    case PTX_OPERAND_SPECIAL:
      if (is_result) parser_fail(parser, mnemonic->line, "'%s' cannot write to a special register", mnemonic->whole);
      break;
  }
}

static enum ptx_type wide_type(enum ptx_type type) {
  switch (type) {
    case PTX_U16:
      return PTX_U32;
    case PTX_S16:
      return PTX_S32;
    case PTX_U32:
      return PTX_U64;
    case PTX_S32:
      return PTX_S64;
    default:
      return PTX_NO_TYPE;
  }
}

static enum ptx_type operand_type(char code, const struct ptx_instruction *instruction) {
  switch (code) {
    case 't':
      return instruction->type;
    case 'w':
      return wide_type(instruction->type);
    case 's':
      return instruction->source_type;
    case 'v':
      return PTX_U64;
    case 'p':
      return PTX_PRED;
    default:
      return PTX_U32;
  }
}

/* The operands that a pattern such as "t:tt" asks for. */
static void parse_pattern(struct parser *parser, const struct mnemonic *mnemonic, struct ptx_instruction *instruction,
                          const char *pattern) {
  bool wider = instruction->op == PTX_CVT;
  const char *colon = strchr(pattern, ':');
  instruction->dst_count = (uint8_t)(colon - pattern);
  instruction->src_count = (uint8_t)strlen(colon + 1);
  instruction->dst = parser_operands(parser, instruction->dst_count + 1u);
  instruction->src = parser_operands(parser, instruction->src_count + 1u); /* room for the carry */
  bool first = true;
  for (int i = 0; i < instruction->dst_count; i++, first = false) {
    if (!first) token_expect(parser, ',');
    enum ptx_type type = operand_type(pattern[i], instruction);
    instruction->dst[i] = parse_operand(parser, type);
    check_operand(parser, mnemonic, &instruction->dst[i], type, wider, true);
  }
  for (int i = 0; i < instruction->src_count; i++, first = false) {
    if (!first) token_expect(parser, ',');
    enum ptx_type type = operand_type(colon[1 + i], instruction);
    instruction->src[i] = parse_operand(parser, type);
    check_operand(parser, mnemonic, &instruction->src[i], type, wider, false);
    if (instruction->src[i].negate) /* PTX has it nowhere but in setp, set, vote and the barriers */
      parser_fail(parser, mnemonic->line, "'!' is not allowed in '%s'", mnemonic->whole);
    move_special(parser, &instruction->src[i], type, mnemonic->line);
  }
}

/* ---- instructions with a shape of their own ---- */

static const struct keyword comparisons[] = {{"eq", PTX_EQ},   {"ne", PTX_NE},   {"lt", PTX_LT},   {"le", PTX_LE},
                                             {"gt", PTX_GT},   {"ge", PTX_GE},   {"lo", PTX_LO},   {"ls", PTX_LS},
                                             {"hi", PTX_HI},   {"hs", PTX_HS},   {"equ", PTX_EQU}, {"neu", PTX_NEU},
                                             {"ltu", PTX_LTU}, {"leu", PTX_LEU}, {"gtu", PTX_GTU}, {"geu", PTX_GEU},
                                             {"num", PTX_NUM}, {"nan", PTX_NAN}, {NULL, 0}};

static bool is_float(enum ptx_type type) { return type == PTX_F32 || type == PTX_F64; }
static bool is_half(enum ptx_type type) { return BIT(type) & (HALVES | BRAINS); }
static bool is_pair(enum ptx_type type) { return type == PTX_F16X2 || type == PTX_BF16X2; }
static bool is_signed(enum ptx_type type) { return type >= PTX_S8 && type <= PTX_S64; }
static bool is_integer(enum ptx_type type) { return type >= PTX_U8 && type <= PTX_S64; }

static void check_comparison(struct parser *parser, const struct mnemonic *mnemonic, enum ptx_type type, int mode) {
  bool fits;
  if (is_float(type) || is_half(type))
    fits = mode <= PTX_GE || mode >= PTX_EQU;
  else if (is_signed(type))
    fits = mode <= PTX_GE;
  else if (is_integer(type))
    fits = mode <= PTX_HS;
  else
    fits = mode == PTX_EQ || mode == PTX_NE;
  if (!fits) parser_fail(parser, mnemonic->line, "'%s' compares in a way that its type does not have", mnemonic->whole);
}

static void take_comparison(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction,
                            enum ptx_type type) {
  static const struct keyword combines[] = {
      {"and", PTX_COMBINE_AND}, {"or", PTX_COMBINE_OR}, {"xor", PTX_COMBINE_XOR}, {NULL, 0}};
  int mode = mnemonic_take_keyword(mnemonic, comparisons, -1);
  if (mode < 0) mnemonic_refuse(parser, mnemonic);
  check_comparison(parser, mnemonic, type, mode);
  instruction->mode = (uint8_t)mode;
  instruction->combine = (uint8_t)mnemonic_take_keyword(mnemonic, combines, PTX_COMBINE_NONE);
}

static void parse_combining(struct parser *parser, const struct mnemonic *mnemonic,
                            struct ptx_instruction *instruction) {
  if (instruction->combine == PTX_COMBINE_NONE) return;
  token_expect(parser, ',');
  struct ptx_operand *predicate = &instruction->src[instruction->src_count++];
  *predicate = parse_operand(parser, PTX_PRED);
  if (predicate->kind != PTX_OPERAND_REGISTER) mnemonic_refuse(parser, mnemonic);
  check_operand(parser, mnemonic, predicate, PTX_PRED, false, false);
}

static void parse_setp(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  instruction->dst = parser_operands(parser, 2);
  instruction->src = parser_operands(parser, 3);
  instruction->dst_count = 1;
  instruction->src_count = 2;
  instruction->dst[0] = parse_operand(parser, PTX_PRED);
  check_operand(parser, mnemonic, &instruction->dst[0], PTX_PRED, false, true);
  if (token_accept(parser, '|')) {
    instruction->dst[1] = parse_operand(parser, PTX_PRED);
    check_operand(parser, mnemonic, &instruction->dst[1], PTX_PRED, false, true);
    instruction->dst_count = 2;
  }
  if (is_pair(instruction->type) && instruction->dst_count != 2) mnemonic_refuse(parser, mnemonic);
  for (int i = 0; i < 2; i++) {
    token_expect(parser, ',');
    instruction->src[i] = parse_operand(parser, instruction->type);
    check_operand(parser, mnemonic, &instruction->src[i], instruction->type, false, false);
    move_special(parser, &instruction->src[i], instruction->type, mnemonic->line);
  }
  parse_combining(parser, mnemonic, instruction);
}

static void parse_set(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  instruction->dst = parser_operands(parser, 1);
  instruction->src = parser_operands(parser, 3);
  instruction->dst_count = 1;
  instruction->src_count = 2;
  instruction->dst[0] = parse_operand(parser, instruction->type);
  check_operand(parser, mnemonic, &instruction->dst[0], instruction->type, false, true);
  for (int i = 0; i < 2; i++) {
    token_expect(parser, ',');
    instruction->src[i] = parse_operand(parser, instruction->source_type);
    check_operand(parser, mnemonic, &instruction->src[i], instruction->source_type, false, false);
    move_special(parser, &instruction->src[i], instruction->source_type, mnemonic->line);
  }
  parse_combining(parser, mnemonic, instruction);
}

static void parse_mov(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  enum { LIMIT = 4 };
  enum ptx_type type = instruction->type;
  bool unpack, pack;
  instruction->dst = parser_operands(parser, LIMIT);
  instruction->src = parser_operands(parser, LIMIT);
  enum ptx_type part[2] = {type, type};
  for (int side = 0; side < 2; side++) {
    if (side) token_expect(parser, ',');
    struct ptx_operand *operands = side ? instruction->src : instruction->dst;
    /* Constants among packed elements have no type of their own; they are read as bits. */
    unsigned count =
        parse_vector(parser, token_is(parser, '{') ? PTX_U64 : type, operands, LIMIT, side ? &pack : &unpack);
    if (side ? pack : unpack) {
      unsigned bytes = ptx_type_bytes(type);
      if (type == PTX_PRED || (count != 2 && count != 4) || bytes % count || (side && unpack))
        mnemonic_refuse(parser, mnemonic);
      unsigned each = bytes / count;
      part[side] = each == 1 ? PTX_B8 : each == 2 ? PTX_B16 : PTX_B32;
    }
    *(side ? &instruction->src_count : &instruction->dst_count) = (uint8_t)count;
    for (unsigned i = 0; i < count; i++) {
      check_operand(parser, mnemonic, &operands[i], part[side], false, side == 0);
      if (operands[i].negate) mnemonic_refuse(parser, mnemonic);
      if (side && pack) move_special(parser, &operands[i], part[side], mnemonic->line);
    }
  }
  if (unpack) move_special(parser, &instruction->src[0], type, mnemonic->line);
}

static void parse_cvt_types(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  enum ptx_type to = instruction->type, from = instruction->source_type;
  uint16_t flags = instruction->flags;
  bool to_half = to == PTX_F16 || to == PTX_BF16, from_half = from == PTX_F16 || from == PTX_BF16;
  bool to_float = is_float(to) || to_half, from_float = is_float(from) || from_half;
  bool integral = instruction->rounding >= PTX_RNI && instruction->rounding <= PTX_RPI;
  bool ieee = instruction->rounding >= PTX_RN && instruction->rounding <= PTX_RP;
  bool none = instruction->rounding == PTX_NO_ROUNDING;
  bool flushes = flags & PTX_FTZ, fits;
  if (to == PTX_TF32) {
    bool nearest = instruction->rounding == PTX_RNA,
         rounds = instruction->rounding == PTX_RN || instruction->rounding == PTX_RZ;
    fits = from == PTX_F32 && !(flags & (PTX_FTZ | PTX_SAT)) && (nearest ? !(flags & PTX_RELU) : rounds);
  } else if (flags & PTX_SATFINITE) {
    fits = false;
  } else if (is_integer(to) && is_integer(from)) {
    fits = none && !(flags & (PTX_FTZ | PTX_RELU));
  } else if (is_integer(to) && from_float) {
    fits = integral && !(flags & PTX_RELU) && (!flushes || from == PTX_F32 || from == PTX_F16);
  } else if (to_float && is_integer(from)) {
    fits = ieee && !(flags & (PTX_FTZ | PTX_RELU)) && (!(flags & PTX_SAT) || to == PTX_F32 || to == PTX_F16);
  } else if (to_float && from_float) {
    /* Narrower, or halves of the other kind: rounded. */
    bool narrower = to != from && (to_half ? true : ptx_type_bytes(to) < ptx_type_bytes(from));
    fits = to == from ? integral || none : narrower ? ieee : none;
    if (flags & PTX_RELU)
      fits = fits && to_half && from == PTX_F32 && (instruction->rounding == PTX_RN || instruction->rounding == PTX_RZ);
    fits = fits && (!flushes || to == PTX_F32 || from == PTX_F32);
    fits = fits && (!(flags & PTX_SAT) || (to != PTX_BF16 && from != PTX_BF16));
  } else {
    fits = false;
  }
  if (!fits)
    parser_fail(parser, mnemonic->line, "conversion '%s' is not implemented (or lacks a rounding mode)",
                mnemonic->whole);
}

/* Conversions between pairs: f16x2, bf16x2 and pairs of 8 bits. False: it is none. `pattern`: its operands. */
static bool parse_cvt_pair(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  enum ptx_type to = instruction->type, from = instruction->source_type;
  uint16_t flags = instruction->flags;
  bool to_bytes = to == PTX_E4M3X2 || to == PTX_E5M2X2, from_bytes = from == PTX_E4M3X2 || from == PTX_E5M2X2;
  bool nearest = instruction->rounding == PTX_RN;
  const char *pattern = "t:s";
  bool fits;
  if (is_pair(to) && from == PTX_F32) {
    fits = (nearest || instruction->rounding == PTX_RZ) && !(flags & ~PTX_RELU);
    pattern = "t:ss";
  } else if (to_bytes) {
    fits = nearest && (flags & PTX_SATFINITE) && !(flags & ~(PTX_RELU | PTX_SATFINITE));
    fits = fits && (from == PTX_F32 || from == PTX_F16X2);
    if (from == PTX_F32) pattern = "t:ss";
  } else if (from_bytes) {
    fits = to == PTX_F16X2 && nearest && !(flags & ~PTX_RELU);
  } else {
    return false;
  }
  if (!fits) mnemonic_refuse(parser, mnemonic);
  parse_pattern(parser, mnemonic, instruction, pattern);
  return true;
}

const struct keyword state_spaces[] = {
    {"global", PTX_GLOBAL},      {"shared", PTX_SHARED},     {"shared::cta", PTX_SHARED},
    {"local", PTX_LOCAL},        {"const", PTX_CONST},       {"param", PTX_PARAM},
    {"param::entry", PTX_PARAM}, {"param::func", PTX_PARAM}, {NULL, 0}};

/* Modifiers that only guide caches, one of each kind. */
void mnemonic_take_hints(struct mnemonic *mnemonic, bool load) {
  static const struct keyword loads[] = {{"ca", 1}, {"cg", 1}, {"cs", 1}, {"lu", 1}, {"cv", 1}, {NULL, 0}};
  static const struct keyword stores[] = {{"wb", 1}, {"cg", 1}, {"cs", 1}, {"wt", 1}, {NULL, 0}};
  static const struct keyword first[] = {{"L1::evict_normal", 1}, {"L1::evict_unchanged", 1}, {"L1::evict_first", 1},
                                         {"L1::evict_last", 1},   {"L1::no_allocate", 1},     {NULL, 0}};
  static const struct keyword second[] = {
      {"L2::evict_first", 1}, {"L2::evict_last", 1}, {"L2::evict_normal", 1}, {NULL, 0}};
  static const struct keyword prefetches[] = {{"L2::64B", 1}, {"L2::128B", 1}, {"L2::256B", 1}, {NULL, 0}};
  mnemonic_take_keyword(mnemonic, load ? loads : stores, 0);
  mnemonic_take_keyword(mnemonic, first, 0);
  mnemonic_take_keyword(mnemonic, second, 0);
  if (load) mnemonic_take_keyword(mnemonic, prefetches, 0);
}

/* One host memory makes them all the same; they are kept for the mode that checks order (check.c). */
enum { SCOPE_CLUSTER = PTX_SCOPE_SYS + 1 };
static int take_scope(struct mnemonic *mnemonic) {
  static const struct keyword scopes[] = {
      {"cta", PTX_SCOPE_CTA}, {"gpu", PTX_SCOPE_GPU}, {"sys", PTX_SCOPE_SYS}, {"cluster", SCOPE_CLUSTER}, {NULL, 0}};
  return mnemonic_take_keyword(mnemonic, scopes, PTX_NO_SCOPE);
}

static const struct keyword orders[] = {{"weak", PTX_WEAK},
                                        {"volatile", PTX_VOLATILE},
                                        {"relaxed", PTX_RELAXED},
                                        {"acquire", PTX_ACQUIRE},
                                        {"release", PTX_RELEASE},
                                        {"acq_rel", PTX_ACQ_REL},
                                        {NULL, 0}};

/* "[base + offset]" into src[0] and offset. */
void parse_address(struct parser *parser, const struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  token_expect(parser, '[');
  struct ptx_operand *base = &instruction->src[0];
  *base = parse_operand(parser, PTX_U64);
  switch (base->kind) {
    case PTX_OPERAND_REGISTER: {
      uint8_t class = parser->body->register_class[base->index];
      bool narrow = instruction->space == PTX_SHARED || instruction->space == PTX_LOCAL ||
                    instruction->space == PTX_PARAM || instruction->space == PTX_CONST;
      if (class != PTX_CLASS_64 && !(class == PTX_CLASS_32 && narrow))
        parser_fail(parser, mnemonic->line, "the address of '%s' is in a register that is not 64 bits wide",
                    mnemonic->whole);
      break;
    }
    case PTX_OPERAND_IMMEDIATE:
      break;
    case PTX_OPERAND_SYMBOL:
      if (instruction->space == PTX_GENERIC && base->space != PTX_GLOBAL && base->space != PTX_CONST)
        parser_fail(parser, mnemonic->line, "'%s' uses a variable's name as a generic address", mnemonic->whole);
      if (instruction->space != PTX_GENERIC && instruction->space != base->space)
        parser_fail(parser, mnemonic->line, "'%s' uses a variable of another state space", mnemonic->whole);
      instruction->offset = (int64_t)base->value;
      base->value = 0;
      break;
    default:
      mnemonic_refuse(parser, mnemonic);
  }
  if (token_is(parser, '+') || token_is(parser, '-')) instruction->offset += (int64_t)parse_number(parser, PTX_U64);
  token_expect(parser, ']');
}

static void parse_access(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  static const struct keyword vectors[] = {{"v2", 2}, {"v4", 4}, {"v8", 8}, {NULL, 0}};
  bool load = instruction->op == PTX_LD;
  instruction->space = (uint8_t)mnemonic_take_keyword(mnemonic, state_spaces, PTX_GENERIC);
  const bool plain_only = strcmp(mnemonic->piece[0], "ldu") == 0;
  if (plain_only && instruction->space != PTX_GLOBAL) mnemonic_refuse(parser, mnemonic);
  instruction->order = plain_only ? PTX_WEAK : (uint8_t)mnemonic_take_keyword(mnemonic, orders, PTX_WEAK);
  int scope = take_scope(mnemonic);
  const bool scoped = instruction->order >= PTX_RELAXED; /* weak and volatile have none */
  if (scope == SCOPE_CLUSTER || instruction->order == PTX_ACQ_REL || scoped != (scope != PTX_NO_SCOPE))
    mnemonic_refuse(parser, mnemonic);
  instruction->scope = (uint8_t)(instruction->order == PTX_VOLATILE ? PTX_SCOPE_SYS : scope);
  if (instruction->order == (load ? PTX_RELEASE : PTX_ACQUIRE)) mnemonic_refuse(parser, mnemonic);
  if (instruction->order != PTX_WEAK) instruction->flags |= PTX_STRONG;
  instruction->vector = (uint8_t)mnemonic_take_keyword(mnemonic, vectors, 1);
  if (load && instruction->space == PTX_GLOBAL && !plain_only) mnemonic_take(mnemonic, "nc");
  if (!plain_only) mnemonic_take_hints(mnemonic, load);
  if (!mnemonic_take_type(mnemonic, &instruction->type)) mnemonic_refuse(parser, mnemonic);
  enum ptx_type type = instruction->type;
  unsigned bytes = ptx_type_bytes(type);
  bool plain = (type >= PTX_B8 && type <= PTX_S64 && type != PTX_B128) || type == PTX_F32 || type == PTX_F64 ||
               type == PTX_F16 || type == PTX_BF16;
  if (!plain || bytes * instruction->vector > 32) mnemonic_refuse(parser, mnemonic);
  if (!load && instruction->space == PTX_CONST) mnemonic_refuse(parser, mnemonic);
  mnemonic_check_rest(parser, mnemonic);
  instruction->dst = parser_operands(parser, 8);
  instruction->src = parser_operands(parser, 9);
  bool braced;
  if (load) {
    unsigned count = parse_vector(parser, type, instruction->dst, 8, &braced);
    if (count != instruction->vector || braced != (instruction->vector > 1))
      parser_fail(parser, mnemonic->line, "'%s' has the wrong number of elements", mnemonic->whole);
    for (unsigned i = 0; i < count; i++) check_operand(parser, mnemonic, &instruction->dst[i], type, true, true);
    token_expect(parser, ',');
    parse_address(parser, mnemonic, instruction);
    instruction->dst_count = (uint8_t)count;
    instruction->src_count = 1;
  } else {
    parse_address(parser, mnemonic, instruction);
    token_expect(parser, ',');
    unsigned count = parse_vector(parser, type, instruction->src + 1, 8, &braced);
    if (count != instruction->vector || braced != (instruction->vector > 1))
      parser_fail(parser, mnemonic->line, "'%s' has the wrong number of elements", mnemonic->whole);
    for (unsigned i = 1; i <= count; i++) {
      check_operand(parser, mnemonic, &instruction->src[i], type, true, false);
      move_special(parser, &instruction->src[i], type, mnemonic->line);
    }
    instruction->src_count = (uint8_t)(1 + count);
  }
}

static const struct keyword atomic_operations[] = {{"add", PTX_ATOM_ADD},
                                                   {"min", PTX_ATOM_MIN},
                                                   {"max", PTX_ATOM_MAX},
                                                   {"inc", PTX_ATOM_INC},
                                                   {"dec", PTX_ATOM_DEC},
                                                   {"and", PTX_ATOM_AND},
                                                   {"or", PTX_ATOM_OR},
                                                   {"xor", PTX_ATOM_XOR},
                                                   {"exch", PTX_ATOM_EXCH},
                                                   {"cas", PTX_ATOM_CAS},
                                                   {NULL, 0}};

static const struct keyword vectors[] = {{"v2", 2}, {"v4", 4}, {"v8", 8}, {NULL, 0}};

static void parse_atomic(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  static const uint32_t types[] = {[PTX_ATOM_ADD] = INT32 | BIT(PTX_U64) | BIT(PTX_S64) | F32 | F64,
                                   [PTX_ATOM_MIN] = INT32 | INT64,
                                   [PTX_ATOM_MAX] = INT32 | INT64,
                                   [PTX_ATOM_INC] = BIT(PTX_U32),
                                   [PTX_ATOM_DEC] = BIT(PTX_U32),
                                   [PTX_ATOM_AND] = BIT(PTX_B32) | BIT(PTX_B64),
                                   [PTX_ATOM_OR] = BIT(PTX_B32) | BIT(PTX_B64),
                                   [PTX_ATOM_XOR] = BIT(PTX_B32) | BIT(PTX_B64),
                                   [PTX_ATOM_EXCH] = BIT(PTX_B32) | BIT(PTX_B64),
                                   [PTX_ATOM_CAS] = BIT(PTX_B16) | BIT(PTX_B32) | BIT(PTX_B64)};
  bool atom = instruction->op == PTX_ATOM;
  instruction->space = (uint8_t)mnemonic_take_keyword(mnemonic, state_spaces, PTX_GENERIC);
  instruction->order = (uint8_t)mnemonic_take_keyword(mnemonic, orders, PTX_RELAXED);
  instruction->flags |= PTX_STRONG;
  int scope = take_scope(mnemonic);
  if (scope == SCOPE_CLUSTER) mnemonic_refuse(parser, mnemonic);
  instruction->scope = (uint8_t)scope;
  if (instruction->order == PTX_WEAK || instruction->order == PTX_VOLATILE) mnemonic_refuse(parser, mnemonic);
  int operation = mnemonic_take_keyword(mnemonic, atomic_operations, -1);
  if (operation < 0 || !mnemonic_take_type(mnemonic, &instruction->type)) mnemonic_refuse(parser, mnemonic);
  instruction->mode = (uint8_t)operation;
  enum ptx_type type = instruction->type;
  bool half = BIT(type) & (HALVES | BRAINS);
  if (half ? operation != PTX_ATOM_ADD || !mnemonic_take(mnemonic, "noftz") : !(types[operation] & BIT(type)))
    mnemonic_refuse(parser, mnemonic);
  unsigned vector = (unsigned)mnemonic_take_keyword(mnemonic, vectors, 1);
  if (vector > 1 && (operation != PTX_ATOM_ADD || instruction->space == PTX_SHARED || !(half || type == PTX_F32) ||
                     vector * ptx_type_bytes(type) > 16))
    mnemonic_refuse(parser, mnemonic);
  if (!atom && (operation == PTX_ATOM_EXCH || operation == PTX_ATOM_CAS)) mnemonic_refuse(parser, mnemonic);
  if (instruction->space == PTX_LOCAL || instruction->space == PTX_CONST || instruction->space == PTX_PARAM)
    mnemonic_refuse(parser, mnemonic);
  mnemonic_check_rest(parser, mnemonic);
  instruction->vector = (uint8_t)vector;
  instruction->dst = parser_operands(parser, 8);
  instruction->src = parser_operands(parser, 9);
  bool braced;
  if (atom) {
    instruction->dst_count = (uint8_t)vector;
    if (parse_vector(parser, type, instruction->dst, 8, &braced) != vector) mnemonic_refuse(parser, mnemonic);
    for (unsigned i = 0; i < vector; i++) check_operand(parser, mnemonic, &instruction->dst[i], type, false, true);
    token_expect(parser, ',');
  }
  parse_address(parser, mnemonic, instruction);
  if (vector > 1) {
    token_expect(parser, ',');
    if (parse_vector(parser, type, instruction->src + 1, 8, &braced) != vector) mnemonic_refuse(parser, mnemonic);
    for (unsigned i = 1; i <= vector; i++) check_operand(parser, mnemonic, &instruction->src[i], type, false, false);
    instruction->src_count = (uint8_t)(1 + vector);
    return;
  }
  instruction->src_count = operation == PTX_ATOM_CAS ? 3 : 2;
  for (int i = 1; i < instruction->src_count; i++) {
    token_expect(parser, ',');
    instruction->src[i] = parse_operand(parser, type);
    check_operand(parser, mnemonic, &instruction->src[i], type, false, false);
    move_special(parser, &instruction->src[i], type, mnemonic->line);
  }
}

static void parse_prefetch(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  static const struct keyword levels[] = {
      {"L1", 1}, {"L2", 1}, {"L2::evict_last", 1}, {"L2::evict_normal", 1}, {NULL, 0}};
  instruction->space = (uint8_t)mnemonic_take_keyword(mnemonic, state_spaces, PTX_GENERIC);
  if (!mnemonic_take_keyword(mnemonic, levels, 0)) mnemonic_refuse(parser, mnemonic);
  mnemonic_check_rest(parser, mnemonic);
  instruction->src = parser_operands(parser, 1);
  instruction->src_count = 1;
  parse_address(parser, mnemonic, instruction);
}

static void parse_list(struct parser *parser, const struct mnemonic *mnemonic, struct ptx_instruction *instruction,
                       int first, int count, const enum ptx_type *types) {
  for (int i = first; i < count; i++) {
    if (i) token_expect(parser, ',');
    instruction->src[i] = parse_operand(parser, types[i]);
    check_operand(parser, mnemonic, &instruction->src[i], types[i], false, false);
    if (instruction->src[i].negate && types[i] != PTX_PRED) mnemonic_refuse(parser, mnemonic);
    move_special(parser, &instruction->src[i], types[i], mnemonic->line);
  }
}

static void parse_shuffle(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  static const struct keyword modes[] = {{"up", PTX_SHUFFLE_UP},
                                         {"down", PTX_SHUFFLE_DOWN},
                                         {"bfly", PTX_SHUFFLE_BFLY},
                                         {"idx", PTX_SHUFFLE_IDX},
                                         {NULL, 0}};
  static const enum ptx_type types[] = {PTX_B32, PTX_B32, PTX_B32, PTX_B32};
  int mode = mnemonic_take_keyword(mnemonic, modes, -1);
  if (!mnemonic_take(mnemonic, "sync") || mode < 0) mnemonic_refuse(parser, mnemonic);
  mnemonic_check_rest(parser, mnemonic);
  instruction->mode = (uint8_t)mode;
  instruction->dst = parser_operands(parser, 2);
  instruction->src = parser_operands(parser, 4);
  instruction->dst[0] = parse_operand(parser, PTX_B32);
  instruction->dst_count = 1;
  check_operand(parser, mnemonic, &instruction->dst[0], PTX_B32, false, true);
  if (token_accept(parser, '|')) {
    instruction->dst[1] = parse_operand(parser, PTX_PRED);
    check_operand(parser, mnemonic, &instruction->dst[1], PTX_PRED, false, true);
    instruction->dst_count = 2;
  }
  token_expect(parser, ',');
  instruction->src[0] = parse_operand(parser, PTX_B32);
  check_operand(parser, mnemonic, &instruction->src[0], PTX_B32, false, false);
  move_special(parser, &instruction->src[0], PTX_B32, mnemonic->line);
  instruction->src_count = 4;
  parse_list(parser, mnemonic, instruction, 1, 4, types);
}

static void parse_vote(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  static const struct keyword modes[] = {
      {"all", PTX_VOTE_ALL}, {"any", PTX_VOTE_ANY}, {"uni", PTX_VOTE_UNI}, {"ballot", PTX_VOTE_BALLOT}, {NULL, 0}};
  static const enum ptx_type types[] = {PTX_PRED, PTX_B32};
  int mode = mnemonic_take_keyword(mnemonic, modes, -1);
  if (!mnemonic_take(mnemonic, "sync") || mode < 0) mnemonic_refuse(parser, mnemonic);
  if ((mode == PTX_VOTE_BALLOT) != (instruction->type == PTX_B32)) mnemonic_refuse(parser, mnemonic);
  mnemonic_check_rest(parser, mnemonic);
  instruction->mode = (uint8_t)mode;
  instruction->dst = parser_operands(parser, 1);
  instruction->src = parser_operands(parser, 2);
  instruction->dst_count = 1;
  instruction->src_count = 2;
  instruction->dst[0] = parse_operand(parser, instruction->type);
  check_operand(parser, mnemonic, &instruction->dst[0], instruction->type, false, true);
  token_expect(parser, ',');
  instruction->src[0] = parse_operand(parser, PTX_U32);
  check_operand(parser, mnemonic, &instruction->src[0], PTX_PRED, false, false);
  parse_list(parser, mnemonic, instruction, 1, 2, types);
}

static void parse_match(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  bool all = mnemonic_take(mnemonic, "all");
  if ((!all && !mnemonic_take(mnemonic, "any")) || !mnemonic_take(mnemonic, "sync")) mnemonic_refuse(parser, mnemonic);
  mnemonic_check_rest(parser, mnemonic);
  instruction->mode = all ? PTX_VOTE_ALL : PTX_VOTE_ANY;
  instruction->dst = parser_operands(parser, 2);
  instruction->src = parser_operands(parser, 2);
  instruction->dst[0] = parse_operand(parser, PTX_B32);
  instruction->dst_count = 1;
  check_operand(parser, mnemonic, &instruction->dst[0], PTX_B32, false, true);
  if (token_accept(parser, '|')) {
    instruction->dst[1] = parse_operand(parser, PTX_PRED);
    check_operand(parser, mnemonic, &instruction->dst[1], PTX_PRED, false, true);
    instruction->dst_count = 2;
    if (!all) mnemonic_refuse(parser, mnemonic);
  }
  token_expect(parser, ',');
  enum ptx_type types[] = {(enum ptx_type)instruction->type, PTX_B32};
  instruction->src_count = 2;
  parse_list(parser, mnemonic, instruction, 0, 2, types);
}

static void parse_barrier(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  static const enum ptx_type types[] = {PTX_B32, PTX_B32, PTX_PRED};
  bool bar = strcmp(mnemonic->piece[0], "bar") == 0;
  bool aligned = mnemonic_take(mnemonic, "aligned");
  if (bar && mnemonic_take(mnemonic, "warp")) {
    if (!mnemonic_take(mnemonic, "sync")) mnemonic_refuse(parser, mnemonic);
    mnemonic_check_rest(parser, mnemonic);
    instruction->op = PTX_BAR_WARP;
    instruction->src = parser_operands(parser, 1);
    instruction->src_count = 1;
    parse_list(parser, mnemonic, instruction, 0, 1, types);
    return;
  }
  mnemonic_take(mnemonic, "cta");
  if (bar || aligned) instruction->flags |= PTX_ALIGNED;
  bool reduce = mnemonic_take(mnemonic, "red");
  if (reduce) {
    static const struct keyword modes[] = {
        {"and", PTX_BAR_RED_AND}, {"or", PTX_BAR_RED_OR}, {"popc", PTX_BAR_RED_POPC}, {NULL, 0}};
    int mode = mnemonic_take_keyword(mnemonic, modes, -1);
    if (mode < 0 || !mnemonic_take_type(mnemonic, &instruction->type)) mnemonic_refuse(parser, mnemonic);
    if (instruction->type != (mode == PTX_BAR_RED_POPC ? PTX_U32 : PTX_PRED)) mnemonic_refuse(parser, mnemonic);
    instruction->mode = (uint8_t)mode;
  } else if (mnemonic_take(mnemonic, "sync")) {
    instruction->mode = PTX_BAR_SYNC;
  } else if (mnemonic_take(mnemonic, "arrive")) {
    instruction->mode = PTX_BAR_ARRIVE;
  } else {
    mnemonic_refuse(parser, mnemonic);
  }
  mnemonic_check_rest(parser, mnemonic);
  instruction->dst = parser_operands(parser, 1);
  instruction->src = parser_operands(parser, 3);
  if (reduce) {
    instruction->dst_count = 1;
    instruction->dst[0] = parse_operand(parser, instruction->type);
    check_operand(parser, mnemonic, &instruction->dst[0], instruction->type, false, true);
    token_expect(parser, ',');
  }
  do {
    if (instruction->src_count == 3) mnemonic_refuse(parser, mnemonic);
    struct ptx_operand *operand = &instruction->src[instruction->src_count++];
    *operand = parse_operand(parser, PTX_U32);
    bool predicate =
        operand->kind == PTX_OPERAND_REGISTER && parser->body->register_class[operand->index] == PTX_CLASS_PRED;
    if (predicate && (!reduce || token_is(parser, ','))) mnemonic_refuse(parser, mnemonic);
    check_operand(parser, mnemonic, operand, predicate ? PTX_PRED : PTX_B32, false, false);
    move_special(parser, operand, PTX_B32, mnemonic->line);
  } while (token_accept(parser, ','));
  const struct ptx_operand *last = &instruction->src[instruction->src_count - 1];
  bool ends_in_predicate =
      last->kind == PTX_OPERAND_REGISTER && parser->body->register_class[last->index] == PTX_CLASS_PRED;
  if (reduce ? !ends_in_predicate || instruction->src_count < 2 : instruction->src_count > 2)
    mnemonic_refuse(parser, mnemonic);
  if (instruction->mode == PTX_BAR_ARRIVE && instruction->src_count != 2) mnemonic_refuse(parser, mnemonic);
  if (instruction->src[0].kind == PTX_OPERAND_IMMEDIATE && instruction->src[0].value > 15)
    parser_fail(parser, mnemonic->line, "'%s' names a barrier outside 0 to 15", mnemonic->whole);
}

static void parse_fence(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  static const struct keyword modes[] = {{"sc", PTX_SEQ_CST}, {"acq_rel", PTX_ACQ_REL}, {NULL, 0}};
  if (strcmp(mnemonic->piece[0], "membar") == 0) {
    instruction->order = PTX_SEQ_CST;
    if (mnemonic_take(mnemonic, "gl")) {
      mnemonic_check_rest(parser, mnemonic);
      return;
    }
  } else {
    instruction->order = (uint8_t)mnemonic_take_keyword(mnemonic, modes, PTX_ACQ_REL);
  }
  int scope = take_scope(mnemonic);
  if (!scope || scope == SCOPE_CLUSTER) mnemonic_refuse(parser, mnemonic);
  instruction->scope = (uint8_t)scope;
  mnemonic_check_rest(parser, mnemonic);
}

static const char *parse_name(struct parser *parser) {
  struct token token = parser->token;
  if (token.kind != TOKEN_WORD) parser_fail(parser, token.line, "name expected");
  lexer_next(parser);
  return parser_copy(parser, token.text, token.length);
}

static unsigned parse_arguments(struct parser *parser, struct ptx_operand **operands) {
  uint32_t capacity = 0, count = 0;
  token_expect(parser, '(');
  while (!token_is(parser, ')')) {
    if (count) token_expect(parser, ',');
    *operands = parser_grow(parser, *operands, count, &capacity, sizeof **operands);
    if (count == 255) parser_fail(parser, parser->token.line, "a call has more than 255 arguments");
    (*operands)[count] = parse_operand(parser, PTX_U64);
    move_special(parser, &(*operands)[count++], PTX_U32, parser->token.line);
  }
  lexer_next(parser);
  return count;
}

/* The function's name; NULL for a call through a register, whose number is then in `offset`. */
static const char *parse_call(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  mnemonic_take(mnemonic, "uni");
  mnemonic_check_rest(parser, mnemonic);
  if (token_is(parser, '(')) {
    instruction->dst_count = (uint8_t)parse_arguments(parser, &instruction->dst);
    token_expect(parser, ',');
  }
  uint32_t index;
  const char *name = NULL;
  if (parser->token.kind == TOKEN_WORD &&
      find_register(parser->scope, parser->token.text, parser->token.length, &index)) {
    if (parser->body->register_class[index] != PTX_CLASS_64)
      parser_fail(parser, mnemonic->line, "a call goes through a register that is not 64 bits wide");
    lexer_next(parser);
    instruction->offset = index;
  } else {
    name = parse_name(parser);
  }
  bool more = token_accept(parser, ',');
  if (more && (name || token_is(parser, '('))) {
    instruction->src_count = (uint8_t)parse_arguments(parser, &instruction->src);
    more = !name && token_accept(parser, ',');
  }
  if (more) parse_name(parser); /* the prototype */
  return name;
}

/* ---- one instruction ---- */

/* The row of the table that the mnemonic fits: its name pieces, types, rounding and flags. */
static const struct form *match_form(struct parser *parser, struct mnemonic *mnemonic,
                                     struct ptx_instruction *instruction) {
  static const struct keyword roundings[] = {{"rn", PTX_RN},         {"rz", PTX_RZ},     {"rm", PTX_RM},
                                             {"rp", PTX_RP},         {"rni", PTX_RNI},   {"rzi", PTX_RZI},
                                             {"rmi", PTX_RMI},       {"rpi", PTX_RPI},   {"rna", PTX_RNA},
                                             {"approx", PTX_APPROX}, {"full", PTX_FULL}, {NULL, 0}};
  static const struct keyword flag_names[] = {
      {"ftz", PTX_FTZ},     {"sat", PTX_SAT},   {"NaN", PTX_NAN_RESULT},      {"shiftamt", PTX_SHIFT_AMOUNT},
      {"clamp", PTX_CLAMP}, {"relu", PTX_RELU}, {"satfinite", PTX_SATFINITE}, {NULL, 0}};
  bool known = false;
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
    const struct form *form = &forms[i];
    struct mnemonic attempt = *mnemonic;
    size_t stem = strcspn(form->name, ".");
    if (strlen(attempt.piece[0]) != stem || memcmp(attempt.piece[0], form->name, stem) != 0) continue;
    known = true;
    bool fits = true;
    for (const char *at = form->name + stem; *at && fits;) {
      char part[PIECE_BYTES];
      size_t length = strcspn(at + 1, ".");
      snprintf(part, sizeof part, "%.*s", (int)length, at + 1);
      fits = mnemonic_take(&attempt, part);
      at += 1 + length;
    }
    if (!fits) continue;
    if (!form->operands[0] && !form->types) { /* parsed by a function of its own */
      *mnemonic = attempt;
      return form;
    }
    uint8_t type = PTX_NO_TYPE, source_type = PTX_NO_TYPE;
    uint16_t flags = 0;
    if (form->types) {
      if (!mnemonic_take_type(&attempt, &type) || !(form->types & BIT(type))) continue;
    } else if (form->op == PTX_CVT || form->op == PTX_SET || form->op == PTX_SLCT) {
      if (!mnemonic_take_type(&attempt, &type) || !mnemonic_take_type(&attempt, &source_type)) continue;
    }
    int rounding = form->op == PTX_CVT || form->roundings != NONE
                       ? mnemonic_take_keyword(&attempt, roundings, PTX_NO_ROUNDING)
                       : PTX_NO_ROUNDING;
    if (!(form->roundings & BIT(rounding))) continue;
    for (int flag; (flag = mnemonic_take_keyword(&attempt, flag_names, 0)) != 0;) {
      if (!(form->flags & flag) || (flags & flag)) fits = false;
      flags |= (uint16_t)flag;
    }
    if (!fits || (flags & form->required_flags) != form->required_flags) continue;
    instruction->type = type;
    instruction->source_type = source_type;
    instruction->rounding = (uint8_t)rounding;
    instruction->flags = flags | form->implied_flags;
    *mnemonic = attempt;
    return form;
  }
  if (!known) parser_fail(parser, mnemonic->line, "opcode '%s' is not implemented", mnemonic->piece[0]);
  parser_fail(parser, mnemonic->line, "'%s' has a type or modifier that is not implemented", mnemonic->whole);
}

static void add_carry(struct parser *parser, struct ptx_instruction *instruction) {
  struct body *body = parser->body;
  if (!(instruction->flags & (PTX_CARRY_IN | PTX_CARRY_OUT)) || !instruction->dst || !instruction->src) return;
  if (body->carry == PTX_NONE) body->carry = parser_add_register(parser, body, PTX_CLASS_PRED, 1);
  struct ptx_operand carry = {.kind = PTX_OPERAND_REGISTER, .index = body->carry};
  if (instruction->flags & PTX_CARRY_OUT) instruction->dst[instruction->dst_count++] = carry;
  if (instruction->flags & PTX_CARRY_IN) instruction->src[instruction->src_count++] = carry;
}

/* ---- instructions that stand for several others ---- */

struct ptx_operand parser_new_register(struct parser *parser, enum ptx_type type) {
  return (struct ptx_operand){.kind = PTX_OPERAND_REGISTER,
                              .index = parser_add_register(parser, parser->body, type_class(parser, type), 1)};
}

struct ptx_operand operand_number(uint64_t value) {
  return (struct ptx_operand){.kind = PTX_OPERAND_IMMEDIATE, .value = value};
}

/* Appends one instruction of the expansion; `whole` lends guard, line and the fields that are not set in `part`. */
void parser_append_part(struct parser *parser, const struct ptx_instruction *whole, struct ptx_instruction part,
                        struct ptx_operand dst, unsigned count, const struct ptx_operand *src) {
  part.guard = whole->guard;
  part.guard_negate = whole->guard_negate;
  part.line = whole->line;
  part.file = whole->file;
  part.source_line = whole->source_line;
  part.call_file = whole->call_file;
  part.call_line = whole->call_line;
  part.dst_count = 1;
  part.src_count = (uint8_t)count;
  part.dst = parser_operands(parser, 1);
  part.src = parser_operands(parser, count);
  part.dst[0] = dst;
  memcpy(part.src, src, count * sizeof *src);
  body_append(parser, STATEMENT_INSTRUCTION)->instruction = part;
}

static enum ptx_type element_of_pair(unsigned type) {
  switch (type) {
    case PTX_F16X2:
      return PTX_F16;
    case PTX_BF16X2:
      return PTX_BF16;
    case PTX_E4M3X2:
      return PTX_E4M3;
    case PTX_E5M2X2:
      return PTX_E5M2;
    default:
      return (enum ptx_type)type;
  }
}

/* A conversion of or to a pair as two conversions of its elements, which are taken apart and put together with moves;
 * of two sources the first is the high element. */
static void expand_cvt_pair(struct parser *parser, const struct ptx_instruction *whole, bool to_bytes,
                            bool from_bytes) {
  struct ptx_operand from[2], to[2];
  const struct ptx_instruction convert = {.op = PTX_CVT,
                                          .type = (uint8_t)element_of_pair(whole->type),
                                          .source_type = (uint8_t)element_of_pair(whole->source_type),
                                          .rounding = whole->rounding,
                                          .flags = whole->flags};
  if (whole->src_count == 2) {
    from[0] = whole->src[1];
    from[1] = whole->src[0];
  } else {
    struct ptx_operand shifted[2] = {whole->src[0], operand_number(from_bytes ? 8 : 16)};
    struct ptx_operand wide = parser_new_register(parser, from_bytes ? PTX_B16 : PTX_B32);
    parser_append_part(parser, whole, (struct ptx_instruction){.op = PTX_SHR, .type = from_bytes ? PTX_B16 : PTX_B32},
                       wide, 2, shifted);
    const struct ptx_operand halves[2] = {whole->src[0], wide};
    for (int i = 0; i < 2; i++) {
      from[i] = halves[i];
      if (from_bytes) continue; /* the conversion reads the low byte */
      from[i] = parser_new_register(parser, PTX_B16);
      parser_append_part(parser, whole,
                         (struct ptx_instruction){.op = PTX_CVT, .type = PTX_U16, .source_type = PTX_U32}, from[i], 1,
                         &halves[i]);
    }
  }
  for (int i = 0; i < 2; i++) {
    to[i] = parser_new_register(parser, PTX_B16);
    parser_append_part(parser, whole, convert, to[i], 1, &from[i]);
  }
  parser_append_part(parser, whole, (struct ptx_instruction){.op = PTX_MOV, .type = to_bytes ? PTX_B16 : PTX_B32},
                     whole->dst[0], 2, to);
}

/* Executors need not know these: each is written with instructions that they have. False: it is none of them. */
static bool expand(struct parser *parser, const struct ptx_instruction *whole) {
  const struct ptx_operand *src = whole->src, dst = whole->dst_count ? whole->dst[0] : (struct ptx_operand){0};
  if (whole->op == PTX_MMA && whole->combine) {
    expand_wmma(parser, whole);
    return true;
  }
  if (!src) return false;
  if (whole->op == PTX_RSQRT && whole->type == PTX_F64 && !(whole->flags & PTX_FTZ)) {
    struct ptx_operand root = parser_new_register(parser, PTX_F64);
    parser_append_part(parser, whole, (struct ptx_instruction){.op = PTX_SQRT, .type = PTX_F64, .rounding = PTX_RN},
                       root, 1, src);
    parser_append_part(parser, whole, (struct ptx_instruction){.op = PTX_RCP, .type = PTX_F64, .rounding = PTX_RN}, dst,
                       1, &root);
    return true;
  }
  if (whole->op == PTX_BMSK) { /* a field of ones inserted into zero; bfi looks at eight bits of position and length */
    bool clamp = whole->flags & PTX_CLAMP;
    struct ptx_operand field[4] = {operand_number(UINT32_MAX), operand_number(0), parser_new_register(parser, PTX_U32),
                                   parser_new_register(parser, PTX_U32)};
    for (int i = 0; i < 2; i++) {
      struct ptx_operand limited[2] = {src[i], operand_number(clamp ? 255 : 31)};
      struct ptx_instruction limit = {.op = clamp ? PTX_MIN : PTX_AND, .type = clamp ? PTX_U32 : PTX_B32};
      parser_append_part(parser, whole, limit, field[2 + i], 2, limited);
    }
    parser_append_part(parser, whole, (struct ptx_instruction){.op = PTX_BFI, .type = PTX_B32}, dst, 4, field);
    return true;
  }
  if ((whole->op == PTX_ATOM || whole->op == PTX_RED) &&
      whole->vector > 1) { /* the elements are atomic, not the whole */
    for (unsigned i = 0; i < whole->vector; i++) {
      struct ptx_instruction element = *whole;
      element.vector = 1;
      element.offset += i * ptx_type_bytes(whole->type);
      const struct ptx_operand operands[2] = {whole->src[0], whole->src[1 + i]};
      parser_append_part(parser, whole, element, whole->dst[i], 2, operands);
      if (whole->op == PTX_RED) parser->body->statements[parser->body->statement_count - 1].instruction.dst_count = 0;
    }
    return true;
  }
  if (whole->op == PTX_CVT) {
    bool to_bytes = whole->type == PTX_E4M3X2 || whole->type == PTX_E5M2X2;
    bool from_bytes = whole->source_type == PTX_E4M3X2 || whole->source_type == PTX_E5M2X2;
    if (to_bytes || from_bytes || is_pair((enum ptx_type)whole->type)) {
      expand_cvt_pair(parser, whole, to_bytes, from_bytes);
      return true;
    }
  }
  return false;
}

static void parse_guard(struct parser *parser, uint32_t *guard, bool *negate) {
  *guard = PTX_NONE;
  *negate = false;
  if (!token_accept(parser, '@')) return;
  *negate = token_accept(parser, '!');
  struct token token = parser->token;
  bool found = token.kind == TOKEN_WORD && find_register(parser->scope, token.text, token.length, guard);
  if (!found || parser->body->register_class[*guard] != PTX_CLASS_PRED)
    parser_fail(parser, token.line, "a predicate register is expected after '@'");
  lexer_next(parser);
}

void parse_instruction(struct parser *parser) {
  uint32_t guard;
  bool negate;
  unsigned file = parser->file, source_line = parser->source_line;
  unsigned call_file = parser->call_file, call_line = parser->call_line;
  parse_guard(parser, &guard, &negate);
  if (parser->token.kind != TOKEN_WORD) parser_fail(parser, parser->token.line, "instruction expected");
  struct mnemonic mnemonic;
  cut(parser, &mnemonic);
  struct ptx_instruction instruction = {0};
  const struct form *form = match_form(parser, &mnemonic, &instruction);
  const char *name = NULL;
  instruction.op = form->op;
  lexer_next(parser);
  switch (form->op) {
    case PTX_SETP:
      take_comparison(parser, &mnemonic, &instruction, instruction.type);
      mnemonic_check_rest(parser, &mnemonic);
      parse_setp(parser, &mnemonic, &instruction);
      break;
    case PTX_SET: {
      uint32_t to = BIT(instruction.type), from = BIT(instruction.source_type);
      take_comparison(parser, &mnemonic, &instruction, instruction.source_type);
      mnemonic_check_rest(parser, &mnemonic);
      bool numbers = (to & (INT32 | F32)) && (from & (BITS | INTEGERS | F32 | F64));
      bool to_half = (to & (BIT(PTX_F16) | BIT(PTX_BF16))) && (from & (BITS | INTEGERS | F32 | F64));
      bool halves = (from & (BIT(PTX_F16) | BIT(PTX_BF16))) && (to & (INT16 | INT32 | from));
      bool pairs = is_pair(instruction.source_type) && (to & (from | BIT(PTX_U32) | BIT(PTX_S32)));
      if (!numbers && !to_half && !halves && !pairs) mnemonic_refuse(parser, &mnemonic);
      if ((instruction.flags & PTX_FTZ) && !(from & (F32 | HALVES))) mnemonic_refuse(parser, &mnemonic);
      parse_set(parser, &mnemonic, &instruction);
      break;
    }
    case PTX_SLCT: {
      uint32_t to = BIT(instruction.type);
      mnemonic_check_rest(parser, &mnemonic);
      if (!(to & (BITS | INTEGERS | F32 | F64))) mnemonic_refuse(parser, &mnemonic);
      if (instruction.source_type != PTX_S32 && instruction.source_type != PTX_F32) mnemonic_refuse(parser, &mnemonic);
      if ((instruction.flags & PTX_FTZ) && instruction.source_type != PTX_F32) mnemonic_refuse(parser, &mnemonic);
      parse_pattern(parser, &mnemonic, &instruction, form->operands);
      break;
    }
    case PTX_CVT:
      mnemonic_check_rest(parser, &mnemonic);
      if (parse_cvt_pair(parser, &mnemonic, &instruction)) break;
      parse_cvt_types(parser, &mnemonic, &instruction);
      parse_pattern(parser, &mnemonic, &instruction, form->operands);
      break;
    case PTX_CVTA:
      if (mnemonic_take(&mnemonic, "to")) instruction.op = PTX_CVTA_TO;
      instruction.space = (uint8_t)mnemonic_take_keyword(&mnemonic, state_spaces, PTX_GENERIC);
      if (instruction.space == PTX_GENERIC || instruction.type != PTX_U64) mnemonic_refuse(parser, &mnemonic);
      mnemonic_check_rest(parser, &mnemonic);
      parse_pattern(parser, &mnemonic, &instruction, form->operands);
      break;
    case PTX_ISSPACEP:
      instruction.space = (uint8_t)mnemonic_take_keyword(&mnemonic, state_spaces, PTX_GENERIC);
      if (instruction.space == PTX_GENERIC) mnemonic_refuse(parser, &mnemonic);
      mnemonic_check_rest(parser, &mnemonic);
      parse_pattern(parser, &mnemonic, &instruction, form->operands);
      break;
    case PTX_TESTP: {
      static const struct keyword tests[] = {{"finite", PTX_TEST_FINITE},
                                             {"infinite", PTX_TEST_INFINITE},
                                             {"number", PTX_TEST_NUMBER},
                                             {"notanumber", PTX_TEST_NOTANUMBER},
                                             {"normal", PTX_TEST_NORMAL},
                                             {"subnormal", PTX_TEST_SUBNORMAL},
                                             {NULL, 0}};
      int test = mnemonic_take_keyword(&mnemonic, tests, -1);
      if (test < 0) mnemonic_refuse(parser, &mnemonic);
      instruction.mode = (uint8_t)test;
      mnemonic_check_rest(parser, &mnemonic);
      parse_pattern(parser, &mnemonic, &instruction, form->operands);
      break;
    }
    case PTX_PRMT: {
      static const struct keyword modes[] = {{"f4e", PTX_PRMT_F4E},
                                             {"b4e", PTX_PRMT_B4E},
                                             {"rc8", PTX_PRMT_RC8},
                                             {"ecl", PTX_PRMT_ECL},
                                             {"ecr", PTX_PRMT_ECR},
                                             {"rc16", PTX_PRMT_RC16},
                                             {NULL, 0}};
      instruction.mode = (uint8_t)mnemonic_take_keyword(&mnemonic, modes, PTX_PRMT_DEFAULT);
      mnemonic_check_rest(parser, &mnemonic);
      parse_pattern(parser, &mnemonic, &instruction, form->operands);
      break;
    }
    case PTX_SHF_L:
    case PTX_SHF_R:
      if (mnemonic_take(&mnemonic, "wrap") == ((instruction.flags & PTX_CLAMP) != 0))
        mnemonic_refuse(parser, &mnemonic);
      mnemonic_check_rest(parser, &mnemonic);
      parse_pattern(parser, &mnemonic, &instruction, form->operands);
      break;
    case PTX_TRAP:
      mnemonic_check_rest(parser, &mnemonic);
      if (strcmp(mnemonic.piece[0], "brkpt") == 0) instruction.mode = PTX_TRAP_BREAKPOINT;
      break;
    case PTX_VABSDIFF4: {
      uint8_t types[3] = {0};
      for (int i = 0; i < 3; i++)
        if (!mnemonic_take_type(&mnemonic, &types[i]) || types[i] != PTX_U32) mnemonic_refuse(parser, &mnemonic);
      instruction.type = PTX_U32;
      if (mnemonic_take(&mnemonic, "add")) instruction.mode = 1;
      mnemonic_check_rest(parser, &mnemonic);
      parse_pattern(parser, &mnemonic, &instruction, form->operands);
      break;
    }
    case PTX_DP2A:
    case PTX_DP4A: {
      uint8_t a = 0, b = 0;
      if (form->op == PTX_DP2A) {
        instruction.mode = mnemonic_take(&mnemonic, "hi");
        if (!instruction.mode && !mnemonic_take(&mnemonic, "lo")) mnemonic_refuse(parser, &mnemonic);
      }
      if (!mnemonic_take_type(&mnemonic, &a) || !mnemonic_take_type(&mnemonic, &b) || !(BIT(a) & INT32) ||
          !(BIT(b) & INT32))
        mnemonic_refuse(parser, &mnemonic);
      instruction.type = a;
      instruction.source_type = b;
      mnemonic_check_rest(parser, &mnemonic);
      parse_pattern(parser, &mnemonic, &instruction, form->operands);
      break;
    }
    case PTX_REDUX: {
      int operation = mnemonic_take_keyword(&mnemonic, atomic_operations, -1);
      uint32_t type = BIT(instruction.type);
      bool arithmetic = operation == PTX_ATOM_ADD || operation == PTX_ATOM_MIN || operation == PTX_ATOM_MAX;
      bool logical = operation == PTX_ATOM_AND || operation == PTX_ATOM_OR || operation == PTX_ATOM_XOR;
      if (!mnemonic_take(&mnemonic, "sync") || !(arithmetic || logical)) mnemonic_refuse(parser, &mnemonic);
      if (!(type & (uint32_t)(arithmetic ? INT32 : BIT(PTX_B32)))) mnemonic_refuse(parser, &mnemonic);
      instruction.mode = (uint8_t)operation;
      mnemonic_check_rest(parser, &mnemonic);
      parse_pattern(parser, &mnemonic, &instruction, form->operands);
      break;
    }
    case PTX_LOP3:
      mnemonic_check_rest(parser, &mnemonic);
      parse_pattern(parser, &mnemonic, &instruction, form->operands);
      if (instruction.src[3].kind != PTX_OPERAND_IMMEDIATE || instruction.src[3].value > 255)
        mnemonic_refuse(parser, &mnemonic);
      instruction.lut = (uint8_t)instruction.src[3].value;
      instruction.src_count = 3;
      break;
    case PTX_MOV:
      mnemonic_check_rest(parser, &mnemonic);
      parse_mov(parser, &mnemonic, &instruction);
      break;
    case PTX_LD:
      parse_access(parser, &mnemonic, &instruction);
      break;
    case PTX_ST:
      parse_access(parser, &mnemonic, &instruction);
      break;
    case PTX_ATOM:
    case PTX_RED:
      parse_atomic(parser, &mnemonic, &instruction);
      break;
    case PTX_PREFETCH:
      parse_prefetch(parser, &mnemonic, &instruction);
      break;
    case PTX_SHFL:
      parse_shuffle(parser, &mnemonic, &instruction);
      break;
    case PTX_VOTE:
      parse_vote(parser, &mnemonic, &instruction);
      break;
    case PTX_MATCH:
      parse_match(parser, &mnemonic, &instruction);
      break;
    case PTX_BAR:
      parse_barrier(parser, &mnemonic, &instruction);
      break;
    case PTX_MEMBAR:
      parse_fence(parser, &mnemonic, &instruction);
      break;
    case PTX_MMA:
      (strcmp(mnemonic.piece[0], "wmma") == 0 ? parse_wmma : parse_mma)(parser, &mnemonic, &instruction);
      break;
    case PTX_LDMATRIX:
    case PTX_STMATRIX:
      parse_ldmatrix(parser, &mnemonic, &instruction);
      break;
    case PTX_MOVMATRIX:
      parse_movmatrix(parser, &mnemonic, &instruction);
      break;
    case PTX_MBARRIER:
      parse_mbarrier(parser, &mnemonic, &instruction);
      break;
    case PTX_CP_ASYNC:
      parse_cp_async(parser, &mnemonic, &instruction);
      break;
    case PTX_NANOSLEEP: {
      static const enum ptx_type types[] = {PTX_U32};
      mnemonic_check_rest(parser, &mnemonic);
      instruction.src = parser_operands(parser, 1);
      instruction.src_count = 1;
      parse_list(parser, &mnemonic, &instruction, 0, 1, types);
      break;
    }
    case PTX_BRA:
    case PTX_RET:
      if (mnemonic_take(&mnemonic, "uni")) instruction.flags |= PTX_UNIFORM;
      mnemonic_check_rest(parser, &mnemonic);
      if (form->op == PTX_BRA) name = parse_name(parser);
      break;
    case PTX_BRX: {
      static const enum ptx_type types[] = {PTX_U32};
      if (!mnemonic_take(&mnemonic, "idx")) mnemonic_refuse(parser, &mnemonic);
      if (mnemonic_take(&mnemonic, "uni")) instruction.flags |= PTX_UNIFORM;
      mnemonic_check_rest(parser, &mnemonic);
      instruction.src = parser_operands(parser, 1);
      instruction.src_count = 1;
      parse_list(parser, &mnemonic, &instruction, 0, 1, types);
      token_expect(parser, ',');
      name = parse_name(parser);
      break;
    }
    case PTX_OP_COUNT:
      name = parse_call(parser, &mnemonic, &instruction);
      break;
    default:
      mnemonic_check_rest(parser, &mnemonic);
      if (form->operands[0]) parse_pattern(parser, &mnemonic, &instruction, form->operands);
      break;
  }
  add_carry(parser, &instruction);
  instruction.guard = guard;
  instruction.guard_negate = negate;
  instruction.line = mnemonic.line;
  instruction.file = file;
  instruction.source_line = source_line;
  instruction.call_file = call_file;
  instruction.call_line = call_line;
  if (parser->region) {
    if (instruction.op != PTX_MAD || ptx_type_bytes(instruction.type) != 8 || instruction.flags != 0)
      parser_fail(parser, mnemonic.line, "the pragma noprop.region stands before '%s', not mad.lo.u64", mnemonic.whole);
    instruction.flags |= PTX_REGION;
    parser->region = false;
  }
  token_expect(parser, ';');
  if (expand(parser, &instruction)) return;
  struct statement *statement = body_append(parser, form->op == PTX_OP_COUNT ? STATEMENT_CALL : STATEMENT_INSTRUCTION);
  statement->instruction = instruction;
  statement->name = name;
}
