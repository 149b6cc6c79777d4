"""Removal of artefacts from the cache, and of records that runs have set aside, by age and size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from leakbench.results.run_folder import open_run
from leakbench.runner.run_lock import LOCK
from leakbench.runner.up_to_date import SUPERSEDED
from leakbench.runtime.cache.contents import CacheItem, find_foreign, list_items
from leakbench.runtime.cache.in_use import find_oldest_run, remove_stale_marks
from leakbench.runtime.cache.locks import held_if_free
from leakbench.runtime.cache.removal import remove_folder
from leakbench.runtime.cache.use import forget_use


@dataclass(frozen=True)
class CleanPlan:
    """What lies there, what of it is to go, and what of that stays all the same, with the reason in words."""

    root: Path
    items: tuple[CacheItem, ...]
    chosen: tuple[CacheItem, ...]
    spared: dict[Path, str]

    @property
    def bytes(self) -> int:
        """Bytes of what is to go."""
        return sum(item.bytes for item in self.chosen)


def plan_clean(
    root: Path, runs: Sequence[Path], now: float, older_than: float | None = None, keep: int | None = None
) -> CleanPlan:
    """Choose what to remove; nothing is removed yet.

    - root: the cache folder. runs: folders of runs, of which what lies in superseded/ counts as one item each.
    - now: seconds since 1970. older_than: seconds; what was not used for longer goes.
    - keep: bytes; of the rest, what was not used for longest goes until no more than this is left.

    What a killed process left goes in any case; what a process works on, or a run has used since it began, stays.
    Raises UsageError for what is no run.
    """
    items = [*list_items(root), *(item for run in runs if (item := find_superseded(run)))]
    chosen = [one for one in items if one.is_left_over or (older_than is not None and now - one.used > older_than)]
    left = sorted((one for one in items if one not in chosen), key=lambda one: (one.used, one.path))
    size = sum(one.bytes for one in left)
    for one in left if keep is not None else ():
        if size <= (keep or 0):
            break
        chosen.append(one)
        size -= one.bytes
    began = find_oldest_run(root)
    spared = {one.path: reason for one in chosen if (reason := _reason_to_spare(one, began))}
    return CleanPlan(root, tuple(items), tuple(one for one in chosen if one.path not in spared), spared)


def execute_clean(plan: CleanPlan) -> tuple[list[CacheItem], dict[Path, str]]:
    """Remove what was chosen. Returns what is gone, and what a process took up in the meantime, with the reason."""
    gone, spared = list[CacheItem](), dict[Path, str]()
    for item in plan.chosen:
        with ExitStack() as locks:
            # Held until it is gone: nobody begins to make it anew meanwhile.
            free = all([locks.enter_context(held_if_free(path)) for path in item.locks if path.exists()])
            if not free or (reason := _reason_to_spare(item, find_oldest_run(plan.root), locked=True)):
                spared[item.path] = "another process works on it" if not free else str(reason)
                continue
            _remove(item)
        gone.append(item)
    remove_stale_marks(plan.root)
    return gone, spared


def find_superseded(run: Path) -> CacheItem | None:
    """The records and arrays that a run has set aside, and its older plan. None if there are none. Raises UsageError
    for what is no run."""
    open_run(run)
    folder = run / SUPERSEDED
    found = [*folder.glob("records/*.json"), *folder.glob("arrays/*.npz"), *folder.glob("plan.json")]
    files = tuple(sorted(path for path in found if path.is_file() and not path.is_symlink()))
    if not files:
        return None
    about = [path.stat() for path in files]
    size, newest = sum(one.st_size for one in about), max(one.st_mtime for one in about)
    return CacheItem(SUPERSEDED, folder, size, newest, (run / LOCK,), files)


def _reason_to_spare(item: CacheItem, began: float | None, locked: bool = False) -> str | None:
    if not locked and any(_is_held(path) for path in item.locks):
        return "another process works on it"
    if began is not None and item.used >= began and item.kind != SUPERSEDED:
        return "a run that is at work has used it"
    if foreign := find_foreign(item):
        return f"holds {foreign!r}, which leakbench did not write"
    return None


def _is_held(path: Path) -> bool:
    if not path.exists():  # nobody has ever locked it, and a question makes no file
        return False
    with held_if_free(path) as free:
        return not free


def _remove(item: CacheItem) -> None:
    if item.files is None:
        remove_folder(item.path)
        forget_use(item.path)
        return
    for path in item.files:
        path.unlink(missing_ok=True)
    for folder in (*_parents(item.files), item.path):
        with suppress(OSError):  # something else lies there
            folder.rmdir()


def _parents(files: Iterable[Path]) -> list[Path]:
    return sorted({path.parent for path in files}, reverse=True)
