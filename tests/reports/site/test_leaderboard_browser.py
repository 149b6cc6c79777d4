"""The leaderboard in a real browser: sorting, filtering, plots, keyboard, and what axe-core says of each page."""

from __future__ import annotations

import json

import pytest

import leakbench as lb
from leakbench.results.run_folder import RunFolder

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)> a=1"
NAMES = ("baseline", "cpsample alpha=0.1", "cpsample alpha=0.5", "reject_resample", "untrained")


@pytest.fixture(scope="module")
def site(tmp_path_factory, make_run, tell_run):
    """A site of a run with scores, and of a void one whose defense has a hostile name."""
    home = tmp_path_factory.mktemp("site")
    run = make_run(
        home / "run", seeds=(0,), keep=lambda r: r.point in NAMES and r.family != "replication" and r.attack != "secmi"
    )
    plan = json.loads((run.path / "plan.json").read_text())
    plan["points"] = [one for one in plan["points"] if one["point"] in NAMES]
    (run.path / "plan.json").write_text(json.dumps(plan))
    points = [
        {"point": name, "defense": name, "role": role, "attacks": {"loss": {"auc": (0.9, 0.8, 0.95)}}}
        | {"quality": {"frechet_heldout": (distance, distance - 0.5, distance + 0.5)}}
        for name, role, distance in ((HOSTILE, "defense", 2.0), ("random", "control", 9.0))
    ]
    void = tell_run(home / "void", points)
    return lb.leaderboard([RunFolder(run.path).path, void.path], home / "site").parent


@pytest.fixture(scope="module")
def pages(site):
    """One page of each kind."""
    track = next(path for path in site.glob("track-digits-mlp-256x4-denoiser-*"))
    void = next(path for path in site.glob("track-digits-mlp-denoiser-*"))
    kinds = {name: site / f"{name}.html" for name in ("index", "attacks", "methods")}
    return kinds | {"track": track, "void": void, "defense": next(site.glob("defense-cpsample-*"))}


def column(page, number):
    """The texts of a column of the first table, rows that are hidden left out."""
    cells = page.locator(f".board tbody tr:not([hidden]) td:nth-child({number})")
    return [text.replace("\u00a0", " ") for text in cells.all_inner_texts()]


@pytest.mark.parametrize(
    ("width", "dark", "kinds"),
    [(1280, False, ("index", "attacks", "methods", "track", "void", "defense")), (390, True, ("void", "defense"))],
)
def test_every_page_is_sound(pages, visit, width, dark, kinds):
    for name in kinds:
        found = visit(pages[name], width=width, height=844, dark=dark)
        for chart in found.page.locator(".chart").all():
            chart.scroll_into_view_if_needed()
            chart.locator("svg").wait_for()
        assert found.console == [] and found.outside == [], name
        assert found.page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert found.violations() == [], name
        assert (found.page.locator(".chart svg").count() > 0) == (name in ("track", "defense", "void"))


def test_columns_sort_both_ways_with_nothing_last(pages, visit):
    page = visit(pages["track"]).page
    names = [text.splitlines()[0] for text in column(page, 2)]
    assert column(page, 1)[:3] == ["1", "2", "3"] and column(page, 1)[3:] == ["-", "-"]
    head = page.get_by_role("columnheader", name="rank", exact=True)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending" and column(page, 1)[-2:] == ["-", "-"]
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending" and column(page, 1) == ["3", "2", "1", "-", "-"]
    other = page.get_by_role("columnheader", name="defense", exact=True)
    other.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") is None and other.get_attribute("aria-sort") == "ascending"
    assert [text.splitlines()[0] for text in column(page, 2)] == sorted(names)


def test_rows_filter_by_words_and_the_count_is_said(pages, visit):
    page = visit(pages["track"]).page
    field = page.get_by_label("Filter rows")
    field.fill("cpsample 0.5")
    assert len(column(page, 2)) == 1 and page.get_by_role("status").inner_text() == "1 of 5 rows"
    field.fill("no such thing")
    assert column(page, 2) == [] and page.get_by_role("status").inner_text() == "0 of 5 rows"
    field.fill("")
    assert len(column(page, 2)) == 5 and page.get_by_role("status").inner_text() == ""


def test_by_keyboard_from_the_index_to_a_defense(pages, visit):
    found = visit(pages["index"])
    page, keys = found.page, found.page.keyboard
    keys.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    keys.press("Enter")
    for _ in range(30):
        keys.press("Tab")
        if page.evaluate("document.activeElement.href || ''").endswith(pages["track"].name):
            break
    keys.press("Enter")
    page.wait_for_url(f"**/{pages['track'].name}")
    page.get_by_role("link", name="cpsample alpha=0.1").press("Enter")
    page.wait_for_url(f"**/{pages['defense'].name}")
    assert page.get_by_role("heading", level=1).inner_text().startswith("cpsample, run quick")
    assert found.console == [] and found.outside == []


def test_a_point_of_the_plot_tells_its_row_and_runs_nothing(pages, visit):
    found = visit(pages["void"])
    point = found.page.locator(".chart .mark-symbol path").first
    point.scroll_into_view_if_needed()
    point.hover()
    told = found.page.locator("#vg-tooltip-element.visible")
    told.wait_for()
    assert HOSTILE in told.inner_text() and "0.90 [" in told.inner_text()
    assert found.page.locator("img").count() == 0 and found.console == []
    assert found.page.get_by_text("Void: run told").is_visible()


def test_a_track_fits_a_screen_of_1280(pages, visit):
    page = visit(pages["track"], width=1280).page
    assert page.locator(".scroll").first.evaluate("one => one.scrollWidth <= one.clientWidth")


def test_the_plots_of_a_defense_name_its_baseline_and_each_curve_once(pages, visit):
    page = visit(pages["defense"]).page
    for name in ("#curve-1", "#roc-1"):
        page.locator(name).scroll_into_view_if_needed()
        page.locator(f"{name} svg").wait_for()
    assert page.locator("#curve-1 .role-mark.mark-text text").all_text_contents() == ["baseline"]
    curves = page.locator("#roc-1 .role-legend-label text").all_text_contents()
    assert len(curves) == len(set(curves)) == 2


def test_without_javascript_the_tables_stand_whole(pages, visit):
    page = visit(pages["track"], script=False).page
    assert column(page, 1) == ["1", "2", "3", "-", "-"]
    assert not page.locator(".filter").is_visible() and page.locator("th button").count() == 0
