"""Prompt search: is there another prompt under which the model still knows the images that it was to forget?

The idea of UnlearnDiffAtk (Zhang et al., ECCV 2024, 2310.11868): an erased concept is asked for by other words, found
by the denoising loss of a few of its images, which needs no judge. Words w_1 .. w_k are put before a caption c, one
after the other, each the one of `tries` that lowers

    L(x | c) = mean over t of || eps_theta(x_t, c) - eps ||^2

most on `images` calibration members; where none does, none is put. All images are then asked under the words found:

    S(x) = L(x | none) - L(x | w_1 .. w_k c)

so that nonmembers, never-seen images under the same words, are its null. Of a release that was to forget, members are
the images of the concept (in a suite with [forget], read `forget_auc`, and give `label`), and the same attack on the
release before says what there was to bring back. With `tokens = 0` it asks under the plain captions: the attack before
the search.

Of a model of classes the label takes the place of the prompt: every label is tried, and the best one asked under.

Choices of ours: a greedy search over the words of all captions that the release is told, the same words for all images
(published: projected gradient steps on a relaxed one-hot for each image, over the whole vocabulary, five tokens, 50
timesteps of 40 iterations each); what is scored is the loss, as no judge is at hand; t = 200, 400, 600, four noises
an image for the search. Without an answer for no condition others stand for it (_conditions.py).
"""

from __future__ import annotations

import copy

import torch
from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import Access, Calibration, MembershipAttack, Needs, release_param
from leakbench.api.views import WeightsView
from leakbench.models.denoiser_training import errors
from leakbench.models.diffusion import full_timesteps
from leakbench.runtime.device import RngStream

from ._conditions import absent_conditions
from ._few_members import FewMembers, take_few
from ._shared import mean_losses_under

_NOISES = 4


class PromptSearch(MembershipAttack):
    """Words that bring a forgotten concept back; two network calls an image and timestep, 6 by default."""

    name = "prompt_search"
    summary = "how well an image is denoised under words that a search found on a few others (after UnlearnDiffAtk)"
    access = Access.WEIGHTS

    tokens: int = release_param(3, ge=0)
    tries: int = release_param(16, ge=1)
    images: int = release_param(5, ge=1)
    label: int | None = release_param(None, ge=0)
    timesteps: tuple[int, ...] = release_param((200, 400, 600), min_length=1)

    _words: tuple[str, ...] = PrivateAttr(())
    _label: int | None = PrivateAttr(None)

    @property
    def needs(self) -> Needs:
        """Captions or labels, and the timesteps."""
        return Needs(latest=max(self.timesteps), condition=True)

    def fit(self, calibration: Calibration) -> PromptSearch:
        """A copy that knows the words, or the label."""
        fitted = copy.copy(self)
        if not self.tokens:
            return fitted
        few = take_few(calibration, self.images, self.label)
        noises = calibration.streams.of("attacking", "own", "prompt search")
        if few.release.captions:
            words = calibration.streams.of("attacking", "own", "words to try")
            fitted._words = self._search(few, noises, words)
        else:
            every = range(few.release.conditions)
            fitted._label = min(every, key=lambda label: self._mean_loss(few, [label] * len(few.x0), noises))
        return fitted

    @property
    def found(self) -> str:
        """The words, or the label, that were found."""
        return " ".join(self._words) if self._label is None else str(self._label)

    def score(self, view: WeightsView, images: Tensor, labels: Tensor | None) -> Tensor:
        """L(x | none) - L(x | words and caption), (N,) float64."""
        under = mean_losses_under(view, self.timesteps, self._asked(view))
        without = [mean_losses_under(view, self.timesteps, label) for label in absent_conditions(view)]
        return torch.stack(without).mean(dim=0) - under if without else -under

    def _search(self, few: FewMembers, noises: RngStream, draws: RngStream) -> tuple[str, ...]:
        network, texts = few.release.network, few.release.captions
        assert few.labels is not None
        own = [texts[label] for label in few.labels.tolist()]
        vocabulary = list(dict.fromkeys(word for text in texts for word in text.split()))

        def asked(*trials: tuple[str, ...]) -> list[int]:
            return network.label_texts([" ".join([*words, text]) for words in trials for text in own])  # type: ignore

        def loss(words: tuple[str, ...]) -> float:
            return self._mean_loss(few, asked(words), noises)

        found: tuple[str, ...] = ()
        best = loss(found)
        for place in range(self.tokens):
            numbers = torch.arange(place * self.tries, (place + 1) * self.tries)
            drawn = draws.integers(numbers, len(vocabulary)).tolist()
            every = list(dict.fromkeys((*found, vocabulary[at]) for at in drawn))
            asked(*every)  # together, so that the text encoders are read once
            trials = {words: loss(words) for words in every}
            words = min(trials, key=trials.__getitem__)
            if trials[words] >= best:
                break
            found, best = words, trials[words]
        return found

    @torch.no_grad()
    def _mean_loss(self, few: FewMembers, labels: list[int], noises: RngStream) -> float:
        """Mean loss of the few images under these labels (K,)."""
        release, count = few.release, len(few.x0)
        x0, told = few.x0.repeat(_NOISES, 1, 1, 1), torch.tensor(labels, device=few.x0.device).repeat(_NOISES)
        noise = noises.normal(torch.arange(_NOISES * count, device=x0.device), release.shape)
        found = [
            errors(release.network, release.schedule, x0, full_timesteps(t, x0), noise, told) for t in self.timesteps
        ]
        return float(torch.stack(found).double().mean())

    def _asked(self, view: WeightsView) -> Tensor | None:
        """Labels (N,) of the words and the captions, or the label found."""
        if self._label is not None and view.labels is not None:
            return torch.full_like(view.labels, self._label)
        if not self._words:
            return view.labels
        return view.edited_labels(lambda text: " ".join([*self._words, text]), ("words", *self._words))
