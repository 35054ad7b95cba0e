"""Who is told how far a study is."""

from typing import Protocol, runtime_checkable

from segmed.training.callbacks import Callbacks


@runtime_checkable
class Teller(Protocol):
    """Who is told how far the study is."""

    def say(self, text: str) -> None:
        """One line."""
        ...

    def callbacks(self) -> Callbacks | None:
        """What a training calls; None for nothing."""
        ...


class Quiet:
    """Tells nobody."""

    def say(self, text: str) -> None:
        """Nothing."""

    def callbacks(self) -> Callbacks | None:
        """Nobody."""
        return None
