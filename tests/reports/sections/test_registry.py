"""The registry: every section file is in it once, each renders, and a new one is one file and one line."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from jinja2 import UndefinedError

from leakbench.reports.reading.markdown import markdown_table
from leakbench.reports.sections import registry
from leakbench.reports.sections.registry import CLOSING, FINDINGS
from leakbench.reports.sections.section import load_section, render_section
from leakbench.reports.site import report

FOLDER = Path(registry.__file__).parent


def test_every_section_file_is_registered_once():
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "registry", "section"}
    assert sorted([*FINDINGS, *CLOSING]) == sorted(files)


@pytest.mark.parametrize("name", [*FINDINGS, *CLOSING])
def test_a_section_is_a_heading_and_whole_paragraphs(name, army):
    text = render_section(name, army)
    assert load_section(name).collect.__doc__
    assert text == "" or text.startswith(("# ", "## ", "> "))
    assert text == "" or text.endswith("\n\n") or name == CLOSING[-1]
    assert "\n\n\n\n" not in text and "None" not in text.split()


def new_section(monkeypatch, template):
    """A section file `weather` and its line in the registry, as somebody who adds one would write them."""
    module = ModuleType("leakbench.reports.sections.weather")
    module.TEMPLATE = template
    module.collect = lambda run: {"points": len(run.plan.points)} if run.records else None
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(report, "FINDINGS", (*FINDINGS, "weather"))


def test_a_new_section_is_one_file_and_one_line(monkeypatch, run, make_run, tmp_path):
    before = report.render(run)
    new_section(monkeypatch, "## Weather\n\nFine at {{ points }} points.\n\n")
    after = report.render(run)
    assert f"## Weather\n\nFine at {len(run.plan.points)} points.\n\n## Figures" in after
    assert after.replace(f"## Weather\n\nFine at {len(run.plan.points)} points.\n\n", "") == before
    assert "## Weather" not in report.render(make_run(tmp_path, keep=lambda record: False))


def test_a_template_that_names_what_was_not_collected_is_an_error(monkeypatch, run):
    new_section(monkeypatch, "## Weather\n\n{{ rain }}\n")
    with pytest.raises(UndefinedError, match="rain"):
        report.render(run)


def test_a_table_escapes_what_would_break_it():
    assert markdown_table(["a|b"], [["1\n2"], ["x"]]) == "| a\\|b |\n|---|\n| 1 2 |\n| x |\n"
