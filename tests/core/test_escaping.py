"""Text of others is shown and never acts."""

import re

import pytest

from segmed.core.escaping import for_csv, for_markdown, for_terminal, from_csv, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("p01 Größe 患者 \U0001f600 e\u0301", "p01 Größe 患者 \U0001f600 e\u0301"),
        ("a\x1b[31mb\x1b]0;title\x07", r"a\x1b[31mb\x1b]0;title\x07"),
        ("a\x9b2Jb\x85", r"a\x9b2Jb\x85"),
        ("a\rb\x08\x00\x7f", r"a\rb\x08\x00\x7f"),
        ("a\u202egnp.exe", r"a\u202egnp.exe"),
        ("a\u2028b\udc80", r"a\u2028b\udc80"),
        ("a\n\tb", "a\n\tb"),
    ],
)
def test_a_terminal_is_told_nothing_but_letters(text: str, shown: str) -> None:
    assert for_terminal(text) == shown


def test_a_name_on_one_line_stays_on_it() -> None:
    assert for_terminal("a\n\tb", lines=False) == r"a\n\tb"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("unet_r34 0.823 [0.79, 0.85] < 0.001 & 5 ~ x", r"unet_r34 0.823 [0.79, 0.85] < 0.001 & 5 \~ x"),
        ("<svg onload=alert(1)>", "&lt;svg onload=alert(1)>"),
        ("</td><!-- <?x &lt; &#60;", "&lt;/td>&lt;!-- &lt;?x &amp;lt; &amp;#60;"),
        ("![x](http://a/b.png) [y][z] [y]: b", r"![x\](http://a/b.png) [y\][z] [y\]: b"),
        ("a|b\\|c", r"a\|b\\\|c"),
        ("*a* _b_ $c$", r"\*a\* \_b\_ \$c\$"),
        ("a\n\n# b\r<b>", "a # b &lt;b>"),
        ("# a", r"\# a"),
        ("- a", r"\- a"),
        ("---", r"\---"),
        ("a\x1bb", r"a\\x1bb"),
    ],
)
def test_markdown_shows_a_name_and_makes_nothing_of_it(text: str, written: str) -> None:
    found = for_markdown(text)
    assert "\n" not in found
    assert found == written if "\x1b" not in text else re.fullmatch(r"a\\+x1bb", found)


def test_a_field_of_csv_comes_back_however_often_it_was_set_apart() -> None:
    text = "=a"
    for _ in range(4):
        assert from_csv(for_csv(text)) == text
        text = for_csv(text)
    assert text == "''''=a"


def test_any_value_fits_a_line() -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    for value in (deep, "x" * 10**6, 16**5000, {"a": ["b" * 500] * 500}, list(range(10**5))):
        assert len(shortened(value)) < 1500
