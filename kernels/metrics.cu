// Metrics on the device: loss terms, errors of predictions, distances between samples.
//
// Sums are formed in two stages of fixed order in double precision (counts in integers), so that the same numbers give
// the same metrics on every device.
#include "arguments.h"
#include "metrics_arguments.h"

namespace {

__device__ __forceinline__ float element(const void *values, int type, unsigned long long index) {
  if (type == METRICS_UINT8) return static_cast<const unsigned char *>(values)[index];
  if (type == METRICS_INT32) return static_cast<float>(static_cast<const int *>(values)[index]);
  return static_cast<const float *>(values)[index];
}

__device__ __forceinline__ unsigned label_at(const void *labels, int type, unsigned row) {
  return type == METRICS_UINT8 ? static_cast<const unsigned char *>(labels)[row]
                               : static_cast<unsigned>(static_cast<const int *>(labels)[row]);
}

// The block's sum in a fixed order; valid in thread 0.
__device__ double block_total(double value) {
  __shared__ double values[METRICS_THREADS];
  values[threadIdx.x] = value;
  for (unsigned half = METRICS_THREADS / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) values[threadIdx.x] += values[threadIdx.x + half];
  }
  return values[0];
}

}  // namespace

extern "C" __global__ void __launch_bounds__(32) sum_terms(const sum_terms_arguments a) {
  if (threadIdx.x >= SLOT_TERMS) return;
  double sum = 0.0;
  for (unsigned slot = 0; slot < a.slot_count; ++slot) sum += a.tails[slot * a.slot_stride + threadIdx.x];
  a.sums[threadIdx.x] += sum;
}

extern "C" __global__ void __launch_bounds__(METRICS_THREADS) row_errors(const errors_arguments a) {
  const unsigned run = (a.rows + a.blocks - 1) / a.blocks;
  const unsigned first = min(blockIdx.x * run, a.rows), last = min(first + run, a.rows);
  // One column a thread: neighbours read neighbouring elements.
  for (unsigned column = threadIdx.x; column < a.width; column += METRICS_THREADS) {
    const double shift = a.shift ? a.shift[column] : 0.0;
    double squared = 0.0, absolute = 0.0, sum = 0.0, sum_squared = 0.0;
    for (unsigned row = first; row < last; ++row) {
      const unsigned long long index = static_cast<unsigned long long>(row) * a.width + column;
      const double target = a.is_label ? (label_at(a.target, a.type, row) == column ? 1.0 : a.off_value)
                                       : element(a.target, a.type, index);
      const double error = a.prediction[index] - target, centred = target - shift;
      squared += error * error;
      absolute += fabs(error);
      sum += centred;
      sum_squared += centred * centred;
    }
    double *partial = a.partials + (static_cast<unsigned long long>(blockIdx.x) * a.width + column) * ERROR_SUMS;
    partial[ERROR_SQUARED] = squared;
    partial[ERROR_ABSOLUTE] = absolute;
    partial[ERROR_TARGET] = sum;
    partial[ERROR_TARGET_SQUARED] = sum_squared;
  }
  if (!a.is_label) return;
  unsigned correct = 0;
  for (unsigned row = first + threadIdx.x; row < last; row += METRICS_THREADS) {
    const float *scores = a.prediction + static_cast<unsigned long long>(row) * a.width;
    // The first of the largest; a row with nothing but NaN is wrong.
    float best = scores[0];
    unsigned answer = best == best ? 0 : a.width;
    for (unsigned i = 1; i < a.width; ++i) {
      if (scores[i] > best || (best != best && scores[i] == scores[i])) {
        best = scores[i];
        answer = i;
      }
    }
    correct += answer == label_at(a.target, a.type, row);
  }
  if (correct) atomicAdd(a.correct, correct);  // integers: the order does not matter
}

extern "C" __global__ void __launch_bounds__(METRICS_THREADS) column_errors(const errors_arguments a) {
  for (unsigned column = threadIdx.x; column < a.width; column += METRICS_THREADS) {
    for (int kind = 0; kind < ERROR_SUMS; ++kind) {
      double sum = 0.0;
      for (unsigned block = 0; block < a.blocks; ++block)
        sum += a.partials[(static_cast<unsigned long long>(block) * a.width + column) * ERROR_SUMS + kind];
      a.totals[column * ERROR_SUMS + kind] += sum;
    }
  }
}

extern "C" __global__ void __launch_bounds__(METRICS_THREADS) subset_columns(const subset_arguments a) {
  const unsigned i = blockIdx.x * METRICS_THREADS + threadIdx.x;
  if (i >= a.count) return;
  const unsigned long long row = static_cast<unsigned long long>(i) * a.rows / a.count;
  for (unsigned column = 0; column < a.width; ++column)
    a.columns[static_cast<unsigned long long>(column) * a.count + i] =
        element(a.rows_in, a.type, row * a.width + column);
}

extern "C" __global__ void __launch_bounds__(METRICS_THREADS) project(const project_arguments a) {
  const unsigned blocks = (a.padded + METRICS_THREADS - 1) / METRICS_THREADS;
  const unsigned projection = blockIdx.x / blocks, i = blockIdx.x % blocks * METRICS_THREADS + threadIdx.x;
  if (i >= a.padded) return;
  float value = __int_as_float(0x7f800000);
  if (i < a.count) {
    const float *direction = a.directions + projection * a.width, *column = a.columns + i;
    value = 0.0f;
    for (unsigned k = 0; k < a.width; ++k, column += a.count) value += direction[k] * *column;
  }
  a.values[static_cast<unsigned long long>(projection) * a.padded + i] = value;
}

// Bitonic sort in shared memory.
extern "C" __global__ void __launch_bounds__(METRICS_THREADS) sort(const project_arguments a) {
  extern __shared__ float sorted[];
  float *values = a.values + static_cast<unsigned long long>(blockIdx.x) * a.padded;
  for (unsigned i = threadIdx.x; i < a.padded; i += METRICS_THREADS) sorted[i] = values[i];
  for (unsigned size = 2; size <= a.padded; size *= 2) {
    for (unsigned stride = size / 2; stride > 0; stride /= 2) {
      __syncthreads();
      for (unsigned pair = threadIdx.x; pair < a.padded / 2; pair += METRICS_THREADS) {
        const unsigned low = 2 * pair - (pair & (stride - 1)), high = low + stride;
        const float x = sorted[low], y = sorted[high];
        const bool ascending = (low & size) == 0, swap = (x > y) == ascending;
        sorted[low] = swap ? y : x;
        sorted[high] = swap ? x : y;
      }
    }
  }
  __syncthreads();
  for (unsigned i = threadIdx.x; i < a.padded; i += METRICS_THREADS) values[i] = sorted[i];
}

// The integral of (F^-1 - G^-1)^2 over (0, 1). Quantile i of n covers ((i) m, (i+1) m) in units of 1 / (n m).
extern "C" __global__ void __launch_bounds__(METRICS_THREADS) wasserstein(const wasserstein_arguments a) {
  const float *first = a.first + static_cast<unsigned long long>(blockIdx.x) * a.first_padded;
  const float *second = a.second + static_cast<unsigned long long>(blockIdx.x) * a.second_padded;
  const unsigned n = a.first_count, m = a.second_count;
  double sum = 0.0;
  for (unsigned i = threadIdx.x; i < n; i += METRICS_THREADS) {
    const unsigned begin = i * m, end = begin + m;
    const double value = first[i];
    for (unsigned j = begin / n; j < m && j * n < end; ++j) {
      const double difference = value - second[j];
      const unsigned overlap = min(end, (j + 1) * n) - max(begin, j * n);
      sum += overlap * (difference * difference);
    }
  }
  sum = block_total(sum);
  if (threadIdx.x == 0) a.distances[blockIdx.x] = sum / (static_cast<double>(n) * m);
}

extern "C" __global__ void __launch_bounds__(METRICS_THREADS) pair_distances(const pairs_arguments a) {
  const unsigned i = blockIdx.x * METRICS_THREADS + threadIdx.x;
  double sum = 0.0;
  if (i < a.first_count) {
    // Four rows of `second` at a time share the loads of this thread's row.
    for (unsigned j = 0; j < a.second_count; j += 4) {
      const unsigned j1 = min(j + 1, a.second_count - 1), j2 = min(j + 2, a.second_count - 1),
                     j3 = min(j + 3, a.second_count - 1);
      const float *mine = a.first + i, *other = a.second;
      float d0 = 0.0f, d1 = 0.0f, d2 = 0.0f, d3 = 0.0f;
      for (unsigned k = 0; k < a.width; ++k, mine += a.first_count, other += a.second_count) {
        const float value = *mine, e0 = value - other[j], e1 = value - other[j1], e2 = value - other[j2],
                    e3 = value - other[j3];
        d0 += e0 * e0;
        d1 += e1 * e1;
        d2 += e2 * e2;
        d3 += e3 * e3;
      }
      float group = sqrtf(d0);
      if (j + 1 < a.second_count) group += sqrtf(d1);
      if (j + 2 < a.second_count) group += sqrtf(d2);
      if (j + 3 < a.second_count) group += sqrtf(d3);
      sum += group;
    }
  }
  sum = block_total(sum);
  if (threadIdx.x == 0) a.partials[blockIdx.x] = sum;
}
