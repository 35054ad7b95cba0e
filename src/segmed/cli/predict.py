"""`segmed predict`: masks for new images."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segmed.cli.inputs import announce_run, announce_volumes
from segmed.cli.messages import note, say, warn
from segmed.cli.options import DeviceOption, SlicesAtATimeOption, TtaOption
from segmed.cli.progress import progress_bar
from segmed.cli.prompt_options import GivenPrompts
from segmed.core.errors import ConfigError
from segmed.core.records import by_volume
from segmed.core.wording import plural

if TYPE_CHECKING:
    from segmed.core.image import Image, Mask
    from segmed.inference import VolumePredictor
    from segmed.inference.inputs import Inputs
    from segmed.inference.prompt_files import PromptedFiles
    from segmed.inference.targets import Existing, Outcome
    from segmed.inference.volume_files import Extras
    from segmed.inference.volume_inputs import VolumeInputs
    from segmed.inference.volume_prompts import PromptedVolumes
    from segmed.models.joint_config import SystemConfig


def predict(
    run: Annotated[str, typer.Argument(help="Run folder, or a hub model hf:owner/name.")],
    input_: Annotated[Path, typer.Argument(metavar="INPUT", help="Image, volume, folder, data set or manifest.")],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder for the masks; or a file such as mask.png, for one image or volume."),
    ],
    patient_regex: Annotated[
        str | None,
        typer.Option(
            help="Finds the patient, whose slices are normalised together, in names: '^(.+)_(?P<slice>[0-9]+)$'."
        ),
    ] = None,
    volumes: Annotated[
        bool | None,
        typer.Option(
            "--volumes/--no-volumes",
            help="The images of each folder are one volume, or each stands alone; by default sub-folders are volumes.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace masks that are there.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep files that are there, whatever made them, and make the missing.")
    ] = False,
    box: Annotated[
        list[str] | None,
        typer.Option("--box", help="A box x0,y0,x1,y1 of one image, x0,y0,z0,x1,y1,z1 of one volume. Repeatable."),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option("--point", help="A point x,y (of a volume x,y,z), with ,0 behind beside the object. Repeatable."),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(help="CSV file,x0,y0,x1,y1 (of volumes with z, in voxels or mm), or JSON; see the docs."),
    ] = None,
    points: Annotated[Path | None, typer.Option(help="CSV file,x,y[,label,object], or JSON.")] = None,
    propagate: Annotated[
        bool, typer.Option("--propagate", help="Carry boxes and points to the other slices of their volumes.")
    ] = False,
    overlays: Annotated[bool, typer.Option("--overlays", help="Write each image with the mask's contour too.")] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Of volumes, write the probability of each label too.")
    ] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Of volumes, write how uncertain each voxel is too, in bits.")
    ] = False,
    seg: Annotated[
        bool, typer.Option("--seg", help="Of DICOM, write a segmentation too, which carries the images' patient.")
    ] = False,
    rtstruct: Annotated[
        bool, typer.Option("--rtstruct", help="Of DICOM, write an RT structure set too, with the patient likewise.")
    ] = False,
    series: Annotated[
        str | None,
        typer.Option(
            help="Of DICOM, which series of each folder, by number, else file; FLAIR,T1 for a run's sequences."
        ),
    ] = None,
    tta: TtaOption = None,
    batch_size: SlicesAtATimeOption = 8,
    device: DeviceOption = "auto",
) -> None:
    """Write the masks a trained model predicts.

    Masks of volumes have the container and the grid of their image, those of DICOM are NIfTI; `summary.csv` has the
    size of each label in ml.
    """
    from segmed.inference import load
    from segmed.inference.files import predict_files
    from segmed.inference.inputs import find_inputs
    from segmed.inference.volume_files import Extras
    from segmed.inference.volume_inputs import find_volumes

    existing = _existing(overwrite=overwrite, resume=resume)
    found = find_volumes(input_, patient_regex=patient_regex, series=series, out=out)
    if found is not None:
        _refuse_given({"--volumes": volumes is not None}, "is for images of slices, and these are volumes")
        extras = Extras(probabilities, uncertainty, segmentation=seg, structures=rtstruct)
        prompts = GivenPrompts(tuple(box or ()), tuple(point or ()), boxes, points, propagate)
        predictor = load(run, device=device, tta=tta)
        _predict_volumes(predictor, found, out, existing, extras, prompts, overlays=overlays, batch_size=batch_size)
        return
    _refuse_given({"--probabilities": probabilities, "--uncertainty": uncertainty}, "is for volumes, such as NIfTI")
    _refuse_given({"--seg": seg, "--rtstruct": rtstruct}, "is for DICOM series")
    inputs = find_inputs(input_, volumes=volumes, patient_regex=patient_regex, out=out)
    predictor = load(run, device=device, tta=tta)
    announce_run(predictor.config)
    _announce(inputs, predictor.config, out)
    prompts = GivenPrompts(tuple(box or ()), tuple(point or ()), boxes, points, propagate)
    asked = _prompted(predictor, inputs, prompts, batch_size)
    with progress_bar("predicting") as progress:
        outcome = predict_files(
            predictor,
            inputs,
            out,
            batch_size=batch_size,
            existing=existing,
            draw=partial(write_overlay, in_colour=predictor.config.in_colour) if overlays else None,
            predict=asked,
            progress=progress,
        )
    _report(outcome, out)


def _predict_volumes(
    predictor: "VolumePredictor",
    inputs: "VolumeInputs",
    out: Path,
    existing: "Existing",
    extras: "Extras",
    prompts: GivenPrompts,
    *,
    overlays: bool,
    batch_size: int,
) -> None:
    from segmed.cli.volume_overlays import write_volume_overlay
    from segmed.inference.volume_files import predict_volumes

    announce_run(predictor.config)
    announce_volumes(inputs, predictor.config)
    asked = _prompted_volumes(predictor, inputs, prompts, batch_size)
    draw = partial(write_volume_overlay, in_colour=predictor.config.in_colour) if overlays else None
    with progress_bar("predicting") as progress:
        outcome = predict_volumes(
            predictor,
            inputs,
            out,
            batch_size=batch_size,
            existing=existing,
            extras=extras,
            draw=draw,
            predict=asked,
            progress=progress,
        )
    _report(outcome, out)


def _prompted_volumes(
    predictor: "VolumePredictor", inputs: "VolumeInputs", prompts: GivenPrompts, batch_size: int
) -> "PromptedVolumes | None":
    """What predicts volumes from boxes and points, None where there are none."""
    from segmed.inference.propagate import PropagateConfig
    from segmed.inference.volume_prompts import (
        PromptedVolumes,
        given_by_volume,
        parse_volume_given,
        read_volume_given,
    )

    prompted = prompts.for_run(predictor)
    if prompted is None:
        return None
    prompts.require_one(len(inputs.volumes), "volume", inputs.root)
    given = prompts.read(read_volume_given, lambda text, how: parse_volume_given(text, how, inputs.volumes[0].name))
    by_volume = given_by_volume(given, inputs)
    silent = len(inputs.volumes) - len(by_volume)
    if silent:
        note(f"{plural(silent, 'volume')} without a box or point: an empty mask for each.")
    carry = PropagateConfig() if prompts.propagate else None
    return PromptedVolumes(prompted, by_volume, batch_size=batch_size, carry=carry)


def _refuse_given(given: Mapping[str, object], why: str) -> None:
    option = next((name for name, value in given.items() if value), None)
    if option is not None:
        raise ConfigError(f"{option} {why}. Leave it out.")


def _report(outcome: "Outcome", out: Path) -> None:
    """Say what was written and what was not; exit code 2 where something could not be predicted."""
    kept = f", {len(outcome.kept)} kept as they were, whatever made them" if outcome.kept else ""
    added = f", {plural(len(outcome.added), 'file')} made beside them" if outcome.added else ""
    say(f"{plural(len(outcome.written), 'mask')}{kept}{added}", err=True)
    say(out)
    for text in outcome.incomplete:
        warn(text)
    for _, reason in outcome.failures:
        say(f"skipped: {reason}", colour="red", err=True)
    if outcome.failures:
        raise typer.Exit(2)


def _existing(*, overwrite: bool, resume: bool) -> "Existing":
    if overwrite and resume:
        raise ConfigError("--overwrite replaces masks that are there, --resume keeps them. Say one of them.")
    return "replace" if overwrite else "keep" if resume else "refuse"


def _announce(inputs: "Inputs", config: "SystemConfig", out: Path) -> None:
    """Say what is normalised together, where that is not as in the run's evaluation, and what is not predicted."""
    from segmed.inference.inputs import doubts, said_of

    note(said_of(inputs))
    for text in doubts(inputs, config):
        warn(text)
    own = [path for path in inputs.passed_over if path.is_relative_to(out.resolve())]
    if own:
        note(f"{plural(len(own), 'image file')} not predicted, as results go there, such as {own[0]}.")
    if others := [path for path in inputs.passed_over if path not in own]:
        what = "masks or overlays of others, or no part of the data set"
        note(f"{plural(len(others), 'image file')} not predicted ({what}), such as {others[0]}.")


def _prompted(
    predictor: "VolumePredictor", inputs: "Inputs", prompts: GivenPrompts, batch_size: int
) -> "PromptedFiles | None":
    """What predicts from boxes and points, None where there are none."""
    from segmed.inference.prompt_files import PromptedFiles, given_by_image, parse_given, read_given
    from segmed.inference.propagate import PropagateConfig

    prompted = prompts.for_run(predictor)
    if prompted is None:
        return None
    prompts.require_one(len(inputs.records), "image", inputs.root)
    if prompts.propagate and max(inputs.sizes, default=0) == 1:
        raise ConfigError(
            f"--propagate carries prompts to the other slices of their volumes, but each image of {inputs.root} stands "
            "alone. Say --volumes where those of a folder are one volume, or who the patient is with --patient-regex."
        )
    given = prompts.read(read_given, lambda text, how: parse_given(text, how, inputs.records[0].image.name))
    by_image = given_by_image(given, inputs)
    if prompts.propagate:
        volumes = by_volume(inputs.records).values()
        silent = sum(not any(record.image in by_image for record in records) for records in volumes)
        said = f"{plural(silent, 'volume')} without a box or point: an empty mask for each slice."
    else:
        silent = len(inputs.records) - len(by_image)
        said = f"{plural(silent, 'image')} without a box or point: an empty mask for each."
    if silent:
        note(said)
    carry = PropagateConfig() if prompts.propagate else None
    return PromptedFiles(prompted, by_image, batch_size=batch_size, carry=carry)


def write_overlay(path: Path, image: "Image", mask: "Mask", *, in_colour: bool = False) -> None:
    """Write an image with its mask's contour as PNG."""
    from segmed.core.files import written_aside
    from segmed.evaluation.overlays import overlay, png_bytes

    picture = overlay(image.array, None, mask.array, in_colour=in_colour, scale=2, thickness=2)
    with written_aside(path) as temporary:
        temporary.write_bytes(png_bytes(picture))
