"""A line of metrics.csv is a value that a checkpoint of any version continues from."""

import math

from segmed.training.epoch_row import COLUMNS, EpochRow

ROW = EpochRow(3, 40, 0.5, 0.25, 0.75, 0.4, 1e-3, 12.5, 10.0)


def test_a_row_comes_back_from_its_columns() -> None:
    assert tuple(ROW.to_columns()) == COLUMNS
    assert EpochRow.from_columns(ROW.to_columns()) == ROW


def test_a_row_from_before_processor_time_was_kept_reads() -> None:
    values = ROW.to_columns()
    del values["cpu_seconds"]
    read = EpochRow.from_columns(values)
    assert (read.epoch, read.validation_dice, math.isnan(read.cpu_seconds)) == (3, 0.75, True)
