/* Promises of engine/driver/driver.h. */
#include <sys/stat.h>

#include "tests/engine/support.h"

TEST(Driver, TheVirtualTableIsComplete) {
  const struct driver *driver = driver_virtual();
  ASSERT_NE(driver, nullptr);
  EXPECT_TRUE(driver->is_virtual);
#define EXPECT_FILLED(member, symbol, parameters) EXPECT_NE(driver->member, nullptr) << symbol;
  DRIVER_FUNCTION_LIST(EXPECT_FILLED)
#undef EXPECT_FILLED
}

TEST(Driver, AnErrorTellsWhatWasDoneTheCodeAndTheDetail) {
  const struct driver *driver = driver_virtual();
  EXPECT_EQ(driver_check(driver, CUDA_SUCCESS, "nothing"), NOPROP_OK);
  CUdevice device;
  CUresult result = driver->device_get(&device, 5);
  EXPECT_EQ(driver_check(driver, result, "finding the GPU"), NOPROP_NO_DEVICE);
  EXPECT_STREQ(
      noprop_last_error(),
      "finding the GPU: invalid device ordinal (CUDA_ERROR_INVALID_DEVICE): there is one virtual GPU, number 0, "
      "not 5");
}

TEST(Driver, LackOfMemoryIsToldApart) {
  EXPECT_EQ(driver_check(driver_virtual(), CUDA_ERROR_OUT_OF_MEMORY, "allocating"), NOPROP_OUT_OF_MEMORY);
  EXPECT_EQ(driver_check(driver_virtual(), CUDA_ERROR_LAUNCH_FAILED, "launching"), NOPROP_DEVICE_ERROR);
}

TEST(Driver, WithoutAGpuThereIsASentence) {
  if (driver_nvidia() != nullptr) GTEST_SKIP() << "there is a GPU here";
  EXPECT_NE(std::string(noprop_last_error()).find("driver"), std::string::npos) << noprop_last_error();
}

/* Runs where libcuda.so.1 is our own. */
TEST(DriverChild, DISABLED_OwnLibraryIsNotTaken) {
  ASSERT_EQ(driver_nvidia(), nullptr);
  EXPECT_STREQ(noprop_last_error(), "the libcuda.so.1 found first is the virtual GPU, not the NVIDIA driver");
}

TEST(Driver, TheVirtualGpuAsLibcudaIsNeverTakenForAGpu) {
  const std::string folder = NOPROP_BINARY_DIR "/vgpu";
  if (!std::filesystem::exists(folder + "/libcuda.so.1")) GTEST_SKIP() << "libcuda.so.1 is not built";
  EXPECT_TRUE(passes_in_child("DriverChild.DISABLED_OwnLibraryIsNotTaken", "LD_LIBRARY_PATH='" + folder + "'"));
}
