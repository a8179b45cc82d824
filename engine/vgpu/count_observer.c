/* `count` mode as an observer of launches: passes what it sees to the counters. */
#include "engine/vgpu/count.h"
#include "engine/vgpu/observe.h"

static void *begin_launch(const struct vgpu_launch *launch) { return count_begin(launch); }

static void end_launch(const struct vgpu_launch *launch, const struct vgpu_fault *fault) {
  (void)launch;
  (void)fault; /* what was done until then counts */
  count_end();
}

static void instruction(struct vgpu_observed_warp *warp, const struct ptx_instruction *source) {
  count_instruction(warp->block->launch->observation, source, (unsigned)__builtin_popcount(warp->mask),
                    (unsigned)__builtin_popcount(warp->active));
}

static uint32_t lanes_in(const struct vgpu_access *access, unsigned space) {
  uint32_t lanes = 0;
  for (uint32_t rest = access->lanes; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    lanes |= (uint32_t)(access->space[lane] == space) << lane;
  }
  return lanes;
}

static void count_lanes(const struct vgpu_access *seen, unsigned space, uint32_t lanes) {
  const enum count_access kind = !seen->writes ? COUNT_LOAD : seen->reads ? COUNT_ATOMIC : COUNT_STORE;
  if (!lanes) return;
  if (space == PTX_GLOBAL) count_global(kind, seen->address, lanes, seen->bytes);
  if (space == PTX_SHARED) count_shared(seen->address, lanes, seen->bytes);
  if (space == PTX_LOCAL) count_local(lanes, seen->bytes);
}

/* The lanes of a generic access may be in different windows. Constants have a cache of their own. */
static uint32_t access(struct vgpu_observed_warp *warp, const struct vgpu_access *seen) {
  static const unsigned spaces[] = {PTX_GLOBAL, PTX_SHARED, PTX_LOCAL};
  (void)warp;
  if (seen->source->space == PTX_CONST || seen->source->space == PTX_PARAM) return seen->lanes;
  const unsigned first = seen->lanes ? seen->space[__builtin_ctz(seen->lanes)] : PTX_GENERIC;
  if (seen->source->space == first) {
    count_lanes(seen, first, seen->lanes);
    return seen->lanes;
  }
  for (unsigned i = 0; i < sizeof spaces / sizeof spaces[0]; i++)
    count_lanes(seen, spaces[i], lanes_in(seen, spaces[i]));
  return seen->lanes;
}

static void branch(struct vgpu_observed_warp *warp, const struct ptx_instruction *source, uint32_t taken) {
  (void)source;
  noprop_kernel_counts *counts = warp->block->launch->observation;
  counts->branches++;
  counts->divergent_branches += taken != 0 && taken != warp->mask;
}

const struct vgpu_observer vgpu_count = {.name = "count",
                                         .serial = true,
                                         .begin_launch = begin_launch,
                                         .end_launch = end_launch,
                                         .instruction = instruction,
                                         .access = access,
                                         .branch = branch};
