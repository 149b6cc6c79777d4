"""Answers under other conditions than an image's own, for attacks that compare a model with and without its caption.

Without condition, where the model has such an answer (a label of -1: the empty caption, or a class of none). Where it
has none, a choice of ours: up to three other captions or classes, drawn at random, stand for it.
"""

from torch import Tensor

from leakbench.api.views import DenoiserView

_OTHERS = 3


def absent_conditions(view: DenoiserView) -> list[Tensor]:
    """Labels (N,) that stand for no condition, one tensor or several to be averaged over; [] where there is no other
    answer than that to the image's own label."""
    if (nowhere := view.no_labels) is not None:
        return [nowhere]
    found = [view.other_labels(draw) for draw in range(min(_OTHERS, view.conditions - 1))]
    return [labels for labels in found if labels is not None]


def eps_without(view: DenoiserView, x: Tensor, t: int) -> Tensor:
    """eps (N, C, H, W) without condition; that to the image's own label where the model knows no other."""
    answers = [view.eps(x, t, labels) for labels in absent_conditions(view)] or [view.eps(x, t)]
    return sum(answers[1:], answers[0]) / len(answers)
