#include "tests/foreign/support.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace foreign {

static const std::string kFolder = NOPROP_BINARY_DIR "/foreign/";

void require(CUresult result, const char *call) {
  if (result == CUDA_SUCCESS) return;
  throw std::runtime_error(std::string(call) + " returned " + std::to_string(result) + ": " + vgpu_last_message());
}

Module::Module(const std::string &name) {
  std::ifstream file(kFolder + name + ".ptx");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  CUDA(cuModuleLoadData, &module_, text.c_str());
}

Module::~Module() { CU(cuModuleUnload)(module_); }

void Module::run(const std::string &kernel, unsigned grid, unsigned block, bool cooperative, void **parameters) const {
  CUfunction function = nullptr;
  CUDA(cuModuleGetFunction, &function, module_, kernel.c_str());
  CUlaunchAttribute attribute = {};
  attribute.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
  attribute.value.cooperative = cooperative;
  CUlaunchConfig config = {};
  config.gridDimX = grid, config.blockDimX = block;
  config.gridDimY = config.gridDimZ = config.blockDimY = config.blockDimZ = 1;
  config.attrs = &attribute, config.numAttrs = 1;
  CUDA(cuLaunchKernelEx, &config, function, parameters, nullptr);
  require(CU(cuCtxSynchronize)(), "cuCtxSynchronize");
}

bool Test::built(const std::string &module) { return std::filesystem::exists(kFolder + module + ".ptx"); }

void Test::SetUp() {
  /* A device that takes the PTX of all architectures the kernels are compiled for. */
  setenv("NOPROP_VGPU_CAPABILITY", "90", 1);
  CUcontext context = nullptr;
  CUDA(cuInit, 0);
  CUDA(cuDevicePrimaryCtxRetain, &context, 0);
  CUDA(cuCtxSetCurrent, context);
}

void Test::TearDown() {
  CU(cuDevicePrimaryCtxRelease)(0);
  CU(cuCtxSetCurrent)(nullptr);
}

}  // namespace foreign
