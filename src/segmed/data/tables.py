"""CSV files as rows of text, whatever their delimiter."""

import csv
import io
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.wording import plural

DELIMITERS = ",;\t"


def read_rows(path: Path, *, what: str) -> list[dict[str, str]]:
    """Rows of a CSV file with a header, values stripped; comma, semicolon or tab, whichever the header has most.

    Raises `DataError` that says `what` was expected, for a file that cannot be read or is no text table.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text, expected {what}. Save it as CSV in UTF-8.") from error
    header = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=header.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV table ({error}), expected {what}. Export it again.") from error
    rows = [[value.strip() for value in row] for row in rows if any(value.strip() for value in row)]
    if not rows:
        raise DataError(f"{path}: empty, expected {what}.")
    names = rows[0]
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise DataError(
                f"{path}: row {number} has {plural(len(row), 'value')} but the header has "
                f"{plural(len(names), 'column')}. Correct the row."
            )
    return [dict(zip(names, row, strict=True)) for row in rows[1:]]
