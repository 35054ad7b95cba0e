"""Volumes in, volumes out: container and grid are kept, sizes are in ml, and one bad volume costs itself."""

import csv
import errno
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import segmed.inference.volume_files as volume_files
from bright_run import bright
from segmed.core.errors import ConfigError, DataError
from segmed.core.stacking import Plane, stacking
from segmed.core.volume import Grid, Volume
from segmed.inference.ensemble import EnsemblePredictor
from segmed.inference.inputs import find_inputs
from segmed.inference.predictor import Predictor
from segmed.inference.targets import Existing, Outcome, names_a_file
from segmed.inference.volume_files import Extras, entropy, predict_volumes
from segmed.inference.volume_inputs import find_volumes, sequence_doubts
from segmed.io.volumes import VOLUME_SUFFIXES, read_volume, write_volume
from segmed.models.joint_config import EnsembleConfig
from segmed.preprocess import PreprocessConfig
from volume_phantoms import grid_of

ODD = Grid((3, 7, 5), np.array([[0, 0.5, 0, 7], [0, 0, -2, 9], [4.0, 0, 0, -3], [0, 0, 0, 1]]))


def ramp(grid: Grid = ODD, seed: int = 0) -> Volume:
    return Volume(
        np.random.default_rng(seed).permutation(np.prod(grid.shape)).reshape(grid.shape).astype(np.int16), grid
    )


def bright_half(volume: Volume) -> np.ndarray:
    """What `bright_run.bright` predicts: non-zero voxels from the lowest to the highest, cut in the middle."""
    values = volume.array[volume.array != 0]
    return (np.clip(volume.array, values.min(), None) - values.min() > (values.max() - values.min()) / 2).astype(
        np.uint8
    )


def along(folder: Path, plane: Plane) -> Predictor:
    found = bright(folder)
    found.config = replace(found.config, preprocess=replace(found.config.preprocess, plane=plane))
    return found


def put(path: Path, volume: Volume) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, volume)
    return path


def run(root: Path, out: Path, *, existing: Existing = "refuse", extras: Extras | None = None) -> Outcome:
    inputs = find_volumes(root, out=out)
    assert inputs is not None
    return predict_volumes(bright(out), inputs, out, existing=existing, extras=extras)


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "summary.csv").open(newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("plane", ["acquired", "axial", "coronal", "sagittal"])
@pytest.mark.parametrize("seed", range(4))
def test_a_mask_lies_on_the_grid_of_its_volume(tmp_path: Path, plane: Plane, seed: int) -> None:
    volume = ramp(grid_of(seed), seed)
    found = along(tmp_path, plane).predict_volume(volume)
    assert found.grid is volume.grid
    np.testing.assert_array_equal(found.array, bright_half(volume))


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_files_keep_container_name_and_grid(tmp_path: Path, ending: str) -> None:
    volume = ramp()
    put(tmp_path / "in" / "deep" / f"a.b{ending}", volume)
    outcome = run(tmp_path / "in", tmp_path / "out")
    mask = tmp_path / "out" / "deep" / f"a.b{ending}"
    assert outcome.written == (mask,)
    image, stored = nib.load(tmp_path / "in" / "deep" / f"a.b{ending}"), nib.load(mask)
    np.testing.assert_allclose(stored.affine, image.affine, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(stored.dataobj).T, bright_half(volume) * 255)


def test_a_data_set_a_folder_and_a_volume_give_the_same_mask(tmp_path: Path) -> None:
    volume = ramp(seed=3)
    file = put(tmp_path / "set" / "images" / "a.nii.gz", volume)
    put(tmp_path / "set" / "masks" / "a.nii.gz", volume.with_array(np.zeros(ODD.shape, np.uint8)))
    for root, out in ((tmp_path / "set", "1"), (tmp_path / "set" / "images", "2"), (file, "3")):
        run(root, tmp_path / out)
    first, *others = (read_volume(tmp_path / out / "a.nii.gz").array for out in "123")
    predictor = bright(tmp_path)
    cut = stacking(ODD)
    slices = predictor.predict_volume(cut.apply_array(volume.array))
    for other in (*others, cut.undo(np.stack([mask.array for mask in slices])) * np.uint8(255)):
        np.testing.assert_array_equal(first, other)


def test_the_summary_has_the_size_of_each_label_in_ml(tmp_path: Path) -> None:
    volume = ramp()
    put(tmp_path / "in" / "a.nii.gz", volume)
    put(tmp_path / "in" / "unplaced.nii.gz", Volume(volume.array, Grid(ODD.shape)))
    run(tmp_path / "in", tmp_path / "out")
    count = int(bright_half(volume).sum())
    found = rows(tmp_path / "out")
    assert found["a"] == {
        "case": "a", "label": "foreground", "voxels": str(count), "ml": f"{count * 4 * 0.5 * 2 / 1000:.6g}",
        "ml_low": "", "ml_high": "", "opinions": "1",
    }  # fmt: skip
    assert found["unplaced"]["ml"] == ""


def test_an_ensembles_members_give_the_interval(tmp_path: Path) -> None:
    volume = ramp()
    put(tmp_path / "in" / "a.nii.gz", volume)
    members = [bright(tmp_path), bright(tmp_path)]
    members[1].model = type(members[1].model)()
    members[1].model.forward = lambda image: 40 * (image - 0.8)  # type: ignore[method-assign]
    config = EnsembleConfig(networks=members[0].config.networks * 2, labels=members[0].config.labels, volumes=True)
    predictor = EnsemblePredictor(members, config, tmp_path)
    inputs = find_volumes(tmp_path / "in")
    assert inputs is not None
    predict_volumes(predictor, inputs, tmp_path / "out")
    row = rows(tmp_path / "out")["a"]
    least, most = (member.predict_volume(volume).array.sum() * 0.004 for member in (members[1], members[0]))
    assert (row["opinions"], row["ml_low"], row["ml_high"]) == ("2", f"{least:.6g}", f"{most:.6g}")
    assert float(row["ml_low"]) < float(row["ml_high"])


def test_probabilities_and_uncertainty_lie_beside_the_mask(tmp_path: Path) -> None:
    put(tmp_path / "in" / "a.nii.gz", ramp())
    run(tmp_path / "in", tmp_path / "out", extras=Extras(probabilities=True, uncertainty=True))
    probability = read_volume(tmp_path / "out" / "a_probability.nii.gz")
    uncertainty = read_volume(tmp_path / "out" / "a_uncertainty.nii.gz")
    mask = read_volume(tmp_path / "out" / "a.nii.gz")
    assert probability.grid.is_same(ODD)
    assert probability.array.dtype == np.float32
    np.testing.assert_array_equal(probability.array >= 0.5, mask.array > 0)
    np.testing.assert_allclose(uncertainty.array, entropy(probability.array), atol=1e-6)
    np.testing.assert_allclose(entropy(np.array([0, 0.5, 1, 0.25], np.float32)), [0, 1, 0, 0.811278], atol=1e-5)


def test_nothing_is_replaced_unasked_and_resuming_keeps_what_is_there(tmp_path: Path) -> None:
    for seed, name in enumerate("abc"):
        put(tmp_path / "in" / f"{name}.nii.gz", ramp(seed=seed))
    run(tmp_path / "in", tmp_path / "out")
    whole = (tmp_path / "out" / "summary.csv").read_bytes()
    with pytest.raises(DataError, match=r"4 files would be replaced.*--overwrite.*--resume"):
        run(tmp_path / "in", tmp_path / "out")
    (tmp_path / "out" / "b.nii.gz").unlink()
    again = run(tmp_path / "in", tmp_path / "out", existing="keep")
    assert [path.name for path in again.written] == ["b.nii.gz"]
    assert [path.name for path in again.kept] == ["a.nii.gz", "c.nii.gz"]
    assert (tmp_path / "out" / "summary.csv").read_bytes() == whole
    (tmp_path / "out" / "summary.csv").unlink()
    run(tmp_path / "in", tmp_path / "out", existing="keep")
    assert (tmp_path / "out" / "summary.csv").read_bytes() == whole
    assert len(run(tmp_path / "in", tmp_path / "out", existing="replace").written) == 3


@pytest.mark.parametrize("name", ["a.nii.gz", "a_probability.nii.gz", "summary.csv"])
def test_a_link_where_a_result_goes_is_refused_and_what_it_leads_to_is_left(tmp_path: Path, name: str) -> None:
    put(tmp_path / "in" / "a.nii.gz", ramp())
    (tmp_path / "out").mkdir()
    (tmp_path / "theirs").write_text("mine")
    (tmp_path / "out" / name).symlink_to(tmp_path / "theirs")
    with pytest.raises(DataError, match=f"{name}: is a symbolic link"):
        run(tmp_path / "in", tmp_path / "out", existing="replace", extras=Extras(probabilities=True))
    assert (tmp_path / "theirs").read_text() == "mine"


def test_scans_numbered_like_sequences_are_doubted_where_the_run_reads_fewer(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"scan_{number:04d}.nii.gz").touch()
    inputs = find_volumes(tmp_path)
    assert inputs is not None
    assert [len(volume.images) for volume in inputs.volumes] == [3]
    (said,) = sequence_doubts(inputs, PreprocessConfig(channels=(0,)))
    assert said.startswith("scan_0000.nii.gz to scan_0002.nii.gz are read as 3 sequences of one volume, scan, of which")
    assert sequence_doubts(inputs, PreprocessConfig(channels=(0, 2))) == ()
    alone = find_volumes(tmp_path / "scan_0001.nii.gz")
    assert alone is not None
    assert sequence_doubts(alone, PreprocessConfig(channels=(0,))) == ()


def test_a_bad_volume_is_listed_and_the_others_are_predicted(tmp_path: Path) -> None:
    put(tmp_path / "in" / "a.nii.gz", ramp())
    bad = put(tmp_path / "in" / "b.nii.gz", ramp(seed=1))
    bad.write_bytes(bad.read_bytes()[:-9])
    outcome = run(tmp_path / "in", tmp_path / "out")
    assert [path.name for path in outcome.written] == ["a.nii.gz"]
    ((path, reason),) = outcome.failures
    assert path == bad
    assert reason.startswith(f"{bad}: damaged or truncated NIfTI")
    assert not (tmp_path / "out" / "b.nii.gz").exists()


def test_one_volume_may_name_the_file_of_its_mask(tmp_path: Path) -> None:
    file = put(tmp_path / "a.nii.gz", ramp())
    assert run(file, tmp_path / "mask.nii").written == (tmp_path / "mask.nii",)
    with pytest.raises(DataError, match="an input would be replaced"):
        run(file, file, existing="replace")
    put(tmp_path / "b.nii.gz", ramp())
    with pytest.raises(DataError, match="is the name of one file, for 3 volumes"):
        run(tmp_path, tmp_path / "out.nii.gz")


def test_a_file_that_cannot_be_the_mask_of_a_volume_is_refused(tmp_path: Path) -> None:
    file = put(tmp_path / "a.nii.gz", ramp())
    for name, suffix in (("mask.png", ".png"), ("mask.dcm", ".dcm")):
        with pytest.raises(DataError, match=rf"{name}: masks are not written with suffix \{suffix}. Choose of .nii.gz"):
            run(file, tmp_path / name)
    assert names_a_file(tmp_path / "mask.ome.tif", 1, "volume", VOLUME_SUFFIXES)


def test_volumes_whose_results_would_be_one_file_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for name in ("a", "a_probability"):
        put(tmp_path / "in" / f"{name}.nii.gz", ramp())
    with pytest.raises(DataError, match=r"would both be .*a_probability\.nii\.gz\. Rename one"):
        run(tmp_path / "in", tmp_path / "out", extras=Extras(probabilities=True))
    assert not (tmp_path / "out").exists()


def test_a_name_too_long_for_a_result_costs_its_volume_alone(tmp_path: Path) -> None:
    for name in ("a" * 240, "b"):
        put(tmp_path / "in" / f"{name}.nii", ramp())
    outcome = run(tmp_path / "in", tmp_path / "out", extras=Extras(probabilities=True))
    assert [path.name for path in outcome.written] == ["b.nii"]
    assert ["cannot be written" in reason for _, reason in outcome.failures] == [True]


def test_sequences_are_found_by_nnunets_names_and_by_brats_folders(tmp_path: Path) -> None:
    for channel in (0, 1):
        put(tmp_path / "nnunet" / f"a_{channel:04d}.nii.gz", ramp(seed=channel))
    for sequence in ("t1", "flair"):
        put(tmp_path / "brats" / "p1" / f"p1_{sequence}.nii.gz", ramp())
    found = [
        find_volumes(path) for path in (tmp_path / "nnunet", tmp_path / "nnunet" / "a_0000.nii.gz", tmp_path / "brats")
    ]
    assert [[(v.name, [path.name for path in v.images]) for v in each.volumes] for each in found if each] == [
        [("a", ["a_0000.nii.gz", "a_0001.nii.gz"])],
        [("a", ["a_0000.nii.gz", "a_0001.nii.gz"])],
        [("p1", ["p1_flair.nii.gz", "p1_t1.nii.gz"])],
    ]


def test_volumes_beside_images_of_slices_are_refused_and_images_alone_are_no_volumes(tmp_path: Path) -> None:
    put(tmp_path / "a.nii.gz", ramp())
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"holds volumes, and images such as b\.png"):
        find_volumes(tmp_path)
    (tmp_path / "a.nii.gz").unlink()
    assert find_volumes(tmp_path) is None
    assert len(find_inputs(tmp_path).records) == 1
    put(tmp_path / "c" / "a.nii.gz", ramp())
    with pytest.raises(ConfigError, match="leave out --patient-regex"):
        find_volumes(tmp_path / "c", patient_regex="^(.+)")


def test_resuming_with_another_volume_keeps_the_rows_of_the_first(tmp_path: Path) -> None:
    for name in "ab":
        put(tmp_path / "in" / f"{name}.nii.gz", ramp())
    run(tmp_path / "in" / "a.nii.gz", tmp_path / "out")
    first = (tmp_path / "out" / "summary.csv").read_text()
    run(tmp_path / "in" / "b.nii.gz", tmp_path / "out", existing="keep")
    both = (tmp_path / "out" / "summary.csv").read_text()
    assert both.startswith(first)
    assert [line.split(",")[0] for line in both.splitlines()[1:]] == ["a", "b"]


def test_replacing_one_volume_keeps_the_rows_of_those_whose_masks_are_there(tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "sub/b", "c")):
        put(tmp_path / "in" / f"{name}.nii.gz", ramp(seed=seed))
    run(tmp_path / "in", tmp_path / "out")
    before = rows(tmp_path / "out")
    (tmp_path / "out" / "c.nii.gz").unlink()
    put(tmp_path / "in" / "a.nii.gz", ramp(ODD).with_array(np.ones(ODD.shape, np.int16)))
    run(tmp_path / "in" / "a.nii.gz", tmp_path / "out", existing="replace")
    after = rows(tmp_path / "out")
    assert sorted(after) == ["a", "sub/b"]
    assert after["sub/b"] == before["sub/b"]
    assert (before["a"]["voxels"], after["a"]["voxels"]) == ("52", "0")


@pytest.mark.parametrize("existing", ["replace", "keep"])
def test_another_table_called_summary_is_refused_before_anything_is_written(tmp_path: Path, existing: Existing) -> None:
    put(tmp_path / "in" / "a.nii.gz", ramp())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.csv").write_text("patient,age\np1,40\n")
    with pytest.raises(DataError, match=r"summary\.csv: expected a summary made by `segmed predict`"):
        run(tmp_path / "in", tmp_path / "out", existing=existing)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["summary.csv"]


def test_a_summary_that_cannot_be_written_ends_the_command_and_skips_no_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sub/a", "sub/b"):
        put(tmp_path / "in" / f"{name}.nii.gz", ramp())
    full = DataError(f"{tmp_path / 'out' / 'summary.csv'}: cannot be written (No space left on device). Free some.")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")

    def refused(*_: object) -> None:
        raise full

    monkeypatch.setattr(volume_files, "write_summary", refused)
    with pytest.raises(DataError, match=r"summary\.csv: cannot be written"):
        run(tmp_path / "in", tmp_path / "out")


def test_a_folder_called_summary_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    put(tmp_path / "in" / "a.nii.gz", ramp())
    (tmp_path / "out" / "summary.csv").mkdir(parents=True)
    with pytest.raises(DataError, match=r"summary\.csv: cannot read a summary.*Is a directory"):
        run(tmp_path / "in", tmp_path / "out", existing="replace")
    assert not (tmp_path / "out" / "a.nii.gz").exists()


@pytest.mark.parametrize("name", [".thumb/x.png", "._a.png"])
def test_hidden_images_are_no_slices_among_volumes(tmp_path: Path, name: str) -> None:
    put(tmp_path / "a.nii.gz", ramp())
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    inputs = find_volumes(tmp_path)
    assert inputs is not None
    assert [volume.name for volume in inputs.volumes] == ["a"]


def test_ome_tiffs_of_a_folder_are_volumes_and_no_images_of_slices(tmp_path: Path) -> None:
    for name in ("a.ome.tif", "b.OME.TIF"):
        put(tmp_path / "in" / name, Volume(ramp().array, Grid(ODD.shape, spacing=(4.0, 2.0, 0.5))))
    outcome = run(tmp_path / "in", tmp_path / "out")
    assert [path.name for path in outcome.written] == ["a.ome.tif", "b.OME.TIF"]
    assert list(rows(tmp_path / "out")) == ["a", "b"]
    (tmp_path / "in" / "c.tif").touch()
    with pytest.raises(DataError, match=r"holds volumes, and images such as c\.tif"):
        find_volumes(tmp_path / "in")


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("masks", ("a", "b")),
        ("images", ("a", "b")),
        ("masks", ("a_0000", "a_0001", "b_0000", "b_0001")),
        ("masks", ("images/a", "images/b")),
        ("images/masks", ("images/a", "images/b")),
    ],
)
def test_results_below_their_inputs_are_no_inputs_when_it_goes_on(
    tmp_path: Path, where: str, names: tuple[str, ...]
) -> None:
    for name in names:
        put(tmp_path / f"{name}.nii.gz", ramp())
    out = tmp_path / where
    first = run(tmp_path, out)
    assert [path.name for path in first.written] == ["a.nii.gz", "b.nii.gz"]
    (out / "a_overlay.png").write_bytes(b"")
    again = run(tmp_path, out, existing="keep")
    assert (again.kept, again.written, again.failures) == (first.written, (), ())


def test_volumes_where_results_go_are_told(tmp_path: Path) -> None:
    for name in ("a", "p1/b"):
        put(tmp_path / f"{name}.nii.gz", ramp())
    inputs = find_volumes(tmp_path, out=tmp_path / "p1")
    assert inputs is not None
    assert [volume.name for volume in inputs.volumes] == ["a"]
    assert inputs.results == (tmp_path / "p1" / "b.nii.gz",)


@pytest.mark.parametrize("out", [".", "..", "../masks"])
def test_only_what_lies_below_the_inputs_is_left_out_for_results(tmp_path: Path, out: str) -> None:
    put(tmp_path / "in" / "a.nii.gz", ramp())
    inputs = find_volumes(tmp_path / "in", out=tmp_path / "in" / out)
    assert inputs is not None
    assert len(inputs.volumes) == 1


def test_results_in_the_folder_of_a_data_sets_images_are_not_its_images(tmp_path: Path) -> None:
    put(tmp_path / "images" / "a.nii.gz", ramp())
    put(tmp_path / "masks" / "a.nii.gz", ramp().with_array(np.zeros(ODD.shape, np.uint8)))
    out = tmp_path / "images" / "predicted"
    first = run(tmp_path, out)
    assert run(tmp_path, out, existing="keep").kept == first.written == (out / "a.nii.gz",)


@pytest.mark.parametrize(
    ("names", "endings"),
    [
        (("lesion",), ["_probability"]),
        (("a/b", "c"), ["_probability_a-b", "_probability_c"]),
        (("a/b", "a-b"), ["_probability_1_a-b", "_probability_2_a-b"]),
        (("Core", "core", "rim"), ["_probability_1_Core", "_probability_2_core", "_probability_3_rim"]),
    ],
)
def test_each_label_has_a_file_of_probabilities_of_its_own(names: tuple[str, ...], endings: list[str]) -> None:
    assert volume_files._probability_endings(names) == endings
