"""Copies by every replication attack: thresholds calibrated here and thresholds that papers fix, each with its null.

The trade-off shows two attacks; here are all, at each point by what they find beyond the null. Where a published
threshold takes never-trained-on real images for copies, the section says so: what it finds is then no finding.
"""

from __future__ import annotations

from typing import Any

from leakbench.results.metric_specs import COPY_EXCESS
from leakbench.results.run_folder import RunFolder

from ..reading.aggregate import Aggregate, summarise_metric
from ..reading.attack_ranking import baseline_points
from ..reading.attack_results import AttackResult
from ..reading.formatting import NOTHING, count_noun, drop_empty_columns, format_ci, format_percent, join_words
from ..reading.replication import is_suspect, list_copy_results, separates_nothing
from ..reading.selection import copy_attacks
from ..reading.strongest import representative_points

BANDS = ("low", "mid", "high")
_UNDER = {  # titles of copies by what tells them from their training image
    "as is": "copy_rate@transform=none",
    "mirrored": "copy_rate@transform=mirror",
    "shifted": "copy_rate@transform=shift",
    "cropped or shrunk": "copy_rate@transform=scale",
    "relit": "copy_rate@transform=light",
}


def says_more_than_tradeoff(run: RunFolder) -> bool:
    """True if there is more than the trade-off shows."""
    every = [record for record in run.records if record.family == "replication" and record.metrics]
    more = {record.attack for record in every} - set(copy_attacks(run))
    told = ("copy_rate_published", _UNDER["as is"])
    return bool(more or list_useless(run)) or any(record.metric(name) for record in every for name in told)


def format_baseline_copies(run: RunFolder) -> list[tuple[str, list[str], list[list[str]]]]:
    """Tables of points without protection: name, titles, and a row an attack."""
    titles = [
        "attack",
        "similarity",
        "needs",
        "copies",
        "of real images",
        "beyond",
        "training images copied",
        "people copied",
    ]
    titles += ["published: copies", "of real images", "beyond", "repeat one another", "of real images"]
    found = [(point.name, [_cells(row) for row in list_copy_results(run, point)]) for point in baseline_points(run)]
    return [(name, *drop_empty_columns(titles, cells)) for name, cells in found if cells]


def _cells(row: AttackResult) -> list[str]:
    rates, published = (
        [format_percent(row.aggregate(f"copy_rate{which}{of}")) for of in ("", "_null", "_excess")]
        for which in ("", "_published")
    )
    grouped = [format_percent(row.aggregate(name)) for name in ("grouped_rate", "grouped_rate_null")]
    first = row.records[0]
    unique = [format_ci(summarise_metric(row.aggregate(name)), 0) for name in ("unique_copies", "copied_groups")]
    return [row.attack, first.features or NOTHING, first.access, *rates, *unique, *published, *grouped]


def format_copy_excess(run: RunFolder) -> tuple[list[str], list[list[str]]]:
    """Titles and cells: a row a point, a column an attack, what lies beyond the calibrated null."""
    found = {point.name: {row.attack: row for row in list_copy_results(run, point)} for point in run.plan.points}
    attacks = list(dict.fromkeys(attack for rows in found.values() for attack in rows))
    cells = [
        [
            name,
            *(format_percent(rows[a].aggregate(COPY_EXCESS)) if a in rows else NOTHING for a in attacks),
        ]
        for name, rows in found.items()
        if rows
    ]
    return drop_empty_columns(["point", *attacks], cells)


def list_suspects(run: RunFolder) -> list[str]:
    """Attacks whose published threshold takes too many real images for copies, with that share, in words."""
    found: dict[str, list[AttackResult]] = {}
    for point in run.plan.points:
        for row in list_copy_results(run, point):
            if is_suspect(row):
                found.setdefault(row.attack, []).append(row)
    total = sum(any(list_copy_results(run, point)) for point in run.plan.points)
    return [
        f"{attack} ({format_percent(rows[0].aggregate('copy_rate_published_null'))} at {rows[0].point.name}"
        + (f"; {count_noun(len(rows), 'point')} of {total})" if len(rows) > 1 else ")")
        for attack, rows in found.items()
    ]


def list_useless(run: RunFolder) -> list[str]:
    """Thresholds beyond which every sample and every real image lies, in words, with the points where it is so."""
    found: dict[str, list[str]] = {}
    for point in run.plan.points:
        for row in list_copy_results(run, point):
            for published in (False, True):
                threshold = f"{'published' if published else 'calibrated'}, {row.attack}"
                if separates_nothing(row, published):
                    found.setdefault(threshold, []).append(point.name)
    total = sum(any(list_copy_results(run, point)) for point in run.plan.points)
    return [
        f"{threshold} ({'at every point' if len(points) == total else f'at {join_words(points)}'})"
        for threshold, points in found.items()
    ]


def format_transforms(run: RunFolder) -> tuple[list[str], list[list[str]]]:
    """Titles and cells: a row a point and attack that searched over transforms, the copies made by each."""
    rows = [row for point in run.plan.points for row in list_copy_results(run, point) if row.aggregate(_UNDER["as is"])]
    names = ["copy_rate", "copy_rate_null", *_UNDER.values()]
    cells = [[row.point.name, row.attack, *(format_percent(row.aggregate(name)) for name in names)] for row in rows]
    return ["point", "attack", "copies", "of real images", *_UNDER], cells


def format_guided(run: RunFolder) -> tuple[list[str], list[list[str]]]:
    """Images that attacks guided beside as many ordinary samples, by band of similarity."""
    titles = ["point", "attack", "band", "images in it", "of ordinary samples", "of real images"]
    titles += ["training images an image", "by ordinary samples"]
    rows = [
        row
        for point in representative_points(run)
        if point.role != "control"
        for row in list_copy_results(run, point)
        if row.aggregate("ams_low")
    ]
    return drop_empty_columns(titles, [_guided(row, band) for row in rows for band in BANDS])


def _guided(row: AttackResult, band: str) -> list[str]:
    shares = [format_percent(row.aggregate(f"ams_{band}{of}")) for of in ("", "_ordinary", "_null")]
    hits = [format_ci(row.aggregate(f"ums_{band}{of}"), 3) for of in ("", "_ordinary")]
    return [row.point.name, row.attack, band, *shares, *hits]


def guided_verdicts(run: RunFolder) -> list[str]:
    """Sentences on where guidance finds more than ordinary sampling, by intervals that do not overlap."""
    found = []
    for point in (point for point in representative_points(run) if point.role != "control"):
        for row in list_copy_results(run, point):
            more = [
                band for band in BANDS if _apart(row.aggregate(f"ams_{band}"), row.aggregate(f"ams_{band}_ordinary"))
            ]
            if row.aggregate("ams_low"):
                said = f"more images in band {join_words(more)}" if more else "no more images in any band was shown"
                found.append(f"**{point.name}**, {row.attack}: {said}")
    return found


def _apart(ours: Aggregate | None, ordinary: Aggregate | None) -> bool:
    return ours is not None and ordinary is not None and ours.summary.low > ordinary.summary.high


TEMPLATE = """\
## Copies by every attack

{% for name, titles, cells in baselines %}
**{{ name }}**:

{{ table(titles, cells) }}
{% endfor %}
"Copies": at or beyond a threshold that was calibrated on held-out real images; "of real images": the share of other
held-out images beyond it, none of which can be a copy; "beyond": the difference, which is the finding. "Published": the
same at the threshold that the paper fixes. An attack that asks for given images one by one (`inpaint_extraction`)
counts members that came back, the others count samples.
{% if people %}
"People copied": people (patients, scenes) of whom an image was copied; images of one person count once.
{% endif %}
{% if suspects %}

More than 1 % of never-trained-on images pass for copies at the published threshold of: {{ suspects | join_words }}.
{% endif %}
{% if useless %}

**A threshold separates nothing**: all samples and all real images lie beyond it, so that its copies are no finding:
{{ useless | join("; ") }}.
{% endif %}

Beyond the calibrated null, at every point:

{{ table(excess[0], excess[1]) }}
{% if transforms[1] %}
Copies by what tells them from their training image, as shares of all samples. One that is mirrored and relit counts for
both. These shares hold the copies by chance as well: only what lies beyond the null is a finding.

{{ table(transforms[0], transforms[1]) }}
{% endif %}
{% if guided[1] %}
Images that an attack has guided, beside as many ordinary samples (bands begin where 10 %, 5 % and 1 % of held-out
real images lie beyond):

{{ table(guided[0], guided[1]) }}
{% for words in verdicts %}
- {{ words }}.
{% endfor %}

{% endif %}

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """Copies by every attack; None where the trade-off says it all."""
    if not says_more_than_tradeoff(run):
        return None
    return {
        "baselines": format_baseline_copies(run),
        "people": run.plan.groups is not None,
        "excess": format_copy_excess(run),
        "suspects": list_suspects(run),
        "useless": list_useless(run),
        "transforms": format_transforms(run),
        "guided": format_guided(run),
        "verdicts": guided_verdicts(run),
    }
