import math

import numpy as np
import pytest
import torch

from segmed.metrics.counts import count, dice, iou
from segmed.metrics.surface import surface_scores


@pytest.mark.parametrize("seed", range(4))
def test_dice_and_iou_of_a_volume_agree_with_monai(seed):
    from monai.metrics import compute_dice, compute_iou

    generator = np.random.default_rng(seed)
    reference, prediction = generator.random((2, 7, 11, 13)) < 0.3
    guess, truth = torch.tensor(prediction)[None, None], torch.tensor(reference)[None, None]
    counts = count(reference, prediction)
    assert dice(counts) == pytest.approx(compute_dice(guess, truth, ignore_empty=False).item())
    assert iou(counts) == pytest.approx(compute_iou(guess, truth, ignore_empty=False).item())


# MONAI 1.5 itself passes an argument that it deprecates, and it warns of the empty side.
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning", "ignore:.*may result in nan/inf distance")
@pytest.mark.parametrize("sides", [(True, False), (False, True), (False, False)])
def test_where_a_side_is_empty_we_agree_with_monai_on_scores_and_differ_as_documented(sides):
    from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou, compute_surface_dice

    block = np.zeros((9, 12), bool)
    block[2:6, 3:7] = True
    reference, prediction = (block & side for side in sides)
    guess, truth = torch.tensor(prediction)[None, None], torch.tensor(reference)[None, None]
    counts, surfaces = count(reference, prediction), surface_scores([reference], [prediction])
    assert math.isnan(compute_hausdorff_distance(guess, truth, include_background=True, percentile=95).item())
    nsd = compute_surface_dice(guess, truth, [1.0], include_background=True).item()
    assert surfaces.nsd[0] == pytest.approx(nsd, nan_ok=True)
    if any(sides):
        assert dice(counts) == compute_dice(guess, truth, ignore_empty=False).item() == 0.0
        assert iou(counts) == compute_iou(guess, truth, ignore_empty=False).item() == 0.0
        assert surfaces.hd95 == 15.0  # the diagonal, where MONAI has NaN
    else:
        assert math.isnan(dice(counts))
        assert math.isnan(compute_dice(guess, truth, ignore_empty=True).item())
        assert math.isnan(surfaces.hd95)
