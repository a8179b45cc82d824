/* Matrix instructions: see matrix.h for the order of operations and for where elements lie.
 *
 * mma of floating-point elements is done on the fragments as they are, so that accumulators need no conversion: with
 * lane = 4 g + t, an accumulator's 32 lanes are rows g and columns 2 t or 2 t + 1. For each k, A's element of row g
 * lies in one lane of each group of four and is repeated over that group; B's elements of one k for the columns 2 t
 * come from four lanes of the warp and are repeated over the groups. Both are one shuffle for a vector register; then
 * every accumulator takes one fused multiply-add. Vectors are of the CPU's width here, not of 32 lanes, because B's
 * repeated elements are the same for all parts. The code is two functions for each shape (emit_outline.c) on fragments
 * in memory (emit_fragments.c): one lays out a factor B, one adds up. Some mma behind one another are done together: a
 * factor B that they share is laid out once, and a sum that several add to stays in registers. */
#include <stdio.h>

#include "engine/vgpu/translate/emitter.h"
#include "engine/vgpu/translate/order.h"

enum { MAX_PIECES = 8, MAX_PARTS = 4, GROUP = 4 }; /* GROUP: lanes with the same g */

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

static Value load_piece(const struct matrix_emitter *m, Value fragment, unsigned number, unsigned p, Type element) {
  return LLVMBuildLoad2(m->e->builder, LLVMVectorType(element, m->width),
                        piece_address(m, fragment, number, p, element), "");
}

/* Register `number` of a fragment. */
static struct pieces load_register(const struct matrix_emitter *m, Value fragment, unsigned number, Type element) {
  struct pieces result = {{NULL}};
  for (unsigned p = 0; p < m->count; p++) result.piece[p] = load_piece(m, fragment, number, p, element);
  return result;
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

/* Out of a factor B's register, so many vectors: for t = 0..3, for c = 0 and 1, lane t of the groups 2 j + c, j = 0..3.
 */
static void transpose_groups(const struct matrix_emitter *m, const struct pieces *b, Value out[MAX_PIECES]) {
  struct emitter *e = m->e;
  unsigned lanes[WARP_LANES];
  if (m->count == 2) { /* one shuffle of two registers reaches all lanes */
    for (unsigned v = 0; v < 2; v++) {
      for (unsigned i = 0; i < m->width; i++) {
        const unsigned t = 2 * v + i / (2 * GROUP), c = i / GROUP % 2, j = i % GROUP;
        lanes[i] = GROUP * (2 * j + c) + t;
      }
      out[v] = shuffle(e, b->piece[0], b->piece[1], lanes, m->width);
    }
    return;
  }
  if (m->count == 4) { /* a piece is two groups: a transposition of 4 x 4 in each half */
    static const unsigned low[8] = {0, 8, 1, 9, 4, 12, 5, 13}, high[8] = {2, 10, 3, 11, 6, 14, 7, 15};
    static const unsigned first[8] = {0, 1, 8, 9, 4, 5, 12, 13}, second[8] = {2, 3, 10, 11, 6, 7, 14, 15};
    for (unsigned t = 0; t < GROUP; t++) {
      Value x = shuffle(e, b->piece[0], b->piece[1], t < 2 ? low : high, 8);
      Value y = shuffle(e, b->piece[2], b->piece[3], t < 2 ? low : high, 8);
      out[t] = shuffle(e, x, y, t % 2 ? second : first, 8);
    }
    return;
  }
  for (unsigned v = 0; v < 2 * GROUP; v++) { /* f64 in registers of four */
    out[v] = LLVMGetUndef(LLVMTypeOf(b->piece[0]));
    for (unsigned i = 0; i < GROUP; i++) {
      Value x = LLVMBuildExtractElement(e->builder, b->piece[2 * i + v % 2], constant(e->i32, v / 2), "");
      out[v] = LLVMBuildInsertElement(e->builder, out[v], x, constant(e->i32, i), "");
    }
  }
}

/* ---- accumulators ---- */

/* A part of a sum that stays in registers: piece `piece` of the two columns of rows 8 h .. 8 h + 7. */
struct part {
  unsigned h, piece;
  Value sums[2];
};

static Value read_accumulator(const struct matrix_emitter *m, const struct ptx_matrix *shape, Value c, unsigned element,
                              unsigned piece) {
  if (shape->c != PTX_F16) return load_piece(m, c, element, piece, m->element);
  return widen(m, load_piece(m, c, element / 2, piece, m->e->i32), PTX_F16, element % 2);
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

/* A part's two sums to D. */
static void write_accumulators(const struct matrix_emitter *m, const struct ptx_matrix *shape, Value d,
                               const struct part *part) {
  struct emitter *e = m->e;
  LLVMBuilderRef b = e->builder;
  if (shape->d == PTX_F16) {
    Value low = narrowed(m, part->sums[0]), high = narrowed(m, part->sums[1]);
    Value both = LLVMBuildOr(b, low, LLVMBuildShl(b, high, constant(LLVMTypeOf(high), 16), ""), "");
    LLVMBuildStore(b, both, piece_address(m, d, part->h, part->piece, e->i32));
    return;
  }
  for (unsigned c = 0; c < 2; c++)
    LLVMBuildStore(b, part->sums[c], piece_address(m, d, 2 * part->h + c, part->piece, m->element));
}

static void write_nans(const struct matrix_emitter *m, const struct ptx_matrix *shape, Value fragment) {
  struct emitter *e = m->e;
  const Type words = LLVMVectorType(e->i32, m->width);
  for (unsigned i = 0; i < 2 * (shape->m / 8u); i++) {
    struct pieces d = load_register(m, fragment, i, m->element);
    for (unsigned p = 0; p < m->count; p++) {
      Value nan = LLVMBuildBitCast(e->builder, constant(words, 0x7fffffff), LLVMTypeOf(d.piece[p]), "");
      Value is_nan = LLVMBuildFCmp(e->builder, LLVMRealUNO, d.piece[p], d.piece[p], "");
      LLVMBuildStore(e->builder, LLVMBuildSelect(e->builder, is_nan, nan, d.piece[p], ""),
                     piece_address(m, fragment, i, p, m->element));
    }
  }
}

/* ---- mma ---- */

bool has_function(const struct ptx_matrix *shape) {
  const bool same = shape->a == shape->b, quads = shape->a == PTX_F16 && shape->k == 4;
  const bool floats = shape->a == PTX_TF32 || shape->a == PTX_BF16 || shape->a == PTX_F16 || shape->a == PTX_F64;
  return same && floats && !quads;
}

/* Elements in a register of a factor. */
static unsigned element_count(const struct ptx_matrix *shape) {
  return shape->a == PTX_F16 || shape->a == PTX_BF16 ? 2 : 1;
}

static struct matrix_emitter matrix_emitter_of(struct emitter *e, const struct ptx_matrix *shape) {
  const bool doubles = shape->a == PTX_F64;
  const unsigned width = (e->features->avx512 ? 64 : 32) / (doubles ? 8 : 4);
  return (struct matrix_emitter){
      .e = e, .width = width, .count = WARP_LANES / width, .element = doubles ? e->f64 : e->f32};
}

static Value address_behind(struct emitter *e, Value pointer, Value offset) {
  return LLVMBuildInBoundsGEP2(e->builder, e->i8, pointer, &offset, 1, "");
}

/* Where a factor B's columns stand, from number `first` of register r's elements i on: [lane t][c][GROUP], the numbers
 * of the columns 2 t' + c. */
static Value column_address(const struct matrix_emitter *m, const struct ptx_matrix *shape, Value memory, unsigned r,
                            unsigned i, unsigned first, unsigned width) {
  struct emitter *e = m->e;
  const unsigned number = (r * element_count(shape) + i) * WARP_LANES + first;
  const unsigned bytes = LLVMGetTypeKind(m->element) == LLVMDoubleTypeKind ? 8 : 4;
  Value address = address_behind(e, memory, LLVMConstInt(e->i64, (uint64_t)number * bytes, 0));
  return LLVMBuildBitCast(e->builder, address, LLVMPointerType(LLVMVectorType(m->element, width), 0), "");
}

/* The columns 2 t' + c, over and over: a load that repeats costs no more than one that does not. */
static Value column(const struct matrix_emitter *m, const struct ptx_matrix *shape, Value memory, unsigned r,
                    unsigned i, unsigned t, unsigned c) {
  unsigned lanes[WARP_LANES];
  Value numbers = LLVMBuildLoad2(m->e->builder, LLVMVectorType(m->element, GROUP),
                                 column_address(m, shape, memory, r, i, GROUP * (2 * t + c), GROUP), "");
  for (unsigned k = 0; k < m->width; k++) lanes[k] = k % GROUP;
  return m->width > GROUP ? shuffle(m->e, numbers, NULL, lanes, m->width) : numbers;
}

/* The function that lays out a factor B: pointers to it and to memory for its columns. */
static Value lay_out_columns(struct emitter *e, const void *what, const Value *arguments) {
  const struct ptx_matrix *shape = what;
  const struct matrix_emitter emitter = matrix_emitter_of(e, shape), *m = &emitter;
  for (unsigned r = 0; r < shape->b_count; r++) {
    const struct pieces words = load_register(m, arguments[0], r, shape->a == PTX_F64 ? e->i64 : e->i32);
    for (unsigned i = 0; i < element_count(shape); i++) {
      struct pieces numbers;
      Value out[MAX_PIECES];
      for (unsigned p = 0; p < m->count; p++) numbers.piece[p] = widen(m, words.piece[p], shape->b, i);
      transpose_groups(m, &numbers, out);
      for (unsigned v = 0; v < m->count; v++)
        LLVMBuildStore(e->builder, out[v], column_address(m, shape, arguments[1], r, i, v * m->width, m->width));
    }
  }
  return NULL;
}

/* Lane t of each group of four, element i, as numbers: words of bf16 are cheaper to widen than to keep wide. */
static Value factor(const struct matrix_emitter *m, const struct ptx_matrix *shape, Value words, unsigned t,
                    unsigned i) {
  if (shape->a == PTX_BF16) return widen(m, repeat_in_groups(m, words, t), PTX_BF16, i);
  return repeat_in_groups(m, widen(m, words, shape->a, i), t);
}

/* Adds to the parts. `a`: the register of A for h = 0. k ascending: within a register of B, lane t by lane t, and
 * element by element. */
static void multiply_parts(const struct matrix_emitter *m, const struct ptx_matrix *shape, Value a, Value columns,
                           struct part *parts, unsigned count) {
  struct emitter *e = m->e;
  const Type word = shape->a == PTX_F64 ? e->i64 : e->i32, vector = LLVMVectorType(m->element, m->width);
  for (unsigned r = 0; r < shape->b_count; r++) {
    Value words[MAX_PARTS];
    for (unsigned n = 0; n < count; n++)
      words[n] = load_piece(m, a, r * (shape->m / 8u) + parts[n].h, parts[n].piece, word);
    for (unsigned t = 0; t < GROUP; t++) {
      for (unsigned i = 0; i < element_count(shape); i++) {
        Value both[2];
        for (unsigned c = 0; c < 2; c++) both[c] = column(m, shape, columns, r, i, t, c);
        for (unsigned n = 0; n < count; n++) {
          Value x = factor(m, shape, words[n], t, i);
          for (unsigned c = 0; c < 2; c++)
            parts[n].sums[c] = call_intrinsic(e, "llvm.fma", vector, 3, (Value[]){x, both[c], parts[n].sums[c]});
        }
      }
    }
  }
}

/* What is added to one sum. */
struct steps {
  const struct ptx_matrix *shape;
  unsigned count;
};

/* Every NaN in D becomes the one that the instruction has; `nans`: bits of lanes where a sum was one. */
static void mend_nans(const struct matrix_emitter *m, const struct ptx_matrix *shape, Value fragment, Value nans) {
  struct emitter *e = m->e;
  Label some = new_label(e, ""), none = new_label(e, "");
  new_branch(e, LLVMBuildICmp(e->builder, LLVMIntNE, nans, LLVMConstNull(LLVMTypeOf(nans)), ""), some, none, true);
  LLVMPositionBuilderAtEnd(e->builder, some);
  write_nans(m, shape, fragment);
  LLVMBuildBr(e->builder, none);
  LLVMPositionBuilderAtEnd(e->builder, none);
}

/* The function that adds up: pointers to C and D, which may be one, and for each step to A and to B's columns. Eight
 * sums at a time, which is what registers hold beside a part of A and two columns of B, and as many as keep both units
 * for multiply-adds busy: of the CPU's widest vectors those of all rows, else the eight rows one after the other.
 * Instructions stand as they should (order.h). */
static Value multiply(struct emitter *e, const void *what, const Value *arguments) {
  const struct steps *steps = what;
  const struct ptx_matrix *shape = steps->shape;
  const struct matrix_emitter emitter = matrix_emitter_of(e, shape), *m = &emitter;
  const unsigned bytes = shape->a == PTX_F64 ? 8 : 4, eights = shape->m / 8u,
                 registers[2] = {shape->c == PTX_F16 ? 1 : 2, shape->d == PTX_F16 ? 1 : 2};
  const unsigned turns = eights * m->count > MAX_PARTS ? eights : 1; /* of the loop; each has `rows` times eight rows */
  const unsigned rows = eights / turns, count = rows * m->count;
  const Label before = LLVMGetInsertBlock(e->builder), loop = new_label(e, ORDER_LOOP), after = new_label(e, "");
  LLVMBuildBr(e->builder, loop);
  LLVMPositionBuilderAtEnd(e->builder, loop);
  Value turn = LLVMBuildPhi(e->builder, e->i64, ""), fragment[2];
  const Type lanes = LLVMIntTypeInContext(e->context, m->width);
  Value had_nans = LLVMBuildPhi(e->builder, lanes, ""), nans = NULL; /* bits of lanes where a sum was one */
  for (unsigned i = 0; i < 2; i++)
    fragment[i] = address_behind(
        e, arguments[i], LLVMBuildMul(e->builder, turn, constant(e->i64, registers[i] * WARP_LANES * bytes), ""));
  for (unsigned from = 0; from < count; from += MAX_PARTS) {
    struct part parts[MAX_PARTS];
    const unsigned now = count - from < MAX_PARTS ? count - from : MAX_PARTS;
    for (unsigned n = 0; n < now; n++) {
      struct part *part = &parts[n];
      part->h = (from + n) / m->count, part->piece = (from + n) % m->count;
      for (unsigned c = 0; c < 2; c++)
        part->sums[c] = read_accumulator(m, shape, fragment[0], 2 * part->h + c, part->piece);
    }
    for (unsigned n = 0; n < steps->count; n++) {
      Value a = address_behind(e, arguments[2 + 2 * n],
                               LLVMBuildMul(e->builder, turn, constant(e->i64, WARP_LANES * bytes), ""));
      multiply_parts(m, shape, a, arguments[3 + 2 * n], parts, now);
    }
    for (unsigned n = 0; n < now; n++) {
      write_accumulators(m, shape, fragment[1], &parts[n]);
      Value either = LLVMBuildFCmp(e->builder, LLVMRealUNO, parts[n].sums[0], parts[n].sums[1], "");
      nans = nans ? LLVMBuildOr(e->builder, nans, either, "") : either;
    }
  }
  nans = LLVMBuildOr(e->builder, had_nans, LLVMBuildBitCast(e->builder, nans, lanes, ""), "");
  Value next = LLVMBuildAdd(e->builder, turn, constant(e->i64, 1), "");
  LLVMAddIncoming(turn, (Value[]){constant(e->i64, 0), next}, (Label[]){before, loop}, 2);
  LLVMAddIncoming(had_nans, (Value[]){LLVMConstNull(lanes), nans}, (Label[]){before, loop}, 2);
  LLVMBuildCondBr(e->builder, LLVMBuildICmp(e->builder, LLVMIntULT, next, constant(e->i64, turns), ""), loop, after);
  LLVMPositionBuilderAtEnd(e->builder, after);
  if (shape->d == PTX_F32) mend_nans(m, shape, arguments[1], nans);
  return NULL;
}

static void call_columns(struct emitter *e, const struct ptx_matrix *shape, Value b, Value memory) {
  char name[40];
  snprintf(name, sizeof name, "columns.%u.%u", shape->k, shape->b);
  call_outlined(e, name, LLVMVoidTypeInContext(e->context), (Value[]){b, memory}, 2, lay_out_columns, shape);
}

static void call_steps(struct emitter *e, const struct steps *steps, const Value *arguments) {
  const struct ptx_matrix *shape = steps->shape;
  char name[60];
  snprintf(name, sizeof name, "mma.%u.%u.%u.%u.%u.%u", shape->m, shape->k, shape->a, shape->c, shape->d, steps->count);
  call_outlined(e, name, LLVMVoidTypeInContext(e->context), arguments, 2 + 2 * steps->count, multiply, steps);
}

static void call_multiply(struct emitter *e, const struct ptx_instruction *mma) {
  const struct ptx_matrix *shape = &mma->matrix;
  const struct ptx_operand *b = mma->src + shape->a_count, *c = b + shape->b_count;
  const uint8_t of_factor = shape->a == PTX_F64 ? PTX_B64 : PTX_B32, of_sum = shape->c == PTX_F64 ? PTX_B64 : PTX_B32;
  const struct steps steps = {.shape = shape, .count = 1};
  Value arguments[4] = {NULL};
  arguments[2] = fragment_factor(e, mma);
  arguments[3] = fragment_scratch(e, 0);
  call_columns(e, shape, fragment_source(e, b, shape->b_count, of_factor, 1), arguments[3]);
  arguments[0] = fragment_source(e, c, shape->c_count, of_sum, 2);
  arguments[1] = fragment_target(e, mma->dst, mma->dst_count);
  call_steps(e, &steps, arguments);
  fragment_written(e, mma, arguments[1]);
}

/* Some mma of one shape, done together: the places (emit_fragments.c) of A, of the factors B and of C and D of the
 * sums; which of these each mma takes. */
struct run {
  unsigned count, b_count, sum_count;
  int64_t a[MATRIX_RUN], b[MATRIX_RUN], c[MATRIX_RUN], d[MATRIX_RUN];
  unsigned b_of[MATRIX_RUN], sum_of[MATRIX_RUN];
};

/* A fault unless all lanes run the instruction. */
static void check_convergence(struct emitter *e, const struct ptx_instruction *instruction) {
  Value here = mask_bits(e, effective_mask(e, instruction));
  check_together(e, instruction, LLVMBuildICmp(e->builder, LLVMIntEQ, here, constant(e->i32, UINT64_MAX), ""));
  if (instruction->guard == PTX_NONE) e->mask = NULL; /* for the rest of the block, which all lanes run */
}

static bool is_among(const int64_t *places, unsigned count, int64_t place) {
  for (unsigned i = 0; i < count; i++)
    if (places[i] == place) return true;
  return false;
}

/* Adds an mma to the run unless the order of reading and writing would matter, or an operand has no place. */
static bool join_run(struct emitter *e, struct run *run, const struct ptx_instruction *mma) {
  int64_t place[4];
  if (!fragment_places(e, mma, place)) return false;
  const unsigned sums = run->sum_count;
  if (is_among(run->d, sums, place[0]) || is_among(run->d, sums, place[1]) || place[3] == place[0] ||
      place[3] == place[1] || is_among(run->a, run->count, place[3]) || is_among(run->b, run->b_count, place[3]))
    return false;
  unsigned sum = 0, b = 0;
  while (sum < sums && run->d[sum] != place[2]) sum++;
  if (sum < sums ? run->d[sum] != place[3] : is_among(run->d, sums, place[3]) || is_among(run->c, sums, place[3]))
    return false;
  if (sum == sums) run->c[sum] = place[2], run->d[sum] = place[3], run->sum_count++;
  while (b < run->b_count && run->b[b] != place[1]) b++;
  if (b == run->b_count) run->b[run->b_count++] = place[1];
  run->a[run->count] = place[0];
  run->b_of[run->count] = b;
  run->sum_of[run->count++] = sum;
  return true;
}

unsigned matrix_run(struct emitter *e, const uint32_t *order, uint32_t left) {
  const struct ptx_instruction *all = e->function->instructions, *first = &all[order[0]];
  struct run run = {.count = 0};
  if (!is_plain_matrix(first) || first->matrix.c != PTX_F32 || first->matrix.d != PTX_F32) return 0;
  while (run.count < MATRIX_RUN && run.count < left && is_same_matrix(first, &all[order[run.count]]) &&
         join_run(e, &run, &all[order[run.count]])) {
  }
  if (run.count < 2) return 0;
  for (unsigned n = 0; n < run.count; n++) check_convergence(e, &all[order[n]]);
  for (unsigned b = 0; b < run.b_count; b++)
    call_columns(e, &first->matrix, fragment_at(e, run.b[b]), fragment_scratch(e, b));
  for (unsigned sum = 0; sum < run.sum_count; sum++) {
    struct steps steps = {.shape = &first->matrix};
    Value arguments[2 + 2 * MATRIX_RUN] = {fragment_at(e, run.c[sum]), fragment_at(e, run.d[sum])};
    for (unsigned n = 0; n < run.count; n++) {
      if (run.sum_of[n] != sum) continue;
      arguments[2 + 2 * steps.count] = fragment_at(e, run.a[n]);
      arguments[3 + 2 * steps.count++] = fragment_scratch(e, run.b_of[n]);
    }
    call_steps(e, &steps, arguments);
  }
  return run.count;
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
  check_convergence(e, instruction);
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
