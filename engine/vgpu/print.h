/* What kernels print and assert: the text is formatted when the instruction runs, kept by block, and written to the
 * standard output when the launch ends, in the order of the blocks. */
#ifndef VGPU_PRINT_H
#define VGPU_PRINT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vgpu_output_piece;
struct vgpu_output {
  pthread_mutex_t mutex;
  struct vgpu_output_piece *first, *last;
  size_t bytes;
};

/* Takes a copy of the text. `block`: number within the grid. NULL: written at once. */
void vgpu_output_add(struct vgpu_output *output, uint64_t block, const char *text, size_t bytes);
/* Writes everything and leaves the output empty. */
void vgpu_output_finish(struct vgpu_output *output);

/* How generic addresses are read: how many bytes from `address` on may be read. */
struct vgpu_reader {
  size_t (*readable)(const void *context, uint64_t address);
  const void *context;
};

/* The text that CUDA's vprintf makes of the format and the block of arguments, each aligned to its size; to be freed.
 * *count: what vprintf returns. NULL: *bad is an address that cannot be read, or 0 if memory ran out. Conversions and
 * flags are those of C without n; lengths h, hh, l, ll, z, j, t. Others are printed as they stand. */
char *vgpu_format(uint64_t format, uint64_t arguments, const struct vgpu_reader *reader, size_t *bytes, int *count,
                  uint64_t *bad);

/* A string that ends with 0, of at most 1000 bytes, for messages; "?" if it cannot be read. */
void vgpu_read_text(char *text, size_t room, uint64_t address, const struct vgpu_reader *reader);

#endif
