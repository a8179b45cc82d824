/* Schedules, paths, conversions and weights against closed forms and tabulated values. */
#include "tests/reference/schedule.h"

#include <gtest/gtest.h>

namespace {

using namespace reference;

Settings with(const Keys &keys) { return settings_from(keys); }

/* The survey's table 4.3, four digits; SNR' to four digits as well. */
TEST(Schedule, MeetsTheTabulatedValues) {
  struct Row {
    Keys keys;
    double alpha_bar[5], gamma_prime[5], snr_prime[5];
  };
  const Row rows[] = {
      {{{"schedule.type", "linear"}, {"schedule.alpha_bar", "[0.01, 0.99]"}},
       {.01, .255, .5, .745, .99},
       {98.99, 5.159, 3.92, 5.159, 98.99},
       {.9999, 1.766, 3.92, 15.07, 9800}},
      {{{"schedule.type", "cosine"}},
       {.001, .1531, .5062, .8558, .999},
       {38.89, 8.655, 6.234, 8.871, 0},
       {.0389, 1.565, 6.391, 52.62, 0}},
      {{{"schedule.type", "sigmoid"}},
       {.00669, .0759, .5, .9241, .9933},
       {10, 10, 10, 10, 10},
       {.0674, .8208, 10, 121.8, 1484}},
      {{{"schedule.type", "exponential"}, {"schedule.alpha_bar", "[0.01, 0.99]"}},
       {.01, .3956, .6295, .7713, .8574},
       {198, 4.972, 3.091, 2.48, 2.169},
       {2, 3.254, 5.252, 8.364, 13.04}},
      {{{"schedule.type", "cauchy"}, {"schedule.alpha_bar", "[0.01, 0.99]"}},
       {.0716, .1287, .5, .8713, .9284},
       {1.805, 3.837, 12.48, 3.837, 1.805},
       {.1392, .5668, 12.48, 25.98, 23.42}},
      {{{"schedule.type", "laplace"}, {"schedule.alpha_bar", "[0.01, 0.99]"}},
       {.0133, .0502, .5, .9498, .9867},
       {2.516, 8.432, 19.6, 8.432, 2.516},
       {.0339, .4459, 19.6, 159.5, 186.6}},
      {{{"schedule.type", "quadratic"}, {"schedule.alpha_bar", "[0.01, 0.99]"}},
       {.01, .07125, .255, .5613, .99},
       {0, 7.405, 5.159, 5.97, 198},
       {0, .5681, 1.766, 7.636, 19600}},
      {{{"schedule.type", "polynomial"}, {"schedule.alpha_bar", "[0.01, 0.99]"}},
       {.01, .07125, .255, .5613, .99},
       {0, 7.405, 5.159, 5.97, 198},
       {0, .5681, 1.766, 7.636, 19600}},
  };
  for (const Row &row : rows) {
    Settings settings = with(row.keys);
    settings.schedule.renormalise = false;
    for (int i = 0; i < 5; ++i) {
      const auto v = schedule_at(settings, 0.25 * i);
      EXPECT_NEAR(v.alpha_bar, row.alpha_bar[i], 6e-4 * row.alpha_bar[i] + 1e-9) << settings.schedule.type << i;
      EXPECT_NEAR(v.gamma_prime, row.gamma_prime[i], 6e-4 * row.gamma_prime[i] + 1e-9) << settings.schedule.type << i;
      EXPECT_NEAR(v.snr_prime, row.snr_prime[i], 1e-3 * row.snr_prime[i] + 1e-9) << settings.schedule.type << i;
    }
  }
}

/* Survey 4.1: the clipped alpha_bar with the derivative of the unclipped one. */
TEST(Schedule, ClippedCosineKeepsTheUnclippedDerivative) {
  Settings settings;
  settings.schedule.renormalise = false;
  const auto v = schedule_at(settings, 0.0);
  const double angle = 0.008 / 1.008 * M_PI / 2, prime = std::sin(2 * angle) * M_PI / (2 * 1.008);
  EXPECT_DOUBLE_EQ(v.alpha_bar, 0.001);
  EXPECT_NEAR(v.gamma_prime, prime / (0.001 * 0.999), 1e-10);
}

class EverySchedule : public testing::TestWithParam<const char *> {
 protected:
  Settings settings() const {
    Settings s = with({{"schedule.type", GetParam()}, {"schedule.hidden", "[3, 2]"}});
    /* A network with kinks inside (0, 1): c, 1 x 3 + 3, 3 x 2 + 2, 2 x 1 + 1. */
    s.schedule.numbers = {.4, 1.2, .3, 2, -.31, -.42, -1, .5, -1, 0, 1.5, .7, .2, -.63, .1, 2, 1, -.4};
    return s;
  }
};
INSTANTIATE_TEST_SUITE_P(Types, EverySchedule,
                         testing::Values("linear", "cosine", "sigmoid", "logistic", "exponential", "cauchy", "laplace",
                                         "quadratic", "polynomial", "sine", "network"));

TEST_P(EverySchedule, MeetsItsBoundsExactly) {
  const auto first = schedule_at(settings(), 0.0), last = schedule_at(settings(), 1.0);
  EXPECT_NEAR(first.alpha_bar, 0.001, 1e-15);
  EXPECT_NEAR(last.one_minus_alpha_bar, 0.001, 1e-15);
}

/* Central differences with h = 1e-5: truncation h^2/6 times the third derivative, rounding 1e-16/h. */
TEST_P(EverySchedule, GammaPrimeIsTheDerivativeOfGamma) {
  for (double t = 0.02; t < 0.99; t += 0.07) {
    const double h = 1e-5;
    const auto here = schedule_at(settings(), t), up = schedule_at(settings(), t + h),
               down = schedule_at(settings(), t - h);
    EXPECT_NEAR(here.gamma_prime, (up.gamma - down.gamma) / (2 * h), 1e-6 * here.gamma_prime);
    EXPECT_NEAR(here.alpha_bar_prime, (up.alpha_bar - down.alpha_bar) / (2 * h), 1e-6 * here.alpha_bar_prime + 1e-9);
    EXPECT_NEAR(here.snr_prime, (up.snr - down.snr) / (2 * h), 1e-6 * here.snr_prime);
    EXPECT_NEAR(here.alpha_bar + here.one_minus_alpha_bar, 1, 1e-15);
    EXPECT_NEAR(1 / (1 + std::exp(-here.gamma)), here.alpha_bar, 1e-14);
    EXPECT_GT(here.gamma_prime, 0);
  }
}

Settings path_settings(const std::string &variant, const std::string &prediction, const std::string &schedule) {
  return with({{"variant", variant}, {"prediction", prediction}, {"schedule.type", schedule}});
}

/* a and b have logarithmic derivatives la and lb. */
TEST(Path, LogarithmicDerivativesMatchDifferences) {
  for (const char *variant : {"fm", "ct"}) {
    const Settings settings = path_settings(variant, "auto", "cosine");
    for (double t = 0.05; t < 0.97; t += 0.1) {
      const double h = 1e-5;
      const auto here = path_at(settings, t), up = path_at(settings, t + h), down = path_at(settings, t - h);
      EXPECT_NEAR(here.la, std::log(up.a / down.a) / (2 * h), 1e-6 * std::fabs(here.la));
      EXPECT_NEAR(here.lb, std::log(up.b / down.b) / (2 * h), 1e-6 * std::fabs(here.lb));
      EXPECT_NEAR(here.r, here.la - here.lb, 1e-12 * here.r);
    }
  }
}

/* On a point of the path every kind of prediction, if exact, says the same about every quantity. */
TEST(Path, AllPredictionsAgreeUnderAnExactTarget) {
  for (const char *variant : {"fm", "ct"}) {
    const Settings settings = path_settings(variant, "auto", "sigmoid");
    for (double t = 0.05; t < 0.97; t += 0.1) {
      const auto p = path_at(settings, t);
      const double z1 = 0.7, e = -1.3, z = p.a * z1 + p.b * e, u = p.la * p.a * z1 + p.lb * p.b * e;
      const double v = (p.a * e - p.b * z1) / std::hypot(p.a, p.b);
      for (const auto &exact :
           {std::pair<std::string, double>{"velocity", u}, {"noise", e}, {"target", z1}, {"v", v}}) {
        const std::string &kind = exact.first;
        const double value = exact.second;
        const auto says = [&](const std::string &to) {
          const auto c = convert(p, kind, to);
          return c.state * z + c.prediction * value;
        };
        EXPECT_NEAR(says("velocity"), u, 1e-11 * (1 + std::fabs(u))) << kind;
        EXPECT_NEAR(says("noise"), e, 1e-11) << kind;
        EXPECT_NEAR(says("target"), z1, 1e-11) << kind;
        EXPECT_NEAR(says("v"), v, 1e-11) << kind;
        if (std::string(variant) == "ct") {
          const double ab = p.schedule.alpha_bar;
          const double mean = p.schedule.gamma_prime * (std::sqrt(ab) * z1 - 0.5 * (1 + ab) * z);
          EXPECT_NEAR(says("ou_mean"), mean, 1e-11 * (1 + std::fabs(mean))) << kind;
        }
      }
    }
  }
}

TEST(Path, ConversionsRoundTrip) {
  const char *kinds[] = {"velocity", "noise", "target", "v"};
  for (const char *variant : {"fm", "df"}) {
    const auto p = path_at(path_settings(variant, "auto", "linear"), 0.3);
    for (const char *from : kinds)
      for (const char *to : kinds) {
        const auto there = convert(p, from, to), back = convert(p, to, from);
        EXPECT_NEAR(back.state + back.prediction * there.state, 0, 1e-12);
        EXPECT_NEAR(back.prediction * there.prediction, 1, 1e-12);
      }
  }
}

/* v of the linear path is the v of the VP path of the same SNR that z/s follows, and is perpendicular to it. */
TEST(Path, LinearVIsTheVOfTheVpPathOfTheSameSnr) {
  for (double t : {0.0, 0.001, 0.3, 0.5, 0.9, 1.0}) {
    const auto p = path_at(path_settings("fm", "v", "cosine"), t);
    const double s = std::hypot(t, 1 - t), alpha_bar = square(t / s), z1 = 0.7, e = -1.3;
    const double v = std::sqrt(alpha_bar) * e - std::sqrt(1 - alpha_bar) * z1, z = t * z1 + (1 - t) * e;
    const auto target = convert(p, "v", "target"), noise = convert(p, "v", "noise"),
               velocity = convert(p, "v", "velocity");
    EXPECT_NEAR(target.state * z + target.prediction * v, z1, 1e-14) << "finite and exact at both ends";
    EXPECT_NEAR(noise.state * z + noise.prediction * v, e, 1e-14);
    if (t > 0 && t < 1) {
      EXPECT_NEAR(velocity.state * z + velocity.prediction * v, z1 - e, 1e-13);
    }
    EXPECT_NEAR(square(z / s) + square(v), square(z1) + square(e), 1e-14) << "a rotation of (z1, e)";
  }
}

/* Survey 1.1: the two forms of the drift M are the same, and both keep z = sqrt(alpha_bar) z1 on course. */
TEST(Path, OuMeanIsTheSdeDriftWithoutNoise) {
  const Settings settings = path_settings("ct", "auto", "cosine");
  for (double t : {0.1, 0.5, 0.9}) {
    const auto p = path_at(settings, t);
    const auto &s = p.schedule;
    const auto from_target = convert(p, "target", "ou_mean"), from_noise = convert(p, "noise", "ou_mean");
    EXPECT_NEAR(from_target.state, -s.gamma_prime * 0.5 * (1 + s.alpha_bar), 1e-12 * s.gamma_prime);
    EXPECT_NEAR(from_target.prediction, s.gamma_prime * std::sqrt(s.alpha_bar), 1e-12 * s.gamma_prime);
    EXPECT_NEAR(from_noise.state, s.gamma_prime * 0.5 * s.one_minus_alpha_bar, 1e-11 * s.gamma_prime);
    EXPECT_NEAR(from_noise.prediction, -s.gamma_prime * std::sqrt(s.one_minus_alpha_bar), 1e-11 * s.gamma_prime);
    const double z1 = 1.7, z = std::sqrt(s.alpha_bar) * z1;
    const double prime = 0.5 * s.alpha_bar_prime / std::sqrt(s.alpha_bar) * z1;
    EXPECT_NEAR(from_target.state * z + from_target.prediction * z1, prime, 1e-11 * std::fabs(prime));
  }
}

/* Survey 1.3: weights of the target's error make w error^2 the same number whatever is predicted. */
TEST(Weight, AWeightOfTheTargetGivesTheSameNumberForEveryPrediction) {
  for (const char *weight : {"elbo", "min_snr", "snr_prime"})
    for (const char *variant : {"fm", "ct"})
      for (double t : {0.05, 0.4, 0.8, 0.97}) {
        const double off = 0.21; /* the estimate of z1 is off by this */
        std::vector<double> bounds;
        for (const char *kind : {"target", "noise", "v", "velocity"}) {
          Settings settings = path_settings(variant, kind, "cosine");
          settings.loss.weight = weight;
          const auto p = path_at(settings, t);
          const double error = convert(p, "target", kind).prediction * off;
          bounds.push_back(weight_at(settings, p) * error * error);
        }
        for (double bound : bounds) EXPECT_NEAR(bound, bounds[0], 1e-11 * bounds[0]) << weight << variant << t;
      }
}

/* The rows of survey 1.3: what is predicted, and the bound's weight on either path. The score is -noise/b, the drift M
 * and the velocity of the VP path are linear in the target. */
TEST(Weight, ElboIsTheTableOfTheSurvey) {
  for (double t : {0.05, 0.3, 0.6, 0.95}) {
    Settings vp = path_settings("ct", "target", "sigmoid"), linear = path_settings("fm", "target", "sigmoid");
    vp.loss.weight = linear.loss.weight = "elbo";
    const auto p = path_at(vp, t), q = path_at(linear, t);
    const double ab = p.schedule.alpha_bar, rest = p.schedule.one_minus_alpha_bar, g = p.schedule.gamma_prime;
    const auto weight = [](Settings settings, const char *kind, const Path<double> &path) {
      settings.prediction = kind;
      return weight_at(settings, path);
    };
    const auto near = [](double got, double want) { EXPECT_NEAR(got, want, 1e-12 * want); };
    near(weight(vp, "target", p), g * ab / rest);
    near(weight(vp, "noise", p), g);
    near(weight(vp, "velocity", p), 4 / (g * rest));
    near(weight(vp, "v", p), g * ab); /* error of v = error of z1 over b */
    near(weight(linear, "target", q), 2 * t / std::pow(1 - t, 3));
    near(weight(linear, "noise", q), 2 / (t * (1 - t)));
    near(weight(linear, "velocity", q), 2 * t / (1 - t));
    near(weight(linear, "v", q), 2 * t / ((1 - t) * (t * t + (1 - t) * (1 - t))));
    /* Errors that no network predicts: weight times (d error / d target)^2 is SNR' again. */
    const double snr_prime = weight(vp, "target", p);
    const auto in = [&](const char *kind) { return convert(p, "target", kind).prediction; };
    near(g / rest * square(std::sqrt(rest) * in("noise")), snr_prime);
    near(g * rest * square(in("noise") / p.b), snr_prime);
    near(1 / (g * rest) * square(in("ou_mean")), snr_prime);
  }
}

/* Hang et al., "Efficient diffusion training via min-SNR weighting" (2023), section 3.4: min(SNR, c) for the target,
 * over SNR for the noise, over SNR + 1 for v. On the linear path SNR + 1 = s^2/b^2. */
TEST(Weight, MinSnrIsAsPublished) {
  for (const char *variant : {"fm", "ct"})
    for (double cap : {0.7, 5.0})
      for (double t : {0.05, 0.5, 0.7, 0.95}) {
        Settings settings = path_settings(variant, "target", "cosine");
        settings.loss.weight = "min_snr";
        settings.loss.cap = cap;
        const auto p = path_at(settings, t);
        const double snr = square(p.a / p.b), least = std::min(snr, cap);
        EXPECT_NEAR(weight_at(settings, p), least, 1e-12 * least);
        settings.prediction = "noise";
        EXPECT_NEAR(weight_at(settings, p), least / snr, 1e-12 * least / snr);
        settings.prediction = "v";
        EXPECT_NEAR(weight_at(settings, p), least / (snr + 1), 1e-12 * least);
        settings.loss.weight = "inverse_snr";
        EXPECT_NEAR(weight_at(settings, p), 1 / snr, 1e-12 / snr);
        settings.loss.weight = "snr_prime";
        settings.prediction = "target";
        const double snr_prime = 2 * p.r * snr;
        EXPECT_NEAR(weight_at(settings, p), std::min(snr_prime, cap), 1e-12 * snr_prime);
      }
}

/* The compatibility weights as survey 2.10 and the discrepancy register state them. */
TEST(Weight, CompatibilityFormsAreTheRegistersForms) {
  Settings settings = path_settings("df", "auto", "linear");
  const auto p = path_at(settings, 0.3);
  const double ab = p.schedule.alpha_bar, g = p.schedule.gamma_prime;
  settings.loss.weight = "t";
  EXPECT_DOUBLE_EQ(weight_at(settings, p), 0.3);
  settings.loss.weight = "drift";
  EXPECT_NEAR(weight_at(settings, p), 1 / ((1 - ab) * g), 1e-13);
  EXPECT_NEAR(weight_at(settings, p), ab / p.schedule.alpha_bar_prime, 1e-13);
  settings.loss.weight = "vp_velocity";
  EXPECT_NEAR(weight_at(settings, p), 1 / ((1 - ab) * ab * g), 1e-12);
}

/* Survey 2.10, row by row, on the linear schedule, alpha_bar = .01 + .98 t, whose gamma' is written out here. Rows that
 * are divided by a batch mean or belong to batches: objective_test; SNR differences of blocks: dt_test and the golden
 * tables. Two rows have no weight here: 1/(1-t) on |sqrt(1-t) o - e|^2 is the uniform one of the score, and clip(.,
 * .1, 10) belongs to a system without a preset. */
TEST(Weight, EveryRowOfTheCatalogueIsItsFormula) {
  for (const double t : {0.02, 0.3, 0.5, 0.77, 0.98}) {
    const double ab = 0.01 + 0.98 * t, slope = 0.98, g = slope / (ab * (1 - ab)), snr = ab / (1 - ab);
    const struct {
      const char *variant, *prediction, *weight;
      double formula;
    } rows[] = {
        {"fm", "velocity", "uniform", 1},         {"fm", "velocity", "t", t},
        {"ct", "target", "elbo", g * snr},        {"df", "noise", "elbo", g},
        {"df", "noise", "drift", ab / slope},     {"fm", "velocity", "vp_velocity", 1 / ((1 - ab) * ab * g)},
        {"ct", "target", "inverse_snr", 1 / snr}, {"ct", "target", "notebook", 0.5 * (2 * ab / square(1 - ab + 1e-8))},
    };
    for (const auto &row : rows) {
      Settings settings = path_settings(row.variant, row.prediction, "linear");
      settings.schedule.low = 0.01, settings.schedule.high = 0.99;
      settings.loss.weight = row.weight;
      EXPECT_NEAR(weight_at(settings, path_at(settings, t)), row.formula, 1e-12 * row.formula)
          << row.weight << " at " << t;
    }
    /* The alignment note's, in its time, on its path. */
    Settings settings = path_settings("ct", "target", "linear");
    settings.loss.path = "root_noise", settings.loss.weight = "inverse_snr";
    const double back = 1 - t;
    EXPECT_NEAR(weight_at(settings, path_at(settings, t)), back / square(1 - back), 1e-11 * back / square(1 - back));
  }
}

/* Simpson's rule in the logit of t (all weights blow up at the ends). */
TEST(Weight, AnalyticMeanIsTheIntegral) {
  for (const char *variant : {"fm", "df"})
    for (const char *kind : {"velocity", "noise", "target", "v"})
      for (const char *weight :
           {"uniform", "t", "elbo", "min_snr", "inverse_snr", "snr_prime", "drift", "vp_velocity"}) {
        Settings settings = path_settings(variant, kind, "cosine");
        settings.loss.weight = weight;
        const std::string name = weight;
        const bool linear = std::string(variant) == "fm";
        const bool closed = name == "uniform" || name == "t" ||
                            (name == "elbo" && (linear || std::string(kind) != "velocity")) ||
                            (linear && (name == "min_snr" || name == "inverse_snr"));
        if (!closed) {
          EXPECT_THROW(weight_mean(settings), std::invalid_argument);
          continue;
        }
        const double low = settings.loss.t_eps, edge = std::log((1 - low) / low);
        const int n = 20000;
        double sum = 0;
        for (int i = 0; i <= n; ++i) {
          const double s = -edge + 2 * edge * i / n, t = 1 / (1 + std::exp(-s));
          const double value = weight_at(settings, path_at(settings, t)) * t * (1 - t);
          sum += value * (i == 0 || i == n ? 1 : i % 2 ? 4 : 2);
        }
        const double mean = sum * (2 * edge / n) / 3 / (1 - 2 * low);
        EXPECT_NEAR(weight_mean(settings) / mean, 1, 1e-7) << variant << ' ' << kind << ' ' << weight;
      }
}

/* Survey 1.3: E[SNR'] of alpha_bar .01 to .99 is 98.99. */
TEST(Weight, MeanOfSnrPrimeDependsOnEndPointsOnly) {
  for (const char *type : {"linear", "cosine", "sigmoid"}) {
    Settings settings = path_settings("ct", "target", type);
    settings.loss.weight = "elbo";
    settings.loss.t_eps = 0;
    settings.schedule.low = 0.01, settings.schedule.high = 0.99;
    EXPECT_NEAR(weight_mean(settings), 98.9899, 1e-4);
  }
}

}  // namespace
