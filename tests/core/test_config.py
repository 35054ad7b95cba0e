"""Settings are checked, and a wrong key is answered with the nearest right one."""

import pytest

from segmed.core.config import config_dataclass, config_from_mapping, config_to_mapping
from segmed.core.errors import ConfigError


@config_dataclass
class Inner:
    rate: float = 0.1


@config_dataclass
class Outer:
    name: str = "x"
    inner: Inner = Inner()
    size: tuple[int, int] | None = None
    optional: Inner | None = None


@config_dataclass
class RenamedInner:
    encode_upsampler: int = 1


@config_dataclass
class Renamed:
    inner: RenamedInner = RenamedInner()


def test_a_nested_value_reaches_its_field() -> None:
    assert config_from_mapping(Outer, {"inner": {"rate": 2}}, source="r").inner.rate == 2.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nmae": "y"}, "r.yaml: unknown key 'nmae'. Did you mean 'name'?"),
        ({"inner": {"raet": 1}}, "r.yaml: unknown key 'inner.raet'. Did you mean 'rate'?"),
        ({"optional": {"raet": 1}}, "r.yaml: unknown key 'optional.raet'. Did you mean 'rate'?"),
        ({"optional": {"qq": 1}}, "r.yaml: unknown key 'optional.qq'. Choose one of: rate."),
        ({"inner": {"rate": "fast"}}, "r.yaml: inner.rate: .*number.*got 'fast'"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_path(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_from_mapping(Outer, values, source="r.yaml")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_no_setting(number: float) -> None:
    with pytest.raises(ConfigError, match=r"r\.yaml: inner\.rate: .*finite"):
        config_from_mapping(Outer, {"inner": {"rate": number}}, source="r.yaml")
    with pytest.raises(ConfigError, match=r"Inner: rate: .*finite"):
        Inner(rate=number)


def test_a_config_survives_the_way_through_plain_values() -> None:
    config = Outer(name="y", inner=Inner(rate=3.0), size=(4, 5))
    assert config_from_mapping(Outer, config_to_mapping(config), source="r") == config


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Outer().name = "z"  # type: ignore[misc]


@pytest.mark.parametrize("values", [{"encode_raiser": 2}, {"encode_upsampler": 2}])
def test_a_key_is_read_under_the_name_of_an_earlier_version_in_groups_too(values: dict[str, int]) -> None:
    assert config_from_mapping(Renamed, {"inner": values}, source="r").inner.encode_upsampler == 2


def test_a_former_key_beside_the_present_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown key 'encode_raiser'"):
        config_from_mapping(RenamedInner, {"encode_raiser": 1, "encode_upsampler": 2}, source="r")
