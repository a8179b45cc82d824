"""The work in PyTorch: eager with the fused Adam, or with the argument `compile` the whole loss and its gradient through
torch.compile."""

import sys

import torch
import torch.nn.functional as F

import worker
import workload

COMPILE = sys.argv[1:] == ["compile"]
BLOCKS = len(workload.HIDDEN["mlp"])
FREQUENCIES = {
    network: torch.pi * torch.arange(1, time // 2 + 1, dtype=torch.float32) for network, time in workload.TIME.items()
}


def time_features(network, t):
    angle = t[..., None] * FREQUENCIES[network]
    return torch.cat([torch.sin(angle), torch.cos(angle)], -1)


def x_branch(network, p, x, rate):
    if network == "field":
        return None
    for k in range(BLOCKS):
        x = F.dropout(F.silu(torch.addmm(p[f"x.{k}.bias"], x, p[f"x.{k}.weight"])), rate, rate > 0)
    return x


def field(network, p, z, xp, e, rate):
    """The network after its x-branch; e [rows][time] or [time]."""
    if network == "field":
        h = F.silu(z @ p["squash.z.weight"] + (e @ p["squash.t.weight"] + p["squash.bias"]))
        for k in range(1, len(workload.HIDDEN[network])):
            h = F.silu(torch.addmm(p[f"hidden.{k}.bias"], h, p[f"hidden.{k}.weight"]))
        return torch.addmm(p["output.bias"], h, p["output.weight"])
    if network == "mlp":
        h = z @ p["squash.z.weight"] + xp @ p["squash.x.weight"] + e @ p["squash.t.weight"]
        for k in range(1, BLOCKS):
            h = F.dropout(F.silu(torch.addmm(p[f"hidden.{k}.bias"], h, p[f"hidden.{k}.weight"])), rate, rate > 0)
        return torch.addmm(p["output.bias"], h, p["output.weight"])
    h = z @ p["stem.z.weight"] + xp @ p["stem.x.weight"] + e @ p["stem.t.weight"] + p["stem.bias"]
    for k in range(1, BLOCKS):
        u = torch.addmm(p[f"block.{k}.in.bias"], F.silu(h), p[f"block.{k}.in.weight"])
        u = u + xp @ p[f"block.{k}.x.weight"] + e @ p[f"block.{k}.t.weight"]
        u = F.dropout(F.silu(u), rate, rate > 0)
        h = h + torch.addmm(p[f"block.{k}.out.bias"], u, p[f"block.{k}.out.weight"])
    return torch.addmm(p["output.bias"], F.silu(h), p["output.weight"])


def train(case):
    network, batch, rate = case["network"], case["batch"], case["dropout"]
    x_all, label_all = map(torch.from_numpy, workload.two_moons(workload.ROWS))
    target_all = x_all if network == "field" else F.one_hot(label_all.long(), 2).float()
    p = {k: torch.nn.Parameter(torch.from_numpy(v)) for k, v in workload.initial_parameters(network).items()}
    optimizer = torch.optim.Adam(p.values(), lr=workload.LEARNING_RATE, fused=True)

    def loss(x, target):
        t = torch.rand(batch)
        noise = torch.randn(batch, 2)
        z = t[:, None] * target + (1 - t[:, None]) * noise
        prediction = field(network, p, z, x_branch(network, p, x, rate), time_features(network, t), rate)
        return F.mse_loss(prediction, target - noise)

    objective = torch.compile(loss) if COMPILE else loss
    order = iter(())
    steps = 40 if batch < 1024 else 4

    def run():
        nonlocal order
        for _ in range(steps):
            rows = next(order, None)
            if rows is None or len(rows) < batch:
                order = iter(torch.randperm(workload.ROWS).split(batch))
                rows = next(order)
            optimizer.zero_grad(set_to_none=True)
            objective(x_all[rows], target_all[rows]).backward()
            optimizer.step()

    return run, steps


def sample(case):
    network, rows, steps = case["network"], case["rows"], case["steps"]
    p = {k: torch.from_numpy(v) for k, v in workload.initial_parameters(network).items()}
    x = torch.from_numpy(workload.two_moons(rows)[0])
    start = torch.randn(rows, 2)

    def euler(z, xp, e):
        return z + field(network, p, z, xp, e, 0.0) / steps

    step = torch.compile(euler) if COMPILE else euler

    def run():
        with torch.inference_mode():
            xp = x_branch(network, p, x, 0.0)
            features = time_features(network, torch.arange(steps) / steps)
            z = start
            for e in features:
                z = step(z, xp, e)

    return run, 1


def convolutions():
    layers, inputs = [], 1
    for outputs in workload.CHANNELS:
        pool = torch.nn.AdaptiveAvgPool2d(1) if outputs == workload.CHANNELS[-1] else torch.nn.MaxPool2d(2)
        layers += [torch.nn.Conv2d(inputs, outputs, 3, padding=1), torch.nn.ReLU(), pool]
        inputs = outputs
    return torch.nn.Sequential(*layers, torch.nn.Flatten())


def images(rows):
    return torch.randn(rows, 1, workload.IMAGE_SIDE, workload.IMAGE_SIDE)


def dense(*widths):
    layers = []
    for inputs, outputs in zip(widths, widths[1:]):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def train_images(case):
    width = workload.IMAGE_HIDDEN
    network = torch.nn.Sequential(convolutions(), dense(workload.CHANNELS[-1], width, width, workload.CLASSES))
    optimizer = torch.optim.Adam(network.parameters(), lr=workload.LEARNING_RATE, fused=True)
    model = torch.compile(network) if COMPILE else network
    x, label = images(case["batch"]), torch.arange(case["batch"]) % workload.CLASSES
    target = F.one_hot(label, workload.CLASSES).float()

    def run():
        optimizer.zero_grad(set_to_none=True)
        F.mse_loss(model(x), target).backward()
        optimizer.step()

    return run, 1


def sample_images(case):
    width, classes, steps = workload.IMAGE_HIDDEN, workload.CLASSES, case["steps"]
    branch = convolutions()
    head = dense(workload.CHANNELS[-1] + classes + workload.IMAGE_TIME, width, width, classes)
    x, start = images(case["rows"]), torch.randn(case["rows"], classes)
    frequencies = torch.pi * torch.arange(1, workload.IMAGE_TIME // 2 + 1, dtype=torch.float32)

    def euler(z, t):
        angle = (t * frequencies).expand(len(z), -1)
        return z + head(torch.cat([branch(x), z, torch.sin(angle), torch.cos(angle)], 1)) / steps

    step = torch.compile(euler) if COMPILE else euler

    def run():
        with torch.inference_mode():
            z = start
            for t in torch.arange(steps) / steps:
                z = step(z, t)

    return run, 1


def prepare(case):
    if case["network"] == "cnn":
        return train_images(case) if case["bench"] == "train-step" else sample_images(case)
    return train(case) if case["bench"] == "train-step" else sample(case)


worker.serve(prepare)
