"""Damaged volumes: small files of every format, damaged like the images, and what comes of reading them."""

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mutated_images import MUTATIONS, Tally
from segmed import Grid, Volume, read_volume, write_volume
from segmed.core.errors import SegmedError
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
    """Read `number` damaged volumes and count what comes of it, by kind.

    Args:
        folder: Where the damaged file of the moment is written.
        number: How many in all; every kind has an equal share.
        seed: Of the damages.

    Returns:
        A tally for each kind. `failures` holds other errors, messages that quote the patient, and other voxels where a
        checksum would have told.
    """
    sound, tallies = samples(), dict[str, Tally]()
    for sample in sound:
        tally = tallies.setdefault(sample.kind, Tally())
        path = folder / sample.name
        path.write_bytes(sample.content)
        right = sample.read(path)
        rng = np.random.default_rng([seed, *sample.kind.encode()])
        for count in range(-(-number // len(sound))):
            mutation = MUTATIONS[count % len(MUTATIONS)]
            path.write_bytes(mutation(sample.content, rng))
            started = time.monotonic()
            outcome, detail = _outcome(lambda sample=sample, path=path: sample.read(path), right)
            tally.slowest = max(tally.slowest, time.monotonic() - started)
            tally.outcomes[outcome] += 1
            if outcome == "other error" or (outcome == "other pixels" and sample.kind in CHECKSUMMED):
                tally.failures.append(f"{sample.kind}, {mutation.__name__} {count}: {outcome} {detail}")
        path.unlink()
    return tallies


def _outcome(read: Callable[[], np.ndarray], right: np.ndarray) -> tuple[str, str]:
    try:
        found = read()
    except SegmedError as error:
        quoted = [value for value in PATIENT.values() if value in str(error)]
        return ("other error", "quotes the patient") if quoted or "\n" in str(error) else ("refused", "")
    except Exception as error:
        return "other error", repr(error)
    same = found.shape == right.shape and np.array_equal(found, right)
    return ("equal", "") if same else ("other pixels", f"{found.shape} {found.dtype}")
