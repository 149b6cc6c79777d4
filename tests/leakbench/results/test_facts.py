"""Facts that reports read are what their names say, or the record is refused: a stranger's may say anything."""

from __future__ import annotations

import json
import shutil

import pytest

from leakbench.results.record_files import read_record
from leakbench.runtime.errors import UsageError

BAD = {
    "orientation": "up",
    "shadow_models": {"shadow_models": 0},
    "labels_consumed": -3,
    "public_images": 2.5,
    "defense": [],
    "skipped": {"why": "so"},
    "transforms": "mirror",
    "flagged": [0, "one"],
    "set_images_needed": True,
}


@pytest.fixture
def written(finished, tmp_path):
    """written(info): the file of a record with some facts changed, as by hand."""

    def write(info):
        path = tmp_path / "record.json"
        shutil.copy(finished.out / "records" / "baseline__loss__DENOISER__seed0.json", path)
        content = json.loads(path.read_text())
        content.pop("checksum")
        content["info"] |= info
        path.write_text(json.dumps(content))
        return path

    return write


@pytest.mark.parametrize(("name", "value"), BAD.items())
def test_a_fact_of_another_kind_is_refused_by_name(written, name, value):
    with pytest.raises(UsageError, match=rf"not a record \(info: .*{name} = .*: it should be "):
        read_record(written({name: value}))


def test_facts_that_are_none_and_facts_of_ones_own_are_taken(written):
    told = {"orientation": None, "threshold": 1, "my_own": {"anything": [1, "x"]}}
    assert read_record(written(told)).info.items() >= told.items()
