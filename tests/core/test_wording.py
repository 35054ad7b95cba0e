import pytest

from segmed.core.wording import plural, with_article


@pytest.mark.parametrize(
    ("number", "nouns", "text"),
    [
        (0, ("mask",), "0 masks"),
        (1, ("mask",), "1 mask"),
        (2, ("mask",), "2 masks"),
        (1, ("study", "studies"), "1 study"),
        (1204, ("study", "studies"), "1,204 studies"),
    ],
)
def test_one_is_singular_and_any_other_number_is_plural(number, nouns, text):
    assert plural(number, *nouns) == text


@pytest.mark.parametrize(("noun", "text"), [("image file", "an image file"), ("mask file", "a mask file")])
def test_the_article_fits_the_noun(noun, text):
    assert with_article(noun) == text
