/* Runs blocks of translated kernels: the loop over a block's warps, and the helpers that generated code calls for what
 * is rare or best done lane by lane (checks that fail the quick test, atomics, odd shuffles). */
#define _POSIX_C_SOURCE 200809L
#include "engine/vgpu/translate/runtime.h"

#include <immintrin.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/vgpu/half.h"
#include "engine/vgpu/helpers.h"

/* ---- faults ---- */

/* In the interpreter's words. */
static int32_t fault(struct warp *warp, uint32_t instruction, unsigned lane, int kind, const char *what) {
  const struct ptx_function *function = warp->launch->function;
  const struct ptx_instruction *source = &function->instructions[instruction];
  const struct ptx_module *module = function->module;
  const unsigned *block = warp->launch->block;
  const unsigned thread = warp->number * WARP_LANES + lane;
  char place[120] = "";
  if (source->source_line && source->file < module->file_count && module->files[source->file]) {
    snprintf(place, sizeof place, " (%.90s:%u)", module->files[source->file], source->source_line);
  }
  warp->fault->kind = kind;
  snprintf(warp->fault->text, sizeof warp->fault->text,
           "kernel %.60s, PTX line %u%s, block (%u, %u, %u), thread (%u, %u, %u): %s", function->name, source->line,
           place, warp->ctaid[0], warp->ctaid[1], warp->ctaid[2], thread % block[0], thread / block[0] % block[1],
           thread / block[0] / block[1], what);
  return RUN_FAULT;
}

static int32_t address_fault(struct warp *warp, uint32_t instruction, unsigned lane, uint64_t address, uint64_t bytes) {
  static const char *const spaces[] = {[PTX_GENERIC] = "",     [PTX_GLOBAL] = "",         [PTX_SHARED] = "shared ",
                                       [PTX_LOCAL] = "local ", [PTX_CONST] = "constant ", [PTX_PARAM] = "parameter "};
  const struct ptx_instruction *source = &warp->launch->function->instructions[instruction];
  char what[160];
  const bool narrow = source->space == PTX_PARAM && source->src[0].kind == PTX_OPERAND_REGISTER &&
                      warp->launch->function->register_class[source->src[0].index] == PTX_CLASS_32;
  if (source->space == PTX_SHARED || source->space == PTX_LOCAL || narrow) address = (uint32_t)address;
  snprintf(what, sizeof what, "%s %s of %llu bytes at %s0x%llx", address % bytes ? "misaligned" : "invalid",
           source->op == PTX_LD || source->op == PTX_LDMATRIX ? "read"
           : source->op == PTX_ATOM || source->op == PTX_RED  ? "atomic operation"
                                                              : "write",
           (unsigned long long)bytes, spaces[source->space], (unsigned long long)address);
  return fault(warp, instruction, lane, VGPU_FAULT_ADDRESS, what);
}

/* ---- checks ---- */

static bool inside(uint64_t address, uint64_t bytes, uint64_t low, uint64_t high) {
  return address >= low && address <= high && bytes <= high - address;
}

/* Whether addresses are offsets in memory of one length, else pointers. */
static bool is_bounded(uint8_t space) { return space == PTX_SHARED || space == PTX_LOCAL || space == PTX_PARAM; }

/* Whether an access is allowed; [*low, *high): memory around it that is allowed as well. */
static bool allowed(const struct warp *warp, uint8_t space, uint64_t address, uint64_t bytes, uint64_t *low,
                    uint64_t *high) {
  if (is_bounded(space)) {
    *low = 0;
    *high = space == PTX_SHARED  ? (uint64_t)warp->shared_bytes
            : space == PTX_LOCAL ? warp->launch->function->local_bytes
                                 : warp->launch->function->parameter_bytes;
    return inside(address, bytes, *low, *high);
  }
  if (space == PTX_GENERIC) {
    *low = (uint64_t)(uintptr_t)warp->shared;
    *high = *low + (uint64_t)warp->shared_bytes;
    if (inside(address, bytes, *low, *high)) return true;
    *low = (uint64_t)(uintptr_t)warp->local;
    *high = *low + (uint64_t)local_stride(warp->launch->function) * WARP_LANES;
    if (inside(address, bytes, *low, *high)) return true;
  }
  return warp->code->host->memory_contains(address, bytes, low, high);
}

static int32_t check_site(struct warp *warp, const int64_t *site, uint64_t base, const uint64_t *bases,
                          uint32_t lanes) {
  const uint8_t space = (uint8_t)site[SITE_SPACE];
  const int64_t count = site[SITE_COUNT], *pattern = site[SITE_PATTERNED] ? site + SITE_ACCESSES + 3 * count : NULL;
  uint64_t low = 1, high = 0;
  if (!is_bounded(space)) { /* what the root's window allows need not be asked for again */
    const struct window *window = &warp->windows[site[SITE_ROOT]];
    if (window->low != WINDOW_EMPTY_LOW) low = window->low, high = low + window->length;
  }
  for (unsigned lane = 0; lane < WARP_LANES; lane++) {
    if (!(lanes >> lane & 1)) continue;
    const uint64_t start = bases ? bases[lane] : base + (uint64_t)(pattern ? pattern[lane] : 0);
    for (int64_t i = 0; i < count; i++) {
      const int64_t *access = site + SITE_ACCESSES + 3 * i;
      uint64_t address = start + (uint64_t)access[0];
      const bool aligned = address % (uint64_t)access[1] == 0;
      if (aligned && inside(address, (uint64_t)access[1], low, high)) continue;
      if (!aligned || !allowed(warp, space, address, (uint64_t)access[1], &low, &high)) {
        return address_fault(warp, (uint32_t)access[2], lane, address, (uint64_t)access[1]);
      }
    }
  }
  if (!is_bounded(space) && high > low) {
    struct window *window = &warp->windows[site[SITE_ROOT]];
    const uint64_t longest = (uint64_t)warp->code->info[INFO_SPANS + site[SITE_ROOT]];
    low = (low + WINDOW_ALIGNMENT - 1) / WINDOW_ALIGNMENT * WINDOW_ALIGNMENT;
    if (high > low && high - low >= longest) *window = (struct window){.low = low, .length = high - low};
  }
  return 0;
}

/* ---- atomics ---- */

static float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static double double_of(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static uint32_t half_sum(uint32_t old, uint32_t a, uint8_t type) {
  const bool brain = type == PTX_BF16 || type == PTX_BF16X2;
  return brain ? bfloat_of_double((double)(float_of_bfloat(old) + float_of_bfloat(a)))
               : half_of_double((double)(float_of_half(old) + float_of_half(a)));
}

static uint64_t combined(const struct ptx_instruction *instruction, uint64_t old, uint64_t a, uint64_t b) {
  const uint8_t type = instruction->type;
  if (type == PTX_F16 || type == PTX_BF16) return half_sum((uint32_t)old, (uint32_t)a, type);
  if (type == PTX_F16X2 || type == PTX_BF16X2) {
    const uint32_t low = half_sum((uint32_t)old & 0xffff, (uint32_t)a & 0xffff, type);
    return low | half_sum((uint32_t)(old >> 16), (uint32_t)(a >> 16), type) << 16;
  }
  if (type == PTX_F32) {
    const float sum = float_of((uint32_t)old) + float_of((uint32_t)a);
    uint32_t bits;
    memcpy(&bits, &sum, sizeof bits);
    return bits;
  }
  if (type == PTX_F64) {
    const double sum = double_of(old) + double_of(a);
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    return bits;
  }
  const bool less = type == PTX_S32 ? (int32_t)old < (int32_t)a : type == PTX_S64 ? (int64_t)old < (int64_t)a : old < a;
  switch (instruction->mode) {
    case PTX_ATOM_ADD:
      return old + a;
    case PTX_ATOM_MIN:
      return less ? old : a;
    case PTX_ATOM_MAX:
      return less ? a : old;
    case PTX_ATOM_INC:
      return old >= a ? 0 : old + 1;
    case PTX_ATOM_DEC:
      return old == 0 || old > a ? a : old - 1;
    case PTX_ATOM_AND:
      return old & a;
    case PTX_ATOM_OR:
      return old | a;
    case PTX_ATOM_XOR:
      return old ^ a;
    case PTX_ATOM_EXCH:
      return a;
    default:
      return old == a ? b : old; /* cas */
  }
}

/* By far the most frequent, and one operation of the CPU. */
static bool is_integer_sum(const struct ptx_instruction *instruction) {
  return instruction->mode == PTX_ATOM_ADD &&
         (instruction->type == PTX_U32 || instruction->type == PTX_S32 || instruction->type == PTX_U64);
}

#define ATOMIC_UPDATE(name, type)                                                                                      \
  static uint64_t name(void *place, const struct ptx_instruction *instruction, uint64_t a, uint64_t b) {               \
    type *target = place;                                                                                              \
    if (is_integer_sum(instruction)) return __atomic_fetch_add(target, (type)a, __ATOMIC_SEQ_CST);                     \
    type old = __atomic_load_n(target, __ATOMIC_SEQ_CST);                                                              \
    while (!__atomic_compare_exchange_n(target, &old, (type)combined(instruction, old, a, b), false, __ATOMIC_SEQ_CST, \
                                        __ATOMIC_SEQ_CST)) {                                                           \
    }                                                                                                                  \
    return old;                                                                                                        \
  }
ATOMIC_UPDATE(update16, uint16_t)
ATOMIC_UPDATE(update32, uint32_t)
ATOMIC_UPDATE(update64, uint64_t)
#undef ATOMIC_UPDATE

static int32_t atomic_operation(struct warp *warp, uint32_t number, uint32_t lanes) {
  const struct ptx_instruction *instruction = &warp->launch->function->instructions[number];
  const unsigned bytes = type_bytes(instruction->type);
  uint64_t low = 1, high = 0;
  for (unsigned lane = 0; lane < WARP_LANES; lane++) {
    if (!(lanes >> lane & 1)) continue;
    const uint64_t address = warp->argument[0][lane], a = warp->argument[1][lane], b = warp->argument[2][lane];
    if (address % bytes ||
        (!inside(address, bytes, low, high) && !allowed(warp, instruction->space, address, bytes, &low, &high))) {
      return address_fault(warp, number, lane, address, bytes);
    }
    void *place = instruction->space == PTX_SHARED ? warp->shared + address : (void *)(uintptr_t)address;
    warp->result[0][lane] = bytes == 2   ? update16(place, instruction, a, b)
                            : bytes == 4 ? update32(place, instruction, a, b)
                                         : update64(place, instruction, a, b);
  }
  return 0;
}

/* ---- calls of the device runtime ---- */

/* Bytes from a generic address on that may be read. */
static size_t readable(const void *context, uint64_t address) {
  uint64_t low, high;
  return allowed(context, PTX_GENERIC, address, 1, &low, &high) ? high - address : 0;
}

static int32_t print(struct warp *warp, uint32_t number, uint32_t lanes) {
  const struct vgpu_helpers *helpers = warp->code->host->helpers;
  const struct vgpu_reader reader = {readable, warp};
  const uint64_t block =
      warp->ctaid[0] + (uint64_t)warp->grid[0] * (warp->ctaid[1] + (uint64_t)warp->grid[1] * warp->ctaid[2]);
  for (unsigned lane = 0; lane < WARP_LANES; lane++) {
    if (!(lanes >> lane & 1)) continue;
    size_t bytes;
    int count;
    uint64_t bad;
    char *text = helpers->format(warp->argument[0][lane], warp->argument[1][lane], &reader, &bytes, &count, &bad);
    if (!text) {
      char what[80];
      snprintf(what, sizeof what, "printf reads at 0x%llx", (unsigned long long)bad);
      return fault(warp, number, lane, VGPU_FAULT_ADDRESS, what);
    }
    helpers->output_add(warp->launch->output, block, text, bytes);
    free(text);
    warp->result[0][lane] = (uint32_t)count;
  }
  return 0;
}

static int32_t allocate(struct warp *warp, uint32_t number, uint32_t lanes) {
  const struct vgpu_helpers *helpers = warp->code->host->helpers;
  const bool give = warp->launch->function->instructions[number].op == PTX_FREE;
  for (unsigned lane = 0; lane < WARP_LANES; lane++) {
    if (!(lanes >> lane & 1)) continue;
    const uint64_t argument = warp->argument[0][lane];
    if (!give) {
      warp->result[0][lane] = helpers->heap_allocate(argument);
    } else if (!helpers->heap_free(argument)) {
      char what[100];
      snprintf(what, sizeof what, "free of 0x%llx, which malloc did not give or which is free",
               (unsigned long long)argument);
      return fault(warp, number, lane, VGPU_FAULT_OTHER, what);
    }
  }
  return 0;
}

static int32_t trap(struct warp *warp, uint32_t number, uint32_t lanes) {
  const unsigned first = lanes ? (unsigned)__builtin_ctz(lanes) : 0, *extent = warp->launch->block;
  switch (warp->launch->function->instructions[number].mode) {
    case PTX_TRAP_BREAKPOINT:
      return fault(warp, number, first, VGPU_FAULT_TRAP, "brkpt, and there is no debugger");
    case PTX_TRAP_CALL:
      return fault(warp, number, first, VGPU_FAULT_OTHER,
                   "a call through a pointer that names no function of this kind");
    case PTX_TRAP_ASSERT:
      break;
    default:
      return fault(warp, number, first, VGPU_FAULT_TRAP, "trap");
  }
  const struct vgpu_reader reader = {readable, warp};
  char text[3][300] = {"", "", ""}, what[400];
  for (unsigned lane = 0; lane < WARP_LANES; lane++) {
    if (!(lanes >> lane & 1)) continue;
    static const unsigned from[3] = {0, 1, 3};
    for (int i = 0; i < 3; i++)
      warp->code->host->helpers->read_text(text[i], i ? sizeof text[i] : 160, warp->argument[from[i]][lane], &reader);
    const unsigned thread = warp->number * WARP_LANES + lane;
    fprintf(stderr, "%s:%u: %s: block: [%u,%u,%u], thread: [%u,%u,%u] Assertion `%s` failed.\n", text[1],
            (uint32_t)warp->argument[2][lane], text[2], warp->ctaid[0], warp->ctaid[1], warp->ctaid[2],
            thread % extent[0], thread / extent[0] % extent[1], thread / extent[0] / extent[1], text[0]);
  }
  snprintf(what, sizeof what, "assertion '%s' failed", text[0]);
  return fault(warp, number, first, VGPU_FAULT_ASSERT, what);
}

/* ---- copies and matrices ---- */

static int32_t shared_or_generic(struct warp *warp, uint32_t number, unsigned lane, uint64_t address, unsigned bytes,
                                 unsigned char **place) {
  const uint8_t space = warp->launch->function->instructions[number].space;
  uint64_t low, high;
  if (address % bytes || !allowed(warp, space, address, bytes, &low, &high))
    return address_fault(warp, number, lane, address, bytes);
  *place = space == PTX_SHARED ? warp->shared + address : (unsigned char *)(uintptr_t)address;
  return 0;
}

static int32_t copy_async(struct warp *warp, uint32_t number, uint32_t lanes) {
  const struct ptx_instruction *instruction = &warp->launch->function->instructions[number];
  const unsigned bytes = instruction->vector;
  unsigned char buffer[WARP_LANES][16] = {{0}}, *place = NULL;
  uint64_t low = 1, high = 0;
  for (unsigned lane = 0; lane < WARP_LANES; lane++) { /* all reads before all writes, as in the interpreter */
    if (!(lanes >> lane & 1)) continue;
    const uint64_t from = warp->argument[1][lane];
    const uint64_t wanted = instruction->src_count > 2 ? (uint32_t)warp->argument[2][lane] : bytes;
    const uint64_t size = wanted < bytes ? wanted : bytes;
    if (!size) continue;
    if (from % bytes || (!inside(from, size, low, high) && !allowed(warp, PTX_GLOBAL, from, size, &low, &high))) {
      char what[100];
      snprintf(what, sizeof what, "%s read of %llu bytes at 0x%llx", from % bytes ? "misaligned" : "invalid",
               (unsigned long long)size, (unsigned long long)from);
      return fault(warp, number, lane, VGPU_FAULT_ADDRESS, what);
    }
    memcpy(buffer[lane], (const void *)(uintptr_t)from, size);
  }
  for (unsigned lane = 0; lane < WARP_LANES; lane++) {
    if (!(lanes >> lane & 1)) continue;
    if (shared_or_generic(warp, number, lane, warp->argument[0][lane], bytes, &place)) return RUN_FAULT;
    memcpy(place, buffer[lane], bytes);
  }
  return 0;
}

static int32_t matrix_store(struct warp *warp, uint32_t number) {
  const struct ptx_instruction *instruction = &warp->launch->function->instructions[number];
  unsigned char *rows[WARP_LANES];
  for (unsigned r = 0; r < WARP_LANES; r++) rows[r] = warp->shared; /* of matrices that are not there */
  for (unsigned r = 0; r < 8u * instruction->vector; r++)
    if (shared_or_generic(warp, number, r, warp->argument[0][r], 16, &rows[r])) return RUN_FAULT;
  for (unsigned q = 0; q < instruction->vector; q++) {
    for (unsigned lane = 0; lane < WARP_LANES; lane++) {
      const uint32_t word = (uint32_t)(warp->argument[1 + q / 2][lane] >> 32 * (q % 2));
      for (unsigned i = 0; i < 2; i++) {
        const uint16_t element = (uint16_t)(word >> 16 * i);
        const unsigned g = lane / 4, t = 2 * (lane % 4) + i;
        memcpy(rows[8 * q + (instruction->mode ? t : g)] + 2 * (instruction->mode ? g : t), &element, sizeof element);
      }
    }
  }
  return 0;
}

static int32_t matrix_load(struct warp *warp, uint32_t number) {
  const struct ptx_instruction *instruction = &warp->launch->function->instructions[number];
  unsigned char *rows[WARP_LANES];
  for (unsigned r = 0; r < WARP_LANES; r++) rows[r] = warp->shared; /* of matrices that are not there */
  for (unsigned r = 0; r < 8u * instruction->vector; r++)
    if (shared_or_generic(warp, number, r, warp->argument[0][r], 16, &rows[r])) return RUN_FAULT;
  for (unsigned q = 0; q < instruction->vector; q++) {
    for (unsigned lane = 0; lane < WARP_LANES; lane++) {
      const unsigned g = lane / 4, t = 2 * (lane % 4);
      uint16_t element[2];
      for (unsigned i = 0; i < 2; i++) {
        memcpy(&element[i], rows[8 * q + (instruction->mode ? t + i : g)] + 2 * (instruction->mode ? g : t + i),
               sizeof element[i]);
      }
      const uint64_t word = element[0] | (uint64_t)element[1] << 16;
      warp->result[q / 2][lane] = q % 2 ? warp->result[q / 2][lane] | word << 32 : word;
    }
  }
  return 0;
}

static void matrix_multiply(struct warp *warp, const struct ptx_instruction *instruction) {
  const void *sources[MATRIX_REGISTERS];
  void *results[MATRIX_REGISTERS];
  for (unsigned i = 0; i < MATRIX_REGISTERS; i++) sources[i] = results[i] = warp->matrix[i];
  warp->code->host->helpers->mma(instruction, sources, results);
}

/* ---- other helpers ---- */

static void shuffle(struct warp *warp, const struct ptx_instruction *instruction) {
  for (int lane = 0; lane < WARP_LANES; lane++) {
    const int b = (int)(warp->argument[1][lane] & 31), clamp = (int)warp->argument[2][lane];
    const int segment = clamp >> 8 & 31, limit = clamp & 31, most = (lane & segment) | (limit & ~segment);
    int from;
    bool in_range;
    switch (instruction->mode) {
      case PTX_SHUFFLE_UP:
        from = lane - b;
        in_range = from >= most;
        break;
      case PTX_SHUFFLE_DOWN:
        from = lane + b;
        in_range = from <= most;
        break;
      case PTX_SHUFFLE_BFLY:
        from = lane ^ b;
        in_range = from <= most;
        break;
      default:
        from = (lane & segment) | (b & ~segment);
        in_range = from <= most;
        break;
    }
    warp->result[0][lane] = warp->argument[0][in_range ? from & 31 : lane];
    warp->result[1][lane] = in_range;
  }
}

static void match(struct warp *warp, const struct ptx_instruction *instruction, uint32_t lanes) {
  for (unsigned lane = 0; lane < WARP_LANES; lane++) {
    const uint32_t members = lanes & (uint32_t)warp->argument[1][lane];
    uint32_t same = 0;
    for (unsigned other = 0; other < WARP_LANES; other++) {
      if ((members >> other & 1) && warp->argument[0][other] == warp->argument[0][lane]) same |= (uint32_t)1 << other;
    }
    const bool all = same == members;
    warp->result[0][lane] = instruction->mode == PTX_VOTE_ALL ? (all ? same : 0) : same;
    warp->result[1][lane] = all;
  }
}

/* vote with a mask of members that differs between lanes. */
static void vote(struct warp *warp, const struct ptx_instruction *instruction, uint32_t lanes) {
  uint32_t yes = 0;
  for (unsigned lane = 0; lane < WARP_LANES; lane++) yes |= (uint32_t)(warp->argument[0][lane] & 1) << lane;
  for (unsigned lane = 0; lane < WARP_LANES; lane++) {
    const uint32_t among = (uint32_t)warp->argument[1][lane] & lanes, here = yes & among;
    switch (instruction->mode) {
      case PTX_VOTE_ALL:
        warp->result[0][lane] = here == among;
        break;
      case PTX_VOTE_ANY:
        warp->result[0][lane] = here != 0;
        break;
      case PTX_VOTE_UNI:
        warp->result[0][lane] = here == among || here == 0;
        break;
      default:
        warp->result[0][lane] = here;
        break;
    }
  }
}

/* The position of the n-th set bit from `base` upwards, or downwards for negative n. */
static uint32_t nth_set(uint32_t mask, uint32_t base, int32_t n) {
  if (n == 0) return base < 32 && (mask >> base & 1) ? base : UINT32_MAX;
  const int step = n > 0 ? 1 : -1;
  int64_t left = n > 0 ? n : -(int64_t)n;
  for (int64_t at = base; at >= 0 && at < 32; at += step) {
    if ((mask >> at & 1) && --left == 0) return (uint32_t)at;
  }
  return UINT32_MAX;
}

/* Rounded as the instruction says, through the CPU's own rounding mode. */
static uint64_t rounded_f64(const struct ptx_instruction *instruction, double a, double b, double c) {
  volatile double x = a, y = b, z = c, r = 0; /* so that nothing moves to where the mode is another */
  switch (instruction->op) {
    case PTX_ADD:
      r = x + y;
      break;
    case PTX_SUB:
      r = x - y;
      break;
    case PTX_MUL:
      r = x * y;
      break;
    case PTX_FMA:
      r = fma(x, y, z);
      break;
    case PTX_DIV:
      r = x / y;
      break;
    case PTX_RCP:
      r = 1.0 / x;
      break;
    default:
      r = sqrt(x);
      break;
  }
  const double value = r;
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static float flushed(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits & 0x7f800000u ? x : float_of(bits & 0x80000000u);
}

static uint64_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static uint64_t rounded_f32(const struct ptx_instruction *instruction, float a, float b) {
  const bool flush = instruction->flags & PTX_FTZ;
  volatile float x = flush ? flushed(a) : a, y = flush ? flushed(b) : b, r = 0;
  if (instruction->op == PTX_DIV)
    r = x / y;
  else if (instruction->op == PTX_RCP)
    r = 1.0f / x;
  else
    r = sqrtf(x);
  return bits_of(flush ? flushed(r) : r);
}

static uint64_t rounded_conversion(const struct ptx_instruction *instruction, uint64_t bits) {
  const bool is_signed = instruction->source_type >= PTX_S8 && instruction->source_type <= PTX_S64;
  if (instruction->type == PTX_F64) {
    volatile uint64_t number = bits;
    volatile double r = is_signed ? (double)(int64_t)number : (double)number;
    const double value = r;
    memcpy(&bits, &value, sizeof bits);
    return bits;
  }
  volatile float r;
  if (instruction->source_type == PTX_F64) {
    volatile double x = double_of(bits);
    r = (float)x;
  } else {
    volatile uint64_t number = bits;
    r = is_signed ? (float)(int64_t)number : (float)number;
  }
  float value = r;
  if (instruction->flags & PTX_FTZ) value = flushed(value);
  if (instruction->flags & PTX_SAT) value = value > 0.0f ? (value < 1.0f ? value : 1.0f) : 0.0f;
  return value != value ? 0x7fffffff : bits_of(value);
}

/* All lanes: those that do not run compute with whatever they have. */
static void arithmetic(struct warp *warp, const struct ptx_instruction *instruction) {
  static const unsigned modes[] = {[PTX_RN] = 0, [PTX_RM] = 0x2000, [PTX_RP] = 0x4000, [PTX_RZ] = 0x6000};
  const unsigned control = _mm_getcsr();
  if (instruction->rounding >= PTX_RN && instruction->rounding <= PTX_RP)
    _mm_setcsr((control & ~0x6000u) | modes[instruction->rounding]);
  for (int lane = 0; lane < WARP_LANES; lane++) {
    const uint64_t a = warp->argument[0][lane], b = warp->argument[1][lane], c = warp->argument[2][lane];
    uint64_t *r = &warp->result[0][lane];
    if (instruction->op == PTX_FNS)
      *r = nth_set((uint32_t)a, (uint32_t)b, (int32_t)c);
    else if (instruction->op == PTX_CVT)
      *r = rounded_conversion(instruction, a);
    else if (instruction->type == PTX_F64)
      *r = rounded_f64(instruction, double_of(a), double_of(b), double_of(c));
    else
      *r = rounded_f32(instruction, float_of((uint32_t)a), float_of((uint32_t)b));
  }
  _mm_setcsr(control);
}

/* Whether arithmetic() has it: f32 and f64 with directed rounding, and conversions to them. */
static bool is_own(const struct ptx_instruction *instruction) {
  if (instruction->op == PTX_CVT) {
    const uint8_t from = instruction->source_type;
    return (instruction->type == PTX_F32 || instruction->type == PTX_F64) &&
           (from == PTX_F64 || (from >= PTX_U8 && from <= PTX_S64));
  }
  if (instruction->op == PTX_FNS) return true;
  if (instruction->op == PTX_MIN || instruction->op == PTX_MAX) return false;
  return instruction->type == PTX_F32 || instruction->type == PTX_F64;
}

static int32_t operate(struct warp *warp, uint32_t number, uint32_t lanes) {
  const struct ptx_instruction *instruction = &warp->launch->function->instructions[number];
  switch (instruction->op) {
    case PTX_ATOM:
    case PTX_RED:
      return atomic_operation(warp, number, lanes);
    case PTX_SHFL:
      shuffle(warp, instruction);
      return 0;
    case PTX_MATCH:
      match(warp, instruction, lanes);
      return 0;
    case PTX_VOTE:
      vote(warp, instruction, lanes);
      return 0;
    case PTX_SIN:
    case PTX_COS:
      for (int lane = 0; lane < WARP_LANES; lane++) {
        const double x = (double)float_of((uint32_t)warp->argument[0][lane]);
        const float r = (float)(instruction->op == PTX_SIN ? sin(x) : cos(x));
        uint32_t bits;
        memcpy(&bits, &r, sizeof bits);
        warp->result[0][lane] = bits;
      }
      return 0;
    case PTX_TRAP:
      return trap(warp, number, lanes);
    case PTX_PRINTF:
      return print(warp, number, lanes);
    case PTX_MALLOC:
    case PTX_FREE:
      return allocate(warp, number, lanes);
    case PTX_CP_ASYNC:
      return copy_async(warp, number, lanes);
    case PTX_LDMATRIX:
      return matrix_load(warp, number);
    case PTX_MMA:
      matrix_multiply(warp, instruction);
      return 0;
    case PTX_STMATRIX:
      return matrix_store(warp, number);
    case PTX_BRX:
      return fault(warp, number, lanes ? (unsigned)__builtin_ctz(lanes) : 0, VGPU_FAULT_OTHER,
                   "brx.idx has an index beyond its targets");
    default:
      if (is_own(instruction))
        arithmetic(warp, instruction);
      else if (!warp->code->host->helpers->evaluate(warp->launch->function, instruction, warp->result[0],
                                                    (const uint64_t(*)[WARP_LANES])warp->argument))
        return fault(warp, number, 0, VGPU_FAULT_OTHER, "the interpreter does not have this instruction");
      return 0;
  }
}

int32_t translated_serve(struct warp *warp) {
  const uint32_t lanes = warp->request_lanes, number = warp->request_instruction;
  switch (warp->request) {
    case REQUEST_CHECK:
      return check_site(warp, warp->request_site, warp->request_base, NULL, lanes);
    case REQUEST_CHECK_LANES:
      return check_site(warp, warp->request_site, 0, warp->argument[0], lanes);
    case REQUEST_OPERATE:
      return operate(warp, number, lanes);
    default: {
      const unsigned first = lanes ? (unsigned)__builtin_ctz(lanes) : 0;
      char what[160] = "lanes of the warp that take part are elsewhere, or lanes here do not take part";
      if (warp->launch->function->instructions[number].op == PTX_BAR) {
        snprintf(what, sizeof what, "barrier in divergent code: lanes 0x%08x of the warp arrive, lanes 0x%08x do not",
                 lanes, (uint32_t)warp->request_base);
      }
      return fault(warp, number, first, VGPU_FAULT_BARRIER, what);
    }
  }
}

static uint64_t clock_value(uint32_t special) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const uint64_t nanoseconds = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
  return special == PTX_CLOCK_HI || special == PTX_GLOBALTIMER_HI ? nanoseconds >> 32 : nanoseconds;
}

/* ---- blocks ---- */

enum { MAX_WARPS = 32 };

static size_t round_up(size_t bytes) { return (bytes + 255) / 256 * 256; }

static void stop_fault(struct warp *warp) {
  const bool late = __atomic_load_n(warp->stop, __ATOMIC_RELAXED) == VGPU_STOP_LATE;
  warp->fault->kind = VGPU_FAULT_STOPPED;
  snprintf(warp->fault->text, sizeof warp->fault->text, "kernel %.60s, block (%u, %u, %u), warp %u: %s",
           warp->launch->function->name, warp->ctaid[0], warp->ctaid[1], warp->ctaid[2], warp->number,
           late ? "the time limit of launches is over" : "stopped on request");
}

/* Rounds between barriers: every warp that has not ended runs to its next one. */
static int run_warps(struct warp *warp, unsigned char *memory, size_t frame_bytes, size_t local_bytes) {
  const struct translated *code = warp->code;
  uint32_t resume[MAX_WARPS] = {0};
  bool ended[MAX_WARPS] = {false};
  for (unsigned running = code->warps; running;) {
    for (unsigned w = 0; w < code->warps; w++) {
      if (ended[w]) continue;
      const unsigned threads = code->threads - w * WARP_LANES;
      warp->number = w;
      warp->lanes = threads >= WARP_LANES ? UINT32_MAX : ((uint32_t)1 << threads) - 1;
      warp->resume = resume[w];
      warp->frame = memory + w * (frame_bytes + local_bytes);
      warp->local = warp->frame + frame_bytes;
      if (resume[w] == 0) memset(warp->local, 0, local_bytes);
      const int32_t status = code->run(warp);
      if (status == RUN_STOPPED) stop_fault(warp);
      if (status < 0) return -1;
      resume[w] = (uint32_t)status;
      if (status == RUN_ENDED) {
        ended[w] = true;
        running--;
      }
    }
  }
  return 0;
}

int translated_run_block(const struct vgpu_launch *launch, struct vgpu_scratch *scratch, const unsigned ctaid[3],
                         unsigned slot, struct vgpu_fault *fault_out) {
  const struct translated *code = launch->code;
  const struct ptx_function *function = launch->function;
  const size_t roots = (size_t)code->info[INFO_ROOTS], frame_bytes = round_up((size_t)code->info[INFO_FRAME_BYTES]);
  const size_t shared_bytes = (size_t)function->shared_bytes + launch->dynamic_shared;
  const size_t local_bytes = round_up((size_t)local_stride(function) * WARP_LANES);
  const size_t header = round_up(sizeof(struct warp) + roots * sizeof(struct window));
  const size_t shared_room = round_up(shared_bytes) + 256; /* gathers of lanes that do not run may read past the end */
  unsigned char *memory =
      code->host->scratch_reserve(scratch, header + shared_room + code->warps * (frame_bytes + local_bytes));
  if (!memory) {
    fault_out->kind = VGPU_FAULT_OTHER;
    snprintf(fault_out->text, sizeof fault_out->text, "kernel %s: no host memory for a block", function->name);
    return -1;
  }
  struct warp *warp = (struct warp *)(void *)memory;
  warp->params = launch->params;
  warp->shared = memory + header;
  warp->segment = function->module->segment;
  warp->shared_bytes = (int64_t)shared_bytes;
  warp->grid_id = launch->grid_id;
  memcpy(warp->ctaid, ctaid, sizeof warp->ctaid);
  memcpy(warp->grid, launch->grid, sizeof warp->grid);
  warp->dynamic_shared = launch->dynamic_shared;
  warp->total_shared = (uint32_t)shared_bytes;
  warp->multiprocessors = launch->multiprocessors;
  warp->slot = slot;
  static const int never = 0;
  warp->stop = launch->stop ? launch->stop : &never;
  warp->call = code->call;
  warp->clock = clock_value;
  warp->launch = launch;
  warp->fault = fault_out;
  warp->code = code;
  /* Memory cannot be freed during a launch: what one block found holds for the thread's next. */
  static _Thread_local struct {
    const struct warp *warp;
    const struct translated *code;
    uint64_t grid_id;
  } last;
  if (launch->grid_id == 0 || last.grid_id != launch->grid_id || last.warp != warp || last.code != code) {
    for (size_t i = 0; i < roots; i++) {
      warp->windows[i] = (struct window){.low = WINDOW_EMPTY_LOW, .length = (uint64_t)code->info[INFO_SPANS + i]};
    }
    last.warp = warp;
    last.code = code;
    last.grid_id = launch->grid_id;
  }
  memset(warp->shared, 0, shared_bytes);
  const unsigned control = _mm_getcsr();
  _mm_setcsr(0x1f80); /* nearest even, subnormals kept, exceptions masked */
  const int result = run_warps(warp, warp->shared + shared_room, frame_bytes, local_bytes);
  _mm_setcsr(control);
  return result;
}
