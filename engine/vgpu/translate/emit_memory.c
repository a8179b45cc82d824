/* Loads and stores: bounds checks, and the cheapest machine access for the address's shape.
 *
 * Uniform address: one scalar access. Neighbouring lanes at neighbouring addresses: a vector access. Another constant
 * pattern: scalar accesses at constant distances. Varying: a gather or scatter, unless the address turns out at run
 * time to have the pattern that analysis hints at. Every access is checked before it is made: [lowest, highest + bytes)
 * of the warp against the window of the pointer's root; only if that fails, lane by lane in a helper. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/translate/emitter.h"

/* Offsets beyond this could wrap a 32-bit shared address round into the window. */
enum { MAX_OFFSET = 1 << 30 };

struct address {
  struct shape shape; /* of the base */
  uint32_t root;
  uint8_t space;
  Value base;       /* i64, one or all lanes: global address; offset in shared or local memory */
  uint32_t pattern; /* AFFINE, or the hint */
};

/* ---- checks ---- */

static bool is_access(const struct ptx_instruction *instruction) {
  return instruction->op == PTX_LD || instruction->op == PTX_ST;
}

static int64_t access_bytes(const struct ptx_instruction *instruction) {
  return (int64_t)type_bytes(instruction->type) * (instruction->vector ? instruction->vector : 1);
}

bool is_movable(const struct ptx_instruction *instruction) {
  if (instruction->guard != PTX_NONE || instruction->dst_count != 1 || instruction->type == PTX_F32 ||
      instruction->type == PTX_F64)
    return false;
  switch (instruction->op) {
    case PTX_MOV:
      return instruction->src_count == 1 && instruction->src[0].kind != PTX_OPERAND_SPECIAL;
    case PTX_CVT:
      return instruction->source_type != PTX_F32 && instruction->source_type != PTX_F64;
    case PTX_ADD:
    case PTX_SUB:
      return !(instruction->flags & (PTX_CARRY_IN | PTX_CARRY_OUT));
    case PTX_MUL:
    case PTX_MAD:
    case PTX_MUL_WIDE:
    case PTX_MAD_WIDE:
    case PTX_SHL:
    case PTX_SHR:
    case PTX_AND:
    case PTX_OR:
    case PTX_XOR:
    case PTX_CVTA:
    case PTX_CVTA_TO:
    case PTX_BFE:
    case PTX_BFI:
      return true;
    default:
      return false;
  }
}

static bool operand_in(const uint64_t *set, const struct ptx_operand *operands, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    if (operands[i].kind == PTX_OPERAND_REGISTER && bit_test(set, operands[i].index)) return true;
  }
  return false;
}

static void add_operands(uint64_t *set, const struct ptx_operand *operands, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    if (operands[i].kind == PTX_OPERAND_REGISTER) bit_set(set, operands[i].index);
  }
}

/* Whether a load is one of a parameter that is there: nothing is to be checked. */
static bool loads_parameter(const struct emitter *e, const struct ptx_instruction *instruction) {
  if (instruction->op != PTX_LD || instruction->space != PTX_PARAM) return false;
  const struct shape shape = operand_shape(e->analysis, &instruction->src[0]);
  if (shape.kind != SHAPE_AFFINE || !shape.constant) return false;
  const int64_t at = (int64_t)shape.value + instruction->offset, bytes = access_bytes(instruction);
  return at >= 0 && at % bytes == 0 && at + bytes <= (int64_t)e->function->parameter_bytes;
}

/* What addresses are made of: the same wherever it stands, as a clock would not be. */
static bool makes_addresses(const struct emitter *e, const struct ptx_instruction *instruction) {
  if (is_movable(instruction)) return true;
  if (instruction->guard != PTX_NONE) return false;
  return loads_parameter(e, instruction) || instruction->op == PTX_PRMT;
}

/* Moves the arithmetic of addresses before the block's first access or other work, so that all checks can be made there
 * at once: one branch for the block, and LLVM sees the accesses together. */
static void order_block(struct emitter *e, uint32_t number, uint64_t *defined, uint64_t *used, uint32_t *late) {
  const struct ptx_function *function = e->function;
  const struct ptx_block *block = &function->blocks[number];
  const size_t bytes = e->analysis->register_words * sizeof *defined;
  uint32_t at = block->first, late_count = 0;
  memset(defined, 0, bytes);
  memset(used, 0, bytes);
  for (uint32_t i = block->first; i < block->first + block->count; i++) {
    const struct ptx_instruction *instruction = &function->instructions[i];
    const bool work = is_access(instruction) ? instruction->space != PTX_PARAM
                                             : instruction->type == PTX_F32 && instruction->guard == PTX_NONE &&
                                                   instruction->op != PTX_MOV;
    const bool early = late_count
                           ? makes_addresses(e, instruction) &&
                                 !operand_in(defined, instruction->src, instruction->src_count) &&
                                 !operand_in(defined, instruction->dst, 1) && !operand_in(used, instruction->dst, 1)
                           : !work;
    if (early) {
      e->order[at++] = i;
      continue;
    }
    late[late_count++] = i;
    add_operands(defined, instruction->dst, instruction->dst_count);
    add_operands(used, instruction->src, instruction->src_count);
    if (instruction->guard != PTX_NONE) bit_set(used, instruction->guard);
  }
  e->batch_at[number] = late_count ? late[0] : PTX_NONE;
  memcpy(e->order + at, late, late_count * sizeof *late);
}

/* A register whose value is another's plus a constant, within a basic block. */
struct alias {
  uint32_t base; /* PTX_NONE: none */
  int64_t offset;
};

static void set_alias(const struct ptx_function *function, const struct ptx_instruction *instruction,
                      struct alias *aliases) {
  for (unsigned d = 0; d < instruction->dst_count; d++) {
    if (instruction->dst[d].kind != PTX_OPERAND_REGISTER) continue;
    const uint32_t r = instruction->dst[d].index;
    struct alias alias = {.base = PTX_NONE};
    if (instruction->op == PTX_ADD && instruction->guard == PTX_NONE && type_bytes(instruction->type) == 8 &&
        instruction->type != PTX_F64 && instruction->flags == 0 && instruction->src[0].kind == PTX_OPERAND_REGISTER &&
        instruction->src[1].kind == PTX_OPERAND_IMMEDIATE) {
      alias = aliases[instruction->src[0].index];
      if (alias.base == PTX_NONE) alias = (struct alias){.base = instruction->src[0].index};
      alias.offset += (int64_t)instruction->src[1].value;
      if (alias.base == r || alias.offset <= -MAX_OFFSET || alias.offset >= MAX_OFFSET) alias.base = PTX_NONE;
    }
    for (uint32_t other = 0; other < function->register_count; other++) {
      if (aliases[other].base == r) aliases[other].base = PTX_NONE;
    }
    aliases[r] = alias;
  }
}

/* Accesses through the same value of a register (plus constants): one group. Groups whose register is known at the
 * block's first access are checked there. */
static void group_block(struct emitter *e, uint32_t number, uint64_t *defined, struct alias *aliases) {
  const struct ptx_function *function = e->function;
  const struct ptx_block *block = &function->blocks[number];
  memset(defined, 0, e->analysis->register_words * sizeof *defined);
  for (uint32_t r = 0; r < function->register_count; r++) aliases[r].base = PTX_NONE;
  const uint32_t first_group = e->group_count;
  bool late = false, any = false;
  for (uint32_t k = block->first; k < block->first + block->count; k++)
    any = any || is_access(&function->instructions[k]);
  for (uint32_t k = block->first; any && k < block->first + block->count; k++) {
    const uint32_t i = e->order[k];
    const struct ptx_instruction *instruction = &function->instructions[i];
    late = late || i == e->batch_at[number];
    if (is_access(instruction) && instruction->guard == PTX_NONE && instruction->src[0].kind == PTX_OPERAND_REGISTER &&
        instruction->space != PTX_PARAM) {
      struct alias alias = aliases[instruction->src[0].index];
      if (alias.base == PTX_NONE) alias = (struct alias){.base = instruction->src[0].index};
      uint32_t g = first_group;
      while (g < e->group_count && (e->groups[g].closed || e->groups[g].base_register != alias.base ||
                                    e->groups[g].space != instruction->space))
        g++;
      const int64_t low = alias.offset + instruction->offset, high = low + access_bytes(instruction);
      if (g == e->group_count) {
        const bool early = !bit_test(defined, alias.base) && e->analysis->shape[alias.base].kind == SHAPE_AFFINE;
        e->groups[e->group_count++] = (struct check_group){.first = i,
                                                           .block = number,
                                                           .base_register = alias.base,
                                                           .space = instruction->space,
                                                           .low = low,
                                                           .high = high,
                                                           .early = early};
      }
      struct check_group *group = &e->groups[g];
      if (low < group->low) group->low = low;
      if (high > group->high) group->high = high;
      group->count++;
      e->group_of[i] = g;
      e->offset_in_group[i] = low;
    }
    if (late) add_operands(defined, instruction->dst, instruction->dst_count);
    set_alias(function, instruction, aliases);
    for (unsigned d = 0; d < instruction->dst_count; d++) {
      if (instruction->dst[d].kind != PTX_OPERAND_REGISTER) continue;
      for (uint32_t g = first_group; g < e->group_count; g++) { /* another value from here on */
        if (e->groups[g].base_register == instruction->dst[d].index) e->groups[g].closed = true;
      }
    }
  }
}

void plan_checks(struct emitter *e) {
  const struct ptx_function *function = e->function;
  const size_t words = e->analysis->register_words;
  uint64_t *defined = calloc(words, sizeof *defined), *used = calloc(words, sizeof *used);
  uint32_t *late = malloc((function->instruction_count + 1) * sizeof *late);
  struct alias *aliases = calloc(function->register_count + 1, sizeof *aliases);
  if (!defined || !used || !late || !aliases) {
    refuse(e, NULL, "there is not enough memory");
  } else {
    for (uint32_t i = 0; i < function->instruction_count; i++) e->group_of[i] = PTX_NONE;
    for (uint32_t b = 0; b < function->block_count; b++) {
      order_block(e, b, defined, used, late);
      group_block(e, b, defined, aliases);
    }
  }
  free(defined), free(used), free(late), free(aliases);
}

/* The table of one check for the helpers: see SITE_ in runtime.h. */
static Value make_site(struct emitter *e, const struct ptx_instruction *instruction, int64_t root, int64_t span,
                       uint32_t pattern, bool patterned) {
  const uint32_t number = (uint32_t)(instruction - e->function->instructions), group = e->group_of[number];
  const uint32_t count = group == PTX_NONE ? 1 : e->groups[group].count;
  const unsigned fields = SITE_ACCESSES + 3 * count + (patterned ? WARP_LANES : 0);
  int64_t *numbers = calloc(fields, sizeof *numbers);
  Value *values = calloc(fields, sizeof *values);
  if (!numbers || !values) {
    refuse(e, instruction, "there is not enough memory");
    free(numbers), free(values);
    return LLVMConstPointerNull(LLVMPointerType(e->i64, 0));
  }
  numbers[SITE_ROOT] = root;
  numbers[SITE_SPACE] = instruction->space;
  numbers[SITE_COUNT] = count;
  numbers[SITE_PATTERNED] = patterned;
  numbers[SITE_SPAN] = span;
  unsigned at = SITE_ACCESSES;
  for (uint32_t i = number; i < e->function->instruction_count && at < SITE_ACCESSES + 3 * count; i++) {
    if (i != number && (group == PTX_NONE || e->group_of[i] != group)) continue;
    numbers[at++] = group == PTX_NONE ? e->function->instructions[i].offset : e->offset_in_group[i];
    numbers[at++] = access_bytes(&e->function->instructions[i]);
    numbers[at++] = i;
  }
  if (patterned) memcpy(numbers + at, e->analysis->patterns[pattern], WARP_LANES * sizeof *numbers);
  for (unsigned i = 0; i < fields; i++) values[i] = LLVMConstInt(e->i64, (uint64_t)numbers[i], 1);
  Value table = LLVMConstArray(e->i64, values, fields);
  Value global = LLVMAddGlobal(e->module, LLVMTypeOf(table), "site");
  LLVMSetInitializer(global, table);
  LLVMSetGlobalConstant(global, 1);
  LLVMSetLinkage(global, LLVMPrivateLinkage);
  free(numbers), free(values);
  return LLVMConstBitCast(global, LLVMPointerType(e->i64, 0));
}

static Value window_field(struct emitter *e, uint32_t root, size_t field) {
  return warp_field(e, e->i64, offsetof(struct warp, windows) + root * sizeof(struct window) + field, false);
}

/* The quick test of an access, or of the group whose first access it is: i1, or NULL if nothing can go wrong. */
static Value quick_check(struct emitter *e, const struct ptx_instruction *instruction, const struct address *address,
                         int64_t *span_out) {
  const uint32_t number = (uint32_t)(instruction - e->function->instructions), group = e->group_of[number];
  LLVMBuilderRef b = e->builder;
  const int64_t low = group == PTX_NONE ? instruction->offset : e->groups[group].low;
  const int64_t high = group == PTX_NONE ? instruction->offset + access_bytes(instruction) : e->groups[group].high;
  if (low <= -MAX_OFFSET || high >= MAX_OFFSET) {
    refuse(e, instruction, "its offset is very large");
    return NULL;
  }
  const bool wide = address->shape.kind != SHAPE_AFFINE;
  const int64_t span = high - low + (wide ? 0 : pattern_maximum(e->analysis, address->pattern));
  const uint32_t root = address->root;
  const Type type = shaped(e->i64, wide);
  *span_out = span;
  Value moved = low ? LLVMBuildAdd(b, address->base, constant(type, (uint64_t)low), "") : address->base;
  /* The widest access's alignment implies that of the others, if they are aligned to each other; where they are not,
   * the helper finds out. `residue`: what to add to `moved` to get a multiple of the alignment. */
  int64_t alignment = 1, residue = 0;
  for (uint32_t i = number; i < e->function->instruction_count; i++) {
    if (i != number && (group == PTX_NONE || e->group_of[i] != group)) continue;
    const struct ptx_instruction *other = &e->function->instructions[i];
    if (access_bytes(other) > alignment)
      alignment = access_bytes(other),
      residue = ((group == PTX_NONE ? other->offset : e->offset_in_group[i]) - low) & (alignment - 1);
    if (group == PTX_NONE || i >= e->function->blocks[e->block].first + e->function->blocks[e->block].count) break;
  }
  for (unsigned i = 0; !wide && i < WARP_LANES; i++) { /* lanes that are not aligned to each other: the helper's */
    if (e->analysis->patterns[address->pattern][i] % alignment != 0) return LLVMConstInt(e->i1, 0, 0);
  }
  if (!wide && address->shape.align < 64 &&
      (int64_t)1 << (address->shape.align > 8 ? 8 : address->shape.align) >= alignment &&
      (low + residue) % alignment == 0) {
    alignment = 1; /* known to be aligned */
  }
  if (address->shape.kind == SHAPE_AFFINE && address->shape.constant &&
      (address->shape.value + (uint64_t)(low + residue)) % (uint64_t)alignment == 0) {
    alignment = 1;
  }
  uint64_t log = (uint64_t)__builtin_ctzll((uint64_t)alignment);
  Value distance = moved, limit; /* good if distance < limit, and aligned */
  switch (instruction->space) {
    case PTX_SHARED:
      if (address->shape.kind == SHAPE_AFFINE && address->shape.constant && alignment == 1 &&
          (int64_t)address->shape.value + low + span <= (int64_t)e->function->shared_bytes &&
          (int64_t)address->shape.value + low >= 0) {
        return NULL; /* inside static shared memory */
      }
      limit = LLVMBuildSub(b, e->shared_bytes, constant(e->i64, (uint64_t)(span - 1)), "");
      limit = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntSGT, limit, constant(e->i64, 0), ""), limit,
                              constant(e->i64, 0), "");
      break;
    case PTX_LOCAL:
    case PTX_PARAM: {
      const uint64_t bytes = instruction->space == PTX_LOCAL ? e->function->local_bytes : e->function->parameter_bytes;
      const int64_t room = (int64_t)bytes - span + 1;
      limit = constant(e->i64, room < 0 ? 0 : (uint64_t)room);
      break;
    }
    default: {
      if (span > e->root_span[root]) e->root_span[root] = span;
      Value start = window_field(e, root, offsetof(struct window, low));
      limit = LLVMBuildSub(b, window_field(e, root, offsetof(struct window, length)),
                           constant(e->i64, (uint64_t)(span - 1)), "");
      distance = LLVMBuildSub(b, moved, wide ? splat(e, start) : start, "");
      break;
    }
  }
  Value aligned = NULL;
  if (log && residue) {
    Value at = LLVMBuildAnd(b, LLVMBuildAdd(b, distance, constant(type, (uint64_t)residue), ""),
                            constant(type, (uint64_t)alignment - 1), "");
    aligned = LLVMBuildICmp(b, LLVMIntEQ, at, constant(type, 0), "");
  } else if (log) {
    /* Rotated, a misaligned distance is huge: one comparison finds both. */
    distance = call_intrinsic(e, "llvm.fshr", type, 3, (Value[]){distance, distance, constant(type, log)});
    limit = LLVMBuildLShr(b, LLVMBuildAdd(b, limit, constant(e->i64, (uint64_t)alignment - 1), ""),
                          constant(e->i64, log), "");
  }
  Value good = LLVMBuildICmp(b, LLVMIntULT, distance, wide ? splat(e, limit) : limit, "");
  if (aligned) good = LLVMBuildAnd(b, good, aligned, "");
  if (wide) {
    Value active = effective_mask(e, instruction);
    if (active) good = LLVMBuildOr(b, good, LLVMBuildNot(b, active, ""), "");
    good = LLVMBuildICmp(b, LLVMIntEQ, mask_bits(e, good), constant(e->i32, UINT64_MAX), "");
  }
  return good;
}

static void slow_check(struct emitter *e, const struct ptx_instruction *instruction, const struct address *address,
                       int64_t span) {
  LLVMBuilderRef b = e->builder;
  const bool wide = address->shape.kind != SHAPE_AFFINE;
  const uint32_t root = address->root;
  Value site = make_site(e, instruction, root, span, address->pattern, !wide);
  LLVMBuildStore(b, site, warp_address(e, LLVMTypeOf(site), offsetof(struct warp, request_site)));
  if (wide)
    LLVMBuildStore(b, address->base, warp_address(e, LLVMTypeOf(address->base), offsetof(struct warp, argument)));
  else
    LLVMBuildStore(b, address->base, warp_address(e, e->i64, offsetof(struct warp, request_base)));
  call_helper(e, wide ? REQUEST_CHECK_LANES : REQUEST_CHECK, effective_mask(e, instruction));
}

static struct address group_address(struct emitter *e, uint32_t group);

/* An access checked where it stands. */
static void check(struct emitter *e, const struct ptx_instruction *instruction, const struct address *address) {
  if (e->unchecked) return;
  const uint32_t number = (uint32_t)(instruction - e->function->instructions), group = e->group_of[number];
  if (group != PTX_NONE && (e->groups[group].first != number || e->groups[group].early)) return;
  struct address of_group;
  if (group != PTX_NONE) {
    of_group = group_address(e, group);
    address = &of_group;
  }
  int64_t span;
  Value good = quick_check(e, instruction, address, &span);
  if (!good) return;
  Label slow = new_label(e, "check"), go_on = new_label(e, "");
  new_branch(e, LLVMBuildNot(e->builder, good, ""), slow, go_on, true);
  LLVMPositionBuilderAtEnd(e->builder, slow);
  slow_check(e, instruction, address, span);
  LLVMBuildBr(e->builder, go_on);
  LLVMPositionBuilderAtEnd(e->builder, go_on);
}

void emit_early_checks(struct emitter *e) {
  if (e->unchecked) return;
  struct {
    struct address address;
    uint32_t first;
    int64_t span;
  } *checks = malloc((e->group_count + 1) * sizeof *checks);
  if (!checks) {
    refuse(e, NULL, "there is not enough memory");
    return;
  }
  uint32_t count = 0;
  Value good = NULL;
  for (uint32_t g = 0; g < e->group_count; g++) {
    if (e->groups[g].block != e->block || !e->groups[g].early) continue;
    const struct ptx_instruction *instruction = &e->function->instructions[e->groups[g].first];
    checks[count].address = group_address(e, g);
    checks[count].first = e->groups[g].first;
    Value one = quick_check(e, instruction, &checks[count].address, &checks[count].span);
    if (!one) continue;
    good = good ? LLVMBuildAnd(e->builder, good, one, "") : one;
    count++;
  }
  if (good) {
    Label slow = new_label(e, "check"), go_on = new_label(e, "");
    new_branch(e, LLVMBuildNot(e->builder, good, ""), slow, go_on, true);
    LLVMPositionBuilderAtEnd(e->builder, slow);
    for (uint32_t i = 0; i < count; i++)
      slow_check(e, &e->function->instructions[checks[i].first], &checks[i].address, checks[i].span);
    LLVMBuildBr(e->builder, go_on);
    LLVMPositionBuilderAtEnd(e->builder, go_on);
  }
  free(checks);
}

/* ---- addresses ---- */

static struct address find_address(struct emitter *e, uint8_t space, const struct ptx_operand *base) {
  struct address address = {.space = space, .shape = operand_shape(e->analysis, base)};
  const bool wide = address.shape.kind != SHAPE_AFFINE, in_register = base->kind == PTX_OPERAND_REGISTER;
  address.pattern = address.shape.kind == SHAPE_AFFINE || address.shape.hinted ? address.shape.pattern : 0;
  address.root = in_register ? e->analysis->root[base->index] : 0;
  const bool narrow = in_register && e->function->register_class[base->index] == PTX_CLASS_32;
  address.base = read_operand(e, base, narrow ? PTX_U32 : PTX_U64, wide);
  if (narrow) { /* with its sign, so that a sum with the constant offset wraps around at 32 bits */
    address.base = LLVMBuildSExt(e->builder, address.base, shaped(e->i64, wide), "");
    address.shape.value = (uint64_t)(int64_t)(int32_t)address.shape.value;
  }
  return address;
}

/* The address that a group's accesses are relative to. */
static struct address group_address(struct emitter *e, uint32_t group) {
  const struct ptx_operand base = {.kind = PTX_OPERAND_REGISTER, .index = e->groups[group].base_register};
  return find_address(e, e->groups[group].space, &base);
}

void emit_check(struct emitter *e, const struct ptx_instruction *access) {
  const struct address address = find_address(e, access->space, &access->src[0]);
  check(e, access, &address);
}

/* i8*: the address of the base, to which lanes and accesses add their offsets. Scalar base only. */
static Value base_pointer(struct emitter *e, const struct address *address, Value base) {
  switch (address->space) {
    case PTX_SHARED:
      return LLVMBuildGEP2(e->builder, e->i8, e->shared, &base, 1, "");
    case PTX_LOCAL:
      return LLVMBuildGEP2(e->builder, e->i8, e->local, &base, 1, "");
    case PTX_PARAM:
      return LLVMBuildGEP2(e->builder, e->i8, e->params, &base, 1, "");
    default:
      return LLVMBuildIntToPtr(e->builder, base, e->bytes, "");
  }
}

static Value pointer_at(struct emitter *e, Value pointer, int64_t offset, Type pointee) {
  Value index = LLVMConstInt(e->i64, (uint64_t)offset, 1);
  if (offset) pointer = LLVMBuildGEP2(e->builder, e->i8, pointer, &index, 1, "");
  return LLVMBuildBitCast(e->builder, pointer, LLVMPointerType(pointee, 0), "");
}

/* <32 x T*>: pointers of all lanes; lanes outside the mask point at the warp's spare memory if `safe`. */
static Value lane_pointers(struct emitter *e, const struct address *address, int64_t offset, Type element, Value mask,
                           bool safe) {
  LLVMBuilderRef b = e->builder;
  const Type vector = shaped(e->i64, true);
  Value offsets, pointers;
  if (address->shape.kind == SHAPE_AFFINE) {
    int64_t lanes[WARP_LANES];
    for (int i = 0; i < WARP_LANES; i++) {
      lanes[i] = e->analysis->patterns[address->pattern][i] +
                 (address->space == PTX_LOCAL ? i * local_stride(e->function) : 0);
    }
    offsets = lane_constants(e, e->i64, lanes, offset);
    Value pointer = base_pointer(e, address, address->base);
    pointers = LLVMBuildGEP2(b, e->i8, pointer, &offsets, 1, "");
  } else {
    offsets = address->base;
    if (address->space == PTX_LOCAL) {
      int64_t lanes[WARP_LANES];
      for (int i = 0; i < WARP_LANES; i++) lanes[i] = i * local_stride(e->function);
      offsets = LLVMBuildAdd(b, offsets, lane_constants(e, e->i64, lanes, offset), "");
    } else if (offset) {
      offsets = LLVMBuildAdd(b, offsets, constant(vector, (uint64_t)offset), "");
    }
    if (address->space == PTX_SHARED || address->space == PTX_LOCAL) {
      /* 32-bit indices: one gather instruction reaches sixteen lanes. */
      offsets = LLVMBuildTrunc(b, offsets, shaped(e->i32, true), "");
      pointers = LLVMBuildGEP2(b, e->i8, address->space == PTX_SHARED ? e->shared : e->local, &offsets, 1, "");
    } else if (address->space == PTX_PARAM) {
      pointers = LLVMBuildGEP2(b, e->i8, e->params, &offsets, 1, "");
    } else {
      pointers = LLVMBuildIntToPtr(b, offsets, LLVMVectorType(e->bytes, WARP_LANES), "");
    }
  }
  if (safe && mask) {
    Value spare = warp_address(e, e->i8, offsetof(struct warp, spare));
    Value all = LLVMBuildInsertElement(b, LLVMGetUndef(LLVMVectorType(e->bytes, WARP_LANES)), spare,
                                       LLVMConstInt(e->i32, 0, 0), "");
    all = LLVMBuildShuffleVector(b, all, LLVMGetUndef(LLVMTypeOf(all)),
                                 LLVMConstNull(LLVMVectorType(e->i32, WARP_LANES)), "");
    pointers = LLVMBuildSelect(b, mask, pointers, all, "");
  }
  return LLVMBuildBitCast(b, pointers, LLVMVectorType(LLVMPointerType(element, 0), WARP_LANES), "");
}

static void mark(struct emitter *e, Value access, uint8_t space) {
  if (space == PTX_SHARED)
    mark_scope(e, access, SCOPE_SHARED);
  else if (space == PTX_LOCAL)
    mark_scope(e, access, SCOPE_LOCAL);
  else if (space == PTX_GLOBAL || space == PTX_CONST)
    mark_scope(e, access, SCOPE_GLOBAL);
}

/* Bytes from the base to a lane's address, without the access's own offset. */
static int64_t lane_offset(const struct emitter *e, const struct address *address, unsigned lane) {
  return e->analysis->patterns[address->pattern][lane] +
         (address->space == PTX_LOCAL ? lane * local_stride(e->function) : 0);
}

/* Of the lanes being emitted. */
static bool is_contiguous(struct emitter *e, const struct address *address, int64_t bytes) {
  const int64_t first = lane_offset(e, address, e->first_lane);
  if (vector_lanes == WARP_LANES && first != 0) return false;
  for (unsigned i = 0; i < vector_lanes; i++)
    if (lane_offset(e, address, e->first_lane + i) - first != i * bytes) return false;
  return true;
}

static Value call_masked(struct emitter *e, const char *name, Type types[2], unsigned type_count, unsigned count,
                         Value *arguments) {
  const unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  Value function = LLVMGetIntrinsicDeclaration(e->module, id, types, type_count);
  return LLVMBuildCall2(e->builder, LLVMIntrinsicGetType(e->context, id, types, type_count), function, arguments, count,
                        "");
}

/* Each lane's bit `count` times over. */
static Value repeat_mask(struct emitter *e, Value mask, unsigned count) {
  if (count == 1) return mask;
  Value indices[256];
  for (unsigned i = 0; i < WARP_LANES * count; i++) indices[i] = LLVMConstInt(e->i32, i / count, 0);
  return LLVMBuildShuffleVector(e->builder, mask, LLVMGetUndef(LLVMTypeOf(mask)),
                                LLVMConstVector(indices, WARP_LANES * count), "");
}

static Value take_every(struct emitter *e, Value vector, unsigned first, unsigned step) {
  Value indices[WARP_LANES];
  for (unsigned i = 0; i < vector_lanes; i++) indices[i] = LLVMConstInt(e->i32, first + i * step, 0);
  return LLVMBuildShuffleVector(e->builder, vector, LLVMGetUndef(LLVMTypeOf(vector)),
                                LLVMConstVector(indices, vector_lanes), "");
}

static bool is_strong(const struct ptx_instruction *instruction) { return instruction->order != PTX_WEAK; }

/* ---- loads ---- */

/* Two ways to do something, chosen at run time; the results meet. */
struct alternatives {
  Label first, second, after;
  Label first_end, second_end;
};

static struct alternatives begin_alternatives(struct emitter *e, Value condition) {
  struct alternatives a = {.first = new_label(e, ""), .second = new_label(e, ""), .after = new_label(e, "")};
  LLVMBuildCondBr(e->builder, condition, a.first, a.second);
  LLVMPositionBuilderAtEnd(e->builder, a.first);
  return a;
}

static void next_alternative(struct emitter *e, struct alternatives *a) {
  a->first_end = LLVMGetInsertBlock(e->builder);
  LLVMBuildBr(e->builder, a->after);
  LLVMPositionBuilderAtEnd(e->builder, a->second);
}

static void end_alternatives(struct emitter *e, struct alternatives *a) {
  a->second_end = LLVMGetInsertBlock(e->builder);
  LLVMBuildBr(e->builder, a->after);
  LLVMPositionBuilderAtEnd(e->builder, a->after);
}

/* Vectors of two or four numbers of 32 bits for each lane, neighbour by neighbour, as functions: without AVX-512 each
 * is a hundred instructions, and large kernels have hundreds. The registers stand one after the other in the warp's
 * memory. */
struct lane_vectors {
  unsigned count;
};

static Value lane_register(struct emitter *e, Value registers, unsigned number, unsigned first, Type type) {
  return pointer_at(e, registers, (int64_t)(number * WARP_LANES + first) * 4, type);
}

/* Four numbers of four rows, and of the four numbers behind them: out[i] has number i of each row, then 4 + i. */
static void transpose_quads(struct emitter *e, const Value rows[4], Value out[4]) {
  static const unsigned low[8] = {0, 8, 1, 9, 4, 12, 5, 13}, high[8] = {2, 10, 3, 11, 6, 14, 7, 15};
  static const unsigned first[8] = {0, 1, 8, 9, 4, 5, 12, 13}, second[8] = {2, 3, 10, 11, 6, 7, 14, 15};
  for (unsigned i = 0; i < 2; i++) {
    Value x = shuffle(e, rows[0], rows[1], i ? high : low, 8), y = shuffle(e, rows[2], rows[3], i ? high : low, 8);
    out[2 * i] = shuffle(e, x, y, first, 8);
    out[2 * i + 1] = shuffle(e, x, y, second, 8);
  }
}

/* Four numbers for each of eight lanes: transposes four lanes, and four lanes four further on, at a time. */
static void load_eight_quads(struct emitter *e, Value from, unsigned first_lane, Value out[4]) {
  static const unsigned both[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  const Type four = LLVMVectorType(e->f32, 4);
  Value lanes[4];
  for (unsigned i = 0; i < 4; i++) {
    Value half[2];
    for (unsigned h = 0; h < 2; h++) {
      half[h] = LLVMBuildLoad2(e->builder, four, pointer_at(e, from, (first_lane + 4 * h + i) * 16, four), "");
      LLVMSetAlignment(half[h], 1);
    }
    lanes[i] = shuffle(e, half[0], half[1], both, 8);
  }
  transpose_quads(e, lanes, out);
}

static void store_eight_quads(struct emitter *e, Value to, unsigned first_lane, const Value numbers[4]) {
  static const unsigned low[8] = {0, 8, 1, 9, 4, 12, 5, 13}, high[8] = {2, 10, 3, 11, 6, 14, 7, 15};
  static const unsigned first[8] = {0, 1, 8, 9, 4, 5, 12, 13}, second[8] = {2, 3, 10, 11, 6, 7, 14, 15};
  static const unsigned halves[2][4] = {{0, 1, 2, 3}, {4, 5, 6, 7}};
  Value lanes[4];
  for (unsigned i = 0; i < 2; i++) {
    Value x = shuffle(e, numbers[0], numbers[1], i ? high : low, 8);
    Value y = shuffle(e, numbers[2], numbers[3], i ? high : low, 8);
    lanes[2 * i] = shuffle(e, x, y, first, 8);
    lanes[2 * i + 1] = shuffle(e, x, y, second, 8);
  }
  for (unsigned i = 0; i < 4; i++) {
    for (unsigned h = 0; h < 2; h++) {
      Value store = LLVMBuildStore(e->builder, shuffle(e, lanes[i], NULL, halves[h], 4),
                                   pointer_at(e, to, (first_lane + 4 * h + i) * 16, LLVMVectorType(e->f32, 4)));
      LLVMSetAlignment(store, 1);
    }
  }
}

static void load_quads(struct emitter *e, Value from, Value registers) {
  const Type eight = LLVMVectorType(e->f32, 8);
  for (unsigned strip = 0; strip < WARP_LANES; strip += 8) {
    Value out[4];
    load_eight_quads(e, from, strip, out);
    for (unsigned i = 0; i < 4; i++) LLVMBuildStore(e->builder, out[i], lane_register(e, registers, i, strip, eight));
  }
}

static void store_quads(struct emitter *e, Value to, Value registers) {
  const Type eight = LLVMVectorType(e->f32, 8);
  for (unsigned strip = 0; strip < WARP_LANES; strip += 8) {
    Value numbers[4];
    for (unsigned i = 0; i < 4; i++)
      numbers[i] = LLVMBuildLoad2(e->builder, eight, lane_register(e, registers, i, strip, eight), "");
    store_eight_quads(e, to, strip, numbers);
  }
}

/* All lanes, or those of a mask: arguments[2]. */
static Value load_lane_vectors(struct emitter *e, const void *what, const Value *arguments) {
  const unsigned count = ((const struct lane_vectors *)what)->count;
  const Type whole = LLVMVectorType(e->f32, count * WARP_LANES), one = shaped(e->f32, true);
  struct alternatives all =
      begin_alternatives(e, LLVMBuildICmp(e->builder, LLVMIntEQ, arguments[2], constant(e->i32, UINT64_MAX), ""));
  for (int masked = 0; masked < 2; masked++) {
    if (masked == 0 && count == 4) {
      load_quads(e, arguments[0], arguments[1]);
    } else {
      Value vector, from = pointer_at(e, arguments[0], 0, whole);
      if (masked) {
        Type types[2] = {whole, LLVMTypeOf(from)};
        Value mask = repeat_mask(e, bits_mask(e, arguments[2]), count);
        vector = call_masked(e, "llvm.masked.load", types, 2, 4,
                             (Value[]){from, constant(e->i32, 1), mask, LLVMConstNull(whole)});
      } else {
        vector = LLVMBuildLoad2(e->builder, whole, from, "");
        LLVMSetAlignment(vector, 1);
      }
      for (unsigned k = 0; k < count; k++)
        LLVMBuildStore(e->builder, take_every(e, vector, k, count), lane_register(e, arguments[1], k, 0, one));
    }
    if (masked == 0) next_alternative(e, &all);
  }
  end_alternatives(e, &all);
  return NULL;
}

static Value interleaved(struct emitter *e, const Value *values, unsigned count);

static Value store_lane_vectors(struct emitter *e, const void *what, const Value *arguments) {
  const unsigned count = ((const struct lane_vectors *)what)->count;
  const Type whole = LLVMVectorType(e->f32, count * WARP_LANES), one = shaped(e->f32, true);
  struct alternatives all =
      begin_alternatives(e, LLVMBuildICmp(e->builder, LLVMIntEQ, arguments[2], constant(e->i32, UINT64_MAX), ""));
  for (int masked = 0; masked < 2; masked++) {
    if (masked == 0 && count == 4) {
      store_quads(e, arguments[0], arguments[1]);
    } else {
      Value numbers[4] = {NULL}, to = pointer_at(e, arguments[0], 0, whole);
      for (unsigned k = 0; k < count; k++)
        numbers[k] = LLVMBuildLoad2(e->builder, one, lane_register(e, arguments[1], k, 0, one), "");
      Value vector = interleaved(e, numbers, count);
      if (masked) {
        Type types[2] = {whole, LLVMTypeOf(to)};
        Value mask = repeat_mask(e, bits_mask(e, arguments[2]), count);
        call_masked(e, "llvm.masked.store", types, 2, 4, (Value[]){vector, to, constant(e->i32, 1), mask});
      } else {
        LLVMSetAlignment(LLVMBuildStore(e->builder, vector, to), 1);
      }
    }
    if (masked == 0) next_alternative(e, &all);
  }
  end_alternatives(e, &all);
  return NULL;
}

/* Whether an access is one that the functions above make. */
static bool by_lane_vectors(const struct emitter *e, const struct ptx_instruction *instruction) {
  return (instruction->vector == 2 || instruction->vector == 4) && type_bytes(instruction->type) == 4 &&
         (is_large(e) || !e->features->avx512) && !is_strong(instruction) && vector_lanes == WARP_LANES;
}

/* `registers` stand, or will, in the warp's memory, which is returned. */
static Value call_lane_vectors(struct emitter *e, const struct ptx_instruction *instruction, Value memory, Value mask,
                               bool store) {
  const struct lane_vectors vectors = {.count = instruction->vector};
  char name[20];
  snprintf(name, sizeof name, "%s.%u", store ? "store" : "load", vectors.count);
  Value registers = warp_address(e, e->i8, offsetof(struct warp, argument));
  Value arguments[3] = {memory, registers, mask_bits(e, mask)};
  call_outlined(e, name, LLVMVoidTypeInContext(e->context), arguments, 3,
                store ? store_lane_vectors : load_lane_vectors, &vectors);
  return registers;
}

/* ---- loads of the lanes' numbers to places in memory ----
 *
 * Registers of mma stand in memory: a load writes them there at once, where copies would cost as much as the load. */

/* Numbers side by side: arguments are where they stand, then a place for each register. */
static Value load_side_by_side(struct emitter *e, const void *what, const Value *arguments) {
  const unsigned count = ((const struct lane_vectors *)what)->count;
  const Type eight = LLVMVectorType(e->f32, 8);
  for (unsigned strip = 0; strip < WARP_LANES; strip += 8) {
    Value out[4] = {NULL}, half[2] = {NULL};
    for (unsigned h = 0; count == 2 && h < 2; h++) {
      half[h] = LLVMBuildLoad2(e->builder, eight, pointer_at(e, arguments[0], strip * 8 + 32 * h, eight), "");
      LLVMSetAlignment(half[h], 1);
    }
    if (count == 4) load_eight_quads(e, arguments[0], strip, out);
    for (unsigned k = 0; k < count; k++) {
      unsigned lanes[8];
      for (unsigned i = 0; i < 8; i++) lanes[i] = 2 * i + k;
      if (count == 2) out[k] = shuffle(e, half[0], half[1], lanes, 8);
      LLVMBuildStore(e->builder, out[k], pointer_at(e, arguments[1 + k], strip * 4, eight));
    }
  }
  return NULL;
}

/* Numbers of sixteen lanes, eight and eight, as vectors of the CPU's width: what is read so soon after has to be
 * written so. */
static void store_sixteen(struct emitter *e, const Value lanes[2], Value to) {
  static const unsigned all[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  if (e->features->avx512) {
    Value both = shuffle(e, lanes[0], lanes[1], all, 16);
    LLVMBuildStore(e->builder, both, pointer_at(e, to, 0, LLVMTypeOf(both)));
    return;
  }
  for (unsigned i = 0; i < 2; i++)
    LLVMBuildStore(e->builder, lanes[i], pointer_at(e, to, 32 * i, LLVMTypeOf(lanes[i])));
}

/* Lane 4 g + t has its one or two numbers in row t, behind those of the lanes with lower g. The last argument: bytes
 * from row to row. */
static Value load_columns(struct emitter *e, const void *what, const Value *arguments) {
  const unsigned count = ((const struct lane_vectors *)what)->count;
  static const unsigned halves[2][8] = {{0, 1, 2, 3, 8, 9, 10, 11}, {4, 5, 6, 7, 12, 13, 14, 15}};
  const Type eight = LLVMVectorType(e->f32, 8);
  for (unsigned part = 0; part < count; part++) { /* of rows: eight numbers */
    Value rows[4], columns[4];
    for (unsigned t = 0; t < 4; t++) {
      Value offset = LLVMBuildMul(e->builder, arguments[1 + count], LLVMConstInt(e->i64, t, 0), "");
      Value row = LLVMBuildGEP2(e->builder, e->i8, arguments[0], &offset, 1, "");
      rows[t] = LLVMBuildLoad2(e->builder, eight, pointer_at(e, row, 32 * part, eight), "");
      LLVMSetAlignment(rows[t], 1);
    }
    transpose_quads(e, rows, columns);
    for (unsigned n = 0; n < 2; n++) {
      /* Numbers 4 h + i of all rows, two of them behind one another, are eight lanes. */
      Value lanes[2], place = arguments[count == 2 ? 1 + n : 1];
      const unsigned strip = count == 2 ? 2 * part : 2 * n;
      for (unsigned i = 0; i < 2; i++)
        lanes[i] = count == 2 ? shuffle(e, columns[n], columns[n + 2], halves[i], 8)
                              : shuffle(e, columns[2 * i], columns[2 * i + 1], halves[n], 8);
      store_sixteen(e, lanes, pointer_at(e, place, strip * 32, e->i8));
    }
  }
  return NULL;
}

/* Whether the lanes' addresses are as load_columns() has them; 0: no, else bytes from row to row. */
static int64_t column_stride(const struct emitter *e, const struct address *address, int64_t bytes) {
  const int64_t first = lane_offset(e, address, 0), stride = lane_offset(e, address, 1) - first;
  if (vector_lanes != WARP_LANES || stride < 8 * bytes) return 0;
  for (unsigned i = 0; i < WARP_LANES; i++)
    if (lane_offset(e, address, i) - first != i % 4 * stride + i / 4 * bytes) return 0;
  return stride;
}

/* Loads all lanes' numbers in one of the two ways to `places`; `stride`: see column_stride. */
static void load_to_places(struct emitter *e, const struct ptx_instruction *instruction, const struct address *address,
                           Value base, int64_t stride, const Value *places) {
  const struct lane_vectors vectors = {.count = instruction->vector ? instruction->vector : 1};
  char name[30];
  Value arguments[6] = {
      pointer_at(e, base_pointer(e, address, base), instruction->offset + lane_offset(e, address, 0), e->i8)};
  unsigned count = 1;
  for (unsigned k = 0; k < vectors.count; k++) arguments[count++] = places[k];
  if (stride) arguments[count++] = constant(e->i64, (uint64_t)stride);
  snprintf(name, sizeof name, "load.%s.%u", stride ? "columns" : "places", vectors.count);
  call_outlined(e, name, LLVMVoidTypeInContext(e->context), arguments, count, stride ? load_columns : load_side_by_side,
                &vectors);
}

/* Whether the access is one that load_to_places() makes; sets *stride. Numbers side by side are some shuffles of wide
 * vectors with AVX-512, where they stand (load_contiguous()). */
static bool goes_to_places(struct emitter *e, const struct ptx_instruction *instruction, const struct address *address,
                           int64_t *stride) {
  const unsigned count = instruction->vector ? instruction->vector : 1;
  const int64_t bytes = access_bytes(instruction);
  if (is_strong(instruction) || vector_lanes != WARP_LANES || type_bytes(instruction->type) != 4) return false;
  *stride = count <= 2 ? column_stride(e, address, bytes) : 0;
  return *stride || (!e->features->avx512 && (count == 2 || count == 4) && is_contiguous(e, address, bytes));
}

/* A load of all lanes to registers that all stand in memory; false, and nothing emitted, if it is none. */
static bool load_fragments(struct emitter *e, const struct ptx_instruction *instruction,
                           const struct address *address) {
  const unsigned count = instruction->vector ? instruction->vector : 1;
  int64_t stride;
  Value places[4];
  if (count > 4) return false;
  for (unsigned k = 0; k < count; k++) {
    const struct ptx_operand *to = &instruction->dst[k];
    if (to->kind != PTX_OPERAND_REGISTER || !e->fragment[to->index].group || e->written_once[to->index] ||
        class_bits(e->function->register_class[to->index]) != 32)
      return false;
    places[k] = LLVMBuildBitCast(e->builder, e->slot[to->index], e->bytes, "");
  }
  if (!goes_to_places(e, instruction, address, &stride)) return false;
  load_to_places(e, instruction, address, address->base, stride, places);
  return true;
}

static void load_contiguous(struct emitter *e, const struct ptx_instruction *instruction, const struct address *address,
                            Value base, Value mask, Type element, Value *out) {
  const unsigned count = instruction->vector ? instruction->vector : 1;
  if (by_lane_vectors(e, instruction)) {
    Value from = pointer_at(e, base_pointer(e, address, base), instruction->offset, e->i8);
    Value registers = call_lane_vectors(e, instruction, from, mask, false);
    for (unsigned k = 0; k < count; k++)
      out[k] = LLVMBuildLoad2(e->builder, shaped(element, true),
                              lane_register(e, registers, k, 0, shaped(element, true)), "");
    return;
  }
  const Type type = LLVMVectorType(element, vector_lanes * count);
  const int64_t first = lane_offset(e, address, e->first_lane); /* 0 for the whole warp */
  Value pointer = pointer_at(e, base_pointer(e, address, base), instruction->offset + first, type), vector;
  if (mask) {
    Type types[2] = {type, LLVMTypeOf(pointer)};
    Value arguments[4] = {pointer, constant(e->i32, 1), repeat_mask(e, mask, count), LLVMConstNull(type)};
    vector = call_masked(e, "llvm.masked.load", types, 2, 4, arguments);
  } else {
    vector = LLVMBuildLoad2(e->builder, type, pointer, "");
    LLVMSetAlignment(vector, 1);
    if (is_strong(instruction)) LLVMSetVolatile(vector, 1);
  }
  mark(e, vector, address->space);
  for (unsigned k = 0; k < count; k++) out[k] = count == 1 ? vector : take_every(e, vector, k, count);
}

static Value load_scalar(struct emitter *e, const struct ptx_instruction *instruction, const struct address *address,
                         Value pointer, int64_t offset, Type element) {
  Value load = LLVMBuildLoad2(e->builder, element, pointer_at(e, pointer, offset, element), "");
  LLVMSetAlignment(load, 1);
  if (is_strong(instruction)) LLVMSetVolatile(load, 1);
  if (address->space == PTX_PARAM)
    mark_invariant(e, load);
  else
    mark(e, load, address->space);
  return load;
}

/* All lanes load: one scalar load per distinct address. */
static void load_pattern(struct emitter *e, const struct ptx_instruction *instruction, const struct address *address,
                         Type element, Value *out) {
  const unsigned count = instruction->vector ? instruction->vector : 1;
  const int64_t bytes = type_bytes(instruction->type);
  int64_t stride;
  if (goes_to_places(e, instruction, address, &stride) && stride) {
    Value registers = warp_address(e, e->i8, offsetof(struct warp, argument)), places[2];
    for (unsigned k = 0; k < count; k++) places[k] = lane_register(e, registers, k, 0, e->i8);
    load_to_places(e, instruction, address, address->base, stride, places);
    for (unsigned k = 0; k < count; k++)
      out[k] = LLVMBuildLoad2(e->builder, shaped(element, true),
                              lane_register(e, registers, k, 0, shaped(element, true)), "");
    return;
  }
  Value pointer = base_pointer(e, address, address->base);
  int64_t lanes[WARP_LANES] = {0};
  for (unsigned i = 0; i < vector_lanes; i++) lanes[i] = lane_offset(e, address, e->first_lane + i);
  for (unsigned k = 0; k < count; k++) {
    Value vector = LLVMGetUndef(shaped(element, true)), indices[WARP_LANES];
    unsigned distinct[WARP_LANES] = {0}, used = 0;
    for (unsigned i = 0; i < vector_lanes; i++) {
      unsigned same = 0;
      while (same < used && lanes[distinct[same]] != lanes[i]) same++;
      if (same == used) {
        Value load =
            load_scalar(e, instruction, address, pointer, instruction->offset + lanes[i] + (int64_t)k * bytes, element);
        vector = LLVMBuildInsertElement(e->builder, vector, load, LLVMConstInt(e->i32, used, 0), "");
        distinct[used++] = i;
      }
      indices[i] = LLVMConstInt(e->i32, same, 0);
    }
    out[k] = used == vector_lanes ? vector
                                  : LLVMBuildShuffleVector(e->builder, vector, LLVMGetUndef(LLVMTypeOf(vector)),
                                                           LLVMConstVector(indices, vector_lanes), "");
  }
}

/* Lanes one by one through pointers in memory (warp.argument[0]): all that a processor without gathers can do, and so
 * long that large kernels have it as a function. */
static Value pointer_of_lane(struct emitter *e, Value addresses, unsigned lane, Type element) {
  Value index = LLVMConstInt(e->i64, lane * sizeof(uint64_t), 0);
  Value at = LLVMBuildInBoundsGEP2(e->builder, e->i8, addresses, &index, 1, "");
  at = LLVMBuildBitCast(e->builder, at, LLVMPointerType(e->i64, 0), "");
  return LLVMBuildIntToPtr(e->builder, LLVMBuildLoad2(e->builder, e->i64, at, ""), LLVMPointerType(element, 0), "");
}

static Value gather_by_lane(struct emitter *e, const void *element, const Value *addresses) {
  const Type type = *(const Type *)element;
  Value vector = LLVMGetUndef(shaped(type, true));
  for (unsigned i = 0; i < WARP_LANES; i++) {
    Value load = LLVMBuildLoad2(e->builder, type, pointer_of_lane(e, addresses[0], i, type), "");
    LLVMSetAlignment(load, 1);
    vector = LLVMBuildInsertElement(e->builder, vector, load, LLVMConstInt(e->i32, i, 0), "");
  }
  return vector;
}

static Value scatter_by_lane(struct emitter *e, const void *element, const Value *arguments) {
  const Type type = *(const Type *)element;
  Value from = LLVMBuildBitCast(e->builder, arguments[1], LLVMPointerType(shaped(type, true), 0), "");
  Value values = LLVMBuildLoad2(e->builder, shaped(type, true), from, "");
  for (unsigned i = 0; i < WARP_LANES; i++) {
    Value value = LLVMBuildExtractElement(e->builder, values, LLVMConstInt(e->i32, i, 0), "");
    LLVMSetAlignment(LLVMBuildStore(e->builder, value, pointer_of_lane(e, arguments[0], i, type)), 1);
  }
  return NULL;
}

/* i8*: where `lanes` stands now; argument 0 or 1 of the warp. */
static Value lanes_in_memory(struct emitter *e, Value lanes, unsigned number) {
  const size_t at = offsetof(struct warp, argument) + number * WARP_LANES * sizeof(uint64_t);
  LLVMBuildStore(e->builder, lanes, warp_address(e, LLVMTypeOf(lanes), at));
  return warp_address(e, e->i8, at);
}

/* Two or four numbers of each lane. Arguments: addresses as above, and the numbers of all lanes, one after the other.
 */
struct lane_numbers {
  Type element;
  unsigned count, bytes; /* of an element */
};

static Value number_address(struct emitter *e, Value numbers, const struct lane_numbers *what, unsigned k,
                            unsigned lane, Type type) {
  return pointer_at(e, numbers, (int64_t)(k * WARP_LANES + lane) * what->bytes, type);
}

/* Two numbers of four bytes: those of two lanes side by side in a register, whose halves are moved at once. */
static void scatter_pairs(struct emitter *e, const struct lane_numbers *what, const Value *arguments) {
  static const unsigned pairs[2][4] = {{0, 4, 1, 5}, {2, 6, 3, 7}};
  const Type four = LLVMVectorType(what->element, 4);
  for (unsigned first = 0; first < WARP_LANES; first += 4) {
    Value numbers[2];
    for (unsigned k = 0; k < 2; k++)
      numbers[k] = LLVMBuildLoad2(e->builder, four, number_address(e, arguments[1], what, k, first, four), "");
    for (unsigned i = 0; i < 4; i++) {
      Value both = LLVMBuildBitCast(e->builder, shuffle(e, numbers[0], numbers[1], pairs[i / 2], 4),
                                    LLVMVectorType(e->f64, 2), "");
      Value half = LLVMBuildExtractElement(e->builder, both, LLVMConstInt(e->i32, i % 2, 0), "");
      LLVMSetAlignment(LLVMBuildStore(e->builder, half, pointer_of_lane(e, arguments[0], first + i, e->f64)), 1);
    }
  }
}

static Value move_numbers(struct emitter *e, const struct lane_numbers *what, const Value *arguments, bool store) {
  if (store && what->count == 2 && what->bytes == 4) {
    scatter_pairs(e, what, arguments);
    return NULL;
  }
  for (unsigned i = 0; i < WARP_LANES; i++) {
    Value there = LLVMBuildBitCast(e->builder, pointer_of_lane(e, arguments[0], i, what->element), e->bytes, "");
    for (unsigned k = 0; k < what->count; k++) {
      Value here = number_address(e, arguments[1], what, k, i, what->element);
      Value outside = pointer_at(e, there, (int64_t)k * what->bytes, what->element);
      Value number = LLVMBuildLoad2(e->builder, what->element, store ? here : outside, "");
      LLVMSetAlignment(number, 1);
      LLVMSetAlignment(LLVMBuildStore(e->builder, number, store ? outside : here), 1);
    }
  }
  return NULL;
}
static Value gather_numbers(struct emitter *e, const void *what, const Value *arguments) {
  return move_numbers(e, what, arguments, false);
}
static Value scatter_numbers(struct emitter *e, const void *what, const Value *arguments) {
  return move_numbers(e, what, arguments, true);
}

static void function_name(char name[40], const char *what, Type element);

/* Loads or stores all lanes' numbers, two or four, at addresses without a pattern: as a function, for the code is as
 * long as the lanes and their numbers are many. */
static void call_numbers(struct emitter *e, const struct ptx_instruction *instruction, const struct address *address,
                         Value mask, Type element, bool store, Value *values) {
  struct lane_numbers what = {.element = element, .count = instruction->vector, .bytes = type_bytes(instruction->type)};
  char type[40], name[60];
  Value pointers = lane_pointers(e, address, instruction->offset, element, mask, true);
  Value arguments[2] = {lanes_in_memory(e, LLVMBuildPtrToInt(e->builder, pointers, shaped(e->i64, true), ""), 0),
                        warp_address(e, e->i8, offsetof(struct warp, argument) + WARP_LANES * sizeof(uint64_t))};
  const Type all = shaped(element, true);
  for (unsigned k = 0; store && k < what.count; k++)
    LLVMBuildStore(e->builder, values[k], number_address(e, arguments[1], &what, k, 0, all));
  function_name(type, store ? "scatter" : "gather", element);
  snprintf(name, sizeof name, "%s.%u", type, what.count);
  call_outlined(e, name, LLVMVoidTypeInContext(e->context), arguments, 2, store ? scatter_numbers : gather_numbers,
                &what);
  for (unsigned k = 0; !store && k < what.count; k++)
    values[k] = LLVMBuildLoad2(e->builder, all, number_address(e, arguments[1], &what, k, 0, all), "");
}

/* Whether call_numbers() does it: up to sixteen bytes a lane, whose numbers stand in the warp's memory. */
static bool by_numbers(const struct ptx_instruction *instruction, bool real) {
  return !real && (instruction->vector == 2 || instruction->vector == 4) && type_bytes(instruction->type) <= 4 &&
         !is_strong(instruction) && vector_lanes == WARP_LANES;
}

static void function_name(char name[40], const char *what, Type element) {
  char *type = LLVMPrintTypeToString(element);
  snprintf(name, 40, "%s.%s", what, type);
  LLVMDisposeMessage(type);
}

static void load_gather(struct emitter *e, const struct ptx_instruction *instruction, const struct address *address,
                        Value mask, Type element, Value *out) {
  const unsigned count = instruction->vector ? instruction->vector : 1;
  const int64_t bytes = type_bytes(instruction->type);
  const bool real = e->features->fast_gather && bytes >= 4;
  const Type type = shaped(element, true);
  if (by_numbers(instruction, real)) {
    call_numbers(e, instruction, address, mask, element, false, out);
    return;
  }
  for (unsigned k = 0; k < count; k++) {
    Value pointers = lane_pointers(e, address, instruction->offset + (int64_t)k * bytes, element, mask, !real);
    if (real) {
      Type types[2] = {type, LLVMTypeOf(pointers)};
      Value arguments[4] = {pointers, constant(e->i32, 1), mask ? mask : all_lanes(e),
                            mask ? LLVMConstNull(type) : LLVMGetUndef(type)};
      out[k] = call_masked(e, "llvm.masked.gather", types, 2, 4, arguments);
      mark(e, out[k], address->space);
      continue;
    }
    if (is_large(e)) {
      char name[40];
      function_name(name, "gather", element);
      Value addresses = lanes_in_memory(e, LLVMBuildPtrToInt(e->builder, pointers, shaped(e->i64, true), ""), 0);
      out[k] = call_outlined(e, name, type, &addresses, 1, gather_by_lane, &element);
      continue;
    }
    Value vector = LLVMGetUndef(type);
    for (unsigned i = 0; i < WARP_LANES; i++) {
      Value index = LLVMConstInt(e->i32, i, 0);
      Value load = LLVMBuildLoad2(e->builder, element, LLVMBuildExtractElement(e->builder, pointers, index, ""), "");
      LLVMSetAlignment(load, 1);
      vector = LLVMBuildInsertElement(e->builder, vector, load, index, "");
    }
    out[k] = vector;
  }
}

/* Whether every lane of the mask is at the hinted pattern from lane 0: i1. */
static Value has_hinted_pattern(struct emitter *e, const struct address *address, Value mask, Value *base) {
  LLVMBuilderRef b = e->builder;
  *base = LLVMBuildExtractElement(b, address->base, LLVMConstInt(e->i32, 0, 0), "");
  const int64_t first = e->analysis->patterns[address->pattern][0];
  if (first) *base = LLVMBuildSub(b, *base, constant(e->i64, (uint64_t)first), "");
  Value expected =
      LLVMBuildAdd(b, splat(e, *base), lane_constants(e, e->i64, e->analysis->patterns[address->pattern], 0), "");
  Value same = LLVMBuildICmp(b, LLVMIntEQ, expected, address->base, "");
  if (mask) same = LLVMBuildOr(b, same, LLVMBuildNot(b, mask, ""), "");
  return LLVMBuildICmp(b, LLVMIntEQ, mask_bits(e, same), constant(e->i32, UINT64_MAX), "");
}

static Value meet(struct emitter *e, const struct alternatives *a, Value first, Value second) {
  Value phi = LLVMBuildPhi(e->builder, LLVMTypeOf(first), "");
  LLVMAddIncoming(phi, (Value[]){first, second}, (Label[]){a->first_end, a->second_end}, 2);
  return phi;
}

static void load_uniform(struct emitter *e, const struct ptx_instruction *instruction, const struct address *address,
                         Value base, Type element, Value *out) {
  const unsigned count = instruction->vector ? instruction->vector : 1;
  Value pointer = base_pointer(e, address, base);
  for (unsigned k = 0; k < count; k++) {
    out[k] = load_scalar(e, instruction, address, pointer,
                         instruction->offset + (int64_t)k * type_bytes(instruction->type), element);
  }
}

static bool is_zero_pattern(const struct address *address) {
  return address->pattern == 0 && address->space != PTX_LOCAL;
}

void emit_load(struct emitter *e, const struct ptx_instruction *instruction) {
  const unsigned count = instruction->vector ? instruction->vector : 1;
  if (type_bytes(instruction->type) == 0 || type_bytes(instruction->type) > 8 || count > 8) {
    refuse(e, instruction, "of this type");
    return;
  }
  const Type element = element_type(e, instruction->type);
  const int64_t bytes = access_bytes(instruction);
  struct address address = find_address(e, instruction->space, &instruction->src[0]);
  /* A guard that varies: the access must not be made, nor checked, for no lane at all. */
  Value mask = effective_mask(e, instruction);
  Label after = NULL;
  if (mask && mask != e->mask) {
    Label inside = new_label(e, "");
    after = new_label(e, "");
    LLVMBuildCondBr(e->builder, any_lane(e, mask), inside, after);
    LLVMPositionBuilderAtEnd(e->builder, inside);
  }
  if (!loads_parameter(e, instruction)) check(e, instruction, &address);
  Value out[8];
  if (!mask && address.shape.kind == SHAPE_AFFINE && load_fragments(e, instruction, &address)) return;
  if (address.shape.kind == SHAPE_AFFINE) {
    if (is_zero_pattern(&address)) {
      load_uniform(e, instruction, &address, address.base, element, out);
    } else if (is_contiguous(e, &address, bytes)) {
      load_contiguous(e, instruction, &address, address.base, mask, element, out);
    } else if (!mask) {
      load_pattern(e, instruction, &address, element, out);
    } else {
      Value full = LLVMBuildICmp(e->builder, LLVMIntEQ, mask_bits(e, mask), constant(e->i32, UINT64_MAX), "");
      struct alternatives a = begin_alternatives(e, full);
      Value other[8];
      load_pattern(e, instruction, &address, element, out);
      next_alternative(e, &a);
      load_gather(e, instruction, &address, mask, element, other);
      end_alternatives(e, &a);
      for (unsigned k = 0; k < count; k++) out[k] = meet(e, &a, out[k], other[k]);
    }
  } else if (address.shape.hinted && address.space != PTX_LOCAL) {
    Value base, other[8];
    Value regular = has_hinted_pattern(e, &address, mask, &base);
    struct alternatives a = begin_alternatives(e, regular);
    struct address hinted = address;
    hinted.shape.kind = SHAPE_AFFINE;
    hinted.base = base;
    if (is_zero_pattern(&address)) {
      load_uniform(e, instruction, &hinted, base, element, out);
      for (unsigned k = 0; k < count; k++) out[k] = splat(e, out[k]);
    } else if (is_contiguous(e, &hinted, bytes)) {
      load_contiguous(e, instruction, &hinted, base, mask, element, out);
    } else if (!mask) {
      load_pattern(e, instruction, &hinted, element, out);
    } else {
      load_gather(e, instruction, &hinted, mask, element, out);
    }
    next_alternative(e, &a);
    load_gather(e, instruction, &address, mask, element, other);
    end_alternatives(e, &a);
    for (unsigned k = 0; k < count; k++) out[k] = meet(e, &a, out[k], other[k]);
  } else {
    load_gather(e, instruction, &address, mask, element, out);
  }
  const bool is_signed = instruction->type >= PTX_S8 && instruction->type <= PTX_S64;
  for (unsigned k = 0; k < count; k++) {
    write_register(e, instruction, &instruction->dst[k], out[k], (struct shape){.kind = SHAPE_AFFINE}, is_signed);
  }
  if (after) {
    LLVMBuildBr(e->builder, after);
    LLVMPositionBuilderAtEnd(e->builder, after);
  }
}

/* ---- stores ---- */

static void store_scalar(struct emitter *e, const struct ptx_instruction *instruction, const struct address *address,
                         Value pointer, int64_t offset, Value value) {
  Value store = LLVMBuildStore(e->builder, value, pointer_at(e, pointer, offset, LLVMTypeOf(value)));
  LLVMSetAlignment(store, 1);
  if (is_strong(instruction)) LLVMSetVolatile(store, 1);
  mark(e, store, address->space);
}

/* All lanes write to one place: the highest active lane's value stays. */
static void store_uniform(struct emitter *e, const struct ptx_instruction *instruction, const struct address *address,
                          Value base, Value mask, Value *values) {
  const unsigned count = instruction->vector ? instruction->vector : 1;
  Value pointer = base_pointer(e, address, base), last = NULL;
  for (unsigned k = 0; k < count; k++) {
    Value value = values[k];
    if (is_wide(value)) {
      if (!last && mask) {
        Value arguments[2] = {mask_bits(e, mask), LLVMConstInt(e->i1, 1, 0)};
        last = LLVMBuildSub(e->builder, constant(e->i32, 31), call_intrinsic(e, "llvm.ctlz", e->i32, 2, arguments), "");
      }
      value = LLVMBuildExtractElement(e->builder, value, mask ? last : constant(e->i32, 31), "");
    }
    store_scalar(e, instruction, address, pointer, instruction->offset + (int64_t)k * type_bytes(instruction->type),
                 value);
  }
}

/* Each lane's numbers side by side. */
static Value interleaved(struct emitter *e, const Value *values, unsigned count) {
  Value parts[8] = {NULL};
  unsigned lanes = vector_lanes;
  memcpy(parts, values, count * sizeof *parts);
  for (unsigned have = count; have > 1; have /= 2, lanes *= 2) {
    for (unsigned p = 0; p < have / 2; p++) {
      /* Elements k and k + have/2 side by side, so that after all rounds they stand in order. */
      Value indices[256];
      for (unsigned i = 0; i < lanes; i++) {
        indices[2 * i] = LLVMConstInt(e->i32, i, 0);
        indices[2 * i + 1] = LLVMConstInt(e->i32, lanes + i, 0);
      }
      parts[p] =
          LLVMBuildShuffleVector(e->builder, parts[p], parts[p + have / 2], LLVMConstVector(indices, 2 * lanes), "");
    }
  }
  return parts[0];
}

static void store_contiguous(struct emitter *e, const struct ptx_instruction *instruction,
                             const struct address *address, Value base, Value mask, Value *values) {
  const unsigned count = instruction->vector ? instruction->vector : 1;
  if (by_lane_vectors(e, instruction)) {
    Value registers = warp_address(e, e->i8, offsetof(struct warp, argument));
    for (unsigned k = 0; k < count; k++)
      LLVMBuildStore(e->builder, values[k], lane_register(e, registers, k, 0, LLVMTypeOf(values[k])));
    Value to = pointer_at(e, base_pointer(e, address, base), instruction->offset, e->i8);
    call_lane_vectors(e, instruction, to, mask, true);
    return;
  }
  Value vector = interleaved(e, values, count);
  const int64_t first = lane_offset(e, address, e->first_lane); /* 0 for the whole warp */
  Value pointer = pointer_at(e, base_pointer(e, address, base), instruction->offset + first, LLVMTypeOf(vector));
  Value store;
  if (mask) {
    Type types[2] = {LLVMTypeOf(vector), LLVMTypeOf(pointer)};
    Value arguments[4] = {vector, pointer, constant(e->i32, 1), repeat_mask(e, mask, count)};
    store = call_masked(e, "llvm.masked.store", types, 2, 4, arguments);
  } else {
    store = LLVMBuildStore(e->builder, vector, pointer);
    LLVMSetAlignment(store, 1);
    if (is_strong(instruction)) LLVMSetVolatile(store, 1);
  }
  mark(e, store, address->space);
}

static void store_pattern(struct emitter *e, const struct ptx_instruction *instruction, const struct address *address,
                          Value *values) {
  const unsigned count = instruction->vector ? instruction->vector : 1;
  Value pointer = base_pointer(e, address, address->base);
  for (int i = 0; i < WARP_LANES; i++) {
    const int64_t lane =
        e->analysis->patterns[address->pattern][i] + (address->space == PTX_LOCAL ? i * local_stride(e->function) : 0);
    bool overwritten = false; /* by a higher lane */
    for (int later = i + 1; later < WARP_LANES; later++) {
      overwritten =
          overwritten || (address->space != PTX_LOCAL && e->analysis->patterns[address->pattern][later] == lane);
    }
    if (overwritten) continue;
    for (unsigned k = 0; k < count; k++) {
      Value value = LLVMBuildExtractElement(e->builder, values[k], LLVMConstInt(e->i32, (unsigned)i, 0), "");
      store_scalar(e, instruction, address, pointer,
                   instruction->offset + lane + (int64_t)k * type_bytes(instruction->type), value);
    }
  }
}

static void store_scatter(struct emitter *e, const struct ptx_instruction *instruction, const struct address *address,
                          Value mask, Value *values) {
  const unsigned count = instruction->vector ? instruction->vector : 1;
  const int64_t bytes = type_bytes(instruction->type);
  /* Scatters take a number at a time: pairs and quads go by lanes, whose numbers are moved at once. */
  const bool real = e->features->avx512 && bytes >= 4 && instruction->vector < 2;
  if (by_numbers(instruction, real)) {
    call_numbers(e, instruction, address, mask, LLVMGetElementType(LLVMTypeOf(values[0])), true, values);
    return;
  }
  for (unsigned k = 0; k < count; k++) {
    const Type element = LLVMGetElementType(LLVMTypeOf(values[k]));
    Value pointers = lane_pointers(e, address, instruction->offset + (int64_t)k * bytes, element, mask, !real);
    if (real) {
      Type types[2] = {LLVMTypeOf(values[k]), LLVMTypeOf(pointers)};
      Value arguments[4] = {values[k], pointers, constant(e->i32, 1), mask ? mask : all_lanes(e)};
      mark(e, call_masked(e, "llvm.masked.scatter", types, 2, 4, arguments), address->space);
      continue;
    }
    if (is_large(e)) {
      char name[40];
      function_name(name, "scatter", element);
      Value arguments[2] = {lanes_in_memory(e, LLVMBuildPtrToInt(e->builder, pointers, shaped(e->i64, true), ""), 0),
                            lanes_in_memory(e, values[k], 1)};
      call_outlined(e, name, LLVMVoidTypeInContext(e->context), arguments, 2, scatter_by_lane, &element);
      continue;
    }
    for (unsigned i = 0; i < WARP_LANES; i++) {
      Value index = LLVMConstInt(e->i32, i, 0);
      Value store = LLVMBuildStore(e->builder, LLVMBuildExtractElement(e->builder, values[k], index, ""),
                                   LLVMBuildExtractElement(e->builder, pointers, index, ""));
      LLVMSetAlignment(store, 1);
    }
  }
}

void emit_store(struct emitter *e, const struct ptx_instruction *instruction) {
  const unsigned count = instruction->vector ? instruction->vector : 1;
  if (type_bytes(instruction->type) == 0 || type_bytes(instruction->type) > 8 || count > 8 ||
      instruction->space == PTX_PARAM) {
    refuse(e, instruction, "of this type");
    return;
  }
  const int64_t bytes = access_bytes(instruction);
  struct address address = find_address(e, instruction->space, &instruction->src[0]);
  Value mask = effective_mask(e, instruction);
  Label after = NULL;
  if (mask && mask != e->mask) {
    Label inside = new_label(e, "");
    after = new_label(e, "");
    LLVMBuildCondBr(e->builder, any_lane(e, mask), inside, after);
    LLVMPositionBuilderAtEnd(e->builder, inside);
  }
  check(e, instruction, &address);
  Value values[8];
  const bool uniform = address.shape.kind == SHAPE_AFFINE && is_zero_pattern(&address);
  for (unsigned k = 0; k < count; k++) {
    const bool wide = !uniform || !shape_uniform(operand_shape(e->analysis, &instruction->src[1 + k]));
    values[k] = read_operand(e, &instruction->src[1 + k], instruction->type, wide);
  }
  if (uniform) {
    store_uniform(e, instruction, &address, address.base, mask, values);
  } else if (address.shape.kind == SHAPE_AFFINE) {
    if (is_contiguous(e, &address, bytes)) {
      store_contiguous(e, instruction, &address, address.base, mask, values);
    } else if (!mask) {
      store_pattern(e, instruction, &address, values);
    } else {
      struct alternatives a = begin_alternatives(
          e, LLVMBuildICmp(e->builder, LLVMIntEQ, mask_bits(e, mask), constant(e->i32, UINT64_MAX), ""));
      store_pattern(e, instruction, &address, values);
      next_alternative(e, &a);
      store_scatter(e, instruction, &address, mask, values);
      end_alternatives(e, &a);
    }
  } else if (address.shape.hinted && address.space != PTX_LOCAL) {
    Value base;
    struct alternatives a = begin_alternatives(e, has_hinted_pattern(e, &address, mask, &base));
    struct address hinted = address;
    hinted.shape.kind = SHAPE_AFFINE;
    hinted.base = base;
    if (is_zero_pattern(&address))
      store_uniform(e, instruction, &hinted, base, mask, values);
    else if (is_contiguous(e, &hinted, bytes))
      store_contiguous(e, instruction, &hinted, base, mask, values);
    else if (!mask)
      store_pattern(e, instruction, &hinted, values);
    else
      store_scatter(e, instruction, &hinted, mask, values);
    next_alternative(e, &a);
    store_scatter(e, instruction, &address, mask, values);
    end_alternatives(e, &a);
  } else {
    store_scatter(e, instruction, &address, mask, values);
  }
  if (after) {
    LLVMBuildBr(e->builder, after);
    LLVMPositionBuilderAtEnd(e->builder, after);
  }
}
