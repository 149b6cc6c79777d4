"""Blind baseline of captions: a classifier that reads the captions alone, and sees neither images nor model.

Das et al. 2024 (2406.16201) of words. A text-conditional model was trained on pairs of image and caption. Where the
captions of members and nonmembers differ as texts (another source, another captioner, another length), all that reads a
caption finds that difference, and says nothing about the model: CLiD above all, but every attack that asks under an
image's own caption. Where this baseline finds members (one-sided 99 %), the track is void.

Choices of ours: the counts of words, and of runs of one to four characters, hashed into 1,024 columns each and scaled
to length 1, and the logarithms of the caption's lengths in characters and in words; a logistic regression with C = 1,
on calibration captions, or where there are too few images to spare any, the ridge regression of
leakbench.models.pair_reader on the same columns. Of a model of classes the captions are the classes' numbers, so that
it reads whether members are of other classes.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import Access, Calibration, ImageSet, MembershipAttack, Needs
from leakbench.api.views import NoneView

_COLUMNS = 2**10


class BlindCaptions(MembershipAttack):
    """Membership from the captions alone; no network calls."""

    name = "blind_captions"
    summary = "a classifier on the captions that never sees images or model: must stay at 0.5"
    access = Access.NONE
    leaves_pairs_out: ClassVar[bool] = True
    _reader: Any = PrivateAttr(default=None)

    @property
    def needs(self) -> Needs:
        """Captions or labels."""
        return Needs(condition=True)

    def fit(self, calibration: Calibration) -> BlindCaptions:
        """Train the reader on captions of calibration members against those of calibration nonmembers."""
        from sklearn.linear_model import LogisticRegression

        table = calibration.ask(_describe).double().cpu().numpy()
        fitted = copy.copy(self)
        fitted._reader = LogisticRegression(C=1.0, max_iter=1000).fit(table, calibration.is_member)
        return fitted

    def describe(self, images: ImageSet) -> np.ndarray:
        """Counts of words and characters."""
        return images.ask(_describe).double().cpu().numpy()

    def score(self, view: NoneView, images: Tensor, labels: Tensor | None) -> Tensor:
        """The reader's log-odds of membership."""
        table = _describe(view, images, labels).double().cpu().numpy()
        return torch.as_tensor(self._reader.decision_function(table))


def _describe(view: NoneView, images: Tensor, labels: Tensor | None) -> Tensor:
    """What is counted of each caption, (N, columns) float32."""
    from sklearn.feature_extraction.text import HashingVectorizer

    texts = list(view.captions or ())
    counted = [
        HashingVectorizer(n_features=_COLUMNS, analyzer=kind, ngram_range=runs, norm="l2").transform(texts).toarray()
        for kind, runs in (("word", (1, 1)), ("char", (1, 4)))
    ]
    sizes = np.array([(len(text), len(text.split())) for text in texts], dtype=np.float64)
    return torch.from_numpy(np.hstack([*counted, np.log1p(sizes) - 3])).float()
