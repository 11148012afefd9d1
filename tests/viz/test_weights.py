"""Heat maps of weights, spectral radii and saturation are correct."""

import os
import re

import numpy as np
import pytest
from support.dot_reader import read
from support.viz_checks import assert_clear, tiles
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
)

import recurrent
import viz
from recurrent.conformance.tolerance import assert_close
from recurrent.layers.recurrent import Recurrent
from viz.reading.weight_statistics import LARGE, spectral_radius


def expected(cell, params, hidden):
    out = {}
    for side, gates in (("ih", cell.x_gates), ("hh", cell.h_gates)):
        for k, g in enumerate(gates):
            rows = slice(k * hidden, (k + 1) * hidden)
            out["W_" + side, g] = getattr(params, f"W_{side}")[rows]
            out["b_" + side, g] = getattr(params, f"b_{side}")[rows, None]
    return out | {("own", q): getattr(params, q)[:, None] for q in cell.parameters}


@pytest.mark.parametrize("name", EVERY)
def test_every_weight_has_a_tile(name):
    model, _ = recorded(name)
    found, wanted = tiles(viz.weights(model[0]).source), expected(EVERY[name], model[0].params, H)
    assert found.keys() == wanted.keys()
    for k, a in wanted.items():
        assert [f"{v:.7g}" for v in found[k].ravel()] == [f"{v:.7g}" for v in a.ravel()]
    assert sum(a.size for a in found.values()) == model[0].size


def test_large_matrices_are_sizes_of_blocks_and_the_picture_says_so():
    layer = Recurrent(EVERY["gru"], 70, 90).initialise(3)
    source = viz.weights(layer).source
    found, wanted = tiles(source), expected(layer.cell, layer.params, 90)
    assert "weights: root mean square of a block" in source
    largest = max(np.abs(a).max() for a in wanted.values())
    assert f"the largest weight or bias is {largest:.3g}" in source
    assert sum(a.size for a in found.values()) < 1400
    for k, a in wanted.items():
        parts = [
            np.linspace(0, n, m + 1).round().astype(int)
            for n, m in zip(a.shape, found[k].shape, strict=True)
        ]
        for (r, c), v in np.ndenumerate(found[k]):
            block = a[parts[0][r] : parts[0][r + 1], parts[1][c] : parts[1][c + 1]].astype(float)
            size = np.sqrt(np.square(block).mean())
            assert_close(np.float32(v), np.float32(size), block.size, 1.0)


def test_one_outlier_hides_no_other_weight():
    layer = recurrent.LSTM(8, 8).initialise(0)
    layer.params.W_hh[3, 5], layer.params.b_ih[8:16] = 50.0, 1.0
    source = viz.weights(layer).source
    assert "beyond the scales: 1 tile, the largest weight or bias is 50" in source
    found = read(source)[0]
    assert found["key:w:high"].attributes["label"] == "+0.4"
    assert found["key:b:high"].attributes["label"] == "+1"


def test_products_within_the_step_are_not_said_to_be_of_the_state_before():
    source = viz.weights(recurrent.GRU(3, 4, reset_after=False)).source
    assert source.count("of rₜ × hₜ₋₁, in this step") == 1
    source = viz.weights(Recurrent("multiplicative_lstm", 3, 4)).source
    assert source.count("of mₜ, in this step") == 4


@pytest.mark.parametrize("kind", ["uniform", "orthogonal", "skewed"])
def test_the_radius_of_a_large_matrix_is_right_to_three_digits(kind):
    a = np.random.default_rng(0).uniform(-1, 1, (LARGE + 8, LARGE + 8)) / np.sqrt(LARGE)
    if kind == "orthogonal":
        a = np.linalg.qr(a)[0]
    if kind == "skewed":
        a = 3 * np.triu(a, 1) + np.diag(np.linspace(0.2, 0.9, len(a)))
    exact = 0.9 if kind == "skewed" else np.abs(np.linalg.eigvals(a)).max()
    assert spectral_radius(a) == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_the_spectral_radius_matches_the_eigenvalues(n):
    rng = np.random.default_rng(n)
    for a in (
        rng.standard_normal((n, n)),
        1e-9 * rng.standard_normal((n, n)),
        np.linalg.qr(rng.standard_normal((n, n)))[0],
    ):
        assert spectral_radius(a) == pytest.approx(np.abs(np.linalg.eigvals(a)).max(), rel=1e-7)
    defective = 0.5 * np.eye(n) + np.eye(n, k=1)
    assert spectral_radius(defective) == pytest.approx(0.5, rel=1e-6)


def test_the_drawn_spectral_radius_is_the_largest_eigenvalue():
    layer = recurrent.GRU(3, 4).initialise(0, "float64")
    nodes, _, _ = read(viz.weights(layer).source)
    for k, g in enumerate("rzn"):
        block = layer.params.W_hh[4 * k : 4 * k + 4]
        v = float(nodes[f"radius:{g}:bar:0"].attributes["tooltip"].rpartition("= ")[2])
        # By Gelfand's formula: the norm of a high power, scaled so that it stays in range.
        power, scale = block.copy(), 0.0
        for _ in range(12):
            norm = np.linalg.norm(power)
            power, scale = (power / norm) @ (power / norm), 2 * (scale + np.log(norm))
        assert abs(np.exp((scale + np.log(np.linalg.norm(power))) / 2**12) / v - 1) < 2e-3
        assert nodes[f"radius:{g}"].attributes["label"].startswith(f"{v:.3g}")
    layer.params.W_hh[:] = 0
    layer.params.W_hh[[0, 1, 2, 3], [1, 0, 3, 2]] = 2.0  # two swaps: every eigenvalue is 2 or -2
    source = viz.weights(layer).source
    assert read(source)[0]["radius:r:bar:0"].attributes["tooltip"].endswith("= 2")
    assert "mark across a bar: a radius of 1" in source
    layer.params.W_hh[0, 0] = np.nan
    assert "not finite" in viz.weights(layer).source


@pytest.mark.parametrize("lengths", [None, [4, 6]])
def test_saturation_shares_leave_out_padding(lengths):
    model = recurrent.Sequential(recurrent.LSTM(D, H), rng=0)
    model.flat[:] *= 6
    recording = model.record(
        np.random.default_rng(0).standard_normal((6, 2, D)).astype("float32"), lengths=lengths
    )
    nodes, _, _ = read(viz.weights(model[0], recording).source)
    valid = np.arange(6)[:, None] < np.array(lengths or [6, 6])
    for g in "ifgo":
        v = recording.layers[0].gates[g][valid]
        low, high = (v < 0.1, v > 0.9) if g != "g" else (v < -0.9, v > 0.9)
        shown = [
            float(nodes[f"share:{g}:{k}"].attributes["tooltip"].rpartition("= ")[2]) for k in (0, 1)
        ]
        assert shown == [float(f"{a.mean():.6g}") for a in (low, high)]
        assert 0 < shown[0] < 1


def test_weights_of_an_encoder_and_a_decoder_with_lengths():
    """Each part of the recording has lengths of its own; the pair of them raised ValueError."""
    parts = (
        recurrent.Sequential(recurrent.LSTM(2, 3), rng=0),
        recurrent.Sequential(recurrent.Embedding(4, 2), recurrent.LSTM(2, 3), rng=1),
    )
    model = recurrent.Seq2Seq(*parts)
    read = np.random.default_rng(0).standard_normal((5, 2, 2), dtype=np.float32)
    recording = model.record((read, np.ones((4, 2), int)), lengths=([5, 2], [4, 3]))
    for layer in (model.encoder[0], model.decoder[1]):
        assert "saturated" in viz.weights(layer, recording=recording).source


def test_each_direction_has_its_own_weights():
    model, recording = both_directions()
    for way, end in (("forward", ""), ("reverse", "_reverse")):
        found = tiles(viz.weights(model[0], recording, direction=way).source)
        assert (
            f"{found['W_hh', 'f'][2, 3]:.7g}"
            == f"{model.parameters['0.weight_hh_l0' + end][H + 2, 3]:.7g}"
        )


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("sizes", [(3, 4), (1, 1)])
def test_nothing_overlaps_in_the_weights_view(name, sizes):
    model, recording = recorded(name, *sizes)
    source = viz.weights(model[0], recording).source
    # Parts of a bar lie on the bar on purpose.
    assert_clear(
        "\n".join(
            line
            for line in source.splitlines()
            if not re.match(r'  "(radius:\w+:bar|share:\w+):\d', line)
        )
    )


@pytest.mark.parametrize("name", GOLDEN_CELLS)
def test_golden_text(name):
    """UPDATE_GOLDEN=1 rewrites the files; look at the pictures before committing them."""
    path = GOLDEN / f"weights_{name}.gv"
    model = exact_model(lambda d, h: Recurrent(GOLDEN_CELLS[name], d, h), 2, 3)
    source = viz.weights(model[0], exact_recording(model)).source
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(source, encoding="utf-8")
    assert source == path.read_text(encoding="utf-8"), "UPDATE_GOLDEN=1 accepts the new text"


def test_errors_name_the_expected_value():
    model, recording = recorded("lstm")
    cases = [
        (
            TypeError,
            "weights draws a recurrent layer, got Linear",
            lambda: viz.weights(recurrent.Linear(3, 4)),
        ),
        (
            ValueError,
            "needs a bidirectional layer",
            lambda: viz.weights(model[0], direction="reverse"),
        ),
        (ValueError, "expected one of", lambda: viz.weights(recorded("gru")[0][0], recording)),
    ]
    for kind, message, call in cases:
        with pytest.raises(kind, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
