"""explain says what the engine computes: its text, evaluated as Python, gives the same numbers."""

import re

import numpy as np
import pytest

from recurrent import GRU, LSTM, RNN, Embedding, Linear, Recurrent, Seq2Seq, Sequential, explain
from recurrent.cells import CELLS, PYTORCH, find
from recurrent.interchange.explain import equations
from recurrent.interchange.formats import CUDNN, FORMATS, reordered

LAYERS = [
    RNN(3, 4, nonlinearity="relu"),
    LSTM(3, 4),
    LSTM(3, 4, biases=0, coupled=True),
    LSTM(3, 4, proj_size=2, biases=1),
    LSTM(3, 4, peephole=True, clip=0.5, activations=("hardsigmoid", "softsign", "tanh")),
    GRU(3, 4),
    GRU(3, 4, reset_after=False),
    GRU(3, 4, z_keeps=False, biases=1),
    Recurrent("mgu", 3, 4),
]
FUNCTIONS = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "max": np.maximum,
    "min": np.minimum,
    "positive": lambda x: (x > 0) * 1.0,
}


def evaluate(layer, x):
    """Return the output of the equations that `explain` shows, evaluated as Python."""
    cell, H = layer.cell, layer.hidden_size
    lines = [line.strip() for line in explain(layer).split("\n")]
    code = [line for line in lines if re.match(r"\w+ = ", line)]
    assert len(code) == len(cell.values)
    p = layer.params._asdict()
    state = {s: np.zeros(n) for s, n in zip(cell.states, layer.state_sizes.values(), strict=True)}
    y = []
    for x_t in x:
        values = {f"{s}_": a for s, a in state.items()}
        for line in code:
            name, text = line.split(" = ", 1)
            text = text.replace("'", "_")
            text = re.sub(r"W_hr\(", "W_hr @ (", text)
            text = re.sub(r"(W_[ih]h(?:\.\w+)?) ", r"\1 @ ", text)
            text = re.sub(r"\b([Wb]_[ih]h)\.(\w+)", r"rows(\1, '\2')", text)

            def rows(a, gate):
                k = cell.gates.index(gate)
                return a[k * H : (k + 1) * H]

            gates = list(cell.x_gates)
            assert gates == list(cell.gates) or layer.options.get("coupled")
            if layer.options.get("coupled"):

                def rows(a, gate, gates=gates):
                    k = gates.index(gate)
                    return a[k * H : (k + 1) * H]

            values[name] = eval(text, {**FUNCTIONS, **p, **values, "x": x_t, "rows": rows})
        state = {s: values[s] for s in cell.states}
        y.append(state[cell.states[0]])
    return np.array(y)


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_the_equations_give_the_output(layer):
    layer = type(layer).build(layer.options)
    layer.initialise(0, "float64")
    x = np.random.default_rng(1).standard_normal((5, 3))
    np.testing.assert_allclose(evaluate(layer, x), layer.forward(x)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_has_its_equations(name):
    cell = find(name)
    found = equations(cell)
    assert found.keys() == cell.values.keys()
    assert not any("Expr" in text or "input(" in text for text in found.values())


def test_gate_orders_and_biases_are_those_of_the_layer():
    text = explain(GRU(2, 3))
    assert "gates r z n: blocks of 3 rows in weight_ih_l0 (9, 2), weight_hh_l0 (9, 3)" in text
    assert "biases: two vectors for each gate, b_ih and b_hh" in text
    assert "Keras: gates z r n" in text
    assert "biases: none" in explain(LSTM(2, 3, biases=0))
    assert "ONNX: gates i o f g" in explain(LSTM(2, 3))
    assert "Keras" not in explain(Recurrent("mgu", 2, 3))


def test_models_are_explained_layer_by_layer():
    text = explain(Sequential(Embedding(7, 3), LSTM(3, 4), Linear(4, 7)))
    starts = [line for line in text.split("\n") if not line.startswith(" ")]
    assert [s[:6] for s in starts] == ["0 Embe", "1 LSTM", "2 Line"]
    assert "y = x W' + b" in text
    both = Seq2Seq(Sequential(Embedding(7, 3), GRU(3, 4)), Sequential(Embedding(7, 3), GRU(3, 4)))
    assert "decoder.1 GRU" in explain(both)


@pytest.mark.parametrize("form", [*FORMATS, CUDNN], ids=lambda f: f.title)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_formats_have_our_gates(form, cell):
    assert sorted(form.gates[cell].split()) == sorted(PYTORCH[cell].gates)


def test_the_permutations_are_those_of_the_conventions():
    """Blocks of PyTorch's LSTM in ONNX are 0 3 1 2, and back 0 2 3 1; GRU swaps blocks 0 and 1."""
    by = {form.title: form.gates for form in FORMATS}
    four, torch, onnx = np.arange(4), by["PyTorch"]["lstm"].split(), by["ONNX"]["lstm"].split()
    assert reordered(four, torch, onnx).tolist() == [0, 3, 1, 2]
    assert reordered(four, onnx, torch).tolist() == [0, 2, 3, 1]
    for title in ("Keras", "ONNX"):
        three = reordered(np.arange(3), by["PyTorch"]["gru"].split(), by[title]["gru"].split())
        assert three.tolist() == [1, 0, 2]
