/* LLVM's side of the translator: this CPU, optimisation, object files, and loading them. */
#ifndef VGPU_TRANSLATE_MACHINE_H
#define VGPU_TRANSLATE_MACHINE_H

#include "engine/vgpu/translate/emit.h"

struct machine; /* this CPU as LLVM sees it; one per process, read by all threads */

/* NULL and a reason if LLVM or the translator does not know this CPU. */
const struct machine *machine_open(char *reason, size_t reason_bytes);
const char *machine_description(const struct machine *machine);
const struct target_features *machine_features(const struct machine *machine);
/* Everything about LLVM and the CPU that object code depends on. */
const char *machine_identity(const struct machine *machine);

/* Optimises the module and makes an object file, which the caller frees. NULL and a reason on failure. */
unsigned char *machine_compile(const struct machine *machine, LLVMModuleRef module, size_t *bytes, char *reason,
                               size_t reason_bytes);

/* Loads an object file; NULL and a reason on failure. */
struct loaded;
struct loaded *machine_load(const struct machine *machine, const unsigned char *object, size_t bytes, char *reason,
                            size_t reason_bytes);
void *loaded_symbol(struct loaded *loaded, const char *name);
void loaded_free(struct loaded *loaded);

#endif
