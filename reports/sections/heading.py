"""Title of report.md."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

TEMPLATE = """\
# Privacy audit: suite `{{ suite }}`

{% if not records %}
No records were found: nothing has been measured yet.

{% endif %}
"""


def collect(run: RunFolder) -> dict[str, Any]:
    """The suite, and the number of records."""
    return {"suite": run.plan.suite or run.path.name, "records": len(run.records)}
