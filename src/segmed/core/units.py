"""What a result counts and draws again for its intervals: patients, or images where nobody said whose they are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """The words for one and for several."""

    one: str
    many: str

    def count(self, number: int) -> str:
        """`1 patient`, `48 images`."""
        return f"{number} {self.one if number == 1 else self.many}"


PATIENT, IMAGE = Unit("patient", "patients"), Unit("image", "images")


def unit_of(*, patients_known: bool) -> Unit:
    """The unit of a result: an image is no patient because nobody said otherwise."""
    return PATIENT if patients_known else IMAGE
