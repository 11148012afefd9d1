"""The adaptor of recurrent itself; its thread count is NUMBA_NUM_THREADS of the process."""

from __future__ import annotations

from itertools import cycle

import numpy as np

import recurrent
from recurrent.charlm.sampling import sample_id
from recurrent.engine.bidirectional import Bidirectional, Directions
from recurrent.engine.stepping import Stepper
from recurrent.layers.attention import Memory
from recurrent.losses import softmax_cross_entropy
from recurrent.optim import Adam, clip_norm

from ..results import VARIANTS
from ..workloads.catalogue import EVERY_CELL, SCORES
from ..workloads.models import load
from .engine import Engine


class Ours(Engine):
    name, package, module = "recurrent", "recurrent-engine", "recurrent"
    cells = (*EVERY_CELL, *SCORES)
    weights = ("", "int8")

    def kind(self, workload):
        """Return the kind of weights to pack; None for those of the dtype."""
        return workload.weights or None

    def layer(self, workload, data):
        """Return a bidirectional layer with the workload's weights."""
        make = getattr(recurrent, workload.cell.upper())
        layer = make(workload.D, workload.H, bidirectional=True)
        layer.initialise(dtype=workload.dtype)
        for p, a in zip(
            layer.parameters.values(),
            [a for direction in data.params for a in direction],
            strict=True,
        ):
            p[:] = a
        return layer

    def forward(self, workload, data):
        engine = workload.engine
        # The weights are packed once, as ONNX Runtime does when it creates a session.
        packed = [engine.pack(p, self.kind(workload)) for p in data.params]
        if workload.directions == 2:
            layer, directions = Bidirectional(engine, "concat"), Directions(*packed)
            return lambda: layer.forward(data.x, directions)[0]
        return lambda: engine.forward(data.x, packed[0], lengths=data.lengths)[0]

    def train(self, workload, data):
        if workload.directions == 2:
            return self.train_bidirectional(workload, data)
        engine, params = workload.engine, data.params[0]

        def train():
            y, _, tape = engine.forward(data.x, params, lengths=data.lengths, record=True)
            dx, dparams, _ = engine.backward(data.dy, tape)
            return y, dx, *dparams

        return train

    def train_bidirectional(self, workload, data):
        layer = self.layer(workload, data)

        def train():
            y, _, tape = layer.forward(data.x, record=True)
            dx, grads, _ = layer.backward(data.dy, tape)
            return y, dx, *grads.values()

        return train

    def step(self, workload, data):
        if workload.weights:
            packed = workload.engine.pack(data.params[0], self.kind(workload))
            stepper, x_t = Stepper(packed, workload.engine.dtypes), data.x[0]
            return lambda: stepper(x_t)
        layer = recurrent.Recurrent(workload.engine.cell, workload.D, workload.H)
        layer.initialise(dtype=workload.dtype)
        for p, a in zip(layer.parameters.values(), data.params[0], strict=True):
            p[:] = a
        stream, x_t = layer.stream(), data.x[0]
        return lambda: stream.step(x_t)

    def step_model(self, workload, data):
        stream, x_t = load(workload.model(), data.parameters).stream(), data.x
        return lambda: stream.step(x_t)

    def update(self, workload, data):
        model, windows, state = load(workload.model(), data.parameters), cycle(data.windows), None
        apply_update = updater(model, workload)

        def update():
            nonlocal state
            x, targets = next(windows)
            y, state, tape = model.forward(x, state, record=True)
            return apply_update(tape, *softmax_cross_entropy(y, targets))

        return update

    def sample(self, workload, data):
        model, kind = load(workload.model(), data.parameters), self.kind(workload)
        stream = (model.quantize(kind) if kind else model).stream()
        logits, rng = np.empty((workload.T, workload.V), np.float32), np.random.default_rng(0)

        def sample():
            stream.reset()
            for t, k in enumerate(data.ids):
                logits[t] = stream.step(k)
                sample_id(logits[t], rng)
            return logits

        return sample

    def attend(self, workload, data):
        layer, memory = load(workload.layer(), data.parameters), Memory(data.memory, data.lengths)

        def train():
            y, _, tape = layer.forward(data.x, memory, record=True)
            dx, grads, dmemory = layer.backward(data.dy, tape)
            return y, dx, dmemory.values, *grads.values()

        return train if workload.task == "train" else lambda: layer.forward(data.x, memory)[0]

    def translate(self, workload, data):
        model = load(workload.model(), data.parameters)
        apply_update = updater(model, workload)

        def update():
            y, _, tape = model.forward(
                (data.source, data.decoder_input), lengths=data.lengths, record=True
            )
            return apply_update(
                tape, *softmax_cross_entropy(y, data.targets, model.output_lengths(data.lengths))
            )

        return update

    def decode(self, workload, data):
        model = load(workload.model(), data.parameters)

        def decode():
            output = model.generate(data.source, max_steps=workload.T)
            return output.scores[:, 0], output.ids[..., 0]

        return decode


class Variant(Ours):
    """Recurrent on rows of quantised weights, with the weights that its name says."""

    weights = ("int8",)

    def __init__(self, name: str, threads: int):
        super().__init__(threads)
        self.name = name

    def kind(self, workload):
        weights = VARIANTS[self.name]
        return None if weights == workload.dtype else weights


def updater(model, workload):
    """Return a function (tape, loss, dy) -> loss that runs backward and updates the model."""
    optimizer, gradient = Adam(lr=workload.lr), np.empty_like(model.flat)

    def apply_update(tape, loss, dy):
        model.backward(dy, tape, out=gradient)
        clip_norm(gradient, workload.clip)
        optimizer.update(model.flat, gradient)
        return loss

    return apply_update
