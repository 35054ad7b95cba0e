"""Where an evaluation may be written: never in place of files of others, nor of what it is read from."""

from collections.abc import Iterable
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.files import holds_files
from segmed.core.replacing import is_own
from segmed.evaluation.result import EVALUATION, TABLES
from segmed.inference.loading import configs_in

FOLDERS = ("predictions", "floors")
"""The folders that an evaluation's folder has."""


def places_in(folder: Path) -> list[Path]:
    """The files and folders that an evaluation in `folder` is written to."""
    return [folder / EVALUATION, *(folder / f"{name}.csv" for name in TABLES), *(folder / name for name in FOLDERS)]


def require_places(
    folders: Iterable[Path],
    *,
    read: Iterable[Path | None],
    searched: Iterable[Path | None] = (),
    more: Iterable[Path] = (),
) -> None:
    """Raise `DataError` where evaluations in some folders would replace files of the user, before hours of work.

    Args:
        folders: The folder of each evaluation.
        read: As `require_apart` takes it.
        searched: As `require_apart` takes it.
        more: What else is written, of which only that it is apart is asked here.

    Example:
        require_places([tmp_path / "new"], read=[tmp_path / "masks"])
    """
    folders = list(folders)
    require_apart([*more, *(place for folder in folders for place in places_in(folder))], read=read, searched=searched)
    for folder in folders:
        require_place(folder)


def require_place(folder: Path) -> None:
    """Raise `DataError` where a folder holds what an evaluation would replace or join, and no earlier evaluation.

    What lies in `evaluation-…` of a run folder is an evaluation, whole or not.

    Example:
        require_place(tmp_path / "new")
    """
    if is_own(folder, EVALUATION) or _is_of_run(folder):
        return
    for place in places_in(folder):
        if place.is_file() or holds_files(place):
            raise DataError(
                f"{place}: is there already, and {folder} holds no {EVALUATION}, so it is not of an earlier evaluation "
                "and is not replaced. Choose another folder."
            )


def _is_of_run(folder: Path) -> bool:
    full = folder.resolve()
    return any(each.name.startswith("evaluation-") and configs_in(each.parent) for each in (full, *full.parents))


def require_apart(
    written: Iterable[Path], *, read: Iterable[Path | None], searched: Iterable[Path | None] = ()
) -> None:
    """Raise `DataError` where results would replace what they are made from, or join it.

    Args:
        written: Files and folders that results go to.
        read: Files and folders that results are made from; None is one that was not named.
        searched: Those of `read` in which every mask counts, also what a command wrote there before.
    """
    places = [place.resolve() for place in written]
    for path in filter(None, read):
        if any(path.resolve().is_relative_to(place) for place in places):
            raise DataError(
                f"{path}: is read, and results would be written in its place. Choose another folder for them."
            )
    for path in filter(None, searched):
        if any(place.is_relative_to(path.resolve()) for place in places):
            raise DataError(
                f"{path}: is searched for masks, and results would be written into it. Choose another folder for them."
            )
