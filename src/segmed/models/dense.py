"""Dense models: every architecture and encoder of segmentation_models_pytorch (MIT), by name, ending in logits."""

import difflib
from typing import cast

import segmentation_models_pytorch as smp
from segmentation_models_pytorch.encoders import get_encoder_names
from torch import nn

from segmed.core.errors import ModelError
from segmed.models.config import WIDTHS, ModelConfig
from segmed.models.encoder_weights import find_encoder_file, load_encoder, out_of_reach
from segmed.models.guided import guide_decoder
from segmed.models.hub import quiet_hub

DENSE: tuple[str, ...] = tuple(smp.MODEL_ARCHITECTURES_MAPPING)
"""unet, unetplusplus, pan, deeplabv3, deeplabv3plus, fpn, manet, …"""


def build_dense(config: ModelConfig) -> nn.Module:
    """Build an architecture with an encoder; no activation at its end: the output is logits.

    Raises `ModelError` for an unknown encoder, a pair that does not go together, weights out of reach, or an
    upsampler that the architecture's decoder has no place for.
    """
    model = _create(config)
    if config.upsampler != "interpolate":
        guide_decoder(model, config.name, config.upsampler, config.channels)
    return model


def _create(config: ModelConfig) -> nn.Module:
    file = find_encoder_file(config.encoder, config.encoder_weights)
    named = None if file is not None or config.encoder_weights == "none" else config.encoder_weights
    model = _named_model(config, _as_smp_names(config.encoder, named))
    if file is not None:
        load_encoder(cast(nn.Module, model.encoder), file.path, name=config.encoder, channels=config.channels)
    return model


def _as_smp_names(encoder: str, weights: str | None) -> str | bool | None:
    """Weights by the name that smp has for them: timm's models have theirs in their own name, and only True beside."""
    if weights is None or not encoder.startswith("tu-"):
        return weights
    if weights != "imagenet":
        raise ModelError(
            f"{encoder} has no weights {weights!r}: timm names them in the model, as tu-NAME.TAG with imagenet for the "
            "weights. Or give a safetensors file."
        )
    return True


def _named_model(config: ModelConfig, weights: str | bool | None) -> nn.Module:
    """The architecture with weights by a name that smp knows; None is random ones."""
    _require_encoder(config.encoder)
    decoder: dict[str, tuple[int, ...]] = {}
    if config.decoder_channels is not None:
        if config.name not in WIDTHS:
            raise ModelError(f"decoder_channels are for {', '.join(WIDTHS)}, not for {config.name}. Leave them out.")
        decoder = {"decoder_channels": config.decoder_channels}
    try:
        with quiet_hub():
            return smp.create_model(
                config.name,
                encoder_name=config.encoder,
                encoder_weights=weights,
                in_channels=config.channels,
                classes=config.labels,
                activation=None,
                **decoder,
            )
    except OSError as error:
        raise out_of_reach(config.encoder, config.encoder_weights) from error
    except (KeyError, ValueError, RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{config.name} cannot be built with encoder {config.encoder} and weights {config.encoder_weights}: "
            f"{reason}. Choose another encoder or other weights."
        ) from error


def stride(model: nn.Module) -> int:
    """The number of which both input sides must be multiples."""
    if isinstance(getattr(model, "stride", None), int):
        return int(model.stride)  # type: ignore[arg-type]  # checked above
    if not getattr(model, "requires_divisible_input_shape", True):
        return 1
    return int(getattr(getattr(model, "encoder", None), "output_stride", 1))


def build_encoder(name: str) -> nn.Module:
    """An encoder of 3 channels with random weights; raises `ModelError` for an unknown name."""
    model = _named_model(ModelConfig(name="unet", encoder=name, encoder_weights="none"), None)
    return cast(nn.Module, model.encoder)


def _require_encoder(name: str) -> None:
    known = get_encoder_names()
    if name in known or name.startswith("tu-"):
        return
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise ModelError(f"Unknown encoder {name!r}. {hint}Any timm model works too, as tu-NAME.")
