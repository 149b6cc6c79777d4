"""One-run audit with out-of-distribution canaries: images of black and white pixels, each by a coin of its own.

Steinke et al. 2023 (2305.08846) audit black-box training by canaries that a network has to learn by heart, among them
inputs unlike any other. No real image resembles these, nor does one another, so what lowers a canary's loss is that
canary alone; their gradients are large and reach the clip of private training. Score and parameters are those of
`canary_one_run`.

Choices of ours: the images (no paper says which for diffusion), one for every other image that may be trained on; the
rest is trained on as it is.
"""

from __future__ import annotations

from .canary_one_run import CanaryOneRun


class CanaryOutlier(CanaryOneRun):
    """Denoising loss of black and white noise that was trained on; `draws` network calls an image and timestep."""

    name = "canary_outlier"
    summary = "one-run audit: the loss of images unlike any other, included by fair coins"
    canaries = "outlying"
