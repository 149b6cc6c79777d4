"""Whether the sensitive attribute can be read off the samples, and what hiding it cost: a row a point.

Two readers look for it: one was trained on real images, the other on samples of the very release. Choice of ours: a
point hides the attribute when a reader's AUC is within 0.05 of 1/2 at every seed, as a mean would hide two seeds on
either side of it. A ratio of distances is mean over mean; it has no interval.
"""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.run_folder import RunFolder

from .measured import Measured, measure, ratio, summary_of
from .points import Point, points, quality, reference
from .tradeoff import distance_name
from .words import NOTHING, bracket, distance, listed, percent, times, told

HIDDEN = 0.05
READERS = {"attribute_auc": "reader of real images", "attribute_auc_trained": "reader of samples"}


@dataclass(frozen=True)
class Fairness:
    """A point: AUC by reader, the share of samples that show the attribute beside that of real images, the distance to
    held-out data and its ratio to the baseline's, tau where there is one (one a seed)."""

    point: Point
    tau: tuple[float, ...]
    aucs: dict[str, Measured | None]
    balance: Measured | None
    real: Measured | None
    distance: Measured | None
    ratio: float | None

    def apart(self, reader: str) -> float | None:
        """How far the reader's AUC lies from 1/2 at the seed where it lies farthest."""
        found = self.aucs[reader]
        return None if found is None else max(abs(one.value - 0.5) for one in found.by_seed.values())

    def hidden(self, reader: str) -> bool:
        """Whether it lies within 0.05 of it at every seed."""
        apart = self.apart(reader)
        return apart is not None and apart <= HIDDEN


def fairness(run: RunFolder) -> list[Fairness]:
    """A row a point whose samples were read."""
    found = [_row(run, point) for point in points(run)]
    return [row for row in found if row.balance is not None or any(row.aucs.values())]


def _row(run: RunFolder, point: Point) -> Fairness:
    start = reference(run, point)
    before = measure(quality(run, start), "frechet_heldout") if start else None
    measured = quality(run, point)
    balance, real, away = (
        measure(measured, name) for name in ("attribute_balance", "attribute_balance_real", "frechet_heldout")
    )
    aucs = {reader: measure(measured, reader) for reader in READERS}
    return Fairness(point, taus(run, point), aucs, balance, real, away, ratio(away, before))


def taus(run: RunFolder, point: Point) -> tuple[float, ...]:
    """The tau of each seed's release, in the order of the seeds."""
    facts = [record.info.get("defense", {}) for record in quality(run, point)]
    return tuple(float(fact["tau"]) for fact in facts if isinstance(fact.get("tau"), int | float))


def fairness_text(run: RunFolder, found: list[Fairness]) -> tuple[list[str], list[list[str]]]:
    """The rows as text: titles and cells, without columns that have nothing to say."""
    titles = ["point", "tau"]
    for name in READERS.values():
        titles += [f"{name}: AUC", f"{name}: farthest from 0.5"]
    titles += ["samples with the attribute", "real images with it", f"{distance_name(run)}, held-out"]
    titles += ["to that of its baseline"]
    return told(titles, [_cells(row) for row in found])


def _cells(row: Fairness) -> list[str]:
    cells = [row.point.name, " / ".join(dict.fromkeys(f"{tau:g}" for tau in row.tau)) or NOTHING]
    for reader, found in row.aucs.items():
        apart = row.apart(reader)
        cells += [bracket(summary_of(found)), NOTHING if apart is None else f"{apart:.3f}"]
    cells += [percent(summary_of(row.balance)), percent(summary_of(row.real)), distance(summary_of(row.distance))]
    return [*cells, NOTHING if row.ratio is None else times(row.ratio)]


def hidden(run: RunFolder, found: list[Fairness]) -> dict[str, str]:
    """By reader, in words: the points at which it cannot tell; controls, whose samples show nothing, aside."""
    return {name: _hidden(run, found, reader) for reader, name in READERS.items()}


def _hidden(run: RunFolder, found: list[Fairness], reader: str) -> str:
    rows = [row for row in found if row.point.role != "control" and row.hidden(reader)]
    if any(row.point == reference(run, row.point) for row in rows):
        return "the baseline already, so that there was nothing to hide"
    return listed([_verdict(row) for row in rows]) if rows else "no point"


def _verdict(row: Fairness) -> str:
    return row.point.name if row.ratio is None else f"{row.point.name} ({times(row.ratio)})"


def reader(run: RunFolder) -> str:
    """How well the reader of real images tells the attribute of real images: without that, its AUC says nothing."""
    found = [measure(quality(run, point), "attribute_reader_auc") for point in points(run)]
    known = [measured.summary for measured in found if measured is not None]
    return bracket(known[0]) if known else ""
