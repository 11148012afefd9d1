"""The layer view and the gate view are correct, complete and legible."""

import os
import re

import numpy as np
import pytest
from support.arithmetic import arithmetic
from support.dot_reader import read
from support.viz_checks import assert_clear
from support.viz_models import (
    EVERY,
    GOLDEN,
    GOLDEN_CELLS,
    D,
    H,
    both_directions,
    exact_model,
    exact_recording,
    recorded,
    tooltip_number,
)

import recurrent
import viz
from recurrent.cells import CELLS
from recurrent.conformance.tolerance import assert_close
from recurrent.layers.recurrent import Recurrent
from viz.draw.palette import SIGNED
from viz.reading import direction, wiring
from viz.reading.dot_product import dot_product

T = 6


def units_apart(source):
    """`assert_clear` for a layer, whose box encloses those of its units."""
    assert_clear("\n".join(line for line in source.splitlines() if "cluster_layer" not in line))


# The layer


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("t", [0, None])
def test_units_show_recorded_values(name, t):
    model, recording = recorded(name)
    nodes, _, _ = read(viz.layer(model[0], recording, t=t, n=1).source)
    mine, cell = recording.layers[0], EVERY[name]
    t = T - 1 if t is None else t
    first = cell.states[0]
    before = mine.states[first][t - 1, 1] if t else np.zeros(H)
    assert [tooltip_number(nodes[f"x{k}"]) for k in range(D)] == [
        f"{v:.7g}" for v in recording.x[t, 1]
    ]
    assert [tooltip_number(nodes[f"before{k}"]) for k in range(H)] == [f"{v:.7g}" for v in before]
    assert [tooltip_number(nodes[f"after{k}"]) for k in range(H)] == [
        f"{v:.7g}" for v in mine.states[first][t, 1]
    ]
    for j in range(H):
        for g in cell.gates:
            assert tooltip_number(nodes[f"unit{j}:{g}:gate"]) == f"{mine.gates[g][t, 1, j]:.7g}"
        for s in cell.states[1:]:
            assert tooltip_number(nodes[f"unit{j}:{s}"]) == f"{mine.states[s][t, 1, j]:.7g}"
        for p in cell.parameters:
            assert tooltip_number(nodes[f"unit{j}:{p}"]) == f"{getattr(model[0].params, p)[j]:.7g}"


@pytest.mark.parametrize("name", EVERY)
def test_h_goes_to_every_unit_and_memory_stays_in_its_own(name):
    model, _ = recorded(name)
    _, edges, clusters = read(viz.layer(model[0]).source)
    cell = EVERY[name]
    pairs = [(e.tail, e.head) for e in edges]
    assert {(a, b) for a, b in pairs if a == "bus" and b != "bus:end"} == {
        ("bus", f"unit{j}:") for j in range(H)
    }
    assert {a for a, b in pairs if b == "bus"} == {f"x{k}" for k in range(D)} | {
        f"before{k}" for k in range(H)
    }
    assert [(a, b) for a, b in pairs if a.startswith("after")] == [
        (f"after{H - 1}", f"before{H - 1}")
    ]
    loops = {s for s, _ in wiring.cell_wiring(cell).loops}
    kept = [e for e in edges if re.fullmatch(r"unit\d+:.+", e.tail)]
    assert sorted((e.tail, e.head) for e in kept) == sorted(
        [(f"unit{j}:{s}",) * 2 for j in range(H) for s in loops]
    )
    for e in kept:
        left, bottom, right, top = clusters[e.tail.partition(":")[0]]
        assert all(left < x < right and bottom < y < top for x, y in e.points())


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("sizes", [(D, H), (1, 1), (40, 30)])
def test_nothing_overlaps_in_the_layer_view(name, sizes):
    model, recording = recorded(name, *sizes, steps=2)
    units_apart(viz.layer(model[0], recording, unit=sizes[1] // 2).source)
    units_apart(viz.layer(model[0]).source)


def test_own_parameters_with_long_names_share_one_box():
    layer = recurrent.GRU(D, H, layer_norm=True)
    source = viz.layer(layer).source
    nodes, _, _ = read(source)
    assert nodes["unit1:own"].attributes["label"] == f"{len(layer.cell.parameters)} parameters"
    for p in layer.cell.parameters:
        assert (
            f"{p} = {getattr(layer.params, p)[1]:.7g}" in nodes["unit1:own"].attributes["tooltip"]
        )
    units_apart(source)


def test_a_recurrent_layer_is_named_after_its_cell():
    model = recurrent.Sequential(Recurrent("mgu", D, H), rng=0)
    labels = {a.attributes["label"] for a in read(viz.unrolled(model, steps=3).source)[0].values()}
    assert "mgu" in labels
    assert "Recurrent" not in labels


def test_many_units_are_elided_and_the_picture_says_so():
    drawing = viz.layer(recurrent.GRU(128, 512), unit=100)
    nodes, _, clusters = read(drawing.source)
    assert sorted(int(c[4:]) for c in clusters if c.startswith("unit")) == [
        0,
        1,
        2,
        3,
        100,
        510,
        511,
    ]
    assert "505 of 512 units not drawn" in drawing.source
    assert "122 of 128 inputs not drawn" in drawing.source
    assert "505 of 512 units not drawn" in drawing.description
    assert sum(n.attributes["label"] == "…" for n in nodes.values()) >= 3


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}])
def test_the_count_of_a_layer_adds_up_with_two_biases_and_with_one(name, options):
    layer = Recurrent(EVERY[name], D, H, **options)
    text = next(
        n.attributes["label"]
        for n in read(viz.layer(layer).source)[0].values()
        if "parameters =" in n.attributes["label"]
    )
    total, counted, one = re.search(
        r"([\d,]+) parameters = (.*) \(two .*Σ: ([\d,]+)\)", text
    ).groups()
    assert arithmetic(counted) == int(total.replace(",", "")) == layer.size
    ways = 1 + bool(options)
    cell = EVERY[name]
    biases = len(cell.x_gates) + len(cell.h_gates)
    assert int(one.replace(",", "")) == layer.size - ways * H * (biases - len(cell.accumulators))


# One direction of a bidirectional layer


@pytest.mark.parametrize("kind", [recurrent.LSTM, recurrent.GRU])
@pytest.mark.parametrize(
    ("lengths", "n", "t", "last"),
    [(None, 0, 2, 3), (None, 1, 5, None), ([6, 3], 1, 2, None), ([6, 3], 1, 1, 2)],
)
def test_the_reverse_direction_has_own_weights_and_the_next_state(kind, lengths, n, t, last):
    model, recording = both_directions(kind, lengths)
    layer, mine = model[0], recording.layers[0]
    nodes, edges, _ = read(
        viz.unit(layer, 3, recording=recording, t=t, n=n, direction="reverse").source
    )
    before = np.zeros(H) if last is None else mine.states["h_reverse"][last, n]
    assert [tooltip_number(nodes[f"in:h{k}"]) for k in range(H)] == [f"{v:.7g}" for v in before]
    assert tooltip_number(nodes["state:h"]) == f"{mine.states['h_reverse'][t, n, 3]:.7g}"
    gate = layer.cell.gates[0]
    drawn = [
        e.attributes["tooltip"].rpartition("= ")[2]
        for k in range(H)
        for e in edges
        if (e.tail, e.head) == (f"in:h{k}", gate)
    ]
    assert drawn == [f"{w:.7g}" for w in model.parameters["0.weight_hh_l0_reverse"][3]]
    assert "hₜ₊₁" in viz.layer(layer, recording, t=t, n=n, direction="reverse").source
    assert nodes["above"].attributes["label"].endswith("(one of its 20 inputs)")
    assert (
        f"{layer.size // 2 // H} = {layer.size // 2} (one bias"
        in nodes["facts"].attributes["label"]
    )
    total = opened(
        viz.unit(layer, 3, recording=recording, t=t, n=n, gate=gate, direction="reverse")
    )[0]
    assert_close(
        np.float32(total[gate]),
        np.float32(np.arctanh(2 * mine.gates[f"{gate}_reverse"][t, n, 3] - 1) * 2),
        D + H,
        1.0,
    )


def test_a_unit_after_padding_takes_the_state_from_before_it():
    mask = np.array([[1, 0, 1, 1, 0, 1]], bool).T
    model = recurrent.Sequential(recurrent.GRU(D, H), rng=0)
    recording = model.record(
        np.random.default_rng(0).standard_normal((T, 1, D)).astype("float32"), lengths=mask
    )
    nodes, _, _ = read(viz.unit(model[0], 3, recording=recording, t=2).source)
    assert (
        tooltip_number(nodes["in:h3"])
        == f"{recording.layers[0].states['h'][0, 0, 3]:.7g}"
        == tooltip_number(nodes["in:h3"])
    )
    with pytest.raises(ValueError, match="t = 1 is padding in sequence 0"):
        viz.unit(model[0], 3, recording=recording, t=1, gate="r")


def test_k_is_the_number_of_inputs_that_are_drawn():
    model, _ = recorded("lstm")
    source = viz.unit(model[0], 3, k=4).source
    assert len([n for n in read(source)[0] if re.fullmatch(r"in:[xh]\d+", n)]) == 4
    assert "4 of 15 inputs drawn" in source


# One neuron


def opened(drawing):
    """Parse the pre-activation of each sum and the sum of its rows."""
    nodes, _, _ = read(drawing.source)
    totals, rows = {}, {}
    for name, node in nodes.items():
        kind, _, rest = name.partition(":")
        if kind == "sum" and name.count(":") >= 1:
            totals[rest] = float(tooltip_number(node))
        elif kind == "term":
            key = rest.rpartition(":")[0]
            rows[key] = rows.get(key, 0.0) + float(tooltip_number(node))
    return totals, rows


@pytest.mark.parametrize("name", EVERY)
def test_the_rows_of_a_gate_sum_to_the_recorded_value(name):
    model, recording = recorded(name, dtype="float64")
    cell, params, j, t, n = EVERY[name], model[0].params, 3, 4, 1
    h = recording.layers[0].states[cell.states[0]][t - 1, n]
    for gate in cell.gates:
        drawing = viz.unit(model[0], j, recording=recording, t=t, n=n, gate=gate)
        totals, rows = opened(drawing)
        nodes, _, _ = read(drawing.source)
        neurons = {a.id: a for a in wiring.cell_wiring(cell).neurons if a.gate == gate}
        assert set(totals) == set(rows) == set(neurons)
        for id, a in neurons.items():
            expected = 0.0
            for used, gates, w, b, v in (
                (a.x, cell.x_gates, params.W_ih, params.b_ih, recording.x[t, n]),
                (a.h, cell.h_gates, params.W_hh, params.b_hh, h),
            ):
                if used:
                    row = gates.index(gate) * H + j
                    expected += w[row] @ v + b[row]
            for found in (totals[id], rows[id]):
                assert_close(np.float32(found), np.float32(expected), D + H, 1.0, f"{gate} {id}")
        assert tooltip_number(nodes["gate"]) == f"{recording.layers[0].gates[gate][t, n, j]:.7g}"
        if "plot:point" in nodes:  # the drawn equations give the recorded value
            assert_close(
                np.float32(tooltip_number(nodes["plot:point"])),
                np.float32(tooltip_number(nodes["gate"])),
                D + H,
                1.0,
                gate,
            )


def test_terms_are_weights_times_values():
    model, recording = recorded("lstm")
    nodes, _, _ = read(viz.unit(model[0], 3, recording=recording, gate="o").source)
    for k in (*(f"x{i}" for i in range(D)), *(f"h{i}" for i in range(H))):
        parts = [float(tooltip_number(nodes[f"{p}:o:{k}"])) for p in ("in", "w", "term")]
        assert_close(np.float32(parts[2]), np.float32(parts[0] * parts[1]), 2, 1.0, k)


def test_omitted_rows_are_summed_and_counted():
    model, recording = recorded("gru", 128, 512, steps=2)
    drawing = viz.unit(model[0], 100, recording=recording, gate="z")
    totals, rows = opened(drawing)
    assert_close(np.float32(rows["z"]), np.float32(totals["z"]), 640, 1.0)
    nodes, _, _ = read(drawing.source)
    assert sum(bool(re.fullmatch(r"term:z:[xh]\d+", k)) for k in nodes) == 24
    assert "616 inputs not drawn individually" in drawing.source
    assert (
        sum(
            bool(re.fullmatch(r"term:z:[xh]\d+", k))
            for k in read(viz.unit(model[0], 1, recording, gate="z", k=40).source)[0]
        )
        == 40
    )
    bare = dot_product(
        direction.direction_of(model[0]), 100, wiring.cell_wiring(CELLS["gru"]).neurons[0], None
    )
    assert bare.total is None
    assert sum(r.count for r in bare.terms) == 640


@pytest.mark.parametrize("name", EVERY)
def test_nothing_overlaps_in_the_gate_view(name):
    model, recording = recorded(name)
    for gate in EVERY[name].gates:
        for source in (
            viz.unit(model[0], 3, recording=recording, gate=gate).source,
            viz.unit(model[0], 3, gate=gate).source,
        ):
            # The point lies on the curve and its axes on purpose.
            assert_clear(
                "\n".join(
                    line
                    for line in source.splitlines()
                    if '"plot:' not in line and '"axis:' not in line
                )
            )


# Golden text and errors


@pytest.mark.parametrize("name", GOLDEN_CELLS)
@pytest.mark.parametrize("view", ["layer", "gate"])
def test_golden_text(name, view):
    """UPDATE_GOLDEN=1 rewrites the files; look at the pictures before committing them."""
    path = GOLDEN / f"{view}_{name}.gv"
    model = exact_model(lambda d, h: Recurrent(GOLDEN_CELLS[name], d, h), 2, 3)
    recording = exact_recording(model)
    gate = GOLDEN_CELLS[name].gates[-1]
    drawing = (
        viz.layer(model[0], recording)
        if view == "layer"
        else viz.unit(model[0], 1, recording=recording, gate=gate)
    )
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(drawing.source, encoding="utf-8")
    assert drawing.source == path.read_text(encoding="utf-8"), (
        "UPDATE_GOLDEN=1 accepts the new text"
    )


def test_errors_name_the_expected_value():
    model, recording = recorded("lstm")
    layer = model[0]
    cases = [
        (
            TypeError,
            "layer draws a recurrent layer, got Linear",
            lambda: viz.layer(recurrent.Linear(3, 4)),
        ),
        (TypeError, "unit must be an int, got float", lambda: viz.layer(layer, unit=1.0)),
        (IndexError, r"unit must be in 0\.\.9, .*got 10", lambda: viz.layer(layer, unit=10)),
        (IndexError, r"t must be in 0\.\.5, .*got 6", lambda: viz.layer(layer, recording, t=6)),
        (ValueError, "needs a bidirectional layer", lambda: viz.layer(layer, direction="reverse")),
        (
            ValueError,
            "direction must be one of forward, reverse, got 'back'",
            lambda: viz.unit(layer, 0, direction="back"),
        ),
        (
            ValueError,
            "gate must be one of i, f, g, o, .*got 'q'",
            lambda: viz.unit(layer, 0, gate="q"),
        ),
        (ValueError, "k must be at least 1, got 0", lambda: viz.unit(layer, 0, k=0)),
        (ValueError, "expected one of", lambda: viz.layer(recorded("gru")[0][0], recording)),
    ]
    for kind, message, call in cases:
        with pytest.raises(kind, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_each_quantity_has_a_scale_of_its_own():
    """Where c is a hundred times h, h keeps its colours."""
    model = recurrent.Sequential(recurrent.LSTM(2, 3), rng=0)
    recording = model.record(np.full((4, 1, 2), 0.5, np.float32))
    states = recording.layers[0].states
    states["h"][:], states["c"][:] = [[0.25, -0.25, 0.125]], [[30.0, -20.0, 10.0]]
    for drawing in (viz.layer(model[0], recording), viz.unit(model[0], 0, recording)):
        nodes = read(drawing.source)[0]
        assert nodes["key:h:high"].attributes["label"] == "+0.25"
        assert nodes["key:c:high"].attributes["label"] == "+30"
    assert nodes["state:h"].attributes["fillcolor"] == SIGNED[-1].lower()
