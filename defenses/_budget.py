"""The budget that a private defense is given: `epsilon`, from which the noise follows, or `noise_multiplier`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError


def _number_or_inf(value: Any) -> Any:
    """A number as a float; TOML's inf as the word."""
    if value is None:
        return None
    if value in ("inf", math.inf):
        return "inf"
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
        raise PydanticCustomError("budget", 'a number greater than 0, or "inf"')
    return float(value)


Budget = Annotated[float | Literal["inf"] | None, BeforeValidator(_number_or_inf)]


class PrivateBudget(BaseModel):
    """Rules of how much noise a private defense adds: by a multiplier, or by an epsilon, and not both.

    Each defense declares `noise_multiplier`, `epsilon` and `delta` (None: n^-1.1) itself, the multiplier first: names
    of random streams hold its parameters in their order, in which those of a class above it would come first.
    """

    if TYPE_CHECKING:
        noise_multiplier: float | None
        epsilon: Budget
        delta: float | None

    @model_validator(mode="before")
    @classmethod
    def _one_is_enough(cls, given: Any) -> Any:
        """Whoever writes a noise multiplier need not take the default epsilon back."""
        if isinstance(given, dict) and given.get("noise_multiplier") is not None:
            return {"epsilon": None} | given
        return given

    @field_validator("epsilon", check_fields=False)
    @classmethod
    def _not_both(cls, epsilon: Any, others: ValidationInfo) -> Any:
        if (epsilon is None) == (others.data.get("noise_multiplier") is None):
            words = 'a number or "inf"' if epsilon is None else "left out"
            given = "not given" if epsilon is None else "given"
            raise PydanticCustomError("one_of_two", f"{words}, since noise_multiplier is {given}")
        return epsilon

    def delta_of(self, images: int) -> float:
        """delta: n^-1.1 unless given."""
        return float(images**-1.1) if self.delta is None else self.delta
