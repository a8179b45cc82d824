/* Which groups of the golden files are compared, and how a group becomes settings and parameters of the reference. */
#ifndef TESTS_GOLDEN_CASES_H
#define TESTS_GOLDEN_CASES_H

#include <string>
#include <vector>

#include "tests/golden/golden_file.h"
#include "tests/reference/network.h"

namespace golden {

/* A group that holds numbers of its own. A reason says why it is not compared; "" means that it is. */
struct Case {
  std::string path;
  std::string reference; /* with the reference in double precision */
  std::string kernels;   /* with the kernels through the public interface */
  std::string rule;      /* the pattern of paths that decided */
};

/* All cases of a file. A case that no rule knows has the reason kUnknown in both places. */
extern const char kUnknown[];
std::vector<Case> cases(const File &file);

/* Paths of the cases below `prefix` ("/crn/mlp/") that are compared. */
std::vector<std::string> compared_with_reference(const File &file, const std::string &prefix);
std::vector<std::string> compared_with_kernels(const File &file, const std::string &prefix);

/* Last part of a path. */
std::string last_part(const std::string &path);

/* The earlier library's mlp: no bias and no activation after the squash; widths from the stored shapes of the arrays
 * `prefix` + name ("/crn/mlp/base/params/"). */
reference::Settings mlp_settings(const File &file, const std::string &prefix, bool has_x, bool has_t);

/* Of all networks: `type` "mlp", "bilinear" or "convex", `wrapper` as the earlier library calls it ("vanilla": none).
 */
reference::Settings network_settings(const File &file, const std::string &prefix, const std::string &wrapper,
                                     const std::string &type, bool has_x, bool has_t);

/* The network's arrays in the reference's order from data sets `prefix` + name; `slice` picks one slice of stacked
 * arrays if not negative. */
reference::Vector<double> mlp_parameters(const File &file, const std::string &prefix, const reference::Network &network,
                                         long slice = -1);
/* Where a stored name is: below `folder` ("/crn/mlp/base/grad_params/crn_model."), or if it is a statistic of batch
 * norm below the folder of those ("/crn/mlp/base/grad_batch_stats/crn_model."). */
std::string stored_place(const std::string &folder, const std::string &name);
/* The stored name of the array `name` of the reference. */
std::string stored_name(const reference::Network &network, const std::string &name);

/* One raw number to be taken larger than it is stored, for differences. */
struct Move {
  std::string array; /* "k_logit" */
  size_t element = 0;
  double by = 0;
};
/* Schedule of a model whose raw numbers are stored at `prefix` + name ("alpha_bar_min_logit" ...). */
void read_schedule(const File &file, const std::string &prefix, const std::string &type, long slice,
                   reference::Settings *settings, const Move &move = {});

/* An encoder or decoder whose arrays are stored at `prefix` + name; `type` and `output` as the earlier library calls
 * them. */
void read_coder(const File &file, const std::string &prefix, const std::string &type, const std::string &output,
                reference::Settings::Coder *coder);
/* The stored name, without the class's, of the array `name` of the reference. */
std::string stored_coder_name(const reference::Settings::Coder &coder, const std::string &name);

/* A case of /losses: settings as its attributes say. */
reference::Settings loss_settings(const File &file, const std::string &path);
/* Where its network's parameters are: "/losses/ct/base/params/crn_model." or another group's. */
std::string network_prefix(const File &file, const std::string &path);
/* Where its array `name` of the reference is, below "params" or "grad_params"; all arrays in the reference's order. */
std::string loss_array(const File &file, const std::string &path, const reference::Settings &settings,
                       const reference::Network &network, const std::string &name);
reference::Vector<double> loss_parameters(const File &file, const std::string &path,
                                          const reference::Settings &settings, const reference::Network &network,
                                          const std::string &folder);
/* "ct" of "/losses/ct/base". */
std::string variant_of(const std::string &path);

/* The preset jax-head as the survey describes it (2.1 to 2.4, 10.1), for one variant. */
reference::Settings head_settings(const std::string &variant);

}  // namespace golden

#endif
