"""Built-in cells that PyTorch does not have, and user-defined cells, alone and as layers."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import naive
from support.gradients import assert_gradients, assert_projection, random_direction
from support.strategies import Case, cases

import recurrent
import viz
from recurrent import Engine, Linear, Recurrent, Sequential
from recurrent.cells import CELLS, PYTORCH, exp, maximum, sigmoid, sqrt, tanh
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.gradcheck import GradientError
from recurrent.training import checkpoint

pytestmark = pytest.mark.reference

OTHERS = sorted(set(naive.UNITS) - set(PYTORCH))
SCANS = [name for name in OTHERS if not CELLS[name].h_gates]


@pytest.mark.parametrize("name", OTHERS)
@given(st.data())
def test_interpreted_equals_the_equations_of_the_paper(name, data):
    case = data.draw(cases("float64", small=True))
    p = case.build(Engine(CELLS[name]).reference)
    y, final, _ = p.forward()
    expected, states = naive.forward(name, p.x, p.params, p.state, p.lengths, case.reverse)
    size = max(1.0, np.abs(expected).max(), *(np.abs(s).max() for s in states))
    for a, b in zip((y, *final), (expected, *states), strict=True):
        assert_close(a, b, p.terms, size)


@pytest.mark.parametrize("name", OTHERS)
@given(st.data())
def test_gradients_by_complex_step(name, data):
    # The gradients of saturated gates are small by cancellation.
    scale = st.sampled_from([0.1, 1.0])
    p = data.draw(cases("float64", small=True, scale=scale)).build(Engine(CELLS[name]).reference)
    assert_projection(p.gradients(), p, random_direction(p))


@pytest.mark.parametrize("name", ["indrnn", "sru", "minlstm"])
def test_compiled_equals_interpreted(name):
    """Slow tests (test_naive.py, test_gradients.py, test_invariants.py) compile the other cells."""
    p = Case(T=4, N=7, D=5, H=33, dtype="float32", ragged=True).build(Engine(CELLS[name]))
    y, expected = p.forward()[0], p.forward(p.engine.reference)[0]
    assert_close(y, expected, p.terms, max(1.0, np.abs(expected).max()))
    assert_gradients(p.gradients(), p.gradients(p.engine.reference), p)
    stepper = p.engine.stepper(p.params)
    alone = p.engine.forward(p.x, p.params)[0]
    assert_same_bits(np.stack([stepper(x_t) for x_t in p.x]), alone)
    assert_same_bits(p.engine.forward(p.x[:, 3], p.params)[0], alone[:, 3])


@pytest.mark.parametrize("name", SCANS)
def test_units_of_a_scan_are_independent(name):
    p = Case(T=5, N=2, D=3, H=4).build(Engine(CELLS[name]).reference)
    assert p.params.W_hh.size == 0
    state = p.state._replace(**{s: a.copy() for s, a in p.state._asdict().items()})
    for a in state:
        a[:, 1] += 1
    change = p.forward(state=state)[0] - p.forward()[0]
    assert not change[:, :, [0, 2, 3]].any()


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("both", [False, True])
def test_pictures_of_every_cell(name, both):
    layer = Recurrent(name, 3, 4, bidirectional=both)
    model = Sequential(layer, Linear(layer.out_features, 2))
    drawings = [viz.network(model), viz.unrolled(model, steps=3), viz.cell(layer)]
    for drawing in drawings if both else [*drawings, viz.unit(layer, 1)]:
        assert drawing.source.startswith("digraph")
    inputs = [e for e in layer.graph().edges if e.source.startswith("vector:")]
    assert {e.source for e in inputs} == (
        {"vector:x"} if name in SCANS else {"vector:x", "vector:h"}
    )


def test_layers_by_name_train_and_are_saved(tmp_path):
    model = Sequential(
        Recurrent("sru", 3, 8, bidirectional=True), Recurrent("minlstm", 16, 4), Linear(4, 1), rng=0
    )
    for layer in model.layers[:2]:
        layer.engine, layer.runner = (
            layer.engine.reference,
            getattr(layer.runner, "reference", layer.runner),
        )
    x = np.random.default_rng(0).standard_normal((6, 2, 3)).astype(np.float32)
    y, _, tape = model.forward(x, record=True)
    model.flat -= 0.01 * np.concatenate(
        [g.ravel() for g in model.backward(2 * y, tape).params.values()]
    )
    after = model.forward(x)[0]
    assert (after**2).sum() < (y**2).sum()
    checkpoint.save(tmp_path / "scans.safetensors", checkpoint.Checkpoint(model))
    again = checkpoint.load(tmp_path / "scans.safetensors").model
    assert repr(again.layers) == repr(model.layers)
    assert_same_bits(again.flat, model.flat)


@pytest.fixture
def registry():
    """Restore the registry after a test that declares cells."""
    before = dict(CELLS)
    yield CELLS
    CELLS.clear()
    CELLS.update(before)


def declare(function, gates="n", states="h", name="own", **options):
    return recurrent.cell(name, gates, states, **options)(function)


def test_equations_of_the_lstm_give_its_bits(registry):
    @recurrent.cell("own_lstm", gates="i f g o", states="h c")
    def own(x, h, previous):
        g, o = tanh(h.g + x.g), sigmoid(x.o + h.o)
        c = sigmoid(x.f + h.f) * previous.c + sigmoid(x.i + h.i) * g
        return dict(i=sigmoid(x.i + h.i), f=sigmoid(x.f + h.f), g=g, o=o, c=c, h=o * tanh(c))

    p = Case(T=4, N=7, D=5, H=17, dtype="float32", ragged=True).build(recurrent.lstm)
    layer = Recurrent("own_lstm", 5, 17)
    for a, b in zip(
        (p.forward(layer.engine)[0], *p.gradients(layer.engine).values()),
        (p.forward()[0], *p.gradients().values()),
        strict=True,
    ):
        assert_same_bits(a, b)


def test_a_cell_can_be_declared_again(registry):
    first = declare(lambda x, h, previous: dict(n=x.n + h.n, h=tanh(x.n + h.n)))
    assert registry["own"] is first
    second = declare(lambda x, h, previous: dict(n=x.n + h.n, h=tanh(x.n + h.n)))
    assert registry["own"] is second
    layer = Recurrent("own", 2, 3)
    third = declare(lambda x, h, previous: dict(n=x.n + h.n, h=sigmoid(x.n + h.n)))
    assert registry["own"] is third is Recurrent("own", 2, 3).cell
    assert layer.cell is second
    with pytest.raises(ValueError, match="cell lstm: the built-in cell has this name"):
        declare(lambda x, h, previous: dict(n=x.n, h=x.n), name="lstm")


def test_models_keep_the_equations_that_a_cell_had_when_they_were_made(registry, tmp_path):
    declare(lambda x, h, previous: dict(n=x.n + h.n, h=tanh(x.n + h.n)))
    model = Sequential(Recurrent("own", 2, 3), rng=0)
    model.layers[0].runner = model.layers[0].engine = model.layers[0].engine.reference
    x = np.random.default_rng(0).standard_normal((3, 2, 2)).astype(np.float32)
    y = model.forward(x)[0]
    checkpoint.save(tmp_path / "own", checkpoint.Checkpoint(model))
    copies = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    declare(lambda x, h, previous: dict(n=x.n + h.n, h=sigmoid(x.n + h.n)))
    for one in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model)), *copies):
        one.layers[0].runner = one.layers[0].engine = one.layers[0].engine.reference
        assert_same_bits(one.forward(x)[0], y)
    with pytest.raises(ValueError, match="the cell 'own' has other equations now"):
        checkpoint.load(tmp_path / "own")
    with pytest.raises(TypeError, match="own is not: it was declared again with other equations"):
        checkpoint.save(tmp_path / "again", checkpoint.Checkpoint(model))


def branch(x, h, previous):
    return dict(n=x.n, h=x.n if x.n > 0 else h.n)


@pytest.mark.parametrize(
    ("function", "error", "text"),
    [
        (
            branch,
            TypeError,
            "cannot branch on a value, because kernels compute many units at once; "
            "use where(a > b, x, y), maximum or minimum",
        ),
        (
            lambda x, h, previous: dict(n=x.n, h=np.tanh(x.n)),
            TypeError,
            "np.tanh does not apply; use the functions",
        ),
        (
            lambda x, h, previous: dict(n=x.n, h=np.ones(3) * x.n),
            TypeError,
            "expressions of them or numbers, got ndarray",
        ),
        (
            lambda x, h, previous: dict(n=x.n, h=float(x.n)),
            TypeError,
            "functions of the math module do not apply",
        ),
        (lambda x, h, previous: dict(n=x.n, h=max(x.n, 0)), TypeError, "cannot branch on a value"),
        (
            lambda x, h, previous: dict(n=x.n, h=x.n**1.5),
            ValueError,
            "the output is not finite",
        ),
        (
            lambda x, h, previous: dict(n=x.n, h=x.m),
            AttributeError,
            "cell own: x has no 'm'; it has n",
        ),
        (
            lambda x, h, previous: dict(n=x.n, h=previous.c),
            AttributeError,
            "cell own: previous has no 'c'; it has h",
        ),
        (
            lambda x, h, previous: dict(n=x.n),
            ValueError,
            "cell own: the equations return no value for h",
        ),
        (
            lambda x, h, previous: dict(n=x.n, h=x.n, m=x.n),
            ValueError,
            "the equations return 'm', which is neither a gate nor a state",
        ),
        (
            lambda x, h, previous: x.n,
            TypeError,
            "must return a dict of gates and new states, got Expr",
        ),
        (
            lambda x, h, previous: dict(n=x.n, h=exp(1000 + 0 * x.n)),
            ValueError,
            "the output is not finite",
        ),
        (
            lambda x, h, previous: dict(n=x.n, h=sqrt(maximum(x.n, 0)) * x.n),
            GradientError,
            "gradients are wrong",
        ),
    ],
)
def test_invalid_equations_raise(registry, function, error, text):
    with pytest.raises(error) as caught:
        declare(function)
    assert text in str(caught.value)
    assert "own" not in registry


def test_python_numbers_powers_and_absolute_values_are_traced(registry):
    own = declare(
        lambda x, h, previous: dict(
            n=x.n, h=np.float32(0.5) * abs(x.n) + (x.n + h.n) ** 3 / np.int64(8)
        )
    )
    p = Case(T=1, N=2, D=1, H=1, initial=False).build(Engine(own).reference)
    W, _, b, d = (float(a.item()) for a in p.params)
    a = p.x[0] * W + b
    assert_close(p.forward()[0][0], 0.5 * np.abs(a) + (a + d) ** 3 / 8, 4)


def test_unknown_cells_raise():
    with pytest.raises(ValueError, match=r"unknown cell 'gruu'; known cells are .*lstm.*sru"):
        Recurrent("gruu", 2, 3)
    with pytest.raises(TypeError, match="a cell must be given by name or as a Cell, got int"):
        Recurrent(3, 2, 3)
