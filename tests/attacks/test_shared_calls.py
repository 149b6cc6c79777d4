"""All attacks that ask for noise predictions, together: the network is asked nothing twice, and no score changes."""

import hashlib
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from leakbench.api import Calibration, ImageSet, MembershipAttack, Release
from leakbench.attacks.membership import _map_reader, quantile
from leakbench.attacks.membership.cdi import CDI
from leakbench.attacks.membership.likelihood import Likelihood
from leakbench.attacks.membership.loss import Loss
from leakbench.attacks.membership.noise_aggregation import NoiseAggregation
from leakbench.attacks.membership.pfami import PFAMI
from leakbench.attacks.membership.pia import PIA
from leakbench.attacks.membership.pian import PIAN
from leakbench.attacks.membership.quantile import Quantile
from leakbench.attacks.membership.secmi import SecMI
from leakbench.attacks.membership.secmi_nn import SecMINN
from leakbench.attacks.membership.sima import SimA
from leakbench.attacks.membership.timestep_ensemble import TimestepEnsemble
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, CallCount
from leakbench.models.classifiers import train_classifier
from leakbench.models.diffusion import Schedule
from leakbench.runtime.device import Rng

SHAPE, N, STREAMS = (1, 8, 8), 12, Rng("shared", 0)
IDS = torch.arange(N)
IMAGES = torch.tanh(STREAMS.of("images").normal(IDS, SHAPE))
MIXING = STREAMS.of("mixing").normal(torch.arange(64), (64,)) / 8
KINDS = [Loss, SecMI, SecMINN, PIA, PIAN, SimA, PFAMI, NoiseAggregation, Quantile, CDI, TimestepEnsemble]


class Counting(torch.nn.Module):
    """Knows every (image, t, label) that it was asked about, by the bytes of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.distinct = 0, set()

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        labels = [-1] * len(x) if label is None else label.tolist()
        for row, at, one in zip(x, t.tolist(), labels, strict=True):
            self.distinct.add((hashlib.sha256(row.numpy().tobytes()).digest(), at, one))
        self.rows += len(x)
        shift = t[:, None] / 500 + (0 if label is None else label[:, None])
        return torch.sin(2 * x.flatten(1) @ MIXING + shift).view_as(x)


class Guided(Release):
    """A service that does not answer with the raw network."""

    def eps(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return super().eps(x, t, label) + 0.1


def scored(attacks: dict[str, AttackRequest], labels: torch.Tensor | None, kind: type[Release] = Release):
    """Scores, queries an image, the network, and the harness's own count of calls."""
    network, calls = Counting(), CallCount()
    target = AttackTarget.of(kind(network, Schedule(), STREAMS, SHAPE, torch.device("cpu"), batch=N), STREAMS)
    scores, queries = target.score(attacks, Images(IMAGES, IDS, labels), calls)
    return scores, queries, network, calls


def fitted(attack: MembershipAttack, labels: torch.Tensor | None) -> MembershipAttack:
    if not attack.learns:
        return attack
    target = AttackTarget.of(Release(Counting(), Schedule(), STREAMS, SHAPE, torch.device("cpu"), batch=N), STREAMS)

    def ask(question):
        return target.ask(question, attack, False, Images(IMAGES, IDS, labels))

    group = ImageSet(IMAGES, labels, ask)
    return attack.fit(Calibration(IMAGES, labels, ask, np.arange(N) % 2 == 0, group, STREAMS))


@pytest.fixture(scope="module", params=["unconditional", "labels"])
def everything(request):
    """Labels, and all attacks at their defaults, fitted."""
    labels = IDS % 3 if request.param == "labels" else None
    with pytest.MonkeyPatch.context() as patch:  # what the learners learn does not matter here
        patch.setattr(_map_reader, "train_classifier", partial(train_classifier, steps=5))
        patch.setattr(quantile, "_RECIPE", replace(quantile._RECIPE, steps=5))
        attacks = {kind.name: AttackRequest(fitted(kind(), labels), False) for kind in KINDS}
    return labels, attacks | {"three": AttackRequest(Loss(t=(50, 100, 450), draws=2), False)}


def test_calls_equal_the_distinct_questions(everything):
    labels, attacks = everything
    _, queries, network, calls = scored(attacks, labels)
    assert network.rows == len(network.distinct) == N * calls.together
    apart = sum(queries.values())
    assert calls.apart == apart and calls.together < 0.7 * apart
    # CDI's losses, among them `loss` and t = 100 of `three`; its t = 50 and 450; SecMI for all four that use it, and
    # one step more for CDI; of PIA, PIAN and SimA the call that is not the image at t = 0; PFAMI's image at t = 150,
    # 250 and 350, and its crops.
    # Of the four at several timesteps: SecMI from 120 to 300, PIA and SimA at four, the loss at t = 20 and twice at 50,
    # and three draws of two timesteps where CDI takes one.
    assert calls.together == 14 + 2 * 2 + 11 + 1 + 1 + 1 + 1 + 3 + 10 + 5 + 19 + 4 + 4 + 4 + 2 + 6


def test_no_score_depends_on_who_asks_beside_it(everything):
    labels, attacks = everything
    together = scored(attacks, labels)[0]
    for name, asked in attacks.items():
        alone, queries, network, _ = scored({name: asked}, labels)
        assert np.array_equal(alone[name], together[name]), name
        assert network.rows == len(network.distinct) <= N * queries[name]
        assert len(set(alone[name].tolist())) > N / 2


def test_service_and_raw_network_are_asked_apart(everything):
    labels, attacks = everything
    both = attacks | {f"{name}/raw": AttackRequest(asked.attack, True) for name, asked in attacks.items()}
    scores, _, network, calls = scored(both, labels, Guided)
    assert not np.array_equal(scores["loss"], scores["loss/raw"])
    # PIA's and SecMI's later questions follow from the answers, which differ; the others are the same questions twice.
    once = scored(attacks, labels)[3].together
    assert calls.together == 2 * once and len(network.distinct) < network.rows


def test_both_forms_of_pfami_share_their_crop():
    forms = {form: AttackRequest(PFAMI(form=form), False) for form in ("published", "averaged")}
    _, queries, network, _ = scored(forms, None)
    assert queries == {"published": 20, "averaged": 40}  # crops of 8x8 are 7, 6 or 5 pixels wide
    assert network.rows == len(network.distinct) == N * 40


def test_the_likelihoods_walk_is_not_counted_as_shared():
    attacks = {"loss": AttackRequest(Loss(), False), "likelihood": AttackRequest(Likelihood(steps=4), False)}
    _, queries, network, calls = scored(attacks, None)
    assert (calls.together, calls.apart, queries["likelihood"]) == (1, 1, 18)
    assert network.rows == N * 19
