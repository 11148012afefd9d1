"""The vector view of a cell is complete, correct and free of overlaps for any equations."""

import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.arithmetic import arithmetic
from support.cells import OWN as MORE
from support.cells import minimal
from support.dot_reader import read
from support.viz_checks import assert_clear, assert_wires_apart
from support.viz_models import EVERY, GOLDEN, exact_model, exact_recording, recorded

import recurrent
import viz
from recurrent.cells import CELLS, trace_cell
from recurrent.conformance.tolerance import assert_close
from recurrent.equations.expressions import Expr, exp, maximum, relu, sigmoid, sqrt, tanh
from recurrent.layers.recurrent import Recurrent
from viz.layout import circuit, tracks
from viz.reading import evaluate, wiring

D, H = 5, 10
ANY = {**EVERY, **{c.name: c for c in MORE}}


def said(node):
    return float(re.search(r"(?:value|gradient) (\S+)$", node.attributes["tooltip"])[1])


@pytest.mark.parametrize("name", ANY)
@pytest.mark.parametrize("backward", [False, True])
def test_nothing_overlaps_for_any_cell(name, backward):
    assert_clear(viz.cell(Recurrent(ANY[name], D, H), backward=backward).source)


@pytest.mark.parametrize("name", EVERY)
def test_nothing_overlaps_with_numbers(name):
    model, recording = recorded(name)
    assert_clear(viz.cell(model[0], recording=recording).source)
    assert_clear(viz.cell(model[0], recording=recording, backward=True, unit=3).source)


@pytest.mark.parametrize("name", ANY)
def test_every_wire_of_the_equations_is_drawn_once(name):
    c = ANY[name]
    w = wiring.cell_wiring(c)
    nodes, edges, _ = read(viz.cell(Recurrent(c, D, H)).source)
    # Of a wire in several pieces, only the last has an arrow.
    drawn = sorted((e.tail, e.head) for e in edges if "arrowhead" not in e.attributes)
    expected = [(a, o) for o, args in w.arguments.items() for a in args]
    expected += [(w.makers[s], f"state:{s}") for s in c.states] + [(w.makers[c.states[0]], "above")]
    expected += [("x", a.id) for a in w.neurons if a.x] + [
        (f"previous:{c.states[0]}", a.id) for a in w.neurons if a.h
    ]
    assert drawn == sorted(expected)
    turned = read(viz.cell(Recurrent(c, D, H), backward=True).source)[1]
    assert sorted((e.head, e.tail) for e in turned if "arrowhead" not in e.attributes) == drawn
    assert {a.id for a in w.neurons} <= set(nodes)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("t", [0, 3])
def test_wires_show_recorded_values(name, t):
    model, recording = recorded(name)
    mine, c = recording.layers[0], EVERY[name]
    w = wiring.cell_wiring(c)
    values = c.graph().values
    for unit in (None, 4):
        nodes, _, _ = read(viz.cell(model[0], recording=recording, t=t, n=1, unit=unit).source)

        def shown(a, unit=unit):
            return a[t, 1].astype(float).mean() if unit is None else a[t, 1, unit]

        for s in c.states:
            assert_close(
                np.float32(said(nodes[f"state:{s}"])),
                np.float32(shown(mine.states[s])),
                D + H,
                1.0,
                s,
            )
        for k in {a.id for a in w.neurons} | {o.id for o in w.operations}:
            for g in (g for g in c.gates if values[g] == k):
                assert_close(
                    np.float32(said(nodes[k])), np.float32(shown(mine.gates[g])), D + H, 1.0, g
                )


@pytest.mark.parametrize("name", EVERY)
def test_gradients_match_the_engine(name):
    """The gradient at the dot products, times x, is the gradient of the weights."""
    model, recording = recorded(name, dtype="float64")
    c, layer = EVERY[name], model[0]
    dW, db = np.zeros_like(layer.params.W_ih), np.zeros_like(layer.params.b_hh)
    ids = {a.gate: {} for a in c.accumulators}
    for k in (n for n in c.graph().nodes if n.kind == "sum"):
        sources = {e.source for e in c.graph().inputs(k.id)}
        ids[k.label] |= dict.fromkeys(sources, k.id)
    for n in range(recording.x.shape[1]):
        for t in range(len(recording.x)):
            seen = evaluate.step(recording, layer, t, n)
            d = evaluate.backward(c, evaluate.forward(layer, seen), seen.gradients)
            for rows, gates, side, to in (
                (dW, c.x_gates, "vector:x", seen.x),
                (db, c.h_gates, "vector:h", None),
            ):
                for k, g in enumerate(gates):
                    da = d.get(ids[g][side], np.zeros(H))
                    rows[k * H : (k + 1) * H] += da if to is None else np.outer(da, to)
    grads = recording.gradients.params
    assert_close(dW, grads["0.weight_ih_l0"], D + H, what="W_ih")
    assert_close(db, grads["0.bias_hh_l0"], D + H, what="b_hh")


def test_derivatives_are_spelled_as_formulas():
    lstm = evaluate.local_derivatives(CELLS["lstm"])
    names = evaluate.node_names(CELLS["lstm"])
    assert {
        (k, a): evaluate.spell(e, names)
        for k, args in lstm.items()
        for a, e in args
        if k in ("i", "g", "c", "h")
    } == {
        ("i", "sum:i"): "iₜ − iₜ²",
        ("g", "sum:g"): "1 − gₜ²",
        ("c", "op9"): "1",
        ("c", "op10"): "1",
        ("h", "o"): "tanh(cₜ)",
        ("h", "op12"): "oₜ",
    }
    source = viz.cell(recurrent.LSTM(D, H), backward=True).source
    assert "thick: along c the gradient is multiplied by fₜ only" in source
    assert (
        "thick: along h the gradient is multiplied by zₜ only"
        in viz.cell(recurrent.GRU(D, H), backward=True).source
    )


def test_the_lstm_has_its_usual_form():
    """c runs along the top, the gates below it in the order of their wires, h at the bottom."""
    nodes, _, _ = read(viz.cell(recurrent.LSTM(D, H)).source)
    centre = {k: ((n.box[0] + n.box[2]) / 2, (n.box[1] + n.box[3]) / 2) for k, n in nodes.items()}
    heights = {round(centre[k][1], 3) for k in "figo"}
    assert len(heights) == 1
    assert centre["f"][0] < centre["i"][0] < centre["g"][0] < centre["o"][0]
    assert len({round(centre[k][1], 3) for k in ("previous:c", "op9", "c", "state:c")}) == 1
    assert (
        centre["previous:c"][1]
        > max(heights)
        > centre["previous:h"][1]
        == centre["state:h"][1]
        > centre["x"][1]
    )


@st.composite
def equations(draw):
    """Draw a cell of random equations: up to five gates, four states and a dozen operations."""
    gates = "a b e f g"[: 2 * draw(st.integers(1, 5)) - 1]
    states = "h c m n"[: 2 * draw(st.integers(1, 4)) - 1]
    parameters = draw(st.sampled_from(["", "p", "p q"]))
    seed, size = draw(st.integers(0, 10_000)), draw(st.integers(1, 12))

    def function(x, h, previous, p=None):
        rng = np.random.default_rng(seed)
        pool = (
            [getattr(previous, s) for s in states.split()]
            + [getattr(p, q) for q in parameters.split()]
            + [x.a + h.a]
        )
        values = {}
        for g in gates.split():
            both = getattr(x, g) + getattr(h, g)
            values[g] = [
                sigmoid(both),
                tanh(getattr(x, g) * getattr(h, g)),
                relu(both - pool[rng.integers(len(pool))]),
            ][rng.integers(3)]
            pool.append(values[g])
        for _ in range(size):
            a, b = (pool[k] for k in rng.integers(0, len(pool), 2))
            made = [
                a * b,
                a + b,
                a - b,
                tanh(a),
                1 - a,
                0.5 * a,
                -a,
                exp(a),
                maximum(a, b),
                a / sqrt(1 + b * b),
            ]
            pool.append(made[rng.integers(len(made))])
        picked = rng.integers(0, len(pool), len(states.split()))
        values |= {s: pool[k] for s, k in zip(states.split(), picked, strict=True)}
        return values

    return trace_cell(
        f"random{seed}", gates=gates, states=states, parameters=parameters, register=False
    )(function)


@settings(max_examples=10)
@given(equations())
def test_any_equations_are_drawn_without_overlaps(c):
    assert_clear(viz.cell(Recurrent(c, 3, 4)).source)
    assert_clear(viz.cell(Recurrent(c, 3, 4), backward=True).source)


@given(equations())
def test_tracks_are_the_fallback_of_the_router(c):
    builder = circuit._Builder(c, 1)
    found = tracks.lay_out(builder.wiring, builder.lanes, builder.circuit.spines, builder.order)
    assert_wires_apart(found)
    wanted = {(a, o) for o, args in found.wiring.arguments.items() for a in args}
    wanted |= {(found.wiring.makers[s], f"state:{s}") for s in c.states} | {
        (found.wiring.makers["h"], "above")
    }
    assert {(a, b) for a, b, _ in found.routes} == wanted


@pytest.mark.parametrize("name", ANY)
def test_routed_wires_are_apart(name):
    assert_wires_apart(circuit.cell_circuit(ANY[name]))


@pytest.mark.parametrize("name", ["lstm", "gru", "exponential_test"])
def test_nothing_overlaps_on_tracks(name, monkeypatch):
    builder = circuit._Builder(ANY[name], 1)
    found = tracks.lay_out(builder.wiring, builder.lanes, builder.circuit.spines, builder.order)
    monkeypatch.setattr("viz.views.cell.cell_circuit", lambda cell: found)
    for backward in (False, True):
        assert_clear(viz.cell(Recurrent(ANY[name], D, H), backward=backward).source)


def test_the_layout_of_a_cell_is_cached():
    assert circuit.cell_circuit(CELLS["gru"]) is circuit.cell_circuit(recurrent.GRU(3, 4).cell)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "minimal"])
@pytest.mark.parametrize("view", ["cell", "cell_backward"])
def test_golden_text(name, view):
    """UPDATE_GOLDEN=1 rewrites the files; look at the pictures before committing them."""
    path = GOLDEN / f"{view}_{name}.gv"
    model = exact_model(lambda d, h: Recurrent({**CELLS, "minimal": minimal}[name], d, h), 2, 3)
    recording = None if view == "cell_backward" else exact_recording(model)
    source = viz.cell(
        model[0], recording=recording, unit=recording and 1, backward=view == "cell_backward"
    ).source
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(source, encoding="utf-8")
    assert source == path.read_text(encoding="utf-8"), "UPDATE_GOLDEN=1 accepts the new text"


def test_errors_name_the_expected_value():
    model, recording = recorded("lstm")
    plain = model.record(recording.x)
    both = recurrent.Sequential(recurrent.LSTM(D, H, bidirectional=True))
    cases = [
        (
            TypeError,
            "draws a recurrent layer, got Linear",
            lambda: viz.cell(recurrent.Linear(3, 4)),
        ),
        (TypeError, "unit must be an int, got str", lambda: viz.cell(model[0], unit="3")),
        (IndexError, r"unit must be in 0\.\.9, .*got 10", lambda: viz.cell(model[0], unit=10)),
        (
            IndexError,
            r"t must be in 0\.\.5, .*got 6",
            lambda: viz.cell(model[0], recording=recording, t=6),
        ),
        (
            ValueError,
            "values of one direction",
            lambda: viz.cell(both[0], recording=both.record(recording.x)),
        ),
        (
            ValueError,
            "the recording has no gradients",
            lambda: viz.cell(model[0], recording=plain, backward=True),
        ),
    ]
    for kind, message, call in cases:
        with pytest.raises(kind, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [recurrent.LSTM, recurrent.GRU, recurrent.RNN])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}])
def test_the_count_in_the_title_adds_up(kind, options):
    layer = kind(D, H, **options)
    title = next(
        n
        for n in read(viz.cell(layer).source)[0].values()
        if "parameters =" in n.attributes["label"]
    )
    total, counted = re.search(r"([\d,]+) parameters = (.*)", title.attributes["label"]).groups()
    assert arithmetic(counted) == int(total.replace(",", "")) == layer.size


def test_an_expression_of_constants_is_spelled():
    assert evaluate.spell(Expr("const", value=-1.0), {}) == "−1"
