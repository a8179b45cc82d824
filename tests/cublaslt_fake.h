/* Functions in cuBLASLt's place that multiply on the host, by the layouts they are given. */
#ifndef TESTS_CUBLASLT_FAKE_H
#define TESTS_CUBLASLT_FAKE_H

#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

extern "C" {
#include "engine/cublaslt.h"
#include "engine/driver/driver.h"
}

namespace cublaslt_fake {

struct State {
  std::string failing;        /* the function that returns kFailure */
  uint64_t failing_depth = 0; /* a product with sums over so many fails */
  int live = 0;               /* handles and descriptors that were made and not given back */
  int products = 0;
  bool turned = false; /* the last product's weights */
  int compute = 0;     /* of the last operation */
};
inline State state;
constexpr int kFailure = 14; /* CUBLAS_STATUS_INTERNAL_ERROR */

struct Object {
  std::map<int, uint64_t> attributes;
  uint64_t rows, columns;
  int64_t leading;
};

inline int made(const char *name, void **result, Object object) {
  if (state.failing == name) return kFailure;
  *result = new Object(std::move(object));
  ++state.live;
  return 0;
}
inline int gone(void *object) {
  delete static_cast<Object *>(object);
  --state.live;
  return 0;
}
inline int set(const char *name, void *object, int attribute, const void *value, size_t bytes) {
  if (state.failing == name) return kFailure;
  uint64_t number = 0;
  memcpy(&number, value, bytes);
  static_cast<Object *>(object)->attributes[attribute] = number;
  return 0;
}

/* Matrices by columns, as the library has them. */
inline int matmul(void *, void *operation, const void *alpha, const void *a, void *a_layout, const void *b,
                  void *b_layout, const void *beta, const void *c, void *c_layout, void *d, void *d_layout,
                  const cublaslt_algorithm *algorithm, void *, size_t workspace_bytes, CUstream stream) {
  if (state.failing == "matmul") return kFailure;
  const auto &desc = *static_cast<Object *>(operation);
  const auto &la = *static_cast<Object *>(a_layout), &lb = *static_cast<Object *>(b_layout),
             &lc = *static_cast<Object *>(c_layout), &ld = *static_cast<Object *>(d_layout);
  const bool turn_a = desc.attributes.at(CUBLASLT_TURN_A) == CUBLASLT_TURNED;
  const bool turn_b = desc.attributes.at(CUBLASLT_TURN_B) == CUBLASLT_TURNED;
  const uint64_t m = turn_a ? la.columns : la.rows, k = turn_a ? la.rows : la.columns;
  const uint64_t n = turn_b ? lb.rows : lb.columns;
  if ((turn_b ? lb.columns : lb.rows) != k || ld.rows != m || ld.columns != n || lc.rows != m || lc.columns != n ||
      la.leading < static_cast<int64_t>(la.rows) || lb.leading < static_cast<int64_t>(lb.rows) ||
      ld.leading < static_cast<int64_t>(ld.rows) || algorithm->data[0] != 7 ||
      workspace_bytes != CUBLASLT_WORKSPACE_BYTES)
    return 7; /* CUBLAS_STATUS_INVALID_VALUE */
  if (k == state.failing_depth) return kFailure;
  if (stream) driver_virtual()->ctx_synchronize();
  const auto at = [](const void *from, const Object &l, uint64_t row, uint64_t column, bool turned) {
    if (turned) std::swap(row, column);
    return static_cast<const float *>(from)[row + column * static_cast<uint64_t>(l.leading)];
  };
  const float scale = *static_cast<const float *>(alpha), keep = *static_cast<const float *>(beta);
  std::vector<float> sums(m * n);
  for (uint64_t i = 0; i < m; ++i)
    for (uint64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (uint64_t l = 0; l < k; ++l) sum += static_cast<double>(at(a, la, i, l, turn_a)) * at(b, lb, l, j, turn_b);
      sums[i + j * m] = static_cast<float>(scale * sum + (keep != 0 ? keep * at(c, lc, i, j, false) : 0));
    }
  for (uint64_t i = 0; i < m; ++i)
    for (uint64_t j = 0; j < n; ++j)
      static_cast<float *>(d)[i + j * static_cast<uint64_t>(ld.leading)] = sums[i + j * m];
  ++state.products;
  state.turned = turn_a;
  return 0;
}

inline const cublaslt_functions functions = {
    [](void **handle) { return made("create", handle, {}); },
    gone,
    [](void **operation, int compute, int scale) {
      state.compute = scale == CUBLASLT_FLOAT ? compute : -1;
      return made("operation_create", operation, {});
    },
    gone,
    [](void *o, int attribute, const void *value, size_t bytes) {
      return set("operation_set", o, attribute, value, bytes);
    },
    [](void **layout, int type, uint64_t rows, uint64_t columns, int64_t leading) {
      return type == CUBLASLT_FLOAT ? made("layout_create", layout, {{}, rows, columns, leading}) : kFailure;
    },
    gone,
    [](void **preference) { return made("preference_create", preference, {}); },
    gone,
    [](void *o, int attribute, const void *value, size_t bytes) {
      return set("preference_set", o, attribute, value, bytes);
    },
    [](void *, void *, void *, void *, void *, void *, void *preference, int, cublaslt_heuristic *results, int *count) {
      const auto &wishes = static_cast<Object *>(preference)->attributes;
      if (state.failing == "heuristic" || wishes.at(CUBLASLT_WORKSPACE) != CUBLASLT_WORKSPACE_BYTES) return kFailure;
      *count = state.failing == "no algorithm" ? 0 : 1;
      results[0].algorithm.data[0] = 7;
      results[0].state = state.failing == "algorithm's state" ? kFailure : 0;
      return 0;
    },
    matmul};

/* In the library's place as long as it lives. */
class Library {
 public:
  Library() {
    state = State();
    cublaslt_substitute(&functions);
  }
  ~Library() { cublaslt_substitute(nullptr); }
  Library(const Library &) = delete;
  Library &operator=(const Library &) = delete;
};

}  // namespace cublaslt_fake

#endif
