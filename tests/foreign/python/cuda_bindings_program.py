"""NVIDIA's cuda-bindings on the virtual GPU: the driver API and NVRTC from Python."""

import ctypes
import unittest

import numpy as np
from cuda.bindings import driver, nvrtc

SOURCE = b"""
extern "C" __global__ void axpy(float a, const float *x, float *y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] += a * x[i];
}
__device__ int table[4] = {1, 2, 3, 4};
extern "C" __global__ void scale_table(int by) { table[threadIdx.x] *= by; }
"""
COUNT = 1000


def check(result):
    error, *values = result
    if int(error) != 0:
        raise RuntimeError(f"{type(error).__name__}: {error!r}")
    return values[0] if len(values) == 1 else values


def compiled():
    program = check(nvrtc.nvrtcCreateProgram(SOURCE, b"program.cu", 0, [], []))
    result = nvrtc.nvrtcCompileProgram(program, 1, [b"--gpu-architecture=compute_86"])
    if int(result[0]) != 0:
        log = b" " * check(nvrtc.nvrtcGetProgramLogSize(program))
        nvrtc.nvrtcGetProgramLog(program, log)
        raise RuntimeError(log.decode())
    text = b" " * check(nvrtc.nvrtcGetPTXSize(program))
    check(nvrtc.nvrtcGetPTX(program, text))
    check(nvrtc.nvrtcDestroyProgram(program))
    return text


class Bindings(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        check(driver.cuInit(0))
        cls.text = compiled()

    def setUp(self):
        self.device = check(driver.cuDeviceGet(0))
        self.context = check(driver.cuDevicePrimaryCtxRetain(self.device))
        check(driver.cuCtxSetCurrent(self.context))
        self.module = check(driver.cuModuleLoadData(self.text))
        self.axpy = check(driver.cuModuleGetFunction(self.module, b"axpy"))
        self.stream = check(driver.cuStreamCreate(0))
        self.x = np.arange(COUNT, dtype=np.float32)
        self.y = np.ones(COUNT, np.float32)
        self.device_x = check(driver.cuMemAlloc(self.x.nbytes))
        self.device_y = check(driver.cuMemAlloc(self.y.nbytes))
        check(driver.cuMemcpyHtoD(self.device_x, self.x.ctypes.data, self.x.nbytes))
        check(driver.cuMemcpyHtoD(self.device_y, self.y.ctypes.data, self.y.nbytes))

    def tearDown(self):
        check(driver.cuDevicePrimaryCtxRelease(self.device))

    def arguments(self, factor):
        return ((factor, self.device_x, self.device_y, COUNT), (ctypes.c_float, None, None, ctypes.c_int))

    def launch(self, factor, stream):
        check(driver.cuLaunchKernel(self.axpy, 8, 1, 1, 128, 1, 1, 0, stream, self.arguments(factor), 0))

    def result(self):
        check(driver.cuMemcpyDtoHAsync(self.y.ctypes.data, self.device_y, self.y.nbytes, self.stream))
        check(driver.cuStreamSynchronize(self.stream))
        return self.y

    def test_the_device_describes_itself(self):
        name = check(driver.cuDeviceGetName(128, self.device))
        self.assertIn(b"virtual GPU", name)
        attribute = driver.CUdevice_attribute
        major = check(driver.cuDeviceGetAttribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, self.device))
        self.assertEqual(major, 8)
        for each in attribute:
            value = each.value
            # Later versions of the package know attributes that this driver's CUDA did not have.
            if each.name != "CU_DEVICE_ATTRIBUTE_MAX" and value <= 147:
                check(driver.cuDeviceGetAttribute(each, self.device))
        self.assertGreater(check(driver.cuDeviceTotalMem(self.device)), 1 << 20)
        self.assertEqual(check(driver.cuDriverGetVersion()) // 1000, 13)
        self.assertEqual(check(driver.cuGetErrorName(driver.CUresult.CUDA_ERROR_ILLEGAL_ADDRESS)),
                         b"CUDA_ERROR_ILLEGAL_ADDRESS")

    def test_kernels_run_with_their_arguments(self):
        self.launch(2.0, self.stream)
        self.launch(0.5, self.stream)
        np.testing.assert_array_equal(self.result(), 1 + 2.5 * self.x)

    def test_module_variables(self):
        function = check(driver.cuModuleGetFunction(self.module, b"scale_table"))
        check(driver.cuLaunchKernel(function, 1, 1, 1, 4, 1, 1, 0, 0, ((7,), (ctypes.c_int,)), 0))
        check(driver.cuCtxSynchronize())
        names = self.text.decode()
        self.assertIn("table", names)

    def test_streams_wait_for_events(self):
        other = check(driver.cuStreamCreate(driver.CUstream_flags.CU_STREAM_NON_BLOCKING))
        first = check(driver.cuEventCreate(0))
        second = check(driver.cuEventCreate(0))
        check(driver.cuEventRecord(first, other))
        self.launch(1.0, other)
        check(driver.cuEventRecord(second, other))
        check(driver.cuStreamWaitEvent(self.stream, second, 0))
        self.launch(3.0, self.stream)
        np.testing.assert_array_equal(self.result(), 1 + 4 * self.x)
        self.assertGreater(check(driver.cuEventElapsedTime(first, second)), 0)
        check(driver.cuStreamDestroy(other))

    def test_captured_graphs_are_launched_again(self):
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL
        check(driver.cuStreamBeginCapture(self.stream, mode))
        self.launch(1.0, self.stream)
        self.launch(2.0, self.stream)
        graph = check(driver.cuStreamEndCapture(self.stream))
        nodes, count = check(driver.cuGraphGetNodes(graph, 10))
        self.assertEqual(count, 2)
        executable = check(driver.cuGraphInstantiate(graph, 0))
        for _ in range(3):
            check(driver.cuGraphLaunch(executable, self.stream))
        np.testing.assert_array_equal(self.result(), 1 + 9 * self.x)
        check(driver.cuGraphExecDestroy(executable))
        check(driver.cuGraphDestroy(graph))

    def test_graphs_built_node_by_node(self):
        graph = check(driver.cuGraphCreate(0))
        fill = driver.CUDA_MEMSET_NODE_PARAMS()
        fill.dst = self.device_y
        fill.value = 0
        fill.elementSize = 4
        fill.width = COUNT
        fill.height = 1
        first = check(driver.cuGraphAddMemsetNode(graph, None, 0, fill, self.context))
        kernel = driver.CUDA_KERNEL_NODE_PARAMS()
        kernel.func = self.axpy
        kernel.gridDimX, kernel.gridDimY, kernel.gridDimZ = 8, 1, 1
        kernel.blockDimX, kernel.blockDimY, kernel.blockDimZ = 128, 1, 1
        kernel.sharedMemBytes = 0
        kernel.kernelParams = self.arguments(4.0)
        check(driver.cuGraphAddKernelNode(graph, [first], 1, kernel))
        executable = check(driver.cuGraphInstantiate(graph, 0))
        for _ in range(2):
            check(driver.cuGraphLaunch(executable, self.stream))
        np.testing.assert_array_equal(self.result(), 4 * self.x)

    def test_memory_of_each_kind(self):
        managed = check(driver.cuMemAllocManaged(64, driver.CUmemAttach_flags.CU_MEM_ATTACH_GLOBAL.value))
        check(driver.cuMemsetD32(managed, 7, 16))
        view = np.ctypeslib.as_array((ctypes.c_uint32 * 16).from_address(int(managed)))
        np.testing.assert_array_equal(view, 7)
        pooled = check(driver.cuMemAllocAsync(64, self.stream))
        check(driver.cuMemsetD8Async(pooled, 3, 64, self.stream))
        got = np.zeros(64, np.uint8)
        check(driver.cuMemcpyDtoHAsync(got.ctypes.data, pooled, 64, self.stream))
        check(driver.cuMemFreeAsync(pooled, self.stream))
        check(driver.cuStreamSynchronize(self.stream))
        np.testing.assert_array_equal(got, 3)
        pinned = check(driver.cuMemHostAlloc(64, 0))
        kind = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_MEMORY_TYPE
        self.assertEqual(int(check(driver.cuPointerGetAttribute(kind, int(pinned)))),
                         driver.CUmemorytype.CU_MEMORYTYPE_HOST.value)
        check(driver.cuMemFreeHost(pinned))

    def test_errors_are_reported(self):
        error, = driver.cuMemcpyHtoD(64, self.x.ctypes.data, 4)
        self.assertEqual(error, driver.CUresult.CUDA_ERROR_INVALID_VALUE)
        error, _ = driver.cuModuleGetFunction(self.module, b"nothing")
        self.assertEqual(error, driver.CUresult.CUDA_ERROR_NOT_FOUND)


if __name__ == "__main__":
    unittest.main()
