"""Damaged volumes: small files of every format, damaged like the images, and what comes of reading them."""

import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from damage import Tally, count_outcomes
from segmed import Grid, Volume, read_volume, write_volume
from segmed.core.label_volume import LabelVolume
from segmed.io.dicom.series import find_series
from segmed.io.dicom.writing import write_segmentation, write_structures

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the phantoms of the tests

from dicom_phantoms import PATIENT, write_enhanced, write_series

CHECKSUMMED = ("NIfTI, gzip", "NRRD, gzip", "MetaImage, zlib")
"""Kinds in which every damage to voxels can be known."""
GRID = Grid.of_columns_first((5, 7, 9), np.diag([1.0, 1, 3, 1]), "LPS")


@dataclass(frozen=True)
class Sample:
    """A sound file and how it is read."""

    kind: str
    name: str
    content: bytes

    @property
    def is_checksummed(self) -> bool:
        """Whether a reader can notice every change of its voxels."""
        return self.kind in CHECKSUMMED

    def read(self, path: Path) -> np.ndarray:
        """Its voxels."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read_volume(path, grid=GRID).array


def samples() -> list[Sample]:
    """Sound files of an odd-sized volume in every format and kind that is read."""
    rng = np.random.default_rng(0)
    image = Volume(rng.integers(0, 4000, GRID.shape, dtype=np.int16), GRID)
    mask = Volume((rng.random(GRID.shape) < 0.4).astype(np.uint8), GRID)
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        found = list[Sample]()
        for kind, file in (
            ("NIfTI", "a.nii"), ("NIfTI, gzip", "a.nii.gz"), ("NRRD, gzip", "a.nrrd"), ("MetaImage, zlib", "a.mha"),
            ("TIFF stack", "a.ome.tif"),
        ):  # fmt: skip
            write_volume(folder / file, image)
            found.append(Sample(kind, file, (folder / file).read_bytes()))
        slices = write_series(folder / "series", image)
        found.append(Sample("DICOM slice", "slice", slices[2].read_bytes()))
        write_enhanced(folder / "enhanced", image)
        found.append(Sample("DICOM, enhanced", "enhanced", (folder / "enhanced").read_bytes()))
        series, labels = find_series(folder / "series").series[0], LabelVolume.of_values(mask)
        for kind, write in (("DICOM SEG", write_segmentation), ("RTSTRUCT", write_structures)):
            write(folder / "mask.dcm", labels, series)
            found.append(Sample(kind, "mask.dcm", (folder / "mask.dcm").read_bytes()))
    return found


def run(folder: Path, number: int, seed: int) -> dict[str, Tally]:
    """As `damage.count_outcomes`, of volumes and DICOM masks, whose messages quote no patient."""
    return count_outcomes(samples(), folder, number, seed, private=list(PATIENT.values()))
