"""Build SAM 2 by name, with random or published weights."""

from transformers.models.sam2.configuration_sam2 import Sam2MaskDecoderConfig, Sam2PromptEncoderConfig
from transformers.models.sam2.modeling_sam2 import Sam2MaskDecoder, Sam2PromptEncoder

from segmed.core.errors import ModelError
from segmed.models.config import ModelConfig
from segmed.models.families import hiera_of
from segmed.models.sam.vit import require_possible
from segmed.models.sam.weights import find_weights, fit_weights
from segmed.models.sam2.encoder import STRIDE, HieraEncoder
from segmed.models.sam2.network import PromptableSam2
from segmed.models.sam2.weights import NAMES, require_same_hiera
from segmed.models.sam_config import SamConfig


def build_sam2(config: ModelConfig) -> PromptableSam2:
    """SAM 2 by `config.name`, with random weights or those that `config.encoder_weights` names.

    Raises `ModelError` for more than one label, another encoder, additions that are SAM's alone, and weights that
    cannot be had or do not fit.
    """
    sam = config.sam or SamConfig()
    require_possible(config)
    pretrained = None
    if config.encoder_weights != "none":  # found first, so that a wrong name costs no time
        pretrained = find_weights(config.encoder_weights, config.name)
        require_same_hiera(pretrained, sam.hiera or hiera_of(config.name), config.channels, config.name)
    model = bare_sam2(config)
    if pretrained is not None:
        fit_weights(pretrained.source.tensors, model, pretrained.place, names=NAMES)
        model.contract = pretrained.contract
    model.image_encoder.train_only(sam.trains, sam.lora_rank)
    return model


def bare_sam2(config: ModelConfig) -> PromptableSam2:
    """The model with random weights, before anything is loaded or chosen to be trained."""
    sam = config.sam or SamConfig()
    _require_plain(sam)
    encoder = HieraEncoder(
        sam.hiera or hiera_of(config.name), sam.size, config.channels, checkpointing=sam.checkpointing
    )
    return PromptableSam2(encoder, *prompt_parts(sam), config=sam, image_channels=config.channels)


def prompt_parts(sam: SamConfig) -> tuple[Sam2PromptEncoder, Sam2MaskDecoder]:
    """SAM 2's own prompt encoder and mask decoder; conv_s0 and conv_s1 are the image encoder's here.

    As in the published predictor, an unstable mask gives way to the best of three where `sam.multimask` is set.
    """
    prompts = Sam2PromptEncoderConfig(image_size=sam.size, patch_size=STRIDE)
    masks = Sam2MaskDecoderConfig(dynamic_multimask_via_stability=sam.multimask)
    masks._attn_implementation = "sdpa"
    decoder = Sam2MaskDecoder(masks)
    del decoder.conv_s0, decoder.conv_s1
    return Sam2PromptEncoder(prompts), decoder


def _require_plain(sam: SamConfig) -> None:
    """Raise `ModelError` for a size, or for additions to SAM, that SAM 2 does not have."""
    if sam.size % 32:
        raise ModelError(f"sam.size of SAM 2 is a multiple of 32, got {sam.size}.")
    added = {"featup": sam.featup != "none", "encode_at": sam.encode_at is not None, "box_prior": sam.box_prior}
    for key in (key for key, is_there in added.items() if is_there):
        raise ModelError(f"model.sam.{key} is for SAM and MedSAM; SAM 2 has finer levels of its own. Leave it out.")
