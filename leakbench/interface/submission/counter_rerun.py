"""The plugin of a counter-evaluation, run again on the weights of the submission's run, which are in the cache here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from leakbench.api import Access, MembershipAttack
from leakbench.interface.process import run_settings
from leakbench.interface.submission.counter_file import Counter
from leakbench.interface.submission.findings import Findings
from leakbench.measurement.access_levels import rows_written
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.compatibility import audit_setting, skip_attack
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.keys import fit_key
from leakbench.measurement.membership import Attacks, measure_membership
from leakbench.measurement.record_contents import RecordContents
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.metrics.evaluate.metric_set import MetricSet
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder, open_run
from leakbench.runner.process import start_process
from leakbench.runtime import registry
from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.errors import UsageError
from leakbench.runtime.run_config import RunConfig
from leakbench.runtime.toml_file import validate
from leakbench.statistics import auc, finite
from leakbench.suite.load import build_suite

SAME_AUC = 0.01  # on another kind of device scores differ by rounding


@dataclass(frozen=True)
class Rerun:
    """What running an attack again gave: its metrics, and network calls an image."""

    findings: MetricSet
    queries: float


def rerun_attack(counter: Counter, submitted: RunFolder, weights: Path, findings: Findings) -> Rerun | None:
    """Run the plugin of a counter-evaluation on the release that it is against. None, with a finding, where this shows
    nothing: the weights at hand are not those of the submission, or the plugin gives other scores than were filed.

    Runs the plugin's code. Trains nothing but models that the attack itself asks for. Raises UsageError for a
    counter-evaluation without plugin, for a folder that holds another run, and where the weights are not in the cache.
    """
    if counter.plugin is None:
        raise UsageError("--weights: the counter-evaluation has no plugin to run; without one it is asserted")
    mine = open_run(weights)
    if mine.plan.identity != submitted.plan.identity:
        raise UsageError(f"--weights {weights}: holds another run than the submission is of (their settings differ)")
    attack, file = _load_attack(counter), counter.file
    with run_settings():
        context = _open_release(mine, weights, counter)
        if skip := skip_attack(attack, audit_setting(context.inputs, context.point.chain)):
            raise UsageError(f"{counter.plugin}: {file.attack} cannot be run there: {skip.reason}")
        witness = _choose_witness(context, submitted)
        asked: Attacks = {"counter": (attack, [Access[file.access]])}
        if witness is not None:
            its = cast(MembershipAttack, context.inputs.suite.attacks[witness.attack])
            asked["witness"] = (its, [Access[witness.access]])
        made = {row.attack: found for row, found in measure_membership(context, asked) if row.unit == "image"}
    if not _are_the_weights(made, submitted, witness, findings):
        return None
    return _compare(counter, made["counter"], findings)


def _load_attack(counter: Counter) -> MembershipAttack:
    assert counter.plugin is not None
    file = counter.file
    if file.attack not in registry.load_file(counter.plugin):
        raise UsageError(f"{counter.plugin}: defines no attack {file.attack!r}, which counter.toml names")
    kind = registry.find("attacks", file.attack)
    attack = validate(kind, dict(file.parameters), f"{counter.plugin}: {file.attack}")
    if not isinstance(attack, MembershipAttack):
        raise UsageError(f"{counter.plugin}: {file.attack} is no membership attack")
    levels = [level.name for level in rows_written(attack, False)]
    if file.access not in levels:
        raise UsageError(f"{counter.plugin}: {file.attack} needs {levels[0]}, and counter.toml says {file.access}")
    return attack


def _open_release(mine: RunFolder, weights: Path, counter: Counter) -> AuditContext:
    """The release under attack, from the cache. Raises UsageError where its weights are not in it."""
    suite = build_suite(dict(mine.plan.settings), f"{weights / 'plan.json'}: settings")
    inputs = RunInputs(suite, RunConfig(weights, cache_root(), start_process("auto")))
    builder, point = ReleaseBuilder(inputs), next(p for p in suite.points if p.label == counter.file.point)
    for length in range(1, len(point.chain) + 1):
        key = fit_key(inputs, point.chain[:length], counter.file.seed)
        if builder.trainings.get_valid(key) is None:
            raise UsageError(
                f"--weights {weights}: the weights of {point.label}, seed {counter.file.seed}, are not in the cache "
                f"{inputs.config.cache}, or this version would train them otherwise"
            )
    return AuditContext(builder, FeatureExtractor(inputs), point, counter.file.seed)


def _choose_witness(context: AuditContext, submitted: RunFolder) -> Record | None:
    """A record of the submission by which its weights are known: of an attack on this release that trains nothing."""
    found = [
        record
        for record in submitted.records
        if (record.family, record.point, record.seed) == ("membership", context.point.label, context.seed)
        and record.access in ("DENOISER", "WEIGHTS")
        and record.arrays
        and record.unit == "image"
        and not context.inputs.suite.attacks[record.attack].auxiliary_models()
    ]
    return min(found, key=lambda record: (record.queries, record.attack, record.access), default=None)


def _are_the_weights(
    made: dict[str, RecordContents], submitted: RunFolder, witness: Record | None, findings: Findings
) -> bool:
    """Tell whether one of the submission's own attacks gives the scores on these weights that were submitted."""
    if witness is None:
        findings.disagree("no attack of the submission shows that the weights at hand are its own")
        return False
    told, here = submitted.arrays(witness), made["witness"].arrays
    for name in ("member_scores", "nonmember_scores"):
        if not np.allclose(told[name], here[name], rtol=1e-3, atol=1e-3 * float(np.std(told[name]))):
            findings.disagree(
                f"the weights at hand are not the submission's: {witness.attack} gives other {name} on them"
            )
            return False
    return True


def _compare(counter: Counter, made: RecordContents, findings: Findings) -> Rerun | None:
    member, nonmember = counter.scores.arrays.scores
    filed = auc(finite(member), finite(nonmember)).value
    again = auc(finite(made.arrays["member_scores"]), finite(made.arrays["nonmember_scores"])).value
    if abs(filed - again) > SAME_AUC:
        findings.disagree(f"the scores filed have an AUC of {filed:.3f}, and the plugin's run here one of {again:.3f}")
        return None
    return Rerun(made.metrics, made.queries)
