"""Combinations of cell options: values as ONNX Runtime's, gradients by complex step."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles.onnx import as_int32, onnx_run
from oracles.onnx_cases import blocks
from support.gradients import assert_projection, random_direction
from support.strategies import Case, cases

from recurrent import GRU, LSTM, RNN, Engine, Recurrent, Sequential
from recurrent.cells import CELLS, gru_cell, lstm_cell, rnn_cell
from recurrent.cells.activations import ACTIVATIONS, canonical
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.engine.params import kernel_params
from recurrent.training import checkpoint

pytestmark = pytest.mark.reference

# ONNX's name of each activation -> how many numbers it takes.
THEIRS = {
    "Relu": 0, "Tanh": 0, "Sigmoid": 0, "Affine": 2, "LeakyRelu": 1, "ThresholdedRelu": 1,
    "ScaledTanh": 2, "HardSigmoid": 2, "Elu": 1, "Softsign": 0, "Softplus": 0,
}  # fmt: skip
NUMBERS = st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.0])
activations = st.sampled_from(list(THEIRS)).flatmap(
    lambda name: st.tuples(st.just(name), *[NUMBERS] * THEIRS[name])
)


def spelled(activation):
    name, *numbers = activation
    return f"{name}({', '.join(map(str, numbers))})" if numbers else name


def numbers(chosen):
    """Return ONNX's attributes of the activations, with all alphas and all betas in order."""
    alphas, betas = ([a[k] for a in chosen if len(a) > k] for k in (1, 2))
    attributes = {"activation_alpha": alphas, "activation_beta": betas}
    return {"activations": [a[0] for a in chosen], **{k: v for k, v in attributes.items() if v}}


# No limit is among NUMBERS, so that a clipped c is never at the kink of an activation.
clips = st.sampled_from([None, 0.3, 1.1, 50.0])
biases = st.sampled_from([0, 1, 2])
common = dict(clip=clips, biases=biases)
FAMILIES = {
    "RNN": (rnn_cell, dict(nonlinearity=activations, **common)),
    "GRU": (
        gru_cell,
        dict(activations=st.tuples(*[activations] * 2), reset_after=st.booleans(), **common),
    ),
    "LSTM": (
        lstm_cell,
        dict(
            activations=st.tuples(*[activations] * 3),
            peephole=st.booleans(),
            coupled=st.booleans(),
            **common,
        ),
    ),
}


def made(family, options):
    """Return the cell with these options, in which activations are tuples."""
    options = dict(options)
    for name in {"nonlinearity", "activations"} & set(options):
        chosen = options[name]
        options[name] = spelled(chosen) if name == "nonlinearity" else [spelled(a) for a in chosen]
    return FAMILIES[family][0](**options)


def onnx(op, options, p, lengths):
    """Run the same node in ONNX. With coupled gates, it has rows for f but ignores them: NaN."""
    params, H = kernel_params(p.engine.cell, p.params), p.case.H
    order = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 3, 1, 2]}[op]

    def rows(a):
        if options.get("coupled"):
            a = np.concatenate([a[:H], np.full_like(a[:H], np.nan), a[H:]])
        return blocks(a, order)[None]

    W, R, wb, rb = (rows(a) for a in params[:4])
    feeds = {
        "X": p.x,
        "W": W,
        "R": R,
        "B": np.concatenate([wb, rb], axis=1),
        "lens": as_int32(lengths),
    }
    states = p.state or p.engine.State(
        *[np.zeros((p.case.N, H), np.float32)] * len(p.engine.State._fields)
    )
    feeds |= {f"initial_{s}": a[None] for s, a in states._asdict().items()}
    if options.get("peephole"):
        unused = np.zeros(H, np.float32)
        feeds["P"] = np.concatenate([p.params.p_i, p.params.p_o, getattr(p.params, "p_f", unused)])[
            None
        ]
    chosen = [options["nonlinearity"]] if op == "RNN" else options["activations"]
    attributes = dict(
        hidden_size=H, direction="reverse" if p.case.reverse else "forward", **numbers(chosen)
    )
    attributes |= {"clip": options["clip"]} if options["clip"] else {}
    attributes |= {"linear_before_reset": int(options["reset_after"])} if op == "GRU" else {}
    attributes |= {"input_forget": 1} if options.get("coupled") else {}
    return onnx_run(op, feeds, **attributes)


@pytest.mark.parametrize("family", FAMILIES)
@given(st.data())
def test_any_combination_equals_onnxruntime(family, data):
    options = data.draw(st.fixed_dictionaries(FAMILIES[family][1]))
    p = data.draw(cases("float32", small=True, scale=1.0)).build(
        Engine(made(family, options)).reference
    )
    # ONNX Runtime leaves a reversed sequence of length 0 undefined.
    lengths = np.maximum(p.lengths, 1) if p.lengths is not None else None
    y, final, _ = p.forward(lengths=lengths)
    their_y, their_final = onnx(family, options, p, lengths)
    exact = Engine(p.engine.cell).reference.forward(
        p.x.astype(float), p.engine.Params(*[a.astype(float) for a in p.params]),
        p.state and p.engine.State(*[s.astype(float) for s in p.state]), lengths, p.case.reverse,
    )[0]  # fmt: skip
    # Otherwise rounding decides the result, at a threshold or because the cell is chaotic.
    assume(np.abs(exact - y).max() < 1e-3)
    size = max(1.0, np.abs(their_y).max(), *(np.abs(s).max() for s in their_final))
    assert_close(y, their_y, p.terms, size, f"y in {p.case}")
    for a, b in zip(final, their_final, strict=True):
        assert_close(a, b, p.terms, size, f"final state in {p.case}")


@pytest.mark.parametrize("family", FAMILIES)
@given(st.data())
def test_gradients_of_any_combination(family, data):
    kinds = dict(FAMILIES[family][1])
    if family == "LSTM":
        kinds["cell_clip"] = clips
    if family == "GRU":
        kinds["z_keeps"] = st.booleans()
    options = data.draw(st.fixed_dictionaries(kinds))
    p = data.draw(cases("float64", small=True, scale=1.0)).build(
        Engine(made(family, options)).reference
    )
    if family == "LSTM":
        # With closed gates c is 0, at the kink of its activation.
        assume(p.forward(record=True)[2].c.all())
    assert_projection(p.gradients(), p, random_direction(p))


COMPILED = {
    "lstm": lstm_cell(
        peephole=True,
        clip=1.5,
        cell_clip=1.0,
        biases=1,
        activations=("hardsigmoid", "softsign", "scaledtanh(1.5, 0.7)"),
    ),
    "gru": gru_cell(z_keeps=False, biases=0, activations=("softplus", "elu(0.7)")),
}


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_equals_interpreted(name):
    for case in (
        Case(T=3, N=7, D=5, H=17, scale=0.5),
        Case(T=4, N=3, D=2, H=33, ragged=True, reverse=True, scale=0.5),
    ):
        p = case.build(Engine(COMPILED[name]))
        y, expected = p.forward()[0], p.forward(p.engine.reference)[0]
        assert_close(y, expected, p.terms, max(1.0, np.abs(expected).max()))
        assert_projection(p.gradients(), p, random_direction(p))


@pytest.mark.parametrize(
    "text",
    ["leakyrelu(0.1)", "thresholdedrelu(0.2)", "hardsigmoid(0.5, 0.5)", "softsign", "softplus"],
)
def test_nan_and_infinity_pass_through_activations(text):
    """NaN stays NaN; at infinity each activation reaches its limit."""
    engine, one = Engine(rnn_cell(nonlinearity=text, biases=0)).reference, np.ones((1, 1))
    ends = {"leakyrelu(0.1)": (np.inf, -np.inf), "hardsigmoid(0.5, 0.5)": (1, 0)}.get(
        text, (np.inf, 0)
    )
    x = np.array([np.nan, np.inf, -np.inf]).reshape(1, 3, 1)
    with np.errstate(all="ignore"):
        y = engine.forward(x, engine.Params(one, 0 * one))[0].ravel()
    assert np.isnan(y[0])
    if text != "softsign":  # which is inf / inf
        assert y[1:].tolist() == list(ends)


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("leakyrelu", [-2.0, 2.0], [-0.02, 2.0]),
        ("thresholdedrelu", [0.9, 1.0, 1.1], [0.0, 0.0, 1.1]),
        ("hardsigmoid", [-1.0, 1.0, 3.0], [0.3, 0.7, 1.0]),
        ("elu", [-1.0, 2.0], [np.expm1(-1.0), 2.0]),
    ],
)
def test_activations_without_numbers_have_those_of_onnx(name, x, expected):
    engine, one = Engine(rnn_cell(nonlinearity=name, biases=0)).reference, np.ones((1, 1))
    y = engine.forward(np.array(x).reshape(1, -1, 1), engine.Params(one, 0 * one))[0].ravel()
    np.testing.assert_allclose(y, expected, rtol=1e-15, atol=1e-16)


def test_the_default_is_the_registered_cell():
    assert (
        lstm_cell()
        is CELLS["lstm"]
        is lstm_cell(peephole=False, activations=["Sigmoid", "TANH", "tanh"])
    )
    assert rnn_cell(nonlinearity="Relu") is CELLS["rnn_relu"]
    assert gru_cell(clip=2) is gru_cell(clip=2.0) is not CELLS["gru"]
    assert gru_cell(clip=2).name == "gru(clip=2.0)"
    assert not [name for name in CELLS if "(" in name]


def test_z_keeps_false_equals_negated_weights_of_z():
    """The two are equal because 1 - sigmoid(a) = sigmoid(-a)."""
    p = Case(T=4, N=2, D=3, H=4).build(Engine(gru_cell(z_keeps=False)).reference)
    turned = []
    for a in p.params:
        a = a.copy()
        a[4:8] *= -1
        turned.append(a)
    expected = p.forward(Engine(CELLS["gru"]).reference, params=p.params)[0]
    assert_close(p.forward(params=p.engine.Params(*turned))[0], expected, p.terms)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_biases_are_biases_of_zero(count):
    p = Case(T=4, N=2, D=3, H=4).build(Engine(gru_cell(biases=count)).reference)
    assert p.params._fields == ("W_ih", "W_hh", "b_ih", "b_hh")[: 2 + count]
    full = Engine(CELLS["gru"]).reference
    params = kernel_params(p.engine.cell, p.params)
    assert_same_bits(p.forward()[0], p.forward(full, params=params)[0])
    theirs = p.gradients(full, params=params)
    for name, g in p.gradients().items():
        assert_same_bits(g, theirs[name], name)


def test_layers_with_options_train_stream_and_are_saved(tmp_path):
    """A checkpoint restores layers with options, one of them bidirectional."""
    model = Sequential(
        LSTM(3, 5, bidirectional=True, peephole=True, coupled=True, biases=1),
        GRU(10, 4, z_keeps=False, clip=1.0),
        RNN(4, 3, nonlinearity="LeakyRelu(0.2)", clip=2.0),
        rng=3,
    )
    names = [n for n in model.parameters if n.startswith("0.")]
    assert names == [
        f"0.{n}_l0{end}"
        for end in ("", "_reverse")
        for n in ("weight_ih", "weight_hh", "bias_ih", "p_i", "p_o")
    ]
    x = np.random.default_rng(0).standard_normal((6, 2, 3)).astype(np.float32)
    y, _, _ = model.forward(x)
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, checkpoint.Checkpoint(model))
    again = checkpoint.load(path).model
    assert [layer.cell for layer in again.layers] == [layer.cell for layer in model.layers]
    assert_same_bits(again.forward(x)[0], y)
    stream, y1 = model[2].stream(), model[1].forward(model[0].forward(x)[0])[0]
    assert_same_bits(np.stack([stream.step(x_t) for x_t in y1]), y)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: LSTM(2, 3, peepholes=True),
            TypeError,
            "LSTM has no option 'peepholes'; its options are input_size",
        ),
        (
            lambda: LSTM(2, 3, num_layers=2),
            TypeError,
            "LSTM has no option 'num_layers'; stack layers in a model: `Sequential(",
        ),
        (
            lambda: GRU(2, 3, batch_first=True),
            TypeError,
            "write `Sequential(..., batch_first=True)`; without it time is the first axis",
        ),
        (
            lambda: Recurrent("mgu", 2, 3, dropout=0.1),
            TypeError,
            "write `Dropout(0.5)` between layers",
        ),
        (lambda: LSTM(2, 3, peephole=1), TypeError, "peephole must be True or False, got 1"),
        (lambda: GRU(2, 3, clip=-1), ValueError, "clip must be above 0, got -1"),
        (lambda: GRU(2, 3, clip="1"), TypeError, "clip must be a number, got str"),
        (lambda: GRU(2, 3, biases=3), ValueError, "biases must be at most 2, got 3"),
        (
            lambda: GRU(2, 3, activations="tanh"),
            ValueError,
            "activations must be a tuple of 2 names such as",
        ),
        (
            lambda: RNN(2, 3, nonlinearity="elu(1, 2)"),
            ValueError,
            "nonlinearity: activation elu takes 1 number, got 2",
        ),
        (
            lambda: RNN(2, 3, nonlinearity="affine"),
            ValueError,
            "nonlinearity: activation affine takes 2 numbers, got 0",
        ),
        (
            lambda: RNN(2, 3, nonlinearity="elu(a)"),
            ValueError,
            "must contain numbers separated by commas",
        ),
        (
            lambda: RNN(2, 3, nonlinearity=max),
            TypeError,
            "an activation must be given by name, such as 'tanh'",
        ),
    ],
)
def test_invalid_options_raise(make, error, text):
    with pytest.raises(error) as caught:
        make()
    assert text in str(caught.value)


def test_every_activation_of_onnx_exists():
    assert set(ACTIVATIONS) == {name.lower() for name in THEIRS}
    assert {len(ACTIVATIONS[name.lower()][1]) == count for name, count in THEIRS.items()} == {True}
    assert (
        canonical("Scaled_Tanh(1.5,.5)")
        == canonical(canonical("scaledtanh( 1.5, 0.5 )"))
        == "scaledtanh(1.5, 0.5)"
    )
