"""Leakage by class, and the members that the strongest attack at DENOISER finds first, in words."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

from ..reading.exposure import LEVEL, MANY, Exposure, list_exposures
from ..reading.formatting import NOTHING, drop_empty_columns, format_ci, format_p, join_words
from ..reading.tradeoff import shown_levels


def format_classes(found: Exposure) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of a point's classes; of many classes those that differ from the others."""
    shown = found.classes if len(found.classes) <= MANY else [one for one in found.classes if one.differs]
    cells = [
        [str(one.label), str(one.members), str(one.nonmembers), format_ci(one.auc.summary), format_p(one.p)]
        for one in shown
    ]
    titles = ["class", "members", "nonmembers", "AUC", "p (Holm) of 'as the others'"]
    return (titles, cells) if len(found.classes) > 1 else drop_empty_columns(titles, cells)


def summarise_classes(found: Exposure) -> str:
    """A point's classes in one line."""
    means = [one.auc.summary.mean for one in found.classes]
    if not means:
        return "no labels, or too few images of each class"
    if len(means) == 1:
        return f"AUC of the one class with enough images {means[0]:.2f}"
    differing = [f"{one.label} ({format_ci(one.auc.summary)})" for one in found.classes if one.differs]
    verdict = f", shown to differ from the others: {join_words(differing)}" if differing else ", none shown to differ"
    return f"AUC of {len(means)} classes from {min(means):.2f} to {max(means):.2f}{verdict}"


def summarise_members(found: Exposure) -> str:
    """A point's most exposed members in one line."""
    if not found.members:
        return NOTHING
    if found.tied:
        return "none more than another, as the attack gave all of them one score"
    first = ", ".join(f"{row} ({_percent(rate)} %)" for row, rate in found.members)
    return f"{first}; above every nonmember at every seed: {found.unrivalled}"


def _percent(share: float) -> str:
    """Two digits of a share in per cent, never as a power of ten: "0.4", "12", "100"."""
    return f"{float(f'{100 * share:.2g}'):g}"


TEMPLATE = """\
## Leakage by class and image

By the strongest attack at {{ level }} that is asked about images, without protection and at each defense's point of
least copying, unless its numbers are the same there.

{% if classes %}
**{{ first }}** by class, members against nonmembers of the same class
{%- if many %} (of {{ many }} classes those that differ){% endif %}:

{{ table(classes[0], classes[1]) }}
{% endif %}
{% if left_out %}
Left out: {{ left_out | counted("class", "classes") }} with fewer than five images on a side.

{% endif %}
{% for name, attack, classes, members in points %}
- **{{ name }}** ({{ attack }}): {{ classes }}. Most exposed members, by row in the data set: {{ members }}.
{% endfor %}

In brackets: the share of nonmembers that score as high as the member, that is how often accusing every image with that
score accuses a nonmember (mean over the seeds). With {{ nonmembers }} nonmembers, 0 % means less than about
{{ least }} %.

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The classes of the first point, and of every point the classes and members that stand out; None without any."""
    found = list_exposures(run)
    if not found:
        return None
    classes = len(found[0].classes)
    return {
        **{"level": shown_levels(run).get(LEVEL, LEVEL), "first": found[0].point.name, "left_out": found[0].left_out},
        **{"classes": format_classes(found[0]) if classes else None, "many": classes if classes > MANY else 0},
        "points": [(one.point.name, one.attack, summarise_classes(one), summarise_members(one)) for one in found],
        **{"nonmembers": found[0].nonmembers, "least": _percent(3 / found[0].nonmembers)},
    }
