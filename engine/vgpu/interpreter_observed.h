/* The parts of the interpreter that OBSERVED replaces: where a memory instruction finds its addresses, and the loop
 * over the steps of a basic block. Included by interpreter_body.h. */

/* Finds out, lane by lane, what a generic address means. */
static void resolve(W *warp, const S *step, int lane, struct vgpu_access *seen) {
  const struct block_state *block = warp->block;
  const u64 address = seen->address[lane], shared = address - (u64)(uintptr_t)block->shared;
  const u64 param = address - (u64)(uintptr_t)block->launch->params,
            local = address - space_base(warp, PTX_LOCAL, lane);
  if (shared < block->shared_bytes) {
    seen->space[lane] = PTX_SHARED;
    seen->address[lane] = shared;
  } else if (local < block->local_bytes) {
    seen->space[lane] = PTX_LOCAL;
    seen->address[lane] = local;
  } else if (param < block->launch->param_bytes) {
    seen->space[lane] = PTX_PARAM;
    seen->address[lane] = param;
  } else {
    seen->space[lane] = check_global(warp, step, address, 1) ? PTX_GLOBAL : PTX_GENERIC;
  }
}

/* Whether the access is aligned and inside its window or allocation; where in host memory. */
static bool place_access(W *warp, const S *step, int lane, const struct vgpu_access *seen, u64 *pointer) {
  const struct block_state *block = warp->block;
  const u64 address = seen->address[lane];
  const unsigned bytes = seen->bytes;
  *pointer = address;
  if (address & (bytes - 1)) return false;
  switch (seen->space[lane]) {
    case PTX_SHARED:
      *pointer += (u64)(uintptr_t)block->shared;
      return inside(address, bytes, block->shared_bytes);
    case PTX_LOCAL:
      *pointer += space_base(warp, PTX_LOCAL, lane);
      return inside(address, bytes, block->local_bytes);
    case PTX_PARAM:
      *pointer += (u64)(uintptr_t)block->launch->params;
      return inside(address, bytes, block->launch->param_bytes);
    default:
      return check_global(warp, step, address, bytes);
  }
}

/* The bytes that each active lane stores. */
static void collect_data(W *warp, const S *step, unsigned bytes, unsigned char data[LANES][32]) {
  const struct ptx_instruction *source = step->source;
  const u8 *class = warp->block->code->function->register_class;
  const unsigned element = bytes / source->vector;
  for (unsigned e = 0; e < source->vector; e++) {
    const struct ptx_operand *operand = &source->src[1 + e];
    const char *lanes = (const char *)(warp->base[step->list[e] & 1] + step->list[e]);
    const bool varies = operand->kind == PTX_OPERAND_REGISTER;
    const unsigned width = varies ? (class[operand->index] == PTX_CLASS_64 ? 8 : 4) : 0;
    for (u32 rest = warp->mask; rest; rest &= rest - 1) {
      const int l = lowest(rest);
      memcpy(data[l] + e * element, lanes + (unsigned)l * width, element);
    }
  }
}

/* Pointers carry the number of their region in the bits that no address uses, below a pattern that neither addresses
 * nor small negative offsets have there. */
enum { REGION_TAG = 0x4000, REGION_TAG_MASK = 0xe000 };

static u64 untagged(const struct vgpu_observer *observer, u64 address, u16 *region) {
  const u16 tag = (u16)(address >> 48);
  *region = 0;
  if (!observer->region || (tag & REGION_TAG_MASK) != REGION_TAG) return address;
  *region = (u16)(tag & ~REGION_TAG_MASK);
  return address & 0xffffffffffff;
}

/* What it finds has always one address per lane. */
static void locate_observed(W *warp, const S *step, unsigned bytes, struct access *access) {
  const struct vgpu_observer *observer = observer_of(warp);
  const struct ptx_instruction *source = step->source;
  const unsigned op = source->op;
  struct vgpu_access seen = {
      .source = warp->at,
      .reads = op != PTX_ST && op != PTX_STMATRIX,
      .writes = op == PTX_ST || op == PTX_STMATRIX || op == PTX_ATOM || op == PTX_RED || op == PTX_MBARRIER,
      .lanes = warp->mask,
      .bytes = bytes};
  const u64 offset = (u64)step->offset;
  unsigned char data[LANES][32];
  if (warp->at->op == PTX_ST && observer->access) {
    collect_data(warp, step, bytes, data);
    seen.data = (const unsigned char(*)[32])data;
  }
  for (u32 rest = warp->mask; rest; rest &= rest - 1) {
    const int l = lowest(rest);
    /* A register of 32 bits: the address wraps around. */
    seen.address[l] = step->negate_a ? (u32)(REGISTER(u32, step->a)[l] + (u32)offset)
                                     : untagged(observer, REGISTER(u64, step->a)[l] + offset, &seen.region[l]);
    seen.space[l] = source->space == PTX_CONST ? PTX_GLOBAL : source->space;
    if (source->space == PTX_GENERIC) resolve(warp, step, l, &seen);
  }
  const u32 allowed = observer->access ? observer->access(view_of(warp, warp->mask), &seen) : UINT32_MAX;
  if (warp->mask & ~allowed) memset(warp->sink, 0, sizeof warp->sink);
  access->pattern = PATTERN_SCATTERED;
  for (u32 rest = warp->mask; rest; rest &= rest - 1) {
    const int l = lowest(rest);
    if (!(allowed >> l & 1)) {
      access->pointer[l] = (u64)(uintptr_t)warp->sink;
      continue;
    }
    if (place_access(warp, step, l, &seen, &access->pointer[l])) continue;
    address_fault(warp, step, l, seen.address[l], bytes);
    access->pattern = PATTERN_NONE;
    return;
  }
}

/* Pointers to marked arrays get the observer's number. */
static void mark_regions(W *warp, const S *step, u32 active, const u64 bytes[LANES]) {
  const struct vgpu_observer *observer = observer_of(warp);
  u64 *pointer = REGISTER(u64, step->d);
  for (u32 rest = active; rest; rest &= rest - 1) {
    const int l = lowest(rest);
    u16 before;
    pointer[l] = untagged(observer, pointer[l], &before);
    const u64 number = observer->region(view_of(warp, active), pointer[l], bytes[l]);
    if (number != 0) pointer[l] |= (REGION_TAG | number) << 48;
  }
}

/* Shows the first result of a step, unless that is a predicate. */
static void show_result(W *warp, const S *step, u32 active) {
  const struct ptx_instruction *source = step->source;
  const struct ptx_function *function = warp->block->code->function;
  if (!active || source->dst_count == 0 || source->dst[0].kind != PTX_OPERAND_REGISTER) return;
  const u8 class = function->register_class[source->dst[0].index];
  if (class == PTX_CLASS_PRED) return;
  observer_of(warp)->result(view_of(warp, active), source, REGISTER(void, step->d), class == PTX_CLASS_64 ? 8 : 4);
}

/* False: the turn is over before the end of the basic block. */
static bool run_steps(W *warp, const S *step, const S *end) {
  const struct vgpu_observer *observer = observer_of(warp);
  const u32 mask = warp->mask;
  for (; step < end && !warp->block->faulted; step++) {
    const bool guarded = step->source->guard != PTX_NONE;
    const u32 active = guarded ? mask & (PREDICATE(step->guard) ^ step->guard_flip) : mask;
    warp->at = step->source;
    if (observer->instruction) {
      struct vgpu_observed_warp *view = view_of(warp, active);
      view->operands[0] = REGISTER(void, step->a);
      view->operands[1] = REGISTER(void, step->b);
      observer->instruction(view, step->source);
    }
    const bool region = observer->region && (step->source->flags & PTX_REGION);
    u64 bytes[LANES];
    if (region) memcpy(bytes, REGISTER(u64, step->a), sizeof bytes); /* the result may take its place */
    (warp->full ? step->run : step->masked)(warp, step);
    if (region) mark_regions(warp, step, active, bytes);
    if (observer->result) show_result(warp, step, active);
    if (warp->budget && --warp->budget == 0) {
      const struct interpreter_code *code = warp->block->code;
      warp->paused_at = (u32)(step + 1 - (code->steps + code->blocks[warp->current].first));
      return false;
    }
  }
  return true;
}
