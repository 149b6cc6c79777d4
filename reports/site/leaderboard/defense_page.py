"""Facts of the page about one defense of one run: its curve, ROC, all records, and what it takes to run it again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from leakbench.results.record import Record
from leakbench.results.run_plan import PlannedPoint
from leakbench.results.verified import VerifiedFile

from ...reading.aggregate import to_estimate
from ...reading.distances import distance_name
from ...reading.formatting import NOTHING, rate_title
from ...reading.marks import find_marks
from ...reading.points import find_reference
from ...reading.void import list_void_reasons
from .cells import Cell, Table, calls_cell, make_table, number_cell, word_cell
from .charts import plot_roc, plot_tradeoff
from .results import Submitted
from .track_page import build_table
from .tracks import Track

_MOST_RECORDS = 2000  # of a page
_OF_QUALITY = ("frechet_heldout", "frechet", "kid")


def collect_defense(
    entry: Submitted, points: Sequence[PlannedPoint], tracks: Sequence[Track], verified: VerifiedFile
) -> dict[str, Any]:
    """The facts of a page; points: those of the defense's sweep. tracks: all of the run."""
    run, names = entry.run, {point.name for point in points}
    checked = verified.find(entry.digest)
    return {
        "title": f"{points[0].defense or points[0].name}, run {entry.label}",
        "entry": entry,
        "summary": run.plan.summary,
        "void": [(entry.label, [reason.words for reason in list_void_reasons(run)])] if list_void_reasons(run) else [],
        "marks": [(point.name, mark.words) for point in points for mark in find_marks(run, point.name)],
        "levels": [level for track in tracks if (level := _collect_level(entry, points, track))],
        "records": _list_records(entry, names),
        "command": "\n".join(run.plan.commands),
        "suite": json.dumps(run.plan.settings, indent=1, sort_keys=True) if run.plan.settings else "",
        "environment": _list_environment(entry, names),
        "checked": checked,
        "counters": _list_counters(entry, names, verified),
    }


def _collect_level(entry: Submitted, points: Sequence[PlannedPoint], track: Track) -> dict[str, Any] | None:
    """The facts of an access level; None for a track that the points do not stand in."""
    names = {point.name for point in points}
    references = {found.name for point in points if (found := find_reference(entry.run, point))} - names
    of_run = [item for item in track.rows if entry in item[0].entries]
    own = [item for item in of_run if item[0].point.name in names]
    if not own:
        return None
    order = {point.name: number for number, point in enumerate(entry.run.plan.points)}
    own.sort(key=lambda item: order[item[0].point.name])
    beside = [item for item in of_run if item[0].point.role == "baseline" and item[0].point.name in references]
    chosen = [(row.point.name, row.chosen[0]) for row, _ in own if row.chosen]
    return {
        "track": track,
        "table": build_table(f"{track.access}: {track.title}", own),
        "chart": plot_tradeoff([*own, *beside], distance_name(entry.run), line=len(own) > 1),
        "roc": plot_roc(entry.run, chosen),
        "seed": chosen[0][1].seed if chosen else None,
    }


def _list_records(entry: Submitted, names: set[str]) -> Table:
    """Every record of the points, but no more than a page can hold."""
    found = [record for record in entry.run.records if record.point in names]
    headline = entry.run.plan.headline
    columns = [("point", False), ("attack", False), ("access", False), ("seed", True), ("main number", True)]
    columns += [(rate_title(headline), True), ("queries an image", True), ("flags", False), ("skipped because", False)]
    columns += [("record, sha256", False), ("arrays, sha256", False)]
    caption = f"{len(found)} records" + (f", of which {_MOST_RECORDS} are shown" if len(found) > _MOST_RECORDS else "")
    return make_table(caption, columns, [_record_cells(one, headline) for one in found[:_MOST_RECORDS]], filters=True)


def _record_cells(record: Record, headline: str) -> list[Cell]:
    return [
        word_cell(record.point),
        word_cell(record.attack),
        word_cell(record.access),
        number_cell(record.seed, str(record.seed)),
        _main_number(record),
        _metric_cell(record, headline),
        calls_cell(record.queries),
        word_cell(", ".join(record.flags)),
        word_cell(str(record.info.get("skipped", ""))[:300]),
        word_cell(record.digest[:16]),
        word_cell(record.arrays[:16]),
    ]


def _main_number(record: Record) -> Cell:
    """An AUC, a distance, or else the first metric that has a value."""
    wanted = ["auc", *_OF_QUALITY, *(metric.name for metric in record.metrics)]
    name = next((one for one in wanted if (found := record.metric(one)) and found.value is not None), "")
    return _metric_cell(record, name, name)


def _metric_cell(record: Record, name: str, before: str = "") -> Cell:
    found = to_estimate(record.metric(name)) if name else None
    if found is None:
        return Cell(NOTHING)
    interval = "" if found.low != found.low else f" [{found.low:.3g}, {found.high:.3g}]"
    return number_cell(found.value, f"{before} {found.value:.3g}{interval}".strip())


def _list_environment(entry: Submitted, names: set[str]) -> list[tuple[str, str]]:
    """Devices and versions, by who used them, each distinct set once."""
    found: dict[tuple[str, str], None] = {}
    for record in entry.run.records:
        if record.point in names:
            environment = record.run.environment
            for who, facts in (("trained with", environment.trainer), ("audited with", environment.auditor)):
                if facts:
                    found[who, ", ".join(f"{key} {value}" for key, value in sorted(facts.items()))] = None
    return list(found)


def _list_counters(entry: Submitted, names: set[str], verified: VerifiedFile) -> Table | None:
    """Counter-evaluations against the points; those that are only asserted rank nothing."""
    checked = verified.find(entry.digest)
    found = [one for one in (checked.counters if checked else ()) if one.point in names]
    if not found:
        return None
    columns = [("point", False), ("attack", False), ("access", False), ("seed", True), ("kind", False), ("by", False)]
    columns += [("AUC, lower bound", True), ("queries an image", True), ("sha256", False)]
    rows = [
        [
            *(word_cell(word) for word in (one.point, one.attack, one.access)),
            number_cell(one.seed, str(one.seed)),
            word_cell(one.kind),
            word_cell(one.by),
            number_cell(one.lower_bound),
            calls_cell(one.queries),
            word_cell(one.digest[:16]),
        ]
        for one in found
    ]
    return make_table("Counter-evaluations", columns, rows)
