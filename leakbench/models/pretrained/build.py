"""From a model's parts to a release: their shapes and conditions first, their weights when they are asked for."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from leakbench.models.pretrained import text_conditioning
from leakbench.models.pretrained.adapter import load_adapter
from leakbench.models.pretrained.bad_settings import bad_settings
from leakbench.models.pretrained.denoiser import Denoiser
from leakbench.models.pretrained.families.family import Family
from leakbench.models.pretrained.families.own import Own
from leakbench.models.pretrained.families.registry import family_of
from leakbench.models.pretrained.header_check import check_files
from leakbench.models.pretrained.inspect import (
    ENCODERS,
    TOKENIZERS,
    Folder,
    Options,
    Part,
    describe_choices,
    inspect_folder,
    list_files,
    once_unchanged,
    part_files,
)
from leakbench.models.pretrained.kept_precision import (
    choose_precision,
    describe_precision,
    place_for_encoders,
    take_as_float32,
)
from leakbench.models.pretrained.lora.adapter import Deltas, merge, read_adapter
from leakbench.models.pretrained.lora.delta import Delta
from leakbench.models.pretrained.lora.files import source_files
from leakbench.models.pretrained.prediction import Prediction, describe_levels, read_prediction
from leakbench.models.pretrained.settings import read_shapes
from leakbench.models.pretrained.spec import PretrainedSpec
from leakbench.models.pretrained.vae import vae_codec
from leakbench.models.pretrained.weight_check import check_weights
from leakbench.models.pretrained.weights import load_file_model, load_model, outline_model
from leakbench.models.release import Codec
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.cache.keys import compute_key, digest_files
from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.device import place
from leakbench.runtime.errors import UsageError


@dataclass(frozen=True)
class LoadedModel:
    """A model on a device: eps by `network`, whose spec says its shape and conditions."""

    name: str
    spec: PretrainedSpec
    network: Denoiser
    codec: Codec | None
    remarks: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """For the record: the noise that it is asked for at timesteps, where these are not its own, and what was chosen
        among its files."""
        kept = describe_precision(self.network.body)
        said = {"read": "; ".join(self.remarks)} if self.remarks else {}
        return describe_levels(self.network.prediction) | said | ({"weights_kept_in": kept} if kept else {})


def read_spec(options: Options) -> PretrainedSpec:
    """Shapes, conditions and schedule, from settings alone. Raises UsageError for what is not known here."""
    if options.path.startswith("module:"):
        if options.lora:
            raise UsageError(f"lora {options.lora!r}: {options.path} is no folder of a model: merge it in your module")
        return load_adapter(options.path, options.prediction, options.trust_code).spec
    folder = inspect_folder(options.path, options.trust_code, options.config)
    found = _read_spec(folder, options)[0]
    _check_once(options)
    return found


@once_unchanged
def _check_once(options: Options) -> None:
    """Check the weights of a folder and of its adapter. Raises UsageError."""
    folder = inspect_folder(options.path, options.trust_code, options.config)
    check_files(folder)
    check_weights(folder, options.trust_pickle)
    _read_adapter(folder, options)


def _read_adapter(folder: Folder, options: Options) -> Deltas:
    """What the adapter changes of the network and of text encoders; nothing without one. Raises UsageError."""
    if not options.lora:
        return {}
    parts = {
        key: dict(
            (outline_model(_class(part.kind), part.config) if part.loaded is None else part.loaded).named_parameters()
        )
        for key, part in folder.parts.items()
        if key == "body" or key.startswith("text_encoder")
    }
    return read_adapter(options.lora, parts, options.trust_pickle)


def content_digest(options: Options) -> str:
    """A digest of what the model is beside its files: of what an adapter answered, "" for folders."""
    if options.path.startswith("module:"):
        return load_adapter(options.path, options.prediction, options.trust_code).digest
    return ""


def digest(options: Options) -> str:
    """sha256 of all that the model is made of, 40 hex digits."""
    files, more = digest_files(list_files(options)), content_digest(options)
    return compute_key(files=files, content=more) if more else files


@lru_cache(maxsize=2)
def build(options: Options, _digest: str, device: torch.device) -> LoadedModel:
    """The model with its weights, in eval mode and without gradients. `_digest`: of its files, so that a changed file
    is read again."""
    if options.path.startswith("module:"):
        module = load_adapter(options.path, options.prediction, options.trust_code)
        network = Denoiser(module.body, module.spec.network, module.prediction, Own())
        return LoadedModel(options.path, module.spec, _ready(network, device), None)
    folder = inspect_folder(options.path, options.trust_code, options.config)
    found, prediction = _read_spec(folder, options)
    part = folder.parts["body"]
    family = family_of(part.kind, part.config)
    deltas = _read_adapter(folder, options)
    captions = _captions(folder, family, options, deltas, device) if options.captions else {}
    precision = choose_precision(part, device)
    body = _loaded(part, options, **precision.more)
    if "body" in deltas:
        _widen_merged(body, deltas["body"])
        merge(body, deltas["body"], options.lora)
    take_as_float32(body, precision)
    vae = folder.parts.get("vae")
    codec = vae_codec(_loaded(vae, options), device) if vae else None
    network = Denoiser(body, found.network, prediction, family, **captions)
    return LoadedModel(options.name, found, _ready(network, device), codec, describe_choices(options))


def _widen_merged(body: nn.Module, deltas: list[Delta]) -> None:
    """Turn weights that an adapter is merged into into float32, where they are kept in half precision."""
    for one in deltas:
        body.get_submodule(one.module).float()


def _ready(network: Denoiser, device: torch.device) -> Denoiser:
    return place(network, device).eval().requires_grad_(False)


def _read_spec(folder: Folder, options: Options) -> tuple[PretrainedSpec, Prediction]:
    with bad_settings(str(folder.path)):
        shapes = read_shapes(folder, options, lambda part: _defaults(part) | part.config)
        prediction = read_prediction(folder.scheduler, options.prediction, str(folder.path))
        schedule = replace(prediction.schedule, bounded="vae" not in folder.parts)
    return PretrainedSpec(shapes.images, shapes.network, schedule), replace(prediction, schedule=schedule)


def _captions(folder: Folder, family: Family, options: Options, deltas: Deltas, device: torch.device) -> dict[str, Any]:
    """What a Denoiser has to know of captions: what the network is told of each distinct one, which of them each label
    is, their texts, and the way to have other texts encoded."""
    texts = text_conditioning.read_captions(options.captions)
    distinct = tuple(dict.fromkeys(texts))
    number = {caption: at for at, caption in enumerate(distinct)}
    which = torch.tensor([number[caption] for caption in texts], device=device)
    encode = partial(_encode, folder, family, options, deltas, device)
    return {"captions": encode(distinct), "which": which, "texts": texts, "encode": encode}


def _encode(
    folder: Folder,
    family: Family,
    options: Options,
    deltas: Deltas,
    device: torch.device,
    distinct: tuple[str, ...],
) -> dict[str, torch.Tensor]:
    """What the network is told of captions and, last, of none."""
    texts = {key: part for key, part in folder.parts.items() if key.startswith(("text_encoder", "tokenizer"))}
    changed = sorted(deltas.keys() & texts.keys())

    def tell(made_in: Path) -> None:
        place = place_for_encoders(texts.values(), device)
        parts = {key: _loaded_text(part, options, place) for key, part in texts.items()}
        for encoder in changed:
            merge(parts[encoder], deltas[encoder], options.lora)
        pipeline = family.assemble(parts, folder.index, folder.parts["body"].config)
        save_file(text_conditioning.tell_captions(family, pipeline, distinct, place), made_in / "told.safetensors")

    files = [path for part in texts.values() for path in part_files(part)]
    more = {"lora": digest_files(tuple(source_files(options.lora)))} if changed else {}
    # A pipeline follows from settings beside these files as well: model_index.json's, and the network's.
    settings = {key: [part.kind, part.config] for key, part in [*texts.items(), ("body", folder.parts["body"])]}
    key = compute_key(
        files=digest_files(tuple(sorted(files))),
        captions=list(distinct),
        family=family.pipeline,
        settings=settings,
        index=folder.index,
        **more,
    )
    return load_file(ArtefactCache(cache_root(), "told").get_or_make(key, tell) / "told.safetensors")


def _loaded_text(part: Part, options: Options, device: torch.device) -> Any:
    """A tokenizer, or a text encoder with its weights."""
    if part.kind not in TOKENIZERS:
        return _loaded(part, options).to(device)
    return part.loaded or _class(part.kind).from_pretrained(part.folder, local_files_only=True)


def _loaded(part: Part, options: Options, **more: Any) -> nn.Module:
    """A part with its weights; `more` for its class's from_pretrained."""
    if part.loaded is not None:
        found = copy.deepcopy(part.loaded) if options.lora else part.loaded  # it stays as it is, for the next
        own: nn.Module = found.float().eval().requires_grad_(False)
        return own
    kind = _class(part.kind)
    if part.file is not None:
        return load_file_model(kind, part, options.trust_pickle, **more)
    if part.kind in ENCODERS:
        # named here, so that no setting in the folder can choose a kernel to download
        attention = "sdpa" if part.kind.startswith("CLIP") else "eager"
        return load_model(kind, part.folder, options.trust_pickle, attn_implementation=attention)
    return load_model(kind, part.folder, options.trust_pickle, low_cpu_mem_usage=False, **more)


def _class(kind: str) -> Any:
    import diffusers

    if kind not in (*ENCODERS, *TOKENIZERS):
        return getattr(diffusers, kind)
    try:
        import transformers
    except ImportError:
        raise text_conditioning.missing_transformers() from None
    transformers.utils.logging.disable_progress_bar()  # its own, beside ours
    return getattr(transformers, kind)


def _defaults(part: Part) -> dict[str, Any]:
    """Defaults of the settings that the folder does not say."""
    kind = _class(part.kind) if part.loaded is None else type(part.loaded)
    taken = inspect.signature(kind.__init__).parameters.values()
    return {one.name: one.default for one in taken if one.default is not inspect.Parameter.empty}
