"""The base of a fine-tune as the reference of calibrated attacks."""

import pytest
import torch

from leakbench.api import REFERENCE, Access, AuditSetting, find_reference
from leakbench.attacks.membership.calibrated_curve import CalibratedCurve
from leakbench.attacks.membership.calibrated_loss import CalibratedLoss
from leakbench.attacks.membership.loss import Loss
from leakbench.defenses.amg import AMG
from leakbench.defenses.baseline import Baseline
from leakbench.defenses.overfit import Overfit
from leakbench.defenses.pipeline import Pipeline
from leakbench.defenses.pretrain import Pretrain
from leakbench.measurement.auxiliary import trained_as
from leakbench.measurement.compatibility import skip_attack
from leakbench.testing.toys import MemorisingNetwork, toy_images, toy_release, toy_view

CHAINS = {  # a chain, and what its reference is
    "a LoRA": ((Pipeline(path="a", lora="b"),), Pipeline(path="a")),
    "a fine-tune": ((Pipeline(path="a", reference="b", guidance=2.0), AMG()), Pipeline(path="b", guidance=2.0)),
    "a model of which nobody said": ((Pipeline(path="a"),), None),
    "trained on a public base": ((Pretrain(), Overfit()), Pretrain()),
    "the public base": ((Pretrain(), AMG()), None),
    "trained from nothing": ((Baseline(), AMG()), None),
}


@pytest.mark.parametrize("case", CHAINS)
def test_a_calibrated_attack_is_run_where_the_base_is_known(case):
    chain, base = CHAINS[case]
    assert find_reference(chain) == base
    skipped = skip_attack(CalibratedLoss(), AuditSetting(chain, "none", "nothing", timesteps=1000, images=100))
    assert (skipped is None) == (base is not None)
    assert skipped is None or skipped.severity == "not-applicable"


def test_a_reference_is_the_very_network_that_an_audit_of_the_base_has():
    assert trained_as(REFERENCE) is None


def test_the_twin_is_the_difference_of_two_losses_of_the_same_noise():
    images = toy_images(6)
    view = toy_view(Access.DENOISER, images, auxiliary_models=(REFERENCE,))
    base = view.others["reference"].view
    assert torch.equal(base.noised(100), view.noised(100))
    wanted = [(one.eps(view.noised(100), 100) - view.noise()).square().flatten(1).sum(dim=1) for one in (base, view)]
    found = CalibratedLoss().score(view, images, None)
    torch.testing.assert_close(found, wanted[0] - wanted[1])
    assert (found - Loss().score(view, images, None)).abs().max() > 1


@pytest.mark.parametrize("kind", [CalibratedLoss, CalibratedCurve])
def test_what_was_learnt_on_top_of_the_base_alone_is_found(kind):
    """The target knows the first six of twelve images by heart; the base none."""
    images = toy_images(12)
    release = toy_release()
    network = MemorisingNetwork(images[:6], release.network.spec, release.schedule)
    view = toy_view(Access.DENOISER, images, release=_with(release, network), auxiliary_models=(REFERENCE,))
    scores = kind().score(view, images, None)
    assert scores[:6].min() > scores[6:].max()


def _with(release, network):
    from dataclasses import replace

    return replace(release, network=network)
