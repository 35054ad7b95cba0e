"""Damage of files that hold pixels: seeded mutations, what comes of reading each, and the count of that."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from segmed.core.errors import SegmedError

OUTCOMES = ("equal", "refused", "other pixels", "other error")
Mutation = Callable[[bytes, np.random.Generator], bytes]
_Damage = tuple[str, bytes]
"""What was done to a file, and what is left of it."""


class Sample(Protocol):
    """A sound file and how it is read."""

    @property
    def name(self) -> str:
        """The file's name."""

    @property
    def content(self) -> bytes:
        """Its bytes."""

    @property
    def kind(self) -> str:
        """The format and what it holds, as tables name them."""

    @property
    def is_checksummed(self) -> bool:
        """Whether a reader can notice every change of its pixels."""

    def read(self, path: Path) -> np.ndarray:
        """What SegMed reads from a file of this kind."""


@dataclass
class Tally:
    """Outcomes of one kind of file, the slowest reading in seconds, and what went wrong."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


def flip_bit(content: bytes, rng: np.random.Generator) -> bytes:
    """One bit anywhere."""
    return _flipped(content, rng, len(content))


def flip_head(content: bytes, rng: np.random.Generator) -> bytes:
    """One bit of the first 400 bytes, where most headers are."""
    return _flipped(content, rng, min(len(content), 400))


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """The beginning alone."""
    return content[: int(rng.integers(0, len(content)))]


def zero_tail(content: bytes, rng: np.random.Generator) -> bytes:
    """The end as zeros, as a copy to a full disk leaves it."""
    kept = int(rng.integers(0, len(content)))
    return content[:kept] + bytes(len(content) - kept)


def overwrite(content: bytes, rng: np.random.Generator) -> bytes:
    """Two or four bytes at the extremes of their range."""
    place, length = int(rng.integers(0, len(content))), int(rng.choice([2, 4]))
    value = bytes([int(rng.choice([0, 1, 127, 128, 255]))]) * length
    return (content[:place] + value + content[place + length :])[: len(content)]


def drop_block(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes left out of the middle."""
    place, length = int(rng.integers(0, len(content))), int(rng.integers(1, 64))
    return content[:place] + content[place + length :]


MUTATIONS: tuple[Mutation, ...] = (flip_bit, flip_head, flip_head, cut, zero_tail, overwrite, drop_block)


def count_outcomes(
    sound: Sequence[Sample], folder: Path, number: int, seed: int, *, private: Sequence[str] = ()
) -> dict[str, Tally]:
    """Read `number` damaged files and count what comes of it, by kind of file.

    Args:
        sound: The files that are damaged; every one has an equal share.
        folder: Where the damaged file of the moment is written.
        number: How many in all.
        seed: Of the damages.
        private: What the files hold of a patient, which no message may quote.

    Returns:
        A tally for each kind. `failures` holds other errors, messages of several lines or with a `private` text, and
        other pixels where a checksum would have told.
    """

    def damages(sample: Sample) -> Iterator[_Damage]:
        rng = np.random.default_rng([seed, *f"{sample.kind} {sample.name}".encode()])
        for count in range(-(-number // len(sound))):
            mutation = MUTATIONS[count % len(MUTATIONS)]
            yield f"{mutation.__name__} {count}", mutation(sample.content, rng)

    return _counted(sound, folder, damages, private, must_notice=lambda sample: sample.is_checksummed)


def count_truncations(
    sound: Sequence[Sample], folder: Path, step: int = 1024, *, private: Sequence[str] = ()
) -> dict[str, Tally]:
    """Cut each file off at every `step` bytes, from none on, and count what comes of reading it, as `count_outcomes`.

    A cut file that reads as other pixels is a failure of any format: each says how long it is.
    """

    def damages(sample: Sample) -> Iterator[_Damage]:
        for length in range(0, len(sample.content), step):
            yield f"cut at {length}", sample.content[:length]

    return _counted(sound, folder, damages, private, must_notice=lambda _: True)


def _counted(
    sound: Sequence[Sample],
    folder: Path,
    damages: Callable[[Sample], Iterator[_Damage]],
    private: Sequence[str],
    *,
    must_notice: Callable[[Sample], bool],
) -> dict[str, Tally]:
    """Read each damage of each file; `must_notice` tells of which files other pixels are a failure."""
    tallies = dict[str, Tally]()
    for sample in sound:
        tally = tallies.setdefault(sample.kind, Tally())
        path = folder / sample.name
        path.write_bytes(sample.content)
        right = sample.read(path)
        for what, content in damages(sample):
            path.write_bytes(content)
            started = time.monotonic()
            outcome, detail = outcome_of(sample, path, right, private)
            tally.slowest = max(tally.slowest, time.monotonic() - started)
            tally.outcomes[outcome] += 1
            if outcome == "other error" or (outcome == "other pixels" and must_notice(sample)):
                tally.failures.append(f"{sample.kind} {sample.name}, {what}: {outcome} {detail}")
        path.unlink()
    return tallies


def outcome_of(sample: Sample, path: Path, right: np.ndarray, private: Sequence[str] = ()) -> tuple[str, str]:
    """What becomes of one file, of `OUTCOMES`, and what to say of it where that is wrong.

    Args:
        sample: How it is read.
        path: The damaged file.
        right: What the sound one holds.
        private: What no message may quote.
    """
    try:
        found = sample.read(path)
    except SegmedError as error:
        if "\n" in str(error):
            return "other error", f"not on one line: {str(error)[:200]!r}"
        return ("other error", "quotes the patient") if any(each in str(error) for each in private) else ("refused", "")
    except Exception as error:
        return "other error", repr(error)
    same = found.dtype == right.dtype and np.array_equal(found, right)
    return ("equal", "") if same else ("other pixels", f"{found.shape} {found.dtype}")


def _flipped(content: bytes, rng: np.random.Generator, within: int) -> bytes:
    changed = bytearray(content)
    changed[int(rng.integers(0, within))] ^= 1 << int(rng.integers(0, 8))
    return bytes(changed)
