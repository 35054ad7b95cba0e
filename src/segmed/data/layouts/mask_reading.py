"""The mask of a slice, from a file of its own or from annotations of many."""

from segmed.core.errors import DataError
from segmed.core.image import Geometry, Mask
from segmed.core.labels import LabelMap
from segmed.core.records import Record
from segmed.data.layouts.coco import annotated_mask
from segmed.io import read_mask


def read_record_mask(record: Record, labels: LabelMap) -> Mask | None:
    """The mask of a record that has files of its own; None where it has no mask.

    Raises:
        DataError: As `read_mask` does, or damaged annotations.
    """
    if record.mask is None:
        return None
    if record.annotated is None:
        return read_mask(record.mask, labels)
    array = annotated_mask(record.mask, record.annotated, labels)
    return Mask(array, Geometry((array.shape[0], array.shape[1])))


def require_own_mask_files(records: tuple[Record, ...]) -> None:
    """Raise `DataError` where masks lie in annotations, whose file a table cannot name for one image."""
    record = next((record for record in records if record.annotated is not None), None)
    if record is not None:
        raise DataError(
            f"{record.mask}: annotations of all images, which a manifest cannot list. Use them as they are."
        )
