/* Tile programs: a network, an objective or an integrator, turned into the source of one specialised kernel. */
#ifndef ENGINE_PROGRAM_H
#define ENGINE_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/network.h"
#include "engine/settings.h"
#include "engine/tiles.h"

struct program {
  char *source;            /* CUDA C++ for device_compile; free with program_destroy */
  const char *entry;       /* "train", "loss", "train_steps" or "integrate"; takes train_arguments (train_steps:
                              persistent_arguments) or integrate_arguments */
  unsigned shared_bytes;   /* dynamic shared memory */
  size_t workspace_floats; /* per block, 0 in the resident tier */
  const char *tier;        /* "resident" or "spilling"; "registers" on tensor cores; staged: of the frame's kernels */
  unsigned block_rows;     /* rows that a block carries */
  bool fragments;          /* reads the weights in fragment order */
  bool cooperative; /* its blocks wait for each other: all have to be resident, their workspace begins as zeros */
  bool staged;      /* of kernels around a field of launches (staged.h): `entry` is launched behind the field, */
  const char *first_entry; /* and this one before it */
};

/* What the kernel of an objective does: forward only (entry "loss"); gradients of the parameters as well (entry
 * "train"); gradients of state and clean latent as well (entry "train"; train_arguments.out_state_gradient). */
enum objective_program { OBJECTIVE_LOSS, OBJECTIVE_TRAIN, OBJECTIVE_TRAIN_STATE, OBJECTIVE_TRAIN_STEPS };

/* `shared_limit` is the device's largest dynamic shared memory. */
noprop_status program_train(const struct network *network, const struct settings *settings,
                            const noprop_model_shape *shape, size_t shared_limit, enum objective_program kind,
                            const struct tile_form *tile, struct program *program);
/* Many steps of OBJECTIVE_TRAIN, each with its update, in one cooperative launch (entry "train_steps"). */
noprop_status program_train_steps(const struct network *network, const struct settings *settings,
                                  const noprop_model_shape *shape, size_t shared_limit, const struct tile_form *tile,
                                  struct program *program);

/* What of a solve its kernel is compiled for. */
enum solve_density { DENSITY_NONE, DENSITY_EXACT, DENSITY_PROBES };
struct solve_form {
  int method, drift; /* enum method (not auto), enum drift */
  bool final_denoise;
  bool guided; /* classifier-free guidance: the network runs twice, without and with its condition */
  int density; /* enum solve_density: log densities, by exact traces or by probes */
};
/* Whether steps find their own size. */
bool solve_is_adaptive(int method);

noprop_status program_integrate(const struct network *network, const struct settings *settings,
                                const noprop_model_shape *shape, size_t shared_limit, const struct solve_form *form,
                                const struct tile_form *tile, struct program *program);
/* The same on tensor cores: rows stay in registers. Entry "train" or "integrate". */
noprop_status program_train_tensor(const struct network *network, const struct settings *settings,
                                   const noprop_model_shape *shape, size_t shared_limit, bool steps,
                                   const struct tile_form *tile,
                                   struct program *program); /* steps: as program_train_steps */
noprop_status program_integrate_tensor(const struct network *network, const struct settings *settings,
                                       const noprop_model_shape *shape, int method, int drift, bool final_denoise,
                                       const struct tile_form *tile, struct program *program);
void program_destroy(struct program *program);

#endif
