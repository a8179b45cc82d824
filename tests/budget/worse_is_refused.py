"""tools/budget ends with status 1 and names kernel and figure when a kernel became worse, spills, or is not in the budget; with
status 0 and a hint when it became better. Each case changes the kernels or the budget, and nothing else."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUDGET = json.loads((ROOT / "bench" / "budget.json").read_text())
CASE, FILE = "sample tf32 6x32", "kernels/update.cu"
problems = []


def run(change, *arguments):
    """Status and output of tools/budget with a changed copy of the budget."""
    budget = json.loads(json.dumps(BUDGET))
    change(budget)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "budget.json"
        path.write_text(json.dumps(budget))
        command = [sys.executable, ROOT / "tools" / "budget", "--file", path, "--architectures=80", *arguments]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return result.returncode, result.stdout + result.stderr


def expect(title, outcome, status, *parts):
    code, text = outcome
    if code != status or any(part not in text for part in parts):
        problems.append(f"{title}: status {code}, wanted {status} and {parts}:\n{text}")


def nothing(budget):
    pass


def compiled(kernel, figure, by):
    def change(budget):
        budget["budget"][FILE][kernel]["compiled"]["80"][figure] += by

    return change


def counted(kernel, figure, factor):
    def change(budget):
        budget["budget"][CASE][kernel]["counted"][figure] *= factor

    return change


expect("as it is", run(nothing, "--only", FILE), 0, "within the budget")
# The same kernels with fewer registers than they need.
expect("spills", run(nothing, "--only", FILE, "--nvrtc-option=--maxrregcount=24", "--nvrtc-option=--ptxas-options=--override-directive-values"), 1, "reduce_gradient, sm_80: spilled_bytes", "no kernel may spill")
if subprocess.run([sys.executable, "-c", f"""
import importlib.machinery, importlib.util, json
loader = importlib.machinery.SourceFileLoader("budget", r"{ROOT}/tools/budget")
module = importlib.util.module_from_spec(importlib.util.spec_from_loader("budget", loader)); loader.exec_module(module)
raise SystemExit(0 if module.release() == {BUDGET["toolkit"]!r} else 3)
"""]).returncode == 3:
    print("another CUDA release than the budget's: only spills are checked here")
else:
    expect("one register more", run(compiled("clip_update", "registers", -1), "--only", FILE), 1, "WORSE", "clip_update, sm_80: registers")
    expect("one register fewer", run(compiled("clip_update", "registers", 1), "--only", FILE), 0, "better: ", "tighten the budget")
    expect("fewer blocks", run(compiled("clip_update", "blocks_per_sm", 1), "--only", FILE), 1, "blocks_per_sm")
    expect("more instructions", run(counted("integrate", "instructions_per_row", 0.99), "--only", CASE), 1, "integrate, counted: instructions_per_row")
    expect("less mma", run(counted("integrate", "mma_share", 1.01), "--only", CASE), 1, "mma_share")
    expect("more DRAM traffic", run(counted("all", "dram_over_compulsory", 0.9), "--only", CASE), 1, "dram_over_compulsory")
    expect("more launches", run(counted("all", "launches", 0), "--only", CASE), 1, "all, counted: launches 1, the budget is 0")
    expect("unknown", run(lambda budget: budget["budget"][FILE].pop("clip_update"), "--only", FILE), 1, "clip_update", "not in the budget yet")

print("\n".join(problems) if problems else "every worse kernel was refused")
sys.exit(1 if problems else 0)
