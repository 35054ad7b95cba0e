"""The patients, worst first, and pictures of the worst, the median and the best, each by telling slices."""

import base64
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped, UInt8

from segmed.core.image import PixelSpacing, shown_channel
from segmed.core.pseudonyms import Pseudonyms
from segmed.core.records import Record, SliceDataset
from segmed.data.decoded import DecodedDataset
from segmed.data.layouts.lgg import channel_names, is_lgg
from segmed.evaluation.compare import PRIMARY
from segmed.evaluation.overlays import crop_box, overlay, png_bytes
from segmed.evaluation.report import numbers
from segmed.evaluation.result import Evaluation
from segmed.evaluation.rows import CaseRow, PatientRow, SliceRow

WORST, BEST = 3, 2
References = Mapping[str, UInt8[np.ndarray, "_h _w"]]
"""References by slice id, where no data set is at hand: labels 0 … K."""
_PICTURE = 384
"""About how many pixels a picture is high: sharp at the size at which the page shows it."""


@runtime_checkable
class Pictures(Protocol):
    """Where images and references come from: a decoded data set, or anything that looks like one."""

    @property
    def data_hash(self) -> str | None:
        """The hash of the data that is shown, to be held against that of what was scored; None where it has none."""
        ...

    @property
    def dataset(self) -> SliceDataset | None:
        """The data set, beside which the key of pseudonyms lies; None of pictures without one."""
        ...

    @property
    def in_colour(self) -> bool:
        """Whether the three channels of images are the colours of a picture."""
        ...

    def image(self, slice_id: str) -> Shaped[np.ndarray, "h w c"]:
        """The image of a slice."""
        ...

    def spacing(self, slice_id: str) -> PixelSpacing | None:
        """Millimetres per pixel of a slice; None where they are not known."""
        ...

    def mask(self, slice_id: str) -> UInt8[np.ndarray, "h w"]:
        """The reference of a slice, labels 0 … K."""
        ...


@dataclass(frozen=True)
class Names:
    """What is printed for each patient id, and for each id of a slice or, where volumes were scored, of a case."""

    patients: Mapping[str, str]
    parts: Mapping[str, str]

    def in_text(self, text: str) -> str:
        """A sentence with every id that it names printed as it is to be."""
        for ids in (self.parts, self.patients):  # a slice's id may hold its patient's
            for name in sorted(ids, key=len, reverse=True):
                text = text.replace(name, ids[name])
        return text


def names_of(rows: Iterable[SliceRow | CaseRow | Record], pseudonyms: Pseudonyms | None) -> Names:
    """The ids themselves, or the names that stand for them, of slices or of cases."""
    patients: dict[str, str] = {}
    parts: dict[str, str] = {}
    prefix = "slice"
    for row in rows:
        if isinstance(row, CaseRow):
            prefix, name = "case", row.case
        else:
            name = row.slice_id
        patients[row.patient], parts[name] = row.patient, name
    if pseudonyms is not None:
        return Names(pseudonyms.names(patients, prefix="patient"), pseudonyms.names(parts, prefix=prefix))
    return Names(patients, parts)


@dataclass(frozen=True)
class Tile:
    """One system's picture of a slice, as a data address, with the slice's Dice and a text for those who cannot see."""

    system: str
    place: int
    dice: str
    source: str
    text: str


@dataclass(frozen=True)
class ScaleBar:
    """A bar of `pixels` of the image, `share` of the picture's width in percent."""

    pixels: int
    share: float


@dataclass(frozen=True)
class PictureRow:
    """A patient's slice under every system; `why` says what made it the one chosen.

    `rank` says worst, median or best, by `dice`, the patient's Dice under the first system. `channel` names what is
    shown of the image, and `scale` is the bar below the picture.
    """

    patient: str
    rank: str
    slice_id: str
    why: str
    window: str
    channel: str
    scale: ScaleBar
    dice: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class PatientLine:
    """A line of the table of patients: its Dice under every system, and facts of the leader's prediction.

    `anchor` is what the patient's dots in the figures lead to. `hd95_shared` is a distance; `hd95` holds the penalty of
    `one_sided` slices, or volumes, where there are any. `absent` counts the volumes without a mask file.
    """

    anchor: str
    patient: str
    dice: tuple[str, ...]
    hd95_shared: str
    hd95: str
    one_sided: int
    reference_px: str
    predicted_px: str
    missed: bool
    absent: int = 0


@dataclass(frozen=True)
class PatientUnits:
    """The words of the patients' table: where distances have no penalty in them, and the units of its columns."""

    shared: str
    length: str
    parts: str
    size: str
    penalty: str


def patient_units(leader: Evaluation) -> PatientUnits:
    """The words for an evaluation of slices, or of volumes."""
    if leader.space is None:
        return PatientUnits(
            "shared slices", "px", "slices", "px", "a slice that only one mask marks counts as the image's"
        )
    size = "ml" if leader.space.unit == "mm" else "voxels"
    return PatientUnits(
        "found", leader.space.unit, "volumes", size, "a volume with the label in only one mask counts as its own"
    )


def worst_first(leader: Evaluation) -> list[str]:
    """Patients by rising Dice of the leader; those without a value last."""
    dice = leader.by_patient(PRIMARY)
    return sorted(dice, key=lambda patient: (math.isnan(dice[patient]), dice[patient], patient))


def anchors_of(leader: Evaluation) -> dict[str, str]:
    """The anchor of each patient's line in the table of patients; it holds no name."""
    return {patient: f"patient-{number}" for number, patient in enumerate(worst_first(leader), start=1)}


def chosen_patients(leader: Evaluation) -> dict[str, str]:
    """The worst, the median and the best patients with that word, worst first; each patient once."""
    dice = leader.by_patient(PRIMARY)
    order = [patient for patient in worst_first(leader) if not math.isnan(dice[patient])]
    chosen: dict[str, str] = {}
    for patient in order[:WORST]:
        chosen[patient] = "worst"
    if order:
        chosen.setdefault(order[len(order) // 2], "median")
    for patient in order[WORST:][-BEST:]:
        chosen[patient] = "best"
    return {patient: chosen[patient] for patient in order if patient in chosen}


def example_slice(leader: Evaluation) -> str:
    """The largest slice of the median patient: what pictures of networks are drawn of."""
    ranks = chosen_patients(leader)
    patient = next((each for each, rank in ranks.items() if rank == "median"), next(iter(ranks), None))
    return largest_slice(leader, patient or leader.patients[0].patient)


def largest_slice(evaluation: Evaluation, patient: str) -> str:
    """The slice with the most reference pixels of a patient; with the most predicted ones where there are none."""
    sizes: dict[str, tuple[int, int]] = {}
    for row in evaluation.slices:
        if row.patient == patient:
            reference, predicted = sizes.get(row.slice_id, (0, 0))
            sizes[row.slice_id] = (reference + row.reference_px, predicted + row.predicted_px)
    return max(sizes, key=lambda slice_id: sizes[slice_id])


def most_wrong_slice(evaluation: Evaluation, patient: str) -> str:
    """The slice with the most wrong pixels of a patient, over all labels."""
    wrong: Counter[str] = Counter()
    for row in evaluation.slices:
        if row.patient == patient:
            wrong[row.slice_id] += row.fp + row.fn
    return max(wrong, key=lambda slice_id: wrong[slice_id])


def chosen_slices(evaluation: Evaluation, patient: str, rank: str) -> dict[str, str]:
    """The slices that are pictured of a patient, each with the reason: of the worst also where most is wrong."""
    chosen = {largest_slice(evaluation, patient): "most foreground"}
    if rank == "worst":
        chosen.setdefault(most_wrong_slice(evaluation, patient), "most wrong pixels")
    return chosen


def patient_lines(systems: Sequence[Evaluation], shown: Names) -> list[PatientLine]:
    """The table of patients, worst of the first system first."""
    columns = [system.by_patient(PRIMARY) for system in systems]
    leader = systems[0]
    space = leader.space
    names = ("hd95", "hd95_shared") if space is None else (f"hd95_{space.unit}", f"hd95_found_{space.unit}")
    hd95, shared = (leader.by_patient(name) for name in names)
    anchors = anchors_of(leader)
    lines = []
    for patient in worst_first(leader):
        rows = [row for row in leader.patients if row.patient == patient]
        lines.append(
            PatientLine(
                anchor=anchors[patient],
                patient=shown.patients[patient],
                dice=tuple(numbers.number(column[patient], 3) for column in columns),
                hd95_shared=numbers.number(shared[patient], 1),
                hd95=numbers.number(hd95[patient], 1),
                one_sided=len({row.case for row in leader.cases if row.patient == patient and row.one_sided})
                if space
                else sum(row.one_sided_slices for row in rows),
                reference_px=_size(leader, patient, rows, reference=True),
                predicted_px=_size(leader, patient, rows, reference=False),
                missed=any(row.missed for row in rows),
                absent=len({row.case for row in leader.cases if row.patient == patient and not row.given}),
            )
        )
    return lines


def _size(leader: Evaluation, patient: str, rows: Sequence[PatientRow], *, reference: bool) -> str:
    """The foreground of a patient, in millilitres over its volumes where these are known."""
    if leader.space is not None and leader.space.unit == "mm":
        column = "reference_ml" if reference else "predicted_ml"
        return numbers.number(sum(row.scores[column] for row in leader.cases if row.patient == patient), 1)
    return numbers.count(sum(row.reference_px if reference else row.predicted_px for row in rows))


def picture_rows(
    systems: Sequence[Evaluation],
    pictures: Pictures | None,
    shown: Names,
    *,
    channel: int | None = None,
    references: References | None = None,
) -> list[PictureRow]:
    """Pictures of the chosen patients of the first system, under every system.

    Without `pictures` they show masks on a plain ground, beside those of `references` where there are any.
    """
    leader = systems[0]
    dice = leader.by_patient(PRIMARY)
    rows = []
    for patient, rank in chosen_patients(leader).items():
        for slice_id, why in chosen_slices(leader, patient, rank).items():
            name = f"{shown.parts[slice_id]} of {shown.patients[patient]}"
            reference = references.get(slice_id) if pictures is None and references is not None else None
            tiles, window, bar = _tiles(systems, pictures, slice_id, channel, name, reference)
            rows.append(
                PictureRow(
                    patient=shown.patients[patient],
                    rank=rank,
                    slice_id=shown.parts[slice_id],
                    why=why,
                    window=window,
                    channel=_channel_text(pictures, slice_id, channel),
                    scale=bar,
                    dice=numbers.number(dice[patient], 3),
                    tiles=tiles,
                )
            )
    return rows


def first_picture(rows: Sequence[PictureRow]) -> PictureRow | None:
    """The picture at the head of the page: of the median patient, else of the first that is pictured."""
    return next((row for row in rows if row.rank == "median"), rows[0] if rows else None)


def scale_bar(width: int) -> ScaleBar:
    """The longest round number of pixels that takes at most a third of a picture of `width` pixels."""
    steps = [number * 10**power for power in range(5) for number in (1, 2, 5)]
    pixels = max((step for step in steps if 3 * step <= width), default=1)
    return ScaleBar(pixels, round(100 * pixels / width, 2))


def _channel_text(pictures: Pictures | None, slice_id: str, channel: int | None) -> str:
    """What is shown of the image: the sequence where the data set names it, else the channel's number."""
    if pictures is None:
        return ""
    channels = pictures.image(slice_id).shape[-1]
    if pictures.in_colour and channel is None:
        return "in colour"
    if channels == 1:
        return ""
    chosen = shown_channel(channels) if channel is None else channel
    if isinstance(pictures, DecodedDataset) and is_lgg(pictures.dataset):
        return f"{channel_names(channels, is_lgg=True)[chosen]}, channel {chosen + 1} of {channels}"
    return f"channel {chosen + 1} of {channels}"


def _tiles(
    systems: Sequence[Evaluation],
    pictures: Pictures | None,
    slice_id: str,
    channel: int | None,
    shown: str,
    reference: UInt8[np.ndarray, "_h _w"] | None,
) -> tuple[tuple[Tile, ...], str, ScaleBar]:
    """A slice's picture under every system, what part of it they show, and their scale; `shown` names the slice."""
    predictions = [system.predictions[slice_id] for system in systems]
    image = None if pictures is None else pictures.image(slice_id)
    reference = reference if pictures is None else pictures.mask(slice_id)
    shape = predictions[0].shape
    rows, columns = crop_box(reference, *predictions, minimum=(min(shape) + 1) // 2)
    cut = (rows, columns)
    scale = max(1, round(_PICTURE / (rows.stop - rows.start)))
    tiles = []
    for place, (system, prediction) in enumerate(zip(systems, predictions, strict=True)):
        picture = overlay(
            None if image is None else image[cut],
            None if reference is None else reference[cut],
            prediction[cut],
            channel=channel,
            in_colour=pictures is not None and pictures.in_colour,
            scale=scale,
            thickness=2 if scale > 1 else 1,
        )
        here = slice_dice(system, slice_id)
        text = f"Slice {shown}: reference and prediction of {system.name}, slice Dice {here}"
        tiles.append(Tile(system.name, place, here, data_address(png_bytes(picture)), text))
    height, width = rows.stop - rows.start, columns.stop - columns.start
    window = f"{'Whole slice' if (height, width) == shape else 'Window'} of {height} × {width} px"
    return tuple(tiles), window, scale_bar(width)


def slice_dice(system: Evaluation, slice_id: str) -> str:
    """The Dice of a slice as text, the mean over labels that have one; of several seeds the first, which is drawn."""
    by_label: dict[str, float] = {}
    for row in system.slices:
        if row.slice_id == slice_id:
            by_label.setdefault(row.label, row.dice)
    values = [dice for dice in by_label.values() if not math.isnan(dice)]
    return numbers.number(sum(values) / len(values) if values else None, 3)


def data_address(png: bytes) -> str:
    """The bytes of a PNG file as an address that a page can hold."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
