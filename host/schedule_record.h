/* What a learnable schedule has been over a training: learned_schedules.csv of a run folder and the script of its
 * picture. Without a learnable schedule nothing is written. */
#ifndef HOST_SCHEDULE_RECORD_H
#define HOST_SCHEDULE_RECORD_H

#include "noprop/model.h"

/* Begins the record, or cuts one that is there after epoch `last_epoch` (0: nothing is trained yet), as a training that
 * is resumed wants it. */
noprop_status schedule_record_open(noprop_model *model, const char *folder, long last_epoch);

/* Adds the schedule as it is after `epoch` of `epochs`, where it is due: about 40 times, and at the end. */
noprop_status schedule_record_add(noprop_model *model, const char *folder, long epoch, long epochs);

#endif
