"""Audits in words: the epsilon that is stated, the lower bound that an attack shows, and its ceiling.

A bound holds for its own training with 95 %, so bounds of several seeds are not averaged, nor is the best one picked:
all stand in the cell; of more than three seeds, the least and the largest. Where a guarantee holds, at most one
training in twenty exceeds it.
"""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

from ..reading.auditing import AuditResult, list_audits
from ..reading.formatting import NOTHING, count_noun, drop_empty_columns, format_ci, join_words

_HEURISTIC = {"clopper_pearson": "Clopper-Pearson", "gaussian": "Gaussian", "bayes": "Bayesian"}
_ALL = 3  # seeds that are told one by one


def format_audits(found: list[AuditResult]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells."""
    titles = [
        "point",
        "attack",
        "needs",
        "epsilon stated",
        "unit",
        "adjacency",
        "delta",
        "lower bound, one run",
        "its ceiling",
    ]
    titles += ["lower bound, f-DP (ceiling)", "guesses right", "AUC of canaries"]
    titles += [f"heuristic: {name} (ceiling)" for name in _HEURISTIC.values()]
    return drop_empty_columns(titles, [_cells(audit) for audit in found])


def _cells(audit: AuditResult) -> list[str]:
    facts = [record.info for record in audit.records]
    deltas = dict.fromkeys(f"{info['delta']:.2g}" for info in facts if "delta" in info)
    right = [f"{info['right']} of {info['guessed']}" for info in facts if "guessed" in info]
    return [
        *(audit.point.name, audit.attack, audit.access, " / ".join(f"{e:.3g}" for e in audit.stated) or NOTHING),
        audit.unit if audit.unit != "image" else NOTHING,
        audit.adjacency or NOTHING,
        *(" / ".join(deltas) or NOTHING, _each(audit.values("epsilon_lower")), _each(audit.values("epsilon_ceiling"))),
        _with_ceiling(audit, "f_dp"),
        " / ".join(right) if len(right) <= _ALL else NOTHING,
        format_ci(audit.aggregate("canary_auc")),
        *(_with_ceiling(audit, name) for name in _HEURISTIC),
    ]


def _with_ceiling(audit: AuditResult, name: str) -> str:
    values, ceilings = (audit.values(f"epsilon_{which}_{name}") for which in ("lower", "ceiling"))
    return f"{_each(values)} ({_each(ceilings)})" if values else NOTHING


def _each(values: list[float]) -> str:
    """The values of the seeds; once where all print alike."""
    texts = list(dict.fromkeys(f"{value:.2f}" for value in values))
    if len(texts) <= 1 or len(values) <= _ALL:
        return (texts[0] if len(texts) == 1 else " / ".join(f"{v:.2f}" for v in values)) or NOTHING
    return f"{min(values):.2f} to {max(values):.2f}"


def verdicts(found: list[AuditResult]) -> list[str]:
    """A line an audit that shows or refutes something, or that could not have."""
    return [f"**{audit.point.name}**, {audit.attack} ({audit.access}): {_verdict(audit)}" for audit in found]


def _verdict(audit: AuditResult) -> str:
    bounds, ceilings = audit.values("epsilon_lower"), audit.values("epsilon_ceiling")
    of = f"the bound is {_each(bounds)}" + (f" by {audit.unit}" if audit.unit != "image" else "")
    if sharper := audit.values("epsilon_lower_f_dp"):
        of += f", by f-DP {_each(sharper)}"
        ceilings = audit.values("epsilon_ceiling_f_dp")
    if not audit.stated:
        shown = sum(bound > 0 for bound in bounds)
        private = "at no smaller epsilon, with that delta, is this training private (95 % each, for its own training)"
        said = f"{of}: {private}" if shown else "no loss was shown"
        return f"no guarantee is stated; {said}; {_ceiling(ceilings)}"
    if audit.exceeded:
        seeds = join_words([str(seed) for seed in audit.exceeded])
        whose = f"at {count_noun(len(audit.exceeded), 'seed')} of {len(audit.records)} ({seeds})"
        rare = "where a guarantee holds, this happens in 1 of 20 trainings at most"
        return f"{of}, which exceeds the stated epsilon {whose}; {rare}"
    out_of_reach = max(ceilings) <= min(audit.stated)
    rest = ", not above the stated epsilon: this audit could not have refuted it" if out_of_reach else ""
    return f"{of}, which does not refute the guarantee; {_ceiling(ceilings)}{rest}"


def _ceiling(ceilings: list[float]) -> str:
    return f"so many guesses, all of them right, would have shown {_each(ceilings)}"


def elsewhere(found: list[AuditResult]) -> list[str]:
    """The points whose audited training states another guarantee than the release itself."""
    return list(dict.fromkeys(audit.point.name for audit in found if audit.elsewhere))


TEMPLATE = """\
## Auditing

Lower bounds of epsilon, each from a training of its own in which a fair coin included every canary.
{% if by_group %}
Where the unit is "group", all images of a person had one coin: the bound is of epsilon by person, and beside it stands
what is stated of a person.
{% endif %}

{{ table(titles, cells) }} "One run" holds with 95 % (its coins are independent and fair, and its number of guesses was
fixed beforehand), in whichever direction the attack orders. The ceiling is what the bound would be, had no guess been
wrong. "f-DP" holds with 95 % if the training's trade-off curve is that of DP-SGD with the stated sampling rates and
steps, whatever its noise. The others are heuristic: they are made for independent trainings, and canaries of one
training are not independent; the Gaussian one also assumes a Gaussian mechanism, and the Bayesian one promises no rate
of error.

{% for words in verdicts %}
- {{ words }}.
{% endfor %}

A low bound does not prove a guarantee: it says what this attack could show.
{% if elsewhere %}
The audited training states another guarantee than the release at {{ elsewhere | join_words }}: there the bound is not
one of the release.
{% endif %}

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The audits; None where nothing was audited."""
    found = list_audits(run)
    if not found:
        return None
    titles, cells = format_audits(found)
    return {"titles": titles, "cells": cells, "verdicts": verdicts(found)} | {
        "elsewhere": elsewhere(found),
        "by_group": any(audit.unit != "image" for audit in found),
    }
