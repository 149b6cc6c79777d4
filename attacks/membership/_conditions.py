"""Answers under other conditions than an image's own, for attacks that compare a model with and without its caption.

Without condition, where the model has such an answer (a label of -1: the empty caption, or a class of none). Where it
has none, a choice of ours: up to three other captions or classes, drawn at random, stand for it.
"""

import torch
from torch import Tensor

from leakbench.api.views import DenoiserView

_OTHERS = 3


def absent_conditions(view: DenoiserView, told: Tensor | None = None) -> list[Tensor]:
    """Labels (N,) that stand for no condition, one tensor or several to be averaged over; [] where there is no other
    answer than that to the image's own label. `told`: labels that are asked about in place of the images' own, and do
    not stand for none either."""
    if (nowhere := view.no_labels) is not None:
        return [nowhere]
    draws = range(min(_OTHERS + (told is not None), view.conditions - 1))
    found = [labels for draw in draws if (labels := view.other_labels(draw)) is not None]
    return [labels for labels in found if told is None or not torch.equal(labels, told)][:_OTHERS]


def eps_without(view: DenoiserView, x: Tensor, t: int) -> Tensor:
    """eps (N, C, H, W) without condition; that to the image's own label where the model knows no other."""
    answers = [view.eps(x, t, labels) for labels in absent_conditions(view)] or [view.eps(x, t)]
    return sum(answers[1:], answers[0]) / len(answers)
