"""Which patients are alike (labels, institution, lesion volume), and their dealing to parts that have all labels."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from segmed.core.records import Record
from segmed.data.decoded import DecodedDataset


@dataclass(frozen=True)
class Strata:
    """Patients in an order in which neighbours are alike, and the labels that each has in any of its masks."""

    order: tuple[str, ...]
    labels: Mapping[str, frozenset[int]]

    def without(self, patients: Set[str]) -> "Strata":
        """The same without some patients."""
        return Strata(tuple(patient for patient in self.order if patient not in patients), self.labels)

    def deal(self, shares: Sequence[float]) -> dict[str, int]:
        """The part of each patient, in proportion to `shares` within every stratum.

        A label that as many patients have as there are parts is in every part; with fewer patients the first parts
        have it, as far as exchanging patients gets there.
        """
        parts = dict(zip(self.order, _in_turn(len(self.order), shares), strict=True))
        had = Counter(label for patient in self.order for label in self.labels[patient])
        for label in sorted(had, key=lambda each: (had[each], each)):
            for part in range(len(shares)):
                self._bring(label, part, parts)
        return parts

    def _bring(self, label: int, part: int, parts: dict[str, int]) -> None:
        """Exchange two alike patients where `part` lacks the label and another part can spare one, or comes after it.

        No part loses another label that it has.
        """
        had = Counter((number, each) for patient, number in parts.items() for each in self.labels[patient])
        numbers = sorted(set(parts.values()))
        if had[part, label] or part not in numbers:
            return
        giving = [each for each in numbers if had[each, label] > 1] or [each for each in numbers if each > part]
        place = {patient: number for number, patient in enumerate(self.order)}

        def keeps(leaving: str, coming: str) -> bool:
            lost = self.labels[leaving] - self.labels[coming] - {label}
            return all(had[parts[leaving], each] > 1 for each in lost)

        pairs = [
            (abs(place[give] - place[take]), give, take)
            for give in self.order
            if parts[give] in giving and label in self.labels[give]
            for take in self.order
            if parts[take] == part and keeps(take, give) and keeps(give, take)
        ]
        if pairs:
            _, give, take = min(pairs)
            parts[give], parts[take] = part, parts[give]


def strata(decoded: DecodedDataset, groups: Mapping[str, Sequence[Record]], seed: int) -> Strata:
    """Patients by the labels they have, then institution, then tertile of lesion volume, at random within each.

    Where all patients have the same labels this is the order by institution and volume.
    """
    names = range(1, len(decoded.dataset.labels.names) + 1)
    pixels = {patient: _pixels(decoded, records) for patient, records in groups.items()}
    labels = {patient: frozenset(label for label in names if counts[label]) for patient, counts in pixels.items()}
    volumes = {patient: int(counts[1:].sum()) for patient, counts in pixels.items()}
    limits = {some: _tertiles([volumes[each] for each in labels if labels[each] == some]) for some in labels.values()}
    tickets = np.random.default_rng(seed).permutation(len(groups))
    ticket = dict(zip(sorted(groups), tickets.tolist(), strict=True))

    def stratum(patient: str) -> tuple[list[int], str, int, int]:
        institution = decoded.dataset.attributes.get(patient, {}).get("institution", "")
        tertile = int(np.searchsorted(limits[labels[patient]], volumes[patient]))
        return sorted(labels[patient]), institution, tertile, ticket[patient]

    order = sorted(groups, key=stratum)
    start = seed % len(order)  # the dealing pattern is fixed: where it starts must not be
    return Strata((*order[start:], *order[:start]), labels)


def _tertiles(volumes: Sequence[int]) -> list[float]:
    return [float(limit) for limit in np.quantile(volumes, [1 / 3, 2 / 3])]


def _pixels(decoded: DecodedDataset, records: Sequence[Record]) -> np.ndarray:
    """How many pixels of each label, background first, the masks of a patient have."""
    count = len(decoded.dataset.labels.names) + 1
    masks = [decoded.mask(record.slice_id) for record in records]
    return np.sum([np.bincount(mask.ravel(), minlength=count) for mask in masks], axis=0)


def _in_turn(count: int, ratios: Sequence[float]) -> list[int]:
    """A part for each in turn, to the part that is furthest behind its share; a part left empty gets the last one."""
    shares = np.asarray(ratios, float) / sum(ratios)
    counts = np.zeros(len(ratios))
    parts = []
    for dealt in range(1, count + 1):
        part = int(np.argmax(shares * dealt - counts))
        counts[part] += 1
        parts.append(part)
    for empty in np.flatnonzero(counts == 0):
        fullest = int(np.argmax(np.bincount(parts, minlength=len(ratios))))
        if parts.count(fullest) > 1:
            parts[len(parts) - 1 - parts[::-1].index(fullest)] = int(empty)
    return parts
