"""Reject and resample: CPSample's claim made literal.

CPSample (2409.07025) claims to behave like a built-in rejection sampler. This is the real one, as its control: draw a
sample; if it lies too close to a training image, draw again from fresh noise, up to `tries` times; if every try is too
close, hand out the farthest of them (a choice of ours: a service must answer). "Too close" is a similarity that only
`null_rate` of held-out real images reach (pixels, root mean square).

The audit of pixel copies uses the same ruler (the same held-out images, metric and rate), so a low pixel copy rate is
what this defense is built for and shows nothing more; look at the copies in features and at the other attacks.

Of a latent model latents are compared, by the same rule with held-out latents: nothing has to be decoded to be refused,
and the audit's ruler, pixels, is then another one (a choice of ours).

It reads the training images at sampling time, so they are part of what ships, and no claim of the base survives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from leakbench.api import Artefacts, Defense, Release, Task, release_param, void_guarantee
from leakbench.metrics.copying import pixel_similarity, threshold_at


@dataclass(frozen=True)
class RejectingRelease(Release):
    """Samples are checked against the training images in parts["members"]; eps is the base's."""

    threshold: float = 0.0
    tries: int = 4

    is_iterative = False

    def generate(self, ids: Tensor, label: Tensor | None = None, draw: int = 0) -> Tensor:
        """The first candidate below the threshold, else the one least similar to any training image."""
        assert self.base is not None
        best = worst_case = None
        for attempt in range(self.tries):
            image = self.base.generate(ids, label, draw * self.tries + attempt)
            similarity = torch.from_numpy(pixel_similarity(image, self.parts["members"]).similarity).to(image.device)
            # A candidate under the threshold counts as unbeatable, so the first such one stays.
            rank = torch.where(similarity < self.threshold, -torch.inf, similarity)
            if best is None or worst_case is None:
                best, worst_case = image, rank
            else:
                better = rank < worst_case
                best = torch.where(better.view(-1, 1, 1, 1), image, best)
                worst_case = torch.where(better, rank, worst_case)
        assert best is not None
        return best


class RejectResample(Defense):
    """Draw again while the sample is a near-copy."""

    name = "reject_resample"
    summary = "draws again while a sample is too close to a training image (what cpsample is compared with)"
    needs_base = True
    changes = "sampling"
    ships = frozenset({"members"})
    is_iterative = False

    tries: int = release_param(4, ge=1)
    null_rate: float = release_param(0.01, gt=0, lt=1)

    def fit(self, task: Task) -> Artefacts:
        """Keep the training images, and how similar held-out real images are to them."""
        heldout = pixel_similarity(task.heldout, task.images).similarity
        return Artefacts(tensors={"members": task.images[:], "heldout_similarity": torch.from_numpy(heldout)})

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Put the check behind the base's sampler."""
        assert task.base is not None
        threshold = threshold_at(artefacts.tensors["heldout_similarity"].cpu().numpy(), self.null_rate)
        parts: dict[str, Any] = {"members": artefacts.tensors["members"].to(task.device)}
        return RejectingRelease.wrap(
            task.base,
            guarantee=void_guarantee(task.base, "reject_resample compares samples with members"),
            parts=parts,
            info={"threshold": threshold},
            threshold=threshold,
            tries=self.tries,
        )
