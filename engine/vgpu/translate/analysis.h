/* What the translator knows about a kernel before it emits code: which registers are the same for all lanes of a warp
 * or differ by a constant pattern (shapes), and where lanes part and meet (control).
 *
 * Shapes. A register's value in lane i is base + pattern[i], modulo its width: base is one number for the warp, the
 * pattern is known when the kernel is translated and has minimum 0. All-zero patterns are uniform values. A register
 * whose value does not have this form for certain is varying; it may then carry a hint, the pattern it has unless an
 * intermediate 32-bit result wrapped around, which memory accesses test at run time.
 *
 * Control. A branch on a varying predicate parts the lanes. They meet again at the branch's first post-dominator that
 * stands later in block order; the blocks before it are the branch's region and may run with some of the lanes. Lanes
 * can wait only at certain blocks of the region (waits): the branch's targets, blocks that several targets reach, and
 * the meeting point. Code always runs the lowest-numbered block that has waiting lanes, so that while block b runs
 * others wait only at higher numbers. A write in b must leave the other lanes' values alone only if the register is
 * live where they can wait (`blend`); every other write may overwrite all lanes, and so stays a scalar if it was one.
 */
#ifndef VGPU_TRANSLATE_ANALYSIS_H
#define VGPU_TRANSLATE_ANALYSIS_H

#include "engine/vgpu/ir.h"

enum { WARP_LANES = 32 };

enum shape_kind { SHAPE_UNKNOWN, SHAPE_AFFINE, SHAPE_VARYING };

struct shape {
  uint8_t kind;
  uint8_t align;    /* AFFINE: base is a multiple of 2^align; 64: base is 0 */
  bool constant;    /* AFFINE: base is `value` */
  bool hinted;      /* VARYING: `pattern` is the hint */
  uint32_t pattern; /* index into analysis.patterns; 0: all lanes equal */
  uint64_t value;
};

struct analysis {
  const struct ptx_function *function;
  unsigned block[3], threads, warps;
  bool full_warps; /* the block size is a multiple of 32 */

  struct shape *shape; /* [register_count] */
  bool *is_float;      /* [register_count]: mostly written by f32 or f64 instructions */
  uint32_t *root;      /* [register_count]: which pointer an address derives from; 0: none */
  uint32_t root_count; /* roots are 1..root_count-1 */
  int64_t (*patterns)[WARP_LANES];
  uint32_t pattern_count, pattern_capacity;

  bool *divergent; /* [block_count]: its last instruction parts the lanes */
  bool *partial;   /* [block_count]: may run with some of the lanes */
  bool *waited;    /* [block_count]: lanes may gather here */
  uint32_t block_words, register_words;
  uint64_t *waits;   /* [block_count][block_words]: where other lanes may wait while the block runs */
  uint64_t *live_in; /* [block_count][register_words] */
  uint64_t *blend;   /* [block_count][register_words] */
};

/* Shapes of an operand and of a result; `d` is the number of the destination. An affine result's base is the
 * instruction's result for the operands' bases, plus *delta. */
struct shape operand_shape(const struct analysis *analysis, const struct ptx_operand *operand);
struct shape result_shape(struct analysis *analysis, const struct ptx_instruction *instruction, unsigned d,
                          int64_t *delta);

/* The plug-in cannot call the library's functions: its own ptx_type_bytes(). */
static inline unsigned type_bytes(uint8_t type) {
  static const uint8_t bytes[PTX_TYPES] = {
      [PTX_B8] = 1,     [PTX_B16] = 2,   [PTX_B32] = 4,   [PTX_B64] = 8,   [PTX_B128] = 16,  [PTX_U8] = 1,
      [PTX_U16] = 2,    [PTX_U32] = 4,   [PTX_U64] = 8,   [PTX_S8] = 1,    [PTX_S16] = 2,    [PTX_S32] = 4,
      [PTX_S64] = 8,    [PTX_F16] = 2,   [PTX_F16X2] = 4, [PTX_BF16] = 2,  [PTX_BF16X2] = 4, [PTX_TF32] = 4,
      [PTX_F32] = 4,    [PTX_F64] = 8,   [PTX_U16X2] = 4, [PTX_S16X2] = 4, [PTX_E4M3] = 1,   [PTX_E5M2] = 1,
      [PTX_E4M3X2] = 2, [PTX_E5M2X2] = 2};
  return bytes[type];
}

static inline bool shape_uniform(struct shape shape) { return shape.kind == SHAPE_AFFINE && shape.pattern == 0; }
static inline bool bit_test(const uint64_t *bits, uint32_t index) { return bits[index / 64] >> (index % 64) & 1; }
static inline void bit_set(uint64_t *bits, uint32_t index) { bits[index / 64] |= (uint64_t)1 << (index % 64); }

/* The number of a pattern, after subtracting its minimum, which is stored in *minimum. */
uint32_t pattern_intern(struct analysis *analysis, const int64_t values[WARP_LANES], unsigned bits, int64_t *minimum);
int64_t pattern_maximum(const struct analysis *analysis, uint32_t pattern);

/* Bytes between the local memories of neighbouring threads. */
int64_t local_stride(const struct ptx_function *function);
/* Bits of a register of the class, 1 for predicates. */
unsigned class_bits(uint8_t register_class);

/* NULL and a reason if the kernel has a form that is not handled (irreducible loops). */
struct analysis *analyse(const struct ptx_function *function, const unsigned block[3], char *reason,
                         size_t reason_bytes);
void analysis_free(struct analysis *analysis);

/* Successors of a block, and what ends it. */
unsigned block_successors(const struct ptx_function *function, uint32_t block, uint32_t *successors, unsigned capacity);
const struct ptx_instruction *block_terminator(const struct ptx_function *function, uint32_t block);

#endif
