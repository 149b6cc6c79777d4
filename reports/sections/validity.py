"""Results of this run that mean nothing: a void track, and rows of defenses that changed or learned nothing."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

from ..reading.marks import find_marks
from ..reading.void import list_void_reasons

TEMPLATE = """\
{% if void %}
> **This track is void**: {{ void | map(attribute="words") | join("; ") }}. Membership results of this run say nothing
> about any model.

{% endif %}
{% for point, marks in marked %}
> **{{ point }}** means nothing here: {% for mark in marks %}{{ mark.words }} (`{{ mark.flag }}`)
{%- if not loop.last %}; {% endif %}{% endfor %}.

{% endfor %}
"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The reasons for which the track is void, and the points whose rows mean nothing; None without any."""
    void = list_void_reasons(run)
    marked = [(p.name, marks) for p in run.plan.points if (marks := find_marks(run, p.name))]
    return {"void": void, "marked": marked} if void or marked else None
