"""Parts and settings of a model in a folder, read before its weights and without running its code.

`DiffusionPipeline.from_pretrained` is never called on a folder that was not trusted: the parts that model_index.json
names are looked up among diffusers' and transformers' own classes, and whatever it names beside those is refused. A
pipeline's class is not looked at: the parts decide. Code that lies in the folder (*.py) is refused as well, although it
would not be run: the model that its author samples from would be another one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any

from leakbench.models.pretrained.bad_settings import bad_settings
from leakbench.models.pretrained.families.registry import BODIES
from leakbench.models.pretrained.layouts import ddim_unet, openai_unet, training_run
from leakbench.models.pretrained.layouts.file_settings import find_settings, read_settings
from leakbench.models.pretrained.locate import adapter_file, locate_folder
from leakbench.models.pretrained.lora.files import source_files
from leakbench.models.pretrained.weight_files import read_table, weight_files
from leakbench.runtime.errors import UsageError, in_a_line
from leakbench.runtime.paths import user_path

VAES = ("AutoencoderDC", "AutoencoderKL", "AutoencoderKLFlux2", "AutoencoderKLQwenImage", "VQModel")
ENCODERS = (
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "Gemma2Model",
    "Qwen2_5_VLForConditionalGeneration",
    "Qwen3ForCausalLM",
    "Qwen3Model",
    "T5EncoderModel",
    "UMT5EncoderModel",
)
TOKENIZERS = (
    "CLIPTokenizer",
    "CLIPTokenizerFast",
    "GemmaTokenizer",
    "GemmaTokenizerFast",
    "LlamaTokenizer",
    "LlamaTokenizerFast",
    "Qwen2Tokenizer",
    "Qwen2TokenizerFast",
    "T5Tokenizer",
    "T5TokenizerFast",
)
WEIGHT_ENDINGS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".gguf")
_ROLES = {  # the part that each of these keys of model_index.json names
    "unet": ("body", BODIES),
    "transformer": ("body", BODIES),
    "vae": ("vae", VAES),
    "vqvae": ("vae", VAES),
    **{f"text_encoder{number}": (f"text_encoder{number}", ENCODERS) for number in ("", "_2", "_3")},
    **{f"tokenizer{number}": (f"tokenizer{number}", TOKENIZERS) for number in ("", "_2", "_3")},
}
_UNUSED = ("scheduler", "safety_checker", "feature_extractor", "image_encoder")


@dataclass(frozen=True)
class Options:
    """A model, what its user says about it, and what it is trusted with. captions: a file, "" where it has none. size:
    the side of its images in pixels, where that is not what its settings say. config: the settings of weights that are
    one file, "" where they lie beside it. lora: an adapter to merge into it."""

    path: str
    captions: str = ""
    guidance: float = 1.0
    prediction: str | None = None
    config: str = ""
    size: int | None = None
    trust_pickle: bool = False
    trust_code: bool = False
    lora: str = ""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return Path(self.path).name + (f" + {Path(self.lora).stem}" if self.lora else "")


@dataclass(frozen=True)
class Part:
    """One part of a model: its class in diffusers or transformers, its folder and its settings; and itself, where
    trusted code has loaded it already. file: its weights, where these are one file of some other name; settings: then
    the file that its config was read from."""

    kind: str
    folder: Path
    config: dict[str, Any]
    loaded: Any = None
    file: Path | None = None
    settings: Path | None = None

    @property
    def config_file(self) -> Path:
        """The file that its settings are read from."""
        return self.settings or self.folder / "config.json"


@dataclass(frozen=True)
class Folder:
    """A model's parts, by role: "body", "vae", and the keys of text encoders and tokenizers in model_index.json.
    `scheduler` is its config, None for a bare network; `index` what model_index.json says beside the parts. `heads`:
    the files that both were read from. `remarks`: what was chosen where there was a choice, in words."""

    path: Path
    parts: dict[str, Part]
    scheduler: dict[str, Any] | None
    code: tuple[Path, ...] = field(default=())
    index: dict[str, Any] = field(default_factory=dict)
    heads: tuple[Path, ...] = field(default=())
    remarks: tuple[str, ...] = field(default=())


def _stamp_files(options: Options) -> tuple[tuple[str, int, int], ...]:
    """Names, times and sizes of the files that a model is read from: the same as long as none of them changes."""
    files = [file for file in list_files(options) if file.is_file()]
    return tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)


def once_unchanged(check: Callable[[Options], None]) -> Callable[[Options], None]:
    """Let a check of a model's files be made once, as long as none of them changes."""

    @lru_cache(maxsize=8)
    def remembered(options: Options, _stamps: tuple[tuple[str, int, int], ...]) -> None:
        check(options)

    return wraps(check)(lambda options: remembered(options, _stamp_files(options)))


def list_files(options: Options) -> tuple[Path, ...]:
    """Every file that the model is made of, captions and trusted code included."""
    captions = (Path(options.captions),) if options.captions else ()
    adapter = source_files(options.lora) if options.lora else ()
    if options.path.startswith("module:"):
        return (adapter_file(options.path), *captions)
    found = inspect_folder(options.path, options.trust_code, options.config)
    files = [path for part in found.parts.values() for path in part_files(part)]
    return (*found.heads, *sorted(files), *found.code, *captions, *adapter)


def describe_choices(options: Options) -> tuple[str, ...]:
    """Remarks on what was chosen where there was a choice; none of a module. Raises UsageError."""
    if options.path.startswith("module:"):
        return ()
    found = inspect_folder(options.path, options.trust_code, options.config)
    file = found.parts["body"].file
    if file is None:
        return found.remarks
    from leakbench.models.pretrained.layouts.state_dict import read_state_dict  # here, for it imports torch

    return (read_state_dict(file, options.trust_pickle).remark, *found.remarks)


def part_files(part: Part) -> list[Path]:
    """Every file of a part."""
    if part.kind in TOKENIZERS or part.loaded is not None:
        return [path for path in part.folder.rglob("*") if path.is_file()]
    return [part.config_file, *((part.file,) if part.file else weight_files(part.folder))]


def inspect_folder(path: str, trust_code: bool, config: str = "") -> Folder:
    """Find the parts of the model in a folder, in one file of weights (`config`: its settings), or behind a hub id.
    Raises UsageError."""
    file = user_path(path)
    if file.is_file() and file.suffix in WEIGHT_ENDINGS:
        return _file_model(file, config, trust_code)
    if config:
        raise UsageError(f"config = {config!r}: {path} is no single file of weights, and says its settings itself")
    return _inspect_again(locate_folder(path), trust_code)


def _inspect_again(folder: Path, trust_code: bool) -> Folder:
    """A folder, which is read again where its settings have changed."""
    folder = training_run.newest_checkpoint(folder) or folder
    above = [folder.parent, folder.parent.parent] if _in_training_run(folder) else []
    patterns = ("*.json", "*/*.json", "*.py", "*/*.py")
    settings = {file for place in (folder, *above) for pattern in patterns for file in place.glob(pattern)}
    return _inspect(folder, trust_code, tuple(sorted((str(file), file.stat().st_mtime_ns) for file in settings)))


def _file_model(file: Path, config: str, trust_code: bool) -> Folder:
    """The model whose network's weights are one file. Its other parts are those of the folder that says its settings.
    Raises UsageError."""
    settings = find_settings(file, config) or _recognised(file)
    said = f"settings of {settings.name}"
    parts = ", autoencoder and text encoders too" if (settings / "model_index.json").is_file() else ""
    if settings.is_dir():
        base = _inspect_again(settings, trust_code)
        body = base.parts["body"]
        body = replace(body, file=file, settings=body.folder / "config.json")
        return replace(base, path=file, parts=base.parts | {"body": body}, remarks=(said + parts, *base.remarks))
    table, scheduler = read_settings(settings), None
    if "_class_name" not in table:
        with bad_settings(str(settings)):
            found = openai_unet.read_flags(table, str(settings)) or ddim_unet.read_config(table, str(settings))
        table, scheduler = found or (table, None)
    body = _part("unet", str(table.get("_class_name")), settings, table)
    heads = () if scheduler else _scheduler_file(file.parent)
    body = replace(body, folder=file.parent, file=file, settings=settings)
    scheduler = scheduler or (read_table(heads[0]) if heads else None)
    return Folder(file, {"body": body}, scheduler, heads=heads, remarks=(said,))


def _in_training_run(folder: Path) -> bool:
    return training_run.is_checkpoint(folder) or training_run.network_of_checkpoint(folder)


@lru_cache(maxsize=8)
def _inspect(folder: Path, trust_code: bool, _settings_at: tuple[tuple[str, int], ...]) -> Folder:
    if training_run.step_of(folder) is not None and not training_run.is_model(folder):
        training_run.find_network(folder)
    if not (_in_training_run(folder) or training_run.is_model(folder)):
        raise UsageError(f"{folder}: no model_index.json and no config.json: not a folder of save_pretrained")
    code = _code(folder, trust_code)
    if (folder / "model_index.json").is_file():
        return _pipeline(folder, code)
    if training_run.is_checkpoint(folder):
        return _checkpoint(folder, *training_run.find_network(folder), trust_code)
    if training_run.network_of_checkpoint(folder):
        return _checkpoint(folder.parent, folder, training_run.describe_network(folder), trust_code)
    heads = _scheduler_file(folder)
    bare = _part("unet", str(read_table(folder / "config.json").get("_class_name")), folder)
    return Folder(folder, {"body": bare}, read_table(heads[0]) if heads else None, code, heads=heads)


def _code(folder: Path, trust_code: bool) -> tuple[Path, ...]:
    """Code that the model brings. Raises UsageError where it is not trusted."""
    code = tuple(sorted(folder.rglob("*.py")))
    if code and not trust_code:
        raise UsageError(
            f"{code[0]}: the model brings code of its own, which is not run unless you trust it: read it, then pass "
            "--trust-code (trust_code = true)"
        )
    return code


def _checkpoint(folder: Path, network: Path, remark: str, trust_code: bool) -> Folder:
    """The model at a training step: what the checkpoint holds, and all else from the pipeline that the folder above
    holds, where there is one."""
    above = folder.parent
    if (above / "model_index.json").is_file():
        base = _pipeline(above, _code(above, trust_code))
        said = f"scheduler and other parts of {above.name}/model_index.json"
    else:
        heads = _scheduler_file(folder / "scheduler")
        said = "its own scheduler" if heads else ""
        base = Folder(folder, {}, read_table(heads[0]) if heads else None, _code(folder, trust_code), heads=heads)
    own = {role: _of_folder(key, folder / key) for key, (role, _) in _ROLES.items() if _is_trained(key, folder / key)}
    parts = base.parts | own | {"body": _of_folder("unet", network)}
    return replace(base, path=folder, parts=parts, remarks=tuple(one for one in (remark, said) if one))


def _is_trained(key: str, folder: Path) -> bool:
    """Tell whether a checkpoint holds a part beside its network."""
    return not key.startswith("tokenizer") and (folder / "config.json").is_file()


def _of_folder(key: str, folder: Path) -> Part:
    """A part by its own config: diffusers says its class, transformers a list of one."""
    config = read_table(folder / "config.json")
    named = config.get("_class_name") or (config.get("architectures") or [None])[0]
    return _part(key, str(named), folder)


def _scheduler_file(folder: Path) -> tuple[Path, ...]:
    file = folder / "scheduler_config.json"
    return (file,) if file.is_file() else ()


def _pipeline(folder: Path, code: tuple[Path, ...]) -> Folder:
    index = read_table(folder / "model_index.json")
    named = {key: value for key, value in index.items() if isinstance(value, list) and not key.startswith("_")}
    named = {key: value for key, value in named.items() if any(value)}
    for key, value in named.items():
        if len(value) != 2 or not all(isinstance(word, str) for word in value):
            raise UsageError(f"{folder / 'model_index.json'}: {key} = {str(value)[:80]}: it should be [library, class]")
    if foreign := _own_code(index, named):
        if not code:
            raise UsageError(
                f"{folder / 'model_index.json'}: {foreign}, which is neither diffusers' nor transformers', and no code "
                "for it lies in the folder"
            )
        return _by_its_code(folder, named, code)
    unknown = sorted(set(named) - {*_ROLES, *_UNUSED})
    if unknown:
        raise UsageError(
            f"{folder / 'model_index.json'}: {unknown[0]!r} = {named[unknown[0]]}: no part that is known here; known "
            f"are {', '.join(_ROLES)}"
        )
    parts = {_ROLES[key][0]: _part(key, str(value[1]), folder / key) for key, value in named.items() if key in _ROLES}
    said = {key: value for key, value in index.items() if not isinstance(value, list) and not key.startswith("_")}
    heads = (folder / "model_index.json", folder / "scheduler" / "scheduler_config.json")
    return Folder(folder, _whole(folder, parts), read_table(heads[1]), code, said, heads)


def _own_code(index: dict[str, Any], named: dict[str, list[Any]]) -> str | None:
    """Name the entry of model_index.json that asks for code other than the libraries'; None where none does."""
    if not isinstance(index.get("_class_name"), str):
        return f"_class_name = {index.get('_class_name')}"
    for key, (library, kind) in named.items():
        if key not in _UNUSED[1:] and library not in ("diffusers", "transformers"):
            return f"{key} = {[library, kind]}"
    return None


def _recognised(file: Path) -> Path:
    """The settings of the pipeline that a file's weights are of by their names, in the hub's cache. Raises
    UsageError."""
    from leakbench.models.pretrained.layouts import single_file, state_dict  # here, for they import torch

    name = single_file.recognise(state_dict.read_state_dict(file, False).tensors) if file.stat().st_size else ""
    if name and (found := single_file.cached_settings(name)):
        return found
    what = f"; its weights have the names of {name}: huggingface-cli download {name}, or say" if name else ", or say"
    raise UsageError(
        f"{file}: a single file of weights without settings: write its config.json beside it{what} "
        "config = a folder or a .json"
    )


def _part(role: str, kind: str, folder: Path, config: dict[str, Any] | None = None) -> Part:
    """A part of a known class; its config is read from its folder unless given. Raises UsageError."""
    known = _ROLES[role][1]
    if kind not in known:
        alike = [name for name in known if name.startswith("UNet") == kind.startswith("UNet")]
        raise UsageError(f"{folder}: {role} of class {kind!r} is not known; known are {', '.join(alike or known)}")
    if config is None:
        config = read_table(folder / "config.json") if kind not in TOKENIZERS else {}
    return Part(kind, folder, config)


def _whole(folder: Path, parts: dict[str, Part]) -> dict[str, Part]:
    if "body" not in parts:
        raise UsageError(f"{folder / 'model_index.json'}: neither a unet nor a transformer: no denoiser")
    return parts


def _by_its_code(folder: Path, named: dict[str, list[Any]], code: tuple[Path, ...]) -> Folder:
    """Parts that the folder's own, trusted code loads."""
    from diffusers import DiffusionPipeline

    own = {"custom_pipeline": str(folder / "pipeline.py")} if (folder / "pipeline.py").is_file() else {}
    try:
        loaded = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True, local_files_only=True, **own)
    except Exception as error:  # of whatever the code does
        raise UsageError(f"{folder}: the model's own code fails: {in_a_line(error)}") from error
    parts = {}
    for key in named:
        thing = getattr(loaded, key, None)
        if key in _ROLES and thing is not None:
            config = dict(getattr(thing, "config", {})) if not key.startswith("tokenizer") else {}
            parts[_ROLES[key][0]] = Part(_kind(key, thing, folder), folder / key, config, thing)
    scheduler = getattr(loaded, "scheduler", None)
    said = None if scheduler is None else dict(scheduler.config) | {"_class_name": type(scheduler).__name__}
    heads = (folder / "model_index.json", *_scheduler_file(folder / "scheduler"))
    return Folder(folder, _whole(folder, parts), said, code, heads=heads)


def _kind(key: str, thing: Any, folder: Path) -> str:
    """The known class that a loaded part is of, or derives from; else its own. Raises UsageError for what can only be
    asked as a known class is."""
    from torch import nn

    role, known = _ROLES[key]
    for base in type(thing).__mro__:
        if base.__name__ in known:
            return base.__name__
    if role == "vae" or (role == "body" and not isinstance(thing, nn.Module)):
        raise UsageError(
            f"{folder}: {key} of class {type(thing).__name__!r} is not known: it should derive from one of "
            f"{', '.join(known)}"
        )
    return type(thing).__name__
