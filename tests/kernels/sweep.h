/* The sweep: models drawn at random with fixed seeds, over which every choice of every option appears. */
#ifndef TESTS_KERNELS_SWEEP_H
#define TESTS_KERNELS_SWEEP_H

#include "tests/kernels/harness.h"

namespace kernels_test {

struct SweepCase {
  Keys keys; /* for engine and reference */
  ConditionKind condition;
  int condition_width, target_width;
  long rows, batch;
  int64_t dropout_epochs; /* -1: always */
  std::string name() const;
};

constexpr int kSweepCases = 16;
/* From kSweepCases on the same cases in tf32, from 2 kSweepCases on in bf16, from 3 kSweepCases on in tf32x3. */
SweepCase sweep_case(int index);

/* Before the device is opened: kernels are interpreted. For large kernels that a test runs a few times, since machine
 * code takes seconds to make; that both give the same bits is held by determinism_test.cpp. */
void interpret_kernels();

/* Keys that only the engine has: no condition, number of steps for the rate schedule. */
Keys engine_keys(const SweepCase &c, int64_t total_steps);

}  // namespace kernels_test

#endif
