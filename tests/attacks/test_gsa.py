"""Gradient norms against plain autograd, image by image; GSA finds the members of an over-fitted model."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from leakbench.api import Access, AuditSetting, Release
from leakbench.api.answer_cache import AnswerCache, QueriedRelease
from leakbench.api.views import WeightsView
from leakbench.attacks.membership import _gradients
from leakbench.attacks.membership._gradients import gradient_norms
from leakbench.attacks.membership.gsa1 import GSA1
from leakbench.attacks.membership.gsa2 import GSA2
from leakbench.data.image_batch import Images
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, AuxiliaryRelease
from leakbench.models.diffusion import Schedule, add_noise
from leakbench.models.networks import NetworkSpec, build
from leakbench.models.training.gradients import Batch
from leakbench.models.training.loop import Recipe
from leakbench.models.training.stacked import train_together
from leakbench.runtime.errors import UsageError
from leakbench.testing.toys import toy_images, toy_release, toy_rng

SHAPE = (1, 8, 8)
COUNT = 10
PARTS = ("member", "nonmember", "calibration_in", "calibration_out")
SPLIT = {
    name: Images(toy_images(COUNT, name), torch.arange(COUNT) + number * COUNT, None)
    for number, name in enumerate(PARTS)
}
ROWS = [np.random.default_rng([0, k]).permutation(4 * COUNT)[: 2 * COUNT] for k in range(2)]

SPECS = {
    "mlp": NetworkSpec(kind="mlp", shape=SHAPE, width=24, blocks=2),
    "mlp of labels": NetworkSpec(kind="mlp", shape=SHAPE, width=24, blocks=1, conditions=3),
    "mlp with dropout": NetworkSpec(kind="mlp", shape=SHAPE, width=24, blocks=1, dropout=0.5),
    "unet": NetworkSpec(kind="unet", shape=(1, 16, 16), width=8, blocks=1),
    "unet of labels, odd size": NetworkSpec(kind="unet", shape=(3, 11, 10), width=8, blocks=1, conditions=3),
}


class Branching(torch.nn.Module):
    """Its path depends on its data, so that vmap cannot batch it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = build(SPECS["mlp"], toy_rng().of("body"))

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return self.body(x if float(x.mean()) > 0 else -x, t)


def network(kind: str) -> torch.nn.Module:
    made = Branching() if kind == "branching" else build(SPECS[kind], toy_rng().of(kind))
    return made.eval().requires_grad_(False)


def states(kind: str, count: int = 4, draws: int = 3) -> tuple[torch.Tensor, ...]:
    """x, t, noise and label."""
    spec = SPECS.get(kind, SPECS["mlp"])
    x, noise = (toy_rng().of(kind, what).normal(torch.arange(count), (draws, *spec.shape)) for what in ("x", "noise"))
    return x, torch.tensor([99, 499, 999])[:draws], noise, torch.arange(count) % 3 if spec.conditions else None


def by_autograd(model: torch.nn.Module, x: torch.Tensor, t: torch.Tensor, noise: torch.Tensor, label) -> torch.Tensor:
    """One image after the other, one backward pass each."""
    rows = []
    model.requires_grad_(True)
    with torch.enable_grad():
        for i in range(len(x)):
            model.zero_grad()
            asked = None if label is None else label[i].repeat(len(t))
            answer = model(x[i], t, asked)
            sum(((answer[j] - noise[i, j]) ** 2).mean() / len(t) for j in range(len(t))).backward()
            rows.append([float(p.grad.double().square().sum().sqrt()) for p in model.parameters()])
    model.requires_grad_(False)
    return torch.tensor(rows)


@pytest.mark.parametrize("kind", [*SPECS, "branching"])
def test_norms_are_those_of_plain_autograd(kind):
    model, asked = network(kind), states(kind)
    with torch.no_grad():  # as the harness asks
        found = gradient_norms(model, *asked)
    expected = by_autograd(model, *asked)
    assert found.shape == (4, len(list(model.parameters()))) and (expected > 0).any(dim=0).all()
    # What is in truth 0 comes out of autograd as rounding: a tolerance relative to the image's largest norm.
    error = (found - expected).abs() / expected.amax(dim=1, keepdim=True)
    assert float(error.max()) < 1e-5
    clear = expected > 1e-2 * expected.amax(dim=1, keepdim=True)
    np.testing.assert_allclose(found[clear], expected[clear], rtol=1e-4)
    assert int((found == 0).sum()) < found.numel() / 2


def test_a_gradient_that_is_0_by_construction_is_0():
    """A key's bias shifts all of a query's logits alike, and softmax takes the shift off."""
    model = network("unet")
    found = gradient_norms(model, *states("unet"))
    names = [name for name, _ in model.named_parameters()]
    keys = [i for i, name in enumerate(names) if name.endswith("to_k.bias")]
    assert keys and (found[:, keys] == 0).all()
    values = [i for i, name in enumerate(names) if name.endswith("to_v.bias")]
    assert (found[:, values] > 0).any(dim=1).all()


def test_norms_do_not_depend_on_the_chunk_or_the_batch(monkeypatch):
    model, (x, t, noise, label) = network("unet"), states("unet")
    whole = gradient_norms(model, x, t, noise, label)
    monkeypatch.setattr(_gradients, "_NUMBERS", 1)  # one image at a time
    np.testing.assert_allclose(gradient_norms(model, x, t, noise, label), whole, rtol=1e-4)
    turned = gradient_norms(model, x.flip(0), t, noise.flip(0), label).flip(0)
    np.testing.assert_allclose(turned, whole, rtol=1e-4)


def test_other_errors_are_not_taken_for_a_network_that_cannot_be_batched(monkeypatch):
    def out_of_memory(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("simulated")

    monkeypatch.setattr(torch, "vmap", out_of_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        gradient_norms(network("mlp"), *states("mlp"))


def view(schedule: Schedule | None = None) -> WeightsView:
    release = Release(network("mlp"), schedule or Schedule(), toy_rng(), SHAPE, torch.device("cpu"))
    part = SPLIT["member"]
    return WeightsView(
        AnswerCache(QueriedRelease(release, torch.Tensor), toy_rng(), part.images, part.ids, None), raw=True
    )


def test_gsa1_averages_losses_and_gsa2_averages_norms():
    seen, model = view(), network("mlp")
    x, t = SPLIT["member"].images, torch.tensor([199, 399, 599, 799, 999])
    noise = torch.stack([toy_rng().of("attacking", "forward").normal(torch.arange(COUNT), SHAPE, d) for d in range(5)])
    x_t = torch.stack([add_noise(Schedule(), x, t[d].repeat(COUNT), noise[d]) for d in range(5)])
    first = by_autograd(model, x_t.transpose(0, 1), t, noise.transpose(0, 1), None)
    np.testing.assert_allclose(GSA1(timesteps=5).features(seen), first, rtol=1e-5, atol=1e-6)
    each = [by_autograd(model, x_t[d][:, None], t[d : d + 1], noise[d][:, None], None) for d in range(5)]
    np.testing.assert_allclose(GSA2(timesteps=5).features(seen), torch.stack(each).mean(dim=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("count", "T", "walk"), [(10, 1000, list(range(99, 1000, 100))), (4, 50, [11, 24, 36, 49]), (1, 1000, [999])]
)
def test_timesteps_are_evenly_spaced_and_end_with_the_last(monkeypatch, count, T, walk):
    asked = []
    answer = WeightsView.noised
    monkeypatch.setattr(WeightsView, "noised", lambda self, t, draw: asked.append((t, draw)) or answer(self, t, draw))
    GSA1(timesteps=count).features(view(Schedule(T=T, steps=5)))
    assert asked == [(t, draw) for draw, t in enumerate(walk)]  # noise of its own at each


def target(batch: int = 16) -> AttackTarget:
    others = {
        f"shadow-{k}": AuxiliaryRelease(QueriedRelease(toy_release(batch, weights=f"shadow {k}"), torch.Tensor), rows)
        for k, rows in enumerate(ROWS)
    }
    return AttackTarget.of(toy_release(batch), toy_rng(), others=others)


@pytest.mark.parametrize("kind", [GSA1, GSA2])
def test_the_score_is_a_classifier_of_shadow_rows_by_the_plain_loop(kind):
    attack = kind(timesteps=2, shadows=2)
    found = collect_membership_evidence(target(), {"": AttackRequest(attack, True)}, SPLIT)[0][""]

    def features(weights: str, part: str, row: int) -> np.ndarray:
        model, one = toy_release(weights=weights).network, SPLIT[part].take(torch.tensor([row]))
        seen = WeightsView(
            AnswerCache(
                QueriedRelease(toy_release(weights=weights), torch.Tensor), toy_rng(), one.images, one.ids, None
            ),
            True,
        )
        rows = [seen.noised(t, d) for d, t in enumerate((499, 999))]
        noise = [seen.noise(d) for d in range(2)]
        if kind is GSA1:
            both = torch.stack(rows, dim=1), torch.tensor([499, 999]), torch.stack(noise, dim=1)
            return by_autograd(model, *both, None)[0].double().numpy()
        each = [
            by_autograd(model, x[:, None], torch.tensor([t]), e[:, None], None)
            for x, t, e in zip(rows, (499, 999), noise, strict=True)
        ]
        return torch.stack(each).mean(dim=0)[0].double().numpy()

    calibration = [(part, row) for part in PARTS[2:] for row in range(COUNT)]
    table = [features(f"shadow {k}", part, row) for part, row in calibration for k in range(2)]
    truth = [int(SPLIT[part].ids[row]) in ROWS[k] for part, row in calibration for k in range(2)]
    trees = HistGradientBoostingClassifier(max_iter=200, max_leaf_nodes=8, early_stopping=False, random_state=0)
    trees.fit(np.array(table), truth)
    wanted = trees.decision_function(np.array([features("plain", "member", row) for row in range(COUNT)]))
    np.testing.assert_allclose(found.member_scores, wanted, atol=1e-5)
    assert np.std(wanted) > 0.1


@pytest.mark.parametrize("kind", [GSA1, GSA2])
def test_neither_batches_nor_order_change_the_scores(kind):
    asked = {"": AttackRequest(kind(timesteps=2, shadows=2), True)}
    whole = collect_membership_evidence(target(), asked, SPLIT)[0][""]
    np.testing.assert_allclose(
        collect_membership_evidence(target(7), asked, SPLIT)[0][""].member_scores, whole.member_scores, rtol=1e-5
    )
    backwards = SPLIT | {name: SPLIT[name].take(torch.arange(COUNT - 1, -1, -1)) for name in PARTS[:2]}
    turned = collect_membership_evidence(target(), asked, backwards)[0][""].nonmember_scores[::-1]
    np.testing.assert_allclose(turned, whole.nonmember_scores, rtol=1e-5)


@cache
def overfitted() -> tuple[AttackTarget, dict[str, Images]]:
    """120 digits in four parts; a target that knows half of them by heart, and three shadow models of random halves."""
    raw = load_digits().images[np.random.default_rng(0).permutation(1797)[:120]]
    pictures = torch.tensor(raw / 8 - 1, dtype=torch.float32)[:, None]
    split = {name: Images(pictures[i::4], torch.arange(i, 120, 4), None) for i, name in enumerate(PARTS)}
    rows = [np.r_[0:120:4, 2:120:4], *(np.random.default_rng([1, k]).permutation(120)[:60] for k in range(3))]
    spec = NetworkSpec(kind="mlp", shape=SHAPE, width=64, blocks=2)
    models = [build(spec, toy_rng().of("over-fitted", k)) for k in range(4)]
    chosen = torch.stack([pictures[torch.from_numpy(r)] for r in rows])

    def losses(stack: torch.nn.Module, batch: Batch) -> torch.Tensor:
        x0 = torch.stack([chosen[k][batch.index[:, k]] for k in range(4)], dim=1)
        x_t = add_noise(Schedule(), x0.flatten(0, 1), batch.t.flatten(), batch.noise.flatten(0, 1)).view_as(x0)
        return (stack(x_t, batch.t) - batch.noise).square().mean(dim=(0, 2, 3, 4))

    train_together(
        models, losses, Recipe(1800, 24, 5e-3), streams=[toy_rng().of("train", k) for k in range(4)],
        counts=[60] * 4, timesteps=1000, noise_shape=SHAPE,
    )  # fmt: skip
    releases = [Release(model, Schedule(), toy_rng(), SHAPE, torch.device("cpu"), batch=30) for model in models]
    others = {
        f"shadow-{k}": AuxiliaryRelease(QueriedRelease(releases[k + 1], torch.Tensor), rows[k + 1]) for k in range(3)
    }
    return AttackTarget.of(releases[0], toy_rng(), others=others), split


@pytest.mark.slow
@pytest.mark.parametrize("kind", [GSA1, GSA2])
def test_an_over_fitted_model_gives_its_members_away(kind):
    at, split = overfitted()
    found = collect_membership_evidence(at, {"": AttackRequest(kind(shadows=3), True)}, split)[0][""]
    scores = np.concatenate([found.member_scores, found.nonmember_scores])
    assert roc_auc_score([1] * 30 + [0] * 30, scores) > 0.95


def test_it_asks_for_weights_and_shadow_models():
    assert GSA1.access is Access.WEIGHTS and not GSA1.shares
    assert [need.name for need in GSA2().auxiliary_models()] == [f"shadow-{k}" for k in range(6)]
    with pytest.raises(UsageError, match="gsa1 needs the shadow model 'shadow-0', and there is none"):
        AttackTarget.of(toy_release(), toy_rng()).score({"": AttackRequest(GSA1(), True)}, SPLIT["member"])
    place = AuditSetting((), "none", "nothing", timesteps=5, images=10)
    assert GSA1(timesteps=5).skip(place) is None
    assert GSA1().skip(place).reason == "it averages over 10 timesteps, and the noise schedule has 5"


def test_a_shadow_model_that_tells_nothing_apart_is_refused():
    everything = AuxiliaryRelease(QueriedRelease(toy_release(), torch.Tensor), np.arange(4 * COUNT))
    at = AttackTarget.of(toy_release(), toy_rng(), others={"shadow-0": everything})
    with pytest.raises(UsageError, match="its 1 shadow models hold all calibration images, or none"):
        collect_membership_evidence(at, {"": AttackRequest(GSA1(timesteps=1, shadows=1), True)}, SPLIT)
