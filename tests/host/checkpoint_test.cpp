// Model files: everything comes back bit for bit, the same state makes the same bytes, and a file that is damaged, of
// another version or of another network is refused in a sentence.
#include <gtest/gtest.h>
#include <hdf5.h>
#include <noprop/noprop.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "scratch.h"

extern "C" {
#include "engine/model.h"
#include "host/checkpoint.h"
}

namespace {

struct Destroy {
  void operator()(noprop_config *config) const { noprop_config_destroy(config); }
  void operator()(noprop_model *model) const { noprop_model_destroy(model); }
};
using Config = std::unique_ptr<noprop_config, Destroy>;
using Model = std::unique_ptr<noprop_model, Destroy>;

#define ASSERT_OK(call) ASSERT_EQ(call, NOPROP_OK) << noprop_last_error()
#define EXPECT_OK(call) EXPECT_EQ(call, NOPROP_OK) << noprop_last_error()

bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

// One virtual GPU for all tests of this file.
noprop_device *device() {
  static noprop_device *const opened = [] {
    noprop_device *made = nullptr;
    EXPECT_OK(noprop_device_open("virtual", &made));
    return made;
  }();
  return opened;
}

const long ROWS = 50;

// Two columns, two classes, from a fixed rule.
struct Data {
  std::vector<float> x;
  std::vector<int32_t> y;
  Data() {
    for (long i = 0; i < ROWS; i++) {
      x.push_back(static_cast<float>(i % 7) - 3);
      x.push_back(static_cast<float>(i % 11) * 0.5f);
      y.push_back(static_cast<int32_t>(i % 2));
    }
  }
  noprop_array condition() const { return {"x", NOPROP_TYPE_FLOAT32, ROWS, 2, 2, {ROWS, 2}, x.data()}; }
  noprop_array target() const { return {"y", NOPROP_TYPE_INT32, ROWS, 1, 1, {ROWS}, y.data()}; }
};

Config make_config(const char *more = "") {
  noprop_config *config = nullptr;
  EXPECT_OK(noprop_config_create(&config));
  EXPECT_OK(
      noprop_config_parse(config, "seed: 5\nnetwork: {hidden: [9, 5], dropout: 0.1}\noptimizer: {ema: 0.9}", "base"));
  EXPECT_OK(noprop_config_parse(config, more, "more"));
  return Config(config);
}

Model make_model(const Config &config) {
  const noprop_model_shape shape = {NOPROP_TYPE_FLOAT32, 2, false, NOPROP_TYPE_INT32, 2, true, {0, 0, 0}, {0, 0, 0}};
  noprop_model *model = nullptr;
  EXPECT_OK(noprop_model_create(device(), config.get(), &shape, &model));
  const float mean[] = {0.1f, 2.7f}, deviation[] = {2.0f, 1.6f};
  EXPECT_OK(noprop_model_set_statistics(model, mean, deviation, nullptr, nullptr));
  return Model(model);
}

void train(const Model &model, const Data &data, long steps) {
  const noprop_array condition = data.condition(), target = data.target();
  ASSERT_OK(noprop_model_bind(model.get(), &condition, &target, 16));
  ASSERT_OK(noprop_model_train_step(model.get(), steps));
}

Model trained(long steps = 7, const char *more = "") {
  Model model = make_model(make_config(more));
  train(model, Data(), steps);
  return model;
}

Model load(const std::string &path) {
  noprop_model *model = nullptr;
  EXPECT_OK(noprop_model_load(device(), path.c_str(), &model));
  return Model(model);
}

std::string refusal(const std::string &path, noprop_status expected = NOPROP_FILE_ERROR) {
  noprop_model *model = nullptr;
  EXPECT_EQ(noprop_model_load(device(), path.c_str(), &model), expected);
  EXPECT_EQ(model, nullptr);
  return noprop_last_error();
}

// All arrays of the state as bytes, and their names.
std::string state_of(const Model &model) {
  std::string bytes;
  for (int i = 0; i < model_state_count(model.get()); i++) {
    const struct model_state state = model_state_at(model.get(), i);
    std::string values(static_cast<size_t>(state.values) * (state.type == NOPROP_TYPE_FLOAT64 ? 8 : 4), '\0');
    EXPECT_OK(model_state_get(model.get(), i, values.data()));
    bytes += state.name + std::string(":") + values;
  }
  return bytes;
}

TEST(Checkpoint, ALoadedModelHasTheSameBitsAndConfiguration) {
  const Scratch scratch;
  const Model model = trained();
  ASSERT_OK(noprop_model_save(model.get(), scratch.path("m.h5").c_str()));
  const Model again = load(scratch.path("m.h5"));
  ASSERT_TRUE(again);
  EXPECT_EQ(noprop_model_step(again.get()), 7u);
  EXPECT_EQ(state_of(again), state_of(model));
  char *a = nullptr, *b = nullptr;
  ASSERT_OK(noprop_config_text(noprop_model_config(model.get()), &a));
  ASSERT_OK(noprop_config_text(noprop_model_config(again.get()), &b));
  EXPECT_STREQ(a, b);
  noprop_free(a);
  noprop_free(b);
}

TEST(Checkpoint, TrainingGoesOnWithTheSameBitsAsIfItHadNotStopped) {
  const Scratch scratch;
  const Data data;
  const Model straight = trained(12);
  {
    const Model first = trained(5);
    ASSERT_OK(noprop_model_save(first.get(), scratch.path("m.h5").c_str()));
  }
  const Model second = load(scratch.path("m.h5"));
  ASSERT_TRUE(second);
  train(second, data, 7);
  EXPECT_EQ(state_of(second), state_of(straight));
}

TEST(Checkpoint, TheShapeOfImagesComesBack) {
  const Scratch scratch;
  noprop_model_shape shape = {};
  shape.condition_type = NOPROP_TYPE_UINT8;
  shape.condition_width = 60;
  shape.condition_shape[0] = 3, shape.condition_shape[1] = 4, shape.condition_shape[2] = 5;
  shape.target_type = NOPROP_TYPE_INT32;
  shape.target_width = 2;
  shape.target_is_label = true;
  const Config config = make_config("network: {branch: {type: cnn, channels: [8, 16]}}");
  noprop_model *model = nullptr, *loaded = nullptr;
  ASSERT_OK(noprop_model_create(device(), config.get(), &shape, &model));
  const Model first(model);
  ASSERT_OK(noprop_model_save(model, scratch.path("images.h5").c_str()));
  ASSERT_OK(noprop_model_load(device(), scratch.path("images.h5").c_str(), &loaded));
  const Model second(loaded);
  for (int i = 0; i < 3; i++)
    EXPECT_EQ(noprop_model_get_shape(loaded)->condition_shape[i], shape.condition_shape[i]) << i;
  EXPECT_EQ(noprop_model_parameter_values(loaded), noprop_model_parameter_values(model));
}

TEST(Checkpoint, SameStateSameBytes) {
  const Scratch scratch;
  const Model model = trained();
  ASSERT_OK(noprop_model_save(model.get(), scratch.path("a.h5").c_str()));
  sleep(1);  // object times have a resolution of one second
  ASSERT_OK(noprop_model_save(model.get(), scratch.path("b.h5").c_str()));
  ASSERT_OK(noprop_model_save(load(scratch.path("a.h5")).get(), scratch.path("c.h5").c_str()));
  ASSERT_OK(noprop_model_save(trained().get(), scratch.path("d.h5").c_str()));
  const std::string bytes = read_file(scratch.path("a.h5"));
  EXPECT_EQ(read_file(scratch.path("b.h5")), bytes) << "saved again";
  EXPECT_EQ(read_file(scratch.path("c.h5")), bytes) << "loaded and saved";
  EXPECT_EQ(read_file(scratch.path("d.h5")), bytes) << "trained again from the start";
  EXPECT_EQ(scratch.count(), 4);
}

TEST(Checkpoint, TheTrainersNoteTravelsWhateverItsLength) {
  const Scratch scratch;
  const Model model = trained();
  for (const std::string &text : {std::string(), std::string("epoch 3\n"), std::string(1 << 20, 'x')}) {
    noprop_model *loaded = nullptr;
    char *note = nullptr;
    ASSERT_OK(checkpoint_save(model.get(), text.c_str(), scratch.path("m.h5").c_str()));
    ASSERT_OK(checkpoint_load(device(), scratch.path("m.h5").c_str(), nullptr, &loaded, &note));
    ASSERT_NE(note, nullptr);
    EXPECT_EQ(note, text);
    free(note);
    noprop_model_destroy(loaded);
  }
  noprop_model *loaded = nullptr;
  char *note = nullptr;
  ASSERT_OK(noprop_model_save(model.get(), scratch.path("m.h5").c_str()));
  ASSERT_OK(checkpoint_load(device(), scratch.path("m.h5").c_str(), nullptr, &loaded, &note));
  EXPECT_EQ(note, nullptr);
  noprop_model_destroy(loaded);
}

TEST(Checkpoint, ALongerTrainingMayBeAskedForButNotAnotherNetwork) {
  const Scratch scratch;
  const std::string path = scratch.path("m.h5");
  ASSERT_OK(noprop_model_save(trained().get(), path.c_str()));
  noprop_model *model = nullptr;
  ASSERT_OK(checkpoint_load(device(), path.c_str(), make_config("train: {epochs: 777}").get(), &model, nullptr));
  char epochs[16];
  ASSERT_OK(noprop_config_get(noprop_model_config(model), "train.epochs", epochs, sizeof epochs));
  EXPECT_STREQ(epochs, "777");
  noprop_model_destroy(model);
  const struct {
    const char *config, *sentence;
  } cases[] = {{"network: {hidden: [9, 6]}", "the configuration's network needs"},
               {"network: {hidden: [9, 5, 5]}", "is missing"},
               {"optimizer: {type: sgd, momentum: 0.0}", ""}};
  for (const auto &c : cases) {
    const noprop_status status = checkpoint_load(device(), path.c_str(), make_config(c.config).get(), &model, nullptr);
    if (c.sentence[0] == '\0') {
      EXPECT_EQ(status, NOPROP_OK) << noprop_last_error();
      noprop_model_destroy(model);
    } else {
      EXPECT_EQ(status, NOPROP_FILE_ERROR);
      EXPECT_TRUE(contains(noprop_last_error(), c.sentence)) << noprop_last_error();
    }
  }
}

// A copy of the file with a change made through HDF5.
std::string changed(const Scratch &scratch, const std::string &path, const std::function<void(hid_t)> &change) {
  const std::string copy = scratch.write("changed.h5", read_file(path));
  const hid_t file = H5Fopen(copy.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  EXPECT_GE(file, 0);
  change(file);
  H5Fclose(file);
  return copy;
}

TEST(Checkpoint, OtherVersionsMissingArraysAndWrongShapesAreRefused) {
  const Scratch scratch;
  const std::string path = scratch.path("m.h5");
  ASSERT_OK(noprop_model_save(trained().get(), path.c_str()));
  const auto set_version = [](uint64_t version) {
    return [version](hid_t file) {
      const hid_t attribute = H5Aopen(file, "format_version", H5P_DEFAULT);
      H5Awrite(attribute, H5T_NATIVE_UINT64, &version);
      H5Aclose(attribute);
    };
  };
  std::string sentence = refusal(changed(scratch, path, set_version(CHECKPOINT_VERSION + 1)));
  EXPECT_TRUE(contains(sentence, "format version 2") && contains(sentence, "reads version 1") &&
              contains(sentence, noprop_version()))
      << sentence;
  for (const char *name : {"parameters/x.0.weight", "average/output.bias", "moment1/output.weight", "moment2/x.1.bias",
                           "statistics/condition_mean", "training/progress"}) {
    sentence = refusal(changed(scratch, path, [&](hid_t file) { H5Ldelete(file, name, H5P_DEFAULT); }));
    EXPECT_TRUE(contains(sentence, std::string("the array '") + name + "' is missing")) << sentence;
    sentence = refusal(changed(scratch, path, [&](hid_t file) {
      H5Ldelete(file, name, H5P_DEFAULT);
      const hsize_t shape[] = {3, 4, 5};
      const hid_t space = H5Screate_simple(3, shape, nullptr);
      const hid_t type = strcmp(name, "training/progress") == 0 ? H5T_IEEE_F64LE : H5T_IEEE_F32LE;
      H5Dclose(H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
      H5Sclose(space);
    }));
    EXPECT_TRUE(contains(sentence, name) && contains(sentence, "has shape [3][4][5], but")) << sentence;
    sentence = refusal(changed(scratch, path, [&](hid_t file) {
      H5Ldelete(file, name, H5P_DEFAULT);
      const hsize_t shape[] = {3};
      const hid_t space = H5Screate_simple(1, shape, nullptr);
      H5Dclose(H5Dcreate2(file, name, H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
      H5Sclose(space);
    }));
    EXPECT_TRUE(contains(sentence, name) && contains(sentence, "is not of type")) << sentence;
  }
  for (const char *name : {"format", "format_version", "config", "condition_type", "target_width", "target_is_label"}) {
    sentence = refusal(changed(scratch, path, [&](hid_t file) { H5Adelete(file, name); }));
    EXPECT_TRUE(contains(sentence, strcmp(name, "format") == 0 ? "not a model" : name)) << sentence;
  }
}

TEST(Checkpoint, FilesThatAreNoModelsOrCutShortAreRefused) {
  const Scratch scratch;
  const std::string path = scratch.path("m.h5");
  ASSERT_OK(noprop_model_save(trained().get(), path.c_str()));
  const std::string whole = read_file(path);
  for (size_t length = 0; length < whole.size(); length += whole.size() / 23) {
    const std::string cut = scratch.write("cut.h5", whole.substr(0, length));
    EXPECT_TRUE(contains(refusal(cut), cut));
    EXPECT_FALSE(checkpoint_is_model(cut.c_str()));
  }
  refusal(scratch.path("none.h5"));
  noprop_dataset *data = nullptr;
  ASSERT_OK(noprop_dataset_generate("two-moons", 10, -1, 0, &data));
  ASSERT_OK(noprop_dataset_save(data, scratch.path("data.h5").c_str(), nullptr, nullptr));
  noprop_dataset_destroy(data);
  EXPECT_TRUE(contains(refusal(scratch.path("data.h5")), "is an HDF5 file, but not a model"));
  EXPECT_TRUE(checkpoint_is_model(path.c_str()));
  EXPECT_FALSE(checkpoint_is_model(scratch.path("data.h5").c_str()));
}

TEST(Checkpoint, AFullDiskKeepsTheLastGoodFile) {
  const Scratch scratch;
  const std::string path = scratch.path("m.h5");
  const Model model = trained();
  ASSERT_OK(noprop_model_save(model.get(), path.c_str()));
  const std::string before = read_file(path);
  train(model, Data(), 3);
  // Files may not grow beyond a fifth of what is needed: the write fails midway, as on a full disk.
  struct rlimit saved, limit;
  getrlimit(RLIMIT_FSIZE, &saved);
  limit = saved;
  limit.rlim_cur = before.size() / 5;
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &limit);
  const noprop_status status = noprop_model_save(model.get(), path.c_str());
  setrlimit(RLIMIT_FSIZE, &saved);
  signal(SIGXFSZ, handler);
  EXPECT_EQ(status, NOPROP_FILE_ERROR);
  EXPECT_TRUE(contains(noprop_last_error(), path)) << noprop_last_error();
  EXPECT_EQ(read_file(path), before);
  EXPECT_EQ(scratch.count(), 1) << "a temporary file was left behind";
  ASSERT_OK(noprop_model_save(model.get(), path.c_str()));
  EXPECT_EQ(noprop_model_step(load(path).get()), 10u);
}

TEST(Checkpoint, FilesHoldWhatTheInterfacePromisesAndNothingOfTheMachine) {
  const Scratch scratch;
  const std::string path = scratch.path("m.h5");
  const Model model = trained();
  ASSERT_OK(noprop_model_save(model.get(), path.c_str()));
  char *text = nullptr;
  ASSERT_OK(checkpoint_describe(path.c_str(), &text));
  const std::string words = text;
  noprop_free(text);
  EXPECT_TRUE(contains(words, "model after 7 steps")) << words;
  EXPECT_TRUE(contains(words, "condition: float32, width 2")) << words;
  EXPECT_TRUE(contains(words, "target: int32, classes 2")) << words;
  EXPECT_TRUE(contains(words, "hidden: [9, 5]")) << words;
  EXPECT_TRUE(contains(words, "condition_mean [2]")) << words;
  EXPECT_TRUE(contains(words, std::to_string(noprop_model_parameter_values(model.get())) + " values in " +
                                  std::to_string(noprop_model_parameter_count(model.get())) + " arrays"))
      << words;
  for (int i = 0; i < noprop_model_parameter_count(model.get()); i++)
    EXPECT_TRUE(contains(words, noprop_model_parameter(model.get(), i).name));
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  const std::string bytes = read_file(path);
  EXPECT_FALSE(contains(bytes, scratch.path(""))) << "a path";
  if (strlen(host) > 3) {
    EXPECT_FALSE(contains(bytes, host)) << "a host name";
  }
}

}  // namespace
