"""Test images made worse on purpose, in the ways in which an MR acquisition goes wrong; the same every time.

All work on one patient's slices together, from the stored pixels, before anything else is done to them. What is
exactly 0 in a sequence stays 0: brains are cut out of their background after the acquisition, not before it, and 0 is
how the background is known. Chance comes from slice or patient alone and not from the severity, so that a rising
severity is the same accident getting worse.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

from segmed.core.errors import ConfigError
from segmed.core.image import Size

Slice = Float64[np.ndarray, "h w c"]
GHOST_PERIOD = 4
"""Ghosts lie a quarter of the image's height away from what they copy."""
GAIN_KNOTS = 5
"""Numbers of a band gain's curve, besides that of frequency 0."""
HALF_SIZE = 0.25
"""The highest frequency, in cycles per pixel, that an image of half the size has."""
RING_RADII, RING_WIDTH = (0.06, 0.2), 0.02
"""Where rings of noise lie, and the deviation of their profile, in cycles per pixel."""
BIAS_WAVES = 2
"""Half waves of the bias field across an image, along each axis, at most."""


@dataclass(frozen=True)
class Degradation:
    """A kind and how bad it is; `label` is its name in folders, `str` the one on the command line."""

    kind: str
    severity: float

    @property
    def label(self) -> str:
        """Such as lowpass-0.5."""
        return f"{self.kind}-{self.severity:g}"

    @property
    def order(self) -> tuple[int, float]:
        """For sorting: kinds as they are listed, and of each the mildest first."""
        return list(KINDS).index(self.kind), abs(self.severity - KINDS[self.kind].none)

    def __str__(self) -> str:
        return f"{self.kind}:{self.severity:g}"


@dataclass(frozen=True)
class Kind:
    """What a kind does, what its severity means, which severities are stated, and between which it may lie."""

    change: Callable[[Slice, float, float, str, str], Slice]
    meaning: str
    severities: tuple[float, ...]
    low: float
    high: float
    none: float
    """The severity that changes nothing."""


def lowpass(image: Slice, severity: float, level: float, slice_id: str, patient: str) -> Slice:
    """Keep the middle `severity` of k-space along both axes, zeros elsewhere; the magnitude of what is left."""
    inside = [np.abs(np.fft.fftfreq(side)) <= severity / 2 for side in image.shape[:2]]
    return _through_k_space(image, np.outer(*inside).astype(np.float64))


def ghost(image: Slice, severity: float, level: float, slice_id: str, patient: str) -> Slice:
    """Modulate the phase-encoding lines (rows of k-space) with a period of `GHOST_PERIOD` lines.

    `1 + 2 s cos(2 pi k / p + phi)` adds two copies, `s` as bright and shifted by 1/p of the height up and down, with
    opposite phases, which come from the patient.
    """
    phase = _generator("ghost", patient).uniform(0, 2 * np.pi)
    lines = np.round(np.fft.fftfreq(image.shape[0]) * image.shape[0])
    return _through_k_space(image, (1 + 2 * severity * np.cos(2 * np.pi * lines / GHOST_PERIOD + phase))[:, None])


def noise(image: Slice, severity: float, level: float, slice_id: str, patient: str) -> Slice:
    """Rician noise (Gudbjartsson & Patz, MRM 1995): the magnitude after Gaussian noise in both parts.

    Its deviation is `severity` times `level`, the volume's brightness.
    """
    real, imaginary = severity * level * _generator("noise", slice_id).standard_normal((2, *image.shape))
    return np.hypot(image + real, imaginary)


def bandgain(image: Slice, severity: float, level: float, slice_id: str, patient: str) -> Slice:
    """Multiply the spectrum by `exp(severity g)`, as a scanner's sharpening or smoothing filter does.

    `g` is the patient's curve over the radius of the frequency, from -1 to 1 and 0 at frequency 0. It changes what a
    network at half the image's size sees, and stays level beyond.
    """
    return _through_k_space(image, np.exp(severity * band_curve(image.shape[:2], patient)))


def ringnoise(image: Slice, severity: float, level: float, slice_id: str, patient: str) -> Slice:
    """Add noise whose frequencies lie in one ring, of the patient, within what a network at half the size sees.

    Its deviation is `severity` times `level`, the volume's brightness; the magnitude is kept.
    """
    white = _generator("ringnoise", slice_id).standard_normal(image.shape[:2])
    ring = ring_profile(image.shape[:2], patient)
    shaped = np.fft.ifft2(np.fft.fft2(white) * ring).real
    return np.abs(image + (severity * level * shaped / shaped.std())[..., None])


def bias(image: Slice, severity: float, level: float, slice_id: str, patient: str) -> Slice:
    """Multiply by `exp(severity g)`, the same for all slices and sequences of a patient.

    `g` is a smooth field of a few half waves from -1 to 1.
    """
    rng = _generator("bias", patient)
    down, right = (np.linspace(0, np.pi, side) for side in image.shape[:2])
    waves = np.arange(BIAS_WAVES + 1)
    weights = rng.standard_normal((len(waves), len(waves))) / (1 + waves[:, None] + waves[None, :])
    weights[0, 0] = 0.0
    field = np.einsum("ab,ah,bw->hw", weights, np.cos(np.outer(waves, down)), np.cos(np.outer(waves, right)))
    return image * np.exp(severity * field / np.abs(field).max())[..., None]


KINDS: dict[str, Kind] = {
    "lowpass": Kind(lowpass, "share of k-space kept along each axis", (0.35, 0.25, 0.15), 0.05, 1.0, none=1.0),
    "ghost": Kind(ghost, "brightness of each ghost", (0.1, 0.2, 0.4), 0.0, 1.0, none=0.0),
    "noise": Kind(noise, "deviation as a share of the volume's brightness", (0.05, 0.1, 0.2), 0.0, 2.0, none=0.0),
    "bandgain": Kind(bandgain, "largest change of a frequency's log-gain", (0.4, 0.75, 1.1), 0.0, 3.0, none=0.0),
    "ringnoise": Kind(
        ringnoise, "deviation as a share of the volume's brightness", (0.05, 0.1, 0.2), 0.0, 2.0, none=0.0
    ),
    "bias": Kind(bias, "largest change of log-brightness", (0.2, 0.4, 0.8), 0.0, 3.0, none=0.0),
}
"""Name to what it is; `severities` go from mild to bad.

A network at half the image's size does not see what a low-pass of 0.5 or more takes away, so none of these is stated.
"""


def parse_degradations(text: str) -> tuple[Degradation, ...]:
    """Read `lowpass:0.5,ghost:0.2`; a kind without a number stands for its stated severities, `all` for all of these.

    Raises `ConfigError` for unknown kinds and severities beyond a kind's range.
    """
    found: list[Degradation] = []
    for part in text.split(","):
        name, colon, number = part.strip().partition(":")
        if name == "all" and not colon:
            found += [Degradation(kind, severity) for kind, each in KINDS.items() for severity in each.severities]
        elif name not in KINDS:
            raise ConfigError(f"--degrade {part.strip()}: unknown. Choose from: all, {', '.join(KINDS)}.")
        elif not colon:
            found += [Degradation(name, severity) for severity in KINDS[name].severities]
        else:
            found.append(Degradation(name, _severity(name, number)))
    return tuple(dict.fromkeys(found))


def degrade_volume(
    volume: Mapping[str, Shaped[np.ndarray, "..."]], degradation: Degradation, *, patient: str
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The slices (`h w c` each) of a patient by slice, degraded, in their own dtypes.

    Brightness is the 99th percentile of each sequence's non-zero voxels, over all slices that are given.
    """
    kind = KINDS[degradation.kind]
    levels = _levels(list(volume.values()))
    degraded = {}
    for slice_id, image in volume.items():
        planes = [
            kind.change(
                image[..., c : c + 1].astype(np.float64), degradation.severity, level, f"{slice_id} {c}", patient
            )
            for c, level in enumerate(levels)
        ]
        changed = np.where(image == 0, 0.0, np.concatenate(planes, axis=-1))
        degraded[slice_id] = _in_dtype(changed, image.dtype)
    return degraded


def radius(size: Size) -> Float64[np.ndarray, "h w"]:
    """The length of the frequency vector of every bin of the spectrum, in cycles per pixel."""
    down, right = (np.fft.fftfreq(side) for side in size)
    return np.hypot(down[:, None], right[None, :])


def band_curve(size: Size, patient: str) -> Float64[np.ndarray, "h w"]:
    """What `bandgain` multiplies with its severity: a patient's log-gain of every bin of the spectrum, -1 to 1."""
    knots = _generator("bandgain", patient).uniform(-1, 1, GAIN_KNOTS)
    radii = np.linspace(0, HALF_SIZE, GAIN_KNOTS + 1)
    return np.interp(radius(size), radii, [0, *(knots / np.abs(knots).max())])


def ring_profile(size: Size, patient: str) -> Float64[np.ndarray, "h w"]:
    """The ring of `ringnoise` of a patient: the share of the noise's amplitude at every bin of the spectrum, 0 to 1."""
    centre = _generator("ringnoise", patient).uniform(*RING_RADII)
    return np.exp(-0.5 * ((radius(size) - centre) / RING_WIDTH) ** 2)


def _through_k_space(image: Slice, factor: Float64[np.ndarray, "_ _"]) -> Slice:
    spectrum = np.fft.fft2(image, axes=(0, 1)) * factor[..., None]
    return np.abs(np.fft.ifft2(spectrum, axes=(0, 1)))


def _levels(images: list[Shaped[np.ndarray, "..."]]) -> list[float]:
    levels = []
    for channel in range(images[0].shape[-1]):
        values = np.concatenate([image[..., channel].ravel() for image in images])
        values = values[values != 0]
        levels.append(float(np.percentile(values, 99)) if values.size else 0.0)
    return levels


def _in_dtype(values: Slice, dtype: np.dtype[np.generic]) -> Shaped[np.ndarray, "h w c"]:
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype.name)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def _generator(what: str, name: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(f"{what} {name}".encode()).digest()[:8]))


def _severity(name: str, text: str) -> float:
    kind = KINDS[name]
    try:
        severity = float(text)
    except ValueError:
        severity = float("nan")
    if not kind.low <= severity <= kind.high:
        raise ConfigError(f"--degrade {name}:{text}: {kind.meaning}, a number from {kind.low:g} to {kind.high:g}.")
    return severity
