// Runs as a user sees them: folders, files, pictures, and models good enough to be worth the name.
#include <cmath>
#include <cstdlib>
#include <sstream>

#include "small.h"

namespace {

bool has_gnuplot() { return std::system("gnuplot --version >/dev/null 2>&1") == 0; }

double metric(const std::string &metrics, const std::string &key) {
  const size_t at = metrics.find("\"" + key + "\": ");
  EXPECT_NE(at, std::string::npos) << key;
  return at == std::string::npos ? 0 : std::stod(metrics.substr(at + key.size() + 4));
}

TEST(Run, TwoMoonsReach99PercentWithEveryVariant) {
  Scratch scratch;
  Circumstances here;
  here.folder = scratch.path;
  here.environment = {{"NOPROP_VGPU_EXECUTOR", "auto"}};
  ASSERT_EQ(noprop({"data", "two-moons", "moons.h5"}, here).code, 0);
  const Outcome outcome =
      noprop({"train", NOPROP_SOURCE_DIR "/data/two_moons.yaml", "variant=fm,df,ct", "train.steps=700"}, here);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const std::string variant : {"fm", "df", "ct"}) {
    const std::string folder = "runs/two_moons-" + variant + "-001";
    const double accuracy = metric(read_file(scratch / (folder + "/metrics.json")), "accuracy");
    std::printf("%s: accuracy %.4f\n", variant.c_str(), accuracy);
    EXPECT_GE(accuracy, 0.99) << variant;
    const double nelbo = metric(read_file(scratch / (folder + "/metrics.json")), "nelbo_nats");
    EXPECT_GT(nelbo, 0) << "a bound of minus a log probability";
    const Outcome evaluated = noprop({"evaluate", folder, "--json"}, here);
    EXPECT_NE(evaluated.out.find("\"nelbo_nats\": "), std::string::npos) << evaluated.out;
    EXPECT_NE(outcome.out.find(folder), std::string::npos) << "the comparison names each run: " << outcome.out;
  }
}

TEST(Run, TwoMoonsReach99PercentByFieldsThatAreDerivatives) {
  Scratch scratch;
  Circumstances here;
  here.folder = scratch.path;
  here.environment = {{"NOPROP_VGPU_EXECUTOR", "auto"}};
  ASSERT_EQ(noprop({"data", "two-moons", "moons.h5"}, here).code, 0);
  for (const std::string wrapper : {"potential", "geometric", "hamiltonian"}) {
    const Outcome outcome = noprop(
        {"train", NOPROP_SOURCE_DIR "/data/two_moons_gradient_field.yaml", "--run", wrapper,
         "network.wrapper=" + wrapper, "network.hidden=[16,16]", "train.steps=500", "optimizer.learning_rate=6e-3"},
        here);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_GE(metric(read_file(scratch / (wrapper + "/metrics.json")), "accuracy"), 0.99) << wrapper;
  }
}

TEST(Run, ForecastsAreMeasuredAtEachStepBesideTwoBaselines) {
  Scratch scratch;
  Circumstances here;
  here.folder = scratch.path;
  ASSERT_EQ(noprop({"data", "lorenz", "l.h5", "--rows", "400", "--horizon", "3"}, here).code, 0);
  const Outcome trained = noprop({"train", NOPROP_SOURCE_DIR "/data/lorenz.yaml", "--data", "l.h5", "--run", "r",
                                  "network.hidden=[16]", "train.epochs=1", "sample.method=euler", "sample.steps=4"},
                                 here);
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_NE((trained.out + trained.err).find("variance explained over 3 steps"), std::string::npos);
  EXPECT_EQ(lines_of(read_file(scratch / "r/forecast.csv")).size(), 4u);
  // The prefix and the truth in one path, the prediction and twenty samples of three steps from step 0.
  EXPECT_EQ(lines_of(read_file(scratch / "r/forecast_windows.csv")).size(), 1u + 3 * (6 + 3 + 21 * 5 + 1));
  EXPECT_TRUE(exists(scratch / "r/forecast.gp"));
  const Outcome evaluated = noprop({"evaluate", "r", "--json"}, here);
  EXPECT_NE(evaluated.out.find("\"variance_explained\": "), std::string::npos) << evaluated.out << evaluated.err;
}

// Bright bars in images of 8 x 8 bytes, lying or standing, which moving and mirroring leave so.
void write_bars(const Scratch &scratch, int rows) {
  std::string images({0, 0, 8, 3, 0, 0, 0, static_cast<char>(rows), 0, 0, 0, 8, 0, 0, 0, 8});
  std::string labels({0, 0, 8, 1, 0, 0, 0, static_cast<char>(rows)});
  for (int row = 0; row < rows; ++row) {
    const int standing = row * 7 % 11 % 2, top = 1 + row * 3 % 4, left = 1 + row * 5 % 3;
    for (int y = 0; y < 8; ++y)
      for (int x = 0; x < 8; ++x) {
        const bool bright = standing ? x == left && y >= top - 1 && y < top + 3 : y == top && x >= left && x < left + 4;
        images.push_back(static_cast<char>(bright ? 100 + row % 100 : row * (8 * y + x) % 30));
      }
    labels.push_back(static_cast<char>(standing));
  }
  write_file(scratch / "images", images);
  write_file(scratch / "labels", labels);
}

TEST(Run, ImagesAreToldApartByAResidualBranchAndAnyNumberOfThreadsTrainsTheSameModel) {
  Scratch scratch;
  write_bars(scratch, 120);
  Circumstances here;
  here.folder = scratch.path;
  const Outcome made = noprop({"data", "idx", "s.h5", "--from", "images", "--labels", "labels", "--test", "0.2"}, here);
  ASSERT_EQ(made.code, 0) << made.err;
  for (const char *threads : {"1", "3"}) {
    here.environment["NOPROP_VGPU_THREADS"] = threads;
    const Outcome trained =
        noprop({"train", NOPROP_SOURCE_DIR "/data/fashion_mnist.yaml", "--data", "s.h5", "--run", threads,
                "variant=supervised", "network.hidden=[16]", "network.branch.channels=[16]", "network.branch.groups=2",
                "data.augment.shift=1", "train.batch=16", "train.epochs=12", "train.validate_every=12",
                "optimizer.learning_rate=0.01", "optimizer.warmup_steps=0"},
               here);
    ASSERT_EQ(trained.code, 0) << trained.err;
    EXPECT_GE(metric(read_file(scratch / (std::string(threads) + "/metrics.json")), "accuracy"), 0.9);
  }
  EXPECT_EQ(read_file(scratch / "1/model.h5"), read_file(scratch / "3/model.h5"));
}

// A classifier trained on the bars says of generated ones what they were asked to be, more often than one image in two.
TEST(Run, ImagesAreGeneratedByClassFromAConvolutionalLatentAndAResumedRunMakesTheSameModel) {
  Scratch scratch;
  write_bars(scratch, 120);
  Circumstances here;
  here.folder = scratch.path;
  ASSERT_EQ(noprop({"data", "idx", "s.h5", "--from", "images", "--labels", "labels", "--test", "0.2"}, here).code, 0);
  const auto train = [&](const char *run, const char *threads, const std::vector<std::string> &more) {
    here.environment["NOPROP_VGPU_THREADS"] = threads;
    std::vector<std::string> arguments = {"train",
                                          NOPROP_SOURCE_DIR "/data/fashion_mnist_generate.yaml",
                                          "--data",
                                          "s.h5",
                                          "--run",
                                          run,
                                          "latent.size=8",
                                          "encoder.hidden=[8]",
                                          "decoder.hidden=[8]",
                                          "network.type=mlp",
                                          "network.hidden=[32,32]",
                                          "loss.draws=8",
                                          "train.batch=16",
                                          "train.validate_every=100",
                                          "optimizer.learning_rate=0.01",
                                          "optimizer.schedule=constant",
                                          "optimizer.warmup_steps=0",
                                          "optimizer.ema=0.95",
                                          "sample.steps=10"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = noprop(arguments, here);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
  };
  train("whole", "3", {"train.steps=9"});
  train("parts", "1", {"train.steps=5"});
  train("parts", "3", {"train.steps=9", "--resume"});
  EXPECT_TRUE(read_file(scratch / "whole/model.h5") == read_file(scratch / "parts/model.h5"));
  train("long", "3", {"train.epochs=40"});
  const Outcome taught = noprop(
      {"train", NOPROP_SOURCE_DIR "/data/fashion_mnist_mlp.yaml", "--data", "s.h5", "--run", "taught",
       "variant=supervised", "network.hidden=[32]", "train.epochs=20", "train.batch=16", "train.validate_every=20"},
      here);
  ASSERT_EQ(taught.code, 0) << taught.err;
  const Outcome drawn =
      noprop({"sample", "long", "-n", "200", "--condition", "s.h5", "--bytes", "--guidance", "3", "-o", "g.h5"}, here);
  ASSERT_EQ(drawn.code, 0) << drawn.err;
  EXPECT_GE(metric(noprop({"evaluate", "taught", "--json"}, here).out, "accuracy"), 0.9);
  EXPECT_GE(metric(noprop({"evaluate", "taught", "--data", "g.h5", "--json"}, here).out, "accuracy"), 0.75);
}

TEST(Run, FoldersAreNumberedFromTheFirstThatIsFree) {
  SmallWork work;
  for (const char *expected : {"runs/small-fm-001", "runs/small-fm-002"}) {
    EXPECT_EQ(work.run({"train", "small.yaml", "variant=fm", "train.epochs=1"}).code, 0);
    EXPECT_TRUE(exists(work.scratch / (std::string(expected) + "/model.h5"))) << expected;
  }
}

TEST(Run, SameInputsGiveTheSameFilesButForTheLog) {
  SmallWork work;
  ASSERT_EQ(work.train("a", {"train.epochs=2"}).code, 0);
  ASSERT_EQ(work.train("b", {"train.epochs=2"}).code, 0);
  for (const char *name : {"config.yaml", "model.h5", "best.h5", "history.csv", "metrics.json", "loss.gp", "data.csv",
                           "data.gp", "trajectories.csv", "trajectories.gp", "latents.csv", "latents.gp",
                           "predictions.csv", "predictions_regions.csv", "predictions.gp"})
    EXPECT_TRUE(work.same("a", "b", name)) << name;
  ASSERT_EQ(work.run({"predict", "a", "-o", "pa.h5"}).code, 0);
  ASSERT_EQ(work.run({"predict", "b/model.h5", "-o", "pb.h5"}).code, 0);
  EXPECT_TRUE(read_file(work.scratch / "pa.h5") == read_file(work.scratch / "pb.h5"));
  EXPECT_EQ(read_file(work.scratch / "a/model.h5").find(work.scratch.path), std::string::npos)
      << "a path in a model file";
}

TEST(Run, HistoryHasOneRowPerEpochAndEachTermAColumn) {
  SmallWork work;
  ASSERT_EQ(work.train("run", {"train.epochs=5", "loss.recon.weight=0.5"}).code, 0);
  const auto lines = lines_of(read_file(work.scratch / "run/history.csv"));
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_EQ(
      lines[0],
      "epoch,step,loss,flow,recon,reg,validation_loss,validation_flow,validation_recon,validation_reg,learning_rate,"
      "gradient_norm,vae,kl_z0,validation_vae,validation_kl_z0");
  for (int i = 1; i <= 5; i++)
    EXPECT_EQ(lines[i].rfind(std::to_string(i) + "," + std::to_string(20 * i) + ",", 0), 0U) << lines[i];
  // Validated every second epoch and at the end.
  EXPECT_NE(lines[1].find(",,,,"), std::string::npos);
  for (const int i : {2, 4, 5}) EXPECT_EQ(lines[i].find(",,"), std::string::npos) << lines[i];
}

TEST(Run, SaysWhatIsKnownOfAPresetAndWarnsOfRareChoices) {
  SmallWork work;
  const std::string preset = work.train("preset", {"preset=jax-head", "train.epochs=1"}).err;
  EXPECT_NE(preset.find("known of the preset: D-08: SNR' is not divided by its mean"), std::string::npos) << preset;
  EXPECT_NE(preset.find("known of the preset: D-20"), std::string::npos) << preset;
  const std::string elbo = work.train("elbo", {"loss.weight=elbo", "train.epochs=1"}).err;
  EXPECT_NE(elbo.find("warning: loss.weight: elbo is for bounds and densities"), std::string::npos) << elbo;
  EXPECT_EQ(elbo.find("known of the preset"), std::string::npos) << elbo;
}

/* A preset's name is all a user needs. */
TEST(Run, PresetsTrainByNameAlone) {
  SmallWork work;
  for (const char *preset : {"jax-2025-10", "jax-2025-11"}) {
    const Outcome outcome = work.train(preset, {std::string("preset=") + preset, "train.epochs=1"});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_NE(outcome.err.find("known of the preset: D-01"), std::string::npos) << outcome.err;
  }
}

/* Blocks of separate weights: what each did in a file beside the history, the accuracy of the others, a resumed run
 * with the bits of an unbroken one, one launch for all blocks or one for each. */
TEST(Run, DiscreteTimeTrainsItsBlocksAndSaysWhatEachDid) {
  SmallWork work;
  const std::vector<std::string> three = {"variant=dt", "dt.blocks=3", "train.epochs=20"};
  const Outcome whole = work.train("whole", three);
  ASSERT_EQ(whole.code, 0) << whole.err;
  EXPECT_NE(whole.err.find("warning: sample.steps: not used"), std::string::npos) << whole.err;
  const auto lines = lines_of(read_file(work.scratch / "whole/blocks.csv"));
  ASSERT_EQ(lines.size(), 21U);
  EXPECT_EQ(lines[0], "epoch,loss.1,loss.2,loss.3,gradient_norm.1,gradient_norm.2,gradient_norm.3");
  double epoch, loss[3], history_step, total, flow, recon;
  ASSERT_EQ(sscanf(lines[20].c_str(), "%lf,%lf,%lf,%lf", &epoch, &loss[0], &loss[1], &loss[2]), 4);
  ASSERT_EQ(sscanf(lines_of(read_file(work.scratch / "whole/history.csv"))[20].c_str(), "%lf,%lf,%lf,%lf,%lf", &epoch,
                   &history_step, &total, &flow, &recon),
            5);
  EXPECT_NEAR(loss[0] + loss[1] + loss[2], flow, 1e-6 * flow);
  EXPECT_NEAR(flow + recon, total, 1e-6 * total); /* recon: the classifier's cross-entropy */
  const Outcome judged = work.run({"evaluate", "whole", "--json"});
  ASSERT_EQ(judged.code, 0) << judged.err;
  EXPECT_GT(std::stod(parse_json(judged.out).at(0).at("accuracy")), 0.98) << judged.out;

  auto part = three;
  part[2] = "train.epochs=10";
  ASSERT_EQ(work.train("parts", part).code, 0);
  part = three;
  part.push_back("--resume");
  Circumstances single;
  single.environment = {{"NOPROP_DT_BLOCKS", "1"}};
  ASSERT_EQ(work.train("parts", part, single).code, 0);
  for (const char *name : {"model.h5", "history.csv", "blocks.csv", "metrics.json", "predictions.csv"})
    EXPECT_TRUE(work.same("whole", "parts", name)) << name;

  const Outcome inspected = work.run({"inspect", "whole/model.h5"});
  EXPECT_NE(inspected.out.find("so in each of 3 blocks: "), std::string::npos) << inspected.out;
  EXPECT_EQ(inspected.out.find("block.2."), std::string::npos) << inspected.out;
  const Outcome refused = work.run({"predict", "whole", "-o", "p.h5", "--steps", "7"});
  EXPECT_NE(refused.err.find("has 3 blocks"), std::string::npos) << refused.err;
}

/* A latent of another width between encoder and decoder: each term in the history, the classes' probabilities as
 * predictions, an accuracy far above chance, a resumed run with the bits of an unbroken one, and the layers in inspect.
 */
TEST(Run, EncodersAndDecodersAreTrainedWithTheNetwork) {
  SmallWork work;
  const std::vector<std::string> coded = {
      "encoder.type=mlp_normal", "decoder.type=linear", "latent.size=4",   "loss.recon.type=cross_entropy",
      "loss.recon.weight=0.5",   "loss.vae=1",          "loss.kl_z0=0.01", "train.epochs=30"};
  const Outcome whole = work.train("whole", coded);
  ASSERT_EQ(whole.code, 0) << whole.err;
  const auto history = lines_of(read_file(work.scratch / "whole/history.csv"));
  ASSERT_EQ(history.size(), 31U);
  EXPECT_EQ(history[0].substr(history[0].find("vae")), "vae,kl_z0,validation_vae,validation_kl_z0");
  double epoch, step, total, flow, recon, reg, value, vae, kl;
  ASSERT_EQ(sscanf(history[30].c_str(), "%lf,%lf,%lf,%lf,%lf,%lf", &epoch, &step, &total, &flow, &recon, &reg), 6);
  std::vector<double> cells;
  std::stringstream line(history[30]);
  for (std::string cell; std::getline(line, cell, ',');) cells.push_back(cell.empty() ? NAN : std::stod(cell));
  ASSERT_EQ(cells.size(), 16U);
  vae = cells[12], kl = cells[13], value = flow + 0.5 * recon + vae + 0.01 * kl;
  EXPECT_GT(recon, 0);
  EXPECT_GT(vae, 0);
  EXPECT_GT(kl, 0);
  EXPECT_NEAR(value, total, 1e-5 * total);
  const Outcome judged = work.run({"evaluate", "whole", "--json"});
  ASSERT_EQ(judged.code, 0) << judged.err;
  EXPECT_GT(std::stod(parse_json(judged.out).at(0).at("accuracy")), 0.9) << judged.out;

  auto part = coded;
  part.back() = "train.epochs=10";
  ASSERT_EQ(work.train("parts", part).code, 0);
  part = coded;
  part.push_back("--resume");
  ASSERT_EQ(work.train("parts", part).code, 0);
  for (const char *name : {"model.h5", "history.csv", "metrics.json", "predictions.csv"})
    EXPECT_TRUE(work.same("whole", "parts", name)) << name;

  const Outcome inspected = work.run({"inspect", "whole/model.h5", "--kernels"});
  EXPECT_NE(inspected.out.find("Gaussian encoder, layer "), std::string::npos) << inspected.out;
  EXPECT_NE(inspected.out.find("decoder, layer "), std::string::npos) << inspected.out;
  const Outcome refused = work.train("none", {"encoder.type=mlp"});
  EXPECT_NE(refused.code, 0);
  EXPECT_NE(refused.err.find("collapses to a constant"), std::string::npos) << refused.err;
}

TEST(Run, StopsEarlyWhenValidationNoLongerImproves) {
  SmallWork work;
  // A learning rate of almost nothing: validation on fixed noise improves by less than its ninth digit sooner or later.
  const Outcome outcome = work.train("run", {"train.epochs=50", "train.validate_every=1", "train.early_stop=2",
                                             "optimizer.learning_rate=0.3", "optimizer.clip=0"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto lines = lines_of(read_file(work.scratch / "run/history.csv"));
  EXPECT_LT(lines.size(), 51U);
  EXPECT_NE(outcome.err.find("stopped early"), std::string::npos) << outcome.err;
  EXPECT_TRUE(exists(work.scratch / "run/metrics.json"));
}

TEST(Run, PredictionsHaveTheTargetsName) {
  SmallWork work;
  ASSERT_EQ(work.train("run", {"train.epochs=1"}).code, 0);
  ASSERT_EQ(work.run({"predict", "run", "-o", "p.h5", "--trajectory", "--split", "validation", "--calls", "5"}).code,
            0);
  const auto facts = parse_json(work.run({"inspect", "p.h5", "--json"}).out).at(0);
  EXPECT_EQ(facts.at("validation.y"), "\"int32 [500]\"");
  EXPECT_EQ(facts.at("validation.probabilities"), "\"float32 [500, 2]\"");
  EXPECT_TRUE(facts.count("validation.latent"));
  EXPECT_TRUE(facts.count("validation.trajectory"));
}

TEST(Run, SamplesOfAGeneratingModelAreRepeatableByTheirSeed) {
  Scratch scratch;
  Circumstances here;
  here.folder = scratch.path;
  ASSERT_EQ(noprop({"data", "gaussians", "g.h5", "--rows", "1000"}, here).code, 0);
  write_file(scratch / "g.yaml",
             "variant: fm\ntask: generate\ndata: {file: g.h5, condition: y}\nnetwork: {hidden: [16, 16]}\n"
             "train: {epochs: 2, batch: 50}\nsample: {steps: 5}\n");
  ASSERT_EQ(noprop({"train", "g.yaml", "--run", "run"}, here).code, 0);
  for (const char *name : {"metrics.json", "samples.csv", "samples_real.csv", "trajectories.csv"})
    EXPECT_TRUE(exists(scratch / (std::string("run/") + name))) << name;
  for (const char *out : {"a.h5", "b.h5"})
    ASSERT_EQ(noprop({"sample", "run", "-n", "70", "--condition", "3", "--seed", "9", "-o", out}, here).code, 0);
  ASSERT_EQ(noprop({"sample", "run", "-n", "70", "--condition", "3", "--seed", "10", "-o", "c.h5"}, here).code, 0);
  EXPECT_TRUE(read_file(scratch / "a.h5") == read_file(scratch / "b.h5"));
  EXPECT_FALSE(read_file(scratch / "a.h5") == read_file(scratch / "c.h5"));
  const auto facts = parse_json(noprop({"inspect", "a.h5", "--json"}, here).out).at(0);
  EXPECT_EQ(facts.at("test.x"), "\"float32 [70, 2]\"");
  // Conditions from a file are taken in turn; a label that is none is refused.
  EXPECT_EQ(noprop({"sample", "run", "-n", "600", "--condition", "g.h5", "-o", "d.h5"}, here).code, 0);
  EXPECT_EQ(noprop({"sample", "run", "-n", "6", "--condition", "8", "-o", "e.h5"}, here).code, 2);
  const Outcome densities = noprop({"logprob", "run", "--data", "g.h5", "-o", "l.h5", "--json"}, here);
  ASSERT_EQ(densities.code, 0) << densities.err;
  const auto line = parse_json(densities.out).at(0);
  for (const char *key : {"file", "split", "rows", "log_density", "bits_per_dimension", "unfinished"})
    EXPECT_TRUE(line.count(key)) << key;
  const auto held = parse_json(noprop({"inspect", "l.h5", "--json"}, here).out).at(0);
  for (const char *key : {"test.log_density", "test.latent", "test.outcome", "test.calls"})
    EXPECT_TRUE(held.count(key)) << key;
  EXPECT_EQ(noprop({"sample", "run", "-n", "9", "--condition", "3", "--density", "-o", "f.h5"}, here).code, 0);
  EXPECT_TRUE(parse_json(noprop({"inspect", "f.h5", "--json"}, here).out).at(0).count("test.log_density"));
  EXPECT_EQ(noprop({"sample", "run", "-n", "9", "--condition", "3", "--times", "0,0.4,1", "-o", "f.h5"}, here).code, 0);
  EXPECT_EQ(noprop({"sample", "run", "-n", "9", "--condition", "3", "--times", "0,x", "-o", "f.h5"}, here).code, 2);
  EXPECT_EQ(noprop({"sample", "run", "-n", "6", "-o", "e.h5"}, here).code, 2);
}

TEST(Run, PicturesCanBeDrawnAgainFromTheirScripts) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  SmallWork work;
  ASSERT_EQ(work.train("run", {"train.epochs=2"}).code, 0);
  for (const std::string name : {"loss", "data", "trajectories", "predictions", "latents"}) {
    const std::string png = work.scratch / ("run/" + name + ".png");
    EXPECT_TRUE(read_file(png).rfind("\x89PNG", 0) == 0) << name;
    ASSERT_EQ(std::remove(png.c_str()), 0);
  }
  const Outcome drawn = work.run({"plot", "run"});
  EXPECT_EQ(drawn.code, 0) << drawn.err;
  for (const std::string name : {"loss", "data", "trajectories", "predictions", "latents"})
    EXPECT_EQ(read_file(work.scratch / ("run/" + name + ".png")).rfind("\x89PNG", 0), 0U) << name;
  EXPECT_EQ(work.run({"schedule", "sigmoid", "-o", "s.png"}).code, 0);
  EXPECT_EQ(work.run({"schedule", "all", "-o", "all.png"}).code, 0);
  EXPECT_EQ(work.run({"compare", "run", "-o", "c.png"}).code, 0);
  for (const char *name : {"s.png", "all.png", "c.png"})
    EXPECT_EQ(read_file(work.scratch / name).rfind("\x89PNG", 0), 0U) << name;
}

TEST(Run, SeveralSchedulesAreDrawnTogetherAndTabledAlone) {
  const Scratch scratch;
  Circumstances here;
  here.folder = scratch.path;
  const Outcome table = noprop({"schedule", "cosine,sigmoid"}, here);
  EXPECT_EQ(table.code, 2);
  EXPECT_NE(table.err.find("a table shows one schedule; several are drawn with -o FILE.png"), std::string::npos)
      << table.err;
  const Outcome wrong = noprop({"schedule", "cosine,sigma", "-o", "s.png"}, here);
  EXPECT_EQ(wrong.code, 2);
  EXPECT_NE(wrong.err.find("sigma"), std::string::npos) << wrong.err;
  EXPECT_EQ(noprop({"schedule", "cosine,,sigmoid", "-o", "s.png"}, here).code, 2);
}

}  // namespace
