"""The loop of a peer: one JSON case per line on standard input, one JSON result per line on standard output.

A framework gives `prepare(case)`, which returns (run, work): run() does the work once and waits for it, `work` is the number
of training steps or solves in it. A case is prepared once, and timed anew whenever it is asked for."""

import json
import statistics
import sys
import time


def serve(prepare):
    prepared = {}
    for line in sys.stdin:
        case = json.loads(line)
        seconds = case.pop("seconds")
        key = json.dumps(case, sort_keys=True)
        if key not in prepared:
            prepared[key] = prepare(case)
            prepared[key][0]()  # compiles
            prepared[key][0]()
        run, work = prepared[key]
        times, processor = [], []
        end = time.perf_counter() + seconds
        while len(times) < 3 or time.perf_counter() < end:
            start, processor_start = time.perf_counter(), time.process_time()
            run()
            times.append((time.perf_counter() - start) * 1e3 / work)
            processor.append((time.process_time() - processor_start) * 1e3 / work)
        result = {
            "milliseconds": statistics.median(times),
            "milliseconds_min": min(times),
            "processor_milliseconds": statistics.median(processor),
            "processor_milliseconds_min": min(processor),
        }
        print(json.dumps({**case, **result}), flush=True)
