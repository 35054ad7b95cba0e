"""DICOM series that are to be predicted: in one folder, or a folder each, as scanners and archives export them."""

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.records import VolumeFiles
from segmed.data.listing import natural_key
from segmed.data.names import composed
from segmed.io.converting import is_dicom_path
from segmed.io.dicom.headers import DICOMDIR_NAME, NO_DICOM, dicom_among, files_of
from segmed.io.dicom.sequences import (
    choose_sequences,
    folder_of,
    read_wanted,
    require_wanted,
    series_called,
    studies_of,
    telling_name,
)
from segmed.io.dicom.series import Series, find_series


@dataclass(frozen=True)
class DicomVolumes:
    """Volumes in folders of DICOM files, and folders that hold no image to predict: localisers, masks, reports.

    `faults` are folders in which no file can be read though they are named like DICOM, each with the reason.
    """

    volumes: tuple[VolumeFiles, ...]
    left_out: tuple[Path, ...]
    faults: tuple[tuple[Path, str], ...] = ()


def find_dicom(path: Path, series: str | None = None) -> DicomVolumes:
    """The volumes below a folder, on a medium (with a DICOMDIR), or in a file.

    A folder that holds a DICOM file is a volume together with the folders in it, and is named by its path; one header
    of it is read, and whether it has one series is seen when it is read. Of a medium each series is a volume.

    Args:
        path: A folder, a DICOMDIR, or a file.
        series: Which series of each folder, or of each patient of a medium, by its number or the name of a file;
            several with commas between are the sequences of a volume, in this order, also by descriptions. Without it
            `series.json` in the folder says so.
    """
    if path.is_file() and path.name != DICOMDIR_NAME:
        return DicomVolumes((VolumeFiles(composed(path.stem), (path,), series=series),), ())
    root, places = (path.parent, [(path.parent, path)]) if path.is_file() else (path, list(_folders(path)))
    media = [first for _, first in places if first.name == DICOMDIR_NAME]
    folders = {folder: first for folder, first in places if first not in media}
    if wanted := _wanted(root, series):
        return _of_series(root, [*folders, *media], wanted)
    on_media = DicomVolumes((), ())
    if media:
        on_media = _of_series(root, media, () if series is None else (series,), others=bool(folders))
    if media and not folders and not on_media.volumes:
        raise DataError(f"{root}: its {DICOMDIR_NAME} names no series of images. Check that it is the right medium.")
    left_out = [folder for folder, first in folders.items() if not _holds_images(folder, first)]
    if len(left_out) == len(folders) and not media:
        left_out = []  # reading says of each what it is
    volumes = [VolumeFiles(_name(root, each), (each,), series=series) for each in folders if each not in left_out]
    faults = tuple(_lost(root, folders)) if folders else ()
    return DicomVolumes((*volumes, *on_media.volumes), (*left_out, *on_media.left_out), (*faults, *on_media.faults))


def _wanted(path: Path, series: str | None) -> tuple[str, ...]:
    """The series of several sequences, where they are told."""
    if series is None:
        return read_wanted(path)
    return require_wanted(series.split(","), f"--series {series}") if "," in series else ()


def _of_series(root: Path, places: Sequence[Path], wanted: tuple[str, ...], *, others: bool = False) -> DicomVolumes:
    """A volume for all series of one patient in one frame of reference; one that lacks a sequence is a fault.

    Where no sequences are wanted, it is one for each series. Faults alone are an error, unless there are `others` to
    predict.
    """
    found, faults = list[Series](), list[tuple[Path, str]]()
    for place in places:
        try:
            found += find_series(place).series
        except DataError as error:
            faults.append((place, str(error)))
    studies = studies_of(found) if wanted else [(each,) for each in found if not each.localiser]
    volumes, left_out = list[VolumeFiles](), list[Path]()
    often = Counter(_home(study) for study in studies)
    for study in studies:
        home = _home(study)
        if wanted and not any(series_called(study, text) for text in wanted) and len(found) > len(study):
            left_out.append(home)
            continue
        try:
            chosen = choose_sequences(study, wanted, str(home)) if wanted else study
        except DataError as error:
            faults.append((home, str(error)))
            continue
        names = [telling_name(each, found) or str(each.number) for each in chosen]
        images = tuple(folder_of(each) for each in chosen)
        name = f"{_name(root, home)}/{chosen[0].number}" if often[home] > 1 else _name(root, home)
        name = _unlike(name, chosen[0].number, {each.name for each in volumes})
        volumes.append(VolumeFiles(name, images, series=names[0], sequences=tuple(names)))
    if not volumes and faults and not others:
        raise DataError(faults[0][1])
    return DicomVolumes(tuple(volumes), tuple(left_out), tuple(faults))


def _home(study: Sequence[Series]) -> Path:
    return Path(os.path.commonpath([folder_of(each) for each in study]))


def _unlike(name: str, number: object, taken: Set[str]) -> str:
    """A name that no other volume has: several time points of a folder may have series of equal numbers."""
    numbered = (f"{name}/{number}-{count}" for count in itertools.count(2))
    return next(each for each in itertools.chain((name, f"{name}/{number}"), numbered) if each not in taken)


def _lost(path: Path, folders: Mapping[Path, Path]) -> Iterator[tuple[Path, str]]:
    """A damaged file of each folder that has such files and none that can be read."""
    outside = [file for file in files_of(path) if folders and not any(place in folders for place in file.parents)]
    _, lost = dicom_among([*folders.values(), *outside])
    for file in {file.parent: file for file in reversed(lost)}.values():
        yield file, f"{file}: {NO_DICOM}"


def _folders(folder: Path) -> Iterator[tuple[Path, Path]]:
    """The topmost folders that hold a DICOM file, each with one of those files; hidden ones aside."""
    inside = sorted(folder.iterdir(), key=lambda place: natural_key(place.name))
    shown = [place for place in inside if not place.name.startswith(".")]
    if any(place.name == DICOMDIR_NAME for place in shown):
        yield folder, folder / DICOMDIR_NAME
        return
    first = next((place for place in shown if place.is_file() and is_dicom_path(place)), None)
    if first is not None:
        yield folder, first
        return
    for place in shown:
        if place.is_dir() and not place.is_symlink():
            yield from _folders(place)


def _name(root: Path, folder: Path) -> str:
    return composed(root.name if folder == root else folder.relative_to(root).as_posix())


def _holds_images(folder: Path, first: Path) -> bool:
    """Whether a folder has a series that is no localiser; one that cannot be read is kept, for its error to be told."""
    try:
        found = find_series(first)
        if not any(not each.localiser for each in found.series):
            found = find_series(folder)
    except DataError:
        return True
    return any(not each.localiser for each in found.series)
