/* From an analysed kernel to LLVM's intermediate form. */
#ifndef VGPU_TRANSLATE_EMIT_H
#define VGPU_TRANSLATE_EMIT_H

#include <llvm-c/Core.h>

#include "engine/vgpu/translate/analysis.h"

struct target_features {
  bool avx512; /* 512-bit vectors with directed rounding in the instruction */
  bool fast_gather;
};

/* The module with RUN_SYMBOL and INFO_SYMBOL, or NULL and a reason. */
LLVMModuleRef emit_kernel(LLVMContextRef context, struct analysis *analysis, const struct target_features *features,
                          char *reason, size_t reason_bytes);

#endif
