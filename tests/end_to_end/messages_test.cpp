// Exit codes and sentences of the command line: 0 done, 1 could not be done, 2 wrong usage; what to do instead.
#include "small.h"

namespace {

struct Wrong {
  std::vector<std::string> arguments;
  int code;
  const char *says;
};

TEST(Messages, WrongUsageIsTwoAndNamesTheNearestRightThing) {
  Scratch scratch;
  write_file(scratch / "c.yaml", small_config("moons.h5"));
  write_file(scratch / "typo.yaml", "variant: ct\nnetwork: {hiden: [3]}\n");
  const Wrong cases[] = {
      {{}, 2, "usage: noprop"},
      {{"trian", "c.yaml"}, 2, "did you mean \"train\"?"},
      {{"frobnicate"}, 2, "noprop help lists them"},
      {{"train", "c.yaml", "--rum", "x"}, 2, "did you mean --run?"},
      {{"--jsn", "devices"}, 2, "--jsn"},
      {{"train"}, 2, "train needs CONFIG.yaml"},
      {{"train", "c.yaml", "extra"}, 2, "KEY=VALUE"},
      {{"train", "c.yaml", "netwrk.hidden=[3]"}, 2, "did you mean 'network.hidden'?"},
      {{"train", "c.yaml", "train.epochs=-3"}, 2, "train.epochs"},
      {{"train", "c.yaml", "variant=fm,xx"}, 2, "xx"},
      {{"train", "typo.yaml"}, 2, "typo.yaml"},
      {{"train", "--resume"}, 2, "--resume needs --run"},
      {{"data", "two-mons", "a.h5"}, 2, "did you mean \"two-moons\"?"},
      {{"data", "two-moons"}, 2, "data needs OUT.h5"},
      {{"data", "two-moons", "a.h5", "--rows", "many"}, 2, "--rows must be a whole number"},
      {{"data", "two-moons", "a.h5", "--rows", "0"}, 2, "--rows must be from"},
      {{"data", "two-moons", "a.h5", "--rows"}, 2, "needs a value"},
      {{"data", "two-moons", "a.h5", "--target", "x"}, 2, "does not take --target"},
      {{"data", "csv", "a.h5"}, 2, "--from"},
      {{"schedule", "cosin"}, 2, "cosine"},
      {{"predict", "m.h5"}, 2, "-o OUT.h5"},
      {{"bench", "samples"}, 2, "did you mean \"sample\"?"},
      {{"help", "trian"}, 2, "did you mean \"train\"?"},
      {{"devices", "--device"}, 2, "needs a value"},
  };
  for (const Wrong &wrong : cases) {
    Circumstances circumstances;
    circumstances.folder = scratch.path;
    const Outcome outcome = noprop(wrong.arguments, circumstances);
    EXPECT_EQ(outcome.code, wrong.code) << outcome.err;
    EXPECT_NE(outcome.err.find(wrong.says), std::string::npos) << "\"" << wrong.says << "\" is not in: " << outcome.err;
    EXPECT_EQ(outcome.out, "") << "messages belong on standard error";
  }
}

TEST(Messages, WhatCannotBeDoneIsOneAndSaysWhy) {
  Scratch scratch;
  write_file(scratch / "c.yaml", small_config("moons.h5"));
  write_file(scratch / "text.h5", "this is no HDF5 file");
  const Wrong cases[] = {
      {{"train", "none.yaml"}, 1, "none.yaml"},
      {{"train", "c.yaml"}, 1, "moons.h5 could not be opened"},
      {{"train", "c.yaml"}, 1, "noprop data two-moons moons.h5"},
      {{"inspect", "none.h5"}, 1, "none.h5"},
      {{"inspect", "text.h5"}, 1, "text.h5"},
      {{"evaluate", "none.h5"}, 1, "none.h5"},
      {{"predict", "text.h5", "-o", "p.h5"}, 1, "text.h5"},
      {{"plot", "."}, 1, "nothing to draw"},
      {{"data", "csv", "a.h5", "--from", "none.csv"}, 1, "none.csv"},
      {{"data", "two-moons", "no/such/folder/a.h5"}, 1, "no/such/folder/a.h5"},
  };
  for (const Wrong &wrong : cases) {
    Circumstances circumstances;
    circumstances.folder = scratch.path;
    const Outcome outcome = noprop(wrong.arguments, circumstances);
    EXPECT_EQ(outcome.code, wrong.code) << outcome.err;
    EXPECT_NE(outcome.err.find(wrong.says), std::string::npos) << "\"" << wrong.says << "\" is not in: " << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
}

TEST(Messages, ADeviceThatIsNotThereIsAnErrorForEveryCommand) {
  Scratch scratch;
  for (const auto &arguments : std::vector<std::vector<std::string>>{
           {"devices"}, {"data", "two-moons", "a.h5"}, {"schedule", "cosine"}, {"bench"}, {"version"}, {"help"}}) {
    std::vector<std::string> all = {"--device", "gpu:63"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    Circumstances circumstances;
    circumstances.folder = scratch.path;
    const Outcome outcome = noprop(all, circumstances);
    EXPECT_EQ(outcome.code, 1) << arguments[0];
    EXPECT_EQ(outcome.out, "");
    EXPECT_NE(outcome.err, "");
  }
  EXPECT_FALSE(exists(scratch / "a.h5"));
}

TEST(Messages, HelpExplainsEveryCommandWithAnExample) {
  for (const auto &object : parse_json(noprop({"help", "--json"}).out)) {
    const std::string name = object.at("command").substr(1, object.at("command").size() - 2);
    const Outcome help = noprop({"help", name}), same = noprop({name, "--help"}), man = noprop({"help", "--man", name});
    EXPECT_EQ(help.code, 0);
    EXPECT_NE(help.out.find("usage: noprop " + name), std::string::npos);
    EXPECT_NE(help.out.find("\n  noprop "), std::string::npos) << "an example of " << name;
    EXPECT_EQ(help.out, same.out);
    EXPECT_EQ(man.out.rfind(".TH NOPROP", 0), 0U);
  }
}

TEST(Messages, QuietMeansErrorsOnly) {
  SmallWork work;
  const Outcome trained = work.train("run", {"--quiet", "train.epochs=1"});
  EXPECT_EQ(trained.code, 0);
  EXPECT_EQ(trained.err, "");
}

TEST(Messages, GlobalOptionsMayStandBeforeAndAfterTheCommand) {
  EXPECT_EQ(noprop({"--json", "version"}).out, noprop({"version", "--json"}).out);
  EXPECT_EQ(noprop({"--json", "--device=virtual", "devices"}).out,
            noprop({"devices", "--device", "virtual", "--json"}).out);
}

}  // namespace
