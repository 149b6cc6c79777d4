"""Flagged prompts are listed by number, beside how many null prompts are flagged alike."""

import json

import numpy as np

from leakbench.api import MemorisationEvidence
from leakbench.metrics.evaluate.memorisation import evaluate_memorisation
from leakbench.reports.site.report import render
from leakbench.results.record import Record
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder

NULL = np.linspace(0, 1, 60)


def write(path, scores, nulls=NULL):
    """A run in which prompt n has the n-th score, of one seed or several."""
    path.mkdir(parents=True, exist_ok=True)
    plan = [{"point": "model", "defense": "model", "role": "baseline"}]
    (path / "plan.json").write_text(json.dumps({"suite": "told", "seeds": [*range(len(scores))], "points": plan}))
    for seed, one in enumerate(scores):
        evidence = MemorisationEvidence(
            *(np.array(one, dtype=float), np.arange(len(one)), nulls[::2], np.arange(len(nulls[::2])), nulls[1::2])
        )
        told = evaluate_memorisation(evidence)
        record = Record(
            **{"suite": "told", "dataset": "mine", "model": "unet", "defense": "model", "point": "model"},
            **{"attack": "prompt_noise", "family": "memorisation", "access": "DENOISER", "seed": seed, "features": ""},
            **{"metrics": told.metrics, "info": told.info, "flags": sorted(told.flags), "defense_params": {}},
        )
        save_record(path, record, evidence.arrays)
    return RunFolder(path)


def section(run):
    text = render(run)
    return text.partition("## Memorised prompts")[2].partition("\n## ")[0]


def test_prompts_are_listed_with_what_the_null_explains(tmp_path):
    said = section(write(tmp_path, [[5, 0.1, 7, 6, 8, 0.2]]))
    assert "4 prompts flagged (4, 2, 3, 0), more than chance explains" in said
    assert "0.0 % [0.0, 11.6] are flagged, so that up to 12 % of any prompts may be flagged by chance" in said


def test_few_are_not_more_than_chance(tmp_path):
    assert "1 prompt flagged (0), not shown to be more" in section(write(tmp_path, [[5, *[0.1] * 19]]))


def test_over_seeds_those_that_every_seed_flags(tmp_path):
    said = section(write(tmp_path, [[5, 0.1, 7, 6], [0.1, 0.1, 3, 9]]))
    assert "2 prompts flagged (2, 3)" in said


def test_many_are_counted(tmp_path):
    said = section(write(tmp_path, [np.arange(30) + 5.0]))
    assert "30 prompts flagged (29, 28, " in said and "10 and 10 more)" in said


def test_without_null_prompts_it_says_so(tmp_path):
    assert "nothing is flagged, at: model" in section(write(tmp_path, [[1, 2]], nulls=np.empty(0)))
