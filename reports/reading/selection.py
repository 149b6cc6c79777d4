"""Selection of records: by point and family, the quality records, the attacks by which copying is read."""

from __future__ import annotations

from leakbench.results.metric_specs import COPY_EXCESS
from leakbench.results.record import QUALITY, Record
from leakbench.results.run_cache import cache_on_run
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

COPY_COLUMNS = 2
ALIGNED = "transformed-pixels"  # the similarity of a search over transforms, where that is not of features


Identity = tuple[str, str, str, int]


def identify(record: Record) -> Identity:
    """Point, attack, access and seed: what tells a record from all others of its run."""
    return record.point, record.attack, record.access, record.seed


def find_record(run: RunFolder, identity: Identity) -> Record:
    """The record of a run that has an identity. Raises KeyError without one."""
    return _by_identity(run)[identity]


@cache_on_run()
def _by_identity(run: RunFolder) -> dict[Identity, Record]:
    return {identify(record): record for record in run.records}


def select_records(
    run: RunFolder, point: PlannedPoint, family: str, attack: str = "", access: str = ""
) -> list[Record]:
    """The records of a family at a point, narrowed to an attack and an access level where these are given."""
    return [
        r
        for r in run.records
        if r.point == point.name and r.family == family and attack in ("", r.attack) and access in ("", r.access)
    ]


def quality_records(run: RunFolder, point: PlannedPoint) -> list[Record]:
    """The quality records of a point, one a seed."""
    return select_records(run, point, "quality", attack=QUALITY)


def copy_attacks(run: RunFolder) -> dict[str, str]:
    """The attacks by which tables and figures read copying, at most two, and what they are called there: by features,
    or by name if two share. Nearest copies come first, in pixels and then in the suite's features. A search under
    transforms stands in the place of that in pixels, whose copies it finds as well."""
    found = {r.attack: r.features for r in run.records if r.metric(COPY_EXCESS) is not None}
    suites = {record.features for record in run.records if record.attack == QUALITY}
    method = run.plan.methods
    aligned = [a for a in found if found[a] == ALIGNED and method.get(a, a).startswith("transformed_copy")]
    first = ALIGNED if aligned else "pixels"

    def place(attack: str) -> tuple[bool, bool, bool, str]:
        nearest = method.get(attack, attack).startswith("nearest_copy") and (found[attack], first) != (
            "pixels",
            ALIGNED,
        )
        return not (nearest or attack in aligned), found[attack] != first, found[attack] not in suites, attack

    shown = {attack: found[attack] for attack in sorted(found, key=place)[:COPY_COLUMNS]}
    names = list(shown.values())
    return {attack: f if f and names.count(f) == 1 else attack for attack, f in shown.items()}
