"""A batch of ragged prompts is padded, says what is padding, and comes apart exactly."""

import numpy as np
import pytest

from segmed.core.errors import DataError
from segmed.prompts.value import NO_POINT, PromptBatch, Prompts

BOX = Prompts(boxes=[[0.1, 2, 3, 4]])
TWO = Prompts(
    boxes=[[1, 2, 3, 4], [5, 6, 7, 9]],
    points=[[1, 2], [5, 6], [6, 8]],
    point_labels=[1, 1, 0],
    point_objects=[0, 1, 1],
)
CLICKS = Prompts(points=[[1 / 3, 2 / 3]], point_labels=[0])
MASKED = Prompts(logits=np.arange(12, dtype=np.float32).reshape(2, 2, 3))
REFINED = Prompts(boxes=[[1, 2, 3, 4]], points=[[2, 3]], logits=np.ones((1, 2, 3)))
NONE = Prompts()


def unstacked(batch: PromptBatch) -> tuple[Prompts, ...]:
    """The prompts of each image without the padding."""
    return tuple(_of_image(batch, image) for image in range(len(batch.objects)))


def _of_image(batch: PromptBatch, image: int) -> Prompts:
    owners, place = np.nonzero(batch.point_labels[image] != NO_POINT)  # by object, then in order
    with_logits = batch.has_logits[image]
    return Prompts(
        boxes=batch.boxes[image, batch.has_box[image]],
        points=batch.points[image, owners, place],
        point_labels=batch.point_labels[image, owners, place],
        point_objects=owners,
        logits=batch.logits[image, with_logits] if batch.logits is not None and with_logits.any() else None,
    )


@pytest.mark.parametrize(
    "several", [[BOX], [TWO, BOX], [NONE, TWO, CLICKS], [MASKED, BOX, REFINED, NONE, TWO], [NONE, NONE], []]
)
def test_without_its_padding_a_batch_is_exactly_what_was_stacked(several):
    assert unstacked(PromptBatch.stack(several)) == tuple(several)


def test_padding_is_marked():
    batch = PromptBatch.stack([BOX, TWO, NONE, CLICKS])
    assert batch.objects.tolist() == [[True, False], [True, True], [False, False], [True, False]]
    assert batch.has_box.tolist() == [[True, False], [True, True], [False, False], [False, False]]
    assert batch.point_labels.shape == (4, 2, 2)
    assert batch.point_labels[1].tolist() == [[1, NO_POINT], [1, 0]]
    assert (batch.point_labels != NO_POINT).sum() == 4
    assert not batch.boxes[~batch.has_box].any()
    assert not batch.points[batch.point_labels == NO_POINT].any()


def test_masks_are_there_only_where_an_image_has_them():
    assert PromptBatch.stack([BOX, TWO]).logits is None
    batch = PromptBatch.stack([BOX, MASKED])
    assert batch.logits is not None
    assert batch.logits.shape == (2, 2, 2, 3)
    assert batch.has_logits.tolist() == [[False, False], [True, True]]


def test_masks_of_different_sizes_are_refused():
    with pytest.raises(DataError, match=r"differ in size: \[\(2, 3\), \(4, 4\)\]"):
        PromptBatch.stack([MASKED, Prompts(logits=np.zeros((1, 4, 4)))])


def test_a_batch_without_any_prompt_has_no_object():
    assert PromptBatch.stack([NONE, NONE]).objects.shape == (2, 0)
