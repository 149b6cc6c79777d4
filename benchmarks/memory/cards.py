"""Memory that an audit of a given model takes: on paper for models that people have, and for real for tiny ones.

    python benchmarks/memory/cards.py

writes the tables of docs/models.md anew (docs between the markers below; four minutes of processor time).

On paper: the networks are built by their settings on torch's meta device, without numbers, and called as their family
calls them; every tensor that lives is counted, as long as it lives. Attention is counted as a kernel that holds no
matrix of scores, which torch has for float32 on CUDA. For real: the same count beside what torch's profiler says was
allocated on the CPU, and processor seconds; of one call, and of whole attacks.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- cards, written by benchmarks/memory/cards.py -->", "<!-- end of cards -->"
CARDS = (8, 24, 80)
GB = 1e9
TINY = ("SDXL", "SD3", "FLUX.1-dev", "Sana")  # pipelines of the tests
ATTACKS = ("loss", "secmi", "pfami", "clid", "timestep_ensemble", "likelihood")
EACH = 20  # members, nonmembers, and calibration images of either side
FULL, HALF = 0.7, 0.9  # of free memory, as leakbench.models.pretrained.kept_precision chooses


class Counter(TorchDispatchMode):
    """Bytes of tensors that are alive, and the most that ever were, without those that there were before."""

    def __init__(self) -> None:
        super().__init__()
        self.alive, self.peak, self.seen = 0, 0, {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {id(one.untyped_storage()) for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)}
        answer = function(*args, **(kwargs or {}))
        for one in tree_leaves(answer):
            if isinstance(one, torch.Tensor):
                storage = one.untyped_storage()
                if id(storage) not in given and id(storage) not in self.seen:
                    self._add(storage)
        return answer

    def _add(self, storage: Any) -> None:
        key, size = id(storage), storage.nbytes()
        self.alive += size
        self.peak = max(self.peak, self.alive)

        def gone(_: Any) -> None:
            del self.seen[key]
            self.alive -= size

        self.seen[key] = weakref.ref(storage, gone)


class _Attention(torch.autograd.Function):
    """Attention that keeps what an efficient kernel keeps: queries, keys, values and its answer."""

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any) -> Any:
        answer = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, answer)
        return answer

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return tuple(torch.empty_like(one) for one in ctx.saved_tensors[:3])


class NoScores(TorchFunctionMode):
    """Attention on the meta device without its matrix of scores."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.nn.functional.scaled_dot_product_attention:
            said = kwargs or {}
            given = [*args[:3], *(said[name] for name in ("query", "key", "value")[len(args) :])]
            return _Attention.apply(*given)
        return function(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Model:
    """A network by its class and settings, the latents that it denoises, and what it is told of one caption. coder:
    settings of its AutoencoderKL that are not Stable Diffusion's."""

    name: str
    kind: str
    settings: dict[str, Any]
    shape: tuple[int, int, int]
    told: dict[str, tuple[int, ...]]
    pixels: int = 1024
    coder: dict[str, Any] | None = None


CODER = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
MODELS = [Model(**one) for one in json.loads(Path(__file__).with_name("networks.json").read_text())]


def count_parameters(module: torch.nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


def build(model: Model) -> torch.nn.Module:
    import diffusers

    with torch.device("meta"):
        found: torch.nn.Module = getattr(diffusers, model.kind)(**model.settings).eval().requires_grad_(False)
    return found


def ask(model: Model, body: Any, x: torch.Tensor) -> torch.Tensor:
    from leakbench.models.pretrained.families.registry import family_of

    told: dict[str, torch.Tensor] = {}
    for name, shape in model.told.items():
        kind = {"label": torch.int64, "mask": torch.bool}.get(name, torch.float32)
        told[name] = torch.ones((len(x), *shape), dtype=kind, device=x.device)
    time = torch.full((len(x),), 500.0, device=x.device)
    found = family_of(model.kind, dict(body.config)).ask(body, x, time, told)
    answer: torch.Tensor = found if isinstance(found, torch.Tensor) else found[0]
    return answer


def peak(work: Callable[[], Any]) -> int:
    """Most bytes that lived inside."""
    with Counter() as counter:
        kept = work()
    del kept
    return counter.peak


def activations(model: Model, body: Any, with_gradient: bool, device: str = "meta", rows: int = 1) -> int:
    """Bytes beside the weights of one call for so many images, and of the gradient to them."""
    x = torch.zeros((rows, *model.shape), device=device, requires_grad=with_gradient)

    def work() -> Any:
        answer = ask(model, body, x)
        return torch.autograd.grad(answer.sum(), x) if with_gradient else answer

    with NoScores() if device == "meta" else _nothing(), torch.set_grad_enabled(with_gradient):
        return peak(work)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def coding(model: Model, encode: bool) -> tuple[int, int]:
    """Bytes of an AutoencoderKL's weights, and beside them of one image's encoding or decoding."""
    import diffusers

    assert model.coder is not None
    with torch.device("meta"):
        coder = diffusers.AutoencoderKL(**CODER, **model.coder).eval().requires_grad_(False)
    image = torch.zeros(1, 3, model.pixels, model.pixels, device="meta")
    latents = torch.zeros(1, *model.shape, device="meta")
    with torch.no_grad(), NoScores():
        work = (lambda: coder.encode(image)) if encode else (lambda: coder.decode(latents))
        return 4 * count_parameters(coder), peak(work)


def on_card(weights: int, layer: int, more: float, card: float) -> str:
    """Tell how an audit keeps weights on a card of so many GB, and "no" where that and `more` bytes do not fit. layer:
    the most weights of a layer, which is widened where they are kept as halves."""
    free = card * GB
    kept, beside = ("float32", 4 * weights) if 4 * weights <= FULL * free else ("half", 2 * weights + 4 * layer)
    return kept if beside + more <= free and (kept == "float32" or 2 * weights <= HALF * free) else "no"


def on_paper() -> Iterator[str]:
    columns = ["model", "parameters (10^9)", "weights, float32 / half", "one call", "with gradient", "encode / decode"]
    yield f"| {' | '.join([*columns, *(f'{card} GB' for card in CARDS)])} |"
    yield "|" + "---|" * (6 + len(CARDS))
    for model in MODELS:
        body = build(model)
        count, layer = count_parameters(body), max(one.numel() for one in body.parameters())
        call, gradient = (activations(model, body, one) for one in (False, True))
        coder, (encode, decode) = 0, (0, 0)
        if model.coder:
            (coder, encode), (_, decode) = coding(model, True), coding(model, False)
        cells = []
        for card in CARDS:
            asked, differentiated = (on_card(count, layer, one + coder, card) for one in (call, gradient))
            cells.append(asked if asked == differentiated else f"{asked}; gradients: {differentiated}")
        images = f"{encode / GB:.1f} / {decode / GB:.1f}" if model.coder else "-"
        sizes = f"{4 * count / GB:.1f} / {2 * count / GB:.1f}"
        yield (
            f"| {model.name} | {count / 1e9:.2f} | {sizes} | {call / GB:.2f} | {gradient / GB:.2f} | {images} | "
            f"{' | '.join(cells)} |"
        )


def allocated(work: Callable[[], Any]) -> int:
    """Most bytes that torch's CPU allocator had given out inside, by its profiler."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        kept = work()
    del kept
    now = most = 0
    for event in found.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def compare(model: Model, body: Any, with_gradient: bool, rows: int = 64) -> str:
    """Megabytes counted, and allocated, of one call for so many images."""
    counted = activations(model, body, with_gradient, "cpu", rows)
    x = torch.zeros((rows, *model.shape), requires_grad=with_gradient)

    def work() -> Any:
        with torch.set_grad_enabled(with_gradient):
            answer = ask(model, body, x)
            return torch.autograd.grad(answer.sum(), x) if with_gradient else answer

    return f"{counted / 1e6:.1f} / {allocated(work) / 1e6:.1f}"


def for_real(make: Any) -> Iterator[str]:
    """Tiny pipelines of the tests: the count on paper, what was allocated, and seconds of one call."""
    from leakbench.models.pretrained.families.registry import family_of
    from leakbench.models.pretrained.text_conditioning import tell_captions
    from leakbench.models.pretrained.vae import vae_codec

    cpu = torch.device("cpu")
    columns = ["tiny pipeline", "one call of 64 images, counted / allocated (MB)", "with gradient (MB)"]
    yield f"| {' | '.join([*columns, '1,000 captions (s)', 'encode 64 images (s)', 'one call (s)'])} |"
    yield "|" + "---|" * 6
    for name in TINY:
        pipeline = make.whole.make(name, make.words)
        body = (pipeline.unet if name == "SDXL" else pipeline.transformer).float()
        family = family_of(type(body).__name__, dict(body.config))
        began = time.process_time()
        told = tell_captions(family, pipeline, tuple("a cat" + " dog" * (at % 3) for at in range(1000)), cpu)
        captions = time.process_time() - began
        side = 16 if name == "Sana" else 8
        shape = (body.config.in_channels // (4 if "FLUX" in name else 1), side, side)
        model = Model(name, type(body).__name__, {}, shape, {key: tuple(rows.shape[1:]) for key, rows in told.items()})
        cells = [compare(model, body, with_gradient) for with_gradient in (False, True)]
        codec, factor = vae_codec(pipeline.vae, cpu), pipeline.vae_scale_factor
        began = time.process_time()
        codec.encode(torch.zeros(64, 3, factor * side, factor * side))
        encoded = time.process_time() - began
        began = time.process_time()
        with torch.no_grad():
            ask(model, body, torch.zeros(64, *shape))
        yield (
            f"| {name} | {cells[0]} | {cells[1]} | {captions:.1f} | {encoded:.2f} | {time.process_time() - began:.3f} |"
        )


def whole_attacks(kinds: Any, make: Any) -> Iterator[str]:
    """Processor seconds and megabytes of attacks on tiny pipelines, with all that they fit, on EACH images a part."""
    from leakbench.defenses.pipeline import Pipeline

    pictures = kinds.attacking.Pictures(make.home)
    columns = [f"{name} (s; MB)" for name in ATTACKS]
    yield f"| tiny pipeline | {' | '.join(columns)} |"
    yield "|" + "---|" * (1 + len(ATTACKS))
    for name in TINY:
        tried = make.family(name)
        spec = Pipeline(path=str(tried.path), **tried.given).spec()
        options = pictures.options(tried.path, tried.given, spec)
        prepared, context = kinds.attacking.prepare(options, make.home / f"run-{name}", EACH, EACH)
        attacks = prepared.run.plan.inputs.suite.attacks
        kinds.attacking.scores(context, attacks[ATTACKS[0]])  # what is read and encoded once is
        cells = []
        for attack in ATTACKS:
            work = partial(kinds.attacking.scores, context, attacks[attack])
            began = time.process_time()
            work()
            seconds = time.process_time() - began
            cells.append(f"{seconds:.2f}; {allocated(work) / 1e6:.1f}")
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    spec = importlib.util.spec_from_file_location("kinds", PAGE.parents[1] / "tests" / "model_kinds.py")
    assert spec is not None and spec.loader is not None
    kinds = sys.modules["kinds"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kinds)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        kinds.logging_off()
        make = kinds.Maker(Path(temporary))
        tables = [*on_paper(), "", *for_real(make), "", *whole_attacks(kinds, make)]
    made = "\n".join([BEGIN, *tables, END])
    page = PAGE.read_text()
    PAGE.write_text(page[: page.index(BEGIN)] + made + page[page.index(END) + len(END) :])


if __name__ == "__main__":
    sys.exit(main())
