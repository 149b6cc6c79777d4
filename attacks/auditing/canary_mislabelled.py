"""One-run audit with mislabelled canaries: real images with another label, for networks that are told labels.

Steinke et al. 2023 (2305.08846) audit classifiers so; a conditional denoiser can only learn by heart that this image
has that label. Score and parameters are those of `canary_one_run`, with the wrong label.

Choices of ours: the label is drawn evenly from the others, for every other image that may be trained on; the rest is
trained on as it is.
"""

from __future__ import annotations

from .canary_one_run import CanaryOneRun


class CanaryMislabelled(CanaryOneRun):
    """Denoising loss at the wrong label that was trained on; `draws` network calls an image and timestep."""

    name = "canary_mislabelled"
    summary = "one-run audit: the loss of images with wrong labels, included by fair coins"
    canaries = "mislabelled"
