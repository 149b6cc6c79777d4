"""Where attacks are run and where not, what they need, and what is refused before anything is trained."""

import json

import numpy as np
import pytest

from leakbench.api import AuxiliaryModel, shadow_models
from leakbench.measurement.auxiliary import auxiliary_chain, canary_rows
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.keys import fit_key
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load

PLUGIN = """
from torch import Tensor
from leakbench.api import Access, AuxiliaryModel, Defense, MembershipAttack, Release, Skip, release_param


class Spoilt(MembershipAttack):
    name = "spoilt"
    summary = "some of its scores are no numbers"
    access = Access.DENOISER

    def score(self, view, images, labels):
        return view.eps(images, 0).flatten(1).sum(dim=1).log() * float("inf")


class Choosy(MembershipAttack):
    name = "choosy"
    summary = "applies to protected sampling only, and wants many calibration images"
    access = Access.DENOISER
    labels: int = release_param(10, ge=1)

    def auxiliary_models(self):
        return (AuxiliaryModel("choosy"),)

    def skip(self, setting):
        if not any(defense.name == "cpsample" for defense in setting.chain):
            return Skip("it asks about guarded answers", "not-applicable")
        if self.labels > setting.calibration:
            return Skip(f"labels = {self.labels}: calibration holds {setting.calibration} images; ask for no more")
        return None

    def score(self, view, images, labels):
        return -view.eps(images, 0).flatten(1).norm(dim=1)


class Reader(MembershipAttack):
    name = "reader"
    summary = "compares a shipped classifier with that of a shadow model"
    access = Access.WEIGHTS

    def auxiliary_models(self):
        return (AuxiliaryModel("reader"),)

    def skip(self, setting):
        return setting.without("classifier")

    def score(self, view, images, labels):
        return view.parts["classifier"](images, images.new_zeros(len(images), dtype=int))


class Hider(Defense):
    name = "hider"
    summary = "ships what it does not declare"
    needs_base = True
    changes = "sampling"

    def release(self, artefacts, task):
        return Release.wrap(task.base, parts={"secret": 1})


class Told(MembershipAttack):
    name = "told"
    summary = "reads off the masks of the models that it asked for"
    access = Access.DENOISER

    def auxiliary_models(self):
        retrained, canary = (AuxiliaryModel(kind, kind=kind) for kind in ("retrained", "canary"))
        return (retrained, canary, AuxiliaryModel("shadow-0"))

    def score(self, view, images, labels):
        assert view.others["shadow-0"].is_member.any()
        told = view.others["retrained"].is_member | view.others["canary"].is_member
        return told.float() + 1e-6 * view.eps(images, 0).flatten(1).norm(dim=1)


class Forgetful(MembershipAttack):
    name = "forgetful"
    summary = "needs the retrained model"
    access = Access.DENOISER

    def auxiliary_models(self):
        return (AuxiliaryModel("retrained", kind="retrained"),)

    def score(self, view, images, labels):
        return -view.eps(images, 0).flatten(1).norm(dim=1)
"""


pytestmark = pytest.mark.usefixtures("trained")


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)
    return path


def more(tiny, text):
    tiny.write_text(tiny.read_text().replace("[quality]", text + "\n[quality]"))
    return tiny


def records(out, attack):
    found = [json.loads(path.read_text()) for path in (out / "records").glob("*.json")]
    return [record for record in found if record["attack"] == attack]


def test_an_attack_is_run_on_the_defenses_that_it_is_meant_for(leakbench, tiny, tmp_path):
    more(tiny, '[[attack]]\nid = "only"\nname = "loss"\non = "cpsample"\n')
    assert leakbench("run", tiny, "--out", tmp_path / "run", "--workers", 1).code == 0
    assert {r["defense"] for r in records(tmp_path / "run", "only")} == {"cpsample"}
    assert {r["defense"] for r in records(tmp_path / "run", "loss")} == {"cpsample", "baseline"}


@pytest.mark.parametrize("on", ['"basline"', '["baseline", "cp"]', "3", "[]"])
def test_a_defense_that_there_is_not_is_refused(leakbench, tiny, on):
    more(tiny, f'[[attack]]\nid = "only"\nname = "loss"\non = {on}\n')
    found = leakbench("run", tiny, "--plan")
    assert found.code == 2 and "attack 'only': on = " in found.err and len(found.err.splitlines()) == 1


def test_scores_that_are_no_numbers_are_flagged_and_fail_their_cell_alone(leakbench, tiny, plugin, tmp_path):
    more(tiny, '[[attack]]\nname = "spoilt"\n')
    for _ in range(2):  # and again: what failed is tried again, nothing else is
        found = leakbench("run", tiny, "--out", tmp_path / "run", "--workers", 1, "--plugin", plugin)
        assert found.code == 1 and "attack 'spoilt' at DENOISER: some score was NaN or infinite" in found.err
    spoilt = records(tmp_path / "run", "spoilt")
    assert len(spoilt) == 6 and all("non-finite" in record["flags"] for record in spoilt)
    assert len(records(tmp_path / "run", "pia")) == 6


def test_an_attack_that_does_not_apply_says_so_and_trains_nothing(leakbench, tiny, plugin, tmp_path):
    more(tiny, '[[attack]]\nname = "choosy"\n')
    found = leakbench("run", tiny, "--out", tmp_path / "run", "--workers", 1, "--plugin", plugin)
    assert found.code == 0 and found.out.count("for choosy") == 1  # the shadow model is trained once
    flags = {(r["point"], tuple(r["flags"])) for r in records(tmp_path / "run", "choosy") if r["access"] == "DENOISER"}
    assert ("baseline", ("not-applicable",)) in flags
    skipped = {r["point"]: r["info"].get("skipped") for r in records(tmp_path / "run", "choosy")}
    assert skipped["baseline"] == "it asks about guarded answers"
    assert not any(reason for point, reason in skipped.items() if point != "baseline")
    assert all("not-applicable" not in f for point, f in flags if point != "baseline")
    (tmp_path / "plain.toml").write_text(
        tiny.read_text()[: tiny.read_text().index('[[defense]]\nname = "cps')]
        + """
[[attack]]
name = "choosy"
"""
    )
    found = leakbench("run", tmp_path / "plain.toml", "--plan", "--plugin", plugin, "--out", tmp_path / "none")
    assert found.code == 0 and "for choosy" not in found.out


def test_no_model_is_trained_for_an_attack_whose_parts_will_not_ship(leakbench, tiny, plugin, tmp_path):
    """The parts of a release are known before it is made: cpsample ships a classifier, the baseline none."""
    more(tiny, '[[attack]]\nname = "reader"\non = "baseline"\n')
    run = ("--plugin", plugin, "--out", tmp_path / "run", "--workers", 1)
    found = leakbench("run", tiny, "--plan", *run)
    assert found.code == 0 and "for reader" not in found.out
    assert leakbench("run", tiny, *run).code == 0
    (record,) = records(tmp_path / "run", "reader")
    assert record["flags"] == ["not-applicable"] and "(classifier)" in record["info"]["skipped"]
    tiny.write_text(tiny.read_text().replace('name = "reader"\non = "baseline"', 'name = "reader"\non = "cpsample"'))
    assert (
        leakbench("run", tiny, "--plan", "--plugin", plugin, "--out", tmp_path / "other").out.count("for reader") == 1
    )


def test_a_defense_that_ships_what_it_does_not_declare_is_named(leakbench, tiny, plugin, tmp_path):
    tiny.write_text(
        tiny.read_text().replace("[[attack]]", '[[defense]]\nname = "hider"\nbase = "baseline"\n[[attack]]', 1)
    )
    found = leakbench("run", tiny, "--out", tmp_path / "run", "--workers", 1, "--plugin", plugin)
    assert found.code == 1 and "'hider' ships 'secret', which it does not declare" in found.err


def test_an_objection_is_one_line_before_anything_is_trained(leakbench, tiny, plugin):
    more(tiny, '[[attack]]\nname = "choosy"\nlabels = 41\n')
    found = leakbench("run", tiny, "--plan", "--plugin", plugin)
    assert found.code == 2 and "attack 'choosy': labels = 41: calibration holds 40 images" in found.err
    assert len(found.err.splitlines()) == 1


def test_a_retrained_model_needs_something_to_forget(leakbench, tiny, plugin):
    more(tiny, '[[attack]]\nname = "forgetful"\n')
    found = leakbench("run", tiny, "--plan", "--plugin", plugin)
    assert found.code == 2 and "attack 'forgetful': there is nothing to forget" in found.err


def test_needed_releases_are_trained_on_what_they_say(tiny, tmp_path):
    tiny.write_text(
        "[forget]\nlabel = 3\n".join(tiny.read_text().split("[split]", 1)[:1])
        + "[forget]\nlabel = 3\n[split]"
        + tiny.read_text().split("[split]", 1)[1]
    )
    builder = ReleaseBuilder(RunInputs(load(str(tiny)), RunConfig(tmp_path / "out", tmp_path / "cache")))
    chain, train = builder.inputs.suite.points[1].chain, set(builder.inputs.split.train.tolist())
    retrained = set(builder.inputs.training_rows(AuxiliaryModel("r", kind="retrained"), 0).tolist())
    assert retrained == {row for row in train if builder.inputs.data.labels[row] != 3} and retrained < train
    canaries = [builder.inputs.training_rows(AuxiliaryModel("c", kind="canary"), seed) for seed in range(40)]
    pool = set(builder.inputs.pool.tolist())
    assert all(set(rows.tolist()) < pool for rows in canaries) and not pool & set(
        builder.inputs.split.parts["reference"].tolist()
    )
    sizes = np.array([len(rows) for rows in canaries])
    assert 0.5 * sizes.std() < np.sqrt(len(pool)) / 2 < 2 * sizes.std()  # independent coins: the number of heads varies
    assert abs(sizes.mean() / len(pool) - 0.5) < 0.06
    assert [len(builder.inputs.training_rows(need, 0)) for need in shadow_models(3)] == [60, 60, 60]
    made = AuxiliaryModel("g", kind="canary", canaries="gradient")
    with_coins = set(canary_rows(builder.inputs.split, made, 0).tolist())
    trained = set(builder.inputs.training_rows(made, 0).tolist())
    assert len(with_coins) == len(pool) // 2 and pool - with_coins < trained < pool  # what has no coin is trained on
    assert auxiliary_chain(AuxiliaryModel("c", kind="canary"), chain) == chain
    assert auxiliary_chain(shadow_models(1)[0], chain) == chain[:1]
    keys = {
        fit_key(builder.inputs, chain[:1], 0, need)
        for need in (
            None,
            AuxiliaryModel("s"),
            AuxiliaryModel("s", 1),
            AuxiliaryModel("c", kind="canary"),
            made,
            AuxiliaryModel("r", kind="retrained"),
        )
    }
    assert len(keys) == 6
    assert (
        builder.inputs.streams(0, AuxiliaryModel("r", kind="retrained"))
        == builder.inputs.streams(0)
        != builder.inputs.streams(0, AuxiliaryModel("s"))
    )


def test_no_attack_is_told_what_a_retrained_or_canary_model_was_trained_on(leakbench, tiny, plugin, tmp_path):
    """That of a retrained one is the target's own membership, but for what was forgotten."""
    more(tiny, '[[attack]]\nname = "told"\non = "baseline"\n[forget]\nlabel = 3\n')
    found = leakbench("run", tiny, "--out", tmp_path / "run", "--workers", 1, "--plugin", plugin)
    assert found.code == 0, found.err
    for record in records(tmp_path / "run", "told"):
        with np.load(next((tmp_path / "run" / "arrays").glob("baseline__told__DENOISER*.npz"))) as arrays:
            assert arrays["member_scores"].max() < 0.5
        assert record["info"]["shadow_models"] == 1


def test_shadow_models_repeat_what_trains_or_edits_weights(tiny, tmp_path):
    text = tiny.read_text().replace(
        "[[attack]]",
        '[[defense]]\nname = "finetune"\nbase = "baseline"\nsteps = 2\n'
        '[[defense]]\nid = "both"\nname = "cpsample"\nbase = "finetune"\nsteps = 2\n[[attack]]',
        1,
    )
    tiny.write_text(text + "[forget]\nshare = 0.2\n")
    builder = ReleaseBuilder(RunInputs(load(str(tiny)), RunConfig(tmp_path / "out", tmp_path / "cache")))
    (point,) = [point for point in builder.inputs.suite.points if point.id == "both"]
    assert [link.id for link in auxiliary_chain(shadow_models(1)[0], point.chain)] == ["baseline", "finetune"]
    retrained = auxiliary_chain(AuxiliaryModel("r", kind="retrained"), point.chain)
    assert [link.id for link in retrained] == ["baseline", "both"]  # sampled as the target is, or the sampler is found


def test_the_retrained_reference_repeats_all_that_trained_but_what_forgets(tiny, tmp_path):
    """And all that trained after it: the whole chain, as if what is to be forgotten had never been there."""
    text = tiny.read_text().replace(
        "[[attack]]",
        '[[defense]]\nname = "pretrain"\nsteps = 2\n[[defense]]\nname = "overfit"\nbase = "pretrain"\nsteps = 2\n'
        '[[defense]]\nname = "finetune"\nbase = "overfit"\nsteps = 2\n'
        '[[defense]]\nid = "again"\nname = "overfit"\nbase = "finetune"\nsteps = 2\n[[attack]]',
        1,
    )
    tiny.write_text(text + "[forget]\nshare = 0.2\n")
    builder = ReleaseBuilder(RunInputs(load(str(tiny)), RunConfig(tmp_path / "out", tmp_path / "cache")))
    (point,) = [point for point in builder.inputs.suite.points if point.id == "again"]
    repeated = [link.id for link in auxiliary_chain(AuxiliaryModel("r", kind="retrained"), point.chain)]
    assert repeated == ["pretrain", "overfit", "again"]


def test_an_attack_with_shadow_models_says_that_they_answer_unguarded(leakbench, tiny, plugin, tmp_path):
    more(tiny, '[[attack]]\nname = "choosy"\n')
    assert leakbench("run", tiny, "--out", tmp_path / "run", "--workers", 1, "--plugin", plugin).code == 0
    flags = {(r["point"], r["access"]): r["flags"] for r in records(tmp_path / "run", "choosy")}
    assert "unguarded-shadows" in flags["cpsample alpha=0.25", "DENOISER"]
    assert "unguarded-shadows" not in flags["cpsample alpha=0.25", "WEIGHTS"] + flags["baseline", "DENOISER"]


def test_a_control_can_be_audited(leakbench, tiny, tmp_path):
    """An untrained network claims delta 0, at which a Gaussian mechanism has no epsilon."""
    tiny.write_text(tiny.read_text().replace("[[attack]]", '[[defense]]\nname = "untrained"\n[[attack]]', 1))
    more(tiny, '[[attack]]\nname = "canary_one_run"\non = "untrained"\ndraws = 1\n')
    found = leakbench("run", tiny, "--out", tmp_path / "run", "--workers", 1)
    assert found.code == 0, found.err
    (record, _) = records(tmp_path / "run", "canary_one_run")
    values = {metric["name"]: metric["value"] for metric in record["metrics"]}
    assert values["epsilon_lower"] == 0 < values["epsilon_ceiling"] and "epsilon-above-guarantee" not in record["flags"]
