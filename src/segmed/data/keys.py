"""The key by which a run knows patients again without naming them: beside the data, or where that cannot be written."""

import hashlib
import logging
import os
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.pseudonyms import KEY_FILE, Pseudonyms
from segmed.core.records import SliceDataset
from segmed.data.decoded import cache_root


def pseudonyms_of(dataset: SliceDataset) -> Pseudonyms:
    """With the key of a data set, which is made where there is none.

    Where the data's folder cannot be written the key is kept beside the cache of decoded data, and that is said.

    Raises `DataError` for a key that is damaged, and where none can be kept at all.
    """
    known = known_pseudonyms(dataset)
    if known is not None:
        return known
    try:
        return Pseudonyms.of_data(dataset.root)
    except DataError:
        if (dataset.root / KEY_FILE).exists():
            raise
    made = Pseudonyms.of_data(_elsewhere(dataset.root))
    logging.getLogger(__name__).warning(
        "%s cannot be written, so the key of its pseudonyms is kept in %s. To compare runs on another machine, copy it "
        "beside the data there, as %s.",
        dataset.root, _elsewhere(dataset.root) / KEY_FILE, KEY_FILE,
    )  # fmt: skip
    return made


def known_pseudonyms(dataset: SliceDataset) -> Pseudonyms | None:
    """With the key of a data set where it has one already; None where no run or report was made from it here."""
    for folder in (dataset.root, _elsewhere(dataset.root)):
        if (folder / KEY_FILE).is_file():
            return Pseudonyms.in_file(folder / KEY_FILE)
    return None


def _elsewhere(root: Path) -> Path:
    return cache_root() / "keys" / hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:12]
