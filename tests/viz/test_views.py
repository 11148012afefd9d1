"""The gradient, text and curve views show the engine's values."""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from support.dot_reader import overlap, read
from support.viz_checks import assert_clear

import viz
from recurrent import GRU, LSTM, RNN, CharLM, Linear, Seq2Seq, Sequential
from recurrent.charlm.text import Vocabulary
from recurrent.conformance.tolerance import assert_close
from recurrent.losses import mean_squared_error
from viz.draw import notation
from viz.reading.gradient_norms import norms, verdict
from viz.reading.training_curve import running_mean

SVG = "{http://www.w3.org/2000/svg}"
NASTY = "</script>'\"\\N\\G\x07&amp;<b>]]>-->😀 שלום\u2028é\n\t"


def of_the_last_step(y, targets, lengths=None):
    """The squared error of the last step alone, whose gradient passes through all steps."""
    dy = np.zeros_like(y)
    dy[-1] = 2 * (y[-1] - targets)
    return float(np.square(y[-1] - targets).sum()), dy


def recorded(layer, scale=1.0, steps=12):
    model = Sequential(layer, Linear(layer.hidden_size, 2), rng=0, dtype="float64")
    model.parameters["0.weight_hh_l0"][:] *= scale
    x = np.random.default_rng(0).standard_normal((steps, 2, layer.input_size)) * 0.1
    return model, model.record(x, targets=1.0, loss=of_the_last_step)


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_every_tile_is_the_norm_of_a_gradient(kind):
    model, recording = recorded(kind(3, 4))
    nodes, _, _ = read(viz.gradients(model, recording).source)
    for s, a in recording.layers[0].dstates.items():
        for t in range(12):
            shown = nodes[f"{s}:layer0@{t}"].attributes["tooltip"].rpartition(": ")[2]
            assert shown == f"{np.linalg.norm(a[t]):.7g}"
    assert {n.partition(":")[0] for n in nodes if ":layer0@" in n} == set(model[0].cell.states)


def test_an_encoder_and_a_decoder_are_drawn_on_one_scale():
    stacks = (Sequential(Linear(3, 3), GRU(3, 4), rng=k, dtype="float64") for k in (0, 1))
    model, rng = Seq2Seq(*stacks, start=0, end=1), np.random.default_rng(0)
    x = rng.standard_normal((7, 2, 3)), rng.standard_normal((5, 2, 3))
    recording = model.record(x, targets=np.ones((2, 4)), loss=of_the_last_step)
    drawing = viz.gradients(model, recording)
    assert_clear(drawing.source)
    nodes, _, clusters = read(drawing.source)
    for k, steps in ((1, 7), (3, 5)):
        tiles = [nodes[f"h:layer{k}@{t}"] for t in range(steps)]
        for t, tile in enumerate(tiles):
            size = np.linalg.norm(recording.layers[k].dstates["h"][t])
            assert tile.attributes["tooltip"].rpartition(": ")[2] == f"{size:.7g}"
        assert f"h:layer{k}@{steps}" not in nodes
    assert set(clusters) == {"layer1", "layer3"}
    assert sum("log scale" in n.attributes["label"] for n in nodes.values()) == 1
    assert "7 steps of the encoder and 5 steps of the decoder" in drawing.title


def test_vanishing_and_exploding_gradients_are_recognised():
    def lightness(colour):
        return sum(int(colour[p : p + 2], 16) for p in (1, 3, 5))

    for scale, fate, end in ((0.1, "vanishes", 0), (8.0, "explodes", 11)):
        model, recording = recorded(
            RNN(3, 4, nonlinearity="relu") if fate == "explodes" else RNN(3, 4), scale
        )
        if fate == "explodes":
            model.parameters["0.weight_hh_l0"][:] = 3 * np.eye(4)
            model.parameters["0.bias_ih_l0"][:] = 1.0
            recording = model.record(recording.x, targets=1.0, loss=of_the_last_step)
        drawing = viz.gradients(model, recording)
        nodes, _, _ = read(drawing.source)
        row = [lightness(nodes[f"h:layer0@{t}"].attributes["fillcolor"]) for t in range(12)]
        assert fate in drawing.description
        assert row[end] < row[11 - end]
        assert row == sorted(row, reverse=fate == "explodes")


def test_verdicts_compare_the_first_step_with_the_last():
    assert verdict(np.array([1.0, 0.0])) == "last step: 0"
    assert "explodes" in verdict(np.array([np.inf, 1.0]))
    assert_close(norms(np.full((3, 2, 2), 2.0)), np.full(3, 4.0), terms=4, scale=4.0)


def test_many_steps_share_tiles_and_the_picture_says_so():
    model, recording = recorded(LSTM(3, 4), steps=150)
    source = viz.gradients(model, recording).source
    nodes, _, _ = read(source)
    assert "150 steps; each tile shows the largest of 3 steps" in source
    sizes = norms(recording.layers[0].dstates["h"])
    assert (
        nodes["h:layer0@147"].attributes["tooltip"]
        == f"|dL/dh| of layer 0 at t = 147 to 149: {sizes[147:].max():.7g}"
    )


@pytest.fixture(scope="module")
def lm():
    return CharLM(NASTY + 'abc "ABC" 012', layers=2, hidden=5, embedding=3, rng=0)


@pytest.mark.parametrize("value", ["h", "c", "f"])
@pytest.mark.parametrize("layer", [1, 2])
def test_characters_have_the_value_of_the_unit(lm, value, layer):
    recording = lm.model.record(lm.ids(NASTY)).layers[layer]
    expected = {**recording.states, **recording.gates}[value][:, 3]
    nodes, _, _ = read(viz.text(lm, NASTY, 3, value, layer).source)
    shown = [nodes[f"char{k}"].attributes["tooltip"].rpartition("= ")[2] for k in range(len(NASTY))]
    assert shown == [f"{v:.7g}" for v in expected]


def test_a_byte_model_colours_a_character_after_its_last_byte():
    lm = CharLM(Vocabulary.bytes(), layers=1, hidden=5, embedding=3, rng=0)
    h = lm.model.record(lm.ids("aé😀")).layers[1].states["h"][[0, 2, 6], 2]
    nodes, _, _ = read(viz.text(lm, "aé😀", 2).source)
    assert [nodes[f"char{k}"].attributes["tooltip"].rpartition("= ")[2] for k in range(3)] == [
        f"{v:.7g}" for v in h
    ]


class Spans(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def test_nasty_text_stays_text_in_svg_and_html(lm):
    drawing = viz.text(lm, NASTY, 0)
    root = ET.fromstring(drawing.svg())
    assert {e.tag.removeprefix(SVG) for e in root.iter()} <= {
        "svg",
        "g",
        "title",
        "desc",
        "style",
        "polygon",
        "text",
        "path",
    }
    shown = {"".join(e.itertext()) for e in root.iter(SVG + "text")}
    assert {"<", "&", "\\", '"', "¶", "□"} <= shown
    page = Spans()
    page.feed(drawing.pipe("html").decode())
    assert page.tags.count("span") == len(NASTY)
    known = {"html", "head", "meta", "title", "style", "body", "main", "h1", "p", "div", "span"}
    assert set(page.tags) == known
    assert "</script>'\"\\N\\G□&amp;<b>" in page.text


def test_long_texts_are_elided_and_the_picture_says_so(lm):
    drawing = viz.text(lm, "abc " * 400, 0)
    nodes, _, _ = read(drawing.source)
    assert sum(n.startswith("char") for n in nodes) == 1200
    assert "the first 1,200 characters; 400 more are not drawn" in drawing.source
    assert "char1599" in viz.text(lm, "abc " * 400, 0, max_nodes=None).source


def test_units_are_ranked_by_correlation(lm):
    text = 'abc "ABC" 012\n' * 20
    h = lm.model.record(lm.ids(text)).layers[1].states["h"]
    best = viz.units_like(lm, text, h[:, 4])[0]
    assert (best.layer, best.unit) == (1, 4)
    assert_close(np.float32(best.correlation), np.float32(1.0), terms=len(text), scale=1.0)
    flipped = viz.units_like(lm, text, -h[:, 4])[0]
    assert (flipped.unit, flipped.correlation < 0) == (4, True)
    ranked = viz.units_like(lm, text, lambda t: [c.isupper() for c in t], top=10)
    assert ranked == viz.units_like(lm, text, "upper case", top=10)
    for m in viz.units_like(lm, text, "upper case"):
        wanted = np.corrcoef(
            [c.isupper() for c in text], lm.model.record(lm.ids(text)).layers[m.layer].y[:, m.unit]
        )[0, 1]
        assert_close(np.float32(m.correlation), np.float32(wanted), terms=len(text), scale=1.0)


HISTORY = {
    "losses": [4.0, 3.0, 2.5, float("nan"), 2.0],
    "start": 0,
    "validation": [(2, 2.75), (5, 2.25)],
    "best": (5, 2.25),
}


def test_a_curve_has_every_loss_and_every_validation_at_its_height():
    nodes, edges, _ = read(viz.curve(HISTORY).source)
    raw = next(e for e in edges if e.tail == "raw::0")
    heights = [float(p.split(",")[1]) for p in raw.attributes["pos"].split()][::3]
    scale = (heights[0] - heights[-1]) / (4.0 - 2.0)
    assert [round((h - heights[-1]) / scale + 2.0, 2) for h in heights] == [4.0, 3.0, 2.5, 2.0]
    for u, v in HISTORY["validation"]:
        held = nodes[f"held:@{u}"]
        assert held.attributes["tooltip"] == f"validation after update {u}: {v:.7g}"
        assert abs((held.box[1] + held.box[3]) / 2 - heights[-1] - (v - 2.0) * scale) < 0.02
    assert any(n.attributes["label"] == "validation; best 2.25 after 5" for n in nodes.values())
    assert "mean:B:0" in viz.curve({"A": HISTORY, "B": HISTORY}).source


def test_the_running_mean_starts_at_the_first_loss():
    losses = np.linspace(4, 1, 500)
    mean = running_mean(losses)
    assert mean[0] == losses[0]
    assert (np.diff(mean) < 0).all()
    assert (mean[1:] > losses[1:]).all()


def pictures():
    for kind, steps in ((LSTM, 12), (RNN, 150), (GRU, 1)):
        yield (
            f"gradients-{kind.__name__}-{steps}",
            lambda k=kind, s=steps: viz.gradients(*recorded(k(3, 4), steps=s)),
        )
    yield "curve", lambda: viz.curve(HISTORY)
    yield "curves", lambda: viz.curve({"LSTM": HISTORY, "GRU": HISTORY})
    yield "curve-one", lambda: viz.curve({"losses": [1.0]})
    model = CharLM("ab c\n", layers=1, hidden=4, embedding=3)
    yield "text", lambda: viz.text(model, "ab c\n" * 30)


PICTURES = dict(pictures())


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps(name):
    nodes, edges, _ = read(PICTURES[name]().source)
    corners = [nodes.pop(f"corner{k}").box for k in (0, 1)]
    left, bottom, right, top = *corners[0][:2], *corners[1][2:]
    seen = [
        n
        for n in nodes.values()
        if n.attributes.get("style") != "invis" and not n.name.startswith("held:")
    ]
    for n in seen:
        assert left <= n.box[0] <= n.box[2] <= right, n
        assert bottom <= n.box[1] <= n.box[3] <= top, n
        assert (
            notation.width(n.attributes["label"], float(n.attributes.get("fontsize", 11)))
            <= n.box[2] - n.box[0] + 0.01
        ), n
    for k, a in enumerate(seen):
        assert not any(overlap(a.box, b.box, slack=0.5) for b in seen[k + 1 :]), a
    for e in edges:
        assert all(left <= x <= right and bottom <= y <= top for x, y in e.points()), e


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_render_and_are_deterministic(name):
    drawing = PICTURES[name]()
    assert drawing.svg() == PICTURES[name]().svg()
    assert re.search(r"<title[^>]*>[^<]+</title><desc[^>]*>[^<]+</desc>", drawing.svg())


def test_errors_name_the_expected_value(lm):
    model, recording = recorded(LSTM(3, 4))
    plain = model.record(recording.x)
    cases = [
        (
            TypeError,
            "draws a model of layers, got LSTM",
            lambda: viz.gradients(LSTM(3, 4), recording),
        ),
        (
            ValueError,
            "gradients needs a recording of this model, which has 4 layers; the recording has 2",
            lambda: viz.gradients(lm.model, recording),
        ),
        (ValueError, "the recording has no gradients", lambda: viz.gradients(model, plain)),
        (TypeError, "needs a character model .*got Sequential", lambda: viz.text(model, "abc")),
        (ValueError, "at least one character", lambda: viz.text(lm, "")),
        (ValueError, "'Z'.* at position 1", lambda: viz.text(lm, "aZ")),
        (
            ValueError,
            "value must be one of c, f, g, h, i, o, got 'z'",
            lambda: viz.text(lm, "abc", value="z"),
        ),
        (IndexError, r"unit must be in 0\.\.4, .*got 5", lambda: viz.text(lm, "abc", 5)),
        (IndexError, "layer must be one of 1, 2, .*got 0", lambda: viz.text(lm, "abc", 1, layer=0)),
        (
            ValueError,
            "feature must be one of inside quotes, ",
            lambda: viz.units_like(lm, "abc", "vowel"),
        ),
        (
            ValueError,
            r"feature must be \(3,\), .*got \(2,\)",
            lambda: viz.units_like(lm, "abc", [1, 2]),
        ),
        (ValueError, "the same for every character", lambda: viz.units_like(lm, "abc", "digit")),
        (
            ValueError,
            "feature must be finite .*got nan at character 1",
            lambda: viz.units_like(lm, "abc", [1, np.nan, 2]),
        ),
        (TypeError, "draws a History .*got list", lambda: viz.curve([1.0])),
        (ValueError, "no finite loss", lambda: viz.curve({"losses": []})),
    ]
    for kind, message, call in cases:
        with pytest.raises(kind, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_the_network_of_a_run_shows_its_values():
    model, x = Sequential(LSTM(3, 4), Linear(4, 2), rng=0), np.ones((5, 2, 3), np.float32)
    run = model.record(x, np.zeros((5, 2, 2), np.float32), mean_squared_error)
    source = viz.network(model, recording=run).source
    for layer in run.layers:
        y, dy = (notation.plain(np.abs(a).mean()) for a in (layer.y, layer.dy))
        assert f"|y| {y} · |dL/dy| {dy}" in source
    assert "|y|, |dL/dy|: means over a run" in source
    without = viz.network(model, recording=model.record(x)).source
    assert "|y|: means over a run" in without
    assert "|dL/dy|" not in without
    message = "network needs a recording of this model, which has 1 layer; the recording has 2; "
    message += "record the outermost model of the layers"
    with pytest.raises(ValueError, match=rf"\A{message}\Z"):
        viz.network(Sequential(LSTM(3, 4)), recording=run)


def test_a_unit_of_a_run_without_y_is_refused():
    model, x = Sequential(LSTM(3, 4), rng=0), np.ones((5, 2, 3), np.float32)
    with pytest.raises(
        ValueError, match=r"\Alayer 0 of the recording has no y: its keep= left it out\Z"
    ):
        viz.unit(model[0], 1, recording=model.record(x, keep=dict(names=["c"])))


def test_gradients_of_reverse_units_are_read_from_their_first_step():
    """Their gradient flows from t = 0 to the last step: a vanishing one is small at the end."""
    model = Sequential(LSTM(2, 3, bidirectional=True), rng=0)
    x = np.zeros((4, 1, 2), np.float32)
    recording = model.record(x, np.zeros((4, 1, 6), np.float32), mean_squared_error)
    for name, a in recording.layers[0].dstates.items():
        a[:] = (
            10.0 ** -np.arange(0.0, 8.0, 2.0)[:: 1 if name.endswith("_reverse") else -1, None, None]
        )
    drawing = viz.gradients(model, recording)
    assert "layer 0, |dL/dh|: first / last = 1e-06: vanishes" in drawing.description
    words = "layer 0, |dL/dh_reverse|: read first / read last = 1e-06: vanishes"
    assert words in drawing.description
    assert "forward units: from the last step to the first" in drawing.source
    assert "reverse units: from the first step to the last" in drawing.source
