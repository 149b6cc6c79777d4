"""Near-duplicates in a data set: which images are left out, and which ones belong together.

Near is relative to the data's own contrast: within a share of the median distance of random pairs of images (a choice
of ours: 0.15). An absolute radius calls most images of low contrast near-duplicates of each other. Distances are root
mean square pixel differences, pixels in [-1, 1]; the exact search is leakbench.data.close_pairs.
"""

from __future__ import annotations

import hashlib
import io
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from leakbench.data.close_pairs import Descriptions, check_radius, close_pairs, nearest_earlier, pieces
from leakbench.data.dataset import DUPLICATE_SHARE, Dataset
from leakbench.data.duplicates import NearDuplicates
from leakbench.data.image_view import ImagesLike, ImageView
from leakbench.runtime.cache.keys import compute_key
from leakbench.runtime.code_digest import code_digest
from leakbench.runtime.files import write_atomically
from leakbench.runtime.progress import progress

_PAIRS = 4096  # random pairs whose median distance is taken
_BLOCK = 2048  # images that are judged at one time
_ELEMENTS = 2**22  # pixels of pairs that are held at one time


def find_near_duplicates(
    data: Dataset, share: float = DUPLICATE_SHARE, together: np.ndarray | None = None
) -> NearDuplicates:
    """Find the images to leave out: greedily in order (of precedence, then of rows), one within the radius of a kept
    earlier one goes. The radius is `share` of the median distance of random pairs; 0 drops exact copies only.

    together: int64 (N,); of images of one number none is left out for another's sake. None: no images belong together.
    Where the data set has a folder of its own, the answer is cached there, keyed by all that it depends on.
    """
    count = len(data.images)
    order = np.arange(count) if data.precedence is None else np.argsort(data.precedence, kind="stable")
    if data.folder is None:
        with progress(f"looking for near-duplicates among {count:,} images"):
            return _search(data, order, share, together)
    key = compute_key(
        share=share,
        order=hashlib.sha256(order.tobytes()).hexdigest(),
        together=None if together is None else hashlib.sha256(together.tobytes()).hexdigest(),
        code=code_digest(_search),
    )
    path = data.folder / f"near-duplicates-{key}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as held:
            return NearDuplicates(float(held["radius"]), held["keep"], held["resembles"], held["distance"])
    with progress(f"looking for near-duplicates among {count:,} images"):
        found = _search(data, order, share, together)
    _write(path, found)
    return found


def format_near_duplicates(data: Dataset, found: NearDuplicates) -> str:
    """CSV table of the images left out: number, number of the image that each resembles, their distance and the radius.

    A number is the image's `index` where the data set has one, else its row.
    """
    gone = np.flatnonzero(~found.keep)
    numbers = np.arange(len(found.keep)) if data.index is None else data.index
    columns = (numbers[gone].tolist(), numbers[found.resembles[gone]].tolist(), found.distance[gone].tolist())
    rows = [
        f"{image},{other},{distance:.6g},{found.radius:.6g}" for image, other, distance in zip(*columns, strict=True)
    ]
    return "\n".join(["image,resembles,distance,radius", *rows, ""])


def near_duplicates(images: ImagesLike, radius: float) -> Tensor:
    """Mask bool (N,) of `images` (N, ...) to keep: greedily in order, one within `radius` of a kept earlier one goes.

    `radius` is a Euclidean distance between whole images, in their own units; 0 drops exact copies only. Raises
    ValueError when a value is not finite or the radius is negative.
    """
    check_radius(radius)
    return _keep(Descriptions.of(images), radius)


def near_duplicate_groups(images: ImagesLike, radius: float | None = None) -> Tensor:
    """Group numbers (N,) int64 of images (N, C, H, W) in [-1, 1]: one within `radius` (root mean square) of an earlier
    one or of its mirror image joins the nearest one's group. By default the radius is that of a data set of these
    images."""
    scale = prod(images.shape[1:]) ** 0.5
    reach = (duplicate_radius(images) if radius is None else radius) * scale
    base = Descriptions.of(images)
    number, distance = nearest_earlier(base, base, reach)
    other, turned = nearest_earlier(Descriptions.of(images, mirrored=True), base, reach)
    nearer = (turned < distance) | ((turned == distance) & (other < number))
    number, distance = torch.where(nearer, other, number), torch.where(nearer, turned, distance)
    groups = torch.arange(len(images), device=number.device)
    for i in distance.isfinite().nonzero()[:, 0].tolist():  # few, and in order: earlier groups are final
        groups[i] = groups[number[i]]
    return groups


def duplicate_radius(images: ImagesLike, share: float = DUPLICATE_SHARE) -> float:
    """Radius of near-duplicates among images (N, ...): `share` of the median root mean square difference of random
    pairs, of all pairs where there are no more than 4,096. 0 for a single image.

    Six significant digits are kept, so that the radius does not depend on the order of a device's sums.
    """
    one, other = _random_pairs(len(images))
    if not len(one):
        return 0.0
    size = max(1, _ELEMENTS // prod(images.shape[1:]))
    far = np.empty(len(one))  # whole from the start: small tensors kept between large ones keep memory from being freed
    for start in range(0, len(one), size):
        part = slice(start, start + size)
        apart = images[one[part]].double() - images[other[part]].double()
        far[part] = apart.flatten(1).square().mean(dim=1).sqrt().cpu().numpy()
    return float(f"{share * float(np.median(far)):.6g}")


def _random_pairs(count: int) -> tuple[Tensor, Tensor]:
    """Numbers of the images of each pair, drawn by a fixed seed; all pairs where these are few."""
    if count * (count - 1) // 2 <= _PAIRS:
        one, other = np.triu_indices(count, k=1)
    else:
        rng = np.random.default_rng(0xD157)
        one = rng.integers(0, count, _PAIRS)
        other = (one + rng.integers(1, count, _PAIRS)) % count
    return torch.from_numpy(one), torch.from_numpy(other)


def _search(data: Dataset, order: np.ndarray, share: float, together: np.ndarray | None) -> NearDuplicates:
    images = ImageView(data.images)
    scale = prod(images.shape[1:]) ** 0.5
    radius = duplicate_radius(images, share)
    ordered = Descriptions.of(
        images.subset(order), together=None if together is None else torch.from_numpy(together[order])
    )
    keep = _keep(ordered, radius * scale)
    kept, gone = keep.nonzero()[:, 0], (~keep).nonzero()[:, 0]
    number, distance = nearest_earlier(ordered, ordered, radius * scale, gone, kept)
    resembles, far = np.arange(len(order)), np.zeros(len(order))
    lost = order[gone.numpy()]
    resembles[lost], far[lost] = order[number[gone].numpy()], (distance[gone] / scale).numpy()
    stays = np.zeros(len(order), dtype=bool)
    stays[order[kept.numpy()]] = True
    return NearDuplicates(radius, stays, resembles, far)


def _keep(seen: Descriptions, radius: float) -> Tensor:
    """Mask bool (N,) of the images to keep."""
    keep = torch.zeros(len(seen.table), dtype=torch.bool, device=seen.level.device)
    for rows in pieces(torch.arange(len(keep), device=keep.device), _BLOCK):
        fresh = torch.ones_like(rows, dtype=torch.bool)
        for one, _, _ in close_pairs(seen, rows, seen, keep.nonzero()[:, 0], radius):
            fresh[one - rows[0]] = False
        keep[_greedy(seen, rows[fresh], radius)] = True
    return keep


def _greedy(seen: Descriptions, rows: Tensor, radius: float) -> Tensor:
    """Of some rows, in order, those not within the radius of a kept earlier one."""
    dropped: dict[int, list[int]] = {}
    for one, other, _ in close_pairs(seen, rows, seen, rows, radius):
        for i, j in zip(one[one < other].tolist(), other[one < other].tolist(), strict=True):
            dropped.setdefault(i, []).append(j)
    gone: set[int] = set()
    for i in sorted(dropped):
        if i not in gone:
            gone.update(dropped[i])
    return torch.tensor([i for i in rows.tolist() if i not in gone], dtype=torch.int64, device=rows.device)


def _write(path: Path, found: NearDuplicates) -> None:
    file = io.BytesIO()
    np.savez(file, radius=found.radius, keep=found.keep, resembles=found.resembles, distance=found.distance)
    write_atomically(path, file.getvalue())
