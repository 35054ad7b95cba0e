"""Numbers and nouns in sentences: 1 mask, 2 masks, an image."""


def plural(number: int, noun: str, several: str | None = None) -> str:
    """A number with its noun.

    Args:
        number: How many there are.
        noun: One of them.
        several: More of them, where it is not the noun with an s.

    Returns:
        `1 mask`, `2 masks`; thousands are set apart: `1,204 slices`.

    Example:
        >>> plural(1, "mask"), plural(0, "mask"), plural(1204, "study", "studies")
        ('1 mask', '0 masks', '1,204 studies')
    """
    return f"{number:,} {noun if number == 1 else several or f'{noun}s'}"


def with_article(noun: str) -> str:
    """A noun after `a` or `an`, by its first letter.

    Example:
        >>> with_article("image"), with_article("mask")
        ('an image', 'a mask')
    """
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
