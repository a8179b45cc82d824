// What device code may use of C++.
#include <cassert>
#include <cstdio>

#include "tests/foreign/programs/array.h"
#include "tests/foreign/programs/language.h"

namespace language {

// Runs the kernel for `count` results, in blocks of 64.
template <typename T, typename... Arguments>
static std::vector<T> results_of(void (*kernel)(T *, int, Arguments...), int count, Arguments... arguments) {
  const Array<T> out(count);
  kernel<<<(count + 63) / 64, 64>>>(out.data(), count, arguments...);
  CHECK_CUDA(cudaGetLastError());
  CHECK_CUDA(cudaDeviceSynchronize());
  return out.values();
}

#define THREAD_OR_RETURN(i, count)                     \
  const int i = blockIdx.x * blockDim.x + threadIdx.x; \
  if (i >= (count)) return

// ---- classes ----

struct Shape {
  __device__ virtual ~Shape() {}
  __device__ virtual int twice_area() const = 0;
};
struct Square : Shape {
  int side;
  __device__ explicit Square(int size) : side(size) {}
  __device__ int twice_area() const override { return 2 * side * side; }
};
struct Triangle : Shape {
  int base, height;
  __device__ Triangle(int width, int size) : base(width), height(size) {}
  __device__ int twice_area() const override { return base * height; }
};
struct Nothing : Shape {
  __device__ int twice_area() const override { return 0; }
};

__global__ static void virtual_areas(int *result, int count) {
  THREAD_OR_RETURN(i, count);
  Shape *shape = nullptr;
  if (i % 3 == 0) shape = new Square(i);
  if (i % 3 == 1) shape = new Triangle(3, i);
  if (i % 3 == 2) shape = new Nothing;
  result[i] = shape->twice_area();
  delete shape;
}

std::vector<int> areas_by_virtual_functions(int count) { return results_of(virtual_areas, count); }

// ---- functions ----

__device__ static int square(int x) { return x * x; }
__device__ static int negative(int x) { return -x; }
__device__ static int half(int x) { return x / 2; }
__device__ static int mixed(int x) { return x * 31 ^ x >> 3; }

using Operation = int (*)(int);
__device__ static const Operation operations[] = {square, negative, half, mixed};

__global__ static void apply_operations(int *result, int count) {
  THREAD_OR_RETURN(i, count);
  result[i] = operations[i % 4](i);
}

std::vector<int> results_by_function_pointers(int count) { return results_of(apply_operations, count); }

__global__ static void days(int *result, int count) {
  THREAD_OR_RETURN(i, count);
  int value = 0;
  switch (i % 12) {
    case 0:
      value = 31 + i;
      break;
    case 1:
      value = 28 * i;
      break;
    case 2:
      value = 31 - i;
      break;
    case 3:
      value = 30 ^ i;
      break;
    case 4:
      value = 31 | i;
      break;
    case 5:
      value = 30 & i;
      break;
    case 6:
      value = i * i;
      break;
    case 7:
      value = i / 31;
      break;
    case 8:
      value = i % 30;
      break;
    case 9:
      value = i << 3;
      break;
    case 10:
      value = i >> 1;
      break;
    default:
      value = -i;
      break;
  }
  result[i] = value;
}

std::vector<int> days_by_switch(int count) { return results_of(days, count); }

// ---- memory of a thread, wide integers ----

__global__ static void count_digits(int *result, int count, const int *x) {
  THREAD_OR_RETURN(i, count);
  int counts[16] = {};
  for (int j = 0; j < 64; ++j) ++counts[x[(i + j) % count] & 15];
  result[i] = counts[x[i] & 15];
}

std::vector<int> counts_in_local_arrays(const std::vector<int> &x) {
  const Array<int> in(x);
  return results_of(count_digits, static_cast<int>(x.size()), static_cast<const int *>(in.data()));
}

__global__ static void multiply_modulo(unsigned long long *result, int count, const unsigned long long *x,
                                       unsigned long long m) {
  THREAD_OR_RETURN(i, count);
  result[i] = static_cast<unsigned long long>(static_cast<unsigned __int128>(x[i]) * x[(i + 1) % count] % m);
}

std::vector<unsigned long long> products_modulo(const std::vector<unsigned long long> &x, unsigned long long m) {
  const Array<unsigned long long> in(x);
  return results_of(multiply_modulo, static_cast<int>(x.size()), static_cast<const unsigned long long *>(in.data()), m);
}

// ---- lists ----

struct Node {
  Node *next;
  int number;
};
__device__ static Node *list;

__global__ static void push(int threads) {
  THREAD_OR_RETURN(i, threads);
  Node *node = static_cast<Node *>(malloc(sizeof(Node)));
  node->number = i;
  auto *head = reinterpret_cast<unsigned long long *>(&list);
  unsigned long long seen = *head, before;
  do {
    before = seen;
    node->next = reinterpret_cast<Node *>(before);
    __threadfence();
    seen = atomicCAS(head, before, reinterpret_cast<unsigned long long>(node));
  } while (seen != before);
}

__global__ static void pop_all(int *result, int count) {
  int i = 0;
  for (Node *node = list; node != nullptr && i < count;) {
    result[i++] = node->number;
    Node *next = node->next;
    free(node);
    node = next;
  }
  list = nullptr;
}

std::vector<int> pushed_to_a_list(int threads) {
  const Array<int> out(threads);
  push<<<(threads + 63) / 64, 64>>>(threads);
  pop_all<<<1, 1>>>(out.data(), threads);
  CHECK_CUDA(cudaGetLastError());
  return out.values();
}

// ---- what the host sees ----

__managed__ static long long counter;

__global__ static void count_on() { atomicAdd(reinterpret_cast<unsigned long long *>(&counter), 1ull); }

long long counted_in_managed_variable(int turns) {
  counter = 0;
  for (int turn = 0; turn < turns; ++turn) {
    count_on<<<2, 32>>>();
    CHECK_CUDA(cudaDeviceSynchronize());
    counter += 1000;
  }
  return counter;
}

__global__ static void print_threads() {
  printf("thread %u of %u: x = %5.2f, %s%c\n", threadIdx.x, blockIdx.x, threadIdx.x * .25 + blockIdx.x, "text", '!');
}

void print(int blocks, int threads) {
  print_threads<<<blocks, threads>>>();
  CHECK_CUDA(cudaGetLastError());
  CHECK_CUDA(cudaDeviceSynchronize());
}

__global__ static void assert_all(int bound, int count) {
  THREAD_OR_RETURN(i, count);
  assert(i < bound && "the bound");
}

int assert_below(int bound, int count) {
  assert_all<<<(count + 63) / 64, 64>>>(bound, count);
  const cudaError_t launched = cudaGetLastError();
  return launched != cudaSuccess ? launched : cudaDeviceSynchronize();
}

}  // namespace language
