"""Fixtures of a real browser for the tests of pages; conftest.py imports them."""

import shutil
import sys
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium")
# npm install --prefix PREFIX axe-core, in the environment of this Python
AXE = Path(sys.prefix) / "node_modules" / "axe-core" / "axe.min.js"
SCREENS = [
    pytest.param({"width": width, "height": height}, id=f"{width}x{height}")
    for width, height in ((1400, 900), (390, 844))
]


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    options = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
    ]
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def open_any(browser):
    """Open files; at the end, check that nothing was logged and nothing else requested."""
    pages, said, asked, files = [], [], [], set()

    def open_page(path, fragment="", **options):
        files.add(path.as_uri())
        page = browser.new_context(
            **{"viewport": {"width": 1400, "height": 900}, **options}
        ).new_page()
        page.on("console", lambda m: said.append(m.text))
        page.on("pageerror", lambda e: said.append(str(e)))
        page.on("request", lambda r: asked.append(r.url.partition("#")[0]))
        page.goto(path.as_uri() + fragment)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert said == []
    assert set(asked) == files


def violations(page, rules=None):
    """Return what axe-core finds in an open page that is serious or critical, a line each."""
    if not AXE.exists():
        pytest.skip(f"no axe-core: npm install --prefix {sys.prefix} axe-core")
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))  # no request, and no script of the page
    options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
    found = page.evaluate("options => axe.run(document, options)", options)["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
