"""The tests' own check of signatures: what a call gets and gives is held to the annotations."""

from dataclasses import dataclass

import numpy as np
import pytest
from beartype import beartype
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float, TypeCheckError

from segmed.core.escaping import for_csv
from signatures import checked


@checked(typechecker=beartype)
def doubled(count: int) -> int:
    return 2 * count if count else "none"


@checked(typechecker=beartype)
def added(ours: Float[np.ndarray, "n m"], theirs: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
    return ours + theirs


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
    with pytest.raises(TypeCheckError, match="theirs"):
        added(np.ones((2, 3)), np.ones((3, 2)))


def test_fields_of_dataclasses_and_their_properties_are_checked() -> None:
    assert Named("ab").initial == "a"
    with pytest.raises(BeartypeCallHintViolation):
        Named(3)
    with pytest.raises(BeartypeCallHintViolation):
        Named("").initial  # noqa: B018


def test_the_package_is_checked() -> None:
    with pytest.raises(BeartypeCallHintViolation):
        for_csv(3)
