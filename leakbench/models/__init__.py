"""Diffusion models: the process, networks, training, releases, pretrained pipelines."""
