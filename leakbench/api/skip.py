"""Reasons not to run a plugin somewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Skip:
    """Reason why a plugin is not run somewhere.

    severity: "cannot-work" refuses the run beforehand, in one line that names the suite, the plugin and the reason.
        "not-applicable" is for attacks: the record says so with the flag of that name, and nothing failed.
    reason: one line without a final dot that says what is wrong and what would be right.
    flags: further flags of the record, such as "lpips-missing".
    """

    reason: str
    severity: Literal["not-applicable", "cannot-work"] = "cannot-work"
    flags: tuple[str, ...] = ()
