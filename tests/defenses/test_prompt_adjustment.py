"""Prompt adjustment: of a planted caption, by hand on a network of classes, and where it changes nothing."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from leakbench.api import Artefacts, AuditSetting, Guarantee
from leakbench.attacks.memorisation.prompt_noise import PromptNoise
from leakbench.data.image_batch import Images
from leakbench.defenses.amg import AMG
from leakbench.defenses.prompt_adjustment import PromptAdjustment
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.diffusion import full_timesteps
from leakbench.models.pretrained.denoiser import Denoiser
from leakbench.models.pretrained.families.family import Family
from leakbench.models.pretrained.prediction import read_prediction
from leakbench.runtime.device import Rng
from leakbench.runtime.errors import UsageError
from leakbench.testing import toy_network, toy_release
from leakbench.testing.settings import Plain


def released(base, **given):
    return PromptAdjustment(**given).release(Artefacts(), SimpleNamespace(base=base))


@pytest.fixture(scope="module")
def guided(planted_release):
    """The pipeline that memorised captions 0 and 1, guided; pictures of these and of null prompts."""
    release, parts = planted_release
    pictures = torch.cat([parts["member"].images[:2], *(parts[name].images for name in ("nonmember", "reference"))])
    return replace(release, guidance=3.0), release.encode(pictures)


def noise_of(release, labels):
    rows = torch.tensor(labels)
    images = Images(torch.zeros(len(rows), 3, 16, 16), torch.arange(len(rows)), rows)
    target = AttackTarget.of(release, Rng("adjusted", 0))
    return target.score({"": AttackRequest(PromptNoise(), False)}, images)[0][""]


def share_of_copies(release, label, latents):
    """Samples under a planted caption whose nearest of all pictures is the planted one."""
    with torch.no_grad():
        samples = release.generate(torch.arange(16), torch.full((16,), label))
    distance = (samples[:, None] - latents).flatten(2).square().mean(dim=2)
    return float((distance.argmin(dim=1) == label).float().mean())


def test_a_planted_caption_is_found_no_longer_and_returns_its_image_no_longer(guided):
    base, latents = guided
    release = released(base)
    for label in (0, 1):
        assert share_of_copies(base, label, latents) > 0.8 and share_of_copies(release, label, latents) < 0.2
    before, after = noise_of(base, [0, 1]), noise_of(release, [0, 1])
    null = noise_of(base, list(range(2, 22)))
    assert (before > null.max()).all() and (after < null.mean()).all()
    assert release.facts()["prompts_asked"] == 2 and release.facts()["prompts_adjusted"] == 2


def test_prompts_below_the_target_keep_their_bits(guided):
    base, _ = guided
    ids, null = torch.arange(4), torch.tensor([5, 6, 7, 5])
    release = released(base, target=0.5)
    with torch.no_grad():
        assert torch.equal(release.generate(ids, null), base.generate(ids, null))
    assert release.facts() == {"prompts_asked": 3, "prompts_adjusted": 0}


def test_the_first_token_only_decays_and_the_raw_network_is_as_it_was(guided):
    base, _ = guided
    release, label = released(base), torch.tensor([0])
    found, steps = release.served.network.embedding(0), release.served.network.adjusted[0][1]
    told = base.network.tell(label)["states"]
    assert torch.allclose(found[:, 0], told[:, 0] * (1 - 0.01 * 0.05) ** steps, atol=1e-5)
    assert (found - told)[:, 1:].abs().max() > 0.05
    x, t = torch.ones(1, 4, 4, 4), torch.tensor([500])
    with torch.no_grad():
        assert torch.equal(release.raw_eps(x, t, label), base.raw_eps(x, t, label))
        assert not torch.equal(release.eps(x, t, label), base.eps(x, t, label))


class Shifted(nn.Module):
    """Answers with 0.1 x and the embedding of its class: 64 numbers, one a pixel."""

    knows_none = False

    def __init__(self, rows):
        super().__init__()
        self.spec, self.table = toy_network("label"), nn.Embedding.from_pretrained(rows)

    def forward(self, x, t, label):
        return 0.1 * x + self.table(label).view_as(x)


@pytest.fixture(scope="module")
def classes():
    """Class 1 lies 4 away from class 0 in the first pixel."""
    rows = torch.zeros(2, 64)
    rows[1, 0] = 4.0
    return replace(toy_release(condition="label"), network=Shifted(rows), guarantee=Guarantee(epsilon=3.0, delta=1e-5))


def test_steps_of_classes_by_hand(classes):
    """m = | z - mean | / 8 = 2 / 8 in the first pixel: Adam's first steps are as long as its rate, towards the mean of
    both classes, which stays; and weights decay by a hundredth of the rate."""
    release = released(classes, target=0.15, lr=0.5, iterations=10)
    z = 4.0
    for _ in range(2):
        z = z * (1 - 0.01 * 0.5) - 0.5
    found = release.served.network.embedding(1)
    assert float(found[0, 0]) == pytest.approx(z, abs=1e-3) and not found[0, 1:].any()
    assert release.served.network.adjusted[1][1] == 2  # (z - 2) / 8 = 0.12
    assert torch.equal(release.guarantee.epsilon * torch.ones(1), torch.full((1,), 3.0))


@pytest.mark.parametrize("given", [{"iterations": 0}, {"target": 0.26}])
def test_where_nothing_moves_it_is_its_base_to_the_bit(classes, given):
    assert torch.equal(released(classes, **given).sample(5), classes.sample(5))


def test_rows_without_a_condition_are_answered_as_before(guided):
    base, _ = guided
    release = released(base)
    x, t = Rng("x", 0).of("x").normal(torch.arange(3), (4, 4, 4)), full_timesteps(400, torch.zeros(3, 1))
    labels = torch.tensor([-1, 0, -1])
    with torch.no_grad():
        mixed = release.eps(x, t, labels)
        assert torch.allclose(mixed[::2], base.eps(x, t, labels)[::2], atol=1e-5)
        assert torch.allclose(mixed[1:2], release.eps(x, t, torch.zeros_like(labels))[1:2], atol=1e-5)


class Spoken(Family):
    """Answers with 0.1 x and the sum of the states of a caption's words, in every pixel."""

    def ask(self, body, x, time, told):
        return 0.1 * x + (told["states"] * told["mask"][..., None]).sum((1, 2)).view(-1, 1, 1, 1)


def spoken(texts):
    """A row for each text and one for none: a state of 2 numbers for each word."""
    counts = torch.tensor([len(text.split()) for text in (*texts, "")])
    mask = torch.arange(int(counts.max()))[None] < counts[:, None]
    return {"states": mask[..., None] * torch.tensor([0.5, 1.0]), "mask": mask}


def test_an_adjusted_caption_is_as_long_as_a_longer_one_that_is_asked_about_later():
    texts = ("a cat", "the red house")
    spec = toy_network().model_copy(update={"conditions": 2})
    prediction = read_prediction({"_class_name": "DDPMScheduler", "prediction_type": "epsilon"}, None, "here")
    network = Denoiser(nn.Identity(), spec, prediction, Spoken(), spoken(texts), torch.arange(2), texts, spoken)
    release = released(replace(toy_release(), network=network), target=0.1)
    x, labels = torch.ones(3, 1, 8, 8), torch.tensor([0, 1, 0])
    t = full_timesteps(400, x)
    with torch.no_grad():
        before = release.eps(x, t, labels)
        (longer,) = network.label_edited([0], lambda text: f"{text} and one more")
        assert network.tell(labels)["states"].shape[1] == 6
        assert torch.allclose(release.eps(x, t, labels), before)
        assert torch.allclose(release.eps(x, t, torch.tensor([0, longer, 0]))[::2], before[::2])
    assert release.facts()["prompts_adjusted"] == 3


def test_where_it_cannot_stand():
    def said(chain, condition):
        return PromptAdjustment().skip(AuditSetting(chain, condition, "nothing", 1000, 24))

    assert 'write condition = "label"' in said((Plain(),), "none").reason
    assert "build amg on it" in said((Plain(), AMG()), "label").reason
    assert said((Plain(),), "label") is None


def test_a_network_of_two_tables_is_refused(classes):
    network = Shifted(torch.zeros(2, 64))
    network.other = nn.Embedding(3, 3)
    with pytest.raises(UsageError, match="2 tables of embeddings"):
        released(replace(classes, network=network))
