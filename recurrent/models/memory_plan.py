"""Estimates the peak memory of a training step from the shapes the code allocates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .. import checks
from ..engine.footprint import WIDE
from .base import Model


class Plan(NamedTuple):
    """Bytes at the peak of a training step, as `Sequential.plan` says them beforehand."""

    parameters: int
    gradients: int
    optimizer: int
    tape: int  # what the forward pass leaves for backward, outputs included
    workspace: int  # all else: packed weights, scratch, gradients on their way between layers

    @property
    def total(self) -> int:
        return sum(self)

    def __str__(self):
        parts = ", ".join(
            f"{name} {size / 1e6:,.1f}"
            for name, size in zip(self._fields, self, strict=True)
            if size
        )
        return f"{self.total / 1e6:,.1f} MB: {parts}"


def plan(
    parts: list[tuple[Model, int]],
    N: int,
    training: bool,
    ragged: bool,
    slots: int,
    memories: Sequence[int] = (),
) -> Plan:
    """What `plan` of a model returns. `parts`: models that are run one after the other, and the steps of each.

    `slots`: vectors like the parameters that the optimiser keeps. `memories`: layers of the last part that attend to what the part before puts out, at all of its steps.
    """
    N = checks.size(N, "N")
    size = parts[0][0].dtype.itemsize
    parameters = sum(model.flat.nbytes for model, _ in parts)
    found, stays, memory = [], [], 0  # the last: bytes of the gradient of what is attended to
    for number, (model, T) in enumerate(parts):
        T, width, table = checks.size(T, "T"), model[0].in_features, None
        for k, layer in enumerate(model.layers):
            attends = number and k in memories
            more = {"memory": parts[number - 1][1]} if attends else {}
            with checks.naming(model.where(k)):
                f = layer.footprint(T, N, width, model.dtype, ragged, training, table, **more)
            if attends:
                memory = more["memory"] * N * layer.memory_size * size
            if model.passes_lookup(k):
                f = f._replace(output=0, dx=0)
            found.append((f, attends))
            width, T = layer.out_features or width, T if layer.returns_sequence else 1
            table = layer.rows if model.passes_lookup(k) else None
            stays.append(
                model[k + 1].keeps_input(ragged)
                if k + 1 < len(model)
                else number + 1 == len(parts) or bool(memories)
            )
    tape = peak = 0  # of what is live besides parameters and the like
    for f, _ in found:
        peak = max(peak, tape + f.kept + f.output + f.forward)
        tape += f.kept + f.output
    if not training:
        return Plan(parameters, 0, 0, 0, peak)
    tape -= sum(f.output for (f, _), kept in zip(found, stays, strict=True) if not kept)
    rows = T * N  # of y
    loss = dy = rows * (width or 1) * size
    peak = max(peak, tape + loss + 2 * rows * WIDE)
    ends = len(parts[-1][0])  # where the part before begins, from the end
    aside = 0
    for k, (f, attends) in enumerate(reversed(found)):
        if k == ends:
            dy, aside = aside, 0
        on_their_way = dy + f.dx if k else f.dx
        peak = max(
            peak, tape + loss + on_their_way + aside + (memory if attends else 0) + f.backward
        )
        dy, aside = f.dx or dy, memory if attends else aside
    peak += memory  # what was attended to in the update before: its state stays until this one's is there
    return Plan(parameters, parameters, slots * parameters, tape, peak - tape)
