"""Attacks that the plan has and that lack a record at points which were measured: interrupted, failed, or asked for by
one command while the point was asked for by another."""

from __future__ import annotations

from leakbench.results.asked import list_asked
from leakbench.results.run_folder import RunFolder

from .formatting import join_words


def list_unmeasured(run: RunFolder) -> list[str]:
    """One line for the points that lack the same attacks: "loss and pia at cpsample". A point without any record is not
    among them."""
    cells = {(record.point, record.attack, record.seed) for record in run.records}
    measured = {point for point, _, _ in cells}
    found: dict[tuple[str, ...], list[str]] = {}
    for point in run.plan.points:
        asked = list_asked(run, point) if point.name in measured else []
        lacking = [one for one in asked if any((point.name, one, seed) not in cells for seed in run.plan.seeds)]
        if lacking:
            found.setdefault(tuple(lacking), []).append(point.name)
    return [f"{join_words(list(attacks))} at {join_words(points)}" for attacks, points in found.items()]
