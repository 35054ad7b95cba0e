"""`segmed tune`: choose a run's threshold, test-time augmentation and post-processing on its validation patients."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from segmed.cli.messages import input_options, next_step, note, say
from segmed.cli.options import (
    AugmentOption,
    ComponentsOption,
    DeviceOption,
    LabelsOption,
    PatientRegexOption,
    SlicesAtATimeOption,
)
from segmed.cli.progress import progress_bar
from segmed.core.errors import ConfigError

if TYPE_CHECKING:
    from segmed.core.units import Unit
    from segmed.data.decoded import DecodedDataset
    from segmed.evaluation.run import Plan
    from segmed.evaluation.tune import Tuning
    from segmed.inference import VolumePredictor
    from segmed.models.checkpoint import RunConfig
    from segmed.models.joint_config import EnsembleConfig, SystemConfig

    Config = TypeVar("Config", RunConfig, EnsembleConfig)


def tune(
    run: Annotated[Path, typer.Argument(help="Run folder, or an ensemble's; its config is changed.")],
    data: Annotated[Path, typer.Option(help="The data set.")],
    augment: AugmentOption = True,
    components: ComponentsOption = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be chosen, and change nothing.")] = False,
    labels: LabelsOption = None,
    patient_regex: PatientRegexOption = None,
    batch_size: SlicesAtATimeOption = 8,
    device: DeviceOption = "auto",
) -> None:
    """Tune a run on its validation patients.

    Chooses threshold, test-time augmentation and the removal of small components, and saves them in the run.
    """
    from segmed.cli.inputs import announce_leak, open_decoded
    from segmed.evaluation.run import plan_evaluation
    from segmed.inference import load
    from segmed.models.checkpoint import CASCADE
    from segmed.models.hub import require_local

    require_local(run)
    if (run / CASCADE).is_file():
        raise ConfigError(f"{run}: a cascade is chosen by `segmed cascade`. Tune its dense run and make it again.")
    predictor = load(run, device=device)
    predictor.require_unprompted()
    decoded = open_decoded(
        data,
        labels,
        patient_regex,
        default_labels=predictor.config.labels,
        plane=predictor.config.plane,
    )
    plan = plan_evaluation(run, predictor.config, decoded, part="validation")
    announce_leak(plan.leaking, patients_known=plan.patients_known)
    found = choose(predictor, decoded, plan, augment=augment, components=components, batch_size=batch_size)
    say_choice(found, plan.unit)
    if any(network.model.takes_prompts for network in predictor.config.networks):
        note(
            "this was chosen on answers without a prompt, and takes the place of the threshold that training chose "
            "with the recipe's prompts: boxes and points are answered with it too."
        )
    if dry_run:
        return
    save_choice(run, predictor.config, found)
    say(run)
    next_step("segmed", "evaluate", run, "--data", data, *input_options(labels, patient_regex))


def choose(
    predictor: "VolumePredictor",
    decoded: "DecodedDataset",
    plan: "Plan",
    *,
    augment: bool,
    components: bool,
    batch_size: int = 8,
) -> "Tuning":
    """Score the candidates on the plan's patients, with a bar."""
    from segmed.evaluation.tune import tune as tuned

    with progress_bar("scoring validation patients") as progress:
        return tuned(
            predictor,
            decoded,
            plan,
            ttas=None if augment else [predictor.tta],
            components=components,
            batch_size=batch_size,
            progress=progress,
        )


def say_choice(found: "Tuning", unit: "Unit") -> None:
    """Print what was chosen, and from what."""
    chosen = found.best.prediction
    say(
        f"threshold {found.best.threshold:g}, test-time augmentation: {chosen.tta}, smallest component "
        f"{chosen.smallest_in_slice} px in a slice, {chosen.smallest_in_volume} voxels in a volume, "
        f"{chosen.smallest_share:g} of the largest"
    )
    say(
        f"mean Dice of {unit.count(found.patients)} of the validation part: {found.best.dice:.4f}, before "
        f"{found.before.dice:.4f}; the best of {found.candidates} candidates, so it flatters"
    )


def with_choice(config: "Config", found: "Tuning") -> "Config":
    """The config of a run, or of an ensemble, with what was chosen."""
    return replace(
        config,
        threshold=found.best.threshold,
        prediction=found.best.prediction,
        training=replace(config.training, others={**config.training.others, "tuned": found.to_json()}),
    )


def save_choice(run: Path, config: "SystemConfig", found: "Tuning") -> None:
    """Write the choice to the run's config, or the ensemble's."""
    from segmed.core.files import write_json
    from segmed.inference.ensemble import change_ensemble
    from segmed.models.checkpoint import CONFIG, RunConfig
    from segmed.models.joint_config import EnsembleConfig

    if isinstance(config, EnsembleConfig):
        change_ensemble(run, with_choice(config, found))
    elif isinstance(config, RunConfig):
        write_json(run / CONFIG, with_choice(config, found).to_json())
