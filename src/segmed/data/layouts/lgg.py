"""The Kaggle LGG data set (Buda et al. 2019): its layout, `CASE/CASE_1.tif` with `CASE/CASE_1_mask.tif`, and channels.

CASE is `TCGA_<institution>_<number>_<date>`. A patient is CASE without its date, as in `data.csv`, so that two
studies of one patient can never be split. Kaggle's archive holds the tree twice; each slice is counted once.

Channels are pre-contrast, FLAIR and post-contrast. A sequence that was not acquired was filled with a copy of FLAIR.
"""

import filecmp
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap
from segmed.core.records import Record, SliceDataset
from segmed.core.wording import plural
from segmed.data.listing import Findings, Listing, find_unpaired, in_order, natural_key
from segmed.data.names import composed, undecodable
from segmed.data.tables import read_rows
from segmed.io.refusals import unreadable

SLICE = re.compile(r"^(?P<study>.+)_(?P<number>\d+)(?P<mask>_mask)?\.tiff?$", re.IGNORECASE)
STUDY_DATE = re.compile(r"_\d{8}$")
INSTITUTION = re.compile(r"^[^_]+_(?P<institution>[^_]+)_[^_]+$")
MAX_DEPTH = 5
CLINICAL_TABLE = "data.csv"
NAME = "lgg"
SEQUENCES = ("pre-contrast", "FLAIR", "post-contrast")
PRE, FLAIR, POST = range(3)
LABELS = LabelMap(("tumour",), (0, 255))
"""How LGG's masks store their one label."""


def list_lgg(root: Path, labels: LabelMap) -> Listing:
    """List a data set in the Kaggle layout at, or up to five folders below, `root`; reads names, not pixels."""
    findings = Findings()
    files = sorted(_named(_files(root), findings), key=_nearest_first)
    images, image_copies = _once(files, findings, mask=False)
    masks, mask_copies = _once(files, findings, mask=True)
    find_unpaired(images, masks, findings, lambda slice_id: f"{images[slice_id].stem}_mask{images[slice_id].suffix}")
    _find_strays(files, findings)
    records = in_order(
        _record(slice_id, path, masks.get(slice_id)) for slice_id, path in sorted(images.items(), key=_by_name)
    )
    attributes = _attributes(files, records, findings)
    dataset = SliceDataset(NAME, root, records, labels, attributes)
    return Listing(dataset, tuple(findings.found), (*image_copies, *mask_copies))


def holds_lgg(root: Path) -> bool:
    """Whether there is at least one slice in the Kaggle layout."""
    return any(SLICE.match(path.name) for path in _files(root))


def holds_lgg_pairs(root: Path) -> bool:
    """Whether there is at least one mask in the Kaggle layout, and at least one slice that is none."""
    matches = [match for path in _files(root) if (match := SLICE.match(path.name))]
    return len({bool(match["mask"]) for match in matches}) == 2


def is_lgg(dataset: SliceDataset) -> bool:
    """Whether channels are LGG's sequences: for data in Kaggle's layout, and LGG's patients in any other."""
    return dataset.name == NAME or are_of_tcga(dataset.patients)


def are_of_tcga(patients: Iterable[str]) -> bool:
    """Whether these are patients of TCGA, by their ids: only then do numbers published on LGG say something of them."""
    ids = list(patients)
    return bool(ids) and all(patient.startswith("TCGA_") for patient in ids)


def channel_names(channels: int, *, is_lgg: bool) -> tuple[str, ...]:
    """Names of stored channels: LGG's sequences, or `channel 1` and so on."""
    if is_lgg and channels == len(SEQUENCES):
        return SEQUENCES
    return tuple(f"channel {number}" for number in range(1, channels + 1))


def copies_of_flair(image: Shaped[np.ndarray, "h w c"]) -> tuple[bool, bool]:
    """Whether pre-contrast, and post-contrast, is a copy of FLAIR on a slice; neither unless it has three channels.

    A sequence is missing where that is so on every slice of a patient.
    """
    if image.shape[2] != len(SEQUENCES):
        return False, False
    pre, post = (np.array_equal(image[..., other], image[..., FLAIR]) for other in (PRE, POST))
    return pre, post


def patient_of(study: str) -> str:
    """The patient of a study: `TCGA_CS_4941` of `TCGA_CS_4941_19960909`; other names stay as they are."""
    return STUDY_DATE.sub("", study)


def institution_of(patient: str) -> str | None:
    """The institution in a patient's id, `CS` of `TCGA_CS_4941`; None where the id has another form."""
    match = INSTITUTION.match(patient)
    return match["institution"] if match else None


def _files(root: Path) -> Iterator[Path]:
    """Files below `root`; not those in hidden folders and the `__MACOSX` folder of zip archives."""

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}). Check the folder's permissions.")

    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=refuse):
        here = Path(folder)
        depth = len(here.relative_to(root).parts)
        kept = [name for name in subfolders if not name.startswith(".") and name != "__MACOSX"]
        subfolders[:] = kept if depth < MAX_DEPTH else []
        yield from (here / name for name in names if not name.startswith("."))


def _named(files: Iterable[Path], findings: Findings) -> Iterator[Path]:
    """The files whose names are text; an error for each other."""
    for path in files:
        if (fault := undecodable(path)) is None:
            yield path
        else:
            findings.error("name", path, fault)


def _nearest_first(path: Path) -> tuple[int, str]:
    return len(path.parts), str(path)


def _by_name(item: tuple[str, Path]) -> tuple[tuple[int, int | str], ...]:
    return natural_key(item[0])


def _once(files: Sequence[Path], findings: Findings, *, mask: bool) -> tuple[dict[str, Path], list[tuple[Path, Path]]]:
    """Each slice's file, and further copies of it; two files of one slice that differ are an error.

    Copies are compared by size, and the first of each study by content, for speed; the check compares all.
    """
    kept: dict[str, Path] = {}
    copies = []
    compared: set[Path] = set()
    for path in files:
        match = SLICE.match(path.name)
        if match is None or bool(match["mask"]) != mask:
            continue
        slice_id = f"{composed(match['study'])}_{int(match['number'])}"
        if slice_id not in kept:
            kept[slice_id] = path
        elif path.parent != kept[slice_id].parent and _same(
            path, kept[slice_id], by_content=path.parent not in compared
        ):
            compared.add(path.parent)
            copies.append((kept[slice_id], path))
        else:
            what, kind = ("mask", "mask") if mask else ("slice", "image")
            findings.error(
                f"doubled-{what}", path, f"a second {kind} of slice {slice_id}, besides {kept[slice_id]}. Keep one."
            )
    if copies:
        kept_root = Path(os.path.commonpath([original.parent for original, _ in copies]))
        doubled = plural(len(copies), "file here is a copy", "files here are copies")
        text = f"{doubled} of files in {kept_root}; each slice is counted once."
        findings.note("doubled-tree", copies[0][1].parent.parent, text)
    return kept, copies


def _same(path: Path, other: Path, *, by_content: bool) -> bool:
    try:
        if by_content:
            return filecmp.cmp(path, other, shallow=False)
        return path.stat().st_size == other.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error


def _record(slice_id: str, image: Path, mask: Path | None) -> Record:
    study, _, number = slice_id.rpartition("_")
    return Record(slice_id, patient_of(study), int(number), image, mask)


def _find_strays(files: Sequence[Path], findings: Findings) -> None:
    """Files that the layout does not know, and slices that lie in another study's folder."""
    studies = {path.parent: set[str]() for path in files if SLICE.match(path.name)}
    for path in files:
        if match := SLICE.match(path.name):
            studies[path.parent].add(match["study"])
    for path in files:
        match = SLICE.match(path.name)
        if path.parent not in studies or path.name == CLINICAL_TABLE:
            continue
        if match is None:
            findings.warning("extra-file", path, "not a slice of the layout `CASE_1.tif`; it is ignored.")
        elif path.parent.name in studies[path.parent] - {match["study"]}:
            text = f"a slice of {match['study']} in the folder of {path.parent.name}. Move it to its own folder."
            findings.error("misplaced-slice", path, text)


def _attributes(files: Sequence[Path], records: Sequence[Record], findings: Findings) -> dict[str, dict[str, str]]:
    """Institution from the id, and the clinical table's columns where there is one; empty values are left out."""
    patients = dict.fromkeys(record.patient for record in records)
    attributes: dict[str, dict[str, str]] = {patient: {} for patient in patients}
    for patient in patients:
        if institution := institution_of(patient):
            attributes[patient]["institution"] = institution
    table = next((path for path in files if path.name == CLINICAL_TABLE), None)
    if table is not None:
        _add_clinical(table, attributes, findings)
    return attributes


def _add_clinical(table: Path, attributes: dict[str, dict[str, str]], findings: Findings) -> None:
    try:
        rows = read_rows(table, what="the clinical table with a column Patient")
    except DataError as error:
        findings.error("clinical-table", table, str(error).removeprefix(f"{table}: "))
        return
    if not rows or "Patient" not in rows[0]:
        findings.warning("clinical-table", table, "has no column Patient; it is ignored. Name the id column Patient.")
        return
    by_patient: dict[str, dict[str, str]] = {}
    for row in rows:
        patient = patient_of(row["Patient"])
        if patient in by_patient:
            findings.warning("clinical-doubled", table, f"has two rows for {patient}; the first is used. Remove one.")
        by_patient.setdefault(patient, {name: value for name, value in row.items() if value and name != "Patient"})
    for patient, values in attributes.items():
        if patient not in by_patient:
            findings.warning("clinical-missing", patient, f"has no row in {table.name}. Add one, or go without.")
        elif not by_patient[patient]:
            findings.warning("clinical-empty", patient, f"has a row in {table.name} without any value.")
        values.update(by_patient.get(patient, {}))
    if absent := len(by_patient.keys() - attributes.keys()):
        findings.note("clinical-unused", table, f"{absent} of {len(by_patient)} patients are not in the folder.")
