// libdevice's functions of float. Some have no overload under the name without f.
using Number = float;
#define rhypot rhypotf
#define norm3d norm3df
#define norm4d norm4df
#define rnorm3d rnorm3df
#define rnorm4d rnorm4df
#include "libdevice_kernels.h"
