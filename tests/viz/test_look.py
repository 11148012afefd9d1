"""Options of all views: title, names, width, palette, light or dark, resolution; and `compare`."""

import inspect
import itertools
import re
import struct

import numpy as np
import pytest
from support.dot_reader import read

import viz
from recurrent import LSTM, CharLM, Last, Linear, Sequential, cells, losses
from viz.cli.commands import main
from viz.draw import adapt, palette

NAMES = {
    "inputs": ["rain", "wind", "heat"],
    "units": ["north", "south", "west", "east"],
    "classes": ["dry", "wet"],
    "steps": ["Mon", "Tue", "Wed", "Thu", "Fri"],
}
MODEL = Sequential(LSTM(3, 4), Linear(4, 2))
X = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
RUN = MODEL.record(X, targets=np.zeros((5, 2), int), loss=losses.softmax_cross_entropy)
LM = CharLM("abc ", layers=1, hidden=6, embedding=4, rng=0)
WEIGHTS = np.full((2, 5), 0.2)
VIEWS = {
    "network": lambda **o: viz.network(MODEL, RUN, **o),
    "unrolled": lambda **o: viz.unrolled(MODEL, 5, recording=RUN, **o),
    "cell": lambda **o: viz.cell(MODEL[0], RUN, unit=1, **o),
    "layer": lambda **o: viz.layer(MODEL[0], RUN, **o),
    "unit": lambda **o: viz.unit(MODEL[0], 1, RUN, **o),
    "gate": lambda **o: viz.unit(MODEL[0], 1, RUN, gate="f", **o),
    "weights": lambda **o: viz.weights(MODEL[0], RUN, **o),
    "gradients": lambda **o: viz.gradients(MODEL, RUN, **o),
    "attention": lambda **o: viz.attention(WEIGHTS, **o),
    "task": lambda **o: viz.task("one-to-one", **o),
    "curve": lambda **o: viz.curve({"losses": [3.0, 2.0, 1.0], "validation": []}, **o),
    "text": lambda **o: viz.text(LM, "a cab abc", **o),
    "compare": lambda **o: viz.compare(MODEL[0], MODEL[0], **o),
}
# The names that each view draws.
DRAWN = {
    "network": ["rain, wind, heat", "dry, wet"],
    "unrolled": NAMES["steps"],
    "cell": ["south"],
    "layer": NAMES["inputs"] + NAMES["units"],
    "unit": NAMES["inputs"] + NAMES["units"],
    "gate": NAMES["inputs"] + NAMES["units"],
    "weights": ["rain, wind, heat", *NAMES["units"]],
    "gradients": NAMES["steps"],
    "attention": NAMES["steps"],
    "compare": NAMES["units"],
}


def drawn_text(drawing):
    return [i.attributes["label"] for i in drawing.items if i.attributes.get("label")]


@pytest.mark.parametrize("name", [n for n in viz.__all__ if n in VIEWS])
def test_every_view_names_the_options_in_its_signature(name):
    parameters = inspect.signature(getattr(viz, name)).parameters
    if name != "compare":
        assert list(parameters)[-5:] == list(viz.Look.__annotations__)
    with pytest.raises(TypeError, match=r"has no option 'titel'; .*did you mean 'title'"):
        VIEWS[name](titel="a")


@pytest.mark.parametrize("view", VIEWS)
def test_title_is_on_the_picture_once_and_its_name(view):
    drawing = VIEWS[view](title="A name & more")
    assert drawing.title == "A name & more"
    assert drawing.source.count('label="A name &amp; more') == 1


@pytest.mark.parametrize("view", DRAWN)
def test_names_stand_on_the_picture(view):
    text = "\n".join(drawn_text(VIEWS[view](labels=NAMES)))
    for name in DRAWN[view]:
        assert name in text, name


def test_names_must_be_as_many_as_the_things():
    with pytest.raises(
        ValueError, match=r"labels\['inputs'\] must have .* each of 3 inputs, got 2"
    ):
        viz.unit(MODEL[0], 0, labels={"inputs": ["a", "b"]})
    with pytest.raises(ValueError, match="a key of labels must be one of inputs, units"):
        viz.unit(MODEL[0], 0, labels={"input": ["a"]})
    with pytest.raises(TypeError, match="labels"):
        viz.unit(MODEL[0], 0, labels=["a"])


@pytest.mark.parametrize("view", VIEWS)
def test_width_is_that_of_svg_and_png(view):
    drawing = VIEWS[view](width=480)
    assert re.search(r'<svg [^>]*width="480"', drawing.svg())
    wide, high = struct.unpack(">II", drawing.pipe("png", dpi=96)[16:24])
    assert abs(wide - 480) <= 1
    natural = VIEWS[view]().size
    assert abs(high / wide - natural[1] / natural[0]) < 0.02


def test_resolution_is_that_asked_for():
    drawing = viz.cell("lstm")
    sizes = [struct.unpack(">I", drawing.pipe("png", dpi=dpi)[16:20])[0] for dpi in (72, 300)]
    assert abs(sizes[1] / sizes[0] - 300 / 72) < 0.02
    with pytest.raises(ValueError, match=r"dpi is for \.png"):
        drawing.pipe("svg", dpi=100)
    with pytest.raises(ValueError, match="dpi must be at most"):
        viz.unit(LSTM(5, 10), 0, width=9000).pipe("png", dpi=2400)


def colours(drawing):
    """Return each text of a picture with its colour and that of what it stands on."""
    named = {"white": "#ffffff", "black": "#000000"}
    header = drawing.source.partition("edge [")[0]
    page, ink = (
        found[1] if (found := re.search(rf'{key}="?(#?\w+)"?', header)) else default
        for key, default in (("bgcolor", "white"), ("fontcolor", "#000000"))
    )
    nodes, _, regions = read(drawing.source)
    fill = r'subgraph "cluster_(.*?)" \{ graph \[.*?fillcolor="(#\w+)"'
    fills = dict(re.findall(fill, drawing.source))
    for node in nodes.values():
        a = node.attributes
        if a.get("style") == "invis" or not a.get("label"):
            continue
        over = a.get("fillcolor", page)
        if a.get("style") == "solid":  # text on the page or on a region
            x, y = (node.box[0] + node.box[2]) / 2, (node.box[1] + node.box[3]) / 2
            inside = [n for n, b in regions.items() if b[0] < x < b[2] and b[1] < y < b[3]]
            smallest = min(inside, key=lambda n: regions[n][2] - regions[n][0], default=None)
            over = page if smallest is None else fills[smallest]
        yield a["label"], a.get("fontcolor", ink), named.get(over, over)


LOOKS = {
    "default": {},
    "dark": {"dark": True},
    "print": {"palette": "print"},
    "colour-blind": {"palette": "colour-blind"},
    "colour-blind, dark": {"palette": "colour-blind", "dark": True},
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("view", VIEWS)
def test_text_is_readable_in_every_look(view, look):
    for label, colour, over in colours(VIEWS[view](**LOOKS[look])):
        assert palette.contrast(colour, over) >= palette.READABLE, (label, colour, over)


@pytest.mark.parametrize("view", VIEWS)
def test_print_has_greys_only(view):
    drawing = VIEWS[view](palette="print")
    for red, green, blue in re.findall(r'"#(\w\w)(\w\w)(\w\w)"', drawing.source):
        assert red == green == blue
    assert "light-dark" not in drawing.svg()


def test_print_marks_what_is_below_zero():
    unit = {i.name: i.attributes for i in viz.unit(MODEL[0], 1, palette="print").items}
    lines = [a for a in unit.values() if "weight of" in (a.get("tooltip") or "")]
    assert len(lines) == 4 * 7
    for a in lines:
        below = float(a["tooltip"].rpartition(" = ")[2]) < 0
        assert (a.get("style") == "dashed") == below
    tiles = [i.attributes for i in viz.weights(MODEL[0], palette="print").items]
    tiles = [a for a in tiles if re.search(r", unit \d", a.get("tooltip") or "")]
    assert len(tiles) == MODEL[0].size
    for a in tiles:
        assert (a["label"] == "−") == (float(a["tooltip"].rpartition(" = ")[2]) < 0)


@pytest.mark.parametrize("view", VIEWS)
def test_dark_pictures_have_no_white(view):
    source = VIEWS[view](dark=True).source
    assert 'bgcolor="#0f172a"' in source
    nodes = (n.attributes for n in read(source)[0].values())
    assert not [n for n in nodes if n.get("fillcolor", "").lower() == "#ffffff"]


def test_a_look_that_cannot_be_is_refused():
    for options, message in (
        ({"palette": "print", "dark": True}, "white paper"),
        ({"palette": "nice"}, "palette must be one of default, colour-blind, print"),
        ({"width": 3}, "width must be at least 50"),
    ):
        with pytest.raises(ValueError, match=message):
            viz.cell("lstm", **options)


# Matrices of Machado, Oliveira and Fernandes (2009) for linear RGB, severity 1.
VISION = {
    "full": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def seen(colour, vision):
    """Return a colour in CIE L*a*b* as someone with this colour vision sees it."""
    v = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    v = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    v = np.clip(np.array(VISION[vision]) @ v, 0, 1)
    xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]] @ v
    f = xyz / [0.9505, 1, 1.089]
    x, y, z = np.where(f > 0.008856, np.cbrt(f), 7.787 * f + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
def test_colour_blind_colours_differ_for_everyone(vision):
    fills = [palette.recoloured(c, "colour-blind", True) for c in palette.OTHER_GATES]
    lines = [*palette.STATES.values(), *palette.OTHER_STATES, palette.CUT, palette.GRADIENT]
    lines = [palette.recoloured(c, "colour-blind", False) for c in lines]
    for group, least in ((fills[:6], 25), (fills, 17), (lines, 25)):
        for a, b in itertools.combinations(group, 2):
            assert np.linalg.norm(seen(a, vision) - seen(b, vision)) > least, (a, b)


@pytest.mark.parametrize("name", cells.CELLS)
def test_a_cell_needs_no_layer(name):
    drawing = viz.cell(name)
    assert drawing.title == f"{name} cell"
    assert "(H,)" in drawing.source
    assert not re.search(
        r"\(\d", "\n".join(re.findall(r"label=\"(\w+\S*  \(.*?)\"", drawing.source))
    )
    assert viz.cell(cells.find(name)).source == drawing.source


def test_a_cell_has_no_values():
    with pytest.raises(ValueError, match="unit is for a layer of a model"):
        viz.cell("lstm", unit=3)
    with pytest.raises(ValueError, match="did you mean 'lstm'"):
        viz.cell("lstn")


def limits(drawing):
    return [i.attributes["label"] for i in drawing.items if i.name.endswith((":low", ":high"))]


@pytest.mark.parametrize("view", ["weights", "unit", "layer", "unrolled", "gradients"])
def test_compared_pictures_have_one_scale(view):
    small, large = (Sequential(LSTM(3, 4), Linear(4, 2)) for _ in range(2))
    for a in large.parameters.values():
        a *= 6
    pair = []
    for model in (small, large):
        run = model.record(X, targets=np.zeros((5, 2), int), loss=losses.softmax_cross_entropy)
        pair.append(
            {
                "weights": (model[0],),
                "unit": (model[0], 1, run),
                "layer": (model[0], run),
                "unrolled": (model, 5, None, run),
                "gradients": (model, run),
            }[view]
        )
    drawing = viz.compare(*pair, view=view, names=["small", "large"])
    found = limits(drawing)
    half = len(found) // 2
    assert half
    assert found[:half] == found[half:]
    alone = [limits(getattr(viz, view)(*arguments)) for arguments in pair]
    assert alone[0] != alone[1]
    boxes = [
        [i.box for i in drawing.items if i.name.startswith(f"{k}:") and i.kind == "node"]
        for k in range(2)
    ]
    low = [min(b[1] for b in found) for found in boxes]
    right = [max(b[2] for b in found) for found in boxes]
    apart = max(b[3] for b in boxes[1]) < low[0] or min(b[0] for b in boxes[1]) > right[0]
    assert apart
    assert drawing.svg().count("<svg") == 1


def test_compare_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match="view must be one of weights, unit"):
        viz.compare(MODEL[0], MODEL[0], view="curve")
    with pytest.raises(ValueError, match="names must be two"):
        viz.compare(MODEL[0], MODEL[0], names=["a"])
    with pytest.raises(TypeError, match="weights draws a recurrent layer"):
        viz.compare(MODEL[0], MODEL)


def test_options_do_not_reach_the_next_picture():
    before = viz.unit(MODEL[0], 0).source
    with pytest.raises(IndexError):
        viz.unit(MODEL[0], 9, palette="print")
    viz.unit(MODEL[0], 0, palette="print", labels=NAMES)
    assert viz.unit(MODEL[0], 0).source == before
    assert not adapt.now().labels


def test_commands_take_the_options(tmp_path, capsys):
    out = tmp_path / "unit.png"
    arguments = ["unit", "LSTM:3:4", "1", "-o", str(out), "--title", "Mine", "--width", "300"]
    arguments += ["--labels", "inputs=rain,wind,heat", "--palette", "print", "--dpi", "96"]
    assert main(arguments) == 0
    assert abs(struct.unpack(">I", out.read_bytes()[16:20])[0] - 300) <= 1
    svg = tmp_path / "cell.svg"
    assert main(["cell", "janet", "-o", str(svg), "--dark"]) == 0
    assert "light-dark" not in svg.read_text()
    MODEL.save(tmp_path / "a.safetensors")
    Sequential(LSTM(3, 4), Last()).save(tmp_path / "b.safetensors")
    pair = [str(tmp_path / f"{k}.safetensors") for k in "ab"]
    assert main(["compare", *pair, "--view", "unit", "--unit", "2", "-o", str(svg)]) == 0
    assert "a.safetensors" in svg.read_text()
    capsys.readouterr()
    for wrong, message in (
        (["cell", "janet", "--unit", "1"], "--unit cannot be combined with the cell janet"),
        (
            ["unit", "LSTM:3:4", "--labels", "rain"],
            "--labels must be KIND=A,B,... of kind inputs, units",
        ),
        (["unit", "LSTM:3:4", "--palette", "nice"], "--palette must be one of"),
        (["unit", "LSTM:3:4", "--dpi", "99"], "--dpi is for a .png"),
        (["compare", *pair, "--view", "unit", "--unit", "9"], "--unit must be in 0..3"),
    ):
        assert main([*wrong]) != 0
        assert message in capsys.readouterr().err


def test_runs_differ_in_print_without_colours():
    runs = {f"run {k}": {"losses": [3.0, 2.0, 1.0], "validation": []} for k in range(6)}
    items = viz.curve(runs, palette="print").items
    lines = [i.attributes for i in items if "running mean" in (i.attributes.get("tooltip") or "")]
    assert len({(a["style"], a["penwidth"]) for a in lines}) == 6


COLOURS = r"\b(blue|orange|red|violet|purple|brown|yellow|green)\b"


@pytest.mark.parametrize("view", VIEWS)
def test_print_speaks_of_no_colour(view):
    drawing = VIEWS[view](palette="print")
    assert not re.search(COLOURS, "\n".join([*drawn_text(drawing), drawing.description]))


def test_no_key_names_a_colour_that_a_palette_changes():
    large = LSTM(3, 4)
    large.params.W_hh[...] *= 9
    for drawing in (viz.cell("lstm", backward=True), viz.weights(large)):
        assert not re.search(COLOURS, "\n".join(drawn_text(drawing)))
