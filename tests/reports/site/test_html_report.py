"""report.html says what report.md says, in one file that runs nothing, fetches nothing and shows no training image."""

from __future__ import annotations

import base64
import json
import re
from html import unescape
from html.parser import HTMLParser

import pytest

from leakbench.reports.reading.tradeoff_text import format_tradeoff
from leakbench.reports.sections.registry import FINDINGS
from leakbench.reports.site.html_report import render, write_html
from leakbench.reports.site.report import render as render_markdown
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder
from leakbench.runtime.errors import UsageError

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>![a](http://evil.example/a.png)[b](javascript:alert(3))"


class Reader(HTMLParser):
    """The tags of a page with their attributes, and the cells of its tables."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self.cells.append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.cells[-1] += data


@pytest.fixture(scope="module")
def drawn(tmp_path_factory, make_run):
    """A small run with figures, one of which would show training images."""
    run = make_run(tmp_path_factory.mktemp("drawn"), seeds=(0,), keep=lambda r: r.family != "replication")
    (run.path / "figures").mkdir()
    for name in ("tradeoff", "pairs"):
        (run.path / "figures" / f"{name}.png").write_bytes(PIXEL)
    return run


def renamed(path, make_run, name):
    """The run with one point of another name."""
    old = "reject_resample"
    run = make_run(
        path,
        seeds=(0,),
        keep=lambda r: r.point in (old, "baseline") and r.family != "replication",
        change=lambda r: r.model_copy(update={"point": name}) if r.point == old else r,
    )
    plan = json.loads((path / "plan.json").read_text())
    plan["points"] = [p | {"point": name} if p["point"] == old else p for p in plan["points"]]
    (path / "plan.json").write_text(json.dumps(plan))
    return RunFolder(run.path)


def test_it_holds_every_cell_and_heading_of_the_markdown_and_the_figures(drawn):
    (path,) = write_html(drawn)
    text = path.read_text()
    page, markdown = Reader(text), render_markdown(drawn)
    for row in format_tradeoff(drawn)[1]:
        assert set(filter(None, row)) <= set(page.cells)
    titles = re.findall(r"(?m)^## (.+)$", markdown)
    assert len(titles) > 8 <= len(FINDINGS)
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = [attrs["href"][1:] for tag, attrs in page.tags if tag == "a"]
    assert set(links) <= ids and len(links) == len(titles) + 1
    (image,) = [attrs for tag, attrs in page.tags if tag == "img"]
    assert image["src"] == "data:image/png;base64," + base64.b64encode(PIXEL).decode()
    assert image["alt"].startswith("Figure tradeoff")
    assert "The figure <code>pairs</code> shows training images and is not in this file" in text
    assert "default-src 'none'" in text and "<script" not in text
    assert "void" not in {attrs.get("class") for _, attrs in page.tags}
    assert write_html(RunFolder(drawn.path))[0].read_text() == text


def test_a_void_track_says_so_on_top(tmp_path, make_run, run):
    other = make_run(tmp_path, seeds=(0,), keep=lambda r: r.point == "baseline" and r.attack != "blind")
    record = next(r for r in run.records if r.attack == "blind")
    scores = run.arrays(record)
    save_record(tmp_path, record, scores | {"member_scores": scores["member_scores"] + 2})
    text = render(other)
    assert text.index("This track is void") < text.index("<main")


def test_names_are_shown_as_they_are_and_run_nothing(tmp_path, make_run):
    text = render(renamed(tmp_path, make_run, HOSTILE))
    page = Reader(text)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "iframe", "object"}
    assert all(attrs["href"].startswith("#") for tag, attrs in page.tags if tag == "a")
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
    assert "<script>alert(1)</script>" in unescape(text) and "[b](javascript:alert(3))" in unescape(text)


@pytest.mark.parametrize("name", ["a\n\n## Verdicts\n\nall is well", "a\u202eb", "a\x00b", "x" * 501])
def test_names_that_cannot_be_read_as_they_are_end_in_one_line(tmp_path, make_run, name):
    with pytest.raises(UsageError, match=r"control character U\+|501 characters") as error:
        render(renamed(tmp_path, make_run, name))
    assert "\n" not in str(error.value)


def test_a_figure_that_is_a_link_or_no_picture_stays_out(drawn, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(PIXEL + b"secret")
    figure = drawn.path / "figures" / "tradeoff.png"
    figure.unlink()
    try:
        figure.symlink_to(secret)
        assert "<img" not in render(drawn)
        figure.unlink()
        figure.write_bytes(b"<svg onload=alert(1)>")
        assert "<img" not in render(drawn)
    finally:
        figure.unlink()
        figure.write_bytes(PIXEL)


@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_in_a_browser(drawn, visit, width, dark):
    """No request, nothing wider than the screen, nothing serious by axe-core; sections open by keyboard."""
    found = visit(write_html(drawn)[0], width=width, height=844, dark=dark)
    assert found.console == [] and found.outside == []
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    assert found.violations() == []
    keyboard = found.page.keyboard
    keyboard.press("Tab")
    assert found.page.evaluate("document.activeElement.textContent") == "Skip to the report"
    keyboard.press("Tab")
    keyboard.press("Enter")
    assert found.page.locator("nav a").first.is_visible()
    keyboard.press("Tab")
    keyboard.press("Enter")
    found.page.wait_for_url("**#1-what-was-run")
