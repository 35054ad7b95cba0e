"""Images of a folder that is no data set: which there are, and what is left out and why."""

from dataclasses import dataclass
from pathlib import Path

from segmed.core.errors import DataError
from segmed.data.listing import natural_key
from segmed.data.names import is_passed_over, made_of, shown, undecodable, unread
from segmed.io.formats import IMAGE_SUFFIXES


@dataclass(frozen=True)
class LooseImages:
    """What lies in a folder and below it, hidden files aside.

    `made` are files made of an image beside them: masks, overlays. `faults` holds files that are not read, each with
    the reason. Nothing else that may be an image is left out.
    """

    images: tuple[Path, ...]
    made: tuple[Path, ...] = ()
    faults: tuple[tuple[Path, str], ...] = ()


def folder_of_images(folder: Path, results: Path | None = None) -> Path:
    """The `images/` in a folder, if it is there and not where results go: what lies beside it belongs to the images."""
    inner = folder / "images"
    return inner if inner.is_dir() and inner != results else folder


def loose_images(folder: Path, results: Path | None = None) -> LooseImages:
    """The images in a folder and all folders below it, in the order of their names, numbers by value.

    Of a folder with `images/` only that one is looked into. What lies in `results`, a folder in it, is left out.

    Raises:
        DataError: There is no image; said with the reason for the first file that is not read.
    """
    root = folder_of_images(folder, results)
    files = [path for path in root.rglob("*") if not is_passed_over(path, root, results) and path.is_file()]
    faults = [(path, fault) for path in files if (fault := unread(path)) is not None]
    read = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    faults += [(path, fault) for path in read if (fault := undecodable(path)) is not None]
    made = made_of(path for path in read if undecodable(path) is None)
    images = [path for path in read if path not in made and undecodable(path) is None]
    if not images:
        why = f" {shown(faults[0][0].name)}: {faults[0][1]}" if faults else ""
        raise DataError(f"{folder}: holds no image. Expected files ending in {', '.join(IMAGE_SUFFIXES)}.{why}")
    images.sort(key=lambda path: natural_key(str(path)))
    return LooseImages(tuple(images), tuple(made), tuple((path, f"{shown(path)}: {fault}") for path, fault in faults))
