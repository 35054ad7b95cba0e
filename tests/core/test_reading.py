"""Reading JSON, YAML and CSV of others: each is a value or one error that names the file."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from segmed.core.errors import ConfigError, DataError, SegmedError, SplitError
from segmed.core.files import table_text, write_table
from segmed.core.reading import FileName, parse_yaml, read_json, read_table, read_text


@dataclass(frozen=True)
class Entry:
    name: str
    share: float
    sides: tuple[int, int] = (1, 1)
    file: FileName = "a"


def read(path: Path, text: str | bytes) -> Entry:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_json(path, Entry, what="an entry", remedy="Make it again.")


def test_json_is_read_as_the_schema_says_and_keys_of_later_versions_are_left_out(tmp_path: Path) -> None:
    found = read(tmp_path / "a.json", '\ufeff{"name": "x", "share": 1, "sides": [3, 5], "later": null}')
    assert found == Entry("x", 1.0, (3, 5))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not valid JSON, expected an entry"),
        ("[" * 100_000, "not valid JSON, expected an entry .*recursion"),
        (b'{"name": "\xff", "share": 1}', "not UTF-8 text"),
        ('{"name": "\\ud800", "share": 1}', "not valid JSON"),
        ('{"name": "a\\u0000", "share": 1}', "holds a NUL character"),
        ('{"name": "x", "share": 1e999}', "not finite"),
        ('{"name": "x", "share": NaN}', "not valid JSON"),
        ('{"name": "x", "share": ' + "9" * 400 + "}", "more than 64 bits"),
        ('{"name": "x", "share": ' + "9" * 5000 + "}", "not valid JSON"),
        ('{"name": "x"}', "share is missing; expected an entry. Make it again."),
        ('{"name": "x", "share": true}', "share is True: input should be a valid number"),
        ('{"name": "x", "share": "1"}', "share is '1': input should be a valid number"),
        ('{"name": "x", "share": 1, "sides": [1, 2.5]}', "sides.1 is 2.5"),
        ('{"name": "x", "share": 1, "file": "' + "y" * 300 + '"}', "no name that a file can have"),
        ("[]", "expected an entry"),
        ("null", "expected an entry"),
    ],
)
def test_json_of_any_other_form_is_an_error_of_one_short_line_that_names_the_file(
    tmp_path: Path, text: str | bytes, told: str
) -> None:
    with pytest.raises(DataError, match=rf"a\.json: .*{told}") as caught:
        read(tmp_path / "a.json", text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


def test_the_error_is_of_the_kind_that_the_reader_asks_for(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"gone\.json: cannot read a split \(No such file"):
        read_json(tmp_path / "gone.json", Entry, what="a split", error=SplitError)


@pytest.mark.parametrize("found", ["2", "true", '"1"', "null", "1e999"])
def test_another_format_is_named_before_anything_else_is_looked_at(tmp_path: Path, found: str) -> None:
    (tmp_path / "a.json").write_text(f'{{"format": {found}, "name": 3}}')
    with pytest.raises(DataError, match=r"a\.json: (format .* is not 1, expected|holds a number that is not finite)"):
        read_json(tmp_path / "a.json", Entry, what="an entry", version=1)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
def test_a_path_that_no_file_can_have_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="Check the path"):
        read_text(tmp_path / name, what="a table")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x" * 11)
    with pytest.raises(ConfigError, match=r"a\.yaml: has 11 bytes, too many for a recipe"):
        read_text(tmp_path / "a.yaml", what="a recipe", error=ConfigError, most=10)


def test_yaml_is_read_as_plain_values_and_a_date_stays_text() -> None:
    text = "a: [1, 0x10, .inf, true, null, 2024-01-31, 2024-99-99]\nb: {c: '1'}"
    expected = {"a": [1, 16, float("inf"), True, None, "2024-01-31", "2024-99-99"], "b": {"c": "1"}}
    assert parse_yaml(text, source="r.yaml", error=ConfigError) == expected


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, "anchors and aliases are not read"),
        ("a: &a {b: *a}", "anchors and aliases are not read"),
        ("a: &a\n  b: *a\n", "anchors and aliases are not read"),
        ("<<: *a", "anchors and aliases are not read"),
        ("*a", "anchors and aliases are not read"),
        ("[" * 5000, "nested deeper than 32 levels"),
        ("{a: " * 5000, "nested deeper than 32 levels"),
        ("- " * 5000 + "x", "nested deeper than 32 levels"),
        ("a: !!int x", "tag .* is not read"),
        ("a: !!timestamp x", "tag .* is not read"),
        ("a: !!python/object/apply:os.system [id]", "tag .* is not read"),
        ("a: 0x" + "f" * 5000, "more than 64 bits"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ("a: " + "9" * 400, "more than 64 bits"),
        ('a: "\\0"', "holds a NUL character"),
        ("a: [", "not valid YAML"),
        ("? [a, b]\n: c", "not valid YAML"),
        ("\x07", "not valid YAML"),
        ("a: b\n---\nc: d", "not valid YAML"),
    ],
)
def test_yaml_that_is_not_plain_is_refused_at_once_in_one_short_line(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=f"r.yaml: .*{told}") as caught:
        parse_yaml(text, source="r.yaml", error=ConfigError)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_table_is_read_with_its_lines_and_rows_without_text_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('a;b\n\n;\n"1\n2";3\n4;5\n')
    found = read_table(tmp_path / "a.csv", what="a table", delimiters=",;")
    assert found.header == ("a", "b")
    assert found.rows == (("1\n2", "3"), ("4", "5"))
    assert found.lines == (5, 6)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty, expected a table"),
        (b"a,b\n1\n", "line 2: has 1 value but the header has 2 columns"),
        (b"a,b\n1,2,3\n", "line 2: has 3 values but the header has 2 columns"),
        (b'a,b\n"1,2\n', "not a CSV table"),
        (b"a,b\n" + b"x" * 131_073 + b",1\n", "not a CSV table"),
        (b"a,b\n\xff,1\n", "not UTF-8 text"),
        (b"a,b\n\0,1\n", "holds NUL characters"),
    ],
)
def test_a_table_of_any_other_form_is_an_error_that_names_file_and_line(
    tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.csv.*{told}"):
        read_table(tmp_path / "a.csv", what="a table")


WORDS = "=1+1 +a -a @a '=a ''-a 'a -0.5 +3 '-1 −1 = - a=b ＝a"
NAMES = [*WORDS.split(), "\ta", "\ra", "\na", "a,\r", ""]


def test_text_that_a_spreadsheet_would_act_on_is_set_apart_and_read_back_as_it_was(tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", ["=id", "x"], [[name, "y"] for name in NAMES])
    found = read_table(tmp_path / "a.csv", what="a table")
    assert found.header == ("=id", "x")
    assert [row[0] for row in found.rows] == NAMES
    written = [line.partition(",")[0].strip('"') for line in (tmp_path / "a.csv").read_text().split("\n")[:5]]
    assert written == ["'=id", "'=1+1", "'+a", "'-a", "'@a"]


def test_numbers_below_zero_stay_numbers(tmp_path: Path) -> None:
    assert table_text(["x"], [[-0.5], [-3], ["-0.5"], ["+1e-3"]]) == "x\n-0.5\n-3\n-0.5\n+1e-3\n"


def test_no_reader_needs_a_deeper_stack_than_python_has(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 199 + "]" * 199)
    before = sys.getrecursionlimit()
    with pytest.raises(SegmedError, match="expected an entry"):
        read_json(tmp_path / "a.json", Entry, what="an entry")
    assert sys.getrecursionlimit() == before


@pytest.mark.parametrize("text", ["epochs: 3\nepochs: 7\n", "loss: {name: focal, name: dice-bce}\n"])
def test_a_key_that_is_there_twice_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"the key '(epochs|name)' is there twice, line [12]"):
        parse_yaml(text, source="recipe.yaml", error=ConfigError)
