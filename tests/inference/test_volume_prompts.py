"""Boxes and points of volumes reach the voxels they name, in voxels or mm and in every plane, or name their row."""

import json
from pathlib import Path

import numpy as np
import pytest

from prompted_runs import save_prompted_run
from segmed.core.errors import DataError
from segmed.core.records import VolumeFiles
from segmed.core.stacking import Plane
from segmed.core.volume import Grid, Volume
from segmed.data.cutting import CutVolume, cut_volumes
from segmed.inference.loading import load
from segmed.inference.prompted import PromptedPredictor
from segmed.inference.propagate import PropagateConfig
from segmed.inference.volume_inputs import VolumeInputs
from segmed.inference.volume_prompts import (
    PromptedVolumes,
    VolumeGiven,
    given_by_volume,
    parse_volume_given,
    prompts_of_volume,
    read_volume_given,
)
from segmed.prompts.value import Prompts

ODD = Grid((3, 7, 5), np.array([[0, 0.5, 0, 7], [0, 0, -2, 9], [4.0, 0, 0, -3], [0, 0, 0, 1]]))
BOX = (1, 2, 1, 4, 6, 3)
"""Columns 1 to 3, rows 2 to 5, slices 1 and 2."""
PLANES: tuple[Plane, ...] = ("acquired", "axial", "coronal", "sagittal")


def cut(plane: Plane = "acquired", grid: Grid = ODD) -> CutVolume:
    return cut_volumes([Volume(np.zeros(grid.shape, np.int16), grid)], plane, names=["v.nii"])


def drawn(prompts: list[Prompts], volume: CutVolume) -> np.ndarray:
    """The voxels of the file that boxes cover, and 2 where points are."""
    found = np.zeros(volume.grid.shape, np.uint8)
    for number, each in enumerate(prompts):
        for x0, y0, x1, y1 in each.boxes.round().astype(int):
            found[number, y0:y1, x0:x1] = 1
        for x, y in np.floor(each.points).astype(int):
            found[number, y, x] = 2
    return volume.as_stored(found).array


def table(folder: Path, text: str) -> Path:
    path = folder / "given.csv"
    path.write_text(text)
    return path


def in_mm(place: tuple[float, float, float]) -> list[float]:
    """Where an edge between voxels lies; affines are of voxel centres."""
    x, y, z = place
    assert ODD.affine is not None
    return (ODD.affine @ (z - 0.5, y - 0.5, x - 0.5, 1))[:3].tolist()


@pytest.mark.parametrize("plane", PLANES)
def test_a_box_and_a_point_reach_their_voxels_in_every_plane(tmp_path: Path, plane: Plane) -> None:
    wanted = np.zeros(ODD.shape, np.uint8)
    wanted[1:3, 2:6, 1:4] = 1
    wanted[1, 3, 2] = 2
    rows = f"file,x0,y0,z0,x1,y1,z1\nv.nii,{','.join(map(str, BOX))}\n"
    given = [*read_volume_given(table(tmp_path, rows)), parse_volume_given("2,3,1", "--point", "v.nii")]
    np.testing.assert_array_equal(drawn(prompts_of_volume(given, cut(plane)), cut(plane)), wanted)
    corners = np.array([in_mm(BOX[:3]), in_mm(BOX[3:])])
    box = [*corners.min(axis=0), *corners.max(axis=0)]
    described = {"v.nii": {"boxes": [box], "points": [in_mm((2.5, 3.5, 1.5))], "unit": "mm"}}
    (tmp_path / "given.json").write_text(json.dumps(described))
    found = prompts_of_volume(read_volume_given(tmp_path / "given.json"), cut(plane))
    np.testing.assert_array_equal(drawn(found, cut(plane)), wanted)


def test_a_row_of_one_slice_or_in_mm_is_told_by_its_columns(tmp_path: Path) -> None:
    (one,) = read_volume_given(table(tmp_path, "file,slice,x0,y0,x1,y1\np01,2,1,2,4,6\n"))
    assert (one.low, one.high, one.one_slice) == ((1, 2, 2), (4, 6, 3), True)
    (point,) = read_volume_given(table(tmp_path, "file,x_mm,y_mm,z_mm,label\np01,-1.5,2,3,0\n"))
    assert (point.low, point.unit, point.label) == ((-1.5, 2, 3), "mm", 0)
    assert parse_volume_given("mm:-1.5,2,3,0", "--point", "p01").low == (-1.5, 2, 3)


def test_points_of_two_boxes_belong_to_theirs_on_each_slice() -> None:
    texts = ("0,0,0,2,2,3", "2,2,1,5,7,3")
    given = [parse_volume_given(text, "--box", "v") for text in texts]
    given.append(VolumeGiven("v", "here", "points", (3.0, 3.0, 2.0), (3.0, 3.0, 2.0), object=1))
    first, _, last = prompts_of_volume(given, cut())
    assert (len(first), len(first.points)) == (1, 0)
    assert (len(last), last.point_objects.tolist()) == (2, [1])


@pytest.mark.parametrize(
    ("text", "plane", "told"),
    [
        ("1,2,1,6,6,3", "acquired", r"box \(1, 2, 1, 6, 6, 3\) in voxels lies outside the volume of 5 x 7 x 3 voxels"),
        ("mm:0,0,0,900,1,1", "acquired", "in mm lies outside"),
        ("1,2,1,1.2,6,3", "acquired", "holds no voxel's centre"),
        ("1,2,1,1,6,3", "acquired", "inverted or empty"),
        ("1,2,1,nan,6,3", "acquired", "not finite"),
        ("1,2,4,6", "acquired", "expected x0,y0,z0,x1,y1,z1 of a volume"),
    ],
)
def test_a_box_that_cannot_be_meant_is_named(text: str, plane: Plane, told: str) -> None:
    with pytest.raises(DataError, match=told):
        prompts_of_volume([parse_volume_given(text, "--box", "v.nii")], cut(plane))


def test_rows_that_do_not_fit_the_volume_are_named(tmp_path: Path) -> None:
    (one,) = read_volume_given(table(tmp_path, "file,slice,x0,y0,x1,y1\nv.nii,2,1,2,4,6\n"))
    with pytest.raises(DataError, match="line 2: names a slice of the file, but the run reads slices along another"):
        prompts_of_volume([one], cut("coronal"))
    box = parse_volume_given("mm:0,0,0,1,1,1", "--box", "v")
    with pytest.raises(DataError, match="does not say where it lies"):
        prompts_of_volume([box], cut(grid=Grid((3, 7, 5), spacing=(4.0, 0.5, 2.0))))
    away = VolumeGiven("v", "here", "points", (1.0, 1.0, 2.0), (1.0, 1.0, 2.0))
    with pytest.raises(DataError, match="on slice 2, which its box does not reach"):
        prompts_of_volume([parse_volume_given("0,0,0,2,2,1", "--box", "v"), away], cut())
    with pytest.raises(DataError, match="expected file,x0,y0,z0,x1,y1,z1 or file,slice"):
        read_volume_given(table(tmp_path, "file,x0,y0,x1,y1\nv.nii,1,2,3,4\n"))
    with pytest.raises(DataError, match="holds points and no boxes"):
        read_volume_given(table(tmp_path, "file,x,y,z\nv.nii,1,2,3\n"), "boxes")


def test_a_row_names_a_volume_by_its_file_folder_or_mask() -> None:
    volumes = (
        VolumeFiles("p01", (Path("in/p01_0000.nii.gz"),)), VolumeFiles("p02/a", (Path("in/p02/a"),)),
        VolumeFiles("p03/a", (Path("in/p03/a"),)), VolumeFiles("b", (Path("in/b.nii"),)),
        VolumeFiles("p03/b", (Path("in/p03/b.nii"),)),
    )  # fmt: skip
    inputs = VolumeInputs(Path("in"), volumes)
    files = ("p01", "p01_0000.nii.gz", "p01.nii.gz", "./p02/a", "p02/a.nii.gz", "in/p02/a/", "b.nii", "p03/b")
    boxes = [parse_volume_given("0,0,0,2,2,1", "--box", file) for file in files]
    found = {name: len(some) for name, some in given_by_volume(boxes, inputs).items()}
    assert found == {"p01": 3, "p02/a": 3, "b": 1, "p03/b": 1}
    for file, told in (("a", "may be p02/a or p03/a"), ("p09", "none of the 5 volumes")):
        with pytest.raises(DataError, match=told):
            given_by_volume([parse_volume_given("0,0,0,2,2,1", "--box", file)], inputs)


def test_a_volume_is_asked_slice_by_slice_or_carried_on(tmp_path: Path) -> None:
    predictor = load(save_prompted_run(tmp_path / "run"), device="cpu")
    assert isinstance(predictor, PromptedPredictor)
    grid = Grid((4, 32, 32), ODD.affine)
    array = np.random.default_rng(0).integers(1, 200, (3, *grid.shape)).astype(np.int16)
    volume = cut_volumes([Volume(each, grid) for each in array], "axial", names=list("abc"))
    files = VolumeFiles("v", (Path("v.nii"),))
    given = {"v": [parse_volume_given("4,6,1,20,24,2", "--box", "v")]}
    asked = prompts_of_volume(given["v"], volume)
    (number,) = [number for number, each in enumerate(asked) if len(each)]
    alone = PromptedVolumes(predictor, given)(files, volume)
    answer = predictor.decode(predictor.encode_volume(volume.images)[number], asked[number])
    np.testing.assert_array_equal(alone.masks[number], answer.mask)
    assert not np.delete(alone.masks, number, axis=0).any()
    carried = PromptedVolumes(predictor, given, carry=PropagateConfig(iou=0, presence=0, smallest=1))(files, volume)
    np.testing.assert_array_equal(carried.masks[number], answer.mask)
    assert np.delete(carried.masks, number, axis=0).any()
    assert not PromptedVolumes(predictor, {})(files, volume).masks.any()
