"""The command that makes the run again."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

TEMPLATE = """\
## How to reproduce

{% if command %}
    {{ command }}
{% else %}
The plan does not say by which command it was run.
{% endif %}

`plan.json` holds the plan, `records/` each result with the hashes of its inputs and arrays.
"""


def collect(run: RunFolder) -> dict[str, Any]:
    """The command."""
    return {"command": run.plan.command_line}
