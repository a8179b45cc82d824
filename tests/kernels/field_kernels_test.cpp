/* Networks that are graphs, and fields that are derivatives of networks, against the reference, which differentiates
 * its reverse pass with dual numbers: loss, gradients of parameters and states, training steps, solves and densities.
 */
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tests/kernels/sweep.h"
#include "tests/reference/layer_lists.h"
#include "tests/reference/sampler.h"

namespace {

using namespace kernels_test;
using reference::Batch;
using reference::Loss;
using reference::Network;

struct FieldCase {
  const char *name;
  Keys keys;
  ConditionKind condition;
  int width, d;
  long rows;
  double guidance; /* 1: none */
};

/* Every wrapper, every network that is no chain, gates, normalisation; solves of those whose kernels differ: guided,
 * with traces, with parts that are computed once. */
const std::vector<FieldCase> kCases = {
    {"list_with_every_layer",
     {{"network.type", "custom"},
      {"network.layers",
       "[{name: a, type: dense, from: [z, t], width: 9, activation: tanh}, {name: half, type: dropout, rate: 0.5},"
       " {type: dense, from: [half, x], width: 12, bias: false}, {type: activation, activation: swiglu},"
       " {type: layer_norm}, {type: concatenate, from: [layer_norm.4, z, t]}, {name: b, type: dense, width: 9},"
       " {type: multiply, from: a}, {type: dropout, rate: 0.1}, {type: add, from: [dropout.8, b]}]"},
      {"variant", "ct"},
      {"task", "regress"},
      {"loss.condition_dropout", "0.3"}},
     kByteCondition,
     70,
     3,
     37,
     2},
    {"list_with_batch_norm",
     {{"network.type", "custom"},
      {"network.layers",
       "[{name: a, type: dense, from: [z, t], width: 9, activation: tanh}, {name: n, type: batch_norm},"
       " {name: features, type: dense, from: x, width: 9, bias: false}, {name: m, type: batch_norm, momentum: 0.3},"
       " {type: dense, from: [n, m], width: 12, activation: tanh}, {type: batch_norm}, {type: activation, activation: "
       "swish},"
       " {type: dropout, rate: 0.25}, {type: dense}]"},
      {"variant", "ct"},
      {"task", "regress"},
      {"loss.draws", "2"},
      {"loss.reg", "0.05"}},
     kFloatCondition,
     4,
     3,
     100,
     1},
    {"list_with_a_function_of_ones_own",
     {{"network.type", "custom"},
      {"network.layers",
       "[{type: source, from: [z, x], width: 9, function: radial, parameters: 63, file: " NOPROP_SOURCE_DIR
       "/data/radial_layer.cuh}, {type: dense, from: [source.0, t], width: 5, activation: tanh},"
       " {type: source, width: 3, function: radial, parameters: 18, file: " NOPROP_SOURCE_DIR
       "/data/radial_layer.cuh}, {type: dense, from: [source.2, z]}]"},
      {"variant", "ct"},
      {"task", "classify"},
      {"loss.draws", "2"}},
     kFloatCondition,
     3,
     3,
     34,
     1},
    {"potential_of_list_that_reads_inputs_often",
     {{"network.wrapper", "potential"},
      {"network.type", "custom"},
      {"network.layers",
       "[{name: s, type: add, from: [z, x]}, {name: u, type: dense, from: [x, s, t], width: 10, activation: softplus},"
       " {type: dense, from: [u, t], width: 3}, {type: activation, activation: swish}, {type: multiply, from: x}]"},
      {"variant", "fm"},
      {"task", "regress"}},
     kFloatCondition,
     3,
     3,
     12,
     1},
    {"bilinear",
     {{"network.type", "bilinear"},
      {"network.hidden", "[9, 12]"},
      {"variant", "ct"},
      {"task", "regress"},
      {"network.dropout", "0.2"},
      {"loss.recon.weight", "0.3"},
      {"loss.condition_dropout", "0.3"}},
     kFloatCondition,
     5,
     3,
     37,
     2},
    {"potential_of_mlp_with_stored_statistics",
     {{"network.wrapper", "potential"},
      {"network.batch_norm", "stored"},
      {"network.hidden", "[12, 12, 7]"},
      {"variant", "fm"},
      {"task", "generate"},
      {"network.dropout", "0.2"},
      {"loss.draws", "2"}},
     kNoCondition,
     0,
     3,
     12,
     1},
    {"geometric_of_mlp",
     {{"network.wrapper", "geometric"},
      {"network.hidden", "[12, 10]"},
      {"network.activation", "softplus"},
      {"network.dropout", "0.2"},
      {"variant", "fm"},
      {"task", "regress"}},
     kFloatCondition,
     3,
     3,
     34,
     1},
    {"convex",
     {{"network.type", "convex"}, {"network.hidden", "[7, 10]"}, {"variant", "ct"}, {"task", "regress"}},
     kLabelCondition,
     4,
     3,
     9,
     1},
    {"latent_of_100_numbers",
     {{"network.hidden", "[20, 9]"}, {"variant", "ct"}, {"task", "regress"}},
     kFloatCondition,
     3,
     100,
     9,
     1},
    {"potential_of_resnet",
     {{"network.wrapper", "potential"},
      {"network.type", "resnet"},
      {"network.hidden", "[10, 6]"},
      {"network.activation", "gelu"},
      {"variant", "df"},
      {"task", "regress"},
      {"loss.reg", "0.05"}},
     kByteCondition,
     70,
     2,
     9,
     1},
    {"hamiltonian_of_mlp",
     {{"network.wrapper", "hamiltonian"},
      {"network.hidden", "[16, 11]"},
      {"network.activation", "tanh"},
      {"network.squash_activation", "false"},
      {"variant", "ct"},
      {"task", "regress"}},
     kFloatCondition,
     2,
     4,
     10,
     1},
    {"natural_of_resnet",
     {{"network.wrapper", "natural"},
      {"network.type", "resnet"},
      {"network.hidden", "[9, 9, 9]"},
      {"variant", "fm"},
      {"task", "regress"}},
     kFloatCondition,
     3,
     3,
     9,
     1},
    {"potential_of_icnn",
     {{"network.wrapper", "potential"},
      {"network.type", "icnn"},
      {"network.hidden", "[9, 8]"},
      {"network.activation", "softplus"},
      {"variant", "fm"},
      {"task", "regress"}},
     kFloatCondition,
     2,
     3,
     9,
     1},
    {"normalised_resnet_with_gates",
     {{"network.layer_norm", "true"},
      {"network.type", "resnet"},
      {"network.hidden", "[8, 6]"},
      {"network.activation", "swiglu"},
      {"network.dropout", "0.2"},
      {"variant", "ct"},
      {"task", "classify"}},
     kFloatCondition,
     5,
     3,
     34,
     1},
    {"potential_of_softmax_layers",
     {{"network.wrapper", "potential"},
      {"network.hidden", "[6, 9]"},
      {"network.activation", "softmax"},
      {"variant", "fm"},
      {"task", "regress"}},
     kFloatCondition,
     2,
     2,
     9,
     1},
    {"softplusglu_behind_a_condition",
     {{"network.type", "mlp"},
      {"network.hidden", "[8]"},
      {"network.activation", "softplusglu"},
      {"variant", "ct"},
      {"task", "regress"}},
     kFloatCondition,
     3,
     3,
     12,
     1},
};

struct Prepared {
  Settings settings;
  std::unique_ptr<Data> data;
  Network network;
  std::vector<float> parameters;
  Model model;
};

Prepared prepare(const FieldCase &c) {
  interpret_kernels();
  Prepared p;
  Keys keys = c.keys;
  keys.insert(keys.end(), {{"network.time_embedding.size", "6"},
                           {"schedule.alpha_bar", "[0.02, 0.97]"},
                           {"loss.t_eps", "0.02"},
                           {"optimizer.type", "sgd"},
                           {"optimizer.learning_rate", "0.05"},
                           {"seed", "97531"}});
  p.settings = reference::settings_from(keys);
  p.data = make_data(p.settings, c.condition, c.width, c.d, c.rows, 31);
  p.network = reference::make_network(p.settings, p.data->shape.condition_width, c.d);
  /* A natural field grows with the square of its output: larger ones run away. */
  p.parameters = random_parameters(p.network, 32, p.network.wrapper == "natural" ? 0.6 : 1.2);
  if (p.settings.task == "generate")
    keys.insert(keys.end(), {{"data.target", "x"}, {"data.condition", c.condition == kNoCondition ? "null" : "y"}});
  p.model = create_model(keys, p.data->shape);
  if (p.model && (!set_parameters(p.model.get(), p.network, p.parameters) || !set_statistics(p.model.get(), *p.data)))
    p.model.reset();
  return p;
}

class Fields : public testing::TestWithParam<size_t> {};
INSTANTIATE_TEST_SUITE_P(Cases, Fields, testing::Range(size_t{0}, kCases.size()),
                         [](const auto &number) { return std::string(kCases[number.param].name); });

TEST_P(Fields, LossGradientsAndTrainingStepsMeetTheReference) {
  const FieldCase &c = kCases[GetParam()];
  const Prepared p = prepare(c);
  ASSERT_TRUE(p.model);
  const size_t values = static_cast<size_t>(c.rows * c.d);
  Batch<Tracked> batch;
  batch.z1 = p.data->reference.z1;
  batch.label = p.data->reference.label;
  batch.x = p.data->reference.x;
  draw_batch(p.settings, p.network, 4, true, batch);
  std::vector<float> gradient(static_cast<size_t>(p.network.parameters)), prediction(values);
  noprop_loss_request request = {};
  request.rows = p.data->rows;
  request.condition = p.data->condition.values;
  request.target = p.data->target.values;
  request.step = 4;
  request.dropout = true;
  request.gradient = gradient.data();
  request.prediction = prediction.data();
  noprop_loss_terms terms;
  ASSERT_TRUE(ok(noprop_model_loss(p.model.get(), &request, &terms), "noprop_model_loss"));
  const Loss<Tracked> want = batch_loss(p.settings, p.network, tracked(p.parameters), batch);
  if (p.settings.loss.draws == 1) expect_within(kPrediction, prediction, flat(want.prediction), "field");
  expect_within(kTerm, terms.loss, want.total, "loss");
  double largest = 0;
  for (const Tracked &g : want.gradient) largest = std::max(largest, std::fabs(g.value));
  EXPECT_GT(largest, 0);
  for (const reference::Array &array : p.network.arrays) {
    const auto first = static_cast<long>(array.offset), last = first + array.size();
    const std::vector<float> got(gradient.begin() + first, gradient.begin() + last);
    const Vector<Tracked> part(want.gradient.begin() + first, want.gradient.begin() + last);
    /* What a derivative does not depend on (the bias of a potential) has no gradient at all. */
    if (std::all_of(part.begin(), part.end(), [](const Tracked &g) { return g.value == 0; })) {
      EXPECT_EQ(got, std::vector<float>(got.size(), 0.0F)) << array.name;
      continue;
    }
    expect_within(kGradient, got, part, array.name);
  }
  ASSERT_TRUE(ok(noprop_model_bind(p.model.get(), p.data->has_condition() ? &p.data->condition : nullptr,
                                   &p.data->target, static_cast<int>(c.rows / 2)),
                 "noprop_model_bind"));
  ASSERT_TRUE(ok(noprop_model_train_step(p.model.get(), 3), "noprop_model_train_step"));
  const auto trained =
      reference::train(p.settings, p.network, tracked(p.parameters), p.data->reference, c.rows / 2, 3, 100);
  expect_within(kParameters, parameters_of(p.model.get()), trained.parameters, "trained", &p.parameters);
}

/* Beside the reference's promise that both are one: kernels of a list and of the network that it says agree to
 * rounding, in sums of another order. */
TEST(Fields, ListOfLayersIsTheNetworkThatItSays) {
  interpret_kernels();
  const auto evaluate = [](const Keys &network, std::vector<float> &prediction, std::vector<float> &gradient) {
    Keys keys = {{"variant", "ct"}, {"task", "regress"}, {"network.time_embedding.size", "6"}, {"seed", "97531"}};
    const Settings settings = reference::settings_from(keys);
    keys.insert(keys.end(), network.begin(), network.end());
    const auto data = make_data(settings, kFloatCondition, 5, 3, 34, 31);
    const Model model = create_model(keys, data->shape); /* fresh: parameters are drawn by their number */
    ASSERT_TRUE(model);
    ASSERT_TRUE(set_statistics(model.get(), *data));
    prediction.resize(static_cast<size_t>(data->rows) * 3);
    gradient.resize(static_cast<size_t>(noprop_model_parameter_values(model.get())));
    noprop_loss_request request = {};
    request.rows = data->rows;
    request.condition = data->condition.values, request.target = data->target.values;
    request.gradient = gradient.data(), request.prediction = prediction.data();
    noprop_loss_terms terms;
    ASSERT_TRUE(ok(noprop_model_loss(model.get(), &request, &terms), "noprop_model_loss"));
  };
  std::vector<float> prediction, gradient, of_list, gradient_of_list;
  evaluate({{"network.type", "mlp"}, {"network.hidden", "[9, 7]"}}, prediction, gradient);
  evaluate({{"network.type", "custom"}, {"network.layers", reference::kMlpLayers}}, of_list, gradient_of_list);
  ASSERT_EQ(gradient.size(), gradient_of_list.size());
  float largest = 0;
  for (size_t i = 0; i < prediction.size(); ++i) {
    EXPECT_NEAR(prediction[i], of_list[i], 2e-6F * (1 + std::fabs(prediction[i])));
    largest = std::max(largest, std::fabs(prediction[i]));
  }
  EXPECT_GT(largest, 0.1F);
  largest = 0;
  for (const float g : gradient) largest = std::max(largest, std::fabs(g));
  for (size_t i = 0; i < gradient.size(); ++i) EXPECT_NEAR(gradient[i], gradient_of_list[i], 2e-6F * largest);
}

/* A function's own derivatives: right ones pass, and a wrong sign is found by name. */
TEST(Fields, WrongDerivativesOfOnesOwnFunctionsAreFound) {
  interpret_kernels();
  const auto check = [](const std::string &right, const std::string &wrong) {
    std::ifstream file(NOPROP_SOURCE_DIR "/data/radial_layer.cuh");
    std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (!right.empty()) text.replace(text.find(right), right.size(), wrong);
    for (size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 2) text.replace(at, 1, "\\n");
    const Keys keys = {{"variant", "ct"},
                       {"task", "regress"},
                       {"network.type", "custom"},
                       {"network.layers",
                        "[{name: rbf, type: source, from: [z, x], width: 4, function: radial, parameters: 24,"
                        " file: radial.cuh, text: \"" +
                            text + "\"}, {type: dense}]"}};
    noprop_model_shape shape = {};
    shape.condition_width = 3, shape.target_width = 2;
    const Model model = create_model(keys, shape);
    int layers = 0;
    double worst = 0;
    const noprop_status status = model ? noprop_model_check_layers(model.get(), &layers, &worst) : NOPROP_STOPPED;
    if (status != NOPROP_OK) return std::string(noprop_last_error());
    EXPECT_EQ(layers, 1);
    EXPECT_LT(worst, 1e-3);
    return std::string();
  };
  EXPECT_EQ(check("", ""), "");
  EXPECT_NE(check("* -2.0f * s * s * (in[i] - c)", "* 2.0f * s * s * (in[i] - c)")
                .find("the layer 'rbf' has a wrong derivative: radial_vjp("),
            std::string::npos)
      << noprop_last_error();
  EXPECT_NE(check("return slope * 2.0f", "return slope * 2.2f").find("wrong derivative: radial_parameter_vjp("),
            std::string::npos)
      << noprop_last_error();
  EXPECT_NE(check("slope = adjoint[j]", "slope = ajoint[j]").find("radial.cuh(34): error"), std::string::npos)
      << noprop_last_error();
}

constexpr size_t kSolved = 9; /* the first of the cases */
class FieldSolves : public Fields {};
INSTANTIATE_TEST_SUITE_P(Cases, FieldSolves, testing::Range(size_t{0}, kSolved),
                         [](const auto &number) { return std::string(kCases[number.param].name); });

/* The end of a solve from given states, and the integral of minus the divergence along it. */
TEST_P(FieldSolves, EndsAndDensitiesMeetTheReference) {
  const FieldCase &c = kCases[GetParam()];
  const Prepared p = prepare(c);
  ASSERT_TRUE(p.model);
  const size_t rows = static_cast<size_t>(c.rows), d = static_cast<size_t>(c.d);
  std::vector<float> start, end(rows * d);
  std::mt19937 generator(13);
  std::normal_distribution<float> normal;
  for (size_t i = 0; i < rows * d; ++i) start.push_back(normal(generator));
  const bool density = p.settings.task != "classify";
  noprop_sampler_options options = noprop_sampler_options_default(p.model.get());
  snprintf(options.method, sizeof options.method, "heun");
  snprintf(options.grid, sizeof options.grid, "t");
  snprintf(options.init, sizeof options.init, "given");
  options.start = start.data();
  options.steps = 4;
  options.final_denoise = 0;
  options.guidance = c.guidance;
  std::vector<double> log_density(rows);
  std::vector<noprop_solve_row> reports(rows);
  const bool traced = density && c.guidance == 1 && c.d < 10; /* a trace of 100 directions takes the reference long */
  const noprop_solve_results results = {end.data(), nullptr, traced ? log_density.data() : nullptr, reports.data()};
  const noprop_array *condition = p.data->has_condition() ? &p.data->condition : nullptr;
  ASSERT_TRUE(ok(noprop_solve(p.model.get(), &options, condition, c.rows, &results), "noprop_solve"));
  reference::Solve solve;
  solve.method = "heun", solve.steps = 4, solve.guidance = c.guidance;
  Vector<Tracked> want, densities;
  std::vector<float> got;
  double constant = reference::log_normal(Vector<double>(d, 0.0));
  for (const float deviation : p.data->y_std) constant -= std::log(static_cast<double>(deviation));
  for (size_t row = 0; row < rows; ++row) {
    const Vector<Tracked> from =
        tracked({start.begin() + static_cast<long>(row * d), start.begin() + static_cast<long>((row + 1) * d)});
    const Vector<Tracked> x = p.data->has_condition() ? p.data->reference.x[row] : Vector<Tracked>{};
    if (!traced) {
      const auto states = reference::integrate(p.settings, p.network, tracked(p.parameters), solve, from, x);
      want.insert(want.end(), states.back().begin(), states.back().end());
      continue;
    }
    const auto flow =
        reference::integrate_flow(p.settings, p.network, tracked(p.parameters), solve, from, x, false, {});
    want.insert(want.end(), flow.end.begin(), flow.end.end());
    Tracked sum = constant + flow.integral;
    for (const Tracked &z : from) sum -= 0.5 * (z * z);
    densities.push_back(reference::rounded(sum.value, sum.variance));
    got.push_back(static_cast<float>(log_density[row]));
  }
  expect_within(kSolve, end, want, "end");
  if (traced) expect_within(kSolve, got, densities, "log density");
}

}  // namespace
