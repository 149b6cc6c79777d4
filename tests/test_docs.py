"""The docs say what is true: examples pass the conformance suite; commands, keys, files and numbers exist."""

from __future__ import annotations

import re
import shlex
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from leakbench.cli import app
from leakbench.data import SplitSpec
from leakbench.data.forget_set import ForgetTable
from leakbench.measurement.compatibility import check_compatibility
from leakbench.measurement.inputs import RunInputs
from leakbench.runtime import registry
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.file import NetworkTable, PublishedRow, QualityTable, SamplerTable, SuiteFile
from leakbench.suite.load import load
from leakbench.testing import check_plugin
from leakbench.testing.membership import membership_scores
from leakbench.testing.settings import defense_task

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
PLUGIN = re.compile(r"^class \w+\(\w*(Attack|Defense)\)", re.MULTILINE)
HOSTS = {"keepachangelog.com", "semver.org", "127.0.0.1:8000", "api.example.com"}  # the last two: of nobody
COMPARED = re.compile(  # the public projects that README compares with
    r"https://github\.com/(2019ChenGong/DPImageBench|caradryanl/CopyMark|DeliciousBuding/DiffAudit-Research"
    r"|aidotse/LeakPro|facebookresearch/PrivacyGuard|RobustBench/robustbench)(?=\))"
)


def text_of(name):
    return (ROOT / name).read_text()


def blocks(text, language):
    """The fenced code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def examples(name):
    """The python blocks of a page that define an attack or a defense."""
    return [block for block in blocks(text_of(name), "python") if PLUGIN.search(block)]


EXAMPLES = [(name, number) for name in NAMES for number in range(len(examples(name)))]


def loaded(folder, name, number):
    """The plugin class of an example, loaded as `--plugin` does."""
    path = folder / f"example_{Path(name).stem}_{number}.py"
    path.write_text(examples(name)[number])
    (found,) = registry.load_file(path)
    return registry.find("attacks" if found in registry.names("attacks") else "defenses", found)


def test_there_are_examples_to_check():
    pages = [name for name, _ in EXAMPLES]
    assert pages.count("README.md") == 1
    assert pages.count("docs/adding_an_attack.md") == 4
    assert pages.count("docs/adding_a_defense.md") == 5


@pytest.mark.parametrize(("name", "number"), EXAMPLES)
def test_an_example_passes_the_conformance_suite(name, number, tmp_path):
    found = list(check_plugin(loaded(tmp_path, name, number)))
    assert found
    assert [result for result in found if not result.passed] == []


def test_the_shortest_examples_have_at_most_ten_lines():
    shortest = [examples(f"docs/adding_{name}.md")[0] for name in ("an_attack", "a_defense")]
    assert examples("README.md") == shortest[:1]
    for block in shortest:
        assert sum(bool(line.strip()) for line in block.splitlines()) <= 10


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    missing = [
        target
        for target in re.findall(r"\]\(([^)\s]+)\)", text_of(name))
        if not target.startswith(("http", "#")) and not ((ROOT / name).parent / target.split("#")[0]).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("name", NAMES)
def test_files_named_in_text_exist(name):
    folders = ("leakbench/", "attacks/", "defenses/", "reports/", "benchmarks/", "tests/")
    words = re.findall(r"[\w./-]+", re.sub(r"[A-Z]{3,}[\w.]*", "", text_of(name)))
    paths = {word.rstrip(".") for word in words if word.startswith(folders) and Path(word.rstrip(".")).suffix}
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", NAMES)
def test_tests_named_in_text_exist(name):
    for path, words in re.findall(r"pytest (tests/[\w/.]+\.py) -k (\w+)", text_of(name)):
        assert re.search(rf"^def test_\w*{words}", text_of(path), re.MULTILINE), (path, words)


def commands(name):
    """Every `leakbench ...` command line of a page, in code blocks and in running text."""
    text = re.sub(r"^```.*?^```$", "", text_of(name), flags=re.DOTALL | re.MULTILINE)
    found = [*re.findall(r"^ {4,}(.*leakbench .*)$", text, re.MULTILINE), *re.findall(r"`([^`]+)`", text)]
    lines = [line.split("&&")[-1].strip().removeprefix("uv run ") for line in found]
    return [shlex.split(line.partition(" > ")[0])[1:] for line in lines if line.startswith("leakbench ")]


COMMAND = typer.main.get_command(app)


def parsed(words):
    """Parses a command line without running it; says what is wrong with it, or nothing."""
    command = COMMAND
    while getattr(command, "commands", None):
        while words and words[0].startswith("--"):
            option, *words = words
            if option != "--help" and not any(option in p.opts for p in command.params):
                return f"no option {option}"
        if not words:
            return None
        if words[0] not in command.commands:
            return f"no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    if "--help" in words:
        return None
    try:
        command.make_context(command.name, list(words))
    except Exception as error:
        # A command that is only spoken of may leave its arguments out.
        return None if "Missing argument" in str(error) or type(error).__name__ == "MissingParameter" else str(error)
    return None


@pytest.mark.parametrize("name", NAMES)
def test_commands_exist_with_their_options(name):
    assert [(words, wrong) for words in commands(name) if (wrong := parsed(words))] == []


def test_a_wrong_command_would_be_noticed():
    assert len(commands("README.md")) > 10
    assert parsed(["run", "quick", "--no-such-option"])
    assert parsed(["no-such-command"])
    assert parsed(["--no-such-option", "doctor"])


@pytest.mark.parametrize("name", ["README.md", "docs/suites.md", "docs/datasets.md"])
def test_settings_on_command_lines_are_taken(name):
    for words in commands(name):
        settings = [words[i + 1] for i, word in enumerate(words) if word == "--set" and "=" in words[i + 1]]
        if words[:2] == ["run", "quick"]:
            load("quick", tuple(settings))


NO_SUITES = ("docs/claims.md", "docs/hosted.md", "docs/submit.md")  # their TOML has tests of its own
TOML = [(name, n) for name in NAMES if name not in NO_SUITES for n in range(len(blocks(text_of(name), "toml")))]


@pytest.mark.parametrize(("name", "number"), TOML)
def test_pieces_of_suites_are_valid(name, number, tmp_path):
    seen = set()
    for page, example in sorted(EXAMPLES, key=lambda example: example[0] != name):
        plugins = set(re.findall(r"^class (\w+)", examples(page)[example], re.MULTILINE))
        if not plugins & seen:  # one of each name: the page's own where another page has it too
            loaded(tmp_path, page, example)
        seen |= plugins
    piece = blocks(text_of(name), "toml")[number]
    table = tomllib.loads(piece)
    head = "" if "dataset" in table else 'name = "piece"\ndataset = "digits"\n'
    names = [entry["name"] for entry in table.get("defense", [])]
    tail = "" if "baseline" in names else '[[defense]]\nname = "baseline"\n'
    path = tmp_path / "suite.toml"
    path.write_text(f"{head}{piece}\n{tail}")
    suite = load(str(path))
    if names[-1:] == ["cpsample"]:
        assert len(suite.points) == 5  # as the page says
    if name == "docs/defenses.md":
        check_compatibility(RunInputs(suite, RunConfig(tmp_path / "run", tmp_path / "cache")))


def sections(page="docs/suites.md"):
    """Heading -> its tables' rows (tuples of cells) of a page."""
    found, rows = {}, []
    for line in text_of(page).splitlines():
        if line.startswith("#"):
            rows = found.setdefault(line.strip("# ").strip("`"), [])
        elif line.startswith("| `"):
            rows.append(tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]))
    return found


def documented(rows):
    """key -> default, as TOML has it; None where there is none."""
    found = {}
    for key, default, *_ in rows:
        value = default.strip("`")
        words = {"none": None, "required": ...}
        found[key.strip("`")] = words[value] if value in words else tomllib.loads(f"v = {value}")["v"]
    return found


def real(model, leave=()):
    fields = {key: info for key, info in model.model_fields.items() if key not in leave}
    defaults = {key: ... if info.is_required() else info.default for key, info in fields.items()}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in defaults.items()}


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("[split]", SplitSpec),
        ("[forget]", ForgetTable),
        ("[network]", NetworkTable),
        ("[sampler]", SamplerTable),
        ("[quality]", QualityTable),
        ("[[published]]", PublishedRow),
    ],
)
def test_every_key_of_a_suite_is_documented_with_its_default(heading, model):
    rows = [row for row in sections()[heading] if len(row) == 3]
    assert documented(rows) == real(model)


def test_every_key_at_the_top_is_documented_with_its_default():
    tables = ("split", "forget", "network", "sampler", "quality", "defense", "attack", "small", "published")
    assert documented(sections()["Top level"]) == real(SuiteFile, leave=tables)


@pytest.mark.parametrize("group", ["attacks", "defenses"])
def test_every_parameter_of_a_built_in_plugin_is_documented_with_its_default(group):
    found = sections({"attacks": "docs/attacks.md", "defenses": "docs/suites.md"}[group])
    for name, plugin in registry.load_all(group):
        rows = found[name]
        assert documented(rows) == real(plugin), name
        if group == "defenses":
            stages = {key.strip("`"): stage for key, _, stage, _ in rows}
            assert {key for key, stage in stages.items() if stage == "fit"} == plugin.parameters_of_stage("fit")


def test_entries_take_the_documented_keys(tmp_path):
    for heading, group in (("[[defense]]", "defense"), ("[[attack]]", "attack")):
        keys = [row[0].strip("`") for row in sections()[heading]]
        assert keys == {"defense": ["name", "id", "base", "role", "condition"], "attack": ["name", "id", "on"]}[group]
    path = tmp_path / "suite.toml"
    path.write_text(
        'name = "a"\ndataset = "digits"\n[[defense]]\nname = "baseline"\ncondition = "label"\n'
        '[[defense]]\nname = "cpsample"\nid = "b"\n'
        'base = "baseline"\nrole = "control"\n[[attack]]\nname = "pia"\nid = "c"\non = ["b"]\n'
    )
    suite = load(str(path))
    assert [point.role for point in suite.points] == ["baseline", "control"]
    assert [suite.asks("c", point) for point in suite.points] == [False, True]


def test_every_built_in_suite_has_its_line():
    documented = [name.strip("`") for name, *_ in sections()["Built-in suites"]]
    assert len(documented) == len(set(documented))
    assert sorted(set(registry.suite_files()) - set(documented)) == []


DEFENSES = [(name.strip("`"), cells) for name, *cells in sections("docs/defenses.md")["All of them"]]
NEEDS = {(False, False): "no", (False, True): "may", (True, False): "needs", (True, True): "needs"}


def test_every_built_in_defense_has_one_row():
    assert sorted(name for name, _ in DEFENSES) == sorted(registry.names("defenses"))


@pytest.mark.parametrize(("name", "cells"), DEFENSES)
def test_the_row_of_a_defense_is_what_its_class_says(name, cells):
    changes, base, _, cost, *_ = cells
    kind = registry.find("defenses", name)
    assert changes == kind.changes
    assert base == NEEDS[kind.needs_base, kind.takes_base]
    if hasattr(kind, "step_cost"):
        assert cost.startswith(f"{kind().step_cost()} S B")


@pytest.mark.parametrize(
    ("name", "cells"), [row for row in DEFENSES if row[0] not in ("pipeline", "hosted", "given_samples")]
)
@pytest.mark.usefixtures("remembered_divergences")
def test_a_defense_claims_what_its_row_says(name, cells):
    """On a tiny task, over a base with a claim where it needs one."""
    kind, spent = registry.find("defenses", name), {"epsilon": 1.0, "delta": 1e-5, "history": []}
    task = defense_task(kind())
    if task.base is not None:
        task = replace(task, base=replace(task.base, guarantee=type(task.base.guarantee).from_json(spent)))
    defense = kind(**{"steps": 2} if "steps" in kind.model_fields else {})
    claims = defense.release(defense.fit(task), task).guarantee.to_json()
    word = re.match(r"[a-z]+", cells[2])[0]
    said = {"keeps": claims == spent, "voids": list(claims) == ["void"], "epsilon": "epsilon" in claims}
    assert said.get(word, claims == {}), claims  # retrain's recipe, here, claims nothing
    assert word in ("nothing", "what", *said)


def test_the_columns_of_the_table_are_explained(tmp_path):
    from leakbench.reports.reading.tradeoff_text import format_tradeoff
    from leakbench.results.run_folder import RunFolder

    plan = '{"suite": "quick", "points": [{"point": "baseline", "defense": "baseline", "role": "baseline"}]}'
    (tmp_path / "plan.json").write_text(plan)
    page = text_of("docs/reading.md")
    titles = [title.replace("FD,", "FD-rotation,") for title in format_tradeoff(RunFolder(tmp_path))[0]]
    assert [title for title in titles if title != "point" and f"`{title}`" not in page] == []


def test_the_coverage_table_is_the_docstrings():
    from leakbench.statistics import tpr

    number = r"[\d.]+ \([\d.]+\)"
    page = re.search(r"<!-- coverage -->(.*)<!-- /coverage -->", text_of("docs/statistics.md"), re.DOTALL)
    assert page is not None
    assert re.findall(number, page[1]) == re.findall(number, tpr.__doc__)
    assert len(re.findall(number, page[1])) == 45


@pytest.mark.parametrize("name", NAMES)
def test_no_machine_and_no_host_is_named(name):
    text = COMPARED.sub("", text_of(name)) if name == "README.md" else text_of(name)
    assert re.findall(r"(?<![\w.])(?:/(?:work|tmp|home|root|mnt|opt|Users)\b|\.\./shared)[^\s`)]*", text) == []
    assert set(re.findall(r"https?://([^/\s)]+)", text)) <= HOSTS
    assert "pypi" not in text.lower()
    assert all(ord(letter) < 0x2500 for letter in text)  # no emoji


ATTACKS = {
    name.strip("`"): cells
    for heading in (
        *("Membership inference", "Memorised prompts", "Adaptive attacks", "Replication", "Attacks on unlearning"),
        *("Attribute inference", "Auditing"),
    )
    for name, *cells in reversed(sections("docs/attacks.md")[heading])
}


def test_every_built_in_attack_has_its_row():
    assert sorted(ATTACKS) == sorted(registry.names("attacks"))


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_the_row_of_an_attack_is_what_its_class_says(name):
    attack, (access, *cells) = registry.find("attacks", name)(), ATTACKS[name]
    assert access == attack.access.name
    if attack.family == "membership":
        learns = cells[1]
        assert ("calibration" in learns.split(";")[0]) == attack.out_of_fold
        assert ("public" in learns) == (attack.learns and attack.learns_from == "public")
        shadows = sum(need.kind == "shadow" for need in attack.auxiliary_models())
        assert (f"{shadows} shadows" in learns) == (shadows > 0)


@pytest.mark.parametrize("name", [name for name in sorted(ATTACKS) if ATTACKS[name][1].split(",")[0].isdigit()])
def test_an_attack_makes_as_many_calls_as_its_row_says(name, hurried):
    """On a tiny network; gradient attacks and those on a shipped part ask no eps."""
    attack = registry.find("attacks", name)()
    if attack.family != "membership" or attack.name == "shipped_classifier":
        pytest.skip("needs what a tiny release does not ship")
    queries = membership_scores(type(attack))[1]
    said = ATTACKS[name][1]
    assert queries == (0 if "gradient" in said else int(said.split(",")[0]))
