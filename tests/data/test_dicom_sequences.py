"""Several DICOM series as the channels of a volume: by number, file or description, in a data set and in predict."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet

from bright_run import bright
from dicom_phantoms import PATIENT, write_series
from segmed.core.errors import DataError
from segmed.core.label_volume import Label, LabelVolume
from segmed.core.labels import LabelMap
from segmed.core.resampling import resampled
from segmed.core.volume import Grid, Volume
from segmed.data.cutting import read_cut
from segmed.data.decoded import decode
from segmed.data.sources import list_dataset, open_dataset
from segmed.inference.volume_files import Extras, predict_volumes
from segmed.inference.volume_inputs import find_volumes
from segmed.io.dicom.references import mask_header
from segmed.io.dicom.sequences import SERIES_FILE, read_wanted
from segmed.io.dicom.series import find_series
from segmed.io.dicom.writing import write_segmentation, write_structures
from segmed.io.volumes import files_read, read_volume

AFFINE = np.array([[0, 0, -1.0, 40], [0, -1.5, 0, 30], [4.0, 0, 0, -20], [0, 0, 0, 1]])
GRID = Grid((4, 9, 7), AFFINE)
FINER = Grid((9, 11, 8), AFFINE @ np.diag([0.5, 0.8, 0.9, 1]))
SERIES = {3: ("AX FLAIR", GRID), 4: ("AX T1", FINER), 5: ("AX T1 POST", GRID)}


def array_of(number: int, grid: Grid, seed: int) -> Volume:
    ramp = np.add.outer(np.add.outer(np.arange(grid.shape[0]), np.arange(grid.shape[1])), np.arange(grid.shape[2]))
    return Volume((100 * number + 10 * seed + 3 * ramp).astype(np.uint16), grid)


def described(text: str, seed: int) -> Callable[[int, Dataset], None]:
    def change(_: int, dataset: Dataset) -> None:
        dataset.SeriesDescription, dataset.PatientID = text, f"{PATIENT['PatientID']}-{seed}"
        dataset.FrameOfReferenceUID = f"1.2.826.9.{seed}"

    return change


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Two patients of three series, in one folder or one each, the FLAIR with a mask."""
    root = tmp_path / "set"
    for seed in range(2):
        for number, (text, grid) in SERIES.items():
            home = root / f"p{seed}" if seed else root / f"p{seed}" / f"s{number}"
            names = [f"{number}-{index}.dcm" for index in range(grid.shape[0])]
            change = described(text, seed)
            write_series(home, array_of(number, grid, seed), series=number, change=change, names=names)
        flair = next(each for each in find_series(root / f"p{seed}").series if each.number == 3)
        mask = np.zeros(GRID.shape, np.uint8)
        mask[1:3, 2:6, 1:5] = 1
        path = root / f"p{seed}" / "masks" / "seg.dcm"
        path.parent.mkdir()
        write_segmentation(path, LabelVolume(Volume(mask, GRID), (Label(1, "core"),)), flair)
    return root


@pytest.mark.parametrize("t1", ["AX T1", 4, "4-0.dcm"])
def test_series_named_in_the_folder_are_channels_on_the_grid_of_the_first(
    studies: Path, tmp_path: Path, t1: str | int
) -> None:
    (studies / SERIES_FILE).write_text(json.dumps({"flair": "flair", "t1": t1}))
    with pytest.warns(UserWarning, match="lies on another grid than"):
        data = decode(open_dataset(studies), cache_dir=tmp_path / "cache")
    assert [data.shape(record.slice_id) for record in data.dataset.records] == [(9, 7, 2)] * 8
    for seed in range(2):
        slice_ids = [record.slice_id for record in data.dataset.records if record.volume == f"p{seed}"]
        images = np.stack([data.image(slice_id) for slice_id in slice_ids])
        np.testing.assert_array_equal(images[..., 0], array_of(3, GRID, seed).array)
        expected = resampled(array_of(4, FINER, seed), GRID).array
        np.testing.assert_allclose(images[..., 1], expected, atol=1)
        assert sum(int(data.mask(slice_id).sum()) for slice_id in slice_ids) == 32


@pytest.mark.filterwarnings("ignore:.*lies on another grid")
def test_predict_takes_the_same_series_as_channels(studies: Path, tmp_path: Path) -> None:
    predictor = bright(tmp_path / "run")
    predictor.config = replace(predictor.config, preprocess=replace(predictor.config.preprocess, channels=(1,)))
    masks = []
    for series, out in (("FLAIR,AX T1 POST", "a"), (None, "b")):
        if series is None:
            (studies / SERIES_FILE).write_text(json.dumps({"flair": 3, "post": 5}))
        inputs = find_volumes(studies, series=series)
        assert inputs is not None
        assert [volume.name for volume in inputs.volumes] == ["p0", "p1"]
        extras = Extras(segmentation=series is None, structures=series is None)
        assert not predict_volumes(predictor, inputs, tmp_path / out, extras=extras).failures
        masks.append(read_volume(tmp_path / out / "p1.nii.gz"))
    post = array_of(5, GRID, 1).array
    np.testing.assert_array_equal(masks[0].array > 0, post > (post.min() + post.max()) / 2)
    np.testing.assert_array_equal(masks[0].array, masks[1].array)
    assert masks[0].grid.is_same(GRID)
    flair = next(each for each in find_series(studies / "p1").series if each.number == 3)
    for ending in ("seg", "rtstruct"):
        header = mask_header(tmp_path / "b" / f"p1_{ending}.dcm")
        assert header.series == {flair.uid}
        assert header.instances <= flair.instances
        found = read_volume(header.file, grid=GRID).array
        np.testing.assert_array_equal(found > 0, masks[0].array > 0)


@pytest.mark.parametrize(("telling", "number"), [(3, "1"), (4, "1"), (3, "structure 1"), (4, "structure 1")])
def test_a_name_that_any_series_tells_is_withheld_and_its_mask_is_read(
    tmp_path: Path, telling: int, number: str
) -> None:
    root = tmp_path / "set"

    def change(index: int, dataset: Dataset) -> None:
        described("AX", 0)(index, dataset)
        if dataset.SeriesNumber == telling:
            dataset.OperatorsName = "Miller^A"

    for series in (3, 4):
        write_series(root / "p0" / f"s{series}", array_of(series, GRID, 0), series=series, change=change)
    mask = np.zeros(GRID.shape, np.uint8)
    mask[1, 2:5, 2:5] = 1
    path = root / "p0" / "mask.dcm"
    write = write_segmentation if number == "1" else write_structures
    labelled = LabelVolume(Volume(mask, GRID), (Label(1, "tumour Miller"),))
    write(path, labelled, find_series(root / "p0" / "s4").series[0])
    header = pydicom.dcmread(path)
    for key in ("OperatorsName", "ContentCreatorName"):
        if key in header:
            delattr(header, key)
    header.save_as(path)
    (root / SERIES_FILE).write_text('{"flair": 3, "t1": 4}')
    dataset = open_dataset(root)
    assert dataset.labels.names == (number,)
    source = dataset.records[0].source
    assert source is not None
    assert len(source.images) == 2
    for volume in (source, replace(source, identity=None)):  # as one of a manifest, that no headers were compared for
        with pytest.warns(UserWarning, match="the name of segment 1 holds something"):
            cut = read_cut(volume, dataset.labels)
        assert cut.masks is not None
        assert int(cut.masks.sum()) == 9
    assert "miller" not in repr(dataset).casefold()
    with pytest.raises(
        DataError, match=rf"mask.dcm: none of its segments \({number}\) has the name of a label, expected core"
    ):
        read_cut(source, LabelMap(("core",), (0, 1)))


def medium(studies: Path, out: Path) -> Path:
    """The images of studies as a medium with a DICOMDIR."""
    files = FileSet()
    for path in studies.rglob("*-*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID = f"{dataset.FrameOfReferenceUID}.1"
        files.add(dataset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files.write(out)
    files._stage["t"].cleanup()
    return out


def test_of_a_medium_each_series_is_a_volume_or_a_sequence_of_its_patients(studies: Path, tmp_path: Path) -> None:
    root = medium(studies, tmp_path / "cd")
    patients = ["PT000000/ST000000", "PT000001/ST000000"]
    wanted = (("DICOMDIR", None, 6, 1), (".", "3", 2, 1), ("DICOMDIR", "FLAIR,AX T1 POST", 2, 2))
    for place, series, count, sequences in wanted:
        inputs = find_volumes(root / place, series=series)
        assert inputs is not None
        assert inputs.root == root
        assert [len(volume.images) for volume in inputs.volumes] == [sequences] * count
        assert sorted({"/".join(volume.name.split("/")[:2]) for volume in inputs.volumes}) == patients
    for volume in inputs.volumes:
        cut = read_cut(volume)
        seed = int(volume.name[7])
        expected = [array_of(number, GRID, seed).array for number in (3, 5)]
        np.testing.assert_array_equal(cut.images, np.stack(expected, axis=-1))
    alone = find_volumes(root / "PT000000" / "ST000000" / "SE000000" / "IM000000")
    assert alone is not None
    assert len(alone.volumes) == 1


def test_a_dicomdir_names_the_files_that_it_is_read_from(studies: Path, tmp_path: Path) -> None:
    root = medium(studies, tmp_path / "cd")
    files = files_read(root / "DICOMDIR")
    assert files[0] == root / "DICOMDIR"
    assert set(files[1:]) == {path for path in root.rglob("IM*") if path.is_file()}
    assert files_read(files[1]) == files[1:2]


def test_what_is_ambiguous_or_missing_is_refused_by_number_and_no_description(studies: Path) -> None:
    (studies / SERIES_FILE).write_text(json.dumps({"flair": "FLAIR", "t1": "t1 "}))
    found = [finding.message for finding in list_dataset(studies).findings if finding.code == "sequences"]
    assert len(found) == 2
    assert "'t1' may be series 4 (MR, 9 slices" in found[0]
    assert "POST" not in "".join(found)
    with pytest.raises(DataError, match="p0: no series 'DWI'; in its frame of reference there are 3 "):
        find_volumes(studies, series="FLAIR,DWI")
    for text, told in (('{"a": 3, "b": "3"}', "one twice"), ("{}", "names no series"), ("[]", "series.json")):
        (studies / SERIES_FILE).write_text(text)
        with pytest.raises(DataError, match=told):
            read_wanted(studies)
