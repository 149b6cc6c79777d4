"""The plan of an audit as far as headers tell: no image is decoded, nothing imports torch.

Everything is taken to be left to do: it is for a folder that holds no run.
"""

from __future__ import annotations

from collections.abc import Iterator

from leakbench.api import REFERENCE, Access
from leakbench.data.overlap import count_compared
from leakbench.measurement.access_levels import LEVELS
from leakbench.measurement.auxiliary import auxiliary_chain
from leakbench.measurement.compatibility import audit_setting, check_compatibility, is_applicable, skip_attack
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.record_contents import RecordSpec
from leakbench.results.record import QUALITY
from leakbench.runner.cell import Cell, fit_verb
from leakbench.runner.description import describe_cells, describe_estimate, describe_groups
from leakbench.runner.estimate.count_times import CountedTimes
from leakbench.runner.estimate.table_calls import TableCalls
from leakbench.runner.estimate.time_estimate import TimeEstimate, estimate_bytes
from leakbench.statistics import least_p_value
from leakbench.suite.release_spec import ChainLink, ReleaseSpec


def describe_outline(inputs: RunInputs, workers: int) -> Iterator[str]:
    """Lines as of a full plan, and the attacks of each access level. inputs: outlined ones. Raises UsageError."""
    check_compatibility(inputs)
    cells = list(list_cells(inputs))
    yield from inputs.remarks
    yield from describe_cells(cells, workers, inputs.config.out)
    yield from _list_attacks(inputs)
    yield _count_images(inputs)
    yield from describe_groups(inputs)
    times = CountedTimes(inputs)
    seconds = TimeEstimate(inputs, times, TableCalls()).seconds(inputs, cells, workers)
    yield from describe_estimate(seconds, estimate_bytes(inputs, cells), ", ".join(sorted(times.sources)))


def list_cells(inputs: RunInputs) -> Iterator[Cell]:
    """All cells of a suite whose attacks need no other models but the base of a fine-tune."""
    yield Cell("reader", "reader", "embedding of the reference images")
    seen = set()
    for seed in inputs.suite.file.seeds:
        for point in inputs.suite.points:
            for chain, purpose in _list_fits(inputs, point):
                if (name := _name_fit(chain, seed)) not in seen:
                    verb = f"{fit_verb(chain[-1].defense)} {chain[-1].id}, seed {seed}{purpose}"
                    yield Cell(name, "fit", verb, (), chain, None, seed, (None,))
                seen.add(name)
    for point in inputs.suite.points:
        for seed in inputs.suite.file.seeds:
            needed = ("reader", *(_name_fit(chain, seed) for chain, _ in _list_fits(inputs, point)))
            records = tuple(_list_records(inputs, point))
            name = f"audit {point.label} seed {seed}"
            yield Cell(name, "audit", f"{point.label}, seed {seed}", needed, point.chain, point, seed, records=records)


def _list_fits(inputs: RunInputs, point: ReleaseSpec) -> Iterator[tuple[tuple[ChainLink, ...], str]]:
    """The chains to fit for a release, and what each is for in words; last the base that attacks compare it with."""
    for length in range(1, len(point.chain) + 1):
        yield point.chain[:length], ""
    setting = audit_setting(inputs, point.chain)
    asked = [attack for name, attack in inputs.suite.attacks.items() if inputs.suite.asks(name, point)]
    if any(REFERENCE in attack.auxiliary_models() and is_applicable(attack, setting) for attack in asked):
        yield auxiliary_chain(REFERENCE, point.chain), f" for {REFERENCE.name}"


def _name_fit(chain: tuple[ChainLink, ...], seed: int) -> str:
    """One name for one training, whatever the suite calls it."""
    return f"fit {[link.defense for link in chain]} seed {seed}"


def _list_records(inputs: RunInputs, point: ReleaseSpec) -> Iterator[RecordSpec]:
    yield RecordSpec(QUALITY, Access.SAMPLES)
    for name, attack in inputs.suite.attacks.items():
        if inputs.suite.asks(name, point):
            yield from (RecordSpec(name, access) for access in LEVELS[attack.family](attack))


def _list_attacks(inputs: RunInputs) -> Iterator[str]:
    """The attacks that will run on the first release, by the access that they need, and those that do not apply."""
    setting = audit_setting(inputs, inputs.suite.points[0].chain)
    runs: dict[Access, list[str]] = {}
    for name, attack in inputs.suite.attacks.items():
        if (found := skip_attack(attack, setting)) is None:
            runs.setdefault(attack.access, []).append(name)
        else:
            yield f"not applicable: {name}: {found.reason}"
    for access in sorted(runs):
        yield f"{access.name:<8}  {', '.join(runs[access])}"


def _count_images(inputs: RunInputs) -> str:
    """Images of each part, before near-duplicates are left out."""
    parts = {name: len(rows) for name, rows in inputs.split.parts.items()}
    if inputs.data.few:
        return _count_few(parts, inputs.split.group is not None)
    return (
        f"images: {parts['member']} members and {parts['nonmember']} nonmembers, {parts['calibration_in']} and "
        f"{parts['calibration_out']} for calibration, {parts['reference']} for reference (near-duplicates, and "
        f"which {_looked_at(parts)} nonmembers overlap a member, are found when images are decoded)"
    )


def _looked_at(parts: dict[str, int]) -> str:
    """Nonmembers that are compared with members under transforms."""
    count = count_compared(parts["member"] + parts["calibration_in"], parts["nonmember"])
    return "of the" if count == parts["nonmember"] else f"of the first {count}"


def _count_few(parts: dict[str, int], grouped: bool) -> str:
    """The same of few images, and what becomes of them."""
    members, nonmembers = parts["member"], parts["nonmember"]
    said = (
        f"images: {members} members and {nonmembers} nonmembers, {parts['reference']} for reference: too few to spare "
        "any for calibration. Scores are read as published, no attack learns from images whose membership is known, "
        "and exact tests judge: "
    )
    if grouped:
        return f"{said}they permute people, so that of one person among g others p is at least 1 / (1 + g)"
    least = least_p_value(members, nonmembers)
    return (
        f"{said}p is at least {least:.2g}. By image within one subject the nonmembers must be other photographs of it "
        f"(near-duplicates, and which {_looked_at(parts)} nonmembers overlap a member, are found when images are "
        "decoded)"
    )
