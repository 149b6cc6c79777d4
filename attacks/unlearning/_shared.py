"""Questions about all groups of images at once, and choices of few images, for attacks on unlearning."""

from __future__ import annotations

import numpy as np

from leakbench.api import AuditSetting, QueriedModel, Query, Skip, UnlearningContext, UnlearningScores
from leakbench.data.image_batch import Images
from leakbench.runtime.device import RngStream


def answers(model: QueriedModel, question: Query, *groups: Images) -> list[np.ndarray]:
    """A model's answers (N, ...) for each group of images, float64; asked all at once, so that batches are full."""
    found = model.ask(question, Images.concatenate(groups)).double().cpu().numpy()
    return list(np.split(found, np.cumsum([len(group.ids) for group in groups])[:-1]))


def scores(
    model: QueriedModel, question: Query, ground: UnlearningContext, retained: Images | None = None
) -> UnlearningScores:
    """A model's answers (N,) for the images to forget, the unseen, and those retained images that are given."""
    groups = [ground.forget, ground.unseen] + ([retained] if retained is not None else [])
    return UnlearningScores(*answers(model, question, *groups))


def no_label(setting: AuditSetting) -> Skip | None:
    """Skip an attack that asks for the forgotten label, where none was to be forgotten or the network has none."""
    if setting.condition == "label" and setting.forget != "subset":
        return None
    return Skip("no label was to be forgotten by a network that is conditioned on labels", "not-applicable")


def some(images: Images, count: int, stream: RngStream) -> Images:
    """`count` random ones, or all where there are fewer; the same whatever their order."""
    return images.take(stream.uniform(images.ids).argsort()[:count])
