"""manifest.json of a packed run: sha256 of every file, and what the run is of.

It is written in one form only, and ends with a hash of itself: any other byte is found.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from leakbench.results.record import SCHEMA
from leakbench.results.record_files import validation_fault
from leakbench.results.run_digest import digest_hashes
from leakbench.runtime.errors import UsageError

MANIFEST = "manifest.json"

_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Word = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Manifest(BaseModel):
    """The manifest of a packed run.

    schema_version: of this file. records: schema of the run's records. leakbench: the version that packed it. suite:
    its name. suite_digest: sha256 of all settings (`identity` of plan.json). digest: that of the run, by which a
    leaderboard knows it. files: sha256 by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    records: Literal[2] = SCHEMA
    leakbench: _Word
    suite: _Word
    suite_digest: _Word
    digest: _Hash
    files: dict[_Word, _Hash]


def build_manifest(files: dict[str, str], suite: str, suite_digest: str) -> Manifest:
    """The manifest of files with these sha256, of a run of a suite."""
    return Manifest(
        leakbench=version("leakbench"), suite=suite, suite_digest=suite_digest, digest=digest_hashes(files), files=files
    )


def format_manifest(manifest: Manifest) -> bytes:
    """The bytes of manifest.json."""
    content: dict[str, Any] = manifest.model_dump(mode="json")
    return _to_bytes(content | {"sha256": hashlib.sha256(_to_bytes(content)).hexdigest()})


def read_manifest(data: bytes, where: str) -> Manifest:
    """The manifest that these bytes are. Raises UsageError that begins with `where` for any others than
    `format_manifest` writes."""
    try:
        content = json.loads(data)
        if not isinstance(content, dict):
            raise UsageError(f"{where}: not a manifest")
        content.pop("sha256", None)
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{where}: not a manifest ({validation_fault(error)[:200]})") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{where}: not JSON") from None
    if format_manifest(manifest) != data:
        raise UsageError(f"{where}: changed since `leakbench submit` wrote it: its own hash does not agree")
    return manifest


def _to_bytes(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
