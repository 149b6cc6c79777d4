"""The controls control: nothing is found in random weights, an over-fitted model is caught, rejection rejects."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score

from leakbench.api import Access, Release
from leakbench.api.answer_cache import AnswerCache, QueriedRelease
from leakbench.api.views import VIEWS
from leakbench.attacks.membership.loss import Loss
from leakbench.attacks.membership.pia import PIA
from leakbench.attacks.membership.secmi import SecMI
from leakbench.data.image_batch import Images
from leakbench.defenses.baseline import Baseline
from leakbench.defenses.cpsample import CPSample
from leakbench.defenses.reject_resample import RejectResample
from leakbench.defenses.untrained import Untrained
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.diffusion import add_noise

ATTACKS = {"loss": Loss(), "loss8": Loss(t=300, draws=8), "pia": PIA(), "secmi": SecMI()}


def aucs(release: Release, members: torch.Tensor, others: torch.Tensor) -> dict[str, float]:
    images = Images(torch.cat([members, others]), torch.arange(len(members) + len(others)), None)
    asked = {name: AttackRequest(attack, False) for name, attack in ATTACKS.items()}
    scores = AttackTarget.of(release, release.streams).score(asked, images)[0]
    truth = [1] * len(members) + [0] * len(others)
    return {name: float(roc_auc_score(truth, found)) for name, found in scores.items()}


def rms(image: torch.Tensor, train: torch.Tensor) -> float:
    """Distance to the nearest training image, by a plain loop."""
    return min(float((image.double() - x.double()).square().mean().sqrt()) for x in train)


def test_nothing_is_found_in_random_weights(digits_task):
    """Family-wise: four attacks on three seeds, each within its share of 1 % of chance."""
    pool = torch.cat([digits_task.images, digits_task.heldout])
    width = stats.norm.isf(0.01 / 2 / 12) * np.sqrt(141 / (12 * 70 * 70))  # of an AUC under the null, 70 against 70
    for seed in (0, 1, 2):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(140))
        members, others = pool[order[:70]], pool[order[70:]]
        task = replace(digits_task, images=members, streams=replace(digits_task.streams, seed=seed))
        release = Untrained().release(Untrained().fit(task), task)
        found = aucs(release, members, others)
        assert all(abs(auc - 0.5) < width for auc in found.values()), found


def test_random_weights_do_not_depend_on_the_images(digits_task):
    tasks = [digits_task, replace(digits_task, images=digits_task.heldout)]
    one, other = (Untrained().fit(task).networks["denoiser"] for task in tasks)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b) and not a.requires_grad


def test_an_over_fitted_model_is_caught_by_loss(digits_task, overfitted):
    assert aucs(overfitted, digits_task.images, digits_task.heldout[:40])["loss"] >= 0.95


def test_the_baseline_learns_what_its_labels_say(digits_task):
    """Two images, each with its label: a noisy image is denoised better under its own label than under the other."""
    labels = torch.arange(40) % 2
    task = replace(
        digits_task,
        images=digits_task.images[labels],
        labels=labels,
        condition="label",
        network=digits_task.network.model_copy(update={"conditions": 2}),
    )
    defense = Baseline(steps=500, batch=64, lr=4e-3)
    release = defense.release(defense.fit(task), task)
    noise, t = task.streams.of("test").normal(torch.arange(40), (1, 8, 8)), torch.full((40,), 100)
    x = add_noise(task.schedule, task.images, t, noise)
    own, other = ((release.eps(x, t, label) - noise).square().mean(dim=(1, 2, 3)) for label in (labels, 1 - labels))
    assert bool((own < other).all())


@dataclass(frozen=True)
class Copying(Release):
    """A base that hands out noisy training images: the noise of a candidate is one of four sizes, by a fair draw."""

    train: torch.Tensor | None = None

    def generate(self, ids: torch.Tensor, label: torch.Tensor | None = None, draw: int = 0) -> torch.Tensor:
        stream = self.streams.of("copying")
        which, size = stream.integers(ids, 40, draw=2 * draw), stream.integers(ids, 4, draw=2 * draw + 1)
        noise = self.streams.of("copying noise").normal(ids, self.shape, draw)
        return self.train[which] + 0.25 * size.view(-1, 1, 1, 1) * noise


@pytest.fixture(scope="module")
def copying(digits_task, overfitted):
    return Copying.wrap(overfitted, train=digits_task.images)


@pytest.fixture(scope="module")
def rejecting(digits_task, copying):
    """tries -> a release that rejects what lies closer to a training image than three quarters of held-out ones do."""
    task = replace(digits_task, base=copying)
    artefacts = RejectResample().fit(task)
    return lambda tries, null_rate=0.25: RejectResample(tries=tries, null_rate=null_rate).release(artefacts, task)


def test_the_threshold_is_the_held_out_images_quantile(digits_task, rejecting):
    similarity = np.array([-rms(image, digits_task.images) for image in digits_task.heldout])
    threshold = rejecting(4).threshold
    assert np.mean(similarity >= threshold + 1e-6) <= 0.25  # what is rejected: at most a quarter of real images
    assert np.mean(similarity >= threshold - 0.02) > 0.25  # and no fewer than need be
    assert rejecting(4).info["threshold"] == threshold > rejecting(4, 0.5).threshold


@pytest.mark.parametrize("tries", [1, 2, 5])
def test_the_first_candidate_that_is_far_enough_is_taken(tries, digits_task, copying, rejecting):
    release, ids = rejecting(tries), torch.arange(40)
    candidates = [copying.generate(ids, None, draw) for draw in range(tries)]
    similarity = [[-rms(image, digits_task.images) for image in batch] for batch in candidates]
    samples, attempts = release.generate(ids), []
    for i in range(40):
        good = [draw for draw in range(tries) if similarity[draw][i] < release.threshold]
        chosen = good[0] if good else int(np.argmin([row[i] for row in similarity]))
        attempts.append(chosen if good else -1)
        assert torch.equal(samples[i], candidates[chosen][i])
    assert {-1, 0} <= set(attempts) if tries == 1 else {0, 1} <= set(attempts)


def test_accepted_samples_are_far_enough(digits_task, copying, rejecting):
    threshold = rejecting(20).threshold
    plain, far = ([-rms(image, digits_task.images) for image in r.sample(60)] for r in (copying, rejecting(20)))
    assert max(far) < threshold <= max(plain) + 1e-9


def test_one_try_is_the_bases_own_sample(copying, rejecting):
    assert torch.equal(rejecting(1).sample(10), copying.sample(10))


def test_draws_of_a_sample_never_meet(copying, rejecting):
    """Draw d of a rejecting service uses the base's draws d * tries .. d * tries + tries - 1."""
    ids = torch.arange(12)
    both = [copying.generate(ids, None, draw) for draw in (2, 3)]
    assert all(any(torch.equal(x, y[i]) for y in both) for i, x in enumerate(rejecting(2).generate(ids, None, 1)))


def test_rejection_answers_raw_and_ships_the_members(digits_task, overfitted, rejecting):
    release, x = rejecting(4), digits_task.heldout[:5]
    assert release.eps_is_raw and torch.equal(release.parts["members"], digits_task.images)
    memory = AnswerCache(QueriedRelease(release, torch.Tensor), release.streams, x, torch.arange(5), None)
    view = VIEWS[Access.DENOISER](memory)
    assert torch.equal(view.eps(x, 50), overfitted.raw_eps(x, torch.full((5,), 50)))
    assert overfitted.guarantee.is_stated and release.guarantee.to_json().keys() == {"void"}


def test_rejection_over_cpsample_checks_the_guided_samples(digits_task, overfitted):
    task = replace(digits_task, base=overfitted)
    small = CPSample(steps=50, batch=16, width=32, blocks=1, alpha=0.5, scale=5.0)
    guided = small.release(small.fit(task), task)
    above = replace(digits_task, base=guided)
    release = RejectResample(tries=1).release(RejectResample().fit(above), above)
    x, t = digits_task.heldout[:5], torch.full((5,), 50)
    assert torch.equal(release.sample(8), guided.sample(8)) and not torch.equal(guided.sample(8), overfitted.sample(8))
    assert torch.equal(release.eps(x, t), guided.eps(x, t)) and not release.eps_is_raw
    assert set(release.parts) == {"classifier", "members"}
