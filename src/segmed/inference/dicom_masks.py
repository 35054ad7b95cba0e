"""Predicted masks as DICOM beside those in other containers: segmentations and structure sets of their images."""

from collections.abc import Sequence
from pathlib import Path

from segmed.core.errors import DataError
from segmed.core.label_volume import Label, LabelVolume
from segmed.core.records import VolumeFiles
from segmed.core.volume import Volume
from segmed.inference.base import VolumePredictor
from segmed.io.converting import Source, is_dicom_path, read_source, write_any
from segmed.io.dicom.writing import Algorithm
from segmed.models.checkpoint import RunConfig
from segmed.version import __version__

SEGMENTATION, STRUCTURES = "_seg.dcm", "_rtstruct.dcm"
"""What follows a mask's name in those of its DICOM files."""


def require_dicom(volume: VolumeFiles, option: str) -> None:
    """Raise `DataError` where a volume is no DICOM series that a mask in DICOM could refer to."""
    if not is_dicom_path(volume.images[0]):
        raise DataError(
            f"{volume.images[0]}: is no DICOM, and {option} refers to the series that a mask belongs to. Leave it out, "
            "or convert masks with `segmed data convert --source`."
        )


def write_dicom_masks(paths: Sequence[Path], masks: Volume, volume: VolumeFiles, predictor: VolumePredictor) -> None:
    """Write labels 0 … K in each of the formats that the names end in, referring to the series of the first image.

    The algorithm is named by the run's folder; its version has the first digits of the hash of its weights.

    Raises:
        DataError: Images without a frame of reference.
    """
    source = read_source(volume.images[0], volume.series)
    labels = tuple(Label(number, name) for number, name in enumerate(predictor.config.labels.names, start=1))
    for path in paths:
        write_any(path, LabelVolume(masks, labels), Source(masks.grid, source.series), _algorithm(predictor))


def _algorithm(predictor: VolumePredictor) -> Algorithm:
    config = predictor.config
    weights = config.weights_sha256[:12] if isinstance(config, RunConfig) else ""
    version = f"{__version__}, weights {weights}" if weights else __version__
    return Algorithm(predictor.folder.resolve().name[:64], version)
