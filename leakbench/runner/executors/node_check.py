"""Checks that a node computes as the machine of the command would: same packages, data, code and weights.

Artefacts and records are known by keys, so a node that differs would make things that nobody looks for, or records that
a local run would not have made. That is found before anything is computed, and reported in one line.
"""

from __future__ import annotations

import socket
from importlib.metadata import version

from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.keys import hash_parts
from leakbench.measurement.release_audit import ReleaseAudit
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.runtime.cache.keys import compute_key


def compute_fingerprint(builder: ReleaseBuilder) -> dict[str, str]:
    """The facts that have to be equal everywhere, by name; later ones depend on earlier ones."""
    packages = [f"{name} {version(name)}" for name in ("leakbench", "torch", "numpy", "diffusers")]
    embedding = FeatureExtractor(builder.inputs)
    seed = builder.inputs.suite.file.seeds[0]
    audits = [ReleaseAudit(AuditContext(builder, embedding, point, seed)) for point in builder.inputs.suite.points]
    parts = [audit.row_parts(row) for audit in audits for row in audit.rows()]
    libraries = {name: found for one in parts for name, found in one["libraries"].items()}
    return {
        "packages": ", ".join(packages),
        "data": compute_key(**builder.inputs.data_key),
        "libraries": ", ".join(f"{name} {found}" for name, found in sorted(libraries.items())),
        "code of leakbench or of a plugin": compute_key(code=[[one["imports"], one["code"]] for one in parts]),
        "weights": compute_key(weights=[one.get("weights") for one in parts]),
        "code that trains, or settings": compute_key(keys=[hash_parts(one) for one in parts]),
    }


def find_difference(here: dict[str, str], there: dict[str, str]) -> str:
    """The first fact in which a node (`here`) differs from the machine of the command (`there`), in one line; or ""."""
    for name, wanted in there.items():
        if here[name] != wanted:
            return (
                f"node {socket.gethostname()} has other {name} than the machine of the command ({here[name]} there, "
                f"{wanted} here): every node needs the same"
            )
    return ""
