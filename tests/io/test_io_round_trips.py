"""Masks from NIfTI to SEG to NRRD to RTSTRUCT and back: the same voxels at the same places, by nibabel."""

from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_phantoms import stackable, write_enhanced, write_series
from segmed.core.label_volume import Label, LabelVolume
from segmed.core.stacking import Stacking
from segmed.core.volume import Grid, Volume
from segmed.io.converting import read_any, read_source, write_any
from volume_phantoms import grid_of, volume_of

CHAINS = [
    ("a.nii.gz", "b_seg.dcm", "c.nrrd", "d_rtstruct.dcm", "e.nii"),
    ("a.nrrd", "b_rtstruct.dcm", "c.nii.gz", "d_seg.dcm", "e.nii.gz"),
    ("a.nii", "b_rtstruct.dcm", "c_seg.dcm", "d.nrrd", "e.nii.gz"),
    ("a.mha", "b_seg.dcm", "c_rtstruct.dcm", "d.mha", "e.nii.gz"),
]


def centroids(path: Path) -> dict[int, np.ndarray]:
    """Of each label, in millimetres, by nibabel alone."""
    image = nib.load(path)
    array = np.asarray(image.dataobj)
    return {
        label: nib.affines.apply_affine(image.affine, np.argwhere(array == label)).mean(axis=0)
        for label in np.unique(array[array > 0]).tolist()
    }


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_volume_with_sheared_axes_is_the_same_after_every_format(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    folder, volume = tmp_path_factory.mktemp("sheared"), volume_of(seed, "uint8", sheared=True)
    assert volume.grid.affine is not None
    names = ("a.nii.gz", "b.nrrd", "c.mha", "d.nii")
    write_any(folder / names[0], volume)
    for before, after in pairwise(names):
        write_any(folder / after, read_any(folder / before))
    back = nib.load(folder / names[-1])
    np.testing.assert_array_equal(np.asarray(back.dataobj).T, volume.array)
    turned = back.affine[:, [2, 1, 0, 3]]  # nibabel counts columns first
    sizes = np.linalg.norm(volume.grid.affine[:3, :3], axis=0)
    assert np.abs(turned - volume.grid.affine)[:3, :3].max() < 1e-3 * sizes.min()
    np.testing.assert_allclose(turned[:3, 3], volume.grid.affine[:3, 3], atol=1e-3)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(CHAINS), st.booleans())
def test_a_mask_is_the_same_after_every_format(
    tmp_path_factory: pytest.TempPathFactory, seed: int, chain: tuple[str, ...], enhanced: bool
) -> None:
    folder, rng = tmp_path_factory.mktemp("chain"), np.random.default_rng(seed)
    first, second, third = (int(side) for side in rng.choice([3, 5, 7, 9], 3))
    grid = stackable(Grid((first, second, third), grid_of(seed).affine))
    image = Volume(rng.integers(0, 99, grid.shape, dtype=np.uint16), grid)
    (folder / "study").mkdir()
    write_enhanced(folder / "study" / "a", image) if enhanced else write_series(folder / "study", image)
    labels = np.where(rng.random(grid.shape) < 0.3, 2, rng.random(grid.shape) < 0.5).astype(np.uint8)
    labels[1, 1, 1], labels[1, 1, 2] = 1, 2
    stored = Stacking((1, 2, 0), (True, False, True)).apply(Volume(labels, grid))  # often left-handed
    mask = LabelVolume(stored, (Label(1, "label 1"), Label(2, "label 2")))
    nib.save(nib.Nifti1Image(labels.transpose(2, 1, 0), grid.columns_first()), folder / "right.nii")
    source = read_source(folder / "study")
    write_any(folder / chain[0], mask)
    for before, after in pairwise(chain):
        write_any(folder / after, read_any(folder / before, source=source, mask=True), source)
    back = read_any(folder / chain[-1], mask=True)
    assert isinstance(back, LabelVolume)
    onto = back.on_grid(grid, "back")
    np.testing.assert_array_equal(onto.volume.array, labels)
    found, right = centroids(folder / chain[-1]), centroids(folder / "right.nii")
    assert found.keys() == right.keys()
    for label, place in right.items():
        off = np.linalg.solve(grid.affine[:3, :3], found[label] - place)
        assert np.abs(off).max() < 0.1
