/* The parsers of asynchronous copies and of the barriers in memory (mbarrier). */
#include "engine/vgpu/instruction.h"

/* The state space of a barrier, and what says no more than is so here: scopes within the block, .release of an arrival
 * and .acquire of a test. */
static void take_barrier(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction,
                         const char *order) {
  instruction->space = (uint8_t)mnemonic_take_keyword(mnemonic, state_spaces, PTX_GENERIC);
  if (instruction->space != PTX_GENERIC && instruction->space != PTX_SHARED) mnemonic_refuse(parser, mnemonic);
  if (order && mnemonic_take(mnemonic, order)) mnemonic_take(mnemonic, "cta");
  if (!mnemonic_take(mnemonic, "b64")) mnemonic_refuse(parser, mnemonic);
  mnemonic_check_rest(parser, mnemonic);
  instruction->type = PTX_B64;
  instruction->vector = 1;
  instruction->flags |= PTX_STRONG;
  instruction->dst = parser_operands(parser, 1);
  instruction->src = parser_operands(parser, 3);
}

static void parse_result(struct parser *parser, const struct mnemonic *mnemonic, struct ptx_instruction *instruction,
                         enum ptx_type type) {
  instruction->dst_count = 1;
  instruction->dst[0] = parse_operand(parser, type);
  check_operand(parser, mnemonic, &instruction->dst[0], type, false, true);
  token_expect(parser, ',');
}

static void parse_source(struct parser *parser, const struct mnemonic *mnemonic, struct ptx_instruction *instruction,
                         enum ptx_type type) {
  struct ptx_operand *operand = &instruction->src[instruction->src_count++];
  *operand = parse_operand(parser, type);
  check_operand(parser, mnemonic, operand, type, false, false);
  move_special(parser, operand, type, mnemonic->line);
}

void parse_mbarrier(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  static const struct keyword modes[] = {{"init", PTX_MBARRIER_INIT},
                                         {"inval", PTX_MBARRIER_INVAL},
                                         {"arrive", PTX_MBARRIER_ARRIVE},
                                         {"arrive_drop", PTX_MBARRIER_ARRIVE_DROP},
                                         {"test_wait", PTX_MBARRIER_TEST},
                                         {"try_wait", PTX_MBARRIER_TEST},
                                         {"pending_count", PTX_MBARRIER_PENDING},
                                         {NULL, 0}};
  int mode = mnemonic_take_keyword(mnemonic, modes, -1);
  bool partial = false;
  if (mode < 0) mnemonic_refuse(parser, mnemonic);
  const bool arrives = mode == PTX_MBARRIER_ARRIVE || mode == PTX_MBARRIER_ARRIVE_DROP;
  const bool tests = mode == PTX_MBARRIER_TEST;
  if (arrives) partial = mnemonic_take(mnemonic, "noComplete");
  if (tests && mnemonic_take(mnemonic, "parity")) mode = PTX_MBARRIER_TEST_PARITY;
  take_barrier(parser, mnemonic, instruction, arrives ? "release" : tests ? "acquire" : NULL);
  instruction->mode = (uint8_t)mode;
  if (mode == PTX_MBARRIER_PENDING) {
    parse_result(parser, mnemonic, instruction, PTX_B32);
    parse_source(parser, mnemonic, instruction, PTX_B64);
    return;
  }
  if (arrives) parse_result(parser, mnemonic, instruction, PTX_B64);
  if (tests) parse_result(parser, mnemonic, instruction, PTX_PRED);
  parse_address(parser, mnemonic, instruction);
  instruction->src_count = 1;
  if (mode == PTX_MBARRIER_INIT || tests || partial) token_expect(parser, ',');
  if (mode == PTX_MBARRIER_INIT || partial || (arrives && token_accept(parser, ',')))
    parse_source(parser, mnemonic, instruction, PTX_U32);
  if (tests) parse_source(parser, mnemonic, instruction, mode == PTX_MBARRIER_TEST ? PTX_B64 : PTX_U32);
  if (tests && token_accept(parser, ',')) { /* how long try_wait may wait: it never does */
    parse_source(parser, mnemonic, instruction, PTX_U32);
    instruction->src_count--;
  }
}

/* cp.async.mbarrier.arrive: the thread's copies are made already. With .noinc it is an arrival; without, one more is
 * expected first, so that nothing changes. */
static void parse_arrival_of_copies(struct parser *parser, struct mnemonic *mnemonic,
                                    struct ptx_instruction *instruction) {
  if (!mnemonic_take(mnemonic, "arrive")) mnemonic_refuse(parser, mnemonic);
  const bool counted = mnemonic_take(mnemonic, "noinc");
  take_barrier(parser, mnemonic, instruction, NULL);
  instruction->op = PTX_MBARRIER;
  instruction->mode = PTX_MBARRIER_ARRIVE;
  parse_address(parser, mnemonic, instruction);
  instruction->src_count = 2;
  instruction->src[1] = operand_number(counted ? 1 : 0);
}

void parse_cp_async(struct parser *parser, struct mnemonic *mnemonic, struct ptx_instruction *instruction) {
  if (!mnemonic_take(mnemonic, "async")) mnemonic_refuse(parser, mnemonic);
  if (mnemonic_take(mnemonic, "commit_group")) {
    mnemonic_check_rest(parser, mnemonic);
    instruction->op = PTX_CP_ASYNC_COMMIT;
    return;
  }
  if (mnemonic_take(mnemonic, "mbarrier")) {
    parse_arrival_of_copies(parser, mnemonic, instruction);
    return;
  }
  bool all = mnemonic_take(mnemonic, "wait_all");
  if (all || mnemonic_take(mnemonic, "wait_group")) {
    mnemonic_check_rest(parser, mnemonic);
    instruction->op = PTX_CP_ASYNC_WAIT;
    instruction->src = parser_operands(parser, 1);
    instruction->src_count = 1;
    instruction->mode = all;
    instruction->src[0] = all ? operand_number(0) : parse_operand(parser, PTX_U32);
    if (instruction->src[0].kind != PTX_OPERAND_IMMEDIATE) mnemonic_refuse(parser, mnemonic);
    return;
  }
  bool past_l1 = mnemonic_take(mnemonic, "cg");
  if (!past_l1 && !mnemonic_take(mnemonic, "ca")) mnemonic_refuse(parser, mnemonic);
  if (!mnemonic_take(mnemonic, "shared") && !mnemonic_take(mnemonic, "shared::cta")) mnemonic_refuse(parser, mnemonic);
  if (!mnemonic_take(mnemonic, "global")) mnemonic_refuse(parser, mnemonic);
  static const struct keyword prefetches[] = {{"L2::64B", 1}, {"L2::128B", 1}, {"L2::256B", 1}, {NULL, 0}};
  mnemonic_take_keyword(mnemonic, prefetches, 0);
  mnemonic_check_rest(parser, mnemonic);
  /* Two addresses: the source's goes into a register of its own if it has an offset. */
  struct ptx_instruction source = {.op = PTX_LD, .space = PTX_GLOBAL};
  source.src = parser_operands(parser, 1);
  instruction->space = PTX_SHARED;
  instruction->src = parser_operands(parser, 3);
  parse_address(parser, mnemonic, instruction);
  token_expect(parser, ',');
  parse_address(parser, mnemonic, &source);
  token_expect(parser, ',');
  struct ptx_operand size = parse_operand(parser, PTX_U32);
  bool fits =
      size.kind == PTX_OPERAND_IMMEDIATE && (size.value == 16 || (!past_l1 && (size.value == 4 || size.value == 8)));
  if (!fits) parser_fail(parser, mnemonic->line, "'%s' copies a number of bytes that it cannot", mnemonic->whole);
  instruction->type = PTX_B8;
  instruction->vector = (uint8_t)size.value;
  instruction->src_count = 2;
  instruction->src[1] = source.src[0];
  if (token_accept(parser, ',')) {
    instruction->src[2] = parse_operand(parser, PTX_U32);
    check_operand(parser, mnemonic, &instruction->src[2], PTX_U32, false, false);
    move_special(parser, &instruction->src[2], PTX_U32, mnemonic->line);
    instruction->src_count = 3;
  }
  if (source.offset || source.src[0].kind == PTX_OPERAND_SYMBOL) {
    struct ptx_operand sum[2] = {source.src[0], operand_number((uint64_t)source.offset)};
    struct ptx_operand address = parser_new_register(parser, PTX_B64);
    struct ptx_instruction whole = {.guard = PTX_NONE, .line = mnemonic->line};
    if (sum[0].kind == PTX_OPERAND_SYMBOL) {
      sum[0].value = (uint64_t)source.offset;
      parser_append_part(parser, &whole, (struct ptx_instruction){.op = PTX_MOV, .type = PTX_B64}, address, 1, sum);
    } else {
      parser_append_part(parser, &whole, (struct ptx_instruction){.op = PTX_ADD, .type = PTX_U64}, address, 2, sum);
    }
    instruction->src[1] = address;
  }
}
