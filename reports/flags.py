"""The health flags of a run and what each of them means. `NAME=VALUE` is the flag NAME, with a number to it."""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.records import Record, RunFolder
from leakbench.statistics import few_negatives

MEANING = {
    "attribute-one-sided": "too few images of one value of the attribute: the AUC that lacks them is left out",
    "calibration-leaks": "stronger on calibration than on reported images (one-sided 0.1 %): it saw its own images",
    "ceiling-below-claim": "so many guesses, even all of them right, refute no such claim: it takes more canaries",
    "constant-scores": "the attack gave all images the same score: it says nothing",
    "epsilon-above-claim": "a lower bound of epsilon exceeds the claim: of a right one it does in 1 of 20 trainings",
    "few-negatives": "a TPR at a false-positive rate below 10 / nonmembers is on record: that TPR ranks nothing",
    "forget-set-too-small": "fewer than two images to forget, or to compare them with: no forget-set AUC",
    "inverted": "the interval of an AUC lies below 0.5: members score lower, which is leakage too",
    "lpips-missing": "LPIPS has no weights on this machine: what needs them is left out",
    "never-copied": "trained to copy, it ended before it did: what a defense does to its copies is no finding",
    "non-finite": "some score was NaN or infinite; NaN counts as the least member-like",
    "not-applicable": "the release ships no such part, the question makes no sense of it, or weights are missing",
    "not-brought-back": "the forgotten label, of the release or of the retrained model, did not come back in the steps",
    "not-trained-here": "the model was given, so no shadow, retrained or canary model of it can be made",
    "randomised-answers": "the service answers one question differently each time, and the attack did not average",
    "smaller-batches": "memory ran out and compute batches were halved: numbers agree within rounding, not bit for bit",
    "sscd-missing": "SSCD has no weights on this machine: what needs them is left out",
    "tied-scores": "equal scores keep the realised false-positive rate below its target",
    "too-few-canaries": "some half of the canaries has fewer than two on a side: no bound of epsilon",
    "track-invalid": "the blind baseline tells members from nonmembers: the split itself leaks, and the track is void",
    "weaker-with-more-access": "less is found at the weights than at the answers (one-sided 1 %): the answers give "
    "more away, or the attack could be stronger",
    "unguarded-shadows": "the shadow models answer without the sampling-time defense: the attack does not know it",
    "weak-delta": "delta is not below 1 / number of training images: one image's data may be given away outright",
}

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
        return MEANING.get(
            self.name.partition("=")[0], "no explanation on file: see the attack or defense that raised it"
        )

    @property
    def who(self) -> str:
        """The attacks, by name unless they are many."""
        return ", ".join(self.attacks) if len(self.attacks) <= MANY else f"{len(self.attacks)} attacks"


def flags_of(record: Record, metric: str) -> list[str]:
    """The flags of a record that concern one of its metrics, sorted: `few-negatives` is about single TPRs."""
    name, _, target = metric.partition("tpr@fpr=")
    auc = record.metric("auc")
    scarce = name in ("", "oriented_") and bool(target) and (auc is None or few_negatives(float(target), auc.n))
    return sorted(flag for flag in record.flags if flag != "few-negatives" or scarce)


def raised(run: RunFolder) -> list[Raised]:
    """All flags of the run's records, by name."""
    found: dict[str, list[str]] = {}
    for record in run.records:
        for flag in record.flags:
            found.setdefault(flag, []).append(record.attack)
    return [Raised(name, len(attacks), sorted(set(attacks))) for name, attacks in sorted(found.items())]
