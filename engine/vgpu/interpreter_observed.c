/* The interpreter that shows every step to an observer (observe.h), for any CPU. */
#define SET(name) name##_observed
#define SET_NAME "observed"
#define OBSERVED 1
#include "engine/vgpu/interpreter_body.h"
