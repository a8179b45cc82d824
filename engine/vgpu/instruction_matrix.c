/* The parsers of matrix instructions. mma, ldmatrix and movmatrix reach the executors as they
 * are. A wmma fragment's layout is left open by PTX: it is here that of mma's operands (matrix.h), tile after tile, so
 * that wmma.mma becomes one or more mma, and wmma.load and wmma.store become ordinary accesses at addresses that follow
 * from the lane. */
#include <string.h>

#include "engine/vgpu/instruction.h"

enum {
  FLOAT8 = (int)(BIT(PTX_E4M3) | BIT(PTX_E5M2)),
  BYTES = (int)(BIT(PTX_S8) | BIT(PTX_U8)),
  NIBBLES = (int)(BIT(PTX_S4) | BIT(PTX_U4)),
  F16_OR_F32 = (int)(BIT(PTX_F16) | BIT(PTX_F32))
};

static unsigned element_bits(unsigned type) {
  if (type == PTX_B1) return 1;
  if (BIT(type) & NIBBLES) return 4;
  if (BIT(type) & (BYTES | FLOAT8)) return 8;
  if (type == PTX_F16 || type == PTX_BF16) return 16;
  return type == PTX_F64 ? 64 : 32;
}

struct shape_name {
  const char *name;
  uint8_t m, n;
  uint16_t k;
};
static const struct shape_name shape_names[] = {
    {"m8n8k4", 8, 8, 4},     {"m8n8k16", 8, 8, 16},     {"m8n8k32", 8, 8, 32},     {"m8n8k128", 8, 8, 128},
    {"m16n8k4", 16, 8, 4},   {"m16n8k8", 16, 8, 8},     {"m16n8k16", 16, 8, 16},   {"m16n8k32", 16, 8, 32},
    {"m16n8k64", 16, 8, 64}, {"m16n8k128", 16, 8, 128}, {"m16n8k256", 16, 8, 256}, {"m16n16k16", 16, 16, 16},
    {"m16n16k8", 16, 16, 8}, {"m32n8k16", 32, 8, 16},   {"m8n32k16", 8, 32, 16}};

static void take_shape(struct parser *parser, struct mnemonic *mnemonic, struct ptx_matrix *matrix) {
  for (size_t i = 0; i < sizeof shape_names / sizeof *shape_names; i++) {
    if (!mnemonic_take(mnemonic, shape_names[i].name)) continue;
    matrix->m = shape_names[i].m;
    matrix->n = shape_names[i].n;
    matrix->k = shape_names[i].k;
    return;
  }
  mnemonic_refuse(parser, mnemonic);
}

/* ".row" or ".col": the first that is not understood yet. */
static bool take_column(struct parser *parser, struct mnemonic *mnemonic) {
  static const struct keyword layouts[] = {{"row", 1}, {"col", 2}, {NULL, 0}};
  int layout = mnemonic_take_keyword(mnemonic, layouts, 0);
  if (!layout) mnemonic_refuse(parser, mnemonic);
  return layout == 2;
}

/* The types of D, A, B and C as they stand, D first. wmma.mma on f16 names only those of D and C. */
static void take_types(struct parser *parser, struct mnemonic *mnemonic, struct ptx_matrix *matrix) {
  uint8_t types[4];
  int count = 0;
  while (count < 4 && mnemonic_take_type(mnemonic, &types[count])) count++;
  bool half = count == 2 && strcmp(mnemonic->piece[0], "wmma") == 0;
  if (count != 4 && !half) mnemonic_refuse(parser, mnemonic);
  matrix->d = types[0];
  matrix->a = half ? PTX_F16 : types[1];
  matrix->b = half ? PTX_F16 : types[2];
  matrix->c = types[count - 1];
}

static enum ptx_type register_type(unsigned element) { return element == PTX_F64 ? PTX_B64 : PTX_B32; }

/* A fragment's registers: exactly `count`, all or none in braces. */
static void parse_fragment(struct parser *parser, const struct mnemonic *mnemonic, struct ptx_operand *operands,
                           unsigned count, unsigned element, bool is_result) {
  enum { LIMIT = 8 };
  bool braced;
  const enum ptx_type type = register_type(element);
  if (parse_vector(parser, type, operands, LIMIT, &braced) != count)
    parser_fail(parser, mnemonic->line, "a matrix of '%s' does not have %u registers", mnemonic->whole, count);
  for (unsigned i = 0; i < count; i++) {
    check_operand(parser, mnemonic, &operands[i], type, false, is_result);
    if (operands[i].kind == PTX_OPERAND_SYMBOL || operands[i].kind == PTX_OPERAND_SPECIAL)
      mnemonic_refuse(parser, mnemonic);
  }
}

/* Registers of C or D. */
static unsigned accumulator_count(const struct ptx_matrix *matrix, unsigned type) {
  unsigned elements = matrix->m * matrix->n / 32u;
  if (matrix->a == PTX_F16 && matrix->k == 4) elements = 8;
  return type == PTX_F16 ? elements / 2 : elements;
}

/* Operands of mma and wmma.mma, whose registers were counted. */
static void parse_products(struct parser *parser, const struct mnemonic *mnemonic,
                           struct ptx_instruction *instruction) {
  const struct ptx_matrix *matrix = &instruction->matrix;
  const unsigned a = matrix->a_count, b = matrix->b_count, c = matrix->c_count;
  instruction->dst_count = (uint8_t)accumulator_count(matrix, matrix->d);
  instruction->src_count = (uint8_t)(a + b + c);
  instruction->dst = parser_operands(parser, 8);
  instruction->src = parser_operands(parser, a + b + c + 8);
  parse_fragment(parser, mnemonic, instruction->dst, instruction->dst_count, matrix->d, true);
  token_expect(parser, ',');
  parse_fragment(parser, mnemonic, instruction->src, a, matrix->a, false);
  token_expect(parser, ',');
  parse_fragment(parser, mnemonic, instruction->src + a, b, matrix->b, false);
  token_expect(parser, ',');
  parse_fragment(parser, mnemonic, instruction->src + a + b, c, matrix->c, false);
}

/* ---- mma ---- */

/* The combinations of shape, type of A and type of B; C and D follow. */
static bool mma_is_known(const struct ptx_matrix *x) {
  const uint32_t a = BIT(x->a), b = BIT(x->b);
  const bool high = x->m == 16, same = x->c == x->d;
  if (x->n != 8 || x->m > 16) return false;
  if (x->a == PTX_F16 && x->b == PTX_F16) {
    if (!(BIT(x->c) & F16_OR_F32) || !(BIT(x->d) & F16_OR_F32)) return false;
    if (!high) return x->k == 4 && (same || x->d == PTX_F32);
    return same && (x->k == 8 || x->k == 16);
  }
  if (x->a == PTX_BF16 || x->a == PTX_TF32) {
    const bool wide = x->a == PTX_TF32;
    return x->a == x->b && high && x->c == PTX_F32 && x->d == PTX_F32 && (x->k == 8 || x->k == (wide ? 4 : 16));
  }
  if (x->a == PTX_F64) {
    if (x->b != PTX_F64 || x->c != PTX_F64 || x->d != PTX_F64) return false;
    return high ? x->k == 4 || x->k == 8 || x->k == 16 : x->k == 4;
  }
  if (a & FLOAT8) return (b & FLOAT8) && high && x->k == 32 && same && (BIT(x->d) & F16_OR_F32);
  if (x->c != PTX_S32 || x->d != PTX_S32) return false;
  if (a & BYTES) return (b & BYTES) && (high ? x->k == 16 || x->k == 32 : x->k == 16);
  if (a & NIBBLES) return (b & NIBBLES) && (high ? x->k == 32 || x->k == 64 : x->k == 32);
  if (x->a == PTX_B1) return x->b == PTX_B1 && (high ? x->k == 128 || x->k == 256 : x->k == 128);
  return false;
}

static void take_bit_operation(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  static const struct keyword operations[] = {{"xor", PTX_MMA_XOR_POPC}, {"and", PTX_MMA_AND_POPC}, {NULL, 0}};
  int operation = mnemonic_take_keyword(mnemonic, operations, PTX_MMA_MULTIPLY);
  bool bits = instruction->matrix.a == PTX_B1;
  if ((operation != PTX_MMA_MULTIPLY) != bits || mnemonic_take(mnemonic, "popc") != bits)
    mnemonic_refuse(parser, mnemonic);
  instruction->mode = (uint8_t)operation;
}

static void take_saturation(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  if (!mnemonic_take(mnemonic, "satfinite")) return;
  if (!(BIT(instruction->matrix.a) & (BYTES | NIBBLES))) mnemonic_refuse(parser, mnemonic);
  instruction->flags |= PTX_SATFINITE;
}

static void take_collective(struct parser *parser, struct mnemonic *mnemonic) {
  if (!mnemonic_take(mnemonic, "sync") || !mnemonic_take(mnemonic, "aligned")) mnemonic_refuse(parser, mnemonic);
}

void parse_mma(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  struct ptx_matrix *matrix = &instruction->matrix;
  take_collective(parser, mnemonic);
  take_shape(parser, mnemonic, matrix);
  bool a_column = take_column(parser, mnemonic), b_column = take_column(parser, mnemonic);
  take_types(parser, mnemonic, matrix);
  if (!mma_is_known(matrix)) mnemonic_refuse(parser, mnemonic);
  bool quads = matrix->a == PTX_F16 && matrix->k == 4;
  if (!quads && (a_column || !b_column)) mnemonic_refuse(parser, mnemonic);
  matrix->a_column = a_column;
  matrix->b_row = !b_column;
  take_bit_operation(parser, mnemonic, instruction);
  take_saturation(parser, mnemonic, instruction);
  if (matrix->a == PTX_F64) mnemonic_take(mnemonic, "rn");
  mnemonic_check_rest(parser, mnemonic);
  const unsigned lane_bits = matrix->a == PTX_F64 ? 2048 : 1024;
  matrix->a_count = (uint8_t)(quads ? 2 : matrix->m * matrix->k * element_bits(matrix->a) / lane_bits);
  matrix->b_count = (uint8_t)(quads ? 2 : matrix->n * matrix->k * element_bits(matrix->b) / lane_bits);
  matrix->c_count = (uint8_t)accumulator_count(matrix, matrix->c);
  instruction->type = matrix->d;
  parse_products(parser, mnemonic, instruction);
}

/* ---- ldmatrix, stmatrix, movmatrix ---- */

void parse_ldmatrix(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  static const struct keyword counts[] = {{"x1", 1}, {"x2", 2}, {"x4", 4}, {NULL, 0}};
  bool load = instruction->op == PTX_LDMATRIX;
  take_collective(parser, mnemonic);
  int count = mnemonic_take_keyword(mnemonic, counts, 0);
  if (!count || !mnemonic_take(mnemonic, "m8n8") || !mnemonic_take(mnemonic, "b16")) mnemonic_refuse(parser, mnemonic);
  instruction->mode = mnemonic_take(mnemonic, "trans");
  instruction->space = (uint8_t)mnemonic_take_keyword(mnemonic, state_spaces, PTX_GENERIC);
  if (instruction->space != PTX_SHARED && instruction->space != PTX_GENERIC) mnemonic_refuse(parser, mnemonic);
  mnemonic_check_rest(parser, mnemonic);
  instruction->type = PTX_B32;
  instruction->vector = (uint8_t)count;
  instruction->dst = parser_operands(parser, 8);
  instruction->src = parser_operands(parser, 9);
  if (load) {
    instruction->dst_count = (uint8_t)count;
    parse_fragment(parser, mnemonic, instruction->dst, (unsigned)count, PTX_B32, true);
    token_expect(parser, ',');
  }
  parse_address(parser, mnemonic, instruction);
  instruction->src_count = 1;
  if (!load) {
    token_expect(parser, ',');
    parse_fragment(parser, mnemonic, instruction->src + 1, (unsigned)count, PTX_B32, false);
    instruction->src_count = (uint8_t)(1 + count);
  }
}

void parse_movmatrix(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  take_collective(parser, mnemonic);
  if (!mnemonic_take(mnemonic, "m8n8") || !mnemonic_take(mnemonic, "trans") || !mnemonic_take(mnemonic, "b16"))
    mnemonic_refuse(parser, mnemonic);
  mnemonic_check_rest(parser, mnemonic);
  instruction->type = PTX_B32;
  instruction->dst = parser_operands(parser, 8);
  instruction->src = parser_operands(parser, 8);
  instruction->dst_count = instruction->src_count = 1;
  parse_fragment(parser, mnemonic, instruction->dst, 1, PTX_B32, true);
  token_expect(parser, ',');
  parse_fragment(parser, mnemonic, instruction->src, 1, PTX_B32, false);
}

/* ---- wmma ---- */

enum wmma_part { WMMA_LOAD_A = 1, WMMA_LOAD_B, WMMA_LOAD_C, WMMA_STORE_D, WMMA_MMA }; /* in .combine until expanded */

/* Whether the types of A and B have this shape. */
static bool wmma_is_known(const struct ptx_matrix *x, unsigned type) {
  const bool common =
      x->k == 16 && ((x->m == 16 && x->n == 16) || (x->m == 32 && x->n == 8) || (x->m == 8 && x->n == 32));
  const bool least = x->m == 8 && x->n == 8;
  switch (type) {
    case PTX_F16:
    case PTX_BF16:
    case PTX_S8:
    case PTX_U8:
      return common;
    case PTX_TF32:
      return x->m == 16 && x->n == 16 && x->k == 8;
    case PTX_F64:
      return least && x->k == 4;
    case PTX_S4:
    case PTX_U4:
      return least && x->k == 32;
    case PTX_B1:
      return least && x->k == 128;
    default:
      return false;
  }
}

/* Whether accumulators of this shape may have the type. */
static bool wmma_accumulates(const struct ptx_matrix *x, unsigned type) {
  static const uint8_t sources[] = {PTX_F16, PTX_BF16, PTX_S8, PTX_TF32, PTX_F64, PTX_S4, PTX_B1};
  for (size_t i = 0; i < sizeof sources; i++) {
    if (!wmma_is_known(x, sources[i])) continue;
    switch (sources[i]) {
      case PTX_F16:
        if (BIT(type) & F16_OR_F32) return true;
        break;
      case PTX_BF16:
      case PTX_TF32:
        if (type == PTX_F32) return true;
        break;
      case PTX_F64:
        if (type == PTX_F64) return true;
        break;
      default:
        if (type == PTX_S32) return true;
        break;
    }
  }
  return false;
}

/* Registers that hold different elements; a fragment of f16 has eight in any case, its elements several times. */
static unsigned distinct_registers(unsigned rows, unsigned columns, unsigned type) {
  const unsigned bits = element_bits(type);
  return rows * columns / 32 * bits / (bits == 64 ? 64 : 32);
}

static unsigned fragment_registers(unsigned rows, unsigned columns, unsigned type) {
  return type == PTX_F16 ? 8 : distinct_registers(rows, columns, type);
}

static void parse_wmma_mma(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  struct ptx_matrix *x = &instruction->matrix;
  take_shape(parser, mnemonic, x);
  bool a_column = take_column(parser, mnemonic), b_column = take_column(parser, mnemonic);
  take_types(parser, mnemonic, x);
  bool small = element_bits(x->a) < 8;
  if (x->a != x->b || !wmma_is_known(x, x->a) || (small && (a_column || !b_column))) mnemonic_refuse(parser, mnemonic);
  bool fits = x->a == PTX_F16                        ? (BIT(x->c) & F16_OR_F32) && (BIT(x->d) & F16_OR_F32)
              : x->a == PTX_F64                      ? x->c == PTX_F64 && x->d == PTX_F64
              : x->a == PTX_BF16 || x->a == PTX_TF32 ? x->c == PTX_F32 && x->d == PTX_F32
                                                     : x->c == PTX_S32 && x->d == PTX_S32;
  if (!fits) mnemonic_refuse(parser, mnemonic);
  take_bit_operation(parser, mnemonic, instruction);
  take_saturation(parser, mnemonic, instruction);
  if (x->a == PTX_F64) mnemonic_take(mnemonic, "rn");
  mnemonic_check_rest(parser, mnemonic);
  x->a_count = (uint8_t)fragment_registers(x->m, x->k, x->a);
  x->b_count = (uint8_t)fragment_registers(x->n, x->k, x->b);
  x->c_count = (uint8_t)accumulator_count(x, x->c);
  instruction->type = x->d;
  instruction->combine = WMMA_MMA;
  parse_products(parser, mnemonic, instruction);
}

void parse_wmma(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  struct ptx_matrix *x = &instruction->matrix;
  take_collective(parser, mnemonic);
  if (mnemonic_take(mnemonic, "mma")) {
    parse_wmma_mma(parser, mnemonic, instruction);
    return;
  }
  bool load = mnemonic_take(mnemonic, "load");
  if (!load && !mnemonic_take(mnemonic, "store")) mnemonic_refuse(parser, mnemonic);
  static const struct keyword loads[] = {{"a", WMMA_LOAD_A}, {"b", WMMA_LOAD_B}, {"c", WMMA_LOAD_C}, {NULL, 0}};
  static const struct keyword stores[] = {{"d", WMMA_STORE_D}, {NULL, 0}};
  int part = mnemonic_take_keyword(mnemonic, load ? loads : stores, 0);
  if (!part) mnemonic_refuse(parser, mnemonic);
  x->a_column = take_column(parser, mnemonic);
  take_shape(parser, mnemonic, x);
  instruction->space = (uint8_t)mnemonic_take_keyword(mnemonic, state_spaces, PTX_GENERIC);
  if (instruction->space != PTX_GENERIC && instruction->space != PTX_GLOBAL && instruction->space != PTX_SHARED)
    mnemonic_refuse(parser, mnemonic);
  if (!mnemonic_take_type(mnemonic, &instruction->type)) mnemonic_refuse(parser, mnemonic);
  const unsigned type = instruction->type;
  bool accumulator = part == WMMA_LOAD_C || part == WMMA_STORE_D;
  if (!(accumulator ? wmma_accumulates(x, type) : wmma_is_known(x, type))) mnemonic_refuse(parser, mnemonic);
  if (!accumulator && element_bits(type) < 8 && x->a_column != (part == WMMA_LOAD_B)) mnemonic_refuse(parser, mnemonic);
  mnemonic_check_rest(parser, mnemonic);
  unsigned count = accumulator           ? accumulator_count(x, type)
                   : part == WMMA_LOAD_A ? fragment_registers(x->m, x->k, type)
                                         : fragment_registers(x->n, x->k, type);
  struct ptx_operand *fragment = parser_operands(parser, 8);
  instruction->combine = (uint8_t)part;
  instruction->src = parser_operands(parser, 2);
  instruction->dst = fragment; /* of a store as well */
  instruction->dst_count = (uint8_t)count;
  if (load) {
    parse_fragment(parser, mnemonic, fragment, count, type, true);
    token_expect(parser, ',');
  }
  parse_address(parser, mnemonic, instruction);
  instruction->src_count = 1;
  if (!load) {
    token_expect(parser, ',');
    parse_fragment(parser, mnemonic, fragment, count, type, false);
  }
  if (token_accept(parser, ',')) { /* the stride between rows (columns), in elements */
    instruction->src[1] = parse_operand(parser, PTX_U32);
    check_operand(parser, mnemonic, &instruction->src[1], PTX_U32, false, false);
    move_special(parser, &instruction->src[1], PTX_U32, mnemonic->line);
    instruction->src_count = 2;
  }
}

static struct ptx_operand compute(struct parser *parser, const struct ptx_instruction *whole, enum ptx_op op,
                                  enum ptx_type type, enum ptx_type result, unsigned count,
                                  const struct ptx_operand *src) {
  struct ptx_operand d = parser_new_register(parser, result);
  struct ptx_instruction part = {.op = (uint16_t)op, .type = (uint8_t)type};
  if (op == PTX_CVT) part.source_type = PTX_U32;
  parser_append_part(parser, whole, part, d, count, src);
  return d;
}

static void append_many(struct parser *parser, const struct ptx_instruction *whole, struct ptx_instruction part,
                        unsigned dst_count, const struct ptx_operand *dst, unsigned src_count,
                        const struct ptx_operand *src) {
  part.guard = whole->guard;
  part.guard_negate = whole->guard_negate;
  part.line = whole->line;
  part.file = whole->file;
  part.source_line = whole->source_line;
  part.call_file = whole->call_file;
  part.call_line = whole->call_line;
  part.dst_count = (uint8_t)dst_count;
  part.src_count = (uint8_t)src_count;
  part.dst = parser_operands(parser, dst_count);
  part.src = parser_operands(parser, src_count);
  if (dst_count) memcpy(part.dst, dst, dst_count * sizeof *dst);
  if (src_count) memcpy(part.src, src, src_count * sizeof *src);
  body_append(parser, STATEMENT_INSTRUCTION)->instruction = part;
}

/* Products of m16n8 (m8n8) tiles. With eight rows and 32 columns the transposed product is computed. */
static void expand_wmma_mma(struct parser *parser, const struct ptx_instruction *whole) {
  const struct ptx_matrix *x = &whole->matrix;
  const bool transposed = x->n == 32;
  const unsigned rows = transposed ? x->n : x->m, columns = transposed ? x->m : x->n, high = rows >= 16 ? 16 : 8;
  const struct ptx_operand *a = whole->src, *b = a + x->a_count, *c = b + x->b_count;
  const unsigned a_each = distinct_registers(high, x->k, x->a), b_each = distinct_registers(8, x->k, x->b);
  const unsigned c_each = high / 4u / (x->c == PTX_F16 ? 2 : 1), d_each = high / 4u / (x->d == PTX_F16 ? 2 : 1);
  const unsigned tiles = rows / high * (columns / 8);
  /* Results go through registers of their own: one tile's may be another tile's operands. */
  struct ptx_operand results[8] = {{0}};
  for (unsigned tile = 0; tile < tiles; tile++) {
    const unsigned i = tile / (columns / 8), j = tile % (columns / 8);
    struct ptx_instruction part = {.op = PTX_MMA, .type = whole->type, .flags = whole->flags, .mode = whole->mode};
    part.matrix = *x;
    part.matrix.m = (uint8_t)high;
    part.matrix.n = 8;
    part.matrix.a = transposed ? x->b : x->a;
    part.matrix.b = transposed ? x->a : x->b;
    part.matrix.a_count = (uint8_t)a_each;
    part.matrix.b_count = (uint8_t)b_each;
    part.matrix.c_count = (uint8_t)c_each;
    part.matrix.a_column = part.matrix.b_row = false;
    struct ptx_operand src[24];
    memcpy(src, (transposed ? b : a) + i * a_each, a_each * sizeof *src);
    memcpy(src + a_each, (transposed ? a : b) + j * b_each, b_each * sizeof *src);
    memcpy(src + a_each + b_each, c + tile * c_each, c_each * sizeof *src);
    struct ptx_operand *d = tiles == 1 ? whole->dst : results + tile * d_each;
    for (unsigned e = 0; tiles > 1 && e < d_each; e++) d[e] = parser_new_register(parser, register_type(x->d));
    append_many(parser, whole, part, d_each, d, a_each + b_each + c_each, src);
  }
  const struct ptx_instruction move = {.op = PTX_MOV, .type = PTX_B32};
  for (unsigned e = 0; tiles > 1 && e < tiles * d_each; e++)
    parser_append_part(parser, whole, move, whole->dst[e], 1, &results[e]);
}

/* Where the first element of a register lies: row and column are constants plus a part that follows from the lane, g =
 * lane / 4 or p t = p (lane mod 4); the other elements of the register follow it in the column's direction. */
struct place {
  unsigned row, column; /* of the matrix as mma's operand */
};

static void append_access(struct parser *parser, const struct ptx_instruction *whole, bool load, enum ptx_type type,
                          struct ptx_operand base, int64_t offset, struct ptx_operand element) {
  const struct ptx_operand src[2] = {base, element};
  struct ptx_instruction part = {
      .op = load ? PTX_LD : PTX_ST, .type = (uint8_t)type, .space = whole->space, .vector = 1, .offset = offset};
  append_many(parser, whole, part, load ? 1 : 0, &element, load ? 1 : 2, src);
}

static void expand_wmma_access(struct parser *parser, const struct ptx_instruction *whole) {
  const struct ptx_matrix *x = &whole->matrix;
  const unsigned type = whole->type, bits = element_bits(type);
  const bool load = whole->combine != WMMA_STORE_D, transposed = x->n == 32;
  const bool accumulator = whole->combine == WMMA_LOAD_C || whole->combine == WMMA_STORE_D;
  /* Which operand of mma the fragment is, and whether it is this matrix or its transpose. B counts as its transpose,
   * whose rows lie as those of an A of eight rows. */
  const bool first = whole->combine == WMMA_LOAD_A, is_a = first != transposed;
  const bool flipped = accumulator ? transposed : !first;
  const unsigned rows = accumulator ? (transposed ? x->n : x->m) : first ? x->m : x->n;
  const unsigned columns = accumulator ? (transposed ? x->m : x->n) : x->k;
  const unsigned high = (accumulator || is_a) && rows >= 16 ? 16 : 8;
  const unsigned p = accumulator ? (type == PTX_F16 ? 2 : 1) : bits >= 32 ? 1 : 32 / bits;
  const unsigned distinct = distinct_registers(rows, columns, type);
  /* Consecutive elements of a register are neighbours in memory if memory goes along the operand's rows. */
  const bool along = x->a_column == flipped;

  const struct ptx_operand all = operand_number(UINT32_MAX);
  append_many(parser, whole, (struct ptx_instruction){.op = PTX_BAR_WARP, .type = PTX_B32}, 0, NULL, 1, &all);
  struct ptx_operand lane = {.kind = PTX_OPERAND_SPECIAL, .index = PTX_LANEID};
  lane = compute(parser, whole, PTX_MOV, PTX_B32, PTX_B32, 1, &lane);
  struct ptx_operand g =
      compute(parser, whole, PTX_SHR, PTX_U32, PTX_B32, 2, (struct ptx_operand[]){lane, operand_number(2)});
  struct ptx_operand t =
      compute(parser, whole, PTX_AND, PTX_B32, PTX_B32, 2, (struct ptx_operand[]){lane, operand_number(3)});
  /* Elements along t in one register or, in accumulators, two registers of two columns. */
  const unsigned t_step = accumulator ? 2 : p;
  if (t_step > 1)
    t = compute(parser, whole, PTX_MUL, PTX_U32, PTX_B32, 2, (struct ptx_operand[]){t, operand_number(t_step)});
  struct ptx_operand base = whole->src[0];
  const bool narrow = base.kind == PTX_OPERAND_REGISTER && parser->body->register_class[base.index] == PTX_CLASS_32;
  base = narrow ? compute(parser, whole, PTX_CVT, PTX_U64, PTX_B64, 1, &base)
                : compute(parser, whole, PTX_MOV, PTX_B64, PTX_B64, 1, &base);
  struct ptx_operand stride =
      whole->src_count > 1 ? whole->src[1] : operand_number(along ? columns : rows); /* in elements */
  struct ptx_operand stride_bytes = bits >= 8
                                        ? compute(parser, whole, PTX_MUL, PTX_U32, PTX_B32, 2,
                                                  (struct ptx_operand[]){stride, operand_number(bits / 8)})
                                        : compute(parser, whole, PTX_SHR, PTX_U32, PTX_B32, 2,
                                                  (struct ptx_operand[]){stride, operand_number(bits == 4 ? 1 : 3)});
  /* The lane's own part: rows g and columns t. */
  struct ptx_operand major = along ? g : t, minor = along ? t : g;
  base = compute(parser, whole, PTX_MAD_WIDE, PTX_U32, PTX_B64, 3, (struct ptx_operand[]){major, stride_bytes, base});
  if (bits >= 8)
    base = compute(parser, whole, PTX_MAD_WIDE, PTX_U32, PTX_B64, 3,
                   (struct ptx_operand[]){minor, operand_number(bits / 8), base});
  else /* always along rows: whole words */
    base = compute(parser, whole, PTX_MAD_WIDE, PTX_U32, PTX_B64, 3,
                   (struct ptx_operand[]){compute(parser, whole, PTX_SHR, PTX_U32, PTX_B32, 2,
                                                  (struct ptx_operand[]){t, operand_number(bits == 4 ? 3 : 5)}),
                                          operand_number(4), base});
  for (unsigned r = 0; r < distinct; r++) {
    struct place place;
    if (accumulator) {
      const unsigned e = type == PTX_F16 ? 2 * r : r, each = high / 4, tile = e / each, within = e % each;
      place.row = high * (tile / (columns / 8)) + 8 * (within / 2);
      place.column = 8 * (tile % (columns / 8)) + within % 2;
    } else {
      const unsigned each = distinct_registers(high, columns, type), within = r % each, halves = high / 8;
      place.row = high * (r / each) + 8 * (within % halves);
      place.column = 4 * p * (within / halves);
    }
    const unsigned far = along ? place.row : place.column, near = along ? place.column : place.row;
    const struct ptx_operand fragment = whole->dst[r];
    const unsigned pieces = p > 1 && !along ? p : 1; /* accesses per register */
    struct ptx_operand part[4];
    for (unsigned i = 0; i < pieces; i++) {
      const unsigned lines = far + (pieces > 1 ? i : 0);
      struct ptx_operand from = lines == 0 ? base
                                           : compute(parser, whole, PTX_MAD_WIDE, PTX_U32, PTX_B64, 3,
                                                     (struct ptx_operand[]){operand_number(lines), stride_bytes, base});
      const int64_t offset = whole->offset + (int64_t)(near * bits / 8);
      if (pieces == 1) {
        append_access(parser, whole, load, bits == 64 ? PTX_B64 : PTX_B32, from, offset, fragment);
        break;
      }
      const enum ptx_type each = bits == 16 ? PTX_B16 : PTX_B8;
      if (load) {
        part[i] = parser_new_register(parser, each);
        append_access(parser, whole, true, each, from, offset, part[i]);
      } else {
        if (i == 0) {
          for (unsigned k = 0; k < pieces; k++) part[k] = parser_new_register(parser, each);
          append_many(parser, whole, (struct ptx_instruction){.op = PTX_MOV, .type = PTX_B32}, pieces, part, 1,
                      &fragment);
        }
        append_access(parser, whole, false, each, from, offset, part[i]);
      }
    }
    if (load && pieces > 1)
      append_many(parser, whole, (struct ptx_instruction){.op = PTX_MOV, .type = PTX_B32}, 1, &fragment, pieces, part);
  }
  for (unsigned r = distinct; load && distinct && r < whole->dst_count; r++)
    parser_append_part(parser, whole, (struct ptx_instruction){.op = PTX_MOV, .type = PTX_B32}, whole->dst[r], 1,
                       &whole->dst[r % distinct]);
}

void expand_wmma(struct parser *parser, const struct ptx_instruction *whole) {
  if (whole->combine == WMMA_MMA)
    expand_wmma_mma(parser, whole);
  else
    expand_wmma_access(parser, whole);
}
