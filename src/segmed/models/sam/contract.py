"""How the images were made that SAM and MedSAM were trained on: the preprocessing that belongs to their weights.

SAM (segment-anything's `Sam.preprocess` and `ResizeLongestSide`): the longest side to 1024, bilinear; ImageNet's mean
and deviation of pixels from 0 to 255; zeros at the bottom and right. Theirs rounds to 8 bits after resizing, ours does
not: at most half a grey level apart from what the resizing itself rounds. Images of more bits are first scaled to
`PreprocessConfig.intensity_range`.

MedSAM (Ma et al., Nature Communications 2024, methods; its `pre_CT_MR.py`): intensities clipped at the 0.5 and 99.5
percentiles of the volume's non-zero voxels, stretched to 0 to 255 and cut to 8 bits, resized to 1024 x 1024 whatever
the aspect, cubic, then each slice stretched to 0 to 1; no mean, no deviation. Ours keeps the fractions that 8 bits
would cut: at most one grey level of 255 before the last stretch. Its cubic is a B-spline, ours Keys' kernel.

SAM 2 (its `SAM2Transforms`): stretched to 1024 x 1024 whatever the aspect, bilinear, antialiased; ImageNet's mean and
deviation.

MedSAM2 (bowang-lab/MedSAM2@56a9df6, medsam2_infer_3D_CT.py): clipped, stretched to 0 to 255 over the volume and cut to
8 bits, resized to 512 x 512 by Pillow's bicubic, then ImageNet's mean and deviation. CT is clipped to a window there;
the percentiles that we clip at are MedSAM's, as that file reads no other kind of image. Ours keeps the fractions that 8
bits would cut.
"""

from dataclasses import replace
from pathlib import Path

from segmed.models.families import contract_named, contracts
from segmed.preprocess import PreprocessConfig

COMPARED = ("normalisation", "fit", "interpolation", "padding", "slice_range")
"""What a contract fixes; channels are the data's and the size can be changed."""


def contract_of(name: str, size: int) -> PreprocessConfig:
    """A contract for images of `size`."""
    return replace(contract_named(name).preprocess, size=(size, size), divisor=16)


def differences(contract: PreprocessConfig, chosen: PreprocessConfig) -> list[str]:
    """What is chosen otherwise than the weights were trained on, as `key=value` of the contract."""
    different = [key for key in COMPARED if getattr(contract, key) != getattr(chosen, key)]
    if contract.normalisation == chosen.normalisation != "imagenet" and (
        contract.clip_percentiles != chosen.clip_percentiles
    ):
        different.append("clip_percentiles")
    if contract.fit == chosen.fit == "squash" and "padding" in different:
        different.remove("padding")  # nothing is padded
    return [f"{key}={getattr(contract, key)}" for key in different]


def contract_by_name(place: str | Path) -> str | None:
    """The contract that the name of a file, folder or hub id speaks of; None if it speaks of none.

    Only the last part counts, and in the hub's cache the part that names the model. Where several are spoken of, it is
    that of the last family: a descendant's name holds its ancestor's.
    """
    parts = Path(place).parts
    cached = [part for part in parts if part.startswith("models--")]
    name = (cached[-1] if cached else parts[-1] if parts else "").lower()
    found = [known for known, each in contracts().items() if any(word in name for word in each.places)]
    return found[-1] if found else None


def contract_warning(name: str | None, chosen: PreprocessConfig) -> str | None:
    """What to say where the weights of the contract `name` and the images to come were made differently; else None.

    Not an error: training can get used to other images, and some other preprocessing may be the question.
    """
    if name is None:
        return None
    contract = contract_named(name)
    different = differences(contract.preprocess, chosen)
    if not different:
        return None
    return (
        f"The weights are {contract.title}'s, which were trained on images of preprocess."
        f"{', preprocess.'.join(different)}; the recipe has it otherwise. Training goes on with the recipe's."
    )
