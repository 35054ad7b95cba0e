"""What is to be predicted: an image, a folder, a data set or a manifest as records, a patient's slices together."""

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

from segmed.core.errors import ConfigError, DataError
from segmed.core.records import Record, by_volume
from segmed.core.units import PATIENT, Unit
from segmed.data.listing import Finding, Findings, grouped, in_order, numbered
from segmed.data.loose import folder_of_images, loose_images
from segmed.data.names import is_hidden, made_of
from segmed.data.patients import NUMBERED, alike
from segmed.data.sources import holds_pairs, layout_of, list_dataset
from segmed.inference.targets import are_masks_of, results_in
from segmed.io.formats import IMAGE_SUFFIXES
from segmed.models.joint_config import SystemConfig

VOLUME = Unit("volume", "volumes")
Volumes = Literal["patients", "folders", "images"]
"""What is one volume: the slices of a patient, the images of a folder, or each image alone."""


@dataclass(frozen=True)
class Inputs:
    """Images to predict, those of one volume under one patient, and the folder their names are relative to."""

    root: Path
    records: tuple[Record, ...]
    faults: tuple[tuple[Path, str], ...] = ()
    """Files that the data set names or holds, but that cannot be used, each with the reason."""
    volumes: Volumes = "images"
    """What told which images are of one volume, whose slices are normalised together."""
    passed_over: tuple[Path, ...] = ()
    """Image files below the input that are not predicted: masks and overlays of others, or no part of the data set."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of slices of each volume."""
        return tuple(len(records) for records in by_volume(self.records).values())


def find_inputs(
    path: Path, *, volumes: bool | None = None, patient_regex: str | None = None, out: Path | None = None
) -> Inputs:
    """The images at `path`, with the slices of a patient as one volume.

    Args:
        path: An image file, a data set in a known layout, or any folder of images.
        volumes: True makes one volume of the images of each folder; False takes each image alone. By default the
            patients of a data set and the sub-folders of any other folder are volumes, and other images are alone.
            Where the images of a folder differ in a number at the end of their names, a missing number is a gap.
        patient_regex: Finds the patient, and a group `slice` the position, in the names of images, as in data sets:
            in the path below the folder, without its suffix.
        out: Where results will go: what lies there is no input, if it is a folder below `path`.

    Returns:
        Inputs whose `root` is the folder of the images: that of a data set, its `images/`, or `path` itself.

    Raises:
        DataError: There is no image, or the expression says nothing of it.
        ConfigError: Options contradict each other.
    """
    if patient_regex is not None and volumes is not None:
        raise ConfigError("--patient-regex says what the volumes are; leave out --volumes and --no-volumes.")
    path = path.resolve()
    if not path.exists():
        raise DataError(f"{path}: does not exist. Give an image, a folder of images, or a data set.")
    if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
        if patient_regex is not None or volumes:
            raise ConfigError(f"{path}: is one image, whose volume is not known. Give the folder of its slices.")
        return Inputs(path.parent, (Record(path.name, path.name, 1, path, None),))
    layout, results = layout_of(path), results_in(path, out)
    if path.is_file() or (holds_pairs(path, layout) and not are_masks_of(path, results)):
        base = path / "images" if layout == "folder" else None
        inputs = _of_data_set(path, volumes, patient_regex, base=base, results=results)
        if inputs.records or inputs.faults:
            return inputs
    return _of_folder(path, volumes, patient_regex, results)


def _of_data_set(
    path: Path, volumes: bool | None, patient_regex: str | None, *, base: Path | None, results: Path | None
) -> Inputs:
    listing = list_dataset(path, patient_regex=patient_regex)
    dataset = listing.dataset
    found = (replace(record, image=_absolute(record.image)) for record in dataset.records)
    records = tuple(record for record in found if results is None or not record.image.is_relative_to(results))
    kind: Volumes = "patients" if dataset.patients_known else "images"
    if volumes is False or (volumes and not dataset.patients_known):
        kind = _kind(volumes)
        records = _regrouped(records, path, kind)
    costly = (finding for finding in listing.findings if _costs_an_image(finding, results))
    faults = tuple((Path(finding.where), f"{finding.where}: {finding.message}") for finding in costly)
    root = _common_folder((base or dataset.root).resolve(), records)
    others: tuple[Path, ...] = ()
    if dataset.manifest is None:
        known = {file for record in dataset.records for file in (record.image, record.mask) if file is not None}
        others = tuple(_others(path, {_absolute(file) for file in known} | {file for file, _ in faults}))
    return Inputs(root, records, faults, kind, others)


def _others(folder: Path, known: set[Path]) -> Iterator[Path]:
    """Image files in a data set's folder of which nothing else is said; not masks, and not copies of `known` files."""
    files = list(_images_below(folder))
    made, names = made_of(files), {file.name for file in known}
    for file in files:
        said = file in made or not known.isdisjoint((file, *file.parents)) or file.name in names
        if not said and file.relative_to(folder).parts[0] != "masks":
            yield file


def _of_folder(folder: Path, volumes: bool | None, patient_regex: str | None, results: Path | None) -> Inputs:
    found, root = loose_images(folder, results), folder_of_images(folder, results)
    others = () if results is None else _images_below(results)
    records = [_loose(root, file) for file in found.images]
    findings = Findings()
    if patient_regex is not None:
        named = {record.image: record.slice_id for record in records}
        stemmed = [replace(r, slice_id=Path(r.slice_id).with_suffix("").as_posix()) for r in records]
        told = grouped(stemmed, patient_regex, findings)
        records = list(in_order(replace(record, slice_id=named[record.image]) for record in told))
        kind: Volumes = "patients"
    else:
        nested = any(record.image.parent != root for record in records)
        kind = _kind(volumes) if volumes is not None else "folders" if nested else "images"
        records = list(_regrouped(records, root, kind, top_alone=volumes is None))
    faults = tuple((Path(finding.where), f"{finding.where}: {finding.message}") for finding in findings.found)
    return Inputs(root, tuple(records), (*found.faults, *faults), kind, (*found.made, *others))


def _loose(folder: Path, file: Path) -> Record:
    name = file.relative_to(folder).as_posix()
    return Record(name, name, 1, file, None)


def _kind(volumes: bool) -> Volumes:
    return "folders" if volumes else "images"


def _regrouped(
    records: Sequence[Record], folder: Path, kind: Volumes, *, top_alone: bool = False
) -> tuple[Record, ...]:
    """The records with their folder as the patient, or with each as its own; with `top_alone` those in `folder` too."""

    def alone(record: Record) -> bool:
        return kind == "images" or (top_alone and record.image.parent == folder)

    patients = [record.slice_id if alone(record) else f"{record.image.parent}{os.sep}" for record in records]
    told = [replace(each, patient=who, of_case=None) for each, who in zip(records, patients, strict=True)]
    return in_order(each for volume in by_volume(told).values() for each in _placed(volume))


def _placed(volume: Sequence[Record]) -> list[Record]:
    """The slices of one folder with their places: by the numbers that end their names, if these differ in nothing else,
    so that a slice that is missing is a gap; else one after the other. Numbers in steps of 10 leave no gap, and where
    fewer than half of the steps are the least, as in the ids of files, they are no places.
    """
    ends = [re.fullmatch(r"(?P<name>.*?)(?P<number>\d+)", record.image.stem) for record in volume]
    names = {end["name"] for end in ends if end is not None}
    numbers = [int(end["number"]) for end in ends if end is not None]
    if len(names) > 1 or len(set(numbers)) < len(volume):
        return numbered(volume)
    first, rising = min(numbers), sorted(numbers)
    steps = [after - before for before, after in pairwise(rising)]
    step = math.gcd(*steps) or 1
    if steps and 2 * steps.count(step) < len(steps):
        return numbered(volume)
    places = [1 + (number - first) // step for number in numbers]
    return [replace(record, slice_index=place) for record, place in zip(volume, places, strict=True)]


def _absolute(file: Path) -> Path:
    """A file without `..`, under its own name also where that is a link."""
    return file.parent.resolve() / file.name


def _images_below(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path, folder):
            yield path


def _costs_an_image(finding: Finding, results: Path | None) -> bool:
    """Whether a finding means that an image is left out; what is wrong with masks and `results` does not matter."""
    if results is not None and Path(finding.where).is_relative_to(results):
        return False
    if finding.code == "extra-file":
        return Path(finding.where).suffix.lower() in IMAGE_SUFFIXES
    return finding.severity == "error" and "mask" not in finding.code


def _common_folder(base: Path, records: Sequence[Record]) -> Path:
    return Path(os.path.commonpath([base, *(record.image.parent for record in records)]))


def said_of(inputs: Inputs) -> str:
    """One line on what is normalised together."""
    count, images = len(inputs.sizes), len(inputs.records)
    if max(inputs.sizes, default=1) == 1:
        return f"{images} images, each normalised by itself." if images > 1 else "One image, normalised by itself."
    unit, whose = (PATIENT, "patient") if inputs.volumes == "patients" else (VOLUME, "folder")
    return f"{images} images of {unit.count(count)}, the images of each {whose} normalised together."


def doubts(inputs: Inputs, config: SystemConfig) -> tuple[str, ...]:
    """What may make the masks differ from those the run was evaluated with, a line for each reason.

    Intensities are normalised by all slices of a volume, and 2.5D models and the removal of small components look at
    neighbours, so that the same slice has another mask in another volume.
    """
    found = []
    alone = sum(size == 1 for size in inputs.sizes)
    if config.volumes is True and alone and inputs.volumes != "patients":
        who = "each image is" if alone == len(inputs.sizes) else ("1 image is" if alone == 1 else f"{alone} images are")
        found.append(
            f"{who} normalised alone, but the run was trained and evaluated on patients of several slices, normalised "
            "together, so masks may differ from those of `segmed evaluate`. Give a patient's slices together: as a "
            "data set, a folder for each patient, or by --patient-regex."
        )
    if config.volumes is False and alone < len(inputs.sizes):
        found.append(
            "images are normalised together, but the run was trained and evaluated on images that each stand alone, "
            "so masks may differ from those of `segmed evaluate`. Say --no-volumes."
        )
    pooled = _several_names(inputs) if inputs.volumes == "folders" else ()
    if pooled:
        found.append(
            f"the images of one folder are normalised together, but names such as {pooled[0]} and {pooled[1]} look "
            "like those of several patients. Say who the patient is with --patient-regex."
        )
    pair = alike(Path(record.slice_id).stem for record in inputs.records) if inputs.volumes == "images" else None
    if pair is not None and config.volumes is not False:
        found.append(
            f"{pair[0]} and {pair[1]} look like slices of one patient, but are normalised alone. Say who the patient "
            "is with --patient-regex, such as '^(.+)_(?P<slice>[0-9]+)$'."
        )
    return tuple(found)


def _several_names(inputs: Inputs) -> tuple[str, ...]:
    """Two images of one volume whose names differ before their number, nothing where there are none."""
    for records in by_volume(inputs.records).values():
        first: dict[str, str] = {}
        for record in records:
            if match := NUMBERED.match(record.image.stem):
                first.setdefault(match["name"], record.image.name)
        if len(first) > 1:
            return tuple(first.values())[:2]
    return ()
