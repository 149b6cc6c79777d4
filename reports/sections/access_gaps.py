"""Access gaps: attacks on the answers beside the same attacks on the weights, where a defense makes these differ."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

from ..reading.access_gaps import list_access_gaps, top_access_gaps
from ..reading.formatting import format_ci
from ..reading.pretrained import only_samples_asked

TITLES = ["point", "attack", "AUC at DENOISER", "AUC at WEIGHTS", "WEIGHTS - DENOISER"]
TEMPLATE = """\
## What is answered against what ships

{% if cells %}
Where a defense changes the answers and not the weights, it does not hold back whoever has the weights. Of each point,
at most the three attacks are shown that the calibration images put first; the others are in `results.csv`. Intervals
are each attack's own.

{{ table(titles, cells) }}
{% elif only_samples %}
Nothing was asked for but generated images: there are neither answers nor weights to compare.

{% else %}
No release answers differently from its weights: DENOISER and WEIGHTS are the same computation.

{% endif %}
"""


def collect(run: RunFolder) -> dict[str, Any]:
    """The gaps of each point's strongest attacks."""
    gaps = top_access_gaps(run, list_access_gaps(run))
    cells = [[g.point, g.attack, *map(format_ci, (g.denoiser, g.weights, g.difference))] for g in gaps]
    return {"titles": TITLES, "cells": cells, "only_samples": only_samples_asked(run)}
