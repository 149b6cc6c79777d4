"""Series by every replication attack: thresholds calibrated here and thresholds that papers fix, each with its null.

The trade-off reads two attacks; here are all, at each point by what they find beyond the null. Where a published
threshold takes real images for copies that were never trained on, that is said: what it finds is then no finding.
"""

from __future__ import annotations

from leakbench.results.run_folder import RunFolder

from .attacks import unprotected_points
from .measured import Measured, summary_of
from .points import Point, copy_attacks, few, points
from .series import Series, series
from .words import NOTHING, bracket, count, listed, percent, told

BANDS = ("low", "mid", "high")
AIM = 0.01  # share of real images that a calibrated threshold may take for copies


def copies(run: RunFolder, point: Point) -> list[Series]:
    """All that were measured at a point, those of the trade-off first."""
    first = [*copy_attacks(run)]
    found = series(run, point, "replication")
    return sorted(found, key=lambda row: first.index(row.attack) if row.attack in first else len(first))


def suspect(row: Series) -> bool:
    """Whether the published threshold takes more than 1 % of real images for copies, beyond its interval."""
    null = row.found("copy_rate_published_null")
    return null is not None and null.summary.low > AIM


def worth_telling(run: RunFolder) -> bool:
    """Whether there is more than the trade-off tells."""
    every = [record for record in run.records if record.family == "replication" and record.metrics]
    more = {record.attack for record in every} - set(copy_attacks(run))
    return bool(more) or any(record.metric("copy_rate_published") for record in every)


def whole_text(run: RunFolder) -> list[tuple[str, list[str], list[list[str]]]]:
    """Of each point without protection: its name, titles, and a row an attack."""
    titles = ["attack", "similarity", "needs", "copies", "of real images", "beyond", "training images copied"]
    titles += ["published: copies", "of real images", "beyond", "repeat one another", "of real images"]
    found = [(point.name, [_cells(row) for row in copies(run, point)]) for point in unprotected_points(run)]
    return [(name, *told(titles, cells)) for name, cells in found if cells]


def _cells(row: Series) -> list[str]:
    rates, published = (
        [percent(summary_of(row.found(f"copy_rate{which}{of}"))) for of in ("", "_null", "_excess")]
        for which in ("", "_published")
    )
    grouped = [percent(summary_of(row.found(name))) for name in ("grouped_rate", "grouped_rate_null")]
    first, unique = row.records[0], summary_of(row.found("unique_copies"))
    return [row.attack, first.features or NOTHING, first.access, *rates, bracket(unique, 0), *published, *grouped]


def beyond_text(run: RunFolder) -> tuple[list[str], list[list[str]]]:
    """Titles and cells: a row a point, a column an attack, what lies beyond the calibrated null."""
    found = {point.name: {row.attack: row for row in copies(run, point)} for point in points(run)}
    attacks = list(dict.fromkeys(attack for rows in found.values() for attack in rows))
    cells = [
        [name, *(percent(summary_of(rows[a].found("copy_rate_excess"))) if a in rows else NOTHING for a in attacks)]
        for name, rows in found.items()
        if rows
    ]
    return told(["point", *attacks], cells)


def suspects(run: RunFolder) -> list[str]:
    """Attacks whose published threshold takes too many real images for copies, with that share, in words."""
    found: dict[str, list[Series]] = {}
    for point in points(run):
        for row in copies(run, point):
            if suspect(row):
                found.setdefault(row.attack, []).append(row)
    total = sum(any(copies(run, point)) for point in points(run))
    return [
        f"{attack} ({percent(summary_of(rows[0].found('copy_rate_published_null')))} at {rows[0].point.name}"
        + (f"; {count(len(rows), 'point')} of {total})" if len(rows) > 1 else ")")
        for attack, rows in found.items()
    ]


def guided_text(run: RunFolder) -> tuple[list[str], list[list[str]]]:
    """Of attacks that generate images of their own: theirs beside as many ordinary samples, by band of similarity."""
    titles = ["point", "attack", "band", "images in it", "of ordinary samples", "of real images"]
    titles += ["training images an image", "by ordinary samples"]
    rows = [row for point in few(run) if point.role != "control" for row in copies(run, point) if row.found("ams_low")]
    return told(titles, [_guided(row, band) for row in rows for band in BANDS])


def _guided(row: Series, band: str) -> list[str]:
    shares = [percent(summary_of(row.found(f"ams_{band}{of}"))) for of in ("", "_ordinary", "_null")]
    hits = [bracket(summary_of(row.found(f"ums_{band}{of}")), 3) for of in ("", "_ordinary")]
    return [row.point.name, row.attack, band, *shares, *hits]


def guided_verdicts(run: RunFolder) -> list[str]:
    """Where guidance finds more than ordinary sampling, by intervals that have nothing in common."""
    found = []
    for point in (point for point in few(run) if point.role != "control"):
        for row in copies(run, point):
            more = [band for band in BANDS if _apart(row.found(f"ams_{band}"), row.found(f"ams_{band}_ordinary"))]
            if row.found("ams_low"):
                said = f"more images in band {listed(more)}" if more else "no more images in any band was shown"
                found.append(f"**{point.name}**, {row.attack}: {said}")
    return found


def _apart(ours: Measured | None, ordinary: Measured | None) -> bool:
    return ours is not None and ordinary is not None and ours.summary.low > ordinary.summary.high
