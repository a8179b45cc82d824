// Converters of NumPy's archives and of CIFAR's binary files.
#include <zip.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <numeric>
#include <vector>

#include "converting.h"

namespace {

// ---- npz ----

std::string npy(const std::string &descr, const std::string &shape, const std::string &values, bool fortran = false) {
  std::string header =
      "{'descr': '" + descr + "', 'fortran_order': " + (fortran ? "True" : "False") + ", 'shape': " + shape + ", }";
  while ((10 + header.size() + 1) % 64) header += ' ';
  header += '\n';
  std::string bytes = "\x93NUMPY";
  bytes += '\1';
  bytes += '\0';
  bytes += static_cast<char>(header.size() & 255);
  bytes += static_cast<char>(header.size() >> 8);
  return bytes + header + values;
}

template <class T>
std::string bytes_of(const std::vector<T> &values) {
  return {reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T)};
}

template <class T>
std::string swapped(const std::vector<T> &values) {
  std::string bytes = bytes_of(values);
  for (size_t i = 0; i < bytes.size(); i += sizeof(T)) std::reverse(bytes.begin() + i, bytes.begin() + i + sizeof(T));
  return bytes;
}

std::string write_npz(const Scratch &scratch, const std::string &name,
                      const std::map<std::string, std::string> &members, bool compressed = false) {
  int code = 0;
  zip_t *archive = zip_open(scratch.path(name).c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code);
  EXPECT_NE(archive, nullptr);
  for (const auto &[member, bytes] : members) {
    zip_source_t *source = zip_source_buffer(archive, bytes.data(), bytes.size(), 0);
    const zip_int64_t index = zip_file_add(archive, (member + ".npy").c_str(), source, ZIP_FL_OVERWRITE);
    zip_set_file_compression(archive, static_cast<zip_uint64_t>(index), compressed ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
  }
  EXPECT_EQ(zip_close(archive), 0);
  return scratch.path(name);
}

TEST(ConvertNpz, TheFilesOwnSplitsAreKeptAndTheLastTrainingRowsValidate) {
  const Scratch scratch;
  std::vector<uint8_t> images(20 * 2 * 3), more(5 * 2 * 3, 7);
  std::iota(images.begin(), images.end(), uint8_t{0});
  std::vector<int64_t> labels(20), other(5, 3);
  std::iota(labels.begin(), labels.end(), int64_t{100});
  const std::map<std::string, std::string> members = {{"x_train", npy("|u1", "(20, 2, 3)", bytes_of(images))},
                                                      {"y_train", npy("<i8", "(20, 1)", bytes_of(labels))},
                                                      {"x_test", npy("|u1", "(5, 2, 3)", bytes_of(more))},
                                                      {"y_test", npy(">i8", "(5,)", swapped(other))}};
  for (const bool compressed : {false, true}) {
    const std::string path = write_npz(scratch, "a.npz", members, compressed);
    const Dataset dataset = convert("npz", options(path));
    const noprop_array x = get(dataset, "train", "x"), v = get(dataset, "validation", "x");
    ASSERT_EQ(x.rows, 18);
    ASSERT_EQ(v.rows, 2);
    EXPECT_EQ(x.type, NOPROP_TYPE_UINT8);
    ASSERT_EQ(x.rank, 3);
    EXPECT_EQ(std::memcmp(x.values, images.data(), 18 * 6), 0);
    EXPECT_EQ(std::memcmp(v.values, images.data() + 18 * 6, 2 * 6), 0);
    const noprop_array y = get(dataset, "train", "y"), test = get(dataset, "test", "y");
    EXPECT_EQ(y.type, NOPROP_TYPE_INT32);
    EXPECT_EQ(y.rank, 1) << "a column of integers is labels";
    EXPECT_EQ(static_cast<const int32_t *>(y.values)[17], 117);
    ASSERT_EQ(test.rows, 5);
    EXPECT_EQ(static_cast<const int32_t *>(test.values)[4], 3) << "most significant byte first";
  }
}

TEST(ConvertNpz, ArraysWithoutSplitsAreShuffledTogetherWhateverTheirOrder) {
  const Scratch scratch;
  // x[row][column] = 10 row + column, by columns; y = row.
  std::vector<double> columns;
  for (int column = 0; column < 3; column++)
    for (int row = 0; row < 30; row++) columns.push_back(10 * row + column);
  std::vector<float> y(30);
  std::iota(y.begin(), y.end(), 0.0f);
  const std::string path =
      write_npz(scratch, "a.npz",
                {{"x", npy("<f8", "(30, 3)", bytes_of(columns), true)}, {"y", npy("<f4", "(30,)", bytes_of(y))}});
  const Dataset dataset = convert("npz", options(path));
  long rows = 0;
  bool moved = false;
  for (const char *split : {"train", "validation", "test"}) {
    const noprop_array x = get(dataset, split, "x"), t = get(dataset, split, "y");
    EXPECT_EQ(x.type, NOPROP_TYPE_FLOAT64);
    EXPECT_EQ(t.type, NOPROP_TYPE_FLOAT32);
    for (long i = 0; i < x.rows; i++, rows++) {
      const double row = static_cast<double>(static_cast<const float *>(t.values)[i]);
      moved = moved || row != static_cast<double>(rows);
      for (int column = 0; column < 3; column++)
        EXPECT_EQ(static_cast<const double *>(x.values)[3 * i + column], 10 * row + column);
    }
  }
  EXPECT_EQ(rows, 30);
  EXPECT_TRUE(moved);
}

TEST(ConvertNpz, WhatIsDamagedOrMissingIsNamed) {
  const Scratch scratch;
  const std::string x = npy("<f4", "(4, 1)", bytes_of(std::vector<float>(4))),
                    y = npy("<i4", "(4,)", bytes_of(std::vector<int32_t>(4)));
  const auto said = [&](const std::map<std::string, std::string> &members) {
    const std::string path = write_npz(scratch, "b.npz", members);
    return refusal("npz", options(path));
  };
  EXPECT_TRUE(contains(said({{"a", x}}), "neither the arrays x and y nor x_train and y_train"));
  EXPECT_TRUE(contains(said({{"x", x}}), "has the array x, but not y"));
  EXPECT_TRUE(contains(said({{"x", x}, {"y", npy("<i4", "(3,)", std::string(12, 0))}}), "x has 4 rows, but y has 3"));
  EXPECT_TRUE(contains(said({{"x", npy("<c8", "(4, 1)", std::string(32, 0))}, {"y", y}}), "values of type '<c8'"));
  EXPECT_TRUE(contains(said({{"x", npy("<f2", "(4, 1)", std::string(8, 0))}, {"y", y}}), "allowed: 4 or 8"));
  EXPECT_TRUE(contains(said({{"x", npy("<f4", "(5, 1)", std::string(16, 0))}, {"y", y}}), "not that of its shape"));
  EXPECT_TRUE(contains(said({{"x", npy("<f4", "(0, 1)", "")}, {"y", y}}), "no rows or no values"));
  EXPECT_TRUE(contains(said({{"x", "what"}, {"y", y}}), "does not begin as an npy file does"));
  EXPECT_TRUE(contains(said({{"x", x.substr(0, 40)}, {"y", y}}), "cut short"));
  EXPECT_TRUE(contains(said({{"x", x}, {"y", npy("<i8", "(4,)", bytes_of(std::vector<int64_t>(4, int64_t{1} << 40)))}}),
                       "does not fit 32 bits"));
  const std::string whole = read_file(write_npz(scratch, "c.npz", {{"x", x}, {"y", y}}));
  EXPECT_TRUE(contains(refusal("npz", options(scratch.write("d.npz", whole.substr(0, whole.size() / 2)))),
                       "could not be read as an npz archive"));
  std::string flipped = whole;
  flipped[flipped.find("NUMPY") + 130] ^= 1; /* a bit of a value */
  EXPECT_TRUE(contains(refusal("npz", options(scratch.write("e.npz", flipped))), "damaged"));
  EXPECT_TRUE(contains(refusal("npz", options(scratch.path("none.npz"))), "none.npz"));
}

// ---- cifar ----

std::string records(int count, int label_bytes, int first) {
  std::string bytes;
  for (int i = 0; i < count; i++) {
    if (label_bytes == 2) bytes += static_cast<char>(5);
    bytes += static_cast<char>((first + i) % 10);
    for (int k = 0; k < 3072; k++) bytes += static_cast<char>(k == 0 ? first + i : k / 1024);
  }
  return bytes;
}

TEST(ConvertCifar, BothKindsBecomeThreeSplitsOfImagesByChannel) {
  for (const int label_bytes : {1, 2}) {
    const Scratch scratch;
    if (label_bytes == 1)
      for (int i = 0; i < 5; i++) scratch.write("data_batch_" + std::to_string(i + 1) + ".bin", records(4, 1, 4 * i));
    else
      scratch.write("train.bin", records(20, 2, 0));
    scratch.write(label_bytes == 1 ? "test_batch.bin" : "test.bin", records(3, label_bytes, 50));
    const std::string folder = scratch.path("");
    const Dataset dataset = convert("cifar", options(folder));
    const noprop_array x = get(dataset, "train", "x"), y = get(dataset, "validation", "y"),
                       test = get(dataset, "test", "x");
    ASSERT_EQ(x.rows, 18);
    ASSERT_EQ(x.rank, 4);
    EXPECT_EQ(x.shape[1], 3);
    EXPECT_EQ(x.shape[3], 32);
    const auto *image = static_cast<const uint8_t *>(x.values) + 17 * 3072;
    EXPECT_EQ(image[0], 17);
    EXPECT_EQ(image[1024], 1) << "green follows red";
    ASSERT_EQ(y.rows, 2);
    EXPECT_EQ(static_cast<const int32_t *>(y.values)[1], 9);
    EXPECT_EQ(test.rows, 3);
    if (label_bytes == 2) {
      EXPECT_EQ(static_cast<const int32_t *>(get(dataset, "test", "y_coarse").values)[0], 5);
    }
  }
}

TEST(ConvertCifar, DamagedFilesAreClearErrors) {
  const Scratch scratch;
  const std::string folder = scratch.path("");
  EXPECT_TRUE(contains(refusal("cifar", options(folder)), "neither data_batch_1.bin"));
  scratch.write("train.bin", records(3, 2, 0));
  EXPECT_TRUE(contains(refusal("cifar", options(folder)), "test.bin could not be opened"));
  scratch.write("test.bin", records(3, 2, 0).substr(1));
  EXPECT_TRUE(contains(refusal("cifar", options(folder)), "whole number of records of 3074 bytes"));
  scratch.write("data_batch_1.bin", std::string(3073, '\x20'));
  EXPECT_TRUE(contains(refusal("cifar", options(folder)), "no CIFAR-10 file: record 0 has the label 32"));
  EXPECT_TRUE(contains(refusal("cifar", options("/nowhere"), NOPROP_INVALID_ARGUMENT), "/nowhere"));
}

}  // namespace
