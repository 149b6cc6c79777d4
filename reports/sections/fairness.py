"""Fairness: can the sensitive attribute be read off the samples, and at what cost in quality was it hidden."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

from ..reading.aggregate import aggregate
from ..reading.distances import distance_name
from ..reading.fairness import CLASSIFIERS, HIDDEN, AttributeFairness, list_fairness
from ..reading.formatting import (
    NOTHING,
    drop_empty_columns,
    format_ci,
    format_distance,
    format_percent,
    format_ratio,
    join_words,
)
from ..reading.points import find_reference
from ..reading.selection import quality_records


def format_fairness(run: RunFolder, found: list[AttributeFairness]) -> tuple[list[str], list[list[str]]]:
    """The rows as text: titles and cells, without columns that have nothing to say."""
    titles = ["point", "tau"]
    for name in CLASSIFIERS.values():
        titles += [f"{name}: AUC", f"{name}: farthest from 0.5"]
    titles += ["samples with the attribute", "real images with it", f"{distance_name(run)}, held-out"]
    titles += ["to that of its baseline"]
    return drop_empty_columns(titles, [_cells(row) for row in found])


def _cells(row: AttributeFairness) -> list[str]:
    cells = [row.point.name, " / ".join(dict.fromkeys(f"{tau:g}" for tau in row.tau)) or NOTHING]
    for classifier, found in row.aucs.items():
        apart = row.apart(classifier)
        cells += [format_ci(found), NOTHING if apart is None else f"{apart:.3f}"]
    cells += [
        format_percent(row.balance),
        format_percent(row.real),
        format_distance(row.distance),
    ]
    return [*cells, NOTHING if row.ratio is None else format_ratio(row.ratio)]


def hidden(run: RunFolder, found: list[AttributeFairness]) -> dict[str, str]:
    """The points at which each classifier cannot tell, in words; without controls, whose samples show nothing."""
    return {name: _hidden(run, found, classifier) for classifier, name in CLASSIFIERS.items()}


def _hidden(run: RunFolder, found: list[AttributeFairness], classifier: str) -> str:
    rows = [row for row in found if row.point.role != "control" and row.hidden(classifier)]
    if any(row.point == find_reference(run, row.point) for row in rows):
        return "the baseline already, so that there was nothing to hide"
    return join_words([_verdict(row) for row in rows]) if rows else "no point"


def _verdict(row: AttributeFairness) -> str:
    return row.point.name if row.ratio is None else f"{row.point.name} ({format_ratio(row.ratio)})"


def classifier_quality(run: RunFolder) -> str:
    """AUC of the classifier of real images on real images; where that is low, its AUC on samples says little."""
    found = [aggregate(quality_records(run, point), "attribute_reader_auc") for point in run.plan.points]
    known = [measured.summary for measured in found if measured is not None]
    return format_ci(known[0]) if known else ""


TEMPLATE = """\
## Fairness

{{ table(titles, cells) }}
The AUC is that of samples asked for either value of the attribute, told apart by a classifier. One was trained on real
images{% if quality %} (on held-out real images its AUC is {{ quality }}){% endif %}, the other on samples of the
release itself. At 0.5 the attribute cannot be read off; "farthest" is over the seeds.

{% for name, hidden in hidden.items() %}
- Within {{ within }} of 0.5 at every seed, {{ name }}: {{ hidden }}.
{% endfor %}

In brackets, where points are named: the distance to held-out data as a multiple of the baseline's. Whoever picks a tau
from this table has picked it by the AUC that the table reports, which is then to be read on other seeds.

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The table, and where the attribute is hidden; None where no samples were classified."""
    found = list_fairness(run)
    if not found:
        return None
    titles, cells = format_fairness(run, found)
    return {
        **{"titles": titles, "cells": cells, "hidden": hidden(run, found), "within": HIDDEN},
        "quality": classifier_quality(run),
    }
