"""The tests' own check of signatures: what a call gets and gives is held to the annotations."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from beartype import beartype
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float

from segmed.core.escaping import for_csv
from signatures import checked


@checked(typechecker=beartype)
def doubled(count: int) -> int:
    return 2 * count if count else "none"


@checked(typechecker=beartype)
def added(ours: Float[np.ndarray, "n m"], theirs: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
    return ours + theirs


@checked(typechecker=beartype)
def turned(ours: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
    return ours.T


@checked(typechecker=beartype)
def halves(ours: Float[np.ndarray, "n m"]) -> Iterator[Float[np.ndarray, "n"]]:
    yield ours[:, 0]
    yield added(ours[:, :1], ours[:, :1])[:, 0]


@checked(typechecker=beartype)
@dataclass(frozen=True)
class Pair:
    first: Float[np.ndarray, "n"]
    second: Float[np.ndarray, "n"]

    @checked(typechecker=beartype)
    def joined(self, other: "Pair") -> "Pair":
        return other if other is not self else "none"


@checked(typechecker=beartype)
@dataclass(frozen=True)
class Named:
    name: str

    @property
    @checked(typechecker=beartype)
    def initial(self) -> str:
        return self.name[0] if self.name else None


def test_plain_arguments_and_results_are_checked() -> None:
    assert doubled(2) == 4
    for wrong in ("2", 0):
        with pytest.raises(BeartypeCallHintViolation):
            doubled(wrong)


def test_one_letter_means_one_size_within_a_call() -> None:
    assert added(np.ones((2, 3)), np.ones((2, 3))).shape == (2, 3)
    with pytest.raises(BeartypeCallHintViolation, match="theirs"):
        added(np.ones((2, 3)), np.ones((3, 2)))
    assert turned(np.ones((2, 2))).shape == (2, 2)
    with pytest.raises(BeartypeCallHintViolation, match="return"):
        turned(np.ones((2, 3)))


def test_one_letter_means_another_size_in_the_next_call_and_in_one_within() -> None:
    assert added(np.ones((1, 3)), np.ones((1, 3))).shape == (1, 3)
    assert [len(half) for half in halves(np.ones((2, 3)))] == [2, 2]
    with pytest.raises(BeartypeCallHintViolation):
        added(np.ones((2, 3)), 3)
    assert added(np.ones((4, 1)), np.ones((4, 1))).shape == (4, 1)


def test_one_letter_means_one_size_in_the_fields_of_a_dataclass() -> None:
    assert Pair(np.ones(2), second=np.ones(2)).first.shape == (2,)
    with pytest.raises(BeartypeCallHintViolation, match="second"):
        Pair(np.ones(2), np.ones(3))


def test_a_class_that_is_not_made_yet_is_checked_in_its_methods() -> None:
    pair, other = Pair(np.ones(2), np.ones(2)), Pair(np.ones(2), np.ones(2))
    assert pair.joined(other) is other
    for wrong in (pair, "other"):
        with pytest.raises(BeartypeCallHintViolation):
            pair.joined(wrong)


def test_fields_of_dataclasses_and_their_properties_are_checked() -> None:
    assert Named("ab").initial == "a"
    with pytest.raises(BeartypeCallHintViolation):
        Named(3)
    with pytest.raises(BeartypeCallHintViolation):
        Named("").initial  # noqa: B018


def test_the_package_is_checked() -> None:
    with pytest.raises(BeartypeCallHintViolation):
        for_csv(3)
