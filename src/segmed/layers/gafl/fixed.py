"""A linear filter whose weights have become constants."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from segmed.core.errors import ModelError
from segmed.layers.gafl.modes import Response, times
from segmed.layers.gafl.transforms import FFT, Spectrum, Transform, filtered, through_spectrum


class FixedFilter(nn.Module):
    """What `GAFL.fold` gives: one complex factor for every channel and frequency of one image size; nothing learns.

    `change` is that factor less 1, `c h f 2`, over the frequencies of the padded image; `size` is that of the image.
    """

    change: Tensor

    def __init__(self, change: Response, size: tuple[int, int], padding: int = 0) -> None:
        super().__init__()
        self.size, self.padding = size, padding
        self.transform: Transform = FFT()
        self.register_buffer("change", change.detach().clone())

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Filter `image`; raises `ModelError` for another size."""
        require_size(image, self.size)
        return filtered(image, self.padding, through_spectrum(self.transform, self._product))

    def _product(self, spectrum: Spectrum, width: int) -> Spectrum:
        return times(spectrum, self.change.to(spectrum.dtype))

    @property
    def response(self) -> Complex[Tensor, "c h f"]:
        """The factor on every frequency."""
        return 1 + torch.view_as_complex(self.change)


def require_size(image: Tensor, size: tuple[int, int] | None) -> None:
    """Refuse an image of another size than that of a filter made for one; None is any size."""
    if size is not None and tuple(image.shape[-2:]) != size:
        raise ModelError(
            f"This filter was made for images of {size[0]} x {size[1]}, got {image.shape[-2]} x {image.shape[-1]}. "
            "Resize the image, or make the filter for its size."
        )
