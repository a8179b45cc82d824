// noprop bench --counts: what one step does per kernel, exactly and whatever the number of CPU threads, and bounds of
// time for a GPU by name.
#include <gtest/gtest.h>

#include "program.h"

namespace {

const std::vector<std::string> kStep = {"bench", "train-step", "--network", "mlp",     "--batch",
                                        "32",    "--dropout",  "0",         "--counts"};

std::vector<std::string> with(std::vector<std::string> arguments, const std::vector<std::string> &more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

double number(const std::map<std::string, std::string> &object, const std::string &key) {
  const auto found = object.find(key);
  EXPECT_NE(found, object.end()) << "no key " << key;
  return found == object.end() ? 0 : std::stod(found->second);
}

TEST(Counts, OneObjectPerKernelAndOneForAll) {
  const Outcome outcome = noprop(with(kStep, {"--gpu", "A100-40", "--json"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto kernels = parse_json(outcome.out);
  ASSERT_EQ(kernels.size(), 3U) << outcome.out;
  EXPECT_EQ(kernels[0].at("kernel"), "\"train\"");
  EXPECT_EQ(kernels[1].at("kernel"), "\"reduce_update\"");
  EXPECT_EQ(kernels[2].at("kernel"), "\"all\"");
  for (const char *key :
       {"warp_instructions", "thread_instructions", "fp32_fma", "global_load_sectors", "shared_wavefronts"})
    EXPECT_EQ(number(kernels[0], key) + number(kernels[1], key), number(kernels[2], key)) << key;
  // The matrix products of a step with 12,834 parameters on 32 rows: what every implementation has to do (bench.c).
  const Outcome timed = noprop({"bench", "train-step", "--network", "mlp", "--batch", "32", "--dropout", "0",
                                "--seconds", "0.05", "--device", "virtual", "--json"});
  ASSERT_EQ(timed.code, 0) << timed.err;
  const double flops = number(parse_json(timed.out).at(0), "flops");
  EXPECT_GE(2 * number(kernels[0], "fp32_fma"), flops);
  EXPECT_LE(2 * number(kernels[0], "fp32_fma"), 3 * flops);
  // Bounds: 64 multiply-adds per clock on each of 108 multiprocessors at 1,410 MHz; 2.5 microseconds for the graph.
  EXPECT_EQ(kernels[0].at("gpu"), "\"a100-40\"");
  EXPECT_GE(number(kernels[0], "bound_fma_microseconds"),
            number(kernels[0], "fp32_fma") / (64 * 108 * 1410.0) * 0.999999);
  EXPECT_EQ(number(kernels[2], "bound_launch_microseconds"), 2.5);
  EXPECT_GE(number(kernels[2], "bound_microseconds"), 2.5);
  EXPECT_GT(number(kernels[0], "occupancy"), 0);
  EXPECT_LE(number(kernels[0], "occupancy"), 1);
  // Distance from the least: no program multiplies less than the network; one graph; from an empty L2 everything comes
  // and goes once at least, gradient slots stay in it.
  EXPECT_EQ(number(kernels[2], "least_matrix_flops"), flops);
  EXPECT_GE(number(kernels[2], "matrix_flops"), flops);
  EXPECT_EQ(number(kernels[2], "host_launches"), 1);
  EXPECT_GE(number(kernels[2], "cold_dram_bytes"), number(kernels[0], "distinct_loaded_bytes"));
  EXPECT_LE(number(kernels[2], "cold_dram_bytes"), number(kernels[2], "compulsory_bytes"));
  // Whole warps on one feature; the small tiles that this batch takes by itself have their conflicts in
  // bench/budget.json.
  Circumstances wide;
  wide.environment["NOPROP_TILE_FORM"] = "32x8";
  const Outcome whole_warps = noprop(with(kStep, {"--gpu", "A100-40", "--json"}), wide);
  ASSERT_EQ(whole_warps.code, 0) << whole_warps.err;
  EXPECT_LT(number(parse_json(whole_warps.out).at(0), "conflict_share"), 0.05);
  EXPECT_NEAR(number(kernels[0], "issue_microseconds"), number(kernels[0], "warp_instructions") / (4 * 108 * 1410.0),
              1e-9);
}

TEST(Counts, DoNotDependOnTheNumberOfThreads) {
  Circumstances one, three;
  one.environment["NOPROP_VGPU_THREADS"] = "1";
  three.environment["NOPROP_VGPU_THREADS"] = "3";
  const std::vector<std::string> arguments = with(kStep, {"--gpu", "t4", "--json"});
  const Outcome first = noprop(arguments, one), second = noprop(arguments, three);
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(first.out, second.out);
}

TEST(Counts, TablesSayThatBoundsAreNoMeasurements) {
  const Outcome plain = noprop(kStep), named = noprop(with(kStep, {"--gpu", "rtx 4090"}));
  ASSERT_EQ(plain.code, 0) << plain.err;
  EXPECT_NE(plain.out.find("reduce_update"), std::string::npos) << plain.out;
  EXPECT_NE(plain.out.find("warp instructions"), std::string::npos);
  EXPECT_EQ(plain.out.find("bound"), std::string::npos) << "without a GPU there is no bound";
  EXPECT_EQ(plain.out.find("DRAM"), std::string::npos);
  EXPECT_NE(named.out.find("NVIDIA GeForce RTX 4090: a bound, never a measurement"), std::string::npos) << named.out;
  EXPECT_NE(named.out.find("Distance from the least possible"), std::string::npos) << named.out;
  EXPECT_NE(named.out.find("bandwidth of this GPU is not published"), std::string::npos) << named.out;
}

TEST(Counts, WrongRequestsAreExplained) {
  const Outcome unknown = noprop(with(kStep, {"--gpu", "rtx-9999"}));
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.err.find("\"rtx-9999\""), std::string::npos) << unknown.err;
  EXPECT_NE(unknown.err.find("h100-sxm"), std::string::npos) << unknown.err;
  const Outcome alone = noprop({"bench", "--gpu", "t4"});
  EXPECT_EQ(alone.code, 2);
  EXPECT_NE(alone.err.find("--counts"), std::string::npos) << alone.err;
  const Outcome hardware = noprop(with({"--device", "gpu"}, kStep));
  EXPECT_EQ(hardware.code, 2);
  EXPECT_NE(hardware.err.find("virtual GPU"), std::string::npos) << hardware.err;
}

}  // namespace
