"""Rows of one release that several runs hold: it stands once in a track, under the names of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...reading.scores import load_scores
from .row import Row


def join_same(rows: Sequence[Row]) -> list[Row]:
    """The rows in their order, each release once: that of the first run, with the others' in `also`.

    One release are rows of one name with the same numbers, of which the worst case comes from the same raw scores.
    Where no scores were kept, or the runs differ in what a row says (one was checked, one is void), each keeps its row.
    """
    found: dict[str, list[Row]] = {}  # rows that read alike
    order: list[tuple[str, int]] = []
    for row in rows:
        text = _read(row)
        alike = found.setdefault(text, [])
        for number, first in enumerate(alike):
            if _same_scores(first, row):
                move = first.move if first.move == row.move else ""
                alike[number] = replace(first, also=(*first.also, row), move=move)
                break
        else:
            order.append((text, len(alike)))
            alike.append(row)
    return [found[text][number] for text, number in order]


def _read(row: Row) -> str:
    """All that a row shows, but for what it cost."""
    numbers = (row.auc, row.tpr, row.distance, row.floor, row.copies, row.queries, row.epsilon)
    return repr((row.point.name, row.attack, row.state, row.unranked, row.counter, numbers))


def _same_scores(first: Row, second: Row) -> bool:
    """True if the strongest attacks have the same raw scores at every seed."""
    if first.entry is second.entry or not first.chosen or len(first.chosen) != len(second.chosen):
        return False
    for one, other in zip(first.chosen, second.chosen, strict=True):
        scores, others = load_scores(first.entry.run, one), load_scores(second.entry.run, other)
        if one.seed != other.seed or scores is None or others is None:
            return False
        if any(a.tolist() != b.tolist() for a, b in zip(scores, others, strict=True)):
            return False
    return True
