"""The privacy section of a model card, and the hub's evaluation results: read back by the hub's own client."""

from __future__ import annotations

import re

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from leakbench.reports.site.model_card import UNKNOWN, render, render_yaml, write_model_card
from leakbench.reports.site.shared_command import leave_out_folder
from leakbench.results.run_folder import RunFolder


def point(name, auc, role="defense", distance=2.0, **more):
    attacks = {"pia": {"auc": (auc, auc - 0.02, auc + 0.02), "calibration_auc": auc}}
    quality = {"frechet_heldout": (distance, distance - 0.1, distance + 0.1)}
    return {"point": name, "defense": name, "role": role, "attacks": attacks, "quality": quality, **more}


MODEL = point("model", 0.7, role="baseline", guarantee={"epsilon": 8.0, "delta": 1e-5, "accountant": "prv"})
CONTROL = point("untrained", 0.5, role="control", distance=30.0)


def of_dataset(run, name):
    """The run, as if its plan named this data set."""
    run.plan.__dict__["dataset"] = name
    return run


def entries(run):
    return parse_eval_result_entries(yaml.safe_load(render_yaml(run)))


def test_the_section_says_what_was_found_and_what_is_guaranteed(tell_run, tmp_path):
    text = render(tell_run(tmp_path, [MODEL, CONTROL]))
    assert text.startswith("## Privacy\n") and "model states epsilon 8 at delta 1e-05" in text
    assert "- DENOISER, by pia: leaks" in text and "no proof of privacy" in text
    assert "untrained" not in text and "\n\n\n" not in text


def test_a_void_track_says_so_and_gives_the_hub_no_membership_number(tell_run, tmp_path):
    run = tell_run(tmp_path, [MODEL, point("untrained", 0.9, role="control", distance=30.0)])
    assert "**No membership result below says anything:** what cannot leak was seen to leak" in render(run)
    assert [entry.task_id for entry in entries(run)] == ["frechet_heldout"]


def test_the_hub_reads_the_results(tell_run, tmp_path):
    run = of_dataset(tell_run(tmp_path, [MODEL, CONTROL]), "hf:owner/pictures@abc")
    found = {entry.task_id: entry for entry in entries(run)}
    assert {entry.dataset_id for entry in found.values()} == {"owner/pictures"}
    assert found["membership_auc_denoiser"].value == 0.7
    assert found["membership_auc_denoiser"].notes == "model: AUC of pia, 95% interval [0.68, 0.72], seeds: 1"


@pytest.mark.parametrize("name", ["digits", "npz:hf/x.npz", 'hf:"\n- value: 1', ""])
def test_a_data_set_that_the_hub_does_not_know_is_a_place_to_fill_in(name, tell_run, tmp_path):
    run = of_dataset(tell_run(tmp_path, [MODEL]), name)
    assert {entry.dataset_id for entry in entries(run)} == {UNKNOWN}
    assert render_yaml(run).startswith("# Put in the id")


def test_names_are_text_and_never_a_tag_or_a_key(tell_run, tmp_path):
    hostile = '<script>alert(1)</script> [x](http://y) "\\'
    run = tell_run(tmp_path, [point(hostile, 0.7, role="baseline")])
    assert "<script" not in render(run) and "\\[x\\](http" in render(run)
    assert entries(run)[0].notes.startswith(hostile)


@pytest.mark.parametrize(
    "command, told",
    [
        ("leakbench run quick --out /tmp/a --seeds 3", "leakbench run quick --seeds 3"),
        ("leakbench run quick '--out=/home/me/my runs' --set 'a.b=1 2'", "leakbench run quick --set 'a.b=1 2'"),
        ("leakbench.run('quick', out='/home/me/runs', seeds=[0, 1])", "leakbench.run('quick', seeds=[0, 1])"),
        ("leakbench run 'quick --out /home/me", ""),
        ("", ""),
    ],
)
def test_the_command_names_no_folder_of_this_machine(command, told, tell_run, tmp_path):
    run = tell_run(tmp_path, [MODEL])
    run.plan.__dict__["command"] = command
    assert leave_out_folder(command) == told
    assert render(run).endswith(f"\n\nMeasured by\n\n    {told}\n" if told else "no proof of privacy.\n")


def test_every_flag_that_the_section_names_is_explained(tell_run, tmp_path):
    run = tell_run(tmp_path, [{**MODEL, "flags": ["inverted", "few-negatives", "my*flag"]}, CONTROL])
    text = render(run)
    assert "- **inverted**: the interval of an AUC lies below 0.5: members score lower" in text
    assert "- **my\\*flag**: no explanation on file" in text and "\n\n\n" not in text
    named = set(re.findall(r"- \*\*(.+?)\*\*:", text))
    (row,) = (line for line in text.splitlines() if line.startswith("| model |"))
    assert set(filter(None, row.split("|")[-2].strip().split(", "))) <= named


def test_rows_that_mean_nothing_are_marked_and_left_out(tell_run, tmp_path):
    run = tell_run(tmp_path, [MODEL, point("untrained", 0.5, role="control")])
    assert "**as-untrained**" in render(run) and render_yaml(run) == "[]\n"


def test_both_files_are_written(run):
    written = write_model_card(RunFolder(run.path))
    assert [path.name for path in written] == ["privacy.md", "leakbench.yaml"]
    assert all(path.is_file() for path in written)
