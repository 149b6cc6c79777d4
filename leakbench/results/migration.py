"""Bring records of an older schema to this one, so that results of earlier versions stay readable.

Schema 1 to 2: a release's claims are its guarantee, with adjacency and unit, and two flags are called after it;
`run.environment` has the auditor's facts apart from the trainer's (which schema 1 did not keep); `adaptive` is a field,
derived from the attack's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ADAPTIVE = "adaptive_"  # how names of attacks that know the defense began in schema 1
_FLAGS = {"epsilon-above-claim": "epsilon-above-guarantee", "ceiling-below-claim": "ceiling-below-guarantee"}
_ADJACENCY = {"add or remove one image": "add-or-remove"}


def migrate(fields: Any, methods: Mapping[str, str]) -> Any:
    """The fields of a record as this schema has them; anything but schema 1 is handed back unchanged.

    methods: the method behind each attack id, as the run's plan says.
    """
    if not isinstance(fields, dict) or fields.get("schema_version") != 1:
        return fields
    attack = str(fields.get("attack"))
    kept = {key: value for key, value in fields.items() if key != "claims"}
    return kept | {
        "schema_version": 2,
        "adaptive": any(name.startswith(_ADAPTIVE) for name in (attack, methods.get(attack, ""))),
        "flags": sorted(_FLAGS.get(flag, flag) for flag in fields.get("flags") or []),
        "guarantee": _guarantee(fields.get("claims", {})),
        "info": _info(dict(fields.get("info") or {})),
        "run": _run(dict(fields.get("run") or {})),
    }


def _guarantee(claims: Any) -> Any:
    """Neighbouring data sets in two words: which change makes one (adjacency), and of what (unit)."""
    if not isinstance(claims, dict) or "neighbours" not in claims:
        return claims
    told = str(claims["neighbours"])
    kept = {key: value for key, value in claims.items() if key != "neighbours"}
    return kept | {"adjacency": _ADJACENCY.get(told, told), "unit": "image"}


def _info(info: dict[str, Any]) -> dict[str, Any]:
    """Facts of an audit repeat the guarantees of the two releases that it concerns."""
    return {
        key.replace("_claims", "_guarantee"): _guarantee(value) if key.endswith("_claims") else value
        for key, value in info.items()
    }


def _run(run: dict[str, Any]) -> dict[str, Any]:
    return run | {"environment": {"auditor": run.get("environment") or {}}, "calls": run.get("calls") or {}}
