"""Python files as a cache key sees them: without docstrings, comments and layout, imports apart from the rest."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, order=True)
class Import:
    """One imported name. `import a.b as c` has no `name`; `scope` numbers the function or class that it stands in."""

    scope: int
    bound: str  # the name it is given here
    module: str
    name: str = ""  # what of the module; "*" for all
    level: int = 0  # dots before a relative import
    reached: bool = True  # False: for type checkers alone


@dataclass(frozen=True)
class SourceFile:
    """A parsed file."""

    imports: tuple[Import, ...]
    defined: frozenset[str]  # names that the top level binds otherwise than by an import
    active: bool  # whether importing it does more than to define names
    package: bool  # whether it is an __init__.py
    digest: str  # of its code, and of the names that it imports but not of the modules that they come from


def read_source(path: Path) -> SourceFile:
    """The file as it is now; parsed again only once it has changed."""
    stat = path.stat()
    return _unchanged(path, stat.st_mtime_ns, stat.st_size)


@cache
def _unchanged(path: Path, _changed: int, _size: int) -> SourceFile:
    return parse_source(path.read_bytes(), path.name == "__init__.py")


def parse_source(text: bytes, package: bool = False) -> SourceFile:
    """Parse the text of a file."""
    tree = ast.parse(text)
    defined, active = _top_level(tree)
    hidden = set() if package else _for_annotations_alone(tree)
    stripper = _Stripper(hidden)
    stripped = stripper.visit(tree)
    imports = tuple(sorted(stripper.imports))
    code = (ast.dump(stripped), [(one.scope, one.bound, one.name) for one in imports if one.reached])
    return SourceFile(imports, frozenset(defined), active, package, hashlib.sha256(repr(code).encode()).hexdigest())


def _top_level(tree: ast.Module) -> tuple[set[str], bool]:
    """Names that the top level defines, and whether it does more than to define and to import."""
    defined: set[str] = set()
    active = False
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            active = active or not all(isinstance(target, ast.Name) for target in targets)
            defined |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif not (isinstance(node, ast.Import | ast.ImportFrom) or _is_docstring(node) or _is_type_checking(node)):
            active = True
    return defined, active


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_type_checking(node: ast.AST) -> bool:
    if not isinstance(node, ast.If):
        return False
    test = node.test
    return "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))


def _for_annotations_alone(tree: ast.Module) -> set[str]:
    """Imported names that only annotate functions or fields of dataclasses. Where `from __future__ import annotations`
    stands such annotations are never evaluated; those of other classes may be (pydantic)."""
    lazy = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)
    if not lazy:
        return set()
    bound = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    return bound - set(_used(tree, False))


def _used(node: ast.AST, unevaluated: bool) -> Iterator[str]:
    """Names that are read at run time, and all strings, which may name something (`__all__`). `unevaluated`: whether
    annotations of variables are not evaluated where the node stands."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    skipped = isinstance(node, ast.arg) or (unevaluated and isinstance(node, ast.AnnAssign))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        unevaluated = True
    elif isinstance(node, ast.ClassDef):
        unevaluated = any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    for field, value in ast.iter_fields(node):
        if field == "returns" or (field == "annotation" and skipped):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _used(child, unevaluated)


class _Stripper(ast.NodeTransformer):
    """Takes docstrings and imports out of a tree, and collects the imports."""

    def __init__(self, hidden: set[str]) -> None:
        self.hidden, self.imports = hidden, list[Import]()
        self.scope, self.scopes, self.reached = 0, 0, True

    def visit_Import(self, node: ast.Import) -> None:
        """`import a.b as c`."""
        for one in node.names:
            self._add(one.asname or one.name.partition(".")[0], one.name, "", 0)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """`from a.b import c as d`."""
        for one in node.names if node.module != "__future__" else ():
            self._add(one.asname or one.name, node.module or "", one.name, node.level)

    def _add(self, bound: str, module: str, name: str, level: int) -> None:
        reached = self.reached and bound not in self.hidden
        self.imports.append(Import(self.scope, bound, module, name, level, reached))

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        """Leave out what stands under `if TYPE_CHECKING`; keep its `else`."""
        if not _is_type_checking(node):
            return self.generic_visit(node)
        before, self.reached = self.reached, False
        for statement in node.body:
            self.visit(statement)
        self.reached = before
        return [made for statement in node.orelse if (made := self.visit(statement)) is not None]

    def visit_Module(self, node: ast.Module) -> ast.AST:
        """The whole file."""
        return self._scope(node, 0)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """A class."""
        return self._scope(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """A function."""
        return self._scope(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        """A coroutine."""
        return self._scope(node)

    def _scope(self, node: ast.AST, number: int | None = None) -> ast.AST:
        if _is_docstring(node.body[0]) if node.body else False:  # type: ignore[attr-defined]
            del node.body[0]  # type: ignore[attr-defined]
        before = self.scope
        if number is None:
            self.scopes += 1
            self.scope = self.scopes
        self.generic_visit(node)
        self.scope = before
        return node
