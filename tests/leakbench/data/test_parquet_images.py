"""Columns of images in .parquet files, written by pyarrow; needs pyarrow."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from leakbench.data.caption_labels import collect_sidecars
from leakbench.data.headers import peek
from leakbench.data.image_files import ImageFiles
from leakbench.runtime.errors import UsageError
from leakbench.suite.audit_request.request import name_dataset

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 9, 6, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def files(png):
    """The pixels as PNG files."""
    return [png(pixels) for pixels in PIXELS]


def write(path, columns, rows=3, **how):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path, row_group_size=rows, **how)
    return path


def hub_rows(files, rows):
    """What `datasets` writes of images."""
    return {
        "embedding": [b"no image"] * len(rows),
        "picture": [{"bytes": files[row], "path": f"/etc/{row}.png"} for row in rows],
        "text": [f"number {row}" for row in rows],
        "label": [row % 3 for row in rows],
    }


def test_images_labels_and_captions_of_several_files(tmp_path, files, load):
    write(tmp_path / "mine" / "a.parquet", hub_rows(files, range(4)))
    write(tmp_path / "mine" / "b.parquet", hub_rows(files, range(4, 7)))
    place = tmp_path / "mine"
    data = load(f"folder:{place}")
    np.testing.assert_array_equal(data.images, PIXELS)
    np.testing.assert_array_equal(data.labels, np.arange(7) % 3)
    assert peek(f"folder:{place}").shape == (3, 9, 6)
    names = ImageFiles(place).names
    assert names[3:5] == ["a.parquet/000000003", "b.parquet/000000000"]
    table = collect_sidecars([(place, names)]).read_text().splitlines()
    assert table[-1] == "mine/b.parquet/000000002,number 6"
    with pytest.raises(UsageError, match="several shards, which are no classes"):
        load(f"folder:{place},labels=folder")


def test_a_plain_column_of_bytes_in_one_file(tmp_path, files, load):
    path = write(tmp_path / "one.parquet", {"code": [b"x"] * 7, "image": files, "label": [-1] * 7})
    data = load(name_dataset("--members", str(path)))
    np.testing.assert_array_equal(data.images, PIXELS)
    assert data.labels is None


def test_no_more_row_groups_are_kept_than_there_is_room_for(tmp_path, monkeypatch, files):
    found = ImageFiles(write(tmp_path / "one.parquet", {"image": files}, rows=1))
    monkeypatch.setattr("leakbench.data.parquet_images._KEPT", 0)
    assert [found.read(name) for name in found.names] == files
    source = found._source
    assert len(source._groups) == 2 and source._held == sum(column.nbytes for column in source._groups.values())


def test_a_path_in_a_column_is_not_followed(tmp_path, files, refusal):
    Image.fromarray(PIXELS[0]).save(tmp_path / "there.png")
    rows = [{"bytes": files[0], "path": "a"}, {"bytes": None, "path": str(tmp_path / "there.png")}]
    path = write(tmp_path / "a.parquet", {"image": rows})
    assert "1 of 2 image files cannot be decoded (000000001)" in refusal(f"folder:{path}")


def test_what_is_no_file_of_images_is_refused_in_one_line(tmp_path, refusal):
    path = write(tmp_path / "a.parquet", {"label": [1, 2]})
    assert "has no column of images (columns: label)" in refusal(f"folder:{path}")
    addresses = write(tmp_path / "b.parquet", {"image": [{"path": "a.png", "url": "b"}]})
    assert "has no column of images (columns: image)" in refusal(f"folder:{addresses}")
    many = write(tmp_path / "c.parquet", {"image": [None] * 10**5 + [b""]}, rows=10**6)
    assert "rows, more than its bytes" in refusal(f"folder:{many}")


def test_a_column_that_its_footer_states_otherwise_than_its_pages_is_one_line(tmp_path, files, refusal):
    path = write(tmp_path / "a.parquet", {"image": files, "label": range(7)})
    optional, required = b"\x25\x02\x18\x05label", b"\x25\x00\x18\x05label"  # repetition type, then the name
    data = path.read_bytes()
    assert optional in data
    path.write_bytes(data.replace(optional, required))  # its histograms of levels are for an optional one
    assert "cannot be read as a .parquet file" in refusal(f"folder:{path}")


def test_a_bomb_is_refused_by_the_sizes_that_it_states(tmp_path, monkeypatch, refusal):
    path = write(tmp_path / "a.parquet", {"image": [b"\0" * 2**22]}, compression="zstd", use_dictionary=False)
    monkeypatch.setattr("leakbench.data.parquet_images._LARGE", 2**20)
    assert "as in a bomb" in refusal(f"folder:{path}")
    monkeypatch.setattr("leakbench.data.parquet_images._GROUP_BYTES", 2**20)
    assert "a row group unpacks to 4 MiB, more than 1: write it in smaller row groups" in refusal(f"folder:{path}")


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch, refusal):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "needs pyarrow: pip install 'leakbench[parquet]'" in refusal(f"folder:{tmp_path / 'a.parquet'}")
