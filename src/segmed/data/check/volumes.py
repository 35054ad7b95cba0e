"""Findings about a patient's slices as one volume."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from segmed.data.check.measure import SMALL_FRAGMENT, SliceMeasures
from segmed.data.layouts.lgg import POST, PRE, SEQUENCES, channel_names
from segmed.data.listing import Findings, natural_key


def check_volume(patient: str, slices: Sequence[SliceMeasures], findings: Findings, *, is_lgg: bool) -> None:
    """Everything that can be wrong with one patient's slices, given in order."""
    _check_numbers(patient, slices, findings, from_one=is_lgg)
    _check_channels(patient, slices, findings, is_lgg=is_lgg)
    if any(measured.mask for measured in slices):
        _check_foreground(patient, slices, findings, is_lgg=is_lgg)
        _check_shapes(patient, slices, findings)


def equal_channels(slices: Sequence[SliceMeasures]) -> tuple[bool, bool]:
    """Whether the first channel, and the third, equals the second on every slice that could be read.

    In LGG a sequence is missing then; where both are so, grey images may have been stored as RGB.
    """
    copies = [measured.image.copies_of_second for measured in slices if measured.image]
    return bool(copies) and all(first for first, _ in copies), bool(copies) and all(third for _, third in copies)


def _check_numbers(patient: str, slices: Sequence[SliceMeasures], findings: Findings, *, from_one: bool) -> None:
    numbers = [measured.record.slice_index for measured in slices]
    doubled = sorted(number for number, times in Counter(numbers).items() if times > 1)
    if doubled:
        text = f"slice {_listed(doubled)} more than once: two studies of one patient? Give each its own volume."
        findings.error("slice-twice", patient, text)
    present = sorted({*numbers, 0} if from_one else set(numbers))
    gaps = [(low + 1, high - 1) for low, high in pairwise(present) if high - low > 1]
    if gaps:
        text = f"slice {_ranges(gaps)} is missing, the last is {present[-1]}. Add it: neighbours would be wrong."
        findings.warning("slice-gap", patient, text)
    names = [measured.record.image.name for measured in slices]
    if len(set(names)) > 1 and not doubled and names != sorted(names, key=natural_key) and names == sorted(names):
        text = "slices are ordered as text (10 before 2) and not by number. Add a column `slice` to the manifest."
        findings.error("slice-order", patient, text)


def _check_channels(patient: str, slices: Sequence[SliceMeasures], findings: Findings, *, is_lgg: bool) -> None:
    equal = equal_channels(slices) if is_lgg else (False, False)
    missing = [SEQUENCES[channel] for channel, copied in zip((PRE, POST), equal, strict=True) if copied]
    if missing:
        text = f"FLAIR is copied into {' and '.join(missing)} on every slice: it was not acquired."
        findings.warning("missing-sequence", patient, text)
    for channel in sorted({c for measured in slices if measured.image for c in measured.image.constant_channels}):
        here = [m for m in slices if m.image and channel in m.image.constant_channels]
        name = channel_names(max(m.image.shape[2] for m in here if m.image), is_lgg=is_lgg)[channel]
        text = f"{name} is constant on slice {_listed(m.record.slice_index for m in here)}."
        if any(m.mask and m.mask.foreground for m in here):
            findings.warning("constant-plane", patient, f"{text} At least one of them has foreground: look at it.")
        else:
            findings.note("constant-plane", patient, text)


def _check_foreground(patient: str, slices: Sequence[SliceMeasures], findings: Findings, *, is_lgg: bool) -> None:
    if any(measured.record.mask is not None and measured.mask is None for measured in slices):
        return  # a mask that could not be read is an error already, and would make false gaps here
    if len(slices) == 1 and not is_lgg:
        return
    positive = [place for place, measured in enumerate(slices) if measured.mask and measured.mask.foreground]
    if not positive:
        report = findings.error if is_lgg else findings.warning
        report("no-foreground", patient, "all masks are empty. Check that they are this patient's.")
        return
    gaps = sorted(set(range(positive[0], positive[-1] + 1)) - set(positive))
    if gaps:
        text = f"empty mask on slice {_listed(_numbers(slices, gaps))}, between slices with foreground. Look at it."
        findings.warning("foreground-gap", patient, text)
    ends = sorted({0, len(slices) - 1} & set(positive))
    if ends:
        text = f"foreground on the first or last slice ({_listed(_numbers(slices, ends))}): it may go on outside."
        findings.warning("foreground-at-end", patient, text)


def _check_shapes(patient: str, slices: Sequence[SliceMeasures], findings: Findings) -> None:
    small = [m.record.slice_index for m in slices if m.mask and m.mask.small_fragments]
    if small:
        text = f"a fragment of fewer than {SMALL_FRAGMENT} pixels on slice {_listed(small)}. Look at the mask."
        findings.warning("small-fragment", patient, text)
    holed = [m.record.slice_index for m in slices if m.mask and m.mask.holes]
    if holed:
        findings.warning("hole", patient, f"a hole in the foreground on slice {_listed(holed)}. Look at the mask.")


def _numbers(slices: Sequence[SliceMeasures], places: Iterable[int]) -> list[int]:
    return [slices[place].record.slice_index for place in places]


def _listed(numbers: Iterable[int | str], most: int = 8) -> str:
    """`1, 2, 7`, shortened after `most`."""
    numbers = list(numbers)
    rest = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return ", ".join(str(number) for number in numbers[:most]) + rest


def _ranges(gaps: Sequence[tuple[int, int]]) -> str:
    """`2, 5-7`, ends included, shortened as `_listed` does."""
    return _listed([str(low) if low == high else f"{low}-{high}" for low, high in gaps])
