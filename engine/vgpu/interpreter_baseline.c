/* The interpreter and the special functions for any CPU. */
#define SET(name) name##_baseline
#define SET_NAME "baseline"
#include "engine/vgpu/interpreter_body.h"
