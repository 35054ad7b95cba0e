"""A contact sheet: what the network will see in training, to be looked at before any training is started."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8

from segmed.core.errors import ConfigError, DataError
from segmed.core.files import written_aside
from segmed.core.image import shown_channel
from segmed.core.intensity import span_of
from segmed.core.labels import LabelMap, one_hot
from segmed.core.records import Record, by_patient, by_volume
from segmed.data.augment import Augment, AugmentConfig, augment_for, build_augment, preset_of
from segmed.data.augment.config import AUTO
from segmed.data.augment.draws import Draws
from segmed.data.decoded import DecodedDataset
from segmed.data.layouts.lgg import channel_names, is_lgg
from segmed.io.figures import picture_format, save_figure
from segmed.preprocess import Preprocess, PreprocessConfig

VIEWS = 2
COLOURS = ("#ff3b30", "#34c759", "#0a84ff", "#ffcc00", "#bf5af2", "#64d2ff")


@dataclass(frozen=True)
class _View:
    """One augmented view: what is shown of the image, its mask, and what a viewer could not see from it."""

    image: Float[np.ndarray, "h w *colours"]
    mask: UInt8[np.ndarray, "h w"]
    remark: str


@dataclass(frozen=True)
class _Row:
    record: Record
    image: Shaped[np.ndarray, "h w c"]
    mask: UInt8[np.ndarray, "h w"]
    normalised: Float[np.ndarray, "H W *colours"]
    """What is shown in the views, preprocessed and not augmented: its range is the views' scale of intensity."""
    views: tuple[_View, ...]


def contact_sheet(decoded: DecodedDataset, *, preset: str, seed: int, path: Path, rows: int = 6) -> None:
    """Draw up to `rows` slices with foreground, each of another patient, and write the picture to `path`.

    A row shows each sequence, or the picture in colour, the mask's contour, and two augmented views of `preset` after
    default preprocessing. The suffix of `path` says the format; `preset` is `auto` for the one that suits the data.
    The same `seed` picks the same slices and views. Raises `DataError` where no mask has foreground, `ConfigError`
    for an unknown preset, a file name that is not of a picture, or fewer than one row.
    """
    picture_format(path)
    if rows < 1:
        raise ConfigError(f"A contact sheet has at least one row, got {rows}.")
    generator = torch.Generator().manual_seed(seed)
    config = augment_for(decoded, None) if preset == AUTO else build_augment(preset, (32, 32)).config
    chosen = _choose(decoded, rows, np.random.default_rng(seed))
    drawn = [_row(decoded, record, config, generator) for record in chosen]
    dataset = decoded.dataset
    channels: Sequence[str] = ("image",)
    if not decoded.in_colour:
        channels = channel_names(max(row.image.shape[2] for row in drawn), is_lgg=is_lgg(dataset))
    title = f"{dataset.name}: augmentation preset {preset_of(config)}, seed {seed}"
    figure = _figure(drawn, title, channels, dataset.labels)
    with written_aside(path) as temporary:
        save_figure(figure, temporary, dpi=110, facecolor="white")


def _choose(decoded: DecodedDataset, rows: int, rng: np.random.Generator) -> list[Record]:
    """One slice per patient, of at least the patient's median foreground area; patients in random order."""
    patients = by_patient(decoded.dataset.records)
    chosen: list[Record] = []
    for patient in rng.permutation(sorted(patients)):
        records = [record for record in patients[str(patient)] if record.mask is not None]
        areas = np.array([np.count_nonzero(decoded.mask(record.slice_id)) for record in records])
        positive = areas[areas > 0]
        if positive.size:
            large = np.flatnonzero(areas >= np.median(positive))
            chosen.append(records[int(rng.choice(large))])
        if len(chosen) == rows:
            break
    if not chosen:
        raise DataError(f"{decoded.dataset.root}: no mask has any foreground, so there is nothing to preview.")
    return chosen


def _row(decoded: DecodedDataset, record: Record, config: AugmentConfig, generator: torch.Generator) -> _Row:
    image, mask = decoded.image(record.slice_id), decoded.mask(record.slice_id)
    preprocess = Preprocess(PreprocessConfig(channels=tuple(range(image.shape[2]))))
    volume = [decoded.image(other.slice_id) for other in by_volume(decoded.dataset.records)[record.volume]]
    network_image, _ = preprocess.apply(image, preprocess.statistics(volume))
    labels = preprocess.apply_mask(mask).numpy().astype(np.uint8)
    planes = torch.from_numpy(one_hot(labels, len(decoded.dataset.labels.names) + 1)[1:]).float()
    height, width = network_image.shape[1:]
    augment = build_augment(config, (height, width))
    shown = slice(None) if decoded.in_colour else shown_channel(image.shape[2])
    views = tuple(_view(augment, network_image, planes, shown, generator) for _ in range(VIEWS))
    return _Row(record, image, mask, _shown(network_image, shown), views)


def _view(
    augment: Augment,
    image: Float[torch.Tensor, "c h w"],
    planes: Float[torch.Tensor, "k h w"],
    shown: int | slice,
    generator: torch.Generator,
) -> _View:
    draws = augment.draw(1, image.shape[0], generator)
    moved, moved_planes = augment.apply(image[None], planes[None], draws)
    numbers = torch.arange(1, len(planes) + 1)[:, None, None]
    mask = (moved_planes[0] * numbers).amax(dim=0).numpy().astype(np.uint8)
    return _View(_shown(moved[0], shown), mask, _remark(draws))


def _shown(image: Float[torch.Tensor, "c h w"], shown: int | slice) -> Float[np.ndarray, "h w *colours"]:
    """One channel as `h w`, or all of a picture in colour as `h w 3`."""
    plane = image[shown].numpy()
    return plane.transpose(1, 2, 0) if plane.ndim == 3 else plane


def _remark(draws: Draws) -> str:
    if bool(draws.drop_pre[0]):
        return "pre and post := FLAIR"
    return "post := FLAIR" if bool(draws.drop_post[0]) else ""


def _figure(rows: list[_Row], title: str, names: Sequence[str], labels: LabelMap) -> Any:
    """A matplotlib figure, made without pyplot: no window and no global state. `names` are those of channels."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    channels = len(names)
    shown = names[shown_channel(channels)]
    heads = [*names, f"{shown}, mask", *(f"{shown}, view {number}" for number in range(1, VIEWS + 1))]
    figure = Figure(figsize=(1.9 * len(heads), 1.95 * len(rows) + 0.9), layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(len(rows), len(heads), squeeze=False)
    for row, line in zip(rows, axes, strict=True):
        _draw_row(row, line, channels)
        line[0].set_ylabel(f"{row.record.patient}\nslice {row.record.slice_index}", fontsize=7)
    for axis, head in zip(axes[0], heads, strict=True):
        axis.set_title(head, fontsize=9)
    entries = [Line2D([], [], color=_colour(k), label=name) for k, name in enumerate(labels.names, start=1)]
    figure.legend(handles=entries, loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    return figure


def _draw_row(row: _Row, line: Any, channels: int) -> None:
    for axis in line:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_facecolor("black")
        for spine in axis.spines.values():
            spine.set_visible(False)
    in_colour = row.normalised.ndim == 3
    planes = [row.image] if in_colour else [row.image[..., channel] for channel in range(row.image.shape[2])]
    for axis, plane in zip(line, planes, strict=False):
        _draw(axis, plane, _window(plane))
    shown = row.image if in_colour else row.image[..., shown_channel(row.image.shape[2])]
    _draw(line[channels], shown, _window(shown), row.mask)
    for axis, view in zip(line[channels + 1 :], row.views, strict=True):
        _draw(axis, view.image, _window(row.normalised), view.mask)
        axis.set_xlabel(view.remark, fontsize=7)


def _window(plane: Shaped[np.ndarray, "h w *colours"]) -> tuple[float, float]:
    low, high = np.percentile(plane, (0.5, 99.8))
    return float(low), float(low) + span_of(float(low), float(high))


def _draw(
    axis: Any,
    plane: Shaped[np.ndarray, "h w *colours"],
    window: tuple[float, float],
    mask: UInt8[np.ndarray, "h w"] | None = None,
) -> None:
    low, high = window
    axis.imshow(np.clip((plane - low) / (high - low), 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    for label in [] if mask is None else np.unique(mask[mask > 0]):
        axis.contour(mask == label, levels=[0.5], colors=[_colour(int(label))], linewidths=0.9)


def _colour(label: int) -> str:
    return COLOURS[(label - 1) % len(COLOURS)]
