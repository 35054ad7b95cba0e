"""A list of files with their SHA-256, to tell later, or elsewhere, whether anything changed."""

from collections.abc import Iterator
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.files import sha256_of, write_table
from segmed.core.records import SliceDataset
from segmed.data.listing import Findings
from segmed.data.tables import read_rows
from segmed.io.refusals import unreadable
from segmed.io.volumes import files_read

WHAT = "a list of files with columns file, sha256, written by `segmed data check --write-hashes`"


def write_hashes(path: Path, dataset: SliceDataset) -> None:
    """Write a CSV with the SHA-256 of every file that images and masks are read from, named relative to the root."""
    rows = [(name, _hash(source)) for name, source in _files(dataset)]
    write_table(path, ["file", "sha256"], rows)


def check_hashes(path: Path, dataset: SliceDataset, findings: Findings) -> None:
    """Compare the data set with a list that `write_hashes` made: changed, missing and new files."""
    rows = read_rows(path, what=WHAT)
    if not rows or not {"file", "sha256"} <= rows[0].keys():
        raise DataError(f"{path}: expected {WHAT}. Write it again.")
    expected = {row["file"]: row["sha256"] for row in rows}
    present = dict(_files(dataset))
    for name in sorted(expected.keys() - present.keys()):
        findings.error("hash-missing", name, f"listed in {path.name} but not in the data. Restore it.")
    for name in sorted(present.keys() - expected.keys()):
        findings.error("hash-new", name, f"not listed in {path.name}. Remove it, or write the list again.")
    for name in sorted(expected.keys() & present.keys()):
        if _hash_or_none(present[name]) != expected[name]:
            findings.error("hash-changed", name, f"its content is not what {path.name} says. Restore it.")


def _files(dataset: SliceDataset) -> Iterator[tuple[str, Path]]:
    places = dict.fromkeys((path, record.source is not None) for record in dataset.records for path in record.files)
    for path in dict.fromkeys(path for place, is_volume in places for path in _files_of(place, is_volume=is_volume)):
        inside = path.is_relative_to(dataset.root)
        yield (path.relative_to(dataset.root) if inside else path).as_posix(), path


def _files_of(place: Path, *, is_volume: bool) -> tuple[Path, ...]:
    """The files that an image or mask is read from; itself alone where a damaged header does not tell."""
    try:
        return files_read(place) if is_volume else (place,)
    except DataError:
        return (place,)


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise unreadable(path, error) from error


def _hash_or_none(path: Path) -> str | None:
    try:
        return sha256_of(path)
    except OSError:
        return None  # reported as unreadable already; here it only differs
