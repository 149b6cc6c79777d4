"""DICOM files written by pydicom, against arithmetic by hand; needs pydicom."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest

from leakbench.data.headers import peek

RANDOM = np.random.default_rng(0)
DEFLATED = "1.2.840.10008.1.2.1.99"


def write(path, pixels, kind="MONOCHROME2", syntax="1.2.840.10008.1.2.1", **elements):
    """A file of uint8 or int16 pixels, (H, W), (H, W, 3) or, with NumberOfFrames, (N, H, W)."""
    pydicom = pytest.importorskip("pydicom")
    found = pydicom.Dataset()
    found.PatientName = "Doe^Jane"
    found.PhotometricInterpretation = kind
    found.SamplesPerPixel = 3 if pixels.shape[-1] == 3 else 1
    found.Rows, found.Columns = pixels.shape[1:3] if "NumberOfFrames" in elements else pixels.shape[:2]
    found.BitsAllocated = found.BitsStored = 8 * pixels.dtype.itemsize
    found.HighBit = found.BitsStored - 1
    found.PixelRepresentation = int(pixels.dtype.kind == "i")
    found.PlanarConfiguration = 0
    found.SOPClassUID, found.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    found.PixelData = pixels.tobytes()
    for key, value in elements.items():
        setattr(found, key, value)
    found.file_meta = pydicom.dataset.FileMetaDataset()
    found.file_meta.TransferSyntaxUID = syntax
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save_as(path, enforce_file_format=True)
    return path


def test_values_are_in_their_own_units_and_need_a_range(tmp_path, load, refusal):
    stored = RANDOM.integers(0, 3000, (6, 8)).astype(np.int16)
    slopes = {"a": (1, -1024), "b": (2, -1024)}
    for name, (slope, intercept) in slopes.items():
        write(tmp_path / f"{name}.dcm", stored, RescaleSlope=slope, RescaleIntercept=intercept)
    assert "2 of 2 image files hold values of no stated range (a.dcm: F, b.dcm: F): --levels" in refusal(
        f"folder:{tmp_path}"
    )
    name = f"folder:{tmp_path},levels=-1000:400"
    data = load(name)
    for row, (slope, intercept) in enumerate(slopes.values()):
        units = np.clip(stored * slope + intercept, -1000, 400)
        np.testing.assert_array_equal(data.images[row, ..., 0], np.rint((units + 1000) / 1400 * 255).astype(np.uint8))
    assert peek(name).shape == data.shape == (1, 6, 8)
    assert "2 of 2 hold values beyond -1000:400: cut to them" in data.remarks[1]


def test_eight_bits_are_taken_as_they_are_and_white_is_white(tmp_path, load):
    grey = RANDOM.integers(0, 256, (6, 8), dtype=np.uint8)
    frames = np.stack([grey, 255 - grey])
    write(tmp_path / "a.dcm", grey)
    write(tmp_path / "b.dcm", 255 - grey, "MONOCHROME1")
    write(tmp_path / "c.dicom", frames, NumberOfFrames=2)
    np.testing.assert_array_equal(load(f"folder:{tmp_path}").images[..., 0], [grey] * 3)
    low = 4095 - grey.astype(np.int16) * 16
    write(tmp_path / "deep" / "d.dcm", low, "MONOCHROME1")
    deep = load(f"folder:{tmp_path / 'deep'},levels=0:4095").images[0, ..., 0]
    assert np.abs(deep.astype(int) - grey.astype(int) * 16 / 4095 * 255).max() <= 1


def test_colour_and_a_size(tmp_path, load):
    colour = RANDOM.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    write(tmp_path / "a.dcm", colour, "RGB")
    np.testing.assert_array_equal(load(f"folder:{tmp_path}").images, [colour])
    assert load(f"folder:{tmp_path}@4").shape == (3, 4, 4)


def test_run_length_encoding_is_read_and_another_compression_names_what_it_needs(tmp_path, load, refusal):
    grey = RANDOM.integers(0, 256, (6, 8), dtype=np.uint8)
    path = write(tmp_path / "a.dcm", grey)
    pydicom = pytest.importorskip("pydicom")
    found = pydicom.dcmread(path)
    found.compress(pydicom.uid.RLELossless)
    found.save_as(path)
    np.testing.assert_array_equal(load(f"folder:{tmp_path}").images[0, ..., 0], grey)
    if not any(pydicom.pixels.get_decoder(pydicom.uid.JPEGLSLossless).available_plugins):
        found.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
        found.save_as(path)
        assert "a.dcm: compressed as JPEG-LS Lossless Image Compression: install" in refusal(f"folder:{tmp_path}")


def test_a_scan_of_pydicoms_own_is_in_hounsfield_units(tmp_path, load):
    data = pytest.importorskip("pydicom.data")
    scan = data.get_testdata_file("CT_small.dcm", download=False)
    shutil.copy(scan, tmp_path / "a.dcm")
    image = load(f"folder:{tmp_path},levels=-1000:400").images[0, ..., 0]
    assert image.shape == (128, 128)
    assert (image[:8, :8] < 50).all() and 160 < np.median(image[40:90, 40:90]) < 230  # air outside, tissue inside


def test_images_beside_dicom_files_are_taken_alone_as_before(tmp_path, load):
    from PIL import Image

    write(tmp_path / "a.dcm", np.zeros((6, 8), np.uint8))
    Image.new("L", (4, 4)).save(tmp_path / "b.png")
    assert load(f"folder:{tmp_path}").shape == (1, 4, 4)


def test_what_is_no_picture_of_grey_or_rgb_is_refused(tmp_path, refusal):
    grey = RANDOM.integers(0, 256, (6, 8), dtype=np.uint8)
    path = write(tmp_path / "a.dcm", grey, "PALETTE COLOR")
    assert "a.dcm: PALETTE COLOR of 1 samples of 8 bits" in refusal(f"folder:{tmp_path}")
    write(path, grey, syntax=DEFLATED)
    assert "a.dcm: deflated, which is not read" in refusal(f"folder:{tmp_path}")
    write(path, grey, Rows=60000, Columns=60000)
    assert "a.dcm: more than 89,478,485 pixels" in refusal(f"folder:{tmp_path}")
    path.write_bytes(b"no such file")
    assert "1 of 1 image files cannot be decoded (a.dcm)" in refusal(f"folder:{tmp_path}")


def test_without_pydicom_the_extra_is_named(tmp_path, monkeypatch, refusal):
    (tmp_path / "a.dcm").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert "which need pydicom: pip install 'leakbench[dicom]'" in refusal(f"folder:{tmp_path}")
