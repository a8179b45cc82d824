/* Driver API: linking PTX from several sources. The "cubin" that comes out is PTX again. */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/api.h"
#include "engine/vgpu/link.h"
#include "engine/vgpu/ptx.h"
#include "engine/vgpu/vgpu.h"

struct CUlinkState_st {
  struct link_input *inputs; /* their strings are owned */
  size_t count;
  char *result;
  unsigned option_count;
  CUjit_option *options; /* copies: cuLinkComplete writes the log that cuLinkCreate was given */
  void **values;         /* the program's: sizes are written back there */
};

/* What cooperative groups of other compilers (numba) take from libcudadevrt: the barrier of a cooperative launch, as
 * cooperative_groups/details/sync.h writes it. */
static const char device_runtime[] =
    ".version 6.0\n.target sm_70\n.address_size 64\n"
    ".weak .func (.param .b64 result) cudaCGGetIntrinsicHandle(.param .b32 scope)\n"
    "{\n"
    "  .reg .b32 %r<3>; .reg .b64 %rd<2>;\n"
    "  mov.u32 %r1, %envreg1; mov.u32 %r2, %envreg2; mov.b64 %rd1, {%r2, %r1};\n"
    "  st.param.b64 [result], %rd1;\n"
    "  ret;\n"
    "}\n"
    ".weak .func (.param .b32 result) cudaCGSynchronize(.param .b64 handle, .param .b32 flags)\n"
    "{\n"
    "  .reg .pred %p<4>; .reg .b32 %r<20>; .reg .b64 %rd<3>;\n"
    "  ld.param.b64 %rd1, [handle]; add.s64 %rd2, %rd1, 4;\n"
    "  barrier.sync 0;\n"
    "  mov.u32 %r1, %tid.x; mov.u32 %r2, %tid.y; mov.u32 %r3, %tid.z;\n"
    "  or.b32 %r1, %r1, %r2; or.b32 %r1, %r1, %r3; setp.ne.u32 %p1, %r1, 0;\n"
    "  @%p1 bra PASSED;\n"
    "  mov.u32 %r4, %nctaid.x; mov.u32 %r5, %nctaid.y; mov.u32 %r6, %nctaid.z;\n"
    "  mul.lo.u32 %r4, %r4, %r5; mul.lo.u32 %r4, %r4, %r6; sub.u32 %r7, 0x80000001, %r4;\n"
    "  mov.u32 %r8, %ctaid.x; mov.u32 %r9, %ctaid.y; mov.u32 %r10, %ctaid.z;\n"
    "  or.b32 %r8, %r8, %r9; or.b32 %r8, %r8, %r10; setp.eq.u32 %p2, %r8, 0;\n"
    "  selp.b32 %r11, %r7, 1, %p2;\n"
    "  atom.add.release.gpu.u32 %r12, [%rd2], %r11;\n"
    "SPIN:\n"
    "  ld.acquire.gpu.u32 %r13, [%rd2];\n"
    "  xor.b32 %r14, %r12, %r13; setp.gt.s32 %p3, %r14, -1;\n"
    "  @%p3 bra SPIN;\n"
    "PASSED:\n"
    "  barrier.sync 0;\n"
    "  mov.u32 %r15, 0; st.param.b32 [result], %r15;\n"
    "  ret;\n"
    "}\n";

static CUresult no_memory(void) { return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for linking"); }

static CUresult check(CUlinkState state) {
  CUresult result = vgpu_check_device(0);
  if (result != CUDA_SUCCESS || handle_is(state, HANDLE_LINK)) return result;
  return vgpu_fail(CUDA_ERROR_INVALID_HANDLE, "%p is no state of the linker; it may have been destroyed",
                   (void *)state);
}

CUresult vgpu_cuLinkDestroy(CUlinkState state) {
  CUresult result = check(state);
  if (result != CUDA_SUCCESS) return result;
  handle_remove(state);
  for (size_t i = 0; i < state->count; ++i) {
    free((void *)state->inputs[i].name);
    free((void *)state->inputs[i].text);
  }
  free(state->inputs);
  free(state->options);
  free(state->result);
  free(state);
  return CUDA_SUCCESS;
}

CUresult vgpu_cuLinkCreate_v2(unsigned count, CUjit_option *options, void **values, CUlinkState *state) {
  CUcontext context;
  CUresult result = vgpu_current(&context);
  if (result != CUDA_SUCCESS) return result;
  if (state == NULL) return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "no place for the state");
  CUlinkState made = calloc(1, sizeof *made);
  if (made == NULL) return no_memory();
  made->options = calloc(count + 1, sizeof *made->options);
  if (made->options == NULL) {
    free(made);
    return no_memory();
  }
  if (count > 0) memcpy(made->options, options, count * sizeof *options);
  made->option_count = count;
  made->values = values;
  if (!handle_add(made, HANDLE_LINK)) {
    free(made->options);
    free(made);
    return no_memory();
  }
  *state = made;
  return CUDA_SUCCESS;
}

/* `text` of `length` bytes is copied. */
static CUresult add(CUlinkState state, const char *text, size_t length, const char *name) {
  char numbered[40];
  snprintf(numbered, sizeof numbered, "input %zu", state->count);
  struct link_input *inputs = realloc(state->inputs, (state->count + 1) * sizeof *inputs);
  if (inputs == NULL) return no_memory();
  state->inputs = inputs;
  char *copy = strndup(text, length), *own_name = strdup(name != NULL ? name : numbered);
  if (copy == NULL || own_name == NULL) {
    free(copy);
    free(own_name);
    return no_memory();
  }
  inputs[state->count++] = (struct link_input){.name = own_name, .text = copy};
  return CUDA_SUCCESS;
}

CUresult vgpu_cuLinkAddData_v2(CUlinkState state, CUjitInputType type, void *data, size_t size, const char *name,
                               unsigned count, CUjit_option *options, void **values) {
  (void)count; /* of one input: they steer code generation for real GPUs */
  (void)options;
  (void)values;
  CUresult result = check(state);
  if (result != CUDA_SUCCESS) return result;
  if (data == NULL) return vgpu_null();
  if (type == CU_JIT_INPUT_PTX) return add(state, data, size, name);
  if ((type != CU_JIT_INPUT_FATBINARY && type != CU_JIT_INPUT_CUBIN && type != CU_JIT_INPUT_OBJECT) || size < 4) {
    return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "%s: inputs of kind %d cannot be linked; the virtual GPU links PTX",
                     name != NULL ? name : "an input", (int)type);
  }
  const char *text;
  char *unpacked;
  result = vgpu_image_text(data, size, &text, &unpacked);
  if (result != CUDA_SUCCESS) return result;
  result = add(state, text, unpacked != NULL ? strlen(text) : size, name);
  free(unpacked);
  return result;
}

CUresult vgpu_cuLinkAddFile_v2(CUlinkState state, CUjitInputType type, const char *path, unsigned count,
                               CUjit_option *options, void **values) {
  CUresult result = check(state);
  if (result != CUDA_SUCCESS) return result;
  if (path == NULL) return vgpu_null();
  if (type == CU_JIT_INPUT_LIBRARY && strstr(path, "cudadevrt") != NULL) {
    return add(state, device_runtime, sizeof device_runtime - 1, path);
  }
  char *content;
  size_t size;
  result = vgpu_read_file(path, &content, &size);
  if (result != CUDA_SUCCESS) return result;
  result = vgpu_cuLinkAddData_v2(state, type, content, size, path, count, options, values);
  free(content);
  return result;
}

/* What the options of the program bound registers to; 0: nothing. */
static unsigned most_registers(CUlinkState state) {
  for (unsigned i = 0; i < state->option_count; ++i) {
    if (state->options[i] == CU_JIT_MAX_REGISTERS) return (unsigned)(uintptr_t)state->values[i];
  }
  return 0;
}

/* The same text in which each kernel has the bound, if the program gave one. */
static char *bound_registers(CUlinkState state, char *text) {
  const unsigned most = most_registers(state);
  if (most == 0 || text == NULL) return text;
  char *bounded = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&bounded, &size);
  if (out == NULL) return text;
  const char *at = text;
  for (const char *entry; (entry = strstr(at, ".entry")) != NULL;) {
    const char *body = strchr(entry, '{');
    if (body == NULL) break;
    fprintf(out, "%.*s\n.maxnreg %u\n{", (int)(body - at), at, most);
    at = body + 1;
  }
  fputs(at, out);
  if (fclose(out) != 0) {
    free(bounded);
    return text;
  }
  free(text);
  return bounded;
}

CUresult vgpu_cuLinkComplete(CUlinkState state, void **image, size_t *bytes) {
  CUresult result = check(state);
  if (result != CUDA_SUCCESS) return result;
  if (image == NULL) return vgpu_null();
  char reason[400];
  free(state->result);
  state->result = NULL;
  if (state->count == 0) {
    result = vgpu_fail(CUDA_ERROR_INVALID_PTX, "nothing was given to link");
  } else if ((state->result = link_ptx(state->inputs, state->count, reason, sizeof reason)) == NULL) {
    result = vgpu_fail(CUDA_ERROR_INVALID_PTX, "linking: %s", reason);
  } else {
    state->result = bound_registers(state, state->result);
    struct ptx_error error = {.line = 0};
    struct ptx_module *module = ptx_parse(state->result, strlen(state->result), &error);
    if (module == NULL) {
      result = vgpu_fail(CUDA_ERROR_INVALID_PTX, "linking: line %u of the joined PTX: %s", error.line, error.reason);
    } else {
      ptx_free(module);
    }
  }
  vgpu_jit_log(result, state->option_count, state->options, state->values);
  if (result != CUDA_SUCCESS || state->result == NULL) return result;
  *image = state->result;
  if (bytes != NULL) *bytes = strlen(state->result) + 1;
  return CUDA_SUCCESS;
}

CUresult vgpu_cuLinkCreate(unsigned count, CUjit_option *options, void **values, CUlinkState *state) {
  return vgpu_cuLinkCreate_v2(count, options, values, state);
}
CUresult vgpu_cuLinkAddData(CUlinkState state, CUjitInputType type, void *data, size_t size, const char *name,
                            unsigned count, CUjit_option *options, void **values) {
  return vgpu_cuLinkAddData_v2(state, type, data, size, name, count, options, values);
}
CUresult vgpu_cuLinkAddFile(CUlinkState state, CUjitInputType type, const char *path, unsigned count,
                            CUjit_option *options, void **values) {
  return vgpu_cuLinkAddFile_v2(state, type, path, count, options, values);
}
