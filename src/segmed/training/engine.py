"""Train a recipe on a split, and leave a complete run folder: the one place that sets Lightning up."""

import dataclasses
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor, nn
from torch.utils.data import Dataset

from segmed.core.errors import ConfigError, DataError, ModelError, SegmedError, StoppedError
from segmed.core.files import sha256_of
from segmed.core.provenance import commit, machine, versions
from segmed.core.split import Partition, Split
from segmed.data.decoded import DecodedDataset
from segmed.data.embeddings import EmbeddingCache
from segmed.data.loading import Item, OrderedBatches, PreprocessedSlices, TrainingBatches, make_loader
from segmed.data.proposals import ProposalMaps
from segmed.data.splits import require_fit
from segmed.models.checkpoint import RunConfig, load_weights, save_run, seen_patients
from segmed.models.dense import stride
from segmed.models.filtering import fit_filter
from segmed.models.sam.contract import contract_warning
from segmed.models.zoo import PROMPTABLE, takes_prompts
from segmed.preprocess import Preprocess
from segmed.training.beginning import begin, is_finished, require_same_run
from segmed.training.cached import cached_slices
from segmed.training.curves import draw_curves
from segmed.training.keeper import RunKeeper, best_weights, discard_resume, resume_checkpoint, resume_folder
from segmed.training.listen import Listener, Silent
from segmed.training.module import SegmentationModule
from segmed.training.precision import choose_precision
from segmed.training.prompting import open_maps
from segmed.training.recipe import Recipe
from segmed.training.starting import begun_from, seen_in_all, starting_model


@dataclass(frozen=True)
class Hardware:
    """Where to train; the defaults take one device of the best kind there is."""

    accelerator: str = "auto"
    """auto, cpu, gpu or mps."""
    devices: int = 1
    """Devices on each node."""
    nodes: int = 1
    """Nodes; each runs the same command."""
    strategy: str = "auto"
    """Lightning's strategy: auto, ddp, fsdp."""


def train(
    recipe: Recipe,
    *,
    data: DecodedDataset,
    split: Split,
    out: Path,
    fold: int = 0,
    resume: bool = False,
    listener: Listener | None = None,
    hardware: Hardware | None = None,
    tensorboard: bool = False,
    embeddings: EmbeddingCache | None = None,
) -> Path:
    """Train `recipe` on `fold` of `split` and return the run folder `out`.

    The folder holds model.safetensors, config.json, recipe.yaml, split.json, metrics.csv, log.txt and curves.png.
    With `resume` an interrupted run continues from its last whole epoch, and a finished one is left as it is.
    With `embeddings`, made by `segmed embed`, the frozen image encoder of a promptable model never runs.
    Raises `SplitError` for a split that leaks or belongs to other data, `ConfigError` where the folder holds another
    run, and `ModelError` when the loss is not a number or memory runs out.
    """
    listener, hardware = listener or Silent(), hardware or Hardware()
    require_fit(split, data)
    recipe = fit_recipe(recipe, data)
    digest = None if embeddings is None else embeddings.plan.digest
    with _quiet_engine(), _explained_failures(recipe, out):
        keeper = RunKeeper(out, patience=recipe.patience, listener=listener)
        trainer = make_trainer(recipe, keeper, hardware, out=out, tensorboard=tensorboard)
        if resume and is_finished(out):
            require_same_run(out, recipe, split, fold, embeddings=digest)
            listener.finished(f"{out} is a finished run")
            return out
        if trainer.is_global_zero:
            begin(out, recipe, split, fold, resume=resume, embeddings=digest)
        with _logged(out, trainer.global_rank) as log:
            keeper.listener = _Logging(listener, log)
            log.info("training %s with %s, seed %d", recipe.model.name, recipe.model.encoder, recipe.seed)
            start = begun_from(recipe, split, fold)
            module, loaders = prepare(
                recipe, data=data, split=split, fold=fold, rank=trainer.global_rank, world=trainer.world_size,
                embeddings=embeddings,
            )  # fmt: skip
            warning = contract_warning(module.model, recipe.preprocess)
            if warning and trainer.is_global_zero:
                log.warning(warning)
                logging.getLogger(__name__).warning(warning)
            keeper.batches = loaders[0].batch_sampler
            checkpoint = resume_checkpoint(out)
            continued = str(checkpoint) if resume and checkpoint.is_file() else None
            trainer.fit(module, *loaders, ckpt_path=continued, weights_only=True)
            if trainer.is_global_zero:
                facts = {"precision": str(trainer.precision), "embeddings": digest}
                _finish(out, module, keeper, data=data, split=split, fold=fold, facts=facts, start=start)
                keeper.listener.finished(f"best epoch {keeper.best['epoch']}, Dice {keeper.best['dice']:.4f}, in {out}")
            trainer.strategy.barrier()
    return out


def fit_recipe(recipe: Recipe, data: DecodedDataset) -> Recipe:
    """The recipe with the data set's number of labels and, for a learned filter, the network's input size.

    Raises `DataError` where its images lack a sequence.
    """
    case = data.dataset.records[0].case
    channels = data.shape(case)[2]
    if max(recipe.preprocess.channels) >= channels:
        raise DataError(
            f"{case}: has {channels} channels, but the recipe reads {recipe.preprocess.channels}. "
            "Set preprocess.channels and model.channels to what the data has."
        )
    model = dataclasses.replace(recipe.model, labels=len(data.dataset.labels.names))
    size = Preprocess(recipe.preprocess).network_size(data.shape(case)[:2])
    return dataclasses.replace(recipe, model=fit_filter(model, size))


def prepare(
    recipe: Recipe,
    *,
    data: DecodedDataset,
    split: Split,
    fold: int,
    rank: int = 0,
    world: int = 1,
    embeddings: EmbeddingCache | None = None,
) -> tuple[SegmentationModule, tuple[Any, Any]]:
    """Build the module and its training and validation loaders, for process `rank` of `world`."""
    maps = open_maps(recipe.prompting, data.data_hash, split, fold) if takes_prompts(recipe.model) else None
    begun_from(recipe, split, fold)  # refuses, whoever calls: `estimate` builds without training
    model = _begun_model(recipe).to(memory_format=torch.channels_last)
    if recipe.preprocess.divisor % stride(model):
        raise ConfigError(
            f"preprocess.divisor {recipe.preprocess.divisor} is not a multiple of the stride {stride(model)} of "
            f"{recipe.model.name}. Set it to {stride(model)}."
        )
    partition = split.fold(fold)
    training, validation, batches = _slices(
        recipe, model, data=data, partition=partition, rank=rank, world=world, embeddings=embeddings, maps=maps
    )
    ordered = OrderedBatches(len(partition.validation), recipe.sampling.batch_size, rank=rank, world=world)
    labels, workers = recipe.model.labels, _workers(recipe)
    steps = -(-batches.steps // recipe.optim.accumulate) * recipe.epochs
    module = SegmentationModule(model, recipe, decoded=data, validation_cases=partition.validation, steps=steps)
    return module, (
        make_loader(training, batches, labels=labels, workers=workers),
        make_loader(validation, ordered, labels=labels, workers=workers),
    )


def _begun_model(recipe: Recipe) -> nn.Module:
    """The network that training begins with, and of it only that to be trained which the objective trains."""
    model = starting_model(recipe)
    if recipe.objective != "masks":
        from segmed.training.featup import train_raiser_only  # imports transformers

        train_raiser_only(model, encoder=recipe.objective == "distil" and recipe.featup.train_encoder)
    return model


def _slices(
    recipe: Recipe,
    model: nn.Module,
    *,
    data: DecodedDataset,
    partition: Partition,
    rank: int,
    world: int,
    embeddings: EmbeddingCache | None,
    maps: ProposalMaps | None,
) -> tuple[Dataset[Item], Dataset[Item], TrainingBatches]:
    """Training and validation slices, from pixels or from the cache, and the order of the first."""
    if embeddings is not None:
        return cached_slices(recipe, model, embeddings, data=data, partition=partition, rank=rank, world=world)
    preprocess = Preprocess(recipe.preprocess)
    training = PreprocessedSlices(data, partition.train, preprocess, maps)
    _try_size(model, training[0].image, recipe)
    batches = TrainingBatches(training.positive(), recipe.sampling, seed=recipe.seed, rank=rank, world=world)
    return training, PreprocessedSlices(data, partition.validation, preprocess, maps), batches


def _try_size(model: nn.Module, image: Tensor, recipe: Recipe) -> None:
    """Run one image through the network, so that a size it cannot take is an error now and not in the first step."""
    height, width = image.shape[1:]
    model.eval()
    try:
        with torch.inference_mode():
            logits = model(image[None])
    except RuntimeError as error:
        raise ModelError(
            f"{recipe.model.name} cannot take images of {height}x{width} ({' '.join(str(error).split())}). "
            "Set a larger preprocess.size, a multiple of the stride."
        ) from error
    finally:
        model.train()
    if logits.shape[2:] != image.shape[1:]:
        raise ModelError(f"{recipe.model.name} gives {tuple(logits.shape[2:])} for images of {height}x{width}.")


def make_trainer(recipe: Recipe, keeper: RunKeeper, hardware: Hardware, *, out: Path, tensorboard: bool) -> pl.Trainer:
    """Lightning's trainer for this recipe and hardware."""
    logger: Any = False
    if tensorboard:
        from lightning.pytorch.loggers import TensorBoardLogger

        logger = TensorBoardLogger(str(out), name="tensorboard", version="")
    return pl.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        strategy=hardware.strategy,
        precision=choose_precision(recipe.precision, hardware.accelerator).name,  # type: ignore[arg-type]  # one of Lightning's names
        max_epochs=recipe.epochs,
        accumulate_grad_batches=recipe.optim.accumulate,
        gradient_clip_val=recipe.optim.gradient_clip or None,
        callbacks=[keeper],
        logger=logger,
        log_every_n_steps=10,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        sync_batchnorm=hardware.devices * hardware.nodes > 1 and torch.cuda.is_available(),
        default_root_dir=str(out),
    )


def _finish(
    out: Path,
    module: SegmentationModule,
    keeper: RunKeeper,
    *,
    data: DecodedDataset,
    split: Split,
    fold: int,
    facts: dict[str, Any],
    start: RunConfig | None,
) -> None:
    """Write the run folder; `facts` are kept with the training's, `start` is the run that this one began from."""
    load_weights(best_weights(out, int(keeper.best["epoch"])), module.kept)
    training = {
        "epoch": keeper.best["epoch"],
        "epochs": len(keeper.rows),
        "steps": keeper.rows[-1]["step"],
        "validation_dice": keeper.best["dice"],
        "seconds": round(keeper.seconds[0], 1),
        "cpu_seconds": round(keeper.seconds[1], 1),
        "seed": module.recipe.seed,
        "mask_prompts": _knows_masks(module.recipe),
        "parameters": sum(parameter.numel() for parameter in module.model.parameters()),
        **facts,
        "machine": machine(),
        "commit": commit(),
        "versions": versions(),
    }
    config = RunConfig(
        model=module.recipe.model,
        preprocess=module.recipe.preprocess,
        labels=data.dataset.labels,
        threshold=keeper.best["threshold"],
        data_hash=data.data_hash,
        split_hash=sha256_of(out / "split.json"),
        fold=fold,
        leaking=split.leaking or (start is not None and start.leaking),
        training=training,
        seen=seen_in_all(seen_patients(split, fold), start),
    )
    draw_curves(keeper.rows, out / "curves.png", title=f"{config.model.name}, {config.model.encoder}")
    save_run(out, module.kept, config)
    discard_resume(out)


def _knows_masks(recipe: Recipe) -> bool:
    """Whether the model learnt what mask prompts are, here or in its pre-training; else they are noise to it."""
    if recipe.model.name not in PROMPTABLE:
        return False
    return recipe.prompting.gives_masks or recipe.model.encoder_weights.lower() != "none"


def _workers(recipe: Recipe) -> int:
    if recipe.workers is not None:
        return recipe.workers
    return min(8, (os.cpu_count() or 1) - 1) if torch.cuda.is_available() else 0


class _Logging:
    """Pass events on, and write those worth keeping to the run's log."""

    def __init__(self, listener: Listener, log: logging.Logger) -> None:
        self._listener, self._log = listener, log

    def started(self, steps: int, done: int) -> None:
        self._log.info("steps: %d in all, %d done before", steps, done)
        self._listener.started(steps, done)

    def step(self, done: int, loss: float) -> None:
        self._listener.step(done, loss)

    def epoch(self, row: dict[str, Any]) -> None:
        self._log.info(", ".join(f"{key} {value:.6g}" for key, value in row.items()))
        self._listener.epoch(row)

    def finished(self, message: str) -> None:
        self._log.info("finished: %s", message)
        self._listener.finished(message)


@contextmanager
def _logged(out: Path, rank: int) -> Iterator[logging.Logger]:
    """A logger that appends to the run's log.txt; of several processes the first one writes."""
    resume_folder(out).mkdir(parents=True, exist_ok=True)
    log = logging.getLogger(f"segmed.run.{abs(hash(out))}")
    log.setLevel(logging.INFO)
    log.propagate = False
    handler = logging.FileHandler(out / "log.txt", encoding="utf-8") if rank == 0 else logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    try:
        yield log
    except BaseException as error:
        log.error("stopped: %s: %s", type(error).__name__, error)
        raise
    finally:
        log.removeHandler(handler)
        handler.close()


@contextmanager
def _quiet_engine() -> Iterator[None]:
    """Keep Lightning's banners and advice, which our defaults already answer, off the user's screen."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
        warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        warnings.filterwarnings("ignore", message=".*tensorboardX.*")
        warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # the Dice is already that of all processes
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")  # the averaged weights
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")  # Lightning 2.6 beside torch 2.14
        try:
            yield
        finally:
            logger.setLevel(level)


@contextmanager
def _explained_failures(recipe: Recipe, out: Path) -> Iterator[None]:
    """Turn what a user can act on into one line: memory, and being stopped."""
    try:
        yield
    except SegmedError:
        raise
    except SIGTERMException as error:
        raise StoppedError(f"{out}: stopped by SIGTERM. Continue with --resume.") from error
    except ValueError as error:
        if "more than 1 value per channel" in str(error):
            raise ModelError(
                f"{recipe.model.name} needs at least two slices in a batch to normalise. Raise sampling.batch_size."
            ) from error
        raise
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error):
            size = recipe.sampling.batch_size
            raise ModelError(
                f"Out of memory. Lower sampling.batch_size (now {size}) and raise optim.accumulate to make up for it, "
                "or set a smaller preprocess.size."
            ) from error
        raise
