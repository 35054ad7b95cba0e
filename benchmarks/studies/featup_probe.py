"""Experiment A of docs/results/featup-gafl.md: FeatUp on frozen ImageNet features, read by a pixelwise probe.

    python benchmarks/studies/featup_probe.py --data DATA --split folds3.json --fold 0 --seeds 0 1 2 --out runs/probe
    python benchmarks/studies/featup_probe.py --table runs/probe

The encoder's maps are made once per fold. Every arm of every seed is kept in `OUT/fold-K/ARM-seed-N.json` as soon as it
is scored, with the upsampler's weights beside it; a second call makes what is missing. The first arms are those that
the hypothesis is about.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from probe_maps import CHANNELS, SIDE, Maps, fold_maps
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from segmed.core.errors import SegmedError
from segmed.core.files import write_json
from segmed.core.reading import read_json
from segmed.core.split import Split
from segmed.data.decoded import decode
from segmed.data.sources import open_dataset
from segmed.evaluation.seeds import interval_over_seeds
from segmed.layers.featup import GuidedUpsampler
from segmed.metrics.counts import count, dice
from segmed.metrics.surface import surface_scores
from segmed.training.featup import feature_distance

PIXELS = {"bilinear": SIDE, "pixels": 2 * SIDE, "pixels-320": 320}
"""Arms without an upsampler, and the side of the slices that their encoder reads."""
ARMS = ("bilinear", "bilinear-control", "jbu", "jbu-constant", "pixels", "pixels-320")
PROBES = ("linear", "two-layer")
STEPS, BATCH, RATE = 2000, 2, 1e-2
"""Of an upsampler."""
PROBE_STEPS, PROBE_CELLS, PROBE_HIDDEN = 600, 8192, 64


@dataclass(frozen=True)
class Scores:
    """Of one arm, seed and probe: by patient, None where undefined."""

    nsd: dict[str, float | None]
    dice: dict[str, float]
    reference_px: dict[str, int]


@dataclass(frozen=True)
class Unit:
    """What is kept of an arm and seed; `loss` is the last of the upsampler's training, None without one."""

    linear: Scores
    two_layer: Scores
    loss: float | None


class Bilinear(nn.Module):
    """Interpolation to the cells' grid, with an upsampler's call."""

    def forward(self, source: Float[Tensor, "b c h w"], guidance: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b c H W"]:
        return functional.interpolate(source, guidance.shape[-2:], mode="bilinear", align_corners=False)


def main() -> int:
    """Make what is missing, or print the table of what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--split", type=Path)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, help="a folder of results to print")
    parser.add_argument("--against", choices=ARMS, default="bilinear-control", help="the arm to take differences to")
    options = parser.parse_args()
    try:
        if options.table is not None:
            print(table(options.table, options.against))
            return 0
        if options.data is None or options.split is None or options.out is None:
            parser.error("--data, --split and --out are needed")
        decoded, partition = decode(open_dataset(options.data)), Split.load(options.split).fold(options.fold)
        folder = options.out / f"fold-{options.fold}"
        for seed in options.seeds:
            for arm in options.arms:
                kept = folder / f"{arm}-seed-{seed}.json"
                if not kept.is_file():
                    maps = fold_maps(decoded, partition, folder, side=PIXELS.get(arm, SIDE))
                    write_json(kept, asdict(unit(maps, arm, seed, weights=kept.with_suffix(".safetensors"))))
                    print(f"{arm} seed {seed}", flush=True)
        print(table(options.out, options.against))
    except SegmedError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def unit(maps: Maps, arm: str, seed: int, *, weights: Path) -> Unit:
    """Train an arm's upsampler, then both probes on it, and score them."""
    torch.manual_seed(seed)
    upsampler, loss = Bilinear(), None
    if arm not in PIXELS:
        upsampler, loss = train_upsampler(maps, arm, seed)  # type: ignore[assignment]
        save_file({name: each.contiguous() for name, each in upsampler.state_dict().items()}, weights)
    upsampler.eval()
    training = raised(upsampler, maps.train.features, maps.train.guidance)
    cells = training.permute(0, 2, 3, 1).reshape(-1, CHANNELS)
    probes = {name: train_probe(cells, maps.train.share.reshape(-1), name, seed) for name in PROBES}
    limits = {name: threshold(probe, training, maps.train.masks) for name, probe in probes.items()}
    tested = raised(upsampler, maps.test.features, maps.test.guidance)
    scored = [score(probes[name], limits[name], tested, maps) for name in PROBES]
    return Unit(scored[0], scored[1], loss)


def train_upsampler(maps: Maps, kind: str, seed: int) -> tuple[GuidedUpsampler, float]:
    """An upsampler after its steps, and the mean loss of its last tenth."""
    upsampler = GuidedUpsampler(kind, CHANNELS, 2)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(upsampler.parameters(), lr=RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share_of_peak(step, STEPS))
    losses = []
    for _ in range(STEPS):
        chosen = torch.randint(len(maps.target), (BATCH,), generator=generator)
        found = upsampler(maps.train.features[chosen].float(), maps.train.guidance[chosen].float())
        loss = feature_distance(found, maps.target[chosen].float())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(upsampler.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return upsampler, float(np.mean(losses[-max(STEPS // 10, 1) :]))


def share_of_peak(step: int, steps: int) -> float:
    """One tenth of linear warm-up, then half a cosine to a hundredth."""
    warm = max(steps // 10, 1)
    if step < warm:
        return (step + 1) / warm
    return float(0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * (step - warm) / max(steps - warm, 1))))


@torch.inference_mode()
def raised(
    upsampler: nn.Module, features: Float[Tensor, "n c h w"], guidance: Float[Tensor, "n 3 H W"]
) -> Float[Tensor, "n c H W"]:
    """All maps raised, in half precision to save memory."""
    parts = zip(features.split(8), guidance.split(8), strict=True)
    return torch.cat([upsampler(each.float(), image.float()).half() for each, image in parts])


def train_probe(cells: Float[Tensor, "n c"], share: Float[Tensor, " n"], name: str, seed: int) -> nn.Module:
    """A probe of single cells, trained on random ones."""
    torch.manual_seed(seed)
    probe = nn.Linear(CHANNELS, 1) if name == "linear" else _two_layers()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share_of_peak(step, PROBE_STEPS))
    for _ in range(PROBE_STEPS):
        chosen = torch.randint(len(cells), (PROBE_CELLS,), generator=generator)
        logits = probe(cells[chosen].float())[:, 0]
        loss = functional.binary_cross_entropy_with_logits(logits, share[chosen].float())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return probe


def _two_layers() -> nn.Module:
    return nn.Sequential(nn.Linear(CHANNELS, PROBE_HIDDEN), nn.ReLU(), nn.Linear(PROBE_HIDDEN, 1))


@torch.inference_mode()
def probabilities(probe: nn.Module, maps: Float[Tensor, "n c H W"], side: int) -> Float[Tensor, "n s s"]:
    """A probe's answer on the masks' grid."""
    logits = probe(maps.float().permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    found: Tensor = functional.interpolate(logits, (side, side), mode="bilinear", align_corners=False)[:, 0].sigmoid()
    return found


def threshold(probe: nn.Module, maps: Float[Tensor, "n c H W"], masks: Bool[Tensor, "n s s"]) -> float:
    """The probability from 0.05 to 0.95 with the best Dice of all training pixels together."""
    limits = torch.arange(1, 20) / 20
    overlap, marked = torch.zeros(len(limits)), torch.zeros(len(limits))
    for part, mask in zip(maps.split(16), masks.split(16), strict=True):
        found = probabilities(probe, part, mask.shape[-1])
        for index, limit in enumerate(limits):
            above = found >= limit
            overlap[index] += (above & mask).sum()
            marked[index] += above.sum()
    return float(limits[(2 * overlap / (marked + masks.sum())).argmax()])


def score(probe: nn.Module, limit: float, maps: Float[Tensor, "n c H W"], fold: Maps) -> Scores:
    """NSD at 1 px over shared slices and volumetric Dice of every test patient, and how large the tumour is."""
    masks = fold.test.masks
    found = torch.cat([probabilities(probe, part, masks.shape[-1]) >= limit for part in maps.split(16)]).numpy()
    scores = Scores({}, {}, {})
    for patient in sorted(set(fold.test.patients)):
        chosen = [index for index, each in enumerate(fold.test.patients) if each == patient]
        truth, guess = masks.numpy()[chosen], found[chosen]
        nsd = surface_scores(list(truth), list(guess), tolerances=(1.0,)).nsd_shared[0]
        scores.nsd[patient] = None if np.isnan(nsd) else nsd
        scores.dice[patient] = dice(count(truth, guess))
        scores.reference_px[patient] = int(truth.sum())
    return scores


def table(out: Path, against: str = "bilinear-control") -> str:
    """Means over patients and seeds, and differences to one arm, with intervals that hold for other seeds."""
    lines = [
        f"| Probe | Arm | Seeds | NSD 1 px, shared | Dice | Dice, smallest third | NSD - {against} | Dice - {against} |"
    ]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for probe in PROBES:
        units = {arm: _kept(out, arm, probe) for arm in ARMS}
        base = units[against]
        for arm, found in units.items():
            if found:
                row = [probe, arm, str(len(_seeds(out, arm))), _mean(found, "nsd"), _mean(found, "dice")]
                row.append(_mean([_smallest(each) for each in found], "dice"))
                both = arm != against and base
                row += [_difference(found, base, metric) if both else "" for metric in ("nsd", "dice")]
                lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _kept(out: Path, arm: str, probe: str) -> list[Scores]:
    """The scores of every seed that all folds have, patients of the folds together."""
    by_seed = []
    for seed in _seeds(out, arm):
        units = [
            read_json(path, Unit, what="a unit of the experiment", remedy="Delete it and run again.")
            for path in sorted(out.glob(f"fold-*/{arm}-seed-{seed}.json"))
        ]
        chosen = [each.linear if probe == "linear" else each.two_layer for each in units]
        joined = Scores({}, {}, {})
        for each in chosen:
            joined.nsd.update(each.nsd)
            joined.dice.update(each.dice)
            joined.reference_px.update(each.reference_px)
        by_seed.append(joined)
    return by_seed


def _seeds(out: Path, arm: str) -> list[int]:
    folds = len(list(out.glob("fold-*")))
    paths = [path.stem.rsplit("-", 1)[1] for path in out.glob(f"fold-*/{arm}-seed-*.json")]
    return sorted(int(seed) for seed in set(paths) if paths.count(seed) == folds)


def _rows(scores: Sequence[Scores], metric: str) -> Float[np.ndarray, "s p"]:
    rows = [[getattr(each, metric)[patient] for patient in sorted(each.nsd)] for each in scores]
    return np.array(rows, dtype=np.float64)  # None becomes NaN


def _mean(scores: Sequence[Scores], metric: str) -> str:
    found = interval_over_seeds(_rows(scores, metric))
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _difference(ours: Sequence[Scores], theirs: Sequence[Scores], metric: str) -> str:
    found = interval_over_seeds(_rows(ours, metric), _rows(theirs, metric))
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _smallest(scores: Scores) -> Scores:
    limit = np.quantile(list(scores.reference_px.values()), 1 / 3)
    few = [patient for patient, pixels in scores.reference_px.items() if pixels <= limit]
    return Scores(*({each: part[each] for each in few} for part in (scores.nsd, scores.dice, scores.reference_px)))


if __name__ == "__main__":
    sys.exit(main())
