"""Open and decode a data set with a progress bar: what most commands begin with."""

from pathlib import Path
from typing import TYPE_CHECKING

from segmed.cli.progress import progress_bar

if TYPE_CHECKING:
    from segmed.data.decoded import DecodedDataset


def open_decoded(path: Path, labels: str | None = None) -> "DecodedDataset":
    """The data set at `path`, decoded or taken from the cache; `labels` as in `--labels`."""
    from segmed.data.decoded import decode
    from segmed.data.sources import open_dataset, parse_labels

    dataset = open_dataset(path, labels=None if labels is None else parse_labels(labels))
    with progress_bar("decoding") as progress:
        return decode(dataset, progress=progress)
