/* Shapes of registers, and where lanes part and meet: one fixpoint over both, since a branch on a varying predicate
 * makes registers vary and a varying register makes branches part. See analysis.h for the terms. */
#include "engine/vgpu/translate/analysis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- blocks ---- */

const struct ptx_instruction *block_terminator(const struct ptx_function *function, uint32_t block) {
  const struct ptx_block *b = &function->blocks[block];
  return b->count ? &function->instructions[b->first + b->count - 1] : NULL;
}

unsigned block_successors(const struct ptx_function *function, uint32_t block, uint32_t *successors,
                          unsigned capacity) {
  const struct ptx_block *b = &function->blocks[block];
  const struct ptx_instruction *last = block_terminator(function, block);
  unsigned count = 0;
  for (uint32_t i = 0; i < b->target_count && count < capacity; i++) successors[count++] = b->targets[i];
  const bool ends = last && last->guard == PTX_NONE &&
                    (last->op == PTX_BRA || last->op == PTX_BRX || last->op == PTX_RET || last->op == PTX_EXIT ||
                     last->op == PTX_TRAP);
  if (!ends && b->next != PTX_NONE && count < capacity) successors[count++] = b->next;
  return count;
}

unsigned class_bits(uint8_t register_class) {
  static const unsigned bits[] = {[PTX_CLASS_PRED] = 1, [PTX_CLASS_16] = 16, [PTX_CLASS_32] = 32, [PTX_CLASS_64] = 64};
  return bits[register_class];
}

/* ---- patterns ---- */

static int64_t truncate_signed(int64_t value, unsigned bits) {
  if (bits >= 64) return value;
  const uint64_t low = (uint64_t)value << (64 - bits);
  return (int64_t)low >> (64 - bits);
}

static uint64_t truncate_unsigned(uint64_t value, unsigned bits) {
  return bits >= 64 ? value : value & (((uint64_t)1 << bits) - 1);
}

uint32_t pattern_intern(struct analysis *analysis, const int64_t values[WARP_LANES], unsigned bits, int64_t *minimum) {
  int64_t pattern[WARP_LANES];
  int64_t least = truncate_signed(values[0], bits);
  for (int lane = 0; lane < WARP_LANES; lane++) {
    pattern[lane] = truncate_signed(values[lane], bits);
    if (pattern[lane] < least) least = pattern[lane];
  }
  for (int lane = 0; lane < WARP_LANES; lane++) pattern[lane] = (int64_t)((uint64_t)pattern[lane] - (uint64_t)least);
  if (minimum) *minimum = least;
  for (uint32_t i = 0; i < analysis->pattern_count; i++) {
    if (!memcmp(analysis->patterns[i], pattern, sizeof pattern)) return i;
  }
  if (analysis->pattern_count == analysis->pattern_capacity) {
    const uint32_t capacity = analysis->pattern_capacity * 2;
    void *grown = realloc(analysis->patterns, capacity * sizeof *analysis->patterns);
    if (!grown) return PTX_NONE;
    analysis->patterns = grown;
    analysis->pattern_capacity = capacity;
  }
  memcpy(analysis->patterns[analysis->pattern_count], pattern, sizeof pattern);
  return analysis->pattern_count++;
}

int64_t pattern_maximum(const struct analysis *analysis, uint32_t pattern) {
  int64_t most = 0;
  for (int lane = 0; lane < WARP_LANES; lane++) {
    if (analysis->patterns[pattern][lane] > most) most = analysis->patterns[pattern][lane];
  }
  return most;
}

/* ---- shapes ---- */

static const struct shape varying = {.kind = SHAPE_VARYING};

static uint8_t trailing_zeros(uint64_t value) { return value ? (uint8_t)__builtin_ctzll(value) : 64; }

static struct shape constant_shape(uint64_t value) {
  return (struct shape){.kind = SHAPE_AFFINE, .align = trailing_zeros(value), .constant = true, .value = value};
}

static struct shape uniform_shape(uint8_t align) { return (struct shape){.kind = SHAPE_AFFINE, .align = align}; }

/* A multiple of 2^align plus the pattern. */
static struct shape pattern_shape(struct analysis *analysis, const int64_t values[WARP_LANES], unsigned bits,
                                  uint8_t align) {
  struct shape shape = {.kind = SHAPE_AFFINE, .align = align};
  int64_t minimum;
  shape.pattern = pattern_intern(analysis, values, bits, &minimum);
  if (shape.pattern == PTX_NONE || minimum != 0) return varying;
  if (align == 64) shape.constant = true;
  return shape;
}

static struct shape special_shape(struct analysis *analysis, uint32_t special) {
  const unsigned x = analysis->block[0], y = analysis->block[1], z = analysis->block[2];
  int64_t values[WARP_LANES];
  switch (special) {
    case PTX_NTID_X:
    case PTX_NTID_Y:
    case PTX_NTID_Z:
      return constant_shape(analysis->block[special - PTX_NTID_X]);
    case PTX_NWARPID:
      return constant_shape(analysis->warps);
    case PTX_LANEID:
      for (int lane = 0; lane < WARP_LANES; lane++) values[lane] = lane;
      return pattern_shape(analysis, values, 32, 64);
    case PTX_TID_X:
      if (x == 1) return constant_shape(0);
      for (int lane = 0; lane < WARP_LANES; lane++) values[lane] = x < WARP_LANES ? lane % (int)x : lane;
      if (x < WARP_LANES && WARP_LANES % x == 0) return pattern_shape(analysis, values, 32, 64);
      if (x % WARP_LANES == 0 || (y == 1 && z == 1))
        return pattern_shape(analysis, values, 32, analysis->warps == 1 ? 64 : 5);
      return varying;
    case PTX_TID_Y:
      if (y == 1) return constant_shape(0);
      if (x % WARP_LANES == 0) return uniform_shape(0);
      if (WARP_LANES % x == 0 && (z == 1 || y % (WARP_LANES / x) == 0)) {
        for (int lane = 0; lane < WARP_LANES; lane++) values[lane] = lane / (int)x;
        return pattern_shape(analysis, values, 32, analysis->warps == 1 ? 64 : trailing_zeros(WARP_LANES / x));
      }
      return varying;
    case PTX_TID_Z:
      if (z == 1) return constant_shape(0);
      return x * y % WARP_LANES == 0 ? uniform_shape(0) : varying;
    case PTX_LANEMASK_EQ:
    case PTX_LANEMASK_LE:
    case PTX_LANEMASK_LT:
    case PTX_LANEMASK_GE:
    case PTX_LANEMASK_GT:
      return varying;
    default:
      return uniform_shape(0);
  }
}

struct shape operand_shape(const struct analysis *analysis, const struct ptx_operand *operand) {
  switch (operand->kind) {
    case PTX_OPERAND_REGISTER:
      return analysis->shape[operand->index];
    case PTX_OPERAND_IMMEDIATE:
      return constant_shape(operand->value);
    case PTX_OPERAND_SYMBOL:
      if (operand->space == PTX_GLOBAL || operand->space == PTX_CONST) {
        return uniform_shape(trailing_zeros(operand->value | 256)); /* segments are aligned to 256 */
      }
      return constant_shape(operand->value);
    case PTX_OPERAND_SPECIAL:
      /* Interns patterns, which leaves every shape as it is. */
      return special_shape((struct analysis *)analysis, operand->index);
    default:
      return constant_shape(0);
  }
}

static bool type_is_signed(uint8_t type) { return type >= PTX_S8 && type <= PTX_S64; }
static bool type_is_integer(uint8_t type) { return type >= PTX_B8 && type <= PTX_S64 && type != PTX_B128; }

/* The value of an integer instruction; false if the op is not one of these. */
static bool evaluate(const struct ptx_instruction *instruction, const uint64_t *source, uint64_t *result) {
  const unsigned bits = 8 * type_bytes(instruction->type);
  if (!type_is_integer(instruction->type) || bits == 0) return false;
  const bool is_signed = type_is_signed(instruction->type);
  uint64_t a[3] = {0, 0, 0};
  for (unsigned i = 0; i < instruction->src_count && i < 3; i++) {
    a[i] = is_signed ? (uint64_t)truncate_signed((int64_t)source[i], bits) : truncate_unsigned(source[i], bits);
  }
  switch (instruction->op) {
    case PTX_MOV:
      *result = a[0];
      return true;
    case PTX_ADD:
      *result = a[0] + a[1];
      return true;
    case PTX_SUB:
      *result = a[0] - a[1];
      return true;
    case PTX_MUL:
      *result = a[0] * a[1];
      return true;
    case PTX_MAD:
      *result = a[0] * a[1] + source[2];
      return true;
    case PTX_MUL_WIDE:
      if (bits > 32) return false;
      *result = a[0] * a[1];
      return true;
    case PTX_MAD_WIDE:
      if (bits > 32) return false;
      *result = a[0] * a[1] + source[2];
      return true;
    case PTX_AND:
      *result = a[0] & a[1];
      return true;
    case PTX_OR:
      *result = a[0] | a[1];
      return true;
    case PTX_XOR:
      *result = a[0] ^ a[1];
      return true;
    case PTX_NOT:
      *result = ~a[0];
      return true;
    case PTX_NEG:
      *result = -a[0];
      return true;
    case PTX_MIN:
      *result = (is_signed ? (int64_t)a[0] < (int64_t)a[1] : a[0] < a[1]) ? a[0] : a[1];
      return true;
    case PTX_MAX:
      *result = (is_signed ? (int64_t)a[0] > (int64_t)a[1] : a[0] > a[1]) ? a[0] : a[1];
      return true;
    case PTX_DIV:
    case PTX_REM:
      if (a[1] == 0 || (is_signed && a[1] == UINT64_MAX)) return false;
      if (is_signed) {
        *result =
            (uint64_t)(instruction->op == PTX_DIV ? (int64_t)a[0] / (int64_t)a[1] : (int64_t)a[0] % (int64_t)a[1]);
      } else {
        *result = instruction->op == PTX_DIV ? a[0] / a[1] : a[0] % a[1];
      }
      return true;
    case PTX_SHL: {
      const uint32_t amount = (uint32_t)source[1];
      *result = amount >= bits ? 0 : a[0] << amount;
      return true;
    }
    case PTX_SHR: {
      const uint32_t amount = (uint32_t)source[1];
      if (is_signed)
        *result = (uint64_t)((int64_t)a[0] >> (amount >= bits ? bits - 1 : amount));
      else
        *result = amount >= bits ? 0 : a[0] >> amount;
      return true;
    }
    case PTX_CVT: {
      if (!type_is_integer(instruction->source_type) || (instruction->flags & PTX_SAT)) return false;
      const unsigned source_bits = 8 * type_bytes(instruction->source_type);
      *result = type_is_signed(instruction->source_type) ? (uint64_t)truncate_signed((int64_t)source[0], source_bits)
                                                         : truncate_unsigned(source[0], source_bits);
      *result = is_signed ? (uint64_t)truncate_signed((int64_t)*result, bits) : truncate_unsigned(*result, bits);
      return true;
    }
    case PTX_BFE: {
      const unsigned position = (unsigned)source[1] & 255, length = (unsigned)source[2] & 255;
      if (is_signed || position + length > bits || length == 0) return false;
      *result = truncate_unsigned(a[0] >> position, length);
      return true;
    }
    case PTX_BFI: { /* bfi d, a, b, position, length: a into b */
      const unsigned position = (unsigned)source[2] & 255, length = (unsigned)source[3] & 255;
      if (position + length > bits || length == 0) return false;
      const uint64_t mask = truncate_unsigned(UINT64_MAX, length);
      *result = (truncate_unsigned(source[1], bits) & ~(mask << position)) | ((source[0] & mask) << position);
      return true;
    }
    default:
      return false;
  }
}

int64_t local_stride(const struct ptx_function *function) { return ((int64_t)function->local_bytes + 15) / 16 * 16; }

static uint8_t lesser(uint8_t a, uint8_t b) { return a < b ? a : b; }

/* What the base of a result is a multiple of, when all operands' bases are multiples. */
static uint8_t result_align(const struct ptx_instruction *instruction, const struct shape *s, unsigned bits) {
  unsigned align = 0;
  switch (instruction->op) {
    case PTX_MOV:
    case PTX_CVT:
    case PTX_NEG:
      align = s[0].align;
      break;
    case PTX_CVTA:
    case PTX_CVTA_TO: /* plus or minus a base, which runtime.c aligns to 256 and the launcher to 16 */
      align = s[0].align;
      if (instruction->space == PTX_SHARED || instruction->space == PTX_LOCAL) align = lesser(s[0].align, 8);
      if (instruction->space == PTX_PARAM) align = lesser(s[0].align, 4);
      break;
    case PTX_ADD:
    case PTX_SUB:
    case PTX_OR:
    case PTX_XOR:
      align = lesser(s[0].align, s[1].align);
      break;
    case PTX_SELP:
    case PTX_MIN:
    case PTX_MAX:
      align = lesser(s[0].align, s[1].align);
      break;
    case PTX_AND:
      align = s[0].align > s[1].align ? s[0].align : s[1].align;
      for (int i = 0; i < 2; i++) {
        const uint8_t other = s[1 - i].align;
        if (s[i].constant && s[i].pattern == 0 && (other >= 64 || s[i].value >> other == 0)) align = 64;
      }
      break;
    case PTX_MUL:
    case PTX_MUL_WIDE:
      align = s[0].align + s[1].align;
      break;
    case PTX_MAD:
    case PTX_MAD_WIDE: {
      const unsigned product = s[0].align + s[1].align;
      align = product < s[2].align ? product : s[2].align;
      break;
    }
    case PTX_SHL:
      align = s[0].align + (s[1].constant ? (s[1].value > 64 ? 64 : (unsigned)s[1].value) : 0);
      break;
    case PTX_SHR:
      if (s[0].align == 64)
        align = 64;
      else if (s[1].constant && s[1].value < s[0].align)
        align = s[0].align - (unsigned)s[1].value;
      break;
    case PTX_BFE:
      if (s[0].align == 64)
        align = 64;
      else if (s[1].constant && s[1].value < s[0].align)
        align = s[0].align - (unsigned)s[1].value;
      break;
    case PTX_BFI:
      if (s[2].constant && s[2].value < 64) {
        align = s[0].align + (unsigned)s[2].value;
        if (s[1].align < s[2].value && s[1].align < align) align = s[1].align;
      }
      break;
    default:
      break;
  }
  return align >= bits ? 64 : (uint8_t)align;
}

/* The rule for one op: lane i's result minus the result for the bases. *exact is cleared where it holds only if nothing
 * wraps around. False: no rule. */
static bool relative_values(const struct analysis *analysis, const struct ptx_instruction *instruction,
                            const struct shape *s, int64_t relative[WARP_LANES], bool *exact, uint64_t *constant_part) {
  const unsigned bits = 8 * type_bytes(instruction->type);
  const int64_t stride = local_stride(analysis->function);
  static const int64_t zeros[WARP_LANES];
  const int64_t *p[4] = {zeros, zeros, zeros, zeros};
  uint64_t most[4] = {0, 0, 0, 0};
  for (unsigned i = 0; i < instruction->src_count && i < 4; i++) {
    p[i] = analysis->patterns[s[i].pattern];
    most[i] = (uint64_t)pattern_maximum(analysis, s[i].pattern);
  }
  /* No carry out of the low bits of operand i: its base has zeros where its pattern has bits. */
  bool disjoint[4];
  for (unsigned i = 0; i < 4; i++) disjoint[i] = s[i].align >= 64 || most[i] >> s[i].align == 0;
  const bool all_same = most[0] == 0 && most[1] == 0 && most[2] == 0 && most[3] == 0;
  for (int lane = 0; lane < WARP_LANES; lane++) relative[lane] = 0;
  *constant_part = 0;
  const bool local = (instruction->op == PTX_CVTA || instruction->op == PTX_CVTA_TO) && instruction->space == PTX_LOCAL;
  if (all_same && !local) return true;
  switch (instruction->op) {
    case PTX_MOV:
      for (int lane = 0; lane < WARP_LANES; lane++) relative[lane] = p[0][lane];
      return true;
    case PTX_CVTA:
    case PTX_CVTA_TO: {
      const int64_t step = !local ? 0 : instruction->op == PTX_CVTA ? stride : -stride;
      for (int lane = 0; lane < WARP_LANES; lane++) relative[lane] = p[0][lane] + step * lane;
      return true;
    }
    case PTX_ADD:
      for (int lane = 0; lane < WARP_LANES; lane++)
        relative[lane] = (int64_t)((uint64_t)p[0][lane] + (uint64_t)p[1][lane]);
      return true;
    case PTX_SUB:
      for (int lane = 0; lane < WARP_LANES; lane++)
        relative[lane] = (int64_t)((uint64_t)p[0][lane] - (uint64_t)p[1][lane]);
      return true;
    case PTX_NEG:
      for (int lane = 0; lane < WARP_LANES; lane++) relative[lane] = -p[0][lane];
      return true;
    case PTX_MUL:
    case PTX_MAD:
    case PTX_MUL_WIDE:
    case PTX_MAD_WIDE: {
      const int factor = most[0] == 0 ? 0 : 1; /* the uniform one, which must be known */
      const int other = 1 - factor;
      const bool wide = instruction->op == PTX_MUL_WIDE || instruction->op == PTX_MAD_WIDE;
      uint64_t by = 0;
      if (most[0] != 0 || most[1] != 0) {
        if (most[factor] != 0 || !s[factor].constant) return false;
        by = s[factor].value;
        if (wide) {
          if (bits > 32) return false;
          by = type_is_signed(instruction->type) ? (uint64_t)truncate_signed((int64_t)by, bits)
                                                 : truncate_unsigned(by, bits);
          if (!disjoint[other]) *exact = false;
          if (most[other] >> (bits - 1)) return false;
        }
      }
      for (int lane = 0; lane < WARP_LANES; lane++) {
        relative[lane] = (int64_t)((uint64_t)p[other][lane] * by + (uint64_t)p[2][lane]);
      }
      return true;
    }
    case PTX_SHL:
      if (most[1] != 0 || !s[1].constant || s[1].value >= bits) return false;
      for (int lane = 0; lane < WARP_LANES; lane++) relative[lane] = (int64_t)((uint64_t)p[0][lane] << s[1].value);
      return true;
    case PTX_SHR:
      if (most[1] != 0 || !s[1].constant || s[1].value >= bits || !disjoint[0] || most[0] >> (bits - 1)) return false;
      for (int lane = 0; lane < WARP_LANES; lane++) relative[lane] = p[0][lane] >> s[1].value;
      return true;
    case PTX_CVT: {
      if (!type_is_integer(instruction->source_type) || !type_is_integer(instruction->type)) return false;
      const unsigned source_bits = 8 * type_bytes(instruction->source_type);
      if (bits > source_bits) {
        if (!disjoint[0]) *exact = false;
        if (most[0] >> (source_bits - 1)) return false;
      } else if (instruction->flags & PTX_SAT) {
        return false;
      }
      for (int lane = 0; lane < WARP_LANES; lane++) relative[lane] = p[0][lane];
      return true;
    }
    case PTX_AND:
    case PTX_OR:
    case PTX_XOR: {
      /* Below 2^k both bases have zeros (a constant's low bits move to its pattern), and both patterns stay below 2^k.
       */
      uint64_t low[2] = {0, 0};
      unsigned k = 64;
      for (int i = 0; i < 2; i++) {
        if (!s[i].constant && s[i].align < k) k = s[i].align;
      }
      if (k == 0) return false;
      const uint64_t mask = k >= bits ? truncate_unsigned(UINT64_MAX, bits) : ((uint64_t)1 << k) - 1;
      for (int i = 0; i < 2; i++) {
        if (s[i].constant) low[i] = s[i].value & mask;
        if (low[i] + most[i] > mask) return false;
      }
      uint64_t at_base = 0;
      for (int lane = -1; lane < WARP_LANES; lane++) {
        const uint64_t x = low[0] + (lane < 0 ? 0 : (uint64_t)p[0][lane]),
                       y = low[1] + (lane < 0 ? 0 : (uint64_t)p[1][lane]);
        const uint64_t z = instruction->op == PTX_AND ? x & y : instruction->op == PTX_OR ? x | y : x ^ y;
        if (lane < 0)
          at_base = z;
        else
          relative[lane] = (int64_t)(z - at_base);
      }
      *constant_part = at_base;
      return true;
    }
    case PTX_BFE: {
      if (type_is_signed(instruction->type) || !s[1].constant || !s[2].constant || !disjoint[0] || s[0].align < 1)
        return false;
      const uint64_t position = s[1].value & 255, length = s[2].value & 255;
      if (length == 0 || position + length > bits || most[1] || most[2]) return false;
      for (int lane = 0; lane < WARP_LANES; lane++) {
        relative[lane] = (int64_t)truncate_unsigned((uint64_t)p[0][lane] >> position, (unsigned)length);
      }
      return true;
    }
    case PTX_BFI: {
      if (!s[2].constant || !s[3].constant || most[2] || most[3]) return false;
      const uint64_t position = s[2].value & 255, length = s[3].value & 255;
      if (length == 0 || position + length > bits || !disjoint[0] || !disjoint[1]) return false;
      /* b keeps its place below `position` and is replaced above: the common case of an index put together. */
      if (position + length != bits || most[1] >> position || (s[1].align < position && !s[1].constant)) return false;
      for (int lane = 0; lane < WARP_LANES; lane++) {
        relative[lane] = (int64_t)(((uint64_t)p[0][lane] << position) + (uint64_t)p[1][lane]);
      }
      return s[1].align >= position || s[1].align == 64;
    }
    case PTX_SELP:
      if (s[2].kind != SHAPE_AFFINE || s[0].pattern != s[1].pattern) return false;
      for (int lane = 0; lane < WARP_LANES; lane++) relative[lane] = p[0][lane];
      return true;
    case PTX_MIN:
    case PTX_MAX: /* an index kept inside its range: mostly it is there */
      if (most[0] != 0 && most[1] != 0) return false;
      *exact = false;
      for (int lane = 0; lane < WARP_LANES; lane++) relative[lane] = p[0][lane] + p[1][lane];
      return true;
    default:
      return false;
  }
}

/* A comparison whose outcome is the same for all lanes: the other side is a multiple of a power of two beyond the
 * pattern's range, or one more or less. */
static bool compares_uniformly(const struct analysis *analysis, const struct ptx_instruction *instruction,
                               const struct shape *s) {
  if (!type_is_integer(instruction->type) || s[0].kind != SHAPE_AFFINE || !shape_uniform(s[1])) return false;
  if (instruction->src_count > 2 && !shape_uniform(s[2])) return false;
  const uint64_t most = (uint64_t)pattern_maximum(analysis, s[0].pattern);
  const unsigned align = s[0].align;
  if (align == 0 || align >= 32 || most >> align) return false;
  const unsigned bits = 8 * type_bytes(instruction->type);
  switch (instruction->mode) {
    case PTX_LT:
    case PTX_GE:
    case PTX_LO:
    case PTX_HS:
      return s[1].align >= align;
    case PTX_LE:
    case PTX_GT:
    case PTX_LS:
    case PTX_HI: {
      if (!s[1].constant) return false;
      const uint64_t next = truncate_unsigned(s[1].value + 1, bits);
      return next != 0 && next != (uint64_t)1 << (bits - 1) && trailing_zeros(next) >= align;
    }
    default:
      return false;
  }
}

static bool shuffle_or_vote_is_uniform(const struct analysis *analysis, const struct ptx_instruction *instruction) {
  switch (instruction->op) {
    case PTX_ACTIVEMASK:
      return true;
    case PTX_VOTE:
    case PTX_REDUX:
      return shape_uniform(operand_shape(analysis, &instruction->src[1]));
    case PTX_SHFL: /* one lane's value for all */
      return instruction->mode == PTX_SHUFFLE_IDX && instruction->dst_count == 1 &&
             shape_uniform(operand_shape(analysis, &instruction->src[1])) &&
             instruction->src[2].kind == PTX_OPERAND_IMMEDIATE && (instruction->src[2].value & 0x1f1f) == 0x1f;
    default:
      return false;
  }
}

/* prmt that puts the low bytes of one number below those of another, as compilers put an index together, is an
 * insertion: the same as bfi. */
static bool is_insertion(const struct ptx_instruction *prmt, struct ptx_instruction *bfi,
                         struct ptx_operand operands[4]) {
  if (prmt->op != PTX_PRMT || prmt->mode != PTX_PRMT_DEFAULT || prmt->src[2].kind != PTX_OPERAND_IMMEDIATE)
    return false;
  const unsigned below = prmt->src[2].value >> 2 & 1, first_above = 4 * (1 - below);
  unsigned bytes = 0; /* taken from below */
  while (bytes < 4 && (prmt->src[2].value >> (4 * bytes) & 15) == 4 * below + bytes) bytes++;
  if (bytes == 0 || bytes == 4) return false;
  for (unsigned i = bytes; i < 4; i++)
    if ((prmt->src[2].value >> (4 * i) & 15) != first_above + i - bytes) return false;
  operands[0] = prmt->src[1 - below];
  operands[1] = prmt->src[below];
  operands[2] = (struct ptx_operand){.kind = PTX_OPERAND_IMMEDIATE, .value = 8 * bytes};
  operands[3] = (struct ptx_operand){.kind = PTX_OPERAND_IMMEDIATE, .value = 32 - 8 * bytes};
  *bfi = *prmt;
  bfi->op = PTX_BFI;
  bfi->src = operands;
  bfi->src_count = 4;
  return true;
}

struct shape result_shape(struct analysis *analysis, const struct ptx_instruction *instruction, unsigned d,
                          int64_t *delta) {
  const struct ptx_function *function = analysis->function;
  struct ptx_instruction bfi;
  struct ptx_operand operands[4];
  if (is_insertion(instruction, &bfi, operands)) instruction = &bfi;
  if (delta) *delta = 0;
  struct shape s[4] = {{.kind = SHAPE_AFFINE}, {.kind = SHAPE_AFFINE}, {.kind = SHAPE_AFFINE}, {.kind = SHAPE_AFFINE}};
  bool unknown = false, uniform = true;
  for (unsigned i = 0; i < instruction->src_count; i++) {
    const struct shape shape = operand_shape(analysis, &instruction->src[i]);
    if (shape.kind == SHAPE_UNKNOWN) unknown = true;
    if (!shape_uniform(shape)) uniform = false;
    if (i < 4) s[i] = shape;
  }
  if (shuffle_or_vote_is_uniform(analysis, instruction)) return uniform_shape(0);
  switch (instruction->op) {
    case PTX_VOTE:
    case PTX_REDUX:
    case PTX_ATOM:
    case PTX_MATCH:
    case PTX_ELECT:
    case PTX_FNS:
    case PTX_PRINTF:
    case PTX_MALLOC:
    case PTX_LDMATRIX:
    case PTX_MOVMATRIX:
    case PTX_MMA:
      return varying;
    case PTX_LD:
      if (instruction->space == PTX_LOCAL) return varying;
      return unknown ? (struct shape){0} : uniform ? uniform_shape(0) : varying;
    default:
      break;
  }
  if (unknown) return (struct shape){0};
  if (instruction->dst_count != 1) return uniform ? uniform_shape(0) : varying;
  if (instruction->dst[d].kind != PTX_OPERAND_REGISTER) return varying;
  const unsigned bits = class_bits(function->register_class[instruction->dst[d].index]);
  if (bits == 1) {
    const bool agrees = uniform || (instruction->op == PTX_SETP && compares_uniformly(analysis, instruction, s));
    return agrees ? uniform_shape(0) : varying;
  }
  if ((instruction->flags & (PTX_CARRY_IN | PTX_CARRY_OUT | PTX_SAT | PTX_RELU)) || instruction->src_count > 4 ||
      (instruction->op == PTX_MOV && instruction->src_count != 1) || !type_is_integer(instruction->type)) {
    return uniform ? uniform_shape(0) : varying;
  }
  /* Every operand known in every lane: the result is, too. */
  bool all_constant = true;
  for (unsigned i = 0; i < instruction->src_count; i++)
    all_constant = all_constant && s[i].kind == SHAPE_AFFINE && s[i].constant;
  if (all_constant && (instruction->src[0].kind != PTX_OPERAND_SPECIAL || s[0].constant)) {
    int64_t values[WARP_LANES];
    uint64_t arguments[4] = {0, 0, 0, 0}, result = 0, at_base = 0;
    bool known = true;
    for (int lane = -1; lane < WARP_LANES && known; lane++) {
      for (unsigned i = 0; i < instruction->src_count; i++) {
        arguments[i] = s[i].value + (lane < 0 ? 0 : (uint64_t)analysis->patterns[s[i].pattern][lane]);
      }
      known = evaluate(instruction, arguments, &result);
      if (lane < 0)
        at_base = result;
      else
        values[lane] = (int64_t)(result - at_base);
    }
    if (known) {
      int64_t minimum;
      struct shape shape = {.kind = SHAPE_AFFINE, .constant = true};
      shape.pattern = pattern_intern(analysis, values, bits, &minimum);
      shape.value = truncate_unsigned(at_base + (uint64_t)minimum, bits);
      shape.align = trailing_zeros(shape.value);
      if (delta) *delta = minimum;
      if (shape.pattern == PTX_NONE) return varying;
      return shape;
    }
  }
  bool exact = true, patterned = true;
  for (unsigned i = 0; i < instruction->src_count; i++) {
    if (s[i].kind == SHAPE_VARYING) {
      exact = false;
      if (!s[i].hinted) patterned = false;
    }
  }
  if (!patterned) return varying;
  int64_t relative[WARP_LANES];
  const bool local = (instruction->op == PTX_CVTA || instruction->op == PTX_CVTA_TO) && instruction->space == PTX_LOCAL;
  if (uniform && !local) {
    const uint8_t align = result_align(instruction, s, bits);
    return align == 64 ? constant_shape(0) : uniform_shape(align);
  }
  uint64_t constant_part;
  if (!relative_values(analysis, instruction, s, relative, &exact, &constant_part)) return varying;
  int64_t minimum;
  struct shape shape = {.kind = SHAPE_AFFINE};
  shape.pattern = pattern_intern(analysis, relative, bits, &minimum);
  if (shape.pattern == PTX_NONE) return varying;
  if (!exact) return (struct shape){.kind = SHAPE_VARYING, .hinted = true, .pattern = shape.pattern};
  shape.align = result_align(instruction, s, bits);
  /* A base moved by the pattern's minimum, or by low bits of a constant, keeps only the alignment of both. */
  if (instruction->op == PTX_OR || instruction->op == PTX_XOR) {
    shape.align = 64;
    for (int i = 0; i < 2; i++) {
      if (!s[i].constant) shape.align = lesser(shape.align, s[i].align);
    }
    for (int i = 0; i < 2; i++) {
      const uint64_t high = shape.align >= 64 ? 0 : s[i].value >> shape.align << shape.align;
      if (s[i].constant) shape.align = lesser(shape.align, trailing_zeros(high));
    }
  }
  shape.align = lesser(shape.align, trailing_zeros(truncate_unsigned(constant_part + (uint64_t)minimum, bits)));
  if (shape.align == 64) shape.constant = true;
  if (delta) *delta = minimum;
  return shape;
}

static struct shape join(struct shape a, struct shape b) {
  if (a.kind == SHAPE_UNKNOWN) return b;
  if (b.kind == SHAPE_UNKNOWN) return a;
  if (a.kind == SHAPE_AFFINE && b.kind == SHAPE_AFFINE && a.pattern == b.pattern) {
    if (a.constant && b.constant && a.value == b.value) return a;
    struct shape shape = {.kind = SHAPE_AFFINE, .pattern = a.pattern};
    shape.align =
        lesser(a.constant ? trailing_zeros(a.value) : a.align, b.constant ? trailing_zeros(b.value) : b.align);
    /* Two different constants: neither is known to be zero any more. */
    return shape;
  }
  const bool a_has = a.kind == SHAPE_AFFINE || a.hinted, b_has = b.kind == SHAPE_AFFINE || b.hinted;
  if (a_has && b_has && a.pattern == b.pattern) {
    return (struct shape){.kind = SHAPE_VARYING, .hinted = true, .pattern = a.pattern};
  }
  return varying;
}

static bool same_shape(struct shape a, struct shape b) {
  return a.kind == b.kind && a.align == b.align && a.constant == b.constant && a.hinted == b.hinted &&
         a.pattern == b.pattern && (!a.constant || a.value == b.value);
}

/* One pass over all instructions; true if a shape changed. */
static bool update_shapes(struct analysis *analysis) {
  const struct ptx_function *function = analysis->function;
  bool changed = false;
  for (uint32_t b = 0; b < function->block_count; b++) {
    const uint64_t *blend = analysis->blend + (size_t)b * analysis->register_words;
    for (uint32_t i = 0; i < function->blocks[b].count; i++) {
      const struct ptx_instruction *instruction = &function->instructions[function->blocks[b].first + i];
      for (unsigned d = 0; d < instruction->dst_count; d++) {
        if (instruction->dst[d].kind != PTX_OPERAND_REGISTER) continue;
        const uint32_t r = instruction->dst[d].index;
        struct shape shape = result_shape(analysis, instruction, d, NULL);
        const bool guarded = instruction->guard != PTX_NONE && !shape_uniform(analysis->shape[instruction->guard]);
        if (shape.kind == SHAPE_AFFINE && (bit_test(blend, r) || guarded)) {
          shape = (struct shape){.kind = SHAPE_VARYING, .hinted = true, .pattern = shape.pattern};
        }
        const struct shape joined = join(analysis->shape[r], shape);
        if (!same_shape(joined, analysis->shape[r])) {
          analysis->shape[r] = joined;
          changed = true;
        }
      }
    }
  }
  return changed;
}

/* ---- control ---- */

/* Immediate post-dominators by iterating over reverse order; block_count stands for the end of the thread. */
static void post_dominators(const struct ptx_function *function, uint32_t *ipdom) {
  const uint32_t n = function->block_count;
  uint32_t *rank = malloc((n + 1) * sizeof *rank); /* height in the tree's order: later blocks of a backward walk */
  uint32_t *order = malloc((n + 1) * sizeof *order), *stack = malloc((n + 1) * sizeof *stack);
  uint32_t *head = calloc(n + 2, sizeof *head), *cursor = malloc((n + 1) * sizeof *cursor), *edges = NULL;
  uint32_t edge_count = 0;
  /* Predecessor lists, with the end of the thread as a block. */
  for (int pass = 0; pass < 2; pass++) {
    if (pass == 1) {
      for (uint32_t i = 0; i <= n; i++) head[i + 1] += head[i];
      edges = calloc(head[n + 1] + 1, sizeof *edges);
      memcpy(cursor, head, (n + 1) * sizeof *cursor);
    }
    for (uint32_t b = 0; b < n; b++) {
      uint32_t *next = malloc((function->blocks[b].target_count + 2) * sizeof *next);
      unsigned count = block_successors(function, b, next, function->blocks[b].target_count + 1);
      const struct ptx_instruction *last = block_terminator(function, b);
      if (count == 0 || (last && (last->op == PTX_RET || last->op == PTX_EXIT || last->op == PTX_TRAP)))
        next[count++] = n;
      for (unsigned i = 0; i < count; i++) {
        if (pass == 0)
          head[next[i] + 1]++;
        else
          edges[cursor[next[i]]++] = b, edge_count++;
      }
      free(next);
    }
  }
  for (uint32_t b = 0; b <= n; b++) ipdom[b] = PTX_NONE, rank[b] = PTX_NONE, cursor[b] = head[b];
  /* Depth-first post-order of the reversed graph from the end. */
  uint32_t depth = 0, visited = 0;
  uint8_t *seen = calloc(n + 1, 1);
  stack[depth++] = n;
  seen[n] = 1;
  while (depth) {
    const uint32_t b = stack[depth - 1];
    if (cursor[b] < head[b + 1]) {
      const uint32_t p = edges[cursor[b]++];
      if (!seen[p]) seen[p] = 1, stack[depth++] = p;
    } else {
      rank[b] = visited;
      order[visited++] = b;
      depth--;
    }
  }
  ipdom[n] = n;
  for (bool changed = true; changed;) {
    changed = false;
    for (uint32_t i = visited; i-- > 0;) {
      const uint32_t b = order[i];
      if (b == n) continue;
      uint32_t *next = malloc((function->blocks[b].target_count + 2) * sizeof *next);
      unsigned count = block_successors(function, b, next, function->blocks[b].target_count + 1);
      const struct ptx_instruction *last = block_terminator(function, b);
      if (count == 0 || (last && (last->op == PTX_RET || last->op == PTX_EXIT || last->op == PTX_TRAP)))
        next[count++] = n;
      uint32_t best = PTX_NONE;
      for (unsigned k = 0; k < count; k++) {
        uint32_t x = next[k];
        if (ipdom[x] == PTX_NONE) continue;
        if (best == PTX_NONE) {
          best = x;
          continue;
        }
        uint32_t y = best;
        while (x != y) {
          while (rank[x] < rank[y]) x = ipdom[x];
          while (rank[y] < rank[x]) y = ipdom[y];
        }
        best = x;
      }
      free(next);
      if (best != ipdom[b]) ipdom[b] = best, changed = true;
    }
  }
  (void)edge_count;
  for (uint32_t b = 0; b < n; b++) {
    if (ipdom[b] == PTX_NONE) ipdom[b] = n; /* a loop without an end */
  }
  free(rank), free(order), free(stack), free(head), free(cursor), free(edges), free(seen);
}

static void compute_liveness(struct analysis *analysis) {
  const struct ptx_function *function = analysis->function;
  const uint32_t words = analysis->register_words;
  uint64_t *live = malloc(words * sizeof *live);
  for (bool changed = true; changed;) {
    changed = false;
    for (uint32_t b = function->block_count; b-- > 0;) {
      memset(live, 0, words * sizeof *live);
      uint32_t next[2], *successors = next;
      const uint32_t capacity = function->blocks[b].target_count + 1;
      if (capacity > 2) successors = malloc(capacity * sizeof *successors);
      const unsigned count = block_successors(function, b, successors, capacity);
      for (unsigned i = 0; i < count; i++) {
        const uint64_t *other = analysis->live_in + (size_t)successors[i] * words;
        for (uint32_t w = 0; w < words; w++) live[w] |= other[w];
      }
      if (successors != next) free(successors);
      for (uint32_t i = function->blocks[b].count; i-- > 0;) {
        const struct ptx_instruction *instruction = &function->instructions[function->blocks[b].first + i];
        if (instruction->guard == PTX_NONE) {
          for (unsigned d = 0; d < instruction->dst_count; d++) {
            const struct ptx_operand *operand = &instruction->dst[d];
            if (operand->kind == PTX_OPERAND_REGISTER)
              live[operand->index / 64] &= ~((uint64_t)1 << (operand->index % 64));
          }
        } else {
          bit_set(live, instruction->guard);
        }
        for (unsigned s = 0; s < instruction->src_count; s++) {
          if (instruction->src[s].kind == PTX_OPERAND_REGISTER) bit_set(live, instruction->src[s].index);
        }
      }
      uint64_t *in = analysis->live_in + (size_t)b * words;
      if (memcmp(in, live, words * sizeof *live) != 0) {
        memcpy(in, live, words * sizeof *live);
        changed = true;
      }
    }
  }
  free(live);
}

/* The region and waiting points of the branch at the end of `block`. */
static void add_region(struct analysis *analysis, uint32_t block, const uint32_t *ipdom) {
  const struct ptx_function *function = analysis->function;
  const uint32_t n = function->block_count, words = analysis->block_words;
  uint32_t meet = ipdom[block];
  while (meet < n && meet <= block) meet = ipdom[meet];
  const uint32_t capacity = function->blocks[block].target_count + 1;
  uint32_t *next = malloc(capacity * sizeof *next), *stack = malloc((n + 1) * sizeof *stack);
  uint32_t *reached = calloc(n, sizeof *reached), *mark = malloc(n * sizeof *mark);
  uint64_t *waits = calloc(words, sizeof *waits);
  memset(mark, 0xff, n * sizeof *mark);
  const unsigned count = block_successors(function, block, next, capacity);
  for (unsigned i = 0; i < count; i++) {
    bit_set(waits, next[i]);
    analysis->waited[next[i]] = true;
    bool repeated = false;
    for (unsigned k = 0; k < i; k++) repeated = repeated || next[k] == next[i];
    if (repeated || next[i] == meet) continue;
    uint32_t depth = 0;
    stack[depth++] = next[i];
    mark[next[i]] = i;
    while (depth) {
      const uint32_t b = stack[--depth];
      reached[b]++;
      const uint32_t inner_capacity = function->blocks[b].target_count + 1;
      uint32_t *inner = malloc(inner_capacity * sizeof *inner);
      const unsigned inner_count = block_successors(function, b, inner, inner_capacity);
      for (unsigned k = 0; k < inner_count; k++) {
        if (inner[k] == meet || mark[inner[k]] == i) continue;
        mark[inner[k]] = i;
        stack[depth++] = inner[k];
      }
      free(inner);
    }
  }
  if (meet < n) bit_set(waits, meet), analysis->waited[meet] = true;
  for (uint32_t b = 0; b < n; b++) {
    if (reached[b] > 1) bit_set(waits, b), analysis->waited[b] = true;
  }
  for (uint32_t b = 0; b < n; b++) {
    if (!reached[b]) continue;
    analysis->partial[b] = true;
    for (uint32_t w = 0; w < words; w++) {
      /* only higher numbers than b */
      uint64_t above = UINT64_MAX;
      if (w < b / 64)
        above = 0;
      else if (w == b / 64)
        above = b % 64 == 63 ? 0 : UINT64_MAX << (b % 64 + 1);
      analysis->waits[(size_t)b * words + w] |= waits[w] & above;
    }
  }
  free(next), free(stack), free(reached), free(mark), free(waits);
}

static bool ends_by_parting(const struct analysis *analysis, uint32_t block) {
  const struct ptx_instruction *last = block_terminator(analysis->function, block);
  if (!last) return false;
  const bool guard_varies = last->guard != PTX_NONE && !shape_uniform(analysis->shape[last->guard]) &&
                            analysis->shape[last->guard].kind != SHAPE_UNKNOWN;
  switch (last->op) {
    case PTX_BRA:
    case PTX_RET:
    case PTX_EXIT:
    case PTX_TRAP:
      return guard_varies;
    case PTX_BRX:
      return true; /* for simplicity */
    default:
      return false;
  }
}

static bool update_control(struct analysis *analysis, const uint32_t *ipdom) {
  const struct ptx_function *function = analysis->function;
  const uint32_t n = function->block_count;
  bool changed = false;
  for (uint32_t b = 0; b < n; b++) {
    if (!analysis->divergent[b] && ends_by_parting(analysis, b)) {
      analysis->divergent[b] = true;
      add_region(analysis, b, ipdom);
      changed = true;
    }
  }
  if (!changed) return false;
  for (uint32_t b = 0; b < n; b++) {
    uint64_t *blend = analysis->blend + (size_t)b * analysis->register_words;
    for (uint32_t w = b + 1; w < n; w++) {
      if (!bit_test(analysis->waits + (size_t)b * analysis->block_words, w)) continue;
      const uint64_t *live = analysis->live_in + (size_t)w * analysis->register_words;
      for (uint32_t k = 0; k < analysis->register_words; k++) blend[k] |= live[k];
    }
  }
  return true;
}

/* Every edge to a lower or equal number must lead to a loop's head that all ways into the loop pass. */
static bool reducible(const struct ptx_function *function) {
  const uint32_t n = function->block_count;
  bool good = true;
  uint8_t *seen = malloc(n);
  uint32_t *stack = malloc((n + 1) * sizeof *stack);
  for (uint32_t b = 0; b < n && good; b++) {
    const uint32_t capacity = function->blocks[b].target_count + 1;
    uint32_t *next = malloc(capacity * sizeof *next);
    const unsigned count = block_successors(function, b, next, capacity);
    for (unsigned i = 0; i < count && good; i++) {
      if (next[i] > b || next[i] == b) continue;
      /* b must not be reachable from the entry without the head */
      const uint32_t head = next[i];
      if (head == 0) continue;
      memset(seen, 0, n);
      uint32_t depth = 0;
      stack[depth++] = 0;
      seen[0] = 1;
      while (depth) {
        const uint32_t x = stack[--depth];
        const uint32_t inner_capacity = function->blocks[x].target_count + 1;
        uint32_t *inner = malloc(inner_capacity * sizeof *inner);
        const unsigned inner_count = block_successors(function, x, inner, inner_capacity);
        for (unsigned k = 0; k < inner_count; k++) {
          if (inner[k] == head || seen[inner[k]]) continue;
          seen[inner[k]] = 1;
          stack[depth++] = inner[k];
        }
        free(inner);
      }
      if (seen[b]) good = false;
    }
    free(next);
  }
  free(seen), free(stack);
  return good;
}

/* ---- what registers hold ---- */

static void find_floats(struct analysis *analysis) {
  const struct ptx_function *function = analysis->function;
  int *votes = calloc(function->register_count + 1, sizeof *votes);
  for (uint32_t i = 0; i < function->instruction_count; i++) {
    const struct ptx_instruction *instruction = &function->instructions[i];
    if (instruction->op == PTX_SETP || instruction->op == PTX_BRA) continue;
    for (unsigned d = 0; d < instruction->dst_count; d++) {
      if (instruction->dst[d].kind != PTX_OPERAND_REGISTER) continue;
      const uint8_t type = instruction->type;
      votes[instruction->dst[d].index] += type == PTX_F32 || type == PTX_F64 ? 1 : -1;
    }
  }
  for (uint32_t r = 0; r < function->register_count; r++) {
    analysis->is_float[r] =
        votes[r] > 0 && analysis->shape[r].pattern == 0 &&
        (function->register_class[r] == PTX_CLASS_32 || function->register_class[r] == PTX_CLASS_64);
  }
  free(votes);
}

/* Follows pointers from where they come in (a parameter, a symbol, a load) through additions. */
static void find_roots(struct analysis *analysis) {
  const struct ptx_function *function = analysis->function;
  uint32_t *own = calloc(function->register_count + 1, sizeof *own);
  analysis->root_count = 1;
  for (bool changed = true; changed;) {
    changed = false;
    for (uint32_t i = 0; i < function->instruction_count; i++) {
      const struct ptx_instruction *instruction = &function->instructions[i];
      for (unsigned d = 0; d < instruction->dst_count; d++) {
        if (instruction->dst[d].kind != PTX_OPERAND_REGISTER) continue;
        const uint32_t r = instruction->dst[d].index;
        if (function->register_class[r] != PTX_CLASS_64 || analysis->is_float[r]) continue;
        uint32_t root = 0;
        bool source = false;
        switch (instruction->op) {
          case PTX_LD:
          case PTX_ATOM:
          case PTX_SHFL:
          case PTX_MALLOC:
            source = true;
            break;
          case PTX_MOV:
          case PTX_CVTA:
          case PTX_CVTA_TO:
          case PTX_ADD:
          case PTX_SUB:
          case PTX_SELP:
          case PTX_MAD:
          case PTX_MAD_WIDE:
          case PTX_OR:
          case PTX_AND: {
            unsigned from = 0, to = instruction->src_count;
            if (instruction->op == PTX_MAD || instruction->op == PTX_MAD_WIDE) from = 2;
            if (instruction->op == PTX_SELP || instruction->op == PTX_ADD) to = 2;
            if (instruction->op == PTX_SUB) to = 1;
            for (unsigned s = from; s < to && s < instruction->src_count; s++) {
              if (instruction->src[s].kind == PTX_OPERAND_SYMBOL) source = true;
              if (instruction->src[s].kind != PTX_OPERAND_REGISTER) continue;
              const uint32_t other = analysis->root[instruction->src[s].index];
              if (other && root && other != root) source = true;
              if (other) root = other;
            }
            break;
          }
          default:
            break;
        }
        if (source || (root && analysis->root[r] && analysis->root[r] != root)) {
          if (!own[r]) own[r] = analysis->root_count++;
          root = own[r];
        }
        if (root && own[r]) root = own[r];
        if (root && analysis->root[r] != root) {
          analysis->root[r] = root;
          changed = true;
        }
      }
    }
  }
  free(own);
}

/* ---- all of it ---- */

void analysis_free(struct analysis *analysis) {
  if (!analysis) return;
  free(analysis->shape), free(analysis->is_float), free(analysis->root), free(analysis->patterns);
  free(analysis->divergent), free(analysis->partial), free(analysis->waited);
  free(analysis->waits), free(analysis->live_in), free(analysis->blend);
  free(analysis);
}

struct analysis *analyse(const struct ptx_function *function, const unsigned block[3], char *reason,
                         size_t reason_bytes) {
  if (!reducible(function)) {
    snprintf(reason, reason_bytes, "kernel '%s' has a loop with two entries", function->name);
    return NULL;
  }
  struct analysis *analysis = calloc(1, sizeof *analysis);
  uint32_t *ipdom = malloc((function->block_count + 1) * sizeof *ipdom);
  if (!analysis || !ipdom) goto no_memory;
  const uint32_t n = function->block_count, registers = function->register_count + 1;
  analysis->function = function;
  memcpy(analysis->block, block, sizeof analysis->block);
  analysis->threads = block[0] * block[1] * block[2];
  analysis->warps = (analysis->threads + WARP_LANES - 1) / WARP_LANES;
  analysis->full_warps = analysis->threads % WARP_LANES == 0;
  analysis->block_words = (n + 63) / 64;
  analysis->register_words = (registers + 63) / 64;
  analysis->pattern_capacity = 64;
  analysis->patterns = calloc(analysis->pattern_capacity, sizeof *analysis->patterns);
  analysis->pattern_count = 1; /* zeros */
  analysis->shape = calloc(registers, sizeof *analysis->shape);
  analysis->is_float = calloc(registers, sizeof *analysis->is_float);
  analysis->root = calloc(registers, sizeof *analysis->root);
  analysis->divergent = calloc(n, sizeof *analysis->divergent);
  analysis->partial = calloc(n, sizeof *analysis->partial);
  analysis->waited = calloc(n, sizeof *analysis->waited);
  analysis->waits = calloc((size_t)n * analysis->block_words, sizeof *analysis->waits);
  analysis->live_in = calloc((size_t)n * analysis->register_words, sizeof *analysis->live_in);
  analysis->blend = calloc((size_t)n * analysis->register_words, sizeof *analysis->blend);
  if (!analysis->patterns || !analysis->shape || !analysis->is_float || !analysis->root || !analysis->divergent ||
      !analysis->partial || !analysis->waited || !analysis->waits || !analysis->live_in || !analysis->blend) {
    goto no_memory;
  }
  post_dominators(function, ipdom);
  compute_liveness(analysis);
  for (bool changed = true; changed;) {
    while (update_shapes(analysis)) {
    }
    changed = update_control(analysis, ipdom);
    if (changed) continue;
    for (uint32_t r = 0; r < function->register_count; r++) { /* never written */
      if (analysis->shape[r].kind == SHAPE_UNKNOWN) analysis->shape[r] = varying, changed = true;
    }
  }
  find_floats(analysis);
  find_roots(analysis);
  free(ipdom);
  return analysis;
no_memory:
  free(ipdom);
  analysis_free(analysis);
  snprintf(reason, reason_bytes, "there is not enough memory to translate kernel '%s'", function->name);
  return NULL;
}
