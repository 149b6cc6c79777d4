"""CLiD: how much better the model denoises an image under its caption than without; more so for members.

Zhai et al. 2024 (2405.14800). A fine-tuned model over-fits what it says of an image under a caption more than what it
says of the image alone. With the same noise in all terms, and reduced conditions c_1 .. c_k of the caption c:

    D_i = mean over t of || eps_theta(x_t, c_i) - eps ||^2 - || eps_theta(x_t, c) - eps ||^2
    L   = - mean over t of || eps_theta(x_t, c) - eps ||^2
    S   = alpha R(mean of D_i) + (1 - alpha) R(L)                      R(a) = (a - median) / interquartile range

the threshold form; t = 440, 450, 460, one draw of noise each. `reduced` = "null": the empty caption alone, 6 calls an
image. "clipped": the first, the middle and the last third of the caption's characters as well (the paper's "simple
clipping"), 15 calls; what the encoder has not read before, it reads then.

Of a model of classes (a "label-conditional form", which the paper has not): c is the class, and c_1 the class of none,
or, without one, up to three other classes (_conditions.py); there is nothing to clip.

`captions` = "other" is the control: every image is asked about under somebody else's caption, drawn at random, of which
the reduced conditions are made, too. What is left is not found in the pairing of image and caption, and comes near the
loss's AUC.

Choices of ours: R is fitted on public images, on which nothing was trained, and not on shadow models, so that both
terms are in units of what nonmembers do; median and quartiles as in the authors' code, where the paper says mean.
alpha = 0.9 in advance: the paper picks it by shadow models, and on its released scores 0.9 does best. x_0 is the mean
of the autoencoder's posterior, not a sample. A service that guides answers c by its guided mix; the raw network
(WEIGHTS) is asked plainly. The vector form (boosted trees on L and the D_i) is left out.
"""

import copy
from typing import Literal

import torch
from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import Access, Calibration, MembershipAttack, Needs, release_param
from leakbench.api.views import DenoiserView
from leakbench.runtime.errors import UsageError

from ._conditions import absent_conditions
from ._shared import mean_losses_under

_FEWEST = 8  # public images


class CLiD(MembershipAttack):
    """Conditional likelihood discrepancy; 3 (1 + k) network calls an image, k reduced conditions."""

    name = "clid"
    summary = "how much better an image is denoised under its caption than without (CLiD)"
    access = Access.DENOISER
    learns_from = "public"

    reduced: Literal["null", "clipped"] = release_param("null")
    captions: Literal["own", "other"] = release_param("own")
    timesteps: tuple[int, ...] = release_param((440, 450, 460), min_length=1)
    alpha: float = release_param(0.9, ge=0, le=1)

    _centre: tuple[float, ...] = PrivateAttr((0.0, 0.0))  # of the mean of D_i, and of L
    _range: tuple[float, ...] = PrivateAttr((1.0, 1.0))

    @property
    def needs(self) -> Needs:
        """Captions or labels, and the timesteps."""
        return Needs(latest=max(self.timesteps), condition=True)

    def fit(self, calibration: Calibration) -> "CLiD":
        """A copy that knows the medians and interquartile ranges of public images. Raises UsageError where there are
        hardly any."""
        public = calibration.public
        if len(public.images) < _FEWEST:
            raise UsageError(
                f"attack 'clid' scales its two terms by public images, at least {_FEWEST}, and the split has "
                f"{len(public.images)}: give it a `reference` part"
            )
        terms = public.ask(self._terms)
        low, centre, high = (terms.quantile(share, dim=0) for share in (0.25, 0.5, 0.75))
        fitted = copy.copy(self)
        fitted._centre = tuple(centre.tolist())
        fitted._range = tuple(torch.where(high > low, high - low, 1.0).tolist())
        return fitted

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """alpha R(D) + (1 - alpha) R(L), (N,) float64."""
        terms = self._terms(view, images, labels)
        discrepancy, closeness = ((terms[:, column] - self._centre[column]) / self._range[column] for column in (0, 1))
        return self.alpha * discrepancy + (1 - self.alpha) * closeness

    def _terms(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Mean of D_i and L, (N, 2) float64."""
        told = view.other_labels() if self.captions == "other" else view.labels
        own = mean_losses_under(view, self.timesteps, told)
        reduced = [mean_losses_under(view, self.timesteps, label) for label in self._reduced(view, told)]
        discrepancy = torch.stack(reduced).mean(dim=0) - own if reduced else torch.zeros_like(own)
        return torch.stack([discrepancy, -own], dim=1)

    def _reduced(self, view: DenoiserView, told: Tensor | None) -> list[Tensor]:
        """Labels (N,) of each reduced condition of the labels `told` (N,)."""
        found = absent_conditions(view, told)
        if self.reduced == "clipped" and view.tells_captions:
            found += [_third(view, number, told) for number in range(3)]
        return found


def _third(view: DenoiserView, number: int, labels: Tensor | None) -> Tensor:
    """Labels (N,) of the first (0), middle or last third of the characters of each label's caption."""
    return view.edited_labels(
        lambda text: text[len(text) * number // 3 : len(text) * (number + 1) // 3], ("third", number), labels
    )
