#!/usr/bin/env bash
# Installs the build into an empty folder, takes the marked program out of the README as it stands, compiles it with
# pkg-config and through the CMake package, runs both, and checks what they print.
set -euo pipefail
source=$1 build=$2 cmake=$3 compiler=$4

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

"$cmake" --install "$build" --prefix "$folder/prefix" >"$folder/install.log" || { cat "$folder/install.log"; exit 1; }

sed -n '/^<!-- test: this program/,/^```$/p' "$source/README.md" | sed '1,2d;$d' >"$folder/program.c"
lines=$(wc -l <"$folder/program.c")
[ "$lines" -gt 20 ] || fail "the README's program was not found ($lines lines)"
[ "$lines" -lt 60 ] || fail "the README's program has $lines lines, 59 are allowed"

config=$(find "$folder/prefix" -name noprop.pc)
export PKG_CONFIG_PATH
PKG_CONFIG_PATH=$(dirname "$config")
# shellcheck disable=SC2046
"$compiler" -std=c11 -Wall -Wextra -Wpedantic -Werror "$folder/program.c" -o "$folder/with_pkg_config" \
  $(pkg-config --cflags --libs noprop) -Wl,-rpath,"$(pkg-config --variable=libdir noprop)"

mkdir "$folder/project"
cat >"$folder/project/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C)
find_package(noprop REQUIRED)
add_executable(with_cmake ../program.c)
target_link_libraries(with_cmake PRIVATE noprop::noprop)
END
{ "$cmake" -S "$folder/project" -B "$folder/project/build" -DCMAKE_C_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$folder/prefix" &&
  "$cmake" --build "$folder/project/build"; } >"$folder/cmake.log" 2>&1 || { cat "$folder/cmake.log"; exit 1; }

for program in "$folder/with_pkg_config" "$folder/project/build/with_cmake"; do
  "$program" >"$folder/output.txt" 2>&1 || { cat "$folder/output.txt"; fail "$program ended with status $?"; }
  cat "$folder/output.txt"
  accuracy=$(sed -n 's/^accuracy on .*: //p' "$folder/output.txt")
  awk -v a="$accuracy" 'BEGIN { exit !(a >= 0.97) }' || fail "accuracy '$accuracy', at least 0.97 is promised"
  grep -q '( 0.0,  1.0) lies on moon 0' "$folder/output.txt" || fail "the top of the upper moon is not on moon 0"
  grep -q '( 1.0, -0.5) lies on moon 1' "$folder/output.txt" || fail "the bottom of the lower moon is not on moon 1"
done
# Both came from the installed library, not from the build folder.
libraries=$(ldd "$folder/project/build/with_cmake")
[[ $libraries == *"$folder/prefix"* ]] || fail "the program does not use the installed library"
