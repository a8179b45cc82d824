/* What the interpreter does for the translator: instructions that are too rare or too long to be worth machine code of
 * their own, done by the interpreter's handlers. */
#ifndef VGPU_HELPERS_H
#define VGPU_HELPERS_H

#include "engine/vgpu/heap.h"
#include "engine/vgpu/matrix.h"
#include "engine/vgpu/print.h"

/* An instruction with one result and up to four operands, for 32 lanes, each in 64 bits. False: not of that kind. */
typedef bool vgpu_evaluate_function(const struct ptx_function *function, const struct ptx_instruction *instruction,
                                    uint64_t result[32], const uint64_t (*arguments)[32]);
/* For the CPU's instruction set. */
vgpu_evaluate_function vgpu_evaluate;

struct vgpu_helpers {
  vgpu_evaluate_function *evaluate;
  vgpu_mma_function *mma;
  char *(*format)(uint64_t format, uint64_t arguments, const struct vgpu_reader *reader, size_t *bytes, int *count,
                  uint64_t *bad);
  void (*output_add)(struct vgpu_output *output, uint64_t block, const char *text, size_t bytes);
  void (*read_text)(char *text, size_t room, uint64_t address, const struct vgpu_reader *reader);
  uint64_t (*heap_allocate)(uint64_t bytes);
  bool (*heap_free)(uint64_t address);
};
extern const struct vgpu_helpers vgpu_helpers;

#endif
