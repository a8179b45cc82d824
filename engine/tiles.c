/* The table of tile forms. */
#include "engine/tiles.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/status.h"
#include "engine/vgpu/gpus.h"
#include "kernels/arguments.h"

const struct tile_form TILE_FORM_WIDE = {32, 8}, TILE_FORM_ROW = {1, 8};
static const struct tile_form TILE_FORM_SPLIT = {16, 2};

unsigned tiles_processors(const noprop_device *device) {
  if (!device->properties.is_virtual) return (unsigned)device->properties.multiprocessors;
  const char *name = getenv("NOPROP_VGPU_GPU");
  const noprop_gpu *gpu = name && name[0] ? vgpu_gpu_find(name) : NULL;
  return gpu ? (unsigned)gpu->multiprocessors.value : 0;
}

/* For an input and layer a thread with `outputs` outputs issues a load of the input, outputs / 4 of weights (1 at
 * least), `outputs` multiply-adds and one for the loop: 12 with 8 outputs, 7 with 4, 5 with 2, which is 1.5, 1.75
 * and 2.5 for a multiply-add. So 32 rows and 8 outputs do the least work, as long as every processor has a block. With
 * fewer blocks than processors the step takes as long as one block does; that time shrinks with the rows of a tile
 * while the block's 128 threads stay busy, rows x widest = 128 x outputs, from 12 to 7 to 5. From 16 rows and a block
 * for every processor on, halving the rows again would put two blocks of 5 on a processor. */
static const struct {
  unsigned rows;
  int widest; /* outputs of the widest layer, at most */
  unsigned outputs;
} FORMS[] = {{16, 32, 4}, {16, 1 << 30, 8}, {8, 32, 2}, {8, 64, 4}, {8, 1 << 30, 8}};

struct tile_form tiles_rule(unsigned processors, unsigned batch, int widest) {
  unsigned rows = 32;
  while (rows > 8 && batch < (unsigned long long)rows * processors) rows /= 2;
  for (size_t i = 0; i < sizeof FORMS / sizeof *FORMS; ++i)
    if (FORMS[i].rows == rows && widest <= FORMS[i].widest) return (struct tile_form){rows, FORMS[i].outputs};
  return TILE_FORM_WIDE;
}

/* Whether NOPROP_TILE_FORM says something; then *form is that, else TILE_FORM_WIDE. */
static noprop_status forced(struct tile_form *form, bool *is_forced) {
  const char *text = getenv("NOPROP_TILE_FORM");
  int end = 0;
  unsigned rows = 0, outputs = 0;
  *form = TILE_FORM_WIDE;
  *is_forced = text && text[0];
  if (!*is_forced) return NOPROP_OK;
  const bool read = sscanf(text, "%ux%u%n", &rows, &outputs, &end) == 2 && text[end] == '\0';
  if (!read || (rows != 8 && rows != 16 && rows != 32) || (outputs != 2 && outputs != 4 && outputs != 8))
    return status_set(NOPROP_INVALID_ARGUMENT,
                      "NOPROP_TILE_FORM must be ROWSxOUTPUTS with 8, 16 or 32 rows and 2, 4 or 8 outputs, not '%.40s'",
                      text);
  *form = (struct tile_form){rows, outputs};
  return NOPROP_OK;
}

noprop_status tiles_choose(const noprop_device *device, unsigned batch, int widest, struct tile_form *form) {
  bool is_forced;
  const noprop_status status = forced(form, &is_forced);
  if (status == NOPROP_OK && !is_forced) *form = tiles_rule(tiles_processors(device), batch, widest);
  return status;
}

/* A block of 64 rows takes as long as one warp with its 16 rows does. 16 rows that four warps share take 0.5 to 0.65 of
 * that (counted: docs/budgets.md), so that they pay as long as no processor gets a second block of them. */
static bool shares_rows(const noprop_device *device, unsigned rows) { return rows <= 16ull * tiles_processors(device); }

/* The two parts of tf32x3's factors are all in registers: with layers this wide, a warp that has rows of its own spills
 * some (compiled for every architecture: docs/three_tf32.md), but for compute capability 8.0 and 9.0. */
static bool spills_alone(const noprop_device *device, int operands, int widest) {
  const int *capability = device->properties.compute_capability;
  const bool has_room = (capability[0] == 8 || capability[0] == 9) && capability[1] == 0;
  return operands == OPERANDS_TF32X3 && widest > 48 && !has_room;
}

noprop_status tiles_of_tensor_train(const noprop_device *device, unsigned batch, int operands, int widest,
                                    struct tile_form *form) {
  bool is_forced;
  const noprop_status status = forced(form, &is_forced);
  const bool split = is_forced ? form->outputs == TILE_FORM_SPLIT.outputs
                               : shares_rows(device, batch) || spills_alone(device, operands, widest);
  *form = split ? TILE_FORM_SPLIT : TILE_FORM_WIDE;
  return status;
}

noprop_status tiles_of_solve(const noprop_device *device, unsigned rows, int widest, bool tensor,
                             struct tile_form *form) {
  if (!tensor) return tiles_choose(device, rows, widest, form);
  bool is_forced;
  const noprop_status status = forced(form, &is_forced);
  /* Two row blocks a warp halve the reads of weights for a product, and double the time of a warp. */
  const bool two = is_forced ? form->rows == 32 : rows >= 128ull * tiles_processors(device);
  const bool split = is_forced ? form->outputs == TILE_FORM_SPLIT.outputs : shares_rows(device, rows);
  *form = split ? TILE_FORM_SPLIT : (struct tile_form){two ? 32 : 16, TILE_FORM_WIDE.outputs};
  return status;
}

noprop_status tiles_of_requests(struct tile_form *form) {
  bool is_forced;
  return forced(form, &is_forced);
}

/* 64 blocks keep the slots of a batch small enough for a cache and still cover most GPUs; there is work for 128 from
 * 16,384 rows on, and where small tiles were chosen to have more blocks. */
void tiles_slots(unsigned rows, unsigned tile_rows, unsigned *slot_count, unsigned *tiles_per_slot) {
  const unsigned tiles = (rows + tile_rows - 1) / tile_rows, most = tiles >= 512 || tile_rows < TILE_ROWS ? 128 : 64;
  *tiles_per_slot = (tiles + most - 1) / most;
  *slot_count = (tiles + *tiles_per_slot - 1) / *tiles_per_slot;
}
