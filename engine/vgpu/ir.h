/* The intermediate form of a PTX module: what the front end (ptx.c) makes and the executors consume.
 *
 * A kernel (struct ptx_function) is a flat array of instructions over virtual registers, cut into basic blocks.
 *  - Device functions are already inlined: there is no call, and `ret` means that the thread ends.
 *  - Blocks are numbered in reverse post-order with loops contiguous; block 0 is the entry. Running the lowest-numbered
 *    block that has waiting lanes makes diverged lanes meet again as early as possible.
 *  - A block ends after a branch, ret, exit or trap, and also after every barrier: a warp is suspended only between
 *    blocks. Only the last instruction of a block can be one of these.
 *  - Everything was checked against the whitelist: what is stored here has a meaning that ptx.c documents; an executor
 *    that does not implement a form refuses it when it prepares the kernel.
 *
 * Addresses: device memory is host memory, so a global, const or generic address is a host pointer. An address in
 * .shared is an offset from the start of the block's shared memory; in .local, from the start of the thread's local
 * memory; in .param, from the start of the launch's parameter bytes. cvta adds, cvta.to subtracts, the base's pointer.
 */
#ifndef VGPU_IR_H
#define VGPU_IR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- types, opcodes, modifiers ---- */

enum ptx_type {
  PTX_NO_TYPE,
  PTX_PRED,
  PTX_B8,
  PTX_B16,
  PTX_B32,
  PTX_B64,
  PTX_B128,
  PTX_U8,
  PTX_U16,
  PTX_U32,
  PTX_U64,
  PTX_S8,
  PTX_S16,
  PTX_S32,
  PTX_S64,
  PTX_F16,
  PTX_F16X2,
  PTX_BF16,
  PTX_BF16X2,
  PTX_TF32,
  PTX_F32,
  PTX_F64,
  PTX_U16X2,
  PTX_S16X2,
  PTX_E4M3, /* 8-bit floating point; in registers only as pairs */
  PTX_E5M2,
  PTX_E4M3X2,
  PTX_E5M2X2,
  PTX_S4, /* elements of matrices only */
  PTX_U4,
  PTX_B1,
  PTX_TYPES
};

/* mul and mad come as three opcodes each, for lo/float, hi and wide. `.cc` forms: see PTX_CARRY_OUT. */
/* clang-format off */
#define PTX_OPS(X) \
  X(ADD, "add") X(SUB, "sub") X(MUL, "mul") X(MUL_HI, "mul.hi") X(MUL_WIDE, "mul.wide") \
  X(MAD, "mad") X(MAD_HI, "mad.hi") X(MAD_WIDE, "mad.wide") X(FMA, "fma") X(MUL24, "mul24.lo") X(MUL24_HI, "mul24.hi") \
  X(MAD24, "mad24.lo") X(MAD24_HI, "mad24.hi") X(SAD, "sad") X(DIV, "div") X(REM, "rem") X(ABS, "abs") X(NEG, "neg") \
  X(MIN, "min") X(MAX, "max") X(POPC, "popc") X(CLZ, "clz") X(BFIND, "bfind") X(BREV, "brev") X(BFE, "bfe") \
  X(BFI, "bfi") X(FNS, "fns") X(BMSK, "bmsk") X(SZEXT, "szext") X(DP4A, "dp4a") X(DP2A, "dp2a") X(VABSDIFF4, "vabsdiff4") \
  X(RCP, "rcp") X(SQRT, "sqrt") X(RSQRT, "rsqrt") X(SIN, "sin") X(COS, "cos") X(LG2, "lg2") X(EX2, "ex2") \
  X(TANH, "tanh") X(COPYSIGN, "copysign") X(TESTP, "testp") \
  X(SET, "set") X(SETP, "setp") X(SELP, "selp") X(SLCT, "slct") \
  X(AND, "and") X(OR, "or") X(XOR, "xor") X(NOT, "not") X(CNOT, "cnot") X(LOP3, "lop3") X(SHL, "shl") X(SHR, "shr") \
  X(SHF_L, "shf.l") X(SHF_R, "shf.r") X(PRMT, "prmt") X(MOV, "mov") X(CVT, "cvt") X(CVT_PACK, "cvt.pack") \
  X(CVTA, "cvta") X(CVTA_TO, "cvta.to") X(ISSPACEP, "isspacep") \
  X(LD, "ld") X(ST, "st") X(ATOM, "atom") X(RED, "red") X(PREFETCH, "prefetch") \
  X(SHFL, "shfl") X(VOTE, "vote") X(MATCH, "match") X(ACTIVEMASK, "activemask") X(REDUX, "redux") X(ELECT, "elect") \
  X(BAR, "bar") X(BAR_WARP, "bar.warp") X(MEMBAR, "membar") \
  X(CP_ASYNC, "cp.async") X(CP_ASYNC_COMMIT, "cp.async.commit_group") X(CP_ASYNC_WAIT, "cp.async.wait_group") \
  X(LDMATRIX, "ldmatrix") X(STMATRIX, "stmatrix") X(MOVMATRIX, "movmatrix") X(MMA, "mma") \
  X(BRA, "bra") X(BRX, "brx.idx") X(RET, "ret") X(EXIT, "exit") X(TRAP, "trap") X(NANOSLEEP, "nanosleep") \
  X(PRINTF, "vprintf") X(MBARRIER, "mbarrier") X(MALLOC, "malloc") X(FREE, "free")
/* clang-format on */

enum ptx_op {
#define X(name, text) PTX_##name,
  PTX_OPS(X)
#undef X
      PTX_OP_COUNT
};

enum ptx_space { PTX_GENERIC, PTX_GLOBAL, PTX_SHARED, PTX_LOCAL, PTX_CONST, PTX_PARAM };

enum ptx_rounding {
  PTX_NO_ROUNDING, /* the op's default: nearest even for add, sub, mul; nothing to round elsewhere */
  PTX_RN,
  PTX_RZ,
  PTX_RM,
  PTX_RP, /* to a floating-point value */
  PTX_RNI,
  PTX_RZI,
  PTX_RMI,
  PTX_RPI, /* to an integral value */
  PTX_RNA, /* nearest, ties away (cvt to tf32) */
  PTX_APPROX,
  PTX_FULL /* div, rcp, sqrt, ...: not a rounding, but stands in its place */
};

/* ptx_instruction.mode, by opcode */
enum ptx_compare {
  PTX_EQ,
  PTX_NE,
  PTX_LT,
  PTX_LE,
  PTX_GT,
  PTX_GE,
  PTX_LO,
  PTX_LS,
  PTX_HI,
  PTX_HS, /* set, setp */
  PTX_EQU,
  PTX_NEU,
  PTX_LTU,
  PTX_LEU,
  PTX_GTU,
  PTX_GEU,
  PTX_NUM,
  PTX_NAN
};
enum ptx_shuffle { PTX_SHUFFLE_UP, PTX_SHUFFLE_DOWN, PTX_SHUFFLE_BFLY, PTX_SHUFFLE_IDX }; /* shfl */
enum ptx_vote { PTX_VOTE_ALL, PTX_VOTE_ANY, PTX_VOTE_UNI, PTX_VOTE_BALLOT };              /* vote; match: all, any */
enum ptx_atom {
  PTX_ATOM_ADD,
  PTX_ATOM_MIN,
  PTX_ATOM_MAX,
  PTX_ATOM_INC,
  PTX_ATOM_DEC,
  PTX_ATOM_AND,
  PTX_ATOM_OR,
  PTX_ATOM_XOR,
  PTX_ATOM_EXCH,
  PTX_ATOM_CAS
}; /* atom, red, redux */
enum ptx_permute {
  PTX_PRMT_DEFAULT,
  PTX_PRMT_F4E,
  PTX_PRMT_B4E,
  PTX_PRMT_RC8,
  PTX_PRMT_ECL,
  PTX_PRMT_ECR,
  PTX_PRMT_RC16
}; /* prmt */
enum ptx_mbarrier {
  PTX_MBARRIER_INIT,
  PTX_MBARRIER_INVAL,
  PTX_MBARRIER_ARRIVE,
  PTX_MBARRIER_ARRIVE_DROP,
  PTX_MBARRIER_TEST,
  PTX_MBARRIER_TEST_PARITY,
  PTX_MBARRIER_PENDING
};                                                                                     /* mbarrier */
enum ptx_trap { PTX_TRAP_PLAIN, PTX_TRAP_BREAKPOINT, PTX_TRAP_ASSERT, PTX_TRAP_CALL }; /* trap */
enum ptx_testp {
  PTX_TEST_FINITE,
  PTX_TEST_INFINITE,
  PTX_TEST_NUMBER,
  PTX_TEST_NOTANUMBER,
  PTX_TEST_NORMAL,
  PTX_TEST_SUBNORMAL
};                                                                                                    /* testp */
enum ptx_barrier { PTX_BAR_SYNC, PTX_BAR_ARRIVE, PTX_BAR_RED_AND, PTX_BAR_RED_OR, PTX_BAR_RED_POPC }; /* bar */
enum ptx_combine { PTX_COMBINE_NONE, PTX_COMBINE_AND, PTX_COMBINE_OR, PTX_COMBINE_XOR }; /* set, setp: .combine */

enum ptx_flag {
  PTX_FTZ = 1 << 0, /* subnormal f32 inputs and results become zero of the same sign */
  PTX_SAT =
      1 << 1, /* f32: clamp to [0, 1], NaN to 0; s32: saturate; cvt to an integer narrower than the source: clamp */
  PTX_NAN_RESULT = 1 << 2,   /* min, max: .NaN */
  PTX_CLAMP = 1 << 3,        /* shf .clamp (else .wrap) */
  PTX_SHIFT_AMOUNT = 1 << 4, /* bfind.shiftamt */
  PTX_CARRY_OUT = 1 << 5,    /* .cc: the last dst is the carry predicate */
  PTX_CARRY_IN = 1 << 6,     /* addc, subc, madc: the last src is the carry predicate */
  PTX_UNIFORM = 1 << 7,      /* bra.uni and such: the text promises that all active lanes agree */
  PTX_ALIGNED = 1 << 8,      /* bar.sync, barrier.aligned, .sync.aligned */
  PTX_STRONG = 1 << 9,       /* ld, st, atom, red, membar: ordered (volatile, relaxed, acquire, release); see .order */
  PTX_RELU = 1 << 10,        /* fma, cvt: negative results and NaN become 0 */
  PTX_SATFINITE = 1 << 11,
  PTX_XORSIGN = 1 << 12, /* min, max: .xorsign.abs */
  PTX_REGION = 1 << 13   /* mad.lo.u64 after .pragma "noprop.region": src[0] bytes, src[2] where they begin */
};
/* What an mma multiplies. Registers hold 32 bits of elements per lane, the first in the low bits; f64: one element of
 * 64 bits. How they lie in the lanes: matrix.h. */
enum ptx_mma { PTX_MMA_MULTIPLY, PTX_MMA_XOR_POPC, PTX_MMA_AND_POPC }; /* mode of mma; popc: elements of one bit */
struct ptx_matrix {
  uint8_t m, n;
  uint16_t k;
  uint8_t a, b, c, d;                /* enum ptx_type of the elements */
  uint8_t a_count, b_count, c_count; /* registers of each source; the result has dst_count */
  bool a_column, b_row;              /* m8n8k4 of f16 only; all others have rows of A and columns of B */
};

enum ptx_scope { PTX_NO_SCOPE, PTX_SCOPE_CTA, PTX_SCOPE_GPU, PTX_SCOPE_SYS }; /* none given: gpu; volatile: sys */
enum ptx_order { PTX_WEAK, PTX_VOLATILE, PTX_RELAXED, PTX_ACQUIRE, PTX_RELEASE, PTX_ACQ_REL, PTX_SEQ_CST };

enum ptx_special {
  PTX_TID_X,
  PTX_TID_Y,
  PTX_TID_Z,
  PTX_NTID_X,
  PTX_NTID_Y,
  PTX_NTID_Z,
  PTX_CTAID_X,
  PTX_CTAID_Y,
  PTX_CTAID_Z,
  PTX_NCTAID_X,
  PTX_NCTAID_Y,
  PTX_NCTAID_Z,
  PTX_LANEID,
  PTX_WARPID,
  PTX_NWARPID,
  PTX_SMID,
  PTX_NSMID,
  PTX_GRIDID,
  PTX_LANEMASK_EQ,
  PTX_LANEMASK_LE,
  PTX_LANEMASK_LT,
  PTX_LANEMASK_GE,
  PTX_LANEMASK_GT,
  PTX_CLOCK,
  PTX_CLOCK_HI,
  PTX_CLOCK64,
  PTX_GLOBALTIMER,
  PTX_GLOBALTIMER_LO,
  PTX_GLOBALTIMER_HI,
  PTX_DYNAMIC_SMEM_SIZE,
  PTX_TOTAL_SMEM_SIZE,
  PTX_ENVREG1, /* the driver puts the address of the grid barrier of a cooperative launch here: high word, */
  PTX_ENVREG2, /* low word */
  PTX_SPECIALS
};

/* ---- operands and instructions ---- */

#define PTX_NONE 0xffffffffu /* no register, no block */

enum ptx_operand_kind {
  PTX_OPERAND_SINK,      /* a destination that is not wanted: "_" */
  PTX_OPERAND_REGISTER,  /* index; negate: "!%p" */
  PTX_OPERAND_IMMEDIATE, /* value: the bits, already of the instruction's type (f32 constants as f32 bits, integers
                            sign-extended to 64 bits) */
  PTX_OPERAND_SYMBOL,    /* address of a variable: space; value = offset within that space's segment (see below) */
  PTX_OPERAND_SPECIAL    /* index: enum ptx_special; only as the source of mov */
};

struct ptx_operand {
  uint8_t kind, space;
  bool negate;
  uint32_t index;
  uint64_t
      value; /* SYMBOL: PTX_GLOBAL and PTX_CONST: offset within module->segment; SHARED, LOCAL, PARAM: the address */
};

struct ptx_instruction {
  uint16_t op;
  uint16_t flags;      /* enum ptx_flag */
  uint8_t type;        /* the type that names the operation; cvt, set: of the result; b-types for untyped ops */
  uint8_t source_type; /* cvt, set, slct: of the source; mul.wide and mad.wide have only `type` (of the factors) */
  uint8_t space;       /* ld, st, atom, red, cvta, isspacep, prefetch */
  uint8_t rounding, mode, combine, order;
  uint8_t scope;  /* enum ptx_scope: ld, st, atom, red, membar */
  uint8_t vector; /* ld, st: 1, 2, 4, 8 elements */
  uint8_t lut;    /* lop3 */
  uint8_t dst_count, src_count;
  bool guard_negate;
  uint32_t guard; /* predicate register, or PTX_NONE */
  struct ptx_operand *dst, *src;
  int64_t offset; /* ld, st, atom, red, prefetch, ldmatrix, stmatrix, cp.async: added to src[0], the address */
  struct ptx_matrix matrix;      /* mma */
  uint32_t line;                 /* of the PTX text, from 1 */
  uint32_t file, source_line;    /* .loc in force: index into module->files, line; 0: none */
  uint32_t call_file, call_line; /* where the function that this line belongs to was inlined; 0: nowhere */
};
/* Operands by opcode, where the PTX manual's order is not enough:
 *  ld: dst[0..vector), src[0] = base.   st: src[0] = base, src[1..vector].   atom: dst[0], src[0] = base, src[1], (cas:
 * src[2]). red: the same without dst.            mov: dst_count > 1 unpacks src[0] (low bits first), src_count > 1
 * packs. setp: dst[0] = p, dst[1] = q or absent; src[2] = the combining predicate.   lop3: lut.   shfl: dst[1] =
 * predicate, if any. shfl: src = value, lane, clamp, membermask.   vote: src = predicate, membermask.   match: src =
 * value, membermask. dp2a: mode 1: .hi. vabsdiff4: mode 1: .add. trap: mode PTX_TRAP_ASSERT: src = generic addresses of
 * message, file; line; address of the function's name. mbarrier: src[0] = address, src[1] = count, state or parity
 * (pending: src[0] = state); dst[0] = state, predicate or count, if any. vprintf: dst[0], src = generic addresses of
 * the format and of the arguments. bar: src = id, (count), red: + predicate; ids and counts may be registers.   brx:
 * src[0] = index. mma: dst = registers of D; src = matrix.a_count registers of A, then matrix.b_count of B, then
 * matrix.c_count of C. type = matrix.d. All 32 lanes of the warp take part, a fault if not. wmma.mma comes as one or
 * several mma. wmma.load, wmma.store: ordinary ld and st at addresses computed from %laneid, after a bar.warp.
 * ldmatrix: dst = `vector` (1, 2, 4) registers of two b16 each, src[0] = address in .shared; mode 1: .trans. Lane l
 * gives the address of row l % 8 of matrix l / 8.   stmatrix: src = address, then `vector` registers.   movmatrix:
 * dst[0], src[0]: the transposed matrix. cp.async: copies `vector` (4, 8, 16) bytes per lane to .shared at src[0] +
 * offset from .global at src[1]; src[2], if any: how many of the bytes are read, the others are written as zero.
 * cp.async.wait_group: src[0] = how many groups may still be under way (an immediate); wait_all comes as commit_group
 * and wait_group 0.
 */

struct ptx_block {
  uint32_t first, count; /* instructions */
  uint32_t next;         /* block that follows when no branch is taken, or PTX_NONE */
  uint32_t target_count; /* bra: 1; brx.idx: entries of the table; else 0 */
  uint32_t *targets;
  uint32_t loop_depth, loop_head; /* head of the innermost natural loop, or PTX_NONE */
};

/* ---- functions, variables, modules ---- */

enum ptx_register_class { PTX_CLASS_PRED, PTX_CLASS_16, PTX_CLASS_32, PTX_CLASS_64 };

struct ptx_parameter { /* of a kernel */
  const char *name;
  uint32_t offset, size, align;
};

struct ptx_module;

struct ptx_array { /* a variable in shared or local memory */
  const char *name;
  uint8_t space;
  uint64_t offset, size; /* in the window */
};

struct ptx_function { /* a kernel */
  const char *name;
  const struct ptx_module *module;
  struct ptx_instruction *instructions;
  struct ptx_block *blocks;
  uint8_t *register_class; /* [register_count], enum ptx_register_class; 16-bit registers also hold 8-bit values */
  uint32_t instruction_count, block_count, register_count;
  struct ptx_parameter *parameters;
  uint32_t parameter_count, parameter_bytes;
  uint32_t shared_bytes; /* static shared memory; dynamic shared memory starts here (already aligned to shared_align) */
  uint32_t shared_align;
  uint32_t shared_padding;  /* bytes of shared_bytes that are red zones: ptx_parse_spaced() */
  bool has_dynamic_shared;  /* declares an external shared array */
  struct ptx_array *arrays; /* those with a size, shared and local */
  uint32_t array_count;
  uint32_t local_bytes;                         /* per thread */
  uint32_t max_threads[3], required_threads[3]; /* .maxntid, .reqntid; 0: not given */
  uint32_t max_registers;                       /* .maxnreg; 0: not given */
  bool has_barrier;                             /* contains `bar` or `mbarrier`: its warps take turns */
  uint32_t line;
};

struct ptx_variable { /* module-level .global or .const */
  const char *name;
  uint8_t space;
  bool visible;
  uint32_t align;
  uint64_t offset, size; /* within module->segment */
};

struct ptx_module {
  unsigned version_major, version_minor, target; /* 9, 0, 86 */
  struct ptx_function *functions;                /* kernels only */
  uint32_t function_count;
  struct ptx_variable *variables;
  uint32_t variable_count;
  uint64_t segment_bytes; /* of all variables; to be aligned to 256 */
  unsigned char *segment; /* where they are: set by ptx_place() */
  const char **files;     /* .file names by index (NULL: no such index) */
  uint32_t file_count;
  struct ptx_initialiser *initialisers; /* internal to ptx.c */
  struct ptx_arena *arena;
};

/* Bytes of one element of the type; 0 for PTX_PRED and PTX_NO_TYPE. */
unsigned ptx_type_bytes(enum ptx_type type);
const char *ptx_op_name(enum ptx_op op);
const char *ptx_type_name(enum ptx_type type);

#endif
