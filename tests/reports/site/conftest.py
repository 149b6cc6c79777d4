"""A real Chromium, without a window: Debian's package, driven by playwright. In CI it must be there."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field

import pytest


@dataclass
class Visit:
    """A page that was opened, what its console said, and what it asked the network for."""

    page: object
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def violations(self):
        """What axe-core finds that is serious or critical: rule and first element."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [(one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in ("serious", "critical")]

    @property
    def outside(self):
        """Requests that are for no file of this machine and no data within the page."""
        return [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]


def _browser_or_skip():
    """Where Chromium is. Skips the test where it, or what drives it, is not; in CI that is a failure."""
    where = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        import axe_playwright_python
        import playwright
    except ImportError as error:
        where, missing = None, str(error)
    else:
        missing = "" if where else f"no chromium (for {playwright.__name__} and {axe_playwright_python.__name__})"
    if where:
        return where
    if os.environ.get("CI"):
        pytest.fail(f"browser tests must run in CI: {missing}")
    pytest.skip(missing)


@pytest.fixture(scope="session")
def chromium():
    """The browser; one for all tests of a process."""
    where = _browser_or_skip()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=where, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Opens a file: `visit(path, width=1280, height=900, dark=False, script=True)` answers a Visit."""
    opened = []

    def open_file(path, width=1280, height=900, dark=False, script=True):
        page = chromium.new_page(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
        )
        opened.append(page)
        found = Visit(page)
        page.on("console", lambda message: found.console.append(message.text))
        page.on("pageerror", lambda error: found.console.append(str(error)))
        page.on("request", lambda request: found.requests.append(request.url))
        page.goto(path.resolve().as_uri())
        return found

    yield open_file
    for page in opened:
        page.close()
