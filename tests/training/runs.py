"""A training small enough for tests: a tiny U-Net on the toy data set, also as a script to be killed."""

import sys
from pathlib import Path

import torch

from segmed.core.split import Split
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.sources import open_dataset
from segmed.data.splits import split_by_patient
from segmed.training import Hardware, Recipe, train
from segmed.training.recipe import load_recipe, recipe_from_mapping
from toydata import toy

TINY = (
    "model.name=unet", "model.encoder=tu-mobilenetv3_small_050", "model.encoder_weights=none", "epochs=3",
    "sampling.batch_size=4", "sampling.steps_per_epoch=3", "optim.learning_rate=0.003", "ema_decay=0.5", "seed=7",
)  # fmt: skip


PROMPTED = (
    "model.encoder=tu-mobilenetv3_small_050", "model.sam.size=64", "preprocess.size=[64,64]", "epochs=2",
    "sampling.batch_size=4", "sampling.steps_per_epoch=3", "seed=7",
)  # fmt: skip


def tiny_recipe(*overrides: str) -> Recipe:
    return recipe_from_mapping({}, [*TINY, *overrides], source="test")


def toy_and_split(root: Path) -> tuple[DecodedDataset, Split]:
    data = toy(root)
    return data, split_by_patient(data, ratios=(0.5, 0.25, 0.25))


class Announcer:
    """Prints each step, so that a test can kill the process at a chosen one."""

    def started(self, steps: int, done: int) -> None:
        print("started", done, flush=True)

    def step(self, done: int, loss: float) -> None:
        print("step", done, flush=True)

    def epoch(self, row: dict[str, object]) -> None:
        print("epoch", row["epoch"], flush=True)

    def finished(self, message: str) -> None:
        print("finished", flush=True)


def train_tiny(root: Path, out: Path, *, prompted: bool = False, devices: int = 1, resume: bool = False) -> None:
    """Train on the toy data set in `root`, on one thread a process, announcing each step."""
    torch.set_num_threads(1)
    data = decode(open_dataset(root), cache_dir=root / "cache")
    train(
        load_recipe("sam-tiny", PROMPTED) if prompted else tiny_recipe(),
        data=data,
        split=split_by_patient(data, ratios=(0.5, 0.25, 0.25)),
        out=out,
        resume=resume,
        callbacks=Announcer(),
        hardware=Hardware("cpu", devices, strategy="ddp" if devices > 1 else "auto"),
    )


if __name__ == "__main__":
    train_tiny(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        prompted="--prompted" in sys.argv,
        devices=int(sys.argv[sys.argv.index("--devices") + 1]) if "--devices" in sys.argv else 1,
        resume="--resume" in sys.argv,
    )
