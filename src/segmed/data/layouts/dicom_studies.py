"""A folder of DICOM studies: a folder for each patient, whose masks are segmentations or structure sets in DICOM."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import islice
from operator import or_
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.identity import NOBODY, Identity
from segmed.core.labels import LabelMap
from segmed.core.records import VolumeFiles
from segmed.core.stacking import Plane
from segmed.core.wording import plural
from segmed.data.layouts.volume_listing import LABELS, PatientVolumeFiles, list_volumes
from segmed.data.listing import Findings, Listing, natural_key
from segmed.data.names import alike_names, composed
from segmed.io.converting import is_dicom_path
from segmed.io.dicom.headers import DICOMDIR_NAME, NO_DICOM, dicom_among
from segmed.io.dicom.label_names import said_of_withheld
from segmed.io.dicom.references import MaskHeader, mask_header, series_of
from segmed.io.dicom.sequences import choose_sequences, folder_of, read_wanted, series_below, studies_of, telling_name
from segmed.io.dicom.series import Series, find_series
from segmed.io.dicom.structures import NoStructuresError

LOOKED_AT = 50
"""Files of a folder among which one has to be DICOM."""
MOST_LABELS = 255


@dataclass(frozen=True, eq=False)
class _Study:
    """A series with the folder of its patient, as it is named here, and the masks that refer to it."""

    series: Series
    patient: str
    name: str
    masks: tuple[MaskHeader, ...]


def holds_dicom_studies(root: Path) -> bool:
    """Whether there is DICOM among the first files in folders of `root`."""
    folders = (path for path in root.iterdir() if path.is_dir()) if root.is_dir() else iter(())
    files = (path for folder in folders if not folder.name.startswith(".") for path in _files(folder))
    return any(is_dicom_path(path) for path in islice(files, LOOKED_AT))


def list_dicom_studies(
    root: Path, labels: LabelMap | None, patient_regex: str | None = None, plane: Plane = "acquired"
) -> Listing:
    """List the series that segmentations and structure sets refer to; without any of these, all series.

    Where `series.json` names the series of several sequences, those of one frame of reference are one volume.

    Patients are told by the headers and named after the folder that has the files of one patient alone, from the first
    folder in `root` on. Labels are the names of segments and structures, or those of `labels` among them.
    """
    findings = Findings()
    found, masks = _found(root, findings)
    referred, masks = _referred(found, masks, findings)
    studies = _studies(root, found, referred, findings, told=patient_regex is not None)
    if labels is not None and labels.is_colour:
        raise DataError(f"{root}: labels are given in colours, but segments have names. Name them with --labels.")
    if masks:
        known = {name for mask in masks for _, name in mask.names}
        chosen = labels if labels is not None and labels.names_one_of(known) else _labels(root, masks)
    else:
        chosen = labels or LABELS
    kept = list(_with_one_mask(root, studies, chosen, findings)) if masks else studies
    wanted = read_wanted(root)
    listed = list(_volumes(kept, found, wanted, findings))
    if wanted:  # a series without a mask is another sequence
        findings.found = [each for each in findings.found if each.code != "no-mask"]
    listing = list_volumes(root, listed, findings, labels=chosen, patient_regex=patient_regex, plane=plane)
    return replace(listing, dataset=replace(listing.dataset, labels_by_headers=bool(masks) and chosen is not labels))


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder that are not hidden, as the system lists them."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _found(root: Path, findings: Findings) -> tuple[list[Series], list[MaskHeader]]:
    """The series and masks in the folders of `root`; an error for a folder with a damaged file, and for loose files."""
    series, masks = list[Series](), list[MaskHeader]()
    files, lost = dicom_among(_files(root))
    _find_loose([path for path in (*files, *lost) if path.parent == root], findings)
    folders = {root / path.relative_to(root).parts[0] for path in (*files, *lost)}
    for folder in sorted(folders - {*files, *lost}, key=lambda path: natural_key(path.name)):
        if cut := next((path for path in lost if path.is_relative_to(folder)), None):
            findings.error("bad-image", cut, NO_DICOM)
            continue
        try:
            here = find_series(folder)
            masks += _headers(here.masks, findings)
            series += here.series
        except DataError as error:
            findings.error("bad-image", folder, str(error).removeprefix(f"{folder}: "))
    return series, masks


def _headers(files: Iterable[Path], findings: Findings) -> list[MaskHeader]:
    """What masks say of themselves; a note for each structure set of points or open lines alone, which is no mask."""
    found = []
    for path in files:
        try:
            found.append(mask_header(path))
        except NoStructuresError:
            findings.note("no-structures", path, "draws points or open lines alone, which are no labels. Left out.")
    return found


def _find_loose(files: Iterable[Path], findings: Findings) -> None:
    """An error for each image or mask that lies beside the folders of patients, and so is no patient's."""
    for path in files:
        if path.name == DICOMDIR_NAME:
            continue
        try:
            here = find_series(path)
        except DataError as error:
            findings.error("bad-image", path, str(error).removeprefix(f"{path}: "))
            continue
        if here.series or here.masks:
            findings.error("loose-image", path, "lies in no patient's folder. Put it into one.")


def _referred(
    series: Sequence[Series], masks: Sequence[MaskHeader], findings: Findings
) -> tuple[dict[str, list[MaskHeader]], list[MaskHeader]]:
    """The masks of each series, by its UID, and all masks; an error for each that belongs to none.

    Names of labels are withheld that hold what the headers of their study say of people; of no series, those of any.
    """
    known = _identities(series)
    referred, found = defaultdict[str, list[MaskHeader]](list), list[MaskHeader]()
    for mask in masks:
        try:
            own = series_of(mask, series)
        except DataError as error:
            findings.error("missing-image", mask.file, str(error).removeprefix(f"{mask.file}: "))
            found.append(mask_header(mask.file, reduce(or_, (each.identity for each in series), NOBODY)))
        else:
            found.append(mask_header(mask.file, known[own]))
            referred[own.uid].append(found[-1])
    return referred, found


def _identities(series: Sequence[Series]) -> dict[Series, Identity]:
    """Of each series what the headers of all series of its patient or in its frame of reference say of people."""
    said = defaultdict[str, set[Identity]](set)
    for each in series:
        for key in {each.patient, each.frame_of_reference} - {""}:
            said[key].add(each.identity)
    known = {key: reduce(or_, identities) for key, identities in said.items()}
    return {
        each: each.identity | known.get(each.patient, NOBODY) | known.get(each.frame_of_reference, NOBODY)
        for each in series
    }


def _studies(
    root: Path, found: Sequence[Series], referred: Mapping[str, Sequence[MaskHeader]], findings: Findings, *, told: bool
) -> list[_Study]:
    """The series that show a body, with their patients, each under a name of its own.

    Where it is `told` otherwise who the patients are, nothing is said of headers that leave it open.
    """
    folders = _patient_folders(root, [each for each in found if not each.localiser], findings)
    owners = _owners(root, folders, findings)
    named = {folder: each.patient for each, folder in folders.items() if each.patient}
    if not told:
        _find_open(root, folders, named, findings)
    wanted = [each for each in folders if each.uid in referred or not referred]
    often, taken, studies = Counter(folders[each] for each in wanted), Counter[str](), list[_Study]()
    for each, folder in folders.items():
        number = "series" if each.number is None else str(each.number)
        name = folder if often[folder] == 1 and each in wanted else f"{folder}/{number}"
        taken[name] += 1
        name = name if taken[name] == 1 else f"{name}-{taken[name]}"
        studies.append(
            _Study(
                each, owners.get(each.patient or named.get(folder, ""), folder), name, tuple(referred.get(each.uid, ()))
            )
        )
    return studies


def _patient_folders(root: Path, images: Sequence[Series], findings: Findings) -> dict[Series, str]:
    """Of each series the folder nearest to `root` whose files are of its patient alone; an error for one without."""
    parts = {each: folder_of(each).relative_to(root).parts for each in images}
    inside = defaultdict[tuple[str, ...], set[str]](set)
    for each, names in parts.items():
        for depth in range(len(names)):
            inside[names[: depth + 1]] |= {each.patient} - {""}
    found: dict[Series, str] = {}
    for each, names in parts.items():
        alone = next((names[:depth] for depth in range(1, len(names) + 1) if len(inside[names[:depth]]) < 2), None)
        if alone is None:
            text = "holds files of several patients. Put those of each into a folder of their own."
            findings.error("several-patients", folder_of(each), text)
        else:
            found[each] = composed("/".join(alone))
    return found


def _find_open(root: Path, folders: Mapping[Series, str], named: Mapping[str, str], findings: Findings) -> None:
    """A warning where headers leave open whose a folder is: of no patient, or of several."""
    for folder in dict.fromkeys(folders.values()):
        if named and folder not in named:
            text = "has no PatientID in its headers, as others have; it counts as a patient of its own."
            findings.warning("unnamed-patient", root / folder, f"{text} Say who the patients are with --patient-regex.")
    inside = defaultdict[str, dict[str, None]](dict)
    for folder in folders.values():
        inside[folder.split("/")[0]][folder] = None
    for top, below in inside.items():
        if len(below) > 1:
            text = f"holds files of several patients by their headers, who count as {_some({*below})}."
            say = findings.note if len(inside) == 1 else findings.warning  # one folder for all is an exported medium's
            say("several-patients", root / top, f"{text} Where that is wrong, say who they are with --patient-regex.")


def _owners(root: Path, folders: Mapping[Series, str], findings: Findings) -> dict[str, str]:
    """The name of each patient that headers tell: his first folder, with a warning where he has several."""
    by_patient = defaultdict[str, dict[str, None]](dict)
    for each, folder in folders.items():
        if each.patient:
            by_patient[each.patient][folder] = None
    for names in by_patient.values():
        if len(names) > 1:
            text = (
                f"{', '.join(names)} are of one patient by their headers, and counted so. Where that is a placeholder "
                "of anonymised data, say who the patients are with --patient-regex."
            )
            findings.warning("one-patient", root, text)
    return {patient: next(iter(names)) for patient, names in by_patient.items()}


def _labels(root: Path, masks: Sequence[MaskHeader]) -> LabelMap:
    """The names of all segments and structures as labels, in the order in which they are met."""
    names = tuple(dict.fromkeys(name for mask in masks for _, name in mask.names))
    if not 0 < len(names) <= MOST_LABELS:
        raise DataError(
            f"{root}: its segmentations and structure sets name {len(names)} segments, expected 1 to {MOST_LABELS}. "
            "Choose some with --labels, such as 'background=0,liver=1'."
        )
    return LabelMap(names, tuple(range(len(names) + 1)))


def _with_one_mask(root: Path, studies: Sequence[_Study], labels: LabelMap, findings: Findings) -> Iterator[_Study]:
    """The studies with the one mask that has any of the labels; notes on what is left out, and errors."""
    for alike in alike_names(labels.names):
        text = f"labels {' and '.join(alike)} differ by case or leading zeros only. Name segments alike."
        findings.warning("alike-labels", root, text)
    _find_told_names(root, [mask for study in studies for mask in study.masks], findings)
    met, others = set[str](), set[str]()
    without = defaultdict[str, list[Series]](list)
    patients = dict.fromkeys(study.patient for study in studies)
    for study in studies:
        names = {mask.file: {name for _, name in mask.names} for mask in study.masks}
        masks = [mask for mask in study.masks if names[mask.file] & set(labels.names)]
        others |= {name for each in names.values() for name in each} - set(labels.names)
        met |= {name for mask in masks for name in names[mask.file]}
        if not masks:
            without[study.patient].append(study.series)
            continue
        patients.pop(study.patient, None)
        if len(masks) > 1:
            listed = ", ".join(mask.file.name for mask in masks)
            text = f"{len(masks)} masks of series {study.series}: {listed}. Keep one, or choose by --labels."
            findings.error("several-masks", masks[0].file, text)
            continue
        if lacking := [name for name in labels.names if name not in names[masks[0].file]]:
            text = f"has no segment {', '.join(lacking)}, as other masks have; it counts as empty."
            findings.warning("missing-label", masks[0].file, text)
        yield replace(study, masks=(masks[0],))
    for patient in patients:
        text = "no segmentation or structure set refers to its images, as to others'. Add one, or remove the folder."
        findings.error("missing-mask", patient, text)
    for patient, series in without.items():
        if patient not in patients:
            text = (
                f"{plural(len(series), 'series', 'series')} without a mask left out: {', '.join(map(str, series[:4]))}."
            )
            findings.note("no-mask", patient, text)
    if unknown := [name for name in labels.names if name not in met]:
        findings.error("missing-label", root, f"no mask has a segment {unknown[0]!r}; there are {_some(others)}.")
    elif others:
        findings.note("other-segments", root, f"segments without a label are left out: {_some(others)}.")


def _find_told_names(root: Path, masks: Sequence[MaskHeader], findings: Findings) -> None:
    """A note that headers name labels, which reach reports, and a warning for each mask with a withheld name."""
    for mask in masks:
        if mask.withheld:
            findings.warning("withheld-label", mask.file, said_of_withheld(mask.withheld))
    if names := {name for mask in masks for _, name in mask.names}:
        text = f"labels are named by headers of masks, and these names reach runs and reports: {_some(names)}."
        findings.note("label-names", root, f"{text} See that they name nobody.")


def _some(names: set[str], most: int = 8) -> str:
    listed = sorted(names, key=natural_key)
    return (", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")) or "none"


def _volumes(
    studies: Sequence[_Study], found: Sequence[Series], wanted: tuple[str, ...], findings: Findings
) -> Iterator[PatientVolumeFiles]:
    """The volume of each study; with `wanted` sequences one for all series in one frame of reference."""
    groups = {each: group for group in studies_of(found) for each in group}
    met: dict[tuple[Series, ...], _Study] = {}
    for study in studies:
        sequences: tuple[Series, ...] = ()
        if wanted:
            try:
                sequences = choose_sequences(groups[study.series], wanted, str(folder_of(study.series)))
            except DataError as error:
                findings.error("sequences", folder_of(study.series), _after(error, folder_of(study.series)))
                continue
            other = met.setdefault(sequences, study)
            if other is not study:
                if study.masks:
                    text = f"refers to series {study.series}, and {other.masks[0].file.name} to another of the study."
                    findings.error("several-masks", study.masks[0].file, f"{text} Keep one.")
                continue
        volume = _volume(study, sequences or (study.series,), found, findings)
        if volume is not None:
            yield volume


def _volume(
    study: _Study, sequences: Sequence[Series], found: Sequence[Series], findings: Findings
) -> PatientVolumeFiles | None:
    """The files of a study, and the grid of its first sequence; None, and an error, where slices make no volume."""
    folders = [folder_of(each) for each in sequences]
    names = [telling_name(each, found) for each in sequences]
    alone = [len(series_below(folder, found)) < 2 for folder in folders]
    for each, folder, name, only in zip(sequences, folders, names, alone, strict=True):
        if name is None and not only:
            text = f"series {each} shares the names of all its files with others. Put it into a folder of its own."
            findings.error("bad-image", folder, text)
            return None
    try:
        grids = [each.stack().grid for each in sequences]
    except DataError as error:
        findings.error("bad-image", folders[0], _after(error, folders[0]))
        return None
    mask = study.masks[0] if study.masks else None
    series = None if alone[0] else names[0]
    several = tuple(name or str(each.number) for name, each in zip(names, sequences, strict=True))
    files = VolumeFiles(study.name, tuple(folders), series=series)
    if mask is not None:
        files = replace(files, mask=mask.file, identity=mask.image)
    if len(sequences) > 1:
        files = replace(files, series=several[0], sequences=several)
    return PatientVolumeFiles(files, study.patient, grids[0])


def _after(error: DataError, folder: Path) -> str:
    return str(error).removeprefix(f"{folder}: ")
