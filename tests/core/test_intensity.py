"""The scale of stored intensities is told by the bits in use, and a difference is one whatever the unit."""

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.core.intensity import require_scale, scale_holding, span_of


@pytest.mark.parametrize(
    ("low", "high", "dtype", "expected"),
    [
        (3, 90, "uint8", (0, 255)),
        (0, 62258, "uint16", (0, 65535)),
        (0, 3890, "uint16", (0, 4095)),
        (0, 4200, "uint16", (0, 4095)),
        (0, 4400, "uint16", (0, 8191)),
        (-740, 900, "int16", (-1024, 1023)),
        (-2000, 1400, "int16", (-2048, 2047)),
        (-3, 900, "int16", (0, 1023)),
        (0, 0.95, "float32", (0, 1)),
        (-0.02, 1.03, "float32", (0, 1)),
        (-0.9, 0.95, "float32", (-1, 1)),
        (0, 243.0, "float32", (0, 255)),
        (0, 3e-3, "float64", (0, 2.0**-8)),
        (0, 0, "uint16", (0, 65535)),
        (0, 0, "float32", (0, 1)),
    ],
)
def test_black_and_white_are_those_of_the_fewest_bits(
    low: float, high: float, dtype: str, expected: tuple[float, float]
) -> None:
    assert scale_holding(float(low), float(high), np.dtype(dtype)) == expected


@pytest.mark.parametrize("unit", [1e-30, 1e-9, 1.0, 1e12])
def test_a_span_is_a_span_in_any_unit(unit: float) -> None:
    assert span_of(2 * unit, 5 * unit) == pytest.approx(3 * unit)
    assert span_of(5 * unit, 5 * unit * (1 + 1e-7)) == 1.0


GREY = np.arange(1, 101).reshape(10, 10, 1)


@pytest.mark.parametrize(
    ("image", "known", "message"),
    [
        ((GREY * 40).astype(np.uint16), (0, 255), "Most of the image is brighter than white: it reaches 4000"),
        (GREY.astype(np.uint8), (0, 1), "Most of the image is brighter than white: it reaches 100"),
        (GREY.astype(np.uint8), (0, 4095), "The image has 8 bits"),
        (GREY.astype(np.uint8), (-1024, 1023), "The image has 8 bits"),
        ((GREY / 100).astype(np.float32), (0, 255), "The image reaches from 0.01 to 1, but"),
    ],
)
def test_an_image_of_another_scale_is_refused(image: np.ndarray, known: tuple[float, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        require_scale([image], (float(known[0]), float(known[1])))


@pytest.mark.parametrize(
    ("image", "known"),
    [
        (GREY.astype(np.uint16), (0, 4095)),  # a dark slice
        (GREY.astype(np.float32), (0, 255)),
        (np.zeros((4, 4, 1), np.float32), (0, 255)),
        ((GREY * 50 - 1000).astype(np.int16), (-160, 4000)),  # air is below a window, as it should be
    ],
)
def test_dark_blank_and_windowed_images_are_not(image: np.ndarray, known: tuple[float, float]) -> None:
    require_scale([image], (float(known[0]), float(known[1])))
