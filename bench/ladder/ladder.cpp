/* The ladder: the simplest correct form of each hot kernel beside the current one, held against each other, timed or
 * counted side by side (README.md).
 *
 *   bench_ladder [--device virtual] [--seconds S] [--counts]
 *
 * Ends with status 1 if a current kernel differs from its simple form by more than its bound. */
#include <noprop/noprop.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "bench/ladder/simple.h"

extern "C" {
#include "engine/device.h"
#include "engine/options.h"
#include "kernels/arguments.h"
}

namespace {

constexpr int kRows = 64, kSteps = 5, kWidth = 64, kSlabs = 32;
constexpr float kMargin = 1e-3f; /* the product's default t_eps */

void check(noprop_status status) {
  if (status == NOPROP_OK) return;
  std::fprintf(stderr, "bench_ladder: %s\n", noprop_last_error());
  std::exit(1);
}

noprop_device *device;
double seconds = 0.5;
bool counts = false, wrong = false;

/* ---- device memory ---- */

template <typename T>
class Buffer {
 public:
  explicit Buffer(size_t count) : bytes_((count * sizeof(T) + 15) / 16 * 16) {
    if (device->driver->mem_alloc(&pointer_, bytes_) != CUDA_SUCCESS) std::exit(1);
    check(device_clear(device, pointer_, bytes_));
  }
  explicit Buffer(const std::vector<T> &values) : Buffer(values.size()) { set(values); }
  ~Buffer() { device->driver->mem_free(pointer_); }
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;
  T *get() const {
    T *result;
    std::memcpy(&result, &pointer_, sizeof result);
    return result;
  }
  void set(const std::vector<T> &values) {
    check(device_upload(device, pointer_, values.data(), values.size() * sizeof(T)));
  }
  std::vector<T> values(size_t count) const {
    std::vector<T> result(count);
    check(device_download(device, result.data(), pointer_, count * sizeof(T)));
    return result;
  }

 private:
  CUdeviceptr pointer_ = 0;
  size_t bytes_;
};

/* ---- the rungs ---- */

/* Prints one line of the table: milliseconds, or counts, of `work`. */
void rung(const char *kernel, const char *form, const char *ceiling, const std::function<void()> &work) {
  work();
  check(noprop_device_synchronize(device));
  if (counts) {
    noprop_kernel_counts all[16];
    noprop_counts_reset();
    work();
    check(noprop_device_synchronize(device));
    unsigned long long instructions = 0, sectors = 0, wavefronts = 0, conflicts = 0, launches = 0;
    for (int i = 0, n = std::min(noprop_counts(all, 16), 16); i < n; ++i) {
      instructions += all[i].warp_instructions;
      sectors += all[i].global_load_sectors + all[i].global_store_sectors;
      wavefronts += all[i].shared_wavefronts;
      conflicts += all[i].shared_conflicts;
      launches += all[i].launches;
    }
    std::printf("| %s | %s | %llu | %llu | %llu | %llu | %llu | %s |\n", kernel, form, launches, instructions, sectors,
                wavefronts, conflicts, ceiling);
    return;
  }
  using clock = std::chrono::steady_clock;
  std::vector<double> times;
  const auto end = clock::now() + std::chrono::duration<double>(seconds);
  while (times.size() < 3 || clock::now() < end) {
    const auto start = clock::now();
    work();
    check(noprop_device_synchronize(device));
    times.push_back(std::chrono::duration<double, std::milli>(clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  std::printf("| %s | %s | %.3f | %.3f | %s |\n", kernel, form, times[times.size() / 2], times.front(), ceiling);
}

/* The largest difference over the largest value must stay below `bound`; zeros would fail. */
void expect_equal(const char *what, const std::vector<float> &got, const std::vector<float> &want, double bound) {
  double difference = 0, largest = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    difference = std::max(difference, std::fabs(static_cast<double>(got[i]) - want[i]));
    largest = std::max(largest, std::fabs(static_cast<double>(want[i])));
  }
  const bool good = largest > 0 && difference <= bound * largest && bound < 0.5;
  std::fprintf(stderr, "%s: largest difference %.2g of the largest value, bound %.2g%s\n", what,
               largest > 0 ? difference / largest : 0.0, bound, good ? "" : ": WRONG");
  wrong = wrong || !good;
}

struct kernel compile(const char *file, const char *entry) {
  std::string text = "#define WIDTH " + std::to_string(kWidth) + "\n";
  for (const char *name : {"simple.h", file}) {
    std::ifstream in(std::string(NOPROP_SOURCE_DIR "/bench/ladder/") + name);
    std::stringstream all;
    all << in.rdbuf();
    text += all.str();
  }
  struct kernel kernel;
  check(device_compile(device, text.c_str(), entry, &kernel));
  return kernel;
}

template <typename Arguments>
void launch(const struct kernel &kernel, unsigned threads, unsigned block, const Arguments &arguments,
            unsigned shared = 0) {
  check(device_launch(device, &kernel, (threads + block - 1) / block, block, shared, &arguments, sizeof arguments));
}

/* ---- the network ---- */

simple_network describe(const noprop_model *model, int time) {
  simple_network net = {};
  net.d = net.c = 2;
  net.time = time;
  net.parameters = static_cast<int>(noprop_model_parameter_values(model));
  std::string last;
  int x_last = -1;
  for (int i = 0; i < noprop_model_parameter_count(model); ++i) {
    const noprop_parameter p = noprop_model_parameter(model, i);
    const std::string name = p.name, layer = name.substr(0, name.rfind('.'));
    if (name.size() > 5 && name.compare(name.size() - 5, 5, ".bias") == 0) {
      net.ops[net.count - 1].bias = static_cast<int>(p.offset);
      continue;
    }
    const bool squash = layer.compare(0, 7, "squash.") == 0, x = layer.compare(0, 2, "x.") == 0;
    const std::string key = squash ? "squash" : layer;
    if (key != last) {
      simple_op &op = net.ops[net.count++];
      op = {};
      op.width = static_cast<int>(p.shape[1]);
      op.swish = !squash && key != "output";
      op.bias = -1;
      op.at = net.values;
      net.values += op.width;
      last = key;
    }
    simple_op &op = net.ops[net.count - 1];
    auto &input = op.input[op.inputs++];
    input.width = static_cast<int>(p.shape[0]);
    input.weight = static_cast<int>(p.offset);
    input.op = squash ? x_last : net.count - 2;
    input.kind = layer == "squash.z"   ? SIMPLE_Z
                 : layer == "squash.t" ? SIMPLE_TIME
                 : layer == "x.0"      ? SIMPLE_X
                                       : SIMPLE_OP;
    if (x) x_last = net.count - 1;
  }
  return net;
}

noprop_model *create(const char *precision, const noprop_model_shape &shape) {
  noprop_config *config;
  noprop_model *model;
  check(noprop_config_create(&config));
  const char *keys[][2] = {{"variant", "fm"},
                           {"task", "classify"},
                           {"network.hidden", "[64,64,64]"},
                           {"network.squash_activation", "false"},
                           {"network.time_embedding.size", "32"},
                           {"optimizer.type", "adam"},
                           {"optimizer.weight_decay", "0"},
                           {"optimizer.clip", "0"},
                           {"train.batch", "64"},
                           {"precision", precision}};
  for (const auto &key : keys) check(noprop_config_set(config, key[0], key[1]));
  check(noprop_model_create(device, config, &shape, &model));
  noprop_config_destroy(config);
  return model;
}

/* ---- kernels ---- */

void dense() {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> in(kRows * kWidth), weights(kWidth * kWidth), bias(kWidth);
  for (auto *values : {&in, &weights, &bias})
    for (float &value : *values) value = normal(random);
  const Buffer<float> in_d(in), weights_d(weights), bias_d(bias), simple_d(in.size()), tile_d(in.size());
  simple_dense_arguments arguments = {in_d.get(), weights_d.get(), bias_d.get(), simple_d.get(), kRows};
  const struct kernel simple = compile("simple.cu", "simple_dense"), tile = compile("tile.cu", "tile_dense");
  const char *ceiling = "FMA rate: 2 x 64 x 64 FLOP a row";
  rung("dense 64 x 64", "simple", ceiling, [&] { launch(simple, kRows * kWidth, 128, arguments); });
  arguments.out = tile_d.get();
  rung("dense 64 x 64", "tile, fp32", ceiling,
       [&] { launch(tile, kRows / TILE_ROWS * TILE_THREADS, TILE_THREADS, arguments, kWidth * TILE_ROWS * 4); });
  /* Both are sums of 65 products in fp32, in their order or fused: 65 eps of the largest partial sum. */
  expect_equal("dense, fp32", tile_d.values(in.size()), simple_d.values(in.size()), 65 * 6e-8);
}

void update() {
  constexpr unsigned kCount = 23616; /* parameters of the 64-64-64 network, about */
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  const unsigned stride = kCount + SLOT_TERMS;
  std::vector<float> slabs(static_cast<size_t>(kSlabs) * stride, 0.0f), start(kCount);
  for (int s = 0; s < kSlabs; ++s)
    for (unsigned i = 0; i < kCount; ++i) slabs[static_cast<size_t>(s) * stride + i] = normal(random);
  for (float &value : start) value = normal(random);
  const Buffer<float> slabs_d(slabs), p1(start), m1(kCount), v1(kCount), p2(start), m2(kCount), v2(kCount);
  train_state state = {};
  state.bad_step = UINT32_MAX;
  const Buffer<train_state> state_d(std::vector<train_state>{state});
  const simple_update_arguments simple = {slabs_d.get(), p1.get(), m1.get(), v1.get(), kCount, kSlabs,
                                          stride,        1e-3f,    0.9f,     0.999f,   1e-8f,  1.0f};
  update_arguments current = {};
  current.parameters = p2.get(), current.moment1 = m2.get(), current.moment2 = v2.get();
  current.slots = slabs_d.get(), current.state = state_d.get(), current.slot_stride = stride;
  current.count = kCount, current.slot_count = kSlabs;
  current.rows_in_epoch = current.batch = kRows, current.steps_per_epoch = 1;
  current.optimizer = OPTIMIZER_ADAM, current.rate_schedule = RATE_CONSTANT, current.learning_rate = 1e-3f;
  current.beta1 = 0.9f, current.beta2 = 0.999f, current.epsilon = 1e-8f;
  const struct kernel simple_kernel = compile("simple.cu", "simple_update");
  struct kernel current_kernel;
  check(device_builtin(device, "update", "reduce_update", &current_kernel));
  launch(simple_kernel, kCount, 128, simple);
  launch(current_kernel, (kCount + 3) / 4, 128, current);
  std::vector<float> got = p2.values(kCount), want = p1.values(kCount);
  for (unsigned i = 0; i < kCount; ++i) got[i] -= start[i], want[i] -= start[i];
  /* A change of 1e-3 beside parameters of up to 4: the difference of two roundings of these, 2 x 4 eps / 1e-3. */
  expect_equal("update", got, want, 5e-4);
  expect_equal("update, first moment", m2.values(kCount), m1.values(kCount), kSlabs * 6e-8);
  const char *ceiling = "L2 or DRAM: slots + 24 bytes a parameter";
  rung("reduce + update", "simple", ceiling, [&] { launch(simple_kernel, kCount, 128, simple); });
  rung("reduce + update", "current", ceiling, [&] { launch(current_kernel, (kCount + 3) / 4, 128, current); });
}

void models() {
  noprop_dataset *data;
  noprop_array x, y;
  check(noprop_dataset_generate("two-moons", kRows, -1, 0, &data));
  check(noprop_dataset_get(data, "train", "x", &x));
  check(noprop_dataset_get(data, "train", "y", &y));
  noprop_model_shape shape = {};
  shape.condition_type = NOPROP_TYPE_FLOAT32, shape.condition_width = 2;
  shape.target_type = NOPROP_TYPE_INT32, shape.target_width = 2, shape.target_is_label = true;
  const auto *labels = static_cast<const int32_t *>(y.values);
  const auto *points = static_cast<const float *>(x.values);
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> uniform(0.01f, 0.99f);
  std::vector<float> target(2 * kRows, 0.0f), noise(2 * kRows), t(kRows);
  for (int i = 0; i < kRows; ++i) target[2 * i + labels[i]] = 1.0f, t[i] = uniform(random);
  for (float &value : noise) value = normal(random);
  std::vector<float> gradient, end;
  for (const char *precision : {"fp32", "tf32"}) {
    noprop_model *model = create(precision, shape);
    const bool first = gradient.empty();
    const std::string form = first ? "current, fp32" : "current, tf32";
    const long values = noprop_model_parameter_values(model);
    if (first) {
      std::vector<float> weights(values);
      check(noprop_model_get_parameters(model, false, weights.data()));
      const simple_network net = describe(model, 32);
      const Buffer<float> weights_d(weights), x_d(std::vector<float>(points, points + 2 * kRows)), target_d(target),
          t_d(t), noise_d(noise), scratch(static_cast<size_t>(kRows) * 3 * net.values),
          slabs(static_cast<size_t>(kRows) * values), out(2 * kRows), moment1(values), moment2(values);
      const simple_arguments arguments = {net,       weights_d.get(), x_d.get(),     target_d.get(),
                                          t_d.get(), noise_d.get(),   scratch.get(), slabs.get(),
                                          out.get(), kMargin,         kRows,         kSteps};
      const struct kernel train = compile("simple.cu", "simple_train"), solve = compile("simple.cu", "simple_solve");
      launch(train, kRows, 32, arguments);
      launch(solve, kRows, 32, arguments);
      const std::vector<float> all = slabs.values(static_cast<size_t>(kRows) * values);
      gradient.assign(values, 0.0f);
      for (long i = 0; i < values; ++i) {
        double sum = 0;
        for (int r = 0; r < kRows; ++r) sum += all[static_cast<size_t>(r) * values + i];
        gradient[i] = static_cast<float>(sum);
      }
      end = out.values(2 * kRows);
      rung("train step", "simple", "mma or FMA rate: 3 products of every layer",
           [&] { launch(train, kRows, 32, arguments); });
      rung("5 Euler steps", "simple", "mma or FMA rate; special functions",
           [&] { launch(solve, kRows, 32, arguments); });
    }
    std::vector<float> got(values), end_got(2 * kRows);
    noprop_loss_request request = {};
    noprop_loss_terms terms;
    request.rows = kRows, request.condition = points, request.target = labels;
    request.t = t.data(), request.noise = noise.data(), request.gradient = got.data();
    check(noprop_model_loss(model, &request, &terms));
    noprop_sampler_options options = noprop_sampler_options_default(model);
    std::snprintf(options.method, sizeof options.method, "euler");
    std::snprintf(options.init, sizeof options.init, "given");
    options.steps = kSteps, options.final_denoise = 0, options.start = noise.data();
    check(noprop_sample(model, &options, &x, kRows, end_got.data(), nullptr));
    /* fp32: some 200 roundings on the way of a row, most of them small against the largest value. tf32: operands with
     * 2^-11 in seven layers forward and as many backward; a solve adds its steps, of 1/kSteps each. */
    const double bound = first ? 2e-5 : 14 * std::ldexp(1.0, -11);
    expect_equal(("train step, " + form).c_str(), got, gradient, bound);
    expect_equal(("5 Euler steps, " + form).c_str(), end_got, end, bound);
    check(noprop_model_bind(model, &x, &y, kRows));
    check(noprop_model_train_step(model, 1));
    rung("train step, with update", form.c_str(), "mma or FMA rate: 3 products of every layer",
         [&] { check(noprop_model_train_step(model, 1)); });
    rung("5 Euler steps, with copies", form.c_str(), "mma or FMA rate; special functions",
         [&] { check(noprop_sample(model, &options, &x, kRows, end_got.data(), nullptr)); });
    noprop_model_destroy(model);
  }
  noprop_dataset_destroy(data);
}

}  // namespace

int main(int count, char **arguments) {
  const char *name = "auto";
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    if (argument == "--counts") {
      counts = true;
    } else if (i + 1 < count && argument == "--device") {
      name = arguments[++i];
    } else if (i + 1 < count && argument == "--seconds") {
      seconds = std::atof(arguments[++i]);
    } else {
      std::fprintf(stderr, "usage: bench_ladder [--device NAME] [--seconds S] [--counts]\n");
      return 2;
    }
  }
  if (counts) {
    setenv("NOPROP_VGPU_MODE", "count", 1);
    name = "virtual";
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  check(noprop_device_open(name, &device));
  std::fprintf(stderr, "%s\n", noprop_device_reason(device));
  check(device_enter(device));
  std::printf(
      counts ? "| kernel | form | launches | warp instructions | global sectors | wavefronts | conflicts | ceiling |\n"
               "|---|---|---:|---:|---:|---:|---:|---|\n"
             : "| kernel | form | ms | ms min | ceiling |\n|---|---|---:|---:|---|\n");
  dense();
  update();
  models();
  noprop_device_close(device);
  return wrong ? 1 : 0;
}
