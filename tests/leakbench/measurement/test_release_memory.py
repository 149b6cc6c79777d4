"""What stays loaded, what is read without loading, and where something was trained."""

from __future__ import annotations

import gc
import json
import weakref

import pytest
import torch

from leakbench.api import Access, MembershipAttack, shadow_models
from leakbench.measurement import releases
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.environment import describe_environment, merge_environments
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.record_contents import RecordSpec
from leakbench.measurement.release_audit import AttackFailed, ReleaseAudit
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.runner.executors.worker import Worker
from leakbench.runner.plan import Plan
from leakbench.runtime import registry
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load

WITH_SHADOWS = """
from leakbench.api import Access, MembershipAttack, shadow_models

class Shadowed(MembershipAttack):
    name = "shadowed"
    summary = "needs a shadow model, and a part that nobody ships"
    access = Access.DENOISER
    part: str = "nothing ships this"

    def skip(self, setting):
        return setting.without(self.part) if self.part else None

    def auxiliary_models(self):
        return shadow_models(2)

    def score(self, view, images, labels):
        return -view.eps(images, 10).flatten(1).norm(dim=1)

class Reader(MembershipAttack):
    name = "reader"
    summary = "reads samples at a level above API"
    access = Access.DENOISER

    def score(self, view, images, labels):
        return images.flatten(1).mean(dim=1) + view.samples.mean()

class Says(Reader):
    name = "says"
    reads_samples = True
"""


@pytest.fixture
def builder(tiny, tmp_path):
    """builder(*attacks): of the tiny suite with these attacks more, those of WITH_SHADOWS among them."""
    (tmp_path / "more.py").write_text(WITH_SHADOWS)
    registry.load_file(tmp_path / "more.py")
    text = tiny.read_text()

    def of(*attacks, settings=("quality.features=pixels",), more=""):
        tiny.write_text(text + "".join(f'\n[[attack]]\nname = "{name}"\n' for name in attacks) + more)
        inputs = RunInputs(load(str(tiny), settings), RunConfig(tmp_path / "run", tmp_path / "c"))
        return ReleaseBuilder(inputs)

    return of


def alive(references):
    gc.collect()
    return [reference for reference in references if reference() is not None]


def test_no_network_outlives_its_cell(builder, young, monkeypatch):
    """Fault 5: every point, seed and shadow model stayed on the device."""
    loaded = []
    real = releases.load_artefacts

    def watched(folder, device):
        made = real(folder, device)
        loaded.extend(weakref.ref(network) for network in made.networks.values())
        return made

    monkeypatch.setattr(releases, "load_artefacts", watched)
    few = ("defense.baseline.steps=5", "defense.cpsample.steps=5")
    made = builder("shadowed", settings=("quality.features=pixels", "attack.shadowed.part=", *few))
    worker = Worker(made)
    for cell in Plan(made).cells:
        worker.do(cell, lambda share: None)
        assert alive(loaded) == []
    assert len(loaded) > 6  # those of shadow models among them


def test_facts_of_a_training_are_read_without_loading_it(builder, monkeypatch):
    """Fault 5: seconds and notes were read through the networks."""
    made = builder()
    chain = made.inputs.suite.points[-1].chain
    seconds, evaluations = made.cost(chain, 0)
    made.unload()
    monkeypatch.setattr(releases, "load_artefacts", lambda *_: pytest.fail("loaded"))
    assert made.cost(chain, 0) == (seconds, evaluations) and evaluations > 0
    folder = made.trainings.path(made._folder(chain, 0, None).name)
    assert made.training_facts(chain, 0)[-1] == json.loads((folder / "info.json").read_text())


def test_a_record_says_where_its_release_was_trained_and_where_it_was_audited(builder, monkeypatch):
    """Fault 3: the environment of a record was the auditor's alone."""
    made = builder()
    chain, there = made.inputs.suite.points[0].chain, describe_environment(torch.device("cpu")) | {"torch": "1.0"}
    with monkeypatch.context() as patch:
        patch.setattr(releases, "describe_environment", lambda device: there)
        made.train(chain, 0, (None,))
    context = AuditContext(made, FeatureExtractor(made.inputs), made.inputs.suite.points[0], 0)
    (record,) = ReleaseAudit(context).run([RecordSpec("loss", Access.WEIGHTS)])
    assert record.run.environment.trainer == there
    assert record.run.environment.auditor == describe_environment(torch.device("cpu")) != there


def test_environments_of_a_chain_are_one_where_they_agree():
    assert merge_environments([{"a": "1", "b": "2"}, {"a": "1", "b": "3"}]) == {"a": "1", "b": "2 / 3"}


def test_no_model_is_trained_for_an_attack_whose_parts_do_not_ship(builder):
    """Fault 14: its record says not-applicable, and its shadow models are not trained."""
    models = {model for cell in Plan(builder("shadowed")).cells for model in cell.models}
    assert models == {None}
    assert len(shadow_models(2)) == 2


def test_rerun_all_drops_classifiers_and_every_sample(builder, monkeypatch):
    """Fault 11: classifiers, and samples of shadow and retrained models, were kept."""
    forget = "\n[forget]\nshare = 0.3\n"
    made = builder("shadowed", "forget_membership", settings=("attack.shadowed.part=",), more=forget)
    deleted = []
    monkeypatch.setattr(ArtefactCache, "delete", lambda self, key: deleted.append(self.path(key)))
    plan = Plan(made, "all")
    plan.drop_artefacts()
    kinds = [path.parent.name for path in deleted]
    assert kinds.count("readers") == 3
    others = {model for cell in plan.cells for model in cell.models} - {None}
    assert sorted(model.kind for model in others) == ["retrained", "shadow", "shadow"]
    # of each release its own samples and those of its retrained twin, and of the shadow models, which all share
    assert len({path for path in deleted if path.parent.name == "samples"}) == 2 * len(plan.audits) + 2


def test_an_attack_above_api_reads_samples_only_if_it_says_so(builder):
    """Its records are not keyed by their number otherwise."""
    made = builder("reader", "says")
    context = AuditContext(made, FeatureExtractor(made.inputs), made.inputs.suite.points[0], 0)
    with pytest.raises(AttackFailed, match="reads_samples = True"):
        list(ReleaseAudit(context).run([RecordSpec("reader", Access.DENOISER)]))
    (record,) = ReleaseAudit(context).run([RecordSpec("says", Access.DENOISER)])
    assert record.metrics
    assert issubclass(registry.find("attacks", "says"), MembershipAttack)
