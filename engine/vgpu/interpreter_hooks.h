/* Where the interpreter calls the observer: nothing, but in the compilation that defines OBSERVED. Included by
 * interpreter_body.h after the state of warps and blocks. */

#if defined(OBSERVED)

enum { HOOKS = true };

static inline const struct vgpu_observer *observer_of(const W *warp) { return warp->block->launch->observer; }

/* The warp as it is now, executing with the lanes `active`. */
static inline struct vgpu_observed_warp *view_of(W *warp, u32 active) {
  struct vgpu_observed_warp *view = &warp->view;
  view->block = &warp->block->view;
  view->index = warp->index;
  view->alive = warp->alive;
  view->mask = warp->mask;
  view->active = active;
  return view;
}

static void hook_fault(W *warp, const struct ptx_instruction *source, int lane, int kind, const char *what) {
  const struct vgpu_observer *observer = observer_of(warp);
  if (observer->fault) observer->fault(view_of(warp, warp->mask), source, (unsigned)lane, kind, what);
}

static void hook_fence(W *warp, const struct ptx_instruction *source) {
  const struct vgpu_observer *observer = observer_of(warp);
  if (observer->fence) observer->fence(view_of(warp, warp->mask), source);
}

static void hook_warp_sync(W *warp, const struct ptx_instruction *source, const u32 *members) {
  const struct vgpu_observer *observer = observer_of(warp);
  if (observer->warp_sync) observer->warp_sync(view_of(warp, warp->mask), source, members);
}

static void hook_shuffle_lane(W *warp, int lane, int from) { warp->shuffle_from[lane] = from; }

static void hook_shuffle(W *warp, const struct ptx_instruction *source) {
  const struct vgpu_observer *observer = observer_of(warp);
  if (observer->shuffle) observer->shuffle(view_of(warp, warp->mask), source, warp->shuffle_from);
}

/* The instruction that ends a basic block, if one does. */
static void hook_ending(W *warp, const struct decoded_block *block) {
  const struct vgpu_observer *observer = observer_of(warp);
  if (block->ending == END_NEXT) return;
  const u32 active = warp->mask & (PREDICATE(block->guard) ^ block->guard_flip);
  struct vgpu_observed_warp *view = view_of(warp, active);
  if (observer->instruction) observer->instruction(view, block->last.source);
  if (block->ending == END_CONDITIONAL && observer->branch) observer->branch(view, block->last.source, active);
}

static void hook_ended(W *warp, u32 lanes) {
  const struct vgpu_observer *observer = observer_of(warp);
  if (lanes && observer->ended) observer->ended(view_of(warp, lanes), lanes);
}

static void hook_barrier(W *warp, const struct ptx_instruction *source, u32 id, u32 count) {
  const struct vgpu_observer *observer = observer_of(warp);
  if (observer->barrier) observer->barrier(view_of(warp, warp->mask), source, id, count);
}

static void hook_barrier_complete(W *warps, unsigned count, unsigned id) {
  const struct vgpu_observer *observer = observer_of(warps);
  u32 waiting = 0;
  for (unsigned w = 0; w < count; w++)
    if (warps[w].state == WARP_WAITING && warps[w].barrier_id == id) waiting |= (u32)1 << w;
  if (observer->barrier_complete) observer->barrier_complete(&warps->block->view, id, waiting);
}

static void hook_start_warp(W *warp) {
  view_of(warp, warp->mask);
  warp->paused_at = warp->budget = 0;
}

/* Where in its basic block the warp goes on. */
static u32 paused_at(W *warp) {
  const u32 at = warp->paused_at;
  warp->paused_at = 0;
  return at;
}

/* The lane that is next among `rest`. */
static int next_lane(W *warp, u32 rest) {
  const struct vgpu_observer *observer = observer_of(warp);
  return observer->next_lane ? (int)observer->next_lane(view_of(warp, warp->mask), rest) : lowest(rest);
}
static u32 without_lane(u32 rest, int lane) { return rest & ~((u32)1 << lane); }

static bool hook_mma(W *warp, const struct ptx_instruction *source, const void *const *sources, void *const *results) {
  const struct vgpu_observer *observer = observer_of(warp);
  return observer->mma && observer->mma(view_of(warp, warp->mask), source, sources, results);
}

static void hook_begin_block(struct block_state *block) {
  const struct vgpu_observer *observer = block->launch->observer;
  const unsigned *grid = block->launch->grid, *ctaid = block->ctaid;
  block->view = (struct vgpu_observed_block){.launch = block->launch,
                                             .ctaid = {ctaid[0], ctaid[1], ctaid[2]},
                                             .index = ctaid[0] + grid[0] * (ctaid[1] + (u64)grid[1] * ctaid[2]),
                                             .threads = block->threads,
                                             .warps = block->warps,
                                             .slot = block->slot,
                                             .shared = block->shared,
                                             .local = block->local,
                                             .shared_bytes = block->shared_bytes,
                                             .local_bytes = block->local_bytes};
  if (observer->begin_block) observer->begin_block(&block->view);
}

static void hook_end_block(struct block_state *block) {
  const struct vgpu_observer *observer = block->launch->observer;
  if (observer->end_block) observer->end_block(&block->view, block->faulted);
}

static bool hook_round(struct block_state *block, bool *moved);

static void locate_observed(W *warp, const S *step, unsigned bytes, struct access *access);
static vgpu_locate *hook_locate(vgpu_locate *plain) {
  (void)plain;
  return locate_observed;
}

#else

enum { HOOKS = false };

struct decoded_block;
static inline void hook_fault(W *warp, const struct ptx_instruction *source, int lane, int kind, const char *what) {
  (void)warp, (void)source, (void)lane, (void)kind, (void)what;
}
static inline void hook_fence(W *warp, const struct ptx_instruction *source) { (void)warp, (void)source; }
static inline void hook_warp_sync(W *warp, const struct ptx_instruction *source, const u32 *members) {
  (void)warp, (void)source, (void)members;
}
static inline void hook_shuffle_lane(W *warp, int lane, int from) { (void)warp, (void)lane, (void)from; }
static inline void hook_shuffle(W *warp, const struct ptx_instruction *source) { (void)warp, (void)source; }
static inline void hook_ending(W *warp, const struct decoded_block *block) { (void)warp, (void)block; }
static inline void hook_ended(W *warp, u32 lanes) { (void)warp, (void)lanes; }
static inline u32 paused_at(W *warp) {
  (void)warp;
  return 0;
}
static inline int next_lane(W *warp, u32 rest) {
  (void)warp;
  return lowest(rest);
}
static inline u32 without_lane(u32 rest, int lane) {
  (void)lane;
  return rest & (rest - 1);
}
static inline bool hook_mma(W *warp, const struct ptx_instruction *source, const void *const *sources,
                            void *const *results) {
  (void)warp, (void)source, (void)sources, (void)results;
  return false;
}
static inline void hook_barrier(W *warp, const struct ptx_instruction *source, u32 id, u32 count) {
  (void)warp, (void)source, (void)id, (void)count;
}
static inline void hook_barrier_complete(W *warps, unsigned count, unsigned id) { (void)warps, (void)count, (void)id; }
static inline void hook_start_warp(W *warp) { (void)warp; }
static inline void hook_begin_block(struct block_state *block) { (void)block; }
static inline void hook_end_block(struct block_state *block) { (void)block; }
static inline vgpu_locate *hook_locate(vgpu_locate *plain) { return plain; }
static inline bool hook_round(struct block_state *block, bool *moved) {
  (void)block, (void)moved;
  return false;
}

#endif
