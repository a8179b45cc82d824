/* The interpreter, compiled once per instruction set (SET() gives the names their suffix).
 *
 * Decoding turns every instruction into a step with a handler, a function that works on the 32 lanes of one warp's
 * registers. Handlers of plain arithmetic write all lanes; where some live lanes are elsewhere, a wrapper restores them
 * afterwards. Memory, warp and predicate handlers look at the mask themselves.
 *
 * Divergence: every block has a mask of lanes that wait to enter it; the lowest-numbered block with waiting lanes runs
 * next. As long as no lanes wait, control passes straight to the next block. */
#if !defined(__clang__)
#pragma GCC optimize("O3", "no-math-errno", "no-trapping-math", "fp-contract=off")
#define LANE_LOOP _Pragma("GCC ivdep") for (int l = 0; l < LANES; l++)
#else
#define LANE_LOOP _Pragma("clang loop vectorize(assume_safety)") for (int l = 0; l < LANES; l++)
#endif

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#else
#include <fenv.h>
#endif

#include "engine/vgpu/heap.h"
#include "engine/vgpu/interpreter.h"
#include "engine/vgpu/memory.h"
#if defined(OBSERVED)
#include "engine/vgpu/observe.h"
#endif
#include "engine/vgpu/special_set.h"

/* Registers are read as whatever type an instruction names. */
typedef uint32_t __attribute__((may_alias)) u32;
typedef uint64_t __attribute__((may_alias)) u64;
typedef int32_t __attribute__((may_alias)) s32;
typedef int64_t __attribute__((may_alias)) s64;
typedef float __attribute__((may_alias)) f32;
typedef double __attribute__((may_alias)) f64;
typedef uint8_t u8;
typedef uint16_t u16;
typedef int8_t s8;
typedef int16_t s16;

#include "engine/vgpu/special_body.h"

/* ---- state ---- */

enum warp_state { WARP_READY, WARP_WAITING, WARP_DONE };

struct range {
  u64 low, high;
};

struct block_state {
  const struct vgpu_launch *launch;
  const struct interpreter_code *code;
  unsigned ctaid[3];
  struct vgpu_fault *fault;
  struct range *ranges; /* [memory_steps] the allocation that each instruction touched last */
  unsigned char *shared, *local;
  u64 shared_bytes, local_bytes; /* local: of one thread */
  unsigned threads, warps, slot;
  bool faulted;
  struct warp *resident; /* [resident_count] those that have registers */
  unsigned resident_count;
  u32 arrivals[16]; /* of bar.arrive, by barrier */
#if defined(OBSERVED)
  struct vgpu_observed_block view;
#endif
};

struct warp {
  uintptr_t base[2]; /* of the registers; of the constants, less one, as their operand codes are odd */
  struct block_state *block;
  u32 mask;     /* active lanes */
  u32 alive;    /* lanes that have not ended */
  bool full;    /* mask == alive */
  u32 current;  /* block to run */
  u32 *pending; /* [block_count] lanes that wait at each block */
  u64 *waiting; /* the blocks with waiting lanes, one bit each */
  u32 index;    /* number of the warp in the block */
  enum warp_state state;
  bool gives_way;                /* it waits for another warp's store: its turn ends with the block */
  u32 barrier_id, barrier_count; /* WARP_WAITING; count 0: all threads */
  const struct step *barrier_step;
#if defined(OBSERVED)
  struct vgpu_observed_warp view;
  int shuffle_from[LANES];
  const struct ptx_instruction *at;         /* the instruction that is executed */
  u64 sink[8] __attribute__((aligned(64))); /* what lanes access that the observer has taken out */
  u32 paused_at;                            /* step of its basic block at which the last turn ended */
  u32 budget;                               /* steps that are left of the turn; 0: no limit */
#endif
};

typedef struct warp W;
typedef struct step S;

#define REGISTER(type, code) ((type *)__builtin_assume_aligned((void *)(warp->base[(code)&1] + (code)), 64))
#define PREDICATE(code) (*(u32 *)(warp->base[(code)&1] + (code)))

static inline void write_predicate(W *warp, u32 code, u32 value) {
  u32 *place = &PREDICATE(code);
  *place = (*place & ~warp->mask) | (value & warp->mask);
}

/* One bit per lane from words that are 0 or -1. */
static inline u32 mask_of(const s32 *words) {
#if defined(SET_AVX512)
  u32 low = _mm512_movepi32_mask(_mm512_load_si512((const void *)words));
  u32 high = _mm512_movepi32_mask(_mm512_load_si512((const void *)(words + 16)));
  return low | high << 16;
#elif defined(SET_AVX2)
  u32 mask = 0;
  for (int i = 0; i < 4; i++)
    mask |= (u32)_mm256_movemask_ps(_mm256_load_ps((const float *)(const void *)(words + 8 * i))) << (8 * i);
  return mask;
#else
  u32 mask = 0;
  for (int l = 0; l < LANES; l++) mask |= (u32)(words[l] & 1) << l;
  return mask;
#endif
}

static int lowest(u32 mask) { return __builtin_ctz(mask); }

#include "engine/vgpu/interpreter_hooks.h"

/* ---- faults ---- */

static void thread_of(const struct block_state *block, u32 warp_index, int lane, unsigned thread[3]) {
  unsigned linear = warp_index * LANES + (unsigned)lane;
  const unsigned *extent = block->launch->block;
  thread[0] = linear % extent[0];
  thread[1] = linear / extent[0] % extent[1];
  thread[2] = linear / extent[0] / extent[1];
}

__attribute__((format(printf, 5, 6))) static void fault(W *warp, const struct ptx_instruction *source, int lane,
                                                        int kind, const char *format, ...) {
  struct block_state *block = warp->block;
  if (block->faulted) return;
  block->faulted = true;
  char what[200];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  hook_fault(warp, source, lane, kind, what);
  unsigned thread[3];
  thread_of(block, warp->index, lane, thread);
  const struct ptx_function *function = block->code->function;
  char place[120] = "";
  const struct ptx_module *module = function->module;
  if (source->source_line && source->file < module->file_count && module->files[source->file])
    snprintf(place, sizeof place, " (%.90s:%u)", module->files[source->file], source->source_line);
  snprintf(block->fault->text, sizeof block->fault->text,
           "kernel %.60s, PTX line %u%s, block (%u, %u, %u), thread (%u, %u, %u): %s", function->name, source->line,
           place, block->ctaid[0], block->ctaid[1], block->ctaid[2], thread[0], thread[1], thread[2], what);
  block->fault->kind = kind;
}

/* ---- rounding ---- */

#if defined(__x86_64__)
static inline unsigned set_rounding(int rounding) {
  static const unsigned modes[] = {[PTX_RN] = 0, [PTX_RM] = 0x2000, [PTX_RP] = 0x4000, [PTX_RZ] = 0x6000};
  unsigned before = _mm_getcsr();
  _mm_setcsr((before & ~0x6000u) | modes[rounding]);
  __asm__ volatile("" ::: "memory");
  return before;
}
static inline void restore_rounding(unsigned before) {
  __asm__ volatile("" ::: "memory");
  _mm_setcsr(before);
}
#else
static inline unsigned set_rounding(int rounding) {
  static const int modes[] = {
      [PTX_RN] = FE_TONEAREST, [PTX_RM] = FE_DOWNWARD, [PTX_RP] = FE_UPWARD, [PTX_RZ] = FE_TOWARDZERO};
  unsigned before = (unsigned)fegetround();
  fesetround(modes[rounding]);
  __asm__ volatile("" ::: "memory");
  return before;
}
static inline void restore_rounding(unsigned before) {
  __asm__ volatile("" ::: "memory");
  fesetround((int)before);
}
#endif

/* ---- arithmetic: handlers that write every lane ---- */

/* R: type of the result's lanes, A: of the operands', C: what an operand is read as. */
#define UNARY(name, R, A, C, expression)     \
  static void name(W *warp, const S *step) { \
    R *d = REGISTER(R, step->d);             \
    const A *pa = REGISTER(A, step->a);      \
    LANE_LOOP {                              \
      const C a = (C)pa[l];                  \
      d[l] = (R)(expression);                \
    }                                        \
  }
#define BINARY(name, R, A, C, expression)                           \
  static void name(W *warp, const S *step) {                        \
    R *d = REGISTER(R, step->d);                                    \
    const A *pa = REGISTER(A, step->a), *pb = REGISTER(A, step->b); \
    LANE_LOOP {                                                     \
      const C a = (C)pa[l], b = (C)pb[l];                           \
      d[l] = (R)(expression);                                       \
    }                                                               \
  }
/* T: type of the third operand's lanes and how it is read */
#define TERNARY(name, R, A, C, T, expression)                       \
  static void name(W *warp, const S *step) {                        \
    R *d = REGISTER(R, step->d);                                    \
    const A *pa = REGISTER(A, step->a), *pb = REGISTER(A, step->b); \
    const T *pc = REGISTER(T, step->c);                             \
    LANE_LOOP {                                                     \
      const C a = (C)pa[l], b = (C)pb[l];                           \
      const T c = pc[l];                                            \
      d[l] = (R)(expression);                                       \
    }                                                               \
  }
/* A 32-bit second operand: shifts */
#define SHIFT(name, R, C, expression)        \
  static void name(W *warp, const S *step) { \
    R *d = REGISTER(R, step->d);             \
    const R *pa = REGISTER(R, step->a);      \
    const u32 *pb = REGISTER(u32, step->b);  \
    LANE_LOOP {                              \
      const C a = (C)pa[l];                  \
      const u32 b = pb[l];                   \
      d[l] = (R)(expression);                \
    }                                        \
  }

BINARY(add_16, u32, u32, u16, (u16)(a + b))
BINARY(add_32, u32, u32, u32, a + b)
BINARY(add_64, u64, u64, u64, a + b)
BINARY(sub_16, u32, u32, u16, (u16)(a - b))
BINARY(sub_32, u32, u32, u32, a - b)
BINARY(sub_64, u64, u64, u64, a - b)
BINARY(add_sat, u32, s32, s64, (s32)(a + b > INT32_MAX ? INT32_MAX : a + b < INT32_MIN ? INT32_MIN : a + b))
BINARY(sub_sat, u32, s32, s64, (s32)(a - b > INT32_MAX ? INT32_MAX : a - b < INT32_MIN ? INT32_MIN : a - b))
BINARY(add_f32, f32, f32, f32, a + b)
BINARY(sub_f32, f32, f32, f32, a - b)
BINARY(mul_f32, f32, f32, f32, a *b)
BINARY(add_f64, f64, f64, f64, a + b)
BINARY(sub_f64, f64, f64, f64, a - b)
BINARY(mul_f64, f64, f64, f64, a *b)
BINARY(div_f32, f32, f32, f32, a / b)
BINARY(div_f64, f64, f64, f64, a / b)
TERNARY(fma_f32, f32, f32, f32, f32, __builtin_fmaf(a, b, c))
TERNARY(fma_f64, f64, f64, f64, f64, __builtin_fma(a, b, c))
BINARY(mul_16, u32, u32, u32, (u16)(a *b))
BINARY(mul_32, u32, u32, u32, a *b)
BINARY(mul_64, u64, u64, u64, a *b)
BINARY(mul_hi_u16, u32, u32, u32, (u16)(((a & 0xffff) * (b & 0xffff)) >> 16))
BINARY(mul_hi_s16, u32, u32, s16, (u16)(((s32)a * (s32)b) >> 16))
BINARY(mul_hi_u32, u32, u32, u64, (a * b) >> 32)
BINARY(mul_hi_s32, u32, s32, s64, (u64)(a *b) >> 32)
__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 s128;
BINARY(mul_hi_u64, u64, u64, u64, (u64)((u128)a *b >> 64))
BINARY(mul_hi_s64, u64, u64, s64, (u64)((u128)((s128)a *b) >> 64))
BINARY(mul_wide_u16, u32, u32, u16, (u32)a *(u32)b)
BINARY(mul_wide_s16, u32, u32, s16, (u32)((s32)a *(s32)b))
BINARY(mul_wide_u32, u64, u32, u64, a *b)
BINARY(mul_wide_s32, u64, s32, s64, (u64)(a *b))
TERNARY(mad_16, u32, u32, u32, u32, (u16)(a *b + c))
TERNARY(mad_32, u32, u32, u32, u32, a *b + c)
TERNARY(mad_64, u64, u64, u64, u64, a *b + c)
TERNARY(mad_hi_u16, u32, u32, u32, u32, (u16)((((a & 0xffff) * (b & 0xffff)) >> 16) + c))
TERNARY(mad_hi_s16, u32, u32, s16, u32, (u16)((u32)(((s32)a * (s32)b) >> 16) + c))
TERNARY(mad_hi_u32, u32, u32, u64, u32, (u32)((a * b) >> 32) + c)
TERNARY(mad_hi_s32, u32, s32, s64, u32, (u32)((u64)(a *b) >> 32) + c)
TERNARY(mad_hi_u64, u64, u64, u64, u64, (u64)((u128)a *b >> 64) + c)
TERNARY(mad_hi_s64, u64, u64, s64, u64, (u64)((u128)((s128)a *b) >> 64) + c)
static inline u32 mad_hi_sat(s64 a, s64 b, u32 c) {
  s64 sum = (a * b >> 32) + (s64)(s32)c;
  return (u32)(s32)(sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum);
}
TERNARY(mad_hi_sat_s32, u32, s32, s64, u32, mad_hi_sat(a, b, c))
TERNARY(mad_wide_u16, u32, u32, u16, u32, (u32)a *(u32)b + c)
TERNARY(mad_wide_s16, u32, u32, s16, u32, (u32)((s32)a *(s32)b) + c)
TERNARY(mad_wide_u32, u64, u32, u64, u64, a *b + c)
TERNARY(mad_wide_s32, u64, s32, s64, u64, (u64)(a *b) + c)
#define LOW24(x) ((x)&0xffffff)
#define SIGNED24(x) ((s64)((s32)((u32)(x) << 8) >> 8))
BINARY(mul24_u, u32, u32, u32, (u32)((u64)LOW24(a) * LOW24(b)))
BINARY(mul24_s, u32, u32, u32, (u32)(u64)(SIGNED24(a) * SIGNED24(b)))
BINARY(mul24_hi_u, u32, u32, u32, (u32)(((u64)LOW24(a) * LOW24(b)) >> 16))
BINARY(mul24_hi_s, u32, u32, u32, (u32)(u64)((SIGNED24(a) * SIGNED24(b)) >> 16))
TERNARY(mad24_u, u32, u32, u32, u32, (u32)((u64)LOW24(a) * LOW24(b)) + c)
TERNARY(mad24_s, u32, u32, u32, u32, (u32)(u64)(SIGNED24(a) * SIGNED24(b)) + c)
TERNARY(mad24_hi_u, u32, u32, u32, u32, (u32)(((u64)LOW24(a) * LOW24(b)) >> 16) + c)
TERNARY(mad24_hi_s, u32, u32, u32, u32, (u32)(u64)((SIGNED24(a) * SIGNED24(b)) >> 16) + c)
TERNARY(sad_u16, u32, u32, u16, u32, (u16)(c + (u32)(a < b ? b - a : a - b)))
TERNARY(sad_s16, u32, u32, s16, u32, (u16)(c + (u32)(a < b ? b - a : a - b)))
TERNARY(sad_u32, u32, u32, u32, u32, c + (a < b ? b - a : a - b))
TERNARY(sad_s32, u32, u32, s32, u32, c + (a < b ? (u32)b - (u32)a : (u32)a - (u32)b))
TERNARY(sad_u64, u64, u64, u64, u64, c + (a < b ? b - a : a - b))
TERNARY(sad_s64, u64, u64, s64, u64, c + (a < b ? (u64)b - (u64)a : (u64)a - (u64)b))
/* Division by zero gives all ones and the dividend as remainder, as the hardware does; it must not trap here. */
BINARY(div_u16, u32, u32, u16, (u16)(b ? a / b : 0xffff))
BINARY(div_s16, u32, u32, s16, (u16)(b ? a / b : -1))
BINARY(div_u32, u32, u32, u32, b ? a / b : UINT32_MAX)
BINARY(div_s32, u32, s32, s64, (u32)(b ? a / b : -1))
BINARY(div_u64, u64, u64, u64, b ? a / b : UINT64_MAX)
BINARY(div_s64, u64, u64, s64, b == 0 ? UINT64_MAX : b == -1 ? 0 - (u64)a : (u64)(a / b))
BINARY(rem_u16, u32, u32, u16, (u16)(b ? a % b : a))
BINARY(rem_s16, u32, u32, s16, (u16)(b ? a % b : a))
BINARY(rem_u32, u32, u32, u32, b ? a % b : a)
BINARY(rem_s32, u32, s32, s64, (u32)(b ? a % b : a))
BINARY(rem_u64, u64, u64, u64, b ? a % b : a)
BINARY(rem_s64, u64, u64, s64, b == 0 ? (u64)a : b == -1 ? 0 : (u64)(a % b))
UNARY(abs_s16, u32, u32, s16, (u16)(a < 0 ? -a : a))
UNARY(abs_s32, u32, u32, s32, a < 0 ? 0 - (u32)a : (u32)a)
UNARY(abs_s64, u64, u64, s64, a < 0 ? 0 - (u64)a : (u64)a)
UNARY(abs_f32, u32, u32, u32, a & 0x7fffffff)
UNARY(abs_f64, u64, u64, u64, a & 0x7fffffffffffffff)
UNARY(neg_s16, u32, u32, u16, (u16)(0 - a))
UNARY(neg_s32, u32, u32, u32, 0 - a)
UNARY(neg_s64, u64, u64, u64, 0 - a)
UNARY(neg_f32, u32, u32, u32, a ^ 0x80000000)
UNARY(neg_f64, u64, u64, u64, a ^ 0x8000000000000000)
BINARY(min_u16, u32, u32, u16, a < b ? a : b)
BINARY(min_s16, u32, u32, s16, (u16)(a < b ? a : b))
BINARY(min_u32, u32, u32, u32, a < b ? a : b)
BINARY(min_s32, s32, s32, s32, a < b ? a : b)
BINARY(min_u64, u64, u64, u64, a < b ? a : b)
BINARY(min_s64, s64, s64, s64, a < b ? a : b)
BINARY(max_u16, u32, u32, u16, a > b ? a : b)
BINARY(max_s16, u32, u32, s16, (u16)(a > b ? a : b))
BINARY(max_u32, u32, u32, u32, a > b ? a : b)
BINARY(max_s32, s32, s32, s32, a > b ? a : b)
BINARY(max_u64, u64, u64, u64, a > b ? a : b)
BINARY(max_s64, s64, s64, s64, a > b ? a : b)
/* The other operand for a NaN; -0 is below +0: where they compare equal, or (and) their signs. */
static inline float minimum(float a, float b) {
  float least = a == b ? float_of(bits_of(a) | bits_of(b)) : a < b ? a : b;
  return a != a ? (b != b ? float_of(CANONICAL_NAN) : b) : b != b ? a : least;
}
static inline float maximum(float a, float b) {
  float most = a == b ? float_of(bits_of(a) & bits_of(b)) : a > b ? a : b;
  return a != a ? (b != b ? float_of(CANONICAL_NAN) : b) : b != b ? a : most;
}
static inline double minimum_double(double a, double b) {
  double least = a == b ? double_of(bits_of_double(a) | bits_of_double(b)) : a < b ? a : b;
  return a != a ? (b != b ? double_of(0x7fffffffffffffff) : b) : b != b ? a : least;
}
static inline double maximum_double(double a, double b) {
  double most = a == b ? double_of(bits_of_double(a) & bits_of_double(b)) : a > b ? a : b;
  return a != a ? (b != b ? double_of(0x7fffffffffffffff) : b) : b != b ? a : most;
}
BINARY(min_f32, f32, f32, f32, minimum(a, b))
BINARY(max_f32, f32, f32, f32, maximum(a, b))
BINARY(min_f64, f64, f64, f64, minimum_double(a, b))
BINARY(max_f64, f64, f64, f64, maximum_double(a, b))
UNARY(sqrt_f32, f32, f32, f32, __builtin_sqrtf(a))
UNARY(sqrt_f64, f64, f64, f64, __builtin_sqrt(a))
UNARY(rcp_f64, f64, f64, f64, 1.0 / a)
BINARY(copysign_f32, u32, u32, u32, (a & 0x80000000) | (b & 0x7fffffff))
BINARY(copysign_f64, u64, u64, u64, (a & 0x8000000000000000) | (b & 0x7fffffffffffffff))
BINARY(and_32, u32, u32, u32, a &b)
BINARY(and_64, u64, u64, u64, a &b)
BINARY(or_32, u32, u32, u32, a | b)
BINARY(or_64, u64, u64, u64, a | b)
BINARY(xor_32, u32, u32, u32, a ^ b)
BINARY(xor_64, u64, u64, u64, a ^ b)
UNARY(not_16, u32, u32, u16, (u16)~a)
UNARY(not_32, u32, u32, u32, ~a)
UNARY(not_64, u64, u64, u64, ~a)
UNARY(cnot_16, u32, u32, u16, !a)
UNARY(cnot_32, u32, u32, u32, !a)
UNARY(cnot_64, u64, u64, u64, !a)
UNARY(mov_32, u32, u32, u32, a)
UNARY(mov_64, u64, u64, u64, a)
SHIFT(shl_16, u32, u16, b > 15 ? 0 : (u16)((u32)a << (b & 15)))
SHIFT(shl_32, u32, u32, b > 31 ? 0 : a << (b & 31))
SHIFT(shl_64, u64, u64, b > 63 ? 0 : a << (b & 63))
SHIFT(shr_u16, u32, u16, b > 15 ? 0 : a >> (b & 15))
SHIFT(shr_u32, u32, u32, b > 31 ? 0 : a >> (b & 31))
SHIFT(shr_u64, u64, u64, b > 63 ? 0 : a >> (b & 63))
SHIFT(shr_s16, u32, s16, (u16)(a >> (b > 15 ? 15 : b)))
SHIFT(shr_s32, u32, s32, (u32)(a >> (b > 31 ? 31 : b)))
SHIFT(shr_s64, u64, s64, (u64)(a >> (b > 63 ? 63 : b)))
TERNARY(shf_l_wrap, u32, u32, u64, u32, (u32)(((b << 32 | a) << (c & 31)) >> 32))
TERNARY(shf_r_wrap, u32, u32, u64, u32, (u32)((b << 32 | a) >> (c & 31)))
TERNARY(shf_l_clamp, u32, u32, u64, u32, (u32)(((b << 32 | a) << (c > 32 ? 32 : c)) >> 32))
TERNARY(shf_r_clamp, u32, u32, u64, u32, (u32)((b << 32 | a) >> (c > 32 ? 32 : c)))
UNARY(popc_32, u32, u32, u32, __builtin_popcount(a))
UNARY(popc_64, u32, u64, u64, __builtin_popcountll(a))
UNARY(clz_32, u32, u32, u32, a ? __builtin_clz(a) : 32)
UNARY(clz_64, u32, u64, u64, a ? __builtin_clzll(a) : 64)
static inline u32 reverse(u32 a) {
  a = (a & 0x55555555) << 1 | (a >> 1 & 0x55555555);
  a = (a & 0x33333333) << 2 | (a >> 2 & 0x33333333);
  a = (a & 0x0f0f0f0f) << 4 | (a >> 4 & 0x0f0f0f0f);
  return __builtin_bswap32(a);
}
UNARY(brev_32, u32, u32, u32, reverse(a))
UNARY(brev_64, u64, u64, u64, (u64)reverse((u32)a) << 32 | reverse((u32)(a >> 32)))
TERNARY(slct_32_s, u32, u32, u32, s32, c >= 0 ? a : b)
TERNARY(slct_64_s, u64, u64, u64, s32, c >= 0 ? a : b)
TERNARY(slct_32_f, u32, u32, u32, f32, c >= 0 ? a : b)
TERNARY(slct_64_f, u64, u64, u64, f32, c >= 0 ? a : b)
TERNARY(slct_32_ftz, u32, u32, u32, f32, flushed(c) >= 0 ? a : b)
TERNARY(slct_64_ftz, u64, u64, u64, f32, flushed(c) >= 0 ? a : b)

/* bfe, bfi, bfind, prmt, lop3, dp4a: one lane at a time where the operands vary, so plain functions serve. */
static inline u64 extract(u64 a, u32 position, u32 length, unsigned width, bool sign) {
  position &= 255;
  length &= 255;
  if (!length) return 0;
  u32 last = position + length - 1 < width - 1 ? position + length - 1 : width - 1;
  u64 fill = sign && (a >> last & 1) ? ~(u64)0 : 0;
  u64 field = position < width ? a >> position : 0;
  u32 present = position < width ? (length < width - position ? length : width - position) : 0;
  u64 low = present >= 64 ? ~(u64)0 : ((u64)1 << present) - 1;
  return (field & low) | (fill & ~low);
}
#define BFE(name, R, C, width, sign)                                      \
  static void name(W *warp, const S *step) {                              \
    R *d = REGISTER(R, step->d);                                          \
    const R *pa = REGISTER(R, step->a);                                   \
    const u32 *pb = REGISTER(u32, step->b), *pc = REGISTER(u32, step->c); \
    LANE_LOOP d[l] = (R)extract((C)pa[l], pb[l], pc[l], width, sign);     \
  }
BFE(bfe_u32, u32, u32, 32, false)
BFE(bfe_s32, u32, u32, 32, true)
BFE(bfe_u64, u64, u64, 64, false)
BFE(bfe_s64, u64, u64, 64, true)

static inline u64 insert(u64 field, u64 into, u32 position, u32 length) {
  position &= 255;
  length &= 255;
  u64 low = length >= 64 ? ~(u64)0 : ((u64)1 << length) - 1;
  u64 mask = position >= 64 ? 0 : low << position;
  u64 moved = position >= 64 ? 0 : field << position;
  return (into & ~mask) | (moved & mask);
}
#define BFI(name, R)                                                            \
  static void name(W *warp, const S *step) {                                    \
    R *d = REGISTER(R, step->d);                                                \
    const R *pa = REGISTER(R, step->a), *pb = REGISTER(R, step->b);             \
    const u32 *pc = REGISTER(u32, step->c), *pe = REGISTER(u32, step->list[0]); \
    LANE_LOOP d[l] = (R)insert(pa[l], pb[l], pc[l], pe[l]);                     \
  }
BFI(bfi_32, u32)
BFI(bfi_64, u64)

static inline u32 find_bit(u64 a, unsigned width, bool sign, bool shift_amount) {
  if (sign && (a >> (width - 1) & 1)) a = ~a;
  if (width == 32) a &= 0xffffffff;
  if (!a) return UINT32_MAX;
  u32 index = 63 - (u32)__builtin_clzll(a);
  return shift_amount ? width - 1 - index : index;
}
static void bfind(W *warp, const S *step) {
  u32 *d = REGISTER(u32, step->d);
  unsigned type = step->source->type;
  bool sign = type == PTX_S32 || type == PTX_S64, wide = type == PTX_U64 || type == PTX_S64;
  bool shift_amount = step->source->flags & PTX_SHIFT_AMOUNT;
  const u32 *pa = REGISTER(u32, step->a);
  const u64 *wide_a = REGISTER(u64, step->a);
  for (int l = 0; l < LANES; l++) d[l] = find_bit(wide ? wide_a[l] : pa[l], wide ? 64 : 32, sign, shift_amount);
}

static inline u32 permute(u32 a, u32 b, u32 selector, int mode) {
  u64 bytes = (u64)b << 32 | a;
  u32 start = selector & 3;
  static const u16 patterns[][4] = {
      [PTX_PRMT_F4E] = {0x3210, 0x4321, 0x5432, 0x6543}, [PTX_PRMT_B4E] = {0x5670, 0x6701, 0x7012, 0x0123},
      [PTX_PRMT_RC8] = {0x0000, 0x1111, 0x2222, 0x3333}, [PTX_PRMT_ECL] = {0x3210, 0x3211, 0x3222, 0x3333},
      [PTX_PRMT_ECR] = {0x0000, 0x1110, 0x2210, 0x3210}, [PTX_PRMT_RC16] = {0x1010, 0x3232, 0x1010, 0x3232}};
  u32 control = mode == PTX_PRMT_DEFAULT ? selector : patterns[mode][start];
  u32 result = 0;
  for (int i = 0; i < 4; i++) {
    u32 nibble = control >> (4 * i) & 15;
    u32 byte = (u32)(bytes >> (8 * (nibble & 7))) & 255;
    if (nibble & 8) byte = byte & 128 ? 255 : 0;
    result |= byte << (8 * i);
  }
  return result;
}
static void prmt(W *warp, const S *step) {
  u32 *d = REGISTER(u32, step->d);
  const u32 *pa = REGISTER(u32, step->a), *pb = REGISTER(u32, step->b), *pc = REGISTER(u32, step->c);
  int mode = step->source->mode;
  for (int l = 0; l < LANES; l++) d[l] = permute(pa[l], pb[l], pc[l], mode);
}

static void lop3(W *warp, const S *step) {
  u32 *d = REGISTER(u32, step->d);
  const u32 *pa = REGISTER(u32, step->a), *pb = REGISTER(u32, step->b), *pc = REGISTER(u32, step->c);
  u32 table[8];
  for (int i = 0; i < 8; i++) table[i] = step->source->lut >> i & 1 ? UINT32_MAX : 0;
  LANE_LOOP {
    u32 a = pa[l], b = pb[l], c = pc[l];
    u32 low = (~b & ((~c & table[0]) | (c & table[1]))) | (b & ((~c & table[2]) | (c & table[3])));
    u32 high = (~b & ((~c & table[4]) | (c & table[5]))) | (b & ((~c & table[6]) | (c & table[7])));
    d[l] = (~a & low) | (a & high);
  }
}

/* The manual's own loop. */
static u32 nth_set(u32 mask, u32 base, s32 offset) {
  if (offset == 0) return base < 32 && (mask >> base & 1) ? base : UINT32_MAX;
  s64 count = (offset > 0 ? (s64)offset : -(s64)offset) - 1;
  for (s64 at = base; at >= 0 && at<32; at += offset> 0 ? 1 : -1)
    if ((mask >> at & 1) && count-- == 0) return (u32)at;
  return UINT32_MAX;
}
static void fns(W *warp, const S *step) {
  u32 *d = REGISTER(u32, step->d);
  const u32 *pa = REGISTER(u32, step->a), *pb = REGISTER(u32, step->b), *pc = REGISTER(u32, step->c);
  for (int l = 0; l < LANES; l++) d[l] = nth_set(pa[l], pb[l], (s32)pc[l]);
}

static void dp4a(W *warp, const S *step) {
  u32 *d = REGISTER(u32, step->d);
  const u32 *pa = REGISTER(u32, step->a), *pb = REGISTER(u32, step->b), *pc = REGISTER(u32, step->c);
  bool sign_a = step->source->type == PTX_S32, sign_b = step->source->source_type == PTX_S32;
  for (int l = 0; l < LANES; l++) {
    u32 sum = pc[l];
    for (int i = 0; i < 32; i += 8) {
      s32 x = sign_a ? (s8)(pa[l] >> i) : (s32)(u8)(pa[l] >> i), y = sign_b ? (s8)(pb[l] >> i) : (s32)(u8)(pb[l] >> i);
      sum += (u32)(x * y);
    }
    d[l] = sum;
  }
}

/* add, min and max of pairs of 16-bit integers; min and max with .relu: not below 0. */
static void arithmetic_16x2(W *warp, const S *step) {
  u32 *d = REGISTER(u32, step->d);
  const u32 *pa = REGISTER(u32, step->a), *pb = REGISTER(u32, step->b);
  const unsigned op = step->source->op;
  const bool sign = step->source->type == PTX_S16X2, clip = step->source->flags & PTX_RELU;
  for (int l = 0; l < LANES; l++) {
    u32 result = 0;
    for (int i = 0; i < 32; i += 16) {
      s32 a = sign ? (s16)(pa[l] >> i) : (s32)(u16)(pa[l] >> i), b = sign ? (s16)(pb[l] >> i) : (s32)(u16)(pb[l] >> i);
      s32 r = op == PTX_ADD ? a + b : (a < b) == (op == PTX_MIN) ? a : b;
      result |= (u32)(u16)(clip && r < 0 ? 0 : r) << i;
    }
    d[l] = result;
  }
}
BINARY(min_relu_s32, s32, s32, s32, (a < b ? a : b) > 0 ? (a < b ? a : b) : 0)
BINARY(max_relu_s32, s32, s32, s32, (a > b ? a : b) > 0 ? (a > b ? a : b) : 0)

static void dp2a(W *warp, const S *step) {
  u32 *d = REGISTER(u32, step->d);
  const u32 *pa = REGISTER(u32, step->a), *pb = REGISTER(u32, step->b), *pc = REGISTER(u32, step->c);
  bool sign_a = step->source->type == PTX_S32, sign_b = step->source->source_type == PTX_S32;
  unsigned from = step->source->mode ? 16 : 0; /* .hi: the upper two bytes of b */
  for (int l = 0; l < LANES; l++) {
    u32 sum = pc[l];
    for (unsigned i = 0; i < 2; i++) {
      s32 x = sign_a ? (s16)(pa[l] >> 16 * i) : (s32)(u16)(pa[l] >> 16 * i);
      s32 y = sign_b ? (s8)(pb[l] >> (from + 8 * i)) : (s32)(u8)(pb[l] >> (from + 8 * i));
      sum += (u32)(x * y);
    }
    d[l] = sum;
  }
}

static void vabsdiff4(W *warp, const S *step) {
  u32 *d = REGISTER(u32, step->d);
  const u32 *pa = REGISTER(u32, step->a), *pb = REGISTER(u32, step->b), *pc = REGISTER(u32, step->c);
  const bool add = step->source->mode;
  for (int l = 0; l < LANES; l++) {
    u32 bytes = 0, sum = pc[l];
    for (int i = 0; i < 32; i += 8) {
      s32 difference = (s32)(pa[l] >> i & 255) - (s32)(pb[l] >> i & 255);
      u32 size = (u32)(difference < 0 ? -difference : difference);
      bytes |= size << i;
      sum += size;
    }
    d[l] = add ? sum : bytes;
  }
}

static void selp_32(W *warp, const S *step) {
  u32 *d = REGISTER(u32, step->d);
  const u32 *pa = REGISTER(u32, step->a), *pb = REGISTER(u32, step->b), p = PREDICATE(step->c);
  LANE_LOOP d[l] = p >> l & 1 ? pa[l] : pb[l];
}
static void selp_64(W *warp, const S *step) {
  u64 *d = REGISTER(u64, step->d);
  const u64 *pa = REGISTER(u64, step->a), *pb = REGISTER(u64, step->b);
  const u32 p = PREDICATE(step->c);
  LANE_LOOP d[l] = p >> l & 1 ? pa[l] : pb[l];
}

/* The carry chain: add, sub, mad.lo, mad.hi with .cc or a carry in. A subtraction adds the complement, so that the flag
 * is clear where it borrows: nvcc's own division of 128-bit integers reads a subtraction's flag by addc. */
static void carry(W *warp, const S *step) {
  const struct ptx_instruction *source = step->source;
  bool wide = ptx_type_bytes(source->type) == 8;
  bool sign = source->type == PTX_S32 || source->type == PTX_S64;
  bool multiply = source->op == PTX_MAD || source->op == PTX_MAD_HI, minus = source->op == PTX_SUB;
  u32 in = source->flags & PTX_CARRY_IN ? PREDICATE(step->list[1]) : minus ? ~0u : 0, out = 0;
  for (int l = 0; l < LANES; l++) {
    if (!(warp->mask >> l & 1)) continue;
    u64 a = wide ? REGISTER(u64, step->a)[l] : REGISTER(u32, step->a)[l];
    u64 b = wide ? REGISTER(u64, step->b)[l] : REGISTER(u32, step->b)[l];
    if (multiply) {
      u64 c = wide ? REGISTER(u64, step->c)[l] : REGISTER(u32, step->c)[l];
      u128 product;
      if (sign)
        product = wide ? (u128)((s128)(s64)a * (s64)b) : (u128)((s128)(s32)a * (s32)b);
      else
        product = (u128)a * b;
      a = (u64)(source->op == PTX_MAD ? product : product >> (wide ? 64 : 32));
      b = c;
    }
    u64 limit = wide ? UINT64_MAX : UINT32_MAX;
    a &= limit;
    u128 sum = (u128)a + (minus ? limit - b : b) + (in >> l & 1);
    out |= (u32)(sum >> (wide ? 64 : 32) & 1) << l;
    if (wide)
      REGISTER(u64, step->d)[l] = (u64)sum;
    else
      REGISTER(u32, step->d)[l] = (u32)sum;
  }
  if (source->flags & PTX_CARRY_OUT) write_predicate(warp, step->list[0], out);
}

/* f32 arithmetic with a directed rounding, .ftz or .sat; and the rounded forms of div, rcp, sqrt. */
static void arithmetic_f32(W *warp, const S *step) {
  const struct ptx_instruction *source = step->source;
  f32 *d = REGISTER(f32, step->d);
  const f32 *operand[3] = {REGISTER(f32, step->a), source->src_count > 1 ? REGISTER(f32, step->b) : NULL,
                           source->src_count > 2 ? REGISTER(f32, step->c) : NULL};
  f32 buffer[3][LANES] __attribute__((aligned(64)));
  bool flush = source->flags & PTX_FTZ;
  for (int i = 0; flush && i < source->src_count; i++) {
    const f32 *from = operand[i];
    LANE_LOOP buffer[i][l] = flushed(from[l]);
    operand[i] = buffer[i];
  }
  const f32 *pa = operand[0], *pb = operand[1], *pc = operand[2];
  bool directed = source->rounding > PTX_RN && source->rounding <= PTX_RP;
  unsigned before = 0;
  if (directed) before = set_rounding(source->rounding);
  switch (source->op) {
    case PTX_ADD:
      LANE_LOOP d[l] = pa[l] + pb[l];
      break;
    case PTX_SUB:
      LANE_LOOP d[l] = pa[l] - pb[l];
      break;
    case PTX_MUL:
      LANE_LOOP d[l] = pa[l] * pb[l];
      break;
    case PTX_FMA:
      LANE_LOOP d[l] = __builtin_fmaf(pa[l], pb[l], pc[l]);
      break;
    case PTX_DIV:
      LANE_LOOP d[l] = pa[l] / pb[l];
      break;
    case PTX_RCP:
      LANE_LOOP d[l] = 1.0f / pa[l];
      break;
    case PTX_SQRT:
      LANE_LOOP d[l] = __builtin_sqrtf(pa[l]);
      break;
    case PTX_ABS:
      LANE_LOOP d[l] = __builtin_fabsf(pa[l]);
      break;
    case PTX_NEG:
      LANE_LOOP d[l] = -pa[l];
      break;
    case PTX_MIN:
    case PTX_MAX: {
      bool least = source->op == PTX_MIN, keep_nan = source->flags & PTX_NAN_RESULT;
      const u32 sign_bit = source->flags & PTX_XORSIGN ? 0x80000000 : 0; /* else operands keep their own */
      LANE_LOOP {
        float a = float_of(bits_of(pa[l]) & ~sign_bit), b = float_of(bits_of(pb[l]) & ~sign_bit);
        const u32 sign = (bits_of(pa[l]) ^ bits_of(pb[l])) & sign_bit;
        float r = least ? minimum(a, b) : maximum(a, b);
        r = keep_nan && (a != a || b != b) ? float_of(CANONICAL_NAN) : r;
        d[l] = r != r ? r : float_of(bits_of(r) | sign);
      }
      break;
    }
    default:
      break;
  }
  if (directed) restore_rounding(before);
  if (flush) LANE_LOOP d[l] = flushed(d[l]);
  if (source->flags & PTX_SAT) LANE_LOOP d[l] = d[l] > 0.0f ? (d[l] < 1.0f ? d[l] : 1.0f) : 0.0f;
}

#if defined(SET_AVX512)
static void fma_rm_f32(W *warp, const S *step) {
  char *d = (char *)REGISTER(f32, step->d);
  const char *pa = (char *)REGISTER(f32, step->a), *pb = (char *)REGISTER(f32, step->b),
             *pc = (char *)REGISTER(f32, step->c);
  for (int i = 0; i < SLOT_32; i += 64)
    _mm512_store_ps(d + i, _mm512_fmadd_round_ps(_mm512_load_ps(pa + i), _mm512_load_ps(pb + i), _mm512_load_ps(pc + i),
                                                 _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC));
}
#else
#define fma_rm_f32 arithmetic_f32
#endif

static void arithmetic_f64(W *warp, const S *step) {
  const struct ptx_instruction *source = step->source;
  f64 *d = REGISTER(f64, step->d);
  const f64 *pa = REGISTER(f64, step->a), *pb = REGISTER(f64, step->b), *pc = REGISTER(f64, step->c);
  unsigned before = set_rounding(source->rounding == PTX_NO_ROUNDING ? PTX_RN : source->rounding);
  switch (source->op) {
    case PTX_ADD:
      LANE_LOOP d[l] = pa[l] + pb[l];
      break;
    case PTX_SUB:
      LANE_LOOP d[l] = pa[l] - pb[l];
      break;
    case PTX_MUL:
      LANE_LOOP d[l] = pa[l] * pb[l];
      break;
    case PTX_FMA:
      LANE_LOOP d[l] = __builtin_fma(pa[l], pb[l], pc[l]);
      break;
    case PTX_DIV:
      LANE_LOOP d[l] = pa[l] / pb[l];
      break;
    case PTX_RCP:
      LANE_LOOP d[l] = 1.0 / pa[l];
      break;
    case PTX_SQRT:
      LANE_LOOP d[l] = __builtin_sqrt(pa[l]);
      break;
    default:
      break;
  }
  restore_rounding(before);
}

#define SPECIAL(name, call)                     \
  static void name(W *warp, const S *step) {    \
    f32 *d = REGISTER(f32, step->d);            \
    const f32 *a = REGISTER(f32, step->a);      \
    bool flush = step->source->flags & PTX_FTZ; \
    (void)flush;                                \
    call;                                       \
  }
SPECIAL(special_ex2, SET(ex2)(d, a, flush))
SPECIAL(special_lg2, SET(lg2)(d, a, flush))
SPECIAL(special_sin, SET(sin)(d, a, flush))
SPECIAL(special_cos, SET(cos)(d, a, flush))
SPECIAL(special_tanh, SET(tanh)(d, a))
SPECIAL(special_rcp, SET(rcp)(d, a, flush))
SPECIAL(special_sqrt, SET(sqrt)(d, a, flush))
SPECIAL(special_rsqrt, SET(rsqrt)(d, a, flush))
SPECIAL(special_div, SET(div)(d, a, REGISTER(f32, step->b), flush))
static void special_rcp64(W *warp, const S *step) { SET(rcp64)(REGISTER(f64, step->d), REGISTER(f64, step->a)); }
static void special_rsqrt64(W *warp, const S *step) { SET(rsqrt64)(REGISTER(f64, step->d), REGISTER(f64, step->a)); }

#include "engine/vgpu/half_body.h"

static void arithmetic_half(W *warp, const S *step) {
  const unsigned count = step->source->src_count;
  half_operate(step->source, REGISTER(u32, step->d), REGISTER(u32, step->a), count > 1 ? REGISTER(u32, step->b) : NULL,
               count > 2 ? REGISTER(u32, step->c) : NULL);
}

/* ---- comparison ---- */

#define COMPARE(name, A, C, condition)              \
  static u32 name(const void *va, const void *vb) { \
    s32 words[LANES] __attribute__((aligned(64)));  \
    const A *pa = va, *pb = vb;                     \
    (void)pb;                                       \
    LANE_LOOP {                                     \
      const C a = (C)pa[l], b = (C)pb[l];           \
      (void)b;                                      \
      words[l] = (condition) ? -1 : 0;              \
    }                                               \
    return mask_of(words);                          \
  }
#define ORDERINGS(suffix, A, C)      \
  COMPARE(eq_##suffix, A, C, a == b) \
  COMPARE(ne_##suffix, A, C, a != b) \
  COMPARE(lt_##suffix, A, C, a < b)  \
  COMPARE(le_##suffix, A, C, a <= b) \
  COMPARE(gt_##suffix, A, C, a > b)  \
  COMPARE(ge_##suffix, A, C, a >= b)
#define FLOAT_ORDERINGS(suffix, A)               \
  COMPARE(eq_##suffix, A, A, a == b)             \
  COMPARE(ne_##suffix, A, A, a<b || a> b)        \
  COMPARE(lt_##suffix, A, A, a < b)              \
  COMPARE(le_##suffix, A, A, a <= b)             \
  COMPARE(gt_##suffix, A, A, a > b)              \
  COMPARE(ge_##suffix, A, A, a >= b)             \
  COMPARE(equ_##suffix, A, A, !(a < b || a > b)) \
  COMPARE(neu_##suffix, A, A, a != b)            \
  COMPARE(ltu_##suffix, A, A, !(a >= b))         \
  COMPARE(leu_##suffix, A, A, !(a > b))          \
  COMPARE(gtu_##suffix, A, A, !(a <= b))         \
  COMPARE(geu_##suffix, A, A, !(a < b))          \
  COMPARE(num_##suffix, A, A, a == a && b == b)  \
  COMPARE(nan_##suffix, A, A, a != a || b != b)
ORDERINGS(u16, u32, u16)
ORDERINGS(s16, u32, s16)
ORDERINGS(u32, u32, u32)
ORDERINGS(s32, s32, s32)
ORDERINGS(u64, u64, u64)
ORDERINGS(s64, s64, s64)
FLOAT_ORDERINGS(f32, f32)
FLOAT_ORDERINGS(f64, f64)

static vgpu_compare *select_compare(unsigned type, unsigned mode) {
#define ORDERED_TABLE(suffix)                                                                               \
  {                                                                                                         \
    eq_##suffix, ne_##suffix, lt_##suffix, le_##suffix, gt_##suffix, ge_##suffix, lt_##suffix, le_##suffix, \
        gt_##suffix, ge_##suffix                                                                            \
  }
#define FLOAT_TABLE(suffix)                                                                                            \
  {                                                                                                                    \
    eq_##suffix, ne_##suffix, lt_##suffix, le_##suffix, gt_##suffix, ge_##suffix, NULL, NULL, NULL, NULL,              \
        equ_##suffix, neu_##suffix, ltu_##suffix, leu_##suffix, gtu_##suffix, geu_##suffix, num_##suffix, nan_##suffix \
  }
  static vgpu_compare *const table[PTX_TYPES][PTX_NAN + 1] = {
      [PTX_B16] = ORDERED_TABLE(u16), [PTX_U16] = ORDERED_TABLE(u16), [PTX_S16] = ORDERED_TABLE(s16),
      [PTX_B32] = ORDERED_TABLE(u32), [PTX_U32] = ORDERED_TABLE(u32), [PTX_S32] = ORDERED_TABLE(s32),
      [PTX_B64] = ORDERED_TABLE(u64), [PTX_U64] = ORDERED_TABLE(u64), [PTX_S64] = ORDERED_TABLE(s64),
      [PTX_F32] = FLOAT_TABLE(f32),   [PTX_F64] = FLOAT_TABLE(f64)};
  return table[type_is_half(type) ? PTX_F32 : type][mode];
}

/* `shift`: 16 for the upper halves of pairs. */
static u32 compare(W *warp, const S *step, unsigned type, unsigned shift) {
  const void *a = REGISTER(u32, step->a), *b = REGISTER(u32, step->b);
  if (type_is_half(type)) {
    f32 wide_a[LANES] __attribute__((aligned(64))), wide_b[LANES] __attribute__((aligned(64)));
    half_read(wide_a, a, type, shift, step->source->flags & PTX_FTZ);
    half_read(wide_b, b, type, shift, step->source->flags & PTX_FTZ);
    return step->compare(wide_a, wide_b);
  }
  if ((step->source->flags & PTX_FTZ) && type == PTX_F32) {
    f32 flushed_a[LANES] __attribute__((aligned(64))), flushed_b[LANES] __attribute__((aligned(64)));
    const f32 *pa = a, *pb = b;
    LANE_LOOP {
      flushed_a[l] = flushed(pa[l]);
      flushed_b[l] = flushed(pb[l]);
    }
    return step->compare(flushed_a, flushed_b);
  }
  return step->compare(a, b);
}

static u32 combine(unsigned how, u32 a, u32 b) {
  return how == PTX_COMBINE_AND ? (a & b) : how == PTX_COMBINE_OR ? (a | b) : how == PTX_COMBINE_XOR ? (a ^ b) : a;
}

static void setp_simple(W *warp, const S *step) {
  write_predicate(warp, step->d, step->compare(REGISTER(u32, step->a), REGISTER(u32, step->b)));
}

static void setp(W *warp, const S *step) {
  const struct ptx_instruction *source = step->source;
  u32 holds = compare(warp, step, source->type, 0), other = 0;
  /* Of pairs the second predicate tells of the upper halves, else of the opposite. */
  u32 second = half_is_pair(source->type) ? compare(warp, step, source->type, 16) : ~holds;
  if (source->combine) other = PREDICATE(step->c) ^ (step->negate_c ? UINT32_MAX : 0);
  write_predicate(warp, step->d, combine(source->combine, holds, other));
  if (source->dst_count > 1) write_predicate(warp, step->list[0], combine(source->combine, second, other));
}

static void set(W *warp, const S *step) {
  const struct ptx_instruction *source = step->source;
  const unsigned type = source->type;
  const bool pair = half_is_pair(source->source_type);
  const u32 one = type == PTX_F32                          ? 0x3f800000
                  : type == PTX_F16 || type == PTX_F16X2   ? 0x3c00
                  : type == PTX_BF16 || type == PTX_BF16X2 ? 0x3f80
                  : ptx_type_bytes(type) == 2 || pair      ? 0xffff
                                                           : UINT32_MAX;
  u32 result[LANES] = {0}, *d = REGISTER(u32, step->d);
  for (unsigned shift = 0; shift < (pair ? 32 : 16); shift += 16) {
    u32 holds = compare(warp, step, source->source_type, shift);
    if (source->combine)
      holds = combine(source->combine, holds, PREDICATE(step->c) ^ (step->negate_c ? UINT32_MAX : 0));
    LANE_LOOP result[l] |= (holds >> l & 1 ? one : 0) << shift;
  }
  LANE_LOOP d[l] = result[l];
}

static void testp(W *warp, const S *step) {
  const struct ptx_instruction *source = step->source;
  u32 holds = 0;
  for (int l = 0; l < LANES; l++) {
    u64 bits, exponent_mask, mantissa_mask;
    if (source->type == PTX_F32) {
      bits = REGISTER(u32, step->a)[l];
      exponent_mask = 0x7f800000;
      mantissa_mask = 0x007fffff;
    } else {
      bits = REGISTER(u64, step->a)[l];
      exponent_mask = 0x7ff0000000000000;
      mantissa_mask = 0x000fffffffffffff;
    }
    bool top = (bits & exponent_mask) == exponent_mask, bottom = !(bits & exponent_mask),
         fraction = bits & mantissa_mask;
    bool result = false;
    switch (source->mode) {
      case PTX_TEST_FINITE:
        result = !top;
        break;
      case PTX_TEST_INFINITE:
        result = top && !fraction;
        break;
      case PTX_TEST_NUMBER:
        result = !(top && fraction);
        break;
      case PTX_TEST_NOTANUMBER:
        result = top && fraction;
        break;
      case PTX_TEST_NORMAL:
        result = !top && !bottom;
        break;
      default:
        result = bottom && fraction;
        break;
    }
    holds |= (u32)result << l;
  }
  write_predicate(warp, step->d, holds);
}

static u32 read_predicate(W *warp, u32 code, bool negate) { return PREDICATE(code) ^ (negate ? UINT32_MAX : 0); }

static void and_pred(W *warp, const S *step) {
  write_predicate(warp, step->d, PREDICATE(step->a) & PREDICATE(step->b));
}
static void or_pred(W *warp, const S *step) { write_predicate(warp, step->d, PREDICATE(step->a) | PREDICATE(step->b)); }
static void xor_pred(W *warp, const S *step) {
  write_predicate(warp, step->d, PREDICATE(step->a) ^ PREDICATE(step->b));
}
static void not_pred(W *warp, const S *step) { write_predicate(warp, step->d, ~PREDICATE(step->a)); }
static void mov_pred(W *warp, const S *step) { write_predicate(warp, step->d, PREDICATE(step->a)); }

/* ---- conversion ---- */

UNARY(cvt_u64_u32, u64, u32, u32, a)
UNARY(cvt_s64_s32, s64, s32, s32, a)
UNARY(cvt_32_64, u32, u64, u64, a)
UNARY(cvt_u32_u16, u32, u32, u16, a)
UNARY(cvt_s32_s16, s32, u32, s16, a)
UNARY(cvt_u32_u8, u32, u32, u8, a)
UNARY(cvt_s32_s8, s32, u32, s8, a)
UNARY(cvt_u64_u16, u64, u32, u16, a)
UNARY(cvt_s64_s16, s64, u32, s16, a)
UNARY(cvt_f32_s32, f32, s32, s32, a)
UNARY(cvt_f32_u32, f32, u32, u32, a)
UNARY(cvt_f32_u16, f32, u32, u16, a)
UNARY(cvt_f64_s32, f64, s32, s32, a)
UNARY(cvt_f64_u32, f64, u32, u32, a)
UNARY(cvt_f64_f32, f64, f32, f32, a)
UNARY(cvt_f32_f64, f32, f64, f64, a)
UNARY(rint_f32, f32, f32, f32, __builtin_rintf(a))
UNARY(trunc_f32, f32, f32, f32, __builtin_truncf(a))
UNARY(floor_f32, f32, f32, f32, __builtin_floorf(a))
UNARY(ceil_f32, f32, f32, f32, __builtin_ceilf(a))
UNARY(sat_f32, f32, f32, f32, a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f)
/* The clamped double is exact and in range; NaN becomes 0. */
static inline s32 to_s32(float x) {
  double a = x;
  a = a > 2147483647.0 ? 2147483647.0 : a;
  a = a < -2147483648.0 ? -2147483648.0 : a;
  return x != x ? 0 : (s32)a;
}
UNARY(cvt_rzi_s32_f32, s32, f32, f32, to_s32(a))
UNARY(cvt_rni_s32_f32, s32, f32, f32, to_s32(__builtin_rintf(a)))
UNARY(cvt_rmi_s32_f32, s32, f32, f32, to_s32(__builtin_floorf(a)))
UNARY(cvt_rpi_s32_f32, s32, f32, f32, to_s32(__builtin_ceilf(a)))

static bool type_is_float(unsigned type) {
  return type == PTX_F16 || type == PTX_BF16 || type == PTX_F32 || type == PTX_F64 || type == PTX_TF32 ||
         type == PTX_E4M3 || type == PTX_E5M2;
}
static bool type_is_signed(unsigned type) { return type >= PTX_S8 && type <= PTX_S64; }

/* Any pair of types that the front end lets pass, one lane at a time. */
static void cvt_general(W *warp, const S *step) {
  const struct ptx_instruction *source = step->source;
  unsigned to = source->type, from = source->source_type;
  unsigned from_bytes = ptx_type_bytes(from), to_bytes = ptx_type_bytes(to);
  bool wide_source = step->negate_a, wide_result = step->negate_b; /* widths of the registers, see decode */
  bool flush = source->flags & PTX_FTZ, saturate = source->flags & PTX_SAT;
  for (int l = 0; l < LANES; l++) {
    u64 bits = wide_source ? REGISTER(u64, step->a)[l] : REGISTER(u32, step->a)[l], result;
    double x = 0;
    s64 integer = 0;
    u64 natural = 0; /* the value of an unsigned source */
    if (type_is_float(from)) {
      if (from == PTX_F64) x = double_of(bits);
      if (from == PTX_F32) x = (double)(flush ? flushed(float_of((u32)bits)) : float_of((u32)bits));
      if (from == PTX_BF16) x = (double)float_of((u32)bits << 16);
      if (from == PTX_F16) x = (double)float_of_half((u16)bits);
      if (from == PTX_E4M3) x = (double)float_of_e4m3((u8)bits);
      if (from == PTX_E5M2) x = (double)float_of_e5m2((u8)bits);
    } else {
      unsigned spare = 64 - 8 * from_bytes;
      natural = bits << spare >> spare;
      integer = type_is_signed(from) ? (s64)(bits << spare) >> spare : (s64)natural;
    }
    if (!type_is_float(to)) {
      unsigned width = 8 * to_bytes;
      bool sign = type_is_signed(to);
      if (type_is_float(from)) {
        switch (source->rounding) {
          case PTX_RNI:
            x = rint(x);
            break;
          case PTX_RMI:
            x = floor(x);
            break;
          case PTX_RPI:
            x = ceil(x);
            break;
          default:
            x = trunc(x);
            break;
        }
        double low = sign ? -ldexp(1.0, (int)width - 1) : 0, high = ldexp(1.0, (int)(sign ? width - 1 : width));
        u64 greatest = sign ? ((u64)1 << (width - 1)) - 1 : width == 64 ? UINT64_MAX : ((u64)1 << width) - 1;
        if (x != x)
          result = from == PTX_F64 || width == 64 ? (u64)1 << (width - 1) : 0;
        else if (x >= high)
          result = greatest;
        else if (x <= low)
          result = (u64)(s64)low;
        else
          result = sign ? (u64)(s64)x : (u64)x;
      } else {
        result = (u64)integer;
        bool source_sign = type_is_signed(from);
        if (saturate && sign) {
          s64 high = width == 64 ? INT64_MAX : ((s64)1 << (width - 1)) - 1, low = -high - 1;
          if (!source_sign)
            result = natural > (u64)high ? (u64)high : natural;
          else
            result = (u64)(integer > high ? high : integer < low ? low : integer);
        } else if (saturate) {
          u64 high = width == 64 ? UINT64_MAX : ((u64)1 << width) - 1;
          if (source_sign)
            result = integer < 0 ? 0 : (u64)integer > high ? high : (u64)integer;
          else
            result = natural > high ? high : natural;
        }
      }
      unsigned spare = 64 - width; /* a wider register gets the sign or zeros */
      result = sign ? (u64)((s64)(result << spare) >> spare) : result << spare >> spare;
      if (width == 16 && !wide_result && source->dst[0].kind == PTX_OPERAND_REGISTER &&
          warp->block->code->function->register_class[source->dst[0].index] == PTX_CLASS_16)
        result &= 0xffff;
    } else {
      int rounding = source->rounding;
      if (!type_is_float(from)) {
        bool is_signed = type_is_signed(from);
        if (to == PTX_F32 || to == PTX_F64) { /* rounded by the machine's own conversion */
          unsigned before = set_rounding(rounding);
          volatile s64 as_signed = integer;
          volatile u64 as_unsigned = natural;
          if (to == PTX_F32) {
            volatile float y = is_signed ? (float)as_signed : (float)as_unsigned;
            restore_rounding(before);
            x = (double)y;
          } else {
            volatile double y = is_signed ? (double)as_signed : (double)as_unsigned;
            restore_rounding(before);
            x = y;
          }
        } else { /* rounded below; the last bit stands for those that a double has no room for */
          bool negative = is_signed && integer < 0;
          u64 magnitude = negative ? 0 - (u64)integer : natural;
          x = magnitude >> 53 ? (double)(magnitude >> 11 | ((magnitude & 2047) != 0)) * 2048.0 : (double)magnitude;
          x = negative ? -x : x;
        }
      }
      if (rounding >= PTX_RNI && rounding <= PTX_RPI) {
        x = rounding == PTX_RNI ? rint(x) : rounding == PTX_RMI ? floor(x) : rounding == PTX_RPI ? ceil(x) : trunc(x);
        rounding = PTX_RN;
      }
      if ((source->flags & PTX_RELU) && !(x > 0)) x = x != x ? x : 0;
      if (to == PTX_F64) {
        result = bits_of_double(x);
      } else if (to == PTX_F32) {
        float y;
        if (from == PTX_F64 && rounding >= PTX_RN && rounding <= PTX_RP) {
          unsigned before = set_rounding(rounding);
          volatile double wide = x;
          volatile float rounded = (float)wide;
          restore_rounding(before);
          y = rounded;
        } else {
          y = (float)x;
        }
        if (flush) y = flushed(y);
        if (saturate) y = y > 0.0f ? (y < 1.0f ? y : 1.0f) : 0.0f;
        result = bits_of(y);
        if (y != y) result = CANONICAL_NAN;
      } else {
        struct narrow_format format = to == PTX_F16    ? format_f16
                                      : to == PTX_BF16 ? format_bf16
                                      : to == PTX_TF32 ? format_tf32
                                      : to == PTX_E4M3 ? format_e4m3
                                                       : format_e5m2;
        if (saturate) x = x > 0 ? (x < 1 ? x : 1) : 0;
        result = narrow_of_double(x, format, rounding);
        u32 sign = format.nan + 1;
        if ((source->flags & PTX_SATFINITE) && x == x && (result & format.nan) > format.largest)
          result = (result & sign) | format.largest;
        if (to == PTX_TF32) result = x != x ? CANONICAL_NAN : result << 13;
      }
    }
    if (wide_result)
      REGISTER(u64, step->d)[l] = result;
    else
      REGISTER(u32, step->d)[l] = (u32)result;
  }
}

/* ---- moves of several elements, special registers, addresses ---- */

static void mov_pack(W *warp, const S *step) {
  const struct ptx_instruction *source = step->source;
  unsigned count = source->src_count, bits = 8 * ptx_type_bytes(source->type) / count;
  u64 result[LANES];
  for (int l = 0; l < LANES; l++) {
    u64 value = 0;
    for (unsigned i = 0; i < count; i++) {
      u64 part = REGISTER(u32, step->list[i])[l];
      value |= (part & (((u64)1 << bits) - 1)) << (i * bits);
    }
    result[l] = value;
  }
  for (int l = 0; l < LANES; l++) {
    if (!(warp->mask >> l & 1)) continue;
    if (ptx_type_bytes(source->type) == 8)
      REGISTER(u64, step->d)[l] = result[l];
    else
      REGISTER(u32, step->d)[l] = (u32)result[l];
  }
}

static void mov_unpack(W *warp, const S *step) {
  const struct ptx_instruction *source = step->source;
  unsigned count = source->dst_count, bits = 8 * ptx_type_bytes(source->type) / count;
  for (int l = 0; l < LANES; l++) {
    if (!(warp->mask >> l & 1)) continue;
    u64 value = ptx_type_bytes(source->type) == 8 ? REGISTER(u64, step->a)[l] : REGISTER(u32, step->a)[l];
    for (unsigned i = 0; i < count; i++)
      REGISTER(u32, step->list[i])[l] = (u32)(value >> (i * bits) & (((u64)1 << bits) - 1));
  }
}

static u64 nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (u64)now.tv_sec * 1000000000u + (u64)now.tv_nsec;
}

static void mov_special(W *warp, const S *step) {
  const struct block_state *block = warp->block;
  const struct vgpu_launch *launch = block->launch;
  u64 value = 0;
  unsigned special = step->source->src[0].index;
  bool wide = ptx_type_bytes(step->source->type) == 8;
  if (special <= PTX_TID_Z) {
    for (int l = 0; l < LANES; l++) {
      unsigned thread[3];
      thread_of(block, warp->index, l, thread);
      if (wide)
        REGISTER(u64, step->d)[l] = thread[special - PTX_TID_X];
      else
        REGISTER(u32, step->d)[l] = thread[special - PTX_TID_X];
    }
    return;
  }
  switch (special) {
    case PTX_LANEID:
    case PTX_LANEMASK_EQ:
    case PTX_LANEMASK_LE:
    case PTX_LANEMASK_LT:
    case PTX_LANEMASK_GE:
    case PTX_LANEMASK_GT:
      for (int l = 0; l < LANES; l++) {
        u32 below = ((u32)1 << l) - 1, self = (u32)1 << l;
        u32 each = special == PTX_LANEID        ? (u32)l
                   : special == PTX_LANEMASK_EQ ? self
                   : special == PTX_LANEMASK_LE ? below | self
                   : special == PTX_LANEMASK_LT ? below
                   : special == PTX_LANEMASK_GE ? ~below
                                                : ~(below | self);
        if (wide)
          REGISTER(u64, step->d)[l] = each;
        else
          REGISTER(u32, step->d)[l] = each;
      }
      return;
    case PTX_NTID_X:
    case PTX_NTID_Y:
    case PTX_NTID_Z:
      value = launch->block[special - PTX_NTID_X];
      break;
    case PTX_CTAID_X:
    case PTX_CTAID_Y:
    case PTX_CTAID_Z:
      value = block->ctaid[special - PTX_CTAID_X];
      break;
    case PTX_NCTAID_X:
    case PTX_NCTAID_Y:
    case PTX_NCTAID_Z:
      value = launch->grid[special - PTX_NCTAID_X];
      break;
    case PTX_WARPID:
      value = warp->index;
      break;
    case PTX_NWARPID:
      value = block->warps;
      break;
    case PTX_SMID:
      value = block->slot;
      break;
    case PTX_NSMID:
      value = launch->multiprocessors;
      break;
    case PTX_GRIDID:
      value = launch->grid_id;
      break;
    case PTX_CLOCK:
    case PTX_CLOCK64:
    case PTX_GLOBALTIMER:
    case PTX_GLOBALTIMER_LO:
      value = nanoseconds();
      break;
    case PTX_CLOCK_HI:
    case PTX_GLOBALTIMER_HI:
      value = nanoseconds() >> 32;
      break;
    case PTX_DYNAMIC_SMEM_SIZE:
      value = launch->dynamic_shared;
      break;
    case PTX_TOTAL_SMEM_SIZE:
      value = block->shared_bytes;
      break;
    case PTX_ENVREG1:
      value = launch->workspace >> 32;
      break;
    case PTX_ENVREG2:
      value = (u32)launch->workspace;
      break;
    default:
      break;
  }
  if (wide) {
    u64 *d = REGISTER(u64, step->d);
    LANE_LOOP d[l] = value;
  } else {
    u32 *d = REGISTER(u32, step->d);
    LANE_LOOP d[l] = (u32)value;
  }
}

/* The base that cvta adds in lane l. */
static u64 space_base(const W *warp, unsigned space, int lane) {
  const struct block_state *block = warp->block;
  switch (space) {
    case PTX_SHARED:
      return (u64)(uintptr_t)block->shared;
    case PTX_LOCAL:
      return (u64)(uintptr_t)block->local + (warp->index * LANES + (u64)lane) * block->local_bytes;
    case PTX_PARAM:
      return (u64)(uintptr_t)block->launch->params;
    default:
      return 0;
  }
}

static void cvta(W *warp, const S *step) {
  u64 *d = REGISTER(u64, step->d);
  const u64 *a = REGISTER(u64, step->a);
  unsigned space = step->source->space;
  u64 sign = step->source->op == PTX_CVTA_TO ? UINT64_MAX : 1;
  for (int l = 0; l < LANES; l++) d[l] = a[l] + sign * space_base(warp, space, l);
}

static void isspacep(W *warp, const S *step) {
  const struct block_state *block = warp->block;
  const u64 *a = REGISTER(u64, step->a);
  u32 holds = 0;
  for (int l = 0; l < LANES; l++) {
    bool shared = a[l] - (u64)(uintptr_t)block->shared < block->shared_bytes;
    bool local = a[l] - (u64)(uintptr_t)block->local < block->local_bytes * block->warps * LANES;
    bool param = a[l] - (u64)(uintptr_t)block->launch->params < block->launch->param_bytes;
    bool constant = false;
    const struct ptx_module *module = block->code->function->module;
    for (u32 i = 0; i < module->variable_count && step->source->space == PTX_CONST; i++) {
      const struct ptx_variable *variable = &module->variables[i];
      constant |=
          variable->space == PTX_CONST && a[l] - (u64)(uintptr_t)(module->segment + variable->offset) < variable->size;
    }
    bool result = step->source->space == PTX_SHARED  ? shared
                  : step->source->space == PTX_LOCAL ? local
                  : step->source->space == PTX_PARAM ? param
                  : step->source->space == PTX_CONST ? constant
                                                     : !shared && !local && !param;
    holds |= (u32)result << l;
  }
  write_predicate(warp, step->d, holds);
}

/* ---- memory ---- */

enum pattern { PATTERN_NONE, PATTERN_UNIFORM, PATTERN_CONTIGUOUS, PATTERN_SCATTERED };

struct access {
  enum pattern pattern;                            /* NONE: a fault */
  char *base;                                      /* UNIFORM: of all lanes; CONTIGUOUS: of lane 0 */
  u64 pointer[LANES] __attribute__((aligned(64))); /* SCATTERED: of the active lanes */
};

static void address_fault(W *warp, const S *step, int lane, u64 address, unsigned bytes) {
  static const char *const spaces[] = {[PTX_GENERIC] = "",     [PTX_GLOBAL] = "",         [PTX_SHARED] = "shared ",
                                       [PTX_LOCAL] = "local ", [PTX_CONST] = "constant ", [PTX_PARAM] = "parameter "};
  unsigned op = step->source->op;
  const char *what = op == PTX_LD || op == PTX_LDMATRIX   ? "read"
                     : op == PTX_ST || op == PTX_STMATRIX ? "write"
                                                          : "atomic operation";
  fault(warp, step->source, lane, VGPU_FAULT_ADDRESS, "%s %s of %u bytes at %s0x%llx",
        address % bytes ? "misaligned" : "invalid", what, bytes, spaces[step->source->space],
        (unsigned long long)address);
}

static inline bool inside(u64 offset, unsigned bytes, u64 limit) { return offset < limit && limit - offset >= bytes; }

static inline bool check_global(W *warp, const S *step, u64 address, unsigned bytes) {
  struct range *range = &warp->block->ranges[step->cache];
  if (__builtin_expect(address >= range->low && inside(address - range->low, bytes, range->high - range->low), 1))
    return true;
  u64 low, high;
  if (!vgpu_memory_contains(address, bytes, &low, &high)) return false;
  range->low = low;
  range->high = high;
  return true;
}

/* Whether every lane is first + l * stride. */
static inline bool is_progression_32(const u32 *a, u32 first, u32 stride) {
#if defined(SET_AVX512)
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i low =
      _mm512_add_epi32(_mm512_set1_epi32((int)first), _mm512_mullo_epi32(lane, _mm512_set1_epi32((int)stride)));
  __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32((int)(16 * stride)));
  return (u32)(_mm512_cmpneq_epu32_mask(low, _mm512_load_si512((const void *)a)) |
               _mm512_cmpneq_epu32_mask(high, _mm512_load_si512((const void *)(a + 16)))) == 0;
#else
  u32 differs = 0;
  LANE_LOOP differs |= a[l] ^ (first + (u32)l * stride);
  return !differs;
#endif
}

static inline bool is_progression_64(const u64 *a, u64 first, u64 stride) {
#if defined(SET_AVX512)
  __m512i expected =
      _mm512_add_epi64(_mm512_set1_epi64((s64)first),
                       _mm512_mullo_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64((s64)stride)));
  const __m512i eight = _mm512_set1_epi64((s64)(8 * stride));
  u32 differs = 0;
  for (int i = 0; i < LANES; i += 8) {
    differs |= _mm512_cmpneq_epu64_mask(expected, _mm512_load_si512((const void *)(a + i)));
    expected = _mm512_add_epi64(expected, eight);
  }
  return !differs;
#else
  u64 differs = 0;
  LANE_LOOP differs |= a[l] ^ (first + (u64)l * stride);
  return !differs;
#endif
}

/* How the active lanes' addresses (without the constant offset) lie, and the first of them. The ends are looked at
 * first: most scattered accesses show there. */
static inline enum pattern pattern_32(const W *warp, const u32 *a, u32 bytes, u32 *first) {
  if (warp->mask != UINT32_MAX) {
    u32 mask = warp->mask, leader = a[lowest(mask)], differs = 0;
    *first = leader;
    LANE_LOOP differs |= mask >> l & 1 ? a[l] ^ leader : 0;
    return differs ? PATTERN_SCATTERED : PATTERN_UNIFORM;
  }
  u32 span = a[LANES - 1] - a[0];
  *first = a[0];
  if (span == 0) return is_progression_32(a, a[0], 0) ? PATTERN_UNIFORM : PATTERN_SCATTERED;
  return span == (LANES - 1) * bytes && is_progression_32(a, a[0], bytes) ? PATTERN_CONTIGUOUS : PATTERN_SCATTERED;
}

static inline enum pattern pattern_64(const W *warp, const u64 *a, u64 bytes, u64 *first) {
  if (warp->mask != UINT32_MAX) {
    u32 mask = warp->mask;
    u64 leader = a[lowest(mask)], differs = 0;
    *first = leader;
    LANE_LOOP differs |= mask >> l & 1 ? a[l] ^ leader : 0;
    return differs ? PATTERN_SCATTERED : PATTERN_UNIFORM;
  }
  u64 span = a[LANES - 1] - a[0];
  *first = a[0];
  if (span == 0) return is_progression_64(a, a[0], 0) ? PATTERN_UNIFORM : PATTERN_SCATTERED;
  return span == (LANES - 1) * bytes && is_progression_64(a, a[0], bytes) ? PATTERN_CONTIGUOUS : PATTERN_SCATTERED;
}

/* Whether every active lane's access is aligned and inside [low, low + limit). */
static inline bool all_inside(const u64 *pointer, u32 mask, unsigned bytes, u64 low, u64 limit) {
  if (limit < bytes) return false;
  u64 bad = 0, last = limit - bytes;
  LANE_LOOP {
    u64 outside = pointer[l] - low > last, crooked = pointer[l] & (bytes - 1);
    bad |= mask >> l & 1 ? outside | crooked : 0;
  }
  return !bad;
}

/* A window of its own at `memory`: shared memory and parameters. */
static inline void locate_window(W *warp, const S *step, unsigned bytes, struct access *access, const void *memory,
                                 u64 limit, bool narrow) {
  const u64 offset = (u64)step->offset;
  u64 *pointer = access->pointer, first;
  enum pattern pattern;
  if (narrow) {
    const u32 *a = REGISTER(u32, step->a);
    u32 start;
    pattern = pattern_32(warp, a, bytes, &start);
    first = (u32)(start + (u32)offset); /* 32-bit addresses wrap around; the progression must not */
    if (pattern == PATTERN_CONTIGUOUS && first > UINT32_MAX - LANES * bytes) pattern = PATTERN_SCATTERED;
    if (pattern == PATTERN_SCATTERED) LANE_LOOP pointer[l] = (u32)(a[l] + (u32)offset);
  } else {
    const u64 *a = REGISTER(u64, step->a);
    pattern = pattern_64(warp, a, bytes, &first);
    first += offset;
    if (pattern == PATTERN_SCATTERED) LANE_LOOP pointer[l] = a[l] + offset;
  }
  if (pattern != PATTERN_SCATTERED) {
    unsigned extent = pattern == PATTERN_CONTIGUOUS ? LANES * bytes : bytes;
    if (__builtin_expect(inside(first, extent, limit) && !(first & (bytes - 1)), 1)) {
      access->pattern = pattern;
      access->base = (char *)(uintptr_t)memory + first;
      return;
    }
    for (int l = 0; l < LANES; l++) pointer[l] = first + (pattern == PATTERN_CONTIGUOUS ? (u64)l * bytes : 0);
  }
  if (!all_inside(pointer, warp->mask, bytes, 0, limit)) {
    for (u32 rest = warp->mask; rest; rest &= rest - 1) {
      int l = lowest(rest);
      if (inside(pointer[l], bytes, limit) && !(pointer[l] & (bytes - 1))) continue;
      address_fault(warp, step, l, pointer[l], bytes);
      access->pattern = PATTERN_NONE;
      return;
    }
  }
  LANE_LOOP pointer[l] += (u64)(uintptr_t)memory;
  access->pattern = PATTERN_SCATTERED;
}

static void locate_shared_32(W *warp, const S *step, unsigned bytes, struct access *access) {
  locate_window(warp, step, bytes, access, warp->block->shared, warp->block->shared_bytes, true);
}
static void locate_shared_64(W *warp, const S *step, unsigned bytes, struct access *access) {
  locate_window(warp, step, bytes, access, warp->block->shared, warp->block->shared_bytes, false);
}
static void locate_param_32(W *warp, const S *step, unsigned bytes, struct access *access) {
  locate_window(warp, step, bytes, access, warp->block->launch->params, warp->block->launch->param_bytes, true);
}
static void locate_param_64(W *warp, const S *step, unsigned bytes, struct access *access) {
  locate_window(warp, step, bytes, access, warp->block->launch->params, warp->block->launch->param_bytes, false);
}

static void locate_global(W *warp, const S *step, unsigned bytes, struct access *access) {
  const u64 offset = (u64)step->offset, *a = REGISTER(u64, step->a);
  u64 *pointer = access->pointer, first;
  enum pattern pattern = pattern_64(warp, a, bytes, &first);
  if (pattern != PATTERN_SCATTERED) {
    first += offset;
    unsigned extent = pattern == PATTERN_CONTIGUOUS ? LANES * bytes : bytes;
    if (__builtin_expect(!(first & (bytes - 1)) && check_global(warp, step, first, extent), 1)) {
      access->pattern = pattern;
      access->base = (char *)(uintptr_t)first;
      return;
    }
  }
  LANE_LOOP pointer[l] = a[l] + offset;
  access->pattern = PATTERN_SCATTERED;
  const struct range *range = &warp->block->ranges[step->cache];
  if (all_inside(pointer, warp->mask, bytes, range->low, range->high - range->low)) return;
  for (u32 rest = warp->mask; rest; rest &= rest - 1) {
    int l = lowest(rest);
    if (!(pointer[l] & (bytes - 1)) && check_global(warp, step, pointer[l], bytes)) continue;
    address_fault(warp, step, l, pointer[l], bytes);
    access->pattern = PATTERN_NONE;
    return;
  }
}

/* Local and generic addresses, lane by lane. */
static void locate_local(W *warp, const S *step, unsigned bytes, struct access *access) {
  const struct block_state *block = warp->block;
  bool narrow = step->negate_a;
  access->pattern = PATTERN_SCATTERED;
  for (u32 rest = warp->mask; rest; rest &= rest - 1) {
    int l = lowest(rest);
    u64 address =
        narrow ? (u32)(REGISTER(u32, step->a)[l] + (u32)step->offset) : REGISTER(u64, step->a)[l] + (u64)step->offset;
    if (!inside(address, bytes, block->local_bytes) || (address & (bytes - 1))) {
      address_fault(warp, step, l, address, bytes);
      access->pattern = PATTERN_NONE;
      return;
    }
    access->pointer[l] = space_base(warp, PTX_LOCAL, l) + address;
  }
}

static void locate_generic(W *warp, const S *step, unsigned bytes, struct access *access) {
  const struct block_state *block = warp->block;
  const u64 *a = REGISTER(u64, step->a);
  u64 first;
  enum pattern pattern = pattern_64(warp, a, bytes, &first);
  first += (u64)step->offset;
  unsigned extent = pattern == PATTERN_CONTIGUOUS ? LANES * bytes : bytes;
  if (pattern != PATTERN_SCATTERED && !(first & (bytes - 1)) &&
      (inside(first - (u64)(uintptr_t)block->shared, extent, block->shared_bytes) ||
       check_global(warp, step, first, extent))) {
    access->pattern = pattern;
    access->base = (char *)(uintptr_t)first;
    return;
  }
  access->pattern = PATTERN_SCATTERED;
  for (u32 rest = warp->mask; rest; rest &= rest - 1) {
    int l = lowest(rest);
    u64 address = access->pointer[l] = a[l] + (u64)step->offset;
    if (!(address & (bytes - 1)) &&
        (inside(address - (u64)(uintptr_t)block->shared, bytes, block->shared_bytes) ||
         inside(address - (u64)(uintptr_t)block->launch->params, bytes, block->launch->param_bytes) ||
         inside(address - space_base(warp, PTX_LOCAL, l), bytes, block->local_bytes) ||
         check_global(warp, step, address, bytes)))
      continue;
    address_fault(warp, step, l, address, bytes);
    access->pattern = PATTERN_NONE;
    return;
  }
}

#if defined(OBSERVED)
#include "engine/vgpu/interpreter_observed.h"
#endif

static vgpu_locate *plain_locate(unsigned space, bool narrow) {
  switch (space) {
    case PTX_SHARED:
      return narrow ? locate_shared_32 : locate_shared_64;
    case PTX_PARAM:
      return narrow ? locate_param_32 : locate_param_64;
    case PTX_LOCAL:
      return locate_local;
    case PTX_GENERIC:
      return locate_generic;
    default:
      return locate_global;
  }
}

static vgpu_locate *select_locate(unsigned space, bool narrow) { return hook_locate(plain_locate(space, narrow)); }

static inline void order_before(const S *step) {
  if (step->source->order >= PTX_RELEASE) __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
static inline void order_after(const S *step) {
  if (step->source->flags & PTX_STRONG) __atomic_thread_fence(__ATOMIC_ACQUIRE);
}

/* M: the type in memory, which also extends it; R: the register's lanes. */
#define LOAD(name, M, R)                                                                           \
  static void name(W *warp, const S *step) {                                                       \
    struct access access;                                                                          \
    unsigned count = step->source->vector;                                                         \
    step->locate(warp, step, (unsigned)sizeof(M) * count, &access);                                \
    const u32 mask = warp->mask;                                                                   \
    if (access.pattern == PATTERN_NONE) return;                                                    \
    if (access.pattern == PATTERN_UNIFORM) {                                                       \
      for (unsigned e = 0; e < count; e++) {                                                       \
        M value;                                                                                   \
        memcpy(&value, access.base + e * sizeof(M), sizeof(M));                                    \
        const R wide = (R)value;                                                                   \
        R *d = REGISTER(R, step->list[e]);                                                         \
        if (warp->full)                                                                            \
          LANE_LOOP d[l] = wide;                                                                   \
        else                                                                                       \
          LANE_LOOP d[l] = mask >> l & 1 ? wide : d[l];                                            \
      }                                                                                            \
    } else if (access.pattern == PATTERN_CONTIGUOUS && count == 1) {                               \
      R *d = REGISTER(R, step->list[0]);                                                           \
      M buffer[LANES];                                                                             \
      memcpy(buffer, access.base, sizeof buffer);                                                  \
      LANE_LOOP d[l] = (R)buffer[l];                                                               \
    } else if (access.pattern == PATTERN_CONTIGUOUS) {                                             \
      for (unsigned e = 0; e < count; e++) {                                                       \
        R *d = REGISTER(R, step->list[e]);                                                         \
        for (int l = 0; l < LANES; l++) {                                                          \
          M value;                                                                                 \
          memcpy(&value, access.base + ((unsigned)l * count + e) * sizeof(M), sizeof(M));          \
          d[l] = (R)value;                                                                         \
        }                                                                                          \
      }                                                                                            \
    } else {                                                                                       \
      for (unsigned e = 0; e < count; e++) {                                                       \
        R *d = REGISTER(R, step->list[e]);                                                         \
        if (mask == UINT32_MAX) {                                                                  \
          for (int l = 0; l < LANES; l++) {                                                        \
            M value;                                                                               \
            memcpy(&value, (const char *)(uintptr_t)access.pointer[l] + e * sizeof(M), sizeof(M)); \
            d[l] = (R)value;                                                                       \
          }                                                                                        \
          continue;                                                                                \
        }                                                                                          \
        for (u32 rest = mask; rest; rest &= rest - 1) {                                            \
          int l = lowest(rest);                                                                    \
          M value;                                                                                 \
          memcpy(&value, (const char *)(uintptr_t)access.pointer[l] + e * sizeof(M), sizeof(M));   \
          d[l] = (R)value;                                                                         \
        }                                                                                          \
      }                                                                                            \
    }                                                                                              \
    order_after(step);                                                                             \
  }
LOAD(load_u8_32, u8, u32)
LOAD(load_s8_32, s8, u32)
LOAD(load_u16_32, u16, u32)
LOAD(load_s16_32, s16, u32)
LOAD(load_32_32, u32, u32)
LOAD(load_u8_64, u8, u64)
LOAD(load_s8_64, s8, u64)
LOAD(load_u16_64, u16, u64)
LOAD(load_s16_64, s16, u64)
LOAD(load_u32_64, u32, u64)
LOAD(load_s32_64, s32, u64)
LOAD(load_64_64, u64, u64)

#define STORE(name, M, R)                                                                  \
  static void name(W *warp, const S *step) {                                               \
    struct access access;                                                                  \
    unsigned count = step->source->vector;                                                 \
    order_before(step);                                                                    \
    step->locate(warp, step, (unsigned)sizeof(M) * count, &access);                        \
    if (access.pattern == PATTERN_NONE) return;                                            \
    if (access.pattern == PATTERN_CONTIGUOUS && count == 1) {                              \
      const R *s = REGISTER(R, step->list[0]);                                             \
      M buffer[LANES];                                                                     \
      LANE_LOOP buffer[l] = (M)s[l];                                                       \
      memcpy(access.base, buffer, sizeof buffer);                                          \
    } else if (access.pattern == PATTERN_CONTIGUOUS) {                                     \
      for (int l = 0; l < LANES; l++) {                                                    \
        for (unsigned e = 0; e < count; e++) {                                             \
          M value = (M)REGISTER(R, step->list[e])[l];                                      \
          memcpy(access.base + ((unsigned)l * count + e) * sizeof(M), &value, sizeof(M));  \
        }                                                                                  \
      }                                                                                    \
    } else if (access.pattern == PATTERN_UNIFORM) { /* the last lane stays */              \
      int l = 31 - __builtin_clz(warp->mask);                                              \
      for (unsigned e = 0; e < count; e++) {                                               \
        M value = (M)REGISTER(R, step->list[e])[l];                                        \
        memcpy(access.base + e * sizeof(M), &value, sizeof(M));                            \
      }                                                                                    \
    } else {                                                                               \
      for (u32 rest = warp->mask; rest;) {                                                 \
        int l = next_lane(warp, rest);                                                     \
        rest = without_lane(rest, l);                                                      \
        for (unsigned e = 0; e < count; e++) {                                             \
          M value = (M)REGISTER(R, step->list[e])[l];                                      \
          memcpy((char *)(uintptr_t)access.pointer[l] + e * sizeof(M), &value, sizeof(M)); \
        }                                                                                  \
      }                                                                                    \
    }                                                                                      \
  }
STORE(store_8_32, u8, u32)
STORE(store_16_32, u16, u32)
STORE(store_32_32, u32, u32)
STORE(store_8_64, u8, u64)
STORE(store_16_64, u16, u64)
STORE(store_32_64, u32, u64)
STORE(store_64_64, u64, u64)

/* atom.add of halves, in one half of the words. */
static inline u32 half_sum(u32 old, u32 b, unsigned type) {
  const bool brain = half_is_brain(type);
  const float x = brain ? float_of_bfloat(old) : float_of_half(old), y = brain ? float_of_bfloat(b) : float_of_half(b);
  return half_round((double)(x + y), type);
}

static u32 atomic_new_32(const struct ptx_instruction *source, u32 old, u32 b, u32 c) {
  switch (source->mode) {
    case PTX_ATOM_ADD:
      if (half_is_pair(source->type))
        return half_sum(old & 0xffff, b & 0xffff, source->type) | half_sum(old >> 16, b >> 16, source->type) << 16;
      return source->type == PTX_F32 ? bits_of(float_of(old) + float_of(b)) : old + b;
    case PTX_ATOM_MIN:
      return source->type == PTX_S32 ? ((s32)old < (s32)b ? old : b) : (old < b ? old : b);
    case PTX_ATOM_MAX:
      return source->type == PTX_S32 ? ((s32)old > (s32)b ? old : b) : (old > b ? old : b);
    case PTX_ATOM_INC:
      return old >= b ? 0 : old + 1;
    case PTX_ATOM_DEC:
      return old == 0 || old > b ? b : old - 1;
    case PTX_ATOM_AND:
      return old & b;
    case PTX_ATOM_OR:
      return old | b;
    case PTX_ATOM_XOR:
      return old ^ b;
    case PTX_ATOM_EXCH:
      return b;
    default:
      return old == b ? c : old;
  }
}
static u64 atomic_new_64(const struct ptx_instruction *source, u64 old, u64 b, u64 c) {
  switch (source->mode) {
    case PTX_ATOM_ADD:
      return source->type == PTX_F64 ? bits_of_double(double_of(old) + double_of(b)) : old + b;
    case PTX_ATOM_MIN:
      return source->type == PTX_S64 ? ((s64)old < (s64)b ? old : b) : (old < b ? old : b);
    case PTX_ATOM_MAX:
      return source->type == PTX_S64 ? ((s64)old > (s64)b ? old : b) : (old > b ? old : b);
    case PTX_ATOM_AND:
      return old & b;
    case PTX_ATOM_OR:
      return old | b;
    case PTX_ATOM_XOR:
      return old ^ b;
    case PTX_ATOM_EXCH:
      return b;
    default:
      return old == b ? c : old;
  }
}

/* The addresses of all lanes of an access. */
static void spread_access(struct access *access, unsigned bytes) {
  if (access->pattern == PATTERN_SCATTERED) return;
  u64 stride = access->pattern == PATTERN_CONTIGUOUS ? bytes : 0;
  LANE_LOOP access->pointer[l] = (u64)(uintptr_t)access->base + (u64)l * stride;
}

/* atom and red: lane after lane, in the order of the lanes. */
static void atomic(W *warp, const S *step) {
  const struct ptx_instruction *source = step->source;
  struct access access;
  unsigned bytes = ptx_type_bytes(source->type);
  step->locate(warp, step, bytes, &access);
  if (access.pattern == PATTERN_NONE) return;
  spread_access(&access, bytes);
  bool result = source->op == PTX_ATOM;
  for (u32 rest = warp->mask; rest;) {
    int l = next_lane(warp, rest);
    rest = without_lane(rest, l);
    if (bytes == 8) {
      u64 *place = (u64 *)(uintptr_t)access.pointer[l], b = REGISTER(u64, step->b)[l];
      u64 c = source->mode == PTX_ATOM_CAS ? REGISTER(u64, step->c)[l] : 0,
          old = __atomic_load_n(place, __ATOMIC_RELAXED);
      while (!__atomic_compare_exchange_n(place, &old, atomic_new_64(source, old, b, c), false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED))
        continue;
      if (result) REGISTER(u64, step->d)[l] = old;
    } else if (bytes == 4) {
      u32 *place = (u32 *)(uintptr_t)access.pointer[l], b = REGISTER(u32, step->b)[l];
      u32 c = source->mode == PTX_ATOM_CAS ? REGISTER(u32, step->c)[l] : 0,
          old = __atomic_load_n(place, __ATOMIC_RELAXED);
      while (!__atomic_compare_exchange_n(place, &old, atomic_new_32(source, old, b, c), false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED))
        continue;
      if (result) REGISTER(u32, step->d)[l] = old;
    } else {
      u16 *place = (u16 *)(uintptr_t)access.pointer[l], b = (u16)REGISTER(u32, step->b)[l];
      const bool swap = source->mode == PTX_ATOM_CAS; /* else the sum of halves */
      u16 c = swap ? (u16)REGISTER(u32, step->c)[l] : 0, old = __atomic_load_n(place, __ATOMIC_RELAXED);
      while (!__atomic_compare_exchange_n(place, &old,
                                          swap ? (old == b ? c : old) : (u16)half_sum(old, b, source->type), false,
                                          __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        continue;
      if (result) REGISTER(u32, step->d)[l] = old;
    }
  }
}

/* ---- calls of the device runtime ---- */

struct lane_view {
  W *warp;
  int lane;
};

/* Bytes from a generic address on that the lane may read. */
static size_t lane_readable(const void *context, u64 address) {
  const struct lane_view *view = context;
  const struct block_state *block = view->warp->block;
  const u64 shared = (u64)(uintptr_t)block->shared, local = space_base(view->warp, PTX_LOCAL, view->lane);
  if (address - shared < block->shared_bytes) return shared + block->shared_bytes - address;
  if (address - local < block->local_bytes) return local + block->local_bytes - address;
  u64 low, high;
  return vgpu_memory_contains(address, 1, &low, &high) ? high - address : 0;
}

static void print(W *warp, const S *step) {
  const struct vgpu_launch *launch = warp->block->launch;
  const unsigned *ctaid = warp->block->ctaid;
  const u64 block = ctaid[0] + (u64)launch->grid[0] * (ctaid[1] + (u64)launch->grid[1] * ctaid[2]);
  for (u32 rest = warp->mask; rest; rest &= rest - 1) {
    struct lane_view view = {warp, lowest(rest)};
    const struct vgpu_reader reader = {lane_readable, &view};
    size_t bytes;
    u64 bad;
    int count;
    char *text = vgpu_format(REGISTER(u64, step->a)[view.lane], REGISTER(u64, step->b)[view.lane], &reader, &bytes,
                             &count, &bad);
    if (!text) {
      fault(warp, step->source, view.lane, VGPU_FAULT_ADDRESS, "printf reads at 0x%llx", (unsigned long long)bad);
      return;
    }
    vgpu_output_add(launch->output, block, text, bytes);
    free(text);
    REGISTER(u32, step->d)[view.lane] = (u32)count;
  }
}

static void allocate(W *warp, const S *step) {
  for (u32 rest = warp->mask; rest; rest &= rest - 1) {
    int l = lowest(rest);
    REGISTER(u64, step->d)[l] = vgpu_heap_allocate(REGISTER(u64, step->a)[l]);
  }
}

static void deallocate(W *warp, const S *step) {
  for (u32 rest = warp->mask; rest; rest &= rest - 1) {
    int l = lowest(rest);
    const u64 address = REGISTER(u64, step->a)[l];
    if (vgpu_heap_free(address)) continue;
    fault(warp, step->source, l, VGPU_FAULT_OTHER, "free of 0x%llx, which malloc did not give or which is free",
          (unsigned long long)address);
    return;
  }
}

/* The end of a kernel by trap, brkpt, a failed assertion or a call to nowhere. */
static void trap(W *warp, const S *step, u32 lanes) {
  switch (step->source->mode) {
    case PTX_TRAP_BREAKPOINT:
      fault(warp, step->source, lowest(lanes), VGPU_FAULT_TRAP, "brkpt, and there is no debugger");
      return;
    case PTX_TRAP_CALL:
      fault(warp, step->source, lowest(lanes), VGPU_FAULT_OTHER,
            "a call through a pointer that names no function of this kind");
      return;
    case PTX_TRAP_ASSERT:
      break;
    default:
      fault(warp, step->source, lowest(lanes), VGPU_FAULT_TRAP, "trap");
      return;
  }
  const unsigned *ctaid = warp->block->ctaid;
  char message[160] = "";
  for (u32 rest = lanes; rest; rest &= rest - 1) {
    struct lane_view view = {warp, lowest(rest)};
    const struct vgpu_reader reader = {lane_readable, &view};
    char file[300], function[300];
    vgpu_read_text(message, sizeof message, REGISTER(u64, step->a)[view.lane], &reader);
    vgpu_read_text(file, sizeof file, REGISTER(u64, step->b)[view.lane], &reader);
    vgpu_read_text(function, sizeof function, REGISTER(u64, step->list[0])[view.lane], &reader);
    unsigned thread[3];
    thread_of(warp->block, warp->index, view.lane, thread);
    fprintf(stderr, "%s:%u: %s: block: [%u,%u,%u], thread: [%u,%u,%u] Assertion `%s` failed.\n", file,
            REGISTER(u32, step->c)[view.lane], function, ctaid[0], ctaid[1], ctaid[2], thread[0], thread[1], thread[2],
            message);
  }
  fault(warp, step->source, lowest(lanes), VGPU_FAULT_ASSERT, "assertion '%s' failed", message);
}

/* ---- matrices and asynchronous copies ---- */

#include "engine/vgpu/matrix_body.h"

/* Instructions of the whole warp need its 32 lanes. */
static bool check_whole(W *warp, const S *step) {
  if (warp->mask == UINT32_MAX) return true;
  fault(warp, step->source, lowest(warp->mask), VGPU_FAULT_BARRIER,
        "%s.sync.aligned needs all 32 lanes of the warp (lanes here: 0x%08x)", ptx_op_name(step->source->op),
        warp->mask);
  return false;
}

static void *place_of(W *warp, u32 code) { return (void *)(warp->base[code & 1] + code); }

static void mma(W *warp, const S *step) {
  if (!check_whole(warp, step)) return;
  const struct ptx_instruction *source = step->source;
  void *results[MATRIX_REGISTERS];
  const void *sources[MATRIX_REGISTERS];
  for (unsigned i = 0; i < source->dst_count; i++) results[i] = place_of(warp, step->list[i]);
  for (unsigned i = 0; i < source->src_count; i++) sources[i] = place_of(warp, step->list[source->dst_count + i]);
  if (!hook_mma(warp, source, sources, results)) SET(mma)(source, sources, results);
}

static void movmatrix(W *warp, const S *step) {
  if (!check_whole(warp, step)) return;
  const void *rows[8];
  u32 from[LANES];
  memcpy(from, REGISTER(u32, step->a), sizeof from);
  for (int r = 0; r < 8; r++) rows[r] = from + 4 * r;
  vgpu_matrix_load(REGISTER(u32, step->d), rows, true);
}

/* An access by some of the active lanes. */
static bool locate_some(W *warp, const S *step, u32 lanes, unsigned bytes, struct access *access) {
  const u32 mask = warp->mask;
  warp->mask = lanes;
  step->locate(warp, step, bytes, access);
  warp->mask = mask;
  if (access->pattern == PATTERN_NONE) return false;
  spread_access(access, bytes);
  return true;
}

/* ldmatrix and stmatrix: 8 lanes for each matrix give the addresses of its rows, of 16 bytes. */
static void matrix_access(W *warp, const S *step) {
  if (!check_whole(warp, step)) return;
  const struct ptx_instruction *source = step->source;
  struct access access;
  const unsigned count = source->vector;
  if (!locate_some(warp, step, UINT32_MAX >> (32 - 8 * count), 16, &access)) return;
  for (unsigned q = 0; q < count; q++) {
    void *rows[8];
    for (unsigned r = 0; r < 8; r++) rows[r] = (void *)(uintptr_t)access.pointer[8 * q + r];
    if (source->op == PTX_LDMATRIX)
      vgpu_matrix_load(REGISTER(u32, step->list[q]), (const void *const *)rows, source->mode);
    else
      vgpu_matrix_store(REGISTER(u32, step->list[q]), rows, source->mode);
  }
}

/* The copy is made at once, which is one of the moments at which hardware may make it. */
static void copy_async(W *warp, const S *step) {
  const unsigned bytes = step->source->vector;
  struct ptx_instruction reads = *step->source, writes = *step->source;
  reads.op = PTX_LD;
  reads.space = PTX_GLOBAL;
  reads.offset = 0;
  writes.op = PTX_ST;
  S from = *step, to = *step;
  from.source = &reads;
  from.a = step->b;
  from.offset = 0;
  from.negate_a = false;
  from.locate = select_locate(PTX_GLOBAL, false);
  from.cache = step->cache + 1;
  to.source = &writes;
  struct access access;
  unsigned char buffer[LANES][16] = {{0}};
  const u32 *size = step->source->src_count > 2 ? REGISTER(u32, step->c) : NULL;
  for (u32 rest = warp->mask; rest; rest &= rest - 1) {
    int l = lowest(rest);
    const u64 address = REGISTER(u64, step->b)[l];
    if (!(address & (bytes - 1)) || (size && !size[l])) continue;
    address_fault(warp, &from, l, address, bytes);
    return;
  }
  for (unsigned piece = bytes; piece; piece /= 2) { /* what each lane reads, in powers of two */
    u32 lanes = 0;
    for (u32 rest = warp->mask; rest; rest &= rest - 1) {
      int l = lowest(rest);
      u32 wanted = size && size[l] < bytes ? size[l] : bytes;
      lanes |= (u32)((wanted & piece) != 0) << l;
    }
    if (!lanes) continue;
    /* Lanes may have read different amounts before: those come first whose pieces lie at the same place. */
    for (u32 left = lanes; left;) {
      int leader = lowest(left);
      u32 wanted = size && size[leader] < bytes ? size[leader] : bytes, at = wanted & ~(2 * piece - 1), same = 0;
      for (u32 rest = left; rest; rest &= rest - 1) {
        int l = lowest(rest);
        u32 other = size && size[l] < bytes ? size[l] : bytes;
        same |= (u32)((other & ~(2 * piece - 1)) == at) << l;
      }
      from.offset = at;
      if (!locate_some(warp, &from, same, piece, &access)) return;
      for (u32 rest = same; rest; rest &= rest - 1) {
        int l = lowest(rest);
        memcpy(buffer[l] + at, (const void *)(uintptr_t)access.pointer[l], piece);
      }
      left &= ~same;
    }
  }
  if (!locate_some(warp, &to, warp->mask, bytes, &access)) return;
  for (u32 rest = warp->mask; rest; rest &= rest - 1) {
    int l = lowest(rest);
    memcpy((void *)(uintptr_t)access.pointer[l], buffer[l], bytes);
  }
}

/* ---- barriers in memory ---- */

/* The 64 bits of a barrier, which programs do not look into: the parity of the current phase, how many arrivals each
 * phase expects, and how many are still to come. */
enum { MBARRIER_COUNT_BITS = 20 };
#define MBARRIER_MOST (((u64)1 << MBARRIER_COUNT_BITS) - 1)
static inline u64 mbarrier_state(u64 parity, u64 expected, u64 pending) {
  return parity << 63 | expected << MBARRIER_COUNT_BITS | pending;
}

/* The state after `count` arrivals; false: there are not so many to come. */
static bool mbarrier_arrive(u64 *state, u64 count, bool drop) {
  u64 parity = *state >> 63, expected = *state >> MBARRIER_COUNT_BITS & MBARRIER_MOST, pending = *state & MBARRIER_MOST;
  if (count > pending || !pending || (drop && count > expected)) return false;
  if (drop) expected -= count;
  pending -= count;
  if (!pending) {
    parity ^= 1;
    pending = expected;
  }
  *state = mbarrier_state(parity, expected, pending);
  return true;
}

static void mbarrier(W *warp, const S *step) {
  const struct ptx_instruction *source = step->source;
  const u32 *count = source->src_count > 1 ? REGISTER(u32, step->b) : NULL;
  u32 holds = 0;
  if (source->mode == PTX_MBARRIER_PENDING) {
    for (u32 rest = warp->mask; rest; rest &= rest - 1)
      REGISTER(u32, step->d)[lowest(rest)] = (u32)(REGISTER(u64, step->a)[lowest(rest)] & MBARRIER_MOST);
    return;
  }
  struct access access;
  step->locate(warp, step, 8, &access);
  if (access.pattern == PATTERN_NONE) return;
  spread_access(&access, 8);
  for (u32 rest = warp->mask; rest; rest &= rest - 1) {
    int l = lowest(rest);
    u64 *place = (u64 *)(uintptr_t)access.pointer[l], state = *place;
    switch (source->mode) {
      case PTX_MBARRIER_INIT:
        if (!count[l] || count[l] > MBARRIER_MOST) {
          fault(warp, source, l, VGPU_FAULT_BARRIER, "mbarrier.init with a count of %u", count[l]);
          return;
        }
        *place = mbarrier_state(0, count[l], count[l]);
        break;
      case PTX_MBARRIER_INVAL:
        *place = 0;
        break;
      case PTX_MBARRIER_TEST:
        holds |= (u32)(state >> 63 != REGISTER(u64, step->b)[l] >> 63) << l;
        break;
      case PTX_MBARRIER_TEST_PARITY:
        holds |= (u32)(state >> 63 != (count[l] & 1)) << l;
        break;
      default:
        if (!mbarrier_arrive(place, count ? count[l] : 1, source->mode == PTX_MBARRIER_ARRIVE_DROP)) {
          fault(warp, source, l, VGPU_FAULT_BARRIER, "mbarrier.arrive where no (or fewer) arrivals are expected");
          return;
        }
        if (source->dst_count) REGISTER(u64, step->d)[l] = state;
        break;
    }
  }
  if (source->mode != PTX_MBARRIER_TEST && source->mode != PTX_MBARRIER_TEST_PARITY) return;
  write_predicate(warp, step->d, holds);
  if (holds != warp->mask) warp->gives_way = true; /* others must come to arrive */
}

static void fence(W *warp, const S *step) {
  hook_fence(warp, step->source);
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void nothing(W *warp, const S *step) {
  (void)warp;
  (void)step;
}

/* ---- between lanes ---- */

/* All live lanes that the mask operand names must be here. */
static bool check_members(W *warp, const S *step, u32 code) {
  const u32 *members = REGISTER(u32, code);
  hook_warp_sync(warp, step->source, members);
  for (u32 rest = warp->mask; rest; rest &= rest - 1) {
    int l = lowest(rest);
    u32 missing = members[l] & warp->alive & ~warp->mask;
    if (missing || !(members[l] >> l & 1)) {
      fault(warp, step->source, l, VGPU_FAULT_BARRIER,
            missing ? "%s.sync names lanes 0x%08x of its warp that are elsewhere (lanes here: 0x%08x)"
                    : "%s.sync is executed by a lane that its mask leaves out (mask 0x%08x, lanes here: 0x%08x)",
            ptx_op_name(step->source->op), missing ? missing : members[l], warp->mask);
      return false;
    }
  }
  return true;
}

static void shuffle(W *warp, const S *step) {
  if (!check_members(warp, step, step->list[1])) return;
  const u32 *a = REGISTER(u32, step->a), *b = REGISTER(u32, step->b), *c = REGISTER(u32, step->c);
  u32 *d = REGISTER(u32, step->d), result[LANES], found = 0;
  int mode = step->source->mode;
  for (int l = 0; l < LANES; l++) {
    int lane = (int)(b[l] & 31), clamp = (int)(c[l] & 31), segment = (int)(c[l] >> 8 & 31);
    int least = l & segment, most = least | (clamp & ~segment), from;
    bool ok;
    switch (mode) {
      case PTX_SHUFFLE_UP:
        from = l - lane;
        ok = from >= most;
        break;
      case PTX_SHUFFLE_DOWN:
        from = l + lane;
        ok = from <= most;
        break;
      case PTX_SHUFFLE_BFLY:
        from = l ^ lane;
        ok = from <= most;
        break;
      default:
        from = least | (lane & ~segment);
        ok = from <= most;
        break;
    }
    if (!ok) from = l;
    hook_shuffle_lane(warp, l, from);
    result[l] = a[from];
    found |= (u32)ok << l;
  }
  hook_shuffle(warp, step->source);
  const u32 mask = warp->mask;
  LANE_LOOP d[l] = mask >> l & 1 ? result[l] : d[l];
  if (step->source->dst_count > 1) write_predicate(warp, step->list[0], found);
}

static void vote(W *warp, const S *step) {
  if (!check_members(warp, step, step->b)) return;
  u32 here = read_predicate(warp, step->a, step->negate_a) & warp->mask;
  const u32 *members = REGISTER(u32, step->b);
  u32 holds = 0, *d = step->source->mode == PTX_VOTE_BALLOT ? REGISTER(u32, step->d) : NULL;
  for (u32 rest = warp->mask; rest; rest &= rest - 1) {
    int l = lowest(rest);
    u32 among = members[l] & warp->mask, yes = here & among;
    bool result = false;
    switch (step->source->mode) {
      case PTX_VOTE_ALL:
        result = yes == among;
        break;
      case PTX_VOTE_ANY:
        result = yes != 0;
        break;
      case PTX_VOTE_UNI:
        result = yes == among || !yes;
        break;
      default:
        d[l] = yes;
        break;
    }
    holds |= (u32)result << l;
  }
  if (!d) write_predicate(warp, step->d, holds);
}

static void match(W *warp, const S *step) {
  if (!check_members(warp, step, step->b)) return;
  bool wide = ptx_type_bytes(step->source->type) == 8;
  const u32 *members = REGISTER(u32, step->b), mask = warp->mask;
  u32 result[LANES] = {0}, holds = 0;
  for (u32 rest = mask; rest; rest &= rest - 1) {
    int l = lowest(rest);
    u32 same = 0;
    for (u32 others = mask & members[l]; others; others &= others - 1) {
      int k = lowest(others);
      bool equal = wide ? REGISTER(u64, step->a)[k] == REGISTER(u64, step->a)[l]
                        : REGISTER(u32, step->a)[k] == REGISTER(u32, step->a)[l];
      same |= (u32)equal << k;
    }
    if (step->source->mode == PTX_VOTE_ALL) {
      bool all = same == (mask & members[l]);
      holds |= (u32)all << l;
      result[l] = all ? same : 0;
    } else {
      result[l] = same;
    }
  }
  u32 *d = REGISTER(u32, step->d);
  LANE_LOOP d[l] = mask >> l & 1 ? result[l] : d[l];
  if (step->source->dst_count > 1) write_predicate(warp, step->list[0], holds);
}

static void activemask(W *warp, const S *step) {
  u32 *d = REGISTER(u32, step->d);
  const u32 mask = warp->mask;
  LANE_LOOP d[l] = mask >> l & 1 ? mask : d[l];
}

static void redux(W *warp, const S *step) {
  if (!check_members(warp, step, step->b)) return;
  const u32 *a = REGISTER(u32, step->a), *members = REGISTER(u32, step->b);
  u32 result[LANES] = {0}, mask = warp->mask, *d = REGISTER(u32, step->d);
  for (u32 rest = mask; rest; rest &= rest - 1) {
    int l = lowest(rest);
    u32 others = mask & members[l], value = a[lowest(others)];
    for (others &= others - 1; others; others &= others - 1)
      value = atomic_new_32(step->source, value, a[lowest(others)], 0);
    result[l] = value;
  }
  LANE_LOOP d[l] = mask >> l & 1 ? result[l] : d[l];
}

static void bar_warp(W *warp, const S *step) { check_members(warp, step, step->a); }

/* ---- lanes that must not change ---- */

static void masked_32(W *warp, const S *step) {
  u32 before[LANES] __attribute__((aligned(64))), *d = REGISTER(u32, step->d);
  const u32 mask = warp->mask;
  memcpy(before, d, SLOT_32);
  step->inner(warp, step);
  LANE_LOOP d[l] = mask >> l & 1 ? d[l] : before[l];
}

static void masked_64(W *warp, const S *step) {
  u64 before[LANES] __attribute__((aligned(64))), *d = REGISTER(u64, step->d);
  const u32 mask = warp->mask;
  memcpy(before, d, SLOT_64);
  step->inner(warp, step);
  LANE_LOOP d[l] = mask >> l & 1 ? d[l] : before[l];
}

static void guarded(W *warp, const S *step) {
  u32 before = warp->mask, mask = before & (PREDICATE(step->guard) ^ step->guard_flip);
  if (!mask) return;
  if (mask == before) {
    (warp->full ? step->inner : step->inner_masked)(warp, step);
    return;
  }
  bool full = warp->full;
  warp->mask = mask;
  warp->full = false;
  step->inner_masked(warp, step);
  warp->mask = before;
  warp->full = full;
}

/* ---- decoding ---- */

struct constants {
  unsigned char *bytes;
  uint32_t used, capacity;
  struct {
    uint64_t value;
    uint32_t offset, width;
  } * known;
  uint32_t known_count, known_capacity;
};

struct decoder {
  struct interpreter_code *code;
  uint32_t *offsets; /* of the registers */
  struct constants constants;
  uint32_t list_count, list_capacity;
  bool out_of_memory;
};

static uint32_t constant(struct decoder *decoder, uint64_t value, uint32_t width) {
  struct constants *constants = &decoder->constants;
  if (width == 4) value &= 0xffffffff;
  for (uint32_t i = 0; i < constants->known_count; i++)
    if (constants->known[i].value == value && constants->known[i].width == width) return constants->known[i].offset + 1;
  uint32_t bytes = width * LANES;
  if (constants->used + bytes > constants->capacity) {
    uint32_t capacity = constants->capacity ? constants->capacity * 2 : 64 * SLOT_32;
    unsigned char *grown = aligned_alloc(64, capacity);
    if (!grown) {
      decoder->out_of_memory = true;
      return 1;
    }
    if (constants->used) memcpy(grown, constants->bytes, constants->used);
    free(constants->bytes);
    constants->bytes = grown;
    constants->capacity = capacity;
  }
  if (constants->known_count == constants->known_capacity) {
    uint32_t capacity = constants->known_capacity ? constants->known_capacity * 2 : 64;
    void *grown = realloc(constants->known, capacity * sizeof *constants->known);
    if (!grown) {
      decoder->out_of_memory = true;
      return 1;
    }
    constants->known = grown;
    constants->known_capacity = capacity;
  }
  uint32_t offset = constants->used;
  for (int l = 0; l < LANES; l++) memcpy(constants->bytes + offset + (uint32_t)l * width, &value, width);
  constants->used += bytes;
  constants->known[constants->known_count].value = value;
  constants->known[constants->known_count].offset = offset;
  constants->known[constants->known_count++].width = width;
  return offset + 1;
}

/* Width of the lanes in which an operand is read that is not a register: 4 or 8. */
static uint32_t operand_code(struct decoder *decoder, const struct ptx_operand *operand, uint32_t width) {
  const struct ptx_function *function = decoder->code->function;
  switch (operand->kind) {
    case PTX_OPERAND_REGISTER:
      return decoder->offsets[operand->index];
    case PTX_OPERAND_IMMEDIATE:
      return constant(decoder, operand->value, width);
    case PTX_OPERAND_SYMBOL: {
      uint64_t address = operand->value;
      if (operand->space == PTX_GLOBAL || operand->space == PTX_CONST)
        address += (uint64_t)(uintptr_t)function->module->segment;
      return constant(decoder, address, width);
    }
    default:
      return 0;
  }
}

static uint32_t predicate_code(struct decoder *decoder, const struct ptx_operand *operand) {
  if (operand->kind == PTX_OPERAND_IMMEDIATE) return constant(decoder, operand->value ? UINT32_MAX : 0, 4);
  return operand_code(decoder, operand, 4);
}

static uint32_t *new_list(struct decoder *decoder, uint32_t count) {
  uint32_t *list = decoder->code->lists + decoder->list_count;
  decoder->list_count += count;
  return list;
}

static uint32_t width_of_register(const struct decoder *decoder, const struct ptx_operand *operand,
                                  uint32_t otherwise) {
  if (operand->kind != PTX_OPERAND_REGISTER) return otherwise;
  return decoder->code->function->register_class[operand->index] == PTX_CLASS_64 ? 8 : 4;
}

#define BY_WIDTH(stem) (bytes == 8 ? stem##_64 : bytes == 4 ? stem##_32 : stem##_16)
#define BY_TYPE(stem)             \
  (type == PTX_U16   ? stem##_u16 \
   : type == PTX_S16 ? stem##_s16 \
   : type == PTX_U32 ? stem##_u32 \
   : type == PTX_S32 ? stem##_s32 \
   : type == PTX_U64 ? stem##_u64 \
                     : stem##_s64)
#define BY_WIDE(stem) \
  (type == PTX_U16 ? stem##_u16 : type == PTX_S16 ? stem##_s16 : type == PTX_U32 ? stem##_u32 : stem##_s32)

static vgpu_handler *select_float(const struct ptx_instruction *source, vgpu_handler *plain_f32,
                                  vgpu_handler *plain_f64) {
  bool nearest = source->rounding == PTX_NO_ROUNDING || source->rounding == PTX_RN;
  if (source->type == PTX_F64) return nearest && plain_f64 ? plain_f64 : arithmetic_f64;
  return nearest && !source->flags && plain_f32 ? plain_f32 : arithmetic_f32;
}

static vgpu_handler *select_cvt(const struct decoder *decoder, const struct ptx_instruction *source) {
  unsigned to = source->type, from = source->source_type;
  uint32_t to_width = ptx_type_bytes(to), from_width = ptx_type_bytes(from);
  const struct ptx_operand *d = &source->dst[0], *a = &source->src[0];
  uint8_t to_class = d->kind == PTX_OPERAND_REGISTER ? decoder->code->function->register_class[d->index] : 0xff;
  /* The quick forms are for registers of exactly the types' widths. */
  if (source->flags & PTX_FTZ || to == PTX_TF32) return cvt_general;
  if (to_class != (to_width == 8 ? PTX_CLASS_64 : to_width == 4 ? PTX_CLASS_32 : PTX_CLASS_16)) return cvt_general;
  if (width_of_register(decoder, a, from_width == 8 ? 8 : 4) != (from_width == 8 ? 8u : 4u)) return cvt_general;
  if (source->flags & PTX_SAT) return to == PTX_F32 && from == PTX_F32 && !source->rounding ? sat_f32 : cvt_general;
  bool nearest = source->rounding == PTX_RN;
  if (!type_is_float(to) && !type_is_float(from)) {
    if (to_width == 8 && from == PTX_U32) return cvt_u64_u32;
    if (to_width == 8 && from == PTX_S32) return cvt_s64_s32;
    if (to_width == 8 && from == PTX_U16) return cvt_u64_u16;
    if (to_width == 8 && from == PTX_S16) return cvt_s64_s16;
    if (to_width == 8 && from_width == 8) return mov_64;
    if (to_width == 4 && from_width == 8) return cvt_32_64;
    if (to_width == 4 && from_width == 4) return mov_32;
    if (to_width == 4 && from == PTX_U16) return cvt_u32_u16;
    if (to_width == 4 && from == PTX_S16) return cvt_s32_s16;
    if (to_width == 4 && from == PTX_U8) return cvt_u32_u8;
    if (to_width == 4 && from == PTX_S8) return cvt_s32_s8;
    if (to_width == 2 && (from_width == 4 || from_width == 2)) return cvt_u32_u16;
    if (to_width == 2 && from == PTX_U8) return cvt_u32_u8;
    return cvt_general;
  }
  if (to == PTX_F32 && from == PTX_F32) {
    switch (source->rounding) {
      case PTX_RNI:
        return rint_f32;
      case PTX_RZI:
        return trunc_f32;
      case PTX_RMI:
        return floor_f32;
      case PTX_RPI:
        return ceil_f32;
      default:
        return mov_32;
    }
  }
  if (to == PTX_F32 && nearest) {
    if (from == PTX_S32) return cvt_f32_s32;
    if (from == PTX_U32) return cvt_f32_u32;
    if (from == PTX_U16) return cvt_f32_u16;
    if (from == PTX_F64) return cvt_f32_f64;
  }
  if (to == PTX_F64) {
    if (from == PTX_F32) return cvt_f64_f32;
    if (from == PTX_S32 && nearest) return cvt_f64_s32;
    if (from == PTX_U32 && nearest) return cvt_f64_u32;
  }
  if (to == PTX_S32 && from == PTX_F32) {
    switch (source->rounding) {
      case PTX_RNI:
        return cvt_rni_s32_f32;
      case PTX_RMI:
        return cvt_rmi_s32_f32;
      case PTX_RPI:
        return cvt_rpi_s32_f32;
      default:
        return cvt_rzi_s32_f32;
    }
  }
  return cvt_general;
}

/* The handler for plain results in every lane (`inner` of the masked form), NULL if there is none. */
static vgpu_handler *select_arithmetic(const struct decoder *decoder, const struct ptx_instruction *source) {
  unsigned type = source->type, bytes = ptx_type_bytes(type), flags = source->flags;
  bool is_float = type_is_float(type), sign = type_is_signed(type);
  bool nearest = source->rounding == PTX_NO_ROUNDING || source->rounding == PTX_RN;
  if (type_is_half(type) && source->op != PTX_CVT && source->op != PTX_SET && source->op != PTX_MOV)
    return arithmetic_half;
  if (type == PTX_S16X2 || type == PTX_U16X2) return arithmetic_16x2;
  if (type == PTX_S32 && (flags & PTX_RELU)) return source->op == PTX_MIN ? min_relu_s32 : max_relu_s32;
  switch (source->op) {
    case PTX_ADD:
      if (is_float) return select_float(source, add_f32, add_f64);
      return flags & PTX_SAT ? add_sat : BY_WIDTH(add);
    case PTX_SUB:
      if (is_float) return select_float(source, sub_f32, sub_f64);
      return flags & PTX_SAT ? sub_sat : BY_WIDTH(sub);
    case PTX_MUL:
      return is_float ? select_float(source, mul_f32, mul_f64) : BY_WIDTH(mul);
    case PTX_MUL_HI:
      return BY_TYPE(mul_hi);
    case PTX_MUL_WIDE:
      return BY_WIDE(mul_wide);
    case PTX_MAD:
      return BY_WIDTH(mad);
    case PTX_MAD_HI:
      return flags & PTX_SAT ? mad_hi_sat_s32 : BY_TYPE(mad_hi);
    case PTX_MAD_WIDE:
      return BY_WIDE(mad_wide);
    case PTX_FMA:
      if (type == PTX_F32 && source->rounding == PTX_RM && !flags) return fma_rm_f32;
      return select_float(source, fma_f32, fma_f64);
    case PTX_MUL24:
      return sign ? mul24_s : mul24_u;
    case PTX_MUL24_HI:
      return sign ? mul24_hi_s : mul24_hi_u;
    case PTX_MAD24:
      return sign ? mad24_s : mad24_u;
    case PTX_MAD24_HI:
      return sign ? mad24_hi_s : mad24_hi_u;
    case PTX_SAD:
      return BY_TYPE(sad);
    case PTX_DIV:
      if (!is_float) return BY_TYPE(div);
      if (source->rounding == PTX_APPROX || source->rounding == PTX_FULL) return special_div;
      return select_float(source, div_f32, div_f64);
    case PTX_REM:
      return BY_TYPE(rem);
    case PTX_ABS:
      if (type == PTX_F32) return flags ? arithmetic_f32 : abs_f32;
      return type == PTX_F64 ? abs_f64 : type == PTX_S16 ? abs_s16 : type == PTX_S32 ? abs_s32 : abs_s64;
    case PTX_NEG:
      if (type == PTX_F32) return flags ? arithmetic_f32 : neg_f32;
      return type == PTX_F64 ? neg_f64 : type == PTX_S16 ? neg_s16 : type == PTX_S32 ? neg_s32 : neg_s64;
    case PTX_MIN:
      if (type == PTX_F32) return flags ? arithmetic_f32 : min_f32;
      return type == PTX_F64 ? min_f64 : BY_TYPE(min);
    case PTX_MAX:
      if (type == PTX_F32) return flags ? arithmetic_f32 : max_f32;
      return type == PTX_F64 ? max_f64 : BY_TYPE(max);
    case PTX_COPYSIGN:
      return type == PTX_F32 ? copysign_f32 : copysign_f64;
    case PTX_RCP:
      if (source->rounding == PTX_APPROX) return type == PTX_F32 ? special_rcp : special_rcp64;
      return type == PTX_F32 ? arithmetic_f32 : nearest ? rcp_f64 : arithmetic_f64;
    case PTX_SQRT:
      if (source->rounding == PTX_APPROX) return special_sqrt;
      return select_float(source, sqrt_f32, sqrt_f64);
    case PTX_RSQRT:
      return type == PTX_F32 ? special_rsqrt : special_rsqrt64;
    case PTX_SIN:
      return special_sin;
    case PTX_COS:
      return special_cos;
    case PTX_LG2:
      return special_lg2;
    case PTX_EX2:
      return special_ex2;
    case PTX_TANH:
      return special_tanh;
    case PTX_POPC:
      return bytes == 8 ? popc_64 : popc_32;
    case PTX_CLZ:
      return bytes == 8 ? clz_64 : clz_32;
    case PTX_BFIND:
      return bfind;
    case PTX_BREV:
      return bytes == 8 ? brev_64 : brev_32;
    case PTX_BFE:
      return type == PTX_U32 ? bfe_u32 : type == PTX_S32 ? bfe_s32 : type == PTX_U64 ? bfe_u64 : bfe_s64;
    case PTX_BFI:
      return bytes == 8 ? bfi_64 : bfi_32;
    case PTX_FNS:
      return fns;
    case PTX_DP4A:
      return dp4a;
    case PTX_DP2A:
      return dp2a;
    case PTX_VABSDIFF4:
      return vabsdiff4;
    case PTX_AND:
      return bytes == 8 ? and_64 : and_32;
    case PTX_OR:
      return bytes == 8 ? or_64 : or_32;
    case PTX_XOR:
      return bytes == 8 ? xor_64 : xor_32;
    case PTX_NOT:
      return BY_WIDTH(not );
    case PTX_CNOT:
      return BY_WIDTH(cnot);
    case PTX_LOP3:
      return lop3;
    case PTX_SHL:
      return BY_WIDTH(shl);
    case PTX_SHR:
      if (!sign) return bytes == 8 ? shr_u64 : bytes == 4 ? shr_u32 : shr_u16;
      return bytes == 8 ? shr_s64 : bytes == 4 ? shr_s32 : shr_s16;
    case PTX_SHF_L:
      return flags & PTX_CLAMP ? shf_l_clamp : shf_l_wrap;
    case PTX_SHF_R:
      return flags & PTX_CLAMP ? shf_r_clamp : shf_r_wrap;
    case PTX_PRMT:
      return prmt;
    case PTX_SET:
      return set;
    case PTX_SELP:
      return bytes == 8 ? selp_64 : selp_32;
    case PTX_SLCT:
      if (source->source_type == PTX_S32) return bytes == 8 ? slct_64_s : slct_32_s;
      if (flags & PTX_FTZ) return bytes == 8 ? slct_64_ftz : slct_32_ftz;
      return bytes == 8 ? slct_64_f : slct_32_f;
    case PTX_MOV:
      if (source->src[0].kind == PTX_OPERAND_SPECIAL) return mov_special;
      return bytes == 8 ? mov_64 : mov_32;
    case PTX_CVT:
      return select_cvt(decoder, source);
    case PTX_CVTA:
    case PTX_CVTA_TO:
      return source->space == PTX_GLOBAL || source->space == PTX_CONST ? mov_64 : cvta;
    default:
      return NULL;
  }
}

static vgpu_handler *select_load(const struct ptx_instruction *source, uint32_t width) {
  bool wide = width == 8;
  switch (source->type) {
    case PTX_B8:
    case PTX_U8:
      return wide ? load_u8_64 : load_u8_32;
    case PTX_S8:
      return wide ? load_s8_64 : load_s8_32;
    case PTX_S16:
      return wide ? load_s16_64 : load_s16_32;
    case PTX_B16:
    case PTX_U16:
    case PTX_F16:
    case PTX_BF16:
      return wide ? load_u16_64 : load_u16_32;
    case PTX_S32:
      return wide ? load_s32_64 : load_32_32;
    case PTX_B32:
    case PTX_U32:
    case PTX_F32:
      return wide ? load_u32_64 : load_32_32;
    default:
      return load_64_64;
  }
}

static vgpu_handler *select_store(const struct ptx_instruction *source, uint32_t width) {
  bool wide = width == 8;
  switch (ptx_type_bytes(source->type)) {
    case 1:
      return wide ? store_8_64 : store_8_32;
    case 2:
      return wide ? store_16_64 : store_16_32;
    case 4:
      return wide ? store_32_64 : store_32_32;
    default:
      return store_64_64;
  }
}

/* Bytes of the lanes in which the operands of plain arithmetic are read. */
static void operand_widths(const struct ptx_instruction *source, uint32_t widths[4]) {
  const unsigned bytes = ptx_type_bytes(source->type);
  widths[0] = widths[1] = widths[2] = bytes == 8 ? 8 : 4;
  widths[3] = 4;
  switch (source->op) {
    case PTX_SHL:
    case PTX_SHR:
      widths[1] = 4;
      break;
    case PTX_BFE:
      widths[1] = widths[2] = 4;
      break;
    case PTX_BFI:
      widths[2] = widths[3] = 4;
      break;
    case PTX_MAD_WIDE:
      widths[2] = bytes == 4 ? 8 : 4;
      break;
    case PTX_SLCT:
      widths[2] = 4;
      break;
    case PTX_CVT:
      widths[0] = ptx_type_bytes(source->source_type) == 8 ? 8 : 4;
      break;
    default:
      break;
  }
}

/* Fills a step. False: no handler. */
static bool decode(struct decoder *decoder, const struct ptx_instruction *source, struct step *step) {
  unsigned type = source->type, bytes = ptx_type_bytes(type);
  uint32_t width = bytes == 8 ? 8 : 4;
  *step = (struct step){.source = source, .offset = source->offset};
  const struct ptx_operand *dst = source->dst, *src = source->src;
  step->d = source->dst_count ? operand_code(decoder, &dst[0], 4) : 0;
  if (source->flags & (PTX_CARRY_IN | PTX_CARRY_OUT)) {
    unsigned plain = source->op == PTX_MAD || source->op == PTX_MAD_HI ? 3 : 2;
    step->a = operand_code(decoder, &src[0], width);
    step->b = operand_code(decoder, &src[1], width);
    if (plain == 3) step->c = operand_code(decoder, &src[2], width);
    step->list = new_list(decoder, 2);
    step->list[0] = source->flags & PTX_CARRY_OUT ? operand_code(decoder, &dst[1], 4) : 0;
    step->list[1] = source->flags & PTX_CARRY_IN ? operand_code(decoder, &src[plain], 4) : 0;
    step->inner = step->inner_masked = carry;
  } else if (type == PTX_PRED && (source->op == PTX_AND || source->op == PTX_OR || source->op == PTX_XOR ||
                                  source->op == PTX_NOT || source->op == PTX_MOV)) {
    step->a = predicate_code(decoder, &src[0]);
    if (source->src_count > 1) step->b = predicate_code(decoder, &src[1]);
    step->inner = source->op == PTX_AND   ? and_pred
                  : source->op == PTX_OR  ? or_pred
                  : source->op == PTX_XOR ? xor_pred
                  : source->op == PTX_NOT ? not_pred
                                          : mov_pred;
    step->inner_masked = step->inner;
  } else {
    switch (source->op) {
      case PTX_SETP:
      case PTX_SET: {
        unsigned compared = source->op == PTX_SETP ? type : source->source_type;
        uint32_t compared_width = ptx_type_bytes(compared) == 8 ? 8 : 4;
        step->a = operand_code(decoder, &src[0], compared_width);
        step->b = operand_code(decoder, &src[1], compared_width);
        if (source->combine) {
          step->c = operand_code(decoder, &src[2], 4);
          step->negate_c = src[2].negate;
        }
        step->compare = select_compare(compared, source->mode);
        if (!step->compare) return false;
        if (source->op == PTX_SET) {
          step->inner = set;
          step->inner_masked = masked_32;
          break;
        }
        step->list = new_list(decoder, 1);
        step->list[0] = source->dst_count > 1 ? operand_code(decoder, &dst[1], 4) : 0;
        bool simple =
            !source->combine && source->dst_count == 1 && !(source->flags & PTX_FTZ) && !type_is_half(compared);
        step->inner = step->inner_masked = simple ? setp_simple : setp;
        break;
      }
      case PTX_TESTP:
        step->a = operand_code(decoder, &src[0], width);
        step->inner = step->inner_masked = testp;
        break;
      case PTX_ISSPACEP:
        step->a = operand_code(decoder, &src[0], 8);
        step->inner = step->inner_masked = isspacep;
        break;
      case PTX_LD:
      case PTX_ST: {
        unsigned count = source->vector;
        uint32_t width_of_elements = 0;
        const struct ptx_operand *elements = source->op == PTX_LD ? dst : src + 1;
        step->list = new_list(decoder, count);
        /* Elements of one access may be registers of different widths; the width of the step is that of the first
         * register, and others are refused. */
        for (unsigned i = 0; i < count; i++) {
          uint32_t one = width_of_register(decoder, &elements[i], 0);
          if (one && width_of_elements && one != width_of_elements) return false;
          if (one) width_of_elements = one;
        }
        if (!width_of_elements) width_of_elements = width;
        for (unsigned i = 0; i < count; i++) step->list[i] = operand_code(decoder, &elements[i], width_of_elements);
        step->negate_a = width_of_register(decoder, &src[0], 8) == 4;
        step->a = operand_code(decoder, &src[0], 8);
        step->inner =
            source->op == PTX_LD ? select_load(source, width_of_elements) : select_store(source, width_of_elements);
        step->inner_masked = step->inner;
        step->cache = decoder->code->memory_steps++;
        step->locate = select_locate(source->space, step->negate_a);
        break;
      }
      case PTX_ATOM:
      case PTX_RED:
        step->negate_a = width_of_register(decoder, &src[0], 8) == 4;
        step->a = operand_code(decoder, &src[0], 8);
        step->b = operand_code(decoder, &src[1], width);
        if (source->src_count > 2) step->c = operand_code(decoder, &src[2], width);
        step->cache = decoder->code->memory_steps++;
        step->locate = select_locate(source->space, step->negate_a);
        step->inner = step->inner_masked = atomic;
        break;
      case PTX_MMA:
        step->list = new_list(decoder, source->dst_count + source->src_count);
        for (unsigned i = 0; i < source->dst_count; i++) step->list[i] = operand_code(decoder, &dst[i], width);
        for (unsigned i = 0; i < source->src_count; i++)
          step->list[source->dst_count + i] = operand_code(decoder, &src[i], source->matrix.a == PTX_F64 ? 8 : 4);
        step->inner = step->inner_masked = mma;
        break;
      case PTX_MOVMATRIX:
        step->a = operand_code(decoder, &src[0], 4);
        step->inner = step->inner_masked = movmatrix;
        break;
      case PTX_LDMATRIX:
      case PTX_STMATRIX:
        step->list = new_list(decoder, source->vector);
        for (unsigned i = 0; i < source->vector; i++)
          step->list[i] = operand_code(decoder, source->op == PTX_LDMATRIX ? &dst[i] : &src[1 + i], 4);
        step->negate_a = width_of_register(decoder, &src[0], 8) == 4;
        step->a = operand_code(decoder, &src[0], 8);
        step->cache = decoder->code->memory_steps++;
        step->locate = select_locate(source->space, step->negate_a);
        step->inner = step->inner_masked = matrix_access;
        break;
      case PTX_CP_ASYNC:
        step->negate_a = width_of_register(decoder, &src[0], 8) == 4;
        step->a = operand_code(decoder, &src[0], 8);
        step->b = operand_code(decoder, &src[1], 8);
        if (source->src_count > 2) step->c = operand_code(decoder, &src[2], 4);
        step->cache = decoder->code->memory_steps;
        decoder->code->memory_steps += 2;
        step->locate = select_locate(source->space, step->negate_a);
        step->inner = step->inner_masked = copy_async;
        break;
      case PTX_MBARRIER:
        step->negate_a = width_of_register(decoder, &src[0], 8) == 4;
        step->a = operand_code(decoder, &src[0], 8);
        if (source->src_count > 1) step->b = operand_code(decoder, &src[1], source->mode == PTX_MBARRIER_TEST ? 8 : 4);
        step->cache = decoder->code->memory_steps++;
        step->locate = select_locate(source->space, step->negate_a);
        step->inner = step->inner_masked = mbarrier;
        break;
      case PTX_PRINTF:
        step->a = operand_code(decoder, &src[0], 8);
        step->b = operand_code(decoder, &src[1], 8);
        step->inner = step->inner_masked = print;
        break;
      case PTX_MALLOC:
      case PTX_FREE:
        step->a = operand_code(decoder, &src[0], 8);
        step->inner = step->inner_masked = source->op == PTX_MALLOC ? allocate : deallocate;
        break;
      case PTX_CP_ASYNC_COMMIT:
      case PTX_CP_ASYNC_WAIT:
      case PTX_PREFETCH:
      case PTX_NANOSLEEP:
        step->inner = step->inner_masked = nothing;
        break;
      case PTX_MEMBAR:
        step->inner = step->inner_masked = fence;
        break;
      case PTX_SHFL:
        step->a = operand_code(decoder, &src[0], 4);
        step->b = operand_code(decoder, &src[1], 4);
        step->c = operand_code(decoder, &src[2], 4);
        step->list = new_list(decoder, 2);
        step->list[0] = source->dst_count > 1 ? operand_code(decoder, &dst[1], 4) : 0;
        step->list[1] = operand_code(decoder, &src[3], 4);
        step->inner = step->inner_masked = shuffle;
        break;
      case PTX_VOTE:
        step->a = predicate_code(decoder, &src[0]);
        step->negate_a = src[0].negate;
        step->b = operand_code(decoder, &src[1], 4);
        step->inner = step->inner_masked = vote;
        break;
      case PTX_MATCH:
        step->a = operand_code(decoder, &src[0], width);
        step->b = operand_code(decoder, &src[1], 4);
        step->list = new_list(decoder, 1);
        step->list[0] = source->dst_count > 1 ? operand_code(decoder, &dst[1], 4) : 0;
        step->inner = step->inner_masked = match;
        break;
      case PTX_ACTIVEMASK:
        step->inner = step->inner_masked = activemask;
        break;
      case PTX_REDUX:
        step->a = operand_code(decoder, &src[0], 4);
        step->b = operand_code(decoder, &src[1], 4);
        step->inner = step->inner_masked = redux;
        break;
      case PTX_BAR_WARP:
        step->a = operand_code(decoder, &src[0], 4);
        step->inner = step->inner_masked = bar_warp;
        break;
      case PTX_MOV:
        if (source->src_count > 1) {
          step->list = new_list(decoder, source->src_count);
          for (unsigned i = 0; i < source->src_count; i++) step->list[i] = operand_code(decoder, &src[i], 4);
          step->inner = step->inner_masked = mov_pack;
          break;
        }
        if (source->dst_count > 1) {
          step->list = new_list(decoder, source->dst_count);
          for (unsigned i = 0; i < source->dst_count; i++) step->list[i] = operand_code(decoder, &dst[i], 4);
          step->a = operand_code(decoder, &src[0], width);
          step->inner = step->inner_masked = mov_unpack;
          break;
        }
        /* fall through */
      default: {
        step->inner = select_arithmetic(decoder, source);
        if (!step->inner) return false;
        uint32_t widths[4];
        operand_widths(source, widths);
        if (source->src_count > 0) step->a = operand_code(decoder, &src[0], widths[0]);
        if (source->src_count > 1) step->b = operand_code(decoder, &src[1], widths[1]);
        if (source->src_count > 2)
          step->c =
              source->op == PTX_SELP ? predicate_code(decoder, &src[2]) : operand_code(decoder, &src[2], widths[2]);
        if (source->src_count > 3) {
          step->list = new_list(decoder, 1);
          step->list[0] = operand_code(decoder, &src[3], widths[3]);
        }
        uint32_t result = source->op == PTX_MUL_WIDE || source->op == PTX_MAD_WIDE ? (bytes == 4 ? 8 : 4)
                          : source->op == PTX_POPC || source->op == PTX_CLZ || source->op == PTX_BFIND ? 4
                                                                                                       : width;
        result = width_of_register(decoder, &dst[0], result);
        if (source->op == PTX_CVT) {
          step->negate_a = width_of_register(decoder, &src[0], widths[0]) == 8;
          step->negate_b = result == 8;
        }
        step->inner_masked = result == 8 ? masked_64 : masked_32;
        break;
      }
    }
  }
  step->run = step->inner;
  step->masked = step->inner_masked;
  if (source->guard != PTX_NONE) {
    step->guard = decoder->offsets[source->guard];
    step->guard_flip = source->guard_negate ? UINT32_MAX : 0;
    step->run = step->masked = guarded;
  }
  return true;
}

static bool SET(evaluate)(const struct ptx_function *function, const struct ptx_instruction *source,
                          uint64_t result[LANES], const uint64_t (*arguments)[LANES]) {
  struct interpreter_code code = {.function = function};
  const struct decoder decoder = {.code = &code};
  struct block_state block = {.code = &code};
  u64 slots[5][LANES] __attribute__((aligned(64)));
  W warp = {.base = {(uintptr_t)slots, 0}, .block = &block, .mask = UINT32_MAX, .alive = UINT32_MAX, .full = true};
  uint32_t extra = 4 * SLOT_64, widths[4];
  S step = {.source = source, .a = SLOT_64, .b = 2 * SLOT_64, .c = 3 * SLOT_64, .list = &extra};
  vgpu_handler *run = source->dst_count == 1 ? select_arithmetic(&decoder, source) : NULL;
  if (!run) return false;
  operand_widths(source, widths);
  for (unsigned i = 0; i < source->src_count && i < 4; i++) {
    if (widths[i] == 8)
      memcpy(slots[1 + i], arguments[i], SLOT_64);
    else
      for (int l = 0; l < LANES; l++) ((u32 *)slots[1 + i])[l] = (u32)arguments[i][l];
  }
  const bool wide = ptx_type_bytes(source->type) == 8;
  step.negate_a = widths[0] == 8;
  step.negate_b = wide;
  run(&warp, &step);
  for (int l = 0; l < LANES; l++) result[l] = wide ? slots[0][l] : ((u32 *)slots[0])[l];
  return true;
}

static void *SET(prepare)(const struct ptx_function *function, char *reason, size_t reason_bytes) {
  struct interpreter_code *code = calloc(1, sizeof *code);
  struct decoder decoder = {.code = code};
  decoder.offsets = malloc((function->register_count + 1) * sizeof *decoder.offsets);
  snprintf(reason, reason_bytes, "out of memory");
  if (!code || !decoder.offsets) goto fail;
  code->function = function;
  code->set = &SET(interpreter);
  code->register_bytes = (vgpu_allocate_slots(function, SLOT_64, decoder.offsets) + 63) / 64 * 64;
  if (!code->register_bytes) goto fail;
  uint32_t lists = 1;
  for (uint32_t i = 0; i < function->instruction_count; i++)
    lists += 2u + function->instructions[i].dst_count + function->instructions[i].src_count;
  code->steps = malloc((function->instruction_count + 1) * sizeof *code->steps);
  code->blocks = calloc(function->block_count + 1, sizeof *code->blocks);
  code->lists = calloc(lists, sizeof *code->lists);
  if (!code->steps || !code->blocks || !code->lists) goto fail;
  uint32_t steps = 0;
  for (uint32_t b = 0; b < function->block_count; b++) {
    const struct ptx_block *block = &function->blocks[b];
    struct decoded_block *decoded = &code->blocks[b];
    decoded->first = steps;
    decoded->source = block;
    decoded->next = block->next;
    decoded->ending = END_NEXT;
    for (uint32_t i = 0; i < block->count; i++) {
      const struct ptx_instruction *source = &function->instructions[block->first + i];
      bool conditional = source->guard != PTX_NONE;
      switch (source->op) {
        case PTX_BRA:
          decoded->ending = conditional ? END_CONDITIONAL : END_BRANCH;
          decoded->target = block->targets[0];
          break;
        case PTX_RET:
        case PTX_EXIT:
          decoded->ending = END_EXIT;
          break;
        case PTX_TRAP:
          decoded->ending = END_TRAP;
          if (source->mode == PTX_TRAP_ASSERT)
            decoded->last = (struct step){.a = operand_code(&decoder, &source->src[0], 8),
                                          .b = operand_code(&decoder, &source->src[1], 8),
                                          .c = operand_code(&decoder, &source->src[2], 4),
                                          .list = new_list(&decoder, 1)};
          if (source->mode == PTX_TRAP_ASSERT) decoded->last.list[0] = operand_code(&decoder, &source->src[3], 8);
          break;
        case PTX_BRX:
          decoded->ending = END_TABLE;
          decoded->last = (struct step){.source = source, .a = operand_code(&decoder, &source->src[0], 4)};
          break;
        case PTX_BAR: {
          decoded->ending = END_BARRIER;
          bool reduce = source->mode >= PTX_BAR_RED_AND;
          unsigned numbers = source->src_count - (reduce ? 1u : 0u);
          decoded->last = (struct step){.source = source};
          decoded->last.a = operand_code(&decoder, &source->src[0], 4);
          decoded->last.b = numbers > 1 ? operand_code(&decoder, &source->src[1], 4) : constant(&decoder, 0, 4);
          if (reduce) {
            decoded->last.c = predicate_code(&decoder, &source->src[numbers]);
            decoded->last.negate_c = source->src[numbers].negate;
            decoded->last.d = operand_code(&decoder, &source->dst[0], 4);
          }
          break;
        }
        default:
          if (!decode(&decoder, source, &code->steps[steps])) {
            snprintf(reason, reason_bytes, "line %u: '%s.%s' is not implemented by the interpreter", source->line,
                     ptx_op_name(source->op), ptx_type_name(source->type));
            goto fail;
          }
          steps++;
          continue;
      }
      if (conditional) {
        decoded->guard = decoder.offsets[source->guard];
        decoded->guard_flip = source->guard_negate ? UINT32_MAX : 0;
      } else {
        decoded->guard = constant(&decoder, UINT32_MAX, 4);
      }
      decoded->last.source = source;
    }
    decoded->count = steps - decoded->first;
  }
  code->constants = decoder.constants.bytes;
  decoder.constants.bytes = NULL;
  if (decoder.out_of_memory) goto fail;
  free(decoder.constants.known);
  free(decoder.offsets);
  reason[0] = 0;
  return code;
fail:
  free(decoder.constants.bytes);
  free(decoder.constants.known);
  free(decoder.offsets);
  vgpu_interpreter_discard(code);
  return NULL;
}

/* ---- running ---- */

/* Sends lanes to a block; they run when it is the lowest-numbered one with waiting lanes. */
static void send(W *warp, u32 to, u32 lanes) {
  warp->pending[to] |= lanes;
  warp->waiting[to / 64] |= (u64)1 << (to % 64);
}

/* Takes up the next block. False: no lanes are left. */
static bool pick(W *warp) {
  u32 words = (warp->block->code->function->block_count + 63) / 64;
  for (u32 i = 0; i < words; i++) {
    if (!warp->waiting[i]) continue;
    u32 block = i * 64 + (u32)__builtin_ctzll(warp->waiting[i]);
    warp->waiting[i] &= warp->waiting[i] - 1;
    warp->mask = warp->pending[block];
    warp->pending[block] = 0;
    warp->full = warp->mask == warp->alive;
    warp->current = block;
    return true;
  }
  warp->state = WARP_DONE;
  return false;
}

/* Continues at `to` with the active lanes. */
static inline bool proceed(W *warp, u32 to) {
  if (warp->full) {
    warp->current = to;
    return true;
  }
  send(warp, to, warp->mask);
  return pick(warp);
}

/* Basic blocks that a warp runs before others get their turn. Those of a cooperative launch wait for each other, so the
 * turns are short; otherwise a turn's end is only where an endless kernel is stopped, within some tens of milliseconds
 * even if all basic blocks are long. */
enum { TURN = 1 << 12, COOPERATIVE_TURN = 1 << 9, LONG_WAIT = 256 /* turns */ };

/* A launch that is to end early: a fault where the warp is. */
static bool stopped(W *warp) {
  const struct vgpu_launch *launch = warp->block->launch;
  const struct interpreter_code *code = warp->block->code;
  const int stop = launch->stop ? __atomic_load_n(launch->stop, __ATOMIC_RELAXED) : VGPU_STOP_NO;
  if (stop != VGPU_STOP_NO) {
    fault(warp, &code->function->instructions[code->blocks[warp->current].source->first], lowest(warp->mask),
          VGPU_FAULT_STOPPED, stop == VGPU_STOP_LATE ? "the time limit of launches is over" : "stopped on request");
  }
  return warp->block->faulted;
}

#if !defined(OBSERVED) /* else: interpreter_observed.h */
static inline bool run_steps(W *warp, const struct step *step, const struct step *end) {
  if (warp->full)
    for (; step < end; step++) step->run(warp, step);
  else
    for (; step < end; step++) step->masked(warp, step);
  return true;
}
#endif

/* Runs until the warp ends, waits, faults, or has run `turn` basic blocks: then it is still ready. */
static void run_warp(W *warp, u32 turn) {
  const struct interpreter_code *code = warp->block->code;
  warp->gives_way = false;
  for (;;) {
    if (turn-- == 0 || warp->gives_way) {
      stopped(warp);
      return;
    }
    const struct decoded_block *block = &code->blocks[warp->current];
    const struct step *step = code->steps + block->first, *end = step + block->count;
    if (!run_steps(warp, step + paused_at(warp), end) || warp->block->faulted) return;
    u32 mask = warp->mask;
    hook_ending(warp, block);
    switch (block->ending) {
      case END_NEXT:
        if (!proceed(warp, block->next)) return;
        break;
      case END_BRANCH:
        if (!proceed(warp, block->target)) return;
        break;
      case END_CONDITIONAL: {
        u32 taken = mask & (PREDICATE(block->guard) ^ block->guard_flip);
        if (taken == mask) {
          if (!proceed(warp, block->target)) return;
        } else if (!taken) {
          if (!proceed(warp, block->next)) return;
        } else {
          send(warp, block->target, taken);
          send(warp, block->next, mask & ~taken);
          pick(warp);
        }
        break;
      }
      case END_TABLE: {
        u32 taken = mask & (PREDICATE(block->guard) ^ block->guard_flip);
        const u32 *index = REGISTER(u32, block->last.a);
        for (u32 rest = taken; rest; rest &= rest - 1) {
          int l = lowest(rest);
          if (index[l] >= block->source->target_count) {
            fault(warp, block->last.source, l, VGPU_FAULT_OTHER, "brx.idx has index %u and %u targets", index[l],
                  block->source->target_count);
            return;
          }
          send(warp, block->source->targets[index[l]], (u32)1 << l);
        }
        if (mask & ~taken) send(warp, block->next, mask & ~taken);
        if (!pick(warp)) return;
        break;
      }
      case END_EXIT: {
        u32 gone = mask & (PREDICATE(block->guard) ^ block->guard_flip);
        hook_ended(warp, gone);
        warp->alive &= ~gone;
        if (mask & ~gone) send(warp, block->next, mask & ~gone);
        if (!pick(warp)) return;
        break;
      }
      case END_TRAP: {
        u32 trapped = mask & (PREDICATE(block->guard) ^ block->guard_flip);
        if (trapped) {
          trap(warp, &block->last, trapped);
          return;
        }
        if (!proceed(warp, block->next)) return;
        break;
      }
      case END_BARRIER: {
        const struct ptx_instruction *source = block->last.source;
        u32 arrived = mask & (PREDICATE(block->guard) ^ block->guard_flip);
        if (!arrived) {
          if (!proceed(warp, block->next)) return;
          break;
        }
        if (arrived != warp->alive) {
          fault(warp, source, lowest(arrived), VGPU_FAULT_BARRIER,
                "barrier in divergent code: lanes 0x%08x of the warp arrive, lanes 0x%08x do not", arrived,
                warp->alive & ~arrived);
          return;
        }
        u32 id = REGISTER(u32, block->last.a)[lowest(arrived)], count = REGISTER(u32, block->last.b)[lowest(arrived)];
        if (id > 15 || count % LANES || count > warp->block->warps * LANES) {
          fault(warp, source, lowest(arrived), VGPU_FAULT_BARRIER, "barrier %u with a count of %u threads", id, count);
          return;
        }
        warp->current = block->next;
        warp->state = WARP_WAITING;
        warp->barrier_id = id;
        warp->barrier_count = count;
        warp->barrier_step = &block->last;
        hook_barrier(warp, source, id, count);
        return;
      }
    }
  }
}

/* Lets the warps go that wait at barriers which are complete. A warp that only arrives (bar.arrive) goes on at once and
 * is remembered in arrivals[]. False: nothing moved. */
static bool release(W *warps, unsigned count, u32 *arrivals) {
  bool moved = false;
  for (unsigned id = 0; id < 16; id++) {
    u32 waiting = 0, expected = 0;
    unsigned running = 0;
    for (unsigned w = 0; w < count; w++) {
      if (warps[w].state == WARP_DONE) continue;
      if (warps[w].state == WARP_WAITING && warps[w].barrier_id == id) {
        waiting++;
        if (warps[w].barrier_count) expected = warps[w].barrier_count / LANES;
      } else {
        running++;
      }
    }
    if (!waiting) continue;
    if (expected ? waiting + arrivals[id] < expected : running > 0) continue;
    hook_barrier_complete(warps, count, id);
    u32 all = UINT32_MAX, any = 0, sum = 0;
    for (unsigned w = 0; w < count; w++) {
      W *warp = &warps[w];
      if (warp->state != WARP_WAITING || warp->barrier_id != id) continue;
      const struct step *step = warp->barrier_step;
      if (step->source->mode < PTX_BAR_RED_AND) continue;
      u32 here = read_predicate(warp, step->c, step->negate_c) & warp->mask;
      if (here != warp->mask) all = 0;
      any |= here;
      sum += (u32)__builtin_popcount(here);
    }
    for (unsigned w = 0; w < count; w++) {
      W *warp = &warps[w];
      if (warp->state != WARP_WAITING || warp->barrier_id != id) continue;
      const struct step *step = warp->barrier_step;
      switch (step->source->mode) {
        case PTX_BAR_RED_AND:
          write_predicate(warp, step->d, all);
          break;
        case PTX_BAR_RED_OR:
          write_predicate(warp, step->d, any ? UINT32_MAX : 0);
          break;
        case PTX_BAR_RED_POPC: {
          u32 *d = REGISTER(u32, step->d);
          for (int l = 0; l < LANES; l++)
            if (warp->mask >> l & 1) d[l] = sum;
          break;
        }
        default:
          break;
      }
      warp->state = WARP_READY;
    }
    arrivals[id] = 0;
    moved = true;
  }
  return moved;
}

static void start_warp(W *warp, unsigned threads) {
  const struct interpreter_code *code = warp->block->code;
  unsigned first = warp->index * LANES, count = threads - first < LANES ? threads - first : LANES;
  warp->alive = warp->mask = count == LANES ? UINT32_MAX : ((u32)1 << count) - 1;
  warp->full = true;
  warp->current = 0;
  warp->state = WARP_READY;
  memset((void *)warp->base[0], 0, code->register_bytes);
  hook_start_warp(warp);
}

static size_t rounded(size_t bytes) { return (bytes + 255) / 256 * 256; }

/* Lays out the block's memory in the scratch, of which the block's own state comes first. NULL: out of memory. */
static struct block_state *begin_block(const struct vgpu_launch *launch, struct vgpu_scratch *scratch,
                                       const unsigned ctaid[3], unsigned slot) {
  const struct interpreter_code *code = launch->code;
  const struct ptx_function *function = code->function;
  struct block_state block = {.launch = launch, .code = code, .ctaid = {ctaid[0], ctaid[1], ctaid[2]}, .slot = slot};
  block.threads = launch->block[0] * launch->block[1] * launch->block[2];
  block.warps = (block.threads + LANES - 1) / LANES;
  block.shared_bytes = (u64)function->shared_bytes + launch->dynamic_shared;
  block.local_bytes = function->local_bytes;
  /* Without barriers the warps run one after the other and share one set of registers. */
  unsigned resident = block.resident_count = HOOKS || function->has_barrier || launch->cooperative ? block.warps : 1;
  size_t words = (function->block_count + 63) / 64;
  size_t warp_bytes =
      rounded(code->register_bytes) + rounded(function->block_count * sizeof(u32) + words * sizeof(u64) + 8);
  size_t head = rounded(sizeof block), ranges = rounded(code->memory_steps * sizeof(struct range));
  size_t warps_bytes = rounded(resident * sizeof(W));
  size_t shared = rounded(block.shared_bytes), local = rounded(block.local_bytes * block.warps * LANES);
  char *memory =
      vgpu_scratch_reserve(scratch, head + ranges + warps_bytes + shared + local + resident * warp_bytes + 256);
  if (!memory) return NULL;
  block.ranges = (struct range *)(void *)(memory + head);
  W *warps = block.resident = (W *)(void *)(memory + head + ranges);
  block.shared = (unsigned char *)memory + head + ranges + warps_bytes;
  block.local = block.shared + shared;
  char *state = (char *)block.local + local;
  memset(block.ranges, 0, ranges);
  memset(block.shared, 0, shared + local);
  struct block_state *made = (struct block_state *)(void *)memory;
  *made = block;
  for (unsigned w = 0; w < resident; w++) {
    char *own = state + w * warp_bytes;
    size_t pending = rounded(code->register_bytes);
    memset(own + pending, 0, warp_bytes - pending);
    warps[w] = (W){.base = {(uintptr_t)own, (uintptr_t)code->constants - 1}, .block = made, .index = w};
    warps[w].waiting = (u64 *)(void *)(own + pending);
    warps[w].pending = (u32 *)(void *)(warps[w].waiting + words);
    start_warp(&warps[w], block.threads);
  }
  hook_begin_block(made);
  return made;
}

static u32 turn_of(const struct block_state *block) { return block->launch->cooperative ? COOPERATIVE_TURN : TURN; }

/* After a turn: a warp that only arrives at a barrier goes on. */
static bool went_on(W *warp) {
  if (warp->state != WARP_WAITING || warp->barrier_step->source->mode != PTX_BAR_ARRIVE) return false;
  warp->block->arrivals[warp->barrier_id]++;
  warp->state = WARP_READY;
  return true;
}

#if defined(OBSERVED)
/* Turns as the observer wants them, until no warp is ready. False: it leaves the order to run_round. */
static bool hook_round(struct block_state *block, bool *moved) {
  const struct vgpu_observer *observer = block->launch->observer;
  if (!observer->schedule) return false;
  while (!block->faulted) {
    u32 ready = 0;
    for (unsigned w = 0; w < block->resident_count; w++)
      if (block->resident[w].state == WARP_READY) ready |= (u32)1 << w;
    if (!ready) break;
    struct vgpu_turn turn = observer->schedule(&block->view, ready);
    *moved = true;
    block->resident[turn.warp].budget = turn.instructions;
    run_warp(&block->resident[turn.warp], turn.blocks);
    went_on(&block->resident[turn.warp]);
    if (block->launch->cooperative || block->launch->in_turns) break; /* other blocks may be waited for */
  }
  return true;
}
#endif

/* One turn for each warp that is ready. A warp that waits for another one's store must let it go on, so nobody keeps
 * the processor for ever. False: nothing moved. */
static bool run_round(struct block_state *block) {
  bool moved = false;
  if (hook_round(block, &moved)) goto released;
  const unsigned turns = block->launch->cooperative ? 1 : LONG_WAIT;
  for (unsigned w = 0; w < block->resident_count && !block->faulted; w++) {
    W *warp = &block->resident[w];
    for (unsigned turn = 0; warp->state == WARP_READY && turn < turns && !block->faulted; turn++) {
      moved = true;
      run_warp(warp, turn_of(block));
      if (warp->gives_way) break;
      if (went_on(warp)) turn--;
    }
  }
released:
  if (!block->faulted && release(block->resident, block->resident_count, block->arrivals)) moved = true;
  /* A loop around a barrier has short turns only. */
  for (unsigned w = 0; w < block->resident_count && moved && !block->faulted; w++) {
    if (block->resident[w].state == WARP_DONE) continue;
    stopped(&block->resident[w]);
    break;
  }
  return moved;
}

static void report_deadlock(struct block_state *block) {
  for (unsigned w = 0; w < block->resident_count && !block->faulted; w++) {
    W *warp = &block->resident[w];
    if (warp->state == WARP_WAITING)
      fault(warp, warp->barrier_step->source, lowest(warp->mask), VGPU_FAULT_BARRIER,
            "deadlock: barrier %u waits for warps that have ended or wait at another barrier", warp->barrier_id);
  }
}

static int no_memory(const struct ptx_function *function, struct vgpu_fault *report) {
  snprintf(report->text, sizeof report->text,
           "kernel %.60s: out of memory for the registers, shared and local memory of a block", function->name);
  report->kind = VGPU_FAULT_OTHER;
  return -1;
}

static int SET(run_block)(const struct vgpu_launch *launch, struct vgpu_scratch *scratch, const unsigned ctaid[3],
                          unsigned slot, struct vgpu_fault *report) {
  struct block_state *block = begin_block(launch, scratch, ctaid, slot);
  if (!block) return no_memory(((const struct interpreter_code *)launch->code)->function, report);
  block->fault = report;
#if defined(__x86_64__)
  unsigned control = _mm_getcsr();
  _mm_setcsr(0x1f80); /* nearest even, subnormals kept, exceptions masked */
#endif
  if (block->resident_count < block->warps) {
    for (unsigned w = 0; w < block->warps && !block->faulted; w++) {
      W *warp = &block->resident[0];
      warp->index = w;
      start_warp(warp, block->threads);
      while (warp->state == WARP_READY && !block->faulted) run_warp(warp, turn_of(block));
    }
  } else {
    while (!block->faulted && run_round(block)) continue;
    report_deadlock(block);
  }
#if defined(__x86_64__)
  _mm_setcsr(control);
#endif
  hook_end_block(block);
  return block->faulted ? -1 : 0;
}

static int SET(run_turn)(const struct vgpu_launch *launch, struct vgpu_scratch *scratch, const unsigned ctaid[3],
                         unsigned slot, bool begin, struct vgpu_fault *report) {
  struct block_state *block = begin ? begin_block(launch, scratch, ctaid, slot) : scratch->memory;
  if (!block) return no_memory(((const struct interpreter_code *)launch->code)->function, report);
  block->fault = report;
#if defined(__x86_64__)
  unsigned control = _mm_getcsr();
  _mm_setcsr(0x1f80);
#endif
  bool moved = run_round(block);
  if (!moved) report_deadlock(block);
#if defined(__x86_64__)
  _mm_setcsr(control);
#endif
  if (!moved || block->faulted) hook_end_block(block);
  return block->faulted ? -1 : moved;
}

const struct interpreter_set SET(interpreter) = {SET_NAME,      SET(prepare), SET(run_block),
                                                 SET(run_turn), SET(mma),     SET(evaluate)};
