"""Work that calls every kernel through the public functions; each returns its results as a list."""

import numpy as np
from numba import njit

from recurrent import Attention, Memory
from recurrent.engine.engine import Engine
from recurrent.kernels.codegen.tile import at, product_tiles
from recurrent.kernels.quantized import STORED
from recurrent.losses import softmax_cross_entropy
from recurrent.optim import Adam, clip_norm


def everything(p):
    """Forward, steps, and backward of a problem with a recording and without."""
    engine: Engine = p.engine
    y, final, tape = p.forward(record=True)
    state_gradients = {}
    dx, dparams, initial = engine.backward(p.dy, tape, p.dstate, state_gradients=state_gradients)
    stepper = engine.stepper(p.params)
    steps = [stepper(x_t) for x_t in p.x]
    plain, last, _ = p.forward()
    return [
        y,
        *final,
        *tape.gates.values(),
        dx,
        *dparams,
        *initial,
        *state_gradients.values(),
        *steps,
        *stepper.state,
        plain,
        *last,
        *(quantised(p) if p.x.dtype == np.float32 else ()),
    ]


def quantised(p, rounded=False):
    """Forward and steps with quantised weights; `rounded`: with their float32 values."""
    engine: Engine = p.engine
    found = []
    for kind in STORED:
        packed = engine.pack(p.params, weights=kind)
        params = packed.dequantized() if rounded else packed
        options = dict(lengths=p.lengths, reverse=p.case.reverse)
        y, state, _ = engine.forward(p.x, params, p.state, **options)
        found += [y, *state, *engine.step(p.x[0], p.state, params)]
    return found


def training(V, S, P, dtype):
    """Do the rest of a training step: the loss of some rows, gradient clipping, an update."""
    rng = np.random.default_rng(V + S)
    y, mask = rng.standard_normal((S, V)).astype(dtype), rng.random(S) < 0.7
    flat, gradient, optimizer = *rng.standard_normal((2, P)).astype(dtype), Adam(amsgrad=True)
    loss, dy = softmax_cross_entropy(y, rng.integers(0, V, S), mask=mask)
    norm = clip_norm(gradient, 0.1)
    optimizer.update(flat, gradient)
    return [np.array([loss, norm]), dy, gradient, flat, *optimizer.arrays.values()]


def attending(T, S, N, Q, M, dtype):
    """Run an attention layer forward and backward, with padding in its memory."""
    rng = np.random.default_rng(T + S)
    layer = Attention(Q, M, output_size=3).initialise(0, dtype)
    x, values = (
        rng.standard_normal((T, N, Q)).astype(dtype),
        rng.standard_normal((S, N, M)).astype(dtype),
    )
    y, _, tape = layer.forward(x, Memory(values, rng.integers(0, S + 1, N)), record=True)
    grads = layer.backward(np.cos(y), tape)
    return [y, tape.weights, grads.dx, grads.state.values, *grads.params.values()]


@njit
def add_outer(target, M, D, K, transposed, panels, out):
    sums, piece = at(out, 0), 8
    product_tiles(target, M, D, K, sums, D, at(transposed, 0), K, at(panels, 0), piece, sums, D)
