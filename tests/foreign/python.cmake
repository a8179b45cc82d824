# Python programs on libcuda.so.1: numba and NVIDIA's cuda-bindings, from PyPI. Skipped, with the reason, where the
# packages cannot be installed. tests/foreign/numba_suite runs the rest of numba's own tests.
if(NOT TARGET cuda_shim)
  return()
endif()

set(python_environment
  "NUMBA_CUDA_DRIVER=${PROJECT_BINARY_DIR}/vgpu/libcuda.so.1" "CUDA_HOME=${CUDA_ROOT}"
  "LD_LIBRARY_PATH=${PROJECT_BINARY_DIR}/vgpu:${CUDA_ROOT}/lib64:${CUDA_ROOT}/lib" "PYTHONDONTWRITEBYTECODE=1")

# python_test(NAME PACKAGE "REQUIREMENTS" ARGUMENTS OF PYTHON ...)
function(python_test name package requirements)
  add_test(NAME "foreign/python/${name}"
    COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/python/environment" "${package}" "${requirements}" ${ARGN})
  set_tests_properties("foreign/python/${name}" PROPERTIES
    LABELS foreign TIMEOUT 300 SKIP_RETURN_CODE 77 ENVIRONMENT "${python_environment}")
endfunction()

# numba 0.60 is the last that compiles for the virtual GPU's architecture without packages of its own for CUDA.
set(numba_requirements "numba==0.60.* numpy<2.1")
python_test(numba_programs numba "${numba_requirements}" "${CMAKE_CURRENT_SOURCE_DIR}/python/numba_programs.py")
set(modules cudadrv.test_cuda_memory cudadrv.test_cuda_ndarray cudadrv.test_streams cudadrv.test_events
            cudadrv.test_host_alloc cudadrv.test_context_stack cudapy.test_warp_ops cudapy.test_sm cudapy.test_sync
            cudapy.test_constmem cudapy.test_cuda_array_interface doc_examples.test_matmul)
list(TRANSFORM modules PREPEND numba.cuda.tests.)
python_test(numba_own_tests numba "${numba_requirements}" -m numba.runtests ${modules})
python_test(cuda_bindings cuda-bindings "cuda-bindings==13.* numpy" "${CMAKE_CURRENT_SOURCE_DIR}/python/cuda_bindings_program.py")
