/* NoProp Engine: trains and serves NoProp and flow-matching models on NVIDIA GPUs, and on the CPU through its virtual
 * GPU. */
#ifndef NOPROP_NOPROP_H
#define NOPROP_NOPROP_H

#include <noprop/config.h>
#include <noprop/counts.h>
#include <noprop/dataset.h>
#include <noprop/device.h>
#include <noprop/forecast.h>
#include <noprop/model.h>
#include <noprop/report.h>
#include <noprop/sampler.h>
#include <noprop/schedule.h>
#include <noprop/status.h>
#include <noprop/trainer.h>

#endif
