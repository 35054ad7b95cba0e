"""LoRA: nothing changes until it is trained, little is trained, and it can be merged."""

import torch
from torch import nn

from segmed.layers.lora import LoRALinear, merge, merged_state


def test_an_update_that_is_not_trained_changes_no_bit() -> None:
    torch.manual_seed(0)
    linear, inputs = nn.Linear(13, 7), torch.randn(3, 5, 13)
    assert torch.equal(LoRALinear.around(linear, 4)(inputs), linear(inputs))


def test_only_the_update_is_trained_and_the_weights_keep_their_names() -> None:
    wrapped = LoRALinear.around(nn.Linear(13, 7), 4)
    assert {name for name, each in wrapped.named_parameters() if each.requires_grad} == {"lora_down", "lora_up"}
    assert sum(each.numel() for each in wrapped.parameters() if each.requires_grad) == 4 * (13 + 7)
    assert set(nn.Linear(13, 7).state_dict()) <= set(wrapped.state_dict())


def test_a_trained_update_is_w_plus_b_times_a_and_merges_into_a_plain_layer() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(LoRALinear.around(nn.Linear(6, 5, bias=False), 2)), nn.ReLU())
    layer = model[0][0]
    nn.init.normal_(layer.lora_up)
    inputs = torch.randn(4, 6)
    before, state = model(inputs), merged_state(model.state_dict())
    by_hand = (inputs @ (layer.weight + layer.lora_up @ layer.lora_down).T).relu()
    torch.testing.assert_close(before, by_hand)
    assert merge(model) == 1
    assert type(model[0][0]) is nn.Linear
    torch.testing.assert_close(model(inputs), before)
    assert state.keys() == model.state_dict().keys()
    assert torch.equal(state["0.0.weight"], model[0][0].weight)
