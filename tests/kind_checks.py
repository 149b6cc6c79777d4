"""Comparisons of a loaded model with one step, and five moves, of diffusers' own schedulers and pipelines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch


def inputs(model: Any) -> torch.Tensor:
    return torch.randn(2, *model.spec.network.shape, generator=torch.Generator().manual_seed(3))


def ask(model: Any, t: torch.Tensor, label: torch.Tensor | None = None, x: torch.Tensor | None = None) -> torch.Tensor:
    with torch.no_grad():
        return model.network(inputs(model) if x is None else x, t, label)


def near(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return bool((ours - theirs).abs().max() < 1e-4 * max(1.0, float(theirs.abs().max())))


def ask_at(model: Any, level: float, x: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
    """Our noise at a level: a timestep, or alpha_bar (a float)."""
    from leakbench.models.schedule import Schedule

    network, prediction, t = model.network, model.network.prediction, level
    if isinstance(level, float):
        network.prediction, t = replace(prediction, schedule=Schedule.given(np.array([level]))), 0
    try:
        return ask(model, torch.full((2,), int(t)), label, x)
    finally:
        network.prediction = prediction


def is_same(model: Any, body: Any) -> bool:
    t = torch.tensor([3, 700])
    with torch.no_grad():
        return near(ask(model, t), body(inputs(model), t).sample)


def check_pixels(model: Any, body: Any, scheduler: Any, label: torch.Tensor | None = None) -> tuple[bool, bool | None]:
    """Against one step, and five of DDIM, of diffusers' own schedulers."""
    import diffusers

    x, more = inputs(model), {} if label is None else {"class_labels": label}

    def asked(state: torch.Tensor, time: Any) -> Any:
        with torch.no_grad():
            return body(state, torch.as_tensor(time).expand(2), **more)[0][:, : x.shape[1]]

    name = type(scheduler).__name__
    said = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}  # defaults too
    if name == "ScoreSdeVeScheduler":
        sigma = torch.tensor(1.0)
        return near(ask_at(model, 1 / 5.0, (2 * x - 1) / 5**0.5, label), -sigma * asked(x, sigma)), None
    if "Flow" in name or said.get("use_flow_sigmas"):
        euler = diffusers.FlowMatchEulerDiscreteScheduler()
        euler.set_timesteps(sigmas=[0.7])
        x0 = euler.step(asked(x, 700.0), euler.timesteps[0], x).prev_sample
        length = (0.3**2 + 0.7**2) ** 0.5
        return near(ask_at(model, (0.3 / length) ** 2, x / length, label), (x - 0.3 * x0) / 0.7), None
    if name.startswith(("EDM", "CM")):
        scheduler.set_timesteps(8) if name.startswith("EDM") else scheduler.set_timesteps(1)
        at = 3 if name.startswith("EDM") else 0
        t, sigma = scheduler.timesteps[at], float(scheduler.sigmas[at])
        noised = sigma * x
        found = scheduler.step(asked(scheduler.scale_model_input(noised, t), t), t, noised)
        x0 = found.pred_original_sample if name.startswith("EDM") else found.prev_sample
        return near(
            ask_at(model, 1 / (1 + sigma**2), noised / (1 + sigma**2) ** 0.5, label), (noised - x0) / sigma
        ), None
    ddim = diffusers.DDIMScheduler.from_config(said, clip_sample=False, thresholding=False)
    ddim.set_timesteps(5)
    t = ddim.timesteps[2]
    alpha_bar = ddim.alphas_cumprod[t]
    x0 = ddim.step(asked(x, t), t, x).pred_original_sample
    step = near(ask_at(model, int(t), x, label), (x - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt())
    if said.get("timestep_spacing", "leading") not in ("leading", "trailing"):
        return step, None
    walked = x
    for t in ddim.timesteps:
        walked = ddim.step(asked(walked, t), t, walked, eta=0.0).prev_sample
    return step, near(walk(model, label), walked)


def walk(model: Any, label: torch.Tensor | None) -> torch.Tensor:
    from leakbench.models.diffusion import denoise

    schedule = replace(model.network.prediction.schedule, steps=5, bounded=False)
    with torch.no_grad():
        return denoise(schedule, lambda x, t, _: model.network(x, t, label), inputs(model))


def check_family(model: Any, pipeline: Any, name: str, step: Callable[..., Any]) -> tuple[bool, bool | None]:
    """Against the pipeline itself: one step, and where its sampler is DDIM five."""
    label = torch.tensor([1, 0])
    level, state, expected = step(pipeline, name, inputs(model))
    found = near(ask_at(model, level, state, label), expected)
    if type(pipeline.scheduler).__name__ != "DDIMScheduler":
        return found, None
    made = step(pipeline, name, inputs(model), num_inference_steps=5, made_alone=True)
    return found, near(walk(model, label), made)


def alike(one: Any, other: Any) -> bool:
    """Tell whether two loaded models are the same to every attack: weights, settings, schedule, autoencoder."""
    if _described(one) != _described(other):
        return False
    mine, others = one.network.state_dict(), other.network.state_dict()
    if mine.keys() != others.keys() or any(not torch.equal(value, others[name]) for name, value in mine.items()):
        return False
    x0 = inputs(one)
    return one.codec is None or torch.equal(one.codec.decode(x0), other.codec.decode(x0))


def _described(model: Any) -> tuple[Any, ...]:
    network = model.network
    settings = {key: value for key, value in dict(network.body.config).items() if not key.startswith("_")}
    kinds = type(network.body), type(network.family), type(model.codec)
    return model.spec, network.prediction, kinds, settings
