"""Prompts by a short name, as in `segmed evaluate --prompts gt,jitter:5,loose,none`."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from segmed.core.errors import ConfigError
from segmed.core.escaping import shortened
from segmed.prompts.sampling import MOST, PROMPTS, PromptConfig


@dataclass(frozen=True)
class PromptKind:
    """What a promptable model is told: `drawn` names how prompts are made, as in `--prompts`.

    `boxes` above 1 says that answers to as many boxes around each drawn one were averaged.
    """

    drawn: str
    boxes: int = 1

    def __str__(self) -> str:
        """As it is shown and stored: `jitter:5`, or `jitter:5 x8` where answers to 8 boxes were averaged."""
        return f"{self.drawn} {self.averaged}" if self.averaged else self.drawn

    @property
    def averaged(self) -> str:
        """`x8` where answers to 8 boxes were averaged, else empty."""
        return f"x{self.boxes}" if self.boxes > 1 else ""

    @classmethod
    def from_text(cls, text: str) -> "PromptKind":
        """Read what `str` gives, from a file."""
        drawn, _, times = text.rpartition(" x")
        return cls(drawn, int(times)) if drawn and _is_whole(times, 1) else cls(text)


def prompt_names(text: str) -> list[str]:
    """The names of a list separated by commas, in order, whatever they mean.

    Raises `ConfigError` for an empty list and a name given twice.
    """
    names = [name.strip() for name in text.split(",")]
    if not any(names):
        raise ConfigError(f"No prompts are named. Choose among: {_choices()}.")
    twice = [name for index, name in enumerate(names) if name and name in names[:index]]
    if twice:
        raise ConfigError(f"Prompts {shortened(twice[0])} are named twice. Name each once.")
    return names


def parse_prompt(name: str) -> PromptConfig:
    """Read one name: a key of `PROMPTS`, or one with a number.

    `jitter:5` moves each side out by 0 to 5 of the image's own pixels, `jitter:20@1024` by 0 to 20 pixels of an image
    of side 1024; `symmetric:5` moves sides in or out; `loose:1.3` makes the sides 1.3 times as long; `shifted:0.1`
    shifts by up to a tenth of the box. Raises `ConfigError` for anything else, with the nearest name.
    """
    word, colon, number = name.partition(":")
    if not colon and word in PROMPTS:
        return PROMPTS[word]
    if word in NUMBERED:
        if not number:
            raise ConfigError(f"Prompts {shortened(name)} need a number, such as {NUMBERED[word][0]}.")
        return NUMBERED[word][1](name, number)
    if word in PROMPTS:
        raise ConfigError(f"Prompts {word!r} take no number, got {shortened(name)}. Write {word}.")
    near = difflib.get_close_matches(word, [*PROMPTS, *NUMBERED], n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"Unknown prompts {shortened(name)}. {hint}Choose among: {_choices()}.")


def _jitter(name: str, number: str) -> PromptConfig:
    pixels, side = _pixels(name, number)
    return PromptConfig(outward=pixels, pixels_at=side)


def _symmetric(name: str, number: str) -> PromptConfig:
    pixels, side = _pixels(name, number)
    return PromptConfig(symmetric=pixels, pixels_at=side)


def _loose(name: str, number: str) -> PromptConfig:
    factor = _real(name, number, low=1.0, high=100.0)
    return PromptConfig(enlarge=(factor, factor))


def _shifted(name: str, number: str) -> PromptConfig:
    return PromptConfig(shift=_real(name, number, low=0.0, high=0.5))


NUMBERED: dict[str, tuple[str, Callable[[str, str], PromptConfig]]] = {
    "jitter": ("jitter:5", _jitter),
    "symmetric": ("symmetric:5", _symmetric),
    "loose": ("loose:1.5", _loose),
    "shifted": ("shifted:0.25", _shifted),
}
"""Names that take a number after a colon: an example, and what reads them."""


def _pixels(name: str, number: str) -> tuple[int, int | None]:
    pixels, at, side = number.partition("@")
    if not _is_whole(pixels, 0) or (at and not _is_whole(side, 1)):
        word = name.partition(":")[0]
        raise ConfigError(
            f"Prompts {shortened(name)}: a whole number of pixels up to {MOST} was expected, such as {word}:5, or "
            f"{word}:20@1024 for 20 pixels of an image of side 1024."
        )
    return int(pixels), int(side) if at else None


def _is_whole(text: str, least: int) -> bool:
    return text.isdecimal() and len(text) <= len(str(MOST)) and least <= int(text) <= MOST


def _real(name: str, number: str, *, low: float, high: float) -> float:
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        example = NUMBERED[name.partition(":")[0]][0]
        raise ConfigError(
            f"Prompts {shortened(name)}: a number from {low:g} to {high:g} was expected, such as {example}."
        )
    return value


def _choices() -> str:
    return ", ".join([*PROMPTS, *(example for example, _ in NUMBERED.values())])
