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
    composes; () where no member was ever read, None where it is not known. group_size: the largest number of images of
    one group that were trained on, where each was drawn by itself: rates are those of images then; None where images
    come in no groups, or groups were drawn whole. void: why an earlier guarantee was lost; it then states nothing else.
    facts: further JSON facts of the mechanism, such as its clipping norm, or its epsilon for others: of neighbours that
    differ by one unit replaced (`epsilon_replace_one`), by image (`epsilon_by_image`) or by group (`epsilon_by_group`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epsilon: Annotated[float, Field(ge=0)] | None = None
    delta: Annotated[float, Field(ge=0, lt=1)] | None = None
    accountant: str | None = None
    adjacency: Literal["zero-out", "add-or-remove", "replace"] | None = None
    unit: Literal["image", "group"] | None = None
    history: tuple[tuple[float, float, int], ...] | None = None
    group_size: Annotated[int, Field(ge=1, le=100_000)] | None = None
    void: str | None = None
    facts: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _void_states_nothing(self) -> Self:
        if self.void is not None and self.epsilon is not None:
            raise ValueError("a guarantee that is void states no epsilon")
        return self

    @property
    def by_group(self) -> float | None:
        """Epsilon for all images of a group together; None where it states none."""
        found = self.epsilon if self.unit == "group" else self.facts.get("epsilon_by_group")
        return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None

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
