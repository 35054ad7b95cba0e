"""What the best filter that knows a spectral shift would win back: the gate of experiment C.

    python benchmarks/studies/shift_gate.py RUN --data DATA --out gate.json [--part validation]

A finished run's masks on clean images, under every stated severity of `bandgain` and `ringnoise`, and under these
followed by the filter: the exact inverse of the patient's gains, or the Wiener filter of the patient's ring with the
clean images' power at every radius. Dice by patient is kept in OUT after every condition, and a second call goes on.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Shaped

from segmed.core.errors import ConfigError, DataError, SegmedError
from segmed.core.files import write_json
from segmed.core.split import PartName
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.degrade import KINDS, Degradation, band_curve, degrade_volume, radius, ring_profile
from segmed.data.sources import open_dataset
from segmed.evaluation.run import plan_evaluation
from segmed.evaluation.statistics import bootstrap_ci
from segmed.inference import load
from segmed.inference.base import VolumePredictor
from segmed.metrics.counts import count, dice

SHIFTS = ("bandgain", "ringnoise")
BINS = 64
"""Steps of the radius in which a volume's power is averaged, up to the corner of the spectrum."""
NEEDED = 0.02
"""Dice that the filter has to win back at the worst severity."""

Volume = Mapping[str, Shaped[np.ndarray, "h w c"]]
Scores = dict[str, dict[str, float]]
"""Dice by condition and patient."""


def main() -> int:
    """Score what is not scored yet, and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the scores")
    parser.add_argument("--part", choices=("test", "validation"), default="test")
    options = parser.parse_args()
    try:
        predictor = load(options.run)
        decoded = decode(open_dataset(options.data))
        scores: Scores = json.loads(options.out.read_text()) if options.out.is_file() else {}
        for name, degradation, restored in conditions():
            if name not in scores:
                scores[name] = score(predictor, decoded, options.part, degradation, restored=restored)
                options.out.parent.mkdir(parents=True, exist_ok=True)
                write_json(options.out, scores)
                print(f"{name}: {np.mean(list(scores[name].values())):.3f}", flush=True)
    except SegmedError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(verdict(scores))
    return 0


def conditions() -> list[tuple[str, Degradation | None, bool]]:
    """Name, degradation and whether the filter follows; the worst severities first, since they decide."""
    shifts = [Degradation(kind, severity) for kind in SHIFTS for severity in KINDS[kind].severities]
    shifts.sort(key=lambda each: KINDS[each.kind].severities.index(each.severity), reverse=True)
    pairs = [(f"{each}{' restored' if also else ''}", each, also) for each in shifts for also in (False, True)]
    return [("clean", None, False), *pairs]


def score(
    predictor: VolumePredictor,
    decoded: DecodedDataset,
    part: PartName,
    degradation: Degradation | None,
    *,
    restored: bool,
) -> dict[str, float]:
    """Volumetric Dice of every patient of the run's part."""
    plan = plan_evaluation(predictor.folder, predictor.config, decoded, split=None, fold=None, part=part)
    slice_ids = set(plan.split.fold(plan.fold).part(part))
    volumes: dict[str, list[str]] = {}
    for record in decoded.dataset.records:
        if record.slice_id in slice_ids:
            volumes.setdefault(record.volume, []).append(record.slice_id)
    if not volumes:
        raise DataError(f"{predictor.folder}: the split has no {part} patients.")
    scores = {}
    for name, members in volumes.items():
        clean = {slice_id: np.array(decoded.image(slice_id)) for slice_id in members}
        images: Volume = clean
        if degradation is not None:
            images = degrade_volume(clean, degradation, patient=name)
            if restored:
                images = restore(images, clean, degradation, patient=name)
        masks = predictor.predict_volume([images[slice_id] for slice_id in members])
        reference = np.stack([decoded.mask(slice_id) for slice_id in members])
        scores[name] = dice(count(reference > 0, np.stack([mask.array for mask in masks]) > 0))
    return scores


def restore(images: Volume, clean: Volume, degradation: Degradation, *, patient: str) -> dict[str, np.ndarray]:
    """The degraded slices after the filter that knows the shift, as floats; the background stays 0."""
    first = next(iter(images.values()))
    if degradation.kind == "bandgain":
        gain = np.exp(-degradation.severity * band_curve(first.shape[:2], patient))
        return {slice_id: _filtered(image, gain[..., None]) for slice_id, image in images.items()}
    if degradation.kind == "ringnoise":
        gain = wiener(images, clean, ring_profile(first.shape[:2], patient))
        return {slice_id: _filtered(image, gain) for slice_id, image in images.items()}
    raise ConfigError(f"{degradation}: no filter of the spectrum is known for it. Choose from: {', '.join(SHIFTS)}.")


def wiener(images: Volume, clean: Volume, ring: Float64[np.ndarray, "h w"]) -> Float64[np.ndarray, "h w c"]:
    """Signal over signal and noise at every frequency, both as mean power of the volume at that radius."""
    height, width = ring.shape
    place = np.minimum((radius((height, width)) / np.sqrt(0.5) * BINS).astype(int), BINS - 1)
    members = np.bincount(place.ravel(), minlength=BINS).clip(min=1)

    def power(volume: list[np.ndarray]) -> np.ndarray:
        spectra = np.mean([np.abs(np.fft.fft2(each.astype(np.float64), axes=(0, 1))) ** 2 for each in volume], axis=0)
        means = [np.bincount(place.ravel(), spectra[..., c].ravel(), BINS) / members for c in range(spectra.shape[-1])]
        return np.stack([each[place] for each in means], axis=-1)

    signal = power(list(clean.values()))
    noise = power([images[slice_id].astype(np.float64) - clean[slice_id] for slice_id in clean])
    return np.where(ring[..., None] > 1e-3, signal / np.maximum(signal + noise, 1e-12), 1.0)


def verdict(scores: Scores) -> str:
    """A line for every shift: Dice as it is and restored, what is won back, its interval, and whether it is enough."""
    lines = [f"clean: {np.mean(list(scores['clean'].values())):.3f}"]
    for kind in SHIFTS:
        for severity in KINDS[kind].severities:
            name = str(Degradation(kind, severity))
            worse, better = scores[name], scores[f"{name} restored"]
            won = bootstrap_ci(np.array([better[each] - worse[each] for each in worse]))
            worst = severity == KINDS[kind].severities[-1]
            closed = "" if not worst else ", open" if won.value >= NEEDED else ", closed"
            lines.append(
                f"{name}: {np.mean(list(worse.values())):.3f} restored {np.mean(list(better.values())):.3f}, "
                f"won back {won.value:+.3f} [{won.low:+.3f}, {won.high:+.3f}]{closed}"
            )
    return "\n".join(lines)


def _filtered(image: Shaped[np.ndarray, "h w c"], gain: Float64[np.ndarray, "h w _"]) -> np.ndarray:
    """Negative values of the result are 0, as an intensity has none."""
    spectrum = np.fft.fft2(image.astype(np.float64), axes=(0, 1)) * gain
    return np.where(image == 0, 0.0, np.fft.ifft2(spectrum, axes=(0, 1)).real.clip(min=0)).astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
