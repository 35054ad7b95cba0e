"""The frozen encoder's maps of a fold, made once and kept: what `featup_probe.py` trains and tests on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from segmed.core.errors import ModelError
from segmed.core.files import written_aside
from segmed.core.split import Partition
from segmed.data.decoded import DecodedDataset
from segmed.models.dense import build_encoder
from segmed.models.encoder_weights import WEIGHTS_EXTRA, load_encoder, packaged_weights
from segmed.preprocess import Preprocess, PreprocessConfig

ENCODER, LEVEL, CHANNELS = "tu-tf_efficientnet_lite0", 4, 112
"""The encoder, which of its maps is read (stride 16), and that map's channels."""
SIDE, CELLS = 256, 64
"""Of the image, and of the grid that maps are raised to."""
SLICES, TARGETS = 296, 96
"""Training slices of the probe, half of them with tumour, and how many of these train the upsampler."""


@dataclass(frozen=True)
class Part:
    """Slices in one order: standardised maps, the image at the cells' grid, the tumour's share of cells, masks."""

    features: Float[Tensor, "n c h w"]
    guidance: Float[Tensor, "n 3 H W"]
    share: Float[Tensor, "n H W"]
    masks: Bool[Tensor, "n s s"]
    patients: tuple[str, ...]


@dataclass(frozen=True)
class Maps:
    """A fold's slices, and the map of the enlarged slice for the first of the training slices."""

    train: Part
    test: Part
    target: Float[Tensor, "m c H W"]


def fold_maps(decoded: DecodedDataset, partition: Partition, folder: Path, *, side: int = SIDE) -> Maps:
    """The maps of a fold, from its folder where they are there; the encoder reads the slices at `side` pixels."""
    train, test = training_cases(decoded, partition), list(partition.test)
    first, second = (_encoded(decoded, slice_ids, side, folder / f"{name}-{side}.safetensors")
                     for name, slice_ids in (("train", train), ("test", test)))  # fmt: skip
    target = _encoded(decoded, train[:TARGETS], 4 * SIDE, folder / "target.safetensors")["features"]
    small = _encoded(decoded, train, SIDE, folder / f"train-{SIDE}.safetensors")["features"].float()
    shift, scale = small.mean((0, 2, 3), keepdim=True), small.std((0, 2, 3), keepdim=True).clamp(min=1e-6)
    parts = [
        Part(((each["features"].float() - shift) / scale).half(), each["guidance"], each["share"], each["mask"].bool(),
             tuple(_patients(decoded, slice_ids)))
        for each, slice_ids in ((first, train), (second, test))
    ]  # fmt: skip
    return Maps(parts[0], parts[1], ((target.float() - shift) / scale).half())


def training_cases(decoded: DecodedDataset, partition: Partition) -> list[str]:
    """The slices of the probe, in random order, the same for every seed: half with tumour and half without."""
    rng = np.random.default_rng(0)
    slice_ids = [*partition.train, *partition.validation]
    marked = np.array([bool(decoded.mask(slice_id).any()) for slice_id in slice_ids])
    chosen = [rng.permutation(np.flatnonzero(marked == wanted))[: SLICES // 2] for wanted in (True, False)]
    return [slice_ids[index] for index in rng.permutation(np.concatenate(chosen))]


def frozen_encoder() -> nn.Module:
    """ImageNet EfficientNet-Lite0; raises `ModelError` where its weights are not installed."""
    file = packaged_weights(ENCODER)
    if file is None:
        raise ModelError(f"The weights of {ENCODER} are not installed. {WEIGHTS_EXTRA}")
    encoder = build_encoder(ENCODER)
    load_encoder(encoder, file.path, name=ENCODER, channels=3)
    return encoder.eval()


def _encoded(decoded: DecodedDataset, slice_ids: Sequence[str], side: int, kept: Path) -> dict[str, Tensor]:
    if kept.is_file():
        return load_file(kept)
    encoder = frozen_encoder()
    preprocess = Preprocess(PreprocessConfig(size=(SIDE, SIDE)))
    records = {record.slice_id: record for record in decoded.dataset.records}
    volumes = {records[slice_id].volume for slice_id in slice_ids}
    read: dict[str, list[np.ndarray]] = {volume: [] for volume in volumes}
    for record in decoded.dataset.records:
        if record.volume in volumes:
            read[record.volume].append(decoded.image(record.slice_id))
    statistics = {volume: preprocess.statistics(images) for volume, images in read.items()}
    made: dict[str, list[Tensor]] = {"features": [], "guidance": [], "share": [], "mask": []}
    with torch.inference_mode():
        for slice_id in slice_ids:
            image, _ = preprocess.apply(decoded.image(slice_id), statistics[records[slice_id].volume])
            enlarged = functional.interpolate(image[None], (side, side), mode="bilinear", align_corners=False)
            mask = torch.from_numpy(np.array(decoded.mask(slice_id) > 0))
            made["features"].append(encoder(enlarged)[LEVEL][0].half())
            made["guidance"].append(functional.adaptive_avg_pool2d(image, CELLS).half())
            made["share"].append(functional.adaptive_avg_pool2d(mask[None].float(), CELLS)[0].half())
            made["mask"].append(mask.to(torch.uint8))
    kept.parent.mkdir(parents=True, exist_ok=True)
    stacked = {name: torch.stack(each).contiguous() for name, each in made.items()}
    with written_aside(kept) as temporary:
        save_file(stacked, temporary)
    return stacked


def _patients(decoded: DecodedDataset, slice_ids: Sequence[str]) -> list[str]:
    patient = {record.slice_id: record.patient for record in decoded.dataset.records}
    return [patient[slice_id] for slice_id in slice_ids]
