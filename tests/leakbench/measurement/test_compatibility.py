"""Where a defense makes no sense: one line before anything is trained, and exit code 2."""

import pytest

BASELINE = '[[defense]]\nname = "baseline"\nsteps = 2\n'
CPSAMPLE = '[[defense]]\nname = "cpsample"\nbase = "baseline"\nsteps = 2\n'
REJECT = '[[defense]]\nname = "reject_resample"\nbase = "baseline"\n'
FORGET = "[forget]\nlabel = 3\n"


def entry(name, base=None, **more):
    lines = {"name": name, "base": base} | more
    return "[[defense]]\n" + "".join(f"{k} = {v!r}\n" for k, v in lines.items() if v is not None)


CASES = {
    "nothing to forget": (entry("finetune", "baseline"), "there is nothing to forget: write a [forget] table"),
    "an empty forget set": ("[forget]\nlabel = 12\n" + entry("finetune", "baseline"), "names no training image"),
    "weights above sampling": (
        FORGET + CPSAMPLE + entry("finetune", "cpsample"),
        "finetune changes weights, and its base 'cpsample' changes only what is answered: build 'cpsample' on it",
    ),
    "guidance above a choice": (
        REJECT + '[[defense]]\nid = "guided"\nname = "cpsample"\nbase = "reject_resample"\n',
        "cpsample steers a sampling walk, and its base 'reject_resample' chooses among finished samples",
    ),
    "a base where none is taken": (
        '[[defense]]\nname = "untrained"\nbase = "baseline"\n',
        "base = 'baseline': untrained trains its own network from nothing, so it takes no base",
    ),
    "a base that does not exist": (entry("cpsample", "basline"), "base = 'basline': no such id; did you mean"),
    "a loop": (entry("cpsample", "cpsample"), "a loop: cpsample -> cpsample"),
    "a forget set that nobody forgets": ("[forget]\nlabel = 12\n", "forget.label = 12: names no training image"),
    "both or neither": ("[forget]\nlabel = 1\nshare = 0.5\n", "it should be either label or share, and not both"),
    "a mask that hides all": (
        entry("ambient", p=0.99),
        "p = 0.99 hides every pixel of some of the 360 training images",
    ),
    "tau beyond the schedule": (
        '[[defense]]\nid = "a"\nname = "baseline"\ncondition = "attribute"\nsteps = 2\n'
        + entry("attribute_switching", "a", tau=1001),
        "tau = 1001 lies outside 0 .. 1000",
    ),
    "an epsilon of nothing": (entry("dp_sgd", epsilon=0), "epsilon = 0: it should be a number greater than 0"),
    "a delta of one": (entry("dp_sgd", delta=1.0), "delta = 1.0: it should be less than 1"),
    "a condition that there is not": (entry("untrained", condition="colour"), "it should be one of none, label"),
    "a condition above a base": (
        '[[defense]]\nname = "cpsample"\nbase = "baseline"\ncondition = "label"\n',
        "its network is that of base = 'baseline'",
    ),
    "retrain above what edits": (
        FORGET + entry("finetune", "baseline") + entry("retrain", "finetune"),
        "retrain repeats a training from nothing: give it a base that trains its own network",
    ),
    "other labels where there are none": (
        FORGET + entry("erasediff", "baseline", target="other_label"),
        'target = "other_label" needs a label-conditional network: write [network] condition = "label"',
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_makes_no_sense_says_why_in_one_line(leakbench, tmp_path, case):
    text, words = CASES[case]
    table, rest = "", text
    if text.startswith("[forget]"):
        table, mark, rest = text.partition("[[defense]]")
        rest = mark + rest
    path = tmp_path / "s.toml"
    path.write_text('name = "s"\ndataset = "digits"\n' + table + BASELINE + rest)
    outcome = leakbench("run", path, "--out", tmp_path / "run", "--workers", 1)
    assert outcome.code == 2 and words in outcome.err and len(outcome.err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists() and not list((tmp_path / "cache").glob("fits/*"))


def test_an_attribute_of_one_value_is_refused(leakbench, tmp_path):
    import numpy as np

    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", images=images, attribute=np.zeros(60, dtype=np.int64))
    path = tmp_path / "s.toml"
    path.write_text(
        f'name = "s"\ndataset = "npz:{tmp_path}/d.npz"\n[split]\nmembers = 10\nnonmembers = 10\ncalibration_in = 5\n'
        f'calibration_out = 5\n[network]\ncondition = "attribute"\n[quality]\nsamples = 20\n{BASELINE}'
    )
    outcome = leakbench("run", path, "--out", tmp_path / "run", "--workers", 1)
    assert outcome.code == 2 and "have attribute 0; a sensitive attribute has the two values 0 and 1" in outcome.err
