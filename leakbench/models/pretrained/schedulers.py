"""Schedulers of diffusers that are known here, and what their settings alone tell. No torch, no diffusers.

leakbench.models.pretrained.prediction says what is made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from leakbench.models.schedule import Schedule
from leakbench.runtime.errors import UsageError

Target = Literal["epsilon", "v_prediction", "sample", "flow_prediction"]
TARGETS: tuple[str, ...] = get_args(Target)
Kind = Literal["discrete", "flow", "edm", "consistency", "exploding"]

TIME_UNITS = "_time_units"  # among a scheduler's settings here: the time that the network is told at its last level

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
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
)
_NAMES: dict[Kind, tuple[str, ...]] = {
    "discrete": DDPM_LIKE,
    "flow": (
        "FlowMatchEulerDiscreteScheduler",
        "FlowMatchHeunDiscreteScheduler",
        "FlowMatchLCMScheduler",
    ),
    "edm": ("EDMDPMSolverMultistepScheduler", "EDMEulerScheduler"),
    "consistency": ("CMStochasticIterativeScheduler",),
    "exploding": ("ScoreSdeVeScheduler",),
}
KNOWN = tuple(name for names in _NAMES.values() for name in names)
_PREDICTS: dict[Kind, tuple[str, ...]] = {  # what a network may predict; the last three predict one thing each
    "discrete": TARGETS[:3],
    "flow": TARGETS[3:],
    "edm": TARGETS[:2],
    "consistency": (),
    "exploding": (),
}
_LEVELS: dict[Kind, tuple[str, ...]] = {  # settings that say which noise a network was trained for
    "discrete": ("num_train_timesteps",),
    "flow": ("num_train_timesteps",),
    "edm": ("sigma_min", "sigma_max"),
    "consistency": ("sigma_min", "sigma_max"),
    "exploding": ("sigma_min", "sigma_max"),
}


def kind_of(config: Mapping[str, Any]) -> Kind:
    """The kind of a known scheduler. DDPM's solvers with `use_flow_sigmas` are those of flow matching."""
    name = config["_class_name"]
    if config.get("use_flow_sigmas"):
        return "flow"
    return next(kind for kind, names in _NAMES.items() if name in names)


def check_scheduler(config: Mapping[str, Any] | None, override: str | None, where: str) -> None:
    """Check that a scheduler is known, and that its network can predict what it says, or the user (`override`).

    Raises UsageError, also for a network without a scheduler of which the user does not say what it predicts.
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
    if name not in KNOWN:
        raise UsageError(f"{where}: scheduler {name!r} is not known; {_known_of_its_meaning(name)}")
    if config.get("timestep_type", "discrete") != "discrete":
        raise UsageError(f"{where}: {name} with timestep_type = {config['timestep_type']!r} is not known")
    if config.get("invert_sigmas"):
        raise UsageError(f"{where}: {name} with invert_sigmas, whose time runs from image to noise, is not known")
    kind = kind_of(config)
    target, known = override or config.get("prediction_type"), _PREDICTS[kind]
    if override is not None and override not in known:
        what = f"predicts {' or '.join(known)}" if known else "says itself what its network predicts"
        raise UsageError(f"{where}: prediction = {override!r}: {name} {what}")
    if known and target is not None and target not in known:
        raise UsageError(
            f"{where}: {name} with prediction_type = {target!r} is not known; known are {', '.join(known)}"
        )


def _known_of_its_meaning(name: str) -> str:
    """Name the known schedulers of one's own kind: with one of another kind, another model would be audited."""
    signs: dict[Kind, tuple[str, ...]] = {
        "flow": ("Flow", "RF"),
        "edm": ("EDM",),
        "consistency": ("Consistency", "CMS", "SCM"),
        "exploding": ("Ve", "VE", "Karras"),
    }
    for kind, words in signs.items():
        if any(word in name for word in words):
            title = {"flow": "flow-matching", "edm": "EDM", "consistency": "consistency", "exploding": "VE"}[kind]
            return f"known {title} schedulers are {', '.join(_NAMES[kind])}"
    return f"known are {', '.join(KNOWN)}"


def levels_of(config: Mapping[str, Any]) -> Schedule:
    """The noise levels of a network that has no table of its own, as DDPM's timesteps. Raises UsageError for none."""
    if kind_of(config) == "flow":
        return Schedule()
    image = 2.0 if kind_of(config) == "exploding" else 1.0  # its images lie in [0, 1], and ours are twice as wide
    return levels_between(image * float(config["sigma_min"]), image * float(config["sigma_max"]))


def levels_between(sigma_min: float, sigma_max: float) -> Schedule:
    """The noise levels of DDPM's linear schedule up to sigma_max = sqrt((1 - alpha_bar) / alpha_bar); those below
    sigma_min count as it. Raises UsageError for none."""
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
    kind = kind_of(config)
    if any(config.get(key) is None for key in _LEVELS[kind]):
        return None
    if kind in ("discrete", "edm") and override is None and config.get("prediction_type") is None:
        return None
    return Schedule(T=int(config["num_train_timesteps"])) if kind == "discrete" else levels_of(config)
