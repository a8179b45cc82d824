/* Matrix instructions: see matrix.h for the order of operations and for where elements lie.
 *
 * mma of floating-point elements is done on the fragments as they are, so that accumulators need no conversion: with
 * lane = 4 g + t, an accumulator's 32 lanes are rows g and columns 2 t or 2 t + 1. For each k, A's element of row g
 * lies in one lane of each group of four and is repeated over that group; B's elements of one k for the columns 2 t
 * come from four lanes of the warp and are repeated over the groups. Both are one shuffle for a vector register; then
 * every accumulator takes one fused multiply-add. Vectors are of the CPU's width here, not of 32 lanes, because B's
 * repeated elements are the same for all parts. The code is a function for each shape (emit_outline.c) on fragments in
 * memory (emit_fragments.c). */
#include <stdio.h>

#include "engine/vgpu/translate/emitter.h"

enum { MAX_PIECES = 8, GROUP = 4, MAX_ELEMENTS = 2, MAX_REGISTERS = 8 }; /* GROUP: lanes with the same g */

static const struct shape uniform = {.kind = SHAPE_AFFINE};

/* A register's 32 lanes as vectors of the CPU's width. */
struct pieces {
  Value piece[MAX_PIECES];
};

struct matrix_emitter {
  struct emitter *e;
  unsigned width, count; /* lanes of a piece, pieces */
  Type element;          /* f32 or f64 */
};

/* Bytes from one register of a fragment to the next: lanes of four bytes, or of eight with f64. */
static Value piece_address(const struct matrix_emitter *m, Value fragment, unsigned number, unsigned p, Type element) {
  struct emitter *e = m->e;
  const unsigned bytes = LLVMGetTypeKind(m->element) == LLVMDoubleTypeKind ? 8 : 4;
  Value offset = LLVMConstInt(e->i64, (number * WARP_LANES + p * m->width) * bytes, 0);
  Value address = LLVMBuildInBoundsGEP2(e->builder, e->i8, fragment, &offset, 1, "");
  return LLVMBuildBitCast(e->builder, address, LLVMPointerType(LLVMVectorType(element, m->width), 0), "");
}

/* Register `number` of a fragment. */
static struct pieces load_register(const struct matrix_emitter *m, Value fragment, unsigned number, Type element) {
  struct pieces result = {{NULL}};
  for (unsigned p = 0; p < m->count; p++)
    result.piece[p] = LLVMBuildLoad2(m->e->builder, LLVMVectorType(element, m->width),
                                     piece_address(m, fragment, number, p, element), "");
  return result;
}

static void store_register(const struct matrix_emitter *m, Value fragment, unsigned number,
                           const struct pieces *pieces) {
  for (unsigned p = 0; p < m->count; p++) {
    const Type element = LLVMGetElementType(LLVMTypeOf(pieces->piece[p]));
    LLVMBuildStore(m->e->builder, pieces->piece[p], piece_address(m, fragment, number, p, element));
  }
}

/* Element i of each lane's register as a number of the accumulators' type. */
static Value widen(const struct matrix_emitter *m, Value bits, uint8_t type, unsigned i) {
  struct emitter *e = m->e;
  LLVMBuilderRef b = e->builder;
  const Type of_bits = LLVMTypeOf(bits), floats = LLVMVectorType(e->f32, m->width);
  switch (type) {
    case PTX_F64:
      return LLVMBuildBitCast(b, bits, LLVMVectorType(e->f64, m->width), "");
    case PTX_TF32:
      bits = LLVMBuildAnd(b, bits, constant(of_bits, 0xffffe000u), "");
      return LLVMBuildBitCast(b, bits, floats, "");
    case PTX_BF16:
      bits = i == 0 ? LLVMBuildShl(b, bits, constant(of_bits, 16), "")
                    : LLVMBuildAnd(b, bits, constant(of_bits, 0xffff0000u), "");
      return LLVMBuildBitCast(b, bits, floats, "");
    default: /* f16 */
      if (i == 1) bits = LLVMBuildLShr(b, bits, constant(of_bits, 16), "");
      bits = LLVMBuildTrunc(b, bits, LLVMVectorType(e->i16, m->width), "");
      return LLVMBuildFPExt(b, LLVMBuildBitCast(b, bits, LLVMVectorType(e->f16, m->width), ""), floats, "");
  }
}

/* The lane t of each group of four, in all its lanes. */
static Value repeat_in_groups(const struct matrix_emitter *m, Value x, unsigned t) {
  unsigned lanes[WARP_LANES];
  for (unsigned i = 0; i < m->width; i++) lanes[i] = i / GROUP * GROUP + t;
  return shuffle(m->e, x, NULL, lanes, m->width);
}

/* out[t][c]: lane t of the groups 2 j + c for j = 0..3, over and over. */
static void transpose_groups(const struct matrix_emitter *m, const struct pieces *b, Value out[GROUP][2]) {
  struct emitter *e = m->e;
  unsigned lanes[WARP_LANES];
  if (m->count == 2) { /* one shuffle of two registers reaches all lanes */
    for (unsigned t = 0; t < GROUP; t++) {
      for (unsigned c = 0; c < 2; c++) {
        for (unsigned i = 0; i < m->width; i++) lanes[i] = GROUP * (2 * (i % GROUP) + c) + t;
        out[t][c] = shuffle(e, b->piece[0], b->piece[1], lanes, m->width);
      }
    }
    return;
  }
  if (m->count == 4) { /* a piece is two groups: a transposition of 4 x 4 in each half */
    static const unsigned low[8] = {0, 8, 1, 9, 4, 12, 5, 13}, high[8] = {2, 10, 3, 11, 6, 14, 7, 15};
    static const unsigned first[8] = {0, 1, 8, 9, 4, 5, 12, 13}, second[8] = {2, 3, 10, 11, 6, 7, 14, 15};
    static const unsigned halves[2][8] = {{0, 1, 2, 3, 0, 1, 2, 3}, {4, 5, 6, 7, 4, 5, 6, 7}};
    for (unsigned t = 0; t < GROUP; t++) {
      Value x = shuffle(e, b->piece[0], b->piece[1], t < 2 ? low : high, 8);
      Value y = shuffle(e, b->piece[2], b->piece[3], t < 2 ? low : high, 8);
      Value both = shuffle(e, x, y, t % 2 ? second : first, 8);
      for (unsigned c = 0; c < 2; c++) out[t][c] = shuffle(e, both, NULL, halves[c], 8);
    }
    return;
  }
  for (unsigned t = 0; t < GROUP; t++) { /* f64 in registers of four */
    for (unsigned c = 0; c < 2; c++) {
      Value row = LLVMGetUndef(LLVMTypeOf(b->piece[0]));
      for (unsigned i = 0; i < GROUP; i++) {
        Value x = LLVMBuildExtractElement(e->builder, b->piece[2 * i + c], constant(e->i32, t), "");
        row = LLVMBuildInsertElement(e->builder, row, x, constant(e->i32, i), "");
      }
      out[t][c] = row;
    }
  }
}

/* ---- accumulators ---- */

static struct pieces read_accumulator(const struct matrix_emitter *m, const struct ptx_matrix *shape, Value c,
                                      unsigned element) {
  if (shape->c != PTX_F16) return load_register(m, c, element, m->element);
  struct pieces result = load_register(m, c, element / 2, m->e->i32);
  for (unsigned p = 0; p < m->count; p++) result.piece[p] = widen(m, result.piece[p], PTX_F16, element % 2);
  return result;
}

/* f32 to the bits of f16, in 32 bits. */
static Value narrowed(const struct matrix_emitter *m, Value x) {
  struct emitter *e = m->e;
  LLVMBuilderRef b = e->builder;
  const Type words = LLVMVectorType(e->i16, m->width);
  Value half = LLVMBuildFPTrunc(b, x, LLVMVectorType(e->f16, m->width), "");
  Value nan = LLVMBuildFCmp(b, LLVMRealUNO, x, x, "");
  half = LLVMBuildSelect(b, nan, constant(words, 0x7fff), LLVMBuildBitCast(b, half, words, ""), "");
  return LLVMBuildZExt(b, half, LLVMVectorType(e->i32, m->width), "");
}

static void write_accumulators(const struct matrix_emitter *m, const struct ptx_instruction *mma, Value fragment,
                               const struct pieces *accumulators) {
  struct emitter *e = m->e;
  LLVMBuilderRef b = e->builder;
  for (unsigned d = 0; d < mma->dst_count; d++) {
    struct pieces out = {{NULL}};
    for (unsigned p = 0; p < m->count; p++) {
      if (mma->matrix.d == PTX_F16) {
        Value low = narrowed(m, accumulators[2 * d].piece[p]), high = narrowed(m, accumulators[2 * d + 1].piece[p]);
        out.piece[p] = LLVMBuildOr(b, low, LLVMBuildShl(b, high, constant(LLVMTypeOf(high), 16), ""), "");
        continue;
      }
      Value x = accumulators[d].piece[p];
      if (mma->matrix.d == PTX_F32) {
        Value nan = LLVMBuildBitCast(b, constant(LLVMVectorType(e->i32, m->width), 0x7fffffff), LLVMTypeOf(x), "");
        x = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealUNO, x, x, ""), nan, x, "");
      }
      out.piece[p] = x;
    }
    store_register(m, fragment, d, &out);
  }
}

/* ---- mma ---- */

bool has_function(const struct ptx_matrix *shape) {
  const bool same = shape->a == shape->b, quads = shape->a == PTX_F16 && shape->k == 4;
  const bool floats = shape->a == PTX_TF32 || shape->a == PTX_BF16 || shape->a == PTX_F16 || shape->a == PTX_F64;
  return same && floats && !quads;
}

/* A matrix multiplication's factor B by columns: of each register, element, lane of a group of four and column. */
struct columns {
  Value of[MAX_REGISTERS][MAX_ELEMENTS][GROUP][2];
};

/* d[2 h + k] += for the pieces `from` .. `end` - 1 of the rows 8 h .. 8 h + 7. k ascending: within a register of B,
 * lane t by lane t, and element by element. */
static void multiply_pieces(const struct matrix_emitter *m, const struct ptx_matrix *shape, Value a,
                            const struct columns *columns, unsigned h, unsigned from, unsigned end,
                            struct pieces d[4]) {
  struct emitter *e = m->e;
  const unsigned high = shape->m / 8u, elements = shape->a == PTX_F16 || shape->a == PTX_BF16 ? 2 : 1;
  const Type word = shape->a == PTX_F64 ? e->i64 : e->i32;
  for (unsigned r = 0; r < shape->b_count; r++) {
    const struct pieces words = load_register(m, a, r * high + h, word);
    struct pieces rows[MAX_ELEMENTS];
    for (unsigned i = 0; i < elements; i++)
      for (unsigned p = from; p < end; p++) rows[i].piece[p] = widen(m, words.piece[p], shape->a, i);
    for (unsigned t = 0; t < GROUP; t++) {
      for (unsigned i = 0; i < elements; i++) {
        for (unsigned p = from; p < end; p++) {
          Value x = repeat_in_groups(m, rows[i].piece[p], t);
          for (unsigned k = 0; k < 2; k++) {
            Value *sum = &d[2 * h + k].piece[p];
            *sum = call_intrinsic(e, "llvm.fma", LLVMTypeOf(x), 3, (Value[]){x, columns->of[r][i][t][k], *sum});
          }
        }
      }
    }
  }
}

/* The function of a shape: pointers to A, B, C and D, which may be C. A few sums at a time, which then stay in
 * registers while B's columns are read from memory: sixteen registers do not hold all sums. */
static Value multiply(struct emitter *e, const void *what, const Value *fragments) {
  const struct ptx_instruction *mma = what;
  const struct ptx_matrix *shape = &mma->matrix;
  const bool doubles = shape->a == PTX_F64;
  const unsigned bytes = doubles ? 8 : 4, width = (e->features->avx512 ? 64 : 32) / bytes;
  const struct matrix_emitter emitter = {
      .e = e, .width = width, .count = WARP_LANES / width, .element = doubles ? e->f64 : e->f32};
  const struct matrix_emitter *m = &emitter;
  const unsigned high = shape->m / 8u, elements = shape->a == PTX_F16 || shape->a == PTX_BF16 ? 2 : 1;
  const Type word = doubles ? e->i64 : e->i32;
  struct columns columns = {{{{{NULL}}}}};
  for (unsigned r = 0; r < shape->b_count; r++) {
    const struct pieces words = load_register(m, fragments[1], r, word);
    for (unsigned i = 0; i < elements; i++) {
      struct pieces numbers;
      for (unsigned p = 0; p < m->count; p++) numbers.piece[p] = widen(m, words.piece[p], shape->b, i);
      transpose_groups(m, &numbers, columns.of[r][i]);
    }
  }
  struct pieces d[4] = {{{NULL}}};
  for (unsigned i = 0; i < 2 * high; i++) d[i] = read_accumulator(m, shape, fragments[2], i);
  const unsigned together = m->count > 2 ? 2 : m->count;
  for (unsigned h = 0; h < high; h++)
    for (unsigned p = 0; p < m->count; p += together)
      multiply_pieces(m, shape, fragments[0], &columns, h, p, p + together, d);
  write_accumulators(m, mma, fragments[3], d);
  return NULL;
}

static void call_multiply(struct emitter *e, const struct ptx_instruction *mma) {
  const struct ptx_matrix *shape = &mma->matrix;
  const struct ptx_operand *a = mma->src, *b = a + shape->a_count, *c = b + shape->b_count;
  const uint8_t factor = shape->a == PTX_F64 ? PTX_B64 : PTX_B32, sum = shape->c == PTX_F64 ? PTX_B64 : PTX_B32;
  Value fragments[4] = {fragment_source(e, a, shape->a_count, factor, 0),
                        fragment_source(e, b, shape->b_count, factor, 1), fragment_source(e, c, shape->c_count, sum, 2),
                        fragment_target(e, mma->dst, mma->dst_count)};
  char name[60];
  snprintf(name, sizeof name, "mma.%u.%u.%u.%u.%u", shape->m, shape->k, shape->a, shape->c, shape->d);
  call_outlined(e, name, LLVMVoidTypeInContext(e->context), fragments, 4, multiply, mma);
  fragment_written(e, mma, fragments[3]);
}

/* Integers and what else is rare: the interpreter's own code. */
static void multiply_elsewhere(struct emitter *e, const struct ptx_instruction *mma) {
  const Type lanes = shaped(e->i32, true);
  for (unsigned i = 0; i < mma->src_count; i++) {
    Value x = as_bits(e, read_operand(e, &mma->src[i], PTX_B32, true));
    LLVMBuildStore(e->builder, x,
                   warp_address(e, lanes, offsetof(struct warp, matrix) + i * sizeof(uint32_t) * WARP_LANES));
  }
  call_operate(e, mma, NULL);
  for (unsigned i = 0; i < mma->dst_count; i++) {
    Value x =
        LLVMBuildLoad2(e->builder, lanes,
                       warp_address(e, lanes, offsetof(struct warp, matrix) + i * sizeof(uint32_t) * WARP_LANES), "");
    write_register(e, mma, &mma->dst[i], x, uniform, false);
  }
}

static void emit_mma(struct emitter *e, const struct ptx_instruction *mma) {
  if (has_function(&mma->matrix))
    call_multiply(e, mma);
  else
    multiply_elsewhere(e, mma);
}

/* ---- moves ---- */

static void emit_transposition(struct emitter *e, const struct ptx_instruction *instruction) {
  const Type halves = LLVMVectorType(e->i16, 2 * WARP_LANES);
  Value x = LLVMBuildBitCast(e->builder, as_bits(e, read_operand(e, &instruction->src[0], PTX_B32, true)), halves, "");
  unsigned from[2 * WARP_LANES];
  for (unsigned lane = 0; lane < WARP_LANES; lane++) {
    const unsigned row = lane / GROUP, column = 2 * (lane % GROUP);
    for (unsigned i = 0; i < 2; i++) from[2 * lane + i] = 8 * (column + i) + row;
  }
  x = LLVMBuildBitCast(e->builder, shuffle(e, x, NULL, from, 2 * WARP_LANES), shaped(e->i32, true), "");
  write_register(e, instruction, &instruction->dst[0], x, uniform, false);
}

/* The helper packs two registers into a result. */
static void emit_matrix_load(struct emitter *e, const struct ptx_instruction *instruction) {
  LLVMBuilderRef b = e->builder;
  store_argument(e, 0, address_of(e, &instruction->src[0], instruction->offset));
  call_operate(e, instruction, NULL);
  for (unsigned i = 0; i < instruction->vector; i++) {
    Value pair = load_result(e, i / 2);
    if (i % 2) pair = LLVMBuildLShr(b, pair, constant(LLVMTypeOf(pair), 32), "");
    write_register(e, instruction, &instruction->dst[i], LLVMBuildTrunc(b, pair, shaped(e->i32, true), ""), uniform,
                   false);
  }
}

void emit_matrix(struct emitter *e, const struct ptx_instruction *instruction) {
  Value here = mask_bits(e, effective_mask(e, instruction));
  check_together(e, instruction, LLVMBuildICmp(e->builder, LLVMIntEQ, here, constant(e->i32, UINT64_MAX), ""));
  if (instruction->guard == PTX_NONE) e->mask = NULL; /* for the rest of the block, which all lanes run */
  switch (instruction->op) {
    case PTX_MMA:
      emit_mma(e, instruction);
      break;
    case PTX_MOVMATRIX:
      emit_transposition(e, instruction);
      break;
    default:
      emit_matrix_load(e, instruction);
      break;
  }
}
