"""Slices of a decoded data set, or of a volume that was cut, as predictors take them: as `PatientSlices`."""

from collections.abc import Sequence

import numpy as np

from segmed.core.records import Record
from segmed.data.cutting import CutVolume
from segmed.data.decoded import DecodedDataset
from segmed.data.degrade import Degradation, degrade_volume
from segmed.inference.slices import PatientSlices


def cut_slices(cut: CutVolume) -> PatientSlices:
    """All slices of a volume that was cut, with their spacing."""
    return PatientSlices(cut.images, spacing=cut.grid.pixel_spacing)


def patient_slices(
    decoded: DecodedDataset, records: Sequence[Record], degradation: Degradation | None = None
) -> PatientSlices:
    """The slices of `records`, at least one and of one volume, in their order, within all that there are of that one.

    With `degradation` the images are made worse first, all of the volume's together. Raises `DataError` as
    `DecodedDataset.image` does.
    """
    volume = [record for record in decoded.dataset.records if record.volume == records[0].volume]
    read = {record.slice_id: np.array(decoded.image(record.slice_id)) for record in volume}
    if degradation is not None:
        read = degrade_volume(read, degradation, patient=records[0].volume)
    return PatientSlices(
        images=[read[record.slice_id] for record in records],
        positions=[record.slice_index for record in records],
        whole=list(read.values()),
        whole_positions=[record.slice_index for record in volume],
        spacing=decoded.pixel_spacing(records[0].volume),
    )
