// CUB's device-wide algorithms, each on arrays of the host: copied to the device, computed there, copied back.
#include <cub/device/device_histogram.cuh>
#include <cub/device/device_merge_sort.cuh>
#include <cub/device/device_partition.cuh>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_reduce.cuh>
#include <cub/device/device_run_length_encode.cuh>
#include <cub/device/device_scan.cuh>
#include <cub/device/device_segmented_reduce.cuh>
#include <cub/device/device_select.cuh>
#include <numeric>

#include "tests/foreign/programs/array.h"
#include "tests/foreign/programs/cub_device.h"

namespace cub_device {

// Calls an algorithm twice: for the size of its temporary storage, and to run.
template <typename Algorithm>
static void run(Algorithm algorithm) {
  size_t bytes = 0;
  CHECK_CUDA(algorithm(nullptr, bytes));
  const Array<char> storage(bytes);
  CHECK_CUDA(algorithm(storage.data(), bytes));
  CHECK_CUDA(cudaDeviceSynchronize());
}

template <typename T>
static int count(const std::vector<T> &x) {
  return static_cast<int>(x.size());
}

template <typename T>
static std::vector<T> first(const Array<T> &array, int count) {
  std::vector<T> values = array.values();
  values.resize(count);
  return values;
}

static Ints places(size_t count) {
  Ints values(count);
  std::iota(values.begin(), values.end(), 0);
  return values;
}

struct Larger {
  __host__ __device__ int operator()(int a, int b) const { return a < b ? b : a; }
};
struct IsPositive {
  __host__ __device__ bool operator()(int x) const { return x > 0; }
};
struct LessByTens {
  __host__ __device__ bool operator()(int a, int b) const { return a / 10 < b / 10; }
};

// ---- reductions ----

template <typename T>
static T sum_of(const std::vector<T> &x) {
  const Array<T> in(x), out(1);
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceReduce::Sum(storage, bytes, in.data(), out.data(), count(x));
  });
  return out.values()[0];
}

int sum(const Ints &x) { return sum_of(x); }
float sum(const Floats &x) { return sum_of(x); }

int largest(const Ints &x, int least) {
  const Array<int> in(x), out(1);
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceReduce::Reduce(storage, bytes, in.data(), out.data(), count(x), Larger(), least);
  });
  return out.values()[0];
}

std::pair<int, int> place_of_smallest(const Ints &x) {
  const Array<int> in(x), value(1);
  const Array<cuda::std::int64_t> place(1);
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceReduce::ArgMin(storage, bytes, in.data(), value.data(), place.data(), count(x));
  });
  return {static_cast<int>(place.values()[0]), value.values()[0]};
}

Ints segment_sums(const Ints &x, const Ints &begins) {
  const int segments = count(begins) - 1;
  const Array<int> in(x), offsets(begins), out(segments);
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceSegmentedReduce::Sum(storage, bytes, in.data(), out.data(), segments, offsets.data(),
                                           offsets.data() + 1);
  });
  return out.values();
}

std::pair<Ints, Ints> sums_by_key(const Ints &keys, const Ints &x) {
  const Array<int> in_keys(keys), in(x), out_keys(x.size()), out(x.size()), runs(1);
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceReduce::ReduceByKey(storage, bytes, in_keys.data(), out_keys.data(), in.data(), out.data(),
                                          runs.data(), cuda::std::plus<>(), count(x));
  });
  const int number = runs.values()[0];
  return {first(out_keys, number), first(out, number)};
}

// ---- scans ----

Ints inclusive_sums(const Ints &x) {
  const Array<int> in(x), out(x.size());
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceScan::InclusiveSum(storage, bytes, in.data(), out.data(), count(x));
  });
  return out.values();
}

Ints largest_before(const Ints &x, int least) {
  const Array<int> in(x), out(x.size());
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceScan::ExclusiveScan(storage, bytes, in.data(), out.data(), Larger(), least, count(x));
  });
  return out.values();
}

std::vector<int64_t> sums_before(const std::vector<int64_t> &x) {
  const Array<int64_t> in(x), out(x.size());
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceScan::ExclusiveSum(storage, bytes, in.data(), out.data(), count(x));
  });
  return out.values();
}

Ints inclusive_sums_by_key(const Ints &keys, const Ints &x) {
  const Array<int> in_keys(keys), in(x), out(x.size());
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceScan::InclusiveSumByKey(storage, bytes, in_keys.data(), in.data(), out.data(), count(x));
  });
  return out.values();
}

// ---- sorts ----

std::vector<uint64_t> radix_sorted(const std::vector<uint64_t> &keys) {
  const Array<uint64_t> in(keys), out(keys.size());
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceRadixSort::SortKeys(storage, bytes, in.data(), out.data(), count(keys));
  });
  return out.values();
}

std::pair<Ints, Ints> radix_sorted_pairs(const Ints &keys, int begin_bit, int end_bit) {
  const Array<int> in(keys), out(keys.size()), from(places(keys.size())), to(keys.size());
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceRadixSort::SortPairs(storage, bytes, in.data(), out.data(), from.data(), to.data(), count(keys),
                                           begin_bit, end_bit);
  });
  return {out.values(), to.values()};
}

std::pair<Floats, Ints> radix_sorted_down(const Floats &keys) {
  const Array<float> in(keys), out(keys.size());
  const Array<int> from(places(keys.size())), to(keys.size());
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceRadixSort::SortPairsDescending(storage, bytes, in.data(), out.data(), from.data(), to.data(),
                                                     count(keys));
  });
  return {out.values(), to.values()};
}

std::pair<Ints, Ints> merge_sorted_by_tens(const Ints &keys) {
  const Array<int> inout(keys), from(places(keys.size()));
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceMergeSort::StableSortPairs(storage, bytes, inout.data(), from.data(), count(keys), LessByTens());
  });
  return {inout.values(), from.values()};
}

// ---- selections ----

Ints positive(const Ints &x) {
  const Array<int> in(x), out(x.size()), selected(1);
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceSelect::If(storage, bytes, in.data(), out.data(), selected.data(), count(x), IsPositive());
  });
  return first(out, selected.values()[0]);
}

Ints flagged(const Ints &x, const std::vector<char> &flags) {
  const Array<int> in(x), out(x.size()), selected(1);
  const Array<char> in_flags(flags);
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceSelect::Flagged(storage, bytes, in.data(), in_flags.data(), out.data(), selected.data(),
                                      count(x));
  });
  return first(out, selected.values()[0]);
}

Ints unique(const Ints &x) {
  const Array<int> in(x), out(x.size()), selected(1);
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceSelect::Unique(storage, bytes, in.data(), out.data(), selected.data(), count(x));
  });
  return first(out, selected.values()[0]);
}

std::pair<Ints, int> partition(const Ints &x) {
  const Array<int> in(x), out(x.size()), selected(1);
  run([&](void *storage, size_t &bytes) {
    return cub::DevicePartition::If(storage, bytes, in.data(), out.data(), selected.data(), count(x), IsPositive());
  });
  return {out.values(), selected.values()[0]};
}

// ---- histograms and runs ----

Ints histogram_of_bytes(const std::vector<unsigned char> &x) {
  const Array<unsigned char> in(x);
  const Array<int> out(256);
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceHistogram::HistogramEven(storage, bytes, in.data(), out.data(), 257, 0, 256, count(x));
  });
  return out.values();
}

Ints histogram_between(const Floats &x, const Floats &levels) {
  const Array<float> in(x), bounds(levels);
  const Array<int> out(levels.size() - 1);
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceHistogram::HistogramRange(storage, bytes, in.data(), out.data(), count(levels), bounds.data(),
                                                count(x));
  });
  return out.values();
}

std::pair<Ints, Ints> runs(const Ints &x) {
  const Array<int> in(x), values(x.size()), lengths(x.size()), number(1);
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceRunLengthEncode::Encode(storage, bytes, in.data(), values.data(), lengths.data(), number.data(),
                                              count(x));
  });
  return {first(values, number.values()[0]), first(lengths, number.values()[0])};
}

std::pair<Ints, Ints> runs_of_several(const Ints &x) {
  const Array<int> in(x), begins(x.size()), lengths(x.size()), number(1);
  run([&](void *storage, size_t &bytes) {
    return cub::DeviceRunLengthEncode::NonTrivialRuns(storage, bytes, in.data(), begins.data(), lengths.data(),
                                                      number.data(), count(x));
  });
  return {first(begins, number.values()[0]), first(lengths, number.values()[0])};
}

}  // namespace cub_device
