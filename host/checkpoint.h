/* Model files: what noprop_model_save writes, and what the trainer keeps beside it.
 *
 * HDF5 root attributes: format "noprop model", format_version, library_version, config (complete YAML), step, seed,
 * condition_type, condition_width, condition_is_label, target_type, target_width, target_is_label. Groups: parameters,
 * average, moment1, moment2, statistics, training, with one data set per array of engine/model.h's training state, and
 * the data set note: the trainer's own text (not in files of noprop_model_save). */
#ifndef HOST_CHECKPOINT_H
#define HOST_CHECKPOINT_H

#include "noprop/model.h"

/* Frozen: a change of meaning of anything in the file is a new number. */
enum { CHECKPOINT_VERSION = 1 };

/* Writes model and note (NULL: none) beside `path` and renames. Same state, same bytes. */
noprop_status checkpoint_save(noprop_model *model, const char *note, const char *path);

/* Makes the model of a file. `config` NULL takes the file's configuration; another one (with a longer training, say)
 * must lead to the same arrays. *note receives the trainer's text, or NULL if there is none; free with free(). `note`
 * may be NULL. */
noprop_status checkpoint_load(noprop_device *device, const char *path, const noprop_config *config,
                              noprop_model **model, char **note);

/* What a file holds, in words, without a device; free with noprop_free. */
noprop_status checkpoint_describe(const char *path, char **text);

/* 1 if the file is a model file. Says nothing about other files. */
int checkpoint_is_model(const char *path);

#endif
