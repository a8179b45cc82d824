/* How a batch is cut: the rows of a tile, and the outputs that a thread sums at a time, from one table by batch, width,
 * precision and the processors of the device. The mathematics is the same whatever is chosen; the order of sums over
 * rows, and with it the last bits, follows from the choice. It depends on the device but never on its threads. */
#ifndef ENGINE_TILES_H
#define ENGINE_TILES_H

#include <stdbool.h>

#include "engine/device.h"
#include "noprop/status.h"

/* The block of a tile program has TILE_THREADS threads; thread = row + rows * group. */
struct tile_form {
  unsigned rows;    /* that a block carries at a time: 8, 16 or 32 */
  unsigned outputs; /* of a layer that a thread sums at a time: 2, 4 or 8. On tensor cores 2: the block's warps share 16
                       rows and each has a part of a layer's outputs, else every warp has rows of its own */
};

/* 32 rows, 8 outputs: what does the least work per row. */
extern const struct tile_form TILE_FORM_WIDE;
/* A row: of networks whose tokens fill a block. */
extern const struct tile_form TILE_FORM_ROW;

/* The form of the fp32 train kernel for batches of `batch` rows and layers up to `widest` outputs. The environment
 * variable NOPROP_TILE_FORM ("8x2": rows x outputs) overrides the table, for tests and measurements; a value that is
 * none is NOPROP_INVALID_ARGUMENT. */
noprop_status tiles_choose(const noprop_device *device, unsigned batch, int widest, struct tile_form *form);
/* The form of train kernels on tensor cores: 64 rows a block, or 16 that its warps share. `operands` is what a network
 * multiplies, of enum operand_form, `widest` its widest layer. */
noprop_status tiles_of_tensor_train(const noprop_device *device, unsigned batch, int operands, int widest,
                                    struct tile_form *form);
/* The same for solves of `rows` rows in fixed steps. (Adaptive ones, and those with densities, are TILE_FORM_WIDE.) On
 * tensor cores: 32 rows a warp, or 16, from blocks of 128 rows a processor down, or 16 rows that a block's
 * warps share, while there are no more such blocks than processors. */
noprop_status tiles_of_solve(const noprop_device *device, unsigned rows, int widest, bool tensor,
                             struct tile_form *form);
/* The same for requests, whose rows vary: TILE_FORM_WIDE, or what the environment variable says. */
noprop_status tiles_of_requests(struct tile_form *form);

/* Multiprocessors that share a launch; 0 for a virtual GPU, whose vectors are 32 rows wide and whose processors are a
 * few CPU threads. A virtual GPU that counts for a named GPU (NOPROP_VGPU_GPU) has those of that GPU. */
unsigned tiles_processors(const noprop_device *device);

/* The rule itself, for tiles_processors() processors. */
struct tile_form tiles_rule(unsigned processors, unsigned batch, int widest);

/* Slots of a batch: tiles of `tile_rows` rows in slots of `tiles_per_slot`. */
void tiles_slots(unsigned rows, unsigned tile_rows, unsigned *slot_count, unsigned *tiles_per_slot);

#endif
