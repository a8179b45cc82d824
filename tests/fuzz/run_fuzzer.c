/* Fuzz target: kernels that the front end accepts are run by the interpreter, a few turns of a block of 48 threads.
 * Whatever they do (stray addresses, divergent barriers, endless loops) ends in a fault or in nothing. */
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/interpreter.h"
#include "engine/vgpu/ptx.h"
#include "engine/vgpu/regions.h"
#include "tests/fuzz/fuzz.h"

enum {
  SEGMENT_LIMIT = 1 << 16,
  BLOCK_LIMIT = 1 << 22, /* bytes of a block's registers, shared and local memory; more only costs time */
  TURNS = 8,             /* of COOPERATIVE_TURN basic blocks for each warp */
  THREADS = 48,
  WINDOW = 1 << 14 /* bytes of device memory that the parameters point to */
};

static uint64_t window[WINDOW / 8];

static void run(const struct ptx_function *function, struct vgpu_scratch *scratch) {
  char reason[300] = "";
  const uint64_t registers = (uint64_t)function->register_count * 8 * 64;
  if (function->shared_bytes + (uint64_t)function->local_bytes * 64 + registers > BLOCK_LIMIT) return;
  void *code = interpreter_baseline.prepare(function, reason, sizeof reason);
  if (code == NULL) return;
  static _Alignas(16) uint64_t parameters[4096];
  for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++) {
    parameters[i] = (uint64_t)(uintptr_t)window + 256 * (i % 8);
  }
  const struct vgpu_launch launch = {.function = function,
                                     .code = code,
                                     .grid = {1, 1, 1},
                                     .block = {THREADS, 1, 1},
                                     .dynamic_shared = 1024,
                                     .params = parameters,
                                     .param_bytes = function->parameter_bytes,
                                     .multiprocessors = 1,
                                     .grid_id = 1,
                                     .cooperative = true};
  const unsigned block[3] = {0, 0, 0};
  struct vgpu_fault fault = {.kind = VGPU_FAULT_NONE};
  int again = 1;
  for (int turn = 0; again == 1 && turn < TURNS; turn++) {
    again = interpreter_baseline.run_turn(&launch, scratch, block, 0, turn == 0, &fault);
  }
  if (again < 0) fuzz_check_message(fault.text, sizeof fault.text);
  vgpu_interpreter_discard(code);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static bool registered;
  if (!registered) registered = regions_add(REGION_REGISTERED, (uint64_t)(uintptr_t)window, sizeof window, NULL);
  struct ptx_error error = {.line = 0};
  struct ptx_module *module = ptx_parse((const char *)data, size, &error);
  if (module == NULL) return 0;
  static _Alignas(256) unsigned char segment[SEGMENT_LIMIT];
  if (module->segment_bytes <= SEGMENT_LIMIT) {
    struct vgpu_scratch scratch = {NULL, 0};
    ptx_place(module, segment);
    memset(window, 1, sizeof window);
    for (uint32_t i = 0; i < module->function_count && i < 8; i++) run(&module->functions[i], &scratch);
    vgpu_scratch_release(&scratch);
  }
  ptx_free(module);
  return 0;
}
