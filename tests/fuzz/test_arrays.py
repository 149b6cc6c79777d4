"""Data sets and scores in .npz and .npy files, whatever their bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from leakbench.data.array_headers import read_npy_header, read_npz_header
from leakbench.data.npy import npy
from leakbench.data.npz import npz
from leakbench.interface.score_file import read_score_file


def _read_npz(path, data):
    path.write_bytes(data)
    read_npz_header(str(path))


def test_any_npz_file_is_a_data_set_or_refused(fuzzed, mutations, images, tmp_path):
    path = tmp_path / "set.npz"

    def load(data):
        path.write_bytes(data)
        npz(str(path))

    fuzzed(mutations.npz_files(images), load, names=[str(path)])


def test_the_header_of_any_npz_file_is_read_or_refused(fuzzed, mutations, images, tmp_path):
    path = tmp_path / "set.npz"

    def load(data):
        path.write_bytes(data)
        read_npz_header(str(path))

    fuzzed(mutations.npz_files({key: images[key] for key in ("images", "labels")}), load, names=[str(path)], share=2)


def test_images_of_a_generator_are_read_or_refused(fuzzed, mutations, images, tmp_path):
    path = tmp_path / "set.npz"

    def load(data):
        path.write_bytes(data)
        npz(str(path))
        read_npz_header(str(path))

    made = {"x": images["images"], "y": images["labels"]}
    fuzzed(mutations.npz_files(made), load, names=[str(path)], share=2)


def test_any_npy_file_is_a_data_set_or_refused(fuzzed, mutations, images, tmp_path):
    names = ["images", "labels", "attribute", "split"]

    def load(case):
        name, data = case
        for one in names:
            (tmp_path / f"{one}.npy").write_bytes(data if one == name else images[one])
        npy(str(tmp_path))
        read_npy_header(str(tmp_path))
        if name == "images":
            npy(str(tmp_path / "images.npy"))

    files = st.sampled_from(names).flatmap(lambda name: st.tuples(st.just(name), mutations.npy_files(images[name])))
    fuzzed(files, load, names=[str(tmp_path)])


@pytest.mark.parametrize("grouped", [False, True])
def test_any_file_of_scores_is_evaluated_or_refused(fuzzed, mutations, tmp_path, grouped):
    from rich.console import Console

    from leakbench.cli.score_tables import tables
    from leakbench.interface.score_results import ScoreResults

    path = tmp_path / "scores.npz"
    held = {"member_scores": np.arange(6.0), "nonmember_scores": np.arange(7.0) - 3}
    held |= {"member_group": np.array([*"aabbcc"]), "nonmember_group": np.arange(7) // 2} if grouped else {}
    np.savez(path, **held)
    from zipfile import ZipFile

    with ZipFile(path) as packed:
        arrays = {name.removesuffix(".npy"): packed.read(name) for name in packed.namelist()}

    def load(data):
        path.write_bytes(data)
        read = read_score_file(path)
        for table in tables(read, ScoreResults(read.arrays)):
            Console(markup=False, emoji=False).print(table)

    fuzzed(mutations.npz_files(arrays), load, names=[str(path)], share=2)
