"""report.md: the sections of one run, with its figures. The words stand in the files of sections/."""

from __future__ import annotations

from pathlib import Path

from leakbench.results.run_folder import RunFolder
from leakbench.runtime.files import write_atomically

from ..reading.markdown import disarm
from ..sections.registry import CLOSING, FINDINGS
from ..sections.section import join_parts, render_section
from .figure_list import render_figures
from .report_tables import write_report_tables


def write_markdown(run: RunFolder) -> list[Path]:
    """Write report.md into the run's folder, and the cells of its tables as CSV. Figures are embedded where they have
    been drawn."""
    path, text = run.path / "report.md", render(run)
    write_atomically(path, text.encode())
    return [path, write_report_tables(run.path, text)]


def render(run: RunFolder) -> str:
    """The text of report.md."""
    found = [render_section(name, run) for name in FINDINGS]
    closing = [render_section(name, run) for name in CLOSING]
    return disarm(join_parts([*found, render_figures(run), *closing]))
