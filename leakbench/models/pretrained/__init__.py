"""Models that somebody else trained: read safely, and asked as if they were ours.

What is supported:

- a folder that diffusers' `save_pretrained` wrote (with a model_index.json), or a hub id `owner/name`; a folder with
  one bare network (config.json and its weights); a module behind a small function
  (leakbench.models.pretrained.adapter);
- networks UNet2DModel, UNet2DConditionModel with CLIP text, DiTTransformer2DModel; unconditional, conditioned on
  classes or on captions; on images, or on the latents of AutoencoderKL or VQModel;
- every scheduler of diffusers that noises as DDPM does, whatever its betas, and those of EDM; networks that predict
  the noise, v or the image (leakbench.models.pretrained.prediction).

Not supported, and refused in one line: SDXL, Stable Diffusion 3, Flux and other networks with several text encoders or
none of the above; flow matching, variance-exploding and consistency schedulers; inpainting and image-to-image networks
with additional channels.
"""
