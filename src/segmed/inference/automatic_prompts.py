"""Prompting without the reference: from proposals, from none, or from neighbouring slices."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from segmed.inference.base import VolumePredictor
from segmed.inference.prompted import Answer, EncodedImage, PromptedPredictor
from segmed.inference.slices import PatientSlices


@dataclass(frozen=True)
class EncodedVolume:
    """Slices of one patient, in anatomical order, as they were read and after the image encoder."""

    slices: PatientSlices
    encoded: Sequence[EncodedImage]
    """One for each of `slices.images`."""


@dataclass(frozen=True)
class Automatic:
    """A prompt protocol that is told nothing of the reference."""

    answers: Callable[[PromptedPredictor, EncodedVolume], list[Answer]]
    """An answer for each slice asked about."""
    system: VolumePredictor | None = None
    """What answers, threshold and cost included, where it is more than the run alone: a cascade."""
    cleans: bool = False
    """Whether small components are removed, as from the system's own predictions; what a prompt points to is kept."""


def unprompted(predictor: PromptedPredictor, volume: EncodedVolume) -> list[Answer]:
    """What the model finds itself."""
    return predictor.decode_volume(volume.encoded)


NO_PROMPT = "none"
"""The name in `--prompts` of no prompt at all."""
AUTOMATIC: Mapping[str, Automatic] = {NO_PROMPT: Automatic(unprompted, cleans=True)}
"""Ways that need nothing but the model, by their name in `--prompts`; others are passed beside these."""
CASCADE_PROMPTS = "cascade"
"""The name in `--prompts` of what a dense run proposes."""
NEEDS: Mapping[str, str] = {CASCADE_PROMPTS: "a folder made by `segmed cascade`, named with --cascade"}
"""Ways that need something more, and what."""
