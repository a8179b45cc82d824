/* Machine code in unfriendly surroundings: an address space full of holes, kernels that do not end, folders of kept
 * code that others use at the same time or that hold the work of another translator. */
#include <dirent.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/vgpu/ptx_support.h"

extern "C" {
#include "engine/vgpu/helpers.h"
#include "engine/vgpu/memory.h"
#include "engine/vgpu/translate.h"
}

namespace {

using ptx::Executor;
using ptx::Memory;
using ptx::Module;

std::vector<const Executor *> translators() {
  std::vector<const Executor *> found;
  for (const Executor &executor : ptx::all_executors())
    if (executor.name.rfind("translator", 0) == 0) found.push_back(&executor);
  return found;
}

constexpr size_t gigabyte = size_t{1} << 30;

/* Adds 2^-2 .. 2^-9 and so on to the lane number: constants that the code loads from its own data. */
std::string kernel_with_constants(int salt) {
  std::string body = "ld.param.u64 %rd0, [p0];\nmov.u32 %r0, %laneid;\ncvt.rn.f32.u32 %f0, %r0;\n";
  for (int i = 0; i < 64; i++) {
    char line[80];
    std::snprintf(line, sizeof line, "fma.rn.f32 %%f0, %%f0, 0f3F%06X, 0f40%06X;\n", (i * 7919 + salt) & 0x7fffff,
                  (i * 104729 + salt) & 0x7fffff);
    body += line;
  }
  return ".version 9.0\n.target sm_86\n.address_size 64\n.visible .entry k(.param .u64 p0) {\n"
         ".reg .f32 %f<1>; .reg .b32 %r<1>; .reg .b64 %rd<2>;\n" +
         body + "mul.wide.u32 %rd1, %r0, 4;\nadd.u64 %rd0, %rd0, %rd1;\nst.global.f32 [%rd0], %f0;\nret;\n}\n";
}

std::vector<float> run_lanes(const Executor &executor, const Module &module) {
  Memory out(128);
  std::memset(out.as<void>(), 0, 128);
  EXPECT_EQ(ptx::launch(executor, module.function("k"), {}, {out.address()}), "") << executor.name;
  return std::vector<float>(out.as<float>(), out.as<float>() + 32);
}

/* Address space that is taken, but for a hole at its upper end, above which nothing is free. The next mapping that fits
 * goes there, the others below: two mappings that belong together would end up terabytes apart. */
class Hole {
 public:
  explicit Hole(size_t bytes) {
    char *taken = take(2048 * gigabyte);
    if (!taken) return;
    char *end = taken + 2048 * gigabyte;
    for (size_t size = gigabyte; size >= 4096; size /= 4) {
      char *more;
      while ((more = take(size)) > end) {
      }
    }
    made_ = munmap(end - bytes, bytes) == 0;
    taken_.front().second -= bytes;
  }
  ~Hole() {
    for (auto [start, bytes] : taken_) munmap(start, bytes);
  }
  Hole(const Hole &) = delete;
  Hole &operator=(const Hole &) = delete;
  bool made() const { return made_; }

 private:
  char *take(size_t bytes) {
    void *place = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED) return nullptr;
    taken_.emplace_back(place, bytes);
    return static_cast<char *>(place);
  }
  bool made_ = false;
  std::vector<std::pair<void *, size_t>> taken_;
};

TEST(TranslateRobust, ManyModulesWithHolesInTheAddressSpace) {
  ASSERT_FALSE(translators().empty()) << "libnoprop_translate.so is missing";
  const Executor &reference = ptx::executors().front(), &translator = *translators().front();
  std::vector<std::pair<std::unique_ptr<Module>, void *>> loaded;
  const unsigned block[3] = {32, 1, 1};
  for (int i = 0; i < 24; i++) {
    auto module = std::make_unique<Module>(kernel_with_constants(i * 31337));
    ASSERT_NE(module->get(), nullptr) << module->error.reason;
    const std::vector<float> expected = run_lanes(reference, *module);
    /* One page and more: somewhere between the size of the code and that of code and constants. */
    Hole hole(4096u * static_cast<size_t>(1 + i));
    ASSERT_TRUE(hole.made());
    std::string reason;
    void *code = translator.prepare(module->function("k"), block, &reason);
    ASSERT_NE(code, nullptr) << reason;
    EXPECT_EQ(run_lanes(translator, *module), expected) << "hole of " << 1 + i << " pages";
    loaded.emplace_back(std::move(module), code);
  }
  for (auto &[module, code] : loaded) translator.discard(code);
}

/* Code that can be executed cannot be written, and data of it neither. */
TEST(TranslateRobust, CodeIsNeverWritableAndExecutable) {
  ASSERT_FALSE(translators().empty());
  Module module(kernel_with_constants(1));
  const unsigned block[3] = {32, 1, 1};
  std::string reason;
  void *code = translators().front()->prepare(module.function("k"), block, &reason);
  ASSERT_NE(code, nullptr) << reason;
  std::ifstream maps("/proc/self/maps");
  bool executable = false;
  for (std::string line; std::getline(maps, line);) {
    const std::string access = line.substr(line.find(' ') + 1, 3);
    EXPECT_NE(access, "rwx") << line;
    executable =
        executable || (access == "r-x" && line.find('/') == std::string::npos && line.find('[') == std::string::npos);
  }
  EXPECT_TRUE(executable) << "the code is not where this test looks";
  translators().front()->discard(code);
}

/* ---- kernels that do not end ---- */

struct Endless {
  const char *name, *body;
};

/* All executors, as all look for the flag. */
class ExecutorStop : public testing::TestWithParam<Endless> {};

TEST_P(ExecutorStop, EndsSoonAfterTheFlagIsSet) {
  Module module(ptx::kernel(std::string(".reg .b32 %r<2>; .reg .b64 %l<2>; .reg .pred %p;\n") + GetParam().body));
  ASSERT_NE(module.get(), nullptr) << module.error.line << ": " << module.error.reason;
  Memory out(4096);
  for (const Executor &choice : ptx::all_executors()) {
    const Executor *executor = &choice;
    SCOPED_TRACE(executor->name);
    const unsigned block[3] = {64, 1, 1}, ctaid[3] = {0, 0, 0};
    std::string reason;
    void *code = executor->prepare(module.function("k"), block, &reason);
    ASSERT_NE(code, nullptr) << reason;
    alignas(16) uint64_t params[2] = {out.address(), 0};
    int stop = VGPU_STOP_NO;
    vgpu_launch launch = {};
    launch.function = module.function("k");
    launch.code = code;
    for (int i = 0; i < 3; i++) launch.grid[i] = 1, launch.block[i] = block[i];
    launch.params = params;
    launch.param_bytes = 8;
    launch.stop = &stop;
    launch.observer = executor->observer;
    vgpu_scratch scratch = {};
    vgpu_fault fault = {};
    using clock = std::chrono::steady_clock;
    clock::time_point asked;
    std::thread watch([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      asked = clock::now();
      __atomic_store_n(&stop, VGPU_STOP_LATE, __ATOMIC_SEQ_CST);
    });
    EXPECT_EQ(executor->run_block(&launch, &scratch, ctaid, 0, &fault), -1) << "it ended by itself";
    const clock::time_point ended = clock::now();
    watch.join();
    EXPECT_EQ(fault.kind, vgpu_fault::VGPU_FAULT_STOPPED);
    EXPECT_NE(std::string(fault.text).find("time limit"), std::string::npos) << fault.text;
    EXPECT_LT(ended - asked, std::chrono::seconds(2));
    vgpu_scratch_release(&scratch);
    executor->discard(code);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Loops, ExecutorStop,
    testing::Values(
        Endless{"Forever", "L: add.u32 %r1, %r1, 1;\nbra L;"},
        Endless{"CountedFor64Bits",
                "mov.u64 %l1, 0;\nL: add.u64 %l1, %l1, 1;\nsetp.ne.u64 %p, %l1, 0x7000000000000000;\n@%p bra L;"},
        Endless{"CounterThatSkipsItsEnd",
                "mov.u32 %r1, 1;\nL: add.u32 %r1, %r1, 2;\nsetp.ne.u32 %p, %r1, 2000000000;\n@%p bra L;"},
        Endless{"LanesPart", "mov.u32 %r1, %tid.x;\nL: xor.b32 %r1, %r1, 1;\nsetp.lt.u32 %p, %r1, 8;\n@%p bra L;"},
        Endless{"WaitsForMemory",
                "ld.param.u64 %l1, [p0];\nL: ld.volatile.global.u32 %r1, [%l1];\n"
                "setp.ne.u32 %p, %r1, 77;\n@%p bra L;"},
        Endless{"NestedShortLoops",
                "L: mov.u32 %r1, 0;\nM: add.u32 %r1, %r1, 1;\nsetp.lt.u32 %p, %r1, 10;\n@%p bra M;\nbra L;"},
        Endless{"WithBarriers", "L: bar.sync 0;\nbra L;"}),
    [](const testing::TestParamInfo<Endless> &info) { return info.param.name; });

/* ---- the folder of kept code ---- */

class TranslateFolder : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/translate-robust-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    module_ = std::make_unique<Module>(kernel_with_constants(5));
    ASSERT_NE(module_->get(), nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto &entry : std::filesystem::directory_iterator(folder_)) {
      if (entry.path().extension() != ".so") names.push_back(entry.path().filename());
    }
    return names;
  }
  /* Whether the plug-in makes code that works, keeping it in the folder. */
  bool works(const std::string &plugin, enum vgpu_instructions instructions) {
    void *library = dlopen(plugin.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) return false;
    static vgpu_translator_host host[2] = {
        {VGPU_TRANSLATOR_VERSION, VGPU_AVX2, vgpu_memory_contains, vgpu_scratch_reserve, &vgpu_helpers},
        {VGPU_TRANSLATOR_VERSION, VGPU_AVX512, vgpu_memory_contains, vgpu_scratch_reserve, &vgpu_helpers}};
    char reason[240] = "";
    auto get = reinterpret_cast<vgpu_translator_function>(dlsym(library, VGPU_TRANSLATOR_SYMBOL));
    const vgpu_translator *translator = get(&host[instructions == VGPU_AVX512], reason, sizeof reason);
    if (!translator) return false;
    Executor executor;
    executor.name = plugin;
    executor.prepare = [&](const ptx_function *function, const unsigned block[3], std::string *why) {
      char text[240] = "";
      void *code = translator->translate(function, block, folder_.c_str(), text, sizeof text);
      *why = text;
      return code;
    };
    executor.discard = translator->discard;
    executor.run_block = translator->run_block;
    return run_lanes(executor, *module_) == run_lanes(ptx::executors().front(), *module_);
  }
  const std::string plugin_ = NOPROP_BINARY_DIR "/libnoprop_translate.so";
  std::string folder_;
  std::unique_ptr<Module> module_;
};

/* In a process of its own, which the next test starts. */
TEST_F(TranslateFolder, DISABLED_WorksInTheFolderGiven) {
  const std::string own = folder_;
  folder_ = std::getenv("TRANSLATE_FOLDER");
  EXPECT_TRUE(works(plugin_, VGPU_AVX2));
  folder_ = own;
}

TEST_F(TranslateFolder, ProcessesMayShareIt) {
  ASSERT_TRUE(std::filesystem::exists(plugin_));
  const std::string command = "TRANSLATE_FOLDER='" + folder_ + "' '" +
                              std::filesystem::read_symlink("/proc/self/exe").string() +
                              "' --gtest_also_run_disabled_tests "
                              "--gtest_filter=TranslateFolder.DISABLED_WorksInTheFolderGiven > /dev/null";
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int i = 0; i < 5; i++) threads.emplace_back([&] { failures += std::system(command.c_str()) != 0; });
  for (std::thread &thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(files().size(), 1u) << "one file for one kernel, and nothing left over";
}

TEST_F(TranslateFolder, HoldsCodeOfEachInstructionSet) {
  ASSERT_TRUE(works(plugin_, VGPU_AVX2));
  EXPECT_EQ(files().size(), 1u);
  if (translators().size() < 2) GTEST_SKIP() << "this processor has one instruction set that is translated for";
  ASSERT_TRUE(works(plugin_, VGPU_AVX512));
  EXPECT_EQ(files().size(), 2u) << "code for other instructions must not be taken for one's own";
}

/* A copy with a byte more stands for the next build. */
TEST_F(TranslateFolder, HoldsCodeOfEachBuildOfTheTranslator) {
  ASSERT_TRUE(works(plugin_, VGPU_AVX2));
  EXPECT_EQ(files().size(), 1u);
  const std::string other = folder_ + "/other.so";
  std::filesystem::copy_file(plugin_, other);
  std::ofstream(other, std::ios::app) << 'x';
  ASSERT_TRUE(works(other, VGPU_AVX2));
  EXPECT_EQ(files().size(), 2u);
}

}  // namespace
