"""Pictures of an LSTM with a projection, whose h has P numbers."""

import re

import numpy as np
import pytest
from support.dot_reader import read
from support.viz_checks import tiles

import recurrent as R
import viz

D, H, P = 5, 10, 4


@pytest.fixture(scope="module")
def model():
    return R.Sequential(
        R.LSTM(D, H, proj_size=P),
        R.LSTM(P, 6, proj_size=3, bidirectional=True),
        R.Linear(6, 2),
        rng=0,
    )


@pytest.fixture(scope="module")
def recording(model):
    x = np.random.default_rng(0).standard_normal((6, 2, D)).astype("float32")
    return model.record(
        x,
        targets=np.zeros((6, 2, 2), "float32"),
        loss=lambda y, t, lengths: (float((y**2).sum() / 2), y),
    )


def tip(nodes, name):
    return float(re.search(r"= (\S+)$", nodes[name].attributes["tooltip"])[1])


def outputs(model, recording, t):
    """o tanh(c) of all units in sequence 0."""
    one = recording.layers[0]
    return one.gates["o"][t, 0] * np.tanh(one.states["c"][t, 0])


def test_network_has_both_sizes(model):
    text = viz.network(model).source
    for said in (
        "h (N, 4), 1 step later",
        "c (N, 10), 1 step later",
        "h (N, 3), 1 step earlier",
        "(T, N, 4)",
        "(T, N, 6)",
    ):
        assert said in text


def test_unrolled_shows_the_states_passed_on(model, recording):
    nodes = read(viz.unrolled(model, 3, recording=recording).source)[0]
    assert any(
        "layer 0: LSTM" in n.attributes["label"] and "(N, 4)" in n.attributes["label"]
        for n in nodes.values()
    )


def test_unit_has_projected_inputs_and_output(model, recording):
    nodes, edges, _ = read(viz.unit(model[0], 7, recording, t=3).source)
    inputs = sorted(k for k in nodes if re.fullmatch(r"in:[xh]\d+", k))
    assert inputs == sorted([*(f"in:x{k}" for k in range(D)), *(f"in:h{k}" for k in range(P))])
    assert tip(nodes, "state:h") == pytest.approx(outputs(model, recording, 3)[7], rel=1e-5)
    assert nodes["state:h"].attributes["tooltip"].startswith("output m")
    assert tip(nodes, "in:h2") == pytest.approx(recording.layers[0].states["h"][2, 0, 2], rel=1e-6)
    ways = {(e.tail, e.head) for e in edges}
    assert {
        ("state:h", "projection"),
        ("projection", "fork"),
        ("fork", "above"),
        ("fork", "all"),
    } <= ways
    facts = nodes["facts"].attributes["label"]
    assert "4 × (5 + 4 + 2) + 4 = 48" in facts
    assert "4 numbers, (N, 4)" in facts


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_any_unit_of_either_direction_is_drawn(model, recording, direction):
    for j in (0, 5):  # h has fewer than 6 numbers
        assert "projection" in read(viz.unit(model[1], j, recording, direction=direction).source)[0]
        assert viz.unit(model[1], j, recording, gate="f", direction=direction).source


def test_layer_has_a_projection_between_units_and_h(model, recording):
    nodes, edges, _ = read(viz.layer(model[0], recording, t=3, unit=7).source)
    assert sorted(k for k in nodes if re.fullmatch(r"(after|before)\d+", k)) == sorted(
        f"{end}{k}" for end in ("after", "before") for k in range(P)
    )
    for k in range(P):
        assert tip(nodes, f"after{k}") == pytest.approx(
            recording.layers[0].states["h"][3, 0, k], rel=1e-6
        )
    ways = {(e.tail.rstrip(":"), e.head) for e in edges}
    assert {(f"unit{j}", "projection") for j in range(H)} | {
        ("projection", f"after{k}") for k in range(P)
    } <= ways
    assert ("after3", "before3") in ways


def test_cell_has_a_shape_on_every_wire(model):
    text = viz.cell(model[0]).source
    labels = re.findall(r'label="([^"]*\(\d+,\))"', text)
    assert {"hₜ  (4,)", "hₜ₋₁  (4,)", "cₜ  (10,)", "[hₜ₋₁ , xₜ]  (9,)", "xₜ  (5,)"} <= set(labels)
    assert "10 × (4 × (5 + 4 + 2) + 4)" in text


def test_the_gradient_passes_through_the_projection(model, recording):
    source = viz.cell(model[0], recording, t=4, backward=True).source
    assert "× W_hr, transposed" in source
    d = recording.layers[0].dpreactivations["o"][4, 0]
    found = re.search(r"× \(oₜ − oₜ²\)\\n([^\"]*)", source)[1].replace("−", "-")
    assert float(found) == pytest.approx(np.sqrt(np.mean(d**2)), rel=1e-2)


def test_all_weights_have_tiles(model):
    assert sum(a.size for a in tiles(viz.weights(model[0]).source).values()) == model[0].size
    assert "W_hh W_hr" in viz.weights(model[0]).source


def test_the_page_refuses_projections(model, recording):
    with pytest.raises(ValueError, match="explore cannot draw layers with a projection"):
        viz.explore(model, recording)
