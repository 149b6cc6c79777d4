"""Schedulers of diffusers that are known here, and what their settings alone tell. No torch, no diffusers.

leakbench.models.pretrained.prediction says what is made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from leakbench.models.schedule import Schedule
from leakbench.runtime.errors import UsageError, nearest_name

Target = Literal["epsilon", "v_prediction", "sample"]
TARGETS: tuple[str, ...] = get_args(Target)

EDM = ("EDMDPMSolverMultistepScheduler", "EDMEulerScheduler")
DDPM_LIKE = (
    "DDIMInverseScheduler",
    "DDIMParallelScheduler",
    "DDIMScheduler",
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)


def check_scheduler(config: Mapping[str, Any] | None, override: str | None, where: str) -> None:
    """Check that a scheduler is of a known class, and that a network without one says what it predicts (`override`).

    Raises UsageError.
    """
    if override is not None and override not in TARGETS:
        raise UsageError(f"{where}: prediction = {override!r}: it should be one of {', '.join(TARGETS)}")
    if config is None:
        if override is None:
            raise UsageError(
                f"{where}: a network without a scheduler does not tell what it predicts: say prediction = "
                f"{' or '.join(TARGETS)} (its noise is then taken for DDPM's linear schedule)"
            )
        return
    name = str(config.get("_class_name"))
    if name not in (*EDM, *DDPM_LIKE):
        raise UsageError(
            f"{where}: scheduler {name!r} is not known; {nearest_name(name, [*EDM, *DDPM_LIKE])}; known are "
            f"{', '.join((*DDPM_LIKE, *EDM))}"
        )


def check_target(name: str, target: str, where: str) -> None:
    """Raise UsageError unless the scheduler of this class can stand around a network that predicts `target`."""
    if target not in (TARGETS[:2] if name in EDM else TARGETS):
        raise UsageError(f"{where}: {name} with prediction_type = {target!r} is not known; known are {TARGETS}")


def check_discrete(name: str, config: Mapping[str, Any], where: str) -> None:
    """Raise UsageError for flow matching and for continuous timesteps."""
    if config.get("use_flow_sigmas", False) or config.get("timestep_type", "discrete") != "discrete":
        raise UsageError(f"{where}: {name} with flow or continuous timesteps is not known")


def edm_schedule(sigma_min: float, sigma_max: float) -> Schedule:
    """The noise levels of DDPM's schedule that an EDM network was trained for. Raises UsageError for none."""
    alpha_bar = Schedule().alpha_bar
    sigma = np.sqrt((1 - alpha_bar) / alpha_bar)
    sigma = np.maximum(sigma[sigma <= sigma_max], sigma_min)
    if len(sigma) < 2:
        raise UsageError(f"scheduler: sigma_max = {sigma_max} leaves no noise level")
    return Schedule.given(1 / (1 + sigma**2))


def read_schedule(config: Mapping[str, Any] | None, override: str | None, where: str) -> Schedule | None:
    """The number of timesteps, as a schedule of DDPM's betas: what can be known of a scheduler without its class.

    None where the settings leave it to the class's defaults. Raises UsageError as for a model that is loaded.
    """
    check_scheduler(config, override, where)
    if config is None:
        return Schedule()
    name, target = str(config["_class_name"]), override or config.get("prediction_type")
    wanted = ("sigma_min", "sigma_max") if name in EDM else ("num_train_timesteps",)
    if target is None or any(config.get(key) is None for key in wanted):
        return None
    check_target(name, str(target), where)
    if name in EDM:
        return edm_schedule(float(config["sigma_min"]), float(config["sigma_max"]))
    check_discrete(name, config, where)
    return Schedule(T=int(config["num_train_timesteps"]))
