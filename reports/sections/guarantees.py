"""Guarantees: what releases state of differential privacy, and which guarantees were lost on the way and why."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

from ..reading.formatting import drop_empty_columns
from ..reading.guarantees import TITLES, list_guarantees

TEMPLATE = """\
## Guarantees

{% if cells %} Differential privacy as the releases state it: for two neighbouring trainings no outcome is more than
e^epsilon times as likely with one as with the other, but for a probability of delta. Neighbours are what the columns
"unit" and "adjacency" say: of "zero-out", one image contributes nothing to one of them while the number of images and
all that follows from it stay the same; of "add-or-remove", one has an image more; "one replaced" is the epsilon of the
same training where one image is exchanged for another, which is larger.{% if grouped %} Images come in groups here
(people, patients). Where the unit is "group", all images of a person take the place of one image; "by group" is the
epsilon for all images of a person together, at most as many as stand in brackets where each was drawn by itself. It is
the one that protects a person.{% endif %} Compare epsilons of one adjacency only{% if grouped %}, and of one
unit{% endif %}. The accountant computed them. The attacks above can refute it, and cannot prove it.

{{ table(titles, cells) }}
{% endif %}
{% for name, words in notes %}
- **{{ name }}**: {{ words }}.
{% endfor %}
{% if notes %}

{% endif %}
Points that are not named here state no guarantee.

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The table of those that hold, and notes on the others; None where nothing but controls states any."""
    found = list_guarantees(run)
    if not found:
        return None
    titles, cells = drop_empty_columns(list(TITLES), [one.cells for one in found if one.holds])
    notes = [(one.point.name, f"void, since {one.void}") for one in found if one.void]
    notes += [(one.point.name, one.beside) for one in found if one.holds and one.beside]
    notes += [(one.point.name, f"states {one.others}") for one in found if one.others]
    return {"titles": titles, "cells": cells, "notes": notes, "grouped": "epsilon by group (images)" in titles}
