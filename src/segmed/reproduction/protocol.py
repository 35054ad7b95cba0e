"""How the paper trained, as settings of recipes, and the variants of that."""

from typing import Literal

from segmed.reproduction.published import Reported

Variant = Literal["", "double-sigmoid", "logits", "our-settings"]
VARIANTS: tuple[Variant, ...] = ("double-sigmoid", "logits", "our-settings")
"""A baseline on the paper's split: with its settings and either loss, and with those of the protocol by patient."""
SCHEDULE = ("ema_decay=0", "sampling.positive_share=null", "sampling.batch_size=16")
"""The paper's plain passes over all slices; what it does not state (optimiser, batch) is the notebooks' usual."""
EPOCHS = 7
"""Those of the paper's dense networks."""
THRESHOLD = 0.5
"""Where the paper cuts probabilities: segmentation_models_pytorch's default."""


def settings(reported: Reported | None, variant: Variant, channels: int) -> tuple[str, ...]:
    """Augmentation, epochs, loss and, for three channels, ImageNet's normalisation, as `a.b=c`."""
    epochs = reported.epochs if reported else EPOCHS
    loss = ("loss.name=double-sigmoid",) if variant == "double-sigmoid" else ()
    normalisation = ("preprocess.normalisation=imagenet",) if channels == 3 else ()
    return "augment=reproduction", f"epochs={epochs}", *loss, *normalisation
