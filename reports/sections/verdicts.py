"""Verdicts: what the strongest attack at each access level shows, point by point."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

from ..reading.exact_tests import is_few
from ..reading.marks import format_marks
from ..reading.verdicts import list_verdicts, verdict_without_model

TEMPLATE = """\
## Verdicts

{% for point, marks, found in verdicts %}
- **{{ point }}**{{ marks }}
{% for one in found %}
  - {{ one.levels | join(", ") }}, by {{ one.attack }}: {{ one.words }}
{% if one.defeat %}
    - defeated by its adaptive attack ({{ one.defeat.words }})
{% endif %}
{% else %}
  - nothing to judge: no membership attack was run
{% endfor %}
{% endfor %}

{% if few %}
Of few images exact tests judge in the place of intervals ("Few images", below).
{% endif %}
All attacks on a release, at every access level, are one family: their intervals hold together with 95 %, by AUC and by
TPR, so of releases that leak nothing at most 5 in 100 are said to leak, however many attacks are run. At a level stands
the attack that shows the most among those that need that level or less, by its corrected interval; the TPR may be
another attack's. "No leak found" is about the attacks that were run and about leaks at least as large as "would have
seen" says: four of five runs with such a leak would have shown it. With several seeds each is a release of its own.
{% if without_model %}

Without touching the model, {{ without_model }}.
{% endif %}

"""


def collect(run: RunFolder) -> dict[str, Any]:
    """The verdicts of every point."""
    return {
        "verdicts": [
            (point.name, format_marks(run, point.name), list_verdicts(run, point)) for point in run.plan.points
        ],
        "without_model": verdict_without_model(run),
        "few": any(map(is_few, run.records)),
    }
