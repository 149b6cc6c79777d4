"""From a scheduler's settings to how its network is asked for eps in x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps.

Choices of ours. Every scheduler of diffusers that noises as DDPM does (Euler's and Heun's sigma is sqrt((1 - abar) /
abar), its scaled input is x_t) is read for its table of alpha_bar alone: samples come from our deterministic DDIM
walk, at the timesteps that `timestep_spacing` and `steps_offset` name; whether x_0 is clipped on the way is the
suite's word ([sampler] clip), not the scheduler's. A step goes to the next timestep of the walk; diffusers' DDIM goes
T // steps down, which is the same for "leading", for "trailing" where steps divide T, and not for "linspace". Where
a network answers more channels than it is given, the rest is a learned variance, and cut.

Flow, EDM, variance-exploding and consistency networks know any level of noise, and have no table: their timesteps are
those of DDPM's linear schedule, as far as they were trained for its noise (schedulers.levels_between). So t means the
same noise, the same log abar / (1 - abar), as in the attacks' papers.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leakbench.models.diffusion import Schedule
from leakbench.models.pretrained.parameterisations.consistency import Consistency
from leakbench.models.pretrained.parameterisations.discrete import Discrete
from leakbench.models.pretrained.parameterisations.edm import EDM
from leakbench.models.pretrained.parameterisations.exploding import Exploding
from leakbench.models.pretrained.parameterisations.flow import Flow
from leakbench.models.pretrained.schedulers import TIME_UNITS, check_scheduler, kind_of, levels_of
from leakbench.runtime.errors import UsageError

Prediction = Consistency | Discrete | EDM | Exploding | Flow


def read_prediction(config: Mapping[str, Any] | None, override: str | None, where: str) -> Prediction:
    """Read a scheduler's config; `override` is what the user says that the network predicts.

    Without a config (a bare network): DDPM's linear schedule, and the user has to say. Raises UsageError.
    """
    check_scheduler(config, override, where)
    target: Any = override
    if config is None:
        return Flow(Schedule()) if target == "flow_prediction" else Discrete(Schedule(), target)
    scheduler = _built(str(config["_class_name"]), config, where)
    said = {**scheduler.config, "_class_name": config["_class_name"]}
    kind = kind_of(said)
    target = override or said.get("prediction_type")
    if kind == "discrete":
        units = config.get(TIME_UNITS)
        return Discrete(_table_schedule(scheduler), target, units if isinstance(units, int) and units > 0 else None)
    schedule = levels_of(said)
    if kind == "flow":
        return Flow(schedule, int(said["num_train_timesteps"]))
    if kind == "edm":
        return EDM(schedule, target, float(said["sigma_data"]))
    if kind == "consistency":
        return Consistency(schedule, float(said["sigma_min"]), float(said["sigma_data"]))
    return Exploding(schedule)


def describe_levels(prediction: Prediction) -> dict[str, dict[str, float]]:
    """The level of noise in the model's own terms at some timesteps of an attack; nothing for a model with a table."""
    if isinstance(prediction, Discrete):
        return {}
    ratio = np.sqrt(1 / prediction.schedule.alpha_bar - 1)  # sigma of images in [-1, 1]
    levels, name = ratio, "sigma"
    if isinstance(prediction, Flow):
        levels, name = ratio / (1 + ratio), "s"
    elif isinstance(prediction, Exploding):
        levels = ratio / 2
    at = (0, 10, 20, 50, 100, 200, 300, 500, 700, 900)
    return {f"{name}_at_t": {str(t): round(float(levels[t]), 4) for t in at if t < len(levels)}}


def _built(name: str, config: Mapping[str, Any], where: str) -> Any:
    import diffusers

    said = {key: value for key, value in config.items() if not key.startswith("_")}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own use of numpy, and that a class will move
            return getattr(diffusers, name).from_config(said)
    except (ValueError, TypeError, NotImplementedError, ImportError) as error:
        raise UsageError(f"{where}: scheduler {name}: {str(error).splitlines()[0]}") from None


def _table_schedule(scheduler: Any) -> Schedule:
    """The table of alpha_bar, with the walk of the scheduler's config."""
    config = scheduler.config
    found = _of_table(scheduler.alphas_cumprod.double().numpy())
    final = 1.0 if getattr(config, "set_alpha_to_one", True) else float(found.alpha_bar[0])
    spacing: Any = getattr(config, "timestep_spacing", "leading")
    offset = int(getattr(config, "steps_offset", 0))
    return replace(found, spacing=spacing, offset=offset, final=final)


def _of_table(alpha_bar: np.ndarray) -> Schedule:
    """A linear schedule in float64, as our own; any other as it is (diffusers' tables are float32)."""
    linear = Schedule(T=len(alpha_bar))
    if np.allclose(linear.alpha_bar, alpha_bar, rtol=1e-4, atol=1e-7):
        return linear
    return Schedule.given(alpha_bar)


def nowhere(t: Tensor) -> Tensor:
    """The label that stands for no condition, for every row: -1, int64 (N,)."""
    return torch.full_like(t, -1, dtype=torch.int64)
