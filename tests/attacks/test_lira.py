"""LiRA against a loop written by hand, on simulated Gaussians, and against models that memorise outright."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from functools import cache, partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from leakbench.api import Access, AuditSetting, Calibration, ImageSet, MembershipAttack, Release
from leakbench.api.answer_cache import QueriedRelease
from leakbench.attacks.membership._gaussians import Pool
from leakbench.attacks.membership.lira_offline import LiRAOffline
from leakbench.attacks.membership.lira_online import LiRAOnline
from leakbench.attacks.membership.loss import Loss
from leakbench.attacks.membership.rmia import RMIA
from leakbench.data.image_batch import Images
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, AuxiliaryRelease
from leakbench.models.diffusion import Schedule
from leakbench.runtime.errors import UsageError
from leakbench.testing.toys import SHAPE, toy_images, toy_release, toy_rng

COUNT = 12  # images a part
PARTS = ("member", "nonmember", "calibration_in", "calibration_out", "reference")
SPLIT = {
    name: Images(toy_images(COUNT, name), torch.arange(COUNT) + number * COUNT, None)
    for number, name in enumerate(PARTS)
}
POOL = 4 * COUNT  # all images but those of the reference part
SHADOWS = 4
ROWS = [np.random.default_rng([0, k]).permutation(POOL)[: POOL // 2] for k in range(SHADOWS)]
ALPHA_BAR = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))


def exact_release(batch: int = 16, weights: str = "plain") -> Release:
    """A toy that computes in float64 and answers float32: what it says of an image hangs on no batch or processor, for
    two models' spread is a hundredth of their losses, and the score is divided by its square."""
    release = toy_release(batch, weights=weights)
    network: torch.nn.Module = release.network.double()
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(lambda _, given: (given[0].double(),))
    network.register_forward_hook(lambda _, given, answer: answer.float())
    return release


def target(batch: int = 16, first: str = "target", shadows: tuple[str, ...] = ()) -> AttackTarget:
    """Random networks with the names of their weights."""
    names = shadows or tuple(f"shadow {k}" for k in range(SHADOWS))
    others = {
        f"shadow-{k}": AuxiliaryRelease(QueriedRelease(exact_release(batch, names[k]), lambda: torch.empty(0)), rows)
        for k, rows in enumerate(ROWS)
    }
    return AttackTarget.of(exact_release(batch, first), toy_rng(), others=others)


def scores_of(attack: MembershipAttack, at: AttackTarget, split: dict[str, Images] = SPLIT) -> np.ndarray:
    """Of members, then nonmembers."""
    found = collect_membership_evidence(at, {"": AttackRequest(attack, False)}, split)[0][""]
    return np.concatenate([found.member_scores, found.nonmember_scores])


@cache
def network(weights: str) -> torch.nn.Module:
    return exact_release(weights=weights).network


@cache
def loss(weights: str, part: str, row: int, draws: int, t: int = 100) -> float:
    """One image's mean loss in one network."""
    model, image = network(weights), SPLIT[part].images[row : row + 1]
    found = []
    for draw in range(draws):
        noise = toy_rng().of("attacking", "forward").normal(SPLIT[part].ids[row : row + 1], SHAPE, draw)
        x_t = (np.sqrt(ALPHA_BAR[t]) * image.double() + np.sqrt(1 - ALPHA_BAR[t]) * noise.double()).float()
        found.append(float((model(x_t, torch.tensor([t])).double() - noise.double()).square().sum()))
    return statistics.mean(found)


def sides(part: str, row: int, draws: int) -> tuple[list[float], list[float]]:
    """Losses in the shadow models that were trained on the image, and in the others."""
    number = int(SPLIT[part].ids[row])
    chosen = [number in rows for rows in ROWS]
    found = [loss(f"shadow {k}", part, row, draws) for k in range(SHADOWS)]
    return [f for f, c in zip(found, chosen, strict=True) if c], [
        f for f, c in zip(found, chosen, strict=True) if not c
    ]


def by_hand(kind: str, variance: str, draws: int) -> list[float]:
    """The scores of members and nonmembers, image by image."""
    calibration = [sides(part, row, draws) for part in PARTS[2:4] for row in range(COUNT)]
    std = []
    for side in (0, 1):
        many = [one[side] for one in calibration if len(one[side]) > 1]
        squares = sum(sum((v - statistics.mean(values)) ** 2 for v in values) for values in many)
        std.append((squares / sum(len(values) - 1 for values in many)) ** 0.5)
    gap = statistics.mean(statistics.mean(out) - statistics.mean(inn) for inn, out in calibration if inn and out)
    scores = []
    for part in PARTS[:2]:
        for row in range(COUNT):
            phi, both = loss("target", part, row, draws), sides(part, row, draws)
            mean_in = statistics.mean(both[0]) if both[0] else statistics.mean(both[1]) - gap
            mean_out = statistics.mean(both[1]) if both[1] else statistics.mean(both[0]) + gap
            s = [
                statistics.stdev(v) if variance == "per_image" and len(v) > 1 else p
                for v, p in zip(both, std, strict=True)
            ]
            if kind == "online":
                scores.append(norm.logpdf(phi, mean_in, s[0]) - norm.logpdf(phi, mean_out, s[1]))
            else:
                scores.append(-norm.logcdf(phi, mean_out, s[1]))
    return scores


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("variance", ["pooled", "per_image"])
@pytest.mark.parametrize("kind", [LiRAOnline, LiRAOffline])
def test_the_score_is_the_plain_loop(kind, variance, draws):
    attack = kind(shadows=SHADOWS, draws=draws, variance=variance)
    inside = [len(sides(part, row, 1)[0]) for part in PARTS[:2] for row in range(COUNT)]
    assert {0, 1, SHADOWS} <= set(inside)  # images in none, in one, and in all: every fallback is used
    expected = by_hand(kind.name.removeprefix("lira_"), variance, draws)
    np.testing.assert_allclose(scores_of(attack, target()), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [LiRAOnline, LiRAOffline, RMIA])
def test_neither_batches_nor_order_change_the_scores(kind):
    attack = kind(shadows=SHADOWS)
    whole = scores_of(attack, target())
    np.testing.assert_allclose(scores_of(attack, target(batch=5)), whole, rtol=1e-5, atol=1e-5)
    backwards = {name: part.take(torch.arange(COUNT - 1, -1, -1)) for name, part in SPLIT.items()}
    turned = scores_of(attack, target(), backwards).reshape(2, COUNT)[:, ::-1].ravel()
    np.testing.assert_allclose(turned, whole, rtol=1e-5, atol=1e-5)


def test_auto_pools_below_64_shadow_models_only():
    few = {v: scores_of(LiRAOnline(shadows=SHADOWS, variance=v), target()) for v in ("auto", "pooled", "per_image")}
    assert np.array_equal(few["auto"], few["pooled"]) and not np.allclose(few["auto"], few["per_image"])
    many = {v: simulated(LiRAOnline(shadows=64, variance=v), seed=0, count=50) for v in ("auto", "pooled", "per_image")}
    assert np.array_equal(many["auto"], many["per_image"]) and not np.allclose(many["auto"], many["pooled"])


@dataclass
class Said:
    """A view of a model that answers with given losses (N,): eps is off by as much in every pixel, and noise is 0."""

    values: torch.Tensor
    others: dict[str, SimpleNamespace] = field(default_factory=dict)

    def noised(self, t: int, draw: int) -> torch.Tensor:
        return torch.zeros(len(self.values), *SHAPE)

    noise = noised_with = lambda self, draw=0: self.noised(0, draw)

    def eps(self, x: torch.Tensor, t: int, labels: object = None) -> torch.Tensor:
        return (self.values / x[0].numel()).sqrt().view(-1, 1, 1, 1).expand_as(x)


def simulated(
    attack: MembershipAttack, seed: int, count: int = 2000, std_in: float = 1.0, std_out: float = 1.0
) -> np.ndarray:
    """Scores of `count` members and as many nonmembers whose losses are Gaussians: means far apart between images,
    members lower by 2."""
    generator = np.random.default_rng(seed)
    k = attack.shadows

    def views(number: int, member: np.ndarray) -> Said:
        mean = 500 + 50 * generator.standard_normal((number, 1))
        inside = generator.random((number, k)).argsort(axis=1) < k // 2
        everything = np.concatenate([member[:, None], inside], axis=1)
        noise = generator.standard_normal((number, k + 1)) * np.where(everything, std_in, std_out)
        values = torch.from_numpy(mean - 2 * everything + noise)
        shadows = {
            f"shadow-{i}": SimpleNamespace(view=Said(values[:, i + 1]), is_member=torch.from_numpy(inside[:, i]))
            for i in range(k)
        }
        return Said(values[:, 0], shadows)

    known = views(400, np.arange(400) % 2 == 0)
    nothing = ImageSet(torch.empty(0), None, lambda question: torch.empty(0))
    calibration = Calibration(
        torch.empty(400, *SHAPE), None, lambda q: q(known, torch.empty(0), None), None, nothing, None
    )
    fitted = attack.fit(calibration)
    return fitted.score(views(2 * count, np.arange(2 * count) < count), torch.empty(0), None).numpy()


def tpr(scores: np.ndarray, fpr: float) -> float:
    members, nonmembers = np.split(scores, 2)
    return float((members > np.quantile(nonmembers, 1 - fpr)).mean())


@pytest.mark.parametrize("kind", [LiRAOnline, LiRAOffline])
def test_with_few_shadow_models_pooling_the_variance_is_stronger(kind):
    """8 models, so 4 a side. Were the Gaussians known, TPR at 1 % would be 0.37 (two standard deviations apart)."""
    pooled, own = (tpr(simulated(kind(shadows=8, draws=1, variance=v), seed=1), 0.01) for v in ("pooled", "per_image"))
    assert pooled > 2 * own and 0.2 < pooled < 0.37


def test_with_many_shadow_models_both_come_near_the_ideal():
    for variance in ("pooled", "per_image"):
        found = simulated(LiRAOnline(shadows=128, draws=1, variance=variance), seed=2)
        assert roc_auc_score([1] * 2000 + [0] * 2000, found) == pytest.approx(norm.cdf(2 / 2**0.5), abs=0.015)


def test_each_side_has_the_spread_of_its_own_models():
    """A published implementation takes the standard deviation of OUT from the IN models."""
    generator = np.random.default_rng(0)
    inside = generator.random((3000, 16)) < 0.5
    values = 50 * generator.standard_normal((3000, 1)) + generator.standard_normal((3000, 16)) * np.where(inside, 1, 3)
    pool = Pool.of(torch.from_numpy(values - 2.0 * inside), torch.from_numpy(inside))
    assert float(pool.std_in) == pytest.approx(1, rel=0.03) and float(pool.std_out) == pytest.approx(3, rel=0.03)
    assert float(pool.gap) == pytest.approx(2, abs=0.1)


def test_the_offline_tail_is_one_sided():
    """A loss far below what models without the image have counts for membership, one far above against it."""
    attack = LiRAOffline(shadows=8)
    z = torch.tensor([-30.0, -3.0, 0.0, 3.0, 30.0], dtype=torch.float64)
    found = attack.ratio(z, z, z, z)
    assert (found.diff() < 0).all() and found.isfinite().all()
    np.testing.assert_allclose(found[1:4], -norm.logcdf([-3, 0, 3]), rtol=1e-12)


def test_a_twin_of_the_target_answers_as_the_target_does_and_breaks_nothing():
    """All shadow models are the target's twins: no spread, no difference, so no evidence either way."""
    twins = target(first="target", shadows=("target",) * SHADOWS)
    for variance in ("pooled", "per_image"):
        found = scores_of(LiRAOnline(shadows=SHADOWS, variance=variance), twins)
        np.testing.assert_allclose(found, 0, atol=1e-6)
    one = target(first="shadow 0")  # the first shadow model is the target's twin
    pair = one.score({"": AttackRequest(Probe(), False)}, SPLIT["member"])[0][""]
    assert np.array_equal(pair, np.zeros(COUNT))


class Probe(LiRAOnline):
    """The difference between the target's loss and its first shadow model's."""

    name = "probe"
    shadows: int = 1

    def score(self, view, images, labels):
        return self._in_shadows(view, images, labels)[:, 0, 0] + Loss(t=100, draws=4).score(view, images, labels)


class Memoriser(torch.nn.Module):
    """Takes the nearest image that it was trained on for the truth."""

    def __init__(self, known: torch.Tensor) -> None:
        super().__init__()
        self.known = known.flatten(1)

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        alpha_bar = torch.from_numpy(ALPHA_BAR)[t].float().view(-1, 1)
        nearest = torch.cdist(x.flatten(1) / alpha_bar.sqrt(), self.known).argmin(dim=1)
        eps = (x.flatten(1) - alpha_bar.sqrt() * self.known[nearest]) / (1 - alpha_bar).sqrt()
        return eps.view_as(x)


@pytest.mark.parametrize("kind", [LiRAOnline, LiRAOffline, RMIA, partial(RMIA, mode="offline")])
def test_a_high_score_means_a_member(kind):
    everything = torch.cat([SPLIT[name].images for name in PARTS])
    device = torch.device("cpu")

    def release(rows: np.ndarray) -> Release:
        return Release(Memoriser(everything[torch.from_numpy(rows)]), Schedule(), toy_rng(), SHAPE, device, batch=16)

    others = {
        f"shadow-{k}": AuxiliaryRelease(QueriedRelease(release(rows), torch.Tensor), rows)
        for k, rows in enumerate(ROWS)
    }
    trained_on = torch.cat([SPLIT["member"].ids, SPLIT["calibration_in"].ids]).numpy()
    found = scores_of(kind(shadows=SHADOWS), AttackTarget.of(release(trained_on), toy_rng(), others=others))
    assert np.isfinite(found).all() and roc_auc_score([1] * COUNT + [0] * COUNT, found) > 0.85


def test_attacks_with_shadow_models_share_the_calls_of_all_models(monkeypatch):
    calls = []
    answer = Release.raw_eps
    monkeypatch.setattr(Release, "raw_eps", lambda self, *asked: calls.append(len(asked[0])) or answer(self, *asked))
    asked = {a.name: AttackRequest(a, False) for a in (LiRAOnline(shadows=4), LiRAOffline(shadows=4), RMIA(shadows=4))}
    at = target(batch=COUNT)
    fitted = {n: AttackRequest(a.attack.fit(known(at, a.attack)), False) for n, a in asked.items()}
    calls.clear()
    _, queries = at.score(fitted | {"loss": AttackRequest(Loss(t=100, draws=4), False)}, SPLIT["member"])
    assert len(calls) == 4 * (1 + SHADOWS)  # four draws of the target and of each shadow model, for four attacks
    assert set(queries.values()) == {4.0}  # of the attacked service, each as if it ran alone


def known(at: AttackTarget, attack: MembershipAttack) -> Calibration:
    def group(name: str) -> ImageSet:
        return ImageSet(SPLIT[name].images, None, lambda question: at.ask(question, attack, False, SPLIT[name]))

    here, public = group("calibration_in"), group("reference")
    return Calibration(here.images, None, here.ask, np.ones(COUNT, dtype=bool), public, toy_rng())


@pytest.mark.parametrize("attack", [LiRAOnline(), LiRAOffline(), RMIA()])
def test_shadow_models_are_needed_by_name(attack):
    assert [need.name for need in attack.auxiliary_models()] == [f"shadow-{k}" for k in range(16)]
    assert attack.access is Access.DENOISER
    with pytest.raises(UsageError, match=f"{attack.name} needs the shadow model 'shadow-0', and there is none"):
        AttackTarget.of(toy_release(), toy_rng()).score({"": AttackRequest(attack, False)}, SPLIT["member"])


def test_too_few_of_everything_is_one_clear_line():
    inside = torch.tensor([[True, False]])
    with pytest.raises(UsageError, match="2 shadow models and 1 calibration images are too few"):
        Pool.of(torch.ones(1, 2), inside)
    place = AuditSetting((), "none", "nothing", timesteps=50, images=10)
    assert LiRAOnline(t=50).skip(place).reason == "it asks at t = 50, and the noise schedule ends at t = 49"
    assert LiRAOnline(t=49).skip(place) is None and RMIA(t=50).skip(place)
