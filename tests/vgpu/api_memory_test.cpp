/* Driver API of the virtual GPU: allocations, virtual-address management, copies and fills. */
#include <cstring>
#include <thread>
#include <vector>

#include "tests/vgpu/api_support.h"

extern "C" {
#include "engine/vgpu/memory.h"
}

using ApiMemoryTest = ApiTest;

TEST_F(ApiMemoryTest, AllocationsAreAlignedApartAndKnownToTheByte) {
  CUdeviceptr a, b, base;
  size_t bytes;
  ASSERT_CUDA(CU(cuMemAlloc)(&a, 1001));
  ASSERT_CUDA(CU(cuMemAlloc)(&b, 7));
  EXPECT_EQ(a % 256, 0u);
  EXPECT_EQ(b % 256, 0u);
  uint64_t low, high;
  EXPECT_TRUE(vgpu_memory_contains(a, 1001, &low, &high));
  EXPECT_EQ(low, a);
  EXPECT_EQ(high, a + 1001);
  EXPECT_TRUE(vgpu_memory_contains(a + 1000, 1, &low, &high));
  EXPECT_FALSE(vgpu_memory_contains(a + 1000, 2, &low, &high));
  EXPECT_FALSE(vgpu_memory_contains(a + 1001, 1, &low, &high));
  EXPECT_FALSE(vgpu_memory_contains(a - 1, 1, &low, &high));
  ASSERT_CUDA(CU(cuMemGetAddressRange)(&base, &bytes, a + 500));
  EXPECT_EQ(base, a);
  EXPECT_EQ(bytes, 1001u);
  ASSERT_CUDA(CU(cuMemFree)(a));
  EXPECT_FALSE(vgpu_memory_contains(a, 1, &low, &high));
  EXPECT_TRUE(vgpu_memory_contains(b, 7, &low, &high));
}

TEST_F(ApiMemoryTest, FreedAddressesAreNotSoonUsedAgain) {
  CUdeviceptr first, next;
  ASSERT_CUDA(CU(cuMemAlloc)(&first, 4096));
  ASSERT_CUDA(CU(cuMemFree)(first));
  for (int i = 0; i < 100; ++i) {
    ASSERT_CUDA(CU(cuMemAlloc)(&next, 4096));
    EXPECT_NE(next, first);
    ASSERT_CUDA(CU(cuMemFree)(next));
  }
}

TEST_F(ApiMemoryTest, WrongFreesAndRangesAreErrors) {
  CUdeviceptr memory;
  ASSERT_CUDA(CU(cuMemAlloc)(&memory, 100));
  EXPECT_EQ(CU(cuMemFree)(memory + 4), CUDA_ERROR_INVALID_VALUE);
  char host[200];
  EXPECT_EQ(CU(cuMemcpyHtoD)(memory, host, 101), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuMemcpyDtoH)(host, memory + 1, 100), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuMemcpyHtoD)(reinterpret_cast<CUdeviceptr>(host), host, 4), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuMemsetD32)(memory + 2, 0, 1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuMemsetD8)(memory, 0, 101), CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA(CU(cuMemFree)(memory));
  EXPECT_EQ(CU(cuMemFree)(memory), CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA(CU(cuMemFree)(0));
  EXPECT_EQ(CU(cuMemAlloc)(&memory, 0), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(ApiMemoryTest, MoreThanThereIsIsRefusedWithTheSizes) {
  size_t free_bytes, total;
  ASSERT_CUDA(CU(cuMemGetInfo)(&free_bytes, &total));
  CUdeviceptr memory;
  EXPECT_EQ(CU(cuMemAlloc)(&memory, total + 1), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_NE(std::string(vgpu_last_message()).find(std::to_string(total)), std::string::npos) << vgpu_last_message();
  EXPECT_EQ(CU(cuMemAlloc)(&memory, SIZE_MAX), CUDA_ERROR_OUT_OF_MEMORY);
  size_t after;
  ASSERT_CUDA(CU(cuMemGetInfo)(&after, &total));
  EXPECT_EQ(after, free_bytes);
}

TEST_F(ApiMemoryTest, FillsWriteTheirElements) {
  CUdeviceptr memory;
  ASSERT_CUDA(CU(cuMemAlloc)(&memory, 16));
  ASSERT_CUDA(CU(cuMemsetD8)(memory, 0xab, 16));
  ASSERT_CUDA(CU(cuMemsetD16)(memory + 2, 0x1234, 2));
  ASSERT_CUDA(CU(cuMemsetD32)(memory + 8, 0xdeadbeef, 1));
  unsigned char bytes[16];
  ASSERT_CUDA(CU(cuMemcpyDtoH)(bytes, memory, 16));
  const unsigned char expected[16] = {0xab, 0xab, 0x34, 0x12, 0x34, 0x12, 0xab, 0xab,
                                      0xef, 0xbe, 0xad, 0xde, 0xab, 0xab, 0xab, 0xab};
  EXPECT_EQ(memcmp(bytes, expected, 16), 0);
}

TEST_F(ApiMemoryTest, TwoDimensionalCopiesKeepTheRows) {
  size_t pitch;
  CUdeviceptr memory;
  ASSERT_CUDA(CU(cuMemAllocPitch)(&memory, &pitch, 12, 3, 4));
  EXPECT_GE(pitch, 12u);
  int from[3][5], to[3][3] = {};
  for (int i = 0; i < 15; ++i) from[i / 5][i % 5] = i;
  CUDA_MEMCPY2D in = {};
  in.srcMemoryType = CU_MEMORYTYPE_HOST;
  in.srcHost = from;
  in.srcPitch = 20;
  in.srcXInBytes = 4;
  in.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  in.dstDevice = memory;
  in.dstPitch = pitch;
  in.WidthInBytes = 12;
  in.Height = 3;
  ASSERT_CUDA(CU(cuMemcpy2D)(&in));
  CUDA_MEMCPY2D out = {};
  out.srcMemoryType = CU_MEMORYTYPE_DEVICE;
  out.srcDevice = memory;
  out.srcPitch = pitch;
  out.dstMemoryType = CU_MEMORYTYPE_HOST;
  out.dstHost = to;
  out.dstPitch = 12;
  out.WidthInBytes = 12;
  out.Height = 3;
  ASSERT_CUDA(CU(cuMemcpy2D)(&out));
  for (int row = 0; row < 3; ++row) {
    for (int column = 0; column < 3; ++column) EXPECT_EQ(to[row][column], 5 * row + column + 1);
  }
}

TEST_F(ApiMemoryTest, KernelsReachPinnedManagedAndRegisteredMemory) {
  void *pinned;
  CUdeviceptr managed, mapped;
  std::vector<unsigned> own(count, 1);
  ASSERT_CUDA(CU(cuMemHostAlloc)(&pinned, 4 * count, CU_MEMHOSTALLOC_DEVICEMAP));
  ASSERT_CUDA(CU(cuMemAllocManaged)(&managed, 4 * count, CU_MEM_ATTACH_GLOBAL));
  ASSERT_CUDA(CU(cuMemHostRegister)(own.data(), 4 * count, 0));
  EXPECT_EQ(CU(cuMemHostRegister)(own.data(), 4, 0), CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
  ASSERT_CUDA(CU(cuMemHostGetDevicePointer)(&mapped, own.data(), 0));
  unsigned managed_kind = 0, type = 0;
  EXPECT_CUDA(CU(cuPointerGetAttribute)(&managed_kind, CU_POINTER_ATTRIBUTE_IS_MANAGED, managed));
  EXPECT_EQ(managed_kind, 1u);
  EXPECT_CUDA(CU(cuPointerGetAttribute)(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, mapped));
  EXPECT_EQ(type, static_cast<unsigned>(CU_MEMORYTYPE_HOST));
  for (CUdeviceptr place : {reinterpret_cast<CUdeviceptr>(pinned), managed, mapped}) {
    numbers = place;
    unsigned *host = reinterpret_cast<unsigned *>(place);
    for (int i = 0; i < count; ++i) host[i] = 1;
    ASSERT_CUDA(launch(5));
    ASSERT_CUDA(CU(cuCtxSynchronize)());
    EXPECT_EQ(host[count - 1], 7u);
  }
  EXPECT_CUDA(CU(cuMemHostUnregister)(own.data()));
  EXPECT_EQ(CU(cuMemHostUnregister)(own.data()), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
  EXPECT_CUDA(CU(cuMemFreeHost)(pinned));
  EXPECT_EQ(CU(cuMemFreeHost)(pinned), CUDA_ERROR_INVALID_VALUE);
}

/* ---- virtual-address management ---- */

class ApiMapTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    access.location = prop.location;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    ASSERT_CUDA(CU(cuMemGetAllocationGranularity)(&piece, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    ASSERT_CUDA(CU(cuMemAddressReserve)(&base, 4 * piece, 0, 0, 0));
  }
  CUmemAllocationProp prop = {};
  CUmemAccessDesc access = {};
  size_t piece = 0;
  CUdeviceptr base = 0;
};

TEST_F(ApiMapTest, PiecesMappedSideBySideAreOneRange) {
  CUmemGenericAllocationHandle first, second;
  uint64_t low, high;
  EXPECT_FALSE(vgpu_memory_contains(base, 1, &low, &high));
  ASSERT_CUDA(CU(cuMemCreate)(&first, piece, &prop, 0));
  ASSERT_CUDA(CU(cuMemCreate)(&second, 2 * piece, &prop, 0));
  ASSERT_CUDA(CU(cuMemMap)(base, piece, 0, first, 0));
  ASSERT_CUDA(CU(cuMemMap)(base + piece, 2 * piece, 0, second, 0));
  EXPECT_FALSE(vgpu_memory_contains(base, 1, &low, &high)) << "mapped is not yet accessible";
  ASSERT_CUDA(CU(cuMemSetAccess)(base, 3 * piece, &access, 1));
  EXPECT_TRUE(vgpu_memory_contains(base + piece - 4, 8, &low, &high));
  EXPECT_EQ(low, base);
  EXPECT_EQ(high, base + 3 * piece);
  EXPECT_CUDA(CU(cuMemsetD8)(base, 1, 3 * piece));
  EXPECT_EQ(CU(cuMemsetD8)(base, 1, 3 * piece + 1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuMemAddressFree)(base, 4 * piece), CUDA_ERROR_INVALID_VALUE) << "still mapped";
  EXPECT_CUDA(CU(cuMemUnmap)(base, 3 * piece));
  EXPECT_FALSE(vgpu_memory_contains(base, 1, &low, &high));
  EXPECT_CUDA(CU(cuMemRelease)(first));
  EXPECT_CUDA(CU(cuMemRelease)(second));
  EXPECT_EQ(CU(cuMemRelease)(second), CUDA_ERROR_INVALID_VALUE);
  EXPECT_CUDA(CU(cuMemAddressFree)(base, 4 * piece));
}

TEST_F(ApiMapTest, ContentsMoveWithTheHandle) {
  CUmemGenericAllocationHandle handle;
  ASSERT_CUDA(CU(cuMemCreate)(&handle, piece, &prop, 0));
  ASSERT_CUDA(CU(cuMemMap)(base, piece, 0, handle, 0));
  ASSERT_CUDA(CU(cuMemSetAccess)(base, piece, &access, 1));
  ASSERT_CUDA(CU(cuMemsetD32)(base, 77, piece / 4));
  EXPECT_EQ(CU(cuMemMap)(base + piece, piece, 0, handle, 0), CUDA_ERROR_NOT_SUPPORTED);
  ASSERT_CUDA(CU(cuMemUnmap)(base, piece));
  ASSERT_CUDA(CU(cuMemMap)(base + 2 * piece, piece, 0, handle, 0));
  ASSERT_CUDA(CU(cuMemSetAccess)(base + 2 * piece, piece, &access, 1));
  unsigned value = 0;
  ASSERT_CUDA(CU(cuMemcpyDtoH)(&value, base + 3 * piece - 4, 4));
  EXPECT_EQ(value, 77u);
  EXPECT_CUDA(CU(cuMemRelease)(handle));
  EXPECT_CUDA(CU(cuMemcpyDtoH)(&value, base + 2 * piece, 4)) << "the mapping keeps the memory";
  EXPECT_CUDA(CU(cuMemUnmap)(base + 2 * piece, piece));
}

TEST_F(ApiMapTest, MemoryIsChargedWhenCreatedAndRefundedWhenUnused) {
  size_t before, during, after, total;
  CUmemGenericAllocationHandle handle;
  ASSERT_CUDA(CU(cuMemGetInfo)(&before, &total));
  ASSERT_CUDA(CU(cuMemCreate)(&handle, piece, &prop, 0));
  ASSERT_CUDA(CU(cuMemGetInfo)(&during, &total));
  EXPECT_EQ(before - during, piece);
  ASSERT_CUDA(CU(cuMemRelease)(handle));
  ASSERT_CUDA(CU(cuMemGetInfo)(&after, &total));
  EXPECT_EQ(after, before);
  EXPECT_EQ(CU(cuMemCreate)(&handle, total / piece * piece + piece, &prop, 0), CUDA_ERROR_OUT_OF_MEMORY);
}

TEST_F(ApiMapTest, OnlyReservedAddressesCanBeMapped) {
  CUmemGenericAllocationHandle handle;
  ASSERT_CUDA(CU(cuMemCreate)(&handle, piece, &prop, 0));
  static char own[64];
  CUdeviceptr elsewhere = (reinterpret_cast<CUdeviceptr>(own) + piece) / piece * piece;
  EXPECT_EQ(CU(cuMemMap)(elsewhere, piece, 0, handle, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuMemMap)(base + 4 * piece, piece, 0, handle, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuMemMap)(base + 256, piece, 0, handle, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuMemMap)(base, piece / 2, 0, handle, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuMemCreate)(&handle, piece + 1, &prop, 0), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(ApiMemoryTest, ThreadsMayAllocateAtOnce) {
  std::vector<std::thread> threads;
  std::vector<int> right(4, 1);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&right, t, this] {
      CU(cuCtxSetCurrent)(context);
      for (int i = 0; i < 200; ++i) {
        CUdeviceptr memory;
        unsigned value = 0;
        bool good = CU(cuMemAlloc)(&memory, 64) == CUDA_SUCCESS;
        good = good && CU(cuMemsetD32)(memory, static_cast<unsigned>(t), 16) == CUDA_SUCCESS;
        good = good && CU(cuMemcpyDtoH)(&value, memory + 60, 4) == CUDA_SUCCESS && value == static_cast<unsigned>(t);
        good = good && CU(cuMemFree)(memory) == CUDA_SUCCESS;
        if (!good) right[t] = 0;
      }
    });
  }
  for (std::thread &thread : threads) thread.join();
  EXPECT_EQ(right, std::vector<int>(4, 1));
}
