"""The search over transforms beside loops over every pair, box and mirror image; what is found of planted copies."""

from math import sqrt

import numpy as np
import pytest
import torch
from PIL import Image

from leakbench.data.aligned_search import (
    KINDS,
    alignments,
    drawn_alike,
    kinds,
    nearest_aligned,
    neighbours_as_aligned,
)
from leakbench.data.image_view import ImageView


def images(seed, count, side=12, channels=2):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8


def correlation_distance(a, b):
    return sqrt(max(0.0, 2 - 2 * np.corrcoef(a.ravel(), b.ravel())[0, 1]))


def test_shifts_and_mirrors_are_those_of_a_loop():
    """By numpy's correlation coefficient of what overlaps."""
    queries, base = images(0, 6, side=7).double().numpy(), images(1, 9, side=7).double().numpy()
    found = nearest_aligned(torch.from_numpy(queries), torch.from_numpy(base))
    near = neighbours_as_aligned(torch.from_numpy(queries), torch.from_numpy(base), found, 4)
    for i, query in enumerate(queries):
        least = np.full(9, np.inf)
        for down in range(-2, 3):
            for across in range(-2, 3):
                rows = slice(max(down, 0), 7 + min(down, 0)), slice(max(-down, 0), 7 + min(-down, 0))
                columns = slice(max(across, 0), 7 + min(across, 0)), slice(max(-across, 0), 7 + min(-across, 0))
                for turned in (query, query[..., ::-1]):
                    ours = turned[:, rows[0], columns[0]]
                    far = [correlation_distance(ours, x[:, rows[1], columns[1]]) for x in base]
                    least = np.minimum(least, far)
        one = found.group[found.alignment[i]]
        if one.kind != "scale":
            assert found.distance[i].item() == pytest.approx(least.min(), abs=1e-6)
            assert found.index[i] == least.argmin()
        else:
            assert found.distance[i] < least.min()
        ours = query[..., ::-1] if found.mirrored[i] else query
        far = [
            correlation_distance(
                one.ours.of(torch.from_numpy(ours.copy())).numpy(),
                one.ours.resized(one.theirs.of(torch.from_numpy(x[None]))).numpy(),
            )
            for x in base
        ]
        np.testing.assert_array_equal(near.index[i], np.argsort(far)[:4])
        np.testing.assert_allclose(near.distance[i], np.sort(far)[:4], atol=1e-6)


def zoomed(image, height, width):
    """By Pillow's bicubic filter, which is not the search's."""
    planes = [Image.fromarray(plane.numpy()).resize((width, height), Image.Resampling.BICUBIC) for plane in image]
    return torch.from_numpy(np.stack(planes))


PLANTED = {
    "none": (lambda x: x, ()),
    "mirror": (lambda x: x.flip(-1), ("mirror",)),
    "rolled": (lambda x: x.roll((2, -1), (-2, -1)), ("shift",)),
    "filled": (lambda x: torch.cat([x[:, :1], x[:, :1], x[:, :-2]], dim=1), ("shift",)),
    "dark": (lambda x: 0.6 * (x + 1) - 1, ("light",)),
    "bright": (lambda x: 0.7 * x + 0.3, ("light",)),
    "crop": (lambda x: zoomed(x[:, 3:24, 0:21], 24, 24), ("scale",)),
    "shrunk": (lambda x: torch.nn.functional.pad(zoomed(x, 21, 21), (1, 2, 1, 2), mode="replicate"), ("scale",)),
    "all": (lambda x: 0.6 * (x.flip(-1).roll((1, 2), (-2, -1)) + 1) - 1, ("mirror", "shift", "light")),
}


def test_planted_copies_are_found_and_their_transforms_are_named():
    smooth = torch.nn.functional.interpolate(images(2, 30, side=6), size=(24, 24), mode="bicubic")
    strange = images(3, 1, side=24)
    queries = torch.cat([strange, *(change(smooth[17])[None] for change, _ in PLANTED.values())])
    found, base = nearest_aligned(queries, smooth), ImageView(smooth)
    again = nearest_aligned(ImageView(queries), base)
    assert torch.equal(again.index, found.index) and torch.equal(again.distance, found.distance)
    bits, drawn = kinds(queries, base, found), drawn_alike(queries, base, found, torch.arange(len(queries)))
    off = (drawn - queries).flatten(1).square().mean(dim=1).sqrt()
    for number, (name, (_, told)) in enumerate(PLANTED.items(), start=1):
        assert found.index[number] == 17 and found.distance[number] < 0.15, name
        assert [kind for bit, kind in enumerate(KINDS) if bits[number] >> bit & 1] == [*told], name
        assert off[number] < 0.12, name  # the original, made to look like its copy
    assert found.distance[0] > 0.5 and off[0] > 0.4


def test_a_copy_is_at_zero_and_a_flat_image_is_like_flat_images_only():
    base = torch.cat([images(4, 5), torch.full((1, 2, 12, 12), 0.3)])
    flat = torch.full((1, 2, 12, 12), -0.5)
    faint = flat + 1e-4 * images(5, 1)
    found = nearest_aligned(torch.cat([base, flat, faint]), base)
    assert found.index.tolist() == [0, 1, 2, 3, 4, 5, 5, 5]
    assert bool((found.distance[:7] < 1e-6).all()) and found.distance[7] < 0.02
    assert found.alignment[:6].tolist() == [0] * 6 and not found.mirrored[:6].any()
    textured = nearest_aligned(flat, base[:5])
    assert textured.distance.item() == pytest.approx(sqrt(2), abs=0.05)


def test_larger_images_are_compared_at_sixteen_pixels_and_moved_in_steps_of_their_side():
    group = alignments(64, 96)
    assert {(abs(one.ours.top - one.theirs.top), abs(one.ours.left - one.theirs.left)) for one in group[:25]} == {
        (down, across) for down in (0, 2, 4) for across in (0, 3, 6)
    }
    assert group[0].base(images(6, 2, side=64)).shape == (2, 2 * 11 * 16 + 1)
    assert len(alignments(1, 1)) == 1 and len(alignments(8, 8)) == 35


def test_sizes_that_differ_are_named():
    with pytest.raises(ValueError, match=r"one size expected, not \(2, 12, 12\) and \(2, 8, 8\)"):
        nearest_aligned(images(0, 2), images(0, 2, side=8))
