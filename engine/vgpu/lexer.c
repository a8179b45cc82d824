/* Arena, tokens and symbol tables of the PTX front end. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/front.h"

/* ---- arena ---- */

struct chunk {
  struct chunk *next;
  size_t used, size;
};

struct ptx_arena {
  struct chunk *chunks;
};

enum { CHUNK_HEADER = (sizeof(struct chunk) + 15) / 16 * 16, CHUNK_BYTES = 1 << 16 };

struct ptx_arena *arena_create(void) {
  return calloc(1, sizeof(struct ptx_arena));
}

void arena_destroy(struct ptx_arena *arena) {
  if (!arena) return;
  for (struct chunk *chunk = arena->chunks, *next; chunk; chunk = next) {
    next = chunk->next;
    free(chunk);
  }
  free(arena);
}

void *arena_alloc(struct ptx_arena *arena, size_t bytes) {
  bytes = (bytes + 15) / 16 * 16;
  struct chunk *chunk = arena->chunks;
  if (!chunk || chunk->size - chunk->used < bytes) {
    size_t size = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
    chunk = calloc(1, CHUNK_HEADER + size);
    if (!chunk) return NULL;
    chunk->size = size;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
  }
  void *memory = (char *)chunk + CHUNK_HEADER + chunk->used;
  chunk->used += bytes;
  return memory;
}

/* ---- parser basics ---- */

void parser_fail(struct parser *parser, unsigned line, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  parser->error->line = line;
  vsnprintf(parser->error->reason, sizeof parser->error->reason, format, arguments);
  va_end(arguments);
  longjmp(parser->escape, 1);
}

void *parser_alloc(struct parser *parser, size_t bytes) {
  void *memory = arena_alloc(parser->arena, bytes);
  if (!memory) parser_fail(parser, parser->line, "out of memory");
  return memory;
}

void *parser_grow(struct parser *parser, void *array, uint32_t count, uint32_t *capacity, size_t element) {
  if (count < *capacity) return array;
  if (*capacity > UINT32_MAX / 4) parser_fail(parser, parser->line, "the module is too large");
  uint32_t wanted = *capacity ? *capacity * 2 : 16;
  void *grown = parser_alloc(parser, wanted * element);
  if (count) memcpy(grown, array, count * element);
  *capacity = wanted;
  return grown;
}

char *parser_copy(struct parser *parser, const char *text, size_t length) {
  char *copy = parser_alloc(parser, length + 1);
  memcpy(copy, text, length);
  copy[length] = 0;
  return copy;
}

/* ---- tokens ---- */

static bool is_word_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || c == '%';
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_word_part(char c) { return is_word_start(c) || is_digit(c); }

static void skip_blank(struct parser *parser) {
  const char *at = parser->at, *end = parser->end;
  while (at < end) {
    if (*at == '\n') {
      parser->line++;
      at++;
    } else if (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\f' || *at == '\v' || *at == 0) {
      at++;
    } else if (end - at >= 2 && at[0] == '/' && at[1] == '/') {
      while (at < end && *at != '\n') at++;
    } else if (end - at >= 2 && at[0] == '/' && at[1] == '*') {
      unsigned start = parser->line;
      at += 2;
      while (at < end && !(end - at >= 2 && at[0] == '*' && at[1] == '/')) {
        if (*at == '\n') parser->line++;
        at++;
      }
      if (at >= end) parser_fail(parser, start, "a comment does not end");
      at += 2;
    } else {
      break;
    }
  }
  parser->at = at;
}

void lexer_next(struct parser *parser) {
  skip_blank(parser);
  struct token *token = &parser->token;
  const char *at = parser->at, *end = parser->end, *start = at;
  token->text = start;
  token->line = parser->line;
  if (at >= end) {
    token->kind = TOKEN_END;
    token->length = 0;
    return;
  }
  if (is_word_start(*at)) {
    token->kind = TOKEN_WORD;
    while (at < end) {
      if (is_word_part(*at)) {
        at++;
      } else if (*at == '.' && end - at >= 2 && is_word_part(at[1])) {
        at++;
      } else if (*at == ':' && end - at >= 3 && at[1] == ':' && is_word_part(at[2])) {
        at += 2;
      } else {
        break;
      }
    }
  } else if (*at == '.' && end - at >= 2 && is_word_start(at[1])) {
    token->kind = TOKEN_DIRECTIVE;
    for (at++; at < end && is_word_part(*at);) at++;
    if (end - at >= 3 && at[0] == ':' && at[1] == ':') { /* ".param::entry" */
      for (at += 2; at < end && is_word_part(*at);) at++;
    }
  } else if (is_digit(*at)) {
    token->kind = TOKEN_NUMBER;
    while (at < end && (is_word_part(*at) || *at == '.')) {
      bool exponent =
          (*at == 'e' || *at == 'E') && !(end - start >= 2 && start[0] == '0' && strchr("xXfFdDbB", start[1]));
      at++;
      if (exponent && at < end && (*at == '-' || *at == '+')) at++;
    }
  } else if (*at == '"') {
    token->kind = TOKEN_STRING;
    for (at++; at < end && *at != '"' && *at != '\n';) at++;
    if (at >= end || *at != '"') parser_fail(parser, token->line, "a string does not end on its line");
    token->text = start + 1;
    token->length = (size_t)(at - start - 1);
    parser->at = at + 1;
    return;
  } else {
    token->kind = TOKEN_PUNCTUATION;
    at++;
  }
  token->length = (size_t)(at - start);
  parser->at = at;
}

bool token_is(const struct parser *parser, char punctuation) {
  return parser->token.kind == TOKEN_PUNCTUATION && parser->token.text[0] == punctuation;
}

bool token_equals(const struct parser *parser, const char *text) {
  const struct token *token = &parser->token;
  return (token->kind == TOKEN_WORD || token->kind == TOKEN_DIRECTIVE) && token->length == strlen(text) &&
         memcmp(token->text, text, token->length) == 0;
}

bool token_accept(struct parser *parser, char punctuation) {
  if (!token_is(parser, punctuation)) return false;
  lexer_next(parser);
  return true;
}

void token_expect(struct parser *parser, char punctuation) {
  if (token_accept(parser, punctuation)) return;
  const struct token *token = &parser->token;
  if (token->kind == TOKEN_END) parser_fail(parser, token->line, "the text ends where '%c' was expected", punctuation);
  int length = token->length > 60 ? 60 : (int)token->length;
  parser_fail(parser, token->line, "'%c' expected before '%.*s'", punctuation, length, token->text);
}

/* ---- symbols ---- */

static uint32_t hash(const char *text, size_t length) {
  uint32_t value = 2166136261u;
  for (size_t i = 0; i < length; i++) value = (value ^ (unsigned char)text[i]) * 16777619u;
  return value ^ value >> 15;
}

struct scope *scope_create(struct parser *parser, struct scope *parent, uint32_t buckets) {
  struct scope *scope = parser_alloc(parser, sizeof *scope);
  scope->parent = parent;
  scope->buckets = parser_alloc(parser, buckets * sizeof *scope->buckets);
  scope->bucket_mask = buckets - 1;
  return scope;
}

static struct entity *find_here(const struct scope *scope, const char *name, size_t length) {
  struct entity *entity = scope->buckets[hash(name, length) & scope->bucket_mask];
  while (entity && !(strncmp(entity->name, name, length) == 0 && !entity->name[length])) entity = entity->next;
  return entity;
}

struct entity *scope_find(const struct scope *scope, const char *name, size_t length) {
  for (; scope; scope = scope->parent) {
    struct entity *entity = find_here(scope, name, length);
    if (entity) return entity;
  }
  return NULL;
}

static void insert(struct scope *scope, struct entity *entity) {
  struct entity **bucket = &scope->buckets[hash(entity->name, strlen(entity->name)) & scope->bucket_mask];
  entity->next = *bucket;
  *bucket = entity;
}

static void widen(struct parser *parser, struct scope *scope) {
  struct entity **buckets = scope->buckets;
  const uint32_t mask = scope->bucket_mask;
  scope->bucket_mask = mask * 4 + 3;
  scope->buckets = parser_alloc(parser, (scope->bucket_mask + (size_t)1) * sizeof *scope->buckets);
  for (uint32_t i = 0; i <= mask; i++) {
    for (struct entity *entity = buckets[i], *next; entity; entity = next) {
      next = entity->next;
      insert(scope, entity);
    }
  }
}

struct entity *scope_add(struct parser *parser, struct scope *scope, const char *name, size_t length,
                         enum entity_kind kind) {
  if (find_here(scope, name, length))
    parser_fail(parser, parser->token.line, "'%.*s' is declared twice", (int)(length > 100 ? 100 : length), name);
  struct entity *entity = parser_alloc(parser, sizeof *entity);
  entity->name = parser_copy(parser, name, length);
  entity->kind = kind;
  entity->line = parser->token.line;
  if (++scope->entity_count > 2 * scope->bucket_mask && scope->bucket_mask < 1 << 24) widen(parser, scope);
  insert(scope, entity);
  return entity;
}

uint32_t parser_add_register(struct parser *parser, struct body *body, enum ptx_register_class class, uint32_t count) {
  enum { REGISTER_LIMIT = 1 << 24 }; /* of a body, and of all that are declared in a module */
  uint32_t first = body->register_count;
  if (count > REGISTER_LIMIT || first + count > REGISTER_LIMIT ||
      (body == parser->body && parser->register_count + count > REGISTER_LIMIT))
    parser_fail(parser, parser->token.line, "more registers than the %d that are supported", REGISTER_LIMIT);
  if (body == parser->body) parser->register_count += count;
  if (first + count > body->register_capacity) {
    uint32_t capacity = body->register_capacity ? body->register_capacity : 64;
    while (capacity < first + count) capacity *= 2;
    uint8_t *grown = parser_alloc(parser, capacity);
    if (first) memcpy(grown, body->register_class, first);
    body->register_class = grown;
    body->register_capacity = capacity;
  }
  if (count) memset(body->register_class + first, class, count);
  body->register_count += count;
  return first;
}

uint32_t parser_entity_number(struct parser *parser, struct entity *entity) {
  parser->entities =
      parser_grow(parser, parser->entities, parser->entity_count, &parser->entity_capacity, sizeof *parser->entities);
  parser->entities[parser->entity_count] = entity;
  return parser->entity_count++;
}

uint64_t parser_function_address(struct parser *parser, struct entity *function) {
  if (function->address) return function->address;
  parser->taken =
      parser_grow(parser, parser->taken, parser->taken_count, &parser->taken_capacity, sizeof *parser->taken);
  parser->taken[parser->taken_count++] = function;
  return function->address = 16 * (uint64_t)parser->taken_count;
}

/* ---- numbers and types ---- */

static const struct {
  const char *name;
  uint8_t bytes, class;
} types[PTX_TYPES] = {
    [PTX_NO_TYPE] = {"", 0, 0},
    [PTX_PRED] = {"pred", 0, PTX_CLASS_PRED},
    [PTX_B8] = {"b8", 1, PTX_CLASS_16},
    [PTX_B16] = {"b16", 2, PTX_CLASS_16},
    [PTX_B32] = {"b32", 4, PTX_CLASS_32},
    [PTX_B64] = {"b64", 8, PTX_CLASS_64},
    [PTX_B128] = {"b128", 16, 0},
    [PTX_U8] = {"u8", 1, PTX_CLASS_16},
    [PTX_U16] = {"u16", 2, PTX_CLASS_16},
    [PTX_U32] = {"u32", 4, PTX_CLASS_32},
    [PTX_U64] = {"u64", 8, PTX_CLASS_64},
    [PTX_S8] = {"s8", 1, PTX_CLASS_16},
    [PTX_S16] = {"s16", 2, PTX_CLASS_16},
    [PTX_S32] = {"s32", 4, PTX_CLASS_32},
    [PTX_S64] = {"s64", 8, PTX_CLASS_64},
    [PTX_F16] = {"f16", 2, PTX_CLASS_16},
    [PTX_F16X2] = {"f16x2", 4, PTX_CLASS_32},
    [PTX_BF16] = {"bf16", 2, PTX_CLASS_16},
    [PTX_BF16X2] = {"bf16x2", 4, PTX_CLASS_32},
    [PTX_TF32] = {"tf32", 4, PTX_CLASS_32},
    [PTX_F32] = {"f32", 4, PTX_CLASS_32},
    [PTX_F64] = {"f64", 8, PTX_CLASS_64},
    [PTX_U16X2] = {"u16x2", 4, PTX_CLASS_32},
    [PTX_S16X2] = {"s16x2", 4, PTX_CLASS_32},
    [PTX_E4M3] = {"e4m3", 1, PTX_CLASS_16},
    [PTX_E5M2] = {"e5m2", 1, PTX_CLASS_16},
    [PTX_E4M3X2] = {"e4m3x2", 2, PTX_CLASS_16},
    [PTX_E5M2X2] = {"e5m2x2", 2, PTX_CLASS_16},
    [PTX_S4] = {"s4", 0, PTX_CLASS_16},
    [PTX_U4] = {"u4", 0, PTX_CLASS_16},
    [PTX_B1] = {"b1", 0, PTX_CLASS_16},
};

unsigned ptx_type_bytes(enum ptx_type type) { return types[type].bytes; }

const char *ptx_type_name(enum ptx_type type) { return types[type].name; }

bool parse_type(const char *text, size_t length, enum ptx_type *type) {
  for (int i = PTX_PRED; i < PTX_TYPES; i++) {
    if (strlen(types[i].name) == length && memcmp(types[i].name, text, length) == 0) {
      *type = (enum ptx_type)i;
      return true;
    }
  }
  return false;
}

enum ptx_register_class type_class(struct parser *parser, enum ptx_type type) {
  if (type == PTX_B128) parser_fail(parser, parser->token.line, "128-bit registers are not implemented");
  return types[type].class;
}

static uint64_t float_bits(double value, enum ptx_type type) {
  uint64_t bits = 0;
  if (type == PTX_F64 || type == PTX_B64) {
    memcpy(&bits, &value, 8);
  } else {
    float narrow = (float)value;
    memcpy(&bits, &narrow, 4);
  }
  return bits;
}

uint64_t parse_number(struct parser *parser, enum ptx_type type) {
  bool minus = false;
  while (token_is(parser, '-') || token_is(parser, '+')) {
    if (token_is(parser, '-')) minus = !minus;
    lexer_next(parser);
  }
  const struct token token = parser->token;
  if (token.kind != TOKEN_NUMBER || token.length > 63) {
    int length = token.length > 60 ? 60 : (int)token.length;
    parser_fail(parser, token.line, "number expected, found '%.*s'", length, token.text);
  }
  char text[64];
  memcpy(text, token.text, token.length);
  text[token.length] = 0;
  lexer_next(parser);
  bool floating = type == PTX_F32 || type == PTX_F64;
  char *end = text;
  uint64_t bits;
  if (text[0] == '0' && strchr("fFdD", text[1]) && text[1]) {
    bool wide = text[1] == 'd' || text[1] == 'D';
    bits = strtoull(text + 2, &end, 16);
    if (*end || strlen(text) != (wide ? 18u : 10u))
      parser_fail(parser, token.line, "'%s' is not a floating-point constant", text);
    if (minus) bits ^= wide ? 0x8000000000000000u : 0x80000000u;
    if (!wide && type == PTX_F64) {
      float narrow;
      uint32_t word = (uint32_t)bits;
      memcpy(&narrow, &word, 4);
      bits = float_bits(narrow, PTX_F64);
    } else if (wide && type == PTX_F32) {
      double value;
      memcpy(&value, &bits, 8);
      bits = float_bits(value, PTX_F32);
    } else if (wide && ptx_type_bytes(type) < 8) {
      parser_fail(parser, token.line, "'%s' is wider than its place of type .%s", text, ptx_type_name(type));
    }
    return bits;
  }
  bool hexadecimal = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
  if (!hexadecimal && strpbrk(text, ".eE")) {
    double value = strtod(text, &end);
    if (*end || !floating)
      parser_fail(parser, token.line, "'%s' is not a constant of type .%s", text, ptx_type_name(type));
    return float_bits(minus ? -value : value, type);
  }
  if (text[0] == '0' && (text[1] == 'b' || text[1] == 'B'))
    bits = strtoull(text + 2, &end, 2);
  else
    bits = strtoull(text, &end, 0);
  if (*end == 'U' || *end == 'u') end++;
  if (*end || end == text) parser_fail(parser, token.line, "'%s' is not a number", text);
  if (floating) return float_bits(minus ? -(double)bits : (double)bits, type);
  return minus ? 0 - bits : bits;
}
