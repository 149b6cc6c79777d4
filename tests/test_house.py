"""The house: who imports whom, how long a file may be, what is packaged, and which names are public."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("leakbench", "attacks", "defenses", "reports", "benchmarks")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
GROUPS = PROJECT["project"]["entry-points"]

PUBLIC = [
    "Access",
    "Artefacts",
    "Attack",
    "AuxiliaryModel",
    "Calibration",
    "Defense",
    "MembershipAttack",
    "Release",
    "ReplicationAttack",
    "Results",
    "RunFailed",
    "Task",
    "TrainingAudit",
    "UsageError",
    "__version__",
    "audit",
    "check_counter",
    "check_submission",
    "leaderboard",
    "load",
    "run",
    "score",
    "submit",
]


def package_of(path):
    """The dotted name under which the folder of a file is imported."""
    parts = path.relative_to(ROOT).parent.parts
    return parts if parts[0] == "leakbench" else ("leakbench", *parts)


def folder_of(package):
    """The folder of a package, by its dotted name."""
    parts = package.split(".")
    return ROOT.joinpath(*(parts[1:] if parts[1:2] and parts[1] in FOLDERS else parts))


def imported(path):
    """Absolute dotted names of all that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = package_of(path)
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def within(folder):
    return [path for path in SOURCES if path.is_relative_to(ROOT / folder)]


def strays(folder, forbidden):
    """(file, name) of every import of something forbidden."""
    return [
        (str(path.relative_to(ROOT)), name)
        for path in within(folder)
        for name in imported(path)
        if any(name == word or name.startswith(f"{word}.") for word in forbidden)
    ]


def mapped(*folders):
    """A folder under both names by which it could be imported."""
    return [word for folder in folders for word in (folder, f"leakbench.{folder}")]


def test_the_imports_of_every_file_can_be_read():
    names = {name for path in SOURCES for name in imported(path)}
    assert {"leakbench.api.Access", "leakbench.reports.reading.formatting", "torch"} <= {
        *names,
        *(n.rpartition(".")[0] for n in names),
    }


FLOORS = {  # a room imports only rooms below it
    "cli": 9,
    "interface": 8,
    "runner": 7,
    "testing": 7,
    "measurement": 6,
    "suite": 5,
    "attacks": 5,
    "defenses": 5,
    "api": 4,
    "metrics": 4,
    "models": 3,
    "reports": 3,
    "data": 2,
    "results": 2,
    "runtime": 1,
    "statistics": 1,
}
NOT_ROOMS = {"leakbench", "benchmarks"}  # the public names, on top of all; suites, which import nothing


def module_of(path):
    """The dotted name of a file."""
    return ".".join((*package_of(path), path.stem)).removesuffix(".__init__")


MODULES = {module_of(path): path for path in SOURCES}


def room_of(module):
    """The room of a module: the part after `leakbench`."""
    return [*module.split("."), "leakbench"][1]


@cache
def arrows():
    """The modules that each module of the house imports, also for type checkers alone."""
    graph = {}
    for module, path in MODULES.items():
        named = {name if name in MODULES else name.rpartition(".")[0] for name in imported(path)}
        graph[module] = sorted(named & set(MODULES) - {module})
    return graph


def test_every_folder_of_the_house_is_a_room():
    assert {room_of(module) for module in MODULES} - NOT_ROOMS <= set(FLOORS)


def test_a_room_imports_only_rooms_below_it():
    upward = [
        (module, other)
        for module, others in arrows().items()
        for other in others
        if room_of(module) in FLOORS and room_of(other) != room_of(module)
        if FLOORS.get(room_of(other), 10) >= FLOORS[room_of(module)]
    ]
    assert upward == []


REPORT_FLOORS = {"reading": 1, "sections": 2, "figures": 2, "tables": 2, "claims": 2}  # rooms of reports/
REPORT_FLOORS |= {"site": 3, "recipes": 3}


def test_every_file_of_reports_stands_in_a_room():
    rooms = {path.relative_to(ROOT / "reports").parts[0] for path in within("reports")} - {"__init__.py"}
    assert rooms == set(REPORT_FLOORS)


def test_a_room_of_reports_imports_only_rooms_below_it():
    def report_room(module):
        return [*module.split("."), "", ""][2]

    ours = [(one, other) for one, others in arrows().items() if room_of(one) == "reports" for other in others]
    crossing = [(a, b) for a, b in ours if room_of(b) == "reports" and report_room(a) != report_room(b)]
    assert len(crossing) > 50
    floor = REPORT_FLOORS
    assert [(a, b) for a, b in crossing if report_room(b) and floor[report_room(b)] >= floor[report_room(a)]] == []


def test_no_files_import_one_another_in_a_circle():
    try:
        order = list(TopologicalSorter(arrows()).static_order())
    except CycleError as error:
        order = error.args[1]
        raise AssertionError(f"circle: {' -> '.join(order)}") from None
    assert set(order) == set(MODULES)


def test_attacks_and_defenses_stand_beside_suites():
    """On one floor, and they know nothing of one another."""
    assert strays("attacks", mapped("defenses", "suite", "benchmarks")) == []
    assert strays("defenses", mapped("attacks", "suite", "benchmarks")) == []


def test_reports_read_results_and_statistics_alone():
    allowed = tuple(f"leakbench.{room}." for room in ("results", "statistics", "reports"))
    allowed += tuple(f"leakbench.runtime.{file}." for file in ("files", "errors", "toml_file"))  # of claims
    ours = [name for path in within("reports") for name in imported(path) if name.split(".")[0] == "leakbench"]
    assert ours
    assert [name for name in ours if not name.startswith(allowed)] == []


def test_a_folders_own_files_are_imported_relatively():
    found = [
        (str(path.relative_to(ROOT)), node.module)
        for path in SOURCES
        if path.parts[len(ROOT.parts)] not in ("leakbench", "benchmarks")  # benchmarks measure the others
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and not node.level
        and (node.module or "").startswith(tuple(mapped("attacks", "defenses", "reports")))
    ]
    assert found == []


def test_no_file_is_over_400_lines():
    everything = [*SOURCES, *(ROOT / "tests").rglob("*.py")]
    assert {str(p): n for p in everything if (n := len(p.read_text().splitlines())) > 400} == {}


def hands_on(node):
    """Whether a statement of an `__init__.py` only hands names on, or says what the folder is."""
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    names = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    return docstring or names or isinstance(node, (ast.Import, ast.ImportFrom))


def test_an_init_file_only_hands_names_on():
    """But for leakbench's own, which finds them when they are first asked for."""
    logic = {
        str(path.relative_to(ROOT)): ast.unparse(node).splitlines()[0]
        for path in SOURCES
        if path.name == "__init__.py" and path != ROOT / "leakbench" / "__init__.py"
        for node in ast.parse(path.read_text()).body
        if not hands_on(node)
    }
    assert logic == {}


def test_every_package_is_listed():
    folders = {path.parent for path in SOURCES if path.name == "__init__.py"}
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(".".join(package_of(f / "x")) for f in folders)


def test_every_python_file_lies_in_a_package():
    scripts = {"memory", "speed", "soak"}  # run from a checkout, not installed
    packaged = [path for path in SOURCES if path.parent.name not in scripts]
    loose = [path for path in packaged if not (path.parent / "__init__.py").is_file()]
    assert loose == []


def test_every_data_file_is_listed():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]
    listed = {
        path for package, globs in patterns.items() for pattern in globs for path in folder_of(package).glob(pattern)
    }
    kinds = {".toml", ".mplstyle", ".j2", ".json", ".html", ".css", ".js", ".typed"}
    present = {path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in kinds}
    present -= set((ROOT / "benchmarks" / "memory").iterdir())  # a program of the checkout, which no package holds
    assert present == listed
    assert present


@pytest.mark.parametrize("group", GROUPS)
def test_every_entry_point_is_installed_and_loads(group):
    ours = {entry.name: entry for entry in entry_points(group=group) if entry.value in GROUPS[group].values()}
    assert {name: entry.value for name, entry in ours.items()} == GROUPS[group]
    for entry in ours.values():
        assert entry.load() is not None


@pytest.mark.parametrize("group", ["attacks", "defenses"])
def test_every_attack_and_defense_file_has_its_entry_point_under_its_own_name(group):
    files = {path.stem for path in within(group) if not path.name.startswith("_")}
    assert set(GROUPS[f"leakbench.{group}"]) == files
    for entry in entry_points(group=f"leakbench.{group}"):
        if entry.value in GROUPS[f"leakbench.{group}"].values():
            assert entry.load().name == entry.name


def test_the_public_names_are_these():
    import leakbench

    assert sorted(leakbench.__all__) == PUBLIC
    assert all(hasattr(leakbench, name) for name in PUBLIC)
    assert leakbench.__version__ == PROJECT["project"]["version"]
