"""CPSample's similarity table and histogram: samples too similar to a training image, with and without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from ..figures import similarity
from ..reading.attack_results import AttackResult
from ..reading.metric_flags import read_flags
from ..reading.replication import list_copy_results
from ..reading.shown import ShownRun
from ..tables.paper.table import PaperTable, Row, cell, plain
from .recipe import our_column, paper_column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE = {  # data set: cut-off on the cosine, share above it without and with CPSample (secondary source)
    "CIFAR-10": (0.97, 0.0625, 0.0),
    "CelebA 64x64": (0.95, 0.125, 0.001),
    "LSUN church": (0.90, 0.0073, 0.0004),
}
_METHOD = "cpsample"


def collect(run: RunFolder) -> PaperTable:
    """The paper's three data sets, then a row a point that is CPSample's or what it is compared with."""
    rows = [_paper_row(name, *numbers) for name, numbers in TABLE.items()]
    ours = [
        row for point in _points(run) for row in list_copy_results(run, point) if row.aggregate("copy_rate_published")
    ]
    return PaperTable(
        name="cpsample",
        caption=(
            "CPSample (ICLR 2025): share of samples whose similarity to a training image is above the published "
            "cut-off, without it and with it, and of held-out real images, none of which can be a copy. The paper's "
            "numbers are from a secondary source. Brackets are 95% intervals."
        ),
        heads=("point", "data set", "features"),
        columns=(
            paper_column("cut_off", "cut_off", "cut-off"),
            paper_column("without", "copy_rate_published", "without (%)", digits=2),
            paper_column("with", "copy_rate_published", "with (%)", digits=2),
            our_column("copy_rate_published", "copy_rate_published", "above the cut-off (%)"),
            our_column("copy_rate_published_null", "copy_rate_published_null", "of real images (%)"),
            our_column("copy_rate_excess", "copy_rate_excess", "beyond a calibrated cut-off (%)"),
        ),
        rows=(*rows, *(_our_row(run, row) for row in ours))
        if any(p.method == _METHOD for p in run.plan.points)
        else (),
    )


def _points(run: RunFolder) -> list[PlannedPoint]:
    return [p for p in run.plan.points if p.method == _METHOD or p.role == "baseline"]


def _paper_row(name: str, cut_off: float, without: float, protected: float) -> Row:
    cells = {"paper_cut_off": plain(cut_off), "paper_without": plain(without), "paper_with": plain(protected)}
    return Row(("the paper", name, ""), cells)


def _our_row(run: RunFolder, row: AttackResult) -> Row:
    names = ("copy_rate_published", "copy_rate_published_null", "copy_rate_excess")
    raised = {flag for record in row.records for flag in read_flags(run, record, names[0])}
    first = row.records[0]
    words = (row.point.name, first.dataset, first.features)
    return Row(words, {name: cell(row.aggregate(name)) for name in names}, tuple(sorted(raised)))


def plot(run: RunFolder, width: float) -> Figure:
    """The histogram: similarity of samples over that of real images. Raises MissingData without raw similarities."""
    shown = ShownRun(run, points={point.name for point in _points(run)})
    return similarity.plot(similarity.collect_data(shown), width)
