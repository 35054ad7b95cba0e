"""Slices in their order along the normal, and the grid that they make; what makes no even stack is refused by name."""

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from segmed.core.errors import DataError
from segmed.core.volume import Grid
from segmed.core.wording import plural
from segmed.io.dicom.frames import Frame

TURNED = 2e-3
"""How much the directions of slices of one stack may differ."""
UNEVEN = 0.05
"""The share of the distance of slices by which one may lie elsewhere than an even stack has it."""
SAME_PLACE = 0.01
"""Millimetres up to which two slices lie at one place; also that share of their distance."""
TILT = 0.1
"""Degrees from which a shift of slices is a gantry tilt."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices from first to last along their normal, and their grid."""

    frames: tuple[Frame, ...]
    grid: Grid


def stacked(frames: Sequence[Frame], name: str) -> Stack:
    """The slices of a series as one volume.

    A gantry tilt is kept in the grid, whose axes are then not perpendicular, and warned of.

    Args:
        frames: Of one series, in any order.
        name: What they are, for errors: a folder or file and the series number.

    Raises:
        DataError: Mixed sizes, spacings or orientations, several images at one place (time points, echoes), gaps,
            uneven distances, slices that are shifted irregularly.
    """
    _require_alike(frames, name)
    normal, across, down = (
        np.mean([getattr(frame, which) for frame in frames], axis=0) for which in ("normal", "across", "down")
    )
    places = np.array([frame.position @ normal for frame in frames])
    order = np.argsort(places, kind="stable")
    ordered = tuple(frames[int(index)] for index in order)
    step = _step(ordered, places[order], normal, name)
    affine = np.eye(4)
    affine[:3, 0] = across / np.linalg.norm(across) * ordered[0].spacing[1]
    affine[:3, 1] = down / np.linalg.norm(down) * ordered[0].spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = ordered[0].position
    rows, columns, *_ = ordered[0].stored
    return Stack(ordered, Grid.of_columns_first((len(ordered), rows, columns), affine, "LPS"))


def _require_alike(frames: Sequence[Frame], name: str) -> None:
    sizes = Counter(frame.stored[:2] for frame in frames)
    if len(sizes) > 1:
        odd = next(frame for frame in frames if frame.stored[:2] == min(sizes, key=lambda size: sizes[size]))
        found = ", ".join(f"{count} of {rows} x {columns}" for (rows, columns), count in sizes.most_common(4))
        raise DataError(f"{name}: slices of mixed sizes ({found}; {odd} differs), expected one. Take the others out.")
    first = frames[0]
    for frame in frames:
        turned = max(np.abs(frame.across - first.across).max(), np.abs(frame.down - first.down).max())
        if turned > TURNED:
            raise DataError(
                f"{name}: slices in several orientations ({first} and {frame}), such as a localiser, expected one. "
                "Keep the slices of one orientation."
            )
        if not np.allclose(frame.spacing, first.spacing, rtol=1e-3):
            raise DataError(f"{name}: pixels of mixed spacing ({first} and {frame}), expected one. Separate them.")
        if frame.stored != first.stored:
            raise DataError(f"{name}: pixels stored in mixed types ({first} and {frame}), expected one. Separate them.")


def _step(
    ordered: Sequence[Frame], places: Float[np.ndarray, "n"], normal: Float[np.ndarray, "3"], name: str
) -> Float[np.ndarray, "3"]:
    """Millimetres from slice to slice, as a vector; along the normal but for a gantry tilt."""
    stated = ordered[0].between
    if len(ordered) == 1:
        if (stated := stated or ordered[0].thickness) is None:
            raise DataError(f"{name}: one slice whose thickness is not stated, expected several slices.")
        return normal / np.linalg.norm(normal) * stated
    steps = np.diff(places)
    _require_apart(ordered, steps, name)
    even = (places[-1] - places[0]) / (len(ordered) - 1)
    off = np.abs(places - (places[0] + even * np.arange(len(ordered))))
    if off.max() > UNEVEN * np.median(steps):
        raise _uneven(ordered, steps, name)
    positions = np.array([frame.position for frame in ordered])
    step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    straight = positions[0] + step * np.arange(len(ordered))[:, None]
    if (sideways := np.linalg.norm(positions - straight, axis=1)).max() > UNEVEN * even + min(ordered[0].spacing) / 10:
        raise DataError(
            f"{name}: slices shifted sideways irregularly, such as {ordered[int(sideways.argmax())]} by "
            f"{sideways.max():.3g} mm, expected a straight stack. Resample them with a tool of the scanner's maker."
        )
    along = step @ normal / np.linalg.norm(normal)
    tilt = np.degrees(np.arccos(np.clip(along / np.linalg.norm(step), -1, 1)))
    if tilt > TILT:
        warnings.warn(
            f"{name}: gantry tilt of {tilt:.1f} degrees. The slices are taken where they lie, so the axes of the "
            "volume are not perpendicular; formats without shear cannot hold it.",
            stacklevel=4,
        )
    if stated is not None and round(even / stated) >= 2 and abs(even / stated - round(even / stated)) < UNEVEN:
        warnings.warn(
            f"{name}: slices {even:.4g} mm apart, where their headers say {stated:.4g} mm: there may be gaps, or every "
            "second slice is missing.",
            stacklevel=4,
        )
    return step


def _require_apart(ordered: Sequence[Frame], steps: Float[np.ndarray, "n"], name: str) -> None:
    """No two slices lie at one place: those would be time points, echoes, or copies."""
    typical = np.median(steps[steps > SAME_PLACE]) if (steps > SAME_PLACE).any() else SAME_PLACE
    same = steps <= max(SAME_PLACE, 0.01 * typical)
    if not same.any():
        return
    at = int(np.argmax(same))
    starts = [0, *(index + 1 for index, together in enumerate(same) if not together)]
    counts = {end - start for start, end in pairwise([*starts, len(ordered)])}
    several = f"{min(counts)} volumes" if len(counts) == 1 else "several images"
    differing = _differing(ordered[starts[np.searchsorted(starts, at, "right") - 1] : at + 2])
    why = f"; they differ in {', '.join(differing)}" if differing else "; nothing tells them apart, so copies perhaps"
    raise DataError(
        f"{name}: {several} at the same places, such as {ordered[at]} and {ordered[at + 1]}{why}. Separate them into "
        "folders, one volume each."
    )


def _differing(frames: Iterable[Frame]) -> list[str]:
    """The facts in which images at one place differ, by name; their values may be a patient's."""
    facts = [frame.facts for frame in frames]
    words = dict.fromkeys(word for each in facts for word in each)
    found = [word for word in words if len({each.get(word) for each in facts}) > 1]
    return [word for word in found if word != "time"] or found


def _uneven(ordered: Sequence[Frame], steps: Float[np.ndarray, "n"], name: str) -> DataError:
    typical = float(np.median(steps))
    at = int(np.argmax(steps))
    between = f"between {ordered[at]} and {ordered[at + 1]}"
    missing = steps[at] / typical
    usual = np.abs(steps - typical) <= UNEVEN * typical
    if round(missing) >= 2 and abs(missing - round(missing)) < 2 * UNEVEN and usual.mean() >= 0.5:
        return DataError(
            f"{name}: a gap of {steps[at]:.4g} mm {between} where slices are {typical:.4g} mm apart: "
            f"{plural(round(missing) - 1, 'slice')} missing there. Export the series again, whole."
        )
    return DataError(
        f"{name}: slices {steps.min():.4g} to {steps.max():.4g} mm apart (the most {between}), expected even "
        "distances. Separate it into even stacks, or resample it."
    )
