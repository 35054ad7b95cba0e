"""Which parts of a promptable model training changes."""

from torch import nn

from segmed.models.sam.config import Trains

ENCODER, PROMPTS = "image_encoder.", "prompt_encoder."
GAUSSIAN = "positional_embedding"
"""The random Gaussian of the positional encoding, which SAM draws once and never trains."""


def freeze(model: nn.Module, trains: Trains) -> None:
    """Let gradients reach what `trains` names and nothing else; what SegMed adds to SAM is always trained.

    The parts of an encoder that `last` and `lora` train are chosen where the encoder is built.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_is_trained(name, trains) and not name.endswith(GAUSSIAN))


def _is_trained(name: str, trains: Trains) -> bool:
    if name.startswith(ENCODER):
        return trains == "all"
    return not name.startswith(PROMPTS) or trains != "decoder"
