/* noprop/counts.h: the table of GPUs, every figure with where it was published.
 *
 * Per-clock rates and limits of a compute capability come from the CUDA C++ Programming Guide (arithmetic instructions,
 * table "Throughput of Native Arithmetic Instructions"; shared memory: 32 banks, each 32 bits per clock; appendix
 * "Compute Capabilities"), the units of allocation from the toolkit's cuda_occupancy.h. Tensor rates are dense. What is
 * not published (the L2's bandwidth of most GPUs) stays unknown, and its bound is not given. */
#include "engine/vgpu/gpus.h"

#include <ctype.h>

#define GUIDE "CUDA C++ Programming Guide, arithmetic instructions"
#define GUIDE_BANKS "CUDA C++ Programming Guide, shared memory: 32 banks of 32 bits per clock"
#define GUIDE_SCHEDULERS \
  "CUDA C++ Programming Guide, compute capabilities: four warp schedulers, one instruction per clock each"
#define TURING "NVIDIA Turing GPU Architecture, white paper"
#define T4_SHEET "NVIDIA T4, data sheet"
#define T4_BRIEF "NVIDIA T4 70W Low Profile PCIe GPU Accelerator, product brief"
#define A100_PAPER "NVIDIA A100 Tensor Core GPU Architecture, white paper, table 4"
#define A100_SHEET "NVIDIA A100 Tensor Core GPU, data sheet"
#define GA102 "NVIDIA Ampere GA102 GPU Architecture, white paper, appendix"
#define A10_SHEET "NVIDIA A10 Tensor Core GPU, data sheet"
#define A10_BRIEF "NVIDIA A10 GPU Accelerator, product brief"
#define ADA "NVIDIA Ada GPU Architecture, white paper, appendix"
#define L4_SHEET "NVIDIA L4 Tensor Core GPU, data sheet (dense: half of the figure with sparsity)"
#define L4_BRIEF "NVIDIA L4 GPU Accelerator, product brief"
#define L40S_SHEET "NVIDIA L40S, data sheet"
#define L40S_BRIEF "NVIDIA L40S GPU Accelerator, product brief"
#define H100_PAPER "NVIDIA H100 Tensor Core GPU Architecture, white paper, table 3"
#define H100_PCIE_BRIEF "NVIDIA H100 PCIe GPU, product brief"
#define H100_SHEET "NVIDIA H100 Tensor Core GPU, data sheet (dense: half of the figure with sparsity)"
#define H200_SHEET "NVIDIA H200 Tensor Core GPU, data sheet (dense: half of the figure with sparsity)"
#define B200_SHEET "NVIDIA HGX B200, data sheet (dense: half of the figure with sparsity)"
#define B200_PAPER \
  "Jarmusch and Chandrasekaran: Microbenchmarking NVIDIA's Blackwell Architecture, arXiv 2512.02189, B200"
#define B200_BUS                                                                                                      \
  "7680 bits at 2 x 3996 MHz, as its driver reports them: github.com/pytorch/ao, pull request 4002 (8 TB/s with 192 " \
  "GB)"
#define BLACKWELL_GUIDE "NVIDIA Blackwell Tuning Guide, increased L2 capacity"
#define RTX_BLACKWELL "NVIDIA RTX Blackwell GPU Architecture, white paper, appendix"
#define FROM_PEAK "from the data sheet's fp32 peak: 67e12 / (2 x 132 x 128)"
#define LUO                                                                                                       \
  "measured at 4472.3 bytes/clock on an H800 PCIe of the same chip: Luo et al., Benchmarking and Dissecting the " \
  "Nvidia "                                                                                                       \
  "Hopper GPU Architecture, arXiv 2402.13499, table V"
#define A100_L2 "NVIDIA A100 Tensor Core GPU Architecture, white paper, A100 L2 Cache: 5120 bytes/clock"
#define GRAPHS                                                                                                    \
  "NVIDIA technical blog, Constant Time Launch for Straight-Line CUDA Graphs: 2.5 microseconds for a graph, and " \
  "about "                                                                                                        \
  "1 ns for each of its nodes"

/* What the GPUs of one compute capability have in common. */
#define TURING_75                                                                                                     \
  .capability = 75, .threads_per_sm = 1024, .blocks_per_sm = 16, .registers_per_sm = 65536,                           \
  .shared_per_sm = 64 * 1024, .shared_unit = 256, .shared_overhead = 0, .fma_per_clock = {64, GUIDE},                 \
  .special_per_clock = {16, GUIDE}, .shared_per_clock = {128, GUIDE_BANKS}, .issue_per_clock = {4, GUIDE_SCHEDULERS}, \
  .launch = {2.5e-6, GRAPHS}
#define AMPERE_80                                                                                                     \
  .capability = 80, .threads_per_sm = 2048, .blocks_per_sm = 32, .registers_per_sm = 65536,                           \
  .shared_per_sm = 164 * 1024, .shared_unit = 128, .shared_overhead = 1024, .fma_per_clock = {64, GUIDE},             \
  .special_per_clock = {16, GUIDE}, .shared_per_clock = {128, GUIDE_BANKS}, .issue_per_clock = {4, GUIDE_SCHEDULERS}, \
  .launch = {2.5e-6, GRAPHS}
#define AMPERE_86                                                                                                     \
  .capability = 86, .threads_per_sm = 1536, .blocks_per_sm = 16, .registers_per_sm = 65536,                           \
  .shared_per_sm = 100 * 1024, .shared_unit = 128, .shared_overhead = 1024, .fma_per_clock = {128, GUIDE},            \
  .special_per_clock = {16, GUIDE}, .shared_per_clock = {128, GUIDE_BANKS}, .issue_per_clock = {4, GUIDE_SCHEDULERS}, \
  .launch = {2.5e-6, GRAPHS}
#define ADA_89                                                                                                        \
  .capability = 89, .threads_per_sm = 1536, .blocks_per_sm = 24, .registers_per_sm = 65536,                           \
  .shared_per_sm = 100 * 1024, .shared_unit = 128, .shared_overhead = 1024, .fma_per_clock = {128, GUIDE},            \
  .special_per_clock = {16, GUIDE}, .shared_per_clock = {128, GUIDE_BANKS}, .issue_per_clock = {4, GUIDE_SCHEDULERS}, \
  .launch = {2.5e-6, GRAPHS}
#define HOPPER_90                                                                                                     \
  .capability = 90, .threads_per_sm = 2048, .blocks_per_sm = 32, .registers_per_sm = 65536,                           \
  .shared_per_sm = 228 * 1024, .shared_unit = 128, .shared_overhead = 1024, .fma_per_clock = {128, GUIDE},            \
  .special_per_clock = {16, GUIDE}, .shared_per_clock = {128, GUIDE_BANKS}, .issue_per_clock = {4, GUIDE_SCHEDULERS}, \
  .launch = {2.5e-6, GRAPHS}
#define BLACKWELL_100                                                                                                 \
  .capability = 100, .threads_per_sm = 2048, .blocks_per_sm = 32, .registers_per_sm = 65536,                          \
  .shared_per_sm = 228 * 1024, .shared_unit = 128, .shared_overhead = 1024, .fma_per_clock = {128, GUIDE},            \
  .special_per_clock = {16, GUIDE}, .shared_per_clock = {128, GUIDE_BANKS}, .issue_per_clock = {4, GUIDE_SCHEDULERS}, \
  .launch = {2.5e-6, GRAPHS}
#define BLACKWELL_120                                                                                                 \
  .capability = 120, .threads_per_sm = 1536, .blocks_per_sm = 24, .registers_per_sm = 65536,                          \
  .shared_per_sm = 100 * 1024, .shared_unit = 128, .shared_overhead = 1024, .fma_per_clock = {128, GUIDE},            \
  .special_per_clock = {16, GUIDE}, .shared_per_clock = {128, GUIDE_BANKS}, .issue_per_clock = {4, GUIDE_SCHEDULERS}, \
  .launch = {2.5e-6, GRAPHS}

static const noprop_gpu GPUS[] = {
    {.name = "t4",
     .title = "NVIDIA T4",
     TURING_75,
     .multiprocessors = {40, TURING},
     .clock = {1590e6, T4_BRIEF},
     .peak_fp32 = {8.1e12, T4_SHEET},
     .tensor_f16 = {65e12, T4_SHEET},
     .l2_bytes = {4096 * 1024, TURING},
     .dram_bandwidth = {320e9, T4_BRIEF}},
    {.name = "a100-40",
     .title = "NVIDIA A100 SXM4 40 GB",
     AMPERE_80,
     .multiprocessors = {108, A100_PAPER},
     .clock = {1410e6, A100_PAPER},
     .peak_fp32 = {19.5e12, A100_PAPER},
     .tensor_f16 = {312e12, A100_PAPER},
     .tensor_bf16 = {312e12, A100_PAPER},
     .tensor_tf32 = {156e12, A100_PAPER},
     .l2_bytes = {40960 * 1024, A100_PAPER},
     .l2_bandwidth = {5120 * 1410e6, A100_L2},
     .dram_bandwidth = {1555e9, A100_PAPER}},
    {.name = "a100-80",
     .title = "NVIDIA A100 SXM4 80 GB",
     AMPERE_80,
     .multiprocessors = {108, A100_PAPER},
     .clock = {1410e6, A100_PAPER},
     .peak_fp32 = {19.5e12, A100_SHEET},
     .tensor_f16 = {312e12, A100_SHEET},
     .tensor_bf16 = {312e12, A100_SHEET},
     .tensor_tf32 = {156e12, A100_SHEET},
     .l2_bytes = {40960 * 1024, A100_PAPER},
     .l2_bandwidth = {5120 * 1410e6, A100_L2},
     .dram_bandwidth = {2039e9, A100_SHEET}},
    {.name = "a100-80-pcie",
     .title = "NVIDIA A100 PCIe 80 GB",
     AMPERE_80,
     .multiprocessors = {108, A100_PAPER},
     .clock = {1410e6, A100_PAPER},
     .peak_fp32 = {19.5e12, A100_SHEET},
     .tensor_f16 = {312e12, A100_SHEET},
     .tensor_bf16 = {312e12, A100_SHEET},
     .tensor_tf32 = {156e12, A100_SHEET},
     .l2_bytes = {40960 * 1024, A100_PAPER},
     .l2_bandwidth = {5120 * 1410e6, A100_L2},
     .dram_bandwidth = {1935e9, A100_SHEET}},
    {.name = "a10",
     .title = "NVIDIA A10",
     AMPERE_86,
     .multiprocessors = {72, A10_SHEET},
     .clock = {1695e6, A10_BRIEF},
     .peak_fp32 = {31.2e12, A10_SHEET},
     .tensor_f16 = {125e12, A10_SHEET},
     .tensor_bf16 = {125e12, A10_SHEET},
     .tensor_tf32 = {62.5e12, A10_SHEET},
     .l2_bytes = {6144 * 1024, GA102},
     .dram_bandwidth = {600e9, A10_SHEET}},
    {.name = "rtx-3080",
     .title = "NVIDIA GeForce RTX 3080 10 GB",
     AMPERE_86,
     .multiprocessors = {68, GA102},
     .clock = {1710e6, GA102},
     .peak_fp32 = {29.8e12, GA102},
     .tensor_f16 = {59.5e12, GA102},
     .tensor_bf16 = {59.5e12, GA102},
     .tensor_tf32 = {29.8e12, GA102},
     .l2_bytes = {5120 * 1024, GA102},
     .dram_bandwidth = {760e9, GA102}},
    {.name = "rtx-3090",
     .title = "NVIDIA GeForce RTX 3090",
     AMPERE_86,
     .multiprocessors = {82, GA102},
     .clock = {1695e6, GA102},
     .peak_fp32 = {35.6e12, GA102},
     .tensor_f16 = {71e12, GA102},
     .tensor_bf16 = {71e12, GA102},
     .tensor_tf32 = {35.6e12, GA102},
     .l2_bytes = {6144 * 1024, GA102},
     .dram_bandwidth = {936e9, GA102}},
    {.name = "rtx-a6000",
     .title = "NVIDIA RTX A6000",
     AMPERE_86,
     .multiprocessors = {84, GA102},
     .clock = {1800e6, GA102},
     .peak_fp32 = {38.7e12, GA102},
     .tensor_f16 = {154.8e12, GA102},
     .tensor_bf16 = {154.8e12, GA102},
     .tensor_tf32 = {77.4e12, GA102},
     .l2_bytes = {6144 * 1024, GA102},
     .dram_bandwidth = {768e9, GA102}},
    {.name = "rtx-4080",
     .title = "NVIDIA GeForce RTX 4080",
     ADA_89,
     .multiprocessors = {76, ADA},
     .clock = {2505e6, ADA},
     .peak_fp32 = {48.7e12, ADA},
     .tensor_f16 = {97.5e12, ADA},
     .tensor_bf16 = {97.5e12, ADA},
     .tensor_tf32 = {48.7e12, ADA},
     .l2_bytes = {65536 * 1024, ADA},
     .dram_bandwidth = {716.8e9, ADA}},
    {.name = "rtx-4090",
     .title = "NVIDIA GeForce RTX 4090",
     ADA_89,
     .multiprocessors = {128, ADA},
     .clock = {2520e6, ADA},
     .peak_fp32 = {82.6e12, ADA},
     .tensor_f16 = {165.2e12, ADA},
     .tensor_bf16 = {165.2e12, ADA},
     .tensor_tf32 = {82.6e12, ADA},
     .l2_bytes = {73728 * 1024, ADA},
     .dram_bandwidth = {1008e9, ADA}},
    {.name = "l4",
     .title = "NVIDIA L4",
     ADA_89,
     .multiprocessors = {58, L4_BRIEF},
     .clock = {2040e6, L4_BRIEF},
     .peak_fp32 = {30.3e12, L4_SHEET},
     .tensor_f16 = {121e12, L4_SHEET},
     .tensor_bf16 = {121e12, L4_SHEET},
     .tensor_tf32 = {60e12, L4_SHEET},
     .l2_bytes = {49152 * 1024, ADA},
     .dram_bandwidth = {300e9, L4_SHEET}},
    {.name = "l40s",
     .title = "NVIDIA L40S",
     ADA_89,
     .multiprocessors = {142, L40S_SHEET},
     .clock = {2520e6, L40S_BRIEF},
     .peak_fp32 = {91.6e12, L40S_SHEET},
     .tensor_f16 = {366e12, "NVIDIA L40S, data sheet: 733 TFLOPS with sparsity; dense: half of it"},
     .tensor_bf16 = {366e12, "NVIDIA L40S, data sheet: 733 TFLOPS with sparsity; dense: half of it"},
     .tensor_tf32 = {183e12, L40S_SHEET},
     .l2_bytes = {98304 * 1024, ADA},
     .dram_bandwidth = {864e9, L40S_SHEET}},
    {.name = "h100-pcie",
     .title = "NVIDIA H100 PCIe 80 GB",
     HOPPER_90,
     .multiprocessors = {114, H100_PAPER},
     .clock = {1755e6, H100_PCIE_BRIEF},
     .peak_fp32 = {51e12, H100_SHEET},
     .tensor_f16 = {756.5e12, H100_SHEET},
     .tensor_bf16 = {756.5e12, H100_SHEET},
     .tensor_tf32 = {378e12, H100_SHEET},
     .l2_bytes = {50.0 * 1024 * 1024, H100_PAPER},
     .l2_bandwidth = {4472.3 * 1755e6, LUO},
     .dram_bandwidth = {2039e9, H100_PCIE_BRIEF}},
    {.name = "h100-sxm",
     .title = "NVIDIA H100 SXM5 80 GB",
     HOPPER_90,
     .multiprocessors = {132, H100_PAPER},
     .clock = {67e12 / (2 * 132 * 128), FROM_PEAK},
     .peak_fp32 = {67e12, H100_SHEET},
     .tensor_f16 = {989.5e12, H100_SHEET},
     .tensor_bf16 = {989.5e12, H100_SHEET},
     .tensor_tf32 = {494.7e12, H100_SHEET},
     .l2_bytes = {50.0 * 1024 * 1024, H100_PAPER},
     .l2_bandwidth = {4472.3 * 67e12 / (2 * 132 * 128), LUO},
     .dram_bandwidth = {3350e9, H100_SHEET}},
    {.name = "h200",
     .title = "NVIDIA H200 SXM 141 GB",
     HOPPER_90,
     .multiprocessors = {132, H100_PAPER},
     .clock = {67e12 / (2 * 132 * 128), FROM_PEAK},
     .peak_fp32 = {67e12, H200_SHEET},
     .tensor_f16 = {989.5e12, H200_SHEET},
     .tensor_bf16 = {989.5e12, H200_SHEET},
     .tensor_tf32 = {494.7e12, H200_SHEET},
     .l2_bytes = {50.0 * 1024 * 1024, H100_PAPER},
     .l2_bandwidth = {4472.3 * 67e12 / (2 * 132 * 128), LUO},
     .dram_bandwidth = {4800e9, H200_SHEET}},
    {.name = "b200",
     .title = "NVIDIA B200 SXM 180 GB",
     BLACKWELL_100,
     .multiprocessors = {148, B200_PAPER},
     .clock = {75e12 / (2 * 148 * 128), "from the data sheet's fp32 peak: 75e12 / (2 x 148 x 128)"},
     .peak_fp32 = {75e12, B200_SHEET},
     .tensor_f16 = {2250e12, B200_SHEET},
     .tensor_bf16 = {2250e12, B200_SHEET},
     .tensor_tf32 = {1125e12, "half of the bf16 rate; the data sheet rounds to 1.1 PFLOPS dense"},
     .l2_bytes = {126.0 * 1024 * 1024, BLACKWELL_GUIDE},
     .dram_bandwidth = {7680.0 / 8 * 2 * 3996e6, B200_BUS}},
    {.name = "rtx-5090",
     .title = "NVIDIA GeForce RTX 5090",
     BLACKWELL_120,
     .multiprocessors = {170, RTX_BLACKWELL},
     .clock = {2407e6, RTX_BLACKWELL},
     .peak_fp32 = {104.8e12, RTX_BLACKWELL},
     .tensor_f16 = {209.5e12, RTX_BLACKWELL},
     .tensor_bf16 = {209.5e12, RTX_BLACKWELL},
     .tensor_tf32 = {104.8e12, RTX_BLACKWELL},
     .l2_bytes = {98304 * 1024, RTX_BLACKWELL},
     .dram_bandwidth = {1792e9, RTX_BLACKWELL}}};

enum { GPU_COUNT = sizeof GPUS / sizeof GPUS[0] };

const noprop_gpu *vgpu_gpu_at(int index) { return index >= 0 && index < GPU_COUNT ? &GPUS[index] : NULL; }

/* Letters and digits are compared, in lower case. */
static const char *next_significant(const char *text) {
  while (*text && !isalnum((unsigned char)*text)) text++;
  return text;
}

static bool same_name(const char *a, const char *b) {
  for (;; a++, b++) {
    a = next_significant(a);
    b = next_significant(b);
    if (tolower((unsigned char)*a) != tolower((unsigned char)*b)) return false;
    if (!*a) return true;
  }
}

const noprop_gpu *vgpu_gpu_find(const char *name) {
  for (int i = 0; i < GPU_COUNT; i++)
    if (same_name(name, GPUS[i].name)) return &GPUS[i];
  return NULL;
}
