"""A run among the systems that `segmed compare` sets beside each other: it predicts the images first."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from segmed.cli.inputs import announce_run, announce_volumes
from segmed.cli.messages import note, warn
from segmed.cli.progress import progress_bar
from segmed.core.errors import SegmedError

if TYPE_CHECKING:
    from segmed.core.records import SliceDataset
    from segmed.evaluation.masks.labels import LabelNumbers
    from segmed.evaluation.masks.references import References
    from segmed.models.joint_config import SystemConfig

PREDICTIONS = "predictions"
"""The folder beside the page that keeps what runs predicted."""
MARKER = ".segmed-compare.json"
"""What tells that the masks of a folder there are of a comparison, not of another tool; hidden, as it is no data."""


@dataclass(frozen=True)
class Naming:
    """How the references' patients were named: `apart` from the data's own names, or by these or `patient_regex`."""

    patient_regex: str | None
    apart: bool


@dataclass(frozen=True)
class Predicted:
    """The mask of each case that a run predicted just now, the numbers of its labels, and what marks them."""

    masks: Mapping[str, Path]
    labels: "LabelNumbers"
    leaking: bool
    training_known: bool
    threshold: float


def is_run(path: Path) -> bool:
    """Whether a folder is a run, an ensemble or a cascade rather than masks."""
    from segmed.inference.loading import configs_in
    from segmed.models.checkpoint import CONFIG, WEIGHTS

    return any(file.name != CONFIG or (path / WEIGHTS).is_file() for file in configs_in(path))


def masks_of(out: Path, name: str) -> Path:
    """The folder for what a run predicts."""
    return out / PREDICTIONS / name


def require_own_masks(folder: Path) -> None:
    """Raise `ConfigError` where what a run predicts would replace or join masks that no comparison wrote."""
    from segmed.core.files import require_own_folder

    require_own_folder(folder, marker=MARKER, made="what an earlier `segmed compare` predicted")


def predict_run(
    run: Path, references: "References", images: Path | None, naming: Naming, *, name: str, out: Path
) -> Predicted:
    """Predict the images of all cases with a run, after making sure that it was not trained on their patients.

    Raises:
        SegmedError: No images are named, they are no volumes, or the run has seen a patient.
    """
    from segmed.core.files import write_json
    from segmed.core.pseudonyms import shareable
    from segmed.evaluation.masks.files import case_files, matched
    from segmed.evaluation.masks.labels import LabelNumbers
    from segmed.inference import load
    from segmed.inference.volume_files import predict_volumes
    from segmed.inference.volume_inputs import find_volumes

    if images is None:
        raise SegmedError(
            f"{run}: is a run, which predicts the cases first. Name their images with --images, or a folder of masks "
            "that `segmed predict` wrote."
        )
    inputs = find_volumes(images, out=out)
    if inputs is None or references.space is None:
        raise SegmedError(f"{images}: holds no volumes. Predict them with `segmed predict {run}` and name the masks.")
    predictor = load(run)
    known = _require_unseen(run, predictor.config, references, images, naming)
    announce_run(predictor.config)
    announce_volumes(inputs, predictor.config)
    folder = masks_of(out, name)
    require_own_masks(folder)
    write_json(folder / MARKER, {"made_by": "segmed compare", "run": shareable(run)})
    with progress_bar(f"predicting with {name}") as progress:
        outcome = predict_volumes(predictor, inputs, folder, existing="replace", progress=progress)
    for _, reason in outcome.failures:
        warn(f"{name}: skipped: {reason}")
    labels = predictor.config.labels
    stored = range(1, len(labels.names) + 1) if labels.is_colour else labels.stored[1:]  # volumes hold no colours
    numbers = {label: int(str(value)) for label, value in zip(labels.names, stored, strict=True)}
    config = predictor.config
    written = {path.resolve() for path in outcome.written}  # of an earlier comparison others may lie there
    found, _ = matched(references.files, case_files(folder))
    masks = {case: path for case, path in found.items() if path.resolve() in written}
    return Predicted(masks, LabelNumbers(numbers, run.name), config.leaking, known, config.threshold)


def _require_unseen(run: Path, config: "SystemConfig", references: "References", images: Path, naming: Naming) -> bool:
    """Whether what the run has seen could be compared with the references' patients; an error where it has seen one.

    Both the patients as the references name them and as the data beside the key does are compared.
    """
    from segmed.core.pseudonyms import KEY_FILE, Pseudonyms
    from segmed.models.seen import overlap

    keys = [folder / KEY_FILE for folder in (images, images.parent) if (folder / KEY_FILE).is_file()]
    pseudonyms = Pseudonyms.in_file(keys[0]) if keys else None
    digests = {digest for some in config.seen.values() for digest in some}
    dataset = _dataset_in(keys[0].parent if keys else images, naming.patient_regex)
    in_data = {} if dataset is None else _patients_in(dataset, references)
    found = overlap(digests, dict.fromkeys((*references.patients.values(), *in_data.values())), pseudonyms)
    if found.patients:
        raise SegmedError(
            f"{run}: was trained or tuned on patient {found.patients[0]}, on whom it is to be tested. Name "
            "references of patients that are new to it."
        )
    alike = not naming.apart
    if naming.apart and dataset is not None and in_data.keys() == references.files.files.keys():
        alike = bool(overlap(digests, dataset.patients, pseudonyms).patients)  # it knows patients by these names
    known = bool(digests) and found.complete and config.patients_known and alike
    if not known:
        note(f"{run} does not say in a way that can be compared here which patients it was trained on.")
    return known


def _dataset_in(folder: Path, patient_regex: str | None) -> "SliceDataset | None":
    """The data set in a folder, if it is one that says who the patients are."""
    from segmed.data.sources import open_dataset

    for regex in dict.fromkeys((patient_regex, None)):
        with suppress(SegmedError):
            dataset = open_dataset(folder, patient_regex=regex)
            if dataset.patients_known:
                return dataset
    return None


def _patients_in(dataset: "SliceDataset", references: "References") -> dict[str, str]:
    """The patient of each case, as the data set that has the case says; none of cases that it has not."""
    from segmed.evaluation.masks.files import CaseFiles, matched

    patients: dict[str, set[str]] = {}
    for record in dataset.records:
        patients.setdefault(PurePosixPath(record.volume).name, set()).add(record.patient)
    of_one = {name: Path(name) for name, some in patients.items() if len(some) == 1}
    with suppress(SegmedError):
        found, _ = matched(references.files, CaseFiles(dataset.root, of_one, are_volumes=True))
        return {case: patient for case, name in found.items() for patient in patients[str(name)]}
    return {}
