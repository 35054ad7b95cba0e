"""`segmed data`: get, make, check, split and look at data sets."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from segmed.cli.data_convert import convert
from segmed.cli.messages import next_step, note, say
from segmed.cli.options import (
    DATA_HELP,
    EachImageOption,
    LabelsOption,
    OverwriteOption,
    PatientRegexOption,
    PhantomFormatOption,
    PlaneOption,
    PresetName,
)
from segmed.cli.progress import progress_bar
from segmed.core.errors import ConfigError, DataError
from segmed.core.files import require_new
from segmed.core.wording import plural

app = typer.Typer(no_args_is_help=True, help="Get, check, split and look at data sets.")

app.command()(convert)

DataPath = Annotated[Path, typer.Argument(help=DATA_HELP)]


@app.command()
def get(
    name: Annotated[str, typer.Argument(help="Data set: lgg.")],
    dest: Annotated[Path | None, typer.Argument(help="Folder to put it in; left out: Kaggle's own cache.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to the licence without being asked.")] = False,
) -> None:
    """Download a public data set, after its licence."""
    from segmed.data.get import find_download, get_lgg

    download = find_download(name)
    say(f"{download.title}\nLicence: {download.licence}\nCite: {download.cite}", err=True)
    if not yes:
        typer.confirm("Do you agree to the licence and download the data?", abort=True, err=True)
    with progress_bar("copying") as progress:
        folder = get_lgg(dest, progress=progress)
    say(folder)
    next_step("segmed", "data", "check", folder)


@app.command()
def phantom(
    dest: Annotated[Path, typer.Argument(help="Folder to write in.")],
    patients: Annotated[int, typer.Option(min=1, help="Patients to make.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same files.")] = 0,
    size: Annotated[int, typer.Option(min=1, help="Height and width in pixels.")] = 256,
    format_: PhantomFormatOption = "tiff",
) -> None:
    """Make brain-like volumes with lesions, in the Kaggle layout or as NIfTI."""
    from segmed.data.phantom import write_phantom

    with progress_bar("making phantoms") as progress:
        folder = write_phantom(dest, patients=patients, seed=seed, size=size, format=format_, progress=progress)
    say(folder)
    next_step("segmed", "data", "check", folder)


@app.command()
def check(
    path: DataPath,
    labels: LabelsOption = None,
    patient_regex: PatientRegexOption = None,
    split: Annotated[Path | None, typer.Option(help="Check this split for leaks too.")] = None,
    hashes: Annotated[Path | None, typer.Option(help="Compare files with this list of SHA-256.")] = None,
    write_hashes: Annotated[Path | None, typer.Option(help="Write such a list.")] = None,
    plane: PlaneOption = "acquired",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    overwrite: OverwriteOption = False,
    everything: Annotated[bool, typer.Option("--all", help="Show every finding, not the first of each kind.")] = False,
) -> None:
    """Read every file and list all that is wrong or odd; exit code 1 on errors."""
    import json

    from segmed.cli.data_tables import print_check
    from segmed.core.split import Split
    from segmed.data.check import check as run_check
    from segmed.data.check.hashes import write_hashes as write_list
    from segmed.data.sources import list_dataset, parse_labels

    if write_hashes is not None:
        require_new(write_hashes, overwrite=overwrite)
    label_map = parse_labels(labels) if labels else None
    plan = Split.load(split) if split else None
    with progress_bar("checking") as progress:
        report = run_check(
            path, labels=label_map, patient_regex=patient_regex, split=plan, hashes=hashes, plane=plane,
            progress=progress,
        )  # fmt: skip
    if as_json:
        say(json.dumps(report.to_json(), indent=2))
    else:
        print_check(report, most=None if everything else 5)
    if write_hashes is not None:
        write_list(write_hashes, list_dataset(path, labels=label_map, patient_regex=patient_regex).dataset)
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def split(
    path: DataPath,
    out: Annotated[Path, typer.Option("--out", "-o", help="Split file to write.")] = Path("split.json"),
    strategy: Annotated[
        Literal["patient", "slice"] | None, typer.Option(help="patient, or slice: the reproduced paper's, which LEAKS.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="Take a split as it is: a column of the data, or a CSV or JSON file.")
    ] = None,
    folds: Annotated[int | None, typer.Option(min=0, help="Test every patient once, in this many folds.")] = None,
    ratios: Annotated[str | None, typer.Option(help="Train, validation, test; by default 0.7,0.1,0.2.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw.")] = 0,
    labels: LabelsOption = None,
    patient_regex: PatientRegexOption = None,
    each_image_is_a_patient: EachImageOption = False,
    plane: PlaneOption = "acquired",
    overwrite: OverwriteOption = False,
) -> None:
    """Divide a data set into training, validation and test."""
    from segmed.cli.data_tables import print_split
    from segmed.cli.inputs import announce_leak, open_decoded
    from segmed.data.imported import import_split, own_splits
    from segmed.data.lacking import lacking_warnings
    from segmed.data.listing import alike_patients
    from segmed.data.splits import DEFAULT_RATIOS, split_by_patient, split_by_slice

    require_new(out, overwrite=overwrite)
    shares = _parse_ratios(ratios) if ratios else DEFAULT_RATIOS
    if strategy == "slice" and (folds or ratios):
        raise ConfigError("The slice split has the reproduced paper's proportions. Leave out --folds and --ratios.")
    if folds and ratios:
        raise ConfigError("--folds and --ratios exclude each other. Give one.")
    if from_ is not None and (strategy or folds or ratios):
        raise ConfigError("--from takes a split as it is. Leave out --strategy, --folds and --ratios.")
    decoded = open_decoded(path, labels, patient_regex, each_image_is_a_patient=each_image_is_a_patient, plane=plane)
    for name, what in own_splits(decoded.dataset).items():
        if not (from_ or strategy):
            raise DataError(
                f"{path}: {what} is a split already. Take it with --from {name}, or deal patients anew with "
                "--strategy patient."
            )
        if from_ is None:
            note(f"{what} is a split already, which is not used. --from {name} takes it.")
    if from_ is not None:
        plan = import_split(decoded, from_)
    elif strategy == "slice":
        plan = split_by_slice(decoded, seed=seed)
    else:
        plan = split_by_patient(decoded, ratios=shares, folds=folds, seed=seed)
    plan.save(out)
    alike = alike_patients(decoded.dataset)
    for text in alike[:3]:
        note(text)
    if len(alike) > 3:
        note(f"so do {len(alike) - 3} more; `segmed data check --all` shows them.")
    print_split(plan, decoded)
    if unlabelled := [record.slice_id for record in decoded.dataset.records if record.mask is None]:
        without = plural(len(unlabelled), "slice without a mask is", "slices without a mask are")
        note(f"{without} in no part, such as {unlabelled[0]}.")
    for number in range(len(plan.folds)):
        for warning in lacking_warnings(decoded, plan, number):
            note(warning)
    if not any(fold.test for fold in plan.folds):
        note("no fold has a test part: evaluate with --part validation, on which the run's epoch was chosen too.")
    announce_leak(plan.leaking, patients_known=plan.patients_known)
    say(out)


@app.command()
def resample(
    path: DataPath,
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for the files that change, and a manifest.")],
    assume_order: Annotated[
        bool, typer.Option("--assume-order", help="A file without geometry has its voxels in the image's order.")
    ] = False,
    patient_regex: PatientRegexOption = None,
) -> None:
    """Bring files of a volume that lie on other grids to that of its first; exit code 2 where some cannot be.

    Axes are swapped and turned round exactly where that is all. Else masks take the nearest voxel and images are
    interpolated, so look at the result. Files that fit stay where they are; OUT/manifest.csv lists all of them.
    """
    from segmed.core.labels import LabelMap
    from segmed.data.mend import mend_geometry
    from segmed.data.sources import open_dataset

    dataset = open_dataset(path, labels=LabelMap(), patient_regex=patient_regex)  # values of masks stay as they are
    with progress_bar("resampling") as progress:
        found = mend_geometry(dataset, out, assume_order=assume_order, progress=progress)
    say(f"{plural(len(found.written), 'file')} written", err=True)
    for file, reason in found.refused:
        say(f"not mended: {file}: {reason}", colour="red", err=True)
    if found.manifest is not None:
        say(found.manifest)
    if found.refused:
        raise typer.Exit(2)


@app.command()
def preview(
    path: DataPath,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write: .png, .pdf, .svg or .jpg.")] = Path(
        "sheet.png"
    ),
    preset: Annotated[PresetName, typer.Option(help="Augmentation to show.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of slices and augmentation.")] = 0,
    rows: Annotated[int, typer.Option(help="Slices to show.", min=1)] = 6,
    labels: LabelsOption = None,
    patient_regex: PatientRegexOption = None,
    plane: PlaneOption = "acquired",
    overwrite: OverwriteOption = False,
) -> None:
    """Draw a contact sheet of images, masks and augmented views."""
    from segmed.cli.inputs import open_decoded
    from segmed.data.preview import contact_sheet

    require_new(out, overwrite=overwrite)
    decoded = open_decoded(path, labels, patient_regex, plane=plane)
    contact_sheet(decoded, preset=preset, seed=seed, path=out, rows=rows)
    say(out)


@app.command()
def manifest(
    path: DataPath,
    out: Annotated[Path, typer.Option("--out", "-o", help="CSV file to write.")] = Path("manifest.csv"),
    patient_regex: PatientRegexOption = None,
    each_image_is_a_patient: EachImageOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a data set down as a manifest, to name patients once for all later steps."""
    from segmed.cli.inputs import announce_leak
    from segmed.data.layouts.manifest import write_manifest
    from segmed.data.patients import each_image_a_patient, require_told
    from segmed.data.sources import open_dataset

    require_new(out, overwrite=overwrite)
    dataset = open_dataset(path, patient_regex=patient_regex)
    if each_image_is_a_patient:
        dataset = each_image_a_patient(dataset)
    require_told(dataset)
    write_manifest(out, dataset)
    announce_leak(False, patients_known=dataset.patients_known)
    if not dataset.patients_known:
        note("the manifest has no column patient and reads as patients unknown. Add the column where you know them.")
    say(f"{dataset.unit.count(len(dataset.patients))}, {plural(len(dataset.records), 'slice')}", err=True)
    say(out)


def _parse_ratios(text: str) -> tuple[float, float, float]:
    try:
        train, validation, test = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--ratios {text!r}: expected three numbers, such as 0.7,0.1,0.2.") from error
    return train, validation, test
