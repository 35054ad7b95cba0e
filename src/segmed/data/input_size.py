"""How large the network's input is where the preprocessing fixes the spacing and the data decide the size."""

from dataclasses import replace

from segmed.core.errors import DataError
from segmed.core.records import by_volume
from segmed.data.decoded import DecodedDataset
from segmed.preprocess import Preprocess, PreprocessConfig


def fit_size(config: PreprocessConfig, data: DecodedDataset) -> PreprocessConfig:
    """The preprocessing with `size` enlarged to hold every slice of the data, where it has a `spacing`.

    What is found is kept with the run. No pixel is read.

    Raises:
        DataError: A volume whose spacing is not known, or for which `spacing` is absurdly small.
    """
    if config.spacing is None:
        return config
    preprocess, heights, widths = Preprocess(config), [1], [1]
    for volume, records in by_volume(data.dataset.records).items():
        try:
            height, width = preprocess.network_size(data.shape(records[0].slice_id), data.pixel_spacing(volume))
        except DataError as error:
            raise DataError(f"{records[0].image}: {error}") from error
        heights.append(height)
        widths.append(width)
    return replace(config, size=(max(heights), max(widths)))
