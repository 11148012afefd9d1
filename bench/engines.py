"""One adaptor an engine: `prepare(workload, data)` returns a function that does the work and gives its results back.

Results are y for forward, and (y, dx, dW_ih, dW_hh, db_ih, db_hh) for train: compared before anything is timed. Each
engine runs on its documented fast path with `threads` threads.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import numpy as np

import recurrent

from .workloads import Data, Workload


class Ours:
    """This engine."""

    name, package = "recurrent", "recurrent-engine"

    def __init__(self, threads: int):
        import numba

        numba.set_num_threads(threads)

    def prepare(self, workload: Workload, data: Data) -> Callable:
        engine = getattr(recurrent, workload.cell)
        if workload.task == "forward":
            packed = engine.pack(data.params)  # inference with weights that stay, as ONNX Runtime's session has them
            return lambda: engine.forward(data.x, packed)[0]

        def train():
            y, _, tape = engine.forward(data.x, data.params, record=True)
            dx, dparams, _ = engine.backward(data.dy, tape)
            return y, dx, *dparams

        return train


class Torch:
    """PyTorch: torch.nn layers, inference mode for forward, autograd for train."""

    name, package = "torch", "torch"

    def __init__(self, threads: int):
        import torch

        torch.set_num_threads(threads)
        self.torch = torch

    def prepare(self, workload: Workload, data: Data) -> Callable:
        torch = self.torch
        layer = getattr(torch.nn, workload.cell.upper())(workload.D, workload.H)
        with torch.no_grad():
            for p, a in zip(layer.parameters(), data.params, strict=True):
                p.copy_(torch.from_numpy(a))
        x, dy = torch.from_numpy(data.x.copy()), torch.from_numpy(data.dy)
        if workload.task == "forward":

            def forward():
                with torch.inference_mode():
                    return layer(x)[0].numpy()

            return forward
        x.requires_grad_()

        def train():
            x.grad = None
            layer.zero_grad(set_to_none=True)
            y = layer(x)[0]
            y.backward(dy)
            return y.detach().numpy(), x.grad.numpy(), *[p.grad.numpy() for p in layer.parameters()]

        return train


ONNX_GATES = {"lstm": [0, 3, 1, 2], "gru": [1, 0, 2], "rnn": [0]}  # our gates in ONNX's order


class OnnxRuntime:
    """ONNX Runtime: one operator node, all optimisations; inference only."""

    name, package = "onnxruntime", "onnxruntime"

    def __init__(self, threads: int):
        import onnx
        import onnxruntime

        self.onnx, self.runtime, self.threads = onnx, onnxruntime, threads

    def prepare(self, workload: Workload, data: Data) -> Callable | None:
        if workload.task != "forward":
            return None
        helper, order, H = self.onnx.helper, ONNX_GATES[workload.cell], workload.H
        W_ih, W_hh, b_ih, b_hh = (a.reshape(-1, H, *a.shape[1:])[order].reshape(a.shape)[None] for a in data.params)
        weights = {"W": W_ih, "R": W_hh, "B": np.concatenate([b_ih, b_hh], 1)}
        attributes = {"linear_before_reset": 1} if workload.cell == "gru" else {}
        node = helper.make_node(workload.cell.upper(), ["X", *weights], ["Y"], hidden_size=H, **attributes)
        floats = self.onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            [node],
            "cell",
            [helper.make_tensor_value_info("X", floats, data.x.shape)],
            [helper.make_tensor_value_info("Y", floats, None)],
            [self.onnx.numpy_helper.from_array(a, n) for n, a in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        # Its threads would spin on after its own turn and take a core from the engine that is timed next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = self.runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"X": data.x})[0][:, 0]


def textbook(xp, cell: str, H: int) -> Callable:
    """A step (x part, h part, h, c) -> (h, c) of the textbook's equations on whole vectors; `xp` is numpy or jax.numpy."""

    def sigmoid(a):
        return 0.5 * xp.tanh(0.5 * a) + 0.5

    def lstm(a, u, h, c):
        i, f, g, o = xp.split(a + u, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * xp.tanh(g)
        return sigmoid(o) * xp.tanh(c), c

    def gru(a, u, h, c):
        r, z = xp.split(sigmoid(a[:, : 2 * H] + u[:, : 2 * H]), 2, axis=1)
        return (1 - z) * xp.tanh(a[:, 2 * H :] + r * u[:, 2 * H :]) + z * h, c

    def rnn(a, u, h, c):
        return xp.tanh(a + u), c

    return {"lstm": lstm, "gru": gru, "rnn": rnn}[cell]


class Jax:
    """JAX: the textbook loop under jit and scan, its gradients by vjp."""

    name, package = "jax", "jax"

    def __init__(self, threads: int):
        import jax

        self.jax = jax

    def prepare(self, workload: Workload, data: Data) -> Callable:
        jax = self.jax
        step = textbook(jax.numpy, workload.cell, workload.H)

        def sequence(x, params):
            W_ih, W_hh, b_ih, b_hh = params
            zeros = jax.numpy.zeros((workload.N, workload.H), x.dtype)

            def scanned(state, a):
                h, c = step(a, state[0] @ W_hh.T + b_hh, *state)
                return (h, c), h

            return jax.lax.scan(scanned, (zeros, zeros), x @ W_ih.T + b_ih)[1]

        @jax.jit
        def train(x, params, dy):
            y, pull = jax.vjp(sequence, x, params)
            dx, dparams = pull(dy)
            return y, dx, *dparams

        x, params, dy = jax.device_put((data.x, tuple(data.params), data.dy))
        if workload.task == "train":
            return lambda: jax.block_until_ready(train(x, params, dy))
        forward = jax.jit(sequence)
        return lambda: jax.block_until_ready(forward(x, params))


class NumPy:
    """The textbook loop on NumPy's matrix product; forward only."""

    name, package = "numpy", "numpy"

    def __init__(self, threads: int):
        self.threads = threads

    def prepare(self, workload: Workload, data: Data) -> Callable | None:
        if workload.task != "forward":
            return None
        W_ih, W_hh, b_ih, b_hh = data.params
        U, step = np.ascontiguousarray(W_hh.T), textbook(np, workload.cell, workload.H)

        def forward():
            inputs = data.x @ W_ih.T + b_ih
            h = c = np.zeros((workload.N, workload.H), np.float32)
            y = np.empty((workload.T, workload.N, workload.H), np.float32)
            for t in range(workload.T):
                h, c = step(inputs[t], h @ U + b_hh, h, c)
                y[t] = h
            return y

        return forward


ENGINES = [Ours, Torch, OnnxRuntime, Jax, NumPy]


def installed(threads: int) -> tuple[list, list[str]]:
    """Engines that can be had, and a line for each that cannot."""
    found, missing = [], []
    for engine in ENGINES:
        try:
            found.append(engine(threads))
        except ImportError as error:
            missing.append(f"{engine.name} is left out: {error}")
    return found, missing


def versions() -> dict[str, str]:
    """Of every engine's package that is installed."""
    out = {}
    for engine in ENGINES:
        try:
            out[engine.name] = version(engine.package)
        except PackageNotFoundError:
            out[engine.name] = "not installed as a package"
    return out
