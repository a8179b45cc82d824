/* Promises of engine/vgpu/workers.h. */
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <vector>

extern "C" {
#include "engine/vgpu/workers.h"
}

struct tally {
  std::vector<std::atomic<int>> done, busy;
  std::atomic<int> clashes{0};
  explicit tally(size_t count) : done(count), busy(workers_count()) {}
};

static int mark(void *context, unsigned long long index, unsigned worker) {
  tally *at = static_cast<tally *>(context);
  if (at->busy[worker].exchange(1) != 0) ++at->clashes;
  ++at->done[index];
  at->busy[worker] = 0;
  return 1;
}

TEST(ApiWorkers, EveryIndexRunsOnceAndNoTwoShareAWorker) {
  for (size_t count : {0u, 1u, 2u, 3u, 17u, 1000u, 100000u}) {
    tally at(count);
    workers_run(count, mark, &at);
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(at.done[i], 1) << i << " of " << count;
    EXPECT_EQ(at.clashes, 0);
  }
}

TEST(ApiWorkers, ManyShortJobsInARow) {
  for (int job = 0; job < 20000; ++job) {
    tally at(3);
    workers_run(3, mark, &at);
    for (int i = 0; i < 3; ++i) ASSERT_EQ(at.done[i], 1) << "job " << job;
    if (job % 5000 == 0) usleep(2000); /* the helpers fall asleep in between */
  }
}

TEST(ApiWorkers, AZeroStopsHandingOut) {
  struct state {
    std::atomic<unsigned long long> runs{0};
  } state;
  workers_run(
      1000000,
      [](void *context, unsigned long long, unsigned) {
        ++static_cast<struct state *>(context)->runs;
        return 0;
      },
      &state);
  EXPECT_GE(state.runs, 1u);
  EXPECT_LE(state.runs, 16ull * workers_count()) << "no more than was already handed out";
}

TEST(ApiWorkers, WorksAfterAFork) {
  tally before(100);
  workers_run(100, mark, &before);
  pid_t child = fork();
  if (child == 0) {
    tally at(100);
    workers_run(100, mark, &at);
    int sum = 0;
    for (auto &done : at.done) sum += done;
    _exit(sum == 100 ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}
