"""The families of promptable models, one row each: network, weights, preprocessing, recipe, licence and what they saw.

Whatever else asks about a family by name asks here: a row that is added is built, trained by its recipe, loaded,
converted and warned about like the others.
"""

from dataclasses import dataclass
from typing import Literal

from segmed.core.errors import ModelError
from segmed.models.sam_config import HieraConfig, VitConfig
from segmed.preprocess import PreprocessConfig

NATIVE = 1024
"""Side of the images that SAM and MedSAM were trained on, in pixels."""


@dataclass(frozen=True)
class Contract:
    """How the images were made that weights were trained on (see `models/sam/contract.py`)."""

    name: str
    """As `segmed convert --contract` and the note beside weights have it."""
    title: str
    preprocess: PreprocessConfig
    places: tuple[str, ...]
    """What the name of a file, folder or hub id says of it, in lower case."""

    @property
    def side(self) -> int:
        """Of the square images that the network reads, in pixels."""
        size = self.preprocess.size
        return NATIVE if size is None else size[0]


SAM = Contract(
    "sam", "SAM",
    PreprocessConfig(normalisation="imagenet", size=(NATIVE, NATIVE), fit="letterbox", padding="zero"),
    ("sam_vit", "sam-vit"),
)  # fmt: skip
MEDSAM = Contract(
    "medsam", "MedSAM",
    PreprocessConfig(
        normalisation="minmax", size=(NATIVE, NATIVE), fit="squash", interpolation="bicubic", slice_range=True
    ),
    ("medsam",),
)  # fmt: skip
SAM2 = Contract(
    "sam2", "SAM 2",
    PreprocessConfig(normalisation="imagenet", size=(NATIVE, NATIVE), fit="squash"),
    ("sam2", "sam-2"),
)  # fmt: skip
MEDSAM2 = Contract(
    "medsam2", "MedSAM2",
    PreprocessConfig(normalisation="minmax-imagenet", size=(512, 512), fit="squash", interpolation="bicubic"),
    ("medsam2", "medsam-2"),
)  # fmt: skip


@dataclass(frozen=True)
class Family:
    """What is known of a promptable model by its name."""

    network: Literal["pyramid", "vit", "hiera"]
    """A key of `segmed.models.zoo.NETWORKS`."""
    encoder: str
    """`ModelConfig.encoder` where nothing is said."""
    recipe: str
    """The recipe of a model for which none is named."""
    weights: str = "none"
    """`ModelConfig.encoder_weights` where nothing is said: `hub`, or `none`."""
    vit: VitConfig | None = None
    """The dimensions of its ViT."""
    hub: str | None = None
    """Where its weights are on the hub, as owner/name."""
    contract: Contract | None = None
    """The preprocessing of its published weights."""
    licence: str | None = None
    """Of its published weights."""
    contamination: str | None = None
    """Patients that its published weights may have seen, in a sentence."""
    hiera: HieraConfig | None = None
    """The dimensions of its Hiera."""
    file: str | None = None
    """The file of its weights there, where it is none of transformers'."""
    boxes_alone: bool = False
    """Whether its published weights were trained with boxes alone: points get no choice among masks then, and masks are
    no prompts."""


FAMILIES: dict[str, Family] = {
    "sam-tiny": Family("pyramid", "resnet18", "sam-tiny"),
    "sam-vit-b": Family(
        "vit", "vit-b", "sam-vit-b", "hub", VitConfig(), "facebook/sam-vit-base", SAM, "Apache-2.0",
    ),
    "sam-vit-l": Family(
        "vit", "vit-l", "sam-vit-b", "hub", VitConfig(width=1024, depth=24, heads=16, global_layers=(5, 11, 17, 23)),
        "facebook/sam-vit-large", SAM, "Apache-2.0",
    ),
    "sam-vit-h": Family(
        "vit", "vit-h", "sam-vit-b", "hub", VitConfig(width=1280, depth=32, heads=16, global_layers=(7, 15, 23, 31)),
        "facebook/sam-vit-huge", SAM, "Apache-2.0",
    ),
    "medsam": Family(
        "vit", "vit-b", "medsam", "hub", VitConfig(), "wanglab/medsam-vit-base", MEDSAM, "Apache-2.0",
        "MedSAM was trained on BraTS among others, which shares patients with TCGA-LGG: on LGG its scores may be of "
        "patients that it has seen.", boxes_alone=True,
    ),
    **{
        f"sam2-{size}": Family(
            "hiera", f"hiera-{size}", "sam2", "hub", hiera=hiera, hub=f"facebook/sam2.1-hiera-{size}", contract=SAM2,
            licence="Apache-2.0",
        )
        for size, hiera in {
            "tiny": HieraConfig(),
            "small": HieraConfig(blocks=(1, 2, 11, 2), global_blocks=(7, 10, 13)),
            "base-plus": HieraConfig(
                width=112, heads=2, blocks=(2, 3, 16, 3), global_blocks=(12, 16, 20), background=14
            ),
            "large": HieraConfig(
                width=144, heads=2, blocks=(2, 6, 36, 4), global_blocks=(23, 33, 43), windows=(8, 4, 16, 8)
            ),
        }.items()
    },
    "medsam2": Family(
        "hiera", "hiera-tiny", "medsam2", "hub", None, "wanglab/MedSAM2", MEDSAM2, "CC-BY-SA-4.0",
        "Which patients MedSAM2 was trained on is not known here: public data sets of many kinds, which may share "
        "patients with yours, as BraTS does with TCGA-LGG.", hiera=HieraConfig(), file="MedSAM2_latest.pt",
    ),
}  # fmt: skip
"""By the name of the model. Where two have the same image encoder, weights of that shape are the first one's. SAM 2 is
2.1; its numbers are those of facebookresearch/sam2@2b90b9f, sam2/configs/sam2.1."""


def contracts() -> dict[str, Contract]:
    """The contracts of all families by name."""
    return {row.contract.name: row.contract for row in FAMILIES.values() if row.contract is not None}


def contract_named(name: str) -> Contract:
    """A contract; raises `ModelError` for an unknown name."""
    known = contracts()
    if name not in known:
        raise ModelError(f"Unknown contract {name!r}. Choose one of: {', '.join(known)}.")
    return known[name]


def vit_of(name: str) -> VitConfig:
    """The dimensions of a family's ViT; raises `ModelError` for one that has none."""
    vit = FAMILIES[name].vit if name in FAMILIES else None
    if vit is None:
        raise ModelError(f"{name} has no ViT of SAM's shape.")
    return vit


def hiera_of(name: str) -> HieraConfig:
    """The dimensions of a family's Hiera; raises `ModelError` for one that has none."""
    hiera = FAMILIES[name].hiera if name in FAMILIES else None
    if hiera is None:
        raise ModelError(f"{name} has no image encoder of SAM 2's kind.")
    return hiera


def family_of_vit(vit: VitConfig) -> str | None:
    """The first family with this ViT; None for any other."""
    return next((name for name, row in FAMILIES.items() if row.vit == vit), None)


def is_published(name: str) -> bool:
    """Whether weights of the whole model are published, rather than of a convolutional encoder alone."""
    return name in FAMILIES and FAMILIES[name].hub is not None


def weights_notes(name: str, weights: str) -> tuple[str, ...]:
    """What a training says of the published weights that it begins with: their licence, and patients they may know.

    A file may hold them or others, which its name does not tell: then the notes say what they depend on.
    """
    row = FAMILIES.get(name)
    if row is None or weights.lower() == "none":
        return ()
    licence = None if row.licence is None else f"The published weights of {name} are under {row.licence}."
    notes = tuple(each for each in (licence, row.contamination) if each is not None)
    return notes if weights == "hub" else tuple(f"If the given weights descend from these: {each}" for each in notes)
