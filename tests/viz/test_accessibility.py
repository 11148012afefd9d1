"""Axe-core finds no serious fault in any page: levels of the explorer, pictures, texts."""

import numpy as np
import pytest
from support.browser import CHROMIUM, SCREENS, violations
from support.viz_models import attending

import recurrent
import viz
from recurrent.losses import mean_squared_error

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on PATH: the browser the page is tried in"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def layer(folder):
    """The page of a layer that is too large to draw each unit, with gradients."""
    rng = np.random.default_rng(0)
    model = recurrent.Sequential(recurrent.GRU(3, 70), recurrent.Linear(70, 2), rng=0)
    x, targets = (rng.standard_normal((10, 1, size)).astype("float32") for size in (3, 2))
    recording = model.record(x, targets=targets, loss=mean_squared_error)
    return viz.explore(model, recording, inputs="& <b>Lesen").save(folder / "layer.html")


@pytest.fixture(scope="module")
def decoder(folder):
    shown = dict(inputs="Lesen!?", outputs="write", t=1)
    return viz.explore(*attending(), **shown).save(folder / "decoder.html")


def faults(page):
    """The violations in the light; in the dark, where only colours differ, those of contrast."""
    page.emulate_media(color_scheme="light")
    found = violations(page)
    page.emulate_media(color_scheme="dark")
    return found + violations(page, ["color-contrast"])


@pytest.mark.ci
@pytest.mark.parametrize("viewport", SCREENS)
@pytest.mark.parametrize("name", ["layer", "decoder"])
def test_every_level_of_the_page(open_any, request, name, viewport):
    page = open_any(request.getfixturevalue(name), viewport=viewport)
    buttons = page.locator("#levels button")
    for k in range(buttons.count()):
        buttons.nth(k).click()
        assert faults(page) == [], buttons.nth(k).text_content()
    if name == "layer":
        page.check("#gradient")
        for level in ("unrolled", "cell"):
            page.click(f'#levels [data-level="{level}"]')
            assert faults(page) == []


@pytest.mark.parametrize("viewport", SCREENS)
def test_a_picture_and_a_text_saved_as_html(open_any, tmp_path, viewport):
    lm = recurrent.CharLM("abc ", layers=1, hidden=6, embedding=4, rng=0)
    for drawing in (viz.cell(recurrent.LSTM(5, 10)), viz.text(lm, "a cab")):
        path = drawing.save(tmp_path / f"{len(drawing.source)}.html")
        assert faults(open_any(path, viewport=viewport)) == []


def test_a_fault_is_found(open_any, tmp_path):
    """A picture without a text, and grey on grey: what the tests above would report."""
    path = tmp_path / "page.html"
    path.write_text(
        "<!doctype html><html lang=en><title>page</title><main><h1>page</h1><img src='data:,'>"
        "<p style='color:#999;background:#aaa'>grey</p></main></html>"
    )
    found = violations(open_any(path))
    assert {line.split(":")[0] for line in found} == {"image-alt", "color-contrast"}
