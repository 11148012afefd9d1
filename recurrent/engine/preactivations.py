"""Pre-activations of a recorded run and their gradients, recomputed for pictures and recordings.

The kernels have these values in registers only. Names are those of the cell's graph: "i" is the sum
that gate i is computed from; "n.x" and "n.h" are the two parts of a sum where a cell keeps them
apart, as the GRU does for its candidate.
"""

from __future__ import annotations

import numpy as np

from ..equations.cell import Cell
from ..equations.expressions import evaluate
from ..kernels import reference
from .bidirectional import REVERSE, DirectionTapes, named
from .params import kernel_params, sizes_of, trim_states
from .tape import Tape


def names(cell: Cell) -> list[str]:
    """Return the name of each accumulator, in order."""
    gates = [a.gate for a in cell.accumulators]
    return [
        a.gate if gates.count(a.gate) == 1 else f"{a.gate}.{'x' if a.x else 'h'}"
        for a in cell.accumulators
    ]


def preactivations(tape: Tape | DirectionTapes) -> dict[str, np.ndarray]:
    """Return each pre-activation, (T, N, H), equal to the kernel's up to rounding."""
    if isinstance(tape, DirectionTapes):
        return named(*(preactivations(one) for one in tape))
    cell = tape.cell
    W_ih, W_hh, b_ih, b_hh = kernel_params(cell, tape.params)[:4]
    x = tape.x if tape.ids is None else tape.x[tape.ids[1]]
    H, h = sizes_of(cell, tape.params).H, _previous_rows(tape, tape.h_rows)
    out = {}
    for name, a in zip(names(cell), cell.accumulators, strict=True):
        total = np.zeros((len(x), H), x.dtype)
        for used, rows, W, b, gates in (
            (a.x, x, W_ih, b_ih, cell.x_rows),
            (a.h, h, W_hh, b_hh, cell.h_gates),
        ):
            if used:
                block = slice(gates.index(a.gate) * H, (gates.index(a.gate) + 1) * H)
                total += rows @ W[block].T + b[block]
        out[name] = tape.public(total)
    return out


def gradients(tape: Tape | DirectionTapes, dstates: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return dL/d(pre-activation), (T, N, H) each.

    `dstates`: dL/d(state) after every step, as `Engine.backward` writes it to `state_gradients`.
    """
    if isinstance(tape, DirectionTapes):
        halves = [
            {s: dstates[f"{s}{end}"] for s in tape.forward.cell.states} for end in ("", REVERSE)
        ]
        return named(*(gradients(one, d) for one, d in zip(tape, halves, strict=True)))
    cell, b, layout = tape.cell, tape.cell.backward, tape.layout
    T, N, dtype = layout.T, layout.width, tape.h_rows.dtype
    buffers = trim_states(cell, (tape.h_rows, *tape.state_rows), tape.h_rows.shape[1])
    saved = tape.saved_rows.swapaxes(0, 1)
    known = reference.node_values(cell, [e for _, e in b.saved], saved, tape.h_rows)
    known |= {cell.values[s]: a[layout.N :] for s, a in zip(cell.states, buffers, strict=True)}
    known |= {e: _previous_rows(tape, a) for e, a in zip(cell.previous, buffers, strict=True)}
    weights = reference.Weights(cell, kernel_params(cell, tape.params))
    known |= dict(zip(cell.parameter_inputs, weights.parameters, strict=True))
    products = weights.products
    total = [layout.pack(dstates[s].reshape(T, N, -1)) for s in cell.states]
    # `total` includes the effect of a state on the other states of its step, but the equations of
    # `backward` start from gradients without it. Each round removes the effect through one state.
    external = total
    for _ in cell.states:
        inputs = known | dict(zip(b.d_new, external, strict=True))
        within = evaluate(b.d_states, inputs, dtype, products)
        external = [t - (w - d) for t, w, d in zip(total, within, external, strict=True)]
    inputs = known | dict(zip(b.d_new, external, strict=True))
    values = evaluate(b.d_accumulators, inputs, dtype, products)
    shape = len(total[0]), weights.H
    return {
        n: tape.public(np.broadcast_to(v, shape)) for n, v in zip(names(cell), values, strict=True)
    }


def _previous_rows(tape, rows):
    """Return the rows of a state before each step."""
    previous = tape.layout.previous
    return rows[previous] if previous.size else rows[: tape.layout.S]
