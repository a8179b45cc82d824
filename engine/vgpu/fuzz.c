/* `fuzz` mode as an observer of launches: who runs next, and what the approximate instructions give. */
#include "engine/vgpu/fuzz.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/observe.h"
#include "engine/vgpu/report.h"

/* ---- settings ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct fuzz_report now; /* one launch at a time, on one thread */
static uint64_t drawn;         /* random numbers of this launch */

static unsigned part_named(const char *name, size_t length) {
  static const struct {
    const char *name;
    unsigned part;
  } parts[] = {{"order", FUZZ_ORDER}, {"approximate", FUZZ_APPROXIMATE}, {"matrix", FUZZ_MATRIX}};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    if (strlen(parts[i].name) == length && memcmp(parts[i].name, name, length) == 0) return parts[i].part;
  return 0;
}

static void read_settings(void) {
  const char *seed = getenv("NOPROP_VGPU_SEED"), *list = getenv("NOPROP_VGPU_FUZZ");
  now = (struct fuzz_report){.seed = seed != NULL ? strtoull(seed, NULL, 0) : 1, .what = FUZZ_ALL};
  if (list == NULL || list[0] == '\0') return;
  now.what = 0;
  for (const char *at = list; *at != '\0';) {
    const size_t length = strcspn(at, ",");
    now.what |= part_named(at, length);
    at += length + (at[length] == ',');
  }
}

void fuzz_set(uint64_t seed, unsigned what) {
  pthread_once(&once, read_settings);
  now = (struct fuzz_report){.seed = seed, .what = what};
}

struct fuzz_report fuzz_report(void) {
  pthread_once(&once, read_settings);
  return now;
}

/* ---- launches ---- */

static uint64_t draw(void) { return fuzz_mix(fuzz_mix(now.seed, now.launches), drawn++); }

static void write_report(FILE *file) {
  fprintf(
      file,
      "{\"kind\": \"fuzz\", \"seed\": %llu, \"order\": %s, \"approximate\": %s, \"matrix\": %s, \"launches\": %llu, "
      "\"turns\": %llu, \"block_turns\": %llu, \"shuffled_accesses\": %llu, \"approximations\": %llu, \"moved\": "
      "%llu, \"matrices\": %llu}\n",
      (unsigned long long)now.seed, now.what & FUZZ_ORDER ? "true" : "false",
      now.what & FUZZ_APPROXIMATE ? "true" : "false", now.what & FUZZ_MATRIX ? "true" : "false",
      (unsigned long long)now.launches, (unsigned long long)now.turns, (unsigned long long)now.block_turns,
      (unsigned long long)now.shuffled_accesses, (unsigned long long)now.approximations, (unsigned long long)now.moved,
      (unsigned long long)now.matrices);
}

static void *begin_launch(const struct vgpu_launch *launch) {
  (void)launch;
  pthread_once(&once, read_settings);
  report_open(write_report);
  now.launches++;
  drawn = 0;
  return NULL;
}

/* ---- order ---- */

/* How many blocks are under way at once: hardware has room for a few dozen per multiprocessor. */
static unsigned residents(const struct vgpu_launch *launch) {
  enum { MOST_BLOCKS = 32, MOST_THREADS = 8192 };
  if (!(now.what & FUZZ_ORDER)) return 1;
  const unsigned threads = launch->block[0] * launch->block[1] * launch->block[2];
  const unsigned room = MOST_THREADS / threads, most = room < MOST_BLOCKS ? room : MOST_BLOCKS;
  return most > 1 ? 1 + (unsigned)(draw() % most) : 2;
}

/* Without FUZZ_ORDER in turn, so that nobody is waited for in vain. */
static unsigned next_block(const struct vgpu_launch *launch, unsigned count) {
  (void)launch;
  now.block_turns++;
  return (unsigned)((now.what & FUZZ_ORDER ? draw() : now.block_turns) % count);
}

static unsigned pick_bit(uint32_t set) {
  for (unsigned skip = (unsigned)(draw() % (unsigned)__builtin_popcount(set)); skip > 0; skip--) set &= set - 1;
  return (unsigned)__builtin_ctz(set);
}

/* Turns of 1 to 1,024 instructions, short ones as likely as long ones. */
static struct vgpu_turn schedule(struct vgpu_observed_block *block, uint32_t ready) {
  (void)block;
  now.turns++;
  enum { MOST_BLOCKS = 1 << 9 }; /* basic blocks, so that a warp that spins without steps ends its turn, too */
  if (!(now.what & FUZZ_ORDER)) {
    unsigned warp = (unsigned)(now.turns % 32);
    while (!(ready >> warp & 1)) warp = (warp + 1) % 32;
    return (struct vgpu_turn){.warp = warp, .blocks = MOST_BLOCKS};
  }
  const uint64_t random = draw();
  return (struct vgpu_turn){.warp = pick_bit(ready),
                            .blocks = MOST_BLOCKS,
                            .instructions = 1 + (unsigned)((random >> 8) % (1u << random % 11))};
}

/* Of lanes that access memory one after the other. */
static unsigned next_lane(struct vgpu_observed_warp *warp, uint32_t rest) {
  (void)warp;
  if (!(now.what & FUZZ_ORDER)) return (unsigned)__builtin_ctz(rest);
  now.shuffled_accesses++;
  return pick_bit(rest);
}

/* ---- results ---- */

/* The operands of the instruction that runs now: its result may take the place of one of them. */
static uint32_t operands[2][32];

static void instruction(struct vgpu_observed_warp *warp, const struct ptx_instruction *source) {
  if (!(now.what & FUZZ_APPROXIMATE) || !fuzz_is_approximate(source)) return;
  for (unsigned i = 0; i < source->src_count && i < 2; i++)
    if (warp->operands[i] != NULL) memcpy(operands[i], warp->operands[i], sizeof operands[i]);
}

static void result(struct vgpu_observed_warp *warp, const struct ptx_instruction *source, void *lanes, unsigned width) {
  if (!(now.what & FUZZ_APPROXIMATE) || width != 4 || !fuzz_is_approximate(source)) return;
  uint32_t *words = lanes;
  for (uint32_t rest = warp->active; rest; rest &= rest - 1) {
    const int l = __builtin_ctz(rest);
    const uint32_t moved = fuzz_approximate(source, now.seed, operands[0][l], operands[1][l], words[l]);
    now.approximations++;
    now.moved += moved != words[l];
    words[l] = moved;
  }
}

static bool mma(struct vgpu_observed_warp *warp, const struct ptx_instruction *source, const void *const *sources,
                void *const *results) {
  (void)warp;
  if (!(now.what & FUZZ_MATRIX) || !fuzz_is_open_matrix(source)) return false;
  now.matrices++;
  fuzz_mma(source, now.seed, sources, results);
  return true;
}

const struct vgpu_observer vgpu_fuzz = {.name = "fuzz",
                                        .serial = true,
                                        .begin_launch = begin_launch,
                                        .residents = residents,
                                        .next_block = next_block,
                                        .schedule = schedule,
                                        .next_lane = next_lane,
                                        .instruction = instruction,
                                        .result = result,
                                        .mma = mma};
