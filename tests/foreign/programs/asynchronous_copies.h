/* Copies from global to shared memory that go on while threads compute, on arrays of the host. */
#ifndef TESTS_FOREIGN_PROGRAMS_ASYNCHRONOUS_COPIES_H
#define TESTS_FOREIGN_PROGRAMS_ASYNCHRONOUS_COPIES_H

#include <vector>

namespace asynchronous_copies {

/* Sums of runs of 256 by cooperative_groups::memcpy_async. */
std::vector<int> sums_of_256(const std::vector<int> &x);
/* One block goes through x by tiles of 128, of which the next is under way while one is turned round and multiplied by
 * its number: by cooperative_groups::wait_prior, and by a cuda::pipeline of every thread. */
std::vector<int> tiles_by_groups(const std::vector<int> &x);
std::vector<int> tiles_by_pipeline(const std::vector<int> &x);
/* The same by barriers in shared memory: of a cuda::barrier; of a cuda::pipeline of the block; and of one whose first
 * warp copies while the others compute. */
std::vector<int> tiles_by_barrier(const std::vector<int> &x);
std::vector<int> tiles_by_block_pipeline(const std::vector<int> &x);
std::vector<int> tiles_by_producer_and_consumers(const std::vector<int> &x);
/* The sum over turns of what another thread has written before it arrived at the turn's barrier: the turn. One of each
 * of 128 threads. */
std::vector<int> turns_of_a_barrier(int turns);
/* Sixteen bytes a thread, of which only the first `bytes` are read, and the others zero. */
std::vector<int> with_zeros(const std::vector<int> &x, int bytes);

}  // namespace asynchronous_copies

#endif
