/* The PTX front end: directives, declarations, variables and bodies. Instructions are instruction.c's, inlining and the
 * control-flow graph lower.c's. */
#include "engine/vgpu/ptx.h"

#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/front.h"

struct ptx_initialiser { /* `bytes` bytes at `offset`: data, or the address of something */
  struct ptx_initialiser *next;
  uint64_t offset, bytes;
  const unsigned char *data; /* NULL: an address */
  const struct entity *target;
  uint64_t addend;
};

static uint64_t align_up(uint64_t value, uint64_t align) { return (value + align - 1) / align * align; }

/* Sizes and offsets beyond this are refused, so that sums cannot overflow. */
#define SIZE_LIMIT ((uint64_t)1 << 40)

static uint64_t parse_size(struct parser *parser) {
  unsigned line = parser->token.line;
  uint64_t value = parse_number(parser, PTX_U64);
  if (value > SIZE_LIMIT) parser_fail(parser, line, "a size is too large");
  return value;
}

static enum ptx_type parse_type_directive(struct parser *parser) {
  enum ptx_type type;
  const struct token *token = &parser->token;
  if (token->kind != TOKEN_DIRECTIVE || !parse_type(token->text + 1, token->length - 1, &type))
    parser_fail(parser, token->line, "type expected, found '%.*s'", token->length > 60 ? 60 : (int)token->length,
                token->text);
  if (type >= PTX_E4M3) parser_fail(parser, token->line, "a variable cannot have the type .%s", ptx_type_name(type));
  lexer_next(parser);
  return type;
}

static unsigned parse_align(struct parser *parser) {
  unsigned line = parser->token.line;
  uint64_t align = parse_size(parser);
  if (!align || align > 4096 || (align & (align - 1))) parser_fail(parser, line, "an alignment is not a power of two");
  return (unsigned)align;
}

/* ---- variables ---- */

struct declaration {
  struct token name;
  enum ptx_type type;
  uint64_t elements; /* 0: "[]" */
  unsigned vector, align;
};

/* ".align 4 .b8", before the name. Of a variable in global memory it may say that the host sees it, too: here the host
 * sees all of it. */
static void parse_declaration_type(struct parser *parser, enum ptx_space space, struct declaration *declaration) {
  declaration->align = 0;
  declaration->vector = 1;
  for (;;) {
    if (token_equals(parser, ".align")) {
      lexer_next(parser);
      declaration->align = parse_align(parser);
    } else if (token_equals(parser, ".v2")) {
      lexer_next(parser);
      declaration->vector = 2;
    } else if (token_equals(parser, ".v4")) {
      lexer_next(parser);
      declaration->vector = 4;
    } else if (space == PTX_GLOBAL && token_equals(parser, ".attribute")) {
      lexer_next(parser);
      token_expect(parser, '(');
      if (!token_equals(parser, ".managed"))
        parser_fail(parser, parser->token.line, "an attribute of a variable is not .managed");
      lexer_next(parser);
      token_expect(parser, ')');
    } else {
      break;
    }
  }
  declaration->type = parse_type_directive(parser);
  if (token_equals(parser, ".ptr")) { /* what a pointer parameter points to: of use to an optimiser only */
    lexer_next(parser);
    while (parser->token.kind == TOKEN_DIRECTIVE) {
      bool align = token_equals(parser, ".align");
      if (!align && !token_equals(parser, ".global") && !token_equals(parser, ".shared") &&
          !token_equals(parser, ".local") && !token_equals(parser, ".const"))
        parser_fail(parser, parser->token.line, "unknown attribute of a pointer parameter");
      lexer_next(parser);
      if (align) parse_align(parser);
    }
  }
  if (!declaration->align) declaration->align = ptx_type_bytes(declaration->type) * declaration->vector;
}

static void parse_declaration_name(struct parser *parser, struct declaration *declaration) {
  declaration->name = parser->token;
  if (declaration->name.kind != TOKEN_WORD) parser_fail(parser, parser->token.line, "name expected in a declaration");
  if (memchr(declaration->name.text, '.', declaration->name.length))
    parser_fail(parser, parser->token.line, "a declared name contains a dot");
  lexer_next(parser);
  declaration->elements = 1;
  for (bool first = true; token_accept(parser, '['); first = false) {
    uint64_t extent = 0;
    if (!token_is(parser, ']')) extent = parse_size(parser);
    if (!extent && !first) parser_fail(parser, declaration->name.line, "an inner array extent is missing");
    declaration->elements *= extent;
    if (declaration->elements > SIZE_LIMIT) parser_fail(parser, declaration->name.line, "an array is too large");
    token_expect(parser, ']');
  }
}

static void add_initialiser(struct parser *parser, struct ptx_initialiser initialiser) {
  struct ptx_initialiser *added = parser_alloc(parser, sizeof *added);
  *added = initialiser;
  added->next = parser->module->initialisers;
  parser->module->initialisers = added;
}

static void put_value(struct parser *parser, uint64_t bits, unsigned each, uint64_t at, unsigned char **bytes,
                      uint64_t *capacity) {
  if (!*bytes || at + each > *capacity) { /* addresses before it may have moved `at` far on */
    uint64_t wanted = *capacity ? *capacity * 2 : 64;
    while (wanted < at + each) wanted *= 2;
    unsigned char *grown = parser_alloc(parser, wanted);
    if (*bytes) memcpy(grown, *bytes, *capacity);
    *bytes = grown;
    *capacity = wanted;
  }
  memcpy(*bytes + at, &bits, each);
}

/* A list of values, nested braces flattened, into the variable's bytes. */
static uint64_t parse_values(struct parser *parser, const struct declaration *declaration, uint64_t offset, uint64_t at,
                             uint64_t limit, unsigned char **bytes, uint64_t *capacity, int depth) {
  unsigned each = ptx_type_bytes(declaration->type);
  if (depth > 100) parser_fail(parser, parser->token.line, "the braces of an initialiser are nested too deeply");
  do {
    if (token_is(parser, '}')) break;
    if (token_accept(parser, '{')) {
      at = parse_values(parser, declaration, offset, at, limit, bytes, capacity, depth + 1);
      token_expect(parser, '}');
      continue;
    }
    if (at + each > limit) parser_fail(parser, parser->token.line, "an initialiser has too many values");
    if (parser->token.kind == TOKEN_WORD) {
      bool generic = token_equals(parser, "generic");
      if (generic) {
        lexer_next(parser);
        token_expect(parser, '(');
      }
      struct token name = parser->token;
      struct entity *entity = name.kind == TOKEN_WORD ? scope_find(parser->scope, name.text, name.length) : NULL;
      if (entity && entity->kind == ENTITY_FUNCTION && each == 8 && !generic) {
        lexer_next(parser);
        put_value(parser, parser_function_address(parser, entity), each, at, bytes, capacity);
        at += each;
        continue;
      }
      if (!entity || entity->kind != ENTITY_VARIABLE || (entity->space != PTX_GLOBAL && entity->space != PTX_CONST))
        parser_fail(parser, name.line, "an initialiser names '%.*s', which is not a variable declared before it",
                    name.length > 60 ? 60 : (int)name.length, name.text);
      if (each != 8) parser_fail(parser, name.line, "an initialiser puts an address into %u bytes", each);
      lexer_next(parser);
      if (generic) token_expect(parser, ')');
      uint64_t addend = token_is(parser, '+') || token_is(parser, '-') ? parse_number(parser, PTX_U64) : 0;
      add_initialiser(
          parser, (struct ptx_initialiser){.offset = offset + at, .bytes = each, .target = entity, .addend = addend});
    } else {
      uint64_t bits = parse_number(parser, declaration->type);
      put_value(parser, bits, each, at, bytes, capacity);
    }
    at += each;
  } while (token_accept(parser, ','));
  return at;
}

static struct entity *declare_variable(struct parser *parser, struct scope *scope,
                                       const struct declaration *declaration, enum ptx_space space, bool external) {
  unsigned bytes = ptx_type_bytes(declaration->type);
  if (!bytes) parser_fail(parser, declaration->name.line, "a variable has a type without size");
  struct entity *known = scope_find(scope, declaration->name.text, declaration->name.length);
  uint64_t size = declaration->elements * bytes * declaration->vector;
  if (known && known->kind == ENTITY_VARIABLE && known->space == space && (known->external || external) &&
      scope == parser->scope && !parser->body) { /* declared .extern and defined in one module */
    if (!external) {
      known->external = false;
      known->size = size;
      known->align = declaration->align;
    }
    return known;
  }
  struct entity *entity = scope_add(parser, scope, declaration->name.text, declaration->name.length, ENTITY_VARIABLE);
  entity->space = (uint8_t)space;
  entity->external = external;
  entity->size = size;
  entity->align = declaration->align;
  return entity;
}

/* ".global ..." and the like at module level, the space directive already read. */
static void parse_module_variable(struct parser *parser, enum ptx_space space, bool external, bool visible) {
  struct declaration declaration;
  parse_declaration_type(parser, space, &declaration);
  do {
    parse_declaration_name(parser, &declaration);
    uint64_t given = declaration.elements;
    bool unsized = !given;
    struct entity *entity = declare_variable(parser, parser->scope, &declaration, space, external);
    unsigned line = declaration.name.line;
    bool stored = (space == PTX_GLOBAL || space == PTX_CONST) && !external;
    if (space == PTX_SHARED && unsized && !external)
      parser_fail(parser, line, "shared array '%s' has no size and is not .extern", entity->name);
    if (!stored) {
      if (token_is(parser, '=')) parser_fail(parser, line, "'%s' cannot have an initial value", entity->name);
      continue;
    }
    struct ptx_module *module = parser->module;
    entity->offset = align_up(module->segment_bytes, entity->align);
    unsigned char *bytes = NULL;
    uint64_t capacity = 0;
    if (token_accept(parser, '=')) {
      bool braced = token_accept(parser, '{');
      uint64_t limit = unsized ? SIZE_LIMIT : entity->size;
      uint64_t count = 0;
      if (braced) {
        count = parse_values(parser, &declaration, entity->offset, 0, limit, &bytes, &capacity, 0);
        token_expect(parser, '}');
      } else {
        struct declaration one = declaration;
        count = parse_values(parser, &one, entity->offset, 0, ptx_type_bytes(one.type), &bytes, &capacity, 0);
      }
      if (unsized) entity->size = count;
      if (bytes)
        add_initialiser(parser,
                        (struct ptx_initialiser){
                            .offset = entity->offset, .bytes = count < capacity ? count : capacity, .data = bytes});
    } else if (unsized) {
      parser_fail(parser, line, "array '%s' has neither size nor initial values", entity->name);
    }
    module->segment_bytes = entity->offset + entity->size + parser->red_zone;
    if (module->segment_bytes > SIZE_LIMIT) parser_fail(parser, line, "the module's variables are too large");
    uint32_t capacity_now = 16; /* powers of two: grow exactly when the count reaches one */
    while (capacity_now < module->variable_count) capacity_now *= 2;
    if (!module->variables) capacity_now = 0;
    module->variables =
        parser_grow(parser, module->variables, module->variable_count, &capacity_now, sizeof *module->variables);
    module->variables[module->variable_count++] = (struct ptx_variable){.name = entity->name,
                                                                        .space = (uint8_t)space,
                                                                        .visible = visible,
                                                                        .align = entity->align,
                                                                        .offset = entity->offset,
                                                                        .size = entity->size};
  } while (token_accept(parser, ','));
  token_expect(parser, ';');
}

/* ---- bodies ---- */

static void parse_registers(struct parser *parser) {
  lexer_next(parser);
  enum ptx_type type = parse_type_directive(parser);
  enum ptx_register_class class = type_class(parser, type);
  do {
    struct token name = parser->token;
    if (name.kind != TOKEN_WORD) parser_fail(parser, name.line, "register name expected");
    if (memchr(name.text, '.', name.length)) parser_fail(parser, name.line, "a register's name contains a dot");
    lexer_next(parser);
    uint64_t count = 0;
    if (token_accept(parser, '<')) {
      count = parse_size(parser);
      token_expect(parser, '>');
      if (!count || count > 1 << 24) parser_fail(parser, name.line, "the number of registers is out of range");
    }
    struct entity *entity = scope_add(parser, parser->scope, name.text, name.length, ENTITY_REGISTER);
    entity->class = (uint8_t) class;
    entity->count = (uint32_t)count;
    entity->index = parser_add_register(parser, parser->body, class, count ? (uint32_t)count : 1);
  } while (token_accept(parser, ','));
  token_expect(parser, ';');
}

static void parse_body_variable(struct parser *parser, enum ptx_space space) {
  lexer_next(parser);
  struct declaration declaration;
  parse_declaration_type(parser, space, &declaration);
  do {
    parse_declaration_name(parser, &declaration);
    if (!declaration.elements) parser_fail(parser, declaration.name.line, "an array in a function has no size");
    struct entity *entity = declare_variable(parser, parser->scope, &declaration, space, false);
    entity->call_parameter = space == PTX_PARAM;
    if (token_is(parser, '='))
      parser_fail(parser, declaration.name.line, "a variable of a function has an initial value");
  } while (token_accept(parser, ','));
  token_expect(parser, ';');
}

static void skip_line_rest(struct parser *parser, unsigned line) {
  while (parser->token.kind != TOKEN_END && parser->token.line == line) lexer_next(parser);
}

/* ".loc file line column [, function_name label [+ offset], inlined_at file line column]" */
static void parse_loc(struct parser *parser) {
  unsigned line = parser->token.line;
  lexer_next(parser);
  parser->file = (unsigned)parse_size(parser);
  parser->source_line = (unsigned)parse_size(parser);
  parser->call_file = parser->call_line = 0;
  while (parser->token.kind != TOKEN_END && parser->token.line == line) {
    const bool call = token_equals(parser, "inlined_at");
    lexer_next(parser);
    if (!call) continue;
    parser->call_file = (unsigned)parse_size(parser);
    parser->call_line = (unsigned)parse_size(parser);
  }
}

/* Pragmas are for other compilers, but for the mark of kernels/regions.h on the next instruction. */
static void parse_pragma(struct parser *parser) {
  static const char mark[] = "noprop.region";
  lexer_next(parser);
  do {
    if (parser->token.kind != TOKEN_STRING) parser_fail(parser, parser->token.line, "string expected after .pragma");
    const struct token token = parser->token;
    if (token.length == strlen(mark) && memcmp(token.text, mark, token.length) == 0) parser->region = true;
    lexer_next(parser);
  } while (token_accept(parser, ','));
  token_expect(parser, ';');
}

static void parse_targets(struct parser *parser, struct token name) {
  struct entity *entity = scope_add(parser, parser->scope, name.text, name.length, ENTITY_TARGETS);
  uint32_t capacity = 0;
  lexer_next(parser);
  do {
    if (parser->token.kind != TOKEN_WORD) parser_fail(parser, parser->token.line, "label expected in .branchtargets");
    entity->targets = parser_grow(parser, entity->targets, entity->target_count, &capacity, sizeof *entity->targets);
    entity->targets[entity->target_count++] = parser_copy(parser, parser->token.text, parser->token.length);
    lexer_next(parser);
  } while (token_accept(parser, ','));
  token_expect(parser, ';');
}

static void skip_statement(struct parser *parser) {
  while (!token_is(parser, ';')) {
    if (parser->token.kind == TOKEN_END) parser_fail(parser, parser->token.line, "';' expected");
    lexer_next(parser);
  }
  lexer_next(parser);
}

static bool peek_colon(const struct parser *parser) {
  const char *at = parser->at;
  while (at < parser->end && (*at == ' ' || *at == '\t')) at++;
  return at < parser->end && *at == ':' && !(parser->end - at >= 2 && at[1] == ':');
}

static void parse_block(struct parser *parser, int depth) {
  if (depth > 200) parser_fail(parser, parser->token.line, "blocks are nested too deeply");
  while (!token_is(parser, '}')) {
    const struct token token = parser->token;
    if (token.kind == TOKEN_END) parser_fail(parser, token.line, "the text ends inside a function");
    if (token.kind == TOKEN_WORD && peek_colon(parser)) {
      lexer_next(parser);
      token_expect(parser, ':');
      if (token_equals(parser, ".branchtargets")) {
        parse_targets(parser, token);
      } else if (token_equals(parser, ".callprototype") || token_equals(parser, ".calltargets")) {
        skip_statement(parser); /* the callee's parameters say the same */
      } else {
        struct entity *entity = scope_add(parser, parser->scope, token.text, token.length, ENTITY_LABEL);
        entity->index = parser->body->label_count++;
        body_append(parser, STATEMENT_LABEL)->label = entity->index;
      }
    } else if (token_accept(parser, '{')) {
      struct scope *outer = parser->scope;
      parser->scope = scope_create(parser, outer, 8);
      parse_block(parser, depth + 1);
      lexer_next(parser);
      parser->scope = outer;
    } else if (token_accept(parser, ';')) {
      continue;
    } else if (token_equals(parser, ".reg")) {
      parse_registers(parser);
    } else if (token_equals(parser, ".local")) {
      parse_body_variable(parser, PTX_LOCAL);
    } else if (token_equals(parser, ".shared")) {
      parse_body_variable(parser, PTX_SHARED);
    } else if (token_equals(parser, ".param")) {
      parse_body_variable(parser, PTX_PARAM);
    } else if (token_equals(parser, ".loc")) {
      parse_loc(parser);
    } else if (token_equals(parser, ".pragma")) {
      parse_pragma(parser);
    } else if (token.kind == TOKEN_DIRECTIVE) {
      parser_fail(parser, token.line, "directive '%.*s' is not implemented inside a function",
                  token.length > 60 ? 60 : (int)token.length, token.text);
    } else {
      parse_instruction(parser);
    }
  }
}

/* ---- functions ---- */

/* "( .param .b32 x, ... )" */
static void parse_formals(struct parser *parser, struct body *body, struct entity ***list, uint32_t *count) {
  uint32_t capacity = 0;
  uint64_t offset = 0;
  *count = 0;
  token_expect(parser, '(');
  while (!token_is(parser, ')')) {
    if (*count) token_expect(parser, ',');
    struct entity *entity;
    *list = parser_grow(parser, *list, *count, &capacity, sizeof **list);
    if (*count == 4000) parser_fail(parser, parser->token.line, "a function has too many parameters");
    if (token_equals(parser, ".reg") && !body->is_entry) {
      lexer_next(parser);
      enum ptx_type type = parse_type_directive(parser);
      struct token name = parser->token;
      if (name.kind != TOKEN_WORD) parser_fail(parser, name.line, "register name expected");
      lexer_next(parser);
      entity = scope_add(parser, body->scope, name.text, name.length, ENTITY_REGISTER);
      entity->class = (uint8_t)type_class(parser, type);
      entity->index = parser_add_register(parser, body, entity->class, 1);
    } else {
      if (!token_equals(parser, ".param")) parser_fail(parser, parser->token.line, "'.param' expected");
      lexer_next(parser);
      struct declaration declaration;
      parse_declaration_type(parser, PTX_PARAM, &declaration);
      parse_declaration_name(parser, &declaration);
      if (!declaration.elements)
        parser_fail(parser, declaration.name.line, "a parameter without size is not implemented");
      entity = declare_variable(parser, body->scope, &declaration, PTX_PARAM, false);
      entity->call_parameter = !body->is_entry;
      offset = align_up(offset, entity->align);
      entity->offset = offset;
      offset += entity->size;
      if (offset > 32764) parser_fail(parser, declaration.name.line, "the parameters exceed 32764 bytes");
    }
    (*list)[(*count)++] = entity;
  }
  lexer_next(parser);
}

static void parse_extent(struct parser *parser, uint32_t extent[3]) {
  lexer_next(parser);
  extent[0] = extent[1] = extent[2] = 1;
  for (int i = 0; i < 3; i++) {
    uint64_t value = parse_size(parser);
    extent[i] = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
    if (!token_accept(parser, ',')) break;
  }
}

static void parse_function(struct parser *parser, bool is_entry) {
  struct body *body = parser_alloc(parser, sizeof *body);
  body->is_entry = is_entry;
  body->carry = PTX_NONE;
  body->scope = scope_create(parser, parser->scope, 256);
  body->line = parser->token.line;
  if (!is_entry && token_is(parser, '(')) parse_formals(parser, body, &body->results, &body->result_count);
  struct token name = parser->token;
  if (name.kind != TOKEN_WORD) parser_fail(parser, name.line, "function name expected");
  lexer_next(parser);
  if (token_is(parser, '(')) parse_formals(parser, body, &body->parameters, &body->parameter_count);
  while (parser->token.kind == TOKEN_DIRECTIVE) {
    if (token_equals(parser, ".maxntid")) {
      parse_extent(parser, body->max_threads);
    } else if (token_equals(parser, ".reqntid")) {
      parse_extent(parser, body->required_threads);
    } else if (token_equals(parser, ".maxnreg")) {
      lexer_next(parser);
      const uint64_t registers = parse_size(parser);
      body->max_registers = registers > 255 ? 255 : (uint32_t)registers;
    } else if (token_equals(parser, ".minnctapersm") || token_equals(parser, ".maxnctapersm")) {
      lexer_next(parser);
      parse_size(parser);
    } else if (token_equals(parser, ".noreturn")) {
      lexer_next(parser);
    } else if (token_equals(parser, ".pragma")) {
      parse_pragma(parser);
    } else {
      parser_fail(parser, parser->token.line, "directive '%.*s' is not implemented",
                  parser->token.length > 60 ? 60 : (int)parser->token.length, parser->token.text);
    }
  }
  struct entity *entity = scope_find(parser->scope, name.text, name.length);
  if (!entity) entity = scope_add(parser, parser->scope, name.text, name.length, ENTITY_FUNCTION);
  if (entity->kind != ENTITY_FUNCTION || (entity->body && entity->body->defined && token_is(parser, '{')))
    parser_fail(parser, name.line, "'%s' is declared twice", entity->name);
  if (token_accept(parser, ';')) {
    if (!entity->body) entity->body = body;
    body->function = entity;
    return;
  }
  entity->body = body;
  body->function = entity;
  body->defined = true;
  token_expect(parser, '{');
  struct scope *outer = parser->scope;
  parser->scope = body->scope;
  parser->body = body;
  parser->file = parser->source_line = parser->call_file = parser->call_line = 0;
  parse_block(parser, 0);
  parser->scope = outer;
  parser->body = NULL;
  lexer_next(parser);
  parser->bodies =
      parser_grow(parser, parser->bodies, parser->body_count, &parser->body_capacity, sizeof *parser->bodies);
  parser->bodies[parser->body_count++] = body;
}

/* ---- the module ---- */

static void parse_version(struct parser *parser) {
  lexer_next(parser);
  struct token token = parser->token;
  char text[16] = {0};
  if (token.kind != TOKEN_NUMBER || token.length >= sizeof text) parser_fail(parser, token.line, "version expected");
  memcpy(text, token.text, token.length);
  char *dot;
  parser->module->version_major = (unsigned)strtoul(text, &dot, 10);
  if (*dot != '.') parser_fail(parser, token.line, "version expected");
  parser->module->version_minor = (unsigned)strtoul(dot + 1, &dot, 10);
  if (parser->module->version_major < 6 || parser->module->version_major > 9)
    parser_fail(parser, token.line, "PTX version %s is not supported (6.0 to 9.x are)", text);
  lexer_next(parser);
}

static void parse_target(struct parser *parser) {
  lexer_next(parser);
  struct token token = parser->token;
  char text[24] = {0};
  if (token.kind == TOKEN_WORD && token.length < sizeof text) memcpy(text, token.text, token.length);
  if (strncmp(text, "sm_", 3) != 0) parser_fail(parser, token.line, "target 'sm_NN' expected");
  char *end;
  parser->module->target = (unsigned)strtoul(text + 3, &end, 10);
  lexer_next(parser);
  while (token_accept(parser, ',')) {
    if (!token_equals(parser, "debug") && !token_equals(parser, "texmode_independent") &&
        !token_equals(parser, "texmode_unified"))
      parser_fail(parser, parser->token.line, "target option is not implemented");
    lexer_next(parser);
  }
}

static void parse_file(struct parser *parser) {
  unsigned line = parser->token.line;
  lexer_next(parser);
  uint64_t number = parse_size(parser);
  struct ptx_module *module = parser->module;
  if (number > 100000 || parser->token.kind != TOKEN_STRING) parser_fail(parser, line, ".file is malformed");
  if (number >= parser->file_capacity) {
    const uint32_t capacity = (uint32_t)number * 2 + 16;
    const char **files = parser_alloc(parser, capacity * sizeof *files);
    if (module->file_count) memcpy(files, module->files, module->file_count * sizeof *files);
    module->files = files;
    parser->file_capacity = capacity;
  }
  if (number >= module->file_count) module->file_count = (uint32_t)number + 1;
  module->files[number] = parser_copy(parser, parser->token.text, parser->token.length);
  skip_line_rest(parser, line);
}

/* ".section .debug_str { ... }": debugging data */
static void skip_section(struct parser *parser) {
  while (parser->token.kind != TOKEN_END && !token_is(parser, '{')) lexer_next(parser);
  token_expect(parser, '{');
  while (!token_is(parser, '}')) {
    if (parser->token.kind == TOKEN_END) parser_fail(parser, parser->token.line, "the text ends inside a .section");
    lexer_next(parser);
  }
  lexer_next(parser);
}

static void parse_module(struct parser *parser) {
  lexer_next(parser);
  if (!token_equals(parser, ".version"))
    parser_fail(parser, parser->token.line, "the text does not start with .version");
  while (parser->token.kind != TOKEN_END) {
    bool external = false, visible = false;
    while (token_equals(parser, ".visible") || token_equals(parser, ".extern") || token_equals(parser, ".weak") ||
           token_equals(parser, ".common")) {
      if (token_equals(parser, ".extern"))
        external = true;
      else
        visible = true;
      lexer_next(parser);
    }
    const struct token token = parser->token;
    if (token_equals(parser, ".version")) {
      parse_version(parser);
    } else if (token_equals(parser, ".target")) {
      parse_target(parser);
    } else if (token_equals(parser, ".address_size")) {
      lexer_next(parser);
      if (parse_size(parser) != 64) parser_fail(parser, token.line, "only 64-bit addresses are implemented");
    } else if (token_equals(parser, ".global") || token_equals(parser, ".const") || token_equals(parser, ".shared")) {
      enum ptx_space space = token.text[1] == 'g' ? PTX_GLOBAL : token.text[1] == 'c' ? PTX_CONST : PTX_SHARED;
      lexer_next(parser);
      parse_module_variable(parser, space, external, visible);
    } else if (token_equals(parser, ".entry")) {
      lexer_next(parser);
      parse_function(parser, true);
    } else if (token_equals(parser, ".func")) {
      lexer_next(parser);
      parse_function(parser, false);
    } else if (token_equals(parser, ".file")) {
      parse_file(parser);
    } else if (token_equals(parser, ".loc")) {
      parse_loc(parser);
    } else if (token_equals(parser, ".section")) {
      skip_section(parser);
    } else if (token_equals(parser, ".pragma")) {
      parse_pragma(parser);
    } else if (token_accept(parser, ';')) {
      continue;
    } else {
      parser_fail(parser, token.line, "'%.*s' is not implemented at module level",
                  token.length > 60 ? 60 : (int)token.length, token.text);
    }
  }
}

static void lower_all(struct parser *parser) {
  struct ptx_module *module = parser->module;
  uint32_t kernels = 0;
  for (uint32_t i = 0; i < parser->body_count; i++) kernels += parser->bodies[i]->is_entry;
  module->functions = parser_alloc(parser, (kernels + 1) * sizeof *module->functions);
  for (uint32_t i = 0; i < parser->body_count; i++) {
    if (!parser->bodies[i]->is_entry) continue;
    struct ptx_function *function = &module->functions[module->function_count++];
    function->module = module;
    lower_kernel(parser, parser->bodies[i], function, module->function_count);
  }
}

struct ptx_module *ptx_parse(const char *text, size_t length, struct ptx_error *error) {
  return ptx_parse_spaced(text, length, 0, error);
}

struct ptx_module *ptx_parse_spaced(const char *text, size_t length, unsigned red_zone, struct ptx_error *error) {
  *error = (struct ptx_error){.reason = "out of memory"};
  struct ptx_arena *arena = arena_create();
  struct ptx_module *module = arena ? arena_alloc(arena, sizeof *module) : NULL;
  struct parser *parser = arena ? arena_alloc(arena, sizeof *parser) : NULL;
  if (!module || !parser) {
    arena_destroy(arena);
    return NULL;
  }
  module->arena = arena;
  *parser = (struct parser){.arena = arena,
                            .module = module,
                            .error = error,
                            .at = text,
                            .end = text + length,
                            .line = 1,
                            .red_zone = red_zone};
  if (setjmp(parser->escape)) {
    arena_destroy(parser->lowering);
    arena_destroy(arena);
    return NULL;
  }
  parser->scope = scope_create(parser, NULL, 1024);
  parse_module(parser);
  lower_all(parser);
  return module;
}

void ptx_place(struct ptx_module *module, void *segment) {
  module->segment = segment;
  if (module->segment_bytes) memset(segment, 0, module->segment_bytes);
  for (const struct ptx_initialiser *initialiser = module->initialisers; initialiser; initialiser = initialiser->next) {
    unsigned char *place = module->segment + initialiser->offset;
    if (initialiser->data) memcpy(place, initialiser->data, initialiser->bytes);
  }
  for (const struct ptx_initialiser *initialiser = module->initialisers; initialiser; initialiser = initialiser->next) {
    if (initialiser->data) continue;
    uint64_t address = (uint64_t)(uintptr_t)(module->segment + initialiser->target->offset) + initialiser->addend;
    memcpy(module->segment + initialiser->offset, &address, initialiser->bytes);
  }
}

const struct ptx_function *ptx_find_function(const struct ptx_module *module, const char *name) {
  for (uint32_t i = 0; i < module->function_count; i++)
    if (strcmp(module->functions[i].name, name) == 0) return &module->functions[i];
  return NULL;
}

const struct ptx_variable *ptx_find_variable(const struct ptx_module *module, const char *name) {
  for (uint32_t i = 0; i < module->variable_count; i++)
    if (strcmp(module->variables[i].name, name) == 0) return &module->variables[i];
  return NULL;
}

void ptx_free(struct ptx_module *module) {
  if (module) arena_destroy(module->arena);
}
