"""Results of strangers: what they hold is shown as it is, or refused in one clear line; no page leaves the folder."""

from __future__ import annotations

import json
import re
import zipfile
from html.parser import HTMLParser

import pytest

import leakbench as lb
from leakbench.reports.site.leaderboard import check
from leakbench.reports.site.slugs import make_slug
from leakbench.results.run_folder import RunFolder
from leakbench.runtime.errors import UsageError

NAMES = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(1)</script>",
    "../../../etc/passwd",
    "..\\..\\windows",
    "/etc/passwd",
    "C:\\con",
    "a" * 400,
    "${alert(1)}{{7*7}}{% raise %}",
    "javascript:alert(1)",
    "datum['x']; alert(1)",
    "日本語",
]
NOTE = "<b onmouseover=alert(1)>note</b></script><script>alert(2)</script>"


class Tags(HTMLParser):
    """The tags of a page with their attributes, and the text of its JSON."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.json, self.inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("type") == "application/json"

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.json.append(data)


def point(name, attack="loss", **values):
    measured = {attack: {"auc": (0.7, 0.6, 0.8), "calibration_auc": 0.7} | values}
    found = {"point": name, "defense": name, "role": "defense", "attacks": measured}
    return found | {"quality": {"frechet_heldout": (2.0, 1.5, 2.5)}}


def edit_records(run, change):
    """Change the JSON of every record; numbers of JSON that Python alone writes, such as NaN, stay."""
    for path in (run.path / "records").glob("*.json"):
        content = json.loads(path.read_text())
        content.pop("checksum", None)
        path.write_text(json.dumps(change(content)))
    return RunFolder(run.path)


@pytest.fixture(scope="module")
def site(tmp_path_factory, tell_run):
    """A site of defenses, attacks, data and notes with such names."""
    home = tmp_path_factory.mktemp("hostile")
    run = tell_run(home / "run", [point(name, attack=f"a{i} {name}"[:60]) for i, name in enumerate(NAMES)])
    plan = json.loads((run.path / "plan.json").read_text())
    plan |= {"summary": NOTE, "command": NOTE, "settings": {"note": NOTE}, "ensemble": NOTE, "suite": NAMES[0]}
    (run.path / "plan.json").write_text(json.dumps(plan))

    def change(record):
        environment = {"trainer": {"device": NOTE}, "auditor": {NOTE: "x"}}
        told = {"dataset": NOTE, "model": NAMES[3], "flags": [NOTE], "guarantee": {"epsilon": 8.0, "unit": NOTE}}
        return record | told | {"run": record["run"] | {"environment": environment}}

    edit_records(run, change)
    lb.leaderboard(run.path, home / "site")
    return home / "site"


def test_no_page_holds_a_tag_an_event_or_a_link_of_theirs(site):
    pages = sorted(site.glob("*.html"))
    assert len(pages) == 1 + len(NAMES) + 3
    for path in pages:
        page = Tags(path.read_text())
        scripts = [attrs for tag, attrs in page.tags if tag == "script"]
        assert {one.get("src", "assets/vega.js") for one in scripts} <= {"assets/vega.js", "assets/leaderboard.js"}
        assert all(one.get("type", "application/json") == "application/json" for one in scripts)
        assert not {tag for tag, _ in page.tags} & {"img", "iframe", "object", "b", "form", "base"}
        assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
        links = {attrs["href"] for tag, attrs in page.tags if tag == "a"} - {"#content"}
        assert all((site / link).is_file() and re.fullmatch(r"[a-z0-9-]+\.html", link) for link in links)
        for text in page.json:
            json.loads(text)


def test_every_file_lies_in_the_folder_under_a_plain_name(site):
    files = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assets = {"assets/style.css", "assets/leaderboard.js", "assets/vega.js"}
    assert files >= assets
    assert all(re.fullmatch(r"[a-z0-9-]{1,80}\.html", name) for name in files - assets)
    assert not (site.parent / "etc").exists() and {path.name for path in site.parent.iterdir()} == {"run", "site"}


@pytest.mark.parametrize("words", [*NAMES, "", ".", "..", "\u202e", "con", "A" * 10_000])
def test_a_slug_is_plain_and_keeps_apart_what_reads_alike(words):
    assert re.fullmatch(r"([a-z0-9]+-)*[0-9a-f]{12}", make_slug(words, words)) and len(make_slug(words, words)) <= 61
    assert make_slug(words, words) == make_slug(words, words) != make_slug(words, words, "other")
    assert make_slug("a b", "a b") != make_slug("a-b", "a-b")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"value": float("nan")}, "not a|finite"),
        ({"value": float("inf")}, "not a|finite"),
        ({"value": 1e300}, "finite"),
        ({"value": 1.7}, r"lies in \[0, 1\]"),
        ({"value": -0.2}, r"lies in \[0, 1\]"),
        ({"ci_low": float("-inf")}, "not a|finite"),
        ({"value": "0.5<b>"}, "not a record"),
        ({"name": "auc\nall is well"}, r"control character U\+000A"),
        ({"n": 10**400}, "the n of auc = 0x"),
    ],
)
def test_numbers_that_no_measurement_gives_are_refused(tmp_path, tell_run, change, told):
    run = tell_run(tmp_path / "run", [point("d")])
    changed = edit_records(run, lambda record: record | {"metrics": [record["metrics"][0] | change]})
    refused(changed, tmp_path, told)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"queries": float("nan")}, "queries"),
        ({"queries": -1.0}, "queries = -1"),
        ({"queries": 1e200}, "queries = 1e"),
        ({"guarantee": {"epsilon": float("nan")}}, "epsilon = nan"),
        ({"guarantee": {"epsilon": "a lot"}}, "epsilon = 'a lot'"),
        ({"guarantee": {"epsilon": [1]}}, "epsilon"),
        ({"run": {"timings": {"train_last": -5.0}}}, "train_last = -5"),
        ({"point": "a\u202eb"}, r"control character U\+202E"),
        ({"defense": "x" * 501}, "501 characters"),
        ({"attack": "a\x00"}, r"control character U\+0000"),
        ({"seed": "0; DROP"}, "not a record"),
        ({"info": {"orientation": "<b>"}, "arrays": ""}, "orientation = '<b>': it should be a number"),
        ({"info": {"defense": "none"}}, "defense = 'none': it should be a table"),
        ({"info": {"skipped": {"a": [1]}}}, "skipped = .*: it should be text"),
        ({"info": {"mine": {"a": [1]}}}, None),
        ({"guarantee": {"epsilon": 8.0, "history": "none"}}, None),
    ],
)
def test_facts_that_no_run_has_are_refused(tmp_path, tell_run, change, told):
    run = edit_records(tell_run(tmp_path / "run", [point("d")]), lambda record: record | change)
    if told is None:  # they mean nothing where they stand, and harm nothing
        assert lb.leaderboard(run.path, tmp_path / "site").is_file()
    else:
        refused(run, tmp_path, told)


def test_more_than_a_board_can_show_is_refused(tmp_path, tell_run, monkeypatch):
    run = tell_run(tmp_path / "run", [point("a"), point("b")])
    monkeypatch.setattr(check, "MOST_RECORDS", 3)
    refused(run, tmp_path, "4 records")
    monkeypatch.undo()
    monkeypatch.setattr(check, "MOST_ROWS", 1)
    refused(run, tmp_path, "2 rows; 1 at most")
    (run.path / "plan.json").write_text('{"points": []}')
    refused(run, tmp_path, "no points")
    (run.path / "plan.json").write_text("[" * 100_000)
    refused(run, tmp_path, "damaged")


def test_arrays_that_are_none_or_fill_the_memory_are_refused(tmp_path, make_run, monkeypatch):
    run = make_run(tmp_path / "run", seeds=(0,), keep=lambda r: (r.point, r.attack) == ("baseline", "loss"))
    (tmp_path / "run" / "records" / "a.json").write_text("{}")
    refused(run, tmp_path, "not a record")
    (tmp_path / "run" / "records" / "a.json").unlink()
    for path in (run.path / "arrays").glob("*.npz"):
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("zeros.npy", bytes(2**20))
    monkeypatch.setattr(check, "_SMALL", 0)
    monkeypatch.setattr(check, "MOST_BYTES", 2**19)
    refused(RunFolder(run.path), tmp_path, "unpacks to 1 MiB; 0 MiB at most")
    for path in (run.path / "arrays").glob("*.npz"):
        path.write_bytes(b"PK\x03\x04 nothing")
    refused(RunFolder(run.path), tmp_path, "cannot be shown")


def refused(run, folder, told):
    """The run is refused in one line, and no page is left of it."""
    with pytest.raises(UsageError, match=told) as error:
        lb.leaderboard(run.path, folder / "site")
    assert "\n" not in str(error.value) and len(str(error.value)) < 700 + len(str(run.path))
    assert not list((folder / "site").glob("*.html"))
