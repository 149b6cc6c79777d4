"""One release that a suite asks for: a chain of defenses with their parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leakbench.api import Defense


@dataclass(frozen=True)
class ChainLink:
    """One defense of a chain. `condition`: of its network, where the entry states another than [network] does."""

    id: str
    defense: Defense
    condition: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The defense's parameters, and `condition` where it is stated."""
        stated = {} if self.condition is None else {"condition": self.condition}
        return self.defense.model_dump(mode="json") | stated


@dataclass(frozen=True)
class ReleaseSpec:
    """One point of a trade-off curve: a chain of defenses, from the one that trains the network to the outermost."""

    label: str
    chain: tuple[ChainLink, ...]
    role: str

    @property
    def id(self) -> str:
        """The outermost defense's id."""
        return self.chain[-1].id

    @property
    def parameters(self) -> dict[str, Any]:
        """The chain's parameters; those of a base are prefixed by its id."""
        bases = {f"{link.id}.{key}": value for link in self.chain[:-1] for key, value in link.parameters.items()}
        return self.chain[-1].parameters | bases
