"""The series of a folder, file or DICOMDIR, and one of them as a volume."""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from hashlib import blake2b
from operator import or_
from pathlib import Path, PurePosixPath
from secrets import token_bytes

from segmed.core.errors import DataError
from segmed.core.identity import Identity
from segmed.core.volume import Volume
from segmed.core.wording import plural
from segmed.io.dicom.frames import Frame, frames_of
from segmed.io.dicom.headers import (
    DICOMDIR,
    SEGMENTATIONS,
    STRUCTURE_SET,
    Dataset,
    damaged_dicom,
    dicom_files,
    privately,
    read_header,
    sop_class,
)  # fmt: skip
from segmed.io.dicom.label_names import identity_of
from segmed.io.dicom.pixels import voxels_of
from segmed.io.dicom.stack import Stack, stacked

_KEY = token_bytes(32)


@dataclass(frozen=True, eq=False)
class Series:
    """Images of one series.

    Args:
        folder: Where it was looked for.
        uid: Its SeriesInstanceUID.
        number: Its SeriesNumber; None where there is none.
        modality: Such as CT or MR.
        description: Its SeriesDescription, to be compared and never printed: it may hold a name.
        frame_of_reference: The UID of the frame of its positions; empty where there is none.
        localiser: Whether its images are localisers (scouts).
        patient: A digest that tells patients apart within this process; empty where headers have no PatientID.
        instances: The UIDs of its images.
        files: Its files, in order of their names.
        frames: Its slices, in that order; none where `problem` says why.
        problem: Why its images have no places.
        identity: What its headers say of people, to be compared.
    """

    folder: Path
    uid: str = field(repr=False)
    number: int | None
    modality: str
    description: str = field(repr=False)
    frame_of_reference: str = field(repr=False)
    localiser: bool
    patient: str = field(repr=False)
    instances: frozenset[str] = field(repr=False)
    files: tuple[Path, ...]
    frames: tuple[Frame, ...]
    problem: DataError | None
    identity: Identity = field(repr=False)

    @property
    def name(self) -> str:
        """The folder or file and the series number, for errors."""
        return f"{self.folder}" if self.number is None else f"{self.folder}: series {self.number}"

    def __str__(self) -> str:
        """The series in words: its number, kind, size and first file."""
        number = "without a number" if self.number is None else str(self.number)
        kind = "localiser" if self.localiser else "images without places" if self.problem else self.modality
        return f"{number} ({kind}, {plural(len(self.frames) or len(self.files), 'slice')}, {self.files[0].name})"

    def stack(self) -> Stack:
        """Its slices in order, with their grid; raises `DataError` where they make no volume."""
        if self.problem is not None:
            raise self.problem
        if self.localiser:
            raise DataError(f"{self.name}: localiser images (scouts), which make no volume. Choose another series.")
        return stacked(self.frames, self.name)

    def read(self) -> Volume:
        """Its volume, scaled by slope and intercept."""
        stack = self.stack()
        return Volume(voxels_of(stack.frames, self.folder), stack.grid)


@dataclass(frozen=True, eq=False)
class Found:
    """What lies in a folder: series of images, and files of segmentations and structure sets."""

    series: tuple[Series, ...]
    masks: tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class _Header:
    """What is taken of one image file."""

    path: Path
    series: str
    number: int | None
    modality: str
    description: str = field(repr=False)
    frame_of_reference: str
    localiser: bool
    patient: str
    instance: str
    frames: tuple[Frame, ...]
    problem: DataError | None
    identity: Identity = field(repr=False)


def find_series(path: Path) -> Found:
    """The series in a folder and the folders in it, in a DICOMDIR, or in one file; sorted by number.

    Reports, plans and other objects without pixels are left out.

    Raises:
        DataError: A damaged file, no DICOM at all, or a DICOMDIR that names what is not there.
    """
    files = dicom_files(path) if path.is_dir() else privately(path, lambda: _listed(path))
    if not files:
        raise DataError(f"{path}: no DICOM file in it, expected a series of slices. Check the folder.")
    headers, masks, series = list[_Header](), list[Path](), defaultdict[str, list[_Header]](list)
    for file in files:
        found = privately(file, partial(_header, file))
        if isinstance(found, _Header):
            headers.append(found)
        elif found:
            masks.append(file)
    for header in headers:
        series[header.series].append(header)
    sorted_series = sorted((_series(path, each) for each in series.values()), key=lambda each: each.number or 0)
    return Found(tuple(sorted_series), tuple(masks))


def choose_series(found: Found, path: Path, series: int | str | None) -> Series:
    """One series of what was found.

    Args:
        found: By `find_series`.
        path: Where, for errors.
        series: Its number, or the name of one of its files; None where there is only one that is no localiser.

    Raises:
        DataError: None, or several, which are listed.
    """
    listed = ", ".join(map(str, found.series))
    if series is not None:
        wanted = str(series)
        chosen = [each for each in found.series if str(each.number) == wanted]
        chosen = chosen or [each for each in found.series if wanted in {file.name for file in each.files}]
        if len(chosen) == 1:
            return chosen[0]
        problem = f"{len(chosen)} series {wanted}" if chosen else f"no series {wanted}"
        raise DataError(f"{path}: {problem}; it has {listed or 'none'}. Choose one by its number or a file's name.")
    images = [each for each in found.series if not each.localiser] or list(found.series)
    if len(images) != 1:
        count = plural(len(found.series), "series", "series")
        raise DataError(
            f"{path}: {count} of images, expected one: {listed}. Choose one with `series` (--series), by its number or "
            "a file's name."
            if images
            else f"{path}: no series of images in it. Check the folder."
        )
    if len(found.series) > 1:
        others = ", ".join(str(each) for each in found.series if each is not images[0])
        warnings.warn(f"{path}: localisers are left out: series {others}.", stacklevel=4)
    return images[0]


def dicom_files_of(path: Path) -> tuple[Path, ...]:
    """The file itself, and those that it names where it is a DICOMDIR; raises as `find_series` does."""
    return tuple(dict.fromkeys((path, *privately(path, lambda: _listed(path)))))


def _listed(path: Path) -> list[Path]:
    """The file itself, or the images that a DICOMDIR names: they lie beside it."""
    dataset = read_header(path)
    records = dataset.get("DirectoryRecordSequence")
    if sop_class(dataset) != DICOMDIR and records is None:
        return [path]
    files, missing = list[Path](), list[str]()
    for record in records or ():
        names = record.get("ReferencedFileID")
        if not names:
            continue
        inside = PurePosixPath(*([names] if isinstance(names, str) else names))
        if inside.is_absolute() or ".." in inside.parts:
            raise damaged_dicom(path, "it names files outside of its folder")
        file = path.parent / inside
        (files.append(file) if file.is_file() else missing.append(str(inside)))
    if missing:
        raise DataError(
            f"{path}: names {plural(len(missing), 'file')} that {'is' if len(missing) == 1 else 'are'} not there, such "
            f"as {missing[0]}. Copy the medium again, whole."
        )
    return files


def _header(path: Path) -> _Header | bool:
    """What is taken of an image; True for a segmentation or structure set, False for other objects."""
    dataset = read_header(path)
    kind = sop_class(dataset)
    if kind in (*SEGMENTATIONS, STRUCTURE_SET):
        return True
    if kind == DICOMDIR:
        return False
    if "Rows" not in dataset:
        if _may_be_cut(dataset):
            raise damaged_dicom(path, "no pixels in it")
        return False
    number = dataset.get("SeriesNumber")
    frames, problem = tuple[Frame, ...](), None
    localiser = "LOCALIZER" in (dataset.get("ImageType") or ())
    try:
        frames = frames_of(path, dataset)
    except DataError as error:
        problem = error
    return _Header(
        path, str(dataset.get("SeriesInstanceUID", "")), None if number is None else int(number),
        _plain_code(str(dataset.get("Modality", ""))), str(dataset.get("SeriesDescription") or "").strip(),
        str(dataset.get("FrameOfReferenceUID", "")), localiser,
        _digest(dataset), str(dataset.get("SOPInstanceUID", "")), frames, problem, identity_of(dataset),
    )  # fmt: skip


def _digest(dataset: Dataset) -> str:
    """The patient's identifier under a key of this process, so that it cannot be found by trying; empty without one."""
    patient = str(dataset.get("PatientID") or "").strip()  # without the issuer, which not all series of a patient name
    return blake2b(patient.encode(), key=_KEY).hexdigest() if patient else ""


def _may_be_cut(dataset: Dataset) -> bool:
    """Whether an object without pixels says that it is an image."""
    images = ("CT", "MR", "PT", "NM", "US", "CR", "DX", "MG", "XA", "RF")
    return str(dataset.get("Modality", "")) in images or "Modality" not in dataset


def _plain_code(text: str) -> str:
    """A modality, or `images` for what is none: a damaged header may have anything there."""
    return text if text.isalpha() and text.isupper() and len(text) <= 4 else "images"


def _series(folder: Path, headers: Sequence[_Header]) -> Series:
    """A series of these files; one file without a place is a problem of all of them."""
    first = headers[0]
    localisers = [each for each in headers if each.localiser]
    problem = next((each.problem for each in headers if each.problem is not None), None)
    if localisers and len(localisers) < len(headers):
        problem = DataError(
            f"{folder}: series {first.number}: {plural(len(localisers), 'localiser')} among its {len(headers)} images, "
            f"such as {localisers[0].path.name}. Take them out."
        )
    return Series(
        folder, first.series, first.number, first.modality, first.description, first.frame_of_reference,
        len(localisers) == len(headers), first.patient, frozenset(each.instance for each in headers),
        tuple(each.path for each in headers),
        () if problem else tuple(_all_frames(headers)), problem, reduce(or_, {each.identity for each in headers}),
    )  # fmt: skip


def _all_frames(headers: Iterable[_Header]) -> Iterable[Frame]:
    for header in headers:
        yield from header.frames
