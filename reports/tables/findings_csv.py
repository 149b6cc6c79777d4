"""verdicts.csv, attacks.csv, differences.csv and controls.csv: what report.md concludes, with every digit.

Their intervals are the report's: those of AUCs and TPRs hold together for all attacks on a release (`confidence` is the
level that each then has), those of controls for all controls. results.csv has each attack's own interval of 95 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan

from leakbench.results.metric_specs import COPY_EXCESS
from leakbench.results.record import ACCESS_LEVELS, Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.statistics import Summary

from ..reading.access_gaps import list_access_gaps
from ..reading.adaptive import strongest_adaptive, strongest_other
from ..reading.aggregate import Aggregate, aggregate, summarise_metric
from ..reading.attack_results import group_records
from ..reading.changes import DISTANCE, SAME, Move, find_move
from ..reading.controls import list_controls
from ..reading.copying import CopyFinding
from ..reading.distances import heldout_distance
from ..reading.family import read_p
from ..reading.leakage import Leak, collect_leak
from ..reading.marks import find_marks
from ..reading.points import find_reference, list_sweeps, measured_levels
from ..reading.runner_up import list_runners_up
from ..reading.selection import copy_attacks, select_records
from ..reading.standing import read_leak
from ..reading.verdicts import leak_kind, list_verdicts
from ..reading.void import list_void_reasons

Row = dict[str, object]  # by column; None for an empty cell


def list_verdict_rows(run: RunFolder) -> Iterator[Row]:
    """Rows of verdicts.csv: one a verdict of a point, with the numbers of the attack that is the strongest there; and
    where attacks know the defense, the strongest of these and of the others at DENOISER (`attackers`)."""
    for point in run.plan.points:
        for one in list_verdicts(run, point):
            who = {"access": ";".join(one.levels), "attackers": "all", "kind": one.kind}
            told = {"defeated_by": one.defeat.adaptive.attack if one.defeat else "", "verdict": one.words}
            numbers = _leak(run, one.leak or _NO_LEAK) | {"attack": one.attack}
            yield {"point": point.name, "role": point.role, **who, **numbers, **_copied(one.copies), **told}
        known, unknown = strongest_adaptive(run, point, LEVEL), strongest_other(run, point, LEVEL)
        for whom, chosen in (("defense known", known), ("defense unknown", unknown)) if known else ():
            leak = collect_leak(run, chosen.values())
            who = {"access": LEVEL, "attackers": whom, "kind": _kind(run, leak)}
            told = {"defeated_by": "", "verdict": ""}
            yield {"point": point.name, "role": point.role, **who, **_leak(run, leak), **_copied(None), **told}


def _kind(run: RunFolder, leak: Leak) -> str:
    return "void" if list_void_reasons(run) else leak_kind(leak)


def _copied(found: CopyFinding | None) -> Row:
    return {
        **_spread(COPY_EXCESS, found.excess if found else None),
        **_spread("copy_rate", found.rate if found else None),
        **_spread("copy_rate_null", found.null if found else None),
    }


def list_attack_rows(run: RunFolder) -> Iterator[Row]:
    """Rows of attacks.csv: one a membership attack at an access level of a point, over its seeds; of several seeds one
    for each as well."""
    for point in run.plan.points:
        groups = group_records(run, point, "membership")
        for attack, access in sorted(groups, key=lambda key: (key[0], ACCESS_LEVELS.index(key[1]))):
            records = groups[attack, access]
            each = [[record] for record in records] if len(records) > 1 else []
            for some in [records, *each]:
                yield {"point": point.name, "access": access, **_attack(run, some)}


def _attack(run: RunFolder, records: list[Record]) -> Row:
    leak = collect_leak(run, records)
    return {
        "kind": _kind(run, leak),
        "seeds": ";".join(str(record.seed) for record in records),
        **_leak(run, leak),
        "p_corrected": read_p(run, records),
        "queries": sum(record.queries for record in records) / len(records),
    }


def list_difference_rows(run: RunFolder) -> Iterator[Row]:
    """Rows of differences.csv. `kind`: "defense" for what a defense moved from `against` to `point`; "access" for an
    attack on the answers (`before`) and on the weights (`after`); "attack" for the AUC of the attack that calibration
    images put first less that of another."""
    for point in (point for sweep in list_sweeps(run).values() for point in sweep):
        start = find_reference(run, point)
        if start is not None and not find_marks(run, point.name):
            yield from _list_moves(run, start, point)
    for gap in list_access_gaps(run):
        who = {"kind": "access", "point": gap.point, "against": gap.point, "quantity": "auc", "attack": gap.attack}
        sides = _spread("before", gap.denoiser) | _spread("after", gap.weights)
        yield who | sides | _spread("difference", gap.difference) | _NO_MOVE
    for rival in list_runners_up(run):
        who = {"kind": "attack", "point": rival.point, "against": rival.name, "quantity": "auc"}
        yield {
            **{**who, "attack": rival.strongest, **_spread("before", None), **_spread("after", None)},
            **{**_spread("difference", rival.difference), **_NO_MOVE, "p_corrected": rival.p},
        }


def list_control_rows(run: RunFolder) -> Iterator[Row]:
    """Rows of controls.csv: one a negative control; `exact` is False where the interval is its own of 95 %."""
    for control in list_controls(run):
        found = control.auc
        yield {
            **{"control": control.what, "auc": found.value, "auc_low": found.low, "auc_high": found.high},
            **{"holds_half": control.behaves, "exact": control.exact},
        }


FILES = {  # by name: its rows, and the titles of a file without any
    "verdicts.csv": (list_verdict_rows, ("point", "role", "access", "attackers", "kind", "attack", "verdict")),
    "attacks.csv": (list_attack_rows, ("point", "access", "kind", "seeds", "attack")),
    "differences.csv": (list_difference_rows, ("kind", "point", "against", "quantity", "attack")),
    "controls.csv": (list_control_rows, ("control", "auc", "auc_low", "auc_high", "holds_half", "exact")),
}
LEVEL = "DENOISER"
_NO_LEAK = Leak("", None, None)
_NO_MOVE: Row = {"direction": "", "shown": None, "p_corrected": None}


def _leak(run: RunFolder, leak: Leak) -> Row:
    return {
        **{"attack": leak.attack, **_spread("auc", leak.auc), "rate_attack": leak.rate_attack or leak.attack},
        **{**_spread(run.plan.headline, leak.tpr), "confidence": leak.level if leak.auc else None},
    }


def _list_moves(run: RunFolder, start: PlannedPoint, point: PlannedPoint) -> Iterator[Row]:
    """The distance, copies by each measure, and the strongest attack at each access level."""
    who = {"kind": "defense", "point": point.name, "against": start.name}
    sides = [heldout_distance(run, one) for one in (start, point)]
    yield {**who, "quantity": DISTANCE, "attack": "", **_moved(sides, find_move(run, point, DISTANCE))}
    for attack in copy_attacks(run):
        sides = [aggregate(_copies(run, one, attack), COPY_EXCESS) for one in (start, point)]
        yield {**who, "quantity": COPY_EXCESS, "attack": attack, **_moved(sides, find_move(run, point, attack))}
    for level in measured_levels(run):
        leaks = [read_leak(run, one, level) for one in (start, point)]
        told = {"quantity": f"auc at {level}", "attack": leaks[1].attack}
        yield {**who, **told, **_moved([leak.auc for leak in leaks], find_move(run, point, level))}


def _copies(run: RunFolder, point: PlannedPoint, attack: str) -> list[Record]:
    return select_records(run, point, "replication", attack)


def _moved(sides: list[Aggregate | None], move: Move | None) -> Row:
    tested = move is not None and move.direction != SAME
    return {
        **{**_spread("before", sides[0]), **_spread("after", sides[1]), **_spread("difference", None)},
        "direction": "" if move is None else move.direction,
        "shown": bool(move and move.kind) if tested else None,
        "p_corrected": move.p if move is not None and tested else None,
    }


def _spread(name: str, found: Aggregate | Summary | None) -> Row:
    summary = summarise_metric(found) if isinstance(found, Aggregate) else found
    numbers = (summary.mean, summary.low, summary.high) if summary else (None, None, None)
    plain = [None if number is None or isnan(number) else number for number in numbers]
    return dict(zip((name, f"{name}_low", f"{name}_high"), plain, strict=True))
