"""The budget that a private defense is given: `epsilon`, from which the noise follows, or `noise_multiplier`."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ValidationInfo
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


def leave_epsilon_out(given: Any) -> Any:
    """Parameters as given; whoever writes a noise multiplier need not take the default epsilon back."""
    if isinstance(given, dict) and given.get("noise_multiplier") is not None:
        return {"epsilon": None} | given
    return given


def check_one_of_two(epsilon: Any, others: ValidationInfo) -> Any:
    """Epsilon, where either it or a noise multiplier is given; raises PydanticCustomError for both and for neither."""
    if (epsilon is None) == (others.data.get("noise_multiplier") is None):
        words = 'a number or "inf"' if epsilon is None else "left out"
        given = "not given" if epsilon is None else "given"
        raise PydanticCustomError("one_of_two", f"{words}, since noise_multiplier is {given}")
    return epsilon
