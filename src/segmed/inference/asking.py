"""Ways of asking a promptable model without the reference: what to predict of a patient's slices, and nobody's box."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from segmed.inference.prompted import Answer, EncodedImage, PromptedPredictor


@dataclass(frozen=True)
class AskedVolume:
    """Slices of one patient, in anatomical order, as they were read and after the image encoder.

    `whole` has all of the patient's slices, also those that are not asked about: intensities are normalised by it.
    """

    images: Sequence[Shaped[np.ndarray, "..."]]
    whole: Sequence[Shaped[np.ndarray, "..."]]
    encoded: Sequence[EncodedImage]
    positions: Sequence[int] | None = None
    """Where each slice lies in the volume, and where those of `whole`: only 2.5D models must know."""
    whole_positions: Sequence[int] | None = None


Automatic = Callable[[PromptedPredictor, AskedVolume], list[Answer]]
"""An answer for each of `images`: from prompts that something proposes, from none, or from neighbouring slices."""


def unprompted(predictor: PromptedPredictor, volume: AskedVolume) -> list[Answer]:
    """What the model finds itself."""
    return predictor.decode_volume(volume.encoded)


AUTOMATIC: Mapping[str, Automatic] = {"none": unprompted}
"""Ways that need nothing but the model, by their name in `--prompts`; others are passed beside these."""
NEEDS: Mapping[str, str] = {"cascade": "a folder made by `segmed cascade`, named with --cascade"}
"""Ways that need something more, and what."""
