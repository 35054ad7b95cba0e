"""What headers of images say of people, so that no text that is told holds any of it."""

import re
from dataclasses import dataclass, field

SHORTEST_WORD, SHORTEST_NUMBER = 2, 4


@dataclass(frozen=True)
class Identity:
    """What a header says of people: the words of their names, and their numbers and dates without punctuation.

    It is to be compared, and never printed.
    """

    words: frozenset[str] = field(default=frozenset(), repr=False)
    numbers: frozenset[str] = field(default=frozenset(), repr=False)

    def __or__(self, other: "Identity") -> "Identity":
        """What either header says."""
        return Identity(self.words | other.words, self.numbers | other.numbers)

    def is_in(self, name: str) -> bool:
        """Whether a name holds a word or a number of a header."""
        words = {word.casefold() for word in re.findall(r"[^\W\d_]+", name)}
        letters = plain(name)
        return (
            any(len(word) >= SHORTEST_WORD for word in words & self.words)
            or any(not word.isascii() and word in name.casefold() for word in self.words)
            or any(len(number) >= SHORTEST_NUMBER and number in letters for number in self.numbers)
        )


NOBODY = Identity()


def plain(text: str) -> str:
    """A text in small letters and digits alone, as numbers are compared."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())
