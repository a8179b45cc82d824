/* LLVM's side of the translator: see machine.h. */
#include "engine/vgpu/translate/machine.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <llvm/Config/llvm-config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/translate/order.h"

struct machine {
  LLVMTargetRef target;
  char *triple, *cpu, *features;
  struct target_features target_features;
  char description[80], *identity;
};

/* What functions of the module do to memory; registers to SSA form; then what emission leaves behind: repeated reads of
 * operands, checks and masks that are constant, addresses that do not change in a loop. LLVM's own loop passes for
 * vectorising and unrolling would find nothing to do. */
static const char passes[] =
    "cgscc(function-attrs),"
    "function(mem2reg,early-cse<memssa>,instcombine,simplifycfg,loop-mssa(loop-rotate,licm),early-cse<memssa>,"
    "simplifycfg,adce)";

static bool has_feature(const char *features, const char *name) {
  const size_t length = strlen(name);
  for (const char *at = features; (at = strstr(at, name)) != NULL; at++) {
    if (at > features && at[-1] == '+' && (at[length] == ',' || at[length] == '\0')) return true;
  }
  return false;
}

static char *copy_text(const char *text) {
  char *copy = malloc(strlen(text) + 1);
  return copy ? strcpy(copy, text) : NULL;
}

const struct machine *machine_open(enum vgpu_instructions most, char *reason, size_t reason_bytes) {
#if !defined(__x86_64__)
  snprintf(reason, reason_bytes, "the translator knows x86-64 processors only");
  return NULL;
#else
  struct machine *machine = calloc(1, sizeof *machine); /* stays for the life of the process */
  if (!machine) {
    snprintf(reason, reason_bytes, "there is not enough memory for the translator");
    return NULL;
  }
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  LLVMInitializeX86AsmParser(); /* calls of helpers are inline assembly */
  machine->triple = LLVMGetDefaultTargetTriple();
  char *message = NULL;
  if (LLVMGetTargetFromTriple(machine->triple, &machine->target, &message)) {
    snprintf(reason, reason_bytes, "LLVM has no code generator for %s", machine->triple);
    LLVMDisposeMessage(message);
    return NULL;
  }
  char *cpu = LLVMGetHostCPUName(), *features = LLVMGetHostCPUFeatures();
  const bool avx512 = most >= VGPU_AVX512 && has_feature(features, "avx512f") && has_feature(features, "avx512bw") &&
                      has_feature(features, "avx512dq") && has_feature(features, "avx512vl");
  const bool avx2 = most >= VGPU_AVX2 && has_feature(features, "avx2") && has_feature(features, "fma") &&
                    has_feature(features, "f16c");
  const bool narrower = !avx512 && has_feature(features, "avx512f");
  /* A processor newer than LLVM: schedule as for the first of its kind. So, too, if less than it has is asked for. */
  machine->cpu = copy_text(narrower ? "haswell" : strcmp(cpu, "generic") ? cpu : avx512 ? "skylake-avx512" : "haswell");
  machine->features = copy_text(narrower ? "" : features);
  LLVMDisposeMessage(cpu);
  LLVMDisposeMessage(features);
  if (!avx2) {
    snprintf(reason, reason_bytes, "the translator needs a processor with AVX2, FMA and F16C, and leave to use them");
    return NULL;
  }
  machine->target_features.avx512 = avx512;
  machine->target_features.fast_gather = avx512;
  const unsigned major = LLVM_VERSION_MAJOR;
  snprintf(machine->description, sizeof machine->description, "LLVM %u, %s", major, avx512 ? "AVX-512" : "AVX2");
  if (machine->cpu && machine->features) {
    const size_t room = strlen(machine->cpu) + strlen(machine->features) + 64;
    machine->identity = malloc(room);
    if (machine->identity)
      snprintf(machine->identity, room, "LLVM %s %s %s", LLVM_VERSION_STRING, machine->cpu, machine->features);
  }
  if (!machine->identity) {
    snprintf(reason, reason_bytes, "there is not enough memory for the translator");
    return NULL;
  }
  return machine;
#endif
}

const char *machine_description(const struct machine *machine) { return machine->description; }
const char *machine_identity(const struct machine *machine) { return machine->identity; }
const struct target_features *machine_features(const struct machine *machine) { return &machine->target_features; }

static void take_error(LLVMErrorRef error, const char *what, char *reason, size_t reason_bytes) {
  char *message = LLVMGetErrorMessage(error);
  snprintf(reason, reason_bytes, "LLVM %s: %s", what, message);
  LLVMDisposeErrorMessage(message);
}

unsigned char *machine_compile(const struct machine *machine, LLVMModuleRef module, size_t *bytes, char *reason,
                               size_t reason_bytes) {
  unsigned char *object = NULL;
  char *message = NULL;
  LLVMMemoryBufferRef buffer = NULL;
  LLVMTargetMachineRef target =
      LLVMCreateTargetMachine(machine->target, machine->triple, machine->cpu, machine->features,
                              LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelDefault);
  LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(target);
  LLVMSetModuleDataLayout(module, layout);
  LLVMSetTarget(module, machine->triple);
  if (LLVMVerifyModule(module, LLVMReturnStatusAction, &message)) {
    snprintf(reason, reason_bytes, "the translator made invalid code: %s", message);
    goto done;
  }
  LLVMErrorRef error = LLVMRunPasses(module, passes, target, options);
  if (error) {
    take_error(error, "cannot optimise", reason, reason_bytes);
    goto done;
  }
  if (!machine->target_features.avx512) order_instructions(module);
  LLVMDisposeMessage(message);
  message = NULL;
  if (LLVMTargetMachineEmitToMemoryBuffer(target, module, LLVMObjectFile, &message, &buffer)) {
    snprintf(reason, reason_bytes, "LLVM cannot generate code: %s", message);
    goto done;
  }
  *bytes = LLVMGetBufferSize(buffer);
  object = malloc(*bytes);
  if (object)
    memcpy(object, LLVMGetBufferStart(buffer), *bytes);
  else
    snprintf(reason, reason_bytes, "there is not enough memory for machine code");
done:
  if (buffer) LLVMDisposeMemoryBuffer(buffer);
  LLVMDisposeMessage(message);
  LLVMDisposeTargetData(layout);
  LLVMDisposePassBuilderOptions(options);
  LLVMDisposeTargetMachine(target);
  return object;
}
