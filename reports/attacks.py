"""What each membership attack found and what it took: all of them without protection, elsewhere those that count.

At other points the strongest of each access level stand, chosen on calibration images, and every attack that knows the
defense. One computation that is on record twice is listed once: at the lower of two access levels, and without
protection rather than at a defense that leaves it as it is. Attacks that learned from membership labels have tables of
their own.

Choices of ours: over seeds the p value of "AUC 1/2" is the largest of the seeds', which tests that each seed leaks;
Holm's correction is over the rows of one table. The rows of the other points were not chosen on reported images, so
that it holds there too.
"""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.run_folder import RunFolder
from leakbench.statistics import auc_p_value, smallest_detectable_auc

from .measured import summary_of
from .points import ACCESS, Point, calibration_strength, few, points, reference, unprotected
from .scores import groups_of, repeats, scores
from .series import Series, adjusted, grouped, series
from .tradeoff import headline, leak_of
from .verdicts import kind_of
from .words import NOTHING, bracket, calls, p_value, percent, rate_title, rounded_up, told

LABELS = "labels_consumed"
MANY = 16  # points: of more, those that crowded figures show
_KINDS = {"leaks": "leaks", "inverted": "leaks, inverted", "none": "no leak found", "disagree": "seeds disagree"}


def strength(row: Series) -> float:
    """|calibration AUC - 1/2|, mean over the seeds; below 0 where there is none."""
    found = [one for record in row.records if (one := calibration_strength(record)) is not None]
    return sum(found) / len(found) if found else -1.0


def tried(run: RunFolder, point: Point) -> list[Series]:
    """All of a point, by access level and then the strongest first."""
    found = series(run, point, "membership")
    return sorted(found, key=lambda row: (ACCESS.index(row.access), -strength(row), row.attack))


def repeated(run: RunFolder, row: Series) -> bool:
    """Whether it is, number for number, what the attack found at the point that this one is compared with."""
    start = reference(run, row.point)
    if start is None or start == row.point:
        return False
    return repeats(row.records, grouped(run, start, "membership").get((row.attack, row.access), []))


def foremost(run: RunFolder, rows: list[Series]) -> list[Series]:
    """Of one point: the strongest of each access level above none, and every attack that knows the defense, once."""
    found: dict[str, Series] = {}
    for row in rows:
        if row.adaptive:
            found.setdefault(row.attack, row)  # asked of the raw network in the same way, it meets no defense
        elif row.access != "NONE":
            found.setdefault(row.access, row)
    return list(found.values())


@dataclass(frozen=True)
class Table:
    """A table of attacks: of a point, or of several if `point` is empty."""

    point: str
    supervised: bool
    titles: list[str]
    cells: list[list[str]]


def tables(run: RunFolder) -> list[Table]:
    """One a point without protection, one of all other points; each without labels and with."""
    whole = unprotected_points(run)
    others = [p for p in (points(run) if len(points(run)) <= MANY else few(run)) if p.role == "defense"]
    found = [_table(run, point.name, half) for point in whole for half in _halves(tried(run, point))]
    rest = [_halves(tried(run, point)) for point in others if point not in whole]
    for half in zip(*rest, strict=True):
        shown = [row for rows in half for row in foremost(run, rows)]
        found.append(_table(run, "", [row for row in shown if not repeated(run, row)]))
    return [table for table in found if table is not None]


def unprotected_points(run: RunFolder) -> list[Point]:
    """Those of role baseline, or else what the defenses are compared with."""
    first = unprotected(run)
    return [p for p in points(run) if p.role == "baseline"] or ([first] if first else [])


def _halves(rows: list[Series]) -> tuple[list[Series], list[Series]]:
    """Without labels, and with."""
    return [row for row in rows if not row.fact(LABELS)], [row for row in rows if row.fact(LABELS)]


def _table(run: RunFolder, point: str, rows: list[Series]) -> Table | None:
    if not rows:
        return None
    titles = ["point", "attack", "needs", "AUC", rate_title(headline(run)), "verdict", "p (Holm)", "queries an image"]
    titles += ["labels", "public images", "shadow models"]
    cells = [_cells(run, row, p) for row, p in zip(rows, adjusted([p_of(run, row) for row in rows]), strict=True)]
    if point:
        titles, cells = titles[1:], [row[1:] for row in cells]
    return Table(point, rows[0].fact(LABELS) > 0, *told(titles, cells))


def _cells(run: RunFolder, row: Series, p: float | None) -> list[str]:
    leak = leak_of(run, list(row.records))
    facts = [row.fact(name) for name in (LABELS, "public_images", "shadow_models")]
    return [
        *(row.point.name, leak.attack, row.access, bracket(summary_of(leak.auc)), percent(summary_of(leak.tpr))),
        *(_KINDS.get(kind_of(leak.auc), NOTHING), p_value(p)),
        calls(sum(record.queries for record in row.records) / len(row.records)),
        *(str(fact) if fact else NOTHING for fact in facts),
    ]


def p_of(run: RunFolder, row: Series) -> float | None:
    """Of "AUC 1/2 at some seed": the largest of the seeds'; None where a seed kept no scores."""
    found = [(scores(run, record), groups_of(run, record)) for record in row.records]
    return None if any(sides is None for sides, _ in found) else max(auc_p_value(*s, g) for s, g in found if s)


def would_have_seen(run: RunFolder) -> str:
    """The AUC that the smallest of the run's measurements would have seen; empty without any."""
    sizes = [
        metric.n
        for record in run.records
        if record.family == "membership" and (metric := record.metric("auc")) is not None and metric.n > 0
    ]
    return rounded_up(smallest_detectable_auc(min(sizes))) if sizes else ""


def inapplicable(run: RunFolder) -> list[str]:
    """The attacks that some release gave nothing to ask, each with the share of the points at which that was so."""
    found: dict[str, set[str]] = {}
    for record in run.records:
        if "not-applicable" in record.flags:
            found.setdefault(record.attack, set()).add(record.point)
    return [f"{attack} (at {len(where)} of {len(points(run))} points)" for attack, where in sorted(found.items())]
