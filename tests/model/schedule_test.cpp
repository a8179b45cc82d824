/* The host's schedules: the survey's table (4.3), end points, derivatives, the inverse, grids. */
#include <cmath>
#include <cstdio>
#include <memory>

#include "tests/model/support.h"

extern "C" {
#include "engine/schedule.h"
#include "kernels/schedule_tangent.h"
}

using namespace model_test;

namespace {

struct settings settings_of(const Keys &keys) {
  const Config config = make_config(keys);
  struct settings settings = {};
  EXPECT_OK(settings_resolve(config.get(), &settings));
  return settings;
}

/* A configuration's schedule, ready to be evaluated. */
struct Described {
  struct settings settings;
  std::unique_ptr<struct schedule> schedule = std::make_unique<struct schedule>();
  explicit Described(const Keys &keys) : settings(settings_of(keys)) {
    EXPECT_OK(schedule_describe(&settings, nullptr, schedule.get()));
  }
  noprop_schedule_values at(double t) const { return schedule_at(schedule.get(), t); }
};

const char *const kTypes[] = {"linear",    "cosine",     "sigmoid", "exponential", "cauchy", "laplace",
                              "quadratic", "polynomial", "sine",    "tabulated",   "network"};

/* The keys of a type, with end points that a tabulated schedule has too. */
Keys keys_of(const std::string &type) {
  Keys keys = {{"schedule.type", type}, {"schedule.alpha_bar", "[0.002, 0.9995]"}};
  const double low = std::log(.002 / .998), high = std::log(.9995 / .0005);
  if (type == "tabulated") {
    char table[160];
    (void)std::snprintf(table, sizeof table, "[[0, %.17g], [0.2, -3], [0.3, -2.5], [0.7, 4], [1, %.17g]]", low, high);
    keys.push_back({"schedule.table", table});
  }
  return keys;
}

}  // namespace

/* Survey 4.3, four digits. Where the bounds are not met there, the earlier systems' forms. */
TEST(Schedule, MeetsTheTableOfTheSurvey) {
  const struct {
    const char *type;
    double alpha_bar[5], gamma_prime[5], snr_prime[5];
  } rows[] = {
      {"linear", {.01, .255, .5, .745, .99}, {98.99, 5.159, 3.92, 5.159, 98.99}, {.9999, 1.766, 3.92, 15.07, 9800}},
      {"cosine", {.001, .1531, .5062, .8558, .999}, {38.89, 8.655, 6.234, 8.871, 0}, {.0389, 1.565, 6.391, 52.62, 0}},
      {"sigmoid", {.00669, .0759, .5, .9241, .9933}, {10, 10, 10, 10, 10}, {.0674, .8208, 10, 121.8, 1484}},
      {"exponential",
       {.01, .3956, .6295, .7713, .8574},
       {198, 4.972, 3.091, 2.48, 2.169},
       {2, 3.254, 5.252, 8.364, 13.04}},
      {"cauchy",
       {.0716, .1287, .5, .8713, .9284},
       {1.805, 3.837, 12.48, 3.837, 1.805},
       {.1392, .5668, 12.48, 25.98, 23.42}},
      {"laplace",
       {.0133, .0502, .5, .9498, .9867},
       {2.516, 8.432, 19.6, 8.432, 2.516},
       {.0339, .4459, 19.6, 159.5, 186.6}},
      {"quadratic", {.01, .07125, .255, .5613, .99}, {0, 7.405, 5.159, 5.97, 198}, {0, .5681, 1.766, 7.636, 19600}},
      {"polynomial", {.01, .07125, .255, .5613, .99}, {0, 7.405, 5.159, 5.97, 198}, {0, .5681, 1.766, 7.636, 19600}},
  };
  for (const auto &row : rows) {
    const Described schedule(
        {{"schedule.type", row.type}, {"schedule.alpha_bar", "[0.01, 0.99]"}, {"schedule.renormalise", "false"}});
    for (int i = 0; i < 5; ++i) {
      const noprop_schedule_values got = schedule.at(0.25 * i);
      /* Four digits: half a unit of the fourth of the smallest leading digit. The table's alpha_bar has four places. */
      EXPECT_NEAR(got.alpha_bar, row.alpha_bar[i], 6e-4 * row.alpha_bar[i] + 5.1e-5) << row.type << i;
      EXPECT_NEAR(got.gamma_prime, row.gamma_prime[i], 6e-4 * row.gamma_prime[i] + 1e-9) << row.type << i;
      EXPECT_NEAR(got.snr_prime, row.snr_prime[i], 1e-3 * row.snr_prime[i] + 1e-9) << row.type << i;
    }
  }
}

TEST(Schedule, MeetsItsEndPointsAndItsOwnDerivative) {
  for (const char *type : kTypes) {
    const Described schedule(keys_of(type));
    EXPECT_NEAR(schedule.at(0.0).alpha_bar, 0.002, 1e-16) << type;
    EXPECT_NEAR(schedule.at(1.0).one_minus_alpha_bar, 0.0005, 1e-16) << type;
    for (double t = 0.04; t < 1.0; t += 0.09) { /* not at laplace's kink */
      const noprop_schedule_values v = schedule.at(t);
      EXPECT_NEAR(v.alpha_bar + v.one_minus_alpha_bar, 1.0, 1e-15);
      EXPECT_NEAR(v.snr, std::exp(v.gamma), 1e-13 * v.snr);
      const double h = 1e-5; /* central difference: error h^2 gamma''' / 6, some 1e-8 */
      const double slope = (schedule.at(t + h).gamma - schedule.at(t - h).gamma) / (2 * h);
      EXPECT_NEAR(v.gamma_prime, slope, 1e-6 * slope) << type << " at " << t;
      EXPECT_NEAR(v.snr_prime, v.gamma_prime * v.snr, 1e-13 * v.snr_prime);
    }
  }
}

/* Over 10^4 points, with numbers that make each type hard: a narrow middle, a slow start, kinks, steep tables. */
TEST(Schedule, NeverFalls) {
  const Keys extra[] = {{{"schedule.type", "cauchy"}, {"schedule.scale", "0.001"}},
                        {{"schedule.type", "laplace"}, {"schedule.scale", "0.002"}, {"schedule.loc", "0.9"}},
                        {{"schedule.type", "laplace"}, {"schedule.loc", "-2"}},
                        {{"schedule.type", "exponential"}, {"schedule.beta", "0.0001"}},
                        {{"schedule.type", "exponential"}, {"schedule.beta", "80"}},
                        {{"schedule.type", "polynomial"}, {"schedule.power", "12"}},
                        {{"schedule.type", "tabulated"},
                         {"schedule.table", "[[0, -9], [0.1, -8.999], [0.11, 5], [0.9, 5.0001], [1, 12]]"}},
                        {{"schedule.type", "network"}, {"schedule.hidden", "[128, 128, 128, 128]"}}};
  std::vector<Keys> all(std::begin(extra), std::end(extra));
  for (const char *type : kTypes) all.push_back(keys_of(type));
  for (const Keys &keys : all) {
    const Described schedule(keys);
    double last = -1e300;
    for (int i = 0; i <= 10000; ++i) {
      const auto v = schedule.at(i / 10000.0);
      ASSERT_GE(v.gamma_prime, 0) << keys[0].second << " at " << i;
      ASSERT_GE(v.gamma, last - 1e-14 * std::fabs(last)) << keys[0].second << " at " << i;
      last = v.gamma;
    }
  }
}

TEST(Schedule, InverseFindsTheTime) {
  for (const char *type : kTypes) {
    const Described schedule(keys_of(type));
    for (double t = 0.0; t <= 1.0; t += 0.0625) {
      const double gamma = schedule.at(t).gamma, found = schedule_time_of_gamma(schedule.schedule.get(), gamma);
      EXPECT_NEAR(schedule.at(found).gamma, gamma, 1e-12) << type;
      /* Some are flat at an end: there gamma says little about t. */
      if (schedule.at(t).gamma_prime > 1e-3) {
        EXPECT_NEAR(found, t, 1e-12) << type;
      }
    }
  }
}

/* Derivatives by the numbers that can be trained, against central differences: h^2 times a third derivative of some
 * 1e3, and 1e-16/h times gamma'. */
TEST(Schedule, TangentsAreTheDerivativesByItsNumbers) {
  const struct {
    int form;
    double schedule_description::*number[2];
  } cases[] = {{SCHEDULE_FORM_COSINE, {&schedule_description::s}},
               {SCHEDULE_FORM_SIGMOID, {&schedule_description::k, &schedule_description::middle}},
               {SCHEDULE_FORM_EXPONENTIAL, {&schedule_description::beta}},
               {SCHEDULE_FORM_CAUCHY, {&schedule_description::loc, &schedule_description::scale}},
               {SCHEDULE_FORM_LAPLACE, {&schedule_description::loc, &schedule_description::scale}},
               {SCHEDULE_FORM_POLYNOMIAL, {&schedule_description::power}}};
  for (const auto &c : cases)
    for (int number = 0; number < 2 && c.number[number]; ++number)
      for (double t = 0.013; t < 1; t += 0.05) {
        schedule_description d = {};
        d.form = c.form, d.renormalise = 1, d.low = .002, d.range = .9975, d.one_minus_high = .0005;
        d.s = .03, d.k = 8, d.middle = .45, d.beta = 2.3, d.loc = .42, d.scale = .2, d.power = 2.4;
        const schedule_tangent tangent = schedule_tangent_by(&d, schedule_evaluate(&d, t), number, t);
        const double h = 1e-6;
        schedule_description up = d, down = d;
        up.*c.number[number] += h, down.*c.number[number] -= h;
        const schedule_point high = schedule_evaluate(&up, t), low = schedule_evaluate(&down, t);
        const double gamma = (schedule_gamma(high) - schedule_gamma(low)) / (2 * h);
        const double prime = (high.gamma_prime - low.gamma_prime) / (2 * h);
        EXPECT_NEAR(tangent.gamma, gamma, 1e-6 * std::fabs(gamma) + 1e-8) << c.form << " at " << t;
        EXPECT_NEAR(tangent.gamma_prime, prime, 1e-6 * std::fabs(prime) + 1e-7) << c.form << " at " << t;
      }
}

/* ---- the kernels' single precision ---- */

namespace {

using Wide = long double;

/* alpha_bar and 1 - alpha_bar in extended precision: 64 bits lose 40 to cancellation before float32 would see it. */
std::pair<Wide, Wide> wide_values(const struct settings &settings, const struct schedule &schedule, Wide t) {
  const auto &s = settings.schedule;
  const Wide low = s.alpha_bar[0], high = s.alpha_bar[1], pi = std::acos(Wide{-1});
  const auto sigmoid = [](Wide x) { return 1 / (1 + std::exp(-x)); };
  const auto of = [&](const auto &f) {
    const Wide rise = (f(t) - f(Wide{0})) / (f(Wide{1}) - f(Wide{0}));
    const Wide fall = (f(Wide{1}) - f(t)) / (f(Wide{1}) - f(Wide{0}));
    return std::pair<Wide, Wide>{low + (high - low) * rise, (1 - high) + (high - low) * fall};
  };
  const Wide loc = s.loc, scale = s.scale;
  switch (s.type) {
    case SCHEDULE_LINEAR:
      return of([](Wide u) { return u; });
    case SCHEDULE_COSINE:
      return of([&](Wide u) { return -std::cos(pi * (u + s.s) / (1 + Wide{s.s})); });
    case SCHEDULE_SIGMOID:
      return of([&](Wide u) { return sigmoid(s.k * (u - s.t_mid)); });
    case SCHEDULE_EXPONENTIAL:
      return of([&](Wide u) { return -std::exp(-s.beta * u); });
    case SCHEDULE_CAUCHY:
      return of([&](Wide u) { return std::atan((u - loc) / scale); });
    case SCHEDULE_LAPLACE:
      return of([&](Wide u) { return u < loc ? std::exp((u - loc) / scale) : 2 - std::exp((loc - u) / scale); });
    case SCHEDULE_QUADRATIC:
      return of([](Wide u) { return u * u; });
    case SCHEDULE_POLYNOMIAL:
      return of([&](Wide u) { return std::pow(u, Wide{s.power}); });
    case SCHEDULE_SINE:
      return of([&](Wide u) { return std::sin(pi / 2 * u); });
    default: { /* by gamma: in double, which is 2^29 times finer than what is tested */
      const Wide gamma = schedule_at(&schedule, static_cast<double>(t)).gamma;
      return {sigmoid(gamma), sigmoid(-gamma)};
    }
  }
}

std::string text_of(double value) {
  char text[40];
  (void)std::snprintf(text, sizeof text, "%.9ef", static_cast<double>(static_cast<float>(value)));
  return text;
}

}  // namespace

/* The text that the kernels are made of, as the device runs it. */
TEST(Schedule, FloatKernelsKeepBothEndsRelatively) {
  std::vector<Keys> cases;
  for (const char *type : kTypes)
    for (const char *ends : {"[0.001, 0.999]", "[1.0e-6, 0.9999]"}) {
      Keys keys = keys_of(type);
      keys[1].second = ends;
      cases.push_back(keys);
    }
  /* Narrow ones with numbers that float32 has: rounding (t - loc)/scale is arithmetic, rounding loc is not. */
  cases.push_back({{"schedule.type", "cosine"}, {"schedule.s", "0.7"}});
  cases.push_back({{"schedule.type", "sigmoid"}, {"schedule.k", "23"}, {"schedule.t_mid", "0.4"}});
  cases.push_back({{"schedule.type", "exponential"}, {"schedule.beta", "9"}});
  cases.push_back({{"schedule.type", "polynomial"}, {"schedule.power", "3.7"}});
  cases.push_back({{"schedule.type", "laplace"}, {"schedule.scale", "0.03125"}, {"schedule.loc", "0.625"}});
  cases.push_back({{"schedule.type", "cauchy"}, {"schedule.scale", "0.015625"}, {"schedule.loc", "0.3125"}});

  std::string rows, schedules;
  std::vector<std::unique_ptr<Described>> described;
  for (const Keys &keys : cases) {
    described.push_back(std::make_unique<Described>(keys));
    const struct schedule &schedule = *described.back()->schedule;
    const schedule_description &d = schedule.description;
    const std::string name = "rows" + std::to_string(described.size());
    rows += "__device__ const float " + name + "[] = {";
    for (int i = 0; i < 3 * d.knots; ++i) rows += text_of(schedule.rows[i / 3][i % 3]) + ", ";
    rows += "0.0f};\n";
    schedules += "{" + std::to_string(d.form) + ", 1";
    for (double v : {d.low, d.range, d.one_minus_high, d.s, d.k, d.middle, d.beta, d.loc, d.scale, d.power, d.first,
                     d.span, d.mix})
      schedules += ", " + text_of(v);
    schedules += ", " + std::to_string(d.knots) + ", " + name + "},\n";
  }
  const std::string source = "#include \"schedule.h\"\n" + rows +
                             "__device__ const schedule_description schedules[] = {" + schedules +
                             "};\nstruct arguments { const float *t; float *values; unsigned count; };\n"
                             "extern \"C\" __global__ void evaluate(const arguments a) {\n"
                             "  const schedule_description schedule = schedules[blockIdx.x];\n"
                             "  for (unsigned i = threadIdx.x; i < a.count; i += blockDim.x) {\n"
                             "    const schedule_point p = schedule_evaluate(&schedule, a.t[i]);\n"
                             "    float *to = a.values + 3 * (blockIdx.x * a.count + i);\n"
                             "    to[0] = p.alpha_bar, to[1] = p.one_minus_alpha_bar, to[2] = p.gamma_prime;\n"
                             "  }\n}\n";
  struct kernel kernel;
  ASSERT_OK(device_compile(device(), source.c_str(), "evaluate", &kernel));

  std::vector<float> t = {0.0f, 1.0f};
  for (int i = 1; i < 1024; ++i) t.push_back(static_cast<float>(i) / 1024.0f); /* also 1 - t is exact */
  for (int i = 1; i <= 23; ++i) {
    t.push_back(std::ldexp(1.0f, -i));
    t.push_back(1.0f - std::ldexp(1.0f, -i));
    t.push_back(std::ldexp(1.37f, -i));
  }
  const size_t count = t.size(), total = 3 * count * cases.size();
  struct {
    CUdeviceptr t, values;
    unsigned count;
  } arguments = {0, 0, static_cast<unsigned>(count)};
  struct pool *pool;
  ASSERT_OK(pool_create(device(), 0, &pool));
  ASSERT_OK(pool_alloc(pool, count * sizeof(float), "times", &arguments.t));
  ASSERT_OK(pool_alloc(pool, total * sizeof(float), "values", &arguments.values));
  ASSERT_OK(device_upload(device(), arguments.t, t.data(), count * sizeof(float)));
  ASSERT_OK(
      device_launch(device(), &kernel, static_cast<unsigned>(cases.size()), 128, 0, &arguments, sizeof arguments));
  std::vector<float> values(total);
  ASSERT_OK(device_download(device(), values.data(), arguments.values, total * sizeof(float)));
  pool_destroy(pool);

  const double unit = std::ldexp(1.0, -23);
  for (size_t number = 0; number < cases.size(); ++number) {
    const Described &schedule = *described[number];
    double share = 0, slope_share = 0;
    for (size_t i = 0; i < count; ++i) {
      const float *got = &values[3 * (number * count + i)];
      const auto [signal, noise] = wide_values(schedule.settings, *schedule.schedule, t[i]);
      const noprop_schedule_values v = schedule.at(static_cast<double>(t[i]));
      /* A network's gamma is the difference of its ends: near 0 it cannot be finer than they are. */
      const double size = schedule.settings.schedule.type == SCHEDULE_NETWORK
                              ? std::max(std::fabs(schedule.at(0).gamma), std::fabs(schedule.at(1).gamma))
                              : std::fabs(v.gamma);
      const double allowed = (4 + size) * unit;
      for (const auto &[value, want] : {std::pair<float, Wide>{got[0], signal}, {got[1], noise}}) {
        const double error = static_cast<double>(std::fabs((static_cast<Wide>(value) - want) / want));
        EXPECT_LE(error, allowed) << cases[number][0].second << " " << cases[number][1].second << " at " << t[i];
        share = std::max(share, error / allowed);
      }
      /* The double and the extended one are two texts. */
      EXPECT_NEAR(v.alpha_bar, static_cast<double>(signal), 1e-12 * v.alpha_bar) << cases[number][0].second;
      EXPECT_NEAR(v.one_minus_alpha_bar, static_cast<double>(noise), 1e-12 * v.one_minus_alpha_bar);
      if (v.gamma_prime > 1e-3)
        slope_share = std::max(slope_share, std::fabs(static_cast<double>(got[2]) / v.gamma_prime - 1) / unit);
    }
    std::printf("[  share   ] %-11s %s: %.2f of (4 + |gamma|) 2^-23; gamma' within %.1f 2^-23\n",
                cases[number][0].second.c_str(), cases[number][1].second.c_str(), share, slope_share);
    EXPECT_LE(slope_share, 64) << cases[number][0].second;
  }
}

TEST(Schedule, GridsAreEvenInTimeOrInGamma) {
  const struct settings vp = settings_of({{"variant", "ct"}});
  const struct settings linear = settings_of({{"variant", "fm"}});
  double times[9];
  ASSERT_OK(schedule_grid(&vp, nullptr, GRID_T, 8, times));
  for (int i = 0; i <= 8; ++i) EXPECT_EQ(times[i], i / 8.0);
  ASSERT_OK(schedule_grid(&vp, nullptr, GRID_GAMMA, 8, times));
  const Described schedule(Keys{{"variant", "ct"}});
  const double low = schedule.at(0.0).gamma, high = schedule.at(1.0).gamma;
  for (int i = 0; i <= 8; ++i)
    EXPECT_NEAR(schedule.at(times[i]).gamma, low + (high - low) * i / 8, 1e-9 * (high - low));
  ASSERT_OK(schedule_grid(&linear, nullptr, GRID_GAMMA, 8, times));
  EXPECT_EQ(times[0], 0.0);
  EXPECT_EQ(times[8], 1.0);
  EXPECT_NEAR(times[4], 0.5, 1e-15);
  const double end = 2 * std::log(1e-3 / 0.999);
  EXPECT_NEAR(2 * std::log(times[2] / (1 - times[2])), 0.5 * end, 1e-12 * std::fabs(end));
}

TEST(Schedule, EvaluatesForTheCaller) {
  const Config config = make_config({{"variant", "ct"}});
  const double t[] = {0.0, 0.5, 1.0}, bad[] = {0.5, 1.5};
  noprop_schedule_values values[3];
  ASSERT_OK(noprop_schedule_evaluate(config.get(), t, 3, values));
  EXPECT_NEAR(values[0].alpha_bar, 0.001, 1e-15);
  EXPECT_NEAR(values[2].alpha_bar, 0.999, 1e-15);
  EXPECT_EQ(noprop_schedule_evaluate(config.get(), bad, 2, values), NOPROP_INVALID_ARGUMENT);
  EXPECT_NE(std::string(noprop_last_error()).find("t[1] is 1.5"), std::string::npos);
}
