"""What trains of a ViT encoder: nothing, its last layers, low-rank updates, or all of it with checkpointing."""

import pytest
import torch
from tiny_vit import SIDE, tiny_vit

from segmed.layers.lora import merged_state
from segmed.models.object_prompts import ObjectPrompts
from segmed.models.sam.network import PromptableSam
from segmed.prompts.value import Prompts
from segmed.training.parameter_groups import parameter_groups
from segmed.training.recipe import OptimConfig

ASKED = ObjectPrompts.of([Prompts(boxes=[(8, 8, 40, 32)])])


def image() -> torch.Tensor:
    torch.manual_seed(5)
    return torch.randn(1, 3, SIDE, SIDE)


def trained(model: PromptableSam) -> set[str]:
    inner = {name.removeprefix("image_encoder.vit.") for name, each in model.named_parameters() if each.requires_grad}
    return {name for name in inner if name.startswith(("layers", "neck", "patch", "pos_embed"))}


def backward(model: PromptableSam) -> PromptableSam:
    model.train()
    model.decode(model.embed(image()), ASKED).logits.square().mean().backward()
    return model


def test_the_frozen_encoder_has_nothing_to_train() -> None:
    assert trained(tiny_vit(trains="decoder")) == set()


def test_last_trains_the_last_two_layers_and_the_neck() -> None:
    model = backward(tiny_vit(trains="last"))
    assert {name.split(".")[0] + name.split(".")[1] for name in trained(model)} == {
        "layers2", "layers3", "neckconv1", "neckconv2", "necklayer_norm1", "necklayer_norm2",
    }  # fmt: skip
    assert all(each.grad is not None for each in model.image_encoder.parameters() if each.requires_grad)


def test_lora_begins_with_the_same_masks_and_trains_its_updates_alone() -> None:
    plain, updated = tiny_vit(trains="decoder"), tiny_vit(trains="lora", lora_rank=3)
    plain.load_state_dict({name: each for name, each in updated.state_dict().items() if ".lora_" not in name})
    with torch.inference_mode():
        first, second = (model.decode(model.encode(image()), ASKED).logits for model in (plain, updated))
    assert torch.equal(first, second)
    backward(updated)
    assert trained(updated) == {f"layers.{n}.attn.qkv.lora_{part}" for n in range(4) for part in ("up", "down")}
    groups = parameter_groups(updated, OptimConfig())
    assert sum(".lora_" in name for name, _ in updated.named_parameters()) == 8
    assert {id(each) for group in groups for each in group["params"]} == {
        id(each) for each in updated.parameters() if each.requires_grad
    }


def test_trained_updates_merge_into_the_encoder() -> None:
    model = tiny_vit(trains="lora")
    for name, each in model.named_parameters():
        if name.endswith("lora_up"):
            torch.nn.init.normal_(each, std=0.1)
    plain = tiny_vit(trains="decoder")
    plain.load_state_dict(merged_state(model.state_dict()))
    with torch.inference_mode():
        torch.testing.assert_close(plain.encode(image()).first, model.encode(image()).first, atol=1e-4, rtol=1e-4)


def embedded_and_kept(model: PromptableSam) -> tuple[torch.Tensor, int]:
    """The embedding, and how many numbers are kept for the way back, beside the parameters."""
    own = {each.untyped_storage().data_ptr() for each in model.parameters()}
    sizes: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        embedding = model.embed(image()).first
    return embedding, sum(sizes)


@pytest.mark.parametrize("trains", ["all", "last", "lora"])
def test_checkpointing_keeps_less_and_gives_the_same_gradients(trains: str) -> None:
    kept: dict[bool, int] = {}
    gradients = {}
    for checkpointing in (False, True):
        model = tiny_vit(trains=trains, checkpointing=checkpointing).train()
        embedding, kept[checkpointing] = embedded_and_kept(model)
        embedding.square().mean().backward()
        gradients[checkpointing] = {n: each.grad for n, each in model.named_parameters() if each.grad is not None}
    assert kept[True] < 0.5 * kept[False]
    assert gradients[True].keys() == gradients[False].keys()
    for name, gradient in gradients[False].items():
        torch.testing.assert_close(gradients[True][name], gradient)
