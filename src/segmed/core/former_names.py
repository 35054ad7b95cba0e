"""Names that columns and keys have in files of earlier versions: they are read for the present ones, in one way.

Earlier versions called a slice's id `case`, which is now a volume, what upsamples features a raiser, and the paper that
the study makes again a report, as the page with the results of runs is called, or the seed.
"""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field

FORMER = {"slice_id": "case", "slices": "cases"}
"""What a column or key was called, by what it is called now."""

CHOICES = {
    "report": "reproduction",
    "sam-report": "sam-reproduction",
    "seed": "reproduction",
    "seed-double-sigmoid": "double-sigmoid",
}
"""What a study's protocol and row, a preset of augmentation and a loss were called, and what they are called now."""

SETTINGS = {"encode_raiser": "encode_upsampler"}
"""What a key of a recipe, or of the settings stored in a run, was called, and what it is called now."""


def present_settings(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Settings with their keys as this version has them, in groups of settings too.

    Args:
        values: Settings by key; a value that is a mapping is a group of settings.

    Returns:
        A copy. A former key beside the present one stays, to be refused as an unknown key.

    Example:
        assert present_settings({"sam": {"encode_raiser": "jbu"}}) == {"sam": {"encode_upsampler": "jbu"}}
    """
    found = {key: present_settings(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    return {key if SETTINGS.get(key) in found else SETTINGS.get(key, key): value for key, value in found.items()}


def present_choice(name: Any) -> Any:
    """The name that a choice has in this version; values that are no names stay as they are.

    Example:
        assert present_choice("seed-double-sigmoid") == "double-sigmoid"
        assert present_choice("focal") == "focal"
    """
    return CHOICES.get(name, name) if isinstance(name, str) else name


def present_place(root: Path, *names: str) -> Path:
    """A place in a study's folder.

    Args:
        root: A folder of the study.
        names: Those of folders and files below it, one within the other.

    Returns:
        `root / names`, or that place under the names of 0.1 where there is something.
    """
    present, former = root.joinpath(*names), root.joinpath(*(name.replace("reproduction", "report") for name in names))
    return former if former != present and former.exists() else present


def present_names(names: Iterable[str], wanted: Collection[str]) -> list[str]:
    """Names of columns as this version has them.

    Args:
        names: Those of the file.
        wanted: The columns that are looked for.

    Returns:
        The names in their order, a former one for a wanted name that is not there turned into it. A file with both
        is left as it is: its column `case` is then that of volumes, beside the `slice_id`.
    """
    names = list(names)
    present = {FORMER[name]: name for name in wanted if name in FORMER and name not in names}
    return [present.get(name, name) for name in names]


def formerly(name: str) -> Any:
    """The annotation of a stored field that reads its former name too, for `segmed.core.reading.read_json`."""
    return Field(validation_alias=AliasChoices(name, FORMER[name]))
