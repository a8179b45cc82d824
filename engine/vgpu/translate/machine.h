/* LLVM's side of the translator: this CPU, optimisation and object files. */
#ifndef VGPU_TRANSLATE_MACHINE_H
#define VGPU_TRANSLATE_MACHINE_H

#include "engine/vgpu/executor.h"
#include "engine/vgpu/translate/emit.h"

struct machine; /* this CPU as LLVM sees it; stays for ever, read by all threads */

/* NULL and a reason if LLVM or the translator does not know this CPU, or if it may not use enough of it. */
const struct machine *machine_open(enum vgpu_instructions most, char *reason, size_t reason_bytes);
const char *machine_description(const struct machine *machine);
const struct target_features *machine_features(const struct machine *machine);
/* Everything about LLVM and the CPU that object code depends on. */
const char *machine_identity(const struct machine *machine);

/* Optimises the module and makes an object file, which the caller frees. NULL and a reason on failure. */
unsigned char *machine_compile(const struct machine *machine, LLVMModuleRef module, size_t *bytes, char *reason,
                               size_t reason_bytes);

#endif
