"""Description of one family of networks: its shape by its settings, what it is told of a condition, and its call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from leakbench.models.pretrained.bad_settings import read_sides, read_whole
from leakbench.runtime.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Settings = Mapping[str, Any]
Told = dict[str, Any]


class Family:
    """A family as its defaults have it: a network that is told nothing, or a class.

    body: its class in diffusers. pipeline: the class in diffusers that makes of captions what the network is told; ""
    where it takes none. encoders: keys of model_index.json of the text encoders without which there is no caption.
    reads: settings without which its shape is not known. knows_none: of a family of classes, that it has a class of
    none, which guidance needs. patch: what its sides are multiples of.
    """

    body: ClassVar[str]
    pipeline: ClassVar[str] = ""
    encoders: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[str, ...]] = ("sample_size", "in_channels", "out_channels")
    knows_none: ClassVar[bool] = False
    patch: ClassVar[int] = 1

    def check(self, config: Settings, where: str) -> None:
        """Raise UsageError for settings that ask for more than the family does."""

    def channels(self, config: Settings, where: str) -> int:
        """Channels of what it denoises."""
        channels = read_whole(config, "in_channels", where)
        out = config.get("out_channels") or channels
        if out not in (channels, 2 * channels):
            raise UsageError(f"{where}: {self.body} of {channels} channels in and {out} out is not known")
        return channels

    def sides(self, config: Settings, where: str) -> tuple[int, int]:
        """Height and width of what it denoises."""
        if config.get("sample_size") is None:
            raise UsageError(
                f"{where}: {self.body} without a sample_size: write the size of its images into config.json"
            )
        return read_sides(config, "sample_size", where)

    def labels(self, config: Settings, where: str) -> int:
        """Number of classes; 0 for none."""
        return 0

    def assemble(self, parts: Mapping[str, Any], index: Settings, config: Settings) -> Any:
        """Its pipeline, with text encoders and tokenizers and nothing else. index: model_index.json's own settings.
        config: the network's."""
        import inspect

        import diffusers

        kind = getattr(diffusers, self.pipeline)
        taken = inspect.signature(kind.__init__).parameters
        missing = {name: None for name, one in taken.items() if name != "self" and one.default is one.empty}
        said = {name: value for name, value in index.items() if name in taken}
        return kind(**(missing | said | dict(parts)))

    def tell(self, pipeline: Any, captions: list[str], device: torch.device) -> dict[str, Tensor]:
        """Tensors of which each row is what the network is told of a caption; the last row is what the pipeline tells
        it where guidance asks for no condition. `pipeline` has its text encoders and nothing else. As most pipelines
        answer: the encoder's states, and which of them are words."""
        states, mask, none, none_mask = pipeline.encode_prompt(captions, device=device)
        return {"states": with_none(states, none), "mask": with_none(mask, none_mask)}

    def ask(self, body: Any, x: Tensor, time: Tensor, told: Told) -> Any:
        """Call the network on x (N, C, H, W) at time (N,), its scheduler's. told: {"label": int64 (N,)} of a class, or
        N rows of what `tell` made. Answers a tensor, or a tuple that begins with it."""
        raise NotImplementedError


def with_none(rows: Tensor, none: Tensor) -> Tensor:
    """Rows of captions, and last the one of no condition: `none` has it once for each caption."""
    import torch

    return torch.cat([rows, none[:1]])
