"""The file of claims, claims.toml: one [[claim]] a sentence that a run is to bear out.

[[claim]]
name = "CPSample ends copying"
defense = "cpsample"                # its id in the suite; all points of its sweep, or those with
parameters = { alpha = 0.25 }
attack = "nearest_copy_pixels"      # an id, a family (membership, replication, ...), "strongest", or "guarantee"
metric = "copy_rate_excess"         # as results.csv names it
at_most = 0.02                      # or at_least = ..., or within = [low, high]
against = "baseline"                # optional: the bound is of the difference to that point
access = "DENOISER"                 # optional: the level at which, or (strongest) up to which, it is attacked; left
                                    # out, the least measured of an attack, and (strongest) the most
confidence = 0.95                   # optional
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from leakbench.results.record import AccessName
from leakbench.runtime.errors import UsageError
from leakbench.runtime.toml_file import read_toml, validate

from .stated import GUARANTEE, STATED

Parameter = str | float | bool
_Word = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
STRONGEST = "strongest"  # of all membership attacks that need the access level or less
_BOUNDS = ("at_most", "at_least", "within")
_MOST_BYTES = 2**20


class Claim(BaseModel):
    """One [[claim]] of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: _Word
    defense: _Word
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    attack: _Word
    access: AccessName | None = None
    metric: _Word = "auc"
    at_most: float | None = None
    at_least: float | None = None
    within: tuple[float, float] | None = None
    against: _Word | None = None
    confidence: float = Field(0.95, ge=0.5, le=0.999999)

    @model_validator(mode="after")
    def _one_bound(self) -> Claim:
        given = [name for name in _BOUNDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a claim with one of {', '.join(_BOUNDS)}; it has {' and '.join(given) or 'none'}")
        if self.within is not None and self.attack == STRONGEST:
            raise ValueError("a claim on one attack or on a family where it is `within`; it is on the strongest")
        if self.within is not None and self.within[0] > self.within[1]:
            raise ValueError(f"a claim whose `within` goes upwards; it is {list(self.within)}")
        if self.attack == GUARANTEE and (self.metric not in STATED or self.against or self.access):
            raise ValueError(f"a claim on a guarantee with metric = {' or '.join(STATED)}, without against and access")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest value that are claimed; infinite where only one is."""
        if self.within is not None:
            return self.within
        low = float("-inf") if self.at_least is None else self.at_least
        return low, float("inf") if self.at_most is None else self.at_most

    @property
    def bound_words(self) -> str:
        """The bound as a person says it: "at most 0.6"."""
        if self.within is not None:
            return f"within [{self.within[0]:g}, {self.within[1]:g}]"
        return f"at most {self.at_most:g}" if self.at_most is not None else f"at least {self.at_least:g}"


def read_claims(path: Path) -> list[Claim]:
    """Read and check a file of claims. Raises UsageError: one line that names the file, the claim, the key and what
    would be right."""
    if path.is_file() and path.stat().st_size > _MOST_BYTES:
        raise UsageError(f"{path}: larger than 1 MiB: that is no file of claims")
    table = read_toml(path)
    unknown, rows = sorted(set(table) - {"claim"}), table.get("claim")
    if unknown:
        raise UsageError(f"{path}: unknown key {unknown[0]!r}; it holds [[claim]] tables and nothing else")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{path}: holds no [[claim]] table")
    claims: list[Claim] = [validate(Claim, row, f"{path}: claim {n}") for n, row in enumerate(rows, start=1)]
    counts = Counter(claim.name for claim in claims)
    if twice := next((name for name, count in counts.items() if count > 1), None):
        raise UsageError(f"{path}: two claims have the name {twice!r}; name each differently")
    return claims
