"""Volumes that are to be predicted: a file, a folder of files, or a data set."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segmed.core.errors import ConfigError, DataError
from segmed.core.records import VolumeFiles
from segmed.core.wording import plural
from segmed.data.layouts.sequences import sequence_volumes
from segmed.data.layouts.volume_listing import LABELS, SEQUENCE, by_sequence, volumes_below
from segmed.data.listing import Findings
from segmed.data.names import is_passed_over, is_slice
from segmed.data.sources import holds_pairs, layout_of, list_dataset
from segmed.inference.dicom_inputs import find_dicom
from segmed.inference.targets import INNER, are_masks_of, results_in
from segmed.io.converting import is_dicom_path
from segmed.io.volumes import stem_of, suffix_of
from segmed.preprocess import PreprocessConfig


@dataclass(frozen=True)
class VolumeInputs:
    """Volumes to predict, by names that are paths below the output folder.

    `faults` are files that cannot be used, each with the reason; `left_out` are folders of DICOM without images to
    predict, and `results` volumes in the folder that results go to, which are no inputs.
    """

    root: Path
    volumes: tuple[VolumeFiles, ...]
    faults: tuple[tuple[Path, str], ...] = ()
    left_out: tuple[Path, ...] = ()
    results: tuple[Path, ...] = ()


def find_volumes(
    path: Path, *, patient_regex: str | None = None, series: str | None = None, out: Path | None = None
) -> VolumeInputs | None:
    """The volumes at `path`: a file, whose further sequences `X_0001` lie beside it, a data set, or any folder.

    Folders of DICOM are a volume each; `series` says which series of each, where they have several. `out` is where
    results will go: what lies there is no input, if it is a folder below `path`.

    Returns:
        The volumes; None where there is no file that is a volume by its name.

    Raises:
        DataError: A folder holds images of slices besides, or DICOM beside other volumes.
        ConfigError: `patient_regex` is given: each volume is normalised by itself; or `series`, and there is no DICOM.
    """
    path = path.resolve()
    results = results_in(path, out)
    found = _found(path, series, results)
    if found is not None and results is not None and results.is_dir():
        found = replace(found, results=tuple(volumes_below(results)))
    if found is not None and patient_regex is not None:
        raise ConfigError(f"{path}: volumes are normalised each by itself, so leave out --patient-regex.")
    if series is not None and not (found and any(volume.series for volume in found.volumes)):
        raise ConfigError(f"{path}: --series chooses among series of DICOM, and there are none. Leave it out.")
    return found


def sequence_doubts(inputs: VolumeInputs, config: PreprocessConfig) -> tuple[str, ...]:
    """A sentence where files named `X_0000`, `X_0001` are taken for sequences of X, and the run reads fewer."""
    reads = len(config.channels or ()) and max(config.channels or ()) + 1
    more = [each for each in inputs.volumes if len(each.images) > reads > 0 and _by_number(each)]
    if not more:
        return ()
    first = more[0]
    others = f", as of {plural(len(more) - 1, 'other volume')}" if len(more) > 1 else ""
    those = "the first" if reads == 1 else f"the first {reads}"
    text = (
        f"{first.images[0].name} to {first.images[-1].name} are read as {len(first.images)} sequences of one volume, "
        f"{first.name}, of which the run reads {those}{others}. Where they are scans of their own, rename them: no "
        "names that end in _0000, _0001."
    )
    return (text,)


def _by_number(volume: VolumeFiles) -> bool:
    return all(SEQUENCE.match(stem_of(path)) for path in volume.images)


def _found(path: Path, series: str | None, results: Path | None) -> VolumeInputs | None:
    if path.is_file() and suffix_of(path) is not None:
        return VolumeInputs(path.parent, (_of_file(path),))
    if path.is_file() and is_dicom_path(path):
        return _of_dicom(path, series)
    layout = layout_of(path)
    if path.is_file() or (holds_pairs(path, layout) and not are_masks_of(path, results)):
        return _of_data_set(path, results)
    return _of_folder(path, series, results) if path.is_dir() else None


def _of_file(path: Path) -> VolumeFiles:
    """The volume of a file; of `X_0000` with `X_0001` and so on, where these are there."""
    match = SEQUENCE.match(stem_of(path))
    if match is None or int(match["channel"]):
        return VolumeFiles(stem_of(path), (path,))
    ending = suffix_of(path) or ""
    beside = [path]
    while (further := path.with_name(f"{match['name']}_{len(beside):04d}{ending}")).is_file():
        beside.append(further)
    return VolumeFiles(match["name"], tuple(beside))


def _of_data_set(path: Path, results: Path | None) -> VolumeInputs | None:
    if path.is_file() and path.suffix.lower() not in (".csv", ".json"):
        return None
    listing = list_dataset(path, labels=LABELS)
    sources = {record.volume: record.source for record in listing.dataset.records if record.source is not None}
    volumes = {name: files for name, files in sources.items() if not _is_of(results, files.images[0].resolve())}
    errors = [finding for finding in listing.findings if finding.severity == "error" and "mask" not in finding.code]
    if not volumes:
        return None
    places = [(Path(finding.where), finding) for finding in errors]
    faults = tuple((place, f"{place}: {finding.message}") for place, finding in places if not _is_of(results, place))
    return VolumeInputs(path if path.is_dir() else path.parent, _without_masks(list(volumes.values())), faults)


def _is_of(results: Path | None, path: Path) -> bool:
    return results is not None and path.is_relative_to(results)


def _of_dicom(path: Path, series: str | None, results: Path | None = None) -> VolumeInputs | None:
    found = find_dicom(path, series, results)
    root = path if path.is_dir() else path.parent
    return VolumeInputs(root, found.volumes, found.faults, found.left_out) if found.volumes else None


def _of_folder(path: Path, series: str | None, results: Path | None) -> VolumeInputs | None:
    root = next((path / name for name in INNER if (path / name).is_dir() and path / name != results), path)
    files = volumes_below(root, results)
    dicom = _of_dicom(root, series, results)
    if not files and dicom is None:
        return None
    images = (file for file in root.rglob("*") if is_slice(file))
    other = next((file for file in images if not is_passed_over(file, root, results)), None)
    if other is None and files and dicom is not None:
        other = dicom.volumes[0].images[0]
    if other is not None:
        raise DataError(f"{path}: holds volumes, and images such as {other.name}. Predict one kind at a time.")
    if not files:
        return dicom
    findings = Findings()
    found: Sequence[VolumeFiles] = [each.files for each in sequence_volumes(root, findings, results, masks=False)]
    if len({file for each in found for file in each.images}) < len(files):
        findings = Findings()
        found = [VolumeFiles(name, paths) for name, paths in by_sequence(root, files, findings).items()]
    faults = tuple((Path(finding.where), f"{finding.where}: {finding.message}") for finding in findings.found)
    return VolumeInputs(root, _without_masks(found), faults)


def _without_masks(volumes: Sequence[VolumeFiles]) -> tuple[VolumeFiles, ...]:
    return tuple(replace(volume, mask=None) for volume in volumes)
