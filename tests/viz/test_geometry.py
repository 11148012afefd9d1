"""Every golden picture has the same positions in all versions of Graphviz."""

import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from viz.draw import render

pytestmark = pytest.mark.skipif(
    shutil.which("dot") is None, reason="no system Graphviz: the second opinion on our DOT text"
)
SVG = "{http://www.w3.org/2000/svg}"
GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.gv"))
PLACES = ("d", "points", "cx", "cy", "rx", "ry")


def numbers(e):
    return [float(v) for a in PLACES for v in re.findall(r"-?[\d.]+", e.get(a, ""))]


def places(svg):
    """Return the coordinates of all shapes by kind and name, and those of texts.

    Arrow heads are left out, because newer versions of Graphviz draw them a little longer.
    """
    shapes, texts = {}, {}
    for k, group in enumerate(ET.fromstring(svg).iter(SVG + "g")):
        kind = group.get("class")
        if kind not in ("node", "edge", "cluster"):
            continue
        key = kind, group.find(SVG + "title").text, k if kind == "edge" else 0
        wanted = ("path",) if kind == "edge" else ("ellipse", "polygon", "path", "polyline")
        shapes[key] = [
            v for e in group.iter() if e.tag.removeprefix(SVG) in wanted for v in numbers(e)
        ]
        texts[key] = [
            (t.get("text-anchor"), t.text, float(t.get("x"))) for t in group.iter(SVG + "text")
        ]
    return shapes, texts


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_positions_are_the_same_under_debians_dot(path):
    source = path.read_text(encoding="utf-8")
    (shapes, texts), (others, written) = (
        places(render.run(source, "svg", engine)) for engine in ("dot", "graphviz-pure")
    )
    assert set(shapes) == set(others)
    assert sum(map(bool, shapes.values())) > 5
    for key, found in shapes.items():
        assert found == pytest.approx(others[key], abs=0.02), key
        assert [said[:2] for said in texts[key]] == [said[:2] for said in written[key]]
        assert [x for *_, x in texts[key]] == pytest.approx([x for *_, x in written[key]], abs=1), (
            key
        )
