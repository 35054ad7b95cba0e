"""Placing the layer in front of a network, and its weights in their own optimiser group."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from segmed.layers.gafl.layer import GAFL


class Filtered(nn.Module):
    """A network whose input passes a filter first. What others read of a dense model is the network's own."""

    def __init__(self, network: nn.Module, gafl: GAFL) -> None:
        super().__init__()
        self.gafl = gafl
        self.network = network

    def forward(self, image: Float[Tensor, "b c h w"]) -> Any:
        """The network's output for the filtered image."""
        return self.network(self.gafl(image))

    @property
    def encoder(self) -> Any:
        """The network's encoder, whose `output_stride` says which sizes go through; an error if it has none."""
        return self.network.encoder

    @property
    def requires_divisible_input_shape(self) -> bool:
        """Whether both sides of the input must be multiples of the encoder's stride; True if the network is silent."""
        return bool(getattr(self.network, "requires_divisible_input_shape", True))


def with_gafl(model: nn.Module, channels: int, **options: Any) -> nn.Module:
    """`model` with a `GAFL(channels, **options)` on its input; no output changes until the filter has learnt.

    The two train together. Give the filter's weights no weight decay and a learning rate of their own, see
    `gain_parameters`. The model's weights get the prefix `network.`, the filter's `gafl.`.

    Args:
        model: A network of images `b c h w`.
        channels: Of the images.
        options: As `GAFL` takes them.

    Returns:
        The network behind its filter.

    Raises:
        ModelError: Options that do not go together.

    Example:
        >>> model = with_gafl(nn.Conv2d(3, 1, 1), 3, mode="phase")
        >>> [name for name, _ in model.named_children()]
        ['gafl', 'network']
    """
    return Filtered(model, GAFL(channels, **options))


def gain_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The weights of every GAFL in `module`, for an optimiser group without weight decay.

    Weight decay would pull every gain towards 1 for no reason, and gains want larger steps than convolutions.

    Args:
        module: A network with filters in it, or none.

    Returns:
        Each weight once.

    Example:
        >>> from torch.optim import AdamW
        >>> model = with_gafl(nn.Conv2d(3, 1, 1), 3)
        >>> gains = gain_parameters(model)
        >>> own = {id(weight) for weight in gains}
        >>> others = [weight for weight in model.parameters() if id(weight) not in own]
        >>> optimizer = AdamW([{"params": others}, {"params": gains, "lr": 1e-2, "weight_decay": 0.0}], lr=1e-3)
        >>> len(others)
        2
    """
    filters = (part for part in module.modules() if isinstance(part, GAFL))
    found = {id(weight): weight for part in filters for weight in part.parameters()}
    return list(found.values())
