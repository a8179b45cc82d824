// --json: one flat object per line on standard output, nothing else there, with the keys that scripts rely on.
#include <set>

#include "small.h"

namespace {

double number(const std::map<std::string, std::string> &object, const std::string &key) {
  const auto found = object.find(key);
  EXPECT_NE(found, object.end()) << "no key " << key;
  return found == object.end() ? 0 : std::stod(found->second);
}

TEST(Json, EveryCommandPrintsOneObjectPerLine) {
  SmallWork work;
  const Outcome trained = work.train("run", {"--json", "train.epochs=3", "network.dropout=0"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  const auto lines = parse_json(trained.out);
  ASSERT_EQ(lines.size(), 4U) << "three epochs and the end: " << trained.out;
  for (int i = 0; i < 3; i++) {
    EXPECT_EQ(lines[i].at("event"), "\"epoch\"");
    EXPECT_EQ(number(lines[i], "epoch"), i + 1);
  }
  EXPECT_EQ(lines[3].at("event"), "\"done\"");
  for (const char *key : {"accuracy", "mse", "loss", "validation_loss", "seconds", "steps_per_second", "parameters"})
    EXPECT_TRUE(lines[3].count(key)) << key;
  EXPECT_LE(number(lines[3], "accuracy"), 1.0);

  struct {
    std::vector<std::string> arguments;
    std::vector<std::string> keys;
  } cases[] = {
      {{"evaluate", "run"}, {"split", "rows", "accuracy", "mse", "loss"}},
      {{"predict", "run", "-o", "p.h5"}, {"file", "split", "target", "rows"}},
      {{"data", "gaussians", "g.h5", "--rows", "100"}, {"file", "rows_train", "rows_validation", "rows_test"}},
      {{"compare", "run"}, {"run", "accuracy", "loss", "seconds", "parameters"}},
      {{"inspect", "run"}, {"kind", "epochs", "loss", "accuracy"}},
      {{"inspect", "run/model.h5"}, {"kind", "steps", "config"}},
      {{"inspect", "run/model.h5", "--kernels"}, {"kind", "kernels"}},
      {{"inspect", "p.h5"}, {"kind", "test.y", "test.probabilities"}},
      {{"schedule", "linear", "--points", "3"}, {"t", "gamma", "gamma_prime", "alpha_bar", "snr"}},
      {{"devices"}, {"device", "name", "virtual", "taken", "memory_bytes"}},
      {{"version"}, {"version"}},
      {{"help"}, {"command", "summary"}},
      {{"help", "config"}, {"key", "default", "allowed", "meaning"}},
      {{"plot", "run"}, {"run"}},
  };
  for (auto &c : cases) {
    c.arguments.push_back("--json");
    const Outcome outcome = work.run(c.arguments);
    EXPECT_EQ(outcome.code, 0) << c.arguments[0] << ": " << outcome.err;
    const auto objects = parse_json(outcome.out);
    ASSERT_GE(objects.size(), 1U) << c.arguments[0];
    for (const std::string &key : c.keys) EXPECT_TRUE(objects[0].count(key)) << c.arguments[0] << ": " << key;
  }
}

TEST(Json, ScheduleEndsAtItsBounds) {
  const auto points = parse_json(noprop({"schedule", "cosine", "alpha_bar=[0.02,0.9]", "--points", "5", "--json"}).out);
  ASSERT_EQ(points.size(), 5U);
  EXPECT_NEAR(number(points.front(), "alpha_bar"), 0.02, 1e-9);
  EXPECT_NEAR(number(points.back(), "alpha_bar"), 0.9, 1e-9);
}

}  // namespace
