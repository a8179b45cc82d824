/* The interpreter's choice of instruction set, its scratch memory, and the placement of registers. */
#include "engine/vgpu/interpreter.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static enum vgpu_instructions of_cpu(void) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
    return VGPU_AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return VGPU_AVX2;
#endif
  return VGPU_BASELINE;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static enum vgpu_instructions chosen;

static void choose(void) {
  static const struct {
    const char *name;
    enum vgpu_instructions most;
  } settings[] = {{"avx512", VGPU_AVX512}, {"avx2", VGPU_AVX2}, {"baseline", VGPU_BASELINE}};
  const char *setting = getenv("NOPROP_VGPU_INSTRUCTIONS");
  const enum vgpu_instructions cpu = of_cpu();
  chosen = setting && setting[0] ? VGPU_INSTRUCTIONS_UNKNOWN : cpu;
  for (size_t i = 0; setting && i < sizeof settings / sizeof *settings; i++) {
    if (strcmp(setting, settings[i].name) == 0) chosen = settings[i].most < cpu ? settings[i].most : cpu;
  }
}

enum vgpu_instructions vgpu_instructions(void) {
  pthread_once(&once, choose);
  return chosen;
}

static const struct interpreter_set *instruction_set(void) {
#if defined(__x86_64__)
  if (vgpu_instructions() == VGPU_AVX512) return &interpreter_avx512;
  if (vgpu_instructions() == VGPU_AVX2) return &interpreter_avx2;
#endif
  return &interpreter_baseline;
}

const char *vgpu_interpreter_instruction_set(void) { return instruction_set()->name; }

void vgpu_mma(const struct ptx_instruction *mma, const void *const *sources, void *const *results) {
  instruction_set()->mma(mma, sources, results);
}

bool vgpu_evaluate(const struct ptx_function *function, const struct ptx_instruction *instruction, uint64_t result[32],
                   const uint64_t (*arguments)[32]) {
  return instruction_set()->evaluate(function, instruction, result, arguments);
}

const struct vgpu_helpers vgpu_helpers = {.evaluate = vgpu_evaluate,
                                          .mma = vgpu_mma,
                                          .format = vgpu_format,
                                          .output_add = vgpu_output_add,
                                          .read_text = vgpu_read_text,
                                          .heap_allocate = vgpu_heap_allocate,
                                          .heap_free = vgpu_heap_free};

static void *prepare(const struct ptx_function *function, char *reason, size_t reason_bytes) {
  return instruction_set()->prepare(function, reason, reason_bytes);
}

static void *prepare_observed(const struct ptx_function *function, char *reason, size_t reason_bytes) {
  return interpreter_observed.prepare(function, reason, reason_bytes);
}

static int run_block(const struct vgpu_launch *launch, struct vgpu_scratch *scratch, const unsigned ctaid[3],
                     unsigned slot, struct vgpu_fault *fault) {
  const struct interpreter_code *code = launch->code;
  return code->set->run_block(launch, scratch, ctaid, slot, fault);
}

static int run_turn(const struct vgpu_launch *launch, struct vgpu_scratch *scratch, const unsigned ctaid[3],
                    unsigned slot, bool begin, struct vgpu_fault *fault) {
  const struct interpreter_code *code = launch->code;
  return code->set->run_turn(launch, scratch, ctaid, slot, begin, fault);
}

void vgpu_interpreter_discard(void *memory) {
  struct interpreter_code *code = memory;
  if (!code) return;
  free(code->steps);
  free(code->blocks);
  free(code->lists);
  free(code->constants);
  free(code);
}

const struct vgpu_executor vgpu_interpreter = {.name = "interpreter",
                                               .prepare = prepare,
                                               .discard = vgpu_interpreter_discard,
                                               .run_block = run_block,
                                               .run_turn = run_turn};

const struct vgpu_executor vgpu_observed = {.name = "observed interpreter",
                                            .prepare = prepare_observed,
                                            .discard = vgpu_interpreter_discard,
                                            .run_block = run_block,
                                            .run_turn = run_turn};

/* ---- scratch memory ---- */

void *vgpu_scratch_reserve(struct vgpu_scratch *scratch, size_t bytes) {
  if (bytes <= scratch->bytes) return scratch->memory;
  bytes = (bytes + 65535) / 65536 * 65536;
  free(scratch->memory);
  scratch->memory = aligned_alloc(256, bytes);
  scratch->bytes = scratch->memory ? bytes : 0;
  return scratch->memory;
}

void vgpu_scratch_release(struct vgpu_scratch *scratch) {
  free(scratch->memory);
  *scratch = (struct vgpu_scratch){0};
}

/* ---- registers ---- */

/* Linear scan: a register occupies its slot from its first definition to its last use in the order of the blocks, which
 * keeps loops together. Uses of instruction i are at time 2i, definitions at 2i + 1, so a result may take the slot of
 * an operand that is not needed any more; handlers work lane by lane, and slots of 4- and 8-byte lanes never overlap.
 */
struct interval {
  uint32_t start, end, index;
};

/* Only registers that some block may read before it writes them can live from one block to another, and only these
 * have a place in the sets: a long kernel has many registers that are used for a few instructions. */
struct liveness {
  uint64_t *in, *out, *used, *defined; /* [block][words] */
  size_t words;
  uint32_t *number;                /* [register] its bit, or UINT32_MAX */
  uint32_t *registers, live_count; /* the inverse */
};

enum { LIVENESS_LIMIT = 1 << 30 }; /* bytes of the sets: far beyond what a compiler emits, and still bearable */

static void note(uint64_t *set, uint32_t index) { set[index / 64] |= (uint64_t)1 << (index % 64); }
static bool has(const uint64_t *set, uint32_t index) { return set[index / 64] >> (index % 64) & 1; }

/* Numbers the registers that are read before they are written for certain, in any block. A guarded write keeps other
 * lanes' values, so it reads, too. `written` holds the last block that wrote the register, plus one. */
static void number_register(struct liveness *live, uint32_t *written, uint32_t index, uint32_t block, bool writes) {
  if (writes) {
    written[index] = block + 1;
  } else if (written[index] != block + 1 && live->number[index] == UINT32_MAX) {
    live->number[index] = live->live_count;
    live->registers[live->live_count++] = index;
  }
}

static void number_registers(const struct ptx_function *function, struct liveness *live, uint32_t *written) {
  memset(live->number, 0xff, function->register_count * sizeof *live->number);
  for (uint32_t b = 0; b < function->block_count; b++) {
    const struct ptx_block *block = &function->blocks[b];
    for (uint32_t i = block->first; i < block->first + block->count; i++) {
      const struct ptx_instruction *instruction = &function->instructions[i];
      const bool guarded = instruction->guard != PTX_NONE;
      if (guarded) number_register(live, written, instruction->guard, b, false);
      for (unsigned k = 0; k < instruction->src_count; k++)
        if (instruction->src[k].kind == PTX_OPERAND_REGISTER)
          number_register(live, written, instruction->src[k].index, b, false);
      for (unsigned k = 0; k < instruction->dst_count; k++)
        if (instruction->dst[k].kind == PTX_OPERAND_REGISTER)
          number_register(live, written, instruction->dst[k].index, b, !guarded);
    }
  }
}

/* What a block reads before it writes, and what it writes for certain. */
static void scan_block(const struct ptx_function *function, const struct ptx_block *block, const uint32_t *number,
                       uint64_t *used, uint64_t *defined) {
  for (uint32_t i = block->first; i < block->first + block->count; i++) {
    const struct ptx_instruction *instruction = &function->instructions[i];
    const bool guarded = instruction->guard != PTX_NONE;
    uint32_t index = guarded ? number[instruction->guard] : UINT32_MAX;
    if (index != UINT32_MAX && !has(defined, index)) note(used, index);
    for (unsigned k = 0; k < instruction->src_count; k++) {
      index = instruction->src[k].kind == PTX_OPERAND_REGISTER ? number[instruction->src[k].index] : UINT32_MAX;
      if (index != UINT32_MAX && !has(defined, index)) note(used, index);
    }
    for (unsigned k = 0; k < instruction->dst_count; k++) {
      index = instruction->dst[k].kind == PTX_OPERAND_REGISTER ? number[instruction->dst[k].index] : UINT32_MAX;
      if (index == UINT32_MAX) continue;
      if (!guarded)
        note(defined, index);
      else if (!has(defined, index))
        note(used, index);
    }
  }
}

static bool find_liveness(const struct ptx_function *function, struct liveness *live) {
  const uint32_t registers = function->register_count;
  live->number = malloc((registers + 1) * sizeof *live->number);
  live->registers = malloc((registers + 1) * sizeof *live->registers);
  uint32_t *written = calloc(registers + 1, sizeof *written);
  if (live->number && live->registers && written) number_registers(function, live, written);
  const bool numbered = live->number && live->registers && written;
  free(written);
  if (!numbered) return false;
  size_t words = live->words = (live->live_count + 63) / 64;
  size_t size = words * function->block_count;
  if (size > LIVENESS_LIMIT / (4 * sizeof *live->in)) return false;
  live->in = calloc(4 * size + 1, sizeof *live->in);
  if (!live->in) return false;
  live->out = live->in + size;
  live->used = live->out + size;
  live->defined = live->used + size;
  for (uint32_t b = 0; b < function->block_count; b++)
    scan_block(function, &function->blocks[b], live->number, live->used + b * words, live->defined + b * words);
  for (bool changed = true; changed;) {
    changed = false;
    for (uint32_t b = function->block_count; b-- > 0;) {
      const struct ptx_block *block = &function->blocks[b];
      uint64_t *out = live->out + b * words, *in = live->in + b * words;
      for (uint32_t s = 0; s <= block->target_count; s++) {
        uint32_t to = s < block->target_count ? block->targets[s] : block->next;
        if (to == PTX_NONE) continue;
        for (size_t w = 0; w < words; w++) out[w] |= live->in[to * words + w];
      }
      for (size_t w = 0; w < words; w++) {
        uint64_t now = live->used[b * words + w] | (out[w] & ~live->defined[b * words + w]);
        if (now == in[w]) continue;
        in[w] = now;
        changed = true;
      }
    }
  }
  return true;
}

static void extend(struct interval *interval, uint32_t time) {
  if (time < interval->start) interval->start = time;
  if (time > interval->end) interval->end = time;
}

static void find_intervals(const struct ptx_function *function, const struct liveness *live,
                           struct interval *intervals) {
  for (uint32_t r = 0; r < function->register_count; r++) intervals[r] = (struct interval){UINT32_MAX, 0, r};
  for (uint32_t b = 0; b < function->block_count; b++) {
    const struct ptx_block *block = &function->blocks[b];
    uint32_t last = 2 * (block->first + block->count);
    for (size_t w = 0; w < live->words; w++) {
      for (uint64_t bits = live->in [b * live->words + w]; bits; bits &= bits - 1)
        extend(&intervals[live->registers[w * 64 + (uint32_t)__builtin_ctzll(bits)]], 2 * block->first);
      for (uint64_t bits = live->out[b * live->words + w]; bits; bits &= bits - 1)
        extend(&intervals[live->registers[w * 64 + (uint32_t)__builtin_ctzll(bits)]], last);
    }
    for (uint32_t i = block->first; i < block->first + block->count; i++) {
      const struct ptx_instruction *instruction = &function->instructions[i];
      if (instruction->guard != PTX_NONE) extend(&intervals[instruction->guard], 2 * i);
      for (unsigned k = 0; k < instruction->src_count; k++)
        if (instruction->src[k].kind == PTX_OPERAND_REGISTER) extend(&intervals[instruction->src[k].index], 2 * i);
      for (unsigned k = 0; k < instruction->dst_count; k++)
        if (instruction->dst[k].kind == PTX_OPERAND_REGISTER) extend(&intervals[instruction->dst[k].index], 2 * i + 1);
    }
  }
}

static int by_start(const void *a, const void *b) {
  const struct interval *x = a, *y = b;
  return x->start != y->start ? (x->start < y->start ? -1 : 1) : x->index < y->index ? -1 : x->index > y->index;
}

/* A heap of the occupied slots of one size, the earliest end on top; free slots in a stack. */
struct pool {
  struct {
    uint32_t end, slot;
  } * heap;
  uint32_t *unused;
  uint32_t occupied, unused_count, slots;
};

static void heap_push(struct pool *pool, uint32_t end, uint32_t slot) {
  uint32_t i = pool->occupied++;
  for (; i && pool->heap[(i - 1) / 2].end > end; i = (i - 1) / 2) pool->heap[i] = pool->heap[(i - 1) / 2];
  pool->heap[i].end = end;
  pool->heap[i].slot = slot;
}

static uint32_t heap_pop(struct pool *pool) {
  uint32_t slot = pool->heap[0].slot, count = --pool->occupied, i = 0;
  uint32_t end = pool->heap[count].end, moved = pool->heap[count].slot;
  for (;;) {
    uint32_t child = 2 * i + 1;
    if (child >= count) break;
    if (child + 1 < count && pool->heap[child + 1].end < pool->heap[child].end) child++;
    if (pool->heap[child].end >= end) break;
    pool->heap[i] = pool->heap[child];
    i = child;
  }
  pool->heap[i].end = end;
  pool->heap[i].slot = moved;
  return slot;
}

static uint32_t take_slot(struct pool *pool, const struct interval *interval) {
  while (pool->occupied && pool->heap[0].end < interval->start) pool->unused[pool->unused_count++] = heap_pop(pool);
  uint32_t slot = pool->unused_count ? pool->unused[--pool->unused_count] : pool->slots++;
  heap_push(pool, interval->end, slot);
  return slot;
}

uint32_t vgpu_allocate_slots(const struct ptx_function *function, uint32_t start, uint32_t *offsets) {
  uint32_t count = function->register_count, result = 0;
  enum { WIDE, NARROW, PREDICATE, POOLS };
  static const uint32_t slot_bytes[POOLS] = {SLOT_64, SLOT_32, 4};
  struct pool pools[POOLS] = {{0}};
  struct liveness live = {0};
  struct interval *intervals = malloc((count + 1) * sizeof *intervals);
  bool ready = intervals != NULL;
  for (int p = 0; p < POOLS; p++) {
    pools[p].heap = malloc((count + 1) * sizeof *pools[p].heap);
    pools[p].unused = malloc((count + 1) * sizeof *pools[p].unused);
    ready = ready && pools[p].heap && pools[p].unused;
  }
  if (!ready || !find_liveness(function, &live)) goto done;
  find_intervals(function, &live, intervals);
  qsort(intervals, count, sizeof *intervals, by_start);
  for (int pass = 0; pass < 2; pass++) { /* first how many slots of each size, then where they are */
    uint64_t base[POOLS], at = start;
    for (int p = 0; p < POOLS; p++) {
      base[p] = at;
      at += (uint64_t)pools[p].slots * slot_bytes[p];
      pools[p].occupied = pools[p].unused_count = pools[p].slots = 0;
    }
    if (pass == 1 && at > UINT32_MAX / 2) goto done;
    for (uint32_t i = 0; i < count; i++) {
      const struct interval *interval = &intervals[i];
      uint8_t class = function->register_class[interval->index];
      int p = class == PTX_CLASS_64 ? WIDE : class == PTX_CLASS_PRED ? PREDICATE : NARROW;
      bool unused = interval->start == UINT32_MAX;
      offsets[interval->index] = unused ? 0 : (uint32_t)base[p] + take_slot(&pools[p], interval) * slot_bytes[p];
    }
    result = (uint32_t)at;
  }
done:
  for (int p = 0; p < POOLS; p++) {
    free(pools[p].heap);
    free(pools[p].unused);
  }
  free(live.in);
  free(live.number);
  free(live.registers);
  free(intervals);
  return result;
}
