"""What several attacks on unlearning share: the loss of an image, questions about all groups at once, few images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from leakbench.api import ForgetScores, Ground, Model, Question
from leakbench.device import Stream
from leakbench.scoring import Images
from leakbench.views import DenoiserView


def mean_loss(view: DenoiserView, t: Sequence[int], draws: int) -> Tensor:
    """The squared error of the predicted noise, summed over pixels, mean over timesteps and noise draws: (N,)."""
    places = [(at, draw) for at in t for draw in range(draws)]
    losses = [
        (view.eps(view.noised(at, draw), at) - view.noise(draw)).square().flatten(1).sum(dim=1) for at, draw in places
    ]
    return sum(losses[1:], losses[0]) / len(losses)


def answers(model: Model, question: Question, *groups: Images) -> list[np.ndarray]:
    """A model's answers (N, ...) for each group of images, float64; asked all at once, so that batches are full."""
    ids = torch.cat([group.ids for group in groups])
    labels = [group.labels for group in groups if group.labels is not None]
    images = Images(torch.cat([group.images for group in groups]), ids, torch.cat(labels) if labels else None)
    found = model.ask(question, images).double().cpu().numpy()
    return list(np.split(found, np.cumsum([len(group.ids) for group in groups])[:-1]))


def scores(model: Model, question: Question, ground: Ground, retained: Images | None = None) -> ForgetScores:
    """A model's answers (N,) for the images to forget, the unseen, and those retained images that are given."""
    groups = [ground.forget, ground.unseen] + ([retained] if retained is not None else [])
    return ForgetScores(*answers(model, question, *groups))


def some(images: Images, count: int, stream: Stream) -> Images:
    """`count` random ones, or all where there are fewer; the same whatever their order."""
    return images.take(stream.uniform(images.ids).argsort()[:count])
