"""What all unlearning methods share: the draws, the loop, resuming, the books, the claims, and what they refuse."""

from dataclasses import dataclass, replace

import pytest
import torch
from scipy import stats

from leakbench.api import AuditSetting, Guarantee, Release, Task
from leakbench.defenses import _unlearning
from leakbench.defenses._unlearning import Edit
from leakbench.defenses.erasediff import EraseDiff
from leakbench.defenses.esd import ESD
from leakbench.defenses.finetune import Finetune
from leakbench.defenses.neg_grad import NegGrad
from leakbench.defenses.salun import SalUn
from leakbench.defenses.selective_amnesia import SelectiveAmnesia
from leakbench.defenses.sfron import SFRon
from leakbench.defenses.siss import SISS
from leakbench.models import networks
from leakbench.models.denoiser_training import trainable
from leakbench.models.diffusion import Schedule, add_noise
from leakbench.models.networks import NetworkSpec
from leakbench.models.training import loop as loop
from leakbench.runtime.device import Rng
from leakbench.runtime.errors import UsageError

STREAMS = Rng("unlearning", 0)
COUNT, LABELS, T = 30, 3, 40
METHODS = (Finetune, NegGrad, EraseDiff, SelectiveAmnesia, SalUn, ESD, SISS, SFRon)
READS_NONE = (SelectiveAmnesia, ESD)


def tiny(condition: str = "label", claims: Guarantee | None = None, dropout: float = 0.0) -> Task:
    """30 random 4x4 images of 3 labels, label 1 to be forgotten, over a network with random weights."""
    spec = NetworkSpec(
        kind="mlp",
        shape=(1, 4, 4),
        width=16,
        blocks=1,
        conditions=LABELS if condition == "label" else 0,
        dropout=dropout,
    )
    images = STREAMS.of("images").uniform(torch.arange(COUNT), spec.shape).float() * 2 - 1
    labels = torch.arange(COUNT) % LABELS
    cpu, schedule = torch.device("cpu"), Schedule(T=T, steps=5)
    network = networks.build(spec, STREAMS.of("network")).eval().requires_grad_(False)
    base = Release(network, schedule, STREAMS, spec.shape, cpu, batch=16, guarantee=claims or Guarantee())
    groups = torch.arange(COUNT)
    task = Task(images, labels, None, condition, groups, images[:4], spec, schedule, STREAMS, cpu, base=base)
    return replace(task, forget=labels == 1, forget_label=1)


def small(method, **more):
    """A method at the size of these tests."""
    sizes = {"steps": 5, "batch": 8, "lr": 1e-3}
    own = {SelectiveAmnesia: {"samples": 7, "fisher_samples": 2}, ESD: {"walk": 4}}
    return method(**(sizes | own.get(method, {}) | more))


def edit_of(task: Task, batch: int = 8) -> Edit:
    return Edit(task, trainable(task.base.network, task.device), task.base.network, batch)


def weights(artefacts) -> dict[str, torch.Tensor]:
    return artefacts.tensors


def same(a, b) -> bool:
    return weights(a).keys() == weights(b).keys() and all(torch.equal(weights(a)[k], weights(b)[k]) for k in weights(a))


class Watched:
    """Every call of the denoiser while it is open: inputs, and network evaluations (forward 1, backward 2 an image)."""

    def __enter__(self):
        self.calls, self.evaluations = [], 0
        self.handle = torch.nn.modules.module.register_module_forward_hook(self._called)
        return self

    def __exit__(self, *_):
        self.handle.remove()

    def _called(self, module, inputs, output):
        if isinstance(module, networks.ResidualMLP):
            rows = len(output)
            self.calls.append(inputs)
            self.evaluations += rows
            if output.requires_grad:
                output.register_hook(lambda _: self._went_back(rows))

    def _went_back(self, rows):
        self.evaluations += 2 * rows


# The draws ------------------------------------------------------------------------------------------------------------


def test_every_method_draws_the_same_pairs(monkeypatch):
    """Same images, timesteps and noise at the same step, whatever the method, its length, or where it resumes."""
    drawn, optimise = [], _unlearning.optimise

    def spy(module, rule, recipe, batches, **more):
        drawn.append([*batches(0, 3), *batches(3, 5)])
        return optimise(module, rule, recipe, batches, **more)

    monkeypatch.setattr(_unlearning, "optimise", spy)
    for method in METHODS:
        small(method, steps=2).fit(tiny())
    for pairs in drawn:
        assert [pair.step for pair in pairs] == [0, 1, 2, 3, 4]
        for pair, first in zip(pairs, drawn[0], strict=True):
            for side in ("forget", "keep"):
                for kind in ("index", "t", "noise"):
                    assert torch.equal(getattr(getattr(pair, side), kind), getattr(getattr(first, side), kind))
    assert len(drawn) == len(METHODS)
    assert all(not torch.equal(a.forget.noise, b.forget.noise) for a, b in zip(drawn[0], drawn[0][1:], strict=False))


def test_a_steps_further_numbers_are_its_streams_whenever_they_are_asked_for():
    edit, stream = edit_of(tiny()), STREAMS.of("unlearn", "further")
    for step in (0, 1, 63, 64, 200, 3, 2):
        number = torch.tensor([step])
        assert torch.equal(edit.uniform("further", step, (2, 3)), stream.uniform(number, (2, 3))[0])
        for high, shape in ((7, (4,)), (3, (4,)), (7, (5,))):
            assert torch.equal(edit.integers("further", step, high, shape), stream.integers(number, high, shape)[0])


@pytest.mark.parametrize("method", [Finetune, NegGrad, EraseDiff, SalUn, SFRon])
def test_the_network_sees_those_images_in_that_order(method):
    """x_t of its calls with gradient, step by step, are the noised images of the pair."""
    task = tiny()
    edit = edit_of(task)
    seen = []
    with Watched() as watched:
        small(method, steps=3, **({"inner": 0} if method is EraseDiff else {})).fit(task)
        seen = [x for x, *_ in watched.calls]
    for pair in edit.pairs(0, 3):
        for side, batch, present in (
            ("forget", pair.forget, method is not Finetune and (method is not SFRon or pair.step % 2 == 0)),
            ("keep", pair.keep, method is not NegGrad and (method is not SFRon or pair.step % 2 == 1)),
        ):
            x_t = add_noise(task.schedule, task.images[batch.index], batch.t, batch.noise)
            assert any(torch.equal(x_t, x) for x in seen) == present, side


def test_pairs_are_of_the_two_sides_and_cover_them():
    task = tiny()
    pairs = edit_of(task, 32).pairs(0, 40)
    forget = torch.cat([pair.forget.index for pair in pairs])
    keep = torch.cat([pair.keep.index for pair in pairs])
    assert set(forget.tolist()) == set(task.forget.nonzero()[:, 0].tolist())
    assert set(keep.tolist()) == set((~task.forget).nonzero()[:, 0].tolist())
    t = torch.cat([batch.t for pair in pairs for batch in (pair.forget, pair.keep)])
    assert stats.chisquare(torch.bincount(t, minlength=T).numpy()).pvalue > 1e-3


def test_a_pass_meets_every_image_once_with_draws_of_its_own():
    task = tiny()
    indices = torch.tensor([3, 28, 7, 9, 1])
    whole, parts = (list(edit_of(task, batch).one_pass("mask", indices)) for batch in (5, 2))
    assert len(whole) == 1 and [len(batch.index) for batch in parts] == [2, 2, 1]
    for kind in ("index", "t", "noise"):
        joined = torch.cat([getattr(batch, kind) for batch in parts])
        assert torch.equal(joined, getattr(whole[0], kind))
    assert torch.equal(whole[0].index, indices)


def test_other_labels_are_uniform_over_the_others():
    edit = edit_of(tiny())
    labels = torch.arange(3000) % LABELS
    others = torch.cat([edit.other_labels(labels, step) for step in range(3)])
    assert bool((others != labels.repeat(3)).all())
    pairs = torch.bincount(labels.repeat(3) * LABELS + others, minlength=9).view(3, 3)
    off_diagonal = pairs[~torch.eye(3, dtype=torch.bool)]
    assert stats.chisquare(off_diagonal.numpy()).pvalue > 1e-3
    assert not torch.equal(edit.other_labels(labels, 0), edit.other_labels(labels, 1))


# The loop -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_is_deterministic_moves_a_copy_and_leaves_the_base_alone(method):
    task = tiny()
    before = {k: v.clone() for k, v in task.base.network.state_dict().items()}
    defense = small(method)
    first, second = defense.fit(task), defense.fit(task)
    assert same(first, second)
    assert all(torch.equal(v, before[k]) for k, v in task.base.network.state_dict().items())
    release = defense.release(first, task)
    assert any(not torch.equal(v, before[k]) for k, v in release.network.state_dict().items())
    assert release.network is not task.base.network and release.eps_is_raw and not release.network.training
    assert release.schedule == task.base.schedule


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_run_resumes_to_the_same_bits(method, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_CHUNK", 4)
    monkeypatch.setattr(loop, "_CHECKPOINT_EVERY", 8)
    defense, task = small(method, steps=22), tiny(dropout=0.1)
    whole = defense.fit(task)

    def stop(share):
        if share * 22 > 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        defense.fit(replace(task, folder=tmp_path, progress=stop))
    assert (tmp_path / f"{defense.name}.safetensors").exists()
    told = []
    resumed = defense.fit(replace(task, folder=tmp_path, progress=told.append))
    assert [round(share * 22) for share in told] == [20, 22]  # 16 steps were done, and not done again
    assert same(whole, resumed)
    seconds = {"train_seconds": 0}
    assert resumed.info | seconds == whole.info | seconds
    assert not list(tmp_path.iterdir())


VARIANTS = [
    *((method, {}) for method in METHODS),
    (EraseDiff, {"inner": 0}),
    (EraseDiff, {"inner": 3, "target": "other_label"}),
    (EraseDiff, {"weighting": "cosine"}),
    (ESD, {"walk": 1, "train": "label"}),
    (ESD, {"walk": 5}),
    (SFRon, {"steps": 4}),
    (SelectiveAmnesia, {"samples": 3, "fisher_samples": 3}),
]


@pytest.mark.parametrize(("method", "more"), VARIANTS)
def test_the_books_say_what_was_spent(method, more):
    """Counted by hooks on the network: rows forward, and twice the rows for every way back."""
    task = tiny()
    defense = small(method, **more)
    with Watched() as watched:
        info = defense.fit(task).info
    assert info["network_evaluations"] == watched.evaluations
    assert info["train_seconds"] > 0 and info["images_to_forget"] == 10
    assert defense.cost().training + defense.first_cost(task) == watched.evaluations


# Claims and refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_epsilon_survives_only_what_reads_no_member(method):
    def claims(base):
        task, defense = tiny(claims=base), small(method)
        return defense.release(defense.fit(task), task).guarantee.to_json()

    if method in READS_NONE:
        assert claims(Guarantee(epsilon=3.0)) == {"epsilon": 3.0}
        assert claims(Guarantee(void="lost below")) == {"void": "lost below"}
    else:
        assert claims(Guarantee(epsilon=3.0)) == {
            "void": f"{method.name} trains on members without differential privacy"
        }
        assert claims(Guarantee(void="lost below")) == {"void": "lost below"}
    assert claims(Guarantee()) == {}


@pytest.mark.parametrize("method", READS_NONE)
def test_what_keeps_claims_touches_no_image(method):
    """Neither pixels nor labels of the training images: with other ones the bits are the same, nor are they read."""
    task, defense = tiny(), small(method)
    blind = replace(task, images=None, labels=None)
    fitted = defense.fit(blind)
    assert same(fitted, defense.fit(task))
    assert defense.release(fitted, blind).sample(2, torch.tensor([0, 1])).shape == (2, 1, 4, 4)


@dataclass(frozen=True)
class Doubled(Release):
    """Answers twice what its network does."""

    def eps(self, x, t, label=None):
        return 2 * super().eps(x, t, label)


@pytest.mark.parametrize("method", METHODS)
def test_a_base_that_answers_otherwise_than_its_weights_is_refused(method):
    task = tiny()
    with pytest.raises(UsageError, match=f"build that base on {method.name} instead") as caught:
        small(method).fit(replace(task, base=Doubled.wrap(task.base)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", METHODS)
def test_methods_that_speak_to_a_label_object_where_there_is_none(method):
    for condition in ("none", "label", "attribute"):
        for forget in ("label", "subset"):
            found = small(method).skip(AuditSetting((), condition, forget, T, COUNT))
            needs = method in (SelectiveAmnesia, SalUn, ESD)
            fits = (condition, forget) == ("label", "label") or not needs
            assert (found is None) == fits
            said = "" if found is None else found.reason
            assert fits or (method.name in said and 'condition = "label"' in said and "\n" not in said)


@pytest.mark.parametrize("method", [Finetune, NegGrad, EraseDiff, SISS, SFRon])
def test_a_random_subset_of_an_unconditional_network_can_be_forgotten(method):
    task = replace(tiny("none"), forget=torch.arange(COUNT) % 5 == 0, forget_label=None)
    defense = small(method)
    made = defense.fit(task)
    assert made.info["images_to_forget"] == 6
    assert bool(defense.release(made, task).sample(3).isfinite().all())


def test_a_method_edits_what_another_has_edited():
    """A chain: the second starts from the first's weights, and the claim stays void for the first reason."""
    task, first = tiny(claims=Guarantee(epsilon=1.0)), small(EraseDiff)
    edited = first.release(first.fit(task), task)
    above = replace(task, base=edited, chain=(*task.chain, first))
    second = small(SelectiveAmnesia, lr=1e-12)
    made = second.release(second.fit(above), above)
    for key, value in made.network.state_dict().items():
        torch.testing.assert_close(value, edited.network.state_dict()[key], atol=1e-9, rtol=0)
    assert made.guarantee.to_json() == {"void": "erasediff trains on members without differential privacy"}


@pytest.mark.parametrize("bad", [{"steps": 0}, {"batch": 0}, {"lr": 0.0}, {"lr": -1.0}])
@pytest.mark.parametrize("method", METHODS)
def test_sizes_out_of_range_are_refused(method, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        method(**bad)


def test_esd_on_the_label_alone_leaves_the_other_labels_answers_alone():
    task, defense = tiny(), small(ESD, train="label", lr=0.1, steps=20)
    edited, x, t = defense.release(defense.fit(task), task), tiny().images[:12], torch.arange(12)
    for label in range(LABELS):
        asked = torch.full((12,), label)
        same_answer = torch.equal(edited.eps(x, t, asked), task.base.eps(x, t, asked))
        assert same_answer == (label != 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", METHODS)
def test_every_method_works_on_cuda(method):
    task, cuda = tiny(), torch.device("cuda")
    network = trainable(task.base.network, cuda).requires_grad_(False)
    task = replace(task, device=cuda, base=replace(task.base, network=network, device=cuda))
    defense = small(method)
    first, second = defense.fit(task), defense.fit(task)
    assert same(first, second)
    assert bool(defense.release(first, task).sample(3, torch.tensor([0, 1, 2])).isfinite().all())
