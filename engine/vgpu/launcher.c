/* From a launch to blocks on CPU threads.
 *
 * A kernel starts in the interpreter. Once it has run there for TRANSLATE_AFTER, with blocks of one size, it is given
 * to the translator on a thread of its own; the first block that begins after that is done, be it of the same launch,
 * uses the machine code. Both give the same bits, so nothing but time tells which ran; of a kernel that cannot be
 * translated a line on standard error does. NOPROP_VGPU_EXECUTOR = interpret or translate fixes the choice. */
#define _GNU_SOURCE 1
#include "engine/vgpu/launcher.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/vgpu/cache_folder.h"
#include "engine/vgpu/helpers.h"
#include "engine/vgpu/memory.h"
#include "engine/vgpu/observe.h"
#include "engine/vgpu/regions.h"
#include "engine/vgpu/translate.h"
#include "engine/vgpu/vgpu.h"
#include "engine/vgpu/watchdog.h"
#include "engine/vgpu/workers.h"

/* Nanoseconds: above what a test's few small launches take, far below what translation saves in a training run. */
enum { TRANSLATE_AFTER = 30 * 1000 * 1000 };

enum executor_choice { EXECUTOR_AUTO, EXECUTOR_INTERPRET, EXECUTOR_TRANSLATE, EXECUTOR_UNKNOWN };

enum translation { TRANSLATION_NONE, TRANSLATION_UNDER_WAY, TRANSLATION_READY, TRANSLATION_REFUSED };

/* A kernel with blocks of one size. */
struct variant {
  struct variant *next;
  const struct ptx_function *ptx;
  unsigned block[3];
  uint64_t interpreted; /* nanoseconds */
  atomic_int state;     /* enum translation; READY is stored after `code` */
  void *code;
  char reason[300];
  atomic_bool unwanted; /* being discarded: a translation that waits for its turn need not begin */
  bool thread_started;
  pthread_t thread;
};

struct kernel_code {
  bool one_thread;   /* see shares_vectors() */
  void *interpreted; /* what the interpreter's prepare() made */
  void *observed;    /* what vgpu_observed's made, for the modes other than run */
  struct variant *variants;
};

/* ---- settings and the translator ---- */

static pthread_once_t choice_once = PTHREAD_ONCE_INIT, translator_once = PTHREAD_ONCE_INIT;
static enum executor_choice choice;
static const struct vgpu_translator *translator;
static char translator_problem[300];

static void read_choice(void) {
  const char *setting = getenv("NOPROP_VGPU_EXECUTOR");
  if (setting == NULL || setting[0] == '\0' || strcmp(setting, "auto") == 0) return;
  choice = EXECUTOR_UNKNOWN;
  if (strcmp(setting, "interpret") == 0) choice = EXECUTOR_INTERPRET;
  if (strcmp(setting, "translate") == 0) choice = EXECUTOR_TRANSLATE;
}

static enum executor_choice executor_choice(void) {
  pthread_once(&choice_once, read_choice);
  return choice;
}

/* Beside this library or program, or one folder up or down from it. */
static void *open_plugin(void) {
  static const char *const places[] = {"", "../", "../lib/"};
  Dl_info self;
  char folder[4096] = "";
  if (dladdr(&choice_once, &self) != 0 && realpath(self.dli_fname, folder) != NULL) {
    char *slash = strrchr(folder, '/');
    if (slash != NULL) slash[1] = '\0';
  }
  void *library = NULL;
  for (size_t i = 0; i < sizeof places / sizeof *places && library == NULL && folder[0] != '\0'; ++i) {
    char path[4200];
    snprintf(path, sizeof path, "%s%slibnoprop_translate.so", folder, places[i]);
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  }
  return library != NULL ? library : dlopen("libnoprop_translate.so", RTLD_NOW | RTLD_LOCAL);
}

static void wait_for_translations(void);

static void open_translator(void) {
  static struct vgpu_translator_host host = {.version = VGPU_TRANSLATOR_VERSION,
                                             .memory_contains = vgpu_memory_contains,
                                             .scratch_reserve = vgpu_scratch_reserve,
                                             .helpers = &vgpu_helpers};
  host.instructions = vgpu_instructions();
  void *library = open_plugin();
  if (library == NULL) {
    snprintf(translator_problem, sizeof translator_problem, "libnoprop_translate.so cannot be opened: %s", dlerror());
    return;
  }
  void *symbol = dlsym(library, VGPU_TRANSLATOR_SYMBOL);
  vgpu_translator_function function;
  memcpy((void *)&function, (const void *)&symbol, sizeof function);
  if (symbol == NULL) {
    snprintf(translator_problem, sizeof translator_problem, "libnoprop_translate.so lacks " VGPU_TRANSLATOR_SYMBOL);
    return;
  }
  translator = function(&host, translator_problem, sizeof translator_problem);
  /* Registered after LLVM was loaded, so called before its own clean-up at exit. */
  if (translator != NULL) atexit(wait_for_translations);
}

static const struct vgpu_translator *find_translator(void) {
  if (executor_choice() == EXECUTOR_INTERPRET) return NULL;
  pthread_once(&translator_once, open_translator);
  return translator;
}

static char description[160];
static pthread_once_t description_once = PTHREAD_ONCE_INIT;

static void describe(void) {
  unsigned threads = workers_count();
  const struct vgpu_translator *found = find_translator();
  snprintf(description, sizeof description, "%u CPU thread%s, %s", threads, threads == 1 ? "" : "s",
           found != NULL ? found->description : vgpu_interpreter_instruction_set());
}

const char *vgpu_description(void) {
  pthread_once(&description_once, describe);
  return description;
}

/* ---- ending what does not end ---- */

static int stop; /* enum vgpu_stop; atomic, by the compiler's functions, as the executors' header is C++, too */

void vgpu_cancel(void) { __atomic_store_n(&stop, VGPU_STOP_REQUESTED, __ATOMIC_SEQ_CST); }

static pthread_once_t limit_once = PTHREAD_ONCE_INIT;
static uint64_t limit_nanoseconds; /* 0: none */

static void read_limit(void) {
  const char *setting = getenv("NOPROP_VGPU_LIMIT_SECONDS");
  const double seconds = setting != NULL ? atof(setting) : 0;
  if (seconds > 0 && seconds < 1e9) limit_nanoseconds = (uint64_t)(seconds * 1e9);
}

static uint64_t time_limit(void) {
  pthread_once(&limit_once, read_limit);
  return limit_nanoseconds;
}

/* ---- translation ---- */

/* One at a time: translation is for the processors that kernels leave idle. */
static pthread_mutex_t translating = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool leaving;

static void wait_for_translations(void) {
  atomic_store(&leaving, true);
  pthread_mutex_lock(&translating);
  pthread_mutex_unlock(&translating);
}

/* Once for a kernel and a reason, however often its module is loaded and with whatever blocks it is launched. */
static void say_interpreted(const struct variant *variant) {
  enum { REMEMBERED = 64 };
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static char *said[REMEMBERED];
  char line[480];
  snprintf(line, sizeof line, "virtual GPU: kernel %s is interpreted, which takes some twenty times as long: %s",
           variant->ptx->name, variant->reason);
  pthread_mutex_lock(&mutex);
  int at = 0;
  while (at < REMEMBERED && said[at] != NULL && strcmp(said[at], line) != 0) ++at;
  if (at < REMEMBERED && said[at] == NULL) {
    said[at] = strdup(line);
    fprintf(stderr, "%s\n", line);
  }
  pthread_mutex_unlock(&mutex);
}

static void *translate(void *argument) {
  struct variant *variant = argument;
  pthread_mutex_lock(&translating);
  const bool wanted = !atomic_load(&leaving) && !atomic_load(&variant->unwanted);
  const struct vgpu_translator *found = wanted ? find_translator() : NULL;
  char folder[4096] = "";
  if (found != NULL) {
    cache_folder(folder, sizeof folder);
    variant->code = found->translate(variant->ptx, variant->block, folder[0] != '\0' ? folder : NULL, variant->reason,
                                     sizeof variant->reason);
    if (variant->code == NULL && executor_choice() == EXECUTOR_AUTO) say_interpreted(variant);
  } else {
    snprintf(variant->reason, sizeof variant->reason, "%s", translator_problem);
  }
  atomic_store(&variant->state, variant->code != NULL ? TRANSLATION_READY : TRANSLATION_REFUSED);
  pthread_mutex_unlock(&translating);
  return NULL;
}

/* Whether it reads where the grid barrier is. */
static bool uses_workspace(const struct ptx_function *ptx) {
  for (uint32_t i = 0; i < ptx->instruction_count; ++i) {
    const struct ptx_instruction *at = &ptx->instructions[i];
    if (at->src_count != 1 || at->src[0].kind != PTX_OPERAND_SPECIAL) continue;
    if (at->src[0].index == PTX_ENVREG1 || at->src[0].index == PTX_ENVREG2) return true;
  }
  return false;
}

static struct variant *find_variant(CUfunction function, const unsigned block[3]) {
  struct variant *variant = function->code->variants;
  while (variant != NULL && memcmp(variant->block, block, sizeof variant->block) != 0) variant = variant->next;
  if (variant != NULL) return variant;
  variant = calloc(1, sizeof *variant);
  if (variant == NULL) return NULL;
  variant->ptx = function->ptx;
  if (uses_workspace(function->ptx)) {
    snprintf(variant->reason, sizeof variant->reason, "the translator has no %%envreg");
    atomic_store(&variant->state, TRANSLATION_REFUSED);
    if (executor_choice() == EXECUTOR_AUTO && find_translator() != NULL) say_interpreted(variant);
  }
  memcpy(variant->block, block, sizeof variant->block);
  variant->next = function->code->variants;
  function->code->variants = variant;
  return variant;
}

/* Unless another thread has begun it. */
static void begin_translation(struct variant *variant) {
  int none = TRANSLATION_NONE;
  if (!atomic_compare_exchange_strong(&variant->state, &none, TRANSLATION_UNDER_WAY)) return;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals belong to the program's own threads */
  variant->thread_started = pthread_create(&variant->thread, NULL, translate, variant) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!variant->thread_started) atomic_store(&variant->state, TRANSLATION_REFUSED);
}

/* Makes an interpreter's code, unless it is there. */
static CUresult prepare(CUfunction function, const struct vgpu_executor *executor, void **code) {
  char reason[300] = "";
  if (*code == NULL) *code = executor->prepare(function->ptx, reason, sizeof reason);
  if (*code != NULL) return CUDA_SUCCESS;
  return vgpu_fail(CUDA_ERROR_INVALID_PTX, "kernel %s: %s", function->ptx->name, reason);
}

static CUresult interpret(CUfunction function) {
  return prepare(function, &vgpu_interpreter, &function->code->interpreted);
}

static CUresult observe(CUfunction function) { return prepare(function, &vgpu_observed, &function->code->observed); }

/* Whether blocks hand each other vectors (look-back scans: a value and its status at once). On a GPU such an access is
 * one; the executors make it element by element, so that blocks on several CPU threads would see halves. They run on
 * one. */
static bool shares_vectors(const struct ptx_function *function) {
  for (uint32_t i = 0; i < function->instruction_count; i++) {
    const struct ptx_instruction *instruction = &function->instructions[i];
    if ((instruction->op == PTX_LD || instruction->op == PTX_ST) && instruction->vector > 1 &&
        (instruction->flags & PTX_STRONG) && (instruction->space == PTX_GLOBAL || instruction->space == PTX_GENERIC))
      return true;
  }
  return false;
}

CUresult launcher_prepare(CUfunction function) {
  function->code = calloc(1, sizeof *function->code);
  if (function->code == NULL) return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for a kernel");
  function->code->one_thread = shares_vectors(function->ptx);
  if (executor_choice() == EXECUTOR_UNKNOWN) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "NOPROP_VGPU_EXECUTOR must be auto, interpret or translate");
  }
  if (vgpu_instructions() == VGPU_INSTRUCTIONS_UNKNOWN) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "NOPROP_VGPU_INSTRUCTIONS must be avx512, avx2 or baseline");
  }
  if (vgpu_mode_observer() != NULL) return observe(function);
  if (executor_choice() == EXECUTOR_TRANSLATE) {
    if (find_translator() == NULL) return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "%s", translator_problem);
    return CUDA_SUCCESS;
  }
  return interpret(function);
}

void launcher_discard(CUfunction function) {
  if (function->code == NULL) return;
  for (struct variant *variant = function->code->variants, *next; variant != NULL; variant = next) {
    next = variant->next;
    atomic_store(&variant->unwanted, true);
    if (variant->thread_started) pthread_join(variant->thread, NULL);
    if (variant->code != NULL) translator->discard(variant->code);
    free(variant);
  }
  if (function->code->interpreted != NULL) vgpu_interpreter.discard(function->code->interpreted);
  if (function->code->observed != NULL) vgpu_observed.discard(function->code->observed);
  free(function->code);
  function->code = NULL;
}

/* ---- launches ---- */

enum { MAX_SCRATCHES = 1024 };

static struct vgpu_scratch scratches[MAX_SCRATCHES]; /* by worker */

__attribute__((destructor)) static void release_scratches(void) {
  for (int i = 0; i < MAX_SCRATCHES; ++i) vgpu_scratch_release(&scratches[i]);
}

/* A block of a cooperative launch. */
struct resident {
  atomic_int state; /* enum residence */
  struct vgpu_scratch scratch;
};

enum residence { RESIDENT_NEW, RESIDENT_WAITS, RESIDENT_RUNS, RESIDENT_ENDED };

struct job {
  struct vgpu_launch launch;
  int (*run_block)(const struct vgpu_launch *launch, struct vgpu_scratch *scratch, const unsigned ctaid[3],
                   unsigned slot, struct vgpu_fault *fault);
  struct resident *residents; /* one per block; cooperative launches only */
  struct variant *variant;    /* whose translation takes over from the interpreter when it is ready, or NULL */
  uint64_t begin;             /* of the launch, with it */
  struct vgpu_output output;
  pthread_mutex_t mutex;
  unsigned long long faulty; /* the lowest block that failed, so that the report does not depend on the threads */
  struct vgpu_fault fault;
};

static void place_of(const struct job *job, unsigned long long index, unsigned ctaid[3]) {
  const unsigned *grid = job->launch.grid;
  ctaid[0] = (unsigned)(index % grid[0]);
  ctaid[1] = (unsigned)(index / grid[0] % grid[1]);
  ctaid[2] = (unsigned)(index / grid[0] / grid[1]);
}

static void keep_fault(struct job *job, unsigned long long index, const struct vgpu_fault *fault) {
  pthread_mutex_lock(&job->mutex);
  if (index < job->faulty) {
    job->faulty = index;
    job->fault = *fault;
  }
  pthread_mutex_unlock(&job->mutex);
}

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Between blocks; the executors look within a block, too. */
static bool is_stopped(const struct job *job, struct vgpu_fault *fault) {
  const int value = __atomic_load_n(&stop, __ATOMIC_RELAXED);
  if (value == VGPU_STOP_NO) return false;
  snprintf(fault->text, sizeof fault->text, "kernel %s: %s", job->launch.function->name,
           value == VGPU_STOP_LATE ? "the time limit of launches is over" : "stopped on request");
  fault->kind = VGPU_FAULT_STOPPED;
  return true;
}

/* A block of a launch that began in the interpreter: the two give the same bits, and a launch may take minutes. */
static int run_interim_block(struct job *job, const unsigned ctaid[3], unsigned worker, struct vgpu_fault *fault) {
  struct variant *variant = job->variant;
  if (atomic_load(&variant->state) == TRANSLATION_NONE && variant->interpreted + now() - job->begin > TRANSLATE_AFTER)
    begin_translation(variant);
  if (atomic_load(&variant->state) != TRANSLATION_READY)
    return job->run_block(&job->launch, &scratches[worker], ctaid, worker, fault);
  struct vgpu_launch translated = job->launch;
  translated.code = variant->code;
  return translator->run_block(&translated, &scratches[worker], ctaid, worker, fault);
}

static int run_block(void *context, unsigned long long index, unsigned worker) {
  struct job *job = context;
  unsigned ctaid[3];
  const struct vgpu_observer *observer = job->launch.observer;
  if (observer != NULL && observer->block_order != NULL) index = observer->block_order(&job->launch, index);
  place_of(job, index, ctaid);
  struct vgpu_fault fault = {.kind = VGPU_FAULT_NONE};
  if (!is_stopped(job, &fault)) {
    const int failed = job->variant != NULL ? run_interim_block(job, ctaid, worker, &fault)
                                            : job->run_block(&job->launch, &scratches[worker], ctaid, worker, &fault);
    if (!failed) return 1;
  }
  keep_fault(job, index, &fault);
  return 0;
}

/* Cooperative: whoever is free gives the next waiting block a turn. A thread that finds none may leave: every block
 * that has not ended is then in the hands of a thread that will look again. */
static int run_resident(void *context, unsigned long long first, unsigned worker) {
  (void)worker;
  struct job *job = context;
  const unsigned *grid = job->launch.grid;
  const unsigned long long count = (unsigned long long)grid[0] * grid[1] * grid[2];
  unsigned long long index = first, idle = 0;
  while (idle < count) {
    index = (index + 1) % count;
    struct resident *resident = &job->residents[index];
    int state = atomic_load(&resident->state);
    if (state == RESIDENT_RUNS || state == RESIDENT_ENDED ||
        !atomic_compare_exchange_strong(&resident->state, &state, RESIDENT_RUNS)) {
      ++idle;
      continue;
    }
    idle = 0;
    unsigned ctaid[3];
    place_of(job, index, ctaid);
    struct vgpu_fault fault = {.kind = VGPU_FAULT_NONE};
    int again =
        vgpu_interpreter.run_turn(&job->launch, &resident->scratch, ctaid,
                                  (unsigned)(index % job->launch.multiprocessors), state == RESIDENT_NEW, &fault);
    atomic_store(&resident->state, again == 1 ? RESIDENT_WAITS : RESIDENT_ENDED);
    if (again == 0) vgpu_scratch_release(&resident->scratch);
    if (again < 0) keep_fault(job, index, &fault);
    /* The others may wait for ever for a block that failed. */
    pthread_mutex_lock(&job->mutex);
    const bool failed = job->faulty != ~0ULL;
    pthread_mutex_unlock(&job->mutex);
    if (failed) return 0;
  }
  return 1;
}

/* What cooperative groups expects: its own size, then the counter of the barrier. */
static _Alignas(256) uint32_t grid_workspace[64];

static size_t block_count(const struct job *job) {
  const unsigned *grid = job->launch.grid;
  return (size_t)grid[0] * grid[1] * grid[2];
}

/* Turns for `most` blocks at once, as the observer wants them, on this thread. */
static CUresult run_in_turns(struct job *job, size_t most) {
  const struct vgpu_observer *observer = job->launch.observer;
  const size_t count = block_count(job);
  struct {
    struct vgpu_scratch scratch;
    unsigned long long index;
    bool begun;
  } *residents = calloc(most, sizeof *residents);
  if (residents == NULL) return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for the blocks of a launch");
  job->launch.in_turns = true;
  size_t next = 0, live = 0;
  while (job->faulty == ~0ULL) {
    for (; live < most && next < count; ++live, ++next) {
      residents[live].index = next;
      residents[live].begun = false;
    }
    if (live == 0) break;
    const size_t chosen = observer->next_block(&job->launch, (unsigned)live);
    unsigned ctaid[3];
    place_of(job, residents[chosen].index, ctaid);
    struct vgpu_fault fault = {.kind = VGPU_FAULT_NONE};
    int again = -1;
    if (!is_stopped(job, &fault)) {
      again = vgpu_observed.run_turn(&job->launch, &residents[chosen].scratch, ctaid,
                                     (unsigned)(residents[chosen].index % job->launch.multiprocessors),
                                     !residents[chosen].begun, &fault);
    }
    residents[chosen].begun = true;
    if (again < 0) keep_fault(job, residents[chosen].index, &fault);
    if (again != 0) continue;
    const struct vgpu_scratch kept = residents[chosen].scratch; /* for the next block */
    residents[chosen] = residents[--live];
    residents[live].scratch = kept;
  }
  for (size_t i = 0; i < most; ++i) vgpu_scratch_release(&residents[i].scratch);
  free(residents);
  return CUDA_SUCCESS;
}

static CUresult run_cooperative(struct job *job, unsigned threads) {
  const size_t count = block_count(job);
  job->residents = calloc(count, sizeof *job->residents);
  if (job->residents == NULL) return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for a cooperative launch");
  memset(grid_workspace, 0, sizeof grid_workspace);
  grid_workspace[0] = sizeof grid_workspace;
  static bool registered; /* one kernel runs at a time */
  if (!registered) registered = regions_add(REGION_REGISTERED, (uint64_t)grid_workspace, sizeof grid_workspace, NULL);
  job->launch.workspace = (uint64_t)grid_workspace;
  const struct vgpu_observer *observer = job->launch.observer;
  CUresult result = CUDA_SUCCESS;
  if (observer != NULL && observer->next_block != NULL)
    result = run_in_turns(job, count);
  else
    workers_run(threads, run_resident, job);
  for (size_t i = 0; i < count; ++i) vgpu_scratch_release(&job->residents[i].scratch);
  free(job->residents);
  return result;
}

CUresult launcher_check(const struct operation *operation) {
  const CUfunction function = operation->kernel.function;
  const struct ptx_function *ptx = function->ptx;
  const unsigned *grid = operation->kernel.grid, *block = operation->kernel.block;
  static const CUdevice_attribute grid_limits[] = {
      CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z};
  static const CUdevice_attribute block_limits[] = {
      CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z};
  for (int i = 0; i < 3; ++i) {
    unsigned most = (unsigned)vgpu_attribute(grid_limits[i]);
    if (grid[i] == 0 || grid[i] > most) {
      return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "kernel %s: grid dimension %c is %u; allowed are 1 to %u", ptx->name,
                       "xyz"[i], grid[i], most);
    }
    most = (unsigned)vgpu_attribute(block_limits[i]);
    if (block[i] == 0 || block[i] > most) {
      return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "kernel %s: block dimension %c is %u; allowed are 1 to %u", ptx->name,
                       "xyz"[i], block[i], most);
    }
    if (ptx->required_threads[0] != 0 && block[i] != (ptx->required_threads[i] != 0 ? ptx->required_threads[i] : 1)) {
      return vgpu_fail(CUDA_ERROR_INVALID_VALUE,
                       "kernel %s: it requires blocks of %u x %u x %u threads, not %u x %u x %u", ptx->name,
                       ptx->required_threads[0], ptx->required_threads[1], ptx->required_threads[2], block[0], block[1],
                       block[2]);
    }
  }
  unsigned most = 0;
  vgpu_cuFuncGetAttribute((int *)&most, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, function);
  unsigned long long threads = (unsigned long long)block[0] * block[1] * block[2];
  if (threads > most) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE, "kernel %s: blocks of %llu threads; it allows %u", ptx->name, threads,
                     most);
  }
  if (operation->kernel.shared_bytes > (unsigned)function->dynamic_shared_limit) {
    return vgpu_fail(CUDA_ERROR_INVALID_VALUE,
                     "kernel %s: %u bytes of dynamic shared memory; the limit set for it is %d (cuFuncSetAttribute)",
                     ptx->name, operation->kernel.shared_bytes, function->dynamic_shared_limit);
  }
  if (!operation->kernel.cooperative) return CUDA_SUCCESS;
  int resident = 0;
  vgpu_cuOccupancyMaxActiveBlocksPerMultiprocessor(&resident, function, (int)threads, operation->kernel.shared_bytes);
  const unsigned long long room = (unsigned long long)resident * workers_count();
  if ((unsigned long long)grid[0] * grid[1] * grid[2] > room) {
    return vgpu_fail(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
                     "kernel %s: a cooperative launch of %llu blocks; %llu of this size are resident at once",
                     ptx->name, (unsigned long long)grid[0] * grid[1] * grid[2], room);
  }
  return CUDA_SUCCESS;
}

static CUresult fault_code(const struct vgpu_fault *fault) {
  if (fault->kind == VGPU_FAULT_ADDRESS) return CUDA_ERROR_ILLEGAL_ADDRESS;
  if (fault->kind == VGPU_FAULT_TRAP) return CUDA_ERROR_ILLEGAL_INSTRUCTION;
  if (fault->kind == VGPU_FAULT_ASSERT) return CUDA_ERROR_ASSERT;
  if (fault->kind == VGPU_FAULT_STOPPED) return CUDA_ERROR_LAUNCH_TIMEOUT;
  return CUDA_ERROR_LAUNCH_FAILED;
}

static CUresult conclude(CUcontext context, const struct job *job) {
  vgpu_output_finish(job->launch.output);
  if (job->faulty == ~0ULL) return CUDA_SUCCESS;
  char limit[64] = "";
  if (job->fault.kind == VGPU_FAULT_STOPPED &&
      __atomic_exchange_n(&stop, VGPU_STOP_NO, __ATOMIC_SEQ_CST) == VGPU_STOP_LATE) {
    snprintf(limit, sizeof limit, " (NOPROP_VGPU_LIMIT_SECONDS is %g)", (double)time_limit() * 1e-9);
  }
  snprintf(context->fault, sizeof context->fault, "%s%s", job->fault.text, limit);
  CUresult result = fault_code(&job->fault);
  atomic_store(&context->sticky, (int)result);
  return vgpu_fail(result, "%s", context->fault);
}

/* All blocks in order on this thread. */
static void run_serially(unsigned long long count, struct job *job) {
  for (unsigned long long index = 0; index < count; ++index) {
    if (!run_block(job, index, 0)) return;
  }
}

/* A launch in a mode other than run. */
static CUresult run_observed(CUfunction function, struct job *job) {
  const struct vgpu_observer *observer = job->launch.observer;
  const unsigned long long count = block_count(job);
  CUresult result = observe(function);
  if (result != CUDA_SUCCESS) return result;
  job->launch.code = function->code->observed;
  job->run_block = vgpu_observed.run_block;
  if (observer->begin_launch != NULL) job->launch.observation = observer->begin_launch(&job->launch);
  if (job->launch.cooperative) {
    result = run_cooperative(job, observer->serial ? 1 : workers_count());
  } else if (observer->residents != NULL) {
    result = run_in_turns(job, observer->residents(&job->launch));
  } else if (observer->serial) {
    run_serially(count, job);
  } else {
    workers_run(count, run_block, job);
  }
  if (observer->end_launch != NULL) observer->end_launch(&job->launch, job->faulty != ~0ULL ? &job->fault : NULL);
  return result;
}

static atomic_ullong interim_launches;

unsigned long long vgpu_interim_launches(void) { return atomic_load(&interim_launches); }

/* By the executor that is to be used for it now. */
static CUresult run_blocks(CUfunction function, struct job *job) {
  struct variant *variant = find_variant(function, job->launch.block);
  if (variant == NULL) return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "no host memory for a kernel");
  const int state = atomic_load(&variant->state);
  const bool translated = state == TRANSLATION_READY;
  if (!translated && executor_choice() != EXECUTOR_TRANSLATE) {
    CUresult result = interpret(function);
    if (result != CUDA_SUCCESS) return result;
  }
  if (!translated && function->code->interpreted == NULL) {
    return vgpu_fail(CUDA_ERROR_NOT_SUPPORTED, "kernel %s: %s", function->ptx->name, variant->reason);
  }
  job->run_block = translated ? translator->run_block : vgpu_interpreter.run_block;
  job->launch.code = translated ? variant->code : function->code->interpreted;

  const bool interim = executor_choice() == EXECUTOR_AUTO && !translated && state != TRANSLATION_REFUSED;
  if (interim) {
    job->variant = variant;
    job->begin = now();
  }
  const unsigned *grid = job->launch.grid;
  const unsigned long long count = (unsigned long long)grid[0] * grid[1] * grid[2];
  if (function->code->one_thread)
    run_serially(count, job);
  else
    workers_run(count, run_block, job);
  if (!interim) return CUDA_SUCCESS;
  atomic_fetch_add(&interim_launches, 1);
  variant->interpreted += now() - job->begin;
  if (variant->interpreted > TRANSLATE_AFTER) begin_translation(variant);
  return CUDA_SUCCESS;
}

static CUresult run_job(CUfunction function, struct job *job) {
  if (job->launch.observer != NULL) return run_observed(function, job);
  if (!job->launch.cooperative) return run_blocks(function, job);
  CUresult result = interpret(function);
  if (result != CUDA_SUCCESS) return result;
  job->launch.code = function->code->interpreted;
  return run_cooperative(job, function->code->one_thread ? 1 : workers_count());
}

CUresult launcher_run(CUcontext context, const struct operation *operation) {
  static atomic_ullong grids;
  const CUfunction function = operation->kernel.function;
  struct job job = {.launch = {.function = function->ptx,
                               .dynamic_shared = operation->kernel.shared_bytes,
                               .params = operation->kernel.parameters,
                               .param_bytes = function->ptx->parameter_bytes,
                               .multiprocessors = workers_count(),
                               .grid_id = atomic_fetch_add(&grids, 1) + 1,
                               .cooperative = operation->kernel.cooperative,
                               .stop = &stop,
                               .observer = vgpu_mode_observer()},
                    .output = {.mutex = PTHREAD_MUTEX_INITIALIZER},
                    .mutex = PTHREAD_MUTEX_INITIALIZER,
                    .faulty = ~0ULL};
  job.launch.output = &job.output;
  memcpy(job.launch.grid, operation->kernel.grid, sizeof job.launch.grid);
  memcpy(job.launch.block, operation->kernel.block, sizeof job.launch.block);

  if (executor_choice() == EXECUTOR_TRANSLATE && job.launch.observer == NULL && !job.launch.cooperative) {
    struct variant *variant = find_variant(function, job.launch.block);
    if (variant != NULL && atomic_load(&variant->state) == TRANSLATION_NONE) translate(variant);
  }
  const uint64_t limit = time_limit();
  if (limit != 0 && watchdog_begin(&stop, VGPU_STOP_LATE, limit) != 0) {
    return vgpu_fail(CUDA_ERROR_OUT_OF_MEMORY, "there can be no thread that watches the time limit of launches");
  }
  CUresult result = run_job(function, &job);
  if (limit != 0) watchdog_end();
  if (result == CUDA_SUCCESS) result = conclude(context, &job);
  /* Too late for this launch, no business of the next one. */
  int late = VGPU_STOP_LATE;
  if (limit != 0) __atomic_compare_exchange_n(&stop, &late, VGPU_STOP_NO, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  return result;
}
