"""Options that several commands have: one name, type and help for each."""

from pathlib import Path
from typing import Annotated

import typer

LabelsOption = Annotated[
    str | None, typer.Option(help="Mask values, such as background=0,tumour=255, or colours as #rrggbb.")
]
PatientRegexOption = Annotated[
    str | None, typer.Option(help="Finds the patient in the file names of an images/ folder, such as '^([^_]+)_'.")
]
GroupsOption = Annotated[
    str | None, typer.Option(help="Score groups by these columns of the data: sex,age:40:60,sex+race.")
]

SplitOption = Annotated[Path, typer.Option(help="Split made by `segmed data split`.")]
FoldOption = Annotated[int, typer.Option(help="Fold of the split, from 0.")]

RecipeArgument = Annotated[str, typer.Argument(help="A recipe's name or YAML file.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Any recipe key: a.b=value. Repeatable.")]
ModelOption = Annotated[str | None, typer.Option(help="Model: unet, unetplusplus, pan, deeplabv3, ...")]
EncoderOption = Annotated[str | None, typer.Option(help="Encoder: efficientnet-b5, resnet18, tu-..., ...")]
EncoderWeightsOption = Annotated[
    str | None, typer.Option(help="imagenet; hub, a file or a folder (SAM, MedSAM); none for random weights.")
]
UpsamplerOption = Annotated[str | None, typer.Option(help="interpolate, or jbu: a U-Net decoder guided by the image.")]
GaflOption = Annotated[str | None, typer.Option(help="A learned filter on the input: radial, free, lowrank, or none.")]
EpochsOption = Annotated[int | None, typer.Option(help="Epochs.")]
StepSlicesOption = Annotated[int | None, typer.Option("--batch-size", help="Slices per step and device.")]
SeedOption = Annotated[int | None, typer.Option(help="Seed of weights, order and augmentation.")]
EmbeddingsOption = Annotated[Path | None, typer.Option(help="Cache made by `segmed embed`.")]
StartOption = Annotated[str | None, typer.Option(help="Run whose weights training begins with.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")]
RunOutOption = Annotated[Path, typer.Option("--out", "-o", help="Run folder to write.")]

AcceleratorOption = Annotated[str, typer.Option(help="auto, cpu, gpu or mps.")]
DevicesOption = Annotated[int, typer.Option(help="Devices on each node.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
SlicesAtATimeOption = Annotated[int, typer.Option("--batch-size", min=1, help="Slices at a time.")]

TtaOption = Annotated[
    str | None,
    typer.Option(
        "--tta",
        help="Test-time flips: none, mirror (left, right) or flips (up, down too); by default what was tuned.",
    ),
]
