"""The plan of an audit in seconds: JSON files and headers are read, and neither torch nor diffusers is imported, but to
check an adapter or a base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from leakbench.api import Defense, PretrainedSpec
from leakbench.data.dataset import Dataset
from leakbench.data.duplicates import NearDuplicates
from leakbench.data.outline import outline_sides
from leakbench.data.split import draw_split
from leakbench.interface.audit_request import REQUEST, make_request
from leakbench.interface.options import Device, PathName, check_at_least, check_choice, list_names
from leakbench.interface.settings import Settings, to_overrides
from leakbench.measurement.inputs import RunInputs
from leakbench.models.pretrained.settings import read_header_spec
from leakbench.runner.outline import describe_outline
from leakbench.runtime import registry
from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.cores import cores
from leakbench.runtime.paths import user_path
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.attack_table import NotInTable, stand_ins
from leakbench.suite.audit_request.suite import GIVEN, Request, outline_audit_suite


class NotInHeaders(Exception):
    """What a plan cannot know without importing torch or decoding images, in words."""


class AuditOutline(NamedTuple):
    """lines: the plan. left_out: why attacks that are left out cannot work, by name."""

    lines: list[str]
    left_out: dict[str, str]


def outline_audit(
    *,
    settings: Settings,
    out: PathName | None,
    device: Device,
    workers: int | None,
    rerun: str,
    plugins: PathName | Sequence[PathName],
    **request: Any,
) -> AuditOutline:
    """The plan of the audit that the options of `audit` ask for. Raises UsageError, and NotInHeaders."""
    overrides = to_overrides(settings)
    _check_known(request, overrides, device, plugins)
    check_at_least("workers", workers, 1)
    check_choice("device", device, Device)
    asked = make_request(**{name: request[name] for name in REQUEST})
    pipeline: type[Defense] = registry.find("defenses", "pipeline")
    by_headers = type("Pipeline", (pipeline,), {"__module__": __name__, "spec": _spec, "__doc__": pipeline.__doc__})
    with registry.standing_in("attacks", stand_ins()), registry.standing_in("defenses", {"pipeline": by_headers}):
        try:
            suite, left_out, data = outline_audit_suite(asked, overrides, _outline)
            folder = user_path(out) if out else Path("runs") / suite.file.name
            if rerun != "all" and (folder / "plan.json").is_file():
                raise NotInHeaders(f"{folder} holds a run, whose records are compared")
            split = draw_split(data, suite.file.split, NearDuplicates.none(len(data.images)))
            inputs = RunInputs.outlined(suite, RunConfig(folder, cache_root(), "cpu"), data, split)
            return AuditOutline(list(describe_outline(inputs, workers or cores())), left_out)
        except NotInTable as error:
            raise NotInHeaders(str(error)) from None


def _check_known(
    request: dict[str, Any], overrides: Sequence[str], device: str, plugins: PathName | Sequence[PathName]
) -> None:
    """Raise NotInHeaders for what is known beforehand to need more."""
    options = {
        "--plugin": bool(plugins),
        "--samples": request["samples"] is not None,
        "--endpoint": request["endpoint"] is not None,
        "--defense": bool(list_names(request["defenses"])),
        "--skip-broken": request["skip_broken"],
        "--trust-code": request["trust_code"],
        "a CUDA device": device == "cuda" or (device == "auto" and Path("/dev/nvidia0").exists()),
    }
    unknown = ("attack", "defense", "split.file")  # but for the model's own settings, which are read as it is
    strangers = [one for one in overrides if one.startswith(unknown) and not one.startswith(f"defense.{GIVEN}.")]
    options |= {f"--set {one}": True for one in strangers}
    if asked := next((name for name, given in options.items() if given), None):
        raise NotInHeaders(asked)
    strange = [name for name in registry.names("attacks") if not registry.is_built_in("attacks", name)]
    chosen = ",".join(list_names(request["attacks"])).split(",")
    if found := next((name for name in strange if name in chosen or "all" in chosen), None):
        raise NotInHeaders(f"attack {found}, which is not built in")


def _spec(model: Any) -> PretrainedSpec:
    """Of a pipeline, by its JSON files; where an adapter or a base is checked against it, by torch."""
    if model.lora or model.reference:
        return cast(PretrainedSpec, type(model).__mro__[1](**model.model_dump()).spec())
    found = read_header_spec(model.options)
    if found is None:
        raise NotInHeaders(f"the model {model.path}, whose settings do not say all")
    return found


def _outline(request: Request, model: PretrainedSpec | None) -> Dataset:
    sides = {"members": request.members, "nonmembers": request.nonmembers}
    channels = cast(PretrainedSpec, model).images[0]
    data = outline_sides(sides, channels, request.captions, request.seed, request.groups)
    if data is None:
        raise NotInHeaders("a data set by name")
    return data
