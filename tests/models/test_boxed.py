"""A dense model with a box channel sees the drawn box of each object, and nothing where none is given."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segmed.core.errors import ModelError
from segmed.layers.embedding import Embedding
from segmed.layers.gafl import GaflConfig
from segmed.models.boxed import BoxedDense, expected_iou
from segmed.models.config import ModelConfig
from segmed.models.object_prompts import ObjectPrompts
from segmed.models.promptable import NOTHING, prompted_logits
from segmed.models.zoo import build_model
from segmed.prompts.value import Prompts


class LastChannel(nn.Module):
    """Repeats the last channel of what it is given, from -1 (outside) to 1 (inside)."""

    requires_divisible_input_shape = False

    def forward(self, image: Tensor) -> Tensor:
        return 2 * image[:, -1:] - 1


def small(**changes: object) -> ModelConfig:
    encoder = "tu-test_efficientnet"
    return ModelConfig(
        **{"name": "unet", "encoder": encoder, "encoder_weights": "none", "box_channel": True, **changes}
    )  # type: ignore[arg-type]


def test_each_object_is_a_pass_with_its_own_box_drawn_on_a_non_square_image() -> None:
    prompts = ObjectPrompts.of([Prompts(boxes=[(1, 2, 4, 3), (0, 0, 1.5, 1)]), Prompts(boxes=[(5, 0, 7, 5)])])
    drawn = BoxedDense(LastChannel()).decode(Embedding((torch.randn(2, 3, 5, 7),)), prompts).logits
    expected = torch.full((3, 5, 7), -1.0)
    expected[0, 2, 1:4] = 1
    expected[1, 0, 0], expected[1, 0, 1] = 1, 0  # half of the pixel is covered
    expected[2, :, 5:] = 1
    torch.testing.assert_close(drawn, expected)


def test_the_channel_is_zero_where_nothing_is_asked() -> None:
    model = BoxedDense(LastChannel())
    assert (model(torch.randn(2, 3, 5, 7)) == -1).all()
    logits = prompted_logits(model, Embedding((torch.randn(2, 3, 5, 7),)), [Prompts(), Prompts(boxes=[(0, 0, 7, 5)])])
    assert (logits[0] == NOTHING).all()
    assert (logits[1] == 1).all()


def test_no_object_at_all_needs_no_pass() -> None:
    decoded = BoxedDense(LastChannel()).decode(
        Embedding((torch.randn(2, 3, 5, 7),)), ObjectPrompts.of([Prompts()] * 2, ask_all=False)
    )
    assert decoded.logits.shape == (0, 5, 7)


@pytest.mark.parametrize("prompts", [Prompts(points=[(1, 1)]), Prompts(logits=np.zeros((1, 4, 4)))])
def test_points_and_masks_are_refused(prompts: Prompts) -> None:
    with pytest.raises(ModelError, match="takes boxes alone"):
        BoxedDense(LastChannel()).decode(Embedding((torch.randn(1, 3, 5, 7),)), ObjectPrompts.of([prompts]))


def test_the_zoo_builds_it_with_one_channel_more() -> None:
    model = build_model(small(channels=2)).eval()
    assert isinstance(model, BoxedDense)
    assert small().takes_prompts
    with torch.inference_mode():
        assert model(torch.randn(1, 2, 64, 96)).shape == (1, 1, 64, 96)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": 2}, "one label"),
        ({"name": "sam-tiny"}, "takes boxes already"),
        ({"gafl": GaflConfig()}, "neither model.gafl nor model.upsampler"),
        ({"upsampler": "jbu"}, "neither model.gafl nor model.upsampler"),
    ],
)
def test_what_cannot_have_a_box_channel_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        build_model(small(**changes))


def test_the_expected_iou_is_that_of_the_probabilities() -> None:
    probabilities = torch.tensor([[[0.9, 0.7, 0.2, 0.0]], [[0.1, 0.3, 0.0, 0.0]]])
    assert expected_iou(probabilities.logit()).tolist() == pytest.approx([1.6 / 2.2, 0.7])
