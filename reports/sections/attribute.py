"""Attribute inference: the sensitive attribute read off samples, off members through the model, and off pairs.

Of samples and pairs an AUC of 1/2 gives nothing away. Of members the yardstick is what the attack says of images that
the model has never seen: only what lies beyond it is said of members. Over seeds a p value of "no more than of the
null" is the largest of the seeds', adjusted by Holm over the run's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leakbench.results.run_folder import RunFolder

from ..reading.aggregate import summarise_metric
from ..reading.attack_results import AttackResult, adjust_p_values, list_results
from ..reading.formatting import drop_empty_columns, format_ci, format_p, format_percent, join_words
from ..reading.verdicts import verdict_kind

SHOWN = 0.05
OF = {"samples": "samples", "images": "members", "pairs": "pairs of outputs"}


@dataclass(frozen=True)
class AttributeResult(AttackResult):
    """An attack on the attribute at a point. `p`: adjusted, of "no more than of the null"."""

    p: float | None = None

    @property
    def of(self) -> str:
        """The images that it is about: "samples", "images" or "pairs"."""
        return str(self.records[0].info.get("of", ""))


def list_attribute_results(run: RunFolder) -> list[AttributeResult]:
    """Results in the order of the suite."""
    found = [row for point in run.plan.points for row in list_results(run, point, "attribute")]
    after = adjust_p_values([row.p_value("attribute_auc_excess_p") for row in found])
    return [AttributeResult(**vars(row), p=p) for row, p in zip(found, after, strict=True)]


def format_attribute_results(found: list[AttributeResult]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells."""
    titles = ["point", "attack", "needs", "of", "AUC", "of the null", "difference", "p (Holm)", "read as having it"]
    return drop_empty_columns([*titles, "asked for it", "real images"], [_cells(row) for row in found])


def _cells(row: AttributeResult) -> list[str]:
    aucs = [format_ci(row.aggregate(f"attribute_auc{of}")) for of in ("", "_null", "_excess")]
    balance = [format_percent(row.aggregate(f"attribute_balance{of}")) for of in ("", "_asked", "_real")]
    return [row.point.name, row.attack, row.access, OF.get(row.of, row.of), *aucs, format_p(row.p), *balance]


def verdicts(found: list[AttributeResult]) -> list[str]:
    """A line an attack: at which points it reads the attribute."""
    groups: dict[tuple[str, str], list[AttributeResult]] = {}
    for row in found:
        groups.setdefault((row.attack, row.access), []).append(row)
    return [
        f"**{attack}** ({access}), {OF.get(own[0].of, own[0].of)}: {_verdict(own)}"
        for (attack, access), own in groups.items()
    ]


def _verdict(own: list[AttributeResult]) -> str:
    kinds: dict[str, list[str]] = {}
    for row in own:
        kinds.setdefault(_kind(row), []).append(row.point.name)
    return "; ".join(f"{kind} at {join_words(names)}" for kind, names in kinds.items())


def _kind(row: AttributeResult) -> str:
    if row.of == "images":
        excess, shown = row.aggregate("attribute_auc_excess"), row.p is not None and row.p < SHOWN
        if excess is None:
            return "nothing to compare with"
        more = shown and (excess.summary.low > 0 or excess.summary.high < 0)
        return "says another thing of members than of others" if more else "no more shown of members than of others"
    words = {
        "leaks": "gives it away",
        "inverted": "gives it away the other way round",
        "none": "not shown to give it away",
    }
    return words.get(verdict_kind(row.aggregate("attribute_auc")), "seeds disagree")


def adaptive_findings(found: list[AttributeResult]) -> list[str]:
    """Points at which an attack that knows the defense reads what attacks on single samples do not."""
    said = []
    for row in (row for row in found if row.adaptive):
        ours = summarise_metric(row.aggregate("attribute_auc"))
        others = [o for o in found if o.point == row.point and o.of == "samples" and o.attack != row.attack]
        apart = [summarise_metric(o.aggregate("attribute_auc")) for o in others]
        known = [one for one in apart if one is not None]
        if ours is None or not known or not ours.low > max(max(one.high, 1 - one.low, 0.5) for one in known):
            continue
        beside = join_words([f"{o.attack} {format_ci(o.aggregate('attribute_auc'))}" for o in others])
        said.append(
            f"**{row.point.name}** is defeated by its adaptive attack ({row.attack} AUC {format_ci(ours)}; {beside})"
        )
    return said


TEMPLATE = """\
## Attribute inference

{{ table(titles, cells) }}
The null: for samples, held-out real images (how well the attack reads the attribute at all); for members, images that
the model has never seen (what the attack says of any image). For pairs, whose order a coin chose, it is 0.5.

{% for words in verdicts %}
- {{ words }}.
{% endfor %}

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The table and the verdicts; None without attacks on the attribute."""
    found = list_attribute_results(run)
    if not found:
        return None
    titles, cells = format_attribute_results(found)
    return {"titles": titles, "cells": cells, "verdicts": [*verdicts(found), *adaptive_findings(found)]}
