"""Pictures of every shipped cell can be read: no text is covered, and every wire can be followed.

Two nets may cross, but share no stretch of a line. A net is the wires from one node; in a backward
pass those into one node, where gradients add. The bus of x and h is one net.
"""

import re
from collections import defaultdict

import numpy as np
import pytest
from support.cells import OWN, minimal, three
from support.cells import linear as linear_cell
from support.dot_reader import read
from support.viz_checks import assert_contrast, assert_nets_apart, assert_texts_clear

import viz
from recurrent import GRU, LSTM, QRNN, RNN, Recurrent, Sequential, losses
from recurrent.cells import CELLS
from viz.reading import gates

VIEWS = {
    "unrolled": lambda model, run: viz.unrolled(model, 3, recording=run),
    "layer": lambda model, run: viz.layer(model[0], run),
    "unit": lambda model, run: viz.unit(model[0], model[0].hidden_size - 1, run),
    "gate": lambda model, run: viz.unit(model[0], 0, run, gate=model[0].cell.gates[-1]),
    "weights": lambda model, run: viz.weights(model[0], run),
    "cell": lambda model, run: viz.cell(model[0], run),
    "backward": lambda model, run: viz.cell(model[0], run, backward=True),
}
EVERYTHING = dict(peephole=True, layer_norm=True, clip=3.0, cell_clip=2.0)
BENT = dict(activations=("hard_sigmoid", "relu"), clip=3.0)
VARIANTS = {  # layers by name, made of the numbers of inputs and of units
    **{c.name: (lambda D, H, c=c: Recurrent(c, D, H)) for c in (*OWN, linear_cell, three, minimal)},
    "peephole, coupled": lambda D, H: LSTM(D, H, peephole=True, coupled=True),
    "all options": lambda D, H: LSTM(D, H, **EVERYTHING),
    "projected": lambda D, H: LSTM(D, H, proj_size=max(1, H // 2)),
    "projected, all options": lambda D, H: LSTM(D, H, proj_size=max(1, H // 2), **EVERYTHING),
    "hard LSTM": lambda D, H: LSTM(D, H, activations=("hard_sigmoid", "relu", "elu")),
    "reset before": lambda D, H: GRU(D, H, reset_after=False, clip=3.0),
    "normalised GRU": lambda D, H: GRU(D, H, layer_norm=True),
    "reset before, normalised": lambda D, H: GRU(D, H, layer_norm=True, reset_after=False),
    "hard GRU": lambda D, H: GRU(D, H, **BENT),
    "z new": lambda D, H: GRU(D, H, z_keeps=False),
    "elu": lambda D, H: RNN(D, H, nonlinearity="elu", clip=2.0),
    "window of 3": lambda D, H: QRNN(D, H, window=3),
}


def recorded(model):
    """Return a short run of a model with gradients, without kernels; all inputs are positive."""
    model[0].engine = model[0].runner = model[0].engine.reference
    x = np.abs(np.random.default_rng(0).standard_normal((5, 2, model[0].in_features)))
    x = x.astype("float32")
    y = np.zeros((5, 2, model[0].out_features), "float32")
    return model.record(x, y, losses.mean_squared_error)


def assert_readable(view, model, run):
    source = VIEWS[view](model, run).source
    cell = model[0].cell
    bus = {"x", *(f"previous:{s}" for s in cell.states[:1])}
    if view != "gate":  # it has a plot, whose curve runs along its axes
        assert_nets_apart(
            source, view == "backward", bus if view in ("cell", "backward") else set()
        )
    assert_texts_clear(source)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("view", VIEWS)
def test_wires_can_be_followed_and_texts_read(view, name):
    assert_readable(view, Sequential(Recurrent(name, 3, 4), rng=0), None)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CELLS, *VARIANTS])
@pytest.mark.parametrize("sizes", [(3, 1), (64, 13)])
def test_every_option_and_size_with_values(name, sizes):
    make = VARIANTS.get(name, lambda D, H: Recurrent(name, D, H))
    model = Sequential(make(*sizes), rng=0)
    run = recorded(model)
    for view in VIEWS:
        assert_readable(view, model, run)


def test_keys_of_blocks_of_weights_stand_apart():
    assert_readable("weights", Sequential(Recurrent("phased_lstm", 64, 13), rng=0), None)


@pytest.mark.parametrize("view", ["unrolled", "layer", "unit"])
@pytest.mark.parametrize("name", ["lstm", "grud", "sru"])
def test_a_layer_of_one_unit(view, name):
    assert_readable(view, Sequential(Recurrent(name, 3, 1), rng=0), None)


@pytest.mark.parametrize("name", ["lstm", "slstm", "nested_lstm", "grud"])
@pytest.mark.parametrize(
    "look",
    [{}, {"dark": True}, {"palette": "colour-blind", "dark": True}, {"palette": "print"}],
    ids=["light", "dark", "colour-blind", "print"],
)
def test_every_text_has_a_contrast_of_4_5(look, name):
    model = Sequential(Recurrent(name, 3, 4), rng=0)
    run, layer = recorded(model), model[0]
    for drawing in (
        viz.unit(layer, 1, run, **look),
        viz.unit(layer, 1, run, gate=layer.cell.gates[0], **look),
        viz.layer(layer, run, **look),
        viz.cell(layer, run, **look),
        viz.cell(layer, run, backward=True, **look),
        viz.weights(layer, run, **look),
        viz.unrolled(model, recording=run, **look),
        viz.gradients(model, run, **look),
        viz.network(model, run, **look),
    ):
        assert_contrast(drawing.source)


@pytest.mark.parametrize("name", CELLS)
def test_a_units_box_of_h_has_lines_and_counts_the_gates_that_they_lead_to(name):
    model = Sequential(Recurrent(name, 3, 4), rng=0)
    nodes, edges, _ = read(viz.unit(model[0], 1).source)
    gates = {e.head for e in edges if e.tail.startswith("in:h")}
    assert bool(gates) == ("all" in nodes) == any(n.startswith("in:h") for n in nodes)
    if gates:
        words = nodes["all"].attributes["label"].splitlines()[0]
        named = {n.partition(":")[0] for n in gates} - {""}
        assert words.startswith("all 4 units × ")
        assert int(words.split()[4]) <= len(gates), (words, named)


def test_units_that_read_each_other_within_a_step_say_so():
    words = viz.unit(Sequential(Recurrent("grud", 3, 4), rng=0)[0], 1).source
    assert "units read each other by W_hh ·" in words
    assert "a weight for each of 4 units" in words
    assert "no unit reads" in viz.unit(Sequential(Recurrent("sru", 3, 4), rng=0)[0], 1).source


@pytest.mark.parametrize("view", ["cell", "unit"])
def test_operands_whose_order_matters_are_marked(view):
    """h of an sLSTM is o times c over n, and m a choice by n."""
    nodes, edges, _ = read(VIEWS[view](Sequential(Recurrent("slstm", 3, 4), rng=0), None).source)
    label = {k: n.attributes["label"] for k, n in nodes.items()}
    marks = defaultdict(dict)
    for e in edges:
        if label.get(e.head) in ("a ÷ b", "where") and e.attributes["pos"].startswith("e,"):
            tip = tuple(map(float, e.attributes["pos"].split()[0][2:].split(",")))
            marks[label[e.head]][label[e.tail]] = _nearest(nodes, tip)
    assert marks["where"] == {"> 0": "if", "max": "then", "Σ": "else"}
    assert marks["a ÷ b"] == {"+" if view == "cell" else "cₜ": "a", "max 1": "b"}


def _nearest(nodes, point):
    """Return the text that is nearest to a point."""
    texts = [n for n in nodes.values() if n.is_text]
    near = min(texts, key=lambda n: (n.box[0] - point[0]) ** 2 + (n.box[1] - point[1]) ** 2)
    return near.attributes["label"]


def test_a_gate_that_is_more_than_an_activation_is_written_step_by_step():
    """f of an sLSTM is a logarithm of a sigmoid."""
    model = Sequential(Recurrent("slstm", 3, 4), rng=0)
    drawing = viz.unit(model[0], 1, recorded(model), gate="f")
    assert "then an activation" not in drawing.source
    assert not re.search(r"−−|= (\S+) = \1\b", drawing.source)
    plain = viz.unit(model[0], 1, recorded(model), gate="o")
    assert "opened: a dot product, then an activation" in plain.source


def test_own_parameters_stand_below_the_weights_of_x_where_there_is_no_w_hh():
    nodes, _, _ = read(viz.weights(Sequential(Recurrent("sru", 3, 4), rng=0)[0]).source)
    x = {k: nodes[k].box[0] for k in ("own:v_f:0,0", "W_ih:n:0,0")}
    assert x["own:v_f:0,0"] == pytest.approx(x["W_ih:n:0,0"], abs=1)
    texts = [n.attributes["label"] for n in nodes.values() if n.is_text]
    assert "own parameters\nof each unit" in texts
    assert "columns: inputs, bias; rows: units" in texts
    plain = viz.weights(Sequential(LSTM(3, 4, biases=0), rng=0)[0]).source
    assert "columns: inputs; rows: units" in plain
    assert "b_ih" not in plain


def test_numbers_that_all_units_share_have_the_shape_of_one():
    """zeta and nu of a FastGRNN, and the time of an LTC, are the same for all units."""
    for name, shared in (("fastgrnn", ["nu", "zeta"]), ("ltc", ["dt"])):
        layer = Sequential(Recurrent(name, 3, 4), rng=0)[0]
        nodes, edges, _ = read(viz.cell(layer).source)
        label = {k: n.attributes["label"] for k, n in nodes.items()}
        single = {label[e.tail] for e in edges if e.attributes["tooltip"].endswith(" (1,)")}
        named = {e.tail.partition(":")[2] for e in edges if e.tail.startswith("parameter:")}
        assert set(shared) <= single
        assert not single & (named - set(shared))


def test_a_gate_of_inputs_alone_has_no_key_of_h():
    model = Sequential(Recurrent("grud", 3, 4), rng=0)
    source = viz.unit(model[0], 1, recorded(model), gate="n").source
    assert "W_hh · (rₜ × dₜ × hₜ₋₁)" in source
    assert "fill: hₜ₋₁" not in source
    assert "fill: xₜ" in source


def test_a_comparison_passes_no_gradient_on():
    source = viz.cell(Sequential(Recurrent("slstm", 3, 4), rng=0)[0], backward=True).source
    assert '"× 0"' in source


@pytest.mark.parametrize("name", [*CELLS, *VARIANTS])
def test_gates_of_a_cell_have_colours_of_their_own(name):
    make = VARIANTS.get(name, lambda D, H: Recurrent(name, D, H))
    cell = make(3, 4).cell
    colours = [gates.look(cell, g)[1] for g in cell.gates]
    assert len(set(colours)) == len(colours)


@pytest.mark.parametrize("name", ["phased_lstm", "slstm", "nested_lstm", "gru", "rnn"])
def test_every_factor_of_a_backward_picture_is_written(name):
    """A factor without a place beside its wire has a number, which is explained below."""
    layer = Sequential(Recurrent(name, 3, 4), rng=0)[0]
    drawing = viz.cell(layer, backward=True)
    nodes, _, _ = read(drawing.source)
    labels = [n.attributes["label"] for n in nodes.values() if n.is_text]
    numbers = {k for label in labels for k in re.findall(r"^\((\d+)\)$", label)}
    assert numbers == {k for label in labels for k in re.findall(r"^\((\d+)\)  \S", label)}
    assert any("W_hh transposed: gradients of all units mix" in label for label in labels)
    assert drawing.size[0] < 2400
