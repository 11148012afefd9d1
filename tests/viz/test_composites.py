"""Composites such as layer normalisation are drawn as one box: correct, clear and compact."""

import re
from functools import lru_cache

import numpy as np
import pytest
from support.arithmetic import arithmetic
from support.dot_reader import read
from support.viz_checks import ACTIVATIONS, OPERATIONS, assert_clear, assert_wires_apart

import viz
from recurrent import GRU, LSTM, Sequential
from recurrent.cells import mean, tanh, trace_cell
from recurrent.conformance.tolerance import assert_close
from recurrent.equations.expressions import Composite, composed
from recurrent.layers.recurrent import Recurrent
from recurrent.losses import mean_squared_error
from viz.layout import circuit, tracks
from viz.reading import evaluate, folding, wiring

D, H = 5, 10
WIDEST = 2000  # points


@trace_cell("own_mean_test", gates="a b", states="h c", register=False)
def own_mean(x, h, previous):
    """A cell with means that belong to no composite."""
    a = tanh(x.a + h.a - mean(previous.c))
    c = previous.c + a * mean(a * previous.c)
    return dict(a=a, b=tanh(x.b + h.b), c=c, h=tanh(c - mean(c)))


@trace_cell("pair_test", gates="a b", states="h c", register=False)
def pair(x, h, previous):
    """A cell with a composite of other values than dot products, and one of three inputs."""
    a, b = tanh(x.a + h.a), tanh(x.b + h.b)
    center = mean(a + b)
    u, v = composed(Composite("both", "a − mean"), [a, b], [a - center, b - center])
    (w,) = composed(Composite("three", "a"), [a, b, previous.c], [a * b * previous.c])
    return dict(a=a, b=b, c=u * previous.c + w, h=v)


LAYERS = {
    "lstm": LSTM(D, H, layer_norm=True),
    "peephole": LSTM(D, H, layer_norm=True, peephole=True),
    "coupled": LSTM(D, H, layer_norm=True, peephole=True, coupled=True),
    "projected": LSTM(D, H, layer_norm=True, proj_size=4),
    "gru": GRU(D, H, layer_norm=True),
    "reset before": GRU(D, H, layer_norm=True, reset_after=False),
    "means": Recurrent(own_mean, D, H),
    "pair": Recurrent(pair, D, H),
}


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_circuits_are_clear_and_not_wide(name, backward):
    drawing = viz.cell(LAYERS[name], backward=backward)
    assert_clear(drawing.source)
    assert drawing.size[0] < WIDEST
    assert_wires_apart(circuit.cell_circuit(LAYERS[name].cell))


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_circuits_on_tracks_are_clear_too(name, monkeypatch):
    builder = circuit._Builder(LAYERS[name].cell, 1)
    found = tracks.lay_out(builder.wiring, builder.lanes, builder.circuit.spines, builder.order)
    assert_wires_apart(found)
    monkeypatch.setattr("viz.views.cell.cell_circuit", lambda cell: found)
    assert_clear(viz.cell(LAYERS[name]).source)


@pytest.mark.parametrize(
    ("name", "boxes"), [("lstm", 3), ("gru", 4), ("reset before", 4), ("means", 0), ("pair", 2)]
)
def test_values_normalised_together_share_one_box(name, boxes):
    nodes = read(viz.cell(LAYERS[name]).source)[0]
    folded = [
        n
        for k, n in nodes.items()
        if n.attributes["label"] in ("LN", "both") and not k.startswith("key:")
    ]
    assert len(folded) == boxes
    assert sum(n.attributes["label"] == "mean" for n in nodes.values()) == (
        3 if name == "means" else 0
    )


@lru_cache
def recorded(name):
    """A model of one layer with distinct gains and biases, and a recording of it."""
    layer = LAYERS[name]
    model, rng = Sequential(layer, dtype="float64", rng=0), np.random.default_rng(0)
    for p in layer.cell.parameters:
        getattr(layer.params, p)[:] += rng.uniform(-0.3, 0.3, H)
    x, y = rng.standard_normal((4, 1, D)), rng.standard_normal((4, 1, layer.out_features))
    return model, model.record(x, targets=y, loss=mean_squared_error)


def formula(tip, named, own, a):
    """Evaluate the formula of a box for the wire `a`, given values of wires and parameters."""
    said, members, parameters = re.fullmatch(
        r"\w+: (.*), over all units of (.*?)(?:; own parameters for (.*))?", tip
    ).groups()
    every = np.concatenate([named(m) for m in members.split(", ")])
    known = {"a": named(a), "mean": every.mean(), "variance": every.var(), "sqrt": np.sqrt}
    mine = dict(p.split(": ") for p in parameters.split("; for "))[a]
    known |= {re.match("gain|bias", p)[0]: own[p] for p in mine.split(", ")}
    return arithmetic(said, known)


def states_by_the_picture(layer, recording, t):
    """Compute the new states of all units from the circuit and its tooltips."""
    nodes, edges, _ = read(viz.cell(layer).source)
    into = {}
    for e in edges:
        if "arrowhead" not in e.attributes:  # the last piece of a wire
            into.setdefault(e.head, []).append(e.tail)
    c, own, seen = layer.cell, layer.params._asdict(), evaluate.step(recording, layer, t, 0)
    neurons, ids = (
        {a.id: a for a in wiring.cell_wiring(c).neurons},
        {v: k for k, v in evaluate.node_names(c).items()},
    )
    bars = [n for k, n in nodes.items() if k.startswith("bar:")]

    def rows(name, gates, gate):
        return own[name][gates.index(gate) * H :][:H]

    def value(k):
        source, label = into.get(k, []), nodes[k].attributes["label"]
        inside = [
            b
            for b in bars
            if b.box[0] < nodes[k].box[0] < b.box[2] and b.box[1] < nodes[k].box[1] < b.box[3]
        ]
        if k.startswith("previous:"):
            return seen.before[k.removeprefix("previous:")]
        if k.startswith("p:"):
            return own[k.removeprefix("p:")]
        if k in neurons:
            total, a = np.zeros(H), neurons[k]
            for tail in source:
                name, gates, v = (
                    ("W_ih", c.x_gates, seen.x) if tail == "x" else ("W_hh", c.h_gates, value(tail))
                )
                total = total + rows(name, gates, a.gate) @ v
            return ACTIVATIONS.get(a.label.removeprefix("Σ → "), lambda v: v)(total)
        if inside or label == "LN":
            tip = (inside or [nodes[k]])[0].attributes["tooltip"]
            return formula(
                tip, lambda name: value(ids[name]), own, evaluate.node_names(c)[source[0]]
            )
        if k.startswith("state:"):
            return value(source[0])
        if label == "W_hh ·":
            return rows("W_hh", c.h_gates, "n") @ value(source[0])
        if label in ACTIVATIONS:
            return ACTIVATIONS[label](value(source[0]))
        left, sign, right = re.fullmatch(r"(\S+ )?([×+−])( \S+)?", label).groups()
        assert sign != "−" or left, "the order of a difference is not told by its wires alone"
        return OPERATIONS[sign](
            *([float(left)] if left else []),
            *map(value, source),
            *([float(right)] if right else []),
        )

    return {s: value(f"state:{s}") for s in c.states}


@pytest.mark.parametrize("name", ["coupled", "reset before"])
def test_the_circuit_computes_what_the_engine_computes(name):
    model, recording = recorded(name)
    for t in (0, 3):
        found = states_by_the_picture(model[0], recording, t)
        for s, a in found.items():
            assert_close(a, recording.layers[0].states[s][t, 0], terms=2 * (D + H), what=s)
    assert_clear(viz.cell(model[0], recording=recording).source)
    assert_clear(viz.cell(model[0], recording=recording, backward=True, unit=3).source)
    assert_clear(viz.unit(model[0], 3, recording=recording).source)


def test_folding_changes_no_equation():
    plain = own_mean.graph()
    assert folding.folded(plain).nodes == plain.nodes
    assert folding.folded(plain).edges == plain.edges
    three = next(o for o in wiring.cell_wiring(pair).operations if o.id == "c")
    assert three.label == "+"
    assert [o.label for o in wiring.cell_wiring(pair).operations if o.fold] == ["both", "both"]


def test_the_gate_view_names_the_box():
    model, recording = recorded("coupled")
    text = viz.unit(model[0], 3, recording=recording, gate="i").source
    assert "LN(x.i) = " in text
    assert "mean" not in text


def test_a_gate_without_biases_lists_none():
    assert "Σ w x + b" not in viz.unit(LAYERS["lstm"], 3, gate="f").source
    assert "Σ w x + b" in viz.unit(LSTM(D, H).initialise(0), 3, gate="f").source


def test_a_clip_is_one_node():
    for layer, count in ((GRU(D, H, clip=3.0), 3), (LSTM(D, H, cell_clip=3.0), 1)):
        for drawing in (viz.cell(layer), viz.unit(layer, 1), viz.cell(layer, backward=True)):
            nodes = read(drawing.source)[0]
            labels = [n.attributes["label"] for k, n in nodes.items() if not k.startswith("key:")]
            assert labels.count("clip ±3") == count
            assert not {"max", "min", "max −3", "min 3"} & set(labels)
        assert "a limited to [−3, 3]" in viz.cell(layer).source
        assert "over all units" not in viz.cell(layer).source
