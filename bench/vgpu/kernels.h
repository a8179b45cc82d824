/* The kernels of the benchmark: a loop around instructions of one class, as PTX. */
#ifndef BENCH_VGPU_KERNELS_H
#define BENCH_VGPU_KERNELS_H

#include <string>
#include <vector>

/* k(u64 memory, u32 turns): every turn executes `count` warp instructions of the class per warp, each worth `flops`
 * floating-point operations of a warp. memory: 1 MiB of zeros. */
struct BenchKernel {
  std::string name, what, ptx;
  int count;
  double flops;
};

std::vector<BenchKernel> bench_kernels();

#endif
