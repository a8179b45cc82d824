/* Mode `check`. */
#include "engine/vgpu/observe.h"

const struct vgpu_observer vgpu_check = {.name = "check", .serial = true};
