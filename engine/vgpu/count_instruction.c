/* count.h: which class of instructions a PTX instruction belongs to, and what work it does per lane. */
#include "engine/vgpu/count.h"

static bool is_float16(unsigned type) {
  return type == PTX_F16 || type == PTX_F16X2 || type == PTX_BF16 || type == PTX_BF16X2;
}

/* ptxas may fuse a multiplication into an addition unless the text asks for a rounding. */
static bool may_fuse(const struct ptx_instruction *instruction) { return instruction->rounding == PTX_NO_ROUNDING; }

static void count_fp32(noprop_kernel_counts *counts, const struct ptx_instruction *instruction, unsigned lanes) {
  counts->fp32_instructions++;
  switch (instruction->op) {
    case PTX_FMA:
    case PTX_MAD:
      counts->fp32_fma += lanes;
      break;
    case PTX_ADD:
    case PTX_SUB:
      counts->fp32_add += lanes;
      if (may_fuse(instruction)) counts->fp32_add_free += lanes;
      break;
    case PTX_MUL:
      counts->fp32_mul += lanes;
      if (may_fuse(instruction)) counts->fp32_mul_free += lanes;
      break;
    default:
      counts->fp32_other += lanes;
      break;
  }
}

/* Operations per lane of an element of any floating type. */
static unsigned flop_of(const struct ptx_instruction *instruction) {
  switch (instruction->op) {
    case PTX_FMA:
    case PTX_MAD:
      return 2;
    case PTX_ADD:
    case PTX_SUB:
    case PTX_MUL:
    case PTX_DIV:
    case PTX_RCP:
    case PTX_SQRT:
      return 1;
    default:
      return 0;
  }
}

static void count_arithmetic(noprop_kernel_counts *counts, const struct ptx_instruction *instruction, unsigned lanes) {
  const unsigned type = instruction->type;
  if (type == PTX_F32) {
    count_fp32(counts, instruction, lanes);
  } else if (type == PTX_F64) {
    counts->fp64_instructions++;
    counts->fp64_flop += (unsigned long long)flop_of(instruction) * lanes;
  } else if (is_float16(type)) {
    const unsigned elements = type == PTX_F16X2 || type == PTX_BF16X2 ? 2 : 1;
    counts->fp16_instructions++;
    counts->fp16_flop += (unsigned long long)flop_of(instruction) * elements * lanes;
  } else {
    counts->integer_instructions++;
  }
}

/* The approximations come from the special-function units; so do the first guesses of the rounded forms of f32. */
static bool is_special(const struct ptx_instruction *instruction) {
  if (instruction->type != PTX_F64) return true;
  return instruction->rounding == PTX_APPROX;
}

/* Two operations per element of A's row and B's column. m8n8k4 of f16 is four products, one for each eight lanes. */
static void count_matrix(noprop_kernel_counts *counts, const struct ptx_matrix *matrix) {
  const unsigned long long products = matrix->m == 8 && matrix->k == 4 && matrix->a == PTX_F16 ? 4 : 1;
  const unsigned long long work = products * 2 * matrix->m * matrix->n * matrix->k;
  switch (matrix->a) {
    case PTX_F16:
      counts->tensor_f16_flop += work;
      break;
    case PTX_BF16:
      counts->tensor_bf16_flop += work;
      break;
    case PTX_TF32:
      counts->tensor_tf32_flop += work;
      break;
    case PTX_F64:
      counts->tensor_f64_flop += work;
      break;
    case PTX_E4M3:
    case PTX_E5M2:
      counts->tensor_fp8_flop += work;
      break;
    default:
      counts->tensor_integer_op += work;
      break;
  }
}

void count_instruction(noprop_kernel_counts *counts, const struct ptx_instruction *instruction, unsigned active,
                       unsigned executing) {
  counts->warp_instructions++;
  counts->active_lanes += active;
  counts->thread_instructions += executing;
  switch (instruction->op) {
    case PTX_RCP:
    case PTX_SQRT:
    case PTX_RSQRT:
    case PTX_SIN:
    case PTX_COS:
    case PTX_LG2:
    case PTX_EX2:
    case PTX_TANH:
    case PTX_DIV: {
      const bool whole = instruction->type >= PTX_U8 && instruction->type <= PTX_S64;
      if (whole || !is_special(instruction)) {
        count_arithmetic(counts, instruction, executing);
        break;
      }
      counts->special_instructions++;
      counts->special_functions += executing;
      break;
    }
    case PTX_CVT:
    case PTX_CVT_PACK:
      counts->conversion_instructions++;
      counts->conversions += executing;
      break;
    case PTX_MOV:
    case PTX_SELP:
    case PTX_SLCT:
    case PTX_SET:
    case PTX_SETP:
    case PTX_TESTP:
    case PTX_CVTA:
    case PTX_CVTA_TO:
    case PTX_ISSPACEP:
      counts->move_instructions++;
      break;
    case PTX_LD:
      if (instruction->space == PTX_PARAM || instruction->space == PTX_CONST)
        counts->constant_instructions++;
      else
        counts->load_instructions++;
      break;
    case PTX_CP_ASYNC:
    case PTX_LDMATRIX:
      counts->load_instructions++;
      break;
    case PTX_ST:
    case PTX_STMATRIX:
      counts->store_instructions++;
      break;
    case PTX_ATOM:
    case PTX_RED:
      counts->atomic_instructions++;
      break;
    case PTX_SHFL:
    case PTX_VOTE:
    case PTX_MATCH:
    case PTX_ACTIVEMASK:
    case PTX_REDUX:
    case PTX_ELECT:
    case PTX_BAR_WARP:
    case PTX_MOVMATRIX:
      counts->exchange_instructions++;
      break;
    case PTX_MMA:
      counts->matrix_instructions++;
      if (executing > 0) count_matrix(counts, &instruction->matrix);
      break;
    case PTX_BRA:
    case PTX_BRX:
    case PTX_RET:
    case PTX_EXIT:
    case PTX_TRAP:
      counts->control_instructions++;
      break;
    case PTX_BAR:
      counts->barrier_instructions++;
      break;
    default: /* the list of opcodes begins with arithmetic; and, or, xor, not of predicates are moves */
      if (instruction->op > PTX_ISSPACEP)
        counts->other_instructions++;
      else if (instruction->type == PTX_PRED)
        counts->move_instructions++;
      else
        count_arithmetic(counts, instruction, executing);
      break;
  }
}
