"""torch_peer.py on another device: torch_on.py DEVICE [compile]. Every timing waits for the device.

The work is written once, for the CPU; here PyTorch makes its tensors on the device that is asked for."""

import sys

import torch
import worker

device = sys.argv.pop(1)
torch.set_default_device(device)
from_numpy, serve = torch.from_numpy, worker.serve
torch.from_numpy = lambda array: from_numpy(array).to(device)


def waiting(prepare):
    def prepared(case):
        run, work = prepare(case)

        def run_and_wait():
            run()
            if device != "cpu":
                torch.cuda.synchronize()

        return run_and_wait, work

    return prepared


worker.serve = lambda prepare: serve(waiting(prepare))
import torch_peer  # noqa: E402,F401  serves until its input ends
