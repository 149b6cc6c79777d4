"""Tests of "the strongest attack of these finds more than all of those", on the same images.

The attack that stands for the first side is chosen on calibration images, by |calibration AUC - 1/2|, so the reported
images had no part in it. It lies above every attack of the other side where it lies above each of them: the p value
is the largest of the single, one-sided ones (intersection-union; Berger, Technometrics 24, 1982), which needs no
correction for their number. So a fall is never said where another attack of the defended release still finds as much.

Over seeds it is the largest of the seeds', as everywhere: above at every seed.
"""

from __future__ import annotations

from collections.abc import Sequence

from leakbench.results.record import Record
from leakbench.results.run_cache import cache_on_run
from leakbench.results.run_folder import RunFolder

from .comparison import Source, compare_records
from .scores import same_computation
from .selection import Identity, find_record, identify
from .strongest import chosen_on_calibration

SHOWN = 0.05


def shown_above(run: RunFolder, ours: Sequence[Record], theirs: Sequence[Record]) -> float:
    """The one-sided p value of "at some seed the strongest of `ours` does not lie above all of `theirs`"; 1 where a
    seed has no attack on one side."""
    chosen = chosen_on_calibration(list(ours))
    seeds = {record.seed for record in [*ours, *theirs]}
    if seeds != chosen.keys() or seeds != {record.seed for record in theirs}:
        return 1.0
    pairs = {(_identify_computation(run, chosen[record.seed]), _identify_computation(run, record)) for record in theirs}
    return max(_not_above(run, *pair) for pair in pairs)


def stands_on_same(ours: Sequence[Record], theirs: Sequence[Record]) -> bool:
    """True if, at every seed, the attack that calibration images choose on either side is one that both sides hold as
    one computation: neither can then lie above the other."""
    for one, other in ((ours, theirs), (theirs, ours)):
        chosen = chosen_on_calibration(list(one))
        held = {seed: [r for r in other if r.seed == seed] for seed in chosen}
        if not chosen or not all(any(same_computation(chosen[seed], r) for r in held[seed]) for seed in chosen):
            return False
    return True


def _identify_computation(run: RunFolder, record: Record) -> Identity:
    """The first record of the run that holds the computation of this one, as records of several access levels may."""
    return _first_by_arrays(run).get(record.arrays or "", identify(record))


@cache_on_run()
def _first_by_arrays(run: RunFolder) -> dict[str, Identity]:
    return {record.arrays: identify(record) for record in reversed(run.records) if record.arrays}


@cache_on_run()  # one pair of records is asked for at several access levels
def _not_above(run: RunFolder, first: Identity, second: Identity) -> float:
    one, other = (find_record(run, name) for name in (first, second))
    if same_computation(one, other):
        return 1.0
    compared = compare_records(Source(run, one), Source(run, other), "auc")
    if compared is None:
        return 1.0
    pair = compared.found
    if not pair.p_value <= 1:  # no interval, no p value
        return 1.0
    return pair.p_value / 2 if pair.difference.value > 0 else 1 - pair.p_value / 2
