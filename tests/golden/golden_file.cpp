/* HDF5 reading. */
#include "tests/golden/golden_file.h"

#include <cstdlib>
#include <stdexcept>

namespace golden {

static std::string folder() {
  const char *named = std::getenv("NOPROP_GOLDEN");
  return named && *named ? named : NOPROP_SOURCE_DIR "/tests/golden";
}

[[noreturn]] static void fail(const std::string &what) { throw std::runtime_error("golden file: " + what); }

File::File(const std::string &file_name) : name(file_name) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  file_ = H5Fopen((folder() + "/" + name).c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file_ < 0) fail("cannot open " + folder() + "/" + name);
}

File::~File() { H5Fclose(file_); }

bool File::has(const std::string &path) const {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (part != "/" && H5Lexists(file_, part.c_str(), H5P_DEFAULT) <= 0) return false;
    if (end == std::string::npos) return true;
  }
}

Tensor File::read(const std::string &path) const {
  const hid_t set = H5Dopen2(file_, path.c_str(), H5P_DEFAULT);
  if (set < 0) fail("no data set " + path + " in " + name);
  const hid_t space = H5Dget_space(set);
  hsize_t extent[8];
  const int rank = H5Sget_simple_extent_dims(space, extent, nullptr);
  Tensor tensor;
  size_t count = 1;
  for (int i = 0; i < rank; ++i) {
    tensor.shape.push_back(static_cast<long>(extent[i]));
    count *= static_cast<size_t>(extent[i]);
  }
  tensor.values.resize(count);
  const herr_t status = H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor.values.data());
  H5Sclose(space);
  H5Dclose(set);
  if (status < 0) fail("cannot read " + path + " of " + name);
  return tensor;
}

static std::vector<std::string> members(hid_t file, const std::string &path, H5O_type_t type) {
  std::vector<std::string> result;
  const hid_t group = H5Gopen2(file, path.c_str(), H5P_DEFAULT);
  if (group < 0) fail("no group " + path);
  H5G_info_t info;
  H5Gget_info(group, &info);
  for (hsize_t i = 0; i < info.nlinks; ++i) {
    char name[256];
    H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name, H5P_DEFAULT);
    const hid_t object = H5Oopen(group, name, H5P_DEFAULT);
    const bool is_group = H5Iget_type(object) == H5I_GROUP;
    H5Oclose(object);
    if (is_group == (type == H5O_TYPE_GROUP)) result.push_back(name);
  }
  H5Gclose(group);
  return result;
}

std::vector<std::string> File::groups(const std::string &path) const { return members(file_, path, H5O_TYPE_GROUP); }
std::vector<std::string> File::data_sets(const std::string &path) const {
  return members(file_, path, H5O_TYPE_DATASET);
}

bool File::has_attribute(const std::string &path, const std::string &attribute) const {
  return H5Aexists_by_name(file_, path.c_str(), attribute.c_str(), H5P_DEFAULT) > 0;
}

static hid_t open_attribute(hid_t file, const std::string &path, const std::string &attribute) {
  const hid_t id = H5Aopen_by_name(file, path.c_str(), attribute.c_str(), H5P_DEFAULT, H5P_DEFAULT);
  if (id < 0) fail("no attribute " + attribute + " of " + path);
  return id;
}

double File::number(const std::string &path, const std::string &attribute) const {
  const hid_t id = open_attribute(file_, path, attribute), type = H5Aget_type(id);
  double value = 0;
  herr_t status = 0;
  if (H5Tget_class(type) == H5T_ENUM) { /* booleans: an enumeration of one byte, false and true */
    signed char truth = 0;
    status = H5Aread(id, type, &truth);
    value = truth;
  } else {
    status = H5Aread(id, H5T_NATIVE_DOUBLE, &value);
  }
  H5Tclose(type);
  H5Aclose(id);
  if (status < 0) fail("attribute " + attribute + " of " + path + " is not a number");
  return value;
}

std::string File::text(const std::string &path, const std::string &attribute) const {
  const hid_t id = open_attribute(file_, path, attribute), type = H5Aget_type(id);
  std::string result;
  if (H5Tis_variable_str(type) > 0) {
    char *value = nullptr;
    if (H5Aread(id, type, &value) < 0) fail("attribute " + attribute + " of " + path + " is not text");
    result = value;
    H5free_memory(value);
  } else {
    result.resize(H5Tget_size(type));
    if (H5Aread(id, type, result.data()) < 0) fail("attribute " + attribute + " of " + path + " is not text");
    result.resize(result.find_last_not_of('\0') + 1);
  }
  H5Tclose(type);
  H5Aclose(id);
  return result;
}

}  // namespace golden
