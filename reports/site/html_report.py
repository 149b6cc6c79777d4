"""report.html: one run in a single file that a person can mail.

It says what report.md says, with the figures inside. Nothing in it runs, and nothing is fetched: its own policy forbids
both. Figures that show training images stay out of what may be mailed; the report says where they lie.
"""

from __future__ import annotations

from pathlib import Path

from leakbench.results.run_folder import RunFolder
from leakbench.runtime.files import write_atomically

from ..figures.registry import CHARTS, FOLDER
from ..reading.void import list_void_reasons
from .report import render as render_report
from .safe_markdown import render_markdown
from .templates import load_text, render_page

_WITH_TRAINING_IMAGES = ("pairs",)
_PNG = b"\x89PNG\r\n"


def write_html(run: RunFolder) -> list[Path]:
    """Write report.html into the run's folder. Figures are embedded where they have been drawn."""
    path = run.path / "report.html"
    write_atomically(path, render(run).encode())
    return [path]


def render(run: RunFolder) -> str:
    """The text of report.html."""
    drawn = {chart.name: data for chart in CHARTS if (data := _read_figure(run, chart.name))}
    withheld = [name for name in _WITH_TRAINING_IMAGES if drawn.pop(name, None)]
    page = render_markdown(render_report(run), {f"{FOLDER}/{name}.png": data for name, data in drawn.items()})
    return render_page(
        "report.html.j2",
        title=page.title,
        body=page.body,
        headings=page.headings,
        void=[reason.words for reason in list_void_reasons(run)],
        withheld=withheld,
        folder=FOLDER,
        style=load_text("style.css"),
    )


def _read_figure(run: RunFolder, name: str) -> bytes:
    """A figure that has been drawn; nothing where it was not. A link in a foreign run may carry no other file along."""
    path = run.path / FOLDER / f"{name}.png"
    if not path.is_file() or not path.resolve().is_relative_to(run.path.resolve()):
        return b""
    data = path.read_bytes()
    return data if data.startswith(_PNG) else b""
