"""LoRA: a linear layer whose weights stay, with an update of low rank beside them.

Reference: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022, eq. 3: y = W x + B A x, A random
and B zero at first, so that nothing changes until it is trained. Where we differ: the update is not scaled by
alpha / r (that is, alpha = r).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class LoRALinear(nn.Linear):
    """A frozen linear layer, and a trained update of it of rank `rank`.

    The frozen weights keep their names, so that checkpoints of the plain layer still fit.
    """

    def __init__(self, features_in: int, features_out: int, rank: int, *, bias: bool = True) -> None:
        super().__init__(features_in, features_out, bias=bias)
        self.requires_grad_(False)
        self.lora_down = nn.Parameter(torch.empty(rank, features_in))
        self.lora_up = nn.Parameter(torch.zeros(features_out, rank))
        nn.init.kaiming_uniform_(self.lora_down, a=math.sqrt(5))  # as in the authors' code

    @classmethod
    def around(cls, linear: nn.Linear, rank: int) -> "LoRALinear":
        """The same layer with an update that is zero; it shares the weights."""
        wrapped = cls(linear.in_features, linear.out_features, rank, bias=linear.bias is not None)
        wrapped.weight, wrapped.bias = linear.weight, linear.bias
        wrapped.weight.requires_grad_(False)
        if wrapped.bias is not None:
            wrapped.bias.requires_grad_(False)
        return wrapped.to(linear.weight.device).train(linear.training)

    def forward(self, input: Float[Tensor, "... i"]) -> Float[Tensor, "... o"]:
        """The layer's output plus that of the update."""
        update = functional.linear(functional.linear(input, self.lora_down), self.lora_up)
        return super().forward(input) + update


def merged_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a model with updates as that of the plain model: W + B A under W's name, and no updates."""
    plain = {name: tensor for name, tensor in state.items() if not name.endswith((".lora_up", ".lora_down"))}
    for name in state:
        if name.endswith(".lora_up"):
            layer = name.removesuffix("lora_up")
            plain[layer + "weight"] = state[layer + "weight"] + state[name] @ state[layer + "lora_down"]
    return plain
