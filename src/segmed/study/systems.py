"""The systems of the study: a plain table of names, what they change in a recipe, and what they need.

A row whose needs this build does not have is declared all the same, so that the page says what is missing.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from segmed.core.errors import ConfigError

Judged = Literal["image alone", "boxes of the reference", "boxes of another model"]


@dataclass(frozen=True)
class System:
    """One row: `changes` are `a.b=c` settings of a recipe that starts from the budget's.

    `neighbours` slices on either side are further channels. `judged` says what the system is given beside the image
    when it is tested; rows that get the reference's boxes are never ranked with the others. `needs` are what must be
    there: `model NAME` of the zoo, `recipe NAME`, or `module NAME`. `report_iou` is the report's figure.
    """

    name: str
    title: str
    changes: tuple[str, ...]
    neighbours: int = 0
    judged: Judged = "image alone"
    needs: tuple[str, ...] = ()
    baseline: bool = False
    report_iou: float | None = None
    report_losses: tuple[float, float] | None = None
    """Training and validation loss in the report."""
    report_epochs: int = 7


def _dense(name: str, title: str, iou: float, losses: tuple[float, float]) -> System:
    return System(
        name, title, (f"model.name={name}",), baseline=True, report_iou=iou, report_losses=losses
    )  # fmt: skip


SYSTEMS: dict[str, System] = {
    system.name: system
    for system in (
        _dense("deeplabv3plus", "DeepLabV3+", 0.8741, (1.6634, 1.6662)),
        _dense("unet", "U-Net", 0.8517, (1.6691, 1.6712)),
        _dense("unetplusplus", "U-Net++", 0.8268, (1.6730, 1.6750)),
        _dense("deeplabv3", "DeepLabV3", 0.7986, (1.6646, 1.6700)),
        _dense("pan", "PAN", 0.7970, (1.6656, 1.6683)),
        System("unet-25d", "U-Net, 2.5D", ("model.name=unet",), neighbours=1),
        System(
            "sam-decoder", "SAM, decoder only, focal loss", ("model.name=sam-vit-b", "loss.name=focal"),
            judged="boxes of the reference", report_iou=0.644, report_epochs=5,
            needs=("model sam-vit-b", "module segmed.inference.prompted"),
        ),
        System(
            "sam-tuned", "SAM, tuned", ("model.name=sam-vit-b", "loss.name=focal-dice"),
            judged="boxes of the reference", needs=("model sam-vit-b", "module segmed.inference.prompted"),
        ),
        System(
            "medsam-tuned", "MedSAM, tuned", ("model.name=medsam-vit-b", "loss.name=focal-dice"),
            judged="boxes of the reference", needs=("model medsam-vit-b", "module segmed.inference.prompted"),
        ),
        System("unet-featup", "U-Net + FeatUp", ("model.name=unet",), needs=("recipe unet-featup",)),
        System("unet-gafl", "U-Net + GAFL", ("model.name=unet",), needs=("recipe unet-gafl",)),
        System("unet-featup-gafl", "U-Net + FeatUp + GAFL", ("model.name=unet",), needs=("recipe unet-featup-gafl",)),
        System(
            "medsam-featup", "MedSAM + FeatUp", ("model.name=medsam-vit-b",), judged="boxes of the reference",
            needs=("model medsam-vit-b", "recipe medsam-featup"),
        ),
        System(
            "medsam-gafl", "MedSAM + GAFL", ("model.name=medsam-vit-b",), judged="boxes of the reference",
            needs=("model medsam-vit-b", "recipe medsam-gafl"),
        ),
        System(
            "medsam-featup-gafl", "MedSAM + FeatUp + GAFL", ("model.name=medsam-vit-b",),
            judged="boxes of the reference", needs=("model medsam-vit-b", "recipe medsam-featup-gafl"),
        ),
        System(
            "cascade", "U-Net boxes, then MedSAM", ("model.name=medsam-vit-b",), judged="boxes of another model",
            needs=("model medsam-vit-b", "module segmed.inference.cascade"),
        ),
        System(
            "promptless", "MedSAM without prompts", ("model.name=medsam-vit-b",), needs=("model medsam-vit-b",)
        ),
    )
}  # fmt: skip
"""In the order of the report's table, then ours."""


def chosen_systems(names: Sequence[str]) -> tuple[System, ...]:
    """Rows by name. Raises `ConfigError` with the nearest name for an unknown one."""
    for name in names:
        if name not in SYSTEMS:
            near = difflib.get_close_matches(name, SYSTEMS, n=1, cutoff=0.4)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"--systems: unknown system {name!r}. {hint}Choose from: {', '.join(SYSTEMS)}.")
    return tuple(SYSTEMS[name] for name in dict.fromkeys(names))


def missing_needs(system: System) -> tuple[str, ...]:
    """What a system needs and this build does not have, a way to test it included."""
    from segmed.study.judges import JUDGES

    judge = () if system.judged in JUDGES else (f"a test with {system.judged}",)
    return (*(need for need in system.needs if not _is_there(need)), *judge)


def _is_there(need: str) -> bool:
    from segmed.models.zoo import MODELS
    from segmed.training.recipe import recipe_names

    kind, _, name = need.partition(" ")
    if kind == "model":
        return name in MODELS
    if kind == "recipe":
        return name in recipe_names()
    return find_spec(name) is not None
