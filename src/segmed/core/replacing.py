"""Replace the files that a folder holds as a whole, so that no kill leaves some of the old beside some of the new."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.files import TEMPORARY, locked, not_written, refuse_links, remove_leftovers

LOCK = ".lock"


@contextmanager
def replaced(folder: Path, *, marker: str, listed: Callable[[Path], Iterable[Path]]) -> Iterator[Path]:
    """Yield an empty folder to write to; when the block ends well, its files take the place of those in `folder`.

    Until then `folder` is as it was. Then the marker goes first and comes last, and only renames lie between, so that a
    folder with a marker is whole. What others keep in the folder stays. Processes that replace the same wait for each
    other, and remove what killed ones left.

    Args:
        folder: What to replace; it need not exist.
        marker: Name of the file that makes the folder complete, which the block has to write.
        listed: The files of ours that lie in a folder now: those that are not written again are removed.

    Raises:
        DataError: The folder cannot be written, or symbolic links lie in it; nothing is changed then.
    """
    refuse_links(folder, itself=True)
    with locked(folder / LOCK, of=folder, wait=True):
        try:
            if (folder / marker).is_file() or not is_own(folder, marker):  # else they tell that the folder is ours
                remove_leftovers(folder)
            fresh = Path(tempfile.mkdtemp(dir=folder, prefix=TEMPORARY))
        except OSError as error:
            raise not_written(folder, error) from error
        begun = False
        try:
            yield fresh
            moves = _moves(fresh, folder)
            begun = True
            _move(moves, folder, marker, set(listed(folder)))
            remove_leftovers(folder)
        except OSError as error:
            raise not_written(folder, error) from error
        finally:
            if not begun or (folder / marker).is_file():  # else it tells that what lies there is ours, see `is_own`
                shutil.rmtree(fresh, ignore_errors=True)
            with suppress(OSError):
                (folder / LOCK).unlink()


def is_own(folder: Path, marker: str) -> bool:
    """Whether a folder holds what `replaced` wrote: its marker, or what is left of a move that ended halfway."""
    return (folder / marker).is_file() or any(folder.glob(f"{TEMPORARY}*/{marker}"))


def _moves(fresh: Path, folder: Path) -> dict[Path, Path]:
    """The files of `fresh` by their places in `folder`; raises `DataError` where a folder is in the way."""
    moves = {
        folder / path.relative_to(fresh): path
        for path in (Path(root, name) for root, _, names in os.walk(fresh) for name in names)
    }
    for target in moves:
        if target.is_dir():
            raise DataError(f"{target}: is a folder, where a file is to be written. Choose another folder.")
    return moves


def _move(moves: dict[Path, Path], folder: Path, marker: str, ours: set[Path]) -> None:
    """Put files in their places in `folder`, and remove those of `ours` that are not among them."""
    last = moves.pop(folder / marker)
    (folder / marker).unlink(missing_ok=True)
    for stale in ours - moves.keys() - {folder / marker}:
        _remove(stale, folder)
    for target, path in moves.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    last.replace(folder / marker)


def _remove(path: Path, folder: Path) -> None:
    """Remove a file, and the folders that it leaves empty."""
    path.unlink(missing_ok=True)
    for parent in path.parents:
        if parent == folder:
            return
        try:
            parent.rmdir()
        except OSError:
            return
