"""One step of a family's own pipeline of diffusers, and the noise that it implies."""

from __future__ import annotations

from diffusers import FlowMatchEulerDiscreteScheduler

GUIDED = {  # settings of one step with guidance 2, where the pipeline has it
    "FLUX.1-dev": {"true_cfg_scale": 2.0, "negative_prompt": ["", ""]},
    "FLUX.1-schnell": {"true_cfg_scale": 2.0, "negative_prompt": ["", ""]},
    "LCM": None,
    "Qwen-Image": {"prompt": ["", ""]},  # its guided prediction is made longer or shorter: asked without condition
    "Z-Image": {"guidance_scale": 1.0},
    "Lumina-2": {"guidance_scale": 2.0, "cfg_normalization": False},
}
SETTINGS = {
    "Sana": {"use_resolution_binning": False, "complex_human_instruction": None},
    "PixArt-alpha": {"use_resolution_binning": False, "clean_caption": False},
    "PixArt-alpha of 1,024 pixels": {"use_resolution_binning": False, "clean_caption": False},
    "PixArt-Sigma": {"use_resolution_binning": False, "clean_caption": False},
    "LCM": {"guidance_scale": 8.5},
    "FLUX.1-dev": {"guidance_scale": 3.5},
    "FLUX.1-schnell": {"guidance_scale": 3.5},
    "Qwen-Image": {"guidance_scale": None, "true_cfg_scale": 1.0},
    "Z-Image": {"guidance_scale": 0.0},
}


def step(pipeline, name, x, made_alone=False, **more):
    """The level of the pipeline's one step, its input as attacks have it, and the noise that the step implies. A level
    is a timestep of the model's table, or alpha_bar (a float) of a flow. made_alone: instead, what it makes."""
    flows = isinstance(pipeline.scheduler, FlowMatchEulerDiscreteScheduler)
    settings = (
        {"guidance_scale": 1.0, "num_inference_steps": 1}
        | SETTINGS.get(name, {})
        | ({"sigmas": [0.7]} if flows else {})
        | more
    )
    scale = pipeline.vae_scale_factor * (2 if name == "FLUX.2-klein" else 1)
    packs = hasattr(pipeline, "_pack_latents") and name != "FLUX.2-klein"
    given = pipeline._pack_latents(x, *x.shape) if packs else x
    made = pipeline(
        **{"prompt": ["the red house", "a cat"]} | settings,
        height=scale * x.shape[2],
        width=scale * x.shape[3],
        latents=given.clone(),
        output_type="latent",
    ).images
    if packs:
        made = pipeline._unpack_latents(made, scale * x.shape[2], scale * x.shape[3], scale).view_as(x)
    elif name == "FLUX.2-klein":  # it answers what its autoencoder decodes
        norm = pipeline.vae.bn
        deviation = (norm.running_var + pipeline.vae.config.batch_norm_eps).sqrt()
        made = (pipeline._patchify_latents(made) - norm.running_mean.view(1, -1, 1, 1)) / deviation.view(1, -1, 1, 1)
    if made_alone:
        return made
    time = float(pipeline.scheduler.timesteps[0])
    if hasattr(pipeline.scheduler, "alphas_cumprod") and not pipeline.scheduler.config.get("use_flow_sigmas"):
        alpha_bar = float(pipeline.scheduler.alphas_cumprod[int(time)])
        return int(time), x, (x - alpha_bar**0.5 * made) / (1 - alpha_bar) ** 0.5
    s = time / 1000
    length = ((1 - s) ** 2 + s**2) ** 0.5
    return ((1 - s) / length) ** 2, x / length, x + (1 - s) * (x - made) / s
