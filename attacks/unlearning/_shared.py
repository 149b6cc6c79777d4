"""What several attacks on unlearning share: questions about all groups at once, and few of the images."""

from __future__ import annotations

import numpy as np

from leakbench.api import ForgetScores, Ground, Model, Question
from leakbench.data.image_batch import Images
from leakbench.runtime.device import Stream


def answers(model: Model, question: Question, *groups: Images) -> list[np.ndarray]:
    """A model's answers (N, ...) for each group of images, float64; asked all at once, so that batches are full."""
    found = model.ask(question, Images.joined(groups)).double().cpu().numpy()
    return list(np.split(found, np.cumsum([len(group.ids) for group in groups])[:-1]))


def scores(model: Model, question: Question, ground: Ground, retained: Images | None = None) -> ForgetScores:
    """A model's answers (N,) for the images to forget, the unseen, and those retained images that are given."""
    groups = [ground.forget, ground.unseen] + ([retained] if retained is not None else [])
    return ForgetScores(*answers(model, question, *groups))


def some(images: Images, count: int, stream: Stream) -> Images:
    """`count` random ones, or all where there are fewer; the same whatever their order."""
    return images.take(stream.uniform(images.ids).argsort()[:count])
