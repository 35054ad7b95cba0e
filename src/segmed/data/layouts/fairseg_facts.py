"""What a FairSeg file says of its patient, in words.

The released files give the age in years, those of the published code, which have `fundus_slo` for the image, in days
and the race in other codes. Small arrays only are read, and pickled ones never loaded."""

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.escaping import shortened
from segmed.io.arrays import read_member
from segmed.io.fairseg import IMAGE_KEYS, MASK_KEYS, has_keys
from segmed.io.refusals import damaged, unreadable

DAYS_IN_YEAR = 365.0
"""What the published code divides by."""

SEX = {0: "female", 1: "male"}
RACE = {0: "Asian", 1: "Black", 2: "White"}
RAW_RACE = {2: "Asian", 3: "Black", 7: "White"}
ETHNICITY = {0: "non-Hispanic", 1: "Hispanic"}
LANGUAGE = {0: "English", 1: "Spanish", 2: "other"}
FACTS: Mapping[str, tuple[str, Mapping[int, str] | None]] = {
    "age": ("age", None),
    "gender": ("gender", SEX),
    "male": ("gender", SEX),
    "race": ("race", RACE),
    "ethnicity": ("ethnicity", ETHNICITY),
    "hispanic": ("ethnicity", ETHNICITY),
    "language": ("language", LANGUAGE),
    "maritalstatus": ("maritalstatus", None),
}
"""Key in the file: our column, and words for its codes; other codes, -1 among them, are left out as not known."""


def facts_of(path: Path) -> dict[str, str]:
    """A file's facts about its patient, values as words, years or codes, and `pid` where it has one.

    Reads the small arrays only. Raises `DataError` for a file that is no FairSeg npz.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = {info.filename.removesuffix(".npy") for info in archive.infolist()}
            _require_keys(path, names)
            in_days = IMAGE_KEYS[1] in names
            values = {key: _scalar(path, archive, key) for key in (*FACTS, "pid") if key in names}
    except OSError as error:
        raise unreadable(path, error) from error
    except DataError:
        raise
    except Exception as error:  # zlib, zip and numpy each have their own
        raise damaged(path, "NPZ", error) from error
    found = {}
    for key, value in values.items():
        if key == "pid":
            found["pid"] = value
        elif (text := _text(key, _number(path, key, value), in_days=in_days)) is not None:
            found[FACTS[key][0]] = text
    return found


def _require_keys(path: Path, names: set[str]) -> None:
    """Raise `DataError` unless an image key and a mask key are there."""
    if not has_keys(names):
        raise DataError(
            f"{path}: no FairSeg file; expected {' or '.join(IMAGE_KEYS)} with {' or '.join(MASK_KEYS)}, found "
            f"{', '.join(sorted(names)[:6])}. Leave it out of the folder."
        )


def _scalar(path: Path, archive: zipfile.ZipFile, key: str) -> str:
    array = read_member(path, archive, archive.getinfo(f"{key}.npy"))
    if array.size != 1:
        raise DataError(f"{path}: {key} has {array.size} values, expected one. Check the file.")
    value = array.reshape(-1)[0].item()
    return value.decode() if isinstance(value, bytes) else str(value)


def _number(path: Path, key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise DataError(f"{path}: {key} is {shortened(value)}, expected a number. Check the file.") from error


def _text(key: str, value: float, *, in_days: bool) -> str | None:
    """A fact as text; None where it is not known."""
    if not math.isfinite(value):
        return None
    words = RAW_RACE if key == "race" and value in RAW_RACE and in_days else FACTS[key][1]
    if key == "age":
        years = value / DAYS_IN_YEAR if in_days else value
        return f"{years:.1f}" if years > 0 else None
    if words is None:
        return f"{value:g}" if value >= 0 else None
    return words.get(int(value)) if value == int(value) else None
