"""Pictures show what the engine computes, have no overlaps, and are deterministic."""

import os
import re
import subprocess
import sys
from functools import cache, partial
from itertools import combinations, pairwise

import numpy as np
import pytest
from support.arithmetic import arithmetic
from support.dot_reader import overlap, read
from support.viz_checks import ACTIVATIONS, OPERATIONS, assert_apart, assert_wires_pass_beside
from support.viz_models import EVERY, GOLDEN, exact_model, exact_recording, recorded, tooltip_number

import recurrent
import viz
from recurrent.cells import PYTORCH
from recurrent.conformance.tolerance import assert_close
from recurrent.layers.recurrent import Recurrent
from recurrent.losses import mean_squared_error
from viz.draw import notation
from viz.reading import wiring

D, H, T, N = 5, 10, 6, 2


def stack(kind=recurrent.LSTM, units=H):
    layers = (
        recurrent.Embedding(65, 8),
        kind(8, units),
        recurrent.Dropout(0.2),
        kind(units, units),
        recurrent.Linear(units, 65),
    )
    model = recurrent.Sequential(*layers, rng=0)
    rng = np.random.default_rng(0)
    targets = rng.standard_normal((40, N, 65)).astype("float32")
    return model, model.record(
        rng.integers(0, 65, (40, N)), targets=targets, loss=mean_squared_error
    )


# The unit


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("j", [0, 3, H - 1])
def test_every_weight_of_the_unit_is_drawn_with_its_value(name, j):
    model, _ = recorded(name)
    cell, params = EVERY[name], model.parameters
    _, edges, _ = read(viz.unit(model[0], j).source)
    drawn = {
        (e.tail, e.head): e.attributes["tooltip"].rpartition("= ")[2]
        for e in edges
        if e.tail.startswith("in:")
    }
    expected = {}
    for neuron in wiring.cell_wiring(cell).neurons:
        for group, gates, weight in (
            ("x", cell.x_gates, "0.weight_ih_l0"),
            ("h", cell.h_gates, "0.weight_hh_l0"),
        ):
            if getattr(neuron, group):
                row = params[weight][gates.index(neuron.gate) * H + j]
                expected |= {(f"in:{group}{k}", neuron.id): f"{w:.7g}" for k, w in enumerate(row)}
    assert drawn == expected
    assert len(drawn) == len(cell.x_gates) * D + len(cell.h_gates) * H


def test_line_width_and_colour_follow_the_weight():
    model, _ = recorded("lstm")
    model.flat[:] = 0
    W = model.parameters["0.weight_ih_l0"]
    W[3, 0], W[3, 1], W[3, 2] = 1.0, -1.0, 0.5
    lines = {e.tail: e.attributes for e in read(viz.unit(model[0], 3).source)[1] if e.head == "i"}
    widths = [float(lines[f"in:x{k}"]["penwidth"]) for k in (0, 1, 2, 3)]
    assert widths[0] == widths[1] > widths[2] > widths[3]
    assert (lines["in:x0"]["color"], lines["in:x1"]["color"]) == ("#b35806", "#2166ac")


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("t", [0, 3, None])
def test_the_unit_shows_recorded_values(name, t):
    model, recording = recorded(name)
    nodes, _, _ = read(viz.unit(model[0], 3, recording=recording, t=t, n=1).source)
    mine, cell = recording.layers[0], EVERY[name]
    t = T - 1 if t is None else t
    first = cell.states[0]
    before = mine.states[first][t - 1, 1] if t else np.zeros(H)
    assert [tooltip_number(nodes[f"in:x{k}"]) for k in range(D)] == [
        f"{v:.7g}" for v in recording.x[t, 1]
    ]
    assert [tooltip_number(nodes[f"in:h{k}"]) for k in range(H)] == [f"{v:.7g}" for v in before]
    assert {s: tooltip_number(nodes[f"state:{s}"]) for s in cell.states} == {
        s: f"{mine.states[s][t, 1, 3]:.7g}" for s in cell.states
    }
    w = wiring.cell_wiring(cell)
    gates = {a.id: a.value for a in w.neurons if a.value and a.value not in cell.states}
    gates |= {o.id: o.gate for o in w.operations if o.gate}
    for k, g in gates.items():
        assert tooltip_number(nodes[k]) == f"{mine.gates[g][t, 1, 3]:.7g}"
    # The unit itself is marked among its inputs.
    assert nodes["in:h3"].attributes["penwidth"] != nodes["in:h4"].attributes["penwidth"]


def compute(nodes, edges, biases, before):
    """Compute the new states from the picture: sums over its lines, operations along its wires."""
    into = {}
    for e in edges:
        into.setdefault(e.head, []).append(e)

    def value(k):
        label = nodes[k].attributes["label"].split("\n")[0]
        if k.startswith("in:"):
            return float(tooltip_number(nodes[k]))
        if k.startswith("p:"):
            return float(tooltip_number(nodes[k]))
        if label.startswith("Σ"):
            total = sum(
                value(e.tail) * float(e.attributes["tooltip"].rpartition("= ")[2]) for e in into[k]
            )
            activation = label.removeprefix("Σ").removeprefix(" → ")
            return ACTIVATIONS.get(activation, lambda v: v)(total + biases[k])
        arguments = [argument(e) for e in into[k]]
        if k.startswith("state:"):
            return arguments[0]
        if label in ACTIVATIONS:
            return ACTIVATIONS[label](arguments[0])
        left, sign, right = re.fullmatch(r"(\S+ )?([×+−])( \S+)?", label).groups()
        numbers = ([float(left)] if left else []) + arguments + ([float(right)] if right else [])
        return OPERATIONS[sign](*numbers)

    def argument(e):
        return before[e.tail] if e.attributes.get("style") == "dashed" else value(e.tail)

    return {k: value(k) for k in nodes if k.startswith("state:")}


@pytest.mark.parametrize("name", EVERY)
def test_the_picture_computes_what_the_engine_computes(name):
    model, recording = recorded(name, dtype="float64")
    cell, params, j, t = EVERY[name], model.parameters, 3, 4
    nodes, edges, _ = read(viz.unit(model[0], j, recording=recording, t=t).source)
    biases = {}
    for a in wiring.cell_wiring(cell).neurons:
        b_ih = params["0.bias_ih_l0"][cell.x_gates.index(a.gate) * H + j] if a.x else 0
        b_hh = params["0.bias_hh_l0"][cell.h_gates.index(a.gate) * H + j] if a.h else 0
        biases[a.id] = b_ih + b_hh
    states = recording.layers[0].states
    before = {f"state:{s}": states[s][t - 1, 0, j] for s in cell.states}
    if name == "three":  # h is a difference, whose arguments keep the order of the equations
        assert [e.tail for e in edges if e.head == "h"][-1] == "state:h"
    found = compute(nodes, edges, biases, before)
    for s in cell.states:
        # Numbers in tooltips have 7 digits, as many as float32.
        assert_close(
            np.float32(found[f"state:{s}"]),
            np.float32(states[s][t, 0, j]),
            terms=D + H,
            scale=1.0,
            what=s,
        )


@pytest.mark.parametrize(
    ("name", "one_unit", "one_bias"), [("lstm", 68, 64), ("gru", 51, 49), ("rnn", 17, 16)]
)
def test_parameters_are_counted_with_two_biases_and_with_one(name, one_unit, one_bias):
    model, _ = recorded(name)
    text = read(viz.unit(model[0], 0).source)[0]["facts"].attributes["label"]
    assert re.search(r"parameters: .* = (\d+)", text)[1] == str(one_unit) == str(model[0].size // H)
    assert re.search(r"with one bias per Σ: .* = (\d+)", text)[1] == str(one_bias)
    assert f"10 units × {one_unit} = {model[0].size} (one bias per Σ: {10 * one_bias})" in text
    assert "5 + 10 = 15 inputs" in text
    assert ("4 neurons + its own memory cₜ" in text) == (name == "lstm")


@pytest.mark.parametrize("name", EVERY)
def test_counts_add_up_for_every_cell(name):
    model, _ = recorded(name, 3, 4)
    text = read(viz.unit(model[0], 0).source)[0]["facts"].attributes["label"]
    accumulators = len(EVERY[name].accumulators)
    # Biases that are summed with another one.
    less = sum(len(g) for g in (EVERY[name].x_gates, EVERY[name].h_gates)) - accumulators
    for words_before, expected in (
        ("parameters", model[0].size // 4),
        ("with one bias per Σ", model[0].size // 4 - less),
    ):
        expression, total = re.search(rf"{words_before}: (.*) = (\d+)", text).groups()
        assert arithmetic(re.sub(r"[a-z]+", "", expression)) == int(total) == expected
    assert model[0].size % 4 == 0


def test_memory_is_private_and_h_goes_to_all():
    model, _ = recorded("lstm")
    nodes, edges, _ = read(viz.unit(model[0], 3).source)
    inside = {n for n in nodes if not n.startswith(("in:", "key:", "text"))} - {
        "above",
        "all",
        "fork",
        "facts",
    }
    assert {e.head for e in edges if e.tail == "state:c"} <= inside
    assert [
        e.attributes["style"] for e in edges if e.tail == "state:c" and "style" in e.attributes
    ] == ["dashed"]
    assert {e.head for e in edges if e.tail == "state:h"} == {"fork"}
    assert {e.head for e in edges if e.tail == "fork"} == {"above", "all"}
    assert [e.attributes["style"] for e in edges if (e.tail, e.head) == ("all", "group:h:")] == [
        "dashed"
    ]
    assert "all 10 units × 4 gates" in nodes["all"].attributes["label"]


def test_the_candidate_of_the_gru_has_two_separate_sums():
    model, _ = recorded("gru")
    nodes, edges, _ = read(viz.unit(model[0], 3).source)
    takes = {
        k: {e.tail[:4] for e in edges if e.head == k} for k in ("r", "z", "sum:n.x", "sum:n.h")
    }
    assert takes == {
        "r": {"in:x", "in:h"},
        "z": {"in:x", "in:h"},
        "sum:n.x": {"in:x"},
        "sum:n.h": {"in:h"},
    }
    assert nodes["n"].attributes["fillcolor"] == nodes["sum:n.x"].attributes["fillcolor"]


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_many_inputs_are_reduced_to_the_strongest_and_the_picture_says_so(name):
    model, recording = recorded(name, 128, 512, steps=2)
    source = viz.unit(model[0], 100, recording=recording).source
    nodes, edges, _ = read(source)
    cell, params = EVERY[name], model.parameters
    strength = {}
    for group, gates, weight in (
        ("x", cell.x_gates, "0.weight_ih_l0"),
        ("h", cell.h_gates, "0.weight_hh_l0"),
    ):
        rows = params[weight].reshape(len(gates), 512, -1)[:, 100]
        strength |= {
            f"in:{group}{k}": float(np.abs(rows[:, k]).max()) for k in range(rows.shape[1])
        }
    shown = {k for k in nodes if re.fullmatch(r"in:[xh]\d+", k)}
    assert shown == set(sorted(strength, key=lambda k: -strength[k])[:48])
    assert "48 of 640 inputs drawn" in source
    for group, weight in (("x", "0.weight_ih_l0"), ("h", "0.weight_hh_l0")):
        rows = params[weight].reshape(-1, 512, params[weight].shape[1])[:, 100]
        rest = [k for k in range(rows.shape[1]) if f"in:{group}{k}" not in shown]
        label = nodes[f"in:{group}more"].attributes["label"]
        assert label == f"{len(rest)} more, ‖w‖ = {np.linalg.norm(rows[:, rest].astype(float)):.3g}"
    assert len(edges) < 300


# The network


def test_network_shows_shapes_parameters_and_delays():
    model, _ = stack()
    nodes, edges, _ = read(viz.network(model).source)
    labels = [n.attributes["label"] for n in nodes.values()]
    for k, layer in enumerate(model.layers):
        count = notation.count(layer.size, "parameter") if layer.size else "no parameters"
        assert nodes[f"layer{k}"].attributes["label"].split("\n")[1] == count
    assert any(f"{model.size:,} parameters in total" in label for label in labels)
    assert [label for label in labels if label.startswith("(T")] == [
        "(T, N)", "(T, N, 8)", "(T, N, 10)", "(T, N, 10)", "(T, N, 10)", "(T, N, 65)"]  # fmt: skip
    assert sorted(e.tail for e in edges if e.tail == e.head) == [
        "layer1",
        "layer1",
        "layer3",
        "layer3",
    ]
    assert labels.count("h (N, 10), 1 step later") == labels.count("c (N, 10), 1 step later") == 2


# The unrolled network


@pytest.mark.parametrize("kind", [recurrent.LSTM, recurrent.GRU, recurrent.RNN])
def test_unrolled_has_one_column_a_step_and_one_wire_a_state(kind):
    model, _ = stack(kind)
    nodes, edges, _ = read(viz.unrolled(model, 4).source)
    assert {n for n in nodes if "@" in n} == {
        f"{r}@{t}" for r in ("x", *(f"layer{k}" for k in range(5)), "y") for t in range(4)
    }
    states = model[1].cell.states
    for k in (1, 3):
        for t in range(3):
            wires = [e for e in edges if (e.tail, e.head) == (f"layer{k}@{t}", f"layer{k}@{t + 1}")]
            assert len({e.attributes["color"] for e in wires}) == len(wires) == len(states)
        assert {f"initial:layer{k}:{s}" for s in states} <= set(nodes)
    assert not [e for e in edges if e.tail.startswith("layer0@") and e.head.startswith("layer0@")]
    assert any(n.attributes["label"] == "same weights at every step" for n in nodes.values())


@pytest.mark.parametrize(
    ("steps", "window", "shown"),
    [
        (1, None, [0]),
        (8, None, range(8)),
        (100, None, [0, 1, 2, 98, 99]),
        (40, 20, [0, 1, 2, 19, 20, 21, 38, 39]),
        ([3, 4, 17], None, [3, 4, 17]),
        (10_000, 3, [0, 1, 2, 3, 4, 5, 9998, 9999]),
    ],
)
def test_long_sequences_are_elided_and_the_picture_says_so(steps, window, shown):
    model, _ = stack()
    source = viz.unrolled(model, steps, window=window).source
    nodes, _, _ = read(source)
    assert sorted(int(n[2:]) for n in nodes if n.startswith("x@")) == list(shown)
    T = steps if isinstance(steps, int) else max(steps) + 1
    assert (f"{T - len(shown)} of {T} steps not drawn" in source) == (len(shown) < T)
    assert ("…" in source) == any(b > a + 1 for a, b in pairwise(shown))


def test_windows_carry_the_state_and_cut_the_gradient():
    model, _ = stack()
    nodes, edges, clusters = read(viz.unrolled(model, 6, window=2).source)
    assert sorted(n for n in nodes if n.startswith("cut:layer1")) == [
        "cut:layer1@2",
        "cut:layer1@4",
    ]
    assert set(clusters) == {"window0", "window1", "window2"}
    for t in range(5):
        styles = {
            e.attributes["style"]
            for e in edges
            if (e.tail, e.head) == (f"layer1@{t}", f"layer1@{t + 1}")
        }
        assert styles == {"dashed" if t % 2 else "solid"}
    assert "cut:" not in viz.unrolled(model, 6).source


def test_gradient_bars_are_those_of_the_backward_pass():
    model, recording = stack()
    nodes, _, _ = read(viz.unrolled(model, 40, recording=recording).source)
    for k in (1, 3):
        for t in (0, 1, 2, 38, 39):
            norm = np.linalg.norm(recording.layers[k].dstates["h"][t].astype(float))
            assert nodes[f"gradient:layer{k}@{t}"].attributes["tooltip"].endswith(f": {norm:.7g}")
    plain = model.record(recording.x)
    assert "gradient:" not in viz.unrolled(model, 40, recording=plain).source


def test_a_single_unit_shows_its_values():
    model = recurrent.Sequential(recurrent.RNN(1, 1), rng=0)
    recording = model.record(np.linspace(-1, 1, 5, dtype="float32")[:, None])
    nodes, _, _ = read(viz.unrolled(model, 5, recording=recording).source)
    for t in range(5):
        v = float(recording.y[t, 0])
        assert (
            nodes[f"layer0@{t}"].attributes["label"]
            == f"RNN\n{notation.sub('h', t)} = {notation.signed(v)}"
        )
        assert nodes[f"layer0@{t}"].attributes["tooltip"].endswith(f"h = {v:.7g}")


def bidirectional_stack(**merge):
    layers = (
        recurrent.Embedding(7, 3),
        recurrent.LSTM(3, 4, bidirectional=True, **merge),
        recurrent.GRU(4 if merge else 8, 5),
    )
    return recurrent.Sequential(*layers, recurrent.Linear(5, 2), rng=0)


def test_a_bidirectional_layer_has_wires_in_both_directions():
    nodes, edges, _ = read(viz.unrolled(bidirectional_stack(), 4).source)
    pairs = [(e.tail, e.head) for e in edges]
    for t in range(4):
        assert {(f"layer0@{t}", f"layer1@{t}"), (f"layer0@{t}", f"layer1_reverse@{t}")} < set(pairs)
        assert {
            (f"layer1@{t}", f"layer1_merge@{t}"),
            (f"layer1_reverse@{t}", f"layer1_merge@{t}"),
        } < set(pairs)
        assert (f"layer1_merge@{t}", f"layer2@{t}") in pairs
        assert nodes[f"layer1_merge@{t}"].attributes["label"] == "concat"
    for t in range(3):
        assert (
            pairs.count((f"layer1@{t}", f"layer1@{t + 1}"))
            == pairs.count((f"layer1_reverse@{t + 1}", f"layer1_reverse@{t}"))
            == 2
        )
    assert not [
        p for p in pairs if p[0].startswith("layer1@") and p[1].startswith("layer1_reverse@")
    ]
    starts = {
        n: nodes[n].attributes["label"]
        for n in nodes
        if n.startswith(("initial:layer1", "final:layer1"))
    }
    assert starts["initial:layer1_reverse:h"] == starts["initial:layer1:h"] == "h = 0"
    assert (starts["final:layer1:h"], starts["final:layer1_reverse:h"]) == (
        notation.sub("h", 3),
        notation.sub("h", 0),
    )
    place = {n: float(nodes[n].attributes["pos"].split(",")[0]) for n in starts}
    assert (
        place["initial:layer1:h"]
        == place["final:layer1_reverse:h"]
        < place["initial:layer1_reverse:h"]
    )
    assert nodes["layer1_merge@0"].attributes["tooltip"].endswith("(N, 8)")
    assert (
        read(viz.unrolled(bidirectional_stack(merge="sum"), 2).source)[0][
            "layer1_merge@1"
        ].attributes["label"]
        == "sum"
    )


def test_both_directions_show_their_own_gradients():
    model = bidirectional_stack()
    recording = model.record(
        np.arange(12).reshape(6, 2) % 7,
        np.zeros((6, 2), int),
        recurrent.losses.softmax_cross_entropy,
    )
    nodes, _, _ = read(viz.unrolled(model, 6, recording=recording).source)
    for row, state in (("layer1", "h"), ("layer1_reverse", "h_reverse")):
        for t in range(6):
            norm = np.linalg.norm(recording.layers[1].dstates[state][t].astype(float))
            assert nodes[f"gradient:{row}@{t}"].attributes["tooltip"].endswith(f": {norm:.7g}")
    part, _, _ = read(viz.unrolled(model, 4, recording=recording).source)
    # The run continues beyond the picture.
    assert part["initial:layer1_reverse:h"].attributes["label"] == notation.sub("h", 4)
    with pytest.raises(ValueError, match="needs layers of one direction"):
        viz.unrolled(model, 6, window=2)


@pytest.mark.parametrize(
    ("lengths", "n", "padded"),
    [
        ([6, 3], 1, {3, 4, 5}),
        ([6, 3], 0, set()),
        ([0], 0, set(range(6))),
        (np.array([[1, 0, 1, 1, 0, 1]], bool).T, 0, {1, 4}),
    ],
)
def test_padded_steps_are_drawn_as_empty_boxes(lengths, n, padded):
    drawing = viz.unrolled(bidirectional_stack(), 6, lengths=lengths, n=n)
    nodes, edges, _ = read(drawing.source)
    for t in range(6):
        cells = [
            nodes[f"{row}@{t}"].attributes
            for row in ("x", "layer0", "layer1", "layer1_reverse", "layer1_merge", "layer2", "y")
        ]
        assert {not a["label"] and "dashed" in a["style"] for a in cells} == {t in padded}
        assert [e.head for e in edges].count(f"layer0@{t}") == (t not in padded)
        # h and c pass a padded step unchanged.
        passing = [(e.tail, e.head) for e in edges].count((f"layer1@{t}",) * 2)
        assert passing == 2 * (t in padded)
    last = max(set(range(6)) - padded, default=None)
    assert nodes["final:layer2:h"].attributes["label"] == (
        "h = 0" if last is None else notation.sub("h", last)
    )
    assert ("padding" in drawing.source) == bool(padded)


def test_the_padding_of_a_recording_is_drawn():
    model = bidirectional_stack()
    recording = model.record([np.arange(2), np.arange(5)])
    nodes, _, _ = read(viz.unrolled(model, 5, recording=recording).source)
    assert [bool(nodes[f"y@{t}"].attributes["label"]) for t in range(5)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    for bad in (2, -1):
        with pytest.raises(IndexError, match=r"n must be in 0\.\.1"):
            viz.unrolled(model, 5, recording=recording, n=bad)
    for bad in ("0", True):
        with pytest.raises(TypeError, match="n must be an int"):
            viz.unrolled(model, 5, recording=recording, n=bad)
    with pytest.raises(ValueError, match=r"lengths must be \(N,\) ints or a mask"):
        viz.unrolled(model, 5, lengths=[1.5, 2])


@pytest.mark.parametrize(
    ("pool", "sources"),
    [
        (recurrent.Last(bidirectional=True), [0, 2]),
        (recurrent.MeanPool(), [0, 1, 2]),
        (recurrent.MaxPool(), [0, 1, 2]),
    ],
    ids=repr,
)
def test_a_pooling_layer_is_drawn_once_with_its_sources(pool, sources):
    pool = type(pool)(**pool.options)
    model = recurrent.Sequential(
        recurrent.LSTM(3, 4, bidirectional=True), pool, recurrent.Linear(8, 2), rng=0
    )
    nodes, edges, _ = read(viz.unrolled(model, 5, lengths=[3]).source)
    for row in ("layer1", "layer2", "y"):
        assert [n for n in nodes if n.startswith(f"{row}@")] == [f"{row}@4"]
    assert [e.tail for e in edges if e.head == "layer1@4"] == [f"layer0_merge@{t}" for t in sources]
    assert "(T, N, 8)" in viz.network(model).source


def test_a_network_has_the_reverse_loops_at_the_left():
    nodes, _, _ = read(viz.network(bidirectional_stack()).source)
    labels = [n.attributes["label"].removesuffix("\\r").removesuffix("\\l") for n in nodes.values()]
    found = [label.strip("\n") for label in labels]
    assert (
        sum("(N, 4), 1 step earlier" in label for label in found)
        == sum("(N, 4), 1 step later" in label for label in found)
        == 2
    )
    assert "reverse" not in "".join(found)


# Geometry


# Nothing is recorded while tests are collected: that would compile every cell in each worker.
kept, kept_stack = cache(recorded), cache(stack)


def draw_unit(*arguments, unit=0, values=True):
    model, recording = kept(*arguments)
    return viz.unit(model[0], unit, recording=recording if values else None)


def draw_unrolled(kind, steps, window):
    model, recording = kept_stack(kind)
    shown = recording if steps in (4, 40) else None
    return viz.unrolled(model, steps, window=window, recording=shown)


def draw_single():
    single = recurrent.Sequential(recurrent.LSTM(1, 1), rng=0)
    return viz.unrolled(single, 6, recording=single.record(np.ones((6, 1), "float32")))


def drawings():
    for name in EVERY:
        for inputs, units in ((D, H), (1, 1), (40, 30)):
            yield f"unit-{name}-{inputs}-{units}", partial(draw_unit, name, inputs, units)
        yield f"unit-{name}-bare", partial(draw_unit, name, 40, 30, values=False)
    yield "unit-lstm-128-512", partial(draw_unit, "lstm", 128, 512, 2, unit=511)
    for kind in (recurrent.LSTM, recurrent.GRU, recurrent.RNN):
        yield f"network-{kind.__name__}", lambda k=kind: viz.network(kept_stack(k)[0])
        for steps, window in ((4, None), (40, 20), (3, 1), (1000, 50), ([2, 9], 4)):
            name = f"unrolled-{kind.__name__}-{steps}-{window}"
            yield name, partial(draw_unrolled, kind, steps, window)
    yield "network-both", lambda: viz.network(bidirectional_stack())
    yield "unrolled-both", lambda: viz.unrolled(bidirectional_stack(), 12)
    yield "unrolled-blanks", lambda: viz.unrolled(bidirectional_stack(merge="mul"), 5, lengths=[3])
    yield "unrolled-single", draw_single


DRAWINGS = dict(drawings())


@pytest.mark.parametrize("name", DRAWINGS)
def test_nothing_overlaps(name):
    assert_apart(DRAWINGS[name]().source)


@pytest.mark.parametrize("name", DRAWINGS)
def test_wires_pass_beside_nodes_and_labels(name):
    assert_wires_pass_beside(DRAWINGS[name]().source)


# Golden text and determinism


def golden(kind):
    model = exact_model(kind, 2, 3)
    recording = exact_recording(model)
    return {
        "unit": viz.unit(model[0], 1, recording=recording),
        "unrolled": viz.unrolled(model, 12, window=6, recording=recording),
        "network": viz.network(model),
    }


@pytest.mark.parametrize("kind", [recurrent.LSTM, recurrent.GRU, recurrent.RNN])
@pytest.mark.parametrize("view", ["unit", "unrolled", "network"])
def test_golden_text(kind, view):
    """UPDATE_GOLDEN=1 rewrites the files; look at the pictures before committing them."""
    path = GOLDEN / f"{view}_{kind.__name__.lower()}.gv"
    source = golden(kind)[view].source
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(source, encoding="utf-8")
    assert source == path.read_text(encoding="utf-8"), "UPDATE_GOLDEN=1 accepts the new text"


def test_same_bytes_in_another_process():
    code = (
        "import recurrent, viz, sys; m = recurrent.Sequential(recurrent.LSTM(5, 10), rng=0);"
        "text = viz.unit(m[0], 3).source + viz.unrolled(m, 20, window=5).source;"
        "sys.stdout.buffer.write(text.encode())"
    )
    model = recurrent.Sequential(recurrent.LSTM(5, 10), rng=0)
    here = viz.unit(model[0], 3).source + viz.unrolled(model, 20, window=5).source
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == here


# Errors


def test_errors_name_the_expected_value():
    model, recording = recorded("lstm")
    other, _ = recorded("lstm", 3, 4)
    layer = model[0]
    alone = Recurrent(PYTORCH["lstm"], 3, 4)
    cases = [
        (
            TypeError,
            "draws a recurrent layer, got Linear",
            lambda: viz.unit(recurrent.Linear(3, 4), 0),
        ),
        (TypeError, "j must be an int, got float", lambda: viz.unit(layer, 1.0)),
        (IndexError, r"j must be in 0\.\.9, .*got 10", lambda: viz.unit(layer, 10)),
        (IndexError, r"j must be in 0\.\.9, .*got -1", lambda: viz.unit(layer, -1)),
        (
            IndexError,
            r"t must be in 0\.\.5, .*got 6",
            lambda: viz.unit(layer, 0, recording=recording, t=6),
        ),
        (
            IndexError,
            r"n must be in 0\.\.1, .*got 2",
            lambda: viz.unit(layer, 0, recording=recording, n=2),
        ),
        (ValueError, "part of none", lambda: viz.unit(alone, 0, recording=recording)),
        (
            ValueError,
            r"layer 0 of the recording has y \(6, 2, 10\)",
            lambda: viz.unit(other[0], 0, recording=recording),
        ),
        (
            ValueError,
            "a recording of this model, which has 5 layers; the recording has 1",
            lambda: viz.unit(stack()[0][1], 0, recording=recording),
        ),
        (
            ValueError,
            "a recording of this model, which has 5 layers; the recording has 1",
            lambda: viz.unrolled(stack()[0], 4, recording=recording),
        ),
        (
            ValueError,
            "within the 6 steps of the recording, got 7",
            lambda: viz.unrolled(model, 7, recording=recording),
        ),
        (ValueError, "steps must be at least 1, got 0", lambda: viz.unrolled(model, 0)),
        (ValueError, "steps must be a count or a list", lambda: viz.unrolled(model, "four")),
        (ValueError, "steps must be a count or a list", lambda: viz.unrolled(model, [])),
        (ValueError, "steps must be a count or a list", lambda: viz.unrolled(model, [2, -1])),
        (
            ValueError,
            "window must be at least 1, got 0",
            lambda: viz.unrolled(model, 4, window=0),
        ),
        (
            TypeError,
            "draws a model of layers, got LSTM",
            lambda: viz.unrolled(recurrent.LSTM(3, 4)),
        ),
        (TypeError, "draws a model of layers, got LSTM", lambda: viz.network(recurrent.LSTM(3, 4))),
    ]
    for kind, message, call in cases:
        with pytest.raises(kind, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_weights_and_values_that_are_not_finite_are_drawn(value):
    model, recording = recorded("gru")
    model.parameters["0.weight_ih_l0"][3, 0] = value
    recording.layers[0].states["h"][-1, 0, 3] = value
    drawing = viz.unit(model[0], 3, recording=recording)
    assert f"{value:.7g}" in drawing.source
    assert drawing.svg().startswith("<svg")


def test_a_drawing_goes_to_the_graphviz_library():
    drawing = viz.network(recurrent.Sequential(recurrent.LSTM(3, 4)))
    assert drawing.to_graphviz().source.strip() == drawing.source.strip()


def test_a_network_shows_its_input_size():
    """The first layer with a size determines the input size."""
    R = recurrent
    for layers, shape in (
        ([R.Dropout(0.1), R.LSTM(3, 4)], ("T", "N", 3)),
        ([R.Embedding(5, 3), R.LSTM(3, 4)], ("T", "N")),
        ([R.Dropout(0.1)], ("T", "N", "D")),
    ):
        assert R.Sequential(*layers).graph().node("x").shape == shape


def test_encoder_and_decoder_stand_side_by_side():
    """Both stacks are drawn once, with the memory and the states that pass between them."""
    encoder = recurrent.Sequential(
        recurrent.Embedding(5, 3), recurrent.LSTM(3, 2, bidirectional=True)
    )
    layers = (
        recurrent.Embedding(6, 3),
        recurrent.LSTM(3, 4),
        recurrent.Attention(4, 4),
        recurrent.Linear(8, 6),
    )
    net = recurrent.Seq2Seq(encoder, recurrent.Sequential(*layers))
    nodes, _, _ = read(viz.network(net).source)
    boxes = {node.id: nodes[node.id].box for node in net.graph().nodes}
    assert not any(overlap(a, b) for a, b in combinations(boxes.values(), 2))
    centre = {name: (box[0] + box[2]) / 2 for name, box in boxes.items()}
    left = {name for name, x in centre.items() if abs(x - centre["source"]) < 1}
    assert left == {"source", "layer0", "layer1"}
    said = viz.network(net).source
    assert "all steps: memory (T, N, 4)" in said
    assert "final h, c: initial h, c (N, 4)" in said
