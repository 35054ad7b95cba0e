"""Settings are chosen on patients that the fold does not test."""

from pathlib import Path

import numpy as np
from screening_split import screening_split

from segmed.data.splits import split_by_patient
from toydata import toy


def test_a_third_of_the_untested_patients_validates_large_and_small_tumours_alike(tmp_path: Path) -> None:
    data = toy(tmp_path)
    split = split_by_patient(data, ratios=(0.6, 0.2, 0.2))
    before, after = split.fold(0), screening_split(data, split, 0).fold(0)
    assert after.test == before.test
    assert sorted((*after.train, *after.validation)) == sorted((*before.train, *before.validation))
    volume = {
        patient: sum(
            np.count_nonzero(data.mask(slice_id))
            for slice_id in split.patient_of
            if split.patient_of[slice_id] == patient
        )
        for patient in {split.patient_of[slice_id] for slice_id in (*before.train, *before.validation)}
    }
    ordered = sorted(volume, key=lambda patient: (volume[patient], patient))
    assert {split.patient_of[slice_id] for slice_id in after.validation} == set(ordered[1::3])
