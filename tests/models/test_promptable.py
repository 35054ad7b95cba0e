"""A promptable model of three levels, as SAM 2 has, is encoded, kept, read back and decoded like any other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from box_filler import config_of
from segmed.core.errors import DataError, ModelError
from segmed.data.embeddings import EmbeddingCache, EmbeddingKey, EmbeddingPlan
from segmed.data.embeddings.build import fill, require_same_plan
from segmed.data.embeddings.plan import Entry
from segmed.inference.prompted import PromptedPredictor
from segmed.layers.embedding import Embedding, Shape
from segmed.models.boxed import BoxedDense
from segmed.models.checkpoint import TrainedModel
from segmed.models.object_prompts import ObjectPrompts
from segmed.models.promptable import Decoded, Promptable, prompted_logits, require_promptable
from segmed.preprocess import PreprocessConfig
from segmed.prompts.value import Prompts

HEIGHT, WIDTH = 8, 12
SHAPES = ((3, 2, 3), (2, 4, 6), (1, 8, 12))
BOX = Prompts(boxes=[(2, 1, 9, 6)])


class ThreeLevels(nn.Module, Promptable):
    """The image at three scales; a mask is bright where all of them are, and only in the box."""

    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = nn.Conv2d(1, 1, 1)

    @property
    def feature_shapes(self) -> tuple[Shape, ...]:
        return SHAPES

    def features(self, image: Tensor) -> Embedding:
        image = self.image_encoder(image)
        sizes = [(channels, (rows, columns)) for channels, rows, columns in SHAPES]
        return Embedding(tuple(functional.adaptive_avg_pool2d(image, s).expand(-1, c, -1, -1) for c, s in sizes))

    def decode(self, embedding: Embedding, prompts: ObjectPrompts) -> Decoded:
        if embedding.shapes != SHAPES:
            raise ModelError("ThreeLevels decodes three levels.")
        levels = (functional.interpolate(each.mean(1, keepdim=True), (HEIGHT, WIDTH)) for each in embedding.levels)
        bright = sum(number * level for number, level in enumerate(levels, start=1))
        assert isinstance(bright, Tensor)
        drawn = bright[prompts.image, 0].float()
        for mask, box in zip(drawn, prompts.boxes.round().int().tolist(), strict=True):
            outside = torch.ones_like(mask, dtype=torch.bool)
            outside[box[1] : box[3], box[0] : box[2]] = False
            mask[outside] = -9.0
        return Decoded(drawn, torch.ones(len(prompts)))

    def enlarged(self, logits: Tensor) -> Tensor:
        return logits

    def forward(self, image: Tensor) -> Tensor:
        return self.unprompted(self.encode(image))


@pytest.fixture
def model() -> ThreeLevels:
    torch.manual_seed(0)
    return ThreeLevels().eval()


def images(count: int) -> Tensor:
    return torch.rand(count, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_three_levels_are_encoded_kept_in_shards_read_back_and_decoded_alike(
    model: ThreeLevels, tmp_path: Path
) -> None:
    entries: tuple[Entry, ...] = tuple((f"case_{number}", "identity") for number in range(5))
    inputs = images(5)

    def encode(some: Sequence[Entry]) -> Embedding:
        return model.features(torch.stack([inputs[entries.index(entry)] for entry in some]))

    plan = EmbeddingPlan(EmbeddingKey("d" * 64, "w" * 64, {}), entries, model.feature_shapes, "32-true")
    assert plan.entry_bytes == 2 * (3 * 2 * 3 + 2 * 4 * 6 + 8 * 12)
    fill(plan, tmp_path, encode, batch=2)
    cache = EmbeddingCache(tmp_path)
    assert cache.plan == plan
    kept = Embedding.join([cache.embedding(slice_id) for slice_id, _ in entries])
    assert [level.dtype for level in kept.levels] == [torch.float16] * 3
    whole = model.encode(inputs)
    for level, expected in zip(kept.levels, whole.levels, strict=True):
        assert torch.equal(level, expected.half())
    found = prompted_logits(model, model.completed(kept.float(), inputs), [BOX] * 5)
    assert (found[:, 1:6, 2:9] > -9).all()
    torch.testing.assert_close(found, prompted_logits(model, whole, [BOX] * 5), atol=5e-3, rtol=0)
    with pytest.raises(DataError, match=r"holds embeddings of other levels"):
        require_same_plan(EmbeddingPlan(plan.key, entries, SHAPES[:2], "32-true"), tmp_path)


def test_an_encoder_that_gives_other_levels_than_it_said_is_an_error_with_the_slice(tmp_path: Path) -> None:
    plan = EmbeddingPlan(EmbeddingKey("d", "w", {}), (("a", "identity"),), SHAPES, "32-true")
    with pytest.raises(DataError, match=r"^a: its embedding has levels of"):
        fill(plan, tmp_path, lambda _: Embedding((torch.zeros(1, 3, 2, 3),)))


def test_a_predictor_keeps_every_level_and_decodes_with_and_without_flips(model: ThreeLevels) -> None:
    plain = PreprocessConfig(channels=(0,), clip_percentiles=(0, 100), normalisation="minmax", divisor=1)
    trained = TrainedModel(model, config_of(preprocess=plain), Path("three"))
    image = (images(1)[0, 0] * 250).to(torch.uint8).numpy()
    for tta in ("none", "flips"):
        predictor = PromptedPredictor(trained, device="cpu", tta=tta)  # type: ignore[arg-type]
        encoded = predictor.encode(image)
        assert encoded.embedding.shapes == SHAPES
        answer = predictor.decode(encoded, BOX)
        assert (answer.objects[0, 1:6, 2:9] > 0.2).all()
        assert answer.presence is None
        outside = np.ones((HEIGHT, WIDTH), bool)
        outside[1:6, 2:9] = False
        assert (answer.objects[0][outside] < 1e-3).all()
    with pytest.raises(ModelError, match="takes no mask prompts"):
        _ = predictor.mask_cells


def test_only_what_follows_the_protocol_is_promptable() -> None:
    assert require_promptable(BoxedDense(nn.Conv2d(4, 1, 1))) is not None
    with pytest.raises(ModelError, match="Conv2d takes no prompts"):
        require_promptable(nn.Conv2d(1, 1, 1))


def test_levels_of_different_numbers_of_images_are_no_embedding() -> None:
    with pytest.raises(ModelError, match=r"levels of the same images, got \[2, 1\]"):
        Embedding((torch.zeros(2, 1, 1, 1), torch.zeros(1, 1, 1, 1)))
