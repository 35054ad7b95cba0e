"""What a promptable model is told in an evaluation: kinds of prompts by name, from the reference or without it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from segmed.core.errors import ConfigError
from segmed.inference.automatic_prompts import AUTOMATIC, NEEDS, Automatic
from segmed.inference.propagate import PropagateConfig
from segmed.prompts.kinds import PromptKind, parse_prompt, prompt_names
from segmed.prompts.sampling import PROMPTS, Prompted, Prompter, slice_generator
from segmed.prompts.volumes import largest_slices

SEED = 0
"""Prompts are drawn from this and the slice's id, so that every model, and every floor, sees the same boxes."""


@dataclass(frozen=True)
class PromptProtocol:
    """One kind of prompts: drawn from the reference by `prompter` (an oracle), else proposed by `automatic`."""

    kind: PromptKind
    prompter: Prompter | None = None
    automatic: Automatic | None = None
    carry: PropagateConfig | None = None
    """Draw one box for each lesion of the volume alone, and carry it through the slices."""

    @property
    def name(self) -> str:
        """The kind as it is shown."""
        return str(self.kind)

    @property
    def cleans(self) -> bool:
        """Whether masks are cleaned as the run's own predictions are."""
        return self.automatic is not None and self.automatic.cleans

    @property
    def oracle(self) -> bool:
        """Whether the model is told something of the reference."""
        return self.prompter is not None

    @property
    def has_boxes(self) -> bool:
        """Whether what is drawn from the reference has boxes."""
        return self.prompter is not None and self.prompter.config.box_share > 0

    def prompted(self, slice_id: str, mask: UInt8[np.ndarray, "h w"]) -> Prompted:
        """What an oracle draws for a slice, the same every time. Raises `ConfigError` for an automatic kind."""
        if self.prompter is None:
            raise ConfigError(f"Prompts {self.name!r} are not drawn from the reference.")
        return self.prompter(mask > 0, slice_generator(SEED, slice_id))

    def drawn(
        self, slice_ids: Sequence[str], masks: Sequence[UInt8[np.ndarray, "_h _w"]], positions: Sequence[int]
    ) -> list[Prompted]:
        """What an oracle draws for the slices of one patient: slice by slice, or lesion by lesion of the volume."""
        if self.carry is not None:
            return largest_slices([np.asarray(mask > 0) for mask in masks], positions)
        return [self.prompted(slice_id, mask) for slice_id, mask in zip(slice_ids, masks, strict=True)]

    @property
    def remark(self) -> str:
        """In a sentence, what the model is told."""
        if self.prompter is None:
            return "Nothing of the reference."
        if self.carry is not None:
            return "One tight box for each lesion of a volume, on the slice where it is largest, carried to the others."
        what = "Boxes" if self.has_boxes else "Points"
        mean = f" Probabilities are the mean over {self.kind.boxes} boxes around each." if self.kind.boxes > 1 else ""
        drawn = f"{what} drawn from the reference ({self.kind.drawn})"
        return f"{drawn}, and no question about empty slices.{mean}"


def parse_prompt_protocols(
    text: str, *, uncertainty: int = 1, automatic: Mapping[str, Automatic] = AUTOMATIC
) -> list[PromptProtocol]:
    """Read `--prompts gt,propagate,cascade,none`: names of `parse_prompt` and of `automatic`, and `propagate`.

    With `uncertainty` above 1 every kind with boxes is followed by the mean over as many boxes around each. Raises
    `ConfigError` for unknown names, names given twice, ways that need something that is not there, and where no kind
    has boxes to move.
    """
    protocols: list[PromptProtocol] = []
    for name in filter(None, prompt_names(text)):
        one = _protocol(name, automatic)
        protocols.append(one)
        if uncertainty > 1 and one.has_boxes and one.carry is None:
            protocols.append(PromptProtocol(PromptKind(name, uncertainty), one.prompter))
    if uncertainty > 1 and not any(each.kind.boxes > 1 for each in protocols):
        raise ConfigError(
            f"--uncertainty moves boxes around each one that is drawn, and prompts {text} draw none by slice. Add "
            "a kind with boxes, such as gt or jitter:5, or leave --uncertainty out."
        )
    return protocols


def _protocol(name: str, automatic: Mapping[str, Automatic]) -> PromptProtocol:
    kind = PromptKind(name)
    if name in automatic:
        return PromptProtocol(kind, automatic=automatic[name])
    if name == "propagate":
        return PromptProtocol(kind, Prompter(PROMPTS["gt"]), carry=PropagateConfig())
    if name in NEEDS:
        raise ConfigError(f"Prompts {name!r} need {NEEDS[name]}, and none was given.")
    return PromptProtocol(kind, Prompter(parse_prompt(name)))
