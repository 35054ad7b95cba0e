"""LoRA: nothing changes until it is trained, little is trained, and it can be merged."""

import torch
from torch import nn

from segmed.layers.lora import LoRALinear, merged_state


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
    by_hand = (inputs @ (layer.weight + layer.lora_up @ layer.lora_down).T).relu()
    torch.testing.assert_close(model(inputs), by_hand)
    plain = nn.Sequential(nn.Sequential(nn.Linear(6, 5, bias=False)), nn.ReLU())
    plain.load_state_dict(merged_state(model.state_dict()))
    torch.testing.assert_close(plain(inputs), by_hand)
