"""Volumes found on disk as a data set: their slices as records, and who their patients are."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.labels import UNNAMED, LabelMap
from segmed.core.records import Record, SliceDataset, VolumeFiles
from segmed.core.stacking import Plane, stacking
from segmed.core.volume import Grid
from segmed.data.listing import Findings, Listing, in_order, natural_key
from segmed.data.names import composed, is_passed_over
from segmed.data.patients import NUMBERED
from segmed.io.volumes import read_grid, stem_of, suffix_of

LABELS = LabelMap((UNNAMED,), (0, 1))
"""How masks that are volumes store a single label."""
SEQUENCE = re.compile(r"^(?P<name>.+)_(?P<channel>\d{4})$")
"""nnU-Net's names: `scan_0000` is the first sequence of `scan`."""


@dataclass(frozen=True)
class PatientVolumeFiles:
    """The files of a volume, whose it is, None where the layout does not say, and its grid where that is known."""

    files: VolumeFiles
    patient: str | None = None
    grid: Grid | None = None


def list_volumes(
    root: Path,
    found: Sequence[PatientVolumeFiles],
    findings: Findings,
    *,
    labels: LabelMap,
    patient_regex: str | None,
    plane: Plane,
) -> Listing:
    """The slices of volumes as a data set; headers are read, no voxel.

    Patients are those of the layout or, by `patient_regex`, those that names of volumes tell. Else a volume counts as a
    patient, which is known as long as names do not look as if patients had several, see `tell_patients`.
    """
    told = patient_regex is not None or all(each.patient is not None for each in found)
    if patient_regex is not None:
        found = list(_named(found, patient_regex, findings))
    known = told or tell_patients(each.files.name for each in found)
    records = [record for each in found for record in slices_of(each, plane, findings)]
    name = root.resolve().name
    return Listing(SliceDataset(name, root, in_order(records), labels, patients_known=known), tuple(findings.found))


def slices_of(found: PatientVolumeFiles, plane: Plane, findings: Findings) -> list[Record]:
    """A record for each slice of a volume, numbered from 1; none, and an error, where its header cannot be read."""
    files = replace(found.files, plane=plane)
    image = files.images[0]
    try:
        grid = found.grid or read_grid(image)
        cut = stacking(grid, plane).apply_grid(grid)
    except DataError as error:
        findings.error("bad-image", image, str(error).removeprefix(f"{image}: "))
        return []
    patient = found.patient or files.name
    return [
        Record(f"{files.name}_{number}", patient, number, image, files.mask, files)
        for number in range(1, cut.shape[0] + 1)
    ]


def tell_patients(names: Iterable[str]) -> bool:
    """Whether each volume may stand for a patient: names such as `p01_1, p01_2, p02_1` say that some have several.

    Names that differ in one number alone, as `liver_1` to `liver_9`, are those of patients.
    """
    groups: dict[str, int] = {}
    for name in names:
        match = NUMBERED.match(name)
        groups[match["name"] if match else name] = groups.get(match["name"] if match else name, 0) + 1
    return len(groups) == 1 or max(groups.values(), default=0) == 1


def volumes_below(folder: Path, results: Path | None = None) -> list[Path]:
    """The files below a folder that are volumes by their names, in the order of these; hidden ones aside, and those in
    `results`."""
    files = (path for path in folder.rglob("*") if suffix_of(path) is not None and path.is_file())
    shown = (path for path in files if not is_passed_over(path, folder, results))
    return sorted(shown, key=lambda path: natural_key(path.relative_to(folder).as_posix()))


def name_below(folder: Path, path: Path) -> str:
    """A volume's path below a folder without its suffix, in composed Unicode."""
    return composed((path.relative_to(folder).parent / stem_of(path)).as_posix())


def by_sequence(folder: Path, paths: Sequence[Path], findings: Findings) -> dict[str, tuple[Path, ...]]:
    """The files of each volume by its name: those named `X_0000`, `X_0001`, … are sequences of X.

    That holds where all files are named so and each X has a first; else each file is a volume of one sequence.
    """
    named = {path: name_below(folder, path) for path in paths}
    matches = {path: SEQUENCE.match(name) for path, name in named.items()}
    first = {match["name"] for match in matches.values() if match and int(match["channel"]) == 0}
    if not paths or any(match is None or match["name"] not in first for match in matches.values()):
        found: dict[str, tuple[Path, ...]] = {}
        for path, name in named.items():
            _put(found, name, (path,), findings)
        return found
    groups: dict[str, dict[int, Path]] = {}
    for path, match in matches.items():
        assert match is not None
        channels = groups.setdefault(match["name"], {})
        if int(match["channel"]) in channels:
            findings.error(
                "doubled-image",
                path,
                f"a second file of this sequence, besides {channels[int(match['channel'])].name}. Keep one.",
            )
        channels.setdefault(int(match["channel"]), path)
    return dict(_complete(groups, findings))


def _complete(groups: Mapping[str, Mapping[int, Path]], findings: Findings) -> Iterator[tuple[str, tuple[Path, ...]]]:
    """The volumes that have every sequence that others have; an error for each of the others."""
    everything = sorted({channel for channels in groups.values() for channel in channels})
    for name, channels in groups.items():
        lost = [channel for channel in everything if channel not in channels]
        if lost:
            text = f"sequence _{lost[0]:04d} of {name} is missing, which other volumes have. Add it."
            findings.error("missing-sequence", channels[min(channels)], text)
        else:
            yield name, tuple(channels[channel] for channel in everything)


def paired(
    images: Mapping[str, tuple[Path, ...]], masks: Mapping[str, Path], findings: Findings, expected: str
) -> Iterator[VolumeFiles]:
    """Images with their masks by name, and an error for each without the other; `expected` says where masks lie.

    Where there is no mask at all, the images are there to be predicted.
    """
    for name, paths in images.items():
        if masks and name not in masks:
            findings.error("missing-mask", paths[0], f"has no mask, expected {expected}/{name}. Add it, or remove it.")
        yield VolumeFiles(name, paths, masks.get(name))
    for name, mask in masks.items():
        if name not in images:
            findings.error("missing-image", mask, "a mask without its image. Add the image, or remove the mask.")


def masks_by_name(folder: Path, findings: Findings) -> dict[str, Path]:
    """The masks below a folder by name, with or without `_mask` or `_seg` at its end."""
    found: dict[str, tuple[Path, ...]] = {}
    for path in volumes_below(folder) if folder.is_dir() else []:
        name = name_below(folder, path)
        _put(found, name.removesuffix("_mask").removesuffix("_seg"), (path,), findings)
    return {name: paths[0] for name, paths in found.items()}


def _put(found: dict[str, tuple[Path, ...]], name: str, paths: tuple[Path, ...], findings: Findings) -> None:
    if name in found:
        text = f"a second file of {name}, besides {found[name][0].name}. Keep one."
        findings.error("doubled-volume", paths[0], text)
    else:
        found[name] = paths


def _named(found: Sequence[PatientVolumeFiles], patient_regex: str, findings: Findings) -> Iterator[PatientVolumeFiles]:
    try:
        pattern = re.compile(patient_regex)
    except re.error as error:
        raise DataError(f"--patient-regex {patient_regex!r}: {error}. Try for example '^(.+)_[0-9]+$'.") from error
    if "slice" in pattern.groupindex:
        volume = f"{found[0].files.images[0]} is a volume, and " if found else ""
        raise DataError(
            f"--patient-regex {patient_regex!r}: {volume}volumes have their slices. Leave out the group slice, or move "
            "volumes that lie among images elsewhere."
        )
    for each in found:
        match = pattern.search(each.files.name)
        patient = match and (match.groupdict().get("patient") or (match[1] if match.re.groups else match[0]))
        if not patient:
            text = f"--patient-regex {patient_regex!r} finds no patient in {each.files.name!r}. Correct it."
            findings.error("no-patient", each.files.images[0], text)
        else:
            yield replace(each, patient=patient)
