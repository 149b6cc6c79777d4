"""Answers of a release about one batch of attacked images, remembered for all attacks.

An answer is remembered by (x, t, label), where x is the very tensor that was asked about. `noised(t, draw)` hands out
one tensor for each (image, t, draw), and what follows from an answer (a DDIM step, say) is remembered as well: two
attacks that walk the same path walk on the same tensors. Memory is bounded: beyond `limit` bytes the answers that were
not asked for the longest are forgotten, and made again if they are asked for once more.

Writing to a shared tensor is seen by its version counter. Tensors of torch.inference_mode have none, and autograd
refuses them: what is shared is made outside of that mode, and a question about an inference tensor is asked anew.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from leakbench.api import Release
from leakbench.models import diffusion
from leakbench.runtime.device import Rng

LIMIT = 2**30  # bytes of a batch's answers; what they were asked about may take as much again


@dataclass
class QueriedRelease:
    """A release as attacks meet it. `draw()` gives its samples, drawn when they are first asked for."""

    release: Release
    draw: Callable[[], Tensor]
    samples_read: bool = False  # set by views: whether an attack has read samples since it was last set to False
    _kept: dict[tuple[Any, ...], Tensor] = field(default_factory=dict)

    @cached_property
    def samples(self) -> Tensor:
        """The samples (M, C, H, W), on the release's device."""
        return self.draw().to(self.release.device)

    def cached_samples(self, key: tuple[Any, ...], make: Callable[[], Tensor]) -> Tensor:
        """Further samples, made once for all batches."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


@dataclass
class AnswerCache:
    """Answers about one compute batch. `ids` (N,): the images' numbers in the data set. `noises`: another release's
    cache of the same batch, which makes the noise for both."""

    source: QueriedRelease
    streams: Rng
    images: Tensor
    ids: Tensor
    labels: Tensor | None
    limit: int = LIMIT
    noises: AnswerCache | None = None
    seconds: float = 0.0  # that the release took for its answers
    _counted: set[tuple[Any, ...]] = field(default_factory=set)
    _counted_before: int = 0  # of what is forgotten
    _held: OrderedDict[tuple[Any, ...], tuple[Tensor, ...]] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _handed_out: list[tuple[Tensor, int]] = field(default_factory=list)  # with the version that each had

    def __post_init__(self) -> None:
        self._watch(self.images)

    @property
    def release(self) -> Release:
        """The release that is asked."""
        return self.source.release

    @cached_property
    def x0(self) -> Tensor:
        """x0 of the images, which the network denoises: encoded once for all attacks; the images without a codec."""
        with _shareable():
            x0 = self.release.encode(self.images)
        return x0 if x0 is self.images else self._watch(_versioned(x0))

    @property
    def untouched(self) -> bool:
        """Tell whether nobody has written to a tensor that others see as well."""
        return all(tensor._version == version for tensor, version in self._handed_out)

    def settled(self) -> None:
        """Stop watching what was handed out so far: nobody holds it any longer but this memory."""
        kept = [self.images, *([self.x0] if "x0" in vars(self) else [])]  # not encoded if nobody asked
        self._handed_out = [(tensor, tensor._version) for tensor in kept]
        self._handed_out += [(held[0], held[0]._version) for held in self._held.values()]

    def noise(self, purpose: str, draw: int) -> Tensor:
        """Standard normal (N, C, H, W): the same for every attack, defense and access level."""
        if self.noises is not None:
            return self.noises.noise(purpose, draw)
        shape = tuple(self.x0.shape[1:])
        return self._recalled(
            ("noise", purpose, draw), (), lambda: self.streams.of("attacking", purpose).normal(self.ids, shape, draw)
        )

    def noised(self, t: int, draw: int) -> Tensor:
        """x_t of the batch."""
        if self.noises is not None and self.noises.release.schedule == self.release.schedule:
            return self.noises.noised(t, draw)
        noise = self.noise("forward", draw)
        at = diffusion.full_timesteps(t, self.x0)
        return self._recalled(
            ("noised", t, draw), (), lambda: diffusion.add_noise(self.release.schedule, self.x0, at, noise)
        )

    def cached(self, key: tuple[Any, ...], x: Tensor, make: Callable[[], Tensor]) -> Tensor:
        """Tensor that follows from x in the way that the key names."""
        if x.is_inference():
            return _make(make)
        return self._recalled((*key, id(x), x._version), (x,), make)

    def eps(self, raw: bool, x: Tensor, t: int, label: Tensor | None, repeat: int = 0, counted: bool = True) -> Tensor:
        """The release's answer, remembered. Where it answers with the raw network, both kinds are one."""
        raw = raw or self.release.eps_is_raw

        def ask() -> Tensor:
            release = Release.with_repeat(self.release, repeat) if repeat else self.release
            asked = release.raw_eps if raw else release.eps
            began = time.perf_counter()
            answer = asked(x, diffusion.full_timesteps(t, x), label)
            self.seconds += time.perf_counter() - began
            return answer

        if x.is_inference() or (label is not None and label.is_inference()):
            self._counted_before += counted
            return _make(ask)
        labelled = None if label is None else (id(label), label._version)
        key = ("eps", raw, id(x), x._version, t, labelled, repeat)
        if counted:
            self._counted.add(key)  # also where another asked before, whose calls do not count
        return self._recalled(key, (x,) if label is None else (x, label), ask)

    @property
    def calls(self) -> int:
        """Count the distinct questions an image of attacks whose calls count as shared."""
        return self._counted_before + len(self._counted)

    def _recalled(self, key: tuple[Any, ...], keep: tuple[Tensor, ...], make: Callable[[], Tensor]) -> Tensor:
        """A tensor by its key, made if it is not there. `keep` stays alive with it, so that no id() is used twice."""
        if key not in self._held:
            made = self._watch(_make(make))
            self._held[key] = (made, *keep)
            self._bytes += made.numel() * made.element_size()
            while self._bytes > self.limit and len(self._held) > 1:
                old, (forgotten, *_) = self._held.popitem(last=False)
                self._handed_out = [pair for pair in self._handed_out if pair[0] is not forgotten]
                self._bytes -= forgotten.numel() * forgotten.element_size()
                if old in self._counted:  # its tensor's id() may now be another's
                    self._counted.remove(old)
                    self._counted_before += 1
        self._held.move_to_end(key)
        return self._held[key][0]

    def _watch(self, tensor: Tensor) -> Tensor:
        self._handed_out.append((tensor, tensor._version))
        return tensor


def _make(make: Callable[[], Tensor]) -> Tensor:
    """A new tensor with a version counter, whatever mode the attack or the network is in."""
    with _shareable():
        return _versioned(make())


def _versioned(tensor: Tensor) -> Tensor:
    """The tensor, or a copy of one that a network made in inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor


@contextmanager
def _shareable() -> Iterator[None]:
    """Leave inference mode, which an attack may be in; gradients stay on or off as they are."""
    gradients = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(gradients):
        yield
