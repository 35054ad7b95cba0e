"""Train a recipe on a split, and leave a complete run folder: the one place that sets Lightning up."""

import logging
import math
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_only  # type: ignore[attr-defined]  # it is public in its docs

from segmed.core.errors import ConfigError
from segmed.core.files import refuse_links, sha256_of
from segmed.core.optional import optional_import
from segmed.core.provenance import commit, machine, versions
from segmed.core.pseudonyms import without_places
from segmed.core.split import Split
from segmed.data.decoded import DecodedDataset
from segmed.data.embeddings import EmbeddingCache
from segmed.data.intensities import range_note
from segmed.data.keys import pseudonyms_of
from segmed.data.lacking import lacking_warnings, require_labels
from segmed.data.splits import patients_known, require_fit
from segmed.models.checkpoint import SPLIT, RunConfig, load_weights, save_run
from segmed.models.encoder_weights import find_encoder_file
from segmed.models.families import FAMILIES, is_published, weights_notes
from segmed.models.promptable import Promptable
from segmed.models.sam.contract import contract_warning
from segmed.models.seen import seen_by_any, seen_patients
from segmed.models.training_facts import TrainingFacts
from segmed.training.build import fit_recipe, prepare, split_for
from segmed.training.callbacks import Callbacks, NoCallbacks
from segmed.training.channels import channels_note, repeated_note
from segmed.training.checkpointing import RunCheckpoint, best_weights, discard_resume, resume_checkpoint, resume_folder
from segmed.training.curves import draw_curves
from segmed.training.module import SegmentationModule, accumulation_warning
from segmed.training.precision import Precision, PrecisionName, choose_precision, has_bf16
from segmed.training.recipe import Recipe
from segmed.training.resume import (
    RunInputs,
    begin,
    begun_encoder_weights,
    begun_precision,
    for_sharing,
    is_finished,
    require_place,
    require_same_run,
)
from segmed.training.run_log import LoggedCallbacks, explained_failures, logged, quiet_engine
from segmed.training.stopping import CheckpointInPlace, alone_in, resumable
from segmed.training.warm_start import begun_from

COLOUR_CHOSEN = (
    "Images have three 8-bit channels, taken for the colours of one exposure: augment is colour. Where they are "
    "sequences of their own, say --set augment=mri."
)


@dataclass(frozen=True)
class Hardware:
    """Where to train; the defaults take one device of the best kind there is.

    Example:
        >>> Hardware("gpu", devices=4, strategy="ddp").nodes
        1
    """

    accelerator: str = "auto"
    """auto, cpu, gpu or mps."""
    devices: int = 1
    """Devices on each node; -1 takes all GPUs there are."""
    nodes: int = 1
    """Nodes; each runs the same command."""
    strategy: str = "auto"
    """auto or ddp."""

    @property
    def may_be_several(self) -> bool:
        """Whether more than one device may train: how many -1 takes is known to Lightning alone."""
        return self.nodes > 1 or self.devices != 1

    @property
    def on_cuda(self) -> bool:
        """Whether GPUs of CUDA train."""
        return self.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def train(
    recipe: Recipe,
    *,
    data: DecodedDataset,
    split: Split,
    out: Path | str,
    fold: int = 0,
    resume: bool = False,
    callbacks: Callbacks | None = None,
    hardware: Hardware | None = None,
    tensorboard: bool = False,
    embeddings: EmbeddingCache | None = None,
) -> Path:
    """Train `recipe` on `fold` of `split`. What is refused before the first step leaves no folder behind.

    Args:
        recipe: Model, data treatment, loss and schedule.
        data: What `decode` returned.
        split: Made for this data.
        out: The run folder, new unless `resume` is given.
        fold: Which fold of the split, from 0.
        resume: Continue an interrupted run from its last whole epoch; a finished one is left as it is.
        callbacks: Called at each step and epoch; by default nothing is.
        hardware: Where to train; by default one device of the best kind there is.
        tensorboard: Whether to write its files too.
        embeddings: Made by `segmed embed`; the frozen image encoder of a promptable model then never runs.

    Returns:
        `out`, which holds model.safetensors, config.json, recipe.yaml, split.json, metrics.csv, log.txt and curves.png.

    Raises:
        SplitError: A split that leaks, belongs to other data, or whose training or validation masks are all empty.
        ConfigError: The folder holds another run, or another process trains in it.
        DataError: Symbolic links lie in the folder.
        ModelError: The loss is not a number, or memory runs out.
        StoppedError: A file cannot be written, as on a full disk.

    Example:
        >>> data = segmed.decode(segmed.open_dataset("data"))
        >>> settings = ["epochs=1", "sampling.steps_per_epoch=1", "sampling.batch_size=2", "preprocess.size=[64, 64]"]
        >>> recipe = segmed.load_recipe("unet-cpu", settings)
        >>> run = segmed.train(recipe, data=data, split=segmed.Split.load("split.json"), out="runs/a")
        >>> (run / "model.safetensors").is_file()
        True
    """
    out, callbacks, hardware = Path(out), callbacks or NoCallbacks(), hardware or Hardware()
    split = require_fit(split, data)
    chosen_by_data, reads_all = recipe.augment is None, recipe.preprocess.channels is None
    recipe, split = fit_recipe(recipe, data), split_for(recipe, split)
    digest = None if embeddings is None else embeddings.plan.digest
    with quiet_engine(), explained_failures(recipe, out):
        checkpoint = RunCheckpoint(out, patience=recipe.patience, callbacks=callbacks)
        precision = _precision(recipe, hardware, begun_precision(out) if resume else None)
        trainer = make_trainer(recipe, checkpoint, hardware, precision, out=out, tensorboard=tensorboard)
        computes_in = str(trainer.precision)  # Lightning takes bf16 for fp16 on a CPU
        inputs = RunInputs(
            recipe, split, data, fold, embeddings=digest, processes=trainer.world_size, precision=computes_in
        )
        if resume and is_finished(out):
            require_same_run(out, inputs)
            if resume_folder(out).exists():  # a kill came before it was removed
                refuse_links(resume_folder(out), itself=True)
                discard_resume(out)
            callbacks.finished(f"{out} is a finished run")
            return out
        if trainer.is_global_zero:
            require_place(out, inputs, resume=resume)
        require_labels(data, split, fold, learnt=recipe.objective == "masks")
        start = begun_from(recipe, split, fold, data)
        module, loaders = prepare(
            recipe, data=data, split=split, fold=fold, rank=trainer.global_rank, world=trainer.world_size,
            embeddings=embeddings,
        )  # fmt: skip
        with ExitStack() as stack:
            if trainer.is_global_zero:  # only now, so that what is refused above leaves no folder behind
                stack.enter_context(alone_in(out))
                inputs = replace(inputs, encoder_weights=_encoder_weights(recipe))
                begin(out, inputs, resume=resume)
            log = stack.enter_context(logged(out, trainer.global_rank, data.dataset.records))
            stack.enter_context(resumable(out))
            checkpoint.callbacks = LoggedCallbacks(callbacks, log)
            if trainer.is_global_zero:
                pseudonyms_of(data.dataset)  # made, or said that it cannot be, before hours of work
            log.info("training %s with %s, seed %d", recipe.model.name, recipe.model.encoder, recipe.seed)
            log.info("precision: %s (%s)", computes_in, precision.reason)
            if reads_all:
                log.info(channels_note(recipe))
            checkpoint.batches = loaders[0].batch_sampler
            for note in weights_notes(recipe.model.name, recipe.model.encoder_weights):
                log.info(note)
            warnings = (
                contract_warning(module.model.contract, recipe.preprocess)
                if isinstance(module.model, Promptable)
                else None,
                f"There is no {precision.name} on a CPU: trains in {computes_in}."
                if computes_in != precision.name
                else None,
                range_note(recipe.preprocess),
                accumulation_warning(recipe.optim, checkpoint.batches.steps),
                repeated_note(recipe) if reads_all else None,
                COLOUR_CHOSEN if chosen_by_data and data.in_colour else None,
                *lacking_warnings(data, split, fold),
            )
            for warning in filter(None, warnings if trainer.is_global_zero else ()):
                log.warning(warning)
                logging.getLogger(__name__).warning(warning)
            encoder_weights = (
                begun_encoder_weights(out, otherwise=inputs.encoder_weights) if trainer.is_global_zero else None
            )
            last = resume_checkpoint(out)
            continued = str(last) if resume and last.is_file() else None
            trainer.fit(module, *loaders, ckpt_path=continued, weights_only=True)
            if trainer.is_global_zero:
                facts = {
                    "encoder_weights": encoder_weights,
                    "precision": computes_in,
                    "devices": trainer.world_size,
                }
                _finish(
                    out,
                    module,
                    checkpoint,
                    data=data,
                    split=split,
                    fold=fold,
                    facts=facts,
                    embeddings=digest,
                    start=start,
                )
                checkpoint.callbacks.finished(f"{_kept_in_words(checkpoint)}, in {out}")
            trainer.strategy.barrier()
    return out


def is_first_process() -> bool:
    """Whether this is the first of the processes that train together: each runs the whole command."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def require_tensorboard() -> None:
    """Raise `MissingDependencyError` where no package is installed that writes TensorBoard files."""
    if find_spec("tensorboardX") is None:
        optional_import("tensorboard", extra="track", purpose="--tensorboard")


def make_trainer(
    recipe: Recipe,
    checkpoint: RunCheckpoint,
    hardware: Hardware,
    precision: Precision,
    *,
    out: Path,
    tensorboard: bool,
) -> pl.Trainer:
    """Lightning's trainer for this recipe and hardware. Raises `ConfigError` for hardware that is not there."""
    strategy = _strategy(recipe, hardware)
    logger: Any = False
    if tensorboard:
        require_tensorboard()
        from lightning.pytorch.loggers import TensorBoardLogger

        logger = TensorBoardLogger(str(out), name="tensorboard", version="")
    try:
        return pl.Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.nodes,
            strategy=strategy,
            precision=precision.name,
            max_epochs=recipe.epochs,
            accumulate_grad_batches=recipe.optim.accumulate,
            gradient_clip_val=recipe.optim.gradient_clip or None,
            callbacks=[checkpoint],
            plugins=[CheckpointInPlace()],
            logger=logger,
            log_every_n_steps=10,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            sync_batchnorm=hardware.may_be_several and hardware.on_cuda,  # there is none of CPUs
            default_root_dir=str(out),
        )
    except (MisconfigurationException, ValueError) as error:
        asked = f"accelerator {hardware.accelerator}, devices {hardware.devices}, nodes {hardware.nodes}"
        raise ConfigError(f"Cannot train with {asked}: {' '.join(str(error).split())}") from error


def _precision(recipe: Recipe, hardware: Hardware, begun: PrecisionName | None) -> Precision:
    """The arithmetic of an interrupted run that goes on, else what this machine does best or the recipe asks for.

    bf16 that was chosen on another device and is only emulated here is not taken, which `require_place` then refuses.
    """
    chosen_elsewhere = recipe.precision == "auto" and begun == "bf16-mixed" and not has_bf16(hardware.accelerator)
    if begun is not None and not chosen_elsewhere:
        return Precision(begun, "as the run was begun")
    return choose_precision(recipe.precision, hardware.accelerator, measured=not hardware.may_be_several)


def _strategy(recipe: Recipe, hardware: Hardware) -> str:
    """How several processes share a training: prompts and frozen parts leave parameters unused in some steps."""
    if hardware.strategy not in ("auto", "ddp"):
        raise ConfigError(f"Strategy {hardware.strategy!r} is not known. Choose auto or ddp.")
    if hardware.may_be_several and (recipe.model.takes_prompts or recipe.objective != "masks"):
        return "ddp_find_unused_parameters_true"
    return hardware.strategy


def _finish(
    out: Path,
    module: SegmentationModule,
    checkpoint: RunCheckpoint,
    *,
    data: DecodedDataset,
    split: Split,
    fold: int,
    facts: dict[str, Any],
    embeddings: str | None,
    start: RunConfig | None,
) -> None:
    """Write the run folder.

    `facts` are shown with the training's, `embeddings` is its cache's digest, `start` the run that it began from.
    """
    pseudonyms = pseudonyms_of(data.dataset)
    load_weights(best_weights(out, int(checkpoint.best["epoch"])), module.kept)
    others = {
        "epoch": checkpoint.best["epoch"],
        "epochs": len(checkpoint.rows),
        "steps": checkpoint.rows[-1].step,
        "validation_dice": checkpoint.best["dice"] if module.validates else None,
        "seed": module.recipe.seed,
        "parameters": sum(parameter.numel() for parameter in module.model.parameters()),
        **facts,
        "machine": machine(),
        "commit": commit(),
        "versions": versions(),
    }
    config = RunConfig(
        model=for_sharing(module.recipe).model,
        preprocess=module.recipe.preprocess,
        labels=data.dataset.labels,
        in_colour=data.in_colour,
        labels_by_headers=data.dataset.labels_by_headers,
        threshold=checkpoint.best["threshold"],
        prediction=module.recipe.prediction,
        data_hash=data.data_hash,
        split_hash=sha256_of(out / SPLIT),
        fold=fold,
        leaking=split.leaking or (start is not None and start.leaking),
        patients_known=patients_known(split, data) and (start is None or start.patients_known),
        volumes=len(data.dataset.patients) < len(data.dataset.records),
        training=TrainingFacts(
            seconds=round(checkpoint.seconds[0], 1),
            cpu_seconds=round(checkpoint.seconds[1], 1),
            mask_prompts=_knows_masks(module.recipe),
            embeddings=embeddings,
            others=others,
        ),
        seen=seen_by_any([seen_patients(split, fold, pseudonyms), start.seen if start is not None else {}]),
    )
    draw_curves(checkpoint.rows, out / "curves.png", title=f"{config.model.name}, {config.model.encoder}")
    save_run(out, module.kept, config)
    discard_resume(out)


def _kept_in_words(checkpoint: RunCheckpoint) -> str:
    epoch, dice = int(checkpoint.best["epoch"]) + 1, checkpoint.best["dice"]
    return f"last epoch {epoch}, not validated" if math.isnan(dice) else f"best epoch {epoch}, Dice {dice:.4f}"


def _encoder_weights(recipe: Recipe) -> dict[str, str] | None:
    """The file that a convolutional encoder began with, and its hash; None where there was none."""
    if recipe.start is not None or is_published(recipe.model.name):
        return None
    file = find_encoder_file(recipe.model.encoder, recipe.model.encoder_weights)
    return None if file is None else {"file": without_places(file.origin), "sha256": file.sha256()}


def _knows_masks(recipe: Recipe) -> bool:
    """Whether the model learnt what mask prompts are, here or in its pre-training; else they are noise to it."""
    if recipe.model.name not in FAMILIES:
        return False
    begun_from = is_published(recipe.model.name) and recipe.model.encoder_weights != "none"
    pretrained = begun_from and not FAMILIES[recipe.model.name].boxes_alone
    return recipe.prompting.gives_masks or pretrained
