"""Programs for numba's CUDA target on the virtual GPU, each against numpy or plain Python."""

import math
import unittest
import warnings

import numpy as np
from numba import cuda, float32, float64, int32
from numba.core.errors import NumbaPerformanceWarning

warnings.simplefilter("ignore", NumbaPerformanceWarning)

TILE = 16


@cuda.jit
def add(a, b, out):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = a[i] + b[i]


@cuda.jit
def tiled_matmul(a, b, out):
    a_tile = cuda.shared.array((TILE, TILE), float32)
    b_tile = cuda.shared.array((TILE, TILE), float32)
    x, y = cuda.grid(2)
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    total = float32(0)
    for start in range(0, a.shape[1], TILE):
        a_tile[ty, tx] = a[y, start + tx] if y < a.shape[0] and start + tx < a.shape[1] else 0
        b_tile[ty, tx] = b[start + ty, x] if x < b.shape[1] and start + ty < b.shape[0] else 0
        cuda.syncthreads()
        for k in range(TILE):
            total += a_tile[ty, k] * b_tile[k, tx]
        cuda.syncthreads()
    if y < out.shape[0] and x < out.shape[1]:
        out[y, x] = total


@cuda.jit
def block_sums(values, sums):
    part = cuda.shared.array(128, float64)
    t = cuda.threadIdx.x
    i = cuda.grid(1)
    part[t] = values[i] if i < values.size else 0
    cuda.syncthreads()
    step = 64
    while step > 0:
        if t < step:
            part[t] += part[t + step]
        cuda.syncthreads()
        step //= 2
    if t == 0:
        sums[cuda.blockIdx.x] = part[0]


@cuda.jit
def histogram(values, counts, most):
    i = cuda.grid(1)
    if i < values.size:
        cuda.atomic.add(counts, values[i], 1)
        cuda.atomic.max(most, 0, values[i])


@cuda.jit
def compare_and_swap(lock, winners):
    if cuda.atomic.cas(lock, 0, -1, cuda.grid(1)) == -1:
        cuda.atomic.add(winners, 0, 1)


@cuda.jit
def warp_sums(values, sums, ballots):
    i = cuda.grid(1)
    value = values[i]
    for distance in (16, 8, 4, 2, 1):
        value += cuda.shfl_down_sync(0xFFFFFFFF, value, distance)
    odd = cuda.ballot_sync(0xFFFFFFFF, values[i] % 2 == 1)
    if cuda.laneid == 0:
        sums[i // 32] = value
        ballots[i // 32] = odd


@cuda.jit("void(int32[:,::1])")
def each_row_after_the_other(rows):
    i = cuda.grid(1)
    grid = cuda.cg.this_grid()
    opposite = rows.shape[1] - i - 1
    for row in range(1, rows.shape[0]):
        rows[row, i] = rows[row - 1, opposite] + 1
        grid.sync()


@cuda.jit
def sorted_locally(values, out):
    own = cuda.local.array(8, int32)
    i = cuda.grid(1)
    for k in range(8):
        own[k] = values[i, k]
    for k in range(1, 8):
        at = k
        while at > 0 and own[at - 1] > own[at]:
            own[at - 1], own[at] = own[at], own[at - 1]
            at -= 1
    for k in range(8):
        out[i, k] = own[k]


@cuda.jit
def functions(x, out):
    i = cuda.grid(1)
    if i < x.size:
        out[0, i] = math.sin(x[i])
        out[1, i] = math.exp(x[i])
        out[2, i] = math.log1p(x[i])
        out[3, i] = math.sqrt(x[i])
        out[4, i] = math.atan2(x[i], 2.0)
        out[5, i] = math.pow(x[i], 1.5)
        out[6, i] = math.erf(x[i])
        out[7, i] = math.lgamma(x[i] + 1)


@cuda.jit
def double_and_add(values, number):
    i = cuda.grid(1)
    if i < values.size:
        values[i] = 2 * values[i] + number


@cuda.jit(device=True)
def collatz(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


@cuda.jit
def collatz_steps(out):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = collatz(i + 1)


class Programs(unittest.TestCase):
    def setUp(self):
        self.random = np.random.default_rng(7)

    def test_vector_add(self):
        a, b = self.random.standard_normal((2, 10_000)).astype(np.float32)
        out = np.zeros_like(a)
        add[79, 128](a, b, out)
        np.testing.assert_array_equal(out, a + b)

    def test_tiled_matmul(self):
        a = self.random.integers(-8, 8, (45, 70)).astype(np.float32)
        b = self.random.integers(-8, 8, (70, 33)).astype(np.float32)
        out = np.zeros((45, 33), np.float32)
        tiled_matmul[(3, 3), (TILE, TILE)](a, b, out)
        np.testing.assert_array_equal(out, a @ b)  # small integers: exact in any order

    def test_reduction_in_shared_memory(self):
        values = self.random.integers(0, 1000, 10_000).astype(np.float64)
        sums = cuda.device_array(79)
        block_sums[79, 128](cuda.to_device(values), sums)
        self.assertEqual(sums.copy_to_host().sum(), values.sum())

    def test_atomics(self):
        values = self.random.integers(0, 50, 20_000).astype(np.int32)
        counts, most = np.zeros(50, np.int32), np.zeros(1, np.int32)
        histogram[157, 128](values, counts, most)
        np.testing.assert_array_equal(counts, np.bincount(values, minlength=50))
        self.assertEqual(most[0], values.max())
        lock, winners = np.full(1, -1, np.int32), np.zeros(1, np.int32)
        compare_and_swap[8, 128](lock, winners)
        self.assertEqual(winners[0], 1)

    def test_warp_shuffles(self):
        values = self.random.integers(0, 100, 256).astype(np.int32)
        sums, ballots = np.zeros(8, np.int32), np.zeros(8, np.uint32)
        warp_sums[2, 128](values, sums, ballots)
        np.testing.assert_array_equal(sums, values.reshape(8, 32).sum(axis=1))
        expected = [sum(1 << lane for lane in range(32) if row[lane] % 2) for row in values.reshape(8, 32)]
        np.testing.assert_array_equal(ballots, np.array(expected, np.uint32))

    def test_grid_synchronisation(self):
        rows = np.zeros((20, 256), np.int32)
        each_row_after_the_other[4, 64](rows)
        np.testing.assert_array_equal(rows, np.arange(20)[:, None] + np.zeros((1, 256), int))

    def test_local_arrays(self):
        values = self.random.integers(-100, 100, (64, 8)).astype(np.int32)
        out = np.zeros_like(values)
        sorted_locally[2, 32](values, out)
        np.testing.assert_array_equal(out, np.sort(values, axis=1))

    def test_mathematics(self):
        x = np.linspace(0.01, 20, 500)
        out = np.zeros((8, 500))
        functions[4, 128](x, out)
        expected = [np.sin(x), np.exp(x), np.log1p(x), np.sqrt(x), np.arctan2(x, 2.0), x**1.5,
                    [math.erf(v) for v in x], [math.lgamma(v + 1) for v in x]]
        # CUDA's documented errors are at most 2 units in the last place for all of these but lgamma (4), which near its
        # zero at x = 1 loses more; the host's functions are within 1.
        np.testing.assert_allclose(out[:7], expected[:7], rtol=3 * 2**-52, atol=0)
        np.testing.assert_allclose(out[7], expected[7], rtol=2**-49, atol=2**-50)

    def test_streams_and_events(self):
        streams = [cuda.stream() for _ in range(3)]
        start, end = cuda.event(), cuda.event()
        host = [cuda.pinned_array(1000, np.int64) for _ in streams]
        start.record()
        arrays = []
        for number, (stream, memory) in enumerate(zip(streams, host)):
            memory[:] = number
            array = cuda.to_device(memory, stream=stream)
            for _ in range(5):
                double_and_add[8, 128, stream](array, number)
            array.copy_to_host(memory, stream=stream)
            arrays.append(array)
        middle = cuda.event()
        middle.record(streams[0])
        middle.wait(streams[1])
        for stream in streams:
            stream.synchronize()
        end.record()
        end.synchronize()
        self.assertGreater(cuda.event_elapsed_time(start, end), 0)
        for number, memory in enumerate(host):
            np.testing.assert_array_equal(memory, 32 * number + 31 * number)

    def test_device_arrays(self):
        values = np.arange(24, dtype=np.int64).reshape(4, 6)
        array = cuda.to_device(values)
        np.testing.assert_array_equal(array[1:3].copy_to_host(), values[1:3])
        flat = array.reshape(24)
        double_and_add[1, 32](flat, 1)
        np.testing.assert_array_equal(array.copy_to_host(), 2 * values + 1)
        array[0, :] = 5
        np.testing.assert_array_equal(array.copy_to_host()[0], 5)
        managed = cuda.managed_array(24, np.int64)
        managed[:] = 1
        double_and_add[1, 32](managed, 3)
        cuda.synchronize()
        np.testing.assert_array_equal(np.asarray(managed), 5)

    def test_device_functions(self):
        out = np.zeros(100, np.int32)
        collatz_steps[1, 128](out)

        def steps(n):
            return 0 if n == 1 else 1 + steps(n // 2 if n % 2 == 0 else 3 * n + 1)

        np.testing.assert_array_equal(out, [steps(n + 1) for n in range(100)])


if __name__ == "__main__":
    unittest.main()
