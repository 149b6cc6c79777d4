"""Cache keys of artefacts and releases: pure functions of a run's inputs, a chain of defenses, a seed.

A key is the hash of its parts; the parts are kept beside what was made, so that a difference can be told by name. Those
of a fit: its fit-stage parameters, the plugin's version, the code that it can reach and the versions of the libraries
which that code imports, the base's key, data, split, network, schedule, device kind, seed. A release adds the
release-stage parameters of the whole chain, the sampler and the sizes of compute batches.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

from leakbench.api import AuxiliaryModel, Defense, as_pretrained
from leakbench.measurement.auxiliary import trained_as
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.tasks import build_task
from leakbench.models.artefact_io import save_artefacts
from leakbench.runtime.batch_sizes import fixed_sizes
from leakbench.runtime.cache.keys import compute_key, digest_files
from leakbench.runtime.code_digest import code_closure
from leakbench.suite.release_spec import ChainLink

Parts = dict[str, Any]


def code_parts(*roots: Any) -> Parts:
    """The parts that stand for code: modules with their digests, and libraries with their versions."""
    found = code_closure(*roots)
    return {"code": found.modules, "imports": found.imports, "libraries": found.libraries}


def hash_parts(parts: Parts) -> str:
    """The key of parts. Of code, where a module lies does not count."""
    return compute_key(**parts | ({"code": sorted(parts["code"].values())} if "code" in parts else {}))


def fit_key(inputs: RunInputs, chain: tuple[ChainLink, ...], seed: int, auxiliary: AuxiliaryModel | None = None) -> str:
    """Key of what training the last link of a chain makes, for the target (None) or an auxiliary model. Computed once
    for all that ask, but where the chain rests on files, which may change."""
    if any(as_pretrained(link.defense) for link in chain):
        return hash_parts(fit_parts(inputs, chain, seed, auxiliary))
    asked = chain, seed, auxiliary
    if asked not in inputs.fit_keys:
        inputs.fit_keys[asked] = hash_parts(fit_parts(inputs, chain, seed, auxiliary))
    return inputs.fit_keys[asked]


def fit_parts(
    inputs: RunInputs, chain: tuple[ChainLink, ...], seed: int, auxiliary: AuxiliaryModel | None = None
) -> Parts:
    """All that training the last link of a chain depends on."""
    defense, auxiliary = chain[-1].defense, trained_as(auxiliary)
    return {
        "defense": defense.name,
        "version": defense.version,
        # All but release-stage parameters: a missing mark causes a needless training, never a stale artefact.
        "parameters": {key: getattr(defense, key) for key in sorted(_fit_fields(type(defense)))},
        **code_parts(type(defense), build_task, save_artefacts),
        "base": _base_key(inputs, chain, seed, auxiliary) if len(chain) > 1 else None,
        "forget": _forget_part(inputs) if _follows_forget_set(chain, auxiliary) else None,
        "network": inputs.network_of(chain).model_dump(),
        "model": (model := as_pretrained(defense)) and [digest_files(model.files()), model.content_digest()],
        "condition": inputs.condition(chain),
        "schedule": asdict(replace(inputs.schedule_of(chain), steps=0, clip=False)),  # the walk is the release's
        "device": inputs.device.type,
        "compile": inputs.suite.file.compile,
        "seed": seed,
        "auxiliary": auxiliary and [auxiliary.kind, auxiliary.draw, auxiliary.share, auxiliary.canaries],
        **inputs.data_key,
    }


def summarise_fits(inputs: RunInputs, chain: tuple[ChainLink, ...], seed: int) -> list[Parts]:
    """The parts of the keys of a chain's trainings, a table each, for a record: JSON, and of all code one digest."""
    found = []
    for length in range(1, len(chain) + 1):
        parts = fit_parts(inputs, chain[:length], seed)
        code = compute_key(code=sorted(parts.pop("code").values()), imports=parts.pop("imports"))
        found.append({key: value for key, value in parts.items() if value is not None} | {"training code": code})
    plain: list[Parts] = json.loads(json.dumps(found, default=str))
    return plain


def release_key(
    inputs: RunInputs, chain: tuple[ChainLink, ...], seed: int, auxiliary: AuxiliaryModel | None = None
) -> str:
    """Key of a release."""
    return hash_parts(release_parts(inputs, chain, seed, auxiliary))


def release_parts(
    inputs: RunInputs, chain: tuple[ChainLink, ...], seed: int, auxiliary: AuxiliaryModel | None = None
) -> Parts:
    """All that a release depends on: its chain's fits, all their parameters, the sampler and the sizes of batches."""
    return {
        "fits": [fit_key(inputs, chain[: i + 1], seed, auxiliary) for i in range(len(chain))],
        "parameters": [link.defense.model_dump(mode="json") for link in chain],
        "sampler": inputs.suite.file.sampler.model_dump(),
        "batches": fixed_sizes(inputs.suite.file.sampler.batch),
        "compile": inputs.suite.file.compile,
    }


def _base_key(inputs: RunInputs, chain: tuple[ChainLink, ...], seed: int, auxiliary: AuxiliaryModel | None) -> str:
    """Key of the base: of its training alone, or of its release where the fit samples it."""
    key = release_key if chain[-1].defense.fit_samples_base else fit_key
    return key(inputs, chain[:-1], seed, auxiliary)


def _forget_part(inputs: RunInputs) -> str | None:
    table = inputs.suite.file.forget
    if inputs.forgotten is None or table is None:
        return None
    return compute_key(rows=inputs.forgotten.tolist(), label=table.label)


def _follows_forget_set(chain: tuple[ChainLink, ...], auxiliary: AuxiliaryModel | None) -> bool:
    """Tell whether the images of a fit, or what it is told of them, follow from what is to be forgotten."""
    retrained = auxiliary is not None and auxiliary.kind == "retrained"
    return retrained or any(link.defense.forgets for link in chain)


def _fit_fields(defense: type[Defense]) -> set[str]:
    return set(defense.model_fields) - defense.parameters_of_stage("release")
