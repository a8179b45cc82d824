/* Minibatch optimal transport: the assignment of noise to data with the least total cost. */
#ifndef TESTS_REFERENCE_COUPLING_H
#define TESTS_REFERENCE_COUPLING_H

#include <vector>

namespace reference {

/* column[i] of every row of a square cost matrix so that the sum of cost[i][column[i]] is least: the Hungarian method
 * with potentials, row by row, in double precision. */
std::vector<long> optimal_assignment(const std::vector<std::vector<double>> &cost);

/* Partner of every row of a batch: the assignment of squared distances |z1_i - e_j|^2 within each `group` consecutive
 * rows. */
std::vector<long> optimal_partners(const std::vector<std::vector<double>> &z1,
                                   const std::vector<std::vector<double>> &noise, long group = 256);

}  // namespace reference

#endif
