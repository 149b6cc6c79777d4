"""Attacks that were not run on some releases, and why: the reasons that the records keep."""

from __future__ import annotations

from leakbench.results.flags import Flag
from leakbench.results.run_folder import RunFolder

from .formatting import join_words

_NAMED = 2  # points: more are counted
_UNKNOWN = "its record gives no reason"


def list_inapplicable(run: RunFolder) -> list[str]:
    """One line for each reason, by attack: `pia (at baseline) and sima (at 3 of 5 points): reason`."""
    points: dict[tuple[str, str], list[str]] = {}
    for record in run.records:
        if Flag.NOT_APPLICABLE in record.flags:
            reason = str(record.info.get("skipped", "")).rstrip(".") or _UNKNOWN
            found = points.setdefault((reason, record.attack), [])
            if record.point not in found:
                found.append(record.point)
    lines: dict[str, list[str]] = {}
    for reason, attack in sorted(points, key=lambda key: (key[1], key[0])):
        lines.setdefault(reason, []).append(f"{attack} ({_where(points[reason, attack], len(run.plan.points))})")
    return [f"{join_words(attacks)}: {reason}" for reason, attacks in lines.items()]


def _where(points: list[str], of: int) -> str:
    if len(points) == of > 1:
        return "at every point"
    return f"at {join_words(points)}" if len(points) <= _NAMED else f"at {len(points)} of {of} points"
