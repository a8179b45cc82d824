/* Driver API of the virtual GPU: fatbins, linking, libraries. */
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/vgpu/api_support.h"

using ApiModuleTest = ApiTest;

/* One PTX function whose kernel stores `value`. */
static std::string storing(unsigned value, const char *target = "sm_75") {
  return std::string(".version 8.0\n.target ") + target +
         "\n.address_size 64\n"
         ".visible .entry store(.param .u64 p)\n"
         "{\n"
         "  .reg .b32 %r<2>; .reg .b64 %rd<2>;\n"
         "  ld.param.u64 %rd1, [p]; mov.u32 %r1, " +
         std::to_string(value) +
         "; st.global.u32 [%rd1], %r1;\n"
         "  ret;\n"
         "}\n";
}

template <typename T>
static void put(std::string *to, T value) {
  to->append(reinterpret_cast<const char *>(&value), sizeof value);
}

/* An entry of a container; `packed` is what it holds, `size` the bytes it unpacks to. */
static std::string entry(unsigned architecture, uint64_t flags, const std::string &packed, size_t size, int kind = 1) {
  std::string bytes, body = packed;
  while (body.size() % 8 != 0) body += '\0';
  put<uint16_t>(&bytes, static_cast<uint16_t>(kind));
  put<uint16_t>(&bytes, 0x101);
  put<uint32_t>(&bytes, 64);
  put<uint64_t>(&bytes, body.size());
  put<uint32_t>(&bytes, static_cast<uint32_t>(packed.size()));
  put<uint32_t>(&bytes, 64);
  put<uint32_t>(&bytes, 0x90000);
  put<uint32_t>(&bytes, architecture);
  put<uint64_t>(&bytes, 0);
  put<uint64_t>(&bytes, flags | 0x11);
  put<uint64_t>(&bytes, 0);
  put<uint64_t>(&bytes, size);
  return bytes + body;
}

static std::string container(const std::string &entries) {
  std::string bytes;
  put<uint32_t>(&bytes, 0xba55ed50);
  put<uint16_t>(&bytes, 1);
  put<uint16_t>(&bytes, 16);
  put<uint64_t>(&bytes, entries.size());
  return bytes + entries;
}

class ApiFatbinTest : public ApiModuleTest {
 protected:
  /* What the container's kernel "store" stores; 0 if it cannot be loaded. */
  unsigned stored(const std::string &image) {
    CUmodule loaded;
    CUfunction function;
    if (CU(cuModuleLoadFatBinary)(&loaded, image.data()) != CUDA_SUCCESS) return 0;
    EXPECT_CUDA(CU(cuModuleGetFunction)(&function, loaded, "store"));
    void *parameters[] = {&numbers};
    EXPECT_CUDA(CU(cuLaunchKernel)(function, 1, 1, 1, 1, 1, 1, 0, nullptr, parameters, nullptr));
    EXPECT_CUDA(CU(cuModuleUnload)(loaded));
    return number(0);
  }
};

TEST_F(ApiFatbinTest, TheNewestPtxThatFitsIsTaken) {
  const std::string old_text = storing(75), fit = storing(86), newer = storing(90, "sm_90");
  const std::string all =
      entry(80, 0, "\177ELF", 4, 2) + entry(75, 0, old_text, 0) + entry(86, 0, fit, 0) + entry(90, 0, newer, 0);
  EXPECT_EQ(stored(container(all)), 86u);
  EXPECT_EQ(stored(container(entry(75, 0, old_text, 0))), 75u);
  EXPECT_EQ(stored(container(entry(90, 0, newer, 0))), 0u);
  EXPECT_NE(std::string(vgpu_last_message()).find("sm_90"), std::string::npos) << vgpu_last_message();
  EXPECT_EQ(stored(container(entry(80, 0, "\177ELF", 4, 2))), 0u);
  EXPECT_NE(std::string(vgpu_last_message()).find("machine code only"), std::string::npos) << vgpu_last_message();
}

TEST_F(ApiFatbinTest, Lz4IsUnpacked) {
  /* Literals, then a match that repeats the line feed (overlapping), then the rest as literals. */
  std::string text = storing(44), head = text.substr(0, 13), rest = text.substr(13), packed, wanted;
  wanted = head + std::string(20, '\n') + rest;
  ASSERT_EQ(head.back(), '\n');
  packed += static_cast<char>(13 << 4 | 15);
  packed += head;
  packed += std::string("\x01\x00", 2);
  packed += static_cast<char>(1); /* 15 + 1 + 4 = 20 */
  packed += static_cast<char>(0xf0);
  for (size_t left = rest.size() - 15;; left -= 255) {
    packed += static_cast<char>(left < 255 ? left : 255);
    if (left < 255) break;
  }
  packed += rest;
  EXPECT_EQ(stored(container(entry(75, 0x2000, packed, wanted.size()))), 44u) << vgpu_last_message();
  EXPECT_EQ(stored(container(entry(75, 0x2000, packed, wanted.size() + 1))), 0u) << "damaged";
}

TEST_F(ApiFatbinTest, WhatNvccWritesIsRead) {
  if (std::system("nvcc --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "nvcc is not in PATH";
  std::string form = (std::filesystem::temp_directory_path() / "noprop-test-XXXXXX").string();
  const std::string folder = mkdtemp(form.data());
  std::ofstream(folder + "/a.cu") << "extern \"C\" __global__ void store(unsigned *p) { *p = __CUDA_ARCH__; }\n";
  for (const char *mode : {"none", "default"}) {
    const std::string file = folder + "/" + mode + ".fatbin";
    const std::string command =
        "nvcc --fatbin -Xfatbin=-compress-mode=" + std::string(mode) +
        " -gencode arch=compute_75,code=compute_75 -gencode arch=compute_86,code=compute_86 -o '" + file + "' '" +
        folder + "/a.cu' > /dev/null 2>&1";
    if (std::system(command.c_str()) != 0) continue; /* an nvcc without the option */
    std::stringstream image;
    image << std::ifstream(file, std::ios::binary).rdbuf();
    EXPECT_EQ(stored(image.str()), 860u) << mode << ": " << vgpu_last_message();
    CUmodule loaded;
    EXPECT_CUDA(CU(cuModuleLoad)(&loaded, file.c_str()));
  }
  std::filesystem::remove_all(folder);
}

/* ---- linking ---- */

static std::string head() { return ".version 8.0\n.target sm_75\n.address_size 64\n"; }

/* A kernel that stores add(numbers[0], 5) + offset, both defined elsewhere; a variable of its own named `own`. */
static std::string caller() {
  return head() +
         ".extern .func (.param .b32 r) add(.param .b32 a, .param .b32 b);\n"
         ".extern .global .align 4 .u32 offset;\n"
         ".global .align 4 .u32 own = 1000;\n"
         ".weak .func (.param .b32 r) shared_helper(.param .b32 a)\n"
         "{ .reg .b32 %r<2>; ld.param.b32 %r1, [a]; st.param.b32 [r], %r1; ret; }\n"
         ".visible .entry combine(.param .u64 p)\n"
         "{\n"
         "  .reg .b32 %r<8>; .reg .b64 %rd<2>;\n"
         "  ld.param.u64 %rd1, [p]; ld.global.u32 %r1, [%rd1]; mov.u32 %r2, 5;\n"
         "  { .param .b32 a; .param .b32 b; .param .b32 r;\n"
         "    st.param.b32 [a], %r1; st.param.b32 [b], %r2;\n"
         "    call.uni (r), add, (a, b);\n"
         "    ld.param.b32 %r3, [r]; }\n"
         "  ld.global.u32 %r4, [offset]; add.u32 %r3, %r3, %r4;\n"
         "  ld.global.u32 %r5, [own]; add.u32 %r3, %r3, %r5;\n"
         "  st.global.u32 [%rd1], %r3;\n"
         "  ret;\n"
         "}\n";
}

static std::string callee() {
  return head() +
         ".global .align 4 .u32 own = 70000;\n"
         ".visible .global .align 4 .u32 offset = 300;\n"
         ".weak .func (.param .b32 r) shared_helper(.param .b32 a)\n"
         "{ .reg .b32 %r<2>; ld.param.b32 %r1, [a]; st.param.b32 [r], %r1; ret; }\n"
         ".visible .func (.param .b32 r) add(.param .b32 a, .param .b32 b)\n"
         "{\n"
         "  .reg .b32 %r<5>;\n"
         "  ld.param.b32 %r1, [a]; ld.param.b32 %r2, [b]; add.u32 %r3, %r1, %r2;\n"
         "  ld.global.u32 %r4, [own]; add.u32 %r3, %r3, %r4;\n"
         "  st.param.b32 [r], %r3;\n"
         "  ret;\n"
         "}\n";
}

class ApiLinkTest : public ApiModuleTest {
 protected:
  void SetUp() override {
    ApiModuleTest::SetUp();
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    values[0] = log;
    values[1] = reinterpret_cast<void *>(sizeof log);
    ASSERT_CUDA(CU(cuLinkCreate)(2, options, values, &state));
  }
  void TearDown() override {
    EXPECT_CUDA(CU(cuLinkDestroy)(state));
    ApiModuleTest::TearDown();
  }
  CUresult add(std::string text, const char *name) {
    return CU(cuLinkAddData)(state, CU_JIT_INPUT_PTX, text.data(), text.size() + 1, name, 0, nullptr, nullptr);
  }
  CUlinkState state = nullptr;
  void *values[2];
  char log[500] = "";
  void *image = nullptr;
  size_t bytes = 0;
};

TEST_F(ApiLinkTest, FunctionsAndVariablesOfSeveralInputsMeet) {
  for (bool caller_first : {true, false}) {
    if (!caller_first) {
      EXPECT_CUDA(CU(cuLinkDestroy)(state));
      ASSERT_CUDA(CU(cuLinkCreate)(0, nullptr, nullptr, &state));
    }
    ASSERT_CUDA(add(caller_first ? caller() : callee(), "first"));
    ASSERT_CUDA(add(caller_first ? callee() : caller(), "second"));
    ASSERT_CUDA(CU(cuLinkComplete)(state, &image, &bytes));
    EXPECT_EQ(bytes, strlen(static_cast<char *>(image)) + 1);
    CUmodule linked;
    CUfunction combine;
    ASSERT_CUDA(CU(cuModuleLoadData)(&linked, image));
    ASSERT_CUDA(CU(cuModuleGetFunction)(&combine, linked, "combine"));
    ASSERT_CUDA(CU(cuMemsetD32)(numbers, 2, 1));
    void *parameters[] = {&numbers};
    ASSERT_CUDA(CU(cuLaunchKernel)(combine, 1, 1, 1, 1, 1, 1, 0, nullptr, parameters, nullptr));
    EXPECT_EQ(number(0), 2u + 5 + 300 + 1000 + 70000);
  }
}

TEST_F(ApiLinkTest, WhatIsMissingOrDoubleIsAnError) {
  ASSERT_CUDA(add(caller(), "first"));
  EXPECT_EQ(CU(cuLinkComplete)(state, &image, &bytes), CUDA_ERROR_INVALID_PTX);
  EXPECT_NE(std::string(log), "");
  ASSERT_CUDA(add(callee(), "second"));
  ASSERT_CUDA(add(callee(), "third"));
  EXPECT_EQ(CU(cuLinkComplete)(state, &image, &bytes), CUDA_ERROR_INVALID_PTX);
  EXPECT_NE(std::string(vgpu_last_message()).find("'offset' is defined in second and in third"), std::string::npos)
      << vgpu_last_message();
  char machine_code[] = "\177ELF machine code";
  EXPECT_EQ(CU(cuLinkAddData)(state, CU_JIT_INPUT_CUBIN, machine_code, sizeof machine_code, "x", 0, nullptr, nullptr),
            CUDA_ERROR_NO_BINARY_FOR_GPU);
}

/* ---- libraries ---- */

TEST_F(ApiModuleTest, KernelsOfALibraryAreLaunchedAsFunctions) {
  CUlibrary library;
  CUkernel kernel;
  CUfunction function;
  CUmodule of;
  unsigned kernels = 0;
  int value = 0;
  const std::string text = storing(12);
  ASSERT_CUDA(CU(cuLibraryLoadData)(&library, text.c_str(), nullptr, nullptr, 0, nullptr, nullptr, 0));
  EXPECT_CUDA(CU(cuLibraryGetKernelCount)(&kernels, library));
  EXPECT_EQ(kernels, 1u);
  ASSERT_CUDA(CU(cuLibraryGetKernel)(&kernel, library, "store"));
  EXPECT_EQ(CU(cuLibraryGetKernel)(&kernel, library, "absent"), CUDA_ERROR_NOT_FOUND);
  EXPECT_CUDA(CU(cuKernelGetAttribute)(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, kernel, 0));
  EXPECT_EQ(value, 1024);
  ASSERT_CUDA(CU(cuKernelGetFunction)(&function, kernel));
  ASSERT_CUDA(CU(cuLibraryGetModule)(&of, library));
  size_t offset = 1, size = 0;
  EXPECT_CUDA(CU(cuKernelGetParamInfo)(kernel, 0, &offset, &size));
  EXPECT_EQ(offset, 0u);
  EXPECT_EQ(size, 8u);
  EXPECT_EQ(CU(cuKernelGetParamInfo)(kernel, 1, &offset, &size), CUDA_ERROR_INVALID_VALUE);
  void *parameters[] = {&numbers};
  ASSERT_CUDA(
      CU(cuLaunchKernel)(reinterpret_cast<CUfunction>(kernel), 1, 1, 1, 1, 1, 1, 0, nullptr, parameters, nullptr));
  EXPECT_EQ(number(0), 12u);
  EXPECT_CUDA(CU(cuLibraryUnload)(library));
}

TEST_F(ApiModuleTest, ThePotentialBlockSizeFillsTheMultiprocessor) {
  int grid = 0, block = 0, blocks = 0, multiprocessors = 0;
  ASSERT_CUDA(CU(cuDeviceGetAttribute)(&multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0));
  ASSERT_CUDA(CU(cuOccupancyMaxPotentialBlockSize)(&grid, &block, step, nullptr, 0, 0));
  ASSERT_CUDA(CU(cuOccupancyMaxActiveBlocksPerMultiprocessor)(&blocks, step, block, 0));
  EXPECT_EQ(block * blocks, 1536);
  EXPECT_EQ(grid, blocks * multiprocessors);
}
