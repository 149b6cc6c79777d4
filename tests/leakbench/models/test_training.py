"""A killed run that resumes is the undisturbed run, bit for bit; the averaged weights are the hand-written loop's."""

import math

import pytest
import torch
from torch import nn

from leakbench.models.training import loop
from leakbench.models.training.gradients import Batch
from leakbench.models.training.loop import Recipe, Watch, draws, optimise, train
from leakbench.runtime.device import Rng

STREAM = Rng("test", 0).of("train")
TARGETS = Rng("test", 0).of("targets").normal(torch.arange(20), (6,))
STEPS = 70


class Killed(Exception):
    pass


def linear() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6))
    with torch.no_grad():
        for number, p in enumerate(module.parameters()):
            p.copy_(0.3 * Rng("test", 0).of("weights", number).normal(torch.arange(1), tuple(p.shape))[0])
    return module


def loss(module: nn.Module, batch: Batch) -> torch.Tensor:
    truth = TARGETS[batch.index].to(next(module.parameters()).dtype)
    return (module(truth + 0.01 * batch.t[:, None] * batch.noise) - truth).square().mean()


def run(recipe: Recipe, checkpoint=None, progress=None, seed: int = 0) -> nn.Module:
    return train(
        linear(),
        loss,
        recipe,
        stream=Rng("test", seed).of("train"),
        count=20,
        timesteps=10,
        noise_shape=(6,),
        checkpoint=checkpoint,
        progress=progress,
    )


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.flatten() for p in module.parameters()])


def kill_at(step: int):
    def progress(done: int) -> None:
        if done >= step:
            raise Killed

    return progress


@pytest.fixture(scope="module", autouse=True)
def often():
    """A checkpoint every 50 steps, and random numbers for 8 steps at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_CHECKPOINT_EVERY", 50)
        patch.setattr(loop, "_CHUNK", 8)
        yield


@pytest.fixture(scope="module")
def undisturbed() -> torch.Tensor:
    return weights(run(Recipe(STEPS, batch=16)))


def killed(path) -> None:
    with pytest.raises(Killed):
        run(Recipe(STEPS, batch=16), path, kill_at(60))


def test_a_killed_run_resumes_bit_for_bit(undisturbed, tmp_path):
    path = tmp_path / "deep" / "down.safetensors"
    killed(path)
    assert path.is_file() and [p.name for p in path.parent.iterdir()] == [path.name]  # no temporary file is left
    told: list[int] = []
    assert torch.equal(weights(run(Recipe(STEPS, batch=16), path, told.append)), undisturbed)
    assert min(told) > 50 and told[-1] == STEPS  # it did not start again
    assert not path.exists()


@pytest.mark.parametrize("keep", [0, 10, 300])
def test_a_damaged_checkpoint_means_starting_again(keep, undisturbed, tmp_path):
    path = tmp_path / "state.safetensors"
    killed(path)
    path.write_bytes(path.read_bytes()[:keep])
    told: list[int] = []
    assert torch.equal(weights(run(Recipe(STEPS, batch=16), path, told.append)), undisturbed)
    assert min(told) < 10


def test_a_bit_turned_over_in_a_checkpoint_means_starting_again(undisturbed, tmp_path, capsys):
    path = tmp_path / "state.safetensors"
    killed(path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 0x40  # in a weight, or in what Adam remembers
    path.write_bytes(content)
    assert torch.equal(weights(run(Recipe(STEPS, batch=16), path)), undisturbed)
    assert capsys.readouterr().err == f"leakbench: damaged checkpoint {path}; the training begins again\n"


def test_a_checkpoint_changes_nothing(undisturbed, tmp_path):
    assert torch.equal(weights(run(Recipe(STEPS, batch=16), tmp_path / "state.safetensors")), undisturbed)


def test_another_seed_trains_another_network(undisturbed):
    assert not torch.allclose(weights(run(Recipe(STEPS, batch=16), seed=1)), undisturbed, atol=1e-3)


def test_the_loss_falls():
    batch = draws(STREAM, 10_000, 10_001, batch=64, count=20, timesteps=10, shape=(6,), device=torch.device("cpu"))[0]
    before = loss(linear(), batch).item()
    trained = run(Recipe(300, batch=32, lr=1e-2))
    assert loss(trained, batch).item() < 0.1 * before
    assert not trained.training and not any(p.requires_grad for p in trained.parameters())


@pytest.mark.parametrize("ema", [0.0, 0.5, 0.999])
def test_training_is_the_hand_written_loop(ema):
    """Adam by its formulas, the gradient clipped by its norm, a cosine for the rate, a warming-up average."""
    recipe, module = Recipe(90, batch=8, lr=0.02, clip=0.3, ema=ema), linear().double()
    theta = [p.detach().clone() for p in module.parameters()]
    average, m, v = ([p.clone() * scale for p in theta] for scale in (1, 0, 0))
    batches = draws(STREAM, 0, 90, batch=8, count=20, timesteps=10, shape=(6,), device=torch.device("cpu"))
    for step, batch in enumerate(batches):
        gradient = torch.autograd.grad(loss(module, batch), list(module.parameters()))
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradient))
        rate = 0.02 * 0.5 * (1 + math.cos(math.pi * step / 90))
        decay = min(ema, (1 + step) / (10 + step))
        for i, g in enumerate(gradient):
            g = g * min(1.0, 0.3 / (norm + 1e-6))
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = 0.999 * v[i] + 0.001 * g * g
            theta[i] -= rate * (m[i] / (1 - 0.9 ** (step + 1))) / ((v[i] / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
            average[i] = decay * average[i] + (1 - decay) * theta[i]
        with torch.no_grad():
            for p, value in zip(module.parameters(), theta, strict=True):
                p.copy_(value)
    expected = torch.cat([a.flatten() for a in average])
    assert (weights(run(recipe)).double() - expected).abs().max() < 2e-4


def test_draws_do_not_depend_on_how_they_are_chunked():
    options = {"batch": 5, "count": 30, "timesteps": 100, "shape": (1, 2, 3), "device": torch.device("cpu")}
    whole = draws(STREAM, 0, 12, **options)
    parts = draws(STREAM, 0, 5, **options) + draws(STREAM, 5, 6, **options) + draws(STREAM, 6, 12, **options)
    for one, other in zip(whole, parts, strict=True):
        assert all(torch.equal(getattr(one, key), getattr(other, key)) for key in ("index", "t", "noise"))


def test_draws_cover_their_ranges_and_never_repeat():
    found = draws(STREAM, 0, 200, batch=50, count=30, timesteps=100, shape=(2,), device=torch.device("cpu"))
    index, t = torch.stack([b.index for b in found]), torch.stack([b.t for b in found])
    assert set(index.unique().tolist()) == set(range(30)) and set(t.unique().tolist()) == set(range(100))
    assert len({tuple(row) for row in index.tolist()}) == 200
    assert abs(torch.corrcoef(torch.stack([index.flatten(), t.flatten()]).double())[0, 1]) < 0.05


def test_a_batch_that_does_not_fit_is_trained_on_in_pieces():
    def tight(module: nn.Module, batch: Batch) -> torch.Tensor:
        sizes.append(len(batch.index))
        if len(batch.index) > 5:
            raise torch.cuda.OutOfMemoryError("simulated")
        return loss(module, batch)

    sizes: list[int] = []
    options = {"stream": STREAM, "count": 20, "timesteps": 10, "noise_shape": (6,)}
    pieces, whole = (train(linear(), function, Recipe(30, batch=16), **options) for function in (tight, loss))
    assert sizes[:3] == [16, 8, 4] and set(sizes[3:]) == {4}  # what fitted is remembered
    torch.testing.assert_close(weights(pieces), weights(whole), atol=1e-5, rtol=1e-4)


def test_frozen_parameters_stay_as_they_were():
    module = linear()
    module[0].requires_grad_(False)
    before = module[0].weight.clone()
    train(module, loss, Recipe(20, batch=4), stream=STREAM, count=20, timesteps=10, noise_shape=(6,))
    assert torch.equal(module[0].weight, before) and not torch.equal(module[2].weight, linear()[2].weight)


def test_a_rule_makes_its_own_gradient_and_resumes_like_a_loss(tmp_path):
    asked: list[int] = []

    def rule(module: nn.Module, step: int) -> None:
        asked.append(step)
        for number, p in enumerate(module.parameters()):
            p.grad = STREAM.normal(torch.tensor([step]), tuple(p.shape), draw=number)[0]

    def go(checkpoint=None, progress=None) -> torch.Tensor:
        sizes = {"stream": STREAM, "checkpoint": checkpoint, "progress": progress}
        return weights(optimise(linear(), rule, Recipe(STEPS), lambda first, last: range(first, last), **sizes))

    whole = go()
    assert asked == list(range(STEPS))
    with pytest.raises(Killed):
        go(tmp_path / "state.safetensors", kill_at(60))
    asked.clear()
    assert torch.equal(go(tmp_path / "state.safetensors"), whole) and asked[0] > 50 and asked[-1] == STEPS - 1


def test_a_watch_sees_the_averaged_weights_and_may_end_the_training():
    seen: list[torch.Tensor] = []

    def stop(module: nn.Module) -> bool:
        assert not module.training
        seen.append(weights(module).detach().clone())
        return len(seen) == 3

    watched = run(Recipe(STEPS, batch=16))
    stopped = train(
        linear(), loss, Recipe(STEPS, batch=16), stream=Rng("test", 0).of("train"), count=20, timesteps=10,
        noise_shape=(6,), watch=Watch(10, stop),
    )  # fmt: skip
    assert torch.equal(weights(stopped), seen[-1]) and not torch.equal(weights(stopped), weights(watched))
    looks: list[bool] = []
    through = train(
        linear(), loss, Recipe(STEPS, batch=16), stream=Rng("test", 0).of("train"), count=20, timesteps=10,
        noise_shape=(6,), watch=Watch(10, lambda module: bool(looks.append(True))),
    )  # fmt: skip
    assert len(looks) == 7 and torch.equal(weights(through), weights(watched))  # looking changes nothing


def test_dropout_is_seeded_by_the_step_and_leaves_the_global_generator_alone():
    def dropped() -> nn.Module:
        return nn.Sequential(linear(), nn.Dropout(0.5))

    def go(seed: int) -> torch.Tensor:
        module = dropped()
        torch.manual_seed(seed)  # of no concern to the training
        before = torch.get_rng_state()
        made = train(module, loss, Recipe(30, batch=16), stream=STREAM, count=20, timesteps=10, noise_shape=(6,))
        assert torch.equal(torch.get_rng_state(), before)
        return weights(made)

    assert torch.equal(go(0), go(1))
    plain = train(linear(), loss, Recipe(30, batch=16), stream=STREAM, count=20, timesteps=10, noise_shape=(6,))
    assert not torch.equal(go(0), weights(plain))
