"""The trade-off: the table of quality against leakage, and how to read it."""

from __future__ import annotations

from typing import Any

from leakbench.results.metric_specs import INFINITE_DISTANCE
from leakbench.results.run_folder import RunFolder

from ..reading.distances import has_distances_apart, images_a_side
from ..reading.extra_columns import list_extra_columns
from ..reading.formatting import join_words
from ..reading.tradeoff_text import format_tradeoff
from .setting import describe_setting

TEMPLATE = """\
## The trade-off

{{ table(titles, cells) }}
{% if seeds == 1 %}
Brackets are 95 % intervals of the one seed; they do not say how much another training would differ.
{% elif seeds == 2 %}
Two seeds: their mean, and in brackets the envelope of their two 95 % intervals. Two seeds are too few for a standard
deviation.
{% else %}
{{ seeds }} seeds: their mean, and in brackets a 95 % interval that accounts for the images and for the seeds.
{% endif %}

{% if apart %}
These records hold further distances, the floor among them, that were made at another number of images: they are not
shown beside these, since a distance falls with that number. A run of today makes all at one.

{% endif %}
{% if images %}
Distances are those of {{ images }} images a side, and their intervals hold the distance expected at that number, never
the one between the two laws: that is smaller, and so is its floor.
{% if extrapolated %}
The column "held-out distance of infinitely many" extrapolates to it.
{% else %}
`quality.measures = ["fd_infinity"]` in the suite extrapolates to it where samples suffice.
{% endif %}

{% endif %}
"Strongest" is the attack that shows the most among those that need that level or less, by an interval that is
corrected for all attacks on the release; of several seeds, at each. The TPR is that of another attack where one is
named beside it. Leakage is two-sided: where members score lower on the calibration images, the attack is read with
the opposite sign, there and on the reported images alike. `(inverted)` beside its name says that its raw AUC lies
below 0.5. `results.csv` has both readings. Copies beyond the null can be negative: fewer samples than held-out real
images then passed for copies.

"""


def collect(run: RunFolder) -> dict[str, Any]:
    """The table, the number of seeds, and the number of images that distances are made of."""
    titles, cells = format_tradeoff(run)
    return {
        "titles": titles,
        "cells": cells,
        "seeds": len(describe_setting(run)["seeds"]),
        "apart": has_distances_apart(run),
        "images": join_words(list(map(str, images_a_side(run)))),
        "extrapolated": INFINITE_DISTANCE in list_extra_columns(run),
    }
