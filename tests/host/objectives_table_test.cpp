/* docs/objectives.md says which combinations of the objective's options make sense; its table is what the configuration
 * accepts and refuses. On a difference the test prints the table as it should be. */
#include <gtest/gtest.h>
#include <noprop/noprop.h>

#include <fstream>
#include <map>
#include <sstream>

namespace {

/* "" or the sentence of the refusal. */
std::string check(const std::vector<std::pair<std::string, std::string>> &keys) {
  noprop_config *config = nullptr;
  EXPECT_EQ(noprop_config_create(&config), NOPROP_OK);
  for (const auto &[key, value] : keys)
    EXPECT_EQ(noprop_config_set(config, key.c_str(), value.c_str()), NOPROP_OK) << noprop_last_error();
  const bool good = noprop_config_check(config) == NOPROP_OK;
  const std::string sentence = good ? "" : noprop_last_error();
  noprop_config_destroy(config);
  return sentence;
}

std::string table() {
  const char *const predictions[] = {"velocity", "noise", "target", "v"};
  const char *const weights[] = {"uniform", "elbo", "min_snr", "snr_prime", "t", "inverse_snr", "drift", "vp_velocity"};
  const std::pair<const char *, const char *> columns[] = {{"loss.normalize", "none"},
                                                           {"loss.normalize", "batch"},
                                                           {"loss.normalize", "analytic"},
                                                           {"loss.t_sampling", "gamma"},
                                                           {"loss.t_sampling", "importance"}};
  std::vector<std::string> reasons;
  std::ostringstream out;
  out << "| path | `loss.weight` | `prediction` | none | batch | analytic | gamma | importance |\n"
         "|---|---|---|---|---|---|---|---|\n";
  for (const auto &[variant, path] : {std::pair<const char *, const char *>{"fm", "linear"}, {"ct", "vp"}})
    for (const char *weight : weights) {
      std::vector<std::pair<std::string, std::string>> rows; /* cells, predictions */
      for (const char *prediction : predictions) {
        std::string cells;
        for (const auto &[key, value] : columns) {
          std::string refused =
              check({{"variant", variant}, {"prediction", prediction}, {"loss.weight", weight}, {key, value}});
          /* The prediction is the row's: reasons that differ by its name are one. */
          for (const char *name : predictions) {
            const std::string of = std::string("of prediction ") + name;
            if (const size_t at = refused.find(of); at != std::string::npos)
              refused.replace(at, of.size(), "of this prediction");
            const std::string with = std::string("weight ") + weight + " of this";
            if (const size_t at = refused.find(with); at != std::string::npos)
              refused.replace(at, with.size(), "this weight of this");
          }
          if (refused.empty()) {
            cells += " yes |";
            continue;
          }
          size_t number = 0;
          while (number < reasons.size() && reasons[number] != refused) ++number;
          if (number == reasons.size()) reasons.push_back(refused);
          cells += " " + std::to_string(number + 1) + " |";
        }
        bool found = false;
        for (auto &[other, names] : rows)
          if (other == cells) {
            names += std::string(", ") + prediction;
            found = true;
          }
        if (!found) rows.emplace_back(cells, prediction);
      }
      for (const auto &[cells, names] : rows)
        out << "| " << path << " | " << weight << " | " << names << " |" << cells << "\n";
    }
  out << "\n";
  for (size_t i = 0; i < reasons.size(); ++i) out << i + 1 << ". `" << reasons[i] << "`\n";
  return out.str();
}

TEST(ObjectivesPage, HoldsTheTableThatTheConfigurationMakes) {
  std::ifstream file(NOPROP_SOURCE_DIR "/docs/objectives.md");
  ASSERT_TRUE(file) << "docs/objectives.md is not there";
  std::stringstream text;
  text << file.rdbuf();
  const std::string begin = "<!-- table: tests/host/objectives_table_test.cpp -->\n", end = "<!-- end of table -->";
  const size_t from = text.str().find(begin), to = text.str().find(end);
  ASSERT_NE(from, std::string::npos);
  ASSERT_NE(to, std::string::npos);
  const std::string stands = text.str().substr(from + begin.size(), to - from - begin.size());
  EXPECT_EQ(stands, table());
}

}  // namespace
