"""Memorised prompts: which are flagged, and how many null prompts, which were never trained on, are flagged alike.

Over seeds a prompt is listed where every seed flags it. Choice of ours: more prompts are flagged than chance explains
where the interval of their share lies above that of null prompts.
"""

from __future__ import annotations

from typing import Any

from leakbench.results.flags import Flag
from leakbench.results.run_folder import RunFolder

from ..reading.aggregate import summarise_metric
from ..reading.attack_results import AttackResult, list_results
from ..reading.formatting import count_noun, drop_empty_columns, format_ci, format_percent
from ..reading.selection import select_records

_FAMILY = "memorisation"
_LISTED = 20  # prompts that stand in a line


def list_detectors(run: RunFolder) -> list[AttackResult]:
    """Results in the order of the suite."""
    return [row for point in run.plan.points for row in list_results(run, point, _FAMILY)]


def format_detectors(found: list[AttackResult]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells."""
    titles = ["point", "attack", "needs", "AUC against null prompts", "prompts flagged", "null prompts flagged"]
    return drop_empty_columns(titles, [_cells(row) for row in found])


def _cells(row: AttackResult) -> list[str]:
    shares = [format_percent(row.aggregate(name)) for name in ("prompts_flagged", "prompts_flagged_null")]
    return [row.point.name, row.attack, row.access, format_ci(row.aggregate("prompt_auc")), *shares]


def list_flagged(row: AttackResult) -> list[int]:
    """Numbers of the prompts that every seed flags, the highest score at the first seed first."""
    first, *others = ([int(number) for number in record.info.get("flagged", [])] for record in row.records)
    return [number for number in first if all(number in other for other in others)]


def verdicts(found: list[AttackResult]) -> list[str]:
    """A line a detector and point: how many are flagged, by their numbers, beside the null."""
    return [f"**{row.point.name}**, {row.attack} ({row.access}): {_verdict(row)}" for row in found]


def _verdict(row: AttackResult) -> str:
    flagged = list_flagged(row)
    ours, null = (summarise_metric(row.aggregate(name)) for name in ("prompts_flagged", "prompts_flagged_null"))
    assert ours is not None and null is not None
    more = ours.low > null.high
    said = "more than chance explains" if more else "not shown to be more than chance explains"
    listed = f" ({_list(flagged)})" if flagged else ""
    most = f"{100 * null.high:.0f} %"
    return (
        f"{count_noun(len(flagged), 'prompt')} flagged{listed}, {said}; of prompts that the model has never seen, "
        f"{format_percent(null)} are flagged, so that up to {most} of any prompts may be flagged by chance"
    )


def _list(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:_LISTED]))
    return shown if len(numbers) <= _LISTED else f"{shown} and {len(numbers) - _LISTED} more"


def without_null(run: RunFolder) -> list[str]:
    """Points at which there were too few null prompts."""
    return [
        point.name
        for point in run.plan.points
        if any(Flag.NO_NULL_PROMPTS in record.flags for record in select_records(run, point, _FAMILY))
    ]


TEMPLATE = """\
## Memorised prompts

Which captions of members does the model return one image for? The detectors read captions and no image.

{% if cells %}
{{ table(titles, cells) }}
Null prompts are captions that the model was never trained on. A prompt is flagged at the least score that 1 % of
further null prompts at most reach. The AUC is that of all members' captions against null prompts: it is the detector's
own where all of them are known to be memorised.

{% for words in verdicts %}
- {{ words }}.
{% endfor %}

Prompts go by number, from 0, in the order of the captions; `leakbench files` writes their words.
{% endif %}
{% if without %}
Too few captions were never trained on, so that nothing is flagged, at: {{ without | join_words }}.
{% endif %}

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The detectors; None where no prompt was asked about."""
    found, without = list_detectors(run), without_null(run)
    if not found and not without:
        return None
    titles, cells = format_detectors(found)
    return {"titles": titles, "cells": cells, "verdicts": verdicts(found), "without": without}
