"""Sets of attacks by name, for --attacks. Imports no torch: a plan reads them too."""

from __future__ import annotations

from typing import Any

from leakbench.runtime import registry
from leakbench.suite.ensemble import read_frozen_attacks

FROZEN = ("standard", "strongest")  # the first is the default
SETS = (*FROZEN, "all")
WORDS: tuple[dict[str, Any], ...] = (  # that every set has beside where the model is told captions
    {"name": "blind_captions"},
    {"name": "clid"},
    {"id": "clid-other", "name": "clid", "captions": "other"},
    {"name": "prompt_noise"},
)
HOSTED: tuple[dict[str, Any], ...] = ({"name": "reconstruction"},)  # where a hosted model is told them


def split_choice(choice: str) -> list[str]:
    """The words of --attacks, which have commas between: names of sets and of attacks."""
    return [word.strip() for word in choice.split(",")]


def read_set(name: str) -> list[dict[str, Any]]:
    """The [[attack]] entries of a set, whether or not an audit can run them: of a frozen set its own, of "all" those of
    `strongest` and then every other attack with its default parameters."""
    if name != "all":
        return read_frozen_attacks(name, "leakbench audit")
    strongest = read_frozen_attacks("strongest", "leakbench audit")
    known = {entry["name"] for entry in strongest}
    return [*strongest, *({"name": name} for name in registry.names("attacks") if name not in known)]
