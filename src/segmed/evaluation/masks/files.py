"""Mask files of any tool by case: a folder of files, or of a folder a case; or a table that names them."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.reading import read_table
from segmed.core.wording import plural
from segmed.data.listing import natural_key
from segmed.data.names import VOLUMES, composed, is_hidden
from segmed.io.formats import MASK_SUFFIXES

ENDINGS = ("_mask", "_seg", "_segmentation", "_label", "_labels")
"""What tools add to a case's name; taken off where the names of both sides are then the same."""
CASE, PATIENT, REFERENCE = "case", "patient", "reference"
SHOWN = 5


@dataclass(frozen=True)
class CaseFiles:
    """The files of one side by case; a folder holds one file for each label, as TotalSegmentator writes them.

    A case is what a mask is of: a volume, or an image of one slice, as files are matched alike and no more is known of
    either. `are_volumes` is False for images of one slice, such as PNG. `called` holds the name that masks of a case
    have where it is not the case's own.
    """

    folder: Path
    files: Mapping[str, Path]
    are_volumes: bool
    called: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CaseTable:
    """What a table of cases says: `systems[name][case]` and, where it has those columns, references and patients."""

    cases: tuple[str, ...]
    systems: Mapping[str, Mapping[str, Path]]
    references: Mapping[str, Path] = field(default_factory=dict)
    patients: Mapping[str, str] = field(default_factory=dict)


def case_files(folder: Path, labels: Collection[str] = ()) -> CaseFiles:
    """Find the masks below a folder.

    A case is named by its file without the suffix. Where several files share a name, as in `p01/mask.nii.gz` and
    `p02/mask.nii.gz`, by the folder, and where each folder below holds several files and all hold volumes of the same
    few names, each folder is a case with a file for each label; also where it holds one, if all files
    are volumes called as `labels`.

    Args:
        folder: Holds masks of one format or several, but not both volumes and images.
        labels: Names of labels, where they are known.

    Raises:
        DataError: No masks, volumes and images mixed, or two files of one case.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder; expected one that holds masks. Check the path.")
    found = sorted((path for path in folder.rglob("*") if _is_mask(folder, path)), key=lambda p: natural_key(str(p)))
    if not found:
        raise DataError(f"{folder}: holds no masks; expected files ending in {', '.join((*VOLUMES, *MASK_SUFFIXES))}.")
    volumes = [path for path in found if _suffix(path) in VOLUMES]
    if volumes and len(volumes) < len(found):
        other = next(path for path in found if path not in volumes)
        raise DataError(
            f"{folder}: volumes and images are mixed, such as {volumes[0].name} and {other.name}. Part them."
        )
    return CaseFiles(folder, _by_case(folder, found, {label.casefold() for label in labels}), bool(volumes))


def files_by_table(path: Path, systems: Sequence[str]) -> CaseTable:
    """Read a table of cases: `case`, a column for each system, and perhaps `reference` and `patient`.

    Args:
        path: CSV; files are relative to its folder, and an empty field is a missing mask.
        systems: The columns that must be there.

    Raises:
        DataError: Columns that lack, a case twice, or no case.
    """
    table = read_table(path, what="a table of cases", remedy="Write columns case, reference and one a system.")
    lacking = [name for name in (CASE, *systems) if name not in table.header]
    if lacking:
        raise DataError(f"{path}: has no column {lacking[0]!r}; there are {', '.join(table.header)}. Add it.")
    place = {name: table.header.index(name) for name in table.header}
    cases = tuple(row[place[CASE]] for row in table.rows)
    if not cases or not all(cases):
        raise DataError(f"{path}: {'a row without a case' if cases else 'no case'}. Name each case in its row.")
    if twice := [case for case, times in Counter(cases).items() if times > 1]:
        raise DataError(f"{path}: case {twice[0]} stands in two rows. Keep one.")

    def column(name: str) -> dict[str, str]:
        values = {row[place[CASE]]: row[place[name]] for row in table.rows} if name in place else {}
        return {case: value for case, value in values.items() if value}

    def files(name: str) -> dict[str, Path]:
        return {case: path.parent / value for case, value in column(name).items()}

    if REFERENCE in place and (without := [case for case in cases if case not in column(REFERENCE)]):
        raise DataError(f"{path}: case {without[0]} has no reference. Name its file, or take its row out.")
    patients = column(PATIENT)
    if patients and (nobody := [case for case in cases if case not in patients]):
        raise DataError(f"{path}: case {nobody[0]} has no patient, others have one. Name the patient of each.")
    return CaseTable(cases, {name: files(name) for name in systems}, files(REFERENCE), patients)


def matched(references: CaseFiles, predictions: CaseFiles) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The prediction of each case that has one, and the predictions that are of no case.

    Names are equal as they are, else without an ending such as `_seg`, of what no case has by its name as it is.

    Raises:
        DataError: No name is the same on both sides, or one mask is of two cases.
    """
    named = {case: references.called.get(case, case) for case in references.files}
    found = {case: predictions.files[name] for case, name in named.items() if name in predictions.files}
    used = set(found.values())
    by_name: dict[str, Path] = {}
    for ending in ENDINGS:
        for name, path in predictions.files.items():
            if path not in used:
                by_name.setdefault(name, path)
                by_name.setdefault(name.removesuffix(ending), path)
    owner: dict[Path, str] = {}
    for case, own in named.items():
        names = (own, *(own.removesuffix(ending) for ending in ENDINGS)) if case not in found else ()
        for name in [name for name in names if name in by_name][:1]:
            path = found[case] = by_name[name]
            if path in owner:
                raise DataError(
                    f"{path}: has the name of case {owner[path]} and of case {case}. Name masks as the references, or "
                    "say which are whose with --cases."
                )
            owner[path] = case
    if not found:
        raise DataError(
            f"{predictions.folder}: no mask has the name of a case; there are "
            f"{shown(list(predictions.files))}, the references are {shown(list(references.files))}. Name masks as the "
            "references, or say which are whose with --cases."
        )
    used = set(found.values())
    return found, tuple(name for name, path in predictions.files.items() if path not in used)


def shown(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {plural(more, 'other')}" if more > 0 else "")


def stem(path: Path) -> str:
    """A file's name without the suffix of its format, such as `.nii.gz`."""
    suffix = _suffix(path)
    return composed(path.name[: len(path.name) - len(suffix)] if suffix else path.name)


def _by_case(folder: Path, found: Sequence[Path], labels: Collection[str]) -> dict[str, Path]:
    names = [stem(path) for path in found]
    places = [composed(path.parent.relative_to(folder).as_posix()) for path in found]
    volumes = all(_suffix(path) in VOLUMES for path in found)
    if volumes and "." not in places and {name.casefold() for name in names} <= set(labels):
        return {place: folder / place for place in dict.fromkeys(places)}
    if len(set(names)) == len(names):
        return dict(zip(names, found, strict=True))
    if "." in places:
        twice = next(name for name, times in Counter(names).items() if times > 1)
        first, second = [path for path in found if stem(path) == twice][:2]
        raise DataError(f"{second}: a second mask of case {twice}, besides {first}. Keep one.")
    if len(set(places)) == len(places):
        return dict(zip(places, found, strict=True))
    return {place: folder / place for place in dict.fromkeys(places)}


def _is_mask(folder: Path, path: Path) -> bool:
    return not is_hidden(path, folder) and path.is_file() and bool(_suffix(path)) and not path.stem.endswith("_overlay")


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((suffix for suffix in (*VOLUMES, *MASK_SUFFIXES) if name.endswith(suffix)), "")
