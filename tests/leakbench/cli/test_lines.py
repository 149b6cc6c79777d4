"""Lines of a plan stand within the terminal, and whole in a pipe."""

from __future__ import annotations

from leakbench.cli.lines import print_lines

LINE = "DENOISER  " + ", ".join(f"attack{number}" for number in range(20))


def test_a_terminal_gets_lines_of_its_width_with_the_words_below_each_other(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    print_lines([LINE, "   4  audit   a short one"])
    first, *others, last = capsys.readouterr().out.splitlines()
    assert first.startswith("DENOISER  attack0,") and last == "   4  audit   a short one"
    assert others and all(line.startswith(" " * 10 + "attack") for line in others)
    assert all(len(line) <= 60 for line in (first, *others))
    assert " ".join([first, *map(str.strip, others)]) == LINE


def test_a_pipe_gets_each_line_whole(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    print_lines([LINE])
    assert capsys.readouterr().out == f"{LINE}\n"
