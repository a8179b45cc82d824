# Finds the CUDA toolkit: headers (cuda.h, nvrtc.h), nvcc and NVRTC. Only nvcc is run, and only at build time; NVRTC is
# opened by the library at run time. Looked for in CUDA_HOME, PATH, the usual places, and last in the build folder's
# cuda/, where tools/install-dependencies puts the toolkit when the machine has none.
#
# Sets CUDA_ROOT, CUDA_NVCC, CUDA_INCLUDE_DIR, CUDA_NVRTC_LIBRARY.

set(cuda_roots "")
foreach(variable CUDA_HOME CUDA_PATH CUDA_ROOT)
  if(DEFINED ENV{${variable}})
    list(APPEND cuda_roots "$ENV{${variable}}")
  endif()
endforeach()
find_program(nvcc_in_path nvcc NO_CACHE)
if(nvcc_in_path)
  file(REAL_PATH "${nvcc_in_path}" nvcc_real)
  cmake_path(GET nvcc_real PARENT_PATH nvcc_folder)
  cmake_path(GET nvcc_folder PARENT_PATH nvcc_root)
  list(APPEND cuda_roots "${nvcc_root}")
endif()
list(APPEND cuda_roots /usr/local/cuda /opt/cuda "${PROJECT_BINARY_DIR}/cuda" "${PROJECT_SOURCE_DIR}/build/cuda")

set(CUDA_ROOT "")
foreach(root IN LISTS cuda_roots)
  if(EXISTS "${root}/bin/nvcc" AND EXISTS "${root}/include/cuda.h")
    set(CUDA_ROOT "${root}")
    break()
  endif()
endforeach()
if(NOT CUDA_ROOT)
  list(JOIN cuda_roots ", " looked_in)
  message(FATAL_ERROR "No CUDA toolkit (bin/nvcc and include/cuda.h) in ${looked_in}. "
                      "Set CUDA_HOME, or run tools/install-dependencies, which fetches one without root.")
endif()
set(CUDA_NVCC "${CUDA_ROOT}/bin/nvcc")
set(CUDA_INCLUDE_DIR "${CUDA_ROOT}/include")
find_file(CUDA_NVRTC_LIBRARY NAMES libnvrtc.so.13 libnvrtc.so.12 libnvrtc.so NO_CACHE
          PATHS "${CUDA_ROOT}/lib64" "${CUDA_ROOT}/lib" "${CUDA_ROOT}/targets/x86_64-linux/lib" NO_DEFAULT_PATH)
if(NOT CUDA_NVRTC_LIBRARY)
  set(CUDA_NVRTC_LIBRARY "")
endif()
execute_process(COMMAND "${CUDA_NVCC}" --version OUTPUT_VARIABLE nvcc_version ERROR_VARIABLE nvcc_version)
string(REGEX MATCH "release [0-9.]+" nvcc_version "${nvcc_version}")
message(STATUS "CUDA toolkit: ${CUDA_ROOT} (${nvcc_version}), NVRTC: ${CUDA_NVRTC_LIBRARY}")
