"""Pictures of a Graph: branches, joins, several inputs and outputs, shared parameters."""

import numpy as np
import pytest
from support.dot_reader import read

import viz
from recurrent import GRU, LSTM, Add, Concat, Graph, Last, Linear, losses


def branches():
    nodes = {
        "lstm": LSTM(4, 4),
        "sum": (Add(), "x", "lstm"),
        "gru": (GRU(4, 3), "x"),
        "both": (Concat(), "sum", "gru", "x"),
        "out": Linear(11, 2),
    }
    return Graph(nodes, "out", rng=0)


def shared():
    reader = GRU(4, 5)
    nodes = {
        "first": (reader, "a"),
        "second": (reader, "b"),
        "sum": (Add(), "first", "second"),
        "last": Last(),
        'a "name"\\N': (Linear(5, 2), "sum"),
    }
    return Graph(nodes, ["last", 'a "name"\\N'], rng=0)


def wires(drawing):
    """The pairs of nodes that an edge joins, without the loops of states."""
    edges = read(drawing.source)[1]
    return {(e.tail, e.head) for e in edges if e.tail != e.head}


def test_the_network_has_every_branch_and_join():
    drawing = viz.network(branches())
    assert wires(drawing) == {
        *(("x", "layer0"), ("x", "layer1"), ("layer0", "layer1"), ("x", "layer2")),
        *(("layer1", "layer3"), ("layer2", "layer3"), ("x", "layer3")),
        *(("layer3", "layer4"), ("layer4", "y")),
    }
    for text in ("lstm", "both", "(T, N, 11)", "(T, N, 3)", "h (N, 3), 1 step later"):
        assert text in drawing.source


def test_no_wire_crosses_a_box():
    nodes, edges, *_ = read(viz.network(branches()).source)
    boxes = {name: node.box for name, node in nodes.items() if name.startswith("layer")}
    assert len(boxes) == 5
    for e in edges:
        for x, y in e.points():
            for name, (left, bottom, right, top) in boxes.items():
                if name not in (e.tail, e.head):
                    assert not (left < x < right and bottom < y < top), (e.tail, e.head, name)


def test_shared_parameters_inputs_and_outputs_are_named():
    model = shared()
    x = {name: np.zeros((3, 2, 4), np.float32) for name in "ab"}
    targets = {name: np.zeros_like(y) for name, y in model(x).items()}

    def loss(y, targets, lengths=None):
        found = {name: losses.mean_squared_error(y[name], targets[name]) for name in y}
        return sum(v for v, _ in found.values()), {name: dy for name, (_, dy) in found.items()}

    drawing = viz.network(model, recording=model.record(x, targets, loss))
    assert "parameters of first" in drawing.source
    assert f"{model.size} parameters in total" in drawing.source
    assert "|dL/dy|" in drawing.source
    assert "last" in drawing.source
    assert {("x.a", "layer0"), ("x.b", "layer1")} <= wires(drawing)
    assert drawing.svg()


def test_views_of_layers_in_a_row_refuse_branches_in_one_line():
    model = branches()
    recording = model.record(np.zeros((3, 2, 4), np.float32))
    for call in (
        lambda: viz.unrolled(model),
        lambda: viz.explore(model, recording),
    ):
        with pytest.raises(ValueError, match=r"this Graph has branches: write viz\.network"):
            call()
    assert viz.cell(model["lstm"]).source
    row = Graph({"lstm": LSTM(4, 4), "out": Linear(4, 2)}, "out")
    assert viz.unrolled(row).source
