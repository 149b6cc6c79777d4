"""Verdicts: what the strongest attack at each access level shows, point by point."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

from ..reading.marks import format_marks
from ..reading.strongest import strongest
from ..reading.verdicts import list_verdicts, measured_levels, verdict_without_model

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
  - nothing to judge: no membership attack was run, or none has a calibration AUC to be chosen by
{% endfor %}
{% endfor %}

Each level's verdict is that of the strongest attack that needs that level or less. "No leak found" is about the attacks
that were run and about leaks at least as large as "would have seen" says: four of five runs with such a leak would have
shown it. "Leaks" is said where the interval of the AUC or that of the TPR excludes chance; of releases that leak
nothing, 5 to 7 in 100 are called so at each level.
{% if without_model %}

Without touching the model, {{ without_model }}.
{% endif %}
{% if blind_wins %}

At {{ blind_wins | join_words }} the chosen attack, for some seed at least, never touches the model: what it finds there
is no leak of the model.
{% endif %}

"""


def collect(run: RunFolder) -> dict[str, Any]:
    """The verdicts of every point."""
    return {
        "verdicts": [
            (point.name, format_marks(run, point.name), list_verdicts(run, point)) for point in run.plan.points
        ],
        "without_model": verdict_without_model(run),
        "blind_wins": list_blind_wins(run),
    }


def list_blind_wins(run: RunFolder) -> list[str]:
    """The points and levels at which the strongest attack, for some seed, is one that never touches the model."""
    found: dict[str, list[str]] = {}
    for point in run.plan.points:
        for level in measured_levels(run):
            if any(record.access == "NONE" for record in strongest(run, point, level).values()):
                found.setdefault(point.name, []).append(level)
    return [f"{name} ({', '.join(levels)})" for name, levels in found.items()]
