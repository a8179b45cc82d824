/* Driver API of the virtual GPU: every function of cuda.h is there or refused with a reason, and docs/driver_api.md
 * tells which. */
#include "engine/vgpu/api_list.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/vgpu/api_support.h"

namespace {

const std::vector<std::string> kImplemented = {
#define NAME(name) #name,
    VGPU_API_LIST(NAME) VGPU_API_PER_THREAD(NAME)
#undef NAME
};

struct Refused {
  std::string name, reason;
};
const std::vector<Refused> kRefused = {
#define NAME(name, why) {#name, VGPU_NO_##why},
    VGPU_API_REFUSED(NAME)
#undef NAME
};

/* All functions that cuda.h declares, in all versions. Empty if there is no preprocessor. */
std::set<std::string> declared() {
  std::string form = (std::filesystem::temp_directory_path() / "noprop-test-XXXXXX").string();
  const std::string folder = mkdtemp(form.data());
  std::ofstream(folder + "/all.c")
      << "#define __CUDA_API_VERSION_INTERNAL\n#include <cuda.h>\n#include <cudaProfiler.h>\n";
  const std::string command =
      "cc -E -P -I'" NOPROP_CUDA_INCLUDE_DIR "' '" + folder + "/all.c' -o '" + folder + "/all.i' 2> /dev/null";
  std::set<std::string> names;
  if (std::system(command.c_str()) == 0) {
    std::stringstream text;
    text << std::ifstream(folder + "/all.i").rdbuf();
    std::string all = text.str();
    std::replace(all.begin(), all.end(), '\n', ' ');
    const std::regex declaration("CUresult\\s+(cu[A-Za-z0-9_]+)\\s*\\(");
    for (std::sregex_iterator at(all.begin(), all.end(), declaration), end; at != end; ++at) names.insert((*at)[1]);
  }
  std::filesystem::remove_all(folder);
  return names;
}

std::string wrapped(const std::vector<std::string> &names) {
  std::string text, line;
  for (const std::string &name : names) {
    if (line.size() + name.size() > 112) {
      text += line + ",\n";
      line.clear();
    }
    line += (line.empty() ? "`" : ", `") + name + "`";
    if (&name != &names.back()) continue;
    text += line + "\n";
  }
  return text;
}

/* The page, made of the lists. */
std::string page() {
  std::vector<std::string> implemented, per_thread;
  for (const std::string &name : kImplemented) {
    const bool own =
        name.size() > 5 && (name.substr(name.size() - 5) == "_ptsz" || name.substr(name.size() - 5) == "_ptds");
    (own ? per_thread : implemented).push_back(name);
  }
  std::vector<std::string> order;
  std::map<std::string, std::vector<std::string>> refused;
  for (const Refused &each : kRefused) {
    if (refused[each.reason].empty()) order.push_back(each.reason);
    refused[each.reason].push_back(each.name);
  }
  std::ostringstream out;
  out << "# The virtual GPU's driver API\n\n"
      << "Every function that `cuda.h` of CUDA 13.0 declares is exported by `libcuda.so.1`: " << implemented.size()
      << " do what\n"
      << "NVIDIA documents, " << per_thread.size()
      << " more do it for programs whose default stream is each thread's own, " << kRefused.size()
      << " fail with\n`CUDA_ERROR_NOT_SUPPORTED` and a reason (`vgpu_last_message()`). This page is made of the "
         "lists in\n`engine/vgpu/api_list.h`; a test compares it, them and `cuda.h`.\n\n"
      << "## What differs from hardware\n\n"
         "- There is one device. Device, managed and pinned memory are one kind of memory, at the same addresses for "
         "kernels\n"
         "  and program; memory of the program that was not registered is not accessible to kernels.\n"
         "- Operations of different streams overlap, but kernels run one at a time. A kernel that waits for another "
         "kernel\n"
         "  which was not launched with it (cooperatively) waits for ever.\n"
         "- Work that is submitted starts when the program waits for it or asks for it, and otherwise within about a\n"
         "  millisecond. `CUDA_LAUNCH_BLOCKING=1` makes launches wait for their kernels.\n"
         "- A graph is executed in one order that its edges allow. Events that it records happen, for those who wait "
         "for\n"
         "  them, at its end. Memory of its allocation nodes lives as long as the graph or a copy of it.\n"
         "- `cuCtxGetDevice_v2` and `cuCtxSynchronize_v2` take what is no context for the current one: programs that "
         "add\n"
         "  `_v2` to names themselves call them without it.\n"
         "- Linking takes PTX, alone or in fat binaries, and gives PTX. Machine code is refused.\n"
         "- Limits of stack, heap and printf buffer are kept and bind nothing. Stream priorities, cache preferences, "
         "advice\n"
         "  on managed memory and access policies are hints, accepted and without effect.\n\n"
      << "## Refused\n";
  for (const std::string &reason : order) {
    std::string sentence = reason;
    sentence[0] = static_cast<char>(std::toupper(sentence[0]));
    out << "\n" << sentence << ":\n\n" << wrapped(refused[reason]);
  }
  out << "\n## Implemented\n\n"
      << wrapped(implemented) << "\nFor the thread's own default stream:\n\n"
      << wrapped(per_thread);
  return out.str();
}

}  // namespace

TEST(ApiList, NoFunctionOfCudaHIsForgotten) {
  const std::set<std::string> header = declared();
  if (header.empty()) GTEST_SKIP() << "there is no C preprocessor here";
  std::set<std::string> listed(kImplemented.begin(), kImplemented.end());
  for (const Refused &each : kRefused) EXPECT_TRUE(listed.insert(each.name).second) << each.name << " is listed twice";
  EXPECT_EQ(listed.size(), kImplemented.size() + kRefused.size());
  for (const std::string &name : header) EXPECT_TRUE(listed.count(name)) << name << " is in no list";
  for (const std::string &name : listed) EXPECT_TRUE(header.count(name)) << name << " is no function of cuda.h";
  EXPECT_GT(header.size(), 600u);
}

TEST(ApiList, AllAreFoundAndExported) {
  void *library = dlopen(NOPROP_BINARY_DIR "/vgpu/libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  std::vector<std::string> names = kImplemented;
  for (const Refused &each : kRefused) names.push_back(each.name);
  for (const std::string &name : names) {
    EXPECT_NE(vgpu_symbol(name.c_str()), nullptr) << name;
    if (library != nullptr) {
      EXPECT_NE(dlsym(library, name.c_str()), nullptr) << name;
    }
  }
  if (library != nullptr) dlclose(library);
}

TEST(ApiList, RefusedFunctionsSayWhy) {
  ASSERT_CUDA(CU(cuInit)(0));
  for (const Refused &each : kRefused) {
    const auto function = reinterpret_cast<CUresult (*)()>(vgpu_symbol(each.name.c_str()));
    EXPECT_EQ(function(), CUDA_ERROR_NOT_SUPPORTED) << each.name;
    EXPECT_EQ(vgpu_last_message(), each.name + ": " + each.reason);
  }
}

/* NOPROP_WRITE_DOCS=1 writes the page anew. */
TEST(ApiList, ThePageTellsTheTruth) {
  const std::string file = NOPROP_SOURCE_DIR "/docs/driver_api.md";
  if (std::getenv("NOPROP_WRITE_DOCS") != nullptr) std::ofstream(file) << page();
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  EXPECT_TRUE(text.str() == page()) << "docs/driver_api.md is stale: NOPROP_WRITE_DOCS=1 test_vgpu "
                                       "--gtest_filter=ApiList.* writes it";
}

TEST(ApiList, NewestVersionsThatTheProgramKnowsAreFound) {
  struct {
    const char *name;
    int version;
    const char *found;
  } const cases[] = {{"cuMemAlloc", 12000, "cuMemAlloc_v2"},
                     {"cuCtxCreate", 11000, "cuCtxCreate_v2"},
                     {"cuCtxCreate", 12040, "cuCtxCreate_v3"},
                     {"cuCtxCreate", 12050, "cuCtxCreate_v4"},
                     {"cuMemPrefetchAsync", 12010, "cuMemPrefetchAsync"},
                     {"cuMemPrefetchAsync", 12020, "cuMemPrefetchAsync_v2"},
                     {"cuStreamGetCaptureInfo", 10010, "cuStreamGetCaptureInfo"},
                     {"cuStreamGetCaptureInfo", 11030, "cuStreamGetCaptureInfo_v2"},
                     {"cuStreamGetCaptureInfo", 12030, "cuStreamGetCaptureInfo_v3"},
                     {"cuGraphAddKernelNode", 11080, "cuGraphAddKernelNode"},
                     {"cuGraphAddKernelNode", 12000, "cuGraphAddKernelNode_v2"},
                     {"cuStreamBeginCapture", 10000, "cuStreamBeginCapture"},
                     {"cuStreamBeginCapture", 13000, "cuStreamBeginCapture_v2"},
                     {"cuLaunchKernel", 13000, "cuLaunchKernel"}};
  for (const auto &each : cases) {
    void *function = nullptr;
    EXPECT_CUDA(CU(cuGetProcAddress)(each.name, &function, each.version, CU_GET_PROC_ADDRESS_DEFAULT, nullptr));
    EXPECT_EQ(function, vgpu_symbol(each.found)) << each.name << " " << each.version;
  }
  void *function = nullptr;
  EXPECT_CUDA(
      CU(cuGetProcAddress)("cuMemcpyHtoD", &function, 13000, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, nullptr));
  EXPECT_EQ(function, vgpu_symbol("cuMemcpyHtoD_v2_ptds"));
  EXPECT_CUDA(CU(cuGetProcAddress)("cuInit", &function, 13000, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, nullptr));
  EXPECT_EQ(function, vgpu_symbol("cuInit"));
}

TEST(ApiList, EveryErrorHasANameAndAText) {
  std::stringstream text;
  text << std::ifstream(NOPROP_CUDA_INCLUDE_DIR "/cuda.h").rdbuf();
  const std::string all = text.str();
  const size_t begin = all.find("typedef enum cudaError_enum"), end = all.find("} CUresult", begin);
  ASSERT_NE(end, std::string::npos);
  const std::string codes = all.substr(begin, end - begin);
  const std::regex member("(CUDA_(?:SUCCESS|ERROR_[A-Z0-9_]+))\\s*=\\s*(\\d+)");
  int count = 0;
  for (std::sregex_iterator at(codes.begin(), codes.end(), member), last; at != last; ++at, ++count) {
    const char *name = nullptr, *sentence = nullptr;
    const auto code = static_cast<CUresult>(std::stoi((*at)[2]));
    EXPECT_CUDA(CU(cuGetErrorName)(code, &name));
    EXPECT_EQ((*at)[1], std::string(name));
    EXPECT_CUDA(CU(cuGetErrorString)(code, &sentence));
    EXPECT_GT(std::string(sentence).size(), 5u);
  }
  EXPECT_GT(count, 90);
}
