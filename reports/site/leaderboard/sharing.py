"""Rows of one release that several runs hold: it stands once in a track, under the names of all of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ...reading.scores import load_scores
from .row import Row


def join_same(rows: Sequence[Row]) -> list[Row]:
    """The rows in their order, each release once: that of the first run, with the others' in `also`.

    One release are rows of one name with the same numbers, of which the worst case comes from the same raw scores.
    Where no scores were kept, or the runs differ in what a row says (one was checked, one is void), each keeps its row.
    """
    texts = [_read(row) for row in rows]
    alike = Counter(texts)
    found: dict[tuple[str, str], Row] = {}
    for number, (text, row) in enumerate(zip(texts, rows, strict=True)):
        # scores are read only where rows read alike
        key = text, (_digest_scores(row) if alike[text] > 1 else "") or str(number)
        first = found.get(key)
        if first is None:
            found[key] = row
        else:
            move = first.move if first.move == row.move else ""
            found[key] = replace(first, also=(*first.also, row), move=move)
    return list(found.values())


def _read(row: Row) -> str:
    """All that a row shows, but for what it cost."""
    numbers = (row.auc, row.tpr, row.distance, row.floor, row.copies, row.queries, row.epsilon)
    return repr((row.point.name, row.attack, row.state, row.unranked, row.counter, numbers))


def _digest_scores(row: Row) -> str:
    """sha256 of the raw scores of the strongest attack, over all seeds; empty where some were not kept."""
    digest = hashlib.sha256()
    for record in row.chosen:
        scores = load_scores(row.entry.run, record)
        if scores is None:
            return ""
        for side in scores:
            digest.update(f"{record.seed} {side.dtype} {side.shape} ".encode() + side.tobytes())
    return digest.hexdigest() if row.chosen else ""
