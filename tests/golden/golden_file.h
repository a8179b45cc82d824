/* Reading golden files: HDF5 files of numbers that earlier systems computed, and where they are.
 *
 * The folder is tests/golden, or the one that the environment variable NOPROP_GOLDEN names, with files of the same
 * layout. A file that is missing or a data set that cannot be read throws std::runtime_error, which fails the test. */
#ifndef TESTS_GOLDEN_FILE_H
#define TESTS_GOLDEN_FILE_H

#include <hdf5.h>

#include <string>
#include <vector>

namespace golden {

/* Values as double, row-major. A scalar has shape {} and one value. */
struct Tensor {
  std::vector<long> shape;
  std::vector<double> values;
  size_t rows() const { return shape.empty() ? 1 : static_cast<size_t>(shape[0]); }
  size_t width() const { return values.size() / rows(); } /* all axes after the first */
  /* Row `i` of the first axis. */
  std::vector<double> row(size_t i) const {
    return {values.begin() + static_cast<long>(i * width()), values.begin() + static_cast<long>((i + 1) * width())};
  }
  /* Slice `i` of the first axis as a tensor. */
  Tensor slice(size_t i) const { return {{shape.begin() + 1, shape.end()}, row(i)}; }
  std::vector<std::vector<double>> matrix() const {
    std::vector<std::vector<double>> m;
    for (size_t i = 0; i < rows(); ++i) m.push_back(row(i));
    return m;
  }
};

class File {
 public:
  explicit File(const std::string &name); /* "jax_noprop.h5" */
  ~File();
  File(const File &) = delete;
  File &operator=(const File &) = delete;

  bool has(const std::string &path) const;
  Tensor read(const std::string &path) const;
  /* Names of the groups and of the data sets directly in a group. */
  std::vector<std::string> groups(const std::string &path) const;
  std::vector<std::string> data_sets(const std::string &path) const;
  /* Attributes of a group. */
  bool has_attribute(const std::string &path, const std::string &name) const;
  double number(const std::string &path, const std::string &name) const;
  std::string text(const std::string &path, const std::string &name) const;

  const std::string name;

 private:
  hid_t file_;
};

}  // namespace golden

#endif
