/* Instructions that are calls of a helper and little else: printf, malloc and free, asynchronous copies, stmatrix. */
#include "engine/vgpu/translate/emitter.h"

static const struct shape uniform = {.kind = SHAPE_AFFINE};

/* An address operand plus the instruction's offset, in 64 bits; one in a register of 32 bits wraps around. */
Value address_of(struct emitter *e, const struct ptx_operand *operand, int64_t offset) {
  LLVMBuilderRef b = e->builder;
  const bool narrow =
      operand->kind == PTX_OPERAND_REGISTER && e->function->register_class[operand->index] == PTX_CLASS_32;
  Value address = read_operand(e, operand, narrow ? PTX_U32 : PTX_U64, true);
  address = LLVMBuildAdd(b, address, constant(LLVMTypeOf(address), (uint64_t)offset), "");
  return narrow ? LLVMBuildZExt(b, address, shaped(e->i64, true), "") : address;
}

static void emit_print(struct emitter *e, const struct ptx_instruction *instruction) {
  for (unsigned i = 0; i < 2; i++) store_argument(e, i, read_operand(e, &instruction->src[i], PTX_U64, true));
  call_operate(e, instruction, effective_mask(e, instruction));
  Value count = LLVMBuildTrunc(e->builder, load_result(e, 0), shaped(e->i32, true), "");
  write_register(e, instruction, &instruction->dst[0], count, uniform, false);
}

static void emit_allocation(struct emitter *e, const struct ptx_instruction *instruction) {
  store_argument(e, 0, read_operand(e, &instruction->src[0], PTX_U64, true));
  call_operate(e, instruction, effective_mask(e, instruction));
  if (instruction->op == PTX_MALLOC)
    write_register(e, instruction, &instruction->dst[0], load_result(e, 0), uniform, false);
}

static void emit_copy(struct emitter *e, const struct ptx_instruction *instruction) {
  store_argument(e, 0, address_of(e, &instruction->src[0], instruction->offset));
  store_argument(e, 1, read_operand(e, &instruction->src[1], PTX_U64, true));
  if (instruction->src_count > 2) store_argument(e, 2, read_operand(e, &instruction->src[2], PTX_U32, true));
  call_operate(e, instruction, effective_mask(e, instruction));
}

/* The registers go two to an argument. */
static void emit_matrix_store(struct emitter *e, const struct ptx_instruction *instruction) {
  LLVMBuilderRef b = e->builder;
  const Type wide = shaped(e->i64, true);
  Value mask = effective_mask(e, instruction);
  check_together(e, instruction, LLVMBuildICmp(b, LLVMIntEQ, mask_bits(e, mask), constant(e->i32, UINT64_MAX), ""));
  store_argument(e, 0, address_of(e, &instruction->src[0], instruction->offset));
  for (unsigned i = 0; i < instruction->vector; i += 2) {
    Value pair = LLVMBuildZExt(b, read_operand(e, &instruction->src[1 + i], PTX_B32, true), wide, "");
    if (i + 1 < instruction->vector) {
      Value high = LLVMBuildZExt(b, read_operand(e, &instruction->src[2 + i], PTX_B32, true), wide, "");
      pair = LLVMBuildOr(b, pair, LLVMBuildShl(b, high, constant(wide, 32), ""), "");
    }
    store_argument(e, 1 + i / 2, pair);
  }
  call_operate(e, instruction, mask);
}

void emit_call(struct emitter *e, const struct ptx_instruction *instruction) {
  switch (instruction->op) {
    case PTX_PRINTF:
      emit_print(e, instruction);
      break;
    case PTX_MALLOC:
    case PTX_FREE:
      emit_allocation(e, instruction);
      break;
    case PTX_CP_ASYNC:
      emit_copy(e, instruction);
      break;
    case PTX_STMATRIX:
      emit_matrix_store(e, instruction);
      break;
    default:
      refuse(e, instruction, "its waits need warps that take turns");
      break;
  }
}
