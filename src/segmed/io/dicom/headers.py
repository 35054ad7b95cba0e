"""Headers of DICOM files by pydicom, whose warnings and errors quote values of patients: none of them gets out."""

import logging
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from segmed.core.errors import DataError, SegmedError
from segmed.core.optional import optional_import
from segmed.io.refusals import unreadable

Dataset = Any
"""pydicom's Dataset; pydicom is imported only where a DICOM file is read."""
T = TypeVar("T")

PREAMBLE = 128
NEEDS = "Reading DICOM"
DICOMDIR = "1.2.840.10008.1.3.10"
DICOMDIR_NAME = "DICOMDIR"
NO_DICOM = "named like a DICOM file, but damaged, cut off or of another format. Copy it again, or take it out."
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes of segmentations: binary or fractional, and label maps."""
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"


def is_dicom(head: bytes) -> bool:
    """Whether a file begins like DICOM, also of old without the preamble."""
    if head[PREAMBLE : PREAMBLE + 4] == b"DICM":
        return True
    group, element = rb"[\x02\x08]\x00", rb"[\x00\x01\x05\x08\x16\x18]\x00"
    length = rb"(UL|UI|CS|[\x02-\x40]\x00\x00\x00)"
    return re.match(group + element + length, head) is not None


def privately(path: Path, action: Callable[[], T]) -> T:
    """The result of what works on a file's header.

    Whatever pydicom or a decoder raises becomes a `DataError` without its text and without its traceback, and what it
    warns of or logs is dropped: all of them quote values, and a damaged header has them in the wrong places.
    """
    logger = logging.getLogger("pydicom")
    level = logger.level
    failure: SegmedError
    try:
        logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return action()
    except SegmedError as error:
        failure = error
    except OSError as error:
        failure = unreadable(path, error) if error.strerror else damaged_dicom(path, type(error).__name__)
    except Exception as error:  # a damaged file makes pydicom and the decoders raise anything
        failure = damaged_dicom(path, type(error).__name__)
    finally:
        logger.setLevel(level)
    raise failure


def read_header(path: Path, *, pixels: bool = False) -> Dataset:
    """The data set of a file, without its pixels by default. Call it `privately`."""
    pydicom = optional_import("pydicom", extra="dicom", purpose=NEEDS)
    found = pydicom.dcmread(path, stop_before_pixels=not pixels, force=True)
    if len(found) == 0:
        raise damaged_dicom(path, "no data in it")
    return found


def sop_class(dataset: Dataset) -> str:
    """What kind of object a data set is, by UID; empty where it does not say."""
    return str(dataset.get("SOPClassUID") or "") or str(
        getattr(getattr(dataset, "file_meta", None), "MediaStorageSOPClassUID", "")
    )


def files_of(folder: Path) -> Iterator[Path]:
    """All files of a folder and of those in it, in order of their names; hidden ones and links to folders are not."""
    for place in sorted(folder.rglob("*")):
        if place.is_file() and not any(part.startswith(".") for part in place.relative_to(folder).parts):
            yield place


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files of a folder, whatever their names; others are left out.

    Raises:
        DataError: A file that is named like the DICOM files but is none, such as an empty or cut one.
    """
    found, lost = dicom_among(files_of(folder))
    if lost:
        raise DataError(f"{lost[0]}: {NO_DICOM}")
    return found


def dicom_among(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The DICOM files among some, whatever their names, and those that are named like them but are none."""
    found, others = list[Path](), list[tuple[Path, bytes]]()
    for path in files:
        try:
            with path.open("rb") as file:
                head = file.read(PREAMBLE + 4)
        except OSError as error:
            raise unreadable(path, error) from error
        if is_dicom(head):
            found.append(path)
        else:
            others.append((path, head))
    suffixes = {_suffix(path) for path in found} | {".dcm", ".ima", ".dicom"}
    return found, [path for path, head in others if _suffix(path) in suffixes and not (head and _is_text(head))]


def damaged_dicom(path: Path, reason: str) -> DataError:
    """The error for a file that starts like DICOM but cannot be read; `reason` quotes no value."""
    return DataError(f"{path}: damaged or truncated DICOM ({reason}). Copy or export it again.")


def _suffix(path: Path) -> str:
    """A file's suffix in lower case; the last number of a name like 1.2.840 is none."""
    return "" if re.fullmatch(r"\.\d*", path.suffix) else path.suffix.lower()


def _is_text(head: bytes) -> bool:
    try:
        return head.decode("utf-8").isprintable() or b"\n" in head
    except UnicodeDecodeError:
        return False
