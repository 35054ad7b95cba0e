"""Predict files: an image, a folder or a manifest in; masks out, in the same format, grid and sub-folders."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segmed.core.errors import DataError, SegmedError
from segmed.core.image import Image, Mask
from segmed.core.progress import Progress
from segmed.core.records import Record, by_patient
from segmed.data.listing import Finding, numbered
from segmed.data.loose import loose_images
from segmed.data.sources import holds_pairs, layout_of, list_dataset
from segmed.inference.base import VolumePredictor
from segmed.io import read_image, write_mask
from segmed.io.formats import IMAGE_SUFFIXES, MASK_SUFFIXES

Draw = Callable[[Path, Image, Mask], None]
Predict = Callable[[Sequence[Record], Sequence[Image]], Sequence[Mask | SegmedError]]
"""Masks of the slices of one volume, in order, or what is wrong with one."""


@dataclass(frozen=True)
class Inputs:
    """Images to predict, those of one volume under one patient, and the folder their names are relative to."""

    root: Path
    records: tuple[Record, ...]
    faults: tuple[tuple[Path, str], ...] = ()
    """Files that the data set names or holds, but that cannot be used, each with the reason."""
    made: tuple[Path, ...] = ()
    """Masks and overlays of images that lie beside them, which are not predicted."""


@dataclass(frozen=True)
class Outcome:
    """What was written, and which files could not be read or predicted, each with its reason."""

    written: tuple[Path, ...]
    failures: tuple[tuple[Path, str], ...]


def find_inputs(path: Path, *, volumes: bool = False) -> Inputs:
    """The images at `path`: one file, a data set in a known layout, or any folder of images.

    Slices of a data set's patient are one volume. In any other folder each image stands alone, or with `volumes`
    the images of each sub-folder are the slices of one volume. Raises `DataError` where there is no image.
    """
    path = path.resolve()
    if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
        return Inputs(path.parent, (Record(path.name, path.name, 1, path, None),))
    if path.is_file() or _is_data_set(path):
        listing = list_dataset(path)
        records = tuple(replace(record, image=record.image.resolve()) for record in listing.dataset.records)
        faults = tuple((Path(f.where), f"{f.where}: {f.message}") for f in listing.findings if _costs_an_image(f))
        if records or faults:
            return Inputs(_common_folder([record.image for record in records]) if records else path, records, faults)
    found = loose_images(path)
    loose = numbered([_loose_record(path, file, volumes=volumes) for file in found.images])
    return Inputs(path, tuple(loose), found.faults, found.made)


def predict_files(
    predictor: VolumePredictor,
    inputs: Inputs,
    out: Path,
    *,
    batch_size: int = 8,
    draw: Draw | None = None,
    predict: Predict | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Write the mask of every image under `out`, with the image's sub-folder, name and format (JPEG becomes PNG).

    Unreadable images are skipped and listed. `draw(path, image, mask)` is called to write an overlay beside each.
    `predict` is what predicts a volume, by default the predictor itself without prompts.
    Raises `DataError`, before anything is written, where a mask would replace an input or another mask, or lie
    outside `out`.
    """
    targets = _targets(inputs, out)
    written: list[Path] = []
    failures: list[tuple[Path, str]] = list(inputs.faults)
    done = 0
    for records in by_patient(inputs.records).values():
        readable, images = _read(records, failures)
        try:
            masks = (
                predictor.predict_volume(
                    [image.array for image in images],
                    batch_size=batch_size,
                    positions=[record.slice_index for record in readable],
                )
                if predict is None
                else predict(readable, images)
            )
        except (SegmedError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            failures.extend((record.image, f"{record.image}: {reason}") for record in readable)
            readable, images, masks = [], [], []
        for record, image, mask in zip(readable, images, masks, strict=True):
            if isinstance(mask, SegmedError):
                failures.append((record.image, f"{record.image}: {mask}"))
                continue
            target = targets[record.image]
            placed = Mask(mask.array, image.geometry)
            write_mask(target, placed, predictor.config.labels)
            if draw is not None:
                draw(target.with_name(f"{target.stem}_overlay.png"), image, placed)
            written.append(target)
        done += len(records)
        if progress is not None:
            progress(done, len(inputs.records))
    return Outcome(tuple(written), tuple(failures))


def _read(records: Sequence[Record], failures: list[tuple[Path, str]]) -> tuple[list[Record], list[Image]]:
    readable, images = [], []
    for record in records:
        try:
            images.append(read_image(record.image))
            readable.append(record)
        except DataError as error:
            failures.append((record.image, str(error)))
    return readable, images


def _loose_record(root: Path, file: Path, *, volumes: bool) -> Record:
    name = str(file.relative_to(root))
    return Record(name, str(file.parent) if volumes else name, 1, file, None)


def _is_data_set(folder: Path) -> bool:
    """Whether a folder says that it is a data set: a manifest, or images with their masks in a known layout."""
    if not folder.is_dir():
        raise DataError(f"{folder}: does not exist. Give an image, a folder of images, or a data set.")
    return holds_pairs(folder, layout_of(folder))


def _costs_an_image(finding: Finding) -> bool:
    """Whether a finding means that an image is left out; what is wrong with a mask does not matter here."""
    if finding.code == "extra-file":
        return Path(finding.where).suffix.lower() in IMAGE_SUFFIXES
    return finding.severity == "error" and "mask" not in finding.code


def _common_folder(files: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([file.parent for file in files]))


def _targets(inputs: Inputs, out: Path) -> dict[Path, Path]:
    """Where each image's mask goes."""
    images = {record.image for record in inputs.records}
    targets: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    for image in images:
        target = (out / image.relative_to(inputs.root)).resolve()
        if target.suffix.lower() not in MASK_SUFFIXES:
            target = target.with_suffix(".png")
        if not target.is_relative_to(out.resolve()):
            raise DataError(f"{image}: its mask would lie outside {out}. Move the image into the data set's folder.")
        if target in images:
            raise DataError(f"{target}: an image would be replaced by its mask. Choose another folder with -o.")
        if target in taken:
            raise DataError(f"{image}: its mask and that of {taken[target]} would both be {target}. Rename one image.")
        taken[target] = image
        targets[image] = target
    return targets
