"""What a run keeps while it trains: the best weights, one line of metrics an epoch, and a checkpoint to resume from."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint

from segmed.data.loading import TrainingBatches
from segmed.models.checkpoint import METRICS, save_weights
from segmed.training.callbacks import Callbacks
from segmed.training.epoch_row import EpochRow, write_metrics
from segmed.training.module import SegmentationModule


class RunCheckpoint(Checkpoint):
    """Keep the epoch with the best validation Dice, stop early, and make every epoch's end a point to resume from.

    Where nothing is validated the last epoch is kept.

    All it knows travels in Lightning's checkpoint, so that a run killed at any moment continues from the last
    whole epoch and, since every batch depends on seed and step alone, ends as if it had never stopped.
    """

    def __init__(self, out: Path, *, patience: int | None, callbacks: Callbacks) -> None:
        self.out, self.patience, self.callbacks = out, patience, callbacks
        self.batches: TrainingBatches | None = None
        self.rows: list[EpochRow] = []
        self.best: dict[str, float] = {"dice": -1.0, "threshold": 0.5, "epoch": -1}
        self._before = (0.0, 0.0)
        self._start_clocks()

    @property
    def state_key(self) -> str:
        """What Lightning calls this state in a checkpoint: the class's name in SegMed 0.1, whose runs continue."""
        return "RunKeeper"

    def state_dict(self) -> dict[str, Any]:
        """Rows, best epoch and seconds, as plain values: the checkpoint is read with weights_only."""
        return {"rows": [row.to_columns() for row in self.rows], "best": self.best, "seconds": list(self.seconds)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.rows, self.best = list(map(EpochRow.from_columns, state_dict["rows"])), dict(state_dict["best"])
        if self.batches is not None:
            self.batches.set_epoch(len(self.rows))  # Lightning makes the first iterator before it sets the epoch itself
        wall, processor = state_dict["seconds"]
        self._before = (float(wall), float(processor))
        self._start_clocks()

    @property
    def seconds(self) -> tuple[float, float]:
        """Wall and processor time so far, that of interrupted sessions included.

        Processor time is this process's, over all its threads: on a CPU it says what a run cost however busy the
        machine was, beside a GPU it says little.
        """
        wall, processor = time.monotonic() - self._started[0], time.process_time() - self._started[1]
        return self._before[0] + wall, self._before[1] + processor

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how long it will be."""
        self._start_clocks()
        if self._out_of_patience():  # stopped early, then killed before the run was finished
            trainer.should_stop = True
        if trainer.is_global_zero:
            self.callbacks.started(_module(pl_module).steps, trainer.global_step)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell the callbacks."""
        if trainer.is_global_zero:
            self.callbacks.step(trainer.global_step, _module(pl_module).latest_loss())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch, keep it if it is the best, and save the point to resume from."""
        module = _module(pl_module)
        row = self._row(trainer, module)
        self.rows.append(row)
        if not module.validates or module.dice > self.best["dice"]:
            self.best = {"dice": module.dice, "threshold": module.threshold, "epoch": trainer.current_epoch}
            if trainer.is_global_zero:
                save_weights(best_weights(self.out, trainer.current_epoch), module.kept)
        if self._out_of_patience():
            trainer.should_stop = True
        if trainer.is_global_zero:
            write_metrics(self.out / METRICS, self.rows)
            self.callbacks.epoch(row)
        self._save(trainer)

    def _start_clocks(self) -> None:
        self._started = (time.monotonic(), time.process_time())

    def _row(self, trainer: pl.Trainer, module: SegmentationModule) -> EpochRow:
        wall, processor = self.seconds
        return EpochRow(
            epoch=trainer.current_epoch,
            step=trainer.global_step,
            training_loss=module.mean_training_loss(),
            validation_loss=module.validation_loss,
            validation_dice=module.dice,
            threshold=module.threshold,
            learning_rate=trainer.optimizers[0].param_groups[0]["lr"],
            seconds=round(wall, 1),
            cpu_seconds=round(processor, 1),
        )

    def _out_of_patience(self) -> bool:
        return self.patience is not None and len(self.rows) - 1 - self.best["epoch"] >= self.patience

    def _save(self, trainer: pl.Trainer) -> None:
        """Save a whole checkpoint in place of the last one, whatever kill or power cut comes; see `stopping`.

        The best weights it refers to are in a file of their epoch, and older ones go only after it is in place.
        """
        path = resume_checkpoint(self.out)
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            flush(path.parent)
            for older in resume_folder(self.out).glob("best-*.safetensors"):
                if older != best_weights(self.out, int(self.best["epoch"])):
                    older.unlink()
        trainer.strategy.barrier()


def resume_folder(out: Path) -> Path:
    """Where an unfinished run keeps what only it needs."""
    return out / "resume"


def resume_checkpoint(out: Path) -> Path:
    """Lightning's checkpoint of the last whole epoch."""
    return resume_folder(out) / "last.ckpt"


def best_weights(out: Path, epoch: int) -> Path:
    """The weights of an epoch that was the best when it ended."""
    return resume_folder(out) / f"best-{epoch}.safetensors"


def flush(path: Path) -> None:
    """Have a folder's entries on the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def discard_resume(out: Path) -> None:
    """Remove what only an unfinished run needs."""
    shutil.rmtree(resume_folder(out), ignore_errors=True)


def _module(module: pl.LightningModule) -> SegmentationModule:
    if not isinstance(module, SegmentationModule):
        raise TypeError(f"RunCheckpoint keeps a SegmentationModule, got {type(module).__name__}.")
    return module
