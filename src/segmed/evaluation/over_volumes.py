"""The score of a patient with several volumes: the mean over the volumes, so that each patient counts once."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from segmed.evaluation.rows import PatientRow
from segmed.evaluation.statistics import mean_of_defined


def over_volumes(rows: Sequence[PatientRow]) -> list[PatientRow]:
    """One row for each label of one patient's volumes, in the order of labels.

    Scores are means over the volumes in which they are defined; counts are sums. A label is missed where no volume has
    any of its pixels found.
    """
    by_label: dict[str, list[PatientRow]] = {}
    for row in rows:
        by_label.setdefault(row.label, []).append(row)
    return [some[0] if len(some) == 1 else _joined(some) for some in by_label.values()]


def _joined(rows: Sequence[PatientRow]) -> PatientRow:
    columns = rows[0].scores
    means = mean_of_defined(np.array([[row.scores[name] for name in columns] for row in rows]), axis=0)
    reference, hits = sum(row.reference_px for row in rows), sum(row.tp for row in rows)
    return replace(
        rows[0],
        slices=sum(row.slices for row in rows),
        reference_px=reference,
        predicted_px=sum(row.predicted_px for row in rows),
        tp=hits,
        fp=sum(row.fp for row in rows),
        fn=sum(row.fn for row in rows),
        one_sided_slices=sum(row.one_sided_slices for row in rows),
        missed=reference > 0 and hits == 0,
        lesions=sum(row.lesions for row in rows),
        scores=dict(zip(columns, means.tolist(), strict=True)),
    )
