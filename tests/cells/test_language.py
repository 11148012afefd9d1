"""A declaration can name inputs, shared parameters, initial values and constants."""

import pickle

import numpy as np
import pytest

import recurrent
from recurrent import Linear, Recurrent, Sequential, fit, losses, optim
from recurrent.cells import CELLS, exp, find, sigmoid, tanh, where
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.data import Batch
from recurrent.initialisers import Reservoir
from recurrent.training import checkpoint

pytestmark = pytest.mark.reference


@pytest.fixture(autouse=True)
def registry():
    """Restore the registry after a test that declares cells."""
    before = dict(CELLS)
    yield CELLS
    CELLS.clear()
    CELLS.update(before)


def interpreted(layer, dtype="float64"):
    """Initialise a layer for the NumPy reference."""
    layer.initialise(0, dtype)
    layer.engine = layer.runner = layer.engine.reference
    return layer


def decaying(name="decaying", **options):
    @recurrent.cell(name, gates="g", states="h", inputs="dt age", scalars="rate", **options)
    def equations(x, h, previous, p, *, gain=1.0, signs=False, kind="plain"):
        g = tanh(x.g + h.g)
        g = where(g > 0, g, 0.5 * g) if signs else g
        g = g if kind == "plain" else g * x.age
        return dict(g=g, h=exp(-p.rate * x.dt) * previous.h + gain * g)

    return equations


def test_named_inputs_are_the_last_columns_of_x():
    layer = interpreted(Recurrent(decaying(), 5, 4))
    W_ih, W_hh, b_ih, b_hh, rate = layer.params
    assert (W_ih.shape, rate.shape, layer.in_features) == ((4, 3), (1,), 5)
    rng = np.random.default_rng(0)
    x, h = rng.uniform(0, 1, (6, 2, 5)), np.zeros((2, 4))
    y, _, tape = layer.forward(x, record=True)
    for t in range(6):
        g = np.tanh(x[t, :, :3] @ W_ih.T + b_ih + h @ W_hh.T + b_hh)
        h = np.exp(-rate * x[t, :, 3:4]) * h + g
        np.testing.assert_allclose(y[t], h, atol=1e-14)
    dx = layer.backward(np.ones_like(y), tape).dx
    assert dx.shape == x.shape
    assert not dx[..., 4].any(), "an input that no equation reads has no gradient"
    assert dx[1:, :, 3].all()
    with pytest.raises(ValueError, match=r"the last of decaying are dt, age: .* at least 3, got 2"):
        Recurrent("decaying", 2, 4)
    with pytest.raises(ValueError, match=r"x must be \(T, N, D=5\)"):
        layer.forward(x[..., :4])


def test_a_gate_that_is_not_finite_does_not_hide_the_gap():
    """The gap passes the units as it is, whatever its size."""
    layer = interpreted(Recurrent(decaying(), 3, 2), "float32")
    for gap in (0.0, 1e-30, 3.3, 1e30):
        x = np.array([[0.5, 0, 0], [0.5, gap, 0]], np.float32)
        decay = np.exp(-layer.params.rate * np.float32(gap))
        a = layer.forward(x, record=True)[2]
        expected = decay * a.h[0] + a.gates["g"][1]
        np.testing.assert_allclose(a.h[1], expected, rtol=1e-6)


def test_shared_parameters_are_trained_as_one(tmp_path):
    layer = Recurrent(decaying(), 3, 4, bidirectional=True, learn_state=True)
    assert layer.shapes["rate_l0"] == layer.shapes["rate_l0_reverse"] == (1,)
    model = Sequential(layer, Linear(8, 1), rng=0)
    layer.runner = layer.reference_runner()
    x = np.random.default_rng(0).uniform(0, 1, (5, 3, 3)).astype(np.float32)
    before = model.parameters["0.rate_l0"].copy()
    batch = Batch(x, np.zeros((5, 3, 1), np.float32), lengths=np.array([5, 0, 2]))
    fit(model, [batch], losses.mean_squared_error, optim.SGD(0.1), progress=False)
    assert before != model.parameters["0.rate_l0"]
    checkpoint.save(tmp_path / "m", checkpoint.Checkpoint(model))
    assert_same_bits(checkpoint.load(tmp_path / "m").model.flat, model.flat)


def test_initial_values():
    initial = {"rate": 2.0, "g": (5, 6), "W_hh": 0.0}
    params = Recurrent(decaying(initial=initial), 4, 50).initialise(0).params
    assert params.rate == 2
    assert not params.W_hh.any()
    assert not params.b_hh.any()
    assert params.b_ih.min() >= 5
    assert params.b_ih.max() <= 6
    assert len(set(params.b_ih)) > 40
    assert np.abs(params.W_ih).max() <= 50**-0.5
    assert (Recurrent("janet", 3, 4).initialise(0).params.b_ih[:4] == 1).all()


def test_hyper_parameters_are_part_of_the_name():
    plain = decaying()
    other = plain(gain=0.5, signs=True, kind="aged")
    assert other.name == "decaying(gain=0.5, signs=True, kind='aged')"
    assert find(other.name) is other is plain(kind="aged", signs=True, gain=0.5)
    assert other(gain=1.0, signs=False, kind="plain") is plain is plain()
    assert other.digest != plain.digest
    assert pickle.loads(pickle.dumps(other)) is other
    assert Recurrent("decaying", 3, 2, gain=0.5, zoneout=0.1).dropouts.cell is plain(gain=0.5)
    assert recurrent.gradcheck(interpreted(Recurrent(other, 3, 2)), np.ones((2, 1, 3)))
    assert plain.options == {"gain": 1.0, "signs": False, "kind": "plain"}


def test_hyper_parameters_follow_the_last_declaration(tmp_path):
    first = decaying()(gain=0.5)
    model = Sequential(Recurrent(first, 3, 2), rng=0)
    checkpoint.save(tmp_path / "m", checkpoint.Checkpoint(model))
    assert checkpoint.load(tmp_path / "m").model[0].cell is first

    @recurrent.cell("decaying", gates="g", states="h", inputs="dt age", scalars="rate")
    def changed(x, h, previous, p, *, gain=1.0):
        g = sigmoid(x.g + h.g)
        return dict(g=g, h=exp(-p.rate * x.dt) * previous.h + gain * g)

    assert find("decaying(gain=0.5)") is changed(gain=0.5) is not first
    with pytest.raises(ValueError, match="has other equations now than when the file was saved"):
        checkpoint.load(tmp_path / "m")


def test_a_file_with_constants_that_the_equations_refuse(tmp_path):
    def declare(pole):
        @recurrent.cell("inverse", gates="g", states="h")
        def inverse(x, h, previous, *, leak=1.0):
            return dict(g=x.g + h.g, h=tanh(x.g + h.g) * (1 / (leak - pole)))

        return inverse

    model = Sequential(Recurrent(declare(0.0)(leak=0.5), 2, 3), rng=0)
    checkpoint.save(tmp_path / "m", checkpoint.Checkpoint(model))
    declare(0.5)
    with pytest.raises(ValueError, match=r"'inverse\(leak=0.5\)' cannot be traced: .*division"):
        checkpoint.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("decaying(gin=1)", TypeError, "no hyper-parameter 'gin'; there are gain, signs, kind"),
        ("decaying(gain='a')", TypeError, "gain must be a number, got str"),
        ("decaying(gain=1e999)", ValueError, "gain must be finite"),
        ("decaying(signs=1)", TypeError, "signs must be True or False"),
        ("decaying(kind='a b')", ValueError, "kind must be one word"),
        ("decaying(0.5)", ValueError, "must hold hyper-parameters such as leak=0.3"),
        ("decaying(gain=)", ValueError, "must hold hyper-parameters such as leak=0.3"),
        ("decaying(gain=x)", ValueError, "must hold hyper-parameters such as leak=0.3"),
        ("decaying(**{'gain': 1})", ValueError, "must hold hyper-parameters such as leak=0.3"),
        ("decaying(gain=f(1))", ValueError, "unknown cell"),
        ("nobody(gain=1)", ValueError, "unknown cell"),
        ("lstm(gain=1)", TypeError, "has no hyper-parameters: keyword-only arguments"),
    ],
)
def test_wrong_hyper_parameters(name, error, message):
    decaying()
    with pytest.raises(error, match=rf"\A[^\n]*{message}[^\n]*\Z"):
        find(name)


def test_a_reservoir_needs_no_training():
    """An echo state layer remembers its input: a linear readout finds what came two steps ago."""
    rng = np.random.default_rng(0)
    layer = Recurrent("echo_state", 1, 60, leak=0.8).initialise(0, "float64", init=Reservoir(0.7))
    W = layer.params.W_hh
    assert np.isclose(np.abs(np.linalg.eigvals(W)).max(), 0.7)
    assert 0.05 < (W != 0).mean() < 0.15
    layer.engine = layer.runner = layer.engine.reference
    x = rng.uniform(-0.5, 0.5, (400, 1))
    y, target = layer.forward(x)[0][50:], x[48:-2, 0]
    readout = np.linalg.lstsq(y[:250], target[:250], rcond=None)[0]
    assert np.corrcoef(y[250:] @ readout, target[250:])[0, 1] > 0.95


def test_fit_freezes_a_reservoir():
    layer = Recurrent("echo_state", 1, 9)
    model = Sequential(layer, Linear(9, 1), rng=0)
    layer.initialise(0, init=Reservoir(density=0.5))
    layer.engine = layer.runner = layer.engine.reference
    before = {n: a.copy() for n, a in model.parameters.items()}
    x = np.random.default_rng(0).standard_normal((5, 2, 1)).astype(np.float32)
    options = dict(epochs=3, progress=False, freeze="0.")
    fit(model, [Batch(x, x)], losses.mean_squared_error, optim.Adam(0.1), **options)
    changed = {n for n, a in model.parameters.items() if (a != before[n]).any()}
    assert changed == {"1.weight", "1.bias"}


@pytest.mark.parametrize("rule", [optim.SGD(0.1, momentum=0.9), optim.AdamW(0.05)])
def test_fit_keeps_a_pattern_of_zeros(rule):
    """Blocks on the diagonal: two heads, of which neither reads the other."""
    layer = Recurrent("slstm", 2, 4)
    model = Sequential(layer, rng=0)
    layer.engine = layer.runner = layer.engine.reference
    other_head = np.tile(np.kron(np.eye(2), np.ones((2, 2))) == 0, (4, 1))
    W = model.parameters["0.weight_hh_l0"]
    W[other_head] = 0
    W[0, 0], before = 0, W.copy()
    x = np.random.default_rng(0).standard_normal((5, 3, 2)).astype(np.float32)
    batches = [Batch(x, np.zeros((5, 3, 4), np.float32))]
    options = dict(epochs=3, progress=False, freeze={"0.weight_hh_l0": other_head})
    fit(model, batches, losses.mean_squared_error, rule, **options)
    assert not W[other_head].any()
    assert (before != W)[~other_head].all()
    y = model.forward(x)[0]
    W[0, :] += other_head[0]
    assert (model.forward(x)[0] != y)[1:].any(), "the other head would be read without the zeros"
    kept = model.flat.copy()
    wrong = {"0.weight_hh": other_head}, {"nobody": other_head}, {"0.weight_hh_l0": other_head[1:]}
    for freeze in (*wrong, {"0.weight_hh_l0": W}):
        with pytest.raises((TypeError, ValueError), match="freeze"):
            fit(model, batches, losses.mean_squared_error, rule, freeze=freeze, progress=False)
    assert_same_bits(model.flat, kept)


def test_gradients_of_shared_parameters_add_up_over_batches():
    """An update by several batches has the gradient of them joined."""
    x = np.random.default_rng(0).uniform(0, 1, (5, 4, 3)).astype(np.float64)
    targets = np.zeros((5, 4, 4))

    def trained(batches, **options):
        layer = Recurrent(decaying(f"joined{len(batches)}"), 3, 4)
        model = Sequential(layer, rng=0, dtype="float64")
        layer.engine = layer.runner = layer.engine.reference
        options = dict(progress=False, **options)
        fit(model, batches, losses.mean_squared_error, optim.SGD(0.5), **options)
        return model.flat

    halves = [Batch(x[:, k : k + 2], targets[:, k : k + 2]) for k in (0, 2)]
    found = trained(halves, accumulate=2)
    np.testing.assert_allclose(found, trained([Batch(x, targets)]), atol=1e-13)
