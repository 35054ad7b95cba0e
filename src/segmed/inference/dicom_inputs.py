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
from segmed.data.names import composed, is_passed_over
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

Fault = tuple[Path, str]
"""A folder or file that cannot be used, with the reason."""


@dataclass(frozen=True)
class DicomVolumes:
    """Volumes in folders of DICOM files, and folders that hold no image to predict: localisers, masks, reports.

    `faults` are folders in which no file can be read though they are named like DICOM, each with the reason.
    """

    volumes: tuple[VolumeFiles, ...] = ()
    left_out: tuple[Path, ...] = ()
    faults: tuple[Fault, ...] = ()

    def __add__(self, other: "DicomVolumes") -> "DicomVolumes":
        """Both together."""
        left_out, faults = self.left_out + other.left_out, self.faults + other.faults
        return DicomVolumes(self.volumes + other.volumes, left_out, faults)


@dataclass(frozen=True)
class _Places:
    """What holds DICOM files at or below `root`: folders, each with one of those files, and DICOMDIRs of media."""

    root: Path
    folders: Mapping[Path, Path]
    media: tuple[Path, ...]


def find_dicom(path: Path, series: str | None = None, results: Path | None = None) -> DicomVolumes:
    """The volumes below a folder, on a medium (with a DICOMDIR), or in a file.

    A folder that holds a DICOM file is a volume together with the folders in it, and is named by its path; one header
    of it is read, and whether it has one series is seen when it is read. Of a medium each series is a volume.

    Args:
        path: A folder, a DICOMDIR, or a file.
        series: Which series of each folder, or of each patient of a medium, by its number or the name of a file;
            several with commas between are the sequences of a volume, in this order, also by descriptions. Without it
            `series.json` in the folder says so.
        results: A folder in it that is left out.

    Raises:
        DataError: There is DICOM, but nothing of it can be predicted.
    """
    if path.is_file() and path.name != DICOMDIR_NAME:
        name = path.name if path.suffix[1:].isdecimal() else path.stem  # a file may be named by its UID, 1.2.840.55
        return DicomVolumes((VolumeFiles(composed(name), (path,), series=series),))
    places = _places(path, results)
    if wanted := _wanted(places.root, series):
        found = _of_studies(places.root, [*places.folders, *places.media], wanted)
    else:
        found = _of_folders(places, series) + _of_media(places, series)
    if found.volumes or not (places.folders or places.media):
        return found
    if found.faults:
        raise DataError(found.faults[0][1])
    where = f"its {DICOMDIR_NAME} names" if places.media else "its folders hold"
    raise DataError(f"{places.root}: {where} no series of images to predict. Check that it is the right place.")


def _places(path: Path, results: Path | None) -> _Places:
    root, found = (path.parent, [(path.parent, path)]) if path.is_file() else (path, list(_folders(path, results)))
    media = tuple(first for _, first in found if first.name == DICOMDIR_NAME)
    return _Places(root, {folder: first for folder, first in found if first not in media}, media)


def _wanted(path: Path, series: str | None) -> tuple[str, ...]:
    """The series of several sequences, where they are told."""
    if series is None:
        return read_wanted(path)
    return require_wanted(series.split(","), f"--series {series}") if "," in series else ()


def _of_folders(places: _Places, series: str | None) -> DicomVolumes:
    """A volume for each folder that has images."""
    if not places.folders:
        return DicomVolumes()
    left_out = [folder for folder, first in places.folders.items() if not _holds_images(folder, first)]
    if len(left_out) == len(places.folders) and not places.media:
        left_out = []  # reading says of each what it is
    kept = [folder for folder in places.folders if folder not in left_out]
    volumes = tuple(VolumeFiles(_name(places.root, each), (each,), series=series) for each in kept)
    return DicomVolumes(volumes, tuple(left_out), tuple(_lost(places.root, places.folders)))


def _of_media(places: _Places, series: str | None) -> DicomVolumes:
    """A volume for each series of the media, or for the one that is wanted of each patient."""
    if series is not None:
        return _of_studies(places.root, places.media, (series,))
    found, faults = _read(places.media)
    alone = [(each,) for each in found if not each.localiser]
    return DicomVolumes(_volumes(places.root, {each: each for each in alone}, found), faults=tuple(faults))


def _of_studies(root: Path, places: Sequence[Path], wanted: Sequence[str]) -> DicomVolumes:
    """A volume for the wanted series of each patient in one frame of reference; where one is missing is a fault.

    Raises:
        DataError: No study has any of them.
    """
    found, faults = _read(places)
    studies = studies_of(found)
    having = [study for study in studies if any(series_called(study, text) for text in wanted)]
    if studies and not having and not faults:
        raise DataError(f"{root}: no series {' or '.join(map(repr, wanted))}; there are {_listed(studies)}.")
    chosen: dict[tuple[Series, ...], tuple[Series, ...] | None] = dict.fromkeys(studies)
    for study in having:
        try:
            chosen[study] = choose_sequences(study, wanted, str(_home(study)))
        except DataError as error:
            faults.append((_home(study), str(error)))
    left_out = tuple(_home(study) for study in studies if study not in having)
    return DicomVolumes(_volumes(root, chosen, found), left_out, tuple(faults))


def _read(places: Sequence[Path]) -> tuple[list[Series], list[Fault]]:
    """The series in folders and on media, and those of which nothing can be read."""
    found, faults = list[Series](), list[Fault]()
    for place in places:
        try:
            found += find_series(place).series
        except DataError as error:
            faults.append((place, str(error)))
    return found, faults


def _volumes(
    root: Path, chosen: Mapping[tuple[Series, ...], tuple[Series, ...] | None], found: Sequence[Series]
) -> tuple[VolumeFiles, ...]:
    """A volume for what was chosen of each study, named by its folder, and by a number where studies share one."""
    volumes = list[VolumeFiles]()
    often = Counter(_home(study) for study in chosen)
    for study, sequences in chosen.items():
        if sequences is None:
            continue
        home, number = _home(study), sequences[0].number
        names = [telling_name(each, found) or str(each.number) for each in sequences]
        name = f"{_name(root, home)}/{number}" if often[home] > 1 else _name(root, home)
        name = _unlike(name, number, {each.name for each in volumes})
        images = tuple(folder_of(each) for each in sequences)
        volumes.append(VolumeFiles(name, images, series=names[0], sequences=tuple(names)))
    return tuple(volumes)


def _listed(studies: Sequence[Sequence[Series]], most: int = 8) -> str:
    """Series in words, the first of many."""
    every = [str(each) for study in studies for each in study]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


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


def _folders(folder: Path, results: Path | None) -> Iterator[tuple[Path, Path]]:
    """The topmost folders that hold a DICOM file, each with one of those files; hidden ones and `results` aside."""
    inside = sorted(folder.iterdir(), key=lambda place: natural_key(place.name))
    shown = [place for place in inside if not is_passed_over(place, folder, results)]
    if any(place.name == DICOMDIR_NAME for place in shown):
        yield folder, folder / DICOMDIR_NAME
        return
    first = next((place for place in shown if place.is_file() and is_dicom_path(place)), None)
    if first is not None:
        yield folder, first
        return
    for place in shown:
        if place.is_dir() and not place.is_symlink():
            yield from _folders(place, results)


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
