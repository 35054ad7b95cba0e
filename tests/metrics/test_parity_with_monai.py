import numpy as np
import pytest
import torch

from segmed.metrics.counts import count, dice, iou


@pytest.mark.parametrize("seed", range(4))
def test_dice_and_iou_of_a_volume_agree_with_monai(seed):
    from monai.metrics import compute_dice, compute_iou

    generator = np.random.default_rng(seed)
    reference, prediction = generator.random((2, 7, 11, 13)) < 0.3
    guess, truth = torch.tensor(prediction)[None, None], torch.tensor(reference)[None, None]
    counts = count(reference, prediction)
    assert dice(counts) == pytest.approx(compute_dice(guess, truth, ignore_empty=False).item())
    assert iou(counts) == pytest.approx(compute_iou(guess, truth, ignore_empty=False).item())
