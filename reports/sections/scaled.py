"""The settings that --budget made smaller."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

TEMPLATE = """\
> **This suite was {{ head }}**. As published or as written -> as run:
{% for line in lines %}
> - {{ line }}
{% endfor %}

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The settings that --budget changed; None where it changed nothing."""
    budget = run.plan.budget
    if not budget or not budget.changes:
        return None
    lines = [f"`{one.path}`: {_value(one.published)} -> {_value(one.used)}" for one in budget.changes]
    small = "its sizes for small machines, and of these " if budget.small else ""
    head = f"scaled to a budget of {budget.minutes:g} minutes: {small}steps and samples x{budget.factor:g}"
    return {"head": head, "lines": lines}


def _value(value: object) -> str:
    if value is None:
        return "the default"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
