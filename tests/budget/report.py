"""tools/gpu-report without a GPU: status 1 and a sentence; with the virtual GPU: a page that says so and holds every section."""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
problems = []


def run(*arguments):
    command = [sys.executable, ROOT / "tools" / "gpu-report", *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)


with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "page.html"
    absent = run("--device", "gpu:4095", "-o", str(path))
    if absent.returncode != 1 or "there is no" not in absent.stderr or path.exists():
        problems.append(f"without the GPU: status {absent.returncode}, {absent.stderr}")
    made = run("--device", "virtual", "--quick", "-o", str(path))
    text = path.read_text() if path.exists() else ""
    if made.returncode != 0:
        problems.append(f"virtual: status {made.returncode}, {made.stderr}")
    for part in ("Made on the virtual GPU", "all within their bounds", "train step, 6 x 32, tf32, batch 256", "never a measurement", "Kernel launches per step or solve: 1, 2.", "PyTorch", "</html>"):
        if part not in text:
            problems.append(f"the page lacks: {part}")
    if "http://" in text or "https://" in text or str(ROOT) in text:
        problems.append("the page is not self-contained, or names a path of this machine")

print("\n".join(problems) if problems else "the report is as promised")
sys.exit(1 if problems else 0)
