"""Names that columns and keys have in files of earlier versions: they are read for the present ones, in one way.

Version 0.1 called a slice's id `case`, which is now a volume, and what upsamples features a raiser.
"""

from collections.abc import Collection, Iterable
from typing import Any

from pydantic import AliasChoices, Field

FORMER = {"slice_id": "case", "slices": "cases", "encode_upsampler": "encode_raiser"}
"""What a column or key was called, by what it is called now."""

_SETTINGS = {FORMER[name]: name for name in ("encode_upsampler",)}


def present_setting(key: str) -> str:
    """The name that a key of a recipe has in this version.

    Example:
        assert present_setting("encode_raiser") == "encode_upsampler"
        assert present_setting("encode_at") == "encode_at"
    """
    return _SETTINGS.get(key, key)


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
