"""Attacks that learn: SecMI-NN and CDI from calibration labels, quantile regression from public images."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from leakbench.api import AuditSetting, Calibration, ImageSet, MembershipAttack, Release
from leakbench.attacks.membership import _map_reader, quantile
from leakbench.attacks.membership.cdi import CDI
from leakbench.attacks.membership.quantile import Quantile
from leakbench.attacks.membership.secmi import SecMI
from leakbench.attacks.membership.secmi_nn import SecMINN
from leakbench.data.image_batch import Images
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.classifiers import train_classifier
from leakbench.models.diffusion import Schedule
from leakbench.runtime.device import Rng
from leakbench.runtime.errors import UsageError

SHAPE, STREAMS = (1, 8, 8), Rng("learners", 0)
MIXING = torch.eye(64).double() + STREAMS.of("mixing").normal(torch.arange(64), (64,)).double() / 40
ALPHA_BAR = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
WIDE = {"t": 400, "k": 100}  # strides at which float32 leaves SecMI's differences five digits


class Network(torch.nn.Module):
    """Knows nothing of any image."""

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        mixed = 2 * x.flatten(1) @ MIXING.to(x.dtype) + t.to(x.dtype)[:, None] / 500
        return torch.sin(mixed).view_as(x)


def eps(x: np.ndarray, t: int) -> np.ndarray:
    return np.sin(2 * x.reshape(-1) @ MIXING.numpy() + t / 500).reshape(x.shape)


def images(first: int, count: int) -> Images:
    """Random images of varied contrast, which SecMI's error follows."""
    ids = torch.arange(first, first + count)
    own = 0.2 + 0.8 * STREAMS.of("contrast").uniform(ids, (1, 1, 1)).float()
    return Images(torch.tanh(own * STREAMS.of("images").normal(ids, SHAPE)), ids, None)


def target(batch: int = 64) -> AttackTarget:
    return AttackTarget.of(Release(Network(), Schedule(), STREAMS, SHAPE, torch.device("cpu"), batch=batch), STREAMS)


def joined(*parts: Images) -> Images:
    return Images(torch.cat([one.images for one in parts]), torch.cat([one.ids for one in parts]), None)


def group(attack: MembershipAttack, of: Images) -> ImageSet:
    return ImageSet(of.images, None, lambda question: target().ask(question, attack, False, of))


def fitted(attack: MembershipAttack, inside: Images, outside: Images, public: Images | None = None):
    both = group(attack, joined(inside, outside))
    member = np.repeat([True, False], [len(inside.ids), len(outside.ids)])
    public = both if public is None else group(attack, public)
    return attack.fit(Calibration(both.images, None, both.ask, member, public, STREAMS))


def scores(attack: MembershipAttack, of: Images, batch: int = 64) -> np.ndarray:
    return target(batch).score({"": AttackRequest(attack, False)}, of)[0][""]


def step(x: np.ndarray, s: int, u: int) -> np.ndarray:
    e = eps(x, s)
    x0 = (x - math.sqrt(1 - ALPHA_BAR[s]) * e) / math.sqrt(ALPHA_BAR[s])
    return math.sqrt(ALPHA_BAR[u]) * x0 + math.sqrt(1 - ALPHA_BAR[u]) * e


def secmi_map(x: torch.Tensor, t: int, k: int) -> np.ndarray:
    """SecMI's difference in every pixel of one image, by a plain loop."""
    x = x.double().numpy()
    for s in range(0, t - k, k):
        x = step(x, s, s + k)
    return np.abs(step(step(x, t - k, t), t, t - k) - x)


def halved(of: Images) -> Images:
    """The same with half the contrast in the left half: what a learner should find."""
    left = torch.ones(8)
    left[:4] = 0.5
    return Images(of.images * left, of.ids, None)


IN, OUT = halved(images(0, 60)), images(100, 60)
FRESH_IN, FRESH_OUT = halved(images(1000, 150)), images(2000, 150)


def fresh_auc(attack: MembershipAttack, inside: Images) -> float:
    return float(roc_auc_score([1] * 150 + [0] * 150, scores(attack, joined(inside, FRESH_OUT))))


@pytest.fixture(scope="module", autouse=True)
def half_the_steps():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_map_reader, "train_classifier", partial(train_classifier, steps=150))
        yield


@pytest.fixture
def hasty(monkeypatch):
    """A classifier of ten steps, where nothing depends on what it learns."""
    monkeypatch.setattr(_map_reader, "train_classifier", partial(train_classifier, steps=10))


@pytest.fixture(scope="module")
def secmi_nn_of_halves():
    return fitted(SecMINN(**WIDE), IN, OUT)


def test_secmi_nn_classifies_the_maps_of_the_plain_loop(secmi_nn_of_halves):
    attack = secmi_nn_of_halves
    known = np.stack([secmi_map(x, **WIDE) for x in joined(IN, OUT).images])
    asked = np.stack([secmi_map(x, **WIDE) for x in FRESH_IN.images])
    logits = attack._reader.network(torch.from_numpy(asked * 0.01 / math.sqrt((known**2).mean())).float())
    np.testing.assert_allclose(scores(attack, FRESH_IN), (logits[:, 1] - logits[:, 0]).numpy(), rtol=1e-4, atol=1e-4)
    assert target().score({"": AttackRequest(attack, False)}, FRESH_IN)[1][""] == 400 / 100 + 1


def test_secmi_nn_finds_what_differs_and_nothing_else(secmi_nn_of_halves):
    assert fresh_auc(secmi_nn_of_halves, FRESH_IN) > 0.8
    assert abs(fresh_auc(fitted(SecMINN(**WIDE), images(300, 60), OUT), images(3000, 150)) - 0.5) < 0.12


def test_secmi_nn_learns_from_as_many_labels_as_it_is_given(hasty):
    member = torch.arange(120) % 3 == 0
    for count, half in [(10, 5), (21, 10), (79, 39)]:
        chosen = _map_reader._drawn(member, count, STREAMS.of("drawn"))
        assert len(set(chosen.tolist())) == len(chosen) == count and member[chosen].sum() == half
    few, same, all_of_them = (fitted(SecMINN(labels=labels, **WIDE), IN, OUT) for labels in (20, 20, None))
    assert np.array_equal(scores(few, FRESH_IN), scores(same, FRESH_IN))
    assert not np.allclose(scores(few, FRESH_IN), scores(all_of_them, FRESH_IN))


def test_secmi_nn_refuses_more_labels_than_there_are_before_any_training():
    place = AuditSetting((), "none", "nothing", 1000, 100, calibration=20)
    assert SecMINN(labels=20).skip(place) is None and SecMINN().skip(place) is None
    assert SecMINN(labels=21).skip(place).reason == "labels = 21: calibration holds 20 images, half of them members"
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        SecMINN(labels=1)
    with pytest.raises(ValidationError, match="divisor of t"):
        SecMINN(k=30)


def test_secmi_nn_is_fitted_out_of_fold_even_where_it_asks_for_all_labels(hasty):
    parts = {"member": FRESH_IN, "nonmember": FRESH_OUT, "calibration_in": IN, "calibration_out": OUT}
    found = collect_membership_evidence(target(), {"": AttackRequest(SecMINN(labels=120, **WIDE), False)}, parts)[0][""]
    assert np.isfinite(found.calibration_member_scores).all() and len(found.calibration_nonmember_scores) == 60


ALPHA, PUBLIC, HELDOUT = 0.2, images(10_000, 600), images(20_000, 1000)


@pytest.fixture(scope="module")
def bag():
    """Quantile regression fitted on the public images, in two thirds of the steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantile, "_RECIPE", replace(quantile._RECIPE, steps=200))
        yield fitted(Quantile(alpha=ALPHA, bag=3, **WIDE), IN, OUT, PUBLIC)


@pytest.fixture(scope="module")
def flagged(bag):
    """Held-out nonmembers that the vote calls members."""
    return scores(bag, HELDOUT) > 0


def test_the_vote_flags_a_share_alpha_of_nonmembers(flagged):
    """About a third of the 600 public images sets each shift: the share is known to three of their standard errors."""
    assert abs(flagged.mean() - ALPHA) < 3 * math.sqrt(ALPHA * (1 - ALPHA) * (1 / 220 + 1 / 1000))


def test_the_quantile_follows_the_image(flagged):
    """The t-error falls with the contrast here: one threshold for all would flag hardly any pale image."""
    contrast = HELDOUT.images.std(dim=(1, 2, 3)).numpy()
    pale = contrast < np.median(contrast)
    one_for_all = scores(SecMI(**WIDE), HELDOUT)
    threshold = np.quantile(one_for_all, 1 - ALPHA)
    assert (one_for_all > threshold)[pale].mean() < 0.05
    assert abs(flagged[pale].mean() - flagged[~pale].mean()) < 0.15


def test_the_quantile_score_is_the_plain_loop(bag):
    few = HELDOUT.take(torch.arange(12))
    found = scores(bag, few)
    for i in range(12):
        error = math.log((secmi_map(few.images[i], **WIDE) ** 2).sum())
        margins = sorted(float(net(few.images[i : i + 1])[0, 0] + shift) - error for net, shift in bag._bag)
        assert found[i] == pytest.approx(margins[1], abs=2e-4)
        assert (found[i] > 0) == (sum(margin > 0 for margin in margins) >= 2)  # the paper's majority vote


def test_each_network_of_the_bag_flags_alpha_of_what_it_has_not_seen(bag):
    errors = np.log([(secmi_map(x, **WIDE) ** 2).sum() for x in PUBLIC.images])
    for number, (network, shift) in enumerate(bag._bag):
        rows = STREAMS.of("quantile", number).integers(torch.zeros(1), 600, (600,))[0]
        left = np.setdiff1d(np.arange(600), rows.numpy())
        predicted = (network(PUBLIC.images[left])[:, 0] + shift).numpy()
        below = (errors[left] < predicted - 1e-4).sum()
        assert below <= ALPHA * (len(left) + 1) < below + 3
    assert len({float(shift) for _, shift in bag._bag}) == 3


def test_quantile_reads_public_images_and_no_label(bag):
    turned = fitted(Quantile(alpha=ALPHA, bag=1, **WIDE), OUT, IN, PUBLIC)._bag[0]
    assert all(map(torch.equal, turned[0].parameters(), bag._bag[0][0].parameters())) and turned[1] == bag._bag[0][1]
    assert Quantile.learns_from == "public" and not Quantile().out_of_fold
    with pytest.raises(UsageError, match="public images, at least 8, and the split has 3: give it a `reference` part"):
        fitted(Quantile(), IN, OUT, images(0, 3))


def double(of: Images) -> Images:
    return Images(of.images.double(), of.ids, None)


def features(x: torch.Tensor, number: int) -> list[float]:
    """CDI's features of one image, by a plain loop."""
    image = x.double().numpy()

    def root_loss(t: int, draw: int) -> float:
        e = STREAMS.of("attacking", "forward").normal(torch.tensor([number]), SHAPE, draw)[0].double().numpy()
        return np.linalg.norm(e - eps(math.sqrt(ALPHA_BAR[t]) * image + math.sqrt(1 - ALPHA_BAR[t]) * e, t))

    found = [np.mean([root_loss(100, draw) for draw in range(5)])]
    found.append((secmi_map(x, 110, 10) ** 2).sum())  # inverted to 100, and compared there
    for normalised in (False, True):
        e = eps(image, 0)
        e = e / np.abs(e).mean() * math.sqrt(2 / math.pi) if normalised else e
        x_t = math.sqrt(ALPHA_BAR[200]) * image + math.sqrt(1 - ALPHA_BAR[200]) * e
        found.append((np.abs(e - eps(x_t, 200)) ** 5).sum())
    return [math.log(value) for value in (*found, *(root_loss(t, 0) for t in range(0, 1000, 100)))]


def table(of: Images) -> np.ndarray:
    return np.array([features(x, int(number)) for x, number in zip(of.images, of.ids, strict=True)])


def test_cdi_is_a_logistic_regression_on_the_features_of_the_plain_loop():
    first = torch.arange(20)
    inside, outside, asked = (double(of.take(first)) for of in (IN, OUT, FRESH_IN))
    attack = fitted(CDI(), inside, outside)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(table(joined(inside, outside)), [1] * 20 + [0] * 20)
    np.testing.assert_allclose(scores(attack, asked), model.decision_function(table(asked)), rtol=1e-5, atol=1e-5)
    assert target().score({"": AttackRequest(attack, False)}, asked)[1][""] == 5 + 12 + 2 + 2 + 10


def test_cdi_finds_what_differs_and_nothing_else():
    assert fresh_auc(fitted(CDI(), IN, OUT), FRESH_IN) > 0.7
    assert abs(fresh_auc(fitted(CDI(), images(300, 60), OUT), images(3000, 150)) - 0.5) < 0.12


def test_cdi_is_judged_in_sets_and_wants_the_whole_schedule():
    assert CDI.sets and CDI().out_of_fold
    found = CDI().skip(AuditSetting((), "none", "nothing", 500, 100))
    assert found.reason == "it asks at t = 900, and the noise schedule ends at t = 499"


@pytest.mark.parametrize("kind", ["secmi_nn", "quantile", "cdi"])
def test_batches_and_order_change_no_score(kind, secmi_nn_of_halves, bag):
    attack = {"secmi_nn": secmi_nn_of_halves, "quantile": bag, "cdi": fitted(CDI(), IN, OUT)}[kind]
    few, order = FRESH_IN.take(torch.arange(30)), torch.randperm(30, generator=torch.Generator().manual_seed(0))
    whole = scores(attack, few)
    for batch in (1, 7):
        np.testing.assert_allclose(scores(attack, few, batch), whole, atol=5e-4)
    np.testing.assert_allclose(scores(attack, few.take(order), 7), whole[order.numpy()], atol=5e-4)
