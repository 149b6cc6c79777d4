"""The settings that --budget made smaller, and the rows that it left out."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import EmptyRow

TEMPLATE = """\
> **This suite was {{ head }}**. As published or as written -> as run:
{% for line in lines %}
> - {{ line }}
{% endfor %}
{% if left_out %}
>
> Left out, as these minutes buy no row that means anything:
{% for line in left_out %}
> - {{ line }}
{% endfor %}
{% endif %}

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The settings that --budget changed; None where it changed nothing."""
    budget = run.plan.budget
    if not budget or not (budget.changes or budget.empty):
        return None
    lines = [f"`{one.path}`: {_value(one.published)} -> {_value(one.used)}" for one in budget.changes]
    small = "its sizes for small machines, and of these " if budget.small else ""
    head = f"scaled to a budget of {budget.minutes:g} minutes: {small}steps and samples x{budget.factor:g}"
    return {"head": head, "lines": lines, "left_out": [_describe_empty(row) for row in budget.empty]}


def _describe_empty(row: EmptyRow) -> str:
    least = ", ".join(f"{value:,} {key}" for key, value in row.least.items())
    if row.minutes is None:
        return f"`{row.row}`: at no budget: {row.reason}"
    return f"`{row.row}`: it needs {least or 'its audit'}, from `--budget {row.minutes}` on"


def _value(value: object) -> str:
    if value is None:
        return "the default"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
