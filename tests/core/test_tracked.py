"""Whoever waits is told after each item that it is done."""

from collections.abc import Iterator

import pytest

from segmed.core.progress import tracked


def test_an_item_is_done_when_the_next_is_asked_for() -> None:
    events: list[object] = []
    for item in tracked(["a", "b"], lambda done, total: events.append((done, total))):
        events.append(item)
    assert events == ["a", (1, 2), "b", (2, 2)]


def test_without_anybody_to_tell_items_come_as_they_are() -> None:
    assert list(tracked(iter("ab"), None)) == ["a", "b"]


def test_items_without_a_length_need_a_total() -> None:
    def letters() -> Iterator[str]:
        yield from "ab"

    told: list[tuple[int, int]] = []
    assert list(tracked(letters(), lambda done, total: told.append((done, total)), total=2)) == ["a", "b"]
    assert told == [(1, 2), (2, 2)]
    with pytest.raises(TypeError, match="has no len"):
        list(tracked(letters(), lambda done, total: None))


def test_an_item_whose_work_was_given_up_is_not_done() -> None:
    told: list[tuple[int, int]] = []
    for item in tracked(["a", "b"], lambda done, total: told.append((done, total))):
        if item == "b":
            break
    assert told == [(1, 2)]
