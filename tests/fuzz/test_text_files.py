"""Files that people write: suites, claims, captions and labels."""

from __future__ import annotations

import tomllib

from hypothesis import strategies as st

from leakbench.suite.load import load


def _files(mutations, text):
    """Changed tables, written again; and changed text."""
    table = tomllib.loads(text)
    return st.one_of(
        mutations.edited(table).map(lambda one: mutations.to_toml(one).encode("utf-8", "replace")),
        mutations.edited(table).map(lambda one: mutations.to_toml(one).encode("utf-8", "replace")),
        mutations.damaged_text(text),
    )


def test_any_suite_file_is_loaded_or_refused(fuzzed, mutations, tiny_text, tmp_path):
    path = tmp_path / "suite.toml"

    def read(data):
        path.write_bytes(data)
        load(str(path))

    fuzzed(_files(mutations, tiny_text), read, names=[str(path)])


def test_any_override_is_applied_or_refused(fuzzed, mutations, tiny, tmp_path):
    places = [
        "name",
        "dataset",
        "split.members",
        "defense.cpsample.alpha",
        "defense.baseline",
        "attack.pia.t",
        "seeds",
        "defense",
    ]
    values = st.one_of(mutations.texts, mutations.odd.map(str))
    cases = st.builds(
        lambda a, b, c: f"{a}{b}{c}",
        st.sampled_from(places) | mutations.texts,
        st.sampled_from(["=", "=", ".", ""]),
        values,
    )
    fuzzed(cases, lambda one: load(str(tiny), (one,)), share=2)


CLAIMS = """
[[claim]]
name = "copies"
defense = "cpsample"
parameters = { alpha = 0.25 }
attack = "nearest_copy"
metric = "copy_rate_excess"
at_most = 0.9

[[claim]]
name = "leaks"
defense = "cpsample"
attack = "strongest"
access = "DENOISER"
against = "baseline"
at_least = -1.0
confidence = 0.9

[[claim]]
name = "band"
defense = "baseline"
attack = "loss"
within = [0.1, 0.9]
"""


def test_any_claims_file_is_judged_or_refused(fuzzed, mutations, finished, tmp_path):
    from leakbench import load as load_run
    from leakbench.reports.claims import words

    path, run = tmp_path / "claims.toml", load_run(finished.out)

    def check(data):
        path.write_bytes(data)
        found = run.check(path)
        found.words.encode()
        words.format_junit(found, True).encode()
        words.format_markdown(found).encode()
        words.format_annotations(found, path).encode()

    fuzzed(_files(mutations, CLAIMS), check)


def test_any_captions_file_is_read_or_refused(fuzzed, mutations, tmp_path):
    from leakbench.data.caption_file import read as read_captions

    def check(case):
        name, data = case
        path = tmp_path / name
        path.write_bytes(data)
        read_captions(path)

    text = 'file,caption,group\na.png,"a red, lion",Ann\nb.png,the moon,7\n'
    cases = st.tuples(st.sampled_from(["c.txt", "c.csv", "c.CSV", "c"]), mutations.damaged_text(text))
    fuzzed(cases, check, names=[str(tmp_path)], share=5)


def test_any_table_of_groups_is_read_or_refused(fuzzed, mutations, tmp_path):
    from leakbench.data.group_names import number_names
    from leakbench.data.tables import read_group_table

    path = tmp_path / "who.csv"

    def check(data):
        path.write_bytes(data)
        for named in read_group_table(path, [(tmp_path / "x", ["a.png"]), (tmp_path / "y", ["a.png", "b.png"])]):
            number_names(named)

    text = "file,group\nx/a.png,Ann\ny/a.png,7\nb.png,007\n"
    fuzzed(mutations.damaged_text(text), check, names=[str(path)], share=5)
