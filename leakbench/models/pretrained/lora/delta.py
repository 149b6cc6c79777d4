"""What an adapter adds to one weight: the rules of LoRA, LoHa, LoKr and DoRA.

    LoRA (Hu et al. 2021, 2106.09685):          W + s B A; with LoCon's middle, of convolutions, B M A
    LoHa (Hyeon-Woo et al. 2022, 2108.06098):   W + s (B1 A1) * (B2 A2), elementwise
    LoKr (Yeh et al. 2023, 2309.14859):         W + s kron(C, D), each whole or a product of two
    DoRA (Liu et al. 2024, 2402.09353):         m (W + s B A) / ||W + s B A||, norms by output

s is alpha / rank. PEFT stores m by output; LyCORIS by input, or by output as its shape tells.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Pieces = dict[str, Tensor]
NEEDED = (("down", "up"), ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"))
_EXTRAS = {
    "down": {"mid", "alpha", "dora_scale", "magnitude"},
    "hada_w1_a": {"hada_t1", "hada_t2", "alpha", "dora_scale"},
}
_KRON = {"lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2", "alpha", "dora_scale"}


@dataclass(frozen=True)
class Delta:
    """Change of the weight of `module` by `pieces`, times `scale`. key: a key of the file, for messages."""

    module: str
    pieces: Pieces
    scale: float
    key: str

    def merge(self, weight: Tensor) -> Tensor:
        """The weight as it becomes, float32. Raises ValueError or RuntimeError where shapes do not fit. Tensors of the
        device "meta" are checked by this without any numbers."""
        flat = _added(self.pieces)
        if flat.shape != weight.flatten(1).shape:
            raise ValueError(f"its delta is {_by(flat.shape)}")
        return self._by_magnitude(weight + self.scale * flat.view_as(weight))

    def is_zero(self) -> bool:
        """Tell whether a factor is all zeros, so that nothing is added."""
        if {"magnitude", "dora_scale"} & set(self.pieces):
            return False
        factors = [one for name, one in self.pieces.items() if name != "alpha"]
        return self.scale == 0 or not all(bool(one.count_nonzero()) for one in factors)

    def to_meta(self) -> Delta:
        """The same without numbers."""
        return Delta(self.module, {name: one.to("meta") for name, one in self.pieces.items()}, self.scale, self.key)

    def _by_magnitude(self, weight: Tensor) -> Tensor:
        size = self.pieces.get("magnitude", self.pieces.get("dora_scale"))
        if size is None:
            return weight
        by_output = "magnitude" in self.pieces or size.shape[0] == weight.shape[0]
        axis = 0 if by_output else 1
        if size.numel() != weight.shape[axis]:
            raise ValueError(f"its magnitudes are {_by(size.shape)}")
        shape = [-1 if at == axis else 1 for at in range(weight.ndim)]
        norms = weight.transpose(0, axis).flatten(1).norm(dim=1)
        return weight * (size.flatten() / norms).view(shape)


def lacks(pieces: Pieces) -> str:
    """Say what is wrong with a set of pieces; empty if it makes a delta."""
    names = set(pieces)
    for needed in NEEDED:
        if found := names & set(needed):
            missing = set(needed) - names
            if missing:
                return f"has {min(found)} and no {min(missing)}"
            strange = names - set(needed) - _EXTRAS[needed[0]]
            return f"has {min(found)} and {min(strange)}" if strange else ""
    if not names - {"alpha", "dora_scale", "magnitude"}:
        return f"has {min(names)} alone"
    for factor in ("lokr_w1", "lokr_w2"):
        if factor not in names and not {f"{factor}_a", f"{factor}_b"} <= names:
            return f"has no {factor}"
    strange = names - _KRON
    return f"has lokr_w1 and {min(strange)}" if strange else ""


def rank_of(pieces: Pieces) -> int | None:
    """The rank; None of a LoKr whose factors are both whole, which has no scale of its own."""
    for name in ("down", "hada_w1_b", "lokr_w2_b", "lokr_w1_b"):
        if name in pieces:
            return int(pieces[name].shape[0])
    return None


def _added(pieces: Pieces) -> Tensor:
    """B A and its kin, (outputs, inputs x kernel)."""
    if "down" in pieces:
        up, down = pieces["up"].flatten(1), pieces["down"]
        if "mid" in pieces:
            return torch.einsum("oi,ijkl,jc->ockl", up, pieces["mid"], down.flatten(1)).flatten(1)
        return up @ down.flatten(1)
    if "hada_w1_a" in pieces:
        return (_hada(pieces, 1) * _hada(pieces, 2)).flatten(1)
    left, right = _factor(pieces, "lokr_w1"), _factor(pieces, "lokr_w2")
    return torch.kron(left.view(*left.shape, *(1,) * (right.ndim - left.ndim)), right.contiguous()).flatten(1)


def _hada(pieces: Pieces, number: int) -> Tensor:
    """One factor of LoHa. With a middle, outputs come first in its a, too: a is (rank, outputs)."""
    a, b, middle = (pieces.get(f"hada_{name}") for name in (f"w{number}_a", f"w{number}_b", f"t{number}"))
    assert a is not None and b is not None
    if middle is None:
        return a @ b
    return torch.einsum("ijkl,jc,io->ockl", middle, b, a)


def _factor(pieces: Pieces, name: str) -> Tensor:
    """One factor of LoKr."""
    if name in pieces:
        return pieces[name]
    a, b = pieces[f"{name}_a"], pieces[f"{name}_b"]
    if name == "lokr_w2" and "lokr_t2" in pieces:
        return torch.einsum("ijkl,jc,io->ockl", pieces["lokr_t2"], b, a)
    whole = a @ b.flatten(1)
    return whole.view(len(a), *b.shape[1:])


def _by(shape: torch.Size) -> str:
    return "x".join(map(str, shape))
