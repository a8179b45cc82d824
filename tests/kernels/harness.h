/* What the kernel tests share: one case describes a model to the engine and to the reference; tolerances in one table.
 *
 * Every expected number comes from the reference run on Tracked, which carries the standard deviation of the rounding
 * errors that float32 arithmetic makes on the way (tracked.h). A tolerance is a number of these deviations. */
#ifndef TESTS_KERNELS_HARNESS_H
#define TESTS_KERNELS_HARNESS_H

#include <noprop/noprop.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/reference/training.h"

namespace kernels_test {

using reference::Keys;
using reference::Rows;
using reference::Settings;
using reference::Tracked;
using reference::Vector;

/* ---- tolerances ---- */

enum Quantity { kState, kPrediction, kTerm, kRowLoss, kGradient, kParameters, kSolve };

/* Expects every |got - want| within the quantity's number of deviations; prints the largest share used. Fails if zeros
 * would pass (or, with `zero`, if what stands there would: a training run that changes nothing must not pass). */
void expect_within(Quantity quantity, const std::vector<float> &got, const Vector<Tracked> &want,
                   const std::string &what, const std::vector<float> *zero = nullptr);
void expect_within(Quantity quantity, double got, Tracked want, const std::string &what);

/* ---- models ---- */

/* The virtual GPU, opened once; NOPROP_TEST_DEVICE names another device. */
noprop_device *device();

/* Fails the current test with the library's sentence unless `status` is NOPROP_OK. */
bool ok(noprop_status status, const char *what);

struct ModelDeleter {
  void operator()(noprop_model *model) const { noprop_model_destroy(model); }
};
using Model = std::unique_ptr<noprop_model, ModelDeleter>;

/* nullptr (and a failed test) if it cannot be created. */
Model create_model(const Keys &keys, const noprop_model_shape &shape);

/* Rows of one case as the engine takes them and as the reference does (standardised, Tracked). */
struct Data {
  noprop_model_shape shape;
  long rows;
  std::vector<float> x_float, y_float;
  std::vector<uint8_t> x_bytes;
  std::vector<int32_t> x_labels, y_labels;
  std::vector<float> x_mean, x_std, y_mean, y_std;
  noprop_array condition, target; /* values point into the vectors above */
  Rows<Tracked> reference;
  bool has_condition() const { return shape.condition_width > 0; }
};

enum ConditionKind { kNoCondition, kFloatCondition, kByteCondition, kLabelCondition };

/* Random rows; target: labels of `target` classes or `target` numbers. */
std::unique_ptr<Data> make_data(const Settings &settings, ConditionKind kind, int condition, int target, long rows,
                                unsigned seed);
/* Gives the model the data's statistics. */
bool set_statistics(noprop_model *model, const Data &data);

/* Normal parameters, weights of variance gain^2/fan_in; float32 values in the engine's and the reference's order. */
std::vector<float> random_parameters(const reference::Network &network, unsigned seed, double gain = 1.2);
/* Checks that the model has the network's arrays by name, shape and order, and hands it the values. */
bool set_parameters(noprop_model *model, const reference::Network &network, const std::vector<float> &values);

Vector<Tracked> tracked(const std::vector<float> &values);
Vector<Tracked> flat(const std::vector<Vector<Tracked>> &rows);
std::vector<float> parameters_of(noprop_model *model, bool ema = false);

}  // namespace kernels_test

#endif
