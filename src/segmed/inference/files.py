"""Predict files: images in; masks out, in the same format, grid and sub-folders, and nothing replaced in silence."""

from collections.abc import Callable, Sequence
from pathlib import Path

from segmed.core.errors import DataError, SegmedError, StoppedError
from segmed.core.image import Image, Mask
from segmed.core.progress import Progress
from segmed.core.records import Record, by_volume
from segmed.inference.base import VolumePredictor
from segmed.inference.inputs import Inputs
from segmed.inference.targets import (
    Existing,
    Log,
    Outcome,
    Target,
    costs_all,
    names_a_file,
    place_below,
    require_free,
)
from segmed.io import read_image, read_mask, write_mask
from segmed.io.formats import MASK_SUFFIXES
from segmed.preprocess import Preprocess

Draw = Callable[[Path, Image, Mask], None]
Predict = Callable[[Sequence[Record], Sequence[Image]], Sequence[Mask | SegmedError]]
"""Masks of the slices of one volume, in order, or what is wrong with one."""


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
    if predict is None:
        predictor.require_unprompted()
    below = None if names_a_file(out, len(inputs.records), "image", MASK_SUFFIXES) else inputs.root
    targets = {record.image: _target(record.image, out, below, overlay=draw is not None) for record in inputs.records}
    require_free(out, list(targets.values()), {record.image.resolve() for record in inputs.records}, existing)
    log = Log(list(inputs.faults))
    done = 0
    for volume, records in by_volume(inputs.records).items():
        missing = {record.image: targets[record.image].missing(existing) for record in records}
        for record in records:
            if targets[record.image].mask not in missing[record.image]:
                _add_to(predictor, record.image, targets[record.image], missing[record.image], log, draw)
        if any(targets[record.image].mask in missing[record.image] for record in records):
            for record, image, mask in _masks(predictor, volume, records, log, batch_size=batch_size, predict=predict):
                target = targets[record.image]
                if target.mask in missing[record.image]:
                    _write(predictor, image, mask, target, missing[record.image], log, draw)
        done += len(records)
        if progress is not None:
            progress(done, len(inputs.records))
    return log.outcome


def _masks(
    predictor: VolumePredictor,
    volume: str,
    records: Sequence[Record],
    log: Log,
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
    predictor: VolumePredictor, pairs: Sequence[tuple[Record, Image]], log: Log, reason: str
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


def _read(records: Sequence[Record], log: Log) -> list[tuple[Record, Image]]:
    pairs = []
    for record in records:
        try:
            pairs.append((record, read_image(record.image)))
        except StoppedError:
            raise
        except SegmedError as error:
            log.fail(record.image, str(error))
    return pairs


def _add_to(
    predictor: VolumePredictor, path: Path, target: Target, missing: Sequence[Path], log: Log, draw: Draw | None
) -> None:
    """Draw the overlay of a mask that is kept, where it is missing."""
    try:
        if draw is not None and target.overlay is not None and target.overlay in missing:
            image, mask = read_image(path), read_mask(target.mask, predictor.config.labels)
            if mask.array.shape != image.array.shape[:2]:
                raise DataError(f"{target.mask}: has another size than {path}. Say --overwrite.")
            draw(target.overlay, image, mask)
    except StoppedError:
        raise
    except SegmedError as error:
        if costs_all(error, target):
            raise
        log.fail(path, str(error), [target.mask])
    else:
        log.done(target, missing)


def _write(
    predictor: VolumePredictor,
    image: Image,
    mask: Mask,
    target: Target,
    missing: Sequence[Path],
    log: Log,
    draw: Draw | None,
) -> None:
    """Write a mask and its overlay; a name that the system does not take costs this image alone, a full disk all."""
    try:
        if draw is not None and target.overlay is not None and target.overlay in missing:
            draw(target.overlay, image, mask)
        write_mask(target.mask, mask, predictor.config.labels)
    except SegmedError as error:
        if costs_all(error, target):
            raise
        log.fail(target.source, str(error))
    else:
        log.done(target, missing)


def _target(image: Path, out: Path, root: Path | None, *, overlay: bool) -> Target:
    """Where an image's mask goes: below `out` as the image lies below `root`; without a root `out` is its file."""
    if root is None:
        mask = out
    else:
        name = image.relative_to(root)
        mask = place_below(out, name if name.suffix.lower() in MASK_SUFFIXES else name.with_suffix(".png"), image)
    return Target(image, mask, mask.with_name(f"{mask.stem}_overlay.png") if overlay else None)
