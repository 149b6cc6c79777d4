"""EraseDiff's table on CIFAR-10: quality on the classes to keep, and what is left of the one to forget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from ..figures import forgetting
from ..reading.distances import distance_name
from ..reading.forgetting import Forgetting, list_forgetting
from ..reading.selection import quality_records
from ..tables.paper.table import PaperTable, Row, cell, plain
from .recipe import our_column, paper_column, quality_flags

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE = {  # as the paper calls it: FID of the classes to keep, probability of "airplane" (secondary source)
    "unscrubbed": (9.63, 0.97),
    "fine-tune": (8.21, 0.96),
    "NegGrad": (76.73, 0.61),
    "SA": (8.19, 0.06),
    "SalUn": (9.16, 0.07),
    "EraseDiff-noise": (7.61, 0.22),
    "EraseDiff-rl": (8.66, 0.24),
}
_METHODS = {"finetune": "fine-tune", "neg_grad": "NegGrad", "selective_amnesia": "SA", "salun": "SalUn"}


def collect(run: RunFolder) -> PaperTable:
    """A row a point whose forgetting was measured; the paper's number stands beside its method."""
    return PaperTable(
        name="erasediff",
        caption=(
            "EraseDiff (CVPR 2025), its table: CIFAR-10, airplane forgotten. The paper's FID on classes to keep and "
            f"probability of airplane (secondary source) beside this run's {distance_name(run)} and probability of its "
            "own forgotten label. Brackets are 95% intervals."
        ),
        heads=("point", "in the paper"),
        columns=(
            paper_column("frechet", "frechet_retained", "FID", digits=2),
            paper_column("forget_probability", "forget_probability", "probability (%)", digits=0),
            our_column("frechet_retained", "frechet_retained", f"{distance_name(run)}, retained"),
            our_column("forget_probability", "forget_probability", "probability (%)"),
        ),
        rows=tuple(_row(run, row) for row in list_forgetting(run) if row.probability is not None),
    )


def _row(run: RunFolder, row: Forgetting) -> Row:
    name = _name_in_paper(run, row.point)
    fid, probability = TABLE.get(name, (None, None))
    cells = {
        "paper_frechet": plain(fid),
        "paper_forget_probability": plain(probability),
        "frechet_retained": cell(row.retained),
        "forget_probability": cell(row.probability),
    }
    return Row((row.point.name, name or "-"), cells, quality_flags(run, row.point, "forget_probability"))


def _name_in_paper(run: RunFolder, point: PlannedPoint) -> str:
    """The paper's name for the method of a point; empty where its table has none."""
    if point.role == "baseline":
        return "unscrubbed"
    if point.method != "erasediff":
        return _METHODS.get(point.method, "")
    target = next((r.defense_params.get("target") for r in quality_records(run, point)), None)
    return "EraseDiff-rl" if target == "other_label" else "EraseDiff-noise"


def plot(run: RunFolder, width: float) -> Figure:
    """Forgetting against the damage to the rest. Raises MissingData where no label was to be forgotten."""
    return forgetting.plot(forgetting.collect_data(run), width)
