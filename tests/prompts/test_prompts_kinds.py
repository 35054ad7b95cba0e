"""Prompts are named on the command line; a wrong name is answered with the right one."""

import pytest

from segmed.core.errors import ConfigError
from segmed.prompts.kinds import PromptKind, parse_prompt, prompt_names
from segmed.prompts.sampling import PROMPTS, PromptConfig


@pytest.mark.parametrize("name", PROMPTS)
def test_a_name_of_the_table_means_its_settings(name):
    assert parse_prompt(name) == PROMPTS[name]


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("jitter:5", PromptConfig(outward=5)),
        ("jitter:0", PromptConfig()),
        ("jitter:20@1024", PROMPTS["medsam"]),
        ("symmetric:3", PromptConfig(symmetric=3)),
        ("loose:1.25", PromptConfig(enlarge=(1.25, 1.25))),
        ("shifted:0.1", PromptConfig(shift=0.1)),
    ],
)
def test_a_number_says_how_much(name, config):
    assert parse_prompt(name) == config


def test_a_list_keeps_its_order():
    assert prompt_names("none, jitter:20,gt,jitter:5 ,loose") == ["none", "jitter:20", "gt", "jitter:5", "loose"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jitter", "'jitter' need a number, such as jitter:5"),
        ("jitter:", "need a number"),
        ("jitter:five", "a whole number of pixels up to 65535 was expected, such as jitter:5"),
        ("jitter:-3", "a whole number"),
        ("jitter:2.5", "a whole number"),
        ("jitter:5@", "a whole number"),
        ("jitter:5@0", "a whole number"),
        ("jitter:65536", "a whole number of pixels up to 65535 was expected"),
        ("jitter:99999999999999999999", "a whole number of pixels up to 65535"),
        (f"symmetric:{'9' * 5000}", "999': a whole number of pixels up to 65535"),
        (f"jitter:5@{'9' * 5000}", "a whole number of pixels up to 65535"),
        (f"loose:{'9' * 5000}", "a number from 1 to 100"),
        ("gt:3", "'gt' take no number, got 'gt:3'. Write gt"),
        ("loose:0.5", "a number from 1 to 100 was expected, such as loose:1.5"),
        ("loose:nan", "a number from 1"),
        ("shifted:2", "a number from 0 to 0.5"),
        ("jiter:5", "Unknown prompts 'jiter:5'. Did you mean 'jitter'?"),
        ("cascade", "Unknown prompts 'cascade'. Choose among: gt, "),
        ("gt,", "Unknown prompts ''"),
        ("", "No prompts are named"),
        ("gt,none,gt", "'gt' are named twice"),
    ],
)
def test_what_is_not_understood_is_refused_with_what_would_be(name, message):
    with pytest.raises(ConfigError) as refusal:
        [parse_prompt(each) for each in prompt_names(name)]
    assert message in str(refusal.value)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("kind", [PromptKind("gt"), PromptKind("jitter:20@1024"), PromptKind("loose:1.3", 8)], ids=str)
def test_a_kind_is_read_back_as_it_is_shown(kind):
    assert PromptKind.from_text(str(kind)) == kind
    assert kind.averaged == ("x8" if kind.boxes == 8 else "")
