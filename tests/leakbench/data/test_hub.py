"""hf:ID, with a small stand-in for the datasets library, and with the library itself where it is installed."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from leakbench.runtime.errors import UsageError

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (9, 12, 10, 3), dtype=np.uint8)


class Column:
    """A feature of images, undecoded or not."""

    def __init__(self, decode=True):
        self.decode = decode


class Part:
    """What leakbench asks of a datasets.Dataset."""

    def __init__(self, rows, decode=True):
        self.rows, self.decode = rows, decode
        self.features = {key: Column() if key == "picture" else "int64" for key in rows[0]}
        self._fingerprint = str(len(rows))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        assert not self.decode, "images are to be decoded by us, one at a time"
        return self.rows[key] if isinstance(key, int) else [row[key] for row in self.rows]

    def cast_column(self, name, feature):
        assert name == "picture"
        return Part(self.rows, feature.decode)


@pytest.fixture
def library(monkeypatch, tmp_path, png):
    """The stand-in with one data set: five rows in `train`, four in `test`, one image as a file."""
    content = [{"bytes": png(pixels), "path": None} for pixels in PIXELS]
    (tmp_path / "3.png").write_bytes(content[3]["bytes"])
    content[3] = {"bytes": None, "path": str(tmp_path / "3.png")}
    rows = [{"label": i, "picture": image, "attribute": i % 2} for i, image in enumerate(content)]
    parts = {"train": Part(rows[:5]), "test": Part(rows[5:])}
    module = ModuleType("datasets")

    def load_dataset(name):
        if name != "someone/pictures":
            raise FileNotFoundError(f"Couldn't find {name}\nand more lines")
        return parts

    module.Image, module.load_dataset, module.__version__ = Column, load_dataset, "4.0.0"
    monkeypatch.setitem(sys.modules, "datasets", module)
    return rows


def test_all_splits_are_pooled_with_labels_and_attribute(library, load):
    data = load("hf:someone/pictures")
    np.testing.assert_array_equal(data.images, PIXELS)
    np.testing.assert_array_equal(data.labels, np.arange(9))
    np.testing.assert_array_equal(data.attribute, np.arange(9) % 2)
    assert load("hf:someone/pictures@8").shape == (3, 8, 8)


def test_images_that_do_not_decode_are_named_and_left_out_only_when_asked_to(library, load):
    library[6]["picture"] = {"bytes": b"no image", "path": None}
    with pytest.raises(UsageError, match=r"1 of 9 image files cannot be decoded \(test/1\).*--skip-broken"):
        load("hf:someone/pictures")
    data = load("hf:someone/pictures", skip_broken=True)
    np.testing.assert_array_equal(data.labels, [0, 1, 2, 3, 4, 5, 7, 8])


def test_what_cannot_be_loaded_is_one_line(library, monkeypatch, load):
    with pytest.raises(UsageError, match=r"hf:none': cannot be loaded \(Couldn't find none\)$"):
        load("hf:none")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match=r"load it once where there is a network, and copy"):
        load("hf:none")


def test_a_data_set_without_images_is_named(library, monkeypatch, load):
    part = Part([{"text": "a"}])
    monkeypatch.setattr(sys.modules["datasets"], "load_dataset", lambda name: {"train": part})
    with pytest.raises(UsageError, match=r"has no column of images \(columns: text\)"):
        load("hf:someone/texts")


@pytest.mark.parametrize("version", ["2.19.0", "3.6.0"])
def test_a_library_that_could_run_code_is_asked_for_nothing(library, monkeypatch, version, load):
    """Up to version 3 it knows data sets by script."""
    asked = []
    monkeypatch.setattr(sys.modules["datasets"], "load_dataset", asked.append)
    monkeypatch.setattr(sys.modules["datasets"], "__version__", version)
    with pytest.raises(UsageError, match=rf"datasets {version} can run code.*pip install 'leakbench\[hf\]'$"):
        load("hf:someone/pictures")
    assert not asked


def test_without_the_library_it_is_said_how_to_install_it(monkeypatch, load):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"needs the datasets library: pip install 'leakbench\[hf\]'$"):
        load("hf:cifar10")


def test_the_library_itself_reads_a_folder_the_same(tmp_path, monkeypatch, load):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))  # read when it is imported
    pytest.importorskip("datasets")
    for i, pixels in enumerate(PIXELS):
        (tmp_path / "data" / "train" / f"kind{i % 3}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "data" / "train" / f"kind{i % 3}" / f"{i}.png")
    data = load(f"hf:{tmp_path / 'data'}")
    order = np.argsort(np.arange(9) % 3, kind="stable")
    np.testing.assert_array_equal(data.images, PIXELS[order])
    np.testing.assert_array_equal(data.labels, order % 3)
