/* The translator plug-in: from a kernel and a block size to code that run_block can call. */
#include "engine/vgpu/translate.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/translate/cache.h"
#include "engine/vgpu/translate/machine.h"
#include "engine/vgpu/translate/runtime.h"

/* Code for AVX2 and for AVX-512 may be made in one process: whoever opens the translator says which. */
enum { NARROW, WIDE, KINDS };

static struct kind {
  const struct machine *machine;
  char problem[200];
  pthread_once_t once;
} kinds[KINDS] = {{.once = PTHREAD_ONCE_INIT}, {.once = PTHREAD_ONCE_INIT}};
static const struct vgpu_translator_host *host;
static uint64_t own_sum;

static void open_narrow(void) {
  kinds[NARROW].machine = machine_open(VGPU_AVX2, kinds[NARROW].problem, sizeof kinds[NARROW].problem);
  own_sum = cache_translator_sum();
}

static void open_wide(void) {
  kinds[WIDE].machine = machine_open(VGPU_AVX512, kinds[WIDE].problem, sizeof kinds[WIDE].problem);
  own_sum = cache_translator_sum();
}

static void discard(void *memory) {
  struct translated *code = memory;
  if (!code) return;
  loader_close(&code->loaded);
  free(code);
}

/* Binds an object file's symbols; takes no ownership of the object. */
static struct translated *bind(const struct machine *machine, const struct ptx_function *function,
                               const unsigned block[3], const unsigned char *object, size_t bytes, char *reason,
                               size_t reason_bytes) {
  struct translated *code = calloc(1, sizeof *code);
  if (!code) {
    snprintf(reason, reason_bytes, "there is not enough memory for machine code");
    return NULL;
  }
  code->function = function;
  code->host = host;
  memcpy(code->block, block, sizeof code->block);
  code->threads = block[0] * block[1] * block[2];
  code->warps = (code->threads + WARP_LANES - 1) / WARP_LANES;
  code->call = translated_call(machine_features(machine)->avx512);
  static const char *const names[] = {RUN_SYMBOL, INFO_SYMBOL};
  void *addresses[2];
  if (!loader_open(&code->loaded, object, bytes, names, addresses, 2, reason, reason_bytes)) {
    free(code);
    return NULL;
  }
  memcpy(&code->run, &addresses[0], sizeof code->run);
  code->info = addresses[1];
  return code;
}

/* LLVM's time grows a little faster than a kernel's size: 5,000 instructions take some two seconds, the largest
 * training kernel on tensor cores of the default networks (16,000) eighteen. Kernels for which the process would have
 * to be kept much longer stay with the interpreter. */
enum { INSTRUCTIONS_MOST = 20000 };

static unsigned char *compile(const struct machine *machine, const struct ptx_function *function,
                              const unsigned block[3], size_t *bytes, char *reason, size_t reason_bytes) {
  if (function->instruction_count > INSTRUCTIONS_MOST) {
    snprintf(reason, reason_bytes, "the kernel has %u instructions; up to %d are made machine code in a sensible time",
             function->instruction_count, INSTRUCTIONS_MOST);
    return NULL;
  }
  struct analysis *analysis = analyse(function, block, reason, reason_bytes);
  if (!analysis) return NULL;
  LLVMContextRef context = LLVMContextCreate();
  unsigned char *object = NULL;
  LLVMModuleRef module = emit_kernel(context, analysis, machine_features(machine), reason, reason_bytes);
  if (module) {
    object = machine_compile(machine, module, bytes, reason, reason_bytes);
    LLVMDisposeModule(module);
  }
  LLVMContextDispose(context);
  analysis_free(analysis);
  return object;
}

static void *translate(const struct machine *machine, const struct ptx_function *function, const unsigned block[3],
                       const char *cache_folder, char *reason, size_t reason_bytes) {
  const unsigned long long threads = (unsigned long long)block[0] * block[1] * block[2];
  if (threads == 0 || threads > 1024) {
    snprintf(reason, reason_bytes, "blocks of %llu threads are not possible", threads);
    return NULL;
  }
  struct cache_key key = {{0, 0}};
  struct translated *code = NULL;
  unsigned char *object = NULL;
  size_t bytes = 0;
  if (!own_sum) cache_folder = NULL;
  if (cache_folder) {
    key = cache_key_of(function, block, machine_identity(machine), own_sum);
    object = cache_read(cache_folder, key, &bytes);
    if (object) code = bind(machine, function, block, object, bytes, reason, reason_bytes);
    free(object);
    if (code) return code;
  }
  object = compile(machine, function, block, &bytes, reason, reason_bytes);
  if (!object) return NULL;
  code = bind(machine, function, block, object, bytes, reason, reason_bytes);
  if (code && cache_folder) cache_write(cache_folder, key, object, bytes);
  free(object);
  return code;
}

static void *translate_narrow(const struct ptx_function *function, const unsigned block[3], const char *cache_folder,
                              char *reason, size_t reason_bytes) {
  return translate(kinds[NARROW].machine, function, block, cache_folder, reason, reason_bytes);
}

static void *translate_wide(const struct ptx_function *function, const unsigned block[3], const char *cache_folder,
                            char *reason, size_t reason_bytes) {
  return translate(kinds[WIDE].machine, function, block, cache_folder, reason, reason_bytes);
}

__attribute__((visibility("default"))) const struct vgpu_translator *vgpu_translator(
    const struct vgpu_translator_host *new_host, char *reason, size_t reason_bytes);

const struct vgpu_translator *vgpu_translator(const struct vgpu_translator_host *new_host, char *reason,
                                              size_t reason_bytes) {
  static struct vgpu_translator translators[KINDS] = {
      {.translate = translate_narrow, .discard = discard, .run_block = translated_run_block},
      {.translate = translate_wide, .discard = discard, .run_block = translated_run_block}};
  if (new_host->version != VGPU_TRANSLATOR_VERSION) {
    snprintf(reason, reason_bytes, "the translator is of version %d, the library asks for %u", VGPU_TRANSLATOR_VERSION,
             new_host->version);
    return NULL;
  }
  if (new_host->instructions < VGPU_AVX2) {
    snprintf(reason, reason_bytes, "the translator needs leave to use AVX2");
    return NULL;
  }
  host = new_host;
  const int which = new_host->instructions >= VGPU_AVX512 ? WIDE : NARROW;
  pthread_once(&kinds[which].once, which == WIDE ? open_wide : open_narrow);
  if (!kinds[which].machine) {
    snprintf(reason, reason_bytes, "%s", kinds[which].problem);
    return NULL;
  }
  translators[which].description = machine_description(kinds[which].machine);
  return &translators[which];
}
