"""Unlearning of a prompt in a text-conditional pipeline: the planted caption, before, after, and relearned."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from leakbench.api import Task
from leakbench.attacks.membership.prompt_search import PromptSearch
from leakbench.attacks.membership.relearned_loss import RelearnedLoss
from leakbench.data.image_batch import Images
from leakbench.defenses.erasediff import EraseDiff
from leakbench.defenses.esd import ESD
from leakbench.defenses.salun import SalUn
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.pretrained.release import PretrainedRelease
from leakbench.runtime.device import Rng

STREAMS = Rng("unlearned prompts", 0)
GUIDANCE = 2.0
SLOW = pytest.mark.slow
METHODS = {
    "esd": ESD(steps=40, batch=8, lr=2e-3, walk=5, train="label"),
    "erasediff": EraseDiff(steps=40, batch=8, lr=3e-3, inner=0),
    "salun": SalUn(steps=40, batch=8, lr=3e-3),
}


@pytest.fixture(scope="module")
def before(planted_release):
    """The guided release that memorised captions 0 and 1, and the latents of all pictures, in order of their captions'
    numbers as far as these are given."""
    release, parts = planted_release
    rows = torch.cat([parts[name].labels for name in ("nonmember", "calibration_out", "reference")])
    pictures = torch.cat([parts[name].images for name in ("nonmember", "calibration_out", "reference")])
    assert rows.tolist() == list(range(2, 92))
    latents = release.encode(torch.cat([parts["member"].images[:2], pictures]))
    return replace(release, guidance=GUIDANCE, network_calls=2.0), latents


@pytest.fixture(scope="module")
def unlearned(before):
    """unlearned(method): the release that was to forget caption 0 and to keep caption 1."""
    release, latents = before
    labels, made = torch.arange(24) % 2, {}
    given = {"attribute": None, "near_duplicates": torch.arange(24), "heldout": latents[2:6], "streams": STREAMS}
    task = Task(
        images=latents[labels],
        labels=labels,
        condition="label",
        network=release.network.spec,
        schedule=release.schedule,
        device=release.device,
        forget=labels == 0,
        forget_label=0,
        base=release,
        **given,
    )

    def make(method):
        if method not in made:
            made[method] = METHODS[method].release(METHODS[method].fit(task), task)
        return made[method]

    return make


def share_returned(release, label, latents):
    """Samples under a caption whose nearest of all pictures is its own."""
    with torch.no_grad():
        samples = release.generate(torch.arange(16), torch.full((16,), label))
    distance = (samples[:, None] - latents).flatten(2).square().mean(dim=2)
    return float((distance.argmin(dim=1) == label).float().mean())


@pytest.mark.parametrize("method", [pytest.param(one, marks=() if one == "salun" else SLOW) for one in METHODS])
def test_the_caption_returns_its_image_no_longer(before, unlearned, method):
    release, latents = before
    assert share_returned(release, 0, latents) > 0.8
    found = unlearned(method)
    assert share_returned(found, 0, latents) < 0.2
    assert isinstance(found, PretrainedRelease) and (found.guidance, found.network_calls) == (GUIDANCE, 2.0)


@pytest.mark.parametrize("method", [pytest.param("erasediff", marks=SLOW), "salun"])
def test_the_caption_to_keep_still_returns_its_image(before, unlearned, method):
    assert share_returned(unlearned(method), 1, before[1]) > 0.4


@SLOW
def test_esd_on_captions_moves_cross_attention_alone(before, unlearned):
    ours, base = (dict(release.network.named_parameters()) for release in (unlearned("esd"), before[0]))
    moved = {name for name in base if not torch.equal(ours[name], base[name])}
    assert moved and all(".attn2." in name for name in moved)


def test_esd_leans_on_the_answer_to_no_caption(before):
    """At eta = 1 and where e_p = e_0, nothing is to be changed."""
    release, _ = before

    class Edit:
        task, teacher = type("Task", (), {"base": release}), staticmethod(release.network)

        def other_labels(self, *_):
            raise AssertionError("another caption was asked for")

    x, t = STREAMS.of("x").normal(torch.arange(2), (4, 4, 4)), torch.tensor([300, 700])
    nothing = torch.tensor([-1, -1])
    with torch.no_grad():
        assert torch.equal(ESD().target(Edit(), x, t, nothing, 0), release.network(x, t, nothing))


@SLOW
def test_what_the_loss_no_longer_shows_a_few_steps_of_training_bring_back(before, unlearned, planted_release):
    parts = {name: planted_release[1][name] for name in ("nonmember", "calibration_out", "reference")}
    pictures = planted_release[1]["member"].images[torch.zeros(12, dtype=torch.int64)]
    for name, first in (("member", 0), ("calibration_in", 50)):
        ids = torch.arange(first, first + 12)
        parts[name] = Images(pictures, ids, torch.zeros_like(ids))
    attacks = {"plain": RelearnedLoss(steps=0), "relearned": RelearnedLoss(steps=16)}
    attacks["asked"] = PromptSearch(tokens=0)

    def aucs(release):
        asked = {name: AttackRequest(attack, True) for name, attack in attacks.items()}
        found, _ = collect_membership_evidence(AttackTarget.of(release, STREAMS), asked, parts, folds=2)
        sides = {name: (one.member_scores, one.nonmember_scores) for name, one in found.items()}
        return {name: roc_auc_score([1] * 12 + [0] * 40, np.concatenate(both)) for name, both in sides.items()}

    first, after = aucs(before[0]), aucs(unlearned("erasediff"))
    assert min(first.values()) > 0.95
    assert after["plain"] < 0.6 and after["asked"] < 0.6 and after["relearned"] > 0.95
