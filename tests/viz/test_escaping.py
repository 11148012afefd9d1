"""Text stays text in every view, even if it has a meaning in DOT, SVG, HTML, JSON or a terminal.

Each format is read back by its own program: Graphviz, an XML parser, a browser, a PNG decoder.
"""

import json
import re
import shutil
import struct
import subprocess
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.browser import CHROMIUM

import viz
from recurrent import CharLM, Linear, Sequential
from recurrent.cells import sigmoid, tanh, trace_cell
from recurrent.layers.recurrent import Recurrent
from recurrent.losses import mean_squared_error
from viz.draw import dot, notation, render
from viz.draw.drawing import Drawing

SVG = "{http://www.w3.org/2000/svg}"
SIGNS = "</script>]]><!--\"'`\\N\\G\\l&amp;&#65;<b>$x{}%s"
# Characters without a glyph of their own.
SIGNS += "\x00\x01\x07\x1b\x7f\x85\ufeff\ufffe\uffff\ud800\u2028\u2029\u202e\u0301🙂שﷺ\t\n \u00a0"
TEXT = "".join(dict.fromkeys(SIGNS)) + SIGNS
NAME = '</script>]]><!--"\'\\N\\"&amp;<b>x</b>\x00\x1b\u2028\u202eש🙂\ufffe'
GATE = "</g>\"'\\N&lt;"


@trace_cell(NAME, gates=f"f {GATE}", states="h", register=False)
def nasty(x, h, previous):
    f, n = sigmoid(x.f + h.f), tanh(getattr(x, GATE) + getattr(h, GATE))
    return {"f": f, GATE: n, "h": (1 - f) * previous.h + f * n}


@pytest.fixture(scope="module")
def lm():
    return CharLM(TEXT, layers=1, hidden=4, embedding=3, rng=0)


@pytest.fixture(scope="module")
def seen():
    # A layer's class has a name too.
    kind = type(NAME.replace("\x00", ""), (Recurrent,), {}, abstract=True)
    model = Sequential(kind(nasty, 3, 4), Linear(4, 2), rng=0)
    rng = np.random.default_rng(0)
    x, targets = (rng.standard_normal((len(TEXT), 1, size)).astype("float32") for size in (3, 2))
    return model, model.record(x, targets=targets, loss=mean_squared_error)


OF_MODEL = {
    "network": lambda model, run: viz.network(model),
    "unrolled": lambda model, run: viz.unrolled(model, 3, recording=run),
    "cell": lambda model, run: viz.cell(model[0], recording=run),
    "backward": lambda model, run: viz.cell(model[0], recording=run, backward=True, unit=1),
    "layer": lambda model, run: viz.layer(model[0], recording=run),
    "unit": lambda model, run: viz.unit(model[0], 1, recording=run),
    "neuron": lambda model, run: viz.unit(model[0], 1, recording=run, gate=GATE),
    "gradients": lambda model, run: viz.gradients(model, run),
    "weights": lambda model, run: viz.weights(model[0]),
}
VIEWS = ["text", *(name for name in OF_MODEL if name != "weights" or hasattr(viz, "weights"))]


@pytest.fixture(scope="module", params=VIEWS)
def drawing(request, lm, seen):
    return viz.text(lm, TEXT, unit=0) if request.param == "text" else OF_MODEL[request.param](*seen)


def allowed(text):
    """Whether all characters are legal in XML 1.0 and none changes the direction of text."""
    return not re.search(
        "[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u2028\u2029\u202a-\u202e\u2066-\u2069]",
        text,
    )


def parsed(svg):
    root = ET.fromstring(svg)
    tags = {e.tag.removeprefix(SVG) for e in root.iter()}
    assert tags <= {
        "svg",
        "title",
        "desc",
        "style",
        "g",
        "path",
        "polygon",
        "polyline",
        "ellipse",
        "text",
    }
    assert not any(a.startswith("on") or "href" in a for e in root.iter() for a in e.attrib)
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    return root


@pytest.mark.parametrize("program", ["graphviz-pure", "dot"])
def test_the_dot_text_is_one_graph_of_the_drawn_items(drawing, program):
    if program == "dot" and not shutil.which("dot"):
        pytest.skip("no system Graphviz: the second reader of our DOT text")
    done = subprocess.run(
        [render.find(program), "-Knop2", "-Tjson"], input=drawing.pipe("gv"), capture_output=True
    )
    assert done.returncode == 0
    graph = json.loads(done.stdout)
    statements = [line for line in drawing.source.splitlines() if line.startswith("  ")]
    edges = [line for line in statements if re.match(r'  "(?:[^"\\]|\\.)*" -> ', line)]
    clusters = sum(line.startswith("  subgraph") for line in statements)
    assert len(graph.get("edges", [])) == len(edges)
    # Each cluster has a point inside.
    assert len(graph["objects"]) == len(statements) - 3 - len(edges) + clusters
    assert "URL" not in done.stdout.decode()


@settings(max_examples=20)
@given(st.lists(st.text() | st.text('"\\\\<>&;{}[]=-\\nNGLETHlr#/*:'), min_size=1, max_size=20))
def test_no_text_ends_its_dot_string(texts):
    """As name, label and tooltip, each text makes one object with these attributes and no other."""
    items = []
    for k, text in enumerate(texts):
        at, name = (100, 60 * k), f"{k}{text}"
        items += [
            dot.node(name, at, (90, 20), text, tip=text),
            dot.cluster(name, (0, 60 * k - 20, 200, 60 * k + 20), text),
            dot.wire(name, name, [at, (150, 60 * k)], label=text, tip=text),
        ]
    source = Drawing.from_items("".join(texts), "", items).source
    done = subprocess.run(
        [render.find("graphviz-pure"), "-Knop2", "-Tjson", "-q"],
        input=source.encode(),
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    graph = json.loads(done.stdout)
    escaped = [
        notation.legal(text).replace("\r", "").replace("&", "&amp;").replace("\\", "\\\\")
        for text in texts
    ]
    labels = [text.replace("\n", "\\n") for text in escaped]
    drawn = [o for o in graph["objects"] if "style" not in o or o["style"] != "invis"]
    clusters = [o for o in drawn if o["name"].startswith("cluster_")]
    nodes = [o for o in drawn if o not in clusters]
    for found in (nodes, clusters, graph["edges"]):
        assert [o["label"] for o in found] == labels
    attributes = {key for o in [*graph["objects"], *graph["edges"]] for key in o}
    assert not attributes & {"URL", "href", "target", "image", "shapefile", "edgeURL", "labelURL"}


def test_the_svg_is_well_formed_and_has_the_same_text(drawing):
    root = parsed(drawing.svg())
    assert allowed("".join(root.itertext()))
    assert root.find(SVG + "title").text.strip()
    if "over a text" in drawing.title:
        tips = [e.text for e in root.iter(SVG + "title")]
        for k, c in enumerate(TEXT):
            (mine,) = [s for s in tips if s.startswith(f"{k}: ")]
            assert mine.startswith((f"{k}: '{c}' = ", f"{k}: U+{ord(c):04X} = "))
    else:
        assert '</script>]]><!--"\'\\N\\"&amp;<b>x</b>' in "".join(root.itertext())


def test_the_png_is_whole(drawing):
    data, chunks = drawing.pipe("png"), []
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at = 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(
            kind + body
        )
        chunks.append((kind, body))
        at += 12 + size
    width, height = struct.unpack(">II", chunks[0][1][:8])
    pixels = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    assert len(pixels) % height == 0
    assert width > 100
    assert chunks[-1][0] == b"IEND"


def test_the_pdf_is_whole(drawing):
    data = drawing.pipe("pdf")
    assert data.startswith(b"%PDF-")
    place = int(re.search(rb"startxref\s+(\d+)\s+%%EOF\s*$", data)[1])
    assert re.match(rb"xref|\d+ \d+ obj", data[place:])


def test_a_notebook_gets_the_same_svg(drawing):
    bundle = drawing._repr_mimebundle_()
    parsed(bundle["image/svg+xml"])
    assert allowed(bundle["text/plain"])
    assert "\n" not in bundle["text/plain"]


@pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on PATH: the browser the page is tried in"
)
def test_a_browser_reads_the_html_as_text(drawing, open_any, tmp_path):
    page = open_any(drawing.save(tmp_path / "a.html"))
    assert (
        page.locator("script").count()
        == page.locator("b").count()
        == page.locator("figure:not(:has(> svg))").count()
        == 0
    )
    assert page.title() == " ".join(drawing.title.split())
    assert allowed(page.content())
    if "over a text" in drawing.title:
        tips = page.eval_on_selector_all(
            "[title]", "all => all.map(e => e.title.replace(/ = \\S+$/, ''))"
        )
        assert len(tips) == len(TEXT)
        assert all(tip in (f"'{c}'", f"U+{ord(c):04X}") for tip, c in zip(tips, TEXT, strict=True))


@pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on PATH: the browser the page is tried in"
)
def test_a_browser_reads_the_page_as_text(open_any, seen, tmp_path):
    model, recording = seen
    labels = [NAME, *TEXT[1:]]
    made = viz.explore(model, recording, inputs=labels)
    assert allowed(made.html)
    page = open_any(made.save(tmp_path / "a.html"))
    page.locator("html.js").wait_for()
    assert page.locator("script").count() == 3
    shown = page.eval_on_selector_all(".strip bdi", "all => all.map(e => e.textContent)")
    assert shown == [viz.page.tables.symbol(c) for c in labels]
    for name in ("unrolled", "cell", "units", "unit", "neuron"):
        page.click(f'#levels [data-level="{name}"]')
        page.keyboard.press("ArrowLeft")
    assert page.locator("#neuron option").all_text_contents() == ["forget gate", GATE]
    frame = made._repr_html_()
    assert ET.fromstring(frame).get("srcdoc") == made.html.replace("\n", " ").replace("\t", " ")
