# Compiles kernels/*.cu ahead of time and builds them, with the kernel headers as text, into the library.
#
#   NAME.ptx     for the virtual GPU (compute_86, its default capability)
#   NAME.fatbin  machine code for each real architecture in NOPROP_CUDA_ARCHITECTURES
#
# embedded.c takes the files in with the assembler's .incbin: no large C arrays to compile. It is written at configure
# time (the list of names is known then) and compiled again when one of the files changes.

set(NOPROP_CUDA_ARCHITECTURES "75;80;86;89;90;100;120" CACHE STRING
    "Real GPU architectures that ahead-of-time kernels are compiled for; empty: none, only PTX for the virtual GPU")

file(GLOB kernel_sources CONFIGURE_DEPENDS kernels/*.cu)
file(GLOB kernel_headers CONFIGURE_DEPENDS kernels/*.cuh kernels/*.h)

set(kernel_folder "${PROJECT_BINARY_DIR}/kernels")
file(MAKE_DIRECTORY "${kernel_folder}")
set(nvcc_flags -std=c++17 -O3 --fmad=true -I "${PROJECT_SOURCE_DIR}" -I "${PROJECT_SOURCE_DIR}/kernels"
    -Werror all-warnings)
# The compiler's front end runs once for those before compute capability 8.0 and once for all others, whose kernels have
# the same text (__CUDA_ARCH__ >= 800); what is specific to each is the assembler's work.
set(gencode "")
set(before_80 "${NOPROP_CUDA_ARCHITECTURES}")
list(FILTER before_80 INCLUDE REGEX "^7")
set(from_80 "${NOPROP_CUDA_ARCHITECTURES}")
list(FILTER from_80 EXCLUDE REGEX "^7")
foreach(architectures IN ITEMS before_80 from_80)
  if(${architectures})
    list(GET ${architectures} 0 lowest)
    list(TRANSFORM ${architectures} PREPEND sm_ OUTPUT_VARIABLE codes)
    list(JOIN codes "," codes)
    list(APPEND gencode -gencode "arch=compute_${lowest},code=[${codes}]")
  endif()
endforeach()

set(embedded_paths ${kernel_headers})
foreach(source IN LISTS kernel_sources)
  cmake_path(GET source STEM name)
  add_custom_command(
    OUTPUT "${kernel_folder}/${name}.ptx"
    COMMAND "${CUDA_NVCC}" ${nvcc_flags} -ptx -arch=compute_86 -o "${kernel_folder}/${name}.ptx" "${source}"
            -MD -MF "${kernel_folder}/${name}.ptx.d" -MT "${kernel_folder}/${name}.ptx"
    DEPENDS "${source}" DEPFILE "${kernel_folder}/${name}.ptx.d" COMMENT "Kernel ${name}.ptx" VERBATIM)
  list(APPEND embedded_paths "${kernel_folder}/${name}.ptx")
  if(gencode)
    add_custom_command(
      OUTPUT "${kernel_folder}/${name}.fatbin"
      COMMAND "${CUDA_NVCC}" ${nvcc_flags} --fatbin --compress-mode=size ${gencode}
              -o "${kernel_folder}/${name}.fatbin" "${source}"
              -MD -MF "${kernel_folder}/${name}.fatbin.d" -MT "${kernel_folder}/${name}.fatbin"
      DEPENDS "${source}" DEPFILE "${kernel_folder}/${name}.fatbin.d" COMMENT "Kernel ${name}.fatbin" VERBATIM)
    list(APPEND embedded_paths "${kernel_folder}/${name}.fatbin")
  endif()
endforeach()

# Ordered by name, as embedded_at promises.
set(embedded_names "")
foreach(path IN LISTS embedded_paths)
  cmake_path(GET path FILENAME name)
  list(APPEND embedded_names "${name}")
  set("embedded_path_${name}" "${path}")
endforeach()
list(SORT embedded_names)

set(EMBEDDED_DATA "")
set(EMBEDDED_ROWS "")
set(EMBEDDED_COUNT 0)
foreach(name IN LISTS embedded_names)
  set(symbol ".Lembedded_${EMBEDDED_COUNT}")
  string(APPEND EMBEDDED_DATA
    "    \"${symbol}:\\n.incbin \\\"${embedded_path_${name}}\\\"\\n${symbol}_end:\\n.byte 0\\n.balign 16\\n\"\n"
    "    \"${symbol}_name:\\n.asciz \\\"${name}\\\"\\n.balign 16\\n\"\n")
  string(APPEND EMBEDDED_ROWS "    \".quad ${symbol}_name, ${symbol}, ${symbol}_end - ${symbol}\\n\"\n")
  math(EXPR EMBEDDED_COUNT "${EMBEDDED_COUNT} + 1")
endforeach()
configure_file(cmake/embedded.c.in "${PROJECT_BINARY_DIR}/embedded.c" @ONLY)
set_source_files_properties("${PROJECT_BINARY_DIR}/embedded.c" PROPERTIES OBJECT_DEPENDS "${embedded_paths}")
