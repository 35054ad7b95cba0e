"""Write files so that nobody ever sees half of one."""

import csv
import hashlib
import io
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from segmed.core.errors import ConfigError, DataError


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place when the block ends well, else remove it.

    Raises `DataError` when the folder cannot be written or the disk is full; `path` is then as it was before.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path}: cannot be written ({reason}). Free some space or choose another folder.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def require_folder(path: Path) -> None:
    """Raise `ConfigError` where `path` cannot be a folder, since it or what it would lie in is a file."""
    for place in (path, *path.parents):
        if place.exists():
            if not place.is_dir():
                raise ConfigError(f"{place}: is a file, where a folder is to be written. Choose another name.")
            return


@contextmanager
def held(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether this process alone works on a folder, by a lock file beside it; the system lets go of that however the
    process ends. With `wait` it is always true: others' work is waited for.

    Raises `DataError` where the lock file cannot be written.
    """
    place = folder.resolve()  # also of ".", which has no name of its own
    lock = FileLock(place.with_name(f"{place.name}.lock"), blocking=wait)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        yield False
        return
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{folder}: cannot be written ({reason}). Choose another folder.") from error
    try:
        yield True
    finally:
        lock.release()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinity are refused: JSON has none; write null."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with written_aside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV, atomically; see `table_text`."""
    text = table_text(header, rows)
    with written_aside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def table_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV: numbers with every digit, yes and no as 1 and 0, nothing for NaN and None."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return int(value)
    return "" if isinstance(value, float) and math.isnan(value) else value


def read_json(path: Path, *, what: str) -> Any:
    """Read a JSON file, or raise `DataError` that names `what` was expected there."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot read {what} ({error.strerror}). Check the path.") from error
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON, expected {what} ({error}). Make the file again.") from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
