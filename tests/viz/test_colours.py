"""Colours of values: text on them is readable, and zero is faint on light and dark pages."""

import math

import numpy as np
import pytest

import viz
from recurrent import LSTM, Sequential, losses
from viz.draw import palette
from viz.page import tables

PAGES = {"light": "#ffffff", "dark": palette.dark("#ffffff")}


def fills():
    """Return each fill that text stands on, with the text's colour, light and dark."""
    for k in range(1001):
        u = k / 1000
        yield palette.signed(2 * u - 1, 1.0), None
        yield palette.magnitude(10 ** (6 * u), 1.0, 1e6), None
        yield palette.attention(u), None
    yield palette.NOT_FINITE, None
    for colour in (*palette.OTHER_GATES, *(c for _, c in palette.GATES.values())):
        for k in range(101):
            yield palette.ramp(("#FFFFFF", colour), k / 100), "#000000"


def test_text_on_every_fill_has_a_contrast_of_4_5():
    for fill, ink in fills():
        ink = palette.on(fill) if ink is None else ink
        assert palette.contrast(fill, ink) >= palette.READABLE, (fill, ink)
        if palette.is_frame(fill, fill=True):  # a dark page turns both
            turned = palette.dark(fill)
            assert palette.contrast(turned, palette.on(turned)) >= palette.READABLE, turned


def test_the_pages_scales_are_those_of_the_pictures():
    colours = tables.colours()
    for k in range(palette.STEPS + 1):
        u = k / palette.STEPS
        assert colours["signed"][k] == palette.signed(2 * u - 1, 1.0)
        assert colours["shade"][k].startswith(f"light-dark({palette.attention(u)},")
        assert tables.bin_of(2 * u - 1, 1.0) == k
    for v in (math.nan, math.inf, -math.inf):
        assert colours["signed"][tables.bin_of(v, 1.0)] == palette.NOT_FINITE


@pytest.mark.parametrize("page", PAGES)
def test_weights_of_attention_leave_the_page_as_they_grow(page):
    shades = [palette.attention(v) for v in np.linspace(0, 1, 33)]
    shades = [palette.dark(c) for c in shades] if page == "dark" else shades
    distance = [palette.contrast(c, PAGES[page]) for c in shades]
    assert distance == sorted(distance)
    assert distance[0] < 1.6
    assert distance[-1] > 7


def test_cells_that_show_one_number_have_one_colour():
    weights = np.array([[0.0, 0.004, 0.996], [1.0, 0.0, 0.0]])
    source = viz.attention(weights).source
    cells = [line for line in source.splitlines() if line.startswith('  "w') and '"0.00"' in line]
    assert len(cells) == 4
    assert len({line.split('fillcolor="')[1][:7] for line in cells}) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_gradients_that_are_not_finite_have_a_colour_of_their_own(bad):
    model = Sequential(LSTM(2, 3), rng=0)
    x = np.random.default_rng(0).standard_normal((5, 1, 2)).astype(np.float32)
    recording = model.record(x, np.zeros((5, 1, 3), np.float32), losses.mean_squared_error)
    recording.layers[0].dstates["h"][1] = bad
    source = viz.gradients(model, recording).source
    painted = [line for line in source.splitlines() if palette.NOT_FINITE in line]
    assert any('"h:layer0@1"' in line for line in painted)
    assert "NaN or infinite" in source
    assert palette.CIVIDIS[0] not in next(line for line in painted if "h:layer0@1" in line)
    assert palette.NOT_FINITE in viz.unrolled(model, recording=recording).source
