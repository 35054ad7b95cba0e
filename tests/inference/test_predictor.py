"""Prediction returns masks on the image's own grid, the same whatever the batch, and refuses what it cannot read."""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from segmed.core.errors import DataError, ModelError
from segmed.core.image import Geometry, Image
from segmed.core.labels import LabelMap
from segmed.core.volume import Grid, Volume
from segmed.inference import PatientSlices, Predictor, load
from segmed.inference.files import predict_files
from segmed.inference.inputs import find_inputs
from segmed.inference.predictor import chosen_device
from segmed.io import read_mask
from segmed.models.checkpoint import RunConfig, save_run
from segmed.models.config import ModelConfig
from segmed.models.zoo import build_model
from segmed.preprocess import PreprocessConfig

RNG = np.random.default_rng(0)


def save_random_run(folder: Path, *, labels: LabelMap | None = None, **preprocess: object) -> Path:
    labels = labels or LabelMap()
    torch.manual_seed(0)
    model = ModelConfig(name="unet", encoder="tu-test_efficientnet", encoder_weights="none", labels=len(labels.names))
    config = RunConfig(model, PreprocessConfig(**preprocess), labels, threshold=0.5)  # type: ignore[arg-type]
    save_run(folder, build_model(model), config)
    return folder


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return load(save_random_run(tmp_path_factory.mktemp("run")), device="cpu")


def image(size: tuple[int, int]) -> np.ndarray:
    return RNG.integers(1, 256, (*size, 3), np.uint8)


@pytest.mark.parametrize("size", [(64, 64), (33, 71), (5, 7)])
def test_the_mask_has_the_size_of_the_image(predictor: Predictor, size: tuple[int, int]) -> None:
    mask = predictor.predict(image(size))
    assert mask.array.shape == size
    assert mask.geometry == Geometry(size)
    assert set(np.unique(mask.array)) <= {0, 1}


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize(
    "answer",
    [
        lambda predictor, slices: predictor.predict(slices[0]),
        lambda predictor, slices: predictor.probabilities(slices),
        lambda predictor, slices: list(predictor.opinions(PatientSlices(slices))),
        lambda predictor, slices: list(predictor.iterate_ttas(PatientSlices(slices), ["none", "mirror"])),
    ],
    ids=["mask", "probabilities", "opinions", "flips"],
)
def test_answers_that_are_no_numbers_are_an_error_and_no_empty_mask(
    tmp_path: Path, answer: Callable[[Predictor, list[np.ndarray]], object]
) -> None:
    predictor = load(save_random_run(tmp_path), device="cpu")
    for parameter in predictor.networks()[0].parameters():  # finite, and yet too large to compute with
        parameter.data.fill_(3e38)
    with pytest.raises(ModelError, match="the network's answer is not a number"):
        answer(predictor, [image((40, 56))])


def test_a_slice_is_predicted_alike_alone_and_in_a_batch(predictor: Predictor) -> None:
    volume = [image((40, 56)) for _ in range(5)]
    one = predictor.probabilities(volume, batch_size=1)
    many = predictor.probabilities(volume, batch_size=5)
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(one, many, strict=True))


def test_an_image_that_was_read_is_predicted_as_its_array_and_its_mask_has_its_geometry(predictor: Predictor) -> None:
    pixels, geometry = image((40, 56)), Geometry((40, 56), spacing=(0.5, 0.7))
    found = predictor.predict(Image(pixels, geometry))
    assert found.geometry == geometry
    np.testing.assert_array_equal(found.array, predictor.predict(pixels).array)


def test_images_that_were_read_are_a_volume_as_their_arrays_are(predictor: Predictor) -> None:
    volume = [image((40, 56)) for _ in range(3)]
    read = [Image(pixels, Geometry((40, 56))) for pixels in volume]
    for one, other in zip(predictor.predict_volume(read), predictor.predict_volume(volume), strict=True):
        np.testing.assert_array_equal(one.array, other.array)
    probabilities = predictor.probabilities(read)
    assert all(np.array_equal(*each) for each in zip(probabilities, predictor.probabilities(volume), strict=True))


def test_an_image_that_was_read_brings_the_spacing_that_its_run_needs(tmp_path: Path) -> None:
    predictor = load(save_random_run(tmp_path, spacing=(1.0, 1.0)), device="cpu")
    pixels = image((40, 56))
    found = predictor.predict(Image(pixels, Geometry((40, 56), spacing=(2.0, 2.0))))
    (expected,) = predictor.predict_volume([pixels], spacing=(2.0, 2.0))
    np.testing.assert_array_equal(found.array, expected.array)
    with pytest.raises(DataError, match="spacing"):
        predictor.predict(Image(pixels, Geometry((40, 56))))


def test_volumes_among_arrays_are_refused_and_none_is_dropped(predictor: Predictor) -> None:
    volume = Volume(np.ones((2, 8, 8), np.uint8), Grid((2, 8, 8), spacing=(5.0, 1.0, 1.0)))
    with pytest.raises(DataError, match="1 of 2 sequences are volumes, and the others are not, such as one of type nd"):
        predictor.predict_volume([volume, volume.array])  # type: ignore[list-item]


def test_slices_of_different_sizes_come_back_in_order(predictor: Predictor) -> None:
    sizes = [(40, 56), (64, 40), (40, 56)]
    assert [p.shape[1:] for p in predictor.probabilities([image(size) for size in sizes])] == sizes


@pytest.mark.parametrize("volume", [RNG.integers(1, 256, (5, 33, 40, 3), np.uint8), RNG.random((3, 24, 40)) + 1])
def test_a_volume_as_one_array_is_predicted_as_the_list_of_its_slices(tmp_path: Path, volume: np.ndarray) -> None:
    channels = (0, 1, 2) if volume.ndim == 4 else (0, 0, 0)
    one = load(save_random_run(tmp_path, channels=channels), device="cpu")
    for array, listed in zip(one.probabilities(volume), one.probabilities(list(volume)), strict=True):
        assert np.array_equal(array, listed)
    masks = one.predict_volume(volume, positions=np.arange(len(volume)))
    assert [mask.array.shape for mask in masks] == [each.shape[:2] for each in volume]
    for array, listed in zip(masks, one.predict_volume(list(volume)), strict=True):
        assert np.array_equal(array.array, listed.array)


@pytest.mark.parametrize("shape", [(8, 8), (1, 2, 8, 8, 3)])
def test_an_array_that_is_no_volume_is_refused(predictor: Predictor, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="A volume is slices x height x width"):
        predictor.predict_volume(np.zeros(shape, np.uint8))


def test_some_slices_are_predicted_as_in_their_whole_volume(predictor: Predictor) -> None:
    volume = [image((32, 40)), image((32, 40)) // 3, image((32, 40)) // 2]
    alone = predictor.probabilities(volume[1:2])[0]
    within = predictor.probabilities(PatientSlices(volume[1:2], whole=volume))[0]
    assert np.allclose(within, predictor.probabilities(volume)[1], atol=1e-5)
    assert not np.allclose(within, alone, atol=1e-3)


def test_predicting_twice_gives_the_same(predictor: Predictor) -> None:
    picture = image((50, 50))
    assert np.array_equal(predictor.predict(picture).array, predictor.predict(picture).array)


def test_a_pixel_belongs_to_its_most_probable_label_if_that_reaches_the_threshold(predictor: Predictor) -> None:
    probabilities = np.array([[[0.6, 0.2, 0.5]], [[0.7, 0.4, 0.1]]], np.float32)
    assert predictor.label(probabilities).array.tolist() == [[2, 0, 1]]


def test_a_grey_image_suits_a_model_of_one_channel(tmp_path: Path) -> None:
    model = ModelConfig(name="unet", encoder="tu-test_efficientnet", encoder_weights="none", channels=1)
    save_run(tmp_path, build_model(model), RunConfig(model, PreprocessConfig(channels=(0,)), LabelMap(), 0.5))
    assert load(tmp_path, device="cpu").predict(image((32, 40))[..., 0]).array.shape == (32, 40)


def test_an_image_with_too_few_channels_is_refused(predictor: Predictor) -> None:
    with pytest.raises(DataError, match=r"reads channels \(0, 1, 2\) but the image has 1"):
        predictor.predict(image((32, 32))[..., 0])


def test_a_stack_is_refused_with_the_way_to_give_it(predictor: Predictor) -> None:
    with pytest.raises(ModelError, match="Give one slice at a time"):
        predictor.predict_volume([np.zeros((2, 8, 8, 3), np.uint8)])


def test_nan_pixels_are_refused(predictor: Predictor) -> None:
    with pytest.raises(DataError, match="NaN or infinite"):
        predictor.predict(np.full((8, 8, 3), np.nan, np.float32))


def test_an_unknown_device_is_refused(tmp_path: Path) -> None:
    run = save_random_run(tmp_path)
    with pytest.raises(ModelError, match="Unknown device 'gpu7'"):
        load(run, device="gpu7")


@pytest.mark.parametrize("name", ["xpu", "meta", "cpu:1", "mps:0", "cuda:", "cuda:-1", "cuda:01"])
def test_only_devices_that_segmed_knows_are_taken(name: str) -> None:
    with pytest.raises(ModelError, match=f"Unknown device '{name}'"):
        chosen_device(name)


@pytest.mark.parametrize(("name", "words"), [("cuda", "no CUDA device"), ("cuda:1", "no CUDA device"), ("mps", "MPS")])
def test_a_device_that_the_machine_lacks_is_refused(name: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ModelError, match=rf"{words}.* Use --device cpu"):
        chosen_device(name)


def test_a_cuda_device_beyond_the_last_is_refused_with_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert chosen_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ModelError, match="no cuda:2: the last of this machine's 2 CUDA devices is cuda:1"):
        chosen_device("cuda:2")


def test_files_keep_their_folders_names_and_formats(predictor: Predictor, tmp_path: Path) -> None:
    for name in ("a/x.png", "a/y.jpg", "b/z.tif"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(image((30, 34))).save(tmp_path / "in" / name)
    outcome = predict_files(predictor, find_inputs(tmp_path / "in"), tmp_path / "out")
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in outcome.written)
    assert written == ["a/x.png", "a/y.png", "b/z.tif"]
    assert outcome.failures == ()
    assert read_mask(tmp_path / "out" / "b" / "z.tif", LabelMap()).array.shape == (30, 34)


def test_unreadable_files_are_skipped_and_listed(predictor: Predictor, tmp_path: Path) -> None:
    Pillow.fromarray(image((30, 34))).save(tmp_path / "good.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not an image")
    outcome = predict_files(predictor, find_inputs(tmp_path), tmp_path / "out")
    assert [path.name for path in outcome.written] == ["good.png"]
    assert sorted(path.name for path, _ in outcome.failures) == ["empty.png", "text.png"]


def save(path: Path, size: tuple[int, int] = (8, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(image(size)).save(path)
    return path


def test_an_image_is_never_replaced_by_its_mask(predictor: Predictor, tmp_path: Path) -> None:
    scan = save(tmp_path / "scan.png")
    before = scan.read_bytes()
    with pytest.raises(DataError, match=r"scan\.png: an input would be replaced"):
        predict_files(predictor, find_inputs(scan), tmp_path)
    assert scan.read_bytes() == before


def test_two_images_whose_masks_would_share_a_name_are_refused_before_anything_is_written(
    predictor: Predictor, tmp_path: Path
) -> None:
    save(tmp_path / "in" / "a.png")
    save(tmp_path / "in" / "a.jpg")
    with pytest.raises(DataError, match="Rename one"):
        predict_files(predictor, find_inputs(tmp_path / "in"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_manifest_of_images_in_several_places_is_written_below_the_output(
    predictor: Predictor, tmp_path: Path
) -> None:
    absolute = save(tmp_path / "b" / "y.png")
    save(tmp_path / "a" / "x.png")
    (tmp_path / "lists").mkdir()
    rows = f"slice_id,patient,image\nx,p,../a/x.png\ny,q,{absolute}\n"
    (tmp_path / "lists" / "manifest.csv").write_text(rows)
    outcome = predict_files(predictor, find_inputs(tmp_path / "lists" / "manifest.csv"), tmp_path / "out")
    assert sorted(path.relative_to(tmp_path / "out") for path in outcome.written) == [Path("a/x.png"), Path("b/y.png")]


def test_no_image_of_a_folder_is_passed_over_because_others_look_like_slices(tmp_path: Path) -> None:
    for name in ("scan.tif", "scan_2.tif", "other.png", "p1/slice_1.tif", "p2/slice_1.tif"):
        save(tmp_path / name)
    inputs = find_inputs(tmp_path, volumes=True)
    assert len(inputs.records) == 5
    assert inputs.faults == ()


def test_an_image_that_a_manifest_names_and_that_is_not_there_is_listed(predictor: Predictor, tmp_path: Path) -> None:
    save(tmp_path / "x.png")
    (tmp_path / "manifest.csv").write_text("slice_id,patient,image\nx,p,x.png\ny,p,gone.png\n")
    outcome = predict_files(predictor, find_inputs(tmp_path / "manifest.csv"), tmp_path / "out")
    assert len(outcome.written) == 1
    assert any("gone.png" in reason for _, reason in outcome.failures)


def test_a_second_prediction_does_not_take_overlays_for_images(tmp_path: Path) -> None:
    for name in ("x.png", "x_overlay.png"):
        save(tmp_path / name)
    assert [record.image.name for record in find_inputs(tmp_path).records] == ["x.png"]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no image"):
        find_inputs(tmp_path)


def test_a_full_disk_stops_with_one_error(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Pillow.fromarray(image((8, 8))).save(tmp_path / "x.png")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Pillow.Image, "save", full)
    with pytest.raises(DataError, match=r"x\.png: cannot be written \(No space left"):
        predict_files(predictor, find_inputs(tmp_path), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_masks_are_written_with_the_colours_of_the_labels(tmp_path: Path) -> None:
    labels = LabelMap(("rim", "cup"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))
    two = load(save_random_run(tmp_path / "run", labels=labels), device="cpu")
    two.config = replace(two.config, threshold=0.0)
    Pillow.fromarray(image((32, 32))).save(tmp_path / "x.png")
    predict_files(two, find_inputs(tmp_path / "x.png"), tmp_path / "out")
    assert set(np.unique(read_mask(tmp_path / "out" / "x.png", labels).array)) <= {1, 2}
