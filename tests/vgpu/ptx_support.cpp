#include "tests/vgpu/ptx_support.h"

#include <cuda.h>
#include <dlfcn.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <stdexcept>

extern "C" {
#include "engine/vgpu/helpers.h"
#include "engine/vgpu/interpreter.h"
#include "engine/vgpu/memory.h"
#include "engine/vgpu/translate.h"
#include "engine/vgpu/vgpu.h"
}

namespace ptx {

/* The driver API's allocations are what the executors accept as device memory. */
template <typename F>
static F driver(const char *name) {
  return reinterpret_cast<F>(vgpu_symbol(name));
}

/* Other tests of the same program may have taken the context away. */
static void make_context() {
  CUcontext context = nullptr;
  if (driver<decltype(&cuInit)>("cuInit")(0) != CUDA_SUCCESS ||
      driver<decltype(&cuCtxGetCurrent)>("cuCtxGetCurrent")(&context) != CUDA_SUCCESS)
    throw std::runtime_error("no virtual GPU");
  if (context) return;
  if (driver<decltype(&cuDevicePrimaryCtxRetain)>("cuDevicePrimaryCtxRetain")(&context, 0) != CUDA_SUCCESS ||
      driver<decltype(&cuCtxSetCurrent)>("cuCtxSetCurrent")(context) != CUDA_SUCCESS)
    throw std::runtime_error("no context on the virtual GPU");
}

Memory::Memory(size_t bytes) {
  make_context();
  CUdeviceptr pointer = 0;
  if (driver<CUresult (*)(CUdeviceptr *, size_t)>("cuMemAlloc_v2")(&pointer, bytes) != CUDA_SUCCESS)
    throw std::bad_alloc();
  data_ = reinterpret_cast<void *>(pointer);
}

Memory::~Memory() { driver<CUresult (*)(CUdeviceptr)>("cuMemFree_v2")(address()); }

static Executor interpreter(const interpreter_set *set) {
  Executor executor;
  executor.name = std::string("interpreter ") + set->name;
  executor.prepare = [set](const ptx_function *function, const unsigned *, std::string *reason) {
    char text[240] = "";
    void *code = set->prepare(function, text, sizeof text);
    *reason = text;
    return code;
  };
  executor.discard = vgpu_interpreter_discard;
  executor.run_block = set->run_block;
  return executor;
}

Executor observed(const vgpu_observer *observer) {
  Executor executor = interpreter(&interpreter_observed);
  executor.observer = observer;
  return executor;
}

static void add_translator(std::vector<Executor> *list, const char *name, const vgpu_translator_host *host) {
  void *library = dlopen(NOPROP_BINARY_DIR "/libnoprop_translate.so", RTLD_NOW | RTLD_LOCAL);
  if (!library) return;
  auto get = reinterpret_cast<vgpu_translator_function>(dlsym(library, VGPU_TRANSLATOR_SYMBOL));
  char text[240] = "";
  const vgpu_translator *translator = get ? get(host, text, sizeof text) : nullptr;
  if (!translator) return;
  Executor executor;
  executor.name = name;
  executor.prepare = [translator](const ptx_function *function, const unsigned block[3], std::string *reason) {
    char why[240] = "";
    void *code = translator->translate(function, block, nullptr, why, sizeof why);
    *reason = why;
    return code;
  };
  executor.discard = translator->discard;
  executor.run_block = translator->run_block;
  list->push_back(executor);
}

const std::vector<Executor> &executors() {
  static const std::vector<Executor> list = [] {
    std::vector<Executor> found = {interpreter(&interpreter_baseline)};
#if defined(__x86_64__)
    std::string best = vgpu_interpreter_instruction_set();
    if (best != "baseline") found.push_back(interpreter(&interpreter_avx2));
    if (best == "AVX-512") found.push_back(interpreter(&interpreter_avx512));
#endif
    static const vgpu_observer silent = {};
    found.push_back(observed(&silent));
    static const vgpu_translator_host host = {VGPU_TRANSLATOR_VERSION, VGPU_AVX512, vgpu_memory_contains,
                                              vgpu_scratch_reserve, &vgpu_helpers};
    add_translator(&found, "translator", &host);
    return found;
  }();
  return list;
}

const std::vector<Executor> &all_executors() {
  static const std::vector<Executor> list = [] {
    std::vector<Executor> found = executors();
    static const vgpu_translator_host host = {VGPU_TRANSLATOR_VERSION, VGPU_AVX2, vgpu_memory_contains,
                                              vgpu_scratch_reserve, &vgpu_helpers};
    if (std::string(vgpu_interpreter_instruction_set()) == "AVX-512") add_translator(&found, "translator AVX2", &host);
    return found;
  }();
  return list;
}

Module::Module(const std::string &text) {
  module_ = ptx_parse(text.data(), text.size(), &error);
  if (!module_) return;
  segment_ = new Memory(module_->segment_bytes + 1);
  ptx_place(module_, segment_->as<void>());
  error = {};
}

Module::~Module() {
  ptx_free(module_);
  delete segment_;
}

std::string launch(const Executor &executor, const ptx_function *function, const Shape &shape,
                   const std::vector<uint64_t> &params) {
  std::string reason;
  void *code = executor.prepare(function, shape.block, &reason);
  if (!code) return "not prepared: " + reason;
  std::vector<uint64_t> buffer(params);
  buffer.resize(params.size() + 2 + function->parameter_bytes / 8);
  auto *aligned = static_cast<uint64_t *>(std::aligned_alloc(256, (buffer.size() * 8 + 255) / 256 * 256));
  std::memcpy(aligned, buffer.data(), buffer.size() * 8);
  vgpu_launch launch = {};
  launch.function = function;
  launch.code = code;
  std::memcpy(launch.grid, shape.grid, sizeof launch.grid);
  std::memcpy(launch.block, shape.block, sizeof launch.block);
  launch.dynamic_shared = shape.dynamic_shared;
  launch.params = aligned;
  launch.param_bytes = function->parameter_bytes;
  launch.multiprocessors = 2;
  launch.observer = executor.observer;
  vgpu_scratch scratch = {};
  vgpu_fault fault = {};
  bool failed = false;
  for (unsigned z = 0; z < shape.grid[2] && !failed; z++)
    for (unsigned y = 0; y < shape.grid[1] && !failed; y++)
      for (unsigned x = 0; x < shape.grid[0] && !failed; x++) {
        unsigned ctaid[3] = {x, y, z};
        failed = executor.run_block(&launch, &scratch, ctaid, 0, &fault) != 0;
      }
  vgpu_scratch_release(&scratch);
  executor.discard(code);
  std::free(aligned);
  if (!failed) return "";
  return fault.text[0] ? fault.text : "a fault without text";
}

std::string kernel(const std::string &body, int params, const std::string &before) {
  std::string text = ".version 8.0\n.target sm_86\n.address_size 64\n" + before + ".visible .entry k(";
  for (int i = 0; i < params; i++) text += (i ? ", .param .u64 p" : ".param .u64 p") + std::to_string(i);
  return text + ")\n{\n" + body + "\nret;\n}\n";
}

std::string refusal(const std::string &text, unsigned *line) {
  ptx_error error = {};
  ptx_module *module = ptx_parse(text.data(), text.size(), &error);
  if (module) {
    ptx_free(module);
    return "";
  }
  if (line) *line = error.line;
  return error.reason;
}

/* ---- one instruction ---- */

static std::vector<uint64_t> special_values(Values values) {
  switch (values) {
    case Values::integers:
      return {0,
              1,
              2,
              3,
              7,
              15,
              16,
              31,
              32,
              33,
              63,
              64,
              65,
              127,
              128,
              255,
              256,
              0x7fff,
              0x8000,
              0xffff,
              0x10000,
              0x7fffffff,
              0x80000000,
              0xffffffff,
              0x100000000,
              0x7fffffffffffffff,
              0x8000000000000000,
              0xffffffffffffffff,
              0xfffffffffffffffe,
              0x123456789abcdef,
              0xfedcba9876543210,
              0xffffffff80000000,
              0x00000000ffff8000};
    case Values::f32: {
      std::vector<uint64_t> list;
      for (uint32_t v :
           {0u,          1u,          0x00400000u, 0x007fffffu, 0x00800000u, 0x00800001u, 0x33800000u, 0x3effffffu,
            0x3f000000u, 0x3f000001u, 0x3f7fffffu, 0x3f800000u, 0x3f800001u, 0x3fc00000u, 0x40000000u, 0x40200000u,
            0x4b000001u, 0x4b7fffffu, 0x4effffffu, 0x4f000000u, 0x4f7fffffu, 0x4f800000u, 0x5f000000u, 0x5f800000u,
            0x7f7fffffu, 0x7f800000u, 0x7fc00000u, 0x7f800001u, 0x42fe0000u, 0x43000000u, 0x477fe000u, 0x477ff000u,
            0x477fefffu, 0x38800000u, 0x33000000u, 0x33000001u}) {
        list.push_back(v);
        list.push_back(v | 0x80000000u);
      }
      return list;
    }
    default: {
      std::vector<uint64_t> list;
      for (uint64_t v : {UINT64_C(0),
                         UINT64_C(1),
                         UINT64_C(0x000fffffffffffff),
                         UINT64_C(0x0010000000000000),
                         UINT64_C(0x3fdfffffffffffff),
                         UINT64_C(0x3fe0000000000000),
                         UINT64_C(0x3ff0000000000000),
                         UINT64_C(0x3ff0000010000000),
                         UINT64_C(0x3ff0000010000001),
                         UINT64_C(0x3ff8000000000000),
                         UINT64_C(0x41dfffffffc00000),
                         UINT64_C(0x41e0000000000000),
                         UINT64_C(0x41efffffffe00000),
                         UINT64_C(0x43e0000000000000),
                         UINT64_C(0x43f0000000000000),
                         UINT64_C(0x43dfffffffffffff),
                         UINT64_C(0x47efffffe0000000),
                         UINT64_C(0x47effffff0000000),
                         UINT64_C(0x3690000000000000),
                         UINT64_C(0x36a0000000000000),
                         UINT64_C(0x380fffffc0000000),
                         UINT64_C(0x7fefffffffffffff),
                         UINT64_C(0x7ff0000000000000),
                         UINT64_C(0x7ff8000000000000)}) {
        list.push_back(v);
        list.push_back(v | UINT64_C(0x8000000000000000));
      }
      return list;
    }
  }
}

std::vector<Input> inputs(Values values) {
  std::vector<uint64_t> special = special_values(values);
  std::mt19937_64 random(20260101);
  auto any = [&]() -> uint64_t {
    uint64_t word = random();
    switch (values) {
      case Values::integers:
        return word >> (random() % 64);
      case Values::f32: {
        uint32_t exponent = random() % 4 ? 100 + random() % 56 : random() % 256;
        return ((word & 0x807fffff) | exponent << 23) & 0xffffffff;
      }
      default: {
        uint64_t exponent = random() % 4 ? 990 + random() % 70 : random() % 2048;
        return (word & UINT64_C(0x800fffffffffffff)) | exponent << 52;
      }
    }
  };
  std::vector<Input> list;
  for (uint64_t a : special)
    for (uint64_t b : special)
      list.push_back({a, b, special[random() % special.size()], special[random() % special.size()]});
  for (int i = 0; i < 700; i++) list.push_back({any(), any(), any(), any()});
  for (int i = 0; i < 300; i++) { /* sums that cancel, near halves */
    Input x = {any(), any(), any(), random() % 70};
    if (i % 2) x.b = x.a ^ (values == Values::f64 ? UINT64_C(1) << 63 : UINT64_C(0x80000000));
    list.push_back(x);
  }
  return list;
}

std::vector<uint64_t> evaluate(const Executor &executor, const std::string &body, int width,
                               const std::vector<int> &widths, const std::vector<Input> &list, bool divergent) {
  static const char *const names[] = {"%a", "%b", "%c", "%e"};
  std::string text =
      ".reg .pred %p, %q, %skip, %more; .reg .b32 %r<10>, %n<6>; .reg .b64 %l<10>, %m<6>; .reg .b16 %h<4>;\n";
  text += ".reg .b" + std::to_string(width) + " %d;\n";
  for (size_t i = 0; i < widths.size(); i++) text += ".reg .b" + std::to_string(widths[i]) + " " + names[i] + ";\n";
  text +=
      "ld.param.u64 %m0, [p0]; ld.param.u64 %m1, [p1]; ld.param.u32 %n0, [p2];\n"
      "mov.u32 %n1, %ctaid.x; mov.u32 %n2, %ntid.x; mov.u32 %n3, %tid.x; mad.lo.u32 %n4, %n1, %n2, %n3;\n"
      "setp.ge.u32 %skip, %n4, %n0; @%skip bra END;\n"
      "mul.wide.u32 %m2, %n4, 32; add.u64 %m0, %m0, %m2; mul.wide.u32 %m3, %n4, 8; add.u64 %m1, %m1, %m3;\n";
  for (size_t i = 0; i < widths.size(); i++)
    text += "ld.global.b" + std::to_string(widths[i]) + " " + names[i] + ", [%m0+" + std::to_string(8 * i) + "];\n";
  text += "mov.b" + std::to_string(width) + " %d, 0x5a5a;\n";
  if (divergent) {
    text +=
        "and.b32 %n5, %n4, 1; setp.eq.u32 %more, %n5, 1; @%more bra ODD; bra.uni EVEN;\nODD:\n" + body + "\nEVEN:\n";
  } else {
    text += body + "\n";
  }
  text += "st.global.b" + std::to_string(width) + " [%m1], %d;\nEND:\n";
  Module module(kernel(text, 3));
  EXPECT_STREQ(module.error.reason, "") << body << " at line " << module.error.line;
  if (!module.get()) return {};
  Memory in(list.size() * sizeof(Input)), out(list.size() * 8);
  std::memcpy(in.as<void>(), list.data(), list.size() * sizeof(Input));
  std::memset(out.as<void>(), 0, list.size() * 8);
  Shape shape;
  shape.block[0] = 96;
  shape.grid[0] = static_cast<unsigned>((list.size() + 95) / 96);
  std::string fault = launch(executor, module.function("k"), shape, {in.address(), out.address(), list.size()});
  /* The translator may leave a form to the interpreter, which then runs the kernel. */
  if (executor.name.rfind("translator", 0) == 0 && fault.rfind("not prepared", 0) == 0) return {};
  EXPECT_EQ(fault, "") << body << " on " << executor.name;
  return std::vector<uint64_t>(out.as<uint64_t>(), out.as<uint64_t>() + list.size());
}

static bool equal(uint64_t x, uint64_t y, Same same) {
  if (x == y) return true;
  if (same == Same::f32) return std::isnan(f32(x)) && std::isnan(f32(y));
  return same == Same::f64 && std::isnan(f64(x)) && std::isnan(f64(y));
}

void check(const std::string &body, int width, const std::vector<int> &widths, Values values,
           const std::function<uint64_t(const Input &)> &reference, Same same) {
  std::vector<Input> list = inputs(values);
  for (Input &input : list) {
    uint64_t *fields[] = {&input.a, &input.b, &input.c, &input.e};
    for (size_t i = 0; i < widths.size(); i++)
      if (widths[i] < 64) *fields[i] &= (UINT64_C(1) << widths[i]) - 1;
  }
  for (const Executor &executor : executors()) {
    for (bool divergent : {false, true}) {
      std::vector<uint64_t> results = evaluate(executor, body, width, widths, list, divergent);
      if (results.empty()) break;
      int shown = 0;
      for (size_t i = 0; i < list.size() && shown < 3; i++) {
        bool active = !divergent || i % 2 == 1;
        uint64_t expected = active ? reference(list[i]) : 0x5a5a;
        if (width < 64) expected &= (UINT64_C(1) << width) - 1;
        if (equal(results[i], expected, active ? same : Same::bits)) continue;
        shown++;
        ADD_FAILURE() << body << " on " << executor.name << (divergent ? ", odd lanes" : "") << std::hex << ": a=0x"
                      << list[i].a << " b=0x" << list[i].b << " c=0x" << list[i].c << " e=0x" << list[i].e
                      << " gives 0x" << results[i] << ", expected 0x" << expected;
      }
    }
  }
}

}  // namespace ptx
