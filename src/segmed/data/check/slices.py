"""Findings about single slices, and about slices beside each other in the whole data set."""

from collections.abc import Sequence

from segmed.core.labels import LabelMap
from segmed.core.records import SliceDataset
from segmed.data.check.measure import SliceMeasures
from segmed.data.grids import PixelFormat, find_mixed
from segmed.data.listing import Findings


def check_grids(dataset: SliceDataset, slices: Sequence[SliceMeasures], findings: Findings) -> None:
    """Mask and image on one grid; images that belong in one data set, see `find_mixed`."""
    for measured in slices:
        image, mask = measured.image, measured.mask
        if image and mask and image.shape[:2] != mask.size:
            text = f"the mask is {mask.size[0]}x{mask.size[1]} but its image is {image.shape[0]}x{image.shape[1]}."
            findings.error("grid", measured.record.mask, f"{text} Export both on the same grid.")
    grids = {m.record.slice_id: PixelFormat(m.image.shape, m.image.dtype) for m in slices if m.image}
    find_mixed(dataset, grids, findings)


def check_copies(slices: Sequence[SliceMeasures], findings: Findings) -> None:
    """The same pixels in two slices: in two patients an error, for a copy may be trained on and tested on."""
    first: dict[str, SliceMeasures] = {}
    for measured in slices:
        image = measured.image
        if image is None or len(image.constant_channels) == image.shape[2]:
            continue
        original = first.setdefault(image.sha256, measured)
        if original is measured:
            continue
        text = f"the same pixels as {original.record.image}."
        if original.record.patient == measured.record.patient:
            findings.warning("same-image", measured.record.image, f"{text} Check which slice is meant.")
        else:
            text = f"{text} One patient under two names leaks from training into the test. Remove one."
            findings.error("same-image", measured.record.image, text)


def check_labels(slices: Sequence[SliceMeasures], labels: LabelMap, findings: Findings) -> None:
    """Masks that are there, and labels that occur."""
    masked = [measured for measured in slices if measured.record.mask is not None]
    if len(masked) < len(slices):
        count = len(slices) - len(masked)
        text = f"{count} of {len(slices)} slices have no mask; they can be predicted on, not trained on or scored."
        findings.note("no-mask", next(m.record.slice_id for m in slices if m.record.mask is None), text)
    if not masked:
        return
    counts = label_pixels(slices, labels)
    for name, count in counts.items():
        if not count:
            findings.warning("unused-label", name, "no mask holds this label. Check --labels.")


def label_pixels(slices: Sequence[SliceMeasures], labels: LabelMap) -> dict[str, int]:
    """Pixels of each foreground label over all masks that could be read."""
    counts = dict.fromkeys(labels.names, 0)
    for measured in slices:
        if measured.mask:
            for name, count in zip(labels.names, measured.mask.pixels[1:], strict=False):
                counts[name] += count
    return counts
