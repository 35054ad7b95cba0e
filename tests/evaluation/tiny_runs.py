"""A tiny data set on disk, splits of it, and a predictor that calls bright pixels tumour."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from segmed.core.labels import LabelMap
from segmed.core.records import Record, SliceDataset
from segmed.core.split import Partition, Split
from segmed.data.decoded import DecodedDataset, decode
from segmed.inference.predictor import Predictor
from segmed.models.checkpoint import RunConfig, TrainedModel
from segmed.models.config import ModelConfig
from segmed.models.training_facts import TrainingFacts
from segmed.preprocess import PreprocessConfig

SIZE = (40, 33)
POSITIONS = range(1, 5)


def kaggle_folder(root: Path, patients: str = "abcd") -> Path:
    """Four slices a patient in the Kaggle layout; the tumour, a bright square, is on slices 2 and 3."""
    generator = np.random.default_rng(0)
    for number, letter in enumerate(patients):
        name = f"TCGA_{letter.upper() * 2}_000{number}_19990101"
        (root / name).mkdir(parents=True, exist_ok=True)
        for position in POSITIONS:
            image = generator.integers(10, 30, (*SIZE, 3), dtype=np.uint8)
            mask = np.zeros(SIZE, np.uint8)
            if position in (2, 3):
                image[8:20, 5 + number : 17 + number] = 250
                mask[8:20, 5 + number : 17 + number] = 255
            Image.fromarray(image).save(root / name / f"{name}_{position}.tif")
            Image.fromarray(mask).save(root / name / f"{name}_{position}_mask.tif")
    return root


def decoded_of(root: Path) -> DecodedDataset:
    """That folder decoded, with the patients' letters as their names."""
    records = []
    for folder in sorted(root.glob("TCGA_*")):
        patient = folder.name[5].lower()
        for z in POSITIONS:
            image = folder / f"{folder.name}_{z}.tif"
            records.append(Record(f"{patient}_{z}", patient, z, image, image.with_name(f"{image.stem}_mask.tif")))
    return decode(SliceDataset("tiny", root, tuple(records), LabelMap()), cache_dir=root.parent / "cache")


def slice_ids(patients: str) -> tuple[str, ...]:
    return tuple(f"{patient}_{z}" for patient in patients for z in POSITIONS)


def split_of(decoded: DecodedDataset, *parts: Partition, leaking: bool = False) -> Split:
    patient_of = {record.slice_id: record.patient for record in decoded.dataset.records}
    return Split("patient", 0, decoded.data_hash, leaking, patient_of, parts)


def by_patient(decoded: DecodedDataset, train: str = "ab", validation: str = "c", test: str = "d") -> Split:
    return split_of(decoded, Partition(slice_ids(train), slice_ids(validation), slice_ids(test)))


def by_slice(decoded: DecodedDataset) -> Split:
    even = tuple(slice_id for slice_id in slice_ids("abcd") if int(slice_id[-1]) % 2 == 0)
    odd = tuple(slice_id for slice_id in slice_ids("abcd") if int(slice_id[-1]) % 2 == 1)
    return split_of(decoded, Partition(even, (), odd), leaking=True)


class Bright(torch.nn.Module):
    """Logits from brightness: bright pixels are tumour, without doubt."""

    def __init__(self) -> None:
        super().__init__()
        self.level = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 100 * (images.mean(dim=1, keepdim=True) - self.level)


def config_of(decoded: DecodedDataset, **changes: object) -> RunConfig:
    config = RunConfig(
        model=ModelConfig(name="unet", encoder="resnet18", encoder_weights="none"),
        preprocess=PreprocessConfig(),
        labels=LabelMap(),
        threshold=0.5,
        data_hash=decoded.data_hash,
        training=TrainingFacts(seconds=12.5, cpu_seconds=20.5, others={"seed": 3}),
    )
    return replace(config, **changes)


def predictor_of(folder: Path, config: RunConfig) -> Predictor:
    return Predictor(TrainedModel(Bright(), config, folder), device="cpu")
