"""The memory of a training step, said beforehand from the shapes that the code itself allocates by."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from . import checks, optim

if TYPE_CHECKING:
    from .model import Sequential

WIDE = 8  # bytes of an id, an index and a loss


class Footprint(NamedTuple):
    """What a layer takes in a training step, in bytes."""

    kept: int  # by its tape, besides its input
    output: int  # y, where the tape does not hold it anyway
    forward: int  # at most, besides, while `forward` runs
    backward: int  # at most, besides dy and dx, while `backward` runs
    dx: int


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
        parts = ", ".join(f"{name} {size / 1e6:,.1f}" for name, size in zip(self._fields, self, strict=True) if size)
        return f"{self.total / 1e6:,.1f} MB: {parts}"


def plan(model: Sequential, T: int, N: int, training: bool, ragged: bool, optimizer: optim.Optimizer | None) -> Plan:
    """What `Sequential.plan` returns."""
    T, N = checks.size(T, "T"), checks.size(N, "N")
    size = model.dtype.itemsize
    parameters = model.flat.nbytes
    width, table, found = model[0].inputs, None, []
    for k, layer in enumerate(model.layers):
        with checks.naming(model.where(k)):
            found.append(layer.footprint(T, N, width, model.dtype, ragged, training, table))
        width, T = layer.outputs or width, T if layer.leaves_time else 1
        table = layer.rows if model.writes_nothing(k) else None
        if table is not None:
            found[-1] = found[-1]._replace(output=0, dx=0)
    tape = peak = 0  # of what is live besides parameters and the like
    for f in found:
        peak = max(peak, tape + f.kept + f.output + f.forward)
        tape += f.kept + f.output
    if not training:
        return Plan(parameters, 0, 0, 0, peak)
    kept = [model[k + 1].keeps_input(ragged) for k in range(len(model) - 1)] + [True]
    tape -= sum(f.output for f, stays in zip(found, kept, strict=True) if not stays)
    rows = T * N  # of y
    loss = dy = rows * (width or 1) * size
    peak = max(peak, tape + loss + 2 * rows * WIDE)
    for f in reversed(found):
        on_their_way = dy + f.dx if dy is not loss else f.dx
        peak = max(peak, tape + loss + on_their_way + f.backward)
        dy = f.dx
    slots = len((optimizer or optim.Adam()).slots)
    return Plan(parameters, parameters, slots * parameters, tape, peak - tape)
