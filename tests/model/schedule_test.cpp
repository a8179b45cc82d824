/* The host's schedules: the survey's table (4.3), end points, derivatives, the inverse, grids. */
#include <cmath>

#include "tests/model/support.h"

extern "C" {
#include "engine/schedule.h"
}

using namespace model_test;

namespace {

struct settings settings_of(const Keys &keys) {
  const Config config = make_config(keys);
  struct settings settings = {};
  EXPECT_OK(settings_resolve(config.get(), &settings));
  return settings;
}

const char *const kTypes[] = {"linear", "cosine", "sigmoid"};

}  // namespace

TEST(Schedule, MeetsTheTableOfTheSurvey) {
  const struct {
    Keys keys;
    double alpha_bar[5], gamma_prime[5];
  } rows[] = {
      {{{"schedule.type", "linear"}, {"schedule.alpha_bar", "[0.01, 0.99]"}},
       {.01, .255, .5, .745, .99},
       {98.99, 5.159, 3.92, 5.159, 98.99}},
      {{{"schedule.type", "cosine"}}, {.001, .1531, .5062, .8558, .999}, {38.89, 8.655, 6.234, 8.871, 0}},
      {{{"schedule.type", "sigmoid"}}, {.00669, .0759, .5, .9241, .9933}, {10, 10, 10, 10, 10}},
  };
  for (const auto &row : rows) {
    struct settings settings = settings_of(row.keys);
    settings.schedule.renormalise = false;
    for (int i = 0; i < 5; ++i) {
      const noprop_schedule_values got = schedule_values(&settings, 0.25 * i);
      EXPECT_NEAR(got.alpha_bar, row.alpha_bar[i], 6e-4 * row.alpha_bar[i]);
      EXPECT_NEAR(got.gamma_prime, row.gamma_prime[i], 6e-4 * row.gamma_prime[i] + 1e-9);
    }
  }
}

TEST(Schedule, MeetsItsEndPointsAndItsOwnDerivative) {
  for (const char *type : kTypes) {
    const struct settings settings = settings_of({{"schedule.type", type}, {"schedule.alpha_bar", "[0.002, 0.9995]"}});
    EXPECT_NEAR(schedule_values(&settings, 0.0).alpha_bar, 0.002, 1e-16) << type;
    EXPECT_NEAR(schedule_values(&settings, 1.0).one_minus_alpha_bar, 0.0005, 1e-16) << type;
    for (double t = 0.05; t < 1.0; t += 0.09) {
      const noprop_schedule_values v = schedule_values(&settings, t);
      EXPECT_NEAR(v.alpha_bar + v.one_minus_alpha_bar, 1.0, 1e-15);
      EXPECT_NEAR(v.snr, std::exp(v.gamma), 1e-13 * v.snr);
      const double h = 1e-5; /* central difference: error h^2 gamma''' / 6, some 1e-8 */
      const double slope =
          (schedule_values(&settings, t + h).gamma - schedule_values(&settings, t - h).gamma) / (2 * h);
      EXPECT_NEAR(v.gamma_prime, slope, 1e-6 * slope) << type << " at " << t;
      EXPECT_NEAR(v.snr_prime, v.gamma_prime * v.snr, 1e-13 * v.snr_prime);
    }
  }
}

TEST(Schedule, InverseFindsTheTime) {
  for (const char *type : kTypes) {
    const struct settings settings = settings_of({{"schedule.type", type}});
    for (double t = 0.0; t <= 1.0; t += 0.0625) {
      const double gamma = schedule_values(&settings, t).gamma, found = schedule_time_of_gamma(&settings, gamma);
      EXPECT_NEAR(schedule_values(&settings, found).gamma, gamma, 1e-12) << type;
      /* At t = 1 the cosine schedule is flat: there gamma says little about t. */
      if (t < 1.0) {
        EXPECT_NEAR(found, t, 1e-12) << type;
      }
    }
  }
}

TEST(Schedule, GridsAreEvenInTimeOrInGamma) {
  const struct settings vp = settings_of({{"variant", "ct"}});
  const struct settings linear = settings_of({{"variant", "fm"}});
  double times[9];
  ASSERT_OK(schedule_grid(&vp, GRID_T, 8, times));
  for (int i = 0; i <= 8; ++i) EXPECT_EQ(times[i], i / 8.0);
  ASSERT_OK(schedule_grid(&vp, GRID_GAMMA, 8, times));
  const double low = schedule_values(&vp, 0.0).gamma, high = schedule_values(&vp, 1.0).gamma;
  for (int i = 0; i <= 8; ++i)
    EXPECT_NEAR(schedule_values(&vp, times[i]).gamma, low + (high - low) * i / 8, 1e-9 * (high - low));
  ASSERT_OK(schedule_grid(&linear, GRID_GAMMA, 8, times));
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
