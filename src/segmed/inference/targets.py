"""Where results go: the files of each input, what is there already, and what has come of them in the end."""

import errno
import os
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from segmed.core.errors import DataError
from segmed.core.files import refuse_links_on_the_way, require_folder
from segmed.core.wording import plural
from segmed.data.names import PICTURES, VOLUMES, is_hidden
from segmed.io.formats import IMAGE_SUFFIXES

Existing = Literal["refuse", "replace", "keep"]
"""What is done with files that are there already: end before anything is written, write anew, or leave them and make
those that are missing."""
FILES = (*IMAGE_SUFFIXES, *VOLUMES, *PICTURES)
"""Suffixes by which a name is one of a file, and not of a folder."""
INNER = ("images", "imagesTs", "imagesTr")
"""Folders that hold the images of a data set."""
OF_ONE_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
"""Errors of the system that are due to a file's own name."""


@dataclass(frozen=True)
class Target:
    """The files that the results of one image or volume go to; the mask comes last, so that it says that all are there.

    `source` is the image, or the first file of the volume.
    """

    source: Path
    mask: Path
    overlay: Path | None = None
    probabilities: tuple[Path, ...] = ()
    uncertainty: Path | None = None
    dicom: tuple[Path, ...] = ()

    @property
    def maps(self) -> tuple[Path, ...]:
        """Those that need the probabilities."""
        return (*self.probabilities, *(() if self.uncertainty is None else (self.uncertainty,)))

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them, the mask last."""
        return (*self.maps, *self.dicom, *(() if self.overlay is None else (self.overlay,)), self.mask)

    def missing(self, existing: Existing) -> tuple[Path, ...]:
        """The files that are to be written."""
        return tuple(file for file in self.files if existing != "keep" or not os.path.lexists(file))


@dataclass(frozen=True)
class Outcome:
    """What was written, what was kept as it was, and which files could not be read or predicted, with the reason."""

    written: tuple[Path, ...]
    failures: tuple[tuple[Path, str], ...]
    kept: tuple[Path, ...] = ()
    added: tuple[Path, ...] = ()
    """What was made beside masks that were kept."""
    incomplete: tuple[str, ...] = ()
    """Patients or folders that were normalised without some of their slices, since these could not be read."""


@dataclass
class Log:
    """What has come of the files so far; the first reason of a file, or of a result, stands."""

    failures: list[tuple[Path, str]] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    added: list[Path] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    _failed: set[Path] = field(init=False)

    def __post_init__(self) -> None:
        self._failed = {source for source, _ in self.failures}

    def done(self, target: Target, missing: Sequence[Path]) -> None:
        """The `missing` files of a target were written."""
        if target.mask in missing:
            self.written.append(target.mask)
        else:
            self.kept.append(target.mask)
            self.added += missing

    def fail(self, source: Path, reason: str, files: Iterable[Path] = (), *, result: Path | None = None) -> None:
        """Nothing was written for `source`; a reason that names none of its files gets its name.

        `result` is what was to be written, where several are made of one source, as of the series of a medium.
        """
        if (key := result or source) in self._failed:
            return
        self._failed.add(key)
        named = any(reason.startswith(f"{file}:") for file in (source, *files))
        self.failures.append((source, " ".join((reason if named else f"{source}: {reason}").split())))

    @property
    def outcome(self) -> Outcome:
        """All of it."""
        return Outcome(
            tuple(self.written), tuple(self.failures), tuple(self.kept), tuple(self.added),
            tuple(self.incomplete),
        )  # fmt: skip


def results_in(path: Path, out: Path | None) -> Path | None:
    """Where results go, `out`, resolved, if that lies below what is read, `path`, resolved; None anywhere else.

    What is there was made of the inputs, and is none of them; unless it is the folder of the inputs themselves, such as
    `images/`, beside which there is no other image.
    """
    place = None if out is None else out.resolve()
    if place is None or path not in place.parents or _holds_all_inputs(path, place):
        return None
    return place


def _holds_all_inputs(path: Path, place: Path) -> bool:
    """Whether a folder is the one that holds the images of what is read: no other file is any, but for masks."""
    if place.parent != path or place.name not in INNER:
        return False
    aside = (place, *(path / name for name in ("masks", "labels", "labelsTr", "labelsTs")))
    files = (file for file in path.rglob("*") if file.name.lower().endswith((*IMAGE_SUFFIXES, *VOLUMES)))
    return all(is_hidden(file, path) or any(file.is_relative_to(each) for each in aside) for file in files)


def are_masks_of(path: Path, results: Path | None) -> bool:
    """Whether results in a folder make it look like a data set with masks of its own, as they lie in `masks/` or
    `labels/` beside its `images/`."""
    return results in (path / "masks", path / "labels")


def costs_all(error: Exception, target: Target) -> bool:
    """Whether an error is of the output folder, as on a full disk, and not of one file that has a name of its own."""
    cause = error.__cause__
    own = isinstance(cause, OSError) and cause.errno in OF_ONE_NAME
    folder = target.mask.parent
    there = str(error).startswith((f"{folder}{os.sep}", f"{folder}:"))
    return isinstance(cause, OSError) and not own and there


def names_a_file(out: Path, count: int, what: str, written: Sequence[str]) -> bool:
    """Whether `out` is the file of the one mask, by its suffix, and not a folder.

    Args:
        out: What the user names.
        count: How many images or volumes there are.
        what: `image` or `volume`.
        written: The suffixes with which masks are written.

    Raises:
        DataError: One file for several, or a suffix with which masks are not written.
        ConfigError: A folder that cannot be one.
    """
    suffix = next((each for each in (*written, *FILES) if out.name.lower().endswith(each)), None)
    if out.is_dir() or suffix is None:
        require_folder(out)
        return False
    if count != 1:
        raise DataError(f"{out}: is the name of one file, for {plural(count, what)}. Name a folder with -o.")
    if suffix not in written:
        raise DataError(f"{out}: masks are not written with suffix {suffix}. Choose of {', '.join(written)}.")
    return True


def place_below(out: Path, name: str | Path, source: Path) -> Path:
    """The file of this name below the output folder; raises `DataError` where a link leads elsewhere."""
    place = out / name
    refuse_links_on_the_way(out, place)
    if not place.resolve().is_relative_to(out.resolve()):
        raise DataError(f"{source}: its mask would lie outside {out}. Move it into the data set's folder.")
    return place


def require_free(
    out: Path, targets: Sequence[Target], inputs: Set[Path], existing: Existing, *, besides: Sequence[Path] = ()
) -> None:
    """Refuse targets that are links, inputs, the same file twice, or there already where that is refused.

    Args:
        out: What the user names, for the message.
        targets: The files of each input.
        inputs: The files that are read, resolved.
        existing: What is done with files that are there.
        besides: Further files that are written, of no input.

    Raises:
        DataError: Naming the file.
    """
    taken: dict[Path, Path] = {}
    for target in targets:
        for file in target.files:
            refuse_links_on_the_way(file.parent, file)
            if file.resolve() in inputs:
                raise DataError(f"{file}: an input would be replaced by a result. Choose another folder with -o.")
            if taken.setdefault(file, target.source) != target.source:
                raise DataError(
                    f"{target.source}: a result of it and one of {taken[file]} would both be {file}. Rename one."
                )
    for file in besides:
        refuse_links_on_the_way(file.parent, file)
    there = sorted(file for file in (*taken, *besides) if os.path.lexists(file))
    if existing != "refuse" or not there:
        return
    if len(targets) == 1:
        raise DataError(
            f"{there[0]}: exists already. Choose another place with -o, or say --overwrite to replace it, or --resume "
            "to keep it and make what is missing."
        )
    raise DataError(
        f"{out}: {plural(len(there), 'file')} would be replaced, such as {there[0]}. Choose another place with -o, or "
        "say --overwrite to replace them, or --resume to keep them and predict the others."
    )
