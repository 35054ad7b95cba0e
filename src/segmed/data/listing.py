"""What a folder holds, good and bad: the records, and findings about files that do not fit."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from segmed.core.errors import DataError
from segmed.core.records import Record, SliceDataset, by_volume
from segmed.data.names import alike_key, alike_names, shown

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing to know about a data set.

    `where` is a file, a slice or a patient; `code` is stable and short, for scripts; `message` says what is wrong,
    what was expected and what to do.
    """

    severity: Severity
    code: str
    where: str
    message: str


@dataclass(frozen=True)
class Listing:
    """A data set as listed, before a pixel is read, with every finding on the way.

    `copies` pairs each file that is used with a further file of the same slice, as in a doubled tree.
    """

    dataset: SliceDataset
    findings: tuple[Finding, ...] = ()
    copies: tuple[tuple[Path, Path], ...] = ()


@dataclass
class Findings:
    """Collects findings in the order in which they are met."""

    found: list[Finding] = field(default_factory=list)

    def error(self, code: str, where: object, message: str) -> None:
        """Something that makes results wrong, or a file unusable."""
        self.found.append(Finding("error", code, shown(where), shown(message)))

    def warning(self, code: str, where: object, message: str) -> None:
        """Something to look at before results are believed."""
        self.found.append(Finding("warning", code, shown(where), shown(message)))

    def note(self, code: str, where: object, message: str) -> None:
        """A fact worth knowing."""
        self.found.append(Finding("note", code, shown(where), shown(message)))


def require_no_errors(listing: Listing) -> SliceDataset:
    """The data set, or a `DataError` with the first error and the number of further ones."""
    require_no_errors_among(listing.findings)
    return listing.dataset


def require_no_errors_among(findings: Iterable[Finding]) -> None:
    """Raise `DataError` with the first error and the number of further ones, where there is one."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        more = f" ({len(errors) - 1} more; see `segmed data check`.)" if len(errors) > 1 else ""
        raise DataError(f"{errors[0].where}: {errors[0].message}{more}")


def natural_key(text: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key in which `slice_2` comes before `slice_10`."""
    parts = re.split(r"(\d+)", text)
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part)


def in_order(records: Iterable[Record]) -> tuple[Record, ...]:
    """Records with patients and volumes together, in the order of their first, and slices in numeric order."""
    records = list(records)
    rank = {patient: place for place, patient in enumerate(dict.fromkeys(record.patient for record in records))}
    volume = {name: place for place, name in enumerate(dict.fromkeys(record.volume for record in records))}
    return tuple(
        sorted(records, key=lambda r: (rank[r.patient], volume[r.volume], r.slice_index, natural_key(r.slice_id)))
    )


def stated_orders(records: Iterable[Record]) -> dict[str, tuple[str, ...]]:
    """The slice ids, in their order, of each volume whose order the numbers in its slice ids do not tell."""
    found: dict[str, tuple[str, ...]] = {}
    for volume, slices in by_volume(records).items():
        by_id = sorted(slices, key=lambda record: natural_key(record.slice_id))
        by_place = sorted(by_id, key=lambda record: record.slice_index)
        if by_place != by_id:
            found[volume] = tuple(record.slice_id for record in by_place)
    return found


def numbered(records: Sequence[Record]) -> list[Record]:
    """The records with `slice_index` 1, 2, … within each volume, in the order given."""
    counts: dict[str, int] = {}
    result = []
    for record in records:
        counts[record.volume] = counts.get(record.volume, 0) + 1
        result.append(replace(record, slice_index=counts[record.volume]))
    return result


def grouped(records: Sequence[Record], patient_regex: str, findings: Findings, *, placed: bool = False) -> list[Record]:
    """Records with the patient that the expression finds in their slice ids: group `patient`, else the first, else all.

    A group `slice`, a number, gives the position; without one it is that of the record where records are `placed`
    already, else the order given. Slices in whose ids either is not
    found are left out, with an error each. Raises `DataError` for what is no regular expression.
    """
    try:
        pattern = re.compile(patient_regex)
    except re.error as error:
        raise DataError(
            f"--patient-regex {patient_regex!r}: {error}. Try for example '^(.+)_(?P<slice>[0-9]+)$'."
        ) from error
    positioned = "slice" in pattern.groupindex
    found = []
    for record in records:
        match = pattern.search(record.slice_id)
        patient = _patient(match) if match else None
        number = match["slice"] if match and positioned else str(record.slice_index)
        if not patient or number is None or not number.isdecimal():
            text = f"--patient-regex {patient_regex!r} finds no patient or slice in {record.slice_id!r}. Correct it."
            findings.error("no-patient", record.image, text)
            continue
        found.append(replace(record, patient=patient, slice_index=int(number)))
    return found if positioned or placed else numbered(found)


def _patient(match: re.Match[str]) -> str | None:
    if "patient" in match.re.groupindex:
        return match["patient"]
    return match[1] if match.re.groups else match[0]


def find_unpaired(
    images: Mapping[str, Path], masks: Mapping[str, Path], findings: Findings, expected: Callable[[str], str]
) -> None:
    """An error for each image without a mask and each mask without an image, by slice; `expected` names the mask.

    A folder of images alone is there to be predicted: then a missing mask is no error.
    """
    if images and not masks:
        return
    alike = {alike_key(slice_id): path.name for slice_id, path in masks.items() if slice_id not in images}
    for slice_id in sorted(images.keys() - masks.keys(), key=natural_key):
        text = f"has no mask, expected {expected(slice_id)}. Add it, or remove the image."
        if other := alike.get(alike_key(slice_id)):
            text = f"has no mask; {other} differs by case or leading zeros. Name both alike."
        findings.error("missing-mask", images[slice_id], text)
    for slice_id in sorted(masks.keys() - images.keys(), key=natural_key):
        findings.error("missing-image", masks[slice_id], "a mask without its image. Add the image, or remove the mask.")


def find_own_masks(records: Iterable[Record], findings: Findings) -> None:
    """An error for each image that is given as its own mask; NPZ files may hold both under names of their own."""
    for files, record in {record.files: record for record in records}.items():
        is_own = any(record.mask is not None and _one_file(image, record.mask) for image in files[:-1])
        if record.mask is not None and is_own and record.image.suffix.lower() != ".npz":
            text = f"the same file as its image (slice {record.slice_id}). Name the mask's own file."
            findings.error("own-mask", record.mask, text)


def _one_file(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:
        return False  # reported as missing already


def alike_patients(dataset: SliceDataset) -> list[str]:
    """What to say of patients whose ids may be meant as one, a line for each; nothing where patients are not known."""
    if not dataset.patients_known:
        return []
    return [
        f"{' and '.join(names)} differ by case or leading zeros only. If they are one patient, give them one id: "
        "a split would put them in two parts."
        for names in alike_names(dataset.patients)
    ]
