"""Attacks on a hosted model's variations and completions against loops written by hand; SSIM against torchmetrics."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.image import structural_similarity_index_measure

from leakbench.api import Access, AuditSetting, Calibration, ImageSet, MembershipAttack, Release
from leakbench.attacks.membership._similarity import ssim
from leakbench.attacks.membership.inpainting import Inpainting
from leakbench.attacks.membership.rediffuse import ReDiffuse
from leakbench.attacks.membership.rediffuse_nn import ReDiffuseNN
from leakbench.data.image_batch import Images
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.classifiers import train_classifier
from leakbench.models.diffusion import Schedule
from leakbench.testing.toys import SHAPE, toy_images, toy_release, toy_rng

COUNT = 12
PARTS = ("member", "nonmember", "calibration_in", "calibration_out")
SPLIT = {
    name: Images(toy_images(COUNT, name), torch.arange(COUNT) + number * COUNT, None)
    for number, name in enumerate(PARTS)
}
ALPHA_BAR = [float(a) for a in np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))]
WALK = [800, 600, 400, 200, 0]  # five steps, as the tiny release samples


def target(batch: int = 8) -> AttackTarget:
    return AttackTarget.of(toy_release(batch), toy_rng())


def scores(attack: MembershipAttack, batch: int = 8, order: slice = slice(None)) -> np.ndarray:
    part = SPLIT["member"].take(torch.arange(COUNT)[order] if order.step is None else torch.arange(COUNT).flip(0))
    return target(batch).score({"": AttackRequest(attack, False)}, part)[0][""]


def noise(purpose: str, row: int, draw: int) -> torch.Tensor:
    return toy_rng().of("attacking", purpose).normal(SPLIT["member"].ids[row : row + 1], SHAPE, draw)


def noised(x: torch.Tensor, t: int, e: torch.Tensor) -> torch.Tensor:
    return math.sqrt(ALPHA_BAR[t]) * x + math.sqrt(1 - ALPHA_BAR[t]) * e


def moved(network: torch.nn.Module, x: torch.Tensor, s: int, u: int | None) -> torch.Tensor:
    """One DDIM step to u, or to the clean image."""
    eps = network(x, torch.tensor([s]))
    x0 = (x - math.sqrt(1 - ALPHA_BAR[s]) * eps) / math.sqrt(ALPHA_BAR[s])
    return x0.clamp(-1, 1) if u is None else noised(x0, u, eps)


def varied(row: int, start: int, draw: int) -> torch.Tensor:
    """One image, noised to `start` and walked back."""
    network, walk = toy_release().network, [t for t in WALK if t <= start]
    x = noised(SPLIT["member"].images[row : row + 1], start, noise("vary", row, draw))
    for s, u in zip(walk, [*walk[1:], None], strict=True):
        x = moved(network, x, s, u)
    return x


@pytest.mark.parametrize(("strength", "start", "draws"), [(0.2, 200, 3), (0.35, 400, 1)])
def test_rediffuse_is_the_plain_loop(strength, start, draws):
    for distance in ("l2", "ssim"):
        found = scores(ReDiffuse(strength=strength, draws=draws, distance=distance))
        for i in range(COUNT):
            x = SPLIT["member"].images[i : i + 1]
            mean = sum(varied(i, start, draw) for draw in range(draws)) / draws
            if distance == "l2":
                assert found[i] == pytest.approx(-math.sqrt(float((x - mean).square().sum())), rel=1e-5)
            else:
                assert found[i] == pytest.approx(float(ssim(x, mean)) - 1, rel=1e-4)


@pytest.mark.parametrize("draws", [1, 2])
def test_inpainting_is_the_plain_loop(draws):
    found, network = scores(Inpainting(draws=draws)), toy_release().network
    for i in range(COUNT):
        x0, errors = SPLIT["member"].images[i : i + 1], []
        for rows, columns in [
            (slice(8), slice(4)),
            (slice(8), slice(4, 8)),
            (slice(4), slice(8)),
            (slice(4, 8), slice(8)),
        ]:
            hidden = torch.zeros(8, 8, dtype=torch.bool)
            hidden[rows, columns] = True
            for draw in range(draws):
                x = noise("inpaint start", i, draw)
                for s, u in zip(WALK, [*WALK[1:], None], strict=True):
                    x = torch.where(hidden, x, noised(x0, s, noise("inpaint known", i, draw)))
                    x = moved(network, x, s, u)
                errors.append(float((x - x0)[..., rows, columns].square().mean()))
        assert found[i] == pytest.approx(-np.mean(errors), rel=1e-5)


@pytest.mark.parametrize("attack", [ReDiffuse(draws=2), ReDiffuse(draws=2, distance="ssim"), Inpainting()])
def test_neither_batches_nor_order_change_the_scores(attack):
    whole = scores(attack)
    np.testing.assert_allclose(scores(attack, batch=5), whole, rtol=1e-5)
    np.testing.assert_allclose(scores(attack, order=slice(None, None, -1))[::-1], whole, rtol=1e-5)


def test_requests_are_counted_and_the_two_forms_share_them(monkeypatch):
    calls = []
    answer = Release.raw_eps
    monkeypatch.setattr(Release, "raw_eps", lambda self, *asked: calls.append(len(asked[0])) or answer(self, *asked))
    asked = {a.name: AttackRequest(a, False) for a in (ReDiffuse(draws=3), ReDiffuseNN(draws=3), Inpainting())}
    at, quick = target(COUNT), ReDiffuseNN(draws=3)
    monkeypatch.setattr(
        "leakbench.attacks.membership._map_reader.train_classifier", lambda *_: lambda x: x[:, 0, 0, :2]
    )
    asked["rediffuse_nn"] = AttackRequest(fitted(quick, at), False)
    calls.clear()
    queries = at.score(asked, SPLIT["member"])[1]
    assert queries == {"rediffuse": 3 * 2, "rediffuse_nn": 3 * 2, "inpainting": 4 * 5}
    assert len(calls) == 3 * 2 + 4 * 5


def fitted(attack: ReDiffuseNN, at: AttackTarget) -> ReDiffuseNN:
    part = SPLIT["calibration_in"]

    def ask(question):
        return at.ask(question, attack, False, part)

    nothing = ImageSet(part.images[:0], None, ask)
    return attack.fit(Calibration(part.images, None, ask, np.arange(COUNT) % 2 == 0, nothing, toy_rng()))


@pytest.mark.parametrize(("shape", "window"), [((3, 32, 32), 7), ((1, 16, 20), 7), ((1, 8, 8), 7), ((2, 5, 9), 5)])
def test_ssim_agrees_with_torchmetrics(shape, window):
    a = torch.tanh(toy_rng().of("a").normal(torch.arange(4), shape))
    b = (0.7 * a + 0.3 * torch.tanh(toy_rng().of("b").normal(torch.arange(4), shape))).clamp(-1, 1)
    # torchmetrics pads by reflection; away from the edges its map is that of windows wholly inside the image.
    theirs = structural_similarity_index_measure(
        a, b, gaussian_kernel=False, kernel_size=window, data_range=2.0, reduction="none", return_full_image=True
    )[1]
    edge = window // 2
    interior = theirs[..., edge : shape[1] - edge, edge : shape[2] - edge].flatten(1).mean(dim=1)
    np.testing.assert_allclose(ssim(a, b), interior, rtol=1e-5)
    np.testing.assert_allclose(ssim(a, a), 1.0, rtol=1e-6)


class Projector(torch.nn.Module):
    """Takes the nearest image that it was trained on for the truth: variations of a member come back to it."""

    def __init__(self, known: torch.Tensor) -> None:
        super().__init__()
        self.known = known.flatten(1)

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        alpha_bar = torch.tensor(ALPHA_BAR)[t].float().view(-1, 1)
        truth = self.known[torch.cdist(x.flatten(1) / alpha_bar.sqrt(), self.known).argmin(dim=1)]
        return ((x.flatten(1) - alpha_bar.sqrt() * truth) / (1 - alpha_bar).sqrt()).view_as(x)


class Completer(Release):
    """Completes an image as the nearest that it was trained on, judged by what it is shown."""

    def inpaint(self, x0, mask, start, noise, label=None):
        known = self.network.known.view(-1, *x0.shape[1:])
        nearest = torch.cdist((x0 * ~mask).flatten(1), (known * ~mask).flatten(1)).argmin(dim=1)
        return torch.where(mask, known[nearest], x0)


@pytest.mark.parametrize("attack", [ReDiffuse(), ReDiffuse(distance="ssim"), ReDiffuseNN(), Inpainting()])
def test_a_high_score_means_a_member(monkeypatch, attack):
    quick = partial(train_classifier, steps=60)
    monkeypatch.setattr("leakbench.attacks.membership._map_reader.train_classifier", quick)
    wide = {
        name: Images(toy_images(40, f"wide {name}"), torch.arange(40) + 40 * number, None)
        for number, name in enumerate(PARTS)
    }
    known = torch.cat([wide["member"].images, wide["calibration_in"].images])
    release = Completer(Projector(known), Schedule(steps=10), toy_rng(), SHAPE, torch.device("cpu"), batch=40)
    found = collect_membership_evidence(AttackTarget.of(release, toy_rng()), {"": AttackRequest(attack, False)}, wide)[
        0
    ][""]
    truth = [1] * 40 + [0] * 40
    assert roc_auc_score(truth, np.concatenate([found.member_scores, found.nonmember_scores])) > 0.95
    calibration = np.concatenate([found.calibration_member_scores, found.calibration_nonmember_scores])
    assert roc_auc_score(truth, calibration) > 0.9  # out of fold, for the form that learns


def test_the_supervised_form_takes_no_more_labels_than_it_may(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "leakbench.attacks.membership._map_reader.train_classifier",
        lambda maps, member, *_: seen.append((maps, member)) or (lambda x: x[:, 0, 0, :2]),
    )
    fitted(ReDiffuseNN(draws=1), target())
    fitted(ReDiffuseNN(draws=1, labels=6), target())
    assert [len(maps) for maps, _ in seen] == [COUNT, 6]
    assert int(seen[1][1].sum()) == 3  # half of them members
    np.testing.assert_allclose([float(maps.square().mean().sqrt()) for maps, _ in seen], 0.01, rtol=1e-5)
    place = AuditSetting((), "none", "nothing", timesteps=1000, images=100, calibration=60)
    assert ReDiffuseNN(labels=60).skip(place) is None
    assert ReDiffuseNN(labels=61).skip(place).reason == "labels = 61: calibration holds 60 images, half of them members"


def test_they_ask_a_hosted_model_and_average():
    for kind in (ReDiffuse, ReDiffuseNN, Inpainting):
        assert kind.access is Access.API and kind.averages_answers
    assert ReDiffuseNN().out_of_fold and not ReDiffuse().learns
