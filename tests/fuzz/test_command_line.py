"""Commands with odd values: exit code 0 to 3 or 2 with one line, and no traceback."""

from __future__ import annotations

import shutil

import pytest
import typer
from hypothesis import strategies as st

from leakbench.cli import app

SLOW = {"doctor"}  # asks the machine, takes no value
COMPUTING = {"run", "audit"}  # plan only
WORDS = [
    "",
    " ",
    "-1",
    "0",
    "1",
    "2.5",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "9" * 400,
    "٣",
    "true",
    "None",
    "a,b",
    ",",
    "=",
    "a=b",
    "name=",
]
WORDS += [
    "\x1b[31mred",
    "a\nb",
    "\u202eback",
    "\udcff",
    "<script>",
    "{}",
    "%s",
    "*",
    "~",
    "~nobody-here/x",
    "-",
    "--",
    "--help",
    "-h",
]
WORDS += [
    "a" * 300,
    "a/" * 3000,
    "/dev/null",
    "/",
    ".",
    "..",
    "/nowhere/at/all",
    "quick",
    "loss",
    "baseline",
    "digits",
    "all",
    "standard",
]
WORDS += [
    "npz:set.npz",
    "folder:images",
    "npy:set.npy",
    "npz:",
    "hf:",
    "sides:",
    "module:plugin.py:f",
    "quick.toml",
    "tex",
    "terminal,csv",
]
FILES = [
    "run",
    "run/plan.json",
    "run/records",
    "run/records/baseline__loss__DENOISER__seed0.json",
    "tiny.toml",
    "claims.toml",
    "set.npz",
]
FILES += ["set.npy", "images", "bytes", "empty", "plugin.py", "broken.py", "locked"]
SETTINGS = [
    "split.members=-1",
    "seeds=[]",
    "defense.cpsample.alpha=nan",
    "dataset=npz:bytes",
    "dataset=folder:\x00",
    "name=../x",
    "sampler.steps=9999999",
]

values = st.sampled_from([*WORDS, *FILES, *FILES, *SETTINGS]) | st.text(
    st.characters(blacklist_characters="\0"), max_size=8
)


def _commands(command, words=()):
    """(words, parameters) of every command."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from _commands(inner, (*words, name))
    else:
        yield words, command.params


COMMANDS = {words: params for words, params in _commands(typer.main.get_command(app)) if words[0] not in SLOW}


@st.composite
def lines(draw):
    """A command with some of its options, most of them with odd values."""
    words = draw(st.sampled_from(sorted(COMMANDS)))
    line, params = list(words), COMMANDS[words]
    for one in params:
        if one.param_type_name == "argument":
            if draw(st.integers(0, 9)):
                line += draw(st.lists(values, min_size=1, max_size=2 if one.nargs == -1 else 1))
        elif draw(st.integers(0, 3)) == 0 or one.required:
            line.append(draw(st.sampled_from(one.opts)))
            if not one.is_flag:
                line.append(draw(values))
    if draw(st.integers(0, 9)) == 0:
        line.insert(draw(st.integers(0, len(line))), draw(values))
    first = ["--offline"] if draw(st.booleans()) else []
    return [*first, *line, *(["--plan"] if words[0] in COMPUTING else [])]


@pytest.fixture
def home(finished, images, tmp_path, monkeypatch):
    """A working folder with files of every kind, good ones and others."""
    place = tmp_path / "home"
    place.mkdir()
    shutil.copytree(finished.out, place / "run")
    shutil.copy(finished.suite, place / "tiny.toml")
    (place / "claims.toml").write_text('[[claim]]\nname="a"\ndefense="baseline"\nattack="loss"\nat_most=1.0\n')
    (place / "set.npy").write_bytes(images["images"])
    (place / "bytes").write_bytes(bytes(range(256)))
    (place / "empty").write_bytes(b"")
    (place / "plugin.py").write_text("x = 1\n")
    (place / "broken.py").write_text("raise SystemError('broken')\n")
    (place / "images").mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return place


def test_any_command_line_ends_in_one_line(fuzzed, mutations, images, leakbench, home):
    (home / "set.npz").write_bytes(mutations.zipped((f"{name}.npy", data) for name, data in images.items()))
    kept = sorted(home.iterdir())

    def call(line):
        outcome = leakbench(*line)
        try:
            assert outcome.code in (0, 1, 2, 3)
            if outcome.code == 2:
                assert outcome.err.strip(), outcome
            assert "Traceback" not in outcome.out + outcome.err
            own = outcome.err.startswith("Usage: ")  # in which typer repeats what was typed
            shown = (outcome.out + outcome.err * (not own)).replace("\n", "").replace("\r", "").replace("\t", "")
            assert shown.isprintable(), f"printed as it is: {shown!a}"
            return outcome.code in (0, 3)
        finally:
            for more in set(home.iterdir()) - set(kept):
                shutil.rmtree(more) if more.is_dir() and not more.is_symlink() else more.unlink()

    fuzzed(lines(), call)
