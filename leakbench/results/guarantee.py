"""Differential-privacy guarantee of a release: what its maker states, which nothing in a run can prove."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Guarantee(BaseModel):
    """(epsilon, delta)-differential privacy of the training data; without any field it states nothing.

    accountant: what computed epsilon, such as "prv" or "rdp". adjacency: which data sets are neighbours: those of which
    one lacks a unit's contribution while their size and all that follows from it stay the same (zero-out), those that
    differ by one unit added or removed, or by one replaced. unit: whom it protects: one image, or all images of a group
    (a person, a scene). history: (noise multiplier, sampling rate, steps) of every noisy training so far, which is what
    composes; () where no member was ever read, None where it is not known. void: why an earlier guarantee was lost; it
    then states nothing else. facts: further JSON facts of the mechanism, such as its clipping norm, or
    `epsilon_replace_one`, its epsilon for neighbours that differ by one unit replaced.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epsilon: Annotated[float, Field(ge=0)] | None = None
    delta: Annotated[float, Field(ge=0, lt=1)] | None = None
    accountant: str | None = None
    adjacency: Literal["zero-out", "add-or-remove", "replace"] | None = None
    unit: Literal["image", "group"] | None = None
    history: tuple[tuple[float, float, int], ...] | None = None
    void: str | None = None
    facts: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _void_states_nothing(self) -> Self:
        if self.void is not None and self.epsilon is not None:
            raise ValueError("a guarantee that is void states no epsilon")
        return self

    @property
    def is_stated(self) -> bool:
        """Tell whether anything is stated: an epsilon, or why there is none any longer."""
        return bool(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Fields that are stated, and the facts beside them: what a record holds under `guarantee`."""
        return self.model_dump(mode="json", exclude={"facts"}, exclude_none=True) | self.facts

    @classmethod
    def from_json(cls, stated: dict[str, Any]) -> Self:
        """Guarantee of a record, its facts being all that is no field of its own. Raises ValidationError."""
        known = {key: value for key, value in stated.items() if key in cls.model_fields and key != "facts"}
        return cls(**known, facts={key: value for key, value in stated.items() if key not in known})
