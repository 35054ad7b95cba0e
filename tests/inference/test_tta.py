"""Test-time augmentation averages what the network says of a slice's images, on the slice's own grid."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from prompted_runs import save_prompted_run
from segmed.core.errors import ConfigError, ModelError
from segmed.core.labels import LabelMap
from segmed.inference import EnsemblePredictor, PatientSlices, Predictor, load
from segmed.inference.ensemble import ensemble_config, save_ensemble
from segmed.models.checkpoint import RunConfig, TrainedModel, load_run
from segmed.models.config import ModelConfig
from segmed.models.joint_config import EnsembleConfig
from segmed.models.prediction import TTA_NAMES, PredictionConfig, Tta
from segmed.models.zoo import build_model
from segmed.preprocess import PreprocessConfig
from segmed.training import load_recipe


class Leaning(nn.Module):
    """Logits that depend on where a pixel is: 4 in the first column, -4 elsewhere."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.full((images.shape[0], 1, *images.shape[2:]), -4.0)
        logits[..., 0] = 4.0
        return logits


def predictor(
    config: PredictionConfig, network: nn.Module | None = None, tta: Tta | None = None, **preprocess: Any
) -> Predictor:
    model = ModelConfig(name="unet", encoder_weights="none", channels=1)
    contract = PreprocessConfig(**{"channels": (0,), "divisor": 1, **preprocess})
    run = RunConfig(model, contract, LabelMap(), threshold=0.45, prediction=config)
    return Predictor(TrainedModel(network or Leaning(), run, Path()), device="cpu", tta=tta)


def test_probabilities_are_averaged_over_both_mirror_axes() -> None:
    found = predictor(PredictionConfig(tta="flips")).probabilities([np.ones((3, 5, 1), np.uint8)])[0]
    high, low = torch.tensor(4.0).sigmoid(), torch.tensor(-4.0).sigmoid()
    expected = torch.full((1, 3, 5), float(low))
    expected[..., [0, 4]] = float((high + low) / 2)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)


def test_mirror_averages_left_and_right_alone() -> None:
    class Corner(nn.Module):
        """Sure of the upper left pixel, whatever the image."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = torch.full((1, 1, 3, 5), -40.0)
            logits[..., 0, 0] = 40.0
            return logits

    found = predictor(PredictionConfig(tta="mirror"), Corner()).probabilities([np.ones((3, 5, 1), np.uint8)])[0]
    assert found[0].round(6).tolist() == [[0.5, 0, 0, 0, 0.5], [0] * 5, [0] * 5]


class Wide(nn.Module):
    """Sure of the object where the image is wider than 6 pixels, and of none elsewhere; it notes what it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.read.append(tuple(images.shape[2:]))
        return torch.full((images.shape[0], 1, *images.shape[2:]), 40.0 if images.shape[3] > 6 else -40.0)


@pytest.mark.parametrize(
    ("preprocess", "read"),
    [
        ({}, [(4, 6), (5, 8)]),  # 6 times 1.25 is 7.5
        ({"divisor": 4}, [(4, 8), (8, 8)]),
        ({"size": (4, 4), "divisor": 2}, [(4, 4), (6, 6)]),  # 5 is no multiple: the nearest, upwards
        ({"size": (8, 8), "fit": "letterbox", "divisor": 4}, [(8, 8), (12, 12)]),
        ({"spacing": (2.0, 1.0)}, [(2, 6), (3, 8)]),
    ],
)
def test_scales_show_the_image_at_its_size_and_a_quarter_larger(
    preprocess: dict[str, Any], read: list[tuple[int, int]]
) -> None:
    network = Wide()
    pixels = np.random.default_rng(0).integers(1, 255, (4, 6, 1), np.uint8)
    slices = PatientSlices([pixels], spacing=(1.0, 1.0))
    scaled = predictor(PredictionConfig(tta="scales"), network, **preprocess)
    network.read.clear()  # of the blank image that it was tried with
    found = scaled.probabilities(slices)[0]
    assert network.read == read
    assert found.shape == (1, 4, 6)
    expected = np.mean([width > 6 for _, width in read])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_slices_of_several_sizes_are_each_averaged_over_their_own_scales() -> None:
    network = Wide()
    shapes = [(4, 4, 1), (4, 4, 1), (5, 5, 1), (4, 4, 1)]
    slices = [np.ones(shape, np.uint8) for shape in shapes]
    scaled = predictor(PredictionConfig(tta="mirror+scales"), network)
    together, alone = scaled.probabilities(slices), [scaled.probabilities([each])[0] for each in slices]
    for one, other, shape in zip(together, alone, shapes, strict=True):
        assert one.shape == (1, *shape[:2])
        np.testing.assert_array_equal(one, other)


def test_a_network_of_one_size_is_never_shown_a_larger_image(tmp_path: Path) -> None:
    run = save_prompted_run(tmp_path / "sam")
    with pytest.raises(ModelError, match=r"sam.*reads images of one size.*Choose none, mirror, flips\."):
        load(run, device="cpu", tta="mirror+scales")
    loaded = load(run, device="cpu")
    assert loaded.ttas == ("none", "mirror", "flips")
    with pytest.raises(ModelError, match="predicts under test-time augmentation none or mirror or flips, not scales"):
        next(iter(loaded.iterate_ttas(PatientSlices([np.ones((40, 52, 3), np.uint8)]), ["scales"])))
    with pytest.raises(ConfigError, match=r"prediction.tta mirror\+scales enlarges images.* Set it to mirror"):
        load_recipe("sam-tiny-cpu", ["prediction.tta=mirror+scales"])


class OfOneSize(nn.Module):
    """As timm's Swin: made for 8 x 8 px."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.shape[2:] == (8, 8), "Input height doesn't match model (8)."
        return images[:, :1]


def test_an_encoder_made_for_one_size_is_found_out_and_has_no_scales() -> None:
    of_one_size = predictor(PredictionConfig(), OfOneSize(), size=(8, 8), divisor=4)
    assert of_one_size.ttas == ("none", "mirror", "flips")
    with pytest.raises(ModelError, match=r"reads images of one size.*Choose none, mirror, flips\."):
        predictor(PredictionConfig(tta="scales"), OfOneSize(), size=(8, 8), divisor=4)
    assert predictor(PredictionConfig(), Wide(), size=(8, 8), divisor=4).ttas == TTA_NAMES


def test_in_an_ensemble_a_network_of_one_size_leaves_out_the_scales_of_the_others(tmp_path: Path) -> None:
    sam = load_run(save_prompted_run(tmp_path / "sam"))
    model = ModelConfig(name="unet", encoder="tu-test_efficientnet", encoder_weights="none")
    torch.manual_seed(0)
    dense = TrainedModel(build_model(model).eval(), replace(sam.config, model=model), tmp_path)
    config = EnsembleConfig(networks=(*dense.config.networks, *sam.config.networks), labels=sam.config.labels)
    members = [Predictor(dense, device="cpu"), Predictor(sam, device="cpu")]
    ensemble = EnsemblePredictor(members, config, tmp_path)
    assert ensemble.ttas == TTA_NAMES
    slices = PatientSlices([np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)])
    wanted: list[Tta] = ["mirror", "scales", "mirror+scales"]
    (found,) = ensemble.iterate_ttas(slices, wanted)
    for tta, other in zip(wanted, ("mirror", "none", "mirror"), strict=True):
        own = Predictor(dense, device="cpu", tta=tta), Predictor(sam, device="cpu", tta=other)  # type: ignore[arg-type]
        expected = np.mean([each.probabilities(slices)[0] for each in own], axis=0)
        np.testing.assert_allclose(found[tta], expected, rtol=1e-6)


def test_an_ensemble_of_networks_of_one_size_is_not_asked_for_scales(tmp_path: Path) -> None:
    runs = [save_prompted_run(tmp_path / name, seen={"train": ["t"]}) for name in ("a", "b")]
    save_ensemble(tmp_path / "both", runs, ensemble_config(runs))
    with pytest.raises(
        ModelError, match=r"both: predicts under test-time augmentation none or mirror or flips, not sca"
    ):
        load(tmp_path / "both", device="cpu", tta="scales")
    assert load(tmp_path / "both", device="cpu", tta="mirror").tta == "mirror"


def test_flips_are_the_runs_own_choice_unless_another_is_given() -> None:
    image = np.ones((3, 5), np.uint8)
    flipped = predictor(PredictionConfig(tta="flips"))
    assert flipped.predict(image).array[:, 4].all()
    assert not predictor(PredictionConfig(tta="flips"), tta="none").predict(image).array[:, 4].any()


def test_post_processing_of_the_run_is_applied_to_its_masks() -> None:
    image = np.ones((3, 5), np.uint8)
    assert predictor(PredictionConfig(smallest_in_slice=3)).predict(image).array.sum() == 3
    assert predictor(PredictionConfig(smallest_in_slice=4)).predict(image).array.sum() == 0
    assert sum(int(each.array.sum()) for each in predictor(PredictionConfig(smallest_in_volume=7)).predict_volume(
        [image] * 2
    )) == 0  # fmt: skip
