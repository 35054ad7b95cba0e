"""Labels, colours and one-hot channels turn into each other without loss."""

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.core.labels import LabelMap, one_hot

COLOURS = LabelMap(("rim", "cup"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))


def test_grey_values_decode_to_labels_and_back() -> None:
    labels = LabelMap(("rim", "cup"), (7, 3, 200))
    stored = np.array([[7, 3], [200, 7], [3, 3]], np.uint8)
    decoded = labels.decode(stored, "m")
    assert decoded.tolist() == [[0, 1], [2, 0], [1, 1]]
    assert np.array_equal(labels.encode(decoded), stored)


def test_colours_decode_to_labels_and_back() -> None:
    stored = np.array([[[0, 0, 0], [255, 0, 0], [0, 255, 0]]], np.uint8)
    decoded = COLOURS.decode(stored, "m")
    assert decoded.tolist() == [[0, 1, 2]]
    assert np.array_equal(COLOURS.encode(decoded), stored)


def test_an_unknown_value_is_refused_with_file_value_and_remedy() -> None:
    with pytest.raises(DataError, match=r"m\.png: mask value 254 is not a label; expected 0, 255.*--labels"):
        LabelMap().decode(np.array([[0, 254]], np.uint8), "m.png")


def test_one_hot_has_one_class_a_pixel_and_is_exact_for_odd_sizes() -> None:
    labels = np.random.default_rng(0).integers(0, 4, (5, 7)).astype(np.uint8)
    channels = one_hot(labels, 4)
    assert channels.shape == (4, 5, 7)
    assert (channels.sum(0) == 1).all()
    assert np.array_equal(channels.argmax(0), labels)


@pytest.mark.parametrize("labels", [LabelMap(), COLOURS])
def test_a_label_map_survives_json(labels: LabelMap) -> None:
    assert LabelMap.from_json(labels.to_json()) == labels


@pytest.mark.parametrize("stored", [(0, 256), (0, -1), ((0, 0, 0), (0, 0, 300))])
def test_values_that_no_eight_bit_mask_can_hold_are_refused(stored: tuple[object, ...]) -> None:
    with pytest.raises(DataError, match="are 0 to 255"):
        LabelMap(("a",), stored)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "has lists 'names' and 'stored'"),
        ({"names": ["a"]}, "has lists 'names' and 'stored'"),
        ({"names": [1], "stored": [0, 1]}, "has lists 'names' and 'stored'"),
        ({"names": ["a"], "stored": [0, "x"]}, "whole numbers or all colours"),
        ({"names": ["a"], "stored": [0, None]}, "whole numbers or all colours"),
        ({"names": ["a"], "stored": [0, 1.5]}, "whole numbers or all colours"),
        ({"names": ["a"], "stored": [[0, 0], [1, 1]]}, "whole numbers or all colours"),
        ({"names": ["a"], "stored": [0, [1, 1, 1]]}, "whole numbers or all colours"),
    ],
)
def test_json_that_is_no_label_map_is_refused(value: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        LabelMap.from_json(value)


def test_two_labels_of_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="Label names must differ"):
        LabelMap(("a", "a"), (0, 1, 2))


def test_a_map_with_two_labels_of_one_value_is_refused() -> None:
    with pytest.raises(DataError, match="must differ"):
        LabelMap(("a", "b"), (0, 1, 1))


def test_a_single_label_that_nobody_named_is_any_single_label() -> None:
    tumour, two = LabelMap(("tumour",), (0, 1)), LabelMap(("rim", "cup"), (0, 1, 2))
    assert LabelMap().names == ("foreground",)
    assert LabelMap().means_the_same_as(tumour)
    assert tumour.means_the_same_as(LabelMap())
    assert not tumour.means_the_same_as(LabelMap(("lung",), (0, 1)))
    assert not LabelMap().means_the_same_as(two)


def test_a_label_that_nobody_named_is_looked_for_where_there_is_one_of_its_name_alone() -> None:
    assert not LabelMap().names_one_of({"liver"})
    assert LabelMap().names_one_of({"liver", "foreground"})
    assert LabelMap(("spleen",)).names_one_of({"liver"})


def test_a_map_without_a_label_is_refused() -> None:
    with pytest.raises(DataError, match="at least one label"):
        LabelMap.from_json({"names": [], "stored": [0]})
