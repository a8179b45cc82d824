/* An NVRTC that makes a hollow kernel of every kernel: the name, and nothing inside. tools/budget lets the program open
 * it (NOPROP_NVRTC) where it wants the text of the kernels and how they are launched, and neither their code nor what
 * they compute: most of the time goes into the real compiler. */
#include <nvrtc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Definitions need declarations of the same visibility; everything else of this project is hidden. */
#pragma GCC visibility push(default)

struct _nvrtcProgram {
  char *source, *ptx;
  size_t size; /* of the PTX, with the zero behind it */
};

nvrtcResult nvrtcVersion(int *major, int *minor) {
  *major = 12, *minor = 0;
  return NVRTC_SUCCESS;
}

const char *nvrtcGetErrorString(nvrtcResult result) { return result == NVRTC_SUCCESS ? "no error" : "an error"; }

nvrtcResult nvrtcGetNumSupportedArchs(int *count) {
  *count = 0;
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetSupportedArchs(int *architectures) {
  (void)architectures;
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcCreateProgram(nvrtcProgram *program, const char *source, const char *name, int count,
                               const char *const *headers, const char *const *names) {
  (void)name, (void)count, (void)headers, (void)names;
  nvrtcProgram made = calloc(1, sizeof *made);
  if (made == NULL || (made->source = strdup(source)) == NULL) {
    free(made);
    return NVRTC_ERROR_OUT_OF_MEMORY;
  }
  *program = made;
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcDestroyProgram(nvrtcProgram *program) {
  free((*program)->source);
  free((*program)->ptx);
  free(*program);
  *program = NULL;
  return NVRTC_SUCCESS;
}

/* The name follows `__global__ void`, or the bounds of the launch behind that; a parenthesis follows the name. */
nvrtcResult nvrtcCompileProgram(nvrtcProgram program, int count, const char *const *options) {
  (void)count, (void)options;
  static const char marker[] = "__global__ void ", bounds[] = "__launch_bounds__(";
  FILE *ptx = open_memstream(&program->ptx, &program->size);
  if (ptx == NULL) return NVRTC_ERROR_OUT_OF_MEMORY;
  fputs(".version 7.1\n.target sm_75\n.address_size 64\n", ptx);
  for (const char *at = program->source; (at = strstr(at, marker)) != NULL;) {
    at += sizeof marker - 1;
    if (strncmp(at, bounds, sizeof bounds - 1) == 0) at += strcspn(at, ")") + strspn(at + strcspn(at, ")"), ") ");
    fprintf(ptx, ".visible .entry %.*s() { ret; }\n", (int)strcspn(at, "( "), at);
  }
  const int failed = fclose(ptx);
  program->size++;
  return failed ? NVRTC_ERROR_OUT_OF_MEMORY : NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetPTXSize(nvrtcProgram program, size_t *size) {
  *size = program->size;
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetPTX(nvrtcProgram program, char *ptx) {
  memcpy(ptx, program->ptx, program->size);
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetCUBINSize(nvrtcProgram program, size_t *size) {
  (void)program, (void)size;
  return NVRTC_ERROR_INVALID_INPUT; /* the virtual GPU takes PTX */
}

nvrtcResult nvrtcGetCUBIN(nvrtcProgram program, char *cubin) {
  (void)program, (void)cubin;
  return NVRTC_ERROR_INVALID_INPUT;
}

nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram program, size_t *size) {
  (void)program;
  *size = 1;
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetProgramLog(nvrtcProgram program, char *log) {
  (void)program;
  *log = '\0';
  return NVRTC_SUCCESS;
}
