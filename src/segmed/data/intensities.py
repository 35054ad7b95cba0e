"""Which intensities of a data set count as black and white, where the preprocessing depends on it."""

from dataclasses import replace

import numpy as np

from segmed.core.intensity import extremes, scale_holding
from segmed.data.decoded import DecodedDataset
from segmed.preprocess import PreprocessConfig


def fit_intensities(config: PreprocessConfig, data: DecodedDataset) -> PreprocessConfig:
    """The preprocessing with `intensity_range` measured over all images of the data, where it needs one and has none.

    What is measured is kept with the run, so that prediction scales other images by the same.
    """
    if config.normalisation != "imagenet" or config.intensity_range is not None:
        return config
    slice_ids = [record.slice_id for record in data.dataset.records]
    dtype = np.result_type(*{data.dtype(slice_id) for slice_id in slice_ids})
    if dtype == np.uint8:
        return replace(config, intensity_range=scale_holding(0.0, 255.0, dtype))
    channels = slice(None) if config.channels is None else list(config.channels)
    ends = [extremes([data.image(slice_id)[..., channels]]) for slice_id in slice_ids]
    lows, highs = zip(*ends, strict=True)
    return replace(config, intensity_range=scale_holding(min(lows), max(highs), dtype))


def range_note(config: PreprocessConfig) -> str | None:
    """What to say of a scale that is not that of 8-bit pictures; None of any other."""
    if config.intensity_range in (None, (0.0, 255.0)):
        return None
    low, high = config.intensity_range
    return (
        f"ImageNet's statistics are of pictures: {low:g} counts as black and {high:g} as white in these images. "
        "Another window is preprocess.intensity_range=[low,high]."
    )
