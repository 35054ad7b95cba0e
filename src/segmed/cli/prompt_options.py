"""The boxes and points that `segmed predict` is given: one by one, or in files, for images and for volumes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from segmed.core.errors import ConfigError

if TYPE_CHECKING:
    from segmed.inference import VolumePredictor
    from segmed.inference.prompt_files import Kind
    from segmed.inference.prompted import PromptedPredictor

T = TypeVar("T")


@dataclass(frozen=True)
class GivenPrompts:
    """What the options say: `--box`, `--point`, `--boxes`, `--points` and `--propagate`."""

    box: tuple[str, ...]
    point: tuple[str, ...]
    boxes: Path | None
    points: Path | None
    propagate: bool

    def for_run(self, predictor: "VolumePredictor") -> "PromptedPredictor | None":
        """The predictor that is asked, None where no box or point is given; `ConfigError` where it takes none."""
        if not any((self.box, self.point, self.boxes, self.points)):
            if self.propagate:
                raise ConfigError("--propagate carries boxes or points: give some with --boxes FILE.csv.")
            return None
        from segmed.inference.prompted import PromptedPredictor

        if not isinstance(predictor, PromptedPredictor):
            raise ConfigError(f"{predictor.folder}: takes no boxes or points.")
        return predictor

    def require_one(self, count: int, what: str, root: Path) -> None:
        """Raise `ConfigError` where single boxes or points are given for several images or volumes."""
        if (self.box or self.point) and count != 1:
            raise ConfigError(
                f"--box and --point are for one {what}, and {root} has {count}. Write a file for --boxes or --points."
            )

    def read(self, read: "Callable[[Path, Kind | None], list[T]]", parse: Callable[[str, str], T]) -> list[T]:
        """What the files hold, and what was given one by one: `parse(text, option)`."""
        boxes, points = self.boxes, self.points
        given = [] if boxes is None else read(boxes, None if boxes == points else "boxes")
        given += [] if points is None or points == boxes else read(points, "points")
        for option, texts in (("--box", self.box), ("--point", self.point)):
            given += [parse(text, option) for text in texts]
        return given
