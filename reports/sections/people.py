"""People rather than pictures: by images that were used, by persons, and by other photographs of these."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

from ..reading.formatting import NOTHING, drop_empty_columns, format_ci, rate_title
from ..reading.persons import UNITS, UnitLeaks, count_persons, list_unit_leaks
from ..reading.tradeoff_text import format_rate
from ..reading.void import list_void_reasons

_TITLES = {"image": "by image", "person": "by person", "identity": "by other images of the person"}


def _cells(row: UnitLeaks) -> list[str]:
    cells = [row.point.name, ", ".join(row.levels)]
    for unit in UNITS:
        leak = row.by_unit.get(unit)
        cells.append(NOTHING if leak is None else f"{leak.attack} {format_ci(leak.auc)}".replace(f"@{unit}", ""))
        cells.append(NOTHING if leak is None else format_rate(leak).replace(f"@{unit}", ""))
    return cells


TEMPLATE = """\
## People

Several images are of one person (patient, scene). Attacks are asked about images, and about persons:

{{ table(titles, cells) }}
- **By image**: was this image used?
- **By person** (`@person`): were these images of the person used? One score a person, joined from the scores of the
  images that were trained on, or of as many of a person who was not. Whoever protects people reads this column: an
  attacker who holds several pictures of somebody has it.
{% if identity %}
- **By other images of the person** (`@identity`): was anything of the person used? The same, asked by images of the
  person on which nothing was trained. A model that gives this away knows the person, and not a picture.
{% endif %}

An AUC is that of the strongest attack on each question at that access level, by intervals that are corrected for all
attacks and all questions on the release, and so is each TPR; where that is another attack's, it is named. Intervals by
image count persons, not images; on the side with fewer there are {{ persons }} persons
{%- if identities not in (0, persons) %}, and {{ identities }} who are asked about by other images{% endif %}.
The strongest answer stands in the trade-off and in the verdicts.
{% if void %}
The track is void: no leak is concluded from any of these.
{% endif %}

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The table; None where no attack was asked about persons."""
    found = list_unit_leaks(run)
    if not found:
        return None
    rate = rate_title(run.plan.headline)
    titles = ["point", "needs"]
    for unit in UNITS:
        titles += [f"AUC {_TITLES[unit]}", f"{rate} {_TITLES[unit]}"]
    titles, cells = drop_empty_columns(titles, [_cells(row) for row in found])
    persons, identities = (count_persons(run, unit) for unit in UNITS[1:])
    return {
        "titles": titles,
        "cells": cells,
        "persons": persons,
        "identity": identities > 0,
        "identities": identities,
        "void": bool(list_void_reasons(run)),
    }
