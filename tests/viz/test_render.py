"""From DOT text to files: escaping, renderers, SVG for pages, one-line errors."""

import doctest
import importlib
import os
import pkgutil
import re
import shutil
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import recurrent
import viz
from viz.draw import dot, render
from viz.draw.drawing import Drawing
from viz.draw.program import ProgramError, run_program

SVG = "{http://www.w3.org/2000/svg}"
NASTY = [
    'say "hi"',
    "back\\slash",
    "\\N \\G \\L \\n",
    "<b>bold</b>",
    "&amp; & &#65;",
    "ends in \\",
    "a;b{c}[d]->e",
    "Σ → σ ‖w‖ ₜ₋₁",
]


@pytest.fixture(scope="module")
def drawing():
    model = recurrent.Sequential(
        recurrent.Embedding(9, 3), recurrent.LSTM(3, 4), recurrent.Linear(4, 9), rng=0
    )
    return viz.unit(model[1], 2)


@pytest.mark.parametrize(
    "module",
    [m.name for m in pkgutil.walk_packages(viz.__path__, "viz.") if m.name != "viz.__main__"],
)
def test_doctests(module):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


@pytest.mark.parametrize("text", NASTY)
def test_any_text_is_shown_as_it_is(text):
    items = [
        dot.cluster("c", (0, 0, 300, 100), text),
        dot.node(text, (100, 40), (200, 30), text, tip=text),
        dot.text((100, 80), text, anchor="start"),
        dot.wire(text, text, [(100, 40), (150, 40)], tip=text),
    ]
    root = ET.fromstring(Drawing.from_items(text, text, items).svg())
    shown = ["".join(e.itertext()).replace("\xa0", " ") for e in root.iter(SVG + "text")]
    assert shown == [text] * 3
    titles = [e.text for e in root.iter(SVG + "title")]
    assert titles == [text] * 3  # the picture's, the node's and the wire's
    assert root.find(SVG + "desc").text == text


def test_line_breaks_and_control_characters():
    source = Drawing.from_items("x", "", [dot.node("n", (0, 0), (99, 40), "one\ntwo\r\x00")]).svg()
    assert ["".join(e.itertext()) for e in ET.fromstring(source).iter(SVG + "text")] == [
        "one",
        "two",
    ]


def test_svg_is_ready_for_a_page(drawing):
    text = drawing.svg()
    root = ET.fromstring(text)
    assert root.tag == SVG + "svg"
    assert text.startswith("<svg")
    assert root.get("role") == "img"
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    prefix = ids[0].removesuffix("-title")
    assert prefix.startswith("fig-")
    assert all(i.startswith(prefix) for i in ids)
    assert f"{prefix}-state:c" in ids
    assert root.get("aria-labelledby") == f"{prefix}-title {prefix}-desc"
    assert root.find(SVG + "title").text == "LSTM unit 2 of LSTM(input_size=3, hidden_size=4)"
    assert "4 × (3 + 4 + 2) = 36" in root.find(SVG + "desc").text
    assert "max-width:100%" in root.get("style")
    titles = [e.text for e in root.iter(SVG + "title")]
    assert "input gate: 7 weights" in titles
    assert not any("text1" in t or "corner" in t for t in titles)
    assert {e.get("font-family") for e in root.iter(SVG + "text")} == {viz.draw.svg.FONTS}


def test_dark_mode_changes_only_colours_without_meaning():
    model = recurrent.Sequential(recurrent.LSTM(3, 4), rng=0)
    recording = model.record(np.ones((5, 1, 3), "float32"))
    root = ET.fromstring(viz.unit(model[0], 2, recording=recording).svg())
    rules = dict(re.findall(r"([^{}]+)\{([^{}]+)\}", root.find(SVG + "style").text))
    prefix = root.get("id")
    assert rules[f":where(#{prefix})"] == "color-scheme:light dark"
    assert rules[f'#{prefix} [fill="#ffffff"]:not(.on)'] == "fill:light-dark(#ffffff,#0f172a)"
    turned = "".join(rules)
    for _, colour in (viz.draw.palette.GATES[g] for g in "ifgo"):
        assert f'[fill="{colour.lower()}"]' not in turned
    texts = {}
    for group in root.iter(SVG + "g"):
        fills = [e.get("fill") for e in group if e.tag != SVG + "text" and e.get("fill")]
        texts |= {id(e): (e, fills[-1] if fills else None) for e in group if e.tag == SVG + "text"}
    assert len(texts) > 30
    for e, fill in texts.values():
        assert (e.get("class") == "on") == (
            fill is not None and not viz.draw.palette.is_frame(fill, fill=True)
        ), e.text
    colours = {
        p.get("stroke")
        for g in root.iter(SVG + "g")
        if g.get("class") == "edge"
        for p in g
        if p.get("stroke")
    }
    assert all(f'[stroke="{c}"]' in turned for c in colours)


def contrast(a, b):
    """The contrast ratio of WCAG 2, from 1 to 21; 4.5 is readable."""

    def luminance(colour):
        channels = [int(colour[p : p + 2], 16) / 255 for p in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    "text",
    [viz.draw.palette.INK, viz.draw.palette.MUTED, "#000000", *viz.draw.palette.STATES.values()],
)
def test_dark_text_is_readable_on_the_page_and_black_on_every_box(text):
    turn = viz.draw.palette.dark
    assert contrast(turn(text), turn("#FFFFFF")) > 4.5
    for fill, _ in (
        *viz.draw.palette.LAYERS.values(),
        viz.draw.palette.UNIT,
        viz.draw.palette.FACTS,
        *viz.draw.palette.WINDOWS,
    ):
        assert contrast(turn("#000000"), turn(fill)) > 4.5


def test_figures_do_not_collide_in_one_page(drawing):
    model = recurrent.Sequential(recurrent.LSTM(3, 4), rng=0)
    both = [ET.fromstring(d.svg()) for d in (drawing, viz.network(model))]
    first, second = ({e.get("id") for e in root.iter() if e.get("id")} for root in both)
    assert not first & second


def test_every_format_is_saved(drawing, tmp_path):
    for name in ("a.svg", "a.PNG", "a.gv", "a.html"):
        path = drawing.save(tmp_path / name)
        assert path == tmp_path / name
        assert path.stat().st_size > 1000
    assert (tmp_path / "a.gv").read_text(encoding="utf-8") == drawing.source
    assert (tmp_path / "a.PNG").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert drawing.save(str(tmp_path / "b.svg")).exists()
    with pytest.raises(ValueError, match=r"must end in \.svg, .*got 'a.jpg'"):
        drawing.save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="must end in"):
        drawing.save(tmp_path / "nothing")


def test_output_is_deterministic(drawing):
    assert drawing.svg() == drawing.svg()
    assert drawing.pipe("png") == drawing.pipe("png")


def test_a_huge_picture_is_capped():
    wide = Drawing.from_items(
        "wide", "", [dot.node("a", (0, 0), (20, 20)), dot.node("b", (60_000, 0), (20, 20))]
    )
    width, height = struct.unpack(">II", wide.pipe("png")[16:24])
    assert width <= render.MAX_SIDE + 2
    assert width * height <= render.MAX_PIXELS * 1.01
    assert render.resolution(600, 400) == render.DPI
    side = render.resolution(72_000, 72_000)
    assert (1000 * side) ** 2 <= render.MAX_PIXELS * 1.001


def test_notebooks_get_svg_and_text(drawing):
    bundle = drawing._repr_mimebundle_()
    assert bundle["image/svg+xml"] == drawing.svg()
    assert bundle["text/plain"].startswith("<Drawing: LSTM unit 2")


def nothing_installed(monkeypatch):
    monkeypatch.delenv("RECURRENT_DOT", raising=False)
    monkeypatch.setattr(shutil, "which", lambda *a, **k: None)


def test_without_a_renderer_the_source_works_and_the_error_names_two_options(
    drawing, monkeypatch, tmp_path
):
    nothing_installed(monkeypatch)
    with pytest.raises(
        viz.RenderError, match=r"pip install graphviz-pure.*`dot` is on PATH"
    ) as caught:
        drawing.svg()
    assert "\n" not in str(caught.value)
    drawing.save(tmp_path / "a.gv")
    bundle = drawing._repr_mimebundle_()
    assert "image/svg+xml" not in bundle
    assert "no renderer" in bundle["text/plain"]


def test_the_error_for_pdf_names_two_options(drawing, monkeypatch):
    monkeypatch.delenv("RECURRENT_DOT", raising=False)
    if shutil.which("dot"):
        assert drawing.pipe("pdf").startswith(b"%PDF")
    monkeypatch.setitem(sys.modules, "svg2pdf_py", None)
    with pytest.raises(viz.RenderError, match="`dot` is on PATH, or `pip install svg2pdf-py`"):
        drawing.pipe("pdf", engine="graphviz-pure")


def test_a_pdf_without_dot_has_its_text(drawing, monkeypatch):
    svg2pdf = pytest.importorskip(
        "svg2pdf_py", reason="svg2pdf-py makes a PDF of what graphviz-pure draws"
    )
    data = drawing.pipe("pdf", engine="graphviz-pure")
    assert data.startswith(b"%PDF-")
    assert b"/Font" in data
    empty = svg2pdf.FontDatabase()
    monkeypatch.setattr(
        svg2pdf, "FontDatabase", type("Empty", (), {"system": staticmethod(lambda: empty)})
    )
    with pytest.raises(
        viz.RenderError, match=r"no font for the text of a PDF: install DejaVu Sans"
    ):
        drawing.pipe("pdf", engine="graphviz-pure")


def test_the_graphviz_library_draws_the_same_with_or_without_dot(drawing, monkeypatch):
    import graphviz

    def places(svg):
        return re.findall(r'<ellipse [^>]*cx="([^"]+)" cy="([^"]+)"', svg)

    monkeypatch.setattr(
        graphviz.backend.dot_command, "DOT_BINARY", graphviz.backend.dot_command.DOT_BINARY
    )
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("RECURRENT_DOT", raising=False)
    found = places(drawing.to_graphviz().pipe(format="svg", encoding="utf-8", quiet=True))
    assert len(found) > 5
    assert found == places(drawing.svg(engine="graphviz-pure"))


def test_the_renderer_can_be_chosen(drawing, monkeypatch):
    pure = render.find("graphviz-pure")
    assert os.path.basename(pure).startswith("graphviz-pure")
    monkeypatch.setenv("RECURRENT_DOT", pure)
    assert drawing.svg().startswith("<svg")
    monkeypatch.setenv("RECURRENT_DOT", "no-such-program")
    with pytest.raises(
        viz.RenderError,
        match="no renderer 'no-such-program': expected 'graphviz-pure', 'dot' or the path",
    ):
        drawing.svg()
    # The argument takes precedence over the environment variable.
    assert drawing.svg(engine="graphviz-pure").startswith("<svg")


def test_a_failing_renderer_gives_a_one_line_error():
    with pytest.raises(viz.RenderError, match=r"failed: .*syntax error") as caught:
        render.run("digraph { ] }", "svg")
    assert "\n" not in str(caught.value)


BROKEN = {
    "hangs": ("sleep 1000", "it took more than 1 seconds"),
    "hangs after its output ends": ("exec >&- 2>&-; sleep 1000", "it took more than 1 seconds"),
    "leaves a child that holds its output": ("sleep 1000 &", "it took more than 1 seconds"),
    "writes without end": ("cat /dev/zero", r"it wrote more than 2 MB"),
    "writes messages without end": ("cat /dev/zero >&2", "it took more than 1 seconds"),
    "writes nothing": ("cat > /dev/null", "expected a whole {}, got nothing"),
    "reads nothing": ("printf hello", "expected a whole {}, got 5 bytes that begin b'hello'"),
    "is killed": ("kill -9 $$", "exit code -9"),
    "says why": ("echo; echo no space >&2; exit 3", "no space"),
    "writes another format": ("printf '<html><body/></html>'", "expected a whole {}, got 20 bytes"),
    "writes half a picture": ('"{}" "$@" | head -c 300', "expected a whole {}, got 300 bytes"),
    "writes entities": (
        """printf '<!DOCTYPE svg [<!ENTITY a "b">]><svg xmlns="http://www.w3.org/2000/svg"/>'""",
        "expected a whole {}, got",
    ),
    "writes a picture without a size": (
        """printf '<svg xmlns="http://www.w3.org/2000/svg"/>'""",
        "expected a whole {}, got",
    ),
    "writes bytes that are no text": ("printf '\\377\\376'", "expected a whole {}, got 2 bytes"),
}


@pytest.mark.parametrize(
    ("fault", "format"),
    [(fault, "svg") for fault in BROKEN]
    + [(f, k) for f in ("writes another format", "writes half a picture") for k in ("png", "pdf")],
)
def test_a_broken_renderer_is_stopped_and_gives_a_one_line_error(
    drawing, fault, format, monkeypatch, tmp_path
):
    """`dot` is what stands first on PATH, whatever it does."""
    script, message = BROKEN[fault]
    dot_or_pure = shutil.which("dot") or render.find("graphviz-pure")
    if format == "pdf" and not shutil.which("dot") and "{}" in script:
        pytest.skip("no system Graphviz, and graphviz-pure writes no PDF")
    program = tmp_path / "dot"
    program.write_text(f"#!/bin/sh\n{script.replace('{}', dot_or_pure)}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(render, "MAX_SECONDS", 1)
    monkeypatch.setattr(render, "MAX_BYTES", 2_000_000)
    target = tmp_path / f"a.{format}"
    with pytest.raises(viz.RenderError, match=message.replace("{}", format.upper())) as caught:
        drawing.save(target, engine="dot")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("dot failed: ")
    assert not target.exists()


def test_a_long_text_reaches_a_renderer_that_answers_before_it_has_read_all(monkeypatch, tmp_path):
    """Both directions are served at once: neither waits for the other's pipe to empty."""
    program = tmp_path / "mirror"
    program.write_text("#!/bin/sh\nexec cat\n")
    program.chmod(0o755)
    data = b"0123456789" * 500_000
    assert run_program([str(program)], data, seconds=60, most=len(data)) == data
    with pytest.raises(ProgramError, match="it wrote more than 5 MB"):
        run_program([str(program)], data + b"!", seconds=60, most=len(data))
    program.write_text("hello")
    with pytest.raises(ProgramError, match="Exec format error"):
        run_program([str(program)], b"", 1, 1)


@pytest.mark.skipif(
    shutil.which("dot") is None, reason="no system Graphviz: the second opinion on our DOT text"
)
def test_dot_reads_the_same_text(drawing):
    by_dot, by_pure = (ET.fromstring(drawing.svg(engine=e)) for e in ("dot", "graphviz-pure"))
    for shape in ("ellipse", "path", "text"):
        assert len(list(by_dot.iter(SVG + shape))) == len(list(by_pure.iter(SVG + shape)))


def test_recurrent_does_not_import_viz():
    code = "import sys, recurrent; sys.exit('viz' in sys.modules or 'graphviz' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
