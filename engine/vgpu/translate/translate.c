/* The translator plug-in: from a kernel and a block size to code that run_block can call. */
#include "engine/vgpu/translate.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/translate/cache.h"
#include "engine/vgpu/translate/machine.h"
#include "engine/vgpu/translate/runtime.h"

static const struct machine *machine;
static const struct vgpu_translator_host *host;
static char machine_problem[200];
static uint64_t own_sum;
static pthread_once_t machine_once = PTHREAD_ONCE_INIT;

static void open_machine(void) {
  machine = machine_open(machine_problem, sizeof machine_problem);
  own_sum = cache_translator_sum();
}

static void discard(void *memory) {
  struct translated *code = memory;
  if (!code) return;
  loaded_free(code->library);
  free(code);
}

/* Binds an object file's symbols; takes no ownership of the object. */
static struct translated *bind(const struct ptx_function *function, const unsigned block[3],
                               const unsigned char *object, size_t bytes, char *reason, size_t reason_bytes) {
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
  code->library = machine_load(machine, object, bytes, reason, reason_bytes);
  if (!code->library) {
    free(code);
    return NULL;
  }
  void *run = loaded_symbol(code->library, RUN_SYMBOL);
  code->info = loaded_symbol(code->library, INFO_SYMBOL);
  memcpy(&code->run, &run, sizeof run);
  if (!run || !code->info) {
    snprintf(reason, reason_bytes, "the machine code of kernel '%s' cannot be loaded", function->name);
    discard(code);
    return NULL;
  }
  return code;
}

static unsigned char *compile(const struct ptx_function *function, const unsigned block[3], size_t *bytes, char *reason,
                              size_t reason_bytes) {
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

static void *translate(const struct ptx_function *function, const unsigned block[3], const char *cache_folder,
                       char *reason, size_t reason_bytes) {
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
    if (object) code = bind(function, block, object, bytes, reason, reason_bytes);
    free(object);
    if (code) return code;
  }
  object = compile(function, block, &bytes, reason, reason_bytes);
  if (!object) return NULL;
  code = bind(function, block, object, bytes, reason, reason_bytes);
  if (code && cache_folder) cache_write(cache_folder, key, object, bytes);
  free(object);
  return code;
}

__attribute__((visibility("default"))) const struct vgpu_translator *vgpu_translator(
    const struct vgpu_translator_host *new_host, char *reason, size_t reason_bytes);

const struct vgpu_translator *vgpu_translator(const struct vgpu_translator_host *new_host, char *reason,
                                              size_t reason_bytes) {
  static struct vgpu_translator translator = {
      .translate = translate, .discard = discard, .run_block = translated_run_block};
  if (new_host->version != VGPU_TRANSLATOR_VERSION) {
    snprintf(reason, reason_bytes, "the translator is of version %d, the library asks for %u", VGPU_TRANSLATOR_VERSION,
             new_host->version);
    return NULL;
  }
  pthread_once(&machine_once, open_machine);
  if (!machine) {
    snprintf(reason, reason_bytes, "%s", machine_problem);
    return NULL;
  }
  host = new_host;
  translator.description = machine_description(machine);
  return &translator;
}
