"""Degraded test images: what each kind does is known, and the same every time."""

import numpy as np
import pytest

from segmed.core.errors import ConfigError
from segmed.data.degrade import KINDS, Degradation, degrade_volume, parse_degradations


def volume(dtype: type = np.float64, size: tuple[int, int] = (32, 41)) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {f"c{z}": (40 + 100 * rng.random((*size, 2))).astype(dtype) for z in range(2)}


def degraded(text: str, slices: dict[str, np.ndarray], patient: str = "p") -> dict[str, np.ndarray]:
    (degradation,) = parse_degradations(text)
    return degrade_volume(slices, degradation, patient=patient)


@pytest.mark.parametrize("kind", KINDS)
def test_a_severity_of_none_changes_nothing(kind: str) -> None:
    before = volume()
    after = degrade_volume(before, Degradation(kind, KINDS[kind].none), patient="p")
    assert all(np.allclose(after[slice_id], before[slice_id]) for slice_id in before)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_a_degraded_image_keeps_dtype_shape_and_background_and_is_the_same_again(kind: str, dtype: type) -> None:
    before = volume(dtype)
    before["c1"][:9] = 0
    before["c0"][..., 1] = 0  # a sequence that is missing
    first, second = (degrade_volume(before, Degradation(kind, KINDS[kind].severities[-1]), patient="p") for _ in "12")
    for slice_id, image in before.items():
        assert (first[slice_id].dtype, first[slice_id].shape) == (image.dtype, image.shape)
        assert np.array_equal(first[slice_id], second[slice_id])
        assert (first[slice_id][image == 0] == 0).all()
        assert not np.array_equal(first[slice_id], image)


@pytest.mark.parametrize("kind", KINDS)
def test_worse_severities_change_more(kind: str) -> None:
    before = volume()
    changes = [
        np.abs(degrade_volume(before, Degradation(kind, s), patient="p")["c0"] - before["c0"]).mean()
        for s in KINDS[kind].severities
    ]
    assert changes == sorted(changes)
    assert changes[0] > 0


def test_a_low_pass_leaves_nothing_beyond_its_share_of_k_space() -> None:
    spectrum = np.abs(np.fft.fft2(degraded("lowpass:0.5", volume())["c0"][..., 0]))
    down, right = (np.abs(np.fft.fftfreq(side)) for side in spectrum.shape)
    outside = (down[:, None] > 0.25) | (right[None, :] > 0.25)
    assert spectrum[outside].max() < 1e-6 * spectrum.max()
    assert spectrum[~outside].min() > 0


def test_a_ghost_is_a_copy_a_quarter_of_the_height_away() -> None:
    image = np.full((32, 20, 1), 1e-9)
    image[16, 7] = 100.0
    ghosts = degraded("ghost:0.2", {"c": image})["c"][..., 0]
    assert ghosts[8, 7] == pytest.approx(20.0)
    assert ghosts[24, 7] == pytest.approx(20.0)
    assert ghosts[16, 7] == pytest.approx(100.0)
    assert ghosts[15, 7] == pytest.approx(0.0, abs=1e-6)


def test_noise_is_rician_and_other_in_every_slice_and_sequence() -> None:
    flat = {slice_id: np.full((64, 64, 2), 100.0) for slice_id in ("a", "b")}
    noisy = degraded("noise:0.5", flat)
    first, others = noisy["a"][..., 0], (noisy["a"][..., 1], noisy["b"][..., 0])
    assert (first**2).mean() == pytest.approx(100**2 + 2 * 50**2, rel=0.05)  # the second moment of Rice's distribution
    assert all(abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.1 for other in others)


def spectrum_of(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    down, right = (np.fft.fftfreq(side) for side in image.shape)
    return np.hypot(down[:, None], right[None, :]), np.abs(np.fft.fft2(image))


def test_band_gains_are_a_curve_over_the_radius_of_the_patient_that_keeps_the_mean() -> None:
    before = volume(size=(64, 81))
    after = degraded("bandgain:1.1", before)
    radius, first = spectrum_of(before["c0"][..., 0])
    gain = np.log(spectrum_of(after["c0"][..., 0])[1] / first)
    assert abs(gain[0, 0]) < 1e-9
    assert np.abs(gain).max() == pytest.approx(1.1, abs=0.03)
    ring = gain[np.abs(radius - 0.2) < 0.004]
    assert np.ptp(ring) < 0.2
    assert np.allclose(gain[radius > 0.25], gain[radius > 0.25][0])
    other = np.log(spectrum_of(after["c1"][..., 1])[1] / spectrum_of(before["c1"][..., 1])[1])
    assert np.allclose(other, gain)
    assert not np.allclose(degraded("bandgain:1.1", before, patient="q")["c0"], after["c0"])


def test_ring_noise_lies_in_one_ring_and_is_as_strong_as_said() -> None:
    flat = {slice_id: np.full((96, 80, 1), 100.0) for slice_id in ("a", "b")}
    noisy = degraded("ringnoise:0.1", flat)
    assert (noisy["a"] - 100).std() == pytest.approx(10, rel=0.01)
    radius, power = spectrum_of(noisy["a"][..., 0] - 100)
    peak = radius.flat[power.argmax()]
    assert 0.03 < peak < 0.23
    assert (power**2)[np.abs(radius - peak) > 0.08].sum() < 0.05 * (power**2).sum()
    assert not np.allclose(noisy["a"], noisy["b"])


def test_a_bias_field_is_one_for_a_patient_smooth_and_as_strong_as_said() -> None:
    flat = {slice_id: np.full((40, 50, 2), 100.0) for slice_id in ("a", "b")}
    biased = degraded("bias:0.4", flat)
    field = np.log(biased["a"][..., 0] / 100)
    assert np.abs(field).max() == pytest.approx(0.4)
    assert np.abs(np.diff(field, axis=0)).max() < 0.1
    assert np.allclose(biased["a"], biased["b"])
    assert not np.allclose(biased["a"], degraded("bias:0.4", flat, patient="q")["a"])


def test_degradations_are_read_with_or_without_severity() -> None:
    assert [str(each) for each in parse_degradations("lowpass:0.5, ghost:0.20")] == ["lowpass:0.5", "ghost:0.2"]
    assert parse_degradations("noise")[0] == Degradation("noise", 0.05)
    assert len(parse_degradations("all,noise:0.05")) == 18
    assert Degradation("lowpass", 0.5).label == "lowpass-0.5"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blur:1", "--degrade blur:1: unknown. Choose from: all, lowpass, ghost, noise, bandgain, ringnoise, bias"),
        ("lowpass:0", "share of k-space kept along each axis, a number from 0.05 to 1"),
        ("noise:much", "--degrade noise:much: deviation as a share"),
    ],
)
def test_unknown_degradations_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        parse_degradations(text)
