"""`segmed evaluate --prompts`: one row per kind of prompts, oracles and automatic ones apart, floors beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from segmed.cli.messages import say, this_command
from segmed.cli.progress import progress_bar
from segmed.core.errors import ConfigError

if TYPE_CHECKING:
    from segmed.data.decoded import DecodedDataset
    from segmed.evaluation.prompt_protocols import PromptProtocol
    from segmed.evaluation.result import Evaluation
    from segmed.evaluation.run import Plan
    from segmed.inference import VolumePredictor
    from segmed.inference.automatic_prompts import Automatic
    from segmed.models.prediction import Tta


@dataclass(frozen=True)
class PromptOptions:
    """The options `--prompts`, `--uncertainty`, `--floors`, `--cascade` and `--tta`; the last is None if not given."""

    prompts: str
    uncertainty: int
    floors: bool
    cascade: Path | None = None
    tta: "Tta | None" = None


def evaluate_kinds(
    predictor: "VolumePredictor",
    decoded: "DecodedDataset",
    plan: "Plan",
    options: PromptOptions,
    folder: Path,
    *,
    name: str,
    batch_size: int,
    bootstrap: Mapping[str, int],
) -> None:
    """Score a promptable run under every kind, write `prompts/<kind>/` below `folder`, and show the table."""
    from segmed.cli.prompts_table import show
    from segmed.evaluation.floors import folder_name, save_with_floors
    from segmed.evaluation.places import require_places
    from segmed.evaluation.prompt_protocols import parse_prompt_protocols
    from segmed.evaluation.prompted import evaluate_prompts
    from segmed.evaluation.quality import write_quality
    from segmed.evaluation.result import Evaluation
    from segmed.inference.automatic_prompts import AUTOMATIC, CASCADE_PROMPTS
    from segmed.inference.prompted import PromptedPredictor

    automatic = dict(AUTOMATIC)
    if options.cascade is not None:
        automatic[CASCADE_PROMPTS], plan = _cascade(
            options.cascade, decoded, plan, device=str(predictor.device), tta=options.tta
        )
    protocols = parse_prompt_protocols(options.prompts, uncertainty=options.uncertainty, automatic=automatic)
    if not isinstance(predictor, PromptedPredictor):
        raise ConfigError(f"{predictor.folder}: takes no prompts. Evaluate it without --prompts.")
    require_places([folder / "prompts" / folder_name(each.name) for each in protocols], read=[decoded.dataset.path])
    with progress_bar("evaluating patients") as progress:
        results = evaluate_prompts(
            predictor, decoded, plan, protocols, name=name, batch_size=batch_size, progress=progress, **bootstrap
        )
    floors = _floors(decoded, plan, protocols, bootstrap) if options.floors else {}
    for protocol, result in zip(protocols, results, strict=True):
        result = replace(result, provenance=result.provenance.telling(command=this_command()))
        save_with_floors(folder / "prompts" / folder_name(protocol.name), result, floors.get(protocol.name, []))
    write_quality(
        folder / "prompts", [Evaluation.load(f.parent) for f in sorted(folder.glob("prompts/*/evaluation.json"))]
    )
    show(results, floors)
    say(folder / "prompts")


def _cascade(
    folder: Path, decoded: "DecodedDataset", plan: "Plan", *, device: str, tta: "Tta | None"
) -> "tuple[Automatic, Plan]":
    """A cascade as a prompt protocol, after making sure that its dense run has not seen the part either.

    The plan is the same, unless what the dense run has seen cannot be compared.
    """
    from segmed.evaluation.run import plan_evaluation
    from segmed.inference import load
    from segmed.inference.automatic_prompts import Automatic
    from segmed.inference.cascade import CascadePredictor

    loaded = load(folder, device=device, tta=tta)
    if not isinstance(loaded, CascadePredictor):
        raise ConfigError(f"--cascade {folder}: is not a folder made by `segmed cascade`.")
    dense = plan_evaluation(folder, loaded.config, decoded, split=plan.split, fold=plan.fold, part=plan.part)
    plan = replace(plan, training_known=plan.training_known and dense.training_known)
    return Automatic(loaded.answers, loaded, cleans=True), plan


def _floors(
    decoded: "DecodedDataset", plan: "Plan", protocols: "Sequence[PromptProtocol]", bootstrap: Mapping[str, int]
) -> dict[str, list["Evaluation"]]:
    """Box floors of every kind that is drawn from the reference; of others those of any model."""
    from segmed.evaluation.box_floors import box_floor_evaluations
    from segmed.evaluation.floors import floor_evaluations

    floors = {}
    for protocol in protocols:
        if protocol.kind.boxes > 1 or protocol.carry is not None:
            continue  # floors see one box a slice
        with progress_bar(f"floors, {protocol.name}") as progress:
            if protocol.oracle:
                floors[protocol.name] = box_floor_evaluations(decoded, plan, protocol, progress=progress, **bootstrap)
            elif not any(floors.get(other.name) for other in protocols if not other.oracle):
                floors[protocol.name] = floor_evaluations(
                    decoded, plan.split, plan.fold, plan.part, progress=progress, **bootstrap
                )
    return floors
