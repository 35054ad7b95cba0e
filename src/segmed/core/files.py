"""Write files so that nobody ever sees half of one."""

import errno
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from segmed.core.errors import ConfigError, DataError
from segmed.core.escaping import for_csv

TEMPORARY = ".segmed-part-"
"""How the names of temporary files and folders begin: what a killed process left is known by it."""
ABANDONED = 3600.0
"""Seconds after which a temporary file is of a killed process, where no lock tells."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where there is no room for a file."""
_REMEDIES = {
    **dict.fromkeys(FULL, "Free some space or choose another folder."),
    errno.ENAMETOOLONG: "Give it a shorter name.",
}
_cleared: set[Path] = set()


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place when the block ends well, else remove it.

    A symbolic link at `path` is replaced, not followed. What killed processes left in the folder is removed, once.

    Raises `DataError` when the folder cannot be written or the disk is full; `path` is then as it was before.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent not in _cleared:
            _cleared.add(path.parent)
            remove_leftovers(path.parent, older_than=ABANDONED)
        suffix = path.suffix if len(path.suffix) <= 16 else ""
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY, suffix=suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("r+b") as file:  # Windows syncs what can be written alone
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def not_written(path: Path, error: OSError) -> DataError:
    """The error of a file or folder that the system did not let us write, with what to do."""
    reason = error.strerror or str(error)
    return DataError(
        f"{path}: cannot be written ({reason}). {_REMEDIES.get(number_of(error), 'Choose another folder.')}"
    )


def number_of(error: OSError) -> int:
    """The system's number of an error, which safetensors says in words; 0 where there is none."""
    told = re.search(r"\(os error (\d+)\)", str(error))
    return error.errno or (int(told[1]) if told else 0)


def remove_leftovers(folder: Path, *, older_than: float = 0.0) -> None:
    """Remove temporary files and folders that killed processes left in `folder`; whoever holds its lock needs no age.

    Args:
        folder: Where to look; not in folders below it.
        older_than: Seconds since the last change.
    """
    with suppress(OSError):
        for entry in [each for each in os.scandir(folder) if each.name.startswith(TEMPORARY)]:
            with suppress(OSError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime < older_than:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    Path(entry.path).unlink()


def refuse_links(folder: Path, *, itself: bool = False) -> None:
    """Raise `DataError` where a symbolic link lies in a folder that is to be written or cleared.

    A folder from a stranger may hold links to folders of the user, in which files would be replaced or removed.
    Hidden folders are not looked into: nothing is written there.

    Args:
        folder: The folder; it need not exist.
        itself: Also refuse where `folder` is a link. The folders above it are the user's own.
    """
    if itself and folder.is_symlink():
        raise _linked(folder)
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (*folders, *files):
            if (path := Path(root, name)).is_symlink():
                raise _linked(path)


def refuse_links_on_the_way(folder: Path, path: Path) -> None:
    """Raise `DataError` where `path` is a symbolic link, or a folder between it and `folder`, which is above it."""
    for place in (path, *path.parents):
        if place == folder:
            return
        if place.is_symlink():
            raise _linked(place)


def _linked(path: Path) -> DataError:
    return DataError(
        f"{path}: is a symbolic link, and nothing is written or removed through one. Put what it leads to in its "
        "place, or choose another folder."
    )


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's bytes, atomically: a link at `target` is replaced, not followed.

    Raises:
        DataError: `source` cannot be read, or `target` cannot be written.
    """
    try:
        stored = source.open("rb")
    except OSError as error:
        raise DataError(
            f"{source}: cannot be read ({error.strerror or error}). Check that it exists and that you may read it."
        ) from error
    with stored, written_aside(target) as temporary, temporary.open("wb") as copy:
        shutil.copyfileobj(stored, copy)


def require_new(*files: Path, overwrite: bool = False) -> None:
    """Raise `DataError` where files that a command is to write would replace what is there.

    Args:
        files: What is to be written.
        overwrite: Files may be replaced; folders and symbolic links never.
    """
    for path in files:
        if path.is_symlink():
            raise _linked(path)
        if path.is_dir():
            raise DataError(f"{path}: is a folder, where a file is to be written. Choose another name.")
        if os.path.lexists(path) and not overwrite:
            raise DataError(f"{path}: exists already. Choose another name, or say --overwrite to replace it.")


def require_folder(path: Path) -> None:
    """Raise `ConfigError` where `path` cannot be a folder, since it or what it would lie in is a file."""
    for place in (path, *path.parents):
        if place.exists():
            if not place.is_dir():
                raise ConfigError(f"{place}: is a file, where a folder is to be written. Choose another name.")
            return


def holds_files(folder: Path) -> bool:
    """Whether `folder` is there and holds anything; hidden files, which systems leave in any folder, do not count."""
    return folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())


def require_own_folder(folder: Path, *, marker: str, made: str) -> None:
    """Raise `ConfigError` where what is to be made in `folder` would lie among files of something else.

    Args:
        folder: Where it is to be written; free are a folder that is not there, an empty one, and one of its own.
        marker: Name of the file that tells that a folder is one of its own.
        made: What is to be made, as in "an ensemble".

    Example:
        require_own_folder(tmp_path / "new", marker="ensemble.json", made="an ensemble")
    """
    if holds_files(folder) and not (folder / marker).is_file():
        raise ConfigError(f"{folder}: already holds files, and not {made}. Choose another folder.")


@contextmanager
def emptied_on_failure(folder: Path) -> Iterator[None]:
    """Remove what the block has left in a folder that held nothing before, where it fails or is stopped.

    So that the same command can be given again. A folder that held files before stays as the block left it.
    """
    was_there, was_empty = folder.is_dir(), not holds_files(folder)
    try:
        yield
    except BaseException:
        if was_empty:
            for each in folder.iterdir() if folder.is_dir() else ():
                shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink(missing_ok=True)
            if not was_there:
                with suppress(OSError):
                    folder.rmdir()
        raise


@contextmanager
def exclusive_lock(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether this process alone works on a folder, by a lock file beside it; see `locked`."""
    place = folder.resolve()  # also of ".", which has no name of its own
    with locked(place.with_name(f"{place.name}.lock"), of=folder, wait=wait) as alone:
        yield alone


@contextmanager
def locked(file: Path, *, of: Path, wait: bool = False) -> Iterator[bool]:
    """Whether this process alone has a lock file; the system lets go of it however the process ends.

    Args:
        file: The lock file.
        of: What is locked, for errors.
        wait: Wait for others, so that it is always true.

    Raises:
        DataError: The lock file cannot be written, or is a symbolic link.
    """
    if file.is_symlink():
        raise DataError(f"{file}: is a symbolic link in place of a lock. Remove it.")
    lock = FileLock(file, blocking=wait)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        yield False
        return
    except OSError as error:
        raise not_written(of, error) from error
    try:
        yield True
    finally:
        lock.release()


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically. What UTF-8 has no place for, of names that are not, becomes `\\udc..`."""
    with written_aside(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinity are refused: JSON has none; write null."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV, atomically; see `table_text`."""
    write_text(path, table_text(header, rows))


def table_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV: numbers with every digit, yes and no as 1 and 0, nothing for NaN and None.

    Text that a spreadsheet would take for a formula is set apart, see `core.escaping.for_csv`.
    """
    return "".join(f"{_line(row)}\n" for row in (header, *rows))


def _line(row: Sequence[object]) -> str:
    """A row as CSV. Python's own writer leaves a carriage return bare, at which readers end the row."""
    fields = [_cell(value) for value in row]
    return ",".join(fields) if fields != [""] else '""'


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = for_csv(value) if isinstance(value, str) else str(value)
    return '"' + text.replace('"', '""') + '"' if any(letter in text for letter in ',"\r\n') else text


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
