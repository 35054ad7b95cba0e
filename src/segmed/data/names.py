"""Names of files and patients: forms of one name, what is beside what, and what is no image that we read."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from segmed.io.formats import IMAGE_SUFFIXES
from segmed.io.volumes import VOLUME_SUFFIXES, suffix_of

READ_ALONE = tuple(suffix for suffix in VOLUME_SUFFIXES if not suffix.endswith(IMAGE_SUFFIXES))
"""Volumes that are read, though not beside images of slices."""
VOLUMES = (*READ_ALONE, ".nhdr", ".mhd", ".dcm", ".dicom")
PICTURES = (".bmp", ".gif", ".webp", ".jp2", ".heic", ".svs", ".ndpi", ".czi", ".mat", ".h5", ".hdf5")
MADE = ("_mask", "_overlay")
"""What is added to an image's name for what is made of it."""
COCO = re.compile(r"coco|annotation|^instances", re.IGNORECASE)
COCO_WHAT = "COCO's annotations, with images, annotations and categories"


def composed(text: str) -> str:
    """A name in composed Unicode, as most systems write it: some write an é as e and an accent, which looks alike."""
    return unicodedata.normalize("NFC", text)


def is_slice(path: Path) -> bool:
    """Whether a file is an image of one slice by its name: `a.tif`, but not `a.ome.tif`, which is a volume."""
    return path.suffix.lower() in IMAGE_SUFFIXES and suffix_of(path) is None


def is_hidden(path: Path, root: Path) -> bool:
    """Whether a file below `root`, or a folder in which it lies there, is called `.thumb`, `._a.png` and the like."""
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def is_passed_over(path: Path, root: Path, results: Path | None = None) -> bool:
    """Whether a file below `root` is hidden, or lies in `results`, where what is made of the files in `root` goes."""
    return is_hidden(path, root) or (results is not None and path.is_relative_to(results))


def alike_key(name: str) -> str:
    """The name without what people write now so, now otherwise: case, leading zeros, and the form of accents.

    >>> alike_key("P01_007") == alike_key("p1_7"), alike_key("p10") == alike_key("p1")
    (True, False)
    """
    return re.sub(r"\d+", lambda digits: digits[0].lstrip("0") or "0", composed(name)).casefold()


def alike_names(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Different names that may be meant as one, together; see `alike_key`."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(alike_key(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def made_of(files: Iterable[Path]) -> dict[Path, Path]:
    """Each file `X_mask` or `X_overlay` with the X that lies in the same folder, whatever their formats.

    One without its X is not among them: it is a file like any other.
    """
    by_stem: dict[tuple[Path, str], Path] = {}
    listed = list(files)
    for path in listed:
        by_stem.setdefault((path.parent, composed(path.stem)), path)
    made = {}
    for path in listed:
        for ending in MADE:
            stem = composed(path.stem)
            source = by_stem.get((path.parent, stem.removesuffix(ending)))
            if stem.endswith(ending) and source is not None:
                made[path] = source
    return made


def unread(path: Path) -> str | None:
    """Why a file that holds images or masks of some kind is not read, and what to do; None of any other file."""
    name = path.name.lower()
    ending = next((ending for ending in (*VOLUMES, *PICTURES) if name.endswith(ending)), None)
    if ending is None or ending in IMAGE_SUFFIXES:
        return None
    if ending in READ_ALONE:
        return f"{ending} files are not read beside images of slices. Put volumes into folders of their own."
    if ending in VOLUMES:
        return f"{ending} files are not read. Export their slices as PNG, TIFF or NPY."
    return f"{ending} files are not read. Convert them to PNG or TIFF."


def undecodable(path: Path) -> str | None:
    """What is wrong with a file's own name where it is not UTF-8 text; None of any other."""
    return None if shown(path.name) == path.name else "its name is not UTF-8 text. Rename it."


def shown(text: object) -> str:
    """A name as it can be printed and stored: bytes that are not UTF-8 as `\\udc..`."""
    return str(text).encode("utf-8", "backslashreplace").decode()
