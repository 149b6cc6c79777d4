"""The health flags of a run and the meaning of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leakbench.results.flags import explain_flag
from leakbench.results.run_folder import RunFolder

MANY = 8  # attacks: more are counted


@dataclass(frozen=True)
class RaisedFlag:
    """A flag, on how many records and of which attacks it stands."""

    name: str
    records: int
    attacks: list[str]

    @property
    def meaning(self) -> str:
        """The meaning in one line."""
        return explain_flag(self.name)

    @property
    def who(self) -> str:
        """The attacks, by name unless they are many."""
        return ", ".join(self.attacks) if len(self.attacks) <= MANY else f"{len(self.attacks)} attacks"


def list_raised_flags(run: RunFolder) -> list[RaisedFlag]:
    """Flags of the run's records, by name."""
    found: dict[str, list[str]] = {}
    for record in run.records:
        for flag in record.flags:
            found.setdefault(flag, []).append(record.attack)
    return [RaisedFlag(name, len(attacks), sorted(set(attacks))) for name, attacks in sorted(found.items())]


TEMPLATE = """\
## Health flags

{% for flag in flags %}
- `{{ flag.name }}` ({{ flag.records | counted("record") }}; {{ flag.who }}): {{ flag.meaning }}.
{% else %}
None was raised.
{% endfor %}

"""


def collect(run: RunFolder) -> dict[str, Any]:
    """The flags of the run's records."""
    return {"flags": list_raised_flags(run)}
