"""Further measures of samples that a suite asked for: beside the distances, each with its interval and its null."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

from ..reading.aggregate import aggregate
from ..reading.formatting import NOTHING, drop_empty_columns, format_metric
from ..reading.selection import quality_records

_COLUMNS = {
    "frechet_heldout_infinite": "distance of infinitely many",
    "fld": "FLD",
    "fld_gap": "gap of FLD",
    "fld_gap_null": "its null",
    "fld_gap_excess": "gap beyond null",
    "authenticity": "authentic",
    "authenticity_null": "their null",
    "authenticity_excess": "authentic beyond null",
    "c_t": "C_T",
    "vendi": "Vendi score",
    "vendi_real": "Vendi score, real",
    "utility": "utility",
    "utility_real": "utility, real",
}

TEMPLATE = """\
## Further measures of the samples

{{ table(titles, cells) }}
{% if "distance of infinitely many" in titles %}
- **Distance of infinitely many**: the Frechet distance to held-out images of the trade-off falls as images get more;
  this is what it is extrapolated to, and its interval speaks of the two laws. It can be below zero.
{% endif %}
{% if "FLD" in titles %}
- **FLD**: how much less likely held-out images are by Gaussians around the samples than by Gaussians around training
  images, in hundredths of a nat a feature: 0 is as good as real images, more is worse. Its **gap** is the same
  likelihood's difference between training and held-out images; beyond the null (the two swapped) it is below 0 where
  samples copy.
{% endif %}
{% if "authentic" in titles %}
- **Authentic**: samples no closer to a training image than training images are to one another. Fewer than with held-out
  images in their place (the null): samples copy.
{% endif %}
{% if "C_T" in titles %}
- **C_T**: are samples (below 0) or held-out images (above 0) closer to training images? Copying where the interval lies
  below 0; above 0 the samples are far from all real images. It grows with the number of images.
{% endif %}
{% if "Vendi score" in titles %}
- **Vendi score**: the number of different images in effect, of samples and of as many held-out images.
{% endif %}
{% if "utility" in titles %}
- **Utility**: accuracy on held-out real images of a classifier that was trained and chosen on samples alone; beside it
  that of one trained on no more real training images.
{% endif %}

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The table; None where the suite asked for none of them."""
    cells = []
    for point in run.plan.points:
        records = quality_records(run, point)
        cells.append([point.name, *(format_metric(name, aggregate(records, name)) for name in _COLUMNS)])
    titles, cells = drop_empty_columns(["point", *_COLUMNS.values()], cells)
    kept = [row for row in cells if set(row[1:]) != {NOTHING}]
    return {"titles": titles, "cells": kept} if len(titles) > 1 else None
