"""The work that every system does: network shapes, data and cases. No framework in here.

Networks (swish, harmonic time features, two moons):
  mlp     hidden 6 x 32, 32 time features, x 2, z 2: x-branch of 6 dense layers; z, x-branch and time joined by one linear map
          without bias or activation; 5 dense layers; output. 12,834 parameters.
  resnet  the same x-branch; a stem with bias; 5 residual blocks into which x-branch and time enter; output.
  field   hidden 64-64-64, 16 time features, z 2 and no condition: what the generation of points needs. z and time enter the first
          dense layer. 9,666 parameters.
  cnn     grey images of 28 x 28, random; 3 x 3 convolutions of 32, 64 and 128 channels with ReLU, a 2 x 2 max-pool behind the first
          two and the mean over all pixels behind the last; ReLU layers. Training is of these, 128-128, on the squared error of
          the label; sampling takes 10 Euler steps of a field that has z and time, too: here the branch runs once per solve, in
          PyTorch at each step, as in the notebook that this network is from. Not in JAX.
Training: flow matching (prediction of the velocity on the linear path, squared error, uniform t), Adam 1e-3, no clipping,
rows drawn from a fresh permutation of 8,000 resident rows in every epoch. mlp and resnet learn the label from the point, field
learns the points. Sampling: Euler steps from a normal start.
"""

import math

HIDDEN = {"mlp": [32] * 6, "resnet": [32] * 6, "field": [64] * 3}
TIME = {"mlp": 32, "resnet": 32, "field": 16}
ROWS = 8000
LEARNING_RATE = 1e-3

TRAIN_CASES = [
    {"bench": "train-step", "network": network, "batch": batch, "dropout": dropout}
    for network in ("mlp", "resnet", "field")
    for batch in (256, 4096)
    for dropout in ((0.0,) if network == "field" else (0.0, 0.1))
]
SAMPLE_CASES = [
    {"bench": "sample", "network": network, "rows": 4096, "steps": steps, "method": "euler"}
    for network in ("mlp", "resnet", "field")
    for steps in ((100,) if network == "field" else (20, 100))
]
CASES = TRAIN_CASES + SAMPLE_CASES
IMAGE_CASES = [  # for PyTorch
    case
    for precision in ("fp32", "tf32", "bf16")
    for case in (
        {"bench": "train-step", "network": "cnn", "batch": 128, "precision": precision},
        {"bench": "sample", "network": "cnn", "rows": 128, "steps": 10, "method": "euler", "precision": precision},
    )
]
CHANNELS, IMAGE_SIDE, CLASSES, IMAGE_HIDDEN, IMAGE_TIME = (32, 64, 128), 28, 10, 128, 32


def two_moons(rows, seed=0):
    """x [rows][2] standardised, labels [rows]."""
    import numpy as np  # here and below: bench/peers/run reads this file too, with a bare Python

    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, rows)
    angle = rng.uniform(0, math.pi, rows)
    x = np.where(
        (label == 0)[:, None],
        np.stack([np.cos(angle), np.sin(angle)], 1),
        np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], 1),
    )
    x += rng.normal(0, 0.1, x.shape)
    x = (x - x.mean(0)) / x.std(0)
    return x.astype(np.float32), label.astype(np.int32)


def parameter_shapes(network):
    """Names and shapes in order; weights are [in][out]."""
    shapes = {}

    def dense(name, rows, columns, bias=True):
        shapes[name + ".weight"] = (rows, columns)
        if bias:
            shapes[name + ".bias"] = (columns,)

    hidden, time = HIDDEN[network], TIME[network]
    if network == "field":
        dense("squash.z", 2, hidden[0], bias=False)
        dense("squash.t", time, hidden[0], bias=False)
        shapes["squash.bias"] = (hidden[0],)
        for k in range(1, len(hidden)):
            dense(f"hidden.{k}", hidden[k - 1], hidden[k])
        dense("output", hidden[-1], 2)
        return shapes

    width = 2
    for k, h in enumerate(hidden):
        dense(f"x.{k}", width, h)
        width = h
    first = "squash" if network == "mlp" else "stem"
    for branch, rows in (("z", 2), ("x", width), ("t", time)):
        dense(f"{first}.{branch}", rows, hidden[0], bias=False)
    if network == "mlp":
        for k in range(1, len(hidden)):
            dense(f"hidden.{k}", hidden[k - 1], hidden[k])
    else:
        shapes["stem.bias"] = (hidden[0],)
        for k in range(1, len(hidden)):
            shapes[f"block.{k}.in.weight"] = (hidden[0], hidden[k])
            shapes[f"block.{k}.x.weight"] = (width, hidden[k])
            shapes[f"block.{k}.t.weight"] = (time, hidden[k])
            shapes[f"block.{k}.in.bias"] = (hidden[k],)
            shapes[f"block.{k}.out.weight"] = (hidden[k], hidden[0])
            shapes[f"block.{k}.out.bias"] = (hidden[0],)
    dense("output", hidden[-1] if network == "mlp" else hidden[0], 2)
    return shapes


def initial_parameters(network, seed=0):
    import numpy as np

    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(0, math.sqrt(1 / shape[0]), shape).astype(np.float32)
        if len(shape) == 2
        else np.zeros(shape, np.float32)
        for name, shape in parameter_shapes(network).items()
    }


def case_name(case):
    if case["network"] == "cnn":
        what = f"batch {case['batch']}" if case["bench"] == "train-step" else f"{case['rows']} rows {case['steps']} steps"
        return f"{case['bench']} cnn {what} {case['precision']}"
    if case["bench"] == "train-step":
        return f"train-step {case['network']} batch {case['batch']} dropout {case['dropout']:g}"
    return f"sample {case['network']} {case['rows']} rows {case['steps']} {case['method']} steps"
