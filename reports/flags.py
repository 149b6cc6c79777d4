"""The health flags of a run and what each of them means. `NAME=VALUE` is the flag NAME, with a number to it."""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.flags import Flag, meaning_of
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import few_negatives

MANY = 8  # attacks: more are counted


@dataclass(frozen=True)
class Raised:
    """A flag, on how many records and of which attacks it stands."""

    name: str
    records: int
    attacks: list[str]

    @property
    def meaning(self) -> str:
        """One line."""
        return meaning_of(self.name)

    @property
    def who(self) -> str:
        """The attacks, by name unless they are many."""
        return ", ".join(self.attacks) if len(self.attacks) <= MANY else f"{len(self.attacks)} attacks"


def flags_of(record: Record, metric: str) -> list[str]:
    """The flags of a record that concern one of its metrics, sorted: `few-negatives` is about single TPRs."""
    name, _, target = metric.partition("tpr@fpr=")
    auc = record.metric("auc")
    scarce = (
        name in ("", "oriented_")
        and bool(target)
        and (auc is None or few_negatives(float(target), auc.n_groups or auc.n))
    )
    return sorted(flag for flag in record.flags if flag != Flag.FEW_NEGATIVES or scarce)


def raised(run: RunFolder) -> list[Raised]:
    """All flags of the run's records, by name."""
    found: dict[str, list[str]] = {}
    for record in run.records:
        for flag in record.flags:
            found.setdefault(flag, []).append(record.attack)
    return [Raised(name, len(attacks), sorted(set(attacks))) for name, attacks in sorted(found.items())]
