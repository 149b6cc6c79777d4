"""Digests of the code that a class or function can reach, and the versions of the libraries which that code imports.

The closure follows `import` statements, statically, from the file of the root through leakbench, the root's own package
and every file that no installed distribution owns (a helper beside a --plugin file). The rules:

- An import counts wherever it stands, inside functions as well, but where it is not reached at run time: under `if
  TYPE_CHECKING`, or where its name only annotates functions or fields of dataclasses (with `from __future__ import
  annotations`).
- `from package import name` reaches the module that defines the name. A package's `__init__.py` is reached only where
  it defines the name or does something when it is imported; one that hands names on is not.
- What an installed distribution owns is not followed: its version counts. The standard library does not.
- What is found by name at run time (entry points, importlib) is not reached.

Files are compared as syntax trees without docstrings, so comments and layout do not count. Where a file lies does not
count either: an import is compared by the content of the module that it names. A file that moves without other change
leaves every digest as it was.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

from leakbench.runtime.source_file import Import, SourceFile, read_source

OWN = "leakbench"
ABSENT = "absent"  # the version of a library that is imported in some function, and not installed


@dataclass(frozen=True)
class CodeClosure:
    """The code that a root reaches.

    modules: by name, each with the digest of its own code. imports: digest of all imports between them, each by the
    content of what it names. libraries: versions of the distributions that they import, by name.
    """

    modules: dict[str, str]
    imports: str
    libraries: dict[str, str]

    @property
    def digest(self) -> str:
        """sha256 of all but the modules' names, 40 hex digits."""
        return _hash(sorted(self.modules.values()), self.imports, sorted(self.libraries.items()))


def code_digest(*roots: Any) -> str:
    """Digest of the code that classes, functions or modules can reach, and of the libraries it imports."""
    return code_closure(*roots).digest


@cache
def code_closure(*roots: Any) -> CodeClosure:
    """The closure of classes, functions or modules. Found once a process: what runs is what was imported, whatever
    happens to the files meanwhile."""
    return closure_of_modules([name for root in roots for name in _modules_of(root)])


def _modules_of(root: Any) -> Iterator[str]:
    """The module of a root; of a class, also those of the classes that it inherits from, unless a library owns them."""
    if inspect.ismodule(root):
        yield root.__name__
        return
    yield root.__module__
    for kind in root.__mro__ if inspect.isclass(root) else ():
        top = kind.__module__.partition(".")[0]
        if top == OWN or _owner(top) is None:
            yield kind.__module__


def closure_of_modules(names: Iterable[str]) -> CodeClosure:
    """The closure of modules by name, from their files as they are now."""
    names = list(names)
    walk = _Walk({OWN, *(name.partition(".")[0] for name in names)})
    for name in names:
        walk.reach(name)
    versions = {name: _version(name) for name in sorted(walk.libraries)}
    return CodeClosure(dict(sorted(walk.modules.items())), _hash(sorted(walk.imports)), versions)


class _Walk:
    """Follows imports. `own`: the top-level packages that are followed wherever they are installed."""

    def __init__(self, own: set[str]) -> None:
        self.own = own
        self.modules: dict[str, str] = {}
        self.imports: set[tuple[str, ...]] = set()
        self.libraries: set[str] = set()
        self._files: dict[str, SourceFile | None] = {}

    def reach(self, name: str) -> None:
        """Add a module and all that it reaches."""
        waiting = [name]
        while waiting:
            name = waiting.pop()
            if name in self.modules or (source := self._file(name)) is None:
                continue
            self.modules[name] = source.digest[:16]
            for one in source.imports:
                if not one.reached:
                    continue
                target = self._target(name, source, one)
                self.imports.add((source.digest, str(one.scope), one.bound, one.name, self._content(target)))
                waiting += [target, *self._handed_on(target, one.name), *self._active_parents(target)]

    def _content(self, module: str) -> str:
        source = self._file(module)
        return module if source is None else source.digest

    def _target(self, importer: str, source: SourceFile, one: Import) -> str:
        """The module that an import leads to."""
        return self._defining(_absolute(importer, source, one), one.name)

    def _defining(self, module: str, name: str) -> str:
        """The module that defines what `from module import name` gives: packages may hand it on."""
        source = self._file(module)
        if not name or name == "*" or (source is not None and not source.package):
            return module
        if source is not None:
            if name in source.defined:
                return module
            for one in source.imports:
                if one.bound == name and one.scope == 0 and _absolute(module, source, one) != module:
                    return self._target(module, source, one)
        return f"{module}.{name}" if self._file(f"{module}.{name}") is not None else module

    def _handed_on(self, module: str, name: str) -> list[str]:
        """Origin of a name that a module imports only to hand it on."""
        source = self._file(module)
        if source is None or source.package or name in source.defined:
            return []
        return [self._target(module, source, one) for one in source.imports if one.bound == name and not one.reached]

    def _active_parents(self, module: str) -> list[str]:
        """Packages above a module whose `__init__.py` does something."""
        parts = module.split(".")
        above = [".".join(parts[:length]) for length in range(1, len(parts))]
        return [name for name in above if (source := self._file(name)) is not None and source.active]

    def _file(self, name: str) -> SourceFile | None:
        """The file of a module that is followed; None for others, of which the library is noted."""
        if name not in self._files:
            self._files[name] = self._read(name)
        return self._files[name]

    def _read(self, name: str) -> SourceFile | None:
        top = name.partition(".")[0]
        if top not in self.own and (owner := _owner(top)) is not None:
            self.libraries |= {owner} - {""}
            return None
        path = _path(name)
        return None if path is None else read_source(path)


def _absolute(importer: str, source: SourceFile, one: Import) -> str:
    """The full name of the module in an import statement."""
    if not one.level:
        return one.module
    parts = importer.split(".") if source.package else importer.split(".")[:-1]
    above = parts[: len(parts) - one.level + 1]
    return ".".join([*above, *filter(None, [one.module])])


@cache
def _owner(top: str) -> str | None:
    """The distribution that owns a top-level package; "" for the standard library, None for files of nobody's."""
    if top in sys.stdlib_module_names:
        return ""
    path = _path(top)
    if path is not None and not {"site-packages", "dist-packages"} & set(path.parts):
        return None
    return "/".join(sorted(set(_distributions().get(top, [top]))))


@cache
def _distributions() -> dict[str, list[str]]:
    return {name: list(owners) for name, owners in packages_distributions().items()}


@cache
def _version(names: str) -> str:
    """The versions of one distribution, or of several that own one package."""
    found = []
    for name in names.split("/"):
        try:
            found.append(version(name))
        except PackageNotFoundError:
            found.append(ABSENT)
    return "/".join(found)


def _path(name: str) -> Path | None:
    """The Python file of a module, which is not imported for that; None where it has none."""
    spec = _spec(name)
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _spec(name: str) -> ModuleSpec | None:
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    if loaded is not None:
        return loaded  # type: ignore[no-any-return]
    parent, folders = name.rpartition(".")[0], None
    if parent:
        above = _spec(parent)
        if above is None or above.submodule_search_locations is None:
            return None
        folders = above.submodule_search_locations
    for finder in sys.meta_path:
        if (spec := finder.find_spec(name, folders)) is not None:
            return spec
    return None


def _hash(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:40]
