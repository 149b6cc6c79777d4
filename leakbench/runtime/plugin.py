"""Access levels, and the base class of attacks and defenses: frozen, validated parameters."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class Access(IntEnum):
    """Access that the adversary has to a release. Each level includes those below it."""

    NONE = 0  # nothing: images only
    SAMPLES = 1  # generated images
    API = 2  # sample() and vary(): a hosted model
    DENOISER = 3  # eps(x, t, label) as the defended service answers, the schedule, sampler steps
    WEIGHTS = 4  # the raw network and all that ships with it, gradients


def fit_param(default: Any = ..., **constraints: Any) -> Any:
    """Declare a fit-stage parameter: changing it trains again. Takes pydantic's constraints (ge=0, ...)."""
    return Field(default, json_schema_extra={"stage": "fit"}, **constraints)


def release_param(default: Any = ..., **constraints: Any) -> Any:
    """Declare a release-stage parameter: changing it trains nothing. Takes pydantic's constraints."""
    return Field(default, json_schema_extra={"stage": "release"}, **constraints)


class Plugin(BaseModel):
    """Frozen, validated parameters. Unknown keys and values out of range are errors that name them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    group: ClassVar[str]  # of entry points, with `leakbench.` before it: "attacks" or "defenses"
    name: ClassVar[str]
    version: ClassVar[str] = "1"  # part of cache keys: raise it when the method changes in ways its code does not show
    summary: ClassVar[str] = ""

    @classmethod
    def parameters_of_stage(cls, stage: str) -> set[str]:
        """Names of the parameters of a stage, "fit" or "release"."""
        extra = {key: info.json_schema_extra for key, info in cls.model_fields.items()}
        return {key for key, value in extra.items() if isinstance(value, dict) and value.get("stage") == stage}
