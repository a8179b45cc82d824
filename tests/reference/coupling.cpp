#include "tests/reference/coupling.h"

#include <algorithm>
#include <limits>

namespace reference {

std::vector<long> optimal_assignment(const std::vector<std::vector<double>> &cost) {
  const size_t n = cost.size();
  const double infinity = std::numeric_limits<double>::infinity();
  /* Index 0 stands for "none"; rows and columns count from 1. */
  std::vector<double> u(n + 1, 0), v(n + 1, 0);
  std::vector<size_t> row_of(n + 1, 0), before(n + 1, 0);
  for (size_t row = 1; row <= n; ++row) {
    std::vector<double> least(n + 1, infinity);
    std::vector<bool> used(n + 1, false);
    size_t column = 0;
    row_of[0] = row;
    do {
      used[column] = true;
      const size_t from = row_of[column];
      double delta = infinity;
      size_t next = 0;
      for (size_t j = 1; j <= n; ++j) {
        if (used[j]) continue;
        const double reduced = cost[from - 1][j - 1] - u[from] - v[j];
        if (reduced < least[j]) least[j] = reduced, before[j] = column;
        if (least[j] < delta) delta = least[j], next = j;
      }
      for (size_t j = 0; j <= n; ++j) {
        if (used[j])
          u[row_of[j]] += delta, v[j] -= delta;
        else
          least[j] -= delta;
      }
      column = next;
    } while (row_of[column] != 0);
    while (column != 0) {
      row_of[column] = row_of[before[column]];
      column = before[column];
    }
  }
  std::vector<long> result(n);
  for (size_t j = 1; j <= n; ++j) result[row_of[j] - 1] = static_cast<long>(j) - 1;
  return result;
}

std::vector<long> optimal_partners(const std::vector<std::vector<double>> &z1,
                                   const std::vector<std::vector<double>> &noise, long group) {
  std::vector<long> partners;
  const size_t rows = z1.size(), size = static_cast<size_t>(group);
  for (size_t first = 0; first < rows; first += size) {
    const size_t count = std::min(size, rows - first);
    std::vector<std::vector<double>> cost(count, std::vector<double>(count, 0));
    for (size_t i = 0; i < count; ++i)
      for (size_t j = 0; j < count; ++j)
        for (size_t k = 0; k < z1[first + i].size(); ++k) {
          const double difference = z1[first + i][k] - noise[first + j][k];
          cost[i][j] += difference * difference;
        }
    for (const long column : optimal_assignment(cost)) partners.push_back(static_cast<long>(first) + column);
  }
  return partners;
}

}  // namespace reference
