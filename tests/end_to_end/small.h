// Small work that the end-to-end tests share: one network shape, so that its kernels are compiled once.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "program.h"

// 1,000 training rows in batches of 50: 20 steps an epoch.
inline std::string small_config(const std::string &data, const std::string &variant = "ct") {
  return "variant: " + variant + "\ntask: classify\ndata: {file: " + data +
         "}\nnetwork: {type: mlp, hidden: [16, 16]}\n"
         "optimizer: {type: adamw, learning_rate: 5.0e-3}\n"
         "train: {epochs: 12, batch: 50, validate_every: 2, checkpoint_every: 1}\nsample: {steps: 5}\n";
}

// moons.h5 (1,000 rows) and small.yaml in a folder; train() trains into folder/NAME.
class SmallWork {
 public:
  SmallWork() {
    const Outcome made = noprop({"--quiet", "data", "two-moons", scratch / "moons.h5", "--rows", "1000"});
    EXPECT_EQ(made.code, 0) << made.err;
    write_file(scratch / "small.yaml", small_config("moons.h5"));
  }

  Outcome train(const std::string &name, const std::vector<std::string> &more = {},
                Circumstances circumstances = {}) const {
    std::vector<std::string> arguments = {"train", "small.yaml", "--run", name};
    arguments.insert(arguments.end(), more.begin(), more.end());
    circumstances.folder = scratch.path;
    return noprop(arguments, circumstances);
  }

  Outcome run(const std::vector<std::string> &arguments) const {
    Circumstances circumstances;
    circumstances.folder = scratch.path;
    return noprop(arguments, circumstances);
  }

  // True if the file is the same in two runs.
  bool same(const std::string &a, const std::string &b, const std::string &name) const {
    return read_file(scratch / (a + "/" + name)) == read_file(scratch / (b + "/" + name));
  }

  Scratch scratch;
};
