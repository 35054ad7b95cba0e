import math

import numpy as np
import pytest

from segmed.metrics.surface import surface, surface_scores

EMPTY = np.zeros((9, 12), bool)


def square(top: int, left: int, side: int = 4) -> np.ndarray:
    mask = EMPTY.copy()
    mask[top : top + side, left : left + side] = True
    return mask


def test_the_surface_is_the_outline_of_a_square():
    assert surface(square(2, 3)).sum() == 12


def test_the_edge_of_the_image_counts_as_outside():
    assert surface(np.ones((3, 4), bool)).sum() == 10


def test_a_perfect_prediction_has_distance_zero_and_full_agreement():
    scores = surface_scores([square(2, 3), EMPTY], [square(2, 3), EMPTY])
    assert scores.hd95 == 0.0
    assert scores.nsd == (1.0, 1.0)
    assert scores.one_sided_slices == 0


def test_single_pixels_three_apart_are_three_pixels_apart():
    scores = surface_scores([square(2, 3, 1)], [square(2, 6, 1)], tolerances=(2.9, 3.0))
    assert scores.hd95 == 3.0
    assert scores.nsd == (0.0, 1.0)


def test_a_known_spacing_gives_the_distance_in_its_unit():
    assert surface_scores([square(2, 3, 1)], [square(4, 3, 1)], spacing=(0.5, 1.0)).hd95 == 1.0


def test_a_square_shifted_by_one_pixel_agrees_within_one_pixel():
    scores = surface_scores([square(2, 3)], [square(2, 4)])
    assert scores.hd95 == 1.0
    assert scores.nsd == (1.0, 1.0)


def test_a_missed_patient_gets_the_diagonal_of_the_image():
    scores = surface_scores([square(2, 3), EMPTY], [EMPTY, EMPTY])
    assert scores.hd95 == 15.0  # 9 by 12 pixels
    assert scores.nsd == (0.0, 0.0)
    assert scores.one_sided_slices == 1


def test_a_patient_found_only_in_other_slices_gets_the_diagonal_as_well():
    scores = surface_scores([square(2, 3), EMPTY], [EMPTY, square(2, 3)])
    assert scores.hd95 == 15.0
    assert scores.one_sided_slices == 2


def test_a_patient_without_the_label_in_both_masks_has_no_score():
    scores = surface_scores([EMPTY], [EMPTY])
    assert math.isnan(scores.hd95)
    assert all(math.isnan(share) for share in scores.nsd)


def test_a_false_alarm_in_a_patient_without_the_label_gets_the_diagonal():
    scores = surface_scores([EMPTY, EMPTY], [square(2, 3, 1), EMPTY])
    assert scores.hd95 == 15.0
    assert scores.nsd == (0.0, 0.0)


def test_the_surface_of_a_one_sided_slice_lies_a_diagonal_away():
    scores = surface_scores([square(2, 3), square(2, 3)], [square(2, 3), EMPTY])
    assert scores.nsd == (24 / 36, 24 / 36)  # 12 surface pixels on each side of slice one, 12 unmatched in slice two
    assert scores.hd95 == 15.0
    assert scores.one_sided_slices == 1


def test_one_perfect_slice_of_twenty_does_not_make_hd95_good():
    scores = surface_scores([square(2, 3)] * 20, [square(2, 3)] + [EMPTY] * 19)
    assert scores.hd95 == 15.0
    assert scores.one_sided_slices == 19


def test_false_alarms_on_other_slices_do_not_leave_hd95_good():
    assert surface_scores([square(2, 3), EMPTY], [square(2, 3), square(2, 3)]).hd95 == 15.0


def test_a_single_missed_pixel_in_forty_is_below_the_95th_percentile():
    reference, prediction = [square(2, 3)] * 3 + [square(5, 5, 1)], [square(2, 3)] * 3 + [EMPTY]
    assert surface_scores(reference, prediction).hd95 == 0.0  # 1 of 37 surface pixels


def test_a_one_sided_pixel_is_not_within_a_tolerance_larger_than_the_image():
    assert surface_scores([np.ones((1, 1), bool)], [np.zeros((1, 1), bool)], tolerances=(9.0,)).nsd == (0.0,)


def test_nsd_pools_surface_pixels_of_slices_rather_than_averaging_slices():
    scores = surface_scores([square(0, 0, 1), square(2, 3)], [square(8, 11, 1), square(2, 3)])
    assert scores.nsd == (24 / 26, 24 / 26)


def random_blob(seed: int) -> np.ndarray:
    from scipy import ndimage

    noise = np.random.default_rng(seed).normal(size=(37, 52))
    return ndimage.gaussian_filter(noise, 3.0) > 0.05


# MONAI 1.5 itself passes an argument that it deprecates; nothing of ours.
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@pytest.mark.parametrize("seed", range(6))
def test_one_slice_agrees_with_monai(seed):
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    reference, prediction = random_blob(seed), random_blob(seed + 100)
    scores = surface_scores([reference], [prediction])
    guess, truth = torch.tensor(prediction)[None, None], torch.tensor(reference)[None, None]
    hd95 = compute_hausdorff_distance(guess, truth, include_background=True, percentile=95)
    nsd = [compute_surface_dice(guess, truth, [t], include_background=True) for t in (1.0, 2.0)]
    assert scores.hd95 == pytest.approx(hd95.item())
    assert scores.nsd == pytest.approx([share.item() for share in nsd])


def test_distances_over_shared_slices_hold_no_penalty_and_stand_beside_those_that_do():
    scores = surface_scores([square(2, 3), square(2, 3), EMPTY], [square(2, 4), EMPTY, EMPTY])
    assert scores.hd95 == 15.0
    assert scores.hd95_shared == 1.0
    assert scores.nsd == (pytest.approx(24 / 36),) * 2
    assert scores.nsd_shared == (1.0, 1.0)


def test_without_a_slice_that_both_masks_mark_the_shared_distances_are_undefined():
    scores = surface_scores([square(2, 3), EMPTY], [EMPTY, square(2, 3)])
    assert math.isnan(scores.hd95_shared)
    assert all(math.isnan(share) for share in scores.nsd_shared)


def test_where_every_slice_is_shared_both_kinds_of_distances_are_equal():
    scores = surface_scores([square(2, 3), square(1, 1)], [square(4, 3), square(1, 3)])
    assert (scores.hd95_shared, scores.nsd_shared) == (scores.hd95, scores.nsd)


def test_slices_of_several_sizes_are_refused():
    masks = [np.ones((10, 10), bool), np.ones((20, 20), bool)]
    with pytest.raises(ValueError, match="of one size"):
        surface_scores(masks, masks)
