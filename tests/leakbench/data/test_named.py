"""Data sets by name, from archives that the tests make in the publishers' formats and serve on this machine."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
import threading
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets as theirs
from torchvision.transforms import functional

from leakbench.data import cifar, fashion_mnist, medmnist
from leakbench.runtime.errors import UsageError

RANDOM = np.random.default_rng(0)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words):
        self.server.asked.append(self.path)


@pytest.fixture
def publisher(tmp_path):
    """publisher(resource): the same resource, at an address on this machine, with the hash of the file that the test
    put into publisher.folder; publisher.asked: what was downloaded."""
    folder = tmp_path / "publisher"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def moved(resource):
        md5 = hashlib.md5((folder / resource.file).read_bytes()).hexdigest()
        return replace(resource, urls=(f"http://127.0.0.1:{server.server_port}/{resource.file}",), md5=md5)

    moved.folder, moved.asked = folder, server.asked
    yield moved
    server.shutdown()
    server.server_close()


def tar_gz(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))


@pytest.mark.parametrize(("name", "constant", "leading"), [("cifar10", "CIFAR10", 0), ("cifar100", "CIFAR100", 1)])
def test_cifar_is_read_from_its_binary_archive_in_official_order(publisher, monkeypatch, name, constant, leading, load):
    archive = getattr(cifar, constant)
    images = RANDOM.integers(0, 256, (4 * len(archive.files), 32, 32, 3), dtype=np.uint8)
    labels = RANDOM.integers(0, 10, len(images))
    records = [
        bytes([99] * leading + [y]) + x.transpose(2, 0, 1).tobytes() for x, y in zip(images, labels, strict=True)
    ]
    parts = {file: b"".join(records[4 * i : 4 * i + 4]) for i, file in enumerate(archive.files)}
    tar_gz(
        publisher.folder / archive.resource.file, dict(reversed(parts.items()))
    )  # archives have an order of their own
    monkeypatch.setattr(cifar, constant, replace(archive, resource=publisher(archive.resource)))
    data = load(name)
    np.testing.assert_array_equal(data.images, images)
    np.testing.assert_array_equal(data.labels, labels)
    assert data.labels.dtype == np.int64
    assert isinstance(data.images, np.memmap)
    again = load(name)
    assert again.digest == data.digest
    assert len(publisher.asked) == 1


def test_the_md5_sums_of_fashion_mnist_are_torchvisions():
    resources = {resource.file: resource.md5 for resource in fashion_mnist.RESOURCES}
    assert resources == dict(theirs.FashionMNIST.resources)


def test_a_damaged_cifar_file_is_named(publisher, monkeypatch, load):
    tar_gz(publisher.folder / cifar.CIFAR10.resource.file, {file: b"x" * 3074 for file in cifar.CIFAR10.files})
    monkeypatch.setattr(cifar, "CIFAR10", replace(cifar.CIFAR10, resource=publisher(cifar.CIFAR10.resource)))
    with pytest.raises(UsageError, match=r"data_batch_1\.bin: 3074 bytes are no whole number of images"):
        load("cifar10")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion-mnist", "medmnist:pneumoniamnist"])
def test_without_a_network_it_is_said_which_file_goes_where(monkeypatch, cache, name, load):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError) as caught:
        load(name)
    message = str(caught.value)
    assert "\n" not in message
    assert "https://" in message or "http://" in message
    assert str(cache / "downloads" / name.partition(":")[0]) in message


def test_a_file_put_there_by_hand_must_be_the_publishers(monkeypatch, cache, load):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    place = cache / "downloads" / "cifar10"
    place.mkdir(parents=True)
    (place / "cifar-10-binary.tar.gz").write_bytes(b"something else")
    with pytest.raises(UsageError, match="md5"):
        load("cifar10")


def idx(array):
    return gzip.compress(struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes())


def fashion(publisher, monkeypatch, images, labels, split):
    files = (images[:split], images[split:], labels[:split], labels[split:])
    for resource, content in zip(fashion_mnist.RESOURCES, files, strict=True):
        (publisher.folder / resource.file).write_bytes(idx(content))
    monkeypatch.setattr(fashion_mnist, "RESOURCES", tuple(publisher(r) for r in fashion_mnist.RESOURCES))


def test_fashion_mnist_is_training_then_test_images(publisher, monkeypatch, load):
    images = RANDOM.integers(0, 256, (2500, 28, 28), dtype=np.uint8)
    labels = RANDOM.integers(0, 10, 2500).astype(np.uint8)
    fashion(publisher, monkeypatch, images, labels, 2100)
    data = load("fashion-mnist")
    np.testing.assert_array_equal(data.images[..., 0], images)
    np.testing.assert_array_equal(data.labels, labels)


def test_labels_that_do_not_match_the_images_are_refused(publisher, monkeypatch, load):
    images = np.zeros((30, 28, 28), np.uint8)
    fashion(publisher, monkeypatch, images, np.zeros(25, np.uint8), 20)
    with pytest.raises(UsageError, match=r"t10k-images.*holds 10 images, and t10k-labels.* 5 of 5 labels"):
        load("fashion-mnist")


def med(publisher, monkeypatch, name, labels, shape=(28, 28)):
    arrays, sizes = {}, {"train": 40, "val": 10, "test": 20}
    images = RANDOM.integers(0, 256, (70, *shape), dtype=np.uint8)
    start = 0
    for part, count in sizes.items():
        arrays |= {f"{part}_images": images[start : start + count], f"{part}_labels": labels[start : start + count]}
        start += count
    np.savez_compressed(publisher.folder / f"{name}.npz", **arrays)
    monkeypatch.setitem(medmnist.RESOURCES, name, publisher(medmnist.RESOURCES[name]))
    return images


def test_a_binary_medmnist_label_is_the_attribute_and_its_parts_are_pooled(publisher, monkeypatch, load):
    labels = RANDOM.integers(0, 2, (70, 1)).astype(np.uint8)
    images = med(publisher, monkeypatch, "pneumoniamnist", labels)
    data = load("medmnist:pneumoniamnist")
    np.testing.assert_array_equal(data.images[..., 0], images)
    np.testing.assert_array_equal(data.labels, labels[:, 0])
    np.testing.assert_array_equal(data.attribute, labels[:, 0])
    assert data.split is None


def test_medmnist_in_colour_with_more_classes_or_labels(publisher, monkeypatch, load):
    labels = np.arange(70)[:, None] % 9
    images = med(publisher, monkeypatch, "pathmnist", labels, (28, 28, 3))
    data = load("medmnist:pathmnist")
    np.testing.assert_array_equal(data.images, images)
    np.testing.assert_array_equal(data.labels, labels[:, 0])
    assert data.attribute is None
    med(publisher, monkeypatch, "chestmnist", RANDOM.integers(0, 2, (70, 14)))
    assert load("medmnist:chestmnist").labels is None


def test_an_unknown_medmnist_name_gives_the_nearest(load):
    with pytest.raises(UsageError, match=r"medmnist:pneumonia'.*did you mean 'pneumoniamnist'\?"):
        load("medmnist:pneumonia")


def jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture
def faces(cache):
    """The publisher's two files with 30 pictures, put where they belong; their bytes by name."""
    place = cache / "downloads" / "celeba"
    place.mkdir(parents=True)
    pictures = {f"{i:06}.jpg": jpeg(RANDOM.integers(0, 256, (218, 178, 3), dtype=np.uint8)) for i in range(1, 31)}
    with zipfile.ZipFile(place / "img_align_celeba.zip", "w") as archive:
        for name, content in pictures.items():
            archive.writestr(f"img_align_celeba/{name}", content)
    values = [f"{name} {1 if i % 3 else -1} {-1 if i % 2 else 1}" for i, name in enumerate(pictures)]
    (place / "list_attr_celeba.txt").write_text("\n".join(["30", "Male Smiling", *values]) + "\n")
    return pictures


def test_celeba_is_cropped_and_scaled_as_by_torchvision_in_the_ddim_code(faces, load):
    data = load("celeba")
    assert data.images.shape == (30, 64, 64, 3)
    for ours, content in zip(data.images, faces.values(), strict=True):
        image = Image.open(io.BytesIO(content))
        expected = functional.resize(functional.crop(image, 121 - 64, 89 - 64, 128, 128), 64)
        np.testing.assert_array_equal(ours, np.asarray(expected))


def test_celebas_attribute_is_the_named_one(faces, load):
    np.testing.assert_array_equal(load("celeba").attribute, [int(i % 3 > 0) for i in range(30)])
    np.testing.assert_array_equal(load("celeba:Smiling").attribute, [int(i % 2 == 0) for i in range(30)])
    with pytest.raises(UsageError, match=r"celeba:Smile'.*did you mean 'Smiling'\?"):
        load("celeba:Smile")


def test_people_of_celeba_are_groups_where_their_table_is_there(faces, cache, load):
    without, table = load("celeba"), cache / "downloads" / "celeba" / "identity_CelebA.txt"
    assert without.group is None
    table.write_text("".join(f"{name} {2880 + i // 4}\n" for i, name in reversed(list(enumerate(faces)))))
    np.testing.assert_array_equal(load("celeba").group, 2880 + np.arange(30) // 4)
    table.write_text("000001.jpg 2880\n")
    with pytest.raises(UsageError, match=r"identity_CelebA\.txt: 29 of 30 images have no row, such as '.*000002\.jpg'"):
        load("celeba")
    table.write_text("000001.jpg somebody\n")
    with pytest.raises(UsageError, match=r"identity_CelebA\.txt: '000001\.jpg somebody': should be a file name and"):
        load("celeba")


def test_files_without_an_address_are_asked_for_by_name_and_place(cache, load):
    for name, file in {"celeba": "img_align_celeba.zip", "lsun-church": "church_outdoor_train.zip"}.items():
        with pytest.raises(UsageError) as caught:
            load(name)
        assert file in str(caught.value)
        assert str(cache / "downloads" / name) in str(caught.value)


@pytest.mark.parametrize(("name", "size"), [("lsun-church", 256), ("lsun-church:64", 64)])
def test_churches_are_scaled_and_cropped_as_by_torchvision(cache, name, size, load):
    place = cache / "downloads" / "lsun-church" / "church_outdoor_train" / "a"
    place.mkdir(parents=True)
    shapes = [(300, 260), (256, 401), (257, 256)]
    for i, shape in enumerate(shapes):
        Image.fromarray(RANDOM.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(place / f"{i}.webp", lossless=True)
    for ours, i in zip(load(name).images, range(3), strict=True):
        image = functional.center_crop(functional.resize(Image.open(place / f"{i}.webp").convert("RGB"), size), size)
        np.testing.assert_array_equal(ours, np.asarray(image))
    assert torch.equal(load(name).tensors(np.arange(2)), load(name).tensors(np.arange(3))[:2])


@pytest.mark.parametrize("name", ["cifar10:x", "cifar100:x", "fashion-mnist:x", "lsun-church:x", "lsun-church:1"])
def test_arguments_that_mean_nothing_are_refused(name, load):
    with pytest.raises(UsageError, match=name):
        load(name)
