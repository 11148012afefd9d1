"""Pre-activations of a recorded run, and their gradients: what the kernels had in registers, computed again for people.

By name as in the cell's graph: "i" for the sum that gate i is computed from; "n.x" and "n.h" where a cell keeps the two
parts of a sum apart, as the GRU does for its candidate.
"""

from __future__ import annotations

import numpy as np

from ..equations.cell import Cell
from ..equations.expressions import evaluate
from ..kernels import reference
from .bidirectional import DirectionTapes, named
from .engine import Engine
from .tape import Tape, as_wide


def names(cell: Cell) -> list[str]:
    """One for each accumulator, in order."""
    gates = [a.gate for a in cell.accumulators]
    return [
        a.gate if gates.count(a.gate) == 1 else f"{a.gate}.{'x' if a.x else 'h'}"
        for a in cell.accumulators
    ]


def preactivations(tape: Tape | DirectionTapes) -> dict[str, np.ndarray]:
    """Each (T, N, H), to rounding what the kernel had."""
    if isinstance(tape, DirectionTapes):
        return named(*(preactivations(one) for one in tape))
    cell = tape.cell
    engine = Engine(cell)
    W_ih, W_hh, b_ih, b_hh = engine.with_biases(tape.params)[:4]
    x = tape.x if tape.ids is None else tape.x[tape.ids[1]]
    H, before = engine.sizes(tape.params).H, _before(tape, tape.h_rows)
    out = {}
    for name, a in zip(names(cell), cell.accumulators, strict=True):
        total = np.zeros((len(x), H), x.dtype)
        for used, rows, W, b, gates in (
            (a.x, x, W_ih, b_ih, cell.x_gates),
            (a.h, before, W_hh, b_hh, cell.h_gates),
        ):
            if used:
                block = slice(gates.index(a.gate) * H, (gates.index(a.gate) + 1) * H)
                total += rows @ W[block].T + b[block]
        out[name] = tape.public(total)
    return out


def gradients(tape: Tape | DirectionTapes, dstates: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """dL/d(pre-activation), each (T, N, H), from dL/d(state) after every step as `Engine.backward` gives it in `state_gradients`."""
    if isinstance(tape, DirectionTapes):
        halves = [
            {s: dstates[f"{s}{end}"] for s in tape.forward.cell.states} for end in ("", "_reverse")
        ]
        return named(*(gradients(one, d) for one, d in zip(tape, halves, strict=True)))
    cell, b, layout = tape.cell, tape.cell.backward, tape.layout
    T, N = layout.T, layout.N
    buffers = dict(
        zip(
            cell.states,
            as_wide(cell, (tape.h_rows, *tape.rest_rows), tape.h_rows.shape[1]),
            strict=True,
        )
    )
    known = reference.fitting(
        cell, [e for _, e in b.saved], tape.saved_rows.swapaxes(0, 1), tape.h_rows
    )
    known |= {cell.values[s]: a[N:] for s, a in buffers.items()}
    known |= {e: _before(tape, a) for e, a in zip(cell.previous, buffers.values(), strict=True)}
    params, dtype = Engine(cell).with_biases(tape.params), tape.h_rows.dtype
    weights = reference.Weights(cell, params)
    known |= dict(zip(cell.parameter_inputs, weights.parameters, strict=True))
    products = weights.products
    total = [layout.pack(dstates[s].reshape(T, N, -1)) for s in cell.states]
    # `total` counts what a state does within its step, the equations of `backward` start from what comes from outside.
    # Each round takes away the part that goes through one more state.
    d = total
    for _ in cell.states:
        within = evaluate(b.d_states, known | dict(zip(b.d_new, d, strict=True)), dtype, products)
        d = [t - (w - e) for t, w, e in zip(total, within, d, strict=True)]
    values = evaluate(b.d_accumulators, known | dict(zip(b.d_new, d, strict=True)), dtype, products)
    shape = len(total[0]), weights.H
    return {
        n: tape.public(np.broadcast_to(v, shape)) for n, v in zip(names(cell), values, strict=True)
    }


def _before(tape, rows):
    """The rows of a state before each step."""
    previous = tape.layout.previous
    return rows[previous] if previous.size else rows[: tape.layout.S]
