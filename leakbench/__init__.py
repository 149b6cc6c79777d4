"""leakbench: a privacy-audit benchmark suite for diffusion models."""
