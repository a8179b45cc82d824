// Converters: idx files of every type, Fashion-MNIST's layout, CSV tables; damaged files are clear errors.
#include <gtest/gtest.h>
#include <noprop/noprop.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "converting.h"

namespace {

// ---- idx ----

std::string idx(int type, const std::vector<unsigned> &shape, const std::string &values) {
  std::string bytes = {'\0', '\0', static_cast<char>(type), static_cast<char>(shape.size())};
  for (const unsigned n : shape)
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(n >> shift & 255);
  return bytes + values;
}

std::string gzip(const std::string &bytes) {
  z_stream stream = {};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(bytes.size() + 1000, '\0');
  stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef *>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// Images of 2 x 3 whose first value is the row's number, labels number % 10.
std::string images(unsigned rows, unsigned first = 0) {
  std::string values;
  for (unsigned i = 0; i < rows; i++)
    for (unsigned k = 0; k < 6; k++) values += static_cast<char>(k == 0 ? first + i : k);
  return idx(8, {rows, 2, 3}, values);
}
std::string labels(unsigned rows, unsigned first = 0) {
  std::string values;
  for (unsigned i = 0; i < rows; i++) values += static_cast<char>((first + i) % 10);
  return idx(8, {rows}, values);
}

// A folder of 48 training and 10 test images, some files gzipped.
void write_folder(const Scratch &scratch) {
  scratch.write("train-images-idx3-ubyte.gz", gzip(images(48)));
  scratch.write("train-labels-idx1-ubyte", labels(48));
  scratch.write("t10k-images-idx3-ubyte", images(10, 100));
  scratch.write("t10k-labels-idx1-ubyte.gz", gzip(labels(10, 100)));
}

TEST(Convert, AnIdxFolderBecomesThreeSplitsWithTheLastTwelfthAsValidation) {
  const Scratch scratch;
  write_folder(scratch);
  for (const char *kind : {"idx", "fashion-mnist"}) {
    const std::string folder = scratch.path("");
    const Dataset dataset = convert(kind, options(folder));
    const struct {
      const char *split;
      long rows;
      int first;
    } splits[] = {{"train", 44, 0}, {"validation", 4, 44}, {"test", 10, 100}};
    for (const auto &s : splits) {
      const noprop_array x = get(dataset, s.split, "x"), y = get(dataset, s.split, "y");
      EXPECT_EQ(x.type, NOPROP_TYPE_UINT8);
      ASSERT_EQ(x.rank, 3);
      EXPECT_EQ(x.shape[1], 2);
      EXPECT_EQ(x.shape[2], 3);
      ASSERT_EQ(x.rows, s.rows);
      EXPECT_EQ(y.type, NOPROP_TYPE_INT32);
      ASSERT_EQ(y.rows, s.rows);
      for (long i = 0; i < x.rows; i++) {
        EXPECT_EQ(static_cast<const uint8_t *>(x.values)[6 * i], s.first + i);
        EXPECT_EQ(static_cast<const uint8_t *>(x.values)[6 * i + 5], 5);
        EXPECT_EQ(static_cast<const int32_t *>(y.values)[i], (s.first + i) % 10);
      }
    }
    EXPECT_TRUE(contains(noprop_dataset_description(dataset.get()), "validation: the last 4 of the file's 48"));
    EXPECT_FALSE(contains(noprop_dataset_description(dataset.get()), folder)) << "no paths in files";
  }
}

TEST(Convert, DebiansFashionMnistHasItsKnownRows) {
  noprop_convert_options o = {};
  noprop_dataset *found = nullptr;
  if (noprop_dataset_convert("fashion-mnist", &o, &found) != NOPROP_OK) {
    // Not installed here: then the sentence must say what to install.
    EXPECT_TRUE(contains(noprop_last_error(), "dataset-fashion-mnist")) << noprop_last_error();
    GTEST_SKIP() << "the package dataset-fashion-mnist is not installed";
  }
  const Dataset dataset(found);
  EXPECT_EQ(get(dataset, "train", "x").rows, 55000);
  EXPECT_EQ(get(dataset, "validation", "x").rows, 5000);
  EXPECT_EQ(get(dataset, "test", "x").rows, 10000);
  EXPECT_EQ(get(dataset, "train", "x").width, 784);
  std::map<int, long> count;
  for (const char *split : {"train", "validation"}) {
    const noprop_array y = get(dataset, split, "y");
    for (long i = 0; i < y.rows; i++) count[static_cast<const int32_t *>(y.values)[i]]++;
  }
  ASSERT_EQ(count.size(), 10u);
  for (const auto &[label, n] : count) EXPECT_EQ(n, 6000) << "class " << label;
}

TEST(Convert, TwoIdxFilesAreShuffledTogetherAndSplit) {
  const Scratch scratch;
  const std::string x_path = scratch.write("images.gz", gzip(images(100))),
                    y_path = scratch.write("labels", labels(100));
  noprop_convert_options o = options(x_path);
  o.labels = y_path.c_str();
  o.validation = 0.2;
  o.test = 0.1;
  o.seed = 3;
  const Dataset dataset = convert("idx", o);
  std::set<int> seen;
  bool in_order = true;
  for (const auto &[split, rows] : std::map<std::string, long>{{"train", 70}, {"validation", 20}, {"test", 10}}) {
    const noprop_array x = get(dataset, split.c_str(), "x"), y = get(dataset, split.c_str(), "y");
    ASSERT_EQ(x.rows, rows);
    for (long i = 0; i < rows; i++) {
      const int number = static_cast<const uint8_t *>(x.values)[6 * i];
      EXPECT_TRUE(seen.insert(number).second) << "row " << number << " stands twice";
      EXPECT_EQ(static_cast<const int32_t *>(y.values)[i], number % 10) << "images and labels must travel together";
      in_order = in_order && number == static_cast<int>(seen.size()) - 1;
    }
  }
  EXPECT_EQ(seen.size(), 100u);
  EXPECT_FALSE(in_order);
}

TEST(Convert, EveryIdxTypeIsReadMostSignificantByteFirst) {
  const Scratch scratch;
  const std::string y = scratch.write("labels", labels(2));
  const struct {
    int type;
    std::string bytes;
    noprop_type expected;
    double first, second;
  } cases[] = {
      {9, std::string("\x7f\xff", 2), NOPROP_TYPE_INT32, 127, -1},
      {11, std::string("\x01\x02\xff\xfe", 4), NOPROP_TYPE_INT32, 258, -2},
      {12, std::string("\x00\x01\x00\x00\xff\xff\xff\xfd", 8), NOPROP_TYPE_INT32, 65536, -3},
      {13, std::string("\x3f\xc0\x00\x00\xc0\x00\x00\x00", 8), NOPROP_TYPE_FLOAT32, 1.5, -2},
      {14, std::string("\x3f\xf8\0\0\0\0\0\0\xc0\0\0\0\0\0\0\0", 16), NOPROP_TYPE_FLOAT64, 1.5, -2},
  };
  for (const auto &c : cases) {
    const std::string x = scratch.write("x", idx(c.type, {2, 1}, c.bytes));
    noprop_convert_options o = options(x);
    o.labels = y.c_str();
    o.validation = o.test = 0;
    const Dataset dataset = convert("idx", o);
    const noprop_array kept = get(dataset, "train", "x");
    ASSERT_EQ(kept.type, c.expected);
    std::multiset<double> values;
    for (int i = 0; i < 2; i++)
      values.insert(c.expected == NOPROP_TYPE_INT32     ? static_cast<const int32_t *>(kept.values)[i]
                    : c.expected == NOPROP_TYPE_FLOAT32 ? static_cast<const float *>(kept.values)[i]
                                                        : static_cast<const double *>(kept.values)[i]);
    EXPECT_EQ(values, (std::multiset<double>{c.first, c.second})) << "type " << c.type;
  }
}

TEST(Convert, DamagedIdxFilesAreClearErrors) {
  const Scratch scratch;
  const std::string y = scratch.write("labels", labels(5));
  const auto refuse = [&](const std::string &bytes) {
    const std::string x = scratch.write("x", bytes);
    noprop_convert_options o = options(x);
    o.labels = y.c_str();
    const std::string sentence = refusal("idx", o);
    EXPECT_TRUE(contains(sentence, x)) << sentence;
    return sentence;
  };
  const std::string whole = images(5), zipped = gzip(whole);
  for (size_t length = 0; length < whole.size(); length++)
    EXPECT_TRUE(contains(refuse(whole.substr(0, length)), "cut short")) << length;
  for (size_t length = 1; length < zipped.size(); length += 3) refuse(zipped.substr(0, length));
  std::string flipped = zipped;
  flipped[flipped.size() - 6] ^= 1;  // in the check sum
  EXPECT_TRUE(contains(refuse(flipped), "damaged"));
  EXPECT_TRUE(contains(refuse(whole + "x"), "longer than its header says"));
  EXPECT_TRUE(contains(refuse("PNG" + whole), "not an idx file"));
  EXPECT_TRUE(contains(refuse(idx(10, {5}, "abcde")), "not an idx file"));
  EXPECT_TRUE(contains(refuse(idx(8, {}, "")), "0 dimensions"));
  EXPECT_TRUE(contains(refuse(idx(8, {0, 3}, "")), "claims 0 values"));
  EXPECT_TRUE(contains(refuse(idx(8, {4294967295u, 4294967295u, 4294967295u}, "")), "claims"));
  EXPECT_TRUE(contains(refuse(images(6)), "has 6 rows, but"));
  // Labels that are no labels.
  const std::string x = scratch.write("x", images(5)), floats = scratch.write("f", idx(13, {5}, std::string(20, '\0')));
  noprop_convert_options o = options(x);
  o.labels = floats.c_str();
  EXPECT_TRUE(contains(refusal("idx", o), "labels are integers"));
}

TEST(Convert, MissingIdxFilesAreNamed) {
  const Scratch scratch;
  write_folder(scratch);
  std::filesystem::remove(scratch.path("t10k-labels-idx1-ubyte.gz"));
  const std::string folder = scratch.path(""), none = scratch.path("none"),
                    file = scratch.path("train-labels-idx1-ubyte");
  EXPECT_TRUE(contains(refusal("fashion-mnist", options(folder)), "t10k-labels"));
  EXPECT_TRUE(contains(refusal("fashion-mnist", options(none)), "No such file"));
  EXPECT_TRUE(contains(refusal("idx", options(file), NOPROP_INVALID_ARGUMENT), "a file of labels is needed"));
  EXPECT_TRUE(contains(refusal("tar", options(file), NOPROP_INVALID_ARGUMENT), "fashion-mnist, idx, csv, npz, cifar"));
}

// ---- csv ----

// All rows of all splits: the inputs, sorted, to their targets.
std::map<std::vector<float>, double> table(const Dataset &dataset) {
  std::map<std::vector<float>, double> rows;
  for (const char *split : {"train", "validation", "test"}) {
    if (!noprop_dataset_has_split(dataset.get(), split)) continue;
    const noprop_array x = get(dataset, split, "x"), y = get(dataset, split, "y");
    EXPECT_EQ(x.rows, y.rows);
    for (long i = 0; i < x.rows; i++) {
      const float *from = static_cast<const float *>(x.values) + i * x.width;
      rows[std::vector<float>(from, from + x.width)] = y.type == NOPROP_TYPE_INT32
                                                           ? static_cast<const int32_t *>(y.values)[i]
                                                           : static_cast<const float *>(y.values)[i];
    }
  }
  return rows;
}

TEST(Convert, CsvDialectsGiveTheSameTable) {
  const Scratch scratch;
  const std::map<std::vector<float>, double> expected = {{{1, 2}, 0}, {{3, 4.5f}, 1}, {{-5, 6e3f}, 2}, {{7, 8}, 1}};
  for (const char *text : {
           "a,b,class\n1,2,0\n3,4.5,1\n-5,6e3,2\n7,8,1\n",            // header
           "1,2,0\n3,4.5,1\n-5,6e3,2\n7,8,1",                         // none, no last line end
           "a;b;class\r\n1;2;0\r\n3;4.5;1\r\n-5;6e3;2\r\n7;8;1\r\n",  // semicolons, CRLF
           "a\tb\tclass\n1\t2\t0\n3\t4.5\t1\n-5\t6e3\t2\n7\t8\t1\n",  // tabs
           "\xef\xbb\xbf\"a \"\"x\"\", y\",b,\"class\"\n\"1\", 2 ,0\n\n3,4.5,1\n  \n-5,6e3,2\n7,8,1\n"  // quotes, mark,
                                                                                                        // blanks
       }) {
    const std::string path = scratch.write("t.csv", text);
    const Dataset dataset = convert("csv", options(path));
    EXPECT_EQ(table(dataset), expected) << text;
    EXPECT_EQ(get(dataset, "train", "y").type, NOPROP_TYPE_INT32);
    EXPECT_EQ(get(dataset, "train", "x").type, NOPROP_TYPE_FLOAT32);
  }
}

TEST(Convert, CsvTargetsAreChosenByNameOrNumber) {
  const Scratch scratch;
  const std::string path = scratch.write("t.csv", "a,b,c\n1,2,0\n3,4,1\n5,6,2\n7,8,1\n");
  noprop_convert_options o = options(path);
  for (const char *target : {"b", "1"}) {
    o.target = target;
    const auto rows = table(convert("csv", o));
    EXPECT_EQ(rows, (std::map<std::vector<float>, double>{{{1, 0}, 2}, {{3, 1}, 4}, {{5, 2}, 6}, {{7, 1}, 8}}));
  }
  o.target = "d";
  EXPECT_TRUE(contains(refusal("csv", o, NOPROP_INVALID_ARGUMENT), "no column 'd'"));
  o.target = "3";
  refusal("csv", o, NOPROP_INVALID_ARGUMENT);
}

TEST(Convert, CsvTargetsThatAreNoCountsStayNumbers) {
  const Scratch scratch;
  for (const char *values : {"0.5", "-1", "3000000000"}) {
    const std::string path = scratch.write("t.csv", std::string("a,y\n1,0\n2,1\n3,") + values + "\n4,1\n");
    const Dataset dataset = convert("csv", options(path));
    EXPECT_EQ(get(dataset, "train", "y").type, NOPROP_TYPE_FLOAT32);
    EXPECT_EQ(table(dataset)[{3}], static_cast<float>(std::atof(values)));
  }
}

TEST(Convert, CsvRowsAreShuffledBySeedAndNoneIsLost) {
  const Scratch scratch;
  std::string text = "a,y\n";
  for (int i = 0; i < 1000; i++) text += std::to_string(i) + "," + std::to_string(i % 3) + "\n";
  const std::string path = scratch.write("t.csv", text);
  noprop_convert_options o = options(path);
  const auto order = [&](uint64_t seed) {
    o.seed = seed;
    const Dataset dataset = convert("csv", o);
    EXPECT_EQ(get(dataset, "train", "x").rows, 800);
    EXPECT_EQ(get(dataset, "validation", "x").rows, 100);
    EXPECT_EQ(get(dataset, "test", "x").rows, 100);
    EXPECT_EQ(table(dataset).size(), 1000u);
    for (const auto &[x, y] : table(dataset)) EXPECT_EQ(static_cast<int>(x[0]) % 3, y);
    const noprop_array x = get(dataset, "train", "x");
    const float *values = static_cast<const float *>(x.values);
    return std::vector<float>(values, values + x.rows);
  };
  const std::vector<float> a = order(1), b = order(2);
  EXPECT_EQ(a, order(1));
  EXPECT_NE(a, b);
  EXPECT_FALSE(std::is_sorted(a.begin(), a.end()));
  const Dataset dataset = convert("csv", o);
  EXPECT_TRUE(
      contains(noprop_dataset_description(dataset.get()), "shuffled with seed 1, then 800 training, 100 validation"));
}

TEST(Convert, DamagedCsvFilesNameFileLineAndColumn) {
  const Scratch scratch;
  const struct {
    const char *text, *part;
  } cases[] = {
      {"a,b\n1,2\n3,x\n", ":3: column 'b': 'x' is not a number"},
      {"1,2\n3,x\n", ":2: column 1: 'x' is not a number"},
      {"a,b\n1,2\n\n3,\n", ":4: column 'b': '' is not a number"},
      {"a,b\n1,2\n3,nan\n", ":3: column 'b': 'nan' is not a number"},
      {"a,b\n1,2\n3,1e999\n", ":3: column 'b': '1e999' is not a number"},
      {"a,b\n1,2\n3,4,5\n", ":3: 3 fields, but the first row has 2"},
      {"a,b\n1,2\n3\n", ":3: 1 fields"},
      {"a,b\n1,\"2\n3,4\n", ":2: a quoted field has no end on its line"},
      {"a,b\n1,\"2\"3\n", ":2: text stands behind a quoted field"},
      {"a,b\n", "a header but no rows"},
      {"", "no rows"},
      {"1\n2\n", "one column"},
      {"a,b\n1,2\n", "too few"},
  };
  for (const auto &c : cases) {
    const std::string path = scratch.write("t.csv", c.text), sentence = refusal("csv", options(path));
    EXPECT_TRUE(contains(sentence, path) && contains(sentence, c.part)) << sentence;
  }
  const std::string zero = scratch.write("z.csv", std::string("a,b\n1,\0002\n", 9)), none = scratch.path("none.csv");
  EXPECT_TRUE(contains(refusal("csv", options(zero)), "zero byte"));
  EXPECT_TRUE(contains(refusal("csv", options(none)), "No such file"));
  const std::string good = scratch.write("g.csv", "1,2\n3,4\n5,6\n");
  noprop_convert_options o = options(good);
  o.validation = 0.5;
  o.test = 0.5;
  EXPECT_TRUE(contains(refusal("csv", o, NOPROP_INVALID_ARGUMENT), "fractions that sum to less than 1"));
}

TEST(Convert, TheSameInputGivesTheSameBytes) {
  const Scratch scratch;
  const std::string path = scratch.write("t.csv", "a,b,y\n1,2,0\n3,4,1\n5,6,2\n7,8,1\n");
  for (const char *name : {"a.h5", "b.h5"})
    ASSERT_EQ(noprop_dataset_save(convert("csv", options(path)).get(), scratch.path(name).c_str(), nullptr, nullptr),
              NOPROP_OK);
  EXPECT_EQ(read_file(scratch.path("a.h5")), read_file(scratch.path("b.h5")));
}

}  // namespace
