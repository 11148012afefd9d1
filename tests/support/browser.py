"""Fixtures of a real browser for the tests of pages; conftest.py imports them."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium")


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

    def open_page(path, **options):
        files.add(path.as_uri())
        page = browser.new_context(
            **{"viewport": {"width": 1400, "height": 900}, **options}
        ).new_page()
        page.on("console", lambda m: said.append(m.text))
        page.on("pageerror", lambda e: said.append(str(e)))
        page.on("request", lambda r: asked.append(r.url))
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert said == []
    assert set(asked) == files
