"""Where systems may fail: patients with a missing sequence, in LGG data, and the third with the smallest tumours.

Both are groups of the out-of-fold predictions that are there already; nothing is trained for them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segmed.core.errors import SegmedError
from segmed.core.files import write_json
from segmed.core.reading import read_json
from segmed.core.records import by_patient, by_volume
from segmed.data.decoded import DecodedDataset
from segmed.data.layouts.lgg import copies_of_flair, is_lgg
from segmed.evaluation.compare import shared_patients
from segmed.evaluation.groups import Attributes, GroupColumn, GroupTable, group_table, parse_groups
from segmed.evaluation.part import spacing_of as spacing_of_volume
from segmed.evaluation.result import Evaluation
from segmed.evaluation.statistics import RESAMPLES
from segmed.study.run import Study

SEQUENCES, TUMOUR = "sequences", "tumour volume"
THIRDS = ("smallest third", "middle third", "largest third")


def group_tables(
    study: Study, evaluations: tuple[Evaluation, ...], *, resamples: int = RESAMPLES
) -> tuple[list[GroupTable], str]:
    """Tables of the columns asked for and of the two above, and why some are not there (empty where all are)."""
    if not evaluations:
        return [], ""
    patients, _ = shared_patients(evaluations)
    derived = subgroup_attributes(study.data, evaluations[0], study.out / "facts.json")
    columns = list(parse_groups(study.settings.groups)) if study.settings.groups else []
    own = (SEQUENCES, TUMOUR) if is_lgg(study.data.dataset) else (TUMOUR,)
    columns += [GroupColumn((name,)) for name in own]
    tables: list[GroupTable] = []
    reasons = []
    for column in columns:
        try:
            found = [group_table(each, column, derived, patients=patients, resamples=resamples) for each in evaluations]
        except SegmedError as error:
            reasons.append(str(error))
            continue
        if len(found[0].groups) > 1:
            tables += found
    return tables, " ".join(reasons)


def subgroup_attributes(data: DecodedDataset, evaluation: Evaluation, kept: Path) -> Attributes:
    """The data's attributes, whether a sequence of LGG's is missing, and the third of volumes its tumour is in.

    What is found out about LGG's sequences is kept in the file `kept`.
    """
    missing = _missing_sequences(data, kept) if is_lgg(data.dataset) else {}
    volume = _volumes(data, evaluation)
    limits = np.quantile(list(volume.values()), [1 / 3, 2 / 3])
    known = data.dataset.attributes
    return {
        patient: {
            **known.get(patient, {}),
            **({SEQUENCES: missing[patient]} if patient in missing else {}),
            TUMOUR: THIRDS[int(np.searchsorted(limits, size))],
        }
        for patient, size in volume.items()
    }


def _volumes(data: DecodedDataset, evaluation: Evaluation) -> dict[str, float]:
    """The reference of each patient: in cubic millimetres where the spacing of all volumes is known, else in pixels."""
    spacing_of = {volume: spacing_of_volume(data, volume) for volume in by_volume(data.dataset.records)}
    voxel = {
        record.slice_id: math.prod(spacing)
        for record in data.dataset.records
        if (spacing := spacing_of[record.volume]) is not None
    }
    volume = dict.fromkeys((row.patient for row in evaluation.patients), 0.0)
    if all(row.slice_id in voxel for row in evaluation.slices):
        for part in evaluation.slices:
            volume[part.patient] += part.reference_px * voxel[part.slice_id]
        return volume
    for row in evaluation.patients:
        volume[row.patient] += row.reference_px
    return volume


@dataclass(frozen=True)
class _Kept:
    """What the file of facts holds."""

    data_hash: str
    sequences: dict[str, str]


def _missing_sequences(data: DecodedDataset, kept: Path) -> Mapping[str, str]:
    """`complete` or `one missing` (or two) by patient, see `lgg.copies_of_flair`.

    The result is kept in a file with the data's hash, since every pixel is read for it.
    """
    if kept.is_file():
        facts = read_json(kept, _Kept, what="facts of the data set", remedy="Delete it and run again.")
        if facts.data_hash == data.data_hash:
            return facts.sequences
    found: dict[str, str] = {}
    for patient, records in by_patient(data.dataset.records).items():
        copies = np.array([copies_of_flair(data.image(record.slice_id)) for record in records])
        found[patient] = "one missing" if copies.all(axis=0).any() else "complete"
    write_json(kept, {"data_hash": data.data_hash, "sequences": found})
    return found
