"""Times and sizes as people type them: 30d, 12h, 20GB."""

from __future__ import annotations

import re

from leakbench.runtime.errors import UsageError

_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {"": 1, "B": 1} | {
    f"{letter}{ending}": base**power
    for power, letter in enumerate("KMGT", start=1)
    for ending, base in (("B", 1000), ("iB", 1024))
}
_SIZES = {unit.upper(): factor for unit, factor in _BYTES.items()}  # people type gb as well
_NUMBER = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([A-Za-z]{0,3})")


def parse_age(option: str, text: str) -> float:
    """Seconds, of a number with m, h, d or w behind it. Raises UsageError."""
    matched = _NUMBER.fullmatch(text)
    if matched is None or matched[2] not in _SECONDS:
        raise UsageError(f"{option} {text}: should be a number of minutes, hours, days or weeks: 90m, 12h, 30d, 4w")
    return float(matched[1]) * _SECONDS[matched[2]]


def parse_size(option: str, text: str) -> int:
    """Bytes, of a number with a unit behind it: B, KB, MB, GB, TB, or KiB and so on. Raises UsageError."""
    matched = _NUMBER.fullmatch(text)
    if matched is None or matched[2].upper() not in _SIZES:
        raise UsageError(f"{option} {text}: should be a number of bytes with its unit: 500MB, 20GB, 1.5TB, 16GiB")
    return int(float(matched[1]) * _SIZES[matched[2].upper()])


def format_size(count: int) -> str:
    """Bytes in the largest unit of which there is one: `3.1 GB`."""
    for unit in ("TB", "GB", "MB", "KB"):
        if count >= _BYTES[unit]:
            return f"{count / _BYTES[unit]:.1f} {unit}"
    return f"{count} B"
