"""Damaged volumes: small files of every format, damaged like the images, and what comes of reading them."""

import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from damage import Tally, count_outcomes, count_truncations
from segmed import Grid, Volume, read_volume, write_volume
from segmed.core.label_volume import LabelVolume
from segmed.io.dicom.series import find_series
from segmed.io.dicom.writing import write_segmentation, write_structures

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the phantoms of the tests

from dicom_phantoms import PATIENT, write_enhanced, write_series

CHECKSUMMED = ("NIfTI, gzip", "NRRD, gzip", "MetaImage, zlib")
"""Kinds in which every damage to voxels can be known."""
SHAPE, LARGER = (5, 7, 9), (25, 61, 43)
"""Slices, rows and columns of what is damaged by chance, and of what is cut off at every kilobyte."""


@dataclass(frozen=True)
class Sample:
    """A sound file and how it is read."""

    kind: str
    name: str
    content: bytes
    grid: Grid

    @property
    def is_checksummed(self) -> bool:
        """Whether a reader can notice every change of its voxels."""
        return self.kind in CHECKSUMMED

    def read(self, path: Path) -> np.ndarray:
        """Its voxels."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read_volume(path, grid=self.grid).array


def samples(shape: tuple[int, int, int] = SHAPE) -> list[Sample]:
    """Sound files of an odd-sized volume in every format and kind that is read."""
    rng, grid = np.random.default_rng(0), Grid.of_columns_first(shape, np.diag([1.0, 1, 3, 1]), "LPS")
    image = Volume(rng.integers(0, 4000, shape, dtype=np.int16), grid)
    mask = Volume((rng.random(shape) < 0.4).astype(np.uint8), grid)
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        found = list[Sample]()
        for kind, file in (
            ("NIfTI", "a.nii"), ("NIfTI, gzip", "a.nii.gz"), ("NRRD, gzip", "a.nrrd"), ("MetaImage, zlib", "a.mha"),
            ("TIFF stack", "a.ome.tif"),
        ):  # fmt: skip
            write_volume(folder / file, image)
            found.append(Sample(kind, file, (folder / file).read_bytes(), grid))
        slices = write_series(folder / "series", image)
        found.append(Sample("DICOM slice", "slice", slices[2].read_bytes(), grid))
        write_enhanced(folder / "enhanced", image)
        found.append(Sample("DICOM, enhanced", "enhanced", (folder / "enhanced").read_bytes(), grid))
        series, labels = find_series(folder / "series").series[0], LabelVolume.of_values(mask)
        for kind, write in (("DICOM SEG", write_segmentation), ("RTSTRUCT", write_structures)):
            write(folder / "mask.dcm", labels, series)
            found.append(Sample(kind, "mask.dcm", (folder / "mask.dcm").read_bytes(), grid))
    return found


def run(folder: Path, number: int, seed: int) -> dict[str, Tally]:
    """As `damage.count_outcomes`, of volumes and DICOM masks, whose messages quote no patient."""
    return count_outcomes(samples(), folder, number, seed, private=list(PATIENT.values()))


def truncate(folder: Path, step: int = 1024, *, shape: tuple[int, int, int] = LARGER) -> dict[str, Tally]:
    """As `damage.count_truncations`, of larger volumes and DICOM masks."""
    return count_truncations(samples(shape), folder, step, private=list(PATIENT.values()))
