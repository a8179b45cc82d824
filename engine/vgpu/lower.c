/* From parsed bodies to a kernel: device functions inlined, their parameters turned into registers where every access
 * agrees on how they are cut, storage laid out, basic blocks cut and numbered. */
#include <string.h>

#include "engine/vgpu/front.h"

/* No kernel of use comes near these; they bound the memory and time that a text can ask for. */
enum {
  INSTRUCTION_LIMIT = 1 << 20, /* of a kernel, once its functions are inlined */
  MODULE_LIMIT = 1 << 22,      /* instructions of all its kernels */
  BLOCK_LIMIT = 1 << 16,
  EDGE_LIMIT = 1 << 20,
  PARAMETER_LIMIT = 1 << 16,  /* bytes of a parameter of a function */
  PARAMETERS_LIMIT = 1 << 20, /* bytes of all of them in a kernel */
  SHARED_LIMIT = 1 << 28,     /* bytes; what the device has is for the driver API to say */
  LOCAL_LIMIT = 512 << 10,    /* bytes of a thread, as on hardware */
  LOOP_LIMIT = 1 << 27        /* blocks, each counted once for every loop around it */
};

/* An item is an instruction or, with instruction.op == LABEL, the place of a label. Branches hold labels until the
 * blocks are cut. */
enum { LABEL = PTX_OP_COUNT };

struct item {
  struct ptx_instruction instruction;
  uint32_t label;                /* LABEL: its number; bra: the target */
  uint32_t *labels, label_count; /* brx */
};

/* A call parameter's bytes: 0 untouched, else 1 + offset and size of the one way in which it is accessed. */
struct slot {
  struct entity *entity;
  bool in_memory;      /* its address is taken, or accesses overlap in part */
  uint32_t *start;     /* [size] 1 + first byte of the access that covers this byte; 0: none */
  uint8_t *bytes;      /* [size] width of that access */
  uint32_t *registers; /* [size] at an access's first byte */
};

struct builder {
  struct parser *parser;
  struct ptx_function *function;
  struct body *registers; /* a body that only counts the kernel's registers */
  struct item *items;
  uint32_t item_count, item_capacity, label_count;
  struct slot *slots;
  uint32_t slot_count, slot_capacity;
  uint32_t stamp, edge_count;
  uint64_t shared_bytes, local_bytes, slot_bytes;
  bool has_dynamic_shared;
  uint32_t array_capacity;
};

static uint64_t align_up(uint64_t value, uint64_t align) { return (value + align - 1) / align * align; }

static struct item *append(struct builder *builder) {
  if (builder->item_count >= INSTRUCTION_LIMIT)
    parser_fail(builder->parser, 0, "kernel '%s' has too many instructions once its functions are inlined",
                builder->function->name);
  builder->items = parser_grow(builder->parser, builder->items, builder->item_count, &builder->item_capacity,
                               sizeof *builder->items);
  struct item *item = &builder->items[builder->item_count++];
  memset(item, 0, sizeof *item);
  item->instruction.guard = PTX_NONE;
  return item;
}

static void append_label(struct builder *builder, uint32_t label) {
  struct item *item = append(builder);
  item->instruction.op = LABEL;
  item->label = label;
}

/* ---- storage ---- */

/* Gives a variable its place in this kernel at its first use. External shared arrays all start where static shared
 * memory ends, which is known only at the end: they are marked with the offset DYNAMIC. */
#define DYNAMIC ((uint64_t)1 << 62)

static void note_array(struct builder *builder, const struct entity *entity) {
  struct ptx_function *function = builder->function;
  function->arrays = parser_grow(builder->parser, function->arrays, function->array_count, &builder->array_capacity,
                                 sizeof *function->arrays);
  function->arrays[function->array_count++] = (struct ptx_array){
      .name = entity->name, .space = (uint8_t)entity->space, .offset = entity->offset, .size = entity->size};
  if (entity->space == PTX_SHARED) function->shared_padding += builder->parser->red_zone;
}

static void place(struct builder *builder, struct entity *entity, unsigned line) {
  if (entity->space == PTX_GLOBAL || entity->space == PTX_CONST) {
    if (entity->external)
      parser_fail(builder->parser, line, "variable '%s' is declared .extern and not defined in this module",
                  entity->name);
    return;
  }
  if (entity->space == PTX_PARAM && !entity->call_parameter) return;
  if (entity->stamp == builder->stamp) return;
  entity->stamp = builder->stamp;
  if (entity->space == PTX_SHARED) {
    if (entity->align > builder->function->shared_align) builder->function->shared_align = entity->align;
    if (entity->external) {
      entity->offset = DYNAMIC;
      builder->has_dynamic_shared = true;
      return;
    }
    entity->offset = align_up(builder->shared_bytes, entity->align);
    builder->shared_bytes = entity->offset + entity->size + builder->parser->red_zone;
    note_array(builder, entity);
  } else if (entity->space == PTX_LOCAL) {
    entity->offset = align_up(builder->local_bytes, entity->align);
    builder->local_bytes = entity->offset + entity->size + builder->parser->red_zone;
    note_array(builder, entity);
  } else {
    entity->slot = builder->slot_count;
    builder->slots = parser_grow(builder->parser, builder->slots, builder->slot_count, &builder->slot_capacity,
                                 sizeof *builder->slots);
    builder->slot_bytes += entity->size;
    if (entity->size > PARAMETER_LIMIT || builder->slot_bytes > PARAMETERS_LIMIT)
      parser_fail(builder->parser, line, "parameter '%s' is too large", entity->name);
    builder->slots[builder->slot_count++] =
        (struct slot){.entity = entity,
                      .start = parser_alloc(builder->parser, entity->size * sizeof(uint32_t)),
                      .bytes = parser_alloc(builder->parser, entity->size),
                      .registers = parser_alloc(builder->parser, entity->size * sizeof(uint32_t))};
  }
  if (builder->shared_bytes > SHARED_LIMIT || builder->local_bytes > LOCAL_LIMIT)
    parser_fail(builder->parser, line, "kernel '%s' has too much shared or local memory", builder->function->name);
}

/* Follows formal parameters to the argument that they stand for. */
static struct entity *actual(struct builder *builder, struct entity *entity) {
  while (entity->bound && entity->bound->kind == PTX_OPERAND_SYMBOL)
    entity = builder->parser->entities[entity->bound->index];
  return entity;
}

/* ---- inlining ---- */

struct instance {
  uint32_t register_base, label_base, return_label;
};

static struct ptx_operand clone_operand(struct builder *builder, const struct instance *instance,
                                        const struct ptx_operand *operand, unsigned line) {
  struct ptx_operand copy = *operand;
  if (copy.kind == PTX_OPERAND_REGISTER) {
    copy.index += instance->register_base;
  } else if (copy.kind == PTX_OPERAND_SYMBOL) {
    struct entity *entity = actual(builder, builder->parser->entities[copy.index]);
    place(builder, entity, line);
    copy.space = entity->space;
    copy.index = parser_entity_number(builder->parser, entity);
  }
  return copy;
}

static struct ptx_operand *clone_operands(struct builder *builder, const struct instance *instance,
                                          const struct ptx_operand *operands, unsigned count, unsigned line) {
  struct ptx_operand *copies = parser_alloc(builder->parser, (count ? count : 1) * sizeof *copies);
  for (unsigned i = 0; i < count; i++) copies[i] = clone_operand(builder, instance, &operands[i], line);
  return copies;
}

static uint32_t find_label(struct builder *builder, const struct statement *statement, const char *name,
                           const struct instance *instance) {
  const struct entity *entity = scope_find(statement->scope, name, strlen(name));
  if (!entity || entity->kind != ENTITY_LABEL)
    parser_fail(builder->parser, statement->instruction.line, "label '%s' is not defined", name);
  return entity->index + instance->label_base;
}

static enum ptx_type bits_of_class(uint8_t class) {
  return class == PTX_CLASS_64 ? PTX_B64 : class == PTX_CLASS_32 ? PTX_B32 : class == PTX_CLASS_16 ? PTX_B16 : PTX_PRED;
}

static void append_move(struct builder *builder, uint32_t to, struct ptx_operand from, unsigned line) {
  struct item *item = append(builder);
  struct ptx_instruction *move = &item->instruction;
  move->op = PTX_MOV;
  move->type = (uint8_t)bits_of_class(builder->registers->register_class[to]);
  move->line = line;
  move->dst_count = move->src_count = 1;
  move->dst = parser_alloc(builder->parser, sizeof *move->dst);
  move->src = parser_alloc(builder->parser, sizeof *move->src);
  move->dst[0] = (struct ptx_operand){.kind = PTX_OPERAND_REGISTER, .index = to};
  move->src[0] = from;
}

static void inline_body(struct builder *builder, struct body *body, uint32_t return_label, uint32_t register_base,
                        int depth);

static struct item *append_operation(struct builder *builder, enum ptx_op op, enum ptx_type type, unsigned line,
                                     unsigned dst_count, const struct ptx_operand *dst, unsigned src_count,
                                     const struct ptx_operand *src) {
  struct item *item = append(builder);
  struct ptx_instruction *made = &item->instruction;
  made->op = (uint16_t)op;
  made->type = (uint8_t)type;
  made->line = line;
  made->dst_count = (uint8_t)dst_count;
  made->src_count = (uint8_t)src_count;
  made->dst = parser_alloc(builder->parser, (dst_count + 1) * sizeof *made->dst);
  made->src = parser_alloc(builder->parser, (src_count + 1) * sizeof *made->src);
  if (dst_count) memcpy(made->dst, dst, dst_count * sizeof *dst);
  if (src_count) memcpy(made->src, src, src_count * sizeof *src);
  return item;
}

static struct ptx_operand new_register(struct builder *builder, enum ptx_register_class class) {
  return (struct ptx_operand){.kind = PTX_OPERAND_REGISTER,
                              .index = parser_add_register(builder->parser, builder->registers, class, 1)};
}

/* The functions that CUDA's device runtime provides. Their arguments come in .param variables. */
static bool call_runtime(struct builder *builder, const struct statement *statement, const struct instance *instance,
                         const char *name) {
  static const struct {
    const char *name;
    uint16_t op;
    uint8_t arguments, results;
    uint8_t bytes[5]; /* of the arguments */
  } known[] = {{"vprintf", PTX_PRINTF, 2, 1, {8, 8}},
               {"__assertfail", PTX_TRAP, 5, 0, {8, 8, 4, 8, 8}},
               {"malloc", PTX_MALLOC, 1, 1, {8}},
               {"free", PTX_FREE, 1, 0, {8}}};
  const struct ptx_instruction *call = &statement->instruction;
  size_t which = 0;
  while (which < sizeof known / sizeof *known && strcmp(known[which].name, name) != 0) which++;
  if (which == sizeof known / sizeof *known) return false;
  const unsigned line = call->line;
  if (call->src_count != known[which].arguments || call->dst_count != known[which].results)
    parser_fail(builder->parser, line, "the call of '%s' has the wrong number of arguments or results", name);
  struct ptx_operand values[5] = {{0}}, result = {0};
  for (unsigned i = 0; i < call->src_count; i++) {
    const bool wide = known[which].bytes[i] == 8;
    struct ptx_operand from = clone_operand(builder, instance, &call->src[i], line);
    if (from.kind != PTX_OPERAND_SYMBOL || from.space != PTX_PARAM)
      parser_fail(builder->parser, line, "an argument of the call of '%s' does not fit its parameter", name);
    values[i] = new_register(builder, wide ? PTX_CLASS_64 : PTX_CLASS_32);
    struct item *load = append_operation(builder, PTX_LD, wide ? PTX_B64 : PTX_B32, line, 1, &values[i], 1, &from);
    load->instruction.space = PTX_PARAM;
    load->instruction.vector = 1;
  }
  const bool wide = known[which].op == PTX_MALLOC;
  if (call->dst_count) result = new_register(builder, wide ? PTX_CLASS_64 : PTX_CLASS_32);
  const bool assertion = known[which].op == PTX_TRAP;
  struct item *item = append_operation(builder, (enum ptx_op)known[which].op, wide ? PTX_B64 : PTX_B32, line,
                                       call->dst_count, &result, assertion ? 4 : call->src_count, values);
  if (assertion) item->instruction.mode = PTX_TRAP_ASSERT;
  item->instruction.file = call->file;
  item->instruction.source_line = call->source_line;
  if (!call->dst_count) return true;
  struct ptx_operand to[2] = {clone_operand(builder, instance, &call->dst[0], line), result};
  if (to[0].kind != PTX_OPERAND_SYMBOL || to[0].space != PTX_PARAM)
    parser_fail(builder->parser, line, "the result of the call of '%s' does not fit", name);
  struct item *store = append_operation(builder, PTX_ST, wide ? PTX_B64 : PTX_B32, line, 0, NULL, 2, to);
  store->instruction.space = PTX_PARAM;
  store->instruction.vector = 1;
  return true;
}

static void inline_known(struct builder *builder, const struct statement *statement, const struct instance *instance,
                         int depth, struct entity *function) {
  struct parser *parser = builder->parser;
  const struct ptx_instruction *call = &statement->instruction;
  const unsigned line = call->line;
  struct body *callee = function->body;
  if (!callee->defined) {
    if (call_runtime(builder, statement, instance, function->name)) return;
    parser_fail(parser, line, "function '%s' is not defined in this module", function->name);
  }
  if (callee->is_entry) parser_fail(parser, line, "kernel '%s' is called as a function", function->name);
  if (callee->being_inlined) parser_fail(parser, line, "function '%s' is recursive", function->name);
  if (depth > 100) parser_fail(parser, line, "calls are nested too deeply");
  if (callee->parameter_count != call->src_count || callee->result_count != call->dst_count)
    parser_fail(parser, line, "the call of '%s' has the wrong number of arguments or results", function->name);

  uint32_t register_base = parser_add_register(parser, builder->registers, PTX_CLASS_PRED, callee->register_count);
  if (callee->register_count)
    memcpy(builder->registers->register_class + register_base, callee->register_class, callee->register_count);
  for (int side = 0; side < 2; side++) {
    struct entity **formals = side ? callee->results : callee->parameters;
    const struct ptx_operand *arguments = side ? call->dst : call->src;
    for (uint32_t i = 0; i < (side ? callee->result_count : callee->parameter_count); i++) {
      struct ptx_operand *argument = parser_alloc(parser, sizeof *argument);
      *argument = clone_operand(builder, instance, &arguments[i], line);
      bool in_memory = argument->kind == PTX_OPERAND_SYMBOL;
      if (in_memory != (formals[i]->kind == ENTITY_VARIABLE) ||
          (in_memory && (argument->space != PTX_PARAM || parser->entities[argument->index]->size < formals[i]->size)))
        parser_fail(parser, line, "an argument of the call of '%s' does not fit its parameter", function->name);
      if (!in_memory) {
        uint8_t class = formals[i]->class;
        bool is_register = argument->kind == PTX_OPERAND_REGISTER;
        if ((is_register && builder->registers->register_class[argument->index] != class) ||
            (!is_register && (side || argument->kind != PTX_OPERAND_IMMEDIATE || class == PTX_CLASS_PRED)))
          parser_fail(parser, line, "an argument of the call of '%s' does not fit its parameter", function->name);
        if (!side) append_move(builder, register_base + formals[i]->index, *argument, line);
      }
      formals[i]->bound = argument;
    }
  }
  callee->being_inlined = true;
  uint32_t returned = builder->label_count++;
  inline_body(builder, callee, returned, register_base, depth + 1);
  callee->being_inlined = false;
  append_label(builder, returned);
  for (uint32_t i = 0; i < callee->result_count; i++) {
    if (callee->results[i]->kind == ENTITY_REGISTER) {
      struct ptx_operand from = {.kind = PTX_OPERAND_REGISTER, .index = register_base + callee->results[i]->index};
      append_move(builder, callee->results[i]->bound->index, from, line);
    }
  }
}

/* Whether a call through a register could reach the function: its parameters have the sizes of the arguments. */
static bool call_fits(struct builder *builder, const struct ptx_instruction *call, const struct instance *instance,
                      const struct body *callee) {
  if (!callee || !callee->defined || callee->is_entry || callee->being_inlined) return false;
  if (callee->parameter_count != call->src_count || callee->result_count != call->dst_count) return false;
  for (int side = 0; side < 2; side++) {
    struct entity *const *formals = side ? callee->results : callee->parameters;
    const struct ptx_operand *arguments = side ? call->dst : call->src;
    for (uint32_t i = 0; i < (side ? callee->result_count : callee->parameter_count); i++) {
      if (arguments[i].kind != PTX_OPERAND_SYMBOL || formals[i]->kind != ENTITY_VARIABLE) return false;
      struct ptx_operand argument = clone_operand(builder, instance, &arguments[i], call->line);
      if (builder->parser->entities[argument.index]->size != formals[i]->size) return false;
    }
  }
  return true;
}

/* A call through a register is a choice among the functions whose address was taken. */
static void inline_indirect(struct builder *builder, const struct statement *statement, const struct instance *instance,
                            int depth) {
  struct parser *parser = builder->parser;
  const struct ptx_instruction *call = &statement->instruction;
  const uint32_t done = builder->label_count++;
  const struct ptx_operand pointer = {.kind = PTX_OPERAND_REGISTER,
                                      .index = (uint32_t)call->offset + instance->register_base};
  for (uint32_t i = 0; i < parser->taken_count; i++) {
    struct entity *function = parser->taken[i];
    if (!call_fits(builder, call, instance, function->body)) continue;
    const uint32_t next = builder->label_count++;
    const struct ptx_operand other = new_register(builder, PTX_CLASS_PRED);
    const struct ptx_operand compared[2] = {pointer, {.kind = PTX_OPERAND_IMMEDIATE, .value = function->address}};
    append_operation(builder, PTX_SETP, PTX_B64, call->line, 1, &other, 2, compared)->instruction.mode = PTX_NE;
    struct item *skip = append_operation(builder, PTX_BRA, PTX_NO_TYPE, call->line, 0, NULL, 0, NULL);
    skip->instruction.guard = other.index;
    skip->label = next;
    inline_known(builder, statement, instance, depth, function);
    append_operation(builder, PTX_BRA, PTX_NO_TYPE, call->line, 0, NULL, 0, NULL)->label = done;
    append_label(builder, next);
  }
  append_operation(builder, PTX_TRAP, PTX_NO_TYPE, call->line, 0, NULL, 0, NULL)->instruction.mode = PTX_TRAP_CALL;
  append_label(builder, done);
}

static void inline_call(struct builder *builder, const struct statement *statement, const struct instance *instance,
                        int depth) {
  struct parser *parser = builder->parser;
  const struct ptx_instruction *call = &statement->instruction;
  uint32_t after = builder->label_count++;
  if (call->guard != PTX_NONE) {
    struct item *branch = append(builder);
    branch->instruction.op = PTX_BRA;
    branch->instruction.guard = call->guard + instance->register_base;
    branch->instruction.guard_negate = !call->guard_negate;
    branch->instruction.line = call->line;
    branch->label = after;
  }
  if (statement->name) {
    struct entity *function = scope_find(statement->scope, statement->name, strlen(statement->name));
    if (!function || function->kind != ENTITY_FUNCTION)
      parser_fail(parser, call->line, "function '%s' is not declared", statement->name);
    inline_known(builder, statement, instance, depth, function);
  } else {
    inline_indirect(builder, statement, instance, depth);
  }
  append_label(builder, after);
}

static void inline_body(struct builder *builder, struct body *body, uint32_t return_label, uint32_t register_base,
                        int depth) {
  struct parser *parser = builder->parser;
  struct instance instance = {register_base, builder->label_count, return_label};
  builder->label_count += body->label_count;
  for (uint32_t i = 0; i < body->statement_count; i++) {
    const struct statement *statement = &body->statements[i];
    unsigned line = statement->instruction.line;
    if (statement->kind == STATEMENT_LABEL) {
      append_label(builder, statement->label + instance.label_base);
      continue;
    }
    if (statement->kind == STATEMENT_CALL) {
      inline_call(builder, statement, &instance, depth);
      continue;
    }
    struct item *item = append(builder);
    uint32_t at = builder->item_count - 1;
    item->instruction = statement->instruction;
    if (item->instruction.guard != PTX_NONE) item->instruction.guard += register_base;
    struct ptx_operand *dst =
        clone_operands(builder, &instance, statement->instruction.dst, statement->instruction.dst_count, line);
    struct ptx_operand *src =
        clone_operands(builder, &instance, statement->instruction.src, statement->instruction.src_count, line);
    item = &builder->items[at];
    item->instruction.dst = dst;
    item->instruction.src = src;
    switch (item->instruction.op) {
      case PTX_BRA:
        item->label = find_label(builder, statement, statement->name, &instance);
        break;
      case PTX_BRX: {
        struct entity *targets = scope_find(statement->scope, statement->name, strlen(statement->name));
        if (!targets || targets->kind != ENTITY_TARGETS)
          parser_fail(parser, line, "'%s' is not a list of branch targets", statement->name);
        builder->edge_count += targets->target_count;
        if (builder->edge_count > EDGE_LIMIT)
          parser_fail(parser, line, "kernel '%s' has too many branch targets", builder->function->name);
        item->label_count = targets->target_count;
        item->labels = parser_alloc(parser, targets->target_count * sizeof *item->labels);
        for (uint32_t k = 0; k < targets->target_count; k++)
          item->labels[k] = find_label(builder, statement, targets->targets[k], &instance);
        break;
      }
      case PTX_RET:
        if (return_label != PTX_NONE) {
          item->instruction.op = PTX_BRA;
          item->label = return_label;
        }
        break;
      default:
        break;
    }
  }
}

/* ---- call parameters: registers where possible ---- */

static struct slot *slot_of(struct builder *builder, const struct ptx_operand *operand) {
  if (operand->kind != PTX_OPERAND_SYMBOL) return NULL;
  struct entity *entity = builder->parser->entities[operand->index];
  return entity->space == PTX_PARAM && entity->call_parameter ? &builder->slots[entity->slot] : NULL;
}

static void note_access(struct slot *slot, int64_t offset, unsigned bytes, unsigned elements) {
  for (unsigned e = 0; e < elements && !slot->in_memory; e++) {
    int64_t first = offset + (int64_t)(e * bytes);
    if (first < 0 || first % bytes || (uint64_t)first + bytes > slot->entity->size) {
      slot->in_memory = true;
      return;
    }
    for (int64_t b = first; b < first + (int64_t)bytes; b++) {
      if (slot->start[b] && (slot->start[b] != (uint32_t)first + 1 || slot->bytes[b] != bytes)) slot->in_memory = true;
      slot->start[b] = (uint32_t)first + 1;
      slot->bytes[b] = (uint8_t)bytes;
    }
  }
}

static void find_accesses(struct builder *builder) {
  for (uint32_t i = 0; i < builder->item_count; i++) {
    const struct ptx_instruction *instruction = &builder->items[i].instruction;
    bool access = instruction->op == PTX_LD || instruction->op == PTX_ST;
    for (unsigned k = 0; k < instruction->src_count; k++) {
      struct slot *slot = slot_of(builder, &instruction->src[k]);
      if (!slot) continue;
      if (access && k == 0)
        note_access(slot, instruction->offset, ptx_type_bytes(instruction->type), instruction->vector);
      else
        slot->in_memory = true;
    }
  }
  for (uint32_t i = 0; i < builder->slot_count; i++) {
    struct slot *slot = &builder->slots[i];
    if (!slot->in_memory) continue;
    slot->entity->offset = align_up(builder->local_bytes, slot->entity->align);
    builder->local_bytes = slot->entity->offset + slot->entity->size;
    if (builder->local_bytes > LOCAL_LIMIT)
      parser_fail(builder->parser, builder->function->line, "kernel '%s' has too much local memory",
                  builder->function->name);
  }
}

static enum ptx_type integer_type(unsigned bytes, bool sign) {
  switch (bytes) {
    case 1:
      return sign ? PTX_S8 : PTX_U8;
    case 2:
      return sign ? PTX_S16 : PTX_U16;
    case 4:
      return sign ? PTX_S32 : PTX_U32;
    default:
      return sign ? PTX_S64 : PTX_U64;
  }
}

static unsigned class_bytes(uint8_t class) { return class == PTX_CLASS_64 ? 8 : class == PTX_CLASS_32 ? 4 : 2; }

/* ld or st of a parameter that lives in registers: one move or conversion per element. */
static void access_registers(struct builder *builder, struct slot *slot, const struct ptx_instruction *access) {
  struct parser *parser = builder->parser;
  unsigned bytes = ptx_type_bytes(access->type);
  bool load = access->op == PTX_LD, sign = access->type >= PTX_S8 && access->type <= PTX_S64;
  for (unsigned e = 0; e < access->vector; e++) {
    const struct ptx_operand *outer = load ? &access->dst[e] : &access->src[1 + e];
    if (outer->kind == PTX_OPERAND_SINK) continue;
    uint32_t *index = &slot->registers[access->offset + (int64_t)(e * bytes)];
    if (!*index) {
      uint8_t class = bytes == 8 ? PTX_CLASS_64 : bytes == 4 ? PTX_CLASS_32 : PTX_CLASS_16;
      *index = 1 + parser_add_register(parser, builder->registers, class, 1);
    }
    struct ptx_operand inner = {.kind = PTX_OPERAND_REGISTER, .index = *index - 1};
    unsigned outer_bytes =
        outer->kind == PTX_OPERAND_REGISTER ? class_bytes(builder->registers->register_class[outer->index]) : bytes;
    struct ptx_instruction move = {.guard = access->guard,
                                   .guard_negate = access->guard_negate,
                                   .line = access->line,
                                   .file = access->file,
                                   .source_line = access->source_line,
                                   .dst_count = 1,
                                   .src_count = 1};
    move.dst = parser_alloc(parser, sizeof *move.dst);
    move.src = parser_alloc(parser, sizeof *move.src);
    move.dst[0] = load ? *outer : inner;
    move.src[0] = load ? inner : *outer;
    if (outer_bytes == bytes || (!load && outer->kind != PTX_OPERAND_REGISTER)) {
      move.op = PTX_MOV;
      move.type = (uint8_t)bits_of_class(builder->registers->register_class[inner.index]);
    } else if (load) { /* sign- or zero-extended to the register's width, as a load would */
      move.op = PTX_CVT;
      move.type = (uint8_t)integer_type(outer_bytes, sign);
      move.source_type = (uint8_t)integer_type(bytes, sign);
    } else {
      move.op = PTX_CVT;
      move.type = (uint8_t)integer_type(bytes, false);
      move.source_type = (uint8_t)integer_type(outer_bytes, false);
    }
    append(builder)->instruction = move;
  }
}

/* A second pass over the items: parameter accesses rewritten, symbols replaced by their places. */
static void resolve_symbols(struct builder *builder, uint64_t dynamic_offset) {
  struct item *items = builder->items;
  uint32_t count = builder->item_count;
  builder->items = NULL;
  builder->item_count = builder->item_capacity = 0;
  for (uint32_t i = 0; i < count; i++) {
    struct ptx_instruction *instruction = &items[i].instruction;
    bool access = instruction->op == PTX_LD || instruction->op == PTX_ST;
    struct slot *slot = access ? slot_of(builder, &instruction->src[0]) : NULL;
    if (slot && !slot->in_memory) {
      access_registers(builder, slot, instruction);
      continue;
    }
    for (unsigned k = 0; k < instruction->src_count; k++) {
      struct ptx_operand *operand = &instruction->src[k];
      if (operand->kind != PTX_OPERAND_SYMBOL) continue;
      struct entity *entity = builder->parser->entities[operand->index];
      operand->value += entity->offset == DYNAMIC ? dynamic_offset : entity->offset;
      operand->index = 0;
      if (entity->space == PTX_PARAM && entity->call_parameter) {
        operand->space = PTX_LOCAL;
        if (access && k == 0) instruction->space = PTX_LOCAL;
      }
    }
    *append(builder) = items[i];
  }
}

/* ---- blocks ---- */

static bool ends_block(const struct ptx_instruction *instruction) {
  switch (instruction->op) {
    case PTX_BRA:
    case PTX_BRX:
    case PTX_RET:
    case PTX_EXIT:
    case PTX_TRAP:
    case PTX_BAR:
      return true;
    default:
      return false;
  }
}

/* Whether control may pass to the next instruction. */
static bool falls_through(const struct ptx_instruction *instruction) {
  return instruction->guard != PTX_NONE || instruction->op == PTX_BAR || !ends_block(instruction);
}

static uint32_t successor(const struct ptx_block *block, uint32_t index) {
  return index < block->target_count ? block->targets[index] : block->next;
}

static uint32_t successor_count(const struct ptx_block *block) {
  return block->target_count + (block->next != PTX_NONE);
}

struct graph {
  struct parser *parser;
  struct ptx_function *function;
  struct ptx_block *blocks; /* in the text's order */
  uint32_t count;
  uint32_t *order; /* reverse post-order: order[i] = block; only what can be reached */
  uint32_t reached;
  uint32_t *position; /* inverse of order, PTX_NONE: cannot be reached */
  /* The tree of the depth-first search. Its numbers count blocks in the order in which they are found. */
  uint32_t *found;  /* found[number] = block */
  uint32_t *number; /* inverse of found */
  uint32_t *parent; /* by number */
};

static void depth_first(struct graph *graph) {
  struct parser *parser = graph->parser;
  uint32_t *stack = parser_alloc(parser, (graph->count + 1) * sizeof *stack);
  uint32_t *edge = parser_alloc(parser, (graph->count + 1) * sizeof *edge);
  bool *seen = parser_alloc(parser, graph->count + 1);
  uint32_t depth = 1, finished = 0, found = 1;
  graph->order = parser_alloc(parser, (graph->count + 1) * sizeof *graph->order);
  graph->position = parser_alloc(parser, (graph->count + 1) * sizeof *graph->position);
  graph->found = parser_alloc(parser, (graph->count + 1) * sizeof *graph->found);
  graph->number = parser_alloc(parser, (graph->count + 1) * sizeof *graph->number);
  graph->parent = parser_alloc(parser, (graph->count + 1) * sizeof *graph->parent);
  memset(graph->position, 0xff, graph->count * sizeof *graph->position);
  stack[0] = 0;
  seen[0] = true;
  while (depth) {
    uint32_t block = stack[depth - 1];
    if (edge[block] < successor_count(&graph->blocks[block])) {
      uint32_t to = successor(&graph->blocks[block], edge[block]++);
      if (!seen[to]) {
        seen[to] = true;
        stack[depth++] = to;
        graph->parent[found] = graph->number[block];
        graph->number[to] = found;
        graph->found[found++] = to;
      }
    } else {
      graph->order[finished++] = block;
      depth--;
    }
  }
  graph->reached = finished;
  for (uint32_t i = 0; i < finished / 2; i++) {
    uint32_t other = graph->order[finished - 1 - i];
    graph->order[finished - 1 - i] = graph->order[i];
    graph->order[i] = other;
  }
  for (uint32_t i = 0; i < finished; i++) graph->position[graph->order[i]] = i;
}

/* Lists of incoming edges: first[to], link[edge], from[edge]; edge 0 ends a list. All in positions. */
struct incoming {
  uint32_t *first, *link, *from;
};

static struct incoming find_incoming(const struct graph *graph) {
  struct parser *parser = graph->parser;
  uint32_t edges = 0;
  for (uint32_t p = 0; p < graph->reached; p++) edges += successor_count(&graph->blocks[graph->order[p]]);
  struct incoming in = {.first = parser_alloc(parser, (graph->reached + 1) * sizeof *in.first),
                        .link = parser_alloc(parser, (edges + 1) * sizeof *in.link),
                        .from = parser_alloc(parser, (edges + 1) * sizeof *in.from)};
  edges = 0;
  for (uint32_t p = 0; p < graph->reached; p++) {
    const struct ptx_block *block = &graph->blocks[graph->order[p]];
    for (uint32_t s = 0; s < successor_count(block); s++) {
      uint32_t to = graph->position[successor(block, s)];
      in.from[++edges] = p;
      in.link[edges] = in.first[to];
      in.first[to] = edges;
    }
  }
  return in;
}

/* The dominator tree, as ranges: a dominates b if b's place lies in [place[a], place[a] + size[a]). By position. */
struct dominators {
  uint32_t *place, *size;
};

static bool dominates(const struct dominators *tree, uint32_t a, uint32_t b) {
  return tree->place[b] - tree->place[a] < tree->size[a];
}

/* Semi-dominators and nearest common ancestors (Georgiadis, "Linear-Time Algorithms for Dominators and Related
 * Problems", 2.3), on the numbers of the depth-first search: nearly linear on any graph that a text can hold. */
struct ancestors {
  uint32_t *parent, *semi, *label, *stack; /* parent: compressed on the way */
};

/* Of v and its ancestors down to `linked`, the label of the one with the smallest semi-dominator. */
static uint32_t evaluate(const struct ancestors *tree, uint32_t v, uint32_t linked) {
  if (tree->parent[v] < linked) return tree->label[v];
  uint32_t depth = 0;
  while (tree->parent[v] >= linked) {
    tree->stack[depth++] = v;
    v = tree->parent[v];
  }
  uint32_t above = v, best = tree->label[v];
  while (depth) {
    v = tree->stack[--depth];
    tree->parent[v] = tree->parent[above];
    if (tree->semi[best] < tree->semi[tree->label[v]])
      tree->label[v] = best;
    else
      best = tree->label[v];
    above = v;
  }
  return best;
}

static struct dominators find_dominators(const struct graph *graph, const struct incoming *in) {
  struct parser *parser = graph->parser;
  const uint32_t count = graph->reached;
  const size_t bytes = (count + 1) * sizeof(uint32_t);
  uint32_t *idom = parser_alloc(parser, bytes), *size = parser_alloc(parser, bytes);
  uint32_t *cursor = parser_alloc(parser, bytes);
  struct ancestors tree = {.parent = parser_alloc(parser, bytes),
                           .semi = parser_alloc(parser, bytes),
                           .label = parser_alloc(parser, bytes),
                           .stack = parser_alloc(parser, bytes)};
  for (uint32_t v = 0; v < count; v++) {
    idom[v] = tree.parent[v] = graph->parent[v];
    tree.semi[v] = tree.label[v] = v;
    size[v] = 1;
  }
  for (uint32_t v = count; v-- > 1;) {
    tree.semi[v] = graph->parent[v];
    for (uint32_t e = in->first[graph->position[graph->found[v]]]; e; e = in->link[e]) {
      uint32_t u = evaluate(&tree, graph->number[graph->order[in->from[e]]], v + 1);
      if (tree.semi[u] < tree.semi[v]) tree.semi[v] = tree.semi[u];
    }
  }
  for (uint32_t v = 1; v < count; v++)
    while (idom[v] > tree.semi[v]) idom[v] = idom[idom[v]];
  for (uint32_t v = count; v-- > 1;) size[idom[v]] += size[v];
  struct dominators result = {.place = parser_alloc(parser, bytes), .size = parser_alloc(parser, bytes)};
  for (uint32_t v = 0; v < count; v++) { /* a dominator's number is smaller: its place is known */
    const uint32_t place = v ? cursor[idom[v]] : 0, position = graph->position[graph->found[v]];
    if (v) cursor[idom[v]] += size[v];
    cursor[v] = place + 1;
    result.place[position] = place;
    result.size[position] = size[v];
  }
  return result;
}

/* Moves the blocks of every loop together, keeping their order, outer loops first. A block that stands between two
 * blocks of a loop without belonging to it cannot lead back into the loop, so it may come after it. Fills loop_depth
 * and loop_head (a block, in the text's numbering). */
static void gather_loops(struct graph *graph) {
  struct parser *parser = graph->parser;
  const uint32_t reached = graph->reached;
  const struct incoming in = find_incoming(graph);
  const struct dominators tree = find_dominators(graph, &in);
  const size_t bytes = (reached + 1) * sizeof(uint32_t);
  uint32_t *member = parser_alloc(parser, bytes); /* = head + 1 of the loop being filled */
  uint32_t *stack = parser_alloc(parser, bytes), *merged = parser_alloc(parser, bytes);
  uint32_t *sequence = parser_alloc(parser, bytes), *place = parser_alloc(parser, bytes); /* place: its inverse */
  uint64_t work = 0;
  for (uint32_t p = 0; p < reached; p++) sequence[p] = place[p] = p;
  for (uint32_t head = 0; head < reached; head++) { /* a loop's head comes before those of the loops inside it */
    uint32_t depth = 0, size = 1;
    for (uint32_t e = in.first[head]; e; e = in.link[e]) {
      const uint32_t from = in.from[e];
      if (!dominates(&tree, head, from)) continue;
      member[head] = head + 1;
      if (member[from] == head + 1) continue;
      member[from] = head + 1;
      stack[depth++] = from;
    }
    if (member[head] != head + 1) continue;
    while (depth) {
      uint32_t p = stack[--depth];
      size++;
      for (uint32_t e = in.first[p]; e; e = in.link[e], work++) {
        if (member[in.from[e]] != head + 1) {
          member[in.from[e]] = head + 1;
          stack[depth++] = in.from[e];
        }
      }
    }
    uint32_t at = place[head], inside = 0, outside = 0;
    for (uint32_t i = at; inside < size; i++) {
      uint32_t p = sequence[i];
      if (member[p] == head + 1) {
        struct ptx_block *block = &graph->blocks[graph->order[p]];
        block->loop_depth++;
        block->loop_head = graph->order[head];
        place[p] = at + inside;
        sequence[at + inside++] = p;
      } else {
        merged[outside++] = p;
      }
    }
    for (uint32_t i = 0; i < outside; i++) {
      place[merged[i]] = at + inside + i;
      sequence[at + inside + i] = merged[i];
    }
    work += inside + outside;
    if (work > LOOP_LIMIT)
      parser_fail(parser, graph->function->line, "the loops of kernel '%s' are nested too deeply",
                  graph->function->name);
  }
  uint32_t *order = parser_alloc(parser, bytes);
  for (uint32_t p = 0; p < reached; p++) order[p] = graph->order[sequence[p]];
  graph->order = order;
  for (uint32_t p = 0; p < reached; p++) graph->position[order[p]] = p;
}

static void cut_blocks(struct builder *builder) {
  struct parser *parser = builder->parser;
  struct ptx_function *function = builder->function;
  uint32_t items = builder->item_count;
  uint32_t *block_of_label = parser_alloc(parser, (builder->label_count + 1) * sizeof *block_of_label);
  struct ptx_instruction *instructions = parser_alloc(parser, (items + 1) * sizeof *instructions);
  struct ptx_block *blocks = parser_alloc(parser, (items + 2) * sizeof *blocks);
  uint32_t *last_item = parser_alloc(parser, (items + 2) * sizeof *last_item);
  uint32_t count = 0, written = 0;
  memset(block_of_label, 0xff, (builder->label_count + 1) * sizeof *block_of_label);
  bool open = false;
  for (uint32_t i = 0; i < items; i++) {
    struct item *item = &builder->items[i];
    if (item->instruction.op == LABEL) {
      /* Labels that follow each other, or follow the end of a block, name the same block. */
      if (open && blocks[count - 1].count) open = false;
      if (!open) blocks[count++] = (struct ptx_block){.first = written, .next = PTX_NONE, .loop_head = PTX_NONE};
      open = true;
      last_item[count - 1] = i;
      block_of_label[item->label] = count - 1;
      continue;
    }
    if (!open) blocks[count++] = (struct ptx_block){.first = written, .next = PTX_NONE, .loop_head = PTX_NONE};
    open = !ends_block(&item->instruction);
    last_item[count - 1] = i;
    blocks[count - 1].count++;
    instructions[written++] = item->instruction;
    if (count > BLOCK_LIMIT)
      parser_fail(parser, function->line, "kernel '%s' has more than %d basic blocks", function->name, BLOCK_LIMIT);
  }
  /* The end of the text is a return. */
  blocks[count] = (struct ptx_block){.first = written, .count = 1, .next = PTX_NONE, .loop_head = PTX_NONE};
  instructions[written] = (struct ptx_instruction){.op = PTX_RET, .guard = PTX_NONE, .line = function->line};
  count++;
  for (uint32_t b = 0; b + 1 < count; b++) {
    struct ptx_block *block = &blocks[b];
    const struct item *item = &builder->items[last_item[b]];
    bool ends = block->count && ends_block(&item->instruction);
    if (!ends || falls_through(&item->instruction)) block->next = b + 1;
    if (!ends) continue;
    if (item->instruction.op == PTX_BRA) {
      block->target_count = 1;
      block->targets = parser_alloc(parser, sizeof *block->targets);
      block->targets[0] = block_of_label[item->label];
    } else if (item->instruction.op == PTX_BRX) {
      block->target_count = item->label_count;
      block->targets = parser_alloc(parser, (item->label_count + 1) * sizeof *block->targets);
      for (uint32_t k = 0; k < item->label_count; k++) block->targets[k] = block_of_label[item->labels[k]];
    }
  }
  struct graph graph = {.parser = parser, .function = function, .blocks = blocks, .count = count};
  depth_first(&graph);
  gather_loops(&graph);
  function->block_count = graph.reached;
  function->blocks = parser_alloc(parser, graph.reached * sizeof *function->blocks);
  function->instructions = parser_alloc(parser, (written + 1) * sizeof *function->instructions);
  for (uint32_t p = 0; p < graph.reached; p++) {
    struct ptx_block *block = &function->blocks[p];
    *block = blocks[graph.order[p]];
    memcpy(function->instructions + function->instruction_count, instructions + block->first,
           block->count * sizeof *instructions);
    block->first = function->instruction_count;
    function->instruction_count += block->count;
    if (block->next != PTX_NONE) block->next = graph.position[block->next];
    if (block->loop_head != PTX_NONE) block->loop_head = graph.position[block->loop_head];
    for (uint32_t k = 0; k < block->target_count; k++) block->targets[k] = graph.position[block->targets[k]];
    for (uint32_t i = 0; i < block->count; i++) {
      const uint16_t op = function->instructions[block->first + i].op;
      if (op == PTX_BAR || op == PTX_MBARRIER) function->has_barrier = true;
    }
  }
}

/* ---- the kernel ---- */

/* Numbers only the registers that occur: a text may declare any number of them, and inlining declares them again. */
static void count_registers(struct builder *builder) {
  struct parser *parser = builder->parser;
  struct ptx_function *function = builder->function;
  const struct body *declared = builder->registers;
  uint32_t *number = parser_alloc(parser, (declared->register_count + 1) * sizeof *number);
  for (int pass = 0; pass < 2; pass++) { /* first which, then their numbers */
    for (uint32_t i = 0; i < function->instruction_count; i++) {
      struct ptx_instruction *instruction = &function->instructions[i];
      uint32_t *guard = instruction->guard == PTX_NONE ? NULL : &instruction->guard;
      for (unsigned k = 0; k < 1u + instruction->dst_count + instruction->src_count; k++) {
        struct ptx_operand *operand = NULL;
        if (k > instruction->dst_count)
          operand = &instruction->src[k - 1 - instruction->dst_count];
        else if (k)
          operand = &instruction->dst[k - 1];
        if (operand && operand->kind != PTX_OPERAND_REGISTER) continue;
        uint32_t *index = k ? &operand->index : guard;
        if (!index) continue;
        if (pass)
          *index = number[*index] - 1;
        else
          number[*index] = 1;
      }
    }
    if (pass) break;
    for (uint32_t r = 0; r < declared->register_count; r++)
      if (number[r]) number[r] = ++function->register_count;
  }
  function->register_class = arena_alloc(parser->module->arena, function->register_count + 1);
  if (!function->register_class) parser_fail(parser, 0, "out of memory");
  for (uint32_t r = 0; r < declared->register_count; r++)
    if (number[r]) function->register_class[number[r] - 1] = declared->register_class[r];
}

static void *keep(struct parser *parser, const void *array, size_t bytes) {
  void *copy = arena_alloc(parser->module->arena, bytes);
  if (!copy) parser_fail(parser, 0, "out of memory");
  if (bytes) memcpy(copy, array, bytes);
  return copy;
}

/* Copies what a kernel consists of out of the memory that is given back after lowering. */
static void keep_kernel(struct builder *builder) {
  struct parser *parser = builder->parser;
  struct ptx_function *function = builder->function;
  function->instructions =
      keep(parser, function->instructions, function->instruction_count * sizeof *function->instructions);
  size_t operands = 0;
  for (uint32_t i = 0; i < function->instruction_count; i++)
    operands += function->instructions[i].dst_count + function->instructions[i].src_count;
  struct ptx_operand *place = arena_alloc(parser->module->arena, operands * sizeof *place);
  if (!place) parser_fail(parser, 0, "out of memory");
  for (uint32_t i = 0; i < function->instruction_count; i++) {
    struct ptx_instruction *instruction = &function->instructions[i];
    for (int side = 0; side < 2; side++) {
      struct ptx_operand **list = side ? &instruction->src : &instruction->dst;
      const unsigned count = side ? instruction->src_count : instruction->dst_count;
      if (count) memcpy(place, *list, count * sizeof *place);
      *list = place;
      place += count;
    }
  }
  function->arrays = keep(parser, function->arrays, function->array_count * sizeof *function->arrays);
  function->blocks = keep(parser, function->blocks, function->block_count * sizeof *function->blocks);
  for (uint32_t b = 0; b < function->block_count; b++) {
    struct ptx_block *block = &function->blocks[b];
    block->targets = keep(parser, block->targets, block->target_count * sizeof *block->targets);
  }
}

void lower_kernel(struct parser *parser, struct body *body, struct ptx_function *function, uint32_t stamp) {
  function->name = body->function->name;
  function->line = body->line;
  function->shared_align = 16;
  memcpy(function->max_threads, body->max_threads, sizeof body->max_threads);
  function->max_registers = body->max_registers;
  memcpy(function->required_threads, body->required_threads, sizeof body->required_threads);
  function->parameter_count = body->parameter_count;
  function->parameters = parser_alloc(parser, (body->parameter_count + 1) * sizeof *function->parameters);
  for (uint32_t i = 0; i < body->parameter_count; i++) {
    const struct entity *entity = body->parameters[i];
    function->parameters[i] = (struct ptx_parameter){.name = entity->name,
                                                     .offset = (uint32_t)entity->offset,
                                                     .size = (uint32_t)entity->size,
                                                     .align = entity->align};
    function->parameter_bytes = (uint32_t)(entity->offset + entity->size);
  }
  /* From here on memory, also that of the list of entities, is of use for this kernel only. */
  struct entity **entities = parser->entities;
  const uint32_t entity_count = parser->entity_count, entity_capacity = parser->entity_capacity;
  parser->arena = parser->lowering = arena_create();
  if (!parser->arena) {
    parser->arena = parser->module->arena;
    parser_fail(parser, 0, "out of memory");
  }
  parser->entity_capacity = entity_count; /* growing copies it */
  struct body *registers = parser_alloc(parser, sizeof *registers);
  struct builder builder = {.parser = parser, .function = function, .registers = registers, .stamp = stamp};
  uint32_t base = parser_add_register(parser, registers, PTX_CLASS_PRED, body->register_count);
  if (body->register_count) memcpy(registers->register_class + base, body->register_class, body->register_count);
  body->being_inlined = true;
  inline_body(&builder, body, PTX_NONE, base, 0);
  body->being_inlined = false;
  find_accesses(&builder);
  uint64_t dynamic_offset = align_up(builder.shared_bytes, function->shared_align);
  resolve_symbols(&builder, dynamic_offset);
  function->has_dynamic_shared = builder.has_dynamic_shared;
  function->shared_bytes = (uint32_t)(builder.has_dynamic_shared ? dynamic_offset : builder.shared_bytes);
  function->local_bytes = (uint32_t)align_up(builder.local_bytes, 16);
  cut_blocks(&builder);
  count_registers(&builder);
  keep_kernel(&builder);
  parser->instruction_count += function->instruction_count;
  if (parser->instruction_count > MODULE_LIMIT)
    parser_fail(parser, function->line, "the module has too many instructions once its functions are inlined");
  parser->arena = parser->module->arena;
  arena_destroy(parser->lowering);
  parser->lowering = NULL;
  parser->entities = entities;
  parser->entity_count = entity_count;
  parser->entity_capacity = entity_capacity;
}
