"""README, and the page on the suite `quick`, whose table it shows a part of."""

from __future__ import annotations

import re
from pathlib import Path

from leakbench.suite.load import load

ROOT = Path(__file__).parent.parent
TABLE = re.compile(r"<!-- quick:table -->\n(.*)<!-- /quick:table -->", re.DOTALL)
README = (ROOT / "README.md").read_text()
QUICK = (ROOT / "docs" / "quick.md").read_text()


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


def test_the_readme_begins_with_the_two_commands():
    lines = re.findall(r"^ {4}(\S.*)$", README, re.MULTILINE)
    assert lines[:2] == ["pip install uv && uv run leakbench run quick", "pip install uv && uv run tox -p"]


def test_the_page_on_quick_shows_what_it_found():
    (table,) = TABLE.findall(QUICK)
    assert table.strip(), "docs/quick.md: fill the table in, with docs/figures/tradeoff.png, from a run of quick"
    assert (ROOT / "docs" / "figures" / "tradeoff.png").is_file()
    for point in load("quick").points:
        assert point.label in table


def test_the_table_of_the_readme_is_a_part_of_that_of_quick():
    (table,) = TABLE.findall(QUICK)
    whole = {line.split("|")[1].strip(): line for line in table.splitlines()}
    rows = [line.split("|")[1:-1] for line in README.splitlines() if re.match(r"\| `.*\[.*\]", line)]
    assert len(rows) >= 5
    for label, *cells, _reading in rows:
        row = whole[label.strip().strip("`")]
        assert [cell for cell in cells if f"{cell.strip()} |" not in row] == []


def test_the_sizes_of_quick_in_the_pages_are_the_suites():
    split = load("quick").file.split
    trained, reported = split.members + split.calibration_in, split.members + split.nonmembers
    assert f"{trained} of" in QUICK
    assert f"({split.members} reported members, {split.calibration_in} for calibration)" in QUICK.replace("\n", " ")
    needed = reported + split.calibration_in + split.calibration_out + 20
    assert f"at least {needed} images" in (ROOT / "docs" / "datasets.md").read_text()
    assert f"which {split.nonmembers} nonmembers" in (ROOT / "docs" / "reading.md").read_text().replace("\n", " ")
