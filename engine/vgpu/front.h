/* Inside the PTX front end (lexer.c, ptx.c, instruction.c, lower.c): arena, tokens, symbols, bodies before inlining. */
#ifndef VGPU_FRONT_H
#define VGPU_FRONT_H

#include <setjmp.h>

#include "engine/vgpu/ptx.h"

/* ---- memory: everything of a module lives in one arena ---- */

struct ptx_arena;
struct ptx_arena *arena_create(void);
void arena_destroy(struct ptx_arena *arena);
void *arena_alloc(struct ptx_arena *arena, size_t bytes); /* zero-filled, aligned to 16; NULL when out of memory */

/* ---- tokens ---- */

enum token_kind {
  TOKEN_END,
  TOKEN_WORD, /* identifier or opcode with its modifiers: "add.s32", "%tid.x", "$L__BB0_1", "ld.global.L1::no_allocate"
               */
  TOKEN_DIRECTIVE, /* ".reg", ".b8": a dot and one identifier */
  TOKEN_NUMBER,
  TOKEN_STRING,
  TOKEN_PUNCTUATION /* one character */
};

struct token {
  enum token_kind kind;
  const char *text;
  size_t length;
  unsigned line;
};

/* ---- symbols ---- */

enum entity_kind { ENTITY_REGISTER, ENTITY_VARIABLE, ENTITY_LABEL, ENTITY_FUNCTION, ENTITY_TARGETS };

struct entity {
  const char *name;
  struct entity *next; /* in the bucket */
  enum entity_kind kind;
  unsigned line;
  /* register: first index; `count` > 0: name<count>. label: number within the body. */
  uint32_t index, count;
  uint8_t class;
  /* variable */
  uint8_t space;
  bool external;       /* .extern: the dynamic shared memory, or defined elsewhere */
  bool call_parameter; /* .param of a device function or of a call: storage of its own */
  uint64_t size;
  uint32_t align;
  uint64_t offset; /* GLOBAL, CONST: within the segment. SHARED, LOCAL and call parameters: per kernel, see stamp */
  uint32_t stamp;  /* number of the kernel for which `offset` holds */
  uint32_t slot;   /* call parameter: its number within that kernel */
  struct ptx_operand *bound; /* formal parameter: the actual argument of the call being inlined */
  /* function */
  struct body *body;
  uint64_t address; /* what a pointer to it holds; 0: none was taken */
  /* branch targets */
  const char **targets;
  uint32_t target_count;
};

struct scope {
  struct scope *parent;
  struct entity **buckets;
  uint32_t bucket_mask, entity_count;
};

/* ---- bodies ---- */

enum statement_kind { STATEMENT_INSTRUCTION, STATEMENT_LABEL, STATEMENT_CALL };

/* Operands of kind SYMBOL hold in `index` the number of the entity in parser->entities, and in `value` an offset. */
struct statement {
  enum statement_kind kind;
  struct ptx_instruction instruction; /* of a call: guard and line; dst = results, src = arguments */
  const char *name;                   /* bra, brx: label or list of targets; call: function */
  struct scope *scope;                /* where `name` is looked up */
  uint32_t label;
};

struct body {
  struct entity *function;
  struct scope *scope;
  struct statement *statements;
  uint32_t statement_count, statement_capacity;
  uint8_t *register_class;
  uint32_t register_count, register_capacity;
  uint32_t label_count;
  struct entity **parameters, **results;
  uint32_t parameter_count, result_count;
  uint32_t max_threads[3], required_threads[3], max_registers;
  uint32_t carry; /* predicate register of the carry flag, or PTX_NONE */
  bool is_entry, defined, being_inlined;
  unsigned line;
};

struct parser {
  struct ptx_arena *arena;    /* where memory is taken from now: module->arena or `lowering` */
  struct ptx_arena *lowering; /* while a kernel is lowered: what is not kept of it */
  struct ptx_module *module;
  struct ptx_error *error;
  jmp_buf escape;
  const char *at, *end;
  unsigned line;
  struct token token; /* the next one */
  unsigned file, source_line, call_file, call_line;
  unsigned red_zone;
  bool region; /* .pragma "noprop.region" came before */
  uint32_t file_capacity;
  struct scope *scope;
  struct entity **entities; /* those that operands refer to by number */
  uint32_t entity_count, entity_capacity;
  struct body **bodies;
  uint32_t body_count, body_capacity;
  struct body *body;                          /* being parsed */
  uint32_t register_count, instruction_count; /* declared in, and lowered of, the whole module */
  struct entity **taken;                      /* functions with an address, in its order */
  uint32_t taken_count, taken_capacity;
};

_Noreturn void parser_fail(struct parser *parser, unsigned line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void *parser_alloc(struct parser *parser, size_t bytes);
/* Room for one more element in a growing array. */
void *parser_grow(struct parser *parser, void *array, uint32_t count, uint32_t *capacity, size_t element);
char *parser_copy(struct parser *parser, const char *text, size_t length);

void lexer_next(struct parser *parser); /* fills parser->token */
bool token_is(const struct parser *parser, char punctuation);
bool token_equals(const struct parser *parser, const char *text);
void token_expect(struct parser *parser, char punctuation);
bool token_accept(struct parser *parser, char punctuation);

struct scope *scope_create(struct parser *parser, struct scope *parent, uint32_t buckets);
struct entity *scope_find(const struct scope *scope, const char *name, size_t length); /* and in its parents */
struct entity *scope_add(struct parser *parser, struct scope *scope, const char *name, size_t length,
                         enum entity_kind kind);
uint32_t parser_add_register(struct parser *parser, struct body *body, enum ptx_register_class class, uint32_t count);
uint32_t parser_entity_number(struct parser *parser, struct entity *entity);

/* A number token's bits as `type` wants them (f32 bits for F32, sign-extended for integers). */
uint64_t parse_number(struct parser *parser, enum ptx_type type);
bool parse_type(const char *text, size_t length, enum ptx_type *type); /* "u32" */
enum ptx_register_class type_class(struct parser *parser, enum ptx_type type);

/* The address of a function: a number that names it, no place in memory. */
uint64_t parser_function_address(struct parser *parser, struct entity *function);

/* instruction.c: one instruction, from its guard to the semicolon, appended to parser->body. */
void parse_instruction(struct parser *parser);
struct statement *body_append(struct parser *parser, enum statement_kind kind);

/* lower.c */
void lower_kernel(struct parser *parser, struct body *body, struct ptx_function *function, uint32_t stamp);

#endif
