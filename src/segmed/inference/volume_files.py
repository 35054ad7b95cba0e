"""Predict volumes: masks out in the container and on the grid of each, whole or not at all, and their size in ml."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from segmed.core.errors import DataError, SegmedError, StoppedError
from segmed.core.image import Mask
from segmed.core.progress import Progress
from segmed.core.records import VolumeFiles
from segmed.core.volume import Volume, as_labels
from segmed.data.cutting import CutVolume, read_cut
from segmed.data.layouts.volume_listing import name_below, volumes_below
from segmed.data.names import composed
from segmed.inference.base import VolumePredictor
from segmed.inference.dicom_masks import SEGMENTATION, STRUCTURES, require_dicom, write_dicom_masks
from segmed.inference.from_data import cut_slices
from segmed.inference.summary import SUMMARY, LabelVolume, Row, read_summary, voxel_ml, write_summary
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
from segmed.inference.volume_inputs import VolumeInputs
from segmed.io.volumes import VOLUME_SUFFIXES, read_volume, stem_of, suffix_of, write_volume

CONTAINER = ".nii.gz"
"""What is written where the input has no container that is written, as folders of DICOM."""


@dataclass(frozen=True)
class Extras:
    """What is written beside masks.

    Args:
        probabilities: Of each label, from 0 to 1.
        uncertainty: How uncertain each voxel is, in bits, from 0 to 1.
        segmentation: A DICOM segmentation, where the input is DICOM.
        structures: An RT structure set, likewise.
    """

    probabilities: bool = False
    uncertainty: bool = False
    segmentation: bool = False
    structures: bool = False


@dataclass(frozen=True, eq=False)
class PredictedVolume:
    """What a predictor makes of a volume that was cut.

    `masks` are labels 0 … K. `opinions` are the masks by each ensemble member or test-time flip; there is one where
    there is nothing to average. `probabilities` are there where they were asked for.
    """

    masks: UInt8[np.ndarray, "slices rows columns"]
    opinions: Sequence[UInt8[np.ndarray, "slices rows columns"]]
    probabilities: Float[np.ndarray, "slices k rows columns"] | None


PredictVolume = Callable[[VolumeFiles, CutVolume], PredictedVolume]
"""What predicts a volume that was read and cut."""
DrawVolume = Callable[[Path, CutVolume, UInt8[np.ndarray, "slices rows columns"]], None]
"""Writes a picture of a volume's slices with the contours of its mask, labels 0 … K."""


@dataclass(frozen=True)
class _How:
    """What predicts, and what draws."""

    predictor: VolumePredictor
    batch_size: int
    predict: PredictVolume | None
    draw: DrawVolume | None


def predict_cut(
    predictor: VolumePredictor, cut: CutVolume, *, batch_size: int = 8, keep_probabilities: bool = False
) -> PredictedVolume:
    """Predict the slices of a volume together.

    Args:
        predictor: What predicts.
        cut: The volume, cut as the run was trained (`predictor.config.preprocess.plane`).
        batch_size: Slices that go through the network at a time.
        keep_probabilities: Keep them, which takes 4 bytes a voxel and label.

    Raises:
        ModelError: The volume lacks a sequence that the run reads, or an answer is not a number.
    """
    labelled: list[list[Mask]] = []
    kept = []
    for opinions in predictor.opinions(cut_slices(cut), batch_size=batch_size):
        others = opinions.each if len(opinions.each) > 1 else opinions.each[:0]
        labelled.append([predictor.label(opinions.mean), *(predictor.label(one) for one in others)])
        if keep_probabilities:
            kept.append(opinions.mean)
    masks, *opinions_of = (predictor.cleaned(list(some)) for some in zip(*labelled, strict=True))
    whole = np.stack([mask.array for mask in masks])
    by_opinion = [np.stack([mask.array for mask in some]) for some in opinions_of]
    return PredictedVolume(whole, by_opinion or [whole], np.stack(kept) if keep_probabilities else None)


def predict_volumes(
    predictor: VolumePredictor,
    inputs: VolumeInputs,
    out: Path,
    *,
    batch_size: int = 8,
    existing: Existing = "refuse",
    extras: Extras | None = None,
    draw: DrawVolume | None = None,
    predict: PredictVolume | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Write the mask of every volume under `out` by its name, in its container and on its grid, and `summary.csv`.

    Volumes that cannot be read or predicted are skipped and listed. `summary.csv` has the size of each label in voxels
    and, where the spacing is known, in ml; with several opinions (ensemble members, test-time augmentation) also the
    smallest and the largest of theirs. Rows that it has of other volumes stay while their masks are there.

    Args:
        predictor: What predicts.
        inputs: The volumes, from `find_volumes`.
        out: A folder; or, of one volume, the file of its mask.
        batch_size: Slices that go through the network at a time.
        existing: What is done with files that are there already. `keep` makes those that are missing, masks in DICOM
            from the mask that is there, and predicts no volume whose files are all there.
        extras: What is written beside masks.
        draw: Called to write an overlay beside each mask.
        predict: What predicts a volume; by default the predictor itself, without prompts.
        progress: Called with the volumes that are done and all.

    Raises:
        DataError: Before anything is written, where a file would be replaced that is not to be, such as a
            `summary.csv` that is another table, or a mask in DICOM is wanted of a volume that is none. Later, where
            `summary.csv` cannot be written.
    """
    chosen = extras or Extras()
    how = _How(predictor, batch_size, predict, draw)
    if predict is None:
        predictor.require_unprompted()
    _require_different(inputs)
    one = names_a_file(out, len(inputs.volumes), "volume", VOLUME_SUFFIXES)
    targets = {
        volume.name: _target(how, volume, out if one else place_below(out, mask_name(volume), volume.images[0]), chosen)
        for volume in inputs.volumes
    }
    summary = None if one else out / SUMMARY
    images = {path.resolve() for volume in inputs.volumes for path in volume.images}
    require_free(out, list(targets.values()), images, existing, besides=() if summary is None else (summary,))
    log = Log(list(inputs.faults))
    rows = {} if summary is None else _rows_there(summary)
    done: dict[str, Sequence[Row]] = {}
    for number, volume in enumerate(inputs.volumes, start=1):
        target = targets[volume.name]
        try:
            missing = target.missing(existing)
            if target.mask not in missing:
                _add_to(how, volume, target, missing)
                done[volume.name] = rows.get(volume.name) or [each.row for each in _of_mask(predictor, target.mask)]
            else:
                done[volume.name] = [each.row for each in _predict_one(how, volume, target, missing)]
        except StoppedError:
            raise
        except (SegmedError, RuntimeError) as error:
            if costs_all(error, target):
                raise
            reason = _told_apart(str(error), volume, inputs)
            log.fail(target.source, reason, (*volume.files, target.mask), result=target.mask)
        else:
            log.done(target, missing)
            if summary is not None:
                write_summary(summary, {**rows, **done})
        if progress is not None:
            progress(number, len(inputs.volumes))
    return log.outcome


def _rows_there(summary: Path) -> dict[str, list[Row]]:
    """The rows that are there already by volume, in their order; none of volumes whose masks are gone."""
    folder = summary.parent
    masks = {name_below(folder, path) for path in volumes_below(folder)}
    return {name: rows if composed(name) in masks else [] for name, rows in read_summary(summary).items()}


def _predict_one(how: _How, volume: VolumeFiles, target: Target, missing: Sequence[Path]) -> list[LabelVolume]:
    """Write the mask of a volume, and what is missing beside it."""
    cut, found = _predicted(how, volume, target, missing)
    if dicom := [path for path in target.dicom if path in missing]:
        write_dicom_masks(dicom, cut.as_stored(found.masks), volume, how.predictor)
    _draw(how, cut, found.masks, target, missing)
    labels = how.predictor.config.labels
    stored = found.masks if labels.is_colour else np.stack([labels.encode(mask) for mask in found.masks])
    write_volume(target.mask, cut.as_stored(stored))
    return list(_sizes(how.predictor, cut, found))


def _add_to(how: _How, volume: VolumeFiles, target: Target, missing: Sequence[Path]) -> None:
    """Write what is missing beside a mask that is kept."""
    if any(path in missing for path in target.maps):
        _predicted(how, volume, target, missing)
    dicom = [path for path in target.dicom if path in missing]
    if not dicom and target.overlay not in missing:
        return
    stored, labels = as_labels(read_volume(target.mask), str(target.mask)), how.predictor.config.labels
    masks = stored.array
    if not labels.is_colour:
        masks = np.stack([labels.decode(one, str(target.mask)) for one in masks])
    if dicom:
        write_dicom_masks(dicom, Volume(masks, stored.grid), volume, how.predictor)
    if target.overlay in missing:
        cut = read_cut(replace(volume, plane=how.predictor.config.plane))
        if not stored.grid.is_same(cut.stored):
            raise DataError(f"{target.mask}: lies on another grid than {volume.images[0]}. Say --overwrite.")
        _draw(how, cut, cut.stacking.apply_array(masks), target, missing)


def _draw(
    how: _How, cut: CutVolume, masks: UInt8[np.ndarray, "slices rows columns"], target: Target, missing: Sequence[Path]
) -> None:
    if how.draw is not None and target.overlay is not None and target.overlay in missing:
        how.draw(target.overlay, cut, masks)


def _predicted(
    how: _How, volume: VolumeFiles, target: Target, missing: Sequence[Path]
) -> tuple[CutVolume, PredictedVolume]:
    """Predict a volume, and write its missing probabilities and uncertainty."""
    cut = read_cut(replace(volume, plane=how.predictor.config.plane))
    if how.predict is not None:
        found = how.predict(volume, cut)
    else:
        keep = any(path in missing for path in target.maps)
        found = predict_cut(how.predictor, cut, batch_size=how.batch_size, keep_probabilities=keep)
    if found.probabilities is not None:
        for label, path in enumerate(target.probabilities):
            if path in missing:
                write_volume(path, cut.as_stored(found.probabilities[:, label]))
        if target.uncertainty is not None and target.uncertainty in missing:
            write_volume(target.uncertainty, cut.as_stored(entropy(found.probabilities.max(axis=1))))
    return cut, found


def entropy(probability: Float[np.ndarray, "*grid"]) -> Float[np.ndarray, "*grid"]:
    """How uncertain a probability is, in bits: 0 where it is 0 or 1, 1 where it is one half."""
    inside = np.clip(probability.astype(np.float32), 1e-7, 1 - 1e-7)
    bits = -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside))
    return np.asarray(np.where((probability <= 0) | (probability >= 1), 0, bits), np.float32)


def _sizes(predictor: VolumePredictor, cut: CutVolume, found: PredictedVolume) -> Iterator[LabelVolume]:
    for label, name in enumerate(predictor.config.labels.names, start=1):
        counts = [int(np.count_nonzero(mask == label)) for mask in found.opinions]
        voxels = int(np.count_nonzero(found.masks == label))
        several = len(counts) > 1
        yield LabelVolume(
            name,
            voxels,
            voxel_ml(cut.grid),
            len(counts),
            min(*counts, voxels) if several else None,
            max(*counts, voxels) if several else None,
        )


def _of_mask(predictor: VolumePredictor, path: Path) -> list[LabelVolume]:
    """The sizes in a mask that is there already, whose other opinions are not known."""
    volume = as_labels(read_volume(path), str(path))
    labels = predictor.config.labels
    stored = range(len(labels.names) + 1) if labels.is_colour else labels.stored
    counts = [int(np.count_nonzero(volume.array == value)) for value in list(stored)[1:]]
    ml = voxel_ml(volume.grid)
    return [LabelVolume(name, count, ml, 1) for name, count in zip(labels.names, counts, strict=True)]


def mask_name(volume: VolumeFiles) -> str:
    """The file of a volume's mask below the output folder: in the container of the image, else in NIfTI."""
    return f"{volume.name}{suffix_of(volume.images[0]) or CONTAINER}"


def _target(how: _How, volume: VolumeFiles, mask: Path, extras: Extras) -> Target:
    """The files of a volume's results, beside its mask."""
    source = volume.images[0]
    stem, ending = stem_of(mask), suffix_of(source) or CONTAINER
    endings = _probability_endings(how.predictor.config.labels.names)
    places = tuple(mask.with_name(f"{stem}{each}{ending}") for each in endings) if extras.probabilities else ()
    uncertain = mask.with_name(f"{stem}_uncertainty{ending}") if extras.uncertainty else None
    picture = None if how.draw is None else mask.with_name(f"{stem}_overlay.png")
    return Target(source, mask, picture, places, uncertain, _dicom_files(volume, mask.with_name(stem), extras))


def _probability_endings(names: Sequence[str]) -> list[str]:
    """What files of probabilities end in: the label's name, and its number where two names make one file."""
    if len(names) == 1:
        return ["_probability"]
    plain = [name.replace("/", "-") for name in names]
    if len({composed(name).casefold() for name in plain}) < len(plain):
        plain = [f"{number}_{name}" for number, name in enumerate(plain, start=1)]
    return [f"_probability_{name}" for name in plain]


def _dicom_files(volume: VolumeFiles, stem: Path, extras: Extras) -> tuple[Path, ...]:
    chosen = {"--seg": (extras.segmentation, SEGMENTATION), "--rtstruct": (extras.structures, STRUCTURES)}
    for option, (wanted, _) in chosen.items():
        if wanted:
            require_dicom(volume, option)
    return tuple(stem.with_name(stem.name + ending) for wanted, ending in chosen.values() if wanted)


def _told_apart(reason: str, volume: VolumeFiles, inputs: VolumeInputs) -> str:
    """A reason with the volume's name in it where others have the same source, as the series of a medium's folder."""
    source = volume.images[0]
    if sum(each.images[0] == source for each in inputs.volumes) == 1:
        return reason
    return f"{source}: {volume.name}: {reason.removeprefix(f'{source}: ')}"


def _require_different(inputs: VolumeInputs) -> None:
    """Results are told apart by their volumes' names."""
    twice = [name for name, count in Counter(volume.name for volume in inputs.volumes).items() if count > 1]
    if twice:
        places = ", ".join(str(volume.images[0]) for volume in inputs.volumes if volume.name == twice[0])
        raise DataError(f"{places}: these volumes are all called {twice[0]}. Rename their files or folders.")
