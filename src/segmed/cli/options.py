"""Options that several commands have: one name, type and help for each.

Choices are literals, which typer shows in the help and checks before a command begins. They repeat those of the
library, whose modules would make the help slow; a test holds them equal.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer


def folder_option(help_text: str) -> Any:
    """The option `--out` of a command that writes a folder: a file in its place, and links in it, are refused first."""

    def checked(path: Path | None) -> Path | None:
        from segmed.core.files import refuse_links, require_folder

        if path is not None:
            require_folder(path)
            refuse_links(path)
        return path

    return typer.Option("--out", "-o", help=help_text, callback=checked)


GuidedName = Literal["jbu", "jbu-constant", "bilinear-control"]
UpsamplerName = Literal["interpolate", GuidedName]
GaflName = Literal["none", "radial", "free", "lowrank"]
TtaName = Literal["none", "mirror", "scales", "flips", "mirror+scales"]
PrecisionName = Literal["auto", "32", "bf16", "16"]
OtherGridsName = Literal["refuse", "resample", "ignore"]
ScoredPart = Literal["test", "validation"]
ProtocolName = Literal["reproduction", "patient", "both"]
BudgetName = Literal["smoke", "cpu", "full"]
PresetName = Literal["auto", "colour", "lgg", "mri", "reproduction"]

OverwriteOption = Annotated[bool, typer.Option("--overwrite", "--force", help="Replace files that are there.")]
LabelsOption = Annotated[
    str | None, typer.Option(help="Mask values, such as background=0,tumour=255, or colours as #rrggbb.")
]
PatientRegexOption = Annotated[
    str | None, typer.Option(help="Finds the patient in names of images or volumes, such as '^([^_]+)_'.")
]
PlaneName = Literal["acquired", "axial", "coronal", "sagittal"]
PlaneOption = Annotated[PlaneName, typer.Option(help="How volumes are cut, as preprocess.plane of the recipe.")]
PhantomFormatOption = Annotated[
    Literal["tiff", "nifti", "dicom"],
    typer.Option("--format", help="tiff: slices in the Kaggle layout; nifti, dicom: volumes with their mm."),
]
EachImageOption = Annotated[
    bool, typer.Option("--each-image-is-a-patient", help="No two images of an images/ folder are of one patient.")
]
GroupsOption = Annotated[
    str | None, typer.Option(help="Score groups by these columns of the data: sex,age:40:60,sex+race.")
]

SplitOption = Annotated[Path, typer.Option(help="Split made by `segmed data split`.")]
FoldOption = Annotated[int, typer.Option(min=0, help="Fold of the split, from 0.")]

RecipeArgument = Annotated[
    str, typer.Argument(help="A recipe's name, of those that `segmed recipes` lists, or YAML file.")
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Any recipe key: a.b=value. Repeatable.")]
ModelOption = Annotated[str | None, typer.Option(help="Model: unet, unetplusplus, pan, deeplabv3, ...")]
EncoderOption = Annotated[str | None, typer.Option(help="Encoder: efficientnet-b5, resnet18, tu-..., ...")]
EncoderWeightsOption = Annotated[
    str | None, typer.Option(help="imagenet; hub, a file or a folder (SAM, MedSAM); none for random weights.")
]
UpsamplerOption = Annotated[
    UpsamplerName | None, typer.Option(help="How a U-Net's decoder upsamples its maps; jbu is guided by the image.")
]
GaflOption = Annotated[GaflName | None, typer.Option(help="A learned filter on the input.")]
EpochsOption = Annotated[int | None, typer.Option(min=1, help="Epochs.")]
StepSlicesOption = Annotated[int | None, typer.Option("--batch-size", min=1, help="Slices per batch and device.")]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Seed of weights, order and augmentation.")]
EmbeddingsOption = Annotated[Path | None, typer.Option(help="Cache made by `segmed embed`.")]
StartOption = Annotated[str | None, typer.Option(help="Run whose weights training begins with.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")]
DATA_HELP = "Data set: a folder in a supported layout, or a manifest."
RunOutOption = Annotated[Path, folder_option("Run folder to write.")]

AcceleratorOption = Annotated[Literal["auto", "cpu", "gpu", "mps"], typer.Option(help="Where to train.")]
DevicesOption = Annotated[int, typer.Option(min=-1, help="Devices on each node; -1 takes all GPUs.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
SlicesAtATimeOption = Annotated[int, typer.Option("--batch-size", min=1, help="Slices at a time.")]

AugmentOption = Annotated[
    bool, typer.Option("--augment/--no-augment", help="Try test-time augmentation, or keep what is there.")
]
ComponentsOption = Annotated[
    bool, typer.Option("--components/--no-components", help="Try to remove small components, or keep what is there.")
]
TtaOption = Annotated[
    TtaName | None,
    typer.Option(
        "--tta",
        help="Test-time augmentation: mirror (left, right), flips (up, down too), scales (a larger image) or "
        "mirror+scales; by default what was tuned.",
    ),
]
