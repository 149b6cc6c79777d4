"""Claims judged by a run, as Python reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from leakbench.reports.claims.judge import Judgement
from leakbench.reports.claims.words import explain, format_counts, format_judgement

if TYPE_CHECKING:
    import pandas as pd


class Judgements(Sequence[Judgement]):
    """The judgements of a file of claims, one a claim and point, in the order of the file."""

    def __init__(self, found: Sequence[Judgement]) -> None:
        self._found = tuple(found)

    @property
    def words(self) -> str:
        """What `leakbench check claims` prints."""
        return "\n".join([*map(format_judgement, self._found), format_counts(self._found)])

    def table(self) -> pd.DataFrame:
        """All judgements, a row each.

        Columns: `claim`, `point`, `outcome` ("holds", "broken", "undecided"); `attack`, `access`, `metric`; `value`,
        `low` and `high`: what was found, with its interval of the `confidence`; `margin`, by which the interval lies
        within the bound; `images` on a side that would decide it; `power`, at least, at a `truth`; `found`: all of it
        in words. Numbers are NaN where there are none.
        """
        import pandas as pd

        rows = []
        for one in self._found:
            told = {"claim": one.claim.name, "point": one.point, "outcome": one.outcome}
            told |= {"attack": one.attack or one.claim.attack, "access": one.access, "metric": one.claim.metric}
            ends = (None, None, None) if one.found is None else (one.found.value, one.found.low, one.found.high)
            told |= dict(zip(_NUMBERS[:3], ends, strict=True))
            power = (None, None) if one.power is None else (one.power.probability, one.power.truth)
            told |= dict(zip(_NUMBERS[3:], (one.level or None, one.margin, one.images, *power), strict=True))
            rows.append(told | {"found": explain(one)})
        return pd.DataFrame(rows).astype(dict.fromkeys(_NUMBERS, float))

    @overload
    def __getitem__(self, index: int) -> Judgement: ...

    @overload
    def __getitem__(self, index: slice) -> Judgements: ...

    def __getitem__(self, index: int | slice) -> Judgement | Judgements:
        return Judgements(self._found[index]) if isinstance(index, slice) else self._found[index]

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"Judgements({format_counts(self._found)!r})"


_NUMBERS = ("value", "low", "high", "confidence", "margin", "images", "power", "truth")
