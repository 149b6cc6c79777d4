"""Shards of WebDataset against the folder that they were packed from; hostile tar files in one line each."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from leakbench.data.caption_labels import collect_sidecars
from leakbench.data.headers import peek
from leakbench.data.image_files import ImageFiles
from leakbench.runtime.errors import UsageError
from leakbench.suite.audit_request.request import name_dataset

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 7, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def pack(png):
    """pack(path, members): a tar file of (name, content), or of TarInfo as they are; pixels as PNG."""

    def make(path, members, form=tarfile.PAX_FORMAT):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w", format=form) as archive:
            for member in members:
                if isinstance(member, tarfile.TarInfo):
                    archive.addfile(member)
                else:
                    name, content = member
                    content = png(content) if isinstance(content, np.ndarray) else content
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        return path

    return make


def samples(numbers, labelled=True):
    for number in numbers:
        yield f"./{number:04}.png", PIXELS[number]
        yield f"./{number:04}.txt", f"a picture of {number}".encode()
        yield f"./{number:04}.json", b"{}"
        if labelled:
            yield f"./{number:04}.cls", str(number % 3).encode()


@pytest.fixture
def shards(tmp_path, pack):
    pack(tmp_path / "mine" / "s-000.tar", samples(range(4)))
    pack(tmp_path / "mine" / "s-001.tar", samples(range(4, 6)))
    return tmp_path / "mine"


def test_shards_hold_images_labels_and_captions(shards, load):
    data = load(f"folder:{shards}")
    np.testing.assert_array_equal(data.images, PIXELS)
    np.testing.assert_array_equal(data.labels, np.arange(6) % 3)
    np.testing.assert_array_equal(peek(f"folder:{shards}").labels, data.labels)
    files = ImageFiles(shards)
    assert files.names[3:5] == ["s-000.tar/0003.png", "s-001.tar/0004.png"]
    table = collect_sidecars([(shards, files.names)]).read_text().splitlines()
    assert table[1:3] == ["mine/s-000.tar/0000.png,a picture of 0", "mine/s-000.tar/0001.png,a picture of 1"]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_one_shard_is_a_data_set_in_every_format_of_tar(tmp_path, form, load, pack):
    long = f"{'a' * 90}/{'b' * 90}"  # names that need a header of their own, but for ustar's
    path = pack(tmp_path / "one.tar", [(f"{long}{n}.png", PIXELS[n]) for n in range(3)], form)
    data = load(name_dataset("--members", str(path)))
    np.testing.assert_array_equal(data.images, PIXELS[:3])
    assert data.labels is None and data.name == "folder:one.tar"


def test_images_beside_shards_are_taken_alone_as_before(shards, load):
    Image.fromarray(PIXELS[0]).save(shards / "a.png")
    assert len(load(f"folder:{shards}").images) == 1


def test_a_table_goes_before_the_labels_in_shards(shards, load):
    names = ImageFiles(shards).names
    (shards / "labels.csv").write_text("\n".join(["file,label", *(f"{name},{7}" for name in names)]))
    assert set(load(f"folder:{shards}").labels) == {7}
    (shards / "labels.csv").unlink()
    with pytest.raises(UsageError, match="several shards, which are no classes"):
        load(f"folder:{shards},labels=folder")


def link(name, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


GOOD = ("0.png", PIXELS[0])
HOSTILE = {
    "above": ([("../0.png", GOOD[1])], "bad name, '../0.png'"),
    "absolute": ([("/etc/0.png", GOOD[1])], "bad name, '/etc/0.png'"),
    "unprintable": ([("\x1b[31m.png", GOOD[1])], "bad name"),
    "twice": ([GOOD, GOOD], "holds '0.png' twice"),
    "symbolic link": ([GOOD, link("1.png")], "'1.png' is a link"),
    "hard link": ([GOOD, link("1.png", tarfile.LNKTYPE)], "'1.png' is a link"),
    "device": ([GOOD, link("1.png", tarfile.CHRTYPE)], "'1.png' is a link, a device"),
    "a word as label": ([GOOD, ("0.cls", b"cat")], "0.cls: 'cat': it should be a whole number"),
    "labels of some": ([GOOD, ("0.cls", b"1"), ("1.png", PIXELS[1])], "1.cls is missing"),
    "labels of others": ([GOOD, ("1.cls", b"1"), ("1.png", PIXELS[1])], "1.cls: the images before it have none"),
    "two images a sample": ([GOOD, ("0.mask.png", PIXELS[1])], "0.mask.png and 0.png are images of one sample"),
    "no image": ([("0.txt", b"words")], "holds no image files"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_a_shard_should_not_hold_is_refused_in_one_line(tmp_path, case, pack, refusal):
    members, words = HOSTILE[case]
    assert words in refusal(f"folder:{pack(tmp_path / 'a.tar', members)}")


def test_what_is_damaged_cut_off_or_compressed_is_refused_in_one_line(tmp_path, pack, refusal):
    path = pack(tmp_path / "a.tar", samples(range(3)))
    whole = path.read_bytes()
    path.write_bytes(whole[:512] + whole[512:1500])
    assert "cut" in refusal(f"folder:{path}") or "cannot be read" in refusal(f"folder:{path}")
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        second = archive.getmembers()[2].offset
    path.write_bytes(whole[:second] + b"?" * 512 + whole[second + 512 :])
    assert f"damaged at byte {second}" in refusal(f"folder:{path}")  # tarfile alone ends there without a word
    path.write_bytes(b"no tar file")
    assert "cannot be read as an uncompressed .tar file" in refusal(f"folder:{path}")
    packed = tmp_path / "a.tar.gz"
    packed.write_bytes(b"")
    assert "make it a plain .tar" in refusal(f"folder:{packed}")


def test_a_header_that_claims_gigabytes_or_leads_back_is_refused(tmp_path, refusal):
    path = tmp_path / "a.tar"
    for size in (2**40, -512):
        info = tarfile.TarInfo("0.png")
        info.size = abs(size)
        block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
        if size < 0:  # as a number of base 256, which no honest tar file writes
            block[124:136] = b"\xff" + (256**11 + size).to_bytes(11, "big")
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        path.write_bytes(bytes(block) + b"\0" * 4096)
        refusal(f"folder:{path}")
