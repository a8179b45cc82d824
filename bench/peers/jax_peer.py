"""The work in JAX as a good user writes it: one jitted scan over many steps, donated state, data on the device, no
read-back inside. XLA fuses as it likes."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp

import worker
import workload

BLOCKS = len(workload.HIDDEN["mlp"])


def time_features(network, t):
    angle = jnp.pi * jnp.arange(1, workload.TIME[network] // 2 + 1, dtype=jnp.float32) * t[..., None]
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)


def x_branch(network, p, x, drop):
    if network == "field":
        return None
    for k in range(BLOCKS):
        x = drop(jax.nn.swish(x @ p[f"x.{k}.weight"] + p[f"x.{k}.bias"]))
    return x


def field(network, p, z, xp, e, drop):
    """The network after its x-branch; e [rows][time] or [time]."""
    if network == "field":
        h = jax.nn.swish(z @ p["squash.z.weight"] + (e @ p["squash.t.weight"] + p["squash.bias"]))
        for k in range(1, len(workload.HIDDEN[network])):
            h = jax.nn.swish(h @ p[f"hidden.{k}.weight"] + p[f"hidden.{k}.bias"])
        return h @ p["output.weight"] + p["output.bias"]
    if network == "mlp":
        h = z @ p["squash.z.weight"] + xp @ p["squash.x.weight"] + e @ p["squash.t.weight"]
        for k in range(1, BLOCKS):
            h = drop(jax.nn.swish(h @ p[f"hidden.{k}.weight"] + p[f"hidden.{k}.bias"]))
        return h @ p["output.weight"] + p["output.bias"]
    h = z @ p["stem.z.weight"] + xp @ p["stem.x.weight"] + e @ p["stem.t.weight"] + p["stem.bias"]
    for k in range(1, BLOCKS):
        u = jax.nn.swish(h) @ p[f"block.{k}.in.weight"] + p[f"block.{k}.in.bias"]
        u += xp @ p[f"block.{k}.x.weight"] + e @ p[f"block.{k}.t.weight"]
        h = h + drop(jax.nn.swish(u)) @ p[f"block.{k}.out.weight"] + p[f"block.{k}.out.bias"]
    return jax.nn.swish(h) @ p["output.weight"] + p["output.bias"]


def dropout(rate, key, batch):
    """A function that drops, differently at every call; identity for rate 0. The random numbers of all layers are drawn at
    once and four layers share a 32-bit word, a byte each: on a CPU that is several times faster than a draw per layer."""
    if rate == 0:
        return lambda h: h
    words = jax.random.bits(key, ((2 * BLOCKS + 2) // 4, batch, workload.HIDDEN["mlp"][0]), jnp.uint32)
    threshold = round(rate * 256)
    layer = itertools.count()

    def drop(h):
        number = next(layer)
        byte = (words[number // 4] >> (8 * (number % 4))) & 0xFF
        return jnp.where(byte >= threshold, h * (256 / (256 - threshold)), 0)

    return drop


def train(case):
    network, batch, rate = case["network"], case["batch"], case["dropout"]
    x_all, label_all = map(jnp.asarray, workload.two_moons(workload.ROWS))
    steps_per_epoch = workload.ROWS // batch
    chunk_epochs = max(1, round(100 / steps_per_epoch) if batch < 1024 else 20 // steps_per_epoch)

    def loss(p, x, label, key):
        key_t, key_e, key_d = jax.random.split(key, 3)
        drop = dropout(rate, key_d, batch)
        t = jax.random.uniform(key_t, (batch,))
        noise = jax.random.normal(key_e, (batch, 2))
        target = x if network == "field" else jax.nn.one_hot(label, 2)
        z = t[:, None] * target + (1 - t[:, None]) * noise
        prediction = field(network, p, z, x_branch(network, p, x, drop), time_features(network, t), drop)
        return jnp.mean((prediction - (target - noise)) ** 2)

    def step(state, rows):
        p, m, v, count, key = state
        key, now = jax.random.split(key)
        value, g = jax.value_and_grad(loss)(p, x_all[rows], label_all[rows], now)
        count += 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        a, b = 1 - 0.9**count, 1 - 0.999**count
        p = jax.tree.map(lambda p, m, v: p - workload.LEARNING_RATE * (m / a) / (jnp.sqrt(v / b) + 1e-8), p, m, v)
        return (p, m, v, count, key), value

    def epoch(state, _):
        *rest, key = state
        key, now = jax.random.split(key)
        rows = jax.random.permutation(now, workload.ROWS)[: steps_per_epoch * batch].reshape(steps_per_epoch, batch)
        return jax.lax.scan(step, (*rest, key), rows)

    @partial(jax.jit, donate_argnums=0)
    def chunk(state):
        return jax.lax.scan(epoch, state, None, length=chunk_epochs)

    parameters = jax.tree.map(jnp.asarray, workload.initial_parameters(network))
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    state = [(parameters, zeros, jax.tree.map(jnp.copy, zeros), jnp.float32(0), jax.random.key(0))]

    def run():
        state[0], losses = chunk(state[0])
        jax.block_until_ready(losses)

    return run, chunk_epochs * steps_per_epoch


def sample(case):
    network, rows, steps = case["network"], case["rows"], case["steps"]
    parameters = jax.tree.map(jnp.asarray, workload.initial_parameters(network))
    x = jnp.asarray(workload.two_moons(rows)[0])

    def keep(h):
        return h

    @jax.jit
    def solve(p, x, z):
        xp = x_branch(network, p, x, keep)
        features = time_features(network, jnp.arange(steps) / steps)

        def step(z, e):
            return z + field(network, p, z, xp, e, keep) / steps, None

        return jax.lax.scan(step, z, features)[0]

    start = jax.random.normal(jax.random.key(0), (rows, 2))
    return lambda: jax.block_until_ready(solve(parameters, x, start)), 1


worker.serve(lambda case: train(case) if case["bench"] == "train-step" else sample(case))
