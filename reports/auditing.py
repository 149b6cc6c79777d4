"""Audits: the epsilon that is claimed, the lower bound that an attack shows, and the ceiling of so many guesses.

A bound holds for its own training with 95 %, so bounds of several seeds are neither averaged nor is the best one
picked: all stand in the cell; of more than three seeds, the least and the largest. One exceeded claim in twenty
trainings is what a right claim gives at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder

from .measured import summary_of
from .points import points
from .series import Series, series
from .words import NOTHING, bracket, count, listed, told

ABOVE = "epsilon-above-claim"
_HEURISTIC = {"clopper_pearson": "Clopper-Pearson", "gaussian": "Gaussian", "bayes": "Bayesian"}
_ALL = 3  # seeds that are told one by one


@dataclass(frozen=True)
class Audit(Series):
    """An audit of a point. The claim is that of the training that was audited."""

    def values(self, metric: str) -> list[float]:
        """A metric, seed by seed."""
        found = self.found(metric)
        return [one.value for one in found.by_seed.values()] if found else []

    @property
    def claims(self) -> list[float]:
        """The distinct epsilons that are claimed."""
        found = [_fact(record, "canary_guarantee").get("epsilon") for record in self.records]
        return sorted({float(epsilon) for epsilon in found if isinstance(epsilon, int | float)})

    @property
    def exceeded(self) -> list[int]:
        """The seeds at which the bound exceeds the claim."""
        return [record.seed for record in self.records if ABOVE in record.flags]

    @property
    def elsewhere(self) -> bool:
        """Whether the release itself claims something else than the training that was audited."""
        return any(
            _fact(record, "canary_guarantee").get(key) != _fact(record, "target_guarantee").get(key)
            for record in self.records
            for key in ("epsilon", "delta")
        )


def _fact(record: Record, name: str) -> dict[str, Any]:
    found = record.info.get(name)
    return found if isinstance(found, dict) else {}


def audits(run: RunFolder) -> list[Audit]:
    """In the order of the suite."""
    return [Audit(**vars(row)) for point in points(run) for row in series(run, point, "auditing")]


def audits_text(found: list[Audit]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells."""
    titles = ["point", "attack", "needs", "epsilon claimed", "delta", "lower bound, one run", "its ceiling"]
    titles += ["guesses right", "AUC of canaries", *(f"heuristic: {name} (ceiling)" for name in _HEURISTIC.values())]
    return told(titles, [_cells(audit) for audit in found])


def _cells(audit: Audit) -> list[str]:
    facts = [record.info for record in audit.records]
    deltas = dict.fromkeys(f"{info['delta']:.2g}" for info in facts if "delta" in info)
    right = [f"{info['right']} of {info['guessed']}" for info in facts if "guessed" in info]
    return [
        *(audit.point.name, audit.attack, audit.access, " / ".join(f"{e:.3g}" for e in audit.claims) or NOTHING),
        *(" / ".join(deltas) or NOTHING, _each(audit.values("epsilon_lower")), _each(audit.values("epsilon_ceiling"))),
        " / ".join(right) if len(right) <= _ALL else NOTHING,
        bracket(summary_of(audit.found("canary_auc"))),
        *(_heuristic(audit, name) for name in _HEURISTIC),
    ]


def _heuristic(audit: Audit, name: str) -> str:
    values, ceilings = (audit.values(f"epsilon_{which}_{name}") for which in ("lower", "ceiling"))
    return f"{_each(values)} ({_each(ceilings)})" if values else NOTHING


def _each(values: list[float]) -> str:
    """Those of the seeds; where all print alike, once."""
    texts = list(dict.fromkeys(f"{value:.2f}" for value in values))
    if len(texts) <= 1 or len(values) <= _ALL:
        return (texts[0] if len(texts) == 1 else " / ".join(f"{v:.2f}" for v in values)) or NOTHING
    return f"{min(values):.2f} to {max(values):.2f}"


def verdicts(found: list[Audit]) -> list[str]:
    """A line an audit that shows or refutes something, or that could not have."""
    return [f"**{audit.point.name}**, {audit.attack} ({audit.access}): {_verdict(audit)}" for audit in found]


def _verdict(audit: Audit) -> str:
    bounds, ceilings = audit.values("epsilon_lower"), audit.values("epsilon_ceiling")
    of = f"the bound is {_each(bounds)}"
    if not audit.claims:
        shown = sum(bound > 0 for bound in bounds)
        private = "at no smaller epsilon, with that delta, is this training private (95 % each, for its own training)"
        said = f"{of}: {private}" if shown else "no loss was shown"
        return f"nothing is claimed; {said}; {_ceiling(ceilings)}"
    if audit.exceeded:
        seeds = listed([str(seed) for seed in audit.exceeded])
        whose = f"at {count(len(audit.exceeded), 'seed')} of {len(audit.records)} ({seeds})"
        return f"{of}, which exceeds the claim {whose}; a right claim is exceeded in 1 of 20 trainings at most"
    out_of_reach = max(ceilings) <= min(audit.claims)
    rest = ", not above the claim: this audit could not have refuted it" if out_of_reach else ""
    return f"{of}, which does not refute the claim; {_ceiling(ceilings)}{rest}"


def _ceiling(ceilings: list[float]) -> str:
    return f"so many guesses, all of them right, would have shown {_each(ceilings)}"


def elsewhere(found: list[Audit]) -> list[str]:
    """The points whose audited training claims something else than the release itself."""
    return list(dict.fromkeys(audit.point.name for audit in found if audit.elsewhere))
