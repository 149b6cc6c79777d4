"""Facts of the page about attacks: which is the strongest where, and at what cost in queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from leakbench.results.record import ACCESS_LEVELS, Record
from leakbench.statistics import Summary

from ...reading.aggregate import aggregate_oriented
from ...reading.formatting import format_calls
from .cells import Cell, Table, auc_cell, make_table, number_cell, word_cell
from .results import Setting, Submitted
from .tracks import Track


@dataclass
class _Attack:
    """One attack over the releases of a setting, controls left out. `largest`: its AUC that lies farthest from 1/2,
    and the point where it does. `wins`: the number of rows at which it is the strongest, by access level."""

    needs: str
    queries: list[float] = field(default_factory=list)
    largest: Summary | None = None
    where: str = ""
    wins: dict[str, int] = field(default_factory=dict)


def collect_attacks(tracks: Sequence[Track]) -> dict[str, Any]:
    """A table for each setting."""
    found: dict[Setting, list[Track]] = {}
    for track in tracks:
        found.setdefault(track.setting, []).append(track)
    named = [(f"{one.dataset}, {one.model}", _build_table(one, own)) for one, own in found.items()]
    return {"title": "Attacks", "tables": named}


def _build_table(setting: Setting, tracks: Sequence[Track]) -> Table:
    attacks: dict[str, _Attack] = {}
    entries = {row.entry.digest: row.entry for track in tracks for row, _ in track.rows}
    for entry in entries.values():
        _read_attacks(entry, attacks)
    for track in tracks:
        for row, _ in track.rows:
            if row.point.role != "control":
                for name in {record.attack for record in row.chosen}:
                    wins = attacks[name].wins
                    wins[track.access] = wins.get(track.access, 0) + 1
    rows: dict[str, int] = {}  # tracks of several conditions share an access level
    for track in tracks:
        rows[track.access] = rows.get(track.access, 0) + sum(row.point.role != "control" for row, _ in track.rows)
    columns = [("attack", False), ("needs", False), ("queries an image", True)]
    columns += [(f"strongest at {access}, of {count} rows", True) for access, count in rows.items()]
    columns += [("largest AUC", True), ("at", False)]
    order = sorted(attacks.items(), key=lambda item: (-sum(item[1].wins.values()), item[0]))
    return make_table(
        f"{setting.ensemble.title}; {setting.sizes}",
        columns,
        [_cells(name, attack, list(rows)) for name, attack in order],
    )


def _read_attacks(entry: Submitted, attacks: dict[str, _Attack]) -> None:
    controls = {point.name for point in entry.run.plan.points if point.role == "control"}
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in entry.run.records:
        if record.family == "membership" and record.metrics and record.point not in controls:
            groups.setdefault((record.attack, record.point, record.access), []).append(record)
    for (name, point, access), records in groups.items():
        attack = attacks.setdefault(name, _Attack(access))
        attack.needs = min(attack.needs, access, key=ACCESS_LEVELS.index)
        attack.queries += [record.queries for record in records]
        found = aggregate_oriented(records, "auc")
        if found and (attack.largest is None or abs(found.summary.mean - 0.5) > abs(attack.largest.mean - 0.5)):
            attack.largest, attack.where = found.summary, f"{point}, {access}, run {entry.label}"


def _cells(name: str, attack: _Attack, levels: Sequence[str]) -> list[Cell]:
    least, most = min(attack.queries), max(attack.queries)
    calls = format_calls(least) if least == most else f"{format_calls(least)} to {format_calls(most)}"
    wins = [attack.wins.get(level, 0) for level in levels]
    return [
        word_cell(name),
        word_cell(attack.needs),
        number_cell(most, calls),
        *(number_cell(count, str(count)) for count in wins),
        auc_cell(attack.largest),
        word_cell(attack.where),
    ]
