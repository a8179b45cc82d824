/* Inside the parsers of instructions (instruction.c and instruction_matrix.c): the mnemonic cut at its dots, operands,
 * and the instructions that another one is made of. */
#ifndef VGPU_INSTRUCTION_H
#define VGPU_INSTRUCTION_H

#include "engine/vgpu/front.h"

#define BIT(type) (1u << (type))

/* ---- the mnemonic ---- */

enum { PIECES = 16, PIECE_BYTES = 32 };

struct mnemonic {
  char whole[80], piece[PIECES][PIECE_BYTES];
  bool used[PIECES];
  int count;
  unsigned line;
};

struct keyword {
  const char *name;
  int value;
};

/* Whether the modifier stands there; it then counts as understood. */
bool mnemonic_take(struct mnemonic *mnemonic, const char *modifier);
/* The first type that is not understood yet. */
bool mnemonic_take_type(struct mnemonic *mnemonic, uint8_t *type);
/* The value of the first of the keywords that stands there. The list ends with a NULL name. */
int mnemonic_take_keyword(struct mnemonic *mnemonic, const struct keyword *keywords, int otherwise);
/* Modifiers that only guide caches, one of each kind. */
void mnemonic_take_hints(struct mnemonic *mnemonic, bool load);
/* Fails if a modifier was not understood. */
void mnemonic_check_rest(struct parser *parser, const struct mnemonic *mnemonic);
_Noreturn void mnemonic_refuse(struct parser *parser, const struct mnemonic *mnemonic);

extern const struct keyword state_spaces[];

/* ---- operands ---- */

struct ptx_operand *parser_operands(struct parser *parser, unsigned count);
/* One operand of the given type: register, constant, variable's address, special register, or "_". */
struct ptx_operand parse_operand(struct parser *parser, enum ptx_type type);
/* "{a, b}" or one operand, into operands[0..limit). Returns how many. */
unsigned parse_vector(struct parser *parser, enum ptx_type type, struct ptx_operand *operands, unsigned limit,
                      bool *braced);
/* "[base + offset]" into src[0] and offset. */
void parse_address(struct parser *parser, const struct mnemonic *mnemonic, struct ptx_instruction *instruction);
/* Registers must have the type's width; with `wider` they may be wider (ld, st, cvt). */
void check_operand(struct parser *parser, const struct mnemonic *mnemonic, const struct ptx_operand *operand,
                   enum ptx_type type, bool wider, bool is_result);
/* Only mov reads special registers: elsewhere they go through a register of their own. */
void move_special(struct parser *parser, struct ptx_operand *operand, enum ptx_type type, unsigned line);

/* ---- instructions that stand for several others ---- */

struct ptx_operand parser_new_register(struct parser *parser, enum ptx_type type);
struct ptx_operand operand_number(uint64_t value);
/* Appends one instruction of the expansion; `whole` lends guard, line and the fields that are not set in `part`. */
void parser_append_part(struct parser *parser, const struct ptx_instruction *whole, struct ptx_instruction part,
                        struct ptx_operand dst, unsigned count, const struct ptx_operand *src);

/* ---- instruction_matrix.c, instruction_async.c ---- */

void parse_mma(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction);
void parse_ldmatrix(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction);
void parse_movmatrix(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction);
/* wmma.load, wmma.mma, wmma.store: fills `instruction` with the operands as they stand; expand_wmma makes of it what
 * executors have. */
void parse_wmma(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction);
void expand_wmma(struct parser *parser, const struct ptx_instruction *whole);
void parse_mbarrier(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction);
void parse_cp_async(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction);

#endif
