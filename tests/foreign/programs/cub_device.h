/* CUB's device-wide algorithms as functions of arrays of the host, which cub_device_test.cpp compares with the standard
 * library. */
#ifndef TESTS_FOREIGN_PROGRAMS_CUB_DEVICE_H
#define TESTS_FOREIGN_PROGRAMS_CUB_DEVICE_H

#include <cstdint>
#include <utility>
#include <vector>

namespace cub_device {

using Ints = std::vector<int>;
using Floats = std::vector<float>;

/* ---- reductions ---- */
int sum(const Ints &x);
float sum(const Floats &x);
int largest(const Ints &x, int least);
std::pair<int, int> place_of_smallest(const Ints &x); /* place, value */
Ints segment_sums(const Ints &x, const Ints &begins); /* segment i: from begins[i] up to begins[i + 1] */
/* The sums of runs of equal keys: the runs' keys, and their sums. */
std::pair<Ints, Ints> sums_by_key(const Ints &keys, const Ints &x);

/* ---- scans, which look back to the blocks before ---- */
Ints inclusive_sums(const Ints &x);
Ints largest_before(const Ints &x, int least);
std::vector<int64_t> sums_before(const std::vector<int64_t> &x);
Ints inclusive_sums_by_key(const Ints &keys, const Ints &x);

/* ---- sorts: keys of bits [begin, end), with the places that they came from ---- */
std::vector<uint64_t> radix_sorted(const std::vector<uint64_t> &keys);
std::pair<Ints, Ints> radix_sorted_pairs(const Ints &keys, int begin_bit, int end_bit);
std::pair<Floats, Ints> radix_sorted_down(const Floats &keys);
/* By the tens of the keys, so that stability shows. */
std::pair<Ints, Ints> merge_sorted_by_tens(const Ints &keys);

/* ---- selections ---- */
Ints positive(const Ints &x);
Ints flagged(const Ints &x, const std::vector<char> &flags);
Ints unique(const Ints &x);
/* The positive ones in order, then the others backwards; and how many are positive. */
std::pair<Ints, int> partition(const Ints &x);

/* ---- histograms and runs ---- */
Ints histogram_of_bytes(const std::vector<unsigned char> &x);
Ints histogram_between(const Floats &x, const Floats &levels);
std::pair<Ints, Ints> runs(const Ints &x);            /* values, lengths */
std::pair<Ints, Ints> runs_of_several(const Ints &x); /* places, lengths, of runs longer than one */

}  // namespace cub_device

#endif
