"""A training small enough for tests: a tiny U-Net on the toy data set, also as a process that can be killed."""

import multiprocessing
import signal
import sys
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch

from segmed.core.split import Split
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.sources import open_dataset
from segmed.data.splits import split_by_patient
from segmed.training import Hardware, Recipe, train
from segmed.training.epoch_row import EpochRow
from segmed.training.recipe import load_recipe, recipe_from_mapping
from toydata import toy

TINY = (
    "model.name=unet", "model.encoder=tu-test_efficientnet", "model.encoder_weights=none", "epochs=3",
    "sampling.batch_size=4", "sampling.steps_per_epoch=3", "optim.learning_rate=0.003", "ema_decay=0.5", "seed=7",
)  # fmt: skip


PROMPTED = (
    "model.encoder=tu-test_efficientnet", "model.sam.size=64", "preprocess.size=[64,64]", "epochs=2",
    "sampling.batch_size=4", "sampling.steps_per_epoch=3", "seed=7",
)  # fmt: skip


def tiny_recipe(*overrides: str) -> Recipe:
    return recipe_from_mapping({}, [*TINY, *overrides], source="test")


def toy_and_split(root: Path) -> tuple[DecodedDataset, Split]:
    data = toy(root)
    return data, split_by_patient(data, ratios=(0.5, 0.25, 0.25))


class Announcer:
    """Sends each step to the test, so that it can kill the process at a chosen one."""

    def __init__(self, pipe: "Connection | None" = None) -> None:
        self.pipe = pipe

    def say(self, *words: object) -> None:
        if self.pipe is not None:
            self.pipe.send(" ".join(map(str, words)))

    def started(self, steps: int, done: int) -> None:
        self.say("started", done)

    def step(self, done: int, loss: float) -> None:
        self.say("step", done)

    def epoch(self, row: EpochRow) -> None:
        self.say("epoch", row.epoch)

    def finished(self, message: str) -> None:
        self.say("finished")


def train_tiny(
    root: Path,
    out: Path,
    *,
    prompted: bool = False,
    devices: int = 1,
    resume: bool = False,
    pipe: "Connection | None" = None,
) -> None:
    """Train on the toy data set in `root`, on one thread a process, announcing each step."""
    torch.set_num_threads(1)
    data = decode(open_dataset(root), cache_dir=root / "cache")
    train(
        load_recipe("sam-tiny", PROMPTED) if prompted else tiny_recipe(),
        data=data,
        split=split_by_patient(data, ratios=(0.5, 0.25, 0.25)),
        out=out,
        resume=resume,
        callbacks=Announcer(pipe),
        hardware=Hardware("cpu", devices, strategy="ddp" if devices > 1 else "auto"),
    )


def _stoppable(root: Path, out: Path, pipe: "Connection", options: dict[str, Any]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    train_tiny(root, out, pipe=pipe, **options)


IMPORTED_ONCE = [
    "lightning.pytorch",
    "matplotlib.pyplot",
    "segmentation_models_pytorch",
    "segmed.training.engine",
    "timm",
]
"""Installed modules alone: the process that is forked from finds no others, and says nothing where it finds none."""


def start(root: Path, out: Path, **options: Any) -> "tuple[ForkServerProcess, Connection]":
    """Train in a process of its own, forked from one that has imported libraries; the pipe has what it announces."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED_ONCE)
    pipe, inner = context.Pipe(duplex=False)
    process = context.Process(target=_stoppable, args=(root, out, inner, options))
    process.start()
    inner.close()
    return process, pipe


if __name__ == "__main__":  # Lightning starts the second process by the script of the first, once for both runs
    for name in ("dense", "prompted"):
        train_tiny(Path(sys.argv[1]), Path(sys.argv[1]) / name, prompted=name == "prompted", devices=2)
