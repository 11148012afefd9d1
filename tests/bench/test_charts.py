"""The charts of the benchmark: complete, within the picture, readable, and the same every time."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from support.bench_runs import row, run, synthetic

from bench.report.format import label
from viz.draw.svg import SVG

matplotlib = pytest.importorskip("matplotlib", reason="charts are drawn with matplotlib")

from matplotlib.colors import to_rgb  # noqa: E402
from matplotlib.text import Text  # noqa: E402

from bench.report import chart, plot, roofline  # noqa: E402


def two_threads():
    r = synthetic()
    return replace(r, peaks={**r.peaks, "2": r.peaks["1"]})


def texts(picture):
    """Return the visible texts of a picture and their boxes in pixels."""
    picture.figure.draw_without_rendering()
    found = [t for t in picture.figure.findobj(Text) if t.get_text() and t.get_visible()]
    return {t.get_text(): Text.get_window_extent(t) for t in found}


def marks(picture):
    """Return the marks of a picture by tooltip."""
    lines = picture.figure.findobj(lambda a: a.get_gid() in picture.tooltips)
    return {picture.tooltips[line.get_gid()]: line for line in lines}


def luminance(colour):
    """Return the relative luminance of WCAG 2."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("draw", [chart.draw, roofline.draw])
def test_a_chart_is_a_described_svg(draw):
    picture = draw(two_threads())
    root = ET.fromstring(picture.svg())
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text == picture.title
    assert root.find(f"{SVG}desc").text == picture.description
    tooltips = [
        g.find(f"{SVG}title").text
        for g in root.iter(f"{SVG}g")
        if g.find(f"{SVG}title") is not None
    ]
    assert sorted(tooltips) == sorted(picture.tooltips.values())


@pytest.mark.parametrize("draw", [chart.draw, roofline.draw])
def test_the_same_run_gives_the_same_svg(draw):
    assert draw(two_threads()).svg() == draw(two_threads()).svg()


@pytest.mark.parametrize("draw", [chart.draw, roofline.draw])
def test_texts_are_inside_the_picture(draw):
    picture = draw(two_threads())
    frame = picture.figure.bbox
    for text, box in texts(picture).items():
        assert frame.x0 <= box.x0 <= box.x1 <= frame.x1, text
        assert frame.y0 <= box.y0 <= box.y1 <= frame.y1, text


@pytest.mark.parametrize("page", ["#ffffff", "#0d1117"])
@pytest.mark.parametrize("name", ["INK", "BLUE", "RED", "GREEN"])
def test_colours_are_legible_on_light_and_dark_pages(name, page):
    low, high = sorted((luminance(getattr(plot, name)), luminance(page)))
    assert (high + 0.05) / (low + 0.05) > 3.8


def test_the_chart_has_every_row_and_marks_those_behind_by_colour_and_shape():
    picture = chart.draw(synthetic())
    found = marks(picture)

    def mark(start):
        return next(line for tooltip, line in found.items() if tooltip.startswith(start))

    behind = mark("lstm-forward-N64-T50-D512-H512, 1 thread: 0.996")
    ahead = mark("lstm-forward-N1-T100-D32-H64, 1 thread: 2.00")
    assert (behind.get_color(), behind.get_marker()) == (plot.RED, "v")
    assert (ahead.get_color(), ahead.get_marker()) == (plot.BLUE, "o")
    assert list(ahead.get_xdata()) == [2.0]
    shown = texts(picture)
    for r in synthetic().rows:
        assert label(r) in shown
    assert {"error", "no peer", "▼ 0.996"} <= set(shown)


def test_a_roofline_needs_peaks():
    with pytest.raises(ValueError, match="needs peaks"):
        roofline.draw(run(row(), peaks={}))


def test_labels_in_the_roofline_do_not_overlap():
    rows = [
        row(f"lstm-forward-N{k}", flops=1e8 * (1 + k / 9), bytes=1e6 * (k + 1)) for k in range(9)
    ]
    boxes = [
        b for t, b in texts(roofline.draw(run(*rows))).items() if t.startswith("lstm forward N")
    ]
    assert len(boxes) >= 2
    assert not any(a.overlaps(b) for a in boxes for b in boxes if a is not b)
