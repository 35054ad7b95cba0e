"""What is counted in a data set, and the numbers that the full LGG set must give."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Facts:
    """Counts over a data set, all derived from pixels and never from a description.

    `post_is_flair` and `pre_and_post_are_flair` name the patients of LGG data whose sequences are missing, see
    `lgg.copies_of_flair`; of other data none. A constant plane is one channel of one slice with one and the same
    value everywhere. `patients` counts images where `patients_known` is False.
    `label_pixels` counts the pixels of each label by its name.
    `sizes` and `institutions` count slices and patients, `spacings` and `orientations` volumes in files of their own.
    """

    patients: int = 0
    patients_known: bool = True
    slices: int = 0
    positive_slices: int = 0
    foreground_pixels: int = 0
    label_pixels: dict[str, int] = field(default_factory=dict)
    post_is_flair: tuple[str, ...] = ()
    pre_and_post_are_flair: tuple[str, ...] = ()
    constant_planes: int = 0
    slices_with_constant_plane: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    institutions: dict[str, int] = field(default_factory=dict)
    spacings: dict[str, int] = field(default_factory=dict)
    orientations: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The facts as plain JSON values."""
        return dataclasses.asdict(self) | {
            "post_is_flair": list(self.post_is_flair),
            "pre_and_post_are_flair": list(self.pre_and_post_are_flair),
        }


FULL_LGG: dict[str, int] = {
    "patients": 110,
    "slices": 3929,
    "positive_slices": 1373,
    "foreground_pixels": 2651854,
    "post_is_flair": 10,
    "pre_and_post_are_flair": 6,
    "slices_with_constant_plane": 63,
}
"""The full set of Buda et al. 2019 as on Kaggle, counted by us over all 110 patients."""


def counts(facts: Facts) -> dict[str, int]:
    """The facts that `FULL_LGG` names, patients counted."""
    values = {name: getattr(facts, name) for name in FULL_LGG}
    return {name: len(value) if isinstance(value, tuple) else value for name, value in values.items()}
