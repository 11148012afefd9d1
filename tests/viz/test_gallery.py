"""The gallery: a page of questions that is readable in a window and on a phone."""

import html
import itertools
import re
import shlex

import pytest
from support.browser import CHROMIUM, SCREENS, violations

from viz.cli import commands as cli
from viz.cli import gallery

WORDS = 'She said "no" 12 times.\n' * 60
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on PATH: the browser the page is tried in"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The gallery of two models that are hardly trained, in a folder whose name has a space."""
    folder = tmp_path_factory.mktemp("pages") / "a gallery"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        patch.setattr(gallery, "demo_text", lambda: WORDS)
        assert cli.main(["gallery", "-o", folder.name, "--updates", "2"]) == 0
    return folder


@pytest.fixture(scope="module")
def index(folder):
    return (folder / "index.html").read_text(encoding="utf-8")


def test_every_question_has_a_picture_and_the_command_that_draws_it(
    folder, index, tmp_path, monkeypatch
):
    for asked in (
        "What are the 512 hidden nodes?",
        "Is A a layer or a neuron?",
        "Do units share information?",
        "5 features and 10 units: how many inputs has a unit, and what is the size of its output?",
        "Do h, c and x have the same length?",
        "is it the same weights at every step?",
        "What is unrolled, how many hidden layers does that make",
        "Where does the gradient vanish?",
    ):
        assert asked in index
    commands = re.findall(r"<pre>python -m viz (.*?)</pre>", re.sub("</?span>", "", index))
    names = re.findall(r'<section id="(.*?)">', index)
    pictures = [name for name in names if (folder / f"{name}.svg").exists()]
    assert index.count("<svg") == index.count("</svg>") == len(pictures) == len(names) - 2
    monkeypatch.chdir(folder.parent)
    for name, command in zip(names, commands, strict=True):
        kind = "svg" if name in pictures else "html"
        again = tmp_path / f"again.{kind}"
        assert cli.main([*shlex.split(html.unescape(command)), "-o", str(again)]) == 0
        assert again.read_bytes() == (folder / f"{name}.{kind}").read_bytes(), command
    ids = re.findall(r'\bid="([^"]+)"', index)
    assert len(ids) == len(set(ids))


def test_the_contents_lead_to_every_section_and_every_picture_opens_alone(folder, index):
    names = re.findall(r'<section id="(.*?)">', index)
    links = re.findall(r'href="(.*?)"', index)
    anchors = [link[1:] for link in links if link.startswith("#") and link != "#contents"]
    assert [anchor for anchor in anchors if not anchor.startswith("chapter")] == names
    assert all(f'id="{anchor}"' in index for anchor in anchors)
    assert [link for link in links if not link.startswith("#")] == [f"{n}.html" for n in names]
    assert all((folder / f"{name}.html").exists() for name in names)
    levels = [int(level) for level in re.findall(r"<h([1-6])", index)]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


SMALLEST = """() => Math.min(...[...document.querySelectorAll("svg text")].map((e) =>
    parseFloat(getComputedStyle(e).fontSize) * e.getScreenCTM().a))"""
CUT = """() => [...document.querySelectorAll("main *")].filter((e) => !e.closest("svg") &&
    e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 80))"""


@needs_browser
@pytest.mark.parametrize("viewport", SCREENS)
def test_text_is_readable_and_nothing_is_cut(open_any, folder, viewport):
    for name in ("index", "strongest", "single", "text"):
        page = open_any(folder / f"{name}.html", viewport=viewport)
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        assert page.evaluate(CUT) == []
        if name != "text":
            assert page.evaluate(SMALLEST) >= 10.99
    page = open_any(folder / "strongest.html", viewport=viewport)  # wider than any window here
    page.focus("figure")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('figure').scrollLeft > 0")
    assert page.locator("figure").get_attribute("aria-label") == page.title()


@needs_browser
def test_most_pictures_fit_into_a_window(open_any, folder):
    page = open_any(folder / "index.html", viewport={"width": 1400, "height": 900})
    wide = page.eval_on_selector_all(
        "figure",
        "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.parentElement.id)",
    )
    assert wide == ["strongest"]  # 48 inputs and their names


@needs_browser
@pytest.mark.ci
@pytest.mark.parametrize("viewport", SCREENS)
def test_axe_finds_no_serious_fault(open_any, folder, viewport):
    page = open_any(folder / "index.html", viewport=viewport)
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    assert violations(page, ["color-contrast"]) == []


@needs_browser
def test_a_command_is_copied(open_any, folder):
    page = open_any(folder / "index.html", permissions=["clipboard-read", "clipboard-write"])
    button = page.locator("#gate .command button")
    button.click()
    page.wait_for_function("document.querySelector('#gate button').textContent === 'Copied'")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "python -m viz unit LSTM:5:10,Linear:10:1 --unit 3 --gate f --steps 6"
    scriptless = open_any(folder / "index.html", java_script_enabled=False)
    assert not scriptless.locator("#gate .command button").is_visible()
