/* The contract between the launcher and the translator, a plug-in (libnoprop_translate.so) that turns a kernel into
 * machine code through LLVM. Without the plug-in, or for a kernel it refuses, the interpreter does the work, with the
 * same bits. */
#ifndef VGPU_TRANSLATE_H
#define VGPU_TRANSLATE_H

#include "engine/vgpu/executor.h"

/* Counts changes of this header: a plug-in of another version is not used. */
enum { VGPU_TRANSLATOR_VERSION = 2 };

struct vgpu_helpers;

/* What the plug-in needs of the library, whose functions are hidden. Filled by the launcher, must stay alive. */
struct vgpu_translator_host {
  unsigned version;                    /* VGPU_TRANSLATOR_VERSION */
  enum vgpu_instructions instructions; /* at most these */
  bool (*memory_contains)(uint64_t address, size_t bytes, uint64_t *low, uint64_t *high);
  void *(*scratch_reserve)(struct vgpu_scratch *scratch, size_t bytes);
  const struct vgpu_helpers *helpers; /* helpers.h */
};

struct vgpu_translator {
  const char *description; /* "LLVM 14, AVX-512" */
  /* Machine code for `function` when launched with blocks of exactly this size; NULL and a reason (a sentence without a
   * full stop, with the PTX line) if it contains a form that the translator does not implement. Takes from milliseconds
   * (found in cache_folder) to about a second. cache_folder: where object files are kept, created if need be, or NULL.
   * Any number of threads may call it at once, and while blocks run. The module is already placed, and `function` must
   * outlive the code. */
  void *(*translate)(const struct ptx_function *function, const unsigned block[3], const char *cache_folder,
                     char *reason, size_t reason_bytes);
  void (*discard)(void *code);
  /* As vgpu_executor.run_block; launch->code is what translate() returned for launch->function and launch->block. */
  int (*run_block)(const struct vgpu_launch *launch, struct vgpu_scratch *scratch, const unsigned ctaid[3],
                   unsigned slot, struct vgpu_fault *fault);
};

/* The plug-in's only exported symbol: the translator, or NULL and a reason (versions differ, CPU not supported by
 * LLVM, or with too few instructions allowed). Calls that allow the same instructions return the same object. */
#define VGPU_TRANSLATOR_SYMBOL "vgpu_translator"
typedef const struct vgpu_translator *(*vgpu_translator_function)(const struct vgpu_translator_host *host, char *reason,
                                                                  size_t reason_bytes);

#endif
