// noprop bench measures what a long run would see, not the way there.
#include <filesystem>

#include "small.h"

namespace {

std::map<std::string, std::string> bench(const std::string &cache, const std::string &executor) {
  Circumstances circumstances;
  circumstances.environment = {{"NOPROP_CACHE", cache}, {"NOPROP_VGPU_EXECUTOR", executor}};
  const Outcome outcome = noprop({"--json", "--device", "virtual", "bench", "train-step", "--network", "mlp", "--batch",
                                  "256", "--dropout", "0", "--seconds", "0.1"},
                                 circumstances);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const auto lines = parse_json(outcome.out);
  EXPECT_EQ(lines.size(), 1U) << outcome.out;
  return lines.empty() ? std::map<std::string, std::string>() : lines[0];
}

TEST(Bench, MeasuresTheSettledState) {
  Scratch scratch;
  const auto cold = bench(scratch / "cache", "auto");
  ASSERT_TRUE(cold.count("interim_launches"));
  EXPECT_EQ(cold.at("interim_launches"), "0") << "timings begin before the kernels are what they will be";
  const auto interpreted = bench(scratch / "cache", "interpret");
  EXPECT_EQ(interpreted.at("interim_launches"), "0");
  if (!std::filesystem::exists(NOPROP_BINARY_DIR "/libnoprop_translate.so")) GTEST_SKIP() << "no translator";
  // Machine code is several times faster; a timing that caught the interpreter would not be.
  EXPECT_LT(std::stod(cold.at("milliseconds_min")), std::stod(interpreted.at("milliseconds_min")) / 1.5);
}

}  // namespace
