/* Graphs: launches recorded once and replayed with one call. */
#include <stdlib.h>

#include "engine/device.h"
#include "engine/status.h"

struct graph {
  CUgraphExec exec;
  int launches;
};

noprop_status graph_begin(noprop_device *device) {
  noprop_status status = device_enter(device);
  if (status != NOPROP_OK) return status;
  /* Other threads may go on allocating and compiling meanwhile. */
  status = driver_check(device->driver,
                        device->driver->stream_begin_capture(device->stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
                        "recording a graph");
  if (status != NOPROP_OK) return status;
  device->recording = true;
  device->capturing = 0;
  return NOPROP_OK;
}

noprop_status graph_end(noprop_device *device, struct graph **result) {
  *result = NULL;
  noprop_status status = device_enter(device);
  if (status != NOPROP_OK) return status;
  CUgraph recorded = NULL;
  device->recording = false;
  status =
      driver_check(device->driver, device->driver->stream_end_capture(device->stream, &recorded), "recording a graph");
  if (status != NOPROP_OK) return status;
  struct graph *graph = calloc(1, sizeof *graph);
  if (graph == NULL) {
    status = status_set(NOPROP_OUT_OF_MEMORY, "no host memory for a graph");
  } else {
    graph->launches = device->capturing;
    status =
        driver_check(device->driver, device->driver->graph_instantiate(&graph->exec, recorded, 0), "preparing a graph");
  }
  device->driver->graph_destroy(recorded);
  if (status != NOPROP_OK) {
    free(graph);
    return status;
  }
  *result = graph;
  return NOPROP_OK;
}

noprop_status graph_launch(noprop_device *device, struct graph *graph) {
  noprop_status status = device_enter(device);
  if (status != NOPROP_OK) return status;
  status = driver_check(device->driver, device->driver->graph_launch(graph->exec, device->stream), "launching a graph");
  if (status != NOPROP_OK) return status;
  ++device->counters.graph_launches;
  device->counters.launches += (unsigned long long)graph->launches;
  return NOPROP_OK;
}

void graph_destroy(noprop_device *device, struct graph *graph) {
  if (graph == NULL) return;
  if (device_enter(device) == NOPROP_OK) device->driver->graph_exec_destroy(graph->exec);
  free(graph);
}
