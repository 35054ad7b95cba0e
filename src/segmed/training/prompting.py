"""What a promptable model is asked in training: prompts for a slice's objects, and tasks that only a prompt solves.

A model that sees nothing but slices with one object and a box around it learns to find the object and to ignore the
box. Decoys (a box where there is no object) and regions (any homogeneous region, known by its box alone) cannot be
answered without a look at the prompt.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64
from pydantic import Field
from scipy import ndimage

from segmed.core.components import components
from segmed.core.config import config_dataclass
from segmed.core.errors import ConfigError
from segmed.core.split import Split
from segmed.data.oof_maps import ProposalMaps
from segmed.prompts.grid import PromptGrid, fill_boxes
from segmed.prompts.kinds import parse_prompt
from segmed.prompts.masks import tight_boxes
from segmed.prompts.proposals import PromptKinds, ProposeConfig, claimed, propose
from segmed.prompts.sampling import PROMPTS, Probability, PromptConfig, Prompted, Prompter
from segmed.prompts.value import Prompts

Weight = Annotated[float, Field(ge=0)]


PROPOSALS = "proposals"
"""The name in a mix of what a dense model proposes; it is not a name of `segmed evaluate --prompts`."""


@config_dataclass
class ProposalSource:
    """How proposals are drawn from out-of-fold maps, so that the decoder learns on what the cascade will ask it."""

    folder: str = ""
    """The folder that `segmed oof` made for this data, split and fold."""
    probability: tuple[float, float] = (0.1, 0.6)
    """Smallest and largest probability from which pixels form components; one is drawn for each slice."""
    margin: tuple[float, float] = (0.0, 0.2)
    """Smallest and largest margin of the boxes, as a share of their sides."""
    min_pixels: Annotated[int, Field(ge=1)] = 5
    """Smaller components, on the network's grid, propose nothing."""
    point_share: Probability = 0.25
    """Chance that the proposals of a slice come with their peaks as points."""
    mask_share: Probability = 0.5
    """Chance that they come with the map's logits as mask prompts."""

    def __post_init__(self) -> None:
        """Refuse ranges that fall or that no map has."""
        for name, (low, high), least, most in (
            ("probability", self.probability, 0.001, 0.999),
            ("margin", self.margin, 0.0, 2.0),
        ):
            if not least <= low <= high <= most:
                raise ConfigError(f"{name} must rise within {least} to {most}, got ({low}, {high}).")

    @property
    def middle(self) -> ProposeConfig:
        """The settings in the middle of the ranges, for validation."""
        return ProposeConfig(
            probability=sum(self.probability) / 2, margin=sum(self.margin) / 2, min_pixels=self.min_pixels
        )

    def draw(self, rng: np.random.Generator) -> tuple[ProposeConfig, PromptKinds]:
        """Settings for one slice, and what its proposals are prompted with."""
        settings = ProposeConfig(
            probability=float(rng.uniform(*self.probability)),
            margin=float(rng.uniform(*self.margin)),
            min_pixels=self.min_pixels,
        )
        point, mask = rng.random() < self.point_share, rng.random() < self.mask_share
        kinds: dict[tuple[bool, bool], PromptKinds] = {
            (False, False): "box",
            (True, False): "box+point",
            (False, True): "box+mask",
            (True, True): "box+point+mask",
        }
        return settings, kinds[bool(point), bool(mask)]


@config_dataclass
class PromptingConfig:
    """Prompts of a promptable model's training and validation, and the losses beside that of the mask."""

    mix: dict[str, Weight] = Field(
        default_factory=lambda: {"gt": 1.0, "jitter:20@1024": 2.0, "jitter:20": 1.0, "lesions": 1.0, "points": 0.5}
    )
    """How slices with an object are prompted: names of `segmed evaluate --prompts`, or `proposals` for what a dense
    model proposed (on slices without an object too), and how often each is drawn. `--set prompting.mix.gt=5` changes
    one of them, and 0 leaves it out."""
    proposals: ProposalSource = ProposalSource()
    """Where `proposals` come from."""
    objects: Annotated[int, Field(ge=1)] = 2
    """At most so many of a slice's objects in a step."""
    decoys: Probability = 0.25
    """Chance that a slice also gets a box that no object touches; its mask is empty."""
    regions: Probability = 0.0
    """Chance that a slice also gets the box of some homogeneous region; its mask is that region."""
    promptless: Probability = 0.25
    """Chance that a slice is also asked without a prompt; its mask is that of all objects."""
    refinements: Annotated[int, Field(ge=0)] = 0
    """Further decodings in a step, each prompted with the previous logits as well. SAM's training has 10."""
    corrections: Annotated[int, Field(ge=0)] = 0
    """How many of the further decodings also get a point where the mask is wrong, as of an annotator who corrects it.
    SAM's training has 8; of those without, one is the last and the others' places are drawn."""
    compare_at: Literal["network", "mask"] = "network"
    """Grid on which masks are compared with what was asked for: the `network`'s, as MedSAM does, or the decoder's own
    `mask` grid, as SAM and the fine-tuning tutorials do: a sixteenth of the pixels for a ViT."""
    iou_weight: Weight = 1.0
    """Weight of the squared error of the predicted IoU; SAM's is 1, the reproduced paper's and MedSAM's 0."""
    presence_weight: Weight = 0.2
    """Weight of the presence head's cross-entropy."""
    validation: str = "jitter:20@1024"
    """Prompts under which epoch and threshold are chosen; `none` is without, `proposals` are boxes of the mean map."""

    def __post_init__(self) -> None:
        """Refuse names that are unknown and a mix of nothing."""
        for name in (*self.mix, self.validation):
            if name != PROPOSALS:
                parse_prompt(name)
        if self.corrections > self.refinements:
            raise ConfigError(
                f"prompting.corrections is {self.corrections}, but there are {self.refinements} refinements. "
                "Raise prompting.refinements; SAM's training has 10, and 8 corrections."
            )
        if not sum(self.mix.values()) > 0:
            raise ConfigError("prompting.mix gives no prompt any weight. Give one at least, such as {gt: 1}.")

    @property
    def proposes(self) -> bool:
        """Whether training or validation needs out-of-fold maps."""
        return self.mix.get(PROPOSALS, 0) > 0 or self.validation == PROPOSALS

    @property
    def gives_masks(self) -> bool:
        """Whether training shows mask prompts."""
        return self.refinements > 0 or (self.mix.get(PROPOSALS, 0) > 0 and self.proposals.mask_share > 0)


def open_maps(config: PromptingConfig, data_hash: str, split: Split, fold: int) -> ProposalMaps | None:
    """The out-of-fold maps that training needs, None where it needs none.

    Raises `ConfigError` where no folder is named, and what `ProposalMaps.require` raises where it does not fit.
    """
    if not config.proposes:
        return None
    if not config.proposals.folder:
        raise ConfigError(
            "prompting draws proposals, but prompting.proposals.folder is not set. Make one with `segmed oof`, then "
            "--set prompting.proposals.folder=FOLDER."
        )
    maps = ProposalMaps(Path(config.proposals.folder))
    maps.require(data_hash, split, fold)
    return maps


def require_boxes_alone(config: PromptingConfig) -> None:
    """Raise `ConfigError` where a model that takes nothing but boxes would be given, or compared at, something else."""
    for name in (*(name for name, weight in config.mix.items() if weight > 0), config.validation):
        source, chosen = config.proposals, PROMPTS["gt"] if name == PROPOSALS else parse_prompt(name)
        extra = name == PROPOSALS and (source.point_share or source.mask_share)
        if chosen.inside or chosen.outside or extra:
            raise ConfigError(
                f"A box channel takes no points, but prompting has {name!r}. Leave it out of the mix (prompting.mix."
                f"{name}=0), or set the point_share and mask_share of proposals to 0."
            )
    if config.refinements:
        raise ConfigError("A box channel takes no mask prompts. Set prompting.refinements to 0.")
    if config.compare_at == "mask":
        raise ConfigError(
            "A dense model with a box channel has no mask grid of its own. Set prompting.compare_at to network."
        )


@dataclass(frozen=True)
class Task:
    """What one slice is asked in a step: its prompts, and a target per object, in order."""

    prompts: Prompts
    targets: Bool[np.ndarray, "n h w"]
    masks: Float32[np.ndarray, "n h w"] | None = None
    """Mask prompts as fine as the slice; the decoder wants them coarser."""


class TaskDrawer:
    """Draws the tasks of a slice; all chance comes from the generator that is passed."""

    def __init__(self, config: PromptingConfig) -> None:
        self.config = config
        others = {name: weight for name, weight in config.mix.items() if name != PROPOSALS}
        self._prompters = [Prompter(parse_prompt(name)) for name in others]
        total = sum(others.values())
        self._shares = np.array(list(others.values())) / (total or 1)
        self._proposed_share = config.mix.get(PROPOSALS, 0) / sum(config.mix.values())
        self._has_others = total > 0

    def __call__(
        self,
        image: Float32[np.ndarray, "c h w"],
        mask: Bool[np.ndarray, "h w"],
        rng: np.random.Generator,
        proposal: Float32[np.ndarray, "h w"] | None = None,
    ) -> list[Task]:
        """One task per kind of question; at least one, so that no slice of a batch is lost.

        `proposal` is the slice's out-of-fold map; without one nothing is proposed.
        """
        tasks = []
        task: Task | None = None
        if proposal is not None and self._proposed_share and rng.random() < self._proposed_share:
            task = self._proposed(mask, proposal, rng)
        if task is None and mask.any() and self._has_others:
            prompter = self._prompters[rng.choice(len(self._prompters), p=self._shares)]
            task = self._some(prompter(mask, rng), rng)
        if task is not None:
            tasks.append(task)
        for chance, question in ((self.config.decoys, _decoy), (self.config.regions, _region)):
            task = question(image, mask, rng) if rng.random() < chance else None
            if task is not None:
                tasks.append(task)
        if rng.random() < self.config.promptless or not tasks:
            tasks.append(Task(Prompts(), mask[None]))
        return tasks

    def _proposed(
        self, mask: Bool[np.ndarray, "h w"], proposal: Float32[np.ndarray, "h w"], rng: np.random.Generator
    ) -> Task | None:
        """What a dense model proposes and what is really there: nothing where it is a false alarm. None if nothing."""
        settings, kinds = self.config.proposals.draw(rng)
        found = propose(proposal, settings)
        if not len(found):
            return None
        if len(found) > self.config.objects:
            kept = np.zeros(len(found), bool)
            kept[rng.choice(len(found), self.config.objects, replace=False)] = True
            found = found.only(kept)
        size = (mask.shape[0], mask.shape[1])
        prompts = found.prompts("box+point" if "point" in kinds else "box", PromptGrid(size, size, size))
        return Task(prompts, claimed(mask, found), found.logits if "mask" in kinds else None)

    def _some(self, prompted: Prompted, rng: np.random.Generator) -> Task:
        """At most `config.objects` of the objects, drawn without replacement."""
        prompts, count = prompted.prompts, len(prompted.prompts)
        if count <= self.config.objects:
            return Task(prompts, prompted.targets)
        kept = np.sort(rng.choice(count, self.config.objects, replace=False))
        mine = np.isin(prompts.point_objects, kept)
        chosen = Prompts(
            boxes=prompts.boxes[kept] if len(prompts.boxes) else (),
            points=prompts.points[mine],
            point_labels=prompts.point_labels[mine],
            point_objects=np.searchsorted(kept, prompts.point_objects[mine]),
        )
        return Task(chosen, prompted.targets[kept])


def _decoy(
    image: Float32[np.ndarray, "c h w"], mask: Bool[np.ndarray, "h w"], rng: np.random.Generator, tries: int = 8
) -> Task | None:
    """A box of a twentieth to two fifths of the image's sides without a pixel of the mask; None if none is found."""
    height, width = mask.shape
    for _ in range(tries):
        extent = np.maximum(rng.uniform(0.05, 0.4, 2) * (width, height), 1)
        corner = rng.uniform(0, 1, 2) * ((width, height) - extent)
        box = np.concatenate([corner, corner + extent])[None]
        if not (fill_boxes(box, (height, width))[0] & mask).any():
            return Task(Prompts(boxes=box), np.zeros((1, height, width), bool))
    return None


def _region(
    image: Float32[np.ndarray, "c h w"], mask: Bool[np.ndarray, "h w"], rng: np.random.Generator
) -> Task | None:
    """A connected region of like intensity around a random place, and its box; None if it is tiny or nearly all."""
    channel = ndimage.gaussian_filter(image[rng.integers(len(image))], 1.5)
    tissue = np.flatnonzero(channel > np.median(channel))
    if tissue.size == 0:
        return None
    row, column = np.divmod(int(rng.choice(tissue)), channel.shape[1])
    alike = np.abs(channel - channel[row, column]) < rng.uniform(0.1, 0.5) * channel.std()
    numbered = components(alike, corners=False).labels
    region = ndimage.binary_fill_holes(numbered == numbered[row, column])
    if not 0.001 <= region.mean() <= 0.25:
        return None
    return Task(Prompts(boxes=_jittered(tight_boxes(region[None]), region.shape, rng)), region[None])


def _jittered(
    boxes: Float64[np.ndarray, "n 4"], size: tuple[int, ...], rng: np.random.Generator
) -> Float64[np.ndarray, "n 4"]:
    """Boxes with each side moved out by up to a fiftieth of the image's, within it."""
    height, width = size
    moved = boxes + rng.uniform(0, 0.02, (len(boxes), 4)) * (-width, -height, width, height)
    return np.clip(moved, 0, (width, height, width, height))


def correcting(config: PromptingConfig, rng: np.random.Generator) -> list[bool]:
    """Whether each refinement of a step gets a further point: never the last, where one goes without."""
    places = config.refinements - (config.corrections < config.refinements)
    chosen = set(rng.choice(places, config.corrections, replace=False).tolist()) if config.corrections else set()
    return [place in chosen for place in range(config.refinements)]


def validation_prompter(config: PromptingConfig) -> Prompter | None:
    """What draws the prompts of validation; None where it goes without, or by proposals."""
    if config.validation == PROPOSALS:
        return None
    chosen: PromptConfig = parse_prompt(config.validation)
    return None if chosen == PROMPTS["none"] else Prompter(chosen)
