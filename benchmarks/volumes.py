"""How fast volumes are read, decoded and predicted, beside nibabel and PyTorch alone, and whether memory stays flat.

    python benchmarks/volumes.py reading --volumes 100 --out benchmarks/results/volumes-reading.json
    python benchmarks/volumes.py predicting --volumes 1000 --out benchmarks/results/volumes-predicting.json

What is compared runs in turn, volume by volume, so that whatever else the machine does hits both alike: the ratios
hold where seconds do not.
"""

import argparse
import gzip
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from segmed import decode, open_dataset, read_volume
from segmed.core.files import write_json
from segmed.core.labels import LabelMap
from segmed.core.provenance import commit, machine, versions
from segmed.inference.memory import PeakMemory
from segmed.inference.predictor import Predictor
from segmed.inference.volume_files import predict_volumes
from segmed.inference.volume_inputs import find_volumes
from segmed.models.checkpoint import RunConfig, TrainedModel
from segmed.models.config import ModelConfig
from segmed.models.zoo import build_model
from segmed.preprocess import PreprocessConfig

BRATS = (155, 240, 240)
"""Slices, rows and columns of a BraTS volume."""
TOGETHER = 10
"""Volumes between two measurements of the same kind."""
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


def head(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Int16 noise in an ellipsoid and zeros around, as a head without its skull has them; columns rows slices."""
    sides = np.ogrid[tuple(slice(-1, 1, side * 1j) for side in reversed(shape))]
    inside = sum((side / rng.uniform(0.6, 0.8)) ** 2 for side in sides) < 1
    coarse = rng.normal(600, 150, tuple(-(-side // 8) for side in reversed(shape)))
    for axis, side in enumerate(reversed(shape)):
        coarse = np.repeat(coarse, 8, axis).take(range(side), axis)
    return np.where(inside, coarse + rng.normal(0, 20, inside.shape), 0).astype(np.int16)


def write_heads(
    folder: Path, number: int, shape: tuple[int, int, int], *, first: int = 0, packed: bool = True
) -> list[Path]:
    """Volumes by nibabel, from a few heads that are shifted, so that no two are equal."""
    folder.mkdir(parents=True)
    heads = [head(np.random.default_rng(seed), shape) for seed in range(2)]
    paths = []
    for index in range(first, first + number):
        path = folder / f"head{index:04d}.nii{'.gz' if packed else ''}"
        image = nib.Nifti1Image(np.roll(heads[index % len(heads)], index, axis=0), AFFINE)
        with gzip.open(path, "wb", compresslevel=1) if packed else path.open("wb") as file:
            image.to_stream(file)
        paths.append(path)
    return paths


def by_nibabel(path: Path) -> np.ndarray:
    """The voxels as stored, columns rows slices, in memory: plain files would only be mapped."""
    return np.array(np.asarray(nib.load(path).dataobj))


def timed(action: Callable[[], object]) -> float:
    """Seconds of the processor that an action takes; other work on the machine hardly changes them."""
    started = time.process_time()
    action()
    return time.process_time() - started


def reading(folder: Path, number: int, shape: tuple[int, int, int]) -> dict[str, object]:
    """Read each file by nibabel and by us, and decode the files as a data set, in turn, ten at a time."""
    found: dict[str, object] = {}
    for packed in (True, False):
        rows, memory, before = list[tuple[float, float, float]](), PeakMemory(), 0.0
        for first in range(0, number, TOGETHER):
            root = folder / "data"
            paths = write_heads(root / "images", min(TOGETHER, number - first), shape, first=first, packed=packed)
            assert np.array_equal(by_nibabel(paths[0]).T, read_volume(paths[0]).array)
            theirs = timed(lambda paths=paths: [by_nibabel(path) for path in paths])
            ours = timed(lambda paths=paths: [read_volume(path) for path in paths])
            before = before or held_mib()
            with memory.measuring():
                decoding = timed(lambda root=root: decode(open_dataset(root), cache_dir=folder / "cache"))
            rows.append((theirs, ours, decoding))
            shutil.rmtree(root)
            shutil.rmtree(folder / "cache")
        theirs, ours, decoding = (sum(times) for times in zip(*rows, strict=True))
        found["gzip" if packed else "plain"] = {
            "nibabel_s": theirs, "read_s": ours, "decode_s": decoding,
            "read_ratio": statistics.median(row[1] / row[0] for row in rows),
            "decode_ratio": statistics.median(row[2] / row[0] for row in rows),
            "held_before_mib": before, "decode_peak_mib": memory.mib,
        }  # fmt: skip
    return found


def network(folder: Path) -> Predictor:
    """A small U-Net of random weights, at its threshold; one sequence, slices at their own size."""
    model = ModelConfig(name="unet", encoder="tu-mobilenetv3_small_050", encoder_weights="none", channels=1)
    torch.manual_seed(0)
    preprocess = PreprocessConfig(size=None, channels=(0,), divisor=32)
    config = RunConfig(model, preprocess, LabelMap(("tumour",), (0, 1)), threshold=0.5)
    return Predictor(TrainedModel(build_model(model).eval(), config, folder), device="cpu")


def by_pytorch(model: torch.nn.Module, path: Path, out: Path, batch_size: int) -> None:
    """What a script of one's own does: read, normalise, predict in batches, threshold, write."""
    image = nib.load(path)
    voxels = np.asarray(image.dataobj).T.astype(np.float32)
    low, high = np.percentile(voxels[voxels != 0], (1, 99))
    voxels = np.clip(voxels, low, high)
    voxels = ((voxels - voxels.mean()) / voxels.std()).astype(np.float32)
    pad = [(0, 0), *((0, -side % 32) for side in voxels.shape[1:])]
    batches = torch.from_numpy(np.pad(voxels, pad, mode="edge"))[:, None].split(batch_size)
    with torch.inference_mode():
        logits = torch.cat([model(batch.to(memory_format=torch.channels_last)) for batch in batches])
    mask = (logits[:, 0, : voxels.shape[1], : voxels.shape[2]].sigmoid() >= 0.5).numpy().astype(np.uint8)
    nib.save(nib.Nifti1Image(mask.T, image.affine), out)


def predicting(folder: Path, number: int, shape: tuple[int, int, int]) -> dict[str, object]:
    """Predict many small volumes, with the memory held after each, and some of full size beside PyTorch alone."""
    predictor = network(folder / "run")
    small = write_heads(folder / "small", number, (12, 64, 64))
    held = list[float]()
    inputs = find_volumes(folder / "small")
    assert inputs is not None
    seconds = timed(
        lambda: predict_volumes(predictor, inputs, folder / "masks", progress=lambda *_: held.append(held_mib()))
    )
    found: dict[str, object] = {
        "small_volumes": len(small),
        "small_s": seconds,
        "held_mib_after": {str(count): held[count - 1] for count in (1, 10, 25, 50, number) if count <= number},
    }
    by_pytorch(predictor.model, small[0], folder / "alone.nii.gz", 8)  # both are warm now
    whole = write_heads(folder / "whole", 2, shape)
    ours, theirs, peaks = list[float](), list[float](), (PeakMemory(), PeakMemory())
    for index, path in enumerate(whole):
        one = find_volumes(path)
        assert one is not None
        with peaks[0].measuring():
            alone = timed(lambda path=path: by_pytorch(predictor.model, path, folder / "alone.nii.gz", 8))
        with peaks[1].measuring():
            mine = timed(lambda one=one, index=index: predict_volumes(predictor, one, folder / f"whole-{index}"))
        theirs.append(alone)
        ours.append(mine)
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return found | {
        "whole_shape": shape, "whole_pytorch_s": statistics.median(theirs), "whole_ours_s": statistics.median(ours),
        "whole_ratio": statistics.median(ratios), "peak_pytorch_mib": peaks[0].mib, "peak_ours_mib": peaks[1].mib,
    }  # fmt: skip


def held_mib() -> float:
    """What the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def main() -> None:
    """Measure what is asked for, print it and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("reading", "predicting"))
    parser.add_argument("--volumes", type=int, default=100)
    parser.add_argument("--shape", type=int, nargs=3, default=BRATS, metavar=("SLICES", "ROWS", "COLUMNS"))
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    slices, rows, columns = asked.shape
    measure = reading if asked.what == "reading" else predicting
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), asked.volumes, (slices, rows, columns))
    facts = {"volumes": asked.volumes, "shape": (slices, rows, columns), "threads": torch.get_num_threads()}
    told = {**facts, **found, "machine": machine(), "commit": commit(), "versions": versions()}
    write_json(asked.out, told)
    print(*(f"{name}: {value}" for name, value in told.items()), sep="\n")


if __name__ == "__main__":
    main()
