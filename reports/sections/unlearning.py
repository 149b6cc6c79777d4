"""Attacks on unlearning: remains of the images to forget, and recovery of a forgotten label."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

from ..reading.formatting import NOTHING, drop_empty_columns, format_ci, format_p, join_words
from ..reading.unlearning import AUC_ENDING, CURVE_ENDING, SHOWN, UnlearningResult, list_curves, list_statistics


def format_statistics(found: list[UnlearningResult]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells."""
    titles = ["point", "attack", "needs", "statistic", "AUC against never-seen images", "by the retrained model"]
    titles += ["difference", "p (Holm)", "AUC against retained images", "of the retrained model", "distance ratio"]
    return drop_empty_columns([*titles, "of the retrained model"], [_statistic(row) for row in found])


def _statistic(row: UnlearningResult) -> list[str]:
    ours, null, excess, retained, standing = (
        format_ci(row.aggregate(name))
        for name in ("_auc", "_auc_retrained", "_auc_excess", "_vs_retained_auc", "_vs_retained_auc_retrained")
    )
    ratios = [format_ci(row.aggregate(f"_distance_ratio{whose}")) for whose in ("", "_retrained")]
    who = [row.point.name, row.attack, row.access, row.what]
    return [*who, ours, null, excess, format_p(row.p), retained, standing, *ratios]


def format_curves(found: list[UnlearningResult]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells."""
    titles = ["point", "attack", "brought back by", "steps", "of the retrained model", "probability at the end"]
    titles += ["of the retrained model", "mean probability beyond it"]
    return drop_empty_columns(titles, [_curve(row) for row in found])


def _curve(row: UnlearningResult) -> list[str]:
    ours, null, excess = (
        format_ci(row.aggregate(name)) for name in ("_probability", "_probability_retrained", "_excess")
    )
    who = [row.point.name, row.attack, row.what]
    return [*who, _steps(row, "_steps"), _steps(row, "_steps_retrained"), ours, null, excess]


def _steps(row: UnlearningResult, name: str) -> str:
    """Steps over the seeds, where each was brought back; else each seed's own."""
    found = row.aggregate(name)
    if found is not None and len(found.by_seed) == len(row.records):
        return format_ci(found.summary, 0)
    each = [record.metric(f"{row.name}{name}") for record in row.records]
    budget = row.fact(f"{row.name}_budget")
    never = f"not in {budget}" if budget else NOTHING
    return " / ".join(dict.fromkeys(never if m is None or m.value is None else f"{m.value:.0f}" for m in each))


def verdicts(found: list[UnlearningResult]) -> list[str]:
    """A line a statistic or curve: where something is left beyond the retrained model, and where that is not shown."""
    groups: dict[tuple[str, str, str], list[UnlearningResult]] = {}
    for row in found:
        if row.point.is_compared:
            groups.setdefault((row.attack, row.access, row.name), []).append(row)
    return [f"**{attack}**, {own[0].what} ({access}): {_verdict(own)}" for (attack, access, _), own in groups.items()]


def _verdict(own: list[UnlearningResult]) -> str:
    kinds: dict[str, list[str]] = {}
    for row in own:
        kinds.setdefault(_kind(row), []).append(row.point.name)
    return "; ".join(f"{kind} at {join_words(names)}" for kind, names in kinds.items())


def _kind(row: UnlearningResult) -> str:
    """The verdict by the interval, and for a statistic by its adjusted p value as well."""
    excess = row.aggregate(AUC_ENDING) or row.aggregate(CURVE_ENDING)
    if excess is None:
        return "not measured"
    summary, shown = excess.summary, row.p is None or row.p < SHOWN
    if shown and summary.low > 0:
        return "more than the retrained model gives away"
    return "less than the retrained model gives away" if shown and summary.high < 0 else "nothing beyond it shown"


TEMPLATE = """\
## Attacks on unlearning

Each attack was run on the release and, in the same way, on the same chain of defenses without the steps that forget,
trained without what was to go. Only what lies beyond that model is left in the release.

{% if statistics %}
{{ table(statistics[0], statistics[1]) }}
AUC: images to forget against never-seen ones of the same kind; higher means told apart as once trained on, and no
sign is turned. The difference is paired image by image.
{% if ratios %}
Distance ratio: how far the forgotten images' seeds lie from ordinary ones, in units of the retained images'; about 1
means like the retained ones.
{% endif %}

{% endif %}
{% if curves %}
{{ table(curves[0], curves[1]) }}
Steps: the fewest at which the mean probability of the forgotten label reaches half of that of real images, looked for
only at the steps that the figure shows. Intervals account for the samples of one fine-tuning run, not for another run's
luck, and curves are not corrected for their number.

{% endif %}
{% for words in verdicts %}
- {{ words }}.
{% endfor %}

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The statistics of images, the curves of labels and the verdicts; None without attacks on unlearning."""
    images, labels = list_statistics(run), list_curves(run)
    if not images and not labels:
        return None
    return {
        "statistics": format_statistics(images) if images else None,
        "ratios": any(row.aggregate("_distance_ratio") for row in images),
        "curves": format_curves(labels) if labels else None,
        "verdicts": verdicts([*images, *labels]),
    }
