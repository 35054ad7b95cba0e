"""`segmed demo`: the whole way on a made-up data set, by the same functions that the other commands call."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segmed.cli.messages import say
from segmed.cli.options import PhantomFormatOption, folder_option
from segmed.cli.progress import progress_bar, training_display
from segmed.core.errors import ConfigError
from segmed.core.files import holds_files, not_written, refuse_links, write_text
from segmed.core.wording import plural

if TYPE_CHECKING:
    from segmed.core.records import VolumeFiles
    from segmed.core.split import Split
    from segmed.data.decoded import DecodedDataset
    from segmed.data.phantom.write import PhantomFormat
    from segmed.evaluation.result import Evaluation

MARK = ".segmed-demo"
"""A file of this name says that a folder was made by `segmed demo`, which may then replace it."""


@dataclass(frozen=True)
class Scale:
    """How much is made and trained. The defaults take at most three minutes on two cores."""

    patients: int = 32
    size: int = 96
    """Height and width of a slice, in pixels."""
    slices: int | None = None
    """Slices of each patient; None leaves them to the phantom's institutions."""
    epochs: int = 8
    """From random weights; half as many from ImageNet's."""
    steps_per_epoch: int = 40
    batch_size: int = 8
    """Small batches: a short training gains more from more steps than from smoother ones."""
    format: "PhantomFormat" = "tiff"


def demo(
    out: Annotated[Path, folder_option("Folder for everything that the demo makes.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the data, the split and the training.")] = 0,
    format_: PhantomFormatOption = "tiff",
) -> None:
    """See the whole way on a made-up data set, in minutes.

    Makes the phantom, splits it by patient, trains a small U-Net, evaluates it beside baselines that learn nothing,
    predicts and writes a report. Needs no network, no data and no GPU. A second call starts over.
    """
    started = time.monotonic()
    run_demo(out, Scale(format=format_), seed=seed)
    say(f"\nDone in {time.monotonic() - started:.0f} s. Everything is in {out}/:\n")
    for place, what in places(format_).items():
        say(f"  {out / place!s:<28} {what}")
    say(f"\nOpen {(out / 'report' / 'report.html').resolve()} in a browser.")
    page = {"tiff": "your-own-data.md", "nifti": "your-own-nifti.md", "dicom": "your-own-dicom.md"}[format_]
    say(f"\nNext, with your own images (see docs/howto/{page}):\n\n  segmed data check FOLDER")


PLACES = {
    "data": "the made-up patients, in the layout of the Kaggle LGG data",
    "split.json": "which patients are for training, validation and test",
    "run": "the trained model: weights, settings, curves; segmed.load() reads it",
    "run/evaluation-test": "scores by patient and by slice, as CSV and JSON",
    "predictions": "masks of one test patient, and overlays",
    "report/report.html": "the report",
}


MADE = ("cache", *sorted({place.partition("/")[0] for place in PLACES}))
"""What a second demo removes of the first; a user's own files in its folder stay."""


def places(format_: "PhantomFormat") -> dict[str, str]:
    """What lies where."""
    if format_ == "tiff":
        return PLACES
    kind = "NIfTI" if format_ == "nifti" else "DICOM"
    beside = "" if format_ == "nifti" else ", as DICOM segmentation and structure set,"
    return PLACES | {
        "data": f"the made-up patients, as {kind} with a manifest",
        "run/evaluation-test-mm": "the same masks scored as volumes, in mm and ml",
        "predictions": f"the mask of one test patient as NIfTI{beside} and its size in ml",
    }


def run_demo(out: Path, scale: Scale, *, seed: int = 0) -> Path:
    """Make all of it under `out` and return the report's path; prints each step."""
    start_over(out)
    with step(1, f"Making {scale.patients} patients that never lived"):
        decoded = make_data(out, scale, seed=seed)
    with step(2, "Splitting by patient"):
        split = make_split(out, decoded, seed=seed)
    with step(3, f"Training a small U-Net from {'ImageNet' if has_weights() else 'random'} weights"):
        train_small(out, decoded, split, scale, seed=seed)
    with step(4, "Evaluating on patients that training never saw, beside baselines that learn nothing"):
        evaluations = evaluate_with_floors(out, decoded)
    how = "with overlays" if scale.format == "tiff" else "with sizes in ml"
    with step(5, f"Predicting one test patient from files, {how}"):
        predict_one(out, decoded, split)
    with step(6, "Writing the report"):
        return write_page(out, decoded, evaluations)


def start_over(out: Path) -> None:
    """Clear `out` of what an earlier demo made there, and leave the demo's mark.

    Raises `ConfigError` where it holds anything else and no mark, `DataError` where symbolic links lie in it.
    """
    refuse_links(out, itself=True)
    if holds_files(out) or (out.exists() and not out.is_dir()):
        if not (out / MARK).is_file():
            raise ConfigError(f"{out}: exists and was not made by `segmed demo`. Name another folder with --out.")
        for name in MADE:
            _remove(out / name)
    write_text(out / MARK, "Made by `segmed demo`, which makes what is in this folder anew when run again.\n")


def _remove(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise not_written(path, error) from error


@contextmanager
def step(number: int, what: str) -> Iterator[None]:
    """Announce a step, and say how long it took."""
    say(f"\n[{number}/6] {what}")
    started = time.monotonic()
    yield
    say(f"      {time.monotonic() - started:.1f} s")


def make_data(out: Path, scale: Scale, *, seed: int) -> "DecodedDataset":
    """Write the phantom and decode it into a cache that stays in the demo's folder."""
    from segmed.core.labels import LabelMap
    from segmed.data.decoded import decode
    from segmed.data.layouts.lgg import LABELS, NAME
    from segmed.data.phantom import write_phantom
    from segmed.data.sources import open_dataset

    with progress_bar("making patients") as progress:
        folder = write_phantom(
            out / "data", patients=scale.patients, seed=seed, size=scale.size, slices=scale.slices, format=scale.format,
            progress=progress,
        )  # fmt: skip
    if scale.format == "tiff":
        dataset = open_dataset(out / "data")
    else:  # the same sequences as in LGG's layout, so that both demos train alike
        dataset = replace(open_dataset(folder, labels=LabelMap(LABELS.names, (0, 1))), name=NAME)
    counted = f"{plural(len(dataset.patients), 'patient')}, {plural(len(dataset.records), 'slice')}"
    say(f"      {counted} of {scale.size} x {scale.size} pixels")
    with progress_bar("decoding") as progress:
        return decode(dataset, cache_dir=out / "cache", progress=progress)


def make_split(out: Path, decoded: "DecodedDataset", *, seed: int) -> "Split":
    """Deal the patients and save the split."""
    from segmed.core.split import PARTS
    from segmed.data.splits import leak_figures, split_by_patient

    split = split_by_patient(decoded, ratios=(0.6, 0.15, 0.25), seed=seed)
    split.save(out / "split.json")
    fold = split.fold(0)
    patients = {part: len({split.patient_of[slice_id] for slice_id in fold.part(part)}) for part in PARTS}
    say("      " + ", ".join(f"{plural(number, 'patient')} for {part}" for part, number in patients.items()))
    leak = leak_figures(decoded.dataset.records, fold)
    say(f"      {leak.with_train_neighbour} of {leak.test_slices} test slices have a neighbour in training")
    return split


ENCODER = "tu-tf_efficientnet_lite0"
"""What the demo trains from where its weights are installed (the extra `weights`, which `make demo` brings)."""


def has_weights() -> bool:
    """Whether the weights of `ENCODER` are at hand."""
    from segmed.models.encoder_weights import packaged_weights

    return packaged_weights(ENCODER) is not None


def train_small(out: Path, decoded: "DecodedDataset", split: "Split", scale: Scale, *, seed: int) -> Path:
    """Train a U-Net with a small encoder; the run folder.

    From ImageNet weights half of the epochs reach more than all from random ones, in a quarter of the time or less.
    """
    from segmed.data.loading import SamplingConfig
    from segmed.models.config import ModelConfig
    from segmed.training import OptimConfig, Recipe, train

    pretrained = has_weights()
    if pretrained:
        slim = (128, 64, 32, 16, 16)
        model = ModelConfig(name="unet", encoder=ENCODER, encoder_weights="imagenet", decoder_channels=slim)
    else:
        model = ModelConfig(name="unet", encoder="resnet18", encoder_weights="none")
    recipe = Recipe(
        model=model,
        sampling=SamplingConfig(batch_size=scale.batch_size, steps_per_epoch=scale.steps_per_epoch),
        optim=OptimConfig(learning_rate=2e-3 if pretrained else 1e-3),
        epochs=max(1, scale.epochs // 2) if pretrained else scale.epochs,
        seed=seed,
    )
    with training_display() as display:
        return train(recipe, data=decoded, split=split, out=out / "run", callbacks=display)


def evaluate_with_floors(out: Path, decoded: "DecodedDataset") -> list["Evaluation"]:
    """Score the run and the floors on the test patients, save both and print the table."""
    from segmed.cli.evaluation_table import show
    from segmed.evaluation.floors import floor_evaluations, save_with_floors
    from segmed.evaluation.in_mm import save_in_mm
    from segmed.evaluation.run import evaluate_run, plan_evaluation
    from segmed.inference import load

    predictor = load(out / "run")
    plan = plan_evaluation(out / "run", predictor.config, decoded)
    with progress_bar("evaluating patients") as progress:
        result = evaluate_run(predictor, decoded, plan, name="small U-Net", progress=progress)
    floors = floor_evaluations(decoded, plan.split, plan.fold, plan.part)
    save_with_floors(out / "run" / f"evaluation-{plan.part}", result, floors)
    show(result, floors)
    in_mm = save_in_mm(out / "run" / f"evaluation-{plan.part}-mm", result, decoded, floors)
    if in_mm:
        show(in_mm[0], in_mm[1:])
    return [result, *floors]


def predict_one(out: Path, decoded: "DecodedDataset", split: "Split") -> None:
    """Predict the files of the first test patient, as `segmed predict RUN FOLDER --overlays` does."""
    from segmed.cli.predict import write_overlay
    from segmed.inference import load
    from segmed.inference.files import predict_files
    from segmed.inference.inputs import find_inputs

    record = decoded.dataset.by_slice_id()[split.fold(0).test[0]]
    if record.source is not None:
        predict_volume_of(out, record.source, dicom=record.image.is_dir())
        return
    folder = record.image.parent
    with progress_bar("predicting") as progress:
        outcome = predict_files(
            load(out / "run"), find_inputs(folder), out / "predictions", draw=write_overlay, progress=progress
        )
    say(f"      {plural(len(outcome.written), 'mask')} of {folder.name}")


def predict_volume_of(out: Path, volume: "VolumeFiles", *, dicom: bool) -> None:
    """Predict the files of a volume, as `segmed predict` does; of DICOM with `--seg --rtstruct`."""
    from segmed.inference import load
    from segmed.inference.volume_files import Extras, predict_volumes
    from segmed.inference.volume_inputs import VolumeInputs

    inputs = VolumeInputs(volume.images[0].parent, (volume,))
    with progress_bar("predicting") as progress:
        outcome = predict_volumes(
            load(out / "run"), inputs, out / "predictions", extras=Extras(segmentation=dicom, structures=dicom),
            progress=progress,
        )  # fmt: skip
    say(f"      {plural(len(outcome.written), 'mask')} of {volume.name}")


def write_page(out: Path, decoded: "DecodedDataset", evaluations: list["Evaluation"]) -> Path:
    """Write the report with pictures and learning curves."""
    from segmed.evaluation.report import write_report

    return write_report(evaluations, out=out / "report", decoded=decoded, runs={evaluations[0].name: out / "run"})
