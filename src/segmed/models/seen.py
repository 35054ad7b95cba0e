"""Which patients a run has seen, without naming them, so that no test can be on these."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from segmed.core.pseudonyms import Pseudonyms
from segmed.core.split import PartName, Split

Seen = dict[str, list[str]]
"""Digests of the patients of `train` and `validation`. Those of 0.1 are plain hashes, without a key."""
ANOTHER_KEY = (
    "was trained on this data, and says on which patients with another key than the data has now. Copy the key file "
    ".segmed-pseudonyms.key of then beside the data."
)
SEEN_PARTS: tuple[PartName, ...] = ("train", "validation")


@dataclass(frozen=True)
class Overlap:
    """The patients among some that a run has seen; not `complete` where digests of another key may hide more."""

    patients: tuple[str, ...]
    complete: bool


def patient_digest(patient: str, pseudonyms: Pseudonyms | None = None) -> str:
    """How a run's config names a patient: by a keyed hash; without a key by a plain one, as 0.1 did."""
    if pseudonyms is not None:
        return pseudonyms.digest(patient)
    return hashlib.sha256(patient.encode(errors="backslashreplace")).hexdigest()[:16]


def seen_patients(split: Split, fold: int, pseudonyms: Pseudonyms | None = None) -> Seen:
    """What a run that is trained on a fold of a split has seen."""
    found = {part: {split.patient_of[slice_id] for slice_id in split.fold(fold).part(part)} for part in SEEN_PARTS}
    return {part: sorted(patient_digest(each, pseudonyms) for each in some) for part, some in found.items()}


def seen_by_any(several: Sequence[Mapping[str, Sequence[str]]]) -> Seen:
    """What is seen by what is made of several runs: the patients that any of them has seen."""
    return {part: sorted({digest for seen in several for digest in seen.get(part, ())}) for part in SEEN_PARTS}


def overlap(digests: Iterable[str], patients: Iterable[str], pseudonyms: Pseudonyms | None) -> Overlap:
    """Look for patients among the digests of a run.

    Args:
        digests: Of one or several parts of `Seen`.
        patients: Ids in the data at hand.
        pseudonyms: With that data's key; None where it has none.
    """
    known = set(digests)
    own = None if pseudonyms is None else pseudonyms.fingerprint
    keys = {digest.partition(":")[0] for digest in known if ":" in digest}
    ways = (None,) if pseudonyms is None else (None, pseudonyms)
    found = tuple(each for each in patients if any(patient_digest(each, way) in known for way in ways))
    return Overlap(found, complete=keys <= {own})
