/* Functions in cuBLASLt's place that multiply on the host, by the layouts they are given, and a clock by which they are
 * as fast as a test wants. */
#ifndef TESTS_CUBLASLT_FAKE_H
#define TESTS_CUBLASLT_FAKE_H

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

extern "C" {
#include "engine/cublaslt.h"
#include "engine/driver/driver.h"
#include "engine/vgpu/vgpu.h"
}

namespace cublaslt_fake {

struct Object {
  std::map<int, uint64_t> attributes;
  uint64_t rows, columns;
  int64_t leading;
};

struct Product {
  const float *a, *b, *c;
  float *d;
  Object la, lb, lc, ld;
  bool turn_a, turn_b;
  uint64_t m, n, k;
  float scale, keep;
};

struct State {
  std::string failing;        /* the function that returns kFailure */
  uint64_t failing_depth = 0; /* a product with sums over so many fails */
  int live = 0;               /* handles and descriptors that were made and not given back */
  int products = 0;           /* that were asked for */
  size_t version = 130100;
  bool turned = false; /* the last product's weights */
  int compute = 0;     /* of the last operation */
  std::vector<std::shared_ptr<Product>> launched;
};
inline State state;
constexpr int kFailure = 14; /* CUBLAS_STATUS_INTERNAL_ERROR */

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

/* A product of matrices by columns, as the library has them: d = scale a b + keep c. */
inline void compute(const Product &p) {
  const auto at = [](const float *from, const Object &l, uint64_t row, uint64_t column, bool turned) {
    if (turned) std::swap(row, column);
    return from[row + column * static_cast<uint64_t>(l.leading)];
  };
  std::vector<float> sums(p.m * p.n);
  for (uint64_t i = 0; i < p.m; ++i)
    for (uint64_t j = 0; j < p.n; ++j) {
      double sum = 0;
      for (uint64_t l = 0; l < p.k; ++l)
        sum += static_cast<double>(at(p.a, p.la, i, l, p.turn_a)) * at(p.b, p.lb, l, j, p.turn_b);
      const float before = p.keep != 0 ? p.keep * at(p.c, p.lc, i, j, false) : 0.0f;
      sums[i + j * p.m] = static_cast<float>(p.scale * sum + before);
    }
  for (uint64_t i = 0; i < p.m; ++i)
    for (uint64_t j = 0; j < p.n; ++j) p.d[i + j * static_cast<uint64_t>(p.ld.leading)] = sums[i + j * p.m];
}

/* In the order of the stream, so that it may be part of a graph. */
inline int matmul(void *, void *operation, const void *alpha, const void *a, void *a_layout, const void *b,
                  void *b_layout, const void *beta, const void *c, void *c_layout, void *d, void *d_layout,
                  const cublaslt_algorithm *algorithm, void *, size_t workspace_bytes, CUstream stream) {
  if (state.failing == "matmul") return kFailure;
  const auto &desc = *static_cast<Object *>(operation);
  const auto layout = [](void *from) { return *static_cast<Object *>(from); };
  Product p = {};
  p.a = static_cast<const float *>(a), p.b = static_cast<const float *>(b), p.c = static_cast<const float *>(c);
  p.d = static_cast<float *>(d);
  p.la = layout(a_layout), p.lb = layout(b_layout), p.lc = layout(c_layout), p.ld = layout(d_layout);
  p.turn_a = desc.attributes.at(CUBLASLT_TURN_A) == CUBLASLT_TURNED;
  p.turn_b = desc.attributes.at(CUBLASLT_TURN_B) == CUBLASLT_TURNED;
  p.m = p.turn_a ? p.la.columns : p.la.rows, p.k = p.turn_a ? p.la.rows : p.la.columns;
  p.n = p.turn_b ? p.lb.rows : p.lb.columns;
  p.scale = *static_cast<const float *>(alpha), p.keep = *static_cast<const float *>(beta);
  if ((p.turn_b ? p.lb.columns : p.lb.rows) != p.k || p.ld.rows != p.m || p.ld.columns != p.n || p.lc.rows != p.m ||
      p.lc.columns != p.n || p.la.leading < static_cast<int64_t>(p.la.rows) ||
      p.lb.leading < static_cast<int64_t>(p.lb.rows) || p.ld.leading < static_cast<int64_t>(p.ld.rows) ||
      algorithm->data[0] != 7 || workspace_bytes != CUBLASLT_WORKSPACE_BYTES)
    return 7; /* CUBLAS_STATUS_INVALID_VALUE */
  if (p.k == state.failing_depth) return kFailure;
  ++state.products;
  state.turned = p.turn_a;
  if (!stream) {
    compute(p);
    return 0;
  }
  static const auto launch =
      reinterpret_cast<CUresult (*)(CUstream, CUhostFn, void *)>(vgpu_symbol("cuLaunchHostFunc"));
  state.launched.push_back(std::make_shared<Product>(p));
  const auto run = [](void *product) { compute(*static_cast<Product *>(product)); };
  return launch(stream, run, state.launched.back().get()) == CUDA_SUCCESS ? 0 : kFailure;
}

inline const cublaslt_functions functions = {
    [] { return state.version; },
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
    cublaslt_substitute(&functions, nullptr);
  }
  ~Library() { cublaslt_substitute(nullptr, nullptr); }
  Library(const Library &) = delete;
  Library &operator=(const Library &) = delete;
};

/* The virtual GPU's clock, as long as it lives: between two events there are 2 ms, or with products of the library so
 * many as are said, forward or where weights are turned. */
class Clock {
 public:
  Clock(float forward_ms, float turned_ms) : driver_(const_cast<driver *>(driver_virtual())) {
    forward = forward_ms, turned = turned_ms;
    seen = state.products, readings = 0;
    before_ = driver_->event_elapsed_time;
    driver_->event_elapsed_time = [](float *milliseconds, CUevent, CUevent) {
      *milliseconds = state.products == seen ? 2.0f : state.turned ? turned : forward;
      seen = state.products;
      ++readings;
      return CUDA_SUCCESS;
    };
  }
  ~Clock() { driver_->event_elapsed_time = before_; }
  Clock(const Clock &) = delete;
  Clock &operator=(const Clock &) = delete;

  static inline int readings; /* so often was it read */

 private:
  static inline float forward, turned;
  static inline int seen;
  driver *driver_;
  decltype(driver::event_elapsed_time) before_;
};

/* A cache folder in which nothing is remembered, as long as it lives. It has no compiled kernels either: those that
 * `compile` makes in the usual folder, without the library, are kept by the device. */
class Folder {
 public:
  template <typename Compile>
  explicit Folder(const Compile &compile) {
    setenv("NOPROP_CUBLASLT", "off", 1);
    compile();
    unsetenv("NOPROP_CUBLASLT");
    std::string form = (std::filesystem::temp_directory_path() / "noprop-test-XXXXXX").string();
    path_ = mkdtemp(form.data());
    if (const char *said = std::getenv("NOPROP_CACHE")) before_ = said;
    use(path_.string());
  }
  ~Folder() {
    if (before_.empty())
      unsetenv("NOPROP_CACHE");
    else
      use(before_);
    std::filesystem::remove_all(path_);
  }
  Folder(const Folder &) = delete;
  Folder &operator=(const Folder &) = delete;

  static void use(const std::string &folder) { setenv("NOPROP_CACHE", folder.c_str(), 1); }
  std::vector<std::filesystem::path> choices() const {
    std::vector<std::filesystem::path> found;
    for (const auto &entry : std::filesystem::directory_iterator(path_))
      if (entry.path().extension() == ".choice") found.push_back(entry.path());
    return found;
  }

 private:
  std::filesystem::path path_;
  std::string before_;
};

}  // namespace cublaslt_fake

#endif
