"""A folder for each volume with a file for each sequence in it, as BraTS has it: `p1/p1_t1.nii.gz`."""

import re
from collections.abc import Iterator
from pathlib import Path

from segmed.core.labels import LabelMap
from segmed.core.records import VolumeFiles
from segmed.core.stacking import Plane
from segmed.data.layouts.volume_listing import LABELS, PatientVolumeFiles, list_volumes
from segmed.data.listing import Findings, Listing, natural_key
from segmed.data.names import composed, is_passed_over
from segmed.io.volumes import stem_of, suffix_of

MASKS = ("seg", "mask", "label", "labels")
BRATS = re.compile(r"^brats", re.IGNORECASE)
TIME_POINT = re.compile(r"^(?P<patient>BraTS-[A-Za-z]+-\d+)-\d+$")
"""From 2023 on names end in the time point: `BraTS-GLI-00005-001` is the second of patient 00005."""
NAMES = ("necrosis", "oedema", "enhancing tumour")


def holds_sequences(root: Path) -> bool:
    """Whether a folder in `root` has files named after it, of which one is a mask."""
    folders = (folder for folder in root.iterdir() if folder.is_dir()) if root.is_dir() else iter(())
    return any(set(MASKS) & _files(folder).keys() for folder in folders)


def list_sequences(
    root: Path, labels: LabelMap | None, patient_regex: str | None = None, plane: Plane = "acquired"
) -> Listing:
    """List the folders of `root` that have such files; sequences are channels in the order of their names."""
    findings = Findings()
    found = list(sequence_volumes(root, findings))
    return list_volumes(
        root, found, findings, labels=labels or _labels(found), patient_regex=patient_regex, plane=plane
    )


def sequence_volumes(
    root: Path, findings: Findings, results: Path | None = None, *, masks: bool = True
) -> Iterator[PatientVolumeFiles]:
    """The volumes in folders of `root` whose files are named after the folder; without `masks` these may be missing.

    The folder `results` is left out.
    """
    inside = (path for path in root.iterdir() if path.is_dir() and not is_passed_over(path, root, results))
    folders = sorted(inside, key=lambda path: natural_key(path.name))
    files = {folder: _files(folder) for folder in folders}
    files = {folder: named for folder, named in files.items() if named}
    everything = sorted({name for named in files.values() for name in named if name not in MASKS})
    for folder, named in files.items():
        lost = [name for name in everything if name not in named]
        mask = next((named[name] for name in MASKS if name in named), None)
        if lost:
            findings.error("missing-sequence", folder, f"has no {lost[0]}, which other volumes have. Add it.")
        elif masks and mask is None:
            findings.error("missing-mask", folder, f"has no mask, expected {folder.name}_seg.nii.gz. Add it.")
        else:
            name = composed(folder.name)
            point = TIME_POINT.match(name)
            images = tuple(named[sequence] for sequence in everything)
            yield PatientVolumeFiles(VolumeFiles(name, images, mask), point["patient"] if point else None)


def _files(folder: Path) -> dict[str, Path]:
    """The volumes of a folder that are named after it, by what follows its name."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        stem = stem_of(path)
        if suffix_of(path) is not None and re.match(rf"{re.escape(folder.name)}[_-].", stem):
            found.setdefault(stem[len(folder.name) + 1 :].lower(), path)
    return found


def _labels(found: list[PatientVolumeFiles]) -> LabelMap:
    """BraTS's three labels, of which the last is 4 until 2021 and 3 from 2023 on; of other data one label."""
    names = [each.files.name for each in found]
    if not names or not all(BRATS.match(name) for name in names):
        return LABELS
    return LabelMap(NAMES, (0, 1, 2, 3 if all(name.startswith("BraTS-") for name in names) else 4))
