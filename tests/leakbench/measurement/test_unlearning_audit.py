"""Attacks on unlearning in a suite: whom they meet, which images, how their calls are counted, what is written."""

import numpy as np
import pytest
import torch

from leakbench.api import Access, PairedScores, UnlearningAttack, UnlearningEvidence, UnlearningScores
from leakbench.attacks.unlearning.before_after import BeforeAfter
from leakbench.attacks.unlearning.forget_membership import ForgetMembership
from leakbench.attacks.unlearning.relearning import Relearning
from leakbench.measurement.access_levels import rows_written
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.compatibility import audit_setting
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.measurement.unlearning import Inquiry, measure_unlearning
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load
from leakbench.testing import failures

MORE = """
[[defense]]
name = "retrain"
base = "baseline"

[[defense]]
name = "finetune"
base = "baseline"
steps = 3

[[defense]]
id = "twice"
name = "finetune"
base = "finetune"
steps = 2

[[defense]]
id = "guarded"
name = "cpsample"
base = "finetune"
steps = 10
batch = 32
width = 32
blocks = 1
alpha = 0.5

[forget]
{forget}
"""


@pytest.fixture(scope="module")
def audits(tmp_path_factory, tiny_text):
    """audits(point, forget): the audit of a point of the tiny suite with labels; releases are trained once."""
    home = tmp_path_factory.mktemp("unlearning")
    made = {}

    def of(point, forget="label = 3", condition="label"):
        if (forget, condition) not in made:
            text = tiny_text.replace("[network]", f'[network]\ncondition = "{condition}"')
            path = home / f"suite{len(made)}.toml"
            path.write_text(text + MORE.format(forget=forget))
            builder = ReleaseBuilder(RunInputs(load(str(path)), RunConfig(home / "run", home / "cache")))
            made[forget, condition] = builder, FeatureExtractor(builder.inputs)
        builder, embedding = made[forget, condition]
        return AuditContext(builder, embedding, next(p for p in builder.inputs.suite.points if p.id == point), 0)

    return of


def ids(images):
    return set(images.ids.tolist())


def test_a_forgotten_class_is_compared_with_its_own_unseen_images(audits):
    audit = audits("finetune")
    parts, labels = audit.inputs.split.parts, audit.inputs.data.labels
    ground = Inquiry(audit, ForgetMembership(), raw=False).ground
    assert ids(ground.forget) == {row for row in parts["member"] if labels[row] == 3}
    assert ids(ground.unseen) == {row for row in parts["nonmember"] if labels[row] == 3}
    assert ids(ground.retained) == {row for row in parts["member"] if labels[row] != 3}
    assert set(ground.unseen.labels.tolist()) == {3} and ground.label == 3
    assert torch.equal(ground.forget.images[:], audit.inputs.images(ground.forget.ids.numpy())[:])


def test_a_forgotten_share_is_compared_with_all_unseen_images(audits):
    audit = audits("finetune", "share = 0.3", "none")
    parts = audit.inputs.split.parts
    ground = Inquiry(audit, ForgetMembership(), raw=False).ground
    assert len(ground.forget.ids) == 12 and ids(ground.forget) <= set(audit.inputs.forgotten.tolist())
    assert ids(ground.unseen) == set(parts["nonmember"].tolist())
    assert ids(ground.forget) | ids(ground.retained) == set(parts["member"].tolist())
    assert ground.label is None and ground.forget.labels is None


def same(a, b):
    ours, theirs = a.network.state_dict(), b.network.state_dict()
    return all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_it_meets_the_release_the_one_before_and_the_retrained_one(audits):
    attack = Relearning()
    ground, plain = (Inquiry(audits(point), attack, raw=True).ground for point in ("finetune", "baseline"))
    retrained = Inquiry(audits("retrain"), attack, raw=True).ground
    assert same(ground.model.release, audits("finetune").release)
    assert same(ground.before.release, plain.model.release) and plain.before is None
    assert same(ground.retrained.release, plain.retrained.release)
    assert same(retrained.model.release, retrained.retrained.release)  # the defense and the null are one recipe
    assert not same(ground.model.release, ground.before.release)
    assert not same(ground.retrained.release, plain.model.release)


def test_it_is_the_last_step_that_forgets_that_has_a_before(audits):
    guarded, twice = (Inquiry(audits(point), Relearning(), raw=True).ground for point in ("guarded", "twice"))
    assert same(guarded.model.release, audits("finetune").release)
    assert same(guarded.before.release, audits("baseline").release)
    assert same(twice.before.release, audits("finetune").release)


def test_calls_are_counted_an_image_and_the_yardsticks_are_not(audits):
    attack = ForgetMembership(t=(10, 20), draws=3)
    assert measure_unlearning(audits("finetune"), attack, Access.DENOISER).queries == 6
    both = BeforeAfter(t=(10, 20), draws=3)
    assert measure_unlearning(audits("finetune"), both, Access.DENOISER).queries == 12  # of two releases
    assert measure_unlearning(audits("finetune"), Relearning(steps=1, samples=2), Access.WEIGHTS).queries == 0


def test_samples_that_several_questions_draw_are_paid_for_once(audits):
    class Sampling(Mine):
        """Draws three samples more with every question."""

        reads_samples = True

        def number(self, view, images):
            return super().number(view, images) + view.sample(3).sum()

    audit = audits("finetune")
    asked = sum(len(rows) for rows in Inquiry(audit, Sampling(), raw=False).rows[:2])
    found = measure_unlearning(audit, Sampling(), Access.DENOISER)
    assert found.queries == pytest.approx(1 + 3 * 5 / asked)  # five steps a sample


def test_a_guarded_release_answers_otherwise_than_its_weights(audits):
    attack = ForgetMembership(t=(200,), draws=1)
    assert list(rows_written(attack, False)) == [Access.DENOISER, Access.WEIGHTS]
    assert list(rows_written(Relearning(), False)) == [Access.WEIGHTS]
    guarded, plain = (
        {access: measure_unlearning(audits(point), attack, access).arrays for access in rows_written(attack, False)}
        for point in ("guarded", "finetune")
    )
    name = "forget_model_forget"
    assert np.array_equal(plain[Access.DENOISER][name], plain[Access.WEIGHTS][name])
    assert np.array_equal(guarded[Access.WEIGHTS][name], plain[Access.WEIGHTS][name])


def test_relearning_begins_at_the_forget_probability_of_the_record(audits):
    audit = audits("finetune")
    count = audit.inputs.suite.file.quality.samples // 2
    found = measure_unlearning(audit, Relearning(steps=0, samples=count), Access.WEIGHTS)
    wanted = audit.extractor.label_probabilities(audit.forgotten_label_samples)[:, 3].double()
    np.testing.assert_allclose(found.arrays["relearn_model"][0], wanted, atol=1e-5)
    value = {one.name: one.value for one in found.metrics.metrics}
    assert value["relearn_probability"] == pytest.approx(float(wanted.mean()), abs=1e-5)


def test_too_few_images_are_said_and_nothing_is_run(audits):
    audit = audits("finetune", "share = 0.025")  # one member, and no calibration image

    class Never(ForgetMembership):
        def run(self, ground):
            raise AssertionError("it was run")

    found = measure_unlearning(audit, Never(), Access.DENOISER).metrics
    assert found.flags == {"forget-set-too-small"} and not found.metrics


def test_where_they_apply_in_a_suite(audits):
    def applies(attack, point, *more):
        audit = audits(point, *more)
        return attack.skip(audit_setting(audit.inputs, audit.point.chain)) is None

    assert applies(BeforeAfter(), "finetune") and applies(BeforeAfter(), "guarded")
    assert not applies(BeforeAfter(), "baseline")
    assert applies(Relearning(), "baseline") and not applies(Relearning(), "finetune", "share = 0.3", "none")


# The conformance suite ------------------------------------------------------------------------------------------------


class Mine(UnlearningAttack):
    """The least attack that is one."""

    name = "mine"
    summary = "the first pixel of the answer"
    access = Access.DENOISER

    def run(self, ground):
        """One statistic."""
        return UnlearningEvidence(
            {"mine": PairedScores(*(self.of(m, ground) for m in (ground.model, ground.retrained)))}
        )

    def of(self, model, ground):
        def question(view, images, labels):
            return self.number(view, images)

        forget, unseen = (model.ask(question, group).double().numpy() for group in (ground.forget, ground.unseen))
        return UnlearningScores(forget, unseen)

    def number(self, view, images):
        """A score an image."""
        return view.eps(images, 0)[:, 0, 0, 0]


def test_a_small_attack_conforms():
    assert failures(Mine) == []


BROKEN = {
    "scores that are not finite": (lambda self, view, x: view.eps(x, 0)[:, 0, 0, 0] * torch.nan, "finite"),
    "scores that depend on batch mates": (lambda self, view, x: view.eps(x, 0)[:, 0, 0, 0] * x.mean(), "batch size"),
    "chance": (lambda self, view, x: torch.rand(len(x)), "the same twice"),
    "more access than declared": (lambda self, view, x: view.network(x, x[:, 0, 0, 0].long(), None), "access level"),
    "images written to": (lambda self, view, x: x.mul_(0.5)[:, 0, 0, 0], "access level"),
    "a row an image": (lambda self, view, x: view.eps(x, 0)[:, 0, 0], "one an image"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_attack_fails_the_check_that_is_about_it(case):
    number, named = BROKEN[case]
    broken = type("Broken", (Mine,), {"number": number, "__module__": __name__})
    assert any(named in str(result) for result in failures(broken)), failures(broken)
