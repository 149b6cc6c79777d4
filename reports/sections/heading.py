"""Title of report.md, and the warning where the track is invalid."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

from .controls import invalidating_attacks

TEMPLATE = """\
# Privacy audit: suite `{{ suite }}`

{% if invalid %}
> **This track is invalid.** A classifier that never saw the model tells members from nonmembers
> ({{ invalid | join_words }}): the split itself leaks, and the membership results below say nothing about the model.

{% endif %}
{% if not records %}
No records were found: nothing has been measured yet.

{% endif %}
"""


def collect(run: RunFolder) -> dict[str, Any]:
    """The suite, and the attacks that void its membership results."""
    suite = run.plan.suite or run.path.name
    return {"suite": suite, "invalid": invalidating_attacks(run), "records": len(run.records)}
