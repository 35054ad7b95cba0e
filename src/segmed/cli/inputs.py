"""The inputs of most commands: open and decode a data set, open a split, and say where it leaks."""

from pathlib import Path
from typing import TYPE_CHECKING

from segmed.cli.messages import note, say, warn
from segmed.cli.progress import progress_bar
from segmed.core.wording import plural

if TYPE_CHECKING:
    from segmed.core.image import Image
    from segmed.core.labels import LabelMap
    from segmed.core.split import Split
    from segmed.core.stacking import Plane
    from segmed.data.decoded import DecodedDataset
    from segmed.evaluation.groups import GroupColumn
    from segmed.inference.volume_inputs import VolumeInputs
    from segmed.models.joint_config import SystemConfig
    from segmed.preprocess import PreprocessConfig

LEAKING = "LEAKING: patients are in several parts of a split. Scores on it say nothing about new patients."
PATIENTS_UNKNOWN = (
    "PATIENTS UNKNOWN: nobody said which images are of one patient, so each counts by itself and a patient may be in "
    "several parts. Say it with --patient-regex, --each-image-is-a-patient or a manifest when the data is split."
)


def parse_columns(text: str | None) -> "tuple[GroupColumn, ...]":
    """The option `--groups`; nothing where it is not given."""
    from segmed.evaluation.groups import parse_groups

    return parse_groups(text) if text is not None else ()


def announce_leak(leaking: bool, *, patients_known: bool) -> None:
    """Red lines on stderr where a split leaks or patients are not known, or a run or an evaluation comes from such."""
    if leaking:
        say(LEAKING, colour="red", err=True)
    if not patients_known:
        say(PATIENTS_UNKNOWN, colour="red", err=True)


def announce_run(config: "SystemConfig") -> None:
    """What must be known of a run whose masks are written: whether its split leaks, and who named its labels."""
    announce_leak(config.leaking, patients_known=config.patients_known)
    if config.labels_by_headers:
        note(_said_of_headers(config.labels, "the run's data"))


def _said_of_headers(labels: "LabelMap", whose: str) -> str:
    names = f"names that DICOM headers of {whose} give labels, {', '.join(labels.names)}"
    return f"{names}, reach what is written. See that they name nobody."


def announce_volumes(inputs: "VolumeInputs", config: "SystemConfig") -> None:
    """Say what is predicted, and warn of what is probably meant otherwise."""
    from segmed.inference.volume_inputs import sequence_doubts

    note(f"{plural(len(inputs.volumes), 'volume')}, each normalised by itself.")
    for text in dict.fromkeys(text for each in config.networks for text in sequence_doubts(inputs, each.preprocess)):
        warn(text)
    if inputs.results:
        note(
            f"{plural(len(inputs.results), 'volume')} not predicted, as results go there, such as {inputs.results[0]}."
        )
    if inputs.left_out:
        folders = plural(len(inputs.left_out), "folder")
        kinds = "such as localisers, masks or reports"
        note(f"{folders} without a series to predict left out ({kinds}): the first is {inputs.left_out[0].name}.")


def require_spacing(preprocess: "PreprocessConfig", image: "Image", path: Path, *, call: str) -> None:
    """Raise `DataError` for a run that reads images in mm, and one whose spacing is not known; `call` takes both."""
    from segmed.core.errors import DataError

    if preprocess.spacing is not None and image.geometry.spacing is None:
        raise DataError(
            f"{path}: says no millimetres per pixel, and the run reads images at preprocess.spacing. Call {call} in "
            "Python, which takes spacing=(rows, columns) in mm."
        )


def open_split(path: Path) -> "Split":
    """The split in a file, announced where it leaks; raises `SplitError` where it is none."""
    from segmed.core.split import Split

    split = Split.load(path)
    announce_leak(split.leaking, patients_known=split.patients_known)
    return split


def open_decoded(
    path: Path,
    labels: str | None = None,
    patient_regex: str | None = None,
    *,
    default_labels: "LabelMap | None" = None,
    each_image_is_a_patient: bool = False,
    plane: "Plane" = "acquired",
) -> "DecodedDataset":
    """The data set at `path`, decoded or taken from the cache; `labels` and `patient_regex` as on the command line.

    Volumes are cut along `plane`, which is that of the recipe or the run.
    """
    from segmed.data.decoded import decode
    from segmed.data.patients import each_image_a_patient
    from segmed.data.sources import open_dataset, parse_labels

    chosen = default_labels if labels is None else parse_labels(labels)
    dataset = open_dataset(path, labels=chosen, patient_regex=patient_regex, plane=plane)
    if dataset.labels_by_headers:
        note(_said_of_headers(dataset.labels, str(path)))
    if each_image_is_a_patient:
        dataset = each_image_a_patient(dataset)
    with progress_bar("decoding") as progress:
        return decode(dataset, progress=progress)
