"""Two external oracles: ONNX Runtime for the forward pass, JAX for gradients in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import naive
from oracles.onnx import as_int32, onnx_run
from oracles.onnx_cases import blocks, conformance
from support.gradients import assert_gradients
from support.strategies import Case, cases, named

import recurrent
from recurrent import Engine
from recurrent.cells import CELLS, PYTORCH
from recurrent.conformance.tolerance import assert_close

# Operator, the order of our row blocks in ONNX (LSTM i o f c, GRU z r h), attributes.
ONNX = {
    "rnn": ("RNN", [0], {}),
    "rnn_relu": ("RNN", [0], {"activations": ["Relu"]}),
    "lstm": ("LSTM", [0, 3, 1, 2], {}),
    "gru": ("GRU", [1, 0, 2], {"linear_before_reset": 1}),
}


def onnx(name, x, params, state, lengths, direction):
    op, order, attributes = ONNX[name]
    W, R, wb, rb = (blocks(a, order)[None] for a in params)
    feeds = {
        "X": x,
        "W": W,
        "R": R,
        "B": np.concatenate([wb, rb], axis=1),
        "lens": as_int32(lengths),
    }
    feeds |= {f"initial_{s}": a[None] for s, a in (state._asdict() if state else {}).items()}
    return onnx_run(op, feeds, hidden_size=params.W_hh.shape[1], direction=direction, **attributes)


@pytest.mark.parametrize("engine", ONNX, indirect=True)
@given(st.data())
def test_forward_equals_onnxruntime(engine, data):
    p = data.draw(cases("float32")).build(engine)
    if p.lengths is not None and p.case.reverse:
        # ONNX Runtime leaves the result of a reversed sequence of length 0 undefined.
        p.lengths = np.maximum(p.lengths, 1)
    y, final, _ = p.forward()
    direction = "reverse" if p.case.reverse else "forward"
    their_y, their_final = onnx(engine.name, p.x, p.params, p.state, p.lengths, direction)
    size = max(1.0, np.abs(their_y).max())
    assert_close(y, their_y, p.terms, size, f"y in {p.case}")
    # For an empty sequence ONNX Runtime returns zeros, not the initial state.
    full = np.ones(p.case.N, bool) if p.lengths is None else p.lengths > 0
    for a, b in zip(final, their_final, strict=True):
        assert_close(
            a[full], b[full], p.terms, max(1.0, np.abs(b).max()), f"final state in {p.case}"
        )


def test_onnx_conformance_data():
    """Run the LSTM and RNN cases; the GRU case resets before the product, as ours does not."""
    tested = set()
    for name, (op, attributes, inputs, expected) in conformance().items():
        if op not in ("LSTM", "RNN") or "P" in inputs:
            continue
        engine, order = (recurrent.lstm, [0, 2, 3, 1]) if op == "LSTM" else (recurrent.rnn, [0])
        batch_first = attributes.get("layout", 0) == 1
        x = inputs["X"].swapaxes(0, 1) if batch_first else inputs["X"]
        W, R = inputs["W"], inputs["R"]
        b = inputs.get("B", np.zeros((len(W), 2 * W.shape[1]), np.float32)).reshape(len(W), 2, -1)
        directions = {b"reverse": [True], b"bidirectional": [False, True]}.get(
            attributes.get("direction"), [False]
        )
        runs = []
        for k, reverse in enumerate(directions):
            params = engine.Params(*[blocks(a, order) for a in (W[k], R[k], *b[k])])
            runs.append(engine.forward(x, params, reverse=reverse))
        produced = {"Y": np.stack([y for y, _, _ in runs], 1)}
        produced |= {
            f"Y_{s}": np.stack([getattr(final, s) for _, final, _ in runs])
            for s in engine.State._fields
        }
        for output, theirs in expected.items():
            mine = np.moveaxis(produced[output], -2, 0) if batch_first else produced[output]
            assert_close(
                mine, theirs, x.shape[0] * (x.shape[2] + 4 * R.shape[2]), 1.0, f"{output} of {name}"
            )
        tested.add(name)
    assert {
        "test_lstm_defaults",
        "test_lstm_with_initial_bias",
        "test_simple_rnn_defaults",
        "test_rnn_seq_length",
    } <= tested


def jax_steps():
    """Return a step of each cell on vectors, (x, state, params) -> state, from the papers."""
    jax = pytest.importorskip(
        "jax", reason="this oracle is jax: pip install recurrent-engine[peers]"
    )
    jnp, sigmoid = jax.numpy, jax.nn.sigmoid

    def both(x, h, p):
        return p[0] @ x + p[2], p[1] @ h + p[3]

    def vanilla(f):
        return lambda x, s, p: (f(sum(both(x, s[0], p))),)

    def lstm(x, s, p):
        i, f, g, o = jnp.split(sum(both(x, s[0], p)), 4)
        c = sigmoid(f) * s[1] + sigmoid(i) * jnp.tanh(g)
        return sigmoid(o) * jnp.tanh(c), c

    def gru(x, s, p):
        (xr, xz, xn), (hr, hz, hn) = (jnp.split(a, 3) for a in both(x, s[0], p))
        z = sigmoid(xz + hz)
        return ((1 - z) * jnp.tanh(xn + sigmoid(xr + hr) * hn) + z * s[0],)

    def mgu(x, s, p):
        (xf, xn), (hf, hn) = (jnp.split(a, 2) for a in both(x, s[0], p))
        f = sigmoid(xf + hf)
        return ((1 - f) * s[0] + f * jnp.tanh(xn + f * hn),)

    def of_x(x, p, count):
        return jnp.split(p[0] @ x + p[2], count)

    def indrnn(x, s, p):
        return (jax.nn.relu(p[0] @ x + p[2] + p[3] * s[0]),)

    def mingru(x, s, p):
        z, n = of_x(x, p, 2)
        return ((1 - sigmoid(z)) * s[0] + sigmoid(z) * n,)

    def minlstm(x, s, p):
        f, i, n = of_x(x, p, 3)
        f, i = sigmoid(f), sigmoid(i)
        return (f / (f + i) * s[0] + i / (f + i) * n,)

    def qrnn(x, s, p):
        z, f, o = of_x(x, p, 3)
        c = sigmoid(f) * s[1] + (1 - sigmoid(f)) * jnp.tanh(z)
        return sigmoid(o) * c, c

    def sru(x, s, p):
        n, f, r, past = of_x(x, p, 4)
        f, r = sigmoid(f + p[3] * s[1]), sigmoid(r + p[4] * s[1])
        c = f * s[1] + (1 - f) * n
        return r * c + (1 - r) * past, c

    vanilla_cells = {"rnn": vanilla(jnp.tanh), "rnn_relu": vanilla(jax.nn.relu)}
    gated = {"lstm": lstm, "gru": gru, "mgu": mgu, "indrnn": indrnn, "mingru": mingru}
    return {**vanilla_cells, **gated, "minlstm": minlstm, "qrnn": qrnn, "sru": sru}


@pytest.mark.parametrize(
    "case",
    [Case(T=4, N=2, D=4, H=17), Case(T=4, N=3, D=3, H=5, ragged=True, seed=5)],
    ids=["full", "ragged"],
)
@pytest.mark.parametrize("name", naive.UNITS)
def test_gradients_equal_jax(name, case):
    """Check the kernels if other tests compile them anyway, else the interpreter."""
    step = jax_steps()[name]
    import jax

    engine = Engine(CELLS[name]) if name in PYTORCH else Engine(CELLS[name]).reference
    p = case.build(engine)
    lengths = np.full(case.N, case.T) if p.lengths is None else p.lengths

    def loss(x, params, state):
        total = 0.0
        for n in range(case.N):
            s = tuple(a[n] for a in state)
            for t in range(lengths[n]):
                s = step(x[t, n], s, params)
                total += (p.dy[t, n] * s[0]).sum()
            total += sum((w[n] * a).sum() for w, a in zip(p.dstate, s, strict=True))
        return total

    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        arguments = [
            jax.tree.map(jax.numpy.asarray, a) for a in (p.x, tuple(p.params), tuple(p.state))
        ]
        dx, dparams, d_initial = jax.grad(loss, argnums=(0, 1, 2))(*arguments)
    theirs = named(
        np.asarray(dx),
        engine.Params(*map(np.asarray, dparams)),
        engine.State(*map(np.asarray, d_initial)),
    )
    assert_gradients(p.gradients(), theirs, p)
