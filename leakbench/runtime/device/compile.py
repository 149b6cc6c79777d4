"""torch.compile with graph capture, where a short trial says that it pays.

Compiling takes up to minutes and then spares the launch of every kernel, so it pays for long work alone.
`maybe_compile` times one step of the work as it is and, where the steps that are to come would take long, the same step
with the module's forward compiled ("reduce-overhead": CUDA graphs); it keeps the faster one, and the plain one where
the two disagree. Choices of ours:

- No trial below five minutes of work (200 steps at the least, so that the four plain ones of a trial are 2 % of it):
  what a trial can cost, a compilation, stays a fraction of what it can save. It is in the seconds of the work. Shapes
  do not change within the work (fixed compute batches).
- Close is a relative difference (of norms, over all of a step's tensors) of at most 2 %: bf16 alone makes 0.4 % at each
  rounding, and compiled kernels round less often.
- At least 5 % faster: less is within the noise of a trial.
- The answer is kept in the cache folder and asked for there first, for work of this kind and this length: a clock may
  answer otherwise tomorrow, and equal runs on one machine have to give equal bits. The length is that of the whole
  work, however many devices share it. Of workers that try at the same time the first one's answer counts.
- No answer where the trial runs out of memory, or compiled work would have to halve its batches for it: the work goes
  on as it was, and the next run tries again.
- What ran compiled is on record (`compilations`): another machine, or an emptied cache, may choose otherwise.
- Never on the CPU. Where compiling fails, or the answers differ, the work goes on as it was, and one line says so.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import torch
from torch import Tensor, nn

from leakbench.runtime import distributed
from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.device.batching import unchanged

Step = Callable[[], Sequence[Tensor]]
Forward = Callable[..., Any]

_LONG = 300.0  # seconds of work
_MANY = 200  # steps
_ROUNDS = 3  # timed, after one that is not
_CLOSE = 0.02
_GAIN = 1.05
_LISTS: list[list[str]] = []


@contextmanager
def maybe_compile(module: nn.Module, step: Step, calls: int, device: torch.device, work: str) -> Iterator[None]:
    """Inside, the module's forward is compiled where that makes `step` faster, of which about `calls` are to come, in
    all processes together.

    `step()` does one step of the work, called `work`, as often as it is asked, and answers what came out of it. The
    name says all that a step's time depends on beside the module: batch and shape.
    """
    if device.type != "cuda" or calls < _MANY:
        yield
        return
    plain, file = module.forward, _file(module, f"{calls} steps of {work}", device)
    # One process of a group decides for all: the others' answers must have the same bits.
    if not distributed.broadcast(lambda: cached_decision(file, lambda: compile_pays_off(module, step, calls, device))):
        yield
        return
    if _LISTS and work not in _LISTS[-1]:
        _LISTS[-1].append(work)
    module.forward = _or(captured(plain), plain)
    try:
        yield
    finally:
        module.forward = plain


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Inside, and not in another one further in, the works that run compiled are listed, each once."""
    works: list[str] = []
    _LISTS.append(works)
    try:
        yield works
    finally:
        _LISTS[:] = [other for other in _LISTS if other is not works]


def captured(forward: Forward) -> Forward:
    """The forward compiled, for one shape. Its answers are copied: the graph's next call overwrites them."""
    compiled = torch.compile(forward, mode="reduce-overhead", dynamic=False)
    return lambda *inputs, **named: compiled(*inputs, **named).clone()


def _or(compiled: Forward, plain: Forward) -> Forward:
    """The compiled forward until it fails, then the plain one: in the process of a trial it has not, but elsewhere."""
    chosen = [compiled]

    def forward(*inputs: Any, **named: Any) -> Any:
        try:
            return chosen[0](*inputs, **named)
        except torch.cuda.OutOfMemoryError:  # a smaller batch helps
            raise
        except Exception as error:
            if chosen[0] is plain:
                raise
            _say(f"torch.compile failed ({type(error).__name__}); running without it")
            chosen[0] = plain
            return plain(*inputs, **named)

    return forward


def compile_pays_off(
    module: nn.Module,
    step: Step,
    calls: int,
    device: torch.device,
    compiler: Callable[[Forward], Forward] = captured,
    clock: Callable[[], float] = time.perf_counter,
) -> bool | None:
    """Whether compiling the module's forward makes `calls` steps faster; None where memory ran out in the trial."""
    try:
        return _trial(module, step, calls, device, compiler, clock)
    except torch.cuda.OutOfMemoryError:
        pass  # and out of the `except`, whose traceback keeps alive all that the trial had allocated
    torch.cuda.empty_cache()
    return None


def _trial(
    module: nn.Module,
    step: Step,
    calls: int,
    device: torch.device,
    compiler: Callable[[Forward], Forward],
    clock: Callable[[], float],
) -> bool:
    """Whether it pays. Raises torch.cuda.OutOfMemoryError."""
    seconds, wanted = _timed(step, device, clock)
    if seconds * calls < _LONG:
        return False
    plain = module.forward
    try:
        module.forward = compiler(plain)
        with unchanged():
            compiled, found = _timed(step, device, clock)
    except Exception as error:  # a compiler has many ways to fail, and none of them is the work's
        if _of_memory(error):
            raise torch.cuda.OutOfMemoryError("in the trial of torch.compile") from None
        _say(f"torch.compile failed ({type(error).__name__}); running without it")
        return False
    finally:
        module.forward = plain
    if (apart := difference(wanted, found)) > _CLOSE:
        _say(f"compiled answers differ by {apart:.1%}; running without torch.compile")
        return False
    return compiled * _GAIN < seconds


def _of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, under whichever name the compiler raises that."""
    while error is not None and not isinstance(error, torch.cuda.OutOfMemoryError):
        error = error.__cause__ or error.__context__
    return error is not None


def difference(wanted: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """The norm of the difference of two lists of tensors, over that of the first; infinite where one is not finite."""
    squares = sum(float((a.double() - b.double()).square().sum()) for a, b in zip(wanted, found, strict=True))
    whole = sum(float(a.double().square().sum()) for a in wanted)
    return (squares / whole) ** 0.5 if 0 < whole < float("inf") and squares < float("inf") else float("inf")


def cached_decision(path: Path, ask: Callable[[], bool | None]) -> bool:
    """The answer in a file, or else the answer to `ask`, which the file then holds unless it is None, or unless another
    process has answered in the meantime: then that one's."""
    if (known := _read(path)) is not None:
        return known
    if (answer := ask()) is None:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(json.dumps({"compiled": answer}))
    try:
        os.link(file.name, path)  # whole, and only where there is none
    except OSError:
        if (theirs := _read(path)) is None:  # a damaged one, or a disk without links
            os.replace(file.name, path)
            return answer
        answer = theirs
    os.unlink(file.name)
    return answer


def _read(path: Path) -> bool | None:
    try:
        return bool(json.loads(path.read_text())["compiled"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _timed(step: Step, device: torch.device, clock: Callable[[], float]) -> tuple[float, list[Tensor]]:
    """Seconds of a step, the fewest of some, and copies of what came out."""
    found = [tensor.detach().clone() for tensor in step()]
    seconds = []
    for _ in range(_ROUNDS):
        _settle(device)
        began = clock()
        step()
        _settle(device)
        seconds.append(clock() - began)
    return min(seconds), found


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _file(module: nn.Module, work: str, device: torch.device) -> Path:
    """Where the answer is kept: by machine, versions, network (its spec, where it has one) and work."""
    weights, spec = [tuple(p.shape) for p in module.parameters()], getattr(module, "spec", None)
    kind = torch.cuda.get_device_name(device)
    text = repr((kind, torch.__version__, type(module).__qualname__, spec, weights, work))
    return cache_root() / "trials" / f"{sha256(text.encode()).hexdigest()[:40]}.json"


def _say(line: str) -> None:
    print(f"leakbench: {line}", file=sys.stderr)
