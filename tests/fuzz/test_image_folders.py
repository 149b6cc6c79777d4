"""Folders and .zips of images, whatever their files hold and whatever they are called."""

from __future__ import annotations

import io
import shutil
import tarfile
import warnings

import numpy as np
import pytest
from hypothesis import strategies as st

from leakbench.data.folder import folder
from leakbench.data.folder_headers import read_folder_headers
from leakbench.runtime.errors import UsageError

KINDS = ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"]
NAMES = [
    "b.png",
    "\x1b[31m.png",
    "a\nb.png",
    "\u202egnp.png",
    "é.png",
    "ⅷ.png",
    "<b>.png",
    ".png",
    "a,convert.png",
    "c.txt",
    "c",
]


@pytest.fixture(scope="module")
def files():
    """An image as a file of each kind, and some that are refused or converted."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    made = {}
    for mode in ("RGB", "L", "P", "RGBA", "LA", "1", "I;16", "CMYK", "F", "I"):
        image = (
            Image.fromarray(pixels).convert("L").convert(mode)
            if mode in ("I;16", "F", "I")
            else Image.fromarray(pixels).convert(mode)
        )
        for kind in KINDS:
            file = io.BytesIO()
            try:
                image.save(file, kind)
            except (OSError, ValueError):
                continue
            made[kind, mode] = file.getvalue()
    return made


def _cases(mutations, files):
    any_file = st.sampled_from(sorted(files)).map(files.get)
    damaged = st.sampled_from(sorted(files)).flatmap(lambda key: mutations.damaged(files[key]))
    pngs = sorted(key for key in files if key[0] == "PNG")
    content = st.one_of(damaged, st.sampled_from(pngs).flatmap(lambda key: mutations.damaged_png(files[key])), any_file)
    table = mutations.damaged_text("file,label,attribute,group,split\na.png,0,1,0,member\nb.png,1,0,1,nonmember\n")
    return st.fixed_dictionaries(
        {
            "content": content,
            "name": st.sampled_from(NAMES),
            "table": st.none() | st.none() | table,
            "options": st.sampled_from(
                [
                    "",
                    "@8",
                    "@3",
                    "@4096",
                    ",convert",
                    "@5,convert,upright",
                    ",levels=0:255",
                    ",channels=3",
                    ",labels=folder",
                    ",group-by=folder",
                    ",group-by=([a-z]+",
                    ",convert,group-by=[ab]|(c)",
                    "@" + "9" * 5000,
                ]
            ),
            "skip": st.booleans(),
            "zip": st.booleans(),
        }
    )


def test_any_folder_of_images_is_a_data_set_or_refused(fuzzed, mutations, files, tmp_path, monkeypatch):
    place = tmp_path / "images"

    def load(case):
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        members = {"a.png": files["PNG", "RGB"], case["name"]: case["content"]}
        if case["table"] is not None:
            members["labels.csv"] = case["table"]
        where = place
        if case["zip"]:
            where = place / "images.zip"
            where.write_bytes(mutations.zipped(members.items()))
        else:
            for name, data in members.items():
                (place / name).write_bytes(data)
        refusals = []
        for read in (read_folder_headers, lambda name: folder(name, case["skip"])):
            try:
                read(f"{where}{case['options']}")
            except UsageError as refusal:
                refusals.append(refusal)
        if refusals:
            raise refusals[-1]

    fuzzed(_cases(mutations, files), load, names=[str(place)])


def loader(path):
    """Reads content as the file at a path: its headers, then its images."""

    def load(data):
        path.write_bytes(data)
        try:
            read_folder_headers(str(path))
        finally:
            folder(str(path), skip_broken=True)

    return load


def test_any_tar_of_images_is_a_data_set_or_refused(fuzzed, mutations, files, tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("a.png", "é" * 99 + ".png", "c.cls"):
            info, content = tarfile.TarInfo(name), b"1" if name == "c.cls" else files["PNG", "RGB"]
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    whole = packed.getvalue().rstrip(b"\0") + b"\0" * 1024  # so that damage meets what is read
    path = tmp_path / "images.tar"

    fuzzed(mutations.damaged(whole), loader(path), names=[str(path)], share=2)


def test_any_zip_of_images_is_a_data_set_or_refused(fuzzed, mutations, files, tmp_path):
    path = tmp_path / "images.zip"
    whole = mutations.zipped(
        [("a.png", files["PNG", "RGB"]), ("b/c.png", files["PNG", "RGB"]), ("d.jpg", files["JPEG", "RGB"])]
    )

    fuzzed(mutations.damaged(whole), loader(path), names=[str(path)], share=2)


def test_any_parquet_file_of_images_is_a_data_set_or_refused(fuzzed, mutations, files, tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "images.parquet"
    images = [{"bytes": files["PNG", "RGB"], "path": None}] * 3
    rows = pa.table({"image": images, "text": ["a", "b", "c"], "label": [0, 1, 0]})
    parquet.write_table(rows, path, row_group_size=2)

    fuzzed(mutations.damaged(path.read_bytes()), loader(path), names=[str(path)])


def test_any_dicom_file_is_an_image_or_refused_and_says_nothing_else(fuzzed, mutations, tmp_path, capsys):
    pydicom = pytest.importorskip("pydicom")
    pixels = np.random.default_rng(0).integers(0, 3000, (6, 8)).astype(np.int16)
    whole = pydicom.Dataset()
    whole.SOPClassUID, whole.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    whole.PhotometricInterpretation, whole.SamplesPerPixel, whole.RescaleSlope = "MONOCHROME2", 1, 2
    whole.Rows, whole.Columns = pixels.shape
    whole.BitsAllocated, whole.BitsStored, whole.HighBit, whole.PixelRepresentation = 16, 16, 15, 1
    whole.PixelData = pixels.tobytes()
    whole.file_meta = pydicom.dataset.FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    path = tmp_path / "images" / "a.dcm"
    path.parent.mkdir()
    whole.save_as(path, enforce_file_format=True)

    def load(data):
        path.write_bytes(data)
        try:
            with warnings.catch_warnings(action="error"):  # pydicom has many words for such files
                folder(f"{path.parent},levels=0:9999", skip_broken=False)
        finally:
            assert not any(capsys.readouterr())

    fuzzed(mutations.damaged(path.read_bytes()), load, names=[str(path.parent)])
