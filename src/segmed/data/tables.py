"""CSV files as rows of text, whatever their delimiter."""

from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.reading import read_table

DELIMITERS = ",;\t"


def read_rows(path: Path, *, what: str) -> list[dict[str, str]]:
    """Rows of a CSV file with a header, values stripped; comma, semicolon or tab, whichever the header has most.

    Raises `DataError` that says `what` was expected, for a file that cannot be read or is no text table.
    """
    table = read_table(path, what=what, delimiters=DELIMITERS)
    names = [name.strip() for name in table.header]
    doubled = next((name for name in names if name and names.count(name) > 1), None)
    if doubled is not None:
        raise DataError(f"{path}: has two columns {doubled[:80]!r}. Remove or rename one.")
    return [dict(zip(names, (value.strip() for value in row), strict=True)) for row in table.rows]
