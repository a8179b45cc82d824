/* Functions of the module beside the kernel's own: code that a kernel would otherwise hold hundreds of times.
 *
 * A layer on tensor cores is hundreds of mma of some hundred instructions each, and as many activations. LLVM's time
 * grows faster than a function's length (a solve of five layers took it 90 s), and an instruction cache holds 32 KiB. A
 * function takes and returns what the processor's convention has registers for, or pointers to the rest. */
#include <stdio.h>
#include <string.h>

#include "engine/vgpu/translate/emitter.h"

/* A call costs some ten nanoseconds, mostly for registers that are kept in memory meanwhile; in large kernels they are
 * there anyway. */
enum { LARGE = 3000 };

bool is_large(const struct emitter *e) { return e->function->instruction_count > LARGE; }

static void add_property(struct emitter *e, Value function, const char *name) {
  const unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAddAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                          LLVMCreateEnumAttribute(e->context, kind, 0));
}

void add_vector_width(struct emitter *e, Value function) {
  static const char *const names[] = {"prefer-vector-width", "min-legal-vector-width"};
  const char *width = e->features->avx512 ? "512" : "256";
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    LLVMAddAttributeAtIndex(
        function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
        LLVMCreateStringAttribute(e->context, names[i], (unsigned)strlen(names[i]), width, (unsigned)strlen(width)));
}

Value call_outlined(struct emitter *e, const char *name, Type result, const Value *arguments, unsigned count,
                    outlined_body *body, const void *what) {
  enum { MOST = 2 + 2 * MATRIX_RUN };
  Type types[MOST];
  Value values[MOST];
  char full[100];
  for (unsigned i = 0; i < count; i++) types[i] = LLVMTypeOf(arguments[i]);
  const Type type = LLVMFunctionType(result, types, count, 0);
  snprintf(full, sizeof full, "%s.%u", name, vector_lanes);
  Value function = LLVMGetNamedFunction(e->module, full);
  if (!function) {
    function = LLVMAddFunction(e->module, full, type);
    LLVMSetLinkage(function, LLVMInternalLinkage);
    add_property(e, function, "noinline");
    add_property(e, function, "nounwind");
    add_vector_width(e, function);
    const Label here = LLVMGetInsertBlock(e->builder);
    Value run = e->run;
    e->run = function;
    LLVMPositionBuilderAtEnd(e->builder, new_label(e, ""));
    for (unsigned i = 0; i < count; i++) values[i] = LLVMGetParam(function, i);
    Value returned = body(e, what, values);
    if (returned)
      LLVMBuildRet(e->builder, returned);
    else
      LLVMBuildRetVoid(e->builder);
    e->run = run;
    LLVMPositionBuilderAtEnd(e->builder, here);
  }
  return LLVMBuildCall2(e->builder, type, function, (Value *)arguments, count, "");
}
