"""Estimates the peak memory of a training step from the shapes the code allocates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..engine.footprint import WIDE
from ..optim import Adam, Optimizer


class Plan(NamedTuple):
    """Memory at the peak of a training step, in bytes, as `Sequential.plan` estimates it.

    Attributes
    ----------
    parameters, gradients : int
        Parameters of the model and their gradients.
    optimizer : int
        State of the optimiser.
    tape : int
        Arrays that the forward pass saves for the backward pass, and the outputs of the layers.
    workspace : int
        Everything else: packed weights, scratch, and gradients passed between layers.
    """

    parameters: int
    gradients: int
    optimizer: int
    tape: int
    workspace: int

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return sum(self)

    def __str__(self):
        parts = ", ".join(
            f"{name} {size / 1e6:,.1f}"
            for name, size in zip(self._fields, self, strict=True)
            if size
        )
        return f"{self.total / 1e6:,.1f} MB: {parts}"


def plan_slots(optimizer: Any) -> int:
    """Return the number of vectors of an optimiser's state; of Adam for None."""
    if optimizer is None:
        optimizer = Adam()
    checks.instance(optimizer, Optimizer, "optimizer", "an Optimizer such as optim.Adam()")
    return len(optimizer.slots)


def plan(
    parts: Sequence[tuple[Any, int]],
    N: int,
    training: bool,
    ragged: bool,
    slots: int,
    memories: Sequence[int] = (),
) -> Plan:
    """Estimate the peak memory of models that run one after the other.

    Parameters
    ----------
    parts : sequence of (Sequential, int)
        The models and the number of time steps of each.
    N : int
        Batch size.
    training : bool
        Whether to plan a training step rather than a forward pass.
    ragged : bool
        Whether lengths are given.
    slots : int
        Number of vectors of the size of the parameters that the optimiser keeps.
    memories : sequence of int
        Layers of the last part that attend to the output of the part before, at all its steps.

    Returns
    -------
    Plan
        Sizes in bytes.
    """
    N = checks.size(N, "N")
    training, ragged = checks.flag(training, "training"), checks.flag(ragged, "ragged")
    size = parts[0][0].dtype.itemsize
    weights = parts[0][0].weights
    if training and weights not in ("float32", "float64"):
        raise TypeError(f"training must be False: {weights} weights cannot be trained")
    parameters = sum(model.nbytes for model, _ in parts)
    footprints = []  # pairs: footprint of a layer, whether it attends to the previous part
    stays = []  # whether the output of each layer is in memory until its backward pass
    memory = 0  # bytes of the gradient of the memory that is attended to
    for number, (model, T) in enumerate(parts):
        wiring, widths, tables = model._wiring, model._widths, {}
        steps = _steps(model, checks.size(T, "T"))
        for k, layer in enumerate(model.layers):
            attends = number and k in memories
            more = {"memory": parts[number - 1][1]} if attends else {}
            read, v = wiring.reads[k], wiring.value(k)
            width = tuple(widths[i] or 1 for i in read) if layer.joins else widths[read[0]]
            T, table = steps[read[0]], tables.get(read[0])
            with checks.naming(model.where(k)):
                f = layer.footprint(T, N, width, model.dtype, ragged, training, table, **more)
            if attends:
                memory = more["memory"] * N * layer.memory_size * size
            if model.passes_lookup(k):
                f = f._replace(output=0, dx=0)
            footprints.append((f, attends))
            if model.passes_lookup(k):
                tables[v] = layer.rows
            is_output = v in wiring.outputs.values() and (number + 1 == len(parts) or memories)
            kept = any(model[j].keeps_input(ragged) for j in wiring.readers[v])
            stays.append(kept or bool(is_output))
    tape = peak = 0  # without parameters, gradients and optimiser
    for f, _ in footprints:
        peak = max(peak, tape + f.kept + f.output + f.forward)
        tape += f.kept + f.output
    if not training:
        return Plan(parameters, 0, 0, 0, peak)
    tape -= sum(f.output for (f, _), stay in zip(footprints, stays, strict=True) if not stay)
    ends = [(N * steps[v], v) for v in wiring.outputs.values()]
    rows = sum(n for n, _ in ends)  # of y
    loss = dy = sum(n * (widths[v] or 1) for n, v in ends) * size
    alive = {} if wiring.is_chain else _alive(model, steps, N)
    peak = max(peak, tape + loss + 2 * rows * WIDE)
    last_part = len(parts[-1][0])  # number of its layers
    tied = [sum(model.parameters[n].nbytes for n in model.tie.values()) for model, _ in parts]
    aside = 0  # gradient of the memory, on its way to the part before
    for k, (f, attends) in enumerate(reversed(footprints)):
        if k == last_part:
            dy, aside = aside, 0
        passed = dy + f.dx if k else f.dx
        if alive:
            passed = alive[last_part - 1 - k] + f.dx
        attended = memory if attends else 0
        own = tied[-1] if k < last_part else tied[0]  # gradients that are summed at the end
        peak = max(peak, tape + loss + passed + aside + attended + f.backward + own)
        dy, aside = f.dx or dy, memory if attends else aside
    peak += memory  # the memory of the previous update lives until this update has its own
    return Plan(parameters, parameters, slots * parameters, tape, peak - tape)


def _steps(model: Any, T: int) -> list[int]:
    """Return the number of time steps of each value, 1 without an axis of time."""
    found = [T] * len(model._wiring.inputs)
    for layer, read in zip(model.layers, model._wiring.reads, strict=True):
        T = found[read[0]]
        found.append(
            int(np.max(layer.output_lengths(np.array([T])))) if layer.returns_sequence else 1
        )
    return found


def _alive(model: Any, steps: list[int], N: int) -> dict[int, int]:
    """Return for each layer the bytes of the gradients of values while its `backward` runs."""
    wiring, size = model._wiring, model.dtype.itemsize
    sizes = [
        N * count * (width or 1) * size for width, count in zip(model._widths, steps, strict=True)
    ]
    held, found = set(wiring.outputs.values()), {}
    for k in reversed(range(len(model))):
        sums = [v for v in wiring.reads[k] if v in held]  # a sum needs an array of its own
        found[k] = sum(sizes[v] for v in held) + sum(sizes[v] for v in sums)
        held.discard(wiring.value(k))
        held.update(wiring.reads[k])
    return found
