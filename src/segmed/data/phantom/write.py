"""Write a phantom data set, in the Kaggle LGG layout or as volumes in NIfTI or DICOM, all of it or nothing."""

import datetime
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from segmed.core.errors import ConfigError, DataError
from segmed.core.files import refuse_links, write_table
from segmed.core.progress import Progress, tracked
from segmed.core.volume import Grid, Volume
from segmed.data.phantom.dicom import write_mask, write_series
from segmed.data.phantom.scanner import SCANNERS, Study, scan
from segmed.io.volumes import write_volume

PhantomFormat = Literal["tiff", "nifti", "dicom"]
FOLDERS: dict[PhantomFormat, str] = {"tiff": "kaggle_3m", "nifti": "volumes", "dicom": "dicom"}
LABEL = "tumour"
SEQUENCES = ("pre-contrast", "flair", "post-contrast")
HEAD, THICKNESS = 240.0, 6.0
"""Millimetres that a slice shows from side to side, and from slice to slice."""
INSTITUTIONS = ("AA", "BB", "AA", "CC", "AA", "BB")
MISSING_EVERY = 10
"""One patient in ten lacks post-contrast; the seventh is the first, so that eight patients have one."""
SMALLEST_SIZE, FEWEST_SLICES = 48, 8


@dataclass(frozen=True)
class _Patient:
    number: int
    institution: str
    no_post: bool

    @property
    def name(self) -> str:
        return f"PHANTOM_{self.institution}_{self.number:04d}"

    @property
    def case(self) -> str:
        date = datetime.date(2000, 1, 1) + datetime.timedelta(days=self.number - 1)
        return f"{self.name}_{date:%Y%m%d}"


def write_phantom(
    dest: Path,
    *,
    patients: int,
    seed: int,
    size: int = 256,
    slices: int | None = None,
    format: PhantomFormat = "tiff",
    progress: Progress | None = None,
) -> Path:
    """Write made-up patients as a data set.

    The folder of the cases is `dest/kaggle_3m`. With `format="nifti"` it is `dest/volumes`: the same voxels as axial
    volumes, a file a sequence, masks of 0 and 1, and `manifest.csv` in place of `data.csv`; 240 mm from side to side
    and 6 mm from slice to slice. With `format="dicom"` it is `dest/dicom`: the same volumes, a folder with a series for
    each sequence, and segmentations.

    Each case has RGB slices of `size` pixels square, uint8, as (pre-contrast, FLAIR, post-contrast), and masks of 0
    and 255; `data.csv` holds institution, sex and age. Patient n of a seed is the same however many there are, and the
    same call writes the same bytes.

    Args:
        dest: Where the folder is made.
        patients: How many; one volume each.
        seed: Of the random numbers.
        size: Rows and columns of a slice, in pixels.
        slices: Of each patient; None lets them vary by institution, from 18 to 26.
        format: tiff, nifti or dicom.
        progress: Called with patients written and patients in all.

    Returns:
        The folder with the cases.

    Raises:
        DataError: The folder exists already or cannot be written.
        ConfigError: Numbers that no phantom can have.

    Example:
        >>> write_phantom(Path("made"), patients=1, seed=3, size=48, slices=8).name
        'kaggle_3m'
    """
    _require_possible(patients, size, slices)
    target = dest / FOLDERS[format]
    refuse_links(target, itself=True)
    if target.exists():
        raise DataError(f"{target}: exists already. Remove it, or choose another folder for the phantom.")
    try:
        dest.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=dest, prefix=".phantom."))
        try:
            _write_all(aside / target.name, patients, seed, size, slices, format, progress)
            (aside / target.name).replace(target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{dest}: the phantom cannot be written ({reason}). Choose another folder.") from error
    return target


def _require_possible(patients: int, size: int, slices: int | None) -> None:
    if not 1 <= patients <= 9999:
        raise ConfigError(f"A phantom has 1 to 9999 patients, got {patients}.")
    if size < SMALLEST_SIZE:
        raise ConfigError(f"A phantom's slices have at least {SMALLEST_SIZE} pixels a side, got {size}.")
    if slices is not None and slices < FEWEST_SLICES:
        raise ConfigError(f"A phantom has at least {FEWEST_SLICES} slices per patient, got {slices}.")


def _write_all(
    folder: Path,
    patients: int,
    seed: int,
    size: int,
    slices: int | None,
    format: PhantomFormat,
    progress: Progress | None,
) -> None:
    folder.mkdir()
    rows = list[list[str]]()
    for number in tracked(range(1, patients + 1), progress):
        rng = np.random.default_rng([seed, number])
        patient = _patient(number)
        fewest, most = SCANNERS[patient.institution].slices
        study = scan(
            rng,
            SCANNERS[patient.institution],
            size=size,
            slices=slices or int(rng.integers(fewest, most + 1)),
            no_post=patient.no_post,
            no_pre=patient.no_post and bool(rng.random() < 0.6),
        )
        sex, age = str(rng.choice(["female", "male"])), int(np.clip(rng.normal(47, 13), 20, 80))
        facts = [patient.institution, sex, str(age)]
        if format == "tiff":
            _write_study(folder / patient.case, patient.case, study)
            rows.append([patient.name, *facts])
        else:
            write = _write_volumes if format == "nifti" else _write_dicom
            rows.append([patient.case, patient.name, *write(folder, patient, study), *facts])
    facts_of = ["institution", "sex", "age"]
    if format != "tiff":
        images = [f"image_{sequence}" for sequence in SEQUENCES]
        write_table(folder / "manifest.csv", ["case", "patient", *images, "mask", *facts_of], rows)
    else:
        write_table(folder / "data.csv", ["Patient", *facts_of], rows)


def _patient(number: int) -> _Patient:
    institution = INSTITUTIONS[(number - 1) % len(INSTITUTIONS)]
    return _Patient(number, institution, no_post=number % MISSING_EVERY == 7)


def _grid(study: Study) -> Grid:
    count, height, width = study.masks.shape
    step = HEAD / width
    affine = np.zeros((4, 4))  # slices go up, rows to the back, columns to the left, around the middle
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = THICKNESS, -step, -step, 1
    affine[:3, 3] = step * (width - 1) / 2, step * (height - 1) / 2, -THICKNESS * (count - 1) / 2
    return Grid((count, height, width), affine)


def _write_volumes(folder: Path, patient: _Patient, study: Study) -> list[str]:
    """Write a file for each sequence and the mask, and return their names."""
    arrays = {sequence: study.images[..., channel] for channel, sequence in enumerate(SEQUENCES)}
    names = []
    for name, array in {**arrays, "mask": study.masks}.items():
        names.append(f"{patient.case}_{name}.nii.gz")
        write_volume(folder / names[-1], Volume(np.ascontiguousarray(array), _grid(study)))
    return names


def _write_dicom(folder: Path, patient: _Patient, study: Study) -> list[str]:
    """Write a series for each sequence and a segmentation of the second, and return their names."""
    names = [f"{patient.case}/{sequence}" for sequence in SEQUENCES]
    for channel, name in enumerate(names):
        voxels = np.ascontiguousarray(study.images[..., channel])
        write_series(folder / name, voxels, _grid(study), patient=patient.name, case=patient.case, number=channel + 1)
    mask = f"{patient.case}/mask_seg.dcm"
    write_mask(folder / mask, study.masks, _grid(study), folder / names[1], LABEL)
    return [*names, mask]


def _write_study(folder: Path, case: str, study: Study) -> None:
    from tifffile import imwrite

    folder.mkdir()
    for index, (image, mask) in enumerate(zip(study.images, study.masks, strict=True), start=1):
        imwrite(folder / f"{case}_{index}.tif", image, photometric="rgb", metadata=None, software=False)
        imwrite(
            folder / f"{case}_{index}_mask.tif",
            mask * np.uint8(255),
            photometric="minisblack",
            metadata=None,
            software=False,
        )
