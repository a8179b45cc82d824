"""tools/convert-pickle: data and parameters as jax and flax pickle them, there and back; what does not fit is named."""

import os
import pickle
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import h5py
import numpy

TOOL = sys.argv[1]
problems = []


def expect(condition, what):
    if not condition:
        problems.append(what)


# Stand-ins for the classes whose names are in such pickles; the tool runs without them.
def stand_in(module, name, value):
    parts = module.split(".")
    for i in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
    value.__module__, value.__qualname__ = module, name
    setattr(sys.modules[module], name, value)
    return value


def _reconstruct_array(function, arguments, state, aval):
    raise AssertionError("only its name is pickled")


class ArrayImpl:
    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        function, arguments, state = self.value.__reduce__()
        return _reconstruct_array, (function, arguments, state, {"weak_type": False})


class FrozenDict:
    def __init__(self, content):
        self._dict = content


class Config:
    def __init__(self):
        self.hidden_dims = (8, 8)


stand_in("jax._src.array", "_reconstruct_array", _reconstruct_array)
stand_in("flax.core.frozen_dict", "FrozenDict", FrozenDict)
stand_in("src.flow_models.fm", "Config", Config)

random = numpy.random.default_rng(1)
SHAPES = {
    "mlp": {
        "Dense_0": ("x.0", (3, 8)), "Dense_1": ("x.1", (8, 8)), "Dense_2": ("hidden.1", (8, 8)), "Dense_3": ("output", (8, 2)),
        "ConcatSquash_0": {"input_proj_0": ("squash.z", (2, 8)), "input_proj_1": ("squash.x", (8, 8)), "input_proj_2": ("squash.t", (4, 8))},
    },
    "bilinear": {
        "Dense_0": ("x.0", (3, 8)), "Dense_1": ("x.1", (8, 8)), "Dense_2": ("bilinear.z", (2, 8)), "Dense_3": ("bilinear.c", (8, 8)),
        "Dense_4": ("output", (8, 2)),
        "ConcatSquash_0": {"input_proj_0": ("squash.z", (2, 8)), "input_proj_1": ("squash.x", (8, 8)), "input_proj_2": ("squash.t", (4, 8))},
    },
    "unconditional": {
        "Dense_0": ("hidden.1", (8, 8)), "Dense_1": ("output", (8, 2)),
        "ConcatSquash_0": {"input_proj_0": ("squash.z", (2, 8)), "input_proj_1": ("squash.t", (4, 8))},
    },
}


def theirs(shapes, ours):
    """Nested dictionaries of jax arrays; `ours` receives what each must become."""
    tree = {}
    for name, value in shapes.items():
        if isinstance(value, dict):
            tree[name] = theirs(value, ours)
            continue
        label, shape = value
        ours[f"{label}.weight"] = random.normal(size=shape).astype("f4")
        tree[name] = {"kernel": ArrayImpl(ours[f"{label}.weight"])}
        if not label.startswith("squash"):
            ours[f"{label}.bias"] = random.normal(size=shape[1]).astype("f4")
            tree[name]["bias"] = ArrayImpl(ours[f"{label}.bias"])
    return tree


def run(*arguments):
    return subprocess.run([sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL)


with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    for network, shapes in SHAPES.items():
        ours = {}
        tree = theirs(shapes, ours)
        wrapped = {"crn_model": tree} if network == "bilinear" else tree
        content = {"params": FrozenDict({"params": {"crn": wrapped}}), "config": Config()}
        (folder / "in.pkl").write_bytes(pickle.dumps(content))
        with h5py.File(folder / "model.h5", "w") as file:
            for label, value in ours.items():
                file[f"parameters/{label}"] = numpy.zeros_like(value)
                file[f"moment1/{label}"] = numpy.ones_like(value)
        done = run("parameters", folder / "in.pkl", folder / "model.h5", folder / "out.h5")
        expect(done.returncode == 0, f"{network}: {done.stderr}")
        if done.returncode:
            continue
        with h5py.File(folder / "out.h5") as file:
            for label, value in ours.items():
                expect((file[f"parameters/{label}"][...] == value).all(), f"{network}: {label} is not what was pickled")
                expect((file[f"moment1/{label}"][...] == 0).all(), f"{network}: the optimizer of {label} does not begin anew")
        with h5py.File(folder / "out.h5", "r+") as file:
            for label in ours:
                file[f"parameters/{label}"][...] *= 2
        done = run("back", folder / "out.h5", folder / "in.pkl", folder / "back.pkl")
        expect(done.returncode == 0, f"{network}, back: {done.stderr}")
        made = pickle.loads((folder / "back.pkl").read_bytes())["params"]["params"]["crn"]
        made = made["crn_model"] if network == "bilinear" else made
        expect((made["Dense_0"]["kernel"] == 2 * tree["Dense_0"]["kernel"].value).all(), f"{network}: Dense_0 did not come back")
        expect((made["ConcatSquash_0"]["input_proj_1"]["kernel"] == 2 * tree["ConcatSquash_0"]["input_proj_1"]["kernel"].value).all(), f"{network}: the squash did not come back")

    # One array more, and another shape: named, and the file that was there stays.
    before = (folder / "out.h5").read_bytes()
    extra = {"params": {**tree, "encoder": {"Dense_0": {"kernel": ArrayImpl(numpy.ones((2, 2), "f4"))}}}}
    (folder / "extra.pkl").write_bytes(pickle.dumps(extra))
    done = run("parameters", folder / "extra.pkl", folder / "model.h5", folder / "out.h5")
    expect(done.returncode == 1 and "encoder/Dense_0/kernel has no counterpart" in done.stderr, f"extra array: {done.stderr}")
    tree["Dense_1"]["kernel"] = ArrayImpl(numpy.ones((8, 3), "f4"))
    (folder / "shape.pkl").write_bytes(pickle.dumps({"params": tree}))
    done = run("parameters", folder / "shape.pkl", folder / "model.h5", folder / "out.h5")
    expect(done.returncode == 1 and "has the shape (8, 3), output.weight has (8, 2)" in done.stderr, f"shape: {done.stderr}")
    expect((folder / "out.h5").read_bytes() == before, "a refused file was written")

    # What a pickle would run is not run.
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {folder}/ran",)

    (folder / "evil.pkl").write_bytes(pickle.dumps({"params": {"a": Evil()}}))
    done = run("parameters", folder / "evil.pkl", folder / "model.h5", folder / "out.h5")
    expect(done.returncode == 1 and not (folder / "ran").exists(), "a pickle ran a command")
    (folder / "cut.pkl").write_bytes((folder / "in.pkl").read_bytes()[:100])
    done = run("parameters", folder / "cut.pkl", folder / "model.h5", folder / "out.h5")
    expect(done.returncode == 1 and "could not be read as a pickle" in done.stderr and "Traceback" not in done.stderr, f"cut short: {done.stderr}")

    # Data: one-hot columns become labels, half of the validation rows test.
    labels = random.integers(0, 2, 20)
    data = {part: {"x": random.normal(size=(n, 2)), "y": numpy.eye(2)[labels[:n]]} for part, n in (("train", 20), ("val", 10))}
    (folder / "data.pkl").write_bytes(pickle.dumps(data))
    done = run("data", folder / "data.pkl", folder / "data.h5")
    expect(done.returncode == 0, done.stderr)
    with h5py.File(folder / "data.h5") as file:
        expect((file["train/y"][...] == labels).all() and file["train/y"].dtype == "i4", "labels")
        expect((file["train/x"][...] == data["train"]["x"]).all(), "x")
        expect(file["validation/x"].shape == (5, 2) and (file["test/x"][...] == data["val"]["x"][5:]).all(), "splits")
    (folder / "none.pkl").write_bytes(pickle.dumps({"a": 1}))
    done = run("data", folder / "none.pkl", folder / "none.h5")
    expect(done.returncode == 1 and "has no 'train'" in done.stderr and not (folder / "none.h5").exists(), done.stderr)

print("\n".join(problems) if problems else "pickles are converted there and back")
sys.exit(1 if problems else 0)
