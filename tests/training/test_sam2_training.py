"""SAM 2 is embedded, trained from its three levels, used as published, and asked like any other promptable model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from runs import toy_and_split
from safetensors.torch import load_file, save_file
from transformers import Sam2Model

import segmed
from sam2_reference import SHAPE_SETTING, SIDE, theirs
from segmed.core.files import write_json
from segmed.core.split import Split
from segmed.data.decoded import DecodedDataset
from segmed.data.views import SETS
from segmed.inference.embedding import embed, entries_of
from segmed.inference.prompted import PromptedPredictor
from segmed.training import Hardware, Recipe, load_recipe, train
from segmed.training.build import fit_recipe
from segmed.training.pretrained import make_pretrained, pretrained_recipe
from segmed.training.warm_start import initial_model

CPU = Hardware(accelerator="cpu")
SMALL = [f"model.sam.size={SIDE}", f"preprocess.size=[{SIDE}, {SIDE}]", SHAPE_SETTING]
BRIEF = ["epochs=1", "sampling.steps_per_epoch=2", "sampling.batch_size=2", "optim.accumulate=1", "augment=none"]


@pytest.fixture(scope="module")
def published() -> Sam2Model:
    return theirs()


@pytest.fixture(scope="module")
def weights(published: Sam2Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "sam2.safetensors"
    save_file({name: each.clone() for name, each in published.state_dict().items()}, file)
    write_json(file.with_suffix(".json"), {"contract": "sam2"})
    return file


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[DecodedDataset, Split]:
    return toy_and_split(tmp_path_factory.mktemp("toy"))


def recipe(weights: Path, data: DecodedDataset, *overrides: str) -> Recipe:
    given = load_recipe("sam2", [*SMALL, *BRIEF, f"model.encoder_weights={weights}", "precision='32'", *overrides])
    return fit_recipe(given, data)


def asked(run: Path) -> PromptedPredictor:
    predictor = segmed.load(run, device="cpu")
    assert isinstance(predictor, PromptedPredictor)
    return predictor


def test_a_training_from_its_embeddings_changes_the_decoder_alone(
    weights: Path, toy: tuple[DecodedDataset, Split], tmp_path: Path
) -> None:
    data, split = toy
    chosen = recipe(weights, data)
    entries = entries_of(data, SETS["none"], split)
    cache = embed(initial_model(chosen), chosen.preprocess, data=data, entries=entries, out=tmp_path / "cache")
    run = train(chosen, data=data, split=split, out=tmp_path / "run", hardware=CPU, embeddings=cache)
    before, after = initial_model(chosen).state_dict(), load_file(run / "model.safetensors")
    changed = {name.split(".")[0] for name, each in after.items() if not torch.equal(each, before[name])}
    assert changed <= {"mask_decoder", "box_map", "presence", "promptless"}
    assert "mask_decoder" in changed
    image = data.image(split.fold(0).test[0])
    answer = asked(run).decode(asked(run).encode(image), segmed.Prompts(boxes=[(4, 4, 20, 20)]))
    assert answer.objects.shape == (1, *image.shape[:2])
    assert asked(run).predict(image).array.shape == image.shape[:2]


def test_training_from_images_and_from_embeddings_begins_with_the_same_loss(
    weights: Path, toy: tuple[DecodedDataset, Split], tmp_path: Path
) -> None:
    data, split = toy
    chosen = recipe(weights, data, "optim.learning_rate=1e-9", "ema_decay=0")
    entries = entries_of(data, SETS["none"], split)
    cache = embed(initial_model(chosen), chosen.preprocess, data=data, entries=entries, out=tmp_path / "cache")
    runs = [
        train(chosen, data=data, split=split, out=tmp_path / name, hardware=CPU, embeddings=each)
        for name, each in (("images", None), ("cached", cache))
    ]
    losses = [float((run / "metrics.csv").read_text().splitlines()[-1].split(",")[2]) for run in runs]
    assert losses[0] == pytest.approx(losses[1], abs=2e-3)  # embeddings are kept in half precision


def test_as_published_a_box_gets_the_mask_of_the_published_model(
    published: Sam2Model, weights: Path, tmp_path: Path
) -> None:
    made = make_pretrained(pretrained_recipe("sam2-tiny", str(weights), SMALL), tmp_path / "run")
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    predictor = asked(made.folder)
    answer = predictor.decode(predictor.encode(image), segmed.Prompts(boxes=[(9.0, 5.0, 40.0, 33.0)]))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    read = ((torch.from_numpy(image) / 255 - mean) / deviation).permute(2, 0, 1)[None]
    with torch.inference_mode():
        theirs = published(
            pixel_values=read, input_boxes=torch.tensor([[[9.0, 5.0, 40.0, 33.0]]]), multimask_output=False
        )
    np.testing.assert_allclose(answer.logits[0], theirs.pred_masks[0, 0, 0].numpy(), atol=2e-3, rtol=2e-3)
    assert made.config.preprocess.fit == "squash"
