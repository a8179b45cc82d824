/* Notices when a launch takes longer than it may. */
#ifndef VGPU_WATCHDOG_H
#define VGPU_WATCHDOG_H

#include <stdint.h>

/* Unless watchdog_end() comes first, *flag (read and written atomically) becomes `value` after so many nanoseconds, if
 * it is 0 by then. One at a time; 0 or -1 if there can be no thread for it. */
int watchdog_begin(int *flag, int value, uint64_t nanoseconds);
/* Afterwards the flag is not written any more. */
void watchdog_end(void);

#endif
