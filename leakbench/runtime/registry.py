"""Finds attacks, defenses, data sets, suites and report formats by entry point, and loads --plugin files.

Built-in ones are found like those of other packages. A broken plugin is a named warning, not a crash; a name that is
taken twice is an error that names both origins.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from pathlib import Path
from types import CodeType
from typing import Any

from leakbench.runtime.errors import UsageError, nearest_name
from leakbench.runtime.paths import user_path
from leakbench.runtime.plugin import Plugin

_loaded: dict[str, dict[str, type[Plugin]]] = {"attacks": {}, "defenses": {}}  # by --plugin
_files: list[Path] = []


@cache
def _entries(group: str) -> dict[str, dict[str, EntryPoint]]:
    """Entry points of a group by name, and those of one name by the object that they refer to."""
    found: dict[str, dict[str, EntryPoint]] = {}
    for entry in entry_points(group=f"leakbench.{group}"):
        found.setdefault(entry.name, {})[entry.value] = entry
    return found


@contextmanager
def standing_in(group: str, kinds: Mapping[str, type[Plugin]]) -> Iterator[None]:
    """Have `find` answer these in place of the plugins of their names, which are not imported."""
    before = dict(_loaded[group])
    _loaded[group] |= kinds
    try:
        yield
    finally:
        _loaded[group] = before


def names(group: str) -> list[str]:
    """List the names of a group (attacks, defenses, datasets, reports, suites), sorted. Imports nothing."""
    return sorted({*_entries(group), *_loaded.get(group, {})})


def is_built_in(group: str, name: str) -> bool:
    """True of a name that leakbench itself registers, and nobody else."""
    return [entry.module.partition(".")[0] for entry in _entries(group).get(name, {}).values()] == ["leakbench"]


def find(group: str, name: str, where: str = "") -> Any:
    """The object of a name. Raises UsageError that gives the nearest valid name, or says what is broken or taken twice.

    `where` is what asked for it (a file and key), for the error.
    """
    if name in _loaded.get(group, {}):
        return _loaded[group][name]
    if name not in _entries(group):
        place = f"{where}: " if where else ""
        own = "; one of your own: --plugin FILE.py" if group in ("attacks", "defenses") else ""
        raise UsageError(f"{place}unknown {group.rstrip('s')} {name!r}; {nearest_name(name, names(group))}{own}")
    entry, *others = _entries(group)[name].values()
    if others:
        origins = " and ".join(map(_origin, (entry, *others)))
        raise UsageError(f"{group.rstrip('s')} {name!r} is registered twice, by {origins}; uninstall or rename one")
    try:
        return entry.load()
    except Exception as error:
        raise UsageError(f"{group.rstrip('s')} {name!r} is broken: {type(error).__name__}: {error}") from error


def _origin(entry: EntryPoint) -> str:
    """The object that an entry point refers to, and the package that declares it."""
    return f"{entry.value} of {entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def load_all(group: str) -> Iterable[tuple[str, Any]]:
    """Yield (name, object) of every plugin that loads; a broken one is a warning that names it."""
    for name in names(group):
        try:
            yield name, find(group, name)
        except UsageError as error:
            warnings.warn(str(error), stacklevel=2)


def name_plugin_module(path: Path) -> str:
    """The name under which a --plugin file is imported."""
    return f"leakbench_plugin_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"


def load_file(path: Path, module_name: str = "") -> list[str]:
    """Load a --plugin file and register every attack and defense that it defines. Returns their names.

    `module_name`: that of the original, where this file is its copy on another machine.
    """
    if not path.is_file():
        raise UsageError(f"--plugin {path}: no such file")
    if path.suffix != ".py":
        raise UsageError(f"--plugin {path}: not a Python file")
    name = module_name or name_plugin_module(path)
    loader = _SourceLoader(name, str(path))
    module = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(name, loader, origin=str(path)))
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"--plugin {path}: {type(error).__name__}: {error}") from error
    plugins = list(dict.fromkeys(thing for thing in vars(module).values() if _is_plugin(thing, name)))
    if not plugins:
        raise UsageError(f"--plugin {path}: defines no attack and no defense with a `name`")
    for plugin in plugins:
        _check_free(path, plugin, plugins)
    for plugin in plugins:
        _loaded[plugin.group][plugin.name] = plugin
    _files.append(path.resolve())
    return [plugin.name for plugin in plugins]


class _SourceLoader(importlib.machinery.SourceFileLoader):
    """Runs a file as it is written. Byte code beside it is neither read, as its time stamp can deceive, nor written."""

    def get_code(self, fullname: str) -> CodeType:
        """The compiled file."""
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def _is_plugin(thing: Any, module_name: str) -> bool:
    """True for an attack or a defense with a name that a module defines, not merely imports."""
    own = inspect.isclass(thing) and thing.__module__ == module_name
    return own and issubclass(thing, Plugin) and hasattr(thing, "name")


def _check_free(path: Path, plugin: type[Plugin], defined: list[type[Plugin]]) -> None:
    """Raise UsageError if the name of a --plugin file's plugin is taken: by a package, another file or this one."""
    group, name = plugin.group, plugin.name
    origins = [_origin(entry) for entry in _entries(group).get(name, {}).values()]
    if (other := _loaded[group].get(name)) is not None and other.__module__ != plugin.__module__:
        origins.append(f"--plugin {inspect.getfile(other)}")
    origins += [c.__name__ for c in defined if c is not plugin and (c.group, c.name) == (group, name)]
    if origins:
        kind = group.rstrip("s")
        raise UsageError(
            f"--plugin {path}: the {kind} {name!r} of class {plugin.__name__} is taken by {origins[0]}; "
            "give it another name"
        )


def loaded_files() -> list[Path]:
    """The --plugin files loaded so far, for worker processes to load as well."""
    return list(_files)


def suite_path(name: str) -> Path:
    """The file of a suite: a path that exists, or a name known by entry point. Raises UsageError."""
    if name.endswith(".toml"):
        path = user_path(name)
        if not path.is_file():
            raise UsageError(f"suite {name!r}: no such file")
        return path
    suites = _suites()
    if name not in suites:
        raise UsageError(f"unknown suite {name!r}; {nearest_name(name, suites)}")
    first, *others = suites[name]
    if others:
        origins = " and by ".join(map(str, suites[name]))
        raise UsageError(f"suite {name!r} is defined twice, by {origins}; give the path of one")
    return first


def suite_files() -> dict[str, Path]:
    """Suites by name: every .toml file of the packages in the entry-point group `leakbench.suites`."""
    return {name: paths[0] for name, paths in _suites().items()}


def _suites() -> dict[str, list[Path]]:
    """The files of each suite's name: more than one where two packages have a suite of that name."""
    found: dict[str, list[Path]] = {}
    for _, package in load_all("suites"):
        for entry in files(package).iterdir():
            if entry.name.endswith(".toml"):
                found.setdefault(entry.name.removesuffix(".toml"), []).append(Path(str(entry)))
    return found


def dataset(name: str, where: str = "", skip_broken: bool = False) -> Callable[[], Any]:
    """A function that loads the data set of a name such as digits or npz:PATH. `skip_broken` is passed on to those that
    decode image files: they take a parameter of this name."""
    kind, _, argument = name.partition(":")
    factory = find("datasets", kind, where)
    if "skip_broken" in inspect.signature(factory).parameters:
        return lambda: factory(argument, skip_broken=skip_broken)
    return lambda: factory(argument)


__all__ = [
    "dataset",
    "find",
    "is_built_in",
    "load_all",
    "load_file",
    "loaded_files",
    "name_plugin_module",
    "names",
    "standing_in",
    "suite_files",
    "suite_path",
]
