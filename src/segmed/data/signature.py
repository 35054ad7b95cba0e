"""The state of a data set's files, by which a cache of their pixels is known to be current."""

import hashlib
import json
import stat
from collections.abc import Sequence
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.records import Record, SliceDataset, by_volume
from segmed.data.listing import stated_orders
from segmed.io.dicom.headers import files_of
from segmed.io.volumes import files_read


def signature_of(dataset: SliceDataset, version: int) -> str:
    """What a cache depends on: its format's version, files with sizes and times, their order, and labels."""
    digest = hashlib.sha256(json.dumps([version, dataset.labels.to_json()]).encode())
    for records in by_volume(dataset.records).values():
        for record in records if records[0].source is None else records[:1]:
            digest.update(
                repr((record.slice_id, record.patient, record.slice_index, *_read_from(record, records))).encode()
            )
    if stated_orders(dataset.records):  # caches of earlier versions have a data hash without the order
        digest.update(b"order")
    return digest.hexdigest()


def _read_from(record: Record, records: Sequence[Record]) -> list[object]:
    """The state of the files of a slice; of a volume also how it is cut."""
    if record.source is None:
        states: list[object] = [[_stat(path) for path in record.files]]
        return states if record.of_case is None else [*states, record.of_case]
    files = [[_stat(file) for path in record.files for file in ([path] if path.is_dir() else files_read(path))]]
    sequences = [record.source.sequences] if record.source.sequences else []
    return [*files, record.source.series, *sequences, record.source.plane, len(records)]


def _stat(path: Path) -> object:
    """The place, size and time of a file; of a folder, as DICOM series lie in, those of all its files."""
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Check that the file is there.") from error
    if stat.S_ISDIR(status.st_mode):
        return [_stat(file) for file in files_of(path)]
    return str(path.resolve()), status.st_size, status.st_mtime_ns
