// libdevice's functions of double.
using Number = double;
#include "libdevice_kernels.h"
