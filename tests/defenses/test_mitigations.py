"""The simple measures: deduplication, augmentation, early stopping, dropout; all resume to the same weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from leakbench.api import Task
from leakbench.defenses import early_stop
from leakbench.defenses.ambient import Ambient
from leakbench.defenses.amg import AMG
from leakbench.defenses.augment import Augment, randaugmented
from leakbench.defenses.baseline import Baseline
from leakbench.defenses.dedup import Dedup
from leakbench.defenses.dropout import Dropout
from leakbench.defenses.early_stop import EarlyStop, Looks, heldout_loss
from leakbench.defenses.noise_data import NoiseData
from leakbench.models.denoiser_training import errors, train_denoiser
from leakbench.models.diffusion import Schedule, full_timesteps
from leakbench.models.networks import NetworkSpec
from leakbench.models.training.gradients import Batch
from leakbench.models.training.loop import Recipe
from leakbench.runtime.device import Rng
from leakbench.runtime.errors import UsageError

STREAMS = Rng("test", 0)
SMALL = {"steps": 20, "batch": 16, "lr": 2e-3}
RECIPE = Recipe(20, 16, 2e-3)
ALL = [Ambient, Augment, Dedup, Dropout, EarlyStop, NoiseData]


def weights(artefacts) -> torch.Tensor:
    (network,) = artefacts.networks.values()
    return torch.cat([p.flatten() for p in network.parameters()])


def loss_at(release, images: torch.Tensor, t: int) -> float:
    noise = STREAMS.of("probe", t).normal(torch.arange(len(images)), (1, 8, 8))
    return float(errors(release.network, release.schedule, images, full_timesteps(t, images), noise).mean())


@pytest.fixture(scope="module")
def labelled(digits_task):
    """The task with three labels, in no order, and a network conditioned on them."""
    spec = digits_task.network.model_copy(update={"conditions": 3})
    labels = torch.arange(40) * 7 % 3
    return replace(digits_task, labels=labels, condition="label", network=spec)


@pytest.mark.parametrize("defense", ALL)
def test_all_share_the_baselines_recipe(defense):
    assert issubclass(defense, Baseline) and defense.role == "defense" and not defense.needs_base
    ours, theirs = defense(steps=7, batch=5, lr=0.1, ema=0.5), Baseline(steps=7, batch=5, lr=0.1, ema=0.5)
    assert ours.recipe == theirs.recipe and ours.cost().training >= theirs.cost().training


@pytest.mark.parametrize("defense", [Ambient, Augment, Dropout, NoiseData])
def test_a_killed_training_resumes_to_the_same_weights(defense, digits_task, tmp_path, monkeypatch):
    monkeypatch.setattr("leakbench.models.training.loop._CHECKPOINT_EVERY", 64)
    spec = digits_task.network.model_copy(update={"width": 16, "blocks": 1})
    made = defense(steps=150, batch=4, lr=2e-3)
    task = replace(digits_task, network=spec, folder=tmp_path)

    def killed(share: float) -> None:
        if share > 0.8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.fit(replace(task, progress=killed))
    assert (tmp_path / f"{made.name}.safetensors").is_file()
    shares: list[float] = []
    resumed = weights(made.fit(replace(task, progress=shares.append)))
    assert min(shares) > 0.8 and torch.equal(resumed, weights(made.fit(replace(task, folder=None))))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("defense", ALL)
def test_all_work_on_colour_images_of_odd_sizes_with_labels(defense, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    shape, where = (3, 9, 8), torch.device(device)
    images = STREAMS.of("colour").uniform(torch.arange(12), shape).float() * 2 - 1
    spec = NetworkSpec(kind="unet", shape=shape, width=8, blocks=1, conditions=2)
    labels, streams = torch.arange(12) % 2, Rng("colour", 0)
    parts = {"images": images[:6], "labels": labels[:6], "attribute": None, "near_duplicates": torch.arange(6)}
    task = Task(
        **parts,
        condition="label",
        heldout=images[6:],
        network=spec,
        schedule=Schedule(steps=3),
        streams=streams,
        device=where,
    )
    made = defense(steps=2, batch=2)
    release = made.release(made.fit(task), task)
    samples = release.sample(3)
    assert samples.shape == (3, *shape) and bool(samples.isfinite().all()) and float(samples.abs().max()) <= 1
    guided = AMG(despecify=0.5).release(AMG().fit(task), replace(task, base=release)).sample(3)
    assert guided.shape == samples.shape and not torch.equal(guided, samples)


# Deduplication -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def doubled(labelled):
    """Each of the first ten images again, 0.2 away, behind the others."""
    images = torch.cat([labelled.images, labelled.images[:10] + 0.2])
    parts = {
        name: torch.cat([getattr(labelled, name), getattr(labelled, name)[:10]])
        for name in ("labels", "near_duplicates")
    }
    return replace(labelled, images=images, **parts)


def test_dedup_trains_on_what_a_loop_keeps(doubled):
    kept: list[int] = []
    for i, image in enumerate(doubled.images):
        if all(float((image - doubled.images[j]).square().mean().sqrt()) > 0.25 for j in kept):
            kept.append(i)
    made = Dedup(**SMALL, radius=0.25).fit(doubled)
    assert made.info["images_left"] == len(kept) <= 40 and made.info["images_removed"] == 50 - len(kept) >= 10
    by_hand = train_denoiser(doubled.subset(torch.tensor(kept)), RECIPE, "dedup")
    assert torch.equal(weights(made), weights(by_hand))
    assert made.info["network_evaluations"] == 3 * 20 * 16


def test_dedup_below_every_distance_removes_nothing(doubled):
    made = Dedup(**SMALL, radius=0.0).fit(doubled)
    assert made.info["images_removed"] == 0
    assert torch.equal(weights(made), weights(train_denoiser(doubled, RECIPE, "dedup")))


def test_dedup_that_leaves_one_image_is_an_error(doubled):
    with pytest.raises(UsageError, match=r"radius = 2\.0 leaves 1 of 50 images"):
        Dedup(**SMALL, radius=2.0).fit(doubled)


# Augmentation --------------------------------------------------------------------------------------------------------


def versions_of(image: np.ndarray, kind: str, shift: int) -> list[np.ndarray]:
    """All versions of an image (8, 8), by numpy."""
    turned = [image, image[:, ::-1]] if "flip" in kind else [image]
    if "crop" not in kind:
        return turned
    padded = [np.pad(one, shift, mode="edge") for one in turned]
    corners = [(y, x) for y in range(2 * shift + 1) for x in range(2 * shift + 1)]
    return [one[y : y + 8, x : x + 8] for one in padded for y, x in corners]


@pytest.mark.parametrize(("kind", "shift"), [("flip", 1), ("crop", 1), ("crop", 3), ("flip+crop", 2)])
def test_every_version_of_an_image_comes_up_once(kind, shift, digits_task):
    defense = Augment(kind=kind, shift=shift)
    for number in (0, 39):
        index = number * defense.versions + torch.arange(defense.versions)
        drawn = defense.drawing(digits_task)(Batch(index, index, index))[:, 0].numpy()
        expected = versions_of(digits_task.images[number, 0].numpy(), kind, shift)
        assert len(drawn) == len(expected)
        found, wanted = (np.array(sorted(np.reshape(part, (-1, 64)).tolist())) for part in (drawn, expected))
        np.testing.assert_array_equal(found, wanted)


def test_randaugment_makes_a_bank_of_8_bit_views_image_by_image(digits_task):
    state = torch.get_rng_state()
    bank = randaugmented(digits_task, 6)
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's randomness is touched
    assert bank.shape == (240, 1, 8, 8) and bank.dtype == torch.uint8
    views = bank.view(40, 6, 64)
    assert sum(len(one.unique(dim=0)) for one in views) > 200  # nearly all differ
    assert torch.equal(randaugmented(digits_task.subset(torch.arange(7)), 6), bank[:42])
    assert torch.equal(randaugmented(digits_task, 2).view(40, 2, 64), views[:, :2])
    drawn = Augment(kind="randaugment", views=6).drawing(digits_task)
    index = torch.tensor([0, 5, 239])
    torch.testing.assert_close(drawn(Batch(index, index, index)), bank[index] / 127.5 - 1)
    original = ((digits_task.images + 1) * 127.5).round().to(torch.uint8).view(40, 1, 64)
    assert bool((views == original).all(dim=2).any())  # some operations do nothing


@pytest.mark.parametrize("kind", ["flip", "randaugment"])
def test_versions_keep_their_images_labels(kind, labelled, monkeypatch):
    """Among all versions, drawn at once: those of an image under its label."""
    defense, seen = Augment(kind=kind, views=4), []

    def train(module, loss, recipe, *, count, **_):
        def network(x, t, label):
            seen.extend(label.tolist())
            return torch.zeros_like(x)

        every = torch.arange(count)
        loss(network, Batch(every, 0 * every, torch.zeros(count, 1, 8, 8)))

    monkeypatch.setattr("leakbench.models.denoiser_training.train", train)
    defense.fit(labelled)
    assert seen == labelled.labels.repeat_interleave(defense.versions).tolist()


def test_a_network_of_flipped_images_knows_the_mirror_images(digits_task):
    recipe = {"steps": 400, "batch": 32, "lr": 4e-3}
    plain, flipped = (
        d.release(d.fit(digits_task), digits_task) for d in (Baseline(**recipe), Augment(**recipe, kind="flip"))
    )
    mirrored = digits_task.images.flip(-1)
    assert loss_at(flipped, mirrored, 100) < 0.8 * loss_at(plain, mirrored, 100)
    assert loss_at(flipped, digits_task.images, 100) > loss_at(plain, digits_task.images, 100)


# Early stopping ------------------------------------------------------------------------------------------------------


def test_a_look_is_the_loss_of_held_out_images_under_the_best_label(labelled):
    network = train_denoiser(labelled, RECIPE, "any").networks["denoiser"]
    numbers, stream = torch.arange(100), labelled.streams.of("looks", "early_stop")
    t, noise = stream.integers(numbers, 1000, draw=0), stream.normal(numbers, (1, 8, 8), draw=1)
    expected = 0.0
    for i in range(100):
        one = (labelled.schedule, labelled.heldout[i : i + 1], t[i : i + 1], noise[i : i + 1])
        expected += min(float(errors(network, *one, torch.tensor([label]))) for label in range(3)) / 100
    assert heldout_loss(network, labelled) == pytest.approx(expected, rel=1e-5)
    assert heldout_loss(network, labelled) == heldout_loss(network, labelled)  # the same in every look


@pytest.mark.parametrize(
    ("losses", "patience", "done", "best"),
    [
        ([5, 4, 3, 3.5, 3.2, 1], 2, 50, 30),  # two looks without a new minimum
        ([5, 4, 4, 4, 3, 3.5], 3, 60, 50),  # a minimum in time starts the count again
        ([1, 2, 3, 4, 5], 1, 20, 10),
        ([5, 4, 3, 2, 1, 0.5], 1, 60, 60),  # never stopped
    ],
)
def test_training_stops_when_patience_ends_and_the_best_weights_are_handed_out(
    losses, patience, done, best, digits_task, monkeypatch
):
    told, seen = iter(losses), []

    def look(module, task):
        seen.append(torch.cat([p.detach().flatten() for p in module.parameters()]))
        return next(told)

    monkeypatch.setattr(early_stop, "heldout_loss", look)
    made = EarlyStop(steps=60, batch=8, lr=1e-2, every=10, patience=patience).fit(digits_task)
    assert (made.info["steps_done"], made.info["steps_of_the_best"]) == (done, best)
    assert made.info["heldout_loss"] == {"step": list(range(10, done + 1, 10)), "loss": losses[: done // 10]}
    assert torch.equal(weights(made), seen[best // 10 - 1]) and len({float(one.sum()) for one in seen}) == len(seen)
    assert made.info["network_evaluations"] == 3 * 8 * done + 100 * done // 10


def test_it_hands_out_a_better_model_of_held_out_images_than_training_to_the_end(digits_task):
    recipe = {"steps": 1000, "batch": 32, "lr": 8e-3}
    made = EarlyStop(**recipe, every=50, patience=2).fit(digits_task)
    to_the_end = train_denoiser(digits_task, Recipe(1000, 32, 8e-3), "early_stop").networks["denoiser"]
    assert made.info["steps_done"] < 1000 and made.info["steps_of_the_best"] == made.info["steps_done"] - 100
    best = heldout_loss(made.networks["denoiser"], digits_task)
    assert best == pytest.approx(min(made.info["heldout_loss"]["loss"]), rel=1e-6)
    assert best < heldout_loss(to_the_end, digits_task)


def test_without_a_look_in_time_it_is_plain_training(digits_task):
    made = EarlyStop(**SMALL, every=500).fit(digits_task)
    assert torch.equal(weights(made), weights(train_denoiser(digits_task, RECIPE, "early_stop")))
    assert made.info["heldout_loss"]["step"] == [20] and Looks(digits_task, 1).losses == []


# Dropout -------------------------------------------------------------------------------------------------------------


def test_dropout_drops_while_training_and_never_after(digits_task):
    plain, none, half = (
        weights(one)
        for one in (
            train_denoiser(digits_task, RECIPE, "dropout"),
            Dropout(**SMALL, rate=0.0).fit(digits_task),
            Dropout(**SMALL, rate=0.5).fit(digits_task),
        )
    )
    assert torch.equal(plain, none) and not torch.equal(plain, half)
    defense = Dropout(**SMALL, rate=0.5)
    release, x = defense.release(defense.fit(digits_task), digits_task), digits_task.images
    assert release.network.spec.dropout == 0.5
    assert torch.equal(release.eps(x, full_timesteps(9, x)), release.eps(x, full_timesteps(9, x)))
    assert torch.equal(weights(defense.fit(digits_task)), half)  # seeded, whatever the global generator does


def test_dropout_makes_it_learn_less_by_heart(digits_task):
    recipe = {"steps": 400, "batch": 32, "lr": 4e-3}
    gap = []
    for rate in (0.0, 0.5):
        defense = Dropout(**recipe, rate=rate)
        release = defense.release(defense.fit(digits_task), digits_task)
        gap.append(loss_at(release, digits_task.heldout, 50) - loss_at(release, digits_task.images, 50))
    assert gap[1] < 0.8 * gap[0]
