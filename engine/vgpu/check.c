/* Mode `check`: the observer. Every access is held against the array or allocation that it is meant for, against what
 * was written there, and against the accesses of others; barriers and warp-wide instructions against those who take
 * part. A launch goes on after a finding: an access outside is left out (a read gives 0). */
#include "engine/vgpu/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/check_memory.h"
#include "engine/vgpu/check_race.h"
#include "engine/vgpu/observe.h"

enum { LANES = 32, WORD = 4, RED_ZONE = 256 };

/* What is known of a block that runs. */
struct watch {
  struct watch *next, **before; /* in the list of those that run */
  struct order_block order;
  uint32_t epoch;
  uint8_t *shared_initialised, *local_initialised; /* a bit per byte */
  struct cell *shared_cells;
  size_t shared_words;
  struct arrival {
    const struct ptx_instruction *source; /* where the first warp waits; NULL: none does */
    unsigned warp;
  } arrivals[16];
};

static uint32_t epoch;        /* of the latest launch or block: the touches of earlier ones do not count */
static uint32_t launch_epoch; /* of the launch that runs */
static bool races_unknown;    /* memory ran out, so that what threads know of each other is not complete */
static struct watch *watches; /* of the blocks that run */
static struct cell *spare;    /* cells of a block that has ended */
static size_t spare_words;

/* Arrays that kernels of this launch have marked; region i has number i + 1. */
static struct { uint64_t low, high; } * regions; /* [VGPU_REGIONS] */
static unsigned region_count;

/* ---- findings ---- */

/* An access by a lane. */
struct attempt {
  struct vgpu_observed_warp *warp;
  const struct vgpu_access *access;
  unsigned lane;
  uint64_t address; /* as the space counts */
  unsigned space;
};

static void fill_party(struct check_party *party, const struct vgpu_launch *launch,
                       const struct ptx_instruction *source, uint64_t block, unsigned thread) {
  const struct ptx_module *module = launch->function->module;
  if (source->source_line != 0 && source->file < module->file_count) {
    party->file = module->files[source->file];
    party->line = source->source_line;
  }
  if (source->call_line != 0 && source->call_file < module->file_count) {
    party->call_file = module->files[source->call_file];
    party->call_line = source->call_line;
  }
  party->ptx_line = source->line;
  party->block[0] = (unsigned)(block % launch->grid[0]);
  party->block[1] = (unsigned)(block / launch->grid[0] % launch->grid[1]);
  party->block[2] = (unsigned)(block / launch->grid[0] / launch->grid[1]);
  party->thread[0] = thread % launch->block[0];
  party->thread[1] = thread / launch->block[0] % launch->block[1];
  party->thread[2] = thread / launch->block[0] / launch->block[1];
}

static struct check_finding new_finding(enum check_kind kind, const struct vgpu_launch *launch) {
  struct check_finding finding = {.kind = kind};
  snprintf(finding.kernel, sizeof finding.kernel, "%s", launch->function->name);
  return finding;
}

static void describe_access(struct check_party *party, bool reads, bool writes, unsigned bytes) {
  const char *what = reads && writes ? "atomic operation" : reads ? "read" : "write";
  if (bytes != 0) {
    snprintf(party->what, sizeof party->what, "%s of %u byte%s", what, bytes, bytes == 1 ? "" : "s");
  } else {
    snprintf(party->what, sizeof party->what, "%s", what);
  }
}

static struct check_finding finding_of(enum check_kind kind, const struct attempt *attempt) {
  const struct vgpu_observed_block *block = attempt->warp->block;
  struct check_finding finding = new_finding(kind, block->launch);
  finding.address = attempt->address;
  fill_party(&finding.first, block->launch, attempt->access->source, block->index,
             attempt->warp->index * LANES + attempt->lane);
  describe_access(&finding.first, attempt->access->reads, attempt->access->writes, attempt->access->bytes);
  return finding;
}

/* "of 128 bytes" and where the address lies from the range [low, high). */
static void describe_range(char *text, size_t size, uint64_t address, uint64_t low, uint64_t high) {
  const unsigned long long bytes = high - low;
  if (address < low) {
    snprintf(text, size, "of %llu bytes, %llu bytes before it", bytes, (unsigned long long)(low - address));
  } else if (address >= high) {
    snprintf(text, size, "of %llu bytes, %llu bytes past its end", bytes, (unsigned long long)(address - high));
  } else {
    snprintf(text, size, "of %llu bytes, at byte %llu", bytes, (unsigned long long)(address - low));
  }
}

static const char *const space_names[] = {
    [PTX_GENERIC] = "generic", [PTX_GLOBAL] = "global",  [PTX_SHARED] = "shared",
    [PTX_LOCAL] = "local",     [PTX_CONST] = "constant", [PTX_PARAM] = "parameter"};

__attribute__((format(printf, 4, 5))) static void place(struct check_finding *finding, const struct attempt *attempt,
                                                        const char *relation, const char *format, ...) {
  char owner[90];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(owner, sizeof owner, format, arguments);
  va_end(arguments);
  snprintf(finding->place, sizeof finding->place, "%s address 0x%llx: %s %s", space_names[attempt->space],
           (unsigned long long)attempt->address, owner, relation);
}

/* ---- what an address belongs to ---- */

/* A stretch of memory that one access must not leave, and where its contents are recorded. */
struct extent {
  const char *name; /* of a variable, or NULL */
  uint64_t low, high;
  struct object *object; /* global memory */
};

static uint64_t distance(const struct extent *extent, uint64_t address) {
  return address < extent->low ? extent->low - address : address >= extent->high ? address - extent->high + 1 : 0;
}

static void consider(struct extent *best, uint64_t address, const char *name, uint64_t low, uint64_t high) {
  const struct extent candidate = {name, low, high, NULL};
  if (best->high == 0 || distance(&candidate, address) < distance(best, address)) *best = candidate;
}

/* The variable of a window that holds the address, or the nearest one. */
static struct extent find_array(const struct vgpu_observed_block *block, unsigned space, uint64_t address) {
  const struct ptx_function *function = block->launch->function;
  struct extent best = {0};
  for (uint32_t i = 0; i < function->array_count; ++i) {
    const struct ptx_array *array = &function->arrays[i];
    if (array->space == space) consider(&best, address, array->name, array->offset, array->offset + array->size);
  }
  if (space == PTX_SHARED && function->has_dynamic_shared) {
    consider(&best, address, NULL, function->shared_bytes, block->shared_bytes);
  }
  return best;
}

static struct extent find_variable(const struct ptx_module *module, uint64_t offset) {
  struct extent best = {0};
  for (uint32_t i = 0; i < module->variable_count; ++i) {
    const struct ptx_variable *variable = &module->variables[i];
    consider(&best, offset, variable->name, variable->offset, variable->offset + variable->size);
  }
  return best;
}

static bool holds(const struct extent *extent, uint64_t address, unsigned bytes) {
  return address >= extent->low && address < extent->high && extent->high - address >= bytes;
}

static void report_outside(const struct attempt *attempt, const struct extent *nearest, const char *kind) {
  struct check_finding finding = finding_of(CHECK_OUT_OF_BOUNDS, attempt);
  if (check_counted(&finding)) return;
  char relation[64];
  snprintf(finding.what, sizeof finding.what, "access out of bounds of %s memory", space_names[attempt->space]);
  describe_range(relation, sizeof relation, attempt->address, nearest->low, nearest->high);
  if (nearest->high == 0) {
    place(&finding, attempt, "", "there is none");
  } else if (nearest->name != NULL) {
    place(&finding, attempt, relation, "'%.60s'", nearest->name);
  } else {
    place(&finding, attempt, relation, "%s", kind);
  }
  check_report(&finding);
}

/* A device address. False: reported. */
static bool locate_global(const struct attempt *attempt, struct extent *extent) {
  const struct ptx_module *module = attempt->warp->block->launch->function->module;
  const uint64_t address = attempt->address, segment = (uint64_t)(uintptr_t)module->segment;
  const unsigned bytes = attempt->access->bytes;
  struct object *object = check_object(address);
  if (address - segment < module->segment_bytes) {
    *extent = find_variable(module, address - segment);
    extent->low += segment;
    extent->high += segment;
    extent->object = object;
    if (holds(extent, address, bytes) && object != NULL) return true;
    report_outside(attempt, extent, "a variable");
    return false;
  }
  if (object == NULL) {
    const struct object *near = check_nearest(address);
    if (near != NULL) *extent = (struct extent){NULL, near->low, near->high, NULL};
    report_outside(attempt, extent, near != NULL && near->freed ? "a freed allocation" : "an allocation");
    return false;
  }
  *extent = (struct extent){NULL, object->low, object->high, object};
  if (object->freed) {
    struct check_finding finding = finding_of(CHECK_USE_AFTER_FREE, attempt);
    if (check_counted(&finding)) return false;
    char relation[64];
    snprintf(finding.what, sizeof finding.what, "access to memory that has been freed");
    describe_range(relation, sizeof relation, address, object->low, object->high);
    place(&finding, attempt, relation, "a freed allocation");
    check_report(&finding);
    return false;
  }
  if (holds(extent, address, bytes)) return true;
  report_outside(attempt, extent, "an allocation");
  return false;
}

/* ---- contents ---- */

static void check_contents(const struct attempt *attempt, const struct extent *extent, uint8_t *initialised,
                           uint64_t first) {
  const unsigned bytes = attempt->access->bytes;
  if (initialised == NULL) return;
  if (attempt->access->reads && !bits_all_set(initialised, first, bytes)) {
    struct check_finding finding = finding_of(CHECK_UNINITIALISED, attempt);
    if (!check_counted(&finding)) {
      char relation[64];
      snprintf(finding.what, sizeof finding.what, "uninitialised %s memory is read", space_names[attempt->space]);
      describe_range(relation, sizeof relation, attempt->address, extent->low, extent->high);
      if (extent->name != NULL) {
        place(&finding, attempt, relation, "'%.60s'", extent->name);
      } else {
        place(&finding, attempt, relation, "%s",
              attempt->space == PTX_SHARED ? "dynamic shared memory" : "an allocation");
      }
      check_report(&finding);
    }
    bits_set(initialised, first, bytes); /* reported once, not in every iteration of a loop */
  }
  if (attempt->access->writes) bits_set(initialised, first, bytes);
}

/* Two plain writes of the same value to the bytes that they share do no harm. `memory`: the word as it is now. */
static bool same_value(const struct attempt *attempt, uint64_t word, const struct touch *now, const struct touch *other,
                       const unsigned char *memory) {
  const struct vgpu_access *access = attempt->access;
  if (access->data == NULL || !(other->flags & TOUCH_WRITE) || (other->flags & TOUCH_ATOMIC)) return false;
  const unsigned other_lane = other->thread % LANES;
  const bool together = other->block == now->block && other->thread / LANES == now->thread / LANES &&
                        other->time == now->time && other->instruction == now->instruction &&
                        other_lane < attempt->lane;
  for (unsigned b = 0; b < WORD; ++b) {
    if (!((now->bytes & other->bytes) >> b & 1)) continue;
    const unsigned char mine = access->data[attempt->lane][word + b - attempt->address];
    const unsigned char theirs =
        together ? access->data[other_lane][word + b - access->address[other_lane]] : memory[b];
    if (mine != theirs) return false;
  }
  return true;
}

static void report_race(const struct attempt *attempt, const struct extent *extent, const struct touch *other) {
  const struct vgpu_observed_block *block = attempt->warp->block;
  const struct ptx_function *function = block->launch->function;
  const struct ptx_instruction *source = &function->instructions[other->instruction];
  struct check_finding finding = finding_of(CHECK_RACE, attempt);
  fill_party(&finding.second, block->launch, source, other->block, other->thread);
  const bool plain = source->op == PTX_LD || source->op == PTX_ST;
  const unsigned elements = plain ? source->vector : 1, size = ptx_type_bytes((enum ptx_type)source->type);
  const bool writes = other->flags & TOUCH_WRITE, atomic = other->flags & TOUCH_ATOMIC;
  describe_access(&finding.second, !writes || atomic, writes, plain || atomic ? elements * size : 0);
  if (check_counted(&finding)) return;
  const char *who = "between blocks";
  if (other->block == (uint32_t)block->index) {
    who = other->thread / LANES == attempt->warp->index ? "between lanes of a warp, with no __syncwarp between them"
                                                        : "between warps of a block, with no barrier between them";
  }
  snprintf(finding.what, sizeof finding.what, "race on %s memory %s", space_names[attempt->space], who);
  char relation[64];
  describe_range(relation, sizeof relation, attempt->address, extent->low, extent->high);
  if (extent->name != NULL) {
    place(&finding, attempt, relation, "'%.60s'", extent->name);
  } else {
    place(&finding, attempt, relation, "%s", attempt->space == PTX_SHARED ? "dynamic shared memory" : "an allocation");
  }
  check_report(&finding);
}

/* `cells`: of the words from `base` on, a multiple of the word. `memory`: the byte at `base`. */
static void check_order(const struct attempt *attempt, const struct extent *extent, struct cell *cells, uint64_t base,
                        uint32_t cells_epoch, const unsigned char *memory) {
  struct vgpu_observed_warp *warp = attempt->warp;
  struct watch *watch = warp->block->state;
  const struct vgpu_access *access = attempt->access;
  const struct ptx_instruction *source = access->source;
  if (cells == NULL) return;
  const bool strong = source->flags & PTX_STRONG, atomic = access->reads && access->writes;
  const struct actor actor = {&watch->order, warp->index, attempt->lane};
  struct touch now = {
      .block = watch->order.number,
      .time = watch->order.warp[warp->index].time,
      .instruction = (uint32_t)(source - warp->block->launch->function->instructions),
      .thread = (uint16_t)(warp->index * LANES + attempt->lane),
      .flags = (uint8_t)((access->writes ? TOUCH_WRITE : 0) | (strong ? TOUCH_STRONG : 0) |
                         (atomic ? TOUCH_ATOMIC : 0) | (source->scope == PTX_SCOPE_CTA ? TOUCH_BLOCK_SCOPE : 0))};
  const uint64_t end = attempt->address + access->bytes;
  for (uint64_t word = attempt->address & ~(uint64_t)(WORD - 1); word < end; word += WORD) {
    const unsigned from = word < attempt->address ? (unsigned)(attempt->address - word) : 0;
    const unsigned to = end - word < WORD ? (unsigned)(end - word) : WORD;
    now.bytes = (uint8_t)((1u << to) - (1u << from));
    struct touch other;
    if (!race_note(&cells[(word - base) / WORD], cells_epoch, &actor, &now, &other) || races_unknown) continue;
    if (!same_value(attempt, word, &now, &other, memory + (word - base))) report_race(attempt, extent, &other);
  }
  if (strong) {
    const uint64_t key =
        attempt->space == PTX_SHARED ? (uint64_t)watch->epoch << 32 | attempt->address : attempt->address;
    order_strong(&watch->order, warp->index, attempt->lane, source, access->reads, access->writes, key);
  }
}

/* ---- an access ---- */

static bool check_global_lane(const struct attempt *attempt) {
  struct extent extent = {0};
  if (!locate_global(attempt, &extent)) return false;
  struct object *object = extent.object;
  check_contents(attempt, &extent, object->initialised, attempt->address - object->low);
  const uint64_t base = object->low & ~(uint64_t)(WORD - 1);
  if (object->cells == NULL) object->cells = calloc((object->high - base) / WORD + 1, sizeof *object->cells);
  check_order(attempt, &extent, object->cells, base, launch_epoch, (const unsigned char *)(uintptr_t)base);
  return true;
}

static bool check_shared_lane(const struct attempt *attempt) {
  const struct vgpu_observed_block *block = attempt->warp->block;
  struct watch *watch = block->state;
  struct extent extent = find_array(block, PTX_SHARED, attempt->address);
  if (!holds(&extent, attempt->address, attempt->access->bytes)) {
    report_outside(attempt, &extent, "dynamic shared memory");
    return false;
  }
  check_contents(attempt, &extent, watch->shared_initialised, attempt->address);
  check_order(attempt, &extent, watch->shared_cells, 0, watch->epoch, block->shared);
  return true;
}

static bool check_local_lane(const struct attempt *attempt) {
  const struct vgpu_observed_block *block = attempt->warp->block;
  const struct watch *watch = block->state;
  struct extent extent = find_array(block, PTX_LOCAL, attempt->address);
  if (!holds(&extent, attempt->address, attempt->access->bytes)) {
    report_outside(attempt, &extent, "local memory");
    return false;
  }
  const uint64_t thread = attempt->warp->index * LANES + attempt->lane;
  check_contents(attempt, &extent, watch->local_initialised, thread * block->local_bytes + attempt->address);
  return true;
}

static bool check_param_lane(const struct attempt *attempt) {
  const struct extent extent = {"the parameters", 0, attempt->warp->block->launch->param_bytes, NULL};
  if (holds(&extent, attempt->address, attempt->access->bytes)) return true;
  report_outside(attempt, &extent, "");
  return false;
}

/* An access through a pointer to a marked array stays inside it. */
static bool check_region(const struct attempt *attempt, unsigned number) {
  const struct vgpu_observed_block *block = attempt->warp->block;
  const uint64_t window = attempt->space == PTX_SHARED ? (uint64_t)(uintptr_t)block->shared : 0;
  if (number == 0 || number > region_count || attempt->space == PTX_LOCAL || attempt->space == PTX_PARAM) return true;
  const struct extent extent = {NULL, regions[number - 1].low - window, regions[number - 1].high - window, NULL};
  if (holds(&extent, attempt->address, attempt->access->bytes)) return true;
  report_outside(attempt, &extent, "a marked array");
  return false;
}

static unsigned mark_region(struct vgpu_observed_warp *warp, uint64_t pointer, uint64_t bytes) {
  (void)warp;
  for (unsigned i = region_count; i-- > 0;)
    if (regions[i].low == pointer && regions[i].high == pointer + bytes) return i + 1;
  if (regions == NULL) regions = calloc(VGPU_REGIONS, sizeof *regions);
  if (regions == NULL || region_count + 1 >= VGPU_REGIONS) return 0;
  regions[region_count].low = pointer;
  regions[region_count].high = pointer + bytes;
  return ++region_count;
}

static bool check_lane(const struct attempt *attempt) {
  if (!check_region(attempt, attempt->access->region[attempt->lane])) return false;
  if (attempt->address % attempt->access->bytes != 0) {
    struct check_finding finding = finding_of(CHECK_MISALIGNED, attempt);
    if (check_counted(&finding)) return false;
    snprintf(finding.what, sizeof finding.what, "misaligned access to %s memory", space_names[attempt->space]);
    snprintf(finding.place, sizeof finding.place, "%s address 0x%llx is no multiple of %u", space_names[attempt->space],
             (unsigned long long)attempt->address, attempt->access->bytes);
    check_report(&finding);
    return false;
  }
  switch (attempt->space) {
    case PTX_SHARED:
      return check_shared_lane(attempt);
    case PTX_LOCAL:
      return check_local_lane(attempt);
    case PTX_PARAM:
      return check_param_lane(attempt);
    default:
      return check_global_lane(attempt);
  }
}

static uint32_t check_access(struct vgpu_observed_warp *warp, const struct vgpu_access *access) {
  if (warp->block->state == NULL) return access->lanes;
  uint32_t allowed = 0;
  for (uint32_t rest = access->lanes; rest != 0; rest &= rest - 1) {
    const unsigned l = (unsigned)__builtin_ctz(rest);
    const struct attempt attempt = {
        .warp = warp, .access = access, .lane = l, .address = access->address[l], .space = access->space[l]};
    allowed |= (uint32_t)check_lane(&attempt) << l;
  }
  if (clock_take_failure()) races_unknown = true;
  return allowed;
}

/* ---- warps and barriers ---- */

static void fence(struct vgpu_observed_warp *warp, const struct ptx_instruction *source) {
  struct watch *watch = warp->block->state;
  if (watch != NULL) order_fence(&watch->order, warp->index, warp->active, source->scope != PTX_SCOPE_CTA);
}

static void ended(struct vgpu_observed_warp *warp, uint32_t lanes) {
  struct watch *watch = warp->block->state;
  if (watch != NULL) order_ended(&watch->order, warp->index, lanes);
}

/* __syncthreads in code that not all threads of a block take alike is undefined, also if each warp meets another one
 * of them: a barrier for all threads pairs instructions of one line. */
static void check_same_barrier(struct vgpu_observed_warp *warp, const struct ptx_instruction *source,
                               const struct arrival *first) {
  const bool lines = source->source_line != 0 && first->source->source_line != 0;
  const bool same = lines ? source->source_line == first->source->source_line && source->file == first->source->file &&
                                source->call_line == first->source->call_line &&
                                source->call_file == first->source->call_file
                          : source == first->source;
  if (same) return;
  const struct vgpu_observed_block *block = warp->block;
  struct check_finding finding = new_finding(CHECK_BARRIER, block->launch);
  fill_party(&finding.first, block->launch, source, block->index, warp->index * LANES);
  fill_party(&finding.second, block->launch, first->source, block->index, first->warp * LANES);
  snprintf(finding.first.what, sizeof finding.first.what, "barrier met");
  snprintf(finding.second.what, sizeof finding.second.what, "barrier met");
  snprintf(finding.what, sizeof finding.what, "warps of a block meet at different barriers");
  check_report(&finding);
}

static void barrier(struct vgpu_observed_warp *warp, const struct ptx_instruction *source, unsigned id,
                    unsigned count) {
  struct watch *watch = warp->block->state;
  if (watch == NULL) return;
  order_arrive(&watch->order, warp->index, warp->alive, id, count == 0);
  if (count != 0) return;
  struct arrival *first = &watch->arrivals[id];
  if (first->source == NULL) {
    *first = (struct arrival){source, warp->index};
  } else {
    check_same_barrier(warp, source, first);
  }
}

static void barrier_complete(struct vgpu_observed_block *block, unsigned id, uint32_t waiting) {
  struct watch *watch = block->state;
  if (watch == NULL) return;
  order_leave(&watch->order, waiting, id);
  watch->arrivals[id].source = NULL;
}

/* Only bar.warp.sync orders memory; lanes with the same mask are together. */
static void warp_sync(struct vgpu_observed_warp *warp, const struct ptx_instruction *source, const uint32_t *members) {
  struct watch *watch = warp->block->state;
  if (watch == NULL || source->op != PTX_BAR_WARP) return;
  for (uint32_t rest = warp->mask; rest != 0;) {
    const uint32_t mask = members[__builtin_ctz(rest)];
    uint32_t together = 0;
    for (uint32_t left = rest; left != 0; left &= left - 1) {
      const int l = __builtin_ctz(left);
      together |= (uint32_t)(members[l] == mask) << l;
    }
    order_warp_sync(&watch->order, warp->index, together);
    rest &= ~together;
  }
}

static void shuffle(struct vgpu_observed_warp *warp, const struct ptx_instruction *source, const int *from) {
  const struct vgpu_observed_block *block = warp->block;
  for (uint32_t rest = warp->mask; rest != 0; rest &= rest - 1) {
    const int l = __builtin_ctz(rest);
    if (warp->mask >> from[l] & 1) continue;
    struct check_finding finding = new_finding(CHECK_SHUFFLE, block->launch);
    const unsigned base = warp->index * LANES;
    fill_party(&finding.first, block->launch, source, block->index, base + (unsigned)l);
    fill_party(&finding.second, block->launch, source, block->index, base + (unsigned)from[l]);
    snprintf(finding.first.what, sizeof finding.first.what, "shuffle read");
    snprintf(finding.second.what, sizeof finding.second.what, "value expected of lane %d, but not given", from[l]);
    snprintf(finding.what, sizeof finding.what, "lane %d reads the value of lane %d, which does not take part", l,
             from[l]);
    check_report(&finding);
  }
}

static void fault(struct vgpu_observed_warp *warp, const struct ptx_instruction *source, unsigned lane, int kind,
                  const char *what) {
  const struct vgpu_observed_block *block = warp->block;
  if (kind == VGPU_FAULT_STOPPED) return;
  enum check_kind found = kind == VGPU_FAULT_ADDRESS ? CHECK_OUT_OF_BOUNDS : CHECK_FAULT;
  if (kind == VGPU_FAULT_BARRIER) found = source->op == PTX_BAR ? CHECK_BARRIER : CHECK_WARP;
  struct check_finding finding = new_finding(found, block->launch);
  fill_party(&finding.first, block->launch, source, block->index, warp->index * LANES + lane);
  snprintf(finding.first.what, sizeof finding.first.what, "%s", ptx_op_name((enum ptx_op)source->op));
  snprintf(finding.what, sizeof finding.what, "%s", what);
  check_report(&finding);
}

/* ---- launches and blocks ---- */

static void discard(struct watch *watch) {
  if (watch->order.warp != NULL) order_end(&watch->order);
  free(watch->shared_initialised);
  free(watch->local_initialised);
  if (watch->shared_words > spare_words) {
    free(spare);
    spare = watch->shared_cells;
    spare_words = watch->shared_words;
  } else {
    free(watch->shared_cells);
  }
  free(watch);
}

static void *begin_launch(const struct vgpu_launch *launch) {
  (void)launch;
  check_lock();
  launch_epoch = ++epoch;
  races_unknown = false;
  region_count = 0;
  return NULL;
}

static void end_launch(const struct vgpu_launch *launch, const struct vgpu_fault *why) {
  (void)launch;
  (void)why;
  for (struct watch *watch = watches, *next; watch != NULL; watch = next) { /* of a launch that failed */
    next = watch->next;
    discard(watch);
  }
  watches = NULL;
  order_forget_locations();
  check_unlock();
}

static void begin_block(struct vgpu_observed_block *block) {
  struct watch *watch = calloc(1, sizeof *watch);
  if (watch == NULL) return;
  watch->epoch = ++epoch;
  const uint64_t local = block->local_bytes * block->warps * LANES;
  watch->shared_initialised = calloc(block->shared_bytes / 8 + 1, 1);
  watch->local_initialised = calloc(local / 8 + 1, 1);
  watch->shared_words = block->shared_bytes / WORD + 1;
  if (watch->shared_words <= spare_words) {
    watch->shared_cells = spare;
    watch->shared_words = spare_words;
    spare = NULL;
    spare_words = 0;
  } else {
    watch->shared_cells = calloc(watch->shared_words, sizeof *watch->shared_cells);
  }
  if (!order_begin(&watch->order, (uint32_t)block->index, block->warps * LANES, block->warps) ||
      watch->shared_initialised == NULL || watch->local_initialised == NULL || watch->shared_cells == NULL) {
    discard(watch);
    return;
  }
  watch->next = watches;
  watch->before = &watches;
  if (watches != NULL) watches->before = &watch->next;
  watches = watch;
  block->state = watch;
}

static void end_block(struct vgpu_observed_block *block, bool faulted) {
  (void)faulted;
  struct watch *watch = block->state;
  if (watch == NULL) return;
  *watch->before = watch->next;
  if (watch->next != NULL) watch->next->before = watch->before;
  discard(watch);
  block->state = NULL;
}

__attribute__((destructor)) static void release(void) {
  free(spare);
  free(regions);
}

const struct vgpu_observer vgpu_check = {.name = "check",
                                         .serial = true,
                                         .red_zone = RED_ZONE,
                                         .begin_launch = begin_launch,
                                         .end_launch = end_launch,
                                         .begin_block = begin_block,
                                         .end_block = end_block,
                                         .access = check_access,
                                         .ended = ended,
                                         .fault = fault,
                                         .fence = fence,
                                         .barrier = barrier,
                                         .barrier_complete = barrier_complete,
                                         .warp_sync = warp_sync,
                                         .shuffle = shuffle,
                                         .region = mark_region,
                                         .allocated = check_allocated,
                                         .freed = check_freed,
                                         .bad_free = check_bad_free,
                                         .written = check_written,
                                         .copied = check_copied,
                                         .context_end = check_context_end};
