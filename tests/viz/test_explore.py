"""The page is self-contained, escaped, small and complete without scripts."""

import base64
import hashlib
import html
import json
import re
import sys
import zlib

import numpy as np
import pytest
from support.viz_models import attending

import recurrent
import viz
from recurrent.losses import mean_squared_error
from viz.draw import notation

NASTY = [
    "</script>",
    '"',
    "'",
    "\\",
    "\\N",
    "\x00",
    "\x1b",
    "\u2028",
    "🙂",
    "ש",
    "\u202e",
    "<!--",
    "&amp;",
    "$title",
    "]]>",
]


def run(kind=recurrent.LSTM, steps=15, units=10, gradients=True, dtype="float32", embedding=6):
    layers = (
        recurrent.Embedding(20, embedding),
        kind(embedding, units),
        kind(units, 4),
        recurrent.Linear(4, 20),
    )
    model = recurrent.Sequential(*layers, rng=0, dtype=dtype)
    rng = np.random.default_rng(0)
    targets = rng.standard_normal((steps, 2, 20)).astype(dtype)
    given = {"targets": targets, "loss": mean_squared_error} if gradients else {}
    return model, model.record(rng.integers(0, 20, (steps, 2)), **given)


@pytest.mark.parametrize("kind", [recurrent.RNN, recurrent.LSTM, recurrent.GRU])
def test_without_scripts_all_levels_and_values_of_a_step_are_there(kind):
    model, recording = run(kind)
    text = viz.explore(model, recording, t=3, sequence=1).html
    for level in ("network", "unrolled", "cell", "units", "unit", "neuron"):
        assert f'<section data-level="{level}"' in text
    assert "<noscript>" in text
    table = re.search(r'<table class="numbers">.*?</table>', text, re.S)[0]
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", table)[1:]]
    mine, cell = recording.layers[1], model[1].cell
    found = [mine.gates[g] for g in cell.gates if g not in cell.states] + [
        mine.states[s] for s in cell.states
    ]
    found += list(mine.dstates.values())
    assert rows == [[notation.exact(a[3, 1, j]) for a in found] for j in range(10)]


def test_the_policy_allows_this_style_and_this_script_and_nothing_else():
    text = viz.explore(*run()).html
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)[1]
    assert policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.findall(r"<[^>]*\sstyle=|<[^>]*\s(?:src|href|on\w+)=", text)
    assert "unsafe" not in policy


def test_any_text_stays_text():
    model, recording = run()
    text = viz.explore(model, recording, inputs=NASTY, t=0).html
    facts = re.search(r'<script type="application/json" id="facts">(.*?)</script>', text, re.S)[1]
    assert json.loads(facts)["labels"] == [viz.page.tables.symbol(s) for s in NASTY]
    assert text.count("</script>") == text.count("<script") == 3
    strip = re.search(r'<div class="strip text".*?</div>', text, re.S)[0]
    shown = [html.unescape(s) for s in re.findall(r"<bdi>(.*?)</bdi>", strip, re.S)]
    assert shown == [viz.page.tables.symbol(s) for s in NASTY]
    assert not set("\x00\x1b\u2028\u202e") & set(text)


def test_two_layers_of_128_units_over_100_steps_fit_in_two_megabytes(tmp_path):
    R = recurrent
    model = R.Sequential(
        R.Embedding(65, 128), R.LSTM(128, 128), R.LSTM(128, 128), R.Linear(128, 65), rng=0
    )
    rng = np.random.default_rng(0)
    targets = rng.standard_normal((100, 1, 65)).astype("float32")
    recording = model.record(
        rng.integers(0, 65, (100, 1)), targets=targets, loss=mean_squared_error
    )
    path = viz.explore(model, recording, inputs="abcde" * 20).save(tmp_path / "a.html")
    assert path.stat().st_size < 1_680_000


def test_the_page_says_which_units_it_leaves_out(monkeypatch):
    monkeypatch.setattr(sys.modules["viz.page.explore"], "BUDGET", 20_000)
    model, recording = run(units=40, gradients=False)
    text = viz.explore(model, recording, units=[37]).html
    table = re.search(r'<table class="numbers">.*?</table>', text, re.S)[0]
    units = [int(j) for j in re.findall(r'<th scope="row">(\d+)</th>', table)]
    assert units == [*range(len(units) - 3), 37, 38, 39]
    note = f"Layer 1: {len(units)} of 40 units are on this page"
    assert f"{note}: the first ones, the last two, and those requested." in text


def test_a_page_holds_the_sequences_of_a_small_batch(monkeypatch):
    model, recording = run(gradients=False)

    def sequences(text):
        return re.search(r'id="sequence">(.*?)</select>', text)[1].count("<option")

    one = viz.explore(model, recording, sequence=1).html
    assert sequences(one) == 2
    assert "All 2 sequences of the batch are on this page" in one
    monkeypatch.setattr(viz.page.batch, "BYTES", 1000)
    alone = viz.explore(model, recording, sequence=1).html
    assert sequences(alone) == 1
    assert "Sequence 1 of 2;" in alone
    assert len(alone) < len(one)


def test_the_gradient_norm_covers_all_units_of_a_layer():
    model, recording = run(units=40)
    part = viz.page.run.LayerRun(recording, model[1], 1, [], 1)
    assert len(part.units) < 40
    d = recording.layers[1].dstates["h"][:, 1].astype(float)
    assert np.array_equal(part.norms, np.linalg.norm(d, axis=1))


def test_an_exploded_model_has_a_page_that_says_nan():
    model = recurrent.Sequential(recurrent.LSTM(3, 4), recurrent.Linear(4, 2), rng=0)
    model.parameters["1.weight"][:] = np.nan
    x, loss = np.ones((5, 1, 3), "float32"), recurrent.losses.softmax_cross_entropy
    text = viz.explore(model, model.record(x, np.zeros((5, 1), int), loss)).html
    assert "nan %" in text


def test_the_blob_unpacks_to_the_same_bits_and_ends_no_element():
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal(n).astype(kind)
        for n, kind in ((1, "f4"), (1000, "f4"), (7, "f8"), (0, "f4"), (300, "f4"))
    ]
    arrays += [np.arange(9), np.array([70_000, 3]), np.array([np.nan, -0.0, np.inf])]
    blob = viz.page.packed.Blob()
    places = [blob.put(a) for a in arrays]
    assert blob.put(arrays[1]) == places[1]
    text = blob.text()
    assert not set("<'\"\\\n") & set(text)
    raw = zlib.decompress(base64.b85decode(text.replace(",", "<")))
    for a, (offset, length, kind) in zip(arrays, places, strict=True):
        width = int(kind[1])
        planes = np.frombuffer(raw[offset : offset + width * length], np.uint8).reshape(
            width, length
        )
        assert planes.T.tobytes() == a.astype("<" + kind).tobytes()


def test_the_page_shows_either_part_of_an_encoder_decoder():
    model, recording = attending()
    text = viz.explore(model, recording, inputs="Lesen!?", outputs="write", t=1).html
    assert "This page shows the decoder; part='encoder' shows the encoder." in html.unescape(text)
    assert '<section data-level="attention"' in text
    table = re.search(r'<table class="numbers">.*?</table>', text, re.S)[0]
    first = re.findall(r"<td>(.*?)</td>", table)[:6]
    mine = recording.layers[3]
    assert first == [
        notation.exact(a[1, 0, 0]) for a in (*mine.gates.values(), *mine.states.values())
    ]
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', text, re.S)[1])
    assert (facts["labels"], facts["labelled"], facts["T"]) == (list("write"), "output", 5)
    assert facts["attention"]["runs"][0]["inputs"] == list("Lesen!?")
    other = viz.explore(model, recording, inputs="Lesen!?", part="encoder").html
    assert '<section data-level="attention"' not in other
    assert json.loads(re.search(r'id="facts">(.*?)</script>', other, re.S)[1])["T"] == 7
    with pytest.raises(ValueError, match="part must be one of encoder, decoder, got 'both'"):
        viz.explore(model, recording, part="both")
    with pytest.raises(ValueError, match="inputs must have one label for each of 7 steps, got 3"):
        viz.explore(model, recording, inputs="abc")
    with pytest.raises(
        ValueError,
        match="part is for models of an encoder and a decoder, got 'decoder' for Sequential",
    ):
        viz.explore(*run(), part="decoder")


def test_output_is_deterministic():
    assert viz.explore(*run()).html == viz.explore(*run()).html


def test_errors_name_the_expected_value(tmp_path):
    model, recording = run()
    plain = recurrent.Sequential(recurrent.Linear(3, 3))
    page = viz.explore(model, recording)
    cases = [
        (
            TypeError,
            "explore draws a model of layers, got LSTM",
            lambda: viz.explore(model[1], recording),
        ),
        (
            TypeError,
            "needs a model with a recurrent layer, got Sequential",
            lambda: viz.explore(plain, plain.record(np.ones((2, 3), "float32"))),
        ),
        (
            ValueError,
            "explore needs a recording of this model, which has 1 layer; the recording has 4",
            lambda: viz.explore(plain, recording),
        ),
        (
            ValueError,
            "one label for each of 15 steps, got 3",
            lambda: viz.explore(model, recording, inputs="abc"),
        ),
        (
            IndexError,
            r"t must be in 0\.\.14, .*got 15",
            lambda: viz.explore(model, recording, t=15),
        ),
        (
            IndexError,
            r"sequence must be in 0\.\.1, .*got 2",
            lambda: viz.explore(model, recording, sequence=2),
        ),
        (
            IndexError,
            r"units must be in 0\.\.9, got 10",
            lambda: viz.explore(model, recording, units=[10]),
        ),
        (ValueError, r"must end in \.svg, .*got 'a.jpg'", lambda: page.save(tmp_path / "a.jpg")),
    ]
    for kind, message, call in cases:
        with pytest.raises(kind, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_the_page_saves_its_network_in_picture_formats(tmp_path):
    model, recording = run()
    page, picture = viz.explore(model, recording), viz.network(model, recording)
    assert page.source == picture.source
    assert page.svg() == page.save(tmp_path / "a.svg").read_text() == picture.svg()


def test_a_page_takes_the_options_of_pictures():
    layers = recurrent.LSTM(3, 4), recurrent.GRU(4, 5), recurrent.Linear(5, 2)
    model = recurrent.Sequential(*layers)
    recording = model.record(np.zeros((6, 1, 3), np.float32))
    names = {"inputs": ["rain", "wind", "heat"], "units": list("abcd"), "steps": list("MTWTFS")}
    options = dict(title="My <town>", labels=names, width=900, dark=True)
    html = viz.explore(model, recording, **options).html
    assert "<h1>My &lt;town&gt;</h1>" in html
    assert '<html lang="en" data-theme="dark">' in html
    assert "body{max-width:900px}" in html
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', html)[1])
    assert facts["steps"] == names["steps"]
    first, second = (layer["names"] for layer in facts["layers"])
    assert first == {"inputs": names["inputs"], "units": names["units"]}
    assert second == {"inputs": [], "units": []}  # 5 units have no names
    assert html.count(">rain<") >= 3  # in the pictures of the unit and the layer, and as a term
    plain = viz.explore(model, recording, palette="print").html
    figures = "".join(re.findall(r"<svg.*?</svg>", plain, re.S))
    for red, green, blue in re.findall(r'"#(\w\w)(\w\w)(\w\w)"', figures):
        assert red == green == blue
    assert "data-theme" in plain.partition(">\n")[2][:60]
    blind = viz.explore(model, recording, palette="colour-blind").html
    assert '"colour": "#B266FF"' in blind
    assert '"colour": "#CC79A7"' not in blind
