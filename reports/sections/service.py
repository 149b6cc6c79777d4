"""Calls of a hosted model: what they came to, and what each attack asked an image."""

from __future__ import annotations

from typing import Any

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder

from ..reading.formatting import format_calls
from ..reading.selection import quality_records

TEMPLATE = """\
## Calls of the service

{% for words in services %}
- {{ words }}.
{% endfor %}

{% if cells %}
Calls for one image, of each attack as if it ran alone; equal questions of two attacks are asked once, and samples are
drawn once for all.

{{ table(titles, cells) }}

{% endif %}
Every answer is kept on this machine, and the same command asks nothing again. Calls are counted when they are sent,
those of failed tries and of earlier runs among them.

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The calls of each service; None where no model was hosted."""
    services, cells = [], []
    for point in run.plan.points:
        facts = [one.info.get("defense", {}) for one in quality_records(run, point)]
        names = [one for one in facts if one.get("service")]
        if not names:
            continue
        records = [one for one in run.records if one.point == point.name]
        services.append(_describe(str(names[0]["service"]), float(names[0].get("price_per_call") or 0), records))
        asked = {one.attack_id: one.queries for one in records if one.access == "API" and one.metrics}
        cells += [[point.name, attack, format_calls(queries)] for attack, queries in sorted(asked.items())]
    return (
        {"services": services, "titles": ["release", "attack", "calls an image"], "cells": cells} if services else None
    )


def _describe(service: str, price: float, records: list[Record]) -> str:
    """The most that any record had counted."""
    calls = max((one.run.calls.get("service_calls", 0.0) for one in records), default=0.0)
    money = max((one.run.calls.get("service_price", 0.0) for one in records), default=0.0)
    words = f"`{service}`: {calls:,.0f} calls so far"
    return f"{words}, price {money:,.2f}, at {price:g} a call" if price else words
