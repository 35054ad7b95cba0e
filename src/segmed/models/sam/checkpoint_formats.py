"""The formats of SAM's, MedSAM's and SAM 2's checkpoints, recognised from the file itself.

segment-anything's `.pth` (all tensors flat), MedSAM's training output (`model`, `optimizer`, `epoch`; with `module.`
before every name when several processes wrote it), SAM 2's `.pt` (`model` alone), and safetensors or a folder of
transformers. Pickles are read with `weights_only`: nothing in them is run. Of SAM 2's weights only those that single
images need are kept.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segmed.core.errors import ModelError
from segmed.layers.weight_files import read_pickled, read_safetensors
from segmed.models.families import FAMILIES, family_of_vit
from segmed.models.sam.key_mapping import GAUSSIAN, SEGMENT_ANYTHING, TWIN, renamed_all
from segmed.models.sam.sam2_key_mapping import from_published, without_video
from segmed.models.sam_config import PATCH, VitConfig

Tensors = dict[str, Tensor]

PUBLISHED_HIERA, HIERA = "image_encoder.trunk.", "vision_encoder.backbone."
"""Beginnings of names that tell SAM 2's image encoder, in its own code and in transformers."""
REFUSED = (
    (r"image_encoder\.(patch_embed\.seq|layers)\.", "LiteMedSAM's or MobileSAM's, with a TinyViT as image encoder"),
    (r"(detector_model|tracker_model)\.", "SAM 3's"),
    (r"image_encoder\.blocks\.\d+\.\w*[Aa]dapter", "SAM-Med2D's or Medical SAM Adapter's, with adapters"),
)
"""Names that tell a relative that we cannot build, and whose they are."""


@dataclass(frozen=True)
class Source:
    """Weights as they were found, under transformers' names."""

    tensors: Tensors
    format: str
    """In words."""
    trained_by_medsam: bool
    """True for what MedSAM's training script writes."""
    second: bool = False
    """Whether they are SAM 2's, with a Hiera as image encoder."""


@dataclass(frozen=True)
class Architecture:
    """What the shapes of the weights tell."""

    vit: VitConfig
    size: int
    """Side of the images that they were trained on, in pixels."""
    channels: int

    @property
    def model(self) -> str | None:
        """The name of the model of this image encoder (medsam's is sam-vit-b's); None for any other."""
        return family_of_vit(self.vit)

    @property
    def words(self) -> str:
        """The model, or what it is where it has no name."""
        return self.model or f"a ViT of width {self.vit.width} and depth {self.vit.depth}"


def read_source(path: Path) -> Source:
    """Read weights of any known format from a file, or a folder of transformers.

    Raises `ModelError` for what cannot be read, is no SAM, or is a relative that we cannot build.
    """
    if path.is_dir():
        return _recognised(_read_folder(path), str(path), "transformers folder", wrapped=False)
    if path.suffix == ".safetensors":
        return _recognised(read_safetensors(path), str(path), "safetensors", wrapped=False)
    content = read_pickled(path)
    wrapped = isinstance(content.get("model"), Mapping)
    tensors, words = (content["model"], "training output") if wrapped else (content, "flat checkpoint")
    return _recognised(tensors, str(path), words, wrapped=wrapped)


def architecture_of(tensors: Tensors, source: str) -> Architecture:
    """Read the architecture from shapes; raises `ModelError` where the image encoder is not whole."""
    try:
        position, patch = tensors["vision_encoder.pos_embed"], tensors["vision_encoder.patch_embed.projection.weight"]
        width, cells, depth = int(position.shape[3]), int(position.shape[1]), _depth(tensors)
        relative = [tensors[f"vision_encoder.layers.{layer}.attn.rel_pos_h"].shape for layer in range(depth)]
        mlp = int(tensors["vision_encoder.layers.0.mlp.lin1.weight"].shape[0])
        heads = width // int(relative[0][1])
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise ModelError(f"{source}: the image encoder is not whole (no {error}). Get the file again.") from error
    if patch.shape[2] != PATCH or position.shape[1] != position.shape[2]:
        raise ModelError(
            f"{source}: patches of {patch.shape[2]} px on a grid of {tuple(position.shape[1:3])}; SAM has patches of "
            f"{PATCH} on a square grid. Use weights of that kind."
        )
    reach = [(int(shape[0]) + 1) // 2 for shape in relative]
    everywhere = tuple(layer for layer in range(depth) if reach[layer] == cells)
    windows = {side for side in reach if side != cells}
    if len(windows) > 1:
        raise ModelError(f"{source}: windows of several sides {sorted(windows)}; SAM has one. Use other weights.")
    found = VitConfig(
        width=width, depth=depth, heads=heads, global_layers=everywhere, window=windows.pop() if windows else 14,
        mlp_width=None if mlp == 4 * width else mlp,
    )  # fmt: skip
    return Architecture(_as_published(found, cells), cells * PATCH, int(patch.shape[1]))


def _as_published(found: VitConfig, cells: int) -> VitConfig:
    """At 14 x 14 tokens a window is the whole image, and shapes do not tell which layers are global: the papers do."""
    if cells != 14:
        return found
    measures = (found.width, found.depth, found.heads)
    known = (
        shape
        for shape in (row.vit for row in FAMILIES.values())
        if shape and (shape.width, shape.depth, shape.heads) == measures
    )
    return next(known, found)


def _depth(tensors: Tensors) -> int:
    numbers = [int(found[1]) for name in tensors if (found := re.match(r"vision_encoder\.layers\.(\d{1,4})\.", name))]
    return max(numbers, default=-1) + 1


def _recognised(content: Mapping[str, Any], source: str, words: str, *, wrapped: bool) -> Source:
    odd = [name for name, value in content.items() if not isinstance(name, str) or not isinstance(value, Tensor)]
    if odd:
        raise ModelError(f"{source}: holds {odd[0]!r}, which is no tensor, among its weights. Give a SAM checkpoint.")
    distributed = bool(content) and all(name.startswith("module.") for name in content)
    tensors = {name.removeprefix("module.") if distributed else name: tensor for name, tensor in content.items()}
    for pattern, whose in REFUSED:
        if any(re.match(pattern, name) for name in tensors):
            raise ModelError(
                f"{source}: these weights are {whose}, which SegMed cannot build. Use SAM's or MedSAM's ViT weights."
            )
    second = any(name.startswith((PUBLISHED_HIERA, HIERA)) for name in tensors)
    if any(name.startswith(PUBLISHED_HIERA) for name in tensors):
        tensors, names = from_published(without_video(tensors)), "SAM 2's own names"
    elif second:
        tensors, names = _without_twin(without_video(tensors), source), "transformers' names"
    elif any(name.startswith("image_encoder.blocks.") for name in tensors):
        tensors, names = renamed_all(tensors, SEGMENT_ANYTHING), "segment-anything's names"
    elif any(name.startswith("vision_encoder.layers.") for name in tensors):
        tensors, names = _without_twin(tensors, source), "transformers' names"
    else:
        example = next(iter(tensors), "nothing")
        raise ModelError(f"{source}: holds no SAM (its first name is {example}). Give a SAM or MedSAM checkpoint.")
    found_format = f"{words}, {names}{', written by several processes' if distributed else ''}"
    return Source(tensors, found_format, trained_by_medsam=wrapped and not second, second=second)


def _without_twin(tensors: Tensors, source: str) -> Tensors:
    """transformers keeps the positional Gaussian under two names, of which a file may have either or both."""
    twin = tensors.pop(TWIN, None)
    if twin is not None and not torch.equal(tensors.setdefault(GAUSSIAN, twin), twin):
        raise ModelError(f"{source}: {TWIN} and {GAUSSIAN} differ, but SAM has one. Get the file again.")
    return tensors


def _read_folder(folder: Path) -> Tensors:
    parts = sorted(folder.glob("model*.safetensors"))
    if parts:
        return {name: tensor for part in parts for name, tensor in read_safetensors(part).items()}
    parts = sorted(folder.glob("pytorch_model*.bin"))
    if parts:
        return {name: tensor for part in parts for name, tensor in read_pickled(part).items()}
    raise ModelError(f"{folder}: holds neither model.safetensors nor pytorch_model.bin. Copy the whole model folder.")
