/* The interpreter's choice of instruction set, its scratch memory, and the placement of registers. */
#include "engine/vgpu/interpreter.h"

#include <stdlib.h>

static const struct interpreter_set *choose(void) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
    return &interpreter_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &interpreter_avx2;
#endif
  return &interpreter_baseline;
}

const char *vgpu_interpreter_instruction_set(void) { return choose()->name; }

static void *prepare(const struct ptx_function *function, char *reason, size_t reason_bytes) {
  return choose()->prepare(function, reason, reason_bytes);
}

static int run_block(const struct vgpu_launch *launch, struct vgpu_scratch *scratch, const unsigned ctaid[3],
                     unsigned slot, struct vgpu_fault *fault) {
  const struct interpreter_code *code = launch->code;
  return code->set->run_block(launch, scratch, ctaid, slot, fault);
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

const struct vgpu_executor vgpu_interpreter = {
    .name = "interpreter", .prepare = prepare, .discard = vgpu_interpreter_discard, .run_block = run_block};

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

static uint32_t slot_bytes(uint8_t class) {
  return class == PTX_CLASS_64 ? SLOT_64 : class == PTX_CLASS_PRED ? 4 : SLOT_32;
}

uint32_t vgpu_allocate_slots(const struct ptx_function *function, uint32_t start, uint32_t *offsets) {
  uint32_t at = start;
  for (int pass = 0; pass < 2; pass++) { /* predicates last: they need no more than 4 bytes each */
    for (uint32_t i = 0; i < function->register_count; i++) {
      bool predicate = function->register_class[i] == PTX_CLASS_PRED;
      if (predicate != (pass == 1)) continue;
      offsets[i] = at;
      at += slot_bytes(function->register_class[i]);
    }
  }
  return at;
}
