"""Images by number: 8 bits at rest, float32 in [-1, 1] where they are asked for.

A data set lies in memory or in a file of a hundred gigabytes; what is computed with is a batch of it. `ImageView` is a
view of some rows of it: to choose rows and to join views copies numbers and no pixels, and `view[index]` makes the
pixels of these images alone.

On CUDA the bytes of the whole data set are put on the device once, where they take no more than a quarter of its free
memory (a choice of ours): no batch then waits for the host. Otherwise a batch comes from pinned memory, and what
`prefetch` was given is fetched by a thread while the device computes (leakbench.data.prefetch). The values are the
same on every device, bit for bit: those of byte / 127.5 - 1 on the CPU, looked up in a table (CUDA multiplies by the
rounded reciprocal instead, which differs in the last bit).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leakbench.data.mapped_pages import PageKeeper
from leakbench.data.prefetch import Prefetcher

_SHARE = 0.25  # of a CUDA device's free memory, that a data set may take
_CPU = torch.device("cpu")


def floats(pixels: Tensor) -> Tensor:
    """uint8 (N, H, W, C) -> float32 (N, C, H, W) in [-1, 1], contiguous, on the same device."""
    planes = pixels.permute(0, 3, 1, 2).contiguous()
    if planes.device.type == "cpu":
        return planes.float().div_(127.5).sub_(1.0)
    return (torch.arange(256).float() / 127.5 - 1.0).to(planes.device)[planes.int()]


class ImageStore:
    """Storage behind views: uint8 (N, H, W, C), an array or anything that is indexed alike; or float32 (N, C, H, W)."""

    def __init__(self, pixels: Any) -> None:
        self.pixels = pixels
        self._resident: dict[torch.device, Tensor | None] = {}
        self._pages = PageKeeper(pixels)

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, ...]:
        """C, H, W."""
        shape = tuple(self.pixels.shape[1:])
        return shape if self.is_float else (shape[2], shape[0], shape[1])

    @property
    def is_float(self) -> bool:
        return isinstance(self.pixels, Tensor) and self.pixels.is_floating_point()

    def resident(self, device: torch.device) -> Tensor | None:
        """All of it on a device, or None where it stays on the host."""
        if device not in self._resident:
            self._resident[device] = self._placed(device)
        return self._resident[device]

    def _placed(self, device: torch.device) -> Tensor | None:
        pixels = self.pixels
        if isinstance(pixels, Tensor) and (device.type != "cuda" or pixels.device.type == "cuda"):
            return pixels.to(device)
        if device.type != "cuda":
            return None
        size = int(np.prod(pixels.shape)) * (4 if self.is_float else 1)
        fits = size <= _SHARE * torch.cuda.mem_get_info(device)[0]
        return torch.as_tensor(pixels[:]).to(device) if fits else None

    def read(self, rows: np.ndarray) -> Tensor:
        """Bytes of these rows (n, H, W, C), on the host; the images themselves where they are kept as numbers."""
        if isinstance(self.pixels, Tensor):
            return self.pixels[torch.from_numpy(rows)]
        found = np.ascontiguousarray(self.pixels[rows])
        self._pages.note(found.nbytes)
        return torch.from_numpy(found)


class _Chain(ImageStore):
    """Images of several stores, one after the other."""

    is_float = True

    def __init__(self, parts: Sequence[ImageView]) -> None:
        self.parts, self._starts = parts, np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """C, H, W."""
        return self.parts[0].shape[1:]

    def resident(self, device: torch.device) -> Tensor | None:
        """None: only its parts can be resident."""
        return None

    def read(self, rows: np.ndarray) -> Tensor:
        """The images of these rows, on the first part's device."""
        images = torch.empty((len(rows), *self.shape), device=self.parts[0].device)
        which = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(which):
            places = np.flatnonzero(which == number)
            found = self.parts[number][rows[places] - self._starts[number]]
            images[torch.from_numpy(places).to(images.device)] = found.to(images.device)
        return images


class ImageView:
    """Images (N, C, H, W) by number: `view[index]` with an integer, a slice, a mask or numbers of any shape.

    Answers are float32 in [-1, 1] on `device`; `view[:]` is all of them. A tensor of the images can be used in its
    place: both have len, shape, [] and to().
    """

    def __init__(self, pixels: Any, rows: np.ndarray | None = None, device: torch.device = _CPU) -> None:
        """`pixels`: uint8 (M, H, W, C), an array, a memory map or anything that is indexed alike; or a tensor float32
        (M, C, H, W). `rows` (N,): which of them, by default all."""
        self._store = pixels if isinstance(pixels, ImageStore) else ImageStore(pixels)
        self._rows = np.arange(len(self._store)) if rows is None else np.asarray(rows, dtype=np.int64)
        self.device = device

    @classmethod
    def concatenate(cls, parts: Sequence[ImagesLike]) -> ImageView:
        """One after the other, on the first one's device; no pixel is read."""
        views = [part if isinstance(part, ImageView) else cls(part, device=part.device) for part in parts]
        first = views[0]
        if all(view._store is first._store for view in views):
            return cls(first._store, np.concatenate([view._rows for view in views]), first.device)
        return cls(_Chain(views), device=first.device)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def parts(self) -> Sequence[ImageView]:
        """The views that were joined, or itself where none were."""
        if isinstance(store := self._store, _Chain) and np.array_equal(self._rows, np.arange(len(store))):
            return [part.to(self.device) for part in store.parts]
        return [self]

    @property
    def identity(self) -> tuple[int, bytes]:
        """Identity of these images: equal for equal rows of one data set, for as long as one of the views lives."""
        return id(self._store), self._rows.tobytes()

    @property
    def shape(self) -> tuple[int, ...]:
        """N, C, H, W."""
        return (len(self), *self._store.shape)

    def __getitem__(self, index: Any) -> Tensor:
        if isinstance(index, int | np.integer):
            return self[torch.tensor([range(len(self))[index]])][0]
        resident = self._store.resident(self.device)
        if resident is not None:
            rows = self._rows_there[_tensor(index, self.device)]
            return _shaped(resident[rows.flatten()], rows.shape, self._store.is_float)
        fetched = self._prefetcher.get(index) if isinstance(index, Tensor) else None
        shape, pixels = self._read(index) if fetched is None else (index.shape, fetched)
        return _shaped(pixels.to(self.device), shape, self._store.is_float)

    def to(self, device: torch.device | str) -> ImageView:
        """The same on another device."""
        return ImageView(self._store, self._rows, torch.device(device))

    def subset(self, keep: Tensor | np.ndarray | slice) -> ImageView:
        """Some of them, by a mask or by numbers; no pixel is read."""
        chosen = keep.cpu().numpy() if isinstance(keep, Tensor) else keep
        return ImageView(self._store, self._rows[chosen], self.device)

    def all(self) -> Tensor:
        """All of them, (N, C, H, W)."""
        return self[:]

    def prefetch(self, indices: Sequence[Tensor]) -> None:
        """Start to fetch the images of these index tensors, which `[]` will be given next in this order, where that
        helps. The tensors have to be kept until then."""
        if self.device.type == "cuda" and self._store.resident(self.device) is None:
            self._prefetcher.schedule(indices)

    def _read(self, index: Any) -> tuple[torch.Size, Tensor]:
        """The shape of an index, and the bytes of its images on the host, one after the other."""
        rows = self._rows[index.cpu().numpy() if isinstance(index, Tensor) else index]
        return torch.Size(rows.shape), self._store.read(rows.reshape(-1))

    @cached_property
    def _prefetcher(self) -> Prefetcher:
        return Prefetcher(lambda index: self._store.read(self._rows[index.numpy().reshape(-1)]), self.device)

    @cached_property
    def _rows_there(self) -> Tensor:
        return torch.from_numpy(self._rows).to(self.device)


def _flat(images: Tensor) -> Tensor:
    return images.flatten(1)


class FeatureRows:
    """A row of numbers for each image, by `make` (n, C, H, W) -> (n, D): a table (N, D) of which only the rows that are
    asked for exist. `table[index]` takes a slice or numbers of any shape."""

    def __init__(self, images: ImagesLike, make: Callable[[Tensor], Tensor] = _flat) -> None:
        self._images, self._make = images, make
        width = make(images[:1]).shape[1]
        self.shape, self.device = torch.Size((len(images), width)), images.device

    def __len__(self) -> int:
        return self.shape[0]

    def transformed(self, transform: Callable[[Tensor], Tensor]) -> FeatureRows:
        """The rows of transformed images: `transform` is a function of images (n, C, H, W) to images."""
        return FeatureRows(self._images, lambda images: self._make(transform(images)))

    def __getitem__(self, index: Any) -> Tensor:
        if not isinstance(index, Tensor) or index.dim() < 2:
            return self._make(self._images[index])
        return self._make(self._images[index.flatten()]).unflatten(0, index.shape)


ImagesLike = ImageView | Tensor  # what answers to len, shape, device, to() and []


def _tensor(index: Any, device: torch.device) -> Any:
    if isinstance(index, slice):
        return index
    return torch.as_tensor(index).to(device)


def _shaped(pixels: Tensor, shape: torch.Size, is_float: bool) -> Tensor:
    images = pixels if is_float else floats(pixels)
    return images if len(shape) == 1 else images.unflatten(0, shape)
