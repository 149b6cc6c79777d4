"""torch.compile for the networks of a suite that asks for it by `compile = true`.

Compiling takes up to minutes and then spares the launch of every kernel (on CUDA by graphs, mode "reduce-overhead").
Compiled kernels round otherwise, so answers differ in their last bits: the option is part of cache keys, and what ran
compiled is on record. The clock decides nothing. Choices of ours:

- Work of fewer than 200 steps runs as it is: no compilation is paid back. The steps are those of all ranks together, so
  the choice does not depend on the world size.
- Shapes are compiled one by one (`dynamic=False`): compute batches have a fixed size.
- Where compiling fails, the work goes on without it, and one line says so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

Forward = Callable[..., Any]

_MIN_STEPS = 200
_BACKEND = "inductor"  # tests of the wiring take one that needs no compiler
_requested = False
_records: list[list[str]] = []


@contextmanager
def request_compile(requested: bool) -> Iterator[None]:
    """Let `maybe_compile` compile inside, if the suite requested it."""
    global _requested
    before, _requested = _requested, requested
    try:
        yield
    finally:
        _requested = before


@contextmanager
def maybe_compile(module: nn.Module, steps: int, device: torch.device, work: str) -> Iterator[None]:
    """Compile the module's forward for the work inside, if that was requested and the work is long enough.

    `steps` is the number of calls that are to come, on all ranks together; `work` names the work for the record.
    """
    if not _requested or steps < _MIN_STEPS:
        yield
        return
    plain = module.forward
    module.forward = _with_fallback(compile_forward(plain, device), plain, work)
    try:
        yield
    finally:
        module.forward = plain


@contextmanager
def record_compiled() -> Iterator[list[str]]:
    """List the work that runs compiled inside, but not inside a nested `record_compiled`; each name once."""
    names: list[str] = []
    _records.append(names)
    try:
        yield names
    finally:
        _records[:] = [other for other in _records if other is not names]


def compile_forward(forward: Forward, device: torch.device) -> Forward:
    """A compiled forward. On CUDA its answers are copied, as the graph's next call overwrites them."""
    if device.type != "cuda":
        compiled: Forward = torch.compile(forward, dynamic=False, backend=_BACKEND)
        return compiled
    graph = torch.compile(forward, mode="reduce-overhead", dynamic=False)
    return lambda *inputs, **named: graph(*inputs, **named).clone()


def _with_fallback(compiled: Forward, plain: Forward, work: str) -> Forward:
    """The compiled forward until it fails, then the plain one. Running out of memory is raised instead."""
    chosen = [compiled]

    def forward(*inputs: Any, **named: Any) -> Any:
        try:
            answer = chosen[0](*inputs, **named)
        except Exception as error:  # compilers have many ways to fail, and none of them is the work's
            if _is_out_of_memory(error):  # a smaller batch helps
                raise torch.cuda.OutOfMemoryError(str(error)) from None
            if chosen[0] is plain:
                raise
            print(f"leakbench: torch.compile failed ({type(error).__name__}); running without it", file=sys.stderr)
            chosen[0] = plain
            return plain(*inputs, **named)
        if chosen[0] is compiled and _records and work not in _records[-1]:
            _records[-1].append(work)
        return answer

    return forward


def _is_out_of_memory(error: BaseException | None) -> bool:
    """True if memory ran out, under whatever name the compiler raises that."""
    while error is not None and not isinstance(error, torch.cuda.OutOfMemoryError):
        error = error.__cause__ or error.__context__
    return error is not None
