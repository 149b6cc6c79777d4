"""Attacks on unlearning: what is left of the images to forget, and how soon a forgotten label comes back.

The yardstick is the model that was trained without them, attacked in the same way: only what lies beyond it is the
method's. Over seeds a p value is the largest of the seeds', adjusted by Holm over all statistics of images in the run.
What is one computation at the answers and at the weights is listed once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from leakbench.results.run_folder import RunFolder

from .measured import Measured, summary_of
from .points import points
from .series import Series, adjusted, series
from .words import NOTHING, bracket, listed, p_value, told

SHOWN = 0.05
WHAT = {
    "forget": "denoising loss",
    "psnr": "image that comes back from its seed (PSNR)",
    "likelihood": "likelihood of its seed",
    "relearn": "training on few forgotten images",
    "relearn_retained": "training on retained images alone",
    "inversion": "the label's embedding",
}
_AUC, _CURVE = "_auc_excess", "_excess"


@dataclass(frozen=True)
class Asked(Series):
    """One statistic or curve of an attack, by the name that its metrics begin with. `p`: adjusted, of a statistic."""

    name: str = ""
    p: float | None = None

    def found(self, metric: str) -> Measured | None:
        """A metric whose name begins with the statistic's."""
        return super().found(f"{self.name}{metric}")

    @property
    def what(self) -> str:
        """In words."""
        return WHAT.get(self.name, self.name)


def statistics(run: RunFolder) -> list[Asked]:
    """Those of images: forget images against never-seen ones."""
    found = _asked(run, _AUC)
    after = adjusted([row.p_value(f"{row.name}{_AUC}_p") for row in found])
    return [replace(row, p=p) for row, p in zip(found, after, strict=True)]


def curves(run: RunFolder) -> list[Asked]:
    """Those of labels: forget probability against the attacker's steps."""
    return [row for row in _asked(run, _CURVE) if not row.name.endswith("_auc")]


def _asked(run: RunFolder, ending: str) -> list[Asked]:
    found = (row for point in points(run) for row in series(run, point, "unlearning"))
    return [Asked(**vars(row), name=name) for row in found for name in _names(row, ending)]


def _names(row: Series, ending: str) -> list[str]:
    names = [metric.name for record in row.records for metric in record.metrics if metric.name.endswith(ending)]
    return [name.removesuffix(ending) for name in dict.fromkeys(names)]


def statistics_text(found: list[Asked]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells."""
    titles = ["point", "attack", "needs", "statistic", "AUC against never-seen images", "by the retrained model"]
    titles += ["difference", "p (Holm)", "AUC against retained images", "of the retrained model", "distance ratio"]
    return told([*titles, "of the retrained model"], [_statistic(row) for row in found])


def _statistic(row: Asked) -> list[str]:
    ours, null, excess, retained, standing = (
        bracket(summary_of(row.found(name)))
        for name in ("_auc", "_auc_retrained", "_auc_excess", "_vs_retained_auc", "_vs_retained_auc_retrained")
    )
    ratios = [bracket(summary_of(row.found(f"_distance_ratio{whose}"))) for whose in ("", "_retrained")]
    who = [row.point.name, row.attack, row.access, row.what]
    return [*who, ours, null, excess, p_value(row.p), retained, standing, *ratios]


def curves_text(found: list[Asked]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells."""
    titles = ["point", "attack", "brought back by", "steps", "of the retrained model", "probability at the end"]
    titles += ["of the retrained model", "mean probability beyond it"]
    return told(titles, [_curve(row) for row in found])


def _curve(row: Asked) -> list[str]:
    ours, null, excess = (
        bracket(summary_of(row.found(name))) for name in ("_probability", "_probability_retrained", "_excess")
    )
    who = [row.point.name, row.attack, row.what]
    return [*who, _steps(row, "_steps"), _steps(row, "_steps_retrained"), ours, null, excess]


def _steps(row: Asked, name: str) -> str:
    """Over the seeds, where each was brought back; else each seed's own."""
    found = row.found(name)
    if found is not None and len(found.by_seed) == len(row.records):
        return bracket(found.summary, 0)
    each = [record.metric(f"{row.name}{name}") for record in row.records]
    budget = row.fact(f"{row.name}_budget")
    never = f"not in {budget}" if budget else NOTHING
    return " / ".join(dict.fromkeys(never if m is None or m.value is None else f"{m.value:.0f}" for m in each))


def verdicts(found: list[Asked]) -> list[str]:
    """A line a statistic or curve: where something is left beyond the retrained model, and where that is not shown."""
    groups: dict[tuple[str, str, str], list[Asked]] = {}
    for row in found:
        if row.point.role == "defense":
            groups.setdefault((row.attack, row.access, row.name), []).append(row)
    return [f"**{attack}**, {own[0].what} ({access}): {_verdict(own)}" for (attack, access, _), own in groups.items()]


def _verdict(own: list[Asked]) -> str:
    kinds: dict[str, list[str]] = {}
    for row in own:
        kinds.setdefault(_kind(row), []).append(row.point.name)
    return "; ".join(f"{kind} at {listed(names)}" for kind, names in kinds.items())


def _kind(row: Asked) -> str:
    """By the interval, and of a statistic by its adjusted p value as well."""
    excess = row.found(_AUC) or row.found(_CURVE)
    if excess is None:
        return "not measured"
    summary, shown = excess.summary, row.p is None or row.p < SHOWN
    if shown and summary.low > 0:
        return "more than the retrained model gives away"
    return "less than the retrained model gives away" if shown and summary.high < 0 else "nothing beyond it shown"
