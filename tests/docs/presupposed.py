"""What the how-to pages take for granted before their first command: data, files and runs, all small."""

import json
import re
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image as Pillow
from pydicom.dataset import Dataset
from shortened import SIDE, shortened
from tifffile import imread

from commands import segmed
from dicom_phantoms import write_series
from doc_pages import REPOSITORY, blocks
from mask_samples import CASES, SHAPE, affine, moved, reference, write_references
from segmed import Grid, Volume, read_volume, write_volume
from segmed.data.keys import pseudonyms_of
from segmed.data.phantom import write_phantom
from segmed.data.sources import open_dataset
from segmed.models.config import ModelConfig
from segmed.models.sam.key_mapping import OURS, SEGMENT_ANYTHING, renamed
from segmed.models.sam_config import SamConfig, VitConfig
from segmed.models.zoo import build_model

GIVEN: dict[str, tuple[str, ...]] = {
    "README.md": ("new_scans", "labelsTs", "imagesTs", "pred"),
    "coming-from-nnunet.md": ("Dataset001_Brain", "splits_final.json"),
    "compare-tools.md": ("labelsTs", "imagesTs", "pred", "cases.csv"),
    "featup.md": ("DATA", "split.json", "runs/sam-tiny", "slice.tif"),
    "gafl.md": ("data/lgg", "split.json", "scan.tif", "benchmarks"),
    "medsam-on-your-own-data.md": ("MY_DATA", "medsam_vit_b.pth"),
    "more-from-trained-networks.md": ("DATA", "split.json", "runs/unet", "new_scans"),
    "no-box-no-problem.md": ("DATA", "split.json", "new_scans", "runs/sam-tiny", "volume"),
    "oracle-and-automatic.md": (
        "DATA", "runs/sam-tiny", "runs/unet", "slice.png", "images", "boxes.csv", "points.csv",
    ),
    "resume-and-long-runs.md": ("DATA", "split.json"),
    "splits-and-leaks.md": ("DATA",),
    "starting-weights.md": ("DATA", "split.json", "resnet18-f37072fd.pth"),
    "study.md": ("data/lgg", "masks"),
    "train-from-embeddings.md": ("data/lgg", "split.json"),
    "your-own-dicom.md": ("STUDY", "mask.nii.gz"),
    "your-own-nifti.md": ("mynifti", "shifted", "new_volumes"),
    "your-own-data.md": ("mydata", "fairseg", "tumours"),
}  # fmt: skip
"""By page, what its reader has before the first command; everything else a page's commands make themselves."""

SLICES = 8


class Stock:
    """Makes each of these things at its first use, once for all pages, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def phantom(self) -> Path:
        """Eight patients of the phantom in the layout of the LGG data."""
        phantom = self._folder / "phantom"
        write_phantom(phantom, patients=8, seed=0, size=SIDE, slices=SLICES)
        pseudonyms_of(open_dataset(phantom))  # now, so that every copy has the key of the runs made from this one
        return phantom

    @cached_property
    def split(self) -> Path:
        """A split of the phantom by patient."""
        segmed("data", "split", self.phantom, "--out", self._folder / "split.json")
        return self._folder / "split.json"

    @cached_property
    def unet(self) -> Path:
        return self._run("unet-cpu")

    @cached_property
    def sam_tiny(self) -> Path:
        return self._run("sam-tiny")

    def _run(self, recipe: str) -> Path:
        out = self._folder / "runs" / recipe
        command = ["segmed", "train", recipe, "--data", self.phantom, "--split", self.split, "--out", out]
        segmed(*shortened([str(word) for word in command])[1:])
        return out

    @cached_property
    def volumes(self) -> Path:
        """The same patients as NIfTI."""
        return write_phantom(self._folder / "nifti", patients=8, seed=0, size=SIDE, slices=SLICES, format="nifti")

    def slices(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Images and masks of the phantom's first patient."""
        folder = sorted(self.phantom.glob("kaggle_3m/PHANTOM_*"))[0]
        names = [folder / f"{folder.name}_{number}" for number in range(1, SLICES + 1)]
        return [(imread(f"{name}.tif"), imread(f"{name}_mask.tif")) for name in names]

    def put(self, name: str, here: Path) -> None:
        """Make the thing of this name in the working folder `here`."""
        target = here / name
        target.parent.mkdir(parents=True, exist_ok=True)
        MAKERS[name](self, target)


def _copied(attribute: str) -> Callable[[Stock, Path], None]:
    def copy(stock: Stock, target: Path) -> None:
        source: Path = getattr(stock, attribute)
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)

    return copy


def _one_slice(stock: Stock, target: Path) -> None:
    """A slice at 160 px, where boxes as the pages give them lie in the image."""
    target.parent.mkdir(parents=True, exist_ok=True)
    image, _ = stock.slices()[5]
    Pillow.fromarray(image).resize((160, 160)).save(target)


def _images(stock: Stock, target: Path) -> None:
    for name in ("a.png", "deep/b.png", "without-a-box.png"):
        _one_slice(stock, target / name)


def _volume(stock: Stock, target: Path) -> None:
    """Slices of one patient, and beside their folder a box on one of them."""
    _slices(stock, target)
    (target.parent / "boxes.csv").write_text("file,x0,y0,x1,y1\nslice_3.png,10,12,44,50\n")


def _slices(stock: Stock, target: Path) -> None:
    target.mkdir()
    for number, (image, _) in enumerate(stock.slices()[2:8], start=1):
        Pillow.fromarray(image).save(target / f"slice_{number}.png")


def _nifti(stock: Stock, target: Path) -> None:
    """FLAIR of the phantom in `images`, and its masks."""
    for number, mask in enumerate(sorted(stock.volumes.glob("*_mask.nii.gz")), start=1):
        for kind, source in (("images", mask.with_name(mask.name.replace("_mask", "_flair"))), ("masks", mask)):
            (target / kind).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / kind / f"p{number:02d}.nii.gz")


def _shifted(stock: Stock, target: Path) -> None:
    """The same with one mask a row too far to the front."""
    _nifti(stock, target)
    mask = read_volume(target / "masks" / "p03.nii.gz")
    affine = np.array(mask.grid.affine)
    affine[1, 3] += 3.75
    write_volume(target / "masks" / "p03.nii.gz", Volume(mask.array, Grid(mask.grid.shape, affine)))


def _new_volumes(stock: Stock, target: Path) -> None:
    _nifti(stock, target.with_name("all"))
    target.mkdir()
    for name in ("p01.nii.gz", "p02.nii.gz"):
        (target.with_name("all") / "images" / name).rename(target / name)


def _nnunet(stock: Stock, target: Path) -> None:
    """Eight cases of two sequences, the last without a reference."""
    masks = sorted(stock.volumes.glob("*_mask.nii.gz"))
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (target / folder).mkdir(parents=True)
    for number, mask in enumerate(masks, start=1):
        here = "imagesTs" if number == len(masks) else "imagesTr"
        for channel, sequence in enumerate(("flair", "post-contrast")):
            source = mask.with_name(mask.name.replace("_mask", f"_{sequence}"))
            shutil.copyfile(source, target / here / f"brain_{number:03d}_{channel:04d}.nii.gz")
        if here == "imagesTr":
            shutil.copyfile(mask, target / "labelsTr" / f"brain_{number:03d}.nii.gz")
    described = {
        "channel_names": {"0": "FLAIR", "1": "T1ce"},
        "labels": {"background": 0, "tumour": 1},
        "file_ending": ".nii.gz",
    }
    (target / "dataset.json").write_text(json.dumps(described))


def _folds(stock: Stock, target: Path) -> None:
    names = [f"brain_{number:03d}" for number in range(1, 8)]
    folds = [{"train": [name for name in names if name not in val], "val": val} for val in (names[:3], names[3:])]
    target.write_text(json.dumps(folds))


def _new_scans(stock: Stock, target: Path) -> None:
    target.mkdir()
    for patient in ("first", "second"):
        _slices(stock, target / patient)


def _printed_table(column: int) -> Callable[[Stock, Path], None]:
    """A table as the page on oracles prints it, two of them side by side."""

    def write(stock: Stock, target: Path) -> None:
        (block,) = [text for text in blocks("oracle-and-automatic.md", "") if text.startswith("file,")]
        target.write_text("".join(line.split()[column] + "\n" for line in block.splitlines()))

    return write


def _named_slices(stock: Stock, target: Path, mask_of: Callable[[np.ndarray], np.ndarray]) -> None:
    for kind in ("images", "masks"):
        (target / kind).mkdir(parents=True)
    for patient, folder in enumerate(sorted(stock.phantom.glob("kaggle_3m/PHANTOM_*")), start=1):
        for number in range(3, 9):
            name = f"p{patient:02d}_{number:03d}.png"
            image, mask = (imread(folder / f"{folder.name}_{number}{end}.tif") for end in ("", "_mask"))
            Pillow.fromarray(image).save(target / "images" / name)
            Pillow.fromarray(mask_of(mask)).save(target / "masks" / name)


def _mydata(stock: Stock, target: Path) -> None:
    _named_slices(stock, target, lambda mask: mask)


def _tumours(stock: Stock, target: Path) -> None:
    """Masks of oedema (1) with a core (2) in its lower half."""

    def two_labels(mask: np.ndarray) -> np.ndarray:
        rows, _ = np.nonzero(mask)
        labels = (mask > 0).astype(np.uint8)
        if rows.size:
            labels[int(rows.mean()) :] *= 2
        return labels

    _named_slices(stock, target, two_labels)


def _fairseg(stock: Stock, target: Path) -> None:
    target.mkdir()
    rng = np.random.default_rng(0)
    for number in range(1, 13):
        mask = np.zeros((SIDE, SIDE))
        mask[16:48, 12:44], mask[26:38, 20:34] = -1, -2
        image = (rng.integers(0, 60, (SIDE, SIDE)) - 60 * mask).astype(np.uint8)
        facts = {"age": 30 + 4 * number, "gender": number % 2, "race": number % 3, "ethnicity": 0, "language": 0}
        path = target / f"data_{number:05d}.npz"
        np.savez(path, slo_fundus=image, disc_cup_mask=mask, maritalstatus=1, **facts)


def _masks(stock: Stock, target: Path) -> None:
    """Another tool's mask of every case: the references, moved by two pixels."""
    target.mkdir()
    for path in stock.phantom.rglob("*_mask.tif"):
        Pillow.fromarray(np.roll(imread(path), 2, axis=1)).save(target / f"{path.stem.removesuffix('_mask')}.png")


def _volumes(folder: Path, masks: Callable[[str], np.ndarray], suffix: str = "") -> None:
    for case in CASES:
        volume = Volume(masks(case), Grid(SHAPE, affine()))
        folder.mkdir(parents=True, exist_ok=True)
        write_volume(folder / f"{case}{suffix}.nii.gz", volume)


def _labels(stock: Stock, target: Path) -> None:
    """Reference volumes of two labels, named as nnU-Net names them."""
    write_references(target)
    names = {"labels": {"background": 0, "tumour": 1, "kidney": 2}}
    (target / "dataset.json").write_text(json.dumps(names))


def _imaged(stock: Stock, target: Path) -> None:
    _volumes(target, lambda case: (100 * reference(case)).astype(np.int16), "_0000")


def _predicted(stock: Stock, target: Path) -> None:
    """Masks of three tools, of which one lacks a case."""
    for moves, tool in enumerate(("ours", "nnunet", "total")):
        _volumes(target / tool, lambda case, moves=moves: moved(case, moves))  # type: ignore[misc]
    (target / "nnunet" / f"{CASES[2]}.nii.gz").unlink()


def _case_table(stock: Stock, target: Path) -> None:
    """The table as the page on other tools prints it."""
    (block,) = [text for text in blocks("compare-tools.md", "") if text.startswith("case,")]
    target.write_text(block)


def _medsam(stock: Stock, target: Path) -> None:
    """A small MedSAM in its released format, flat and with segment-anything's names."""
    vit = VitConfig(width=32, depth=2, heads=2, global_layers=(1,), window=3)
    plain = SamConfig(size=SIDE, vit=vit, box_map=False, promptless_tokens=0, presence=False)
    torch.manual_seed(0)
    model = build_model(ModelConfig(name="medsam", encoder_weights="none", sam=plain))
    names = {name: renamed(renamed(name, OURS, back=True), SEGMENT_ANYTHING, back=True) for name in model.state_dict()}
    torch.save({names[name]: each for name, each in model.state_dict().items()}, target)


def _resnet18(stock: Stock, target: Path) -> None:
    """A ResNet-18 with torchvision's names and random weights, as a pickle."""
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18().state_dict(), target)


def _benchmarks(stock: Stock, target: Path) -> None:
    """The studies that come with SegMed, with one degradation and without floors."""
    shutil.copytree(REPOSITORY / "benchmarks" / "studies", target / "studies")
    for path in target.rglob("*.yaml"):
        path.write_text(
            re.sub(
                r"^degrade: .*",
                "degrade: [lowpass:0.25]\nevaluations: {test: [--no-floors]}",
                path.read_text(),
                flags=re.M,
            )
        )


def _grid() -> Grid:
    return Grid.of_columns_first((SLICES, SIDE, SIDE), np.diag([1.0, 1, 5, 1]), "LPS")


def _study(stock: Stock, target: Path) -> None:
    """The first patient as DICOM, with a localiser."""
    scan = np.stack([image[..., 0] for image, _ in stock.slices()]).astype(np.int16)

    def localiser(index: int, dataset: Dataset) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    write_series(target / "a", Volume(scan, _grid()), series=3)
    write_series(target / "b", Volume(scan, _grid()), series=1, change=localiser)


def _dicom_mask(stock: Stock, target: Path) -> None:
    """Oedema (1) with a core (2) on the grid of the study."""
    labels = np.stack([(mask > 0).astype(np.uint8) for _, mask in stock.slices()])
    labels[3, 20:24, 20:24] = 2
    write_volume(target, Volume(labels, _grid()))


MAKERS: dict[str, Callable[[Stock, Path], None]] = {
    "mynifti": _nifti,
    "shifted": _shifted,
    "new_volumes": _new_volumes,
    "Dataset001_Brain": _nnunet,
    "splits_final.json": _folds,
    **dict.fromkeys(("DATA", "MY_DATA", "data/lgg"), _copied("phantom")),
    "split.json": _copied("split"),
    "runs/unet": _copied("unet"),
    "runs/sam-tiny": _copied("sam_tiny"),
    **dict.fromkeys(("slice.tif", "slice.png", "scan.tif"), _one_slice),
    "images": _images,
    "boxes.csv": _printed_table(0),
    "points.csv": _printed_table(1),
    "volume": _volume,
    "new_scans": _new_scans,
    "mydata": _mydata,
    "tumours": _tumours,
    "fairseg": _fairseg,
    "masks": _masks,
    "STUDY": _study,
    "mask.nii.gz": _dicom_mask,
    "medsam_vit_b.pth": _medsam,
    "resnet18-f37072fd.pth": _resnet18,
    "benchmarks": _benchmarks,
    "labelsTs": _labels,
    "imagesTs": _imaged,
    "pred": _predicted,
    "cases.csv": _case_table,
}
