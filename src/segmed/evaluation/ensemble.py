"""Make an ensemble of runs, after making sure that no member has seen what the ensemble will be tested on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segmed.core.errors import ConfigError, SplitError
from segmed.core.files import copy_file, refuse_links, require_own_folder
from segmed.core.split import PartName, Split
from segmed.data.decoded import DecodedDataset
from segmed.data.keys import pseudonyms_of
from segmed.evaluation.run import Plan, plan_evaluation
from segmed.inference.ensemble import ensemble_config, save_ensemble, with_members_settings
from segmed.models.checkpoint import CONFIG, ENSEMBLE, SPLIT, load_run
from segmed.models.joint_config import EnsembleConfig
from segmed.models.prediction import Tta
from segmed.models.seen import seen_patients


def plan_ensemble(
    members: Sequence[Path],
    decoded: DecodedDataset,
    out: Path,
    *,
    split: Split | None = None,
    fold: int | None = None,
    tuned: bool = True,
    threshold: float | None = None,
    tta: Tta | None = None,
) -> tuple[EnsembleConfig, Plan]:
    """The config of an ensemble that may be written to `out`, and the plan that comes next. Nothing is written.

    Where it is to be tuned, its threshold is 0.5 for now, augmentation and post-processing are those of the
    members where all share them, else none, and the plan is that of the validation patients to choose a
    better one on. They count as seen from then on, whatever split the ensemble is tested on later. Otherwise it has the
    threshold, the test-time augmentation and the post-processing that all members share, or the `threshold` and `tta`
    that are given, and the plan is that of the test patients. This is for runs that were trained on all other patients.

    Without `split` the members share split and fold. Raises `SplitError` naming the member that was trained on, or
    chosen on, a patient of the test part, or trained on one of the validation part; `ConfigError` where `out` holds
    something else; `DataError` where symbolic links lie in it.
    """
    refuse_links(out)
    if (out / CONFIG).exists() or any(out.resolve() == member.resolve() for member in members):
        raise ConfigError(f"{out}: is a run's folder. Choose another for the ensemble.")
    require_own_folder(out, marker=ENSEMBLE, made="an ensemble")
    config = ensemble_config(members)
    if split is None and not config.split_hash:
        raise SplitError(
            "The runs were trained on different splits or folds. Name a split with --split whose test and validation "
            "patients none of them has seen."
        )
    if not tuned:
        config = with_members_settings(config, members, threshold=threshold, tta=tta)
    parts: tuple[PartName, ...] = ("test", "validation") if tuned else ("test",)
    plans = []
    for member in members:
        own = load_run(member).config
        each = [plan_evaluation(member, own, decoded, split=split, fold=fold, part=part) for part in parts]
        plans.append(each[-1])  # what was seen is refused
    plan = replace(
        plans[0],
        leaking=any(each.leaking for each in plans),
        training_known=all(each.training_known for each in plans),
    )
    if tuned:
        chosen_on = seen_patients(plan.split, plan.fold, pseudonyms_of(decoded.dataset))["validation"]
        seen = {**config.seen, "validation": sorted({*config.seen.get("validation", []), *chosen_on})}
        config = replace(config, seen=seen)
    return config, plan


def write_ensemble(out: Path, members: Sequence[Path], config: EnsembleConfig, *, copy: bool = False) -> None:
    """Write what `plan_ensemble` returned, with a threshold that was chosen meanwhile or not."""
    save_ensemble(out, members, config, copy=copy)
    (out / SPLIT).unlink(missing_ok=True)
    if config.split_hash:
        copy_file(members[0] / SPLIT, out / SPLIT)
