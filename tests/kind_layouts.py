"""One network in the files that people have: each function writes it beside a pipeline's folder, and answers what an
audit is given."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return {name: one for file in folder.glob("*.safetensors") for name, one in load_file(file).items()}


def rewritten(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    from safetensors.torch import save_file

    file = next(folder.glob("*.safetensors"))
    save_file(change(weights(folder)), file, metadata={"format": "pt"})


def settings(file: Path, **changed: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


def bare(folder: Path, _body: Any) -> tuple[Path, dict[str, Any]]:
    return folder / "unet", {"prediction": "epsilon"}


def checkpoint(folder: Path, body: Any) -> tuple[Path, dict[str, Any]]:
    body.save_pretrained(folder / "checkpoint-7/unet_ema")
    return folder / "checkpoint-7", {}


def run(folder: Path, body: Any) -> tuple[Path, dict[str, Any]]:
    body.save_pretrained(folder.parent / f"{folder.name}-run/checkpoint-9/unet")
    return folder.parent / f"{folder.name}-run", {"prediction": "epsilon"}


def file(ending: str, wrap: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path, Any], Any]:
    def write(folder: Path, body: Any) -> tuple[Path, dict[str, Any]]:
        from safetensors.torch import save_file

        file = folder.with_suffix(ending)
        plain = wrap({name: value.clone() for name, value in body.state_dict().items()})
        save_file(plain, file) if ending == ".safetensors" else torch.save(plain, file)
        return file, {"config": str(folder)}

    return write


def sharded(folder: Path, body: Any) -> tuple[Path, dict[str, Any]]:
    shutil.rmtree(folder / "unet")
    body.save_pretrained(folder / "unet", max_shard_size="20KB")
    return folder, {}


def pickled(folder: Path, body: Any) -> tuple[Path, dict[str, Any]]:
    next((folder / "unet").glob("*.safetensors")).unlink()
    torch.save(body.state_dict(), folder / "unet/diffusion_pytorch_model.bin")
    return folder, {}


def wrapped(folder: Path, _body: Any) -> tuple[Path, dict[str, Any]]:
    rewritten(
        folder / "unet", lambda tensors: {re.sub(r"(to_[qkv])\.", r"\1.base_layer.", k): v for k, v in tensors.items()}
    )
    return folder, {}


def lora(folder: Path, body: Any) -> tuple[Path, dict[str, Any]]:
    from safetensors.torch import save_file

    file, place = folder.with_suffix(".safetensors"), body.mid_block.attentions[0].to_q
    down, up = torch.randn(2, place.in_features), torch.randn(place.out_features, 2)
    name = "unet.mid_block.attentions.0.to_q"
    save_file({f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}, file)
    with torch.no_grad():
        place.weight += up @ down
    return folder, {"lora": str(file)}


def named(folder: Path, **entries: Any) -> None:
    settings(folder / "model_index.json", **entries)


def with_adapter(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return tensors | {"mid_block.attentions.0.to_q.lora_A.default.weight": torch.zeros(2, 16)}
