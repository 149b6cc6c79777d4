"""The commands that make the run again, in order."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

TEMPLATE = """\
## How to reproduce

{% if commands | length > 1 %}
Each of these added to what was there before:

{% endif %}
{% for command in commands %}
    {{ command }}
{% else %}
The plan does not say by which command it was run.
{% endfor %}

`plan.json` holds the plan, `records/` each result with the hashes of its inputs and arrays.
"""


def collect(run: RunFolder) -> dict[str, Any]:
    """The commands."""
    return {"commands": run.plan.commands}
