"""Cells of papers: against their equations, other implementations, and on small tasks."""

import numpy as np
import pytest
from oracles import naive, outside, papers
from support.gradients import assert_projection, random_direction
from support.strategies import Case

import recurrent
import viz
from recurrent import Linear, Recurrent, Sequential, fit, gradcheck, losses, optim
from recurrent.cells import BUILT_IN, CELLS, PAPERS, find
from recurrent.conformance import promises
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.engine.engine import Engine
from recurrent.training import checkpoint

pytestmark = pytest.mark.reference

# Cells with hyper-parameters away from their defaults too.
CASES = [
    *((name, {}) for name in papers.STEPS),
    ("janet", dict(beta=0.25)),
    ("phased_lstm", dict(r_on=0.5, leak=0.01)),
    ("echo_state", dict(leak=0.3)),
]
each_case = pytest.mark.parametrize(("name", "options"), CASES)
# In the short profile these compile; together they have every kind of step.
COMPILED = ["slstm", "phased_lstm", "grud"]
each_compiled = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in COMPILED else pytest.mark.ci) for n in papers.STEPS],
)


def cell_of(name, options):
    return CELLS[name](**options) if options else CELLS[name]


def as_trained(p):
    """Return a problem whose parameters have left their constant initial values."""
    rng = np.random.default_rng(1)
    for n, a in p.params._asdict().items():
        if n not in ("log_tau", "shift"):
            a += 0.3 * rng.standard_normal(a.shape).astype(a.dtype)
    return p


def test_every_new_cell_has_an_oracle():
    assert list(PAPERS) == list(papers.STEPS)
    assert set(BUILT_IN) == set(naive.UNITS)


@each_case
def test_cells_equal_the_equations_of_their_papers(name, options):
    p = as_trained(Case(T=6, N=3, D=4, H=5).build(Engine(cell_of(name, options)).reference))
    y, final, _ = p.forward()
    expected, states = papers.forward(
        name, p.x, p.params, p.state, len(p.engine.cell.inputs), **options
    )
    size = max(1.0, *(np.abs(s).max() for s in states.values()))
    assert_close(y, expected, 10 * p.terms, size)
    for n, a in final._asdict().items():
        assert_close(a, states[n], 10 * p.terms, size, n)


@each_case
def test_gradients_by_complex_step(name, options):
    p = as_trained(Case(T=5, N=3, D=4, H=5).build(Engine(cell_of(name, options)).reference))
    assert_projection(p.gradients(), p, random_direction(p))
    p = as_trained(Case(T=4, N=3, D=2, H=3, ragged=True, seed=3).build(p.engine))
    assert_projection(p.gradients(), p, random_direction(p))


@each_compiled
def test_kernels_keep_the_promises(name):
    """The reference, streams, other batches, chunks and threads give the same, as of any cell."""
    engine = Engine(name)
    p = as_trained(Case(T=5, N=7, D=4, H=17, dtype="float32", ragged=True).build(engine))
    promises.equals_the_interpreter(p)
    for n in (0, 6):
        promises.a_row_equals_the_sequence_alone(p, n)
    p = as_trained(Case(T=5, N=2, D=4, H=33, dtype="float32", initial=False).build(engine))
    stepper, y = engine.stepper(p.params), p.forward()[0]
    assert_same_bits(np.stack([stepper(x_t) for x_t in p.x]), y)
    first, state, _ = engine.forward(p.x[:2], p.params)
    assert_same_bits(np.concatenate([first, engine.forward(p.x[2:], p.params, state)[0]]), y)


def learning_model(name):
    layer = Recurrent(name, 1 + len(find(name).inputs), 12)
    return Sequential(layer, Linear(12, 1), rng=0)


def interpreted(model):
    for layer in model.layers[:1]:
        layer.engine = layer.runner = layer.engine.reference
    return model


@pytest.mark.parametrize("name", papers.STEPS)
def test_cells_learn(name):
    """They learn to give the running mean of the last values, the same data for all."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((10, 16, 1)).astype(np.float32)
    targets = np.cumsum(x, axis=0) / np.arange(1, 11, dtype=np.float32)[:, None, None]
    for _ in find(name).inputs:
        gap = np.full_like(x, 1) if name != "phased_lstm" else np.cumsum(np.full_like(x, 0.01), 0)
        x = np.concatenate([x, gap], axis=2)
    model = interpreted(learning_model(name))
    if name == "phased_lstm":  # periods of the length of the sequence
        model.parameters["0.log_tau_l0"][:] = np.linspace(-3, 0, 12)
    mean_squared_error = losses.mean_squared_error
    before = mean_squared_error(model.forward(x)[0], targets)[0]
    batches = [recurrent.data.Batch(x, targets)]
    fit(model, batches, mean_squared_error, optim.Adam(0.02), updates=60, progress=False)
    after = mean_squared_error(model.forward(x)[0], targets)[0]
    assert after < 0.35 * before, (before, after)


@each_case
def test_models_are_saved_with_their_hyper_parameters(tmp_path, name, options):
    cell = cell_of(name, options)
    model = Sequential(Recurrent(cell, 3, 4), rng=0)
    again = Recurrent(name, 3, 4, **options)
    assert again.cell is model[0].cell is cell
    checkpoint.save(tmp_path / "m", checkpoint.Checkpoint(model))
    loaded = checkpoint.load(tmp_path / "m").model
    assert loaded[0].cell is cell
    assert_same_bits(loaded.flat, model.flat)


# Laying out the circuits of the largest cells takes seconds.
DRAWN = [
    *(
        pytest.param(n, False, marks=pytest.mark.ci if n in ("phased_lstm", "nested_lstm") else ())
        for n in papers.STEPS
    ),
    ("cfc", True),
    ("fastgrnn", True),
]


@pytest.mark.parametrize(("name", "both"), DRAWN)
def test_pictures_of_every_cell(name, both):
    layer = Recurrent(name, 3, 4, bidirectional=both)
    model = Sequential(layer, Linear(layer.out_features, 2), rng=0)
    layer.runner = layer.reference_runner()
    x = np.random.default_rng(0).uniform(0.1, 2, (3, 2, 3)).astype(np.float32)
    y = model.forward(x)[0]
    recording = model.record(x, y + 1, losses.mean_squared_error)
    one = dict(direction="reverse") if both else {}
    for values in (None, recording):
        drawings = [viz.network(model, recording=values), viz.weights(layer, **one)]
        drawings += [
            view(layer, *args, recording=values, **one)
            for view, *args in ((viz.cell,), (viz.layer,), (viz.unit, 1))
        ]
        assert all(drawing.source.startswith("digraph") for drawing in drawings)
    backward = viz.cell(layer, recording=recording, backward=True, **one)
    assert backward.source.startswith("digraph")
    assert "</html>" in viz.explore(model, recording).html


def test_gradcheck_passes_all():
    for name in papers.STEPS:
        layer = Recurrent(name, 3, 4).initialise(0, "float64")
        layer.engine = layer.runner = layer.engine.reference
        x = np.random.default_rng(2).uniform(0.2, 1, (3, 2, 3))
        assert gradcheck(layer, x, entries=5)


# Other implementations


@pytest.mark.parametrize("name", ["cfc", "slstm"])
def test_cells_equal_other_implementations(name):
    """Compare with outputs of ncps and xlstm, see oracles/outside.py."""
    theirs = np.load(outside.FOLDER / f"{name}.npz")
    engine = Engine(name).reference
    params = engine.Params(
        *(np.ascontiguousarray(theirs[n]) for n in engine.Params._fields),
    )
    y, state, _ = engine.forward(theirs["x"], params)
    assert_close(y, theirs["y"], 40, 1.0)
    for a, expected in zip(state, theirs.get("states", theirs["y"][-1:]), strict=False):
        assert_close(a, expected, 40, max(1.0, np.abs(expected).max()))


def test_ltc_takes_small_steps_towards_the_differential_equation():
    """Many small gaps give the solution of dh/dt = -(1/tau + f) h + f A, by Euler's method."""
    layer = Recurrent("ltc", 3, 4).initialise(0, "float64")
    p, steps = layer.params, 4000
    x = np.array([0.3, -0.2])
    h = np.zeros(4)
    for _ in range(steps):
        f = papers.sigmoid(p.W_ih @ x + p.W_hh @ h + p.b_ih)
        h = h + 2 / steps * (f * p.A - (np.log1p(np.exp(p.rate)) + f) * h)
    layer.engine = layer.runner = layer.engine.reference
    y = layer.forward(np.tile([*x, 2 / steps], (steps, 1)))[0]
    np.testing.assert_allclose(y[-1], h, atol=2e-3)
    assert np.abs(h).max() > 0.05


def test_gru_d_of_the_paper_is_a_pattern_of_zeros():
    """With zeros in W_ih the decay reads the gaps alone and the gates the values and masks."""
    layer = Recurrent("grud", 6, 4).initialise(0, "float64")
    W = layer.parameters["weight_ih_l0"]
    W[:4, :4], W[4:, 4:] = 0, 0
    x = np.random.default_rng(0).uniform(0, 1, (5, 2, 6))
    layer.engine = layer.runner = layer.engine.reference
    far = x.copy()
    far[..., 4:] = 1e6  # after an endless gap nothing is left of the state
    W[:4, 4:] = np.abs(W[:4, 4:])
    y = layer.forward(far)[0]
    fresh = np.stack([layer.forward(far[t : t + 1])[0][0] for t in range(5)])
    np.testing.assert_allclose(y, fresh, atol=1e-12)
