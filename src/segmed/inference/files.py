"""Predict files: images in; masks out, in the same format, grid and sub-folders, and nothing replaced in silence."""

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from segmed.core.errors import DataError, SegmedError, StoppedError
from segmed.core.files import refuse_links_on_the_way, require_folder
from segmed.core.image import Image, Mask
from segmed.core.progress import Progress
from segmed.core.records import Record, by_patient
from segmed.core.wording import plural
from segmed.inference.base import VolumePredictor
from segmed.inference.inputs import Inputs
from segmed.io import read_image, read_mask, write_mask
from segmed.io.formats import IMAGE_SUFFIXES, MASK_SUFFIXES
from segmed.preprocess import Preprocess

Draw = Callable[[Path, Image, Mask], None]
Predict = Callable[[Sequence[Record], Sequence[Image]], Sequence[Mask | SegmedError]]
"""Masks of the slices of one volume, in order, or what is wrong with one."""
Existing = Literal["refuse", "replace", "keep"]
"""What is done with files that are there already: end before anything is written, write anew, or leave them and make
those that are missing."""
OTHER_FILES = (".nii", ".gz", ".dcm", ".nrrd", ".mha", ".bmp", ".gif", ".webp")
"""Suffixes of files that are no names of folders, though no mask is written with them."""


@dataclass(frozen=True)
class Outcome:
    """What was written, what was kept as it was, and which files could not be read or predicted, with the reason."""

    written: tuple[Path, ...]
    failures: tuple[tuple[Path, str], ...]
    kept: tuple[Path, ...] = ()
    added: tuple[Path, ...] = ()
    """What was made beside masks that were kept."""
    incomplete: tuple[str, ...] = ()
    """Patients or folders that were normalised without some of their slices, since these could not be read."""


@dataclass(frozen=True)
class _Target:
    """Where the mask of an image goes, and its overlay where one is drawn."""

    mask: Path
    overlay: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.mask,) if self.overlay is None else (self.mask, self.overlay)

    @property
    def is_there(self) -> bool:
        return all(os.path.lexists(file) for file in self.files)


@dataclass
class _Log:
    """What has come of the files so far; the first reason of a file stands."""

    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    failures: dict[Path, str] = field(default_factory=dict)
    added: list[Path] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)

    def fail(self, image: Path, reason: str) -> None:
        named = reason if reason.startswith(f"{image}:") else f"{image}: {reason}"
        self.failures.setdefault(image, " ".join(named.split()))

    @property
    def outcome(self) -> Outcome:
        return Outcome(
            tuple(self.written),
            tuple(self.failures.items()),
            tuple(self.kept),
            tuple(self.added),
            tuple(self.incomplete),
        )


def predict_files(
    predictor: VolumePredictor,
    inputs: Inputs,
    out: Path,
    *,
    batch_size: int = 8,
    existing: Existing = "refuse",
    draw: Draw | None = None,
    predict: Predict | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Write the mask of every image under `out`, with the image's sub-folder, name and format (JPEG becomes PNG).

    Files that cannot be read, predicted or named are skipped and listed; the others of a volume are predicted.

    Args:
        predictor: What predicts.
        inputs: The images, from `find_inputs`.
        out: A folder; or, of one image, the file of its mask, where it ends as an image does.
        batch_size: Slices that go through the network at a time.
        existing: What is done with files that are there already. `keep` predicts no volume whose files are all there.
        draw: Called as `draw(path, image, mask)` to write an overlay beside each mask.
        predict: What predicts a volume; by default the predictor itself, without prompts.
        progress: Called with the images that are done and all.

    Raises:
        DataError: Before anything is written, where a file would be replaced that is not to be: an image, another
            mask, or with `refuse` any; where a mask would lie outside `out`, or `out` names a file for several images.
    """
    targets = _targets(inputs, out, overlays=draw is not None)
    if existing == "refuse":
        _refuse_existing(out, targets)
    log = _Log(failures=dict(inputs.faults))
    done = 0
    for volume, records in by_patient(inputs.records).items():
        keep = [record for record in records if existing == "keep" and targets[record.image].is_there]
        log.kept += [targets[record.image].mask for record in keep]
        if len(keep) < len(records):
            skip = {record.image for record in keep}
            for record, image, mask in _masks(predictor, volume, records, log, batch_size=batch_size, predict=predict):
                if record.image not in skip:
                    _write(predictor, record, image, mask, targets[record.image], log, draw, existing)
        done += len(records)
        if progress is not None:
            progress(done, len(inputs.records))
    return log.outcome


def _masks(
    predictor: VolumePredictor,
    volume: str,
    records: Sequence[Record],
    log: _Log,
    *,
    batch_size: int,
    predict: Predict | None,
) -> list[tuple[Record, Image, Mask]]:
    """The masks of a volume's slices, without those that cannot be read or predicted, which are logged."""

    def by_itself(records: Sequence[Record], images: Sequence[Image]) -> Sequence[Mask | SegmedError]:
        return predictor.predict_volume(
            [image.array for image in images],
            batch_size=batch_size,
            positions=[record.slice_index for record in records],
        )

    pairs = _read(records, log)
    chosen = predict or by_itself
    try:
        masks = _predicted(chosen, pairs)
    except StoppedError:
        raise
    except (SegmedError, RuntimeError) as error:
        pairs = _usable(predictor, pairs, log, str(error))
        try:
            masks = _predicted(chosen, pairs)
        except (SegmedError, RuntimeError) as again:
            for record, _ in pairs:
                log.fail(record.image, str(again))
            return []
    if 0 < len(pairs) < len(records):
        log.incomplete.append(
            f"{volume}: {len(records) - len(pairs)} of {len(records)} slices could not be used, and the others are "
            "normalised without them, so their masks may differ from those of the whole volume."
        )
    found = []
    for (record, image), mask in zip(pairs, masks, strict=True):
        if isinstance(mask, SegmedError):
            log.fail(record.image, str(mask))
        else:
            found.append((record, image, Mask(mask.array, image.geometry)))
    return found


def _predicted(predict: Predict, pairs: Sequence[tuple[Record, Image]]) -> Sequence[Mask | SegmedError]:
    return predict([record for record, _ in pairs], [image for _, image in pairs]) if pairs else []


def _usable(
    predictor: VolumePredictor, pairs: Sequence[tuple[Record, Image]], log: _Log, reason: str
) -> list[tuple[Record, Image]]:
    """The slices that the run's preprocessing takes one by one; where that is all of them, the reason is of them all.

    The others are logged with what is wrong with each.
    """
    needed = [Preprocess(network.preprocess) for network in predictor.config.networks]
    kept = []
    for record, image in pairs:
        try:
            for preprocess in needed:
                preprocess.statistics([image.array])
        except SegmedError as error:
            log.fail(record.image, str(error))
        else:
            kept.append((record, image))
    if len(kept) < len(pairs):
        return kept
    for record, _ in pairs:
        log.fail(record.image, reason)
    return []


def _read(records: Sequence[Record], log: _Log) -> list[tuple[Record, Image]]:
    pairs = []
    for record in records:
        try:
            pairs.append((record, read_image(record.image)))
        except StoppedError:
            raise
        except SegmedError as error:
            log.fail(record.image, str(error))
    return pairs


def _write(
    predictor: VolumePredictor,
    record: Record,
    image: Image,
    mask: Mask,
    target: _Target,
    log: _Log,
    draw: Draw | None,
    existing: Existing,
) -> None:
    """Write a mask and its overlay, which shows the mask that lies there in the end.

    A name that the system does not take costs this image alone, a full disk all.
    """
    labels = predictor.config.labels
    missing = [file for file in target.files if existing != "keep" or not os.path.lexists(file)]
    try:
        if target.mask not in missing:
            mask = read_mask(target.mask, labels)
        if draw is not None and target.overlay in missing:
            draw(target.overlay, image, mask)
        if target.mask in missing:
            write_mask(target.mask, mask, labels)
    except SegmedError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno not in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL):
            raise
        log.fail(record.image, str(error))
    else:
        if target.mask in missing:
            log.written.append(target.mask)
        else:
            log.kept.append(target.mask)
            log.added += missing


def _refuse_existing(out: Path, targets: dict[Path, _Target]) -> None:
    there = sorted(file for target in targets.values() for file in target.files if os.path.lexists(file))
    if not there:
        return
    if len(targets) == 1:
        raise DataError(f"{there[0]}: exists already. Choose another place with -o, or say --overwrite to replace it.")
    raise DataError(
        f"{out}: {plural(len(there), 'file')} would be replaced, such as {there[0]}. Choose another folder "
        "with -o, or say --overwrite to replace them, or --resume to keep them and predict the others."
    )


def _targets(inputs: Inputs, out: Path, *, overlays: bool) -> dict[Path, _Target]:
    """Where each image's mask goes."""
    images = {record.image.resolve() for record in inputs.records}
    targets: dict[Path, _Target] = {}
    taken: dict[Path, Path] = {}
    for record in inputs.records:
        image = record.image
        mask = _file_of_one(inputs, out) or _mask_below(inputs, out, image)
        target = _Target(mask, mask.with_name(f"{mask.stem}_overlay.png") if overlays else None)
        for file in target.files:
            refuse_links_on_the_way(file.parent, file)
            if file.resolve() in images:
                raise DataError(f"{file}: an image would be replaced by its mask. Choose another folder with -o.")
            if taken.get(file, image) != image:
                raise DataError(f"{image}: its mask and that of {taken[file]} would both be {file}. Rename one image.")
            taken[file] = image
        targets[image] = target
    return targets


def _mask_below(inputs: Inputs, out: Path, image: Path) -> Path:
    place = out / image.relative_to(inputs.root)
    if place.suffix.lower() not in MASK_SUFFIXES:
        place = place.with_suffix(".png")
    refuse_links_on_the_way(out, place)
    target = place.resolve()
    if not target.is_relative_to(out.resolve()):
        raise DataError(f"{image}: its mask would lie outside {out}. Move the image into the data set's folder.")
    return target


def _file_of_one(inputs: Inputs, out: Path) -> Path | None:
    """The file that `out` names, for one image; None where it is a folder."""
    suffix = out.suffix.lower()
    if out.is_dir() or suffix not in (*IMAGE_SUFFIXES, *OTHER_FILES):
        require_folder(out)
        return None
    if len(inputs.records) != 1:
        raise DataError(f"{out}: is the name of one file, for {len(inputs.records)} images. Name a folder with -o.")
    if suffix not in MASK_SUFFIXES:
        raise DataError(f"{out}: masks are not written with suffix {suffix}. Choose of {', '.join(MASK_SUFFIXES)}.")
    return out
