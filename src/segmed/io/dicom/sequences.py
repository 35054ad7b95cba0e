"""Several series of one study as the sequences of a volume: chosen by number, file or description, never guessed."""

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.reading import read_json
from segmed.io.dicom.series import Series

SERIES_FILE = "series.json"
"""Beside the folders of patients: the series of each sequence, the first of which is the grid of all."""
WHAT, REMEDY = "the series of each sequence", 'Write {"flair": "FLAIR", "t1": "T1"}, or numbers of series.'


def read_wanted(folder: Path) -> tuple[str, ...]:
    """The series that `series.json` in a folder names, in its order; none where there is no such file.

    Raises:
        DataError: It is another file, or names one series twice.
    """
    path = folder / SERIES_FILE
    if not path.is_file():
        return ()
    wanted = tuple(map(str, read_json(path, dict[str, str | int], what=WHAT, remedy=REMEDY).values()))
    return require_wanted(wanted, str(path))


def require_wanted(wanted: Sequence[str], where: str) -> tuple[str, ...]:
    """The same without blanks around; raises `DataError` where there is nothing, or one is named twice."""
    found = tuple(text.strip() for text in wanted)
    if not found or not all(found) or len({text.casefold() for text in found}) < len(found):
        raise DataError(f"{where}: names no series, an empty one, or one twice. Name each sequence's own.")
    return found


def studies_of(series: Sequence[Series]) -> list[tuple[Series, ...]]:
    """The series of one patient in one frame of reference, between which places can be compared; no localisers."""
    groups = defaultdict[tuple[str, str], list[Series]](list)
    for each in series:
        if not each.localiser:
            groups[each.patient, each.frame_of_reference].append(each)
    return [tuple(some) for some in groups.values()]


def choose_sequences(study: Sequence[Series], wanted: Sequence[str], where: str) -> tuple[Series, ...]:
    """One series for each of `wanted`: its number, the name of one of its files, its description or a part of that.

    Case does not count, and a whole description goes before a part of one. Messages do not quote descriptions.

    Raises:
        DataError: No series, or several, of one name; they are listed.
    """
    chosen = tuple(_one(study, text, where) for text in wanted)
    twice = next((each for each, count in Counter(chosen).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{where}: series {twice} is meant by two of {', '.join(wanted)}. Name each sequence's own.")
    return chosen


def series_called(study: Sequence[Series], text: str) -> list[Series]:
    """The series of a number, a file, a description, or a part of one: those by the first of these that any has.

    Digits are a number or a file's name and never a description: `3` is neither the series `T1 3D` nor one called `3`.
    """
    wanted = text.casefold()
    ways: list[list[Series]] = [
        [each for each in study if str(each.number) == text],
        [each for each in study if text in {file.name for file in each.files}],
    ]
    if not text.isdecimal():
        ways.append([each for each in study if each.description.casefold() == wanted])
        ways.append([each for each in study if wanted in each.description.casefold()])
    return next((found for found in ways if found), [])


def folder_of(series: Series) -> Path:
    """The folder that all files of a series lie in."""
    return Path(os.path.commonpath([file.parent for file in series.files]))


def telling_name(series: Series, among: Sequence[Series]) -> str | None:
    """The name of a file by which a series is told from others below its folder; None where no name does."""
    folder = folder_of(series)
    beside = series_below(folder, among)
    often = Counter(file.name for each in beside for file in each.files)
    often.update(str(each.number) for each in beside)  # which would be taken for the number of a series
    return next((file.name for file in series.files if often[file.name] == 1), None)


def series_below(folder: Path, among: Sequence[Series]) -> list[Series]:
    """The series of which some files lie below a folder."""
    return [each for each in among if any(file.is_relative_to(folder) for file in (each.files[0], each.files[-1]))]


def _one(study: Sequence[Series], text: str, where: str) -> Series:
    found = series_called(study, text)
    if len(found) == 1:
        return found[0]
    listed = ", ".join(map(str, found or study))
    if found:
        how = "Name one by its number, a file, or more of its description."
        raise DataError(f"{where}: {text!r} may be series {listed}. {how}")
    raise DataError(f"{where}: no series {text!r}; in its frame of reference there are {listed}.")
