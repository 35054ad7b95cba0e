"""Predict files: an image, a folder or a manifest in; masks out, in the same format, grid and sub-folders."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segmed.core.errors import DataError, SegmedError
from segmed.core.image import Image, Mask
from segmed.core.records import Record, by_patient
from segmed.data.listing import natural_key
from segmed.data.sources import list_dataset
from segmed.inference.predictor import Predictor
from segmed.io import read_image, write_mask
from segmed.io.formats import IMAGE_SUFFIXES, MASK_SUFFIXES

Draw = Callable[[Path, Image, Mask], None]


@dataclass(frozen=True)
class Inputs:
    """Images to predict, those of one volume under one patient, and the folder their names are relative to."""

    root: Path
    records: tuple[Record, ...]


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
    if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
        return Inputs(path.parent, (Record(path.stem, path.stem, 1, path, None),))
    try:
        dataset = list_dataset(path).dataset
        if dataset.records:
            return Inputs(_common_folder([record.image for record in dataset.records]), dataset.records)
    except DataError:
        if not path.is_dir():
            raise
    images = sorted(_images_below(path), key=lambda file: natural_key(str(file)))
    if not images:
        raise DataError(f"{path}: holds no image. Expected files ending in {', '.join(IMAGE_SUFFIXES)}.")
    records = tuple(_loose_record(path, file, volumes=volumes) for file in images)
    return Inputs(path, records)


def predict_files(
    predictor: Predictor,
    inputs: Inputs,
    out: Path,
    *,
    batch_size: int = 8,
    draw: Draw | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Write the mask of every image under `out`, with the image's sub-folder, name and format (JPEG becomes PNG).

    Unreadable images are skipped and listed. `draw(path, image, mask)` is called to write an overlay beside each.
    """
    written: list[Path] = []
    failures: list[tuple[Path, str]] = []
    done = 0
    for records in by_patient(inputs.records).values():
        readable, images = _read(records, failures)
        try:
            masks = predictor.predict_volume([image.array for image in images], batch_size=batch_size)
        except SegmedError as error:
            failures.extend((record.image, str(error)) for record in readable)
            masks = []
        for record, image, mask in zip(readable, images, masks, strict=False):
            target = _target(record.image, inputs.root, out)
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


def _images_below(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES and not hidden and not path.stem.endswith("_mask"):
            yield path


def _loose_record(root: Path, file: Path, *, volumes: bool) -> Record:
    name = str(file.relative_to(root).with_suffix(""))
    return Record(name, str(file.parent) if volumes else name, 1, file, None)


def _common_folder(files: Sequence[Path]) -> Path:
    common = files[0].parent
    while not all(file.is_relative_to(common) for file in files):
        common = common.parent
    return common


def _target(image: Path, root: Path, out: Path) -> Path:
    target = out / image.relative_to(root)
    return target if target.suffix.lower() in MASK_SUFFIXES else target.with_suffix(".png")
