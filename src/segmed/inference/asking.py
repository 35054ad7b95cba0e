"""Ways of asking a promptable model without the reference: what to predict of a patient's slices, and nobody's box."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from segmed.inference.prompted import Answer, EncodedImage, PromptedPredictor
from segmed.inference.slices import PatientSlices


@dataclass(frozen=True)
class AskedVolume:
    """Slices of one patient, in anatomical order, as they were read and after the image encoder."""

    slices: PatientSlices
    encoded: Sequence[EncodedImage]
    """One for each of `slices.images`."""


Automatic = Callable[[PromptedPredictor, AskedVolume], list[Answer]]
"""An answer for each slice asked about: from prompts that are proposed, from none, or from neighbouring slices."""


def unprompted(predictor: PromptedPredictor, volume: AskedVolume) -> list[Answer]:
    """What the model finds itself."""
    return predictor.decode_volume(volume.encoded)


AUTOMATIC: Mapping[str, Automatic] = {"none": unprompted}
"""Ways that need nothing but the model, by their name in `--prompts`; others are passed beside these."""
NEEDS: Mapping[str, str] = {"cascade": "a folder made by `segmed cascade`, named with --cascade"}
"""Ways that need something more, and what."""
