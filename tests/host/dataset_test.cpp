// Data sets: every type and rank of HDF5, sentences that list what is there, damaged files, files written whole or not
// at all.
#include <gtest/gtest.h>
#include <hdf5.h>
#include <noprop/noprop.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "scratch.h"

namespace {

struct Destroy {
  void operator()(noprop_dataset *dataset) const { noprop_dataset_destroy(dataset); }
};
using Dataset = std::unique_ptr<noprop_dataset, Destroy>;

Dataset make() {
  noprop_dataset *dataset = nullptr;
  EXPECT_EQ(noprop_dataset_create(&dataset), NOPROP_OK);
  return Dataset(dataset);
}

Dataset open_file(const std::string &path) {
  noprop_dataset *dataset = nullptr;
  EXPECT_EQ(noprop_dataset_open(path.c_str(), &dataset), NOPROP_OK) << noprop_last_error();
  return Dataset(dataset);
}

noprop_array array_of(const char *name, noprop_type type, std::vector<long> shape, const void *values) {
  noprop_array array = {};
  array.name = name;
  array.type = type;
  array.rank = static_cast<int>(shape.size());
  array.rows = shape[0];
  array.width = 1;
  for (size_t i = 0; i < shape.size(); i++) {
    array.shape[i] = shape[i];
    if (i > 0) array.width *= shape[i];
  }
  array.values = values;
  return array;
}

bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

// Writes one array to FILE/GROUP/NAME with any HDF5 type.
void put(const std::string &path, const char *group, const char *name, hid_t file_type, hid_t memory_type,
         const std::vector<hsize_t> &shape, const void *values) {
  const hid_t file = access(path.c_str(), F_OK) == 0 ? H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT)
                                                     : H5Fcreate(path.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT);
  ASSERT_GE(file, 0);
  const hid_t links = H5Pcreate(H5P_LINK_CREATE);
  H5Pset_create_intermediate_group(links, 1);
  const hid_t space =
      shape.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
  const hid_t set =
      H5Dcreate2(file, (std::string(group) + "/" + name).c_str(), file_type, space, links, H5P_DEFAULT, H5P_DEFAULT);
  ASSERT_GE(set, 0);
  if (values != nullptr) {
    ASSERT_GE(H5Dwrite(set, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
  }
  H5Dclose(set);
  H5Sclose(space);
  H5Pclose(links);
  H5Fclose(file);
}

TEST(Dataset, EveryNumberTypeOfEitherEndiannessIsRead) {
  const Scratch scratch;
  const std::string path = scratch.path("types.h5");
  const std::vector<double> values = {0, 1, 2, 100, 127, 5};
  const struct {
    const char *name;
    hid_t type;
    noprop_type expected;
  } cases[] = {{"f32le", H5T_IEEE_F32LE, NOPROP_TYPE_FLOAT32}, {"f32be", H5T_IEEE_F32BE, NOPROP_TYPE_FLOAT32},
               {"f64le", H5T_IEEE_F64LE, NOPROP_TYPE_FLOAT64}, {"f64be", H5T_IEEE_F64BE, NOPROP_TYPE_FLOAT64},
               {"u8", H5T_STD_U8LE, NOPROP_TYPE_UINT8},        {"i8", H5T_STD_I8LE, NOPROP_TYPE_INT32},
               {"u16le", H5T_STD_U16LE, NOPROP_TYPE_INT32},    {"u16be", H5T_STD_U16BE, NOPROP_TYPE_INT32},
               {"i16be", H5T_STD_I16BE, NOPROP_TYPE_INT32},    {"u32le", H5T_STD_U32LE, NOPROP_TYPE_INT32},
               {"i32be", H5T_STD_I32BE, NOPROP_TYPE_INT32},    {"i64le", H5T_STD_I64LE, NOPROP_TYPE_INT32},
               {"i64be", H5T_STD_I64BE, NOPROP_TYPE_INT32},    {"u64be", H5T_STD_U64BE, NOPROP_TYPE_INT32}};
  for (const auto &c : cases) put(path, "train", c.name, c.type, H5T_NATIVE_DOUBLE, {3, 2}, values.data());
  const Dataset dataset = open_file(path);
  for (const auto &c : cases) {
    noprop_array array;
    ASSERT_EQ(noprop_dataset_get(dataset.get(), "train", c.name, &array), NOPROP_OK) << noprop_last_error();
    EXPECT_EQ(array.type, c.expected) << c.name;
    EXPECT_EQ(array.rows, 3);
    EXPECT_EQ(array.width, 2);
    for (size_t i = 0; i < values.size(); i++) {
      const double value = array.type == NOPROP_TYPE_FLOAT32   ? static_cast<const float *>(array.values)[i]
                           : array.type == NOPROP_TYPE_FLOAT64 ? static_cast<const double *>(array.values)[i]
                           : array.type == NOPROP_TYPE_UINT8   ? static_cast<const uint8_t *>(array.values)[i]
                                                               : static_cast<const int32_t *>(array.values)[i];
      EXPECT_EQ(value, values[i]) << c.name;
    }
  }
}

TEST(Dataset, NegativeIntegersKeepTheirSignAndWideOnesMustFit) {
  const Scratch scratch;
  const std::string path = scratch.path("wide.h5");
  const int64_t fits[] = {-2147483648LL, 2147483647LL, -1}, large[] = {0, 1, 2147483648LL};
  const uint64_t huge[] = {0, 18446744073709551615ULL, 2};
  put(path, "train", "fits", H5T_STD_I64BE, H5T_NATIVE_INT64, {3}, fits);
  put(path, "train", "large", H5T_STD_I64LE, H5T_NATIVE_INT64, {3}, large);
  put(path, "train", "huge", H5T_STD_U64LE, H5T_NATIVE_UINT64, {3}, huge);
  const Dataset dataset = open_file(path);
  noprop_array array;
  ASSERT_EQ(noprop_dataset_get(dataset.get(), "train", "fits", &array), NOPROP_OK) << noprop_last_error();
  EXPECT_EQ(static_cast<const int32_t *>(array.values)[0], INT32_MIN);
  EXPECT_EQ(static_cast<const int32_t *>(array.values)[2], -1);
  EXPECT_EQ(noprop_dataset_get(dataset.get(), "train", "large", &array), NOPROP_FILE_ERROR);
  EXPECT_TRUE(contains(noprop_last_error(), "2147483648 in row 2 does not fit")) << noprop_last_error();
  EXPECT_EQ(noprop_dataset_get(dataset.get(), "train", "huge", &array), NOPROP_FILE_ERROR);
  EXPECT_TRUE(contains(noprop_last_error(), "in row 1 does not fit")) << noprop_last_error();
}

TEST(Dataset, RanksOneToEightAreReadAndOthersRefused) {
  const Scratch scratch;
  const std::string path = scratch.path("ranks.h5");
  std::vector<float> values(512);
  std::iota(values.begin(), values.end(), 0.0f);
  for (int rank = 1; rank <= 9; rank++)
    put(path, "train", ("r" + std::to_string(rank)).c_str(), H5T_IEEE_F32LE, H5T_NATIVE_FLOAT,
        std::vector<hsize_t>(static_cast<size_t>(rank), 2), values.data());
  put(path, "train", "scalar", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {}, values.data());
  put(path, "train", "empty", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {0, 3}, nullptr);
  const Dataset dataset = open_file(path);
  noprop_array array;
  for (int rank = 1; rank <= 8; rank++) {
    const std::string name = "r" + std::to_string(rank);
    ASSERT_EQ(noprop_dataset_get(dataset.get(), "train", name.c_str(), &array), NOPROP_OK) << noprop_last_error();
    EXPECT_EQ(array.rank, rank);
    EXPECT_EQ(array.rows, 2);
    EXPECT_EQ(array.width, 1L << (rank - 1));
    EXPECT_EQ(memcmp(array.values, values.data(), sizeof(float) << rank), 0);
  }
  EXPECT_EQ(noprop_dataset_get(dataset.get(), "train", "r9", &array), NOPROP_FILE_ERROR);
  EXPECT_TRUE(contains(noprop_last_error(), "9 dimensions; 1 to 8 are allowed")) << noprop_last_error();
  EXPECT_EQ(noprop_dataset_get(dataset.get(), "train", "scalar", &array), NOPROP_FILE_ERROR);
  EXPECT_TRUE(contains(noprop_last_error(), "0 dimensions")) << noprop_last_error();
  EXPECT_EQ(noprop_dataset_get(dataset.get(), "train", "empty", &array), NOPROP_FILE_ERROR);
  EXPECT_TRUE(contains(noprop_last_error(), "no values")) << noprop_last_error();
}

TEST(Dataset, MissingThingsAreNamedTogetherWithWhatIsThere) {
  const Scratch scratch;
  const std::string path = scratch.path("moons.h5");
  const float x[] = {1, 2, 3, 4};
  const int32_t y[] = {0, 1};
  put(path, "train", "x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {2, 2}, x);
  put(path, "train", "y", H5T_STD_I32LE, H5T_NATIVE_INT32, {2}, y);
  put(path, "test", "x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {2, 2}, x);
  const Dataset dataset = open_file(path);
  noprop_array array;
  EXPECT_EQ(noprop_dataset_get(dataset.get(), "validation", "x", &array), NOPROP_FILE_ERROR);
  EXPECT_EQ(std::string(noprop_last_error()), path + ": there is no split 'validation'; there are: test, train");
  EXPECT_EQ(noprop_dataset_get(dataset.get(), "train", "z", &array), NOPROP_FILE_ERROR);
  EXPECT_EQ(std::string(noprop_last_error()),
            path + ": the split 'train' has no array 'z'; it holds: x float32 [2][2], y int32 [2]");
  EXPECT_TRUE(noprop_dataset_has_split(dataset.get(), "test"));
  EXPECT_FALSE(noprop_dataset_has_split(dataset.get(), "validation"));
  EXPECT_STREQ(noprop_dataset_split_at(dataset.get(), 1), "train");
  EXPECT_EQ(noprop_dataset_split_at(dataset.get(), 2), nullptr);
  EXPECT_STREQ(noprop_dataset_array_at(dataset.get(), "train", 1), "y");
  EXPECT_EQ(noprop_dataset_array_at(dataset.get(), "train", 2), nullptr);
}

TEST(Dataset, ArraysThatAreNoNumbersAreRefusedWhenAskedForOnly) {
  const Scratch scratch;
  const std::string path = scratch.path("text.h5");
  const hid_t text = H5Tcopy(H5T_C_S1);
  H5Tset_size(text, 4);
  put(path, "train", "names", text, text, {2}, "abc\0def");
  H5Tclose(text);
  const float x[] = {1, 2};
  put(path, "train", "x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {2}, x);
  put(path, "train/deeper", "x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {2}, x);
  const Dataset dataset = open_file(path);
  noprop_array array;
  EXPECT_EQ(noprop_dataset_get(dataset.get(), "train", "x", &array), NOPROP_OK) << noprop_last_error();
  EXPECT_EQ(noprop_dataset_get(dataset.get(), "train", "names", &array), NOPROP_FILE_ERROR);
  EXPECT_TRUE(contains(noprop_last_error(), "neither floating-point numbers nor integers")) << noprop_last_error();
  EXPECT_EQ(noprop_dataset_get(dataset.get(), "train", "deeper", &array), NOPROP_FILE_ERROR);
  EXPECT_TRUE(contains(noprop_last_error(), "is a group")) << noprop_last_error();
}

TEST(Dataset, ValuesThatAreNotFiniteAreFoundWithRowAndColumn) {
  const Scratch scratch;
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const struct {
    const char *name;
    double value;
    hid_t type;
    const char *word;
  } cases[] = {{"a", nan, H5T_IEEE_F32LE, "NaN"},
               {"b", inf, H5T_IEEE_F64LE, "positive infinity"},
               {"c", -inf, H5T_IEEE_F32LE, "negative infinity"},
               {"d", 1e39, H5T_IEEE_F64LE, "beyond float32"}};
  const std::string path = scratch.path("nan.h5");
  for (const auto &c : cases) {
    std::vector<double> values(12, 1.0);
    values[7] = c.value;
    put(path, "train", c.name, c.type, H5T_NATIVE_DOUBLE, {4, 3}, values.data());
  }
  const Dataset dataset = open_file(path);
  for (const auto &c : cases) {
    noprop_array array;
    EXPECT_EQ(noprop_dataset_get(dataset.get(), "train", c.name, &array), NOPROP_FILE_ERROR);
    EXPECT_TRUE(contains(noprop_last_error(), "row 2, column 1 holds")) << noprop_last_error();
    EXPECT_TRUE(contains(noprop_last_error(), c.word)) << noprop_last_error();
  }
  const Dataset memory = make();
  const float bad[] = {1, 2, std::numeric_limits<float>::quiet_NaN()};
  noprop_array array = array_of("x", NOPROP_TYPE_FLOAT32, {3}, bad);
  ASSERT_EQ(noprop_dataset_add(memory.get(), "train", &array), NOPROP_OK);
  EXPECT_EQ(noprop_dataset_get(memory.get(), "train", "x", &array), NOPROP_FILE_ERROR);
  EXPECT_TRUE(contains(noprop_last_error(), "row 2")) << noprop_last_error();
}

TEST(Dataset, FilesThatAreNoHdf5OrCutShortAreClearErrors) {
  const Scratch scratch;
  noprop_dataset *dataset = nullptr;
  const auto refuse = [&](const std::string &path, const char *word) {
    EXPECT_EQ(noprop_dataset_open(path.c_str(), &dataset), NOPROP_FILE_ERROR);
    EXPECT_EQ(dataset, nullptr);
    EXPECT_TRUE(contains(noprop_last_error(), path) && contains(noprop_last_error(), word)) << noprop_last_error();
  };
  refuse(scratch.path("none.h5"), "No such file");
  refuse(scratch.path(""), "directory");
  refuse(scratch.write("empty.h5", ""), "empty");
  refuse(scratch.write("text.h5", "this is no HDF5 file, just a line of text\n"), "not an HDF5 file");

  noprop_dataset *moons = nullptr;
  ASSERT_EQ(noprop_dataset_generate("two-moons", 100, -1, 0, &moons), NOPROP_OK);
  ASSERT_EQ(noprop_dataset_save(moons, scratch.path("moons.h5").c_str(), nullptr, nullptr), NOPROP_OK);
  noprop_dataset_destroy(moons);
  const std::string whole = read_file(scratch.path("moons.h5"));
  // Wherever the file is cut, opening it or reading one of its arrays says so.
  for (size_t length = 8; length < whole.size(); length += 97) {
    const std::string path = scratch.write("cut.h5", whole.substr(0, length));
    EXPECT_EQ(noprop_dataset_open(path.c_str(), &dataset), NOPROP_FILE_ERROR) << length << " bytes were taken";
    EXPECT_TRUE(contains(noprop_last_error(), "damaged")) << noprop_last_error();
    noprop_dataset_destroy(dataset);
  }
  const hid_t bare = H5Fcreate(scratch.path("bare.h5").c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(bare);
  refuse(scratch.path("bare.h5"), "no splits");
}

TEST(Dataset, HdfsOwnErrorPrintingIsLeftAsItWas) {
  H5E_auto2_t before, after;
  void *before_data, *after_data;
  H5Eget_auto2(H5E_DEFAULT, &before, &before_data);
  testing::internal::CaptureStderr();
  noprop_dataset *dataset = nullptr;
  const Scratch scratch;
  const std::string path = scratch.write("bad.h5", std::string("\x89HDF\r\n\x1a\n", 8) + "rubbish");
  EXPECT_EQ(noprop_dataset_open(path.c_str(), &dataset), NOPROP_FILE_ERROR);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  H5Eget_auto2(H5E_DEFAULT, &after, &after_data);
  EXPECT_EQ(before, after);
  EXPECT_EQ(before_data, after_data);
}

// A data set with an array of every type.
Dataset sample_set(const float *x, const double *d, const uint8_t *u, const int32_t *y) {
  Dataset dataset = make();
  const noprop_array arrays[] = {
      array_of("x", NOPROP_TYPE_FLOAT32, {3, 2}, x), array_of("d", NOPROP_TYPE_FLOAT64, {3}, d),
      array_of("u", NOPROP_TYPE_UINT8, {3, 2, 2}, u), array_of("y", NOPROP_TYPE_INT32, {3}, y)};
  for (const char *split : {"train", "test"})
    for (const noprop_array &array : arrays)
      EXPECT_EQ(noprop_dataset_add(dataset.get(), split, &array), NOPROP_OK) << noprop_last_error();
  return dataset;
}

const float SAMPLE_X[] = {1.5f, -2, 3, 4, 5, 1e-30f};
const double SAMPLE_D[] = {0.1, 1e30, -3};
const uint8_t SAMPLE_U[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255};
const int32_t SAMPLE_Y[] = {0, 2, 1};

TEST(Dataset, SavedFilesReadBackTheSameBits) {
  const Scratch scratch;
  const std::string path = scratch.path("a.h5");
  const Dataset dataset = sample_set(SAMPLE_X, SAMPLE_D, SAMPLE_U, SAMPLE_Y);
  ASSERT_EQ(noprop_dataset_save(dataset.get(), path.c_str(), "what it is", "where from"), NOPROP_OK)
      << noprop_last_error();
  const Dataset again = open_file(path);
  EXPECT_STREQ(noprop_dataset_description(again.get()), "what it is");
  EXPECT_STREQ(noprop_dataset_source(again.get()), "where from");
  for (const char *split : {"train", "test"}) {
    for (const char *name : {"x", "d", "u", "y"}) {
      noprop_array a, b;
      ASSERT_EQ(noprop_dataset_peek(again.get(), split, name, &b), NOPROP_OK);
      EXPECT_EQ(b.values, nullptr) << "arrays are read when asked for, not before";
      ASSERT_EQ(noprop_dataset_get(dataset.get(), split, name, &a), NOPROP_OK);
      ASSERT_EQ(noprop_dataset_get(again.get(), split, name, &b), NOPROP_OK) << noprop_last_error();
      EXPECT_EQ(a.type, b.type);
      EXPECT_EQ(a.rank, b.rank);
      EXPECT_EQ(memcmp(a.shape, b.shape, sizeof(long) * static_cast<size_t>(a.rank)), 0);
      const size_t size = a.type == NOPROP_TYPE_FLOAT64 ? 8 : a.type == NOPROP_TYPE_UINT8 ? 1 : 4;
      EXPECT_EQ(memcmp(a.values, b.values, static_cast<size_t>(a.rows * a.width) * size), 0) << split << "/" << name;
    }
  }
}

TEST(Dataset, SameDataSameBytesWhateverTheOrderAndTime) {
  const Scratch scratch;
  const Dataset one = sample_set(SAMPLE_X, SAMPLE_D, SAMPLE_U, SAMPLE_Y);
  ASSERT_EQ(noprop_dataset_save(one.get(), scratch.path("a.h5").c_str(), "d", nullptr), NOPROP_OK);
  sleep(1);  // object times have a resolution of one second
  const Dataset other = make();
  const noprop_array arrays[] = {
      array_of("y", NOPROP_TYPE_INT32, {3}, SAMPLE_Y), array_of("u", NOPROP_TYPE_UINT8, {3, 2, 2}, SAMPLE_U),
      array_of("d", NOPROP_TYPE_FLOAT64, {3}, SAMPLE_D), array_of("x", NOPROP_TYPE_FLOAT32, {3, 2}, SAMPLE_X)};
  for (const char *split : {"test", "train"})
    for (const noprop_array &array : arrays) ASSERT_EQ(noprop_dataset_add(other.get(), split, &array), NOPROP_OK);
  ASSERT_EQ(noprop_dataset_save(other.get(), scratch.path("b.h5").c_str(), "d", nullptr), NOPROP_OK);
  EXPECT_EQ(read_file(scratch.path("a.h5")), read_file(scratch.path("b.h5")));
  // And a file that was read and written again.
  const Dataset read = open_file(scratch.path("a.h5"));
  ASSERT_EQ(noprop_dataset_save(read.get(), scratch.path("c.h5").c_str(), nullptr, nullptr), NOPROP_OK);
  EXPECT_EQ(read_file(scratch.path("a.h5")), read_file(scratch.path("c.h5")));
}

TEST(Dataset, AFullDiskLosesNothingAndLeavesNothingBehind) {
  const Scratch scratch;
  const std::string path = scratch.path("a.h5");
  const Dataset small = sample_set(SAMPLE_X, SAMPLE_D, SAMPLE_U, SAMPLE_Y);
  ASSERT_EQ(noprop_dataset_save(small.get(), path.c_str(), "first", nullptr), NOPROP_OK);
  const std::string before = read_file(path);
  noprop_dataset *large = nullptr;
  ASSERT_EQ(noprop_dataset_generate("two-moons", 20000, -1, 0, &large), NOPROP_OK);
  // Files may not grow beyond 64 KiB: the write fails midway, as on a full disk.
  struct rlimit saved, limit;
  getrlimit(RLIMIT_FSIZE, &saved);
  limit = saved;
  limit.rlim_cur = 65536;
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &limit);
  const noprop_status status = noprop_dataset_save(large, path.c_str(), nullptr, nullptr);
  const std::string sentence = noprop_last_error();
  setrlimit(RLIMIT_FSIZE, &saved);
  signal(SIGXFSZ, handler);
  EXPECT_EQ(status, NOPROP_FILE_ERROR);
  EXPECT_TRUE(contains(sentence, path)) << sentence;
  EXPECT_TRUE(contains(sentence, strerror(EFBIG))) << sentence;
  EXPECT_EQ(read_file(path), before);
  EXPECT_EQ(scratch.count(), 1) << "a temporary file was left behind";
  // With room it works, and the old data set was still usable while its file was replaced.
  EXPECT_EQ(noprop_dataset_save(large, path.c_str(), nullptr, nullptr), NOPROP_OK) << noprop_last_error();
  noprop_dataset_destroy(large);
}

TEST(Dataset, AnUnwritableFolderIsAClearError) {
  const Dataset dataset = sample_set(SAMPLE_X, SAMPLE_D, SAMPLE_U, SAMPLE_Y);
  const Scratch scratch;
  EXPECT_EQ(noprop_dataset_save(dataset.get(), scratch.path("no/such/folder/a.h5").c_str(), nullptr, nullptr),
            NOPROP_FILE_ERROR);
  EXPECT_TRUE(contains(noprop_last_error(), "No such file or directory")) << noprop_last_error();
}

TEST(Dataset, AFileCanBeReplacedWhileItIsOpen) {
  const Scratch scratch;
  const std::string path = scratch.path("a.h5");
  ASSERT_EQ(noprop_dataset_save(sample_set(SAMPLE_X, SAMPLE_D, SAMPLE_U, SAMPLE_Y).get(), path.c_str(), "d", nullptr),
            NOPROP_OK);
  const Dataset open = open_file(path);
  ASSERT_EQ(noprop_dataset_save(open.get(), path.c_str(), "new", nullptr), NOPROP_OK) << noprop_last_error();
  EXPECT_STREQ(noprop_dataset_description(open_file(path).get()), "new");
}

TEST(Dataset, AddedArraysAreChecked) {
  const Dataset dataset = make();
  const float x[] = {1, 2, 3, 4};
  noprop_array good = array_of("x", NOPROP_TYPE_FLOAT32, {2, 2}, x), bad;
  const auto refuse = [&](const noprop_array &array, const char *split = "train") {
    EXPECT_EQ(noprop_dataset_add(dataset.get(), split, &array), NOPROP_INVALID_ARGUMENT);
  };
  (bad = good).name = "a/b", refuse(bad);
  (bad = good).name = "", refuse(bad);
  (bad = good).name = nullptr, refuse(bad);
  (bad = good).values = nullptr, refuse(bad);
  (bad = good).rank = 9, refuse(bad);
  (bad = good).rank = 0, refuse(bad);
  (bad = good).rows = 3, refuse(bad);
  (bad = good).width = 3, refuse(bad);
  (bad = good).shape[1] = 0, refuse(bad);
  (bad = good).type = static_cast<noprop_type>(7), refuse(bad);
  refuse(good, "a/b");
  ASSERT_EQ(noprop_dataset_add(dataset.get(), "train", &good), NOPROP_OK) << noprop_last_error();
  refuse(good);
  noprop_array got;
  ASSERT_EQ(noprop_dataset_get(dataset.get(), "train", "x", &got), NOPROP_OK);
  EXPECT_EQ(got.values, x) << "the caller's memory is not copied";
  EXPECT_EQ(noprop_dataset_save(make().get(), "nowhere.h5", nullptr, nullptr), NOPROP_INVALID_ARGUMENT);
}

// ---- roles ----

struct Config {
  Config(std::initializer_list<std::pair<const char *, const char *>> pairs) {
    EXPECT_EQ(noprop_config_create(&config), NOPROP_OK);
    for (const auto &[key, value] : pairs)
      EXPECT_EQ(noprop_config_set(config, key, value), NOPROP_OK) << noprop_last_error();
  }
  ~Config() { noprop_config_destroy(config); }
  Config(const Config &) = delete;
  Config &operator=(const Config &) = delete;
  noprop_config *config = nullptr;
};

noprop_status shape_of(const Config &config, const Dataset &dataset, noprop_model_shape *shape) {
  return noprop_model_shape_from_data(config.config, dataset.get(), shape);
}

TEST(ModelShape, ClassesAreCountedOverAllSplits) {
  const float x[] = {1, 2, 3, 4, 5, 6};
  const int32_t train[] = {0, 1, 0}, test[] = {0, 4, 2};
  const Dataset dataset = make();
  for (const char *split : {"train", "test"}) {
    const noprop_array inputs = array_of("x", NOPROP_TYPE_FLOAT32, {3, 2}, x);
    const noprop_array labels = array_of("y", NOPROP_TYPE_INT32, {3}, strcmp(split, "train") == 0 ? train : test);
    ASSERT_EQ(noprop_dataset_add(dataset.get(), split, &inputs), NOPROP_OK);
    ASSERT_EQ(noprop_dataset_add(dataset.get(), split, &labels), NOPROP_OK);
  }
  noprop_model_shape shape;
  ASSERT_EQ(shape_of(Config{}, dataset, &shape), NOPROP_OK) << noprop_last_error();
  EXPECT_EQ(shape.condition_width, 2);
  EXPECT_EQ(shape.condition_type, NOPROP_TYPE_FLOAT32);
  EXPECT_FALSE(shape.condition_is_label);
  EXPECT_EQ(shape.target_width, 5);
  EXPECT_EQ(shape.target_type, NOPROP_TYPE_INT32);
  EXPECT_TRUE(shape.target_is_label);
  // Generation swaps the roles: points given a label, or given nothing.
  ASSERT_EQ(shape_of(Config{{"task", "generate"}, {"data.condition", "y"}}, dataset, &shape), NOPROP_OK);
  EXPECT_EQ(shape.condition_width, 5);
  EXPECT_TRUE(shape.condition_is_label);
  EXPECT_EQ(shape.target_width, 2);
  EXPECT_FALSE(shape.target_is_label);
  ASSERT_EQ(shape_of(Config{{"task", "generate"}}, dataset, &shape), NOPROP_OK);
  EXPECT_EQ(shape.condition_width, 0);
  // Regression takes integers as numbers.
  ASSERT_EQ(shape_of(Config{{"task", "regress"}}, dataset, &shape), NOPROP_OK);
  EXPECT_EQ(shape.target_width, 1);
  EXPECT_FALSE(shape.target_is_label);
  EXPECT_EQ(shape.target_type, NOPROP_TYPE_FLOAT32);
  EXPECT_EQ(shape_of(Config{{"latent.size", "4"}}, dataset, &shape), NOPROP_INVALID_CONFIG);
  EXPECT_EQ(shape_of(Config{{"latent.size", "5"}}, dataset, &shape), NOPROP_OK) << noprop_last_error();
}

TEST(ModelShape, WrongDataAreRefusedInASentence) {
  const float x[] = {1, 2, 3, 4, 5, 6};
  const int32_t good[] = {0, 1, 0}, negative[] = {0, -1, 0};
  noprop_model_shape shape;
  const auto set = [&](std::vector<std::pair<const char *, noprop_array>> arrays) {
    Dataset dataset = make();
    for (const auto &[split, array] : arrays)
      EXPECT_EQ(noprop_dataset_add(dataset.get(), split, &array), NOPROP_OK) << noprop_last_error();
    return dataset;
  };
  const noprop_array inputs = array_of("x", NOPROP_TYPE_FLOAT32, {3, 2}, x);
  EXPECT_EQ(
      shape_of(Config{}, set({{"train", inputs}, {"train", array_of("y", NOPROP_TYPE_INT32, {3}, negative)}}), &shape),
      NOPROP_FILE_ERROR);
  EXPECT_TRUE(contains(noprop_last_error(), "row 1 of split 'train', array 'y' is -1")) << noprop_last_error();
  EXPECT_EQ(shape_of(Config{}, set({{"train", inputs}, {"train", array_of("y", NOPROP_TYPE_FLOAT32, {3}, x)}}), &shape),
            NOPROP_FILE_ERROR);
  EXPECT_TRUE(contains(noprop_last_error(), "task classify needs integer labels")) << noprop_last_error();
  EXPECT_EQ(
      shape_of(Config{}, set({{"train", inputs}, {"train", array_of("y", NOPROP_TYPE_INT32, {2}, good)}}), &shape),
      NOPROP_FILE_ERROR);
  EXPECT_TRUE(contains(noprop_last_error(), "3 rows of 'x' but 2 of 'y'")) << noprop_last_error();
  EXPECT_EQ(shape_of(Config{}, set({{"train", inputs}}), &shape), NOPROP_FILE_ERROR);
  EXPECT_TRUE(contains(noprop_last_error(), "no array 'y'; it holds: x float32 [3][2]")) << noprop_last_error();
  EXPECT_EQ(shape_of(Config{}, set({{"test", inputs}}), &shape), NOPROP_FILE_ERROR);
  EXPECT_TRUE(contains(noprop_last_error(), "no split 'train'; there are: test")) << noprop_last_error();
  EXPECT_EQ(shape_of(Config{},
                     set({{"train", inputs},
                          {"train", array_of("y", NOPROP_TYPE_INT32, {3}, good)},
                          {"test", array_of("x", NOPROP_TYPE_FLOAT32, {2, 3}, x)}}),
                     &shape),
            NOPROP_FILE_ERROR);
  EXPECT_TRUE(contains(noprop_last_error(), "2 values a row in split 'train', but 3 in 'test'")) << noprop_last_error();
}

}  // namespace
