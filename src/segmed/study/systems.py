"""The systems of the study: a plain table of names, what they change in a recipe, and how they are tested."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from segmed.core.errors import ConfigError
from segmed.reproduction.published import REPORTED, Reported

Given = Literal["image alone", "boxes of the reference", "boxes of another model"]


@dataclass(frozen=True)
class System:
    """One row: `changes` are `a.b=c` settings of a recipe that starts from the budget's, or from the `recipe` named.

    `neighbours` slices on either side are further channels. `given` says what the system gets beside the image
    when it is tested, and `prompts` how boxes of the reference are drawn; rows that get these are never ranked with the
    others. `trained_as` names the row whose training is used, so that one network is tested in several ways.
    `published` rows are of published weights as they are: nothing is trained, and one run serves all folds and seeds.
    `reported` is what the paper has of it.
    """

    name: str
    title: str
    changes: tuple[str, ...] = ()
    recipe: str = ""
    neighbours: int = 0
    given: Given = "image alone"
    prompts: str = "gt"
    trained_as: str = ""
    published: bool = False
    reported: Reported | None = None

    @property
    def baseline(self) -> bool:
        """Whether it is one of the paper's baselines."""
        return self.reported is not None and self.reported.baseline

    @property
    def model(self) -> str:
        """The title without its prompts, which rows of one training share."""
        return self.title.partition(",")[0]

    @property
    def in_reproduction(self) -> bool:
        """Whether the row is of the paper's protocol: its own rows, and dense networks to set beside them."""
        return self.reported is not None or not self.recipe


BOXES: Given = "boxes of the reference"
OTHERS: Given = "boxes of another model"


def _promptable(name: str, title: str) -> tuple[System, ...]:
    """A promptable row without a prompt is tested with the reference's boxes too, exact and drawn less well."""
    off = (System(f"{name}-boxes-{n}", f"{title}, boxes off by up to {n} px", given=BOXES, prompts=f"jitter:{n}",
                  trained_as=name) for n in (5, 20))  # fmt: skip
    return System(f"{name}-boxes", f"{title}, given boxes", given=BOXES, trained_as=name), *off


def _as_published(name: str, title: str, recipe: str, *kinds: tuple[str, str, str]) -> tuple[System, ...]:
    """A row of published weights given the reference's boxes, the same drawn or told otherwise, and in a cascade."""
    base = f"{name}-published"
    return (
        System(base, f"{title} as published, given boxes", recipe=recipe, given=BOXES, published=True),
        *(
            System(f"{base}-{ending}", f"{title} as published, {told}", given=BOXES, prompts=prompts, trained_as=base)
            for ending, told, prompts in kinds
        ),
        System(f"{base}-cascade", f"U-Net, then {title} as published", given=OTHERS, trained_as=base),
    )


OFF = tuple((str(n), f"boxes off by up to {n} px", f"jitter:{n}") for n in (5, 20))
POINTS = ("points", "given points", "points")

SYSTEMS: dict[str, System] = {
    system.name: system
    for system in (
        *(
            System(name, known.title, (f"model.name={name}",), reported=known)
            for name, known in REPORTED.items()
            if known.baseline
        ),
        System("unet-25d", "U-Net, 2.5D", ("model.name=unet",), neighbours=1),
        System("unet-featup", "U-Net + FeatUp", ("model.name=unet", "model.upsampler=jbu")),
        System(
            "unet-featup-control", "U-Net + bilinear control", ("model.name=unet", "model.upsampler=bilinear-control")
        ),
        System("unet-gafl", "U-Net + GAFL", ("model.name=unet", "model.gafl={}")),
        System(
            "unet-gafl-control", "U-Net + convolution control",
            ("model.name=unet", "model.gafl={mode: convolution-control}"),
        ),
        System(
            "unet-featup-gafl", "U-Net + FeatUp + GAFL", ("model.name=unet", "model.upsampler=jbu", "model.gafl={}")
        ),
        System(
            "sam-reproduction", REPORTED["sam-reproduction"].title, recipe="sam-vit-b-reproduction", given=BOXES,
            prompts="jitter:20", reported=REPORTED["sam-reproduction"],
        ),
        System("sam-tiny", "SAM-tiny, no prompt", recipe="sam-tiny"),
        *_promptable("sam-tiny", "SAM-tiny"),
        System("sam-tiny-cascade", "U-Net, then SAM-tiny", given=OTHERS, trained_as="sam-tiny"),
        System("sam", "SAM ViT-B, no prompt", recipe="sam-vit-b"),
        *_promptable("sam", "SAM ViT-B"),
        *_as_published("sam", "SAM ViT-B", "sam-vit-b", *OFF, POINTS),
        *_as_published("sam2", "SAM 2 Hiera-T", "sam2", *OFF, POINTS),
        *_as_published("medsam", "MedSAM", "medsam", *OFF),
        System("sam2", "SAM 2 Hiera-T, no prompt", recipe="sam2"),
        *_promptable("sam2", "SAM 2 Hiera-T"),
        System("medsam", "MedSAM, no prompt", recipe="medsam"),
        *_promptable("medsam", "MedSAM"),
        System("medsam-cascade", "U-Net, then MedSAM", given=OTHERS, trained_as="medsam"),
        System("medsam-featup", "MedSAM + FeatUp, no prompt", ("model.sam.featup=jbu",), recipe="medsam"),
        System(
            "medsam-featup-control", "MedSAM + bilinear control, no prompt", ("model.sam.featup=bilinear-control",),
            recipe="medsam",
        ),
        System(
            "medsam-256", "MedSAM at 256 px, no prompt", ("model.sam.size=256", "preprocess.size=[256,256]"),
            recipe="medsam",
        ),
        System(
            "medsam-256-jbu", "MedSAM encoding 256 px + FeatUp, no prompt",
            ("model.sam.encode_at=256", "model.sam.encode_upsampler=jbu"), recipe="medsam",
        ),
        System(
            "medsam-256-control", "MedSAM encoding 256 px + bilinear control, no prompt",
            ("model.sam.encode_at=256", "model.sam.encode_upsampler=bilinear-control"), recipe="medsam",
        ),
        System("medsam-gafl", "MedSAM + GAFL, no prompt", ("model.gafl={place: embedding}",), recipe="medsam"),
        System(
            "medsam-featup-gafl", "MedSAM + FeatUp + GAFL, no prompt",
            ("model.sam.featup=jbu", "model.gafl={place: embedding}"), recipe="medsam",
        ),
    )
}  # fmt: skip
"""In the order of the paper's table, then ours."""
CASCADE_FROM = "unet"
"""The row that proposes boxes to the rows given boxes of another model."""


def trained_system(system: System) -> System:
    """The row whose training a row uses: its own unless it names another."""
    return SYSTEMS[system.trained_as] if system.trained_as else system


def chosen_systems(names: Sequence[str]) -> tuple[System, ...]:
    """Rows by name. Raises `ConfigError` with the nearest name for an unknown one."""
    for name in names:
        if name not in SYSTEMS:
            near = difflib.get_close_matches(name, SYSTEMS, n=1, cutoff=0.4)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"--systems: unknown system {name!r}. {hint}Choose from: {', '.join(SYSTEMS)}.")
    return tuple(SYSTEMS[name] for name in dict.fromkeys(names))
