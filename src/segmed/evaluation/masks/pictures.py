"""References and images of volumes for the report, read when they are drawn."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from segmed.core.errors import DataError
from segmed.core.grid_difference import grid_difference, reoriented
from segmed.core.reading import read_json
from segmed.core.volume import Volume
from segmed.data.names import VOLUMES
from segmed.evaluation.masks.files import stem
from segmed.evaluation.masks.labels import DATASET
from segmed.evaluation.masks.placed import reference_of
from segmed.evaluation.masks.references import References
from segmed.io.volumes import read_volume

SEQUENCE = re.compile(r"(.+)_(\d{4})")
"""nnU-Net's names of images: the case and the number of the sequence."""


@dataclass(frozen=True)
class MaskPictures:
    """Where the report finds references, and images where there are any.

    Args:
        references: What was scored.
        images: By case, the file of each sequence by its name.
    """

    references: References
    images: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)

    def reference(self, case: str) -> Volume:
        """The reference of a case as labels 1 … K."""
        return reference_of(self.references, case)

    def sequences(self, case: str) -> dict[str, Volume]:
        """The images of a case by the name of their sequence, those on the grid of its reference."""
        grid = self.reference(case).grid
        found = {name: reoriented(read_volume(path), grid) for name, path in self.images.get(case, {}).items()}
        return {name: volume for name, volume in found.items() if grid_difference(grid, volume.grid).same}


class SliceReferences(Mapping[str, UInt8[np.ndarray, "_h _w"]]):
    """References that are images of one slice, by case as labels 1 … K, each read when asked for."""

    def __init__(self, references: References) -> None:
        """Remember where they are; nothing is read."""
        self._references = references

    def __getitem__(self, case: str) -> UInt8[np.ndarray, "_h _w"]:
        """The reference of a case; raises `KeyError` for an unknown one."""
        return reference_of(self._references, case).array[0]

    def __iter__(self) -> Iterator[str]:
        """The cases."""
        return iter(self._references.files.files)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._references.files.files)


@dataclass(frozen=True)
class _Channels:
    """What is read of a `dataset.json`: names of sequences by number."""

    channel_names: dict[str, str] = field(default_factory=dict)
    modality: dict[str, str] = field(default_factory=dict)


def images_of(folder: Path, references: References) -> dict[str, dict[str, Path]]:
    """The images of each case in a folder: named as the case, or `CASE_0000` for each sequence as nnU-Net has it.

    Raises:
        DataError: No image has the name of a case.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder; expected the images of the cases. Check the path.")
    names = _channel_names(folder)
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name.lower().endswith(VOLUMES)):
        own = stem(path)
        match = SEQUENCE.fullmatch(own)
        if own in references.files.files:
            found.setdefault(own, {})["image"] = path
        elif match and match[1] in references.files.files:
            number = str(int(match[2]))
            found.setdefault(match[1], {})[names.get(number, f"sequence {number}")] = path
    if not found:
        raise DataError(f"{folder}: no image has the name of a case. Name them as the references, or with _0000.")
    return found


def _channel_names(folder: Path) -> Mapping[str, str]:
    path = next((place / DATASET for place in (folder, folder.parent) if (place / DATASET).is_file()), None)
    if path is None:
        return {}
    stored = read_json(path, _Channels, what="a dataset.json", remedy="Correct it, or take it away.")
    return stored.channel_names or stored.modality
