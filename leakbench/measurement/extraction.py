"""Runs replication attacks on a release, batch by batch, through a view of their access level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from leakbench.api import Access, Query, RecoveryAttack, ReplicationAttack, SampleSet
from leakbench.api.views import QueryCount
from leakbench.data.image_batch import Images
from leakbench.data.image_view import ImageView
from leakbench.measurement.query_engine import AttackTarget
from leakbench.models.latent_cache import encode_images


@dataclass(frozen=True)
class Extracted:
    """The attack, fitted; the images to match (N, C, H, W), one a sample, on the release's device; queries an image."""

    attack: ReplicationAttack
    images: Tensor
    queries: float


def extract_candidates(
    target: AttackTarget, attack: ReplicationAttack, samples: Tensor, embed: Callable[[Tensor], Tensor]
) -> Extracted:
    """Collect the images that the attack wants matched, where `samples` (N, C, H, W) are the release's first N."""
    release = target.release
    ids = torch.arange(len(samples), device=release.device)
    images, labels = samples.to(release.device), release.labels(ids)
    inside = attack.access >= Access.DENOISER  # it sees and answers what the network denoises
    seen = encode_images(ImageView(images), release)[:] if inside else images
    schedule = release.schedule if attack.access >= Access.DENOISER else None
    fitted = attack.fit(SampleSet(seen, labels, schedule, embed, target.streams))
    if not fitted.generates:
        return Extracted(fitted, images, 0.0)
    found, count = _ask(target, fitted, fitted.candidates, Images(images, ids, labels))
    if found.shape != seen.shape:
        raise ValueError(f"candidates() answered with shape {tuple(found.shape)}; it must be one image a sample")
    return Extracted(fitted, release.decode(found) if inside else found, count.mean)


def recover(target: AttackTarget, attack: RecoveryAttack, images: Images) -> tuple[Tensor, QueryCount]:
    """Similarity (N,) of what came back to each image, and the calls that it took."""
    found, count = _ask(target, attack, attack.recover, images)
    if found.shape != (len(images.ids),):
        raise ValueError(f"recover() answered with shape {tuple(found.shape)}; it must be ({len(images.ids)},)")
    return found, count


def _ask(target: AttackTarget, attack: ReplicationAttack, question: Query, images: Images) -> tuple[Tensor, QueryCount]:
    count = QueryCount()
    return target.ask(question, attack, attack.access is Access.WEIGHTS, images, count), count
