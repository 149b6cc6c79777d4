"""Findings of a check of a submission: what does not agree, what is missing, and what could not be checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from leakbench.runtime.errors import to_printable

_LONGEST = 300  # characters of a line; most of it comes from a stranger
_MOST = 100  # lines of a kind that are kept


@dataclass
class Findings:
    """Lines for people, one a finding, without characters that do not print.

    disagreements: what does not agree. missing: cells without a record. notes: what could not be checked here, and
    cells that were not run, with the reason told. counts: how many of each there were; no more than 100 are kept.
    """

    disagreements: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    numbers: int = 0  # that were computed again

    def disagree(self, words: str) -> None:
        """Add what does not agree."""
        self._add("disagreements", words)

    def miss(self, words: str) -> None:
        """Add a cell without a record."""
        self._add("missing", words)

    def note(self, words: str) -> None:
        """Add what could not be checked, once."""
        if printable(words) not in self.notes:
            self._add("notes", words)

    def _add(self, kind: str, words: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] <= _MOST:
            getattr(self, kind).append(printable(words))

    def left_out(self, kind: str) -> int:
        """The number of findings of a kind that were not kept."""
        return max(0, self.counts.get(kind, 0) - _MOST)


def printable(words: str) -> str:
    """The words as one line of no more than 300 characters, all of which print."""
    line = to_printable(words)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
