"""A packed run of the tiny suite, and changes of it by somebody who can hash."""

from __future__ import annotations

import hashlib
import json
import zipfile

import numpy as np
import pytest

from leakbench.interface.submission.manifest import MANIFEST, build_manifest, format_manifest
from leakbench.interface.submission.pack import pack_files, submit
from leakbench.interface.submission.packed_arrays import pack_arrays


class Packed:
    """The files of a packed run, to be changed, and written as an archive."""

    def __init__(self, files, path):
        self.files, self.path = files, path

    def edit(self, name, change):
        """Change the JSON of a file in place: `change` is given what is in it."""
        content = json.loads(self.files[name])
        content.pop("checksum", None)  # as of a record of older versions, which have none
        change(content)
        self.files[name] = json.dumps(content).encode()

    def arrays(self, stem):
        """The arrays of a record."""
        from leakbench.interface.submission.arrays import read_arrays

        return {name: np.array(array) for name, array in read_arrays(self.files[f"arrays/{stem}.npz"], stem).items()}

    def write_arrays(self, stem, arrays, hashed=True):
        """Write arrays in place of a record's, and their hash into the record."""
        data = pack_arrays(arrays)
        self.files[f"arrays/{stem}.npz"] = data
        if hashed:
            self.edit(f"records/{stem}.json", lambda r: r.update(arrays=hashlib.sha256(data).hexdigest()))

    def seal(self):
        """Hash everything again, as if it had been packed like this. Returns the archive."""
        files = {name: data for name, data in self.files.items() if name != MANIFEST}
        plan = json.loads(files["plan.json"])
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        self.files[MANIFEST] = format_manifest(build_manifest(hashes, str(plan["suite"]), str(plan["identity"])))
        return self.write()

    def write(self):
        """Write the archive of the files as they are. Returns its path."""
        self.path.write_bytes(pack_files(self.files))
        return self.path


def read_zip(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="session")
def submitted(finished, tmp_path_factory):
    """The finished tiny run, packed: read it, never write to it."""
    return submit(finished.out, tmp_path_factory.mktemp("submitted") / "tiny.zip")


@pytest.fixture
def packed(submitted, tmp_path):
    """The same, to be changed."""
    return Packed(read_zip(submitted), tmp_path / "changed.zip")
