"""Folders of diffusers pipelines from strangers: loaded without running anything of theirs, or refused."""

from __future__ import annotations

import json
import shutil
import struct

import pytest
import torch
from hypothesis import strategies as st

from leakbench.models.pretrained.build import build, digest, read_spec
from leakbench.models.pretrained.header_check import check_files, knows_all
from leakbench.models.pretrained.header_work import count_header_work
from leakbench.models.pretrained.inspect import Options, inspect_folder
from leakbench.models.pretrained.settings import read_header_spec


@pytest.fixture(scope="module")
def pipeline(pipelines, tmp_path_factory):
    """The folder of an untrained DDPMPipeline of grey 8x8 images, and its files by name."""
    folder = tmp_path_factory.mktemp("pipeline") / "mine"
    pipelines.tiny().save_pretrained(folder)
    return folder, {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@st.composite
def weights(draw, mutations, data):
    """A file of safetensors with its header changed and well written, or with bytes changed."""
    if draw(st.booleans()):
        return draw(mutations.damaged(data))
    size = struct.unpack("<Q", data[:8])[0]
    header = json.dumps(draw(mutations.edited(json.loads(data[8 : 8 + size])))).encode()
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def _cases(mutations, files):
    def change(name):
        if name.endswith(".safetensors"):
            return weights(mutations, files[name])
        tables = mutations.edited(json.loads(files[name])).map(lambda one: json.dumps(one).encode())
        return st.one_of(tables, tables, tables, mutations.damaged_text(files[name].decode()))

    return st.sampled_from(sorted(files)).flatmap(lambda name: st.tuples(st.just(name), change(name)))


def _put(folder, files, name, data):
    for one, before in files.items():
        (folder / one).write_bytes(data if one == name else before)


def test_the_settings_of_any_pipeline_are_read_or_refused(fuzzed, mutations, pipeline):
    folder, files = pipeline

    def read(case):
        _put(folder, files, *case)
        options = Options(str(folder))
        read_header_spec(options)
        count_header_work(options)
        weighed = inspect_folder(options.path, trust_code=False)
        check_files(weighed)
        knows_all(weighed)
        read_spec(options)

    fuzzed(_cases(mutations, files), read, names=[str(folder), "scheduler"])


def test_any_pipeline_is_loaded_or_refused(fuzzed, mutations, pipeline, tmp_path):
    folder, files = pipeline

    def load(case):
        shutil.rmtree(tmp_path / "mine", ignore_errors=True)
        shutil.copytree(folder, tmp_path / "mine")
        _put(tmp_path / "mine", files, *case)
        options = Options(str(tmp_path / "mine"))
        build(options, digest(options), torch.device("cpu"))

    fuzzed(_cases(mutations, files), load, share=10)


_FLAGS = {"image_size": 8, "num_channels": 32, "channel_mult": "1,2", "num_res_blocks": 1, "num_head_channels": 16}
_FLAGS |= {"attention_resolutions": "4", "learn_sigma": True, "diffusion_steps": 4000, "rescale_timesteps": True}
_YAML = {
    "data": {"image_size": 8, "channels": 3, "rescaled": True},
    "model": {"in_channels": 3, "out_ch": 3, "ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [4]},
    "diffusion": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02, "num_diffusion_timesteps": 1000},
}


@pytest.mark.parametrize("table", [_FLAGS, _YAML], ids=["openai", "ddim"])
def test_the_authors_settings_of_a_file_are_read_or_refused(fuzzed, mutations, tmp_path, table):
    file = tmp_path / "model.pt"
    torch.save({"strange": torch.zeros(2)}, file)

    def read(edited):
        (tmp_path / "model.json").write_text(json.dumps(edited))
        read_spec(Options(str(file)))

    fuzzed(mutations.edited(table), read, names=[str(tmp_path)])
