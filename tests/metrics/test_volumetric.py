import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from segmed.metrics.volumetric import SurfaceDistances, surface_distances


def blobs(seed, shape):
    """Two masks that overlap in part, of blobs with a rough surface."""
    generator = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(generator.standard_normal(shape), 1.5) for _ in range(2)]
    return smooth[0] > 0.05, (0.8 * smooth[0] + 0.5 * smooth[1]) > 0.05


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.9, 0.9), (2.5, 0.7, 1.3)])
@pytest.mark.parametrize("shape", [(7, 19, 23), (12, 9, 15)])
def test_distances_of_anisotropic_volumes_equal_monais(shape, spacing):
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    reference, prediction = blobs(sum(shape), shape)
    ours = surface_distances(reference, prediction, spacing=spacing, tolerances=(0.5, 1.0, 3.0))
    guess, truth = torch.tensor(prediction)[None, None], torch.tensor(reference)[None, None]
    hd95 = compute_hausdorff_distance(guess, truth, include_background=True, percentile=95, spacing=list(spacing))
    assert ours.hd95 == pytest.approx(hd95.item(), rel=1e-6)
    assert ours.hd95 > 0
    for limit, nsd in zip((0.5, 1.0, 3.0), ours.nsd, strict=True):
        theirs = compute_surface_dice(guess, truth, [limit], include_background=True, spacing=list(spacing))
        assert nsd == pytest.approx(theirs.item(), rel=1e-6)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
def test_a_volume_of_one_slice_is_measured_in_its_plane_as_monai_does_in_2d():
    from monai.metrics import compute_hausdorff_distance

    reference, prediction = blobs(3, (1, 21, 33))
    ours = surface_distances(reference, prediction, spacing=(9.0, 0.5, 2.0))
    guess, truth = torch.tensor(prediction[0])[None, None], torch.tensor(reference[0])[None, None]
    hd95 = compute_hausdorff_distance(guess, truth, include_background=True, percentile=95, spacing=[0.5, 2.0])
    assert ours.hd95 == pytest.approx(hd95.item(), rel=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_of_one_slice_is_measured_in_its_plane_along_whichever_axis_it_is(axis):
    reference, prediction = (mask[0] for mask in blobs(3, (1, 21, 33)))
    spacing = [0.5, 2.0]
    spacing.insert(axis, 9.0)
    found = surface_distances(
        np.expand_dims(reference, axis), np.expand_dims(prediction, axis), spacing=tuple(spacing), tolerances=(1.0,)
    )
    assert found == surface_distances(reference[None], prediction[None], spacing=(9.0, 0.5, 2.0), tolerances=(1.0,))


def test_a_volume_of_one_voxel_has_its_surface_there():
    voxel = np.ones((1, 1, 1), bool)
    assert surface_distances(voxel, voxel, tolerances=(1.0,)) == SurfaceDistances(0.0, (1.0,), one_sided=False)


def test_boxes_apart_by_known_millimetres_have_that_distance():
    reference = np.zeros((9, 11, 13), bool)
    reference[2:5, 3:6, 3:6] = True
    for axis, step in enumerate((5.0, 2.0, 0.5)):
        moved = np.roll(reference, 2, axis)
        found = surface_distances(reference, moved, spacing=(5.0, 2.0, 0.5), tolerances=(2 * step,))
        assert found.hd95 == pytest.approx(2 * step)
        assert found.nsd == (1.0,)
        assert not found.one_sided


def test_a_mask_that_is_empty_on_one_side_gets_the_diagonal_and_no_surface_within_tolerance():
    block = np.zeros((3, 4, 12), bool)
    block[1, 1:3, 2:5] = True
    for pair in ((block, ~block & False), (~block & False, block)):
        found = surface_distances(*pair, spacing=(1.0, 1.0, 1.0))
        assert (found.hd95, found.nsd, found.one_sided) == (13.0, (0.0, 0.0), True)
    nothing = surface_distances(~block & False, ~block & False)
    assert math.isnan(nothing.hd95)
    assert all(map(math.isnan, nothing.nsd))
