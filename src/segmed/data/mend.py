"""Files of volumes written anew on the grid of the volume's first file, where that can be done."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.files import emptied_on_failure, holds_files, require_folder
from segmed.core.grid_difference import Mend, grid_difference, reoriented
from segmed.core.progress import Progress, tracked
from segmed.core.records import SliceDataset, VolumeFiles
from segmed.core.resampling import resampled, resampled_labels
from segmed.core.volume import Grid, Volume
from segmed.data.layouts.manifest import write_manifest
from segmed.data.layouts.manifest_rows import SEQUENCE
from segmed.data.listing import in_order
from segmed.io.volumes import read_volume, stem_of, write_volume


@dataclass(frozen=True)
class Mended:
    """What was written, and the files that do not fit and could not be mended, each with the reason.

    `manifest` lists all volumes whose files fit now; None where there are none.
    """

    manifest: Path | None
    written: tuple[Path, ...]
    refused: tuple[tuple[Path, str], ...]


def mend_geometry(
    dataset: SliceDataset, out: Path, *, assume_order: bool = False, progress: Progress | None = None
) -> Mended:
    """Write the files of a data set that do not lie on the grid of their volume's first file anew on it.

    Axes are swapped and turned round exactly. Else images are resampled by linear interpolation and masks by the
    nearest voxel. `out/manifest.csv` lists the volumes, with the new files in `out` and the others where they are. Of a
    volume with a file that cannot be mended nothing is written.

    Args:
        dataset: Volumes.
        out: A new or empty folder.
        assume_order: Take a file that states no geometry, of as many voxels, to be in the first one's order.
        progress: Called with the volumes that are done and all.

    Raises:
        DataError: The data set has no volumes, a file cannot be read, or `out` is not empty.
    """
    if any(record.source is not None and record.source.images[0].is_dir() for record in dataset.records):
        raise DataError(f"{dataset.path}: DICOM, whose masks are put on the grid of their images as they are read.")
    volumes = {record.volume: record.source for record in dataset.records if record.source is not None}
    if not volumes:
        raise DataError(f"{dataset.path}: holds no volumes, and only these have a geometry to mend.")
    require_folder(out)
    if holds_files(out):
        raise DataError(f"{out}: is not empty. Name a new folder.")
    with emptied_on_failure(out):
        return _mend_all(dataset, volumes, out, assume_order=assume_order, progress=progress)


def _mend_all(
    dataset: SliceDataset,
    volumes: Mapping[str, VolumeFiles],
    out: Path,
    *,
    assume_order: bool,
    progress: Progress | None,
) -> Mended:
    targets = _targets(volumes, out)
    written: list[Path] = []
    refused: list[tuple[Path, str]] = []
    fitting: dict[str, VolumeFiles] = {}
    for name, files in tracked(volumes.items(), progress, total=len(volumes)):
        reference = read_volume(files.images[0]).grid
        places: list[Path] = [files.images[0]]
        moved: dict[Path, Volume] = {}
        for number, path in enumerate(files.files[1:], start=1):
            mended = _mended(path, reference, labels=number == len(files.images), assume_order=assume_order)
            if isinstance(mended, str):
                refused.append((path, mended))
                break
            if mended is not None:
                moved[targets[name, number]] = mended
            places.append(path if mended is None else targets[name, number])
        else:  # only now, so that a volume that is refused leaves no files
            for target, volume in moved.items():
                write_volume(target, volume)
            written += moved
            images = tuple(places[: len(files.images)])
            fitting[name] = replace(files, images=images, mask=places[-1] if files.mask else None)
    manifest = out / "manifest.csv" if fitting else None
    if manifest is not None:
        write_manifest(manifest, _with_files(dataset, fitting))
    return Mended(manifest, tuple(written), tuple(refused))


def _targets(volumes: Mapping[str, VolumeFiles], out: Path) -> dict[tuple[str, int], Path]:
    """Where each file but a volume's first is written: by the names of both; where two are alike, also what it is."""
    names = {
        (volume, number): f"{volume}_{stem_of(path)}"
        for volume, each in volumes.items()
        for number, path in enumerate(each.files[1:], start=1)
    }
    often = Counter(name.casefold() for name in names.values())
    taken = {name for name, times in often.items() if times == 1}
    for (volume, number), name in names.items():
        if often[name.casefold()] > 1:
            what = "mask" if number == len(volumes[volume].images) else f"{SEQUENCE}{number + 1}"
            tries = (f"{name}_{what}{f'_{place}' if place else ''}" for place in count())
            names[volume, number] = next(each for each in tries if each.casefold() not in taken)
            taken.add(names[volume, number].casefold())
    return {place: out / f"{name}.nii.gz" for place, name in names.items()}


def _mended(path: Path, reference: Grid, *, labels: bool, assume_order: bool) -> Volume | str | None:
    """The volume of a file on the reference grid, None where it lies there already, or why it cannot be put there."""
    volume = read_volume(path)
    found = grid_difference(reference, volume.grid)
    if found.mend in (Mend.NONE, Mend.REORIENT):
        return None if found.mend is Mend.NONE else replace(reoriented(volume, reference), grid=reference)
    if found.mend is Mend.RESAMPLE:
        return resampled_labels(volume, reference) if labels else resampled(volume, reference)
    if found.mend is Mend.ASSUME and assume_order:
        return Volume(volume.array, reference)
    return f"{found} {'Say --assume-order if so.' if found.mend is Mend.ASSUME else 'Export it anew.'}"


def _with_files(dataset: SliceDataset, fitting: dict[str, VolumeFiles]) -> SliceDataset:
    records = [
        replace(record, source=fitting[record.volume], image=fitting[record.volume].images[0])
        for record in dataset.records
        if record.volume in fitting
    ]
    return replace(dataset, records=in_order(records))
