/* How fast the virtual GPU's executors are on one core, by class of instruction: see README.md.
 *
 * Times are those of the thread on its CPU, so that other programs disturb little; of several repeats the fastest
 * counts.
 */
#include <dlfcn.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "bench/vgpu/kernels.h"
#include "tests/vgpu/scalar.h"

extern "C" {
#include "engine/vgpu/helpers.h"
#include "engine/vgpu/interpreter.h"
#include "engine/vgpu/memory.h"
#include "engine/vgpu/ptx.h"
#include "engine/vgpu/translate.h"
#include "engine/vgpu/vgpu.h"
}

#include <cuda.h>

namespace {

constexpr unsigned warps = 4;

struct Executor {
  std::string name;
  /* Runs one block of 128 threads; false if it cannot. */
  std::function<bool(const struct ptx_function *, const std::string &, const void *params, size_t bytes)> run;
  std::function<void()> forget; /* the code of the last kernel */
};

double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/* What the two executors of the engine have in common. */
Executor executor(const std::string &name, std::function<void *(const ptx_function *)> prepare, void (*discard)(void *),
                  int (*run_block)(const vgpu_launch *, vgpu_scratch *, const unsigned[3], unsigned, vgpu_fault *)) {
  struct State {
    const ptx_function *function = nullptr;
    void *code = nullptr;
    vgpu_scratch scratch = {};
  };
  static std::vector<State *> states; /* live as long as the program */
  auto *state = new State;
  states.push_back(state);
  Executor result;
  result.name = name;
  result.run = [=](const ptx_function *function, const std::string &, const void *params, size_t bytes) {
    if (function != state->function) {
      state->function = function;
      state->code = prepare(function);
    }
    if (!state->code) return false;
    vgpu_launch launch = {};
    launch.function = function;
    launch.code = state->code;
    for (int i = 0; i < 3; i++) launch.grid[i] = launch.block[i] = 1;
    launch.block[0] = 32 * warps;
    launch.params = params;
    launch.param_bytes = bytes;
    launch.multiprocessors = 1;
    const unsigned ctaid[3] = {0, 0, 0};
    vgpu_fault fault = {};
    if (run_block(&launch, &state->scratch, ctaid, 0, &fault) == 0) return true;
    std::fprintf(stderr, "%s: %s\n", name.c_str(), fault.text);
    return false;
  };
  result.forget = [=] {
    if (state->code) discard(state->code);
    state->code = nullptr;
    state->function = nullptr;
  };
  return result;
}

Executor interpreter(const interpreter_set *set) {
  return executor(
      std::string("interpreter ") + set->name,
      [set](const ptx_function *function) {
        char reason[240] = "";
        return set->prepare(function, reason, sizeof reason);
      },
      vgpu_interpreter_discard, set->run_block);
}

void add_translator(std::vector<Executor> *list, const char *plugin, const char *name,
                    const vgpu_translator_host *host) {
  void *library = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
  if (!library) return;
  auto get = reinterpret_cast<vgpu_translator_function>(dlsym(library, VGPU_TRANSLATOR_SYMBOL));
  char reason[240] = "";
  const vgpu_translator *translator = get ? get(host, reason, sizeof reason) : nullptr;
  if (!translator) return;
  list->push_back(executor(
      name,
      [translator](const ptx_function *function) {
        char why[240] = "";
        const unsigned block[3] = {32 * warps, 1, 1};
        return translator->translate(function, block, nullptr, why, sizeof why);
      },
      translator->discard, translator->run_block));
}

Executor one_thread_at_a_time() {
  Executor result;
  result.name = "scalar";
  result.run = [](const ptx_function *, const std::string &text, const void *params, size_t bytes) {
    static std::string last;
    static std::unique_ptr<scalar::Module> module;
    try {
      if (!module || last != text) {
        module = std::make_unique<scalar::Module>(text);
        last = text;
      }
      module->run("k", {{1, 1, 1}, {32 * warps, 1, 1}, 0, params, bytes});
    } catch (const scalar::Error &) {
      return false;
    }
    return true;
  };
  result.forget = [] {};
  return result;
}

std::vector<Executor> executors(const char *plugin) {
  static const vgpu_translator_host wide = {VGPU_TRANSLATOR_VERSION, VGPU_AVX512, vgpu_memory_contains,
                                            vgpu_scratch_reserve, &vgpu_helpers};
  static const vgpu_translator_host narrow = {VGPU_TRANSLATOR_VERSION, VGPU_AVX2, vgpu_memory_contains,
                                              vgpu_scratch_reserve, &vgpu_helpers};
  std::vector<Executor> list = {one_thread_at_a_time(), interpreter(&interpreter_baseline)};
#if defined(__x86_64__)
  const enum vgpu_instructions most = vgpu_instructions();
  if (most >= VGPU_AVX2) list.push_back(interpreter(&interpreter_avx2));
  if (most >= VGPU_AVX512) list.push_back(interpreter(&interpreter_avx512));
  if (most >= VGPU_AVX2) add_translator(&list, plugin, "translator AVX2", &narrow);
  if (most >= VGPU_AVX512) add_translator(&list, plugin, "translator AVX-512", &wide);
#endif
  return list;
}

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  return "unknown CPU";
}

/* Seconds per warp instruction of the class, or a negative number. */
double measure(const Executor &executor, const BenchKernel &kernel, const ptx_function *function, uint64_t memory,
               double seconds) {
  struct alignas(16) {
    uint64_t memory;
    uint32_t turns, unused;
  } params = {memory, 8, 0};
  const auto run = [&] { return executor.run(function, kernel.ptx, &params, sizeof params); };
  if (!run()) return -1;
  double once = 0;
  for (;;) { /* as many turns as make a repeat long enough for the clock */
    const double begin = cpu_seconds();
    run();
    once = cpu_seconds() - begin;
    if (once > seconds / 10 || params.turns >= 1u << 30) break;
    params.turns *= 2;
  }
  double best = once;
  for (double used = 0; used < seconds; used += once) {
    const double begin = cpu_seconds();
    run();
    once = cpu_seconds() - begin;
    best = std::min(best, once);
  }
  return best / (static_cast<double>(params.turns) * kernel.count * warps);
}

}  // namespace

int main(int argc, char **argv) {
  double seconds = 0.2;
  const char *wanted = "";
  for (int i = 1; i < argc; i++) {
    if (std::strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
      seconds = std::atof(argv[++i]);
    else if (argv[i][0] != '-')
      wanted = argv[i];
    else
      return std::fprintf(stderr, "usage: bench_vgpu [--seconds S] [CLASS]\n"), 2;
  }
  /* Memory of the virtual GPU, as the executors check addresses. */
  auto symbol = [](const char *name) { return vgpu_symbol(name); };
  CUcontext context = nullptr;
  CUdeviceptr memory = 0;
  if (reinterpret_cast<CUresult (*)(unsigned)>(symbol("cuInit"))(0) != CUDA_SUCCESS ||
      reinterpret_cast<CUresult (*)(CUcontext *, CUdevice)>(symbol("cuDevicePrimaryCtxRetain"))(&context, 0) !=
          CUDA_SUCCESS ||
      reinterpret_cast<CUresult (*)(CUcontext)>(symbol("cuCtxSetCurrent"))(context) != CUDA_SUCCESS ||
      reinterpret_cast<CUresult (*)(CUdeviceptr *, size_t)>(symbol("cuMemAlloc_v2"))(&memory, 1 << 20) !=
          CUDA_SUCCESS ||
      reinterpret_cast<CUresult (*)(CUdeviceptr, unsigned, size_t)>(symbol("cuMemsetD32_v2"))(memory, 0, 1 << 18) !=
          CUDA_SUCCESS) {
    return std::fprintf(stderr, "%s\n", vgpu_last_message()), 1;
  }
  const std::vector<Executor> list = executors(NOPROP_BINARY_DIR "/libnoprop_translate.so");
  std::printf("%s, one core; million warp instructions per second (GFLOP/s)\n\n%-18s", cpu_name().c_str(), "");
  for (const Executor &executor : list) std::printf("%21s", executor.name.c_str());
  std::printf("\n");
  for (const BenchKernel &kernel : bench_kernels()) {
    if (kernel.name.find(wanted) == std::string::npos) continue;
    ptx_error error = {};
    ptx_module *module = ptx_parse(kernel.ptx.data(), kernel.ptx.size(), &error);
    if (!module) return std::fprintf(stderr, "%s, line %u: %s\n", kernel.name.c_str(), error.line, error.reason), 1;
    alignas(256) static unsigned char segment[256];
    ptx_place(module, segment);
    std::printf("%-18s", kernel.name.c_str());
    for (const Executor &executor : list) {
      const double time = measure(executor, kernel, ptx_find_function(module, "k"), memory, seconds);
      executor.forget();
      char cell[40] = "-";
      if (time > 0 && kernel.flops > 0)
        std::snprintf(cell, sizeof cell, "%.1f (%.2f)", 1e-6 / time, 1e-9 * kernel.flops / time);
      else if (time > 0)
        std::snprintf(cell, sizeof cell, "%.1f", 1e-6 / time);
      std::printf("%21s", cell);
      std::fflush(stdout);
    }
    std::printf("\n");
    ptx_free(module);
  }
  return 0;
}
