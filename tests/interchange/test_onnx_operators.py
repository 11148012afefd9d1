"""ONNX's recurrent operators: onnx's own node tests, and ONNX Runtime for every attribute."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles.onnx import onnx_outputs
from oracles.onnx_cases import conformance

from recurrent.conformance.tolerance import assert_close
from recurrent.interchange.onnx.operators import Operator

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
ACTIVATIONS = {"RNN": 1, "LSTM": 3, "GRU": 2}
# ONNX's name of each activation: whether it has alpha, and beta, and whether ONNX Runtime has the
# defaults of ONNX for them.
FUNCTIONS = {
    "Relu": (0, True), "Tanh": (0, True), "Sigmoid": (0, True), "Affine": (2, False),
    "LeakyRelu": (1, True), "ThresholdedRelu": (1, False), "ScaledTanh": (2, False),
    "HardSigmoid": (2, True), "Elu": (1, True), "Softsign": (0, True), "Softplus": (0, True),
}  # fmt: skip
NUMBERS = st.sampled_from([0.1, 0.25, 0.5, 0.75])
T, N, D, H = 4, 3, 2, 3


@st.composite
def attributes(draw, op, layouts=(0,)):
    """Draw attributes of a node."""
    found = dict(hidden_size=H, direction=draw(st.sampled_from(["forward", "reverse"])))
    if draw(st.booleans()):
        found["direction"] = "bidirectional"
    count = 2 if found["direction"] == "bidirectional" else 1
    if draw(st.booleans()):
        names = [draw(st.sampled_from(list(FUNCTIONS))) for _ in range(count * ACTIVATIONS[op])]
        found["activations"] = names
        # Numbers are taken in order: they end where one has the default.
        needs = [k for k in (1, 2) for n in names if FUNCTIONS[n][0] >= k]
        for k, word in ((1, "alpha"), (2, "beta")):
            users = [n for n in names if FUNCTIONS[n][0] >= k]
            least = max((i + 1 for i, n in enumerate(users) if not FUNCTIONS[n][1]), default=0)
            given_count = draw(st.integers(least, len(users))) if needs else 0
            if given_count:
                found[f"activation_{word}"] = [draw(NUMBERS) for _ in range(given_count)]
    clip = draw(st.sampled_from([None, 0.3, 1.1, 50.0]))
    found |= {"clip": clip} if clip else {}
    found |= {"input_forget": draw(st.integers(0, 1))} if op == "LSTM" else {}
    found |= {"linear_before_reset": draw(st.integers(0, 1))} if op == "GRU" else {}
    found |= {"layout": draw(st.sampled_from(layouts))}
    return found


@st.composite
def inputs(draw, op, attributes, dtype=np.float32):
    """Draw the inputs of a node by name, None for one that is not given."""
    count = 2 if attributes["direction"] == "bidirectional" else 1
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def normal(*shape):
        return rng.standard_normal(shape).astype(dtype)

    G = GATES[op]
    found = dict(X=normal(T, N, D), W=normal(count, G * H, D), R=normal(count, G * H, H))
    found["B"] = normal(count, 2 * G * H) if draw(st.booleans()) else None
    found["sequence_lens"] = rng.integers(1, T + 1, N, np.int32) if draw(st.booleans()) else None
    states = ("initial_h", "initial_c") if op == "LSTM" else ("initial_h",)
    for name in states:
        found[name] = normal(count, N, H) if draw(st.booleans()) else None
    if op == "LSTM":
        found["P"] = normal(count, 3 * H) if draw(st.booleans()) else None
    if attributes["layout"]:
        for name in ("X", *states):
            if found[name] is not None:
                found[name] = np.ascontiguousarray(found[name].swapaxes(0, 1))
    return found


def run(op, attributes, inputs, reference=False):
    """Return Y, Y_h and Y_c of our operator."""
    values = dict(inputs)
    arrays = [values.pop(name, None) for name in ("W", "R", "B", "P")]
    weights = Operator(op, attributes).weights(*arrays, reference=reference)
    return weights.run(**values)


def widened(values, moved=0.0):
    """Return the values in float64, each moved by a part of itself up or down."""
    rng = np.random.default_rng(0)
    return {
        n: a * (1 + moved * rng.choice([-1.0, 1.0], a.shape))
        if a is not None and a.dtype == np.float32
        else a
        for n, a in values.items()
    }


@pytest.mark.reference
@pytest.mark.parametrize("op", GATES)
@given(data=st.data())
def test_every_attribute_equals_onnxruntime(op, data):
    own = data.draw(attributes(op))
    values = data.draw(inputs(op, own))
    exact = run(op, own, widened(values), reference=True)
    assume(all(np.abs(a).max() < 1e6 for a in exact))  # a cell of Relu alone can explode
    # What half a unit in the last place of each input does to the results: rounding does as much.
    half = float(np.finfo(np.float32).eps) / 2
    near = run(op, own, widened(values, half), reference=True)
    sensitive = max(np.abs(a - b).max() for a, b in zip(exact, near, strict=True))
    mine = run(op, own, values, reference=True)
    # Otherwise rounding decides the result, at a threshold or because the cell is chaotic.
    assume(max(np.abs(a - b).max() for a, b in zip(exact, mine, strict=True)) < 1e-3)
    given_attributes = {k: v for k, v in own.items() if k != "layout"}
    theirs = onnx_outputs(op, values, **given_attributes)
    size = max(1.0, sensitive / half, *(np.abs(a).max() for a in theirs))
    for name, a, b in zip(("Y", "Y_h", "Y_c"), mine, theirs, strict=False):
        assert a.shape == b.shape
        assert_close(a, b, T * (D + 4 * H), size, f"{name} of {own}")


@pytest.mark.reference
@pytest.mark.parametrize("op", GATES)
@given(data=st.data())
def test_layout_1_has_the_same_bits(op, data):
    own = data.draw(attributes(op))
    values = data.draw(inputs(op, own, np.float64))
    turned = {
        n: np.ascontiguousarray(a.swapaxes(0, 1))
        if a is not None and n in ("X", "initial_h", "initial_c")
        else a
        for n, a in values.items()
    }
    Y, *ends = run(op, own, values, reference=True)
    Y1, *ends1 = run(op, own | {"layout": 1}, turned, reference=True)
    np.testing.assert_array_equal(Y1, Y.transpose(2, 0, 1, 3))
    for a, b in zip(ends, ends1, strict=True):
        np.testing.assert_array_equal(b, a.swapaxes(0, 1))


def test_onnx_node_tests():
    """Run all of onnx's tests of recurrent nodes, compiled and by NumPy."""
    tested = []
    for name, (op, own, values, expected) in conformance().items():
        own = {k: v.decode() if isinstance(v, bytes) else v for k, v in own.items()}
        own.pop("hidden_size")  # the shape of R says it
        for reference in (True, False):
            mine = dict(zip(("Y", "Y_h", "Y_c"), run(op, own, values, reference), strict=False))
            for output, theirs in expected.items():
                assert mine[output].shape == theirs.shape
                np.testing.assert_allclose(mine[output], theirs, rtol=1e-5, atol=1e-6)
        tested.append(name)
    assert len(tested) == 18


@pytest.mark.parametrize(
    ("op", "own", "words"),
    [
        ("GRU", {"input_forget": 1}, "GRU has no attribute 'input_forget'"),
        ("RNN", {"direction": "up"}, "direction must be one of forward, reverse"),
        ("LSTM", {"activations": ["Tanh"]}, "activations must be 3 names for each direction"),
        ("RNN", {"activations": ["Affine"]}, "Affine needs activation_alpha"),
        ("RNN", {"activations": ["Swish"]}, "activations must be among relu, tanh"),
        ("RNN", {"layout": 2}, "layout must be"),
        ("RNN", {"clip": -1.0}, "clip must be above 0"),
    ],
)
def test_attributes_that_onnx_has_not_are_refused(op, own, words):
    with pytest.raises(ValueError, match=words):
        Operator(op, own)


@pytest.mark.parametrize("name", ["W", "R", "B", "P"])
def test_arrays_of_another_shape_are_refused(name):
    arrays = {
        "W": np.zeros((1, 12, 2)), "R": np.zeros((1, 12, 3)), "B": np.zeros((1, 24)),
        "P": np.zeros((1, 9)),
    }  # fmt: skip
    arrays[name] = arrays[name][:, 1:]
    with pytest.raises(ValueError, match=f"^{name} must "):
        Operator("LSTM", {"hidden_size": 3}).weights(**arrays)
