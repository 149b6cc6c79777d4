"""Prompt search and relearned loss, where it is known by which word, by which class, and after how much training."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from leakbench.api import Release
from leakbench.attacks.membership.prompt_search import PromptSearch
from leakbench.attacks.membership.relearned_loss import RelearnedLoss
from leakbench.data.image_batch import Images
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.device import Rng

STREAMS = Rng("prompt search", 0)
SHAPE = (1, 4, 4)
CONCEPT = 0.8
WORDS = ("red", "crimson", "house", "tree", "boat", "lion", "old", "green")
TEXTS = tuple(f"a {word} thing" for word in WORDS)


class Erased(torch.nn.Module):
    """Denoises images of one value exactly under captions with a certain word, and knows nothing under others."""

    knows_none = True

    def __init__(self, texts, secret):
        super().__init__()
        self.spec = NetworkSpec(kind="mlp", shape=SHAPE, conditions=len(texts) or len(WORDS))
        self.texts, self.secret, self.known = texts, secret, list(texts or WORDS)

    def label_texts(self, texts):
        self.known += [text for text in dict.fromkeys(texts) if text not in self.known]
        return [self.known.index(text) for text in texts]

    def label_edited(self, labels, edit):
        return self.label_texts([edit(self.known[label]) for label in labels])

    def forward(self, x, t, label=None):
        level = torch.from_numpy(Schedule().alpha_bar).float()[t].view(-1, 1, 1, 1)
        exact = (x - level.sqrt() * CONCEPT) / (1 - level).sqrt()
        words = [("" if number < 0 else self.known[number]).split() for number in label.tolist()]
        return torch.where(torch.tensor([self.secret in one for one in words]).view(-1, 1, 1, 1), exact, 0.0)


def found(network, attacks, labels=0):
    """Evidence and queries: members are images of the concept, nonmembers others, all under the same label."""
    release = Release(network, Schedule(), STREAMS, SHAPE, torch.device("cpu"), batch=16)
    noise = STREAMS.of("images").normal(torch.arange(60), SHAPE)
    parts = {}
    for number, name in enumerate(("member", "nonmember", "calibration_in", "calibration_out", "reference")):
        ids = torch.arange(12 * number, 12 * number + 12)
        images = torch.full((12, *SHAPE), CONCEPT) if name in ("member", "calibration_in") else noise[ids].clamp(-1, 1)
        parts[name] = Images(images, ids, torch.full_like(ids, labels))
    asked = {name: AttackRequest(attack, True) for name, attack in attacks.items()}
    return collect_membership_evidence(AttackTarget.of(release, STREAMS), asked, parts, folds=2)


def auc(evidence):
    scores = np.concatenate([evidence.member_scores, evidence.nonmember_scores])
    return roc_auc_score([1] * 12 + [0] * 12, scores)


def test_a_word_that_brings_the_concept_back_is_found():
    attacks = {"before": PromptSearch(tokens=0), "after": PromptSearch(tries=64)}
    evidence, queries = found(Erased(TEXTS, "crimson"), attacks)
    assert auc(evidence["before"]) == 0.5 and auc(evidence["after"]) > 0.95
    assert queries == {"before": 6, "after": 6}


def test_words_that_help_nothing_are_not_put():
    evidence, _ = found(Erased(TEXTS, "nowhere"), {"": PromptSearch()})
    assert auc(evidence[""]) == 0.5


@pytest.mark.parametrize("secret", ["crimson", "green"])
def test_of_classes_the_one_that_hides_it_is_found(secret):
    evidence, _ = found(Erased((), secret), {"": PromptSearch()})
    assert auc(evidence[""]) > 0.95


class Empty(torch.nn.Module):
    """Predicts the noise that one image, its weights, would need; at first the image is of zeros."""

    def __init__(self):
        super().__init__()
        self.spec = NetworkSpec(kind="mlp", shape=SHAPE)
        self.image = torch.nn.Parameter(torch.zeros(SHAPE))

    def forward(self, x, t, label=None):
        level = torch.from_numpy(Schedule().alpha_bar).float()[t].view(-1, 1, 1, 1)
        return (x - level.sqrt() * self.image) / (1 - level).sqrt()


def test_relearning_learns_from_the_few_and_finds_the_others():
    attacks = {"none": RelearnedLoss(steps=0), "some": RelearnedLoss(lr=0.05)}
    evidence, _ = found(Empty(), attacks)
    assert auc(evidence["none"]) < 0.5 and auc(evidence["some"]) == 1.0  # images of zeros are nearest to the origin
