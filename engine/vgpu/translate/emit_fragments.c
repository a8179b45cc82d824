/* Where the registers of mma stand.
 *
 * The functions that do the work of mma (emit_matrix.c) take A, B, C and D as pointers: each a few registers of 32
 * lanes, one after the other. Registers that are always used together get such places on the kernel's stack and stay
 * there; there are far too many for the processor's registers anyway. Where a sum is read once, by the mma that adds to
 * it, the new sum takes its place; places of what one block alone uses are used again, so that the innermost cache
 * holds them. Operands of any other kind are copied for the call. */
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/translate/emitter.h"

enum { OPERANDS = 4 /* A to D */, OPERAND_REGISTERS = 8, NO_GROUP = 0 };
enum { OPERAND_BYTES = OPERAND_REGISTERS * WARP_LANES * 8 };
/* A factor B's columns (emit_matrix.c): of four registers of f64; two registers of two numbers each take half of it. */
enum { COLUMN_BYTES = 4 * WARP_LANES * 8 };

struct group {
  uint32_t joined;   /* the group whose place it takes, or itself */
  uint32_t block;    /* the only one that uses it; PTX_NONE: several */
  uint32_t from, to; /* positions there, of all that share the place */
  int64_t bytes, place;
};

/* How a register is used in the whole kernel. */
struct usage {
  uint32_t reads, writes, block; /* block: PTX_NONE: several, or not known yet */
  uint32_t first, last;          /* positions of emission */
  bool several, seen;
};

struct planner {
  struct emitter *e;
  struct usage *usage;
  struct group *groups;
  uint32_t group_count;
};

static bool is_matrix(const struct ptx_instruction *instruction) {
  return instruction->op == PTX_MMA && has_function(&instruction->matrix);
}

static void note(struct planner *p, const struct ptx_operand *operand, uint32_t block, uint32_t at, bool written) {
  if (operand->kind != PTX_OPERAND_REGISTER) return;
  struct usage *usage = &p->usage[operand->index];
  usage->several = usage->several || (usage->seen && usage->block != block);
  if (!usage->seen) usage->first = at;
  usage->seen = true;
  usage->block = block;
  usage->last = at;
  if (written)
    usage->writes++;
  else
    usage->reads++;
}

bool is_plain_matrix(const struct ptx_instruction *instruction) {
  return is_matrix(instruction) && instruction->guard == PTX_NONE;
}

bool is_same_matrix(const struct ptx_instruction *one, const struct ptx_instruction *other) {
  if (!is_plain_matrix(one) || !is_plain_matrix(other)) return false;
  const struct ptx_matrix *x = &one->matrix, *y = &other->matrix;
  return x->m == y->m && x->n == y->n && x->k == y->k && x->a == y->a && x->b == y->b && x->c == y->c && x->d == y->d;
}

/* What is done together is at one position: no place serves two of its operands. */
static void note_uses(struct planner *p) {
  const struct ptx_function *function = p->e->function;
  for (uint32_t b = 0; b < function->block_count; b++) {
    const struct ptx_block *block = &function->blocks[b];
    uint32_t position = block->first;
    for (uint32_t at = block->first; at < block->first + block->count; at++) {
      const struct ptx_instruction *instruction = &function->instructions[p->e->order[at]];
      if (at == block->first || !is_same_matrix(&function->instructions[p->e->order[at - 1]], instruction))
        position = at;
      for (unsigned i = 0; i < instruction->src_count; i++) note(p, &instruction->src[i], b, position, false);
      for (unsigned i = 0; i < instruction->dst_count; i++) note(p, &instruction->dst[i], b, position, true);
    }
  }
}

/* Whether the register's value never leaves its block. */
static bool is_local(const struct planner *p, uint32_t r) {
  const struct analysis *a = p->e->analysis;
  return !p->usage[r].several && !bit_test(a->live_in + (size_t)p->usage[r].block * a->register_words, r);
}

/* The group that the operands are, in this order; NO_GROUP if they are none. */
static uint32_t group_of(const struct emitter *e, const struct ptx_operand *operands, unsigned count) {
  uint32_t group = NO_GROUP;
  for (unsigned i = 0; i < count; i++) {
    if (operands[i].kind != PTX_OPERAND_REGISTER || operands[i].negate) return NO_GROUP;
    const struct fragment_place place = e->fragment[operands[i].index];
    if (i == 0) group = place.group;
    if (place.group == NO_GROUP || place.group != group || place.index != i) return NO_GROUP;
  }
  return group;
}

static void make_group(struct planner *p, const struct ptx_operand *operands, unsigned count, uint8_t type) {
  struct emitter *e = p->e;
  for (unsigned i = 0; i < count; i++) {
    if (operands[i].kind != PTX_OPERAND_REGISTER || operands[i].negate) return;
    const uint32_t r = operands[i].index;
    if (e->fragment[r].group != NO_GROUP || e->analysis->shape[r].kind == SHAPE_AFFINE ||
        class_bits(e->function->register_class[r]) != 8 * type_bytes(type))
      return;
    for (unsigned j = 0; j < i; j++)
      if (operands[j].index == r) return;
  }
  const uint32_t number = p->group_count++;
  struct group *group = &p->groups[number];
  *group = (struct group){.joined = number, .bytes = (int64_t)count * WARP_LANES * type_bytes(type)};
  for (unsigned i = 0; i < count; i++) {
    const uint32_t r = operands[i].index;
    e->fragment[r] = (struct fragment_place){.group = number, .index = i};
    const struct usage *usage = &p->usage[r];
    if (!is_local(p, r) || (i > 0 && usage->block != group->block)) group->block = PTX_NONE;
    if (i == 0 && is_local(p, r)) group->block = usage->block, group->from = usage->first, group->to = usage->last;
    if (usage->first < group->from) group->from = usage->first;
    if (usage->last > group->to) group->to = usage->last;
  }
}

/* A sum that only this mma reads and the sum that it makes: one place. */
static void join_sums(struct planner *p, const struct ptx_operand *c, const struct ptx_operand *d, unsigned count) {
  const uint32_t before = group_of(p->e, c, count), after = group_of(p->e, d, count);
  if (before == NO_GROUP || after == NO_GROUP || before == after) return;
  struct group *one = &p->groups[before], *two = &p->groups[after];
  if (one->block == PTX_NONE || one->block != two->block || one->bytes != two->bytes || two->joined != after) return;
  for (unsigned i = 0; i < count; i++)
    if (p->usage[c[i].index].reads != 1 || p->usage[d[i].index].writes != 1) return;
  two->joined = one->joined;
  struct group *root = &p->groups[one->joined];
  if (two->from < root->from) root->from = two->from;
  if (two->to > root->to) root->to = two->to;
}

/* Places for the groups, first come first served; what a block used is free after its last use. */
static int64_t lay_out(struct planner *p) {
  int64_t total = 0;
  struct group *groups = p->groups;
  uint32_t *sorted = malloc((p->group_count + 1) * sizeof *sorted);
  if (!sorted) {
    refuse(p->e, NULL, "there is not enough memory");
    return 0;
  }
  uint32_t count = 0;
  for (uint32_t g = 1; g < p->group_count; g++) {
    if (groups[g].joined != g) continue;
    if (groups[g].block == PTX_NONE) {
      groups[g].place = total;
      total += groups[g].bytes;
      continue;
    }
    uint32_t i = count++;
    for (; i > 0 && groups[sorted[i - 1]].from > groups[g].from; i--) sorted[i] = sorted[i - 1];
    sorted[i] = g;
  }
  /* Lists of the same size: place i is that of its latest user. */
  uint32_t *users = calloc(p->group_count + 1, sizeof *users), user_count = 0;
  for (uint32_t i = 0; users && i < count; i++) {
    struct group *group = &groups[sorted[i]];
    uint32_t u = 0;
    while (u < user_count && (groups[users[u]].bytes != group->bytes || groups[users[u]].to >= group->from)) u++;
    if (u == user_count) {
      user_count++;
      group->place = total;
      total += group->bytes;
    } else {
      group->place = groups[users[u]].place;
    }
    users[u] = sorted[i];
  }
  if (!users) refuse(p->e, NULL, "there is not enough memory");
  free(users);
  free(sorted);
  for (uint32_t g = 1; g < p->group_count; g++) groups[g].place = groups[groups[g].joined].place;
  return total;
}

static Value place_at(struct emitter *e, int64_t offset) {
  Value index = LLVMConstInt(e->i64, (uint64_t)offset, 0);
  return LLVMBuildInBoundsGEP2(e->builder, e->i8, e->fragment_memory, &index, 1, "");
}

void plan_fragments(struct emitter *e) {
  const struct ptx_function *function = e->function;
  uint32_t matrices = 0;
  for (uint32_t i = 0; i < function->instruction_count; i++) matrices += is_matrix(&function->instructions[i]);
  if (!matrices) return;
  struct planner planner = {.e = e, .group_count = 1}, *p = &planner;
  p->usage = calloc(function->register_count + 1, sizeof *p->usage);
  p->groups = calloc((size_t)matrices * OPERANDS + 1, sizeof *p->groups);
  if (!p->usage || !p->groups) {
    refuse(e, NULL, "there is not enough memory");
    goto done;
  }
  note_uses(p);
  for (uint32_t i = 0; i < function->instruction_count; i++) {
    const struct ptx_instruction *mma = &function->instructions[i];
    if (!is_matrix(mma)) continue;
    const struct ptx_matrix *shape = &mma->matrix;
    const struct ptx_operand *a = mma->src, *b = a + shape->a_count, *c = b + shape->b_count;
    const uint8_t factor = shape->a == PTX_F64 ? PTX_B64 : PTX_B32, sum = shape->c == PTX_F64 ? PTX_B64 : PTX_B32;
    make_group(p, a, shape->a_count, factor);
    make_group(p, b, shape->b_count, factor);
    make_group(p, c, shape->c_count, sum);
    make_group(p, mma->dst, mma->dst_count, sum);
    if (shape->c_count == mma->dst_count) join_sums(p, c, mma->dst, mma->dst_count);
  }
  const int64_t bytes = lay_out(p);
  if (e->failed) goto done;
  e->fragment_spare = bytes;
  const int64_t all = bytes + OPERANDS * OPERAND_BYTES + MATRIX_RUN * COLUMN_BYTES;
  Value memory = LLVMBuildAlloca(e->builder, LLVMArrayType(shaped(e->i32, true), (unsigned)(all / 128)), "");
  LLVMSetAlignment(memory, 128);
  e->fragment_memory = LLVMBuildBitCast(e->builder, memory, e->bytes, "");
  for (uint32_t r = 0; r < function->register_count; r++) {
    struct fragment_place *place = &e->fragment[r];
    if (place->group == NO_GROUP) continue;
    const int64_t each = (int64_t)WARP_LANES * class_bits(function->register_class[r]) / 8;
    place->place = p->groups[place->group].place;
    Value address = place_at(e, place->place + each * place->index);
    e->slot[r] = LLVMBuildBitCast(e->builder, address, LLVMPointerType(register_type(e, r), 0), "");
  }
done:
  free(p->usage);
  free(p->groups);
}

/* The registers' own place, or that for copies of operand `number`. */
static Value operand_place(struct emitter *e, const struct ptx_operand *operands, unsigned count, unsigned number,
                           bool *own) {
  *own = group_of(e, operands, count) != NO_GROUP;
  if (*own) return LLVMBuildBitCast(e->builder, e->slot[operands[0].index], e->bytes, "");
  return place_at(e, e->fragment_spare + (int64_t)number * OPERAND_BYTES);
}

static Value copied_register(struct emitter *e, Value place, unsigned index, Type type) {
  const unsigned bytes = LLVMGetIntTypeWidth(LLVMGetElementType(type)) / 8 * WARP_LANES;
  Value offset = LLVMConstInt(e->i64, (uint64_t)index * bytes, 0);
  Value address = LLVMBuildInBoundsGEP2(e->builder, e->i8, place, &offset, 1, "");
  return LLVMBuildBitCast(e->builder, address, LLVMPointerType(type, 0), "");
}

static void copy_registers(struct emitter *e, const struct ptx_operand *operands, unsigned count, uint8_t type,
                           Value place) {
  for (unsigned i = 0; i < count; i++) {
    Value lanes = as_bits(e, read_operand(e, &operands[i], type, true));
    LLVMBuildStore(e->builder, lanes, copied_register(e, place, i, LLVMTypeOf(lanes)));
  }
}

Value fragment_source(struct emitter *e, const struct ptx_operand *operands, unsigned count, uint8_t type,
                      unsigned number) {
  bool own;
  Value place = operand_place(e, operands, count, number, &own);
  if (!own) copy_registers(e, operands, count, type, place);
  return place;
}

Value fragment_factor(struct emitter *e, const struct ptx_instruction *mma) {
  const struct ptx_matrix *shape = &mma->matrix;
  const uint8_t type = shape->a == PTX_F64 ? PTX_B64 : PTX_B32;
  const uint32_t a = group_of(e, mma->src, shape->a_count), d = group_of(e, mma->dst, mma->dst_count);
  if (a == NO_GROUP || d == NO_GROUP || e->fragment[mma->src[0].index].place != e->fragment[mma->dst[0].index].place)
    return fragment_source(e, mma->src, shape->a_count, type, 0);
  copy_registers(e, mma->src, shape->a_count, type, place_at(e, e->fragment_spare));
  return place_at(e, e->fragment_spare);
}

bool fragment_places(const struct emitter *e, const struct ptx_instruction *mma, int64_t places[4]) {
  const struct ptx_matrix *shape = &mma->matrix;
  const struct ptx_operand *b = mma->src + shape->a_count;
  const struct ptx_operand *operands[OPERANDS] = {mma->src, b, b + shape->b_count, mma->dst};
  const unsigned counts[OPERANDS] = {shape->a_count, shape->b_count, shape->c_count, mma->dst_count};
  for (unsigned i = 0; i < OPERANDS; i++) {
    if (group_of(e, operands[i], counts[i]) == NO_GROUP) return false;
    places[i] = e->fragment[operands[i][0].index].place;
  }
  return true;
}

Value fragment_at(struct emitter *e, int64_t place) { return place_at(e, place); }
Value fragment_scratch(struct emitter *e, unsigned number) {
  return place_at(e, e->fragment_spare + OPERANDS * OPERAND_BYTES + (int64_t)number * COLUMN_BYTES);
}

Value fragment_target(struct emitter *e, const struct ptx_operand *operands, unsigned count) {
  bool own;
  return operand_place(e, operands, count, OPERANDS - 1, &own);
}

void fragment_written(struct emitter *e, const struct ptx_instruction *mma, Value target) {
  static const struct shape uniform = {.kind = SHAPE_AFFINE};
  if (group_of(e, mma->dst, mma->dst_count) != NO_GROUP) return;
  const Type type = shaped(mma->matrix.d == PTX_F64 ? e->i64 : e->i32, true);
  for (unsigned i = 0; i < mma->dst_count; i++) {
    Value lanes = LLVMBuildLoad2(e->builder, type, copied_register(e, target, i, type), "");
    write_register(e, mma, &mma->dst[i], lanes, uniform, false);
  }
}
