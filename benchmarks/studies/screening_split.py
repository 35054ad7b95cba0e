"""A split to choose settings on: of one fold's training and validation patients a third validates, none is tested anew.

python benchmarks/studies/screening_split.py --data DATA --split folds.json --fold 0 --out screen.json

The fold's test patients stay its test patients. Of the others, ordered by tumour volume, every third validates,
beginning with the second smallest, so that both parts have small and large tumours.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from segmed.core.split import Partition, Split
from segmed.data.decoded import DecodedDataset, decode
from segmed.data.sources import open_dataset


def screening_split(decoded: DecodedDataset, split: Split, fold: int) -> Split:
    """The split described above, of one fold."""
    chosen = split.fold(fold)
    untested = {*chosen.train, *chosen.validation}
    slice_ids = [slice_id for slice_id in split.patient_of if slice_id in untested]
    volume: dict[str, int] = {}
    for slice_id in slice_ids:
        patient = split.patient_of[slice_id]
        volume[patient] = volume.get(patient, 0) + int(np.count_nonzero(decoded.mask(slice_id)))
    validates = set(sorted(volume, key=lambda patient: (volume[patient], patient))[1::3])
    train, validation = (
        tuple(slice_id for slice_id in slice_ids if (split.patient_of[slice_id] in validates) == wanted)
        for wanted in (False, True)
    )
    return replace(split, folds=(Partition(train, validation, chosen.test),))


def main() -> None:
    """Write the split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    decoded = decode(open_dataset(arguments.data))
    screening_split(decoded, Split.load(arguments.split), arguments.fold).save(arguments.out)


if __name__ == "__main__":
    main()
